/* In the order of its optimizer (core/optimizer/graph_transformer_utils.cc of 1.31):
 *   MatMulAddFusion         MatMul, Add of a row -> Gemm
 *   EnsureUniqueDQ          every reader gets its own DequantizeLinear (before all others, and again behind each round)
 *   ReshapeFusion           a Reshape to dimensions of its own input reads no Shape
 *   QDQPropagation          QuantizeLinear moves up, DequantizeLinear down, through Reshape, Transpose, MaxPool and the like
 *   WeightBiasQuantization  float weights and biases of a layer between DequantizeLinear and QuantizeLinear are quantized
 *   Clip/ReluQuantFusion    a Relu or Clip that the grid behind it does anyway is dropped
 *   QDQS8ToU8 (x86)         a QuantizeLinear with one DequantizeLinear behind it, int8, becomes uint8 */
#include "pipeline/lint_rewrite.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* ---- MatMulAddFusion ---- */

static bool row_bias(const Shape *bias, const Shape *a, int64_t n, bool rank2)
{
    if (bias->rank == 1) return bias->dims[0] == n;
    if (!rank2 || bias->rank != 2) return false;
    if (bias->dims[0] == 1 && bias->dims[1] == n) return true;
    return bias->dims[0] == a->dims[0] && bias->dims[0] != DIM_UNKNOWN && (bias->dims[1] == 1 || bias->dims[1] == n);
}

/* softmax(..) V -> Transpose -> Reshape -> MatMul, left to the fusion of attention */
static bool attention_projection(const Sim *s, int a)
{
    int reshape = sim_producer(s, a, "Reshape");
    int transpose = reshape != 0 ? sim_producer(s, s->nodes[reshape].inputs[0], "Transpose") : 0;
    int matmul = transpose != 0 ? sim_producer(s, s->nodes[transpose].inputs[0], "MatMul") : 0;
    return matmul != 0 && sim_producer(s, s->nodes[matmul].inputs[0], "Softmax") != 0;
}

static int add_reshape(Sim *s, int in, int out)
{
    int target = sim_add_value(s, DT_INT64), inputs[2] = { in, target };
    s->values[target].constant = true;
    return sim_add_node(s, "Reshape", inputs, 2, out);
}

static void fuse_matmul_add(Sim *s, int matmul)
{
    int add = sim_only_reader(s, matmul);
    if (!sim_is(s, add, "Add") || s->nodes[matmul].input_count != 2) return;
    const SimNode *m = &s->nodes[matmul], *n = &s->nodes[add];
    int a = m->inputs[0], product = m->outputs[0], bias = n->inputs[n->inputs[0] == product ? 1 : 0], out = n->outputs[0];
    const Value *va = sim_value(s, a), *vb = sim_value(s, m->inputs[1]), *vc = sim_value(s, bias);
    if (va == NULL || vb == NULL || vc == NULL || va->shape.rank < 1 || vb->shape.rank != 2 || vc->shape.rank < 0) return;
    if (va->type != DT_FLOAT && va->type != DT_FLOAT16 && va->type != DT_BFLOAT16) return;
    bool rank2 = va->shape.rank == 2;
    if (!rank2 && (!shape_known(&va->shape) || !shape_known(&vb->shape) || attention_projection(s, a))) return;
    if (!row_bias(&vc->shape, &va->shape, vb->shape.dims[1], rank2)) return;
    sim_remove_node(s, add);
    s->nodes[matmul].type = STR("Gemm");
    sim_set_input(s, matmul, 2, bias);
    if (rank2) {
        sim_set_output(s, matmul, out);
        return;
    }
    int flat = sim_add_value(s, va->type), rows = sim_add_value(s, va->type);
    if (s->failed) return;
    add_reshape(s, a, flat);
    sim_set_input(s, matmul, 0, flat);
    sim_set_output(s, matmul, rows);
    add_reshape(s, rows, out);
}

/* ---- ReshapeFusion ---- */

