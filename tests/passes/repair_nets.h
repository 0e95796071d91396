/* Small networks with places where channels can be rescaled, and with places that only look so. Input [N,4,8,8]. */
#ifndef PARE_TESTS_REPAIR_NETS_H
#define PARE_TESTS_REPAIR_NETS_H

#include "mixed_net.h"

static inline ValueId weight(Graph *g, const char *name, int rank, const int64_t *dims)
{
    ValueId v = net_constant(g, name, DT_FLOAT, rank, dims, NULL);
    return v;
}

static inline void attr_ints(Graph *g, ValueId v, const char *name, const int64_t *list, int count)
{
    Err err;
    assert_ok(graph_set_ints(g, graph_value(g, v)->producer, name, list, count, &err), &err);
}

static inline void attr_int(Graph *g, ValueId v, const char *name, int64_t value)
{
    Err err;
    assert_ok(graph_set_int(g, graph_value(g, v)->producer, name, value, &err), &err);
}

static inline ValueId image(Graph *g)
{
    return net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 4, 8, 8));
}

static inline ValueId conv(Graph *g, ValueId x, const char *name, int64_t out, int64_t in, int64_t kernel, int64_t groups)
{
    char w[32], b[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    ValueId y = NODE(g, "Conv", name, name, x, weight(g, w, DIMS(out, in, kernel, kernel)), weight(g, b, DIMS(out)));
    if (kernel == 3) attr_ints(g, y, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4);
    attr_int(g, y, "group", groups);
    return y;
}

static inline ValueId relu(Graph *g, ValueId x, const char *name)
{
    return NODE(g, "Relu", name, name, x);
}

static inline ValueId number(Graph *g, const char *name, double value)
{
    return net_constant(g, name, DT_FLOAT, 0, NULL, &value);
}

static inline ValueId ints(Graph *g, const char *name, int64_t count, const double *values)
{
    return net_constant(g, name, DT_INT64, 1, &count, values);
}

static inline Graph *finish(Graph *g, ValueId y)
{
    net_output(g, y);
    net_done(g);
    return g;
}

static inline Graph *net_pair(void)
{
    Graph *g = net_new(17);
    return finish(g, conv(g, relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1"), "c2", 5, 6, 3, 1));
}

/* conv, depthwise, pointwise: two places, three weights in balance. */
static inline Graph *net_depthwise(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    v = relu(g, conv(g, v, "c2", 6, 1, 3, 6), "r2");
    return finish(g, conv(g, v, "c3", 5, 6, 1, 1));
}

static inline Graph *net_grouped(void)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "LeakyRelu", "r1", "r1", conv(g, image(g), "c1", 6, 2, 3, 2));
    return finish(g, conv(g, v, "c2", 4, 3, 3, 2));
}

static inline Graph *net_slopes(void)
{
    Graph *g = net_new(17);
    double slopes[6] = { 0.1, -0.5, 2.0, 0.0, 0.25, 1.0 };
    ValueId v = NODE(g, "PRelu", "p1", "p1", conv(g, image(g), "c1", 6, 4, 3, 1),
                     net_constant(g, "slopes", DT_FLOAT, DIMS(6, 1, 1), slopes));
    return finish(g, conv(g, v, "c2", 5, 6, 3, 1));
}

/* Pools, Pad, Flatten: 6 channels become 6 * 16 inputs of the Gemm. */
static inline Graph *net_flatten(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    v = NODE(g, "MaxPool", "m1", "m1", v);
    attr_ints(g, v, "kernel_shape", (int64_t[]){ 2, 2 }, 2);
    attr_ints(g, v, "strides", (int64_t[]){ 2, 2 }, 2);
    v = NODE(g, "Pad", "pad", "pad", v, ints(g, "pads", 8, (double[]){ 0, 0, 1, 1, 0, 0, 1, 1 }));
    v = NODE(g, "AveragePool", "a1", "a1", v);
    attr_ints(g, v, "kernel_shape", (int64_t[]){ 3, 3 }, 2);
    v = NODE(g, "Flatten", "f", "f", v);
    v = NODE(g, "Gemm", "fc", "fc", v, weight(g, "fc.w", DIMS(7, 96)), weight(g, "fc.b", DIMS(7)));
    attr_int(g, v, "transB", 1);
    return finish(g, v);
}

static inline Graph *net_gemms(void)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "GlobalAveragePool", "gap", "gap", conv(g, image(g), "c1", 6, 4, 3, 1));
    v = NODE(g, "Reshape", "flat", "flat", v, ints(g, "shape", 2, (double[]){ 0, -1 }));
    v = NODE(g, "Gemm", "g1", "g1", v, weight(g, "g1.w", DIMS(6, 9)), weight(g, "g1.b", DIMS(9)));
    v = NODE(g, "MatMul", "m2", "m2", relu(g, v, "r1"), weight(g, "m2.w", DIMS(9, 8)));
    v = NODE(g, "Add", "a2", "a2", weight(g, "a2.b", DIMS(8)), v);
    return finish(g, NODE(g, "MatMul", "m3", "m3", relu(g, v, "r2"), weight(g, "m3.w", DIMS(8, 3))));
}

