/* DequantizeLinear .. QuantizeLinear groups against the same operators one by one, with scales of powers of two: sums and products are
 * exact in float32 too, so both ways must agree in every tie. */
#include "integers.h"

typedef struct Group {
    const char *name, *chain; /* operators, "+Relu" behind the layer and so on */
    int kernels, floats;      /* expected of the plan */
    int zero;                 /* of the results */
    bool float_end;
} Group;

static const Group groups[] = {
    { "Conv", "Conv", 1, 0, 3, false },
    { "Conv, Relu", "Conv Relu", 1, 0, 40, false },
    { "Conv, Clip", "Conv Clip", 1, 0, 17, false },
    { "Conv, Clip, Relu", "Conv Clip Relu", 1, 0, 200, false },
    { "Conv, float", "Conv", 1, 1, 0, true },
    { "Conv, Conv", "Conv Q Conv", 2, 0, 9, false },
    { "Conv, Add", "Conv Q Add", 2, 0, 30, false },
    { "Conv, Add, Relu", "Conv Q Add Relu", 2, 0, 30, false },
    { "Conv, MaxPool", "Conv Q MaxPool", 1, 0, 5, false },
    { "Conv, AveragePool", "Conv Q AveragePool", 2, 0, 5, false },
    { "Conv, GlobalAveragePool", "Conv Q GlobalAveragePool", 2, 0, 99, false },
    { "pad of floats, Conv", "Relu Pad Q Conv", 1, 2, 7, false },
    { "pad of floats, quantized twice", "Relu Pad Q MaxPool", 0, 3, 7, false },
    { "Conv, mean", "Conv Q Mean", 2, 0, 7, false },
    { "Conv, mean, flat", "Conv Q FlatMean", 2, 0, 7, false },
    { "Conv, mean of channels last", "Conv Q Turn LastMean Shape", 2, 0, 7, false },
    { "Conv, mean of channels last, bounded before", "Conv Relu Q Turn LastMean Shape", 2, 0, 7, false },
    { "Conv, mean of other axes", "Conv Q LastMean", 1, 2, 7, false },
    { "Conv, mean, float", "Conv Q FlatMean", 1, 2, 0, true },
    { "Conv, Flatten, Gemm", "Conv Q Flatten Q Gemm", 2, 0, 5, false },
    { "Conv, Flatten, Gemm, float", "Conv Q Flatten Q Gemm", 2, 1, 5, true },
};

static ValueId quantize(Graph *g, ValueId v, ValueId scale, ValueId zero, int index, bool back)
{
    char name[32];
    snprintf(name, sizeof name, "q%d", index);
    v = build_node(g, "QuantizeLinear", name, v, scale, zero, -1);
    snprintf(name, sizeof name, "d%d", index);
    return back ? build_node(g, "DequantizeLinear", name, v, scale, zero, -1) : v;
}

static ValueId dequantized(Graph *g, const char *name, DType type, const int64_t *dims, int rank, int axis, double limit, int exponent)
{
    Tensor t;
    Err err;
    Shape shape = shape_of(rank, dims);
    double scales[64];
    char text[32];
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, rint(limit * build_noise(5 + (uint64_t)exponent, i)));
    ValueId q = graph_add_constant(g, str_of(name), &t);
    for (int64_t k = 0; k < dims[axis]; k++) scales[k] = ldexp(1, -exponent - (int)(k % 3));
    snprintf(text, sizeof text, "%s_scale", name);
    ValueId scale = build_constant(g, text, DT_FLOAT, scales, &dims[axis], 1);
    snprintf(text, sizeof text, "%s_float", name);
    ValueId v = build_node(g, "DequantizeLinear", text, q, scale, -1);
    assert_ok(graph_set_int(g, build_maker(g, v), "axis", axis, &err), &err);
    return v;
}

/* Means over the image, with channels second (Mean, FlatMean) or last; and what brings them there and back. False: another operator. */
static bool mean_part(Graph *g, const char *op, const char *name, ValueId *v)
{
    Err err;
    bool last = strcmp(op, "LastMean") == 0, flat = strcmp(op, "FlatMean") == 0;
    if (strcmp(op, "Turn") == 0) {
        *v = build_node(g, "Transpose", name, *v, -1);
        assert_ok(graph_set_ints(g, build_maker(g, *v), "perm", (const int64_t[]){ 0, 2, 3, 1 }, 4, &err), &err);
    } else if (strcmp(op, "Shape") == 0) {
        const int64_t two = 2;
        *v = build_node(g, "Reshape", name, *v, build_constant(g, "shape", DT_INT64, (const double[]){ 2, 8 }, &two, 1), -1);
    } else if (last || flat || strcmp(op, "Mean") == 0) {
        *v = build_node(g, "ReduceMean", name, *v, -1);
        assert_ok(graph_set_ints(g, build_maker(g, *v), "axes", last ? (const int64_t[]){ 1, 2 } : (const int64_t[]){ -1, 2 }, 2, &err),
                  &err);
        assert_ok(graph_set_int(g, build_maker(g, *v), "keepdims", !flat, &err), &err);
    } else {
        return false;
    }
    return true;
}

