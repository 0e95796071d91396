/* Charts as inline SVG: scales, axes, marks. For pages only. Coordinates are those of the picture, y downward; classes are of
 * the style sheet; all text is escaped. A chart is 440 wide, so that its letters are still read on a phone. */
#ifndef PARE_PIPELINE_HTML_CHART_H
#define PARE_PIPELINE_HTML_CHART_H

#include "base/str.h"

#include <stdbool.h>

#define CHART_WIDTH 440.0

typedef struct Scale {
    double low, high;  /* values at the ends */
    double from, to;   /* where those are in the picture */
    bool log;
} Scale;

/* A scale around the values low..high with room beside them; log: both above 0. */
Scale scale_around(double low, double high, bool log);
double scale_at(const Scale *s, double value); /* clamped to the ends */
/* Round numbers inside the scale, at most 9; returns how many. */
int scale_ticks(const Scale *s, double ticks[9]);

typedef struct Chart {
    StrBuf *b;
    double height;
    double left, right, top, bottom; /* of the plot */
    Scale x, y;
} Chart;

/* Opens <figure><h3>..</h3><svg>; `what` is read out where the picture cannot be seen. Sets the plot's edges. */
void chart_begin(Chart *c, StrBuf *b, const char *title, const char *what, double height);
/* </svg>, the caption when not NULL, </figure>. */
void chart_end(Chart *c, const char *caption);
/* Grid lines and numbers along the axes, by quantity: "10 kB". `label` stands beside the axis. */
void chart_axis_x(Chart *c, const char *unit, const char *label);
void chart_axis_y(Chart *c, const char *unit, const char *label);

void chart_line(Chart *c, const char *name, double x1, double y1, double x2, double y2);
void chart_rect(Chart *c, const char *name, double x, double y, double width, double height);
void chart_dot(Chart *c, const char *name, double x, double y, double radius, const char *title); /* title: shown on hovering, or NULL */
void chart_text(Chart *c, const char *name, double x, double y, const char *text);
/* A line through points (x0 y0 x1 y1 ...). */
void chart_path(Chart *c, const char *name, const double *points, int count);

#endif
