/* Everything known about one operator, in one entry. The list of entries is engine/ops/list.h; passes read the table and name no op. */
#ifndef PARE_GRAPH_OP_H
#define PARE_GRAPH_OP_H

#include "graph/graph.h"

/* Integer contents of a small tensor as far as they are known before running: shape arithmetic. Entry i is a number when
 * !symbol[i], else a dimension (DIM_UNKNOWN or a symbol of the graph). */
#define MAX_INTS 64
typedef struct Ints {
    int count; /* -1: nothing known */
    bool scalar;
    int64_t at[MAX_INTS];
    bool symbol[MAX_INTS];
} Ints;

typedef struct TypeInfo {
    DType type;
    Shape shape;
} TypeInfo;

/* One question to `infer`: types and shapes of the outputs from those of the inputs. */
typedef struct InferCall {
    Graph *graph; /* for symbols and names; not to be edited */
    const Node *node;
    int opset;    /* version imported for the node's domain */
    int input_count, output_count;
    const TypeInfo *in;             /* rank -1 / DT_NONE where unknown or left out */
    const Tensor *const *constant;  /* contents where constant, else NULL */
    const Ints *ints;               /* integer contents where known (count >= 0), constant ones included when small */
    TypeInfo *out;                  /* preset to unknown */
    Ints *out_ints;                 /* preset to unknown; shape ops fill it */
    Err *err;
} InferCall;

/* How a control-flow operator runs its subgraphs, and what bounds it; there in a session alone. */
typedef struct OpBodies {
    /* Runs the subgraph that attribute `attr` holds. `in`: one per input of the body, borrowed; `out`: one per output, to be released by
     * the caller. ERR_INTERRUPTED when the user asked to stop. */
    Status (*run)(struct OpBodies *b, const char *attr, const Tensor *in, Tensor *out, Err *err);
    int64_t max_steps;  /* of one Loop */
    uint64_t max_bytes; /* of what one Loop or Scan stacks up */
} OpBodies;

/* One execution. Outputs whose shape inference could tell are allocated before the call; the others by the op itself. */
typedef struct OpCall {
    const Graph *graph;
    const Node *node;
    int opset;
    int input_count, output_count;
    const Tensor *const *in; /* NULL where left out; aligned */
    Tensor *out;             /* data NULL: not yet allocated, or output left out (see wanted) */
    const bool *wanted;      /* outputs somebody reads */
    OpBodies *bodies;        /* of a control-flow operator in a session; else NULL */
    Err *err;
} OpCall;

/* Allocates output i (when it is not yet, or has another shape). */
Status opcall_output(OpCall *c, int i, DType type, const Shape *shape);

/* Cost of one execution at concrete shapes. Convention: MACs are the products of Conv, ConvTranspose, Gemm, MatMul (and recurrent
 * cells' matrices), zero padding counted, bias not. Everything else is elementwise operations. */
typedef struct OpCost {
    int64_t macs;
    int64_t elementwise;     /* additions, multiplications, comparisons ... one per element and step */
    int64_t transcendental;  /* exp, log, tanh, sqrt, division ... */
} OpCost;

typedef struct CostCall {
    const Graph *graph;
    const Node *node;
    int input_count, output_count;
    const TypeInfo *in, *out; /* concrete shapes */
} CostCall;

enum {
    OP_SHAPE_ONLY = 1,   /* moves or reinterprets elements, computes nothing (Reshape, Transpose, Concat ...) */
    OP_RANDOM = 2,
    OP_CONTROL = 4,      /* If, Loop, Scan */
    OP_DATA_SHAPE = 8,   /* output shape depends on the data (NonZero ...) */
    OP_MONOTONE = 16,    /* elementwise and keeps the range of an activation in shape (Relu, Clip): may follow a quantized op */
};

struct Op {
    const char *type, *domain; /* domain "" for ai.onnx */
    int since, until;          /* opsets in which this entry is valid; until 0: still */
    int min_inputs, max_inputs, min_outputs, max_outputs; /* max -1: any number */
    unsigned flags;
    unsigned optional; /* bit i: input i may be left out although it stands before min_inputs */
    /* Weighted layers: which input holds the weights and along which of its axes the output channels lie, as spelled by the node's
     * attributes (Gemm transB). weight_input -1: not a layer. bias_input -1: none. Axis -1: last. */
    int weight_input, bias_input;
    int recurrent_input; /* a second weight input, which the hidden state meets; its axes are as the first one's. 0: none */
    int (*weight_axis)(const Graph *g, const Node *n); /* NULL with weight_input -1 */
    Status (*infer)(InferCall *c);
    Status (*forward)(OpCall *c);                      /* plain C: the oracle and the fallback; NULL: cannot run */
    void (*cost)(const CostCall *c, OpCost *out);      /* NULL: one elementwise operation per output element (none when OP_SHAPE_ONLY) */
};

#endif
