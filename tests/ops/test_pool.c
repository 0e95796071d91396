/* engine/direct_pool.c by itself: maxima to the bit, averages against sums in double, NaN where it belongs. The rows that use it are among
 * those of test_kernels.c. */
#include "test.h"

#include <math.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/direct_pool.h"

typedef struct Row {
    const char *name;
    Pool p; /* but for what is computed */
} Row;

#define SHAPE(n, i, H, W, P, Q) .planes = (n), .inner = (i), .in = { (H), (W) }, .out = { (P), (Q) }
#define KERNEL(R, S, t, l, v, u) .kernel = { (R), (S) }, .begin = { (t), (l) }, .stride = { (v), (u) }

static const Row rows[] = {
    { "2x2 of eight", { SHAPE(3, 8, 8, 10, 4, 5), KERNEL(2, 2, 0, 0, 2, 2) } },
    { "2x2 of 24", { SHAPE(2, 24, 9, 7, 4, 3), KERNEL(2, 2, 0, 0, 2, 2) } },
    { "2x2, padding", { SHAPE(2, 8, 5, 5, 6, 6), KERNEL(2, 2, 1, 1, 1, 1) } },
    { "3x3 of eight", { SHAPE(2, 8, 9, 12, 7, 10), KERNEL(3, 3, 0, 0, 1, 1) } },
    { "3x3, padding, stride", { SHAPE(2, 8, 9, 12, 5, 6), KERNEL(3, 3, 1, 1, 2, 2) } },
    { "3x3 of 16, padding", { SHAPE(2, 16, 4, 5, 4, 5), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "3x3 past the plane", { SHAPE(1, 8, 8, 8, 4, 4), KERNEL(3, 3, 0, 0, 2, 2) } },
    { "a window larger than the plane", { SHAPE(2, 8, 2, 2, 2, 2), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "uneven", { SHAPE(1, 8, 9, 17, 4, 5), KERNEL(4, 5, 1, 2, 3, 4) } },
    { "odd channels", { SHAPE(2, 13, 7, 6, 3, 5), KERNEL(3, 2, 0, 0, 2, 1) } },
    { "few channels", { SHAPE(2, 3, 7, 6, 6, 5), KERNEL(2, 2, 0, 0, 1, 1) } },
    { "the whole plane", { SHAPE(4, 8, 7, 5, 1, 1), KERNEL(7, 5, 0, 0, 1, 1) } },
    { "the whole plane of 21", { SHAPE(2, 21, 5, 6, 1, 1), KERNEL(5, 6, 0, 0, 1, 1) } },
    { "one pixel", { SHAPE(2, 8, 1, 1, 1, 1), KERNEL(1, 1, 0, 0, 1, 1) } },
};

static int64_t size_of(const Pool *p, const int64_t *plane)
{
    return p->planes * p->inner * plane[0] * plane[1];
}

static float expected(const Pool *p, const float *x, int64_t i)
{
    int64_t c = i % p->inner, q = i / p->inner % p->out[1], row = i / p->inner / p->out[1] % p->out[0];
    int64_t plane = i / p->inner / p->out[1] / p->out[0], inside = 0;
    double sum = 0;
    float best = -INFINITY;
    for (int64_t r = 0; r < p->kernel[0]; r++)
        for (int64_t s = 0; s < p->kernel[1]; s++) {
            int64_t h = row * p->stride[0] - p->begin[0] + r, w = q * p->stride[1] - p->begin[1] + s;
            if (h < 0 || h >= p->in[0] || w < 0 || w >= p->in[1]) continue;
            float v = x[((plane * p->in[0] + h) * p->in[1] + w) * p->inner + c];
            sum += (double)v;
            if (v > best || isnan(v)) best = v;
            inside++;
        }
    return p->average ? (float)(sum / (double)(p->padded ? p->kernel[0] * p->kernel[1] : inside)) : best;
}

static void check(const char *name, const Pool *p, const float *x, const float *y)
{
    for (int64_t i = 0; i < size_of(p, p->out); i++) {
        float want = expected(p, x, i);
        bool same = isnan(want) ? isnan(y[i]) != 0
                                : p->average ? y[i] == want || fabsf(y[i] - want) <= 1e-6F : memcmp(&y[i], &want, sizeof want) == 0;
        if (!same) fail_msg("%s, %s: element %lld is %g, expected %g", name, p->average ? "average" : "maximum", (long long)i,
                            (double)y[i], (double)want);
    }
}

static void test_rows(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Pool p = rows[i].p;
        int64_t given = size_of(&p, p.in), made = size_of(&p, p.out), all = p.planes * p.out[0];
        float *x = malloc((size_t)given * sizeof *x), *y = malloc((size_t)made * sizeof *y);
        assert_true(x != NULL && y != NULL);
        for (int64_t k = 0; k < given; k++) {
            double v = build_noise(1, k);
            x[k] = v < -0.5 ? -0.0F : v < 0 ? 0 : (float)v; /* zeros of either sign meet */
        }
        for (int round = 0; round < 2; round++) {
            for (int kind = 0; kind < 3; kind++) {
                p.average = kind > 0;
                p.padded = kind == 2;
                memset(y, 0x55, (size_t)made * sizeof *y);
                pool_rows(&p, x, 0, all / 2, y); /* in two parts */
                pool_rows(&p, x, all / 2, all, y);
                check(rows[i].name, &p, x, y);
            }
            x[given / 2] = NAN;
            x[given - 1] = INFINITY;
            x[0] = -INFINITY;
        }
        free(x);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
