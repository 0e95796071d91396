#include "engine/patterns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"

#define INNER 12 /* nodes of a pattern */

typedef struct Patterns {
    Graph *g;
    const bool *watched;
    int *readers; /* [value]: inputs and captures that read it; graph outputs count one */
    size_t values;
    int made;
    Err *err;
} Patterns;

/* The nodes of one occurrence, all to be removed but the last, which makes the result. */
typedef struct Found {
    NodeId node[INNER];
    int count;
} Found;

static const Node *maker(const Patterns *s, ValueId v, const char *type)
{
    NodeId id = v != 0 ? graph_value(s->g, v)->producer : 0;
    const Node *n = id != 0 ? graph_node(s->g, id) : NULL;
    return n != NULL && node_is(n, type) && n->output_count == 1 ? n : NULL;
}

/* The maker of v, which is read `readers` times in all and by nobody outside the pattern; added to what was found. */
static const Node *inner(const Patterns *s, ValueId v, const char *type, int readers, Found *f)
{
    const Node *n = maker(s, v, type);
    if (n == NULL || s->readers[v] != readers || (s->watched != NULL && s->watched[v]) || f->count == INNER) return NULL;
    f->node[f->count++] = graph_value(s->g, v)->producer;
    return n;
}

static bool scalar(const Patterns *s, ValueId v, double *x)
{
    const Tensor *t = v != 0 ? graph_value(s->g, v)->tensor : NULL;
    if (t == NULL || t->type != DT_FLOAT || tensor_count(t) != 1 || t->data == NULL) return false;
    *x = tensor_get(t, 0);
    return true;
}

/* A scalar of about this value, which must not add an axis to what it is combined with. */
static bool is_about(const Patterns *s, ValueId v, double want)
{
    double x;
    return scalar(s, v, &x) && graph_value(s->g, v)->tensor->shape.rank <= 1 && fabs(x - want) <= 1e-6 * fabs(want);
}

/* The operand of a commutative node that is not v; 0: it is none of its operands, or both. */
static ValueId other(const Node *n, ValueId v)
{
    if (n->input_count != 2 || (n->inputs[0] == v) == (n->inputs[1] == v)) return 0;
    return n->inputs[0] == v ? n->inputs[1] : n->inputs[0];
}

static ValueId times(const Patterns *s, const Node *n, double want)
{
    for (int i = 0; i < 2 && n->input_count == 2; i++)
        if (is_about(s, n->inputs[i], want)) return n->inputs[1 - i];
    return 0;
}

/* Which input of a node was made by this type of node. */
static ValueId made_by(const Patterns *s, const Node *n, const char *type)
{
    for (int i = 0; i < n->input_count; i++)
        if (maker(s, n->inputs[i], type) != NULL) return n->inputs[i];
    return 0;
}

static bool is_float(const Patterns *s, ValueId v)
{
    return v != 0 && graph_value(s->g, v)->type == DT_FLOAT;
}

/* Puts one node in the place of those found; `last` makes the result. */
static Status replace(Patterns *s, const Found *f, NodeId last, const char *type, const ValueId *in, int count, NodeId *out)
{
    ValueId result = graph_node(s->g, last)->outputs[0];
    Str label = node_label(s->g, graph_node(s->g, last));
    for (int i = 0; i < f->count; i++) graph_remove_node(s->g, f->node[i]);
    graph_remove_node(s->g, last);
    *out = graph_add_node(s->g, type, "", label, in, count, &result, 1);
    if (*out == 0) return err_no_memory(s->err, "a fused operator");
    graph_node(s->g, *out)->op = engine_find_op(STR(""), str_of(type)); /* whatever the file's opset */
    s->made++;
    return OK;
}

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
    const Node *root = inner(s, v, "Sqrt", 1, f);
    const Node *add = root != NULL ? inner(s, root->inputs[0], "Add", 1, f) : NULL;
    ValueId mean = add != NULL ? made_by(s, add, "ReduceMean") : 0;
    if (mean == 0 || !scalar(s, other(add, mean), epsilon)) return false;
    const Node *reduce = inner(s, mean, "ReduceMean", 1, f);
    if (reduce == NULL || !over_last(s, reduce)) return false;
    const Node *square = inner(s, reduce->inputs[0], "Pow", 1, f);
    *reads = 1;
    if (square != NULL) return square->inputs[0] == x && is_about(s, square->inputs[1], 2);
    square = inner(s, reduce->inputs[0], "Mul", 1, f);
    *reads = 2;
    return square != NULL && square->inputs[0] == x && square->inputs[1] == x;
}

