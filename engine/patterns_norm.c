/* LayerNormalization and its form without mean. */
#include "engine/patterns_private.h"

#include "graph/edit.h"

/* --- x / sqrt(mean(x^2) + e), with x - mean(x) in the place of x or not */

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

/* Whether v is sqrt(mean(x^2) + e) and reads x; *epsilon is e. */
static bool root_mean(Patterns *s, ValueId v, ValueId x, double *epsilon, int *reads, Found *f)
{
    const Node *root = pattern_inner(s, v, "Sqrt", 1, f);
    const Node *add = root != NULL ? pattern_inner(s, root->inputs[0], "Add", 1, f) : NULL;
    ValueId mean = add != NULL ? pattern_made_by(s, add, "ReduceMean") : 0;
    if (mean == 0 || !pattern_scalar(s, pattern_other(add, mean), epsilon)) return false;
    const Node *reduce = pattern_inner(s, mean, "ReduceMean", 1, f);
    if (reduce == NULL || !over_last(s, reduce)) return false;
    const Node *square = pattern_inner(s, reduce->inputs[0], "Pow", 1, f);
    *reads = 1;
    if (square != NULL) return square->inputs[0] == x && pattern_is_about(s, square->inputs[1], 2);
    square = pattern_inner(s, reduce->inputs[0], "Mul", 1, f);
    *reads = 2;
    return square != NULL && square->inputs[0] == x && square->inputs[1] == x;
}

/* What is behind the quotient: the scale, one entry for each of the last axis, and for a normalisation with mean the shift. */
static ValueId constant_row(const Patterns *s, const Node *n, ValueId v)
{
    ValueId row = pattern_other(n, v);
    const Tensor *t = row != 0 ? graph_value(s->g, row)->tensor : NULL;
    return t != NULL && t->type == DT_FLOAT && t->shape.rank == 1 && tensor_count(t) > 1 ? row : 0;
}

/* The row has one entry for each of x's last axis, not a broadcast of one. */
static bool spans_last(const Patterns *s, ValueId x, ValueId row)
{
    const Shape *shape = &graph_value(s->g, x)->shape;
    return shape->rank > 0 && shape->dims[shape->rank - 1] == tensor_count(graph_value(s->g, row)->tensor);
}

Status pattern_layer_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id); /* Add of the shift */
    Found f = { 0 };
    double epsilon;
    int reads;
    ValueId scaled = pattern_made_by(s, last, "Mul"), shift = scaled != 0 ? constant_row(s, last, scaled) : 0;
    const Node *mul = shift != 0 ? pattern_inner(s, scaled, "Mul", 1, &f) : NULL;
    ValueId quotient = mul != NULL ? pattern_made_by(s, mul, "Div") : 0, scale = quotient != 0 ? constant_row(s, mul, quotient) : 0;
    const Node *div = scale != 0 ? pattern_inner(s, quotient, "Div", 1, &f) : NULL;
    if (div == NULL || !root_mean(s, div->inputs[1], div->inputs[0], &epsilon, &reads, &f)) return OK;
    const Node *sub = pattern_inner(s, div->inputs[0], "Sub", 1 + reads, &f);
    const Node *mean = sub != NULL ? pattern_inner(s, sub->inputs[1], "ReduceMean", 1, &f) : NULL;
    if (mean == NULL || mean->inputs[0] != sub->inputs[0] || !over_last(s, mean) || !pattern_is_float(s, sub->inputs[0])) return OK;
    const Tensor *a = graph_value(s->g, scale)->tensor, *b = graph_value(s->g, shift)->tensor;
    if (tensor_count(a) != tensor_count(b) || !spans_last(s, sub->inputs[0], scale)) return OK;
    NodeId made;
    ValueId in[3] = { sub->inputs[0], scale, shift };
    TRY(pattern_replace(s, &f, id, pattern_op("LayerNormalization"), in, 3, &made));
    TRY(graph_set_int(s->g, made, "axis", -1, s->err));
    return graph_set_float(s->g, made, "epsilon", (float)epsilon, s->err);
}

/* y = x * (1 / r) or x / r, times the scale. */
Status pattern_root_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id); /* Mul by the scale */
    for (int form = 0; form < 2; form++) {
        Found f = { 0 };
        double epsilon;
        int reads;
        ValueId quotient = pattern_made_by(s, last, form == 0 ? "Mul" : "Div"), scale = quotient != 0 ? constant_row(s, last, quotient) : 0;
        const Node *n = scale != 0 ? pattern_inner(s, quotient, form == 0 ? "Mul" : "Div", 1, &f) : NULL;
        if (n == NULL) continue;
        ValueId root = n->inputs[1], x = n->inputs[0];
        if (form == 0) {
            ValueId inverse = pattern_made_by(s, n, "Div");
            x = inverse != 0 ? pattern_other(n, inverse) : 0;
            const Node *div = x != 0 ? pattern_inner(s, inverse, "Div", 1, &f) : NULL;
            if (div == NULL || !pattern_is_about(s, div->inputs[0], 1)) continue;
            root = div->inputs[1];
        }
        if (!pattern_is_float(s, x) || !root_mean(s, root, x, &epsilon, &reads, &f) || !spans_last(s, x, scale)) continue;
        NodeId made;
        ValueId in[2] = { x, scale };
        TRY(pattern_replace(s, &f, id, pattern_op("SimplifiedLayerNormalization"), in, 2, &made));
        TRY(graph_set_int(s->g, made, "axis", -1, s->err));
        return graph_set_float(s->g, made, "epsilon", (float)epsilon, s->err);
    }
    return OK;
}
