/* DFT and STFT with sums in float64, the windows, and MelWeightMatrix. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>

/* --- DFT: X[k] = sum over n < N of x[n] exp(-+ 2 pi i k n / N); x is cut or filled with zeroes to N. */

/* `stride` elements between neighbours; im NULL: a real signal. `cycle` holds exp(-2 pi i m / N) for m < N; inverse turns it round. */
typedef struct Line {
    const double *re, *im;
    int64_t stride, have, length;
    const double *cycle;
    bool inverse;
} Line;

static void line_at(const Line *l, int64_t k, double *re, double *im)
{
    int64_t have = l->have < l->length ? l->have : l->length, m = 0;
    *re = *im = 0;
    for (int64_t n = 0; n < have; n++) {
        double x = l->re[n * l->stride], y = l->im != NULL ? l->im[n * l->stride] : 0;
        double co = l->cycle[2 * m], si = l->inverse ? -l->cycle[2 * m + 1] : l->cycle[2 * m + 1];
        *re += x * co - y * si;
        *im += x * si + y * co;
        m = (m + k) % l->length;
    }
    if (l->inverse) *re /= (double)l->length, *im /= (double)l->length;
}

/* The real signal of which `have` frequencies of one side are given; the imaginary parts of the first and the middle one do not count. */
static double line_real(const Line *l, int64_t n)
{
    double sum = 0;
    int64_t half = l->length / 2, have = l->have < half + 1 ? l->have : half + 1;
    for (int64_t k = 0; k < have; k++) {
        int64_t m = (int64_t)((unsigned __int128)k * (unsigned __int128)n % (unsigned __int128)l->length);
        double twice = k == 0 || 2 * k == l->length ? 1 : 2;
        double y = twice == 1 || l->im == NULL ? 0 : l->im[k * l->stride];
        sum += twice * (l->re[k * l->stride] * l->cycle[2 * m] + y * l->cycle[2 * m + 1]);
    }
    return sum / (double)l->length;
}

static double *cycle_new(int64_t length)
{
    double *cycle = length < INT64_MAX / 4 ? doubles_zero(2 * length) : NULL;
    for (int64_t m = 0; cycle != NULL && m < length; m++) {
        double angle = 2 * M_PI * (double)m / (double)length;
        cycle[2 * m] = cos(angle);
        cycle[2 * m + 1] = -sin(angle);
    }
    return cycle;
}

typedef struct Dft {
    int axis;
    int64_t length; /* -1: not known */
    int64_t count;  /* entries of the output along the axis; -1 */
    bool inverse, onesided;
} Dft;

static bool one_int(const Tensor *t, int64_t *out)
{
    if (t == NULL || tensor_count(t) != 1 || !dtype_is_integer(t->type)) return false;
    *out = tensor_get_int(t, 0);
    return true;
}

/* ERR_DATA: axis or length out of range. `known` becomes false when the axis depends on data that is not there. */
static Status dft_of(const Graph *g, const Node *n, int opset, int inputs, const Shape *x, const Tensor *const *in, Dft *d,
                     bool *known, Err *err)
{
    int64_t axis = opset < 20 ? node_int(n, "axis", 1) : -2, given;
    *d = (Dft){ .inverse = node_int(n, "inverse", 0) != 0, .onesided = node_int(n, "onesided", 0) != 0, .length = -1, .count = -1 };
    bool has_axis = inputs > 2 && node_input(n, 2) != 0, has_length = inputs > 1 && node_input(n, 1) != 0;
    *known = !has_axis || one_int(in[2], &axis);
    if (!*known) return OK;
    if (x->rank < 2 || !axis_fix(axis, x->rank, &d->axis) || d->axis == x->rank - 1)
        return op_error(g, n, err, ERR_DATA, "axis %lld is out of range for rank %d", (long long)axis, x->rank);
    int64_t have = x->dims[d->axis];
    if (has_length && one_int(in[1], &given)) d->length = given;
    else if (!has_length && have >= 0) d->length = d->inverse && d->onesided ? 2 * (have - 1) : have;
    else return OK;
    if (d->length < 1) return op_error(g, n, err, ERR_DATA, "a transform of length %lld", (long long)d->length);
    d->count = d->onesided && !d->inverse ? d->length / 2 + 1 : d->length;
    return OK;
}