/* What is behind the quotient: the scale, one entry for each of the last axis, and for a normalisation with mean the shift. */
static ValueId constant_row(const Patterns *s, const Node *n, ValueId v)
{
    ValueId row = other(n, v);
    const Tensor *t = row != 0 ? graph_value(s->g, row)->tensor : NULL;
    return t != NULL && t->type == DT_FLOAT && t->shape.rank == 1 && tensor_count(t) > 1 ? row : 0;
}

/* The row has one entry for each of x's last axis, not a broadcast of one. */
static bool spans_last(const Patterns *s, ValueId x, ValueId row)
{
    const Shape *shape = &graph_value(s->g, x)->shape;
    return shape->rank > 0 && shape->dims[shape->rank - 1] == tensor_count(graph_value(s->g, row)->tensor);
}

static Status layer_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id); /* Add of the shift */
    Found f = { 0 };
    double epsilon;
    int reads;
    ValueId scaled = made_by(s, last, "Mul"), shift = scaled != 0 ? constant_row(s, last, scaled) : 0;
    const Node *mul = shift != 0 ? inner(s, scaled, "Mul", 1, &f) : NULL;
    ValueId quotient = mul != NULL ? made_by(s, mul, "Div") : 0, scale = quotient != 0 ? constant_row(s, mul, quotient) : 0;
    const Node *div = scale != 0 ? inner(s, quotient, "Div", 1, &f) : NULL;
    if (div == NULL || !root_mean(s, div->inputs[1], div->inputs[0], &epsilon, &reads, &f)) return OK;
    const Node *sub = inner(s, div->inputs[0], "Sub", 1 + reads, &f);
    const Node *mean = sub != NULL ? inner(s, sub->inputs[1], "ReduceMean", 1, &f) : NULL;
    if (mean == NULL || mean->inputs[0] != sub->inputs[0] || !over_last(s, mean) || !is_float(s, sub->inputs[0])) return OK;
    const Tensor *a = graph_value(s->g, scale)->tensor, *b = graph_value(s->g, shift)->tensor;
    if (tensor_count(a) != tensor_count(b) || !spans_last(s, sub->inputs[0], scale)) return OK;
    NodeId made;
    ValueId in[3] = { sub->inputs[0], scale, shift };
    TRY(replace(s, &f, id, "LayerNormalization", in, 3, &made));
    TRY(graph_set_int(s->g, made, "axis", -1, s->err));
    return graph_set_float(s->g, made, "epsilon", (float)epsilon, s->err);
}

/* y = x * (1 / r) or x / r, times the scale. */
static Status root_norm(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id); /* Mul by the scale */
    for (int form = 0; form < 2; form++) {
        Found f = { 0 };
        double epsilon;
        int reads;
        ValueId quotient = made_by(s, last, form == 0 ? "Mul" : "Div"), scale = quotient != 0 ? constant_row(s, last, quotient) : 0;
        const Node *n = scale != 0 ? inner(s, quotient, form == 0 ? "Mul" : "Div", 1, &f) : NULL;
        if (n == NULL) continue;
        ValueId root = n->inputs[1], x = n->inputs[0];
        if (form == 0) {
            ValueId inverse = made_by(s, n, "Div");
            x = inverse != 0 ? other(n, inverse) : 0;
            const Node *div = x != 0 ? inner(s, inverse, "Div", 1, &f) : NULL;
            if (div == NULL || !is_about(s, div->inputs[0], 1)) continue;
            root = div->inputs[1];
        }
        if (!is_float(s, x) || !root_mean(s, root, x, &epsilon, &reads, &f) || !spans_last(s, x, scale)) continue;
        NodeId made;
        ValueId in[2] = { x, scale };
        TRY(replace(s, &f, id, "SimplifiedLayerNormalization", in, 2, &made));
        TRY(graph_set_int(s->g, made, "axis", -1, s->err));
        return graph_set_float(s->g, made, "epsilon", (float)epsilon, s->err);
    }
    return OK;
}

/* --- activations */

