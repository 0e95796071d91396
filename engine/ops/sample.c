/* Reading an image between its pixels: GridSample, AffineGrid, DeformConv, RoiAlign, MaxRoiPool. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>

#define SAMPLE_DIMS 3

/* --- GridSample: the grid holds positions in [-1, 1], the last axis of the image first. */

typedef enum Tap { TAP_NEAREST = 1, TAP_LINEAR = 2, TAP_CUBIC = 4 } Tap;
typedef enum Edge { EDGE_ZEROS, EDGE_BORDER, EDGE_REFLECT } Edge;

typedef struct Sampler {
    Tap taps;
    Edge edge;
    bool corners;
    int dims;
    int64_t size[SAMPLE_DIMS];
} Sampler;

static double reflect(double v, double low, double high)
{
    double range = high - low;
    if (!(range > 0)) return low;
    if (v >= low && v <= high) return v;
    double apart = v < low ? low - v : v - high, times = floor(apart / range), rest = apart - times * range;
    bool even = fmod(times, 2) == 0;
    return (v < low) == even ? low + rest : high - rest;
}

/* The pixel that index i stands for; -1: none, a zero. */
static int64_t pixel_at(const Sampler *s, int d, int64_t i)
{
    int64_t n = s->size[d];
    if (i >= 0 && i < n) return i;
    if (s->edge == EDGE_ZEROS) return -1;
    if (s->edge == EDGE_BORDER) return i < 0 ? 0 : n - 1;
    double low = s->corners ? 0 : -0.5, high = s->corners ? (double)n - 1 : (double)n - 0.5;
    int64_t at = (int64_t)reflect((double)i, low, high);
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

/* Weights of a cubic through four pixels, t from the second (Keys 1981, a = -0.75). */
static void cubic_weights(double t, double *w)
{
    const double a = -0.75;
    w[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    w[3] = ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a;
}

/* Pixels and their weights along axis d for position v in pixels. */
static void taps_of(const Sampler *s, int d, double v, int64_t *at, double *w)
{
    int64_t n = s->size[d];
    double low = s->corners ? 0 : -0.5, high = s->corners ? (double)n - 1 : (double)n - 0.5;
    if (!(fabs(v) < 1e9)) v = v > 0 ? 1e9 : -1e9;
    if (s->taps == TAP_NEAREST) v = rint(v);
    if (v < low || v > high) {
        if (s->edge == EDGE_BORDER) v = v < 0 ? 0 : v > (double)n - 1 ? (double)n - 1 : v;
        if (s->edge == EDGE_REFLECT) v = reflect(v, low, high);
    }
    int64_t first = (int64_t)(s->taps == TAP_NEAREST ? v : floor(v));
    double t = v - (double)first;
    if (s->taps == TAP_CUBIC) cubic_weights(t, w);
    else w[0] = s->taps == TAP_LINEAR ? 1 - t : 1, w[1] = t;
    for (int k = 0; k < (int)s->taps; k++) at[k] = pixel_at(s, d, first + k - (s->taps == TAP_CUBIC));
}

/* The image of one channel at a position given along each axis. */
static double sample(const Sampler *s, const double *image, const double *position)
{
    int64_t at[SAMPLE_DIMS][4] = { { 0 } };
    double w[SAMPLE_DIMS][4] = { { 1 }, { 1 }, { 1 } }, sum = 0;
    int count[SAMPLE_DIMS] = { 1, 1, 1 };
    for (int d = 0; d < s->dims; d++) {
        taps_of(s, d, position[d], at[d], w[d]);
        count[d] = (int)s->taps;
    }
    int64_t one = s->dims > 1 ? s->size[1] : 1, two = s->dims > 2 ? s->size[2] : 1;
    for (int i = 0; i < count[0]; i++)
        for (int j = 0; j < count[1]; j++)
            for (int k = 0; k < count[2]; k++) {
                if (at[0][i] < 0 || at[1][j] < 0 || at[2][k] < 0) continue;
                sum += w[0][i] * w[1][j] * w[2][k] * image[(at[0][i] * one + at[1][j]) * two + at[2][k]];
            }
    return sum;
}

static Status grid_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *grid = &c->in[1].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0 || grid->rank < 0) return OK;
    if (x->rank != grid->rank || x->rank < 3) return op_fail(c, ERR_DATA, "an input of rank %d and a grid of rank %d", x->rank, grid->rank);
    c->out[0].shape = *x;
    for (int d = 2; d < x->rank; d++) c->out[0].shape.dims[d] = grid->dims[d - 1];
    return OK;
}

