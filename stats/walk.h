/* The walk: the original and the compressed network side by side, front to back. At each weighted layer the pass is given the moments of
 * the inputs that the compressed network really has there, and those that tie them to the original ones; it changes the layer, and
 * the walk goes on with the activations that follow from the change.
 *
 * Both networks run once over the calibration data in all, however deep: the network is cut before each layer, and between cuts the
 * activations of all samples that are still needed are kept (in memory up to half of max_mem, then in a temporary file). What the
 * compressed network computes just as the original does, because nothing before it was changed, is neither run nor kept twice. The other
 * half of max_mem is for one network while it runs, or for the moments of one layer while they are summed.
 *
 * Constants change during the walk, nodes do not: both networks are cut at the same nodes and their values are matched by number. What
 * a pass must do:
 *   - write weights by layer_write_weights (or tensor_make_writable), in the shape that they have; write the bias by layer_write_bias,
 *     which may give the layer a bias input that it had not. Either changes this layer alone, never one that the walk has passed:
 *     weights shared with an earlier layer stay as they are.
 *   - make a change that needs other nodes (a layer split into two, channels removed, Q/DQ pairs) in two steps: during the walk write
 *     the weights that have the same effect in the old shape (the product of the factors, zeros, rounded values), so that later
 *     layers see their effect, and keep what was found; rewrite the nodes when the walk has returned.
 *   - neither add, remove nor rewire nodes, nor change attributes, from the callback. Added nodes are ERR_BUG.
 * Samples may differ in shape from call to call (dataset_varies); in one call all are alike. */
#ifndef PARE_STATS_WALK_H
#define PARE_STATS_WALK_H

#include "base/log.h"
#include "data/dataset.h"
#include "stats/form.h"
#include "stats/live.h"

/* One stop of the walk. All sums run over `count` columns (positions of all samples, or those drawn), in double
 * (but for WalkOptions.single); borrowed for the call.
 * With several groups the matrices of the groups follow each other. */
typedef struct WalkLayer {
    LayerForm *form;            /* of the compressed network; the walk's own copy: layer_write_bias may update it */
    int index, layers;          /* of how many */
    int64_t count;
    const double *square;       /* [groups,width,width] H = sum x x^T of the compressed inputs, symmetric */
    const double *cross;        /* [groups,width,width] C = sum x_orig x^T */
    const double *sum;          /* [groups,width] of the compressed inputs */
    const double *sum_original; /* [groups,width] */
    const double *shift;        /* [groups,outputs,width] D = sum (shortcut_orig - shortcut) x^T; NULL: no shortcut, or an equal one */
    const double *sum_shift;    /* [groups,outputs] of shortcut_orig - shortcut; NULL with shift */
    bool same_input;            /* C is H: nothing before this layer was changed */
} WalkLayer;

/* May change weight and bias constants of the compressed network (layer_write_weights, layer_write_bias), not its nodes; see above. */
typedef Status (*WalkFn)(void *user, const WalkLayer *w, Err *err);
/* An output of both networks for samples [first, first + count), borrowed. */
typedef Status (*WalkOutputFn)(void *user, int output, int64_t first, int64_t count, const Tensor *original, const Tensor *compressed,
                               Err *err);

/* Activations that the compressed network reads on in another form than they were made (on a grid of 8 bits). */
typedef struct WalkAlter {
    bool (*wants)(void *user, ValueId v);                /* every value between layers and network inputs are asked for */
    void (*apply)(void *user, ValueId v, Tensor *t);     /* in place; what was altered counts as changed from there on */
} WalkAlter;

#define SINGLE_FROM 256 /* double costs little below it: as width^2 */

typedef struct WalkOptions {
    int threads;
    int64_t batch;      /* 0: 32 or what the network fixes */
    int64_t samples;    /* 0: all */
    int64_t positions;  /* columns of a layer, about; drawn by lot from each sample alike. 0: all */
    bool single;        /* layers of SINGLE_FROM inputs and more: sums of at most MOMENT_ROWS columns in float32, of these in double */
    uint64_t seed;
    uint64_t max_mem;   /* 0: no limit. ERR_MEMORY names a layer whose moments alone are larger */
    bool (*take)(void *user, const Layer *l); /* which layers to stop at; NULL: all that have a LayerForm */
    WalkOutputFn output; /* NULL: the walk ends at the last layer */
    const WalkAlter *alter; /* NULL: nothing is altered */
    const Live *live;   /* positions that count, of all the samples; NULL: every one */
    Log *log;
} WalkOptions;

typedef struct WalkCost { /* what it took, for who wants to know */
    int segments;
    int64_t runs;         /* calls of a segment, both networks */
    uint64_t peak, spilled; /* bytes of kept activations in memory at most, and written to the file in all */
} WalkCost;

/* `compressed` must be a clone of `original` with the same nodes (its constants may differ already); ops bound, shapes inferred. `cost`
 * may be NULL. ERR_INTERRUPTED; what the callback returns. */
Status walk_layers(const Graph *original, Graph *compressed, Dataset *data, const WalkOptions *options, WalkFn fn, void *user,
                   WalkCost *cost, Err *err);

#endif
