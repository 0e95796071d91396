/* Convolution of each channel by itself, channels in blocks of eight, for AVX2 with FMA. A product of it needs a pixel and a weight, so
 * loads bound it, two in a cycle: eight pixels, or twelve of two short rows, hold their sums in registers and share each weight, and
 * pixels are read where they are. Taps outside the image are left out: rows of them by the loop's bounds, columns by a test where a piece
 * can touch the rim. Twice to three times as fast as oneDNN 2.6's.
 *
 *   for each row (two, where they are short), for each piece of it:  sums[8][8] += x[pixel + r, s] * weights[r, s]     over r, s */
#include "engine/direct_depthwise.h"

#include <stddef.h>

#include "base/openmp.h"
#include "engine/avx2.h"

#define SHARED_FROM 65536 /* pixels times taps of one channel that are worth a second thread, over all blocks */

bool depthwise_fits(const Depthwise *c)
{
    int64_t reach = (c->out[1] - 1) * c->stride[1] - c->begin[1] + c->kernel[1] - c->in[1], half = c->kernel[1] / 2;
    for (int i = 0; i < 2; i++) {
        int64_t last = (c->out[i] - 1) * c->stride[i] - c->begin[i];
        if (c->begin[i] < 0 || c->begin[i] >= c->kernel[i] || last >= c->in[i]) return false; /* a window of padding alone */
    }
    return (c->kernel[1] == 3 || c->kernel[1] == 5) && c->stride[1] <= 2 && c->begin[1] <= half && reach <= half;
}

#if defined(__x86_64__)

#define PIXELS 8
#define SHORT 6 /* pixels of a row that are computed with those of the next */


/* What the pixels of a row share: steps in floats; left, right: columns by which the windows of its first and last pixel reach out of the
 * image. */
typedef struct Row {
    const float *x, *addend, *w, *bias; /* x: the first pixel's first row inside, its first column even where that lies outside */
    float *y;
    int64_t row, line, y_line; /* from one row of x to the next; from one row of y's first row of x to the next one's; of y */
    int64_t taps, left, right;
    float low, high;
} Row;

/* n pixels from `at` on, of `lines` rows: constants where it is called, as the stride and `wide`, the columns of a window. */
AVX2_INLINE void piece(const Row *t, int64_t at, int n, int lines, int stride, int wide, int64_t left, int64_t right)
{
    __m256 sum[2][PIXELS], bias = _mm256_loadu_ps(t->bias);
    const float *x = t->x + at * stride * 8, *w = t->w;
    UNROLL
    for (int l = 0; l < lines; l++)
        UNROLL
        for (int i = 0; i < n; i++) sum[l][i] = bias;
    for (int64_t r = 0; r < t->taps; r++, x += t->row, w += 8 * wide)
        UNROLL
        for (int s = 0; s < wide; s++) {
            __m256 v = _mm256_loadu_ps(w + 8 * s);
            UNROLL
            for (int i = 0; i < n; i++) {
                int before = i * stride + s, behind = (n - 1 - i) * stride + wide - 1 - s;
                if (before < wide / 2 && before < left) continue;
                if (behind < wide / 2 && behind < right) continue;
                UNROLL
                for (int l = 0; l < lines; l++) {
                    const float *from = x + (l > 0 ? t->line : 0) + before * 8;
                    sum[l][i] = _mm256_fmadd_ps(_mm256_loadu_ps(from), v, sum[l][i]);
                }
            }
        }
    __m256 low = _mm256_set1_ps(t->low), high = _mm256_set1_ps(t->high);
    UNROLL
    for (int l = 0; l < lines; l++) {
        int64_t to = (l > 0 ? t->y_line : 0) + 8 * at;
        UNROLL
        for (int i = 0; i < n; i++) {
            __m256 v = sum[l][i];
            if (t->addend != NULL) v = _mm256_add_ps(v, _mm256_loadu_ps(t->addend + to + 8 * i));
            _mm256_storeu_ps(t->y + to + 8 * i, _mm256_min_ps(high, _mm256_max_ps(low, v))); /* NaN stays */
        }
    }
}

#define EACH_SHORT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define EACH(CASE) EACH_SHORT(CASE) CASE(7) CASE(8)

