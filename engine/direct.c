/* Convolution of images whose channels lie in blocks of eight, for AVX2 with FMA. oneDNN's kernel for it holds three pixels by up to
 * four blocks of filters in registers: six sums at 16 filters, where eight must be under way to keep both multipliers busy, and pieces of
 * one pixel at the ends of short rows. Here it is up to six pixels by two blocks, rows cut into even pieces, and the rim is no special
 * case, because a few input rows at a time are copied with zeros around them, into the cache.
 *
 *   for each strip of rows:  pad;  for each two blocks of filters:  for each few channels:  for each row, for each piece of it:
 *       sums[6][16] += x[pixel + s, channel] * weights[channel, r, s, 16]     over r, s, channel */
#include "engine/direct.h"

#include "base/openmp.h"

#define STRIP_BYTES 65536   /* of padded input */
#define LEAST_ROWS 4        /* of output in a strip, where the image has more: fewer are copied too often */
#define CHANNELS_AT_ONCE 32 /* their weights for 16 filters stay in the first cache at 3x3 */
#define PIXELS 6
#define LEAST_PIXELS 4      /* in a row: with fewer oneDNN has more sums under way */

/* What all pieces of a strip share. */
typedef struct Piece {
    const float *w, *bias;    /* bias NULL: the sums go on from y */
    int64_t row, plane;       /* floats from one row, and one block of channels, to the next: of the padded input */
    int64_t blocks, r, s, out_plane, filter;
    bool last;
} Piece;

static int64_t padded_width(const DirectConv *c)
{
    return (c->q - 1) * c->stride[1] + c->s;
}

