/* From a graph and concrete input shapes to steps: shape arithmetic folded, kernels chosen, orders of elements changed where needed,
 * memory assigned. */
#include "engine/plan_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/openmp.h"
#include "engine/team.h"
#include "graph/edit.h"

#define PACKS_SHARED ((size_t)1 << 22) /* bytes of constants, for threads to pay while they are packed; else they start when all is ready */

/* --- nodes */

/* The shape operators that give another name to the same bytes. */
static bool is_view(const Node *n)
{
    static const char *const views[] = { "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity" };
    if (n->domain.len != 0) return false;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (str_is(n->type, views[i])) return true;
    return false;
}

static Status add_view(Builder *b, NodeId id)
{
    Plan *p = b->plan;
    const Node *n = graph_node(b->session->graph, id);
    int from;
    TRY(slot_want(b, n->inputs[0], NULL, &from));
    Step *step = step_add(b, id, 1, 1);
    if (step == NULL) return err_no_memory(b->err, "plan");
    int at = (int)p->step_count - 1;
    int to;
    TRY(slot_make(b, n->outputs[0], NULL, at, &to));
    step->alias = true;
    step->in[0] = from;
    step->out[0] = to;
    p->slots[to].kind = SLOT_ALIAS;
    p->slots[to].alias = from;
    slot_use(p, from, at);
    return OK;
}

/* Identity, and Pad by nothing. */
static bool hands_on(const Builder *b, const Node *n)
{
    if (n->domain.len != 0 || n->inputs[0] == 0 || n->output_count != 1) return false;
    if (str_is(n->type, "Identity")) return true;
    if (!str_is(n->type, "Pad")) return false;
    int64_t count = 0;
    const int64_t *list = node_ints(n, "pads", &count);
    const Tensor *pads = node_input(n, 1) != 0 ? session_constant(b->session, b->plan, n->inputs[1]) : NULL;
    if (pads == NULL && (list == NULL || node_input(n, 1) != 0)) return false;
    if (pads != NULL) count = tensor_count(pads);
    for (int64_t i = 0; i < count; i++)
        if ((pads != NULL ? tensor_get_int(pads, i) : list[i]) != 0) return false;
    return true;
}

/* A Transpose moves nothing: the same elements in another order, which the readers take as it is or have changed; and so what hands its
 * operand on as it is. *done: it was one. */
static Status add_transpose(Builder *b, NodeId id, bool *done)
{
    Plan *p = b->plan;
    const Node *n = graph_node(b->session->graph, id);
    *done = false;
    bool moves = node_is(n, "Transpose") && n->inputs[0] != 0;
    if (b->session->options.plain || (!moves && !hands_on(b, n))) return OK;
    const TypeInfo *x = &p->types[n->inputs[0]], *y = &p->types[n->outputs[0]];
    if (!moves && (x->type != y->type || x->type == DT_NONE || dtype_bits(x->type) < 1)) return OK;
    int64_t perm[MAX_RANK], count = 0;
    const int64_t *given = node_ints(n, "perm", &count);
    bool seen[MAX_RANK] = { false };
    int rank = x->shape.rank;
    if (!shape_known(&x->shape) || !shape_known(&y->shape) || (given != NULL && count != rank) || p->slot_of[n->inputs[0]] < 0) return OK;
    for (int i = 0; i < rank; i++) {
        perm[i] = !moves ? i : given != NULL ? given[i] : rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= rank || seen[perm[i]]) return OK;
        seen[perm[i]] = true;
    }
    Layout *turned = NULL;
    int from = p->slot_of[n->inputs[0]];
    Status status = moves ? layout_transpose(x, p->slots[from].layout, perm, &turned, b->err) : OK;
    if (status == ERR_UNSUPPORTED) return OK;
    TRY(status);
    Step *step = step_add(b, id, 1, 1);
    if (step == NULL) {
        free(turned);
        return err_no_memory(b->err, "plan");
    }
    step->owned = turned;
    step->alias = true;
    step->in[0] = from;
    int at = (int)p->step_count - 1;
    TRY(slot_make(b, n->outputs[0], moves ? turned : p->slots[from].layout, at, &p->steps[at].out[0]));
    Slot *made = &p->slots[p->steps[at].out[0]];
    made->kind = SLOT_ALIAS;
    made->alias = from;
    slot_use(p, from, at);
    *done = true;
    return OK;
}

