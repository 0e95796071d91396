/* Integers whose products are added in 16 bits: two of one sign that are multiplied with uint8 activations must not exceed 128 together
 * (quantize/grid.h). Rounding and descent stay inside. */
#include "quantize/rounding_private.h"

#include <math.h>
#include <stdlib.h>

bool pair_safe(int a, int b)
{
    return !((a > 0 && b > 0 && a + b > PAIR_LIMIT) || (a < 0 && b < 0 && a + b < -PAIR_LIMIT));
}

void pair_interval(const Problem *p, const int16_t *q, int i, int *low, int *high)
{
    for (int side = 0; side < 2; side++) {
        int32_t other = p->partner[side * p->width + i];
        if (other < 0) continue;
        int v = q[other];
        if (v > 0 && PAIR_LIMIT - v < *high) *high = PAIR_LIMIT - v;
        if (v < 0 && -PAIR_LIMIT - v > *low) *low = -PAIR_LIMIT - v;
    }
}

double pair_together(double together, double a, double b)
{
    return a * b > 0.0 ? fmax(together, fabs(a) + fabs(b)) : together;
}

double pair_share(double weight_a, double weight_b)
{
    return weight_a + weight_b > 0.0 ? weight_b / (weight_a + weight_b) : 0.5;
}

/* Steps along (+1 at i, -1 at k); the best whole number of them that keeps both inside. */
static int exchange_steps(const Problem *p, const Line *line, int i, int k, double *gain)
{
    double s = (double)line->scales[i / p->block], r = (double)line->scales[k / p->block];
    double hi = 1.0, hk = 1.0, between = 0.0;
    if (p->h != NULL) {
        const double *row = p->h + (size_t)i * (size_t)p->width;
        hi = row[i];
        between = row[k];
        hk = p->h[(size_t)k * (size_t)p->width + (size_t)k];
    }
    double slope = s * line->g[i] - r * line->g[k], bend = s * s * hi + r * r * hk - 2.0 * s * r * between;
    if (!(bend > 0.0)) return 0;
    double best = rint(-slope / bend);
    if (best == 0.0 || !(fabs(best) < 256.0)) return 0;
    int a = (int)best;
    *gain = 2.0 * slope * a + bend * a * a;
    return a;
}

static bool stands(const Problem *p, int16_t *q, int i, int v, int k, int u)
{
    if (v < p->low || v > p->high || u < p->low || u > p->high) return false;
    int16_t old_i = q[i], old_k = q[k];
    q[i] = (int16_t)v;
    q[k] = (int16_t)u;
    int low = p->low, high = p->high, low_k = p->low, high_k = p->high;
    pair_interval(p, q, i, &low, &high);
    pair_interval(p, q, k, &low_k, &high_k);
    q[i] = old_i;
    q[k] = old_k;
    return v >= low && v <= high && u >= low_k && u <= high_k;
}

static void move(const Problem *p, Line *line, int i, int steps)
{
    double delta = (double)line->scales[i / p->block] * steps;
    line->q[i] = (int16_t)(line->q[i] + steps);
    line->e[i] += delta;
    if (p->h == NULL) {
        line->g[i] += delta;
        return;
    }
    const double *row = p->h + (size_t)i * (size_t)p->width;
    for (int k = 0; k < p->width; k++) line->g[k] += delta * row[k];
}

int pair_exchange(const Problem *p, Line *line)
{
    int changed = 0;
    for (int i = 0; i < p->width; i++)
        for (int side = 0; side < 2; side++) {
            int k = p->partner[side * p->width + i];
            if (k <= i || line->q[i] * line->q[k] <= 0 || abs(line->q[i]) + abs(line->q[k]) < PAIR_LIMIT - 1) continue;
            double gain = 0.0;
            int a = exchange_steps(p, line, i, k, &gain);
            if (a == 0 || !(gain < 0.0) || !stands(p, line->q, i, line->q[i] + a, k, line->q[k] - a)) continue;
            move(p, line, i, a);
            move(p, line, k, -a);
            line->loss += gain;
            changed++;
        }
    return changed;
}
