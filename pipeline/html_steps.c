/* What each pass contributed: a waterfall for every number that was taken after each of them, and accuracy against cost along the way. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/html.h"
#include "pipeline/html_chart.h"
#include "pipeline/html_sections.h"

#define STEPS_MOST 24

/* A network at each moment: the original, after each pass, the result. */
typedef struct Moments {
    const cJSON *states[STEPS_MOST + 2];
    char names[STEPS_MOST + 2][96];
    int count, steps; /* steps: passes, without the original */
} Moments;

static void moments_open(const View *v, Moments *m)
{
    const cJSON *step;
    *m = (Moments){ .count = 0 };
    if (v->count < 1 || view_list(v->root, "steps") == NULL) return;
    m->states[m->count] = v->networks[0];
    snprintf(m->names[m->count++], sizeof m->names[0], "original");
    cJSON_ArrayForEach(step, view_list(v->root, "steps")) {
        if (m->steps == STEPS_MOST) break;
        const char *pass = view_text(step, "pass");
        m->states[m->count] = step;
        html_shorten(pass != NULL ? pass : "?", 12, m->names[m->count], sizeof m->names[0]);
        m->count++;
        m->steps++;
    }
}

static double moment_number(const cJSON *state, const char *path, double factor)
{
    return view_range(state, path).value * factor;
}

static bool known_throughout(const Moments *m, const char *path)
{
    for (int i = 0; i < m->count; i++) {
        if (isnan(moment_number(m->states[i], path, 1))) return false;
    }
    return m->count > 1;
}

/* Time and what is taken from the same calls differ only where the intervals of time do not overlap; counts always. */
static bool clearly_differ(const cJSON *before, const cJSON *after, const char *path)
{
    if (strcmp(path, "latency_ms") != 0 && strcmp(path, "energy_j") != 0) return true;
    Range x = view_range(before, "latency_ms"), y = view_range(after, "latency_ms");
    return !range_has_interval(&x) || !range_has_interval(&y) || x.high < y.low || y.high < x.low;
}

/* Bars from the one value to the next; first and last stand on zero. */
static void waterfall(const View *v, const Moments *m, const char *title, const char *path, const char *unit, double factor,
                      const char *caption, StrBuf *b)
{
    double most = 0, result = v->count > 1 ? moment_number(v->networks[1], path, factor) : NAN;
    for (int i = 0; i < m->count; i++) most = fmax(most, moment_number(m->states[i], path, factor));
    if (isnan(result)) result = moment_number(m->states[m->count - 1], path, factor);
    most = fmax(most, result);
    if (!(most > 0)) return;
    Chart c;
    char text[HTML_NUMBER];
    const double row = 24;
    chart_begin(&c, b, title, "A bar for each pass, from the value before it to the value after it", (m->count + 1) * row + 20);
    c.left = 96;
    c.right = CHART_WIDTH - 82;
    c.x = (Scale){ .low = 0, .high = most, .from = c.left, .to = c.right };
    double last = 0;
    for (int i = 0; i <= m->count; i++) {
        bool whole = i == 0 || i == m->count;
        double now = i < m->count ? moment_number(m->states[i], path, factor) : result, y = 8 + i * row;
        double from = scale_at(&c.x, whole ? 0 : last), to = scale_at(&c.x, now);
        bool clear = whole || clearly_differ(m->states[i - 1], m->states[i], path);
        const char *fill = i == 0 ? "f-before" : whole ? "f-after" : !clear || now == last ? "f-band" : now < last ? "f-good" : "f-bad";
        chart_text(&c, whole ? "strong" : "", 0, y + 12, i < m->count ? m->names[i] : "result");
        chart_rect(&c, fill, fmin(from, to), y, fabs(to - from), 16);
        if (i < m->count) chart_line(&c, "s-thin", to, y + 16, to, y + row);
        if (whole) {
            html_quantity(now, unit, text);
        } else {
            char change[HTML_NUMBER];
            html_quantity(fabs(now - last), unit, change);
            snprintf(text, sizeof text, "%s%.32s", now < last ? "\xE2\x88\x92" : "+", change);
            if (fabs(now - last) <= 0.0005 * most) snprintf(text, sizeof text, "same");
        }
        chart_text(&c, whole ? "end strong" : "end", CHART_WIDTH, y + 12, text);
        last = now;
    }
    chart_line(&c, "axis", c.left, 2, c.left, 8 + (m->count + 1) * row - 4);
    chart_end(&c, caption);
}

