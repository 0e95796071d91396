/* MaxPool and whole-number upsampling over channels that lie side by side, in the library's blocks of eight or all of them innermost: its
 * own pooling comes to a tenth of what memory gives at small windows, and its resampling is not asked for. Bytes lie innermost, or are
 * brought there. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 8
#define BYTES 16 /* at a time */

/* x[planes, H, W, inner] to y[planes, P, Q, inner]: a plane is an image, or eight channels of one. */
typedef struct Planes {
    Layout take, make;
    int64_t planes, inner;
    int64_t h, w, p, q;
    int64_t kernel[2], stride[2], begin[2]; /* of pooling */
    int64_t scale[2];                       /* of upsampling */
    DType type;
} Planes;

/* The order of input 0 and the same one for the output; false: it is neither of the two. */
static bool orders(const KernelSite *s, Planes *l)
{
    static const dnnl_format_tag_t tags[] = { dnnl_nChw8c, dnnl_nhwc };
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    bool bytes = !site_is_float(s, 0);
    dnnl_data_type_t type = !bytes ? dnnl_f32 : s->in[0].type == DT_INT8 ? dnnl_s8 : dnnl_u8;
    if ((s->given[0] == NULL && !bytes) || x->rank != 4 || y->rank != 4) return false;
    for (int i = 0; i < 4; i++)
        if (x->dims[i] < 1 || y->dims[i] < 1) return false;
    for (int i = bytes ? 1 : 0; i < 2; i++) {
        if (dnnl_memory_desc_init_by_tag(&l->take.md, 4, x->dims, type, tags[i]) != dnnl_success ||
            dnnl_memory_desc_init_by_tag(&l->make.md, 4, y->dims, type, tags[i]) != dnnl_success) return false;
        if (!bytes && !layout_eq(&l->take, s->given[0])) continue;
        int64_t blocks = (x->dims[1] + BLOCK - 1) / BLOCK;
        l->planes = i == 0 ? x->dims[0] * blocks : x->dims[0];
        l->inner = i == 0 ? BLOCK : x->dims[1];
        l->h = x->dims[2];
        l->w = x->dims[3];
        l->p = y->dims[2];
        l->q = y->dims[3];
        l->type = s->in[0].type;
        return true;
    }
    return false;
}

static Status planes_prepare(KernelSite *s, const Planes *found, void **state)
{
    Planes *l = malloc(sizeof *l);
    if (l == NULL) return err_no_memory(s->err, "kernel state");
    *l = *found;
    s->take[0] = &l->take;
    s->make[0] = &l->make;
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    *state = l;
    return OK;
}

/* --- MaxPool */

static bool pool_of(const KernelSite *s, Planes *l)
{
    Window w;
    bool bytes = dtype_is_byte(s->in[0].type);
    if ((!bytes && !site_is_float(s, 0)) || (s->output_count > 1 && s->node->outputs[1] != 0) || !orders(s, l)) return false;
    if (window_init(&w, s->graph, s->node, &s->in[0].shape, NULL, NULL) != OK) return false;
    for (int i = 0; i < 2; i++) {
        int at = WINDOW_DIMS - 2 + i;
        if (w.dilation[at] != 1) return false;
        l->kernel[i] = w.kernel[at];
        l->stride[i] = w.stride[at];
        l->begin[i] = w.begin[at];
        int64_t last = (w.out[at] - 1) * w.stride[at] - w.begin[at];
        if (w.begin[at] >= w.kernel[at] || last >= w.in[at]) return false; /* a window of padding alone */
    }
    return true;
}

static bool pool_accept(const KernelSite *s)
{
    Planes l;
    return pool_of(s, &l);
}

static Status pool_prepare(KernelSite *s, void **state)
{
    Planes l = { .planes = 0 };
    if (!pool_of(s, &l)) return err_set(s->err, ERR_UNSUPPORTED, "no such order");
    return planes_prepare(s, &l, state);
}

/* The maxima of `n` neighbouring channels over a window of rows by columns. */
INLINE void window_max(const float *x, int64_t rows, int64_t columns, int64_t row_step, int64_t step, int64_t n, float *y)
{
    int64_t c = 0;
    for (; c + BLOCK <= n; c += BLOCK) {
        float best[BLOCK];
        for (int i = 0; i < BLOCK; i++) best[i] = -INFINITY;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < columns; s++) {
                const float *v = x + r * row_step + s * step + c;
#pragma omp simd
                for (int i = 0; i < BLOCK; i++) best[i] = v[i] > best[i] || v[i] != v[i] ? v[i] : best[i]; /* NaN stays */
            }
        for (int i = 0; i < BLOCK; i++) y[c + i] = best[i];
    }
    for (; c < n; c++) {
        y[c] = -INFINITY;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < columns; s++) {
                float v = x[r * row_step + s * step + c];
                if (v > y[c] || v != v) y[c] = v;
            }
    }
}

