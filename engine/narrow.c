/* Convolutions and products of 8-bit integers, for AVX2 without VNNI. Its instruction for products of bytes (vpmaddubsw) adds pairs of
 * them in 16 bits, where they saturate: exact for weights whose neighbours are small enough together. For all others x less its zero
 * point and the weights become 16-bit numbers, whose products vpmaddwd adds in pairs in 32 bits, at three quarters of the speed; libraries
 * are wrong there or do the work twice. And libraries leave int32 sums behind, to be read again; here they become bytes in the
 * registers. The rim is no special case, because a few input rows at a time are copied into the cache with zero points around them.
 *
 *   for each strip of rows:  copy;  for each 16 filters:  for each row, for each piece of it:
 *       sums[6][16] += x[pixel, window] * weights[window, 16]        window: four bytes of it at a time, or two 16-bit numbers
 *
 * The loops stand in engine/narrow_rows.c, and for depthwise ones in engine/narrow_depth.c. */
#include "base/openmp.h"
#include "engine/narrow_private.h"

#define STRIP_BYTES 65536        /* of the copy */
#define DEPTH_STRIP_BYTES 98304  /* of input for depthwise, which is read once for each plane */
#define MOST_ROW_BYTES 1048576
#define FLAT_ROW 48              /* pixels of a row where windows are one pixel each */
#define PARALLEL_PRODUCTS 400000 /* from so many a second thread is worth waking */
#define PAIR_MOST 128            /* 255 * 128 < 2^15 */
#define SLACK 32                 /* bytes behind a copy: the last group of a run is read whole */

static int64_t padded_width(const NarrowConv *c)
{
    return (c->q - 1) * c->stride[1] + (c->s - 1) * c->dilation[1] + 1;
}

/* Rows of input that `rows` rows of output come of. */
static int64_t input_rows(const NarrowConv *c, int64_t rows)
{
    return (rows - 1) * c->stride[0] + (c->r - 1) * c->dilation[0] + 1;
}

static int64_t up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

static int64_t taps(const NarrowConv *c)
{
    return c->r * c->s;
}

/* Windows of one pixel: all pixels are one row, cut into pieces that suit. */
static void flatten(NarrowConv *c)
{
    int64_t pixels = c->images * c->p * c->q;
    c->p = (pixels + FLAT_ROW - 1) / FLAT_ROW;
    c->q = (pixels + c->p - 1) / c->p;
    c->p = (pixels + c->q - 1) / c->q;
    c->short_row = pixels - (c->p - 1) * c->q;
    c->images = 1;
    c->h = c->p;
    c->w = c->q;
}

bool narrow_init(NarrowConv *c)
{
    c->short_row = 0;
    if (!c->depthwise && taps(c) == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->p == c->h && c->q == c->w) flatten(c);
    c->pixel = c->depthwise ? 2 * NARROW_FILTERS : c->in_bytes ? c->channels : 2 * c->channels;
    int64_t products = c->images * c->p * c->q * c->filters * taps(c) * (c->depthwise ? 1 : c->channels);
    int64_t row = padded_width(c) * c->pixel, read = c->depthwise ? padded_width(c) * c->channels : row;
    if (products * (c->depthwise ? 4 : 1) < PARALLEL_PRODUCTS) c->threads = 1; /* those take four times as long each */
    if (row > MOST_ROW_BYTES) return false;
    int64_t rows = ((c->depthwise ? DEPTH_STRIP_BYTES : STRIP_BYTES) / read - input_rows(c, 1)) / c->stride[0] + 1;
    if (rows < 1) rows = 1;
    if (rows > c->p) rows = c->p;
    c->strips = (c->p + rows - 1) / rows;
    while (c->images * c->strips % c->threads != 0 && c->strips < c->p) c->strips++; /* even shares */
    c->rows = (c->p + c->strips - 1) / c->strips;
    c->strips = (c->p + c->rows - 1) / c->rows;
    c->scratch = (size_t)up(input_rows(c, c->rows) * row + SLACK, 64);
    return true;
}

/* --- constants */

/* Of 16 filters, 4-7 and 8-11 change places where they fill two registers: packing swaps them back. */
static int64_t swapped(int64_t k)
{
    return k % 16 / 4 == 1 ? k + 4 : k % 16 / 4 == 2 ? k - 4 : k;
}

static bool in_pairs(const NarrowConv *c, int64_t k)
{
    return c->depthwise || c->filters - k / 16 * 16 > NARROW_HALF;
}

int64_t narrow_place(const NarrowConv *c, int64_t k)
{
    return in_pairs(c, k) ? swapped(k) : k;
}

size_t narrow_packed(const NarrowConv *c)
{
    int64_t filters = up(c->filters, NARROW_FILTERS);
    return (size_t)(filters * (c->depthwise ? 2 * up(taps(c), 2) : 4 * narrow_runs(c) * narrow_groups(c)));
}