void html_steps(const View *v, StrBuf *b)
{
    static const struct {
        const char *title, *path, *unit, *caption;
        double factor;
    } charts[] = {
        { "File size", "file_bytes", "B", NULL, 1 },
        { "Deflated size", "deflated_bytes", "B", "What a download or a package costs: zeros and few distinct values pack well.", 1 },
        { "Weights in memory", "weight_bytes", "B", NULL, 1 },
        { "Operations", "macs.total", "MAC", "MACs as executed: zeros inside a dense weight save none.", 1 },
        { "Run time", "latency_ms", "s", "Medians. Pale: the 95 % intervals overlap, no difference was shown.", 1e-3 },
        { "Energy of an inference", "energy_j", "J", "As sure as the table above says. Pale: no difference in run time was shown.", 1 },
    };
    Moments m;
    moments_open(v, &m);
    if (m.steps == 0) return;
    strbuf_add(b, "<h2 id=\"steps\">What each pass contributed</h2>\n<div class=\"charts\">\n");
    bool files = known_throughout(&m, "file_bytes");
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++) {
        if (files && strcmp(charts[i].path, "weight_bytes") == 0) continue;
        if (known_throughout(&m, charts[i].path))
            waterfall(v, &m, charts[i].title, charts[i].path, charts[i].unit, charts[i].factor, charts[i].caption, b);
    }
    strbuf_add(b, "</div>\n");
    if (!files)
        strbuf_add(b, "<p class=\"note\">Files, time, energy and accuracy after each pass are not here: the run was without "
                   "<code>--steps</code>."
                      "</p>\n");
}

/* ---- accuracy against cost ---- */

typedef struct Point {
    char name[96];
    double x, y, low, high;
    bool original, result;
} Point;

static int tradeoff_points(const View *v, const Moments *m, const char *path, double factor, Point points[STEPS_MOST + VIEW_MOST + 2])
{
    int count = 0;
    bool last_is_result = v->count > 1 && view_text(v->root, "kept") == NULL;
    for (int i = 1; i < m->count - (last_is_result ? 1 : 0); i++) { /* the last pass made the result */
        Range a = view_accuracy(m->states[i]);
        double x = moment_number(m->states[i], path, factor);
        if (!isfinite(a.value) || !isfinite(x)) continue;
        points[count] = (Point){ .x = x, .y = a.value, .low = a.low, .high = a.high };
        snprintf(points[count++].name, sizeof points[0].name, "%d %.80s", i, m->names[i]);
    }
    for (int k = 0; k < v->count; k++) {
        Range a = view_accuracy(v->networks[k]);
        double x = moment_number(v->networks[k], path, factor);
        if (!isfinite(a.value) || !isfinite(x)) continue;
        points[count] = (Point){ .x = x, .y = a.value, .low = a.low, .high = a.high, .original = k == 0, .result = k > 0 };
        html_shorten(v->count > 2 ? v->names[k] : k == 0 ? "original" : "result", 18, points[count].name, sizeof points[0].name);
        count++;
    }
    return count;
}

/* What stands in a chart already: marks, and the middles of the names beside them. */
typedef struct Placed {
    double marks[STEPS_MOST + VIEW_MOST + 2][2], names[STEPS_MOST + VIEW_MOST + 2][2];
    int mark_count, name_count;
    double top, bottom;
} Placed;

/* Names step aside of one another and of the marks: the nearest free height beside mark `own`. */
static double free_height(const Placed *p, double x, int own)
{
    double y = p->marks[own][1];
    for (int attempt = 0; attempt < 16; attempt++) {
        double shift = (double)((attempt + 1) / 2) * 12 * (attempt % 2 != 0 ? 1 : -1), at = y + shift;
        bool hit = at < p->top + 6 || at > p->bottom - 2;
        for (int i = 0; i < p->name_count && !hit; i++) hit = fabs(p->names[i][0] - x) < 76 && fabs(p->names[i][1] - at) < 11;
        for (int i = 0; i < p->mark_count && !hit; i++) hit = i != own && fabs(p->marks[i][0] - x) < 50 && fabs(p->marks[i][1] - at) < 10;
        if (!hit) return at;
    }
    return y;
}

