/* oneDNN's recurrent cells against the plain forward: every combination that it takes, and what it must leave alone. */
#include "test.h"

#include "build_graph.h"
#include "engine/kernel.h"

#define SEQUENCE 6 /* steps where a row does not say */

/* One cell over noise; what is there besides X, W and R is named in `with`. */
typedef struct Row {
    const char *name, *op;
    const char *with; /* B h c P: inputs; L: sequence_lens to the end; S: shorter ones; 1: layout 1; z: linear_before_reset; clip; forget */
    const char *direction; /* NULL: forward */
    const char *outputs;   /* of "Yhc" those that are there; NULL: all */
    const char *activations[3]; /* of one direction; NULL: the usual ones */
    int64_t steps, batch, hidden; /* 0: SEQUENCE, 3, 19 */
    bool fed, plain; /* weights are inputs; oneDNN does not take the row */
} Row;

static bool has(const Row *r, const char *what)
{
    return r->with != NULL && strstr(r->with, what) != NULL;
}

static int directions_of(const Row *r)
{
    return r->direction != NULL && strcmp(r->direction, "bidirectional") == 0 ? 2 : 1;
}

static ValueId operand(Graph *g, const Row *r, const char *name, uint64_t seed, double scale, const int64_t *dims, int rank)
{
    if (r->fed) return build_input(g, name, DT_FLOAT, dims, rank);
    Shape shape = shape_of(rank, dims);
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, scale * build_noise(seed, i));
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

static ValueId lengths(Graph *g, const Row *r, int64_t steps, int64_t batch)
{
    double all[64];
    for (int64_t b = 0; b < batch; b++) all[b] = (double)(has(r, "S") && b == 1 ? steps / 2 : steps);
    return build_constant(g, "lengths", DT_INT32, all, DIMS(batch));
}

static void set_attributes(Graph *g, NodeId n, const Row *r, int64_t hidden)
{
    Err err;
    assert_ok(graph_set_int(g, n, "hidden_size", hidden, &err), &err);
    if (r->direction != NULL) assert_ok(graph_set_string(g, n, "direction", str_of(r->direction), &err), &err);
    if (has(r, "1")) assert_ok(graph_set_int(g, n, "layout", 1, &err), &err);
    if (has(r, "z")) assert_ok(graph_set_int(g, n, "linear_before_reset", 1, &err), &err);
    if (has(r, "clip")) assert_ok(graph_set_float(g, n, "clip", 0.3f, &err), &err);
    if (has(r, "forget")) assert_ok(graph_set_int(g, n, "input_forget", 1, &err), &err);
    if (r->activations[0] == NULL) return;
    assert_ok(graph_set_string(g, n, "activations", STR(""), &err), &err);
    Attr *list = (Attr *)(uintptr_t)&graph_node(g, n)->attrs[graph_node(g, n)->attr_count - 1];
    Str *names = arena_array(g->arena, 6, sizeof *names);
    assert_non_null(names);
    int count = 0;
    for (int d = 0; d < directions_of(r); d++)
        for (int i = 0; i < 3 && r->activations[i] != NULL; i++) names[count++] = str_of(r->activations[i]);
    list->type = ATTR_STRINGS;
    list->strings = names;
    list->count = count;
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(17);
    bool lstm = strcmp(r->op, "LSTM") == 0, first = has(r, "1");
    int64_t t = r->steps != 0 ? r->steps : SEQUENCE, b = r->batch != 0 ? r->batch : 3, h = r->hidden != 0 ? r->hidden : 19, i = 5;
    int64_t gates = lstm ? 4 : strcmp(r->op, "GRU") == 0 ? 3 : 1, d = directions_of(r), rows = gates * h;
    double scale = 1 / sqrt((double)h);
    ValueId in[8] = { build_input(g, "x", DT_FLOAT, DIMS(first ? b : t, first ? t : b, i)) };
    in[1] = operand(g, r, "w", 1, scale, DIMS(d, rows, i));
    in[2] = operand(g, r, "r", 2, scale, DIMS(d, rows, h));
    if (has(r, "B")) in[3] = operand(g, r, "b", 3, 0.5, DIMS(d, 2 * rows));
    if (has(r, "L") || has(r, "S")) in[4] = lengths(g, r, t, b);
    if (has(r, "h")) in[5] = build_input(g, "h0", DT_FLOAT, DIMS(first ? b : d, first ? d : b, h));
    if (has(r, "c")) in[6] = build_input(g, "c0", DT_FLOAT, DIMS(first ? b : d, first ? d : b, h));
    if (has(r, "P")) in[7] = operand(g, r, "p", 4, 0.5, DIMS(d, 3 * h));
    static const char *const names[] = { "Y", "Yh", "Yc" };
    ValueId out[3] = { 0 };
    int count = lstm ? 3 : 2;
    for (int k = 0; k < count; k++)
        if (r->outputs == NULL || strchr(r->outputs, "Yhc"[k]) != NULL) out[k] = graph_add_value(g, str_of(names[k]), DT_NONE, NULL);
    NodeId n = graph_add_node(g, r->op, "", STR("cell"), in, lstm ? 8 : 6, out, count);
    assert_true(n != 0);
    set_attributes(g, n, r, h);
    for (int k = 0; k < count; k++)
        if (out[k] != 0) build_output(g, out[k]);
    build_ready(g);
    return g;
}