/* Rows of input that `rows` rows of output come of. */
static int64_t input_rows(const DirectConv *c, int64_t rows)
{
    return (rows - 1) * c->stride[0] + c->r;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Sums are in registers only where all their indices are constants. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define INLINE static inline __attribute__((always_inline, target("avx2,fma")))

/* n pixels (a constant where it is called) at x, `step` floats apart. */
INLINE void piece(const DirectConv *c, const Piece *t, int n, int64_t step, const float *x, const float *addend, float *y)
{
    __m256 sum[PIXELS][2];
    UNROLL
    for (int k = 0; k < 2; k++)
        UNROLL
        for (int i = 0; i < n; i++)
            sum[i][k] = t->bias != NULL ? _mm256_loadu_ps(t->bias + 8 * k) : _mm256_loadu_ps(y + k * t->out_plane + 8 * i);
    const float *w = t->w;
    for (int64_t b = 0; b < t->blocks; b++)
        for (int64_t r = 0; r < t->r; r++) {
            const float *at = x + b * t->plane + r * t->row;
            for (int64_t s = 0; s < t->s; s++, at += 8, w += 64)
                UNROLL
                for (int ch = 0; ch < 8; ch++) {
                    __m256 left = _mm256_loadu_ps(w + 8 * ch), right = _mm256_loadu_ps(w + 8 * ch + t->filter);
                    UNROLL
                    for (int i = 0; i < n; i++) {
                        __m256 v = _mm256_broadcast_ss(at + step * i + ch);
                        sum[i][0] = _mm256_fmadd_ps(v, left, sum[i][0]);
                        sum[i][1] = _mm256_fmadd_ps(v, right, sum[i][1]);
                    }
                }
        }
    __m256 low = _mm256_set1_ps(c->low), high = _mm256_set1_ps(c->high);
    UNROLL
    for (int k = 0; k < 2; k++)
        UNROLL
        for (int i = 0; i < n; i++) {
            __m256 v = sum[i][k];
            int64_t to = k * t->out_plane + 8 * i;
            if (t->last && addend != NULL) v = _mm256_add_ps(v, _mm256_loadu_ps(addend + to));
            if (t->last) v = _mm256_min_ps(high, _mm256_max_ps(low, v)); /* NaN stays */
            _mm256_storeu_ps(y + to, v);
        }
}

/* One row of q pixels in even pieces. */
INLINE void row_of(const DirectConv *c, const Piece *t, int64_t step, const float *x, const float *addend, float *y)
{
    for (int64_t done = 0, pieces = (c->q + PIXELS - 1) / PIXELS; pieces > 0; pieces--) {
        int64_t n = (c->q - done + pieces - 1) / pieces;
        const float *from = x + step * done, *other = addend != NULL ? addend + 8 * done : NULL;
        float *to = y + 8 * done;
        switch (n) {
        case 6: piece(c, t, 6, step, from, other, to); break;
        case 5: piece(c, t, 5, step, from, other, to); break;
        case 4: piece(c, t, 4, step, from, other, to); break;
        default: piece(c, t, 3, step, from, other, to); break; /* there are no smaller ones in rows of LEAST_PIXELS and more */
        }
        done += n;
    }
}

__attribute__((target("avx2,fma"))) static void row_by_one(const DirectConv *c, const Piece *t, const float *x, const float *addend,
                                                          float *y)
{
    row_of(c, t, 8, x, addend, y);
}

__attribute__((target("avx2,fma"))) static void row_by_two(const DirectConv *c, const Piece *t, const float *x, const float *addend,
                                                          float *y)
{
    row_of(c, t, 16, x, addend, y);
}

/* Rows from `top` on of every block of channels of an image, zeros around them; they are short: no calls for each. */
__attribute__((target("avx2,fma"))) static void pad_rows(const DirectConv *c, const float *x, int64_t top, int64_t rows, float *out)
{
    int64_t width = padded_width(c), end = c->left + c->w < width ? c->left + c->w : width;
    for (int64_t b = 0; b < c->channels / 8; b++)
        for (int64_t h = top; h < top + rows; h++, out += width * 8) {
            bool inside = h >= 0 && h < c->h;
            const float *from = x + ((b * c->h + h) * c->w - c->left) * 8;
            int64_t first = inside ? c->left : width, last = inside ? end : width;
            for (int64_t i = 0; i < first; i++) _mm256_storeu_ps(out + 8 * i, _mm256_setzero_ps());
            for (int64_t i = first; i < last; i++) _mm256_storeu_ps(out + 8 * i, _mm256_loadu_ps(from + 8 * i));
            for (int64_t i = last; i < width; i++) _mm256_storeu_ps(out + 8 * i, _mm256_setzero_ps());
        }
}

bool direct_serves(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !__builtin_cpu_supports("avx512f");
}
#else
static void row_by_one(const DirectConv *c, const Piece *t, const float *x, const float *addend, float *y)
{
    (void)c, (void)t, (void)x, (void)addend, (void)y;
}

#define row_by_two row_by_one

static void pad_rows(const DirectConv *c, const float *x, int64_t top, int64_t rows, float *out)
{
    (void)c, (void)x, (void)top, (void)rows, (void)out;
}

bool direct_serves(void)
{
    return false;
}
#endif

bool direct_init(DirectConv *c)
{
    int64_t row = padded_width(c) * c->channels * (int64_t)sizeof(float);
    int64_t rows = (STRIP_BYTES / row - c->r) / c->stride[0] + 1;
    if (rows > c->p) rows = c->p;
    if (c->q < LEAST_PIXELS || (rows < LEAST_ROWS && rows < c->p)) return false;
    c->strips = (c->p + rows - 1) / rows;
    while (c->images * c->strips % c->threads != 0 && c->strips < c->p) c->strips++; /* even shares */
    c->rows = (c->p + c->strips - 1) / c->strips;
    c->strips = (c->p + c->rows - 1) / c->rows;
    c->scratch = (size_t)(input_rows(c, c->rows) * padded_width(c) * c->channels + 15) / 16 * 16;
    return true;
}

static void run_strip(const DirectConv *c, const float *x, const float *addend, int64_t first, float *scratch, float *y)
{
    int64_t rows = first + c->rows < c->p ? c->rows : c->p - first, taken = input_rows(c, rows), blocks = c->channels / 8;
    int64_t plane = c->p * c->q * 8;
    static const float none[DIRECT_FILTERS];
    pad_rows(c, x, first * c->stride[0] - c->top, taken, scratch);
    Piece t = { .row = padded_width(c) * 8, .plane = taken * padded_width(c) * 8, .r = c->r, .s = c->s,
                .out_plane = plane, .filter = blocks * c->r * c->s * 64 };
    for (int64_t k = 0; k < c->filters; k += DIRECT_FILTERS)
        for (int64_t b = 0; b < blocks; b += t.blocks) {
            t.blocks = blocks - b < CHANNELS_AT_ONCE / 8 ? blocks - b : CHANNELS_AT_ONCE / 8;
            t.last = b + t.blocks == blocks;
            t.bias = b > 0 ? NULL : c->bias != NULL ? c->bias + k : none;
            t.w = c->weights + k / 8 * t.filter + b * c->r * c->s * 64;
            for (int64_t p = 0; p < rows; p++) {
                const float *from = scratch + b * t.plane + p * c->stride[0] * t.row;
                int64_t to = k / 8 * plane + (first + p) * c->q * 8;
                (c->stride[1] == 1 ? row_by_one : row_by_two)(c, &t, from, addend != NULL ? addend + to : NULL, y + to);
            }
        }
}

void direct_run(const DirectConv *c, const float *x, const float *addend, float *scratch, float *y)
{
    int64_t in = c->channels * c->h * c->w, out = c->filters * c->p * c->q, strips = c->images * c->strips;
#pragma omp parallel for schedule(static) num_threads(c->threads) if (c->threads > 1 && strips > 1)
    for (int64_t i = 0; i < strips; i++) {
        int64_t image = i / c->strips;
        run_strip(c, x + image * in, addend != NULL ? addend + image * out : NULL, i % c->strips * c->rows,
                  scratch + (size_t)omp_get_thread_num() * c->scratch, y + image * out);
    }
}
