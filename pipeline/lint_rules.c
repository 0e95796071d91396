/* ONNX Runtime's selectors (core/optimizer/qdq_transformer/selectors_actions of 1.31), in the order and with the conditions they have
 * there; a row names the kernel that takes the group's place. */
#include "pipeline/lint_rules.h"

#include <string.h>

#include "pipeline/lint_group.h"

typedef enum Kind {
    KIND_CONV, KIND_MATMUL, KIND_GEMM, KIND_UNARY, KIND_BINARY, KIND_VARIADIC, KIND_WHERE, KIND_SPLIT,
    KIND_MOVE,      /* any width */
    KIND_MOVE_8,    /* no 16-bit kernel */
    KIND_ORDER,     /* as MOVE_8, and the scale is positive: order is kept */
    KIND_DROP_DQ,
} Kind;

typedef struct Rule {
    const char *op;
    Kind kind;
    const char *kernel;
    int opset; /* from this one on */
} Rule;

static const Rule rule_table[] = {
    { "Conv", KIND_CONV, "QLinearConv", 0 },
    { "MatMul", KIND_MATMUL, "QLinearMatMul", 0 },
    { "Gemm", KIND_GEMM, "QGemm", 0 },
    { "AveragePool", KIND_UNARY, "QLinearAveragePool", 0 },
    { "GlobalAveragePool", KIND_UNARY, "QLinearGlobalAveragePool", 0 },
    { "LeakyRelu", KIND_UNARY, "QLinearLeakyRelu", 0 },
    { "Sigmoid", KIND_UNARY, "QLinearSigmoid", 0 },
    { "Softmax", KIND_UNARY, "QLinearSoftmax", 0 },
    { "Add", KIND_BINARY, "QLinearAdd", 0 },
    { "Mul", KIND_BINARY, "QLinearMul", 0 },
    { "Concat", KIND_VARIADIC, "QLinearConcat", 0 },
    { "Where", KIND_WHERE, "QLinearWhere", 0 },
    { "Split", KIND_SPLIT, "Split", 0 },
    { "Resize", KIND_MOVE_8, "Resize", 0 },
    { "MaxPool", KIND_ORDER, "MaxPool", 12 },
    { "ReduceMax", KIND_ORDER, "ReduceMax", 0 },
    { "ReduceMin", KIND_ORDER, "ReduceMin", 0 },
    { "Expand", KIND_MOVE, "Expand", 0 },
    { "Flatten", KIND_MOVE, "Flatten", 0 },
    { "Gather", KIND_MOVE, "Gather", 0 },
    { "GatherElements", KIND_MOVE, "GatherElements", 0 },
    { "Reshape", KIND_MOVE, "Reshape", 0 },
    { "Slice", KIND_MOVE, "Slice", 0 },
    { "Squeeze", KIND_MOVE, "Squeeze", 0 },
    { "Tile", KIND_MOVE, "Tile", 0 },
    { "Transpose", KIND_MOVE, "Transpose", 0 },
    { "Unsqueeze", KIND_MOVE, "Unsqueeze", 0 },
    { "ArgMax", KIND_DROP_DQ, "ArgMax", 0 },
};

static const char *const float_layers[] = { "Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "FusedMatMul", "Attention",
                                            "MultiHeadAttention", NULL };

static bool listed(const char *const *list, Str type)
{
    for (int i = 0; list[i] != NULL; i++)
        if (str_is(type, list[i])) return true;
    return false;
}

bool lint_is_layer(Str type)
{
    return lint_is_integer_op(type) || listed(float_layers, type);
}

/* ---- one check per kind ---- */

