/* What the compressing itself cost, as a whole and pass by pass, and when that is saved again. */
#include <math.h>
#include <stdio.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

#define ROW 24.0
#define PASSES_MOST 24

/* A bar for each pass, from what those before it had taken to what it adds; the last one is all of them. Left out where a pass has no such
 * number: part of a sum is not shown as the whole. */
static void cost_waterfall(const cJSON *steps, const char *title, const char *path, const char *unit, const char *caption, StrBuf *b)
{
    const cJSON *step;
    double total = 0, last = 0;
    int count = cJSON_GetArraySize(steps), i = 0;
    cJSON_ArrayForEach(step, steps) {
        total += view_range(step, path).value;
    }
    if (!(total > 0) || count > PASSES_MOST) return;
    Chart c;
    char text[HTML_NUMBER], name[96];
    chart_begin(&c, b, title, "A bar for each pass, from what those before it took to what it adds", (count + 1) * ROW + 20);
    c.x = (Scale){ .low = 0, .high = total, .from = 96, .to = CHART_WIDTH - 82 };
    cJSON_ArrayForEach(step, steps) {
        const char *pass = view_text(step, "pass");
        double now = last + view_range(step, path).value, y = 8 + i++ * ROW, from = scale_at(&c.x, last), to = scale_at(&c.x, now);
        html_shorten(pass != NULL ? pass : "?", 12, name, sizeof name);
        chart_text(&c, "", 0, y + 12, name);
        chart_rect(&c, "f-before", from, y, to - from, 16);
        chart_line(&c, "s-thin", to, y + 16, to, y + ROW);
        html_quantity(now - last, unit, text);
        chart_text(&c, "end", CHART_WIDTH, y + 12, text);
        last = now;
    }
    double y = 8 + i * ROW;
    chart_text(&c, "strong", 0, y + 12, "all passes");
    chart_rect(&c, "f-after", c.x.from, y, scale_at(&c.x, total) - c.x.from, 16);
    html_quantity(total, unit, text);
    chart_text(&c, "end strong", CHART_WIDTH, y + 12, text);
    chart_line(&c, "axis", c.x.from, 2, c.x.from, y + ROW - 4);
    chart_end(&c, caption);
}

static void cost_by_pass(const View *v, StrBuf *b)
{
    const cJSON *steps = view_list(v->root, "steps");
    if (steps == NULL) return;
    strbuf_add(b, "<div class=\"charts\">\n");
    cost_waterfall(steps, "Time of each pass", "seconds", "s", NULL, b);
    cost_waterfall(steps, "CPU time of each pass", "cpu_seconds", "s", "All threads together.", b);
    cost_waterfall(steps, "Energy of each pass", "cost_energy_j", "J", view_text(cJSON_GetArrayItem(steps, 0), "cost_energy_j.source"), b);
    strbuf_add(b, "</div>\n");
}

void html_cost(const View *v, StrBuf *b)
{
    const cJSON *cost = view_get(v->root, "cost");
    double seconds = view_number(cost, "seconds"), pays = view_number(cost, "pays_back");
    if (!(seconds > 0)) return;
    char text[HTML_NUMBER];
    strbuf_add(b, "<h2 id=\"cost\">What compressing cost</h2>\n<p>");
    html_quantity(seconds, "s", text);
    html_text(b, text);
    strbuf_add(b, " of time, ");
    html_quantity(view_number(cost, "cpu_seconds"), "s", text);
    html_text(b, text);
    strbuf_add(b, " of CPU time, at most ");
    html_quantity(view_number(cost, "peak_memory"), "B", text);
    html_text(b, text);
    strbuf_add(b, " of memory");
    Range joules = view_range(cost, "energy_j");
    if (isfinite(joules.value)) {
        const char *source = view_text(cost, "energy_j.source");
        html_quantity(joules.value, "J", text);
        strbuf_add(b, ", ");
        html_text(b, text);
        if (source != NULL) {
            strbuf_add(b, " (");
            html_text(b, source);
            strbuf_add(b, ")");
        }
    }
    strbuf_add(b, ".");
    if (isfinite(view_number(cost, "predicted_j"))) {
        const char *task = view_text(cost, "predicted_task");
        html_quantity(view_number(cost, "predicted_j"), "J", text);
        strbuf_add(b, " While its longest task ran (");
        html_text(b, task != NULL ? task : "a pass");
        strbuf_add(b, "), ");
        html_text(b, text);
        html_quantity(view_number(cost, "found_j"), "J", text);
        strbuf_add(b, " were predicted for it; it came to ");
        html_text(b, text);
        strbuf_add(b, ".");
    }
    if (isfinite(pays)) {
        html_quantity(pays, "", text);
        strbuf_add(b, " Paid for itself in energy after about ");
        html_text(b, text);
        strbuf_add(b, " inferences");
        if (isfinite(view_number(cost, "pays_back_low"))) {
            bool ends = isfinite(view_number(cost, "pays_back_high"));
            html_quantity(view_number(cost, "pays_back_low"), "", text);
            strbuf_add(b, " (95 %: from ");
            html_text(b, text);
            html_quantity(view_number(cost, "pays_back_high"), "", text);
            strbuf_add(b, ends ? " to " : ", no end known");
            if (ends) html_text(b, text);
            strbuf_add(b, ")");
        }
        strbuf_add(b, ".");
    } else if (isfinite(joules.value)) {
        const char *why = view_text(cost, "pays_back_note");
        strbuf_add(b, " After how many inferences that is paid back cannot be said: ");
        html_text(b, why != NULL ? why : "no saving of energy was shown");
        strbuf_add(b, ".");
    }
    strbuf_add(b, "</p>\n");
    cost_by_pass(v, b);
}
