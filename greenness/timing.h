/* Where the time of a network goes: each step of a run timed, with what it computes and moves, and how that stands to the machine's peaks
 * (the roofline model: Williams, Waterman, Patterson, CACM 2009). */
#ifndef PARE_GREENNESS_TIMING_H
#define PARE_GREENNESS_TIMING_H

#include "base/log.h"
#include "engine/engine.h"
#include "greenness/measure.h"
#include "greenness/profile.h"

/* What keeps a step from being faster. X(identifier, name, meaning) */
#define BOUND_LIST(X) \
    X(BOUND_COMPUTE, "compute", "nearer to the peak of multiply-adds than to that of memory") \
    X(BOUND_MEMORY, "memory", "nearer to the peak of memory, or of the cache where it moves more than memory can") \
    X(BOUND_OVERHEAD, "overhead", "below a tenth of either peak: calls, waiting, or an operator without a fast kernel") \
    X(BOUND_NOTHING, "none", "nothing is computed or moved")

typedef enum Bound {
#define X(id, name, meaning) id,
    BOUND_LIST(X)
#undef X
    BOUND_COUNT
} Bound;

/* One node of the session's graph, with those computed along with it, or the reorders of one value: all it does in one run. */
typedef struct TimingRow {
    const Graph *graph;   /* the session's, or a subgraph's */
    NodeId node;          /* 0: a reorder */
    ValueId made;
    int depth, parent;    /* of subgraphs; row of the node that holds the subgraph, -1: none */
    char op[80];          /* "Conv+Add+Relu", "Reorder" */
    Str name, type;       /* the node's label, or the value's name; the node's type */
    const char *kernel, *detail; /* as StepTrace has them */
    DType dtype;          /* what is computed in, as StepTrace has it */
    int64_t calls;        /* in one run; more than one within loops */
    OpCost cost;
    int64_t bytes;        /* operands read once, results written once, weights included */
    double ms, share;     /* median over the runs, without the subgraphs; of the sum over all rows */
    double intensity;     /* multiply-adds a byte */
    double macs_per_second, bytes_per_second;
    Bound bound;
} TimingRow;

/* What the machine can do at most, with the threads that one step has. */
typedef struct Peaks {
    double mac_f32, mac_int8, byte_l2, byte_dram;
} Peaks;

typedef struct StepEvent {
    int row, lane; /* lane: as StepTrace has it */
    double start, end; /* seconds since the run began */
} StepEvent;

typedef struct Timing {
    Session *session;     /* names and graphs are its */
    int threads;          /* that were used: 1 where the network is too small for more */
    int64_t piece;        /* samples that each of them took at a time by itself, a lane; 0: they worked on each step together */
    int runs;
    Interval ms, traced;  /* of a run without the clocks at each step, and with */
    double overhead;      /* median of how much longer a run with clocks takes than the one before it, as a share */
    TimingRow *rows;      /* in the order of execution */
    int row_count;
    size_t row_capacity;
    double steps_ms;      /* sum of the rows' medians, of all lanes */
    double outside_ms;    /* median of what a run with clocks takes beside its steps, in each lane and added up */
    int64_t reorders;     /* in one run */
    double reorder_ms;
    OpCost cost;
    int64_t macs_int8, bytes;
    Peaks peaks;
    StepEvent *events;    /* of the fastest run with clocks */
    size_t event_count;
    double events_seconds; /* that run from call to return */
} Timing;

typedef struct TimingOptions {
    double seconds;       /* for all runs; 0: 2 */
    uint64_t seed;
    Log *log;
} TimingOptions;

/* Runs the network on the same inputs with and without clocks, in turns. Takes the session over, also on failure. What is wrong with the
 * inputs is said as session_run says it. ERR_INTERRUPTED. */
Status timing_take(Session *session, const Tensor *inputs, const TimingOptions *options, Timing *out, Err *err);
/* Rates and bounds against a machine's peaks. */
void timing_judge(Timing *t, const Profile *machine);
void timing_release(Timing *t);
const char *bound_name(Bound b);

/* timing_cost.c: what a step computes and moves; called while it is traced. Adds to the row. */
void timing_count(TimingRow *row, const StepTrace *step);

#endif
