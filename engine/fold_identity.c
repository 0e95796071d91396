/* Nodes that hand their input on: Identity, Dropout in inference, Cast to the same type, Reshape, Expand, Pad and Slice that change no
 * shape and no element, Transpose pairs, x + 0, x - 0, x * 1, x / 1. Exact (x + 0 may turn -0 into 0, which compares equal). */
#include "engine/fold.h"

#include <stdlib.h>

#include "base/bytes.h"

/* Equal, and every dimension a size or the same symbol. */
static bool same_shape(const Graph *g, ValueId a, ValueId b)
{
    const Shape *x = &graph_value(g, a)->shape, *y = &graph_value(g, b)->shape;
    if (x->rank < 0 || x->rank != y->rank) return false;
    for (int i = 0; i < x->rank; i++)
        if (x->dims[i] != y->dims[i] || x->dims[i] == DIM_UNKNOWN) return false;
    return true;
}

static bool all_equal(const Tensor *t, double value)
{
    int64_t count = tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        if (tensor_get(t, i) != value) return false;
    return count > 0;
}

static bool is_dropout(const Graph *g, const Node *n)
{
    if (n->output_count > 1 && n->outputs[1] != 0 && graph_readers(g, n->outputs[1]) > 0) return false;
    if (n->op != NULL && n->op->until != 0 && node_int(n, "is_test", 0) == 0) return node_float(n, "ratio", 0.5F) == 0;
    if (node_input(n, 2) == 0) return true;
    const Tensor *training = node_constant(g, n, 2);
    return training != NULL && tensor_get(training, 0) == 0.0;
}

static bool is_null_pad(const Graph *g, const Node *n)
{
    if (node_input(n, 1) != 0) {
        const Tensor *pads = node_constant(g, n, 1);
        return pads != NULL && all_equal(pads, 0.0);
    }
    int64_t count;
    const int64_t *pads = node_ints(n, "pads", &count);
    for (int64_t i = 0; i < count; i++)
        if (pads[i] != 0) return false;
    return count > 0;
}

static bool is_null_slice(const Graph *g, const Node *n)
{
    if (node_input(n, 4) != 0) {
        const Tensor *steps = node_constant(g, n, 4);
        if (steps == NULL || !all_equal(steps, 1.0)) return false;
    }
    return same_shape(g, n->inputs[0], n->outputs[0]);
}

static bool is_null_transpose(const Node *n)
{
    int64_t count;
    const int64_t *perm = node_ints(n, "perm", &count);
    for (int64_t i = 0; i < count; i++)
        if (perm[i] != i) return false;
    return count > 0;
}

/* x op c with c neutral everywhere and too small to enlarge x; which input is x, or -1. */
static int neutral_operand(const Graph *g, const Node *n)
{
    bool add = str_is(n->type, "Add"), sub = str_is(n->type, "Sub"), mul = str_is(n->type, "Mul"), div = str_is(n->type, "Div");
    if (!(add || sub || mul || div) || n->input_count != 2) return -1;
    for (int x = 0; x < (add || mul ? 2 : 1); x++) {
        const Tensor *c = node_constant(g, n, 1 - x);
        if (c == NULL || c->type == DT_STRING || !all_equal(c, add || sub ? 0.0 : 1.0)) continue;
        const Shape *shape = &graph_value(g, n->inputs[x])->shape;
        if (same_shape(g, n->inputs[x], n->outputs[0]) || (tensor_count(c) == 1 && c->shape.rank <= shape->rank)) return x;
    }
    return -1;
}

/* The input that the node hands on unchanged as its first output, or -1. */
static int handed_on(const Graph *g, const Node *n)
{
    if (n->domain.len != 0 || n->input_count < 1 || n->inputs[0] == 0 || n->output_count < 1 || n->outputs[0] == 0) return -1;
    const Value *in = graph_value(g, n->inputs[0]);
    if (str_is(n->type, "Identity")) return in->flags & VALUE_TENSOR || in->type != DT_NONE ? 0 : -1;
    if (str_is(n->type, "Dropout")) return is_dropout(g, n) ? 0 : -1;
    if (str_is(n->type, "Cast")) return in->type != DT_NONE && node_int(n, "to", 0) == (int64_t)in->type ? 0 : -1;
    if (str_is(n->type, "Reshape") || str_is(n->type, "Flatten") || str_is(n->type, "Expand"))
        return same_shape(g, n->inputs[0], n->outputs[0]) ? 0 : -1;
    if (str_is(n->type, "Transpose")) return is_null_transpose(n) ? 0 : -1;
    if (str_is(n->type, "Pad")) return is_null_pad(g, n) ? 0 : -1;
    if (str_is(n->type, "Slice")) return is_null_slice(g, n) ? 0 : -1;
    if (str_is(n->type, "Concat") || str_is(n->type, "Sum") || str_is(n->type, "Max") || str_is(n->type, "Min"))
        return n->input_count == 1 ? 0 : -1;
    return neutral_operand(g, n);
}

