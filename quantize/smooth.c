/* SmoothQuant (Xiao, Lin, Seznec, Wu, Demouth, Han 2023): the outliers of a few input channels go over into the weights.
 *
 *   x W = (x / s)(s W),  s_j = max|x_j|^a / max|W_j|^(1 - a)
 *
 * In a transformer: query, key and value behind one normalisation share s, which its vectors absorb; the product of values and attention
 * carries the channels of the value projection to the output projection; an elementwise product carries those of the up projection to the
 * down projection. A normalisation whose result also goes into a shortcut can absorb nothing: there it takes a Mul. */
#include "quantize/repairs.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"
#include "quantize/trace.h"

#define LEAST 1e-5 /* of a column's weights, as in the paper's code */
#define WORTH_SMOOTHING 0.95 /* of the noise without it */

static bool is_product(const Graph *g, NodeId n)
{
    Layer l;
    LayerForm f;
    const char *why;
    return layer_at_node(g, n, &l) && layer_form(g, &l, &f, &why) && f.kind == FORM_ROWS && !f.trans_in;
}

static bool products_only(const Graph *g, const Place *p)
{
    for (int i = 0; i < p->reader_count; i++)
        if (!is_product(g, p->readers[i].node)) return false;
    return true;
}

static bool share_reader(const Place *a, const Place *b)
{
    for (int i = 0; i < a->reader_count; i++)
        for (int k = 0; k < b->reader_count; k++)
            if (a->readers[i].node == b->readers[k].node) return true;
    return false;
}

static void drop_place(Places *list, int at)
{
    place_release(&list->items[at]);
    for (int i = at + 1; i < list->count; i++) list->items[i - 1] = list->items[i];
    list->count--;
}

/* Of places with a reader in common the later source stays, the nearer one: it has no more operators between. */
static void keep_usable(const Graph *g, Places *list)
{
    for (int i = list->count - 1; i >= 0; i--) {
        bool drop = list->items[i].blocked || !products_only(g, &list->items[i]);
        for (int k = i + 1; k < list->count && !drop; k++) drop = share_reader(&list->items[i], &list->items[k]);
        if (drop) drop_place(list, i);
    }
}

static bool is_read(const Places *list, NodeId n)
{
    for (int i = 0; i < list->count; i++)
        for (int k = 0; k < list->items[i].reader_count; k++)
            if (list->items[i].readers[k].node == n) return true;
    return false;
}

static Status add_reader(Place *p, NodeId n, Err *err)
{
    void *list = p->readers;
    if (!trace_grow(&list, p->reader_count, sizeof *p->readers)) return err_no_memory(err, "a place to smooth");
    p->readers = list;
    p->readers[p->reader_count++] = (PlaceReader){ .node = n };
    return OK;
}

static Status add_input(Places *list, ValueId v, int axis, int64_t channels, Err *err)
{
    void *items = list->items;
    Place p = { .kind = PLACE_INPUT, .channels = channels };
    Spread *spread = alloc_zeroed(1, sizeof *spread);
    int32_t *table = alloc_array((size_t)channels, sizeof *table);
    if (spread == NULL || table == NULL || !trace_grow(&items, list->count, sizeof *list->items)) {
        free(spread);
        free(table);
        return err_no_memory(err, "a place to smooth");
    }
    for (int64_t c = 0; c < channels; c++) table[c] = (int32_t)c;
    *spread = (Spread){ .value = v, .axes = 1u << axis, .count = channels, .channel = table };
    p.spreads = spread;
    p.spread_count = 1;
    list->items = items;
    list->items[list->count++] = p;
    return OK;
}

/* Layers that no place reaches, grouped by what they read. */
static Status add_inputs(const TraceMap *m, Places *list, Err *err)
{
    const Graph *g = m->g;
    int absorbed = list->count;
    for (int i = 0; i < m->layer_count; i++) {
        const Layer *l = &m->layers[i];
        LayerForm f;
        const char *why;
        Places before = { .items = list->items, .count = absorbed };
        if (!layer_form(g, l, &f, &why) || f.kind != FORM_ROWS || f.trans_in || is_read(&before, l->node)) continue;
        const Shape *x = &graph_value(g, l->input)->shape;
        if (x->rank < 2 || x->dims[x->rank - 1] != f.width || f.width < 2 || f.width > TRACE_CHANNELS) continue;
        if (trace_readers(m, l->weight) > 1) continue;
        int at = absorbed;
        while (at < list->count && list->items[at].spreads[0].value != l->input) at++;
        if (at == list->count) TRY(add_input(list, l->input, x->rank - 1, f.width, err));
        TRY(add_reader(&list->items[at], l->node, err));
    }
    return OK;
}

Status smooth_find(const Graph *g, Places *out, Err *err)
{
    TraceMap m;
    TRY(places_find(g, PLACE_LAYER | PLACE_VECTOR, out, err));
    keep_usable(g, out);
    Status status = trace_map_make(g, &m, err);
    if (status == OK) {
        status = add_inputs(&m, out, err);
        trace_map_release(&m);
    }
    if (status != OK) places_release(out);
    return status;
}

