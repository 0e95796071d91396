/* Rows of a depthwise convolution of 8-bit integers widened to 16 bits, see engine/narrow.c: 16 channels of a pixel at a time, the taps in
 * pairs, whose numbers are interleaved so that vpmaddwd adds the two. */
#include "engine/narrow_private.h"

#if defined(__x86_64__)

AVX2_INLINE void two_taps(__m256i a, __m256i b, const int16_t *w, __m256i *low, __m256i *high)
{
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), narrow_load(w)));
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), narrow_load(w + 16)));
}

/* A load of its own: compilers would read the same numbers once for either half, and reading is what bounds these loops. */
AVX2_INLINE __m256i numbers(const uint8_t *x)
{
    __m256i v = narrow_load(x);
    __asm__("" : "+x"(v));
    return v;
}

/* 3x3 without gaps; a pixel's nine numbers, `next` apart along the row. */
AVX2_INLINE void nine_taps(const uint8_t *x, int64_t row, int64_t next, const int16_t *w, __m256i *low, __m256i *high)
{
    const uint8_t *y = x + row, *z = y + row;
    __m256i last = numbers(z + 2 * next);
    two_taps(numbers(x), numbers(x + next), w, low, high);
    two_taps(numbers(x + 2 * next), numbers(y), w + 32, low, high);
    two_taps(numbers(y + next), numbers(y + 2 * next), w + 64, low, high);
    two_taps(numbers(z), numbers(z + next), w + 96, low, high);
    two_taps(last, last, w + 128, low, high); /* the second weight is zero */
}

AVX2_INLINE void all_taps(const NarrowConv *c, const uint8_t *x, int64_t row, const int16_t *w, __m256i *low, __m256i *high)
{
    int64_t count = c->r * c->s;
    for (int64_t t = 0; t < count; t += 2, w += 32) {
        int64_t u = t + 1 < count ? t + 1 : t;
        const uint8_t *a = x + t / c->s * c->dilation[0] * row + t % c->s * c->dilation[1] * c->pixel;
        const uint8_t *b = x + u / c->s * c->dilation[0] * row + u % c->s * c->dilation[1] * c->pixel;
        two_taps(narrow_load(a), narrow_load(b), w, low, high);
    }
}

/* All rows for 16 channels from k on; the flags are constants where it is called. A pixel's sums become bytes while those of the next are
 * under way: one chain of so many steps at a time would leave the processor waiting. */
AVX2_INLINE void rows_of(const NarrowConv *c, const NarrowRows *r, bool nine, bool fast, const int16_t *w, int64_t k, void *y)
{
    int64_t pixel = c->pixel, step = c->stride[1] * pixel, row = r->row, n = r->n, filters = c->filters, wide = c->q * filters;
    NarrowEnd end = narrow_end(c, k, NARROW_FILTERS);
    __m256i first = narrow_load(c->offset + k), second = narrow_load(c->offset + k + NARROW_HALF), before[2] = { first, second };
    int64_t last = -1;
    for (int64_t i = 0; i < r->count; i++) {
        const uint8_t *x = r->x + i * c->stride[0] * row;
        int64_t to = r->at * filters + i * wide + k;
        for (int64_t q = 0; q < n; q++, x += step) {
            __m256i low = first, high = second;
            if (nine) nine_taps(x, row, pixel, w, &low, &high);
            else all_taps(c, x, row, w, &low, &high);
            if (last >= 0) narrow_put(&end, true, fast, before[0], before[1], last, y);
            before[0] = low;
            before[1] = high;
            last = to;
            to += filters;
        }
    }
    if (last >= 0) narrow_put(&end, true, fast, before[0], before[1], last, y);
}

#define ROWS(name, nine, fast) \
    AVX2 static void name(const NarrowConv *c, const NarrowRows *r, const int16_t *w, int64_t k, void *y) \
    { \
        rows_of(c, r, nine, fast, w, k, y); \
    }

ROWS(nine, true, true)
ROWS(nine_any, true, false)
ROWS(some, false, true)
ROWS(some_any, false, false)

void narrow_depth_rows(const NarrowConv *c, const NarrowRows *r, int64_t k, void *y)
{
    static void (*const all[2][2])(const NarrowConv *, const NarrowRows *, const int16_t *, int64_t, void *) = { { some_any, some },
                                                                                                                 { nine_any, nine } };
    bool small = c->r == 3 && c->s == 3 && c->dilation[0] == 1 && c->dilation[1] == 1;
    const int16_t *w = (const int16_t *)c->weights + k / NARROW_FILTERS * ((c->r * c->s + 1) / 2) * 32;
    all[small][narrow_is_fast(c, k, NARROW_FILTERS)](c, r, w, k, y);
}
#else
void narrow_depth_rows(const NarrowConv *c, const NarrowRows *r, int64_t k, void *y)
{
    (void)c, (void)r, (void)k, (void)y;
}
#endif
