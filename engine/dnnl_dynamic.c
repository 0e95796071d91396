/* MatMulInteger whose zero point is found while the network runs (DynamicQuantizeLinear), with constant weights, and a Cast to float32
 * behind it: the bytes less their zero point and the weights less theirs go through the float32 product, which adds whole numbers exactly
 * below 2^24. */
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/integer_weights.h"
#include "engine/ops/common.h"

typedef struct Dynamic {
    Primitive *product;
    int64_t in_count, out_count;
    bool is_signed, zero, casts;
} Dynamic;

static bool dynamic_accept(const KernelSite *s)
{
    int64_t count;
    const Shape *x = &s->in[0].shape, *w = &s->in[1].shape;
    if (s->node->domain.len != 0 || !dtype_is_byte(s->in[0].type) || !dtype_is_byte(s->in[1].type) || s->constant[1] == NULL) return false;
    if (w->rank != 2 || x->rank < 1 || !shape_count(x, &count) || count < 1 || x->dims[x->rank - 1] != w->dims[0]) return false;
    if (s->input_count > 2 && s->value[2] != 0 && (!shape_count(&s->in[2].shape, &count) || count != 1)) return false;
    if (s->input_count < 4 || s->value[3] == 0) return true;
    return s->constant[3] != NULL && (tensor_count(s->constant[3]) == 1 || tensor_count(s->constant[3]) == w->dims[1]);
}

static bool dynamic_fuse(const KernelSite *s, const Node *n)
{
    return s->follower_count == 0 && node_is(n, "Cast") && node_int(n, "to", 0) == DT_FLOAT;
}

static void dynamic_release(void *state)
{
    Dynamic *d = state;
    if (d == NULL) return;
    primitive_release(d->product);
    free(d);
}

/* The scratch memory: bytes as floats, behind them the sums where integers are asked for. */
static size_t in_bytes(const Dynamic *d)
{
    return ((size_t)d->in_count * sizeof(float) + 63) / 64 * 64;
}

static Status product_of(KernelSite *s, Dynamic *d, const IntegerWeights *w)
{
    int64_t rows = d->in_count / w->channels;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t plain;
    uint64_t zero = s->input_count > 3 ? s->value[3] : 0;
    Status status;
    float *floats = alloc_array((size_t)(w->channels * w->filters), sizeof *floats);
    if (floats == NULL) return err_no_memory(s->err, "integer weights");
    for (int64_t i = 0; i < w->channels * w->filters; i++) floats[i] = w->data[i];
    TRY_OUT(primitive_new(s->device, &d->product, s->err));
    TRY_OUT(product_desc(s->device, rows, w->channels, w->filters, false, NULL, &desc, s->err));
    if (!md_plain(&plain, dnnl_f32, 4, (const int64_t[]){ w->filters, w->channels, 1, 1 })) {
        status = err_set(s->err, ERR_UNSUPPORTED, "empty weights");
        goto out;
    }
    status = primitive_weighted(d->product, desc, s->value[1], zero << 16 | 1, floats, &plain, s->err);
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    free(floats);
    return status;
}

static Status dynamic_prepare(KernelSite *s, void **state)
{
    IntegerWeights w = { 0 };
    Status status;
    Dynamic *d = alloc_zeroed(1, sizeof *d);
    if (d == NULL) return err_no_memory(s->err, "kernel state");
    if (!shape_count(&s->in[0].shape, &d->in_count) || !shape_count(&s->out[0].shape, &d->out_count)) {
        status = err_set(s->err, ERR_UNSUPPORTED, "a product that is too large");
        goto out;
    }
    d->is_signed = s->in[0].type == DT_INT8;
    d->zero = s->input_count > 2 && s->value[2] != 0;
    d->casts = s->follower_count > 0;
    TRY_OUT(integer_weights_whole(&w, s->constant[1], s->input_count > 3 ? s->constant[3] : NULL, true, s->err));
    TRY_OUT(product_of(s, d, &w));
    TRY_OUT(device_scratch(s->device, in_bytes(d) + (d->casts ? 0 : (size_t)d->out_count * sizeof(float)), s->err));
    s->unused[1] = true;
    if (s->input_count > 3) s->unused[3] = true;
out:
    integer_weights_release(&w);
    if (status != OK) dynamic_release(d);
    else *state = d;
    return status;
}

static Status dynamic_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Dynamic *d = state;
    float *x = d->product->device->scratch, *sums = (float *)((uint8_t *)x + in_bytes(d));
    const uint8_t *u = in[0], *zero = d->zero ? in[2] : NULL;
    const int8_t *i8 = in[0];
    int32_t shift = zero == NULL ? 0 : d->is_signed ? (int8_t)*zero : *zero;
    if (d->is_signed) {
#pragma omp parallel for simd schedule(static) if (d->in_count > PARALLEL_FROM)
        for (int64_t i = 0; i < d->in_count; i++) x[i] = (float)(i8[i] - shift);
    } else {
#pragma omp parallel for simd schedule(static) if (d->in_count > PARALLEL_FROM)
        for (int64_t i = 0; i < d->in_count; i++) x[i] = (float)(u[i] - shift);
    }
    if (d->casts) return primitive_run(d->product, (const void *[]){ x }, out, err);
    TRY(primitive_run(d->product, (const void *[]){ x }, (void *[]){ sums }, err));
    int32_t *y = out[0];
#pragma omp parallel for simd schedule(static) if (d->out_count > PARALLEL_FROM)
    for (int64_t i = 0; i < d->out_count; i++) y[i] = (int32_t)sums[i];
    return OK;
}

const Kernel kernels_dynamic[] = {
    { "dynamic", "MatMulInteger", dynamic_accept, dynamic_prepare, dynamic_run, dynamic_release, dynamic_fuse, false },
    { .name = NULL },
};
