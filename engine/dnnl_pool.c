/* Pooling by oneDNN, in the order the source is there in; maxima of bytes as well, where an integer layer left them. */
#include "engine/dnnl_private.h"
#include "engine/ops/window.h"

/* The windows of a Global pooling: one over everything. */
static bool pool_window(const KernelSite *s, Window *w)
{
    const Shape *x = &s->in[0].shape;
    if (s->node->type.data[0] != 'G') return window_init(w, s->graph, s->node, x, NULL, NULL) == OK;
    *w = (Window){ .dims = x->rank - 2 };
    for (int i = 0; i < WINDOW_DIMS; i++) {
        w->in[i] = w->kernel[i] = i < WINDOW_DIMS - w->dims ? 1 : x->dims[i - (WINDOW_DIMS - w->dims) + 2];
        w->out[i] = w->stride[i] = w->dilation[i] = 1;
    }
    return true;
}

static bool pool_accept(const KernelSite *s)
{
    bool bytes = dtype_is_byte(s->in[0].type) && str_is(s->node->type, "MaxPool") && s->given[0] != NULL;
    if ((!bytes && !site_is_float(s, 0)) || s->in[0].shape.rank < 3 || s->in[0].shape.rank > 5) return false;
    if (s->output_count > 1 && s->node->outputs[1] != 0) return false; /* Indices */
    Window w;
    if (!pool_window(s, &w)) return false;
    bool ceil_mode = node_int(s->node, "ceil_mode", 0) != 0;
    for (int i = 0; i < WINDOW_DIMS; i++) {
        int64_t extent = (w.kernel[i] - 1) * w.dilation[i] + 1;
        if (w.begin[i] >= extent) return false; /* a window of padding alone */
        int64_t end = (w.out[i] - 1) * w.stride[i] + extent - w.in[i] - w.begin[i];
        if (end >= extent) return false;
        /* windows past the declared padding count otherwise than the library does */
        if (ceil_mode && end > w.end[i] && node_int(s->node, "count_include_pad", 0) != 0) return false;
    }
    return true;
}

static dnnl_alg_kind_t pool_kind(const Node *n)
{
    if (str_ends(n->type, "MaxPool")) return dnnl_pooling_max;
    return node_int(n, "count_include_pad", 0) != 0 ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
}

static Status pool_prepare(KernelSite *s, void **state)
{
    Window w;
    dnnl_memory_desc_t src, dst;
    const Shape *y = &s->out[0].shape;
    if (!pool_window(s, &w) || !md_given(s, 0, &src) || !md_any(&dst, src.data_type, y->rank, y->dims))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty pooling");
    dnnl_dims_t strides, kernel, dilations, begin, end;
    for (int i = 0; i < w.dims; i++) {
        int at = WINDOW_DIMS - w.dims + i;
        strides[i] = w.stride[at];
        kernel[i] = w.kernel[at];
        dilations[i] = w.dilation[at] - 1;
        begin[i] = w.begin[at];
        end[i] = (w.out[at] - 1) * w.stride[at] + (w.kernel[at] - 1) * w.dilation[at] + 1 - w.in[at] - w.begin[at];
    }
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_pooling_v2_desc_t d;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(dnnl_check(dnnl_pooling_v2_forward_desc_init(&d, dnnl_forward_inference, pool_kind(s->node), &src, &dst, strides, kernel,
                                                         dilations,
                                                         begin, end),
                       "pooling", s->err));
    TRY_OUT(desc_create(s->device, &d, NULL, "pooling", &desc, s->err));
    const dnnl_memory_desc_t *made = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    TRY_OUT(primitive_arg(p, DNNL_ARG_SRC, &src, ARG_IN, 0, NULL, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_DST, made, ARG_OUT, 0, NULL, s->err));
    site_take(s, p, 0, &src);
    site_make(s, p, made);
    TRY_OUT(primitive_create(p, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

#define POOL(op_name) { "onednn", op_name, pool_accept, pool_prepare, primitive_run, primitive_release, NULL, false }

const Kernel kernels_pool[] = {
    POOL("MaxPool"),
    POOL("AveragePool"),
    POOL("GlobalMaxPool"),
    POOL("GlobalAveragePool"),
    { .name = NULL },
};
