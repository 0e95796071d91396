/* Additions and averages of 8-bit integers in the order their inputs are there in, as engine/ops/integer.h defines them. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/integer.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"
#include "engine/requantize.h"

static dnnl_data_type_t byte_type(DType t)
{
    return t == DT_INT8 ? dnnl_s8 : dnnl_u8;
}

/* --- addition */

typedef struct Adder {
    Layout take[2], make;
    ByteAdder add;
} Adder;

static bool add_accept(const KernelSite *s)
{
    return s->node->domain.len > 0 && dtype_is_byte(s->in[0].type) && dtype_is_byte(s->in[3].type) && dtype_is_byte(s->out[0].type) &&
           shape_eq(&s->in[0].shape, &s->in[3].shape);
}

static Status add_prepare(KernelSite *s, void **state)
{
    int64_t low, high;
    Adder *a = calloc(1, sizeof *a);
    if (a == NULL) return err_no_memory(s->err, "kernel state");
    if (!integer_range(s->node, s->out[0].type, &low, &high) || !shape_count(&s->in[0].shape, &a->add.count)) {
        free(a);
        return err_set(s->err, ERR_UNSUPPORTED, "no range");
    }
    for (int i = 0; i < 2; i++) {
        a->add.is_signed[i] = s->in[3 * i].type == DT_INT8;
        a->add.scale[i] = (float)tensor_get(s->constant[3 * i + 1], 0);
        a->add.zero[i] = (int32_t)tensor_get_int(s->constant[3 * i + 2], 0);
    }
    a->add.by = (float)tensor_get(s->constant[6], 0);
    a->add.made_zero = (int32_t)tensor_get_int(s->constant[7], 0);
    a->add.least = (float)(low - a->add.made_zero);
    a->add.most = (float)(high - a->add.made_zero);
    const Layout *given = s->given[0] != NULL ? s->given[0] : s->given[3];
    if (given != NULL && (int64_t)layout_bytes(given) == a->add.count) { /* no padding inside */
        a->take[0] = a->take[1] = a->make = *given;
        a->take[0].md.data_type = byte_type(s->in[0].type);
        a->take[1].md.data_type = byte_type(s->in[3].type);
        a->make.md.data_type = byte_type(s->out[0].type);
        s->take[0] = &a->take[0];
        s->take[3] = &a->take[1];
        s->make[0] = &a->make;
    }
    for (int i = 1; i < s->input_count; i++) s->unused[i] = i != 3;
    *state = a;
    return OK;
}

static Status add_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Adder *a = state;
    byte_add(&a->add, in[0], in[3], out[0]);
    return OK;
}

/* --- averages, channels innermost */

typedef struct Average {
    const Device *device; /* for its scratch: totals[channels] */
    Layout take, make;
    Window w;
    int64_t images, channels, in_plane, out_plane;
    bool is_signed, count_padding;
    int64_t x_zero, zero;
    float ratio, least, most;
} Average;

static bool average_accept(const KernelSite *s)
{
    int rank = s->in[0].shape.rank;
    return s->node->domain.len > 0 && dtype_is_byte(s->in[0].type) && dtype_is_byte(s->out[0].type) && rank >= 3 && rank <= 5;
}

