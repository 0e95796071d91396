/* Which positions of padded sequences count. Sequences of one call are filled up to one length, and an input of zeros and ones says where
 * they end; what a network computes behind the end is read by nobody and must not sway what is measured.
 *
 * Found by what the network does, not by names: an input [N,T] of zeros and ones is such a mask when other inputs [N,T,...] may change
 * wherever it is 0 and no output changes where it is 1, nor any output without positions. */
#ifndef PARE_STATS_LIVE_H
#define PARE_STATS_LIVE_H

#include "base/log.h"
#include "data/dataset.h"
#include "engine/engine.h"

typedef struct Live {
    int feed;                   /* the mask, of graph_feeds; -1: every position counts, and the rest is empty */
    ValueId mask;
    int64_t samples, positions;
    uint8_t *at;                /* [samples,positions]: of the first samples of the data */
} Live;

typedef struct LiveOptions {
    int threads;
    uint64_t max_mem;
    int64_t samples; /* to keep; 0: all */
    const Log *log;
} LiveOptions;

/* Runs the network on a few samples, twice for each input that may be a mask; not at all where none may. Ops bound, shapes inferred. */
Status live_find(const Graph *g, Dataset *data, const LiveOptions *options, Live *out, Err *err);
void live_release(Live *l); /* zeroed is fine */

/* Whether axes 0 and 1 of a value are the samples and positions of the mask. */
bool live_spans(const Live *l, const Graph *g, ValueId v);
/* *out, a copy of t [N,T,...] where positions that the mask of this call has as 0 hold what `from` (NULL: t at the sample's first
 * live position) holds there. Other shapes are copied as they are. */
Status live_fill(const Tensor *mask, const Tensor *t, const Tensor *from, Tensor *out, Err *err);
/* columns_pick of the live positions alone: `each` rows for each of the samples [first, first + samples) of a value [N,T,...], at most
 * `most` of a sample (0: all). `at` has room for samples * each. */
int64_t live_pick(const Live *l, int64_t first, int64_t samples, int64_t each, int64_t most, uint64_t seed, int64_t layer, int64_t *at);
/* Whether live_pick can tell the rows of these samples. */
bool live_covers(const Live *l, int64_t first, int64_t samples, int64_t each);

#endif
