/* Attributes became inputs, axes changed their default, ops were renamed: one small function each. What is not in the table at the end only
 * gained types or options. */
#include "graph/opset_rewrites.h"

#include "graph/edit.h"

/* ---- helpers ---- */

static Str derived(Graph *g, NodeId id, const char *suffix)
{
    return arena_printf(g->arena, "%.*s_%s", STR_ARG(node_label(g, graph_node(g, id))), suffix);
}

static Status add_ints(Graph *g, NodeId id, const char *suffix, const int64_t *values, int64_t count, ValueId *out, Err *err)
{
    Shape shape = shape_of(1, &count);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_INT64, &shape, err));
    for (int64_t i = 0; i < count; i++) tensor_set_int(&t, i, values[i]);
    *out = graph_add_constant(g, derived(g, id, suffix), &t);
    return *out != 0 ? OK : err_no_memory(err, "a constant");
}

/* A scalar of the type of the node's first input. */
static Status add_number(Graph *g, NodeId id, const char *suffix, double value, ValueId *out, Err *err)
{
    DType type = graph_value(g, graph_node(g, id)->inputs[0])->type;
    Shape shape = shape_of(0, NULL);
    Tensor t = { 0 };
    TRY(tensor_new(&t, type == DT_NONE ? DT_FLOAT : type, &shape, err));
    tensor_set(&t, 0, value);
    *out = graph_add_constant(g, derived(g, id, suffix), &t);
    return *out != 0 ? OK : err_no_memory(err, "a constant");
}

/* An INTS attribute becomes input i; nothing when it is absent. */
static Status ints_to_input(Graph *g, NodeId id, const char *name, int i, bool *changed, Err *err)
{
    int64_t count;
    const int64_t *values = node_ints(graph_node(g, id), name, &count);
    if (values == NULL) return OK;
    ValueId v;
    TRY(add_ints(g, id, name, values, count, &v, err));
    TRY(graph_set_input(g, id, i, v, err));
    graph_remove_attr(g, id, name);
    *changed = true;
    return OK;
}

static Status float_to_input(Graph *g, NodeId id, const char *name, int i, bool *changed, Err *err)
{
    const Attr *a = node_attr(graph_node(g, id), name);
    if (a == NULL || a->type != ATTR_FLOAT) return OK;
    ValueId v;
    TRY(add_number(g, id, name, (double)a->f, &v, err));
    TRY(graph_set_input(g, id, i, v, err));
    graph_remove_attr(g, id, name);
    *changed = true;
    return OK;
}

/* ---- 9 ---- */

static const char *norm_check(const Graph *g, const Node *n, int64_t from)
{
    (void)g, (void)from;
    return node_int(n, "spatial", 1) == 1 ? NULL : "normalisation of each position on its own (spatial 0) ended with opset 9";
}

static Status norm_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to, (void)err;
    if (node_attr(graph_node(g, id), "spatial") == NULL) return OK;
    graph_remove_attr(g, id, "spatial");
    *changed = true;
    return OK;
}

static const char *scan_check(const Graph *g, const Node *n, int64_t from)
{
    (void)g, (void)n, (void)from;
    return "Scan before opset 9 runs over a batch";
}

static const char *upsample_check(const Graph *g, const Node *n, int64_t from)
{
    (void)g;
    if (from >= 9) return NULL;
    const Attr *a = node_attr(n, "scales");
    return a != NULL && a->type == ATTR_FLOATS ? NULL : "it has no scales";
}

static Status upsample_scales(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    const Attr *a = node_attr(graph_node(g, id), "scales");
    if (a == NULL) return OK;
    Shape shape = shape_of(1, &a->count);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_FLOAT, &shape, err));
    for (int64_t i = 0; i < a->count; i++) tensor_set(&t, i, (double)a->floats[i]);
    ValueId v = graph_add_constant(g, derived(g, id, "scales"), &t);
    if (v == 0) return err_no_memory(err, "a constant");
    TRY(graph_set_input(g, id, 1, v, err));
    graph_remove_attr(g, id, "scales");
    *changed = true;
    return OK;
}

