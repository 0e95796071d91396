#include "greenness/parameters.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "graph/op.h"

/* Inputs that say how an op works rather than what it works on. */
typedef struct SettingInputs {
    const char *type;
    unsigned mask; /* bit i: input i */
} SettingInputs;

static const SettingInputs settings[] = {
    { "QuantizeLinear", 0x6 },     /* scale, zero point */
    { "DequantizeLinear", 0x6 },
    { "QLinearConv", 0xf6 },       /* scales and zero points of x, w and y */
    { "QLinearMatMul", 0xf6 },
    { "ConvInteger", 0xc },        /* zero points */
    { "MatMulInteger", 0xc },
    { "Resize", 0xe },             /* roi, scales, sizes */
    { "Upsample", 0x2 },
    { "Clip", 0x6 },               /* bounds */
    { "Pad", 0xe },                /* pads, value, axes */
    { "Dropout", 0x6 },
    { "OneHot", 0x6 },             /* depth, values */
    { NULL, 0 },
};

/* One graph on the way down into subgraphs. */
typedef struct Frame {
    const Graph *graph;
    bool *parameter; /* by value: already counted as a parameter */
    bool *read;      /* by value: already counted among the constants read */
    const struct Frame *parent;
} Frame;

static bool is_setting(const Node *n, int input)
{
    if (n->domain.len != 0 || input >= 8) return false;
    for (const SettingInputs *s = settings; s->type != NULL; s++)
        if (str_is(n->type, s->type)) return (s->mask >> input & 1) != 0;
    return false;
}

/* Whether this input of the node is data in the sense of the rule at the head of parameters.h. */
static bool is_parameter(const Node *n, int input, const Tensor *t)
{
    if (t->shape.rank < 1 || is_setting(n, input)) return false;
    if (dtype_is_float(t->type)) return true;
    if (t->type == DT_BOOL || t->type == DT_STRING || t->type == DT_NONE) return false;
    if (dtype_bits(t->type) <= 8) return true; /* 8-, 4- and 2-bit integers and floats */
    if (!dtype_is_integer(t->type) || n->domain.len != 0) return false;
    return (str_is(n->type, "DequantizeLinear") && input == 0) || (str_is(n->type, "QLinearConv") && input == 8);
}

/* Where the zero points of a quantized operand stand in its reader, or -1. */
static int zero_point_input(const Node *n, int input)
{
    if (n->domain.len != 0) return -1;
    if (str_is(n->type, "DequantizeLinear")) return input == 0 ? 2 : -1;
    if (str_is(n->type, "QLinearConv") || str_is(n->type, "QLinearMatMul")) return input == 0 ? 2 : input == 3 ? 5 : -1;
    if (str_is(n->type, "ConvInteger") || str_is(n->type, "MatMulInteger")) return input == 0 || input == 1 ? input + 2 : -1;
    return -1;
}

/* The axis along which zero points of rank 1 run: that of the attribute, or the output channels of the integer ops. */
static int64_t zero_point_axis(const Node *n, int rank)
{
    int64_t axis = 0;
    if (str_is(n->type, "DequantizeLinear")) axis = node_int(n, "axis", 1);
    else if (str_is(n->type, "QLinearMatMul") || str_is(n->type, "MatMulInteger")) axis = rank - 1;
    return axis < 0 ? axis + rank : axis;
}

/* Elements that stand for a number other than zero. `zero` may be NULL. */
static int64_t count_nonzeros(const Node *n, const Tensor *t, const Tensor *zero)
{
    if (zero == NULL || tensor_nonzeros(zero) == 0) return tensor_nonzeros(t);
    int64_t total = tensor_count(t), zeros = tensor_count(zero), axis = zero_point_axis(n, t->shape.rank), inner = 1, nonzeros = 0;
    if (axis < 0 || axis >= t->shape.rank) axis = 0;
    for (int i = (int)axis + 1; i < t->shape.rank; i++) inner *= t->shape.dims[i];
    int64_t length = t->shape.dims[axis];
    bool blocked = zero->shape.rank == t->shape.rank && zero->shape.rank > 1;
    int64_t blocks = blocked ? zero->shape.dims[axis] : length;
    int64_t block = blocks > 0 ? (length + blocks - 1) / blocks : 1;
    for (int64_t i = 0; i < total; i++) {
        int64_t at = i / inner % length, z = 0;
        if (blocked) z = (i / (inner * length) * blocks + at / block) * inner + i % inner;
        else if (zeros > 1) z = at;
        nonzeros += tensor_get_int(t, i) != tensor_get_int(zero, z < zeros ? z : 0);
    }
    return nonzeros;
}

/* The constant that a value stands for and the frame it lives in, followed outwards by name; NULL when it is none. */
static const Value *resolve(const Frame **frame, ValueId *v)
{
    const Frame *f = *frame;
    ValueId id = *v;
    while (id != 0 && (f->graph->values[id].flags & VALUE_OUTER) != 0 && f->parent != NULL) {
        Str name = f->graph->values[id].name;
        f = f->parent;
        id = graph_find_value(f->graph, name);
    }
    *frame = f;
    *v = id;
    return id != 0 && f->graph->values[id].tensor != NULL ? &f->graph->values[id] : NULL;
}

