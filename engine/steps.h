/* R h of a recurrent cell, step by step: y[b, g, unit] = sum of h[b, k] R[g, unit, k] over k. */
#ifndef PARE_ENGINE_STEPS_H
#define PARE_ENGINE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Weights in panels: all gates of some units side by side, so that whoever has computed a panel can join the gates of its units. */
typedef struct StepWeights {
    int64_t hidden, gates;
    int64_t units, panels; /* units of one panel */
    const float *packed;   /* [panels, hidden, units / 8, gates, 8] */
} StepWeights;

/* Sets all but `packed`. */
StepWeights steps_init(int64_t hidden, int64_t gates);
size_t steps_bytes(const StepWeights *s);
/* weights [gates, hidden, hidden] */
void steps_pack(const StepWeights *s, const float *weights, float *out);
/* Rows from `first` to `end` of h [batch, hidden], and the units of panels from `from` to `to` of y [batch, gates, hidden]. A row's sums
 * are the same however the work is cut by panels, and by rows at multiples of STEP_ROWS; a row by itself is summed in another order. */
#define STEP_ROWS 16
void steps_run(const StepWeights *s, const float *h, int64_t first, int64_t end, int64_t from, int64_t to, float *y);

#endif
