/* Ends by the least mean squared error: a local minimum over (low, high) of sum (x - q(x))^2, q the uint8 grid that these ends make.
 *
 * Values count as spread evenly within their bin, and both parts of the error are integrated exactly over it:
 *   inside    u = x / s, r = u - rint(u):   int (x - q)^2 dx = s^3 (rint(u) / 12 + r^3 / 3)
 *   outside   the distance to the end:      int (x - e)^2 dx = (x - e)^3 / 3
 * A Relu's zeros, as far as they stand out in their bin, cost nothing: every grid has 0.
 * Each end is cut to 0, 1 ... 100 hundredths of itself. A rough error, s^2 / 12 for every value inside, is taken for all pairs; from its
 * best pair first one end then the other is searched by the exact one until nothing changes; the whole range stays where it is as good.
 * Ends beyond which alone more would be lost than the best pair loses are passed over. */
#include "quantize/calibrate_internal.h"

#include <math.h>

#include "base/vectors.h"

#define LANES 4 /* sums side by side, the same on every processor */
#define FACTORS 100
#define ROUNDS 8 /* each strictly better than the one before; two or three are usual */
#define WINDOW 8 /* factors to each side that later rounds look at */

typedef struct Mass {
    int count;                       /* bins that are not empty, from the first to the last */
    double edge[HISTOGRAM_BINS + 1]; /* the outer two are the least and the largest value */
    double density[HISTOGRAM_BINS + LANES]; /* values for a unit of width; 0 where a bin has no width, and beyond the last */
    double n[HISTOGRAM_BINS];
    int point[HISTOGRAM_BINS], points; /* bins of no width that hold values */
} Mass;

typedef struct Search {
    const Mass *m;
    double low, high; /* not above and not below 0 */
    double below[FACTORS + 1], above[FACTORS + 1]; /* squared error of what lies beyond each factor of the ends, bins at their middle */
} Search;

static void mass_of(const Histogram *h, double low, double high, Mass *m)
{
    int first = 0, last = HISTOGRAM_BINS - 1;
    while (first < last && h->bins[first] == 0) first++;
    while (last > first && h->bins[last] == 0) last--;
    *m = (Mass){ .count = last - first + 1 };
    for (int i = 0; i <= m->count; i++) m->edge[i] = fmin(fmax(histogram_edge(h, first + i), low), high);
    for (int i = 0; i < m->count; i++) {
        double width = m->edge[i + 1] - m->edge[i];
        m->n[i] = histogram_without_zeros(h, first + i);
        if (width > 0.0) m->density[i] = m->n[i] / width;
        else if (m->n[i] > 0.0) m->point[m->points++] = i;
    }
}

/* rint without a call: exact below 2^51, which grids of 256 steps never reach. */
static inline double near(double x)
{
    const double shift = 0x1.8p52;
    return (x + shift) - shift;
}

/* The error's integral up to x, but for a constant. */
static inline double integral(double x, double bottom, double top, double s, double inverse)
{
    double inside = x < bottom ? bottom : x > top ? top : x, beyond = x - inside;
    double u = inside * inverse, whole = near(u), r = u - whole;
    return s * s * s * (whole / 12.0 + r * r * r / 3.0) + beyond * beyond * beyond / 3.0;
}

