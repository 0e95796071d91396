/* Which samples of an array are taken, and in which order they are delivered. */
#ifndef PARE_DATA_PICKS_H
#define PARE_DATA_PICKS_H

#include "data/section.h"
#include "formats/npz.h"

/* Sample i is entry at[i] of the array, or i * every where there is no table. */
typedef struct Picks {
    int64_t *at;
    int64_t every;
    int64_t count;
    int64_t candidates; /* before first, every and shuffle: must be the same for all arrays that are read together */
} Picks;

/* `total`: entries along the sample axis. Reads the array of indices that `s` names. Indices stay in the order they are listed.
 * ERR_DATA when there are no samples, or the indices are none or out of range. */
Status picks_make(const Sampling *s, int64_t total, Npz *file, const char *what, Picks *out, Err *err);
void picks_release(Picks *p);
static inline int64_t picks_at(const Picks *p, int64_t i) { return p->at != NULL ? p->at[i] : i * p->every; }
/* Puts the samples of all in the order in which the first one's lie in its file, so that files are read forwards. */
Status picks_sort(Picks *const *all, int count, Err *err);

#endif
