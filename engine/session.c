/* A session: a network made ready to run, and its plans by input shapes. */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/openmp.h"
#include "engine/integer_groups.h"
#include "engine/integer_means.h"
#include "engine/lanes.h"
#include "engine/patterns.h"
#include "engine/qoperators.h"
#include "engine/unfuse.h"
#include "engine/work.h"
#include "graph/edit.h"

#define NAMED_OPS 5                    /* unsupported operators named in one message */

int engine_set_threads(int threads)
{
    if (threads <= 0) threads = omp_get_num_procs();
    omp_set_num_threads(threads);
    return threads;
}

int node_opset(const Graph *g, const Node *n)
{
    while (g->parent != NULL) g = g->parent;
    return (int)graph_opset(g, n->domain);
}

/* --- making one */

/* A value that no operator here can read: a sequence, a map, an optional, strings. Names the first operator that touches it. */
static Status check_tensors(const Graph *g, Err *err)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int k = 0; k < n->input_count + n->output_count; k++) {
            ValueId id = k < n->input_count ? n->inputs[k] : n->outputs[k - n->input_count];
            const Value *v = graph_value(g, id);
            if (id == 0 || (v->type != DT_STRING && (v->flags & VALUE_TENSOR) != 0)) continue;
            Str label = node_label(g, n);
            return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': '%.*s' is %s, expected numbers", STR_ARG(n->type), STR_ARG(label),
                           STR_ARG(v->name), v->type == DT_STRING ? "made of strings" : "no tensor");
        }
    }
    return OK;
}

Status engine_supports(const Graph *g, Err *err)
{
    StrBuf text = { 0 };
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->op != NULL && n->op->forward != NULL) continue;
        Str label = node_label(g, n);
        if (count++ < NAMED_OPS)
            strbuf_printf(&text, "%s%.*s%s%.*s '%.*s'", count > 1 ? ", " : "", STR_ARG(n->domain), n->domain.len > 0 ? "." : "",
                          STR_ARG(n->type),
                          STR_ARG(label));
    }
    if (count == 0) return check_tensors(g, err);
    Status status = text.failed ? err_no_memory(err, "message")
                                : err_set(err, ERR_UNSUPPORTED, "operators that are not supported at opset %d: %s%s",
                                          (int)graph_opset(g, STR("")),
                                          text.data, count > NAMED_OPS ? " and more" : "");
    strbuf_release(&text);
    return status;
}

static bool has_groups(const Graph *g)
{
    for (uint32_t i = 0; i < g->order_count; i++)
        if (str_is(graph_node(g, g->order[i])->type, "DequantizeLinear")) return true;
    return false;
}

/* Integer groups and patterns become operators, but for what is watched; the main graph is kept as it was for when something else is. */
static Status make_groups(Session *s, const bool *watched, Err *err)
{
    int made;
    if (s->options.plain) return OK;
    if (s->depth == 0) TRY(graph_clone(s->graph, &s->source, err));
    TRY(patterns(s->graph, watched, &made, err));
    TRY(qoperators(s->graph, &made, err));
    if (!has_groups(s->graph)) return OK;
    TRY(integer_means(s->graph, watched, &made, err));
    return integer_groups(s->graph, watched, &made, err);
}

/* `watched`: by value, or NULL; takes g over. */
static Status make(Graph *g, const SessionOptions *options, int depth, const bool *watched, Budget *budget, Session **out, Err *err)
{
    Session *s = alloc_zeroed(1, sizeof *s);
    Status status;
    *out = NULL;
    if (s == NULL) {
        graph_free(g);
        return err_no_memory(err, "session");
    }
    s->graph = g;
    s->depth = depth;
    if (options != NULL) s->options = *options;
    s->budget = budget != NULL ? budget : alloc_zeroed(1, sizeof *s->budget);
    if (s->budget == NULL) {
        status = err_no_memory(err, "session");
        goto out;
    }
    if (budget == NULL) s->budget->limit = s->options.max_mem;
    engine_bind(s->graph);
    TRY_OUT(engine_supports(s->graph, err));
    if (!s->options.plain) TRY_OUT(unfuse(s->graph, err));
    TRY_OUT(make_groups(s, watched, err));
    TRY_OUT(session_fold_constants(s, err));
    size_t values = (size_t)s->graph->value_count + 1;
    s->feed_count = graph_feeds(s->graph, NULL, 0);
    s->feeds = alloc_array((size_t)s->feed_count + 1, sizeof *s->feeds);
    s->constants = alloc_zeroed(values, sizeof *s->constants);
    s->watched = alloc_zeroed(values, sizeof *s->watched);
    s->held = alloc_zeroed((size_t)s->feed_count + 1, sizeof *s->held);
    s->spare = alloc_zeroed((size_t)s->graph->output_count + 1, sizeof *s->spare);
    if (s->feeds == NULL || s->constants == NULL || s->watched == NULL || s->held == NULL || s->spare == NULL) {
        status = err_no_memory(err, "session");
        goto out;
    }
    graph_feeds(s->graph, s->feeds, s->feed_count);
    TRY_OUT(session_take_constants(s, err));
    TRY_OUT(device_new(s->budget, NULL, &s->device, err));
    TRY_OUT(bodies_new(s, err));
out:
    if (status != OK) session_free(s);
    else *out = s;
    return status;
}

