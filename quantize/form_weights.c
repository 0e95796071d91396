#include "quantize/form_weights.h"

#include "quantize/form_build.h"
#include "quantize/form_dynamic.h"
#include "quantize/form_nbits.h"

static bool is_table(const Graph *g, const LayerForm *f)
{
    return node_is(graph_node(g, f->layer.node), "Gather");
}

static bool is_recurrent(const Graph *g, const LayerForm *f)
{
    const Op *op = graph_node(g, f->layer.node)->op;
    return op != NULL && op->recurrent_input > 0;
}

/* ---- weights that are no products ---- */

static bool refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

static bool fill(const Graph *g, NodeId id, ValueId weight, int64_t groups, int64_t outputs, int64_t width, LayerForm *out)
{
    const Node *n = graph_node(g, id);
    *out = (LayerForm){ .kind = groups > 0 ? FORM_CONV : FORM_ROWS, .groups = groups > 0 ? groups : 1, .width = width, .outputs = outputs,
                        .taps = 1, .trans_weight = groups == 0, .scale = 1.0, .bias_scale = 1.0 };
    out->layer = (Layer){ .node = id, .weight = weight, .output = node_output(n, 0), .groups = 1, .name = node_label(g, n),
                          .weight_name = graph_value(g, weight)->name, .out_axis = groups > 0 ? 1 : 0 };
    return true;
}

bool form_of_table(const Graph *g, NodeId gather, LayerForm *out, const char **why)
{
    const Node *n = graph_node(g, gather);
    const Tensor *t = node_is(n, "Gather") ? node_constant(g, n, 0) : NULL;
    if (t == NULL) return refuse(why, "it looks nothing up in a constant");
    if (t->shape.rank != 2 || tensor_count(t) == 0) return refuse(why, "its table is no matrix");
    int64_t axis = node_int(n, "axis", 0);
    if (axis != 0 && axis != -2) return refuse(why, "it does not look up rows (axis 0)");
    if (t->type != DT_FLOAT) return refuse(why, "its table is not float32");
    if (t->shape.dims[0] > INT32_MAX || t->shape.dims[1] > INT32_MAX) return refuse(why, "its table is too large");
    fill(g, gather, n->inputs[0], 0, t->shape.dims[0], t->shape.dims[1], out);
    out->layer.input = node_input(n, 1);
    return true;
}

bool form_of_recurrent(const Graph *g, const Layer *l, LayerForm *out, const char **why)
{
    const Node *n = graph_node(g, l->node);
    const Tensor *t = graph_value(g, l->weight)->tensor;
    if (n->op == NULL || n->op->recurrent_input == 0 || n->domain.len != 0) return refuse(why, "it is no LSTM, GRU or RNN");
    if (t == NULL || t->shape.rank != 3 || tensor_count(t) == 0) return refuse(why, "its weights are no tensor of rank 3");
    if (t->type != DT_FLOAT) return refuse(why, "its weights are not float32");
    fill(g, l->node, l->weight, t->shape.dims[0], t->shape.dims[1], t->shape.dims[2], out);
    out->layer = *l;
    return true;
}

/* ---- DequantizeLinear ---- */

/* How the integers lie: in the weight's own shape, or as the matrix [rows,width]. */
typedef struct Layout {
    Shape shape, scales; /* scales of rank 0: one for all */
    int axis;            /* -1: none */
    int64_t block;       /* 0: whole rows */
    bool matrix, by_column; /* by_column: scales lie [blocks,rows] */
} Layout;

static bool pointwise(const Shape *s)
{
    for (int i = 2; i < s->rank; i++)
        if (s->dims[i] != 1) return false;
    return true;
}

/* The axis along which one scale per output (blocks 1), or blocks of inputs, can be told in the weight's own shape; -1: none. */
static int own_axis(const Graph *g, const LayerForm *f, const Shape *s, bool blocked)
{
    if (f->kind == FORM_ROWS) return f->trans_weight == blocked ? 1 : 0;
    if (f->kind == FORM_CONV_TRANSPOSED) return f->groups == 1 && !blocked ? 1 : -1;
    if (is_recurrent(g, f)) return blocked ? 2 : f->groups == 1 ? 1 : -1;
    return !blocked ? 0 : pointwise(s) ? 1 : -1;
}

