/* Operators of groups besides the layers: additions and averages of 8-bit integers. What they compute stands in integer.h. */
#include <math.h>

#include "engine/ops/common.h"
#include "engine/ops/integer.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"

static float scale_of(const Tensor *t)
{
    return tensor_floats(t)[0];
}

static int64_t kept(float rounded, int64_t zero, int64_t low, int64_t high)
{
    double value = (double)rounded + (double)zero;
    return !(value > (double)low) ? low : value > (double)high ? high : (int64_t)value;
}

static Status add_infer(InferCall *c)
{
    c->out[0].type = c->in[7].type;
    if (c->in[0].shape.rank >= 0 && c->in[3].shape.rank >= 0 && !shape_broadcast(&c->in[0].shape, &c->in[3].shape, &c->out[0].shape))
        return op_fail(c, ERR_DATA, "the operands' shapes do not fit each other");
    return OK;
}

static Status add_forward(OpCall *c)
{
    const Tensor *a = c->in[0], *b = c->in[3];
    int64_t low, high, zero[3] = { tensor_get_int(c->in[2], 0), tensor_get_int(c->in[5], 0), tensor_get_int(c->in[7], 0) };
    float scale[3] = { scale_of(c->in[1]), scale_of(c->in[4]), scale_of(c->in[6]) };
    if (!integer_range(c->node, c->in[7]->type, &low, &high)) return op_bad_type(c, c->in[7]->type);
    Shape shape;
    if (!shape_broadcast(&a->shape, &b->shape, &shape)) return op_fail(c, ERR_DATA, "the operands' shapes do not fit each other");
    TRY(opcall_output(c, 0, c->in[7]->type, &shape));
    int64_t step[2][MAX_RANK], count = tensor_count(&c->out[0]);
    strides_broadcast(&a->shape, &shape, step[0]);
    strides_broadcast(&b->shape, &shape, step[1]);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at[2] = { 0, 0 };
        for (int k = shape.rank; k-- > 0; rest /= shape.dims[k])
            for (int o = 0; o < 2; o++) at[o] += rest % shape.dims[k] * step[o][k];
        float x = (float)(tensor_get_int(a, at[0]) - zero[0]) * scale[0], y = (float)(tensor_get_int(b, at[1]) - zero[1]) * scale[1];
        tensor_set_int(&c->out[0], i, kept(rintf((x + y) / scale[2]), zero[2], low, high));
    }
    return OK;
}

/* The window of either average; a Global one is a window over everything. */
static Status average_window(const Graph *g, const Node *n, const Shape *x, Window *w, Err *err)
{
    if (str_is(n->type, "QLinearAveragePool")) return window_init(w, g, n, x, NULL, err);
    if (x->rank < 3 || x->rank > 2 + WINDOW_DIMS)
        return op_error(g, n, err, ERR_UNSUPPORTED, "an average over %d dimensions", x->rank - 2);
    *w = (Window){ .dims = x->rank - 2 };
    for (int i = 0; i < WINDOW_DIMS; i++) {
        w->in[i] = w->kernel[i] = i < WINDOW_DIMS - w->dims ? 1 : x->dims[i - (WINDOW_DIMS - w->dims) + 2];
        w->out[i] = w->stride[i] = w->dilation[i] = 1;
    }
    return OK;
}

static Status average_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    c->out[0].type = c->in[4].type;
    if (x->rank < 0) return OK;
    Window w;
    TRY(average_window(c->graph, c->node, x, &w, c->err));
    c->out[0].shape = window_shape(&w, x->dims[0], x->dims[1]);
    return OK;
}

/* Sum of x - zero over the window at output position o, and how many elements count. */
static int64_t window_total(const Window *w, const Tensor *x, int64_t plane, int64_t o, int64_t zero, bool padding, int64_t *counted)
{
    int64_t at[3] = { o / (w->out[1] * w->out[2]), o / w->out[2] % w->out[1], o % w->out[2] }, total = 0;
    *counted = 0;
    for (int64_t i = 0; i < window_kernel_count(w); i++) {
        int64_t tap[3] = { i / (w->kernel[1] * w->kernel[2]), i / w->kernel[2] % w->kernel[1], i % w->kernel[2] }, p[3];
        bool inside = true, reached = true;
        for (int k = 0; k < 3; k++) {
            p[k] = at[k] * w->stride[k] - w->begin[k] + tap[k] * w->dilation[k];
            inside = inside && p[k] >= 0 && p[k] < w->in[k];
            reached = reached && p[k] < w->in[k] + w->end[k];
        }
        *counted += padding ? reached : inside;
        if (inside) total += tensor_get_int(x, plane + (p[0] * w->in[1] + p[1]) * w->in[2] + p[2]) - zero;
    }
    return total;
}

static Status average_forward(OpCall *c)
{
    const Tensor *x = c->in[0];
    int64_t low, high, x_zero = tensor_get_int(c->in[2], 0), zero = tensor_get_int(c->in[4], 0);
    float x_scale = scale_of(c->in[1]), y_scale = scale_of(c->in[3]);
    bool padding = node_int(c->node, "count_include_pad", 0) != 0;
    Window w;
    if (!integer_range(c->node, c->in[4]->type, &low, &high)) return op_bad_type(c, c->in[4]->type);
    TRY(average_window(c->graph, c->node, &x->shape, &w, c->err));
    Shape shape = window_shape(&w, x->shape.dims[0], x->shape.dims[1]);
    TRY(opcall_output(c, 0, c->in[4]->type, &shape));
    int64_t planes = shape.dims[0] * shape.dims[1], in = w.in[0] * w.in[1] * w.in[2], out = w.out[0] * w.out[1] * w.out[2];
    for (int64_t p = 0; p < planes; p++)
        for (int64_t o = 0; o < out; o++) {
            int64_t counted, total = window_total(&w, x, p * in, o, x_zero, padding, &counted);
            float by = counted > 0 ? x_scale / (y_scale * (float)counted) : 0;
            tensor_set_int(&c->out[0], p * out + o, kept(rintf((float)total * by), zero, low, high));
        }
    return OK;
}

#define ENTRY(type_, min_in, max_in, infer_, forward_, cost_) \
    { .type = type_, .domain = INTEGER_DOMAIN, .since = 1, .min_inputs = min_in, .max_inputs = max_in, .min_outputs = 1, .max_outputs = 1, \
      .weight_input = -1, .bias_input = -1, .infer = infer_, .forward = forward_, .cost = cost_ }

static const Op group_ops[] = {
    ENTRY("QLinearConv", 6, 9, qlinear_conv_infer, qlinear_conv_forward, integer_conv_cost),
    ENTRY("QLinearMatMul", 6, 9, qlinear_matmul_infer, qlinear_matmul_forward, integer_matmul_cost),
    ENTRY("QLinearAdd", 8, 8, add_infer, add_forward, NULL),
    ENTRY("QLinearAveragePool", 5, 5, average_infer, average_forward, NULL),
    ENTRY("QLinearGlobalAveragePool", 5, 5, average_infer, average_forward, NULL),
    { .type = NULL },
};

const Op *integer_find_op(Str type)
{
    for (const Op *op = group_ops; op->type != NULL; op++)
        if (str_is(type, op->type)) return op;
    return NULL;
}
