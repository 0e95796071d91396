#include "graph/edit.h"

#include "base/bytes.h"
#include "graph/op.h"

#include <stdlib.h>
#include <string.h>

static void index_put(Graph *g, ValueId v)
{
    uint32_t mask = g->name_capacity - 1, at = str_hash(g->values[v].name) & mask;
    while (g->name_index[at] != 0) at = (at + 1) & mask;
    g->name_index[at] = v;
}

/* Rebuilds the name index with room for `count` names at half load. */
static bool index_rebuild(Graph *g, uint32_t count)
{
    if (count == 0) return true;
    uint32_t capacity = 64;
    while (capacity / 2 < count) {
        if (capacity > UINT32_MAX / 4) return false;
        capacity *= 2;
    }
    uint32_t *index = calloc(capacity, sizeof *index);
    if (index == NULL) return false;
    free(g->name_index);
    g->name_index = index;
    g->name_capacity = capacity;
    for (ValueId v = 1; v <= g->value_count; v++) {
        if (g->values[v].name.len > 0) index_put(g, v);
    }
    return true;
}

bool graph_reindex(Graph *g)
{
    return index_rebuild(g, g->value_count);
}

static Str unique_name(Graph *g, Str name)
{
    if (name.len == 0) name = STR("pare_value");
    if (graph_find_value(g, name) == 0) return arena_str(g->arena, name);
    for (unsigned k = 2;; k++) {
        Str candidate = arena_printf(g->arena, "%.*s_%u", STR_ARG(name), k);
        if (candidate.data == NULL || graph_find_value(g, candidate) == 0) return candidate;
    }
}

ValueId graph_add_value(Graph *g, Str name, DType type, const Shape *shape)
{
    Str unique = unique_name(g, name);
    size_t capacity = g->value_capacity;
    void *values = g->values;
    if (unique.data == NULL || !array_grow(&values, &capacity, (size_t)g->value_count + 2, sizeof *g->values)) return 0;
    g->values = values;
    g->value_capacity = (uint32_t)capacity;
    if ((g->value_count + 1) * 2 > g->name_capacity && !index_rebuild(g, g->value_count + 1)) return 0;
    ValueId v = ++g->value_count;
    g->values[v] = (Value){ .name = unique, .type = type, .shape = shape != NULL ? *shape : SHAPE_UNKNOWN, .flags = VALUE_TENSOR };
    index_put(g, v);
    return v;
}

/* The Tensor record of a value: in the arena, while the buffer reference belongs to the graph. */
static Tensor *keep_record(Graph *g, Tensor *tensor)
{
    Tensor *kept = arena_copy(g->arena, tensor, sizeof *tensor);
    if (kept != NULL) *tensor = (Tensor){ 0 };
    return kept;
}

static void release_tensor(void *tensor)
{
    tensor_release(tensor);
}

Tensor *graph_keep_tensor(Graph *g, Tensor *tensor)
{
    Tensor *kept = keep_record(g, tensor);
    if (kept != NULL && arena_defer(g->arena, release_tensor, kept)) return kept;
    tensor_release(kept != NULL ? kept : tensor);
    return NULL;
}

ValueId graph_add_constant(Graph *g, Str name, Tensor *tensor)
{
    ValueId v = graph_add_value(g, name, tensor->type, &tensor->shape);
    Tensor *kept = v != 0 ? keep_record(g, tensor) : NULL;
    if (kept == NULL) {
        tensor_release(tensor);
        return 0;
    }
    g->values[v].tensor = kept;
    g->values[v].flags |= VALUE_INITIALIZER;
    return v;
}

Status graph_set_constant(Graph *g, ValueId v, Tensor *tensor, Err *err)
{
    Tensor *kept = keep_record(g, tensor);
    if (kept == NULL) {
        tensor_release(tensor);
        return err_no_memory(err, "a constant");
    }
    Value *value = &g->values[v];
    if (value->producer != 0) graph_remove_node(g, value->producer);
    if (value->tensor != NULL) buffer_unref(value->tensor->buffer);
    value->tensor = kept;
    value->type = kept->type;
    value->shape = kept->shape;
    value->flags |= VALUE_INITIALIZER;
    return OK;
}