/* Whether a kernel row takes the cell. */
static bool is_taken(const Graph *g)
{
    Err err;
    const Node *n = graph_node(g, g->order[0]);
    KernelSite site = { .graph = g, .node = n, .opset = 17, .input_count = n->input_count, .output_count = n->output_count, .err = &err };
    for (int i = 0; i < n->input_count; i++) {
        site.value[i] = n->inputs[i];
        if (n->inputs[i] == 0) continue;
        const Value *v = graph_value(g, n->inputs[i]);
        site.in[i] = (TypeInfo){ v->type, v->shape };
        site.constant[i] = v->tensor;
    }
    return kernel_find(&site, NULL) != NULL;
}

static void run(const Graph *g, bool plain, int threads, Tensor *outputs)
{
    Err err;
    ValueId feeds[8];
    Tensor inputs[8] = { 0 };
    int count = graph_feeds(g, feeds, 8);
    assert_true(count <= 8);
    for (int i = 0; i < count; i++) {
        assert_ok(tensor_new(&inputs[i], DT_FLOAT, &graph_value(g, feeds[i])->shape, &err), &err);
        for (int64_t k = 0; k < tensor_count(&inputs[i]); k++) tensor_set(&inputs[i], k, build_noise(77 + (uint64_t)i, k));
    }
    Session *session;
    SessionOptions options = { .threads = threads, .plain = plain };
    assert_ok(session_new(g, &options, &session, &err), &err);
    assert_ok(session_run(session, inputs, outputs, &err), &err);
    session_free(session);
    for (int i = 0; i < count; i++) tensor_release(&inputs[i]);
}

#define BI .direction = "bidirectional"
#define REVERSE .direction = "reverse"
#define PLAIN .plain = true