static Status sampler_of(const OpCall *c, Sampler *s)
{
    const Shape *x = &c->in[0]->shape, *grid = &c->in[1]->shape;
    Str mode = node_string(c->node, "mode", c->opset < 20 ? "bilinear" : "linear"), edge = node_string(c->node, "padding_mode", "zeros");
    bool cubic = str_is(mode, "cubic") || str_is(mode, "bicubic"), linear = str_is(mode, "linear") || str_is(mode, "bilinear");
    if (!cubic && !linear && !str_is(mode, "nearest")) return op_fail(c, ERR_DATA, "mode '%.*s'", STR_ARG(mode));
    *s = (Sampler){ .taps = cubic ? TAP_CUBIC : linear ? TAP_LINEAR : TAP_NEAREST, .dims = x->rank - 2,
                    .edge = str_is(edge, "zeros") ? EDGE_ZEROS : str_is(edge, "border") ? EDGE_BORDER : EDGE_REFLECT,
                    .corners = node_int(c->node, "align_corners", 0) != 0 };
    if (x->rank < 3 || s->dims > SAMPLE_DIMS) return op_fail(c, ERR_UNSUPPORTED, "images of %d axes", s->dims);
    if (!dtype_is_float(c->in[1]->type)) return op_bad_type(c, c->in[1]->type);
    bool fits = grid->rank == x->rank && grid->dims[0] == x->dims[0] && grid->dims[x->rank - 1] == s->dims;
    for (int d = 0; d < s->dims; d++) {
        s->size[d] = x->dims[d + 2];
        fits = fits && s->size[d] > 0;
    }
    return fits ? OK : op_fail(c, ERR_DATA, "its grid does not fit the input");
}

static Status grid_forward(OpCall *c)
{
    Sampler s = { .dims = 0 };
    TRY(opcall_prepare(c));
    TRY(sampler_of(c, &s));
    const Shape *x = &c->in[0]->shape, y = c->out[0].shape;
    int64_t pixels = shape_span(x, 2, x->rank), points = shape_span(&y, 2, y.rank);
    double *image = NULL, *grid = NULL, *out = doubles_zero(tensor_count(&c->out[0])), position[SAMPLE_DIMS];
    bool narrow = c->in[1]->type == DT_FLOAT;
    Status status = out != NULL ? doubles_input(c, 0, &image) : err_no_memory(c->err, "samples");
    if (status == OK) status = doubles_input(c, 1, &grid);
    for (int64_t p = 0; status == OK && p < x->dims[0] * points; p++) {
        for (int d = 0; d < s.dims; d++) {
            double g = grid[p * s.dims + s.dims - 1 - d], size = (double)s.size[d];
            double v = s.corners ? (g + 1) / 2 * (size - 1) : ((g + 1) * size - 1) / 2;
            if (narrow) { /* where the halves fall decides the nearest pixel: float32 like the grid */
                float f = (float)g + 1.0F;
                v = s.corners ? f / 2.0F * (float)(size - 1) : (f * (float)size - 1.0F) / 2.0F;
            }
            position[d] = v;
        }
        int64_t n = p / points;
        for (int64_t k = 0; k < x->dims[1]; k++)
            out[(n * x->dims[1] + k) * points + p % points] = sample(&s, image + (n * x->dims[1] + k) * pixels, position);
    }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &y, out);
    free(image);
    free(grid);
    free(out);
    return status;
}

/* --- AffineGrid: the grid that theta [N,2,3] or [N,3,4] makes of an image of the given size */

static Status affine_infer(InferCall *c)
{
    const Ints *size = &c->ints[1];
    c->out[0].type = c->in[0].type;
    if (size->count != 4 && size->count != 5) return OK;
    Shape s = { .rank = size->count };
    s.dims[0] = size->at[0];
    for (int d = 2; d < size->count; d++) s.dims[d - 1] = size->at[d];
    s.dims[size->count - 1] = size->count - 2;
    for (int d = 0; d < size->count; d++) {
        if (!size->symbol[d] && size->at[d] < 0) return op_fail(c, ERR_DATA, "a size of %lld", (long long)size->at[d]);
    }
    c->out[0].shape = s;
    return OK;
}

