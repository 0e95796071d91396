/* Attention as exporters spell it: MatMul of queries and transposed keys, a factor, a mask, Softmax, MatMul with the values. One head at a
 * time, a few queries at a time, so that scores never leave the cache; operands are taken in the order they are there in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/openmp.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"

/* Vectors of eight are taken apart where the processor has them not: then other rows are faster. */
#if defined(__x86_64__)
#include <immintrin.h>
#define VECTORS __attribute__((target("avx2,fma")))
#define HAS_VECTORS (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define VECTORS
#define HAS_VECTORS true
#endif
#define INLINE VECTORS static inline __attribute__((always_inline))
#define ROWS 4  /* queries at a time: as many as `product` names */
#define WIDE 16 /* scores at a time */

typedef float V8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t I8 __attribute__((vector_size(32), aligned(4)));

/* y[B,H,L,E] = softmax(factor q[B,H,L,D] k[B,H,D,S] + mask) v[B,H,S,E] */
typedef struct Attention {
    Device *device;
    Layout take[3];
    int64_t batch, heads, queries, keys, depth, width; /* B, H, L, S, D, E */
    int64_t q[4], k[4], v[4], mask[4];                 /* steps of elements along each axis */
    int mask_at, v_at;                                 /* inputs; -1: no mask */
    int64_t padded_keys, padded_width;                 /* whole vectors */
    size_t scratch;                                    /* floats of one thread */
    int threads;
    float factor;
} Attention;

static bool is_rank4(const TypeInfo *t)
{
    if (t->type != DT_FLOAT || t->shape.rank != 4) return false;
    for (int i = 0; i < 4; i++)
        if (t->shape.dims[i] < 1) return false;
    return true;
}

static bool attention_accept(const KernelSite *s)
{
    return HAS_VECTORS && s->input_count == 2 && s->constant[0] == NULL && s->constant[1] == NULL && is_rank4(&s->in[0]) &&
           is_rank4(&s->in[1]);
}

static const Node *last_of(const KernelSite *s)
{
    return s->follower_count > 0 ? s->follower[s->follower_count - 1] : s->node;
}

/* The constant that the scores are multiplied by (divided: its inverse); false: no such node. */
static bool factor_of(const KernelSite *s, const Node *n, ValueId scores, float *factor)
{
    bool divides = str_is(n->type, "Div");
    if ((!divides && !str_is(n->type, "Mul")) || n->input_count != 2 || n->inputs[0] == n->inputs[1]) return false;
    int at = n->inputs[0] == scores ? 1 : 0;
    const Tensor *t = node_constant(s->graph, n, at);
    if (t == NULL || t->type != DT_FLOAT || tensor_count(t) != 1 || t->shape.rank > 4 || (divides && at == 0)) return false;
    double x = tensor_get(t, 0);
    *factor = (float)(divides ? 1 / x : x);
    return true;
}

/* A factor, a mask, Softmax, the values: in this order, the first two only where they are. */
static bool attention_fuse(const KernelSite *s, const Node *n)
{
    const Node *last = last_of(s);
    float factor;
    ValueId between = last->outputs[0];
    if (n->domain.len != 0 || (n->op != NULL && n->op->until != 0 && n->op->until < 7)) return false;
    if (factor_of(s, n, between, &factor)) return last == s->node;
    if (str_is(n->type, "Add")) {
        bool first = last == s->node || str_is(last->type, "Mul") || str_is(last->type, "Div");
        return first && n->input_count == 2 && n->inputs[0] != n->inputs[1];
    }
    if (str_is(n->type, "Softmax")) return s->follower_count == 0 || !str_is(last->type, "Softmax");
    return str_is(n->type, "MatMul") && str_is(last->type, "Softmax") && n->inputs[0] == between && n->inputs[1] != between;
}

/* Steps of a tensor as it is there; false where elements lie in blocks. */
static bool steps_of(const KernelSite *s, int i, Layout *take, int64_t *steps)
{
    const dnnl_dim_t *found = md_given(s, i, &take->md) ? memory_strides(&take->md) : NULL;
    for (int k = 0; k < 4 && found != NULL; k++) steps[k] = found[k];
    return found != NULL;
}

