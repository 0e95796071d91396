/* Ratios pair by pair: what was measured in turns, and how far a network is from itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

#define DOTS_MOST 400 /* drawn; more say nothing more */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Where nearly all of them lie; what is further out is drawn at the edge. */
static void spread(const cJSON *list, double *low, double *high, bool *cut)
{
    const cJSON *item;
    int count = 0, room = cJSON_GetArraySize(list);
    double *values = room > 0 ? calloc((size_t)room, sizeof *values) : NULL;
    if (values == NULL) return;
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsNumber(item) && item->valuedouble > 0 && isfinite(item->valuedouble)) values[count++] = item->valuedouble;
    }
    if (count > 0) {
        qsort(values, (size_t)count, sizeof *values, by_value);
        int aside = count / 40;
        *low = fmin(*low, fmax(values[aside], 1e-3));
        *high = fmax(*high, fmin(values[count - 1 - aside], 1e3));
        *cut = *cut || values[0] < *low || values[count - 1] > *high;
    }
    free(values);
}

/* Dots in a lane, each as high or low as its turn says, so that they do not hide one another. */
static void strip(Chart *c, const cJSON *list, const char *name, double y, double half)
{
    const cJSON *item;
    int count = cJSON_GetArraySize(list), stride = count > DOTS_MOST ? (count + DOTS_MOST - 1) / DOTS_MOST : 1, i = 0;
    cJSON_ArrayForEach(item, list) {
        double lane = (double)(i * 37 % 101) / 100 * 2 - 1;
        if (i++ % stride == 0 && cJSON_IsNumber(item) && item->valuedouble > 0)
            chart_dot(c, name, scale_at(&c->x, item->valuedouble), y + lane * half, 2.6, NULL);
    }
}

static void pair_chart(const View *v, const cJSON *comparison, StrBuf *b)
{
    const cJSON *ratios = view_list(comparison, "ratios"), *null_ratios = view_list(comparison, "null.ratios");
    Range ratio = view_range(comparison, "ratio");
    double low = fmin(1, ratio.low), high = fmax(1, ratio.high), band_low = view_number(comparison, "null.low"),
           band_high = view_number(comparison, "null.high");
    if (ratios == NULL || !isfinite(ratio.value)) return;
    bool cut = false;
    spread(ratios, &low, &high, &cut);
    spread(null_ratios, &low, &high, &cut);
    Chart c;
    char title[160], text[HTML_NUMBER], caption[400];
    const char *measure = view_text(comparison, "measure"), *verdict = view_text(comparison, "verdict");
    double network = view_number(comparison, "network");
    int k = isfinite(network) && network >= 1 && network < v->count ? (int)network : v->count - 1;
    char name[128];
    html_shorten(v->names[k], 28, name, sizeof name);
    bool energy = measure != NULL && strcmp(measure, "energy") == 0;
    snprintf(title, sizeof title, "%s, pair by pair: %.100s", energy ? "Energy" : "Run time", v->count > 2 ? name : "after / before");
    chart_begin(&c, b, title, "Each dot is one pair of windows measured right after one another", null_ratios != NULL ? 218 : 150);
    c.left = 10;
    c.top = 16;
    c.x = scale_around(low, fmax(high, low * 1.02), true);
    chart_axis_x(&c, "", "ratio, logarithmic");
    double one = scale_at(&c.x, 1), middle = 58;
    if (isfinite(band_low) && isfinite(band_high)) {
        double from = scale_at(&c.x, band_low), to = scale_at(&c.x, band_high);
        chart_rect(&c, "f-band", from, c.top, to - from, c.bottom - c.top);
    }
    chart_line(&c, "one", one, c.top, one, c.bottom);
    strip(&c, ratios, "dot", middle, 24);
    double at = scale_at(&c.x, ratio.value);
    chart_line(&c, "s-ink", scale_at(&c.x, ratio.low), middle, scale_at(&c.x, ratio.high), middle);
    chart_rect(&c, "f-after", at - 1.5, middle - 30, 3, 60);
    if (null_ratios != NULL) {
        strip(&c, null_ratios, "nulldot", middle + 78, 18);
        chart_text(&c, "tick", c.left, middle + 54, "the original against itself");
    }
    chart_text(&c, "tick", c.left, c.top - 4, v->count > 2 ? name : "after / before");
    html_number(ratio.value, 3, text);
    char low_text[HTML_NUMBER], high_text[HTML_NUMBER];
    html_number(ratio.low, 3, low_text);
    html_number(ratio.high, 3, high_text);
    snprintf(caption, sizeof caption, "%d pairs, median \xC3\x97 %s, 95 %% interval %s \xE2\x80\xA6 %s: %.40s. %s%s",
             cJSON_GetArraySize(ratios), text,
             low_text, high_text, verdict != NULL ? verdict : "no verdict",
             isfinite(band_low) ? "Shaded: the null band, what the same network twice gives by chance." : "",
             cut ? " A few dots further out stand at the edge." : "");
    chart_end(&c, caption);
}

void html_pairs(const View *v, StrBuf *b)
{
    const cJSON *item;
    bool any = false;
    cJSON_ArrayForEach(item, view_list(v->root, "comparisons")) {
        any = any || view_list(item, "ratios") != NULL;
    }
    if (!any) return;
    strbuf_add(b, "<h2 id=\"pairs\">The evidence: pairs measured in turns</h2>\n"
                  "<p class=\"note\">Each dot is one window of the one network and one of the other, in random order, so that what "
                  "drifts in the machine meets both. A difference is claimed only where the interval excludes 1 and lies outside the "
                  "null band.</p>\n"
                  "<div class=\"charts\">\n");
    cJSON_ArrayForEach(item, view_list(v->root, "comparisons")) {
        pair_chart(v, item, b);
    }
    strbuf_add(b, "</div>\n");
}
