/* A small network with every kind of weighted layer, and data for it. */
#ifndef PARE_TESTS_MIXED_NET_H
#define PARE_TESTS_MIXED_NET_H

#include "net.h"

#include "data/dataset.h"

/* Under AddressSanitizer tests take fewer samples. */
#if defined(__SANITIZE_ADDRESS__)
#define SLOW true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOW true
#endif
#endif
#ifndef SLOW
#define SLOW false
#endif

/* Conv, depthwise Conv, ConvTranspose, a residual Add around two convolutions, a Gemm with transB and alpha, a MatMul with a batch. */
static inline Graph *mixed(void)
{
    Graph *g = net_new(17);
    Err err;
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 4, 7, 6));
    ValueId c1 = NODE(g, "Conv", "c1", "c1", x, net_constant(g, "w1", DT_FLOAT, DIMS(8, 4, 3, 3), NULL));
    assert_ok(graph_set_ints(g, graph_value(g, c1)->producer, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    ValueId r1 = NODE(g, "Relu", "r1", "r1", c1);
    ValueId c2 = NODE(g, "Conv", "c2", "c2", r1, net_constant(g, "w2", DT_FLOAT, DIMS(8, 1, 3, 3), NULL),
                      net_constant(g, "b2", DT_FLOAT, DIMS(8), NULL));
    assert_ok(graph_set_ints(g, graph_value(g, c2)->producer, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    assert_ok(graph_set_int(g, graph_value(g, c2)->producer, "group", 8, &err), &err);
    ValueId r2 = NODE(g, "Relu", "r2", "r2", c2);
    ValueId c3 = NODE(g, "Conv", "c3", "c3", r2, net_constant(g, "w3", DT_FLOAT, DIMS(8, 8, 1, 1), NULL));
    ValueId sum = NODE(g, "Add", "sum", "sum", c3, r1);
    ValueId up = NODE(g, "ConvTranspose", "up", "up", sum, net_constant(g, "w4", DT_FLOAT, DIMS(8, 3, 2, 2), NULL));
    assert_ok(graph_set_ints(g, graph_value(g, up)->producer, "strides", (int64_t[]){ 2, 2 }, 2, &err), &err);
    ValueId product = NODE(g, "MatMul", "mm", "mm", up, net_constant(g, "w5", DT_FLOAT, DIMS(12, 5), NULL));
    ValueId flat = NODE(g, "Flatten", "flat", "flat", product);
    ValueId y = NODE(g, "Gemm", "fc", "y", flat, net_constant(g, "w6", DT_FLOAT, DIMS(3, 210), NULL));
    assert_ok(graph_set_int(g, graph_value(g, y)->producer, "transB", 1, &err), &err);
    assert_ok(graph_set_float(g, graph_value(g, y)->producer, "alpha", 0.5f, &err), &err);
    net_output(g, y);
    net_done(g);
    return g;
}

static inline Dataset *noise(const Graph *g, int64_t samples)
{
    Err err;
    Dataset *d;
    Shape shape = shape_of(4, (int64_t[]){ 1, 4, 7, 6 });
    assert_ok(dataset_random(g, &shape, samples, 5, &d, &err), &err);
    return d;
}

#endif
