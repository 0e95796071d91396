/* Gelu and Swish. */
#include "engine/patterns_private.h"

#include <math.h>

#include "graph/edit.h"

/* Whether v is 1 + erf(x / sqrt(2)); *x is x. */
static bool one_and_erf(Patterns *s, ValueId v, ValueId *x, Found *f)
{
    const Node *add = pattern_inner(s, v, "Add", 1, f);
    ValueId erf = add != NULL ? pattern_times(s, add, 1) : 0;
    const Node *n = erf != 0 ? pattern_inner(s, erf, "Erf", 1, f) : NULL;
    if (n == NULL) return false;
    const Node *div = pattern_inner(s, n->inputs[0], "Div", 1, f), *mul = div == NULL ? pattern_inner(s, n->inputs[0], "Mul", 1, f) : NULL;
    if (div != NULL) *x = pattern_is_about(s, div->inputs[1], M_SQRT2) ? div->inputs[0] : 0;
    else *x = mul != NULL ? pattern_times(s, mul, M_SQRT1_2) : 0;
    return *x != 0;
}

/* 0.5 x (1 + erf(x / sqrt(2))) in any order of its factors. */
Status pattern_gelu(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    ValueId x = 0, whole = 0;
    for (int side = 0; side < 2 && last->input_count == 2; side++) {
        Found f = { 0 };
        ValueId a = last->inputs[side], b = last->inputs[1 - side];
        const Node *n;
        if (pattern_is_about(s, a, 0.5) && (n = pattern_inner(s, b, "Mul", 1, &f)) != NULL) { /* 0.5 (x e) */
            for (int i = 0; i < 2 && whole == 0; i++) {
                Found g = f;
                if (one_and_erf(s, n->inputs[i], &x, &g) && n->inputs[1 - i] == x) {
                    whole = x;
                    f = g;
                }
            }
        } else if (one_and_erf(s, a, &x, &f) && (n = pattern_inner(s, b, "Mul", 1, &f)) != NULL) { /* (0.5 x) e */
            if (pattern_times(s, n, 0.5) == x) whole = x;
        } else {
            f = (Found){ 0 };
            ValueId e = (n = pattern_inner(s, b, "Mul", 1, &f)) != NULL ? pattern_times(s, n, 0.5) : 0;
            if (e != 0 && one_and_erf(s, e, &x, &f) && a == x) whole = x; /* x (0.5 e) */
        }
        if (whole == 0 || !pattern_is_float(s, whole)) continue;
        NodeId made;
        return pattern_replace(s, &f, id, pattern_op("Gelu"), &whole, 1, &made);
    }
    return OK;
}

/* x sigmoid(x) */
Status pattern_swish(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    Found f = { 0 };
    ValueId gate = pattern_made_by(s, last, "Sigmoid"), x = gate != 0 ? pattern_other(last, gate) : 0;
    const Node *n = x != 0 ? pattern_inner(s, gate, "Sigmoid", 1, &f) : NULL;
    NodeId made;
    return n != NULL && n->inputs[0] == x && pattern_is_float(s, x) ? pattern_replace(s, &f, id, pattern_op("Swish"), &x, 1, &made) : OK;
}
