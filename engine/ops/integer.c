/* QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger, with the sums of integer.h; and the layers of groups, whose result may stay
 * float. Padding is the zero point, so it adds nothing. */
#include "engine/ops/integer.h"

#include <math.h>

#include "engine/ops/common.h"
#include "engine/ops/matmul.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"

/* Operand positions of the four operators. */
typedef struct IntegerForm {
    bool conv, linear;
    int weight, x_zero, weight_zero; /* input indices */
} IntegerForm;

static IntegerForm form_of(const Node *n)
{
    bool conv = str_is(n->type, "QLinearConv") || str_is(n->type, "ConvInteger"), linear = n->type.data[0] == 'Q';
    return (IntegerForm){ conv, linear, linear ? 3 : 1, 2, linear ? 5 : 3 };
}

static Status conv_shape_infer(InferCall *c, int weight, DType type)
{
    c->out[0].type = type;
    const Shape *x = &c->in[0].shape, *w = &c->in[weight].shape;
    if (x->rank < 0 || w->rank < 0) return OK;
    Window win;
    TRY(window_init(&win, c->graph, c->node, x, w, c->err));
    c->out[0].shape = window_shape(&win, x->dims[0], w->dims[0]);
    return OK;
}

/* Without a scale of the result (groups alone): float. */
static DType linear_type(const InferCall *c)
{
    return node_input(c->node, 6) == 0 ? DT_FLOAT : c->in[7].type;
}

Status qlinear_conv_infer(InferCall *c)
{
    return conv_shape_infer(c, 3, linear_type(c));
}

Status conv_integer_infer(InferCall *c)
{
    return conv_shape_infer(c, 1, DT_INT32);
}

Status qlinear_matmul_infer(InferCall *c)
{
    c->out[0].type = linear_type(c);
    return matmul_shape(c->graph, c->node, &c->in[0].shape, &c->in[3].shape, &c->out[0].shape, NULL, c->err);
}

Status matmul_integer_infer(InferCall *c)
{
    c->out[0].type = DT_INT32;
    return matmul_shape(c->graph, c->node, &c->in[0].shape, &c->in[1].shape, &c->out[0].shape, NULL, c->err);
}

static const Tensor *operand(const OpCall *c, int i)
{
    return i < c->input_count ? c->in[i] : NULL;
}

/* Entry `i` of a list of one or of `count`; `fallback` when left out. */
static int64_t zero_at(const Tensor *t, int64_t i)
{
    return t == NULL ? 0 : tensor_get_int(t, tensor_count(t) == 1 ? 0 : i);
}

static float scale_at(const Tensor *t, int64_t i)
{
    return (float)tensor_get(t, tensor_count(t) == 1 ? 0 : i);
}

static Status check_length(const OpCall *c, int i, int64_t count)
{
    const Tensor *t = operand(c, i);
    if (t == NULL || tensor_count(t) == 1 || tensor_count(t) == count) return OK;
    return op_fail(c, ERR_DATA, "input %d has %lld entries, expected 1 or %lld", i, (long long)tensor_count(t), (long long)count);
}

bool integer_range(const Node *n, DType type, int64_t *low, int64_t *high)
{
    if (!quant_range(type, low, high)) return false;
    int64_t least = node_int(n, "low", *low), most = node_int(n, "high", *high);
    *low = least > *low ? least : *low;
    *high = most < *high ? most : *high;
    return true;
}

static int64_t requantize(int64_t sum, float multiplier, int64_t zero, int64_t low, int64_t high)
{
    float scaled = rintf((float)sum * multiplier);
    double value = (double)scaled + (double)zero;
    return !(value > (double)low) ? low : value > (double)high ? high : (int64_t)value;
}

/* How sums become the result: as they are, in float, or quantized. */
typedef struct Ending {
    DType type;
    bool linear;
    const Tensor *x_scale, *w_scale, *y_scale, *y_zero;
    int64_t low, high;
} Ending;