/* A view whose input and output have the same, known number of bytes. */
static bool can_view(const Plan *p, const Node *n)
{
    if (!is_view(n) || n->inputs[0] == 0 || n->output_count != 1) return false;
    const TypeInfo *x = &p->types[n->inputs[0]], *y = &p->types[n->outputs[0]];
    int64_t in, out;
    return shape_known(&x->shape) && shape_known(&y->shape) && x->type == y->type && x->type != DT_NONE && dtype_bits(x->type) > 0 &&
           shape_count(&x->shape, &in) && shape_count(&y->shape, &out) && in == out;
}

static bool site_init(const Builder *b, const Node *n, KernelSite *site)
{
    const Session *s = b->session;
    if (n->input_count > KERNEL_OPERANDS || n->output_count > KERNEL_OPERANDS) return false;
    *site = (KernelSite){ .graph = s->graph, .node = n, .opset = node_opset(s->graph, n), .device = s->device, .int8 = s->options.int8,
                          .input_count = n->input_count, .output_count = n->output_count, .err = b->err };
    for (int i = 0; i < n->input_count; i++) {
        ValueId v = site->value[i] = n->inputs[i];
        if (v == 0) continue;
        site->in[i] = b->plan->types[v];
        site->constant[i] = session_constant(s, b->plan, v);
        if (b->plan->slot_of[v] >= 0) site->given[i] = b->plan->slots[b->plan->slot_of[v]].layout;
        if (!shape_known(&site->in[i].shape)) return false;
    }
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == 0) continue;
        site->out[i] = b->plan->types[n->outputs[i]];
        if (!shape_known(&site->out[i].shape)) return false;
    }
    site->made = site->out[0].type;
    return true;
}

/* The value that the site's last node makes. */
static ValueId site_output(const KernelSite *site)
{
    return site->follower_count > 0 ? site->follower[site->follower_count - 1]->outputs[0] : site->node->outputs[0];
}

static Status add_node(Builder *b, NodeId id);
static Status add_wanted(Builder *b, NodeId id);

#define HOISTS 8 /* nodes behind one another */

/* Makes a value now that its maker's place in the order would make later. False: not possible. */
static bool hoist(Builder *b, ValueId v, int depth)
{
    const Session *s = b->session;
    if (b->plan->slot_of[v] >= 0 || session_constant(s, b->plan, v) != NULL) return (b->failed = slot_constant(b, v)) == OK;
    NodeId id = graph_value(s->graph, v)->producer;
    const Node *n = id != 0 ? graph_node(s->graph, id) : NULL;
    if (n == NULL || depth == HOISTS || b->fused[id] || n->capture_count > 0) return false;
    if (n->op == NULL || (n->op->flags & OP_CONTROL) != 0) return false;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != 0 && !hoist(b, n->inputs[i], depth + 1)) /* it may have been made along with its input */
            return b->failed == OK && b->plan->slot_of[v] >= 0;
    b->failed = add_node(b, id);
    if (b->failed == OK) b->failed = add_wanted(b, id);
    if (b->failed != OK) return false;
    b->fused[id] = true; /* not again */
    b->failed = slot_constant(b, v); /* the node may have been folded */
    return b->failed == OK && b->plan->slot_of[v] >= 0;
}

/* The operand of a follower that is neither the value between nor a constant known to the kernel; 0: none. */
static ValueId extra_operand(const Builder *b, const Kernel *kernel, const Node *next, ValueId between)
{
    ValueId extra = 0;
    for (int i = 0; i < next->input_count; i++) {
        const Tensor *t = next->inputs[i] != 0 ? graph_value(b->session->graph, next->inputs[i])->tensor : NULL;
        bool known = t != NULL && (!kernel->reshapes || tensor_count(t) == 1);
        if (next->inputs[i] != between && next->inputs[i] != 0 && !known) extra = next->inputs[i];
    }
    return extra;
}

