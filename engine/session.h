/* Inside the engine: what a session, its plans and their execution share. */
#ifndef PARE_ENGINE_SESSION_H
#define PARE_ENGINE_SESSION_H

#include "engine/budget.h"
#include "engine/dnnl_glue.h"
#include "engine/engine.h"
#include "engine/work.h"

#define PLAN_CACHE 8

typedef enum SlotKind {
    SLOT_ARENA,    /* in the plan's arena */
    SLOT_INPUT,    /* a graph input: the caller's memory */
    SLOT_CONSTANT, /* memory of the session or the plan */
    SLOT_ALIAS,    /* another slot's memory under another shape */
    SLOT_DYNAMIC,  /* allocated while running: the shape depends on the data */
} SlotKind;

/* One value in one order of elements. */
typedef struct Slot {
    ValueId value;
    SlotKind kind;
    const Layout *layout; /* NULL: row-major */
    int next;             /* the same value in another order; -1: none */
    int alias;            /* slot whose memory this is, for SLOT_ALIAS */
    int first, last;      /* steps between which the memory is in use */
    size_t offset, bytes;
    Tensor tensor;        /* type and shape, known before running unless dynamic; data is set for a run */
} Slot;

/* One thing to do. With a kernel: its state and the slots of its operands; without: the node's plain forward. */
typedef struct Step {
    NodeId node;
    const Kernel *kernel;
    void *state;
    int *in, *out; /* slots, -1 where left out; out -1: nobody reads it */
    int in_count, out_count; /* inputs, and behind them what the node's subgraphs capture */
    Layout *owned; /* the order of a Transpose's output; NULL: row-major, or none */
    bool alias;    /* nothing to compute: the output is the input's memory */
} Step;

typedef struct Plan {
    Shape *shapes; /* the inputs this plan is for */
    TypeInfo *types;
    size_t value_count; /* entries of the tables by value */
    Tensor *constants; /* [value]: shape arithmetic that is constant at these shapes; data NULL elsewhere */
    Slot *slots;
    size_t slot_count, slot_capacity;
    int *slot_of;  /* [value]: first slot, -1: none */
    Step *steps;
    size_t step_count, step_capacity;
    size_t arena_bytes;
    const Tensor **call_in; /* operands of the plain forward under way, as many as any step has */
    Tensor *call_out;
    bool *call_wanted;
    bool single;   /* too small for more than one thread */
    int threads;   /* that its kernels are made for */
    uint64_t used; /* for the least recently used one to go */
} Plan;

/* A subgraph of a control-flow node as a session of its own. What it captures are constants of it where the enclosing session knows them,
 * and else further inputs behind the body's own. */
typedef struct Body {
    NodeId node;
    Str attr;
    Session *session;
    int own;       /* inputs of the body itself */
    int *captured; /* for each further input, its place in the node's captures */
} Body;

#define BODY_DEPTH 32 /* subgraphs within subgraphs */

struct Session {
    Graph *graph;
    Graph *source; /* the main graph before integer groups were made of it; NULL: it has none */
    Body *bodies;
    int body_count;
    int depth; /* 0: the main graph */
    SessionOptions options;
    int threads;
    ValueId *feeds;
    int feed_count;
    Tensor *constants; /* [value]: contents of constants and of what follows from them, aligned where it is needed; data NULL elsewhere */
    Budget *budget; /* the main graph's own, shared by its bodies */
    bool *watched;     /* [value] */
    bool unordered;    /* the observer takes elements in any order */
    int watch_count;
    ObserveFn observe;
    void *user;
    TraceFn trace;
    void *trace_user;
    Device *device;
    Plan *plans[PLAN_CACHE];
    uint64_t tick;
    size_t last_bytes;
    int last_threads, lane; /* lane: which one of its session's this is */
    int64_t last_piece;     /* samples of a lane's turn in the last run; 0: it had none */
    Work *work; /* of the run under way: the outermost session's */
    uint8_t *arena;
    size_t arena_bytes;
    Session *lanes; /* lanes.c */
    int lane_count;
    struct LanePlans *lane_plans; /* [threads] */
    Tensor *held;  /* [feed_count]: the inputs of the run under way, aligned */
    Tensor *spare; /* [outputs]: memory of an earlier run's results, for the next one when the caller has released them */
    Shape *decided; /* the inputs that `piece` is for; NULL: none yet */
    int64_t piece;  /* samples run at a time; 0: the whole batch */
};

