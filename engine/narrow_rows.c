/* Rows of a convolution of 8-bit integers, as bytes or widened to 16 bits, see engine/narrow.c. */
#include "engine/narrow_private.h"

#define PIXELS 6

#if defined(__x86_64__)

/* What all pieces of a strip share, and the weights, for 16 filters or 8. */
typedef struct Strip {
    const uint8_t *weights;
    const int32_t *offset;
    int64_t row, pixel, step, down, across; /* bytes: rows, pixels, output pixels, from one run's row to the next, along it */
    int64_t runs, groups, columns, filters; /* columns: runs in one row of the window */
    NarrowEnd end;
} Strip;

/* n pixels; n and the two flags are constants where it is called. */
AVX2_INLINE void piece(const Strip *t, int n, bool bytes, bool both, bool fast, const uint8_t *x, int64_t at, void *y)
{
    __m256i sum[PIXELS][2], ones = _mm256_set1_epi16(1);
    const uint8_t *w = t->weights;
    UNROLL
    for (int i = 0; i < n; i++) {
        sum[i][0] = narrow_load(t->offset);
        sum[i][1] = both ? narrow_load(t->offset + NARROW_HALF) : sum[i][0];
    }
    for (int64_t i = 0; i < t->runs; i++) {
        const uint8_t *from = x + i / t->columns * t->down + i % t->columns * t->across, *other = from + 3 * t->step;
        for (int64_t j = 0; j < t->groups; j++, from += 4, other += 4, w += both ? 64 : 32) {
            __m256i left = narrow_load(w), right = both ? narrow_load(w + 32) : left;
            UNROLL
            for (int p = 0; p < n; p++) {
                int32_t group;
                memcpy(&group, p < 3 ? from + p * t->step : other + (p - 3) * t->step, sizeof group);
                __m256i v = _mm256_set1_epi32(group);
                __m256i a = bytes ? _mm256_madd_epi16(_mm256_maddubs_epi16(v, left), ones) : _mm256_madd_epi16(v, left);
                sum[p][0] = _mm256_add_epi32(sum[p][0], a);
                if (!both) continue;
                __m256i b = bytes ? _mm256_madd_epi16(_mm256_maddubs_epi16(v, right), ones) : _mm256_madd_epi16(v, right);
                sum[p][1] = _mm256_add_epi32(sum[p][1], b);
            }
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) narrow_put(&t->end, both, fast, sum[i][0], sum[i][1], at + i * t->filters, y);
}

/* Every row in even pieces. */
AVX2_INLINE void rows_of(const NarrowConv *c, const NarrowRows *r, bool bytes, bool both, bool fast, const uint8_t *weights, int64_t k,
                         void *y)
{
    int64_t pixel = c->pixel, n = r->n, pieces = (n + PIXELS - 1) / PIXELS, size = n / pieces, larger = n - size * pieces;
    Strip t = { weights, c->offset + k, r->row, pixel, c->stride[1] * pixel, c->dilation[0] * r->row, c->dilation[1] * pixel,
                narrow_runs(c), narrow_groups(c), narrow_runs(c) / c->r, c->filters,
                narrow_end(c, k, both ? 2 * NARROW_HALF : NARROW_HALF) };
    const uint8_t *first = r->x;
    int64_t at = r->at * c->filters + k, next = c->stride[0] * r->row, across = c->q * c->filters;
    for (int64_t i = 0; i < r->count; i++, first += next, at += across) {
        const uint8_t *x = first;
        int64_t to = at;
        for (int64_t p = 0; p < pieces; p++) {
            int64_t wide = size + (p < larger);
            switch (wide) {
            case 6: piece(&t, 6, bytes, both, fast, x, to, y); break;
            case 5: piece(&t, 5, bytes, both, fast, x, to, y); break;
            case 4: piece(&t, 4, bytes, both, fast, x, to, y); break;
            case 3: piece(&t, 3, bytes, both, fast, x, to, y); break;
            case 2: piece(&t, 2, bytes, both, fast, x, to, y); break;
            default: piece(&t, 1, bytes, both, fast, x, to, y); break;
            }
            x += wide * t.step;
            to += wide * t.filters;
        }
    }
}

#define ROWS(name, bytes, both, fast) \
    AVX2 static void name(const NarrowConv *c, const NarrowRows *r, const uint8_t *weights, int64_t k, void *y) \
    { \
        rows_of(c, r, bytes, both, fast, weights, k, y); \
    }

ROWS(bytes_16, true, true, true)
ROWS(bytes_8, true, false, true)
ROWS(bytes_16_any, true, true, false)
ROWS(bytes_8_any, true, false, false)
ROWS(wide_16, false, true, true)
ROWS(wide_8, false, false, true)
ROWS(wide_16_any, false, true, false)
ROWS(wide_8_any, false, false, false)

void narrow_rows(const NarrowConv *c, const NarrowRows *r, void *y)
{
    static void (*const all[2][2][2])(const NarrowConv *, const NarrowRows *, const uint8_t *, int64_t, void *) = {
        { { wide_8_any, wide_8 }, { wide_16_any, wide_16 } }, { { bytes_8_any, bytes_8 }, { bytes_16_any, bytes_16 } }
    };
    int64_t each = narrow_runs(c) * narrow_groups(c) * 4 * NARROW_FILTERS;
    const uint8_t *w = c->weights;
    for (int64_t k = 0; k < c->filters; k += NARROW_FILTERS, w += each) {
        bool both = c->filters - k > NARROW_HALF;
        all[c->in_bytes][both][narrow_is_fast(c, k, both ? 2 * NARROW_HALF : NARROW_HALF)](c, r, w, k, y);
    }
}
#else
void narrow_rows(const NarrowConv *c, const NarrowRows *r, void *y)
{
    (void)c, (void)r, (void)y;
}
#endif
