#include "engine/qoperators.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/integer_weights.h"
#include "engine/ops/integer.h"
#include "graph/edit.h"

#define INPUTS 9

static const Tensor *constant(const Graph *g, const Node *n, int i)
{
    ValueId v = node_input(n, i);
    return v != 0 ? graph_value(g, v)->tensor : NULL;
}

/* A constant of this type with one entry, or with `count`. */
static bool is_list(const Tensor *t, DType type, int64_t count)
{
    return t != NULL && t->type == type && t->data != NULL && t->shape.rank <= 1 && (tensor_count(t) == 1 || tensor_count(t) == count);
}

/* Zero point i of integers of this type: left out, for which *v becomes a constant 0, or constant. */
static bool zero_fits(Graph *g, const Node *n, int i, DType type, int64_t count, ValueId *v, Err *err)
{
    *v = node_input(n, i);
    if (*v != 0) return is_list(constant(g, n, i), type, count);
    Tensor t;
    if (tensor_new(&t, type, &(Shape){ .rank = 0 }, err) != OK) return false;
    *v = graph_add_constant(g, STR("pare_zero"), &t);
    return *v != 0;
}

/* Puts the group's operator in the node's place; `keep`: with its attributes. */
static Status replace(Graph *g, NodeId id, const char *type, const ValueId *inputs, int count, bool keep, Err *err)
{
    Node old = *graph_node(g, id);
    Str label = node_label(g, &old);
    ValueId out = old.outputs[0];
    graph_remove_node(g, id);
    NodeId made = graph_add_node(g, type, INTEGER_DOMAIN, label, inputs, count, &out, 1);
    if (made == 0) return err_no_memory(err, "an integer operator");
    Node *n = graph_node(g, made);
    n->op = integer_find_op(n->type);
    if (!keep) return OK;
    n->attrs = old.attrs;
    n->attr_count = old.attr_count;
    return OK;
}

/* --- QGemm: A, its scale and zero point, B, scales and zero points, C, Y's scale and zero point */

static Status matrix(Graph *g, const Node *n, bool turned, ValueId *v, Err *err)
{
    const Tensor *b = constant(g, n, 3);
    Tensor t;
    *v = n->inputs[3];
    if (!turned) return OK;
    int64_t rows = b->shape.dims[0], columns = b->shape.dims[1];
    TRY(tensor_new(&t, b->type, &(Shape){ .rank = 2, .dims = { columns, rows } }, err));
    bytes_turn(b->data, rows, columns, t.data);
    *v = graph_add_constant(g, STR("pare_transposed"), &t);
    return *v != 0 ? OK : err_no_memory(err, "transposed weights");
}

static bool bias_fits(const Graph *g, const Node *n, int64_t filters)
{
    if (node_input(n, 6) == 0) return true;
    const Tensor *c = constant(g, n, 6);
    return c != NULL && c->type == DT_INT32 && c->data != NULL && tensor_count(c) == filters && c->shape.rank >= 1 &&
           c->shape.dims[c->shape.rank - 1] == filters;
}

static Status qgemm(Graph *g, NodeId id, int *made, Err *err)
{
    const Node *n = graph_node(g, id);
    const Tensor *b = constant(g, n, 3), *y_scale = constant(g, n, 7);
    bool turned = node_int(n, "transB", 0) != 0;
    DType x = graph_value(g, n->inputs[0])->type;
    if (node_int(n, "transA", 0) != 0 || node_float(n, "alpha", 1) != 1 || b == NULL || b->data == NULL ||
        !dtype_is_byte(b->type)) return OK;
    if (!dtype_is_byte(x) || b->shape.rank != 2 || graph_value(g, n->inputs[0])->shape.rank != 2) return OK;
    int64_t filters = b->shape.dims[turned ? 0 : 1];
    if (!is_list(constant(g, n, 1), DT_FLOAT, 1) || !is_list(constant(g, n, 4), DT_FLOAT, filters) || !bias_fits(g, n, filters)) return OK;
    if (node_input(n, 7) != 0 && !is_list(y_scale, DT_FLOAT, 1)) return OK;
    ValueId in[INPUTS] = { n->inputs[0], n->inputs[1], 0, 0, n->inputs[4], 0, node_input(n, 7), 0, node_input(n, 6) };
    if (!zero_fits(g, n, 2, x, 1, &in[2], err) || !zero_fits(g, n, 5, b->type, filters, &in[5], err)) return OK;
    DType y = node_input(n, 8) != 0 && constant(g, n, 8) != NULL ? constant(g, n, 8)->type : x;
    if (in[6] != 0 && (!dtype_is_byte(y) || !zero_fits(g, n, 8, y, 1, &in[7], err))) return OK;
    TRY(matrix(g, n, turned, &in[3], err));
    (*made)++;
    return replace(g, id, "QLinearMatMul", in, in[8] != 0 ? INPUTS : INPUTS - 1, false, err);
}