static Status dft_infer(InferCall *c)
{
    Dft d;
    bool known;
    c->out[0].type = c->in[0].type;
    if (c->in[0].shape.rank < 0) return OK;
    TRY(dft_of(c->graph, c->node, c->opset, c->input_count, &c->in[0].shape, c->constant, &d, &known, c->err));
    if (!known) return OK;
    c->out[0].shape = c->in[0].shape;
    c->out[0].shape.dims[d.axis] = d.count >= 0 ? d.count : DIM_UNKNOWN;
    c->out[0].shape.dims[c->in[0].shape.rank - 1] = d.inverse && d.onesided ? 1 : 2;
    return OK;
}

static Status dft_forward(OpCall *c)
{
    Dft d;
    bool known;
    const Shape *s = &c->in[0]->shape;
    TRY(dft_of(c->graph, c->node, c->opset, c->input_count, s, c->in, &d, &known, c->err));
    if (!dtype_is_float(c->in[0]->type)) return op_bad_type(c, c->in[0]->type);
    int64_t parts = s->dims[s->rank - 1];
    if (!known || d.count < 0 || (parts != 1 && parts != 2))
        return op_fail(c, ERR_DATA, "its axis, length or last dimension is not usable");
    Shape out = *s;
    out.dims[d.axis] = d.count;
    int64_t give = out.dims[s->rank - 1] = d.inverse && d.onesided ? 1 : 2, total;
    if (!shape_count(&out, &total)) return op_fail(c, ERR_MEMORY, "a transform of length %lld is too large", (long long)d.length);
    int64_t inner = shape_span(s, d.axis + 1, s->rank - 1), outer = shape_span(s, 0, d.axis), have = s->dims[d.axis];
    double *x = NULL, *y = doubles_zero(total), *cycle = cycle_new(d.length);
    Status status = y != NULL && cycle != NULL ? doubles_input(c, 0, &x) : err_no_memory(c->err, "DFT");
    for (int64_t p = 0; status == OK && p < outer * inner; p++) {
        const double *from = x + (p / inner * have * inner + p % inner) * parts;
        Line line = { from, parts == 2 ? from + 1 : NULL, inner * parts, have, d.length, cycle, d.inverse };
        for (int64_t k = 0; k < d.count; k++) {
            double *to = y + ((p / inner * d.count + k) * inner + p % inner) * give, im;
            if (give == 1) to[0] = line_real(&line, k);
            else line_at(&line, k, to, &im), to[1] = im;
        }
    }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &out, y);
    free(x);
    free(y);
    free(cycle);
    return status;
}

/* --- STFT: the transform of each frame, multiplied by the window. [B,L,1 or 2] or [B,L] gives [B,frames,bins,2]. */

static Status stft_shape(const Graph *g, const Node *n, const Shape *x, const Tensor *const *in, const Shape *window, int inputs,
                         Shape *out, int64_t *frame, int64_t *hop, Err *err)
{
    *out = (Shape){ .rank = 4, .dims = { x->dims[0], DIM_UNKNOWN, DIM_UNKNOWN, 2 } };
    *frame = -1;
    bool has_frame = inputs > 3 && node_input(n, 3) != 0;
    if (!one_int(in[1], hop)) return OK;
    if (has_frame && !one_int(in[3], frame)) return OK;
    if (!has_frame && window != NULL && window->rank == 1) *frame = window->dims[0];
    if (!has_frame && window == NULL) *frame = x->dims[1];
    if (*frame < 0 || x->dims[1] < 0) return OK;
    if (*hop < 1 || *frame < 1 || *frame > x->dims[1])
        return op_error(g, n, err, ERR_DATA, "frames of %lld by steps of %lld in a signal of %lld", (long long)*frame, (long long)*hop,
                        (long long)x->dims[1]);
    out->dims[1] = 1 + (x->dims[1] - *frame) / *hop;
    out->dims[2] = node_int(n, "onesided", 1) != 0 ? *frame / 2 + 1 : *frame;
    return OK;
}