/* x (uint8) -> DequantizeLinear -> the chain -> QuantizeLinear; every tensor between operators has scale 1/8. */
static Graph *group_graph(const Group *r)
{
    Graph *g = build_new(17);
    Err err;
    ValueId scale = number(g, "scale", DT_FLOAT, 0.125), zero = number(g, "zero", DT_UINT8, r->zero);
    ValueId x = build_input(g, "x", DT_UINT8, DIMS(2, 8, 8, 8)), x_zero = number(g, "x_zero", DT_UINT8, 7);
    ValueId v = build_node(g, "DequantizeLinear", "dx", x, scale, x_zero, -1), first = v;
    char chain[64], name[32];
    snprintf(chain, sizeof chain, "%s", r->chain);
    int index = 0;
    for (char *save = NULL, *op = strtok_r(chain, " ", &save); op != NULL; op = strtok_r(NULL, " ", &save), index++) {
        snprintf(name, sizeof name, "n%d", index);
        char w[32], b[32];
        snprintf(w, sizeof w, "w%d", index);
        snprintf(b, sizeof b, "b%d", index);
        if (strcmp(op, "Q") == 0) {
            v = quantize(g, v, scale, zero, index, true);
        } else if (strcmp(op, "Conv") == 0) {
            ValueId k = dequantized(g, w, DT_INT8, DIMS(8, 8, 3, 3), 0, 100, 4), bias = dequantized(g, b, DT_INT32, DIMS(8), 0, 3000, 7);
            v = build_node(g, op, name, v, k, bias, -1);
            assert_ok(graph_set_ints(g, build_maker(g, v), "pads", (const int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
        } else if (strcmp(op, "Gemm") == 0) {
            ValueId k = dequantized(g, w, DT_INT8, DIMS(10, 512), 0, 100, 4), bias = dequantized(g, b, DT_INT32, DIMS(10), 0, 90, 7);
            v = build_node(g, op, name, v, k, bias, -1);
            assert_ok(graph_set_int(g, build_maker(g, v), "transB", 1, &err), &err);
        } else if (strcmp(op, "Clip") == 0) {
            v = build_node(g, op, name, v, number(g, "low", DT_FLOAT, -3.3), number(g, "high", DT_FLOAT, 4.4), -1);
        } else if (strcmp(op, "Add") == 0) {
            v = build_node(g, op, name, v, first, -1);
        } else if (strcmp(op, "Pad") == 0) {
            const int64_t eight = 8;
            static const double around[] = { 0, 0, 1, 0, 0, 0, 2, 1 };
            v = build_node(g, op, name, v, build_constant(g, "around", DT_INT64, around, &eight, 1), -1);
        } else if (!mean_part(g, op, name, &v)) {
            v = build_node(g, op, name, v, -1);
        }
        if (strcmp(op, "MaxPool") == 0 || strcmp(op, "AveragePool") == 0) {
            assert_ok(graph_set_ints(g, build_maker(g, v), "kernel_shape", (const int64_t[]){ 2, 2 }, 2, &err), &err);
            assert_ok(graph_set_ints(g, build_maker(g, v), "strides", (const int64_t[]){ 2, 2 }, 2, &err), &err);
        }
    }
    build_output(g, r->float_end ? v : quantize(g, v, scale, zero, index, false));
    build_ready(g);
    return g;
}

static void groups_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        Graph *g = group_graph(&groups[i]);
        Tensor x = bytes(DT_UINT8, &graph_value(g, g->inputs[0])->shape, false);
        Tensor want = run(g, &x, (SessionOptions){ .threads = 1, .plain = true }, NULL, NULL);
        for (int threads = 1; threads <= 2; threads++) {
            int kernels, floats;
            Tensor got = run(g, &x, (SessionOptions){ .threads = threads }, &kernels, &floats);
            if (kernels != groups[i].kernels || floats != groups[i].floats)
                fail_msg("%s: %d integer kernels, %d float tensors", groups[i].name, kernels, floats);
            assert_same(groups[i].name, &got, &want);
            tensor_release(&got);
        }
        tensor_release(&x);
        tensor_release(&want);
        graph_free(g);
    }
}

/* --- watched values are made, wherever in a group they lie */

typedef struct Seen {
    ValueId value;
    Tensor tensor;
} Seen;

static Status see(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    Seen *seen = user;
    seen->value = value;
    tensor_release(&seen->tensor);
    return tensor_clone(tensor, &seen->tensor, err);
}

static void watched_values_are_seen(void **state)
{
    (void)state;
    Graph *g = group_graph(&groups[7]); /* Conv Q Add Relu */
    Tensor x = bytes(DT_UINT8, &graph_value(g, g->inputs[0])->shape, false), out[2][1];
    static const char *const names[] = { "dx", "n0", "q1", "d1", "n2", "n3", "q4" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Seen seen[2] = { { 0 } };
        for (int plain = 0; plain < 2; plain++) {
            Session *s;
            Err err;
            assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .plain = plain == 1 }, &s, &err), &err);
            ValueId v = graph_find_value(session_graph(s), str_of(names[i]));
            assert_ok(session_observe(s, &v, 1, see, &seen[plain], &err), &err);
            assert_ok(session_run(s, &x, out[plain], &err), &err);
            if (seen[plain].tensor.data == NULL) fail_msg("%s was not seen", names[i]);
            assert_int_equal(seen[plain].value, graph_find_value(g, str_of(names[i])));
            tensor_release(&out[plain][0]);
            assert_ok(session_observe(s, NULL, 0, NULL, NULL, &err), &err);
            assert_ok(session_run(s, &x, out[plain], &err), &err);
            session_free(s);
        }
        assert_same(names[i], &seen[0].tensor, &seen[1].tensor);
        assert_same(names[i], &out[0][0], &out[1][0]);
        for (int k = 0; k < 2; k++) {
            tensor_release(&seen[k].tensor);
            tensor_release(&out[k][0]);
        }
    }
    tensor_release(&x);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_agree),
        cmocka_unit_test(watched_values_are_seen),
        cmocka_unit_test(instruction_sets),
    };
    return run_integer_tests(tests, sizeof tests / sizeof *tests);
}
