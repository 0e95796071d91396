/* Constants: nodes that read only constants, Constant nodes, and integer contents that shape inference knows.
 *
 *   Shape(x) -> Gather(0) -> Unsqueeze -> Concat(., 64) -> Reshape(y, .)   =>   Reshape(y, [0, 64])
 *
 * Needs: results no more than `growth` bytes larger than what went in, no strings, no random numbers, at most 2^33 operations in
 * all. A symbolic dimension of a Reshape becomes 0 where the input has it at the same place, else the one -1. DequantizeLinear of
 * constants is a compressed weight: it stays. */
#include "engine/fold.h"

#include <stdlib.h>

#include "base/bytes.h"

static bool is_quantizer(const Node *n)
{
    return str_is(n->type, "DequantizeLinear") || str_is(n->type, "QuantizeLinear") || str_is(n->type, "DynamicQuantizeLinear");
}

static bool can_evaluate(const Graph *g, const Node *n, uint64_t *bytes)
{
    if (n->op == NULL || n->op->forward == NULL || n->op->flags & (OP_RANDOM | OP_CONTROL) || n->capture_count > 0) return false;
    if (is_quantizer(n) || n->output_count == 0) return false;
    *bytes = 0;
    for (int i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *t = graph_value(g, n->inputs[i])->tensor;
        if (t == NULL || t->type == DT_STRING) return false;
        *bytes += t->bytes;
    }
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != 0 && graph_value(g, n->outputs[i])->flags & VALUE_OUTPUT) return false;
    return true;
}

static Status fold_node(Fold *f, NodeId id, Tensor *outputs, uint64_t limit, uint64_t *work, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    Err why;
    int count = graph_node(g, id)->output_count;
    if (engine_evaluate(g, id, limit, work, outputs, &why) != OK) return OK;
    uint64_t size = 0;
    bool storable = true;
    for (int i = 0; i < count; i++) {
        size += outputs[i].bytes;
        if (outputs[i].type == DT_STRING || (node_output(graph_node(g, id), i) != 0 && outputs[i].type == DT_NONE)) storable = false;
    }
    if (storable && size <= limit) {
        for (int i = 0; i < count; i++) {
            ValueId v = node_output(graph_node(g, id), i);
            if (v != 0) TRY_OUT(fold_to_constant(f, v, &outputs[i], err));
        }
        const Node *n = graph_node(g, id);
        fold_changed(f, node_label(g, n), "%.*s of constants becomes an initializer", STR_ARG(n->type));
        if (!n->removed) graph_remove_node(g, id);
    }
out:
    for (int i = 0; i < count; i++) tensor_release(&outputs[i]);
    return status;
}

/* A Constant node makes a value with contents already: only the node goes. */
static Status fold_constant_node(Fold *f, NodeId id, int *folded, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    ValueId v = node_output(n, 0);
    if (v == 0 || graph_value(g, v)->tensor == NULL || graph_value(g, v)->flags & VALUE_OUTPUT) return OK;
    Tensor t = tensor_share(graph_value(g, v)->tensor);
    TRY(graph_set_constant(g, v, &t, err));
    ++*folded;
    return OK;
}

Status fold_constants(Fold *f, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    int most = 0, folded = 0;
    uint64_t work = EVALUATE_WORK;
    for (NodeId n = 1; n <= g->node_count; n++)
        if (graph_node(g, n)->output_count > most) most = graph_node(g, n)->output_count;
    Tensor *outputs = alloc_zeroed((size_t)most + 1, sizeof *outputs);
    if (outputs == NULL) return err_no_memory(err, "results of constants");
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        uint64_t bytes;
        if (n->removed) continue;
        if (str_is(n->type, "Constant") && n->domain.len == 0) TRY_OUT(fold_constant_node(f, id, &folded, err));
        else if (can_evaluate(g, n, &bytes)) TRY_OUT(fold_node(f, id, outputs, bytes + f->options->growth, &work, err));
    }
    if (folded == 1) fold_changed(f, STR("graph"), "1 Constant node becomes an initializer");
    if (folded > 1) fold_changed(f, STR("graph"), "%d Constant nodes become initializers", folded);
