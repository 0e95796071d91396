#include "prune/candidates.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/left_out.h"

typedef struct List {
    Candidate *items;
    size_t used, capacity;
} List;

static Status push(List *list, Candidate k, Err *err)
{
    if (!array_grow((void **)&list->items, &list->capacity, list->used + 1, sizeof *list->items))
        return err_no_memory(err, "the list of weights to prune");
    k.first = (int)list->used;
    for (size_t i = 0; i < list->used && k.first == (int)list->used; i++) {
        if (list->items[i].layer.weight == k.layer.weight) k.first = (int)i;
    }
    list->items[list->used++] = k;
    return OK;
}

static const char *type_reason(const PassContext *c, DType type)
{
    if (dtype_is_float(type)) return NULL;
    if (dtype_is_integer(type)) return "its weights are quantized: prune before quantizing";
    Str text = arena_printf(c->scratch, "%s weights are not pruned", dtype_name(type));
    return text.data != NULL ? text.data : "its weights are of a type that is not pruned";
}

static Status add_layers(const PassContext *c, List *list, Err *err)
{
    Layer *layers;
    int count;
    TRY(layers_find(c->graph, &layers, &count, err));
    Status status = OK;
    for (int i = 0; i < count && status == OK; i++) {
        Candidate k = { .layer = layers[i], .reason = type_reason(c, graph_value(c->graph, layers[i].weight)->tensor->type) };
        k.table = str_is(graph_node(c->graph, layers[i].node)->type, "Gather");
        status = push(list, k, err);
    }
    free(layers);
    return status;
}

/* A table is a constant matrix that Gather picks rows from. */
static Status add_tables(const PassContext *c, List *list, Err *err)
{
    const Graph *g = c->graph;
    size_t layers = list->used;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        const Tensor *t = str_is(n->type, "Gather") && n->domain.len == 0 ? node_constant(g, n, 0) : NULL;
        if (t == NULL || t->shape.rank < 2 || !dtype_is_float(t->type)) continue;
        bool known = false;
        for (size_t k = 0; k < layers; k++) known = known || list->items[k].layer.node == id;
        if (known) continue;
        Layer layer = { .node = id, .input = node_input(n, 1), .weight = node_input(n, 0), .output = node_output(n, 0), .groups = 1,
                        .name = node_label(g, n), .weight_name = graph_value(g, node_input(n, 0))->name };
        TRY(push(list, (Candidate){ .layer = layer, .table = true }, err));
    }
    return OK;
}

static Status add_left_out(const PassContext *c, List *list, Err *err)
{
    LeftOut *out;
    int count;
    TRY(layers_left_out(c->graph, &out, &count, err));
    Status status = OK;
    for (int i = 0; i < count && status == OK; i++) {
        Str reason = arena_str(c->scratch, str_of(out[i].reason));
        Candidate k = { .layer = out[i].layer, .reason = reason.data };
        status = reason.data == NULL ? err_no_memory(err, "a reason") : push(list, k, err);
    }
    free(out);
    return status;
}

static Status add_bare_weights(const PassContext *c, List *list, Err *err)
{
    const Graph *g = c->graph;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (value->tensor == NULL || value->tensor->shape.rank < 2) continue;
        Layer layer = { .weight = v, .groups = 1, .name = value->name, .weight_name = value->name };
        TRY(push(list, (Candidate){ .layer = layer, .reason = type_reason(c, value->tensor->type) }, err));
    }
    return OK;
}

Status candidates_find(const PassContext *c, Candidate **out, int *count, Err *err)
{
    List list = { 0 };
    Status status = OK;
    if (c->graph->order_count == 0) {
        TRY_OUT(add_bare_weights(c, &list, err));
    } else {
        TRY_OUT(add_layers(c, &list, err));
        TRY_OUT(add_tables(c, &list, err));
        TRY_OUT(add_left_out(c, &list, err));
    }
    *count = (int)list.used;
    *out = list.used != 0 ? arena_copy(c->scratch, list.items, list.used * sizeof *list.items) : NULL;
    if (*out == NULL && list.used != 0) status = err_no_memory(err, "the list of weights to prune");
out:
    free(list.items);
    return status;
}

Status candidates_check_rules(const PassContext *c, const Candidate *list, int count, Err *err)
{
    if (c->rule_count == 0) return OK;
    Layer *layers = alloc_array((size_t)count + 1, sizeof *layers);
    if (layers == NULL) return err_no_memory(err, "the list of layers");
    for (int i = 0; i < count; i++) layers[i] = list[i].layer;
    Status status = pass_check_rules(c, layers, count, err);
    free(layers);
    return status;
}

bool candidate_named(const PassContext *c, const Candidate *k)
{
    for (int i = 0; i < c->rule_count; i++) {
        const char *match = c->rules[i].match;
        bool everything = match[strspn(match, "*?")] == '\0';
        if (!(k->table && everything) && layer_matches(&k->layer, match)) return true;
    }
    return false;
}

bool candidate_rule_sets(const PassContext *c, const Candidate *k, const char *option)
{
    for (int i = 0; i < c->rule_count; i++) {
        const LayerRule *rule = &c->rules[i];
        if (!layer_matches(&k->layer, rule->match)) continue;
        for (int j = 0; j < rule->count; j++) {
            if (strcmp(rule->names[j], option) == 0) return true;
        }
    }
    return false;
}
