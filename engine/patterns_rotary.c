/* Rotary embeddings, in the forms that exporters write:
 *
 *   x c + concat(-x2, x1) s                               rotate_half; x1, x2 the halves of x by Slice or Split
 *   x c + reshape(stack(-x2, x1)) s                       rotate_every_two; every other number by Slice, or from pairs with their own axis
 *   concat or stack(x1 c - x2 s, x1 s + x2 c)             x1, x2 any of these
 *
 * become pare.Rotary, with operands of products and sums in any order. */
#include "engine/patterns_private.h"

#include "engine/ops/rotary.h"
#include "graph/edit.h"

/* The first or the second numbers of all pairs of x. */
typedef struct Part {
    ValueId x;
    RotaryOrder order;
    bool second;
} Part;

static const Shape *shape_of_value(const Patterns *s, ValueId v)
{
    return &graph_value(s->g, v)->shape;
}

/* The last dimension; 0: not known. */
static int64_t last_dim(const Patterns *s, ValueId v)
{
    const Shape *shape = v != 0 ? shape_of_value(s, v) : NULL;
    return shape != NULL && shape->rank > 0 && shape->dims[shape->rank - 1] > 0 ? shape->dims[shape->rank - 1] : 0;
}

/* The only entry of a list that is an attribute or a constant input; false: not there, or not known. */
static bool only_entry(const Patterns *s, const Node *n, const char *attr, int input, int64_t *out)
{
    int64_t count = 0;
    const int64_t *list = attr != NULL ? node_ints(n, attr, &count) : NULL;
    const Tensor *t = list == NULL && input >= 0 ? node_constant(s->g, n, input) : NULL;
    if (t != NULL && (t->type == DT_INT64 || t->type == DT_INT32) && t->data != NULL) count = tensor_count(t);
    else if (t != NULL) return false;
    if (count != 1) return false;
    *out = list != NULL ? list[0] : tensor_get_int(t, 0);
    return true;
}

static bool is_last(int64_t axis, int rank)
{
    return axis == -1 || (rank > 0 && axis == rank - 1);
}

/* An Unsqueeze behind, or a Squeeze of, the last axis. */
static bool moves_last(const Patterns *s, const Node *n, ValueId longer)
{
    int64_t axis;
    return only_entry(s, n, "axes", 1, &axis) && is_last(axis, shape_of_value(s, longer)->rank);
}

/* Which half of its input a Slice takes, or which of two that alternate. The number of elements is known from the shapes, so that one end
 * tells where they lie. */
static bool slice_part(const Patterns *s, const Node *n, Part *p)
{
    int64_t axis, step = 1, start, end, depth = last_dim(s, n->inputs[0]), half = depth / 2;
    if (!only_entry(s, n, "axes", 3, &axis) || !is_last(axis, shape_of_value(s, n->inputs[0])->rank)) return false;
    if (node_input(n, 4) != 0 && !only_entry(s, n, NULL, 4, &step)) return false;
    bool from = only_entry(s, n, "starts", 1, &start), to = only_entry(s, n, "ends", 2, &end);
    p->order = step == 1 ? ROTARY_HALVES : ROTARY_NEXT;
    if (step == 2) {
        p->second = from && start == 1;
        return from && (start == 0 || start == 1);
    }
    p->second = (from && (start == half || start == -half)) || (to && end >= depth);
    return step == 1 && (p->second || (from && start == 0));
}

/* Which output of a Split in two v is. */
static bool split_part(const Patterns *s, const Node *n, ValueId v, Part *p)
{
    p->order = ROTARY_HALVES;
    p->second = n->output_count == 2 && n->outputs[1] == v;
    return n->output_count == 2 && is_last(node_int(n, "axis", 0), shape_of_value(s, n->inputs[0])->rank);
}

/* Whether v is a half of pairs, read so often and only here; where it is cut, x is p->x. */
static bool half_of(const Patterns *s, ValueId v, int readers, Part *p, Found *f)
{
    NodeId id = graph_value(s->g, v)->producer;
    const Node *n = id != 0 ? graph_node(s->g, id) : NULL;
    if (n == NULL || !pattern_is_inner(s, v, readers) || node_input(n, 0) == 0) return false;
    p->x = n->inputs[0];
    int64_t depth = last_dim(s, p->x);
    if (depth == 0 || depth % 2 != 0 || last_dim(s, v) != depth / 2) return false;
    bool fits = node_is(n, "Slice") ? slice_part(s, n, p) : node_is(n, "Split") && split_part(s, n, v, p);
    return fits && pattern_add(f, id);
}

