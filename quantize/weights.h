/* int8 weights and int32 biases of the planned layers. */
#ifndef PARE_QUANTIZE_WEIGHTS_H
#define PARE_QUANTIZE_WEIGHTS_H

#include "quantize/plan.h"

/* What is to be rounded for the layers of a plan. Layers that share a weight, its orientation and what is asked of it share a job. */
typedef struct WeightJobs {
    RoundJobs jobs;
    LayerForm *forms;   /* [layer] */
    int *of_layer;      /* [layer]: -1 where it stays float */
    int *first;         /* [job]: layer that it was made for */
    Tensor *integers;   /* [job]: as the graph stores them, made when they are first wanted; graphs share them */
} WeightJobs;

/* The grids of the layers' inputs must be known: biases in int32 set the smallest scales. */
Status weight_jobs_make(const Plan *p, WeightJobs *out, Err *err);
void weight_jobs_release(WeightJobs *w);

/* Adds the integers of every job and their DequantizeLinear nodes to p->g and points the layers at them; biases become int32.
 * The jobs are rounded, once for all: their integers are made by the first call and shared by the others. */
Status weights_attach(Plan *p, WeightJobs *w, Err *err);
/* 10 log10(sum w^2 / sum (w - w')^2), w the layer's weights in g. */
double weights_sqnr(const Graph *g, const LayerForm *f, const Rounded *r);

#endif
