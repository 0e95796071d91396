#include "quantize/plan.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

int plan_operands(const Node *n, Role role)
{
    return role == ROLE_ARITHMETIC ? n->input_count : 1;
}

/* ---- what nodes are ---- */

static bool is_output(const Graph *g, ValueId v)
{
    return (graph_value(g, v)->flags & VALUE_OUTPUT) != 0;
}

static bool moves(const Graph *g, const Node *n)
{
    static const char *const types[] = { "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice" };
    if (n->output_count != 1) return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (node_is(n, types[i])) return true;
    if (!node_is(n, "Pad")) return false;
    if (node_input(n, 3) != 0) return false;
    if (!str_is(node_string(n, "mode", "constant"), "constant") || node_input(n, 2) == 0) return true;
    const Tensor *value = node_constant(g, n, 2);
    return value != NULL && tensor_get(value, 0) == 0.0;
}

/* ---- layers ---- */

static const char *bias_reason(const Graph *g, const Node *n, const PlannedLayer *l)
{
    ValueId b = node_input(n, 2);
    if (b == 0) return NULL;
    const Tensor *t = graph_value(g, b)->tensor;
    if (t == NULL) return "its bias is not constant";
    int64_t count = tensor_count(t), bad;
    bool row = t->shape.rank <= 1 || (t->shape.rank == 2 && t->shape.dims[0] == 1);
    if (!row || (count != l->rows.rows && count != 1)) return "its bias is not one number per output channel";
    return tensor_has_nonfinite(t, &bad) ? "its bias holds NaN or infinity" : NULL;
}

/* Fills rows; why the layer cannot run in integers, or NULL. */
static const char *layer_reason(const Graph *g, PlannedLayer *l)
{
    const Node *n = graph_node(g, l->layer.node);
    const Tensor *w = graph_value(g, l->layer.weight)->tensor;
    int64_t bad;
    bool conv = node_is(n, "Conv"), gemm = node_is(n, "Gemm"), matmul = node_is(n, "MatMul");
    if (!conv && !gemm && !matmul) return "runtimes have no integer kernel for this op";
    if (!options_op(&l->options, n->type)) return "its op is not in the list of ops";
    if (w->type != DT_FLOAT) return dtype_is_integer(w->type) ? "its weights are integers already" : "its weights are not float32";
    if (tensor_count(w) == 0) return "it has no weights";
    const Value *in = graph_value(g, l->layer.input);
    if (l->layer.input == 0 || in->tensor != NULL) return "its input is constant";
    if (in->type != DT_NONE && in->type != DT_FLOAT) return "its input is not float32";
    if (conv) {
        if (w->shape.rank < 3 || l->layer.groups < 1) return "its weight is no convolution kernel";
        l->rows = rows_of_conv(&w->shape, l->layer.groups);
    } else {
        if (w->shape.rank != 2 || l->layer.weight != node_input(n, 1)) return "its weight is not the second operand with a rank of 2";
        l->rows = rows_of_matrix(&w->shape, l->layer.out_axis);
    }
    if (gemm && node_int(n, "transA", 0) != 0) return "its input is transposed (transA)";
    if (gemm && node_float(n, "alpha", 1.0f) != 1.0f) return "it scales its product (alpha is not 1)";
    if (tensor_has_nonfinite(w, &bad)) return "its weights hold NaN or infinity";
    return matmul ? NULL : bias_reason(g, n, l);
}

/* The value whose grid v would carry: moves and MaxPool hand it on. */
static ValueId moved_from(const Graph *g, ValueId v)
{
    NodeId producer;
    while (v != 0 && (producer = graph_value(g, v)->producer) != 0
           && (moves(g, graph_node(g, producer)) || node_is(graph_node(g, producer), "MaxPool")))
        v = graph_node(g, producer)->inputs[0];
    return v;
}

static bool table_float(const Plan *p, ValueId v)
{
    return p->limits.table != NULL && v != 0 && calibration_table_find(p->limits.table, moved_from(p->g, v)).state == TABLE_FLOAT;
}