/* int8 activations need int8 weights and, where the processor has no kernel for them, a shift to uint8 that was not possible. */
static bool signs_fit(Group *g, const RuleSet *rules)
{
    char text[256];
    DType in = group_dq_type(g, 0), weight = group_dq_type(g, 1);
    if (in != DT_INT8) return true;
    if (!rules->int8_activations) {
        int q = sim_producer(g->s, g->s->nodes[g->dqs[0]].inputs[0], "QuantizeLinear");
        if (q != 0 && g->s->values[g->s->nodes[q].outputs[0]].reader_count > 1)
            return group_fail(g, "its int8 input is read %d times, and x86 turns int8 into uint8 only where it is read once; "
                                 "quantize %s to uint8",
                        g->s->values[g->s->nodes[q].outputs[0]].reader_count, group_describe(g->s, q, text));
        return group_fail(g, "its input is int8, which x86 has no kernel for; quantize it to uint8");
    }
    if (weight != DT_INT8)
        return group_fail(g, "its input is int8 and its weights are %s; int8 runs only with int8 weights", dtype_name(weight));
    return true;
}

static bool weight_type_runs(Group *g)
{
    DType t = group_dq_type(g, 1);
    if (dtype_is_byte(t)) return true;
    return group_fail(g, "its weights are %s, and the kernel is for 8 bits; use int8 or uint8", dtype_name(t));
}

static bool bias_fits(Group *g)
{
    DType t = g->dq_count < 3 ? DT_INT32 : group_dq_type(g, 2);
    if (t == DT_INT32) return true;
    return group_fail(g, "its bias is %s; quantize it to int32 with scale input times weight and zero point 0", dtype_name(t));
}

static bool output_type_fits(Group *g)
{
    if (g->q_count == 0 || group_q_type(g, 0) == group_dq_type(g, 0)) return true;
    return group_fail(g, "its input is %s and its output %s; quantize both to one type", dtype_name(group_dq_type(g, 0)),
                      dtype_name(group_q_type(g, 0)));
}

static bool check_conv(Group *g, const RuleSet *rules)
{
    return group_fits(g, -1, true) && group_width_runs(g, group_dq_type(g, 0), false) && weight_type_runs(g) && signs_fit(g, rules) &&
           output_type_fits(g) && bias_fits(g);
}

static bool check_matmul(Group *g, const RuleSet *rules)
{
    if (!group_inputs_fit(g, 2)) return false;
    if (!group_width_runs(g, group_dq_type(g, 0), false) || !weight_type_runs(g) || !signs_fit(g, rules)) return false;
    return g->q_count == 0 || (group_fits(g, -1, true) && output_type_fits(g));
}

static bool check_gemm(Group *g)
{
    if (!group_fits(g, -1, false) || !group_width_runs(g, group_dq_type(g, 0), false) || !weight_type_runs(g)) return false;
    DType in = group_dq_type(g, 0), weight = group_dq_type(g, 1);
    if (in == DT_INT8 && weight != DT_INT8)
        return group_fail(g, "its input is int8 and its weights are %s; int8 runs only with int8 weights", dtype_name(weight));
    if (!output_type_fits(g)) return false;
    NodeId origin = g->s->nodes[g->node].origin;
    double beta = origin != 0 ? (double)node_float(graph_node(g->s->g, origin), "beta", 1.0f) : 1.0;
    double alpha = origin != 0 ? (double)node_float(graph_node(g->s->g, origin), "alpha", 1.0f) : 1.0;
    if (g->dq_count == 3 && beta != 1.0)
        return group_fail(g, "its beta is %g and the integer kernel's is 1; multiply the bias by it", beta);
    if (g->dq_count == 3 && alpha != 1.0)
        return group_fail(g, "its alpha is %g, and with a bias the integer kernel's is 1; multiply the weights by it", alpha);
    return bias_fits(g);
}

static bool check_move(Group *g, Kind kind)
{
    if (g->clamp != 0) return group_fail(g, "a Relu or Clip stands between it and QuantizeLinear");
    if (!group_fits(g, 1, true) || !group_same_types(g, kind == KIND_MOVE) || !group_same_grids(g)) return false;
    if (kind == KIND_ORDER && sim_grid(g->s, g->qs[0]).scale <= 0.0f) return group_fail(g, "its scale is not positive");
    return true;
}

static bool check_drop_dq(Group *g)
{
    if (!group_inputs_fit(g, 1) || !group_width_runs(g, group_dq_type(g, 0), false)) return false;
    SimGrid grid = sim_grid(g->s, g->dqs[0]);
    if (!grid.has_zero) return group_fail(g, "the zero point before it is left out; write it, 0 as well");
    return (grid.constant && grid.scalar) || group_fail(g, "the grid before it is not a constant per tensor");
}