/* Lets the kernel take on the nodes behind, as long as nobody else wants what lies between. */
static void fuse_followers(Builder *b, const Kernel *kernel, KernelSite *site)
{
    const Session *s = b->session;
    while (kernel->fuse != NULL && site->follower_count < KERNEL_FOLLOWERS) {
        ValueId between = site_output(site); /* hoisting may move the tables: nothing of them is held */
        NodeId next_id = s->watched[between] ? 0 : graph_sole_reader(s->graph, between);
        if (next_id == 0) return;
        const Node *next = graph_node(s->graph, next_id);
        if (next->output_count != 1 || next->op == NULL || !kernel->fuse(site, next)) return;
        const TypeInfo *made = &b->plan->types[next->outputs[0]];
        ValueId extra = extra_operand(b, kernel, next, between);
        if (kernel->reshapes ? !shape_known(&made->shape) : !shape_eq(&made->shape, &site->out[0].shape)) return;
        if (extra != 0) {
            if (!hoist(b, extra, 0)) return;
            const TypeInfo *other = &b->plan->types[extra];
            if (b->plan->slot_of[extra] < 0 || site->input_count == KERNEL_OPERANDS) return; /* made later than this node */
            if (other->type != made->type || (kernel->reshapes ? !shape_known(&other->shape) : !shape_eq(&other->shape, &made->shape)))
                return;
            int at = site->input_count++;
            site->value[at] = extra;
            site->in[at] = *other;
            site->given[at] = b->plan->slots[b->plan->slot_of[extra]].layout;
        }
        site->follower[site->follower_count++] = next;
        site->out[0] = b->plan->types[next->outputs[0]];
        b->fused[next_id] = true;
    }
}

static Status add_kernel(Builder *b, NodeId id, const Kernel *kernel, KernelSite *site, bool *done)
{
    Plan *p = b->plan;
    void *state = NULL;
    *done = false;
    b->fused[id] = true; /* nothing that comes of it may be hoisted */
    fuse_followers(b, kernel, site);
    b->fused[id] = false;
    Status status = kernel->prepare(site, &state);
    if (status == ERR_UNSUPPORTED) { /* the library has no such primitive: each node by itself */
        for (int i = 0; i < site->follower_count; i++)
            for (NodeId n = 1; n <= b->session->graph->node_count; n++)
                if (graph_node(b->session->graph, n) == site->follower[i]) b->fused[n] = false;
        return OK;
    }
    TRY(status);
    int in[KERNEL_OPERANDS];
    for (int i = 0; i < site->input_count && status == OK; i++) {
        in[i] = -1;
        if (site->value[i] != 0 && !site->unused[i]) status = slot_want(b, site->value[i], site->take[i], &in[i]);
    }
    Step *step = status == OK ? step_add(b, id, site->input_count, site->output_count) : NULL;
    if (step == NULL) {
        kernel->release(state);
        return status != OK ? status : err_no_memory(b->err, "plan");
    }
    step->kernel = kernel;
    step->state = state;
    int at = (int)p->step_count - 1;
    for (int i = 0; i < site->input_count; i++) {
        step->in[i] = in[i];
        if (in[i] >= 0) slot_use(p, in[i], at);
    }
    for (int i = 0; i < site->output_count; i++) {
        ValueId v = i == 0 ? site_output(site) : site->node->outputs[i];
        if (v != 0) TRY(slot_make(b, v, site->make[i], at, &step->out[i]));
    }
    *done = true;
    return OK;
}

static Status add_plain(Builder *b, NodeId id)
{
    Plan *p = b->plan;
    const Session *s = b->session;
    const Node *n = graph_node(s->graph, id);
    int count = n->input_count + n->capture_count;
    int *in = alloc_array((size_t)count + 1, sizeof *in);
    if (in == NULL) return err_no_memory(b->err, "plan");
    Status status = OK;
    for (int i = 0; i < count && status == OK; i++) {
        ValueId v = i < n->input_count ? n->inputs[i] : n->captures[i - n->input_count];
        in[i] = -1;
        if (v != 0) status = slot_want(b, v, NULL, &in[i]);
    }
    Step *step = status == OK ? step_add(b, id, count, n->output_count) : NULL;
    if (step == NULL) {
        free(in);
        return status != OK ? status : err_no_memory(b->err, "plan");
    }
    int at = (int)p->step_count - 1;
    for (int i = 0; i < count; i++) {
        step->in[i] = in[i];
        if (in[i] >= 0) slot_use(p, in[i], at);
    }
    free(in);
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != 0) TRY(slot_make(b, n->outputs[i], NULL, at, &step->out[i]));
    return OK;
}