static Status affine_forward(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Shape *y = &c->out[0].shape, *t = &c->in[0]->shape;
    int dims = c->out[0].data != NULL ? y->rank - 2 : 0;
    if (dims < 2 || t->rank != 3 || t->dims[0] != y->dims[0] || t->dims[1] != dims || t->dims[2] != dims + 1)
        return op_fail(c, ERR_DATA, "theta is not [N,2,3] or [N,3,4], or the size has not 4 or 5 entries");
    bool corners = node_int(c->node, "align_corners", 0) != 0;
    int64_t total = tensor_count(&c->out[0]) / dims, each = shape_span(y, 1, dims + 1);
    for (int64_t p = 0; p < total; p++) {
        double at[SAMPLE_DIMS + 1] = { 1, 1, 1, 1 };
        int64_t rest = p % each;
        for (int d = dims - 1; d >= 0; d--) {
            double n = (double)y->dims[d + 1], i = (double)(rest % y->dims[d + 1]);
            rest /= y->dims[d + 1];
            at[dims - 1 - d] = corners ? (n > 1 ? 2 * i / (n - 1) - 1 : -1) : (2 * i + 1) / n - 1;
        }
        at[dims] = 1;
        for (int r = 0; r < dims; r++) {
            double sum = 0;
            for (int k = 0; k <= dims; k++) sum += tensor_get(c->in[0], ((p / each) * dims + r) * (dims + 1) + k) * at[k];
            tensor_set(&c->out[0], p * dims + r, sum);
        }
    }
    return OK;
}

/* --- RoiAlign: mean or maximum of bilinear samples in each bin of each region; MaxRoiPool: maximum of whole pixels. */

static Status roi_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *rois = &c->in[1].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank != 4 || rois->rank != 2) return OK;
    int64_t height = node_int(c->node, "output_height", 1), width = node_int(c->node, "output_width", 1), count = 0;
    const int64_t *pooled = node_ints(c->node, "pooled_shape", &count);
    if (count == 2) height = pooled[0], width = pooled[1];
    if (height < 1 || width < 1) return op_fail(c, ERR_DATA, "an output of %lld x %lld", (long long)height, (long long)width);
    c->out[0].shape = shape_of(4, (int64_t[]){ rois->dims[0], x->dims[1], height, width });
    return OK;
}

/* Corners and weights of a bilinear sample; false outside the image. */
static bool bilinear(double y, double x, int64_t height, int64_t width, int64_t at[4], double w[4])
{
    if (!(y >= -1) || !(y <= (double)height) || !(x >= -1) || !(x <= (double)width)) return false;
    y = y > 0 ? y : 0;
    x = x > 0 ? x : 0;
    int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1 = y0 + 1, x1 = x0 + 1;
    if (y0 >= height - 1) y0 = y1 = height - 1, y = (double)y0;
    if (x0 >= width - 1) x0 = x1 = width - 1, x = (double)x0;
    double v = y - (double)y0, u = x - (double)x0;
    at[0] = y0 * width + x0, at[1] = y0 * width + x1, at[2] = y1 * width + x0, at[3] = y1 * width + x1;
    w[0] = (1 - v) * (1 - u), w[1] = (1 - v) * u, w[2] = v * (1 - u), w[3] = v * u;
    return true;
}

typedef struct Region {
    double y, x, bin_height, bin_width;
    int64_t rows, columns; /* samples in a bin */
    bool most;
} Region;

static double region_bin(const Region *r, const double *image, int64_t height, int64_t width, int64_t i, int64_t j)
{
    double sum = 0, most = -INFINITY;
    for (int64_t a = 0; a < r->rows; a++)
        for (int64_t b = 0; b < r->columns; b++) {
            double y = r->y + ((double)i + ((double)a + 0.5) / (double)r->rows) * r->bin_height;
            double x = r->x + ((double)j + ((double)b + 0.5) / (double)r->columns) * r->bin_width, w[4] = { 0 };
            int64_t at[4] = { 0 };
            bilinear(y, x, height, width, at, w);
            for (int k = 0; k < 4; k++) {
                double v = w[k] * image[at[k]];
                sum += v;
                most = fmax(most, v); /* the specification's tests take the largest weighted corner */
            }
        }
    int64_t count = r->rows * r->columns;
    if (r->most) return count > 0 ? most : 0;
    return count > 0 ? sum / (double)count : 0;
}

