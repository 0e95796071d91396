/* Six measures and accuracy, number by number, and their ratios in one picture. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

/* Rows beneath a measure. */
typedef struct SubRow {
    MeasureId of;
    const char *title, *unit, *path;
    const char *plus;   /* a second number to add */
    double times;       /* 0: once */
    bool exact;         /* written digit by digit */
    const char *pairs;  /* whose pairs tell its change: a comparison, or a ratio of the network's own; NULL: the columns do */
    const char *beyond; /* only shown where it is more than this; NULL: always */
} SubRow;

#define GRAMS "g CO\xE2\x82\x82" "e"
#define BY_GREEN "estimate of Green Algorithms"
#define BY_TDP "estimate by time \xC3\x97 TDP"

static const SubRow sub_rows[] = {
    { .of = MEASURE_TIME, .title = "CPU time, all threads", .unit = "s", .path = "call_cpu_seconds", .pairs = "measured.cpu" },
    { .of = MEASURE_SIZE, .title = "deflated", .unit = "B", .path = "deflated_bytes" },
    { .of = MEASURE_SIZE, .title = "parameters", .unit = "", .path = "parameters", .exact = true },
    { .of = MEASURE_SIZE, .title = "of them non-zero", .unit = "", .path = "nonzeros", .exact = true },
    { .of = MEASURE_SIZE, .title = "bits a weight", .unit = "", .path = "weight_bits" },
    { .of = MEASURE_SIZE, .title = "with scales", .unit = "", .path = "stored_bits", .beyond = "weight_bits" },
    { .of = MEASURE_OPERATIONS, .title = "of non-zero weights", .unit = "MAC", .path = "macs.nonzero" },
    { .of = MEASURE_OPERATIONS, .title = "in float32", .unit = "MAC", .path = "macs.float32" },
    { .of = MEASURE_OPERATIONS, .title = "in int8", .unit = "MAC", .path = "macs.int8" },
    { .of = MEASURE_OPERATIONS, .title = "elementwise", .unit = "", .path = "elementwise", .exact = true },
    { .of = MEASURE_OPERATIONS, .title = "exp, division \xE2\x80\xA6", .unit = "", .path = "transcendental", .exact = true },
    { .of = MEASURE_SIZE, .title = "peak memory", .unit = "B", .path = "peak_memory" },
    { .of = MEASURE_OPERATIONS, .title = "bytes moved, at least", .unit = "B", .path = "weight_bytes", .plus = "activation_bytes" },
    { .of = MEASURE_ENERGY, .title = "above idle", .unit = "J", .path = "net_j", .pairs = "measured.net" },
    { .of = MEASURE_ENERGY, .title = "of 1,000 inferences", .unit = "J", .path = "energy_j", .times = 1000, .pairs = "energy" },
    { .of = MEASURE_ENERGY, .title = BY_GREEN, .unit = "J", .path = "green_algorithms_j", .pairs = "latency" },
    { .of = MEASURE_ENERGY, .title = BY_GREEN, .unit = "J", .path = "measured.green_algorithms_j", .pairs = "latency" },
    { .of = MEASURE_ENERGY, .title = BY_TDP, .unit = "J", .path = "time_tdp_j", .pairs = "latency" },
    { .of = MEASURE_ENERGY, .title = BY_TDP, .unit = "J", .path = "measured.time_tdp_j", .pairs = "latency" },
    { .of = MEASURE_CARBON, .title = "of 1,000 inferences", .unit = GRAMS, .path = "carbon_g", .times = 1000, .pairs = "energy" },
    { .of = MEASURE_CARBON, .title = "SCI, an inference", .unit = GRAMS, .path = "measured.sci.total_g", .pairs = "energy" },
};

static void number_cell(const Range *r, const char *unit, bool exact, StrBuf *b)
{
    char value[HTML_NUMBER], low[HTML_NUMBER], high[HTML_NUMBER];
    if (exact) html_number(r->value, 15, value);
    else html_quantity(r->value, unit, value);
    strbuf_add(b, "<td class=\"num\">");
    html_text(b, value);
    if (range_has_interval(r)) {
        char range[3 * HTML_NUMBER];
        html_quantity(r->low, unit, low);
        html_quantity(r->high, unit, high);
        snprintf(range, sizeof range, "%s \xE2\x80\xA6 %s", low, high);
        html_element(b, "span", "range", range);
    }
    strbuf_add(b, "</td>");
}

static void change_cell(const View *v, int k, MeasureId id, StrBuf *b)
{
    char text[HTML_NUMBER];
    Claim claim = measure_claim(v, k, id);
    html_change(1, measure_ratio(v, k, id), text);
    const char *mood = claim == CLAIM_LESS ? "num good" : claim == CLAIM_MORE ? "num bad" : "num";
    html_element(b, "td", mood, claim == CLAIM_UNSURE ? "within noise" : claim == CLAIM_NONE ? "" : text);
}

