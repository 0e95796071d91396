/* Static quantization: grids of the activations fixed from calibration data, weights in 8 bits. */
#ifndef PARE_QUANTIZE_STATIC_H
#define PARE_QUANTIZE_STATIC_H

#include "quantize/apply.h"
#include "quantize/trial.h"

/* A network on its way to integers. */
typedef struct Static {
    PassContext *c;
    Graph *original;    /* the float network that outputs are judged by; owned */
    Trial *trial;       /* NULL: before there is one */
    CalibrationTable table;
    Graph *unrepaired;  /* before biases took in what rounding does; NULL: nobody asks (mixed.h) */
    bool *keep;         /* [node]: layers that stay float for the accuracy's sake */
    Plan plan;
    WeightJobs weights;
    ActivationStats *stats; /* [root]: what was seen; a copy in the order of `roots` */
    ValueId *roots;
    Calibration *methods;   /* [root]: chosen */
    Ends *ends;             /* [CALIBRATE_METHODS,root]: by each method asked so far */
    bool *known;            /* [CALIBRATE_METHODS,root] */
    char rewritten[TABLE_REWRITTEN]; /* rewrites of the network that were kept, by name */
    bool quick;             /* a try: `auto` is the better of minmax and mse as a whole, */
    double bound;           /* and minmax alone where its error is above this; 0: no such bound */
    double first_error;     /* of minmax */
    int root_count;
    double error;       /* of the candidate at hand */
} Static;

Status static_run(PassContext *c, Err *err);
void static_release(Static *s); /* but for c */

/* Rewrites c->graph so that it is easier to quantize; afterwards it wants a new plan (static_repairs.c). */
Status static_repair_floats(Static *s, Err *err);
/* Sweeps and chooses the grids; afterwards s->plan.grids are filled and weights rounded as they stand (static_grids.c). */
Status static_calibrate(Static *s, Err *err);
/* Error of the network that plan, grids and jobs give for the float network g. */
Status static_error(Static *s, const Graph *g, double *error, Err *err);
/* The same with weights as they are, in float: what the activations alone lose. */
Status static_floor(Static *s, const Graph *g, double *error, Err *err);

#endif
