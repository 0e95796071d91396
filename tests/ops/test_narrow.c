/* engine/narrow.c by itself: the same integers as sums one by one, as bytes and widened, the same bytes for any number of threads. The rows
 * that use it are among those of test_integers.c. */
#include "test.h"

#include <math.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/narrow.h"

typedef struct Row {
    const char *name;
    NarrowConv c; /* geometry */
} Row;

#define SHAPE(n, ch, f, H, W, P, Q) .images = (n), .channels = (ch), .filters = (f), .h = (H), .w = (W), .p = (P), .q = (Q)
#define KERNEL(R, S, t, l, v, u) .r = (R), .s = (S), .top = (t), .left = (l), .stride = { (v), (u) }, .dilation = { 1, 1 }
#define GAPS(R, S, t, l, a, b) .r = (R), .s = (S), .top = (t), .left = (l), .stride = { 1, 1 }, .dilation = { (a), (b) }

static const Row rows[] = {
    { "3x3", { SHAPE(2, 8, 16, 7, 9, 7, 9), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "pieces of one pixel", { SHAPE(1, 8, 16, 5, 1, 5, 1), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "pieces of two and three", { SHAPE(3, 4, 24, 5, 3, 5, 2), KERNEL(3, 2, 1, 0, 1, 1) } },
    { "pieces of three and four", { SHAPE(1, 5, 8, 3, 7, 3, 7), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "pieces of five and six", { SHAPE(1, 8, 40, 3, 31, 3, 31), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "strips, the last one shorter", { SHAPE(1, 32, 16, 41, 65, 41, 65), KERNEL(3, 3, 1, 1, 1, 1) } },
    { "one pixel windows", { SHAPE(2, 20, 17, 9, 9, 9, 9), KERNEL(1, 1, 0, 0, 1, 1) } },
    { "one pixel windows, a row cut short", { SHAPE(3, 33, 9, 7, 7, 7, 7), KERNEL(1, 1, 0, 0, 1, 1) } },
    { "a product of one row", { SHAPE(1, 70, 10, 1, 1, 1, 1), KERNEL(1, 1, 0, 0, 1, 1) } },
    { "one channel, odd windows", { SHAPE(2, 1, 20, 12, 11, 10, 5), KERNEL(5, 5, 1, 1, 1, 2) } },
    { "three channels, stride 2", { SHAPE(1, 3, 32, 15, 17, 7, 8), KERNEL(3, 3, 0, 0, 2, 2) } },
    { "stride that leaves columns", { SHAPE(1, 8, 16, 6, 10, 2, 3), KERNEL(2, 3, 0, 0, 3, 3) } },
    { "padding before alone", { SHAPE(1, 8, 7, 8, 8, 7, 6), KERNEL(4, 5, 2, 2, 1, 1) } },
    { "padding behind alone", { SHAPE(1, 6, 16, 5, 5, 5, 5), KERNEL(3, 3, 0, 0, 1, 1) } },
    { "windows that miss the image", { SHAPE(1, 6, 16, 2, 2, 4, 4), KERNEL(2, 2, 1, 1, 1, 1) } },
    { "gaps between rows", { SHAPE(1, 6, 16, 9, 9, 9, 9), GAPS(3, 3, 2, 1, 2, 1) } },
    { "gaps between columns", { SHAPE(2, 7, 12, 9, 9, 9, 9), GAPS(3, 3, 2, 3, 2, 3) } },
    { "depthwise", { SHAPE(2, 16, 16, 7, 9, 7, 9), KERNEL(3, 3, 1, 1, 1, 1), .depthwise = true } },
    { "depthwise, odd", { SHAPE(1, 21, 21, 8, 9, 4, 5), KERNEL(3, 3, 1, 1, 2, 2), .depthwise = true } },
    { "depthwise, few", { SHAPE(1, 3, 3, 8, 9, 8, 9), KERNEL(5, 5, 2, 2, 1, 1), .depthwise = true } },
    { "depthwise, gaps", { SHAPE(1, 32, 32, 9, 9, 9, 9), GAPS(3, 3, 2, 2, 2, 2), .depthwise = true } },
    { "depthwise, strips", { SHAPE(1, 48, 48, 65, 70, 65, 70), KERNEL(3, 3, 1, 1, 1, 1), .depthwise = true } },
    { "depthwise, one tap", { SHAPE(1, 18, 18, 5, 5, 3, 3), KERNEL(1, 1, 0, 0, 2, 2), .depthwise = true } },
};

/* Everything one run needs; sized for the row. */
typedef struct Data {
    uint8_t *x, *found, *other, *scratch;
    int8_t *w;
    void *packed;
    int32_t *offset, *bias;
    float *multiplier, *scales;
    int64_t in, made, each;
} Data;

static void *room(int64_t bytes)
{
    void *p = aligned_alloc(64, ((size_t)bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

static void data_new(const NarrowConv *c, int limit, Data *d)
{
    *d = (Data){ .in = c->images * c->channels * c->h * c->w, .made = c->images * c->filters * c->p * c->q,
                 .each = (c->depthwise ? 1 : c->channels) * c->r * c->s };
    d->x = room(d->in);
    d->w = room(c->filters * d->each);
    d->found = room(d->made * 4);
    d->other = room(d->made * 4);
    d->bias = room(c->filters * 4);
    d->scales = room(c->filters * 4);
    d->offset = room((c->filters + NARROW_FILTERS) * 4);
    d->multiplier = room((c->filters + NARROW_FILTERS) * 4);
    for (int64_t i = 0; i < d->in; i++) d->x[i] = (uint8_t)(int)floor(128 + 128 * build_noise(1, i));
    for (int64_t i = 0; i < c->filters * d->each; i++) {
        int v = (int)floor(limit * build_noise(2, i));
        d->w[i] = (int8_t)(i % 5 == 0 ? limit - (limit == 128) : i % 7 == 0 ? -limit : v);
    }
    for (int64_t k = 0; k < c->filters; k++) {
        d->bias[k] = (int32_t)floor(9000 * build_noise(3, k));
        d->scales[k] = ldexpf(1 + (float)(k % 3) / 4, -9 - (int)(k % 4));
    }
}

static void data_free(Data *d)
{
    free(d->x);
    free(d->w);
    free(d->found);
    free(d->other);
    free(d->bias);
    free(d->scales);
    free(d->offset);
    free(d->multiplier);
}

/* The exact sum of one result. */
static int64_t expected(const NarrowConv *c, const Data *d, int64_t n, int64_t p, int64_t q, int64_t k)
{
    int64_t sum = d->bias[k], channels = c->depthwise ? 1 : c->channels;
    for (int64_t ch = 0; ch < channels; ch++)
        for (int64_t r = 0; r < c->r; r++)
            for (int64_t s = 0; s < c->s; s++) {
                int64_t h = p * c->stride[0] - c->top + r * c->dilation[0], w = q * c->stride[1] - c->left + s * c->dilation[1];
                if (h < 0 || h >= c->h || w < 0 || w >= c->w) continue;
                uint8_t x = d->x[((n * c->h + h) * c->w + w) * c->channels + (c->depthwise ? k : ch)];
                sum += (int64_t)((c->is_signed ? (int8_t)x : x) - c->zero) * d->w[k * d->each + (ch * c->r + r) * c->s + s];
            }
    return sum;
}

static double result(const NarrowConv *c, const Data *d, int64_t sum, int64_t k)
{
    float scaled = (float)sum * d->scales[k];
    if (c->result == NARROW_SUMS) return (double)sum;
    if (c->result == NARROW_FLOATS) return (double)scaled;
    return (double)rintf(fminf(fmaxf(scaled, c->least), c->most)) + c->out_zero;
}

static double made(const NarrowConv *c, const uint8_t *y, int64_t i)
{
    int32_t sum;
    float f;
    memcpy(&sum, y + (c->result == NARROW_BYTES ? 0 : 4 * i), sizeof sum);
    memcpy(&f, y + (c->result == NARROW_BYTES ? 0 : 4 * i), sizeof f);
    if (c->result == NARROW_SUMS) return sum;
    if (c->result == NARROW_FLOATS) return (double)f;
    return c->out_signed ? (int8_t)y[i] : y[i];
}

static void run(NarrowConv c, Data *d, int threads, uint8_t *y)
{
    c.threads = threads;
    assert_true(narrow_init(&c));
    void *packed = room((int64_t)narrow_packed(&c)), *scratch = room((int64_t)c.scratch * threads);
    narrow_pack(&c, d->w, packed);
    memset(d->offset, 0, (size_t)(c.filters + NARROW_FILTERS) * 4);
    for (int64_t k = 0; k < c.filters; k++) {
        int64_t total = 0;
        for (int64_t i = 0; i < d->each; i++) total += d->w[k * d->each + i];
        d->offset[narrow_place(&c, k)] = (int32_t)(d->bias[k] - narrow_shift(&c) * total);
        d->multiplier[narrow_place(&c, k)] = d->scales[k];
    }
    c.weights = packed;
    c.offset = d->offset;
    c.multiplier = d->multiplier;
    narrow_run(&c, d->x, scratch, y);
    free(packed);
    free(scratch);
}

static void check(const char *name, const NarrowConv *c, Data *d)
{
    run(*c, d, 1, d->found);
    for (int64_t i = 0; i < d->made; i++) {
        int64_t k = i % c->filters, pixel = i / c->filters, q = pixel % c->q, p = pixel / c->q % c->p, n = pixel / c->q / c->p;
        double want = result(c, d, expected(c, d, n, p, q, k), k), found = made(c, d->found, i);
        if (found != want)
            fail_msg("%s%s: [%lld, %lld, %lld, %lld] is %.9g, expected %.9g", name, c->in_bytes ? ", in bytes" : "", (long long)n,
                     (long long)p, (long long)q, (long long)k, found, want);
    }
    for (int threads = 2; threads <= 3; threads++) {
        memset(d->other, 0, (size_t)d->made * 4);
        run(*c, d, threads, d->other);
        assert_memory_equal(d->found, d->other, (size_t)d->made * (c->result == NARROW_BYTES ? 1 : 4));
    }
}

/* `limit`: of the weights; 64 lets bytes be added in pairs, 128 does not. */
static void check_row(const Row *row, int limit)
{
    for (int form = 0; form < 5; form++) {
        NarrowConv c = row->c;
        Data d;
        c.is_signed = form % 2 == 1;
        c.zero = c.is_signed ? -3 : form == 2 ? 0 : 117;
        c.result = form == 3 ? NARROW_FLOATS : form == 4 ? NARROW_SUMS : NARROW_BYTES;
        c.out_signed = form == 2;
        c.out_zero = form == 2 ? -20 : 100;
        c.reduces = form != 0;
        c.least = (float)((form == 2 ? -128 : 0) - c.out_zero);
        c.most = (float)((form == 2 ? 127 : form == 1 ? 180 : 255) - c.out_zero);
        data_new(&c, limit, &d);
        bool fits = narrow_fits_bytes(&c, d.w);
        assert_int_equal(fits, limit == 64 && !c.depthwise);
        for (int bytes = 0; bytes <= fits; bytes++) {
            c.in_bytes = bytes == 1;
            check(row->name, &c, &d);
        }
        data_free(&d);
    }
}

static void sums_are_exact(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row(&rows[i], 64);
        check_row(&rows[i], 128);
    }
}

/* The largest numbers there are, which pairs in 16 bits would cut. */
static void nothing_saturates(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    NarrowConv c = { SHAPE(1, 64, 16, 1, 3, 1, 3), KERNEL(1, 1, 0, 0, 1, 1), .result = NARROW_SUMS };
    Data d;
    data_new(&c, 128, &d);
    memset(d.x, 255, (size_t)d.in);
    memset(d.bias, 0, 16 * sizeof *d.bias);
    static const struct {
        int first, second;
        bool fits;
    } pairs[] = { { 127, 127, false }, { -128, -128, false }, { 64, 64, true }, { 127, 1, true }, { 127, 2, false },
                  { -128, 0, true }, { -128, -1, false }, { -128, 127, true } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (int64_t k = 0; k < 16 * 64; k++) d.w[k] = (int8_t)(k % 2 == 0 ? pairs[i].first : pairs[i].second);
        c.in_bytes = narrow_fits_bytes(&c, d.w);
        assert_int_equal(c.in_bytes, pairs[i].fits);
        run(c, &d, 1, d.found);
        for (int64_t k = 0; k < d.made; k++) assert_near(made(&c, d.found, k), 255 * 32 * (pairs[i].first + pairs[i].second), 0);
    }
    data_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums_are_exact), cmocka_unit_test(nothing_saturates) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
