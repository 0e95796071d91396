#include "quantize/rounding_private.h"


#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* ---- grids that are there already ---- */

static void put_grid(const Run *run, int64_t row, float scale)
{
    const Problem *p = &run->p;
    int zero = p->spec->symmetric ? 0 : 1 << (p->spec->bits - 1);
    Rounded *r = run->out;
    for (int64_t b = 0; b < r->blocks; b++) {
        r->scales[row * r->blocks + b] = scale;
        r->zeros[row * r->blocks + b] = (int16_t)zero;
    }
    for (int64_t i = 0; i < r->width; i++)
        r->q[row * r->width + i] = (int16_t)((int)rint(p->target[row * r->width + i] / (double)scale) + zero);
}

static bool row_pairs_safe(const Problem *p, const int16_t *q)
{
    for (int i = 0; p->partner != NULL && i < 2 * p->width; i++)
        if (p->partner[i] >= 0 && !pair_safe(q[i % p->width], q[p->partner[i]])) return false;
    return true;
}

/* Rows [first, first + count) on one grid; false: not on one, or one that may not be kept. */
static bool keep_grid(const Run *run, int64_t first, int64_t count)
{
    const Problem *p = &run->p;
    int limit = (1 << (p->spec->bits - 1)) - 1;
    double found = grid_find(p->target + first * p->width, count * p->width, limit);
    if (!(found > 0.0) || found < row_least(p, first)) return false;
    float scale = scale_normal(found, 0.0);
    if (fabs((double)scale - found) > 1e-6 * found) return false;
    for (int64_t i = first; i < first + count; i++) put_grid(run, i, scale);
    for (int64_t i = first; i < first + count; i++)
        if (!row_pairs_safe(p, run->out->q + i * p->width)) return false;
    return true;
}

static bool all_zero(const double *v, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (v[i] != 0.0) return false;
    return true;
}

/* Keeps the grids that are there; the rows left go into todo, the others into kept. */
static void keep_grids(Run *run, int64_t *todo, int64_t *todo_count, int64_t *kept, int64_t *kept_count)
{
    const Problem *p = &run->p;
    bool asked = p->spec->keep_grid, whole = p->spec->block < 0, missed = false;
    bool all = asked && whole && keep_grid(run, 0, p->rows);
    *todo_count = *kept_count = 0;
    for (int64_t i = 0; i < p->rows; i++) {
        if (all || (asked && !whole && keep_grid(run, i, 1))) {
            kept[(*kept_count)++] = i;
        } else {
            todo[(*todo_count)++] = i;
            missed = missed || !all_zero(p->target + i * p->width, p->width);
        }
    }
    run->out->kept_grid = *kept_count > 0 && !missed;
}

/* ---- the whole ---- */

static Status spec_check(const RoundSpec *s, int64_t rows, int64_t width, Err *err)
{
    if (s->bits < 2 || s->bits > 8) return err_set(err, ERR_USAGE, "%d bits: 2 to 8 can be rounded to", s->bits);
    if (rows < 1 || width < 1 || width > INT_MAX || rows > INT_MAX)
        return err_set(err, ERR_USAGE,
                       "weights of %lld x %lld: 1 to %d of each can be rounded", (long long)rows, (long long)width, INT_MAX);
    if (s->block < -1) return err_set(err, ERR_USAGE, "blocks of %lld inputs: at least 1", (long long)s->block);
    if (s->clips < 1 || s->sweeps < 0 || s->clips > 1000)
        return err_set(err, ERR_USAGE, "%d candidates and %d sweeps: 1 to 1000 candidates, 0 or more sweeps", s->clips, s->sweeps);
    if (s->learned < 0) return err_set(err, ERR_USAGE, "%d iterations of learned rounding: 0 or more", s->learned);
    if (s->partner != NULL && !s->symmetric) return err_set(err, ERR_USAGE, "the pair rule is for weights without zero points");
    return OK;
}

static Status rounded_new(Rounded *out, int64_t rows, int64_t width, int64_t block, int64_t blocks, Err *err)
{
    *out = (Rounded){ .rows = rows, .width = width, .blocks = blocks, .block = block };
    size_t cells, scales;
    if (__builtin_mul_overflow((size_t)rows, (size_t)width, &cells) || __builtin_mul_overflow((size_t)rows, (size_t)blocks, &scales) ||
        cells > SIZE_MAX / sizeof(double) || scales > SIZE_MAX / sizeof(double))
        return err_no_memory(err, "rounded weights");
    out->q = calloc(cells, sizeof *out->q);
    out->scales = calloc(scales, sizeof *out->scales);
    out->zeros = calloc(scales, sizeof *out->zeros);
    return out->q != NULL && out->scales != NULL && out->zeros != NULL ? OK : err_no_memory(err, "rounded weights");
}

