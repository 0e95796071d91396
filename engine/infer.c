/* Shape and type inference over a whole graph: each node's own infer, in topological order. */
#include "engine/infer_scope.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "graph/edit.h"

/* ---- results ---- */

void scope_name_unknown(Scope *s, Shape *shape)
{
    for (int d = 0; d < shape->rank; d++) {
        if (shape->dims[d] == DIM_UNKNOWN) shape->dims[d] = (*s->next_temp)--;
    }
}

static bool is_temp(int64_t dim)
{
    return dim <= TEMP_SYMBOL;
}

static Status contradiction(const Scope *s, const Node *n, const Value *v, const Shape *inferred)
{
    char found[160], declared[160];
    Str label = node_label(s->g, n);
    shape_print(inferred, found, sizeof found);
    shape_print(&v->shape, declared, sizeof declared);
    return err_set(s->err, ERR_DATA, "%.*s '%.*s': its output '%.*s' has shape %s, the file declares %s", STR_ARG(n->type), STR_ARG(label),
                   STR_ARG(v->name), found, declared);
}

/* Takes the more definite of what was inferred and what the file declares. */
static Status merge_declared(const Scope *s, const Node *n, const Value *v, TypeInfo *info)
{
    Shape *shape = &info->shape;
    if (info->type != DT_NONE && v->type != DT_NONE && info->type != v->type) {
        Str label = node_label(s->g, n);
        return err_set(s->err, ERR_DATA, "%.*s '%.*s': its output '%.*s' is %s, the file declares %s", STR_ARG(n->type), STR_ARG(label),
                       STR_ARG(v->name), dtype_name(info->type), dtype_name(v->type));
    }
    if (info->type == DT_NONE) info->type = v->type;
    if (v->shape.rank < 0) return OK;
    if (shape->rank < 0) {
        *shape = v->shape;
        return OK;
    }
    if (shape->rank != v->shape.rank) return contradiction(s, n, v, shape);
    for (int d = 0; d < shape->rank; d++) {
        int64_t declared = v->shape.dims[d];
        if (declared == DIM_UNKNOWN) continue;
        if (shape->dims[d] >= 0 && declared >= 0 && shape->dims[d] != declared) return contradiction(s, n, v, shape);
        if (declared >= 0 || shape->dims[d] == DIM_UNKNOWN) shape->dims[d] = declared;
    }
    return OK;
}

static void write_value(const Scope *s, ValueId v)
{
    Value *value = graph_value(s->edit, v);
    const TypeInfo *info = &s->types[v];
    if (value->tensor != NULL) return;
    if (info->type != DT_NONE) value->type = info->type;
    if (info->shape.rank < 0) return;
    value->shape = info->shape;
    for (int d = 0; d < value->shape.rank; d++) {
        if (is_temp(value->shape.dims[d])) value->shape.dims[d] = DIM_UNKNOWN;
    }
}

static Status keep_output(Scope *s, const Node *n, ValueId v, TypeInfo info, const Ints *ints)
{
    const Value *value = &s->g->values[v];
    if (s->edit != NULL && (value->flags & VALUE_DECLARED) != 0) TRY(merge_declared(s, n, value, &info));
    if (info.type == DT_NONE) info.type = value->type;
    if (s->edit != NULL && info.shape.rank < 0) info.shape = value->shape;
    scope_name_unknown(s, &info.shape);
    s->types[v] = info;
    return ints != NULL ? scope_keep_ints(s, v, ints) : OK;
}

/* ---- nodes ---- */

