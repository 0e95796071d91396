/* Normalisations: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, which differ in the set that mean and variance are taken
 * over; and the ones by a norm: LRN, LpNormalization, Softmax, LogSoftmax, Hardmax. Sums in double: this is the oracle. */
#include "engine/ops/common.h"
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"
#include "engine/ops/window.h"

#include <math.h>
#include <stdlib.h>

/* --- BatchNormalization: statistics, one per channel (axis 1), are inputs, or in training mode those of this very batch. With spatial 0,
 * which ended with opset 9, there is one for each position of each channel: as many channels of one position. */


static Status batch_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    for (int i = 1; i < c->output_count && i < 3; i++) c->out[i] = c->in[i + 2];
    return OK;
}

/* Mean and population variance of channel k over batch and positions. */
static void batch_moments(const float *x, int64_t batch, int64_t channels, int64_t inner, int64_t k, double *mean, double *variance)
{
    double sum = 0, squares = 0, count = (double)(batch * inner);
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < inner; i++) sum += x[(n * channels + k) * inner + i];
    *mean = count > 0 ? sum / count : 0;
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < inner; i++) {
            double apart = x[(n * channels + k) * inner + i] - *mean;
            squares += apart * apart;
        }
    *variance = count > 0 ? squares / count : 0;
}

static Status batch_check(const OpCall *c, bool training, int64_t *channels)
{
    const Tensor *x = c->in[0];
    for (int i = 1; i < c->output_count; i++)
        if (c->wanted[i] && !(training && c->opset >= 14 && i < 3))
            return op_fail(c, ERR_UNSUPPORTED, "the statistics of training mode are not supported before opset 14");
    if (x->shape.rank < 1) return op_fail(c, ERR_DATA, "the input is a scalar");
    *channels = x->shape.rank > 1 ? x->shape.dims[1] : 1;
    if (c->opset < 9 && node_int(c->node, "spatial", 1) == 0) *channels = shape_span(&x->shape, 1, x->shape.rank);
    for (int i = 1; i < 5; i++)
        if (tensor_count(c->in[i]) != *channels)
            return op_fail(c, ERR_DATA, "input %d has %lld entries for %lld channels", i, (long long)tensor_count(c->in[i]),
                           (long long)*channels);
    return OK;
}

static Status batch_float(OpCall *c)
{
    const Tensor *x = c->in[0];
    int64_t channels = 0;
    bool training = norm_is_training(c->node);
    TRY(batch_check(c, training, &channels));
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    for (int i = 1; i < 3 && i < c->output_count; i++) TRY(opcall_output(c, i, DT_FLOAT, &c->in[i + 2]->shape));
    double epsilon = node_float(c->node, "epsilon", 1e-5F), momentum = node_float(c->node, "momentum", 0.9F);
    int64_t batch = x->shape.dims[0], planes = batch * channels;
    int64_t inner = planes > 0 ? tensor_count(x) / planes : 0;
    for (int64_t k = 0; k < channels; k++) {
        double mean = tensor_floats(c->in[3])[k], variance = tensor_floats(c->in[4])[k];
        if (training) batch_moments(tensor_floats(x), batch, channels, inner, k, &mean, &variance);
        double scale = tensor_floats(c->in[1])[k] / sqrt(variance + epsilon), shift = tensor_floats(c->in[2])[k] - scale * mean;
        for (int64_t n = 0; n < batch; n++) {
            const float *in = tensor_floats(x) + (n * channels + k) * inner;
            float *out = tensor_floats(&c->out[0]) + (n * channels + k) * inner;
            for (int64_t i = 0; i < inner; i++) out[i] = (float)(scale * in[i] + shift);
        }
        if (call_wants(c, 1)) tensor_floats(&c->out[1])[k] = (float)(tensor_floats(c->in[3])[k] * momentum + mean * (1 - momentum));
        if (call_wants(c, 2)) tensor_floats(&c->out[2])[k] = (float)(tensor_floats(c->in[4])[k] * momentum + variance * (1 - momentum));
    }
    return OK;
}

static Status batch_forward(OpCall *c)
{
    return opcall_in_float(c, batch_float);
}

/* --- InstanceNormalization, GroupNormalization: over the plane of a channel, or of a group of channels. */

/* Mean and 1 / sqrt(variance + epsilon) of a run; `rms` leaves the mean out. */
static void moments(const float *x, int64_t count, double epsilon, bool rms, double *mean, double *inverse)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i];
    *mean = rms || count == 0 ? 0 : sum / (double)count;
    for (int64_t i = 0; i < count; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    *inverse = 1.0 / sqrt((count > 0 ? squares / (double)count : 0) + epsilon);
}

