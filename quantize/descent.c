/* Lowering the loss of integers that are there: one at a time to where its own optimum lies, pairs at the limit of the pair rule
 * together, two of any others together at the end, and between the sweeps each scale to the closed form for its integers.
 *
 *   e = w' - t, g = H e;  moving w'_j by d changes the loss by 2 d g_j + d^2 H_jj, least at d = -g_j / H_jj
 *   u = the block's q - zero;  scale + d has its least loss at d = -(u g) / (u H u) */
#include "quantize/rounding_private.h"

#include "engine/blas_glue.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define SWEEPS_TO_REFIT 3
#define POLISHED_BITS 4    /* up to these, steps of two inputs at a time pay */
#define SWEEPS_A_POLISH 3

void lines_measure(const Problem *p, Line *lines, int count)
{
    int n = p->width;
    for (int b = 0; b < count; b++) {
        Line *line = &lines[b];
        const double *t = p->target + line->row * n;
        for (int i = 0; i < n; i++)
            line->e[i] = (double)(line->q[i] - line->zeros[i / p->block]) * (double)line->scales[i / p->block] - t[i];
    }
    if (count == 0) return;
    if (p->h != NULL) blas_dgemm(false, false, count, n, n, 1.0, lines[0].e, n, p->h, n, 0.0, lines[0].g, n);
    else memcpy(lines[0].g, lines[0].e, (size_t)count * (size_t)n * sizeof(double));
    for (int b = 0; b < count; b++) {
        double loss = 0.0;
        for (int i = 0; i < n; i++) loss += lines[b].e[i] * lines[b].g[i];
        lines[b].loss = loss;
    }
}

static void step(const Problem *p, Line *line, int i, int q)
{
    double delta = (double)line->scales[i / p->block] * (q - line->q[i]), slope = line->g[i];
    line->q[i] = (int16_t)q;
    line->e[i] += delta;
    if (p->h == NULL) {
        line->loss += delta * (2.0 * slope + delta);
        line->g[i] += delta;
        return;
    }
    const double *row = p->h + (size_t)i * (size_t)p->width;
    double *g = line->g;
    line->loss += delta * (2.0 * slope + delta * row[i]);
#pragma omp simd
    for (int k = 0; k < p->width; k++) g[k] += delta * row[k];
}

/* One at a time, in the order of rounding. Returns how many changed. */
static int sweep(const Problem *p, Line *line)
{
    int changed = 0;
    for (int k = 0; k < p->width; k++) {
        int i = p->order[k], low = p->low, high = p->high;
        double bend = p->h != NULL ? p->h[(size_t)i * (size_t)p->width + (size_t)i] : 1.0;
        double scale = (double)line->scales[i / p->block];
        if (!(bend > 0.0)) continue;
        if (p->partner != NULL) pair_interval(p, line->q, i, &low, &high);
        double to = line->q[i] - rint(line->g[i] / (bend * scale));
        int q = to > low ? to < high ? (int)to : high : low; /* NaN: low, and not taken */
        double delta = scale * (q - line->q[i]);
        if (q == line->q[i] || !(delta * (2.0 * line->g[i] + delta * bend) < 0.0)) continue;
        step(p, line, i, q);
        changed++;
    }
    return changed;
}

/* Each input's better step, and with it the best step of another; both are taken where together they lower the loss.
 * reach[width]: what a step of an input costs by itself. Returns how many pairs were moved. */
static int sweep_couples(const Problem *p, Line *line, double *reach)
{
    int n = p->width, moved = 0;
    for (int k = 0; k < n; k++) {
        double scale = (double)line->scales[k / p->block];
        reach[k] = scale * scale * p->h[(size_t)k * (size_t)n + (size_t)k];
    }
    for (int j = 0; j < n; j++) {
        int i = p->order[j], side = line->g[i] > 0.0 ? -1 : 1, other = -1;
        if (line->q[i] + side < p->low || line->q[i] + side > p->high) side = -side;
        if (line->q[i] + side < p->low || line->q[i] + side > p->high) continue;
        const double *row = p->h + (size_t)i * (size_t)n;
        double delta = side * (double)line->scales[i / p->block], own = 2.0 * delta * line->g[i] + reach[i], best = -1e-9 * reach[i];
        for (int k = 0; k < n; k++) {
            double slope = line->g[k] + delta * row[k];
            double gain = own + reach[k] - 2.0 * (double)line->scales[k / p->block] * fabs(slope);
            if (!(gain < best) || k == i || (slope > 0.0 ? line->q[k] <= p->low : line->q[k] >= p->high)) continue;
            best = gain;
            other = k;
        }
        if (other < 0) continue;
        step(p, line, i, line->q[i] + side);
        step(p, line, other, line->q[other] + (line->g[other] > 0.0 ? -1 : 1));
        moved++;
    }
    return moved;
}