static Status average_prepare(KernelSite *s, void **state)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nwc, dnnl_nhwc, dnnl_ndhwc };
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    int64_t low, high, count;
    Average *a = calloc(1, sizeof *a);
    Status status = OK;
    if (a == NULL) return err_no_memory(s->err, "kernel state");
    a->device = s->device;
    a->w.dims = x->rank - 2;
    for (int i = 0; i < WINDOW_DIMS; i++) {
        a->w.in[i] = a->w.kernel[i] = i < WINDOW_DIMS - a->w.dims ? 1 : x->dims[i - (WINDOW_DIMS - a->w.dims) + 2];
        a->w.out[i] = a->w.stride[i] = a->w.dilation[i] = 1;
    }
    if (!str_is(s->node->type, "QLinearGlobalAveragePool")) TRY_OUT(window_init(&a->w, s->graph, s->node, x, NULL, s->err));
    if (!integer_range(s->node, s->out[0].type, &low, &high) || !shape_count(x, &count) || count == 0 || !shape_count(y, &count) ||
        count == 0 || window_kernel_count(&a->w) > 1 << 22) {
        status = err_set(s->err, ERR_UNSUPPORTED, "an empty or a huge average");
        goto out;
    }
    a->images = x->dims[0];
    a->channels = x->dims[1];
    a->in_plane = a->w.in[0] * a->w.in[1] * a->w.in[2];
    a->out_plane = a->w.out[0] * a->w.out[1] * a->w.out[2];
    a->is_signed = s->in[0].type == DT_INT8;
    a->count_padding = node_int(s->node, "count_include_pad", 0) != 0;
    a->x_zero = tensor_get_int(s->constant[2], 0);
    a->zero = tensor_get_int(s->constant[4], 0);
    a->ratio = (float)tensor_get(s->constant[1], 0) / (float)tensor_get(s->constant[3], 0);
    a->least = (float)(low - a->zero);
    a->most = (float)(high - a->zero);
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&a->take.md, x->rank, x->dims, byte_type(s->in[0].type), tags[x->rank - 3]), "order",
                       s->err));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&a->make.md, y->rank, y->dims, byte_type(s->out[0].type), tags[x->rank - 3]), "order",
                       s->err));
    s->take[0] = &a->take;
    s->make[0] = &a->make;
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    TRY_OUT(device_scratch(s->device, (size_t)a->channels * sizeof(int32_t), s->err));
out:
    if (status != OK) free(a);
    else *state = a;
    return status;
}

/* Sums of the window at output position o into total[channels]; returns how many elements count. */
static int64_t window_totals(const Average *a, const uint8_t *x, int64_t o, int32_t *total)
{
    const Window *w = &a->w;
    int64_t at[3] = { o / (w->out[1] * w->out[2]), o / w->out[2] % w->out[1], o % w->out[2] }, counted = 0, met = 0;
    memset(total, 0, (size_t)a->channels * sizeof *total);
    for (int64_t i = 0; i < window_kernel_count(w); i++) {
        int64_t tap[3] = { i / (w->kernel[1] * w->kernel[2]), i / w->kernel[2] % w->kernel[1], i % w->kernel[2] }, p[3];
        bool inside = true, reached = true;
        for (int k = 0; k < 3; k++) {
            p[k] = at[k] * w->stride[k] - w->begin[k] + tap[k] * w->dilation[k];
            inside = inside && p[k] >= 0 && p[k] < w->in[k];
            reached = reached && p[k] < w->in[k] + w->end[k];
        }
        counted += a->count_padding ? reached : inside;
        if (!inside) continue;
        met++;
        const uint8_t *from = x + ((p[0] * w->in[1] + p[1]) * w->in[2] + p[2]) * a->channels;
        uint8_t turn = a->is_signed ? 128 : 0;
#pragma omp simd
        for (int64_t c = 0; c < a->channels; c++) total[c] += (int32_t)(uint8_t)(from[c] ^ turn);
    }
    int32_t shift = (int32_t)(met * (a->x_zero + (a->is_signed ? 128 : 0)));
    for (int64_t c = 0; c < a->channels; c++) total[c] -= shift;
    return counted;
}

static Status average_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    Average *a = state;
    int32_t *total = a->device->scratch;
    for (int64_t n = 0; n < a->images; n++)
        for (int64_t o = 0; o < a->out_plane; o++) {
            const uint8_t *x = (const uint8_t *)in[0] + n * a->in_plane * a->channels;
            uint8_t *y = (uint8_t *)out[0] + (n * a->out_plane + o) * a->channels;
            int64_t counted = window_totals(a, x, o, total);
            for (int64_t c = 0; c < a->channels; c++) {
                float mean = counted > 0 ? (float)total[c] / (float)counted : 0;
                y[c] = (uint8_t)((int64_t)quant_round(mean * a->ratio, a->least, a->most) + a->zero);
            }
        }
    return OK;
}

const Kernel kernels_integer_sums[] = {
    { "integer", "QLinearAdd", add_accept, add_prepare, add_run, free, NULL, false },
    { "integer", "QLinearAveragePool", average_accept, average_prepare, average_run, free, NULL, false },
    { "integer", "QLinearGlobalAveragePool", average_accept, average_prepare, average_run, free, NULL, false },
    { .name = NULL },
};
