/* Layer by layer: where operations, weights and time are, and what keeps a layer from being faster. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

#define ROWS_MOST 40 /* in the table; the rest is summed up in a line */

/* One layer before and after, by name; either may be NULL. */
typedef struct LayerPair {
    const char *name;
    const cJSON *before, *after;
    double weight; /* what it is sorted by */
} LayerPair;

static int by_weight(const void *a, const void *b)
{
    const LayerPair *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return strcmp(x->name, y->name);
}

static double layer_weight(const cJSON *layer)
{
    double time = view_number(layer, "milliseconds"), macs = view_number(layer, "macs");
    if (layer == NULL) return 0;
    return isfinite(time) ? time : isfinite(macs) ? macs * 1e-9 : 0;
}

static const cJSON *layer_named(const cJSON *list, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *other = view_text(item, "name");
        if (other != NULL && strcmp(other, name) == 0) return item;
    }
    return NULL;
}

/* malloc'ed; NULL when out of memory or there are none. */
static LayerPair *pair_layers(const cJSON *before, const cJSON *after, int *count)
{
    const cJSON *item;
    int room = cJSON_GetArraySize(before) + cJSON_GetArraySize(after);
    LayerPair *pairs = room > 0 ? calloc((size_t)room, sizeof *pairs) : NULL;
    *count = 0;
    if (pairs == NULL) return NULL;
    cJSON_ArrayForEach(item, before) {
        const char *name = view_text(item, "name");
        pairs[*count] = (LayerPair){ .name = name != NULL ? name : "", .before = item };
        pairs[*count].after = layer_named(after, pairs[*count].name);
        ++*count;
    }
    cJSON_ArrayForEach(item, after) {
        const char *name = view_text(item, "name");
        if (name != NULL && layer_named(before, name) != NULL) continue;
        pairs[(*count)++] = (LayerPair){ .name = name != NULL ? name : "", .after = item };
    }
    for (int i = 0; i < *count; i++) pairs[i].weight = fmax(layer_weight(pairs[i].before), layer_weight(pairs[i].after));
    qsort(pairs, (size_t)*count, sizeof *pairs, by_weight);
    return pairs;
}

/* ---- roofline ---- */

typedef struct Spot {
    double x, y; /* operations a byte, operations a second */
    const char *name;
    bool after;
} Spot;

static bool spot_of(const cJSON *layer, bool after, Spot *out)
{
    double macs = view_number(layer, "macs"), bytes = view_number(layer, "bytes"), ms = view_number(layer, "milliseconds");
    if (!(macs > 0) || !(bytes > 0) || !(ms > 0)) return false;
    const char *name = view_text(layer, "name");
    *out = (Spot){ .x = macs / bytes, .y = macs / (ms * 1e-3), .name = name != NULL ? name : "", .after = after };
    return true;
}

static int all_spots(const cJSON *before, const cJSON *after, Spot *spots, int room)
{
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, before) {
        count += count < room && spot_of(item, false, &spots[count]);
    }
    cJSON_ArrayForEach(item, after) {
        count += count < room && spot_of(item, true, &spots[count]);
    }
    return count;
}

/* A slope of bandwidth up to a flat peak; `slope` may be NULL. */
static void roof(Chart *c, double peak, double bandwidth, const char *label, const char *slope, bool above)
{
    double knee = peak / bandwidth, left = fmax(c->x.low, c->y.low / bandwidth);
    if (!(peak > 0) || !(bandwidth > 0)) return;
    double at_left = fmin(left * bandwidth, peak);
    double points[6] = { scale_at(&c->x, left), scale_at(&c->y, at_left), scale_at(&c->x, fmin(fmax(knee, left), c->x.high)),
                         scale_at(&c->y, fmin(peak, c->x.high * bandwidth)), scale_at(&c->x, c->x.high),
                         scale_at(&c->y, fmin(peak, c->x.high * bandwidth)) };
    chart_path(c, "s-thin", points, 3);
    chart_text(c, "tick end", c->right, points[5] + (above ? -4 : 12), label);
    if (slope == NULL || !(left < c->x.high) || points[1] <= points[3]) return;
    chart_text(c, "tick", points[0] + 5, points[1] + 12, slope);
}

