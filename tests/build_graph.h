/* Small networks made in a test, value by value. */
#ifndef PARE_TESTS_BUILD_GRAPH_H
#define PARE_TESTS_BUILD_GRAPH_H

#include "engine/engine.h"
#include "graph/edit.h"
#include "graph/pass.h"
#include "graph/verify.h"

#define DIMS(...) (const int64_t[]){ __VA_ARGS__ }, (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

static inline Graph *build_new(int64_t opset)
{
    Graph *g = graph_new(NULL);
    Err err;
    assert_non_null(g);
    g->ir_version = opset >= 13 ? 8 : 4;
    assert_ok(graph_set_opset(g, STR(""), opset, &err), &err);
    g->name = STR("test");
    engine_bind(g);
    return g;
}

static inline ValueId build_input(Graph *g, const char *name, DType type, const int64_t *dims, int rank)
{
    Shape shape = shape_of(rank, dims);
    ValueId v = graph_add_value(g, str_of(name), type, &shape);
    ValueId *inputs = arena_array(g->arena, (size_t)g->input_count + 1, sizeof *inputs);
    assert_true(v != 0 && inputs != NULL);
    for (int i = 0; i < g->input_count; i++) inputs[i] = g->inputs[i];
    inputs[g->input_count++] = v;
    free(g->inputs);
    g->inputs = malloc(sizeof *inputs * (size_t)g->input_count);
    memcpy(g->inputs, inputs, sizeof *inputs * (size_t)g->input_count);
    graph_value(g, v)->flags |= VALUE_INPUT | VALUE_DECLARED;
    return v;
}

static inline void build_output(Graph *g, ValueId v)
{
    ValueId *outputs = malloc(sizeof *outputs * ((size_t)g->output_count + 1));
    assert_non_null(outputs);
    for (int i = 0; i < g->output_count; i++) outputs[i] = g->outputs[i];
    outputs[g->output_count++] = v;
    free(g->outputs);
    g->outputs = outputs;
    graph_value(g, v)->flags |= VALUE_OUTPUT | VALUE_DECLARED;
}

static inline ValueId build_constant(Graph *g, const char *name, DType type, const double *values, const int64_t *dims, int rank)
{
    Shape shape = shape_of(rank, dims);
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, values[i]);
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

/* Contents that look random and are the same everywhere: in [-1, 1). */
static inline double build_noise(uint64_t seed, int64_t i)
{
    uint64_t x = (seed * 1000003u + (uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    return (double)(x >> 11) / 4503599627370496.0 - 1.0;
}

static inline ValueId build_weight(Graph *g, const char *name, uint64_t seed, const int64_t *dims, int rank)
{
    Shape shape = shape_of(rank, dims);
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, build_noise(seed, i));
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

/* A node with one output of the same name; up to six inputs, the list ends with -1 (0: left out). */
static inline ValueId build_node(Graph *g, const char *type, const char *name, ...)
{
    ValueId inputs[8];
    int count = 0;
    va_list args;
    va_start(args, name);
    for (int v; (v = va_arg(args, int)) != -1;) inputs[count++] = (ValueId)v;
    va_end(args);
    ValueId out = graph_add_value(g, str_of(name), DT_NONE, NULL);
    assert_true(out != 0 && graph_add_node(g, type, "", str_of(name), inputs, count, &out, 1) != 0);
    return out;
}

static inline NodeId build_maker(const Graph *g, ValueId v)
{
    return graph_value(g, v)->producer;
}

static inline void build_ready(Graph *g)
{
    Err err;
    assert_ok(graph_finish(g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
}

static inline int build_count(const Graph *g, const char *type)
{
    int count = 0;
    for (NodeId n = 1; n <= g->node_count; n++) count += !graph_node(g, n)->removed && str_is(graph_node(g, n)->type, type);
    return count;
}

/* First output of one run on noise of these shapes (one per feed, dims of the graph with unknown ones set to `batch`), plain kernels. */
static inline Tensor build_run(const Graph *g, int64_t batch, double scale, bool plain)
{
    Err err;
    ValueId feeds[8];
    Tensor inputs[8] = { 0 }, outputs[8] = { 0 };
    int count = graph_feeds(g, feeds, 8);
    assert_true(count <= 8 && g->output_count <= 8);
    for (int i = 0; i < count; i++) {
        Shape shape = graph_value(g, feeds[i])->shape;
        for (int k = 0; k < shape.rank; k++)
            if (shape.dims[k] < 0) shape.dims[k] = batch;
        assert_ok(tensor_new(&inputs[i], graph_value(g, feeds[i])->type, &shape, &err), &err);
        for (int64_t k = 0; k < tensor_count(&inputs[i]); k++) tensor_set(&inputs[i], k, scale * build_noise(77 + (uint64_t)i, k));
    }
    Session *session;
    SessionOptions options = { .threads = 1, .plain = plain };
    assert_ok(session_new(g, &options, &session, &err), &err);
    assert_ok(session_run(session, inputs, outputs, &err), &err);
    session_free(session);
    for (int i = 0; i < count; i++) tensor_release(&inputs[i]);
    for (int i = 1; i < g->output_count; i++) tensor_release(&outputs[i]);
    return outputs[0];
}

/* max |a - b| / max |b| */
static inline double build_distance(const Tensor *a, const Tensor *b)
{
    double worst = 0.0, peak = 1e-30;
    if (tensor_count(a) != tensor_count(b)) return INFINITY;
    for (int64_t i = 0; i < tensor_count(a); i++) {
        worst = fmax(worst, fabs(tensor_get(a, i) - tensor_get(b, i)));
        peak = fmax(peak, fabs(tensor_get(b, i)));
    }
    return worst / peak;
}

#endif
