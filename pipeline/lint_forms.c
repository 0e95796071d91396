#include "pipeline/lint_group.h"

#include <math.h>

/* Layers that are integers in the file: nothing has to be fused. */
static const char *const integer_ops[] = { "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
                                           "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "MatMulNBits" };

static const char *integer_op(Str type)
{
    for (size_t i = 0; i < sizeof integer_ops / sizeof *integer_ops; i++)
        if (str_is(type, integer_ops[i])) return integer_ops[i];
    return NULL;
}

bool lint_is_integer_op(Str type)
{
    return integer_op(type) != NULL;
}

static bool is_narrow(DType t)
{
    return t == DT_INT4 || t == DT_UINT4 || t == DT_INT2 || t == DT_UINT2;
}

/* ---- weights alone: DequantizeLinear -> MatMul becomes MatMulNBits ---- */

static bool gemm_is_matmul(Group *g)
{
    const SimNode *n = &g->s->nodes[g->node];
    const Node *origin = graph_node(g->s->g, n->origin);
    if (node_int(origin, "transA", 0) != 0 || node_int(origin, "transB", 0) != 0)
        return group_fail(g, "its weights are stored transposed; runtimes have integer weights for transB = 0");
    if (fabs((double)node_float(origin, "alpha", 1.0f) - 1.0) > 1e-6) return group_fail(g, "its alpha is not 1");
    if (n->input_count < 3 || n->inputs[2] == 0) return true;
    if (fabs((double)node_float(origin, "beta", 1.0f) - 1.0) > 1e-6) return group_fail(g, "its beta is not 1");
    const Value *bias = sim_value(g->s, n->inputs[2]);
    return (bias != NULL && bias->shape.rank == 1) || group_fail(g, "its bias is not one row");
}

bool lint_weights_alone(Group *g)
{
    const SimNode *n = &g->s->nodes[g->node];
    bool gemm = sim_is(g->s, g->node, "Gemm");
    int dq = n->input_count > 1 ? sim_producer(g->s, n->inputs[1], "DequantizeLinear") : 0;
    if (dq == 0 || (!gemm && !sim_is(g->s, g->node, "MatMul")))
        return group_fail(g, "no kernel of %.*s reads integer weights beside a float input; they become float when the network is loaded, "
                             "so only the file is smaller", STR_ARG(n->type));
    if (g->q_count > 0) return group_fail(g, "its input is float and its output is quantized; quantize its input too");
    if (gemm && !gemm_is_matmul(g)) return false;
    SimGrid grid = sim_grid(g->s, dq);
    const Tensor *w = sim_tensor(g->s, g->s->nodes[dq].inputs[0]);
    if (w == NULL || !grid.constant || grid.scales == NULL) return group_fail(g, "its weights or their scales are not constant");
    if (!dtype_is_byte(grid.type) && !is_narrow(grid.type)) return group_fail(g, "its weights are %s", dtype_name(grid.type));
    if (w->shape.rank != 2) return group_fail(g, "its weights are no matrix");
    const Node *origin = graph_node(g->s->g, g->s->nodes[dq].origin);
    int64_t block = node_int(origin, "block_size", 0), axis = node_int(origin, "axis", 1);
    if (block > 0) {
        if (axis != 0) return group_fail(g, "its blocks lie along axis %lld; runtimes fuse axis 0 written as such", (long long)axis);
        if (block < 16 || (block & (block - 1)) != 0)
            return group_fail(g, "its blocks hold %lld weights; use a power of two of at least 16", (long long)block);
        return true;
    }
    int rank = grid.scales->shape.rank;
    if (rank == 0 || (rank == 1 && grid.scales->shape.dims[0] == w->shape.dims[1] && axis == 1)) return true;
    return group_fail(g, "its scales are neither one, nor one a column, nor in blocks");
}

/* ---- TensorRT: explicit quantization ---- */

static bool gpu_grid(Group *g, int dq, const char *what)
{
    SimGrid grid = sim_grid(g->s, dq);
    if (grid.type != DT_INT8)
        return group_fail(g, "its %s are %s; graphics processors run symmetric int8 only (`pare pass quantize --target=gpu`)", what,
                          dtype_name(grid.type));
    int64_t count = grid.zeros != NULL ? tensor_count(grid.zeros) : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t zero = tensor_get_int(grid.zeros, i);
        if (zero != 0)
            return group_fail(g, "a zero point of its %s is %lld; graphics processors need 0 (`pare pass quantize --target=gpu`)", what,
                              (long long)zero);
    }
    return true;
}

