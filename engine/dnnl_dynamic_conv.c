/* ConvInteger whose zero point is found while the network runs, with constant weights: the bytes less their zero point and the weights less
 * theirs go through the float32 convolution, which adds whole numbers exactly below 2^24, in the library's order of elements. What a
 * dynamically quantized file has behind it is computed along, operator by operator in float32:
 *
 *   ConvInteger -> Cast [-> Mul by a scale, or one per filter] [-> Add of a bias per filter] [-> Relu] */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/vectors.h"
#include "engine/dnnl_private.h"
#include "engine/integer_weights.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define BLOCK 8

/* A factor or an addend: an input, a constant, or none. */
typedef struct Operand {
    int input; /* -1: `value` */
    bool single;
    float value;
} Operand;

typedef struct DynamicConv {
    Primitive *sum;
    Layout take, make; /* of bytes, and of the result */
    int64_t in_count, planes, pixels, inner, channels, blocks; /* result: [planes, pixels, inner]; channels: a multiple of inner's */
    bool is_signed, zero, casts, relu;
    Operand scale, bias;
    float *factor, *addend; /* [channels] of this run */
} DynamicConv;

static bool conv_accept(const KernelSite *s)
{
    int64_t count;
    const Shape *x = &s->in[0].shape, *w = &s->in[1].shape;
    if (s->node->domain.len != 0 || !dtype_is_byte(s->in[0].type) || !dtype_is_byte(s->in[1].type) || s->constant[1] == NULL) return false;
    if (x->rank != 4 || w->rank != 4 || !shape_count(x, &count) || count < 1 || !shape_count(w, &count) || count < 1) return false;
    if (s->input_count > 2 && s->value[2] != 0 && (!shape_count(&s->in[2].shape, &count) || count != 1)) return false;
    if (s->input_count < 4 || s->value[3] == 0) return true;
    return s->constant[3] != NULL && (tensor_count(s->constant[3]) == 1 || tensor_count(s->constant[3]) == w->dims[0]);
}

/* --- what follows */

/* The operand of a Mul or Add besides what the convolution made: one number, or one per filter. */
static ValueId operand_of(const KernelSite *s, const Node *n)
{
    ValueId made = s->follower_count > 0 ? s->follower[s->follower_count - 1]->outputs[0] : 0;
    if (n->input_count != 2 || (n->inputs[0] == made) == (n->inputs[1] == made)) return 0;
    ValueId v = n->inputs[n->inputs[0] == made ? 1 : 0];
    const Value *other = graph_value(s->graph, v);
    const Shape *shape = other->tensor != NULL ? &other->tensor->shape : &other->shape;
    if ((other->tensor != NULL ? other->tensor->type : other->type) != DT_FLOAT || shape->rank < 0 || shape->rank > 4) return 0;
    for (int i = 0; i < shape->rank; i++) {
        int64_t filters = shape->rank - i == 3 ? s->in[1].shape.dims[0] : 1;
        if (shape->dims[i] != 1 && shape->dims[i] != filters) return 0;
    }
    return v;
}

static bool conv_fuse(const KernelSite *s, const Node *n)
{
    if (n->domain.len != 0) return false;
    if (s->follower_count == 0) return str_is(n->type, "Cast") && node_int(n, "to", 0) == DT_FLOAT;
    const Node *last = s->follower[s->follower_count - 1];
    bool cast = str_is(last->type, "Cast"), scaled = str_is(last->type, "Mul"), relu = str_is(last->type, "Relu");
    if (str_is(n->type, "Mul")) return cast && operand_of(s, n) != 0;
    if (str_is(n->type, "Add")) return (cast || scaled) && operand_of(s, n) != 0;
    return str_is(n->type, "Relu") && !relu;
}

/* Followers as operands; those that are no constant of one entry are the site's further inputs, in order. */
static void take_followers(const KernelSite *s, DynamicConv *d)
{
    int next = s->node->input_count;
    d->scale = (Operand){ -1, true, 1 };
    d->bias = (Operand){ -1, true, -0.0F }; /* adding it changes nothing */
    d->casts = s->follower_count > 0;
    for (int i = 1; i < s->follower_count; i++) {
        const Node *n = s->follower[i];
        if (str_is(n->type, "Relu")) {
            d->relu = true;
            continue;
        }
        Operand *o = str_is(n->type, "Mul") ? &d->scale : &d->bias;
        const Tensor *t = node_constant(s->graph, n, n->inputs[0] == s->follower[i - 1]->outputs[0] ? 1 : 0);
        int64_t count = 1;
        if (t != NULL && tensor_count(t) == 1) {
            o->value = tensor_floats(t)[0];
            continue;
        }
        o->input = next++;
        o->single = shape_count(&s->in[o->input].shape, &count) && count == 1;
    }
}

/* --- making one */

static void conv_release(void *state)
{
    DynamicConv *d = state;
    if (d == NULL) return;
    primitive_release(d->sum);
    free(d->factor);
    free(d);
}

