#include "graph/verify.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>

static Status fault(const Graph *g, const Node *n, Status code, const char *what, Str object, Err *err)
{
    return err_set(err, code, "%.*s '%.*s': %s '%.*s'", STR_ARG(n->type), STR_ARG(node_label(g, n)), what, STR_ARG(object));
}

static Status check_tensor(const Value *value, Err *err)
{
    const Tensor *t = value->tensor;
    int64_t count;
    size_t bytes;
    char text[128];
    if (t == NULL || t->type == DT_STRING) return OK;
    shape_print(&t->shape, text, sizeof text);
    if (!shape_count(&t->shape, &count) || !dtype_bytes(t->type, count, &bytes))
        return err_set(err, ERR_DATA, "tensor '%.*s': shape %s has no size in memory", STR_ARG(value->name), text);
    if (bytes != t->bytes)
        return err_set(err, ERR_DATA, "tensor '%.*s': %zu bytes, expected %zu for %s %s", STR_ARG(value->name), t->bytes, bytes,
                       dtype_name(t->type), text);
    return OK;
}

static Status check_opset(const Graph *g, const Node *n, Err *err)
{
    if (graph_opset(g, n->domain) > 0) return OK;
    return fault(g, n, ERR_DATA, "the file imports no opset of domain", n->domain, err);
}

static Status check_inputs(const Graph *g, const Node *n, const bool *defined, Err *err)
{
    for (int i = 0; i < n->input_count + n->capture_count; i++) {
        ValueId v = i < n->input_count ? n->inputs[i] : n->captures[i - n->input_count];
        if (v == 0) continue;
        assert(v <= g->value_count);
        if (defined[v]) continue;
        return fault(g, n, ERR_DATA, "no node before it, initializer or graph input makes its input", g->values[v].name, err);
    }
    return OK;
}

static Status check_outputs(const Graph *g, NodeId id, bool *defined, Err *err)
{
    const Node *n = &g->nodes[id];
    for (int i = 0; i < n->output_count; i++) {
        ValueId v = n->outputs[i];
        if (v == 0) continue;
        if (defined[v]) return fault(g, n, ERR_DATA, "a second definition of output", g->values[v].name, err);
        if (g->values[v].producer != id)
            return err_set(err, ERR_BUG, "value '%.*s' does not know its producer", STR_ARG(g->values[v].name));
        defined[v] = true;
    }
    return OK;
}

static Status check_subgraphs(const Graph *g, const Node *n, Err *err)
{
    for (int a = 0; a < n->attr_count; a++) {
        const Attr *attr = &n->attrs[a];
        int64_t count = attr->type == ATTR_GRAPH ? 1 : attr->type == ATTR_GRAPHS ? attr->count : 0;
        for (int64_t i = 0; i < count; i++) {
            const Graph *sub = attr->type == ATTR_GRAPH ? attr->graph : attr->graphs[i];
            if (sub->parent != g) return fault(g, n, ERR_BUG, "another graph is the parent of its subgraph", sub->name, err);
            TRY(graph_verify(sub, err));
        }
    }
    return OK;
}

static Status check_values(const Graph *g, bool *defined, Err *err)
{
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = &g->values[v];
        TRY(check_tensor(value, err));
        if (value->flags & (VALUE_INPUT | VALUE_INITIALIZER | VALUE_OUTER)) defined[v] = true;
        if ((value->flags & (VALUE_INPUT | VALUE_INITIALIZER)) && value->producer != 0)
            return err_set(err, ERR_DATA, "'%.*s' is a graph input or initializer and also the output of a node", STR_ARG(value->name));
        if (value->name.len > 0 && graph_find_value(g, value->name) != v)
            return err_set(err, ERR_DATA, "two values are named '%.*s'", STR_ARG(value->name));
    }
    return OK;
}

static Status check_nodes(const Graph *g, bool *defined, Err *err)
{
    uint32_t live = 0;
    for (NodeId id = 1; id <= g->node_count; id++) live += !g->nodes[id].removed;
    if (live != g->order_count) return err_set(err, ERR_BUG, "graph '%.*s' was not sorted after an edit", STR_ARG(g->name));
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = &g->nodes[g->order[i]];
        TRY(check_opset(g, n, err));
        TRY(check_inputs(g, n, defined, err));
        TRY(check_outputs(g, g->order[i], defined, err));
        TRY(check_subgraphs(g, n, err));
    }
    for (int i = 0; i < g->output_count; i++) {
        if (!defined[g->outputs[i]])
            return err_set(err, ERR_DATA, "graph output '%.*s' is produced by no node", STR_ARG(g->values[g->outputs[i]].name));
    }
    return OK;
}

Status graph_verify(const Graph *g, Err *err)
{
    bool *defined = alloc_zeroed((size_t)g->value_count + 1, 1);
    if (defined == NULL) return err_no_memory(err, "verifying the graph");
    Status status = check_values(g, defined, err);
    if (status == OK) status = check_nodes(g, defined, err);
    free(defined);
    return status;
}