/* A row of `count` pixels in even pieces. */
AVX2_INLINE void row_of(const Row *t, int64_t count, int stride, int wide)
{
    for (int64_t at = 0, pieces = (count + PIXELS - 1) / PIXELS, n; at < count; at += n, pieces--) {
        n = pieces == 1 ? count - at : (count - at + pieces - 1) / pieces;
        int64_t left = at == 0 ? t->left : 0, right = at + n == count ? t->right : 0;
        switch (n) {
#define CASE(N) case N: piece(t, at, N, 1, stride, wide, left, right); break;
            EACH(CASE)
#undef CASE
        }
    }
}

AVX2_INLINE void two_rows_of(const Row *t, int64_t count, int stride, int wide)
{
    switch (count) {
#define CASE(N) case N: piece(t, 0, N, 2, stride, wide, t->left, t->right); break;
        EACH_SHORT(CASE)
#undef CASE
    }
}

/* Rows of a block from..to. */
AVX2_INLINE void rows_of(const Depthwise *c, Row t, const float *x, const float *addend, float *y, int64_t from, int64_t to, int stride,
                         int wide)
{
    const float *w = t.w;
    int64_t y_row = c->out[1] * 8;
    for (int64_t p = from; p < to;) {
        int64_t h = p * c->stride[0] - c->begin[0], first = h < 0 ? -h : 0;
        int64_t last = h + c->kernel[0] < c->in[0] ? c->kernel[0] : c->in[0] - h;
        bool two = c->out[1] <= SHORT && p + 1 < to && first == 0 && h + c->stride[0] + c->kernel[0] <= c->in[0];
        t.x = x + (h + first) * t.row - c->begin[1] * 8;
        t.y = y + p * y_row;
        t.addend = addend != NULL ? addend + p * y_row : NULL;
        t.w = w + first * wide * 8;
        t.taps = last - first;
        if (two) two_rows_of(&t, c->out[1], stride, wide);
        else row_of(&t, c->out[1], stride, wide);
        p += two ? 2 : 1;
    }
}

#define ROWS(name, stride, wide) \
    AVX2 static void name(const Depthwise *c, const Row *t, const float *x, const float *addend, float *y, \
                                                         int64_t from, int64_t to) \
    { \
        rows_of(c, *t, x, addend, y, from, to, stride, wide); \
    }
ROWS(rows_1_3, 1, 3)
ROWS(rows_2_3, 2, 3)
ROWS(rows_1_5, 1, 5)
ROWS(rows_2_5, 2, 5)

/* Share i of n of all rows of all blocks. */
static void share(const Depthwise *c, const float *x, const float *addend, float *y, int64_t i, int64_t n)
{
    static const float zeros[8];
    int64_t rows = c->out[0], total = c->images * c->blocks * rows, at = total * i / n, end = total * (i + 1) / n;
    int64_t x_plane = c->in[0] * c->in[1] * 8, y_plane = rows * c->out[1] * 8;
    int64_t reach = (c->out[1] - 1) * c->stride[1] - c->begin[1] + c->kernel[1] - c->in[1];
    Row t = { .row = c->in[1] * 8, .line = c->stride[0] * c->in[1] * 8, .y_line = c->out[1] * 8, .left = c->begin[1],
              .right = reach > 0 ? reach : 0, .low = c->low, .high = c->high };
    while (at < end) {
        int64_t plane = at / rows, from = at % rows, to = rows, block = plane % c->blocks;
        if (to - from > end - at) to = from + (end - at);
        t.w = c->weights + block * c->kernel[0] * c->kernel[1] * 8;
        t.bias = c->bias != NULL ? c->bias + block * 8 : zeros;
        (c->kernel[1] == 3 ? c->stride[1] == 1 ? rows_1_3 : rows_2_3 : c->stride[1] == 1 ? rows_1_5 : rows_2_5)(
            c, &t, x + plane * x_plane, addend != NULL ? addend + plane * y_plane : NULL, y + plane * y_plane, from, to);
        at += to - from;
    }
}

void depthwise_run(const Depthwise *c, const float *x, const float *addend, float *y)
{
    int64_t work = c->images * c->blocks * c->out[0] * c->out[1] * c->kernel[0] * c->kernel[1];
    int n = work < SHARED_FROM || c->threads < 1 ? 1 : c->threads;
    if (n == 1) {
        share(c, x, addend, y, 0, 1); /* a team of one costs half a microsecond */
        return;
    }
#pragma omp parallel for schedule(static) num_threads(n)
    for (int i = 0; i < n; i++) share(c, x, addend, y, i, n);
}
#else
void depthwise_run(const Depthwise *c, const float *x, const float *addend, float *y)
{
    (void)c, (void)x, (void)addend, (void)y; /* avx2_serves tells that it does not serve */
}
#endif
