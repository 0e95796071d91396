/* Operations described as 2.x describes them: kept as they are told, until a primitive descriptor is made of them. */
#include "engine/dnnl_three.h"

#if DNNL_VERSION_MAJOR >= 3

#include <string.h>

static dnnl_status_t init(ThreeOp *op, ThreeKind kind, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *const *memory,
                          int count)
{
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->prop = prop;
    op->alg = alg;
    for (int i = 0; i < count; i++) {
        op->has[i] = memory[i] != NULL && memory[i]->ndims > 0;
        if (op->has[i]) op->memory[i] = *memory[i];
    }
    return dnnl_success;
}

#define LIST(...) (const ThreeMemory *const[]){ __VA_ARGS__ }
#define MEMORIES(...) LIST(__VA_ARGS__), (int)(sizeof(LIST(__VA_ARGS__)) / sizeof(void *))

static void set_window(ThreeOp *op, const dnnl_dims_t strides, const dnnl_dims_t dilations, const dnnl_dims_t begin, const dnnl_dims_t end)
{
    int dims = op->memory[0].ndims - 2;
    if (dims <= 0) return;
    size_t bytes = (size_t)dims * sizeof *strides;
    memcpy(op->strides, strides, bytes);
    if (dilations != NULL) memcpy(op->dilations, dilations, bytes);
    memcpy(op->begin, begin, bytes);
    memcpy(op->end, end, bytes);
}

dnnl_status_t three_convolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t dilations,
                                const dnnl_dims_t begin, const dnnl_dims_t end)
{
    dnnl_status_t status = init(op, THREE_CONVOLUTION, prop, alg, MEMORIES(x, w, b, y));
    set_window(op, strides, dilations, begin, end);
    return status;
}

dnnl_status_t three_plain_convolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                      const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t begin,
                                      const dnnl_dims_t end)
{
    return three_convolution(op, prop, alg, x, w, b, y, strides, NULL, begin, end);
}

dnnl_status_t three_deconvolution(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *w,
                                  const ThreeMemory *b, const ThreeMemory *y, const dnnl_dims_t strides, const dnnl_dims_t dilations,
                                  const dnnl_dims_t begin, const dnnl_dims_t end)
{
    dnnl_status_t status = init(op, THREE_DECONVOLUTION, prop, alg, MEMORIES(x, w, b, y));
    set_window(op, strides, dilations, begin, end);
    return status;
}

dnnl_status_t three_pooling(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, const ThreeMemory *y,
                            const dnnl_dims_t strides, const dnnl_dims_t kernel, const dnnl_dims_t dilations, const dnnl_dims_t begin,
                            const dnnl_dims_t end)
{
    dnnl_status_t status = init(op, THREE_POOLING, prop, alg, MEMORIES(x, y));
    set_window(op, strides, dilations, begin, end);
    if (x->ndims > 2) memcpy(op->kernel, kernel, (size_t)(x->ndims - 2) * sizeof *kernel);
    return status;
}

dnnl_status_t three_eltwise(ThreeOp *op, dnnl_prop_kind_t prop, dnnl_alg_kind_t alg, const ThreeMemory *x, float alpha, float beta)
{
    dnnl_status_t status = init(op, THREE_ELTWISE, prop, alg, MEMORIES(x));
    op->alpha = alpha;
    op->beta = beta;
    return status;
}

dnnl_status_t three_norm(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, float epsilon, unsigned flags)
{
    dnnl_status_t status = init(op, THREE_NORM, prop, dnnl_alg_kind_undef, MEMORIES(x));
    op->alpha = epsilon;
    op->flags = flags;
    return status;
}

dnnl_status_t three_binary(ThreeOp *op, dnnl_alg_kind_t alg, const ThreeMemory *a, const ThreeMemory *b, const ThreeMemory *y)
{
    return init(op, THREE_BINARY, dnnl_forward_inference, alg, MEMORIES(a, b, y));
}

dnnl_status_t three_softmax(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, int axis)
{
    dnnl_status_t status = init(op, THREE_SOFTMAX, prop, dnnl_softmax_accurate, MEMORIES(x));
    op->axis = axis;
    return status;
}

dnnl_status_t three_logsoftmax(ThreeOp *op, dnnl_prop_kind_t prop, const ThreeMemory *x, int axis)
{
    dnnl_status_t status = init(op, THREE_SOFTMAX, prop, dnnl_softmax_log, MEMORIES(x));
    op->axis = axis;
    return status;
}

#endif
