/* Shared by the loops of engine/narrow.c: what they are called with, and how sums leave the registers. */
#ifndef PARE_ENGINE_NARROW_PRIVATE_H
#define PARE_ENGINE_NARROW_PRIVATE_H

#include <string.h>

#include "engine/avx2.h"
#include "engine/narrow.h"

#define NARROW_HALF 8 /* filters in one register */

/* Rows of n pixels, one below the other. */
typedef struct NarrowRows {
    const uint8_t *x;   /* in the strip's copy */
    int64_t row;        /* bytes from one row of the copy to the next */
    int64_t n, count;
    int64_t at;         /* the first pixel in y */
} NarrowRows;

void narrow_rows(const NarrowConv *c, const NarrowRows *r, void *y);
/* Of 16 channels from k on, which the copy holds. */
void narrow_depth_rows(const NarrowConv *c, const NarrowRows *r, int64_t k, void *y);

/* Runs of neighbouring numbers that a window meets: whole rows of it, or with gaps between columns one pixel each. */
static inline int64_t narrow_runs(const NarrowConv *c)
{
    return c->dilation[1] == 1 ? c->r : c->r * c->s;
}

static inline int64_t narrow_run_length(const NarrowConv *c)
{
    return c->dilation[1] == 1 ? c->s * c->channels : c->channels;
}

/* Groups of numbers of a run that 32 bits hold: two, or four bytes. */
static inline int64_t narrow_groups(const NarrowConv *c)
{
    return c->in_bytes ? (narrow_run_length(c) + 3) / 4 : (narrow_run_length(c) + 1) / 2;
}

#if defined(__x86_64__)

AVX2_INLINE __m256i narrow_load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* How the sums of filters k.. become results. A copy of a loop's own: stores of bytes could change anything else. */
typedef struct NarrowEnd {
    int64_t width;           /* of results: filters here, at most what registers hold */
    const float *multiplier; /* of filter k */
    float least, most;
    int32_t zero;
    bool is_signed;
    NarrowResult result;
} NarrowEnd;

AVX2_INLINE NarrowEnd narrow_end(const NarrowConv *c, int64_t k, int64_t most)
{
    int64_t width = c->filters - k < most ? c->filters - k : most;
    return (NarrowEnd){ width, c->multiplier + k, c->least, c->most, c->out_zero, c->out_signed, c->result };
}

/* Whether narrow_put may be fast: as many bytes as registers hold, and no product that leaves 32 bits. */
static inline bool narrow_is_fast(const NarrowConv *c, int64_t k, int64_t most)
{
    return c->result == NARROW_BYTES && c->reduces && c->filters - k >= most;
}

/* acc * multiplier, rounded half to even; unless `fast` kept as quant_round does, NaN giving the least. */
AVX2_INLINE __m256i narrow_round(const NarrowEnd *e, bool fast, __m256i acc, int half)
{
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(e->multiplier + half * NARROW_HALF));
    if (!fast) v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(e->least)), _mm256_set1_ps(e->most));
    return _mm256_cvtps_epi32(v);
}

/* Bytes of two registers, which hold filters 0-3, 8-11 and 4-7, 12-15, or (`both` false) of one with 0-7. */
AVX2_INLINE __m128i narrow_bytes(const NarrowEnd *e, bool both, bool fast, __m256i a, __m256i b)
{
    __m256i first = narrow_round(e, fast, a, 0), pairs = _mm256_packs_epi32(first, both ? narrow_round(e, fast, b, 1) : first);
    __m256i least = _mm256_set1_epi16((int16_t)e->least), most = _mm256_set1_epi16((int16_t)e->most);
    if (fast) pairs = _mm256_min_epi16(_mm256_max_epi16(pairs, least), most);
    pairs = _mm256_add_epi16(pairs, _mm256_set1_epi16((int16_t)e->zero));
    __m128i low = _mm256_castsi256_si128(pairs), high = _mm256_extracti128_si256(pairs, 1);
    if (!both) low = high = _mm_unpacklo_epi64(low, high);
    return e->is_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
}

/* The results of a pixel from number `to` of y on. */
AVX2_INLINE void narrow_put(const NarrowEnd *e, bool both, bool fast, __m256i a, __m256i b, int64_t to, void *y)
{
    uint8_t *out = (uint8_t *)y + to;
    if (fast && both) _mm_storeu_si128((__m128i *)(void *)out, narrow_bytes(e, both, fast, a, b));
    if (fast && !both) _mm_storel_epi64((__m128i *)(void *)out, narrow_bytes(e, both, fast, a, b));
    if (fast) return;
    if (e->result == NARROW_BYTES) {
        uint8_t all[2 * NARROW_HALF];
        _mm_storeu_si128((__m128i *)(void *)all, narrow_bytes(e, both, fast, a, b));
        for (int64_t i = 0; i < e->width; i++) out[i] = all[i];
        return;
    }
    __m256i all[2] = { a, b };
    if (e->result == NARROW_FLOATS) {
        all[0] = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_loadu_ps(e->multiplier)));
        if (both) all[1] = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(b), _mm256_loadu_ps(e->multiplier + NARROW_HALF)));
    }
    if (both) {
        __m256i low = _mm256_permute2x128_si256(all[0], all[1], 0x20);
        all[1] = _mm256_permute2x128_si256(all[0], all[1], 0x31);
        all[0] = low;
    }
    memcpy((int32_t *)y + to, all, (size_t)e->width * sizeof(int32_t));
}
#endif

#endif
