/* Between the files of the distillation pass. */
#ifndef PARE_DISTILL_DISTILL_H
#define PARE_DISTILL_DISTILL_H

#include "data/targets.h"
#include "engine/engine.h"
#include "graph/pass.h"
#include "stats/scores.h"
#include "stats/together.h"

typedef struct DistillOptions {
    const char *targets;  /* the .npz */
    StrList teacher, weights, tensors;
    const char *logits;   /* name of the output; NULL: the first */
    double temperature;
    int64_t top_k, batch;
} DistillOptions;

typedef struct Teacher {
    const Graph *graph;
    const char *name;     /* its file as given, or "the network" */
    char hash[HASH_TEXT];
    Session *session;
    double weight;        /* of all teachers: they sum to 1 */
    int output;           /* index among its outputs */
    ScoreKind kind;
} Teacher;

/* One intermediate tensor that is recorded. */
typedef struct Watch {
    int teacher;
    ValueId value;
    const char *array;    /* name in the .npz */
    bool exact;           /* named without wildcards: must fit */
    bool dropped;
    Tensor got;           /* of the batch at work, owned */
} Watch;

typedef struct Distill {
    PassContext *c;
    const DistillOptions *options;
    Teacher *teachers;
    int teacher_count;
    Watch *watches;
    int watch_count;
    int class_axis;
    /* one position at a time */
    double *row, *logits, *probabilities;
    size_t row_capacity, logit_capacity, probability_capacity;
    int64_t *order;
    size_t order_capacity;
    /* what the record tells */
    double entropy;
    int64_t positions, labelled, correct;
} Distill;

/* Graphs, weights and outputs of the teachers, without running anything; arrays in c->scratch. */
Status teachers_choose(const PassContext *c, Teacher **out, int *count, Err *err);
Status teachers_open(Distill *d, Err *err);
void teachers_close(Distill *d);

/* The tensors named by the option, of every teacher. ERR_USAGE for a pattern that names none. */
Status watches_choose(const PassContext *c, const Teacher *teachers, int teacher_count, Watch **out, int *count, Err *err);
Status watches_start(Distill *d, Err *err);
Status watches_write(Distill *d, const Batch *batch, Err *err);
void watches_release(Distill *d);

/* Combines the teachers' outputs of a batch and appends them. */
Status soften_batch(Distill *d, const Batch *batch, Err *err);

#endif
