#include "greenness/timing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "greenness/statistics.h"

#define DEFAULT_SECONDS 2.0
#define LEAST_RUNS 5
#define MOST_RUNS 1000
#define RESAMPLES 2000
#define DEPTHS 64   /* of subgraphs; the engine allows fewer */
#define NEAR 0.1    /* of a peak: what is below has other reasons */

/* A step of the run under way, as the session tells of it. */
typedef struct Event {
    const Graph *graph;
    NodeId node;
    ValueId made;
    int depth, lane;
    double start, end;
} Event;

typedef struct Taker {
    Timing *t;
    const Tensor *inputs;
    Tensor *outputs;
    Event *events;     /* of the run under way */
    size_t event_count, event_capacity;
    double *times;     /* [row * MOST_RUNS + run], seconds */
    double *plain, *traced; /* of each run, ms */
    double *outside, *ratio; /* the second without its steps, and over the first */
    int hint;          /* row where the next step is looked for first */
    size_t best_capacity;
    bool failed;       /* out of memory in a callback */
} Taker;

const char *bound_name(Bound b)
{
    static const char *const names[] = {
#define X(id, name, meaning) name,
        BOUND_LIST(X)
#undef X
    };
    return names[b];
}

/* --- rows */

/* The row of a step: they come in the same order again and again. -1: none yet. */
static int find_row(Taker *k, const Graph *graph, NodeId node, ValueId made)
{
    const Timing *t = k->t;
    for (int i = 0; i < t->row_count; i++) {
        int at = (k->hint + i) % t->row_count;
        const TimingRow *r = &t->rows[at];
        if (r->graph != graph || r->node != node || (node == 0 && r->made != made)) continue;
        k->hint = at + 1;
        return at;
    }
    return -1;
}

static Str row_name(const Graph *g, NodeId node, ValueId made)
{
    return node != 0 ? node_label(g, graph_node(g, node)) : graph_value(g, made)->name;
}

/* Rows of the subgraph that the step has just run belong to it. */
static void adopt(Timing *t, int parent)
{
    for (int i = 0; i < t->row_count; i++)
        if (t->rows[i].depth == t->rows[parent].depth + 1 && t->rows[i].parent < 0) t->rows[i].parent = parent;
}

static void count_step(void *user, const StepTrace *step)
{
    Taker *k = user;
    Timing *t = k->t;
    int at = find_row(k, step->graph, step->node, step->made);
    if (at < 0) {
        if (!array_grow((void **)&t->rows, &t->row_capacity, (size_t)t->row_count + 1, sizeof *t->rows)) {
            k->failed = true;
            return;
        }
        at = t->row_count++;
        const Graph *g = step->graph;
        t->rows[at] = (TimingRow){ .graph = g, .node = step->node, .made = step->made, .depth = step->depth, .parent = -1,
                                   .name = row_name(g, step->node, step->made),
                                   .type = step->node != 0 ? graph_node(g, step->node)->type : STR("Reorder") };
        k->hint = at + 1;
    }
    timing_count(&t->rows[at], step);
    adopt(t, at);
}

static void note_step(void *user, const StepTrace *step)
{
    Taker *k = user;
    if (!array_grow((void **)&k->events, &k->event_capacity, k->event_count + 1, sizeof *k->events)) {
        k->failed = true;
        return;
    }
    k->events[k->event_count++] = (Event){ step->graph, step->node, step->made, step->depth, step->lane, step->start, step->end };
}

/* --- runs */

static Status call(Taker *k, TraceFn fn, double *start, double *seconds, Err *err)
{
    Session *s = k->t->session;
    int outputs = session_graph(s)->output_count;
    session_trace(s, fn, k);
    *start = clock_seconds();
    Status status = session_run(s, k->inputs, k->outputs, err);
    *seconds = clock_seconds() - *start;
    session_trace(s, NULL, NULL);
    for (int i = 0; i < outputs; i++) tensor_release(&k->outputs[i]);
    return status == OK && k->failed ? err_no_memory(err, "the steps of a run") : status;
}