static bool mask_fits(const KernelSite *s, Attention *a)
{
    Shape scores = shape_of(4, (int64_t[]){ a->batch, a->heads, a->queries, a->keys }), joined;
    const TypeInfo *mask = &s->in[a->mask_at];
    if (mask->type != DT_FLOAT || s->given[a->mask_at] != NULL || !shape_broadcast(&mask->shape, &scores, &joined)) return false;
    if (!shape_eq(&joined, &scores)) return false;
    strides_broadcast(&mask->shape, &scores, a->mask);
    return true;
}

/* Fills `a` from the site and its followers; false: it is no attention. */
static bool attention_of(const KernelSite *s, Attention *a)
{
    const Shape *q = &s->in[0].shape, *k = &s->in[1].shape;
    *a = (Attention){ .device = s->device, .batch = q->dims[0], .heads = q->dims[1], .queries = q->dims[2], .depth = q->dims[3],
                      .keys = k->dims[3], .mask_at = -1, .factor = 1 };
    int next = 2;
    bool soft = false, done = false;
    ValueId before = s->node->outputs[0];
    for (int i = 0; i < s->follower_count; i++) {
        const Node *n = s->follower[i];
        if (str_is(n->type, "Softmax")) {
            int64_t axis = node_int(n, "axis", s->opset < 13 ? 1 : -1);
            soft = axis == -1 || axis == 3;
        } else if (str_is(n->type, "Add")) {
            a->mask_at = next++;
        } else if (str_is(n->type, "MatMul")) {
            a->v_at = next++;
            done = soft;
        } else if (!factor_of(s, n, before, &a->factor)) {
            return false;
        }
        before = n->outputs[0];
    }
    if (!done || next != s->input_count || !is_rank4(&s->in[a->v_at])) return false;
    const Shape *v = &s->in[a->v_at].shape;
    a->width = v->dims[3];
    for (int i = 0; i < 2; i++)
        if (k->dims[i] != q->dims[i] || v->dims[i] != q->dims[i]) return false;
    if (k->dims[2] != a->depth || v->dims[2] != a->keys || (a->mask_at >= 0 && !mask_fits(s, a))) return false;
    return steps_of(s, 0, &a->take[0], a->q) && steps_of(s, 1, &a->take[1], a->k) && steps_of(s, a->v_at, &a->take[2], a->v);
}

static Status attention_prepare(KernelSite *s, void **state)
{
    Attention found;
    if (!attention_of(s, &found)) return err_set(s->err, ERR_UNSUPPORTED, "no attention");
    Attention *a = malloc(sizeof *a);
    if (a == NULL) return err_no_memory(s->err, "kernel state");
    *a = found;
    a->padded_keys = (a->keys + WIDE - 1) / WIDE * WIDE;
    a->padded_width = (a->width + 7) / 8 * 8;
    int64_t floats = (a->depth + ROWS) * a->padded_keys + a->padded_keys * a->padded_width + ROWS * (a->depth + a->padded_width) + WIDE;
    a->scratch = (size_t)floats;
    a->threads = omp_get_max_threads();
    Status status = device_scratch(s->device, a->scratch * sizeof(float) * (size_t)a->threads, s->err);
    if (status != OK) {
        free(a);
        return status;
    }
    const int at[3] = { 0, 1, a->v_at };
    for (int i = 0; i < 3; i++) s->take[at[i]] = s->given[at[i]] != NULL ? &a->take[i] : NULL;
    *state = a;
    return OK;
}

/* --- one head */

/* sum + b x in every lane */
INLINE V8 add_product(V8 sum, V8 b, float x)
{
    V8 all = { x, x, x, x, x, x, x, x };
#if defined(__x86_64__)
    return (V8)_mm256_fmadd_ps((__m256)b, (__m256)all, (__m256)sum);
#else
    return sum + b * all;
#endif
}

/* A matrix whose rows lie `step` apart. */
typedef struct Rows {
    const float *at;
    int64_t step;
} Rows;

