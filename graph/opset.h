/* Raising the version of the default domain: the ops whose signature or meaning changed between opset 7 and 25 are rewritten. */
#ifndef PARE_GRAPH_OPSET_H
#define PARE_GRAPH_OPSET_H

#include "graph/pass.h"

#define OPSET_RAISED 25 /* the highest version the table of rewrites reaches */

/* Rewrites every node, subgraphs included, from the imported opset (7 or later) to `version` (at most OPSET_RAISED) and sets the import.
 * ERR_UNSUPPORTED names the op and node that cannot be raised, before anything was changed. `record` may be NULL. Ops bound;
 * graph_finish and engine_bind afterwards. */
Status opset_raise(Graph *g, int64_t version, PassRecord *record, Err *err);

/* The IR version that came with an opset, and with the types that are new in it: 7 for 13, 10 for 21 (int4), 13 for 25 (int2). */
int64_t opset_ir(int64_t version);

/* Raises the IR version. From 4 on, initializers that are listed as inputs would be defaults a caller may override: they leave the list. */
Status opset_raise_ir(Graph *g, int64_t version, Err *err);
/* IR 3 wants every initializer among the inputs: a graph that was given others becomes IR 4. For passes that add constants. */
Status opset_settle_ir(Graph *g, Err *err);

#endif
