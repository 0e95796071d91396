/* LayerNormalization and its form without mean, as exporters write them: d = x - mean(x), or x itself,
 *
 *   d / sqrt(mean(d^2) + e) g + b        also d (1 / sqrt ...), d reciprocal(sqrt ...), d (mean(d^2) + e)^-0.5
 *   d (g / sqrt(mean(d^2) + e)) + b      Flax
 *   x a + (b - mean(x) a), a = g / sqrt ...    Keras
 *
 * g and b are rows of the last axis; without b only where no mean is taken away, without both only where one is. */
#include "engine/patterns_private.h"

#include "graph/edit.h"

/* sqrt(mean(of^2) + e); `reads`: of `of` for it. */
typedef struct Root {
    ValueId of;
    double epsilon;
    int reads;
} Root;

static bool over_last(const Patterns *s, const Node *n)
{
    int64_t count = 0, axis = 0;
    const int64_t *axes = node_ints(n, "axes", &count);
    const Tensor *t = axes == NULL ? node_constant(s->g, n, 1) : NULL;
    if (node_int(n, "keepdims", 1) != 1) return false;
    if (axes != NULL && count == 1) axis = axes[0];
    else if (t != NULL && t->type == DT_INT64 && tensor_count(t) == 1) axis = tensor_get_int(t, 0);
    else return false;
    int rank = graph_value(s->g, n->inputs[0])->shape.rank;
    return axis == -1 || (rank > 0 && axis == rank - 1);
}

/* The mean of x along its last axis. */
static bool is_mean(Patterns *s, ValueId v, ValueId x, int readers, Found *f)
{
    const Node *n = pattern_inner(s, v, "ReduceMean", readers, f);
    return n != NULL && n->inputs[0] == x && over_last(s, n);
}

/* Whether v is mean(of^2) + e. */
static bool mean_square(Patterns *s, ValueId v, Root *r, Found *f)
{
    const Node *add = pattern_inner(s, v, "Add", 1, f);
    ValueId mean = add != NULL ? pattern_made_by(s, add, "ReduceMean") : 0, e = mean != 0 ? pattern_other(add, mean) : 0;
    if (e == 0 || !pattern_scalar(s, e, &r->epsilon) || graph_value(s->g, e)->tensor->shape.rank > 1) return false;
    const Node *reduce = pattern_inner(s, mean, "ReduceMean", 1, f);
    if (reduce == NULL || !over_last(s, reduce)) return false;
    const Node *square = pattern_inner(s, reduce->inputs[0], "Pow", 1, f);
    r->reads = square != NULL ? 1 : 2;
    if (square == NULL) square = pattern_inner(s, reduce->inputs[0], "Mul", 1, f);
    if (square == NULL) return false;
    r->of = square->inputs[0];
    return r->reads == 1 ? pattern_is_about(s, square->inputs[1], 2) : square->inputs[1] == r->of;
}

static bool is_root(Patterns *s, ValueId v, Root *r, Found *f)
{
    const Node *n = pattern_inner(s, v, "Sqrt", 1, f);
    return n != NULL && mean_square(s, n->inputs[0], r, f);
}

/* Whether v is one over a root. */
static bool is_inverse(Patterns *s, ValueId v, Root *r, Found *f)
{
    const Node *n = pattern_inner(s, v, "Div", 1, f);
    if (n != NULL) return pattern_is_about(s, n->inputs[0], 1) && is_root(s, n->inputs[1], r, f);
    n = pattern_inner(s, v, "Reciprocal", 1, f);
    if (n != NULL) return is_root(s, n->inputs[0], r, f);
    n = pattern_inner(s, v, "Pow", 1, f);
    return n != NULL && pattern_is_about(s, n->inputs[1], -0.5) && mean_square(s, n->inputs[0], r, f);
}

/* Whether node n divides by a root, or multiplies by its inverse; *d is what it divides. */
static bool divides(Patterns *s, const Node *n, ValueId *d, Root *r, Found *f)
{
    if (n->input_count != 2 || n->inputs[0] == n->inputs[1]) return false;
    *d = n->inputs[0];
    if (node_is(n, "Div")) return is_root(s, n->inputs[1], r, f);
    for (int i = 0; i < 2; i++) {
        Found g = *f;
        *d = n->inputs[1 - i];
        if (!is_inverse(s, n->inputs[i], r, &g)) continue;
        *f = g;
        return true;
    }
    return false;
}