out:
    free(outputs);
    return status;
}

/* ---- what shape inference knows of contents ---- */

typedef struct Known {
    Ints **of;     /* [value]: NULL where nothing is known */
    uint32_t count;
} Known;

static void known_release(Known *k)
{
    for (uint32_t v = 0; k->of != NULL && v <= k->count; v++) free(k->of[v]);
    free(k->of);
}

static void known_constant(const Tensor *t, Ints *out)
{
    out->count = -1;
    if (t == NULL || !dtype_is_integer(t->type) || t->shape.rank > 1) return;
    int64_t count = tensor_count(t);
    if (count > MAX_INTS) return;
    out->count = (int)count;
    out->scalar = t->shape.rank == 0;
    for (int i = 0; i < count; i++) {
        out->at[i] = tensor_get_int(t, i);
        out->symbol[i] = false;
    }
}

typedef struct Ask {
    TypeInfo *in, *out;
    const Tensor **constant;
    Ints *ints, *out_ints;
} Ask;

static bool ask_node(const Known *k, Graph *g, const Node *n, Ask *a)
{
    Err why;
    for (int i = 0; i < n->input_count; i++) {
        ValueId v = n->inputs[i];
        const Value *value = graph_value(g, v);
        a->in[i] = v == 0 ? (TypeInfo){ DT_NONE, SHAPE_UNKNOWN } : (TypeInfo){ value->type, value->shape };
        a->constant[i] = v == 0 ? NULL : value->tensor;
        if (v != 0 && k->of[v] != NULL) a->ints[i] = *k->of[v];
        else known_constant(a->constant[i], &a->ints[i]);
    }
    for (int i = 0; i < n->output_count; i++) {
        a->out[i] = (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        a->out_ints[i].count = -1;
    }
    InferCall call = { .graph = g, .node = n, .opset = (int)graph_opset(g, n->domain), .input_count = n->input_count,
                       .output_count = n->output_count, .in = a->in, .constant = a->constant, .ints = a->ints, .out = a->out,
                       .out_ints = a->out_ints, .err = &why };
    return n->op->infer(&call) == OK;
}

static Status known_find(Graph *g, Known *k, Err *err)
{
    Status status = OK;
    size_t in = 1, out = 1;
    for (NodeId n = 1; n <= g->node_count; n++) {
        if ((size_t)graph_node(g, n)->input_count > in) in = (size_t)graph_node(g, n)->input_count;
        if ((size_t)graph_node(g, n)->output_count > out) out = (size_t)graph_node(g, n)->output_count;
    }
    Ask a = { alloc_zeroed(in, sizeof(TypeInfo)), alloc_zeroed(out, sizeof(TypeInfo)), alloc_zeroed(in, sizeof(Tensor *)),
              alloc_zeroed(in, sizeof(Ints)), alloc_zeroed(out, sizeof(Ints)) };
    k->count = g->value_count;
    k->of = alloc_zeroed((size_t)g->value_count + 1, sizeof *k->of);
    if (a.in == NULL || a.out == NULL || a.constant == NULL || a.ints == NULL || a.out_ints == NULL || k->of == NULL) {
        status = err_no_memory(err, "known contents");
        goto out;
    }
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->removed || n->op == NULL || n->op->infer == NULL || !ask_node(k, g, n, &a)) continue;
        for (int j = 0; j < n->output_count; j++) {
            if (n->outputs[j] == 0 || a.out_ints[j].count < 0) continue;
            Ints *copy = malloc(sizeof *copy);
            if (copy == NULL) {
                status = err_no_memory(err, "known contents");
                goto out;
            }
            *copy = a.out_ints[j];
            free(k->of[n->outputs[j]]);
            k->of[n->outputs[j]] = copy;
        }
    }
