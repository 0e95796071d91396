#include "stats/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/batches.h"
#include "stats/frontier.h"
#include "stats/walk_moments.h"
#include "stats/walk_plan.h"

typedef struct Walk {
    const Graph *original;
    Graph *compressed;
    Dataset *data;
    const WalkOptions *options;
    WalkFn fn;
    void *user;
    WalkPlan plan;
    Batches batches;
    Frontier *frontier;
    bool *same;     /* [value]: the compressed network's is the original's */
    bool *differs;  /* [value]: a constant, or what follows from constants, is another one in the compressed network */
    bool apart;     /* the part at hand is run twice, once for each network */
    WalkCost cost;
} Walk;

static size_t slot_of(const Walk *w, ValueId v, bool compressed)
{
    return compressed && !w->same[v] ? (size_t)w->plan.value_count + 1 + v : v;
}

/* What is not set aside for kept activations: for the network while it runs, for the moments while they are summed. */
static uint64_t share_of(const Walk *w)
{
    return w->options->max_mem - w->options->max_mem / 2;
}

/* --- what is kept */

static Status keep(Walk *w, size_t slot, int64_t batch, Tensor *t, Err *err)
{
    if (t->buffer != NULL) return frontier_put(w->frontier, slot, batch, t, err);
    Tensor copy;
    Status status = tensor_clone(t, &copy, err);
    tensor_release(t);
    return status == OK ? frontier_put(w->frontier, slot, batch, &copy, err) : status;
}

static bool altered(const Walk *w, ValueId v)
{
    const WalkAlter *a = w->options->alter;
    return a != NULL && a->wants(w->user, v);
}

/* The original's value in the form in which the compressed network reads it. */
static Status keep_altered(Walk *w, ValueId v, int64_t batch, const Tensor *t, Err *err)
{
    Tensor copy;
    TRY(tensor_clone(t, &copy, err));
    w->options->alter->apply(w->user, v, &copy);
    return frontier_put(w->frontier, slot_of(w, v, true), batch, &copy, err);
}

static Status keep_feeds(Walk *w, Err *err)
{
    int feeds = w->plan.feed_count;
    Tensor *inputs = alloc_zeroed((size_t)feeds + 1, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "the walk");
    Status status = OK;
    for (int64_t b = 0; b < w->batches.count && status == OK; b++) {
        status = dataset_read(w->data, batch_first(&w->batches, b), batch_size(&w->batches, b), inputs, NULL, err);
        for (int i = 0; i < feeds; i++) {
            ValueId v = w->plan.feeds[i];
            if (status == OK && w->plan.last[v] >= 0 && !w->same[v]) status = keep_altered(w, v, b, &inputs[i], err);
            if (status == OK && w->plan.last[v] >= 0) status = keep(w, v, b, &inputs[i], err);
            tensor_release(&inputs[i]);
        }
    }
    free(inputs);
    return status;
}

static void drop_done(Walk *w, int part)
{
    for (ValueId v = 1; v <= w->plan.value_count; v++) {
        if (w->plan.last[v] != part) continue;
        frontier_drop(w->frontier, v);
        frontier_drop(w->frontier, (size_t)w->plan.value_count + 1 + v);
    }
}

/* --- what differs */

static bool node_differs(const Walk *w, NodeId id)
{
    const Node *a = graph_node(w->original, id), *b = graph_node(w->compressed, id);
    if (a->input_count != b->input_count || a->attrs != b->attrs || a->attr_count != b->attr_count) return true;
    for (int i = 0; i < a->input_count; i++) {
        if (a->inputs[i] != b->inputs[i]) return true;
        if (a->inputs[i] != 0 && w->differs[a->inputs[i]]) return true;
    }
    return a->capture_count > 0; /* subgraphs of clones are copies */
}

/* Constants are compared by where they lie: clones share them until one is written. */
static void find_differing(Walk *w)
{
    const WalkPlan *p = &w->plan;
    for (ValueId v = 1; v <= p->value_count; v++) {
        const Tensor *a = graph_value(w->original, v)->tensor, *b = graph_value(w->compressed, v)->tensor;
        w->differs[v] = (a == NULL) != (b == NULL) || (a != NULL && a->data != b->data);
    }
    for (int i = 0; i < p->order_count; i++) {
        const Node *n = graph_node(w->original, p->order[i]);
        if (!p->fixed[p->order[i]]) continue;
        bool differs = node_differs(w, p->order[i]);
        for (int k = 0; k < n->output_count; k++)
            if (graph_value(w->original, n->outputs[k])->tensor == NULL) w->differs[n->outputs[k]] = differs;
    }
}

static bool part_differs(const Walk *w, const Segment *s)
{
    for (int i = 0; i < s->input_count; i++)
        if (!w->same[s->inputs[i]]) return true;
    for (int i = 0; i < s->node_count; i++)
        if (node_differs(w, s->nodes[i])) return true;
    return false;
}

/* --- running a part */

