/* Resize and Upsample: separable interpolation, one axis after the other. */
#include "engine/ops/common.h"

#include <math.h>
#include <stdlib.h>

typedef enum CoordMode { HALF_PIXEL, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, TF_CROP, TF_HALF_PIXEL_NN,
                         HALF_PIXEL_SYMMETRIC } CoordMode;
typedef enum Mode { NEAREST, LINEAR, CUBIC } Mode;
typedef enum NearestMode { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL } NearestMode;

static const char *const coord_names[] = { "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
                                           "tf_half_pixel_for_nn", "half_pixel_symmetric", NULL };
static const char *const mode_names[] = { "nearest", "linear", "cubic", NULL };
static const char *const nearest_names[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL };

/* ---- what is asked for ---- */

/* Where the inputs stand: Upsample has its scales as attributes (1, 7) or input 1 (9), Resize 10 as input 1, Resize 11 as 2. */
static int scales_input(const Node *n, int opset)
{
    if (str_is(n->type, "Upsample")) return opset >= 9 ? 1 : -1;
    return opset >= 11 ? 2 : 1;
}

typedef struct Target {
    Shape out;               /* dims DIM_UNKNOWN where not known */
    double scale[MAX_RANK];  /* 1 for axes that are not named */
    bool named[MAX_RANK];
    int axes[MAX_RANK], axis_count;
    bool known;
} Target;

/* The axes that scales, sizes and roi speak of: attribute `axes`, else all. */
static Status target_axes(const Graph *g, const Node *n, Err *err, int rank, Target *t)
{
    int64_t count;
    const int64_t *axes = node_ints(n, "axes", &count);
    if (axes != NULL) TRY(axes_mask(g, n, err, axes, count > MAX_RANK ? MAX_RANK : (int)count, rank, t->named));
    t->axis_count = axes != NULL ? (int)count : rank;
    for (int i = 0; i < t->axis_count; i++) {
        t->axes[i] = i;
        if (axes != NULL) axis_fix(axes[i], rank, &t->axes[i]);
        t->named[t->axes[i]] = true;
    }
    return OK;
}

static Status target_of_scales(const Graph *g, const Node *n, Err *err, const Shape *x, const double *scales, int64_t count, Target *t)
{
    if (count != t->axis_count) return op_error(g, n, err, ERR_DATA, "%lld scales for %d axes", (long long)count, t->axis_count);
    for (int i = 0; i < t->axis_count; i++) {
        int d = t->axes[i];
        if (!(scales[i] > 0) || scales[i] > 1e9) return op_error(g, n, err, ERR_DATA, "a scale of %g", scales[i]);
        t->scale[d] = scales[i];
        if (x->dims[d] >= 0) t->out.dims[d] = (int64_t)floorf((float)x->dims[d] * (float)scales[i]);
        else if (scales[i] != 1) t->out.dims[d] = DIM_UNKNOWN;
    }
    return OK;
}

static Status target_of_sizes(const Graph *g, const Node *n, Err *err, const Shape *x, const int64_t *sizes, int64_t count, Target *t)
{
    Str policy = node_string(n, "keep_aspect_ratio_policy", "stretch");
    bool smaller = str_is(policy, "not_larger"), larger = str_is(policy, "not_smaller");
    double common = 0;
    if (count != t->axis_count) return op_error(g, n, err, ERR_DATA, "%lld sizes for %d axes", (long long)count, t->axis_count);
    for (int i = 0; i < t->axis_count; i++) {
        int d = t->axes[i];
        if (sizes[i] < 0 || (sizes[i] > 0 && x->dims[d] == 0)) return op_error(g, n, err, ERR_DATA, "a size of %lld", (long long)sizes[i]);
        t->out.dims[d] = sizes[i];
        if (x->dims[d] <= 0) continue;
        t->scale[d] = (double)sizes[i] / (double)x->dims[d];
        if (i == 0 || (smaller && t->scale[d] < common) || (larger && t->scale[d] > common)) common = t->scale[d];
    }
    for (int i = 0; (smaller || larger) && i < t->axis_count; i++) {
        int d = t->axes[i];
        t->scale[d] = common;
        t->out.dims[d] = x->dims[d] >= 0 ? (int64_t)floor(common * (double)x->dims[d] + 0.5) : DIM_UNKNOWN;
    }
    return OK;
}

