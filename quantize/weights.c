#include "quantize/weights.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"

/* Room left between a bias in int32 and what grids chosen later may ask: their scales may shrink this much. */
#define GRID_ROOM 16.0

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
    double input = (double)p->grids[p->root[l->layer.input]].scale / GRID_ROOM;
    if (bias == 0.0) return 0.0;
    return bias / (input * fmax(room, 65536.0));
}

/* ---- jobs ---- */

static bool same_job(const PlannedLayer *a, const PlannedLayer *b)
{
    return a->layer.weight == b->layer.weight && a->layer.out_axis == b->layer.out_axis && a->options.block == b->options.block
        && a->options.reduce_range == b->options.reduce_range && a->rows.pairs == b->rows.pairs && a->shifted == b->shifted;
}

static Status make_job(const Plan *p, const PlannedLayer *l, RoundJob *j, Err *err)
{
    const QuantizeOptions *o = &l->options;
    int64_t rows = l->rows.rows, width = l->rows.taps * l->rows.channels;
    *j = (RoundJob){ .form = l->form };
    j->least = alloc_zeroed((size_t)rows + 1, sizeof *j->least);
    j->partner = alloc_array((size_t)(2 * width) + 1, sizeof *j->partner);
    if (j->least == NULL || j->partner == NULL) return err_no_memory(err, "a weight to round");
    rows_partners(&l->rows, j->partner);
    j->spec = (RoundSpec){ .bits = o->reduce_range ? 7 : (int)o->bits, .symmetric = true, .restricted = true, .block = options_block(o),
                           .method = ROUND_NEAREST, .clips = 1, .sweeps = 2, .learned = options_learned(o), .keep_grid = true,
                           .least = j->least, .partner = l->rows.pairs && !l->shifted && options_pairs(o) ? j->partner : NULL };
    for (int i = 0; i < p->layer_count; i++) {
        if (p->layers[i].reason != NULL || !same_job(&p->layers[i], l)) continue;
        for (int64_t k = 0; k < rows; k++) j->least[k] = fmax(j->least[k], least_scale(p, &p->layers[i], k));
    }
    return OK;
}

Status weight_jobs_make(const Plan *p, WeightJobs *w, Err *err)
{
    size_t count = (size_t)p->layer_count + 1;
    *w = (WeightJobs){ .forms = alloc_zeroed(count, sizeof *w->forms), .of_layer = alloc_zeroed(count, sizeof *w->of_layer),
                       .first = alloc_zeroed(count, sizeof *w->first), .integers = alloc_zeroed(count, sizeof *w->integers) };
    w->jobs = (RoundJobs){ .items = alloc_zeroed(count, sizeof *w->jobs.items), .forms = w->forms, .of_layer = w->of_layer,
                           .layers = p->layer_count };
    if (w->forms == NULL || w->of_layer == NULL || w->first == NULL || w->integers == NULL || w->jobs.items == NULL)
        return err_no_memory(err, "the weights");
    for (int i = 0; i < p->layer_count; i++) {
        const PlannedLayer *l = &p->layers[i];
        int job = 0;
        w->forms[i] = l->form;
        w->of_layer[i] = -1;
        if (l->reason != NULL) continue;
        while (job < w->jobs.count && !same_job(&p->layers[w->first[job]], l)) job++;
        if (job == w->jobs.count) {
            w->first[w->jobs.count++] = i;
            TRY(make_job(p, l, &w->jobs.items[job], err));
        }
        w->of_layer[i] = job;
    }
    return OK;
}

void weight_jobs_release(WeightJobs *w)
{
    for (int i = 0; w->jobs.items != NULL && i < w->jobs.count; i++) round_job_release(&w->jobs.items[i]);
    for (int i = 0; w->integers != NULL && i < w->jobs.count; i++) tensor_release(&w->integers[i]);
    free(w->jobs.items);
    free(w->forms);
    free(w->of_layer);
    free(w->first);
    free(w->integers);
    *w = (WeightJobs){ 0 };
}

