/* The network: values and nodes in tables, named by index (0 means none). ONNX semantics are the internal semantics.
 *
 * A clone copies the tables and shares the arena (strings, attributes, input lists: all immutable once made) and the weight
 * buffers (counted, copied on write). So: never write through node->inputs, node->attrs, value->tensor->data of an existing
 * graph; use graph/edit.h, which puts a new array in its place.
 *
 * What the tables do not model (unknown fields, doc strings, functions, training info, quantization annotations, sparse
 * initializers, types that are not tensors) stays in the message it was read from; `origin` points at it for the format that
 * saves it again. A graph, node, value or attribute made by a pass has origin NULL. */
#ifndef PARE_GRAPH_GRAPH_H
#define PARE_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/status.h"
#include "graph/tensor.h"

typedef uint32_t ValueId;
typedef uint32_t NodeId;

typedef struct Graph Graph;
typedef struct Op Op; /* graph/op.h */

/* Numbers are those of AttributeProto.AttributeType. */
typedef enum AttrType {
    ATTR_NONE = 0, ATTR_FLOAT = 1, ATTR_INT = 2, ATTR_STRING = 3, ATTR_TENSOR = 4, ATTR_GRAPH = 5,
    ATTR_FLOATS = 6, ATTR_INTS = 7, ATTR_STRINGS = 8, ATTR_TENSORS = 9, ATTR_GRAPHS = 10,
    ATTR_SPARSE_TENSOR = 11, ATTR_SPARSE_TENSORS = 12, ATTR_TYPE_PROTO = 13, ATTR_TYPE_PROTOS = 14,
} AttrType;

typedef struct Attr {
    Str name;
    AttrType type;
    int64_t count;        /* FLOATS, INTS, STRINGS, TENSORS, GRAPHS */
    float f;
    int64_t i;
    Str s;
    Tensor *tensor;       /* TENSOR; its buffer lives as long as the arena (graph_keep_tensor) */
    Graph *graph;         /* GRAPH: owned by the Graph the node stands in */
    const float *floats;
    const int64_t *ints;
    const Str *strings;
    Tensor *tensors;
    Graph **graphs;
    const void *origin;   /* the AttributeProto; TYPE_PROTO and SPARSE_TENSOR live only there */
} Attr;

enum {
    VALUE_INPUT = 1,       /* listed among the graph's inputs */
    VALUE_OUTPUT = 2,      /* listed among the graph's outputs */
    VALUE_INITIALIZER = 4, /* constant from the initializer list (may be listed as an input too: IR 3) */
    VALUE_OUTER = 8,       /* in a subgraph: a value of an enclosing graph, found there by name */
    VALUE_TENSOR = 16,     /* its declared type is a tensor, or nothing was declared */
    VALUE_DECLARED = 32,   /* a ValueInfo for it stood in the file (input, output or value_info) */
};

typedef struct Value {
    Str name;
    DType type;            /* DT_NONE: unknown */
    Shape shape;           /* rank -1: unknown */
    Tensor *tensor;        /* contents when constant: initializers and outputs of Constant nodes; else NULL */
    NodeId producer;       /* 0: input, initializer, outer */
    unsigned flags;
    const void *origin;        /* ValueInfoProto */
    const void *tensor_origin; /* TensorProto of the initializer */
} Value;

typedef struct Node {
    Str name, type, domain;   /* type is the op_type; domain "" for ai.onnx (an "ai.onnx" in a file is normalised to "") */
    const ValueId *inputs;    /* 0 where an optional input is left out */
    const ValueId *outputs;
    int input_count, output_count;
    const Attr *attrs;
    int attr_count;
    const ValueId *captures;  /* values of this graph that its subgraphs read, at any depth */
    int capture_count;
    const Op *op;             /* table entry; NULL: unknown to pare */
    bool removed;             /* a hole: skip it */
    const void *origin;       /* NodeProto */
} Node;

typedef struct OpsetImport {
    Str domain;
    int64_t version;
} OpsetImport;

