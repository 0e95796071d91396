/* QLinearConv with constant weights, in integers or in float32, whichever is faster here: SessionOptions.int8. Where the library's own
 * int8 kernels run without VNNI they lose where a filter meets few channels (depthwise, the first layer); engine/narrow.c does not. The
 * float form takes the numbers that the integers stand for and rounds as the group's own operators do, one after the other: now and then a
 * result differs by one step from the exact one, so it is for who allows it.
 *
 * Products have no such choice, for there is nothing to gain: their weights are a quarter of the bytes, and what decides at few rows is how
 * they are read. One Zen 3 core, ms in float32 and in int8: LeNet-5's 800 x 500 at one row 0.034 and 0.013, at 32 rows 0.35 and 0.20;
 * MobileNetV2's 1280 x 1000 at one row 0.26 and 0.11; 500 x 10 at 32 rows 0.011 either way, before bytes are read as floats.
 *
 * Both are made and timed on zeros, when a plan is; the slower is released. Shapes decide, and what the machine is doing just then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/dnnl_private.h"
#include "engine/integer_weights.h"
#include "engine/ops/integer.h"
#include "engine/ops/window.h"
#include "engine/requantize.h"

#define PIECE_BYTES ((int64_t)1 << 20) /* of float32 in and out */
#define TRIALS 5
#define GAIN 0.9 /* of the integers' time that the float form must stay below */

/* Inputs of QLinearConv. */
enum { IN_X, IN_X_SCALE, IN_X_ZERO, IN_W, IN_W_SCALE, IN_W_ZERO, IN_Y_SCALE, IN_Y_ZERO, IN_BIAS };

typedef struct FloatLayer {
    Device *device;
    Layout take, make;
    Primitive *conv;
    int64_t pieces, in_count, out_count; /* elements of one piece */
    ByteGrid x, y;
} FloatLayer;

typedef struct Choice {
    void *integer;     /* state of the integer row, or NULL */
    FloatLayer *other; /* or NULL */
    const Kernel *row; /* of integers */
    char text[64];
} Choice;

/* The row that takes the site in integers, or NULL. */
static const Kernel *integer_row(const KernelSite *s)
{
    static const Kernel *const lists[] = { kernels_narrow, kernels_integer };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const Kernel *k = lists[i]; k->name != NULL; k++)
            if (str_is(s->node->type, k->op) && k->accept(s)) return k;
    return NULL;
}

static bool choice_accept(const KernelSite *s)
{
    return s->int8 != INT8_ALWAYS && dtype_is_byte(s->out[0].type) && s->value[IN_Y_SCALE] != 0 && s->constant[IN_Y_SCALE] != NULL &&
           integer_row(s) != NULL;
}

/* --- the float form */

static void float_free(FloatLayer *l)
{
    if (l == NULL) return;
    primitive_release(l->conv);
    free(l);
}

static bool md_inner(dnnl_memory_desc_t *md, dnnl_data_type_t type, const Shape *shape, int64_t images)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nwc, dnnl_nhwc, dnnl_ndhwc };
    dnnl_dims_t dims;
    for (int i = 0; i < shape->rank; i++) {
        dims[i] = i == 0 ? images : shape->dims[i];
        if (dims[i] < 1) return false;
    }
    return dnnl_memory_desc_init_by_tag(md, shape->rank, dims, type, tags[shape->rank - 3]) == dnnl_success;
}

static ByteGrid grid_of(const KernelSite *s, DType type, int scale, int zero)
{
    ByteGrid g = { .is_signed = type == DT_INT8, .scale = (float)tensor_get(s->constant[scale], 0) };
    int64_t low = 0, high = 0;
    if (s->constant[zero] != NULL) g.zero = (int32_t)tensor_get_int(s->constant[zero], 0);
    if (scale == IN_Y_SCALE && integer_range(s->node, type, &low, &high)) {
        g.least = (float)(low - g.zero);
        g.most = (float)(high - g.zero);
    }
    return g;
}

/* The largest divisor of the batch whose images fit a piece. */
static int64_t images_of(int64_t batch, int64_t each)
{
    int64_t most = each > 0 && each < PIECE_BYTES ? PIECE_BYTES / each : 1;
    for (int64_t d = most < batch ? most : batch; d > 1; d--)
        if (batch % d == 0) return d;
    return 1;
}

/* Weights and bias as the numbers they stand for; both the caller's. */
static Status dequantize(const KernelSite *s, float **weights, float **bias)
{
    IntegerWeights w = { 0 };
    const Tensor *scales = s->constant[IN_W_SCALE], *b = s->input_count > IN_BIAS ? s->constant[IN_BIAS] : NULL;
    Status status = integer_weights_init(&w, s->constant[IN_W], s->constant[IN_W_ZERO], false, s->err);
    int64_t per = w.channels * w.taps;
    if (status == OK) {
        *weights = alloc_array((size_t)(w.filters * per) + 1, sizeof **weights);
        *bias = alloc_zeroed((size_t)w.filters + 1, sizeof **bias);
        if (*weights == NULL || *bias == NULL) status = err_no_memory(s->err, "float weights");
    }
    for (int64_t k = 0; k < w.filters && status == OK; k++) {
        float scale = (float)tensor_get(scales, tensor_count(scales) == 1 ? 0 : k);
        for (int64_t i = k * per; i < (k + 1) * per; i++) (*weights)[i] = (float)w.data[i] * scale;
        if (b != NULL) (*bias)[k] = (float)tensor_get_int(b, k) * ((float)tensor_get(s->constant[IN_X_SCALE], 0) * scale);
    }
    integer_weights_release(&w);
    return status;
}

