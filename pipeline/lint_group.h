/* A node with the DequantizeLinear before it and the QuantizeLinear behind it, and the first thing that is wrong with it. */
#ifndef PARE_PIPELINE_LINT_GROUP_H
#define PARE_PIPELINE_LINT_GROUP_H

#include "pipeline/lint_rules.h"

typedef struct Group {
    const Sim *s;
    int node, clamp;
    int *dqs, dq_count;  /* in the order of the inputs */
    int *qs, q_count;    /* in the order of the readers */
    int edges;           /* readers of all outputs, those in subgraphs too */
    bool output;         /* makes an output of the graph */
    StrBuf why;
} Group;

/* False when out of memory. */
bool group_find(Group *g);
void group_release(Group *g);

/* Each check returns true, or false with the reason in g->why; the first reason stays. */
bool group_fail(Group *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `wanted` inputs come from DequantizeLinear; -1: every one. */
bool group_inputs_fit(Group *g, int wanted);
/* That, and one QuantizeLinear behind each output and nothing else; `needs_q`: or none at all. */
bool group_fits(Group *g, int wanted, bool needs_q);
/* A Relu or Clip between the node and its QuantizeLinear changes nothing. */
bool group_clamp_fits(Group *g);
bool group_same_types(Group *g, bool wide);
bool group_same_grids(Group *g);
bool group_width_runs(Group *g, DType t, bool wide); /* 8 bits; `wide`: or 16 */

DType group_dq_type(const Group *g, int i);
DType group_q_type(const Group *g, int i);
/* "Relu 'r'" */
const char *group_describe(const Sim *s, int node, char text[256]);

/* lint_forms.c: other ways to integers than a group of DequantizeLinear, node, QuantizeLinear. */
bool lint_weights_alone(Group *g);  /* DequantizeLinear -> MatMul becomes MatMulNBits */
bool lint_gpu_fits(Group *g);       /* TensorRT's explicit quantization */
/* For a node that is integers in the file; false when it is none of these. */
bool lint_integer_op(const Sim *s, int node, const RuleSet *rules, Group *g, Ruling *out);

#endif