/* ---- 10 ---- */

static Status upsample_to_resize(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    *changed = true;
    return graph_set_type(g, id, "Resize", "", err);
}

static Status slice_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    TRY(ints_to_input(g, id, "starts", 1, changed, err));
    TRY(ints_to_input(g, id, "ends", 2, changed, err));
    return ints_to_input(g, id, "axes", 3, changed, err);
}

static Status topk_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    const Attr *a = node_attr(graph_node(g, id), "k");
    if (a == NULL) return OK;
    ValueId v;
    TRY(add_ints(g, id, "k", &a->i, 1, &v, err));
    TRY(graph_set_input(g, id, 1, v, err));
    graph_remove_attr(g, id, "k");
    *changed = true;
    return OK;
}

/* ---- 11 ---- */

static Status clip_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    TRY(float_to_input(g, id, "min", 1, changed, err));
    return float_to_input(g, id, "max", 2, changed, err);
}

static Status pad_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    TRY(ints_to_input(g, id, "pads", 1, changed, err));
    return float_to_input(g, id, "value", 2, changed, err);
}

/* Before 11 (and in Upsample) a position is divided by the scale and cut off. From 11 on the region of interest stands between. */
static Status resize_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    const Node *n = graph_node(g, id);
    if (n->input_count != 2) return OK;
    ValueId inputs[3] = { n->inputs[0], 0, n->inputs[1] };
    bool nearest = str_is(node_string(n, "mode", "nearest"), "nearest");
    if (to < 13) { /* required there, though unused */
        int64_t none = 0;
        Shape shape = shape_of(1, &none);
        Tensor t = { 0 };
        TRY(tensor_new(&t, DT_FLOAT, &shape, err));
        inputs[1] = graph_add_constant(g, derived(g, id, "roi"), &t);
        if (inputs[1] == 0) return err_no_memory(err, "a constant");
    }
    TRY(graph_set_inputs(g, id, inputs, 3, err));
    TRY(graph_set_string(g, id, "coordinate_transformation_mode", STR("asymmetric"), err));
    if (nearest) TRY(graph_set_string(g, id, "nearest_mode", STR("floor"), err));
    *changed = true;
    return OK;
}

static Status scatter_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    *changed = true;
    return graph_set_type(g, id, "ScatterElements", "", err);
}

/* ---- 12 ---- */

static const char *dropout_check(const Graph *g, const Node *n, int64_t from)
{
    bool mask = n->output_count > 1 && n->outputs[1] != 0 && graph_readers(g, n->outputs[1]) > 0;
    return mask && from < 10 ? "its mask is read and changed its type with opset 10" : NULL;
}

static Status dropout_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    return float_to_input(g, id, "ratio", 1, changed, err);
}

/* ---- 13 ---- */

/* tf_half_pixel_for_nn is (x + 0.5) / scale, cut off: half_pixel, which subtracts 0.5, rounded with ties up. */
static bool is_tf_nearest(const Node *n)
{
    return str_is(node_string(n, "coordinate_transformation_mode", "half_pixel"), "tf_half_pixel_for_nn");
}

static const char *positions_check(const Graph *g, const Node *n, int64_t from)
{
    (void)g, (void)from;
    bool floor = str_is(node_string(n, "mode", "nearest"), "nearest") &&
                 str_is(node_string(n, "nearest_mode", "round_prefer_floor"), "floor");
    return is_tf_nearest(n) && !floor ? "positions tf_half_pixel_for_nn ended with opset 13" : NULL;
}

static Status positions_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    if (!is_tf_nearest(graph_node(g, id))) return OK;
    *changed = true;
    TRY(graph_set_string(g, id, "coordinate_transformation_mode", STR("half_pixel"), err));
    return graph_set_string(g, id, "nearest_mode", STR("round_prefer_ceil"), err);
}

static Status axes_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    return ints_to_input(g, id, "axes", 1, changed, err);
}

static Status split_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    return ints_to_input(g, id, "split", 1, changed, err);
}

/* Before 13 Softmax ran over all axes from `axis` (default 1) on, flattened; from 13 on over the one axis (default the last). They are the
 * same where `axis` is the last one; else Flatten -> Softmax -> Reshape back. */
