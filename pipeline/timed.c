#include "pipeline/timed.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/comparison.h"

#define BUDGET 2.0          /* seconds for a run's networks */
#define BUDGET_ENERGY 10.0  /* the same where their energy can be measured */

static Status call(void *context, Err *err)
{
    Timed *t = context;
    Status status = session_run(t->session, t->inputs, t->outputs, err);
    for (int i = 0; i < session_graph(t->session)->output_count; i++) tensor_release(&t->outputs[i]);
    return status;
}

Status timed_init(Timed *t, Session *session, const Graph *g, const Tensor *inputs, int input_count, Err *err)
{
    Counts counts;
    *t = (Timed){ .session = session, .inputs = inputs };
    Shape *shapes = calloc((size_t)input_count + 1, sizeof *shapes);
    t->outputs = calloc((size_t)g->output_count + 1, sizeof *t->outputs);
    if (shapes == NULL || t->outputs == NULL) {
        free(shapes);
        return err_no_memory(err, "a measurement");
    }
    for (int i = 0; i < input_count; i++) shapes[i] = inputs[i].shape;
    Status status = counts_of(g, shapes, &counts, err);
    free(shapes);
    if (status != OK) return status;
    t->work = (Work){ .macs_float = (double)counts.macs_float, .macs_int8 = (double)counts.macs_int8,
                      .elementwise = (double)(counts.elementwise + counts.transcendental),
                      .bytes = (double)(counts.weight_bytes + counts.activation_bytes) };
    counts_release(&counts);
    return OK;
}

void timed_release(Timed *t)
{
    free(t->outputs);
    *t = (Timed){ 0 };
}

Contestant timed_contestant(Timed *t, const char *name, int64_t batch)
{
    return (Contestant){ .name = name, .context = t, .call = call, .batch = batch, .work = t->work };
}

/* ---- the networks of a run ---- */

typedef struct Entries {
    Session *sessions[COMPARE_MOST];
    Timed timed[COMPARE_MOST];
    Contestant contestants[COMPARE_MOST];
    int which[COMPARE_MOST], count;
} Entries;

static void note(ReportState *s, const char *text) { snprintf(s->latency_note, sizeof s->latency_note, "%.250s", text); }

/* Makes a network ready to be timed; what stands against it becomes its note. */
static Status enter(Entries *e, ReportState *s, const Model *m, const char *name, int index, const Gauge *q, Err *err)
{
    SessionOptions options = { .threads = q->threads, .plain = q->plain, .int8 = q->int8, .max_mem = q->max_mem, .log = q->log };
    Err why;
    if (s->latency_note[0] != '\0') return OK; /* it did not run on these inputs before */
    if (q->fidelity == NULL || e->count == COMPARE_MOST) {
        note(s, q->fidelity == NULL ? q->note : "more networks than are timed together");
        return OK;
    }
    if (session_new(m->graph, &options, &e->sessions[e->count], &why) != OK) {
        note(s, why.text);
        return OK;
    }
    int k = e->count++;
    e->which[k] = index;
    Status status = timed_init(&e->timed[k], e->sessions[k], m->graph, q->inputs, q->input_count, err);
    e->contestants[k] = timed_contestant(&e->timed[k], name, 1);
    return status;
}

/* Energy that is measured needs longer windows than time does. */
static double budget_of(const Gauge *q)
{
    Source best;
    Err ignored;
    if (q->measure.budget > 0) return q->measure.budget;
    bool open = source_open_best(&q->measure.source, &best, &ignored) == OK, measured = open && provenance_measured(best.provenance);
    if (open) source_close(&best);
    return measured ? BUDGET_ENERGY : BUDGET;
}

Status states_latency(ReportState *const *states, const Model *const *models, const char *const *names, int count, const Gauge *q,
                      Comparison *measured, Err *err)
{
    Status status = OK;
    Err why;
    Entries *e = calloc(1, sizeof *e);
    if (e == NULL) return err_no_memory(err, "the latency measurement");
    comparison_release(measured);
    for (int i = 0; i < count && status == OK; i++) {
        states[i]->compared = -1;
        if (i > 0 && e->count == 0) note(states[i], "the network as loaded cannot be timed: nothing to compare with");
        else status = enter(e, states[i], models[i], names[i], i, q, err);
    }
    if (status == OK && e->count > 0) {
        CompareOptions options = q->measure;
        options.threads = q->threads;
        options.seed = q->seed;
        options.log = q->log;
        options.stretch = true;
        options.budget = budget_of(q);
        options.memory_bytes = peak_memory();
        status = compare_networks(e->contestants, e->count, &options, measured, &why);
        for (int k = 0; status == OK && k < e->count; k++) report_state_compared(states[e->which[k]], measured, k);
        if (status != OK && !q->given && status != ERR_INTERRUPTED && status != ERR_MEMORY) {
            for (int k = 0; k < e->count; k++) note(states[e->which[k]], why.text);
            status = OK;
        } else if (status != OK) {
            err_set(err, status, "%s", why.text);
        }
    }
    for (int k = 0; k < e->count; k++) {
        timed_release(&e->timed[k]);
        session_free(e->sessions[k]);
    }
    free(e);
    return status;
}
