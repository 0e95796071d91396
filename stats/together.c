#include "stats/together.h"

#include <stdlib.h>

#include "base/bytes.h"

typedef struct Network {
    Session *session;
    int *feeds;       /* per feed of this network: index among the owner's */
    int feed_count, output_count;
    Tensor *inputs;   /* borrowed views */
    Tensor *outputs;  /* owned while a batch is at work */
} Network;

typedef struct Together {
    Network *networks;
    int count;
    const Tensor **outputs; /* of each network, for the callback */
    Tensor *inputs;         /* of the owner's feeds, owned while a batch is at work */
    int input_count;
    Tensor labels;
    bool want_labels;
} Together;

static int find_name(const Graph *owner, const ValueId *owner_feeds, int owner_count, Str name)
{
    for (int i = 0; i < owner_count; i++) {
        if (str_eq(graph_value(owner, owner_feeds[i])->name, name)) return i;
    }
    return -1;
}

static Status allocate(Network *n, Err *err)
{
    const Graph *g = session_graph(n->session);
    n->feed_count = graph_feeds(g, NULL, 0);
    n->output_count = g->output_count;
    n->feeds = alloc_zeroed((size_t)n->feed_count + 1, sizeof *n->feeds);
    n->inputs = alloc_zeroed((size_t)n->feed_count + 1, sizeof *n->inputs);
    n->outputs = alloc_zeroed((size_t)n->output_count + 1, sizeof *n->outputs);
    return n->feeds != NULL && n->inputs != NULL && n->outputs != NULL ? OK : err_no_memory(err, "a network's inputs");
}

/* Which of the owner's feeds serves each feed: all by name, or none of the names is known and all by position. */
static Status map_feeds(Network *n, const Graph *owner, const ValueId *owner_feeds, int owner_count, const ValueId *feeds, Err *err)
{
    const Graph *g = session_graph(n->session);
    int named = 0;
    for (int i = 0; i < n->feed_count; i++) {
        n->feeds[i] = find_name(owner, owner_feeds, owner_count, graph_value(g, feeds[i])->name);
        named += n->feeds[i] >= 0;
    }
    for (int i = 0; i < n->feed_count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        if (named == 0 && i < owner_count) n->feeds[i] = i;
        if (n->feeds[i] < 0) return err_set(err, ERR_DATA, "input '%.*s': the data has no array for it", STR_ARG(v->name));
        const Value *given = graph_value(owner, owner_feeds[n->feeds[i]]);
        if (v->type != given->type && v->type != DT_NONE && given->type != DT_NONE)
            return err_set(err, ERR_DATA, "input '%.*s' takes %s, the data gives %s for '%.*s'", STR_ARG(v->name), dtype_name(v->type),
                           dtype_name(given->type), STR_ARG(given->name));
    }
    return OK;
}

static Status prepare(Network *n, const Graph *owner, const ValueId *owner_feeds, int owner_count, Err *err)
{
    TRY(allocate(n, err));
    ValueId *feeds = alloc_zeroed((size_t)n->feed_count + 1, sizeof *feeds);
    if (feeds == NULL) return err_no_memory(err, "a network's inputs");
    graph_feeds(session_graph(n->session), feeds, n->feed_count);
    Status status = map_feeds(n, owner, owner_feeds, owner_count, feeds, err);
    free(feeds);
    return status;
}

static void release_batch(Together *t)
{
    for (int i = 0; i < t->input_count; i++) tensor_release(&t->inputs[i]);
    tensor_release(&t->labels);
    for (int k = 0; k < t->count; k++) {
        for (int i = 0; t->networks[k].outputs != NULL && i < t->networks[k].output_count; i++) tensor_release(&t->networks[k].outputs[i]);
    }
}

static Status run_batch(Together *t, Dataset *data, int64_t first, int64_t count, BatchFn fn, void *user, Err *err)
{
    Status status = dataset_read(data, first, count, t->inputs, t->want_labels ? &t->labels : NULL, err);
    for (int k = 0; k < t->count && status == OK; k++) {
        Network *n = &t->networks[k];
        for (int i = 0; i < n->feed_count; i++) n->inputs[i] = t->inputs[n->feeds[i]];
        status = session_run(n->session, n->inputs, n->outputs, err);
    }
    if (status == OK) {
        Batch batch = { .first = first, .count = count, .whole = !dataset_batched(data), .outputs = t->outputs,
                        .labels = t->want_labels ? &t->labels : NULL };
        status = fn(user, &batch, err);
    }
    release_batch(t);
    return status;
}

static Status run_all(Together *t, Dataset *data, const TogetherOptions *options, BatchFn fn, void *user, Err *err)
{
    int64_t samples = dataset_samples(data), step = dataset_batched(data) ? dataset_batch(data, options->batch) : samples;
    if (step < 1) step = 1;
    Status status = OK;
    progress_begin(options->log, options->task, samples);
    for (int64_t first = 0; status == OK && first < samples; first += step) {
        int64_t count = samples - first < step ? samples - first : step;
        status = run_batch(t, data, first, count, fn, user, err);
        if (status == OK && !progress_step(options->log, first + count)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    progress_end(options->log);
    return status;
}

static void together_release(Together *t)
{
    for (int k = 0; t->networks != NULL && k < t->count; k++) {
        free(t->networks[k].feeds);
        free(t->networks[k].inputs);
        free(t->networks[k].outputs);
    }
    free(t->networks);
    free(t->outputs);
    free(t->inputs);
}

Status run_together(Session *const *networks, int count, const Graph *owner, Dataset *data, const TogetherOptions *options, BatchFn fn,
                    void *user, Err *err)
{
    Together t = { .count = count, .want_labels = options->labels && dataset_has_labels(data) };
    t.input_count = graph_feeds(owner, NULL, 0);
    ValueId *feeds = alloc_zeroed((size_t)t.input_count + 1, sizeof *feeds);
    t.networks = alloc_zeroed((size_t)count + 1, sizeof *t.networks);
    t.outputs = alloc_zeroed((size_t)count + 1, sizeof *t.outputs);
    t.inputs = alloc_zeroed((size_t)t.input_count + 1, sizeof *t.inputs);
    Status status = OK;
    if (feeds == NULL || t.networks == NULL || t.outputs == NULL || t.inputs == NULL) TRY_OUT(err_no_memory(err, "the networks to run"));
    graph_feeds(owner, feeds, t.input_count);
    for (int k = 0; k < count; k++) {
        t.networks[k].session = networks[k];
        TRY_OUT(prepare(&t.networks[k], owner, feeds, t.input_count, err));
        t.outputs[k] = t.networks[k].outputs;
    }
    status = run_all(&t, data, options, fn, user, err);
out:
    free(feeds);
    together_release(&t);
    return status;
}
