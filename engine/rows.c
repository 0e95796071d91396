#include "engine/rows.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/ops/common.h"

#define INLINE static inline __attribute__((always_inline))

/* LayerNormalization, and without mean SimplifiedLayerNormalization and RMSNormalization. */
typedef struct RowNorm {
    int64_t rows, width;
    bool centred, shifted;
    float epsilon;
} RowNorm;

static bool norm_accept(const KernelSite *s)
{
    const Shape *x = &s->in[0].shape;
    if (!site_is_float(s, 0) || !site_is_float(s, 1) || x->rank < 1 || (s->input_count > 2 && s->value[2] != 0 && !site_is_float(s, 2)))
        return false;
    for (int i = 1; i < s->output_count; i++)
        if (s->node->outputs[i] != 0) return false;
    int64_t axis = node_int(s->node, "axis", -1), width = x->dims[x->rank - 1];
    if ((axis != -1 && axis != x->rank - 1) || width < 1) return false;
    for (int i = 1; i < s->input_count; i++)
        if (s->value[i] != 0 && (s->in[i].shape.rank != 1 || s->in[i].shape.dims[0] != width)) return false;
    return true;
}

static Status norm_prepare(KernelSite *s, void **state)
{
    int64_t count;
    const Shape *x = &s->in[0].shape;
    RowNorm *r = malloc(sizeof *r);
    if (r == NULL || !shape_count(x, &count)) {
        free(r);
        return err_no_memory(s->err, "kernel state");
    }
    *r = (RowNorm){ .width = x->dims[x->rank - 1], .centred = str_is(s->node->type, "LayerNormalization"),
                    .shifted = s->input_count > 2 && s->value[2] != 0, .epsilon = node_float(s->node, "epsilon", 1e-5F) };
    r->rows = count / r->width;
    *state = r;
    return OK;
}

INLINE void norm_rows(const RowNorm *r, const float *x, const float *scale, const float *shift, float *y, int64_t rows)
{
    int64_t n = r->width;
    for (; rows > 0; rows--, x += n, y += n) {
        float sum = 0, squares = 0, mean = 0;
        if (r->centred) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < n; i++) sum += x[i];
            mean = sum / (float)n;
        }
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
        float by = 1 / sqrtf(squares / (float)n + r->epsilon);
        if (r->shifted) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * by * scale[i] + shift[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * by * scale[i];
        }
    }
}

static void norm_any(const RowNorm *r, const float *x, const float *scale, const float *shift, float *y, int64_t rows)
{
    norm_rows(r, x, scale, shift, y, rows);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void norm_avx2(const RowNorm *r, const float *x, const float *scale, const float *shift, float *y,
                                                      int64_t rows)
{
    norm_rows(r, x, scale, shift, y, rows);
}
#define PICK(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_any)
#else
#define PICK(name) name##_any
#endif

#define PARTS 16

static Status norm_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const RowNorm *r = state;
    const float *x = in[0], *scale = in[1], *shift = r->shifted ? in[2] : NULL;
    float *y = out[0];
    void (*run)(const RowNorm *, const float *, const float *, const float *, float *, int64_t) = PICK(norm);
    if (r->rows * r->width <= PARALLEL_FROM) {
        run(r, x, scale, shift, y, r->rows);
        return OK;
    }
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < PARTS; part++) {
        int64_t first = r->rows * part / PARTS, end = r->rows * (part + 1) / PARTS;
        run(r, x + first * r->width, scale, shift, y + first * r->width, end - first);
    }
    return OK;
}

const Kernel kernels_rows[] = {
    { "rows", "LayerNormalization", norm_accept, norm_prepare, norm_run, free, NULL, false },
    { "rows", "SimplifiedLayerNormalization", norm_accept, norm_prepare, norm_run, free, NULL, false },
    { "rows", "RMSNormalization", norm_accept, norm_prepare, norm_run, free, NULL, false },
    { .name = NULL },
};
