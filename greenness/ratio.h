/* What pairs of windows say: the ratio, its interval, whether it can be told from noise. Inside greenness/ only. */
#ifndef PARE_GREENNESS_RATIO_H
#define PARE_GREENNESS_RATIO_H

#include "greenness/compare.h"

#define CLAIM_PAIRS COMPARE_CLAIM_PAIRS

/* after[i] / before[i]; pairs with a NaN or what is not above 0 are lost. `outlier` (may be NULL) gets a flag for each. Without pairs the
 * ratio is NaN. The verdict is left VERDICT_NONE. ERR_MEMORY. */
Status ratio_of(const double *before, const double *after, int count, int resamples, uint64_t seed, Ratio *out, bool *outlier, Err *err);
/* The same network twice: how far from 1 the median of `pairs` pairs (0: as many as there are null pairs) comes by chance, once in a
 * hundred times. Below 7 null pairs for as many pairs it is the farthest of them, which chance passes more often (of 6: 4 times in a
 * hundred, of 1: 50); from fewer than CLAIM_PAIRS nothing is claimed. */
Status null_band_of(const double *first, const double *second, int count, int pairs, uint64_t seed, NullBand *out, Err *err);
/* Less or more: the interval excludes 1 and lies outside the band, and both kinds of pairs are enough. */
Verdict ratio_verdict(const Ratio *r, const NullBand *null);

/* Two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945) that the differences lie around 0; exact up to 50 of them, beyond that by
 * the normal approximation. Zeros are left out; ties share ranks. *p is NaN without differences. ERR_MEMORY. */
Status wilcoxon(const double *differences, int count, double *p, Err *err);

#endif