/* Upsample's attributes: two of an image up to opset 6, a list in 7 and 8. */
static Status scales_attribute(const InferCall *c, double *scales, int64_t *count)
{
    const Attr *a = node_attr(c->node, "scales");
    if (c->opset < 7) {
        const Attr *height = node_attr(c->node, "height_scale"), *width = node_attr(c->node, "width_scale");
        if (height == NULL || width == NULL) return op_fail(c, ERR_DATA, "its height_scale or width_scale is missing");
        scales[0] = scales[1] = 1;
        scales[2] = (double)height->f;
        scales[3] = (double)width->f;
        *count = 4;
        return OK;
    }
    if (a == NULL || a->type != ATTR_FLOATS || a->count > MAX_RANK) return op_fail(c, ERR_DATA, "its scales are missing");
    for (int64_t i = 0; i < a->count; i++) scales[i] = (double)a->floats[i];
    *count = a->count;
    return OK;
}

/* Output shape and scales as far as the inputs tell them. */
static Status find_target(const InferCall *c, Target *t)
{
    const Shape *x = &c->in[0].shape;
    int at = scales_input(c->node, c->opset);
    *t = (Target){ .out = *x };
    for (int d = 0; d < MAX_RANK; d++) t->scale[d] = 1;
    TRY(target_axes(c->graph, c->node, c->err, x->rank, t));
    double scales[MAX_RANK];
    int64_t sizes[MAX_RANK];
    int size_count = 0;
    if (at < 0) {
        int64_t count = 0;
        TRY(scales_attribute(c, scales, &count));
        t->known = true;
        return target_of_scales(c->graph, c->node, c->err, x, scales, count, t);
    }
    const Tensor *given = at < c->input_count ? c->constant[at] : NULL;
    if (given != NULL && tensor_count(given) > 0 && tensor_count(given) <= MAX_RANK) {
        tensor_read_doubles(given, 0, tensor_count(given), scales);
        t->known = true;
        return target_of_scales(c->graph, c->node, c->err, x, scales, tensor_count(given), t);
    }
    if (c->opset >= 11 && infer_list(c, 3, NULL, sizes, MAX_RANK, &size_count) == LIST_KNOWN && size_count > 0) {
        t->known = true;
        return target_of_sizes(c->graph, c->node, c->err, x, sizes, size_count, t);
    }
    for (int i = 0; i < t->axis_count; i++) t->out.dims[t->axes[i]] = DIM_UNKNOWN;
    const Ints *ints = c->input_count > 3 && c->ints[3].count == t->axis_count ? &c->ints[3] : NULL;
    for (int i = 0; ints != NULL && i < t->axis_count; i++) t->out.dims[t->axes[i]] = ints->at[i];
    return OK;
}

static Status infer_resize(InferCall *c)
{
    Target t;
    c->out[0].type = c->in[0].type;
    if (c->in[0].shape.rank < 0) return OK;
    TRY(find_target(c, &t));
    c->out[0].shape = t.out;
    return OK;
}

/* ---- settings ---- */

typedef struct Settings {
    Mode mode;
    CoordMode coord;
    NearestMode nearest;
    double cubic_a, extrapolation;
    bool exclude_outside, antialias;
    double roi_start[MAX_RANK], roi_end[MAX_RANK];
} Settings;

static Status setting(const OpCall *c, const char *name, const char *fallback, const char *const *names, int *out)
{
    Str text = node_string(c->node, name, fallback);
    for (int i = 0; names[i] != NULL; i++) {
        if (str_is(text, names[i])) {
            *out = i;
            return OK;
        }
    }
    return op_fail(c, ERR_UNSUPPORTED, "%s '%.*s'", name, STR_ARG(text));
}

