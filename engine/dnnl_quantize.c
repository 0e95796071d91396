/* QuantizeLinear with the DequantizeLinear behind it, per tensor: x -> (saturate(round(x / scale) + zero) - zero) * scale in one pass,
 * in whatever order the elements are. The integers between are never stored; the result is the two operators' to the last bit.
 * And DynamicQuantizeLinear of blocked or row-major values, in the order they are there in. */
#include <math.h>
#include <stdlib.h>

#include "base/vectors.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/quantize.h"

typedef struct Rounding {
    Layout layout; /* of both sides, unless row-major */
    int64_t count;
    float scale, least, most; /* least and most: the ends of the integer range less the zero point */
} Rounding;

static bool rounding_accept(const KernelSite *s)
{
    const Tensor *scale = s->constant[1], *zero = s->input_count > 2 ? s->constant[2] : NULL;
    if (!site_is_float(s, 0) || scale == NULL || scale->type != DT_FLOAT || tensor_count(scale) != 1 || scale->shape.rank > 1) return false;
    if (s->input_count > 2 && s->value[2] != 0 && zero == NULL) return false;
    return dtype_is_byte(s->out[0].type) && tensor_get(scale, 0) > 0;
}

static bool same_constant(const Tensor *a, const Tensor *b)
{
    if (a == NULL || b == NULL) return a == b;
    return a->type == b->type && tensor_count(a) == 1 && tensor_count(b) == 1 && tensor_get(a, 0) == tensor_get(b, 0);
}

static bool rounding_fuse(const KernelSite *s, const Node *n)
{
    if (s->follower_count > 0 || n->domain.len != 0 || !str_is(n->type, "DequantizeLinear") ||
        n->inputs[0] != s->node->outputs[0]) return false;
    if (node_int(n, "output_dtype", DT_FLOAT) != DT_FLOAT || node_input(n, 1) == 0) return false;
    bool zero_constant = node_input(n, 2) == 0 || node_constant(s->graph, n, 2) != NULL;
    return zero_constant && same_constant(s->constant[1], node_constant(s->graph, n, 1)) &&
           same_constant(s->input_count > 2 ? s->constant[2] : NULL, node_constant(s->graph, n, 2));
}

static Status rounding_prepare(KernelSite *s, void **state)
{
    int64_t low, high, count;
    if (s->follower_count == 0 || !quant_range(s->made, &low, &high) ||
        !shape_count(&s->in[0].shape, &count))
        return err_set(s->err, ERR_UNSUPPORTED, "nothing to round");
    Rounding *r = calloc(1, sizeof *r);
    if (r == NULL) return err_no_memory(s->err, "kernel state");
    const Tensor *zero = s->input_count > 2 ? s->constant[2] : NULL;
    int64_t shift = zero != NULL ? tensor_get_int(zero, 0) : 0;
    r->scale = (float)tensor_get(s->constant[1], 0);
    r->least = (float)(low - shift);
    r->most = (float)(high - shift);
    r->count = count;
    if (s->given[0] != NULL) {
        r->layout = *s->given[0];
        r->count = (int64_t)(layout_bytes(s->given[0]) / sizeof(float));
        s->take[0] = s->make[0] = &r->layout;
    }
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    *state = r;
    return OK;
}

static Status rounding_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Rounding *r = state;
    const float *x = in[0];
    float *y = out[0], scale = r->scale, least = r->least, most = r->most;
#pragma omp parallel for simd schedule(static) if (r->count > PARALLEL_FROM)
    for (int64_t i = 0; i < r->count; i++) y[i] = quant_round(x[i] / scale, least, most) * scale;
    return OK;
}

/* --- DynamicQuantizeLinear */

typedef struct Ranged {
    Layout take, make; /* unless row-major */
    int64_t count;
} Ranged;

static bool ranged_accept(const KernelSite *s)
{
    int64_t count;
    return site_is_float(s, 0) && s->node->domain.len == 0 && shape_count(&s->in[0].shape, &count) && count > 0;
}