/* Adds up the run's steps by rows, each without the steps of its subgraphs; keeps the events when no run was faster. Lanes have no
 * subgraphs. */
static Status fold_run(Taker *k, int run, double start, double seconds, Err *err)
{
    Timing *t = k->t;
    double inner[DEPTHS + 2] = { 0 };
    bool best = run == 0 || seconds < t->events_seconds;
    if (best && !array_grow((void **)&t->events, &k->best_capacity, k->event_count + 1, sizeof *t->events))
        return err_no_memory(err, "the steps of a run");
    if (best) t->event_count = 0;
    if (best) t->events_seconds = seconds;
    k->hint = 0;
    for (int i = 0; i < t->row_count; i++) k->times[i * MOST_RUNS + run] = 0;
    for (size_t i = 0; i < k->event_count; i++) {
        const Event *e = &k->events[i];
        int row = find_row(k, e->graph, e->node, e->made);
        if (row < 0) continue; /* a branch that the run before did not take: random numbers decide */
        int depth = e->depth < DEPTHS ? e->depth : DEPTHS;
        k->times[row * MOST_RUNS + run] += e->end - e->start - inner[depth + 1];
        inner[depth + 1] = 0;
        inner[depth] += e->end - e->start;
        if (best) t->events[t->event_count++] = (StepEvent){ row, e->lane, e->start - start, e->end - start };
    }
    k->ratio[run] = k->plain[run] > 0 ? k->traced[run] / k->plain[run] : 1;
    int lanes = session_piece(t->session) > 0 ? session_threads(t->session) : 1;
    k->outside[run] = (lanes * seconds - inner[0]) * 1e3;
    return OK;
}

/* Once to make plans and pack weights, once to count, then in turns with clocks and without. */
static Status run_all(Taker *k, const TimingOptions *o, Err *err)
{
    Timing *t = k->t;
    double start, seconds, budget = o->seconds > 0 ? o->seconds : DEFAULT_SECONDS;
    TRY(call(k, NULL, &start, &seconds, err));
    TRY(call(k, count_step, &start, &seconds, err));
    k->times = alloc_array((size_t)t->row_count + 1, MOST_RUNS * sizeof *k->times);
    if (k->times == NULL) return err_no_memory(err, "the times");
    double began = clock_seconds();
    for (int run = 0; run < MOST_RUNS && (run < LEAST_RUNS || clock_seconds() - began < budget); run++) {
        TRY(call(k, NULL, &start, &seconds, err));
        k->plain[run] = seconds * 1e3;
        k->event_count = 0;
        TRY(call(k, note_step, &start, &seconds, err));
        k->traced[run] = seconds * 1e3;
        TRY(fold_run(k, run, start, seconds, err));
        t->runs = run + 1;
        if (!progress_step(o->log, t->runs)) return err_set(err, ERR_INTERRUPTED, "profiling: interrupted");
    }
    return OK;
}

static bool is_int8(DType t)
{
    return t == DT_UINT8 || t == DT_INT8;
}

static void add_up(Taker *k)
{
    Timing *t = k->t;
    for (int i = 0; i < t->row_count; i++) {
        TimingRow *r = &t->rows[i];
        r->ms = statistics_median(&k->times[i * MOST_RUNS], t->runs) * 1e3;
        if (r->ms < 0) r->ms = 0; /* clocks of a node and its subgraph's steps */
        t->steps_ms += r->ms;
        t->reorders += r->node == 0 ? r->calls : 0;
        t->reorder_ms += r->node == 0 ? r->ms : 0;
        t->cost.macs += r->cost.macs;
        t->cost.elementwise += r->cost.elementwise;
        t->cost.transcendental += r->cost.transcendental;
        t->bytes += r->bytes;
        if (is_int8(r->dtype)) t->macs_int8 += r->cost.macs;
    }
    t->outside_ms = statistics_median(k->outside, t->runs);
    t->overhead = statistics_median(k->ratio, t->runs) - 1;
    for (int i = 0; i < t->row_count && t->steps_ms > 0; i++) t->rows[i].share = t->rows[i].ms / t->steps_ms;
}

