/* Learned rounding: each weight chooses between two neighbouring integers, the one it has and the next one towards its target, by a share
 * that is learned for all weights of a row together and is driven to 0 or 1 in the end.
 *
 *   w' = s (b + h(v) - z)     b: the lower of the two; h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)
 *   value = (w' - t) H (w' - t)^T / unit + strength sum (1 - |2 h - 1|^beta)     unit = mean of s^2 H_jj
 *
 * Adam on v; without the second term in the warm start, then with beta from 20 down to 2 along half a cosine. The shares are rounded, the
 * integers brought inside the pair rule, and swept by coordinate descent; a row keeps what it had unless its loss is then lower.
 * Nagel, Amjad, van Baalen, Louizos and Blankevoort, Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020. */
#include "quantize/rounding_private.h"

#include "engine/blas_glue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STRETCH 1.2
#define OFFSET 0.1
#define WARM_START 0.2
#define BETA_FIRST 20.0
#define BETA_LAST 2.0
#define STRENGTH 0.1
#define RATE 0.05
#define MOMENT_1 0.9
#define MOMENT_2 0.999
#define EPSILON 1e-8
#define START_SHARE 0.75 /* how far towards the integer it has a weight starts out */
#define LEARNED_SWEEPS 6

bool soft_new(int count, int width, Soft *s)
{
    size_t cells = (size_t)count * (size_t)width;
    *s = (Soft){ .base = malloc(cells * sizeof(int16_t)), .v = malloc(cells * sizeof(double)), .h = malloc(cells * sizeof(double)),
                 .gradient = malloc(cells * sizeof(double)), .moment = malloc(2 * cells * sizeof(double)),
                 .value = malloc((size_t)count * sizeof(double)), .unit = malloc((size_t)count * sizeof(double)) };
    return s->base != NULL && s->v != NULL && s->h != NULL && s->gradient != NULL && s->moment != NULL && s->value != NULL
        && s->unit != NULL;
}

void soft_free(Soft *s)
{
    free(s->base);
    free(s->v);
    free(s->h);
    free(s->gradient);
    free(s->moment);
    free(s->value);
    free(s->unit);
    *s = (Soft){ 0 };
}

/* The integer it has stays one of the two. */
static int lower_of(const Problem *p, int q, double wanted)
{
    int base = wanted < q ? q - 1 : q;
    return base < p->low ? p->low : base > p->high - 1 ? p->high - 1 : base;
}

void soft_start(const Problem *p, const Line *lines, int count, Soft *s)
{
    int n = p->width;
    for (int b = 0; b < count; b++) {
        const Line *line = &lines[b];
        const double *t = p->target + line->row * n;
        double sum = 0.0;
        for (int i = 0; i < n; i++) {
            double scale = (double)line->scales[i / p->block], wanted = t[i] / scale + line->zeros[i / p->block];
            int base = lower_of(p, line->q[i], wanted);
            double inside = fmin(fmax(wanted - base, 0.0), 1.0);
            double share = START_SHARE * (line->q[i] - base) + (1.0 - START_SHARE) * inside;
            double sigmoid = (fmin(fmax(share, 0.02), 0.98) + OFFSET) / STRETCH;
            s->base[b * n + i] = (int16_t)base;
            s->v[b * n + i] = log(sigmoid / (1.0 - sigmoid));
            sum += scale * scale * p->h[(size_t)i * (size_t)n + (size_t)i];
        }
        s->unit[b] = isnormal(sum) ? sum / n : 1.0;
    }
}