static bool check(Group *g, const Rule *rule, const RuleSet *rules)
{
    switch (rule->kind) {
    case KIND_CONV: return check_conv(g, rules);
    case KIND_MATMUL: return check_matmul(g, rules);
    case KIND_GEMM: return check_gemm(g);
    case KIND_UNARY: return group_fits(g, 1, true) && group_same_types(g, false);
    case KIND_BINARY: case KIND_VARIADIC: return group_fits(g, -1, true) && group_same_types(g, false);
    case KIND_WHERE: return group_fits(g, 2, true) && group_same_types(g, false);
    case KIND_SPLIT: return group_fits(g, 1, true) && group_same_types(g, false) && group_same_grids(g);
    case KIND_MOVE: case KIND_MOVE_8: case KIND_ORDER: return check_move(g, rule->kind);
    case KIND_DROP_DQ: return check_drop_dq(g);
    }
    return false;
}

/* ---- the ruling ---- */

static const Rule *find_rule(const Sim *s, int node)
{
    for (size_t i = 0; i < sizeof rule_table / sizeof *rule_table; i++)
        if (sim_is(s, node, rule_table[i].op)) return &rule_table[i];
    return NULL;
}

/* A node that moves its first input in a way that is known beforehand. */
static bool is_move(const Sim *s, int node)
{
    const Rule *rule = find_rule(s, node);
    const SimNode *n = &s->nodes[node];
    bool fixed = rule != NULL && (rule->kind == KIND_MOVE || rule->kind == KIND_MOVE_8) && n->input_count > 0;
    for (int i = 1; fixed && i < n->input_count; i++) fixed = n->inputs[i] == 0 || s->values[n->inputs[i]].constant;
    return fixed;
}

#define MOVES 8 /* nodes in a row that move weights */

/* The DequantizeLinear of a constant that the value comes from, through nodes that only move it; 0: none. */
static int constant_dq(const Sim *s, int value)
{
    for (int k = 0; k < MOVES && value != 0; k++) {
        int node = s->values[value].producer;
        if (sim_is(s, node, "DequantizeLinear")) return s->values[s->nodes[node].inputs[0]].constant ? node : 0;
        if (node == 0 || !is_move(s, node)) return 0;
        value = s->nodes[node].inputs[0];
    }
    return 0;
}

static void judge_group(Group *g, const RuleSet *rules, Ruling *out)
{
    const Rule *rule = find_rule(g->s, g->node);
    const SimNode *n = &g->s->nodes[g->node];
    bool layer = listed(float_layers, n->type);
    out->fate = FATE_LOST;
    if (rules->gpu) {
        if (!layer || str_is(n->type, "LSTM") || str_is(n->type, "GRU") || str_is(n->type, "RNN")) {
            if (layer) group_fail(g, "graphics processors have no integer kernel for %.*s", STR_ARG(n->type));
            else out->fate = FATE_FLOAT;
        } else if (lint_gpu_fits(g)) {
            *out = (Ruling){ .fate = FATE_INTEGER, .kernel = str_is(n->type, "Conv") ? "int8 convolution" : "int8 product" };
        }
        return;
    }
    if (rule == NULL) {
        group_fail(g, "ONNX Runtime has no integer kernel for %.*s", STR_ARG(n->type));
        return;
    }
    if (graph_opset(g->s->g, STR("")) < rule->opset) {
        group_fail(g, "%s of integers begins with opset %d and this is opset %lld; raise it", rule->op, rule->opset,
                   (long long)graph_opset(g->s->g, STR("")));
        return;
    }
    if (sim_is(g->s, g->node, "Gather") && g->q_count == 0 && constant_dq(g->s, n->inputs[0]) != 0) {
        group_fail(g, "its table becomes float as a whole, so only the file is smaller; GatherBlockQuantized reads the rows that are "
                      "looked up: `pare pass quantize --mode=weights --format=nbits` writes it");
        return;
    }
    bool matrix = rule->kind == KIND_MATMUL || rule->kind == KIND_GEMM;
    int first = n->input_count > 0 ? sim_producer(g->s, n->inputs[0], "DequantizeLinear") : 0;
    if ((layer && first == 0) && (matrix || g->dq_count > 0)) {
        if (g->clamp != 0 && matrix) group_fail(g, "a Relu or Clip follows it, and products on integer weights are not fused with one");
        else if (lint_weights_alone(g)) *out = (Ruling){ .fate = FATE_INTEGER, .kernel = "MatMulNBits" };
        return;
    }
    if (group_clamp_fits(g) && check(g, rule, rules)) {
        bool to_float = rule->kind == KIND_MATMUL && g->q_count == 0;
        *out = (Ruling){ .fate = FATE_INTEGER, .kernel = to_float ? "MatMulIntegerToFloat" : rule->kernel };
    }
}