Status session_make(Graph *g, const SessionOptions *options, int depth, Budget *budget, Session **out, Err *err)
{
    return make(g, options, depth, NULL, budget, out, err);
}

Status session_new(const Graph *g, const SessionOptions *options, Session **out, Err *err)
{
    Graph *copy;
    *out = NULL;
    int threads = engine_set_threads(options != NULL ? options->threads : 0);
    TRY(graph_clone(g, &copy, err));
    TRY(session_make(copy, options, 0, NULL, out, err));
    (*out)->threads = threads;
    return OK;
}

void session_drop_plans(Session *s)
{
    for (int i = 0; i < PLAN_CACHE; i++) {
        plan_free(s->plans[i]);
        s->plans[i] = NULL;
    }
}

void session_free(Session *s)
{
    if (s == NULL) return;
    lanes_free(s);
    session_drop_plans(s);
    bodies_free(s);
    device_free(s->device);
    for (ValueId v = 1; s->constants != NULL && v <= s->graph->value_count; v++) tensor_release(&s->constants[v]);
    free(s->constants);
    for (int i = 0; s->spare != NULL && i < s->graph->output_count; i++) tensor_release(&s->spare[i]);
    free(s->spare);
    free(s->held);
    free(s->watched);
    free(s->feeds);
    free(s->arena);
    if (s->depth == 0) free(s->budget);
    graph_free(s->graph);
    graph_free(s->source);
    free(s);
}

const Graph *session_graph(const Session *s)
{
    return s->graph;
}

size_t session_activation_bytes(const Session *s)
{
    return s->last_bytes;
}

int session_threads(const Session *s)
{
    return s->last_threads;
}

int64_t session_piece(const Session *s)
{
    return s->last_piece;
}

/* Makes the session anew with the groups that hide none of these values. */
static Status regroup(Session *s, const ValueId *values, int count, Err *err)
{
    Session *fresh = NULL;
    Graph *copy;
    bool *watched = alloc_zeroed((size_t)s->source->value_count + 1, sizeof *watched);
    if (watched == NULL) return err_no_memory(err, "watched values");
    for (int i = 0; i < count; i++) watched[values[i]] = true;
    Status status = graph_clone(s->source, &copy, err);
    if (status == OK) status = make(copy, &s->options, s->depth, watched, NULL, &fresh, err);
    free(watched);
    TRY(status);
    Session old = *s;
    *s = *fresh;
    s->threads = old.threads;
    *fresh = old;
    session_free(fresh);
    return OK;
}

Status session_observe(Session *s, const ValueId *values, int count, ObserveFn fn, void *user, Err *err)
{
    uint32_t most = s->source != NULL ? s->source->value_count : s->graph->value_count;
    for (int i = 0; i < count; i++)
        if (values[i] == 0 || values[i] > most) return err_set(err, ERR_BUG, "value %u to observe does not exist", values[i]);
    if (s->source != NULL) TRY(regroup(s, values, fn != NULL ? count : 0, err));
    session_drop_plans(s); /* what may be fused changes */
    memset(s->watched, 0, ((size_t)s->graph->value_count + 1) * sizeof *s->watched);
    for (int i = 0; fn != NULL && i < count; i++) s->watched[values[i]] = true;
    s->watch_count = fn != NULL ? count : 0;
    s->observe = fn;
    s->user = user;
    s->unordered = false;
    return OK;
}

void session_observe_unordered(Session *s)
{
    session_drop_plans(s);
    s->unordered = true;
}

void session_trace(Session *s, TraceFn fn, void *user)
{
    s->trace = fn;
    s->trace_user = user;
}

/* --- running */

static Status check_inputs(const Session *s, const Tensor *inputs, Err *err)
{
    for (int i = 0; i < s->feed_count; i++) {
        const Value *v = graph_value(s->graph, s->feeds[i]);
        const Tensor *t = &inputs[i];
        if (t->data == NULL) return err_set(err, ERR_DATA, "input '%.*s' is not given", STR_ARG(v->name));
        if (v->type != DT_NONE && t->type != v->type)
            return err_set(err, ERR_DATA, "input '%.*s' is %s, the network takes %s", STR_ARG(v->name), dtype_name(t->type),
                           dtype_name(v->type));
        bool fits = v->shape.rank < 0 || v->shape.rank == t->shape.rank;
        for (int k = 0; fits && k < v->shape.rank; k++) fits = v->shape.dims[k] < 0 || v->shape.dims[k] == t->shape.dims[k];
        if (fits) continue;
        char given[256], wanted[256];
        shape_print(&t->shape, given, sizeof given);
        graph_print_shape(s->graph, &v->shape, wanted, sizeof wanted);
        return err_set(err, ERR_DATA, "input '%.*s' has shape %s, the network takes %s", STR_ARG(v->name), given, wanted);
    }
    return OK;
}

