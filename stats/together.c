#include "stats/together.h"

#include <stdlib.h>

#include "base/bytes.h"

typedef struct Network {
    Session *session;
    int *feeds;       /* per feed of this network: index among the owner's */
    int feed_count, output_count;
    Tensor *inputs;   /* borrowed views */
    Tensor *outputs;  /* owned while a batch is at work */
    Tensor *rows;     /* views of the outputs */
} Network;

typedef struct Together {
    Network *networks;
    int count;
    const Tensor **outputs; /* rows of each network, for the callback */
    Tensor *inputs;         /* of the owner's feeds, owned while a batch is at work */
    int input_count;
    Tensor labels;
    bool want_labels, fixed;
    int64_t batch;
} Together;

Tensor tensor_rows(const Tensor *t, int64_t first, int64_t count)
{
    Tensor view = *t;
    size_t row = t->shape.rank > 0 && t->shape.dims[0] > 0 ? t->bytes / (size_t)t->shape.dims[0] : 0;
    view.buffer = NULL;
    view.data = t->data + row * (size_t)first;
    view.bytes = row * (size_t)count;
    view.shape.dims[0] = count;
    return view;
}

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
    n->rows = alloc_zeroed((size_t)n->output_count + 1, sizeof *n->rows);
    return n->feeds != NULL && n->inputs != NULL && n->outputs != NULL && n->rows != NULL ? OK : err_no_memory(err, "a network's inputs");
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

/* Whether a network takes batches of exactly this size. */
static bool batch_fixed(const Graph *g, int64_t batch)
{
    ValueId feeds[16];
    int count = graph_feeds(g, feeds, 16);
    for (int i = 0; i < count && i < 16; i++) {
        const Shape *s = &graph_value(g, feeds[i])->shape;
        if (s->rank > 0 && s->dims[0] == batch && batch > 1) return true;
    }
    return false;
}

static void release_batch(Together *t)
{
    for (int i = 0; i < t->input_count; i++) tensor_release(&t->inputs[i]);
    tensor_release(&t->labels);
    for (int k = 0; k < t->count; k++) {
        for (int i = 0; t->networks[k].outputs != NULL && i < t->networks[k].output_count; i++) tensor_release(&t->networks[k].outputs[i]);
    }
}

/* Runs one network on the batch read and points its rows at the samples from `skip` on. */
static Status run_network(Together *t, Network *n, int64_t ran, int64_t skip, Err *err)
{
    for (int i = 0; i < n->feed_count; i++) n->inputs[i] = t->inputs[n->feeds[i]];
    TRY(session_run(n->session, n->inputs, n->outputs, err));
    for (int i = 0; i < n->output_count; i++) {
        const Tensor *out = &n->outputs[i];
        n->rows[i] = *out;
        if (skip == 0) continue;
        const Graph *g = session_graph(n->session);
        if (out->shape.rank == 0 || out->shape.dims[0] != ran || dtype_bits(out->type) < 8)
            return err_set(err, ERR_UNSUPPORTED,
                           "output '%.*s' has no sample axis: the number of samples must be a multiple of the batch, %lld",
                           STR_ARG(graph_value(g, g->outputs[i])->name), (long long)ran);
        n->rows[i] = tensor_rows(out, skip, ran - skip);
    }
    return OK;
}

static Status run_batch(Together *t, Dataset *data, int64_t first, int64_t count, BatchFn fn, void *user, Err *err)
{
    bool whole = !dataset_batched(data);
    int64_t ran = t->fixed && count < t->batch && first >= t->batch - count ? t->batch : count, skip = ran - count;
    Status status = dataset_read(data, first - skip, ran, t->inputs, t->want_labels ? &t->labels : NULL, err);
    for (int k = 0; k < t->count && status == OK; k++) status = run_network(t, &t->networks[k], ran, skip, err);
    if (status == OK) {
        Tensor labels = t->labels;
        if (skip > 0 && t->want_labels) labels = tensor_rows(&t->labels, skip, count);
        Batch batch = { .first = first, .count = count, .ran = ran, .whole = whole, .outputs = t->outputs,
                        .labels = t->want_labels ? &labels : NULL };
        status = fn(user, &batch, err);
    }
    release_batch(t);
    return status;
}

static Status run_all(Together *t, Dataset *data, const TogetherOptions *options, BatchFn fn, void *user, Err *err)
{
    int64_t samples = dataset_samples(data);
    t->batch = dataset_batched(data) ? dataset_batch(data, options->batch) : samples;
    if (t->batch < 1) t->batch = 1;
    for (int k = 0; k < t->count; k++) t->fixed = t->fixed || batch_fixed(session_graph(t->networks[k].session), t->batch);
    Status status = OK;
    progress_begin(options->log, options->task, samples);
    for (int64_t first = 0; status == OK && first < samples; first += t->batch) {
        int64_t count = samples - first < t->batch ? samples - first : t->batch;
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
        free(t->networks[k].rows);
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
        t.outputs[k] = t.networks[k].rows;
    }
    status = run_all(&t, data, options, fn, user, err);
out:
    free(feeds);
    together_release(&t);
    return status;
}