/* c[ROWS,n] = a[ROWS,k] b[k,n], n a multiple of 8. Sums by name, so that they stay in registers. */
INLINE void product(Rows a, int64_t k, Rows b, int64_t n, float *c)
{
    const float *a0 = a.at, *a1 = a0 + a.step, *a2 = a1 + a.step, *a3 = a2 + a.step;
    int64_t j = 0;
    for (; j + WIDE <= n; j += WIDE) {
        V8 s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 }, t0 = { 0 }, t1 = { 0 }, t2 = { 0 }, t3 = { 0 };
        const float *at = b.at + j;
        for (int64_t i = 0; i < k; i++, at += b.step) {
            V8 b0 = *(const V8 *)at, b1 = *(const V8 *)(at + 8);
            s0 = add_product(s0, b0, a0[i]);
            t0 = add_product(t0, b1, a0[i]);
            s1 = add_product(s1, b0, a1[i]);
            t1 = add_product(t1, b1, a1[i]);
            s2 = add_product(s2, b0, a2[i]);
            t2 = add_product(t2, b1, a2[i]);
            s3 = add_product(s3, b0, a3[i]);
            t3 = add_product(t3, b1, a3[i]);
        }
        float *to = c + j;
        *(V8 *)to = s0;
        *(V8 *)(to + 8) = t0;
        *(V8 *)(to + n) = s1;
        *(V8 *)(to + n + 8) = t1;
        *(V8 *)(to + 2 * n) = s2;
        *(V8 *)(to + 2 * n + 8) = t2;
        *(V8 *)(to + 3 * n) = s3;
        *(V8 *)(to + 3 * n + 8) = t3;
    }
    for (; j < n; j += 8) {
        V8 s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };
        for (int64_t i = 0; i < k; i++) {
            V8 b0 = *(const V8 *)(b.at + i * b.step + j);
            s0 = add_product(s0, b0, a0[i]);
            s1 = add_product(s1, b0, a1[i]);
            s2 = add_product(s2, b0, a2[i]);
            s3 = add_product(s3, b0, a3[i]);
        }
        *(V8 *)(c + j) = s0;
        *(V8 *)(c + n + j) = s1;
        *(V8 *)(c + 2 * n + j) = s2;
        *(V8 *)(c + 3 * n + j) = s3;
    }
}

/* e^x for x at most 0, to 1e-7 of it; 0 below the smallest normal number, NaN stays. */
INLINE V8 exponential(V8 x)
{
    const float least = -87.0F;
    I8 low = x < least;
    V8 t = (V8)(((I8)x & ~low) | ((I8)(V8){ least, least, least, least, least, least, least, least } & low));
    V8 n = t * 1.44269504F - 0.5F; /* truncation rounds to the nearest: t is not above 0 */
    I8 whole = __builtin_convertvector(n, I8);
    V8 k = __builtin_convertvector(whole, V8);
    V8 r = (t - k * 0.693359375F) - k * -2.12194440e-4F;
    V8 p = r * 1.9875691500e-4F + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    V8 power = (V8)((whole + 127) << 23);
    return (V8)((I8)(p * power) & ~low);
}

/* Scores to weights whose sum is returned; NaN where the row has no largest score. */
INLINE float soften(float *row, int64_t n, int64_t padded, float factor, const float *mask, int64_t step)
{
    float most = -INFINITY, sum = 0;
    if (mask == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) row[i] *= factor;
    } else if (step == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) row[i] = row[i] * factor + mask[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) row[i] = row[i] * factor + mask[0];
    }
    for (int64_t i = n; i < padded; i++) row[i] = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) most = row[i] > most ? row[i] : most;
    if (!isfinite(most)) return NAN;
    V8 sums = { 0 };
    for (int64_t i = 0; i < padded; i += 8) {
        V8 e = exponential(*(V8 *)(row + i) - most);
        *(V8 *)(row + i) = e;
        sums += e;
    }
    for (int i = 0; i < 8; i++) sum += sums[i];
    return sum;
}

/* k[depth, keys] row by row, with zeros behind. */
INLINE void lay_keys(const Attention *a, const float *k, float *kt)
{
    int64_t keys = a->padded_keys;
    for (int64_t s = 0; s + 8 <= a->keys; s += 8) /* lines of eight keys are read to their end */
        for (int64_t d = 0; d < a->depth; d++) {
            const float *from = k + d * a->k[2] + s * a->k[3];
            for (int64_t i = 0; i < 8; i++) kt[d * keys + s + i] = from[i * a->k[3]];
        }
    for (int64_t d = 0; d < a->depth; d++) {
        for (int64_t s = a->keys / 8 * 8; s < a->keys; s++) kt[d * keys + s] = k[d * a->k[2] + s * a->k[3]];
        for (int64_t s = a->keys; s < keys; s++) kt[d * keys + s] = 0;
    }
}

