/* Carbon over several grids, and the software carbon intensity. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

#define CO2E "g CO\xE2\x82\x82" "e"
#define JOULES_PER_KWH 3.6e6
#define INFERENCES 1e6

static double joules_of(const View *v, int k)
{
    return measure_of(v->networks[k], MEASURE_ENERGY).value;
}

static double grams(const View *v, int k, const cJSON *scenario)
{
    double pue = view_number(v->root, "carbon.pue");
    return INFERENCES * joules_of(v, k) / JOULES_PER_KWH * view_number(scenario, "grid.g_per_kwh") * (pue > 0 ? pue : 1);
}

static void scenario_chart(const View *v, const cJSON *list, StrBuf *b)
{
    const cJSON *item;
    double most = 0;
    int count = cJSON_GetArraySize(list), last = v->count - 1, i = 0;
    cJSON_ArrayForEach(item, list) {
        most = fmax(most, fmax(grams(v, 0, item), grams(v, last, item)));
    }
    if (!(most > 0) || count > 40) return;
    Chart c;
    char text[HTML_NUMBER], name[96];
    chart_begin(&c, b, "A million inferences, by grid", "Grams of CO2 equivalents before and after, for each electricity grid",
                count * 26 + 10);
    c.x = (Scale){ .low = 0, .high = most, .from = 118, .to = CHART_WIDTH - 86 };
    cJSON_ArrayForEach(item, list) {
        double top = 6 + i++ * 26;
        const char *region = view_text(item, "grid.region");
        html_shorten(region != NULL ? region : "?", 18, name, sizeof name);
        chart_text(&c, "", 0, top + 13, name);
        chart_rect(&c, "f-before", c.x.from, top, scale_at(&c.x, grams(v, 0, item)) - c.x.from, 8);
        if (last > 0) chart_rect(&c, "f-after", c.x.from, top + 9, scale_at(&c.x, grams(v, last, item)) - c.x.from, 8);
        html_quantity(grams(v, last, item), CO2E, text);
        chart_text(&c, "end", CHART_WIDTH, top + 13, text);
    }
    chart_line(&c, "axis", c.x.from, 0, c.x.from, count * 26 + 4);
    chart_end(&c, "Upper bar: before; lower: after. What changes between rows is the grid, not the network.");
}

static void scenario_table(const View *v, const cJSON *list, StrBuf *b)
{
    const cJSON *item;
    strbuf_add(b, "<div class=\"scroll\"><table>\n<thead><tr><th>grid</th><th class=\"num\">g CO\xE2\x82\x82" "e / kWh</th>");
    for (int k = 0; k < v->count; k++) html_element(b, "th", "num", v->count == 2 ? (k == 0 ? "before" : "after") : v->names[k]);
    strbuf_add(b, "<th>year</th><th>what is counted</th><th>source</th></tr></thead>\n<tbody>\n");
    cJSON_ArrayForEach(item, list) {
        char text[HTML_NUMBER];
        double year = view_number(item, "grid.year");
        strbuf_add(b, "<tr>");
        html_element(b, "th", NULL, view_text(item, "grid.region"));
        html_number(view_number(item, "grid.g_per_kwh"), 4, text);
        html_element(b, "td", "num", text);
        for (int k = 0; k < v->count; k++) {
            html_quantity(grams(v, k, item), CO2E, text);
            html_element(b, "td", "num", text);
        }
        snprintf(text, sizeof text, year > 0 ? "%.0f" : "\xE2\x80\x93", year);
        html_element(b, "td", NULL, text);
        html_element(b, "td", NULL, view_text(item, "grid.basis"));
        html_element(b, "td", "wide", view_text(item, "grid.source"));
        strbuf_add(b, "</tr>\n");
    }
    strbuf_add(b, "</tbody></table></div>\n");
}

/* The software carbon intensity of each network, where the report has it. */
static void sci_line(const View *v, StrBuf *b)
{
    const cJSON *list = view_list(v->root, "carbon.sci");
    if (list == NULL) return;
    char before[HTML_NUMBER], after[HTML_NUMBER], embodied[HTML_NUMBER];
    const cJSON *first = cJSON_GetArrayItem(list, 0), *last = cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1);
    html_quantity(view_number(first, "total_g"), CO2E, before);
    html_quantity(view_number(last, "total_g"), CO2E, after);
    strbuf_add(b, "<p><strong>SCI</strong> (software carbon intensity, (E \xC2\xB7 I + M) / R, R: one inference): ");
    html_text(b, before);
    if (last != first) {
        strbuf_add(b, " \xE2\x86\x92 ");
        html_text(b, after);
    }
    if (isnan(view_number(v->root, "carbon.embodied.total_kg"))) {
        strbuf_add(b, ". M, what making the machine emitted, was not given and is left out.</p>\n");
        return;
    }
    html_quantity(view_number(last, "embodied_g"), CO2E, embodied);
    strbuf_add(b, ", of it for making the machine ");
    html_text(b, embodied);
    strbuf_add(b, ".</p>\n");
}

void html_carbon(const View *v, StrBuf *b)
{
    const cJSON *list = view_list(v->root, "carbon.scenarios");
    bool energy = v->count > 0 && isfinite(joules_of(v, v->count - 1)) && isfinite(joules_of(v, 0));
    if (v->count > 0 && view_get(v->root, "carbon") != NULL) {
        strbuf_add(b, "<h2 id=\"carbon\">Carbon</h2>\n");
        if (!energy) {
            strbuf_add(b, "<p class=\"note\">Not shown: there is no energy figure to take it from.</p>\n");
        } else {
            const char *from = measure_provenance(v->networks[v->count - 1], MEASURE_ENERGY);
            double pue = view_number(v->root, "carbon.pue");
            char text[HTML_NUMBER];
            sci_line(v, b);
            strbuf_add(b, "<p class=\"note\">Energy is ");
            html_text(b, from);
            strbuf_add(b, "; carbon follows from it by the yearly mean of a grid, the softest number on this page. PUE ");
            html_number(pue > 0 ? pue : 1, 3, text);
            html_text(b, text);
            strbuf_add(b, pue > 1 ? ", as given.</p>\n" : ": no data centre is added.</p>\n");
        }
        if (energy && list != NULL) {
            strbuf_add(b, "<div class=\"charts\">\n");
            scenario_chart(v, list, b);
            strbuf_add(b, "</div>\n");
            scenario_table(v, list, b);
        }
    }
}
