#include "quantize/form_qoperator.h"

#include <math.h>
#include <string.h>

#include "quantize/form_build.h"

/* A value on a grid: what a DequantizeLinear reads or a QuantizeLinear makes. */
typedef struct Operand {
    ValueId q, scale, zero;
    DType type;
    int64_t axis;
    NodeId node;
} Operand;

typedef struct Convert {
    Graph *g;
    int converted;
} Convert;

static const Tensor *contents(const Graph *g, ValueId v)
{
    return v != 0 ? graph_value(g, v)->tensor : NULL;
}

static bool is_single(const Graph *g, ValueId v)
{
    const Tensor *t = contents(g, v);
    return t != NULL && tensor_count(t) == 1;
}

static bool read_grid(const Graph *g, NodeId id, ValueId q, Operand *o)
{
    const Node *n = graph_node(g, id);
    *o = (Operand){ .q = q, .scale = node_input(n, 1), .zero = node_input(n, 2), .axis = node_int(n, "axis", 1), .node = id };
    const Tensor *scale = contents(g, o->scale), *zero = contents(g, o->zero);
    o->type = zero != NULL ? zero->type : graph_value(g, q)->type;
    return scale != NULL && scale->type == DT_FLOAT && (o->zero == 0 || zero != NULL) && node_int(n, "block_size", 0) == 0;
}

/* The DequantizeLinear with a constant grid that makes v. */
static bool dequantized(const Graph *g, ValueId v, Operand *o)
{
    NodeId id = v != 0 ? graph_value(g, v)->producer : 0;
    if (id == 0 || !node_is(graph_node(g, id), "DequantizeLinear")) return false;
    return read_grid(g, id, graph_node(g, id)->inputs[0], o);
}

/* An activation: bytes on one grid. */
static bool activation(const Graph *g, ValueId v, Operand *o)
{
    return dequantized(g, v, o) && dtype_is_byte(o->type) && is_single(g, o->scale);
}

/* The QuantizeLinear that alone reads v. A Relu between goes when the grid starts at 0: *relu. */
static bool requantized(const Graph *g, ValueId v, Operand *o, NodeId *relu)
{
    NodeId id = graph_sole_reader(g, v);
    *relu = 0;
    if (id != 0 && node_is(graph_node(g, id), "Relu")) {
        *relu = id;
        id = graph_sole_reader(g, graph_node(g, id)->outputs[0]);
    }
    if (id == 0 || !node_is(graph_node(g, id), "QuantizeLinear")) return false;
    if (!read_grid(g, id, graph_node(g, id)->outputs[0], o) || !is_single(g, o->scale)) return false;
    if (o->zero == 0) o->type = DT_UINT8;
    if (!dtype_is_byte(o->type)) return false;
    int64_t zero = o->zero != 0 ? tensor_get_int(contents(g, o->zero), 0) : 0;
    return *relu == 0 || zero == (o->type == DT_INT8 ? -128 : 0);
}

static bool same_grid(const Graph *g, const Operand *a, const Operand *b)
{
    if (a->type != b->type || tensor_get(contents(g, a->scale), 0) != tensor_get(contents(g, b->scale), 0)) return false;
    int64_t x = a->zero != 0 ? tensor_get_int(contents(g, a->zero), 0) : 0, y = b->zero != 0 ? tensor_get_int(contents(g, b->zero), 0) : 0;
    return x == y;
}

/* Operators on integers want a zero point where a grid may leave it out. */
static Status complete(Graph *g, Operand *o, Err *err)
{
    if (o->zero != 0) return OK;
    Tensor t = { 0 };
    TRY(tensor_new(&t, o->type, &contents(g, o->scale)->shape, err));
    return form_constant(g, graph_value(g, o->scale)->name, "zero", &t, &o->zero, err);
}

/* ---- rewriting ---- */