/* Whether d, read `readers` times beside the root's, is x - mean(x); the root may read a difference of its own. */
static bool is_deviation(Patterns *s, ValueId d, int readers, const Root *r, ValueId *x, Found *f)
{
    const Node *sub = pattern_inner(s, d, "Sub", readers + (r->of == d ? r->reads : 0), f);
    if (sub == NULL) return false;
    *x = sub->inputs[0];
    if (r->of == d) return is_mean(s, sub->inputs[1], *x, 1, f);
    const Node *own = pattern_inner(s, r->of, "Sub", r->reads, f);
    if (own == NULL || own->inputs[0] != *x) return false;
    if (own->inputs[1] == sub->inputs[1]) return is_mean(s, own->inputs[1], *x, 2, f);
    return is_mean(s, own->inputs[1], *x, 1, f) && is_mean(s, sub->inputs[1], *x, 1, f);
}

/* --- scale and shift */

/* The operand beside v when it is a row of more than one entry: the scale, or the shift. */
static ValueId row_beside(const Patterns *s, const Node *n, ValueId v)
{
    ValueId row = pattern_other(n, v);
    const Shape *shape = row != 0 ? &graph_value(s->g, row)->shape : NULL;
    return shape != NULL && pattern_is_float(s, row) && shape->rank == 1 && shape->dims[0] > 1 ? row : 0;
}

/* What a row is multiplied by in n, and that row; 0: no such product. */
static ValueId scaled(const Patterns *s, const Node *n, ValueId *row)
{
    for (int i = 0; i < 2 && n->input_count == 2; i++)
        if ((*row = row_beside(s, n, n->inputs[i])) != 0) return n->inputs[i];
    return 0;
}

/* The row has one entry for each of x's last axis, not a broadcast of one. */
static bool spans_last(const Patterns *s, ValueId x, ValueId row)
{
    const Shape *shape = &graph_value(s->g, x)->shape;
    return shape->rank > 0 && shape->dims[shape->rank - 1] == graph_value(s->g, row)->shape.dims[0];
}

static Status normalize(Patterns *s, const Found *f, NodeId id, const char *type, const ValueId *in, int count, double epsilon)
{
    NodeId made;
    TRY(pattern_replace(s, f, id, pattern_op(type), in, count, &made));
    TRY(graph_set_int(s->g, made, "axis", -1, s->err));
    return graph_set_float(s->g, made, "epsilon", (float)epsilon, s->err);
}

/* (d / root) g, or d (g / root) */
static bool scaled_quotient(Patterns *s, ValueId v, ValueId *x, ValueId *scale, double *epsilon, Found *f)
{
    const Node *mul = pattern_inner(s, v, "Mul", 1, f);
    Root root;
    ValueId d, quotient = mul != NULL ? scaled(s, mul, scale) : 0;
    for (int i = -1; i < 2 && mul != NULL; i++) { /* g is an operand of this product, or of one within */
        Found g = *f;
        const Node *n;
        bool found;
        if (i < 0) {
            n = quotient != 0 ? pattern_inner(s, quotient, "Div", 1, &g) : NULL;
            if (n == NULL && quotient != 0) n = pattern_inner(s, quotient, "Mul", 1, &g);
            found = n != NULL && divides(s, n, &d, &root, &g);
        } else {
            n = pattern_inner(s, mul->inputs[i], "Mul", 1, &g);
            d = mul->inputs[1 - i];
            ValueId inverse = n != NULL ? scaled(s, n, scale) : 0;
            found = inverse != 0 && is_inverse(s, inverse, &root, &g);
        }
        if (!found || !is_deviation(s, d, 1, &root, x, &g)) continue;
        *epsilon = root.epsilon;
        *f = g;
        return true;
    }
    return false;
}

