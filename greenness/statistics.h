/* Medians and their bootstrap intervals. Inside greenness/ only. */
#ifndef PARE_GREENNESS_STATISTICS_H
#define PARE_GREENNESS_STATISTICS_H

#include "greenness/measure.h"

/* Median of count > 0 numbers (mean of the middle two when even); sorts `values`. */
double statistics_median(double *values, int count);
/* Median with the 95 % percentile interval of `resamples` seeded bootstrap medians (Efron 1979), never narrower than the exact interval
 * of the sign test: of 15 values the bootstrap alone holds the true median 91 times in 100. Below 6 values: from the least to the
 * most. Sorts `values`. The same values and seed give the same interval. One value: an interval of no width. */
Status statistics_interval(double *values, int count, int resamples, uint64_t seed, Interval *out, Err *err);
/* log of n! / (k! (n - k)!), 0 <= k <= n. */
double statistics_log_choose(int n, int k);

#endif
