#include "stats/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/blas_glue.h"

#define MOST_DAMPING 1e6 /* times the mean diagonal: beyond that nothing of h is left */

void solve_center(double *c, int64_t m, int64_t n, const double *sum_y, const double *sum_x, int64_t count)
{
    double share = count > 0 ? 1.0 / (double)count : 0.0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < n; k++) c[i * n + k] = c[i * n + k] * share - (sum_y[i] * share) * (sum_x[k] * share);
}

static double mean_diagonal(int64_t n, const double *h)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += h[i * n + i];
    return sum / (double)n;
}

Status solve_factor(Factor *f, Str layer, int64_t n, const double *h, double damping, Err *err)
{
    *f = (Factor){ .n = (int)n };
    size_t count;
    if (n < 1 || n > INT32_MAX || !mul_size((size_t)n, (size_t)n, &count)) return err_set(err, ERR_BUG, "a system of %lld unknowns",
                                                                                        (long long)n);
    f->g = alloc_array(count, sizeof *f->g);
    f->l = alloc_array(count, sizeof *f->l);
    if (f->g == NULL || f->l == NULL) return err_no_memory(err, "a factorization");
    double mean = mean_diagonal(n, h);
    if (!isfinite(mean)) return err_set(err, ERR_DATA, "layer '%.*s': the moments of its input are not finite", STR_ARG(layer));
    if (!(mean > 0.0)) mean = 1.0;
    double start = damping > 0.0 ? damping : 1e-12;
    f->damping = damping > 0.0 ? damping * mean : 0.0;
    for (;;) {
        int failed = 0;
        memcpy(f->g, h, count * sizeof *h);
        if (f->damping == 0.0 && mean_diagonal(n, h) <= 0.0) f->damping = mean;
        for (int64_t i = 0; i < n; i++) f->g[i * n + i] += f->damping;
        memcpy(f->l, f->g, count * sizeof *h);
        TRY(blas_cholesky((int)n, f->l, &failed, err));
        if (failed == 0) return OK;
        double next = f->damping > 0.0 ? f->damping * 10.0 : start * mean;
        if (next > MOST_DAMPING * mean)
            return err_set(err, ERR_DATA, "layer '%.*s': the moments of its input cannot be factored, not even with a damping of %g",
                           STR_ARG(layer), f->damping);
        f->damping = next;
        f->raised++;
    }
}

void factor_release(Factor *f)
{
    free(f->g);
    free(f->l);
    *f = (Factor){ 0 };
}

void solve_note(PassRecord *record, Str layer, const Factor *f)
{
    if (f->raised == 0 || record == NULL) return;
    record_add(record, RECORD_NOTE, layer, "the moments of its input are nearly singular: damping raised %d times, to %g", f->raised,
               f->damping);
}

Status solve_target(const Factor *f, int64_t rows, const double *w, const double *cross, const double *shift, double *target, Err *err)
{
    int n = f->n, m = (int)rows;
    size_t count;
    if (rows > INT32_MAX || !mul_size((size_t)rows, (size_t)n, &count)) return err_set(err, ERR_BUG, "a system of %lld rows",
                                                                                     (long long)rows);
    double *t = alloc_array(count, sizeof *t); /* transposed: columns are rows' right hand sides */
    if (t == NULL) return err_no_memory(err, "a layer's target");
    blas_dgemm(false, false, m, n, n, 1.0, w, n, cross, n, 0.0, target, n);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k++) {
            double sum = target[i * n + k] + f->damping * w[i * n + k] + (shift != NULL ? shift[i * n + k] : 0.0);
            t[k * rows + i] = sum;
        }
    Status status = blas_cholesky_solve(n, m, f->l, t, err);
    for (int64_t i = 0; status == OK && i < rows; i++)
        for (int64_t k = 0; k < n; k++) target[i * n + k] = t[k * rows + i];
    free(t);
    return status;
}

typedef struct RowScratch {
    double *a, *b, *right;
    int *at;
} RowScratch;

static bool scratch_new(RowScratch *s, size_t n)
{
    *s = (RowScratch){ alloc_array(n * n + 1, sizeof(double)), alloc_array(n + 1, sizeof(double)), alloc_array(n + 1, sizeof(double)),
                       alloc_array(n + 1, sizeof(int)) };
    return s->a != NULL && s->b != NULL && s->right != NULL && s->at != NULL;
}

static void scratch_release(RowScratch *s)
{
    free(s->a);
    free(s->b);
    free(s->right);
    free(s->at);
}

/* One row; what was positive definite as a whole is so in part, but for rounding: then a little more on the diagonal. */
static Status solve_row(const Factor *f, Str layer, const double *target, const bool *keep, RowScratch *s, double *out, Err *err)
{
    int n = f->n, kept = 0, failed = 1;
    for (int i = 0; i < n; i++) {
        out[i] = 0.0;
        if (keep[i]) s->at[kept++] = i;
    }
    if (kept == 0) return OK;
    if (kept == n) {
        memcpy(out, target, (size_t)n * sizeof *out);
        return OK;
    }
    double mean = 0.0, more = 0.0;
    for (int i = 0; i < kept; i++) {
        const double *g = f->g + (size_t)s->at[i] * (size_t)n;
        double sum = 0.0;
        for (int k = 0; k < n; k++) sum += g[k] * target[k];
        s->right[i] = sum;
        mean += g[s->at[i]] / kept;
    }
    for (int tries = 0; failed != 0; tries++, more = more > 0.0 ? more * 10.0 : 1e-12 * mean) {
        if (tries == 20) return err_set(err, ERR_DATA, "layer '%.*s': a row cannot be solved on its support", STR_ARG(layer));
        for (int i = 0; i < kept; i++)
            for (int k = 0; k < kept; k++)
                s->a[i * kept + k] = f->g[(size_t)s->at[i] * (size_t)n + (size_t)s->at[k]] + (i == k ? more : 0.0);
        TRY(blas_cholesky(kept, s->a, &failed, err));
    }
    memcpy(s->b, s->right, (size_t)kept * sizeof *s->b);
    TRY(blas_cholesky_solve(kept, 1, s->a, s->b, err));
    for (int i = 0; i < kept; i++) out[s->at[i]] = s->b[i];
    return OK;
}

Status solve_support(const Factor *f, Str layer, int64_t rows, const double *target, const bool *keep, int threads, double *out, Err *err)
{
    Status status = OK;
    if (threads < 1) threads = 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        RowScratch s;
        Err mine;
        Status got = scratch_new(&s, (size_t)f->n) ? OK : err_no_memory(&mine, "a row");
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < rows; i++)
            if (got == OK) got = solve_row(f, layer, target + i * f->n, keep + i * f->n, &s, out + i * f->n, &mine);
        scratch_release(&s);
#pragma omp critical(solve_support_status)
        if (got != OK && status == OK) {
            status = got;
            if (err != NULL) *err = mine;
        }
    }
    return status;
}

void solve_bias(double *b, int64_t rows, int64_t n, const double *w, const double *sum_orig, const double *sum_shift, const double *made,
                const double *sum_made, int64_t count)
{
    double share = count > 0 ? 1.0 / (double)count : 0.0;
    for (int64_t i = 0; i < rows; i++) {
        double sum = sum_shift != NULL ? sum_shift[i] * share : 0.0;
        for (int64_t k = 0; k < n; k++) sum += (w[i * n + k] * sum_orig[k] - made[i * n + k] * sum_made[k]) * share;
        b[i] += sum;
    }
}