typedef struct Orders {
    dnnl_memory_desc_t x, w, plain, bias, y;
    dnnl_dims_t strides, dilations, begin, end;
} Orders;

static bool orders_init(const KernelSite *s, int64_t images, Orders *o)
{
    const Shape *x = &s->in[IN_X].shape, *k = &s->in[IN_W].shape, *y = &s->out[0].shape;
    int64_t groups = node_int(s->node, "group", 1), dims[8];
    int rank = 0;
    Window w;
    if (groups < 1 || k->dims[0] % groups != 0 || window_init(&w, s->graph, s->node, x, k, NULL) != OK) return false;
    for (int i = 0; i < w.dims; i++) {
        int at = WINDOW_DIMS - w.dims + i;
        o->strides[i] = w.stride[at];
        o->dilations[i] = w.dilation[at] - 1;
        o->begin[i] = w.begin[at];
        o->end[i] = (w.out[at] - 1) * w.stride[at] + (w.kernel[at] - 1) * w.dilation[at] + 1 - w.in[at] - w.begin[at];
    }
    if (groups > 1) dims[rank++] = groups;
    dims[rank++] = k->dims[0] / groups;
    for (int i = 1; i < k->rank; i++) dims[rank++] = k->dims[i];
    return md_inner(&o->x, dnnl_f32, x, images) && md_inner(&o->y, dnnl_f32, y, images) && md_any(&o->w, dnnl_f32, rank, dims) &&
           md_plain(&o->plain, dnnl_f32, rank, dims) && md_plain(&o->bias, dnnl_f32, 1, &k->dims[0]);
}

