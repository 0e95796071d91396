#include "quantize/form_build.h"

Str form_name(Graph *g, Str base, const char *suffix)
{
    return arena_printf(g->arena, "%.*s_%s", STR_ARG(base), suffix);
}

Status form_constant(Graph *g, Str base, const char *suffix, Tensor *t, ValueId *out, Err *err)
{
    *out = graph_add_constant(g, form_name(g, base, suffix), t);
    return *out != 0 ? OK : err_no_memory(err, "a constant");
}

Status form_floats(Graph *g, Str base, const char *suffix, const float *values, const Shape *shape, ValueId *out, Err *err)
{
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_FLOAT, shape, err));
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, (double)values[i]);
    return form_constant(g, base, suffix, &t, out, err);
}

Status form_ints(Graph *g, Str base, const char *suffix, const int64_t *values, int64_t count, ValueId *out, Err *err)
{
    Shape shape = shape_of(1, &count);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_INT64, &shape, err));
    for (int64_t i = 0; i < count; i++) tensor_set_int(&t, i, values[i]);
    return form_constant(g, base, suffix, &t, out, err);
}

Status form_node(Graph *g, const char *type, const char *domain, Str base, const char *suffix, const ValueId *inputs, int count, DType made,
                 ValueId *out, NodeId *node, Err *err)
{
    if (*out == 0) *out = graph_add_value(g, form_name(g, base, suffix), made, NULL);
    if (*out == 0) return err_no_memory(err, "a value");
    NodeId n = graph_add_node(g, type, domain, form_name(g, base, suffix), inputs, count, out, 1);
    if (n == 0) return err_no_memory(err, "a node");
    if (node != NULL) *node = n;
    return OK;
}

Status form_divert(Graph *g, NodeId node, const char *suffix, DType type, ValueId *raw, ValueId *old, Err *err)
{
    Str label = node_label(g, graph_node(g, node));
    if (graph_node(g, node)->name.len == 0) graph_node(g, node)->name = label;
    *old = graph_node(g, node)->outputs[0];
    *raw = graph_add_value(g, form_name(g, label, suffix), type, NULL);
    if (*raw == 0) return err_no_memory(err, "a value");
    return graph_set_outputs(g, node, raw, 1, err);
}

Status form_add_bias(Graph *g, const LayerForm *f, ValueId bias, Err *err)
{
    ValueId raw, old, inputs[2];
    if (f->bias_scale != 1.0) {
        Shape shape = shape_of(0, NULL);
        float beta = (float)f->bias_scale;
        inputs[0] = bias;
        TRY(form_floats(g, f->layer.name, "beta", &beta, &shape, &inputs[1], err));
        bias = 0;
        TRY(form_node(g, "Mul", "", f->layer.name, "scaled_bias", inputs, 2, DT_FLOAT, &bias, NULL, err));
    }
    TRY(form_divert(g, f->layer.node, "product", DT_FLOAT, &raw, &old, err));
    inputs[0] = raw;
    inputs[1] = bias;
    return form_node(g, "Add", "", f->layer.name, "add", inputs, 2, DT_FLOAT, &old, NULL, err);
}

void form_drop_attrs(Graph *g, NodeId node, const char *const *names)
{
    for (; *names != NULL; names++) graph_remove_attr(g, node, *names);
}

Status form_import(Graph *g, Err *err)
{
    if (graph_opset(g, STR(FORM_MICROSOFT)) > 0) return OK;
    return graph_set_opset(g, STR(FORM_MICROSOFT), 1, err);
}
