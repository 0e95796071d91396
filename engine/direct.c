/* Convolution with results in blocks of eight channels, for AVX2 with FMA. oneDNN's kernel for it holds three pixels by up to four blocks
 * of filters in registers: six sums at 16 filters, where eight must be under way to keep both multipliers busy, pieces of one pixel at the
 * ends of short rows, channels filled up to eight, and dilation by another way. Here it is twelve sums, of one, two or three blocks of
 * filters, rows are cut into even pieces, and neither rim nor stride is a special case, because a few input rows at a time are copied into
 * the cache with zeros around them, columns that the stride parts one behind the other.
 *
 *   for each strip of rows:  pad;  for each group of filters:  for each few channels:  for each row, for each piece of it:
 *       sums[pixels][filters] += x[pixel + s, channel] * weights[channel, r, s, filters]     over r, s, channel */
#include "engine/direct.h"

#include "base/openmp.h"
#include "engine/avx2.h"

#define STRIP_BYTES 65536   /* of padded input */
#define LEAST_ROWS 4        /* of output in a strip, where the image has more: fewer are copied too often */
#define LEAST_PIXELS 4      /* in a row: with fewer oneDNN has more sums under way */
#define WEIGHTS_AT_ONCE 576 /* vectors that stay in the first cache beside the pixels: of 32 channels at 3x3 by 16 filters */
#define MOST_TAPS 256
#define SUMS 12
#define GROUP 3             /* most blocks of filters at a time */

/* What all pieces of a strip share. */
typedef struct Piece {
    const float *w, *bias;        /* of the first block of filters; bias NULL: the sums go on from y */
    int64_t taps, at[MOST_TAPS];  /* of a window (where the depth is 1, of all channels), and the floats to what each reads */
    int64_t plane, blocks, filled; /* floats from one block of channels to the next; their number; the channels of the last one */
    int64_t out_plane, filter;    /* floats from one block of filters to the next: of y, of the weights */
    int64_t rows, down, out_down; /* output rows, and the floats from one to the next: of what they read, of y */
    bool last;
} Piece;

/* Pixels of the padded row that one tap reads: every stride's. */
static int64_t phase_width(const DirectConv *c)
{
    return c->q + (c->s - 1) * c->dilation[1] / c->stride[1];
}

static int64_t padded_width(const DirectConv *c)
{
    return phase_width(c) * c->stride[1];
}

/* Rows of input that `rows` rows of output come of. */
static int64_t input_rows(const DirectConv *c, int64_t rows)
{
    return (rows - 1) * c->stride[0] + (c->r - 1) * c->dilation[0] + 1;
}

/* Blocks of filters to compute next where `left` are left: pairs, and three where their number is odd. */
static int64_t group_of(int64_t left)
{
    return left <= GROUP ? left : left % 2 != 0 ? GROUP : 2;
}

#if defined(__x86_64__)

/* One register for an address and constants beside it for those near it, where compilers would add each up anew. */
AVX2_INLINE const float *here(const float *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* sum += x * w in this form alone: the others, which compilers mix in, destroy what is needed once more and cost copies. */
AVX2_INLINE __m256 add(__m256 sum, __m256 x, __m256 w)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
}

/* sums += x[pixel, channel] * w[channel, filters] */
AVX2_INLINE void step(int m, int n, int depth, __m256 sum[SUMS][GROUP], const float *x, const float *w, int64_t filter)
{
    __m256 v[GROUP];
    UNROLL
    for (int k = 0; k < m; k++) v[k] = _mm256_loadu_ps(w + k * filter);
    UNROLL
    for (int i = 0; i < n; i++) {
        __m256 pixel = _mm256_broadcast_ss(x + depth * i);
        UNROLL
        for (int k = 0; k < m; k++) sum[i][k] = add(sum[i][k], pixel, v[k]);
    }
}