static Status find_factors(const Graph *g, const Place *p, double strength, const ChannelRanges *ranges, double *s, Err *err)
{
    double *columns = alloc_array((size_t)p->channels, sizeof *columns);
    if (columns == NULL) return err_no_memory(err, "factors of channels");
    Status status = OK;
    if (!place_input_peaks(p, ranges, s)) {
        Str name = node_label(g, graph_node(g, p->readers[0].node));
        status = err_set(err, ERR_BUG, "smoothing: the input of '%.*s' was not measured", STR_ARG(name));
    } else {
        status = place_column_peaks(g, p, columns, err);
    }
    for (int64_t c = 0; status == OK && c < p->channels; c++) {
        double by = pow(s[c], strength) / pow(fmax(columns[c], LEAST), 1.0 - strength);
        s[c] = s[c] > 0.0 && columns[c] > 0.0 && by > 0.0 && isfinite(by) ? by : 1.0;
    }
    free(columns);
    return status;
}

/* ---- how strong ---- */

/* Noise power of one reader's outputs with the channels of its input divided by s; s NULL: as they are. w[outputs,width]. */
static double reader_noise(const LayerForm *f, const double *w, const ChannelRange *x, const int32_t *channel, const double *s)
{
    double low = 0.0, high = 0.0, squares = 0.0, through = 0.0, made = 0.0;
    for (int64_t i = 0; i < f->width; i++) {
        double k = s != NULL && channel[i] >= 0 ? s[channel[i]] : 1.0;
        low = fmin(low, x->min[i] / k);
        high = fmax(high, x->max[i] / k);
        squares += x->sum_squares[i] / (double)x->count / (k * k);
    }
    for (int64_t o = 0; o < f->outputs; o++) {
        double peak = 0.0;
        for (int64_t i = 0; i < f->width; i++) {
            double v = w[o * f->width + i] * (s != NULL && channel[i] >= 0 ? s[channel[i]] : 1.0);
            through += v * v;
            peak = fmax(peak, fabs(v));
        }
        made += peak / 127.0 * (peak / 127.0);
    }
    double step = (high - low) / 255.0;
    return (step * step * through + made * squares) / 12.0;
}

static Status place_noise(const Graph *g, const Place *p, const ChannelRanges *ranges, const double *s, double *noise, Err *err)
{
    *noise = 0.0;
    for (int i = 0; i < p->reader_count; i++) {
        const Spread *spread = &p->spreads[p->readers[i].spread];
        const ChannelRange *x = spread_axis(spread) < 0 ? NULL : channel_ranges_find(ranges, spread->value, spread_axis(spread));
        LayerForm f;
        TRY(place_form(g, p->readers[i].node, &f, err));
        if (x == NULL || x->channels != f.width || spread->count != f.width || f.groups != 1) continue;
        double *w = alloc_array((size_t)form_weights(&f), sizeof *w);
        if (w == NULL) return err_no_memory(err, "a layer's weights");
        layer_read_weights(g, &f, w);
        *noise += reader_noise(&f, w, x, spread->channel, s);
        free(w);
    }
    return OK;
}

Status smooth_strength(const Graph *g, const Place *p, const ChannelRanges *ranges, double *strength, Err *err)
{
    double *s = alloc_array((size_t)p->channels, sizeof *s), least, noise;
    if (s == NULL) return err_no_memory(err, "factors of channels");
    Status status;
    *strength = -1.0;
    TRY_OUT(place_noise(g, p, ranges, NULL, &least, err));
    least *= WORTH_SMOOTHING;
    for (int step = 0; step <= 20; step++) {
        TRY_OUT(find_factors(g, p, step * 0.05, ranges, s, err));
        TRY_OUT(place_noise(g, p, ranges, s, &noise, err));
        if (!(noise < least)) continue;
        least = noise;
        *strength = step * 0.05;
    }
out:
    free(s);
    return status;
}

Status smooth_apply(Graph *g, const Place *p, double strength, ChannelRanges *ranges, PassRecord *record, bool *changed, Err *err)
{
    Factors f;
    *changed = false;
    if (!(strength >= 0.0 && strength <= 1.0)) return err_set(err, ERR_USAGE, "smoothing: a strength of %g is not in [0, 1]", strength);
    TRY(factors_new(p, &f, err));
    Status status = find_factors(g, p, strength, ranges, f.s, err);
    if (status != OK) goto out;
    if (!place_bound(p, ranges, f.s, f.relu)) {
        record_add(record, RECORD_SKIPPED, place_label(g, p), "whether the data reaches the upper end of a Clip was not measured");
        goto out;
    }
    if (!factors_matter(p, f.s)) goto out;
    *changed = true;
    status = factors_apply(g, p, &f, ranges, "smoothed", record, err);
    if (status == OK) record_number(record, "strength", strength);
out:
    factors_release(&f);
    return status;
}
