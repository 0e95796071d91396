/* What one run of a session may still do, shared with the sessions of its subgraphs: for whoever runs networks of strangers. */
#ifndef PARE_ENGINE_WORK_H
#define PARE_ENGINE_WORK_H

#include "engine/engine.h"
#include "graph/op.h"

#define WORK_STEPS ((int64_t)1 << 20) /* of all Loops and Scans of a run that nobody could interrupt */
#define WORK_OF_STEP 4096             /* operations that a step of one counts for besides its nodes' own: what it takes to start */

typedef struct Work {
    uint64_t limit; /* operations; 0: none */
    uint64_t done;
    int64_t steps; /* of Loops and Scans that are left */
} Work;

/* What the making of constants may take, beside a run with this limit. */
static inline uint64_t work_of_folding(uint64_t limit)
{
    return limit != 0 ? limit : EVALUATE_WORK;
}

/* Operations of one node at these shapes as its cost function counts them, and one for each element of what it makes; saturates. What
 * an unknown shape hides is not counted. */
uint64_t work_of_node(const Graph *g, const Node *n, const TypeInfo *in, const TypeInfo *out);
/* ERR_UNSUPPORTED: the node would pass the limit. */
Status work_take(Work *w, const Graph *g, const Node *n, uint64_t operations, Err *err);

#endif
