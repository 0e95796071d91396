/* Numbers on their way into a network: cast, scaled per channel, laid out. */
#ifndef PARE_DATA_CONVERT_H
#define PARE_DATA_CONVERT_H

#include "data/section.h"

/* x * scale - mean, divided by std; each absent, one number, or one per entry of `axis`. */
typedef struct Affine {
    const Numbers *scale, *mean, *std;
    int axis;
} Affine;

static inline bool affine_active(const Affine *a) { return a->scale->count + a->mean->count + a->std->count > 0; }

/* Whether elements of one type may become another at all. ERR_DATA names both. */
Status convert_check(DType from, DType to, const char *what, Err *err);
/* `in` (possibly unaligned) as `to`, scaled. Floats are computed in float32 (float64 inputs in float64), step by step as NumPy does.
 * Types under 8 bits come out one value a byte, as int8 or uint8. Integers must hold their new type: the first that does not goes to *bad
 * (-1: none). */
Status convert_values(const Tensor *in, DType to, const Affine *affine, uint64_t max_mem, Tensor *out, int64_t *bad, Err *err);
/* Axis i of the result is axis perm[i] of `in`; 8-bit types and wider. */
Status convert_transpose(const Tensor *in, const int *perm, Tensor *out, Err *err);
/* One value a byte into packed 4- or 2-bit elements; nothing to do for other types. Replaces *t. */
Status convert_pack(Tensor *t, DType type, Err *err);

#endif