/* The value is made by a DequantizeLinear on a grid that the options allow: layers can read it as it is. */
static bool given_grid(const Plan *p, const Node *n, const QuantizeOptions *o, Grid *grid)
{
    ValueId out = node_output(n, 0);
    if (!node_is(n, "DequantizeLinear") || n->input_count < 3 || out == 0) return false;
    const Tensor *scale = node_constant(p->g, n, 1), *zero = node_constant(p->g, n, 2);
    DType type = options_int8(o) ? DT_INT8 : DT_UINT8;
    bool fits = scale != NULL && zero != NULL && tensor_count(scale) == 1 && tensor_count(zero) == 1 && scale->type == DT_FLOAT
        && zero->type == type && graph_value(p->g, n->inputs[0])->tensor == NULL;
    if (!fits || (p->limits.table != NULL && calibration_table_find(p->limits.table, out).state != TABLE_ABSENT)) return false;
    *grid = grid_make(-1.0, 1.0, type, false, false);
    grid->scale = (float)tensor_get(scale, 0);
    grid->zero = (int)tensor_get_int(zero, 0);
    return grid->scale > 0.0f && (o->target != TARGET_GPU || grid->zero == 0);
}

static void plan_given(Plan *p, const QuantizeOptions *o, const Node *n, bool *carried)
{
    Grid grid;
    if (!given_grid(p, n, o, &grid)) return;
    ValueId v = node_output(n, 0);
    p->given[v] = carried[v] = true;
    p->grids[v] = grid;
}

static const char *limit_reason(const Plan *p, const PlannedLayer *l)
{
    if (p->limits.keep != NULL && p->limits.keep[l->layer.node]) return "the network's accuracy needs it in float";
    return table_float(p, l->layer.input) ? "the calibration table keeps its input in float" : NULL;
}

static Status find_layers(PassContext *c, Plan *p, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    TRY(layers_find(c->graph, &layers, &count, err));
    Status status = OK;
    p->layers = alloc_zeroed((size_t)count + 1, sizeof *p->layers);
    if (p->layers == NULL) {
        status = err_no_memory(err, "the plan");
        goto out;
    }
    p->layer_count = count;
    for (int i = 0; i < count; i++) {
        PlannedLayer *l = &p->layers[i];
        bool skip;
        l->layer = layers[i];
        TRY_OUT(pass_layer_options(c, &l->layer, &l->options, &skip, err));
        l->reason = skip ? "a rule of the recipe says so" : layer_reason(c->graph, l);
        if (l->reason == NULL) l->reason = limit_reason(p, l);
        const char *why;
        if (l->reason == NULL && !layer_form(c->graph, &l->layer, &l->form, &why)) l->reason = why;
    }
out:
    free(layers);
    return status;
}

/* ---- readers ---- */

static void count_reader(Plan *p, ValueId v, NodeId id)
{
    if (v == 0 || p->reader[v] == id) return;
    p->readers[v]++;
    p->reader[v] = id;
}

static void count_readers(Plan *p)
{
    const Graph *g = p->g;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int k = 0; k < n->input_count; k++) count_reader(p, n->inputs[k], g->order[i]);
        for (int k = 0; k < n->capture_count; k++) {
            if (n->captures[k] != 0) p->readers[n->captures[k]] += 2; /* never a sole reader */
        }
    }
    for (int i = 0; i < g->output_count; i++) p->readers[g->outputs[i]] += 2;
}

/* The ends of a grid always hold 0: a Clip to [1, 6] or to [-6, -1] cannot be left to them. */
static bool clip_holds_zero(const Graph *g, const Node *n)
{
    if (node_float(n, "min", 0.0f) > 0.0f || node_float(n, "max", 0.0f) < 0.0f) return false; /* before opset 11 */
    for (int i = 1; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *bound = node_constant(g, n, i);
        if (bound == NULL || tensor_count(bound) != 1) return false;
        if (!(i == 1 ? tensor_get(bound, 0) <= 0.0 : tensor_get(bound, 0) >= 0.0)) return false;
    }
    return true;
}

/* The Relu or Clip with constant bounds around 0 that alone reads v, or 0. */
static NodeId clamp_after(const Plan *p, ValueId v)
{
    if (v == 0 || p->readers[v] != 1) return 0;
    const Node *n = graph_node(p->g, p->reader[v]);
    if (n->input_count < 1 || n->inputs[0] != v) return 0;
    if (node_is(n, "Relu")) return p->reader[v];
    return node_is(n, "Clip") && clip_holds_zero(p->g, n) ? p->reader[v] : 0;
}

