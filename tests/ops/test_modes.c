/* Random convolutional networks, in float32 and with quantized groups, in every way the engine can run them: plain operators, all kernels,
 * integers or float32 in quantized convolutions. Seeds are fixed; PARE_SEEDS=N runs more. */
#include "test.h"

#include "build_graph.h"

#define SEEDS 60
#define LAYERS 7
#define STEP (4.091 / 127 * 1.013) /* of the coarsest grid */

typedef struct Maker {
    Graph *g;
    uint64_t seed;
    int64_t drawn, size[3]; /* channels, height, width now */
    int names;
    bool quantized;
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
    static const int64_t channels[] = { 3, 8, 16, 20 };
    char text[32];
    Err err;
    bool depthwise = draw(m, 3) == 0;
    int64_t c = m->size[0], kernel = draw(m, 2) == 0 ? 1 : 3, stride = m->size[1] > 4 && m->size[2] > 4 && draw(m, 3) == 0 ? 2 : 1;
    int64_t filters = depthwise || draw(m, 3) == 0 ? c : channels[draw(m, 4)];
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

static Graph *random_network(uint64_t seed, bool quantized)
{
    char text[32];
    Maker m = { .g = build_new(17), .seed = 1000 + 2 * seed, .quantized = quantized };
    m.size[0] = draw(&m, 2) == 0 ? 1 : 3;
    for (int i = 1; i < 3; i++) m.size[i] = 6 + draw(&m, 9);
    m.at = rounded(&m, build_input(m.g, "x", DT_FLOAT, (int64_t[]){ -1, m.size[0], m.size[1], m.size[2] }, 4), 1);
    for (int i = 0; i < LAYERS; i++) {
        ValueId before = m.at;
        int64_t kind = draw(&m, 6), size[3] = { m.size[0], m.size[1], m.size[2] };
        if (kind == 0 && size[1] > 3 && size[2] > 3) pooling(&m);
        else if (kind < 3 && m.earlier != 0 && memcmp(size, m.earlier_size, sizeof size) == 0)
            m.at = rounded(&m, build_node(m.g, "Add", name(&m, "add", text), m.at, m.earlier, -1), 4.091);
        else convolution(&m);
        if (m.earlier != 0 && draw(&m, 2) == 0) continue;
        m.earlier = before;
        memcpy(m.earlier_size, size, sizeof size);
    }
    build_output(m.g, build_node(m.g, "GlobalAveragePool", "mean", m.at, -1));
    build_output(m.g, m.at);
    build_ready(m.g);
    return m.g;
}

static const struct {
    const char *name;
    SessionOptions options;
} modes[] = {
    { "plain", { .threads = 1, .plain = true } },        { "kernels", { .threads = 1 } },
    { "two threads", { .threads = 2 } },                 { "the faster", { .threads = 1, .int8 = INT8_AUTO } },
    { "float32", { .threads = 1, .int8 = INT8_NEVER } },
};
#define MODES (sizeof modes / sizeof *modes)

static void run(const Graph *g, const SessionOptions *options, Tensor y[2])
{
    Session *s;
    Tensor x;
    Err err;
    Shape shape = graph_value(g, g->inputs[0])->shape;
    shape.dims[0] = 3;
    assert_ok(tensor_new(&x, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&x); i++) tensor_set(&x, i, build_noise(5, i));
    assert_ok(session_new(g, options, &s, &err), &err);
    assert_ok(session_run(s, &x, y, &err), &err);
    session_free(s);
    tensor_release(&x);
}

static double largest_gap(const Tensor *a, const Tensor *b)
{
    double gap = 0;
    assert_true(shape_eq(&a->shape, &b->shape));
    for (int64_t i = 0; i < tensor_count(a); i++) gap = fmax(gap, fabs(tensor_get(a, i) - tensor_get(b, i)));
    return gap;
}

/* Where nothing is quantized results are near; where groups are, those that a tie turned are few, and a step of one layer off. */
static void random_row(bool quantized)
{
    const char *more = getenv("PARE_SEEDS");
    int64_t seeds = more != NULL ? atoi(more) : SEEDS, elements = 0, off[MODES] = { 0 };
    for (int64_t seed = 0; seed < seeds; seed++) {
        Graph *g = random_network((uint64_t)seed, quantized);
        Tensor y[MODES][2];
        for (size_t m = 0; m < MODES; m++) run(g, &modes[m].options, y[m]);
        for (size_t m = 1; m < MODES; m++) {
            for (int o = 0; o < 2; o++) {
                double distance = quantized ? largest_gap(&y[m][o], &y[0][o]) : build_distance(&y[m][o], &y[0][o]);
                if (!(distance <= (quantized ? 2.5 * STEP : 1e-5)))
                    fail_msg("seed %d, %s, output %d: %g from the plain operators", (int)seed, modes[m].name, o, distance);
            }
            for (int64_t i = 0; i < tensor_count(&y[0][1]); i++)
                off[m] += fabs(tensor_get(&y[m][1], i) - tensor_get(&y[0][1], i)) > 1e-3;
        }
        elements += tensor_count(&y[0][1]);
        for (size_t m = 0; m < MODES; m++)
            for (int o = 0; o < 2; o++) tensor_release(&y[m][o]);
        graph_free(g);
    }
    for (size_t m = 1; m < MODES; m++) {
        print_message("%s: %lld of %lld results are off\n", modes[m].name, (long long)off[m], (long long)elements);
        assert_true(off[m] * 1000 <= elements);
    }
}

static void floats(void **state)
{
    (void)state;
    random_row(false);
}

static void integers(void **state)
{
    (void)state;
    random_row(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(floats), cmocka_unit_test(integers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
