/* Finding the groups. An operator qualifies when all its activations are dequantized 8-bit integers with one scale and zero point each,
 * its weights dequantized constants, and (for whatever is no layer) a quantization reads the result and nobody else does.
 *
 *   q -> DequantizeLinear -> Conv(w <- DequantizeLinear, b <- DequantizeLinear) [-> Relu, Clip] -> QuantizeLinear -> r
 *   =>   q -> QLinearConv -> r */
#include "engine/integer_groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/integer_weights.h"
#include "engine/ops/integer.h"
#include "engine/ops/quantize.h"
#include "graph/edit.h"

#define MOVED 64 /* inputs of a Concat */

typedef struct Groups {
    Graph *g;
    const bool *watched;
    int *readers;   /* [value]: nodes that read or capture it, graph outputs */
    NodeId *reader; /* [value]: the last of them */
    ValueId zero[2]; /* constants 0 of uint8 and int8, for zero points left out */
    int made;
    Err *err;
} Groups;

/* A dequantized operand: the integers and how they stand for numbers. */
typedef struct Source {
    ValueId q, scale, zero;
    DType type;
} Source;

/* What follows an operator: the quantization, and the bounds of the Relu and Clip on the way. */
typedef struct Ending {
    ValueId out, scale, zero;
    NodeId gone[4];
    int gone_count;
    int64_t low, high;
    bool bounded;
} Ending;

static const Tensor *constant(const Groups *s, ValueId v)
{
    return v != 0 ? graph_value(s->g, v)->tensor : NULL;
}

static const Node *maker(const Groups *s, ValueId v, const char *type)
{
    NodeId id = v != 0 ? graph_value(s->g, v)->producer : 0;
    const Node *n = id != 0 ? graph_node(s->g, id) : NULL;
    return n != NULL && node_is(n, type) ? n : NULL;
}

static bool is_scalar(const Tensor *t, DType type)
{
    return t != NULL && t->type == type && t->shape.rank <= 1 && tensor_count(t) == 1 && t->data != NULL;
}

static ValueId zero_constant(Groups *s, DType type)
{
    ValueId *v = &s->zero[type == DT_INT8];
    Tensor t;
    if (*v == 0 && tensor_new(&t, type, &(Shape){ .rank = 0 }, s->err) == OK) *v = graph_add_constant(s->g, STR("pare_zero"), &t);
    return *v;
}

/* Scale and zero point of a Quantize- or DequantizeLinear, per tensor; `type`: what the integers are when no zero point tells. */
static bool grid_of(Groups *s, const Node *n, DType type, Source *out)
{
    const Tensor *scale = constant(s, node_input(n, 1)), *zero = constant(s, node_input(n, 2));
    if (!is_scalar(scale, DT_FLOAT) || !(tensor_get(scale, 0) > 0) || !isfinite(tensor_get(scale, 0))) return false;
    if (node_input(n, 2) != 0 && zero == NULL) return false;
    out->type = zero != NULL ? zero->type : type;
    if (out->type != DT_UINT8 && out->type != DT_INT8) return false;
    if (zero != NULL && !is_scalar(zero, out->type)) return false;
    out->scale = node_input(n, 1);
    out->zero = zero != NULL ? node_input(n, 2) : zero_constant(s, out->type);
    return out->zero != 0;
}

static bool activation(Groups *s, ValueId v, Source *out)
{
    const Node *dq = maker(s, v, "DequantizeLinear");
    if (dq == NULL || constant(s, dq->inputs[0]) != NULL || node_int(dq, "output_dtype", DT_FLOAT) != DT_FLOAT) return false;
    out->q = dq->inputs[0];
    return grid_of(s, dq, graph_value(s->g, out->q)->type, out);
}

static bool same_grid(const Groups *s, const Source *a, ValueId scale, ValueId zero, DType type)
{
    return a->type == type && tensor_get(constant(s, a->scale), 0) == tensor_get(constant(s, scale), 0) &&
           tensor_get_int(constant(s, a->zero), 0) == tensor_get_int(constant(s, zero), 0);
}