static Range sub_range(const cJSON *network, const SubRow *row)
{
    Range r = view_range(network, row->path);
    if (row->plus != NULL) r.value += view_number(network, row->plus);
    double times = row->times > 0 ? row->times : 1;
    return (Range){ r.value * times, r.low * times, r.high * times };
}

/* The pairs behind a row's change; NULL where there are none. */
static const cJSON *sub_pairs(const View *v, int k, const SubRow *row)
{
    if (row->pairs == NULL) return NULL;
    bool own = strncmp(row->pairs, "measured.", 9) == 0;
    const cJSON *item = own ? view_get(v->networks[k], row->pairs) : view_comparison(v, k, row->pairs);
    return isfinite(view_number(item, own ? "median" : "ratio.median")) ? item : NULL;
}

/* SCI is of energy, which its pairs tell, and of making the machine, which goes by time. */
static double sci_ratio(const View *v, int k, double energy)
{
    const cJSON *first = view_get(v->networks[0], "measured.sci");
    double made = view_number(first, "embodied_g"), total = view_number(first, "total_g");
    if (!(made > 0)) return energy;
    return (view_number(first, "energy_g") * energy + made * measure_ratio(v, k, MEASURE_TIME)) / total;
}

/* Whether a network's energy above idle is not told from none. */
static bool about_zero(const cJSON *network) { return view_number(network, "net_j.low") <= 0; }

static void sub_change(const View *v, int k, const SubRow *row, StrBuf *b)
{
    char text[HTML_NUMBER];
    const cJSON *pairs = sub_pairs(v, k, row);
    const char *verdict = view_text(pairs, "verdict");
    html_change(sub_range(v->networks[0], row).value, sub_range(v->networks[k], row).value, text);
    bool unsure = measure_infos[row->of].compared != NULL && measure_claim(v, k, row->of) == CLAIM_UNSURE;
    if (pairs != NULL && verdict != NULL) {
        double ratio = view_number(pairs, strncmp(row->pairs, "measured.", 9) == 0 ? "median" : "ratio.median");
        if (strcmp(row->path, "measured.sci.total_g") == 0) ratio = sci_ratio(v, k, ratio);
        html_change(1, ratio, text);
        unsure = strcmp(verdict, "inconclusive") == 0;
    }
    bool idle = pairs == NULL && strcmp(row->path, "net_j") == 0 && (about_zero(v->networks[0]) || about_zero(v->networks[k]));
    html_element(b, "td", "num", idle ? "not above idle beyond noise" : unsure ? "within noise" : text);
}

static void sub_row(const View *v, const SubRow *row, StrBuf *b)
{
    bool any = false, zero = true;
    for (int k = 0; k < v->count; k++) {
        Range r = sub_range(v->networks[k], row);
        any = any || (row->beyond != NULL ? r.value > view_number(v->networks[k], row->beyond) : isfinite(r.value));
        zero = zero && !(r.value != 0);
    }
    if (!any || zero) return;
    strbuf_add(b, "<tr class=\"sub\">");
    html_element(b, "th", NULL, row->title);
    for (int k = 0; k < v->count; k++) {
        Range r = sub_range(v->networks[k], row);
        number_cell(&r, row->unit, row->exact, b);
        if (k > 0) sub_change(v, k, row, b);
    }
    strbuf_add(b, "</tr>\n");
}

static void measure_row(const View *v, MeasureId id, StrBuf *b)
{
    const MeasureInfo *m = &measure_infos[id];
    const char *from = NULL, *source = NULL;
    for (int k = v->count - 1; k >= 0 && from == NULL; k--) {
        from = measure_provenance(v->networks[k], id);
        source = measure_source(v->networks[k], id);
    }
    strbuf_add(b, "<tr><th>");
    html_text(b, m->title);
    if (from != NULL) {
        char name[32];
        snprintf(name, sizeof name, "badge %s", from);
        strbuf_add(b, " ");
        html_element(b, "span", name, from);
    } else {
        const char *why = id == MEASURE_TIME ? view_text(v->networks[v->count - 1], "latency_note") : source;
        html_element(b, "p", "note", why != NULL ? why : "not measured");
    }
    strbuf_add(b, "</th>");
    for (int k = 0; k < v->count; k++) {
        Range r = measure_of(v->networks[k], id);
        number_cell(&r, m->unit, false, b);
        if (k > 0) change_cell(v, k, id, b);
    }
    strbuf_add(b, "</tr>\n");
    for (size_t i = 0; i < sizeof sub_rows / sizeof *sub_rows; i++) {
        if (sub_rows[i].of == id) sub_row(v, &sub_rows[i], b);
    }
}

