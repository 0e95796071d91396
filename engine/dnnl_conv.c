/* Conv and ConvTranspose by oneDNN. The library chooses the order of source, weights and destination; constant weights are packed once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

/* The geometry in the library's terms, right-aligned windows cut to the spatial rank. */
typedef struct Geometry {
    Window w;
    int64_t groups;
    dnnl_dims_t strides, dilations, begin, end;
} Geometry;

static bool geometry(const KernelSite *s, bool transposed, Geometry *g)
{
    *g = (Geometry){ .groups = node_int(s->node, "group", 1) };
    Status status = transposed ? window_init_transposed(&g->w, s->graph, s->node, &s->in[0].shape, &s->in[1].shape, NULL)
                               : window_init(&g->w, s->graph, s->node, &s->in[0].shape, &s->in[1].shape, NULL);
    if (status != OK) return false;
    for (int i = 0; i < g->w.dims; i++) {
        int at = WINDOW_DIMS - g->w.dims + i;
        g->strides[i] = g->w.stride[at];
        g->dilations[i] = g->w.dilation[at] - 1;
        g->begin[i] = g->w.begin[at];
        /* what the output's size asks for, not what the attribute says: a stride may leave some padding unread */
        int64_t extent = (g->w.kernel[at] - 1) * g->w.dilation[at] + 1;
        g->end[i] = transposed ? (g->w.in[at] - 1) * g->w.stride[at] + extent - g->w.out[at] - g->w.begin[at]
                               : (g->w.out[at] - 1) * g->w.stride[at] + extent - g->w.in[at] - g->w.begin[at];
    }
    return true;
}

static bool conv_accept(const KernelSite *s)
{
    bool bias = s->input_count > 2 && s->value[2] != 0;
    return site_is_float(s, 0) && site_is_float(s, 1) && (!bias || site_is_float(s, 2)) && s->in[0].shape.rank >= 3 &&
           s->in[0].shape.rank <= 5 && s->out[0].type == DT_FLOAT;
}

/* Dimensions of the weights for the library: [G, K/G, C/G, kernel...] when grouped, [K, C, kernel...] otherwise. ConvTranspose stores
 * [C, K/G, kernel...]: the same dimensions with the first two axes' strides exchanged. */
static bool weight_md(const KernelSite *s, const Geometry *g, bool transposed, bool any, int *rank, dnnl_memory_desc_t *md)
{
    const Shape *w = &s->in[1].shape;
    dnnl_dims_t dims, strides;
    int64_t outer = w->dims[0] / g->groups, inner = w->dims[1], taps = 1;
    int at = 0;
    for (int i = 2; i < w->rank; i++) taps *= w->dims[i];
    if (g->groups > 1) {
        strides[at] = outer * inner * taps;
        dims[at++] = g->groups;
    }
    strides[at] = transposed ? taps : inner * taps;
    dims[at++] = transposed ? inner : outer;
    strides[at] = transposed ? inner * taps : taps;
    dims[at++] = transposed ? outer : inner;
    for (int i = 2; i < w->rank; i++) {
        taps /= w->dims[i];
        strides[at] = taps;
        dims[at++] = w->dims[i];
    }
    *rank = at;
    if (any) return md_any(md, dnnl_f32, at, dims);
    for (int i = 0; i < at; i++)
        if (dims[i] < 1) return false;
    return dnnl_memory_desc_init_by_strides(md, at, dims, dnnl_f32, strides) == dnnl_success;
}

/* --- BatchNormalization right behind, with constants: into the weights.
 *   s (W x + b - m) / sqrt(v + e) + t = W' x + b',   W' = k W,  b' = k (b - m) + t,  k = s / sqrt(v + e) */

bool conv_norm_fits(const KernelSite *s, const Node *n)
{
    bool bias = s->node->input_count > 2 && s->value[2] != 0;
    if (s->follower_count > 0 || s->constant[1] == NULL || (bias && s->constant[2] == NULL) || n->output_count != 1) return false;
    if (!str_is(s->node->type, "Conv") || norm_is_training(n) || norm_is_pointwise(n)) return false;
    for (int i = 1; i < 5; i++) {
        const Tensor *t = node_constant(s->graph, n, i);
        if (t == NULL || t->type != DT_FLOAT || tensor_count(t) != s->in[1].shape.dims[0]) return false;
    }
    return true;
}

