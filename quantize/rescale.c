#include "quantize/places.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"

Status place_form(const Graph *g, NodeId node, LayerForm *out, Err *err)
{
    Layer l;
    const char *why = "it has no constant weights";
    if (layer_at_node(g, node, &l) && layer_form(g, &l, out, &why)) return OK;
    return err_set(err, ERR_BUG, "'%.*s' is no layer that can be rescaled: %s", STR_ARG(node_label(g, graph_node(g, node))), why);
}

/* The layer's matrices, malloc'ed. */
static Status read_layer(const Graph *g, NodeId node, LayerForm *f, double **w, Err *err)
{
    TRY(place_form(g, node, f, err));
    *w = alloc_array((size_t)form_weights(f), sizeof **w);
    if (*w == NULL) return err_no_memory(err, "the weights of a layer");
    layer_read_weights(g, f, *w);
    return OK;
}

static Status divide_rows(Graph *g, NodeId node, const double *s, Err *err)
{
    LayerForm f;
    double *w, *b;
    TRY(read_layer(g, node, &f, &w, err));
    for (int64_t i = 0; i < form_outputs(&f); i++)
        for (int64_t j = 0; j < f.width; j++) w[i * f.width + j] /= s[i];
    Status status = layer_write_weights(g, &f, w, err);
    free(w);
    if (status != OK || f.layer.bias == 0) return status;
    b = alloc_array((size_t)form_outputs(&f), sizeof *b);
    if (b == NULL) return err_no_memory(err, "a bias");
    layer_read_bias(g, &f, b);
    for (int64_t i = 0; i < form_outputs(&f); i++) b[i] /= s[i];
    status = layer_write_bias(g, &f, b, err);
    free(b);
    return status;
}

static Status multiply_columns(Graph *g, NodeId node, const int32_t *channel, const double *s, Err *err)
{
    LayerForm f;
    double *w, *at;
    TRY(read_layer(g, node, &f, &w, err));
    at = w;
    for (int64_t k = 0; k < f.groups; k++)
        for (int64_t i = 0; i < f.outputs; i++)
            for (int64_t j = 0; j < f.width; j++, at++) {
                int32_t c = channel[form_channel(&f, k, j)];
                if (c >= 0) *at *= s[c];
            }
    Status status = layer_write_weights(g, &f, w, err);
    free(w);
    return status;
}

/* Puts a constant of its own at an input of a node; takes *t over. */
static Status put_constant(Graph *g, NodeId node, int input, Tensor *t, const char *suffix, Err *err)
{
    ValueId old = node_input(graph_node(g, node), input);
    bool own = old != 0 && graph_readers(g, old) == 1 && (graph_value(g, old)->flags & VALUE_INPUT) == 0;
    if (own) return graph_set_constant(g, old, t, err);
    ValueId v = graph_add_constant(g, arena_printf(g->arena, "%.*s_%s", STR_ARG(node_label(g, graph_node(g, node))), suffix), t);
    return v == 0 ? err_no_memory(err, "a constant") : graph_set_input(g, node, input, v, err);
}

/* One number per channel, in any shape. */
static Status divide_vector(Graph *g, NodeId node, int input, const double *s, Err *err)
{
    Tensor made;
    TRY(tensor_clone(node_constant(g, graph_node(g, node), input), &made, err));
    for (int64_t c = 0; c < tensor_count(&made); c++) tensor_set(&made, c, tensor_get(&made, c) / s[c]);
    return put_constant(g, node, input, &made, "rescaled", err);
}

/* Where element `at` of the larger shape stands in a tensor that is broadcast to it. */
static int64_t broadcast_from(const Shape *whole, const Shape *part, int64_t at)
{
    int64_t from = 0, step = 1;
    for (int a = whole->rank - 1; a >= 0; a--) {
        int b = a - whole->rank + part->rank;
        int64_t index = at % whole->dims[a];
        at /= whole->dims[a];
        if (b < 0) continue;
        from += part->dims[b] == 1 ? 0 : index * step;
        step *= part->dims[b];
    }
    return from;
}