Status tensor_make_writable(Graph *g, ValueId v, Tensor **out, Err *err)
{
    Value *value = &g->values[v];
    if (value->tensor == NULL) return err_set(err, ERR_BUG, "'%.*s' is no constant", STR_ARG(value->name));
    const Buffer *buffer = value->tensor->buffer;
    bool own_buffer = buffer != NULL && buffer->refs == 1 && !buffer->read_only;
    if (own_buffer && tensor_is_aligned(value->tensor) && value->producer == 0) {
        *out = value->tensor; /* nobody shares it: no clone, no tied weight */
        return OK;
    }
    Tensor own;
    TRY(tensor_clone(value->tensor, &own, err));
    TRY(graph_set_constant(g, v, &own, err));
    *out = g->values[v].tensor;
    return OK;
}

static const Op *op_of(const Graph *g, Str domain, Str type)
{
    return g->find_op != NULL ? g->find_op(domain, type) : NULL;
}

NodeId graph_add_node(Graph *g, const char *type, const char *domain, Str name,
                      const ValueId *inputs, int input_count, const ValueId *outputs, int output_count)
{
    size_t capacity = g->node_capacity;
    void *nodes = g->nodes;
    if (!array_grow(&nodes, &capacity, (size_t)g->node_count + 2, sizeof *g->nodes)) return 0;
    g->nodes = nodes;
    g->node_capacity = (uint32_t)capacity;
    Node n = { .name = arena_str(g->arena, name) };
    n.type = arena_str(g->arena, str_of(type));
    n.domain = arena_str(g->arena, str_of(domain));
    n.inputs = arena_copy(g->arena, inputs, sizeof *inputs * (size_t)input_count);
    n.outputs = arena_copy(g->arena, outputs, sizeof *outputs * (size_t)output_count);
    if (n.name.data == NULL || n.type.data == NULL || n.domain.data == NULL || n.inputs == NULL || n.outputs == NULL) return 0;
    void *grown = g->order;
    size_t order_capacity = g->order_count;
    if (!array_grow(&grown, &order_capacity, (size_t)g->order_count + 1, sizeof *g->order)) return 0;
    g->order = grown;
    n.input_count = input_count;
    n.output_count = output_count;
    n.op = op_of(g, n.domain, n.type);
    NodeId id = ++g->node_count;
    g->nodes[id] = n;
    g->order[g->order_count++] = id;
    for (int i = 0; i < output_count; i++) {
        if (outputs[i] != 0) g->values[outputs[i]].producer = id;
    }
    return id;
}

void graph_remove_node(Graph *g, NodeId id)
{
    Node *n = &g->nodes[id];
    n->removed = true;
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != 0 && g->values[n->outputs[i]].producer == id) g->values[n->outputs[i]].producer = 0;
    }
}

Status graph_set_type(Graph *g, NodeId id, const char *type, const char *domain, Err *err)
{
    Node *n = &g->nodes[id];
    Str new_type = arena_str(g->arena, str_of(type)), new_domain = arena_str(g->arena, str_of(domain));
    if (new_type.data == NULL || new_domain.data == NULL) return err_no_memory(err, "a node");
    n->type = new_type;
    n->domain = new_domain;
    n->op = op_of(g, new_domain, new_type);
    return OK;
}

Status graph_set_inputs(Graph *g, NodeId id, const ValueId *inputs, int count, Err *err)
{
    ValueId *copy = arena_copy(g->arena, inputs, sizeof *inputs * (size_t)count);
    if (copy == NULL) return err_no_memory(err, "a node's inputs");
    g->nodes[id].inputs = copy;
    g->nodes[id].input_count = count;
    return OK;
}

Status graph_set_input(Graph *g, NodeId id, int i, ValueId v, Err *err)
{
    Node *n = &g->nodes[id];
    int count = i < n->input_count ? n->input_count : i + 1;
    ValueId *copy = arena_array(g->arena, (size_t)count, sizeof *copy);
    if (copy == NULL) return err_no_memory(err, "a node's inputs");
    if (n->input_count > 0) memcpy(copy, n->inputs, sizeof *copy * (size_t)n->input_count);
    copy[i] = v;
    n->inputs = copy;
    n->input_count = count;
    return OK;
}