static Status group_float(OpCall *c)
{
    const Tensor *x = c->in[0];
    if (x->shape.rank < 2) return op_fail(c, ERR_DATA, "the input has rank %d", x->shape.rank);
    int64_t batch = x->shape.dims[0], channels = x->shape.dims[1];
    int64_t groups = str_is(c->node->type, "GroupNormalization") ? node_int(c->node, "num_groups", 0) : channels;
    if (channels > 0 && (groups < 1 || channels % groups != 0))
        return op_fail(c, ERR_DATA, "%lld channels cannot be split into %lld groups", (long long)channels, (long long)groups);
    int64_t parameters = tensor_count(c->in[1]);
    if (parameters != tensor_count(c->in[2]) || (parameters != channels && parameters != groups))
        return op_fail(c, ERR_DATA, "scale and bias have %lld and %lld entries for %lld channels", (long long)parameters,
                       (long long)tensor_count(c->in[2]), (long long)channels);
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    int64_t inner = shape_span(&x->shape, 2, x->shape.rank), per_group = groups > 0 ? channels / groups : 0;
    double epsilon = node_float(c->node, "epsilon", 1e-5F);
    for (int64_t p = 0; p < batch * groups; p++) {
        const float *in = tensor_floats(x) + p * per_group * inner;
        float *out = tensor_floats(&c->out[0]) + p * per_group * inner;
        double mean, inverse;
        moments(in, per_group * inner, epsilon, false, &mean, &inverse);
        for (int64_t i = 0; i < per_group * inner; i++) {
            int64_t channel = p % groups * per_group + i / inner, k = parameters == channels ? channel : channel / per_group;
            out[i] = (float)((in[i] - mean) * inverse * tensor_floats(c->in[1])[k] + tensor_floats(c->in[2])[k]);
        }
    }
    return OK;
}

static Status group_forward(OpCall *c)
{
    return opcall_in_float(c, group_float);
}

/* --- LayerNormalization, RMSNormalization: over the axes from `axis` on. */

static Status layer_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    int axis;
    if (c->in[0].shape.rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", -1), c->in[0].shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    for (int i = 1; i < c->output_count; i++) {
        c->out[i] = (TypeInfo){ DT_FLOAT, c->in[0].shape };
        for (int a = axis; a < c->in[0].shape.rank; a++) c->out[i].shape.dims[a] = 1;
    }
    return OK;
}

