/* Elementwise work by oneDNN where the data is already in the library's order (so that it need not be changed back), and where the
 * library is faster than a plain loop: activations, BatchNormalization, addition of equal shapes, Softmax. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"

#define SMOOTH_FROM 256 /* elements */

static bool any_given(const KernelSite *s)
{
    for (int i = 0; i < s->input_count; i++)
        if (s->given[i] != NULL) return true;
    return false;
}

/* Ends a preparation: one source, one destination of the same order. */
static Status finish(KernelSite *s, Primitive *p, dnnl_primitive_desc_t desc, const dnnl_memory_desc_t *src)
{
    TRY(primitive_arg(p, DNNL_ARG_SRC, src, ARG_IN, 0, NULL, s->err));
    TRY(primitive_arg(p, DNNL_ARG_DST, src, ARG_OUT, 0, NULL, s->err));
    site_take(s, p, 0, src);
    site_make(s, p, src);
    return primitive_create(p, desc, s->err);
}

/* Creates the primitive of operation descriptor `d` and its two arguments. */
static Status one_to_one(KernelSite *s, const void *d, const dnnl_memory_desc_t *src, void **state)
{
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(desc_create(s->device, d, NULL, "elementwise operation", &desc, s->err));
    TRY_OUT(finish(s, p, desc, src));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

/* --- activations */

static bool relu_accept(const KernelSite *s)
{
    return site_is_float(s, 0) && s->given[0] != NULL;
}

static Status activation(KernelSite *s, dnnl_alg_kind_t kind, float alpha, float beta, void **state)
{
    dnnl_memory_desc_t src;
    dnnl_eltwise_desc_t d;
    if (!md_given(s, 0, &src)) return err_set(s->err, ERR_UNSUPPORTED, "an empty tensor");
    TRY(dnnl_check(dnnl_eltwise_forward_desc_init(&d, dnnl_forward_inference, kind, &src, alpha, beta), "activation", s->err));
    return one_to_one(s, &d, &src, state);
}

static Status relu_prepare(KernelSite *s, void **state)
{
    return activation(s, dnnl_eltwise_relu, 0, 0, state);
}

static Status leaky_prepare(KernelSite *s, void **state)
{
    return activation(s, dnnl_eltwise_relu, node_float(s->node, "alpha", 0.01F), 0, state);
}

/* Functions that a plain loop is slow at: in row-major order, too, where there is something to do. */
static bool smooth_accept(const KernelSite *s)
{
    int64_t count;
    return site_is_float(s, 0) && (s->given[0] != NULL || (shape_count(&s->in[0].shape, &count) && count >= SMOOTH_FROM)) &&
           (s->node->op == NULL || s->node->op->until == 0);
}

static Status sigmoid_prepare(KernelSite *s, void **state)
{
    return activation(s, dnnl_eltwise_logistic, 0, 0, state);
}

static Status tanh_prepare(KernelSite *s, void **state)
{
    return activation(s, dnnl_eltwise_tanh, 0, 0, state);
}

static Status swish_prepare(KernelSite *s, void **state)
{
    return activation(s, dnnl_eltwise_swish, node_float(s->node, "alpha", 1), 0, state);
}

static Status gelu_prepare(KernelSite *s, void **state)
{
    bool exact = str_is(node_string(s->node, "approximate", "none"), "none");
    return activation(s, exact ? dnnl_eltwise_gelu_erf : dnnl_eltwise_gelu_tanh, 0, 0, state);
}

static bool clip_accept(const KernelSite *s)
{
    if (!relu_accept(s)) return false;
    for (int i = 1; i < s->input_count; i++)
        if (s->value[i] != 0 && (s->constant[i] == NULL || s->constant[i]->type != DT_FLOAT ||
                                 tensor_count(s->constant[i]) != 1)) return false;
    return true;
}

static Status clip_prepare(KernelSite *s, void **state)
{
    float bounds[2] = { node_float(s->node, "min", -3.402823466e+38F), node_float(s->node, "max", 3.402823466e+38F) };
    for (int i = 1; i < s->input_count && i < 3; i++) {
        if (s->value[i] == 0) continue;
        bounds[i - 1] = (float)tensor_get(s->constant[i], 0);
        s->unused[i] = true;
    }
    return activation(s, dnnl_eltwise_clip, bounds[0], bounds[1], state);
}

/* --- BatchNormalization: y = x scale + shift, one pair per channel */

static bool batch_accept(const KernelSite *s)
{
    if (!site_is_float(s, 0) || s->in[0].shape.rank < 2 || s->in[0].shape.rank > 5) return false;
    if (norm_is_training(s->node) || norm_is_pointwise(s->node)) return false;
    for (int i = 1; i < 5; i++)
        if (!site_is_float(s, i) || s->in[i].shape.rank != 1 || s->in[i].shape.dims[0] != s->in[0].shape.dims[1]) return false;
    for (int i = 1; i < s->output_count; i++)
        if (s->node->outputs[i] != 0) return false;
    return true;
}

static Status batch_prepare(KernelSite *s, void **state)
{
    dnnl_memory_desc_t src, list;
    if (!md_given(s, 0, &src) || !md_plain(&list, dnnl_f32, 1, &s->in[0].shape.dims[1]))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty BatchNormalization");
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_batch_normalization_desc_t d;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(dnnl_check(dnnl_batch_normalization_forward_desc_init(&d, dnnl_forward_inference, &src, node_float(s->node, "epsilon", 1e-5F),
                                                                  dnnl_use_global_stats | dnnl_use_scale | dnnl_use_shift),
                       "BatchNormalization", s->err));
    TRY_OUT(desc_create(s->device, &d, NULL, "BatchNormalization", &desc, s->err));
    static const int args[] = { DNNL_ARG_SCALE, DNNL_ARG_SHIFT, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE };
    for (int i = 0; i < 4; i++) TRY_OUT(primitive_arg(p, args[i], &list, ARG_IN, i + 1, NULL, s->err));
    TRY_OUT(finish(s, p, desc, &src));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

/* --- Add, Mul of equal shapes of which one is in the library's order */

static bool binary_accept(const KernelSite *s)
{
    return s->input_count == 2 && site_is_float(s, 0) && site_is_float(s, 1) && any_given(s) && shape_eq(&s->in[0].shape, &s->in[1].shape);
}

static Status binary_prepare(KernelSite *s, void **state)
{
    dnnl_memory_desc_t md;
    int leader = s->given[0] != NULL ? 0 : 1;
    if (!md_given(s, leader, &md)) return err_set(s->err, ERR_UNSUPPORTED, "an empty tensor");
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_binary_desc_t d;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(dnnl_check(dnnl_binary_desc_init(&d, str_is(s->node->type, "Add") ? dnnl_binary_add : dnnl_binary_mul, &md, &md, &md), "Add",
                       s->err));
    TRY_OUT(desc_create(s->device, &d, NULL, "Add", &desc, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_SRC_1, &md, ARG_IN, 1, NULL, s->err));
    site_take(s, p, 1, &md);
    TRY_OUT(finish(s, p, desc, &md));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

/* --- Softmax along the last axis (any axis from opset 13 on) */

static bool softmax_accept(const KernelSite *s)
{
    int rank = s->in[0].shape.rank;
    if (!site_is_float(s, 0) || rank < 1 || rank > 5) return false;
    int64_t axis = node_int(s->node, "axis", s->opset < 13 ? 1 : -1);
    if (axis < 0) axis += rank;
    return axis >= 0 && axis < rank && (s->opset >= 13 || axis == rank - 1);
}

static Status softmax_prepare(KernelSite *s, void **state)
{
    dnnl_memory_desc_t src;
    int64_t axis = node_int(s->node, "axis", s->opset < 13 ? 1 : -1);
    if (axis < 0) axis += s->in[0].shape.rank;
    if (!md_plain(&src, dnnl_f32, s->in[0].shape.rank, s->in[0].shape.dims)) return err_set(s->err, ERR_UNSUPPORTED, "an empty tensor");
    if (str_is(s->node->type, "LogSoftmax")) {
        dnnl_logsoftmax_desc_t d;
        TRY(dnnl_check(dnnl_logsoftmax_forward_desc_init(&d, dnnl_forward_inference, &src, (int)axis), "LogSoftmax", s->err));
        return one_to_one(s, &d, &src, state);
    }
    dnnl_softmax_desc_t d;
    TRY(dnnl_check(dnnl_softmax_forward_desc_init(&d, dnnl_forward_inference, &src, (int)axis), "Softmax", s->err));
    return one_to_one(s, &d, &src, state);
}

#define ROW(op_name, accept_fn, prepare_fn) { "onednn", op_name, accept_fn, prepare_fn, primitive_run, primitive_release, NULL, false }

const Kernel kernels_pointwise[] = {
    ROW("Relu", relu_accept, relu_prepare),
    ROW("Sigmoid", smooth_accept, sigmoid_prepare),
    ROW("Tanh", smooth_accept, tanh_prepare),
    ROW("Swish", smooth_accept, swish_prepare),
    ROW("Gelu", smooth_accept, gelu_prepare),
    ROW("LeakyRelu", relu_accept, leaky_prepare),
    ROW("Clip", clip_accept, clip_prepare),
    ROW("BatchNormalization", batch_accept, batch_prepare),
    ROW("Add", binary_accept, binary_prepare),
    ROW("Mul", binary_accept, binary_prepare),
    ROW("Softmax", softmax_accept, softmax_prepare),
    ROW("LogSoftmax", softmax_accept, softmax_prepare),
    { .name = NULL },
};