static void percent_cell(const Range *r, StrBuf *b)
{
    char value[HTML_NUMBER] = "\xE2\x80\x93", range[HTML_NUMBER];
    if (isfinite(r->value)) snprintf(value, sizeof value, "%.2f %%", r->value);
    strbuf_add(b, "<td class=\"num\">");
    html_text(b, value);
    if (range_has_interval(r)) {
        snprintf(range, sizeof range, "%.2f \xE2\x80\xA6 %.2f %%", r->low, r->high);
        html_element(b, "span", "range", range);
    }
    strbuf_add(b, "</td>");
}

static void accuracy_row(const View *v, StrBuf *b)
{
    bool any = false;
    for (int k = 0; k < v->count; k++) any = any || isfinite(view_accuracy(v->networks[k]).value);
    if (!any) return;
    strbuf_add(b, "<tr><th>Accuracy <span class=\"badge measured\">measured</span>");
    if (view_on_calibration(v)) html_element(b, "p", "note", "on calibration data");
    strbuf_add(b, "</th>");
    Range first = view_accuracy(v->networks[0]);
    for (int k = 0; k < v->count; k++) {
        Range r = view_accuracy(v->networks[k]);
        percent_cell(&r, b);
        if (k == 0) continue;
        char text[HTML_NUMBER];
        double change = r.value - first.value;
        bool clear = first.low > r.high || r.low > first.high;
        snprintf(text, sizeof text, "%s%.2f points", change < 0 ? "\xE2\x88\x92" : "+", fabs(change));
        html_element(b, "td", clear ? (change < 0 ? "num bad" : "num good") : "num", isfinite(change) ? text : "");
    }
    strbuf_add(b, "</tr>\n");
}

static void fidelity_cells(const cJSON *item, StrBuf *b)
{
    char text[160], number[HTML_NUMBER];
    double same = view_number(item, "top1_agreement"), sqnr = view_number(item, "sqnr_db"), cosine = view_number(item, "cosine");
    text[0] = '\0';
    if (isfinite(same)) snprintf(text, sizeof text, "%.2f %% same class", 100 * same);
    else if (isfinite(cosine)) snprintf(text, sizeof text, "cosine %.5f", cosine);
    html_element(b, "td", "num", text);
    html_number(sqnr, 3, number);
    snprintf(text, sizeof text, "%s dB SQNR", number);
    html_element(b, "td", "num", isfinite(sqnr) ? text : view_number(item, "max_abs") == 0 ? "equal" : "");
}

/* How much outputs are those of the reference, where that was measured. */
static void fidelity_rows(const View *v, StrBuf *b)
{
    const cJSON *lists[VIEW_MOST] = { NULL };
    int rows = 0;
    for (int k = 1; k < v->count; k++) {
        lists[k] = view_list(v->networks[k], "fidelity");
        int count = cJSON_GetArraySize(lists[k]);
        if (count > rows) rows = count;
    }
    for (int i = 0; i < rows && i < 8; i++) {
        const char *output = NULL;
        for (int k = 1; k < v->count && output == NULL; k++) output = view_text(cJSON_GetArrayItem(lists[k], i), "output");
        strbuf_add(b, "<tr class=\"sub\"><th>output '");
        html_text(b, output != NULL ? output : "?");
        const char *on = view_text(v->root, "data.fidelity");
        strbuf_add(b, on != NULL && strncmp(on, "random", 6) == 0 ? "' as the original's, random inputs</th><td></td>"
                                                                  : "' as the original's</th><td></td>");
        for (int k = 1; k < v->count; k++) fidelity_cells(cJSON_GetArrayItem(lists[k], i), b);
        strbuf_add(b, "</tr>\n");
    }
}

/* ---- all ratios in one picture ---- */

typedef struct Bar {
    const char *title;
    double ratio, low, high;
    Claim claim;
} Bar;

/* Interval of a ratio: the comparison's, else bounds from both intervals (wider than needed, never narrower). */
static Bar bar_of(const View *v, int k, MeasureId id)
{
    const MeasureInfo *m = &measure_infos[id];
    Range before = measure_of(v->networks[0], id), after = measure_of(v->networks[k], id);
    Bar bar = { .title = m->title, .ratio = measure_ratio(v, k, id), .low = NAN, .high = NAN, .claim = measure_claim(v, k, id) };
    const cJSON *comparison = m->compared != NULL && id != MEASURE_POWER ? view_comparison(v, k, m->compared) : NULL;
    if (comparison != NULL) {
        bar.low = view_number(comparison, "ratio.low");
        bar.high = view_number(comparison, "ratio.high");
    } else if (range_has_interval(&before) && range_has_interval(&after)) {
        bar.low = after.low / before.high;
        bar.high = after.high / before.low;
    }
    return bar;
}