out:
    free(a.in);
    free(a.out);
    free(a.constant);
    free(a.ints);
    free(a.out_ints);
    return status;
}

static bool all_numbers(const Ints *ints)
{
    for (int i = 0; i < ints->count; i++)
        if (ints->symbol[i]) return false;
    return true;
}

static Status ints_to_constant(Fold *f, ValueId v, const Ints *ints, Err *err)
{
    const Value *value = graph_value(f->g, v);
    int64_t count = ints->count;
    Shape shape = shape_of(ints->scalar ? 0 : 1, &count);
    if (shape_known(&value->shape)) {
        int64_t have;
        if (!shape_count(&value->shape, &have) || have != count) return OK;
        shape = value->shape;
    }
    Tensor t = { 0 };
    TRY(tensor_new(&t, value->type, &shape, err));
    for (int i = 0; i < ints->count; i++) tensor_set_int(&t, i, ints->at[i]);
    const Node *n = graph_node(f->g, value->producer);
    Str name = node_label(f->g, n), type = n->type;
    TRY(fold_to_constant(f, v, &t, err));
    fold_changed(f, name, "the result of %.*s is known from the shapes", STR_ARG(type));
    return OK;
}

/* Writes the target of a Reshape with its symbols as 0 or -1; false when more than one dimension would stay open. */
static bool reshape_target(const Shape *in, const Ints *ints, bool allow_zero, int64_t *target)
{
    int open = 0;
    for (int i = 0; i < ints->count; i++) {
        if (!ints->symbol[i]) {
            target[i] = ints->at[i];
            open += target[i] == -1;
            if (target[i] < -1) return false;
        } else if (!allow_zero && ints->at[i] <= -2 && i < in->rank && in->dims[i] == ints->at[i]) {
            target[i] = 0;
        } else {
            target[i] = -1;
            open++;
        }
    }
    return open <= 1;
}

static Status fold_reshape(Fold *f, NodeId id, const Ints *ints, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    int64_t target[MAX_INTS], count = ints->count;
    if (!reshape_target(&graph_value(g, n->inputs[0])->shape, ints, node_int(n, "allowzero", 0) != 0, target)) return OK;
    Str name = node_label(g, n);
    Shape shape = shape_of(1, &count);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_INT64, &shape, err));
    for (int i = 0; i < ints->count; i++) tensor_set_int(&t, i, target[i]);
    ValueId constant = graph_add_constant(g, arena_printf(g->arena, "%.*s_target", STR_ARG(name)), &t);
    if (constant == 0) return err_no_memory(err, "a Reshape target");
    TRY(graph_set_input(g, id, 1, constant, err));
    fold_changed(f, name, "Reshape to a constant shape");
    return OK;
}

Status fold_shapes(Fold *f, Err *err)
{
    Graph *g = f->g;
    Known known = { 0 };
    Status status = known_find(g, &known, err);
    for (uint32_t i = 0; status == OK && i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        if (n->removed || n->op == NULL) continue;
        if (str_is(n->type, "Reshape") && n->domain.len == 0 && n->input_count == 2 && graph_value(g, n->inputs[1])->tensor == NULL) {
            const Ints *ints = n->inputs[1] <= known.count ? known.of[n->inputs[1]] : NULL;
            if (ints != NULL && n->inputs[0] != 0 && !all_numbers(ints)) status = fold_reshape(f, id, ints, err);
        }
        for (int j = 0; status == OK && j < graph_node(g, id)->output_count; j++) {
            ValueId v = graph_node(g, id)->outputs[j];
            if (v == 0 || v > known.count || known.of[v] == NULL || !all_numbers(known.of[v])) continue;
            const Value *value = graph_value(g, v);
            if (value->tensor != NULL || value->flags & VALUE_OUTPUT || graph_readers(g, v) == 0) continue;
            if (value->type == DT_INT64 || value->type == DT_INT32) status = ints_to_constant(f, v, known.of[v], err);
        }
    }
    known_release(&known);
    return status;
}
