#include "greenness/parameters.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "greenness/operands.h"

/* The node that reads packed bytes as numbers. */
typedef struct PackedUse {
    const Node *node;
    int input;
    Packed packed;
} PackedUse;

/* One graph on the way down into subgraphs. */
typedef struct Frame {
    const Graph *graph;
    bool *parameter; /* by value: already counted as a parameter */
    bool *read;      /* by value: already counted among the constants read */
    bool *scale;     /* by value: already counted among the scales and zero points */
    PackedUse *use;  /* by value */
    const struct Frame *parent;
} Frame;

/* Whether this input of the node is data in the sense of the rule at the head of parameters.h. */
static bool is_parameter(const Node *n, int input, const Tensor *t)
{
    const Operands *o = operands_of(n);
    if (t->shape.rank < 1 || (o != NULL && input < 32 && (o->settings >> input & 1) != 0)) return false;
    if (dtype_is_float(t->type)) return true;
    if (t->type == DT_BOOL || t->type == DT_STRING || t->type == DT_NONE) return false;
    if (dtype_bits(t->type) <= 8) return true; /* 8-, 4- and 2-bit integers and floats */
    if (!dtype_is_integer(t->type) || o == NULL) return false;
    return (str_is(n->type, "DequantizeLinear") && input == 0) || (o->wide != 0 && input == o->wide);
}

/* The axis along which zero points of rank 1 run: that of the attribute, or the output channels of the integer ops. */
static int64_t zero_point_axis(const Node *n, int rank)
{
    static const char *const products[] = { "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul" };
    int64_t axis = 0;
    if (str_is(n->type, "DequantizeLinear")) axis = node_int(n, "axis", 1);
    else if (str_is(n->type, "GatherBlockQuantized")) axis = node_int(n, "quantize_axis", 1);
    else if (str_is(n->type, "QGemm")) axis = node_int(n, "transB", 0) != 0 ? 0 : 1;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (str_is(n->type, products[i])) axis = rank - 1;
    return axis < 0 ? axis + rank : axis;
}

/* Elements that stand for a number other than zero. `zero` may be NULL. */
static int64_t count_nonzeros(const Node *n, const Tensor *t, const Tensor *zero)
{
    if (zero == NULL || tensor_nonzeros(zero) == 0) return tensor_nonzeros(t);
    int64_t total = tensor_count(t), zeros = tensor_count(zero), axis = zero_point_axis(n, t->shape.rank), inner = 1, nonzeros = 0;
    if (axis < 0 || axis >= t->shape.rank) axis = 0;
    for (int i = (int)axis + 1; i < t->shape.rank; i++) inner *= t->shape.dims[i];
    int64_t length = t->shape.dims[axis], size = node_int(n, "block_size", 0);
    bool blocked = zero->shape.rank == t->shape.rank && zero->shape.rank > 1, gates = zero->shape.rank == 2 && t->shape.rank == 3;
    int64_t blocks = blocked ? zero->shape.dims[axis] : length;
    int64_t block = size > 0 ? size : blocks > 0 ? (length + blocks - 1) / blocks : 1;
    for (int64_t i = 0; i < total; i++) {
        int64_t at = i / inner % length, z = 0;
        if (blocked) z = (i / (inner * length) * blocks + at / block) * inner + i % inner;
        else if (gates) z = i / inner * t->shape.dims[2] + i % t->shape.dims[2]; /* of a recurrent cell: [directions, 4 hidden] */
        else if (zeros > 1) z = at;
        nonzeros += tensor_get_int(t, i) != tensor_get_int(zero, z < zeros ? z : 0);
    }
    return nonzeros;
}

