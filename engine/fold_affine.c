/* Fold what scales and shifts the channels of a linear layer into the layer.
 *
 *   BatchNormalization   y = s (x - m) / sqrt(v + e) + t,  x = W u + b   =>   W' = k W,  b' = k (b - m) + t,  k = s / sqrt(v + e)
 *   Add                  y = x + c                                       =>   b' = b + c
 *   MatMul + Add of a row, both of rank 2                                =>   Gemm
 *
 * Needs: Conv, ConvTranspose, Gemm or MatMul (rank 2) whose output has no other reader, is no output of the graph and whose weight and
 * bias are constant; s, t, m, v, c constant, one number per channel; normalisation in inference. In double, exact up to the rounding of
 * the result. A weight that other nodes read is copied. */
#include "engine/fold.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/ops/common.h"

typedef struct Linear {
    NodeId node;
    ValueId weight, bias; /* bias 0: none */
    bool matmul, gemm, transposed; /* transposed: ConvTranspose */
    bool rows;         /* Gemm with transB: output channels are rows of the weight */
    int rank;          /* of the output; channels lie along axis 1 */
    int64_t channels, groups;
    double beta;
} Linear;

/* Why not, or NULL when `n` is a linear layer that can take a scale and a shift. */
static const char *linear_open(const Graph *g, NodeId id, Linear *l)
{
    const Node *n = graph_node(g, id);
    *l = (Linear){ .node = id, .groups = 1, .beta = 1.0 };
    bool conv = str_is(n->type, "Conv");
    l->transposed = str_is(n->type, "ConvTranspose");
    l->gemm = str_is(n->type, "Gemm");
    l->matmul = str_is(n->type, "MatMul");
    if (n->domain.len != 0 || !(conv || l->transposed || l->gemm || l->matmul)) return "the node before it is no linear layer";
    const Tensor *w = node_constant(g, n, 1);
    if (w == NULL || !dtype_is_float(w->type)) return "the weight before it is not a float constant";
    l->weight = n->inputs[1];
    l->bias = node_input(n, 2);
    const Tensor *b = l->bias != 0 ? graph_value(g, l->bias)->tensor : NULL;
    if (l->bias != 0 && b == NULL) return "the bias before it is not constant";
    l->rank = w->shape.rank;
    if (l->gemm || l->matmul) {
        bool flat = w->shape.rank == 2 && (l->gemm || graph_value(g, n->inputs[0])->shape.rank == 2);
        if (!flat) return "the product before it is not of rank 2";
        l->rows = l->gemm && node_int(n, "transB", 0) != 0;
        l->channels = w->shape.dims[l->rows ? 0 : 1];
        l->beta = l->gemm ? (double)node_float(n, "beta", 1.0f) : 1.0;
    } else {
        if (w->shape.rank < 3) return "the convolution before it has no kernel";
        l->groups = node_int(n, "group", 1);
        if (l->groups < 1 || w->shape.dims[0] % l->groups != 0) return "the convolution before it has a wrong group";
        l->channels = conv ? w->shape.dims[0] : w->shape.dims[1] * l->groups;
    }
    if (l->channels < 1) return "the layer before it has no channels";
    if (b != NULL) {
        int64_t count = tensor_count(b);
        if (count != l->channels && count != 1) return "the bias before it is not one number per channel";
        if (b->shape.rank > 1 && b->shape.dims[b->shape.rank - 1] != count) return "the bias before it is not one number per channel";
    }
    return NULL;
}

static int64_t kernel_size(const Tensor *w)
{
    int64_t inner = 1;
    for (int i = 2; i < w->shape.rank; i++) inner *= w->shape.dims[i];
    return inner;
}

static int64_t linear_channel(const Linear *l, const Tensor *w, int64_t element)
{
    int64_t inner = kernel_size(w);
    if (l->gemm || l->matmul) return l->rows ? element / w->shape.dims[1] : element % w->shape.dims[1];
    if (!l->transposed) return element / (inner * w->shape.dims[1]);
    int64_t per_group = w->shape.dims[0] / l->groups, in = element / (inner * w->shape.dims[1]);
    return in / per_group * w->shape.dims[1] + element / inner % w->shape.dims[1];
}

/* Elements in a row that are of one channel. */
static int64_t linear_run(const Linear *l, const Tensor *w)
{
    if (l->gemm || l->matmul) return l->rows ? w->shape.dims[1] : 1;
    return kernel_size(w) * (l->transposed ? 1 : w->shape.dims[1]);
}

