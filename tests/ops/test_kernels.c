/* Every kernel row against the plain forward, over a table of named shapes. */
#include "test.h"

#include <ctype.h>

#include "build_graph.h"
#include "engine/avx2.h"
#include "engine/direct_pool.h"
#include "engine/dnnl_glue.h"
#include "engine/kernel.h"

#define MAX_DIMS 6

/* One node over float32 noise. Empty dims: the input is left out. Weights are constants unless `fed`. */
typedef struct Row {
    const char *name, *op;
    int64_t x[MAX_DIMS], w[MAX_DIMS], b[MAX_DIMS];
    const char *ints[4]; /* "strides=2,2" */
    int opset;
    bool fed;
    const char *behind; /* nodes after it: "Relu", "Clip", "Add" (of the same input through a second Conv), '+' between */
} Row;

static int rank_of(const int64_t *dims)
{
    int rank = 0;
    while (rank < MAX_DIMS && dims[rank] != 0) rank++;
    return rank;
}

/* "name=1,2" or "name=1" or "name=0.5" or "name=TEXT" as the attribute it looks like; a lone number is an INT unless the name is plural. */
static void set_attribute(Graph *g, NodeId n, const char *text)
{
    Err err;
    char name[32];
    const char *value = strchr(text, '=') + 1;
    snprintf(name, sizeof name, "%.*s", (int)(value - text - 1), text);
    if (isalpha((unsigned char)value[0])) {
        assert_ok(graph_set_string(g, n, name, str_of(value), &err), &err);
        return;
    }
    if (strchr(value, '.') != NULL) {
        assert_ok(graph_set_float(g, n, name, (float)atof(value), &err), &err);
        return;
    }
    int64_t list[8];
    int count = 0;
    for (const char *at = value; at != NULL && count < 8; at = strchr(at, ',') != NULL ? strchr(at,
                                                                                                ',') + 1 : NULL) list[count++] = atoll(at);
    bool plural = (name[strlen(name) - 1] == 's' && strcmp(name, "axis") != 0) || strcmp(name, "kernel_shape") == 0;
    if (plural) assert_ok(graph_set_ints(g, n, name, list, count, &err), &err);
    else assert_ok(graph_set_int(g, n, name, list[0], &err), &err);
}

static ValueId behind(Graph *g, const Row *r, ValueId y, ValueId other)
{
    char chain[64];
    snprintf(chain, sizeof chain, "%s", r->behind);
    int index = 0;
    for (char *save = NULL, *op = strtok_r(chain, "+", &save); op != NULL; op = strtok_r(NULL, "+", &save)) {
        char name[16];
        snprintf(name, sizeof name, "n%d", index++);
        if (strcmp(op, "Clip") == 0) {
            ValueId low = build_constant(g, "low", DT_FLOAT, (double[]){ -0.25 }, NULL, 0), high = build_constant(g, "high", DT_FLOAT,
                    (double[]){ 0.5 }, NULL, 0);
            y = build_node(g, op, name, y, low, high, -1);
        } else if (strcmp(op, "Add") == 0) {
            y = build_node(g, op, name, y, other, -1);
        } else if (strcmp(op, "BatchNormalization") == 0) {
            int64_t channels[1] = { r->w[0] };
            ValueId v[4];
            for (int i = 0; i < 4; i++) {
                char part[32];
                snprintf(part, sizeof part, "%s_%d", name, i);
                v[i] = build_weight(g, part, 50 + (uint64_t)i, channels, 1);
            }
            double variance[64];
            for (int64_t i = 0; i < channels[0]; i++) variance[i] = 0.5 + fabs(build_noise(9, i));
            v[3] = build_constant(g, "variance", DT_FLOAT, variance, channels, 1);
            y = build_node(g, op, name, y, v[0], v[1], v[2], v[3], -1);
        } else {
            y = build_node(g, op, name, y, -1);
        }
    }
    return y;
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(r->opset != 0 ? r->opset : 17);
    ValueId in[3] = { build_input(g, "x", DT_FLOAT, r->x, rank_of(r->x)), 0, 0 };
    if (r->w[0] != 0) in[1] = r->fed ? build_input(g, "w", DT_FLOAT, r->w, rank_of(r->w)) : build_weight(g, "w", 5, r->w, rank_of(r->w));
    if (r->b[0] != 0) in[2] = r->fed ? build_input(g, "b", DT_FLOAT, r->b, rank_of(r->b)) : build_weight(g, "b", 6, r->b, rank_of(r->b));
    ValueId other = r->behind != NULL && strstr(r->behind, "Add") != NULL ? build_node(g, r->op, "other", in[0], in[1], in[2], -1) : 0;
    ValueId y = in[1] == 0   ? build_node(g, r->op, "y", in[0], -1)
                : in[2] == 0 ? build_node(g, r->op, "y", in[0], in[1], -1)
                             : build_node(g, r->op, "y", in[0], in[1], in[2], -1);
    for (int i = 0; i < 4 && r->ints[i] != NULL; i++) {
        set_attribute(g, build_maker(g, y), r->ints[i]);
        if (other != 0) set_attribute(g, build_maker(g, other), r->ints[i]);
    }
    build_output(g, r->behind != NULL ? behind(g, r, y, other) : y);
    build_ready(g);
    return g;
}