double weights_sqnr(const Graph *g, const LayerForm *f, const Rounded *r)
{
    size_t count = (size_t)form_weights(f);
    double *w = alloc_array(count + 1, sizeof *w), *made = alloc_array(count + 1, sizeof *made), signal = 0.0, noise = 0.0;
    if (w != NULL && made != NULL) {
        layer_read_weights(g, f, w);
        rounded_values(r, made);
        for (size_t i = 0; i < count; i++) {
            signal += w[i] * w[i];
            noise += (w[i] - made[i]) * (w[i] - made[i]);
        }
    }
    free(w);
    free(made);
    return noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
}

/* ---- into the graph ---- */

typedef struct Attached {
    ValueId dequantized;
    const Rounded *rounded;
    int64_t scale_count;
    bool shifted;
} Attached;

static bool is_zero_point(const Tensor *t, DType type, const Shape *shape, int64_t zero)
{
    if (t == NULL || t->type != type || !shape_eq(&t->shape, shape)) return false;
    for (int64_t i = 0; i < tensor_count(t); i++)
        if (tensor_get_int(t, i) != zero) return false;
    return true;
}

/* One for all weights with this many channels. */
static Status zero_point(Graph *g, const Attached *a, const Shape *shape, ValueId *zero, Err *err)
{
    DType type = a->shifted ? DT_UINT8 : DT_INT8;
    int64_t value = a->shifted ? 128 : 0;
    Str name = a->shifted ? STR("uint8_zero_128") : STR("int8_zero");
    if (shape->rank == 1) name = arena_printf(g->arena, "%.*s_%lld", STR_ARG(name), (long long)a->scale_count);
    *zero = graph_find_value(g, name);
    if (*zero != 0 && is_zero_point(graph_value(g, *zero)->tensor, type, shape, value)) return OK;
    Tensor t = { 0 };
    TRY(tensor_new(&t, type, shape, err));
    for (int64_t i = 0; i < a->scale_count; i++) tensor_set_int(&t, i, value);
    *zero = graph_add_constant(g, name, &t);
    return *zero == 0 ? err_no_memory(err, "a weight's zero point") : OK;
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

static float scale_of(const Attached *a, int64_t row)
{
    return a->rounded->scales[a->scale_count == 1 ? 0 : row];
}

static Status store_job(const Plan *p, const PlannedLayer *l, const Rounded *rounded, Tensor *out, Err *err)
{
    const Rows *r = &l->rows;
    int64_t shift = l->shifted ? 128 : 0;
    TRY(tensor_new(out, l->shifted ? DT_UINT8 : DT_INT8, &graph_value(p->g, l->layer.weight)->tensor->shape, err));
    for (int64_t k = 0; k < r->rows; k++)
        for (int64_t c = 0; c < r->channels; c++)
            for (int64_t t = 0; t < r->taps; t++)
                out->data[k * r->row_stride + t * r->tap_stride + c * r->channel_stride] =
                    (uint8_t)(rounded->q[k * rounded->width + c * r->taps + t] + shift);
    return OK;
}

static Status store_integers(const Plan *p, WeightJobs *w, Err *err)
{
    for (int i = 0; i < p->layer_count; i++) {
        int job = w->of_layer[i];
        if (p->layers[i].reason == NULL && w->integers[job].data == NULL)
            TRY(store_job(p, &p->layers[i], &w->jobs.items[job].rounded, &w->integers[job], err));
    }
    return OK;
}

static Status add_integers(Plan *p, const PlannedLayer *l, const Tensor *stored, Attached *a, Err *err)
{
    Graph *g = p->g;
    Str name = graph_value(g, l->layer.weight)->name;
    Shape scale_shape = shape_of(a->scale_count > 1 ? 1 : 0, &a->scale_count);
    Tensor integers = tensor_share(stored), scales = { 0 };
    ValueId inputs[3];
    inputs[0] = graph_add_constant(g, arena_printf(g->arena, "%.*s_%s", STR_ARG(name), a->shifted ? "uint8" : "int8"), &integers);
    TRY(tensor_new(&scales, DT_FLOAT, &scale_shape, err));
    for (int64_t k = 0; k < a->scale_count; k++) tensor_set(&scales, k, (double)a->rounded->scales[k]);
    inputs[1] = graph_add_constant(g, arena_printf(g->arena, "%.*s_scale", STR_ARG(name)), &scales);
    if (inputs[0] == 0 || inputs[1] == 0) return err_no_memory(err, "an integer weight");
    TRY(zero_point(g, a, &scale_shape, &inputs[2], err));
    return add_dequantize(g, name, inputs, 3, a->scale_count > 1 ? l->layer.out_axis : -1, &stored->shape, &a->dequantized, err);
}

/* int32 bias in units of input scale x weight scale, the numbers an integer kernel adds to its sums. */
static Status attach_bias(Plan *p, const PlannedLayer *l, const Attached *a, Err *err)
{
    Graph *g = p->g;
    const Node *n = graph_node(g, l->layer.node);
    ValueId old = node_input(n, 2);
    Str name = graph_value(g, old)->name;
    float input = p->grids[p->root[l->layer.input]].scale;
    int64_t rows = l->rows.rows;
    Shape shape = shape_of(1, &rows), scale_shape = shape_of(a->scale_count > 1 ? 1 : 0, &rows);
    Tensor bias = { 0 }, scale = { 0 };
    TRY(tensor_new(&scale, DT_FLOAT, &scale_shape, err));
    for (int64_t i = 0; i < a->scale_count; i++) tensor_set(&scale, i, (double)(input * a->rounded->scales[i]));
    ValueId inputs[2];
    inputs[1] = graph_add_constant(g, arena_printf(g->arena, "%.*s_scale", STR_ARG(name)), &scale);
    TRY(tensor_new(&bias, DT_INT32, &shape, err));
    for (int64_t k = 0; k < rows; k++) tensor_set(&bias, k, bias_at(g, n, k) / (double)(input * scale_of(a, k)));
    inputs[0] = graph_add_constant(g, arena_printf(g->arena, "%.*s_int32", STR_ARG(name)), &bias);
    if (inputs[0] == 0 || inputs[1] == 0) return err_no_memory(err, "an integer bias");
    ValueId dequantized;
    TRY(add_dequantize(g, name, inputs, 2, a->scale_count > 1 ? 0 : -1, &shape, &dequantized, err));
    if (str_is(graph_node(g, l->layer.node)->type, "Gemm") && node_float(graph_node(g, l->layer.node), "beta", 1.0f) != 1.0f)
        TRY(graph_set_float(g, l->layer.node, "beta", 1.0f, err));
    return graph_set_input(g, l->layer.node, 2, dequantized, err);
}

static Status attach_all(Plan *p, WeightJobs *w, Attached *attached, Err *err)
{
    TRY(store_integers(p, w, err));
    for (int i = 0; i < p->layer_count; i++) {
        const PlannedLayer *l = &p->layers[i];
        if (l->reason != NULL) continue;
        Attached *a = &attached[w->of_layer[i]];
        if (a->dequantized == 0) {
            *a = (Attached){ .rounded = &w->jobs.items[w->of_layer[i]].rounded, .shifted = l->shifted };
            a->scale_count = options_block(&l->options) < 0 ? 1 : l->rows.rows;
            TRY(add_integers(p, l, &w->integers[w->of_layer[i]], a, err));
        }
        const Node *n = graph_node(p->g, l->layer.node);
        if (!str_is(n->type, "MatMul") && node_input(n, 2) != 0) TRY(attach_bias(p, l, a, err));
        TRY(graph_set_input(p->g, l->layer.node, 1, a->dequantized, err));
    }
    return OK;
}

Status weights_attach(Plan *p, WeightJobs *w, Err *err)
{
    Attached *attached = alloc_zeroed((size_t)w->jobs.count + 1, sizeof *attached);
    if (attached == NULL) return err_no_memory(err, "the weights");
    Status status = attach_all(p, w, attached, err);
    free(attached);
    return status;
}