static bool ending_init(const OpCall *c, const IntegerForm *f, Ending *e)
{
    *e = (Ending){ .type = DT_INT32, .linear = f->linear };
    if (!f->linear) return true;
    e->x_scale = c->in[1];
    e->w_scale = c->in[4];
    e->y_scale = operand(c, 6);
    e->y_zero = operand(c, 7);
    e->type = e->y_zero != NULL ? e->y_zero->type : DT_FLOAT;
    return e->type == DT_FLOAT || integer_range(c->node, e->type, &e->low, &e->high);
}

/* Writes element `at` from its sum; row and column choose among scales. */
static void ending_set(const Ending *e, Tensor *y, int64_t at, int64_t sum, int64_t row, int64_t column)
{
    if (!e->linear) {
        tensor_set_int(y, at, sum);
        return;
    }
    float scale = scale_at(e->x_scale, row) * scale_at(e->w_scale, column);
    if (e->y_scale == NULL) tensor_set(y, at, (double)((float)sum * scale));
    else tensor_set_int(y, at, requantize(sum, scale / scale_at(e->y_scale, 0), zero_at(e->y_zero, 0), e->low, e->high));
}

/* sum over the window at `at` of (x - x_zero)(w - w_zero). */
static int64_t window_sum(const Window *w, const Tensor *x, int64_t x_from, const Tensor *k, int64_t k_from, int64_t channels,
                          int64_t x_zero,
                          int64_t w_zero, const int64_t *at)
{
    int64_t sum = 0, plane = w->in[0] * w->in[1] * w->in[2], taps = window_kernel_count(w);
    for (int64_t i = 0; i < w->kernel[0]; i++)
        for (int64_t r = 0; r < w->kernel[1]; r++)
            for (int64_t s = 0; s < w->kernel[2]; s++) {
                int64_t z = at[0] * w->stride[0] - w->begin[0] + i * w->dilation[0];
                int64_t row = at[1] * w->stride[1] - w->begin[1] + r * w->dilation[1];
                int64_t col = at[2] * w->stride[2] - w->begin[2] + s * w->dilation[2];
                if (z < 0 || z >= w->in[0] || row < 0 || row >= w->in[1] || col < 0 || col >= w->in[2]) continue;
                int64_t px = x_from + (z * w->in[1] + row) * w->in[2] + col, pk = k_from + (i * w->kernel[1] + r) * w->kernel[2] + s;
                for (int64_t c = 0; c < channels; c++)
                    sum += (tensor_get_int(x, px + c * plane) - x_zero) * (tensor_get_int(k, pk + c * taps) - w_zero);
            }
    return sum;
}

static Status conv_run(OpCall *c)
{
    IntegerForm f = form_of(c->node);
    const Tensor *x = c->in[0], *w = c->in[f.weight], *bias = f.linear ? operand(c, 8) : NULL;
    int64_t group = node_int(c->node, "group", 1);
    Ending ending;
    if (group < 1 || x->shape.rank < 3 || w->shape.rank != x->shape.rank || x->shape.dims[1] != w->shape.dims[1] * group ||
        w->shape.dims[0] % group != 0)
        return op_fail(c, ERR_DATA, "input channels, weights and group do not fit each other");
    Window win;
    TRY(window_init(&win, c->graph, c->node, &x->shape, &w->shape, c->err));
    int64_t batch = x->shape.dims[0], channels = x->shape.dims[1], filters = w->shape.dims[0], per_group = channels / group;
    if (!ending_init(c, &f, &ending)) return op_bad_type(c, ending.type);
    for (int i = f.linear ? 4 : 3; i < (f.linear ? 6 : 4); i++) TRY(check_length(c, i, filters));
    if (bias != NULL && tensor_count(bias) != filters) return op_fail(c, ERR_DATA, "the bias has %lld entries",
                                                                      (long long)tensor_count(bias));
    Shape shape = window_shape(&win, batch, filters);
    TRY(opcall_output(c, 0, ending.type, &shape));
    int64_t in_plane = win.in[0] * win.in[1] * win.in[2], out_plane = win.out[0] * win.out[1] * win.out[2];
    int64_t taps = window_kernel_count(&win);
    int64_t x_zero = zero_at(operand(c, f.x_zero), 0);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < batch; n++)
        for (int64_t k = 0; k < filters; k++) {
            int64_t w_zero = zero_at(operand(c, f.weight_zero), k), from = k / (filters / group) * per_group;
            for (int64_t o = 0; o < out_plane; o++) {
                int64_t at[3] = { o / (win.out[1] * win.out[2]), o / win.out[2] % win.out[1], o % win.out[2] };
                int64_t sum = window_sum(&win, x, (n * channels + from) * in_plane, w, k * per_group * taps, per_group, x_zero, w_zero, at);
                if (bias != NULL) sum += tensor_get_int(bias, k);
                ending_set(&ending, &c->out[0], (n * filters + k) * out_plane + o, sum, 0, k);
            }
        }
    return OK;
}

