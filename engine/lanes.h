/* Batches in pieces: where every sample of a batch is computed by itself, a run takes a few samples at a time, so that what lies between
 * layers stays in the cache, and threads (lanes) take pieces by themselves, without waiting for each other at every layer. */
#ifndef PARE_ENGINE_LANES_H
#define PARE_ENGINE_LANES_H

#include "engine/session.h"

/* Samples of one piece for these inputs; 0: the batch is run as a whole. It depends on shapes alone, never on the number of threads. */
Status lanes_piece(Session *s, const Tensor *inputs, int64_t *piece, Err *err);
/* Runs a batch in pieces. `outputs` are made here; released again on failure. */
Status lanes_run(Session *s, int64_t piece, const Tensor *inputs, Tensor *outputs, Err *err);
void lanes_free(Session *s);

/* Whether sample i of every output depends on sample i of the inputs alone, with the batch first everywhere (separable.c). `here`, `there`:
 * types of all values for two batches of `batch` and batch + 1 samples. */
bool graph_is_separable(const Session *s, const TypeInfo *here, const TypeInfo *there, int64_t batch);

#endif
