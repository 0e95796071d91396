/* Transposes behind what is computed element by element, so that those of networks with channels last meet and cancel:
 *
 *   f(T(x)) = T(f(x)),   T(x) + T(y) = T(x + y),   T(x) + row = T(x + column)        also products of two
 *
 * A Transpose is a view; what is gained is that f stands right behind the convolution again. */
#include "engine/patterns_private.h"

#include "graph/edit.h"
#include "graph/op.h"

static const int64_t *perm_of(const Node *n, int64_t *count)
{
    const int64_t *perm = n != NULL ? node_ints(n, "perm", count) : NULL;
    return *count <= MAX_RANK ? perm : NULL;
}

static bool same_perm(const Node *a, const Node *b)
{
    int64_t count = 0, other = 0;
    const int64_t *p = perm_of(a, &count), *q = perm_of(b, &other);
    if (p == NULL || q == NULL || count != other) return false;
    for (int64_t i = 0; i < count; i++)
        if (p[i] != q[i]) return false;
    return true;
}

static bool is_elementwise(const Node *n)
{
    static const char *const types[] = { "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "HardSwish", "HardSigmoid", "Swish",
                                         "Gelu" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_is(n->type, types[i])) return true;
    return false;
}

/* The constant that stands beside T(x) in x's own order: one entry, or a row along the last axis, which is x's axis `from`. 0: another. */
static ValueId constant_beside(Patterns *s, ValueId v, int64_t rank, int64_t from)
{
    const Tensor *t = v != 0 ? graph_value(s->g, v)->tensor : NULL;
    if (t == NULL || t->type != DT_FLOAT || t->data == NULL || t->shape.rank > 1) return 0;
    if (tensor_count(t) == 1) return v;
    Tensor column = tensor_share(t);
    int64_t dims[MAX_RANK], count = 0;
    for (int64_t a = from; a < rank; a++) dims[count++] = a == from ? t->shape.dims[0] : 1;
    column.shape = shape_of((int)count, dims);
    return graph_add_constant(s->g, STR("pare_column"), &column);
}

/* Node `id` before the Transpose `turn`, which it reads as its input `side`: both are made anew, *moved is the first of them. `other`: its
 * second operand, or 0 where that stays. */
static Status swap(Patterns *s, NodeId turn, NodeId id, int side, ValueId other, NodeId *moved)
{
    Node first = *graph_node(s->g, turn), second = *graph_node(s->g, id);
    ValueId x = first.inputs[0], between = first.outputs[0], out = second.outputs[0], in[3] = { x, 0, 0 };
    Str label = node_label(s->g, &second), turned = node_label(s->g, &first);
    int count = second.input_count;
    if (count > 3) return OK;
    for (int i = 0; i < count; i++) in[i] = i == side ? x : other != 0 ? other : second.inputs[i];
    graph_remove_node(s->g, turn);
    graph_remove_node(s->g, id);
    *graph_value(s->g, between) = (Value){ .name = graph_value(s->g, between)->name, .type = graph_value(s->g, x)->type,
                                           .shape = graph_value(s->g, x)->shape, .flags = graph_value(s->g, between)->flags };
    *moved = graph_add_node(s->g, second.op->type, "", label, in, count, &between, 1);
    NodeId last = *moved != 0 ? graph_add_node(s->g, "Transpose", "", turned, &between, 1, &out, 1) : 0;
    if (last == 0) return err_no_memory(s->err, "a transposed operator");
    Node *n = graph_node(s->g, *moved), *t = graph_node(s->g, last);
    n->op = second.op;
    n->attrs = second.attrs;
    n->attr_count = second.attr_count;
    t->op = first.op;
    t->attrs = first.attrs;
    t->attr_count = first.attr_count;
    s->made++;
    return OK;
}

Status pattern_push(Patterns *s, NodeId *id)
{
    const Node *n = graph_node(s->g, *id);
    bool pair = str_is(n->type, "Add") || str_is(n->type, "Mul");
    if ((!pair && !is_elementwise(n)) || (pair && n->input_count != 2)) return OK;
    if (n->op == NULL || (n->op->until != 0 && n->op->until < 7)) return OK;
    for (int side = 0; side < (pair ? 2 : 1); side++) {
        Found f = { 0 };
        int64_t rank = 0;
        ValueId v = n->inputs[side];
        const Node *turn = v != 0 ? pattern_inner(s, v, "Transpose", 1, &f) : NULL;
        const int64_t *perm = perm_of(turn, &rank);
        if (perm == NULL || rank < 1 || !pattern_is_float(s, turn->inputs[0])) continue;
        if (!pair) return swap(s, f.node[0], *id, 0, 0, id);
        ValueId other = n->inputs[1 - side], beside = 0;
        const Node *second = other != v ? pattern_maker(s, other, "Transpose") : NULL;
        if (second != NULL && same_perm(turn, second)) {
            beside = second->inputs[0];
            if (!pattern_is_float(s, beside)) continue;
            if (pattern_is_inner(s, other, 1)) graph_remove_node(s->g, graph_value(s->g, other)->producer);
            else if (other < s->values) s->readers[other]--, s->readers[beside] += beside < s->values;
        } else {
            beside = str_is(n->type, "Add") ? constant_beside(s, other, rank, perm[rank - 1]) : 0; /* no convolution takes a factor along */
        }
        if (beside != 0) return swap(s, f.node[0], *id, side, beside, id);
    }
    return OK;
}
