#include "graph/layer.h"

#include "base/bytes.h"

#include <stdlib.h>

/* The layer at a node whose weight is this input, or false when the node is none. */
static bool layer_at(const Graph *g, NodeId id, int weight_input, Layer *out)
{
    const Node *n = graph_node(g, id);
    if (n->op == NULL || n->op->weight_axis == NULL || weight_input < 0) return false;
    ValueId weight = node_input(n, weight_input);
    if (weight == 0 || graph_value(g, weight)->tensor == NULL) return false;
    ValueId bias = n->op->bias_input >= 0 ? node_input(n, n->op->bias_input) : 0;
    *out = (Layer){
        .node = id,
        .input = node_input(n, weight_input == 0 ? 1 : 0),
        .weight = weight,
        .bias = bias,
        .output = node_output(n, 0),
        .out_axis = n->op->weight_axis(g, n),
        .groups = node_int(n, "group", 1),
        .name = node_label(g, n),
        .weight_name = graph_value(g, weight)->name,
    };
    int rank = graph_value(g, weight)->tensor->shape.rank;
    if (out->out_axis < 0) out->out_axis += rank;
    return out->out_axis >= 0 && out->out_axis < rank;
}

Status layers_find(const Graph *g, Layer **out, int *count, Err *err)
{
    Layer *layers = alloc_array((size_t)g->order_count * 2, sizeof *layers);
    if (layers == NULL) return err_no_memory(err, "the list of layers");
    *count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Op *op = graph_node(g, g->order[i])->op;
        if (op == NULL) continue;
        if (layer_at(g, g->order[i], op->weight_input, &layers[*count])) (*count)++;
        if (op->recurrent_input > 0 && layer_at(g, g->order[i], op->recurrent_input, &layers[*count])) (*count)++;
    }
    *out = layers;
    return OK;
}

bool layer_at_node(const Graph *g, NodeId n, Layer *out)
{
    const Op *op = graph_node(g, n)->op;
    return op != NULL && layer_at(g, n, op->weight_input, out);
}

bool layer_matches(const Layer *l, const char *pattern)
{
    return str_match(l->name, pattern) || str_match(l->weight_name, pattern);
}
