/* Sums of products over many columns, in double, the same bytes for any number of threads: a sum is cut into tiles of its result, and
 * each tile is one single-threaded product. Every product of two floats is exact in double; a sum of n of them loses at most
 * n 2^-53 of the sum of their magnitudes. */
#ifndef PARE_STATS_MOMENTS_H
#define PARE_STATS_MOMENTS_H

#include <stdint.h>

/* Rows that are worth converting at once. */
#define MOMENT_ROWS 512

/* h[n,n] += x^T x for x[rows,n]; the upper triangle only (moments_mirror fills the rest). */
void moments_square(double *h, const double *x, int64_t n, int64_t rows, int threads);
/* c[m,n] += y^T x for y[rows,m], x[rows,n]. */
void moments_cross(double *c, const double *y, int64_t m, const double *x, int64_t n, int64_t rows, int threads);
/* sum[n] += the rows of x. */
void moments_sum(double *sum, const double *x, int64_t n, int64_t rows);
void moments_mirror(double *h, int64_t n);

/* The same where the products of one call may be summed in float32, the calls in double: about 1e-6 of the magnitudes is lost, in half
 * the time. */
void moments_square_floats(double *h, const float *x, int64_t n, int64_t rows, int threads);
void moments_cross_floats(double *c, const float *y, int64_t m, const float *x, int64_t n, int64_t rows, int threads);
void moments_sum_floats(double *sum, const float *x, int64_t n, int64_t rows);

#endif
