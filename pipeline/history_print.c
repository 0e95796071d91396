/* The history for people and programs: a table with a line of bars for each number, JSON, a page. */
#include "pipeline/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/text.h"

#define BARS_MOST 16 /* the latest builds */

static const char *const change_names[] = { "unknown", "same", "better", "worse" };

static void value_text(HistoryId id, double value, char text[HTML_NUMBER])
{
    if (id == HISTORY_ACCURACY && isfinite(value)) snprintf(text, HTML_NUMBER, "%.2f %%", 100 * value);
    else html_quantity(value, history_infos[id].unit, text);
}

/* Plain words for what the terminal may not show; units as in all other text. */
static void to_ascii(const char *text, bool utf8, char *out, size_t size)
{
    static const struct {
        const char *from, *to;
    } words[] = { { "\xC2\xA0", " " }, { "\xC2\xB5", "u" }, { "\xE2\x80\x93", "-" }, { "\xE2\x88\x92", "-" }, { "\xC3\x97", "x" } };
    enum { UNITS = 2 };
    size_t at = 0;
    while (*text != '\0' && at + 4 < size) {
        bool done = false;
        for (size_t i = 0; i < sizeof words / sizeof *words && (!utf8 || i < UNITS) && !done; i++) {
            size_t n = strlen(words[i].from);
            if (strncmp(text, words[i].from, n) != 0) continue;
            out[at++] = words[i].to[0];
            text += n;
            done = true;
        }
        if (!done) out[at++] = *text++;
    }
    out[at] = '\0';
}

static void sparkline(const History *h, HistoryId id, bool utf8, StrBuf *b)
{
    static const char *const blocks[8] = { "\xE2\x96\x81", "\xE2\x96\x82", "\xE2\x96\x83", "\xE2\x96\x84",
                                           "\xE2\x96\x85", "\xE2\x96\x86", "\xE2\x96\x87", "\xE2\x96\x88" };
    static const char *const plain[8] = { "_", ".", ",", "-", "=", "+", "*", "#" };
    size_t from = h->count > BARS_MOST ? h->count - BARS_MOST : 0;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = from; i < h->count; i++) {
        double value = h->entries[i].after[id].value;
        if (!isfinite(value)) continue;
        low = fmin(low, value);
        high = fmax(high, value);
    }
    for (size_t i = from; i < h->count; i++) {
        double value = h->entries[i].after[id].value;
        int level = high - low > 1e-3 * fabs(high) ? (int)lround(7 * (value - low) / (high - low)) : 3; /* flat: no hills of nothing */
        if (!isfinite(value)) strbuf_add(b, " ");
        else strbuf_add(b, utf8 ? blocks[level] : plain[level]);
    }
}

static void difference(double from, double to, HistoryId id, char text[HTML_NUMBER])
{
    text[0] = '\0';
    if (!isfinite(from) || !isfinite(to)) return;
    if (id == HISTORY_ACCURACY) snprintf(text, HTML_NUMBER, "%+.2f points", 100 * (to - from));
    else if (from > 0) snprintf(text, HTML_NUMBER, "%+.1f %%", 100 * (to / from - 1));
}

/* From the run before; the verdict says what else it was judged against. */
static void change_text(const HistoryTrend *t, HistoryId id, char text[HTML_NUMBER])
{
    difference(t->previous, t->last, id, text);
}

static void verdict_cell(const HistoryTrend *t, HistoryId id, char text[160])
{
    char judged[HTML_NUMBER], from[64] = "", noise[32];
    if (id == HISTORY_ACCURACY) snprintf(noise, sizeof noise, "%.2f points", 100 * t->noise * t->base);
    else snprintf(noise, sizeof noise, "%.1f %%", 100 * t->noise);
    difference(t->base, t->last, id, judged);
    if (t->against[0] != '\0') snprintf(from, sizeof from, "%.24s from %s, ", judged, t->against);
    switch (t->change) {
    case HISTORY_WORSE: snprintf(text, 160, "WORSE, %snoise %s", from, noise); break;
    case HISTORY_BETTER: snprintf(text, 160, "better, %snoise %s", from, noise); break;
    case HISTORY_SAME:
        if (t->note[0] != '\0') snprintf(text, 160, "%s%.95s", from, t->note);
        else snprintf(text, 160, "%swithin %s", from, noise);
        break;
    case HISTORY_UNKNOWN: snprintf(text, 160, "%s", t->note); break;
    }
}

