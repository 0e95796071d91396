/* Several networks over the same data, batch by batch: memory does not grow with the number of samples. */
#ifndef PARE_STATS_TOGETHER_H
#define PARE_STATS_TOGETHER_H

#include "data/dataset.h"
#include "engine/engine.h"

/* One batch. Everything is borrowed for the call. */
typedef struct Batch {
    int64_t first, count;         /* samples [first, first + count) */
    bool whole;                   /* the arrays are one sample as a whole: axis 0 is no sample axis */
    const Tensor *const *outputs; /* [network][output] */
    const Tensor *labels;         /* int64, NULL without labels */
} Batch;

typedef Status (*BatchFn)(void *user, const Batch *batch, Err *err);

typedef struct TogetherOptions {
    int64_t batch;     /* 0: 32 or what the network fixes */
    bool labels;       /* read them */
    const char *task;  /* name of the progress line */
    Log *log;
} TogetherOptions;

/* Feeds each network the arrays of its inputs: found by name among the feeds of `owner` (the graph the data set was opened with), else
 * by position. ERR_DATA when a network has an input that the data does not give, or takes another type; ERR_INTERRUPTED. */
Status run_together(Session *const *networks, int count, const Graph *owner, Dataset *data, const TogetherOptions *options, BatchFn fn,
                    void *user, Err *err);

#endif
