/* Integer layers by oneDNN: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger with constant weights, as engine/ops/integer.h defines
 * them. The library makes int32 sums from uint8 inputs and int8 weights, channels innermost; zero points, bias and rounding are ours
 * (requantize.c): oneDNN would add the zero point before it rounds, which breaks ties otherwise. Where its int8 kernels are not exact
 * (engine/integer_weights.h) the weights are split into parts that are; where it has none (grouped convolutions), the same integers go
 * through its float32 convolution, which adds them exactly below 2^24.
 *
 * Work goes piece by piece, a few images or rows at a time, so that sums stay in the cache. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/integer_site.h"
#include "engine/integer_weights.h"
#include "engine/ops/integer.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"
#include "engine/requantize.h"

#define PIECE_BYTES 262144  /* of sums */
#define ONE_CHANNEL_TAPS 16 /* from so many a float32 convolution is faster than int8 kernels, which take channels by fours */

/* One part of the weights: int8 sums, or by way of float32. */
typedef struct Part {
    Primitive *sum, *enter, *leave; /* enter and leave: to and from float32; NULL for int8; leave NULL: the sums stay float32 */
} Part;

typedef struct IntegerLayer {
    Device *device;
    Layout take, make;
    Part part[INTEGER_PARTS];
    int part_count;
    bool turn; /* int8 inputs become uint8 by turning the upper bit */
    int64_t pieces, piece_rows;        /* pieces; pixels of output in one */
    size_t in_bytes, out_bytes, sum_bytes, enter_bytes, leave_bytes; /* of one piece */
    Requantizer ending;
} IntegerLayer;

/* The convolution of one piece; a matrix product is one of 1x1 over a row of pixels. */
typedef struct Shapes {
    Window w;
    int rank;
    int64_t groups, images, pixels; /* pixels: of output, in one image */
    dnnl_dims_t x, y, weights, strides, dilations, begin, end;
    int weight_rank;
} Shapes;

/* The largest divisor of n whose pieces of `each` bytes stay small. */
static int64_t piece_of(int64_t n, int64_t each)
{
    int64_t most = each > 0 && each < PIECE_BYTES ? PIECE_BYTES / each : 1;
    for (int64_t d = most < n ? most : n; d > 1; d--)
        if (n % d == 0) return d;
    return 1;
}

static Status matrix_shapes(const KernelSite *s, const IntegerWeights *weights, Shapes *g)
{
    int64_t rows;
    if (!shape_count(&s->in[0].shape, &rows) || weights->channels == 0) return err_set(s->err, ERR_UNSUPPORTED, "an empty product");
    rows /= weights->channels;
    int64_t piece = piece_of(rows, weights->filters * 4);
    *g = (Shapes){ .rank = 4, .groups = 1, .images = rows / (piece > 0 ? piece : 1), .pixels = piece, .weight_rank = 4 };
    for (int i = 0; i < WINDOW_DIMS; i++) g->w.in[i] = g->w.out[i] = g->w.kernel[i] = g->w.stride[i] = g->w.dilation[i] = 1;
    g->w.in[2] = g->w.out[2] = piece;
    memcpy(g->x, (const dnnl_dims_t){ 1, weights->channels, 1, piece }, sizeof g->x);
    memcpy(g->y, (const dnnl_dims_t){ 1, weights->filters, 1, piece }, sizeof g->y);
    memcpy(g->weights, (const dnnl_dims_t){ weights->filters, weights->channels, 1, 1 }, sizeof g->weights);
    g->strides[0] = g->strides[1] = 1;
    return OK;
}

