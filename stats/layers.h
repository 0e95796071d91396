/* The layer statistics: one streaming sweep of the calibration data through a network gives, for every weighted layer, the second moment
 * of its input and the mean, and for chosen activations range, sums and a histogram. Memory does not grow with the number of samples.
 *
 * Second moments are summed in double (stats/moments.h) and lie in a file, a cache entry or an unlinked temporary one, packed; a pass reads
 * those of one layer at a time. Layers that read one input in the same way (query, key and value) share theirs. With max_mem the layers
 * are swept in groups whose moments fit into half of it, one sweep of the data for each group. */
#ifndef PARE_STATS_LAYERS_H
#define PARE_STATS_LAYERS_H

#include "base/log.h"
#include "data/dataset.h"
#include "stats/form.h"
#include "stats/histogram.h"

typedef struct LayerStats LayerStats;

typedef struct ActivationStats {
    ValueId value;
    int64_t count;           /* elements; 0: never produced */
    double min, max, sum, sum_squares;
    double average_min, average_max; /* moving averages over calls: m += 0.01 (x - m), the first call as it is; depend on the batch */
    int64_t parts;           /* samples; calls, where the first axis does not divide into those of a call */
    double sum_min, sum_max; /* over the parts, of the ends of each */
    Histogram histogram;
} ActivationStats;

typedef struct LayerStatsOptions {
    int threads;
    int64_t batch;      /* 0: 32 or what the network fixes */
    int64_t samples;    /* 0: all */
    int64_t positions;  /* columns of a layer, about; drawn by lot from each sample alike. 0: all */
    uint64_t seed;
    uint64_t max_mem;   /* 0: no limit. ERR_MEMORY names a layer whose moments alone are larger */
    bool means_only;    /* no second moments */
    bool values_only;   /* no layers at all: only `values` are looked at */
    bool ends_only;     /* of the activations the ends and their averages: no sums, no histogram */
    const ValueId *values; /* activations to look at */
    int value_count;
    const char *cache_dir; /* NULL: no cache; made when missing. What cannot be written there is a warning */
    Log *log;
} LayerStatsOptions;

/* Ops bound, shapes inferred. ERR_DATA names a value that turns NaN or infinite. Free with layer_stats_free; independent of g and data
 * afterwards, but for names. */
Status layer_stats_gather(const Graph *g, Dataset *data, const LayerStatsOptions *options, LayerStats **out, Err *err);
void layer_stats_free(LayerStats *s); /* NULL is fine */

/* Layers that have a LayerForm, in topological order. */
int layer_stats_count(const LayerStats *s);
const LayerForm *layer_stats_form(const LayerStats *s, int i);
int layer_stats_find(const LayerStats *s, NodeId n); /* -1: not among them */
int64_t layer_stats_columns(const LayerStats *s, int i); /* how many were summed */
const double *layer_stats_sum(const LayerStats *s, int i); /* [groups,width]; the mean times the columns; owned by s */
/* h[width,width] = sum x x^T of one group, symmetric. ERR_BUG with means_only. */
Status layer_stats_square(const LayerStats *s, int i, int64_t group, double *h, Err *err);
const ActivationStats *layer_stats_activation(const LayerStats *s, ValueId v); /* NULL: not asked for */
bool layer_stats_cached(const LayerStats *s); /* read from the cache, nothing was run */
int layer_stats_sweeps(const LayerStats *s);  /* of the data; 0 when cached */

#endif