#define X(...) .x = { __VA_ARGS__ }
#define W(...) .w = { __VA_ARGS__ }
#define B(...) .b = { __VA_ARGS__ }
#define A(...) .ints = { __VA_ARGS__ }

static const Row rows[] = {
    { "plain 3x3", "Conv", X(1, 3, 8, 9), W(4, 3, 3, 3) },
    { "bias, padding", "Conv", X(3, 3, 8, 9), W(5, 3, 3, 3), B(5), A("pads=1,1,1,1") },
    { "uneven padding", "Conv", X(1, 4, 8, 9), W(5, 4, 3, 3), B(5), A("pads=0,2,1,0") },
    { "stride 2", "Conv", X(3, 8, 9, 9), W(16, 8, 3, 3), B(16), A("strides=2,2", "pads=1,1,1,1") },
    { "stride leaves a rest", "Conv", X(1, 8, 10, 11), W(16, 8, 3, 3), A("strides=3,2", "pads=1,0,1,0") },
    { "dilated, wide padding", "Conv", X(2, 16, 12, 14), W(16, 16, 3, 3), B(16), A("dilations=5,5", "pads=5,5,5,5") },
    { "dilated, uneven padding, odd channels", "Conv", X(1, 5, 13, 12), W(7, 5, 3, 2), A("dilations=4,5", "pads=5,5,4,0", "strides=2,1") },
    { "dilated", "Conv", X(1, 8, 12, 12), W(8, 8, 3, 3), A("dilations=2,3", "pads=2,3,2,3") },
    { "grouped", "Conv", X(3, 12, 6, 6), W(18, 4, 3, 3), B(18), A("group=3", "pads=1,1,1,1") },
    { "depthwise", "Conv", X(3, 16, 7, 7), W(16, 1, 3, 3), B(16), A("group=16", "pads=1,1,1,1") },
    { "depthwise, odd channels", "Conv", X(1, 13, 7, 7), W(13, 1, 3, 3), A("group=13", "strides=2,2") },
    { "depthwise with a multiplier", "Conv", X(1, 6, 7, 7), W(12, 1, 3, 3), A("group=6") },
    { "depthwise, rows of pairs", "Conv", X(2, 24, 9, 5), W(24, 1, 3, 3), B(24), A("group=24", "pads=1,1,1,1"), .behind = "Relu" },
    { "depthwise, long rows", "Conv", X(2, 16, 11, 37), W(16, 1, 3, 3), A("group=16", "pads=1,1,1,1"), .behind = "Clip" },
    { "depthwise, stride 2", "Conv", X(2, 11, 14, 23), W(11, 1, 3, 3), B(11), A("group=11", "strides=2,2", "pads=1,1,1,1") },
    { "depthwise, 5x5, stride 2", "Conv", X(1, 12, 13, 16), W(12, 1, 5, 5), B(12), A("group=12", "strides=2,2", "pads=2,2,2,2") },
    { "depthwise, uneven padding", "Conv", X(2, 9, 8, 9), W(9, 1, 3, 3), A("group=9", "pads=2,0,1,1") },
    { "depthwise, all behind", "Conv", X(2, 11, 6, 7), W(11, 1, 3, 3), B(11), A("group=11", "pads=1,1,1,1"),
      .behind = "BatchNormalization+Add+Relu" },
    { "depthwise, shortcut, Clip", "Conv", X(2, 16, 6, 7), W(16, 1, 3, 3), A("group=16", "pads=1,1,1,1"), .behind = "Add+Clip" },
    { "depthwise, shortcut behind Relu", "Conv", X(2, 16, 6, 7), W(16, 1, 3, 3), A("group=16"), .behind = "Relu+Add" },
    { "depthwise, pooling behind", "Conv", X(2, 13, 6, 7), W(13, 1, 3, 3), B(13), A("group=13"), .behind = "Relu+GlobalAveragePool" },
    { "1x1", "Conv", X(3, 20, 5, 5), W(10, 20, 1, 1), B(10) },
    { "one channel", "Conv", X(3, 1, 28, 28), W(20, 1, 5, 5), B(20) },
    { "odd channels", "Conv", X(3, 7, 5, 5), W(11, 7, 3, 3), B(11), A("pads=1,1,1,1") },
    { "SAME_UPPER", "Conv", X(1, 3, 7, 8), W(4, 3, 3, 4), A("auto_pad=SAME_UPPER", "strides=2,2") },
    { "SAME_LOWER", "Conv", X(1, 3, 7, 8), W(4, 3, 2, 4), A("auto_pad=SAME_LOWER") },
    { "1-D", "Conv", X(3, 5, 17), W(6, 5, 4), B(6), A("strides=2", "pads=1,2") },
    { "3-D", "Conv", X(1, 3, 5, 6, 7), W(4, 3, 2, 3, 3), B(4), A("pads=0,1,1,1,1,1") },
    { "weights fed", "Conv", X(1, 4, 6, 6), W(8, 4, 3, 3), B(8), A("pads=1,1,1,1"), .fed = true },
    { "Relu behind", "Conv", X(3, 3, 8, 8), W(9, 3, 3, 3), B(9), .behind = "Relu" },
    { "Clip behind", "Conv", X(3, 3, 8, 8), W(9, 3, 3, 3), .behind = "Clip" },
    { "shortcut behind", "Conv", X(3, 8, 8, 8), W(16, 8, 3, 3), B(16), .behind = "Add" },
    { "shortcut and Relu", "Conv", X(1, 8, 8, 8), W(16, 8, 3, 3), .behind = "Add+Relu" },
    { "Relu, shortcut, Clip", "Conv", X(1, 8, 8, 8), W(9, 8, 3, 3), .behind = "Relu+Add+Clip" },
    { "BatchNormalization behind", "Conv", X(3, 3, 8, 8), W(9, 3, 3, 3), .behind = "BatchNormalization" },
    { "BatchNormalization, Relu", "Conv", X(3, 3, 8, 8), W(16, 3, 3, 3), B(16), .behind = "BatchNormalization+Relu" },
    { "BatchNormalization, shortcut, Relu", "Conv", X(1, 8, 8, 8), W(16, 8, 3, 3), .behind = "BatchNormalization+Add+Relu" },
    { "depthwise, BatchNormalization", "Conv", X(1, 16, 8, 8), W(16, 1, 3, 3), A("group=16"), .behind = "BatchNormalization+Clip" },
    { "LeakyRelu behind", "Conv", X(1, 8, 6, 6), W(8, 8, 3, 3), .behind = "LeakyRelu" },
    { "pooling behind", "Conv", X(1, 8, 6, 6), W(9, 8, 3, 3), .behind = "Relu+GlobalAveragePool" },
    { "Softmax behind", "Conv", X(1, 8, 6, 6), W(9, 8, 3, 3), .behind = "Softmax" },
    { "blocks", "Conv", X(3, 8, 7, 9), W(16, 8, 3, 3), B(16), A("pads=1,1,1,1") },
    { "blocks, no padding, one row", "Conv", X(2, 16, 3, 13), W(32, 16, 3, 3) },
    { "blocks, uneven padding", "Conv", X(2, 16, 11, 12), W(16, 16, 3, 4), B(16), A("pads=2,3,0,1") },
    { "blocks, stride 2", "Conv", X(2, 16, 13, 14), W(32, 16, 3, 3), B(32), A("strides=2,2", "pads=1,1,1,1") },
    { "blocks, stride of rows", "Conv", X(1, 16, 13, 14), W(16, 16, 3, 3), A("strides=2,1", "pads=1,0,1,0") },
    { "blocks, stride of columns that leaves a rest", "Conv", X(1, 8, 6, 10), W(16, 8, 2, 3), A("strides=1,2") },
    { "blocks, 5x5 in several strips", "Conv", X(2, 16, 40, 21), W(16, 16, 5, 5), B(16), A("pads=2,2,2,2") },
    { "blocks, rows too long for strips", "Conv", X(1, 16, 6, 600), W(16, 16, 3, 3), A("pads=1,1,1,1") },
    { "blocks, more channels than at once", "Conv", X(2, 72, 8, 8), W(48, 72, 3, 3), B(48), A("pads=1,1,1,1"), .behind = "Relu" },
    { "blocks, all behind", "Conv", X(2, 40, 5, 7), W(16, 40, 3, 3), B(16), A("pads=1,1,1,1"), .behind = "BatchNormalization+Add+Relu" },
    { "blocks, shortcut behind Relu", "Conv", X(2, 16, 5, 7), W(16, 16, 3, 3), A("pads=1,1,1,1"), .behind = "Relu+Add+Clip" },
    { "blocks, shortcut, Sigmoid", "Conv", X(2, 16, 5, 7), W(16, 16, 3, 3), A("pads=1,1,1,1"), .behind = "Add+Sigmoid" },
    { "wide padding behind", "Conv", X(1, 16, 5, 7), W(16, 16, 3, 3), A("pads=1,1,9,4") },
    { "blocks in part", "Conv", X(2, 20, 12, 12), W(50, 20, 5, 5), B(50) },
    { "blocks in part, all behind", "Conv", X(2, 12, 7, 9), W(22, 12, 3, 3), B(22), A("pads=1,1,1,1"),
      .behind = "BatchNormalization+Add+Relu" },
    { "blocks in part, bounds", "Conv", X(1, 3, 9, 9), W(6, 3, 3, 3), B(6), A("strides=2,2", "pads=0,0,1,1"), .behind = "Clip" },
    { "blocks from rows", "Conv", X(2, 1, 28, 28), W(20, 1, 5, 5), B(20), .behind = "Relu" },
    { "blocks from rows, stride 4", "Conv", X(2, 3, 33, 35), W(24, 3, 4, 4), B(24), A("strides=4,4") },
    { "blocks, dilated", "Conv", X(2, 16, 15, 20), W(24, 16, 3, 3), B(24), A("pads=2,5,2,5", "dilations=2,5"), .behind = "Relu" },
    { "blocks, 1x3", "Conv", X(1, 16, 1, 37), W(16, 16, 1, 3), A("pads=0,1,0,1"), .behind = "BatchNormalization+Clip" },
    { "transposed", "ConvTranspose", X(1, 3, 5, 6), W(3, 4, 3, 3), B(4) },
    { "transposed, stride, padding", "ConvTranspose", X(3, 8, 5, 6), W(8, 6, 3, 3), B(6), A("strides=2,2", "pads=1,1,1,1",
                                                                                            "output_padding=1,1") },
    { "transposed, groups", "ConvTranspose", X(1, 8, 5, 5), W(8, 3, 3, 3), A("group=4", "strides=2,3") },
    { "transposed, dilated", "ConvTranspose", X(1, 4, 5, 5), W(4, 5, 3, 2), A("dilations=2,1") },
    { "transposed, output_shape", "ConvTranspose", X(1, 4, 5, 5), W(4, 5, 3, 3), A("strides=2,2", "output_shape=10,9") },
    { "transposed, 1-D", "ConvTranspose", X(3, 4, 9), W(4, 5, 3), A("strides=2") },
    { "transposed, depthwise, dilated", "ConvTranspose", X(2, 16, 25, 9), W(16, 1, 3, 3), B(16),
      A("group=16", "dilations=5,1", "pads=10,1,10,1") },
    { "transposed, groups, columns apart", "ConvTranspose", X(2, 16, 3, 17), W(16, 8, 1, 5), A("group=2", "strides=1,2", "pads=0,2,0,2") },
    { "transposed, cut on all sides", "ConvTranspose", X(1, 4, 3, 3), W(4, 2, 5, 5), B(2), A("strides=3,2", "pads=4,3,2,5") },
    { "transposed, 3-D", "ConvTranspose", X(1, 4, 3, 4, 5), W(4, 3, 2, 3, 2), A("strides=2,1,3", "pads=1,0,1,0,1,1") },
    { "maximum", "MaxPool", X(3, 5, 8, 9), A("kernel_shape=2,2", "strides=2,2") },
    { "maximum, padding", "MaxPool", X(1, 5, 8, 9), A("kernel_shape=3,3", "strides=2,2", "pads=1,1,1,1") },
    { "maximum, ceil_mode", "MaxPool", X(1, 5, 8, 8), A("kernel_shape=3,3", "strides=2,2", "ceil_mode=1") },
    { "maximum, dilated", "MaxPool", X(1, 5, 9, 9), A("kernel_shape=2,2", "dilations=3,2") },
    { "maximum, 1-D", "MaxPool", X(1, 5, 9), A("kernel_shape=3") },
    { "average", "AveragePool", X(3, 16, 8, 9), A("kernel_shape=3,2") },
    { "average, padding left out", "AveragePool", X(1, 5, 8, 9), A("kernel_shape=3,3", "pads=1,1,1,1") },
    { "average, padding counted", "AveragePool", X(1, 5, 8, 9), A("kernel_shape=3,3", "pads=1,1,1,1", "count_include_pad=1") },
    { "average, ceil_mode, padding counted", "AveragePool", X(1, 5, 8, 8), A("kernel_shape=3,3", "strides=2,2", "ceil_mode=1",
                                                                             "count_include_pad=1") },
    { "average, SAME_UPPER", "AveragePool", X(1, 5, 7, 7), A("kernel_shape=2,2", "auto_pad=SAME_UPPER") },
    { "global average", "GlobalAveragePool", X(3, 13, 7, 6) },
    { "global maximum", "GlobalMaxPool", X(3, 13, 7, 6) },
    { "global average, 1-D", "GlobalAveragePool", X(1, 4, 9) },
    { "softmax", "Softmax", X(3, 10) },
    { "softmax, middle axis", "Softmax", X(3, 4, 5), A("axis=1") },
    { "softmax, old, flattening", "Softmax", X(3, 4, 5), A("axis=1"), .opset = 11 },
    { "softmax, old, last", "Softmax", X(3, 4, 5), A("axis=2"), .opset = 11 },
    { "log softmax", "LogSoftmax", X(3, 4, 5), A("axis=-1") },
    { "matrix", "MatMul", X(7, 5), W(5, 9) },
    { "batch of one matrix", "MatMul", X(2, 3, 7, 5), W(5, 9) },
    { "batches broadcast", "MatMul", X(2, 1, 7, 5), W(3, 5, 9) },
    { "vector by matrix", "MatMul", X(5), W(5, 9) },
    { "matrix by vector", "MatMul", X(2, 7, 5), W(5) },
    { "vector by vector", "MatMul", X(5), W(5) },
    { "batch of vectors", "MatMul", X(5), W(3, 5, 2) },
    { "gemm", "Gemm", X(3, 5), W(5, 9), B(9) },
    { "gemm, transB", "Gemm", X(3, 5), W(9, 5), B(9), A("transB=1") },
    { "gemm, transA", "Gemm", X(5, 3), W(5, 9), B(3, 1), A("transA=1") },
    { "gemm, factors", "Gemm", X(3, 5), W(5, 9), B(3, 9), A("alpha=0.5", "beta=2.0") },
    { "gemm, no addend", "Gemm", X(3, 5), W(5, 9) },
    { "gemm of one row, transB", "Gemm", X(1, 33), W(11, 33), B(11), A("transB=1"), .behind = "Relu" },
    { "gemm, one addend for each row", "Gemm", X(3, 5), W(5, 9), B(3, 1) },
    { "product and activations", "MatMul", X(2, 3, 17), W(17, 10), .behind = "Sigmoid+Tanh" },
    { "product, shortcut, Clip", "MatMul", X(37, 17), W(17, 10), .behind = "Add+Clip" },
    { "product of what is made, many rows", "MatMul", X(2, 35, 17), W(17, 11), .fed = true, .behind = "Relu" },
    { "product of what is made, shortcut", "MatMul", X(70, 16), W(16, 8), .fed = true, .behind = "Add" },
    { "few rows, one", "Gemm", X(1, 70), W(37, 70), B(37), A("transB=1"), .behind = "Relu" },
    { "few rows, whole panels", "MatMul", X(2, 21), W(21, 64), .behind = "Clip" },
    { "few rows, shortcut", "MatMul", X(3, 17), W(17, 10), .behind = "Add+Relu" },
    { "few rows, shortcut of an activation", "Gemm", X(4, 17), W(17, 43), B(43), .behind = "Relu+Relu" },
    { "few rows, eight of two axes", "MatMul", X(2, 4, 300), W(300, 9) },
    { "few rows, many weights", "Gemm", X(5, 260), W(300, 260), B(300), A("transB=1") },
    { "normalised rows", "LayerNormalization", X(3, 7, 19), W(19), B(19) },
    { "normalised rows, no shift", "LayerNormalization", X(5, 8), W(8) },
    { "normalised rows, two axes", "LayerNormalization", X(3, 7, 5), W(7, 5), B(7, 5), A("axis=1") },
    { "rows by their root mean square", "SimplifiedLayerNormalization", X(3, 7, 19), W(19) },
    { "rows by their root mean square, of the standard", "RMSNormalization", X(3, 7, 19), W(19), .opset = 23 },
    { "sigmoid", "Sigmoid", X(3, 7, 19) },
    { "tanh", "Tanh", X(3, 7, 19) },
    { "gelu", "Gelu", X(3, 7, 19), .opset = 20 },
    { "gelu by tanh", "Gelu", X(3, 7, 19), A("approximate=tanh"), .opset = 20 },
    { "swish", "Swish", X(3, 7, 19), A("alpha=1.5"), .opset = 24 },
    { "gemm, fed", "Gemm", X(3, 5), W(5, 9), B(1), .fed = true },
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false);
        assert_true(shape_eq(&plain.shape, &fast.shape));
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-5)) fail_msg("%s '%s': kernels differ from the plain forward by %g", rows[i].op, rows[i].name, distance);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