Status timing_take(Session *session, const Tensor *inputs, const TimingOptions *o, Timing *out, Err *err)
{
    *out = (Timing){ .session = session };
    Taker k = { .t = out, .inputs = inputs };
    Status status = OK;
    k.outputs = alloc_zeroed((size_t)session_graph(session)->output_count + 1, sizeof *k.outputs);
    k.plain = alloc_array(MOST_RUNS, sizeof *k.plain);
    k.traced = alloc_array(MOST_RUNS, sizeof *k.traced);
    k.outside = alloc_array(MOST_RUNS, sizeof *k.outside);
    k.ratio = alloc_array(MOST_RUNS, sizeof *k.ratio);
    if (k.outputs == NULL || k.plain == NULL || k.traced == NULL || k.outside == NULL || k.ratio == NULL) {
        status = err_no_memory(err, "the times");
        goto out;
    }
    progress_begin(o->log, "profiling", 0);
    status = run_all(&k, o, err);
    progress_end(o->log);
    if (status != OK) goto out;
    out->threads = session_threads(session);
    out->piece = session_piece(session);
    add_up(&k);
    TRY_OUT(statistics_interval(k.plain, out->runs, RESAMPLES, o->seed, &out->ms, err));
    TRY_OUT(statistics_interval(k.traced, out->runs, RESAMPLES, o->seed, &out->traced, err));
out:
    free(k.outputs);
    free(k.plain);
    free(k.traced);
    free(k.outside);
    free(k.ratio);
    free(k.times);
    free(k.events);
    if (status != OK) timing_release(out);
    return status;
}

/* --- against the machine */

static double peak_of(double one, double all, int threads)
{
    return threads <= 1 ? one : fmin(one * threads, all);
}

void timing_judge(Timing *t, const Profile *m)
{
    int threads = t->piece > 0 ? 1 : t->threads; /* of one step */
    t->peaks = (Peaks){ peak_of(m->mac_f32_one, m->mac_f32_all, threads), peak_of(m->mac_int8_one, m->mac_int8_all, threads),
                        peak_of(m->byte_l2_one, m->byte_l2_all, threads), peak_of(m->byte_dram_one, m->byte_dram_all, threads) };
    for (int i = 0; i < t->row_count; i++) {
        TimingRow *r = &t->rows[i];
        double seconds = r->ms * 1e-3, mac_peak = is_int8(r->dtype) ? t->peaks.mac_int8 : t->peaks.mac_f32;
        r->intensity = r->bytes > 0 ? (double)r->cost.macs / (double)r->bytes : 0;
        r->macs_per_second = seconds > 0 ? (double)r->cost.macs / seconds : 0;
        r->bytes_per_second = seconds > 0 ? (double)r->bytes / seconds : 0;
        double byte_peak = r->bytes_per_second > t->peaks.byte_dram ? t->peaks.byte_l2 : t->peaks.byte_dram;
        double compute = mac_peak > 0 ? r->macs_per_second / mac_peak : 0;
        double memory = byte_peak > 0 ? r->bytes_per_second / byte_peak : 0;
        r->bound = strcmp(r->kernel, "view") == 0 ? BOUND_NOTHING
                   : fmax(compute, memory) < NEAR ? BOUND_OVERHEAD
                   : compute >= memory ? BOUND_COMPUTE
                                       : BOUND_MEMORY;
    }
}

void timing_release(Timing *t)
{
    session_free(t->session);
    free(t->rows);
    free(t->events);
    *t = (Timing){ 0 };
}