VECTOR_BODY double spread_error(const Mass *m, double s, double bottom, double top)
{
    double values[HISTOGRAM_BINS + LANES + 1] = { 0.0 }, inverse = 1.0 / s, part[LANES] = { 0.0 };
#pragma omp simd
    for (int i = 0; i <= m->count; i++) values[i] = integral(m->edge[i], bottom, top, s, inverse);
    for (int i = 0; i < m->count; i += LANES) {
#pragma omp simd
        for (int k = 0; k < LANES; k++) part[k] += m->density[i + k] * (values[i + k + 1] - values[i + k]);
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
}

static double spread_any(const Mass *m, double s, double bottom, double top)
{
    return spread_error(m, s, bottom, top);
}

VECTOR_AVX2 static double spread_avx2(const Mass *m, double s, double bottom, double top)
{
    return spread_error(m, s, bottom, top);
}

static double exact_error(const Mass *m, double low, double high)
{
    Grid g = grid_activation(low, high);
    double s = (double)g.scale, bottom = grid_low(g), top = grid_high(g), sum = VECTOR_PICK(spread)(m, s, bottom, top);
    for (int i = 0; i < m->points; i++) {
        double x = m->edge[m->point[i]], inside = fmin(fmax(x, bottom), top), d = x - s * near(inside / s);
        sum += m->n[m->point[i]] * d * d;
    }
    return sum;
}

/* out[k]: the error of what lies beyond factor k of one end, by running sums from the end inwards. */
static void clipped(const Mass *m, double end, double out[FACTORS + 1])
{
    double n = 0.0, x = 0.0, squares = 0.0;
    int side = end > 0.0 ? -1 : 1, i = end > 0.0 ? m->count - 1 : 0;
    for (int k = FACTORS; k >= 0; k--) {
        double e = end * k / FACTORS;
        for (; i >= 0 && i < m->count; i += side) {
            double at = (m->edge[i] + m->edge[i + 1]) / 2.0;
            if (end > 0.0 ? at <= e : at >= e) break;
            n += m->n[i];
            x += m->n[i] * at;
            squares += m->n[i] * at * at;
        }
        out[k] = fmax(squares - 2.0 * e * x + e * e * n, 0.0);
    }
}

/* The pair with the least rough error. An end at 0 has one factor. */
static void rough_start(Search *s, int *low, int *high)
{
    double total = 0.0, best = INFINITY;
    clipped(s->m, s->low, s->below);
    clipped(s->m, s->high, s->above);
    for (int i = 0; i < s->m->count; i++) total += s->m->n[i];
    for (int i = s->low < 0.0 ? 0 : FACTORS; i <= FACTORS; i++)
        for (int k = s->high > 0.0 ? 0 : FACTORS; k <= FACTORS; k++) {
            double step = (s->high * k - s->low * i) / FACTORS / 255.0;
            double error = (s->low < 0.0 ? s->below[i] : 0.0) + (s->high > 0.0 ? s->above[k] : 0.0) + total * step * step / 12.0;
            if (step <= 0.0 || error >= best) continue;
            best = error;
            *low = i;
            *high = k;
        }
}

/* Whether what lies beyond this end alone costs more. A zero point that is a whole number may move the grid outwards by half a step. */
static bool hopeless(const Search *s, double low, double high, bool upper, double best)
{
    double end = upper ? s->high : s->low, reach = fabs(upper ? high : low) + (high - low) / 255.0;
    double factor = ceil(reach / fabs(end) * FACTORS);
    return factor <= FACTORS && 0.99 * (upper ? s->above : s->below)[(int)factor] > best;
}

/* One end over all factors, or those near the one it has, the other held. */
static bool search_end(const Search *s, int *factor, int other, bool upper, bool near_only, double *best)
{
    bool better = false;
    int from = near_only && *factor > WINDOW ? *factor - WINDOW : 0;
    int to = near_only && *factor < FACTORS - WINDOW ? *factor + WINDOW : FACTORS;
    if ((upper ? s->high : s->low) == 0.0) return false;
    for (int k = from; k <= to; k++) {
        double low = s->low * (upper ? other : k) / FACTORS, high = s->high * (upper ? k : other) / FACTORS;
        if (high <= low || hopeless(s, low, high, upper, *best)) continue;
        double error = exact_error(s->m, low, high);
        if (error >= *best) continue;
        *best = error;
        *factor = k;
        better = true;
    }
    return better;
}

static double descend(const Search *s, int *low, int *high)
{
    double best = exact_error(s->m, s->low * *low / FACTORS, s->high * *high / FACTORS);
    for (int i = 0; i < ROUNDS; i++) {
        bool better = search_end(s, high, *low, true, i > 0, &best);
        better |= search_end(s, low, *high, false, i > 0, &best);
        if (!better) break;
    }
    return best;
}

Ends calibrate_mse(const Histogram *h, double low, double high)
{
    Mass m;
    Search s = { .m = &m, .low = fmin(low, 0.0), .high = fmax(high, 0.0) };
    int i = FACTORS, k = FACTORS;
    if (s.low == s.high) return (Ends){ low, high };
    mass_of(h, low, high, &m);
    rough_start(&s, &i, &k);
    if (descend(&s, &i, &k) >= exact_error(&m, s.low, s.high)) i = k = FACTORS;
    return (Ends){ s.low * i / FACTORS, s.high * k / FACTORS };
}