typedef struct Count {
    const char *kernel;
    int steps;
} Count;

static void count_kernel(void *user, const StepTrace *step)
{
    Count *c = user;
    c->steps += strcmp(step->kernel, c->kernel) == 0;
}

/* Rows named for blocks reach the kernel for them, but for the one whose rows are too long; so do depthwise ones, and those of few rows. */
static void test_blocks_are_taken(void **state)
{
    (void)state;
    if (!device_is_avx2()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool depthwise = strncmp(rows[i].name, "depthwise", 9) == 0, few = strncmp(rows[i].name, "few rows", 8) == 0;
        if (strncmp(rows[i].name, "blocks", 6) != 0 && !depthwise && !few) continue;
        Graph *g = make(&rows[i]);
        Session *s;
        Tensor y, x;
        Err err;
        Count count = { depthwise ? "depthwise" : few ? "few rows" : "direct", 0 };
        assert_ok(tensor_new(&x, DT_FLOAT, &graph_value(g, g->inputs[0])->shape, &err), &err);
        memset(x.data, 0, x.bytes);
        assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
        session_trace(s, count_kernel, &count);
        assert_ok(session_run(s, &x, &y, &err), &err);
        bool other = strstr(rows[i].name, "too long") != NULL || strstr(rows[i].name, "multiplier") != NULL;
        if ((count.steps > 0) == other) fail_msg("%s: %d steps by %s", rows[i].name, count.steps, count.kernel);
        session_free(s);
        tensor_release(&x);
        tensor_release(&y);
        graph_free(g);
    }
}

