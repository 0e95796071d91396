/* The calibrators: against closed forms, and against the plain definition tried on every candidate. */
#include "test.h"

#include "base/rng.h"
#include "quantize/calibrate.h"

/* --- distributions, as their quantiles: nothing is left to chance */

#define COUNT 20000

typedef struct Sample {
    float *x;
    int64_t n;
    ActivationStats a;
} Sample;

/* By bisection of the distribution function. */
static double normal_quantile(double p)
{
    double low = -10.0, high = 10.0;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2.0;
        if (erfc(-middle / sqrt(2.0)) / 2.0 < p) low = middle;
        else high = middle;
    }
    return low;
}

static double laplace_quantile(double p)
{
    return p < 0.5 ? log(2.0 * p) : -log(2.0 * (1.0 - p));
}

static double uniform_quantile(double p) { return p; }
static double relu_quantile(double p) { return fmax(normal_quantile(p), 0.0); }
static double shifted_quantile(double p) { return 3.0 + normal_quantile(p); }
static double negative_quantile(double p) { return -exp(normal_quantile(p)); }
static double clip6_quantile(double p) { return fmin(fmax(4.0 * normal_quantile(p), 0.0), 6.0); }
static double gelu_quantile(double p) { return fmax(normal_quantile(p) * 2.0, -0.17); }
static double two_points(double p) { return p < 0.75 ? -1.0 : 3.0; }

static void look(Sample *s)
{
    ActivationStats *a = &s->a;
    *a = (ActivationStats){ .count = s->n, .min = INFINITY, .max = -INFINITY };
    for (int64_t i = 0; i < s->n; i++) {
        a->min = fmin(a->min, (double)s->x[i]);
        a->max = fmax(a->max, (double)s->x[i]);
    }
    a->average_min = a->min / 2.0;
    a->average_max = a->max / 2.0;
    a->parts = 4;
    a->sum_min = a->min * 3.0 + a->max;
    a->sum_max = a->min * 2.0 + a->max * 2.0;
    histogram_add(&a->histogram, s->x, s->n, a->min, a->max);
}

static Sample sample(double (*quantile)(double), int64_t n, double outlier)
{
    Sample s = { .x = malloc((size_t)(n + 1) * sizeof *s.x), .n = n };
    assert_non_null(s.x);
    for (int64_t i = 0; i < n; i++) s.x[i] = (float)quantile(((double)i + 0.5) / (double)n);
    if (outlier != 0.0) s.x[s.n++] = (float)outlier;
    look(&s);
    return s;
}

static const struct {
    const char *name;
    double (*quantile)(double);
    double outlier;
} rows[] = {
    { "uniform", uniform_quantile, 0.0 },   { "normal", normal_quantile, 0.0 },
    { "laplace", laplace_quantile, 0.0 },   { "relu", relu_quantile, 0.0 },
    { "shifted", shifted_quantile, 0.0 },   { "negative", negative_quantile, 0.0 },
    { "clip6", clip6_quantile, 0.0 },       { "gelu", gelu_quantile, 0.0 },
    { "two points", two_points, 0.0 },      { "outlier", normal_quantile, 60.0 },
    { "far outlier", relu_quantile, 4e3 },
};
#define ROWS (int)(sizeof rows / sizeof *rows)

static double width_of(const Sample *s)
{
    return ldexp(1.0, (int)s->a.histogram.exponent);
}

/* --- minmax, moving, mean, percentile */

