/* Conv of each channel by itself by engine/direct_depthwise.c where the library has AVX2 only: source and result in the library's order of
 * eight channels, constant weights in blocks of eight, packed once; normalisation, addition, Relu and Clip along with it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/direct.h"
#include "engine/direct_depthwise.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define BLOCK 8
#define MOST_ROWS 16 /* of a window: their weights for a block stay in the first cache beside the pixels */

typedef struct State {
    Depthwise conv;
    float *bias; /* of whole blocks; or NULL */
    int addend;  /* its place among the inputs, or -1 */
    Layout take, make;
} State;

static bool geometry(const KernelSite *s, Depthwise *c)
{
    const Shape *x = &s->in[0].shape, *k = &s->in[1].shape;
    Window w;
    Err ignored;
    int64_t count;
    if (x->rank != 4 || k->rank != 4 || k->dims[1] != 1 || k->dims[0] != x->dims[1]) return false;
    if (x->dims[1] < 2 || node_int(s->node, "group", 1) != x->dims[1]) return false;
    if (!shape_count(x, &count) || count < 1 || !shape_count(&s->out[0].shape, &count) || count < 1 || !shape_count(k, &count) || count < 1)
        return false;
    if (window_init(&w, s->graph, s->node, x, k, &ignored) != OK || w.dilation[1] != 1 || w.dilation[2] != 1) return false;
    *c = (Depthwise){ .images = x->dims[0], .blocks = (x->dims[1] + BLOCK - 1) / BLOCK, .low = -INFINITY, .high = INFINITY,
                      .threads = omp_get_max_threads() };
    for (int i = 0; i < 2; i++) {
        c->in[i] = w.in[i + 1];
        c->out[i] = w.out[i + 1];
        c->kernel[i] = w.kernel[i + 1];
        c->stride[i] = w.stride[i + 1];
        c->begin[i] = w.begin[i + 1];
    }
    return c->kernel[0] <= MOST_ROWS && depthwise_fits(c);
}

static bool depthwise_accept(const KernelSite *s)
{
    Depthwise c;
    bool bias = s->input_count > 2 && s->value[2] != 0;
    return device_is_avx2() && s->node->domain.len == 0 && site_is_float(s, 0) && site_is_float(s, 1) &&
           s->out[0].type == DT_FLOAT &&
           s->constant[1] != NULL && (!bias || (site_is_float(s, 2) && s->constant[2] != NULL)) && geometry(s, &c);
}

static bool depthwise_fuse(const KernelSite *s, const Node *n)
{
    float low, high;
    if (node_is(n, "BatchNormalization")) return conv_norm_fits(s, n);
    for (int i = 0; i < s->follower_count; i++)
        if (site_bounds(s, s->follower[i], &low, &high)) return false; /* that was the last */
    if (!site_follows(s, n) || str_is(n->type, "Add")) return site_follows(s, n);
    return site_bounds(s, n, &low, &high) && (s->in[0].shape.dims[1] % BLOCK == 0 || (low <= 0 && high >= 0)); /* lanes behind stay 0 */
}

static void depthwise_release(void *state)
{
    State *d = state;
    if (d == NULL) return;
    free(d->bias);
    free(d);
}

/* Weights and biases, those of a normalisation multiplied in. */
static Status take_weights(KernelSite *s, State *d)
{
    const Node *norm = conv_norm(s);
    const float *from = tensor_floats(s->constant[1]), *bias = NULL;
    float *scaled = NULL, *biases = NULL;
    int64_t channels = s->in[1].shape.dims[0];
    dnnl_dims_t dims = { channels, 1, 1, d->conv.kernel[0], d->conv.kernel[1] };
    dnnl_memory_desc_t plain, packed;
    const void *weights;
    Status status;
    if (s->node->input_count > 2 && s->value[2] != 0) bias = tensor_floats(s->constant[2]);
    if (norm != NULL) {
        TRY_OUT(conv_fold_norm(s, norm, &scaled, &biases));
        from = scaled;
        bias = biases;
    }
    if (bias != NULL) {
        d->bias = alloc_zeroed((size_t)d->conv.blocks * BLOCK, sizeof *d->bias);
        if (d->bias == NULL) TRY_OUT(err_no_memory(s->err, "a bias"));
        memcpy(d->bias, bias, (size_t)channels * sizeof *bias);
    }
    d->conv.bias = d->bias;
    if (!md_plain(&plain, dnnl_f32, 5, dims)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "empty weights"));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&packed, 5, dims, dnnl_f32, dnnl_Goihw8g), "order", s->err));
    TRY_OUT(device_pack(s->device, s->value[1], norm != NULL ? norm->outputs[0] : 0, from, &plain, &packed, &weights, s->err));
    d->conv.weights = weights;
out:
    free(scaled);
    free(biases);
    return status;
}

static Status depthwise_prepare(KernelSite *s, void **state)
{
    Status status;
    State *d = alloc_zeroed(1, sizeof *d);
    if (d == NULL) return err_no_memory(s->err, "kernel state");
    if (!geometry(s, &d->conv)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "a convolution for the library"));
    for (int i = 0; i < s->follower_count; i++) site_bounds(s, s->follower[i], &d->conv.low, &d->conv.high);
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&d->take.md, 4, s->in[0].shape.dims, dnnl_f32, dnnl_nChw8c), "order", s->err));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&d->make.md, 4, s->out[0].shape.dims, dnnl_f32, dnnl_nChw8c), "order", s->err));
    TRY_OUT(take_weights(s, d));
    for (int i = 1; i < s->node->input_count; i++) s->unused[i] = true;
    d->addend = site_adds(s) ? s->input_count - 1 : -1;
    s->take[0] = &d->take;
    s->make[0] = &d->make;
    if (d->addend > 0) s->take[d->addend] = &d->make;
out:
    if (status != OK) depthwise_release(d);
    else *state = d;
    return status;
}

static Status depthwise_run_kernel(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const State *d = state;
    depthwise_run(&d->conv, in[0], d->addend > 0 ? in[d->addend] : NULL, out[0]);
    return OK;
}

const Kernel kernels_depthwise[] = {
    { "depthwise", "Conv", depthwise_accept, depthwise_prepare, depthwise_run_kernel, depthwise_release, depthwise_fuse, false },
    { .name = NULL },
};