/* The order of four axes with elements of another type; false: none of the three the library uses here. *inner: channels side by side. */
static bool order_as(const dnnl_memory_desc_t *of, dnnl_data_type_t type, dnnl_memory_desc_t *md, int64_t *inner)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nchw, dnnl_nChw8c, dnnl_nhwc };
    for (int i = 0; i < 3; i++) {
        dnnl_memory_desc_t same;
        if (dnnl_memory_desc_init_by_tag(&same, 4, of->dims, of->data_type, tags[i]) != dnnl_success ||
            !dnnl_memory_desc_equal(&same, of)) continue;
        *inner = i == 0 ? 1 : i == 1 ? BLOCK : of->dims[1];
        return dnnl_memory_desc_init_by_tag(md, 4, of->dims, type, tags[i]) == dnnl_success;
    }
    return false;
}

static Status describe(const KernelSite *s, const IntegerWeights *w, dnnl_memory_desc_t *plain, dnnl_primitive_desc_t *out)
{
    Window g;
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape, *k = &s->in[1].shape;
    int64_t groups = node_int(s->node, "group", 1);
    dnnl_dims_t dims, strides = { 0 }, dilations = { 0 }, begin = { 0 }, end = { 0 };
    dnnl_memory_desc_t md[3];
    dnnl_convolution_desc_t c;
    int rank = 0;
    if (groups < 1 || x->dims[1] != k->dims[1] * groups || k->dims[0] % groups != 0)
        return err_set(s->err, ERR_UNSUPPORTED, "channels that do not fit the group");
    TRY(window_init(&g, s->graph, s->node, x, k, s->err));
    for (int i = 0; i < 2; i++) {
        strides[i] = g.stride[i + 1];
        dilations[i] = g.dilation[i + 1] - 1;
        begin[i] = g.begin[i + 1];
        end[i] = (g.out[i + 1] - 1) * g.stride[i + 1] + (g.kernel[i + 1] - 1) * g.dilation[i + 1] + 1 - g.in[i + 1] - g.begin[i + 1];
    }
    if (groups > 1) dims[rank++] = groups;
    dims[rank++] = w->filters / groups;
    dims[rank++] = w->channels;
    dims[rank++] = k->dims[2];
    dims[rank++] = k->dims[3];
    if (!md_any(&md[0], dnnl_f32, 4, x->dims) || !md_any(&md[1], dnnl_f32, rank, dims) || !md_any(&md[2], dnnl_f32, 4, y->dims) ||
        !md_plain(plain, dnnl_f32, rank, dims))
        return err_set(s->err, ERR_UNSUPPORTED, "an empty convolution");
    TRY(dnnl_check(dnnl_dilated_convolution_forward_desc_init(&c, dnnl_forward_inference, dnnl_convolution_direct, &md[0], &md[1], NULL,
                                                              &md[2], strides, dilations, begin, end), "ConvInteger", s->err));
    return desc_create(s->device, &c, NULL, "ConvInteger", out, s->err);
}

static Status convolution(KernelSite *s, DynamicConv *d, const IntegerWeights *w)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t plain;
    int64_t inner;
    uint64_t zero = s->input_count > 3 ? s->value[3] : 0;
    Status status;
    int64_t count = w->channels * w->filters * w->taps;
    float *floats = alloc_array((size_t)count + 1, sizeof *floats);
    if (floats == NULL) return err_no_memory(s->err, "integer weights");
    for (int64_t i = 0; i < count; i++) floats[i] = w->data[i];
    TRY_OUT(primitive_new(s->device, &d->sum, s->err));
    TRY_OUT(describe(s, w, &plain, &desc));
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    if (!order_as(src, d->is_signed ? dnnl_s8 : dnnl_u8, &d->take.md, &inner) ||
        !order_as(dst, d->casts ? dnnl_f32 : dnnl_s32, &d->make.md, &d->inner)) {
        status = err_set(s->err, ERR_UNSUPPORTED, "an order of elements of its own");
        goto out;
    }
    d->in_count = (int64_t)layout_bytes(&d->take);
    status = primitive_weighted(d->sum, desc, s->value[1], zero << 16 | 1, floats, &plain, s->err);
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    free(floats);
    return status;
}

