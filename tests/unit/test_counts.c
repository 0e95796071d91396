#include "test.h"

#include "graph/edit.h"
#include "graph/format.h"
#include "greenness/counts.h"
#include "pipeline/state.h"

/* A graph being built: "x" goes in, "y" comes out. */
typedef struct Build {
    Graph *g;
    ValueId x;
    Err err;
} Build;

static Build build_new(const Shape *input)
{
    Build b = { .g = graph_new(NULL) };
    assert_non_null(b.g);
    b.g->ir_version = 8;
    assert_ok(graph_set_opset(b.g, STR(""), 13, &b.err), &b.err);
    b.x = graph_add_value(b.g, STR("x"), DT_FLOAT, input);
    b.g->values[b.x].flags |= VALUE_INPUT;
    b.g->inputs = malloc(sizeof *b.g->inputs);
    assert_non_null(b.g->inputs);
    b.g->inputs[0] = b.x;
    b.g->input_count = 1;
    return b;
}

/* A constant whose elements are `value`, the first of them `first`. */
static ValueId constant(Build *b, const char *name, DType type, int rank, const int64_t *dims, double first, double value)
{
    Tensor t;
    Shape shape = shape_of(rank, dims);
    assert_ok(tensor_new(&t, type, &shape, &b->err), &b->err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, i == 0 ? first : value);
    ValueId v = graph_add_constant(b->g, str_of(name), &t);
    assert_int_not_equal(v, 0);
    return v;
}

#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }
#define VALUES(...) (ValueId[]){ __VA_ARGS__ }, (int)(sizeof((ValueId[]){ __VA_ARGS__ }) / sizeof(ValueId))

static ValueId node(Build *b, const char *type, const char *name, const ValueId *inputs, int count)
{
    Shape unknown = SHAPE_UNKNOWN;
    char text[64];
    snprintf(text, sizeof text, "%s.out", name);
    ValueId out = graph_add_value(b->g, str_of(text), DT_NONE, &unknown);
    assert_int_not_equal(graph_add_node(b->g, type, "", str_of(name), inputs, count, &out, 1), 0);
    return out;
}

static void set_ints(Build *b, const char *name, const int64_t *values, int count)
{
    assert_ok(graph_set_ints(b->g, b->g->node_count, name, values, count, &b->err), &b->err);
}

static Counts count(Build *b, ValueId y, const Shape *shapes)
{
    Counts c;
    b->g->values[y].flags |= VALUE_OUTPUT;
    b->g->outputs = malloc(sizeof *b->g->outputs);
    assert_non_null(b->g->outputs);
    b->g->outputs[0] = y;
    b->g->output_count = 1;
    assert_ok(graph_finish(b->g, &b->err), &b->err);
    engine_bind(b->g);
    assert_ok(engine_infer(b->g, &b->err), &b->err);
    assert_ok(counts_of(b->g, shapes, &c, &b->err), &b->err);
    return c;
}

static void done(Build *b, Counts *c)
{
    counts_release(c);
    graph_free(b->g);
}

/* [N,4,6,6] -> 8 channels of 3x3, padded to 6x6, in 2 groups: 8 x 36 products of 2 x 9 each. */
static Build grouped_conv(ValueId *y)
{
    Build b = build_new(&(Shape){ 4, { DIM_UNKNOWN, 4, 6, 6 } });
    ValueId w = constant(&b, "w", DT_FLOAT, DIMS(8, 2, 3, 3), 0, 1), bias = constant(&b, "bias", DT_FLOAT, DIMS(8), 1, 1);
    *y = node(&b, "Conv", "conv", VALUES(b.x, w, bias));
    set_ints(&b, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4);
    assert_ok(graph_set_int(b.g, 1, "group", 2, &b.err), &b.err);
    return b;
}

