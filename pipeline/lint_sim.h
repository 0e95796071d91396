/* A network as a runtime's optimizer sees it: nodes, values, and who reads what, cheap to rewrite. Made from a Graph, which stays as it
 * is; rewritten by lint_rewrite.c; judged by lint_rules.c. Constant nodes are constants, Identity and Dropout are gone, and what hangs
 * on constants alone is a constant, DequantizeLinear excepted: runtimes keep it to see what is quantized. One graph at a time: what a
 * subgraph reads of it is an edge with slot -1. */
#ifndef PARE_PIPELINE_LINT_SIM_H
#define PARE_PIPELINE_LINT_SIM_H

#include "graph/graph.h"

typedef struct SimEdge {
    int node, slot; /* slot -1: read inside a subgraph of that node */
} SimEdge;

typedef struct SimValue {
    ValueId origin;  /* 0: made by a rewrite */
    DType type;
    bool output;     /* of the graph */
    bool constant;   /* readers are not kept */
    int producer;    /* 0: none */
    SimEdge *readers;
    int reader_count;
    size_t capacity;
} SimValue;

typedef struct SimNode {
    NodeId origin;   /* 0: made by a rewrite */
    Str type, domain;
    int *inputs, *outputs; /* values; 0: left out */
    int input_count, output_count;
    bool removed;
    bool shifted;    /* Q or DQ: an int8 grid moved to uint8, zero point and all 128 up */
} SimNode;

typedef struct Sim {
    const Graph *g;
    Arena *arena;
    SimValue *values; /* [1..value_count] */
    SimNode *nodes;   /* [1..node_count]; those of the graph first, in topological order */
    int value_count, node_count;
    size_t value_capacity, node_capacity;
    bool failed;      /* out of memory: what follows is incomplete */
} Sim;

Status sim_init(Sim *s, const Graph *g, Err *err);
void sim_release(Sim *s);

int sim_add_value(Sim *s, DType type); /* 0: out of memory */
int sim_add_node(Sim *s, const char *type, const int *inputs, int input_count, int output);
void sim_set_input(Sim *s, int node, int slot, int value); /* extends the list by one when slot is its end */
void sim_set_output(Sim *s, int node, int value);          /* the first */
void sim_remove_node(Sim *s, int node);
/* Readers of `from` read `to`; when `from` is an output of the graph, `to` becomes it. */
void sim_replace(Sim *s, int from, int to);

bool sim_is(const Sim *s, int node, const char *type); /* of the ONNX domain, or a Q/DQ of com.microsoft; false for node 0 */
int sim_producer(const Sim *s, int value, const char *type); /* 0 when value is made by something else */
/* The only reader of the node's first output, which is no output of the graph; 0 otherwise. */
int sim_only_reader(const Sim *s, int node);
const Value *sim_value(const Sim *s, int value); /* of the graph; NULL when made by a rewrite */
const Tensor *sim_tensor(const Sim *s, int value);
Str sim_label(const Sim *s, int node); /* of the nearest node of the graph */

/* The grid of a QuantizeLinear or DequantizeLinear. */
typedef struct SimGrid {
    DType type;      /* of the integers; DT_NONE: unknown */
    bool constant;   /* scale and zero point (where given) */
    bool scalar;     /* one scale for the whole tensor */
    bool rank0;      /* scale and zero point are scalars of rank 0 */
    bool has_zero;
    bool blocked;
    int64_t zero;    /* of the first element; 0 when not given */
    float scale;     /* of the first element */
    const Tensor *scales, *zeros;
} SimGrid;

SimGrid sim_grid(const Sim *s, int node);
bool sim_same_grid(const SimGrid *a, const SimGrid *b); /* constant scalars of one type, scale and zero point, both written out */

#endif
