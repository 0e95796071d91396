/* Subgraphs of control-flow nodes: each body that can be reached becomes a session of its own, nested in its parent's, with plans for
 * its own input shapes. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/session.h"
#include "graph/edit.h"

#define STACK_BYTES ((uint64_t)4 << 30) /* of what a Loop or Scan stacks up when no limit was given */

/* --- making them */

static Status copy_opsets(const Graph *root, Graph *g, Err *err)
{
    for (int i = 0; i < root->opset_count; i++) TRY(graph_set_opset(g, root->opsets[i].domain, root->opsets[i].version, err));
    return OK;
}

static bool append_input(Graph *g, ValueId v)
{
    ValueId *inputs = realloc(g->inputs, ((size_t)g->input_count + 1) * sizeof *inputs);
    if (inputs == NULL) return false;
    g->inputs = inputs;
    inputs[g->input_count++] = v;
    return true;
}

/* The body's outer values become constants or inputs. Declared shapes of inputs are forgotten: a carried one may change its shape. */
static Status close_body(Session *s, const Node *n, Graph *g, Body *body, Err *err)
{
    for (int i = 0; i < g->input_count; i++) {
        Value *input = graph_value(g, g->inputs[i]);
        input->shape = SHAPE_UNKNOWN;
        if ((input->flags & VALUE_INITIALIZER) == 0) continue;
        return err_set(err, ERR_UNSUPPORTED, "%.*s: input '%.*s' of a subgraph is an initializer too", STR_ARG(n->type),
                       STR_ARG(input->name));
    }
    body->own = g->input_count;
    body->captured = alloc_array((size_t)n->capture_count + 1, sizeof *body->captured);
    if (body->captured == NULL) return err_no_memory(err, "subgraph");
    for (ValueId v = 1; v <= g->value_count; v++) {
        if ((graph_value(g, v)->flags & VALUE_OUTER) == 0) continue;
        ValueId outer = graph_find_value(s->graph, graph_value(g, v)->name);
        int at = 0;
        while (at < n->capture_count && n->captures[at] != outer) at++;
        if (outer == 0 || at == n->capture_count) continue; /* nobody reads it any more */
        graph_value(g, v)->flags &= ~(unsigned)VALUE_OUTER;
        const Tensor *constant = session_constant(s, NULL, outer);
        if (constant != NULL) {
            TRY(session_align(s, outer, err)); /* once, for all bodies */
            Tensor shared = tensor_share(constant);
            TRY(graph_set_constant(g, v, &shared, err));
            continue;
        }
        graph_value(g, v)->type = graph_value(s->graph, outer)->type;
        graph_value(g, v)->shape = SHAPE_UNKNOWN;
        graph_value(g, v)->flags |= VALUE_INPUT;
        if (!append_input(g, v)) return err_no_memory(err, "subgraph");
        body->captured[g->input_count - 1 - body->own] = at;
    }
    return OK;
}

static Status add_body(Session *s, NodeId id, const Attr *attr, Err *err)
{
    const Node *n = graph_node(s->graph, id);
    Str label = node_label(s->graph, n);
    if (s->depth >= BODY_DEPTH)
        return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': subgraphs are nested deeper than %d", STR_ARG(n->type), STR_ARG(label),
                       BODY_DEPTH);
    Body *body = &s->bodies[s->body_count++];
    Graph *g;
    *body = (Body){ .node = id, .attr = attr->name };
    TRY(graph_clone(attr->graph, &g, err));
    g->parent = NULL;
    Status status = copy_opsets(s->graph, g, err);
    if (status == OK) status = close_body(s, n, g, body, err);
    if (status == OK && graph_reindex(g)) {
        status = graph_finish(g, err);
    } else if (status == OK) {
        status = err_no_memory(err, "subgraph");
    }
    if (status != OK) {
        graph_free(g);
        return status;
    }
    return session_make(g, &s->options, s->depth + 1, s->budget, &body->session, err);
}