const Node *conv_norm(const KernelSite *s)
{
    return s->follower_count > 0 && str_is(s->follower[0]->type, "BatchNormalization") ? s->follower[0] : NULL;
}

Status conv_fold_norm(const KernelSite *s, const Node *n, float **weights, float **biases)
{
    int64_t filters = s->in[1].shape.dims[0], count = tensor_count(s->constant[1]), per = count / filters;
    const Tensor *w = s->constant[1], *b = s->node->input_count > 2 && s->value[2] != 0 ? s->constant[2] : NULL;
    *weights = alloc_array((size_t)count, sizeof **weights);
    float *bias = alloc_array((size_t)filters, sizeof *bias);
    *biases = bias;
    if (*weights == NULL || bias == NULL) return err_no_memory(s->err, "normalised weights");
    memcpy(*weights, w->data, (size_t)count * sizeof **weights);
    for (int64_t k = 0; k < filters; k++) {
        double v[4];
        for (int i = 0; i < 4; i++) v[i] = tensor_get(node_constant(s->graph, n, i + 1), k);
        double factor = v[0] / sqrt(v[3] + node_float(n, "epsilon", 1e-5F));
        float *to = *weights + k * per;
        bias[k] = (float)(factor * ((b != NULL ? tensor_floats(b)[k] : 0) - v[2]) + v[1]);
        for (int64_t i = 0; i < per; i++) to[i] = (float)(factor * to[i]);
    }
    return OK;
}

static bool conv_fuse(const KernelSite *s, const Node *n)
{
    return node_is(n, "BatchNormalization") ? conv_norm_fits(s, n) : site_follows(s, n);
}

/* The descriptor of the convolution with these memory orders. */
static Status conv_desc(const KernelSite *s, const Geometry *g, bool transposed, const dnnl_memory_desc_t md[4], dnnl_primitive_attr_t attr,
                        dnnl_primitive_desc_t *out)
{
    const dnnl_memory_desc_t *bias = md[2].ndims > 0 ? &md[2] : NULL;
    if (transposed) {
        dnnl_deconvolution_desc_t d;
        TRY(dnnl_check(dnnl_dilated_deconvolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_deconvolution_direct, &md[0], &md[1],
                                                                    bias,
                                                                    &md[3], g->strides, g->dilations, g->begin, g->end),
                       "ConvTranspose", s->err));
        return desc_create(s->device, &d, attr, "ConvTranspose", out, s->err);
    }
    dnnl_convolution_desc_t d;
    TRY(dnnl_check(dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct, &md[0], &md[1], bias,
                                                              &md[3],
                                                              g->strides, g->dilations, g->begin, g->end),
                   "Conv", s->err));
    return desc_create(s->device, &d, attr, "Conv", out, s->err);
}

/* `scaled`: what the constant weights became, NULL when they are taken as they are. */
static Status conv_args(KernelSite *s, Primitive *p, dnnl_primitive_desc_t desc, const dnnl_memory_desc_t *weights_plain,
                        const float *scaled, int add_at)
{
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    TRY(primitive_arg(p, DNNL_ARG_SRC, src, ARG_IN, 0, NULL, s->err));
    site_take(s, p, 0, src);
    if (s->constant[1] != NULL) {
        const void *packed;
        uint64_t variant = scaled != NULL ? conv_norm(s)->outputs[0] : 0;
        const void *data = scaled != NULL ? (const void *)scaled : s->constant[1]->data;
        TRY(device_pack(s->device, s->value[1], variant, data, weights_plain, weights, &packed, s->err));
        TRY(primitive_arg(p, DNNL_ARG_WEIGHTS, weights, ARG_FIXED, 0, packed, s->err));
        s->unused[1] = true;
    } else {
        TRY(primitive_arg(p, DNNL_ARG_WEIGHTS, weights, ARG_IN, 1, NULL, s->err));
    }
    const dnnl_memory_desc_t *bias = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1);
    if (scaled != NULL) {
        TRY(primitive_arg(p, DNNL_ARG_BIAS, bias, ARG_FIXED, 0, p->owned, s->err));
        if (s->node->input_count > 2) s->unused[2] = true;
    } else if (bias != NULL && bias->ndims > 0) {
        TRY(primitive_arg(p, DNNL_ARG_BIAS, bias, ARG_IN, 2, NULL, s->err));
    }
    if (add_at >= 0) {
        int input = s->input_count - 1; /* the plan appends the other operand last */
        TRY(primitive_arg(p, DNNL_ARG_ATTR_MULTIPLE_POST_OP(add_at) | DNNL_ARG_SRC_1, dst, ARG_IN, input, NULL, s->err));
        site_take(s, p, input, dst);
    }
    TRY(primitive_arg(p, DNNL_ARG_DST, dst, ARG_OUT, 0, NULL, s->err));
    site_make(s, p, dst);
    return OK;
}