/* out[width] = H u for the integers u of one block, and u H u. */
static double through(const Problem *p, const Line *line, int block, double *out)
{
    int n = p->width, from = block * p->block, to = from + p->block < n ? from + p->block : n, zero = line->zeros[block];
    double bottom = 0.0;
    if (p->h == NULL) {
        memset(out, 0, (size_t)n * sizeof *out);
        for (int i = from; i < to; i++) out[i] = line->q[i] - zero;
    } else if (p->blocks == 1) {
        for (int i = 0; i < n; i++) out[i] = (line->g[i] + line->ht[i]) / (double)line->scales[0];
    } else {
        memset(out, 0, (size_t)n * sizeof *out);
        for (int i = from; i < to; i++) {
            const double *row = p->h + (size_t)i * (size_t)n;
            double u = line->q[i] - zero;
            if (u == 0.0) continue;
#pragma omp simd
            for (int k = 0; k < n; k++) out[k] += u * row[k];
        }
    }
    for (int i = from; i < to; i++) bottom += (line->q[i] - zero) * out[i];
    return bottom;
}

static bool refit(const Problem *p, Line *line, int block, double *scratch)
{
    int n = p->width, from = block * p->block, to = from + p->block < n ? from + p->block : n, zero = line->zeros[block];
    double bottom = through(p, line, block, scratch), slope = 0.0, old = (double)line->scales[block];
    for (int i = from; i < to; i++) slope += (line->q[i] - zero) * line->g[i];
    if (!(bottom > 0.0) || !(old - slope / bottom > 0.0)) return false;
    float scale = scale_normal(old - slope / bottom, row_least(p, line->row));
    double delta = (double)scale - old, gain = delta * (2.0 * slope + delta * bottom);
    if (!(gain < 0.0)) return false;
    line->scales[block] = scale;
    line->loss += gain;
    for (int i = from; i < to; i++) line->e[i] += delta * (line->q[i] - zero);
#pragma omp simd
    for (int k = 0; k < n; k++) line->g[k] += delta * scratch[k];
    return true;
}

static bool refit_all(const Problem *p, Line *line, double *scratch)
{
    bool changed = false;
    for (int b = 0; b < p->blocks; b++) changed = refit(p, line, b, scratch) || changed;
    return changed;
}

void line_descend(const Problem *p, Line *line, int sweeps, bool fixed, double *scratch)
{
    bool fresh = fixed || !refit_all(p, line, scratch);
    for (int i = 1; i <= sweeps; i++) {
        int changed = sweep(p, line);
        if (p->partner != NULL) changed += pair_exchange(p, line);
        if (changed != 0 && i % SWEEPS_TO_REFIT != 0 && i < sweeps) continue;
        fresh = fixed || !refit_all(p, line, scratch);
        if (changed == 0 && fresh) return;
    }
}

void line_polish(const Problem *p, Line *line, int passes, double *scratch)
{
    if (p->h == NULL || p->partner != NULL) return;
    for (int i = 0; i < passes && sweep_couples(p, line, scratch) > 0; i++) {
        sweep(p, line);
        refit_all(p, line, scratch);
    }
}

void line_refine(const Problem *p, Line *line, double *scratch)
{
    if (p->spec->bits <= POLISHED_BITS) line_polish(p, line, p->spec->sweeps / SWEEPS_A_POLISH, scratch);
}

void line_sums(const Problem *p, const Line *line, double *top, double *bottom)
{
    const double *t = p->target + line->row * p->width;
    *top = *bottom = 0.0;
    for (int i = 0; i < p->width; i++) {
        double u = line->q[i] - line->zeros[0], scale = (double)line->scales[0];
        double ht = p->h != NULL ? line->ht[i] : t[i];
        *top += u * ht;
        *bottom += u * (line->g[i] + ht) / scale;
    }
}