/* Place i of the runs of a window, [runs, length], in the weights of a filter, [channels, taps]; -1: behind the end of a run. */
static int64_t in_filter(const NarrowConv *c, int64_t run, int64_t i)
{
    if (i >= narrow_run_length(c)) return -1;
    int64_t tap = c->dilation[1] == 1 ? run * c->s + i / c->channels : run;
    return i % c->channels * taps(c) + tap;
}

bool narrow_fits_bytes(const NarrowConv *c, const int8_t *w)
{
    int64_t each = c->channels * taps(c), length = narrow_run_length(c);
    if (c->depthwise) return false;
    for (int64_t run = 0; run < narrow_runs(c); run++)
        for (int64_t i = 0; i + 1 < length; i += 2) {
            const int8_t *a = w + in_filter(c, run, i), *b = w + in_filter(c, run, i + 1);
            for (int64_t k = 0; k < c->filters; k++)
                if (a[k * each] + b[k * each] > PAIR_MOST || a[k * each] + b[k * each] < -PAIR_MOST) return false;
        }
    return true;
}

int32_t narrow_shift(const NarrowConv *c)
{
    return c->in_bytes ? c->zero + (c->is_signed ? 128 : 0) : 0;
}

/* [16 channels, pairs of taps, 16 places, 2] */
static void pack_depth(const NarrowConv *c, const int8_t *w, int16_t *out)
{
    int64_t t = taps(c);
    for (int64_t k = 0; k < c->filters; k++)
        for (int64_t i = 0; i < t; i++)
            out[((k / 16 * up(t, 2) / 2 + i / 2) * 16 + narrow_place(c, k) % 16) * 2 + i % 2] = w[k * t + i];
}

/* [16 filters, runs, groups, 8 or 16 places, 2 or 4] */
static void pack_dense(const NarrowConv *c, const int8_t *w, void *out)
{
    int64_t groups = narrow_groups(c), each = c->channels * taps(c), in = c->in_bytes ? 4 : 2;
    int8_t *bytes = out;
    int16_t *wide = out;
    for (int64_t first = 0; first < c->filters; first += 16) { /* where entries come from and go is told once for so many */
        int64_t some = c->filters - first < 16 ? c->filters - first : 16, places[16];
        int64_t width = in_pairs(c, first) ? 16 : NARROW_HALF, at = first * narrow_runs(c) * groups * in;
        for (int64_t k = 0; k < some; k++) places[k] = narrow_place(c, first + k) % 16 * in;
        for (int64_t run = 0; run < narrow_runs(c); run++)
            for (int64_t i = 0; i < groups * in; i++) {
                int64_t from = in_filter(c, run, i), to = at + (run * groups + i / in) * width * in + i % in;
                if (from < 0) continue; /* zero */
                const int8_t *entry = w + first * each + from;
                for (int64_t k = 0; k < some; k++) {
                    if (c->in_bytes) bytes[to + places[k]] = entry[k * each];
                    else wide[to + places[k]] = entry[k * each];
                }
            }
    }
}

void narrow_pack(const NarrowConv *c, const int8_t *w, void *out)
{
    memset(out, 0, narrow_packed(c));
    if (c->depthwise) pack_depth(c, w, out);
    else pack_dense(c, w, out);
}

#if defined(__x86_64__)

/* n bytes less the zero point. */
AVX2_INLINE void widen(const NarrowConv *c, const uint8_t *x, int64_t n, int16_t *out)
{
    __m256i zero = _mm256_set1_epi16((int16_t)c->zero);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        __m256i wide = c->is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v);
        _mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_sub_epi16(wide, zero));
    }
    if (i + 8 <= n) {
        __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(x + i)), low = _mm256_castsi256_si128(zero);
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm_sub_epi16(c->is_signed ? _mm_cvtepi8_epi16(v) : _mm_cvtepu8_epi16(v), low));
        i += 8;
    }
    for (; i < n; i++) out[i] = (int16_t)((c->is_signed ? (int8_t)x[i] : x[i]) - c->zero);
}

/* n bytes, signed ones with the upper bit turned. */
AVX2_INLINE void turn(const NarrowConv *c, const uint8_t *x, int64_t n, uint8_t *out)
{
    uint8_t bit = c->is_signed ? 128 : 0;
    __m256i bits = _mm256_set1_epi8((char)bit);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_xor_si256(narrow_load(x + i), bits));
    for (; i < n; i++) out[i] = x[i] ^ bit;
}

/* Short runs of one byte: no calls for each. */
AVX2_INLINE void set(uint8_t *out, int64_t n, uint8_t value)
{
    __m256i all = _mm256_set1_epi8((char)value);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) _mm256_storeu_si256((__m256i *)(void *)(out + i), all);
    for (; i < n; i++) out[i] = value;
}

