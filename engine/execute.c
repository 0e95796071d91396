/* Running a plan, step by step. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/ops/common.h"
#include "engine/session.h"

Status node_forward(const Graph *g, NodeId id, const Tensor *const *in, Tensor *out, const bool *wanted, OpBodies *bodies, Err *err)
{
    const Node *n = graph_node(g, id);
    Str label = node_label(g, n);
    if (n->op == NULL || n->op->forward == NULL)
        return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': the operator is not supported", STR_ARG(n->type), STR_ARG(label));
    for (int i = 0; i < n->op->min_inputs; i++)
        if ((i >= n->input_count || in[i] == NULL) && (i >= 32 || (n->op->optional >> i & 1) == 0))
            return err_set(err, ERR_DATA, "%.*s '%.*s': input %d is missing", STR_ARG(n->type), STR_ARG(label), i);
    OpCall call = { .graph = g, .node = n, .opset = node_opset(g, n), .input_count = n->input_count, .output_count = n->output_count,
                    .in = in, .out = out, .wanted = wanted, .bodies = bodies, .err = err };
    return n->op->forward(&call);
}

/* Calls the observer when the value is watched. */
static Status report(const Session *s, ValueId v, const Tensor *t, Err *err)
{
    return s->observe != NULL && s->watched[v] ? s->observe(s->user, v, t, err) : OK;
}

/* What a forward made goes into its slot. `made` is released or moved. */
static Status settle(const Session *s, Slot *slot, Tensor *made, Err *err)
{
    if (slot->kind == SLOT_DYNAMIC) {
        if (made->data == NULL) {
            Str name = graph_value(s->graph, slot->value)->name;
            return err_set(err, ERR_BUG, "value '%.*s' was not made by its operator", STR_ARG(name));
        }
        slot->tensor = *made;
        *made = (Tensor){ 0 };
        return OK;
    }
    if (made->data == slot->tensor.data && made->buffer == NULL) return OK;
    bool same = made->data != NULL && made->type == slot->tensor.type && shape_eq(&made->shape, &slot->tensor.shape);
    if (same && made->bytes > 0) memcpy(slot->tensor.data, made->data, made->bytes);
    if (!same) {
        char planned[128], found[128];
        Str name = graph_value(s->graph, slot->value)->name;
        shape_print(&slot->tensor.shape, planned, sizeof planned);
        shape_print(&made->shape, found, sizeof found);
        err_set(err, ERR_BUG, "value '%.*s' came out as %s %s, planned as %s %s", STR_ARG(name), dtype_name(made->type), found,
                dtype_name(slot->tensor.type), planned);
    }
    tensor_release(made);
    return same ? OK : ERR_BUG;
}

static Status run_plain(const Session *s, Plan *p, const Step *step, Err *err)
{
    const Tensor **in = p->call_in;
    Tensor *out = p->call_out;
    bool *wanted = p->call_wanted;
    Status status;
    memset(out, 0, (size_t)step->out_count * sizeof *out);
    for (int i = 0; i < step->in_count; i++) in[i] = step->in[i] >= 0 ? &p->slots[step->in[i]].tensor : NULL;
    for (int i = 0; i < step->out_count; i++) {
        wanted[i] = step->out[i] >= 0;
        if (wanted[i] && p->slots[step->out[i]].kind == SLOT_ARENA) out[i] = p->slots[step->out[i]].tensor;
    }
    BodyRunner runner = body_runner(s, step->node, in + graph_node(s->graph, step->node)->input_count);
    TRY_OUT(node_forward(s->graph, step->node, in, out, wanted, &runner.bodies, err));
    for (int i = 0; i < step->out_count; i++)
        if (wanted[i]) TRY_OUT(settle(s, &p->slots[step->out[i]], &out[i], err));
out:
    for (int i = 0; i < step->out_count; i++) tensor_release(&out[i]);
    return status;
}

static Status run_kernel(Plan *p, const Step *step, Err *err)
{
    const void *in[KERNEL_OPERANDS] = { NULL };
    void *out[KERNEL_OPERANDS] = { NULL };
    for (int i = 0; i < step->in_count; i++) in[i] = step->in[i] >= 0 ? p->slots[step->in[i]].tensor.data : NULL;
    for (int i = 0; i < step->out_count; i++) out[i] = step->out[i] >= 0 ? p->slots[step->out[i]].tensor.data : NULL;
    return step->kernel->run(step->state, in, out, err);
}