/* The same of packed bytes, whose zero points are packed too, or floats; left out they are the middle. */
static int64_t packed_nonzeros(const Packed *p, const Tensor *t, const Tensor *zero)
{
    int64_t blocks = (p->width + p->block - 1) / p->block, zero_row = (blocks * p->bits + 7) / 8, nonzeros = 0;
    bool bytes = zero != NULL && zero->type == DT_UINT8;
    if (zero != NULL && !bytes && !dtype_is_float(zero->type)) zero = NULL;
    if (zero != NULL && tensor_count(zero) < p->rows * (bytes ? zero_row : blocks)) zero = NULL;
    for (int64_t k = 0; k < p->rows; k++)
        for (int64_t i = 0; i < p->width; i++) {
            double z = 1 << (p->bits - 1);
            if (zero != NULL && bytes) z = packed_entry(zero->data + k * zero_row, p->bits, i / p->block);
            else if (zero != NULL) z = tensor_get(zero, k * blocks + i / p->block);
            nonzeros += packed_entry(t->data + k * p->row_bytes, p->bits, i) != z;
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

/* The constant behind an input of the node; NULL: none. Its bits count once among the scales and zero points. */
static const Tensor *add_scale(const Frame *frame, const Node *n, int input, Parameters *p)
{
    const Frame *home = frame;
    ValueId v = input > 0 ? node_input(n, input) : 0;
    const Value *value = resolve(&home, &v);
    if (value == NULL) return NULL;
    if (!home->scale[v]) p->scale_bits += tensor_count(value->tensor) * dtype_bits(value->tensor->type);
    home->scale[v] = true;
    return value->tensor;
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
    const PackedUse *use = home->use[v].node != NULL ? &home->use[v] : NULL;
    const Node *reader = use != NULL ? use->node : n; /* packed bytes may pass through a Reshape first */
    const Quantized *q = operands_quantized(reader, use != NULL ? use->input : input);
    if (q != NULL) add_scale(frame, reader, q->scale, p);
    const Tensor *zero = q != NULL ? add_scale(frame, reader, q->zero, p) : NULL;
    int64_t count = use != NULL ? use->packed.rows * use->packed.width : tensor_count(t);
    p->count += count;
    p->bits += count * (use != NULL ? use->packed.bits : dtype_bits(t->type));
    int64_t nonzeros = use != NULL ? packed_nonzeros(&use->packed, t, zero) : count_nonzeros(n, t, zero);
    p->nonzeros += nonzeros;
    *at_node += count;
    if (home->parent == NULL) p->values[v] = (Density){ count, nonzeros };
}

/* Notes which constants the nodes of this graph read as packed bytes, also through nodes that only move elements. A product says exactly
 * how many numbers there are; a table that shares them is asked when there is none. */
static void find_packed(const Frame *frame)
{
    const Graph *g = frame->graph;
    for (uint32_t k = 0; k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        const Operands *o = operands_of(n);
        for (int i = 0; o != NULL && i < o->quantized_count; i++) {
            const Frame *home = frame;
            ValueId v = node_input(n, o->quantized[i].data);
            const TypeInfo seen = { g->values[v].type, g->values[v].shape };
            for (const Node *from; v != 0 && g->values[v].producer != 0; v = node_input(from, 0)) {
                from = &g->nodes[g->values[v].producer];
                if (from->op == NULL || (from->op->flags & OP_SHAPE_ONLY) == 0) break;
            }
            const Value *value = resolve(&home, &v);
            Packed packed;
            if (value == NULL || value->tensor->type != DT_UINT8 || value->tensor->data == NULL) continue;
            if (!operands_packed(n, o->quantized[i].data, &seen, value->tensor->bytes, &packed)) continue;
            if (home->use[v].node != NULL && home->use[v].packed.rows * home->use[v].packed.width <= packed.rows * packed.width) continue;
            home->use[v] = (PackedUse){ n, o->quantized[i].data, packed };
        }
    }
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
    frame.scale = alloc_zeroed((size_t)g->value_count + 1, sizeof *frame.scale);
    frame.use = alloc_zeroed((size_t)g->value_count + 1, sizeof *frame.use);
    bool fine = frame.parameter != NULL && frame.read != NULL && frame.scale != NULL && frame.use != NULL;
    Status status = fine ? OK : err_no_memory(err, "the parameter count");
    if (status == OK) find_packed(&frame);
    for (uint32_t k = 0; status == OK && k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        int64_t *at = parent == NULL ? &at_node[g->order[k]] : at_node;
        for (int i = 0; i < n->input_count; i++) count_input(&frame, n, i, p, at);
        status = count_subgraphs(&frame, n, p, at, err);
    }
    free(frame.parameter);
    free(frame.read);
    free(frame.scale);
    free(frame.use);
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

/* What a node with constant inputs hands on has as many zeros as what it read, where it only moves or dequantizes all of it. */
static void pass_on(const Graph *g, const Node *n, Parameters *p)
{
    ValueId from = node_input(n, 0), to = node_output(n, 0);
    bool number = str_is(n->type, "DequantizeLinear") || str_is(n->type, "Cast");
    bool moves = n->op != NULL && (n->op->flags & OP_SHAPE_ONLY) != 0;
    int64_t before, after;
    if (from == 0 || to == 0 || p->values[to].count > 0 || !(number || moves)) return;
    bool known = shape_count(&g->values[from].shape, &before) && shape_count(&g->values[to].shape, &after);
    if (!number && !(known && before == after)) return; /* a part of it, or more */
    p->values[to] = p->values[from];
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
    out->values = alloc_zeroed((size_t)g->value_count + 1, sizeof *out->values);
    NodeId *first_reader = alloc_zeroed((size_t)g->value_count + 1, sizeof *first_reader);
    Status status = OK;
    if (out->at_node == NULL || out->values == NULL || out->constant_value == NULL || first_reader == NULL) {
        status = err_no_memory(err, "the parameter count");
        goto out;
    }
    TRY_OUT(count_graph(g, NULL, out, out->at_node, err));
    for (uint32_t v = 1; v <= g->value_count; v++) out->constant_value[v] = g->values[v].tensor != NULL;
    for (uint32_t k = 0; k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        if (!node_is_constant(g, n, out->constant_value)) continue;
        pass_on(g, n, out);
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
    free(p->values);
    free(p->constant_value);
    *p = (Parameters){ 0 };
}
