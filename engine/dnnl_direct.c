/* Conv by engine/direct.c where the library has AVX2 only and fewer channels than its kernel wants: source (but for a first layer's) and
 * result in the library's order of eight channels, constant weights in its order for that, packed once; normalisation, addition, Relu and
 * Clip along with it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/direct.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define MOST_FILTERS 64
#define MOST_STRIDE 4
#define SMALL_PRODUCTS 65536 /* of a 1x1 convolution: there it is the library's call that takes long; its loop is as fast as this one */

typedef struct Direct {
    DirectConv conv;
    Device *device;
    float *bias; /* that of a normalisation, or filled up to whole blocks; else NULL */
    int addend;  /* its place among the inputs, or -1 */
    Layout take, make;
} Direct;

static bool geometry(const KernelSite *s, DirectConv *c)
{
    const Shape *x = &s->in[0].shape, *k = &s->in[1].shape;
    Window w;
    Err ignored;
    int64_t count;
    if (x->rank != 4 || k->rank != 4 || node_int(s->node, "group", 1) != 1) return false;
    int64_t filters = k->dims[0], computed = direct_blocks(filters) * DIRECT_BLOCK;
    if (filters > MOST_FILTERS || filters * 3 < computed * 2) return false;
    if (!shape_count(x, &count) || count < 1 || !shape_count(&s->out[0].shape, &count) || count < 1 || !shape_count(k, &count) || count < 1)
        return false;
    if (window_init(&w, s->graph, s->node, x, k, &ignored) != OK) return false;
    *c = (DirectConv){ .images = x->dims[0], .channels = x->dims[1], .filters = filters, .h = w.in[1], .w = w.in[2], .p = w.out[1],
                       .q = w.out[2], .r = w.kernel[1], .s = w.kernel[2], .top = w.begin[1], .left = w.begin[2],
                       .stride = { w.stride[1], w.stride[2] }, .dilation = { w.dilation[1], w.dilation[2] },
                       .depth = x->dims[1] < DIRECT_BLOCK ? 1 : DIRECT_BLOCK, .low = -INFINITY, .high = INFINITY,
                       .threads = omp_get_max_threads() };
    /* no more padding than windows reach into: sizes stay near those of x */
    int64_t tall = (c->r - 1) * c->dilation[0] + 1, wide = (c->s - 1) * c->dilation[1] + 1;
    if (c->r * c->s == 1 && c->images * c->p * c->q * c->channels * filters > SMALL_PRODUCTS) return false;
    return c->top >= 0 && c->top < tall && c->left >= 0 && c->left < wide && w.end[1] < tall && w.end[2] < wide &&
           c->stride[0] <= MOST_STRIDE && c->stride[1] <= MOST_STRIDE && direct_init(c);
}

static bool direct_accept(const KernelSite *s)
{
    DirectConv c;
    bool bias = s->input_count > 2 && s->value[2] != 0;
    if (!device_is_avx2() || s->node->domain.len != 0) return false;
    return site_is_float(s, 0) && site_is_float(s, 1) && s->out[0].type == DT_FLOAT && s->constant[1] != NULL &&
           (!bias || (site_is_float(s, 2) && s->constant[2] != NULL)) && geometry(s, &c);
}

static bool direct_fuse(const KernelSite *s, const Node *n)
{
    float low, high;
    if (node_is(n, "BatchNormalization")) return conv_norm_fits(s, n);
    for (int i = 0; i < s->follower_count; i++)
        if (site_bounds(s, s->follower[i], &low, &high)) return false; /* that was the last */
    if (!site_follows(s, n)) return false;
    if (!site_bounds(s, n, &low, &high)) return str_is(n->type, "Add");
    return s->in[1].shape.dims[0] % DIRECT_BLOCK == 0 || (low <= 0 && high >= 0); /* zeros that fill up a block stay zeros */
}

static void direct_release(void *state)
{
    Direct *d = state;
    if (d == NULL) return;
    free(d->bias);
    free(d);
}

/* Biases filled up with zeros to whole blocks. */
static Status fill_bias(KernelSite *s, Direct *d, const float *bias)
{
    float *filled = alloc_zeroed((size_t)direct_blocks(d->conv.filters) * DIRECT_BLOCK, sizeof *filled);
    if (filled == NULL) return err_no_memory(s->err, "biases");
    memcpy(filled, bias, (size_t)d->conv.filters * sizeof *bias);
    free(d->bias);
    d->conv.bias = d->bias = filled;
    return OK;
}

/* Weights and biases, those of a normalisation multiplied in. */
static Status take_weights(KernelSite *s, Direct *d)
{
    const Node *norm = conv_norm(s);
    const float *from = tensor_floats(s->constant[1]);
    float *scaled = NULL;
    dnnl_memory_desc_t plain, packed;
    const void *weights;
    Status status;
    if (s->input_count > 2 && s->constant[2] != NULL) d->conv.bias = tensor_floats(s->constant[2]);
    if (norm != NULL) {
        TRY_OUT(conv_fold_norm(s, norm, &scaled, &d->bias));
        from = scaled;
        d->conv.bias = d->bias;
    }
    if (d->conv.bias != NULL && d->conv.filters % DIRECT_BLOCK != 0) TRY_OUT(fill_bias(s, d, d->conv.bias));
    dnnl_format_tag_t order = d->conv.depth > 1 ? dnnl_OIhw8i8o : dnnl_Abcd8a;
    if (!md_plain(&plain, dnnl_f32, 4, s->in[1].shape.dims)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "empty weights"));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&packed, 4, s->in[1].shape.dims, dnnl_f32, order), "order", s->err));
    TRY_OUT(device_pack(s->device, s->value[1], norm != NULL ? norm->outputs[0] : 0, from, &plain, &packed, &weights, s->err));
    d->conv.weights = weights;
out:
    free(scaled);
    return status;
}

static Status direct_prepare(KernelSite *s, void **state)
{
    Status status;
    Direct *d = alloc_zeroed(1, sizeof *d);
    if (d == NULL) return err_no_memory(s->err, "kernel state");
    d->device = s->device;
    if (!geometry(s, &d->conv)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "a convolution for the library"));
    for (int i = 0; i < s->follower_count; i++) site_bounds(s, s->follower[i], &d->conv.low, &d->conv.high);
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&d->take.md, 4, s->in[0].shape.dims, dnnl_f32, dnnl_nChw8c), "order", s->err));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&d->make.md, 4, s->out[0].shape.dims, dnnl_f32, dnnl_nChw8c), "order", s->err));
    TRY_OUT(take_weights(s, d));
    TRY_OUT(device_scratch(s->device, d->conv.scratch * (size_t)d->conv.threads * sizeof(float), s->err));
    for (int i = 1; i < s->node->input_count; i++) s->unused[i] = true;
    d->addend = site_adds(s) ? s->input_count - 1 : -1;
    if (d->conv.depth > 1) s->take[0] = &d->take;
    s->make[0] = &d->make;
    if (d->addend > 0) s->take[d->addend] = &d->make;
out:
    if (status != OK) direct_release(d);
    else *state = d;
    return status;
}

static Status direct_run_kernel(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Direct *d = state;
    direct_run(&d->conv, in[0], d->addend > 0 ? in[d->addend] : NULL, d->device->scratch, out[0]);
    return OK;
}

const Kernel kernels_direct[] = {
    { "direct", "Conv", direct_accept, direct_prepare, direct_run_kernel, direct_release, direct_fuse, false },
    { .name = NULL },
};