static void test_conv(void **state)
{
    (void)state;
    ValueId y;
    Build b = grouped_conv(&y);
    Counts c = count(&b, y, NULL);
    assert_int_equal(c.parameters, 152);
    assert_int_equal(c.nonzeros, 151);
    assert_int_equal(c.parameter_bits, 152 * 32);
    assert_int_equal(c.macs_float, 8 * 36 * 18);
    assert_int_equal(c.macs_nonzero, 8 * 36 * 18 / 144 * 143); /* one of 144 weights is zero; the bias takes no part */
    assert_int_equal(c.layers[0].macs_nonzero, c.macs_nonzero);
    assert_int_equal(c.macs_int8, 0);
    assert_int_equal(c.weight_bytes, 152 * 4);
    assert_int_equal(c.activation_bytes, 8 * 36 * 4);
    assert_int_equal(c.uncounted, 0);
    assert_int_equal(c.layer_count, 1);
    assert_int_equal(c.layers[0].parameters, 152);
    assert_int_equal(c.layers[0].mac_type, DT_FLOAT);
    assert_int_equal(c.layers[0].output.dims[1], 8);
    done(&b, &c);
}

static void test_batch_scales_work_not_parameters(void **state)
{
    (void)state;
    ValueId y;
    Build b = grouped_conv(&y);
    Counts c = count(&b, y, &(Shape){ 4, { 5, 4, 6, 6 } });
    assert_int_equal(c.parameters, 152);
    assert_int_equal(c.macs_float, 5 * 8 * 36 * 18);
    assert_int_equal(c.activation_bytes, 5 * 8 * 36 * 4);
    done(&b, &c);
}

/* uint8 activations, int8 weights with a zero point of 3 in one channel, int32 bias; all through DequantizeLinear. */
static void test_quantized_layer(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 4, { 1, 1, 4, 4 } });
    ValueId s = constant(&b, "s", DT_FLOAT, 0, NULL, 0.1, 0.1), z = constant(&b, "z", DT_UINT8, 0, NULL, 7, 7);
    ValueId w = constant(&b, "w", DT_INT8, DIMS(2, 1, 2, 2), 0, 3), ws = constant(&b, "ws", DT_FLOAT, DIMS(2), 1, 1);
    ValueId wz = constant(&b, "wz", DT_INT8, DIMS(2), 0, 3);
    ValueId bias = constant(&b, "bias", DT_INT32, DIMS(2), 9, 9), bz = constant(&b, "bz", DT_INT32, DIMS(2), 0, 0);
    ValueId q = node(&b, "QuantizeLinear", "q", VALUES(b.x, s, z)), dq = node(&b, "DequantizeLinear", "dq", VALUES(q, s, z));
    ValueId dw = node(&b, "DequantizeLinear", "dw", VALUES(w, ws, wz));
    assert_ok(graph_set_int(b.g, b.g->node_count, "axis", 0, &b.err), &b.err);
    ValueId db = node(&b, "DequantizeLinear", "db", VALUES(bias, ws, bz));
    assert_ok(graph_set_int(b.g, b.g->node_count, "axis", 0, &b.err), &b.err);
    ValueId conv = node(&b, "Conv", "conv", VALUES(dq, dw, db));
    ValueId out = node(&b, "QuantizeLinear", "out_q", VALUES(conv, s, z)), y = node(&b, "DequantizeLinear", "out_dq", VALUES(out, s, z));
    Counts c = count(&b, y, NULL);
    assert_int_equal(c.parameters, 8 + 2); /* scales and zero points are none */
    assert_int_equal(c.parameter_bits, 8 * 8 + 2 * 32);
    assert_int_equal(c.nonzeros, 3 + 0 + 2); /* the second channel's 3 is its zero */
    assert_int_equal(c.macs_int8, 2 * 9 * 4);
    assert_int_equal(c.macs_nonzero, 9 * 3);
    assert_int_equal(c.macs_float, 0);
    assert_int_equal(c.activation_bytes, 16 + 2 * 9); /* two tensors of bytes are kept */
    assert_int_equal(c.weight_bytes, 4 + 1 + 8 + 8 + 2 + 8 + 8);
    bool found = false;
    for (int i = 0; i < c.layer_count; i++) {
        if (!str_is(c.layers[i].name, "conv")) continue;
        found = true;
        assert_int_equal(c.layers[i].parameters, 10); /* found behind their DequantizeLinear */
        assert_int_equal(c.layers[i].mac_type, DT_INT8);
    }
    assert_true(found);
    done(&b, &c);
}

