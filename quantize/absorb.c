/* Absorption of high biases (Nagel et al. 2019, 4.1.3), here also with what the data really shows as the lowest value.
 *
 *   f(y) = f(y - c) + c  where y >= c >= 0 and f is a Relu (its like), a pool, a move      =>   b1' = b1 - c,  b2' = b2 + W2 c
 *
 * Needs: between the layers only what lets a constant through; no zero padding, which is not c; a bias in both. */
#include "quantize/repairs.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

static bool pads_nothing(const Node *n)
{
    int64_t count;
    const int64_t *pads = node_ints(n, "pads", &count);
    Str mode = node_string(n, "auto_pad", "NOTSET");
    for (int64_t i = 0; i < count; i++)
        if (pads[i] != 0) return false;
    return str_is(mode, "NOTSET") || str_is(mode, "VALID");
}

/* NULL, or why a constant cannot be moved through here. */
static const char *why_not(const Graph *g, const Place *p, const LayerForm *source, const LayerForm *readers)
{
    if (!p->movable) return "what lies between the layers does not let a constant through";
    if (!source->takes_bias) return "the layer has no place for a bias";
    for (int i = 0; i < p->reader_count; i++) {
        if (!readers[i].takes_bias) return "a layer that reads the channels has no place for a bias";
        if (readers[i].kind == FORM_CONV_TRANSPOSED || (readers[i].kind == FORM_CONV && !pads_nothing(graph_node(g, p->readers[i].node))))
            return "a layer that reads the channels pads them with zeros";
    }
    return NULL;
}

static Status add_to_reader(Graph *g, const Place *p, int reader, LayerForm *f, const double *c, Err *err)
{
    const int32_t *channel = p->spreads[p->readers[reader].spread].channel;
    double *w = alloc_array((size_t)form_weights(f), sizeof *w), *b = alloc_array((size_t)form_outputs(f), sizeof *b), *at = w;
    Status status = OK;
    if (w == NULL || b == NULL) {
        status = err_no_memory(err, "the weights of a layer");
        goto out;
    }
    layer_read_weights(g, f, w);
    layer_read_bias(g, f, b);
    for (int64_t k = 0; k < f->groups; k++)
        for (int64_t o = 0; o < f->outputs; o++)
            for (int64_t j = 0; j < f->width; j++, at++) {
                int32_t from = channel[form_channel(f, k, j)];
                if (from >= 0) b[k * f->outputs + o] += *at * c[from];
            }
    status = layer_write_bias(g, f, b, err);
out:
    free(w);
    free(b);
    return status;
}

static Status take_from_source(Graph *g, LayerForm *f, const double *c, Err *err)
{
    double *b = alloc_array((size_t)form_outputs(f), sizeof *b);
    if (b == NULL) return err_no_memory(err, "a bias");
    layer_read_bias(g, f, b);
    for (int64_t i = 0; i < form_outputs(f); i++) b[i] -= c[i];
    Status status = layer_write_bias(g, f, b, err);
    free(b);
    return status;
}

static void follow_ranges(ChannelRanges *ranges, const Place *p, const double *c)
{
    for (int i = 0; i < p->spread_count; i++) {
        const Spread *s = &p->spreads[i];
        int axis = spread_axis(s);
        for (int k = 0; axis >= 0 && k < ranges->count; k++) {
            ChannelRange *r = &ranges->items[k];
            if (r->value != s->value || r->axis != axis || r->channels != s->count) continue;
            for (int64_t q = 0; q < r->channels; q++) {
                double by = s->channel[q] >= 0 ? c[s->channel[q]] : 0.0;
                r->min[q] -= by;
                r->max[q] -= by;
                r->sum_squares[q] += by * (by * (double)r->count - 2.0 * r->sum[q]);
                r->sum[q] -= by * (double)r->count;
            }
        }
    }
}

static Status absorb_place(Graph *g, const Place *p, ChannelRanges *ranges, double deviations, LayerForm *readers, double *c,
                           PassRecord *record, int *changed, Err *err)
{
    LayerForm source;
    int64_t moved = 0;
    double most = 0.0;
    TRY(place_form(g, p->source, &source, err));
    for (int i = 0; i < p->reader_count; i++) TRY(place_form(g, p->readers[i].node, &readers[i], err));
    if (!place_lowest(p, ranges, deviations, c)) {
        record_add(record, RECORD_SKIPPED, place_label(g, p), "the channels between the layers were not measured");
        return OK;
    }
    for (int64_t k = 0; k < p->channels; k++) {
        c[k] = c[k] > 0.0 && isfinite(c[k]) ? c[k] : 0.0;
        moved += c[k] > 0.0;
        most = fmax(most, c[k]);
    }
    if (moved == 0) return OK;
    const char *why = why_not(g, p, &source, readers);
    if (why != NULL) {
        record_add(record, RECORD_SKIPPED, place_label(g, p), "%lld channels are never 0, but %s", (long long)moved, why);
        return OK;
    }
    TRY(take_from_source(g, &source, c, err));
    for (int i = 0; i < p->reader_count; i++) TRY(add_to_reader(g, p, i, &readers[i], c, err));
    follow_ranges(ranges, p, c);
    (*changed)++;
    record_add(record, RECORD_CHANGED, place_label(g, p), "the bias of %lld channels moved on into '%.*s'%s%s", (long long)moved,
               STR_ARG(node_label(g, graph_node(g, p->readers[0].node))), p->reader_count > 1 ? " and others" : "",
               deviations < 0.0 ? "" : "; exact but for the tail of the distribution");
    record_number(record, "largest constant", most);
    return OK;
}

Status absorb_graph(Graph *g, ChannelRanges *ranges, double deviations, PassRecord *record, int *changed, Err *err)
{
    Places places;
    Status status = OK;
    *changed = 0;
    TRY(places_find(g, PLACE_LAYER, &places, err));
    for (int i = 0; i < places.count && status == OK; i++) {
        const Place *p = &places.items[i];
        if (p->blocked) continue; /* nothing is known of what could be gained: equalize_graph lists it */
        LayerForm *readers = alloc_array((size_t)p->reader_count, sizeof *readers);
        double *c = alloc_array((size_t)p->channels, sizeof *c);
        status = readers == NULL || c == NULL ? err_no_memory(err, "absorption of biases") :
                 absorb_place(g, p, ranges, deviations, readers, c, record, changed, err);
        free(readers);
        free(c);
    }
    places_release(&places);
    return status;
}