static Status call_infer(Scope *s, const Node *n, InferCall *c)
{
    if (n->op == NULL || n->op->infer == NULL) return scope_infer_bodies(s, n, c->out, c->out_ints);
    Status status = n->op->infer(c);
    if (status == ERR_UNSUPPORTED) {
        for (int i = 0; i < n->output_count; i++) {
            c->out[i] = (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
            c->out_ints[i].count = -1;
        }
        return OK;
    }
    return status;
}

static Status infer_node(Scope *s, const Node *n)
{
    size_t inputs = (size_t)n->input_count, outputs = (size_t)n->output_count;
    TypeInfo *info = alloc_zeroed(inputs + outputs + 1, sizeof *info);
    Ints *ints = alloc_array(inputs + outputs + 1, sizeof *ints);
    const Tensor **constants = alloc_zeroed(inputs + 1, sizeof *constants);
    Status status = OK;
    if (info == NULL || ints == NULL || constants == NULL) {
        status = err_no_memory(s->err, "shape inference");
        goto out;
    }
    for (size_t i = 0; i < inputs; i++) {
        info[i] = scope_type(s, n->inputs[i]);
        scope_ints(s, n->inputs[i], &ints[i]);
        constants[i] = scope_constant(s, n->inputs[i]);
    }
    for (size_t i = inputs; i < inputs + outputs; i++) {
        info[i].shape.rank = -1;
        ints[i].count = -1;
    }
    int opset = scope_opset(s->g, n);
    InferCall call = { .graph = (Graph *)(uintptr_t)s->g, .node = n, .opset = opset, .input_count = n->input_count,
                       .output_count = n->output_count, .in = info, .constant = constants, .ints = ints, .out = info + inputs,
                       .out_ints = ints + inputs, .err = s->err };
    TRY_OUT(call_infer(s, n, &call));
    for (size_t i = 0; i < outputs; i++) {
        if (n->outputs[i] != 0) TRY_OUT(keep_output(s, n, n->outputs[i], call.out[i], &call.out_ints[i]));
    }
    TRY_OUT(scope_fold(s, n, opset));
out:
    free(info);
    free(ints);
    free(constants);
    return status;
}

Status scope_infer_nodes(Scope *s)
{
    for (uint32_t i = 0; i < s->g->order_count; i++) {
        const Node *n = graph_node(s->g, s->g->order[i]);
        if (n->removed) continue;
        TRY(infer_node(s, n));
        for (int k = 0; s->edit != NULL && k < n->output_count; k++) {
            if (n->outputs[k] != 0) write_value(s, n->outputs[k]);
        }
    }
    return OK;
}

/* ---- public ---- */

Status engine_infer(Graph *g, Err *err)
{
    int64_t next_temp = TEMP_SYMBOL;
    Scope s;
    Status status = scope_init(&s, g, g, NULL, &next_temp, err);
    if (status == OK) {
        for (int i = 0; i < g->input_count; i++) {
            const Value *v = graph_value(g, g->inputs[i]);
            TypeInfo info = { v->type, v->shape };
            scope_name_unknown(&s, &info.shape);
            s.types[g->inputs[i]] = info;
        }
        for (uint32_t v = 1; v <= g->value_count; v++) {
            Value *value = graph_value(g, v);
            if (value->tensor == NULL) continue;
            value->type = value->tensor->type;
            value->shape = value->tensor->shape;
        }
        status = scope_infer_nodes(&s);
    }
    scope_release(&s);
    return status;
}

/* Binds the symbols of one declared shape to sizes; symbols[k] is the size of symbol -2 - k, or -1. */
static Status check_feed(const Graph *g, const Value *v, const Shape *given, int64_t *symbols, Err *err)
{
    char found[160], declared[160];
    bool fits = shape_known(given) && (v->shape.rank < 0 || v->shape.rank == given->rank);
    for (int d = 0; fits && d < v->shape.rank; d++) {
        int64_t dim = v->shape.dims[d];
        if (dim >= 0) fits = dim == given->dims[d];
        if (dim > -2 || -2 - dim >= g->symbol_count) continue;
        int64_t *bound = &symbols[-2 - dim];
        if (*bound < 0) *bound = given->dims[d];
        fits = *bound == given->dims[d];
    }
    if (fits) return OK;
    shape_print(given, found, sizeof found);
    graph_print_shape(g, &v->shape, declared, sizeof declared);
    return err_set(err, ERR_DATA, "input '%.*s': shape %s was given, the network declares %s", STR_ARG(v->name), found, declared);
}

static Status feed_shapes(Scope *s, const Shape *shapes, int count)
{
    const Graph *g = s->g;
    int feeds = graph_feeds(g, NULL, 0);
    if (feeds != count) return err_set(s->err, ERR_DATA, "%d input shapes were given, the network takes %d", count, feeds);
    ValueId *ids = alloc_array((size_t)feeds + 1, sizeof *ids);
    int64_t *symbols = alloc_array((size_t)g->symbol_count + 1, sizeof *symbols);
    Status status = ids == NULL || symbols == NULL ? err_no_memory(s->err, "shape inference") : OK;
    for (int i = 0; status == OK && i < g->symbol_count; i++) symbols[i] = -1;
    if (status == OK) graph_feeds(g, ids, feeds);
    for (int i = 0; status == OK && i < feeds; i++) {
        const Value *v = graph_value(g, ids[i]);
        status = check_feed(g, v, &shapes[i], symbols, s->err);
        s->types[ids[i]] = (TypeInfo){ v->type, shapes[i] };
    }
    free(ids);
    free(symbols);
    return status;
}

Status engine_concrete_shapes(const Graph *g, const Shape *shapes, int count, TypeInfo **types, Err *err)
{
    return engine_concrete_bodies(g, shapes, count, types, NULL, NULL, err);
}

Status engine_concrete_bodies(const Graph *g, const Shape *shapes, int count, TypeInfo **types, BodyVisit visit, void *user, Err *err)
{
    int64_t next_temp = TEMP_SYMBOL;
    Scope s;
    *types = NULL;
    Status status = scope_init(&s, g, NULL, NULL, &next_temp, err);
    s.visit = visit;
    s.user = user;
    if (status == OK) status = feed_shapes(&s, shapes, count);
    if (status == OK) status = scope_infer_nodes(&s);
    for (uint32_t v = 1; status == OK && v <= g->value_count; v++) {
        s.types[v] = scope_type(&s, v);
        if (!shape_known(&s.types[v].shape)) s.types[v].shape.rank = -1;
    }
    if (status == OK) {
        *types = s.types;
        s.types = NULL;
    }
    scope_release(&s);
    return status;
}

Status engine_refresh(Graph *g, Err *err)
{
    TRY(graph_finish(g, err));
    engine_bind(g);
    return engine_infer(g, err);
}
