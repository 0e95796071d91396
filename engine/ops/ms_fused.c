/* ONNX Runtime's fused float operators: FusedConv, FusedMatMul, FusedGemm (a product, then an activation); Gelu, BiasGelu, FastGelu,
 * QuickGelu; and its own QuantizeLinear and DequantizeLinear, which are those of ai.onnx with 4- and 16-bit types. */
#include <math.h>
#include <stdlib.h>

#include "engine/ops/list.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

/* --- FusedConv: activation(conv(x, w, b) + z) */

static const MsBase conv_base = { "Conv", 11, 3 };

static Status conv_infer(InferCall *c)
{
    return ms_infer(c, &conv_base);
}

static Status conv_float(OpCall *c)
{
    MsActivation activation;
    const Tensor *z = ms_input(c, 3);
    TRY(ms_activation(c, &activation));
    TRY(ms_forward(c, &conv_base, NULL));
    int64_t count = tensor_count(&c->out[0]);
    if (z != NULL) {
        if (!shape_eq(&z->shape, &c->out[0].shape)) return op_fail(c, ERR_DATA, "the added tensor has another shape than the result");
        for (int64_t i = 0; i < count; i++) tensor_floats(&c->out[0])[i] += tensor_floats(z)[i];
    }
    ms_activate(&activation, tensor_floats(&c->out[0]), count);
    return OK;
}

static Status conv_forward(OpCall *c)
{
    return opcall_in_float(c, conv_float);
}

static void conv_cost(const CostCall *c, OpCost *out)
{
    ms_cost(c, &conv_base, out);
}

/* --- FusedGemm: activation(alpha a b + beta c) */

static const MsBase gemm_base = { "Gemm", 13, 3 };

static Status gemm_infer(InferCall *c)
{
    return ms_infer(c, &gemm_base);
}

static Status gemm_float(OpCall *c)
{
    MsActivation activation;
    TRY(ms_activation(c, &activation));
    TRY(ms_forward(c, &gemm_base, NULL));
    ms_activate(&activation, tensor_floats(&c->out[0]), tensor_count(&c->out[0]));
    return OK;
}

static Status gemm_forward(OpCall *c)
{
    return opcall_in_float(c, gemm_float);
}

static void gemm_cost(const CostCall *c, OpCost *out)
{
    ms_cost(c, &gemm_base, out);
}

/* --- FusedMatMul: alpha op(a) op(b). transA swaps the last two axes; transBatchA first moves axis 0 behind the batch axes. */

static const MsBase matmul_base = { "MatMul", 13, 2 };

void ms_operand_order(const Node *n, int which, int rank, int *order)
{
    bool swap = node_int(n, which == 0 ? "transA" : "transB", 0) != 0;
    bool batch = node_int(n, which == 0 ? "transBatchA" : "transBatchB", 0) != 0;
    for (int i = 0; i < rank; i++) order[i] = i;
    if (rank > 2 && batch) {
        for (int i = 0; i < rank - 2; i++) order[i] = i + 1;
        order[rank - 2] = 0;
    }
    if (rank > 1 && swap) {
        int last = order[rank - 1];
        order[rank - 1] = order[rank - 2];
        order[rank - 2] = last;
    }
}

static Shape operand_shape(const Node *n, int which, const Shape *s)
{
    int order[MAX_RANK];
    Shape seen = *s;
    if (s->rank < 0) return seen;
    ms_operand_order(n, which, s->rank, order);
    for (int i = 0; i < s->rank; i++) seen.dims[i] = s->dims[order[i]];
    return seen;
}

static Status matmul_infer(InferCall *c)
{
    TypeInfo in[2] = { c->in[0], c->in[1] };
    for (int i = 0; i < 2; i++) in[i].shape = operand_shape(c->node, i, &in[i].shape);
    InferCall inner = *c;
    inner.in = in;
    return ms_infer(&inner, &matmul_base);
}

static Status matmul_float(OpCall *c)
{
    Tensor moved[2] = { 0 };
    const Tensor *in[2];
    Status status = OK;
    for (int i = 0; i < 2; i++) {
        const Tensor *x = c->in[i];
        int order[MAX_RANK];
        int64_t own[MAX_RANK], from[MAX_RANK], to[MAX_RANK];
        Shape shape = operand_shape(c->node, i, &x->shape);
        TRY_OUT(tensor_new(&moved[i], DT_FLOAT, &shape, c->err));
        ms_operand_order(c->node, i, shape.rank, order);
        strides_of(&x->shape, own);
        strides_of(&shape, to);
        for (int d = 0; d < shape.rank; d++) from[d] = own[order[d]];
        copy_strided(sizeof(float), shape.rank, shape.dims, moved[i].data, to, x->data, from);
        in[i] = &moved[i];
    }
    TRY_OUT(ms_forward(c, &matmul_base, in));
    float alpha = node_float(c->node, "alpha", 1);
    int64_t count = tensor_count(&c->out[0]);
    for (int64_t i = 0; i < count; i++) tensor_floats(&c->out[0])[i] *= alpha;
out:
    tensor_release(&moved[0]);
    tensor_release(&moved[1]);
    return status;
}