static Status conv_shapes(const KernelSite *s, int weight, const IntegerWeights *weights, Shapes *g)
{
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape, *k = &s->in[weight].shape;
    *g = (Shapes){ .rank = x->rank, .groups = node_int(s->node, "group", 1), .pixels = 1 };
    if (g->groups < 1 || x->dims[1] != k->dims[1] * g->groups || k->dims[0] % g->groups != 0)
        return err_set(s->err, ERR_UNSUPPORTED, "channels that do not fit the group");
    TRY(window_init(&g->w, s->graph, s->node, x, k, s->err));
    for (int i = 2; i < y->rank; i++) g->pixels *= y->dims[i];
    int64_t piece = piece_of(x->dims[0], g->pixels * weights->filters * 4);
    g->images = x->dims[0] / (piece > 0 ? piece : 1);
    for (int i = 0; i < x->rank; i++) {
        g->x[i] = i == 0 ? piece : x->dims[i];
        g->y[i] = i == 0 ? piece : y->dims[i];
    }
    if (g->groups > 1) g->weights[g->weight_rank++] = g->groups;
    g->weights[g->weight_rank++] = k->dims[0] / g->groups;
    for (int i = 1; i < k->rank; i++) g->weights[g->weight_rank++] = k->dims[i];
    for (int i = 0; i < g->w.dims; i++) {
        int from = WINDOW_DIMS - g->w.dims + i;
        g->strides[i] = g->w.stride[from];
        g->dilations[i] = g->w.dilation[from] - 1;
        g->begin[i] = g->w.begin[from];
        g->end[i] = (g->w.out[from] - 1) * g->w.stride[from] + (g->w.kernel[from] - 1) * g->w.dilation[from] + 1 - g->w.in[from] -
                    g->w.begin[from];
    }
    return OK;
}

/* --- the sums */

/* Channels innermost. */
static bool md_inner(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t *dims)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nwc, dnnl_nhwc, dnnl_ndhwc };
    for (int i = 0; i < rank; i++)
        if (dims[i] < 1) return false;
    return rank >= 3 && rank <= 5 && dnnl_memory_desc_init_by_tag(md, rank, dims, type, tags[rank - 3]) == dnnl_success;
}

static Status sum_desc(const IntegerLayer *l, const Shapes *g, const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *w,
                       const dnnl_memory_desc_t *y, dnnl_primitive_desc_t *out, Err *err)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t made = dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct, x, w, NULL, y,
                                                                    g->strides, g->dilations, g->begin, g->end);
    TRY(dnnl_check(made, "integer convolution", err));
    return desc_create(l->device, &d, NULL, "integer convolution", out, err);
}

static Status sum_finish(KernelSite *s, const Shapes *g, Part *part, dnnl_primitive_desc_t desc, int index,
                         const void *data, bool floats)
{
    IntegerForm f = integer_form(s);
    dnnl_memory_desc_t plain;
    /* one value may be packed with several zero points and parts */
    uint64_t zero = f.weight_zero < s->input_count ? s->value[f.weight_zero] : 0;
    uint64_t variant = zero << 16 | (uint64_t)(unsigned)(index + 1) << 1 | floats;
    if (!md_plain(&plain, floats ? dnnl_f32 : dnnl_s8, g->weight_rank, g->weights))
        return err_set(s->err, ERR_UNSUPPORTED, "empty weights");
    return primitive_weighted(part->sum, desc, s->value[f.weight], variant, data, &plain, s->err);
}

