#include "engine/infer_scope.h"

#include <stdlib.h>

#include "engine/ops/common.h"
#include "engine/work.h"

/* Shape arithmetic is small; anything larger is left to run time or to the fold pass. */
#define FOLD_ELEMENTS 1024

int scope_opset(const Graph *g, const Node *n)
{
    while (g->parent != NULL) g = g->parent;
    int64_t version = graph_opset(g, n->domain);
    return version > INT32_MAX ? INT32_MAX : (int)version;
}

Status scope_init(Scope *s, const Graph *g, Graph *edit, const Scope *outer, int64_t *next_temp, Err *err)
{
    size_t count = (size_t)g->value_count + 1;
    *s = (Scope){ .g = g, .edit = edit, .outer = outer, .next_temp = next_temp, .err = err };
    s->types = alloc_zeroed(count, sizeof *s->types);
    s->ints = alloc_zeroed(count, sizeof *s->ints);
    s->known = alloc_zeroed(count, sizeof *s->known);
    s->arena = arena_new();
    if (s->types == NULL || s->ints == NULL || s->known == NULL || s->arena == NULL) return err_no_memory(err, "shape inference");
    for (size_t v = 0; v < count; v++) s->types[v].shape.rank = -1;
    return OK;
}

void scope_release(Scope *s)
{
    for (uint32_t v = 1; s->known != NULL && v <= s->g->value_count; v++) tensor_release(&s->known[v]);
    free(s->types);
    free(s->ints);
    free(s->known);
    arena_unref(s->arena);
    s->types = NULL;
    s->ints = NULL;
    s->known = NULL;
    s->arena = NULL;
}

/* The scope and id under which an outer value is known, followed to where it is defined. False when there is none. */
static bool follow_outer(const Scope **s, ValueId *v)
{
    while (((*s)->g->values[*v].flags & VALUE_OUTER) != 0) {
        if ((*s)->outer == NULL) return false;
        ValueId found = graph_find_value((*s)->outer->g, (*s)->g->values[*v].name);
        if (found == 0) return false;
        *s = (*s)->outer;
        *v = found;
    }
    return true;
}

const Tensor *scope_constant(const Scope *s, ValueId v)
{
    if (v == 0 || !follow_outer(&s, &v)) return NULL;
    if (s->g->values[v].tensor != NULL) return s->g->values[v].tensor;
    return s->known[v].type != DT_NONE ? &s->known[v] : NULL;
}

void scope_ints(const Scope *s, ValueId v, Ints *out)
{
    out->count = -1;
    if (v == 0) return;
    const Tensor *t = scope_constant(s, v);
    if (t != NULL) ints_of_tensor(t, out);
    else if (follow_outer(&s, &v) && s->ints[v] != NULL) *out = *s->ints[v];
}

TypeInfo scope_type(const Scope *s, ValueId v)
{
    TypeInfo none = { DT_NONE, SHAPE_UNKNOWN };
    if (v == 0) return none;
    const Tensor *t = scope_constant(s, v);
    if (t != NULL) return (TypeInfo){ t->type, t->shape };
    return follow_outer(&s, &v) ? s->types[v] : none;
}

/* Numbers that are all known become a tensor, so that any op can be evaluated on them. */
static Status keep_as_tensor(Scope *s, ValueId v, const Ints *ints)
{
    DType type = s->types[v].type;
    if (!dtype_is_integer(type) && type != DT_BOOL) return OK;
    for (int i = 0; i < ints->count; i++) {
        if (ints->symbol[i]) return OK;
    }
    Shape shape = { .rank = ints->scalar ? 0 : 1, .dims = { ints->count } };
    TRY(tensor_new(&s->known[v], type, &shape, s->err));
    for (int i = 0; i < ints->count; i++) tensor_set_int(&s->known[v], i, ints->at[i]);
    return OK;
}

Status scope_keep_ints(Scope *s, ValueId v, const Ints *ints)
{
    if (ints->count < 0 || s->known[v].type != DT_NONE || s->g->values[v].tensor != NULL) return OK;
    s->ints[v] = arena_copy(s->arena, ints, sizeof *ints);
    if (s->ints[v] == NULL) return err_no_memory(s->err, "shape inference");
    return keep_as_tensor(s, v, ints);
}