/* The node reads integers and makes them (made NULL: floats as before). */
static Status rewrite(Convert *c, NodeId id, const char *type, const char *domain, const ValueId *inputs, int count, const Operand *made,
                      NodeId relu, Err *err)
{
    Graph *g = c->g;
    Node *n = graph_node(g, id);
    if (n->name.len == 0) n->name = node_label(g, n);
    if (domain[0] != '\0') TRY(form_import(g, err));
    TRY(graph_set_type(g, id, type, domain, err));
    TRY(graph_set_inputs(g, id, inputs, count, err));
    if (made != NULL) {
        if (relu != 0) graph_remove_node(g, relu);
        graph_remove_node(g, made->node);
        TRY(graph_set_outputs(g, id, &made->q, 1, err));
    }
    c->converted++;
    return OK;
}

/* int32 at the scale input x weight, or nothing there. */
static const char *bias_reason(const Graph *g, ValueId v, const Operand *x, const Operand *w, ValueId *bias)
{
    Operand b;
    *bias = 0;
    if (v == 0) return NULL;
    if (!dequantized(g, v, &b) || contents(g, b.q) == NULL || contents(g, b.q)->type != DT_INT32) return "its bias is not int32";
    const Tensor *scale = contents(g, b.scale), *ws = contents(g, w->scale);
    int64_t count = tensor_count(scale), weights = tensor_count(ws);
    if (count != 1 && weights != 1 && count != weights) return "its bias has another number of scales than its weights";
    if (b.zero != 0 && tensor_nonzeros(contents(g, b.zero)) > 0) return "its bias has a zero point";
    for (int64_t i = 0; i < (count > weights ? count : weights); i++) {
        double expected = tensor_get(contents(g, x->scale), 0) * tensor_get(ws, weights == 1 ? 0 : i);
        double got = tensor_get(scale, count == 1 ? 0 : i);
        if (!(fabs(got - expected) <= 1e-4 * fabs(expected))) return "its bias is not at the scale of input times weight";
    }
    *bias = b.q;
    return NULL;
}

static const char *product_reason(const Graph *g, const Node *n, int axis, Operand *x, Operand *w)
{
    if (!activation(g, node_input(n, 0), x)) return "its input is not on one 8-bit grid";
    if (!dequantized(g, node_input(n, 1), w) || !dtype_is_byte(w->type)) return "its weights are not 8-bit integers";
    if (x->type == DT_INT8 && w->type == DT_UINT8) return "runtimes have no product of int8 with uint8 weights";
    const Tensor *scale = contents(g, w->scale);
    int rank = graph_value(g, w->q)->shape.rank;
    int64_t at = w->axis < 0 && rank > 0 ? w->axis + rank : w->axis;
    if (tensor_count(scale) != 1 && (rank < 0 || at != (axis < 0 ? axis + rank : axis)))
        return "its weights' scales lie along another axis";
    return NULL;
}

static Status convert_conv(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand x, w, y;
    NodeId relu;
    ValueId bias = 0;
    if ((*why = product_reason(g, n, 0, &x, &w)) != NULL) return OK;
    if (!requantized(g, n->outputs[0], &y, &relu)) *why = "its result is not put on one 8-bit grid";
    else if (y.type != x.type) *why = "its input and result are of different types";
    else *why = bias_reason(g, node_input(n, 2), &x, &w, &bias);
    if (*why != NULL) return OK;
    TRY(complete(g, &x, err));
    TRY(complete(g, &w, err));
    TRY(complete(g, &y, err));
    ValueId inputs[9] = { x.q, x.scale, x.zero, w.q, w.scale, w.zero, y.scale, y.zero, bias };
    return rewrite(c, id, "QLinearConv", "", inputs, bias != 0 ? 9 : 8, &y, relu, err);
}

static Status convert_matmul(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand a, b, y;
    NodeId relu;
    if ((*why = product_reason(g, n, -1, &a, &b)) != NULL) return OK;
    bool quantized = requantized(g, n->outputs[0], &y, &relu);
    if (quantized && y.type != a.type) *why = "its input and result are of different types";
    if (*why != NULL) return OK;
    TRY(complete(g, &a, err));
    TRY(complete(g, &b, err));
    if (!quantized)
        return rewrite(c, id, "MatMulIntegerToFloat", FORM_MICROSOFT, (ValueId[]){ a.q, b.q, a.scale, b.scale, a.zero, b.zero }, 6, NULL, 0,
                       err);
    TRY(complete(g, &y, err));
    ValueId inputs[8] = { a.q, a.scale, a.zero, b.q, b.scale, b.zero, y.scale, y.zero };
    return rewrite(c, id, "QLinearMatMul", "", inputs, 8, &y, relu, err);
}