typedef struct MetaEntry {
    Str key, value;
} MetaEntry;

/* Keeps the messages that `origin` points into alive; counted, shared by clones. */
typedef struct Origin {
    int refs;
    void *message;              /* of the format that made it */
    const char *format;         /* "onnx" */
    void (*release)(void *message);
} Origin;

struct Graph {
    Arena *arena;
    Origin *origin;
    const void *message;   /* this graph's own GraphProto inside origin; NULL for one made from nothing */
    Graph *parent;         /* enclosing graph of a subgraph, else NULL */
    Str name;

    Value *values;         /* [1..value_count] */
    uint32_t value_count, value_capacity;
    Node *nodes;           /* [1..node_count]; a removed node stays as a hole */
    uint32_t node_count, node_capacity;
    NodeId *order;         /* topological order of the live nodes: order[0..order_count) */
    uint32_t order_count;

    ValueId *inputs;       /* the graph's inputs in file order, initializers among them when listed */
    ValueId *outputs;
    int input_count, output_count;

    uint32_t *name_index;  /* open addressing hash of value names */
    uint32_t name_capacity;
    Str *symbols;          /* names of symbolic dimensions */
    int symbol_count, symbol_capacity;

    /* the model around the main graph; unused in subgraphs */
    int64_t ir_version;
    OpsetImport *opsets;
    int opset_count;
    MetaEntry *metadata;
    int metadata_count;
    bool external_data;    /* weights came from, or are to be written to, a file beside the model */

    const Op *(*find_op)(Str domain, Str type); /* set by engine_bind; NULL: nodes have no table entry */
};

/* A new empty graph with its own arena (NULL: make one). NULL when out of memory. */
Graph *graph_new(Arena *arena);
/* Copies the tables, subgraphs included; shares arena, origin and weight buffers. */
Status graph_clone(const Graph *g, Graph **out, Err *err);
void graph_free(Graph *g); /* NULL is fine; frees subgraphs held in attributes */

static inline Value *graph_value(const Graph *g, ValueId v) { return &g->values[v]; }
static inline Node *graph_node(const Graph *g, NodeId n) { return &g->nodes[n]; }

ValueId graph_find_value(const Graph *g, Str name); /* 0 when none */
/* The version imported for a domain; 0 when not imported. */
int64_t graph_opset(const Graph *g, Str domain);
/* The dimension that stands for a symbol; the same name gives the same number. DIM_UNKNOWN when out of memory. */
int64_t graph_symbol(Graph *g, Str name);
Str graph_symbol_name(const Graph *g, int64_t dim); /* for dim <= -2 */
/* "[N,3,32,32]" with symbol names. */
void graph_print_shape(const Graph *g, const Shape *s, char *text, size_t size);
/* Inputs a caller must feed: listed as inputs and not initializers. Fills up to `max` ids, returns how many there are. */
int graph_feeds(const Graph *g, ValueId *out, int max);

const Attr *node_attr(const Node *n, const char *name); /* NULL when absent */
int64_t node_int(const Node *n, const char *name, int64_t fallback);
float node_float(const Node *n, const char *name, float fallback);
Str node_string(const Node *n, const char *name, const char *fallback);
/* The values of an INTS attribute; *count 0 and NULL when absent. */
const int64_t *node_ints(const Node *n, const char *name, int64_t *count);
/* A node's name for people and patterns: its own, else its first output's. */
Str node_label(const Graph *g, const Node *n);
/* An operator of ONNX's own domain by its type. */
static inline bool node_is(const Node *n, const char *type) { return n->domain.len == 0 && str_is(n->type, type); }
static inline ValueId node_input(const Node *n, int i) { return i < n->input_count ? n->inputs[i] : 0; }
static inline ValueId node_output(const Node *n, int i) { return i < n->output_count ? n->outputs[i] : 0; }
/* The constant behind input i (initializer or Constant node), or NULL. */
const Tensor *node_constant(const Graph *g, const Node *n, int i);

#endif