/* ---- roles ---- */

static Role role_of(const Graph *g, const Node *n)
{
    if (node_is(n, "Add") && n->input_count == 2) return ROLE_ARITHMETIC;
    if (node_is(n, "AveragePool") || node_is(n, "GlobalAveragePool") || node_is(n, "Concat")) return ROLE_ARITHMETIC;
    if (node_is(n, "MaxPool")) return n->output_count < 2 || n->outputs[1] == 0 ? ROLE_POOL : ROLE_FLOAT;
    return moves(g, n) ? ROLE_MOVE : ROLE_FLOAT;
}

/* A value reaches the network's outputs through nothing but moves. */
static bool leaves_network(const Plan *p, ValueId v)
{
    while (v != 0) {
        if (is_output(p->g, v)) return true;
        if (p->readers[v] != 1) return false;
        const Node *n = graph_node(p->g, p->reader[v]);
        if (!moves(p->g, n) && !node_is(n, "Identity")) return false;
        v = n->outputs[0];
    }
    return false;
}

static void plan_layer(Plan *p, int index, bool *carried)
{
    PlannedLayer *l = &p->layers[index];
    if (l->reason != NULL) return;
    NodePlan *np = &p->nodes[l->layer.node];
    const Node *n = graph_node(p->g, l->layer.node);
    np->out = node_output(n, 0);
    np->clamp = clamp_after(p, np->out);
    if (np->clamp != 0) np->out = node_output(graph_node(p->g, np->clamp), 0);
    if (node_is(n, "Conv") && !l->options.outputs && leaves_network(p, np->out)) {
        l->reason = "it makes a network output, which stays float (--outputs quantizes it)";
        return;
    }
    if (node_is(n, "Conv") && table_float(p, np->out)) {
        l->reason = "the calibration table keeps its output in float, and a convolution in integers makes integers";
        return;
    }
    np->role = ROLE_LAYER;
    np->layer = index;
    carried[np->out] = (!is_output(p->g, np->out) || l->options.outputs) && !table_float(p, np->out);
}

static void plan_follower(Plan *p, const QuantizeOptions *o, NodeId id, bool *carried)
{
    const Node *n = graph_node(p->g, id);
    Role role = role_of(p->g, n);
    if (role == ROLE_FLOAT || (role != ROLE_MOVE && !options_op(o, n->type)) || n->input_count < 1) return;
    for (int i = 0; i < plan_operands(n, role); i++)
        if (n->inputs[i] == 0 || !carried[n->inputs[i]]) return;
    NodePlan *np = &p->nodes[id];
    np->out = node_output(n, 0);
    np->clamp = role == ROLE_ARITHMETIC ? clamp_after(p, np->out) : 0;
    if (np->clamp != 0) np->out = node_output(graph_node(p->g, np->clamp), 0);
    np->role = role;
    carried[np->out] = !is_output(p->g, np->out) && !table_float(p, np->out);
}

/* Backwards: a follower that feeds no integer node stays float; a Gemm or MatMul hands on integers only when all its readers take them,
 * or when --outputs asks for it. */
static void prune_followers(Plan *p, const bool *carried, int *kept_readers)
{
    for (uint32_t i = p->g->order_count; i-- > 0;) {
        NodeId id = p->g->order[i];
        NodePlan *np = &p->nodes[id];
        const Node *n = graph_node(p->g, id);
        if (np->role == ROLE_FLOAT) continue;
        if (np->role == ROLE_LAYER) {
            bool all = kept_readers[np->out] > 0 && kept_readers[np->out] == p->readers[np->out];
            np->out_quantized = carried[np->out] && (node_is(n, "Conv") || all || p->layers[np->layer].options.outputs);
        } else {
            np->out_quantized = carried[np->out] && kept_readers[np->out] > 0;
            if (!np->out_quantized) {
                *np = (NodePlan){ 0 };
                continue;
            }
        }
        if (!np->out_quantized) np->clamp = 0;
        for (int k = 0; k < plan_operands(n, np->role); k++) {
            bool again = false;
            for (int j = 0; j < k; j++) again |= n->inputs[j] == n->inputs[k];
            kept_readers[n->inputs[k]] += !again;
        }
    }
}

