/* Random convolutional networks: a few layers drawn by a seed, in float32 or with quantized groups. */
#ifndef PARE_TESTS_RANDOM_NETWORK_H
#define PARE_TESTS_RANDOM_NETWORK_H

#include "build_graph.h"

#define LAYERS 7

typedef struct Maker {
    Graph *g;
    uint64_t seed;
    int64_t drawn, size[3]; /* channels, height, width now */
    int names;
    bool quantized, more; /* more: kinds of layers besides, and kernels of other sizes */
    ValueId at, earlier;
    int64_t earlier_size[3];
} Maker;

static int64_t draw(Maker *m, int64_t n)
{
    return (int64_t)floor((build_noise(m->seed, m->drawn++) + 1) / 2 * (double)n);
}

static char *name(Maker *m, const char *what, char text[32])
{
    snprintf(text, 32, "%s%d", what, m->names++);
    return text;
}

static ValueId scalar(Maker *m, DType type, double value)
{
    char text[32];
    return build_constant(m->g, name(m, "k", text), type, &value, NULL, 0);
}

/* x -> QuantizeLinear -> DequantizeLinear; values of these networks stay below `most`. */
static ValueId rounded(Maker *m, ValueId x, double most)
{
    char text[32];
    ValueId scale = scalar(m, DT_FLOAT, most / 127 * 1.013), zero = scalar(m, DT_UINT8, 128);
    if (!m->quantized) return x;
    ValueId q = build_node(m->g, "QuantizeLinear", name(m, "q", text), x, scale, zero, -1);
    return build_node(m->g, "DequantizeLinear", name(m, "d", text), q, scale, zero, -1);
}

static ValueId weights(Maker *m, const int64_t *dims, int rank)
{
    char text[32];
    int64_t count = 1, filters = dims[0];
    for (int i = 0; i < rank; i++) count *= dims[i];
    double *w = calloc((size_t)count, sizeof *w), *scales = calloc((size_t)filters, sizeof *scales), *zeros = calloc((size_t)filters, 8);
    assert_true(w != NULL && scales != NULL && zeros != NULL);
    for (int64_t i = 0; i < count; i++) w[i] = floor(build_noise(m->seed + 1, m->drawn + i) * 127);
    for (int64_t k = 0; k < filters; k++) scales[k] = (1 + 0.37 * (double)(k % 5)) / 125.37 / sqrt((double)(count / filters));
    m->drawn += count;
    ValueId out;
    if (m->quantized) {
        ValueId q = build_constant(m->g, name(m, "w", text), DT_INT8, w, dims, rank);
        ValueId scale = build_constant(m->g, name(m, "ws", text), DT_FLOAT, scales, &filters, 1);
        ValueId zero = build_constant(m->g, name(m, "wz", text), DT_INT8, zeros, &filters, 1);
        Err err;
        out = build_node(m->g, "DequantizeLinear", name(m, "wd", text), q, scale, zero, -1);
        assert_ok(graph_set_int(m->g, build_maker(m->g, out), "axis", 0, &err), &err);
    } else {
        for (int64_t i = 0; i < count; i++) w[i] *= scales[i / (count / filters)];
        out = build_constant(m->g, name(m, "w", text), DT_FLOAT, w, dims, rank);
    }
    free(w);
    free(scales);
    free(zeros);
    return out;
}

static void set(Maker *m, ValueId v, const char *key, int64_t a, int64_t b, int count)
{
    Err err;
    assert_ok(graph_set_ints(m->g, build_maker(m->g, v), key, (int64_t[]){ a, b, a, b }, count, &err), &err);
}

static void convolution(Maker *m)
{
    static const int64_t channels[] = { 3, 8, 16, 20, 64 };
    char text[32];
    Err err;
    bool depthwise = draw(m, 3) == 0;
    int64_t c = m->size[0], kernel = draw(m, 2) == 0 ? 1 : m->more && draw(m, 4) == 0 ? 5 : 3;
    int64_t stride = m->size[1] > 4 && m->size[2] > 4 && draw(m, 3) == 0 ? 2 : 1;
    int64_t filters = depthwise || draw(m, 3) == 0 ? c : channels[draw(m, m->more ? 5 : 4)];
    ValueId w = weights(m, (int64_t[]){ filters, depthwise ? 1 : c, kernel, kernel }, 4);
    ValueId y = build_node(m->g, "Conv", name(m, "conv", text), m->at, w, -1);
    if (depthwise) assert_ok(graph_set_int(m->g, build_maker(m->g, y), "group", c, &err), &err);
    set(m, y, "pads", kernel / 2, kernel / 2, 4);
    set(m, y, "strides", stride, stride, 2);
    m->size[0] = filters;
    for (int i = 1; i < 3; i++) m->size[i] = (m->size[i] - 1) / stride + 1;
    if (draw(m, 2) == 0) y = build_node(m->g, "Relu", name(m, "relu", text), y, -1);
    m->at = rounded(m, y, 3);
}