/* The inner channels of a block may be scaled, those of the shortcut may not. */
static inline Graph *net_residual(void)
{
    Graph *g = net_new(17);
    ValueId stem = relu(g, conv(g, image(g), "c0", 6, 4, 3, 1), "r0");
    ValueId v = conv(g, relu(g, conv(g, stem, "c1", 6, 6, 3, 1), "r1"), "c2", 6, 6, 3, 1);
    v = relu(g, NODE(g, "Add", "sum", "sum", v, stem), "r2");
    return finish(g, conv(g, v, "c3", 5, 6, 1, 1));
}

static inline Graph *net_shared(void)
{
    Graph *g = net_new(17);
    ValueId w = weight(g, "w", DIMS(4, 4, 1, 1));
    ValueId v = relu(g, NODE(g, "Conv", "c1", "c1", image(g), w), "r1");
    v = relu(g, NODE(g, "Conv", "c2", "c2", v, w), "r2");
    return finish(g, conv(g, v, "c3", 5, 4, 1, 1));
}

static inline Graph *net_output_between(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    net_output(g, conv(g, v, "c2", 5, 6, 3, 1));
    return finish(g, v);
}

static inline Graph *net_curved(void)
{
    Graph *g = net_new(17);
    ValueId v = conv(g, image(g), "c1", 6, 4, 3, 1);
    return finish(g, conv(g, NODE(g, "Sigmoid", "s", "s", v), "c2", 5, 6, 3, 1));
}

static inline Graph *clipped(double high)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "Clip", "clip", "clip", conv(g, image(g), "c1", 6, 4, 3, 1), number(g, "low", 0.0), number(g, "high", high));
    return finish(g, conv(g, v, "c2", 5, 6, 3, 1));
}

static inline Graph *net_clip_free(void) { return clipped(1000.0); } /* never reached */
static inline Graph *net_clip_met(void) { return clipped(2.0); }     /* reached by every channel */
static inline Graph *net_clip_some(void) /* reached by those channels that are wide */
{
    Graph *g = clipped(6.0);
    Err err;
    Tensor *t;
    assert_ok(tensor_make_writable(g, graph_find_value(g, STR("c1.w")), &t, &err), &err);
    for (int64_t i = 0; i < 3 * 36; i++) tensor_set(t, i, 0.02 * tensor_get(t, i));
    return g;
}

/* Two branches joined, split again; a channel shuffle (Reshape, Transpose, Reshape). */
static inline Graph *net_branches(void)
{
    Graph *g = net_new(17);
    Err err;
    ValueId x = image(g), a = relu(g, conv(g, x, "ca", 4, 4, 3, 1), "ra"), b = relu(g, conv(g, x, "cb", 2, 4, 1, 1), "rb");
    ValueId v = NODE(g, "Concat", "cat", "cat", a, b);
    attr_int(g, v, "axis", 1);
    v = NODE(g, "Reshape", "s1", "s1", v, ints(g, "s1.shape", 5, (double[]){ 0, 2, 3, 8, 8 }));
    v = NODE(g, "Transpose", "s2", "s2", v);
    attr_ints(g, v, "perm", (int64_t[]){ 0, 2, 1, 3, 4 }, 5);
    v = NODE(g, "Reshape", "s3", "s3", v, ints(g, "s3.shape", 4, (double[]){ 0, 6, 8, 8 }));
    ValueId parts[2] = { graph_add_value(g, STR("p0"), DT_NONE, NULL), graph_add_value(g, STR("p1"), DT_NONE, NULL) };
    ValueId in[2] = { v, ints(g, "parts", 2, (double[]){ 2, 4 }) };
    NodeId split = graph_add_node(g, "Split", "", STR("split"), in, 2, parts, 2);
    assert_ok(graph_set_int(g, split, "axis", 1, &err), &err);
    ValueId y0 = conv(g, parts[0], "c0", 5, 2, 1, 1), y1 = conv(g, parts[1], "c1", 5, 4, 1, 1);
    return finish(g, NODE(g, "Add", "sum", "sum", y0, y1));
}

