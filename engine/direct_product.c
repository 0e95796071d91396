/* Products of a few rows with constant weights, for AVX2 with FMA: what they cost is the reading of the weights, from the cache or from
 * memory, once for up to three rows. Four panels of eight filters are read at a time, each in order, which keeps the processor's
 * prefetching ahead; channels are dealt to several sums where there are few others under way.
 *
 *   for each four panels, for each three rows:  sums[row][panel][c % several] += x[row, c] * weights[panel, c]     over c */
#include "engine/direct_product.h"

#include <stddef.h>

#include "base/openmp.h"

#define SHARED_FROM 131072 /* products that are worth a second thread */

#if defined(__x86_64__)
#include <immintrin.h>

#define PANELS 4
#define ROWS 3
#define MOST_SUMS 8 /* of one element */

/* Sums are in registers only where all their indices are constants. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline, target("avx2,fma")))

/* Lanes below `count`. */
INLINE __m256i lanes(int64_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count < 8 ? count : 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Filters from k on of rows `rows` from x on, in `panels` panels and by `parts` sums: constants where it is called. */
INLINE void tile(const Product *p, int64_t k, int rows, int panels, int parts, const float *x, const float *addend, float *y)
{
    __m256 sum[ROWS][PANELS][MOST_SUMS];
    int64_t channels = p->channels, panel = channels * 8, c = 0;
    const float *w = p->weights + k * channels;
    UNROLL
    for (int v = 0; v < panels; v++) {
        __m256 bias = p->bias != NULL ? _mm256_loadu_ps(p->bias + k + 8 * v) : _mm256_setzero_ps();
        UNROLL
        for (int r = 0; r < rows; r++)
            UNROLL
            for (int u = 0; u < parts; u++) sum[r][v][u] = u == 0 ? bias : _mm256_setzero_ps();
    }
#define STEP(u) \
    do { \
        __m256 element[ROWS]; \
        UNROLL \
        for (int r = 0; r < rows; r++) element[r] = _mm256_broadcast_ss(x + r * channels + c + (u)); \
        UNROLL \
        for (int v = 0; v < panels; v++) { \
            __m256 weight = _mm256_loadu_ps(w + v * panel + (c + (u)) * 8); \
            UNROLL \
            for (int r = 0; r < rows; r++) sum[r][v][u] = _mm256_fmadd_ps(element[r], weight, sum[r][v][u]); \
        } \
    } while (0)
    for (; c + parts <= channels; c += parts)
        UNROLL
        for (int u = 0; u < parts; u++) STEP(u);
    for (; c < channels; c++) STEP(0);
#undef STEP
    __m256 low = _mm256_set1_ps(p->low), high = _mm256_set1_ps(p->high);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < panels; v++) {
            int64_t at = r * p->filters + k + 8 * v;
            __m256i mask = lanes(p->filters - k - 8 * v);
            UNROLL
            for (int half = parts / 2; half > 0; half /= 2)
                UNROLL
                for (int u = 0; u < half; u++) sum[r][v][u] = _mm256_add_ps(sum[r][v][u], sum[r][v][u + half]);
            __m256 all = sum[r][v][0];
            if (addend != NULL) all = _mm256_add_ps(all, _mm256_maskload_ps(addend + at, mask));
            _mm256_maskstore_ps(y + at, mask, _mm256_min_ps(high, _mm256_max_ps(low, all))); /* NaN stays */
        }
}

#define TILES(name, rows, one, two, four) \
    __attribute__((target("avx2,fma"))) static void name(const Product *p, int64_t k, int64_t panels, const float *x, const float *addend, \
                                                         float *y) \
    { \
        switch (panels) { \
        case 1: tile(p, k, rows, 1, one, x, addend, y); break; \
        case 2: tile(p, k, rows, 2, two, x, addend, y); break; \
        case 3: tile(p, k, rows, 3, four, x, addend, y); break; \
        default: tile(p, k, rows, 4, four, x, addend, y); break; \
        } \
    }
TILES(one_row, 1, 8, 4, 2)
TILES(two_rows, 2, 4, 2, 1)
TILES(three_rows, 3, 2, 1, 1)

/* Panels from v on, all rows. */
static void part(const Product *p, int64_t v, const float *x, const float *addend, float *y)
{
    int64_t panels = (p->filters + 7) / 8 - v;
    for (int64_t r = 0, rest = p->rows, n; rest > 0; r += n, rest -= n) {
        n = rest == 3 || rest > 4 ? 3 : rest == 1 ? 1 : 2;
        (n == 3 ? three_rows : n == 2 ? two_rows : one_row)(p, v * 8, panels, x + r * p->channels,
                                                           addend != NULL ? addend + r * p->filters : NULL, y + r * p->filters);
    }
}

void product_run(const Product *p, const float *x, const float *addend, float *y)
{
    int64_t parts = (p->filters + 8 * PANELS - 1) / (8 * PANELS);
    if (p->threads < 2 || parts < 2 || p->rows * p->channels * p->filters < SHARED_FROM) {
        for (int64_t i = 0; i < parts; i++) part(p, i * PANELS, x, addend, y);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t i = 0; i < parts; i++) part(p, i * PANELS, x, addend, y);
}
#else
void product_run(const Product *p, const float *x, const float *addend, float *y)
{
    (void)p, (void)x, (void)addend, (void)y; /* direct_serves tells that it does not serve */
}
#endif
