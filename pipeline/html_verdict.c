/* The head of the page: what was gained and lost, in a sentence and in tiles. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_sections.h"

Range view_accuracy(const cJSON *network)
{
    return (Range){ 100 * view_number(network, "accuracy"), 100 * view_number(network, "accuracy_low"),
                    100 * view_number(network, "accuracy_high") };
}

bool view_on_calibration(const View *v)
{
    const char *on = view_text(v->root, "data.fidelity");
    return on != NULL && strcmp(on, "calibration data") == 0 && view_text(v->root, "data.evaluation") == NULL;
}

/* Joined by commas. */
typedef struct Phrases {
    char texts[8][96];
    int count;
} Phrases;

static void join(const Phrases *p, StrBuf *b)
{
    for (int i = 0; i < p->count; i++) {
        if (i > 0) strbuf_add(b, ", ");
        strbuf_add(b, p->texts[i]);
    }
}

/* "3.9× smaller", "12.0 % slower" */
static bool phrase(const View *v, int k, MeasureId id, char text[96])
{
    const MeasureInfo *m = &measure_infos[id];
    Claim claim = measure_claim(v, k, id);
    double ratio = measure_ratio(v, k, id);
    char number[HTML_NUMBER];
    if ((claim != CLAIM_LESS && claim != CLAIM_MORE) || !(ratio > 0)) return false;
    double times = ratio < 1 ? 1 / ratio : ratio;
    const char *word = claim == CLAIM_LESS ? m->less : m->more;
    if (times >= 1.995) {
        html_number(times, times < 9.95 ? 2 : 3, number);
        snprintf(text, 96, "%s\xC3\x97 %s", number, word);
    } else {
        html_number(fabs(ratio - 1) * 100, 2, number);
        snprintf(text, 96, "%s\xC2\xA0%% %s", number, word);
    }
    return true;
}

static void headline(const View *v, StrBuf *b)
{
    Phrases p = { .count = 0 };
    static const MeasureId order[] = { MEASURE_SIZE, MEASURE_TIME, MEASURE_ENERGY };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *from = measure_provenance(v->networks[1], order[i]);
        if (order[i] == MEASURE_ENERGY && (from == NULL || strcmp(from, "measured") != 0)) continue; /* a model is no headline */
        if (phrase(v, 1, order[i], p.texts[p.count])) p.count++;
    }
    Range before = view_accuracy(v->networks[0]), after = view_accuracy(v->networks[1]);
    double change = after.value - before.value;
    if (p.count == 0) snprintf(p.texts[p.count++], sizeof p.texts[0], "no gain that could be shown");
    if (isfinite(change) && fabs(change) < 0.005) {
        snprintf(p.texts[p.count++], sizeof p.texts[0], "accuracy the same");
    } else if (isfinite(change)) {
        snprintf(p.texts[p.count++], sizeof p.texts[0], "%.2f points of accuracy %s", fabs(change), change < 0 ? "lost" : "gained");
    }
    strbuf_add(b, "<h1>");
    if (v->count > 2) {
        html_text(b, v->names[1]);
        strbuf_add(b, ": ");
    }
    StrBuf text = { 0 };
    join(&p, &text);
    if (v->count == 2 && text.data != NULL && text.data[0] >= 'a' && text.data[0] <= 'z') text.data[0] = (char)(text.data[0] - 'a' + 'A');
    html_text(b, text.data);
    if (text.failed) b->failed = true;
    strbuf_release(&text);
    strbuf_add(b, "</h1>\n");
}

/* ---- goals ---- */