/* x a + (b - mean(x) a) */
static bool spread_quotient(Patterns *s, const Node *last, int side, ValueId in[3], double *epsilon, Found *f)
{
    const Node *mul = pattern_inner(s, last->inputs[side], "Mul", 1, f), *sub = pattern_inner(s, last->inputs[1 - side], "Sub", 1, f);
    const Node *second = sub != NULL ? pattern_inner(s, sub->inputs[1], "Mul", 1, f) : NULL;
    Root root;
    for (int i = 0; i < 4 && mul != NULL && second != NULL; i++) {
        Found g = *f;
        ValueId a = mul->inputs[i & 1], mean = second->inputs[i >> 1];
        in[0] = mul->inputs[1 - (i & 1)];
        in[2] = sub->inputs[0];
        if (second->inputs[1 - (i >> 1)] != a || mean == a || !is_mean(s, mean, in[0], 2, &g)) continue;
        const Node *n = pattern_inner(s, a, "Mul", 2, &g);
        ValueId inverse = n != NULL ? scaled(s, n, &in[1]) : 0;
        if (inverse == 0 || !is_inverse(s, inverse, &root, &g)) continue;
        const Node *d = pattern_inner(s, root.of, "Sub", root.reads, &g);
        if (d == NULL || d->inputs[0] != in[0] || d->inputs[1] != mean) continue;
        *epsilon = root.epsilon;
        *f = g;
        return true;
    }
    return false;
}

Status pattern_layer_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id); /* Add of the shift */
    for (int side = 0; side < 2 && last->input_count == 2; side++) {
        Found f = { 0 };
        ValueId in[3] = { 0 };
        double epsilon;
        bool found = spread_quotient(s, last, side, in, &epsilon, &f);
        if (!found) {
            f = (Found){ 0 };
            in[2] = row_beside(s, last, last->inputs[side]);
            found = in[2] != 0 && scaled_quotient(s, last->inputs[side], &in[0], &in[1], &epsilon, &f);
        }
        const Shape *shift = found ? &graph_value(s->g, in[2])->shape : NULL;
        if (!found || !pattern_is_float(s, in[0]) || !spans_last(s, in[0], in[1])) continue;
        if (shift->rank != 1 || !spans_last(s, in[0], in[2]) || !pattern_is_float(s, in[2])) continue;
        return normalize(s, &f, id, "LayerNormalization", in, 3, epsilon);
    }
    return OK;
}

/* Neither scale nor shift: those of ones. */
static Status bare_norm(Patterns *s, NodeId id)
{
    Found f = { 0 };
    Root root;
    ValueId d, in[2];
    if (!divides(s, graph_node(s->g, id), &d, &root, &f) || !is_deviation(s, d, 1, &root, &in[0], &f)) return OK;
    const Shape *x = &graph_value(s->g, in[0])->shape;
    if (!pattern_is_float(s, in[0]) || x->rank < 1 || x->dims[x->rank - 1] < 2) return OK;
    Shape row = shape_of(1, &x->dims[x->rank - 1]);
    Tensor ones = { 0 };
    TRY(tensor_new(&ones, DT_FLOAT, &row, s->err));
    for (int64_t i = 0; i < row.dims[0]; i++) tensor_set(&ones, i, 1);
    in[1] = graph_add_constant(s->g, STR("pare_ones"), &ones);
    if (in[1] == 0) return err_no_memory(s->err, "a scale");
    return normalize(s, &f, id, "LayerNormalization", in, 2, root.epsilon);
}

/* x over its root mean square, times the scale. */
Status pattern_root_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    ValueId in[2], of;
    int before = s->made;
    for (int side = 0; side < 2 && last->input_count == 2 && node_is(last, "Mul"); side++) {
        Found f = { 0 };
        Root root;
        ValueId quotient = last->inputs[side];
        in[1] = row_beside(s, last, quotient);
        const Node *n = in[1] != 0 ? pattern_inner(s, quotient, "Mul", 1, &f) : NULL;
        if (n == NULL && in[1] != 0) n = pattern_inner(s, quotient, "Div", 1, &f);
        if (n == NULL || !divides(s, n, &of, &root, &f) || of != root.of) continue;
        in[0] = of;
        if (!pattern_is_float(s, of) || !spans_last(s, of, in[1])) continue;
        return normalize(s, &f, id, "SimplifiedLayerNormalization", in, 2, root.epsilon);
    }
    return s->made == before ? bare_norm(s, id) : OK;
}