static void count_input(const Frame *frame, const Node *n, int input, Parameters *p, int64_t *at_node)
{
    ValueId v = n->inputs[input];
    if (v == 0) return;
    const Frame *home = frame;
    const Value *value = resolve(&home, &v);
    if (value == NULL) return;
    const Tensor *t = value->tensor;
    if (!home->read[v]) {
        home->read[v] = true;
        p->constant_bytes += (int64_t)t->bytes;
    }
    if (home->parameter[v] || !is_parameter(n, input, t)) return;
    home->parameter[v] = true;
    const Tensor *zero = NULL;
    int at = zero_point_input(n, input);
    if (at >= 0 && node_input(n, at) != 0) {
        const Frame *zero_home = frame;
        ValueId z = node_input(n, at);
        const Value *zero_value = resolve(&zero_home, &z);
        zero = zero_value != NULL ? zero_value->tensor : NULL;
    }
    int64_t count = tensor_count(t);
    p->count += count;
    p->bits += count * dtype_bits(t->type);
    p->nonzeros += count_nonzeros(n, t, zero);
    *at_node += count;
}

static Status count_graph(const Graph *g, const Frame *parent, Parameters *p, int64_t *at_node, Err *err);

static Status count_subgraphs(const Frame *frame, const Node *n, Parameters *p, int64_t *at_node, Err *err)
{
    for (int i = 0; i < n->attr_count; i++) {
        const Attr *a = &n->attrs[i];
        if (a->type == ATTR_GRAPH && a->graph != NULL) TRY(count_graph(a->graph, frame, p, at_node, err));
        if (a->type == ATTR_GRAPHS)
            for (int64_t j = 0; j < a->count; j++) TRY(count_graph(a->graphs[j], frame, p, at_node, err));
    }
    return OK;
}

/* `at_node`: one counter for a subgraph, an array by node for the main graph (parent NULL). */
static Status count_graph(const Graph *g, const Frame *parent, Parameters *p, int64_t *at_node, Err *err)
{
    Frame frame = { .graph = g, .parent = parent };
    frame.parameter = alloc_zeroed((size_t)g->value_count + 1, sizeof *frame.parameter);
    frame.read = alloc_zeroed((size_t)g->value_count + 1, sizeof *frame.read);
    Status status = frame.parameter != NULL && frame.read != NULL ? OK : err_no_memory(err, "the parameter count");
    for (uint32_t k = 0; status == OK && k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        int64_t *at = parent == NULL ? &at_node[g->order[k]] : at_node;
        for (int i = 0; i < n->input_count; i++) count_input(&frame, n, i, p, at);
        status = count_subgraphs(&frame, n, p, at, err);
    }
    free(frame.parameter);
    free(frame.read);
    return status;
}

static bool node_is_constant(const Graph *g, const Node *n, const bool *constant)
{
    if (n->op == NULL || (n->op->flags & (OP_RANDOM | OP_CONTROL)) != 0 || n->capture_count > 0) return false;
    int present = 0;
    for (int i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        if (!constant[n->inputs[i]]) return false;
        present++;
    }
    return present > 0 || (n->output_count > 0 && n->outputs[0] != 0 && g->values[n->outputs[0]].tensor != NULL);
}

/* Moves what nodes with constant inputs hold (a DequantizeLinear, a Reshape of weights) on to the node that uses their result. */
static void move_to_users(const Graph *g, Parameters *p, NodeId *first_reader)
{
    for (uint32_t k = g->order_count; k-- > 0;) {
        const Node *n = &g->nodes[g->order[k]];
        for (int i = 0; i < n->input_count; i++) first_reader[n->inputs[i]] = g->order[k];
    }
    for (uint32_t k = 0; k < g->order_count; k++) {
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        ValueId out = node_output(n, 0);
        if (p->at_node[id] == 0 || out == 0 || !p->constant_value[out] || first_reader[out] == 0) continue;
        p->at_node[first_reader[out]] += p->at_node[id];
        p->at_node[id] = 0;
    }
}

Status parameters_count(const Graph *g, Parameters *out, Err *err)
{
    *out = (Parameters){ 0 };
    out->at_node = alloc_zeroed((size_t)g->node_count + 1, sizeof *out->at_node);
    out->constant_value = alloc_zeroed((size_t)g->value_count + 1, sizeof *out->constant_value);
    NodeId *first_reader = alloc_zeroed((size_t)g->value_count + 1, sizeof *first_reader);
    Status status = OK;
    if (out->at_node == NULL || out->constant_value == NULL || first_reader == NULL) {
        status = err_no_memory(err, "the parameter count");
        goto out;
    }
    TRY_OUT(count_graph(g, NULL, out, out->at_node, err));
    for (uint32_t v = 1; v <= g->value_count; v++) out->constant_value[v] = g->values[v].tensor != NULL;
    for (uint32_t k = 0; k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        if (!node_is_constant(g, n, out->constant_value)) continue;
        for (int i = 0; i < n->output_count; i++) out->constant_value[n->outputs[i]] = true;
    }
    out->constant_value[0] = false;
    move_to_users(g, out, first_reader);
out:
    free(first_reader);
    if (status != OK) parameters_release(out);
    return status;
}

void parameters_release(Parameters *p)
{
    free(p->at_node);
    free(p->constant_value);
    *p = (Parameters){ 0 };
}