/* One block of a transformer over 16 tokens of 16 numbers: norm, attention with 4 heads and 2 of values, gated product. `post`: the
 * second norm's result also goes into the shortcut. */
static inline Graph *transformer(bool post)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 4, 8, 8));
    x = NODE(g, "Reshape", "tokens", "tokens", x, ints(g, "tokens.shape", 3, (double[]){ 0, -1, 16 }));
    ValueId n1 = NODE(g, "LayerNormalization", "n1", "n1", x, weight(g, "n1.g", DIMS(16)), weight(g, "n1.b", DIMS(16)));
    ValueId q = NODE(g, "MatMul", "q", "q", n1, weight(g, "q.w", DIMS(16, 16)));
    ValueId k = NODE(g, "MatMul", "k", "k", n1, weight(g, "k.w", DIMS(16, 16)));
    ValueId v = NODE(g, "MatMul", "v", "v0", n1, weight(g, "v.w", DIMS(16, 8)));
    v = NODE(g, "Add", "v.add", "v", v, weight(g, "v.b", DIMS(8)));
    ValueId heads = ints(g, "heads", 4, (double[]){ 0, 0, -1, 4 });
    q = NODE(g, "Transpose", "qt", "qt", NODE(g, "Reshape", "qr", "qr", q, heads));
    k = NODE(g, "Transpose", "kt", "kt", NODE(g, "Reshape", "kr", "kr", k, heads));
    v = NODE(g, "Reshape", "vr", "vr", v, ints(g, "vheads", 5, (double[]){ 0, 0, 2, 1, 4 }));
    v = NODE(g, "Expand", "ve", "ve", v, ints(g, "repeat", 5, (double[]){ 1, 1, 2, 2, 4 }));
    v = NODE(g, "Transpose", "vt", "vt", NODE(g, "Reshape", "vf", "vf", v, heads));
    attr_ints(g, q, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    attr_ints(g, k, "perm", (int64_t[]){ 0, 2, 3, 1 }, 4);
    attr_ints(g, v, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    ValueId s = NODE(g, "Softmax", "soft", "soft", NODE(g, "MatMul", "scores", "scores", q, k));
    ValueId c = NODE(g, "Transpose", "ct", "ct", NODE(g, "MatMul", "context", "context", s, v));
    attr_ints(g, c, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    c = NODE(g, "Reshape", "cr", "cr", c, ints(g, "joined", 3, (double[]){ 0, 0, 16 }));
    c = NODE(g, "MatMul", "o", "o", c, weight(g, "o.w", DIMS(16, 16)));
    ValueId r = NODE(g, "Add", "r1", "r1", c, x);
    ValueId norm = NODE(g, "Mul", "n2", "n2", NODE(g, "Tanh", "n2.t", "n2.t", r), weight(g, "n2.g", DIMS(16)));
    norm = NODE(g, "Add", "n2.add", "n2.y", norm, weight(g, "n2.b", DIMS(16)));
    ValueId up = NODE(g, "MatMul", "up", "up", norm, weight(g, "up.w", DIMS(16, 12)));
    ValueId gate = NODE(g, "MatMul", "gate", "gate", norm, weight(g, "gate.w", DIMS(16, 12)));
    gate = NODE(g, "Mul", "silu", "silu", gate, NODE(g, "Sigmoid", "sig", "sig", gate));
    ValueId down = NODE(g, "MatMul", "down", "down", NODE(g, "Mul", "gated", "gated", gate, up), weight(g, "down.w", DIMS(12, 16)));
    return finish(g, NODE(g, "Add", "r2", "y", down, post ? norm : r));
}

static inline Graph *net_pre(void) { return transformer(false); }
static inline Graph *net_post(void) { return transformer(true); }

/* Biases far above what the weights can take back. */
static inline Graph *net_biased(void)
{
    Graph *g = net_new(17);
    double high[6] = { 100, 90, 0, -5, 60, 200 };
    ValueId bias = net_constant(g, "c1.b", DT_FLOAT, DIMS(6), high);
    ValueId v = NODE(g, "Conv", "c1", "c1", image(g), weight(g, "c1.w", DIMS(6, 4, 1, 1)), bias);
    return finish(g, conv(g, relu(g, v, "r1"), "c2", 5, 6, 1, 1));
}

static inline Graph *net_padded(void)
{
    Graph *g = net_biased();
    ValueId y = graph_find_value(g, STR("c2"));
    Err err;
    assert_ok(graph_set_ints(g, graph_value(g, y)->producer, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    net_done(g);
    return g;
}

#endif
