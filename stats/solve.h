/* What passes solve with a layer's moments: one damped factorization, the least-squares weights towards the original outputs, weights
 * restricted to a support, the bias that absorbs the means. Everything in double; matrices are row-major; sums of the walk are taken as
 * they are and centred here.
 *
 *   G = H + l I,  l = damping x mean diagonal of H
 *   W* = (W C + D + l W) G^-1         C = sum x_orig x^T, D = sum (shortcut_orig - shortcut) x^T, H = sum x x^T
 *   row on a support S: w_S = G_SS^-1 (G w*)_S, the minimum of (w - w*) G (w - w*)^T with the others 0
 *   b' = b + W m_orig + m_shift - W' m
 *
 * Frantar and Alistarh, Optimal Brain Compression, NeurIPS 2022 (the solve on a support equals the sum of its removals' updates). */
#ifndef PARE_STATS_SOLVE_H
#define PARE_STATS_SOLVE_H

#include "graph/pass.h"

/* c[m,n] = sums / count - mean_y mean_x^T, in place; the means are sum_y / count and sum_x / count. */
void solve_center(double *c, int64_t m, int64_t n, const double *sum_y, const double *sum_x, int64_t count);

typedef struct Factor {
    int n;
    double *g;       /* [n,n] H + l I */
    double *l;       /* [n,n] its Cholesky factor */
    double damping;  /* l as it ended up, absolute */
    int raised;      /* how often it was multiplied by 10 */
} Factor;

/* Factors h[n,n] (symmetric, full) with `damping` times its mean diagonal added; more, times ten each time, until it succeeds. An h of
 * zeros gets l = 1. ERR_DATA names the layer when not even 1e6 times the mean diagonal helps, or h holds NaN. Release in every case. */
Status solve_factor(Factor *f, Str layer, int64_t n, const double *h, double damping, Err *err);
void factor_release(Factor *f);
/* Adds a note about a layer whose factorization needed more than it was given. */
void solve_note(PassRecord *record, Str layer, const Factor *f);

/* target[rows,n] from w[rows,n]; cross[n,n]; shift[rows,n] may be NULL. Where an input never varies the weight stays as it is. */
Status solve_target(const Factor *f, int64_t rows, const double *w, const double *cross, const double *shift, double *target, Err *err);
/* out[rows,n]: each row of target on its support keep[rows,n]. Rows are shared out among threads; the bytes do not depend on it. */
Status solve_support(const Factor *f, Str layer, int64_t rows, const double *target, const bool *keep, int threads, double *out, Err *err);
/* b[rows] += W m_orig + m_shift - W' m for sums over `count` columns; sum_shift may be NULL. */
void solve_bias(double *b, int64_t rows, int64_t n, const double *w, const double *sum_orig, const double *sum_shift, const double *made,
                const double *sum_made, int64_t count);

#endif
