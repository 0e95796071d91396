/* Ranges of activations channel by channel: one streaming pass of the calibration data through a network. Memory: a few numbers per
 * channel, never the samples. */
#ifndef PARE_STATS_CHANNEL_RANGES_H
#define PARE_STATS_CHANNEL_RANGES_H

#include "data/dataset.h"
#include "engine/engine.h"

typedef struct SweepOptions {
    int threads;
    int64_t batch;     /* 0: 32 or what the network fixes */
    int64_t samples;   /* 0: all */
    uint64_t max_mem;
    Log *log;
} SweepOptions;

typedef struct ChannelRange {
    ValueId value;
    int axis;             /* along which the channels lie, from the front */
    int64_t channels;
    int64_t count;        /* elements of each channel; 0: the value was never produced */
    double *min, *max;    /* [channels] */
    double *sum, *sum_squares; /* [channels] */
} ChannelRange;

typedef struct ChannelRanges {
    ChannelRange *items;
    int count;
} ChannelRanges;

typedef struct ChannelAxis {
    ValueId value;
    int axis;
} ChannelAxis;

/* Ranges of these values, each along its axis; the same pair may stand there twice. The size of the axis must be known from the graph.
 * ERR_DATA when a value turns NaN or infinite (named) or has another size there. */
Status channel_ranges_gather(const Graph *g, Dataset *data, const ChannelAxis *values, int count, const SweepOptions *options,
                             ChannelRanges *out, Err *err);
/* NULL: not among them, or never produced. */
const ChannelRange *channel_ranges_find(const ChannelRanges *r, ValueId value, int axis);
Status channel_ranges_clone(const ChannelRanges *r, ChannelRanges *out, Err *err);
void channel_ranges_release(ChannelRanges *r);

static inline double channel_peak(const ChannelRange *r, int64_t c) { return r->max[c] > -r->min[c] ? r->max[c] : -r->min[c]; }

#endif
