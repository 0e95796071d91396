/* Rounding the weights of many layers: each as it stands, or one after the other on the walk, towards what the original network gives.
 *
 *   on the walk    inputs x of the layer are those the compressed network has there: earlier layers rounded, activations on their grids
 *   target         W* = (W C + D + l W)(H + l I)^-1 where there are columns enough, else W        (stats/solve.h)
 *   bias           b' = b + W m_orig + m_shift - W' m: the mean error of the layer is gone
 *
 * Weights that lie on an integer grid already keep it and are their own target. */
#ifndef PARE_QUANTIZE_LAYERS_ROUND_H
#define PARE_QUANTIZE_LAYERS_ROUND_H

#include "graph/pass.h"
#include "quantize/rounding.h"
#include "stats/walk.h"

#define ROUND_DAMPING 0.01

/* One weight to round; layers that share it have one job. */
typedef struct RoundJob {
    LayerForm form;     /* of the first layer that reads it */
    RoundSpec spec;     /* partner and least point to what the job owns */
    int32_t *partner;
    double *least;
    Rounded rounded;    /* [groups outputs,width] */
    bool done;
    bool walked;        /* by the layer's own loss on the walk */
} RoundJob;

typedef struct RoundJobs {
    RoundJob *items;
    int count, layers;
    const LayerForm *forms; /* [layer], borrowed */
    const int *of_layer;    /* [layer]: its job, -1: none; borrowed */
} RoundJobs;

typedef struct RoundRun {
    const Graph *original;
    Graph *compressed;       /* a clone: its weights become the rounded ones as floats, its biases follow */
    Dataset *data;
    const WalkAlter *alter;  /* activations of the compressed network; NULL: as they are. `user` of the walk is alter_user */
    void *alter_user;
    bool single;             /* moments in blocks of float32 (WalkOptions) */
    bool gptq, target, bias; /* what is done at a layer; gptq false: scales by the layer's loss, nearest integers */
    int64_t samples, batch, positions;
    uint64_t seed, max_mem;
    int threads;
    PassRecord *record;      /* notes about damping; NULL: none */
    Log *log;
} RoundRun;

/* Each weight as it stands in g, without data. */
Status layers_round_plain(const Graph *g, RoundJobs *jobs, int threads, Err *err);
/* On the walk. Jobs that the walk does not reach (their layers depend on constants alone) are rounded as they stand. */
Status layers_round_walk(const RoundRun *run, RoundJobs *jobs, Err *err);
void round_job_release(RoundJob *j);

#endif