static Status convert_gemm(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand a, b, y = { 0 };
    NodeId relu;
    ValueId bias = 0;
    if ((*why = product_reason(g, n, node_int(n, "transB", 0) != 0 ? 0 : 1, &a, &b)) != NULL) return OK;
    bool quantized = requantized(g, n->outputs[0], &y, &relu);
    if (quantized && y.type != a.type) *why = "its input and result are of different types";
    else if (node_input(n, 2) != 0 && (node_float(n, "beta", 1.0f) != 1.0f || node_float(n, "alpha", 1.0f) != 1.0f))
        *why = "it scales its bias or its product (alpha, beta)";
    else *why = bias_reason(g, node_input(n, 2), &a, &b, &bias);
    if (*why != NULL) return OK;
    TRY(complete(g, &a, err));
    TRY(complete(g, &b, err));
    if (quantized) TRY(complete(g, &y, err));
    graph_remove_attr(g, id, "beta");
    ValueId inputs[9] = { a.q, a.scale, a.zero, b.q, b.scale, b.zero, bias, y.scale, y.zero };
    return rewrite(c, id, "QGemm", FORM_MICROSOFT, inputs, quantized ? 9 : bias != 0 ? 7 : 6, quantized ? &y : NULL, relu, err);
}

static Status convert_binary(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand a, b, y;
    NodeId relu;
    if (!activation(g, node_input(n, 0), &a) || !activation(g, node_input(n, 1), &b)) *why = "an operand is not on one 8-bit grid";
    else if (!requantized(g, n->outputs[0], &y, &relu)) *why = "its result is not put on one 8-bit grid";
    else if (a.type != y.type || b.type != y.type) *why = "its operands and result are of different types";
    if (*why != NULL) return OK;
    TRY(complete(g, &a, err));
    TRY(complete(g, &b, err));
    TRY(complete(g, &y, err));
    return rewrite(c, id, node_is(n, "Add") ? "QLinearAdd" : "QLinearMul", FORM_MICROSOFT,
                   (ValueId[]){ a.q, a.scale, a.zero, b.q, b.scale, b.zero, y.scale, y.zero }, 8, &y, relu, err);
}

static Status convert_concat(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    Operand y, x;
    NodeId relu;
    int parts = graph_node(g, id)->input_count;
    ValueId *inputs = arena_array(g->arena, 2 + 3 * (size_t)parts, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "a list of inputs");
    if (!requantized(g, graph_node(g, id)->outputs[0], &y, &relu)) *why = "its result is not put on one 8-bit grid";
    for (int i = 0; *why == NULL && i < parts; i++) {
        if (!activation(g, graph_node(g, id)->inputs[i], &x)) *why = "a part is not on one 8-bit grid";
        else if (x.type != y.type) *why = "its parts and result are of different types";
    }
    if (*why != NULL) return OK;
    TRY(complete(g, &y, err));
    inputs[0] = y.scale;
    inputs[1] = y.zero;
    for (int i = 0; i < parts; i++) {
        activation(g, graph_node(g, id)->inputs[i], &x);
        TRY(complete(g, &x, err));
        memcpy(inputs + 2 + 3 * i, (ValueId[]){ x.q, x.scale, x.zero }, 3 * sizeof *inputs);
    }
    return rewrite(c, id, "QLinearConcat", FORM_MICROSOFT, inputs, 2 + 3 * parts, &y, relu, err);
}

static const char *pool_reason(const Node *n)
{
    int64_t count;
    const int64_t *dilations = node_ints(n, "dilations", &count);
    for (int64_t i = 0; i < count; i++)
        if (dilations[i] != 1) return "QLinearAveragePool has no dilations";
    return NULL;
}