/* Sums of one part by int8 kernels. *found: the library has one that is more than a reference. */
static Status part_in_bytes(IntegerLayer *l, KernelSite *s, const Shapes *g, Part *part, int index, const int8_t *data, bool *found)
{
    dnnl_memory_desc_t x, y, w;
    dnnl_primitive_desc_t desc = NULL;
    const char *name = "ref";
    *found = false;
    if (!md_inner(&x, dnnl_u8, g->rank, g->x) || !md_inner(&y, dnnl_s32, g->rank, g->y) || !md_any(&w, dnnl_s8, g->weight_rank, g->weights))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty convolution");
    Status status = sum_desc(l, g, &x, &w, &y, &desc, s->err);
    if (status == ERR_UNSUPPORTED) return OK;
    if (status == OK) dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    if (status == OK && strncmp(name, "jit", 3) == 0) {
        *found = true;
        status = sum_finish(s, g, part, desc, index, data, false);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static Status convert(IntegerLayer *l, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, Primitive **out, Err *err)
{
    dnnl_primitive_desc_t desc = NULL;
    Status status;
    TRY(primitive_new(l->device, out, err));
    TRY_OUT(reorder_desc_create(l->device, from, to, &desc, err));
    TRY_OUT(primitive_create(*out, desc, err));
    TRY_OUT(primitive_arg(*out, DNNL_ARG_FROM, from, ARG_IN, 0, NULL, err));
    TRY_OUT(primitive_arg(*out, DNNL_ARG_TO, to, ARG_OUT, 0, NULL, err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

/* A convolution in float32 with channels innermost, so that its sums need no other order. ERR_UNSUPPORTED: the library has none that is
 * more than a reference. */
static Status inner_floats_desc(const IntegerLayer *l, const Shapes *g, dnnl_primitive_desc_t *out, Err *err)
{
    dnnl_memory_desc_t x, y, w;
    const char *name = "ref";
    if (!md_inner(&x, dnnl_f32, g->rank, g->x) || !md_inner(&y, dnnl_f32, g->rank, g->y) ||
        !md_any(&w, dnnl_f32, g->weight_rank, g->weights))
        return err_set(err, ERR_UNSUPPORTED, "an empty convolution");
    TRY(sum_desc(l, g, &x, &w, &y, out, err));
    dnnl_primitive_desc_query(*out, dnnl_query_impl_info_str, 0, &name);
    if (strncmp(name, "jit", 3) == 0) return OK;
    dnnl_primitive_desc_destroy(*out);
    *out = NULL;
    return err_set(err, ERR_UNSUPPORTED, "a float convolution by reference");
}

static Status part_in_floats(IntegerLayer *l, KernelSite *s, const Shapes *g, Part *part, int index, const int8_t *data, int64_t count,
                             bool alone)
{
    dnnl_memory_desc_t x, y, w, inner_x, inner_y;
    dnnl_primitive_desc_t desc = NULL;
    Status status;
    float *floats = alloc_array((size_t)count + 1, sizeof *floats);
    if (floats == NULL) return err_no_memory(s->err, "integer weights");
    for (int64_t i = 0; i < count; i++) floats[i] = data[i];
    if (!md_inner(&inner_x, dnnl_u8, g->rank, g->x) || !md_inner(&inner_y, dnnl_s32, g->rank, g->y) ||
        !md_any(&x, dnnl_f32, g->rank, g->x) || !md_any(&y, dnnl_f32, g->rank, g->y) || !md_any(&w, dnnl_f32, g->weight_rank, g->weights)) {
        status = err_set(s->err, ERR_UNSUPPORTED, "an empty convolution");
        goto out;
    }
    status = alone ? inner_floats_desc(l, g, &desc, s->err) : ERR_UNSUPPORTED;
    l->ending.in_floats = status == OK;
    if (status == ERR_UNSUPPORTED) status = sum_desc(l, g, &x, &w, &y, &desc, s->err);
    if (status == OK) status = sum_finish(s, g, part, desc, index, floats, true);
    if (status != OK) goto out;
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    l->enter_bytes = (dnnl_memory_desc_get_size(src) + 63) / 64 * 64;
    TRY_OUT(convert(l, &inner_x, src, &part->enter, s->err));
    if (l->ending.in_floats) goto out;
    l->leave_bytes = (dnnl_memory_desc_get_size(dst) + 63) / 64 * 64;
    TRY_OUT(convert(l, dst, &inner_y, &part->leave, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    free(floats);
    return status;
}

/* --- what is added to the sums */

/* Along one dimension, outputs whose windows meet the same taps make one class: its first and last tap. */
typedef struct Side {
    int64_t count;   /* classes */
    int64_t *of;     /* [out] */
    int64_t *taps;   /* [classes, 2] */
} Side;

static bool side_init(const Window *w, int k, Side *side)
{
    int64_t n = w->out[k];
    *side = (Side){ 0, alloc_zeroed((size_t)n + 1, sizeof(int64_t)), alloc_zeroed((size_t)n * 2 + 2, sizeof(int64_t)) };
    if (side->of == NULL || side->taps == NULL) return false;
    for (int64_t o = 0; o < n; o++) {
        int64_t start = o * w->stride[k] - w->begin[k], first = w->kernel[k], last = -1;
        for (int64_t t = 0; t < w->kernel[k]; t++) {
            int64_t p = start + t * w->dilation[k];
            if (p < 0 || p >= w->in[k]) continue;
            if (first > t) first = t;
            last = t;
        }
        int64_t c = 0;
        while (c < side->count && (side->taps[2 * c] != first || side->taps[2 * c + 1] != last)) c++;
        if (c == side->count) {
            side->taps[2 * c] = first;
            side->taps[2 * c + 1] = last;
            side->count++;
        }
        side->of[o] = c;
    }
    return true;
}

/* The weights of a filter that windows of a class meet. */
static int64_t met(const IntegerWeights *weights, const Window *w, int64_t filter, const Side *sides, const int64_t *class)
{
    int64_t total = 0;
    for (int64_t i = 0; i < weights->taps; i++) {
        int64_t tap[3] = { i / (w->kernel[1] * w->kernel[2]), i / w->kernel[2] % w->kernel[1], i % w->kernel[2] };
        bool inside = true;
        for (int k = 0; k < 3; k++) inside = inside && tap[k] >= sides[k].taps[2 * class[k]] && tap[k] <= sides[k].taps[2 * class[k] + 1];
        for (int64_t c = 0; inside && c < weights->channels; c++)
            total += weights->data[(filter * weights->channels + c) * weights->taps + i];
    }
    return total;
}

/* offsets[class, filter] = bias - zero * (weights met); class_of where there is more than one class. */
static Status offsets_init(const KernelSite *s, const Shapes *g, const IntegerWeights *weights, int64_t zero, const Tensor *bias,
                           Requantizer *r)
{
    Side sides[3] = { { 0 } };
    Status status = OK;
    const Window *w = &g->w;
    for (int k = 0; k < 3 && status == OK; k++)
        if (!side_init(w, k, &sides[k])) status = err_no_memory(s->err, "integer layer");
    int64_t classes = status == OK && zero != 0 ? sides[0].count * sides[1].count * sides[2].count : 1;
    r->offsets = alloc_array((size_t)(classes * weights->filters) + 1, sizeof *r->offsets);
    if (classes > 1) r->class_of = alloc_array((size_t)g->pixels + 1, sizeof *r->class_of);
    if (r->offsets == NULL || (classes > 1 && r->class_of == NULL)) status = err_no_memory(s->err, "integer layer");
    for (int64_t c = 0; c < classes && status == OK; c++) {
        const int64_t class[3] = { c / (sides[1].count * sides[2].count), c / sides[2].count % sides[1].count, c % sides[2].count };
        for (int64_t k = 0; k < weights->filters; k++) {
            int64_t v = (bias != NULL ? tensor_get_int(bias, k) : 0) - (zero != 0 ? zero * met(weights, w, k, sides, class) : 0);
            if (llabs(v) > INT32_MAX - 255 * weights->most) status = err_set(s->err, ERR_UNSUPPORTED, "sums beyond 32 bits");
            r->offsets[c * weights->filters + k] = (int32_t)v;
        }
    }
    for (int64_t p = 0; classes > 1 && status == OK && p < g->pixels; p++) {
        int64_t at[3] = { p / (w->out[1] * w->out[2]), p / w->out[2] % w->out[1], p % w->out[2] };
        r->class_of[p] = (int32_t)((sides[0].of[at[0]] * sides[1].count + sides[1].of[at[1]]) * sides[2].count + sides[2].of[at[2]]);
    }
    for (int k = 0; k < 3; k++) {
        free(sides[k].of);
        free(sides[k].taps);
    }
    return status;
}

static Status ending_init(const KernelSite *s, const IntegerForm *f, const Shapes *g, const IntegerWeights *weights, bool turn,
                          Requantizer *r)
{
    const Tensor *x_zero = f->x_zero < s->input_count ? s->constant[f->x_zero] : NULL;
    const Tensor *bias = f->linear && s->input_count > 8 ? s->constant[8] : NULL;
    int64_t low = 0, high = 0;
    r->filters = weights->filters;
    r->pixels = g->pixels;
    r->type = s->out[0].type;
    r->multiplier = alloc_zeroed((size_t)weights->filters + 1, sizeof *r->multiplier);
    if (r->multiplier == NULL) return err_no_memory(s->err, "integer layer");
    if (255 * weights->most > INT32_MAX) return err_set(s->err, ERR_UNSUPPORTED, "sums beyond 32 bits");
    TRY(offsets_init(s, g, weights, (x_zero != NULL ? tensor_get_int(x_zero, 0) : 0) + (turn ? 128 : 0), bias, r));
    for (int64_t k = 0; f->linear && k < weights->filters; k++) {
        const Tensor *scales = s->constant[4];
        float scale = (float)tensor_get(s->constant[1], 0) * (float)tensor_get(scales, tensor_count(scales) == 1 ? 0 : k);
        r->multiplier[k] = s->value[6] != 0 ? scale / (float)tensor_get(s->constant[6], 0) : scale;
    }
    if (dtype_is_byte(r->type)) {
        r->zero = s->constant[7] != NULL ? (int32_t)tensor_get_int(s->constant[7], 0) : 0;
        if (!integer_range(s->node, r->type, &low, &high)) return err_set(s->err, ERR_UNSUPPORTED, "no range");
        r->least = (float)(low - r->zero);
        r->most = (float)(high - r->zero);
    }
    return requantizer_finish(r) ? OK : err_no_memory(s->err, "integer layer");
}

/* --- the kernel */

static void integer_release(void *state)
{
    IntegerLayer *l = state;
    if (l == NULL) return;
    for (int i = 0; i < INTEGER_PARTS; i++) {
        primitive_release(l->part[i].sum);
        primitive_release(l->part[i].enter);
        primitive_release(l->part[i].leave);
    }
    requantizer_release(&l->ending);
    free(l);
}

/* Whether u8 x s8 pairs are added in 16 bits: every x86 but those whose kernels use the VNNI instructions. */
static bool pairs_saturate(void)
{
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core_bf16:
    case dnnl_cpu_isa_avx512_core_amx:
        return false;
    default:
        return true;
    }
}

static bool is_one_channel(const Shapes *g, const IntegerWeights *weights)
{
    return weights->channels == 1 && g->groups == 1 && weights->taps >= ONE_CHANNEL_TAPS;
}

static Status make_parts(IntegerLayer *l, KernelSite *s, const Shapes *g, const IntegerWeights *weights)
{
    int64_t count = weights->filters * weights->channels * weights->taps;
    bool one = is_one_channel(g, weights);
    for (int i = 0; i < weights->part_count; i++) {
        bool found = false;
        l->part_count = i + 1;
        TRY(primitive_new(l->device, &l->part[i].sum, s->err));
        if (!one) TRY(part_in_bytes(l, s, g, &l->part[i], i, weights->part[i], &found));
        if (!found) TRY(part_in_floats(l, s, g, &l->part[i], i, weights->part[i], count, weights->part_count == 1));
    }
    return OK;
}

static void site_orders(KernelSite *s, IntegerLayer *l, const IntegerForm *f)
{
    static const dnnl_data_type_t types[] = { [DT_FLOAT] = dnnl_f32, [DT_UINT8] = dnnl_u8, [DT_INT8] = dnnl_s8, [DT_INT32] = dnnl_s32 };
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    if (f->matrix) return; /* rows already lie as they are wanted */
    bool in = md_inner(&l->take.md, types[s->in[0].type], s->in[0].shape.rank, s->in[0].shape.dims);
    bool out = md_inner(&l->make.md, types[s->out[0].type], s->out[0].shape.rank, s->out[0].shape.dims);
    if (in) s->take[0] = &l->take;
    if (out) s->make[0] = &l->make;
}

static Status integer_prepare(KernelSite *s, void **state)
{
    IntegerForm f = integer_form(s);
    IntegerWeights weights = { 0 };
    Shapes g;
    Status status;
    IntegerLayer *l = alloc_zeroed(1, sizeof *l);
    if (l == NULL) return err_no_memory(s->err, "kernel state");
    l->device = s->device;
    l->turn = s->in[0].type == DT_INT8;
    const Tensor *zero = f.weight_zero < s->input_count ? s->constant[f.weight_zero] : NULL;
    TRY_OUT(integer_weights_init(&weights, s->constant[f.weight], zero, f.matrix, s->err));
    TRY_OUT(f.matrix ? matrix_shapes(s, &weights, &g) : conv_shapes(s, f.weight, &weights, &g));
    bool pairs = weights.channels > 1 || g.groups != weights.filters; /* of channels: not where the convolution is depthwise */
    TRY_OUT(ending_init(s, &f, &g, &weights, l->turn, &l->ending));
    TRY_OUT(integer_weights_split(&weights, pairs && !is_one_channel(&g, &weights) && pairs_saturate(), s->err));
    TRY_OUT(make_parts(l, s, &g, &weights));
    int64_t in = 1, out = 1;
    for (int i = 0; i < g.rank; i++) {
        in *= g.x[i];
        out *= g.y[i];
    }
    l->pieces = g.images;
    l->piece_rows = out / weights.filters;
    l->in_bytes = (size_t)in;
    l->out_bytes = (size_t)out * (dtype_is_byte(s->out[0].type) ? 1 : 4);
    l->sum_bytes = ((size_t)out * 4 + 63) / 64 * 64;
    size_t turned = l->turn ? (l->in_bytes + 63) / 64 * 64 : 0;
    TRY_OUT(device_scratch(l->device, turned + l->enter_bytes + l->leave_bytes + l->sum_bytes * (size_t)l->part_count, s->err));
    site_orders(s, l, &f);
out:
    integer_weights_release(&weights);
    if (status != OK) integer_release(l);
    else *state = l;
    return status;
}

static Status part_run(const Part *part, const void *x, uint8_t *floats, size_t enter_bytes, int32_t *sums, Err *err)
{
    if (part->enter == NULL) return primitive_run(part->sum, &x, (void *[]){ sums }, err);
    void *entered = floats, *left = floats + enter_bytes;
    TRY(primitive_run(part->enter, &x, &entered, err));
    if (part->leave == NULL) return primitive_run(part->sum, (const void *[]){ entered }, (void *[]){ sums }, err);
    TRY(primitive_run(part->sum, (const void *[]){ entered }, &left, err));
    return primitive_run(part->leave, (const void *[]){ left }, (void *[]){ sums }, err);
}

static Status integer_run(void *state, const void *const *in, void *const *out, Err *err)
{
    IntegerLayer *l = state;
    uint8_t *scratch = l->device->scratch, *turned = scratch;
    uint8_t *floats = scratch + (l->turn ? (l->in_bytes + 63) / 64 * 64 : 0);
    int32_t *sums[INTEGER_PARTS];
    for (int i = 0; i < l->part_count; i++)
        sums[i] = (int32_t *)(void *)(floats + l->enter_bytes + l->leave_bytes + (size_t)i * l->sum_bytes);
    for (int64_t piece = 0; piece < l->pieces; piece++) {
        const uint8_t *x = (const uint8_t *)in[0] + (size_t)piece * l->in_bytes;
        if (l->turn) {
            for (size_t i = 0; i < l->in_bytes; i++) turned[i] = x[i] ^ 128;
            x = turned;
        }
        for (int i = 0; i < l->part_count; i++) TRY(part_run(&l->part[i], x, floats, l->enter_bytes, sums[i], err));
        requantizer_run(&l->ending, sums, l->part_count, l->piece_rows, (uint8_t *)out[0] + (size_t)piece * l->out_bytes);
    }
    return OK;
}

#define ROW(op_name) { "integer", op_name, integer_site_accepts, integer_prepare, integer_run, integer_release, NULL, false }

const Kernel kernels_integer[] = {
    ROW("QLinearConv"),
    ROW("QLinearMatMul"),
    ROW("ConvInteger"),
    ROW("MatMulInteger"),
    { .name = NULL },
};