/* A constant that is added to the channels: as wide as they are, each part divided. */
static Status divide_shift(Graph *g, const Place *p, const PlaceShift *shift, const double *s, Err *err)
{
    const Spread *spread = &p->spreads[shift->spread];
    const Tensor *old = node_constant(g, graph_node(g, shift->node), shift->input);
    if (old == NULL) return err_set(err, ERR_BUG, "an added constant is none any more");
    Shape y = graph_value(g, spread->value)->shape, whole = { .rank = 0 };
    int first = y.rank - old->shape.rank;
    while ((spread->axes & ((1u << first) - 1)) != 0) first--;
    for (int a = first; a < y.rank; a++) {
        int b = a - y.rank + old->shape.rank;
        whole.dims[whole.rank++] = (spread->axes >> a & 1) != 0 ? y.dims[a] : b >= 0 ? old->shape.dims[b] : 1;
    }
    Tensor made;
    TRY(tensor_new(&made, old->type, &whole, err));
    for (int64_t i = 0; i < tensor_count(&made); i++) {
        int64_t rest = i, at = 0, step = 1;
        for (int a = y.rank - 1; a >= first; a--) {
            int64_t d = whole.dims[a - first];
            if ((spread->axes >> a & 1) != 0) {
                at += rest % d * step;
                step *= d;
            }
            rest /= d;
        }
        int32_t c = spread->channel[at];
        tensor_set(&made, i, tensor_get(old, broadcast_from(&whole, &old->shape, i)) / (c >= 0 ? s[c] : 1.0));
    }
    return put_constant(g, shift->node, shift->input, &made, "rescaled", err);
}

static Status insert_product(Graph *g, const Place *p, const double *s, Err *err)
{
    ValueId v = p->spreads[0].value;
    Value value = *graph_value(g, v);
    Tensor t;
    Shape shape = shape_of(1, &p->channels);
    TRY(tensor_new(&t, value.type == DT_NONE ? DT_FLOAT : value.type, &shape, err));
    for (int64_t c = 0; c < p->channels; c++) tensor_set(&t, c, 1.0 / s[c]);
    Str base = node_label(g, graph_node(g, p->readers[0].node));
    ValueId inputs[2] = { v, graph_add_constant(g, arena_printf(g->arena, "%.*s_smooth", STR_ARG(base)), &t) };
    ValueId out = graph_add_value(g, arena_printf(g->arena, "%.*s_smoothed", STR_ARG(base)), value.type, &value.shape);
    if (inputs[1] == 0 || out == 0) return err_no_memory(err, "a product before a layer");
    if (graph_add_node(g, "Mul", "", arena_printf(g->arena, "%.*s_smoothing", STR_ARG(base)), inputs, 2, &out, 1) == 0)
        return err_no_memory(err, "a product before a layer");
    for (int i = 0; i < p->reader_count; i++) {
        LayerForm f;
        TRY(place_form(g, p->readers[i].node, &f, err));
        const Node *n = graph_node(g, f.layer.node);
        for (int k = 0; k < n->input_count; k++)
            if (n->inputs[k] == v) TRY(graph_set_input(g, f.layer.node, k, out, err));
    }
    return graph_finish(g, err);
}

static void follow_ranges(ChannelRanges *ranges, const Place *p, const double *s)
{
    for (int i = 0; i < p->spread_count; i++) {
        const Spread *spread = &p->spreads[i];
        int axis = spread_axis(spread);
        for (int k = 0; axis >= 0 && k < ranges->count; k++) {
            ChannelRange *r = &ranges->items[k];
            if (r->value != spread->value || r->axis != axis || r->channels != spread->count) continue;
            for (int64_t c = 0; c < r->channels; c++) {
                double by = spread->channel[c] >= 0 ? s[spread->channel[c]] : 1.0;
                r->min[c] /= by;
                r->max[c] /= by;
                r->sum[c] /= by;
                r->sum_squares[c] /= by * by;
            }
        }
    }
}

Status place_rescale(Graph *g, const Place *p, const double *s, ChannelRanges *ranges, Err *err)
{
    for (int64_t c = 0; c < p->channels; c++)
        if (!(s[c] > 0.0) || isinf(s[c])) return err_set(err, ERR_BUG, "a channel cannot be rescaled by %g", s[c]);
    if (p->obstacle != NULL) return err_set(err, ERR_BUG, "channels that cannot be rescaled: %s", p->obstacle);
    for (int i = 0; i < p->reader_count; i++)
        TRY(multiply_columns(g, p->readers[i].node, p->spreads[p->readers[i].spread].channel, s, err));
    if (p->kind == PLACE_INPUT) return insert_product(g, p, s, err);
    if (p->kind == PLACE_LAYER) {
        TRY(divide_rows(g, p->source, s, err));
    } else {
        TRY(divide_vector(g, p->source, p->scale_input, s, err));
        if (p->shift_input > 0) TRY(divide_vector(g, p->source, p->shift_input, s, err));
    }
    for (int i = 0; i < p->shift_count; i++) TRY(divide_shift(g, p, &p->shifts[i], s, err));
    if (ranges != NULL) follow_ranges(ranges, p, s);
    return OK;
}

