#include "quantize/form_dynamic.h"

#include "quantize/form_build.h"

static bool refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

static bool in_blocks(const LayerForm *f, const WeightSpec *spec)
{
    return spec->block > 0 && spec->block < f->width;
}

bool form_dynamic_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why)
{
    const Node *n = graph_node(g, f->layer.node);
    bool conv = node_is(n, "Conv"), product = node_is(n, "MatMul") || node_is(n, "Gemm");
    if (!conv && !product) return refuse(why, "there is no operator that quantizes its input while it runs");
    if (f->trans_in) return refuse(why, "its input is transposed (transA)");
    if (in_blocks(f, spec)) return refuse(why, "a product in integers takes one scale per output, not blocks");
    if (conv && !spec->symmetric && spec->block >= 0) return refuse(why, "ConvInteger takes one zero point for all weights");
    if (product && graph_value(g, f->layer.input)->shape.rank == 1) return refuse(why, "its input is a vector");
    return true;
}

static int shift_of(const WeightSpec *spec)
{
    return spec->symmetric && spec->shifted ? 128 : 0;
}

static DType type_of(const WeightSpec *spec)
{
    return spec->symmetric && !spec->shifted ? DT_INT8 : DT_UINT8;
}

/* One number where all zero points are the same, else one per row; nothing where they are 0. */
static Status store_zeros(Graph *g, Str base, const Rounded *r, const WeightSpec *spec, const Shape *rows, bool always, ValueId *out,
                          Err *err)
{
    bool same = true;
    for (int64_t i = 1; i < r->rows; i++) same &= r->zeros[i] == r->zeros[0];
    *out = 0;
    if (same && !always && r->zeros[0] + shift_of(spec) == 0) return OK;
    Tensor t = { 0 };
    Shape scalar = shape_of(0, NULL);
    TRY(tensor_new(&t, type_of(spec), same && !always ? &scalar : rows, err));
    int64_t count = tensor_count(&t);
    for (int64_t i = 0; i < count; i++) tensor_set_int(&t, i, r->zeros[i] + shift_of(spec));
    return form_constant(g, base, "zero", &t, out, err);
}

Status form_dynamic_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err)
{
    Str base = graph_value(g, f->layer.weight)->name;
    Shape shape = graph_value(g, f->layer.weight)->tensor->shape, scales = shape_of(0, NULL);
    bool conv = f->kind == FORM_CONV;
    Tensor t = { 0 };
    *out = (StoredWeight){ .spec = *spec, .form = *f, .type = type_of(spec), .rows = r->rows, .width = r->width, .blocks = 1 };
    if (!conv) shape = shape_of(2, (int64_t[]){ r->width, r->rows });
    TRY(tensor_new(&t, out->type, &shape, err));
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t k = 0; k < r->width; k++)
            tensor_set_int(&t, conv ? i * r->width + k : k * r->rows + i, r->q[i * r->width + k] + shift_of(spec));
    TRY(form_constant(g, base, dtype_name(out->type), &t, &out->q, err));
    if (spec->block >= 0) scales = shape_of(1, &r->rows);
    TRY(store_zeros(g, base, r, spec, &scales, false, &out->zero, err));
    if (conv && spec->block >= 0) {
        scales = shape_of(shape.rank - 1, (int64_t[MAX_RANK]){ r->rows });
        for (int i = 1; i < scales.rank; i++) scales.dims[i] = 1;
    }
    return form_floats(g, base, "scale", r->scales, &scales, &out->scale, err);
}

/* The three results of the one DynamicQuantizeLinear that reads v. */
static Status quantize_input(Graph *g, ValueId v, ValueId parts[3], Err *err)
{
    static const char *const names[] = { "quantized", "scale", "zero" };
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = graph_node(g, id);
        if (n->removed || !node_is(n, "DynamicQuantizeLinear") || n->inputs[0] != v || n->output_count < 3) continue;
        if (n->outputs[0] == 0 || n->outputs[1] == 0 || n->outputs[2] == 0) continue;
        for (int i = 0; i < 3; i++) parts[i] = n->outputs[i];
        return OK;
    }
    Str base = graph_value(g, v)->name;
    for (int i = 0; i < 3; i++) {
        parts[i] = graph_add_value(g, form_name(g, base, names[i]), i == 1 ? DT_FLOAT : DT_UINT8, NULL);
        if (parts[i] == 0) return err_no_memory(err, "a value");
    }
    NodeId n = graph_add_node(g, "DynamicQuantizeLinear", "", form_name(g, base, "quantize"), &v, 1, parts, 3);
    return n != 0 ? OK : err_no_memory(err, "a node");
}

/* What is to be added behind the product: constants in the shape that meets it, anything else brought into it by Reshape. */
static Status bias_value(Graph *g, const LayerForm *f, ValueId *bias, Err *err)
{
    *bias = f->layer.bias;
    if (*bias == 0 || f->kind != FORM_CONV) return OK;
    int rank = graph_value(g, f->layer.weight)->tensor->shape.rank;
    int64_t dims[MAX_RANK] = { form_outputs(f) };
    for (int i = 1; i < rank - 1; i++) dims[i] = 1;
    const Tensor *old = graph_value(g, *bias)->tensor;
    if (old == NULL || tensor_count(old) != form_outputs(f)) {
        ValueId inputs[2] = { *bias };
        dims[0] = -1;
        TRY(form_ints(g, f->layer.name, "bias_shape", dims, rank - 1, &inputs[1], err));
        *bias = 0;
        return form_node(g, "Reshape", "", f->layer.name, "wide_bias", inputs, 2, DT_FLOAT, bias, NULL, err);
    }
    Tensor t = { 0 };
    Shape shape = shape_of(rank - 1, dims);
    TRY(tensor_new(&t, DT_FLOAT, &shape, err));
    for (int64_t i = 0; i < dims[0]; i++) tensor_set(&t, i, tensor_get(old, i));
    return form_constant(g, f->layer.name, "wide_bias", &t, bias, err);
}