/* The only node that reads v, when nobody watches it; else 0. */
static NodeId only_reader(const Groups *s, ValueId v)
{
    return s->readers[v] == 1 && !(s->watched != NULL && s->watched[v]) ? s->reader[v] : 0;
}

/* --- what follows */

static int64_t on_grid(double x, float scale, int64_t zero, int64_t low, int64_t high)
{
    double v = (double)rintf((float)x / scale) + (double)zero;
    return !(v > (double)low) ? low : v > (double)high ? high : (int64_t)v;
}

/* The bounds of a Relu or Clip; false: another operator, or bounds that are no constants. */
static bool bounds_of(const Groups *s, const Node *n, double *low, double *high)
{
    *low = -INFINITY;
    *high = INFINITY;
    if (n->domain.len != 0) return false;
    if (str_is(n->type, "Relu")) *low = 0;
    if (str_is(n->type, "Relu")) return true;
    if (!str_is(n->type, "Clip")) return false;
    const Attr *a = node_attr(n, "min"), *b = node_attr(n, "max");
    if (a != NULL) *low = (double)a->f;
    if (b != NULL) *high = (double)b->f;
    for (int i = 1; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *t = constant(s, n->inputs[i]);
        if (t == NULL || t->type != DT_FLOAT || tensor_count(t) != 1) return false;
        *(i == 1 ? low : high) = tensor_get(t, 0);
    }
    return *low <= *high;
}

/* Follows v to its quantization. False: something else reads it. */
static bool ending(Groups *s, ValueId v, Ending *e)
{
    double low = -INFINITY, high = INFINITY;
    *e = (Ending){ 0 };
    for (;;) {
        NodeId id = only_reader(s, v);
        if (id == 0 || e->gone_count == 4) return false;
        const Node *n = graph_node(s->g, id);
        double a, b;
        if (n->capture_count > 0 || n->output_count != 1 || n->inputs[0] != v) return false;
        e->gone[e->gone_count++] = id;
        if (node_is(n, "QuantizeLinear")) {
            Source grid = { 0 };
            int64_t least, most;
            DType made = (DType)node_int(n, "output_dtype", DT_UINT8);
            if (!grid_of(s, n, made, &grid) || !quant_range(grid.type, &least, &most)) return false;
            float scale = tensor_get(constant(s, grid.scale), 0);
            int64_t zero = tensor_get_int(constant(s, grid.zero), 0);
            e->out = n->outputs[0];
            e->scale = grid.scale;
            e->zero = grid.zero;
            e->low = on_grid(low, scale, zero, least, most);
            e->high = on_grid(high, scale, zero, least, most);
            e->bounded = e->low > least || e->high < most;
            return e->out != 0;
        }
        if (!bounds_of(s, n, &a, &b)) return false;
        low = fmin(fmax(low, a), b); /* Clip(x) = min(max(x, a), b), whatever was cut before */
        high = fmin(fmax(high, a), b);
        v = n->outputs[0];
    }
}

static DType type_of(const Groups *s, ValueId zero)
{
    return constant(s, zero)->type;
}

/* Puts the operator in the place of node `id` and of what follows. `e` NULL: it makes the node's own output. */
static Status replace(Groups *s, NodeId id, const char *type, const ValueId *inputs, int count, const Ending *e)
{
    Graph *g = s->g;
    Node old = *graph_node(g, id);
    ValueId out = e != NULL ? e->out : old.outputs[0];
    Str label = node_label(g, &old);
    graph_remove_node(g, id);
    for (int i = 0; e != NULL && i < e->gone_count; i++) graph_remove_node(g, e->gone[i]);
    NodeId made = graph_add_node(g, type, INTEGER_DOMAIN, label, inputs, count, &out, 1);
    if (made == 0) return err_no_memory(s->err, "an integer operator");
    Node *n = graph_node(g, made);
    n->op = integer_find_op(n->type);
    n->attrs = old.attrs;
    n->attr_count = old.attr_count;
    if (e != NULL) {
        graph_value(g, out)->type = type_of(s, e->zero);
        if (e->bounded) {
            TRY(graph_set_int(g, made, "low", e->low, s->err));
            TRY(graph_set_int(g, made, "high", e->high, s->err));
        }
    }
    s->made++;
    return OK;
}