static Status layer_float(OpCall *c)
{
    const Tensor *x = c->in[0], *scale = c->in[1], *bias = c->input_count > 2 ? c->in[2] : NULL;
    int axis;
    if (!axis_fix(node_int(c->node, "axis", -1), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    Shape tail = { .rank = x->shape.rank - axis }, reduced = x->shape, joined;
    for (int i = axis; i < x->shape.rank; i++) {
        tail.dims[i - axis] = x->shape.dims[i];
        reduced.dims[i] = 1;
    }
    int64_t inner = shape_span(&tail, 0, tail.rank), rows = shape_span(&x->shape, 0, axis);
    for (int i = 1; i < 3; i++) {
        const Tensor *t = i == 1 ? scale : bias;
        if (t != NULL && (!shape_broadcast(&t->shape, &tail, &joined) || !shape_eq(&joined, &tail)))
            return op_fail(c, ERR_DATA, "input %d does not broadcast to the normalised axes", i);
    }
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    for (int i = 1; i < c->output_count; i++) TRY(opcall_output(c, i, DT_FLOAT, &reduced));
    double epsilon = node_float(c->node, "epsilon", 1e-5F);
    bool rms = str_is(c->node->type, "RMSNormalization");
    int64_t scale_step[MAX_RANK], bias_step[MAX_RANK];
    strides_broadcast(&scale->shape, &tail, scale_step);
    if (bias != NULL) strides_broadcast(&bias->shape, &tail, bias_step);
    for (int64_t r = 0; r < rows; r++) {
        const float *in = tensor_floats(x) + r * inner;
        float *out = tensor_floats(&c->out[0]) + r * inner;
        double mean, inverse;
        moments(in, inner, epsilon, rms, &mean, &inverse);
        for (int64_t i = 0; i < inner; i++) {
            int64_t at = i, si = 0, bi = 0;
            for (int a = tail.rank - 1; a >= 0; a--) {
                si += at % tail.dims[a] * scale_step[a];
                if (bias != NULL) bi += at % tail.dims[a] * bias_step[a];
                at /= tail.dims[a];
            }
            out[i] = (float)((in[i] - mean) * inverse * tensor_floats(scale)[si] + (bias != NULL ? tensor_floats(bias)[bi] : 0));
        }
        if (c->output_count > 1 && c->wanted[1]) tensor_floats(&c->out[1])[r] = (float)mean;
        if (c->output_count > 2 && c->wanted[2]) tensor_floats(&c->out[2])[r] = (float)inverse;
    }
    return OK;
}

static Status layer_forward(OpCall *c)
{
    return opcall_in_float(c, layer_float);
}

/* --- MeanVarianceNormalization: over `axes`, no parameters, epsilon 1e-9 beside the standard deviation. */

static Status mvn_float(OpCall *c)
{
    static const int64_t usual[] = { 0, 2, 3 };
    const Tensor *x = c->in[0];
    int64_t count = 0;
    const int64_t *axes = node_ints(c->node, "axes", &count);
    if (axes == NULL) {
        axes = usual;
        count = 3;
    }
    bool mask[MAX_RANK] = { false };
    TRY(axes_mask(c->graph, c->node, c->err, axes, (int)count, x->shape.rank, mask));
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    int64_t kept = 1, total = tensor_count(x);
    for (int i = 0; i < x->shape.rank; i++) kept *= mask[i] ? 1 : x->shape.dims[i];
    if (total == 0) return OK;
    double *sums = alloc_zeroed((size_t)kept * 2, sizeof *sums);
    if (sums == NULL) return err_no_memory(c->err, "means");
    double *squares = sums + kept;
    for (int pass = 0; pass < 3; pass++) /* mean, variance, result */
        for (int64_t i = 0; i < total; i++) {
            int64_t at = i, k = 0, stride = 1;
            for (int a = x->shape.rank - 1; a >= 0; a--) {
                if (!mask[a]) {
                    k += at % x->shape.dims[a] * stride;
                    stride *= x->shape.dims[a];
                }
                at /= x->shape.dims[a];
            }
            double n = (double)(total / kept), d = tensor_floats(x)[i] - sums[k] / n;
            if (pass == 0) sums[k] += tensor_floats(x)[i];
            else if (pass == 1) squares[k] += d * d;
            else tensor_floats(&c->out[0])[i] = (float)(d / (sqrt(squares[k] / n) + 1e-9));
        }
    free(sums);
    return OK;
}

static Status mvn_forward(OpCall *c)
{
    return opcall_in_float(c, mvn_float);
}

/* --- LRN: y = x / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta. */

static Status lrn_float(OpCall *c)
{
    const Tensor *x = c->in[0];
    if (x->shape.rank < 2) return op_fail(c, ERR_DATA, "the input has rank %d", x->shape.rank);
    int64_t size = node_int(c->node, "size", 0), channels = x->shape.dims[1], inner = shape_span(&x->shape, 2, x->shape.rank);
    if (size < 1) return op_fail(c, ERR_DATA, "size is %lld", (long long)size);
    double alpha = node_float(c->node, "alpha", 1e-4F), beta = node_float(c->node, "beta", 0.75F), bias = node_float(c->node, "bias", 1);
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    for (int64_t n = 0; n < x->shape.dims[0]; n++)
        for (int64_t k = 0; k < channels; k++) {
            int64_t low = k - (size - 1) / 2, high = k + size / 2;
            if (low < 0) low = 0;
            if (high >= channels) high = channels - 1;
            for (int64_t i = 0; i < inner; i++) {
                double sum = 0;
                for (int64_t j = low; j <= high; j++) {
                    double v = tensor_floats(x)[(n * channels + j) * inner + i];
                    sum += v * v;
                }
                int64_t at = (n * channels + k) * inner + i;
                tensor_floats(&c->out[0])[at] = (float)(tensor_floats(x)[at] / pow(bias + alpha / (double)size * sum, beta));
            }
        }
    return OK;
}

static Status lrn_forward(OpCall *c)
{
    return opcall_in_float(c, lrn_float);
}

/* --- along one axis: LpNormalization, Softmax, LogSoftmax, Hardmax */

typedef void (*LineFn)(const OpCall *c, const float *x, float *y, int64_t count, int64_t step);

/* Calls `line` for every line along `axis`; `flatten`: along all axes from `axis` on, taken as one. */
static Status over_lines(OpCall *c, int axis, bool flatten, LineFn line)
{
    const Tensor *x = c->in[0];
    TRY(opcall_output(c, 0, DT_FLOAT, &x->shape));
    int64_t outer = shape_span(&x->shape, 0, axis), count = 1, inner = 1;
    if (flatten) count = shape_span(&x->shape, axis, x->shape.rank);
    else if (x->shape.rank > 0) count = x->shape.dims[axis], inner = shape_span(&x->shape, axis + 1, x->shape.rank);
    if (count == 0) return OK;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++)
            line(c, tensor_floats(x) + o * count * inner + i, tensor_floats(&c->out[0]) + o * count * inner + i, count, inner);
    return OK;
}

static void softmax_line(const OpCall *c, const float *x, float *y, int64_t count, int64_t step)
{
    bool logarithm = str_is(c->node->type, "LogSoftmax");
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        if (x[i * step] > max) max = x[i * step];
    for (int64_t i = 0; i < count; i++) sum += exp(x[i * step] - max);
    for (int64_t i = 0; i < count; i++) {
        double d = x[i * step] - max;
        y[i * step] = (float)(logarithm ? d - log(sum) : exp(d) / sum);
    }
}

/* float16 rounds after each step, as the specification's function body does. */
static void softmax_half_line(const OpCall *c, const float *x, float *y, int64_t count, int64_t step)
{
    (void)c;
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        if (x[i * step] > max) max = x[i * step];
    for (int64_t i = 0; i < count; i++) {
        y[i * step] = (float)doubles_round(DT_FLOAT16, exp(doubles_round(DT_FLOAT16, x[i * step] - max)));
        sum += y[i * step];
    }
    double rounded = doubles_round(DT_FLOAT16, sum);
    if (isfinite(rounded)) sum = rounded;
    for (int64_t i = 0; i < count; i++) y[i * step] = (float)(y[i * step] / sum);
}

static void hardmax_line(const OpCall *c, const float *x, float *y, int64_t count, int64_t step)
{
    (void)c;
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i * step] > x[best * step]) best = i;
    for (int64_t i = 0; i < count; i++) y[i * step] = i == best;
}

