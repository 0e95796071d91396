/* What a classifier says: which axis the classes lie on, whether the numbers are logits or already probabilities, softmax. */
#ifndef PARE_STATS_SCORES_H
#define PARE_STATS_SCORES_H

#include "graph/graph.h"

typedef enum ScoreKind {
    SCORES_LOGITS,
    SCORES_PROBABILITIES,     /* the output comes from Softmax */
    SCORES_LOG_PROBABILITIES, /* from LogSoftmax */
    SCORES_OTHER,             /* from Sigmoid or Hardmax: ranks, but no distribution over classes */
} ScoreKind;

/* Probabilities are never taken below this before the logarithm (a quantized Softmax gives exact zeros). */
#define SCORES_FLOOR 1e-7

/* Looks behind an output, through what moves elements or requantizes them. */
ScoreKind scores_kind(const Graph *g, ValueId output);

/* A tensor as [outer, classes, inner]: position p = (p / inner, p % inner). */
typedef struct ScoreView {
    int64_t outer, classes, inner;
    int axis;
} ScoreView;

/* `axis` may be negative. False when the shape has no such axis or no element. */
bool scores_view(const Shape *s, int axis, ScoreView *out);
static inline int64_t scores_positions(const ScoreView *v) { return v->outer * v->inner; }
/* The scores of one position, as doubles. */
void scores_read(const Tensor *t, const ScoreView *v, int64_t position, double *row);
/* Index of the largest, the first of equals; -1 when one is NaN. */
int64_t scores_top(const double *row, int64_t classes);
/* Turns scores into logits up to a constant: probabilities into their logarithms. */
void scores_to_logits(ScoreKind kind, double *row, int64_t classes);
/* row = log softmax(row / temperature), stable (largest subtracted). */
void scores_log_softmax(double *row, int64_t classes, double temperature);

#endif