/* Contents of a value that is constant in this session, and in this plan when it is not NULL; NULL otherwise. */
static inline const Tensor *session_constant(const Session *s, const Plan *p, ValueId v)
{
    if (v == 0) return NULL;
    if (s->constants[v].data != NULL) return &s->constants[v];
    return p != NULL && p->constants[v].data != NULL ? &p->constants[v] : NULL;
}

/* Constants (constants.c): what depends on constants alone becomes one; references to all of them. */
Status session_fold_constants(Session *s, Err *err);
Status session_take_constants(Session *s, Err *err);
/* Contents that lie unaligned in the file are copied; &s->constants[v] stays where it is. */
Status session_align(Session *s, ValueId v, Err *err);
/* Aligns what the plan's steps read as numbers, and what is watched. */
Status session_align_read(Session *s, Plan *p, Err *err);
/* The contents have been read and will hardly be read again: pages of a file leave memory. */
void session_forget(const Tensor *t);

/* Plans (plan.c). ERR_MEMORY: the activations pass max_mem. */
/* True where the average layer is too little work to share among threads. */
bool plan_is_small(const Graph *g, const TypeInfo *types);
/* Multiply-adds of all nodes whose shapes are known. */
int64_t plan_macs(const Graph *g, const TypeInfo *types);
Status plan_new(Session *s, const Shape *shapes, Plan **out, Err *err);
void plan_free(Plan *p);
/* Assigns offsets in the arena from the slots' lifetimes (memory.c). */
Status plan_assign_memory(Plan *p, Err *err);

/* The plan for inputs of these shapes: from the cache, or a new one in the place of the least recently used; and its arena. */
Status session_plan(Session *s, const Tensor *inputs, Plan **out, Err *err);
Status session_reserve(Session *s, const Plan *p, Err *err);
void session_drop_plans(Session *s);

/* Memory for output i of a run, to be released by the caller: that of an earlier run, when nobody else holds it any more. */
Status session_output(Session *s, int i, DType type, const Shape *shape, Tensor *out, Err *err);

/* Whether an observer may see the slot as it is: row-major, or every element once and that is enough. */
bool slot_shown(const Session *s, const Slot *slot);
/* Runs a plan (execute.c). Outputs with data are written there; others are made. */
Status plan_execute(Session *s, Plan *p, const Tensor *inputs, Tensor *outputs, Err *err);
/* One node by its plain forward. `in` has one entry per input (NULL: left out); outputs with data are used as they are, others are
 * allocated by the operator and belong to the caller. */
Status node_forward(const Graph *g, NodeId id, const Tensor *const *in, Tensor *out, const bool *wanted, OpBodies *bodies, Err *err);

/* Subgraphs (bodies.c): a session for each body that can be reached. Called when the session's own constants are known. */
Status bodies_new(Session *s, Err *err);
void bodies_free(Session *s);
/* Makes what runs the bodies of one node; `captures`: the tensors of node->captures, NULL where none is there. Used only during the call
 * of the node's forward. */
typedef struct BodyRunner {
    OpBodies bodies; /* first: what the operator sees */
    const Session *session;
    NodeId node;
    const Tensor *const *captures;
} BodyRunner;
BodyRunner body_runner(const Session *s, NodeId node, const Tensor *const *captures);
/* A session of a graph that it takes over, also on failure; depth of its nesting, `budget` of what encloses it (NULL: its own). */
Status session_make(Graph *g, const SessionOptions *options, int depth, Budget *budget, Session **out, Err *err);
/* Whether anything outside the node itself asks for an output: a reader, a graph output, an observer. */
bool session_wants(const Session *s, ValueId v);
int node_opset(const Graph *g, const Node *n);

#endif
