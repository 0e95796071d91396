/* The weighted layers of a graph: nodes whose op has a weight input that is constant. */
#ifndef PARE_GRAPH_LAYER_H
#define PARE_GRAPH_LAYER_H

#include "graph/op.h"

typedef struct Layer {
    NodeId node;
    ValueId input;   /* the activation (the node's other operand) */
    ValueId weight;  /* constant; several layers may share it */
    ValueId bias;    /* 0: none */
    ValueId output;
    int out_axis;    /* axis of the weight along which the output channels lie */
    int64_t groups;  /* Conv; 1 otherwise */
    Str name;        /* node_label */
    Str weight_name;
} Layer;

/* Fills a malloc'ed array in topological order, main graph only. Ops bound (engine_bind) first. A recurrent node with two weight inputs
 * is two layers, of one name. */
Status layers_find(const Graph *g, Layer **out, int *count, Err *err);
/* The layer at a node (of a recurrent one the first). False: it is none. */
bool layer_at_node(const Graph *g, NodeId n, Layer *out);
/* Whether a pattern of a recipe names this layer: tried on the layer's name and on its weight's name. */
bool layer_matches(const Layer *l, const char *pattern);

#endif
