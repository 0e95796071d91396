/* Gelu, exact and by tanh, Swish, HardSwish and Mish, as exporters write them. */
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

/* Whether v is x^3, or x x x. */
static bool cubed(Patterns *s, ValueId v, ValueId x, Found *f)
{
    const Node *n = pattern_inner(s, v, "Pow", 1, f);
    if (n != NULL) return n->inputs[0] == x && pattern_is_about(s, n->inputs[1], 3);
    n = pattern_inner(s, v, "Mul", 1, f);
    const Node *square = n != NULL ? pattern_inner(s, pattern_other(n, x), "Mul", 1, f) : NULL;
    return square != NULL && square->inputs[0] == x && square->inputs[1] == x;
}

/* Whether v is x + 0.044715 x^3. */
static bool bent(Patterns *s, ValueId v, ValueId x, Found *f)
{
    const Node *add = pattern_inner(s, v, "Add", 1, f), *mul = add != NULL ? pattern_inner(s, pattern_other(add, x), "Mul", 1, f) : NULL;
    if (mul == NULL) return false;
    ValueId cube = pattern_times(s, mul, 0.044715);
    if (cube != 0) return cubed(s, cube, x, f);
    for (int i = 0; i < 2; i++) { /* x (0.044715 x x) in other orders: (0.044715 x) x^2, (0.044715 x^2) x */
        Found g = *f;
        const Node *n = pattern_inner(s, mul->inputs[i], "Mul", 1, &g);
        ValueId within = n != NULL ? pattern_times(s, n, 0.044715) : 0;
        const Node *square = within != 0 && mul->inputs[1 - i] == x ? pattern_inner(s, within, "Mul", 1, &g) : NULL;
        if (square == NULL || square->inputs[0] != x || square->inputs[1] != x) continue;
        *f = g;
        return true;
    }
    return false;
}

/* Whether v is 1 + 0.044715 x^2. */
static bool bent_square(Patterns *s, ValueId v, ValueId x, Found *f)
{
    const Node *add = pattern_inner(s, v, "Add", 1, f), *mul = add != NULL ? pattern_inner(s, pattern_times(s, add, 1), "Mul", 1, f) : NULL;
    if (mul == NULL) return false;
    ValueId square = pattern_times(s, mul, 0.044715);
    const Node *n = pattern_inner(s, square != 0 ? square : pattern_other(mul, x), "Mul", 1, f);
    if (n == NULL) return false;
    return square != 0 ? n->inputs[0] == x && n->inputs[1] == x : pattern_times(s, n, 0.044715) == x;
}

#define ROOT_2_BY_PI 0.79788456080286535588

/* Whether v is 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)). */
static bool one_and_tanh(Patterns *s, ValueId v, ValueId x, Found *f)
{
    const Node *add = pattern_inner(s, v, "Add", 1, f);
    const Node *tanh = add != NULL ? pattern_inner(s, pattern_times(s, add, 1), "Tanh", 1, f) : NULL;
    const Node *mul = tanh != NULL ? pattern_inner(s, tanh->inputs[0], "Mul", 1, f) : NULL;
    if (mul == NULL) return false;
    ValueId inside = pattern_times(s, mul, ROOT_2_BY_PI);
    if (inside != 0) return bent(s, inside, x, f);
    for (int i = 0; i < 2; i++) { /* (sqrt(2 / pi) x) (1 + 0.044715 x^2) */
        Found g = *f;
        const Node *n = pattern_inner(s, mul->inputs[i], "Mul", 1, &g);
        if (n == NULL || pattern_times(s, n, ROOT_2_BY_PI) != x || !bent_square(s, mul->inputs[1 - i], x, &g)) continue;
        *f = g;
        return true;
    }
    return false;
}

/* 0.5 x (1 + tanh(...)) in any order of its factors. */
Status pattern_gelu_tanh(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    for (int way = 0; way < 4 && last->input_count == 2; way++) {
        Found f = { 0 };
        ValueId a = last->inputs[way & 1], b = last->inputs[1 - (way & 1)], x = 0, whole = 0;
        const Node *n = pattern_inner(s, b, "Mul", 1, &f);
        if (n == NULL) continue;
        if (way < 2 && pattern_is_about(s, a, 0.5)) { /* 0.5 (x t) */
            for (int i = 0; i < 2 && x == 0; i++) {
                Found g = f;
                if (!one_and_tanh(s, n->inputs[i], n->inputs[1 - i], &g)) continue;
                x = n->inputs[1 - i];
                f = g;
            }
        } else if (way < 2) { /* t (0.5 x) */
            whole = pattern_times(s, n, 0.5);
            if (whole != 0 && one_and_tanh(s, a, whole, &f)) x = whole;
        } else { /* x (0.5 t) */
            whole = pattern_times(s, n, 0.5);
            if (whole != 0 && one_and_tanh(s, whole, a, &f)) x = a;
        }
        if (x == 0 || !pattern_is_float(s, x)) continue;
        NodeId made;
        TRY(pattern_replace(s, &f, id, pattern_op("Gelu"), &x, 1, &made));
        return graph_set_string(s->g, made, "approximate", STR("tanh"), s->err);
    }
    return OK;
}

/* x sigmoid(x), x sigmoid(a x) */
Status pattern_swish(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    Found f = { 0 };
    double alpha = 1;
    ValueId gate = pattern_made_by(s, last, "Sigmoid"), x = gate != 0 ? pattern_other(last, gate) : 0;
    const Node *n = x != 0 ? pattern_inner(s, gate, "Sigmoid", 1, &f) : NULL;
    NodeId made;
    if (n == NULL || !pattern_is_float(s, x)) return OK;
    if (n->inputs[0] != x) {
        const Node *mul = pattern_inner(s, n->inputs[0], "Mul", 1, &f);
        ValueId factor = mul != NULL ? pattern_other(mul, x) : 0;
        if (factor == 0 || !pattern_scalar(s, factor, &alpha) || !pattern_is_about(s, factor, alpha)) return OK;
    }
    TRY(pattern_replace(s, &f, id, pattern_op("Swish"), &x, 1, &made));
    return alpha != 1 ? graph_set_float(s->g, made, "alpha", (float)alpha, s->err) : OK;
}

/* x hardsigmoid(x) of a sixth and a half; x tanh(softplus(x)) */
Status pattern_gated(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    for (int i = 0; i < 2 && last->input_count == 2; i++) {
        Found f = { 0 };
        ValueId x = last->inputs[i], gate = last->inputs[1 - i];
        const Node *n = pattern_inner(s, gate, "HardSigmoid", 1, &f);
        bool hard = n != NULL && n->inputs[0] == x && fabs(node_float(n, "alpha", 0.2F) - 1.0 / 6) < 1e-6 &&
                    fabs(node_float(n, "beta", 0.5F) - 0.5) < 1e-6;
        const Node *tanh = n == NULL ? pattern_inner(s, gate, "Tanh", 1, &f) : NULL;
        const Node *plus = tanh != NULL ? pattern_inner(s, tanh->inputs[0], "Softplus", 1, &f) : NULL;
        NodeId made;
        if (!pattern_is_float(s, x) || (!hard && (plus == NULL || plus->inputs[0] != x))) continue;
        return pattern_replace(s, &f, id, pattern_op(hard ? "HardSwish" : "Mish"), &x, 1, &made);
    }
    return OK;
}