/* --- layers */

typedef struct Weights {
    ValueId q, scale, zero;
    int64_t filters;
} Weights;

/* Entries: one, or one per filter. */
static bool is_list(const Tensor *t, DType type, int64_t filters)
{
    return t != NULL && t->type == type && t->shape.rank <= 1 && (tensor_count(t) == 1 || tensor_count(t) == filters);
}

/* Weights whose filters lie along `axis`. */
static bool weights_of(Groups *s, ValueId v, int axis, int rank, Weights *w)
{
    const Node *dq = maker(s, v, "DequantizeLinear");
    const Tensor *q = dq != NULL ? constant(s, dq->inputs[0]) : NULL, *scale = dq != NULL ? constant(s, node_input(dq, 1)) : NULL;
    if (q == NULL || (q->type != DT_INT8 && q->type != DT_UINT8) || (rank > 0 ? q->shape.rank != rank : q->shape.rank < 3)) return false;
    if (node_int(dq, "block_size", 0) != 0 || node_int(dq, "output_dtype", DT_FLOAT) != DT_FLOAT) return false;
    *w = (Weights){ dq->inputs[0], node_input(dq, 1), node_input(dq, 2), q->shape.dims[axis] };
    if (!is_list(scale, DT_FLOAT, w->filters)) return false;
    int64_t along = node_int(dq, "axis", 1);
    if (tensor_count(scale) > 1 && (along < 0 ? along + q->shape.rank : along) != axis) return false;
    for (int64_t i = 0; i < tensor_count(scale); i++)
        if (!(tensor_get(scale, i) > 0) || !isfinite(tensor_get(scale, i))) return false;
    const Tensor *zero = constant(s, w->zero);
    if (w->zero != 0 && (!is_list(zero, q->type, w->filters) || tensor_count(zero) != tensor_count(scale))) return false;
    if (w->zero == 0) w->zero = zero_constant(s, q->type);
    return w->zero != 0;
}

/* A bias of int32 in steps of x's scale times the weights'; 0 with *fits when there is none. */
static ValueId bias_of(const Groups *s, ValueId v, const Source *x, const Weights *w, bool *fits)
{
    *fits = v == 0;
    const Node *dq = maker(s, v, "DequantizeLinear");
    const Tensor *q = dq != NULL ? constant(s, dq->inputs[0]) : NULL, *scale = dq != NULL ? constant(s, node_input(dq, 1)) : NULL;
    if (q == NULL || q->type != DT_INT32 || q->shape.rank != 1 || tensor_count(q) != w->filters || !is_list(scale, DT_FLOAT, w->filters))
        return 0;
    const Tensor *zero = constant(s, node_input(dq, 2)), *by = constant(s, w->scale);
    if (node_input(dq, 2) != 0 && zero == NULL) return 0;
    for (int64_t i = 0; zero != NULL && i < tensor_count(zero); i++)
        if (tensor_get_int(zero, i) != 0) return 0;
    float step = (float)tensor_get(constant(s, x->scale), 0);
    for (int64_t k = 0; k < w->filters; k++) {
        float unit = step * (float)tensor_get(by, tensor_count(by) == 1 ? 0 : k);
        float stated = (float)tensor_get(scale, tensor_count(scale) == 1 ? 0 : k);
        if (!(fabsf(stated - unit) <= 1e-6F * unit)) return 0;
    }
    *fits = true;
    return dq->inputs[0];
}