/* Dimension `place` of `value`, picked out: Shape, Gather, Unsqueeze. */
static bool is_dimension(const Sim *s, int part, int value, int place)
{
    int unsqueeze = sim_producer(s, part, "Unsqueeze"), gather = 0, shape = 0;
    if (unsqueeze != 0) gather = sim_producer(s, s->nodes[unsqueeze].inputs[0], "Gather");
    if (gather == 0 || s->nodes[gather].input_count < 2) return false;
    const Tensor *index = sim_tensor(s, s->nodes[gather].inputs[1]);
    shape = sim_producer(s, s->nodes[gather].inputs[0], "Shape");
    return shape != 0 && s->nodes[shape].inputs[0] == value && index != NULL && tensor_count(index) == 1 &&
           tensor_get_int(index, 0) == place;
}

static void remove_unread(Sim *s, int node)
{
    for (int depth = 0; node != 0 && depth < 8; depth++) {
        const SimNode *n = &s->nodes[node];
        for (int o = 0; o < n->output_count; o++)
            if (s->values[n->outputs[o]].reader_count > 0 || s->values[n->outputs[o]].output) return;
        int above = n->input_count > 0 && n->inputs[0] != 0 ? s->values[n->inputs[0]].producer : 0;
        sim_remove_node(s, node);
        node = sim_is(s, above, "Unsqueeze") || sim_is(s, above, "Gather") || sim_is(s, above, "Shape") ? above : 0;
    }
}

/* Reshape to dimensions of its own input and constants needs no Shape: 0 copies a dimension. */
static void fuse_reshape(Sim *s, int reshape)
{
    const SimNode *n = &s->nodes[reshape];
    int concat = n->input_count > 1 ? sim_producer(s, n->inputs[1], "Concat") : 0, value = n->inputs[0];
    if (concat == 0 || sim_only_reader(s, concat) != reshape) return;
    int count = s->nodes[concat].input_count;
    for (int i = 0; i < count; i++) {
        int part = s->nodes[concat].inputs[i];
        if (!s->values[part].constant && !is_dimension(s, part, value, i)) return;
    }
    int target = sim_add_value(s, DT_INT64);
    if (s->failed) return;
    s->values[target].constant = true;
    sim_set_input(s, reshape, 1, target);
    for (int i = 0; i < count; i++) {
        int part = s->nodes[concat].inputs[i], above = s->values[part].producer;
        if (above == 0) continue;
        sim_set_input(s, concat, i, target);
        remove_unread(s, above);
    }
    sim_remove_node(s, concat);
}

/* ---- QDQPropagation ---- */

static bool can_propagate(const Sim *s, int node)
{
    static const char *const types[] = { "MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", NULL };
    for (int i = 0; types[i] != NULL; i++)
        if (sim_is(s, node, types[i])) return i > 0 || graph_opset(s->g, STR("")) >= 12;
    return false;
}

/* value -> QuantizeLinear -> a DequantizeLinear for each of these readers; none: the output of the graph gets one. */
static void insert_pairs(Sim *s, int value, const SimEdge *edges, int count, const SimNode *like)
{
    int node_inputs[3] = { value, like->inputs[1], like->input_count > 2 ? like->inputs[2] : 0 };
    int input_count = like->input_count > 2 ? 3 : 2, producer = s->values[value].producer;
    SimGrid grid = sim_grid(s, (int)(like - s->nodes));
    int q = sim_add_value(s, grid.type), before = count == 0 ? sim_add_value(s, s->values[value].type) : value;
    if (s->failed) return;
    if (count == 0) {
        sim_set_output(s, producer, before);
        node_inputs[0] = before;
    }
    int made = sim_add_node(s, "QuantizeLinear", node_inputs, input_count, q);
    node_inputs[0] = q;
    if (count == 0) sim_add_node(s, "DequantizeLinear", node_inputs, input_count, value);
    for (int i = 0; i < count && !s->failed; i++) {
        int own = sim_add_value(s, s->values[value].type);
        if (s->failed || sim_add_node(s, "DequantizeLinear", node_inputs, input_count, own) == 0) return;
        sim_set_input(s, edges[i].node, edges[i].slot, own);
    }
    (void)made;
}

