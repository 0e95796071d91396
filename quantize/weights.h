/* int8 weights and int32 biases of the planned layers. */
#ifndef PARE_QUANTIZE_WEIGHTS_H
#define PARE_QUANTIZE_WEIGHTS_H

#include "quantize/plan.h"

typedef struct QuantizedWeight {
    ValueId weight;       /* the float constant */
    int axis;             /* of the output channels */
    bool per_channel, pairs; /* pairs: the pair rule applies */
    float *scales;        /* one per row, or one */
    int64_t scale_count;
    ValueId dequantized;  /* what the layers read */
    double sqnr_db;       /* of the rounding */
    double enlarged;      /* largest ratio of a row's scale to the one it would have without the pair rule */
} QuantizedWeight;

typedef struct Weights {
    QuantizedWeight *items;
    int count;
    int *of_layer;        /* [layer]: index into items */
} Weights;

/* Quantizes every weight once, however many layers share it, and adds the constants and DequantizeLinear nodes to the graph. Grids of the
 * layers' inputs are needed for the range of the biases. */
Status weights_make(Plan *p, Weights *w, Err *err);
/* Points the layer at its integer weight and gives it an int32 bias. */
Status weights_attach(Plan *p, const Weights *w, int layer, Err *err);
void weights_release(Weights *w);

#endif
