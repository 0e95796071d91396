/* NodeProto and AttributeProto to the tables: inputs by name, attributes, subgraphs with what they capture, Constant nodes. */
#include "formats/onnx.h"

#include "base/bytes.h"
#include "graph/edit.h"

#include <stdlib.h>
#include <string.h>

ValueId onnx_resolve(Graph *g, Str name, bool *no_memory)
{
    ValueId v = graph_find_value(g, name);
    if (v != 0 || g->parent == NULL) return v;
    ValueId outer = onnx_resolve(g->parent, name, no_memory);
    if (outer == 0) return 0;
    const Value *value = graph_value(g->parent, outer);
    Shape shape = value->shape;
    for (int i = 0; i < shape.rank; i++) { /* symbols are numbered per graph */
        if (shape.dims[i] >= DIM_UNKNOWN) continue;
        shape.dims[i] = graph_symbol(g, graph_symbol_name(g->parent, shape.dims[i]));
        *no_memory |= shape.dims[i] == DIM_UNKNOWN;
    }
    if (*no_memory) return 0;
    v = graph_add_value(g, name, value->type, &shape);
    if (v == 0) {
        *no_memory = true;
        return 0;
    }
    graph_value(g, v)->flags = VALUE_OUTER | (value->flags & VALUE_TENSOR);
    return v;
}

/* Files of early exporters leave the type out: then the one field that is set tells. */
static AttrType attr_type(const Onnx__AttributeProto *a)
{
    int type = (int)a->type;
    if (type != ATTR_NONE) return type > 0 && type <= ATTR_TYPE_PROTOS ? (AttrType)type : ATTR_NONE;
    if (a->has_f) return ATTR_FLOAT;
    if (a->has_i) return ATTR_INT;
    if (a->has_s) return ATTR_STRING;
    if (a->t != NULL) return ATTR_TENSOR;
    if (a->g != NULL) return ATTR_GRAPH;
    if (a->n_floats > 0) return ATTR_FLOATS;
    if (a->n_ints > 0) return ATTR_INTS;
    if (a->n_strings > 0) return ATTR_STRINGS;
    if (a->n_tensors > 0) return ATTR_TENSORS;
    if (a->n_graphs > 0) return ATTR_GRAPHS;
    return ATTR_NONE;
}

static Status load_attr_tensor(OnnxLoader *l, Graph *g, const Onnx__TensorProto *t, Tensor **out)
{
    Tensor tensor;
    TRY(onnx_tensor_load(l->file, t, "attribute tensor", &tensor, l->err));
    *out = graph_keep_tensor(g, &tensor);
    return *out != NULL ? OK : err_no_memory(l->err, "an attribute");
}

static Status load_attr_lists(OnnxLoader *l, Graph *g, const Onnx__AttributeProto *m, Attr *a)
{
    bool fine = true;
    switch (a->type) {
    case ATTR_FLOATS:
        a->floats = arena_copy(g->arena, m->floats, m->n_floats * sizeof *m->floats);
        fine = a->floats != NULL;
        a->count = (int64_t)m->n_floats;
        break;
    case ATTR_INTS:
        a->ints = arena_copy(g->arena, m->ints, m->n_ints * sizeof *m->ints);
        fine = a->ints != NULL;
        a->count = (int64_t)m->n_ints;
        break;
    case ATTR_STRINGS: {
        Str *strings = arena_array(g->arena, m->n_strings, sizeof *strings);
        fine = strings != NULL;
        for (size_t i = 0; fine && i < m->n_strings; i++) {
            strings[i] = arena_str(g->arena, str_of_bytes(m->strings[i]));
            fine = strings[i].data != NULL;
        }
        a->strings = strings;
        a->count = (int64_t)m->n_strings;
        break;
    }
    case ATTR_TENSORS:
        a->tensors = arena_array(g->arena, m->n_tensors, sizeof *a->tensors);
        fine = a->tensors != NULL;
        for (size_t i = 0; fine && i < m->n_tensors; i++) {
            Tensor *kept;
            TRY(load_attr_tensor(l, g, m->tensors[i], &kept));
            a->tensors[i] = *kept; /* the record in the arena holds the reference */
        }
        a->count = (int64_t)m->n_tensors;
        break;
    default: break;
    }
    return fine ? OK : err_no_memory(l->err, "an attribute");
}