#define ROI_SAMPLES 1e8 /* of one region in one channel: more than any picture has pixels */

static Status region_of(const OpCall *c, const double *roi, int64_t height, int64_t width, Region *r)
{
    double scale = node_float(c->node, "spatial_scale", 1);
    Str mode = node_string(c->node, "coordinate_transformation_mode", c->opset < 16 ? "output_half_pixel" : "half_pixel");
    bool half = c->opset >= 16 && str_is(mode, "half_pixel");
    double shift = half ? 0.5 : 0, tall = (roi[3] - roi[1]) * scale, wide = (roi[2] - roi[0]) * scale;
    if (!half) tall = fmax(tall, 1), wide = fmax(wide, 1);
    int64_t ratio = node_int(c->node, "sampling_ratio", 0);
    Str pool = node_string(c->node, "mode", "avg");
    *r = (Region){ .y = roi[1] * scale - shift, .x = roi[0] * scale - shift, .bin_height = tall / (double)height,
                   .bin_width = wide / (double)width, .rows = ratio, .columns = ratio, .most = str_is(pool, "max") };
    double rows = ratio > 0 ? (double)ratio : ceil(r->bin_height), columns = ratio > 0 ? (double)ratio : ceil(r->bin_width);
    double samples = fmax(rows, 1) * fmax(columns, 1) * (double)height * (double)width;
    if (!(samples <= ROI_SAMPLES))
        return op_fail(c, ERR_DATA, "a region of %g x %g pixels in %g samples, at most %g", tall, wide, samples, ROI_SAMPLES);
    r->rows = rows > 0 ? (int64_t)rows : 0;
    r->columns = columns > 0 ? (int64_t)columns : 0;
    return OK;
}

static void roi_cost(const CostCall *c, OpCost *out)
{
    int64_t count, ratio = node_int(c->node, "sampling_ratio", 0);
    ratio = ratio < 1 ? 1 : ratio < 10000 ? ratio : 10000;
    if (shape_count(&c->out[0].shape, &count) && !mul_i64(count, 4 * ratio * ratio, &out->elementwise)) out->elementwise = INT64_MAX;
}

static Status roi_forward(OpCall *c)
{
    const Shape *x = &c->in[0]->shape, *rois = &c->in[1]->shape;
    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || tensor_count(c->in[2]) != rois->dims[0] || x->dims[2] < 1 ||
        x->dims[3] < 1)
        return op_fail(c, ERR_DATA, "its regions are not [count,4] with one batch index each");
    TRY(opcall_prepare(c));
    Shape s = c->out[0].shape;
    double *image = NULL, *roi = NULL, *out = doubles_zero(tensor_count(&c->out[0]));
    Status status = out != NULL ? doubles_input(c, 0, &image) : err_no_memory(c->err, "regions");
    if (status == OK) status = doubles_input(c, 1, &roi);
    int64_t bins = s.dims[2] * s.dims[3], pixels = x->dims[2] * x->dims[3];
    for (int64_t n = 0; status == OK && n < s.dims[0]; n++) {
        Region r;
        int64_t batch = tensor_get_int(c->in[2], n);
        if (batch < 0 || batch >= x->dims[0]) status = op_fail(c, ERR_DATA, "image %lld of %lld", (long long)batch, (long long)x->dims[0]);
        if (status == OK) status = region_of(c, roi + 4 * n, s.dims[2], s.dims[3], &r);
        for (int64_t p = 0; status == OK && p < s.dims[1] * bins; p++)
            out[n * s.dims[1] * bins + p] = region_bin(&r, image + (batch * x->dims[1] + p / bins) * pixels, x->dims[2], x->dims[3],
                                                       p % bins / s.dims[3], p % s.dims[3]);
    }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &s, out);
    free(image);
    free(roi);
    free(out);
    return status;
}

/* Bounds of bin i of `bins` over [first, first + size) cut to the image. */
static void pool_bin(int64_t first, double size, int64_t i, int64_t limit, int64_t *from, int64_t *to)
{
    int64_t low = (int64_t)floor((double)i * size) + first, high = (int64_t)ceil((double)(i + 1) * size) + first;
    *from = low < 0 ? 0 : low > limit ? limit : low;
    *to = high < 0 ? 0 : high > limit ? limit : high;
}