/* Whether v is 1 + erf(x / sqrt(2)); *x is x. */
static bool one_and_erf(Patterns *s, ValueId v, ValueId *x, Found *f)
{
    const Node *add = inner(s, v, "Add", 1, f);
    ValueId erf = add != NULL ? times(s, add, 1) : 0;
    const Node *n = erf != 0 ? inner(s, erf, "Erf", 1, f) : NULL;
    if (n == NULL) return false;
    const Node *div = inner(s, n->inputs[0], "Div", 1, f), *mul = div == NULL ? inner(s, n->inputs[0], "Mul", 1, f) : NULL;
    if (div != NULL) *x = is_about(s, div->inputs[1], M_SQRT2) ? div->inputs[0] : 0;
    else *x = mul != NULL ? times(s, mul, M_SQRT1_2) : 0;
    return *x != 0;
}

/* 0.5 x (1 + erf(x / sqrt(2))) in any order of its factors. */
static Status gelu(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    ValueId x = 0, whole = 0;
    for (int side = 0; side < 2 && last->input_count == 2; side++) {
        Found f = { 0 };
        ValueId a = last->inputs[side], b = last->inputs[1 - side];
        const Node *n;
        if (is_about(s, a, 0.5) && (n = inner(s, b, "Mul", 1, &f)) != NULL) { /* 0.5 (x e) */
            for (int i = 0; i < 2 && whole == 0; i++) {
                Found g = f;
                if (one_and_erf(s, n->inputs[i], &x, &g) && n->inputs[1 - i] == x) {
                    whole = x;
                    f = g;
                }
            }
        } else if (one_and_erf(s, a, &x, &f) && (n = inner(s, b, "Mul", 1, &f)) != NULL) { /* (0.5 x) e */
            if (times(s, n, 0.5) == x) whole = x;
        } else {
            f = (Found){ 0 };
            if ((n = inner(s, b, "Mul", 1, &f)) != NULL && times(s, n, 0.5) != 0 && one_and_erf(s, times(s, n, 0.5), &x, &f) && a == x)
                whole = x; /* x (0.5 e) */
        }
        if (whole == 0 || !is_float(s, whole)) continue;
        NodeId made;
        return replace(s, &f, id, "Gelu", &whole, 1, &made);
    }
    return OK;
}

/* x sigmoid(x) */
static Status swish(Patterns *s, NodeId id)
{
    const Node *last = graph_node(s->g, id);
    Found f = { 0 };
    ValueId gate = made_by(s, last, "Sigmoid"), x = gate != 0 ? other(last, gate) : 0;
    const Node *n = x != 0 ? inner(s, gate, "Sigmoid", 1, &f) : NULL;
    NodeId made;
    return n != NULL && n->inputs[0] == x && is_float(s, x) ? replace(s, &f, id, "Swish", &x, 1, &made) : OK;
}

/* --- Pad of zeroes in front of a Conv: into its own padding */

/* The 2 * rank paddings of a Pad by zeroes (of integers: by `point`, their zero point) of whole rows; false: something else. */
static bool zero_pads(const Patterns *s, const Node *n, const Tensor *point, int64_t *pads, int *rank)
{
    int64_t count = 0;
    const int64_t *list = node_ints(n, "pads", &count);
    const Tensor *t = list == NULL ? node_constant(s->g, n, 1) : NULL;
    double value = node_float(n, "value", 0), zero = 0;
    if (!str_is(node_string(n, "mode", "constant"), "constant") || node_input(n, 3) != 0) return false;
    const Tensor *given = node_constant(s->g, n, 2);
    if (point != NULL) { /* integers: what stands for zero */
        if (tensor_count(point) != 1 || (node_input(n, 2) != 0 && (given == NULL || tensor_count(given) != 1))) return false;
        zero = tensor_get(point, 0);
        value = given != NULL ? tensor_get(given, 0) : 0;
    } else if (node_input(n, 2) != 0 && !scalar(s, node_input(n, 2), &value)) {
        return false;
    }
    if (value != zero || (list == NULL && (t == NULL || t->type != DT_INT64))) return false;
    if (list == NULL) count = tensor_count(t);
    if (count < 6 || count % 2 != 0 || count > 2 * MAX_RANK) return false;
    *rank = (int)(count / 2);
    for (int64_t i = 0; i < count; i++) {
        pads[i] = list != NULL ? list[i] : tensor_get_int(t, i);
        if (pads[i] < 0 || pads[i] > INT32_MAX || (i % *rank < 2 && pads[i] != 0)) return false;
    }
    return true;
}