/* One input, one grid each way, the float operator's attributes. */
static Status convert_unary(Convert *c, NodeId id, const char *type, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand x, y;
    NodeId relu;
    if (!activation(g, node_input(n, 0), &x)) *why = "its input is not on one 8-bit grid";
    else if (!requantized(g, n->outputs[0], &y, &relu)) *why = "its result is not put on one 8-bit grid";
    else if (x.type != y.type) *why = "its input and result are of different types";
    else if (node_is(n, "AveragePool")) *why = pool_reason(n);
    if (*why != NULL) return OK;
    if (node_is(n, "Softmax")) {
        int64_t opset = graph_opset(g, STR(""));
        if (node_attr(n, "axis") == NULL) TRY(graph_set_int(g, id, "axis", opset < 13 ? 1 : -1, err));
        TRY(graph_set_int(g, id, "opset", opset, err));
    }
    graph_remove_attr(g, id, "dilations");
    TRY(complete(g, &x, err));
    TRY(complete(g, &y, err));
    return rewrite(c, id, type, FORM_MICROSOFT, (ValueId[]){ x.q, x.scale, x.zero, y.scale, y.zero }, 5, &y, relu, err);
}

/* What moves or picks elements does it with integers where both grids are one. */
static Status convert_move(Convert *c, NodeId id, const char **why, Err *err)
{
    Graph *g = c->g;
    const Node *n = graph_node(g, id);
    Operand x, y;
    NodeId relu;
    if (!activation(g, node_input(n, 0), &x)) *why = "its input is not on one 8-bit grid";
    else if (!requantized(g, n->outputs[0], &y, &relu) || relu != 0) *why = "its result is not put on one 8-bit grid";
    else if (!same_grid(g, &x, &y)) *why = "its input and result are on different grids";
    else if (n->output_count > 1 && n->outputs[1] != 0) *why = "its second result is read";
    else if (node_is(n, "MaxPool") && graph_opset(g, STR("")) < 12) *why = "MaxPool takes integers from opset 12 on";
    if (*why != NULL) return OK;
    graph_remove_node(g, y.node);
    TRY(graph_set_input(g, id, 0, x.q, err));
    TRY(graph_set_outputs(g, id, &y.q, 1, err));
    c->converted++;
    return OK;
}

static Status convert_node(Convert *c, NodeId id, const char **why, Err *err)
{
    static const char *const unary[][2] = {
        { "AveragePool", "QLinearAveragePool" }, { "GlobalAveragePool", "QLinearGlobalAveragePool" }, { "Sigmoid", "QLinearSigmoid" },
        { "LeakyRelu", "QLinearLeakyRelu" }, { "Softmax", "QLinearSoftmax" },
    };
    static const char *const moves[] = { "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice" };
    const Node *n = graph_node(c->g, id);
    if (node_is(n, "Conv")) return convert_conv(c, id, why, err);
    if (node_is(n, "MatMul")) return convert_matmul(c, id, why, err);
    if (node_is(n, "Gemm")) return convert_gemm(c, id, why, err);
    if (node_is(n, "Add") || node_is(n, "Mul")) return convert_binary(c, id, why, err);
    if (node_is(n, "Concat")) return convert_concat(c, id, why, err);
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++)
        if (node_is(n, unary[i][0])) return convert_unary(c, id, unary[i][1], why, err);
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (node_is(n, moves[i])) return convert_move(c, id, why, err);
    *why = "there is no operator on integers for it";
    return OK;
}

static bool reads_integers(const Graph *g, const Node *n)
{
    Operand o;
    for (int i = 0; i < n->input_count; i++)
        if (activation(g, n->inputs[i], &o) && contents(g, o.q) == NULL) return true;
    return false;
}

Status form_qoperator(Graph *g, PassRecord *record, int *converted, Err *err)
{
    Convert c = { .g = g };
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        const char *why = NULL;
        if (n->removed || node_is(n, "QuantizeLinear") || !reads_integers(g, n)) continue;
        Str label = node_label(g, n), type = n->type;
        TRY(convert_node(&c, id, &why, err));
        if (why != NULL && record != NULL)
            record_add(record, RECORD_SKIPPED, label, "%.*s stays between floats: %s", STR_ARG(type), why);
    }
    if (converted != NULL) *converted = c.converted;
    return OK;
}
