/* Measuring a network from its file: sizes, counts, accuracy and fidelity, latency. */
#ifndef PARE_PIPELINE_STATE_H
#define PARE_PIPELINE_STATE_H

#include "data/dataset.h"
#include "greenness/compare.h"
#include "pipeline/kept.h"
#include "pipeline/model.h"
#include "pipeline/report.h"

/* What networks are measured with. */
typedef struct Gauge {
    int threads;
    bool plain;
    Int8Use int8;
    uint64_t seed, max_mem;
    Log *log;
    Dataset *evaluation;   /* NULL: none */
    Dataset *fidelity;     /* evaluation, calibration or random inputs; NULL: none */
    Dataset *random;       /* owned */
    const char *fidelity_name;
    bool given;            /* fidelity inputs are the user's: what fails on them fails the run */
    int64_t samples;       /* random ones, when more than the usual few are needed */
    Tensor *inputs;        /* one call at batch 1, owned */
    int input_count;
    Kept original;         /* outputs of the loaded network on the data with labels, for the comparison with the result */
    char note[256];        /* why there are no inputs */
    CompareOptions measure;/* where energy is read, and for how long; the rest is filled in */
} Gauge;

/* Chooses inputs for fidelity and latency: evaluation data, else calibration data, else seeded random ones. */
Status gauge_init(Gauge *q, const Graph *g, Dataset *calibration, Err *err);
void gauge_release(Gauge *q);
/* Which kernels networks are measured with: "all", "plain", "all, int8 where it is faster". */
const char *gauge_kernels(bool plain, Int8Use int8);

/* Saves into an unlinked temporary place and loads from there, as a stranger would. */
Status state_reload(Graph *g, uint64_t max_mem, Log *log, Model *out, Err *err);
/* Counts at the shapes of the user's data, else at those that counts take by themselves; layer by layer where an arena for the names is
 * given. */
Status state_counts(ReportState *s, const Graph *g, const Gauge *q, Arena *arena, Err *err);
/* Bytes, hash and counts; deflated size when asked; layer by layer where an arena for the names is given. */
Status state_sizes(ReportState *s, Model *m, const Gauge *q, bool deflate, Arena *arena, Err *err);
/* Accuracy on the evaluation data, without them on calibration data that have labels; with a reference fidelity to it. */
Status state_evaluate(ReportState *s, const Model *m, const Model *reference, Gauge *q, Arena *arena, Err *err);

#endif
