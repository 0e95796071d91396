#include "engine/requantize.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/ops/common.h"
#include "engine/ops/quantize.h"

#define ROW_LEAST 256 /* elements that one inner loop is worth starting for */
#define BLOCK 16384   /* elements of one piece of work */

bool requantizer_finish(Requantizer *r)
{
    r->period = 1;
    if (r->class_of != NULL || r->filters >= ROW_LEAST) return true;
    r->period = (ROW_LEAST + r->filters - 1) / r->filters;
    size_t row = (size_t)r->filters, count = row * (size_t)r->period;
    int32_t *offsets = alloc_array(count, sizeof *offsets);
    float *multiplier = alloc_array(count, sizeof *multiplier);
    if (offsets == NULL || multiplier == NULL) {
        free(offsets);
        free(multiplier);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        offsets[i] = r->offsets[i % row];
        multiplier[i] = r->multiplier[i % row];
    }
    free(r->offsets);
    free(r->multiplier);
    r->offsets = offsets;
    r->multiplier = multiplier;
    return true;
}

void requantizer_release(Requantizer *r)
{
    free(r->offsets);
    free(r->class_of);
    free(r->multiplier);
    *r = (Requantizer){ 0 };
}

/* The inner loops, once for any x86 and once for AVX2: the same operations, so the same results. */
#define INLINE static inline __attribute__((always_inline))

/* Where sums come from: one part, two, or one in float32. */
typedef enum From { FROM_ONE, FROM_TWO, FROM_FLOATS } From;

INLINE int32_t sum_of(From from, const int32_t *a, const int32_t *b, const float *f, int64_t i)
{
    return from == FROM_ONE ? a[i] : from == FROM_TWO ? a[i] + b[i] : (int32_t)f[i];
}

INLINE void row(const Requantizer *r, From from, const int32_t *a, const int32_t *b, const int32_t *offset, int64_t n, int64_t at,
                void *out)
{
    const float *f = (const float *)(const void *)a, *multiplier = r->multiplier;
    float least = r->least, most = r->most, *floats = (float *)out + at;
    int32_t zero = r->zero, *integers = (int32_t *)out + at;
    uint8_t *bytes = (uint8_t *)out + at;
    if (r->type == DT_FLOAT) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) floats[i] = (float)(sum_of(from, a, b, f, i) + offset[i]) * multiplier[i];
    } else if (r->type == DT_INT32) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) integers[i] = sum_of(from, a, b, f, i) + offset[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)((int32_t)quant_round((float)(sum_of(from, a, b, f, i) + offset[i]) * multiplier[i], least, most) + zero);
    }
}

INLINE void add_bytes(const ByteAdder *s, const uint8_t *a, const uint8_t *b, int64_t n, uint8_t *y)
{
    /* a signed byte is an unsigned one with the upper bit turned, less 128 */
    uint8_t turn_a = s->is_signed[0] ? 128 : 0, turn_b = s->is_signed[1] ? 128 : 0;
    int32_t zero_a = s->zero[0] + turn_a, zero_b = s->zero[1] + turn_b, zero = s->made_zero;
    float scale_a = s->scale[0], scale_b = s->scale[1], by = s->by, least = s->least, most = s->most;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float first = (float)((int32_t)(uint8_t)(a[i] ^ turn_a) - zero_a) * scale_a;
        float second = (float)((int32_t)(uint8_t)(b[i] ^ turn_b) - zero_b) * scale_b;
        y[i] = (uint8_t)((int32_t)quant_round((first + second) / by, least, most) + zero);
    }
}

INLINE void read_bytes(const ByteGrid *g, const uint8_t *in, int64_t n, float *out)
{
    uint8_t turn = g->is_signed ? 128 : 0;
    int32_t zero = g->zero + turn;
    float scale = g->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (float)((int32_t)(uint8_t)(in[i] ^ turn) - zero) * scale;
}

INLINE void write_bytes(const ByteGrid *g, const float *in, int64_t n, uint8_t *out)
{
    float least = g->least, most = g->most, scale = g->scale;
    int32_t zero = g->zero;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)((int32_t)quant_round(in[i] / scale, least, most) + zero);
}

