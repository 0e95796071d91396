/* Exact products of small integers, for every operator that multiplies bytes. */
#ifndef PARE_ENGINE_OPS_INTEGER_PRODUCT_H
#define PARE_ENGINE_OPS_INTEGER_PRODUCT_H

#include "graph/tensor.h"

/* sums[m,n] = a[m,k] b[k,n], all dense and row-major, exact for entries within [-256, 256]; on OpenMP's threads over the rows of a, or
 * over blocks of columns where there are few rows. */
void integer_product(int64_t m, int64_t n, int64_t k, const int16_t *a, const int16_t *b, int64_t *sums);

/* out[i] = entry `first` + i of an 8-bit tensor less `zero` ([-255, 255]). */
void integer_shift(const Tensor *t, int64_t first, int64_t count, int64_t zero, int16_t *out);

#endif
