#include "quantize/weights.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"

static double bias_at(const Graph *g, const Node *n, int64_t row)
{
    ValueId b = str_is(n->type, "MatMul") ? 0 : node_input(n, 2);
    if (b == 0) return 0.0;
    const Tensor *t = graph_value(g, b)->tensor;
    double beta = str_is(n->type, "Gemm") ? (double)node_float(n, "beta", 1.0f) : 1.0;
    return beta * tensor_get(t, tensor_count(t) == 1 ? 0 : row);
}

/* The smallest weight scale at which the bias of this row, in units of input scale x weight scale, fits int32 beside the largest sum of
 * products. A row without a bias needs none. */
static double least_scale(const Plan *p, const PlannedLayer *l, int64_t row)
{
    double bias = fabs(bias_at(p->g, graph_node(p->g, l->layer.node), row));
    double room = 2147483647.0 - 255.0 * 128.0 * (double)(l->rows.taps * l->rows.channels);
    double input = (double)p->grids[p->root[l->layer.input]].scale;
    if (bias == 0.0) return 0.0;
    return bias / (input * fmax(room, 65536.0)) * (1.0 + 1e-6);
}

static const PlannedLayer *layer_of(const Plan *p, const Weights *w, int item)
{
    for (int i = 0; i < p->layer_count; i++)
        if (p->layers[i].reason == NULL && w->of_layer[i] == item) return &p->layers[i];
    return NULL;
}

static void read_row(const Tensor *t, const Rows *r, int64_t row, double *out)
{
    int64_t length = r->taps * r->channels;
    for (int64_t i = 0; i < length; i++) out[i] = tensor_get(t, rows_at(r, row, i));
}

typedef struct Scratch {
    double *row, *least; /* row length; rows */
    int8_t *q;
} Scratch;

static void row_scales(const PlannedLayer *l, const Tensor *t, QuantizedWeight *qw, const Scratch *s)
{
    bool safe = l->options.target == TARGET_PORTABLE;
    float largest = 0.0f;
    qw->enlarged = 1.0;
    for (int64_t k = 0; k < l->rows.rows; k++) {
        read_row(t, &l->rows, k, s->row);
        float free_scale = row_quantize(&l->rows, s->row, s->least[k], false, s->q);
        float scale = safe ? row_quantize(&l->rows, s->row, s->least[k], true, s->q) : free_scale;
        qw->enlarged = fmax(qw->enlarged, (double)scale / (double)free_scale);
        if (qw->per_channel) qw->scales[k] = scale;
        bool silent = scale == 1.0f && tensor_count(t) > 0 && !(s->least[k] > 0.0);
        for (int64_t i = 0; silent && i < l->rows.taps * l->rows.channels; i++) silent = s->row[i] == 0.0;
        if (!silent && scale > largest) largest = scale;
    }
    if (!qw->per_channel) qw->scales[0] = largest > 0.0f ? largest : 1.0f;
}

/* Integers at the scales found; all scales are at least the rows' own, so every number fits and every pair is safe. */
static void fill_integers(const PlannedLayer *l, const Tensor *t, QuantizedWeight *qw, Tensor *out)
{
    double signal = 0.0, noise = 0.0;
    int8_t *q = (int8_t *)out->data;
    for (int64_t k = 0; k < l->rows.rows; k++) {
        double scale = (double)qw->scales[qw->per_channel ? k : 0];
        for (int64_t i = 0; i < l->rows.taps * l->rows.channels; i++) {
            int64_t at = rows_at(&l->rows, k, i);
            double w = tensor_get(t, at), v = rint(w / scale);
            q[at] = (int8_t)(v > 127.0 ? 127.0 : v < -127.0 ? -127.0 : v);
            signal += w * w;
            noise += (w - q[at] * scale) * (w - q[at] * scale);
        }
    }
    qw->sqnr_db = noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
}

static bool is_zero_point(const Tensor *t, const Shape *shape)
{
    return t != NULL && t->type == DT_INT8 && shape_eq(&t->shape, shape) && tensor_nonzeros(t) == 0;
}