/* n pixels at x by m blocks of filters, both and the depth constants where it is called. */
AVX2_INLINE void piece(int m, int n, int depth, const DirectConv *c, const Piece *t, const float *x, const float *addend, float *y)
{
    __m256 sum[SUMS][GROUP];
    const float *w = t->w;
    int64_t filter = t->filter, out_plane = t->out_plane, taps = t->taps;
    UNROLL
    for (int k = 0; k < m; k++)
        UNROLL
        for (int i = 0; i < n; i++)
            sum[i][k] = t->bias != NULL ? _mm256_loadu_ps(t->bias + 8 * k) : _mm256_loadu_ps(y + k * out_plane + 8 * i);
    if (depth == 1)
        UNROLL_FOUR
        for (int64_t i = 0; i < taps; i++, w += 8) step(m, n, depth, sum, here(x + t->at[i]), w, filter);
    for (int64_t b = 0; depth > 1 && b < t->blocks; b++, x += t->plane)
        if (b + 1 < t->blocks || t->filled == depth)
            for (int64_t i = 0; i < taps; i++, w += 8 * depth) {
                const float *at = here(x + t->at[i]);
                UNROLL
                for (int ch = 0; ch < depth; ch++) step(m, n, depth, sum, at + ch, w + 8 * ch, filter);
            }
        else
            for (int64_t i = 0; i < taps; i++, w += 8 * depth)
                for (int64_t ch = 0; ch < t->filled; ch++) step(m, n, depth, sum, here(x + t->at[i] + ch), w + 8 * ch, filter);
    if (t->last) {
        __m256 low = _mm256_set1_ps(c->low), high = _mm256_set1_ps(c->high);
        UNROLL
        for (int k = 0; k < m; k++)
            UNROLL
            for (int i = 0; i < n; i++) {
                if (addend != NULL) sum[i][k] = _mm256_add_ps(sum[i][k], _mm256_loadu_ps(addend + k * out_plane + 8 * i));
                sum[i][k] = _mm256_min_ps(high, _mm256_max_ps(low, sum[i][k])); /* NaN stays */
            }
    }
    UNROLL
    for (int k = 0; k < m; k++)
        UNROLL
        for (int i = 0; i < n; i++) _mm256_storeu_ps(y + k * out_plane + 8 * i, sum[i][k]);
}

/* `count` pieces, side by side, of every row. */
typedef void PieceRun(const DirectConv *c, const Piece *t, int64_t count, const float *x, const float *addend, float *y);

#define ONE(m, n, d) \
    AVX2 static void piece_##m##_##n##_##d(const DirectConv *c, const Piece *t, int64_t count, const float *x, \
                                                             const float *addend, float *y) \
    { \
        for (int64_t p = 0; p < t->rows; p++) \
            for (int64_t i = 0; i < count; i++) { \
                int64_t to = p * t->out_down + i * n * 8; \
                piece(m, n, d, c, t, x + p * t->down + i * n * d, addend != NULL ? addend + to : NULL, y + to); \
            } \
    }
/* Even pieces of a row of LEAST_PIXELS and more have no other sizes. */
#define SIZES(F, d) \
    F(1, 4, d) F(1, 5, d) F(1, 6, d) F(1, 7, d) F(1, 8, d) F(1, 9, d) F(1, 10, d) F(1, 11, d) F(1, 12, d) \
    F(2, 3, d) F(2, 4, d) F(2, 5, d) F(2, 6, d) \
    F(3, 2, d) F(3, 3, d) F(3, 4, d)
SIZES(ONE, 1)
SIZES(ONE, 8)

#define NAMED(m, n, d) [m][n] = piece_##m##_##n##_##d,
static PieceRun *const pieces[2][GROUP + 1][SUMS + 1] = { { SIZES(NAMED, 1) }, { SIZES(NAMED, 8) } };

