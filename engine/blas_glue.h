/* Dense linear algebra for the whole program: it alone calls OpenBLAS and LAPACKE, which blas_library.h opens.
 *
 * Every matrix is row-major and dense; `lda` and so on are row lengths in elements, taken as the number of columns where they are not
 * given. Sizes are ints as the library's are: callers hold them below 2^31 elements per dimension. Sources: BLAS level 3; LAPACK
 * gesdd/gesvd, potrf/potri.
 *
 * All of it gives the same bytes for any number of threads: products are cut by their shape and the parts shared out among OpenMP's threads
 * (none more inside a parallel region); factorizations and triangular solves run on one. OpenBLAS's own threads are switched off for
 * the process. */
#ifndef PARE_ENGINE_BLAS_GLUE_H
#define PARE_ENGINE_BLAS_GLUE_H

#include "base/status.h"

#include <stdbool.h>

/* c[m,n] = alpha op(a)[m,k] op(b)[k,n] + beta c. `ta`: a is stored [k,m]; `tb`: b is stored [n,k]. beta 0 never reads c. */
void blas_sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c,
                int ldc);
void blas_dgemm(bool ta, bool tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta,
                double *c, int ldc);

/* Copies the upper triangle of c[n,n] to the lower one. */
void blas_mirror(int n, double *c, int ldc);

/* Thin SVD a[rows,cols] = u[rows,k] diag(s[k]) vt[k,cols], k = min(rows, cols), s descending. `a` is left alone. Divide and conquer;
 * falls back to QR iteration when that does not converge. ERR_DATA: NaN or infinity in a, or no convergence; ERR_MEMORY. */
Status blas_svd(int rows, int cols, const double *a, double *u, double *s, double *vt, Err *err);

/* a[n,n] symmetric positive definite (lower triangle read) becomes its factor L, a = L L^T; the upper triangle is zeroed.
 * Not positive definite: returns OK with *failed = 1 + the index of the failing pivot (a is then spoiled), 0 on success.
 * ERR_DATA: NaN in a. */
Status blas_cholesky(int n, double *a, int *failed, Err *err);
/* Solves L L^T x = b for b[n,columns] in place. */
Status blas_cholesky_solve(int n, int columns, const double *l, double *b, Err *err);
/* l[n,n], a factor, becomes the full symmetric inverse of L L^T. ERR_DATA: a zero on the diagonal. */
Status blas_cholesky_inverse(int n, double *l, Err *err);
/* b[n,columns] = op(t)^-1 b for a triangular t[n,n]; `lower`: t is lower, `transposed`: op(t) = t^T. */
void blas_triangular_solve(bool lower, bool transposed, int n, int columns, const double *t, double *b);

#endif