static void goals_line(const View *v, StrBuf *b)
{
    const cJSON *item, *list = view_list(v->root, "goals");
    if (list == NULL) return;
    strbuf_add(b, "<p>");
    cJSON_ArrayForEach(item, list) {
        bool met = view_true(item, "met");
        char text[384], of[80] = "", found[HTML_NUMBER], low[HTML_NUMBER], high[HTML_NUMBER], interval[2 * HTML_NUMBER + 8] = "";
        const char *name = view_text(item, "name"), *limit = view_text(item, "limit"), *outcome = view_text(item, "outcome");
        bool open = outcome != NULL && strcmp(outcome, "inconclusive") == 0;
        html_number(view_number(item, "found"), 4, found);
        html_number(view_number(item, "low"), 4, low);
        html_number(view_number(item, "high"), 4, high);
        if (isfinite(view_number(item, "low"))) snprintf(interval, sizeof interval, " [%s, %s]", low, high);
        if (isnan(view_number(item, "found"))) snprintf(found, sizeof found, "not measured");
        double network = view_number(item, "network");
        if (v->count > 2 && network >= 0 && network < v->count) snprintf(of, sizeof of, "%.70s: ", v->names[(int)network]);
        snprintf(text, sizeof text, "%sgoal %.40s %.40s: %s, found %s%s", of, name != NULL ? name : "?", limit != NULL ? limit : "?",
                 met ? "met" : open ? "inconclusive" : "missed", found, interval);
        html_element(b, "span", met ? "badge met" : open ? "badge modelled" : "badge missed", text);
        strbuf_add(b, " ");
    }
    strbuf_add(b, "</p>\n");
    const char *kept = view_text(v->root, "kept");
    if (kept == NULL) return;
    strbuf_add(b, "<p class=\"warn\">Written was an earlier network that meets the goals: ");
    html_text(b, kept);
    strbuf_add(b, "</p>\n");
}

/* ---- tiles ---- */

static void tile(StrBuf *b, const char *what, const char *mood, const char *big, const char *pair, const char *from, const char *badge)
{
    strbuf_printf(b, "<div class=\"tile %s\">", mood);
    html_element(b, "p", "what", what);
    html_element(b, "p", "big", big);
    html_element(b, "p", "pair", pair);
    if (badge != NULL) {
        char name[32];
        snprintf(name, sizeof name, "badge %s", badge);
        html_element(b, "span", name, from);
    }
    strbuf_add(b, "</div>\n");
}

static void pair_text(const char *before, const char *after, char text[120])
{
    snprintf(text, 120, "%s \xE2\x86\x92 %s", before, after);
}

static void measure_tile(const View *v, int k, MeasureId id, StrBuf *b)
{
    const MeasureInfo *m = &measure_infos[id];
    Range before = measure_of(v->networks[0], id), after = measure_of(v->networks[k], id);
    if (isnan(before.value) && isnan(after.value)) return;
    char big[HTML_NUMBER], x[HTML_NUMBER], y[HTML_NUMBER], pair[120];
    Claim claim = measure_claim(v, k, id);
    html_quantity(before.value, m->unit, x);
    html_quantity(after.value, m->unit, y);
    pair_text(x, y, pair);
    html_change(1, measure_ratio(v, k, id), big);
    if (claim == CLAIM_UNSURE) snprintf(big, sizeof big, "inconclusive");
    if (claim == CLAIM_SAME) snprintf(big, sizeof big, "same");
    if (claim == CLAIM_NONE) snprintf(big, sizeof big, "not compared");
    const char *mood = claim == CLAIM_LESS ? "is-good" : claim == CLAIM_MORE ? "is-bad" : "";
    const char *from = measure_provenance(v->networks[k], id);
    tile(b, m->title, mood, big, pair, from, from);
}

static void accuracy_tile(const View *v, int k, StrBuf *b)
{
    Range before = view_accuracy(v->networks[0]), after = view_accuracy(v->networks[k]);
    char big[HTML_NUMBER], x[HTML_NUMBER], y[HTML_NUMBER], pair[120];
    if (isnan(before.value) || isnan(after.value)) return;
    double change = after.value - before.value;
    bool clear = before.low > after.high || after.low > before.high;
    snprintf(big, sizeof big, "%s%.2f points", change < -0.005 ? "\xE2\x88\x92" : change > 0.005 ? "+" : "\xC2\xB1", fabs(change));
    snprintf(x, sizeof x, "%.2f\xC2\xA0%%", before.value);
    snprintf(y, sizeof y, "%.2f\xC2\xA0%%", after.value);
    pair_text(x, y, pair);
    tile(b, "Accuracy", clear ? (change < 0 ? "is-bad" : "is-good") : "", big, pair, "measured", "measured");
}

static void single_tile(const View *v, MeasureId id, StrBuf *b)
{
    const MeasureInfo *m = &measure_infos[id];
    char big[HTML_NUMBER];
    Range r = measure_of(v->networks[0], id);
    const char *from = measure_provenance(v->networks[0], id);
    if (isnan(r.value)) return;
    html_quantity(r.value, m->unit, big);
    tile(b, m->title, "", big, id == MEASURE_SIZE ? "" : "an inference", from, from);
}