static void ranges(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        print_message("%s\n", rows[i].name);
        Sample s = sample(rows[i].quantile, 1000, rows[i].outlier);
        Ends all = calibrate_ends(CALIBRATE_MINMAX, &s.a, 0.0), moving = calibrate_ends(CALIBRATE_MOVING, &s.a, 0.0);
        assert_true(all.low == s.a.min && all.high == s.a.max);
        assert_true(moving.low == s.a.average_min && moving.high == s.a.average_max);
        Ends mean = calibrate_ends(CALIBRATE_MEAN, &s.a, 0.0);
        assert_true(mean.low == s.a.sum_min / 4.0 && mean.high == s.a.sum_max / 4.0);
        Ends whole = calibrate_ends(CALIBRATE_PERCENTILE, &s.a, 100.0);
        assert_true(whole.low == s.a.min && whole.high == s.a.max);
        free(s.x);
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Both ends within a bin of the order statistics. */
static void percentiles(void **state)
{
    (void)state;
    static const double percents[] = { 99.999, 99.99, 99.9, 99.0, 80.0, 51.0 };
    for (int i = 0; i < ROWS; i++) {
        Sample s = sample(rows[i].quantile, COUNT, rows[i].outlier);
        qsort(s.x, (size_t)s.n, sizeof *s.x, by_value);
        print_message("%s\n", rows[i].name);
        for (int k = 0; k < 6; k++) {
            Ends e = calibrate_ends(CALIBRATE_PERCENTILE, &s.a, percents[k]);
            double cut = (100.0 - percents[k]) / 200.0 * (double)s.n;
            int64_t skip = (int64_t)ceil(cut) - 1; /* the smallest value at which a share of `cut` lies at or below */
            if (skip < 0) skip = 0;
            assert_near(e.low, (double)s.x[skip], width_of(&s));
            assert_near(e.high, (double)s.x[s.n - 1 - skip], width_of(&s));
            assert_true(e.low <= e.high && e.low >= s.a.min && e.high <= s.a.max);
        }
        free(s.x);
    }
}

/* --- mse */

static double loss(const Sample *s, double low, double high)
{
    Grid g = grid_activation(low, high);
    double sum = 0.0;
    for (int64_t i = 0; i < s->n; i++) {
        double q = fmin(fmax(rint((double)s->x[i] / (double)g.scale) + g.zero, 0.0), 255.0);
        double d = (double)s->x[i] - (q - g.zero) * (double)g.scale;
        sum += d * d;
    }
    return sum / (double)s->n;
}

/* Every pair of the 101 factors, by the samples themselves: what was found loses at most 1 % more. */
static void least_squares(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        Sample s = sample(rows[i].quantile, 1001, rows[i].outlier);
        Ends e = calibrate_ends(CALIBRATE_MSE, &s.a, 0.0);
        double low = fmin(s.a.min, 0.0), high = fmax(s.a.max, 0.0), best = INFINITY, found = loss(&s, e.low, e.high);
        for (int a = low < 0.0 ? 0 : 100; a <= 100; a++)
            for (int b = high > 0.0 ? 0 : 100; b <= 100; b++)
                if (high * b > low * a) best = fmin(best, loss(&s, low * a / 100.0, high * b / 100.0));
        print_message("%s: [%g, %g] of [%g, %g]: %.4g, best %.4g\n", rows[i].name, e.low, e.high, s.a.min, s.a.max, found, best);
        /* two points fall on a grid or not, which no histogram tells: a hundredth of a step's square is all that may differ there */
        double step = (double)grid_activation(low, high).scale;
        assert_true(found <= best * 1.01 + (rows[i].quantile == two_points ? step * step / 4.0 : 0.0));
        assert_true(found <= loss(&s, s.a.min, s.a.max) * 1.01);
        free(s.x);
    }
}

/* Known optima: Banner et al., Post training 4-bit quantization, 2019: 8 bits clip a normal at 3.92 sigma, a Laplace at 9.90 b (their step
 * is 2 alpha / 256, ours 2 alpha / 255), and a uniform not at all. */
static void optimal_clips(void **state)
{
    (void)state;
    Sample s = sample(normal_quantile, 200000, 0.0);
    Ends e = calibrate_ends(CALIBRATE_MSE, &s.a, 0.0);
    assert_near(e.high, 3.924, 0.08);
    assert_near(e.low, -3.924, 0.08);
    free(s.x);
    s = sample(laplace_quantile, 200000, 0.0);
    e = calibrate_ends(CALIBRATE_MSE, &s.a, 0.0);
    assert_near(e.high, 9.897, 0.25);
    assert_near(e.low, -9.897, 0.25);
    free(s.x);
    s = sample(uniform_quantile, 100000, 0.0);
    e = calibrate_ends(CALIBRATE_MSE, &s.a, 0.0);
    assert_true(e.low == 0.0 && e.high == s.a.max);
    free(s.x);
}

/* --- entropy */

/* The definition, on plain arrays. */
static double divergence(const double *n, int64_t bins, int64_t from, int64_t to)
{
    int64_t size = to - from, merged = size / 128;
    double *p = calloc((size_t)size, sizeof *p), *q = calloc((size_t)size, sizeof *q), total_p = 0.0, total_q = 0.0, d = 0.0;
    assert_true(p != NULL && q != NULL);
    for (int64_t i = 0; i < bins; i++) p[i < from ? 0 : i >= to ? size - 1 : i - from] += n[i];
    for (int level = 0; level < 128; level++) {
        int64_t first = level * merged, last = level == 127 ? size : first + merged, used = 0;
        double sum = 0.0;
        for (int64_t i = first; i < last; i++) {
            sum += n[from + i];
            used += p[i] > 0.0;
        }
        for (int64_t i = first; i < last; i++)
            if (p[i] > 0.0) q[i] = sum / (double)used;
    }
    for (int k = 0; k < 2; k++) {
        double *a = k == 0 ? p : q;
        int64_t zeros = 0;
        for (int64_t i = 0; i < size; i++) zeros += a[i] == 0.0;
        for (int64_t i = 0; i < size && zeros < size; i++) a[i] += a[i] == 0.0 ? 1e-4 : -1e-4 * (double)zeros / (double)(size - zeros);
        for (int64_t i = 0; i < size; i++) {
            if (a[i] <= 0.0) d = INFINITY;
            *(k == 0 ? &total_p : &total_q) += a[i];
        }
    }
    for (int64_t i = 0; i < size && d < INFINITY; i++) d += p[i] / total_p * log(p[i] / total_p / (q[i] / total_q));
    free(p);
    free(q);
    return d;
}

