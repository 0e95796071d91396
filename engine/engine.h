/* Running a network: a Session holds one graph and makes a plan for each set of input shapes. */
#ifndef PARE_ENGINE_ENGINE_H
#define PARE_ENGINE_ENGINE_H

#include "base/log.h"
#include "graph/op.h"

/* The op table (engine/ops/list.h): entry for a node of this domain, or NULL. Versions are resolved by engine_bind. */
const Op *engine_find_op(Str domain, Str type);
/* The families of engine/ops/list.h, NULL terminated; each family is an array of entries that ends with type NULL. */
const Op *const *engine_ops(void);

/* Sets find_op and every node's op (subgraphs included), choosing the entry valid for the imported opset. Unknown ops stay NULL. */
void engine_bind(Graph *g);

/* ERR_UNSUPPORTED names every op that cannot run (op, node), up to five, or the first one that reads or makes what is no tensor of
 * numbers. Ops bound. */
Status engine_supports(const Graph *g, Err *err);

/* Infers types and shapes of every value, symbolic dimensions included; what the file declared is checked against it and the more
 * definite one is kept. Degrades to unknown for ops without an entry; never fails for lack of knowledge, only on contradiction. */
Status engine_infer(Graph *g, Err *err);

/* After edits: orders the nodes, binds their ops, infers. */
Status engine_refresh(Graph *g, Err *err);

/* Shapes of every value for concrete input shapes: `shapes` has one entry per graph_feeds input. Fills types[1..value_count]
 * (rank -1 where it depends on the data), malloc'ed. For counting and planning without running. */
Status engine_concrete_shapes(const Graph *g, const Shape *shapes, int count, TypeInfo **types, Err *err);

/* The same; besides calls `visit` for the body of the branch of an If that is known to be taken at these shapes or, where that depends on
 * the data, for each of the two that can run at them, at any depth, with the concrete types of its values, outer ones included (borrowed
 * for the call; rank -1 where they depend on the data). */
typedef void (*BodyVisit)(void *user, const Graph *body, const TypeInfo *types);
Status engine_concrete_bodies(const Graph *g, const Shape *shapes, int count, TypeInfo **types, BodyVisit visit, void *user, Err *err);

/* What folding of constants may cost where nobody gave a limit: seconds with the plain kernels. */
#define EVALUATE_WORK ((uint64_t)1 << 33)

/* Evaluates a node whose inputs are all constant, by its plain forward. Outputs are to be released by the caller. ERR_UNSUPPORTED
 * when the op has no forward. Refuses outputs above max_bytes (ERR_MEMORY) and, before they are done, more than *work operations as
 * OpCost counts them (ERR_UNSUPPORTED); *work falls by what the node takes. */
Status engine_evaluate(const Graph *g, NodeId n, uint64_t max_bytes, uint64_t *work, Tensor *outputs, Err *err);

typedef struct Session Session;

/* Quantized convolutions: integers, whose results are exact, or float32 where it is faster, with results a step off now and then. */
#define INT8_USES "always|auto"
typedef enum Int8Use { INT8_ALWAYS, INT8_AUTO, INT8_NEVER /* float32 wherever there is a kernel: for tests */ } Int8Use;

typedef struct SessionOptions {
    int threads;       /* 0: all of this process's cores */
    bool plain;        /* plain C kernels only: the oracle */
    Int8Use int8;
    uint64_t max_mem;  /* 0: no limit. Activations, packed weights, scratch memory: refused before allocation */
    uint64_t max_work; /* operations of one run, as OpCost counts them; 0: no limit. ERR_UNSUPPORTED beyond it, before they are done */
    const Log *log;    /* whose interrupt ends a run between two nodes; NULL: Loops and Scans of a run end with an error after 2^20 steps */
} SessionOptions;

/* Takes its own clone of the graph. ERR_UNSUPPORTED names every op that cannot run (op, node), up to five. */
Status session_new(const Graph *g, const SessionOptions *options, Session **out, Err *err);
void session_free(Session *s);
/* The session's own graph: ids and names of values are those of the graph it was made of, nodes need not be (quantized groups become
 * one operator). Good until the next session_observe. */
const Graph *session_graph(const Session *s);

/* `inputs`: one per graph_feeds, in that order, with the declared type; dims may be anything the graph allows. `outputs`: one per
 * graph output, to be released by the caller. ERR_DATA names the input whose type or shape does not fit. */
Status session_run(Session *s, const Tensor *inputs, Tensor *outputs, Err *err);

/* Called with each watched value as soon as it is produced (graph inputs and constants excluded from neither); the tensor is
 * borrowed for the call. A Status other than OK ends the run. Watching a value keeps fusions from hiding it. NULL fn: stop watching. */
typedef Status (*ObserveFn)(void *user, ValueId value, const Tensor *tensor, Err *err);
Status session_observe(Session *s, const ValueId *values, int count, ObserveFn fn, void *user, Err *err);
/* For an observer that wants each element once, in any order but that of the first axis: float32 tensors may come as the kernels keep them
 * (shape as ever), which spares their reordering. Lasts until the next session_observe. */
void session_observe_unordered(Session *s);

/* One step that a run has done. Everything is borrowed for the call but graph, kernel and detail, which live as long as the plan. */
typedef struct StepTrace {
    const Graph *graph; /* the session's, or that of a subgraph's own session */
    int depth;          /* of subgraphs; the steps of a body come before the step of the node it belongs to */
    NodeId node;        /* 0: a reorder */
    ValueId made;       /* first value made: that of the last node computed along with this one; 0: nobody reads one */
    const char *kernel; /* row of the kernel table; "reorder"; "view": nothing is computed; "plain": the plain forward */
    const char *detail; /* the library's name for what it chose; NULL: none */
    DType type;         /* what is computed in: that of the first operand, unless a kernel chose another */
    double start, end;  /* clock_seconds */
    int lane;           /* the thread that took it, from 0 on, where threads take pieces of a batch by themselves; else 0 */
    const void *session, *plan; /* for trace_type */
} StepTrace;
typedef void (*TraceFn)(void *user, const StepTrace *step);
/* Called after each step, those of subgraphs included; from several threads, but by one at a time, where the run has lanes. NULL fn: no
 * more. Lasts until the next session_observe. */
void session_trace(Session *s, TraceFn fn, void *user);
/* Type and shape of a value of step->graph as they are at the step; during the call only. */
TypeInfo trace_type(const StepTrace *step, ValueId v);

/* Peak bytes of activations of the plan used last. */
size_t session_activation_bytes(const Session *s);
/* Threads of the plan used last: one where it is too small for more. */
int session_threads(const Session *s);
/* Samples of the batch that each of those threads took at a time in the last run, by itself (engine/lanes.h); 0: all threads ran the whole
 * batch together. */
int64_t session_piece(const Session *s);

/* Sets the threads of OpenMP (oneDNN) and BLAS for this process; 0: as many as cores it may use. Returns the number. */
int engine_set_threads(int threads);

#endif
