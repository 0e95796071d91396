/* Dilated Conv whose padding the library's own kernels do not take: its windows are laid out as rows of [pixels, taps * channels], channels
 * innermost, and go through the packed product. The library would do the same by way of its matrix product, whose code is made when it
 * first runs, which takes 15 to 25 ms, and which splits sums by the number of threads. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define MOST_UNFOLDED ((int64_t)1 << 22) /* floats */

typedef struct Unfolded {
    Primitive *product;
    float *bias; /* that of a normalisation; else NULL */
    Layout take, make; /* channels innermost */
    Window w;
    int64_t images, channels;
} Unfolded;

static bool window_of(const KernelSite *s, Window *w)
{
    const Shape *x = &s->in[0].shape, *k = &s->in[1].shape;
    Err ignored;
    if (x->rank != 4 || k->rank != 4 || node_int(s->node, "group", 1) != 1 || s->constant[1] == NULL) return false;
    if (s->follower_count > (conv_norm(s) != NULL)) return false;
    if (s->input_count > 2 && s->value[2] != 0 && s->constant[2] == NULL) return false;
    return window_init(w, s->graph, s->node, x, k, &ignored) == OK && (w->dilation[1] > 1 || w->dilation[2] > 1);
}

bool conv_unfolds(const KernelSite *s)
{
    Window w;
    int64_t count;
    if (!window_of(s, &w) || !shape_count(&s->in[0].shape, &count) || count < 1 || !shape_count(&s->out[0].shape, &count) || count < 1)
        return false;
    const Shape *y = &s->out[0].shape;
    int64_t width = s->in[1].shape.dims[1] * w.kernel[1] * w.kernel[2];
    return width > 0 && width < MOST_UNFOLDED && y->dims[0] * y->dims[2] * y->dims[3] <= MOST_UNFOLDED / width;
}

static bool unfold_accept(const KernelSite *s)
{
    bool bias = s->input_count > 2 && s->value[2] != 0;
    return s->node->domain.len == 0 && site_is_float(s, 0) && site_is_float(s, 1) && (!bias || site_is_float(s, 2)) &&
           s->out[0].type == DT_FLOAT && conv_unfolds(s);
}

static bool unfold_fuse(const KernelSite *s, const Node *n)
{
    return node_is(n, "BatchNormalization") && conv_norm_fits(s, n);
}

static void unfold_release(void *state)
{
    Unfolded *u = state;
    if (u == NULL) return;
    primitive_release(u->product);
    free(u->bias);
    free(u);
}

static Status pack_weights(KernelSite *s, Unfolded *u)
{
    int64_t filters = s->in[1].shape.dims[0], channels = u->channels, taps = u->w.kernel[1] * u->w.kernel[2], width = taps * channels;
    const float *from = tensor_floats(s->constant[1]), *bias = NULL;
    const Node *norm = conv_norm(s);
    float *scaled = NULL, *turned = NULL;
    Status status;
    const Shape *y = &s->out[0].shape;
    if (s->input_count > 2 && s->value[2] != 0) bias = tensor_floats(s->constant[2]);
    if (norm != NULL) {
        TRY_OUT(conv_fold_norm(s, norm, &scaled, &u->bias));
        from = scaled;
        bias = u->bias;
    }
    turned = alloc_array((size_t)(filters * width), sizeof *turned);
    if (turned == NULL) TRY_OUT(err_no_memory(s->err, "convolution weights"));
    for (int64_t k = 0; k < filters; k++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++) turned[k * width + t * channels + c] = from[(k * channels + c) * taps + t];
    uint64_t variant = (norm != NULL ? (uint64_t)norm->outputs[0] : 0) << 1 | 1;
    TRY_OUT(product_new(s->device, s->value[1], variant, turned, bias, y->dims[0] * y->dims[2] * y->dims[3], width, filters, &u->product,
                        s->err));
out:
    free(scaled);
    free(turned);
    return status;
}

static Status unfold_prepare(KernelSite *s, void **state)
{
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    Status status;
    Unfolded *u = alloc_zeroed(1, sizeof *u);
    if (u == NULL) return err_no_memory(s->err, "kernel state");
    if (!window_of(s, &u->w)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "a window that does not unfold"));
    u->images = x->dims[0];
    u->channels = x->dims[1];
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&u->take.md, 4, x->dims, dnnl_f32, dnnl_nhwc), "order", s->err));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&u->make.md, 4, y->dims, dnnl_f32, dnnl_nhwc), "order", s->err));
    TRY_OUT(pack_weights(s, u));
    int64_t rows = y->dims[0] * y->dims[2] * y->dims[3], width = u->channels * u->w.kernel[1] * u->w.kernel[2];
    TRY_OUT(device_scratch(s->device, (size_t)(rows * width) * sizeof(float), s->err));
    if (!layout_is_plain(&u->take)) s->take[0] = &u->take;
    if (!layout_is_plain(&u->make)) s->make[0] = &u->make;
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
out:
    if (status != OK) unfold_release(u);
    else *state = u;
    return status;
}

/* The windows of one row of output pixels. */
static void unfold_row(const Unfolded *u, const float *x, int64_t p, float *out)
{
    const Window *w = &u->w;
    size_t bytes = (size_t)u->channels * sizeof *out;
    for (int64_t q = 0; q < w->out[2]; q++)
        for (int64_t r = 0; r < w->kernel[1]; r++)
            for (int64_t t = 0; t < w->kernel[2]; t++, out += u->channels) {
                int64_t h = p * w->stride[1] - w->begin[1] + r * w->dilation[1], v = q * w->stride[2] - w->begin[2] + t * w->dilation[2];
                if (h < 0 || h >= w->in[1] || v < 0 || v >= w->in[2]) memset(out, 0, bytes);
                else memcpy(out, x + (h * w->in[2] + v) * u->channels, bytes);
            }
}

static Status unfold_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Unfolded *u = state;
    const Window *w = &u->w;
    float *rows = u->product->device->scratch;
    int64_t image = w->in[1] * w->in[2] * u->channels, row = w->out[2] * w->kernel[1] * w->kernel[2] * u->channels;
#pragma omp parallel for schedule(static) if (u->images * w->out[1] * row > PARALLEL_FROM)
    for (int64_t i = 0; i < u->images * w->out[1]; i++)
        unfold_row(u, (const float *)in[0] + i / w->out[1] * image, i % w->out[1], rows + i * row);
    return primitive_run(u->product, (const void *[]){ rows }, out, err);
}

const Kernel kernels_unfold[] = {
    { "unfolded", "Conv", unfold_accept, unfold_prepare, unfold_run, unfold_release, unfold_fuse, false },
    { .name = NULL },
};
