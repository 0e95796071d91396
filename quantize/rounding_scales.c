/* The candidates of one scale: shares of the largest magnitude's, with the zero points near the range's own. Clipping pays the more the
 * fewer the integers; under the pair rule wider scales bring pairs below the limit. */
#include "quantize/rounding_private.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#define PAIR_CHOICES 16 /* at least, under the pair rule; more where a candidate costs next to nothing */
#define PAIR_CHOICES_PLAIN 64
#define PAIR_WIDEST 2.0 /* every |q| <= 64 there */
#define PAIR_MARGIN 1.02 /* errors handed on move the weights a little */

static double smallest_share(int bits)
{
    static const double share[] = { 0, 0, 0.35, 0.45, 0.55, 0.70, 0.80, 0.85, 0.90 };
    return share[bits];
}

static int zero_count(const RoundSpec *spec)
{
    return spec->symmetric ? 1 : spec->bits <= 4 ? 3 : spec->bits <= 6 ? 2 : 1;
}

int scales_count(const RoundSpec *spec, bool paired, bool plain)
{
    int least = !paired ? 1 : plain && !spec->coarse ? PAIR_CHOICES_PLAIN : PAIR_CHOICES;
    return (spec->clips < least ? least : spec->clips) * zero_count(spec);
}

float scale_normal(double scale, double least)
{
    if (!(scale >= least)) scale = least;
    if (!(scale >= (double)FLT_MIN)) return FLT_MIN;
    if (!(scale <= (double)FLT_MAX)) return FLT_MAX;
    float near = (float)scale;
    return (double)near < least ? nextafterf(near, FLT_MAX) : near;
}

double row_least(const Problem *p, int64_t row)
{
    if (p->spec->least == NULL) return 0.0;
    if (p->spec->block >= 0) return p->spec->least[row];
    double most = 0.0;
    for (int64_t i = 0; i < p->rows; i++) most = fmax(most, p->spec->least[i]);
    return most;
}

/* The range holds 0. */
static double widest(const Problem *p, double low, double high)
{
    if (!(high > low)) return 1.0; /* nothing but zeros */
    if (p->spec->symmetric) return fmax(high / p->high, low / p->low);
    return (high - low) / (p->high - p->low);
}

/* Where zero falls, in steps above the lowest integer. */
static double zero_at(const Problem *p, double low, double high)
{
    return p->spec->symmetric || !(high > low) ? 0.0 : -low / (high - low) * (p->high - p->low);
}

static int zero_inside(const Problem *p, double at)
{
    if (p->spec->symmetric) return 0;
    return at <= p->low ? p->low : at >= p->high ? p->high : (int)at;
}

Choice scales_widest(const Problem *p, double low, double high, double least)
{
    low = fmin(low, 0.0);
    high = fmax(high, 0.0);
    return (Choice){ scale_normal(widest(p, low, high), least), zero_inside(p, rint(zero_at(p, low, high))) };
}

void scales_fill(const Problem *p, double low, double high, double together, double least, Choice *out)
{
    low = fmin(low, 0.0);
    high = fmax(high, 0.0);
    int zeros = zero_count(p->spec), clips = p->choices / zeros;
    double wide = widest(p, low, high), at = zero_at(p, low, high), near = rint(at);
    double needed = together * PAIR_MARGIN / PAIR_LIMIT / wide; /* no pair is beyond the limit from there on */
    double from = p->partner == NULL || needed < 1.0 ? 1.0 : fmin(needed, PAIR_WIDEST), to = smallest_share(p->spec->bits);
    for (int i = 0; i < clips; i++) {
        double share = clips == 1 || !(high > low) ? 1.0 : from + (to - from) * i / (clips - 1);
        float scale = scale_normal(wide * share, least);
        for (int k = 0; k < zeros; k++) {
            double side = at >= near ? 1.0 : -1.0, shift = k == 0 ? 0.0 : k == 1 ? side : -side;
            out[i * zeros + k] = (Choice){ scale, zero_inside(p, near + shift) };
        }
    }
}