static void pooling(Maker *m)
{
    char text[32];
    ValueId y = build_node(m->g, draw(m, 2) == 0 ? "MaxPool" : "AveragePool", name(m, "pool", text), m->at, -1);
    set(m, y, "kernel_shape", 2, 2, 2);
    set(m, y, "strides", 2, 2, 2);
    for (int i = 1; i < 3; i++) m->size[i] /= 2;
    m->at = rounded(m, y, 2.917 + 0.0137 * m->names); /* on the same grid a mean of four is often a half */
}

/* Dilated and transposed convolutions, elementwise operators by themselves, pools of all kinds, shortcuts that are cut and padded. */
static void other_layer(Maker *m)
{
    static const char *const single[] = { "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Swish", "Gelu", "Clip" };
    char text[32];
    Err err;
    int64_t c = m->size[0], kind = draw(m, 8);
    ValueId x = m->at, y;
    if (kind == 0 && c <= 20) {
        y = build_node(m->g, "Conv", name(m, "wide", text), x, weights(m, (int64_t[]){ c, c, 3, 3 }, 4), -1);
        int64_t pad = m->size[1] < 12 && m->size[2] < 12 && draw(m, 2) == 0 ? 5 : 2; /* 5: windows of padding alone */
        set(m, y, "pads", pad, pad, 4);
        set(m, y, "dilations", 2, 2, 2);
        for (int i = 1; i < 3; i++) m->size[i] += 2 * pad - 4;
    } else if (kind == 1 && c <= 20 && m->size[1] < 12 && m->size[2] < 12) {
        int64_t to = draw(m, 2) == 0 ? 5 : 16, kernel = 2 + draw(m, 2), groups = to == 16 && c % 4 == 0 && draw(m, 2) == 0 ? 4 : 1;
        y = build_node(m->g, "ConvTranspose", name(m, "up", text), x, weights(m, (int64_t[]){ c, to / groups, kernel, kernel }, 4), -1);
        assert_ok(graph_set_int(m->g, build_maker(m->g, y), "group", groups, &err), &err);
        set(m, y, "strides", 2, 2, 2);
        m->size[0] = to;
        for (int i = 1; i < 3; i++) m->size[i] = (m->size[i] - 1) * 2 + kernel;
    } else if (kind == 2 && m->size[1] < 12 && m->size[2] < 12) {
        ValueId scales = build_constant(m->g, name(m, "s", text), DT_FLOAT, (double[]){ 1, 1, 2, 2 }, DIMS(4));
        y = build_node(m->g, "Resize", name(m, "resize", text), x, 0, scales, -1);
        assert_ok(graph_set_string(m->g, build_maker(m->g, y), "coordinate_transformation_mode", STR("asymmetric"), &err), &err);
        assert_ok(graph_set_string(m->g, build_maker(m->g, y), "nearest_mode", STR("floor"), &err), &err);
        for (int i = 1; i < 3; i++) m->size[i] *= 2;
    } else if (kind == 3) { /* behind a convolution: its order of elements */
        ValueId step = build_constant(m->g, name(m, "e", text), DT_INT64, (double[]){ 2, 2 }, DIMS(2));
        ValueId from = build_constant(m->g, name(m, "f", text), DT_INT64, (double[]){ 0, 0 }, DIMS(2));
        ValueId to = build_constant(m->g, name(m, "t", text), DT_INT64, (double[]){ 1000, 1000 }, DIMS(2));
        ValueId axes = build_constant(m->g, name(m, "a", text), DT_INT64, (double[]){ 2, 3 }, DIMS(2));
        ValueId pads = build_constant(m->g, name(m, "p", text), DT_INT64, (double[]){ 0, 8, 0, 0, 0, 8, 0, 0 }, DIMS(8));
        y = build_node(m->g, "Slice", name(m, "slice", text), x, from, to, axes, step, -1);
        y = build_node(m->g, "Pad", name(m, "pad", text), y, pads, -1);
        m->size[0] += 16;
        for (int i = 1; i < 3; i++) m->size[i] = (m->size[i] + 1) / 2;
    } else if (kind == 4) {
        static const char *const parts[] = { "gamma", "beta", "mean", "var" };
        ValueId in[4];
        for (int i = 0; i < 4; i++) {
            in[i] = build_weight(m->g, name(m, parts[i], text), m->seed + (uint64_t)m->drawn++, &c, 1);
            Tensor *t = graph_value(m->g, in[i])->tensor;
            for (int64_t k = 0; i == 3 && k < c; k++) tensor_set(t, k, 0.5 + fabs(tensor_get(t, k)));
        }
        y = build_node(m->g, "BatchNormalization", name(m, "norm", text), x, in[0], in[1], in[2], in[3], -1);
    } else if (kind == 5) { /* a gate for each channel */
        y = build_node(m->g, draw(m, 2) == 0 ? "GlobalAveragePool" : "GlobalMaxPool", name(m, "all", text), x, -1);
        y = build_node(m->g, "Mul", name(m, "gate", text), x, build_node(m->g, "Sigmoid", name(m, "sigmoid", text), y, -1), -1);
    } else if (kind == 6) {
        y = build_node(m->g, "Mul", name(m, "mul", text), x, build_node(m->g, "Tanh", name(m, "tanh", text), x, -1), -1);
    } else {
        const char *type = single[draw(m, 7)];
        ValueId low = scalar(m, DT_FLOAT, -0.5), high = scalar(m, DT_FLOAT, 0.5);
        bool clip = strcmp(type, "Clip") == 0;
        y = clip ? build_node(m->g, type, name(m, "clip", text), x, low, high, -1) : build_node(m->g, type, name(m, "act", text), x, -1);
    }
    m->at = y;
}

