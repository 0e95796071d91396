#include "greenness/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sorted_median(const double *sorted, int count)
{
    return count % 2 != 0 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]);
}

double statistics_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return sorted_median(values, count);
}

/* Median of `count` draws with replacement from sorted values: how often each was drawn is enough to find the middle. */
static double resampled_median(const double *sorted, int count, int *drawn, Rng *rng)
{
    memset(drawn, 0, (size_t)count * sizeof *drawn);
    for (int i = 0; i < count; i++) drawn[rng_below(rng, (uint64_t)count)]++;
    int low = (count - 1) / 2, high = count / 2, seen = 0;
    double sum = 0;
    for (int i = 0; i < count; i++) {
        if (seen <= low && low < seen + drawn[i]) sum += sorted[i];
        if (seen <= high && high < seen + drawn[i]) return 0.5 * (sum + sorted[i]);
        seen += drawn[i];
    }
    return sum;
}

double statistics_log_choose(int n, int k)
{
    int sign;
    return lgamma_r(n + 1.0, &sign) - lgamma_r(k + 1.0, &sign) - lgamma_r(n - k + 1.0, &sign);
}

/* The largest r for which the r-th smallest and the r-th largest of n values hold the median between them with 95 %, as values fall evenly
 * on both sides of it; 0: too few values for that. */
static int sign_rank(int n)
{
    double below = 0;
    int r = 0;
    while (r < n / 2) {
        below += exp(statistics_log_choose(n, r) - n * log(2));
        if (2 * below > 0.05) break;
        r++;
    }
    return r;
}

Status statistics_interval(double *values, int count, int resamples, uint64_t seed, Interval *out, Err *err)
{
    int *drawn = alloc_array((size_t)count, sizeof *drawn);
    double *medians = alloc_array((size_t)resamples, sizeof *medians);
    Status status = OK;
    if (drawn == NULL || medians == NULL) {
        status = err_no_memory(err, "bootstrap samples");
    } else {
        Rng rng;
        rng_init(&rng, seed);
        out->median = statistics_median(values, count);
        for (int i = 0; i < resamples; i++) medians[i] = resampled_median(values, count, drawn, &rng);
        qsort(medians, (size_t)resamples, sizeof *medians, compare);
        out->low = medians[(int)(0.025 * (resamples - 1) + 0.5)];
        out->high = medians[(int)(0.975 * (resamples - 1) + 0.5)];
        int rank = sign_rank(count);
        out->low = fmin(out->low, values[rank > 0 ? rank - 1 : 0]);
        out->high = fmax(out->high, values[rank > 0 ? count - rank : count - 1]);
    }
    free(drawn);
    free(medians);
    return status;
}