/* The same for bytes; signed ones are compared with the upper bit turned. */
INLINE void window_max_bytes(const uint8_t *x, uint8_t turn, int64_t rows, int64_t columns, int64_t row_step, int64_t step, int64_t n,
                             uint8_t *y)
{
    int64_t c = 0;
    for (; c + BYTES <= n; c += BYTES) {
        uint8_t best[BYTES] = { 0 };
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < columns; s++) {
                const uint8_t *v = x + r * row_step + s * step + c;
#pragma omp simd
                for (int i = 0; i < BYTES; i++) best[i] = (uint8_t)(v[i] ^ turn) > best[i] ? (uint8_t)(v[i] ^ turn) : best[i];
            }
#pragma omp simd
        for (int i = 0; i < BYTES; i++) y[c + i] = best[i] ^ turn;
    }
    for (; c < n; c++) {
        uint8_t best = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < columns; s++) {
                uint8_t v = x[r * row_step + s * step + c] ^ turn;
                best = v > best ? v : best;
            }
        y[c] = best ^ turn;
    }
}

INLINE void pool_row(const Planes *l, const void *in, int64_t row, void *out)
{
    int64_t p = row % l->p, plane = row / l->p * l->h * l->w * l->inner;
    int64_t top = p * l->stride[0] - l->begin[0], bottom = top + l->kernel[0] < l->h ? top + l->kernel[0] : l->h;
    if (top < 0) top = 0;
    for (int64_t q = 0; q < l->q; q++) {
        int64_t left = q * l->stride[1] - l->begin[1], right = left + l->kernel[1] < l->w ? left + l->kernel[1] : l->w;
        if (left < 0) left = 0;
        int64_t from = plane + (top * l->w + left) * l->inner, to = (row * l->q + q) * l->inner, step = l->w * l->inner;
        if (l->type == DT_FLOAT)
            window_max((const float *)in + from, bottom - top, right - left, step, l->inner, l->inner, (float *)out + to);
        else
            window_max_bytes((const uint8_t *)in + from, l->type == DT_INT8 ? 128 : 0, bottom - top, right - left, step, l->inner, l->inner,
                             (uint8_t *)out + to);
    }
}

static void pool_any(const Planes *l, const void *in, int64_t row, void *out)
{
    pool_row(l, in, row, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void pool_avx2(const Planes *l, const void *in, int64_t row, void *out)
{
    pool_row(l, in, row, out);
}
#define PICK(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_any)
#else
#define PICK(name) name##_any
#endif

static Status pool_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Planes *l = state;
    void (*run)(const Planes *, const void *, int64_t, void *) = PICK(pool);
    int64_t rows = l->planes * l->p;
#pragma omp parallel for schedule(static) if (rows * l->q * l->inner * l->kernel[0] * l->kernel[1] > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) run(l, in[0], r, out[0]);
    return OK;
}

/* --- Resize to whole multiples by the nearest element, which is then the one that covers it */

static bool resize_of(const KernelSite *s, Planes *l)
{
    if (!site_is_float(s, 0) || !str_is(node_string(s->node, "mode", "nearest"), "nearest") || !orders(s, l)) return false;
    Str how = node_string(s->node, "coordinate_transformation_mode", "half_pixel");
    Str nearest = node_string(s->node, "nearest_mode", "round_prefer_floor");
    bool floors = str_is(how, "asymmetric") && str_is(nearest, "floor");
    bool centres = str_is(how, "half_pixel") && (str_is(nearest, "round_prefer_floor") || str_is(nearest, "round_prefer_ceil"));
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    if (s->opset < 11 || (!floors && !centres) || node_attr(s->node, "axes") != NULL) return false;
    if (x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1] || y->dims[2] % x->dims[2] != 0 || y->dims[3] % x->dims[3] != 0) return false;
    l->scale[0] = y->dims[2] / x->dims[2];
    l->scale[1] = y->dims[3] / x->dims[3];
    const Tensor *scales = s->input_count > 2 && s->value[2] != 0 ? s->constant[2] : NULL;
    bool by_scales = s->input_count > 2 && s->value[2] != 0 && s->in[2].shape.rank == 1 && s->in[2].shape.dims[0] == 4;
    if (!by_scales) return s->input_count > 3 && s->value[3] != 0; /* by sizes, which these are */
    if (scales == NULL || scales->type != DT_FLOAT) return false;
    for (int i = 0; i < 4; i++)
        if (tensor_get(scales, i) != (double)(i < 2 ? 1 : l->scale[i - 2])) return false;
    return true;
}

static bool resize_accept(const KernelSite *s)
{
    Planes l;
    return resize_of(s, &l);
}

static Status resize_prepare(KernelSite *s, void **state)
{
    Planes l = { .planes = 0 };
    if (!resize_of(s, &l)) return err_set(s->err, ERR_UNSUPPORTED, "no such order");
    return planes_prepare(s, &l, state);
}

static Status resize_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Planes *l = state;
    const float *x = in[0];
    float *y = out[0];
    int64_t rows = l->planes * l->p, n = l->inner;
#pragma omp parallel for schedule(static) if (rows * l->q * n > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + (r / l->p * l->h + r % l->p / l->scale[0]) * l->w * n;
        float *to = y + r * l->q * n;
        for (int64_t w = 0; w < l->w; w++)
            for (int64_t k = 0; k < l->scale[1]; k++)
                for (int64_t i = 0; i < n; i++) to[(w * l->scale[1] + k) * n + i] = from[w * n + i];
    }
    return OK;
}

const Kernel kernels_window[] = {
    { .name = "channels", .op = "MaxPool", .accept = pool_accept, .prepare = pool_prepare, .run = pool_run, .release = free },
    { .name = "channels", .op = "Resize", .accept = resize_accept, .prepare = resize_prepare, .run = resize_run, .release = free },
    { .name = NULL },
};