static Layout layout_of(const Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec)
{
    const Shape *s = &graph_value(g, f->layer.weight)->tensor->shape;
    bool blocked = r->blocks > 1;
    Layout l = { .shape = *s, .scales = shape_of(0, NULL), .axis = -1, .block = blocked ? spec->block : 0 };
    if (spec->block < 0) return l;
    l.axis = own_axis(g, f, s, blocked);
    l.matrix = l.axis < 0;
    if (l.matrix) {
        l.shape = shape_of(2, (int64_t[]){ r->rows, r->width });
        l.axis = blocked ? 1 : 0;
    }
    l.by_column = blocked && f->kind == FORM_ROWS && !f->trans_weight;
    l.scales = blocked ? l.shape : shape_of(1, &r->rows);
    if (blocked) l.scales.dims[l.axis] = r->blocks;
    return l;
}

/* ONNX Runtime 1.31 makes MatMulNBits of a MatMul behind 2-bit types, wrongly where a row does not end on a whole byte. */
static DType container(const LayerForm *f, const WeightSpec *s)
{
    bool is_signed = s->symmetric && !s->shifted, whole = f->kind != FORM_ROWS || (f->outputs % 4 == 0 && f->width % 4 == 0);
    if (s->bits <= 2 && s->two_bit && whole) return is_signed ? DT_INT2 : DT_UINT2;
    if (s->bits <= 4) return is_signed ? DT_INT4 : DT_UINT4;
    return is_signed ? DT_INT8 : DT_UINT8;
}

static int64_t scale_place(const Rounded *r, const Layout *l, int64_t row, int64_t block)
{
    return l->by_column ? block * r->rows + row : row * r->blocks + block;
}

static Status store_integers(Graph *g, const LayerForm *f, const Rounded *r, const Layout *l, int shift, StoredWeight *out, Err *err)
{
    Tensor t = { 0 };
    TRY(tensor_new(&t, out->type, &l->shape, err));
    for (int64_t row = 0; row < r->rows; row++)
        for (int64_t k = 0; k < r->width; k++) {
            int64_t at = l->matrix ? row * r->width + k : layer_place(f, row / f->outputs, row % f->outputs, k);
            tensor_set_int(&t, at, r->q[row * r->width + k] + shift);
        }
    return form_constant(g, graph_value(g, f->layer.weight)->name, dtype_name(out->type), &t, &out->q, err);
}

static Status store_grid(Graph *g, const LayerForm *f, const Rounded *r, const Layout *l, int shift, StoredWeight *out, Err *err)
{
    Str base = graph_value(g, f->layer.weight)->name;
    Tensor scale = { 0 }, zero = { 0 };
    Status status = OK;
    bool any = r->blocks == 1; /* ONNX Runtime moves a DequantizeLinear past a Reshape, and takes one without zero point for uint8 */
    int64_t rows = l->axis < 0 ? 1 : r->rows;
    TRY_OUT(tensor_new(&scale, DT_FLOAT, &l->scales, err));
    TRY_OUT(tensor_new(&zero, out->type, &l->scales, err));
    for (int64_t row = 0; row < rows; row++)
        for (int64_t b = 0; b < r->blocks; b++) {
            int z = r->zeros[row * r->blocks + b] + shift;
            tensor_set(&scale, scale_place(r, l, row, b), (double)r->scales[row * r->blocks + b]);
            tensor_set_int(&zero, scale_place(r, l, row, b), z);
            any |= z != 0;
        }
    TRY_OUT(form_constant(g, base, "scale", &scale, &out->scale, err));
    if (any) TRY_OUT(form_constant(g, base, "zero", &zero, &out->zero, err));
out:
    tensor_release(&scale);
    tensor_release(&zero);
    return status;
}