Status graph_set_outputs(Graph *g, NodeId id, const ValueId *outputs, int count, Err *err)
{
    ValueId *copy = arena_copy(g->arena, outputs, sizeof *outputs * (size_t)count);
    if (copy == NULL) return err_no_memory(err, "a node's outputs");
    Node *n = &g->nodes[id];
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != 0 && g->values[n->outputs[i]].producer == id) g->values[n->outputs[i]].producer = 0;
    }
    n->outputs = copy;
    n->output_count = count;
    for (int i = 0; i < count; i++) {
        if (copy[i] != 0) g->values[copy[i]].producer = id;
    }
    return OK;
}

static Status set_attr(Graph *g, NodeId id, const char *name, Attr attr, Err *err)
{
    Node *n = &g->nodes[id];
    attr.name = arena_str(g->arena, str_of(name));
    Attr *attrs = arena_array(g->arena, (size_t)n->attr_count + 1, sizeof *attrs);
    if (attr.name.data == NULL || attrs == NULL) return err_no_memory(err, "an attribute");
    if (n->attr_count > 0) memcpy(attrs, n->attrs, sizeof *attrs * (size_t)n->attr_count);
    int at = 0;
    while (at < n->attr_count && !str_is(attrs[at].name, name)) at++;
    attrs[at] = attr;
    n->attrs = attrs;
    if (at == n->attr_count) n->attr_count++;
    return OK;
}

Status graph_set_int(Graph *g, NodeId n, const char *name, int64_t value, Err *err)
{
    return set_attr(g, n, name, (Attr){ .type = ATTR_INT, .i = value }, err);
}

Status graph_set_float(Graph *g, NodeId n, const char *name, float value, Err *err)
{
    return set_attr(g, n, name, (Attr){ .type = ATTR_FLOAT, .f = value }, err);
}

Status graph_set_string(Graph *g, NodeId n, const char *name, Str value, Err *err)
{
    Str copy = arena_str(g->arena, value);
    if (copy.data == NULL) return err_no_memory(err, "an attribute");
    return set_attr(g, n, name, (Attr){ .type = ATTR_STRING, .s = copy }, err);
}

Status graph_set_ints(Graph *g, NodeId n, const char *name, const int64_t *values, int64_t count, Err *err)
{
    int64_t *copy = arena_copy(g->arena, values, sizeof *values * (size_t)count);
    if (copy == NULL) return err_no_memory(err, "an attribute");
    return set_attr(g, n, name, (Attr){ .type = ATTR_INTS, .ints = copy, .count = count }, err);
}

void graph_remove_attr(Graph *g, NodeId id, const char *name)
{
    Node *n = &g->nodes[id];
    Attr *attrs = arena_copy(g->arena, n->attrs, sizeof *attrs * (size_t)n->attr_count);
    if (attrs == NULL) return;
    int kept = 0;
    for (int i = 0; i < n->attr_count; i++) {
        if (!str_is(attrs[i].name, name)) attrs[kept++] = attrs[i];
    }
    n->attrs = attrs;
    n->attr_count = kept;
}

/* Nodes whose entry is bound to another opset version are bound again by engine_bind; here only the import changes. */
Status graph_set_opset(Graph *g, Str domain, int64_t version, Err *err)
{
    for (int i = 0; i < g->opset_count; i++) {
        if (!str_eq(g->opsets[i].domain, domain)) continue;
        g->opsets[i].version = version;
        return OK;
    }
    Str copy = arena_str(g->arena, domain);
    OpsetImport *opsets = realloc(g->opsets, sizeof *opsets * ((size_t)g->opset_count + 1));
    if (opsets != NULL) g->opsets = opsets;
    if (opsets == NULL || copy.data == NULL) return err_no_memory(err, "an opset import");
    g->opsets[g->opset_count++] = (OpsetImport){ copy, version };
    return OK;
}

Status graph_set_metadata(Graph *g, const char *key, const char *value, Err *err)
{
    Str text = arena_str(g->arena, str_of(value)), name = arena_str(g->arena, str_of(key));
    if (text.data == NULL || name.data == NULL) return err_no_memory(err, "metadata");
    for (int i = 0; i < g->metadata_count; i++) {
        if (!str_eq(g->metadata[i].key, name)) continue;
        g->metadata[i].value = text;
        return OK;
    }
    MetaEntry *metadata = realloc(g->metadata, sizeof *metadata * ((size_t)g->metadata_count + 1));
    if (metadata == NULL) return err_no_memory(err, "metadata");
    g->metadata = metadata;
    g->metadata[g->metadata_count++] = (MetaEntry){ name, text };
    return OK;
}