Status qlinear_conv_forward(OpCall *c)
{
    return conv_run(c);
}

Status conv_integer_forward(OpCall *c)
{
    return conv_run(c);
}

static Status matmul_run(OpCall *c)
{
    IntegerForm f = form_of(c->node);
    const Tensor *a = c->in[0], *b = c->in[f.weight];
    Shape shape;
    MatMulDims d;
    Ending ending;
    TRY(matmul_shape(c->graph, c->node, &a->shape, &b->shape, &shape, &d, c->err));
    if (!ending_init(c, &f, &ending)) return op_bad_type(c, ending.type);
    for (int i = 1; i < (f.linear ? 6 : 4); i++) {
        if (i == f.weight || (!f.linear && i == 1)) continue;
        TRY(check_length(c, i, i < f.weight || i == f.x_zero ? d.m : d.n));
    }
    const Tensor *bias = f.linear ? operand(c, 8) : NULL; /* of groups */
    if (bias != NULL && tensor_count(bias) != d.n) return op_fail(c, ERR_DATA, "the bias has %lld entries", (long long)tensor_count(bias));
    TRY(opcall_output(c, 0, ending.type, &shape));
    int64_t batches = matmul_batches(&d);
    for (int64_t i = 0; i < batches; i++) {
        int64_t ia, ib;
        matmul_batch(&d, i, &ia, &ib);
        for (int64_t r = 0; r < d.m; r++)
            for (int64_t s = 0; s < d.n; s++) {
                int64_t sum = 0, a_zero = zero_at(operand(c, f.x_zero), r), b_zero = zero_at(operand(c, f.weight_zero), s);
                for (int64_t k = 0; k < d.k; k++)
                    sum += (tensor_get_int(a, (ia * d.m + r) * d.k + k) - a_zero) * (tensor_get_int(b, (ib * d.k + k) * d.n + s) - b_zero);
                if (bias != NULL) sum += tensor_get_int(bias, s);
                ending_set(&ending, &c->out[0], (i * d.m + r) * d.n + s, sum, r, s);
            }
    }
    return OK;
}

Status qlinear_matmul_forward(OpCall *c)
{
    return matmul_run(c);
}

Status matmul_integer_forward(OpCall *c)
{
    return matmul_run(c);
}

void integer_conv_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0, weights = 0;
    int w = form_of(c->node).weight;
    if (shape_count(&c->out[0].shape, &outputs) && shape_count(&c->in[w].shape, &weights) && c->in[w].shape.dims[0] > 0)
        out->macs = outputs * (weights / c->in[w].shape.dims[0]);
}

void integer_matmul_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    const Shape *a = &c->in[0].shape;
    if (shape_count(&c->out[0].shape, &outputs) && a->rank > 0) out->macs = outputs * a->dims[a->rank - 1];
}