static Status reshape_to(Graph *g, Str base, const char *suffix, ValueId from, const int64_t *dims, int64_t rank, ValueId *out, Err *err)
{
    ValueId inputs[2] = { from };
    StrBuf name = { 0 };
    strbuf_add(&name, suffix);
    strbuf_add(&name, "_shape");
    Status status = name.failed ? err_no_memory(err, "a name") : form_ints(g, base, name.data, dims, rank, &inputs[1], err);
    strbuf_release(&name);
    TRY(status);
    *out = 0;
    return form_node(g, "Reshape", "", base, suffix, inputs, 2, DT_FLOAT, out, NULL, err);
}

/* From [rows,width] back to the weight's own shape. */
static Status unfold(Graph *g, const LayerForm *f, ValueId *v, Err *err)
{
    Str base = graph_value(g, f->layer.weight)->name;
    Shape own = graph_value(g, f->layer.weight)->tensor->shape;
    if (f->kind == FORM_CONV_TRANSPOSED) {
        int64_t dims[4] = { f->groups, f->outputs, f->width / f->taps, f->taps };
        NodeId swap;
        ValueId parts, swapped = 0;
        TRY(reshape_to(g, base, "parts", *v, dims, 4, &parts, err));
        TRY(form_node(g, "Transpose", "", base, "swapped", &parts, 1, DT_FLOAT, &swapped, &swap, err));
        TRY(graph_set_ints(g, swap, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4, err));
        *v = swapped;
    }
    return reshape_to(g, base, "unfolded", *v, own.dims, own.rank, v, err);
}

static Status store_qdq(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err)
{
    Layout l = layout_of(g, f, r, spec);
    *out = (StoredWeight){ .spec = *spec, .form = *f, .type = container(f, spec), .rows = r->rows, .width = r->width, .blocks = r->blocks,
                           .block = l.block };
    int shift = spec->symmetric && spec->shifted ? 1 << (dtype_bits(out->type) - 1) : 0;
    TRY(store_integers(g, f, r, &l, shift, out, err));
    return store_grid(g, f, r, &l, shift, out, err);
}

/* The floats, made at the first call. */
static Status values_of(Graph *g, StoredWeight *w, Err *err)
{
    if (w->values != 0) return OK;
    Str base = graph_value(g, w->form.layer.weight)->name;
    const Shape *own = &graph_value(g, w->form.layer.weight)->tensor->shape, *s = &graph_value(g, w->q)->shape;
    ValueId inputs[3] = { w->q, w->scale, w->zero };
    bool blocked = w->blocks > 1, matrix = !shape_eq(own, s);
    int axis = matrix ? (blocked ? 1 : 0) : own_axis(g, &w->form, own, blocked);
    NodeId node;
    ValueId made = 0;
    TRY(form_node(g, "DequantizeLinear", "", base, "dequantized", inputs, w->zero != 0 ? 3 : 2, DT_FLOAT, &made, &node, err));
    if (graph_value(g, w->scale)->shape.rank > 0) TRY(graph_set_int(g, node, "axis", axis, err));
    if (blocked) TRY(graph_set_int(g, node, "block_size", w->block, err));
    if (matrix) TRY(unfold(g, &w->form, &made, err));
    w->values = made;
    return OK;
}

/* ---- tables ---- */

static bool all_zero(const Graph *g, ValueId v)
{
    return v == 0 || tensor_nonzeros(graph_value(g, v)->tensor) == 0;
}

/* What belongs to the rows looked up: one number for all, or those at the indices, made as wide as a row. */
static Status pick(Graph *g, Str label, const char *suffix, ValueId from, ValueId index, ValueId axes, DType type, ValueId *out, Err *err)
{
    ValueId picked = 0;
    *out = from;
    if (graph_value(g, from)->shape.rank == 0) return OK;
    TRY(form_node(g, "Gather", "", label, suffix, (ValueId[]){ from, index }, 2, type, &picked, NULL, err));
    *out = 0;
    return form_node(g, "Unsqueeze", "", form_name(g, label, suffix), "wide", (ValueId[]){ picked, axes }, 2, type, out, NULL, err);
}

static Status cast(Graph *g, Str label, const char *suffix, ValueId from, ValueId *out, Err *err)
{
    NodeId node;
    *out = 0;
    TRY(form_node(g, "Cast", "", label, suffix, &from, 1, DT_FLOAT, out, &node, err));
    return graph_set_int(g, node, "to", DT_FLOAT, err);
}

