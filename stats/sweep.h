/* The sweep: one streaming pass of the calibration data through a network, keeping running statistics of chosen values.
 * Memory: O(values x bins), never the samples. */
#ifndef PARE_STATS_SWEEP_H
#define PARE_STATS_SWEEP_H

#include "data/dataset.h"
#include "engine/engine.h"

typedef struct Range {
    ValueId value;
    double min, max;   /* over all elements seen */
    double sum, sum_squares; /* float64 */
    int64_t count;     /* elements; 0: never produced */
} Range;

typedef struct SweepOptions {
    int threads;
    int64_t batch;     /* 0: 32 or what the network fixes */
    int64_t samples;   /* 0: all */
    uint64_t max_mem;
    Log *log;
} SweepOptions;

/* Fills ranges[i].min/max/... for ranges[i].value. ERR_DATA when a value turns NaN or infinite: names it and the sample batch. */
Status sweep_ranges(const Graph *g, Dataset *data, Range *ranges, int count, const SweepOptions *options, Err *err);

#endif