static inline Graph *random_network(uint64_t seed, bool quantized, bool more)
{
    char text[32];
    Maker m = { .g = build_new(more ? 24 : 17), .seed = 1000 + 2 * seed, .quantized = quantized, .more = more };
    m.size[0] = draw(&m, 2) == 0 ? 1 : 3;
    for (int i = 1; i < 3; i++) m.size[i] = 6 + draw(&m, 9);
    m.at = rounded(&m, build_input(m.g, "x", DT_FLOAT, (int64_t[]){ -1, m.size[0], m.size[1], m.size[2] }, 4), 1);
    for (int i = 0; i < LAYERS; i++) {
        ValueId before = m.at;
        int64_t kind = draw(&m, 6), size[3] = { m.size[0], m.size[1], m.size[2] };
        if (more && draw(&m, 2) == 0) other_layer(&m);
        else if (kind == 0 && size[1] > 3 && size[2] > 3) pooling(&m);
        else if (kind < 3 && m.earlier != 0 && memcmp(size, m.earlier_size, sizeof size) == 0)
            m.at = rounded(&m, build_node(m.g, "Add", name(&m, "add", text), m.at, m.earlier, -1), 4.091);
        else convolution(&m);
        if (m.earlier != 0 && draw(&m, 2) == 0) continue;
        m.earlier = before;
        memcpy(m.earlier_size, size, sizeof size);
    }
    ValueId mean = build_node(m.g, "GlobalAveragePool", "mean", m.at, -1);
    if (more) mean = rounded(&m, mean, 3);
    if (more && draw(&m, 2) == 0) { /* classes */
        Err err;
        ValueId w = weights(&m, (int64_t[]){ 24, m.size[0] }, 2);
        mean = rounded(&m, build_node(m.g, "Flatten", "features", mean, -1), 3);
        mean = build_node(m.g, "Gemm", "classes", mean, w, -1);
        assert_ok(graph_set_int(m.g, build_maker(m.g, mean), "transB", 1, &err), &err);
        mean = rounded(&m, mean, 4.091);
    }
    if (more) mean = build_node(m.g, "Flatten", "flat", mean, -1);
    if (more) mean = build_node(m.g, draw(&m, 2) == 0 ? "Softmax" : "LogSoftmax", "soft", mean, -1);
    build_output(m.g, mean);
    build_output(m.g, m.at);
    build_ready(m.g);
    return m.g;
}

#endif