static const ChannelRange *range_of(const Place *p, int spread, const ChannelRanges *ranges)
{
    const Spread *s = &p->spreads[spread];
    const ChannelRange *r = channel_ranges_find(ranges, s->value, spread_axis(s));
    return r != NULL && r->channels == s->count ? r : NULL;
}

bool place_bound(const Place *p, const ChannelRanges *ranges, double *s, bool *relu)
{
    for (int i = 0; i < p->clip_count; i++)
        if (range_of(p, p->clips[i].spread, ranges) == NULL) return false;
    for (int i = 0; i < p->clip_count; i++) {
        const PlaceClip *clip = &p->clips[i];
        const ChannelRange *r = range_of(p, clip->spread, ranges);
        const int32_t *channel = p->spreads[clip->spread].channel;
        relu[i] = true;
        for (int64_t k = 0; k < r->channels; k++)
            if (r->max[k] >= clip->high) relu[i] = false;
        if (relu[i]) continue;
        for (int64_t k = 0; k < r->channels; k++) {
            if (channel[k] < 0) continue;
            double *to = &s[channel[k]];
            if (r->max[k] >= clip->high) *to = 1.0;
            else if (*to != 1.0 && r->max[k] / clip->high > *to) *to = r->max[k] / clip->high;
        }
    }
    return true;
}

Status place_drop_clips(Graph *g, const Place *p, const bool *relu, Err *err)
{
    for (int i = 0; i < p->clip_count; i++) {
        NodeId n = p->clips[i].node;
        if (!relu[i]) continue;
        TRY(graph_set_inputs(g, n, &(ValueId){ node_input(graph_node(g, n), 0) }, 1, err));
        graph_remove_attr(g, n, "min");
        graph_remove_attr(g, n, "max");
        TRY(graph_set_type(g, n, "Relu", "", err));
    }
    return OK;
}

bool place_input_peaks(const Place *p, const ChannelRanges *ranges, double *peak)
{
    for (int64_t c = 0; c < p->channels; c++) peak[c] = 0.0;
    for (int i = 0; i < p->reader_count; i++) {
        const ChannelRange *r = range_of(p, p->readers[i].spread, ranges);
        const int32_t *channel = p->spreads[p->readers[i].spread].channel;
        if (r == NULL) return false;
        for (int64_t k = 0; k < r->channels; k++)
            if (channel[k] >= 0) peak[channel[k]] = fmax(peak[channel[k]], channel_peak(r, k));
    }
    return true;
}

Status place_column_peaks(const Graph *g, const Place *p, double *peak, Err *err)
{
    for (int64_t c = 0; c < p->channels; c++) peak[c] = 0.0;
    for (int i = 0; i < p->reader_count; i++) {
        LayerForm f;
        double *w, *at;
        const int32_t *channel = p->spreads[p->readers[i].spread].channel;
        TRY(read_layer(g, p->readers[i].node, &f, &w, err));
        at = w;
        for (int64_t k = 0; k < f.groups; k++)
            for (int64_t o = 0; o < f.outputs; o++)
                for (int64_t j = 0; j < f.width; j++, at++) {
                    int32_t c = channel[form_channel(&f, k, j)];
                    if (c >= 0) peak[c] = fmax(peak[c], fabs(*at));
                }
        free(w);
    }
    return OK;
}

static bool lower(const Place *p, int spread, const ChannelRanges *ranges, double deviations, double *lowest)
{
    const ChannelRange *r = range_of(p, spread, ranges);
    const int32_t *channel = p->spreads[spread].channel;
    if (r == NULL) return false;
    for (int64_t k = 0; k < r->channels; k++) {
        if (channel[k] < 0) continue;
        double least = r->min[k];
        if (deviations >= 0.0) {
            double mean = r->sum[k] / (double)r->count, square = r->sum_squares[k] / (double)r->count - mean * mean;
            least = mean - deviations * sqrt(fmax(square, 0.0));
        }
        lowest[channel[k]] = fmin(lowest[channel[k]], least);
    }
    return true;
}

bool place_lowest(const Place *p, const ChannelRanges *ranges, double deviations, double *lowest)
{
    for (int64_t c = 0; c < p->channels; c++) lowest[c] = INFINITY;
    for (int i = 0; i < p->gate_count; i++)
        if (!lower(p, p->gates[i], ranges, deviations, lowest)) return false;
    for (int i = 0; i < p->reader_count && p->gate_count == 0; i++)
        if (!lower(p, p->readers[i].spread, ranges, deviations, lowest)) return false;
    return true;
}
