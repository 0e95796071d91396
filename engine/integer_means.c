/* Means over everything but images and channels, as exporters of channels-last networks spell them:
 *   q -> DequantizeLinear [-> Transpose to channels last] -> ReduceMean [-> Reshape, Flatten, Squeeze] -> QuantizeLinear -> r
 *   =>   q -> DequantizeLinear -> GlobalAveragePool -> QuantizeLinear -> Flatten -> r
 * What stands behind the mean only gives another shape; the result must be [images, channels], or as GlobalAveragePool makes it. */
#include "engine/integer_means.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"

typedef struct Mean {
    NodeId turn, mean, shape, quantize; /* turn and shape: 0 where there is none */
    ValueId from;                       /* dequantized, channels second */
    Shape whole;                        /* of `from` */
    bool flat;                          /* the result is [images, channels] */
} Mean;

static const Node *maker(const Graph *g, ValueId v, const char *type, NodeId *id)
{
    *id = v != 0 ? graph_value(g, v)->producer : 0;
    const Node *n = *id != 0 ? graph_node(g, *id) : NULL;
    return n != NULL && n->domain.len == 0 && str_is(n->type, type) ? n : NULL;
}

/* Whether the mean goes over all axes but two: the first, and the second or (`last`) the last. */
static bool spans(const Graph *g, const Node *n, int rank, bool last)
{
    const Attr *a = node_attr(n, "axes");
    const Tensor *t = a == NULL && node_input(n, 1) != 0 ? graph_value(g, n->inputs[1])->tensor : NULL;
    int64_t count = a != NULL ? a->count : t != NULL && t->type == DT_INT64 && t->data != NULL ? tensor_count(t) : 0;
    unsigned met = 0;
    if (count != rank - 2) return false;
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = a != NULL ? a->ints[i] : tensor_get_int(t, i);
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return false;
        met |= 1U << axis;
    }
    return met == ((1U << (rank - 2)) - 1) << (last ? 1 : 2);
}

/* Whether a Transpose brings the channels from second to last. */
static bool turns(const Node *n, int rank)
{
    const Attr *perm = node_attr(n, "perm");
    if (perm == NULL || perm->count != rank || perm->ints[0] != 0 || perm->ints[rank - 1] != 1) return false;
    for (int i = 1; i < rank - 1; i++)
        if (perm->ints[i] != i + 1) return false;
    return true;
}

/* Nobody else reads it, nobody watches it. */
static NodeId only_reader(const Graph *g, const bool *watched, ValueId v)
{
    return watched != NULL && watched[v] ? 0 : graph_sole_reader(g, v);
}

static bool find(const Graph *g, const bool *watched, NodeId id, Mean *m)
{
    const Node *n = graph_node(g, id);
    NodeId dequantize;
    *m = (Mean){ .mean = id, .from = n->inputs[0] };
    const Node *turn = maker(g, m->from, "Transpose", &m->turn);
    if (turn != NULL) m->from = turn->inputs[0];
    else m->turn = 0;
    if (maker(g, m->from, "DequantizeLinear", &dequantize) == NULL) return false;
    m->whole = graph_value(g, m->from)->shape;
    int rank = m->whole.rank;
    if (rank < 3 || rank > 5 || (turn != NULL && !turns(turn, rank)) || !spans(g, n, rank, turn != NULL)) return false;
    ValueId v = n->outputs[0];
    m->quantize = only_reader(g, watched, v);
    if (m->quantize == 0) return false;
    const Node *next = graph_node(g, m->quantize);
    if (next->domain.len == 0 && next->inputs[0] == v &&
        (str_is(next->type, "Reshape") || str_is(next->type, "Flatten") || str_is(next->type, "Squeeze"))) {
        m->shape = m->quantize;
        v = next->outputs[0];
        m->quantize = only_reader(g, watched, v);
        if (m->quantize == 0) return false;
        next = graph_node(g, m->quantize);
    }
    if (next->domain.len != 0 || !str_is(next->type, "QuantizeLinear") || next->inputs[0] != v) return false;
    const Tensor *scale = node_input(next, 1) != 0 ? graph_value(g, next->inputs[1])->tensor : NULL;
    const Shape *made = &graph_value(g, v)->shape;
    m->flat = made->rank == 2 && made->dims[1] == m->whole.dims[1] && made->dims[1] > 0;
    bool same = made->rank == rank && m->turn == 0 && m->shape == 0;
    return scale != NULL && tensor_count(scale) == 1 && (m->flat || same);
}

static Status rewrite(Graph *g, const bool *watched, const Mean *m, Err *err)
{
    ValueId mean = graph_node(g, m->mean)->outputs[0], out = graph_node(g, m->quantize)->outputs[0], bytes = out;
    Node quantize = *graph_node(g, m->quantize);
    Str label = node_label(g, graph_node(g, m->mean)), name = node_label(g, &quantize);
    Shape shape = m->whole;
    for (int i = 2; i < shape.rank; i++) shape.dims[i] = 1;
    graph_remove_node(g, m->mean);
    if (m->shape != 0) graph_remove_node(g, m->shape);
    graph_remove_node(g, m->quantize);
    ValueId turned = m->turn != 0 ? graph_node(g, m->turn)->outputs[0] : 0;
    if (turned != 0 && graph_readers(g, turned) == 0 && (watched == NULL || !watched[turned])) graph_remove_node(g, m->turn);
    graph_value(g, mean)->shape = shape;
    if (m->flat) bytes = graph_add_value(g, STR("pare_mean"), graph_value(g, out)->type, &shape);
    NodeId pool = bytes != 0 ? graph_add_node(g, "GlobalAveragePool", "", label, &m->from, 1, &mean, 1) : 0;
    ValueId inputs[3] = { mean, quantize.inputs[1], quantize.input_count > 2 ? quantize.inputs[2] : 0 };
    NodeId again = pool != 0 ? graph_add_node(g, "QuantizeLinear", "", name, inputs, quantize.input_count, &bytes, 1) : 0;
    NodeId flatten = again != 0 && m->flat ? graph_add_node(g, "Flatten", "", name, &bytes, 1, &out, 1) : again;
    if (flatten == 0) return err_no_memory(err, "a mean of integers");
    Node *n = graph_node(g, again);
    n->attrs = quantize.attrs;
    n->attr_count = quantize.attr_count;
    n->op = quantize.op;
    graph_node(g, pool)->op = engine_find_op(STR(""), STR("GlobalAveragePool")); /* whatever the file's opset */
    if (m->flat) graph_node(g, flatten)->op = engine_find_op(STR(""), STR("Flatten"));
    return OK;
}

Status integer_means(Graph *g, const bool *watched, int *made, Err *err)
{
    Status status = OK;
    uint32_t count = g->order_count;
    NodeId *order = alloc_array((size_t)count + 1, sizeof *order); /* the graph's own grows while nodes are added */
    *made = 0;
    if (order == NULL) return err_no_memory(err, "means of integers");
    memcpy(order, g->order, sizeof *order * count);
    for (uint32_t i = 0; i < count && status == OK; i++) {
        const Node *n = graph_node(g, order[i]);
        Mean m;
        if (n->removed || n->domain.len != 0 || !str_is(n->type, "ReduceMean") || n->output_count != 1) continue;
        if (!find(g, watched, order[i], &m)) continue;
        status = rewrite(g, watched, &m, err);
        (*made)++;
    }
    free(order);
    return status == OK && *made > 0 ? graph_finish(g, err) : status;
}
