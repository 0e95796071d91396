/* Outputs of one network over a data set, kept so that a second one can be compared with it without running the first again. */
#ifndef PARE_PIPELINE_KEPT_H
#define PARE_PIPELINE_KEPT_H

#include "graph/tensor.h"

#define KEPT_MOST ((size_t)64 << 20) /* bytes; what is larger is not kept, and the network is run again */

typedef struct Kept {
    Tensor *tensors;   /* [batch][output] */
    size_t count, capacity, bytes;
    int outputs;       /* of each batch */
    bool overflowed;   /* nothing is kept: too large, or out of memory */
} Kept;

/* Adds a batch's outputs (one more reference to each). */
void kept_add(Kept *k, const Tensor *outputs, int count);
/* The outputs of batch i in the order they were added; NULL when there are none. */
const Tensor *kept_batch(const Kept *k, size_t i);
static inline bool kept_usable(const Kept *k) { return k != NULL && !k->overflowed && k->count > 0; }
void kept_release(Kept *k);

#endif
