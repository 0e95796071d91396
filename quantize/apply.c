/* Where the nodes stand, so that runtimes fuse them (reference: ONNX Runtime's QDQ selectors).
 *
 *   made by an integer node     node -> raw -> QuantizeLinear -> q -> DequantizeLinear -> value   every reader reads the value
 *   made in float, or an input  value -> QuantizeLinear -> q -> DequantizeLinear -> own           integer nodes read `own`
 *   moved                       q of the input -> Reshape ... -> q -> DequantizeLinear -> value
 *
 * The float tensor of an integer node has one reader, its QuantizeLinear, and is never an output of the graph. */
#include "quantize/apply.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"

typedef struct Apply {
    Plan *p;
    ValueId *quantized;   /* [value]: its uint8 form */
    ValueId *dequantized; /* [value]: what integer nodes read */
    ValueId *scale;       /* [value]: constant of the root's scale */
    ValueId zero[2][256]; /* [int8][zero point modulo 256] */
} Apply;

static Status grid_constants(Apply *a, ValueId v, ValueId *inputs, Err *err)
{
    Graph *g = a->p->g;
    ValueId root = a->p->root[v];
    Grid grid = a->p->grids[root];
    Shape shape = shape_of(0, NULL);
    Tensor t = { 0 };
    if (a->scale[root] == 0) {
        TRY(tensor_new(&t, DT_FLOAT, &shape, err));
        tensor_set(&t, 0, (double)grid.scale);
        a->scale[root] = graph_add_constant(g, arena_printf(g->arena, "%.*s_scale", STR_ARG(graph_value(g, root)->name)), &t);
    }
    ValueId *zero = &a->zero[grid_type(grid) == DT_INT8][grid.zero & 255];
    if (*zero == 0) {
        TRY(tensor_new(&t, grid_type(grid), &shape, err));
        tensor_set_int(&t, 0, grid.zero);
        *zero = graph_add_constant(g, arena_printf(g->arena, "%s_zero_%d", dtype_name(grid_type(grid)), grid.zero), &t);
    }
    inputs[1] = a->scale[root];
    inputs[2] = *zero;
    return inputs[1] == 0 || inputs[2] == 0 ? err_no_memory(err, "a grid") : OK;
}

static Status add_node(Apply *a, const char *type, const char *suffix, ValueId named, ValueId from, ValueId to, Err *err)
{
    Graph *g = a->p->g;
    ValueId inputs[3] = { from, 0, 0 };
    TRY(grid_constants(a, named, inputs, err));
    Str name = arena_printf(g->arena, "%.*s_%s", STR_ARG(graph_value(g, named)->name), suffix);
    return graph_add_node(g, type, "", name, inputs, 3, &to, 1) != 0 ? OK : err_no_memory(err, "a node");
}

static ValueId new_value(Graph *g, ValueId like, const char *suffix, DType type)
{
    Shape shape = graph_value(g, like)->shape;
    return graph_add_value(g, arena_printf(g->arena, "%.*s_%s", STR_ARG(graph_value(g, like)->name), suffix), type, &shape);
}

/* Node and pattern names follow the first output where a node has no name of its own: it gets one before its output is renamed. */
static void keep_label(Graph *g, NodeId id)
{
    Node *n = graph_node(g, id);
    if (n->name.len == 0) n->name = node_label(g, n);
}

static Status make_pair(Apply *a, ValueId v, ValueId from, ValueId to, Err *err)
{
    ValueId q = new_value(a->p->g, v, "quantized", grid_type(a->p->grids[a->p->root[v]]));
    if (q == 0 || from == 0 || to == 0) return err_no_memory(err, "a quantized value");
    TRY(add_node(a, "QuantizeLinear", "quantize", v, from, q, err));
    TRY(add_node(a, "DequantizeLinear", "dequantize", v, q, to, err));
    a->quantized[v] = q;
    a->dequantized[v] = to;
    return OK;
}

/* Whether the ends of the grid are those of the Relu or Clip, which then has nothing left to do. Not so for grids around zero, and for
 * ends given by hand. */
static bool ends_clamp(const Graph *g, NodeId clamp, Grid grid)
{
    const Node *n = graph_node(g, clamp);
    double low = 0.0, high = INFINITY, slack = 0.5 * (double)grid.scale;
    if (str_is(n->type, "Clip")) {
        const Tensor *from = node_constant(g, n, 1), *to = node_constant(g, n, 2);
        low = from != NULL ? tensor_get(from, 0) : (double)node_float(n, "min", -INFINITY);
        high = to != NULL ? tensor_get(to, 0) : (double)node_float(n, "max", INFINITY);
    }
    return grid_low(grid) >= low - slack && grid_high(grid) <= high + slack;
}