/* Evaluates a node whose inputs are constant at these shapes, or which only asks for a shape. */
static Status fold_node(Builder *b, NodeId id, bool *folded)
{
    Session *s = b->session;
    Plan *p = b->plan;
    const Node *n = graph_node(s->graph, id);
    *folded = false;
    if (n->op == NULL || n->op->forward == NULL || (n->op->flags & (OP_RANDOM | OP_CONTROL)) != 0) return OK;
    if (n->input_count == 0 || n->input_count > KERNEL_OPERANDS || n->output_count != 1 || n->outputs[0] == 0) return OK;
    bool asks_shape = n->domain.len == 0 && (str_is(n->type, "Shape") || str_is(n->type, "Size"));
    const Tensor *in[KERNEL_OPERANDS];
    TypeInfo types[KERNEL_OPERANDS];
    uint64_t nothing[MAX_INTS] = { 0 }; /* inference looks into small integers, whatever is asked of them */
    Tensor stand_in = { .data = (uint8_t *)nothing };
    for (int i = 0; i < n->input_count; i++) {
        ValueId v = n->inputs[i];
        in[i] = session_constant(s, p, v);
        types[i] = v == 0 ? (TypeInfo){ DT_NONE, SHAPE_UNKNOWN } : in[i] == NULL ? p->types[v] : (TypeInfo){ in[i]->type, in[i]->shape };
        if (v == 0 || in[i] != NULL) continue;
        if (!asks_shape || p->types[v].type == DT_NONE || !shape_known(&p->types[v].shape)) return OK;
        stand_in.type = p->types[v].type;
        stand_in.shape = p->types[v].shape;
        in[i] = &stand_in;
    }
    int64_t count;
    const TypeInfo *t = &p->types[n->outputs[0]];
    if (!shape_known(&t->shape) || !shape_count(&t->shape, &count) || count > 1 << 16) return OK;
    uint64_t operations = work_of_node(s->graph, n, types, t);
    if (operations > b->work) return OK;
    b->work -= operations;
    for (int i = 0; i < n->input_count && !asks_shape; i++) TRY(session_align(s, n->inputs[i], b->err));
    TRY(node_forward(s->graph, id, in, &p->constants[n->outputs[0]], (const bool[]){ true }, NULL, b->err));
    *folded = true;
    return OK;
}

/* --- the plan */

static Status add_given(Builder *b)
{
    const Session *s = b->session;
    for (int i = 0; i < s->feed_count; i++)
        if (slot_add(b, s->feeds[i], SLOT_INPUT, NULL, 0) < 0) return err_no_memory(b->err, "plan");
    return OK;
}

static Status add_node(Builder *b, NodeId id)
{
    Session *s = b->session;
    const Node *n = graph_node(s->graph, id);
    bool done = true;
    for (int i = 0; i < n->output_count; i++) done = done && (n->outputs[i] == 0 || s->constants[n->outputs[i]].data != NULL);
    if (done || b->fused[id]) return OK;
    TRY(fold_node(b, id, &done));
    if (done) return OK;
    for (int i = 0; i < n->input_count; i++) TRY(slot_constant(b, n->inputs[i]));
    for (int i = 0; i < n->capture_count; i++) TRY(slot_constant(b, n->captures[i]));
    TRY(add_transpose(b, id, &done));
    if (done) return OK;
    if (can_view(b->plan, n)) return add_view(b, id);
    KernelSite site;
    const Kernel *kernel = NULL;
    while (!s->options.plain && site_init(b, n, &site) && (kernel = kernel_find(&site, kernel)) != NULL) {
        for (int i = 0; i < n->input_count && !kernel_packs(kernel); i++) TRY(session_align(s, n->inputs[i], b->err));
        TRY(add_kernel(b, id, kernel, &site, &done));
        for (int i = 0; i < n->input_count && done; i++)
            if (site.unused[i] && site.constant[i] != NULL) session_forget(site.constant[i]);
        if (done) return OK;
    }
    return add_plain(b, id);
}

/* Values somebody outside looks at: row-major unless any order will do, and graph outputs until the end. */
static Status add_wanted(Builder *b, NodeId id)
{
    const Node *n = graph_node(b->session->graph, id);
    for (int i = 0; i < n->output_count; i++) {
        ValueId v = n->outputs[i];
        int slot = v != 0 && b->session->watched[v] ? b->plan->slot_of[v] : -1;
        if (slot >= 0 && !slot_shown(b->session, &b->plan->slots[slot])) TRY(slot_want(b, v, NULL, &slot));
    }
    return OK;
}