/* The weights of a Gemm with transB the other way round. */
static Status transpose(Groups *s, Weights *w)
{
    const Tensor *q = constant(s, w->q);
    Tensor t;
    int64_t rows = q->shape.dims[0], columns = q->shape.dims[1];
    TRY(tensor_new(&t, q->type, &(Shape){ .rank = 2, .dims = { columns, rows } }, s->err));
    bytes_turn(q->data, rows, columns, t.data);
    w->q = graph_add_constant(s->g, STR("pare_transposed"), &t);
    return w->q != 0 ? OK : err_no_memory(s->err, "transposed weights");
}

static Status layer(Groups *s, NodeId id)
{
    const Node *n = graph_node(s->g, id);
    bool conv = str_is(n->type, "Conv"), gemm = str_is(n->type, "Gemm"), turned = gemm && node_int(n, "transB", 0) != 0, fits;
    Source x;
    Weights w;
    if (!conv && !gemm && !str_is(n->type, "MatMul")) return OK;
    if (gemm && (node_int(n, "transA", 0) != 0 || node_float(n, "alpha", 1) != 1 || node_float(n, "beta", 1) != 1)) return OK;
    if (!activation(s, node_input(n, 0), &x) || !weights_of(s, node_input(n, 1), conv || turned ? 0 : 1, conv ? 0 : 2, &w)) return OK;
    ValueId bias = bias_of(s, node_input(n, 2), &x, &w, &fits);
    if (!fits || n->outputs[0] == 0) return OK;
    Ending e;
    bool ends = ending(s, n->outputs[0], &e);
    if (turned) TRY(transpose(s, &w));
    ValueId inputs[9] = { x.q, x.scale, x.zero, w.q, w.scale, w.zero, ends ? e.scale : 0, ends ? e.zero : 0, bias };
    return replace(s, id, conv ? "QLinearConv" : "QLinearMatMul", inputs, bias != 0 ? 9 : 8, ends ? &e : NULL);
}

/* --- the others */

static Status addition(Groups *s, NodeId id)
{
    const Node *n = graph_node(s->g, id);
    Source a, b;
    Ending e;
    if (!str_is(n->type, "Add") || n->input_count != 2 || node_attr(n, "broadcast") != NULL) return OK;
    if (!activation(s, n->inputs[0], &a) || !activation(s, n->inputs[1], &b) || !ending(s, n->outputs[0], &e)) return OK;
    ValueId inputs[8] = { a.q, a.scale, a.zero, b.q, b.scale, b.zero, e.scale, e.zero };
    return replace(s, id, "QLinearAdd", inputs, 8, &e);
}

static Status average(Groups *s, NodeId id)
{
    const Node *n = graph_node(s->g, id);
    bool global = str_is(n->type, "GlobalAveragePool");
    Source x;
    Ending e;
    if (!global && !str_is(n->type, "AveragePool")) return OK;
    int rank = graph_value(s->g, n->inputs[0])->shape.rank; /* more than three spatial dimensions stay with the float operator */
    if (rank > 5 || (global && rank < 3) || !activation(s, n->inputs[0], &x) || !ending(s, n->outputs[0], &e)) return OK;
    ValueId inputs[5] = { x.q, x.scale, x.zero, e.scale, e.zero };
    return replace(s, id, global ? "QLinearGlobalAveragePool" : "QLinearAveragePool", inputs, 5, &e);
}

