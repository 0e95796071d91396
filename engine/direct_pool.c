/* Pooling over channels that lie side by side, eight at a time. Loads bound it; what is worth care is what stands around them: windows
 * inside the plane have constant bounds where they are 2x2 or 3x3, and NaN, which no maximum keeps, is only looked for, row by row, and the
 * row done again where there is one. */
#include "engine/direct_pool.h"

#include <math.h>

#include "engine/avx2.h"

#define LANES 8

/* A window inside a plane. */
typedef struct Taps {
    int64_t rows, columns, row_step, step; /* steps in floats */
    float area;
} Taps;

/* One channel. */
static float one(const Pool *p, const Taps *t, const float *x)
{
    float best = -INFINITY, sum[4] = { 0, 0, 0, 0 };
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t s = 0; s < t->columns; s++) {
            float v = x[r * t->row_step + s * t->step];
            sum[s % 4] += p->average ? v : 0;
            if (v > best || v != v) best = v; /* NaN stays */
        }
    return p->average ? (sum[0] + sum[1] + (sum[2] + sum[3])) / t->area : best;
}

#if defined(__x86_64__)

/* One more pixel. *odd: all ones where any was NaN. */
AVX2_INLINE __m256 larger(__m256 best, const float *x, __m256 *odd)
{
    __m256 v = _mm256_loadu_ps(x);
    *odd = _mm256_or_ps(*odd, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_max_ps(v, best);
}

AVX2_INLINE __m256 maximum(const float *x, const Taps *t, __m256 *odd)
{
    __m256 best = _mm256_set1_ps(-INFINITY);
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t s = 0; s < t->columns; s++) best = larger(best, x + r * t->row_step + s * t->step, odd);
    return best;
}

/* Of a small square window: a constant where it is called. */
AVX2_INLINE __m256 maximum_of(const float *x, int size, int64_t row_step, int64_t step, __m256 *odd)
{
    __m256 best = _mm256_set1_ps(-INFINITY);
    UNROLL
    for (int r = 0; r < size; r++)
        UNROLL
        for (int s = 0; s < size; s++) best = larger(best, x + r * row_step + s * step, odd);
    return best;
}

AVX2_INLINE __m256 average(const float *x, const Taps *t)
{
    __m256 sum[4];
    UNROLL
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
    for (int64_t r = 0; r < t->rows; r++, x += t->row_step) {
        int64_t s = 0;
        for (; s + 4 <= t->columns; s += 4)
            UNROLL
            for (int i = 0; i < 4; i++) sum[i] = _mm256_add_ps(sum[i], _mm256_loadu_ps(x + (s + i) * t->step));
        UNROLL
        for (int i = 0; i < 3; i++)
            if (s + i < t->columns) sum[i] = _mm256_add_ps(sum[i], _mm256_loadu_ps(x + (s + i) * t->step));
    }
    __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    return _mm256_div_ps(all, _mm256_set1_ps(t->area));
}

/* Maxima of pixels from..to of a row whose windows have `size` rows and columns, x at the first one's. */
AVX2_INLINE void maxima(const Pool *p, const float *x, int size, int64_t inner, int64_t from, int64_t to, float *y, __m256 *odd)
{
    int64_t row_step = p->in[1] * inner, step = p->stride[1] * inner;
    for (int64_t q = from; q < to; q++, x += step)
        for (int64_t c = 0; c + LANES <= inner; c += LANES)
            _mm256_storeu_ps(y + q * inner + c, maximum_of(x + c, size, row_step, inner, odd));
}

/* All channels of a pixel, in eights; what is left is one by one. */
AVX2_INLINE void pixel(const Pool *p, const Taps *t, const float *x, float *y, __m256 *odd)
{
    int64_t c = 0;
    for (; c + LANES <= p->inner; c += LANES)
        _mm256_storeu_ps(y + c, p->average ? average(x + c, t) : maximum(x + c, t, odd));
    for (; c < p->inner; c++) y[c] = one(p, t, x + c);
}

/* Taps of output `at` along an axis that lie inside: *first of x, and how many. */
static int64_t inside(const Pool *p, int axis, int64_t at, int64_t *first)
{
    int64_t start = at * p->stride[axis] - p->begin[axis], end = start + p->kernel[axis];
    *first = start > 0 ? start : 0;
    return (end < p->in[axis] ? end : p->in[axis]) - *first;
}

static const float *window(const Pool *p, const float *plane, int64_t row, int64_t q, Taps *t)
{
    int64_t top, left;
    *t = (Taps){ .row_step = p->in[1] * p->inner, .step = p->inner };
    t->rows = inside(p, 0, row, &top);
    t->columns = inside(p, 1, q, &left);
    t->area = (float)(p->padded ? p->kernel[0] * p->kernel[1] : t->rows * t->columns);
    if (t->columns == p->in[1]) { /* rows that follow one another are one */
        t->columns *= t->rows;
        t->rows = 1;
    }
    return plane + top * t->row_step + left * t->step;
}

/* A row of one plane; whole: pixels first..last have whole windows. */
AVX2 static void row_of(const Pool *p, const float *plane, int64_t row, const int64_t whole[2], float *y)
{
    __m256 odd = _mm256_setzero_ps();
    int64_t first = whole[1], last = whole[1], top, size = p->kernel[0];
    Taps t;
    if (!p->average && size == p->kernel[1] && (size == 2 || size == 3) && p->inner % LANES == 0 && inside(p, 0, row, &top) == size) {
        first = whole[0];
        const float *x = plane + (top * p->in[1] + first * p->stride[1] - p->begin[1]) * p->inner;
        if (size == 2 && p->inner == LANES) maxima(p, x, 2, LANES, first, last, y, &odd);
        else if (size == 2) maxima(p, x, 2, p->inner, first, last, y, &odd);
        else if (p->inner == LANES) maxima(p, x, 3, LANES, first, last, y, &odd);
        else maxima(p, x, 3, p->inner, first, last, y, &odd);
    }
    for (int64_t q = 0; q < p->out[1]; q++) {
        if (q == first) q = last;
        if (q == p->out[1]) break;
        const float *x = window(p, plane, row, q, &t);
        pixel(p, &t, x, y + q * p->inner, &odd);
    }
    if (_mm256_movemask_ps(odd) == 0) return;
    for (int64_t q = 0; q < p->out[1]; q++)
        for (int64_t c = 0; c < p->inner; c++) {
            const float *x = window(p, plane, row, q, &t);
            y[q * p->inner + c] = one(p, &t, x + c);
        }
}

void pool_rows(const Pool *p, const float *x, int64_t from, int64_t to, float *y)
{
    int64_t room = p->in[1] + p->begin[1] - p->kernel[1], whole[2];
    whole[0] = (p->begin[1] + p->stride[1] - 1) / p->stride[1];
    whole[1] = room < 0 ? 0 : room / p->stride[1] + 1;
    if (whole[1] > p->out[1]) whole[1] = p->out[1];
    if (whole[0] > whole[1]) whole[0] = whole[1];
    const float *plane = x + from / p->out[0] * p->in[0] * p->in[1] * p->inner;
    for (int64_t r = from, row = from % p->out[0]; r < to; r++) {
        row_of(p, plane, row, whole, y + r * p->out[1] * p->inner);
        if (++row < p->out[0]) continue;
        row = 0;
        plane += p->in[0] * p->in[1] * p->inner;
    }
}
#else
void pool_rows(const Pool *p, const float *x, int64_t from, int64_t to, float *y)
{
    (void)p, (void)x, (void)from, (void)to, (void)y;
}
#endif