/* Subgraphs are counted one by one, so that what was loaded is freed when a later one fails. */
static Status load_attr_graphs(OnnxLoader *l, Graph *g, const Onnx__AttributeProto *m, Attr *a)
{
    if (a->type == ATTR_GRAPH) {
        if (m->g == NULL) return err_set(l->err, ERR_DATA, "attribute '%.*s' holds no graph", STR_ARG(a->name));
        return onnx_load_graph(l, m->g, g, &a->graph);
    }
    a->graphs = arena_array(g->arena, m->n_graphs, sizeof(Graph *));
    if (a->graphs == NULL) return err_no_memory(l->err, "an attribute");
    for (size_t i = 0; i < m->n_graphs; i++) {
        TRY(onnx_load_graph(l, m->graphs[i], g, &a->graphs[i]));
        a->count++;
    }
    return OK;
}

static Status load_attr(OnnxLoader *l, Graph *g, const Onnx__AttributeProto *m, Attr *a)
{
    *a = (Attr){ .name = arena_str(g->arena, str_of_bytes(m->name)), .type = attr_type(m), .origin = m };
    if (a->name.data == NULL) return err_no_memory(l->err, "an attribute");
    switch (a->type) {
    case ATTR_FLOAT: a->f = m->f; return OK;
    case ATTR_INT: a->i = m->i; return OK;
    case ATTR_STRING:
        a->s = arena_str(g->arena, str_of_bytes(m->s));
        return a->s.data != NULL ? OK : err_no_memory(l->err, "an attribute");
    case ATTR_TENSOR:
        if (m->t == NULL) return err_set(l->err, ERR_DATA, "attribute '%.*s' holds no tensor", STR_ARG(a->name));
        return load_attr_tensor(l, g, m->t, &a->tensor);
    case ATTR_GRAPH: case ATTR_GRAPHS: return load_attr_graphs(l, g, m, a);
    default: return load_attr_lists(l, g, m, a);
    }
}

static int compare_ids(const void *a, const void *b)
{
    ValueId x = *(const ValueId *)a, y = *(const ValueId *)b;
    return (x > y) - (x < y);
}

static Status collect_captures(OnnxLoader *l, Graph *g, Node *n)
{
    ValueId *ids = NULL;
    size_t count = 0, capacity = 0;
    Status status = OK;
    for (int a = 0; a < n->attr_count; a++) {
        const Attr *attr = &n->attrs[a];
        int64_t graphs = attr->type == ATTR_GRAPH ? 1 : attr->type == ATTR_GRAPHS ? attr->count : 0;
        for (int64_t i = 0; i < graphs; i++) {
            const Graph *sub = attr->type == ATTR_GRAPH ? attr->graph : attr->graphs[i];
            for (ValueId v = 1; v <= sub->value_count; v++) {
                if (!(sub->values[v].flags & VALUE_OUTER)) continue;
                if (!array_grow((void **)&ids, &capacity, count + 1, sizeof *ids)) {
                    status = err_no_memory(l->err, "what a subgraph captures");
                    goto out;
                }
                ids[count++] = graph_find_value(g, sub->values[v].name);
            }
        }
    }
    if (count == 0) goto out;
    qsort(ids, count, sizeof *ids, compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (ids[i] != ids[kept - 1]) ids[kept++] = ids[i];
    }
    n->captures = arena_copy(g->arena, ids, kept * sizeof *ids);
    n->capture_count = (int)kept;
    if (n->captures == NULL) status = err_no_memory(l->err, "what a subgraph captures");
out:
    free(ids);
    return status;
}

/* The tensor that a Constant node's attribute spells; *out->buffer NULL: strings or sparse, which have no tensor. */
static Status constant_tensor(OnnxLoader *l, const Attr *a, Tensor *out)
{
    *out = (Tensor){ 0 };
    const void *from = NULL;
    Shape shape = { .rank = 0 };
    DType type = DT_NONE;
    if (str_is(a->name, "value") && a->type == ATTR_TENSOR) {
        *out = tensor_share(a->tensor);
        return OK;
    }
    if (str_is(a->name, "value_float") && a->type == ATTR_FLOAT) type = DT_FLOAT, from = &a->f;
    if (str_is(a->name, "value_int") && a->type == ATTR_INT) type = DT_INT64, from = &a->i;
    if (str_is(a->name, "value_floats") && a->type == ATTR_FLOATS) type = DT_FLOAT, from = a->floats, shape = shape_of(1, &a->count);
    if (str_is(a->name, "value_ints") && a->type == ATTR_INTS) type = DT_INT64, from = a->ints, shape = shape_of(1, &a->count);
    if (type == DT_NONE) return OK;
    TRY(tensor_new(out, type, &shape, l->err));
    if (out->bytes > 0) memcpy(out->data, from, out->bytes);
    return OK;
}

