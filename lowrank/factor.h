/* Two thin factors of a matrix, from its truncated singular value decomposition. */
#ifndef PARE_LOWRANK_FACTOR_H
#define PARE_LOWRANK_FACTOR_H

#include "graph/tensor.h"

/* The singular values and vectors of m[rows, cols]; full = min(rows, cols). */
typedef struct Spectrum {
    int rows, cols, full;
    double *u;     /* [rows, full] */
    double *sigma; /* [full], falling */
    double *vt;    /* [full, cols] */
    double total;  /* sum of squares */
} Spectrum;

/* Reads the weight's elements as a row-major [rows, cols] matrix. ERR_DATA: NaN or infinity, with the index of the element; ERR_MEMORY. */
Status spectrum_of(const Tensor *weight, int64_t rows, int64_t cols, Spectrum *out, Err *err);
void spectrum_release(Spectrum *s);
/* Bytes spectrum_of needs at its peak; 0 when the matrix is too large for the library's 32-bit indices. */
uint64_t spectrum_bytes(int64_t rows, int64_t cols);
/* The smallest rank that keeps this share of the sum of squares; at least 1. */
int spectrum_rank_for(const Spectrum *s, double energy);
/* Share of the sum of squares in the first `rank` values; 1 for a zero matrix. The relative Frobenius error is sqrt(1 - this). */
double spectrum_kept(const Spectrum *s, int rank);
/* left[rows, rank] = U sqrt(S), right[rank, cols] = sqrt(S) V^T as tensors of this type and shape (which must have as many elements);
 * the larger entries of U's columns are made positive, so the signs do not depend on the library. */
Status spectrum_factors(const Spectrum *s, int rank, DType type, const Shape *left_shape, const Shape *right_shape, Tensor *left,
                        Tensor *right, Err *err);

#endif