static void test_weight_only_is_float(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 2, { 3, 4 } });
    ValueId w = constant(&b, "w", DT_INT8, DIMS(4, 5), 1, 1), s = constant(&b, "s", DT_FLOAT, 0, NULL, 1, 1);
    ValueId dw = node(&b, "DequantizeLinear", "dw", VALUES(w, s));
    Counts c = count(&b, node(&b, "MatMul", "m", VALUES(b.x, dw)), NULL);
    assert_int_equal(c.macs_float, 3 * 4 * 5);
    assert_int_equal(c.macs_int8, 0);
    assert_int_equal(c.parameters, 20);
    assert_int_equal(c.nonzeros, 20);
    assert_int_equal(c.macs_nonzero, 60);
    done(&b, &c);
}

static void test_integer_ops(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 2, { 3, 4 } });
    b.g->values[b.x].type = DT_UINT8;
    ValueId w = constant(&b, "w", DT_INT8, DIMS(4, 5), 0, 1);
    ValueId z = constant(&b, "z", DT_UINT8, 0, NULL, 2, 2);
    Counts c = count(&b, node(&b, "MatMulInteger", "m", VALUES(b.x, w, z)), NULL);
    assert_int_equal(c.macs_int8, 60);
    assert_int_equal(c.parameters, 20);
    assert_int_equal(c.nonzeros, 19);
    assert_int_equal(c.macs_nonzero, 3 * 19);
    done(&b, &c);
}

/* 4-bit weights in blocks: N x K numbers in bytes, padded to whole blocks, are as many parameters of 4 bits; scales and zero points stand
 * beside them; the products are float32 unless the activations are quantized on the way. A Reshape in between changes nothing. */
static void test_packed_weights(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        Build b = build_new(&(Shape){ 2, { 2, 40 } });
        const int64_t blobs[3] = { 3, 2, 16 };
        ValueId w = constant(&b, "w", DT_UINT8, 3, blobs, 0x89, 0x88);
        ValueId scales = constant(&b, "scales", DT_FLOAT, DIMS(6), 1, 1), zeros = constant(&b, "zeros", DT_UINT8, DIMS(3), 0x78, 0x88);
        if (way == 1) w = node(&b, "Reshape", "r", VALUES(w, constant(&b, "shape", DT_INT64, DIMS(2), 3, -1)));
        ValueId y = node(&b, "MatMulNBits", "m", VALUES(b.x, w, scales, zeros));
        NodeId id = b.g->node_count;
        assert_ok(graph_set_type(b.g, id, "MatMulNBits", "com.microsoft", &b.err), &b.err);
        assert_ok(graph_set_opset(b.g, STR("com.microsoft"), 1, &b.err), &b.err);
        assert_ok(graph_set_int(b.g, id, "N", 3, &b.err), &b.err);
        assert_ok(graph_set_int(b.g, id, "K", 40, &b.err), &b.err);
        assert_ok(graph_set_int(b.g, id, "bits", 4, &b.err), &b.err);
        assert_ok(graph_set_int(b.g, id, "block_size", 32, &b.err), &b.err);
        if (way == 2) assert_ok(graph_set_int(b.g, id, "accuracy_level", 4, &b.err), &b.err);
        Counts c = count(&b, y, NULL);
        assert_int_equal(c.parameters, 3 * 40);
        assert_int_equal(c.parameter_bits, 3 * 40 * 4);
        assert_int_equal(c.scale_bits, 6 * 32 + 3 * 8);
        assert_int_equal(c.nonzeros, 1 + 8); /* the first entry; the second block of row 0, whose zero point is 7 */
        assert_int_equal(c.macs_nonzero, 2 * 9);
        assert_int_equal(way == 2 ? c.macs_int8 : c.macs_float, 2 * 3 * 40);
        assert_int_equal(way == 2 ? c.macs_float : c.macs_int8, 0);
        assert_int_equal(c.layers[c.layer_count - 1].parameters, 120);
        done(&b, &c);
    }
}