/* Transpose(Transpose(x, p), q) = Transpose(x, r) with r[i] = p[q[i]]. */
static Status join_transposes(Fold *f, NodeId id, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    NodeId before = graph_value(g, n->inputs[0])->producer;
    if (before == 0) return OK;
    const Node *first = graph_node(g, before);
    if (!str_is(first->type, "Transpose") || first->domain.len != 0) return OK;
    int64_t p_count, q_count, joined[MAX_RANK];
    const int64_t *p = node_ints(first, "perm", &p_count), *q = node_ints(n, "perm", &q_count);
    if (p_count == 0 || p_count != q_count || p_count > MAX_RANK) return OK;
    for (int64_t i = 0; i < q_count; i++) {
        if (q[i] < 0 || q[i] >= p_count) return OK;
        joined[i] = p[q[i]];
    }
    Str name = node_label(g, n), other = node_label(g, first);
    ValueId source = first->inputs[0];
    TRY(graph_set_ints(g, id, "perm", joined, q_count, err));
    TRY(graph_set_input(g, id, 0, source, err));
    fold_changed(f, name, "takes the Transpose '%.*s' before it in", STR_ARG(other));
    return OK;
}

/* Reshape(Reshape(x)) needs only the second when that names no dimension of its input by 0. */
static Status join_reshapes(Fold *f, NodeId id, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    const Tensor *target = node_constant(g, n, 1);
    NodeId before = graph_value(g, n->inputs[0])->producer;
    if (before == 0 || target == NULL) return OK;
    for (int64_t i = 0; i < tensor_count(target); i++)
        if (tensor_get_int(target, i) == 0) return OK;
    const Node *first = graph_node(g, before);
    bool moves_nothing = str_is(first->type, "Reshape") || str_is(first->type, "Flatten") || str_is(first->type, "Squeeze")
        || str_is(first->type, "Unsqueeze");
    if (!moves_nothing || first->domain.len != 0) return OK;
    Str name = node_label(g, n), other = node_label(g, first);
    TRY(graph_set_input(g, id, 0, first->inputs[0], err));
    fold_changed(f, name, "reads past '%.*s'", STR_ARG(other));
    return OK;
}

static Status fold_identity(Fold *f, NodeId id, ValueId *map, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    if (n->domain.len == 0 && n->input_count > 0 && n->inputs[0] != 0) {
        if (str_is(n->type, "Transpose")) TRY(join_transposes(f, id, err));
        if (str_is(n->type, "Reshape")) TRY(join_reshapes(f, id, err));
    }
    int input = handed_on(g, n);
    if (input < 0) return OK;
    ValueId from = n->outputs[0], to = n->inputs[input];
    if (graph_value(g, from)->type != DT_NONE && graph_value(g, to)->type != graph_value(g, from)->type) return OK;
    if (!fold_can_replace(g, from, to)) return OK;
    Str name = node_label(g, n), type = n->type;
    graph_remove_node(g, id);
    if (graph_value(g, from)->flags & VALUE_OUTPUT) TRY(graph_replace_value(g, from, to, err));
    else map[from] = to; /* its readers come later in the order */
    fold_changed(f, name, "%.*s changes nothing: removed", STR_ARG(type));
    return OK;
}

Status fold_identities(Fold *f, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    ValueId *map = alloc_zeroed((size_t)g->value_count + 1, sizeof *map);
    if (map == NULL) return err_no_memory(err, "the values handed on");
    for (uint32_t i = 0; i < g->order_count && status == OK; i++) {
        NodeId id = g->order[i];
        if (graph_node(g, id)->removed) continue;
        status = graph_map_node(g, id, map, err);
        if (status == OK) status = fold_identity(f, id, map, err);
    }
    free(map);
    return status;
}
