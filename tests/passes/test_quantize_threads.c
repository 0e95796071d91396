/* A static run gives the same network at any number of threads, although candidates are judged side by side. Runs under ThreadSanitizer. */
#include "test.h"

#include "quantize_net.h"

static void same_network(Graph *(*make)(void))
{
    static const int threads[] = { 1, 3, 4 };
    uint64_t first = 0;
    Err err;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        Graph *g = make();
        build_ready(g);
        assert_ok(quantize_call(g, &(QuantizeCall){ .threads = threads[i] }, &err), &err);
        if (i == 0) first = fingerprint(g);
        assert_true(fingerprint(g) == first);
        graph_free(g);
    }
}

static void residual_threads(void **state)
{
    (void)state;
    same_network(residual);
}

static void depthwise_threads(void **state)
{
    (void)state;
    same_network(depthwise_with_clip);
}

static void tied_threads(void **state)
{
    (void)state;
    same_network(tied_perceptron);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(residual_threads), cmocka_unit_test(depthwise_threads),
                                        cmocka_unit_test(tied_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
