/* The networks of a comparison while they are loaded, run and measured. Inside pipeline/comparison*.c only. */
#ifndef PARE_PIPELINE_COMPARISON_PRIVATE_H
#define PARE_PIPELINE_COMPARISON_PRIVATE_H

#include "pipeline/comparison.h"
#include "pipeline/timed.h"

#define COMPARE_FEEDS 256 /* inputs of a network: no data set has more */

/* One network while it is measured. */
typedef struct Side {
    Model model;
    Dataset *data;     /* opened with this network's names; NULL: random, or another's by position */
    Gauge gauge;
    Tensor *inputs;    /* of one call at the batch asked for */
    Session *session;
    Timed timed;
    int64_t batch;
    bool apart;        /* it is given other inputs than the first one */
    bool unfit;        /* its outputs are not the first one's */
} Side;

typedef struct Contest {
    const ComparisonOptions *options;
    ComparisonReport *report;
    Side *sides;
    int threads;
} Contest;

/* Loads all networks and opens the data for each: by its own names, else, in the order of the inputs, as a network whose names the data
 * hold. Nothing is run yet. What differs in the inputs is noted in ComparisonFile.inputs and warned about. */
Status sides_open(Contest *c, Err *err);
/* Inferences of a call while outputs are compared: the same for all networks where they let it be; 0: they do not. */
int64_t sides_batch(const Contest *c);
/* Whether the outputs of network i can be held against the first one's, at that batch. */
bool side_comparable(const Contest *c, int i);
void side_release(Side *s);

#endif