/* The rows above are worth nothing for a kernel that none of them reaches. */
static void test_every_kernel_has_rows(void **state)
{
    (void)state;
    for (const Kernel *const *list = kernels_all(); *list != NULL; list++)
        for (const Kernel *k = *list; k->name != NULL; k++) {
            bool found = strcmp(k->op, "BatchNormalization") == 0 || strcmp(k->op, "Mul") == 0 || strcmp(k->op, "QuantizeLinear") == 0;
            found = found || strncmp(k->name, "integer", 7) == 0 || strcmp(k->name, "auto") == 0; /* test_integers; the others below */
            found = found || strcmp(k->name, "dynamic") == 0 || strcmp(k->name, "channels") == 0 || strcmp(k->name, "blocks") == 0;
            found = found || strcmp(k->name, "rotary") == 0; /* test_rotary */
            found = found || strcmp(k->op, "RNN") == 0 || strcmp(k->op, "GRU") == 0 || strcmp(k->op, "LSTM") == 0; /* test_recurrent */
            for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                found = found || strcmp(rows[i].op, k->op) == 0 || (rows[i].behind != NULL && strstr(rows[i].behind, k->op) != NULL);
            if (!found) fail_msg("no row for the %s kernel of %s", k->name, k->op);
        }
}

/* Elementwise kernels take data in the library's order: behind two convolutions whose results are also wanted, so that nothing fuses. */
static void test_blocked_elementwise(void **state)
{
    (void)state;
    static const char *const ops[] = { "Relu", "LeakyRelu", "Clip", "BatchNormalization", "Add", "Mul" };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        static const Row conv = { "", "Conv", X(3, 8, 6, 6), W(13, 8, 3, 3) };
        Graph *g = build_new(17);
        ValueId x = build_input(g, "x", DT_FLOAT, conv.x, 4), w = build_weight(g, "w", 1, conv.w, 4), v = build_weight(g, "v", 2, conv.w,
                                                                                                                       4);
        ValueId a = build_node(g, "Conv", "a", x, w, -1), b = build_node(g, "Conv", "b", x, v, -1);
        Row r = conv;
        r.behind = ops[i];
        ValueId y = strcmp(ops[i], "Mul") == 0 ? build_node(g, "Mul", "y", a, b, -1) : behind(g, &r, a, b);
        build_output(g, y);
        build_output(g, a);
        build_output(g, b);
        build_ready(g);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false);
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-5)) fail_msg("%s: %g", ops[i], distance);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