static bool part_of(const Patterns *s, ValueId v, int readers, Part *p, Found *f)
{
    const Node *n = v != 0 ? pattern_maker(s, v, "Gather") : NULL;
    const Tensor *t = n != NULL ? node_constant(s->g, n, 1) : NULL;
    if (v == 0) return false;
    if (t != NULL) { /* one of the two along an axis of its own */
        int64_t at = 0;
        if (t->shape.rank != 0 || !only_entry(s, n, NULL, 1, &at) || (at != 0 && at != 1) || last_dim(s, n->inputs[0]) != 2) return false;
        if (!is_last(node_int(n, "axis", 0), shape_of_value(s, n->inputs[0])->rank)) return false;
        *p = (Part){ n->inputs[0], ROTARY_PAIRS, at == 1 };
        return pattern_inner(s, v, "Gather", readers, f) != NULL;
    }
    n = pattern_inner(s, v, "Squeeze", readers, f);
    if (n == NULL) return half_of(s, v, readers, p, f);
    if (!moves_last(s, n, n->inputs[0]) || !half_of(s, n->inputs[0], 1, p, f) || last_dim(s, p->x) != 2) return false;
    p->order = ROTARY_PAIRS;
    return true;
}

/* Both parts of one x. */
static bool parts_of(const Patterns *s, ValueId first, ValueId second, int readers, Part *p, Found *f)
{
    Part other;
    return part_of(s, first, readers, p, f) && part_of(s, second, readers, &other, f) && !p->second && other.second && other.x == p->x &&
           other.order == p->order && pattern_is_float(s, p->x);
}

/* Whether v is concat(a, b) along the last axis, or stack(a, b) along a new one behind it. */
static bool joined(const Patterns *s, const Node *n, ValueId v, ValueId *a, ValueId *b, RotaryOrder *order, Found *f)
{
    if (n == NULL || n->input_count != 2 || !is_last(node_int(n, "axis", 0), shape_of_value(s, v)->rank)) return false;
    ValueId of[2];
    *order = ROTARY_HALVES;
    for (int i = 0; i < 2; i++) {
        of[i] = n->inputs[i];
        const Node *u = pattern_maker(s, of[i], "Unsqueeze");
        if (u == NULL || !moves_last(s, u, of[i])) break;
        if (i == 0) continue;
        for (int k = 0; k < 2; k++) {
            u = pattern_inner(s, n->inputs[k], "Unsqueeze", 1, f);
            if (u == NULL) return false;
            of[k] = u->inputs[0];
        }
        *order = ROTARY_PAIRS;
    }
    *a = of[0];
    *b = n->inputs[1] == of[1] || *order == ROTARY_PAIRS ? of[1] : n->inputs[1];
    return true;
}

/* The x in -x. */
static ValueId negated(const Patterns *s, ValueId v, Found *f)
{
    const Node *n = pattern_inner(s, v, "Neg", 1, f);
    double x;
    if (n != NULL) return n->inputs[0];
    n = pattern_inner(s, v, "Mul", 1, f);
    for (int i = 0; i < 2 && n != NULL; i++)
        if (pattern_is_about(s, n->inputs[i], -1) && pattern_scalar(s, n->inputs[i], &x) && x == -1) return n->inputs[1 - i];
    return 0;
}

/* The same shape, as far as it is known, and known but for symbols. */
static bool same_shape(const Patterns *s, ValueId a, ValueId b)
{
    const Shape *x = shape_of_value(s, a), *y = shape_of_value(s, b);
    for (int i = 0; i < x->rank; i++)
        if (x->dims[i] == DIM_UNKNOWN) return false;
    return x->rank >= 0 && shape_eq(x, y);
}

/* x with its last axis in pairs. */
static bool paired(const Patterns *s, ValueId pairs, ValueId x)
{
    const Shape *p = shape_of_value(s, pairs), *y = shape_of_value(s, x);
    if (y->rank < 1 || p->rank != y->rank + 1 || last_dim(s, pairs) != 2 || last_dim(s, x) != 2 * p->dims[p->rank - 2]) return false;
    for (int i = 0; i + 1 < y->rank; i++)
        if (y->dims[i] == DIM_UNKNOWN || p->dims[i] != y->dims[i]) return false;
    return true;
}

