#include "stats/histogram.h"

#include <math.h>
#include <string.h>

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
    double scale = ldexp(1.0, (int)-h->exponent);
    for (int64_t i = 0; i < count; i++) h->bins[(int64_t)floor((double)x[i] * scale) - h->origin]++;
}

double histogram_edge(const Histogram *h, int i)
{
    return ldexp((double)(h->origin + i), (int)h->exponent);
}