static Status run_batch(Walk *w, Session *session, const Segment *s, bool compressed, int64_t batch, Tensor *in, Tensor *out, Err *err)
{
    Status status = OK;
    for (int i = 0; i < s->input_count && status == OK; i++)
        status = frontier_get(w->frontier, slot_of(w, s->inputs[i], compressed), batch, &in[i], err);
    if (status == OK) status = session_run(session, in, out, err);
    for (int i = 0; i < s->input_count; i++) tensor_release(&in[i]);
    for (int i = 0; i < s->output_count && status == OK; i++) {
        ValueId v = s->outputs[i];
        if (compressed && altered(w, v)) w->options->alter->apply(w->user, v, &out[i]);
        if (!compressed && !w->apart && altered(w, v)) status = keep_altered(w, v, batch, &out[i], err);
        if (status == OK) status = keep(w, slot_of(w, v, compressed), batch, &out[i], err);
    }
    for (int i = 0; i < s->output_count; i++) tensor_release(&out[i]);
    w->cost.runs++;
    return status;
}

static Status run_network(Walk *w, const Segment *s, bool compressed, Err *err)
{
    const Graph *g = compressed ? w->compressed : w->original;
    SessionOptions options = { .threads = w->options->threads, .max_mem = share_of(w), .log = w->options->log };
    Session *session = NULL;
    Tensor *in = alloc_zeroed((size_t)s->input_count + 1, sizeof *in), *out = alloc_zeroed((size_t)s->output_count + 1, sizeof *out);
    DType *types = alloc_zeroed((size_t)s->input_count + 1, sizeof *types);
    Status status = OK;
    if (in == NULL || out == NULL || types == NULL) {
        status = err_no_memory(err, "the walk");
        goto out;
    }
    for (int i = 0; i < s->input_count; i++) {
        TRY_OUT(frontier_get(w->frontier, slot_of(w, s->inputs[i], compressed), 0, &in[0], err));
        types[i] = in[0].type;
        tensor_release(&in[0]);
    }
    TRY_OUT(segment_open(g, s, w->plan.fixed, types, &options, &session, err));
    for (int64_t b = 0; b < w->batches.count; b++) {
        TRY_OUT(run_batch(w, session, s, compressed, b, in, out, err));
        if (log_interrupted(w->options->log)) {
            status = err_set(err, ERR_INTERRUPTED, "interrupted");
            goto out;
        }
    }
out:
    session_free(session);
    free(in);
    free(out);
    free(types);
    return status;
}

static Status run_part(Walk *w, int part, Err *err)
{
    Segment s;
    TRY(walk_plan_part(w->original, &w->plan, part, &s, err));
    Status status = OK;
    if (s.output_count > 0) {
        find_differing(w);
        bool differs = part_differs(w, &s);
        w->apart = differs;
        for (int i = 0; i < s.output_count; i++) w->same[s.outputs[i]] = !differs && !altered(w, s.outputs[i]);
        status = run_network(w, &s, false, err);
        if (status == OK && differs) status = run_network(w, &s, true, err);
        w->cost.segments++;
    }
    walk_part_release(&s);
    return status;
}

/* --- stopping at a layer */

static Status read_pair(Walk *w, ValueId v, int64_t batch, bool pair, Tensor *original, Tensor *compressed, Err *err)
{
    TRY(frontier_get(w->frontier, slot_of(w, v, true), batch, compressed, err));
    return pair ? frontier_get(w->frontier, slot_of(w, v, false), batch, original, err) : OK;
}

static Status gather_batch(Walk *w, const WalkStop *stop, int index, int64_t batch, WalkMoments *m, Err *err)
{
    Tensor t[4] = { { 0 } };
    const WalkOptions *o = w->options;
    WalkInputs in = { .original = &t[0], .compressed = &t[1], .shortcut = &t[2], .shortcut_compressed = &t[3],
                      .first = batch_first(&w->batches, batch), .samples = dataset_batched(w->data) ? batch_size(&w->batches, batch) : 1,
                      .seed = o->seed, .layer = index, .threads = o->threads,
                      .live = o->live != NULL && live_spans(o->live, w->original, stop->form.layer.input) ? o->live : NULL };
    int64_t samples = dataset_batched(w->data) ? w->batches.samples : 1;
    in.most = o->positions > 0 ? (o->positions + samples - 1) / samples : 0;
    Status status = read_pair(w, stop->form.layer.input, batch, m->pair, &t[0], &t[1], err);
    if (status == OK && m->shifted) status = read_pair(w, stop->shortcut, batch, true, &t[2], &t[3], err);
    if (status == OK) status = walk_moments_add(m, w->original, &in, err);
    for (int i = 0; i < 4; i++) tensor_release(&t[i]);
    return status;
}

static Status check_size(const Walk *w, const WalkStop *stop, bool pair, bool shifted, Err *err)
{
    uint64_t bytes, limit = share_of(w);
    if (walk_moments_bytes(&stop->form, pair, shifted, &bytes) && (limit == 0 || bytes <= limit)) return OK;
    return err_set(err, ERR_MEMORY, "layer '%.*s': the moments of its %lld inputs need %llu bytes; --max-mem leaves %llu for them",
                   STR_ARG(stop->form.layer.name), (long long)stop->form.width, (unsigned long long)bytes, (unsigned long long)limit);
}

