/* The slots and steps of a plan under construction. */
#include "engine/plan_private.h"

#include "base/bytes.h"

int slot_add(Builder *b, ValueId v, SlotKind kind, const Layout *layout, int step)
{
    Plan *p = b->plan;
    if (!array_grow((void **)&p->slots, &p->slot_capacity, p->slot_count + 1, sizeof *p->slots)) return -1;
    int at = (int)p->slot_count++;
    Slot *s = &p->slots[at];
    *s = (Slot){ .value = v, .kind = kind, .layout = layout, .next = p->slot_of[v], .alias = -1, .first = step, .last = step };
    s->tensor = (Tensor){ .type = p->types[v].type, .shape = p->types[v].shape };
    p->slot_of[v] = at;
    return at;
}

Status slot_make(Builder *b, ValueId v, const Layout *layout, int step, int *out)
{
    const TypeInfo *t = &b->plan->types[v];
    int64_t count;
    bool known = t->type != DT_NONE && dtype_bits(t->type) > 0 && shape_known(&t->shape) && shape_count(&t->shape, &count);
    *out = slot_add(b, v, known ? SLOT_ARENA : SLOT_DYNAMIC, layout, step);
    if (*out < 0) return err_no_memory(b->err, "plan");
    Slot *s = &b->plan->slots[*out];
    if (!known) return OK;
    Str name = graph_value(b->session->graph, v)->name;
    if (!dtype_bytes(t->type, count, &s->tensor.bytes) || s->tensor.bytes > PTRDIFF_MAX / 4)
        return err_set(b->err, ERR_DATA, "value '%.*s' is too large", STR_ARG(name));
    s->bytes = layout != NULL ? layout_bytes(layout) : s->tensor.bytes;
    return OK;
}

int slot_find(const Plan *p, ValueId v, const Layout *layout)
{
    int at = p->slot_of[v];
    while (at >= 0 && !layout_eq(p->slots[at].layout, layout)) at = p->slots[at].next;
    return at;
}

Step *step_add(Builder *b, NodeId node, int in_count, int out_count)
{
    Plan *p = b->plan;
    if (!array_grow((void **)&p->steps, &p->step_capacity, p->step_count + 1, sizeof *p->steps)) return NULL;
    Step step = { .node = node, .in_count = in_count, .out_count = out_count };
    step.in = alloc_array((size_t)in_count + (size_t)out_count + 1, sizeof *step.in);
    if (step.in == NULL) return NULL;
    step.out = step.in + in_count;
    for (int i = 0; i < in_count + out_count; i++) step.in[i] = -1;
    p->steps[p->step_count] = step;
    return &p->steps[p->step_count++];
}

void slot_use(Plan *p, int slot, int step)
{
    if (p->slots[slot].last < step) p->slots[slot].last = step;
}

/* Another name of what lies in `from`. */
static Status add_alias(Builder *b, ValueId v, int from, const Layout *layout, int *out)
{
    Plan *p = b->plan;
    Step *step = step_add(b, 0, 1, 1);
    if (step == NULL) return err_no_memory(b->err, "plan");
    int at = (int)p->step_count - 1;
    step->alias = true;
    step->in[0] = from;
    TRY(slot_make(b, v, layout, at, out));
    p->steps[at].out[0] = *out;
    p->slots[*out].kind = SLOT_ALIAS;
    p->slots[*out].alias = from;
    slot_use(p, from, at);
    return OK;
}

Status slot_want(Builder *b, ValueId v, const Layout *layout, int *out)
{
    Plan *p = b->plan;
    *out = slot_find(p, v, layout);
    if (*out >= 0) return OK;
    int from = p->slot_of[v];
    if (from < 0) {
        Str name = graph_value(b->session->graph, v)->name;
        return err_set(b->err, ERR_DATA, "value '%.*s' is read but never made", STR_ARG(name));
    }
    if (reorder_is_none(&p->types[v], p->slots[from].layout, layout)) return add_alias(b, v, from, layout, out);
    void *state = NULL;
    TRY(reorder_prepare(b->session->device, &p->types[v], p->slots[from].layout, layout, &state, b->err));
    Step *step = step_add(b, 0, 1, 1);
    if (step == NULL) {
        kernel_reorder.release(state);
        return err_no_memory(b->err, "plan");
    }
    step->kernel = &kernel_reorder;
    step->state = state;
    step->in[0] = from;
    int at = (int)p->step_count - 1;
    TRY(slot_make(b, v, layout, at, out));
    step->out[0] = *out;
    slot_use(p, from, at);
    return OK;
}

Status slot_constant(Builder *b, ValueId v)
{
    const Tensor *t = session_constant(b->session, b->plan, v);
    if (v == 0 || t == NULL || b->plan->slot_of[v] >= 0) return OK;
    int at = slot_add(b, v, SLOT_CONSTANT, NULL, 0);
    if (at < 0) return err_no_memory(b->err, "plan");
    b->plan->slots[at].tensor = *t;
    b->plan->types[v] = (TypeInfo){ t->type, t->shape };
    return OK;
}
