/* Orders of elements: engine/blocks.c there and back, from any byte; and in a network, where orders that differ in name alone cost
 * nothing. */
#include "test.h"

#include "build_graph.h"
#include "engine/blocks.h"
#include "engine/dnnl_glue.h"
#include "engine/versions.h"

/* One form: pixels or channels side by side. */
static void check(int64_t images, int64_t channels, int64_t pixels, bool last, size_t shift)
{
    int64_t blocks = (channels + 7) / 8, count = images * channels * pixels, blocked = images * blocks * pixels * 8;
    Blocks b = { .images = images, .channels = channels, .pixels = pixels, .image = channels * pixels, .channel = last ? 1 : pixels,
                 .pixel = last ? channels : 1, .packs = true };
    uint8_t *bytes = malloc((size_t)count * sizeof(float) + shift);
    float *x = malloc((size_t)count * sizeof *x), *y = malloc((size_t)blocked * sizeof *y), *z = malloc((size_t)count * sizeof *z);
    assert_true(bytes != NULL && x != NULL && y != NULL && z != NULL);
    for (int64_t i = 0; i < count; i++) x[i] = (float)(i + 1);
    memcpy(bytes + shift, x, (size_t)count * sizeof *x);
    memset(y, 0x55, (size_t)blocked * sizeof *y);
    memset(z, 0x55, (size_t)count * sizeof *z);
    blocks_run(&b, (const float *)(const void *)(bytes + shift), y);
    for (int64_t i = 0; i < blocked; i++) {
        int64_t c = i / 8 / pixels % blocks * 8 + i % 8, p = i / 8 % pixels, n = i / 8 / pixels / blocks;
        float want = c < channels ? x[n * b.image + c * b.channel + p * b.pixel] : 0;
        if (y[i] != want) fail_msg("%lld channels, %lld pixels, %d: %g at %lld, expected %g", (long long)channels, (long long)pixels, last,
                                   (double)y[i], (long long)i, (double)want);
    }
    b.packs = false;
    blocks_run(&b, y, z);
    assert_memory_equal(x, z, (size_t)count * sizeof *x);
    free(bytes);
    free(x);
    free(y);
    free(z);
}

static void test_blocks(void **state)
{
    (void)state;
    static const int64_t channels[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 23 }, pixels[] = { 1, 2, 7, 8, 9, 16, 30 };
    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        for (size_t p = 0; p < sizeof pixels / sizeof *pixels; p++)
            for (int form = 0; form < 4; form++) check(2, channels[c], pixels[p], form % 2 == 1 || pixels[p] == 1, form / 2);
    check(3, 40, 1000, false, 0); /* enough for threads */
    check(3, 40, 1000, true, 0);
}

/* What a convolution leaves in blocks, read row-major: as it is, turned over, and as one pixel of whole blocks, which is both. */
static void test_orders(void **state)
{
    (void)state;
    static const struct { const char *name; int64_t channels, side; bool turned; } rows[] = {
        { "images", 16, 6, false }, { "odd channels", 13, 6, false }, { "turned", 13, 6, true }, { "turned, whole blocks", 16, 5, true },
        { "one pixel of whole blocks", 16, 1, false }, { "one turned pixel of whole blocks", 24, 1, true },
        { "one pixel, odd channels", 13, 1, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = build_new(17);
        Err err;
        int64_t side = rows[i].side, channels = rows[i].channels;
        ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 8, side + 2, side + 2));
        ValueId y = build_node(g, "Conv", "conv", x, build_weight(g, "w", 3, DIMS(channels, 8, 3, 3)), -1);
        if (rows[i].turned) {
            y = build_node(g, "Transpose", "turned", y, -1);
            assert_ok(graph_set_ints(g, build_maker(g, y), "perm", (int64_t[]){ 0, 2, 3, 1 }, 4, &err), &err);
        }
        build_output(g, build_node(g, "Flatten", "y", y, -1));
        build_ready(g);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false);
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-5)) fail_msg("%s: %g from the plain forward", rows[i].name, distance);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

static void count_reorders(void *user, const StepTrace *step)
{
    *(int *)user += step->node == 0;
}

/* The average of whole planes is row-major and in blocks at once. */
static void test_none(void **state)
{
    (void)state;
    if (!device_is_avx2()) skip();
    for (int64_t channels = 16; channels < 22; channels += 5) {
        Graph *g = build_new(17);
        Err err;
        ValueId x = build_input(g, "x", DT_FLOAT, DIMS(3, 8, 9, 9));
        ValueId y = build_node(g, "Conv", "conv", x, build_weight(g, "w", 3, DIMS(channels, 8, 3, 3)), -1);
        build_output(g, build_node(g, "Flatten", "y", build_node(g, "GlobalAveragePool", "pool", y, -1), -1));
        build_ready(g);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false), in, out;
        assert_true(build_distance(&fast, &plain) <= 1e-5);
        Session *s;
        int without = 0;
        assert_ok(tensor_new(&in, DT_FLOAT, &graph_value(g, g->inputs[0])->shape, &err), &err);
        memset(in.data, 0, in.bytes);
        assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
        session_trace(s, count_reorders, &without);
        assert_ok(session_run(s, &in, &out, &err), &err);
        char version[32];
        engine_version_onednn(version, sizeof version);
        if (version[0] == '2') assert_int_equal(without, channels % 8 == 0 ? 1 : 2); /* the image goes into blocks */
        session_free(s);
        tensor_release(&in);
        tensor_release(&out);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_blocks), cmocka_unit_test(test_orders), cmocka_unit_test(test_none) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
