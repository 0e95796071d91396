#include "greenness/ratio.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "greenness/statistics.h"

#define OUTLIER 5.0        /* median absolute deviations, scaled to standard deviations of a normal distribution */
#define MAD_SCALE 1.4826
#define NULL_RESAMPLES 2000
#define NULL_CHANCE 0.01   /* of the band to be left without a difference */
#define NULL_LEAST 0.005   /* alignment, page placement and the like shift a process's windows by this much without showing in pairs */
#define EXACT 50

typedef struct Magnitude {
    double size;
    bool positive;
} Magnitude;

static int by_size(const void *a, const void *b)
{
    double x = ((const Magnitude *)a)->size, y = ((const Magnitude *)b)->size;
    return (x > y) - (x < y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Share of all sign patterns whose sum of positive ranks is at most `limit`. Ranks are doubled so that shared ones are whole. */
static Status exact_tail(const int *ranks, int n, int limit, double *share, Err *err)
{
    int total = 0;
    for (int i = 0; i < n; i++) total += ranks[i];
    double *ways = alloc_zeroed((size_t)total + 1, sizeof *ways), tail = 0;
    if (ways == NULL) return err_no_memory(err, "a test of ranks");
    ways[0] = 1;
    for (int i = 0, reach = 0; i < n; i++) {
        reach += ranks[i];
        for (int sum = reach; sum >= ranks[i]; sum--) ways[sum] += ways[sum - ranks[i]];
    }
    for (int sum = 0; sum <= limit && sum <= total; sum++) tail += ways[sum];
    free(ways);
    *share = tail / exp2(n);
    return OK;
}

Status wilcoxon(const double *differences, int count, double *p, Err *err)
{
    Magnitude *m = alloc_array((size_t)count + 1, sizeof *m);
    int *ranks = alloc_array((size_t)count + 1, sizeof *ranks), n = 0; /* doubled */
    double positive = 0, negative = 0, ties = 0;
    *p = NAN;
    Status status = m != NULL && ranks != NULL ? OK : err_no_memory(err, "a test of ranks");
    if (status != OK) goto out;
    for (int i = 0; i < count; i++)
        if (differences[i] != 0 && !isnan(differences[i])) m[n++] = (Magnitude){ fabs(differences[i]), differences[i] > 0 };
    if (n == 0) goto out;
    qsort(m, (size_t)n, sizeof *m, by_size);
    for (int i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && m[next].size == m[i].size; next++) { }
        for (int k = i; k < next; k++) {
            ranks[k] = i + 1 + next;
            *(m[k].positive ? &positive : &negative) += ranks[k];
        }
        double same = next - i;
        ties += same * same * same - same;
    }
    double least = fmin(positive, negative);
    if (n <= EXACT) {
        double share = NAN;
        TRY_OUT(exact_tail(ranks, n, (int)least, &share, err));
        *p = fmin(2 * share, 1);
    } else {
        double mean = n * (n + 1.0) / 4, variance = n * (n + 1.0) * (2 * n + 1.0) / 24 - ties / 48;
        *p = fmin(erfc((mean - least / 2 - 0.5) / sqrt(2 * variance)), 1);
    }
out:
    free(m);
    free(ranks);
    return status;
}

/* Logarithms of the pairs that are there, in order; `where` (may be NULL) says whose. */
static int log_ratios(const double *before, const double *after, int count, double *logs, int *where)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        double ratio = after[i] / before[i];
        if (!(before[i] > 0) || !(after[i] > 0) || !isfinite(ratio)) continue;
        if (where != NULL) where[n] = i;
        logs[n++] = log(ratio);
    }
    return n;
}

/* Sets apart what is over OUTLIER deviations off; returns how many stay, moved to the front of `kept`. */
static int flag_outliers(const double *logs, int n, double median, double *kept, const int *where, bool *outlier)
{
    for (int i = 0; i < n; i++) kept[i] = fabs(logs[i] - median);
    double limit = fmax(OUTLIER * MAD_SCALE * statistics_median(kept, n), 1e-6);
    int stay = 0;
    for (int i = 0; i < n; i++) {
        bool off = fabs(logs[i] - median) > limit;
        if (outlier != NULL) outlier[where[i]] = off;
        if (!off) kept[stay++] = logs[i];
    }
    return stay;
}