/* A convolution by way of the library's matrix product, where another kernel serves better. */
static bool is_declined(const KernelSite *s, bool transposed, const_dnnl_primitive_desc_t desc)
{
    const char *name = "";
    if (transposed ? !conv_spreads(s) : !conv_unfolds(s)) return false;
    return dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success && strstr(name, "gemm") != NULL;
}

/* `any`: also one that is_declined. */
static Status convolution(KernelSite *s, bool transposed, bool any, void **state)
{
    Geometry g;
    dnnl_memory_desc_t md[4] = { { 0 } }, weights_plain, sum;
    int rank;
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    bool constant = s->constant[1] != NULL;
    if (!geometry(s, transposed, &g) || !md_any(&md[0], dnnl_f32, x->rank, x->dims) || !md_any(&md[3], dnnl_f32, y->rank, y->dims) ||
        !weight_md(s, &g, transposed, false, &rank, &weights_plain) || !weight_md(s, &g, transposed, constant, &rank, &md[1]))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty convolution");
    const Node *norm = conv_norm(s);
    if ((norm != NULL || (s->node->input_count > 2 && s->value[2] != 0)) &&
        !md_plain(&md[2], dnnl_f32, 1, &y->dims[1]))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty bias");
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_attr_t attr = NULL;
    int add_at = -1;
    float *scaled = NULL;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    if (norm != NULL) {
        float *biases = NULL;
        status = conv_fold_norm(s, norm, &scaled, &biases);
        p->owned = biases;
        TRY_OUT(status);
    }
    sum = md[3];
    if (site_adds(s)) { /* the order of the destination without followers is the one the addend must have */
        TRY_OUT(conv_desc(s, &g, transposed, md, NULL, &desc));
        sum = *dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
        md[3] = sum;
        dnnl_primitive_desc_destroy(desc);
        desc = NULL;
    }
    if (s->follower_count > 0) TRY_OUT(followers_attr(s, norm != NULL ? 1 : 0, &sum, &attr, &add_at));
    TRY_OUT(conv_desc(s, &g, transposed, md, attr, &desc));
    if (!any && is_declined(s, transposed, desc)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "a convolution by a matrix product"));
    TRY_OUT(conv_args(s, p, desc, &weights_plain, scaled, add_at));
    TRY_OUT(primitive_create(p, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    free(scaled);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

static Status conv_prepare(KernelSite *s, void **state)
{
    return convolution(s, false, false, state);
}

static Status conv_any_prepare(KernelSite *s, void **state)
{
    return convolution(s, false, true, state);
}

static Status transpose_prepare(KernelSite *s, void **state)
{
    return convolution(s, true, false, state);
}

const Kernel kernels_conv_any[] = {
    { "onednn", "Conv", conv_accept, conv_any_prepare, primitive_run, primitive_release, conv_fuse, false },
    { .name = NULL },
};

const Kernel kernels_conv[] = {
    { "onednn", "Conv", conv_accept, conv_prepare, primitive_run, primitive_release, conv_fuse, false },
    { "onednn", "ConvTranspose", conv_accept, transpose_prepare, primitive_run, primitive_release, NULL, false },
    { .name = NULL },
};
