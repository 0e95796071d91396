/* Products of a few rows with constant weights, for AVX2 with FMA: what they cost is the reading of the weights, from the cache or from
 * memory, once for up to three rows. 32 filters are computed at a time, whose weights lie in order; channels are dealt to several sums
 * where there are few others under way.
 *
 *   for each 32 filters, for each three rows:  sums[row][filter][c % several] += x[row, c] * weights[c, filter]     over c
 *
 * What a Relu leaves, and most images of signs on paper, is zero in many places: then a row by itself reads the weights of the others
 * alone, two lines of the cache for each. */
#include "engine/direct_product.h"

#include <stddef.h>

#include "base/openmp.h"
#include "engine/avx2.h"

#define SHARED_FROM 131072 /* products that are worth a second thread */
#define SPARSE_FROM 16384  /* products of a row that are worth a look at its zeros */
#define MOST_LISTED 4096   /* channels */

#if defined(__x86_64__)

#define PANELS (PRODUCT_FILTERS / 8)
#define ROWS 3
#define MOST_SUMS 8 /* of one element */


/* Lanes below `count`. */
AVX2_INLINE __m256i lanes(int64_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count < 8 ? count : 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Channels of a row that are not zero. */
typedef struct Listed {
    int64_t count;
    int32_t at[MOST_LISTED];
} Listed;

/* Filters from k on of `rows` rows from x on, in `panels` panels and by `parts` sums: constants where it is called. list: NULL for all
 * channels. */
AVX2_INLINE void tile(const Product *p, const Listed *list, int64_t k, int rows, int panels, int parts, const float *x, const float *addend,
                      float *y)
{
    __m256 sum[ROWS][PANELS][MOST_SUMS];
    int64_t channels = p->channels, count = list != NULL ? list->count : channels, c = 0;
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
        int64_t at = list != NULL ? list->at[c + (u)] : c + (u); \
        UNROLL \
        for (int r = 0; r < rows; r++) element[r] = _mm256_broadcast_ss(x + r * channels + at); \
        UNROLL \
        for (int v = 0; v < panels; v++) { \
            __m256 weight = _mm256_loadu_ps(w + at * (panels * 8) + v * 8); \
            UNROLL \
            for (int r = 0; r < rows; r++) sum[r][v][u] = _mm256_fmadd_ps(element[r], weight, sum[r][v][u]); \
        } \
    } while (0)
    for (; c + parts <= count; c += parts)
        UNROLL
        for (int u = 0; u < parts; u++) STEP(u);
    for (; c < count; c++) STEP(0);
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

/* Every filter of a product by as many sums, also where the last part has fewer of them: equal weights make equal results. */
#define TILES(name, list, rows, one, two, four) \
    AVX2 static void name(const Product *p, const Listed *listed, int64_t k, int64_t panels, const float *x, const float *addend, \
                          float *y) \
    { \
        (void)listed; \
        bool alone = p->filters <= PRODUCT_FILTERS; \
        switch (panels) { \
        case 1: \
            if (alone) tile(p, list, k, rows, 1, one, x, addend, y); \
            else tile(p, list, k, rows, 1, four, x, addend, y); \
            break; \
        case 2: \
            if (alone) tile(p, list, k, rows, 2, two, x, addend, y); \
            else tile(p, list, k, rows, 2, four, x, addend, y); \
            break; \
        case 3: tile(p, list, k, rows, 3, four, x, addend, y); break; \
        default: tile(p, list, k, rows, 4, four, x, addend, y); break; \
        } \
    }
TILES(listed_row, listed, 1, 8, 4, 2)
TILES(one_row, NULL, 1, 8, 4, 2)
TILES(two_rows, NULL, 2, 4, 2, 1)
TILES(three_rows, NULL, 3, 2, 1, 1)

/* Lists the channels of a row that are not zero, where a quarter or more are. False: they are not. */
AVX2 static bool list_channels(const Product *p, const float *x, Listed *list)
{
    int64_t zeros = 0;
    if (!p->finite || p->rows != 1 || p->channels > MOST_LISTED || p->channels * p->filters < SPARSE_FROM) return false;
    for (int64_t c = 0; c + 8 <= p->channels; c += 8)
        zeros += __builtin_popcount((unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + c), _mm256_setzero_ps(), _CMP_EQ_OQ)));
    if (zeros * 4 < p->channels) return false;
    list->count = 0;
    for (int64_t c = 0; c < p->channels; c++) {
        list->at[list->count] = (int32_t)c;
        list->count += x[c] != 0; /* NaN is listed */
    }
    return true;
}

/* Panels from v on, all rows. */
static void part(const Product *p, const Listed *list, int64_t v, const float *x, const float *addend, float *y)
{
    int64_t panels = (p->filters + 7) / 8 - v;
    for (int64_t r = 0, rest = p->rows, n; rest > 0; r += n, rest -= n) {
        n = rest == 3 || rest > 4 ? 3 : rest == 1 ? 1 : 2;
        (n == 3 ? three_rows : n == 2 ? two_rows : list != NULL ? listed_row : one_row)(
            p, list, v * 8, panels, x + r * p->channels, addend != NULL ? addend + r * p->filters : NULL, y + r * p->filters);
    }
}

void product_run(const Product *p, const float *x, const float *addend, float *y)
{
    int64_t parts = (p->filters + PRODUCT_FILTERS - 1) / PRODUCT_FILTERS;
    Listed listed;
    const Listed *list = list_channels(p, x, &listed) ? &listed : NULL;
    if (p->threads < 2 || parts < 2 || p->rows * p->channels * p->filters < SHARED_FROM) {
        for (int64_t i = 0; i < parts; i++) part(p, list, i * PANELS, x, addend, y);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t i = 0; i < parts; i++) part(p, list, i * PANELS, x, addend, y);
}
#else
void product_run(const Product *p, const float *x, const float *addend, float *y)
{
    (void)p, (void)x, (void)addend, (void)y; /* avx2_serves tells that it does not serve */
}
#endif