static Status load_constant(OnnxLoader *l, Graph *g, const Node *n)
{
    if (n->output_count != 1 || n->outputs[0] == 0) return OK;
    Value *value = graph_value(g, n->outputs[0]);
    for (int i = 0; i < n->attr_count && value->tensor == NULL; i++) {
        Tensor t;
        TRY(constant_tensor(l, &n->attrs[i], &t));
        if (t.buffer == NULL) continue;
        value->tensor = arena_copy(g->arena, &t, sizeof t);
        if (value->tensor == NULL) {
            tensor_release(&t);
            return err_no_memory(l->err, "a constant");
        }
        value->type = t.type;
        value->shape = t.shape;
    }
    return OK;
}

static Status load_names(OnnxLoader *l, Graph *g, Node *n, const Onnx__NodeProto *m)
{
    n->name = arena_str(g->arena, str_of_bytes(m->name));
    n->type = arena_str(g->arena, str_of_bytes(m->op_type));
    n->domain = arena_str(g->arena, onnx_domain(m->domain));
    ValueId *inputs = arena_array(g->arena, m->n_input, sizeof *inputs), *outputs = arena_array(g->arena, m->n_output, sizeof *outputs);
    if (n->name.data == NULL || n->type.data == NULL || n->domain.data == NULL || inputs == NULL || outputs == NULL) {
        return err_no_memory(l->err, "a node");
    }
    if (n->type.len == 0) return err_set(l->err, ERR_DATA, "graph '%.*s': node %u '%.*s' has no operator", STR_ARG(g->name),
                                         g->node_count - 1, STR_ARG(n->name));
    n->inputs = inputs;
    n->outputs = outputs;
    for (size_t i = 0; i < m->n_output; i++) {
        outputs[n->output_count++] = graph_find_value(g, str_of_bytes(m->output[i]));
        if (outputs[i] != 0) graph_value(g, outputs[i])->producer = g->node_count;
    }
    for (size_t i = 0; i < m->n_input; i++) {
        Str name = str_of_bytes(m->input[i]);
        bool no_memory = false;
        if (name.len > 0) inputs[i] = onnx_resolve(g, name, &no_memory);
        if (no_memory) return err_no_memory(l->err, "a node");
        if (name.len > 0 && inputs[i] == 0) {
            return err_set(l->err, ERR_DATA, "%.*s '%.*s': input %zu '%.*s' is made by no node, initializer or graph input",
                           STR_ARG(n->type),
                           STR_ARG(node_label(g, n)), i, STR_ARG(name));
        }
        n->input_count++;
    }
    return OK;
}

static Status load_attrs(OnnxLoader *l, Graph *g, Node *n, const Onnx__NodeProto *m)
{
    Attr *attrs = arena_array(g->arena, m->n_attribute, sizeof *attrs);
    if (attrs == NULL) return err_no_memory(l->err, "a node");
    n->attrs = attrs;
    for (size_t i = 0; i < m->n_attribute; i++) {
        n->attr_count++; /* counted first: a list of subgraphs that fails midway is freed with the node */
        Status status = load_attr(l, g, m->attribute[i], &attrs[i]);
        if (status != OK) return status;
    }
    return OK;
}

Status onnx_load_nodes(OnnxLoader *l, Graph *g, const Onnx__GraphProto *m)
{
    Node *nodes = alloc_zeroed(m->n_node + 1, sizeof *nodes);
    if (nodes == NULL || m->n_node >= UINT32_MAX) {
        free(nodes);
        return err_no_memory(l->err, "the table of nodes");
    }
    free(g->nodes);
    g->nodes = nodes;
    g->node_capacity = (uint32_t)m->n_node + 1;
    for (size_t i = 0; i < m->n_node; i++) {
        Node *n = &g->nodes[++g->node_count];
        n->origin = m->node[i];
        TRY(load_names(l, g, n, m->node[i]));
        Status status = load_attrs(l, g, n, m->node[i]);
        if (status == OK && str_is(n->type, "Constant") && n->domain.len == 0) status = load_constant(l, g, n);
        if (status != OK) {
            err_prefix(l->err, "%.*s '%.*s'", STR_ARG(n->type), STR_ARG(node_label(g, n)));
            return status;
        }
        TRY(collect_captures(l, g, n));
    }
    return OK;
}