static void print_row(const History *h, HistoryId id, bool color, bool utf8, TextTable *table)
{
    HistoryTrend t;
    char values[3][HTML_NUMBER], plain[3][HTML_NUMBER], change[HTML_NUMBER], verdict[160];
    StrBuf bars = { 0 };
    history_trend(h, id, &t);
    if (t.points == 0) return;
    value_text(id, t.first, values[0]);
    value_text(id, t.previous, values[1]);
    value_text(id, t.last, values[2]);
    for (int i = 0; i < 3; i++) to_ascii(i == 1 && !isfinite(t.previous) ? "" : values[i], utf8, plain[i], HTML_NUMBER);
    change_text(&t, id, change);
    verdict_cell(&t, id, verdict);
    sparkline(h, id, utf8, &bars);
    if (bars.failed) table->failed = true;
    const char *on = !color ? "" : t.change == HISTORY_WORSE ? "\033[31m" : t.change == HISTORY_BETTER ? "\033[32m" : "";
    table_cell(table, "%s", history_infos[id].title);
    table_cell(table, "%s", bars.data != NULL ? bars.data : "");
    for (int i = 0; i < 3; i++) table_cell(table, "%s", plain[i]);
    table_cell(table, "%s", change);
    table_cell(table, "%s%s%s", on, verdict, on[0] != '\0' ? "\033[0m" : "");
    strbuf_release(&bars);
}

static void print_skips(const History *h, StrBuf *b)
{
    for (int i = 0; i < h->skipped && i < HISTORY_SKIPS; i++)
        strbuf_printf(b, "line %d skipped: %s\n", h->skips[i].line, h->skips[i].reason);
    if (h->skipped > HISTORY_SKIPS) strbuf_printf(b, "%d more lines skipped\n", h->skipped - HISTORY_SKIPS);
}

void history_print(const History *h, const char *path, bool color, bool utf8, StrBuf *b)
{
    if (h->count == 0) {
        strbuf_printf(b, "%s: no runs\n", path);
    } else {
        const HistoryEntry *first = &h->entries[0], *last = &h->entries[h->count - 1];
        strbuf_printf(b, "%s: %zu run%s, %s .. %s\n", last->name, h->count, h->count == 1 ? "" : "s", first->created, last->created);
        static const char *const heads[] = { "", "trend", "first", "before", "last", "change", "" };
        TextTable t;
        table_init(&t, 7, "llrrrrl");
        for (int i = 0; i < 7; i++) table_cell(&t, "%s", heads[i]);
        for (int id = 0; id < HISTORY_COUNT; id++) print_row(h, (HistoryId)id, color, utf8, &t);
        table_print(&t, 0, true, b);
        table_release(&t);
    }
    if (h->others[0] != '\0') strbuf_printf(b, "other networks in the file, shown with --name: %s\n", h->others);
    print_skips(h, b);
}

/* ---- JSON ---- */

static void add_number(cJSON *object, const char *key, double value)
{
    if (isfinite(value)) cJSON_AddNumberToObject(object, key, value);
    else cJSON_AddNullToObject(object, key);
}