static Status add_outputs(Builder *b)
{
    const Graph *g = b->session->graph;
    for (int i = 0; i < g->output_count; i++) {
        int slot;
        TRY(slot_constant(b, g->outputs[i]));
        TRY(slot_want(b, g->outputs[i], NULL, &slot));
    }
    for (int i = 0; i < g->output_count; i++) slot_use(b->plan, slot_find(b->plan, g->outputs[i], NULL), (int)b->plan->step_count);
    return OK;
}

static Status build(Builder *b)
{
    const Graph *g = b->session->graph;
    TRY(add_given(b));
    for (uint32_t i = 0; i < g->order_count; i++) {
        TRY(add_node(b, g->order[i]));
        TRY(add_wanted(b, g->order[i]));
        TRY(b->failed);
    }
    TRY(add_outputs(b));
    TRY(session_align_read(b->session, b->plan, b->err));
    TRY(plan_assign_memory(b->plan, b->err));
    return OK;
}

/* For the operands of one plain forward at a time. */
static Status make_room(Plan *p, Err *err)
{
    size_t in = 1, out = 1;
    for (size_t i = 0; i < p->step_count; i++) {
        if ((size_t)p->steps[i].in_count > in) in = (size_t)p->steps[i].in_count;
        if ((size_t)p->steps[i].out_count > out) out = (size_t)p->steps[i].out_count;
    }
    p->call_in = alloc_array(in, sizeof *p->call_in);
    p->call_out = alloc_array(out, sizeof *p->call_out);
    p->call_wanted = alloc_array(out, sizeof *p->call_wanted);
    return p->call_in != NULL && p->call_out != NULL && p->call_wanted != NULL ? OK : err_no_memory(err, "plan");
}

static size_t constant_bytes(const Session *s)
{
    size_t bytes = 0;
    for (ValueId v = 1; v <= s->graph->value_count; v++) bytes += s->constants[v].bytes;
    return bytes;
}

Status plan_new(Session *s, const Shape *shapes, Plan **out, Err *err)
{
    const Graph *g = s->graph;
    Plan *p = alloc_zeroed(1, sizeof *p);
    Builder b = { .session = s, .plan = p, .work = work_of_folding(s->options.max_work), .err = err };
    Status status = ERR_MEMORY;
    *out = NULL;
    if (p == NULL) return err_no_memory(err, "plan");
    size_t values = p->value_count = (size_t)g->value_count + 1;
    p->shapes = alloc_array((size_t)s->feed_count + 1, sizeof *p->shapes);
    p->constants = alloc_zeroed(values, sizeof *p->constants);
    p->slot_of = alloc_array(values, sizeof *p->slot_of);
    b.fused = alloc_zeroed((size_t)g->node_count + 1, sizeof *b.fused);
    if (p->shapes == NULL || p->constants == NULL || p->slot_of == NULL || b.fused == NULL) {
        err_no_memory(err, "plan");
        goto out;
    }
    memset(p->slot_of, 0xff, values * sizeof *p->slot_of);
    memcpy(p->shapes, shapes, (size_t)s->feed_count * sizeof *shapes);
    TRY_OUT(engine_concrete_shapes(g, shapes, s->feed_count, &p->types, err));
    p->single = plan_is_small(g, p->types);
    if (s->depth == 0) engine_set_threads(p->single ? 1 : s->threads); /* kernels are made for so many */
    bool shared = s->depth == 0 && !p->single;
    if (shared && constant_bytes(s) >= PACKS_SHARED) team_start(s->threads);
    p->threads = omp_get_max_threads();
    TRY_OUT(build(&b));
    TRY_OUT(make_room(p, err));
    if (shared) team_start(s->threads);
out:
    free(b.fused);
    if (status != OK) {
        plan_free(p);
    } else {
        *out = p;
    }
    return status;
}

void plan_free(Plan *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].kernel != NULL) p->steps[i].kernel->release(p->steps[i].state);
        free(p->steps[i].owned);
        free(p->steps[i].in);
    }
    free(p->steps);
    free(p->slots);
    free(p->slot_of);
    free(p->call_in);
    free(p->call_out);
    free(p->call_wanted);
    free(p->types);
    free(p->shapes);
    for (size_t v = 0; p->constants != NULL && v < p->value_count; v++) tensor_release(&p->constants[v]);
    free(p->constants);
    free(p);
}