static Status stft_infer(InferCall *c)
{
    int64_t frame, hop;
    c->out[0].type = c->in[0].type;
    if (c->in[0].shape.rank != 3 && c->in[0].shape.rank != 2) return OK;
    const Shape *window = c->input_count > 2 && node_input(c->node, 2) != 0 ? &c->in[2].shape : NULL;
    return stft_shape(c->graph, c->node, &c->in[0].shape, c->constant, window, c->input_count, &c->out[0].shape, &frame, &hop, c->err);
}

static Status stft_forward(OpCall *c)
{
    const Shape *s = &c->in[0]->shape;
    int64_t frame, hop, total;
    Shape out;
    if ((s->rank != 3 && s->rank != 2) || !dtype_is_float(c->in[0]->type)) return op_fail(c, ERR_DATA, "its signal is not [B,L,1 or 2]");
    const Shape *window = call_has(c, 2) ? &c->in[2]->shape : NULL;
    TRY(stft_shape(c->graph, c->node, s, c->in, window, c->input_count, &out, &frame, &hop, c->err));
    int64_t parts = s->rank == 3 ? s->dims[2] : 1;
    if (!shape_count(&out, &total) || (parts != 1 && parts != 2) || (window != NULL && tensor_count(c->in[2]) != frame))
        return op_fail(c, ERR_DATA, "its frames or its window do not fit the signal");
    double *x = NULL, *w = NULL, *y = doubles_zero(total), *cycle = cycle_new(frame), *part = doubles_zero(2 * frame);
    Status status = y != NULL && cycle != NULL && part != NULL ? doubles_input(c, 0, &x) : err_no_memory(c->err, "STFT");
    if (status == OK) status = doubles_input(c, 2, &w);
    for (int64_t f = 0; status == OK && f < out.dims[0] * out.dims[1]; f++) {
        const double *from = x + (f / out.dims[1] * s->dims[1] + f % out.dims[1] * hop) * parts;
        for (int64_t n = 0; n < frame; n++) {
            part[2 * n] = from[n * parts] * (w != NULL ? w[n] : 1);
            part[2 * n + 1] = parts == 2 ? from[n * parts + 1] * (w != NULL ? w[n] : 1) : 0;
        }
        Line line = { part, part + 1, 2, frame, frame, cycle, false };
        for (int64_t k = 0; k < out.dims[2]; k++) {
            double *to = y + (f * out.dims[2] + k) * 2, im;
            line_at(&line, k, to, &im);
            to[1] = im;
        }
    }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &out, y);
    double *const owned[] = { x, w, y, cycle, part };
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
    return status;
}

/* --- windows: a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N); N is the size, or one less when not periodic */

static Status window_infer(InferCall *c)
{
    int64_t size;
    c->out[0] = (TypeInfo){ (DType)node_int(c->node, "output_datatype", DT_FLOAT), { .rank = 1, .dims = { DIM_UNKNOWN } } };
    if (one_int(c->constant[0], &size)) c->out[0].shape.dims[0] = size < 0 ? 0 : size;
    return OK;
}

static Status window_forward(OpCall *c)
{
    int64_t size;
    if (!one_int(c->in[0], &size) || size < 0) return op_fail(c, ERR_DATA, "its size is not a whole number from 0 on");
    bool hann = str_is(c->node->type, "HannWindow"), hamming = str_is(c->node->type, "HammingWindow");
    double a0 = hann ? 0.5 : hamming ? 25.0 / 46 : 0.42, a1 = hann ? 0.5 : hamming ? 21.0 / 46 : 0.5, a2 = hann || hamming ? 0 : 0.08;
    double n = (double)(node_int(c->node, "periodic", 1) != 0 ? size : size - 1);
    double *y = doubles_zero(size);
    if (y == NULL) return err_no_memory(c->err, "window");
    for (int64_t i = 0; i < size; i++) {
        double angle = n > 0 ? 2 * M_PI * (double)i / n : 0;
        y[i] = a0 - a1 * cos(angle) + a2 * cos(2 * angle);
    }
    Shape shape = shape_of(1, &size);
    Status status = doubles_output(c, 0, (DType)node_int(c->node, "output_datatype", DT_FLOAT), &shape, y);
    free(y);
    return status;
}

/* --- MelWeightMatrix: triangles between neighbouring points of the mel scale, [bins of the spectrogram, mel bins] */

