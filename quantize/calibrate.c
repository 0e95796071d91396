#include "quantize/calibrate_internal.h"

#include <assert.h>
#include <math.h>

const char *const calibration_names[CALIBRATE_METHODS] = { "auto", "minmax", "moving", "mean", "percentile", "mse", "entropy" };

static double bin(const Histogram *h, int i)
{
    return i >= 0 && i < HISTOGRAM_BINS ? (double)h->bins[i] : 0.0;
}

double histogram_without_zeros(const Histogram *h, int i)
{
    int side = bin(h, i - 1) > bin(h, i + 1) ? -1 : 1;
    double n = bin(h, i), first = bin(h, i + side), second = bin(h, i + 2 * side);
    return h->origin + i != 0 || n <= first || 2.0 * second < first || first == 0.0 ? n : first;
}

/* Where `share` of all values lies below, from the lower end, or above, from the upper end. Within a bin values count as spread evenly:
 * the result lies in the bin that ONNX Runtime's numpy.searchsorted(cdf, share) finds, and it takes that bin's lower edge. */
static double quantile(const ActivationStats *a, double share, bool upper)
{
    const Histogram *h = &a->histogram;
    double left = share * (double)a->count;
    for (int k = 0; k < HISTOGRAM_BINS; k++) {
        int i = upper ? HISTOGRAM_BINS - 1 - k : k;
        double n = (double)h->bins[i];
        if (n == 0.0) continue;
        if (left > n) {
            left -= n;
            continue;
        }
        double bottom = fmax(histogram_edge(h, i), a->min), top = fmin(histogram_edge(h, i + 1), a->max);
        return upper ? top - (top - bottom) * left / n : bottom + (top - bottom) * left / n;
    }
    return upper ? a->min : a->max;
}

static Ends percentile_ends(const ActivationStats *a, double percentile)
{
    double cut = (100.0 - percentile) / 200.0;
    return (Ends){ quantile(a, cut, false), quantile(a, cut, true) };
}

Ends calibrate_ends(Calibration method, const ActivationStats *a, double percentile)
{
    assert(a->count > 0);
    switch (method) {
    case CALIBRATE_MOVING: return (Ends){ a->average_min, a->average_max };
    case CALIBRATE_MEAN: return (Ends){ a->sum_min / (double)a->parts, a->sum_max / (double)a->parts };
    case CALIBRATE_PERCENTILE: return percentile_ends(a, percentile);
    case CALIBRATE_MSE: return calibrate_mse(&a->histogram, a->min, a->max);
    case CALIBRATE_ENTROPY: return calibrate_entropy(&a->histogram, a->min, a->max);
    case CALIBRATE_MINMAX: break;
    case CALIBRATE_AUTO:
    case CALIBRATE_METHODS: assert(!"a method of its own"); break;
    }
    return (Ends){ a->min, a->max };
}
