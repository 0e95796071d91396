#include "stats/form.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"

static bool refuse(const char **why, const char *text)
{
    if (why != NULL) *why = text;
    return false;
}

static bool rows_form(const Node *n, const Shape *w, LayerForm *f, const char **why)
{
    bool gemm = str_is(n->type, "Gemm");
    if (w->rank != 2) return refuse(why, "the weights of this product are not a matrix");
    f->kind = FORM_ROWS;
    f->groups = f->taps = 1;
    f->trans_weight = gemm && node_int(n, "transB", 0) != 0;
    f->trans_in = gemm && node_int(n, "transA", 0) != 0;
    if (gemm) f->scale = node_float(n, "alpha", 1.0f);
    if (gemm) f->bias_scale = node_float(n, "beta", 1.0f);
    f->outputs = w->dims[f->trans_weight ? 0 : 1];
    f->width = w->dims[f->trans_weight ? 1 : 0];
    return true;
}

static bool conv_form(const Shape *w, bool transposed, LayerForm *f, const char **why)
{
    int64_t groups = f->layer.groups;
    if (w->rank < 3 || w->rank > 5) return refuse(why, "convolutions of one to three dimensions only");
    if (groups < 1 || w->dims[0] % groups != 0) return refuse(why, "the groups do not divide the channels");
    f->kind = transposed ? FORM_CONV_TRANSPOSED : FORM_CONV;
    f->groups = groups;
    f->taps = 1;
    for (int i = 2; i < w->rank; i++) f->taps *= w->dims[i];
    f->outputs = transposed ? w->dims[1] : w->dims[0] / groups;
    f->width = (transposed ? w->dims[0] / groups : w->dims[1]) * f->taps;
    return true;
}

/* Nothing there, or a constant that holds one number per output (or one for all). */
static bool plain_bias(const Graph *g, const LayerForm *f)
{
    if (f->layer.bias == 0) return true;
    const Tensor *t = graph_value(g, f->layer.bias)->tensor;
    if (t == NULL || !dtype_is_float(t->type)) return false;
    int64_t count = tensor_count(t), last = t->shape.rank > 0 ? t->shape.dims[t->shape.rank - 1] : 1;
    return count == 1 || (count == form_outputs(f) && last == count);
}

bool layer_form(const Graph *g, const Layer *l, LayerForm *out, const char **why)
{
    const Node *n = graph_node(g, l->node);
    const Tensor *w = graph_value(g, l->weight)->tensor;
    *out = (LayerForm){ .layer = *l, .scale = 1.0, .bias_scale = 1.0 };
    if (n->domain.len != 0 || w == NULL) return refuse(why, "an operator of this kind has no such statistics");
    if (!dtype_is_float(w->type)) return refuse(why, "the weights are no floats");
    if (graph_value(g, l->input)->tensor != NULL) return refuse(why, "the input is constant");
    bool fits;
    if (str_is(n->type, "Conv")) fits = conv_form(&w->shape, false, out, why);
    else if (str_is(n->type, "ConvTranspose")) fits = conv_form(&w->shape, true, out, why);
    else if (str_is(n->type, "Gemm") || str_is(n->type, "MatMul")) fits = rows_form(n, &w->shape, out, why);
    else return refuse(why, "an operator of this kind has no such statistics");
    if (!fits) return false;
    if (out->width < 1 || out->outputs < 1 || out->width > INT32_MAX || out->outputs > INT32_MAX)
        return refuse(why, "the weights are empty or too large");
    if (!(out->scale != 0.0) || !(out->bias_scale != 0.0)) return refuse(why, "alpha or beta is 0");
    out->takes_bias = n->op != NULL && n->op->bias_input >= 0 && plain_bias(g, out);
    return true;
}

static bool same_ints(const Node *a, const Node *b, const char *name)
{
    int64_t count_a, count_b;
    const int64_t *x = node_ints(a, name, &count_a), *y = node_ints(b, name, &count_b);
    if (count_a != count_b) return false;
    for (int64_t i = 0; i < count_a; i++)
        if (x[i] != y[i]) return false;
    return true;
}

bool layer_same_columns(const Graph *g, const LayerForm *a, const LayerForm *b)
{
    static const char *const lists[] = { "kernel_shape", "pads", "strides", "dilations", "output_padding", "output_shape" };
    if (a->layer.input != b->layer.input || a->kind != b->kind || a->width != b->width || a->groups != b->groups) return false;
    if (a->kind == FORM_ROWS) return a->trans_in == b->trans_in;
    const Node *x = graph_node(g, a->layer.node), *y = graph_node(g, b->layer.node);
    const Shape *v = &graph_value(g, a->layer.weight)->tensor->shape, *w = &graph_value(g, b->layer.weight)->tensor->shape;
    for (int i = 2; i < v->rank; i++)
        if (v->rank != w->rank || v->dims[i] != w->dims[i]) return false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!same_ints(x, y, lists[i])) return false;
    return str_eq(node_string(x, "auto_pad", "NOTSET"), node_string(y, "auto_pad", "NOTSET"));
}

