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
    bool failed; /* out of memory */
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

/* ---- between the files with the operators ---- */

#define TRACE_OTHER "the operator does not commute with factors"
#define TRACE_SHAPE "a shape is unknown"
#define TRACE_MIXED "the operator mixes channels"

/* One operator at work. `in` is a copy: the list of spreads moves. */
typedef struct TraceStep {
    Trace *t;
    const Graph *g;
    NodeId id;
    const Node *n;
    int input, from;
    Spread in;
    const Shape *x, *y; /* of the input and of output 0 */
} TraceStep;

/* The same table along axes `by` further on, at output `k`. */
const char *trace_carry(const TraceStep *s, int k, int by);
/* Whether the channels lie along this axis (-1: the last); also true of one that is not there. */
bool trace_has_axis(const TraceStep *s, int64_t axis);
/* The numbers of an attribute or of a constant input, 0 of them when it is left out; -1: not constant, or too many. */
int trace_list(const TraceStep *s, const char *attr, int input, int64_t *out, int max);

/* Operators that move elements (trace_moves.c). */
const char *trace_transpose(const TraceStep *s);
const char *trace_reshape(const TraceStep *s); /* Reshape, Flatten, Squeeze, Unsqueeze */
const char *trace_slice(const TraceStep *s);
const char *trace_split(const TraceStep *s);
const char *trace_concat(const TraceStep *s);

#endif