/* Whether v holds x's pairs (x1, x2) as (-x2, x1). */
static bool rotated(const Patterns *s, ValueId v, ValueId x, RotaryOrder *order, Found *f)
{
    const Node *flat = pattern_inner(s, v, "Reshape", 1, f);
    ValueId joint = flat != NULL ? flat->inputs[0] : v, minus, plus;
    Part p;
    if (flat != NULL && !same_shape(s, v, x)) return false;
    if (!joined(s, pattern_inner(s, joint, "Concat", 1, f), joint, &minus, &plus, order, f)) return false;
    minus = negated(s, minus, f);
    if (minus == 0 || !parts_of(s, plus, minus, 1, &p, f)) return false;
    if (flat == NULL) return *order == ROTARY_HALVES && p.order == ROTARY_HALVES && p.x == x;
    if (*order != ROTARY_PAIRS) return false;
    *order = ROTARY_NEXT;
    if (p.order == ROTARY_NEXT) return p.x == x;
    const Node *cut = p.order == ROTARY_PAIRS ? pattern_inner(s, p.x, "Reshape", 2, f) : NULL;
    if (cut == NULL) cut = p.order == ROTARY_PAIRS ? pattern_inner(s, p.x, "Reshape", 1, f) : NULL; /* by a Split */
    return cut != NULL && cut->inputs[0] == x && paired(s, p.x, x);
}

static Status rewrite(Patterns *s, const Found *f, NodeId id, const ValueId *in, RotaryOrder order, RotaryOrder made)
{
    NodeId node;
    TRY(pattern_replace(s, f, id, &rotary_op, in, 3, &node));
    TRY(graph_set_int(s->g, node, "order", order, s->err));
    return graph_set_int(s->g, node, "made", made, s->err);
}

/* x c + rotated(x) s */
static Status rotated_sum(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    for (int way = 0; way < 8 && last->input_count == 2; way++) { /* which operand is which, of the Add and of both products */
        Found f = { 0 };
        RotaryOrder order;
        const Node *straight = pattern_inner(s, last->inputs[way & 1], "Mul", 1, &f);
        const Node *across = pattern_inner(s, last->inputs[1 - (way & 1)], "Mul", 1, &f);
        if (straight == NULL || across == NULL) return OK;
        int at = way >> 1 & 1, by = way >> 2;
        ValueId in[3] = { straight->inputs[at], straight->inputs[1 - at], across->inputs[1 - by] };
        int64_t depth = last_dim(s, in[0]);
        if (depth == 0 || last_dim(s, in[1]) != depth || last_dim(s, in[2]) != depth || !pattern_is_float(s, in[1])) continue;
        if (rotated(s, across->inputs[by], in[0], &order, &f)) return rewrite(s, &f, id, in, order, order);
    }
    return OK;
}

/* Whether the product of a and b, read here alone, is one operand of n; added to what was found. */
static bool has_product(const Patterns *s, const Node *n, ValueId a, ValueId b, Found *f)
{
    for (int i = 0; i < 2; i++) {
        const Node *mul = pattern_maker(s, n->inputs[i], "Mul");
        if (mul == NULL || !pattern_is_inner(s, n->inputs[i], 1)) continue;
        if ((mul->inputs[0] == a && mul->inputs[1] == b) || (mul->inputs[0] == b && mul->inputs[1] == a))
            return pattern_add(f, graph_value(s->g, n->inputs[i])->producer);
    }
    return false;
}

/* concat or stack(x1 c - x2 s, x1 s + x2 c) */
static Status joined_sums(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    Found whole = { 0 };
    ValueId y1, y2;
    RotaryOrder made;
    if (!joined(s, last, last->outputs[0], &y1, &y2, &made, &whole)) return OK;
    const Node *sub = pattern_inner(s, y1, "Sub", 1, &whole), *add = pattern_inner(s, y2, "Add", 1, &whole);
    const Node *left = sub != NULL ? pattern_inner(s, sub->inputs[0], "Mul", 1, &whole) : NULL;
    const Node *right = sub != NULL ? pattern_inner(s, sub->inputs[1], "Mul", 1, &whole) : NULL;
    for (int way = 0; way < 4 && left != NULL && right != NULL && add != NULL && add->inputs[0] != add->inputs[1]; way++) {
        Found f = whole;
        Part p;
        int at = way & 1, by = way >> 1;
        ValueId x1 = left->inputs[at], c = left->inputs[1 - at], x2 = right->inputs[by], sine = right->inputs[1 - by];
        int64_t half = last_dim(s, x1);
        if (half == 0 || last_dim(s, c) != half || last_dim(s, sine) != half || !pattern_is_float(s, c)) continue;
        if (!has_product(s, add, x1, sine, &f) || !has_product(s, add, x2, c, &f) || !parts_of(s, x1, x2, 2, &p, &f)) continue;
        ValueId in[3] = { p.x, c, sine };
        return rewrite(s, &f, id, in, p.order, made);
    }
    return OK;
}

Status pattern_rotary(Patterns *s, NodeId id)
{
    return str_is(graph_node(s->g, id)->type, "Add") ? rotated_sum(s, id) : joined_sums(s, id);
}