static Status roi_pool_forward(OpCall *c)
{
    const Shape *x = &c->in[0]->shape, *rois = &c->in[1]->shape;
    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 5) return op_fail(c, ERR_DATA, "its regions are not [count,5]");
    TRY(opcall_prepare(c));
    const Shape *s = &c->out[0].shape;
    double scale = node_float(c->node, "spatial_scale", 1);
    int64_t at = 0;
    for (int64_t n = 0; n < s->dims[0]; n++) {
        double roi[5];
        for (int k = 0; k < 5; k++) {
            double v = tensor_get(c->in[1], n * 5 + k);
            roi[k] = k == 0 ? v : round(v * scale);
            if (!(fabs(roi[k]) < 1e9)) return op_fail(c, ERR_DATA, "region %lld is not finite", (long long)n);
        }
        if (roi[0] < 0 || roi[0] >= (double)x->dims[0]) return op_fail(c, ERR_DATA, "image %g of %lld", roi[0], (long long)x->dims[0]);
        double tall = fmax(roi[4] - roi[2] + 1, 1) / (double)s->dims[2], wide = fmax(roi[3] - roi[1] + 1, 1) / (double)s->dims[3];
        for (int64_t p = 0; p < s->dims[1] * s->dims[2] * s->dims[3]; p++, at++) {
            int64_t top, bottom, left, right, plane = ((int64_t)roi[0] * x->dims[1] + p / (s->dims[2] * s->dims[3])) * x->dims[2];
            pool_bin((int64_t)roi[2], tall, p / s->dims[3] % s->dims[2], x->dims[2], &top, &bottom);
            pool_bin((int64_t)roi[1], wide, p % s->dims[3], x->dims[3], &left, &right);
            double most = top < bottom && left < right ? -INFINITY : 0;
            for (int64_t i = top; i < bottom; i++)
                for (int64_t j = left; j < right; j++) most = fmax(most, tensor_get(c->in[0], (plane + i) * x->dims[3] + j));
            tensor_set(&c->out[0], at, most);
        }
    }
    return OK;
}

/* --- DeformConv: a convolution whose taps are moved by offsets and weighted by a mask; X [N,C,H,W], W [K,C/G,R,S],
 * offset [N,O*R*S*2,h,w], mask [N,O*R*S,h,w]; a tap is read between pixels, zeroes outside. */

static Status deform_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *w = &c->in[1].shape, *offset = &c->in[2].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank != 4 || w->rank != 4 || offset->rank != 4) return OK;
    c->out[0].shape = shape_of(4, (int64_t[]){ x->dims[0], w->dims[0], offset->dims[2], offset->dims[3] });
    return OK;
}

typedef struct Deform {
    Sampler sampler;
    int64_t channels, filters, groups, offset_groups, kernel[2], out[2], stride[2], dilation[2], begin[2];
    double *in[5];
} Deform;

static void pair_of(const Node *n, const char *name, int64_t fallback, int64_t *out)
{
    int64_t count;
    const int64_t *list = node_ints(n, name, &count);
    for (int d = 0; d < 2; d++) out[d] = count > d ? list[d] : fallback;
}

static Status deform_of(const OpCall *c, Deform *f)
{
    const Shape *x = &c->in[0]->shape, *w = &c->in[1]->shape, *offset = &c->in[2]->shape;
    if (x->rank != 4 || w->rank != 4 || offset->rank != 4) return op_fail(c, ERR_UNSUPPORTED, "only images of two axes are supported");
    *f = (Deform){ .sampler = { .taps = TAP_LINEAR, .edge = EDGE_ZEROS, .corners = true, .dims = 2, .size = { x->dims[2], x->dims[3] } },
                   .channels = x->dims[1], .filters = w->dims[0], .groups = node_int(c->node, "group", 1),
                   .offset_groups = node_int(c->node, "offset_group", 1), .kernel = { w->dims[2], w->dims[3] },
                   .out = { offset->dims[2], offset->dims[3] } };
    pair_of(c->node, "strides", 1, f->stride);
    pair_of(c->node, "dilations", 1, f->dilation);
    pair_of(c->node, "pads", 0, f->begin);
    int64_t taps = f->kernel[0] * f->kernel[1];
    bool fits = f->groups > 0 && f->offset_groups > 0 && f->channels == w->dims[1] * f->groups && f->filters % f->groups == 0 &&
                f->channels % f->offset_groups == 0 && offset->dims[0] == x->dims[0] && offset->dims[1] == f->offset_groups * taps * 2 &&
                (!call_has(c, 3) || tensor_count(c->in[3]) == f->filters) &&
                (!call_has(c, 4) || tensor_count(c->in[4]) == x->dims[0] * f->offset_groups * taps * f->out[0] * f->out[1]);
    return fits ? OK : op_fail(c, ERR_DATA, "its weights, offsets, bias or mask do not fit the input");
}