static void find_roots(Plan *p)
{
    for (uint32_t i = 0; i < p->g->order_count; i++) {
        const NodePlan *np = &p->nodes[p->g->order[i]];
        const Node *n = graph_node(p->g, p->g->order[i]);
        if (np->role == ROLE_FLOAT) continue;
        for (int k = 0; k < plan_operands(n, np->role); k++)
            if (p->root[n->inputs[k]] == 0) p->root[n->inputs[k]] = n->inputs[k];
        if (np->out_quantized) p->root[np->out] = np->role == ROLE_POOL || np->role == ROLE_MOVE ? p->root[n->inputs[0]] : np->out;
    }
}

Status plan_make(PassContext *c, const PlanLimits *limits, Plan *p, Err *err)
{
    Graph *g = c->graph;
    const QuantizeOptions *o = c->options;
    Status status = OK;
    size_t values = (size_t)g->value_count + 1;
    *p = (Plan){ .g = g, .limits = *limits, .value_count = g->value_count, .node_count = g->node_count };
    p->nodes = alloc_zeroed((size_t)g->node_count + 1, sizeof *p->nodes);
    p->root = alloc_zeroed(values, sizeof *p->root);
    p->grids = alloc_zeroed(values, sizeof *p->grids);
    p->given = alloc_zeroed(values, sizeof *p->given);
    p->readers = alloc_zeroed(values, sizeof *p->readers);
    p->reader = alloc_zeroed(values, sizeof *p->reader);
    bool *carried = alloc_zeroed(values, sizeof *carried);
    int *kept_readers = alloc_zeroed(values, sizeof *kept_readers);
    int *layer_of = alloc_zeroed((size_t)g->node_count + 1, sizeof *layer_of);
    if (p->nodes == NULL || p->root == NULL || p->grids == NULL || p->given == NULL || p->readers == NULL || p->reader == NULL
        || carried == NULL || kept_readers == NULL || layer_of == NULL) {
        status = err_no_memory(err, "the plan");
        goto out;
    }
    TRY_OUT(find_layers(c, p, err));
    count_readers(p);
    for (int i = 0; i < p->layer_count; i++) layer_of[p->layers[i].layer.node] = i + 1;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        plan_given(p, o, graph_node(g, id), carried);
        if (layer_of[id] != 0) plan_layer(p, layer_of[id] - 1, carried);
        else plan_follower(p, o, id, carried);
    }
    prune_followers(p, carried, kept_readers);
    find_roots(p);
out:
    free(carried);
    free(kept_readers);
    free(layer_of);
    return status;
}

Status plan_check_table(PassContext *c, const CalibrationTable *t, const char *path, Err *err)
{
    const PlanLimits none = { 0 };
    Plan p = { 0 };
    Status status = plan_make(c, &none, &p, err);
    for (ValueId v = 1; v <= t->value_count && status == OK; v++) {
        TableEntry entry = calibration_table_find(t, v);
        if (entry.state == TABLE_ABSENT || p.root[v] == v) continue;
        Str name = graph_value(c->graph, v)->name, from = p.root[v] != 0 ? graph_value(c->graph, p.root[v])->name : STR("");
        status = err_set(err, ERR_DATA, "%s, line %d: tensor '%.*s' has no grid of its own here%s%.*s%s; remove the line", path, entry.line,
                         STR_ARG(name), from.len > 0 ? " (it has that of '" : ": with these options it stays float", STR_ARG(from),
                         from.len > 0 ? "')" : "");
    }
    plan_release(&p);
    return status;
}

void plan_release(Plan *p)
{
    free(p->nodes);
    free(p->layers);
    free(p->root);
    free(p->grids);
    free(p->given);
    free(p->readers);
    free(p->reader);
    *p = (Plan){ 0 };
}

double plan_work(const Graph *g, const PlannedLayer *l)
{
    const Shape *shape = &graph_value(g, l->layer.output)->shape;
    double positions = 1.0;
    for (int i = 1; i < shape->rank; i++)
        if (shape->dims[i] > 0) positions *= (double)shape->dims[i];
    return positions * (double)l->form.width;
}
