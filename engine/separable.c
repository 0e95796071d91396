/* Which networks compute every sample of a batch by itself. Operators are named here because each moves the batch in its own way; one that
 * is not named ends the search, and the batch is run as a whole. */
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/lanes.h"
#include "engine/ops/common.h"

typedef enum Form {
    FORM_NONE,
    FORM_FIRST,   /* input 0 has the batch, the others are constants */
    FORM_SPREAD,  /* all inputs are spread over the output */
    FORM_SHAPE,   /* the same elements in the same order */
    FORM_AXIS,    /* as FORM_FIRST, along one axis that must not be the batch */
    FORM_AXES,    /* as FORM_AXIS with a list */
    FORM_CONCAT,
    FORM_TURN,    /* Transpose */
    FORM_PRODUCT, /* MatMul: the second operand is a constant matrix */
    FORM_GEMM,
    FORM_SLICE,
} Form;

static const struct { const char *type; Form form; } forms[] = {
    { "Conv", FORM_FIRST }, { "ConvTranspose", FORM_FIRST }, { "QLinearConv", FORM_FIRST }, { "MaxPool", FORM_FIRST },
    { "AveragePool", FORM_FIRST }, { "GlobalAveragePool", FORM_FIRST }, { "GlobalMaxPool", FORM_FIRST }, { "LRN", FORM_FIRST },
    { "QLinearAveragePool", FORM_FIRST }, { "QLinearGlobalAveragePool", FORM_FIRST }, { "BatchNormalization", FORM_FIRST },
    { "InstanceNormalization", FORM_FIRST }, { "QuantizeLinear", FORM_FIRST }, { "DequantizeLinear", FORM_FIRST }, { "Clip", FORM_FIRST },
    { "Relu", FORM_FIRST }, { "LeakyRelu", FORM_FIRST }, { "Sigmoid", FORM_FIRST }, { "Tanh", FORM_FIRST }, { "Elu", FORM_FIRST },
    { "HardSigmoid", FORM_FIRST }, { "HardSwish", FORM_FIRST }, { "Gelu", FORM_FIRST }, { "Swish", FORM_FIRST }, { "Erf", FORM_FIRST },
    { "Exp", FORM_FIRST }, { "Sqrt", FORM_FIRST }, { "Abs", FORM_FIRST }, { "Neg", FORM_FIRST }, { "Cast", FORM_FIRST },
    { "Identity", FORM_FIRST }, { "Pad", FORM_FIRST }, { "Resize", FORM_FIRST }, { "Upsample", FORM_FIRST }, { "DepthToSpace", FORM_FIRST },
    { "SpaceToDepth", FORM_FIRST }, { "Add", FORM_SPREAD }, { "Sub", FORM_SPREAD }, { "Mul", FORM_SPREAD }, { "Div", FORM_SPREAD },
    { "Min", FORM_SPREAD }, { "Max", FORM_SPREAD }, { "PRelu", FORM_SPREAD }, { "QLinearAdd", FORM_SPREAD }, { "Reshape", FORM_SHAPE },
    { "Flatten", FORM_SHAPE }, { "Squeeze", FORM_SHAPE }, { "Unsqueeze", FORM_SHAPE }, { "Softmax", FORM_AXIS },
    { "LogSoftmax", FORM_AXIS }, { "ReduceMean", FORM_AXES }, { "ReduceSum", FORM_AXES }, { "ReduceMax", FORM_AXES },
    { "Concat", FORM_CONCAT }, { "Transpose", FORM_TURN }, { "MatMul", FORM_PRODUCT }, { "QLinearMatMul", FORM_PRODUCT },
    { "Gemm", FORM_GEMM }, { "Slice", FORM_SLICE },
};

typedef struct Search {
    const Session *s;
    const TypeInfo *here, *there;
    int64_t batch;
    bool *batched; /* [value] */
} Search;