int64_t layer_place(const LayerForm *f, int64_t group, int64_t output, int64_t column)
{
    if (f->kind == FORM_CONV || f->trans_weight) return (group * f->outputs + output) * f->width + column;
    if (f->kind == FORM_ROWS) return column * f->outputs + output;
    int64_t channel = group * (f->width / f->taps) + column / f->taps;
    return (channel * f->outputs + output) * f->taps + column % f->taps;
}

void layer_read_weights(const Graph *g, const LayerForm *f, double *w)
{
    const Tensor *t = graph_value(g, f->layer.weight)->tensor;
    for (int64_t k = 0; k < f->groups; k++)
        for (int64_t i = 0; i < f->outputs; i++)
            for (int64_t j = 0; j < f->width; j++) *w++ = f->scale * tensor_get(t, layer_place(f, k, i, j));
}

Status layer_write_weights(Graph *g, const LayerForm *f, const double *w, Err *err)
{
    Tensor *t;
    TRY(tensor_make_writable(g, f->layer.weight, &t, err));
    for (int64_t k = 0; k < f->groups; k++)
        for (int64_t i = 0; i < f->outputs; i++)
            for (int64_t j = 0; j < f->width; j++) tensor_set(t, layer_place(f, k, i, j), *w++ / f->scale);
    return OK;
}

void layer_read_bias(const Graph *g, const LayerForm *f, double *b)
{
    const Tensor *t = f->layer.bias != 0 ? graph_value(g, f->layer.bias)->tensor : NULL;
    int64_t count = t != NULL ? tensor_count(t) : 0;
    for (int64_t i = 0; i < form_outputs(f); i++) b[i] = count == 0 ? 0.0 : f->bias_scale * tensor_get(t, count == 1 ? 0 : i);
}

Status layer_write_bias(Graph *g, LayerForm *f, const double *b, Err *err)
{
    if (!f->takes_bias)
        return err_set(err, ERR_UNSUPPORTED, "layer '%.*s' has no place for a bias", STR_ARG(f->layer.name));
    DType type = graph_value(g, f->layer.weight)->tensor->type;
    Shape shape = shape_of(1, (int64_t[]){ form_outputs(f) });
    Tensor made;
    TRY(tensor_new(&made, type, &shape, err));
    for (int64_t i = 0; i < form_outputs(f); i++) tensor_set(&made, i, b[i] / f->bias_scale);
    if (f->layer.bias != 0 && graph_readers(g, f->layer.bias) == 1 && shape_eq(&graph_value(g, f->layer.bias)->tensor->shape, &shape))
        return graph_set_constant(g, f->layer.bias, &made, err);
    StrBuf name = { 0 };
    strbuf_add_n(&name, f->layer.name.data, f->layer.name.len);
    strbuf_add(&name, "_bias");
    ValueId v = 0;
    if (!name.failed) v = graph_add_constant(g, (Str){ name.data, name.len }, &made);
    strbuf_release(&name);
    tensor_release(&made);
    if (v == 0) return err_no_memory(err, "a bias");
    f->layer.bias = v;
    return graph_set_input(g, f->layer.node, graph_node(g, f->layer.node)->op->bias_input, v, err);
}

Status layer_copy_bias(const Graph *from, Graph *to, const LayerForm *f, Err *err)
{
    const Node *source = graph_node(from, f->layer.node), *target = graph_node(to, f->layer.node);
    int at = source->op->bias_input;
    if (!f->takes_bias || at < 0) return OK;
    LayerForm old = *f, new = *f;
    old.layer.bias = node_input(source, at);
    new.layer.bias = node_input(target, at);
    if (old.layer.bias == 0) return new.layer.bias == 0 ? OK : graph_set_input(to, f->layer.node, at, 0, err);
    if (new.layer.bias != 0 && graph_value(from, old.layer.bias)->tensor->data == graph_value(to, new.layer.bias)->tensor->data) return OK;
    double *bias = alloc_array((size_t)form_outputs(f) + 1, sizeof *bias);
    if (bias == NULL) return err_no_memory(err, "a layer's bias");
    layer_read_bias(from, &old, bias);
    Status status = layer_write_bias(to, &new, bias, err);
    free(bias);
    return status;
}
