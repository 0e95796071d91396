/* Averages of 8-bit integers over windows, channels innermost, as engine/ops/integer.h defines them. Bytes are added in 16 bits, sixteen
 * channels at a time, and moved to 32 before those are full. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/vectors.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/integer.h"
#include "engine/ops/quantize.h"
#include "engine/ops/window.h"

#define LANES 16
#define SHORT_SUMS 257 /* bytes that 16 bits hold the sum of */

typedef struct Average {
    Layout take, make;
    Window w;
    int64_t images, channels, in_plane, out_plane;
    bool is_signed, count_padding;
    int64_t x_zero, zero;
    float x_scale, y_scale, least, most;
} Average;

static dnnl_data_type_t byte_type(DType t)
{
    return t == DT_INT8 ? dnnl_s8 : dnnl_u8;
}

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
    a->x_scale = (float)tensor_get(s->constant[1], 0);
    a->y_scale = (float)tensor_get(s->constant[3], 0);
    a->least = (float)(low - a->zero);
    a->most = (float)(high - a->zero);
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&a->take.md, x->rank, x->dims, byte_type(s->in[0].type), tags[x->rank - 3]), "order",
                       s->err));
    TRY_OUT(dnnl_check(dnnl_memory_desc_init_by_tag(&a->make.md, y->rank, y->dims, byte_type(s->out[0].type), tags[x->rank - 3]), "order",
                       s->err));
    s->take[0] = &a->take;
    s->make[0] = &a->make;
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
out:
    if (status != OK) free(a);
    else *state = a;
    return status;
}

/* The taps of a window that lie inside, and where they do; `from` and `step`: elements of a channel. */
typedef struct Taps {
    int64_t count[WINDOW_DIMS], from, step[WINDOW_DIMS];
    int64_t counted; /* taps that the average divides by */
} Taps;

static Taps taps_of(const Average *a, int64_t o)
{
    const Window *w = &a->w;
    int64_t at[WINDOW_DIMS] = { o / (w->out[1] * w->out[2]), o / w->out[2] % w->out[1], o % w->out[2] };
    Taps t = { .counted = 1 };
    int64_t element = a->channels;
    for (int k = WINDOW_DIMS; k-- > 0; element *= w->in[k]) {
        int64_t start = at[k] * w->stride[k] - w->begin[k], reached = 0, first = -1;
        for (int64_t i = 0; i < w->kernel[k]; i++) {
            int64_t p = start + i * w->dilation[k];
            reached += p < w->in[k] + w->end[k];
            if (p < 0 || p >= w->in[k]) continue;
            if (first < 0) first = p;
            t.count[k]++;
        }
        t.step[k] = w->dilation[k] * element;
        t.from += first > 0 ? first * element : 0;
        t.counted *= a->count_padding ? reached : t.count[k];
    }
    return t;
}

/* LANES sums of bytes in 16 bits: in registers, where compilers keep no array that is read by eights and added by sixteens. */
#if defined(__x86_64__)
#include <emmintrin.h>

typedef struct Sums {
    __m128i half[2];
} Sums;

VECTOR_BODY void add_bytes(Sums *s, const uint8_t *bytes, uint8_t turn)
{
    __m128i zero = _mm_setzero_si128();
    __m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)bytes), _mm_set1_epi8((char)turn));
    s->half[0] = _mm_add_epi16(s->half[0], _mm_unpacklo_epi8(v, zero));
    s->half[1] = _mm_add_epi16(s->half[1], _mm_unpackhi_epi8(v, zero));
}
#else
typedef struct Sums {
    uint16_t half[2][LANES / 2];
} Sums;

VECTOR_BODY void add_bytes(Sums *s, const uint8_t *bytes, uint8_t turn)
{
    for (int i = 0; i < LANES; i++) s->half[i * 2 / LANES][i % (LANES / 2)] += bytes[i] ^ turn;
}
#endif

VECTOR_BODY void move_up(Sums *sum, int32_t *total)
{
    uint16_t all[LANES];
    memcpy(all, sum, sizeof all);
    for (int i = 0; i < LANES; i++) total[i] += all[i];
    memset(sum, 0, sizeof *sum);
}

/* The sums of n channels; `whole`: n is LANES, a constant where it is called. */
VECTOR_BODY void totals(const Taps *t, const uint8_t *x, uint8_t turn, bool whole, int64_t n, int32_t *total)
{
    Sums sum;
    uint8_t bytes[LANES] = { 0 };
    int64_t room = SHORT_SUMS;
    memset(total, 0, LANES * sizeof *total);
    memset(&sum, 0, sizeof sum);
    for (int64_t d = 0; d < t->count[0]; d++)
        for (int64_t h = 0; h < t->count[1]; h++) {
            const uint8_t *v = x + d * t->step[0] + h * t->step[1];
            for (int64_t w = 0; w < t->count[2]; w++, v += t->step[2]) {
                if (!whole) memcpy(bytes, v, (size_t)n);
                add_bytes(&sum, whole ? v : bytes, turn);
                if (--room > 0) continue;
                move_up(&sum, total);
                room = SHORT_SUMS;
            }
        }
    move_up(&sum, total);
}

VECTOR_BODY void window_average(const Average *a, const uint8_t *x, int64_t o, uint8_t *y)
{
    Taps t = taps_of(a, o);
    int32_t total[LANES], shift = (int32_t)(t.count[0] * t.count[1] * t.count[2] * (a->x_zero + (a->is_signed ? 128 : 0)));
    int32_t zero = (int32_t)a->zero;
    uint8_t turn = a->is_signed ? 128 : 0;
    float by = t.counted > 0 ? a->x_scale / (a->y_scale * (float)t.counted) : 0, least = a->least, most = a->most;
    for (int64_t c = 0; c < a->channels; c += LANES) {
        int64_t n = a->channels - c < LANES ? a->channels - c : LANES;
        uint8_t made[LANES];
        if (n == LANES) totals(&t, x + t.from + c, turn, true, n, total);
        else totals(&t, x + t.from + c, turn, false, n, total);
        for (int i = 0; i < LANES; i++)
            made[i] = (uint8_t)((int32_t)quant_round((float)(total[i] - shift) * by, least, most) + zero);
        memcpy(y + c, made, (size_t)n);
    }
}

static void window_average_any(const Average *a, const uint8_t *x, int64_t o, uint8_t *y)
{
    window_average(a, x, o, y);
}

VECTOR_AVX2 static void window_average_avx2(const Average *a, const uint8_t *x, int64_t o, uint8_t *y)
{
    window_average(a, x, o, y);
}

static Status average_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Average *a = state;
    int64_t windows = a->images * a->out_plane;
#pragma omp parallel for schedule(static) if (windows * a->channels * window_kernel_count(&a->w) > PARALLEL_FROM)
    for (int64_t i = 0; i < windows; i++)
        VECTOR_PICK(window_average)(a, (const uint8_t *)in[0] + i / a->out_plane * a->in_plane * a->channels, i % a->out_plane,
                                    (uint8_t *)out[0] + i * a->channels);
    return OK;
}

const Kernel kernels_average[] = {
    { "integer", "QLinearAveragePool", average_accept, average_prepare, average_run, free, NULL, false },
    { "integer", "QLinearGlobalAveragePool", average_accept, average_prepare, average_run, free, NULL, false },
    { .name = NULL },
};