static const Row rows[] = {
    { .name = "bare", .op = "LSTM" },
    { .name = "biases", .op = "LSTM", .with = "B" },
    { .name = "both states", .op = "LSTM", .with = "Bhc" },
    { .name = "initial_h alone", .op = "LSTM", .with = "Bh" },
    { .name = "initial_c alone", .op = "LSTM", .with = "Bc" },
    { .name = "peepholes", .op = "LSTM", .with = "BhcP" },
    { .name = "reverse", .op = "LSTM", .with = "BhcP", REVERSE },
    { .name = "both directions", .op = "LSTM", .with = "BhcP", BI },
    { .name = "both directions, initial_c alone", .op = "LSTM", .with = "Bc", BI },
    { .name = "batch first", .op = "LSTM", .with = "BhcP1" },
    { .name = "batch first, reverse", .op = "LSTM", .with = "Bhc1", REVERSE },
    { .name = "batch first, both directions", .op = "LSTM", .with = "BhcP1", BI },
    { .name = "full lengths", .op = "LSTM", .with = "BLhc", BI },
    { .name = "Y alone", .op = "LSTM", .with = "Bhc", BI, .outputs = "Y" },
    { .name = "Y_h alone", .op = "LSTM", .with = "Bhc", BI, .outputs = "h" },
    { .name = "Y_c alone", .op = "LSTM", .with = "Bhc1", BI, .outputs = "c" },
    { .name = "one step", .op = "LSTM", .with = "Bhc", .steps = 1 },
    { .name = "one step, both directions", .op = "LSTM", .with = "Bhc", BI, .steps = 1 },
    { .name = "a batch of one", .op = "LSTM", .with = "Bhc", BI, .batch = 1 },
    { .name = "a batch of one first", .op = "LSTM", .with = "Bhc1", BI, .batch = 1 },
    { .name = "a batch of forty", .op = "LSTM", .with = "BhcP", BI, .batch = 40, .hidden = 32 },
    { .name = "one step of a batch of forty", .op = "LSTM", .with = "BhcP", .steps = 1, .batch = 40, .hidden = 64 },
    { .name = "eight units", .op = "LSTM", .with = "BhcP", BI, .batch = 9, .hidden = 8 },
    { .name = "work for two threads", .op = "LSTM", .with = "Bhc", BI, .batch = 40, .hidden = 128 },
    { .name = "rows for two threads", .op = "LSTM", .with = "BhcP", BI, .batch = 32, .hidden = 64 },
    { .name = "rows for two threads, batch first", .op = "LSTM", .with = "Bhc1", .batch = 29, .hidden = 64 },
    { .name = "a row left over", .op = "LSTM", .with = "Bhc", .batch = 17, .hidden = 72 },
    { .name = "panels for two threads", .op = "LSTM", .with = "Bhc", BI, .batch = 1, .hidden = 264, .steps = 7 },
    { .name = "usual activations named", .op = "LSTM", .with = "Bhc", .activations = { "sigmoid", "Tanh", "tanh" } },
    { .name = "other activations", .op = "LSTM", .with = "Bhc", .activations = { "Sigmoid", "Relu", "Tanh" }, PLAIN },
    { .name = "clip", .op = "LSTM", .with = "Bhc clip", PLAIN },
    { .name = "input_forget", .op = "LSTM", .with = "B forget", PLAIN },
    { .name = "different lengths", .op = "LSTM", .with = "BS", PLAIN },
    { .name = "weights fed", .op = "LSTM", .with = "Bhc", .fed = true, PLAIN },
    { .name = "few units", .op = "LSTM", .with = "Bhc", .hidden = 7, PLAIN },
    { .name = "eight units of a small batch", .op = "LSTM", .with = "Bhc", .hidden = 8, PLAIN },
    { .name = "bare", .op = "GRU" },
    { .name = "biases", .op = "GRU", .with = "B" },
    { .name = "state", .op = "GRU", .with = "Bh" },
    { .name = "reverse", .op = "GRU", .with = "Bh", REVERSE },
    { .name = "both directions", .op = "GRU", .with = "Bh", BI },
    { .name = "batch first, both directions", .op = "GRU", .with = "Bh1", BI },
    { .name = "full lengths", .op = "GRU", .with = "BLh", BI },
    { .name = "Y_h alone", .op = "GRU", .with = "Bh", BI, .outputs = "h" },
    { .name = "Y alone", .op = "GRU", .with = "Bh", BI, .outputs = "Y" },
    { .name = "one step", .op = "GRU", .with = "Bh", .steps = 1 },
    { .name = "a batch of forty", .op = "GRU", .with = "Bh", BI, .batch = 40, .hidden = 32 },
    { .name = "work for two threads", .op = "GRU", .with = "Bh", BI, .batch = 48, .hidden = 128 },
    { .name = "linear", .op = "GRU", .with = "z" },
    { .name = "linear, biases", .op = "GRU", .with = "Bz" },
    { .name = "linear, state", .op = "GRU", .with = "Bhz" },
    { .name = "linear, reverse", .op = "GRU", .with = "Bhz", REVERSE },
    { .name = "linear, both directions", .op = "GRU", .with = "Bhz", BI },
    { .name = "linear, batch first, both directions", .op = "GRU", .with = "Bhz1", BI },
    { .name = "linear, Y_h alone", .op = "GRU", .with = "Bhz", BI, .outputs = "h" },
    { .name = "linear, one step", .op = "GRU", .with = "Bhz", .steps = 1 },
    { .name = "linear, a batch of forty", .op = "GRU", .with = "Bhz", BI, .batch = 40, .hidden = 32 },
    { .name = "linear, eight units", .op = "GRU", .with = "Bhz", .batch = 33, .steps = 1, .hidden = 8 },
    { .name = "linear, rows for two threads", .op = "GRU", .with = "Bhz", REVERSE, .batch = 32, .hidden = 64 },
    { .name = "linear, panels for two threads", .op = "GRU", .with = "Bhz1", BI, .batch = 2, .hidden = 216, .steps = 7 },
    { .name = "linear, work for two threads", .op = "GRU", .with = "Bhz", BI, .batch = 48, .hidden = 128 },
    { .name = "other activations", .op = "GRU", .with = "Bh", .activations = { "HardSigmoid", "Tanh" }, PLAIN },
    { .name = "clip", .op = "GRU", .with = "Bh clip", PLAIN },
    { .name = "different lengths", .op = "GRU", .with = "BhS", PLAIN },
    { .name = "few units", .op = "GRU", .with = "Bh", .hidden = 12, PLAIN },
    { .name = "bare", .op = "RNN" },
    { .name = "biases, state", .op = "RNN", .with = "Bh" },
    { .name = "reverse", .op = "RNN", .with = "Bh", REVERSE },
    { .name = "both directions", .op = "RNN", .with = "Bh", BI },
    { .name = "batch first, both directions", .op = "RNN", .with = "Bh1", BI },
    { .name = "full lengths", .op = "RNN", .with = "BLh" },
    { .name = "Y_h alone", .op = "RNN", .with = "Bh", BI, .outputs = "h" },
    { .name = "Relu", .op = "RNN", .with = "Bh", BI, .activations = { "Relu" } },
    { .name = "Sigmoid", .op = "RNN", .with = "Bh", BI, .activations = { "Sigmoid" } },
    { .name = "LeakyRelu", .op = "RNN", .with = "Bh", BI, .activations = { "LeakyRelu" } },
    { .name = "one step", .op = "RNN", .with = "Bh", .steps = 1 },
    { .name = "a batch of forty", .op = "RNN", .with = "Bh", .batch = 40, .hidden = 32 },
    { .name = "work for two threads", .op = "RNN", .with = "Bh", .batch = 64, .hidden = 256 },
    { .name = "other activation", .op = "RNN", .with = "Bh", .activations = { "Softsign" }, PLAIN },
    { .name = "Affine", .op = "RNN", .with = "Bh", .activations = { "Affine" }, PLAIN },
    { .name = "different lengths", .op = "RNN", .with = "BhS", PLAIN },
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        Tensor plain[3] = { 0 }, fast[3] = { 0 };
        if (is_taken(g) == rows[i].plain) fail_msg("%s '%s' is%s taken", rows[i].op, rows[i].name, rows[i].plain ? "" : " not");
        run(g, true, 1, plain);
        run(g, false, 1, fast);
        for (int k = 0; k < g->output_count; k++) {
            double distance = build_distance(&fast[k], &plain[k]);
            assert_true(shape_eq(&plain[k].shape, &fast[k].shape));
            if (!(distance <= (rows[i].plain ? 0 : 2e-6))) fail_msg("%s '%s', output %d: %g", rows[i].op, rows[i].name, k, distance);
            tensor_release(&plain[k]);
            tensor_release(&fast[k]);
        }
        graph_free(g);
    }
}