static Status read_settings(const OpCall *c, const Target *t, Settings *s)
{
    int mode, coord, nearest;
    bool modern = c->opset >= 11 && !str_is(c->node->type, "Upsample");
    Str text = node_string(c->node, "mode", "nearest");
    *s = (Settings){ .cubic_a = -0.75 };
    if (str_is(text, "bilinear")) mode = LINEAR; /* Upsample 1's word */
    else TRY(setting(c, "mode", "nearest", mode_names, &mode));
    TRY(setting(c, "coordinate_transformation_mode", modern ? "half_pixel" : "asymmetric", coord_names, &coord));
    TRY(setting(c, "nearest_mode", modern ? "round_prefer_floor" : "floor", nearest_names, &nearest));
    s->mode = (Mode)mode;
    s->coord = (CoordMode)coord;
    s->nearest = (NearestMode)nearest;
    s->cubic_a = (double)node_float(c->node, "cubic_coeff_a", -0.75f);
    s->extrapolation = (double)node_float(c->node, "extrapolation_value", 0);
    s->exclude_outside = node_int(c->node, "exclude_outside", 0) != 0;
    s->antialias = node_int(c->node, "antialias", 0) != 0 && s->mode != NEAREST;
    for (int d = 0; d < MAX_RANK; d++) s->roi_end[d] = 1;
    if (s->coord != TF_CROP) return OK;
    const Tensor *roi = c->input_count > 1 ? c->in[1] : NULL;
    if (roi == NULL || tensor_count(roi) != 2 * t->axis_count)
        return op_fail(c, ERR_DATA, "its roi must have %d entries", 2 * t->axis_count);
    for (int i = 0; i < t->axis_count; i++) {
        s->roi_start[t->axes[i]] = tensor_get(roi, i);
        s->roi_end[t->axes[i]] = tensor_get(roi, t->axis_count + i);
    }
    return OK;
}

/* ---- taps: which input positions make an output position, with which weights ---- */

typedef struct Taps {
    int width;       /* taps per output position */
    int64_t *index;  /* [out * width], inside the input */
    double *weight;  /* [out * width] */
    bool *outside;   /* [out]: takes the extrapolation value */
} Taps;

static double source_position(const Settings *s, int axis, int64_t x, int64_t in, int64_t out, double scale)
{
    double at = (double)x, length = (double)in, wanted = scale * length; /* not rounded, as in the definition's reference */
    switch (s->coord) {
    case HALF_PIXEL: return (at + 0.5) / scale - 0.5;
    case PYTORCH_HALF_PIXEL: return out == 1 ? -0.5 : (at + 0.5) / scale - 0.5;
    case ALIGN_CORNERS: return out == 1 ? 0 : at * (length - 1) / (wanted - 1);
    case ASYMMETRIC: return at / scale;
    case TF_HALF_PIXEL_NN: return (at + 0.5) / scale;
    case HALF_PIXEL_SYMMETRIC: return length / 2 * (1 - (double)out / wanted) + (at + 0.5) / scale - 0.5;
    case TF_CROP: {
        double start = s->roi_start[axis], span = s->roi_end[axis] - start;
        return start * (length - 1) + (out == 1 ? span * (length - 1) / 2 : at * span * (length - 1) / (wanted - 1));
    }
    }
    return at;
}

static int64_t nearest_index(const Settings *s, double at)
{
    double low = floor(at), ratio = at - low;
    if (ratio == 0) return (int64_t)low;
    bool up = s->nearest == CEIL || (s->nearest == ROUND_PREFER_FLOOR && ratio > 0.5) || (s->nearest == ROUND_PREFER_CEIL && ratio >= 0.5);
    return (int64_t)low + up;
}