static void propagate_back(Sim *s, int q)
{
    SimGrid grid = sim_grid(s, q);
    int value = s->nodes[q].inputs[0], node = s->values[value].producer;
    if (!grid.constant || !grid.scalar) return;
    while (node != 0 && !s->failed && can_propagate(s, node) && s->values[value].reader_count == 1 && !s->values[value].output) {
        value = s->nodes[node].inputs[0];
        int above = s->values[value].producer;
        if (above != 0 && (s->values[value].reader_count != 1 || s->values[value].output)) return;
        if (sim_is(s, above, "DequantizeLinear") || s->values[value].constant) return;
        SimEdge edge = { node, 0 };
        insert_pairs(s, value, &edge, 1, &s->nodes[q]);
        value = s->failed ? 0 : value;
        node = above;
    }
}

static void propagate_down(Sim *s, int dq)
{
    SimGrid grid = sim_grid(s, dq);
    int *stack = NULL, depth = 0;
    size_t capacity = 0;
    int first = sim_only_reader(s, dq);
    if (!grid.constant || !grid.scalar || first == 0 || !array_grow((void **)&stack, &capacity, 1, sizeof *stack)) return;
    stack[depth++] = first;
    while (depth > 0 && !s->failed) {
        int node = stack[--depth], count = 0;
        if (!can_propagate(s, node)) continue;
        int value = s->nodes[node].outputs[0], readers = s->values[value].reader_count;
        SimEdge *edges = alloc_array((size_t)readers + 1, sizeof *edges);
        if (edges == NULL || !array_grow((void **)&stack, &capacity, (size_t)depth + (size_t)readers + 1, sizeof *stack)) s->failed = true;
        for (int i = 0; !s->failed && !s->values[value].output && i < readers; i++) {
            SimEdge e = s->values[value].readers[i];
            if (e.slot >= 0 && !sim_is(s, e.node, "QuantizeLinear")) edges[count++] = e;
        }
        if (!s->failed && (count > 0 || (readers == 0 && s->values[value].output)))
            insert_pairs(s, value, edges, count, &s->nodes[dq]);
        for (int i = 0; i < count && !s->failed; i++) stack[depth++] = edges[i].node;
        free(edges);
    }
    free(stack);
}

/* ---- WeightBiasQuantization ---- */

static bool leads_to_quantize(const Sim *s, int node)
{
    for (int steps = 0; steps < 8; steps++) {
        if (s->nodes[node].output_count != 1) return false;
        const SimValue *v = &s->values[s->nodes[node].outputs[0]];
        if (v->reader_count != 1 || v->readers[0].slot < 0) return false;
        node = v->readers[0].node;
        if (sim_is(s, node, "QuantizeLinear")) return true;
        if (!sim_is(s, node, "Relu") && !sim_is(s, node, "Clip")) return false;
    }
    return false;
}

static int output_axis_of_weight(const Sim *s, int node)
{
    const Node *origin = s->nodes[node].origin != 0 ? graph_node(s->g, s->nodes[node].origin) : NULL;
    if (!sim_is(s, node, "Gemm")) return 0;
    return origin != NULL && node_int(origin, "transB", 0) != 0 ? 0 : 1;
}

static bool scales_of_channels(const Sim *s, int node, int dq, int64_t channels)
{
    SimGrid grid = sim_grid(s, dq);
    if (grid.scalar) return true;
    if (grid.scales == NULL || grid.scales->shape.rank != 1 || grid.scales->shape.dims[0] != channels || grid.blocked) return false;
    const Node *origin = s->nodes[dq].origin != 0 ? graph_node(s->g, s->nodes[dq].origin) : NULL;
    const Value *weight = sim_value(s, s->nodes[dq].inputs[0]);
    int64_t axis = origin != NULL ? node_int(origin, "axis", 1) : 1;
    if (axis < 0 && weight != NULL) axis += weight->shape.rank;
    return axis == output_axis_of_weight(s, node);
}

