/* engine/direct_product.c by itself: against sums in double, the same bytes for any number of threads, nothing written behind a row. The
 * rows that use it are among those of test_kernels.c. */
#include "test.h"

#include <math.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/direct.h"
#include "engine/direct_product.h"

#define GUARD 8 /* floats behind y */

static float *noise(uint64_t seed, int64_t count)
{
    float *x = aligned_alloc(64, ((size_t)count * sizeof *x + 63) / 64 * 64);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)build_noise(seed, i);
    return x;
}

/* Where the weight of channel c for filter k lies. */
static int64_t place(const Product *p, int64_t c, int64_t k)
{
    int64_t group = k / PRODUCT_FILTERS * PRODUCT_FILTERS, rest = (p->filters - group + 7) / 8 * 8;
    return group * p->channels + c * (rest < PRODUCT_FILTERS ? rest : PRODUCT_FILTERS) + k - group;
}

static double expected(const Product *p, const float *x, const float *addend, int64_t r, int64_t k)
{
    double sum = p->bias != NULL ? (double)p->bias[k] : 0;
    for (int64_t c = 0; c < p->channels; c++)
        sum += (double)x[r * p->channels + c] * (double)p->weights[place(p, c, k)];
    if (addend != NULL) sum += (double)addend[r * p->filters + k];
    return fmin(fmax(sum, (double)p->low), (double)p->high);
}

static void check(Product p, const float *x, const float *addend)
{
    int64_t made = p.rows * p.filters;
    float *y = noise(5, made + GUARD), *z = noise(5, made + GUARD), *guard = noise(5, made + GUARD);
    product_run(&p, x, addend, y);
    for (int64_t i = 0; i < made; i++) {
        double want = expected(&p, x, addend, i / p.filters, i % p.filters);
        if (!(fabs((double)y[i] - want) <= 5e-5 * (1 + fabs(want))))
            fail_msg("%lld rows, %lld channels, %lld filters: [%lld, %lld] is %g, expected %g", (long long)p.rows, (long long)p.channels,
                     (long long)p.filters, (long long)(i / p.filters), (long long)(i % p.filters), (double)y[i], want);
    }
    assert_memory_equal(y + made, guard + made, GUARD * sizeof *y);
    p.threads = 3;
    product_run(&p, x, addend, z);
    assert_memory_equal(y, z, (size_t)(made + GUARD) * sizeof *y);
    free(y);
    free(z);
    free(guard);
}

/* Sums of one row go the same way for every filter, the last ones too. */
static void test_equal_filters(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    enum { CHANNELS = 999 };
    static const int64_t filters[] = { 7, 10, 20, 32, 33, 41, 57, 160 };
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++)
        for (int64_t rows = 1; rows <= 3; rows++) {
            int64_t width = (filters[f] + 7) / 8 * 8, made = rows * filters[f];
            float *x = noise(1, rows * CHANNELS), *w = noise(2, width * CHANNELS), *y = noise(3, made);
            for (int64_t i = 0; i < width * CHANNELS; i++) w[i] = 0.02F;
            Product p = { .rows = rows, .channels = CHANNELS, .filters = filters[f], .weights = w, .low = -INFINITY, .high = INFINITY,
                          .threads = 1 };
            product_run(&p, x, NULL, y);
            for (int64_t i = 0; i < made; i++) assert_memory_equal(&y[i], &y[i - i % filters[f]], sizeof *y);
            free(x);
            free(w);
            free(y);
        }
}

static void test_shapes(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    static const int64_t channels[] = { 1, 2, 7, 16, 33, 1000 }, filters[] = { 1, 8, 10, 17, 31, 32, 33, 75, 160 };
    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        for (size_t f = 0; f < sizeof filters / sizeof *filters; f++)
            for (int64_t rows = 1; rows <= 8; rows++) {
                int64_t width = (filters[f] + 7) / 8 * 8;
                float *x = noise(1, rows * channels[c]), *w = noise(2, width * channels[c]), *b = noise(3, width);
                float *addend = noise(4, rows * filters[f]);
                Product p = { .rows = rows, .channels = channels[c], .filters = filters[f], .weights = w, .low = -INFINITY,
                              .high = INFINITY, .threads = 1 };
                check(p, x, NULL);
                p.bias = b;
                p.low = -0.5F;
                p.high = 0.75F;
                check(p, x, addend);
                for (int64_t i = 0; i < rows * channels[c]; i++) /* most of them, in runs and by themselves */
                    if (i % 16 < 10 || i % 3 == 0) x[i] = i % 2 == 0 ? 0 : -0.0F;
                p.finite = true;
                check(p, x, NULL);
                check(p, x, addend);
                free(x);
                free(w);
                free(b);
                free(addend);
            }
}

static void test_nan(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    float *x = noise(1, 2 * 9), *w = noise(2, 16 * 9), y[2 * 10];
    Product p = { .rows = 2, .channels = 9, .filters = 10, .weights = w, .low = 0, .high = 6, .threads = 1 };
    x[9 + 4] = NAN;
    product_run(&p, x, NULL, y);
    for (int i = 0; i < 20; i++) assert_int_equal(isnan(y[i]) != 0, i >= 10);
    free(x);
    free(w);
}

/* NaN among zeros is none of them; and where a weight is no number, zeros are not passed over. */
static void test_nan_among_zeros(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    float *x = noise(1, 600), *w = noise(2, 600 * 40), y[40];
    Product p = { .rows = 1, .channels = 600, .filters = 40, .weights = w, .low = -INFINITY, .high = INFINITY, .threads = 1 };
    p.finite = true;
    for (int i = 0; i < 600; i++) x[i] = 0;
    x[77] = NAN;
    product_run(&p, x, NULL, y);
    for (int i = 0; i < 40; i++) assert_true(isnan(y[i]));
    x[77] = 1;
    product_run(&p, x, NULL, y);
    for (int i = 0; i < 40; i++) assert_true(y[i] == w[place(&p, 77, i)]);
    p.finite = false;
    w[place(&p, 5, 33)] = INFINITY;
    product_run(&p, x, NULL, y);
    for (int i = 0; i < 40; i++) assert_int_equal(isnan(y[i]) != 0, i == 33);
    free(x);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_shapes), cmocka_unit_test(test_equal_filters), cmocka_unit_test(test_nan),
                                        cmocka_unit_test(test_nan_among_zeros) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
