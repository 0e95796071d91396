/* Which weights are the smallest: exact, with ties broken by position, in memory that does not grow with the weights. */
#ifndef PARE_PRUNE_SELECT_H
#define PARE_PRUNE_SELECT_H

#include "graph/tensor.h"

/* Everything smaller than `threshold` in magnitude goes, and of those equal to it the first `ties`, in the order of the tensors and
 * of the elements within each. */
typedef struct MagnitudeCut {
    double threshold;
    int64_t ties;
    int64_t smaller; /* elements below the threshold */
} MagnitudeCut;

/* The cut that removes exactly `remove` of all elements of the tensors (float types; 0 < remove <= their number).
 * ERR_DATA names the tensor (names[i]) and the index of a NaN. */
Status magnitude_select(const Tensor *const *tensors, const Str *names, int count, int64_t remove, MagnitudeCut *out, Err *err);

#endif