static Status quantize_made(Apply *a, NodeId id, Err *err)
{
    Graph *g = a->p->g;
    const NodePlan *np = &a->p->nodes[id];
    keep_label(g, id);
    if (np->clamp != 0) {
        if (ends_clamp(g, np->clamp, a->p->grids[a->p->root[np->out]])) graph_remove_node(g, np->clamp);
        else keep_label(g, id = np->clamp);
    }
    ValueId raw = new_value(g, np->out, "raw", DT_FLOAT);
    if (raw == 0) return err_no_memory(err, "a value");
    TRY(graph_set_outputs(g, id, &raw, 1, err));
    return make_pair(a, np->out, raw, np->out, err);
}

static Status quantize_moved(Apply *a, NodeId id, Err *err)
{
    Graph *g = a->p->g;
    const NodePlan *np = &a->p->nodes[id];
    ValueId in = graph_node(g, id)->inputs[0], grid[3];
    keep_label(g, id);
    ValueId q = new_value(g, np->out, "quantized", grid_type(a->p->grids[a->p->root[np->out]]));
    if (q == 0) return err_no_memory(err, "a value");
    TRY(graph_set_input(g, id, 0, a->quantized[in], err));
    TRY(graph_set_outputs(g, id, &q, 1, err));
    if (str_is(graph_node(g, id)->type, "Pad") && str_is(node_string(graph_node(g, id), "mode", "constant"), "constant")) {
        TRY(grid_constants(a, np->out, grid, err));
        TRY(graph_set_input(g, id, 2, grid[2], err)); /* the integer that stands for 0 */
    }
    a->quantized[np->out] = q;
    a->dequantized[np->out] = np->out;
    return add_node(a, "DequantizeLinear", "dequantize", np->out, q, np->out, err);
}

/* Operands of an integer node that nothing made in integers. */
static Status quantize_operands(Apply *a, NodeId id, Err *err)
{
    Graph *g = a->p->g;
    int count = plan_operands(graph_node(g, id), a->p->nodes[id].role);
    for (int k = 0; k < count; k++) {
        ValueId v = graph_node(g, id)->inputs[k];
        if (a->quantized[v] == 0) {
            ValueId own = new_value(g, v, "dequantized", DT_FLOAT);
            TRY(make_pair(a, v, v, own, err));
        }
        if (a->p->nodes[id].role != ROLE_MOVE && a->dequantized[v] != v) TRY(graph_set_input(g, id, k, a->dequantized[v], err));
    }
    return OK;
}

static Status apply_node(Apply *a, NodeId id, Err *err)
{
    const NodePlan *np = &a->p->nodes[id];
    if (np->role == ROLE_FLOAT) return OK;
    TRY(quantize_operands(a, id, err));
    if (np->role == ROLE_MOVE) return quantize_moved(a, id, err);
    return np->out_quantized ? quantize_made(a, id, err) : OK;
}

static Status apply_nodes(Plan *p, Err *err)
{
    Status status = OK;
    size_t values = (size_t)p->value_count + 1;
    uint32_t count = p->g->order_count;
    Apply a = { .p = p, .quantized = alloc_zeroed(values, sizeof(ValueId)), .dequantized = alloc_zeroed(values, sizeof(ValueId)),
                .scale = alloc_zeroed(values, sizeof(ValueId)) };
    NodeId *order = alloc_array((size_t)count + 1, sizeof *order); /* the graph's own list grows while nodes are added */
    if (a.quantized == NULL || a.dequantized == NULL || a.scale == NULL || order == NULL) {
        status = err_no_memory(err, "quantization");
        goto out;
    }
    memcpy(order, p->g->order, sizeof *order * count);
    for (ValueId v = 1; v <= p->value_count; v++) {
        if (!p->given[v] || p->root[v] != v) continue;
        a.quantized[v] = graph_node(p->g, graph_value(p->g, v)->producer)->inputs[0];
        a.dequantized[v] = v;
    }
    for (uint32_t i = 0; i < count; i++)
        if (order[i] <= p->node_count) TRY_OUT(apply_node(&a, order[i], err));
out:
    free(a.quantized);
    free(a.dequantized);
    free(a.scale);
    free(order);
    return status;
}

Status apply_here(Plan *p, WeightJobs *w, Err *err)
{
    if (w != NULL) TRY(weights_attach(p, w, err));
    TRY(apply_nodes(p, err));
    graph_remove_dead(p->g, NULL);
    return engine_refresh(p->g, err);
}

Status apply_plan(const Plan *p, const Graph *g, WeightJobs *w, Graph **out, Err *err)
{
    Plan own = *p; /* its tables are read only */
    TRY(graph_clone(g, out, err));
    own.g = *out;
    Status status = apply_here(&own, w, err);
    if (status == OK) return OK;
    graph_free(*out);
    *out = NULL;
    return status;
}
