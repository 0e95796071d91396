/* What the operators of domain com.microsoft share. Their definitions are ONNX Runtime's (its documentation of contributed operators);
 * nearly all are an operator of ai.onnx with something before or behind it, so most of them run that operator's own entry. */
#ifndef PARE_ENGINE_OPS_MS_COMMON_H
#define PARE_ENGINE_OPS_MS_COMMON_H

#include "engine/ops/common.h"

/* An entry of com.microsoft that is no weighted layer; optional_: a bit for every early input that may be left out. */
#define MS_ENTRY(type_, min_in, max_in, min_out, max_out, optional_, infer_, forward_, cost_) \
    { .type = type_, .domain = "com.microsoft", .since = 1, .min_inputs = min_in, .max_inputs = max_in, .min_outputs = min_out, \
      .max_outputs = max_out, .optional = optional_, .weight_input = -1, .bias_input = -1, .infer = infer_, .forward = forward_, \
      .cost = cost_ }

/* The operator of ai.onnx that a call is handed on to, at the opset whose meaning the contributed one has. */
typedef struct MsBase {
    const char *type;
    int opset;
    int inputs; /* the first so many of the call's are handed on; -1: all */
} MsBase;

/* Shape rules, forward and cost of `base`, on the node's own attributes. `in` NULL: the call's own inputs; otherwise `base->inputs`
 * tensors. */
Status ms_infer(InferCall *c, const MsBase *base);
Status ms_forward(OpCall *c, const MsBase *base, const Tensor *const *in);
void ms_cost(const CostCall *c, const MsBase *base, OpCost *out);

/* Input i, or NULL when it was left out. */
static inline const Tensor *ms_input(const OpCall *c, int i)
{
    return i < c->input_count ? c->in[i] : NULL;
}
/* ERR_DATA unless input i is left out or has `count` entries (or one, when `or_one`). */
Status ms_check_count(const OpCall *c, int i, int64_t count, bool or_one);
/* ERR_UNSUPPORTED unless input i is uint8 or int8. */
Status ms_check_byte(const OpCall *c, int i);
/* ERR_DATA unless input i has this rank. */
Status ms_check_rank(const OpCall *c, int i, int rank);

/* values -> saturate(round(values / scale) + zero), half to even; `type` uint8 or int8. */
void ms_quantize(const float *values, int64_t count, float scale, int64_t zero, DType type, uint8_t *out);

/* The fused activations: Relu, LeakyRelu, Tanh, Sigmoid, Clip, HardSigmoid, ... with their parameters. */
typedef struct MsActivation {
    enum { MS_NONE, MS_RELU, MS_LEAKY_RELU, MS_TANH, MS_SIGMOID, MS_CLIP, MS_HARD_SIGMOID, MS_ELU, MS_SOFTPLUS, MS_THRESHOLDED_RELU } kind;
    float alpha, beta;
} MsActivation;

/* From the node's attribute `activation` and, where FusedConv has them, `activation_params`, else activation_alpha and _beta. */
Status ms_activation(const OpCall *c, MsActivation *out);
void ms_activate(const MsActivation *a, float *values, int64_t count);

/* FusedMatMul: where each axis of operand `which` that MatMul sees comes from. A vector is left as it is. */
void ms_operand_order(const Node *n, int which, int rank, int *order);

#endif