/* Contents of a constant that the caller may write: the value's own when nothing else reads it, else a copy under a new value. */
static Status own_constant(Fold *f, NodeId id, int input, Tensor **out, Err *err)
{
    Graph *g = f->g;
    ValueId v = graph_node(g, id)->inputs[input];
    if (graph_readers(g, v) > 1) {
        Tensor copy = { 0 };
        TRY(tensor_clone(graph_value(g, v)->tensor, &copy, err));
        v = graph_add_constant(g, graph_value(g, v)->name, &copy);
        if (v == 0) return err_no_memory(err, "a copy of a shared weight");
        TRY(graph_set_input(g, id, input, v, err));
    }
    return tensor_make_writable(g, v, out, err);
}

static Status linear_scale(Fold *f, const Linear *l, const double *scale, Err *err)
{
    Tensor *w;
    TRY(own_constant(f, l->node, 1, &w, err));
    int64_t count = tensor_count(w), run = linear_run(l, w);
    float *x = w->type == DT_FLOAT ? (float *)(void *)w->data : NULL;
    for (int64_t i = 0; i < count; i += run) {
        double by = scale[linear_channel(l, w, i)];
        for (int64_t k = i; k < i + run; k++) {
            if (x != NULL) x[k] = (float)((double)x[k] * by);
            else tensor_set(w, k, tensor_get(w, k) * by);
        }
    }
    return OK;
}

/* The bias becomes [channels] with these numbers; MatMul becomes Gemm. */
static Status linear_set_bias(Fold *f, const Linear *l, const double *bias, Err *err)
{
    Graph *g = f->g;
    Str name = l->bias != 0 ? graph_value(g, l->bias)->name
                            : arena_printf(g->arena, "%.*s_bias", STR_ARG(graph_value(g, l->weight)->name));
    Shape shape = shape_of(1, &l->channels);
    Tensor t = { 0 };
    TRY(tensor_new(&t, graph_value(g, l->weight)->tensor->type, &shape, err));
    for (int64_t c = 0; c < l->channels; c++) tensor_set(&t, c, bias[c]);
    if (l->matmul) TRY(graph_set_type(g, l->node, "Gemm", "", err));
    if (l->gemm && l->beta != 1.0) TRY(graph_set_float(g, l->node, "beta", 1.0f, err));
    if (l->bias != 0 && graph_readers(g, l->bias) == 1 && !(graph_value(g, l->bias)->flags & VALUE_OUTPUT))
        return graph_set_constant(g, l->bias, &t, err);
    ValueId v = graph_add_constant(g, name, &t);
    if (v == 0) return err_no_memory(err, "a bias");
    return graph_set_input(g, l->node, 2, v, err);
}

static double linear_bias(const Graph *g, const Linear *l, int64_t c)
{
    if (l->bias == 0) return 0.0;
    const Tensor *b = graph_value(g, l->bias)->tensor;
    return l->beta * tensor_get(b, tensor_count(b) == 1 ? 0 : c);
}

/* Whether `t`, broadcast against an output of this rank, is one number per channel (axis 1) or one for all. */
static bool per_channel(const Tensor *t, int rank, int64_t channels)
{
    if (t->shape.rank > rank) return false;
    for (int i = 0; i < t->shape.rank; i++) {
        int axis = rank - t->shape.rank + i;
        if (t->shape.dims[i] != 1 && !(axis == 1 && t->shape.dims[i] == channels)) return false;
    }
    return true;
}

/* The node that makes input i of `n`, when n is its only reader. */
static NodeId sole_source(const Graph *g, NodeId reader, int i)
{
    ValueId v = node_input(graph_node(g, reader), i);
    if (v == 0 || graph_sole_reader(g, v) != reader) return 0;
    return graph_value(g, v)->producer;
}

/* ---- BatchNormalization ---- */

static const char *norm_open(const Graph *g, NodeId id, Linear *l)
{
    const Node *n = graph_node(g, id);
    if (norm_is_training(n)) return "it normalises by the batch";
    if (norm_is_pointwise(n)) return "it normalises each position on its own (spatial 0)";
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != 0 && graph_readers(g, n->outputs[i]) > 0) return "its statistics are read";
    for (int i = 1; i < 5; i++)
        if (node_constant(g, n, i) == NULL || !dtype_is_float(node_constant(g, n, i)->type)) return "its parameters are not constant";
    ValueId in = node_input(n, 0);
    if (in == 0 || graph_value(g, in)->producer == 0) return "no layer stands before it";
    NodeId before = sole_source(g, id, 0);
    if (before == 0) return "its input has other readers";
    const char *reason = linear_open(g, before, l);
    if (reason != NULL) return reason;
    for (int i = 1; i < 5; i++)
        if (tensor_count(node_constant(g, n, i)) != l->channels) return "its parameters do not match the channels of the layer before it";
    double epsilon = (double)node_float(n, "epsilon", 1e-5f);
    for (int64_t c = 0; c < l->channels; c++) {
        double variance = tensor_get(node_constant(g, n, 4), c) + epsilon;
        if (!(variance > 0.0) || !isfinite(variance)) return "variance + epsilon is not above 0 in every channel";
    }
    return NULL;
}

