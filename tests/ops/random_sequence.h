/* Random networks of sequences: products, normalisations, attention with rotary embeddings, recurrent cells, integers of a dynamic grid. */
#ifndef PARE_TESTS_RANDOM_SEQUENCE_H
#define PARE_TESTS_RANDOM_SEQUENCE_H

#include "random_network.h"

#define SEQUENCE 23
#define WIDTH 24
#define HEADS 3
#define BLOCKS 5

static inline ValueId weight_of(Maker *m, double scale, const int64_t *dims, int rank)
{
    char text[32];
    ValueId v = build_weight(m->g, name(m, "w", text), m->seed + (uint64_t)m->drawn++, dims, rank);
    Tensor *t = graph_value(m->g, v)->tensor;
    for (int64_t i = 0; i < tensor_count(t); i++) tensor_set(t, i, tensor_get(t, i) * scale);
    return v;
}

static inline ValueId turned(Maker *m, ValueId x, const int64_t *perm, int rank)
{
    char text[32];
    Err err;
    ValueId y = build_node(m->g, "Transpose", name(m, "turn", text), x, -1);
    assert_ok(graph_set_ints(m->g, build_maker(m->g, y), "perm", perm, rank, &err), &err);
    return y;
}

static inline ValueId shaped(Maker *m, ValueId x, const double *dims, int64_t rank)
{
    char text[32];
    ValueId shape = build_constant(m->g, name(m, "shape", text), DT_INT64, dims, &rank, 1);
    return build_node(m->g, "Reshape", name(m, "shaped", text), x, shape, -1);
}

static inline ValueId times(Maker *m, ValueId x)
{
    char text[32];
    return build_node(m->g, "MatMul", name(m, "product", text), x, weight_of(m, 0.2, DIMS(WIDTH, WIDTH)), -1);
}

/* x cos + rotated(x) sin, over [B, heads, T, 8] */
static inline ValueId rotary(Maker *m, ValueId x)
{
    char text[32];
    Err err;
    ValueId halves[2], c = weight_of(m, 1, DIMS(SEQUENCE, WIDTH / HEADS)), s = weight_of(m, 1, DIMS(SEQUENCE, WIDTH / HEADS));
    for (int i = 0; i < 2; i++) halves[i] = graph_add_value(m->g, str_of(name(m, "half", text)), DT_NONE, NULL);
    NodeId split = graph_add_node(m->g, "Split", "", str_of(name(m, "split", text)), &x, 1, halves, 2);
    assert_ok(graph_set_int(m->g, split, "axis", -1, &err), &err);
    assert_ok(graph_set_int(m->g, split, "num_outputs", 2, &err), &err);
    ValueId y = build_node(m->g, "Neg", name(m, "neg", text), halves[1], -1);
    y = build_node(m->g, "Concat", name(m, "rotated", text), y, halves[0], -1);
    assert_ok(graph_set_int(m->g, build_maker(m->g, y), "axis", -1, &err), &err);
    ValueId p = build_node(m->g, "Mul", name(m, "cos", text), x, c, -1), q = build_node(m->g, "Mul", name(m, "sin", text), y, s, -1);
    return build_node(m->g, "Add", name(m, "rotary", text), p, q, -1);
}

static inline ValueId attention(Maker *m, ValueId x)
{
    char text[32];
    bool rotates = draw(m, 2) == 0;
    ValueId part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = turned(m, shaped(m, times(m, x), (double[]){ 0, 0, HEADS, WIDTH / HEADS }, 4), (int64_t[]){ 0, 2, 1, 3 }, 4);
        if (rotates && i < 2) part[i] = rotary(m, part[i]);
    }
    ValueId y = build_node(m->g, "MatMul", name(m, "scores", text), part[0], turned(m, part[1], (int64_t[]){ 0, 1, 3, 2 }, 4), -1);
    y = build_node(m->g, "Mul", name(m, "scaled", text), y, scalar(m, DT_FLOAT, 0.35), -1);
    if (draw(m, 2) == 0) y = build_node(m->g, "Add", name(m, "masked", text), y, weight_of(m, 1, DIMS(SEQUENCE, SEQUENCE)), -1);
    y = build_node(m->g, "Softmax", name(m, "soft", text), y, -1);
    y = build_node(m->g, "MatMul", name(m, "mixed", text), y, part[2], -1);
    return shaped(m, turned(m, y, (int64_t[]){ 0, 2, 1, 3 }, 4), (double[]){ 0, 0, WIDTH }, 3);
}

static inline ValueId recurrent(Maker *m, ValueId x)
{
    static const struct { const char *type; int64_t gates; } cells[] = { { "RNN", 1 }, { "GRU", 3 }, { "LSTM", 4 } };
    char text[32];
    Err err;
    int64_t k = draw(m, 3), rows = cells[k].gates * WIDTH;
    ValueId w = weight_of(m, 0.3, DIMS(1, rows, WIDTH)), r = weight_of(m, 0.3, DIMS(1, rows, WIDTH));
    ValueId y = build_node(m->g, cells[k].type, name(m, "cell", text), turned(m, x, (int64_t[]){ 1, 0, 2 }, 3), w, r, -1);
    assert_ok(graph_set_int(m->g, build_maker(m->g, y), "hidden_size", WIDTH, &err), &err);
    ValueId axes = build_constant(m->g, name(m, "axes", text), DT_INT64, (double[]){ 1 }, DIMS(1));
    return turned(m, build_node(m->g, "Squeeze", name(m, "states", text), y, axes, -1), (int64_t[]){ 1, 0, 2 }, 3);
}