static void lp_line(const OpCall *c, const float *x, float *y, int64_t count, int64_t step)
{
    bool one = node_int(c->node, "p", 2) == 1;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += one ? fabsf(x[i * step]) : (double)x[i * step] * x[i * step];
    double norm = one ? sum : sqrt(sum);
    for (int64_t i = 0; i < count; i++) y[i * step] = norm == 0 ? 0 : (float)(x[i * step] / norm);
}

static Status lines_run(OpCall *c, LineFn line)
{
    bool lp = str_is(c->node->type, "LpNormalization"), old = !lp && c->opset < 13;
    int axis, rank = c->in[0]->shape.rank;
    int64_t given = node_int(c->node, "axis", old ? 1 : -1);
    if (rank == 0) axis = 0;
    else if (old && given == rank) axis = rank; /* flattening to [all, 1] */
    else if (!axis_fix(given, rank, &axis)) return op_fail(c, ERR_DATA, "axis %lld of rank %d", (long long)given, rank);
    return over_lines(c, axis, old, line);
}

static Status lines_float(OpCall *c)
{
    Str type = c->node->type;
    return lines_run(c, str_is(type, "LpNormalization") ? lp_line : str_is(type, "Hardmax") ? hardmax_line : softmax_line);
}

static Status softmax_half(OpCall *c)
{
    return lines_run(c, softmax_half_line);
}

static Status lines_forward(OpCall *c)
{
    bool half = c->in[0]->type == DT_FLOAT16 && str_is(c->node->type, "Softmax");
    return opcall_in_float(c, half ? softmax_half : lines_float);
}

static void softmax_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (!shape_count(&c->out[0].shape, &count)) return;
    out->transcendental = 2 * count;
    out->elementwise = 3 * count;
}

static void norm_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (!shape_count(&c->out[0].shape, &count)) return;
    out->elementwise = (str_is(c->node->type, "BatchNormalization") ? 2 : 6) * count;
}

const Op ops_norm[] = {
    OP_ENTRY("BatchNormalization", 1, NORM_OLDEST, 5, 5, 1, 5, 0, batch_infer, batch_forward, norm_cost),
    OP_ENTRY("BatchNormalization", 7, 0, 5, 5, 1, 5, 0, batch_infer, batch_forward, norm_cost),
    OP_ENTRY("InstanceNormalization", 1, 0, 3, 3, 1, 1, 0, infer_same, group_forward, norm_cost),
    OP_ENTRY("GroupNormalization", 18, 0, 3, 3, 1, 1, 0, infer_same, group_forward, norm_cost),
    OP_ENTRY("LayerNormalization", 1, 0, 2, 3, 1, 3, 0, layer_infer, layer_forward, norm_cost),
    OP_ENTRY("RMSNormalization", 1, 0, 2, 2, 1, 1, 0, layer_infer, layer_forward, norm_cost),
    OP_ENTRY("MeanVarianceNormalization", 9, 0, 1, 1, 1, 1, 0, infer_same, mvn_forward, norm_cost),
    OP_ENTRY("LRN", 1, 0, 1, 1, 1, 1, 0, infer_same, lrn_forward, norm_cost),
    OP_ENTRY("LpNormalization", 1, 0, 1, 1, 1, 1, 0, infer_same, lines_forward, norm_cost),
    OP_ENTRY("Softmax", 1, 0, 1, 1, 1, 1, 0, infer_same, lines_forward, softmax_cost),
    OP_ENTRY("LogSoftmax", 1, 0, 1, 1, 1, 1, 0, infer_same, lines_forward, softmax_cost),
    OP_ENTRY("Hardmax", 1, 0, 1, 1, 1, 1, 0, infer_same, lines_forward, norm_cost),
    OP_END,
};
