/* The edits that concern who reads what: replacing a value, dead nodes, topological order. */
#include "graph/edit.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

int graph_readers(const Graph *g, ValueId v)
{
    int readers = (g->values[v].flags & VALUE_OUTPUT) != 0;
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = &g->nodes[id];
        if (n->removed) continue;
        bool reads = false;
        for (int i = 0; i < n->input_count; i++) reads |= n->inputs[i] == v;
        for (int i = 0; i < n->capture_count; i++) reads |= n->captures[i] == v;
        readers += reads;
    }
    return readers;
}

NodeId graph_sole_reader(const Graph *g, ValueId v)
{
    if (g->values[v].flags & VALUE_OUTPUT) return 0;
    NodeId only = 0;
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = &g->nodes[id];
        if (n->removed) continue;
        for (int i = 0; i < n->capture_count; i++) {
            if (n->captures[i] == v) return 0;
        }
        for (int i = 0; i < n->input_count; i++) {
            if (n->inputs[i] != v || only == id) continue;
            if (only != 0) return 0;
            only = id;
        }
    }
    return only;
}

/* The outer value of this name; by walking the values, since renaming drops the index of names. */
static ValueId find_outer(const Graph *sub, Str name)
{
    for (ValueId v = 1; v <= sub->value_count; v++)
        if ((sub->values[v].flags & VALUE_OUTER) != 0 && str_eq(sub->values[v].name, name)) return v;
    return 0;
}

/* In the subgraphs of a node, the outer value called `from` is from now on the one called `to`. */
static void rename_outer(const Node *n, Str from, Str to)
{
    for (int a = 0; a < n->attr_count; a++) {
        const Attr *attr = &n->attrs[a];
        int64_t count = attr->type == ATTR_GRAPH ? 1 : attr->type == ATTR_GRAPHS ? attr->count : 0;
        for (int64_t i = 0; i < count; i++) {
            Graph *sub = attr->type == ATTR_GRAPH ? attr->graph : attr->graphs[i];
            ValueId inner = find_outer(sub, from);
            if (inner == 0) continue;
            sub->values[inner].name = to;
            free(sub->name_index); /* rebuilt by graph_finish on the enclosing graph */
            sub->name_index = NULL;
            sub->name_capacity = 0;
            for (NodeId id = 1; id <= sub->node_count; id++) rename_outer(&sub->nodes[id], from, to);
        }
    }
}

static Status replace_in_list(Graph *g, const ValueId **list, int count, ValueId from, ValueId to, Err *err)
{
    bool found = false;
    for (int i = 0; i < count; i++) found |= (*list)[i] == from;
    if (!found) return OK;
    ValueId *copy = arena_copy(g->arena, *list, sizeof *copy * (size_t)count);
    if (copy == NULL) return err_no_memory(err, "a node's inputs");
    for (int i = 0; i < count; i++) {
        if (copy[i] == from) copy[i] = to;
    }
    *list = copy;
    return OK;
}

/* Exchanges the names of two values of one graph, keeping the index and captures right. */
static Status swap_names(Graph *g, ValueId a, ValueId b, Err *err)
{
    Str name_a = g->values[a].name, name_b = g->values[b].name;
    uint32_t *slot_a = NULL, *slot_b = NULL;
    for (uint32_t i = 0; i < g->name_capacity; i++) {
        if (g->name_index[i] == a) slot_a = &g->name_index[i];
        if (g->name_index[i] == b) slot_b = &g->name_index[i];
    }
    if (slot_a == NULL || slot_b == NULL) return err_set(err, ERR_BUG, "'%.*s' is not in the name index", STR_ARG(name_a));
    *slot_a = b;
    *slot_b = a;
    g->values[a].name = name_b;
    g->values[b].name = name_a;
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = &g->nodes[id];
        bool captures_b = false;
        for (int i = 0; i < n->capture_count; i++) captures_b |= n->captures[i] == b;
        if (captures_b) rename_outer(n, name_b, name_a);
    }
    return OK;
}

Status graph_replace_value(Graph *g, ValueId from, ValueId to, Err *err)
{
    for (NodeId id = 1; id <= g->node_count; id++) {
        Node *n = &g->nodes[id];
        if (n->removed) continue;
        TRY(replace_in_list(g, &n->inputs, n->input_count, from, to, err));
        bool captured = false;
        for (int i = 0; i < n->capture_count; i++) captured |= n->captures[i] == from;
        if (!captured) continue;
        rename_outer(n, g->values[from].name, g->values[to].name);
        TRY(replace_in_list(g, &n->captures, n->capture_count, from, to, err));
    }
    if (!(g->values[from].flags & VALUE_OUTPUT)) return OK;
    Value *old = &g->values[from], *new = &g->values[to];
    if ((new->flags & (VALUE_OUTPUT | VALUE_INPUT | VALUE_INITIALIZER)) != 0 || new->producer == 0)
        return err_set(err, ERR_BUG, "graph output '%.*s' cannot be replaced by '%.*s'", STR_ARG(old->name), STR_ARG(new->name));
    TRY(swap_names(g, from, to, err));
    for (int i = 0; i < g->output_count; i++) {
        if (g->outputs[i] == from) g->outputs[i] = to;
    }
    new->origin = old->origin;
    new->flags |= old->flags & (VALUE_OUTPUT | VALUE_DECLARED);
    old->flags &= ~(unsigned)(VALUE_OUTPUT | VALUE_DECLARED);
    old->origin = NULL;
    return OK;
}

