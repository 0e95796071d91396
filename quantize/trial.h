/* What a candidate loses: the original network's outputs on a few samples, and how far another network's are from them. */
#ifndef PARE_QUANTIZE_TRIAL_H
#define PARE_QUANTIZE_TRIAL_H

#include "base/log.h"
#include "data/dataset.h"
#include "engine/engine.h"

#define TRIAL_SAMPLES 32
#define TRIAL_SHARE 4
#define TRIAL_TOGETHER 4 /* candidates judged at the same time, at most: each packs its weights for itself */

typedef struct Trial Trial;

/* Runs `original` on at most `samples` samples, spread evenly over the first `within` of the data set (0: all), and keeps inputs and
 * outputs. Ops bound. */
Status trial_new(const Graph *original, Dataset *data, int64_t samples, int64_t within, int threads, uint64_t max_mem, const Log *log,
                 Trial **out, Err *err);
void trial_free(Trial *t); /* NULL is fine */
/* *error = sum |y - y0|^2 / sum |y0 - mean|^2 over the floating-point outputs, each output by itself, then averaged; probabilities are
 * compared as logits, positions of padded sequences that nobody reads (stats/live.h) left out.
 * 0: equal. The candidate has the original's inputs and outputs; a session of its own is made and freed. */
Status trial_error(const Trial *t, const Graph *candidate, double *error, Err *err);

typedef struct Judgement {
    double glance; /* the error's part from every TRIAL_SHARE-th call, of one at least: to be compared with another candidate's */
    double error;  /* infinite where the glance was not below the limit */
} Judgement;

/* So many candidates are judged at the same time; 1 where a limit of memory is set. */
int trial_together(const Trial *t);
/* Judges candidates[count] into out[count], side by side where trial_together allows. What comes out does not depend on that, but for
 * products of grouped, dilated convolutions in float (docs/design.md, threads). */
Status trial_judge(const Trial *t, Graph *const *candidates, int count, double limit, Judgement *out, Err *err);
static inline double trial_db(double error) { return error > 0.0 ? -10.0 * __builtin_log10(error) : 200.0; }

#endif