/* The integer layers of com.microsoft take their products in int8, whatever comes in. */
static void test_integer_layers(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 2, { 3, 4 } });
    b.g->values[b.x].type = DT_UINT8;
    assert_ok(graph_set_opset(b.g, STR("com.microsoft"), 1, &b.err), &b.err);
    ValueId s = constant(&b, "s", DT_FLOAT, 0, NULL, 0.1, 0.1), z = constant(&b, "z", DT_UINT8, 0, NULL, 7, 7);
    ValueId w = constant(&b, "w", DT_INT8, DIMS(5, 4), 0, 3), ws = constant(&b, "ws", DT_FLOAT, DIMS(5), 1, 1);
    ValueId wz = constant(&b, "wz", DT_INT8, DIMS(5), 3, 0), bias = constant(&b, "bias", DT_INT32, DIMS(5), 9, 9);
    ValueId y = node(&b, "QGemm", "g", VALUES(b.x, s, z, w, ws, wz, bias));
    assert_ok(graph_set_type(b.g, b.g->node_count, "QGemm", "com.microsoft", &b.err), &b.err);
    assert_ok(graph_set_int(b.g, b.g->node_count, "transB", 1, &b.err), &b.err);
    Counts c = count(&b, y, NULL);
    assert_int_equal(c.macs_int8, 3 * 4 * 5);
    assert_int_equal(c.macs_float, 0);
    assert_int_equal(c.parameters, 20 + 5);
    assert_int_equal(c.parameter_bits, 20 * 8 + 5 * 32);
    assert_int_equal(c.scale_bits, 5 * 32 + 5 * 8);
    assert_int_equal(c.nonzeros, 1 + 16 + 5); /* of the first row only the 0 is not its zero point 3 */
    done(&b, &c);

    b = build_new(&(Shape){ 3, { 6, 1, 4 } });
    assert_ok(graph_set_opset(b.g, STR("com.microsoft"), 1, &b.err), &b.err);
    ValueId in = constant(&b, "in", DT_INT8, DIMS(1, 4, 8), 1, 1), back = constant(&b, "back", DT_INT8, DIMS(1, 2, 8), 1, 1);
    s = constant(&b, "s", DT_FLOAT, DIMS(1), 1, 1);
    z = constant(&b, "z", DT_INT8, DIMS(1), 0, 0);
    y = node(&b, "DynamicQuantizeLSTM", "l", VALUES(b.x, in, back, 0, 0, 0, 0, 0, s, z, s, z));
    assert_ok(graph_set_type(b.g, b.g->node_count, "DynamicQuantizeLSTM", "com.microsoft", &b.err), &b.err);
    assert_ok(graph_set_int(b.g, b.g->node_count, "hidden_size", 2, &b.err), &b.err);
    c = count(&b, y, NULL);
    assert_int_equal(c.macs_int8, 6 * 8 * (4 + 2));
    assert_int_equal(c.macs_float, 0);
    assert_int_equal(c.parameters, 4 * 8 + 2 * 8);
    assert_int_equal(c.parameter_bits, 48 * 8);
    assert_int_equal(c.scale_bits, 32 + 8); /* shared by both */
    done(&b, &c);
}

