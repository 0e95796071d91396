/* Control flow: an If whose condition is constant gives way to the nodes of the branch that is taken.
 *
 *   y = If(true, then: z = Relu(x), else: ...)   =>   y = Relu(x)
 *
 * Values keep their names where the network has none of that name, in the main graph or inside another subgraph, and get a number behind
 * them otherwise; subgraphs of the branch's own nodes move with them, their captures renamed. A branch that holds strings, or constants
 * that are not plain tensors, stays. */
#include "engine/fold.h"

#include <stdlib.h>

#include "base/bytes.h"

typedef struct Inline {
    Graph *g;
    NodeId node;       /* the If */
    const Graph *body; /* of the branch taken */
    ValueId *map;      /* [value of the body]: value of the graph */
    Err *err;
} Inline;

static const Graph *branch_taken(const Graph *g, const Node *n)
{
    if (n->removed || n->domain.len != 0 || !str_is(n->type, "If")) return NULL;
    const Tensor *condition = node_constant(g, n, 0);
    if (condition == NULL || condition->type != DT_BOOL || tensor_count(condition) != 1) return NULL;
    const Attr *a = node_attr(n, tensor_get_int(condition, 0) != 0 ? "then_branch" : "else_branch");
    return a != NULL && a->type == ATTR_GRAPH ? a->graph : NULL;
}

static bool can_inline(const Graph *g, const Node *n, const Graph *body)
{
    if (body->input_count != 0 || body->output_count != n->output_count) return false;
    for (ValueId v = 1; v <= body->value_count; v++) {
        const Value *value = &body->values[v];
        bool constant = (value->flags & VALUE_INITIALIZER) != 0;
        if ((value->flags & VALUE_OUTER) != 0 && graph_find_value(g, value->name) == 0) return false;
        if (value->type == DT_STRING || (constant && value->tensor == NULL)) return false;
        if (value->tensor != NULL && (value->tensor->type == DT_STRING || value->tensor->data == NULL)) return false;
    }
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != 0 && body->outputs[i] == 0) return false;
    return true;
}

/* Whether a subgraph of some other node, at any depth, has a value of its own of this name. */
static bool name_inside(const Graph *g, NodeId except, Str name)
{
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = &g->nodes[id];
        for (int a = 0; !n->removed && id != except && a < n->attr_count; a++) {
            if (n->attrs[a].type != ATTR_GRAPH || n->attrs[a].graph == NULL) continue;
            const Graph *sub = n->attrs[a].graph;
            ValueId found = graph_find_value(sub, name);
            if ((found != 0 && (sub->values[found].flags & VALUE_OUTER) == 0) || name_inside(sub, 0, name)) return true;
        }
    }
    return false;
}

static Str free_name(const Inline *in, Str name)
{
    Str candidate = name.len > 0 ? name : STR("branch_value");
    for (unsigned k = 2; candidate.data != NULL; k++) {
        bool taken = graph_find_value(in->g, candidate) != 0 || name_inside(in->g, in->node, candidate);
        if (!taken && !name_inside(in->body, 0, candidate)) break;
        candidate = arena_printf(in->g->arena, "%.*s_%u", STR_ARG(name), k);
    }
    return candidate;
}

static Status map_values(Inline *in)
{
    for (ValueId v = 1; v <= in->body->value_count; v++) {
        const Value *value = &in->body->values[v];
        if ((value->flags & VALUE_OUTER) != 0) {
            in->map[v] = graph_find_value(in->g, value->name);
            continue;
        }
        Str name = free_name(in, value->name);
        if (name.data == NULL) return err_no_memory(in->err, "a name");
        if (value->tensor != NULL) {
            Tensor shared = tensor_share(value->tensor);
            in->map[v] = graph_add_constant(in->g, name, &shared);
        } else {
            Shape shape = value->shape;
            for (int d = 0; d < shape.rank; d++)
                if (shape.dims[d] < 0) shape.dims[d] = DIM_UNKNOWN; /* symbols of the body are not those of the graph */
            in->map[v] = graph_add_value(in->g, name, value->type, &shape);
        }
        if (in->map[v] == 0) return err_no_memory(in->err, "a value of a branch");
    }
    return OK;
}

/* The name that a capture of the branch's value goes by now. */
static Str new_name(const Inline *in, Str old)
{
    ValueId v = graph_find_value(in->body, old);
    return v != 0 ? graph_value(in->g, in->map[v])->name : old;
}

/* Renames what a subgraph, at any depth below, captures of the branch: inner ones first, while the names they go through still stand. */
static bool rename_captures(const Inline *in, Graph *sub)
{
    for (NodeId id = 1; id <= sub->node_count; id++) {
        const Node *n = &sub->nodes[id];
        for (int a = 0; a < n->attr_count; a++) {
            if (n->attrs[a].type != ATTR_GRAPH || n->attrs[a].graph == NULL) continue;
            if (!rename_captures(in, n->attrs[a].graph)) return false;
        }
    }
    for (ValueId v = 1; v <= sub->value_count; v++)
        if ((sub->values[v].flags & VALUE_OUTER) != 0) sub->values[v].name = new_name(in, sub->values[v].name);
    return graph_reindex(sub);
}

