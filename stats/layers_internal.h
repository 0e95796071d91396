/* Inside the layer statistics: the tables that gathering fills and the file keeps. */
#ifndef PARE_STATS_LAYERS_INTERNAL_H
#define PARE_STATS_LAYERS_INTERNAL_H

#include <stdio.h>

#include "base/hash.h"
#include "stats/layers.h"

/* The moments of one input, for all layers that read it in the same way. */
typedef struct MomentEntry {
    LayerForm form;      /* of the first such layer */
    int64_t count;
    double *sum;         /* [groups,width] */
    uint64_t offset, bytes; /* of the packed triangles, from `base` */
} MomentEntry;

struct LayerStats {
    LayerForm *forms;    /* [layer] */
    int *entry_of;       /* [layer] */
    int layer_count;
    MomentEntry *entries;
    int entry_count;
    ActivationStats *activations;
    int activation_count;
    FILE *file;          /* holds the triangles */
    uint64_t base, bytes;
    bool cached;
    int sweeps;
};

/* Elements of one group's triangle. */
static inline uint64_t triangle(const LayerForm *f) { return (uint64_t)f->width * ((uint64_t)f->width + 1) / 2; }

/* Tables without numbers yet (layers.c). */
Status layer_stats_prepare(const Graph *g, const LayerStatsOptions *o, LayerStats **out, Err *err);
/* Fills them, in as many sweeps as it takes (layers_sweep.c). */
Status layer_stats_sweep(LayerStats *s, const Graph *g, Dataset *data, const LayerStatsOptions *o, Err *err);
/* Upper triangles of h[groups,width,width] into the file. */
Status layer_stats_store(LayerStats *s, const MomentEntry *e, const double *h, Err *err);

/* Adds one call's values (layers_activations.c). finite: none was NaN or infinite. */
Status activation_add(ActivationStats *a, const Tensor *t, int64_t samples, bool ends_only, bool *finite, Err *err);

/* The cache (layers_cache.c). The key is over what the graph computes, the data, what is asked, and the version of these statistics. */
Status layer_cache_key(const Graph *g, Dataset *data, const LayerStatsOptions *o, char key[HASH_TEXT], Err *err);
/* True when an entry was there, whole, and s is filled from it. */
bool layer_cache_read(LayerStats *s, const char *folder, const char *key);
/* Writes the entry and removes the oldest ones beyond the folder's limit. */
Status layer_cache_write(const LayerStats *s, const char *folder, const char *key, Err *err);

#define LAYER_CACHE_BYTES ((uint64_t)2 << 30)

#endif