static Status ranged_prepare(KernelSite *s, void **state)
{
    Ranged *r = calloc(1, sizeof *r);
    const Shape *x = &s->in[0].shape;
    if (r == NULL) return err_no_memory(s->err, "kernel state");
    shape_count(x, &r->count);
    dnnl_dims_t dims = { 0 };
    for (int i = 0; i < x->rank && i < DNNL_MAX_NDIMS; i++) dims[i] = x->dims[i];
    static const dnnl_format_tag_t tags[] = { dnnl_nChw8c, dnnl_nhwc };
    for (int i = 0; i < 2 && s->given[0] != NULL && x->rank == 4; i++) {
        if (dnnl_memory_desc_init_by_tag(&r->take.md, 4, dims, dnnl_f32, tags[i]) != dnnl_success ||
            !layout_eq(&r->take, s->given[0]) ||
            dnnl_memory_desc_init_by_tag(&r->make.md, 4, dims, dnnl_u8, tags[i]) != dnnl_success) continue;
        r->count = (int64_t)layout_bytes(&r->make); /* with what is padded: zeros, which are in the range anyway */
        s->take[0] = &r->take;
        s->make[0] = &r->make;
        break;
    }
    *state = r;
    return OK;
}

VECTOR_BODY void find_range(const float *x, int64_t count, float *low, float *high)
{
    float least = 0, most = 0;
#pragma omp simd reduction(min : least) reduction(max : most)
    for (int64_t i = 0; i < count; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    *low = least;
    *high = most;
}

static void find_range_any(const float *x, int64_t count, float *low, float *high)
{
    find_range(x, count, low, high);
}

VECTOR_AVX2 static void find_range_avx2(const float *x, int64_t count, float *low, float *high)
{
    find_range(x, count, low, high);
}

VECTOR_BODY void quantize(const float *x, int64_t count, float scale, float zero, uint8_t *y)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (uint8_t)((int32_t)quant_round(x[i] / scale, -zero, 255 - zero) + (int32_t)zero);
}

static void quantize_any(const float *x, int64_t count, float scale, float zero, uint8_t *y)
{
    quantize(x, count, scale, zero, y);
}

VECTOR_AVX2 static void quantize_avx2(const float *x, int64_t count, float scale, float zero, uint8_t *y)
{
    quantize(x, count, scale, zero, y);
}

#define RANGE_PIECE 8192

static Status ranged_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Ranged *r = state;
    const float *x = in[0];
    float low = 0, high = 0;
#pragma omp parallel for schedule(static) reduction(min : low) reduction(max : high) if (r->count > PARALLEL_FROM)
    for (int64_t at = 0; at < r->count; at += RANGE_PIECE) {
        float least = 0, most = 0;
        VECTOR_PICK(find_range)(x + at, r->count - at < RANGE_PIECE ? r->count - at : RANGE_PIECE, &least, &most);
        low = least < low ? least : low;
        high = most > high ? most : high;
    }
    float scale = high == low ? 1 : (high - low) / 255, zero = rintf(fminf(fmaxf(-low / scale, 0), 255));
    uint8_t *y = out[0], *made_zero = out[2];
    if (out[1] != NULL) *(float *)out[1] = scale;
    if (made_zero != NULL) *made_zero = (uint8_t)zero;
    if (y == NULL) return OK;
#pragma omp parallel for schedule(static) if (r->count > PARALLEL_FROM)
    for (int64_t at = 0; at < r->count; at += RANGE_PIECE)
        VECTOR_PICK(quantize)(x + at, r->count - at < RANGE_PIECE ? r->count - at : RANGE_PIECE, scale, zero, y + at);
    return OK;
}

const Kernel kernels_quantize[] = {
    { "dynamic", "DynamicQuantizeLinear", ranged_accept, ranged_prepare, ranged_run, free, NULL, false },
    { "rounding", "QuantizeLinear", rounding_accept, rounding_prepare, rounding_run, free, rounding_fuse, false },
    { .name = NULL },
};
