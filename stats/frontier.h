/* Activations kept between the parts of a walk: by slot and batch, in memory up to a budget, then in an unlinked temporary file, whose
 * space is given back when a slot is dropped (where the file system can). */
#ifndef PARE_STATS_FRONTIER_H
#define PARE_STATS_FRONTIER_H

#include "graph/tensor.h"

typedef struct Frontier Frontier;

/* `budget` bytes may stay in memory; 0: all. */
Status frontier_new(size_t slots, int64_t batches, uint64_t budget, Frontier **out, Err *err);
void frontier_free(Frontier *f); /* NULL is fine */
/* Takes *t over (zeroed), also on failure; it must own its storage. Each (slot, batch) is put once until dropped. */
Status frontier_put(Frontier *f, size_t slot, int64_t batch, Tensor *t, Err *err);
/* A tensor to be released by the caller; ERR_BUG when nothing is there. */
Status frontier_get(Frontier *f, size_t slot, int64_t batch, Tensor *out, Err *err);
void frontier_drop(Frontier *f, size_t slot);
uint64_t frontier_peak(const Frontier *f);    /* bytes held in memory at most */
uint64_t frontier_spilled(const Frontier *f); /* bytes written to the file in all */

#endif