Status form_dynamic_attach(Graph *g, const LayerForm *f, const StoredWeight *w, Err *err)
{
    NodeId id = f->layer.node, cast;
    Str label = node_label(g, graph_node(g, id));
    ValueId x[3], bias, sums, old, real = 0, scale = 0;
    bool conv = f->kind == FORM_CONV;
    TRY(quantize_input(g, f->layer.input, x, err));
    TRY(bias_value(g, f, &bias, err));
    if (bias != 0) TRY(form_add_bias(g, f, bias, err));
    TRY(form_divert(g, id, "sums", DT_INT32, &sums, &old, err));
    form_drop_attrs(g, id, (const char *const[]){ "alpha", "beta", "transA", "transB", NULL });
    TRY(graph_set_type(g, id, conv ? "ConvInteger" : "MatMulInteger", "", err));
    TRY(graph_set_inputs(g, id, (ValueId[]){ x[0], w->q, x[2], w->zero }, w->zero != 0 ? 4 : 3, err));
    TRY(form_node(g, "Cast", "", label, "cast", &sums, 1, DT_FLOAT, &real, &cast, err));
    TRY(graph_set_int(g, cast, "to", DT_FLOAT, err));
    TRY(form_node(g, "Mul", "", label, "scales", (ValueId[]){ x[1], w->scale }, 2, DT_FLOAT, &scale, NULL, err));
    return form_node(g, "Mul", "", label, "scaled", (ValueId[]){ real, scale }, 2, DT_FLOAT, &old, NULL, err);
}

/* ---- LSTM ---- */

bool form_dynamic_lstm_fits(const Graph *g, const LayerForm *w, const LayerForm *r, const WeightSpec *spec, const char **why)
{
    const Node *n = graph_node(g, w->layer.node);
    if (!node_is(n, "LSTM")) return refuse(why, "only the LSTM has an operator that quantizes its input while it runs");
    if (node_int(n, "layout", 0) != 0) return refuse(why, "DynamicQuantizeLSTM knows no layout with the batch first");
    if (w->layer.node != r->layer.node || w->layer.weight != node_input(n, 1) || r->layer.weight != node_input(n, 2))
        return refuse(why, "both of its weights are needed");
    if (!spec->symmetric && spec->block >= 0) return refuse(why, "DynamicQuantizeLSTM takes one zero point for all weights");
    if (in_blocks(w, spec) || in_blocks(r, spec)) return refuse(why, "DynamicQuantizeLSTM takes one scale per output, not blocks");
    return true;
}

/* [directions,gates,inputs] becomes [directions,inputs,gates]; scales for each direction, or each gate of it. */
static Status store_gates(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, ValueId out[3], Err *err)
{
    Str base = graph_value(g, f->layer.weight)->name;
    Shape shape = shape_of(3, (int64_t[]){ f->groups, f->width, f->outputs });
    Shape scales = shape_of(spec->block < 0 ? 1 : 2, (int64_t[]){ f->groups, f->outputs });
    Tensor t = { 0 };
    TRY(tensor_new(&t, type_of(spec), &shape, err));
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t k = 0; k < r->width; k++) {
            int64_t at = (i / f->outputs * f->width + k) * f->outputs + i % f->outputs;
            tensor_set_int(&t, at, r->q[i * r->width + k] + shift_of(spec));
        }
    TRY(form_constant(g, base, dtype_name(type_of(spec)), &t, &out[0], err));
    TRY(form_floats(g, base, "scale", r->scales, &scales, &out[1], err));
    return store_zeros(g, base, r, spec, &scales, true, &out[2], err);
}

Status form_dynamic_lstm(Graph *g, const LayerForm *w, const Rounded *rounded_w, const LayerForm *r, const Rounded *rounded_r,
                         const WeightSpec *spec, Err *err)
{
    NodeId id = w->layer.node;
    const char *why;
    ValueId a[3], b[3], inputs[12];
    if (!form_dynamic_lstm_fits(g, w, r, spec, &why))
        return err_set(err, ERR_UNSUPPORTED, "layer '%.*s' cannot be written in this form: %s", STR_ARG(w->layer.name), why);
    TRY(store_gates(g, w, rounded_w, spec, a, err));
    TRY(store_gates(g, r, rounded_r, spec, b, err));
    for (int i = 0; i < 8; i++) inputs[i] = node_input(graph_node(g, id), i);
    inputs[1] = a[0];
    inputs[2] = b[0];
    inputs[8] = a[1];
    inputs[9] = a[2];
    inputs[10] = b[1];
    inputs[11] = b[2];
    TRY(form_import(g, err));
    form_drop_attrs(g, id, (const char *const[]){ "layout", NULL });
    TRY(graph_set_type(g, id, "DynamicQuantizeLSTM", FORM_MICROSOFT, err));
    return graph_set_inputs(g, id, inputs, 12, err);
}