static bool same_grid(const Patterns *s, const Node *a, const Node *b)
{
    for (int i = 1; i < 3; i++) {
        const Tensor *x = node_constant(s->g, a, i), *y = node_constant(s->g, b, i);
        if (node_input(a, i) == node_input(b, i)) continue;
        if (x == NULL || y == NULL || x->type != y->type || tensor_count(x) != 1 || tensor_count(y) != 1 ||
            tensor_get(x, 0) != tensor_get(y, 0)) return false;
    }
    return true;
}

/* DequantizeLinear, Pad, QuantizeLinear, DequantizeLinear on one grid, which zero lies on: the pad may be the Conv's. */
static const Node *pad_of(Patterns *s, ValueId v, Found *f)
{
    const Node *pad = inner(s, v, "Pad", 1, f);
    if (pad != NULL) return pad;
    const Node *back = inner(s, v, "DequantizeLinear", 1, f);
    const Node *quantize = back != NULL ? inner(s, back->inputs[0], "QuantizeLinear", 1, f) : NULL;
    pad = quantize != NULL ? inner(s, quantize->inputs[0], "Pad", 1, f) : NULL;
    const Node *there = pad != NULL ? maker(s, pad->inputs[0], "DequantizeLinear") : NULL;
    const Tensor *scale = back != NULL ? node_constant(s->g, back, 1) : NULL;
    if (there == NULL || scale == NULL || tensor_count(scale) != 1) return NULL;
    return same_grid(s, back, quantize) && same_grid(s, back, there) ? pad : NULL;
}

/* A Pad of integers by their zero point, dequantized: *reader is the DequantizeLinear, which is to read what the Pad does. */
static const Node *integer_pad(Patterns *s, ValueId v, NodeId *reader, const Tensor **point, Found *f)
{
    const Node *back = maker(s, v, "DequantizeLinear");
    if (back == NULL || s->readers[v] != 1 || (s->watched != NULL && s->watched[v])) return NULL;
    *reader = graph_value(s->g, v)->producer;
    *point = node_constant(s->g, back, 2);
    return *point != NULL ? inner(s, back->inputs[0], "Pad", 1, f) : NULL;
}

static Status pad_conv(Patterns *s, NodeId id)
{
    Found f = { 0 };
    int64_t pads[2 * MAX_RANK], own[2 * MAX_RANK], count = 0;
    int rank;
    NodeId reader = id;
    const Tensor *point = NULL;
    const Node *n = graph_node(s->g, id), *pad = integer_pad(s, node_input(n, 0), &reader, &point, &f);
    if (pad == NULL) {
        f = (Found){ 0 };
        point = NULL;
        reader = id;
        pad = pad_of(s, node_input(n, 0), &f);
    }
    if (pad == NULL || !str_is(node_string(n, "auto_pad", "NOTSET"), "NOTSET") || !zero_pads(s, pad, point, pads, &rank)) return OK;
    const int64_t *given = node_ints(n, "pads", &count);
    if (given != NULL && count != 2 * (rank - 2)) return OK;
    for (int i = 0; i < rank - 2; i++) {
        own[i] = pads[2 + i] + (given != NULL ? given[i] : 0);
        own[rank - 2 + i] = pads[rank + 2 + i] + (given != NULL ? given[rank - 2 + i] : 0);
    }
    ValueId x = pad->inputs[0];
    for (int i = 0; i < f.count; i++) graph_remove_node(s->g, f.node[i]);
    s->made++;
    TRY(graph_set_input(s->g, reader, 0, x, s->err));
    return graph_set_ints(s->g, id, "pads", own, 2 * (rank - 2), s->err);
}

/* --- Add of one constant for each channel behind a Conv without bias */

static Status add_conv(Patterns *s, NodeId id)
{
    Found f = { 0 };
    const Node *n = graph_node(s->g, id);
    ValueId made = made_by(s, n, "Conv"), addend = made != 0 ? other(n, made) : 0;
    const Node *conv = addend != 0 && n->input_count == 2 ? inner(s, made, "Conv", 1, &f) : NULL;
    const Tensor *t = addend != 0 ? graph_value(s->g, addend)->tensor : NULL;
    const Tensor *w = conv != NULL ? node_constant(s->g, conv, 1) : NULL;
    if (w == NULL || t == NULL || t->type != DT_FLOAT || t->data == NULL || node_input(conv, 2) != 0 || w->shape.rank < 3) return OK;
    int64_t channels = w->shape.dims[0];
    int at = t->shape.rank - (w->shape.rank - 1); /* of the channels, counted from the right */
    if (at < 0 || at > 1 || t->shape.dims[at] != channels || tensor_count(t) != channels) return OK;
    Tensor bias = tensor_share(t);
    bias.shape = shape_of(1, &channels);
    ValueId out = n->outputs[0], given = graph_add_constant(s->g, STR("pare_bias"), &bias);
    if (given == 0) return err_no_memory(s->err, "a bias");
    graph_remove_node(s->g, id);
    s->made++;
    TRY(graph_set_input(s->g, f.node[0], 2, given, s->err));
    return graph_set_outputs(s->g, f.node[0], &out, 1, s->err);
}