static Status stop_at(Walk *w, int index, Err *err)
{
    WalkStop *stop = &w->plan.stops[index];
    WalkMoments m = { 0 };
    bool pair = !w->same[stop->form.layer.input], shifted = stop->shortcut != 0 && !w->same[stop->shortcut];
    Status status = OK;
    TRY(check_size(w, stop, pair, shifted, err));
    bool single = w->options->single && stop->form.width >= SINGLE_FROM;
    TRY(walk_moments_new(&m, &stop->form, pair, shifted, single, err));
    for (int64_t b = 0; b < w->batches.count; b++) TRY_OUT(gather_batch(w, stop, index, b, &m, err));
    walk_moments_finish(&m);
    LayerForm form = stop->form;
    const Node *node = graph_node(w->compressed, form.layer.node);
    form.layer.bias = node->op != NULL && node->op->bias_input >= 0 ? node_input(node, node->op->bias_input) : 0;
    WalkLayer layer = { .form = &form, .index = index, .layers = w->plan.stop_count, .count = m.count, .square = m.square,
                        .cross = pair ? m.cross : m.square, .sum = m.sum, .sum_original = pair ? m.sum_original : m.sum,
                        .shift = m.shift, .sum_shift = m.sum_shift, .same_input = !pair };
    TRY_OUT(w->fn(w->user, &layer, err));
    if (w->compressed->node_count != w->plan.node_count)
        status = err_set(err, ERR_BUG, "layer '%.*s': nodes were added during the walk", STR_ARG(form.layer.name));
out:
    walk_moments_release(&m);
    return status;
}

/* --- */

static Status give_outputs(Walk *w, Err *err)
{
    for (int i = 0; w->options->output != NULL && i < w->original->output_count; i++) {
        ValueId v = w->original->outputs[i];
        if (w->plan.constant[v]) continue;
        for (int64_t b = 0; b < w->batches.count; b++) {
            Tensor original = { 0 }, compressed = { 0 };
            Status status = read_pair(w, v, b, true, &original, &compressed, err);
            if (status == OK)
                status = w->options->output(w->user, i, batch_first(&w->batches, b), batch_size(&w->batches, b), &original, &compressed,
                                            err);
            tensor_release(&original);
            tensor_release(&compressed);
            TRY(status);
        }
    }
    return OK;
}

static Status walk_all(Walk *w, Err *err)
{
    Status status = OK;
    progress_begin(w->options->log, "layers", w->plan.parts);
    for (int part = 0; part < w->plan.parts && status == OK; part++) {
        if (part > 0) status = stop_at(w, part - 1, err);
        if (status == OK) status = run_part(w, part, err);
        drop_done(w, part);
        if (status == OK && !progress_step(w->options->log, part + 1)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    progress_end(w->options->log);
    return status == OK ? give_outputs(w, err) : status;
}

static Status check_pair(const Graph *a, const Graph *b, Err *err)
{
    bool same = a->node_count == b->node_count && a->value_count <= b->value_count;
    for (NodeId n = 1; same && n <= a->node_count; n++) {
        const Node *x = graph_node(a, n), *y = graph_node(b, n);
        same = x->removed == y->removed && (x->removed || str_eq(x->type, y->type));
    }
    return same ? OK : err_set(err, ERR_BUG, "the walk's networks do not have the same nodes");
}

Status walk_layers(const Graph *original, Graph *compressed, Dataset *data, const WalkOptions *options, WalkFn fn, void *user,
                   WalkCost *cost, Err *err)
{
    Walk w = { .original = original, .compressed = compressed, .data = data, .options = options, .fn = fn, .user = user };
    Status status;
    TRY(check_pair(original, compressed, err));
    TRY(batches_plan(data, options->batch, options->samples, &w.batches, err));
    TRY(walk_plan_make(original, options, user, &w.plan, err));
    size_t values = (size_t)w.plan.value_count + 1;
    w.same = alloc_zeroed(values, 1);
    w.differs = alloc_zeroed(values, 1);
    if (w.same == NULL || w.differs == NULL) {
        status = err_no_memory(err, "the walk");
        goto out;
    }
    for (int i = 0; i < w.plan.feed_count; i++) w.same[w.plan.feeds[i]] = !altered(&w, w.plan.feeds[i]);
    TRY_OUT(frontier_new(2 * values, w.batches.count, options->max_mem / 2, &w.frontier, err));
    TRY_OUT(keep_feeds(&w, err));
    TRY_OUT(walk_all(&w, err));
    w.cost.peak = frontier_peak(w.frontier);
    w.cost.spilled = frontier_spilled(w.frontier);
    if (cost != NULL) *cost = w.cost;
out:
    frontier_free(w.frontier);
    walk_plan_release(&w.plan);
    free(w.same);
    free(w.differs);
    return status;
}
