/* Accuracy of a network on labelled data, and fidelity of one network to another. Streaming: memory does not grow with the samples. */
#ifndef PARE_PIPELINE_EVALUATE_H
#define PARE_PIPELINE_EVALUATE_H

#include "data/dataset.h"
#include "engine/engine.h"
#include "pipeline/kept.h"

typedef struct Fidelity {
    Str output;            /* name of the graph output */
    double sqnr_db;        /* 10 log10(sum a^2 / sum (a-b)^2), a the reference; INFINITY when equal */
    double cosine;         /* mean over samples of cos(a, b) */
    double max_abs;        /* largest |a - b| */
    double top1_agreement; /* share of positions with the same argmax along the class axis; NaN for outputs of one class. Integer and
                              boolean outputs: share of equal elements */
    int64_t positions;
} Fidelity;

typedef struct Evaluation {
    int64_t samples;       /* labelled predictions counted (a sequence counts one per position) */
    bool has_accuracy;
    int64_t correct;
    double accuracy, low, high; /* shares 0..1; Wilson 95 % interval */
    double cross_entropy;  /* nats, from logits or, where the network ends in Softmax, its probabilities; NaN when not defined */
    Fidelity *fidelity;    /* one per output, NULL without a reference */
    int fidelity_count;
} Evaluation;

typedef struct EvaluateOptions {
    int threads;
    int64_t batch;         /* 0: 32 or what the network fixes */
    bool plain;
    Int8Use int8;
    uint64_t max_mem;
    Log *log;
    int label_output;      /* index of the output with the logits; 0 by default */
    Kept *keep;            /* the network's outputs go here too; NULL: not wanted */
    const Kept *reference_outputs; /* the reference's, kept from the same data at the same batch: it is not run again; NULL: run it */
} EvaluateOptions;

/* `reference` may be NULL. Outputs are matched by name, else by position. */
Status evaluate(const Graph *g, const Graph *reference, Dataset *data, const EvaluateOptions *options, Evaluation *out, Err *err);
void evaluation_release(Evaluation *e);
/* Wilson score interval at 95 % for a share (Wilson 1927): always within [0, 1]; [0, 1] for no samples. */
void wilson_interval(int64_t correct, int64_t samples, double *low, double *high);

#endif
