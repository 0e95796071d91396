/* Pooling and whole-number upsampling over channels that lie side by side, in the library's blocks of eight or all of them innermost: its
 * own pooling comes to a tenth of what memory gives at small windows, and its resampling is not asked for. Floats are
 * engine/direct_pool.c's, where the processor has AVX2; bytes lie innermost, or are brought there. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/avx2.h"
#include "engine/direct_pool.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/window.h"

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 8
#define BYTES 16 /* at a time */

/* x[planes, H, W, inner] to y[planes, P, Q, inner]: a plane is an image, or eight channels of one. */
typedef struct Planes {
    Layout take, make;
    Pool pool;        /* the geometry, windows for pooling alone */
    int64_t scale[2]; /* of upsampling */
    int64_t taps;     /* of all windows: what is read in pooling */
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
        l->pool.planes = i == 0 ? x->dims[0] * blocks : x->dims[0];
        l->pool.inner = i == 0 ? BLOCK : x->dims[1];
        for (int k = 0; k < 2; k++) {
            l->pool.in[k] = x->dims[2 + k];
            l->pool.out[k] = y->dims[2 + k];
        }
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

/* --- pooling */

static bool windows_of(const KernelSite *s, Pool *p)
{
    Window w;
    if (s->node->type.data[0] == 'G') { /* Global: one window over everything */
        for (int i = 0; i < 2; i++) {
            p->kernel[i] = p->in[i];
            p->stride[i] = 1;
            p->begin[i] = 0;
        }
        return true;
    }
    if (window_init(&w, s->graph, s->node, &s->in[0].shape, NULL, NULL) != OK) return false;
    p->padded = p->average && node_int(s->node, "count_include_pad", 0) != 0;
    for (int i = 0; i < 2; i++) {
        int at = WINDOW_DIMS - 2 + i;
        p->kernel[i] = w.kernel[at];
        p->stride[i] = w.stride[at];
        p->begin[i] = w.begin[at];
        int64_t last = (w.out[at] - 1) * w.stride[at] - w.begin[at];
        if (w.dilation[at] != 1 || w.begin[at] < 0 || w.begin[at] >= w.kernel[at] || last >= w.in[at]) return false; /* padding alone */
        if (p->padded && last + w.kernel[at] > w.in[at] + w.end[at]) return false; /* past the declared padding, which does not count */
    }
    return true;
}

static bool pool_of(const KernelSite *s, Planes *l)
{
    bool bytes = dtype_is_byte(s->in[0].type) && str_is(s->node->type, "MaxPool"), floats = site_is_float(s, 0) && avx2_serves();
    if ((!bytes && !floats) || (s->output_count > 1 && s->node->outputs[1] != 0) || !orders(s, l)) return false;
    Pool *p = &l->pool;
    p->average = !str_ends(s->node->type, "MaxPool");
    return windows_of(s, p) && !__builtin_mul_overflow(p->planes * p->inner * p->out[0] * p->out[1], p->kernel[0] * p->kernel[1], &l->taps);
}

static bool pool_accept(const KernelSite *s)
{
    Planes l;
    return pool_of(s, &l);
}

static Status pool_prepare(KernelSite *s, void **state)
{
    Planes l = { .taps = 0 };
    if (!pool_of(s, &l)) return err_set(s->err, ERR_UNSUPPORTED, "no such order");
    return planes_prepare(s, &l, state);
}

/* The maxima of `n` neighbouring channels over a window of rows by columns; signed ones are compared with the upper bit turned. */
INLINE void window_max_bytes(const uint8_t *x, uint8_t turn, int64_t rows, int64_t columns, int64_t row_step, int64_t step, int64_t n,
                             uint8_t *y)
{
    int64_t c = 0;
    for (; n >= BYTES && c < n; c += BYTES) {
        if (c > n - BYTES) c = n - BYTES; /* the last ones again, rather than one by one */
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

INLINE void bytes_row(const Planes *l, const uint8_t *in, int64_t row, uint8_t *out)
{
    const Pool *g = &l->pool;
    int64_t p = row % g->out[0], plane = row / g->out[0] * g->in[0] * g->in[1] * g->inner;
    int64_t top = p * g->stride[0] - g->begin[0], bottom = top + g->kernel[0] < g->in[0] ? top + g->kernel[0] : g->in[0];
    if (top < 0) top = 0;
    for (int64_t q = 0; q < g->out[1]; q++) {
        int64_t left = q * g->stride[1] - g->begin[1], right = left + g->kernel[1] < g->in[1] ? left + g->kernel[1] : g->in[1];
        if (left < 0) left = 0;
        int64_t from = plane + (top * g->in[1] + left) * g->inner, to = (row * g->out[1] + q) * g->inner, step = g->in[1] * g->inner;
        window_max_bytes(in + from, l->type == DT_INT8 ? 128 : 0, bottom - top, right - left, step, g->inner, g->inner, out + to);
    }
}

static void bytes_any(const Planes *l, const uint8_t *in, int64_t row, uint8_t *out)
{
    bytes_row(l, in, row, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void bytes_avx2(const Planes *l, const uint8_t *in, int64_t row, uint8_t *out)
{
    bytes_row(l, in, row, out);
}
#define PICK(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_any)
#else
#define PICK(name) name##_any
#endif

static void pool_part(const Planes *l, const void *in, int64_t from, int64_t to, void *out)
{
    void (*run)(const Planes *, const uint8_t *, int64_t, uint8_t *) = PICK(bytes);
    if (l->type == DT_FLOAT) pool_rows(&l->pool, in, from, to, out);
    else
        for (int64_t r = from; r < to; r++) run(l, in, r, out);
}

static Status pool_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Planes *l = state;
    int64_t rows = l->pool.planes * l->pool.out[0], parts = omp_get_max_threads();
    if (l->taps <= PARALLEL_FROM || parts < 2) { /* a team of one costs half a microsecond */
        pool_part(l, in[0], 0, rows, out[0]);
        return OK;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < parts; i++) pool_part(l, in[0], rows * i / parts, rows * (i + 1) / parts, out[0]);
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
    Planes l = { .taps = 0 };
    if (!resize_of(s, &l)) return err_set(s->err, ERR_UNSUPPORTED, "no such order");
    return planes_prepare(s, &l, state);
}

static Status resize_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Planes *l = state;
    const float *x = in[0];
    float *y = out[0];
    int64_t width = l->pool.in[1], height = l->pool.in[0], p = l->pool.out[0], q = l->pool.out[1], rows = l->pool.planes * p;
    int64_t n = l->pool.inner;
#pragma omp parallel for schedule(static) if (rows * q * n > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + (r / p * height + r % p / l->scale[0]) * width * n;
        float *to = y + r * q * n;
        for (int64_t w = 0; w < width; w++, from += n)
            for (int64_t k = 0; k < l->scale[1]; k++, to += n) {
                if (n == 8) memcpy(to, from, 8 * sizeof *to); /* of a known size: one register */
                else memcpy(to, from, (size_t)n * sizeof *to);
            }
    }
    return OK;
}

#define POOL(op_name) \
    { .name = "channels", .op = op_name, .accept = pool_accept, .prepare = pool_prepare, .run = pool_run, .release = free }

const Kernel kernels_window[] = {
    POOL("MaxPool"),
    POOL("AveragePool"),
    POOL("GlobalMaxPool"),
    POOL("GlobalAveragePool"),
    { .name = "channels", .op = "Resize", .accept = resize_accept, .prepare = resize_prepare, .run = resize_run, .release = free },
    { .name = NULL },
};