static void roofline(const View *v, const cJSON *before, const cJSON *after, StrBuf *b)
{
    Spot spots[512];
    int count = all_spots(before, after, spots, 512);
    if (count == 0) return;
    double peak32 = view_number(v->root, "peaks.mac_f32"), peak8 = view_number(v->root, "peaks.mac_int8"),
           memory = view_number(v->root, "peaks.byte_dram"), cache = view_number(v->root, "peaks.byte_l2");
    double low = INFINITY, high = 0, least = INFINITY, most = 0;
    for (int i = 0; i < count; i++) {
        low = fmin(low, spots[i].x);
        high = fmax(high, spots[i].x);
        least = fmin(least, spots[i].y);
        most = fmax(most, spots[i].y);
    }
    if (peak32 > 0) most = fmax(most, peak32);
    if (peak8 > 0 && after != NULL) most = fmax(most, peak8);
    if (memory > 0 && peak32 > 0) high = fmax(high, 2 * peak32 / memory);
    Chart c;
    chart_begin(&c, b, "Roofline", "Speed of each layer against how much it computes for each byte, under the peaks of this machine", 320);
    c.top = 26;
    c.x = scale_around(low, fmax(high, low * 4), true);
    c.y = scale_around(least, fmax(most, least * 4) * 1.4, true);
    chart_axis_x(&c, "", "multiply-adds a byte moved");
    chart_axis_y(&c, "", "multiply-adds a second");
    roof(&c, peak32, memory, "float32", "memory", false);
    if (cache > memory) roof(&c, peak32, cache, "", "cache", false);
    if (after != NULL && peak8 > peak32 * 1.05) roof(&c, peak8, cache > 0 ? cache : memory, "int8", NULL, true);
    for (int i = 0; i < count; i++)
        chart_dot(&c, spots[i].after ? "dot" : "ring", scale_at(&c.x, spots[i].x), scale_at(&c.y, spots[i].y), spots[i].after ? 5 : 4.5,
                  spots[i].name);
    chart_end(&c, peak32 > 0 ? "Rings: before; filled: after. Lines: peaks of this machine, as measured. A layer on the slope waits for "
                               "memory, one under the flat part for arithmetic, one far below both for neither: calls and small shapes."
                             : "Rings: before; filled: after. The peaks of this machine were not measured.");
}

/* ---- bars of time or operations ---- */

static void layer_bars(const LayerPair *pairs, int count, const char *title, const char *key, const char *unit, double factor, StrBuf *b)
{
    double most = 0;
    int shown = 0;
    for (int i = 0; i < count && shown < 14; i++) {
        double x = view_number(pairs[i].before, key), y = view_number(pairs[i].after, key);
        if (!(x > 0) && !(y > 0)) break; /* sorted: no more of them */
        shown++;
        most = fmax(most, fmax(isfinite(x) ? x : 0, isfinite(y) ? y : 0));
    }
    if (!(most > 0)) return;
    Chart c;
    char name[96], text[HTML_NUMBER];
    chart_begin(&c, b, title, "Two bars for each layer, before and after", shown * 26 + 10);
    c.x = (Scale){ .low = 0, .high = most, .from = 150, .to = CHART_WIDTH - 68 };
    for (int i = 0; i < shown; i++) {
        double x = view_number(pairs[i].before, key), y = view_number(pairs[i].after, key), top = 6 + i * 26;
        html_shorten(pairs[i].name, 20, name, sizeof name);
        chart_text(&c, "", 0, top + 13, name);
        if (isfinite(x)) chart_rect(&c, "f-before", c.x.from, top, scale_at(&c.x, x) - c.x.from, 8);
        if (isfinite(y)) chart_rect(&c, "f-after", c.x.from, top + 9, scale_at(&c.x, y) - c.x.from, 8);
        html_quantity((isfinite(y) ? y : x) * factor, unit, text);
        chart_text(&c, "end", CHART_WIDTH, top + 13, text);
    }
    chart_line(&c, "axis", c.x.from, 0, c.x.from, shown * 26 + 4);
    strbuf_add(b, "</svg>\n<figcaption><span class=\"key before\"></span>before<span class=\"key after\"></span>after");
    if (shown == 14 && shown < count) strbuf_printf(b, ", the largest %d of %d layers", shown, count);
    strbuf_add(b, "</figcaption></figure>\n");
}

/* ---- table ---- */