static Status softmax_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    const Node *n = graph_node(g, id);
    ValueId in = n->inputs[0], out = n->outputs[0];
    int rank = graph_value(g, in)->shape.rank;
    int64_t axis = node_int(n, "axis", 1);
    DType type = graph_value(g, in)->type;
    *changed = node_attr(n, "axis") == NULL;
    if (axis == -1 || (rank >= 0 && axis == rank - 1)) return graph_set_int(g, id, "axis", -1, err);
    *changed = true;
    ValueId flat = graph_add_value(g, derived(g, id, "flat"), type, NULL);
    ValueId soft = graph_add_value(g, derived(g, id, "flat_result"), type, NULL);
    ValueId shape = graph_add_value(g, derived(g, id, "shape"), DT_INT64, NULL);
    if (flat == 0 || soft == 0 || shape == 0) return err_no_memory(err, "a value");
    Str name = node_label(g, graph_node(g, id));
    TRY(graph_set_input(g, id, 0, flat, err));
    TRY(graph_set_outputs(g, id, &soft, 1, err));
    TRY(graph_set_int(g, id, "axis", -1, err));
    NodeId flatten = graph_add_node(g, "Flatten", "", arena_printf(g->arena, "%.*s_flatten", STR_ARG(name)), &in, 1, &flat, 1);
    NodeId measure = graph_add_node(g, "Shape", "", arena_printf(g->arena, "%.*s_measure", STR_ARG(name)), &in, 1, &shape, 1);
    ValueId back[2] = { soft, shape };
    NodeId restore = graph_add_node(g, "Reshape", "", arena_printf(g->arena, "%.*s_restore", STR_ARG(name)), back, 2, &out, 1);
    if (flatten == 0 || measure == 0 || restore == 0) return err_no_memory(err, "a node");
    return graph_set_int(g, flatten, "axis", axis, err);
}

/* ---- 14 ---- */

/* Outputs past the first are those of training, and other ones since 14. */
static const char *train_check(const Graph *g, const Node *n, int64_t from)
{
    (void)from;
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != 0 && graph_readers(g, n->outputs[i]) > 0) return "its outputs of training are read and changed with opset 14";
    return NULL;
}

static Status train_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    if (graph_node(g, id)->output_count < 2) return OK;
    ValueId y = graph_node(g, id)->outputs[0];
    *changed = true;
    return graph_set_outputs(g, id, &y, 1, err);
}

/* ---- 16 ---- */

/* Regions were half a pixel off until 16 gave them a choice, whose default is the other one. */
static Status roi_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    if (node_attr(graph_node(g, id), "coordinate_transformation_mode") != NULL) return OK;
    *changed = true;
    return graph_set_string(g, id, "coordinate_transformation_mode", STR("output_half_pixel"), err);
}

/* ---- 18 ---- */

/* Without sizes the parts are equal: from 18 on their number is asked for. */
static Status parts_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    const Node *n = graph_node(g, id);
    if (node_input(n, 1) != 0 || node_attr(n, "num_outputs") != NULL) return OK;
    *changed = true;
    return graph_set_int(g, id, "num_outputs", n->output_count, err);
}

/* ---- 20 ---- */

static Status grid_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    Str mode = node_string(graph_node(g, id), "mode", "bilinear");
    bool linear = str_is(mode, "bilinear"), cubic = str_is(mode, "bicubic");
    if (!linear && !cubic) return OK;
    *changed = true;
    return graph_set_string(g, id, "mode", linear ? STR("linear") : STR("cubic"), err);
}

/* `axis` became an input, and its default the last axis but one instead of axis 1. */
static Status dft_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    int64_t axis = node_int(graph_node(g, id), "axis", 1);
    Shape scalar = shape_of(0, NULL);
    Tensor t = { 0 };
    TRY(tensor_new(&t, DT_INT64, &scalar, err));
    tensor_set_int(&t, 0, axis);
    ValueId v = graph_add_constant(g, derived(g, id, "axis"), &t);
    if (v == 0) return err_no_memory(err, "a constant");
    graph_remove_attr(g, id, "axis");
    *changed = true;
    return graph_set_input(g, id, 2, v, err);
}