static void test_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        Tensor one[3] = { 0 }, two[3] = { 0 };
        run(g, false, 1, one);
        run(g, false, 2, two);
        for (int k = 0; k < g->output_count; k++) {
            if (memcmp(one[k].data, two[k].data, one[k].bytes) != 0) fail_msg("%s '%s', output %d", rows[i].op, rows[i].name, k);
            tensor_release(&one[k]);
            tensor_release(&two[k]);
        }
        graph_free(g);
    }
}

/* One unit that takes x as it is, with activations that have numbers but are given none. */
static void test_default_numbers(void **state)
{
    (void)state;
    static const double x[] = { -2, -0.5, 0, 0.5, 1, 2 };
    static const struct { const char *name; double expected[6]; } table[] = {
        { "Affine", { -2, -0.5, 0, 0.5, 1, 2 } },
        { "ScaledTanh", { -0.9640276, -0.4621172, 0, 0.4621172, 0.7615942, 0.9640276 } },
        { "ThresholdedRelu", { 0, 0, 0, 0, 0, 2 } },
        { "LeakyRelu", { -0.02, -0.005, 0, 0.5, 1, 2 } },
        { "HardSigmoid", { 0.1, 0.4, 0.5, 0.6, 0.7, 0.9 } },
        { "Elu", { -0.8646647, -0.3934693, 0, 0.5, 1, 2 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Graph *g = build_new(17);
        Row row = { .name = table[i].name, .op = "RNN", .activations = { table[i].name } };
        ValueId v = build_constant(g, "x", DT_FLOAT, x, DIMS(1, 6, 1));
        ValueId one = build_constant(g, "w", DT_FLOAT, (double[]){ 1 }, DIMS(1, 1, 1));
        ValueId none = build_constant(g, "r", DT_FLOAT, (double[]){ 0 }, DIMS(1, 1, 1)), y = build_node(g, "RNN", "y", v, one, none, -1);
        set_attributes(g, build_maker(g, y), &row, 1);
        build_output(g, y);
        build_ready(g);
        Tensor out[1] = { { 0 } };
        run(g, true, 1, out);
        for (int k = 0; k < 6; k++) assert_near(tensor_get(&out[0], k), table[i].expected[k], 1e-6);
        tensor_release(&out[0]);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_default_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
