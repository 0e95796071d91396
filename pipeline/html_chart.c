#include "pipeline/html_chart.h"

#include <math.h>
#include <stdio.h>

#include "pipeline/html.h"

Scale scale_around(double low, double high, bool log)
{
    if (log) {
        double room = fmax(0.06 * log10(high / low), 0.04);
        return (Scale){ .low = low / pow(10, room), .high = high * pow(10, room), .log = true };
    }
    double room = high > low ? 0.08 * (high - low) : fmax(0.05 * fabs(high), 1e-12);
    return (Scale){ .low = low - room, .high = high + room };
}

double scale_at(const Scale *s, double value)
{
    double share = s->log ? log(value / s->low) / log(s->high / s->low) : (value - s->low) / (s->high - s->low);
    if (!(share > 0)) share = 0;
    if (share > 1) share = 1;
    return s->from + share * (s->to - s->from);
}

static double round_step(double span)
{
    double power = pow(10, floor(log10(span))), digit = span / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

/* 1, 2 and 5 of each power of ten, or tens alone where there are many. */
static int log_ticks(const Scale *s, double ticks[9])
{
    static const double digits[3] = { 1, 2, 5 };
    double decades = log10(s->high / s->low);
    int count = 0, each = decades < 1.6 ? 3 : 1, stride = decades > 8 ? (int)ceil(decades / 8) : 1;
    for (int e = (int)floor(log10(s->low)); e <= (int)ceil(log10(s->high)); e++) {
        for (int i = 0; i < each; i++) {
            double value = digits[i] * pow(10, e);
            if (value >= s->low && value <= s->high && count < 9 && e % stride == 0) ticks[count++] = value;
        }
    }
    return count;
}

int scale_ticks(const Scale *s, double ticks[9])
{
    int count = 0;
    if (s->log) count = log_ticks(s, ticks);
    if (count >= 2) return count;
    count = 0;
    double step = round_step((s->high - s->low) / 5);
    for (double value = ceil(s->low / step) * step; value <= s->high && count < 9; value += step)
        ticks[count++] = fabs(value) < step * 1e-6 ? 0 : value;
    return count;
}

void chart_begin(Chart *c, StrBuf *b, const char *title, const char *what, double height)
{
    *c = (Chart){ .b = b, .height = height, .left = 58, .right = CHART_WIDTH - 10, .top = 12, .bottom = height - 36 };
    strbuf_add(b, "<figure>\n");
    html_element(b, "h3", NULL, title);
    strbuf_printf(b, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", CHART_WIDTH, height);
    html_text(b, what);
    strbuf_add(b, "\">\n");
}

void chart_end(Chart *c, const char *caption)
{
    strbuf_add(c->b, "</svg>\n");
    if (caption != NULL) html_element(c->b, "figcaption", NULL, caption);
    strbuf_add(c->b, "</figure>\n");
}

void chart_line(Chart *c, const char *name, double x1, double y1, double x2, double y2)
{
    strbuf_printf(c->b, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", name, x1, y1, x2, y2);
}

void chart_rect(Chart *c, const char *name, double x, double y, double width, double height)
{
    strbuf_printf(c->b, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", name, x, y, fmax(width, 0.5),
                  fmax(height, 0.5));
}

void chart_dot(Chart *c, const char *name, double x, double y, double radius, const char *title)
{
    strbuf_printf(c->b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", name, x, y, radius);
    if (title == NULL) {
        strbuf_add(c->b, "/>\n");
        return;
    }
    strbuf_add(c->b, ">");
    html_element(c->b, "title", NULL, title);
    strbuf_add(c->b, "</circle>\n");
}

void chart_text(Chart *c, const char *name, double x, double y, const char *text)
{
    strbuf_printf(c->b, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", name, x, y);
    html_text(c->b, text);
    strbuf_add(c->b, "</text>\n");
}

void chart_path(Chart *c, const char *name, const double *points, int count)
{
    strbuf_printf(c->b, "<polyline class=\"%s\" points=\"", name);
    for (int i = 0; i < count; i++) strbuf_printf(c->b, "%s%.1f,%.1f", i > 0 ? " " : "", points[2 * i], points[2 * i + 1]);
    strbuf_add(c->b, "\"/>\n");
}

void chart_axis_x(Chart *c, const char *unit, const char *label)
{
    double ticks[9];
    char text[HTML_NUMBER];
    c->x.from = c->left;
    c->x.to = c->right;
    int count = scale_ticks(&c->x, ticks);
    for (int i = 0; i < count; i++) {
        double x = scale_at(&c->x, ticks[i]);
        chart_line(c, "grid", x, c->top, x, c->bottom);
        html_quantity(ticks[i], unit, text);
        chart_text(c, x > c->right - 14 ? "tick end" : "tick mid", x > c->right - 14 ? c->right + 4 : x, c->bottom + 14, text);
    }
    chart_line(c, "axis", c->left, c->bottom, c->right, c->bottom);
    chart_text(c, "tick end", c->right, c->bottom + 30, label);
}

void chart_axis_y(Chart *c, const char *unit, const char *label)
{
    double ticks[9];
    char text[HTML_NUMBER];
    c->y.from = c->bottom;
    c->y.to = c->top;
    int count = scale_ticks(&c->y, ticks);
    for (int i = 0; i < count; i++) {
        double y = scale_at(&c->y, ticks[i]);
        chart_line(c, "grid", c->left, y, c->right, y);
        html_quantity(ticks[i], unit, text);
        chart_text(c, "tick end", c->left - 6, y + 4, text);
    }
    chart_line(c, "axis", c->left, c->top, c->left, c->bottom);
    chart_text(c, "tick", 0, c->top - 14, label);
}
