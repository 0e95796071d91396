#include "stats/histogram.h"

#include <math.h>
#include <string.h>

#include "base/vectors.h"

#define LEAST_EXPONENT (-200) /* below the least float32 */
#define EXACT_BITS 50

static int64_t bin_of(double v, int64_t exponent)
{
    return (int64_t)floor(ldexp(v, (int)-exponent));
}

static int64_t half(int64_t i, int64_t times)
{
    return times >= 63 ? (i < 0 ? -1 : 0) : i >> times; /* an arithmetic shift rounds down, as floor does */
}

/* The least exponent, not below `from`, at which both values have bins close enough together. */
static int64_t fit(double low, double high, int64_t from)
{
    double most = fmax(fabs(low), fabs(high));
    int64_t e = most > 0.0 ? ilogb(most) - EXACT_BITS : LEAST_EXPONENT;
    if (e < from) e = from;
    while (bin_of(high, e) - bin_of(low, e) >= HISTOGRAM_BINS) e++;
    return e;
}

static void widen(Histogram *h, int64_t exponent, int64_t origin, int64_t top)
{
    uint64_t old[HISTOGRAM_BINS];
    int64_t times = exponent - h->exponent;
    memcpy(old, h->bins, sizeof old);
    memset(h->bins, 0, sizeof h->bins);
    for (int64_t i = 0; i < HISTOGRAM_BINS; i++)
        if (old[i] != 0) h->bins[half(h->origin + i, times) - origin] += old[i];
    h->exponent = exponent;
    h->origin = origin;
    h->top = top;
}

#define CHUNK 1024
#define SHARE (1 << 16) /* values that a thread counts at a time */
#define EXACT_FLOAT (1 << 24) /* integers up to here are float32 numbers */

/* x 2^-e is exact in float32 where e <= 0, and so are the bins' numbers. */
VECTOR_BODY void find_bins(const float *x, int n, float scale, int32_t origin, int32_t *at)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float v = x[i] * scale;
        int32_t whole = (int32_t)v;
        at[i] = whole - (v < (float)whole) - origin;
    }
}

static void bins_any(const float *x, int n, float scale, int32_t origin, int32_t *at)
{
    find_bins(x, n, scale, origin, at);
}

VECTOR_AVX2 static void bins_avx2(const float *x, int n, float scale, int32_t origin, int32_t *at)
{
    find_bins(x, n, scale, origin, at);
}

/* A bin of many equal values (a Relu's zeros) would wait for each of its additions, so four counts take turns. */
static void count_small(Histogram *h, const float *x, int64_t count)
{
    uint32_t parts[4][HISTOGRAM_BINS] = { { 0 } };
    int32_t at[CHUNK] = { 0 };
    float scale = (float)ldexp(1.0, (int)-h->exponent);
    for (int64_t first = 0; first < count; first += CHUNK) {
        int n = count - first < CHUNK ? (int)(count - first) : CHUNK, whole = n & ~3;
        VECTOR_PICK(bins)(x + first, n, scale, (int32_t)h->origin, at);
        for (int i = 0; i < whole; i += 4) {
            parts[0][at[i]]++;
            parts[1][at[i + 1]]++;
            parts[2][at[i + 2]]++;
            parts[3][at[i + 3]]++;
        }
        for (int i = whole; i < n; i++) parts[0][at[i]]++;
    }
    for (int i = 0; i < HISTOGRAM_BINS; i++) {
        uint64_t n = (uint64_t)parts[0][i] + parts[1][i] + parts[2][i] + parts[3][i];
        if (n == 0) continue;
#pragma omp atomic
        h->bins[i] += n;
    }
}

static void count_values(Histogram *h, const float *x, int64_t count)
{
    if (h->exponent <= 0 && h->exponent >= -100 && h->origin >= -EXACT_FLOAT && h->top <= EXACT_FLOAT && count >= CHUNK &&
        count <= INT64_MAX - SHARE) {
        const int64_t parts = (count + SHARE - 1) / SHARE;
#pragma omp parallel for schedule(static) if (parts > 1)
        for (int64_t i = 0; i < parts; i++) count_small(h, x + i * SHARE, i + 1 < parts ? SHARE : count - i * SHARE);
        return;
    }
    double scale = ldexp(1.0, (int)-h->exponent);
    for (int64_t i = 0; i < count; i++) h->bins[(int64_t)floor((double)x[i] * scale) - h->origin]++;
}

void histogram_add(Histogram *h, const float *x, int64_t count, double low, double high)
{
    if (count <= 0) return;
    int64_t e = fit(low, high, h->used ? h->exponent : LEAST_EXPONENT);
    for (;; e++) {
        int64_t first = bin_of(low, e), last = bin_of(high, e);
        if (h->used) {
            int64_t origin = half(h->origin, e - h->exponent), top = half(h->top, e - h->exponent);
            first = origin < first ? origin : first;
            last = top > last ? top : last;
        }
        if (last - first >= HISTOGRAM_BINS) continue;
        if (!h->used) *h = (Histogram){ .used = 1, .exponent = e, .origin = first, .top = last };
        else if (e != h->exponent || first != h->origin || last != h->top) widen(h, e, first, last);
        break;
    }
    count_values(h, x, count);
}

double histogram_edge(const Histogram *h, int i)
{
    return ldexp((double)(h->origin + i), (int)h->exponent);
}