/* `count` pixels, every `stride`th; they are few: no calls for each. */
AVX2_INLINE float *copy(float *to, const float *from, int64_t count, int64_t depth, int64_t stride)
{
    int64_t floats = count * depth, i = 0;
    if (stride == 1) {
        for (; i + 8 <= floats; i += 8) _mm256_storeu_ps(to + i, _mm256_loadu_ps(from + i));
        for (; i < floats; i++) to[i] = from[i];
    } else if (depth == 1) {
        for (; stride == 2 && i + 8 < floats; i += 8) { /* behind the last pixel there may be nothing */
            __m256 both = _mm256_shuffle_ps(_mm256_loadu_ps(from + 2 * i), _mm256_loadu_ps(from + 2 * i + 8), 0x88);
            _mm256_storeu_ps(to + i, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(both), 0xD8)));
        }
        for (; i < floats; i++) to[i] = from[stride * i];
    } else
        for (; i < floats; i += 8) _mm256_storeu_ps(to + i, _mm256_loadu_ps(from + stride * i));
    return to + floats;
}

AVX2_INLINE float *zeros(float *to, int64_t floats)
{
    for (; floats >= 8; floats -= 8, to += 8) _mm256_storeu_ps(to, _mm256_setzero_ps());
    for (; floats > 0; floats--) *to++ = 0;
    return to;
}

static int64_t within(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x < most ? x : most;
}

/* Rows from `top` on of every block of channels of an image, zeros around them, each as its columns 0, v, 2v, ... then 1, v + 1, ... */
AVX2 static void pad_rows(const DirectConv *c, const float *x, int64_t top, int64_t rows, float *out)
{
    int64_t v = c->stride[1], d = c->depth, width = phase_width(c), blocks = (c->channels + d - 1) / d;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t h = top; h < top + rows; h++)
            for (int64_t phase = 0; phase < v; phase++) {
                bool inside = h >= 0 && h < c->h;
                int64_t first = inside ? within((c->left - phase + v - 1) / v, width) : width;
                int64_t end = inside ? within((c->left + c->w - phase + v - 1) / v, width) : width;
                out = zeros(out, first * d);
                if (end > first)
                    out = copy(out, x + ((b * c->h + h) * c->w + first * v + phase - c->left) * d, end - first, d, v);
                out = zeros(out, (width - (end > first ? end : first)) * d);
            }
}

#else
typedef void PieceRun(const DirectConv *c, const Piece *t, int64_t count, const float *x, const float *addend, float *y);
static PieceRun *const pieces[2][GROUP + 1][SUMS + 1];

static void pad_rows(const DirectConv *c, const float *x, int64_t top, int64_t rows, float *out)
{
    (void)c, (void)x, (void)top, (void)rows, (void)out;
}

#endif

/* Of all channels where they do not lie side by side. */
static int64_t taps_of(const DirectConv *c)
{
    return c->r * c->s * (c->depth == 1 ? c->channels : 1);
}

/* Windows of one pixel: all rows are one. */
static bool is_flat(const DirectConv *c)
{
    return c->in_place && c->r * c->s == 1 && c->stride[0] == 1 && c->q == c->w;
}

bool direct_init(DirectConv *c)
{
    int64_t depths = (c->channels + c->depth - 1) / c->depth * c->depth, row = padded_width(c) * depths * (int64_t)sizeof(float);
    int64_t rows = (STRIP_BYTES / row - input_rows(c, 1)) / c->stride[0] + 1;
    if (rows > c->p) rows = c->p;
    if ((rows < LEAST_ROWS && rows < c->p) || taps_of(c) > MOST_TAPS) return false;
    c->in_place = c->top == 0 && c->left == 0 && c->stride[1] == 1 && input_rows(c, c->p) <= c->h && padded_width(c) <= c->w;
    bool whole = c->q < LEAST_PIXELS; /* only all rows together are long enough */
    if (whole && (!is_flat(c) || rows < c->p || c->p * c->q < LEAST_PIXELS)) return false;
    c->strips = (c->p + rows - 1) / rows;
    while (!whole && c->images * c->strips % c->threads != 0 && c->strips < c->p) c->strips++; /* even shares */
    c->rows = (c->p + c->strips - 1) / c->strips;
    c->strips = (c->p + c->rows - 1) / c->rows;
    c->scratch = c->in_place ? 0 : (size_t)(input_rows(c, c->rows) * padded_width(c) * depths + 15) / 16 * 16;
    return true;
}

