#include "quantize/trace.h"

#include <stdlib.h>

#include "base/bytes.h"

static void count_reader(TraceMap *m, ValueId v, NodeId id, bool fill)
{
    if (v == 0) return;
    if (fill) m->readers[m->first[v]++] = id;
    else m->first[v + 1]++;
}

static void count_readers(TraceMap *m, bool fill)
{
    const Graph *g = m->g;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int k = 0; k < n->input_count; k++) count_reader(m, n->inputs[k], g->order[i], fill);
        for (int k = 0; k < n->capture_count; k++) count_reader(m, n->captures[k], g->order[i], fill);
    }
}

Status trace_map_make(const Graph *g, TraceMap *m, Err *err)
{
    *m = (TraceMap){ .g = g };
    m->first = alloc_zeroed((size_t)g->value_count + 3, sizeof *m->first);
    m->output = alloc_zeroed((size_t)g->value_count + 1, sizeof *m->output);
    m->layer_of = alloc_zeroed((size_t)g->node_count + 1, sizeof *m->layer_of);
    m->rank = alloc_zeroed((size_t)g->node_count + 1, sizeof *m->rank);
    if (m->first == NULL || m->output == NULL || m->layer_of == NULL || m->rank == NULL) {
        trace_map_release(m);
        return err_no_memory(err, "the readers of values");
    }
    count_readers(m, false);
    for (ValueId v = 1; v <= g->value_count + 1; v++) m->first[v] += m->first[v - 1];
    m->readers = alloc_array((size_t)m->first[g->value_count + 1] + 1, sizeof *m->readers);
    Status status = m->readers == NULL ? err_no_memory(err, "the readers of values") : layers_find(g, &m->layers, &m->layer_count, err);
    if (status != OK) {
        trace_map_release(m);
        return status;
    }
    count_readers(m, true);
    for (ValueId v = g->value_count + 1; v > 0; v--) m->first[v] = m->first[v - 1]; /* filling moved them on by one value */
    m->first[0] = 0;
    for (int i = 0; i < g->output_count; i++) m->output[g->outputs[i]] = true;
    for (int i = 0; i < m->layer_count; i++) m->layer_of[m->layers[i].node] = i + 1;
    for (uint32_t i = 0; i < g->order_count; i++) m->rank[g->order[i]] = i;
    return OK;
}

void trace_map_release(TraceMap *m)
{
    free(m->first);
    free(m->readers);
    free(m->output);
    free(m->layer_of);
    free(m->layers);
    free(m->rank);
    *m = (TraceMap){ 0 };
}

uint32_t trace_readers(const TraceMap *m, ValueId v)
{
    return m->first[v + 1] - m->first[v] + m->output[v];
}

bool trace_grow(void **list, int count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0) return true; /* the room doubles at powers of two */
    size_t bytes;
    if (!mul_size(count == 0 ? 1 : (size_t)count * 2, size, &bytes)) return false;
    void *grown = realloc(*list, bytes);
    if (grown != NULL) *list = grown;
    return grown != NULL;
}

const char *trace_add(Trace *t, ValueId v, unsigned axes, int32_t *channel, int64_t count)
{
    Place *p = t->place;
    void *list = p->spreads;
    if (channel == NULL || !trace_grow(&list, p->spread_count, sizeof *p->spreads)) {
        free(channel);
        t->failed = true;
        return "no memory";
    }
    p->spreads = list;
    for (int i = 0; i < p->spread_count; i++)
        if (p->spreads[i].value == v) {
            free(channel);
            return "the channels come together again";
        }
    p->spreads[p->spread_count++] = (Spread){ .value = v, .axes = axes, .count = count, .channel = channel };
    return NULL;
}

/* The place ends here. */
static bool stop(Place *p, NodeId at, const char *why)
{
    p->obstacle = why;
    p->at = at;
    return false;
}

static bool block(Place *p, NodeId at, const char *why)
{
    if (p->obstacle == NULL) {
        p->blocked = true;
        stop(p, at, why);
    }
    return true; /* go on: only what has no other obstacle is worth a word */
}

/* A weighted layer that takes the channels in. */
static bool end_at_layer(Trace *t, const Layer *l, int from)
{
    Place *p = t->place;
    const Graph *g = t->map->g;
    const Spread *s = &p->spreads[from];
    const char *why = NULL;
    LayerForm f;
    if (!layer_form(g, l, &f, &why)) return stop(p, l->node, why);
    int rank = graph_value(g, l->input)->shape.rank, axis = f.kind == FORM_ROWS ? rank - 1 : 1;
    if (f.trans_in || rank < 2) return stop(p, l->node, "the input of the product is transposed or no matrix");
    if (s->axes != 1u << axis || s->count != f.groups * (f.width / f.taps))
        return stop(p, l->node, "the channels are not the input channels of the layer");
    void *list = p->readers;
    if (!trace_grow(&list, p->reader_count, sizeof *p->readers)) {
        t->failed = true;
        return false;
    }
    p->readers = list;
    p->readers[p->reader_count++] = (PlaceReader){ .node = l->node, .spread = from,
                                                   .depthwise = f.kind == FORM_CONV && f.groups > 1 && f.width == f.taps };
    return trace_readers(t->map, l->weight) == 1 || block(p, l->node, "the weights of the layer that reads the channels are shared");
}

static bool read_by(Trace *t, NodeId id, int from)
{
    Place *p = t->place;
    const Graph *g = t->map->g;
    const Node *n = graph_node(g, id);
    ValueId v = p->spreads[from].value;
    int input = -1, times = 0;
    for (int k = 0; k < n->input_count; k++)
        if (n->inputs[k] == v) {
            input = k;
            times++;
        }
    for (int k = 0; k < n->capture_count; k++)
        if (n->captures[k] == v) return stop(p, id, "a subgraph reads the channels");
    if (n->domain.len == 0 && (str_is(n->type, "Shape") || str_is(n->type, "Size"))) return true;
    if (times != 1) return stop(p, id, "the channels are read twice by one operator");
    int layer = t->map->layer_of[id];
    if (layer != 0 && t->map->layers[layer - 1].input == v) return end_at_layer(t, &t->map->layers[layer - 1], from);
    if (n->domain.len != 0) return stop(p, id, "the operator does not commute with factors");
    const char *why = trace_node(t, id, input, from);
    return why == NULL || stop(p, id, why);
}

Status trace_run(const TraceMap *m, Place *p, Err *err)
{
    Trace t = { .map = m, .place = p };
    p->movable = true;
    for (int i = 0; i < p->spread_count; i++) {
        ValueId v = p->spreads[i].value;
        if (m->output[v]) {
            stop(p, 0, "an output of the network carries the channels");
            p->blocked = false;
            break;
        }
        bool good = true;
        for (uint32_t k = m->first[v]; k < m->first[v + 1] && good; k++) {
            if (k > m->first[v] && m->readers[k] == m->readers[k - 1]) continue; /* the same node, by another input */
            good = read_by(&t, m->readers[k], i);
        }
        if (!good) {
            p->blocked = false;
            break;
        }
    }
    if (t.failed) return err_no_memory(err, "the way of the channels");
    if (p->reader_count == 0) {
        p->blocked = false;
        if (p->obstacle == NULL) stop(p, 0, "no layer reads the channels");
    }
    return OK;
}
