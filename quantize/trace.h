/* How channels go through operators: the inside of quantize/places.h. */
#ifndef PARE_QUANTIZE_TRACE_H
#define PARE_QUANTIZE_TRACE_H

#include "quantize/places.h"

#define TRACE_CHANNELS (1 << 22) /* entries of one table at most */

/* Who reads what, and which nodes are layers: of a graph, made once. */
typedef struct TraceMap {
    const Graph *g;
    uint32_t *first;   /* [value + 1]: where its readers begin in `readers` */
    NodeId *readers;   /* nodes that read a value, captures included */
    bool *output;      /* [value]: an output of the graph */
    int *layer_of;     /* [node]: 1 + index, 0: no layer */
    Layer *layers;
    int layer_count;
    uint32_t *rank;    /* [node]: its place in the topological order */
} TraceMap;

typedef struct Trace {
    const TraceMap *map;
    Place *place;
    bool failed;       /* out of memory */
    int capacity;
} Trace;

Status trace_map_make(const Graph *g, TraceMap *m, Err *err);
void trace_map_release(TraceMap *m);
uint32_t trace_readers(const TraceMap *m, ValueId v); /* how many inputs and outputs of the graph a value is */

/* Follows the channels of the first spread to their readers; obstacle, blocked and at are set. */
Status trace_run(const TraceMap *m, Place *p, Err *err);
/* Follows them through one operator, from spread `from` at this input. NULL, or why it cannot. */
const char *trace_node(Trace *t, NodeId id, int input, int from);

/* Adds a spread; takes `channel` over, also on failure. NULL, or the reason. */
const char *trace_add(Trace *t, ValueId v, unsigned axes, int32_t *channel, int64_t count);
bool trace_grow(void **list, int count, size_t size); /* room for one more */

#endif