/* ---- evaluation ---- */

/* Aligned inputs of a call, each one more reference to the constant (or an aligned copy). */
static Status inputs_share(const Tensor *const *constants, int count, Tensor *own, const Tensor **in, Err *err)
{
    for (int i = 0; i < count; i++) {
        if (constants[i] == NULL) continue;
        own[i] = tensor_share(constants[i]);
        TRY(tensor_align(&own[i], err));
        in[i] = &own[i];
    }
    return OK;
}

static Status node_call(const Graph *g, const Node *n, int opset, const Tensor *const *constants, Tensor *outputs, Err *err)
{
    size_t inputs = (size_t)n->input_count, results = (size_t)n->output_count;
    Tensor *own = alloc_zeroed(inputs + 1, sizeof *own);
    const Tensor **in = alloc_zeroed(inputs + 1, sizeof *in);
    bool *wanted = alloc_zeroed(results + 1, sizeof *wanted);
    Status status = OK;
    if (own == NULL || in == NULL || wanted == NULL) {
        status = err_no_memory(err, "constant evaluation");
        goto out;
    }
    for (size_t i = 0; i < results; i++) wanted[i] = n->outputs[i] != 0;
    TRY_OUT(inputs_share(constants, n->input_count, own, in, err));
    OpCall call = { .graph = g, .node = n, .opset = opset, .input_count = n->input_count, .output_count = n->output_count, .in = in,
                    .out = outputs, .wanted = wanted, .err = err };
    status = n->op->forward(&call);
out:
    for (size_t i = 0; own != NULL && i < inputs; i++) tensor_release(&own[i]);
    free(own);
    free(in);
    free(wanted);
    return status;
}

static bool can_evaluate(const Node *n)
{
    return n->op != NULL && n->op->forward != NULL && (n->op->flags & (OP_RANDOM | OP_CONTROL)) == 0;
}

/* Whether the outputs are known to be small: by their shapes, or because they are picked out of small inputs. */
static bool fold_is_small(const Scope *s, const Node *n)
{
    int64_t total = 0, count;
    for (int i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *t = scope_constant(s, n->inputs[i]);
        if (t == NULL || t->type == DT_STRING) return false;
        count = tensor_count(t);
        if (count > FOLD_ELEMENTS) return false;
        total += count;
    }
    if (total > FOLD_ELEMENTS) return false;
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == 0) continue;
        if (s->g->values[n->outputs[i]].tensor != NULL || s->known[n->outputs[i]].type != DT_NONE) return false;
        if ((n->op->flags & OP_DATA_SHAPE) != 0) continue;
        if (!shape_count(&s->types[n->outputs[i]].shape, &count) || count > FOLD_ELEMENTS) return false;
    }
    return true;
}

Status scope_fold(Scope *s, const Node *n, int opset)
{
    if (!can_evaluate(n) || n->input_count == 0 || !fold_is_small(s, n)) return OK;
    size_t inputs = (size_t)n->input_count, results = (size_t)n->output_count;
    const Tensor **constants = alloc_zeroed(inputs, sizeof *constants);
    Tensor *outputs = alloc_zeroed(results + 1, sizeof *outputs);
    Status status = constants == NULL || outputs == NULL ? err_no_memory(s->err, "constant evaluation") : OK;
    if (status == OK) {
        Err ignored; /* what cannot be evaluated now fails, with its message, when the network runs */
        for (size_t i = 0; i < inputs; i++) constants[i] = scope_constant(s, n->inputs[i]);
        Status result = node_call(s->g, n, opset, constants, outputs, &ignored);
        for (size_t i = 0; i < results; i++) {
            ValueId v = n->outputs[i];
            if (result != OK || v == 0 || outputs[i].type == DT_NONE) continue;
            s->known[v] = outputs[i];
            outputs[i] = (Tensor){ .type = DT_NONE };
            s->types[v] = (TypeInfo){ s->known[v].type, s->known[v].shape };
        }
    }
    for (size_t i = 0; outputs != NULL && i < results; i++) tensor_release(&outputs[i]);
    free(constants);
    free(outputs);
    return status;
}