/* Rows of integers are looked up, and their scales (and zero points): nothing is dequantized that nobody asked for. Cast and Mul instead of
 * DequantizeLinear: behind that ONNX Runtime would run the next product in integers, which these weights were not made for. */
static Status attach_rows(Graph *g, NodeId id, const StoredWeight *w, Err *err)
{
    Str label = node_label(g, graph_node(g, id));
    ValueId index = node_input(graph_node(g, id), 1), raw, old, axes = 0, real, scale, zero, shift;
    TRY(form_divert(g, id, "rows", w->type, &raw, &old, err));
    TRY(graph_set_input(g, id, 0, w->q, err));
    if (graph_value(g, w->scale)->shape.rank > 0) TRY(form_ints(g, label, "last_axis", (int64_t[]){ -1 }, 1, &axes, err));
    TRY(cast(g, label, "cast", raw, &real, err));
    TRY(pick(g, label, "row_scale", w->scale, index, axes, DT_FLOAT, &scale, err));
    if (!all_zero(g, w->zero)) {
        TRY(pick(g, label, "row_zero", w->zero, index, axes, w->type, &zero, err));
        TRY(cast(g, label, "cast_zero", zero, &shift, err));
        ValueId inputs[2] = { real, shift };
        real = 0;
        TRY(form_node(g, "Sub", "", label, "shift", inputs, 2, DT_FLOAT, &real, NULL, err));
    }
    return form_node(g, "Mul", "", label, "dequantize", (ValueId[]){ real, scale }, 2, DT_FLOAT, &old, NULL, err);
}

/* ---- the three together ---- */

bool form_weight_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why)
{
    const Tensor *t = graph_value(g, f->layer.weight)->tensor;
    if (spec->bits < 2 || spec->bits > 8) return refuse(why, "weights have 2 to 8 bits");
    if (t == NULL || t->type != DT_FLOAT) return refuse(why, "its weights are no float32 constant");
    if (spec->format == WEIGHT_NBITS) return form_nbits_fits(g, f, spec, why);
    if (spec->format == WEIGHT_DYNAMIC) return form_dynamic_fits(g, f, spec, why);
    return true;
}

int64_t form_weight_opset(const LayerForm *f, const WeightSpec *spec)
{
    if (spec->format != WEIGHT_QDQ) return 13;
    if (spec->bits <= 2 && spec->two_bit) return 25;
    return spec->bits <= 4 || (spec->block > 0 && spec->block < f->width) ? 21 : 13;
}

Status form_weight_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err)
{
    const char *why;
    *out = (StoredWeight){ 0 };
    if (!form_weight_fits(g, f, spec, &why))
        return err_set(err, ERR_UNSUPPORTED, "layer '%.*s' cannot be written in this form: %s", STR_ARG(f->layer.name), why);
    if (spec->format == WEIGHT_NBITS) return form_nbits_store(g, f, r, spec, out, err);
    if (spec->format == WEIGHT_DYNAMIC) return form_dynamic_store(g, f, r, spec, out, err);
    return store_qdq(g, f, r, spec, out, err);
}

Status form_weight_attach(Graph *g, const LayerForm *f, StoredWeight *w, Err *err)
{
    NodeId id = f->layer.node;
    if (w->spec.format == WEIGHT_NBITS) return form_nbits_attach(g, f, w, err);
    if (w->spec.format == WEIGHT_DYNAMIC) return form_dynamic_attach(g, f, w, err);
    bool by_row = w->blocks == 1 && dtype_bits(w->type) == 8 && (w->form.trans_weight || w->spec.block < 0) && w->form.kind == FORM_ROWS;
    if (is_table(g, f) && by_row) return attach_rows(g, id, w, err);
    TRY(values_of(g, w, err));
    for (int i = 0; i < graph_node(g, id)->input_count; i++)
        if (graph_node(g, id)->inputs[i] == f->layer.weight) TRY(graph_set_input(g, id, i, w->values, err));
    return f->scale != 1.0 ? graph_set_float(g, id, "alpha", 1.0f, err) : OK;
}
