/* OpenBLAS and LAPACKE, opened by the first product or factorization that asks for them. Linked, they would cost every program that runs a
 * network: a good part of its start for relocations, and a thread for each further processor that spins beside the first results. */
#ifndef PARE_ENGINE_BLAS_LIBRARY_H
#define PARE_ENGINE_BLAS_LIBRARY_H

#include <cblas.h>
#include <lapacke.h>

/* Member NAME is function NAME of its library. */
typedef struct BlasLibrary {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(cblas_dtrsm) *dtrsm;
    __typeof__(openblas_get_config) *config;
    __typeof__(openblas_get_num_threads) *threads;
    __typeof__(openblas_set_num_threads) *set_threads;
    __typeof__(LAPACKE_dgesdd) *dgesdd; /* this and what follows: NULL where the libraries are not installed */
    __typeof__(LAPACKE_dgesvd) *dgesvd;
    __typeof__(LAPACKE_dpotrf) *dpotrf;
    __typeof__(LAPACKE_dpotri) *dpotri;
    char reason[256]; /* why they are not there */
} BlasLibrary;

/* Opens the libraries once for the process, from any thread; never NULL. */
const BlasLibrary *blas_library(void);

/* Products and solves by plain loops, row-major as blas_glue.c asks for them: what stands in for missing libraries. */
BlasLibrary blas_plain(void);

#endif