INLINE void rows_from(const Requantizer *r, From from, int32_t *const *sums, int64_t first, int64_t last, void *out)
{
    int64_t span = r->filters * r->period;
    for (int64_t i = first; i < last; i += r->period) {
        int64_t at = i * r->filters, n = i + r->period <= last ? span : (last - i) * r->filters;
        const int32_t *offset = r->offsets + (r->class_of != NULL ? (int64_t)r->class_of[i % r->pixels] * r->filters : 0);
        row(r, from, sums[0] + at, from == FROM_TWO ? sums[1] + at : NULL, offset, n, at, out);
    }
}

INLINE void rows(const Requantizer *r, int32_t *const *sums, int parts, int64_t first, int64_t last, void *out)
{
    if (parts == 2) rows_from(r, FROM_TWO, sums, first, last, out);
    else if (r->in_floats) rows_from(r, FROM_FLOATS, sums, first, last, out);
    else rows_from(r, FROM_ONE, sums, first, last, out);
}

static void rows_any(const Requantizer *r, int32_t *const *sums, int parts, int64_t first, int64_t last, void *out)
{
    rows(r, sums, parts, first, last, out);
}

static void add_any(const ByteAdder *s, const uint8_t *a, const uint8_t *b, int64_t n, uint8_t *y)
{
    add_bytes(s, a, b, n, y);
}

static void read_any(const ByteGrid *g, const uint8_t *in, int64_t n, float *out)
{
    read_bytes(g, in, n, out);
}

static void write_any(const ByteGrid *g, const float *in, int64_t n, uint8_t *out)
{
    write_bytes(g, in, n, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void rows_avx2(const Requantizer *r, int32_t *const *sums, int parts, int64_t first, int64_t last,
                                                      void *out)
{
    rows(r, sums, parts, first, last, out);
}

__attribute__((target("avx2"))) static void add_avx2(const ByteAdder *s, const uint8_t *a, const uint8_t *b, int64_t n, uint8_t *y)
{
    add_bytes(s, a, b, n, y);
}

__attribute__((target("avx2"))) static void read_avx2(const ByteGrid *g, const uint8_t *in, int64_t n, float *out)
{
    read_bytes(g, in, n, out);
}

__attribute__((target("avx2"))) static void write_avx2(const ByteGrid *g, const float *in, int64_t n, uint8_t *out)
{
    write_bytes(g, in, n, out);
}
#define PICK(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_any)
#else
#define PICK(name) name##_any
#endif

void requantizer_run(const Requantizer *r, int32_t *const *sums, int parts, int64_t count, void *out)
{
    void (*run)(const Requantizer *, int32_t *const *, int, int64_t, int64_t, void *) = PICK(rows);
    int64_t step = BLOCK / r->filters / r->period * r->period, total = count * r->filters;
    if (step < r->period) step = r->period;
    for (int p = 2; p < parts; p++) {
        int32_t *to = sums[0];
        const int32_t *from = sums[p];
#pragma omp parallel for simd schedule(static) if (total > PARALLEL_FROM)
        for (int64_t i = 0; i < total; i++) to[i] += from[i];
    }
    int left = parts < 2 ? parts : 2;
#pragma omp parallel for schedule(static) if (total > PARALLEL_FROM)
    for (int64_t first = 0; first < count; first += step) run(r, sums, left, first, first + step < count ? first + step : count, out);
}

void byte_add(const ByteAdder *s, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    void (*run)(const ByteAdder *, const uint8_t *, const uint8_t *, int64_t, uint8_t *) = PICK(add);
#pragma omp parallel for schedule(static) if (s->count > PARALLEL_FROM)
    for (int64_t first = 0; first < s->count; first += BLOCK)
        run(s, a + first, b + first, s->count - first < BLOCK ? s->count - first : BLOCK, y + first);
}

void byte_read(const ByteGrid *g, const uint8_t *in, int64_t count, float *out)
{
    void (*run)(const ByteGrid *, const uint8_t *, int64_t, float *) = PICK(read);
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t first = 0; first < count; first += BLOCK) run(g, in + first, count - first < BLOCK ? count - first : BLOCK, out + first);
}

void byte_write(const ByteGrid *g, const float *in, int64_t count, uint8_t *out)
{
    void (*run)(const ByteGrid *, const float *, int64_t, uint8_t *) = PICK(write);
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t first = 0; first < count; first += BLOCK) run(g, in + first, count - first < BLOCK ? count - first : BLOCK, out + first);
}