/* Quantizing and dequantizing in one pass gives what the two operators give, to the last bit: row-major, and (against the rounding of
 * the convolution's own result) in the library's order. */
static void test_rounding(void **state)
{
    (void)state;
    static const struct { DType type; double scale, zero; } table[] = {
        { DT_UINT8, 0.0078125, 128 }, { DT_UINT8, 0.013, 0 }, { DT_UINT8, 0.004, 255 }, { DT_INT8, 0.0078125, 0 }, { DT_INT8, 0.03,
                -128 }, { DT_INT8, 0.001, 5 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int conv = 0; conv < 2; conv++) {
            Graph *g = build_new(17);
            ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 7, 9, 9));
            ValueId scale = build_constant(g, "scale", DT_FLOAT, &table[i].scale, NULL, 0), zero = build_constant(g, "zero",
                    table[i].type, &table[i].zero, NULL, 0);
            ValueId y = conv ? build_node(g, "Conv", "c", x, build_weight(g, "w", 3, DIMS(13, 7, 1, 1)), -1) : x;
            ValueId q = build_node(g, "QuantizeLinear", "q", y, scale, zero, -1), d = build_node(g, "DequantizeLinear", "d", q, scale,
                                                                                                 zero, -1);
            build_output(g, d);
            if (conv) build_output(g, y);
            build_ready(g);
            Tensor plain = build_run(g, 1, 1.5, true), fast = build_run(g, 1, 1.5, false);
            double distance = build_distance(&fast, &plain);
            /* behind a convolution a sum may fall to the other side of a step */
            if (!(distance <= (conv ? 1.01 / 127 : 0))) fail_msg("row %zu, conv %d: %g", i, conv, distance);
            int64_t apart = 0;
            for (int64_t k = 0; k < tensor_count(&fast); k++) apart += tensor_get(&fast, k) != tensor_get(&plain, k);
            assert_true(apart <= (conv ? tensor_count(&fast) / 100 : 0));
            tensor_release(&plain);
            tensor_release(&fast);
            graph_free(g);
        }
}