/* Type and shape of a value as far as they are known before the step. */
static TypeInfo type_now(const Session *s, const Plan *p, ValueId v)
{
    if (v == 0) return (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
    const Tensor *constant = session_constant(s, p, v);
    if (constant != NULL) return (TypeInfo){ constant->type, constant->shape };
    int slot = p->slot_of[v];
    if (slot >= 0 && p->slots[slot].tensor.shape.rank >= 0) return (TypeInfo){ p->slots[slot].tensor.type, p->slots[slot].tensor.shape };
    return p->types[v];
}

/* Counts what a step is about to do, where a limit was given; results whose shape the plan could not tell are inferred from the inputs. */
static Status take_work(const Session *s, const Plan *p, const Step *step, Err *err)
{
    if (s->options.log != NULL && log_interrupted(s->options.log)) return err_set(err, ERR_INTERRUPTED, "interrupted");
    if (s->work->limit == 0 || step->node == 0) return OK;
    const Node *n = graph_node(s->graph, step->node);
    size_t count = (size_t)n->input_count + (size_t)n->output_count;
    TypeInfo *in = alloc_array(count + 1, sizeof *in), *out = in + n->input_count;
    Ints *ints = alloc_array(count + 1, sizeof *ints);
    const Tensor **constants = alloc_zeroed(count + 1, sizeof *constants);
    bool open = false;
    Status status = in != NULL && ints != NULL && constants != NULL ? OK : err_no_memory(err, "a step");
    for (int i = 0; status == OK && i < n->input_count; i++) {
        ValueId v = n->inputs[i];
        in[i] = type_now(s, p, v);
        ints[i].count = -1;
        if (v == 0 || p->slot_of[v] < 0 || p->slots[p->slot_of[v]].tensor.data == NULL) continue;
        constants[i] = &p->slots[p->slot_of[v]].tensor;
        if (p->slots[p->slot_of[v]].layout == NULL) ints_of_tensor(constants[i], &ints[i]);
    }
    for (int i = 0; status == OK && i < n->output_count; i++) {
        out[i] = n->outputs[i] != 0 ? p->types[n->outputs[i]] : (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        ints[n->input_count + i].count = -1;
        open |= n->outputs[i] != 0 && !shape_known(&out[i].shape);
    }
    if (status == OK && open && step->kernel == NULL && n->op->infer != NULL) {
        Err ignored; /* the operator itself says what is wrong */
        InferCall call = { .graph = s->graph, .node = n, .opset = node_opset(s->graph, n), .input_count = n->input_count,
                           .output_count = n->output_count, .in = in, .constant = constants, .ints = ints, .out = out,
                           .out_ints = ints + n->input_count, .err = &ignored };
        for (int i = 0; i < n->output_count; i++) out[i] = (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        n->op->infer(&call);
    }
    if (status == OK) status = work_take(s->work, s->graph, n, work_of_node(s->graph, n, in, out), err);
    free(in);
    free(ints);
    free(constants);
    return status;
}

TypeInfo trace_type(const StepTrace *step, ValueId v)
{
    return type_now(step->session, step->plan, v);
}

static DType computed_in(const Session *s, const Plan *p, const Step *step, ValueId made)
{
    if (step->kernel != NULL && choice_in_float(step->kernel, step->state)) return DT_FLOAT;
    const Node *n = step->node != 0 ? graph_node(s->graph, step->node) : NULL;
    ValueId first = n != NULL && n->input_count > 0 ? n->inputs[0] : 0;
    return type_now(s, p, first != 0 ? first : made).type; /* a reorder keeps the type */
}

static void trace(const Session *s, const Plan *p, const Step *step, double start)
{
    StepTrace t = { .graph = s->graph, .depth = s->depth, .node = step->node, .start = start, .end = clock_seconds(), .lane = s->lane,
                    .session = s, .plan = p };
    if (step->out_count > 0 && step->out[0] >= 0) t.made = p->slots[step->out[0]].value;
    t.kernel = step->alias ? "view" : step->kernel != NULL ? step->kernel->name : "plain";
    if (step->kernel != NULL) t.detail = kernel_detail(step->kernel, step->state);
    t.type = computed_in(s, p, step, t.made);
#pragma omp critical(trace)
    s->trace(s->trace_user, &t);
}

bool slot_shown(const Session *s, const Slot *slot)
{
    return slot->layout == NULL || (s->unordered && slot->tensor.type == DT_FLOAT && layout_divides(slot->layout, slot->tensor.bytes));
}

/* Shows the observer what a step made: a value itself, or its row-major copy where the value cannot be shown as it is. */
static Status report_made(const Session *s, const Plan *p, const Step *step, int slot, Err *err)
{
    if (slot < 0 || !slot_shown(s, &p->slots[slot])) return OK;
    int first = slot; /* in the chain of orders, the one made first is the last */
    while (step->node == 0 && p->slots[first].next >= 0) first = p->slots[first].next;
    if (first != slot && slot_shown(s, &p->slots[first])) return OK;
    return report(s, p->slots[slot].value, &p->slots[slot].tensor, err);
}

static Status run_step(const Session *s, Plan *p, size_t at, Err *err)
{
    const Step *step = &p->steps[at];
    TRY(take_work(s, p, step, err));
    double start = s->trace != NULL ? clock_seconds() : 0;
    if (!step->alias) TRY(step->kernel != NULL ? run_kernel(p, step, err) : run_plain(s, p, step, err));
    if (s->trace != NULL && (step->node != 0 || !step->alias)) trace(s, p, step, start);
    for (int i = 0; s->observe != NULL && i < step->out_count; i++) TRY(report_made(s, p, step, step->out[i], err));
    for (int i = 0; i < step->in_count + step->out_count; i++) { /* the outputs follow the inputs in one array */
        int slot = step->in[i];
        if (slot >= 0 && p->slots[slot].kind == SLOT_DYNAMIC && p->slots[slot].last <= (int)at) tensor_release(&p->slots[slot].tensor);
    }
    return OK;
}

/* Gives every slot its memory for this run. */
static void place_slots(const Session *s, Plan *p, const Tensor *inputs)
{
    for (size_t i = 0; i < p->slot_count; i++) {
        Slot *slot = &p->slots[i];
        if (slot->kind == SLOT_ARENA) slot->tensor.data = s->arena + slot->offset;
        if (slot->kind == SLOT_INPUT)
            for (int k = 0; k < s->feed_count; k++)
                if (s->feeds[k] == slot->value) slot->tensor = inputs[k];
        if (slot->kind == SLOT_ALIAS) {
            slot->tensor.data = p->slots[slot->alias].tensor.data;
            slot->tensor.bytes = p->slots[slot->alias].tensor.bytes;
        }
        if (slot->kind == SLOT_INPUT || slot->kind == SLOT_ALIAS) slot->tensor.buffer = NULL; /* borrowed */
    }
}

static Status report_given(const Session *s, const Plan *p, const Tensor *inputs, Err *err)
{
    for (int i = 0; i < s->feed_count; i++) TRY(report(s, s->feeds[i], &inputs[i], err));
    for (ValueId v = 1; s->observe != NULL && v < p->value_count; v++) {
        const Tensor *t = session_constant(s, p, v);
        if (t != NULL) TRY(report(s, v, t, err));
    }
    return OK;
}

static Status copy_outputs(Session *s, Plan *p, Tensor *outputs, Err *err)
{
    for (int i = 0; i < s->graph->output_count; i++) {
        int slot = p->slot_of[s->graph->outputs[i]];
        while (slot >= 0 && p->slots[slot].layout != NULL) slot = p->slots[slot].next;
        if (slot < 0) return err_set(err, ERR_BUG, "output %d was not planned", i);
        const Tensor *made = &p->slots[slot].tensor;
        if (outputs[i].data == NULL) TRY(session_output(s, i, made->type, &made->shape, &outputs[i], err));
        if (made->bytes != outputs[i].bytes) return err_set(err, ERR_BUG, "output %d has another size than was planned", i);
        if (made->bytes > 0) memcpy(outputs[i].data, made->data, made->bytes);
    }
    return OK;
}

Status plan_execute(Session *s, Plan *p, const Tensor *inputs, Tensor *outputs, Err *err)
{
    Status status;
    place_slots(s, p, inputs);
    TRY_OUT(report_given(s, p, inputs, err));
    for (size_t i = 0; i < p->step_count; i++) TRY_OUT(run_step(s, p, i, err));
    TRY_OUT(copy_outputs(s, p, outputs, err));
out:
    for (size_t i = 0; i < p->slot_count; i++)
        if (p->slots[i].kind == SLOT_DYNAMIC) {
            tensor_release(&p->slots[i].tensor);
            p->slots[i].tensor.shape = SHAPE_UNKNOWN;
        }
    return status;
}