static Status conv_prepare(KernelSite *s, void **state)
{
    IntegerWeights w = { 0 };
    Status status;
    const Shape *y = &s->out[0].shape;
    DynamicConv *d = alloc_zeroed(1, sizeof *d);
    if (d == NULL) return err_no_memory(s->err, "kernel state");
    d->is_signed = s->in[0].type == DT_INT8;
    d->zero = s->input_count > 2 && s->value[2] != 0;
    take_followers(s, d);
    TRY_OUT(integer_weights_whole(&w, s->constant[1], s->input_count > 3 ? s->constant[3] : NULL, false, s->err));
    TRY_OUT(convolution(s, d, &w));
    d->pixels = y->dims[2] * y->dims[3];
    d->blocks = (w.filters + d->inner - 1) / d->inner;
    d->channels = w.filters;
    d->planes = y->dims[0] * d->blocks;
    d->factor = alloc_zeroed((size_t)(d->blocks * d->inner) * 2, sizeof *d->factor);
    if (d->factor == NULL) TRY_OUT(err_no_memory(s->err, "kernel state"));
    d->addend = d->factor + d->blocks * d->inner;
    TRY_OUT(device_scratch(s->device, (size_t)d->in_count * sizeof(float), s->err));
    s->take[0] = layout_is_plain(&d->take) ? NULL : &d->take;
    s->make[0] = layout_is_plain(&d->make) ? NULL : &d->make;
    s->unused[1] = true;
    if (s->node->input_count > 3) s->unused[3] = true;
out:
    integer_weights_release(&w);
    if (status != OK) conv_release(d);
    else *state = d;
    return status;
}

/* --- running */

VECTOR_BODY void enter_bytes(const uint8_t *x, int32_t turn, int32_t shift, float *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (float)((int32_t)(x[i] ^ (uint8_t)turn) - shift);
}

static void enter_bytes_any(const uint8_t *x, int32_t turn, int32_t shift, float *y, int64_t count)
{
    enter_bytes(x, turn, shift, y, count);
}

VECTOR_AVX2 static void enter_bytes_avx2(const uint8_t *x, int32_t turn, int32_t shift, float *y, int64_t count)
{
    enter_bytes(x, turn, shift, y, count);
}

/* y[pixels, inner] = y factor + addend, in that order and apart. */
VECTOR_BODY void finish_plane(float *y, int64_t pixels, int64_t inner, const float *factor, const float *addend, bool relu)
{
    float least = relu ? 0 : -INFINITY;
    if (inner == 1) {
        float by = factor[0], plus = addend[0];
#pragma omp simd
        for (int64_t i = 0; i < pixels; i++) {
            float v = y[i] * by + plus;
            y[i] = v > least ? v : least;
        }
        return;
    }
    for (int64_t p = 0; p < pixels; p++, y += inner) {
#pragma omp simd
        for (int64_t i = 0; i < inner; i++) {
            float v = y[i] * factor[i] + addend[i];
            y[i] = v > least ? v : least;
        }
    }
}

static void finish_plane_any(float *y, int64_t pixels, int64_t inner, const float *factor, const float *addend, bool relu)
{
    finish_plane(y, pixels, inner, factor, addend, relu);
}

VECTOR_AVX2 static void finish_plane_avx2(float *y, int64_t pixels, int64_t inner, const float *factor, const float *addend, bool relu)
{
    if (inner == BLOCK) finish_plane(y, pixels, BLOCK, factor, addend, relu);
    else finish_plane(y, pixels, inner, factor, addend, relu);
}

static void read_operand(const Operand *o, const void *const *in, int64_t count, float *out)
{
    const float *given = o->input >= 0 ? in[o->input] : NULL;
    for (int64_t k = 0; k < count; k++) out[k] = given == NULL ? o->value : given[o->single ? 0 : k];
}

#define PIECE 4096

static Status conv_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const DynamicConv *d = state;
    float *x = d->sum->device->scratch;
    const uint8_t *bytes = in[0], *zero = d->zero ? in[2] : NULL;
    int32_t turn = d->is_signed ? 128 : 0, shift = zero == NULL ? turn : (int32_t)(*zero ^ (uint8_t)turn);
#pragma omp parallel for schedule(static) if (d->in_count > PARALLEL_FROM)
    for (int64_t at = 0; at < d->in_count; at += PIECE)
        VECTOR_PICK(enter_bytes)(bytes + at, turn, shift, x + at, d->in_count - at < PIECE ? d->in_count - at : PIECE);
    TRY(primitive_run(d->sum, (const void *[]){ x }, out, err));
    float *y = out[0];
    int64_t plane = d->pixels * d->inner, count = d->planes * plane;
    if (!d->casts) {
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
        for (int64_t i = 0; i < count; i++) {
            int32_t sum = (int32_t)y[i];
            memcpy(&y[i], &sum, sizeof sum);
        }
        return OK;
    }
    read_operand(&d->scale, in, d->channels, d->factor);
    read_operand(&d->bias, in, d->channels, d->addend);
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t p = 0; p < d->planes; p++) {
        int64_t first = p % d->blocks * d->inner;
        VECTOR_PICK(finish_plane)(y + p * plane, d->pixels, d->inner, d->factor + first, d->addend + first, d->relu);
    }
    return OK;
}

const Kernel kernels_dynamic_conv[] = {
    { "dynamic", "ConvInteger", conv_accept, conv_prepare, conv_run, conv_release, conv_fuse, true },
    { .name = NULL },
};