/* A table read by two nodes, a scalar, a shape, and a weight behind a Reshape. */
static void test_what_is_a_parameter(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 2, { 2, 4 } });
    ValueId shared = constant(&b, "shared", DT_FLOAT, DIMS(4), 1, 1), half = constant(&b, "half", DT_FLOAT, 0, NULL, 0.5, 0.5);
    ValueId flat = constant(&b, "flat", DT_FLOAT, DIMS(12), 0, 2), shape = constant(&b, "shape", DT_INT64, DIMS(2), 4, 3);
    ValueId a = node(&b, "Add", "a", VALUES(b.x, shared)), m = node(&b, "Mul", "m", VALUES(a, shared));
    ValueId h = node(&b, "Mul", "h", VALUES(m, half)), w = node(&b, "Reshape", "r", VALUES(flat, shape));
    Counts c = count(&b, node(&b, "MatMul", "mm", VALUES(h, w)), NULL);
    assert_int_equal(c.parameters, 4 + 12);
    assert_int_equal(c.nonzeros, 4 + 11);
    assert_int_equal(c.macs_float, 2 * 4 * 3);
    assert_int_equal(c.elementwise, 3 * 8); /* the Reshape of a constant costs nothing */
    assert_int_equal(c.weight_bytes, 16 + 4 + 48 + 16);
    assert_int_equal(c.layers[0].parameters, 4);
    assert_int_equal(c.layers[1].parameters, 0);
    assert_int_equal(c.layers[c.layer_count - 1].parameters, 12);
    done(&b, &c);
}

/* A length that is left open is the first that the network takes, for counts and for random inputs alike. */
static void test_open_lengths(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 3, { DIM_UNKNOWN, 1, DIM_UNKNOWN } });
    ValueId w = constant(&b, "w", DT_FLOAT, DIMS(2, 1, 20), 1, 1);
    Counts c = count(&b, node(&b, "Conv", "conv", VALUES(b.x, w)), NULL);
    assert_int_equal(c.guess, 64);
    assert_int_equal(c.macs_float, 2 * 45 * 20);
    Shape shape;
    assert_ok(counts_shapes(b.g, 3, &shape, &b.err), &b.err);
    assert_true(shape_eq(&shape, &(Shape){ 3, { 3, 1, 64 } }));
    Gauge gauge = { .threads = 1, .seed = 1 };
    ReportState s;
    assert_ok(gauge_init(&gauge, b.g, NULL, &b.err), &b.err);
    assert_true(gauge.inputs != NULL && shape_eq(&gauge.inputs[0].shape, &(Shape){ 3, { 1, 1, 64 } }));
    report_state_init(&s);
    assert_ok(state_counts(&s, b.g, &gauge, NULL, &b.err), &b.err);
    assert_int_equal(s.macs.total, c.macs_float);
    assert_string_equal(s.counted_at, "unknown dimensions other than the batch taken as 64");
    gauge_release(&gauge);
    done(&b, &c);
}

static void test_unknown_op_is_named(void **state)
{
    (void)state;
    Build b = build_new(&(Shape){ 2, { 2, 4 } });
    ValueId w = constant(&b, "w", DT_FLOAT, DIMS(4, 3), 1, 1);
    ValueId odd = node(&b, "Frobnicate", "odd one", VALUES(b.x));
    Counts c = count(&b, node(&b, "MatMul", "mm", VALUES(odd, w)), NULL);
    assert_int_equal(c.uncounted, 2);
    assert_string_equal(c.uncounted_names, "Frobnicate 'odd one', MatMul 'mm'");
    assert_int_equal(c.parameters, 12); /* what needs no shapes is still counted */
    done(&b, &c);
}

static void test_digits(void **state)
{
    (void)state;
    Err err;
    Graph *g = NULL;
    Counts c;
    assert_ok(model_load("examples/digits/digits.onnx", &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    assert_ok(counts_of(g, NULL, &c, &err), &err);
    assert_int_equal(c.parameters, 33690);
    assert_int_equal(c.macs_float, 9216 + 294912 + 147456 + 32768 + 16384 + 640);
    assert_int_equal(c.uncounted, 0);
    counts_release(&c);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_batch_scales_work_not_parameters),
        cmocka_unit_test(test_quantized_layer),
        cmocka_unit_test(test_weight_only_is_float),
        cmocka_unit_test(test_integer_ops),
        cmocka_unit_test(test_packed_weights),
        cmocka_unit_test(test_integer_layers),
        cmocka_unit_test(test_what_is_a_parameter),
        cmocka_unit_test(test_open_lengths),
        cmocka_unit_test(test_unknown_op_is_named),
        cmocka_unit_test(test_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
