/* Integer layers by engine/narrow.c where the library has AVX2 without VNNI: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger with
 * constant weights, as engine/ops/integer.h defines them; channels innermost. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/avx2.h"
#include "engine/dnnl_private.h"
#include "engine/integer_site.h"
#include "engine/integer_weights.h"
#include "engine/narrow.h"
#include "engine/ops/integer.h"
#include "engine/ops/window.h"

#define DEEP 288                 /* products of a window, */
#define SMALL_IMAGE 256          /* and pixels: there the library's loop in bytes is faster, and its sums are read again from the cache */
#define FEW_ROWS 4               /* of a product: weights are read for these alone, */
#define MANY_WEIGHTS (64 * 1024) /* and so many leave the cache, where 8 bits each are half the way of 16 */

typedef struct NarrowLayer {
    NarrowConv conv;
    Device *device;
    Layout take, make;
    int32_t *offset;
    float *multiplier;
} NarrowLayer;

/* The library would use the same instructions, without those of VNNI or of longer registers. */
static bool serves(void)
{
    return dnnl_get_effective_cpu_isa() == dnnl_cpu_isa_avx2 && avx2_serves();
}

static bool matrix_geometry(const KernelSite *s, const Shape *weight, NarrowConv *c)
{
    int64_t count, channels = weight->dims[0], filters = weight->dims[1];
    if (!shape_count(&s->in[0].shape, &count) || channels < 1 || filters < 1 || count < 1) return false;
    int64_t rows = count / channels;
    *c = (NarrowConv){ .images = 1, .channels = channels, .filters = filters, .h = 1, .w = rows, .p = 1, .q = rows, .r = 1, .s = 1,
                       .stride = { 1, 1 }, .dilation = { 1, 1 } };
    return rows >= FEW_ROWS || channels * filters < MANY_WEIGHTS;
}

static bool conv_geometry(const KernelSite *s, const Shape *weight, NarrowConv *c)
{
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    Window w;
    Err ignored;
    int64_t group = node_int(s->node, "group", 1), count;
    if (x->rank > 4 || !shape_count(x, &count) || count < 1 || !shape_count(y, &count) || count < 1) return false;
    if (!shape_count(weight, &count) || count < 1 || window_init(&w, s->graph, s->node, x, weight, &ignored) != OK) return false;
    bool depthwise = group > 1 && group == x->dims[1] && group == weight->dims[0] && weight->dims[1] == 1;
    if (group != 1 && !depthwise) return false;
    if (group == 1 && x->dims[1] != weight->dims[1]) return false;
    *c = (NarrowConv){ .images = x->dims[0], .channels = x->dims[1], .filters = weight->dims[0], .h = w.in[1], .w = w.in[2], .p = w.out[1],
                       .q = w.out[2], .r = w.kernel[1], .s = w.kernel[2], .top = w.begin[1], .left = w.begin[2],
                       .stride = { w.stride[1], w.stride[2] }, .dilation = { w.dilation[1], w.dilation[2] }, .depthwise = depthwise };
    int64_t high = (c->r - 1) * c->dilation[0] + 1, wide = (c->s - 1) * c->dilation[1] + 1;
    /* no more padding than windows reach into: sizes stay near those of x */
    return c->top >= 0 && c->top < high && c->left >= 0 && c->left < wide && w.end[1] < high && w.end[2] < wide;
}

/* w: of the weights; NULL where it is asked only whether the layer fits. */
static bool geometry(const KernelSite *s, const IntegerWeights *w, NarrowConv *c)
{
    IntegerForm f = integer_form(s);
    const Shape *weight = &s->in[f.weight].shape;
    if (!(f.matrix ? matrix_geometry(s, weight, c) : conv_geometry(s, weight, c))) return false;
    c->is_signed = s->in[0].type == DT_INT8;
    c->threads = omp_get_max_threads();
    c->in_bytes = w != NULL && narrow_fits_bytes(c, w->data);
    int64_t taps = c->r * c->s;
    bool deep = !c->depthwise && taps > 1 && c->channels % 16 == 0 && c->channels * taps >= DEEP && c->p * c->q <= SMALL_IMAGE;
    return !(c->in_bytes && deep) && narrow_init(c);
}

static bool narrow_accept(const KernelSite *s)
{
    NarrowConv c;
    return serves() && integer_site_accepts(s) && geometry(s, NULL, &c);
}

static void narrow_release(void *state)
{
    NarrowLayer *l = state;
    if (l == NULL) return;
    free(l->offset);
    free(l->multiplier);
    free(l);
}

