#include "lowrank/split.h"

#include <stdio.h>

#include "graph/edit.h"

static const char *conv_matrix(const Layer *l, const Shape *w, Matrix *out, char *reason, size_t size)
{
    if (l->groups != 1) {
        snprintf(reason, size, "a convolution in %lld groups is not in this form", (long long)l->groups);
        return reason;
    }
    bool pointwise = w->rank >= 3;
    for (int i = 2; i < w->rank; i++) pointwise = pointwise && w->dims[i] == 1;
    if (!pointwise) {
        int used = 0;
        for (int i = 2; i < w->rank && used < (int)size - 24; i++)
            used += snprintf(reason + used, size - (size_t)used, "%s%lld", i > 2 ? "x" : "a ", (long long)w->dims[i]);
        snprintf(reason + used, size - (size_t)used, " convolution is not in this form (1x1 is)");
        return reason;
    }
    *out = (Matrix){ .form = SPLIT_CONV, .rows = w->dims[0], .cols = w->dims[1] };
    return NULL;
}

const char *split_matrix(const Graph *g, const Layer *l, Matrix *out, char *reason, size_t size)
{
    const Node *n = graph_node(g, l->node);
    const Tensor *t = graph_value(g, l->weight)->tensor;
    const Shape *w = &t->shape;
    if (!dtype_is_float(t->type)) {
        bool quantized = dtype_is_integer(t->type);
        snprintf(reason, size, "its weights are %s%s", dtype_name(t->type),
                 quantized ? ": quantized, factorize before that" : ", which is not factorized");
        return reason;
    }
    if (graph_readers(g, l->weight) > 1) return "its weight is shared with another reader";
    if (str_is(n->type, "Conv")) return conv_matrix(l, w, out, reason, size);
    if (!str_is(n->type, "MatMul") && !str_is(n->type, "Gemm")) {
        snprintf(reason, size, "%.*s is not in this form", (int)(n->type.len < 64 ? n->type.len : 64), n->type.data);
        return reason;
    }
    if (w->rank != 2) {
        snprintf(reason, size, "its weight has %d axes, a matrix has 2", w->rank);
        return reason;
    }
    bool gemm = str_is(n->type, "Gemm");
    *out = (Matrix){ .form = gemm ? SPLIT_GEMM : SPLIT_MATMUL, .rows = w->dims[0], .cols = w->dims[1],
                     .left_first = !gemm || node_int(n, "transB", 0) == 0 };
    return NULL;
}

/* A constant WEIGHT.u or WEIGHT.v; takes the tensor over. */
static ValueId add_weight(Graph *g, const Layer *l, const char *suffix, Tensor *t)
{
    return graph_add_constant(g, arena_printf(g->arena, "%.*s.%s", STR_ARG(l->weight_name), suffix), t);
}

/* Both factors as constants: ids[0] is applied first. */
static Status add_factors(Graph *g, const Layer *l, const Matrix *m, const Spectrum *s, int rank, ValueId ids[2], Err *err)
{
    const Tensor *w = graph_value(g, l->weight)->tensor;
    Shape left_shape = w->shape, right_shape = w->shape;
    left_shape.dims[0] = m->rows;
    left_shape.dims[1] = rank;
    right_shape.dims[0] = rank;
    right_shape.dims[1] = m->cols;
    Tensor left, right;
    TRY(spectrum_factors(s, rank, w->type, &left_shape, &right_shape, &left, &right, err));
    ids[0] = add_weight(g, l, "u", m->left_first ? &left : &right);
    ids[1] = add_weight(g, l, "v", m->left_first ? &right : &left);
    return ids[0] != 0 && ids[1] != 0 ? OK : err_no_memory(err, "the factors of a layer");
}

/* The activation between the two: shaped as the output, `rank` wide. */
static ValueId add_between(Graph *g, const Layer *l, const Matrix *m, int rank)
{
    Shape shape = graph_value(g, l->output)->shape;
    if (shape.rank > 0 && (m->form != SPLIT_CONV || shape.rank > 1)) shape.dims[m->form == SPLIT_CONV ? 1 : shape.rank - 1] = rank;
    DType type = graph_value(g, l->weight)->tensor->type;
    return graph_add_value(g, arena_printf(g->arena, "%.*s.u.out", STR_ARG(l->name)), type, &shape);
}

/* Attributes: what moves the window or transposes the input (strides, pads, dilations, auto_pad; transA) belongs to the first layer,
 * where zero padding still means zeros and a stride already saves work; alpha, beta and the bias to the second. */
static Status set_attributes(Graph *g, const Matrix *m, const Attr *attrs, int attr_count, const NodeId ids[2], Err *err)
{
    if (m->form == SPLIT_CONV) {
        Node *first = graph_node(g, ids[0]);
        first->attrs = attrs;
        first->attr_count = attr_count;
        const Attr *kernel = node_attr(first, "kernel_shape");
        if (kernel != NULL) TRY(graph_set_ints(g, ids[1], "kernel_shape", kernel->ints, kernel->count, err));
    } else if (m->form == SPLIT_GEMM) {
        for (int i = 0; i < 2; i++) { /* each starts from the original's and drops what is the other's */
            Node *n = graph_node(g, ids[i]);
            n->attrs = attrs;
            n->attr_count = attr_count;
        }
        graph_remove_attr(g, ids[0], "alpha");
        graph_remove_attr(g, ids[0], "beta");
        graph_remove_attr(g, ids[1], "transA");
    }
    return OK;
}

/* Before opset 11 a Gemm must have its third input. */
static Status add_zero_bias(Graph *g, const Layer *l, int rank, ValueId *out, Err *err)
{
    Tensor zeros;
    TRY(tensor_new(&zeros, graph_value(g, l->weight)->tensor->type, &(Shape){ .rank = 1, .dims = { rank } }, err));
    *out = graph_add_constant(g, arena_printf(g->arena, "%.*s.u.bias", STR_ARG(l->name)), &zeros);
    return *out != 0 ? OK : err_no_memory(err, "a zero bias");
}

Status split_layer(Graph *g, const Layer *l, const Matrix *m, const Spectrum *s, int rank, Err *err)
{
    static const char *const types[] = { "MatMul", "Gemm", "Conv" };
    ValueId weights[2], zero = 0;
    TRY(add_factors(g, l, m, s, rank, weights, err));
    ValueId between = add_between(g, l, m, rank);
    if (between == 0) return err_no_memory(err, "a value");
    if (m->form == SPLIT_GEMM && graph_opset(g, STR("")) < 11) TRY(add_zero_bias(g, l, rank, &zero, err));
    const Node *old = graph_node(g, l->node);
    const Attr *attrs = old->attrs;
    int attr_count = old->attr_count;
    Str names[2] = { arena_printf(g->arena, "%.*s.u", STR_ARG(l->name)), arena_printf(g->arena, "%.*s.v", STR_ARG(l->name)) };
    if (names[0].data == NULL || names[1].data == NULL) return err_no_memory(err, "a node's name");
    graph_remove_node(g, l->node);
    ValueId first_inputs[3] = { l->input, weights[0], zero }, second_inputs[3] = { between, weights[1], l->bias };
    NodeId ids[2];
    ids[0] = graph_add_node(g, types[m->form], "", names[0], first_inputs, zero != 0 ? 3 : 2, &between, 1);
    ids[1] = graph_add_node(g, types[m->form], "", names[1], second_inputs, l->bias != 0 ? 3 : 2, &l->output, 1);
    if (ids[0] == 0 || ids[1] == 0) return err_no_memory(err, "a node");
    return set_attributes(g, m, attrs, attr_count, ids, err);
}