/* Rows of q pixels in even pieces: larger ones, then those of a pixel less. */
static void run_rows(const DirectConv *c, const Piece *t, int64_t group, int64_t q, const float *x, const float *addend, float *y)
{
    int64_t most = SUMS / group, count = (q + most - 1) / most, n = q / count, larger = q - n * count, done = larger * (n + 1);
    PieceRun *const *run = pieces[c->depth > 1][group];
    if (larger > 0) run[n + 1](c, t, larger, x, addend, y);
    run[n](c, t, count - larger, x + done * c->depth, addend != NULL ? addend + 8 * done : NULL, y + 8 * done);
}

/* One of the strips of all images. */
static void run_strip(const DirectConv *c, int64_t strip, const float *x, const float *addend, float *scratch, float *y)
{
    static const float none[DIRECT_BLOCK * GROUP];
    int64_t image = strip / c->strips, first = strip % c->strips * c->rows, filled = (c->channels + c->depth - 1) / c->depth * c->depth;
    int64_t made = image * direct_blocks(c->filters) * DIRECT_BLOCK * c->p * c->q;
    x += image * filled * c->h * c->w;
    y += made;
    if (addend != NULL) addend += made;
    int64_t rows = first + c->rows < c->p ? c->rows : c->p - first, taken = input_rows(c, rows), d = c->depth;
    int64_t blocks = d == 1 ? 1 : direct_blocks(c->channels), filters = direct_blocks(c->filters), window = c->r * c->s;
    int64_t row = (c->in_place ? c->w : padded_width(c)) * d;
    Piece t = { .taps = taps_of(c), .plane = (c->in_place ? c->h : taken) * row, .out_plane = c->p * c->q * DIRECT_BLOCK,
                .rows = is_flat(c) ? 1 : rows, .down = c->stride[0] * row, .out_down = c->q * DIRECT_BLOCK };
    t.filter = blocks * t.taps * d * DIRECT_BLOCK;
    for (int64_t i = 0; i < t.taps; i++) {
        int64_t column = i % c->s * c->dilation[1];
        t.at[i] = i / window * t.plane + i % window / c->s * c->dilation[0] * row +
                  (column % c->stride[1] * phase_width(c) + column / c->stride[1]) * d;
    }
    const float *from = scratch;
    if (c->in_place) from = x + first * c->stride[0] * row;
    else pad_rows(c, x, first * c->stride[0] - c->top, taken, scratch);
    for (int64_t k = 0, group; k < filters; k += group) {
        group = group_of(filters - k);
        int64_t most = WEIGHTS_AT_ONCE / (group * t.taps * d);
        for (int64_t b = 0; b < blocks; b += t.blocks) {
            t.blocks = blocks - b < most ? blocks - b : most > 0 ? most : 1;
            t.last = b + t.blocks == blocks;
            t.filled = t.last ? c->channels - (blocks - 1) * d : d; /* unread where d is 1 */
            t.bias = b > 0 ? NULL : c->bias != NULL ? c->bias + DIRECT_BLOCK * k : none;
            t.w = c->weights + k * t.filter + b * t.taps * d * DIRECT_BLOCK;
            int64_t to = k * t.out_plane + first * t.out_down;
            run_rows(c, &t, group, rows * c->q / t.rows, from + b * t.plane, addend != NULL ? addend + to : NULL, y + to);
        }
    }
}

void direct_run(const DirectConv *c, const float *x, const float *addend, float *scratch, float *y)
{
    int64_t strips = c->images * c->strips;
    if (c->threads < 2 || strips < 2) { /* a team of one takes half a microsecond, too */
        for (int64_t i = 0; i < strips; i++) run_strip(c, i, x, addend, scratch, y);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (int64_t i = 0; i < strips; i++) run_strip(c, i, x, addend, scratch + (size_t)omp_get_thread_num() * c->scratch, y);
}