/* Keys' cubic convolution kernel. */
static double cubic_kernel(double x, double a)
{
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double kernel(const Settings *s, double x)
{
    if (s->mode == CUBIC) return cubic_kernel(x, s->cubic_a);
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* The kernel is stretched when antialiasing a smaller output: `stretch` is at most 1. */
static int tap_start(const Settings *s, double stretch)
{
    return (int)floor((s->mode == CUBIC ? -2 : -1) / stretch) + 1;
}

static void fill_taps(const Settings *s, const Taps *t, int64_t x, double at, int64_t in, double stretch)
{
    int64_t *index = t->index + x * t->width;
    double *weight = t->weight + x * t->width, sum = 0;
    if (s->mode == NEAREST) {
        index[0] = nearest_index(s, at);
        weight[0] = 1;
    } else {
        double low = floor(at), ratio = at - low;
        int start = tap_start(s, stretch);
        for (int k = 0; k < t->width; k++) {
            index[k] = (int64_t)low + start + k;
            weight[k] = kernel(s, (start + k - ratio) * stretch);
            if (s->exclude_outside && (index[k] < 0 || index[k] >= in)) weight[k] = 0;
            sum += weight[k];
        }
        for (int k = 0; k < t->width && (s->antialias || s->exclude_outside) && sum != 0; k++) weight[k] /= sum;
    }
    for (int k = 0; k < t->width; k++) index[k] = index[k] < 0 ? 0 : index[k] >= in ? in - 1 : index[k];
}

static Status taps_new(const OpCall *c, const Settings *s, int axis, int64_t in, int64_t out, double scale, Taps *t)
{
    double stretch = s->antialias && scale < 1 ? scale : 1;
    if (stretch < 1e-6) return op_fail(c, ERR_UNSUPPORTED, "a scale of %g with antialias", scale);
    t->width = s->mode == NEAREST ? 1 : 2 - 2 * tap_start(s, stretch);
    size_t entries;
    if (!mul_size((size_t)out, (size_t)t->width, &entries)) return op_fail(c, ERR_DATA, "its size overflows");
    t->index = alloc_array(entries + 1, sizeof *t->index);
    t->weight = alloc_array(entries + 1, sizeof *t->weight);
    t->outside = alloc_zeroed((size_t)out + 1, sizeof *t->outside);
    if (t->index == NULL || t->weight == NULL || t->outside == NULL) return err_no_memory(c->err, "interpolation weights");
    for (int64_t x = 0; x < out; x++) {
        double at = source_position(s, axis, x, in, out, scale);
        if (!(fabs(at) < 1e15)) return op_fail(c, ERR_DATA, "axis %d: position %g", axis, at);
        t->outside[x] = s->coord == TF_CROP && (at < 0 || at > (double)(in - 1));
        fill_taps(s, t, x, at, in, stretch);
    }
    return OK;
}

static void taps_release(Taps *t)
{
    free(t->index);
    free(t->weight);
    free(t->outside);
}

/* ---- one axis ---- */

#define MIX(name, type) \
    static void name(const Taps *t, int64_t outer, int64_t in, int64_t out, int64_t inner, const void *from, void *to) \
    { \
        _Pragma("omp parallel for schedule(static) if (outer * out * inner >= PARALLEL_FROM)") \
        for (int64_t row = 0; row < outer * out; row++) { \
            const type *x = (const type *)from + row / out * in * inner; \
            type *y = (type *)to + row * inner; \
            const int64_t *index = t->index + row % out * t->width; \
            const double *weight = t->weight + row % out * t->width; \
            for (int64_t i = 0; i < inner; i++) { \
                double sum = 0; \
                for (int k = 0; k < t->width; k++) sum += weight[k] * (double)x[index[k] * inner + i]; \
                y[i] = (type)sum; \
            } \
        } \
    }
MIX(mix_f32, float)
MIX(mix_f64, double)

/* Nearest moves elements of any type. */
static void pick(const Taps *t, size_t size, int64_t outer, int64_t in, int64_t out, int64_t inner, const uint8_t *from, uint8_t *to)
{
    size_t block = size * (size_t)inner;
#pragma omp parallel for schedule(static) if (outer * out * inner >= PARALLEL_FROM)
    for (int64_t row = 0; row < outer * out; row++) {
        const uint8_t *x = from + (size_t)(row / out * in + t->index[row % out]) * block;
        uint8_t *y = to + (size_t)row * block;
        if (block == 4) memcpy(y, x, 4);
        else memcpy(y, x, block);
    }
}

static bool axis_stays(const Settings *s, const Target *t, const Shape *x, int d)
{
    return !t->named[d] || (s->coord != TF_CROP && s->coord != TF_HALF_PIXEL_NN && t->scale[d] == 1 && t->out.dims[d] == x->dims[d]);
}

/* Sets what lies outside the region of tf_crop_and_resize along one axis; later axes carry it no further, as all are set at the end. */
static void extrapolate(Tensor *y, const Taps *taps, const bool *used, double value)
{
    int64_t count = tensor_count(y), strides[MAX_RANK];
    strides_of(&y->shape, strides);
    for (int64_t i = 0; i < count; i++) {
        for (int d = 0; d < y->shape.rank; d++) {
            if (!used[d] || !taps[d].outside[i / strides[d] % y->shape.dims[d]]) continue;
            tensor_set(y, i, value);
            break;
        }
    }
}

/* Interpolates `x` (float32, float64, or any type for nearest) into *y, axis by axis from the first. */
static Status resize_axes(const OpCall *c, const Settings *s, const Target *target, const Tensor *x, Tensor *y)
{
    Taps taps[MAX_RANK] = { { .width = 0 } };
    bool used[MAX_RANK] = { false };
    Tensor current = tensor_share(x), next = { .type = DT_NONE };
    Status status = OK;
    size_t size = dtype_size(x->type);
    for (int d = 0; d < x->shape.rank; d++) {
        if (axis_stays(s, target, &x->shape, d)) continue;
        int64_t in = x->shape.dims[d], out = target->out.dims[d];
        used[d] = true;
        TRY_OUT(taps_new(c, s, d, in, out, target->scale[d], &taps[d]));
        Shape shape = current.shape;
        shape.dims[d] = out;
        TRY_OUT(tensor_new(&next, x->type, &shape, c->err));
        int64_t outer = shape_span(&shape, 0, d), inner = shape_span(&shape, d + 1, shape.rank);
        if (tensor_count(&next) > 0) {
            if (s->mode == NEAREST) pick(&taps[d], size, outer, in, out, inner, current.data, next.data);
            else if (x->type == DT_FLOAT) mix_f32(&taps[d], outer, in, out, inner, current.data, next.data);
            else mix_f64(&taps[d], outer, in, out, inner, current.data, next.data);
        }
        tensor_release(&current);
        current = next;
        next = (Tensor){ .type = DT_NONE };
    }
    if (s->coord == TF_CROP) extrapolate(&current, taps, used, s->extrapolation);
    *y = current;
    current = (Tensor){ .type = DT_NONE };
out:
    for (int d = 0; d < MAX_RANK; d++) taps_release(&taps[d]);
    tensor_release(&current);
    tensor_release(&next);
    return status;
}

/* The target from the actual inputs, through the same rules as inference. */
static Status call_target(const OpCall *c, Target *t)
{
    TypeInfo in[4] = { { c->in[0]->type, c->in[0]->shape } };
    const Tensor *constant[4] = { NULL };
    Ints ints[4];
    for (int i = 0; i < 4; i++) {
        ints[i].count = -1;
        if (i < c->input_count) constant[i] = c->in[i];
        if (constant[i] != NULL) ints_of_tensor(constant[i], &ints[i]);
    }
    const InferCall infer = { .graph = (Graph *)(uintptr_t)c->graph, .node = c->node, .opset = c->opset, .input_count = c->input_count,
                              .in = in, .constant = constant, .ints = ints, .err = c->err };
    TRY(find_target(&infer, t));
    if (!t->known || !shape_known(&t->out)) return op_fail(c, ERR_DATA, "neither its scales nor its sizes are given");
    for (int d = 0; d < t->out.rank; d++) {
        if (c->in[0]->shape.dims[d] == 0 && t->out.dims[d] > 0)
            return op_fail(c, ERR_DATA, "axis %d is empty: there is nothing to resize", d);
    }
    return OK;
}

static Status forward_resize(OpCall *c)
{
    const Tensor *x = c->in[0];
    Target target;
    Settings s;
    if (dtype_size(x->type) == 0) return op_bad_type(c, x->type);
    TRY(call_target(c, &target));
    TRY(read_settings(c, &target, &s));
    bool direct = s.mode == NEAREST || x->type == DT_FLOAT || x->type == DT_DOUBLE;
    Tensor wide = { .type = DT_NONE }, y = { .type = DT_NONE };
    Status status = OK;
    if (!direct) TRY_OUT(tensor_convert(x, DT_DOUBLE, &wide, c->err));
    TRY_OUT(resize_axes(c, &s, &target, direct ? x : &wide, &y));
    TRY_OUT(opcall_output(c, 0, x->type, &y.shape));
    int64_t count = tensor_count(&y);
    if (direct && y.bytes > 0) memcpy(c->out[0].data, y.data, y.bytes);
    for (int64_t i = 0; !direct && i < count; i++) {
        double v = tensor_get(&y, i);
        tensor_set(&c->out[0], i, dtype_is_integer(x->type) ? trunc(v) : v);
    }
out:
    tensor_release(&wide);
    tensor_release(&y);
    return status;
}

/* A multiplication and an addition for each tap of a dense neighbourhood. */
static void cost_resize(const CostCall *c, OpCost *out)
{
    int64_t count;
    Str mode = node_string(c->node, "mode", "nearest");
    if (!shape_count(&c->out[0].shape, &count) || str_is(mode, "nearest")) return;
    out->elementwise = count * (str_is(mode, "cubic") ? 16 : 8);
}

const Op ops_resize[] = {
    OP_ENTRY("Upsample", 1, 8, 1, 1, 1, 1, 0, infer_resize, forward_resize, cost_resize),
    OP_ENTRY("Upsample", 9, 9, 2, 2, 1, 1, 0, infer_resize, forward_resize, cost_resize),
    OP_ENTRY("Resize", 10, 10, 2, 2, 1, 1, 0, infer_resize, forward_resize, cost_resize),
    OP_ENTRY("Resize", 11, 0, 1, 4, 1, 1, 0, infer_resize, forward_resize, cost_resize),
    OP_END,
};
