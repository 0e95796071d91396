/* Checks the promise of --target=portable on a network as it stands, whoever wrote it. */
#ifndef PARE_TESTS_SAFE_PAIRS_H
#define PARE_TESTS_SAFE_PAIRS_H

#include <stdlib.h>

#include "base/bytes.h"
#include "graph/graph.h"
#include "quantize/grid.h"

/* The integers behind a DequantizeLinear: a constant's contents, or the type of the value. */
static const Node *dequantizer(const Graph *g, ValueId v)
{
    NodeId producer = v != 0 ? graph_value(g, v)->producer : 0;
    if (producer == 0) return NULL;
    const Node *n = graph_node(g, producer);
    return str_is(n->type, "DequantizeLinear") && n->domain.len == 0 && n->input_count > 0 && n->inputs[0] != 0 ? n : NULL;
}

static bool is_layer(const Node *n)
{
    return n->domain.len == 0 && (str_is(n->type, "Conv") || str_is(n->type, "Gemm") || str_is(n->type, "MatMul"));
}

static Status check_rows(const Graph *g, const Node *n, const Tensor *w, Err *err)
{
    bool conv = str_is(n->type, "Conv");
    int axis = str_is(n->type, "Gemm") && node_int(n, "transB", 0) != 0 ? 0 : 1;
    if (conv ? w->shape.rank < 3 : w->shape.rank != 2) return OK;
    Rows r = conv ? rows_of_conv(&w->shape, node_int(n, "group", 1)) : rows_of_matrix(&w->shape, axis);
    if (!r.pairs) return OK;
    int64_t length = r.taps * r.channels;
    int8_t *row = alloc_array((size_t)length, 1);
    if (row == NULL) return err_no_memory(err, "a row of weights");
    Status status = OK;
    for (int64_t k = 0; k < r.rows && status == OK; k++) {
        for (int64_t i = 0; i < length; i++) row[i] = (int8_t)w->data[rows_at(&r, k, i)];
        if (!pairs_safe(&r, row))
            status = err_set(err, ERR_DATA, "%.*s '%.*s': output %lld has a pair of weights of one sign above 128 together",
                             STR_ARG(n->type), STR_ARG(node_label(g, n)), (long long)k);
    }
    free(row);
    return status;
}

/* Every int8 weight that meets uint8 activations obeys the pair rule (quantize/grid.h). ERR_DATA names the first layer and row that does
 * not. uint8 weights are exact as they are.
 * *layers (may be NULL) counts the layers of both kinds. Main graph only. */
static Status safe_check(const Graph *g, int *layers, Err *err)
{
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (!is_layer(n)) continue;
        const Node *input = dequantizer(g, node_input(n, 0)), *weight = dequantizer(g, node_input(n, 1));
        const Tensor *w = weight != NULL ? graph_value(g, weight->inputs[0])->tensor : NULL;
        if (input == NULL || w == NULL || graph_value(g, input->inputs[0])->type != DT_UINT8) continue;
        if (w->type != DT_INT8 && w->type != DT_UINT8) continue;
        if (w->type == DT_INT8) TRY(check_rows(g, n, w, err));
        count++;
    }
    if (layers != NULL) *layers = count;
    return OK;
}

#endif
