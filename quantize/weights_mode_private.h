/* What weights_mode.c and mixed_weights.c share: the layers on their way to fewer bits. */
#ifndef PARE_QUANTIZE_WEIGHTS_MODE_PRIVATE_H
#define PARE_QUANTIZE_WEIGHTS_MODE_PRIVATE_H

#include "quantize/layers_round.h"
#include "quantize/weights_layers.h"

typedef struct Weighted {
    PassContext *c;
    WeightLayer *layers;
    int count;
    RoundJobs jobs;
    LayerForm *forms;
    int *of_layer;
    bool *walks;         /* [job]: a layer of it lies on the walk */
    bool tables_only;
    bool walked;         /* the rounding on the walk was kept */
    double error, plain; /* of the network's output, with and without the walk; -1: not measured */
} Weighted;

/* The jobs that the layers' specs ask for. */
Status weighted_make_jobs(Weighted *w, Err *err);
void weighted_release_jobs(Weighted *w);
/* One layer's rounded weight into g, the context's graph or a clone of it. `stored`: [job], zero before the first layer. */
Status weighted_write(const Weighted *w, Graph *g, int layer, StoredWeight *stored, Err *err);
/* Jobs, rounding, writing into the context's graph, entries of the record. Dead nodes and shapes are left to the caller. */
Status weighted_finish(Weighted *w, Err *err);

/* The float network with the rounded weights in the place of its own; or those alone that the walk does not come to. */
Status weighted_write_rounded(const Weighted *w, Graph *g, bool not_walked, Err *err);
/* Equalizes the context's graph where it helps and finds the layers anew (weights_equalize.c). */
Status weighted_equalize(Weighted *w, Err *err);

/* Chooses bits or float for each layer where the options ask for it (mixed_weights.c). Ops bound; the graph stays as it is. */
Status mixed_weights(Weighted *w, Err *err);

#endif
