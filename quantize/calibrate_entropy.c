/* Ends by the least Kullback-Leibler divergence, as TensorRT describes it (Migacz, 8-bit inference with TensorRT, 2017) and MXNet and ONNX
 * Runtime carry it out, over a histogram that is symmetric about zero, or begins there when no value is negative (ends there when none is
 * positive).
 *
 *   for each slice of i bins on each side of zero, from the least that can hold 128 levels to the whole:
 *     P   the counts of the slice, what lies outside added to its outermost bins
 *     Q   the counts of the slice joined into 128 levels of slice / 128 bins (the last takes the rest), each level's sum spread evenly
 *         over those of its bins where P is not empty
 *     both smoothed: an empty bin gets 1e-4, taken in equal parts from the others;  D = sum p log(p / q)
 *   the ends are those of the slice of least D, cut to what was seen.
 *
 * A Relu's zeros are left out as far as they stand out in their bin (NVIDIA's pytorch-quantization leaves out all of the first bin).
 *
 * ONNX Runtime's get_entropy_threshold departs from this in four ways: it counts the zeros, leaves Q empty in the bins that do not divide
 * by 128, cuts Q to whole numbers, and spreads it also over empty bins. With its default of 128 bins it tries one slice only, the whole.
 *
 * Cost: Q is constant within a level, so D needs the logarithm of each level and running sums of n, log n, n log n, 1 / n. The sum of
 * (n - e) log(n - e) over the bins is expanded to e^2; e, the part taken for smoothing, is below 0.01 wherever a hundredth of the bins is
 * in use. */
#include "quantize/calibrate_internal.h"

#include <math.h>

#define LEVELS 128
#define SMOOTH 1e-4

/* Sums over bins [0, i). */
typedef struct Sums {
    double n, log_n, n_log_n, inverse;
    int used;
} Sums;

typedef struct Slices {
    int64_t reach;                   /* bins from zero to the farther end */
    int64_t first;                   /* bin of the histogram's first value, counted from zero */
    int64_t bins;                    /* of it in use */
    Sums sums[HISTOGRAM_BINS + 1];
} Slices;

static void add_bin(Sums *s, double n)
{
    if (n <= 0.0) return;
    s->n += n;
    s->log_n += log(n);
    s->n_log_n += n * log(n);
    s->inverse += 1.0 / n;
    s->used++;
}

static void slices_of(const Histogram *h, Slices *s)
{
    s->first = h->origin;
    s->bins = h->top - h->origin + 1;
    int64_t below = h->origin < 0 ? -h->origin : 0, above = h->top >= 0 ? h->top + 1 : 0;
    s->reach = below > above ? below : above;
    s->sums[0] = (Sums){ 0 };
    for (int64_t i = 0; i < s->bins; i++) {
        s->sums[i + 1] = s->sums[i];
        add_bin(&s->sums[i + 1], histogram_without_zeros(h, (int)i));
    }
}

/* Sums over the bins [from, to), counted from zero. */
static Sums between(const Slices *s, int64_t from, int64_t to)
{
    from -= s->first;
    to -= s->first;
    from = from < 0 ? 0 : from > s->bins ? s->bins : from;
    to = to < from ? from : to > s->bins ? s->bins : to;
    const Sums *a = &s->sums[from], *b = &s->sums[to];
    return (Sums){ b->n - a->n, b->log_n - a->log_n, b->n_log_n - a->n_log_n, b->inverse - a->inverse, b->used - a->used };
}

/* The count of one bin, and what is added to it. */
typedef struct Outer {
    int64_t bin;
    double n, added;
} Outer;

static Outer outer_of(const Slices *s, int64_t bin, double added)
{
    return (Outer){ bin, between(s, bin, bin + 1).n, added };
}

/* Sum of (n - e) log(n - e), expanded. */
static double smoothed_entropy(const Sums *p, double e)
{
    return p->n_log_n - e * (p->log_n + p->used) + e * e * p->inverse / 2.0;
}

/* The slice's sums, and within a level its bins in use in P: those outermost bins that hold nothing but what was added count too. */
static Sums reference_sums(const Slices *s, int64_t from, int64_t to, const Outer o[2])
{
    Sums p = between(s, from, to);
    for (int k = 0; k < 2; k++) {
        if (o[k].added <= 0.0) continue;
        Sums before = { 0 }, after = { 0 };
        add_bin(&before, o[k].n);
        add_bin(&after, o[k].n + o[k].added);
        p.n += after.n - before.n;
        p.log_n += after.log_n - before.log_n;
        p.n_log_n += after.n_log_n - before.n_log_n;
        p.inverse += after.inverse - before.inverse;
        p.used += after.used - before.used;
    }
    return p;
}

/* D of the bins [from, to), from < 0 < to or one of them 0. */
static double divergence(const Slices *s, int64_t from, int64_t to)
{
    Outer o[2] = { outer_of(s, from, between(s, INT64_MIN / 2, from).n), outer_of(s, to - 1, between(s, to, INT64_MAX / 2).n) };
    Sums p = reference_sums(s, from, to, o);
    int64_t size = to - from, merged = size / LEVELS;
    if (p.used == 0) return INFINITY;
    double cross = 0.0, q_total = 0.0;
    int q_used = 0;
    struct Level {
        double p, share;
        int used;
    } levels[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        int64_t a = from + i * merged, b = i == LEVELS - 1 ? to : a + merged;
        Sums sums = between(s, a, b);
        double added = 0.0;
        int used = sums.used;
        for (int k = 0; k < 2; k++) {
            if (o[k].added <= 0.0 || o[k].bin < a || o[k].bin >= b) continue;
            added += o[k].added;
            used += o[k].n <= 0.0;
        }
        levels[i] = (struct Level){ sums.n + added, used > 0 ? sums.n / used : 0.0, used };
        q_total += sums.n;
        if (sums.n > 0.0) q_used += used;
    }
    if (q_used == 0) return INFINITY;
    double e = SMOOTH * (double)(size - p.used) / p.used, q_e = SMOOTH * (double)(size - q_used) / q_used;
    for (int i = 0; i < LEVELS; i++) {
        if (levels[i].used == 0) continue;
        double q = levels[i].share > 0.0 ? levels[i].share - q_e : SMOOTH;
        if (q <= 0.0) return INFINITY;
        cross += (levels[i].p - e * levels[i].used) * log(q);
    }
    double empty = SMOOTH * (double)(size - p.used) * log(SMOOTH); /* where P is empty Q is too */
    double own = smoothed_entropy(&p, e) + empty;
    cross += empty;
    return (own - cross) / p.n - log(p.n) + log(q_total);
}

Ends calibrate_entropy(const Histogram *h, double low, double high)
{
    Slices s;
    slices_of(h, &s);
    bool negative = h->origin < 0, positive = h->top >= 0;
    int64_t start = negative && positive ? LEVELS / 2 : LEVELS, at = s.reach;
    int64_t nearest = positive ? h->origin : -h->top - 1; /* to zero, of values on one side; a slice that ends before it holds nothing */
    double best = INFINITY, width = ldexp(1.0, (int)h->exponent);
    if (start <= nearest) start = nearest + 1;
    for (int64_t i = start; i <= s.reach; i++) {
        double d = divergence(&s, negative ? -i : 0, positive ? i : 0);
        if (d >= best) continue;
        best = d;
        at = i;
    }
    return (Ends){ negative ? fmax(low, -(double)at * width) : low, positive ? fmin(high, (double)at * width) : high };
}