static cJSON *measure_json(const History *h, HistoryId id)
{
    HistoryTrend t;
    cJSON *object = cJSON_CreateObject();
    history_trend(h, id, &t);
    cJSON_AddStringToObject(object, "measure", history_infos[id].key);
    cJSON_AddStringToObject(object, "unit", history_infos[id].unit);
    cJSON *values = cJSON_AddArrayToObject(object, "values");
    for (size_t i = 0; i < h->count; i++) {
        double value = h->entries[i].after[id].value;
        cJSON_AddItemToArray(values, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
    }
    add_number(object, "first", t.first);
    add_number(object, "before", t.previous);
    add_number(object, "last", t.last);
    add_number(object, "judged_against", t.base);
    add_number(object, "noise", t.noise);
    cJSON_AddNumberToObject(object, "compared_with", t.base_count);
    cJSON_AddStringToObject(object, "change", change_names[t.change]);
    if (t.note[0] != '\0') cJSON_AddStringToObject(object, "note", t.note);
    else cJSON_AddNullToObject(object, "note");
    return object;
}

cJSON *history_json(const History *h, const char *path)
{
    cJSON *root = cJSON_CreateObject();
    StrBuf safe = { 0 };
    text_safe(str_of(path), &safe);
    cJSON_AddStringToObject(root, "file", safe.data != NULL ? safe.data : "");
    strbuf_release(&safe);
    cJSON_AddStringToObject(root, "name", h->count > 0 ? h->entries[h->count - 1].name : "");
    cJSON *runs = cJSON_AddArrayToObject(root, "runs"), *measures = cJSON_AddArrayToObject(root, "measures");
    for (size_t i = 0; i < h->count; i++) {
        const HistoryEntry *e = &h->entries[i];
        cJSON *run = cJSON_CreateObject();
        cJSON_AddNumberToObject(run, "line", e->line);
        cJSON_AddStringToObject(run, "created", e->created);
        cJSON_AddStringToObject(run, "version", e->version);
        cJSON_AddStringToObject(run, "machine", e->machine);
        cJSON_AddStringToObject(run, "result_sha256", e->result);
        cJSON_AddStringToObject(run, "recipe_sha256", e->recipe);
        cJSON_AddItemToArray(runs, run);
    }
    for (int id = 0; id < HISTORY_COUNT; id++) cJSON_AddItemToArray(measures, measure_json(h, (HistoryId)id));
    cJSON *skipped = cJSON_AddArrayToObject(root, "skipped");
    for (int i = 0; i < h->skipped && i < HISTORY_SKIPS; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "line", h->skips[i].line);
        cJSON_AddStringToObject(item, "reason", h->skips[i].reason);
        cJSON_AddItemToArray(skipped, item);
    }
    cJSON_AddNumberToObject(root, "skipped_lines", h->skipped);
    return root;
}

/* ---- page ---- */

/* "2025-01-31 12:00" */
static void moment(const char *created, char text[24])
{
    snprintf(text, 24, "%.16s", created);
    if (strlen(text) > 10 && text[10] == 'T') text[10] = ' ';
}

static void series_chart(const History *h, HistoryId id, StrBuf *b)
{
    HistoryTrend t;
    double low = INFINITY, high = -INFINITY, factor = id == HISTORY_ACCURACY ? 100 : 1, points[2 * 512];
    history_trend(h, id, &t);
    if (t.points < 2) return;
    for (size_t i = 0; i < h->count; i++) {
        const HistoryPoint *p = &h->entries[i].after[id];
        if (!isfinite(p->value)) continue;
        low = fmin(low, factor * (isfinite(p->low) ? p->low : p->value));
        high = fmax(high, factor * (isfinite(p->high) ? p->high : p->value));
    }
    Chart c;
    char title[120], verdict[160], caption[240], change[HTML_NUMBER], hint[160];
    snprintf(title, sizeof title, "%c%s", history_infos[id].title[0] - 'a' + 'A', history_infos[id].title + 1);
    chart_begin(&c, b, title, "The number of each run, in order, with its 95 % interval where it has one", 210);
    c.top = 18;
    c.x = (Scale){ .low = 0, .high = (double)(h->count > 1 ? h->count - 1 : 1), .from = c.left + 12, .to = c.right - 12 };
    c.y = scale_around(low, fmax(high, low + 0.02 * fabs(low)), false);
    c.bottom = c.height - 20;
    if (c.y.low < 0) c.y.low = 0;
    if (id == HISTORY_ACCURACY && c.y.high > 100) c.y.high = 100 + 0.02 * (100 - c.y.low);
    chart_axis_y(&c, id == HISTORY_ACCURACY ? "%" : id == HISTORY_CARBON ? "g" : history_infos[id].unit, "");
    chart_line(&c, "axis", c.left, c.bottom, c.right, c.bottom);
    int count = 0;
    for (size_t i = h->count > 512 ? h->count - 512 : 0; i < h->count; i++) {
        const HistoryPoint *p = &h->entries[i].after[id];
        if (!isfinite(p->value)) continue;
        points[2 * count] = scale_at(&c.x, (double)i);
        points[2 * count++ + 1] = scale_at(&c.y, factor * p->value);
        if (isfinite(p->low))
            chart_line(&c, "s-before", points[2 * count - 2], scale_at(&c.y, factor * p->low), points[2 * count - 2],
                       scale_at(&c.y, factor * p->high));
    }
    chart_path(&c, "s-after", points, count);
    for (int i = 0; i < count; i++) {
        bool last = i == count - 1;
        snprintf(hint, sizeof hint, "run %d of %d", i + 1, count);
        chart_dot(&c, last && t.change == HISTORY_WORSE ? "f-bad" : "f-after", points[2 * i], points[2 * i + 1], last ? 5 : 3, hint);
    }
    char when[24];
    moment(h->entries[0].created, when);
    chart_text(&c, "tick", c.left, c.bottom + 15, when);
    moment(h->entries[h->count - 1].created, when);
    chart_text(&c, "tick end", c.right, c.bottom + 15, when);
    verdict_cell(&t, id, verdict);
    change_text(&t, id, change);
    snprintf(caption, sizeof caption, "%s%s%s", change, change[0] != '\0' ? ": " : "", verdict);
    chart_end(&c, caption);
}