static Status conv_new(KernelSite *s, const Orders *o, const float *weights, float *bias, Primitive **out)
{
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t desc = NULL;
    const void *packed;
    Status status;
    TRY(primitive_new(s->device, out, s->err));
    Primitive *p = *out;
    p->owned = bias;
    TRY_OUT(dnnl_check(dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct, &o->x, &o->w,
                                                                  &o->bias, &o->y, o->strides, o->dilations, o->begin, o->end),
                       "float convolution", s->err));
    TRY_OUT(desc_create(s->device, &d, NULL, "float convolution", &desc, s->err));
    const dnnl_memory_desc_t *order = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    TRY_OUT(device_pack(s->device, s->value[IN_W], (uint64_t)s->value[IN_W_SCALE] << 32 | (uint64_t)s->value[IN_W_ZERO] << 1 | 1, weights,
                        &o->plain, order, &packed, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_SRC, &o->x, ARG_IN, 0, NULL, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_WEIGHTS, order, ARG_FIXED, 0, packed, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_BIAS, &o->bias, ARG_FIXED, 0, bias, s->err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_DST, &o->y, ARG_OUT, 0, NULL, s->err));
    TRY_OUT(primitive_create(p, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

/* *out NULL: the library has no float kernel for it that is more than a reference. */
static Status float_new(KernelSite *s, FloatLayer **out)
{
    const Shape *x = &s->in[IN_X].shape, *y = &s->out[0].shape;
    int64_t in = 1, made = 1, batch = x->dims[0];
    float *weights = NULL, *bias = NULL;
    Orders o;
    *out = NULL;
    for (int i = 1; i < x->rank; i++) in *= x->dims[i];
    for (int i = 1; i < y->rank; i++) made *= y->dims[i];
    int64_t images = images_of(batch, (in + made) * (int64_t)sizeof(float));
    FloatLayer *l = alloc_zeroed(1, sizeof *l);
    if (l == NULL) return err_no_memory(s->err, "kernel state");
    Status status = ERR_UNSUPPORTED;
    if (batch < 1 || !orders_init(s, images, &o) || !md_inner(&l->take.md, s->in[0].type == DT_INT8 ? dnnl_s8 : dnnl_u8, x, batch) ||
        !md_inner(&l->make.md, s->out[0].type == DT_INT8 ? dnnl_s8 : dnnl_u8, y, batch))
        goto out;
    l->device = s->device;
    l->pieces = batch / images;
    l->in_count = images * in;
    l->out_count = images * made;
    l->x = grid_of(s, s->in[0].type, IN_X_SCALE, IN_X_ZERO);
    l->y = grid_of(s, s->out[0].type, IN_Y_SCALE, IN_Y_ZERO);
    TRY_OUT(dequantize(s, &weights, &bias));
    status = conv_new(s, &o, weights, bias, &l->conv);
    if (l->conv != NULL) bias = NULL; /* the primitive's */
    if (status == OK && strncmp(l->conv->name, "jit", 3) != 0 && strncmp(l->conv->name, "brg", 3) != 0) status = ERR_UNSUPPORTED;
    if (status == OK)
        status = device_scratch(s->device, ((size_t)l->in_count + (size_t)l->out_count + 32) * sizeof(float), s->err);
out:
    free(weights);
    free(bias);
    if (status == OK) *out = l;
    else float_free(l);
    return status == ERR_UNSUPPORTED ? OK : status;
}

static Status float_run(const FloatLayer *l, const uint8_t *in, uint8_t *out, Err *err)
{
    float *x = l->device->scratch, *y = x + (l->in_count + 15) / 16 * 16;
    for (int64_t i = 0; i < l->pieces; i++) {
        byte_read(&l->x, in + i * l->in_count, l->in_count, x);
        TRY(primitive_run(l->conv, (const void *[]){ x }, (void *[]){ y }, err));
        byte_write(&l->y, y, l->out_count, out + i * l->out_count);
    }
    return OK;
}

/* --- the choice */

static void choice_release(void *state)
{
    Choice *c = state;
    if (c == NULL) return;
    if (c->integer != NULL) c->row->release(c->integer);
    float_free(c->other);
    free(c);
}

static Status choice_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Choice *c = state;
    return c->integer != NULL ? c->row->run(c->integer, in, out, err) : float_run(c->other, in[0], out[0], err);
}

/* Seconds of the faster of a few runs of each form, in turns. */
static Status time_both(const Choice *c, size_t in_bytes, size_t out_bytes, double seconds[2], Err *err)
{
    uint8_t *x = aligned_alloc(64, (in_bytes + 64) / 64 * 64), *y = aligned_alloc(64, (out_bytes + 64) / 64 * 64);
    Status status = x != NULL && y != NULL ? OK : err_no_memory(err, "a trial");
    if (status == OK) memset(x, 0, in_bytes);
    for (int i = 0; status == OK && i < 2 * (TRIALS + 1); i++) { /* the first of each warms up */
        double start = clock_seconds();
        status = i % 2 == 0 ? c->row->run(c->integer, (const void *[KERNEL_OPERANDS]){ x }, (void *[KERNEL_OPERANDS]){ y }, err)
                            : float_run(c->other, x, y, err);
        double took = clock_seconds() - start;
        if (i < 4 || took < seconds[i % 2]) seconds[i % 2] = took;
    }
    free(x);
    free(y);
    return status;
}

/* Leaves one of the two forms and says why. */
static Status choose(Choice *c, const KernelSite *s, Err *err)
{
    int64_t in, out;
    double seconds[2] = { 0 };
    bool use_float = c->other != NULL;
    if (c->other != NULL && s->int8 == INT8_AUTO) {
        if (!shape_count(&s->in[0].shape, &in) || !shape_count(&s->out[0].shape, &out)) return err_set(err, ERR_BUG, "a layer too large");
        TRY(time_both(c, (size_t)in, (size_t)out, seconds, err));
        use_float = seconds[1] < GAIN * seconds[0];
        snprintf(c->text, sizeof c->text, "%s (float32 %.4f ms, int8 %.4f)", use_float ? "float32" : "int8", seconds[1] * 1e3,
                 seconds[0] * 1e3);
    } else {
        snprintf(c->text, sizeof c->text, "%s", use_float ? "float32" : "int8 (no float32 kernel)");
    }
    if (!use_float) {
        float_free(c->other);
        c->other = NULL;
        return OK;
    }
    c->row->release(c->integer);
    c->integer = NULL;
    return OK;
}

static Status choice_prepare(KernelSite *s, void **state)
{
    Choice *c = alloc_zeroed(1, sizeof *c);
    if (c == NULL) return err_no_memory(s->err, "kernel state");
    c->row = integer_row(s);
    Status status;
    if (c->row == NULL) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "no integer kernel"));
    TRY_OUT(c->row->prepare(s, &c->integer));
    TRY_OUT(float_new(s, &c->other));
    TRY_OUT(choose(c, s, s->err));
    if (c->other != NULL) { /* both take the same orders, but each has its own description of them */
        s->take[0] = &c->other->take;
        s->make[0] = &c->other->make;
    }
out:
    if (status != OK) choice_release(c);
    else *state = c;
    return status;
}

const char *choice_text(const Kernel *kernel, const void *state)
{
    return kernel->run == choice_run ? ((const Choice *)state)->text : NULL;
}

bool choice_in_float(const Kernel *kernel, const void *state)
{
    return kernel->run == choice_run && ((const Choice *)state)->other != NULL;
}

const Kernel kernels_choice[] = {
    { "auto", "QLinearConv", choice_accept, choice_prepare, choice_run, choice_release, NULL, false },
    { .name = NULL },
};
