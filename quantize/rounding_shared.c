/* One scale for the whole matrix: every candidate is tried on all rows, and all rows take part in the refits. */
#include "quantize/rounding_private.h"

#include <stdlib.h>
#include <string.h>

#define SHARED_SWEEPS 3 /* between two refits of the scale */

/* What each candidate of a shared scale comes to in these rows. */
static void task_candidates(Run *run, Desk *d, const int64_t *rows, int count)
{
    size_t choices = (size_t)run->p.choices;
    for (int b = 0; b < count; b++) d->lines[b].row = rows[b];
    work_round(&run->p, d->work, rows, count, d->lines, d->losses);
    for (int b = 0; b < count; b++)
        memcpy(run->losses + (size_t)rows[b] * choices, d->losses + (size_t)b * choices, choices * sizeof(double));
}

/* Rows at the shared scale. */
static void task_shared(Run *run, Desk *d, const int64_t *rows, int count)
{
    for (int b = 0; b < count; b++) d->lines[b].row = rows[b];
    work_round(&run->p, d->work, rows, count, d->lines, NULL);
    for (int b = 0; b < count; b++) line_to_row(run, &d->lines[b]);
}

static void task_nearest(Run *run, Desk *d, const int64_t *rows, int count)
{
    for (int b = 0; b < count; b++) {
        line_nearest(&run->p, rows[b], &d->lines[b]);
        line_to_row(run, &d->lines[b]);
    }
}

/* A few sweeps at the shared scale as it is, and the sums of its refit. */
static void task_sweep(Run *run, Desk *d, const int64_t *rows, int count)
{
    const Problem *p = &run->p;
    weigh_targets(p, d, rows, count);
    for (int b = 0; b < count; b++) line_of_row(run, rows[b], &d->lines[b]);
    lines_measure(p, d->lines, count);
    for (int b = 0; b < count; b++) {
        Line *line = &d->lines[b];
        line->ht = p->h != NULL ? d->ht + (size_t)b * (size_t)p->width : NULL;
        line_descend(p, line, SHARED_SWEEPS, true, d->scratch);
        line_sums(p, line, &run->top[rows[b]], &run->bottom[rows[b]]);
        line_to_row(run, line);
    }
}

double sum_of(const double *v, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) sum += v[i];
    return sum;
}

/* Sweeps and refits in turn, from the rows and the scale that are there. */
static Status shared_descend(Run *run, const int64_t *rows, int threads, Err *err)
{
    const Problem *p = &run->p;
    float *scales = run->out->scales;
    for (int done = 0; done < p->spec->sweeps && p->spec->method == ROUND_GPTQ; done += SHARED_SWEEPS) {
        TRY(each_batch(run, task_sweep, rows, p->rows, threads, err));
        double top = sum_of(run->top, p->rows), bottom = sum_of(run->bottom, p->rows), old = (double)scales[0];
        if (!(bottom > 0.0) || !(top > 0.0)) break;
        float scale = scale_normal(top / bottom, row_least(p, 0));
        if (!(((double)scale - old) * (((double)scale + old) * bottom - 2.0 * top) < 0.0)) continue;
        for (int64_t i = 0; i < p->rows; i++) scales[i] = scale;
    }
    return OK;
}

static Choice best_candidate(const Run *run, const Choice *candidates)
{
    int at = 0, choices = run->p.choices;
    double least = 0.0;
    for (int c = 0; c < choices; c++) {
        double sum = 0.0;
        for (int64_t i = 0; i < run->p.rows; i++) sum += run->losses[i * choices + c];
        if (c == 0 || sum < least) {
            at = c;
            least = sum;
        }
    }
    return candidates[at];
}

/* Every candidate on all rows, then the best one, then the descent; what would be worse than nearest rounding starts again from that. */
static Status round_with(Run *run, const int64_t *rows, int threads, const Choice *candidates, Err *err)
{
    Problem *p = &run->p;
    p->shared = candidates;
    TRY(each_batch(run, task_candidates, rows, p->rows, threads, err));
    Choice best = best_candidate(run, candidates);
    p->shared = &best;
    p->choices = 1;
    TRY(each_batch(run, task_shared, rows, p->rows, threads, err));
    TRY(shared_descend(run, rows, threads, err));
    TRY(each_batch(run, task_measure, rows, p->rows, threads, err));
    if (p->partner != NULL || sum_of(run->loss, p->rows) <= sum_of(run->nearest, p->rows)) return OK;
    TRY(each_batch(run, task_nearest, rows, p->rows, threads, err));
    TRY(shared_descend(run, rows, threads, err));
    return each_batch(run, task_measure, rows, p->rows, threads, err);
}

static double together_all(const Problem *p)
{
    double together = 0.0;
    for (int64_t b = 0; b < p->rows && p->partner != NULL; b++)
        for (int i = 0; i < 2 * p->width; i++)
            if (p->partner[i] >= 0)
                together = pair_together(together, p->target[b * p->width + i % p->width], p->target[b * p->width + p->partner[i]]);
    return together;
}

Status round_shared(Run *run, const int64_t *rows, int threads, Err *err)
{
    Problem *p = &run->p;
    double low, high;
    range_of(p->target, p->rows * p->width, &low, &high);
    Choice *candidates = malloc((size_t)p->choices * sizeof *candidates);
    run->losses = malloc((size_t)p->rows * (size_t)p->choices * sizeof *run->losses);
    run->top = malloc((size_t)p->rows * sizeof *run->top);
    run->bottom = malloc((size_t)p->rows * sizeof *run->bottom);
    Status status = OK;
    if (candidates == NULL || run->losses == NULL || run->top == NULL || run->bottom == NULL) {
        status = err_no_memory(err, "candidates of a scale");
    } else {
        scales_fill(p, low, high, together_all(p), row_least(p, 0), candidates);
        status = round_with(run, rows, threads, candidates, err);
    }
    free(candidates);
    free(run->losses);
    free(run->top);
    free(run->bottom);
    p->shared = NULL;
    return status;
}

