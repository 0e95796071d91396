/* How a data set is cut into calls of a network when every sample must count once. */
#ifndef PARE_STATS_BATCHES_H
#define PARE_STATS_BATCHES_H

#include "data/dataset.h"

typedef struct Batches {
    int64_t step;    /* samples in a call */
    int64_t samples; /* that are used in all */
    int64_t count;   /* calls */
} Batches;

/* `batch` 0: 32 or what the network fixes; `samples` 0: all. A network with a fixed batch takes whole batches only: the rest that does
 * not fill one is left out. ERR_DATA: nothing is left. */
Status batches_plan(Dataset *data, int64_t batch, int64_t samples, Batches *out, Err *err);
/* Samples of call i. */
static inline int64_t batch_first(const Batches *b, int64_t i) { return i * b->step; }
static inline int64_t batch_size(const Batches *b, int64_t i)
{
    return b->samples - i * b->step < b->step ? b->samples - i * b->step : b->step;
}

#endif
