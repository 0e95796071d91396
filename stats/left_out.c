#include "stats/left_out.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

#define MAX_STEPS 32

/* Walks back from a computed weight along first inputs, the others being constants (a shape, a scale), to the constant it is made
 * from; 0 when it comes from an activation. */
static ValueId constant_behind(const Graph *g, ValueId v, bool *quantized)
{
    *quantized = false;
    for (int step = 0; v != 0 && step < MAX_STEPS; step++) {
        const Value *value = graph_value(g, v);
        if (value->tensor != NULL) return v;
        if (value->producer == 0) return 0;
        const Node *n = graph_node(g, value->producer);
        for (int i = 1; i < n->input_count; i++) {
            if (n->inputs[i] != 0 && graph_value(g, n->inputs[i])->tensor == NULL) return 0;
        }
        if (str_is(n->type, "DequantizeLinear")) *quantized = true;
        v = node_input(n, 0);
    }
    return 0;
}

static bool describe(const Graph *g, NodeId id, LeftOut *out)
{
    const Node *n = graph_node(g, id);
    if (n->op == NULL || n->op->weight_input < 0) return false;
    ValueId weight = node_input(n, n->op->weight_input);
    if (weight == 0 || graph_value(g, weight)->tensor != NULL) return false;
    bool quantized;
    ValueId constant = constant_behind(g, weight, &quantized);
    if (constant == 0) return false;
    const Node *maker = graph_node(g, graph_value(g, weight)->producer);
    Str maker_name = node_label(g, maker);
    *out = (LeftOut){ .quantized = quantized };
    out->layer = (Layer){ .node = id, .input = node_input(n, 0), .weight = weight, .output = node_output(n, 0), .groups = 1,
                          .name = node_label(g, n), .weight_name = graph_value(g, constant)->name };
    if (quantized)
        snprintf(out->reason, sizeof out->reason, "its weights are quantized: they come from %.*s '%.*s'", STR_ARG(maker->type),
                 (int)(maker_name.len < 100 ? maker_name.len : 100), maker_name.data);
    else
        snprintf(out->reason, sizeof out->reason, "its weights are computed by %.*s '%.*s', not a constant: run fold first",
                 STR_ARG(maker->type), (int)(maker_name.len < 100 ? maker_name.len : 100), maker_name.data);
    return true;
}

Status layers_left_out(const Graph *g, LeftOut **out, int *count, Err *err)
{
    LeftOut *list = NULL;
    size_t used = 0, capacity = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        LeftOut entry;
        if (!describe(g, g->order[i], &entry)) continue;
        if (!array_grow((void **)&list, &capacity, used + 1, sizeof *list)) {
            free(list);
            return err_no_memory(err, "the list of layers without constant weights");
        }
        list[used++] = entry;
    }
    *out = list;
    *count = (int)used;
    return OK;
}

static int weighted_inside(const Graph *g)
{
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        ValueId weight = n->op != NULL && n->op->weight_input >= 0 ? node_input(n, n->op->weight_input) : 0;
        if (weight != 0) {
            const Value *v = graph_value(g, weight);
            count += v->tensor != NULL || (v->flags & VALUE_OUTER) != 0;
        }
    }
    return count + layers_nested(g);
}

int layers_nested(const Graph *g)
{
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        for (int a = 0; a < n->attr_count; a++) {
            const Attr *attr = &n->attrs[a];
            if (attr->type == ATTR_GRAPH && attr->graph != NULL) count += weighted_inside(attr->graph);
            for (int64_t k = 0; attr->type == ATTR_GRAPHS && k < attr->count; k++) count += weighted_inside(attr->graphs[k]);
        }
    }
    return count;
}
