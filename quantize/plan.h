/* Which nodes run in integers, and which values carry 8-bit grids: decided before anything is changed. */
#ifndef PARE_QUANTIZE_PLAN_H
#define PARE_QUANTIZE_PLAN_H

#include "quantize/layers_round.h"
#include "quantize/options.h"
#include "quantize/table.h"

typedef enum Role {
    ROLE_FLOAT,      /* stays as it is */
    ROLE_LAYER,      /* weighted: int8 weights, int32 bias, uint8 input */
    ROLE_ARITHMETIC, /* Add, average pools, Concat: its own output grid */
    ROLE_POOL,       /* MaxPool: the input's grid, between Dequantize and Quantize */
    ROLE_MOVE,       /* Reshape, Transpose, Slice, Pad ...: moves the integers themselves */
} Role;

typedef struct NodePlan {
    Role role;
    NodeId clamp;       /* the Relu or Clip after it that the grid's ends replace; 0: none */
    ValueId out;        /* output 0, or the clamp's */
    bool out_quantized; /* out carries a grid */
    int layer;          /* index into layers, ROLE_LAYER only */
} NodePlan;

typedef struct PlannedLayer {
    Layer layer;
    LayerForm form;
    Rows rows;
    QuantizeOptions options; /* with the rules for this layer */
    const char *reason;      /* why it stays float; NULL: quantized */
    bool shifted;            /* uint8 weights around 128: exact on every processor without the pair rule */
} PlannedLayer;

/* What is to stay float whatever the options say. */
typedef struct PlanLimits {
    const CalibrationTable *table; /* tensors commented out there; NULL: none */
    const bool *keep;              /* [node]: layers; NULL: none */
} PlanLimits;

typedef struct Plan {
    Graph *g;
    PlanLimits limits;
    NodePlan *nodes;     /* [node] */
    PlannedLayer *layers;
    int layer_count;
    uint32_t value_count, node_count; /* of the graph when it was planned: what is added later has no entry */
    ValueId *root;       /* [value]: whose range its grid comes from; 0: carries none */
    Grid *grids;         /* [value], roots only, filled after the sweep */
    bool *given;         /* [value]: a DequantizeLinear of the network makes it; its grid is in grids from the start and stays */
    int *readers;        /* [value]: reading nodes, captures and graph outputs */
    NodeId *reader;      /* [value]: one of them */
} Plan;

Status plan_make(PassContext *c, const PlanLimits *limits, Plan *p, Err *err);
void plan_release(Plan *p);
/* ERR_DATA: a line of the table (of file `path`) whose tensor would carry no grid of its own even without the table. */
Status plan_check_table(PassContext *c, const CalibrationTable *t, const char *path, Err *err);
/* Multiply-accumulates of a sample; dimensions that are not known count once. */
double plan_work(const Graph *g, const PlannedLayer *l);
/* The input operands of a node that carry activations: [0, count). */
int plan_operands(const Node *n, Role role);

#endif