/* One more sample adds one entry to the first axis and changes nothing else. */
static bool grows(const Search *q, ValueId v)
{
    const Shape *a = &q->here[v].shape, *b = &q->there[v].shape;
    if (!shape_known(a) || !shape_known(b) || a->rank < 1 || a->rank != b->rank) return false;
    if (a->dims[0] != q->batch || b->dims[0] != q->batch + 1) return false;
    for (int i = 1; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

/* Contents that are the same for every batch. */
static bool is_fixed(const Search *q, ValueId v)
{
    return v == 0 || q->s->constants[v].data != NULL;
}

static bool others_fixed(const Search *q, const Node *n)
{
    for (int i = 1; i < n->input_count; i++)
        if (!is_fixed(q, n->inputs[i])) return false;
    return n->inputs[0] != 0 && q->batched[n->inputs[0]];
}

/* Constants have one entry along the batch, or no such axis. */
static bool spreads(const Search *q, const Node *n)
{
    const Shape *y = &q->here[n->outputs[0]].shape;
    bool integers = str_is(n->type, "QLinearAdd");
    for (int i = 0; i < n->input_count; i++) {
        ValueId v = n->inputs[i];
        bool operand = !integers || i == 0 || i == 3;
        const Shape *x = &q->here[v].shape;
        if (v == 0 || (!operand && is_fixed(q, v))) continue;
        if (!operand || (!is_fixed(q, v) && !q->batched[v]) || x->rank > y->rank) return false;
        if (q->batched[v] ? x->rank != y->rank : x->rank == y->rank && x->dims[0] != 1) return false;
    }
    return true;
}

static bool axis_is_inner(const Search *q, const Node *n)
{
    int rank = q->here[n->inputs[0]].shape.rank, axis;
    int64_t usual = node_opset(q->s->graph, n) < 13 ? 1 : -1;
    return axis_fix(node_int(n, "axis", usual), rank, &axis) && axis > 0;
}

static bool axes_are_inner(const Search *q, const Node *n)
{
    int64_t count = 0;
    const int64_t *axes = node_ints(n, "axes", &count);
    const Tensor *t = axes == NULL ? session_constant(q->s, NULL, node_input(n, 1)) : NULL;
    int rank = q->here[n->inputs[0]].shape.rank, axis;
    if (t != NULL) count = tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        if (!axis_fix(axes != NULL ? axes[i] : tensor_get_int(t, i), rank, &axis) || axis == 0) return false;
    return count > 0;
}

static bool is_product(const Search *q, const Node *n)
{
    bool integers = n->type.data[0] == 'Q', gemm = str_is(n->type, "Gemm");
    ValueId matrix = n->inputs[integers ? 3 : 1];
    if (matrix == 0 || q->here[matrix].shape.rank != 2 || q->here[n->inputs[0]].shape.rank < 2) return false;
    if (!gemm) return true;
    ValueId addend = node_input(n, 2);
    return node_int(n, "transA", 0) == 0 && (addend == 0 || q->here[addend].shape.rank < 2 || q->here[addend].shape.dims[0] == 1);
}

/* Pad, Resize and Upsample can move samples and keep their number. */
static bool batch_stays(const Search *q, const Node *n)
{
    bool pad = str_is(n->type, "Pad"), resize = str_is(n->type, "Resize"), upsample = str_is(n->type, "Upsample");
    if (!pad && !resize && !upsample) return true;
    if (node_attr(n, "axes") != NULL || (pad && node_input(n, 3) != 0)) return false;
    int64_t count = 0;
    int rank = q->here[n->inputs[0]].shape.rank, at = resize && node_opset(q->s->graph, n) >= 11 ? 2 : 1;
    const int64_t *list = pad ? node_ints(n, "pads", &count) : NULL;
    if (list != NULL) return count == 2 * rank && list[0] == 0 && list[rank] == 0;
    const Tensor *t = session_constant(q->s, NULL, node_input(n, at));
    if (t == NULL || tensor_count(t) != (pad ? 2 : 1) * rank) return false;
    return pad ? tensor_get_int(t, 0) == 0 && tensor_get_int(t, rank) == 0 : tensor_get(t, 0) == 1.0;
}

/* Entry i of the constant list of a Slice: an attribute before opset 10, an input since; `fallback` when it is left out. False: neither. */
static bool slice_entry(const Search *q, const Node *n, const char *attr, int input, int64_t i, int64_t fallback, int64_t *out)
{
    int64_t count = 0;
    const int64_t *list = node_ints(n, attr, &count);
    ValueId v = node_input(n, input);
    const Tensor *t = session_constant(q->s, NULL, v);
    *out = list != NULL && i < count ? list[i] : t != NULL && i < tensor_count(t) ? tensor_get_int(t, i) : fallback;
    return list != NULL || v == 0 || t != NULL;
}

/* A Slice that takes all samples in their order. */
static bool samples_stay(const Search *q, const Node *n)
{
    int64_t count = 0, first, step, axis;
    const Tensor *starts = session_constant(q->s, NULL, node_input(n, 1));
    if (node_ints(n, "starts", &count) == NULL) count = starts != NULL ? tensor_count(starts) : 0;
    for (int64_t i = 0; i < count; i++) {
        if (!slice_entry(q, n, "axes", 3, i, i, &axis) || !slice_entry(q, n, "starts", 1, i, 0, &first) ||
            !slice_entry(q, n, "steps", 4, i, 1, &step)) return false;
        if ((axis == 0 || axis == -q->here[n->inputs[0]].shape.rank) && (first != 0 || step != 1)) return false;
    }
    return count > 0;
}

static bool node_is_separable(const Search *q, const Node *n)
{
    Form form = FORM_NONE;
    int64_t count = 0;
    const int64_t *perm;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (str_is(n->type, forms[i].type)) form = forms[i].form;
    if (n->capture_count > 0 || n->input_count == 0 || n->op == NULL || !grows(q, n->outputs[0])) return false;
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != 0) return false;
    switch (form) {
    case FORM_FIRST: return others_fixed(q, n) && !(str_is(n->type, "BatchNormalization") && norm_is_training(n)) && batch_stays(q, n);
    case FORM_SPREAD: return spreads(q, n);
    case FORM_SHAPE: return n->inputs[0] != 0 && q->batched[n->inputs[0]];
    case FORM_AXIS: return others_fixed(q, n) && axis_is_inner(q, n);
    case FORM_AXES: return others_fixed(q, n) && axes_are_inner(q, n);
    case FORM_CONCAT:
        for (int i = 0; i < n->input_count; i++)
            if (n->inputs[i] == 0 || !q->batched[n->inputs[i]]) return false;
        return axis_is_inner(q, n);
    case FORM_TURN:
        perm = node_ints(n, "perm", &count);
        return others_fixed(q, n) && perm != NULL && count > 0 && perm[0] == 0;
    case FORM_PRODUCT:
    case FORM_GEMM: return others_fixed(q, n) && is_product(q, n);
    case FORM_SLICE: return others_fixed(q, n) && samples_stay(q, n);
    case FORM_NONE: break;
    }
    return false;
}

/* Shape arithmetic: nothing of it is data of a sample, and Reshape is judged by the shapes that come out. */
static bool is_shape_of(const Search *q, const Node *n)
{
    if (node_is(n, "Shape")) return true;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != 0 && q->batched[n->inputs[i]]) return false;
    return (n->op == NULL || (n->op->flags & (OP_RANDOM | OP_CONTROL)) == 0) && n->capture_count == 0;
}

bool graph_is_separable(const Session *s, const TypeInfo *here, const TypeInfo *there, int64_t batch)
{
    const Graph *g = s->graph;
    Search q = { s, here, there, batch, alloc_zeroed((size_t)g->value_count + 1, sizeof(bool)) };
    bool fits = q.batched != NULL && s->feed_count > 0;
    for (int i = 0; i < s->feed_count && fits; i++) fits = q.batched[s->feeds[i]] = grows(&q, s->feeds[i]);
    for (uint32_t i = 0; i < g->order_count && fits; i++) {
        const Node *n = graph_node(g, g->order[i]);
        bool fixed = true;
        for (int k = 0; k < n->output_count; k++) fixed = fixed && is_fixed(&q, n->outputs[k]);
        if (fixed) continue;
        if (node_is_separable(&q, n)) q.batched[n->outputs[0]] = true;
        else fits = is_shape_of(&q, n); /* what reads it must not take it for data */
    }
    for (int i = 0; i < g->output_count && fits; i++) fits = q.batched[g->outputs[i]];
    free(q.batched);
    return fits;
}
