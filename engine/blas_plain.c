/* Slow products for machines without OpenBLAS: row-major, dtrsm with the triangle on the left and a diagonal that counts. */
#include "engine/blas_library.h"

#include <stdbool.h>
#include <stddef.h>

static size_t at(int row, int column, int length)
{
    return (size_t)row * (size_t)length + (size_t)column;
}

/* Sums are kept in double for either type. */
#define PLAIN_GEMM(name, T) \
    static void name(const enum CBLAS_ORDER order, const enum CBLAS_TRANSPOSE ta, const enum CBLAS_TRANSPOSE tb, const int m, const int n, \
                     const int k, const T alpha, const T *a, const int lda, const T *b, const int ldb, const T beta, T *c, const int ldc) \
    { \
        (void)order; \
        for (int i = 0; i < m; i++) \
            for (int j = 0; j < n; j++) { \
                double sum = 0; \
                for (int r = 0; r < k; r++) \
                    sum += (double)a[ta == CblasTrans ? at(r, i, lda) : at(i, r, lda)] * \
                           (double)b[tb == CblasTrans ? at(j, r, ldb) : at(r, j, ldb)]; \
                T *to = &c[at(i, j, ldc)]; \
                *to = (T)(alpha * sum) + (beta != 0 ? beta * *to : 0); \
            } \
    }
PLAIN_GEMM(plain_sgemm, float)
PLAIN_GEMM(plain_dgemm, double)

static void plain_dtrsm(const enum CBLAS_ORDER order, const enum CBLAS_SIDE side, const enum CBLAS_UPLO uplo, const enum CBLAS_TRANSPOSE ta,
                        const enum CBLAS_DIAG diag, const int n, const int columns, const double alpha, const double *t, const int ldt,
                        double *b, const int ldb)
{
    (void)order;
    (void)side;
    (void)diag;
    bool down = (uplo == CblasLower) == (ta != CblasTrans); /* the first row is known first */
    for (int s = 0; s < n; s++) {
        int i = down ? s : n - 1 - s;
        for (int j = 0; j < columns; j++) {
            double sum = alpha * b[at(i, j, ldb)];
            for (int r = down ? 0 : i + 1; r < (down ? i : n); r++)
                sum -= t[ta == CblasTrans ? at(r, i, ldt) : at(i, r, ldt)] * b[at(r, j, ldb)];
            b[at(i, j, ldb)] = sum / t[at(i, i, ldt)];
        }
    }
}

static char *plain_config(void)
{
    static char text[] = "none: plain loops";
    return text;
}

static int plain_threads(void)
{
    return 1;
}

static void plain_set_threads(int threads)
{
    (void)threads;
}

BlasLibrary blas_plain(void)
{
    return (BlasLibrary){ .sgemm = plain_sgemm, .dgemm = plain_dgemm, .dtrsm = plain_dtrsm, .config = plain_config,
                          .threads = plain_threads, .set_threads = plain_set_threads };
}