bool lint_gpu_fits(Group *g)
{
    const SimNode *n = &g->s->nodes[g->node];
    int inputs[2] = { 0, 0 };
    for (int i = 0; i < 2 && i < n->input_count; i++) inputs[i] = sim_producer(g->s, n->inputs[i], "DequantizeLinear");
    if (inputs[0] == 0) return group_fail(g, "its input is not quantized");
    if (inputs[1] == 0) return group_fail(g, "its weights are not quantized");
    return gpu_grid(g, inputs[0], "inputs") && gpu_grid(g, inputs[1], "weights");
}

/* ---- integers in the file ---- */

static int only_reader_of_type(const Sim *s, int node, const char *type)
{
    int reader = sim_only_reader(s, node);
    return sim_is(s, reader, type) ? reader : 0;
}

static int readers_of(const Sim *s, int node)
{
    int count = 0;
    for (int o = 0; o < s->nodes[node].output_count; o++) count += s->values[s->nodes[node].outputs[o]].reader_count;
    return count;
}

/* MatMulInteger, Cast, Mul with the product of the scales become one kernel, and with a DynamicQuantizeLinear that nothing else reads
 * another one. */
static const char *product_kernel(const Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    int cast = only_reader_of_type(s, node, "Cast"), mul = cast != 0 ? only_reader_of_type(s, cast, "Mul") : 0, scales = 0;
    for (int i = 0; mul != 0 && i < s->nodes[mul].input_count; i++) {
        int made_by = sim_producer(s, s->nodes[mul].inputs[i], "Mul");
        if (scales == 0) scales = made_by;
    }
    if (scales == 0 || sim_only_reader(s, scales) == 0 || s->nodes[scales].input_count != 2) return "MatMulInteger";
    int quantize = sim_producer(s, n->inputs[0], "DynamicQuantizeLinear"), weight_zero = n->input_count > 3 ? n->inputs[3] : 0;
    bool constant = s->values[n->inputs[1]].constant && s->values[s->nodes[scales].inputs[1]].constant &&
                    (weight_zero == 0 || s->values[weight_zero].constant);
    return quantize != 0 && constant && readers_of(s, quantize) == 3 ? "DynamicQuantizeMatMul" : "MatMulIntegerToFloat";
}

bool lint_integer_op(const Sim *s, int node, const RuleSet *rules, Group *g, Ruling *out)
{
    const SimNode *n = &s->nodes[node];
    const char *kernel = integer_op(n->type);
    if (kernel == NULL) return false;
    const Node *origin = n->origin != 0 ? graph_node(s->g, n->origin) : NULL;
    *out = (Ruling){ .fate = FATE_INTEGER, .kernel = kernel };
    if (str_is(n->type, "MatMulNBits")) {
        if (!rules->gpu && origin != NULL && node_int(origin, "accuracy_level", 0) == 4) return true;
        out->fate = FATE_WEIGHTS;
        out->weight_bits = origin != NULL ? (int)node_int(origin, "bits", 4) : 0;
        group_fail(g, "they are unpacked on the way%s", rules->gpu ? "" : "; accuracy_level = 4 multiplies in integers");
    } else if (rules->gpu) {
        *out = (Ruling){ .fate = FATE_LOST };
        group_fail(g, "graphics processors run integers from QuantizeLinear and DequantizeLinear only; write the network in that form");
    } else if (str_is(n->type, "MatMulInteger") && n->input_count > 1) {
        out->kernel = product_kernel(s, node);
    }
    return true;
}