static void add_mark(Chart *c, const Point *p, Placed *placed)
{
    double x = scale_at(&c->x, p->x), y = scale_at(&c->y, p->y), *mark = placed->marks[placed->mark_count++];
    mark[0] = x;
    mark[1] = y;
    if (isfinite(p->low) && isfinite(p->high) && (p->original || p->result))
        chart_line(c, p->original ? "s-before" : "s-after", x, scale_at(&c->y, p->low), x, scale_at(&c->y, p->high));
    chart_dot(c, p->original ? "ring" : p->result ? "f-after" : "dot", x, y, p->original || p->result ? 6 : 4, p->name);
}

static void add_name(Chart *c, const char *name, int own, Placed *placed)
{
    double x = placed->marks[own][0], *at = placed->names[placed->name_count];
    bool right = x > c->right - 70;
    at[0] = right ? x - 40 : x + 40;
    at[1] = free_height(placed, at[0], own);
    placed->name_count++;
    chart_text(c, right ? "end" : "", right ? x - 9 : x + 9, at[1] + 4, name);
}

static void tradeoff_chart(const View *v, const Moments *m, const char *title, const char *path, const char *unit, double factor,
                           const char *label, StrBuf *b)
{
    Point points[STEPS_MOST + VIEW_MOST + 2];
    int count = tradeoff_points(v, m, path, factor, points);
    double low = INFINITY, high = 0, least = INFINITY, most = -INFINITY;
    if (count < 2) return;
    for (int i = 0; i < count; i++) {
        low = fmin(low, points[i].x);
        high = fmax(high, points[i].x);
        least = fmin(least, isfinite(points[i].low) ? points[i].low : points[i].y);
        most = fmax(most, isfinite(points[i].high) ? points[i].high : points[i].y);
    }
    if (!(low > 0)) return;
    Chart c;
    chart_begin(&c, b, title, "Accuracy of the original, after each pass and of the result, against what they cost", 270);
    c.top = 26;
    c.x = scale_around(low, high * 1.0001, high / low > 3);
    c.y = scale_around(least, most, false);
    if (c.y.high > 100 && most <= 100) c.y.high = 100 + 0.02 * (100 - c.y.low);
    chart_axis_x(&c, unit, label);
    chart_axis_y(&c, "%", "accuracy");
    Placed placed = { .top = c.top, .bottom = c.bottom };
    for (int i = 0; i < count; i++) add_mark(&c, &points[i], &placed); /* names on top of all marks */
    for (int i = 0; i < count; i++) add_name(&c, points[i].name, i, &placed);
    chart_end(&c, "Up and to the left is better. Whiskers of original and result: 95 % interval of accuracy.");
}

void html_tradeoff(const View *v, StrBuf *b)
{
    Moments m;
    moments_open(v, &m);
    if (v->count < 2) return;
    strbuf_add(b, "<h2 id=\"tradeoff\">Accuracy against cost</h2>\n");
    bool any = false;
    for (int k = 0; k < v->count; k++) any = any || isfinite(view_accuracy(v->networks[k]).value);
    if (!any) {
        strbuf_add(b, "<p class=\"note\">Not shown: without labelled data no accuracy was measured.</p>\n");
        return;
    }
    strbuf_add(b, "<div class=\"charts\">\n");
    tradeoff_chart(v, &m, "Accuracy and file size", "file_bytes", "B", 1, "bytes of the file", b);
    if (measure_provenance(v->networks[0], MEASURE_ENERGY) != NULL)
        tradeoff_chart(v, &m, "Accuracy and energy", "energy_j", "J", 1, "joules of an inference", b);
    else tradeoff_chart(v, &m, "Accuracy and run time", "latency_ms", "s", 1e-3, "of an inference", b);
    strbuf_add(b, "</div>\n");
}