/* Operators that only choose or move elements work on the integers themselves when both grids are one. */
static Status mover(Groups *s, NodeId id)
{
    static const char *const types[] = { "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Concat" };
    Node *n = graph_node(s->g, id);
    bool listed = false, concat = str_is(n->type, "Concat");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) listed = listed || str_is(n->type, types[i]);
    Ending e;
    if (!listed || n->output_count != 1 || n->input_count == 0 || n->input_count > MOVED) return OK;
    if (!ending(s, n->outputs[0], &e) || e.bounded) return OK;
    ValueId inputs[MOVED];
    memcpy(inputs, n->inputs, sizeof *inputs * (size_t)n->input_count);
    for (int i = 0; i < (concat ? n->input_count : 1); i++) {
        Source x;
        if (!activation(s, n->inputs[i], &x) || !same_grid(s, &x, e.scale, e.zero, type_of(s, e.zero))) return OK;
        inputs[i] = x.q;
    }
    TRY(graph_set_inputs(s->g, id, inputs, n->input_count, s->err));
    for (int i = 0; i < e.gone_count; i++) graph_remove_node(s->g, e.gone[i]);
    TRY(graph_set_outputs(s->g, id, &e.out, 1, s->err));
    graph_value(s->g, e.out)->type = type_of(s, e.zero);
    s->made++;
    return OK;
}

static Status rewrite(Groups *s, NodeId id)
{
    const Node *n = graph_node(s->g, id);
    if (n->removed || n->domain.len != 0 || n->capture_count > 0 || n->input_count == 0 || n->output_count == 0) return OK;
    int before = s->made;
    TRY(layer(s, id));
    if (s->made == before) TRY(addition(s, id));
    if (s->made == before) TRY(average(s, id));
    return s->made == before ? mover(s, id) : OK;
}

/* --- readers */

static bool count_readers(Groups *s)
{
    const Graph *g = s->g;
    size_t values = (size_t)g->value_count + 1;
    s->readers = alloc_zeroed(values, sizeof *s->readers);
    s->reader = alloc_zeroed(values, sizeof *s->reader);
    if (s->readers == NULL || s->reader == NULL) return false;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int k = 0; k < n->input_count + n->capture_count; k++) {
            ValueId v = k < n->input_count ? n->inputs[k] : n->captures[k - n->input_count];
            s->readers[v]++;
            s->reader[v] = g->order[i];
        }
    }
    for (int i = 0; i < g->output_count; i++) s->readers[g->outputs[i]] += 2; /* never an inner value */
    return true;
}

/* DequantizeLinear nodes that nobody needs any more. */
static void drop_idle(Groups *s, uint32_t nodes, size_t values)
{
    Graph *g = s->g;
    memset(s->readers, 0, sizeof *s->readers * values);
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = graph_node(g, id);
        if (n->removed) continue;
        for (int k = 0; k < n->input_count + n->capture_count; k++) {
            ValueId v = k < n->input_count ? n->inputs[k] : n->captures[k - n->input_count];
            if (v < values) s->readers[v]++;
        }
    }
    for (int i = 0; i < g->output_count; i++) s->readers[g->outputs[i]]++;
    for (NodeId id = 1; id <= nodes; id++) {
        const Node *n = graph_node(g, id);
        if (n->removed || n->domain.len != 0 || !str_is(n->type, "DequantizeLinear")) continue;
        ValueId v = n->outputs[0];
        if (s->readers[v] == 0 && !(s->watched != NULL && s->watched[v])) graph_remove_node(g, id);
    }
}

Status integer_groups(Graph *g, const bool *watched, int *made, Err *err)
{
    Groups s = { .g = g, .watched = watched, .err = err };
    uint32_t count = g->order_count, nodes = g->node_count;
    size_t values = (size_t)g->value_count + 1;
    NodeId *order = alloc_array((size_t)count + 1, sizeof *order); /* the graph's own grows while nodes are added */
    Status status = OK;
    *made = 0;
    if (order == NULL || !count_readers(&s)) {
        status = err_no_memory(err, "integer groups");
        goto out;
    }
    memcpy(order, g->order, sizeof *order * count);
    for (uint32_t i = 0; i < count; i++) TRY_OUT(rewrite(&s, order[i]));
    *made = s.made;
    if (s.made == 0) goto out;
    drop_idle(&s, nodes, values);
    TRY_OUT(graph_finish(g, err));
out:
    free(order);
    free(s.readers);
    free(s.reader);
    return status;
}
