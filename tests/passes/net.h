/* Small networks built by hand, and a pass run on them: for the tests of passes. */
#ifndef PARE_TESTS_NET_H
#define PARE_TESTS_NET_H

#include "test.h"

#include "base/rng.h"
#include "engine/engine.h"
#include "graph/edit.h"
#include "graph/pass.h"
#include "graph/verify.h"

#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (const int64_t[]){ __VA_ARGS__ }

static inline Graph *net_new(int opset)
{
    Err err;
    Graph *g = graph_new(NULL);
    assert_non_null(g);
    g->ir_version = 8;
    g->name = STR("net");
    assert_ok(graph_set_opset(g, STR(""), opset, &err), &err);
    return g;
}

static inline ValueId net_feed(Graph *g, const char *name, DType type, int rank, const int64_t *dims)
{
    Shape shape = shape_of(rank, dims);
    ValueId v = graph_add_value(g, str_of(name), type, &shape);
    assert_true(v != 0);
    g->inputs = realloc(g->inputs, sizeof *g->inputs * (size_t)(g->input_count + 1));
    g->inputs[g->input_count++] = v;
    graph_value(g, v)->flags |= VALUE_INPUT | VALUE_TENSOR | VALUE_DECLARED;
    return v;
}

static inline void net_output(Graph *g, ValueId v)
{
    g->outputs = realloc(g->outputs, sizeof *g->outputs * (size_t)(g->output_count + 1));
    g->outputs[g->output_count++] = v;
    graph_value(g, v)->flags |= VALUE_OUTPUT;
}

/* `values` NULL: seeded standard normal. */
static inline ValueId net_constant(Graph *g, const char *name, DType type, int rank, const int64_t *dims, const double *values)
{
    Err err;
    Tensor t;
    Shape shape = shape_of(rank, dims);
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    Rng rng;
    rng_init(&rng, strlen(name) * 131 + (uint64_t)name[0]);
    int64_t n = tensor_count(&t);
    for (int64_t i = 0; i < n; i++) tensor_set(&t, i, values != NULL ? values[i] : rng_normal(&rng));
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

/* A node with one output, named after it unless `name` is given; inputs end with 0xffffffff. */
#define NET_END 0xffffffffu
static inline ValueId net_node(Graph *g, const char *type, const char *name, const char *output, const ValueId *inputs)
{
    int count = 0;
    while (inputs[count] != NET_END) count++;
    ValueId out = graph_add_value(g, str_of(output), DT_NONE, NULL);
    assert_true(out != 0);
    assert_true(graph_add_node(g, type, "", str_of(name), inputs, count, &out, 1) != 0);
    return out;
}
#define NODE(g, type, name, output, ...) net_node(g, type, name, output, (const ValueId[]){ __VA_ARGS__, NET_END })

static inline NodeId net_find(const Graph *g, const char *name)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        if (str_is(node_label(g, graph_node(g, g->order[i])), name)) return g->order[i];
    }
    return 0;
}

/* Ops bound, order made, structure verified, shapes inferred. */
static inline void net_done(Graph *g)
{
    Err err;
    engine_bind(g);
    assert_ok(graph_finish(g, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    assert_ok(engine_infer(g, &err), &err);
}

static inline Graph *net_clone(const Graph *g)
{
    Err err;
    Graph *copy;
    assert_ok(graph_clone(g, &copy, &err), &err);
    return copy;
}

static inline const Tensor *net_tensor(const Graph *g, const char *name)
{
    ValueId v = graph_find_value(g, str_of(name));
    if (v == 0 || graph_value(g, v)->tensor == NULL) fail_msg("no constant '%s'", name);
    return graph_value(g, v)->tensor;
}

/* `set` holds names and values in turn, NULL at the end. The rest of the context comes from `with` (may be NULL). */
static inline Status net_pass(const Pass *pass, Graph *g, const char *const *set, const LayerRule *rules, int rule_count,
                              const PassContext *with, PassRecord *record, Err *err)
{
    Arena *scratch = arena_new();
    assert_non_null(scratch);
    void *options = arena_alloc(scratch, pass->options_size);
    PassContext c = with != NULL ? *with : (PassContext){ .threads = 1 };
    c.graph = g;
    c.pass = pass;
    c.options = options;
    c.rules = rules;
    c.rule_count = rule_count;
    c.record = record;
    c.scratch = scratch;
    Status status = opts_defaults(pass->options, options, scratch, err);
    for (int i = 0; status == OK && set != NULL && set[i] != NULL; i += 2)
        status = opts_set(pass->options, options, set[i], set[i + 1], pass->name, scratch, err);
    if (status == OK && pass->check != NULL) status = pass->check(&c, err);
    if (status == OK) status = pass->run(&c, err);
    if (status == OK) {
        engine_bind(g);
        status = graph_verify(g, err);
    }
    if (status == OK) status = engine_infer(g, err);
    arena_unref(scratch);
    return status;
}

/* The entry about this object of this kind, or NULL. */
static inline const RecordEntry *net_entry(const PassRecord *r, RecordKind kind, const char *object)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == kind && strcmp(r->entries[i].object, object) == 0) return &r->entries[i];
    }
    return NULL;
}

static inline double net_number(const RecordEntry *e, const char *name)
{
    assert_non_null(e);
    for (int i = 0; i < e->number_count; i++) {
        if (strcmp(e->numbers[i].name, name) == 0) return e->numbers[i].value;
    }
    return NAN;
}

/* Bytes of all constants and the structure's hash are the same. */
static inline bool net_same_constant(const Tensor *a, const Tensor *b)
{
    return a->type == b->type && shape_eq(&a->shape, &b->shape) && memcmp(a->data, b->data, a->bytes) == 0;
}

static inline void net_run(const Graph *g, const Tensor *inputs, Tensor *outputs)
{
    Err err;
    Session *s;
    SessionOptions options = { .threads = 1 };
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, inputs, outputs, &err), &err);
    session_free(s);
}

/* Largest difference of the first outputs on this input, over the largest magnitude. */
static inline double net_difference_on(const Graph *a, const Graph *b, const Tensor *in)
{
    Tensor x[4] = { { 0 } }, y[4] = { { 0 } };
    net_run(a, in, x);
    net_run(b, in, y);
    assert_true(shape_eq(&x[0].shape, &y[0].shape));
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < tensor_count(&x[0]); i++) {
        worst = fmax(worst, fabs(tensor_get(&x[0], i) - tensor_get(&y[0], i)));
        largest = fmax(largest, fabs(tensor_get(&x[0], i)));
    }
    for (int i = 0; i < 4; i++) {
        tensor_release(&x[i]);
        tensor_release(&y[i]);
    }
    return largest > 0 ? worst / largest : worst;
}

/* The same on seeded normal input. */
static inline double net_difference(const Graph *a, const Graph *b, int rank, const int64_t *dims)
{
    Err err;
    Tensor in;
    Shape shape = shape_of(rank, dims);
    assert_ok(tensor_new(&in, DT_FLOAT, &shape, &err), &err);
    Rng rng;
    rng_init(&rng, 7);
    for (int64_t i = 0; i < tensor_count(&in); i++) tensor_set(&in, i, rng_normal(&rng));
    double difference = net_difference_on(a, b, &in);
    tensor_release(&in);
    return difference;
}

#endif