/* Plans of bodies run with the threads of the node around them, and kernels have scratch memory for those they were made for. */
static bool plan_fits(const Session *s, const Plan *p, const Tensor *inputs)
{
    if (s->depth > 0 && p->threads != omp_get_max_threads()) return false;
    for (int i = 0; i < s->feed_count; i++)
        if (!shape_eq(&p->shapes[i], &inputs[i].shape)) return false;
    return true;
}

Status session_plan(Session *s, const Tensor *inputs, Plan **out, Err *err)
{
    int oldest = 0;
    s->tick++;
    for (int i = 0; i < PLAN_CACHE; i++) {
        if (s->plans[i] != NULL && plan_fits(s, s->plans[i], inputs)) {
            s->plans[i]->used = s->tick;
            *out = s->plans[i];
            return OK;
        }
        if (s->plans[oldest] != NULL && (s->plans[i] == NULL || s->plans[i]->used < s->plans[oldest]->used)) oldest = i;
    }
    Shape *shapes = alloc_array((size_t)s->feed_count + 1, sizeof *shapes);
    if (shapes == NULL) return err_no_memory(err, "plan");
    for (int i = 0; i < s->feed_count; i++) shapes[i] = inputs[i].shape;
    Plan *p = NULL;
    Status status = plan_new(s, shapes, &p, err);
    free(shapes);
    TRY(status);
    plan_free(s->plans[oldest]);
    s->plans[oldest] = p;
    p->used = s->tick;
    *out = p;
    return OK;
}

Status session_reserve(Session *s, const Plan *p, Err *err)
{
    if (p->arena_bytes <= s->arena_bytes && s->arena != NULL) return OK;
    size_t bytes = (p->arena_bytes + 63) / 64 * 64 + 64;
    free(s->arena);
    s->arena = NULL;
    budget_give(s->budget, s->arena_bytes);
    s->arena_bytes = 0;
    TRY(budget_take(s->budget, bytes, "activations", err));
    s->arena = aligned_alloc(64, bytes);
    if (s->arena == NULL) {
        budget_give(s->budget, bytes);
        return err_no_memory(err, "activations");
    }
    s->arena_bytes = bytes;
    return OK;
}

/* The inputs, aligned: references to be released. */
static Status take_inputs(const Session *s, const Tensor *inputs, Err *err)
{
    for (int i = 0; i < s->feed_count; i++) {
        s->held[i] = tensor_share(&inputs[i]);
        TRY(tensor_align(&s->held[i], err));
    }
    return OK;
}

#define SPARE_MOST ((size_t)1 << 24) /* bytes of an output that are kept for the next run */

Status session_output(Session *s, int i, DType type, const Shape *shape, Tensor *out, Err *err)
{
    Tensor *spare = &s->spare[i];
    bool free_again = spare->buffer != NULL && __atomic_load_n(&spare->buffer->refs, __ATOMIC_ACQUIRE) == 1;
    if (!free_again || spare->type != type || !shape_eq(&spare->shape, shape)) {
        tensor_release(spare);
        TRY(tensor_new(out, type, shape, err));
        if (s->depth == 0 && out->bytes <= SPARE_MOST) *spare = tensor_share(out);
        return OK;
    }
    *out = tensor_share(spare);
    return OK;
}

static Status run_whole(Session *s, const Tensor *inputs, Tensor *outputs, Err *err)
{
    Plan *p = NULL;
    TRY(session_plan(s, inputs, &p, err));
    if (s->depth == 0) engine_set_threads(p->single ? 1 : s->threads);
    TRY(session_reserve(s, p, err));
    s->last_bytes = p->arena_bytes;
    s->last_threads = p->single ? 1 : s->threads;
    s->last_piece = 0;
    bool stoppable = s->options.log != NULL && s->options.log->interrupted != NULL;
    Work work = { .limit = s->options.max_work, .steps = stoppable ? INT64_MAX : WORK_STEPS };
    if (s->depth == 0) s->work = &work;
    Status status = plan_execute(s, p, inputs, outputs, err);
    s->work = NULL;
    return status;
}

Status session_run(Session *s, const Tensor *inputs, Tensor *outputs, Err *err)
{
    int outputs_count = s->graph->output_count;
    int64_t piece = 0;
    memset(outputs, 0, (size_t)outputs_count * sizeof *outputs);
    TRY(check_inputs(s, inputs, err));
    Status status = lanes_piece(s, inputs, &piece, err);
    if (status == OK) status = take_inputs(s, inputs, err);
    if (status == OK) status = piece > 0 ? lanes_run(s, piece, s->held, outputs, err) : run_whole(s, s->held, outputs, err);
    for (int i = 0; i < s->feed_count; i++) tensor_release(&s->held[i]);
    for (int i = 0; status != OK && i < outputs_count; i++) tensor_release(&outputs[i]);
    if (s->depth == 0) engine_set_threads(s->threads); /* for what the caller computes */
    return status;
}