/* The branch that a constant condition leaves out. */
static const char *dead_branch(const Session *s, const Node *n)
{
    if (!str_is(n->type, "If")) return "";
    const Tensor *condition = session_constant(s, NULL, node_input(n, 0));
    if (condition == NULL || tensor_count(condition) != 1) return "";
    return tensor_get_int(condition, 0) != 0 ? "else_branch" : "then_branch";
}

static bool is_control(const Node *n)
{
    return !n->removed && n->op != NULL && (n->op->flags & OP_CONTROL) != 0;
}

Status bodies_new(Session *s, Err *err)
{
    const Graph *g = s->graph;
    size_t count = 0;
    for (uint32_t i = 0; i < g->order_count; i++)
        if (is_control(graph_node(g, g->order[i]))) count += (size_t)graph_node(g, g->order[i])->attr_count;
    if (count == 0) return OK;
    s->bodies = alloc_zeroed(count, sizeof *s->bodies);
    if (s->bodies == NULL) return err_no_memory(err, "subgraphs");
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (!is_control(n)) continue;
        for (int a = 0; a < n->attr_count; a++)
            if (n->attrs[a].type == ATTR_GRAPH && n->attrs[a].graph != NULL && !str_is(n->attrs[a].name, dead_branch(s, n)))
                TRY(add_body(s, g->order[i], &n->attrs[a], err));
    }
    return OK;
}

void bodies_free(Session *s)
{
    for (int i = 0; i < s->body_count; i++) {
        session_free(s->bodies[i].session);
        free(s->bodies[i].captured);
    }
    free(s->bodies);
    s->bodies = NULL;
    s->body_count = 0;
}

/* --- running them */

static const Body *find_body(const Session *s, NodeId node, const char *attr)
{
    for (int i = 0; i < s->body_count; i++)
        if (s->bodies[i].node == node && str_is(s->bodies[i].attr, attr)) return &s->bodies[i];
    return NULL;
}

static Status run_body(OpBodies *bodies, const char *attr, const Tensor *in, Tensor *out, Err *err)
{
    const BodyRunner *r = (const BodyRunner *)(const void *)bodies;
    const Node *n = graph_node(r->session->graph, r->node);
    Str label = node_label(r->session->graph, n);
    const Body *body = find_body(r->session, r->node, attr);
    if (body == NULL) return err_set(err, ERR_DATA, "%.*s '%.*s': attribute '%s' is missing", STR_ARG(n->type), STR_ARG(label), attr);
    if (r->session->options.log != NULL && log_interrupted(r->session->options.log)) return err_set(err, ERR_INTERRUPTED, "interrupted");
    Work *work = body->session->work = r->session->work;
    session_trace(body->session, r->session->trace, r->session->trace_user);
    if (work->steps-- <= 0)
        return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': more than %lld steps in one run", STR_ARG(n->type), STR_ARG(label),
                       (long long)WORK_STEPS);
    TRY(work_take(work, r->session->graph, n, WORK_OF_STEP, err));
    Tensor *feeds = alloc_zeroed((size_t)body->session->feed_count + 1, sizeof *feeds);
    if (feeds == NULL) return err_no_memory(err, "subgraph");
    Status status = OK;
    for (int i = 0; i < body->session->feed_count && status == OK; i++) {
        const Tensor *from = i < body->own ? &in[i] : r->captures[body->captured[i - body->own]];
        if (from != NULL) feeds[i] = *from;
        else status = err_set(err, ERR_BUG, "%.*s '%.*s': a captured value is missing", STR_ARG(n->type), STR_ARG(label));
    }
    if (status == OK) status = session_run(body->session, feeds, out, err);
    free(feeds);
    return status;
}

BodyRunner body_runner(const Session *s, NodeId node, const Tensor *const *captures)
{
    bool stoppable = s->options.log != NULL && s->options.log->interrupted != NULL;
    return (BodyRunner){ .bodies = { .run = run_body, .max_steps = stoppable ? INT64_MAX : WORK_STEPS,
                                     .max_bytes = s->options.max_mem != 0 ? s->options.max_mem : STACK_BYTES },
                         .session = s, .node = node, .captures = captures };
}