/* A product of integers: DynamicQuantizeLinear, MatMulInteger or ConvInteger, Cast, Mul. */
static inline ValueId dynamic(Maker *m, ValueId x)
{
    char text[32];
    Err err;
    ValueId q[3];
    bool conv = draw(m, 2) == 0;
    double w[WIDTH * WIDTH], zero = 0;
    for (int i = 0; i < WIDTH * WIDTH; i++) w[i] = floor(build_noise(m->seed, m->drawn++) * 127);
    if (conv) x = shaped(m, x, (double[]){ 0, 0, WIDTH, 1 }, 4);
    for (int i = 0; i < 3; i++) q[i] = graph_add_value(m->g, str_of(name(m, "q", text)), DT_NONE, NULL);
    assert_true(graph_add_node(m->g, "DynamicQuantizeLinear", "", str_of(name(m, "dynamic", text)), &x, 1, q, 3) != 0);
    const int64_t dims[4] = { conv ? SEQUENCE : WIDTH, conv ? SEQUENCE : WIDTH, 1, 1 };
    ValueId weight = build_constant(m->g, name(m, "w", text), DT_INT8, w, dims, conv ? 4 : 2);
    ValueId none = build_constant(m->g, name(m, "wz", text), DT_INT8, &zero, NULL, 0);
    ValueId y = build_node(m->g, conv ? "ConvInteger" : "MatMulInteger", name(m, "sums", text), q[0], weight, q[2], none, -1);
    y = build_node(m->g, "Cast", name(m, "cast", text), y, -1);
    assert_ok(graph_set_int(m->g, build_maker(m->g, y), "to", DT_FLOAT, &err), &err);
    ValueId scale = build_node(m->g, "Mul", name(m, "scale", text), q[1], scalar(m, DT_FLOAT, 0.002), -1);
    y = build_node(m->g, "Mul", name(m, "real", text), y, scale, -1);
    return conv ? shaped(m, y, (double[]){ 0, 0, WIDTH }, 3) : y;
}

static inline ValueId sequence_block(Maker *m, ValueId x)
{
    static const char *const norms[] = { "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization" };
    char text[32];
    Err err;
    int64_t kind = draw(m, 6);
    if (kind == 0) return build_node(m->g, "Add", name(m, "add", text), attention(m, x), x, -1);
    if (kind == 1) return recurrent(m, x);
    if (kind == 2) return build_node(m->g, norms[draw(m, 3)], name(m, "norm", text), x, weight_of(m, 1, DIMS(WIDTH)), -1);
    if (kind == 3) return build_node(m->g, draw(m, 2) == 0 ? "Gelu" : "Swish", name(m, "act", text), times(m, x), -1);
    ValueId flat = shaped(m, x, (double[]){ -1, WIDTH }, 2), y;
    if (kind == 4) { /* with constants */
        y = build_node(m->g, "Gemm", name(m, "gemm", text), flat, weight_of(m, 0.2, DIMS(WIDTH, WIDTH)), weight_of(m, 1, DIMS(WIDTH)), -1);
    } else { /* of what was computed */
        y = build_node(m->g, "Gemm", name(m, "gram", text), flat, flat, -1);
        assert_ok(graph_set_int(m->g, build_maker(m->g, y), "transA", 1, &err), &err);
        assert_ok(graph_set_float(m->g, build_maker(m->g, y), "alpha", 0.02F, &err), &err);
        y = build_node(m->g, "MatMul", name(m, "spread", text), flat, y, -1);
    }
    return shaped(m, y, (double[]){ -1, SEQUENCE, WIDTH }, 3);
}

static inline Graph *random_sequence(uint64_t seed)
{
    Maker m = { .g = build_new(24), .seed = 90000 + 7 * seed };
    ValueId x = build_input(m.g, "x", DT_FLOAT, (int64_t[]){ -1, SEQUENCE, WIDTH }, 3);
    if (draw(&m, 3) == 0) x = dynamic(&m, x);
    for (int i = 0; i < BLOCKS; i++) x = sequence_block(&m, x);
    build_output(m.g, x);
    Err err; /* one row for each sample */
    ValueId axes = build_constant(m.g, "mean_axes", DT_INT64, (double[]){ 1 }, DIMS(1));
    ValueId y = build_node(m.g, "ReduceMean", "mean", x, axes, -1);
    assert_ok(graph_set_int(m.g, build_maker(m.g, y), "keepdims", 0, &err), &err);
    ValueId w = weight_of(&m, 0.2, DIMS(WIDTH, WIDTH)), row = weight_of(&m, 1, DIMS(WIDTH));
    build_output(m.g, draw(&m, 2) == 0 ? build_node(m.g, "Gemm", "head", y, w, row, -1) : times(&m, y));
    build_ready(m.g);
    return m.g;
}

#endif
