/* Weights that were integers once: the step of their grid. */
#include "quantize/rounding.h"

#include <math.h>

#define NEAR 1e-3      /* of a step: float32 products of a scale and an integer lie within 1e-5 */
#define MULTIPLES 8    /* different ones: fewer say nothing */
#define LIMIT_MOST 255

static bool on_grid(const double *row, int64_t count, double step, double near)
{
    for (int64_t i = 0; i < count; i++) {
        double v = row[i] / step;
        if (!(fabs(v - rint(v)) <= near)) return false;
    }
    return true;
}

static int different(const double *row, int64_t count, double step)
{
    bool seen[2 * LIMIT_MOST + 1] = { false };
    int found = 0;
    for (int64_t i = 0; i < count; i++) {
        int at = LIMIT_MOST + (int)rint(row[i] / step);
        if (!seen[at]) found++;
        seen[at] = true;
    }
    return found;
}

/* The step that fits the multiples best. */
static double fitted(const double *row, int64_t count, double step)
{
    double top = 0.0, bottom = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double multiple = rint(row[i] / step);
        top += row[i] * multiple;
        bottom += multiple * multiple;
    }
    return top / bottom;
}

double grid_find(const double *row, int64_t count, int limit)
{
    double peak = 0.0;
    for (int64_t i = 0; i < count; i++) peak = fmax(peak, fabs(row[i]));
    if (!(peak > 0.0) || !isfinite(peak)) return 0.0;
    if (limit > LIMIT_MOST) limit = LIMIT_MOST;
    /* the peak is k steps: the fewest that fit, for a grid's halves and thirds are grids too */
    for (int k = MULTIPLES / 2; k <= limit; k++) {
        double step = peak / k;
        if (!on_grid(row, count, step, 2.0 * NEAR)) continue;
        step = fitted(row, count, step);
        if (on_grid(row, count, step, NEAR) && different(row, count, step) >= MULTIPLES) return step;
    }
    return 0.0;
}