static void run_table(const History *h, StrBuf *b)
{
    strbuf_add(b, "<h2>Runs</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>when</th>");
    for (int id = 0; id < HISTORY_COUNT; id++) html_element(b, "th", "num", history_infos[id].title);
    strbuf_add(b, "<th>machine</th><th>result</th></tr></thead>\n<tbody>\n");
    for (size_t i = h->count; i-- > 0 && h->count - i <= 100;) {
        const HistoryEntry *e = &h->entries[i];
        char text[HTML_NUMBER], when[24];
        strbuf_add(b, "<tr>");
        moment(e->created, when);
        html_element(b, "td", "num", when);
        for (int id = 0; id < HISTORY_COUNT; id++) {
            value_text((HistoryId)id, e->after[id].value, text);
            html_element(b, "td", "num", text);
        }
        html_element(b, "td", NULL, e->machine);
        snprintf(text, sizeof text, "%.12s", e->result);
        strbuf_add(b, "<td class=\"num\">");
        html_element(b, "code", NULL, text);
        strbuf_add(b, "</td></tr>\n");
    }
    strbuf_add(b, "</tbody></table></div>\n");
}

void history_html(const History *h, const char *path, StrBuf *b)
{
    char title[256];
    int worse = 0;
    snprintf(title, sizeof title, "History of %.160s", h->count > 0 ? h->entries[h->count - 1].name : path);
    html_begin(b, title);
    html_element(b, "h1", NULL, title);
    strbuf_add(b, "<p class=\"lead\">");
    for (int id = 0; id < HISTORY_COUNT; id++) {
        HistoryTrend t;
        history_trend(h, (HistoryId)id, &t);
        if (t.change != HISTORY_WORSE) continue;
        strbuf_add(b, worse++ == 0 ? "<span class=\"bad\">Worse than before, beyond the noise: " : ", ");
        html_text(b, history_infos[id].title);
    }
    if (worse > 0) strbuf_add(b, ".</span>");
    else strbuf_printf(b, "%zu run%s; nothing is worse than before beyond the noise.", h->count, h->count == 1 ? "" : "s");
    strbuf_add(b, "</p>\n<div class=\"charts\">\n");
    for (int id = 0; id < HISTORY_COUNT; id++) series_chart(h, (HistoryId)id, b);
    strbuf_add(b, "</div>\n");
    if (h->count > 0) run_table(h, b);
    if (h->skipped > 0) {
        strbuf_add(b, "<h2>Lines skipped</h2>\n<ul>\n");
        for (int i = 0; i < h->skipped && i < HISTORY_SKIPS; i++) {
            strbuf_printf(b, "<li>line %d: ", h->skips[i].line);
            html_text(b, h->skips[i].reason);
            strbuf_add(b, "</li>\n");
        }
        strbuf_add(b, "</ul>\n");
    }
    html_end(b, "Nothing on this page is loaded from elsewhere.");
}
