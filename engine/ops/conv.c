/* Conv and ConvTranspose, 1-D to 3-D.
 *   y[n,k,p] = b[k] + sum over c, t of w[k,c,t] x[n, c + group offset, p stride - begin + t dilation]
 * Weights: Conv [K,C/G,R,S], ConvTranspose [C,K/G,R,S]. Sums in double: this is the oracle. */
#include "engine/ops/window.h"

#include <stdlib.h>
#include <string.h>

#include "engine/ops/common.h"
#include "engine/ops/list.h"

static int first_axis(const Graph *g, const Node *n)
{
    (void)g;
    (void)n;
    return 0;
}

static int second_axis(const Graph *g, const Node *n)
{
    (void)g;
    (void)n;
    return 1;
}

static Status conv_group(const Graph *g, const Node *n, int64_t *group, Err *err)
{
    *group = node_int(n, "group", 1);
    if (*group < 1) return op_error(g, n, err, ERR_DATA, "group is %lld", (long long)*group);
    return OK;
}

static Status conv_check(const Graph *g, const Node *n, const Shape *x, const Shape *w, int64_t *group, Err *err)
{
    TRY(conv_group(g, n, group, err));
    if (x->rank >= 2 && w->rank >= 2 && x->dims[1] >= 0 && w->dims[1] >= 0 && x->dims[1] != w->dims[1] * *group)
        return op_error(g, n, err, ERR_DATA, "%lld input channels, the weights expect %lld in %lld groups", (long long)x->dims[1],
                         (long long)w->dims[1], (long long)*group);
    if (w->rank >= 1 && w->dims[0] >= 0 && w->dims[0] % *group != 0)
        return op_error(g, n, err, ERR_DATA, "%lld output channels cannot be split into %lld groups", (long long)w->dims[0],
                         (long long)*group);
    return OK;
}

static Status conv_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    const Shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    if (x->rank < 0) return OK;
    int64_t group;
    TRY(conv_check(c->graph, c->node, x, w, &group, c->err));
    Window win;
    if (w->rank < 0 && node_attr(c->node, "kernel_shape") == NULL) return OK;
    TRY(window_init(&win, c->graph, c->node, x, w->rank < 0 ? NULL : w, c->err));
    c->out[0].shape = window_shape(&win, x->dims[0], w->rank < 0 ? DIM_UNKNOWN : w->dims[0]);
    return OK;
}

static Status check_bias(const OpCall *c, int64_t channels)
{
    const Tensor *b = c->input_count > 2 ? c->in[2] : NULL;
    if (b != NULL && tensor_count(b) != channels)
        return op_fail(c, ERR_DATA, "the bias has %lld entries for %lld channels", (long long)tensor_count(b),
                         (long long)channels);
    return OK;
}

/* One output plane y[P,Q...] of channel k of sample n. */
static void conv_plane(const Window *w, const float *x, const float *weights, int64_t channels, float bias, float *y)
{
    int64_t plane = w->in[0] * w->in[1] * w->in[2], taps = window_kernel_count(w);
    for (int64_t d = 0; d < w->out[0]; d++)
        for (int64_t h = 0; h < w->out[1]; h++)
            for (int64_t q = 0; q < w->out[2]; q++) {
                double sum = bias;
                for (int64_t i = 0; i < w->kernel[0]; i++) {
                    int64_t z = d * w->stride[0] - w->begin[0] + i * w->dilation[0];
                    if (z < 0 || z >= w->in[0]) continue;
                    for (int64_t r = 0; r < w->kernel[1]; r++) {
                        int64_t row = h * w->stride[1] - w->begin[1] + r * w->dilation[1];
                        if (row < 0 || row >= w->in[1]) continue;
                        for (int64_t s = 0; s < w->kernel[2]; s++) {
                            int64_t col = q * w->stride[2] - w->begin[2] + s * w->dilation[2];
                            if (col < 0 || col >= w->in[2]) continue;
                            const float *px = x + (z * w->in[1] + row) * w->in[2] + col;
                            const float *pw = weights + (i * w->kernel[1] + r) * w->kernel[2] + s;
                            for (int64_t c = 0; c < channels; c++) sum += (double)px[c * plane] * pw[c * taps];
                        }
                    }
                }
                *y++ = (float)sum;
            }
}

static Status conv_float(OpCall *c)
{
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->input_count > 2 ? c->in[2] : NULL;
    int64_t group;
    Window win;
    TRY(conv_check(c->graph, c->node, &x->shape, &w->shape, &group, c->err));
    TRY(window_init(&win, c->graph, c->node, &x->shape, &w->shape, c->err));
    int64_t batch = x->shape.dims[0], channels = x->shape.dims[1], filters = w->shape.dims[0];
    TRY(check_bias(c, filters));
    Shape shape = window_shape(&win, batch, filters);
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    int64_t in_plane = win.in[0] * win.in[1] * win.in[2], out_plane = win.out[0] * win.out[1] * win.out[2];
    int64_t per_group = channels / group, taps = window_kernel_count(&win);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < batch; n++)
        for (int64_t k = 0; k < filters; k++) {
            int64_t from = k / (filters / group) * per_group;
            conv_plane(&win, tensor_floats(x) + (n * channels + from) * in_plane, tensor_floats(w) + k * per_group * taps, per_group,
                       b != NULL ? tensor_floats(b)[k] : 0, tensor_floats(&c->out[0]) + (n * filters + k) * out_plane);
        }
    return OK;
}