static Status matmul_forward(OpCall *c)
{
    return opcall_in_float(c, matmul_float);
}

static void matmul_cost(const CostCall *c, OpCost *out)
{
    Shape a = operand_shape(c->node, 0, &c->in[0].shape);
    int64_t outputs = 0;
    if (shape_count(&c->out[0].shape, &outputs) && a.rank > 0) out->macs = outputs * a.dims[a.rank - 1];
}

/* --- Gelu and its relatives; a bias is added along the last axis */

static Status gelu_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

typedef enum GeluKind { GELU_EXACT, GELU_FAST, GELU_QUICK } GeluKind;

static double gelu(GeluKind kind, double v, double alpha)
{
    if (kind == GELU_FAST) return 0.5 * v * (1 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
    if (kind == GELU_QUICK) return v / (1 + exp(-alpha * v));
    return 0.5 * v * (1 + erf(v * 0.70710678118654752440));
}

static Status gelu_float(OpCall *c)
{
    const Tensor *x = c->in[0], *bias = ms_input(c, 1);
    int64_t width = x->shape.rank > 0 ? x->shape.dims[x->shape.rank - 1] : 1, count = tensor_count(x);
    if (bias != NULL) {
        TRY(ms_check_rank(c, 1, 1));
        TRY(ms_check_count(c, 1, width, false));
    }
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    GeluKind kind = str_is(c->node->type, "FastGelu") ? GELU_FAST : str_is(c->node->type, "QuickGelu") ? GELU_QUICK : GELU_EXACT;
    double alpha = node_float(c->node, "alpha", 1.702F);
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t i = 0; i < count; i++) {
        float v = tensor_floats(x)[i];
        if (bias != NULL) v += tensor_floats(bias)[i % width];
        tensor_floats(&c->out[0])[i] = (float)gelu(kind, v, alpha);
    }
    return OK;
}

static Status gelu_forward(OpCall *c)
{
    return opcall_in_float(c, gelu_float);
}

/* --- QuantizeLinear, DequantizeLinear of com.microsoft */

static const MsBase quantize_base = { "QuantizeLinear", 21, 3 }, dequantize_base = { "DequantizeLinear", 21, 3 };

static Status quantize_infer(InferCall *c)
{
    return ms_infer(c, &quantize_base);
}

static Status quantize_forward(OpCall *c)
{
    return ms_forward(c, &quantize_base, NULL);
}

static Status dequantize_infer(InferCall *c)
{
    return ms_infer(c, &dequantize_base);
}

static Status dequantize_forward(OpCall *c)
{
    return ms_forward(c, &dequantize_base, NULL);
}

/* --- the axis of the output channels in the weights, as in the operator that each is made of */

static int conv_axis(const Graph *g, const Node *n)
{
    (void)g, (void)n;
    return 0;
}

static int gemm_axis(const Graph *g, const Node *n)
{
    (void)g;
    return node_int(n, "transB", 0) != 0 ? 0 : 1;
}

static int matmul_axis(const Graph *g, const Node *n)
{
    const Tensor *b = node_constant(g, n, 1);
    int order[MAX_RANK];
    if (b == NULL || b->shape.rank < 1) return -1;
    ms_operand_order(n, 1, b->shape.rank, order);
    return order[b->shape.rank - 1];
}

#define MS_LAYER(type_, max_in, bias_, axis_, infer_, forward_, cost_) \
    { .type = type_, .domain = "com.microsoft", .since = 1, .min_inputs = 2, .max_inputs = max_in, .min_outputs = 1, .max_outputs = 1, \
      .weight_input = 1, .bias_input = bias_, .weight_axis = axis_, .infer = infer_, .forward = forward_, .cost = cost_ }

const Op ops_ms_fused[] = {
    MS_LAYER("FusedConv", 4, 2, conv_axis, conv_infer, conv_forward, conv_cost),
    MS_LAYER("FusedGemm", 3, 2, gemm_axis, gemm_infer, gemm_forward, gemm_cost),
    MS_LAYER("FusedMatMul", 2, -1, matmul_axis, matmul_infer, matmul_forward, matmul_cost),
    MS_ENTRY("Gelu", 1, 1, 1, 1, 0, gelu_infer, gelu_forward, cost_transcendental),
    MS_ENTRY("BiasGelu", 2, 2, 1, 1, 0, gelu_infer, gelu_forward, cost_transcendental),
    MS_ENTRY("FastGelu", 1, 2, 1, 1, 0, gelu_infer, gelu_forward, cost_transcendental),
    MS_ENTRY("QuickGelu", 1, 1, 1, 1, 0, gelu_infer, gelu_forward, cost_transcendental),
    MS_ENTRY("QuantizeLinear", 2, 3, 1, 1, 0, quantize_infer, quantize_forward, NULL),
    MS_ENTRY("DequantizeLinear", 2, 3, 1, 1, 0, dequantize_infer, dequantize_forward, NULL),
    OP_END,
};