static void problem_init(Problem *p, const RoundSpec *s, int64_t rows, int64_t width, const double *target, const double *h)
{
    int half = 1 << (s->bits - 1);
    bool rule = s->partner != NULL && s->bits == 8;
    *p = (Problem){ .spec = s, .rows = rows, .width = (int)width, .target = target, .h = h, .partner = rule ? s->partner : NULL,
                    .low = !s->symmetric ? 0 : s->restricted ? 1 - half : -half, .high = s->symmetric ? half - 1 : 2 * half - 1 };
    p->block = s->block <= 0 || s->block > width ? p->width : (int)s->block;
    p->blocks = (p->width + p->block - 1) / p->block;
    p->choices = scales_count(s, rule, h == NULL);
}

/* The largest scale beside the one the largest magnitude alone would have. */
static double enlarged(const Problem *p, const Rounded *r)
{
    double most = 1.0;
    for (int64_t i = 0; i < r->rows && p->partner != NULL; i++)
        for (int64_t b = 0; b < r->blocks; b++)
            most = fmax(most, (double)r->scales[i * r->blocks + b] / (double)widest_of(p, i, (int)b).scale);
    return most;
}

static Status round_rows(Run *run, const int64_t *todo, int64_t todo_count, const int64_t *kept, int64_t kept_count, int threads, Err *err)
{
    const Problem *p = &run->p;
    if (p->spec->block < 0 && todo_count > 0) return round_shared(run, todo, threads, err);
    if (todo_count > 0) TRY(each_batch(run, task_rows, todo, todo_count, threads, err));
    return kept_count > 0 ? each_batch(run, task_measure, kept, kept_count, threads, err) : OK;
}

static Status learn_rows(Run *run, const int64_t *rows, int64_t count, int threads, Err *err)
{
    run->batch = ROUND_ROWS_MOST; /* a product with h for each iteration: the more rows, the cheaper */
    return each_batch(run, task_learn, rows, count, threads, err);
}

/* Rows of a batch: enough for matrix products, few enough that all threads have some; a matter of the problem alone. */
static int batch_rows(const Problem *p)
{
    int64_t rows = ROUND_COLUMNS / p->choices, share = p->rows / 8;
    if (rows > share) rows = share;
    return rows < ROUND_ROWS_LEAST ? ROUND_ROWS_LEAST : rows > ROUND_ROWS_MOST ? ROUND_ROWS_MOST : (int)rows;
}

Status round_matrix(const RoundSpec *spec, int64_t rows, int64_t width, const double *target, const double *h, const double *l, int threads,
                    Rounded *out, Err *err)
{
    *out = (Rounded){ .rows = 0 };
    TRY(spec_check(spec, rows, width, err));
    Run run = { .out = out };
    Problem *p = &run.p;
    problem_init(p, spec, rows, width, target, h);
    TRY(rounded_new(out, rows, width, p->block, p->blocks, err));
    for (int64_t i = 0; i < rows * width; i++)
        if (!isfinite(target[i]))
            return err_set(err, ERR_DATA, "weight %lld of row %lld is not finite", (long long)(i % width), (long long)(i / width));
    if (spec->block < 0) {
        double low, high;
        range_of(target, rows * width, &low, &high);
        p->whole = scales_widest(p, low, high, row_least(p, 0));
    }
    Status status = OK;
    int64_t todo_count, kept_count, *todo = malloc((size_t)rows * sizeof *todo), *kept = malloc((size_t)rows * sizeof *kept);
    run.loss = calloc((size_t)rows, sizeof *run.loss);
    run.nearest = calloc((size_t)rows, sizeof *run.nearest);
    if (todo == NULL || kept == NULL || run.loss == NULL || run.nearest == NULL) {
        status = err_no_memory(err, "rows being rounded");
        goto out;
    }
    keep_grids(&run, todo, &todo_count, kept, &kept_count);
    TRY_OUT(feedback_make(p, l, err));
    run.batch = batch_rows(p);
    run.keep = batch_starts(p);
    TRY_OUT(round_rows(&run, todo, todo_count, kept, kept_count, threads, err));
    if (h != NULL) {
        out->loss_found = sum_of(run.loss, rows);
        if (spec->learned > 0 && spec->method == ROUND_GPTQ && todo_count > 0) TRY_OUT(learn_rows(&run, todo, todo_count, threads, err));
        out->loss = sum_of(run.loss, rows);
        out->loss_nearest = sum_of(run.nearest, rows);
    }
    out->enlarged = enlarged(p, out);
out:
    feedback_release(p);
    free(todo);
    free(kept);
    free(run.loss);
    free(run.nearest);
    return status;
}

void rounded_release(Rounded *r)
{
    free(r->q);
    free(r->scales);
    free(r->zeros);
    *r = (Rounded){ .rows = 0 };
}

void rounded_values(const Rounded *r, double *w)
{
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t k = 0; k < r->width; k++) {
            int64_t at = i * r->blocks + k / r->block;
            w[i * r->width + k] = (double)r->scales[at] * (double)(r->q[i * r->width + k] - r->zeros[at]);
        }
}
