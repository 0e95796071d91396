#include "quantize/products.h"

#include "graph/edit.h"

static bool dequantized(const Graph *g, ValueId v)
{
    NodeId producer = v != 0 ? graph_value(g, v)->producer : 0;
    return producer != 0 && node_is(graph_node(g, producer), "DequantizeLinear");
}

/* The Add of a row that alone reads the product, and the row's place among its inputs; 0: none. */
static NodeId add_behind(const Graph *g, NodeId product, int *place)
{
    const Node *n = graph_node(g, product);
    const Shape *in = n->input_count == 2 && n->inputs[0] != 0 ? &graph_value(g, n->inputs[0])->shape : NULL;
    if (!node_is(n, "MatMul") || in == NULL || in->rank < 3 || !shape_known(in) || !dequantized(g, n->inputs[1])) return 0;
    ValueId out = node_output(n, 0);
    NodeId add = out != 0 ? graph_sole_reader(g, out) : 0;
    if (add == 0 || !node_is(graph_node(g, add), "Add")) return 0;
    *place = graph_node(g, add)->inputs[0] == out ? 1 : 0;
    const Tensor *row = node_constant(g, graph_node(g, add), *place);
    return row != NULL && row->shape.rank == 1 ? add : 0;
}

static Status raise_rank(Graph *g, NodeId add, int place, int rank, Err *err)
{
    const Value *row = graph_value(g, graph_node(g, add)->inputs[place]);
    Tensor t = tensor_share(row->tensor);
    int64_t count = t.shape.dims[0];
    t.shape.rank = rank;
    for (int i = 0; i < rank; i++) t.shape.dims[i] = i == rank - 1 ? count : 1;
    ValueId raised = graph_add_constant(g, arena_printf(g->arena, "%.*s_row", STR_ARG(row->name)), &t);
    return raised == 0 ? err_no_memory(err, "a row") : graph_set_input(g, add, place, raised, err);
}

Status products_keep_apart(Graph *g, PassRecord *record, Err *err)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        int place;
        NodeId add = add_behind(g, g->order[i], &place);
        if (add == 0) continue;
        int rank = graph_value(g, graph_node(g, g->order[i])->inputs[0])->shape.rank;
        TRY(raise_rank(g, add, place, rank, err));
        record_add(record, RECORD_CHANGED, node_label(g, graph_node(g, add)),
                   "its row is written with %d dimensions, so that ONNX Runtime leaves the product before it in integers", rank);
    }
    return OK;
}
