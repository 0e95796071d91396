/* Rows in batches: what a thread needs for one, and the tasks that do not depend on one scale for all. */
#include "quantize/rounding_private.h"

#include "engine/blas_glue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_STARTS 3 /* roundings of a row with one scale that go on into the descent */

static void desk_release(Desk *d)
{
    work_free(d->work);
    free(d->lines);
    free(d->q);
    free(d->zeros);
    free(d->scales);
    free(d->e);
    free(d->g);
    free(d->ht);
    free(d->scratch);
    free(d->losses);
    soft_free(&d->soft);
}

static bool desk_new(const Run *run, Desk *d)
{
    const Problem *p = &run->p;
    size_t lines = (size_t)run->batch * (size_t)(run->keep + 1), width = (size_t)p->width, blocks = (size_t)p->blocks;
    *d = (Desk){ .work = work_new(p, run->batch, run->keep), .lines = calloc(lines, sizeof(Line)),
                 .q = malloc(lines * width * sizeof(int16_t)),
                 .zeros = malloc(lines * blocks * sizeof(int16_t)), .scales = malloc(lines * blocks * sizeof(float)),
                 .e = malloc(lines * width * sizeof(double)), .g = malloc(lines * width * sizeof(double)),
                 .ht = malloc((size_t)run->batch * width * sizeof(double)), .scratch = malloc(width * sizeof(double)),
                 .losses = malloc((size_t)run->batch * (size_t)p->choices * sizeof(double)) };
    if (d->work == NULL || d->lines == NULL || d->q == NULL || d->zeros == NULL || d->scales == NULL || d->e == NULL || d->g == NULL ||
        d->ht == NULL || d->scratch == NULL || d->losses == NULL || (p->spec->learned > 0 && !soft_new(run->batch, p->width, &d->soft)))
        return false;
    for (size_t i = 0; i < lines; i++)
        d->lines[i] = (Line){ .q = d->q + i * width, .scales = d->scales + i * blocks, .zeros = d->zeros + i * blocks,
                              .e = d->e + i * width, .g = d->g + i * width };
    return true;
}

/* ---- lines and rows ---- */

void line_of_row(const Run *run, int64_t row, Line *line)
{
    const Rounded *r = run->out;
    line->row = row;
    memcpy(line->q, r->q + row * r->width, (size_t)r->width * sizeof *r->q);
    memcpy(line->scales, r->scales + row * r->blocks, (size_t)r->blocks * sizeof *r->scales);
    memcpy(line->zeros, r->zeros + row * r->blocks, (size_t)r->blocks * sizeof *r->zeros);
}

void line_to_row(const Run *run, const Line *line)
{
    Rounded *r = run->out;
    memcpy(r->q + line->row * r->width, line->q, (size_t)r->width * sizeof *r->q);
    memcpy(r->scales + line->row * r->blocks, line->scales, (size_t)r->blocks * sizeof *r->scales);
    memcpy(r->zeros + line->row * r->blocks, line->zeros, (size_t)r->blocks * sizeof *r->zeros);
    run->loss[line->row] = line->loss;
}

void range_of(const double *v, int64_t count, double *low, double *high)
{
    *low = *high = 0.0;
    for (int64_t i = 0; i < count; i++) {
        *low = fmin(*low, v[i]);
        *high = fmax(*high, v[i]);
    }
}

Choice widest_of(const Problem *p, int64_t row, int block)
{
    double low, high;
    int from = block * p->block, length = p->width - from < p->block ? p->width - from : p->block;
    if (p->spec->block < 0) return p->whole;
    range_of(p->target + row * p->width + from, length, &low, &high);
    return scales_widest(p, low, high, row_least(p, row));
}

void line_nearest(const Problem *p, int64_t row, Line *line)
{
    line->row = row;
    for (int b = 0; b < p->blocks; b++) {
        Choice c = widest_of(p, row, b);
        line->scales[b] = c.scale;
        line->zeros[b] = (int16_t)c.zero;
        for (int i = b * p->block; i < p->width && i < (b + 1) * p->block; i++) {
            double q = rint(p->target[row * p->width + i] / (double)c.scale) + c.zero;
            line->q[i] = (int16_t)(q < p->low ? p->low : q > p->high ? p->high : q);
        }
    }
}

void weigh_targets(const Problem *p, Desk *d, const int64_t *rows, int count)
{
    int n = p->width;
    if (p->h == NULL) return;
    for (int b = 0; b < count; b++) memcpy(d->e + (size_t)b * (size_t)n, p->target + rows[b] * n, (size_t)n * sizeof(double));
    blas_dgemm(false, false, count, n, n, 1.0, d->e, n, p->h, n, 0.0, d->ht, n);
}

/* ---- the tasks: a batch of rows each ---- */

void task_rows(Run *run, Desk *d, const int64_t *rows, int count)
{
    const Problem *p = &run->p;
    int kept = run->keep;
    bool descend = p->spec->method == ROUND_GPTQ && p->spec->sweeps > 0;
    if (descend && p->blocks == 1) weigh_targets(p, d, rows, count);
    for (int i = 0; i < count * kept; i++) d->lines[i].row = rows[i / kept];
    work_round(p, d->work, rows, count, d->lines, NULL);
    for (int b = 0; b < count; b++) line_nearest(p, rows[b], &d->lines[count * kept + b]);
    lines_measure(p, d->lines, count * (kept + 1));
    for (int b = 0; b < count; b++) {
        Line *plain = &d->lines[count * kept + b], *best = &d->lines[b * kept];
        run->nearest[rows[b]] = plain->loss;
        for (int i = 0; i <= kept; i++) {
            Line *line = i < kept ? &d->lines[b * kept + i] : plain;
            if (i == kept && (p->partner != NULL || best->loss <= plain->loss)) break;
            line->ht = p->h != NULL ? d->ht + (size_t)b * (size_t)p->width : NULL;
            if (descend) line_descend(p, line, p->spec->sweeps, false, d->scratch);
            if (line->loss < best->loss) best = line;
        }
        if (descend) line_refine(p, best, d->scratch);
        line_to_row(run, best);
    }
}

void task_measure(Run *run, Desk *d, const int64_t *rows, int count)
{
    const Problem *p = &run->p;
    for (int b = 0; b < count; b++) {
        line_of_row(run, rows[b], &d->lines[b]);
        line_nearest(p, rows[b], &d->lines[count + b]);
    }
    lines_measure(p, d->lines, 2 * count);
    for (int b = 0; b < count; b++) {
        run->loss[rows[b]] = d->lines[b].loss;
        run->nearest[rows[b]] = d->lines[count + b].loss;
    }
}

Status each_batch(Run *run, Task *task, const int64_t *rows, int64_t count, int threads, Err *err)
{
    Status status = OK;
    int64_t batches = (count + run->batch - 1) / run->batch;
    if (threads > batches) threads = (int)batches;
    if (threads < 1) threads = 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Desk d;
        bool ready = desk_new(run, &d);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < batches; i++) {
            int64_t left = count - i * run->batch;
            if (ready) task(run, &d, rows + i * run->batch, left < run->batch ? (int)left : run->batch);
        }
        desk_release(&d);
#pragma omp critical(round_batch_status)
        if (!ready) status = ERR_MEMORY;
    }
    return status == OK ? OK : err_no_memory(err, "rows being rounded");
}

int batch_starts(const Problem *p)
{
    if (p->blocks > 1 || p->spec->block < 0 || p->spec->method == ROUND_NEAREST) return 1;
    return p->choices < KEPT_STARTS ? p->choices : KEPT_STARTS;
}