/* --- Transpose behind Transpose */

static Status transposes(Patterns *s, NodeId id)
{
    const Node *n = graph_node(s->g, id), *first = maker(s, node_input(n, 0), "Transpose");
    int64_t count = 0, before = 0, joined[MAX_RANK];
    const int64_t *perm = node_ints(n, "perm", &count), *earlier = first != NULL ? node_ints(first, "perm", &before) : NULL;
    if (perm == NULL || earlier == NULL || count != before || count > MAX_RANK) return OK;
    bool same = true;
    for (int64_t i = 0; i < count; i++) {
        if (perm[i] < 0 || perm[i] >= count || earlier[perm[i]] < 0 || earlier[perm[i]] >= count) return OK;
        joined[i] = earlier[perm[i]];
        same = same && joined[i] == i;
    }
    ValueId between = n->inputs[0], x = first->inputs[0];
    bool idle = s->readers[between] == 1 && !(s->watched != NULL && s->watched[between]);
    if (idle) graph_remove_node(s->g, graph_value(s->g, between)->producer);
    else s->readers[x]++;
    if (between < s->values) s->readers[between]--;
    s->made++;
    TRY(graph_set_input(s->g, id, 0, x, s->err));
    if (!same) return graph_set_ints(s->g, id, "perm", joined, count, s->err);
    graph_remove_attr(s->g, id, "perm");
    return graph_set_type(s->g, id, "Identity", "", s->err);
}

/* --- all of them */

static Status rewrite(Patterns *s, NodeId id, bool smaller)
{
    const Node *n = graph_node(s->g, id);
    if (n->removed || n->domain.len != 0 || n->output_count != 1 || n->outputs[0] == 0 || n->capture_count > 0) return OK;
    if (!smaller) return str_is(n->type, "Add") ? layer_norm(s, id) : OK;
    if (str_is(n->type, "Add") && (n->op == NULL || n->op->until == 0 || n->op->until > 6)) return add_conv(s, id);
    if (str_is(n->type, "Conv")) return pad_conv(s, id);
    if (str_is(n->type, "Transpose")) return transposes(s, id);
    if (!str_is(n->type, "Mul")) return OK;
    int before = s->made;
    TRY(root_norm(s, id));
    if (s->made == before) TRY(gelu(s, id));
    return s->made == before ? swish(s, id) : OK;
}

static bool count_readers(Patterns *s)
{
    const Graph *g = s->g;
    s->values = (size_t)g->value_count + 1;
    s->readers = alloc_zeroed(s->values, sizeof *s->readers);
    if (s->readers == NULL) return false;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int k = 0; k < n->input_count; k++) s->readers[n->inputs[k]]++;
        for (int k = 0; k < n->capture_count; k++) s->readers[n->captures[k]]++;
    }
    for (int i = 0; i < g->output_count; i++) s->readers[g->outputs[i]] += INNER; /* never inside */
    return true;
}

Status patterns(Graph *g, const bool *watched, int *made, Err *err)
{
    Patterns s = { .g = g, .watched = watched, .err = err };
    uint32_t count = g->order_count;
    NodeId *order = alloc_array((size_t)count + 1, sizeof *order); /* the graph's own grows while nodes are added */
    Status status = OK;
    *made = 0;
    if (order == NULL || !count_readers(&s)) {
        status = err_no_memory(err, "patterns");
        goto out;
    }
    memcpy(order, g->order, sizeof *order * count);
    for (int smaller = 0; smaller < 2; smaller++) /* what one pattern finds within another comes second */
        for (uint32_t i = 0; i < count; i++) TRY_OUT(rewrite(&s, order[i], smaller != 0));
    *made = s.made;
    if (s.made > 0) TRY_OUT(graph_finish(g, err));
out:
    free(order);
    free(s.readers);
    return status;
}
