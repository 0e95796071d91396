#include "engine/patterns_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"

/* --- questions about the nodes around a value */

const Node *pattern_maker(const Patterns *s, ValueId v, const char *type)
{
    NodeId id = v != 0 ? graph_value(s->g, v)->producer : 0;
    const Node *n = id != 0 ? graph_node(s->g, id) : NULL;
    return n != NULL && node_is(n, type) && n->output_count == 1 ? n : NULL;
}

bool pattern_is_inner(const Patterns *s, ValueId v, int readers)
{
    return v < s->values && s->readers[v] == readers && (s->watched == NULL || !s->watched[v]);
}

bool pattern_add(Found *f, NodeId id)
{
    for (int i = 0; i < f->count; i++)
        if (f->node[i] == id) return true;
    if (f->count == INNER) return false;
    f->node[f->count++] = id;
    return true;
}

const Node *pattern_inner(const Patterns *s, ValueId v, const char *type, int readers, Found *f)
{
    const Node *n = pattern_maker(s, v, type);
    return n != NULL && pattern_is_inner(s, v, readers) && pattern_add(f, graph_value(s->g, v)->producer) ? n : NULL;
}

bool pattern_scalar(const Patterns *s, ValueId v, double *x)
{
    const Tensor *t = v != 0 ? graph_value(s->g, v)->tensor : NULL;
    if (t == NULL || (t->type != DT_FLOAT && !dtype_is_integer(t->type)) || tensor_count(t) != 1 || t->data == NULL) return false;
    *x = tensor_get(t, 0);
    return true;
}

bool pattern_is_about(const Patterns *s, ValueId v, double want)
{
    double x;
    return pattern_scalar(s, v, &x) && graph_value(s->g, v)->tensor->shape.rank <= 1 && fabs(x - want) <= 1e-6 * fabs(want);
}

ValueId pattern_other(const Node *n, ValueId v)
{
    if (n->input_count != 2 || (n->inputs[0] == v) == (n->inputs[1] == v)) return 0;
    return n->inputs[0] == v ? n->inputs[1] : n->inputs[0];
}

ValueId pattern_times(const Patterns *s, const Node *n, double want)
{
    for (int i = 0; i < 2 && n->input_count == 2; i++)
        if (pattern_is_about(s, n->inputs[i], want)) return n->inputs[1 - i];
    return 0;
}

ValueId pattern_made_by(const Patterns *s, const Node *n, const char *type)
{
    for (int i = 0; i < n->input_count; i++)
        if (pattern_maker(s, n->inputs[i], type) != NULL) return n->inputs[i];
    return 0;
}

bool pattern_is_float(const Patterns *s, ValueId v)
{
    return v != 0 && graph_value(s->g, v)->type == DT_FLOAT;
}

const Op *pattern_op(const char *type)
{
    return engine_find_op(STR(""), str_of(type));
}

Status pattern_replace(Patterns *s, const Found *f, NodeId last, const Op *op, const ValueId *in, int count, NodeId *out)
{
    ValueId result = graph_node(s->g, last)->outputs[0];
    Str label = node_label(s->g, graph_node(s->g, last));
    for (int i = 0; i < f->count; i++) graph_remove_node(s->g, f->node[i]);
    graph_remove_node(s->g, last);
    *out = graph_add_node(s->g, op->type, op->domain, label, in, count, &result, 1);
    if (*out == 0) return err_no_memory(s->err, "a fused operator");
    graph_node(s->g, *out)->op = op;
    s->made++;
    return OK;
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
    } else if (node_input(n, 2) != 0 && !pattern_scalar(s, node_input(n, 2), &value)) {
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
    const Node *pad = pattern_inner(s, v, "Pad", 1, f);
    if (pad != NULL) return pad;
    const Node *back = pattern_inner(s, v, "DequantizeLinear", 1, f);
    const Node *quantize = back != NULL ? pattern_inner(s, back->inputs[0], "QuantizeLinear", 1, f) : NULL;
    pad = quantize != NULL ? pattern_inner(s, quantize->inputs[0], "Pad", 1, f) : NULL;
    const Node *there = pad != NULL ? pattern_maker(s, pad->inputs[0], "DequantizeLinear") : NULL;
    const Tensor *scale = back != NULL ? node_constant(s->g, back, 1) : NULL;
    if (there == NULL || scale == NULL || tensor_count(scale) != 1) return NULL;
    return same_grid(s, back, quantize) && same_grid(s, back, there) ? pad : NULL;
}