static int ratio_bars(const View *v, int k, Bar bars[MEASURE_COUNT + 2])
{
    int count = 0;
    for (int id = 0; id < MEASURE_COUNT; id++) {
        Bar bar = bar_of(v, k, (MeasureId)id);
        if (bar.ratio > 0 && isfinite(bar.ratio)) bars[count++] = bar;
    }
    return count;
}

static void draw_bar(Chart *c, const Bar *bar, double y)
{
    char text[HTML_NUMBER];
    double one = scale_at(&c->x, 1), at = scale_at(&c->x, bar->ratio);
    const char *fill = bar->claim == CLAIM_LESS ? "f-good" : bar->claim == CLAIM_MORE ? "f-bad" : "f-before";
    chart_text(c, "", 0, y + 4, bar->title);
    chart_rect(c, fill, fmin(one, at), y - 7, fabs(at - one), 14);
    if (isfinite(bar->low) && isfinite(bar->high) && bar->low > 0) {
        double low = scale_at(&c->x, bar->low), high = scale_at(&c->x, bar->high);
        chart_line(c, "s-ink", low, y, high, y);
        chart_line(c, "s-ink", low, y - 4, low, y + 4);
        chart_line(c, "s-ink", high, y - 4, high, y + 4);
    }
    html_number(bar->ratio, 3, text);
    char label[HTML_NUMBER + 8];
    snprintf(label, sizeof label, "\xC3\x97 %s", text);
    chart_text(c, "end strong", CHART_WIDTH, y + 4, label);
}

static void ratio_chart(const View *v, int k, StrBuf *b)
{
    Bar bars[MEASURE_COUNT + 2];
    int count = ratio_bars(v, k, bars);
    if (count == 0) return;
    double low = 1, high = 1;
    for (int i = 0; i < count; i++) {
        low = fmin(low, fmin(bars[i].ratio, bars[i].low > 0 ? bars[i].low : bars[i].ratio));
        high = fmax(high, fmax(bars[i].ratio, isfinite(bars[i].high) ? bars[i].high : bars[i].ratio));
    }
    Chart c;
    char title[320], name[128], reference[128];
    html_shorten(v->names[k], 24, name, sizeof name);
    html_shorten(v->names[0], 24, reference, sizeof reference);
    snprintf(title, sizeof title, "What is left: %s / %s", name, reference);
    chart_begin(&c, b, v->count > 2 ? title : "What is left: after / before",
                "Ratio of each measure, after to before, on a logarithmic axis", count * 28 + 58);
    c.left = 92;
    c.right = CHART_WIDTH - 52;
    c.x = scale_around(fmin(low, 0.8), fmax(high, 1.25), true);
    chart_axis_x(&c, "", "after / before, logarithmic");
    for (int i = 0; i < count; i++) draw_bar(&c, &bars[i], c.top + 14 + i * 28);
    double one = scale_at(&c.x, 1);
    chart_line(&c, "one", one, c.top - 4, one, c.bottom);
    chart_end(&c, "Left of the dashed line is less than before. Whiskers: 95 % interval; grey: no difference beyond noise.");
}

void html_measures(const View *v, StrBuf *b)
{
    if (v->count == 0) return;
    strbuf_add(b, "<h2 id=\"measures\">Six measures, and accuracy</h2>\n<div class=\"scroll\"><table class=\"compact\">\n"
                  "<thead><tr><th></th>");
    for (int k = 0; k < v->count; k++) {
        const char *title = k == 0 ? "before" : view_true(v->root, "dry_run") ? "predicted" : "after";
        html_element(b, "th", "num", v->count == 2 ? title : v->names[k]);
        if (k > 0) html_element(b, "th", "num", "change");
    }
    strbuf_add(b, "</tr></thead>\n<tbody>\n");
    for (int id = 0; id < MEASURE_COUNT; id++) measure_row(v, (MeasureId)id, b);
    accuracy_row(v, b);
    fidelity_rows(v, b);
    strbuf_add(b, "</tbody></table></div>\n<p class=\"note\">One inference at batch ");
    char batch[HTML_NUMBER];
    double given = view_number(v->root, "batch");
    html_number(isfinite(given) ? given : 1, 6, batch);
    html_text(b, batch);
    strbuf_add(b, given > 1 ? "; operations and bytes moved are counted at batch 1." : " unless a row says otherwise.");
    strbuf_add(b, " Ranges are 95 % intervals.");
    if (view_list(v->root, "comparisons") != NULL)
        strbuf_add(b, " Changes of latency, energy and carbon are medians of pairs, not ratios of the columns.");
    strbuf_add(b, "</p>\n");
    if (v->count < 2) return;
    strbuf_add(b, "<div class=\"charts\">\n");
    for (int k = 1; k < v->count; k++) ratio_chart(v, k, b);
    strbuf_add(b, "</div>\n");
}
