#include "engine/ops/ms_common.h"

#include <math.h>

#include "engine/engine.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"

/* The entry of ai.onnx that was valid at the base's opset. */
static const Op *base_entry(const MsBase *base)
{
    for (const Op *const *family = engine_ops(); *family != NULL; family++)
        for (const Op *op = *family; op->type != NULL; op++)
            if (op->domain[0] == '\0' && str_is(str_of(op->type), base->type) && base->opset >= op->since &&
                (op->until == 0 || base->opset <= op->until))
                return op;
    return NULL;
}

/* The node as the base operator sees it: its attributes are kept. */
static Node base_node(const Node *n, const MsBase *base, const Op *op)
{
    Node node = *n;
    node.type = str_of(base->type);
    node.domain = STR("");
    node.op = op;
    if (base->inputs >= 0 && node.input_count > base->inputs) node.input_count = base->inputs;
    if (op->max_outputs >= 0 && node.output_count > op->max_outputs) node.output_count = op->max_outputs;
    return node;
}

Status ms_infer(InferCall *c, const MsBase *base)
{
    const Op *op = base_entry(base);
    if (op == NULL) return op_fail(c, ERR_BUG, "no entry for %s", base->type);
    Node node = base_node(c->node, base, op);
    InferCall inner = *c;
    inner.node = &node;
    inner.opset = base->opset;
    if (inner.input_count > node.input_count) inner.input_count = node.input_count;
    inner.output_count = node.output_count;
    return op->infer(&inner);
}

Status ms_forward(OpCall *c, const MsBase *base, const Tensor *const *in)
{
    const Op *op = base_entry(base);
    if (op == NULL || op->forward == NULL) return op_fail(c, ERR_BUG, "no forward for %s", base->type);
    Node node = base_node(c->node, base, op);
    OpCall inner = *c;
    inner.node = &node;
    inner.opset = base->opset;
    if (in != NULL) {
        inner.in = in;
        inner.input_count = base->inputs;
    } else if (base->inputs >= 0 && inner.input_count > base->inputs) {
        inner.input_count = base->inputs;
    }
    inner.output_count = node.output_count;
    return op->forward(&inner);
}

void ms_cost(const CostCall *c, const MsBase *base, OpCost *out)
{
    const Op *op = base_entry(base);
    if (op == NULL || op->cost == NULL) return;
    Node node = base_node(c->node, base, op);
    CostCall inner = *c;
    inner.node = &node;
    if (base->inputs >= 0 && inner.input_count > base->inputs) inner.input_count = base->inputs;
    op->cost(&inner, out);
}

Status ms_check_count(const OpCall *c, int i, int64_t count, bool or_one)
{
    const Tensor *t = ms_input(c, i);
    if (t == NULL || tensor_count(t) == count || (or_one && tensor_count(t) == 1)) return OK;
    return op_fail(c, ERR_DATA, "input %d has %lld entries, expected %lld%s", i, (long long)tensor_count(t), (long long)count,
                   or_one ? " or one" : "");
}

Status ms_check_byte(const OpCall *c, int i)
{
    const Tensor *t = ms_input(c, i);
    if (t == NULL || dtype_is_byte(t->type)) return OK;
    return op_fail(c, ERR_UNSUPPORTED, "input %d is %s, expected uint8 or int8", i, dtype_name(t->type));
}

Status ms_check_rank(const OpCall *c, int i, int rank)
{
    const Tensor *t = ms_input(c, i);
    if (t == NULL || t->shape.rank == rank) return OK;
    return op_fail(c, ERR_DATA, "input %d has rank %d, expected %d", i, t->shape.rank, rank);
}

void ms_quantize(const float *values, int64_t count, float scale, int64_t zero, DType type, uint8_t *out)
{
    int64_t low = 0, high = 0;
    (void)quant_range(type, &low, &high);
    float least = (float)(low - zero), most = (float)(high - zero);
    for (int64_t i = 0; i < count; i++) out[i] = (uint8_t)((int32_t)quant_round(values[i] / scale, least, most) + (int32_t)zero);
}

/* ---- activations ---- */

static const struct {
    const char *name;
    int kind;
    float alpha, beta; /* where the node gives none */
} activations[] = {
    { "Relu", MS_RELU, 0, 0 },
    { "LeakyRelu", MS_LEAKY_RELU, 0.01F, 0 },
    { "Tanh", MS_TANH, 0, 0 },
    { "Sigmoid", MS_SIGMOID, 0, 0 },
    { "Clip", MS_CLIP, -3.402823466e+38F, 3.402823466e+38F },
    { "HardSigmoid", MS_HARD_SIGMOID, 0.2F, 0.5F },
    { "Elu", MS_ELU, 1, 0 },
    { "Softplus", MS_SOFTPLUS, 0, 0 },
    { "ThresholdedRelu", MS_THRESHOLDED_RELU, 1, 0 },
};

Status ms_activation(const OpCall *c, MsActivation *out)
{
    *out = (MsActivation){ .kind = MS_NONE };
    Str name = node_string(c->node, "activation", "");
    if (name.len == 0) return OK;
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        if (!str_is(name, activations[i].name)) continue;
        *out = (MsActivation){ .kind = activations[i].kind, .alpha = activations[i].alpha, .beta = activations[i].beta };
        out->alpha = node_float(c->node, "activation_alpha", out->alpha);
        out->beta = node_float(c->node, "activation_beta", out->beta);
        const Attr *list = node_attr(c->node, "activation_params");
        if (list != NULL && list->type == ATTR_FLOATS && list->count > 0) out->alpha = list->floats[0];
        if (list != NULL && list->type == ATTR_FLOATS && list->count > 1) out->beta = list->floats[1];
        return OK;
    }
    return op_fail(c, ERR_UNSUPPORTED, "activation '%.*s'", STR_ARG(name));
}

static float activate(const MsActivation *a, float v)
{
    switch (a->kind) {
    case MS_NONE: return v;
    case MS_RELU: return v < 0 ? 0 : v;
    case MS_LEAKY_RELU: return v < 0 ? a->alpha * v : v;
    case MS_TANH: return tanhf(v);
    case MS_SIGMOID: return (float)(1 / (1 + exp(-(double)v)));
    case MS_CLIP: return v < a->alpha ? a->alpha : v > a->beta ? a->beta : v;
    case MS_HARD_SIGMOID: return fmaxf(0, fminf(1, a->alpha * v + a->beta));
    case MS_ELU: return v < 0 ? a->alpha * expm1f(v) : v;
    case MS_SOFTPLUS: return (float)(v > 0 ? v + log1p(exp(-(double)v)) : log1p(exp((double)v)));
    case MS_THRESHOLDED_RELU: return v > a->alpha ? v : 0;
    }
    return v;
}

void ms_activate(const MsActivation *a, float *values, int64_t count)
{
    if (a->kind == MS_NONE) return;
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t i = 0; i < count; i++) values[i] = activate(a, values[i]);
}