/* n pixels, of a plane's channels where there are planes, which are fewer than 16 here; what is behind those counts as zero. */
AVX2_INLINE void copy_pixels(const NarrowConv *c, const uint8_t *x, int64_t n, int64_t plane, uint8_t *out)
{
    int64_t first = plane * NARROW_FILTERS, left = c->channels - first;
    int16_t *to = (int16_t *)(void *)out;
    if (!c->depthwise && c->in_bytes) turn(c, x, n * c->channels, out);
    else if (!c->depthwise) widen(c, x, n * c->channels, to);
    else
        for (int64_t i = 0; i < n; i++) {
            set(out + i * c->pixel, c->pixel, 0);
            widen(c, x + i * c->channels + first, left, to + i * NARROW_FILTERS);
        }
}

/* One row of a plane of 16 channels, `step` bytes from pixel to pixel of x; is_signed is a constant where it is called. */
AVX2_INLINE void plane_row(bool is_signed, __m256i zero, const uint8_t *x, int64_t step, int64_t before, int64_t n, int64_t width,
                           uint8_t *out)
{
    __m256i *to = (__m256i *)(void *)out, none = _mm256_setzero_si256();
    for (int64_t i = 0; i < before; i++) _mm256_storeu_si256(to++, none);
    for (int64_t i = 0; i < n; i++, x += step) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)x);
        _mm256_storeu_si256(to++, _mm256_sub_epi16(is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v), zero));
    }
    for (int64_t i = before + n; i < width; i++) _mm256_storeu_si256(to++, none);
}

/* One row, x its first pixel, with zero points around it. */
AVX2_INLINE void copy_row(const NarrowConv *c, const uint8_t *x, int64_t plane, int64_t before, int64_t n, int64_t width, uint8_t *out)
{
    uint8_t rim = c->in_bytes ? (uint8_t)narrow_shift(c) : 0;
    int64_t pixel = c->pixel;
    if (c->depthwise && (plane + 1) * NARROW_FILTERS <= c->channels) {
        __m256i zero = _mm256_set1_epi16((int16_t)c->zero);
        x += plane * NARROW_FILTERS;
        if (c->is_signed) plane_row(true, zero, x, c->channels, before, n, width, out);
        else plane_row(false, zero, x, c->channels, before, n, width, out);
        return;
    }
    set(out, before * pixel, rim);
    if (n > 0) copy_pixels(c, x, n, plane, out + before * pixel);
    set(out + (before + n) * pixel, (width - before - n) * pixel, rim);
}

/* Input rows from `top` on, of one plane where there are planes, with zero points around them. */
AVX2 static void copy_rows(const NarrowConv *c, const uint8_t *x, int64_t top, int64_t rows, int64_t plane, uint8_t *out)
{
    int64_t width = padded_width(c), end = c->left + c->w < width ? c->left + c->w : width, row = width * c->pixel;
    for (int64_t h = top; h < top + rows; h++, out += row) {
        int64_t n = h < 0 || h >= c->h || end <= c->left ? 0 : c->short_row > 0 && h == c->h - 1 ? c->short_row : end - c->left;
        copy_row(c, n > 0 ? x + h * c->w * c->channels : x, plane, n > 0 ? c->left : 0, n, width, out);
    }
    set(out, SLACK, 0);
}

#else
static void copy_rows(const NarrowConv *c, const uint8_t *x, int64_t top, int64_t rows, int64_t plane, uint8_t *out)
{
    (void)c, (void)x, (void)top, (void)rows, (void)plane, (void)out;
}

#endif

static void run_strip(const NarrowConv *c, const uint8_t *x, int64_t image, int64_t first, uint8_t *copy, void *y)
{
    int64_t rows = first + c->rows < c->p ? c->rows : c->p - first, row = padded_width(c) * c->pixel;
    int64_t top = first * c->stride[0] - c->top, taken = input_rows(c, rows);
    bool cut = c->short_row > 0 && first + rows == c->p;
    x += image * c->h * c->w * c->channels;
    NarrowRows r = { .x = copy, .row = row, .n = c->q, .count = cut ? rows - 1 : rows, .at = (image * c->p + first) * c->q };
    for (int64_t k = 0; c->depthwise && k < c->channels; k += NARROW_FILTERS) {
        copy_rows(c, x, top, taken, k / NARROW_FILTERS, copy);
        narrow_depth_rows(c, &r, k, y);
    }
    if (c->depthwise) return;
    copy_rows(c, x, top, taken, 0, copy);
    if (r.count > 0) narrow_rows(c, &r, y);
    if (!cut) return;
    r.x += r.count * c->stride[0] * row;
    r.at += r.count * c->q;
    r.n = c->short_row;
    r.count = 1;
    narrow_rows(c, &r, y);
}

void narrow_run(const NarrowConv *c, const uint8_t *x, uint8_t *scratch, void *y)
{
    int64_t strips = c->images * c->strips;
    if (c->threads < 2 || strips < 2) { /* a team of one costs as much as the smallest layers do */
        for (int64_t i = 0; i < strips; i++) run_strip(c, x, i / c->strips, i % c->strips * c->rows, scratch, y);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (int64_t i = 0; i < strips; i++)
        run_strip(c, x, i / c->strips, i % c->strips * c->rows, scratch + (size_t)omp_get_thread_num() * c->scratch, y);
}