/* ---- 21 ---- */

/* Scale and bias of each group became those of each channel: every number stands for the channels of its group. */
static const char *group_check(const Graph *g, const Node *n, int64_t from)
{
    (void)from;
    int64_t groups = node_int(n, "num_groups", 0);
    const Shape *x = n->input_count == 3 && n->inputs[0] != 0 ? &graph_value(g, n->inputs[0])->shape : NULL;
    if (x == NULL || groups < 1 || x->rank < 2 || x->dims[1] < 1 || x->dims[1] % groups != 0)
        return "opset 21 wants scale and bias for each channel, and the number of channels is not known";
    for (int i = 1; i < 3; i++) {
        const Tensor *t = node_constant(g, n, i);
        if (t == NULL || tensor_count(t) != groups) return "opset 21 wants scale and bias for each channel, and these are no constants";
    }
    return NULL;
}

static Status group_apply(Graph *g, NodeId id, int64_t to, bool *changed, Err *err)
{
    (void)to;
    static const char *const names[] = { "", "scale", "bias" };
    int64_t groups = node_int(graph_node(g, id), "num_groups", 1), channels = graph_value(g, graph_node(g, id)->inputs[0])->shape.dims[1];
    Shape shape = shape_of(1, &channels);
    for (int i = 1; i < 3; i++) {
        Tensor t = { 0 };
        const Tensor *old = node_constant(g, graph_node(g, id), i);
        TRY(tensor_new(&t, old->type, &shape, err));
        for (int64_t c = 0; c < channels; c++) tensor_set(&t, c, tensor_get(old, c / (channels / groups)));
        ValueId v = graph_add_constant(g, derived(g, id, names[i]), &t);
        if (v == 0) return err_no_memory(err, "a constant");
        TRY(graph_set_input(g, id, i, v, err));
    }
    *changed = true;
    return OK;
}

const OpsetRewrite opset_rewrites[] = {
    { "BatchNormalization", 9, norm_check, norm_apply },
    { "Scan", 9, scan_check, NULL },
    { "Upsample", 9, upsample_check, upsample_scales },
    { "Upsample", 10, NULL, upsample_to_resize },
    { "Slice", 10, NULL, slice_apply },
    { "TopK", 10, NULL, topk_apply },
    { "Clip", 11, NULL, clip_apply },
    { "Pad", 11, NULL, pad_apply },
    { "Resize", 11, NULL, resize_apply },
    { "Scatter", 11, NULL, scatter_apply },
    { "Dropout", 12, dropout_check, dropout_apply },
    { "Resize", 13, positions_check, positions_apply },
    { "Squeeze", 13, NULL, axes_apply },
    { "Unsqueeze", 13, NULL, axes_apply },
    { "ReduceSum", 13, NULL, axes_apply },
    { "Split", 13, NULL, split_apply },
    { "Softmax", 13, NULL, softmax_apply },
    { "LogSoftmax", 13, NULL, softmax_apply },
    { "Hardmax", 13, NULL, softmax_apply },
    { "BatchNormalization", 14, train_check, train_apply },
    { "RoiAlign", 16, NULL, roi_apply },
    { "Split", 18, NULL, parts_apply },
    { "ReduceL1", 18, NULL, axes_apply },
    { "ReduceL2", 18, NULL, axes_apply },
    { "ReduceLogSum", 18, NULL, axes_apply },
    { "ReduceLogSumExp", 18, NULL, axes_apply },
    { "ReduceMax", 18, NULL, axes_apply },
    { "ReduceMean", 18, NULL, axes_apply },
    { "ReduceMin", 18, NULL, axes_apply },
    { "ReduceProd", 18, NULL, axes_apply },
    { "ReduceSumSquare", 18, NULL, axes_apply },
    { "GridSample", 20, NULL, grid_apply },
    { "DFT", 20, NULL, dft_apply },
    { "GroupNormalization", 21, group_check, group_apply },
    { .type = NULL },
};
