/* Equalization of activations between layers: every channel gets nearer to the range of the largest one, so that one grid serves all.
 *
 *   x_c' = t_c x_c,  t_c = (max / max_c)^a      rows of the layer before times t, columns of the layers behind divided by t
 *
 * a = 1 where a depthwise convolution reads the channels (it has a scale for each), 0.5 elsewhere: its weights share a scale
 * along the channels and lose what the activations gain. Channels that were always 0 stay; none grows more than 1000-fold, for the integer
 * of its bias must still fit behind the small weights. */
#include "quantize/repairs.h"

#include <math.h>

#define LEAST 1e-3

static Status balance_place(Graph *g, const Place *p, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    Factors f;
    double most = 0.0, strength = 0.5;
    TRY(factors_new(p, &f, err));
    Status status = OK;
    for (int i = 0; i < p->reader_count; i++)
        if (p->readers[i].depthwise) strength = 1.0;
    if (!place_input_peaks(p, ranges, f.s)) {
        record_add(record, RECORD_SKIPPED, place_label(g, p), "the channels between the layers were not measured");
        goto out;
    }
    for (int64_t c = 0; c < p->channels; c++) most = fmax(most, f.s[c]);
    for (int64_t c = 0; c < p->channels; c++) f.s[c] = f.s[c] > 0.0 ? fmax(pow(f.s[c] / most, strength), LEAST) : 1.0;
    if (!place_bound(p, ranges, f.s, f.relu)) {
        record_add(record, RECORD_SKIPPED, place_label(g, p), "whether the data reaches the upper end of a Clip was not measured");
        goto out;
    }
    if (factors_matter(p, f.s)) {
        status = factors_apply(g, p, &f, ranges, "balanced the activations of", record, err);
        (*changed)++;
    }
out:
    factors_release(&f);
    return status;
}

Status balance_graph(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    Places places;
    Status status = OK;
    *changed = 0;
    TRY(places_find(g, PLACE_LAYER, &places, err));
    for (int i = 0; i < places.count && status == OK; i++) {
        const Place *p = &places.items[i];
        if (p->blocked) record_blocked(g, p, record);
        else status = balance_place(g, p, ranges, record, changed, err);
    }
    places_release(&places);
    return status;
}