static void dequantize_constant(Sim *s, int node, int slot, DType type)
{
    int inputs[2] = { sim_add_value(s, type), sim_add_value(s, DT_FLOAT) }, out = sim_add_value(s, DT_FLOAT);
    if (s->failed) return;
    s->values[inputs[0]].constant = s->values[inputs[1]].constant = true;
    sim_add_node(s, "DequantizeLinear", inputs, 2, out);
    if (!s->failed) sim_set_input(s, node, slot, out);
}

static void quantize_weight_and_bias(Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    if (n->input_count < 2) return;
    int input = sim_producer(s, n->inputs[0], "DequantizeLinear"), weight = n->inputs[1], bias = n->input_count > 2 ? n->inputs[2] : 0;
    if (input == 0 || !sim_grid(s, input).scalar || !leads_to_quantize(s, node)) return;
    int dq = sim_producer(s, weight, "DequantizeLinear");
    if (dq == 0 && !(s->values[weight].constant && s->values[weight].type == DT_FLOAT)) return;
    int64_t channels = -1;
    if (bias != 0) {
        const Value *b = sim_value(s, bias);
        if (!s->values[bias].constant || b == NULL || b->shape.rank != 1) return;
        channels = b->shape.dims[0];
    }
    if (dq != 0 && (channels == -1 || !scales_of_channels(s, node, dq, channels))) return;
    if (dq == 0) dequantize_constant(s, node, 1, DT_INT8);
    if (bias != 0 && !s->failed) dequantize_constant(s, node, 2, DT_INT32);
}

/* ---- EnsureUniqueDQ ---- */

static void copy_for_readers(Sim *s, int dq)
{
    int value = s->nodes[dq].outputs[0], count = s->values[value].reader_count;
    bool keep = !s->values[value].output; /* the first reader may keep the original */
    if (count == 0 || (count == 1 && keep)) return;
    SimEdge *edges = alloc_array((size_t)count, sizeof *edges);
    if (edges == NULL) {
        s->failed = true;
        return;
    }
    memcpy(edges, s->values[value].readers, sizeof *edges * (size_t)count);
    for (int i = 0; i < count; i++)
        if (edges[i].slot < 0) keep = false;
    for (int i = 0; i < count && !s->failed; i++) {
        if (edges[i].slot < 0) continue;
        if (keep) {
            keep = false;
            continue;
        }
        int own = sim_add_value(s, s->values[value].type);
        int made = s->failed ? 0 : sim_add_node(s, "DequantizeLinear", s->nodes[dq].inputs, s->nodes[dq].input_count, own);
        if (made == 0) break;
        s->nodes[made].origin = s->nodes[dq].origin;
        s->nodes[made].domain = s->nodes[dq].domain;
        sim_set_input(s, edges[i].node, edges[i].slot, own);
    }
    free(edges);
}

/* ---- Clip and Relu before QuantizeLinear ---- */

static bool type_range(DType type, double *low, double *high)
{
    switch (type) {
    case DT_INT8: *low = -128, *high = 127; return true;
    case DT_UINT8: *low = 0, *high = 255; return true;
    case DT_INT16: *low = -32768, *high = 32767; return true;
    case DT_UINT16: *low = 0, *high = 65535; return true;
    default: return false;
    }
}

/* False when a bound is not constant. */
static bool clip_bounds(const Sim *s, int node, double *low, double *high)
{
    const SimNode *n = &s->nodes[node];
    const Node *origin = graph_node(s->g, n->origin);
    double *bounds[2] = { low, high };
    *low = (double)node_float(origin, "min", -FLT_MAX);
    *high = (double)node_float(origin, "max", FLT_MAX);
    for (int i = 1; i < n->input_count && i < 3; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *t = sim_tensor(s, n->inputs[i]);
        if (t == NULL || tensor_count(t) != 1) return false;
        *bounds[i - 1] = tensor_get(t, 0);
    }
    return true;
}