static Status mel_infer(InferCall *c)
{
    int64_t bins, length;
    c->out[0] = (TypeInfo){ (DType)node_int(c->node, "output_datatype", DT_FLOAT), { .rank = 2, .dims = { DIM_UNKNOWN, DIM_UNKNOWN } } };
    if (one_int(c->constant[0], &bins)) c->out[0].shape.dims[1] = bins;
    if (one_int(c->constant[1], &length)) c->out[0].shape.dims[0] = length / 2 + 1;
    return OK;
}

static int64_t mel_point(double low, double high, int64_t k, int64_t bins, int64_t length, int64_t rate)
{
    double from = 2595 * log1p(low / 700) / M_LN10, to = 2595 * log1p(high / 700) / M_LN10;
    double hertz = 700 * expm1((from + (double)k * (to - from) / (double)(bins + 2)) / 2595 * M_LN10);
    return (int64_t)floor((double)(length + 1) * hertz / (double)rate);
}

static void mel_triangle(double *y, int64_t rows, int64_t columns, int64_t m, const int64_t *at)
{
    for (int64_t j = at[0]; j <= at[1]; j++) {
        if (j >= 0 && j < rows) y[j * columns + m] = at[1] == at[0] ? 1 : (double)(j - at[0]) / (double)(at[1] - at[0]);
    }
    for (int64_t j = at[1]; j < at[2]; j++) {
        if (j >= 0 && j < rows) y[j * columns + m] = (double)(at[2] - j) / (double)(at[2] - at[1]);
    }
}

static Status mel_forward(OpCall *c)
{
    int64_t bins, length, rate, total;
    bool fits = one_int(c->in[0], &bins) && one_int(c->in[1], &length) && one_int(c->in[2], &rate) && tensor_count(c->in[3]) == 1 &&
                tensor_count(c->in[4]) == 1;
    if (!fits || bins < 1 || length < 1 || rate < 1) return op_fail(c, ERR_DATA, "its sizes are not positive whole numbers");
    double low = tensor_get(c->in[3], 0), high = tensor_get(c->in[4], 0);
    if (!(low >= 0) || !(high >= low) || !(high <= (double)rate * 1e3)) return op_fail(c, ERR_DATA, "edges of %g and %g Hz", low, high);
    Shape shape = shape_of(2, (int64_t[]){ length / 2 + 1, bins });
    double *y = shape_count(&shape, &total) ? doubles_zero(total) : NULL;
    if (y == NULL) return err_no_memory(c->err, "mel weights");
    for (int64_t m = 0; m < bins; m++) {
        int64_t at[3];
        for (int k = 0; k < 3; k++) at[k] = mel_point(low, high, m + k, bins, length, rate);
        mel_triangle(y, shape.dims[0], bins, m, at);
    }
    Status status = doubles_output(c, 0, (DType)node_int(c->node, "output_datatype", DT_FLOAT), &shape, y);
    free(y);
    return status;
}

static void dft_cost(const CostCall *c, OpCost *out)
{
    int64_t count;
    if (shape_count(&c->out[0].shape, &count) && c->in[0].shape.rank > 1)
        out->elementwise = 4 * count * (c->in[0].shape.dims[1] > 0 ? c->in[0].shape.dims[1] : 1);
}

#define WINDOW(type) OP_ENTRY(type, 17, 0, 1, 1, 1, 1, 0, window_infer, window_forward, cost_transcendental)

const Op ops_signal[] = {
    OP_ENTRY("DFT", 17, 19, 1, 2, 1, 1, 0, dft_infer, dft_forward, dft_cost),
    OP_ENTRY("DFT", 20, 0, 1, 3, 1, 1, 0, dft_infer, dft_forward, dft_cost),
    OP_ENTRY("STFT", 17, 0, 2, 4, 1, 1, 0, stft_infer, stft_forward, dft_cost),
    WINDOW("HannWindow"),
    WINDOW("HammingWindow"),
    WINDOW("BlackmanWindow"),
    OP_ENTRY("MelWeightMatrix", 17, 0, 5, 5, 1, 1, 0, mel_infer, mel_forward, cost_transcendental),
    OP_END,
};