static Status map_list(Graph *g, const ValueId **list, int count, const ValueId *map, Err *err)
{
    bool found = false;
    for (int i = 0; i < count; i++) found |= map[(*list)[i]] != 0;
    if (!found) return OK;
    ValueId *copy = arena_copy(g->arena, *list, sizeof *copy * (size_t)count);
    if (copy == NULL) return err_no_memory(err, "a node's inputs");
    for (int i = 0; i < count; i++) {
        if (map[copy[i]] != 0) copy[i] = map[copy[i]];
    }
    *list = copy;
    return OK;
}

Status graph_map_node(Graph *g, NodeId id, const ValueId *map, Err *err)
{
    Node *n = &g->nodes[id];
    for (int i = 0; i < n->capture_count; i++) {
        ValueId to = map[n->captures[i]];
        if (to != 0) rename_outer(n, g->values[n->captures[i]].name, g->values[to].name);
    }
    TRY(map_list(g, &n->captures, n->capture_count, map, err));
    return map_list(g, &n->inputs, n->input_count, map, err);
}

/* Marks what the outputs need, walking backwards over an explicit stack. */
static bool mark_needed(const Graph *g, bool *node_needed, bool *value_needed)
{
    ValueId *stack = alloc_array((size_t)g->value_count + 1, sizeof *stack);
    if (stack == NULL) return false;
    size_t depth = 0;
    for (int i = 0; i < g->output_count; i++) {
        if (!value_needed[g->outputs[i]]) stack[depth++] = g->outputs[i];
        value_needed[g->outputs[i]] = true;
    }
    while (depth > 0) {
        NodeId producer = g->values[stack[--depth]].producer;
        if (producer == 0 || node_needed[producer]) continue;
        node_needed[producer] = true;
        const Node *n = &g->nodes[producer];
        for (int i = 0; i < n->input_count + n->capture_count; i++) {
            ValueId v = i < n->input_count ? n->inputs[i] : n->captures[i - n->input_count];
            if (v == 0 || value_needed[v]) continue;
            value_needed[v] = true;
            stack[depth++] = v;
        }
    }
    free(stack);
    return true;
}

/* Drops unread initializers, from the list of inputs too when they stand there (IR 3). */
static int remove_unread_constants(Graph *g, const bool *value_needed)
{
    int removed = 0;
    for (ValueId v = 1; v <= g->value_count; v++) {
        Value *value = &g->values[v];
        if (!(value->flags & VALUE_INITIALIZER) || value_needed[v]) continue;
        if (value->tensor != NULL) buffer_unref(value->tensor->buffer);
        value->tensor = NULL;
        value->tensor_origin = NULL;
        removed++;
        if (value->flags & VALUE_INPUT) {
            int kept = 0;
            for (int i = 0; i < g->input_count; i++) {
                if (g->inputs[i] != v) g->inputs[kept++] = g->inputs[i];
            }
            g->input_count = kept;
        }
        value->flags &= ~(unsigned)(VALUE_INITIALIZER | VALUE_INPUT | VALUE_DECLARED);
    }
    return removed;
}

int graph_remove_dead(Graph *g, int *constants_removed)
{
    bool *node_needed = alloc_zeroed((size_t)g->node_count + 1, 1), *value_needed = alloc_zeroed((size_t)g->value_count + 1, 1);
    int removed = 0, constants = 0;
    if (node_needed != NULL && value_needed != NULL && mark_needed(g, node_needed, value_needed)) {
        for (NodeId id = 1; id <= g->node_count; id++) {
            Node *n = &g->nodes[id];
            if (n->removed || node_needed[id]) continue;
            for (int i = 0; i < n->output_count; i++) { /* a Constant node's contents go with it */
                Value *value = &g->values[n->outputs[i]];
                if (n->outputs[i] == 0) continue;
                if (value->tensor != NULL) buffer_unref(value->tensor->buffer);
                value->tensor = NULL;
                value->flags &= ~(unsigned)VALUE_DECLARED;
            }
            graph_remove_node(g, id);
            removed++;
        }
        constants = remove_unread_constants(g, value_needed);
    }
    free(node_needed);
    free(value_needed);
    if (constants_removed != NULL) *constants_removed = constants;
    return removed;
}