Status ratio_of(const double *before, const double *after, int count, int resamples, uint64_t seed, Ratio *out, bool *outlier, Err *err)
{
    *out = (Ratio){ .median = NAN, .low = NAN, .high = NAN, .without_outliers = NAN, .p = NAN };
    double *logs = alloc_array((size_t)count + 1, sizeof *logs), *kept = alloc_array((size_t)count + 1, sizeof *kept);
    int *where = alloc_array((size_t)count + 1, sizeof *where);
    Status status = logs != NULL && kept != NULL && where != NULL ? OK : err_no_memory(err, "ratios");
    for (int i = 0; outlier != NULL && i < count; i++) outlier[i] = false;
    if (status == OK) out->pairs = log_ratios(before, after, count, logs, where);
    if (status == OK && out->pairs > 0) {
        Interval interval;
        int n = out->pairs;
        for (int i = 0; i < n; i++) kept[i] = logs[i];
        double median = statistics_median(kept, n);
        int stay = flag_outliers(logs, n, median, kept, where, outlier);
        out->outliers = n - stay;
        out->without_outliers = stay > 0 ? exp(statistics_median(kept, stay)) : NAN;
        status = wilcoxon(logs, n, &out->p, err);
        if (status == OK) status = statistics_interval(logs, n, resamples, seed, &interval, err);
        if (status == OK) {
            out->median = exp(interval.median);
            out->low = exp(interval.low);
            out->high = exp(interval.high);
        }
    }
    free(logs);
    free(kept);
    free(where);
    return status;
}

/* Chance that the median of `pairs` null pairs lies farther from 0 than the k-th smallest of `n` others' sizes. It is the same for every
 * distribution: either window of a null pair could have been the first, so signs are fair coins, and any order of all sizes is as likely
 * as any other. j counts the new pairs that are larger in size; of these so many must point one way as reach the middle. The middle two
 * of an even number count as the outer one. */
static double chance_beyond(int n, int k, int pairs)
{
    int middle = (pairs + 1) / 2;
    double sum = 0, one_way = 2 * exp2(-middle), all = statistics_log_choose(n + pairs, pairs);
    for (int j = middle; j <= pairs; j++) {
        if (j > middle) one_way += exp(statistics_log_choose(j - 1, middle - 1) - (j - 1) * log(2));
        sum += fmin(one_way, 1) * exp(statistics_log_choose(n - k + j, j) + statistics_log_choose(k - 1 + pairs - j, pairs - j) - all);
    }
    return sum;
}

/* The size beyond which the median of `pairs` null pairs lies once in a hundred times, from the sizes of n others; sorts `sizes`. Of so
 * few that even the largest is passed more often (6 for 6: 4 times in a hundred), that largest. */
static double chance_width(double *sizes, int n, int pairs)
{
    int low = 1, high = n;
    while (low < high) {
        int k = (low + high) / 2;
        if (chance_beyond(n, k, pairs) <= NULL_CHANCE) high = k;
        else low = k + 1;
    }
    qsort(sizes, (size_t)n, sizeof *sizes, by_value);
    return sizes[low - 1];
}

Status null_band_of(const double *first, const double *second, int count, int pairs, uint64_t seed, NullBand *out, Err *err)
{
    *out = (NullBand){ .low = NAN, .high = NAN, .median = NAN, .own_low = NAN, .own_high = NAN };
    double *logs = alloc_array((size_t)count + 1, sizeof *logs), *sizes = alloc_array((size_t)count + 1, sizeof *sizes);
    Status status = logs != NULL && sizes != NULL ? OK : err_no_memory(err, "the null test");
    if (status == OK) out->pairs = log_ratios(first, second, count, logs, NULL);
    if (status == OK && out->pairs > 0) {
        Interval own;
        for (int i = 0; i < out->pairs; i++) sizes[i] = fabs(logs[i]);
        double width = chance_width(sizes, out->pairs, pairs > 0 ? pairs : out->pairs);
        status = statistics_interval(logs, out->pairs, NULL_RESAMPLES, seed, &own, err);
        if (status == OK) {
            out->median = exp(own.median);
            out->own_low = exp(own.low);
            out->own_high = exp(own.high);
            out->stable = out->pairs >= CLAIM_PAIRS && own.low <= NULL_LEAST && own.high >= -NULL_LEAST;
            width = fmax(width, NULL_LEAST);
            if (!out->stable) width = fmax(width, fmax(fabs(own.low), fabs(own.high)));
            out->low = exp(-width);
            out->high = exp(width);
        }
    }
    free(logs);
    free(sizes);
    return status;
}

Verdict ratio_verdict(const Ratio *r, const NullBand *null)
{
    if (r->pairs == 0) return VERDICT_NONE;
    if (r->pairs < CLAIM_PAIRS || null->pairs < CLAIM_PAIRS) return VERDICT_INCONCLUSIVE;
    if (r->high < 1 && r->high < null->low) return VERDICT_LESS;
    if (r->low > 1 && r->low > null->high) return VERDICT_MORE;
    return VERDICT_INCONCLUSIVE;
}
