/* Networks of this engine as contestants of a comparison (greenness/compare.h). */
#ifndef PARE_PIPELINE_TIMED_H
#define PARE_PIPELINE_TIMED_H

#include "engine/engine.h"
#include "greenness/compare.h"
#include "pipeline/state.h"

typedef struct Timed {
    Session *session;     /* borrowed */
    const Tensor *inputs; /* of one call, borrowed */
    Tensor *outputs;
    Work work;            /* of one call */
} Timed;

/* ERR_MEMORY, or what counting at these shapes gives. */
Status timed_init(Timed *t, Session *session, const Graph *g, const Tensor *inputs, int input_count, Err *err);
void timed_release(Timed *t);
Contestant timed_contestant(Timed *t, const char *name, int64_t batch);

/* All networks in turn, the first one the reference: medians go to their states, everything to *measured, which is replaced. A network that
 * cannot be timed gets a note in its state, and is left out; when it is the first, all are. `names`: for messages. */
Status states_latency(ReportState *const *states, const Model *const *models, const char *const *names, int count, const Gauge *q,
                      Comparison *measured, Err *err);

#endif