/* "295 k", or "7.16 us -> 4.38 us" where it differs; a layer that is only there before or after has a dash for the other. */
static void quantity_cell(const LayerPair *p, const char *key, const char *unit, double factor, bool two, StrBuf *b)
{
    char before[HTML_NUMBER], after[HTML_NUMBER], both[2 * HTML_NUMBER + 8];
    html_quantity(view_number(p->before, key) * factor, unit, before);
    html_quantity(view_number(p->after, key) * factor, unit, after);
    if (!two || strcmp(before, after) == 0) snprintf(both, sizeof both, "%s", before);
    else snprintf(both, sizeof both, "%s \xE2\x86\x92 %s", before, after);
    html_element(b, "td", "num", both);
}

static const char *operand(const cJSON *layer)
{
    const char *type = view_text(layer, "mac_type");
    return type == NULL || !(view_number(layer, "macs") > 0) ? "" : type;
}

static void layer_table(const LayerPair *pairs, int count, bool two, StrBuf *b)
{
    static const struct {
        const char *key, *title, *unit;
        double factor;
    } columns[] = { { "macs", "MACs", "", 1 }, { "parameters", "parameters", "", 1 }, { "bytes", "bytes moved", "B", 1 },
                    { "milliseconds", "time", "s", 1e-3 } };
    bool has[4] = { false };
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < count; i++)
            has[k] = has[k] || isfinite(view_number(pairs[i].before, columns[k].key)) ||
                isfinite(view_number(pairs[i].after, columns[k].key));
    strbuf_add(b, "<details open=\"open\"><summary>All layers</summary><div class=\"scroll\"><table>\n"
                  "<thead><tr><th>layer</th><th>operator</th>");
    for (int k = 0; k < 4; k++) {
        if (!has[k]) continue;
        html_element(b, "th", "num", columns[k].title);
    }
    html_element(b, "th", NULL, "in");
    strbuf_add(b, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < count && i < ROWS_MOST; i++) {
        const LayerPair *p = &pairs[i];
        const char *type = view_text(p->before != NULL ? p->before : p->after, "type"), *x = operand(p->before), *y = operand(p->after);
        char both[64];
        strbuf_add(b, "<tr>");
        html_element(b, "td", "layer", p->name);
        html_element(b, "td", NULL, type);
        for (int k = 0; k < 4; k++) {
            if (has[k]) quantity_cell(p, columns[k].key, columns[k].unit, columns[k].factor, two, b);
        }
        if (strcmp(x, y) == 0 || !two) snprintf(both, sizeof both, "%.30s", x);
        else snprintf(both, sizeof both, "%.20s \xE2\x86\x92 %.20s", x[0] != '\0' ? x : "\xE2\x80\x93", y[0] != '\0' ? y : "\xE2\x80\x93");
        html_element(b, "td", NULL, both);
        strbuf_add(b, "</tr>\n");
    }
    strbuf_add(b, "</tbody></table></div>");
    if (count > ROWS_MOST) strbuf_printf(b, "<p class=\"note\">The largest %d of %d; report.json has all.</p>", ROWS_MOST, count);
    strbuf_add(b, "</details>\n");
}

void html_layers(const View *v, StrBuf *b)
{
    int count;
    if (v->count == 0) return;
    const cJSON *before = view_list(v->networks[0], "by_layer"), *after = v->count > 1 ? view_list(v->networks[1], "by_layer") : NULL;
    if (before == NULL && after == NULL) return;
    LayerPair *pairs = pair_layers(before, after, &count);
    if (pairs == NULL) {
        b->failed = true;
        return;
    }
    strbuf_add(b, "<h2 id=\"layers\">Layer by layer</h2>\n");
    if (v->count > 2) {
        strbuf_add(b, "<p class=\"note\">Of the first two networks: ");
        html_text(b, v->names[0]);
        strbuf_add(b, " before, ");
        html_text(b, v->names[1]);
        strbuf_add(b, " after.</p>\n");
    }
    double batch = view_number(v->root, "batch");
    if (batch > 1) strbuf_printf(b, "<p class=\"note\">Of one inference, in calls of %.0f.</p>\n", batch);
    strbuf_add(b, "<div class=\"charts\">\n");
    roofline(v, before, after, b);
    layer_bars(pairs, count, "Time by layer", "milliseconds", "s", 1e-3, b);
    layer_bars(pairs, count, "Operations by layer", "macs", "MAC", 1, b);
    strbuf_add(b, "</div>\n");
    layer_table(pairs, count, v->count > 1, b);
    free(pairs);
}