/* A Pad of integers by their zero point, dequantized: *reader is the DequantizeLinear, which is to read what the Pad does. */
static const Node *integer_pad(Patterns *s, ValueId v, NodeId *reader, const Tensor **point, Found *f)
{
    const Node *back = pattern_maker(s, v, "DequantizeLinear");
    if (back == NULL || s->readers[v] != 1 || (s->watched != NULL && s->watched[v])) return NULL;
    *reader = graph_value(s->g, v)->producer;
    *point = node_constant(s->g, back, 2);
    return *point != NULL ? pattern_inner(s, back->inputs[0], "Pad", 1, f) : NULL;
}

/* A Pad of floats, quantized and dequantized on one grid: *reader is the QuantizeLinear, whose zero point the Conv's padding stands for. */
static const Node *quantized_pad(Patterns *s, ValueId v, NodeId *reader, Found *f)
{
    Found between = { 0 };
    const Node *back = pattern_inner(s, v, "DequantizeLinear", 1, &between);
    const Node *quantize = back != NULL ? pattern_inner(s, back->inputs[0], "QuantizeLinear", 1, &between) : NULL;
    const Tensor *scale = back != NULL ? node_constant(s->g, back, 1) : NULL;
    if (quantize == NULL || scale == NULL || tensor_count(scale) != 1 || !same_grid(s, back, quantize)) return NULL;
    *reader = graph_value(s->g, back->inputs[0])->producer;
    return pattern_inner(s, quantize->inputs[0], "Pad", 1, f);
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
    if (pad == NULL) {
        f = (Found){ 0 };
        pad = quantized_pad(s, node_input(n, 0), &reader, &f);
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
    ValueId made = pattern_made_by(s, n, "Conv"), addend = made != 0 ? pattern_other(n, made) : 0;
    const Node *conv = addend != 0 && n->input_count == 2 ? pattern_inner(s, made, "Conv", 1, &f) : NULL;
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
    const Node *n = graph_node(s->g, id), *first = pattern_maker(s, node_input(n, 0), "Transpose");
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
    ValueId out = graph_node(s->g, id)->outputs[0];
    if (out < s->values && x < s->values && s->readers[out] > 0 && pattern_is_inner(s, out, s->readers[out]) && s->readers[out] < INNER) {
        s->readers[x] += s->readers[out] - 1; /* its readers read x */
        graph_remove_node(s->g, id);
        return graph_replace_value(s->g, out, x, s->err);
    }
    graph_remove_attr(s->g, id, "perm");
    return graph_set_type(s->g, id, "Identity", "", s->err);
}

/* --- all of them */

static Status rewrite(Patterns *s, NodeId id, bool smaller)
{
    const Node *n = graph_node(s->g, id);
    if (n->removed || n->domain.len != 0 || n->output_count != 1 || n->outputs[0] == 0 || n->capture_count > 0) return OK;
    if (!smaller && str_is(n->type, "Concat")) return pattern_rotary(s, id);
    if (!smaller && str_is(n->type, "Add")) {
        int before = s->made;
        TRY(pattern_layer_norm(s, id));
        return s->made == before ? pattern_rotary(s, id) : OK;
    }
    if (!smaller) return OK;
    TRY(pattern_push(s, &id));
    n = graph_node(s->g, id);
    if (str_is(n->type, "Add") && (n->op == NULL || n->op->until == 0 || n->op->until > 6)) return add_conv(s, id);
    if (str_is(n->type, "Conv")) return pad_conv(s, id);
    if (str_is(n->type, "Transpose")) return transposes(s, id);
    if (str_is(n->type, "Div")) return pattern_root_norm(s, id);
    if (!str_is(n->type, "Mul")) return OK;
    static Status (*const products[])(Patterns *, NodeId) = { pattern_root_norm, pattern_gelu, pattern_gelu_tanh, pattern_swish,
                                                              pattern_gated };
    int before = s->made;
    for (size_t i = 0; i < sizeof products / sizeof *products && s->made == before; i++) TRY(products[i](s, id));
    return OK;
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