/* Pooling and upsampling take channels that lie side by side: behind a convolution (blocks of eight) and behind a Transpose. */
static void test_channels(void **state)
{
    (void)state;
    static const struct { const char *name, *ints[4]; int64_t channels; bool last; double scale[2]; const char *how, *nearest;
                          DType type; } table[] = {
        { "2x2", { "kernel_shape=2,2", "strides=2,2" }, 16, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "3x3, padding", { "kernel_shape=3,3", "strides=2,2", "pads=1,1,1,1" }, 13, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "uneven", { "kernel_shape=3,2", "strides=1,3", "pads=0,1,2,0", "ceil_mode=1" }, 5, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "channels last", { "kernel_shape=2,3", "strides=2,1", "pads=1,0,0,2" }, 11, true, { 0 }, NULL, NULL, DT_FLOAT },
        { "channels last, of eight", { "kernel_shape=2,2" }, 8, true, { 0 }, NULL, NULL, DT_FLOAT },
        { "average", { "kernel_shape=2,2", "strides=2,2" }, 16, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "average, padding", { "kernel_shape=3,5", "strides=2,2", "pads=1,2,1,2" }, 13, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "average, padding counted", { "kernel_shape=3,3", "pads=1,1,1,1", "count_include_pad=1" }, 16, false, { 0 }, NULL, NULL,
          DT_FLOAT },
        { "average, whole", { "kernel_shape=9,10" }, 13, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "average, channels last", { "kernel_shape=2,7", "strides=3,1", "pads=1,0,0,2" }, 19, true, { 0 }, NULL, NULL, DT_FLOAT },
        { "global average", { NULL }, 13, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "global average, channels last", { NULL }, 24, true, { 0 }, NULL, NULL, DT_FLOAT },
        { "global maximum", { NULL }, 16, false, { 0 }, NULL, NULL, DT_FLOAT },
        { "bytes", { "kernel_shape=2,2", "strides=2,2" }, 16, false, { 0 }, NULL, NULL, DT_UINT8 },
        { "bytes, padding", { "kernel_shape=3,2", "strides=1,3", "pads=0,1,2,0", "ceil_mode=1" }, 16, false, { 0 }, NULL, NULL, DT_INT8 },
        { "bytes, channels last", { "kernel_shape=2,3", "strides=2,1", "pads=1,0,0,2" }, 37, true, { 0 }, NULL, NULL, DT_UINT8 },
        { "signed bytes, channels last", { "kernel_shape=2,2" }, 21, true, { 0 }, NULL, NULL, DT_INT8 },
        { "twice", { NULL }, 13, false, { 2, 2 }, "asymmetric", "floor", DT_FLOAT },
        { "three times, once", { NULL }, 8, true, { 3, 1 }, "asymmetric", "floor", DT_FLOAT },
        { "centres", { NULL }, 8, false, { 2, 4 }, "half_pixel", "round_prefer_ceil", DT_FLOAT },
        { "corners", { NULL }, 8, false, { 2, 2 }, "align_corners", "floor", DT_FLOAT },
        { "one and a half", { NULL }, 8, false, { 1.5, 2 }, "asymmetric", "floor", DT_FLOAT },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Graph *g = build_new(17);
        Err err;
        int64_t channels = table[i].channels;
        ValueId x, y, in;
        DType type = table[i].type;
        double scale = type == DT_FLOAT ? 1 : 240;
        if (table[i].last) {
            x = build_input(g, "x", type, DIMS(2, 9, 10, channels));
            in = build_node(g, "Transpose", "in", x, -1);
            assert_ok(graph_set_ints(g, build_maker(g, in), "perm", (int64_t[]){ 0, 3, 1, 2 }, 4, &err), &err);
        } else {
            x = build_input(g, "x", type, DIMS(2, 16, 9, 10));
            in = type != DT_FLOAT ? x : build_node(g, "Conv", "in", x, build_weight(g, "w", 3, DIMS(channels, 16, 1, 1)), -1);
        }
        if (table[i].scale[0] == 0) {
            bool global = strncmp(table[i].name, "global", 6) == 0, average = strstr(table[i].name, "average") != NULL;
            y = build_node(g, global ? average ? "GlobalAveragePool" : "GlobalMaxPool" : average ? "AveragePool" : "MaxPool", "y", in, -1);
            for (int k = 0; k < 4 && table[i].ints[k] != NULL; k++) set_attribute(g, build_maker(g, y), table[i].ints[k]);
        } else {
            ValueId scales = build_constant(g, "scales", DT_FLOAT, (double[]){ 1, 1, table[i].scale[0], table[i].scale[1] }, DIMS(4));
            y = build_node(g, "Resize", "y", in, 0, scales, -1);
            assert_ok(graph_set_string(g, build_maker(g, y), "coordinate_transformation_mode", str_of(table[i].how), &err), &err);
            assert_ok(graph_set_string(g, build_maker(g, y), "nearest_mode", str_of(table[i].nearest), &err), &err);
        }
        build_output(g, y);
        build_ready(g);
        Tensor plain = build_run(g, 1, scale, true), fast = build_run(g, 1, scale, false);
        assert_true(shape_eq(&plain.shape, &fast.shape));
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-6)) fail_msg("%s: %g", table[i].name, distance);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

