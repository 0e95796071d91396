#include "engine/unfuse.h"

#include "engine/engine.h"
#include "engine/ops/ms_common.h"
#include "graph/edit.h"

typedef struct Unfuse {
    Graph *g;
    int64_t opset;
    bool changed;
} Unfuse;

static bool is_float(const Graph *g, ValueId v)
{
    return v != 0 && graph_value(g, v)->type == DT_FLOAT;
}

static Str derived(Graph *g, NodeId id, const char *suffix)
{
    return arena_printf(g->arena, "%.*s_%s", STR_ARG(node_label(g, graph_node(g, id))), suffix);
}

static Status new_value(Graph *g, NodeId id, const char *suffix, ValueId *out, Err *err)
{
    *out = graph_add_value(g, derived(g, id, suffix), DT_FLOAT, NULL);
    return *out != 0 ? OK : err_no_memory(err, "a value");
}

static Status new_scalar(Graph *g, NodeId id, const char *suffix, float value, ValueId *out, Err *err)
{
    Shape shape = shape_of(0, NULL);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_FLOAT, &shape, err));
    tensor_set(&t, 0, (double)value);
    *out = graph_add_constant(g, derived(g, id, suffix), &t);
    return *out != 0 ? OK : err_no_memory(err, "a constant");
}

/* A node behind `id` that takes over its output: `id` writes a new value, which is input 0 of the new node; `other` is its input 1. */
static Status append(Graph *g, NodeId id, const char *type, ValueId other, NodeId *made, Err *err)
{
    ValueId out = graph_node(g, id)->outputs[0], between, in[2];
    TRY(new_value(g, id, type, &between, err));
    TRY(graph_set_outputs(g, id, &between, 1, err));
    in[0] = between;
    in[1] = other;
    *made = graph_add_node(g, type, "", derived(g, id, type), in, other != 0 ? 2 : 1, &out, 1);
    return *made != 0 ? OK : err_no_memory(err, "a node");
}

static Status append_clip(Unfuse *u, NodeId id, float low, float high, NodeId *made, Err *err)
{
    TRY(append(u->g, id, "Clip", 0, made, err));
    if (u->opset < 11) {
        TRY(graph_set_float(u->g, *made, "min", low, err));
        return graph_set_float(u->g, *made, "max", high, err);
    }
    ValueId bound;
    TRY(new_scalar(u->g, id, "min", low, &bound, err));
    TRY(graph_set_input(u->g, *made, 1, bound, err));
    TRY(new_scalar(u->g, id, "max", high, &bound, err));
    return graph_set_input(u->g, *made, 2, bound, err);
}

/* The activation behind the last node of the chain. */
static Status append_activation(Unfuse *u, NodeId id, const MsActivation *a, Err *err)
{
    static const char *const types[] = {
        [MS_RELU] = "Relu", [MS_LEAKY_RELU] = "LeakyRelu", [MS_TANH] = "Tanh", [MS_SIGMOID] = "Sigmoid", [MS_HARD_SIGMOID] = "HardSigmoid",
        [MS_ELU] = "Elu", [MS_SOFTPLUS] = "Softplus", [MS_THRESHOLDED_RELU] = "ThresholdedRelu",
    };
    NodeId made;
    if (a->kind == MS_NONE) return OK;
    if (a->kind == MS_CLIP) return append_clip(u, id, a->alpha, a->beta, &made, err);
    TRY(append(u->g, id, types[a->kind], 0, &made, err));
    bool alpha = a->kind == MS_LEAKY_RELU || a->kind == MS_HARD_SIGMOID || a->kind == MS_ELU || a->kind == MS_THRESHOLDED_RELU;
    if (alpha) TRY(graph_set_float(u->g, made, "alpha", a->alpha, err));
    return a->kind == MS_HARD_SIGMOID ? graph_set_float(u->g, made, "beta", a->beta, err) : OK;
}

