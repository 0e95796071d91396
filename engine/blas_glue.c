#include "engine/blas_glue.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/blas_library.h"

#define TILE 128            /* rows or columns of a product in double that one thread makes: never fewer for more threads */
#define FLOAT_PIECES 16 /* in float, at most: the other matrix is packed for each */
#define THREADS_PAY 1e6 /* multiplications: fewer are not worth a second thread */

/* OpenBLAS cuts its work by the number of threads, and the sums with it: on one, the same bytes always. Products are cut here instead, by
 * their shape. */
static const BlasLibrary *on_one(void)
{
    const BlasLibrary *library = blas_library();
    if (library->threads() > 1) library->set_threads(1);
    return library;
}

static CBLAS_TRANSPOSE trans(bool t) { return t ? CblasTrans : CblasNoTrans; }

static double work_of(int m, int n, int k)
{
    return (double)m * (double)n * (double)k;
}

/* Rows or columns of a tile: a half, a quarter and so on of them all, the more the larger the tiles stay. */
static int float_tile(int size)
{
    int pieces = 1;
    while (pieces < FLOAT_PIECES && size / (2 * pieces) >= 96 + 32 * pieces) pieces *= 2;
    return (size / pieces + 15) / 16 * 16;
}

void blas_sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c,
                int ldc)
{
    if (m == 0 || n == 0) return;
    const BlasLibrary *blas = on_one();
    bool by_rows = m >= n;
    int size = by_rows ? m : n, tile = work_of(m, n, k) < THREADS_PAY ? size : float_tile(size);
    if (tile >= size) {
        blas->sgemm(CblasRowMajor, trans(ta), trans(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int from = 0; from < size; from += tile) {
        int some = size - from < tile ? size - from : tile;
        const float *left = !by_rows ? a : ta ? a + from : a + (size_t)from * (size_t)lda;
        const float *right = by_rows ? b : tb ? b + (size_t)from * (size_t)ldb : b + from;
        blas->sgemm(CblasRowMajor, trans(ta), trans(tb), by_rows ? some : m, by_rows ? n : some, k, alpha, left, lda, right, ldb, beta,
                    by_rows ? c + (size_t)from * (size_t)ldc : c + from, ldc);
    }
}

void blas_dgemm(bool ta, bool tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta,
                double *c, int ldc)
{
    const BlasLibrary *blas = on_one();
    bool by_rows = m >= n;
    int size = by_rows ? m : n;
#pragma omp parallel for schedule(dynamic) if (size > TILE && work_of(m, n, k) >= THREADS_PAY)
    for (int from = 0; from < size; from += TILE) {
        int some = size - from < TILE ? size - from : TILE;
        const double *left = !by_rows ? a : ta ? a + from : a + (size_t)from * (size_t)lda;
        const double *right = by_rows ? b : tb ? b + (size_t)from * (size_t)ldb : b + from;
        blas->dgemm(CblasRowMajor, trans(ta), trans(tb), by_rows ? some : m, by_rows ? n : some, k, alpha, left, lda, right, ldb, beta,
                    by_rows ? c + (size_t)from * (size_t)ldc : c + from, ldc);
    }
}

void blas_mirror(int n, double *c, int ldc)
{
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) c[(size_t)j * (size_t)ldc + (size_t)i] = c[(size_t)i * (size_t)ldc + (size_t)j];
}

/* What a LAPACKE return value means; `what` names the factorization. */
static Status lapack_status(lapack_int info, const char *what, int rows, int cols, Err *err)
{
    if (info == 0) return OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR) return err_no_memory(err, what);
    if (info < 0) return err_set(err, ERR_DATA, "%s of a %d x %d matrix: it holds NaN or infinity", what, rows, cols);
    return err_set(err, ERR_DATA, "%s of a %d x %d matrix did not converge", what, rows, cols);
}

static Status no_lapack(const BlasLibrary *library, const char *what, Err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "%s: OpenBLAS and LAPACKE are not installed (%s)", what, library->reason);
}

/* LAPACK is column-major: there the row-major a[rows,cols] is a^T, whose SVD is (vt^T) s (u^T); so u and vt change places and
 * nothing has to be transposed. */
Status blas_svd(int rows, int cols, const double *a, double *u, double *s, double *vt, Err *err)
{
    if (rows == 0 || cols == 0) return OK;
    const BlasLibrary *library = on_one();
    if (library->dgesdd == NULL) return no_lapack(library, "singular value decomposition", err);
    int k = rows < cols ? rows : cols;
    size_t bytes = (size_t)rows * (size_t)cols * sizeof *a;
    double *work = alloc_array((size_t)rows * (size_t)cols, sizeof *a);
    double *superb = alloc_array((size_t)k, sizeof *superb);
    lapack_int info = LAPACK_WORK_MEMORY_ERROR;
    if (work != NULL && superb != NULL) {
        memcpy(work, a, bytes);
        info = library->dgesdd(LAPACK_COL_MAJOR, 'S', cols, rows, work, cols, s, vt, cols, u, k);
        if (info > 0) {
            memcpy(work, a, bytes);
            info = library->dgesvd(LAPACK_COL_MAJOR, 'S', 'S', cols, rows, work, cols, s, vt, cols, u, k, superb);
        }
    }
    free(work);
    free(superb);
    return lapack_status(info, "singular value decomposition", rows, cols, err);
}

Status blas_cholesky(int n, double *a, int *failed, Err *err)
{
    *failed = 0;
    if (n == 0) return OK;
    const BlasLibrary *library = on_one();
    if (library->dpotrf == NULL) return no_lapack(library, "Cholesky factorization", err);
    /* the lower triangle by rows is the upper one by columns */
    lapack_int info = library->dpotrf(LAPACK_COL_MAJOR, 'U', n, a, n);
    if (info > 0) {
        *failed = (int)info;
        return OK;
    }
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) a[(size_t)i * (size_t)n + (size_t)j] = 0;
    return lapack_status(info, "Cholesky factorization", n, n, err);
}

Status blas_cholesky_solve(int n, int columns, const double *l, double *b, Err *err)
{
    (void)err;
    blas_triangular_solve(true, false, n, columns, l, b);
    blas_triangular_solve(true, true, n, columns, l, b);
    return OK;
}

Status blas_cholesky_inverse(int n, double *l, Err *err)
{
    if (n == 0) return OK;
    const BlasLibrary *library = on_one();
    if (library->dpotri == NULL) return no_lapack(library, "inverse", err);
    lapack_int info = library->dpotri(LAPACK_COL_MAJOR, 'U', n, l, n);
    if (info > 0) return err_set(err, ERR_DATA, "inverse of a %d x %d matrix: it is singular (pivot %d)", n, n, (int)info - 1);
    TRY(lapack_status(info, "inverse", n, n, err));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) l[(size_t)j * (size_t)n + (size_t)i] = l[(size_t)i * (size_t)n + (size_t)j];
    return OK;
}

void blas_triangular_solve(bool lower, bool transposed, int n, int columns, const double *t, double *b)
{
    if (n == 0 || columns == 0) return;
    on_one()->dtrsm(CblasRowMajor, CblasLeft, lower ? CblasLower : CblasUpper, trans(transposed), CblasNonUnit, n, columns, 1.0, t, n, b,
                columns);
}