static Status add_scales(Graph *g, Str base, const QuantizedWeight *qw, ValueId *scale, ValueId *zero, Err *err)
{
    Shape shape = shape_of(qw->per_channel ? 1 : 0, &qw->scale_count);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_FLOAT, &shape, err));
    for (int64_t i = 0; i < qw->scale_count; i++) tensor_set(&t, i, (double)qw->scales[i]);
    *scale = graph_add_constant(g, arena_printf(g->arena, "%.*s_scale", STR_ARG(base)), &t);
    Str name = qw->per_channel ? arena_printf(g->arena, "int8_zero_%lld", (long long)qw->scale_count) : STR("int8_zero");
    *zero = graph_find_value(g, name); /* one for all weights with this many channels */
    if (*zero == 0 || !is_zero_point(graph_value(g, *zero)->tensor, &shape)) {
        TRY(tensor_new(&t, DT_INT8, &shape, err));
        *zero = graph_add_constant(g, name, &t);
    }
    return *scale == 0 || *zero == 0 ? err_no_memory(err, "a weight's scale") : OK;
}

static Status add_dequantize(Graph *g, Str name, const ValueId *inputs, int count, int axis, const Shape *shape, ValueId *out, Err *err)
{
    *out = graph_add_value(g, arena_printf(g->arena, "%.*s_dequantized", STR_ARG(name)), DT_FLOAT, shape);
    if (*out == 0) return err_no_memory(err, "a dequantized constant");
    Str node_name = arena_printf(g->arena, "%.*s_dequantize", STR_ARG(name));
    NodeId n = graph_add_node(g, "DequantizeLinear", "", node_name, inputs, count, out, 1);
    if (n == 0) return err_no_memory(err, "a node");
    return axis >= 0 ? graph_set_int(g, n, "axis", axis, err) : OK;
}

static Status make_one(Plan *p, const PlannedLayer *l, QuantizedWeight *qw, const Scratch *s, Err *err)
{
    Graph *g = p->g;
    const Tensor *t = graph_value(g, qw->weight)->tensor;
    Str name = graph_value(g, qw->weight)->name;
    Shape shape = t->shape;
    Tensor integers = { 0 };
    qw->scale_count = qw->per_channel ? l->rows.rows : 1;
    qw->scales = alloc_array((size_t)qw->scale_count, sizeof *qw->scales);
    if (qw->scales == NULL) return err_no_memory(err, "a weight's scales");
    row_scales(l, t, qw, s);
    TRY(tensor_new(&integers, DT_INT8, &shape, err));
    fill_integers(l, t, qw, &integers);
    ValueId inputs[3];
    inputs[0] = graph_add_constant(g, arena_printf(g->arena, "%.*s_int8", STR_ARG(name)), &integers);
    if (inputs[0] == 0) return err_no_memory(err, "an integer weight");
    TRY(add_scales(g, name, qw, &inputs[1], &inputs[2], err));
    return add_dequantize(g, name, inputs, 3, qw->per_channel ? qw->axis : -1, &shape, &qw->dequantized, err);
}

/* Layers that share a weight, its orientation and what is asked of it share the integers. */
static bool same_weight(const QuantizedWeight *q, const PlannedLayer *l)
{
    return q->weight == l->layer.weight && q->axis == l->layer.out_axis && q->per_channel == l->options.per_channel
        && q->pairs == l->rows.pairs;
}

static void group_weights(const Plan *p, Weights *w)
{
    for (int i = 0; i < p->layer_count; i++) {
        const PlannedLayer *l = &p->layers[i];
        if (l->reason != NULL) continue;
        int item = 0;
        while (item < w->count && !same_weight(&w->items[item], l)) item++;
        if (item == w->count) {
            w->items[w->count++] = (QuantizedWeight){ .weight = l->layer.weight, .axis = l->layer.out_axis,
                                                      .per_channel = l->options.per_channel, .pairs = l->rows.pairs };
        }
        w->of_layer[i] = item;
    }
}

