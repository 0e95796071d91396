/* The moments of one stop of the walk, gathered call by call. */
#ifndef PARE_STATS_WALK_MOMENTS_H
#define PARE_STATS_WALK_MOMENTS_H

#include "stats/columns.h"
#include "stats/live.h"

/* Room for MOMENT_ROWS columns, as doubles or as floats; the other is NULL. */
typedef struct MomentRows {
    double *d;
    float *f;
} MomentRows;

typedef struct WalkMoments {
    const LayerForm *form;
    int64_t count;
    bool pair, shifted; /* inputs of both networks; shortcuts too */
    double *square, *cross, *sum, *sum_original, *shift, *sum_shift;
    MomentRows x, y, d; /* scratch; floats where products of a block may be summed in float32 */
} WalkMoments;

/* One call's tensors. */
typedef struct WalkInputs {
    const Tensor *original, *compressed;          /* inputs of the layer; the same where !pair */
    const Tensor *shortcut, *shortcut_compressed; /* where shifted */
    int64_t first, samples;                       /* which samples these are */
    int64_t most;                                 /* positions of each, 0: all */
    const Live *live;                             /* NULL: all positions count */
    uint64_t seed;
    int64_t layer;
    int threads;
} WalkInputs;

/* Bytes that moments of this form take. False on overflow. */
bool walk_moments_bytes(const LayerForm *f, bool pair, bool shifted, uint64_t *bytes);
Status walk_moments_new(WalkMoments *m, const LayerForm *f, bool pair, bool shifted, bool single, Err *err);
void walk_moments_release(WalkMoments *m);
Status walk_moments_add(WalkMoments *m, const Graph *g, const WalkInputs *in, Err *err);
/* Fills the lower triangles of square. */
void walk_moments_finish(WalkMoments *m);

#endif
