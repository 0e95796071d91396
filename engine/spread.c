/* Small ConvTranspose: each input row, times one tap's weight, is added to the output row where it belongs. The library computes those
 * for which it has no kernel by its matrix product, whose programs it writes when the first of them runs: 12 ms, thousands of times what
 * a small layer takes here. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/vectors.h"
#include "engine/dnnl_private.h"
#include "engine/ops/window.h"

#define MOST_WORK ((int64_t)1 << 18)  /* multiply-adds */
#define SHARED_WORK ((int64_t)1 << 16) /* for threads to pay */

typedef struct Spread {
    Window w;
    int64_t batch, groups, channels, filters; /* channels and filters of one group */
    int64_t in_count, out_count, taps;
    bool biased, shared;
} Spread;

/* Entries of an input axis whose outputs lie inside: from `first` on, `count` of them; the first one's output. */
typedef struct Span {
    int64_t first, count, out;
} Span;

static bool spread_init(const KernelSite *s, Spread *p)
{
    const Shape *x = &s->in[0].shape, *w = &s->in[1].shape;
    int64_t groups = node_int(s->node, "group", 1), work, spatial;
    *p = (Spread){ .groups = groups };
    if (x->rank < 3 || x->rank > 5 || w->rank != x->rank || groups < 1) return false;
    if (x->dims[1] != w->dims[0] || w->dims[0] % groups != 0) return false;
    if (window_init_transposed(&p->w, s->graph, s->node, x, w, NULL) != OK) return false;
    p->batch = x->dims[0];
    p->channels = w->dims[0] / groups;
    p->filters = w->dims[1];
    p->biased = s->input_count > 2 && s->value[2] != 0;
    p->in_count = p->w.in[0] * p->w.in[1] * p->w.in[2];
    p->out_count = p->w.out[0] * p->w.out[1] * p->w.out[2];
    p->taps = window_kernel_count(&p->w);
    if (!shape_count(x, &spatial) || !mul_i64(spatial, p->filters, &work) || !mul_i64(work, p->taps, &work)) return false;
    p->shared = work >= SHARED_WORK;
    return p->batch > 0 && p->in_count > 0 && work <= MOST_WORK;
}

bool conv_spreads(const KernelSite *s)
{
    Spread p;
    return spread_init(s, &p);
}

static bool spread_accept(const KernelSite *s)
{
    bool biased = s->input_count > 2 && s->value[2] != 0;
    return site_is_float(s, 0) && site_is_float(s, 1) && (!biased || site_is_float(s, 2)) && s->out[0].type == DT_FLOAT && conv_spreads(s);
}

static Status spread_prepare(KernelSite *s, void **state)
{
    Spread *p = alloc_zeroed(1, sizeof *p);
    if (p == NULL) return err_no_memory(s->err, "kernel state");
    *state = p;
    if (spread_init(s, p)) return OK;
    free(p);
    return err_set(s->err, ERR_UNSUPPORTED, "a transposed convolution of another kind");
}

static Span span_of(const Window *w, int axis, int64_t tap)
{
    int64_t shift = tap * w->dilation[axis] - w->begin[axis], stride = w->stride[axis]; /* out = in * stride + shift */
    int64_t first = shift < 0 ? (-shift + stride - 1) / stride : 0, room = w->out[axis] - 1 - shift;
    int64_t end = room < 0 ? 0 : room / stride + 1;
    if (end > w->in[axis]) end = w->in[axis];
    return (Span){ first, end > first ? end - first : 0, first * stride + shift };
}

VECTOR_BODY void add_row(float *y, const float *x, float weight, int64_t count, int64_t stride)
{
    if (stride == 1) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) y[i] += weight * x[i];
    } else {
        for (int64_t i = 0; i < count; i++) y[i * stride] += weight * x[i];
    }
}

/* One channel's part of one filter's output. */
VECTOR_BODY void add_plane(const Window *w, const float *x, const float *weights, float *y)
{
    for (int64_t a = 0, tap = 0; a < w->kernel[0]; a++)
        for (int64_t b = 0; b < w->kernel[1]; b++)
            for (int64_t c = 0; c < w->kernel[2]; c++, tap++) {
                Span d = span_of(w, 0, a), h = span_of(w, 1, b), v = span_of(w, 2, c);
                for (int64_t i = 0; i < d.count; i++)
                    for (int64_t j = 0; j < h.count; j++) {
                        const float *from = x + ((d.first + i) * w->in[1] + h.first + j) * w->in[2] + v.first;
                        float *to = y + ((d.out + i * w->stride[0]) * w->out[1] + h.out + j * w->stride[1]) * w->out[2] + v.out;
                        add_row(to, from, weights[tap], v.count, w->stride[2]);
                    }
            }
}

static void add_plane_any(const Window *w, const float *x, const float *weights, float *y)
{
    add_plane(w, x, weights, y);
}

VECTOR_AVX2 static void add_plane_avx2(const Window *w, const float *x, const float *weights, float *y)
{
    add_plane(w, x, weights, y);
}

static Status spread_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Spread *p = state;
    const float *x = in[0], *weights = in[1], *bias = p->biased ? in[2] : NULL;
    int64_t filters = p->groups * p->filters;
#pragma omp parallel for schedule(static) if (p->shared)
    for (int64_t at = 0; at < p->batch * filters; at++) {
        int64_t k = at % filters, first = k / p->filters * p->channels; /* the first channel of the filter's group */
        float *y = (float *)out[0] + at * p->out_count;
        for (int64_t i = 0; i < p->out_count; i++) y[i] = bias != NULL ? bias[k] : 0;
        for (int64_t c = first; c < first + p->channels; c++)
            VECTOR_PICK(add_plane)(&p->w, x + (at / filters * p->groups * p->channels + c) * p->in_count,
                                   weights + (c * p->filters + k % p->filters) * p->taps, y);
    }
    return OK;
}

const Kernel kernels_spread[] = {
    { "spread", "ConvTranspose", spread_accept, spread_prepare, spread_run, free, NULL, false },
    { .name = NULL },
};