bool lint_clamp_is_redundant(const Sim *s, int clamp, const SimGrid *grid)
{
    double least, most, low, high;
    if (!grid->constant || !grid->rank0 || !type_range(grid->type, &least, &most)) return false;
    if (sim_is(s, clamp, "Relu")) return (double)grid->zero == least;
    if (!sim_is(s, clamp, "Clip") || s->nodes[clamp].origin == 0 || !clip_bounds(s, clamp, &low, &high)) return false;
    double scale = (double)grid->scale, zero = (double)grid->zero;
    return rint(low / scale) + zero <= least && rint(high / scale) + zero >= most;
}

static void drop_clamp(Sim *s, int clamp)
{
    int q = sim_only_reader(s, clamp);
    if (!sim_is(s, q, "QuantizeLinear")) return;
    SimGrid grid = sim_grid(s, q);
    double least, most, low, high;
    if (!grid.has_zero || !grid.constant || !grid.scalar || !type_range(grid.type, &least, &most)) return;
    if (grid.type != DT_INT8 && grid.type != DT_UINT8) return;
    if (sim_is(s, clamp, "Relu")) {
        if ((double)grid.zero != least) return;
    } else {
        if (!grid.rank0 || s->nodes[clamp].origin == 0 || !clip_bounds(s, clamp, &low, &high)) return;
        double lower = (double)grid.scale * (least - (double)grid.zero), upper = (double)grid.scale * (most - (double)grid.zero);
        if (low - lower > (double)FLT_EPSILON || upper - high > (double)FLT_EPSILON) return;
    }
    int in = s->nodes[clamp].inputs[0], out = s->nodes[clamp].outputs[0];
    sim_remove_node(s, clamp);
    sim_replace(s, out, in);
}

/* ---- QDQS8ToU8 ---- */

static void shift_pair(Sim *s, int q)
{
    int dq = sim_only_reader(s, q);
    if (!sim_is(s, dq, "DequantizeLinear")) return;
    SimGrid a = sim_grid(s, q), b = sim_grid(s, dq);
    bool bytes = a.type == DT_INT8 && b.type == DT_INT8 && a.has_zero && b.has_zero;
    if (!bytes || !a.constant || !b.constant || a.zeros == NULL || b.zeros == NULL) return;
    if (tensor_count(a.zeros) != 1 || tensor_count(b.zeros) != 1 || a.zero != b.zero) return;
    s->nodes[q].shifted = s->nodes[dq].shifted = true;
    s->values[s->nodes[q].outputs[0]].type = DT_UINT8;
}

/* ---- all of it ---- */

/* Nodes that a step makes are not visited by it. */
static void each(Sim *s, const char *type, void (*step)(Sim *s, int node))
{
    int count = s->node_count;
    for (int at = 1; at <= count && !s->failed; at++)
        if (!s->nodes[at].removed && sim_is(s, at, type)) step(s, at);
}

void lint_rewrite(Sim *s, bool x86)
{
    each(s, "MatMul", fuse_matmul_add);
    each(s, "DequantizeLinear", copy_for_readers);
    for (int round = 0; round < 2; round++) {
        each(s, "Reshape", fuse_reshape);
        each(s, "QuantizeLinear", propagate_back);
        each(s, "DequantizeLinear", propagate_down);
        each(s, "Conv", quantize_weight_and_bias);
        each(s, "ConvTranspose", quantize_weight_and_bias);
        each(s, "Gemm", quantize_weight_and_bias);
        each(s, "DequantizeLinear", copy_for_readers);
    }
    each(s, "Clip", drop_clamp);
    each(s, "Relu", drop_clamp);
    if (x86) each(s, "QuantizeLinear", shift_pair);
}