/* FusedConv and FusedGemm: the node itself becomes the product. */
static Status unfuse_product(Unfuse *u, NodeId id, const char *type, Err *err)
{
    Graph *g = u->g;
    const Node *n = graph_node(g, id);
    MsActivation activation;
    const OpCall call = { .graph = g, .node = n, .err = err };
    TRY(ms_activation(&call, &activation));
    if (activation.kind == MS_THRESHOLDED_RELU && u->opset < 10) return OK;
    ValueId in[3] = { node_input(n, 0), node_input(n, 1), node_input(n, 2) }, added = node_input(n, 3);
    if (in[2] == 0 && str_is(n->type, "FusedGemm") && u->opset < 11) return OK;
    NodeId last = id;
    TRY(graph_set_type(g, id, type, "", err));
    TRY(graph_set_inputs(g, id, in, in[2] != 0 ? 3 : 2, err));
    static const char *const gone[] = { "activation", "activation_params", "activation_alpha", "activation_beta" };
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) graph_remove_attr(g, id, gone[i]);
    if (added != 0) TRY(append(g, id, "Add", added, &last, err));
    u->changed = true;
    return append_activation(u, last, &activation, err);
}

/* Operand `which` as MatMul sees it, by a Transpose where that is another order. */
static Status ordered(Graph *g, NodeId id, int which, Err *err)
{
    const Node *n = graph_node(g, id);
    ValueId from = node_input(n, which), to;
    int rank = graph_value(g, from)->shape.rank, order[MAX_RANK];
    int64_t perm[MAX_RANK];
    bool same = true;
    ms_operand_order(n, which, rank, order);
    for (int d = 0; d < rank; d++) {
        perm[d] = order[d];
        same = same && order[d] == d;
    }
    if (same) return OK;
    TRY(new_value(g, id, which == 0 ? "a" : "b", &to, err));
    NodeId made = graph_add_node(g, "Transpose", "", derived(g, id, which == 0 ? "turn_a" : "turn_b"), &from, 1, &to, 1);
    if (made == 0) return err_no_memory(err, "a node");
    TRY(graph_set_ints(g, made, "perm", perm, rank, err));
    return graph_set_input(g, id, which, to, err);
}

static Status unfuse_matmul(Unfuse *u, NodeId id, Err *err)
{
    Graph *g = u->g;
    const Node *n = graph_node(g, id);
    int ranks[2] = { graph_value(g, node_input(n, 0))->shape.rank, graph_value(g, node_input(n, 1))->shape.rank };
    float alpha = node_float(n, "alpha", 1);
    if (ranks[0] < 0 || ranks[1] < 0) return OK;
    u->changed = true;
    if (ranks[0] == 2 && ranks[1] == 2 && u->opset >= 11) return graph_set_type(g, id, "Gemm", "", err);
    for (int which = 0; which < 2; which++) TRY(ordered(g, id, which, err));
    TRY(graph_set_type(g, id, "MatMul", "", err));
    if (alpha == 1) return OK;
    ValueId factor;
    NodeId made;
    TRY(new_scalar(g, id, "alpha", alpha, &factor, err));
    return append(g, id, "Mul", factor, &made, err);
}

Status unfuse(Graph *g, Err *err)
{
    const Graph *root = g;
    while (root->parent != NULL) root = root->parent;
    Unfuse u = { .g = g, .opset = graph_opset(root, STR("")) };
    uint32_t count = g->node_count;
    if (u.opset < 7) return OK;
    for (NodeId id = 1; id <= count; id++) {
        const Node *n = graph_node(g, id);
        if (n->removed || !str_is(n->domain, "com.microsoft") || n->op == NULL || n->output_count != 1) continue;
        if (!is_float(g, node_input(n, 0)) || !is_float(g, node_input(n, 1))) continue;
        if (str_is(n->type, "FusedConv")) TRY(unfuse_product(&u, id, "Conv", err));
        else if (str_is(n->type, "FusedGemm")) TRY(unfuse_product(&u, id, "Gemm", err));
        else if (str_is(n->type, "FusedMatMul")) TRY(unfuse_matmul(&u, id, err));
    }
    if (!u.changed) return OK;
    TRY(graph_finish(g, err));
    engine_bind(g);
    return OK;
}