/* v[keys, width], in whole vectors: as it is, or copied. */
INLINE Rows lay_values(const Attention *a, const float *v, float *values)
{
    int64_t width = a->padded_width;
    if (a->v[3] == 1 && a->width == width) return (Rows){ v, a->v[2] };
    memset(values, 0, (size_t)(a->keys * width) * sizeof *values);
    for (int64_t s = 0; s < a->keys; s++)
        for (int64_t e = 0; e < a->width; e++) values[s * width + e] = v[s * a->v[2] + e * a->v[3]];
    return (Rows){ values, width };
}

/* ROWS queries from q on, of which `count` are there. */
INLINE Rows lay_queries(const Attention *a, const float *q, int64_t count, float *rows)
{
    if (a->q[3] == 1 && count == ROWS) return (Rows){ q, a->q[2] };
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t d = 0; d < a->depth; d++) rows[r * a->depth + d] = r < count ? q[r * a->q[2] + d * a->q[3]] : 0;
    return (Rows){ rows, a->depth };
}

INLINE void divide(const float *made, float sum, int64_t width, float *y)
{
    V8 all = { sum, sum, sum, sum, sum, sum, sum, sum };
    int64_t e = 0;
    for (; e + 8 <= width; e += 8) *(V8 *)(y + e) = *(const V8 *)(made + e) / all;
    for (; e < width; e++) y[e] = made[e] / sum;
}

VECTORS static void attend_head(const Attention *a, const float *q, const float *k, const float *v, const float *mask, float *y,
                                float *scratch)
{
    int64_t keys = a->padded_keys, width = a->padded_width;
    float *kt = scratch, *scores = kt + a->depth * keys, *values = scores + ROWS * keys, *rows = values + keys * width;
    float *made = rows + ROWS * a->depth;
    lay_keys(a, k, kt);
    Rows laid = lay_values(a, v, values);
    for (int64_t l = 0; l < a->queries; l += ROWS) {
        int64_t count = a->queries - l < ROWS ? a->queries - l : ROWS;
        float sum[ROWS];
        product(lay_queries(a, q + l * a->q[2], count, rows), a->depth, (Rows){ kt, keys }, keys, scores);
        for (int64_t r = 0; r < count; r++)
            sum[r] = soften(scores + r * keys, a->keys, keys, a->factor, mask != NULL ? mask + (l + r) * a->mask[2] : NULL, a->mask[3]);
        product((Rows){ scores, keys }, a->keys, laid, width, made);
        for (int64_t r = 0; r < count; r++) divide(made + r * width, sum[r], a->width, y + (l + r) * a->width);
    }
}

static Status attention_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Attention *a = state;
    const float *q = in[0], *k = in[1], *v = in[a->v_at], *mask = a->mask_at >= 0 ? in[a->mask_at] : NULL;
    float *y = out[0], *scratch = a->device->scratch;
#pragma omp parallel for num_threads(a->threads) schedule(static) if (a->batch * a->heads * a->queries * a->keys > PARALLEL_FROM)
    for (int64_t i = 0; i < a->batch * a->heads; i++) {
        int64_t b = i / a->heads, h = i % a->heads;
        attend_head(a, q + b * a->q[0] + h * a->q[1], k + b * a->k[0] + h * a->k[1], v + b * a->v[0] + h * a->v[1],
                    mask != NULL ? mask + b * a->mask[0] + h * a->mask[1] : NULL, y + i * a->queries * a->width,
                    scratch + (size_t)omp_get_thread_num() * a->scratch);
    }
    return OK;
}

const Kernel kernels_attention[] = {
    { .name = "attention", .op = "MatMul", .accept = attention_accept, .prepare = attention_prepare, .run = attention_run, .release = free,
      .fuse = attention_fuse, .reshapes = true },
    { .name = NULL },
};
