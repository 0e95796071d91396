/* Batches in pieces: the same bytes for any number of threads, what the whole batch gives in the plain forward, and only for networks whose
 * samples do not know of each other. */
#include "test.h"

#include "build_graph.h"
#include "engine/lanes.h"

#define CHANNELS 16

/* Behind Conv and Relu of [N, 16, 24, 24]; "" for nothing. */
typedef struct Row {
    const char *name;
    int form;
    bool pieces;
} Row;

enum { PLAIN, FLAT, CLASSES, JOINED, TURNED, ACROSS, SCALED, BATCH_CONSTANT, MEAN, MEAN_OF_ALL, TURNED_BATCH, FLAT_ALL, QUANTIZED, SHAPED,
       PADDED, SHIFTED, ENLARGED, STRETCHED, CUT, CUT_ALL, REVERSED };

static const Row rows[] = {
    { "convolutions", PLAIN, true },
    { "flattened, a product", FLAT, true },
    { "Softmax over classes", CLASSES, true },
    { "Concat of channels", JOINED, true },
    { "channels last", TURNED, true },
    { "Softmax over samples", ACROSS, false },
    { "a factor for each channel", SCALED, true },
    { "a factor for each sample", BATCH_CONSTANT, false },
    { "mean of pixels", MEAN, true },
    { "mean of samples", MEAN_OF_ALL, false },
    { "batch moved", TURNED_BATCH, false },
    { "samples in one row", FLAT_ALL, false },
    { "integers", QUANTIZED, true },
    { "reshaped by its own shape", SHAPED, true },
    { "padded channels", PADDED, true },
    { "samples moved by a Pad", SHIFTED, false },
    { "resized", ENLARGED, true },
    { "resized along the batch", STRETCHED, false },
    { "every second pixel", CUT, true },
    { "every second pixel of all samples", CUT_ALL, true },
    { "samples the other way round", REVERSED, false },
};

static ValueId ends(Graph *g, int form, ValueId y, int64_t batch)
{
    Err err;
    ValueId z = 0;
    int64_t axes[2] = { 2, 3 };
    double sizes[2] = { 0, -1 };
    switch (form) {
    case PLAIN: return y;
    case FLAT:
        z = build_node(g, "Flatten", "flat", build_node(g, "GlobalAveragePool", "pool", y, -1), -1);
        return build_node(g, "Gemm", "z", z, build_weight(g, "matrix", 8, DIMS(CHANNELS, 10)), build_weight(g, "row", 9, DIMS(10)), -1);
    case CLASSES:
    case ACROSS:
        z = build_node(g, "Softmax", "z", y, -1);
        assert_ok(graph_set_int(g, build_maker(g, z), "axis", form == ACROSS ? 0 : 1, &err), &err);
        return z;
    case JOINED:
        z = build_node(g, "Concat", "z", y, y, -1);
        assert_ok(graph_set_int(g, build_maker(g, z), "axis", 1, &err), &err);
        return z;
    case TURNED:
    case TURNED_BATCH:
        z = build_node(g, "Transpose", "z", y, -1);
        if (form == TURNED) assert_ok(graph_set_ints(g, build_maker(g, z), "perm", (int64_t[]){ 0, 2, 3, 1 }, 4, &err), &err);
        else assert_ok(graph_set_ints(g, build_maker(g, z), "perm", (int64_t[]){ 1, 0, 2, 3 }, 4, &err), &err);
        return z;
    case SCALED: return build_node(g, "Mul", "z", y, build_weight(g, "factor", 8, DIMS(CHANNELS, 1, 1)), -1);
    case BATCH_CONSTANT: return build_node(g, "Mul", "z", y, build_weight(g, "factor", 8, DIMS(batch, 1, 1, 1)), -1);
    case MEAN:
    case MEAN_OF_ALL:
        z = build_node(g, "ReduceMean", "z", y, -1);
        if (form == MEAN_OF_ALL) axes[0] = 0;
        assert_ok(graph_set_ints(g, build_maker(g, z), "axes", axes, 2, &err), &err);
        return z;
    case FLAT_ALL:
        z = build_node(g, "Flatten", "z", y, -1);
        assert_ok(graph_set_int(g, build_maker(g, z), "axis", 0, &err), &err);
        return z;
    case QUANTIZED:
        for (int i = 0; i < 2; i++) {
            ValueId scale = build_constant(g, i ? "s2" : "s1", DT_FLOAT, (double[]){ 0.05 }, NULL, 0);
            ValueId zero = build_constant(g, i ? "z2" : "z1", DT_UINT8, (double[]){ 3 }, NULL, 0);
            y = build_node(g, "QuantizeLinear", i ? "q2" : "q1", y, scale, zero, -1);
            y = build_node(g, "DequantizeLinear", i ? "d2" : "d1", y, scale, zero, -1);
            if (i == 0) y = build_node(g, "AveragePool", "a", y, -1);
            if (i == 0) assert_ok(graph_set_ints(g, build_maker(g, y), "kernel_shape", (int64_t[]){ 2, 2 }, 2, &err), &err);
        }
        return y;
    case PADDED:
    case SHIFTED:
        z = build_constant(g, "ends", DT_INT64, (double[]){ form == SHIFTED, 0, 0, 0, -(form == SHIFTED), 2, 0, 0 }, DIMS(8));
        return build_node(g, "Pad", "z", y, z, -1);
    case ENLARGED:
    case STRETCHED:
        z = build_constant(g, "scales", DT_FLOAT, (double[]){ form == STRETCHED ? 1.01 : 1, 1, 2, 1 }, DIMS(4));
        return build_node(g, "Resize", "z", y, 0, z, -1);
    case CUT:
    case CUT_ALL:
    case REVERSED: {
        double axes_of[2] = { form == CUT ? 2 : 0, 3 }, step[2] = { form == REVERSED ? -1 : form == CUT ? 2 : 1, 2 };
        double from[2] = { form == REVERSED ? -1 : 0, 0 }, to[2] = { form == REVERSED ? -1e9 : 1e9, 1e9 };
        ValueId cut_axes = build_constant(g, "axes", DT_INT64, axes_of, DIMS(2));
        ValueId steps = build_constant(g, "steps", DT_INT64, step, DIMS(2)), first = build_constant(g, "from", DT_INT64, from, DIMS(2));
        return build_node(g, "Slice", "z", y, first, build_constant(g, "to", DT_INT64, to, DIMS(2)), cut_axes, steps, -1);
    }
    default: /* SHAPED */
        z = build_constant(g, "ends", DT_INT64, sizes, DIMS(2));
        return build_node(g, "Reshape", "z", y, z, -1);
    }
}