void soft_gradient(const Problem *p, Line *lines, int count, double strength, double beta, Soft *s)
{
    int n = p->width;
    for (int b = 0; b < count; b++) {
        Line *line = &lines[b];
        const double *t = p->target + line->row * n;
        for (int i = 0; i < n; i++) {
            int at = b * n + i;
            double sigmoid = 1.0 / (1.0 + exp(-s->v[at])), open = STRETCH * sigmoid - OFFSET;
            s->h[at] = open < 0.0 ? 0.0 : open > 1.0 ? 1.0 : open;
            s->gradient[at] = open < 0.0 || open > 1.0 ? 0.0 : STRETCH * sigmoid * (1.0 - sigmoid);
            line->e[i] = (s->base[at] + s->h[at] - line->zeros[i / p->block]) * (double)line->scales[i / p->block] - t[i];
        }
    }
    blas_dgemm(false, false, count, n, n, 1.0, lines[0].e, n, p->h, n, 0.0, lines[0].g, n);
    for (int b = 0; b < count; b++) {
        const Line *line = &lines[b];
        double loss = 0.0, open = 0.0;
        for (int i = 0; i < n; i++) {
            int at = b * n + i;
            double from_half = 2.0 * s->h[at] - 1.0, pull = 0.0;
            loss += line->e[i] * line->g[i];
            if (strength > 0.0) {
                double power = pow(fabs(from_half), beta - 1.0);
                pull = 2.0 * beta * strength * copysign(power, from_half);
                open += 1.0 - power * fabs(from_half);
            }
            s->gradient[at] *= 2.0 * line->g[i] * (double)line->scales[i / p->block] / s->unit[b] - pull;
        }
        s->value[b] = loss / s->unit[b] + strength * open;
    }
}

static void adam(int64_t cells, int step, Soft *s)
{
    double *first = s->moment, *second = s->moment + cells;
    double rate = RATE * sqrt(1.0 - pow(MOMENT_2, step)) / (1.0 - pow(MOMENT_1, step));
    for (int64_t i = 0; i < cells; i++) {
        double d = s->gradient[i];
        first[i] = MOMENT_1 * first[i] + (1.0 - MOMENT_1) * d;
        second[i] = MOMENT_2 * second[i] + (1.0 - MOMENT_2) * d * d;
        s->v[i] -= rate * first[i] / (sqrt(second[i]) + EPSILON);
    }
}

static void learn(const Problem *p, Line *lines, int count, Soft *s)
{
    int steps = p->spec->learned;
    double warm = WARM_START * steps;
    int64_t cells = (int64_t)count * p->width;
    memset(s->moment, 0, 2 * (size_t)cells * sizeof *s->moment);
    for (int i = 0; i < steps; i++) {
        double along = (i - warm) / (steps - warm);
        double beta = BETA_LAST + 0.5 * (BETA_FIRST - BETA_LAST) * (1.0 + cos(fmax(along, 0.0) * M_PI));
        soft_gradient(p, lines, count, along < 0.0 ? 0.0 : STRENGTH, beta, s);
        adam(cells, i + 1, s);
    }
}

/* One pass is enough: magnitudes only fall, so no pair that is safe becomes unsafe. */
static void settle(const Problem *p, const double *v, const int16_t *base, int16_t *q)
{
    for (int i = 0; i < p->width; i++) q[i] = (int16_t)(base[i] + (v[i] >= 0.0)); /* h(0) = 1/2 */
    for (int i = 0; p->partner != NULL && i < p->width; i++) {
        int low = p->low, high = p->high;
        pair_interval(p, q, i, &low, &high);
        q[i] = (int16_t)(q[i] < low ? low : q[i] > high ? high : q[i]);
    }
}

void task_learn(Run *run, Desk *d, const int64_t *rows, int count)
{
    const Problem *p = &run->p;
    bool shared = p->spec->block < 0;
    weigh_targets(p, d, rows, count);
    for (int b = 0; b < count; b++) {
        line_of_row(run, rows[b], &d->lines[b]);
        d->lines[b].ht = d->ht + (size_t)b * (size_t)p->width;
    }
    soft_start(p, d->lines, count, &d->soft);
    learn(p, d->lines, count, &d->soft);
    for (int b = 0; b < count; b++)
        settle(p, d->soft.v + (size_t)b * (size_t)p->width, d->soft.base + (size_t)b * (size_t)p->width, d->lines[b].q);
    lines_measure(p, d->lines, count);
    for (int b = 0; b < count; b++) {
        line_descend(p, &d->lines[b], LEARNED_SWEEPS, shared, d->scratch);
        if (!shared) line_refine(p, &d->lines[b], d->scratch);
        if (d->lines[b].loss < run->loss[rows[b]]) line_to_row(run, &d->lines[b]);
    }
}