/* --- QLinearAdd: A, scale, zero point; B, scale, zero point; Y's scale and zero point */

static Status qadd(Graph *g, NodeId id, int *made, Err *err)
{
    const Node *n = graph_node(g, id);
    const Value *a = graph_value(g, n->inputs[0]), *b = graph_value(g, n->inputs[3]);
    if (!dtype_is_byte(a->type) || b->type != a->type || a->tensor != NULL || b->tensor != NULL ||
        !shape_eq(&a->shape, &b->shape)) return OK;
    DType type = a->type; /* a zero point that is added moves the values */
    ValueId in[8];
    for (int i = 0; i < 8; i++) in[i] = node_input(n, i);
    const int scales[] = { 1, 4, 6 }, zeros[] = { 2, 5, 7 };
    for (int i = 0; i < 3; i++)
        if (!is_list(constant(g, n, scales[i]), DT_FLOAT, 1) || !zero_fits(g, n, zeros[i], type, 1, &in[zeros[i]], err)) return OK;
    (*made)++;
    return replace(g, id, "QLinearAdd", in, 8, false, err);
}

/* --- averages: X, its scale and zero point, Y's */

static Status qaverage(Graph *g, NodeId id, int *made, Err *err)
{
    const Node *n = graph_node(g, id);
    const Value *x = graph_value(g, n->inputs[0]);
    bool global = str_is(n->type, "QLinearGlobalAveragePool");
    if (!dtype_is_byte(x->type) || x->tensor != NULL || x->shape.rank < 3 || x->shape.rank > 5) return OK;
    if (node_int(n, "channels_last", 0) != 0) return OK;
    DType type = x->type; /* a zero point that is added moves the values */
    ValueId in[5];
    for (int i = 0; i < 5; i++) in[i] = node_input(n, i);
    for (int i = 1; i < 5; i += 2)
        if (!is_list(constant(g, n, i), DT_FLOAT, 1) || !zero_fits(g, n, i + 1, type, 1, &in[i + 1], err)) return OK;
    (*made)++;
    return replace(g, id, global ? "QLinearGlobalAveragePool" : "QLinearAveragePool", in, 5, true, err);
}

Status qoperators(Graph *g, int *made, Err *err)
{
    Status status = OK;
    uint32_t count = g->order_count;
    NodeId *order = alloc_array((size_t)count + 1, sizeof *order); /* the graph's own grows while nodes are added */
    *made = 0;
    if (order == NULL) return err_no_memory(err, "integer operators");
    memcpy(order, g->order, sizeof *order * count);
    for (uint32_t i = 0; i < count && status == OK; i++) {
        const Node *n = graph_node(g, order[i]);
        if (n->removed || !str_is(n->domain, "com.microsoft") || n->op == NULL || n->output_count != 1 || n->outputs[0] == 0) continue;
        if (str_is(n->type, "QGemm") && n->input_count >= 6) status = qgemm(g, order[i], made, err);
        else if (str_is(n->type, "QLinearAdd") && n->input_count >= 7) status = qadd(g, order[i], made, err);
        else if (str_ends(n->type, "AveragePool") && n->input_count >= 4) status = qaverage(g, order[i], made, err);
    }
    free(order);
    return status == OK && *made > 0 ? graph_finish(g, err) : status;
}