static void lead(const View *v, int k, StrBuf *b)
{
    char accuracy[256] = "";
    Range before = view_accuracy(v->networks[0]), after = view_accuracy(v->networks[k]);
    double samples = view_number(v->networks[k], "samples");
    strbuf_add(b, "<p class=\"lead\">");
    if (v->count > 2) {
        html_text(b, v->names[k]);
        strbuf_add(b, ": ");
    }
    if (isfinite(before.value) && isfinite(after.value)) {
        char count[HTML_NUMBER];
        const char *calibration = view_on_calibration(v) ? " of the calibration data" : "";
        html_number(samples, 6, count);
        bool clear = before.low > after.high || after.low > before.high;
        snprintf(accuracy, sizeof accuracy, "Accuracy went from %.2f %% to %.2f %% on %s labelled samples%s%s. ", before.value,
                 after.value, count, calibration,
                 clear ? "; the 95 % intervals do not overlap" : ", a difference within the 95 % intervals");
        if (fabs(after.value - before.value) < 0.005)
            snprintf(accuracy, sizeof accuracy, "Accuracy is %.2f %% before and after, on %s labelled samples%s. ", after.value, count,
                     calibration);
        html_text(b, accuracy);
    } else {
        strbuf_add(b, "Accuracy was not measured: no labelled data was given. ");
    }
    const char *inputs = view_text(v->networks[k], "inputs");
    if (inputs != NULL) {
        html_text(b, v->names[k]);
        strbuf_add(b, " ");
        html_text(b, inputs);
        strbuf_add(b, ". ");
    }
    Claim time = measure_claim(v, k, MEASURE_TIME);
    if (time == CLAIM_NONE) {
        const char *why = view_text(v->networks[k], "latency_note");
        strbuf_add(b, "Run time was not measured");
        if (why != NULL) strbuf_add(b, ": ");
        html_text(b, why);
        strbuf_add(b, ". ");
    } else if (time == CLAIM_UNSURE) {
        strbuf_add(b, "No difference in run time could be shown beyond the noise of this machine. ");
    }
    const char *energy = measure_provenance(v->networks[k], MEASURE_ENERGY);
    if (energy != NULL && strcmp(energy, "modelled") == 0)
        strbuf_add(b, "Energy and carbon are modelled, not measured, so they are no evidence of their own.");
    strbuf_add(b, "</p>\n");
}

void html_verdict(const View *v, StrBuf *b)
{
    bool dry = view_true(v->root, "dry_run");
    strbuf_add(b, "<p class=\"eyebrow\">");
    for (int k = 0; k < v->count; k++) {
        if (k > 0) strbuf_add(b, k == 1 ? " \xE2\x86\x92 " : ", ");
        html_text(b, v->names[k]);
    }
    if (v->left_out > 0) strbuf_printf(b, ", and %d more networks, which are not shown", v->left_out);
    if (dry) strbuf_add(b, " (a dry run: predicted, nothing was written)");
    strbuf_add(b, "</p>\n");
    if (v->count < 2) {
        strbuf_add(b, "<h1>");
        html_text(b, v->count == 1 ? v->names[0] : "Nothing was measured");
        strbuf_add(b, "</h1>\n<div class=\"tiles\">\n");
        for (int id = 0; v->count == 1 && id < MEASURE_COUNT; id++) single_tile(v, (MeasureId)id, b);
        strbuf_add(b, "</div>\n");
        goals_line(v, b);
        return;
    }
    headline(v, b);
    lead(v, 1, b);
    goals_line(v, b);
    for (int k = 1; k < v->count; k++) {
        if (v->count > 2) html_element(b, "h3", NULL, v->names[k]);
        strbuf_add(b, "<div class=\"tiles\">\n");
        static const MeasureId order[MEASURE_COUNT] = { MEASURE_SIZE, MEASURE_OPERATIONS, MEASURE_TIME, MEASURE_POWER, MEASURE_ENERGY,
                                                        MEASURE_CARBON };
        for (int i = 0; i < MEASURE_COUNT; i++) measure_tile(v, k, order[i], b);
        accuracy_tile(v, k, b);
        strbuf_add(b, "</div>\n");
    }
}