static Status conv_forward(OpCall *c)
{
    return opcall_in_float(c, conv_float);
}

/* Output elements times the weights each one meets; padding counted, bias not. */
static void conv_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0, weights = 0;
    if (!shape_count(&c->out[0].shape, &outputs) || !shape_count(&c->in[1].shape, &weights)) return;
    int64_t filters = c->in[1].shape.dims[0];
    if (filters > 0) out->macs = outputs * (weights / filters);
}

/* --- ConvTranspose: every input element is scattered through the kernel. */

static Status transpose_check(const Graph *g, const Node *n, const Shape *x, const Shape *w, int64_t *group, Err *err)
{
    TRY(conv_group(g, n, group, err));
    if (x->rank >= 2 && w->rank >= 2 && x->dims[1] >= 0 && w->dims[0] >= 0 && (x->dims[1] != w->dims[0] || x->dims[1] % *group != 0))
        return op_error(g, n, err, ERR_DATA, "%lld input channels, the weights have %lld, in %lld groups", (long long)x->dims[1],
                         (long long)w->dims[0], (long long)*group);
    return OK;
}

static Status transpose_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    const Shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    if (x->rank < 0 || w->rank < 0) return OK;
    int64_t group;
    Window win;
    TRY(transpose_check(c->graph, c->node, x, w, &group, c->err));
    TRY(window_init_transposed(&win, c->graph, c->node, x, w, c->err));
    c->out[0].shape = window_shape(&win, x->dims[0], w->dims[1] < 0 ? DIM_UNKNOWN : w->dims[1] * group);
    return OK;
}

/* Adds one input plane times its kernel to the output plane sum[out...]. */
static void scatter_plane(const Window *w, const float *x, const float *weights, double *sum)
{
    for (int64_t d = 0; d < w->in[0]; d++)
        for (int64_t h = 0; h < w->in[1]; h++)
            for (int64_t q = 0; q < w->in[2]; q++) {
                double value = *x++;
                const float *pw = weights;
                for (int64_t i = 0; i < w->kernel[0]; i++)
                    for (int64_t r = 0; r < w->kernel[1]; r++)
                        for (int64_t s = 0; s < w->kernel[2]; s++, pw++) {
                            int64_t z = d * w->stride[0] - w->begin[0] + i * w->dilation[0];
                            int64_t row = h * w->stride[1] - w->begin[1] + r * w->dilation[1];
                            int64_t col = q * w->stride[2] - w->begin[2] + s * w->dilation[2];
                            if (z < 0 || z >= w->out[0] || row < 0 || row >= w->out[1] || col < 0 || col >= w->out[2]) continue;
                            sum[(z * w->out[1] + row) * w->out[2] + col] += value * *pw;
                        }
            }
}

static Status transpose_float(OpCall *c)
{
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->input_count > 2 ? c->in[2] : NULL;
    int64_t group;
    Window win;
    TRY(transpose_check(c->graph, c->node, &x->shape, &w->shape, &group, c->err));
    TRY(window_init_transposed(&win, c->graph, c->node, &x->shape, &w->shape, c->err));
    int64_t batch = x->shape.dims[0], channels = x->shape.dims[1], per_group = w->shape.dims[1], filters = per_group * group;
    TRY(check_bias(c, filters));
    Shape shape = window_shape(&win, batch, filters);
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    int64_t in_plane = win.in[0] * win.in[1] * win.in[2], out_plane = win.out[0] * win.out[1] * win.out[2];
    int64_t taps = window_kernel_count(&win), group_in = channels / group;
    double *sum = alloc_array((size_t)(out_plane > 0 ? out_plane : 1), sizeof *sum);
    if (sum == NULL) return err_no_memory(c->err, "a ConvTranspose plane");
    for (int64_t n = 0; n < batch; n++)
        for (int64_t k = 0; k < filters; k++) {
            for (int64_t i = 0; i < out_plane; i++) sum[i] = b != NULL ? tensor_floats(b)[k] : 0;
            int64_t from = k / per_group * group_in;
            for (int64_t i = from; i < from + group_in; i++)
                scatter_plane(&win, tensor_floats(x) + (n * channels + i) * in_plane,
                              tensor_floats(w) + (i * per_group + k % per_group) * taps, sum);
            float *y = tensor_floats(&c->out[0]) + (n * filters + k) * out_plane;
            for (int64_t i = 0; i < out_plane; i++) y[i] = (float)sum[i];
        }
    free(sum);
    return OK;
}

static Status transpose_forward(OpCall *c)
{
    return opcall_in_float(c, transpose_float);
}

/* Input elements times the weights each one meets. */
static void transpose_cost(const CostCall *c, OpCost *out)
{
    int64_t inputs = 0, weights = 0;
    if (!shape_count(&c->in[0].shape, &inputs) || !shape_count(&c->in[1].shape, &weights)) return;
    if (c->in[1].shape.dims[0] > 0) out->macs = inputs * (weights / c->in[1].shape.dims[0]);
}

const Op ops_conv[] = {
    { .type = "Conv", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 3, .min_outputs = 1, .max_outputs = 1,
      .weight_input = 1, .bias_input = 2, .weight_axis = first_axis, .infer = conv_infer, .forward = conv_forward, .cost = conv_cost },
    { .type = "ConvTranspose", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 3, .min_outputs = 1, .max_outputs = 1,
      .weight_input = 1, .bias_input = 2, .weight_axis = second_axis, .infer = transpose_infer, .forward = transpose_forward,
      .cost = transpose_cost },
    OP_END,
};
