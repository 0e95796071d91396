/* engine/direct_depthwise.c by itself: against sums in double, the same bytes for any number of threads, NaN where it belongs. The row that
 * uses it is among those of test_kernels.c. */
#include "test.h"

#include <math.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/direct.h"
#include "engine/direct_depthwise.h"

typedef struct Row {
    const char *name;
    Depthwise c; /* without pointers, bounds and threads */
    bool fits;
} Row;

#define SHAPE(n, b, H, W, P, Q) .images = (n), .blocks = (b), .in = { (H), (W) }, .out = { (P), (Q) }
#define KERNEL(R, S, t, l, v, u) .kernel = { (R), (S) }, .begin = { (t), (l) }, .stride = { (v), (u) }

static const Row rows[] = {
    { "3x3", { SHAPE(2, 3, 7, 9, 7, 9), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "one pixel", { SHAPE(1, 1, 1, 1, 1, 1), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "one pixel, 5x5", { SHAPE(1, 2, 1, 1, 1, 1), KERNEL(5, 5, 2, 2, 1, 1) }, true },
    { "two columns, 5x5", { SHAPE(1, 2, 3, 2, 3, 2), KERNEL(5, 5, 2, 2, 1, 1) }, true },
    { "three columns", { SHAPE(2, 2, 8, 3, 8, 3), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "six columns, odd rows", { SHAPE(1, 2, 9, 6, 9, 6), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "seven columns", { SHAPE(1, 2, 7, 7, 7, 7), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "even pieces", { SHAPE(1, 2, 5, 29, 5, 29), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "no padding", { SHAPE(2, 1, 9, 12, 7, 10), KERNEL(3, 3, 0, 0, 1, 1) }, true },
    { "stride 2", { SHAPE(2, 2, 12, 13, 6, 7), KERNEL(3, 3, 1, 1, 2, 2) }, true },
    { "stride 2 that leaves a column", { SHAPE(1, 2, 12, 12, 6, 6), KERNEL(3, 3, 1, 1, 2, 2) }, true },
    { "stride 2, padding behind alone", { SHAPE(1, 2, 12, 22, 6, 11), KERNEL(3, 3, 0, 0, 2, 2) }, true },
    { "stride of rows", { SHAPE(1, 2, 14, 5, 5, 5), KERNEL(4, 3, 2, 1, 3, 1) }, true },
    { "5x5", { SHAPE(2, 2, 11, 19, 11, 19), KERNEL(5, 5, 2, 2, 1, 1) }, true },
    { "5x5, stride 2", { SHAPE(1, 2, 11, 19, 6, 10), KERNEL(5, 5, 2, 2, 2, 2) }, true },
    { "7x3", { SHAPE(1, 2, 5, 9, 5, 9), KERNEL(7, 3, 3, 1, 1, 1) }, true },
    { "1x5", { SHAPE(1, 2, 3, 17, 3, 17), KERNEL(1, 5, 0, 2, 1, 1) }, true },
    { "enough for threads", { SHAPE(3, 3, 41, 33, 41, 33), KERNEL(3, 3, 1, 1, 1, 1) }, true },
    { "four columns", { SHAPE(1, 1, 9, 9, 9, 9), KERNEL(3, 4, 1, 1, 1, 1) }, false },
    { "stride 3", { SHAPE(1, 1, 9, 9, 3, 3), KERNEL(3, 3, 0, 0, 3, 3) }, false },
    { "wide padding", { SHAPE(1, 1, 9, 9, 9, 9), KERNEL(3, 3, 1, 2, 1, 1) }, false },
    { "wide padding behind", { SHAPE(1, 1, 9, 9, 9, 9), KERNEL(3, 3, 1, 0, 1, 1) }, false },
    { "a window of padding", { SHAPE(1, 1, 9, 9, 13, 9), KERNEL(3, 3, 1, 1, 1, 1) }, false },
};

static float *noise(uint64_t seed, int64_t count)
{
    float *x = aligned_alloc(64, ((size_t)count * sizeof *x + 63) / 64 * 64);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)build_noise(seed, i);
    return x;
}

/* One element in double; `plane` is a block of an image. */
static double expected(const Depthwise *c, const float *x, const float *addend, int64_t plane, int64_t p, int64_t q, int64_t lane)
{
    int64_t block = plane % c->blocks;
    double sum = c->bias != NULL ? (double)c->bias[block * 8 + lane] : 0;
    for (int64_t r = 0; r < c->kernel[0]; r++)
        for (int64_t s = 0; s < c->kernel[1]; s++) {
            int64_t h = p * c->stride[0] - c->begin[0] + r, w = q * c->stride[1] - c->begin[1] + s;
            if (h < 0 || h >= c->in[0] || w < 0 || w >= c->in[1]) continue;
            sum += (double)x[((plane * c->in[0] + h) * c->in[1] + w) * 8 + lane] *
                   (double)c->weights[((block * c->kernel[0] + r) * c->kernel[1] + s) * 8 + lane];
        }
    if (addend != NULL) sum += (double)addend[((plane * c->out[0] + p) * c->out[1] + q) * 8 + lane];
    return fmin(fmax(sum, (double)c->low), (double)c->high);
}

static void check(const char *name, const Depthwise *c, const float *x, const float *addend, const float *y)
{
    for (int64_t i = 0; i < c->images * c->blocks * c->out[0] * c->out[1] * 8; i++) {
        int64_t pixel = i / 8, row = pixel / c->out[1], plane = row / c->out[0];
        double want = expected(c, x, addend, plane, row % c->out[0], pixel % c->out[1], i % 8);
        if (!(fabs((double)y[i] - want) <= 1e-5 * (1 + fabs(want))))
            fail_msg("%s: [%lld, %lld, %lld, %lld] is %g, expected %g", name, (long long)plane, (long long)(row % c->out[0]),
                     (long long)(pixel % c->out[1]), (long long)(i % 8), (double)y[i], want);
    }
}

static void run(Depthwise c, int threads, const float *x, const float *addend, float *y)
{
    c.threads = threads;
    depthwise_run(&c, x, addend, y);
}

static void test_rows(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Depthwise c = rows[i].c;
        if (depthwise_fits(&c) != rows[i].fits) fail_msg("%s: whether it fits", rows[i].name);
        if (!rows[i].fits) continue;
        int64_t made = c.images * c.blocks * c.out[0] * c.out[1] * 8;
        float *x = noise(1, c.images * c.blocks * c.in[0] * c.in[1] * 8), *w = noise(2, c.blocks * c.kernel[0] * c.kernel[1] * 8);
        float *b = noise(3, c.blocks * 8), *addend = noise(4, made), *y = noise(6, made), *z = noise(7, made);
        c.weights = w;
        c.low = -INFINITY;
        c.high = INFINITY;
        run(c, 1, x, NULL, y);
        check(rows[i].name, &c, x, NULL, y);
        c.bias = b;
        c.low = -0.5F;
        c.high = 0.75F;
        run(c, 1, x, addend, y);
        check(rows[i].name, &c, x, addend, y);
        for (int threads = 2; threads <= 3; threads++) {
            memset(z, 0, (size_t)made * sizeof *z);
            run(c, threads, x, addend, z);
            assert_memory_equal(y, z, (size_t)made * sizeof *y);
        }
        free(x);
        free(w);
        free(b);
        free(addend);
        free(y);
        free(z);
    }
}

/* NaN reaches the pixels whose windows hold it, through bounds too, and no others; what lies outside is no zero times an infinity. */
static void test_nan(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    float *x = noise(1, 8 * 9 * 9), *w = noise(2, 8 * 9), *y = noise(3, 8 * 9 * 9);
    Depthwise c = { SHAPE(1, 1, 9, 9, 9, 9), KERNEL(3, 3, 1, 1, 1, 1), .weights = w, .low = 0, .high = 6 };
    x[(4 * 9 + 6) * 8 + 3] = NAN;
    run(c, 1, x, NULL, y);
    for (int64_t i = 0; i < 8 * 9 * 9; i++) {
        int64_t p = i / 8 / 9, q = i / 8 % 9;
        assert_int_equal(isnan(y[i]) != 0, i % 8 == 3 && p >= 3 && p <= 5 && q >= 5 && q <= 7);
    }
    x[(4 * 9 + 6) * 8 + 3] = 0;
    for (int i = 0; i < 8; i++) w[i] = INFINITY; /* the upper left tap */
    run(c, 1, x, NULL, y);
    for (int64_t q = 0; q < 9; q++)
        for (int i = 0; i < 8; i++) assert_false(isnan(y[q * 8 + i]) || isinf(y[q * 8 + i]));
    free(x);
    free(w);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_nan) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
