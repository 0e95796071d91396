/* engine/direct.c by itself: against sums in double, the same bytes for any number of threads, NaN where it belongs. The row that uses it
 * is among those of test_kernels.c. */
#include "test.h"

#include <math.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/direct.h"

typedef struct Row {
    const char *name;
    DirectConv c; /* without pointers, bounds and threads */
    bool fits;
} Row;

#define SHAPE(n, ch, f, H, W, P, Q) .images = (n), .channels = (ch), .filters = (f), .h = (H), .w = (W), .p = (P), .q = (Q)
#define KERNEL(R, S, t, l, v, u) .r = (R), .s = (S), .top = (t), .left = (l), .stride = { (v), (u) }
#define DILATED(v, u) .dilation = { (v), (u) }, .depth = 8
#define BLOCKS DILATED(1, 1)
#define CHANNELS .dilation = { 1, 1 }, .depth = 1

static const Row rows[] = {
    { "3x3", { SHAPE(2, 8, 16, 7, 9, 7, 9), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "one row of four", { SHAPE(1, 16, 16, 1, 4, 1, 4), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "five and six", { SHAPE(1, 8, 16, 3, 31, 3, 31), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "three and four", { SHAPE(2, 8, 16, 5, 7, 5, 7), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "rows too short", { SHAPE(1, 8, 16, 5, 3, 5, 3), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, false },
    { "strips, the last one shorter", { SHAPE(1, 16, 32, 41, 33, 41, 33), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "channels in turns", { SHAPE(3, 72, 16, 6, 5, 6, 5), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "stride 2", { SHAPE(2, 16, 16, 12, 13, 6, 7), KERNEL(3, 3, 1, 1, 2, 2), BLOCKS }, true },
    { "stride that leaves a column", { SHAPE(1, 8, 16, 6, 10, 5, 4), KERNEL(2, 3, 0, 0, 1, 2), BLOCKS }, true },
    { "padding before alone", { SHAPE(1, 8, 16, 8, 8, 7, 6), KERNEL(4, 5, 2, 2, 1, 1), BLOCKS }, true },
    { "padding behind alone", { SHAPE(1, 8, 16, 5, 5, 5, 5), KERNEL(3, 3, 0, 0, 1, 1), BLOCKS }, true },
    { "filters of one block", { SHAPE(2, 8, 8, 5, 25, 5, 25), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "filters of three blocks", { SHAPE(1, 16, 24, 5, 9, 5, 9), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "blocks in part", { SHAPE(2, 20, 50, 9, 9, 5, 5), KERNEL(5, 5, 0, 0, 1, 1), BLOCKS }, true },
    { "blocks in part, in turns", { SHAPE(1, 76, 12, 6, 13, 6, 13), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, true },
    { "stride 3, dilation", { SHAPE(2, 8, 24, 17, 19, 5, 6), KERNEL(3, 3, 1, 2, 3, 3), DILATED(2, 3) }, true },
    { "stride 2, dilation 2", { SHAPE(1, 8, 16, 9, 12, 5, 6), KERNEL(3, 3, 2, 2, 2, 2), DILATED(2, 2) }, true },
    { "one channel", { SHAPE(2, 1, 20, 28, 28, 24, 24), KERNEL(5, 5, 0, 0, 1, 1), CHANNELS }, true },
    { "three channels, padded", { SHAPE(2, 3, 16, 9, 11, 9, 11), KERNEL(3, 3, 1, 1, 1, 1), CHANNELS }, true },
    { "three channels, stride 2", { SHAPE(2, 3, 24, 35, 37, 18, 19), KERNEL(3, 3, 1, 1, 2, 2), CHANNELS }, true },
    { "one channel, a tall window", { SHAPE(1, 1, 64, 49, 10, 25, 5), KERNEL(10, 4, 4, 1, 2, 2), CHANNELS }, true },
    { "seven channels, stride 3, strips", { SHAPE(1, 7, 8, 90, 91, 30, 31), KERNEL(3, 3, 1, 1, 3, 3), CHANNELS }, true },
    { "1x1, rows as one", { SHAPE(2, 20, 24, 3, 3, 3, 3), KERNEL(1, 1, 0, 0, 1, 1), BLOCKS }, true },
    { "1x1, stride 2", { SHAPE(2, 16, 16, 9, 9, 5, 5), KERNEL(1, 1, 0, 0, 2, 2), BLOCKS }, true },
    { "1x1, fewer than a piece", { SHAPE(2, 16, 16, 1, 3, 1, 3), KERNEL(1, 1, 0, 0, 1, 1), BLOCKS }, false },
    { "too many taps", { SHAPE(1, 1, 8, 40, 40, 24, 24), KERNEL(17, 17, 0, 0, 1, 1), CHANNELS }, false },
    { "rows too long", { SHAPE(1, 16, 16, 8, 900, 8, 900), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS }, false },
};

static float *noise(uint64_t seed, int64_t count)
{
    float *x = aligned_alloc(64, ((size_t)count * sizeof *x + 63) / 64 * 64);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)build_noise(seed, i);
    return x;
}

/* Blocks that hold the channels, `side` side by side. */
static int64_t blocks(int64_t channels, int64_t side)
{
    return (channels + side - 1) / side;
}

/* The place of an element in [N, C/side, H, W, side]. */
static int64_t place(int64_t n, int64_t ch, int64_t h, int64_t w, int64_t channels, int64_t high, int64_t wide, int64_t side)
{
    return (((n * blocks(channels, side) + ch / side) * high + h) * wide + w) * side + ch % side;
}

/* One element in double. */
static double expected(const DirectConv *c, const float *x, const float *addend, int64_t n, int64_t k, int64_t p, int64_t q)
{
    double sum = c->bias != NULL ? (double)c->bias[k] : 0;
    for (int64_t ch = 0; ch < c->channels; ch++)
        for (int64_t r = 0; r < c->r; r++)
            for (int64_t s = 0; s < c->s; s++) {
                int64_t h = p * c->stride[0] - c->top + r * c->dilation[0], w = q * c->stride[1] - c->left + s * c->dilation[1];
                if (h < 0 || h >= c->h || w < 0 || w >= c->w) continue;
                int64_t at = place(k / 8, ch, r, s, c->channels, c->r, c->s, c->depth) / c->depth;
                double weight = (double)c->weights[(at * c->depth + ch % c->depth) * 8 + k % 8];
                sum += (double)x[place(n, ch, h, w, c->channels, c->h, c->w, c->depth)] * weight;
            }
    if (addend != NULL) sum += (double)addend[place(n, k, p, q, c->filters, c->p, c->q, 8)];
    return fmin(fmax(sum, (double)c->low), (double)c->high);
}

static void check(const Row *row, const DirectConv *c, const float *x, const float *addend, const float *y)
{
    for (int64_t n = 0; n < c->images; n++)
        for (int64_t k = 0; k < c->filters; k++)
            for (int64_t p = 0; p < c->p; p++)
                for (int64_t q = 0; q < c->q; q++) {
                    double found = (double)y[place(n, k, p, q, c->filters, c->p, c->q, 8)];
                    double want = expected(c, x, addend, n, k, p, q);
                    if (!(fabs(found - want) <= 1e-5 * (1 + fabs(want))))
                        fail_msg("%s: [%lld, %lld, %lld, %lld] is %g, expected %g", row->name, (long long)n, (long long)k, (long long)p,
                                 (long long)q, found, want);
                }
}

static void run(DirectConv c, int threads, const float *x, const float *addend, float *y)
{
    c.threads = threads;
    assert_true(direct_init(&c));
    float *scratch = noise(5, (int64_t)c.scratch * threads);
    direct_run(&c, x, addend, scratch, y);
    free(scratch);
}

static void test_rows(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DirectConv c = rows[i].c;
        c.threads = 1;
        assert_int_equal(direct_init(&c), rows[i].fits);
        if (!rows[i].fits) continue;
        int64_t filters = blocks(c.filters, 8) * 8, channels = blocks(c.channels, c.depth) * c.depth, made = c.images * filters * c.p * c.q;
        float *x = noise(1, c.images * channels * c.h * c.w), *w = noise(2, filters * channels * c.r * c.s), *b = noise(3, filters);
        float *addend = noise(4, made), *y = noise(6, made), *z = noise(7, made);
        c.weights = w;
        c.low = -INFINITY;
        c.high = INFINITY;
        run(c, 1, x, NULL, y);
        check(&rows[i], &c, x, NULL, y);
        c.bias = b;
        c.low = -0.5F;
        c.high = 0.75F;
        run(c, 1, x, addend, y);
        check(&rows[i], &c, x, addend, y);
        for (int threads = 2; threads <= 3; threads++) {
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

/* NaN reaches the pixels whose windows hold it, through bounds too, and no others. */
static void test_nan(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    float *x = noise(1, 8 * 9 * 9), *w = noise(2, 16 * 8 * 9), *y = noise(3, 16 * 9 * 9);
    DirectConv c = { SHAPE(1, 8, 16, 9, 9, 9, 9), KERNEL(3, 3, 1, 1, 1, 1), BLOCKS, .weights = w, .low = 0, .high = 6 };
    x[(4 * 9 + 6) * 8 + 3] = NAN;
    run(c, 1, x, NULL, y);
    for (int64_t i = 0; i < 16 * 9 * 9; i++) {
        int64_t p = i / 8 % 81 / 9, q = i / 8 % 9;
        assert_int_equal(isnan(y[i]) != 0, p >= 3 && p <= 5 && q >= 5 && q <= 7);
    }
    free(x);
    free(w);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_nan) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