static Status fold_norm(Fold *f, NodeId id, const Linear *l, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    const Node *n = graph_node(g, id);
    double epsilon = (double)node_float(n, "epsilon", 1e-5f);
    double *scale = alloc_array((size_t)l->channels, sizeof *scale), *bias = alloc_array((size_t)l->channels, sizeof *bias);
    if (scale == NULL || bias == NULL) {
        status = err_no_memory(err, "folded scales");
        goto out;
    }
    for (int64_t c = 0; c < l->channels; c++) {
        scale[c] = tensor_get(node_constant(g, n, 1), c) / sqrt(tensor_get(node_constant(g, n, 4), c) + epsilon);
        bias[c] = scale[c] * (linear_bias(g, l, c) - tensor_get(node_constant(g, n, 3), c)) + tensor_get(node_constant(g, n, 2), c);
    }
    TRY_OUT(linear_scale(f, l, scale, err));
    TRY_OUT(linear_set_bias(f, l, bias, err));
    Str name = node_label(g, n), layer = node_label(g, graph_node(g, l->node));
    ValueId from = n->outputs[0], to = n->inputs[0];
    graph_remove_node(g, id);
    TRY_OUT(graph_replace_value(g, from, to, err));
    fold_changed(f, name, "folded into '%.*s'", STR_ARG(layer));
out:
    free(scale);
    free(bias);
    return status;
}

/* ---- Add ---- */

static bool add_open(const Graph *g, NodeId id, int x, Linear *l)
{
    const Node *n = graph_node(g, id);
    const Tensor *c = node_constant(g, n, 1 - x);
    if (c == NULL || !dtype_is_float(c->type)) return false;
    ValueId in = node_input(n, x);
    NodeId before = in != 0 ? graph_value(g, in)->producer : 0;
    return before != 0 && linear_open(g, before, l) == NULL && per_channel(c, l->rank, l->channels)
        && c->type == graph_value(g, l->weight)->tensor->type && sole_source(g, id, x) == before; /* the dearest question last */
}

static Status fold_add(Fold *f, NodeId id, int x, const Linear *l, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    const Node *n = graph_node(g, id);
    const Tensor *c = node_constant(g, n, 1 - x);
    double *bias = alloc_array((size_t)l->channels, sizeof *bias);
    if (bias == NULL) return err_no_memory(err, "a folded bias");
    for (int64_t i = 0; i < l->channels; i++) bias[i] = linear_bias(g, l, i) + tensor_get(c, tensor_count(c) == 1 ? 0 : i);
    TRY_OUT(linear_set_bias(f, l, bias, err));
    Str name = node_label(g, n), layer = node_label(g, graph_node(g, l->node));
    ValueId from = n->outputs[0], to = n->inputs[x];
    graph_remove_node(g, id);
    TRY_OUT(graph_replace_value(g, from, to, err));
    fold_changed(f, name, "becomes the bias of '%.*s'", STR_ARG(layer));
out:
    free(bias);
    return status;
}

Status fold_affine(Fold *f, Err *err)
{
    Graph *g = f->g;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        Linear l;
        if (n->removed || n->domain.len != 0 || n->output_count < 1 || n->outputs[0] == 0) continue;
        if (f->options->batchnorm && str_is(n->type, "BatchNormalization") && norm_open(g, id, &l) == NULL)
            TRY(fold_norm(f, id, &l, err));
        else if (f->options->bias && str_is(n->type, "Add") && n->input_count == 2) {
            if (add_open(g, id, 0, &l)) TRY(fold_add(f, id, 0, &l, err));
            else if (add_open(g, id, 1, &l)) TRY(fold_add(f, id, 1, &l, err));
        }
    }
    return OK;
}

void fold_affine_report(Fold *f)
{
    const Graph *g = f->g;
    for (uint32_t i = 0; f->record != NULL && i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        Linear l;
        if (n->removed || n->domain.len != 0 || !str_is(n->type, "BatchNormalization")) continue;
        const char *reason = norm_open(g, g->order[i], &l);
        if (reason != NULL) record_add(f->record, RECORD_SKIPPED, node_label(g, n), "BatchNormalization stays: %s", reason);
    }
}