/* Refuses a node whose outputs, as inference tells them from the constants, pass max_bytes, or its operations *work. */
static Status check_cost(const Graph *g, NodeId id, const Tensor *const *constants, uint64_t max_bytes, uint64_t *work, Err *err)
{
    const Node *n = graph_node(g, id);
    size_t inputs = (size_t)n->input_count, results = (size_t)n->output_count;
    TypeInfo *info = alloc_zeroed(inputs + results + 1, sizeof *info);
    Ints *ints = alloc_zeroed(inputs + results + 1, sizeof *ints);
    Status status = OK;
    if (info == NULL || ints == NULL) {
        status = err_no_memory(err, "constant evaluation");
        goto out;
    }
    for (size_t i = 0; i < inputs + results; i++) {
        info[i].shape.rank = -1;
        ints[i].count = -1;
        if (i >= inputs || constants[i] == NULL) continue;
        info[i] = (TypeInfo){ constants[i]->type, constants[i]->shape };
        ints_of_tensor(constants[i], &ints[i]);
    }
    InferCall call = { .graph = (Graph *)(uintptr_t)g, .node = n, .opset = scope_opset(g, n), .input_count = n->input_count,
                       .output_count = n->output_count, .in = info, .constant = constants, .ints = ints, .out = info + inputs,
                       .out_ints = ints + inputs, .err = err };
    TRY_OUT(n->op->infer(&call));
    uint64_t total = 0;
    for (size_t i = inputs; i < inputs + results; i++) {
        int64_t count;
        size_t bytes = 0;
        if (info[i].shape.rank < 0 || info[i].type == DT_NONE) continue;
        if (!shape_count(&info[i].shape, &count) || !dtype_bytes(info[i].type, count, &bytes)) bytes = SIZE_MAX / 2;
        total += bytes;
        if (total > max_bytes) {
            Str label = node_label(g, n);
            status = err_set(err, ERR_MEMORY, "%.*s '%.*s': its constant result would take more than %llu bytes", STR_ARG(n->type),
                             STR_ARG(label), (unsigned long long)max_bytes);
            goto out;
        }
    }
    uint64_t operations = work_of_node(g, n, info, info + inputs);
    if (operations > *work) {
        Str label = node_label(g, n);
        status = err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': its constant result would take %llu operations, %llu are allowed",
                         STR_ARG(n->type), STR_ARG(label), (unsigned long long)operations, (unsigned long long)*work);
        goto out;
    }
    *work -= operations;
out:
    free(info);
    free(ints);
    return status;
}

Status engine_evaluate(const Graph *g, NodeId id, uint64_t max_bytes, uint64_t *work, Tensor *outputs, Err *err)
{
    const Node *n = graph_node(g, id);
    Str label = node_label(g, n);
    for (int i = 0; i < n->output_count; i++) outputs[i] = (Tensor){ .type = DT_NONE };
    if (!can_evaluate(n))
        return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': this op cannot be evaluated", STR_ARG(n->type), STR_ARG(label));
    const Tensor **constants = alloc_zeroed((size_t)n->input_count + 1, sizeof *constants);
    if (constants == NULL) return err_no_memory(err, "constant evaluation");
    Status status = OK;
    for (int i = 0; i < n->input_count; i++) {
        constants[i] = node_constant(g, n, i);
        if (n->inputs[i] == 0 || constants[i] != NULL) continue;
        status = err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': input %d is not constant", STR_ARG(n->type), STR_ARG(label), i);
        goto out;
    }
    TRY_OUT(check_cost(g, id, constants, max_bytes, work, err));
    status = node_call(g, n, scope_opset(g, n), constants, outputs, err);
    for (int i = 0; status != OK && i < n->output_count; i++) tensor_release(&outputs[i]);
out:
    free(constants);
    return status;
}