Status weights_make(Plan *p, Weights *w, Err *err)
{
    Status status = OK;
    Scratch s = { 0 };
    *w = (Weights){ .items = alloc_zeroed((size_t)p->layer_count + 1, sizeof *w->items),
                    .of_layer = alloc_zeroed((size_t)p->layer_count + 1, sizeof *w->of_layer) };
    if (w->items == NULL || w->of_layer == NULL) return err_no_memory(err, "the weights");
    group_weights(p, w);
    for (int item = 0; item < w->count; item++) {
        const PlannedLayer *l = layer_of(p, w, item);
        size_t length = (size_t)(l->rows.taps * l->rows.channels);
        s = (Scratch){ alloc_array(length, sizeof(double)), alloc_zeroed((size_t)l->rows.rows, sizeof(double)), alloc_array(length, 1) };
        if (s.row == NULL || s.least == NULL || s.q == NULL) {
            status = err_no_memory(err, "a row of weights");
            goto out;
        }
        for (int i = 0; i < p->layer_count; i++) {
            if (p->layers[i].reason != NULL || w->of_layer[i] != item) continue;
            for (int64_t k = 0; k < l->rows.rows; k++) s.least[k] = fmax(s.least[k], least_scale(p, &p->layers[i], k));
        }
        TRY_OUT(make_one(p, l, &w->items[item], &s, err));
        free(s.row);
        free(s.least);
        free(s.q);
        s = (Scratch){ 0 };
    }
out:
    free(s.row);
    free(s.least);
    free(s.q);
    return status;
}

/* int32 bias in units of input scale x weight scale, the numbers an integer kernel adds to its sums. */
static Status attach_bias(Plan *p, const PlannedLayer *l, const QuantizedWeight *qw, Err *err)
{
    Graph *g = p->g;
    const Node *n = graph_node(g, l->layer.node);
    ValueId old = node_input(n, 2);
    Str name = graph_value(g, old)->name;
    float input = p->grids[p->root[l->layer.input]].scale;
    int64_t rows = l->rows.rows;
    Shape shape = shape_of(1, &rows), scale_shape = shape_of(qw->per_channel ? 1 : 0, &rows);
    Tensor bias = { 0 }, scale = { 0 };
    TRY(tensor_new(&scale, DT_FLOAT, &scale_shape, err));
    for (int64_t i = 0; i < qw->scale_count; i++) tensor_set(&scale, i, (double)(input * qw->scales[i]));
    ValueId inputs[2];
    inputs[1] = graph_add_constant(g, arena_printf(g->arena, "%.*s_scale", STR_ARG(name)), &scale);
    TRY(tensor_new(&bias, DT_INT32, &shape, err));
    for (int64_t k = 0; k < rows; k++)
        tensor_set(&bias, k, bias_at(g, n, k) / (double)(input * qw->scales[qw->per_channel ? k : 0]));
    inputs[0] = graph_add_constant(g, arena_printf(g->arena, "%.*s_int32", STR_ARG(name)), &bias);
    if (inputs[0] == 0 || inputs[1] == 0) return err_no_memory(err, "an integer bias");
    ValueId dequantized;
    TRY(add_dequantize(g, name, inputs, 2, qw->per_channel ? 0 : -1, &shape, &dequantized, err));
    if (str_is(graph_node(g, l->layer.node)->type, "Gemm") && node_float(graph_node(g, l->layer.node), "beta", 1.0f) != 1.0f)
        TRY(graph_set_float(g, l->layer.node, "beta", 1.0f, err));
    return graph_set_input(g, l->layer.node, 2, dequantized, err);
}

Status weights_attach(Plan *p, const Weights *w, int layer, Err *err)
{
    const PlannedLayer *l = &p->layers[layer];
    const QuantizedWeight *qw = &w->items[w->of_layer[layer]];
    const Node *n = graph_node(p->g, l->layer.node);
    if (!str_is(n->type, "MatMul") && node_input(n, 2) != 0) TRY(attach_bias(p, l, qw, err));
    return graph_set_input(p->g, l->layer.node, 1, qw->dequantized, err);
}

void weights_release(Weights *w)
{
    for (int i = 0; w->items != NULL && i < w->count; i++) free(w->items[i].scales);
    free(w->items);
    free(w->of_layer);
    *w = (Weights){ 0 };
}