/* Bits of a layer's quantized weights where its input is not quantized; 0: it is not so. */
static int lone_weight_bits(const Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    if (!listed(float_layers, n->type) || n->input_count < 2 || sim_producer(s, n->inputs[0], "DequantizeLinear") != 0) return 0;
    for (int i = 1; i < n->input_count; i++) {
        int dq = constant_dq(s, n->inputs[i]);
        const Tensor *w = dq != 0 ? sim_tensor(s, s->nodes[dq].inputs[0]) : NULL;
        if (w != NULL && dtype_bits(w->type) <= 8) return dtype_bits(w->type);
    }
    return 0;
}

/* What the reader of a verdict wants to know first where weights alone are quantized; then the reason. */
static Str reason_text(Group *g, const Ruling *r, Arena *arena)
{
    if (r->weight_bits == 0) return arena_str(arena, (Str){ g->why.data, g->why.len });
    return arena_printf(arena, "weights quantized (%d-bit), computed in float32: %s", r->weight_bits, g->why.data);
}

/* Neither weights nor another second operand in integers: what it reads is dequantized for others' sake. */
static bool second_is_float(const Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    int second = n->input_count > 1 ? n->inputs[1] : 0;
    return listed(float_layers, n->type) && sim_producer(s, second, "DequantizeLinear") == 0 && constant_dq(s, second) == 0;
}

Status lint_judge(const Sim *s, int node, const RuleSet *rules, Arena *arena, Ruling *out, Err *err)
{
    *out = (Ruling){ .fate = FATE_FLOAT };
    Group g = { .s = s, .node = node };
    const SimNode *n = &s->nodes[node];
    if (sim_is(s, node, "QuantizeLinear") || sim_is(s, node, "DequantizeLinear")) return OK;
    if (sim_is(s, node, "Identity") || sim_is(s, node, "Dropout")) return OK; /* dropped by every runtime */
    bool found = group_find(&g);
    bool touched = g.dq_count > 0; /* what only hands its result to QuantizeLinear is not quantized itself */
    bool weights = n->output_count > 0 && is_move(s, node) && constant_dq(s, n->outputs[0]) != 0; /* on their way to a layer */
    int bits = lone_weight_bits(s, node);
    if (found && !weights && !lint_integer_op(s, node, rules, &g, out) && touched) judge_group(&g, rules, out);
    if (out->fate == FATE_LOST && bits == 0 && second_is_float(s, node)) out->fate = FATE_FLOAT;
    if (out->fate == FATE_LOST || (out->fate == FATE_FLOAT && bits > 0)) {
        out->fate = bits > 0 && g.q_count == 0 ? FATE_UNPACKED : FATE_LOST;
        out->weight_bits = bits;
    }
    if (out->weight_bits > 0 && g.why.data == NULL) lint_weights_alone(&g); /* moved on the way, where no kernel looks for them */
    Status status = found && !g.why.failed ? OK : err_no_memory(err, "a group of nodes");
    if (status == OK && g.why.data != NULL && out->fate != FATE_INTEGER) {
        out->reason = reason_text(&g, out, arena);
        if (out->reason.data == NULL) status = err_no_memory(err, "a reason");
    }
    group_release(&g);
    return status;
}
