/* What a session holds constant: nodes that depend on constants alone are evaluated, and contents that lie unaligned in the file are copied
 * where somebody reads them as numbers. Weights that are packed, and tables of which a run reads a few rows, stay where they are: a copy
 * would cost its pages twice, in memory and in the time to the first result. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/file.h"
#include "engine/session.h"
#include "graph/edit.h"

#define FOLD_BYTES ((uint64_t)1 << 30) /* results of constant nodes above this are made anew in each run */
#define COPIED_BYTES 4096              /* up to here a constant is aligned at once */

static bool all_constant(const Graph *g, const Node *n)
{
    if (n->op == NULL || n->op->forward == NULL || (n->op->flags & (OP_RANDOM | OP_CONTROL)) != 0 || n->capture_count > 0) return false;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != 0 && graph_value(g, n->inputs[i])->tensor == NULL) return false;
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != 0 && graph_value(g, n->outputs[i])->tensor == NULL) return true;
    return false;
}

/* Nodes that depend on constants alone become constants of the session's own graph. One that fails is left to fail when it runs, and
 * one that would take too much work is left to the limit of a run. */
Status session_fold_constants(Session *s, Err *err)
{
    Graph *g = s->graph;
    bool any = false;
    uint64_t work = work_of_folding(s->options.max_work);
    for (uint32_t k = 0; k < g->order_count; k++) {
        NodeId id = g->order[k];
        const Node *n = graph_node(g, id);
        if (n->removed || !all_constant(g, n)) continue;
        Tensor *made = alloc_zeroed((size_t)n->output_count + 1, sizeof *made);
        if (made == NULL) return err_no_memory(err, "constants");
        int count = n->output_count;
        const ValueId *outputs = n->outputs;
        uint64_t room = s->budget->limit != 0 ? s->budget->limit - s->budget->taken : FOLD_BYTES;
        Status status = room > 0 ? engine_evaluate(g, id, room, &work, made, NULL) : ERR_MEMORY;
        if (status == OK) {
            any = true;
            graph_remove_node(g, id);
            for (int i = 0; i < count && status == OK; i++) {
                if (outputs[i] == 0 || made[i].data == NULL) continue;
                status = budget_take(s->budget, made[i].bytes, "constants", err);
                if (status == OK) status = graph_set_constant(g, outputs[i], &made[i], err);
            }
        } else {
            status = OK;
        }
        for (int i = 0; i < count; i++) tensor_release(&made[i]);
        free(made);
        TRY(status);
    }
    return any ? graph_finish(g, err) : OK;
}

/* References to every constant; those of one axis, which are read as they are, and small ones aligned. */
Status session_take_constants(Session *s, Err *err)
{
    const Graph *g = s->graph;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Tensor *t = graph_value(g, v)->tensor;
        if (t == NULL || t->type == DT_STRING || t->data == NULL) continue;
        s->constants[v] = tensor_share(t);
        if (t->shape.rank < 2 || t->bytes <= COPIED_BYTES) TRY(session_align(s, v, err));
    }
    return OK;
}

void session_forget(const Tensor *t)
{
    if (t->buffer != NULL && t->buffer->mapping != NULL) mapping_drop(t->buffer->mapping, t->data, t->bytes);
}

Status session_align(Session *s, ValueId v, Err *err)
{
    Tensor *t = &s->constants[v];
    if (v == 0 || t->data == NULL || tensor_is_aligned(t)) return OK;
    Tensor unaligned = tensor_share(t);
    Status status = budget_take(s->budget, t->bytes, "aligned weights", err);
    if (status == OK) status = tensor_align(t, err);
    if (status == OK) session_forget(&unaligned);
    tensor_release(&unaligned);
    return status;
}

/* Rows are copied from it byte by byte. */
static bool copies_rows(const Session *s, const Step *step, int i)
{
    return step->kernel == NULL && step->node != 0 && i == 0 && node_is(graph_node(s->graph, step->node), "Gather");
}

Status session_align_read(Session *s, Plan *p, Err *err)
{
    for (size_t at = 0; at < p->step_count; at++) {
        const Step *step = &p->steps[at];
        for (int i = 0; i < step->in_count; i++) {
            Slot *slot = step->in[i] >= 0 ? &p->slots[step->in[i]] : NULL;
            if (slot != NULL && slot->kind == SLOT_CONSTANT && !copies_rows(s, step, i)) TRY(session_align(s, slot->value, err));
        }
    }
    for (size_t i = 0; i < p->slot_count; i++) {
        Slot *slot = &p->slots[i];
        if (slot->kind == SLOT_CONSTANT && s->constants[slot->value].data != NULL) slot->tensor = s->constants[slot->value];
    }
    for (ValueId v = 1; s->watch_count > 0 && v < p->value_count; v++)
        if (s->watched[v]) TRY(session_align(s, v, err));
    return OK;
}