static Graph *make(const Row *r, int64_t batch)
{
    Graph *g = build_new(17);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(-1, 8, 24, 24));
    ValueId w = build_weight(g, "w", 3, DIMS(CHANNELS, 8, 3, 3));
    ValueId a = build_node(g, "Conv", "a1", x, w, build_weight(g, "b", 4, DIMS(CHANNELS)), -1);
    assert_ok(graph_set_ints(g, build_maker(g, a), "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    a = build_node(g, "Relu", "r", a, -1);
    build_output(g, ends(g, r->form, a, batch));
    build_ready(g);
    return g;
}

static Tensor run(const Graph *g, int threads, bool plain, int64_t batch, int64_t *piece)
{
    Session *s;
    Err err;
    Tensor x = { 0 }, y[1] = { { 0 } };
    Shape shape = shape_of(4, (int64_t[]){ batch, 8, 24, 24 });
    assert_ok(tensor_new(&x, DT_FLOAT, &shape, &err), &err);
    for (int64_t k = 0; k < tensor_count(&x); k++) tensor_set(&x, k, build_noise(5, k));
    assert_ok(session_new(g, &(SessionOptions){ .threads = threads, .plain = plain }, &s, &err), &err);
    assert_ok(lanes_piece(s, &x, piece, &err), &err);
    assert_ok(session_run(s, &x, y, &err), &err);
    tensor_release(&y[0]);
    assert_ok(session_run(s, &x, y, &err), &err); /* plans are there already */
    session_free(s);
    tensor_release(&x);
    return y[0];
}

static void test_rows(void **state)
{
    (void)state;
    static const int64_t batches[] = { 2, 8, 13, 24 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
            Graph *g = make(&rows[i], batches[k]);
            int64_t piece, none;
            Tensor plain = run(g, 1, true, batches[k], &none), one = run(g, 1, false, batches[k], &piece);
            assert_int_equal(none, 0);
            bool large = batches[k] * CHANNELS * 24 * 24 * 72 >= 4000000;
            if ((piece > 0) != (rows[i].pieces && large))
                fail_msg("%s, %lld samples: pieces of %lld", rows[i].name, (long long)batches[k], (long long)piece);
            /* an integer may fall to the other side of a step */
            double allowed = rows[i].form == QUANTIZED ? 0.02 : 1e-5, distance = build_distance(&one, &plain);
            if (!(distance <= allowed)) fail_msg("%s, %lld samples: %g from plain", rows[i].name, (long long)batches[k], distance);
            for (int threads = 2; threads < 4; threads++) {
                int64_t same;
                Tensor more = run(g, threads, false, batches[k], &same);
                assert_int_equal(same, piece);
                assert_true(more.bytes == one.bytes && memcmp(more.data, one.data, one.bytes) == 0);
                tensor_release(&more);
            }
            tensor_release(&plain);
            tensor_release(&one);
            graph_free(g);
        }
}

static Status count(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    (void)value, (void)err;
    *(int64_t *)user += tensor->shape.dims[0];
    return OK;
}

/* Who watches a value sees the whole batch of it. */
static void test_watched(void **state)
{
    (void)state;
    Graph *g = make(&rows[0], 8);
    Session *s;
    Err err;
    int64_t seen = 0, piece;
    Tensor x = { 0 }, y[1] = { { 0 } };
    Shape shape = shape_of(4, (int64_t[]){ 8, 8, 24, 24 });
    ValueId inner = graph_find_value(g, STR("a1"));
    assert_ok(tensor_new(&x, DT_FLOAT, &shape, &err), &err);
    assert_ok(session_new(g, &(SessionOptions){ .threads = 2 }, &s, &err), &err);
    assert_ok(session_run(s, &x, y, &err), &err);
    tensor_release(&y[0]);
    assert_ok(session_observe(s, &inner, 1, count, &seen, &err), &err);
    assert_ok(lanes_piece(s, &x, &piece, &err), &err);
    assert_int_equal(piece, 0);
    assert_ok(session_run(s, &x, y, &err), &err);
    assert_int_equal(seen, 8);
    tensor_release(&y[0]);
    tensor_release(&x);
    session_free(s);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_watched) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