/* From sums to results. */
static Status ending(const KernelSite *s, const IntegerForm *f, const IntegerWeights *w, NarrowLayer *l)
{
    NarrowConv *c = &l->conv;
    const Tensor *zero = f->x_zero < s->input_count ? s->constant[f->x_zero] : NULL;
    const Tensor *bias = f->linear && s->input_count > 8 ? s->constant[8] : NULL, *scales = f->linear ? s->constant[4] : NULL;
    DType made = s->out[0].type;
    int64_t low = 0, high = 0, most = 255 * w->most;
    size_t count = (size_t)((c->filters + NARROW_FILTERS - 1) / NARROW_FILTERS * NARROW_FILTERS);
    l->offset = alloc_zeroed(count, sizeof *l->offset);
    l->multiplier = alloc_zeroed(count, sizeof *l->multiplier);
    if (l->offset == NULL || l->multiplier == NULL) return err_no_memory(s->err, "integer layer");
    if (most > INT32_MAX) return err_set(s->err, ERR_UNSUPPORTED, "sums beyond 32 bits");
    c->zero = zero != NULL ? (int32_t)tensor_get_int(zero, 0) : 0;
    int64_t each = w->channels * w->taps, shift = narrow_shift(c);
    c->reduces = true;
    for (int64_t k = 0; k < c->filters; k++) {
        int64_t sum = 0, at = narrow_place(c, k), add = bias != NULL ? tensor_get_int(bias, tensor_count(bias) == 1 ? 0 : k) : 0;
        for (int64_t i = k * each; shift != 0 && i < (k + 1) * each; i++) sum += w->data[i];
        add -= shift * sum;
        if (llabs(add) > INT32_MAX - most) return err_set(s->err, ERR_UNSUPPORTED, "sums beyond 32 bits");
        l->offset[at] = (int32_t)add;
        if (!f->linear) continue;
        float scale = (float)tensor_get(s->constant[1], 0) * (float)tensor_get(scales, tensor_count(scales) == 1 ? 0 : k);
        l->multiplier[at] = s->value[6] != 0 ? scale / (float)tensor_get(s->constant[6], 0) : scale;
        c->reduces = c->reduces && fabsf(l->multiplier[at]) <= 1; /* not so for NaN */
    }
    c->offset = l->offset;
    c->multiplier = l->multiplier;
    c->result = made == DT_FLOAT ? NARROW_FLOATS : made == DT_INT32 ? NARROW_SUMS : NARROW_BYTES;
    c->out_signed = made == DT_INT8;
    if (c->result != NARROW_BYTES) return OK;
    c->out_zero = s->constant[7] != NULL ? (int32_t)tensor_get_int(s->constant[7], 0) : 0;
    if (!integer_range(s->node, made, &low, &high)) return err_set(s->err, ERR_UNSUPPORTED, "no range");
    c->least = (float)(low - c->out_zero);
    c->most = (float)(high - c->out_zero);
    return OK;
}

typedef struct Filling {
    const NarrowConv *conv;
    const IntegerWeights *weights;
} Filling;

static void fill(const void *user, void *out)
{
    const Filling *f = user;
    narrow_pack(f->conv, f->weights->data, out);
}

static bool inner(const KernelSite *s, NarrowLayer *l)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nwc, dnnl_nhwc };
    static const dnnl_data_type_t types[] = { [DT_FLOAT] = dnnl_f32, [DT_UINT8] = dnnl_u8, [DT_INT8] = dnnl_s8, [DT_INT32] = dnnl_s32 };
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    return dnnl_memory_desc_init_by_tag(&l->take.md, x->rank, x->dims, types[s->in[0].type], tags[x->rank - 3]) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&l->make.md, y->rank, y->dims, types[s->out[0].type], tags[y->rank - 3]) == dnnl_success;
}

static Status narrow_prepare(KernelSite *s, void **state)
{
    IntegerForm f = integer_form(s);
    IntegerWeights w = { 0 };
    Status status;
    NarrowLayer *l = alloc_zeroed(1, sizeof *l);
    if (l == NULL) return err_no_memory(s->err, "kernel state");
    l->device = s->device;
    const Tensor *zero = f.weight_zero < s->input_count ? s->constant[f.weight_zero] : NULL;
    TRY_OUT(integer_weights_init(&w, s->constant[f.weight], zero, f.matrix, s->err));
    if (!geometry(s, &w, &l->conv)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "a layer for the library"));
    TRY_OUT(ending(s, &f, &w, l));
    const void *packed;
    /* one value may be packed with several zero points and for several forms */
    uint64_t variant = (f.weight_zero < s->input_count ? (uint64_t)s->value[f.weight_zero] : 0) << 16;
    variant |= (uint64_t)f.matrix << 3 | (uint64_t)l->conv.in_bytes << 2 | (uint64_t)l->conv.depthwise << 1 |
               (uint64_t)(l->conv.dilation[1] != 1);
    TRY_OUT(device_pack_by(s->device, s->value[f.weight], variant, narrow_packed(&l->conv), fill,
                           &(Filling){ &l->conv, &w }, &packed, s->err));
    l->conv.weights = packed;
    TRY_OUT(device_scratch(s->device, l->conv.scratch * (size_t)l->conv.threads, s->err));
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    if (!f.matrix) {
        if (!inner(s, l)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "no such order"));
        s->take[0] = &l->take;
        s->make[0] = &l->make;
    }
out:
    integer_weights_release(&w);
    if (status != OK) narrow_release(l);
    else *state = l;
    return status;
}

static Status narrow_run_kernel(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const NarrowLayer *l = state;
    narrow_run(&l->conv, in[0], l->device->scratch, out[0]);
    return OK;
}

#define ROW(op_name) { "integer16", op_name, narrow_accept, narrow_prepare, narrow_run_kernel, narrow_release, NULL, false }

const Kernel kernels_narrow[] = {
    ROW("QLinearConv"),
    ROW("QLinearMatMul"),
    ROW("ConvInteger"),
    ROW("MatMulInteger"),
    { .name = NULL },
};