/* NaN in a window stays NaN, whether the window holds others or not. */
static void test_window_of_nan(void **state)
{
    (void)state;
    if (!avx2_serves()) skip();
    Graph *g = build_new(17);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 9, 10, 19));
    ValueId in = build_node(g, "Transpose", "in", build_node(g, "Sqrt", "root", x, -1), -1);
    assert_ok(graph_set_ints(g, build_maker(g, in), "perm", (int64_t[]){ 0, 3, 1, 2 }, 4, &err), &err);
    ValueId y = build_node(g, "MaxPool", "y", in, -1);
    assert_ok(graph_set_ints(g, build_maker(g, y), "kernel_shape", (int64_t[]){ 2, 2 }, 2, &err), &err);
    build_output(g, y);
    build_ready(g);
    Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false);
    int64_t broken = 0;
    for (int64_t i = 0; i < tensor_count(&plain); i++) {
        broken += isnan(tensor_get(&plain, i)) != 0;
        assert_int_equal(isnan(tensor_get(&plain, i)) != 0, isnan(tensor_get(&fast, i)) != 0);
    }
    assert_true(broken > 0 && broken < tensor_count(&plain));
    tensor_release(&plain);
    tensor_release(&fast);
    graph_free(g);
}

/* Products of bytes whose zero point is an input give the plain forward's integers, as they are and cast to float32. */
static void test_dynamic(void **state)
{
    (void)state;
    static const struct { DType x, w; int64_t rows, channels, filters; bool weight_zero, each; } table[] = {
        { DT_UINT8, DT_INT8, 1, 33, 7, false, false }, { DT_UINT8, DT_UINT8, 5, 16, 8, true, false },
        { DT_INT8, DT_INT8, 37, 40, 13, true, true }, { DT_INT8, DT_INT8, 3, 800, 9, false, false }, /* the last: sums beyond 24 bits */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int cast = 0; cast < 2; cast++) {
            Graph *g = build_new(17);
            Err err;
            int64_t filters = table[i].filters;
            double *w = malloc(sizeof *w * (size_t)(table[i].channels * filters)), zeros[16];
            assert_non_null(w);
            for (int64_t k = 0; k < table[i].channels * filters; k++)
                w[k] = i == 3 ? 127 : floor(60 * build_noise(4, k)) + (table[i].w == DT_UINT8 ? 100 : 0);
            for (int k = 0; k < 16; k++) zeros[k] = table[i].w == DT_UINT8 ? 100 : k - 8;
            ValueId x = build_input(g, "x", table[i].x, DIMS(2, table[i].rows, table[i].channels));
            ValueId zero = build_input(g, "zero", table[i].x, NULL, 0);
            ValueId weights = build_constant(g, "w", table[i].w, w, DIMS(table[i].channels, filters));
            ValueId shift = table[i].weight_zero ? build_constant(g, "wz", table[i].w, zeros, &filters, table[i].each ? 1 : 0) : 0;
            ValueId y = build_node(g, "MatMulInteger", "y", x, weights, zero, shift, -1);
            if (cast) {
                y = build_node(g, "Cast", "z", y, -1);
                assert_ok(graph_set_int(g, build_maker(g, y), "to", DT_FLOAT, &err), &err);
            }
            build_output(g, y);
            build_ready(g);
            Tensor plain = build_run(g, 1, 100, true), fast = build_run(g, 1, 100, false);
            assert_true(plain.type == fast.type && plain.bytes == fast.bytes && memcmp(plain.data, fast.data, plain.bytes) == 0);
            tensor_release(&plain);
            tensor_release(&fast);
            graph_free(g);
            free(w);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_blocks_are_taken),
        cmocka_unit_test(test_every_kernel_has_rows),
        cmocka_unit_test(test_blocked_elementwise),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_window_of_nan), cmocka_unit_test(test_dynamic),
        cmocka_unit_test(test_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
