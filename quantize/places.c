#include "quantize/places.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"
#include "quantize/trace.h"

void place_release(Place *p)
{
    for (int i = 0; i < p->spread_count; i++) free(p->spreads[i].channel);
    free(p->spreads);
    free(p->readers);
    free(p->shifts);
    free(p->clips);
    free(p->gates);
    *p = (Place){ 0 };
}

void places_release(Places *p)
{
    for (int i = 0; i < p->count; i++) place_release(&p->items[i]);
    free(p->items);
    *p = (Places){ 0 };
}

Str place_label(const Graph *g, const Place *p)
{
    return node_label(g, graph_node(g, p->source));
}

int spread_axis(const Spread *s)
{
    return __builtin_popcount(s->axes) == 1 ? __builtin_ctz(s->axes) : -1;
}

/* The channels as they leave the source: one by one along this axis of its output 0. */
static Status begin(const TraceMap *m, Place *p, int axis, Err *err)
{
    Trace t = { .map = m, .place = p };
    int32_t *table = alloc_array((size_t)p->channels, sizeof *table);
    for (int64_t c = 0; table != NULL && c < p->channels; c++) table[c] = (int32_t)c;
    trace_add(&t, node_output(graph_node(m->g, p->source), 0), 1u << axis, table, p->channels);
    return t.failed ? err_no_memory(err, "the way of the channels") : OK;
}

static void block_source(Place *p, NodeId at, const char *why)
{
    p->blocked = true;
    p->obstacle = why;
    p->at = at;
}

static bool several_outputs(const TraceMap *m, const Node *n)
{
    for (int k = 1; k < n->output_count; k++)
        if (n->outputs[k] != 0 && trace_readers(m, n->outputs[k]) > 0) return true;
    return false;
}

/* The rows of a layer. *axis -1: no source. */
static void layer_source(const TraceMap *m, NodeId id, Place *p, int *axis)
{
    const Graph *g = m->g;
    LayerForm f;
    const char *why;
    const Layer *l = &m->layers[m->layer_of[id] - 1];
    if (!layer_form(g, l, &f, &why)) return;
    const Shape *y = &graph_value(g, l->output)->shape;
    *p = (Place){ .kind = PLACE_LAYER, .source = id, .channels = form_outputs(&f) };
    int at = f.kind == FORM_ROWS ? y->rank - 1 : 1;
    if (y->rank < 2 || y->dims[at] != p->channels) return;
    *axis = at;
    if (trace_readers(m, l->weight) > 1) block_source(p, id, "the weights of the layer that makes the channels are shared");
    else if (l->bias != 0 && !f.takes_bias) block_source(p, id, "what the layer adds is not one number per channel");
}

/* The vectors of operators that end in `scale * x + shift`. axis -1: the last, of a vector over that axis alone. */
static const struct { const char *type, *domain; int scale, shift, axis; } norms[] = {
    { "LayerNormalization", "", 1, 2, -1 }, { "RMSNormalization", "", 1, 0, -1 }, { "SimplifiedLayerNormalization", "", 1, 0, -1 },
    { "SkipLayerNormalization", "com.microsoft", 2, 3, -1 }, { "SkipSimplifiedLayerNormalization", "com.microsoft", 2, 0, -1 },
    { "BatchNormalization", "", 1, 2, 1 }, { "InstanceNormalization", "", 1, 2, 1 },
};

static bool is_vector(const Tensor *t, int64_t count)
{
    return t != NULL && dtype_is_float(t->type) && t->shape.rank == 1 && t->shape.dims[0] == count;
}

static void norm_source(const TraceMap *m, NodeId id, Place *p, int *axis)
{
    const Graph *g = m->g;
    const Node *n = graph_node(g, id);
    const Shape *y = &graph_value(g, node_output(n, 0))->shape;
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        if (!str_is(n->type, norms[i].type) || !str_is(n->domain, norms[i].domain)) continue;
        int at = norms[i].axis < 0 ? y->rank - 1 : norms[i].axis, shift = norms[i].shift;
        if (y->rank < 2 || y->dims[at] < 2 || several_outputs(m, n)) return;
        if (!is_vector(node_constant(g, n, norms[i].scale), y->dims[at])) return;
        if (shift > 0 && node_input(n, shift) == 0) shift = 0;
        if (shift > 0 && !is_vector(node_constant(g, n, shift), y->dims[at])) return;
        *p = (Place){ .kind = PLACE_VECTOR, .source = id, .scale_input = norms[i].scale, .shift_input = shift, .channels = y->dims[at] };
        *axis = at;
    }
}

