/* The table of what changed in the default domain between opset 7 and 25, in the order of versions. */
#ifndef PARE_GRAPH_OPSET_REWRITES_H
#define PARE_GRAPH_OPSET_REWRITES_H

#include "graph/graph.h"

typedef struct OpsetRewrite {
    const char *type;
    int since;  /* the version that changed it */
    const char *(*check)(const Graph *g, const Node *n, int64_t from); /* why the node cannot be raised, or NULL; may be NULL */
    Status (*apply)(Graph *g, NodeId id, int64_t to, bool *changed, Err *err); /* NULL: nothing to do */
} OpsetRewrite;

extern const OpsetRewrite opset_rewrites[]; /* ends with type NULL */

#endif