static void least_divergence(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        Sample s = sample(rows[i].quantile, 10000, rows[i].outlier);
        const Histogram *h = &s.a.histogram;
        Ends e = calibrate_ends(CALIBRATE_ENTROPY, &s.a, 0.0);
        bool negative = s.a.min < 0.0, positive = s.a.max >= 0.0;
        int64_t below = negative ? -h->origin : 0, above = positive ? h->top + 1 : 0, reach = below > above ? below : above;
        int64_t zero = negative ? reach : 0, bins = zero + (positive ? reach : 0);
        double *n = calloc((size_t)bins, sizeof *n), best = INFINITY, of_found = INFINITY;
        assert_non_null(n);
        for (int64_t k = 0; k <= h->top - h->origin; k++) n[zero + h->origin + k] = (double)h->bins[k];
        int64_t start = negative && positive ? 64 : 128, at = reach;
        if (positive) { /* zeros are left out where the bins beside are alike */
            int side = zero > 0 && n[zero - 1] > n[zero + 1] ? -1 : 1;
            double beside = n[zero + side], behind = zero + 2 * side >= 0 ? n[zero + 2 * side] : 0.0;
            if (beside > 0.0 && behind >= beside / 2.0 && n[zero] > beside) n[zero] = beside;
        }
        for (int64_t k = start; k <= reach; k++) {
            double d = divergence(n, bins, negative ? zero - k : 0, positive ? zero + k : bins), t = (double)k * width_of(&s);
            if (d < best) {
                best = d;
                at = k;
            }
            bool here = (!negative || e.low == fmax(s.a.min, -t)) && (!positive || e.high == fmin(s.a.max, t));
            if (here && d < of_found) of_found = d;
        }
        print_message("%s: [%g, %g] of [%g, %g]: %.6g, best %.6g at %g\n", rows[i].name, e.low, e.high, s.a.min, s.a.max, of_found, best,
                      (double)at * width_of(&s));
        assert_true(of_found <= best + 1e-6);
        free(n);
        free(s.x);
    }
}

/* A normal with one value far out is cut, a Relu's zeros are not taken for its bulk, a two-point distribution keeps its points. */
static void entropy_cases(void **state)
{
    (void)state;
    Sample s = sample(normal_quantile, 10000, 60.0);
    Ends e = calibrate_ends(CALIBRATE_ENTROPY, &s.a, 0.0);
    assert_true(e.high < 10.0 && e.high > 2.0);
    free(s.x);
    s = sample(relu_quantile, 10000, 0.0);
    e = calibrate_ends(CALIBRATE_ENTROPY, &s.a, 0.0);
    assert_true(e.low == 0.0 && e.high > 2.5);
    free(s.x);
    s = sample(relu_quantile, 10000, 4e3);
    e = calibrate_ends(CALIBRATE_ENTROPY, &s.a, 0.0);
    assert_true(e.low == 0.0 && e.high < 1000.0);
    free(s.x);
    s = sample(two_points, 1000, 0.0);
    e = calibrate_ends(CALIBRATE_ENTROPY, &s.a, 0.0);
    assert_true(e.low <= -1.0 + width_of(&s) && e.high >= 3.0 - width_of(&s));
    free(s.x);
}

/* --- odd tensors: every method gives ends that a grid can be made of */

static void odd_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        float x[4];
        int n;
    } odd[] = {
        { "one zero", { 0.0f }, 1 },          { "zeros", { 0.0f, -0.0f, 0.0f }, 3 },
        { "one value", { 2.5f }, 1 },         { "one negative", { -2.5f }, 1 },
        { "denormals", { 1e-40f, -1e-42f }, 2 }, { "huge", { 3e38f, -3e38f, 1.0f }, 3 },
        { "huge and tiny", { 3e38f, 1e-38f }, 2 }, { "close", { 1.0f, 1.0000001f }, 2 },
        { "all below", { -1.0f, -2.0f, -4.0f }, 3 }, { "at a power", { 0.0f, 1.0f, 2.0f, 4.0f }, 4 },
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int m = CALIBRATE_MINMAX; m < CALIBRATE_METHODS; m++) {
            Sample s = { .x = (float *)(uintptr_t)odd[i].x, .n = odd[i].n };
            look(&s);
            Ends e = calibrate_ends((Calibration)m, &s.a, 99.9);
            if (!(isfinite(e.low) && isfinite(e.high) && e.low <= e.high))
                fail_msg("%s, method %d: [%g, %g]", odd[i].name, m, e.low, e.high);
            Grid g = grid_activation(e.low, e.high);
            assert_true(isfinite(g.scale) && g.scale > 0.0f && g.zero >= 0 && g.zero <= 255);
            if (m != CALIBRATE_MOVING && m != CALIBRATE_MEAN) assert_true(e.low >= fmin(s.a.min, 0.0) && e.high <= fmax(s.a.max, 0.0));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),        cmocka_unit_test(percentiles),      cmocka_unit_test(least_squares),
        cmocka_unit_test(optimal_clips), cmocka_unit_test(least_divergence), cmocka_unit_test(entropy_cases),
        cmocka_unit_test(odd_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