/* The attributes with subgraphs of their own: the body keeps its, and is freed with the node that held it. */
static Status copy_attrs(const Inline *in, const Node *from, Node *to)
{
    Attr *attrs = arena_copy(in->g->arena, from->attrs, sizeof *attrs * (size_t)from->attr_count);
    if (attrs == NULL) return err_no_memory(in->err, "attributes");
    for (int a = 0; a < from->attr_count; a++) {
        if (attrs[a].type == ATTR_GRAPH) attrs[a].graph = NULL;
        if (attrs[a].type == ATTR_GRAPHS) attrs[a].count = 0;
    }
    to->attrs = attrs;
    to->attr_count = from->attr_count;
    for (int a = 0; a < from->attr_count; a++) {
        if (attrs[a].type != ATTR_GRAPH || from->attrs[a].graph == NULL) continue;
        TRY(graph_clone(from->attrs[a].graph, &attrs[a].graph, in->err));
        attrs[a].graph->parent = in->g;
        if (!rename_captures(in, attrs[a].graph)) return err_no_memory(in->err, "a subgraph");
    }
    return OK;
}

static ValueId *mapped(const Inline *in, const ValueId *ids, int count)
{
    ValueId *out = arena_array(in->g->arena, (size_t)count + 1, sizeof *out);
    for (int i = 0; out != NULL && i < count; i++) out[i] = ids[i] != 0 ? in->map[ids[i]] : 0;
    return out;
}

static Status add_nodes(const Inline *in)
{
    for (uint32_t i = 0; i < in->body->order_count; i++) {
        const Node *n = graph_node(in->body, in->body->order[i]);
        bool constant = n->output_count == 1 && n->outputs[0] != 0 && in->body->values[n->outputs[0]].tensor != NULL;
        if (n->removed || constant) continue;
        ValueId *inputs = mapped(in, n->inputs, n->input_count), *outputs = mapped(in, n->outputs, n->output_count);
        ValueId *captures = mapped(in, n->captures, n->capture_count);
        if (inputs == NULL || outputs == NULL || captures == NULL) return err_no_memory(in->err, "a node of a branch");
        NodeId id = graph_add_node(in->g, n->type.data, n->domain.data, n->name, inputs, n->input_count, outputs, n->output_count);
        if (id == 0) return err_no_memory(in->err, "a node of a branch");
        Node *made = graph_node(in->g, id);
        made->captures = captures;
        made->capture_count = n->capture_count;
        TRY(copy_attrs(in, n, made));
    }
    return OK;
}

static Status connect_outputs(const Inline *in, const ValueId *outputs, int count)
{
    for (int i = 0; i < count; i++) {
        ValueId from = outputs[i], to = in->map[in->body->outputs[i]];
        if (from == 0) continue;
        if (fold_can_replace(in->g, from, to)) {
            TRY(graph_replace_value(in->g, from, to, in->err));
        } else if (graph_add_node(in->g, "Identity", "", (Str){ "", 0 }, &to, 1, &from, 1) == 0) {
            return err_no_memory(in->err, "a node of a branch");
        }
    }
    return OK;
}

static Status inline_branch(Fold *f, NodeId id, const Graph *body, Err *err)
{
    Graph *g = f->g;
    const Node *n = graph_node(g, id);
    Str label = node_label(g, n);
    const char *which = branch_taken(g, n) == node_attr(n, "then_branch")->graph ? "then" : "else";
    const ValueId *outputs = n->outputs;
    int count = n->output_count;
    Inline in = { g, id, body, alloc_zeroed((size_t)body->value_count + 1, sizeof(ValueId)), err };
    Status status = in.map == NULL ? err_no_memory(err, "a branch") : map_values(&in);
    if (status == OK) status = add_nodes(&in);
    if (status == OK) {
        graph_remove_node(g, id);
        status = connect_outputs(&in, outputs, count);
    }
    free(in.map);
    if (status == OK) fold_changed(f, label, "its condition is constant: the nodes of its %s branch take its place", which);
    return status;
}

Status fold_branches(Fold *f, Err *err)
{
    bool any = false;
    for (NodeId id = 1; id <= f->g->node_count; id++) any = any || branch_taken(f->g, graph_node(f->g, id)) != NULL;
    if (!any) return OK;
    TRY(graph_finish(f->g, err)); /* subgraphs whose values were renamed have an index of names again */
    for (uint32_t i = 0; i < f->g->order_count; i++) {
        NodeId id = f->g->order[i];
        const Node *n = graph_node(f->g, id);
        const Graph *body = branch_taken(f->g, n);
        if (body == NULL || !can_inline(f->g, n, body)) continue;
        TRY(inline_branch(f, id, body, err));
        TRY(graph_finish(f->g, err));
        i = (uint32_t)-1; /* the order is another one now: branches within this one come next */
    }
    return OK;
}