/* What channel `channel` of image n reads at tap (r, s) of output pixel p. */
static double deform_tap(const Deform *f, int64_t n, int64_t channel, int64_t tap, int64_t p)
{
    int64_t taps = f->kernel[0] * f->kernel[1], pixels = f->out[0] * f->out[1];
    int64_t group = n * f->offset_groups + channel / (f->channels / f->offset_groups);
    int64_t at[2] = { p / f->out[1], p % f->out[1] }, k[2] = { tap / f->kernel[1], tap % f->kernel[1] };
    double position[SAMPLE_DIMS];
    for (int d = 0; d < 2; d++)
        position[d] = (double)(at[d] * f->stride[d] - f->begin[d] + k[d] * f->dilation[d]) +
                      f->in[2][((group * taps + tap) * 2 + d) * pixels + p];
    double v = sample(&f->sampler, f->in[0] + (n * f->channels + channel) * f->sampler.size[0] * f->sampler.size[1], position);
    return f->in[4] != NULL ? v * f->in[4][(group * taps + tap) * pixels + p] : v;
}

static Status deform_forward(OpCall *c)
{
    Deform f = { .channels = 0 };
    TRY(deform_of(c, &f));
    TRY(opcall_prepare(c));
    Shape y = c->out[0].shape;
    int64_t pixels = f.out[0] * f.out[1], taps = f.kernel[0] * f.kernel[1], share = f.channels / f.groups, filters = f.filters / f.groups;
    double *out = doubles_zero(tensor_count(&c->out[0]));
    Status status = out != NULL ? OK : err_no_memory(c->err, "convolution");
    for (int i = 0; status == OK && i < 5; i++) status = doubles_input(c, i, &f.in[i]);
    for (int64_t i = 0, rows = y.dims[0] * f.channels * taps * pixels; status == OK && i < rows; i++) {
        int64_t p = i % pixels, tap = i / pixels % taps, channel = i / (pixels * taps) % f.channels, n = i / (pixels * taps * f.channels);
        double v = deform_tap(&f, n, channel, tap, p);
        for (int64_t k = channel / share * filters; k < (channel / share + 1) * filters; k++)
            out[(n * f.filters + k) * pixels + p] += v * f.in[1][(k * share + channel % share) * taps + tap];
    }
    for (int64_t i = 0, n = tensor_count(&c->out[0]); status == OK && f.in[3] != NULL && i < n; i++)
        out[i] += f.in[3][i / pixels % f.filters];
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &y, out);
    for (int i = 0; i < 5; i++) free(f.in[i]);
    free(out);
    return status;
}

static void deform_cost(const CostCall *c, OpCost *out)
{
    int64_t count;
    const Shape *w = &c->in[1].shape;
    if (!shape_count(&c->out[0].shape, &count) || !shape_known(w) || w->rank != 4) return;
    out->macs = count * w->dims[1] * w->dims[2] * w->dims[3];
}

const Op ops_sample[] = {
    OP_ENTRY("GridSample", 16, 0, 2, 2, 1, 1, 0, grid_infer, grid_forward, NULL),
    OP_ENTRY("AffineGrid", 20, 0, 2, 2, 1, 1, 0, affine_infer, affine_forward, NULL),
    OP_ENTRY("DeformConv", 19, 0, 3, 5, 1, 1, 0, deform_infer, deform_forward, deform_cost),
    OP_ENTRY("RoiAlign", 10, 0, 3, 3, 1, 1, 0, roi_infer, roi_forward, roi_cost),
    OP_ENTRY("MaxRoiPool", 1, 0, 2, 2, 1, 1, 0, roi_infer, roi_pool_forward, NULL),
    OP_END,
};