/* A product with a constant that varies along one axis. */
static void product_source(const TraceMap *m, NodeId id, Place *p, int *axis)
{
    const Graph *g = m->g;
    const Node *n = graph_node(g, id);
    if (!str_is(n->type, "Mul") || n->domain.len != 0 || n->input_count != 2) return;
    int k = node_constant(g, n, 1) != NULL ? 1 : 0;
    const Tensor *c = node_constant(g, n, k);
    const Shape *y = &graph_value(g, node_output(n, 0))->shape;
    if (c == NULL || !dtype_is_float(c->type) || y->rank < 2 || c->shape.rank > y->rank || node_constant(g, n, 1 - k) != NULL) return;
    int at = -1, varying = 0;
    for (int a = 0; a < c->shape.rank; a++) {
        if (c->shape.dims[a] == 1) continue;
        at = a + y->rank - c->shape.rank;
        varying++;
    }
    if (varying != 1 || y->dims[at] != tensor_count(c) || tensor_count(c) > TRACE_CHANNELS) return;
    *p = (Place){ .kind = PLACE_VECTOR, .source = id, .scale_input = k, .channels = tensor_count(c) };
    *axis = at;
}

static Status add_place(Places *list, Place *p, Err *err)
{
    void *items = list->items;
    if (!trace_grow(&items, list->count, sizeof *list->items)) {
        place_release(p);
        return err_no_memory(err, "the places where channels can be rescaled");
    }
    list->items = items;
    list->items[list->count++] = *p;
    return OK;
}

static Status try_source(const TraceMap *m, NodeId id, unsigned kinds, Places *out, Err *err)
{
    Place p = { 0 };
    int axis = -1;
    if (m->layer_of[id] != 0) {
        if ((kinds & PLACE_LAYER) != 0) layer_source(m, id, &p, &axis);
    } else if ((kinds & PLACE_VECTOR) != 0) {
        norm_source(m, id, &p, &axis);
        if (axis < 0) product_source(m, id, &p, &axis);
    }
    if (axis < 0 || p.channels < 2 || p.channels > TRACE_CHANNELS) return OK;
    Status status = begin(m, &p, axis, err);
    if (status == OK) status = trace_run(m, &p, err);
    if (status == OK && (p.obstacle == NULL || p.blocked)) return add_place(out, &p, err);
    place_release(&p);
    return status;
}

Status places_find(const Graph *g, unsigned kinds, Places *out, Err *err)
{
    TraceMap m;
    *out = (Places){ 0 };
    TRY(trace_map_make(g, &m, err));
    Status status = OK;
    for (uint32_t i = 0; i < g->order_count && status == OK; i++) status = try_source(&m, g->order[i], kinds, out, err);
    trace_map_release(&m);
    if (status != OK) places_release(out);
    return status;
}

static Status add_value(ChannelAxis **list, int *count, const Spread *s, Err *err)
{
    void *grown = *list;
    if (spread_axis(s) < 0) return OK;
    if (!trace_grow(&grown, *count, sizeof **list)) return err_no_memory(err, "the values to measure");
    *list = grown;
    (*list)[(*count)++] = (ChannelAxis){ s->value, spread_axis(s) };
    return OK;
}

static Status add_values(ChannelAxis **list, int *count, const Place *p, Err *err)
{
    for (int i = 0; i < p->reader_count; i++) TRY(add_value(list, count, &p->spreads[p->readers[i].spread], err));
    for (int i = 0; i < p->gate_count; i++) TRY(add_value(list, count, &p->spreads[p->gates[i]], err));
    return OK;
}

Status places_values(const Places *p, ChannelAxis **out, int *count, Err *err)
{
    *out = NULL;
    *count = 0;
    for (int i = 0; i < p->count; i++) {
        Status status = add_values(out, count, &p->items[i], err);
        if (status != OK) {
            free(*out);
            *out = NULL;
            return status;
        }
    }
    return OK;
}
