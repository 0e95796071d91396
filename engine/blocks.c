/* Images from the order of eight channels to another one and back. Where pixels lie side by side in the other order, eight pixels of a
 * block are eight rows of eight to be transposed; where channels do, they are copied. */
#include "engine/blocks.h"

#include <string.h>

#include "base/openmp.h"
#include "engine/avx2.h"
#include "engine/ops/common.h"

#define BLOCK 8

/* Pixels from..to of `count` channels of a block, one by one. */
static void pixels_any(const Blocks *b, const float *x, int64_t count, int64_t from, int64_t to, float *y)
{
    for (int64_t p = from; p < to; p++)
        for (int64_t c = 0; c < BLOCK; c++) {
            int64_t at = c * b->channel + p * b->pixel;
            if (!b->packs) {
                if (c < count) y[at] = x[p * BLOCK + c];
                continue;
            }
            float v = 0;
            if (c < count) memcpy(&v, x + at, sizeof v);
            y[p * BLOCK + c] = v;
        }
}

#if defined(__x86_64__)

/* Rows i of eight floats become columns. */
AVX2_INLINE void transpose(__m256 r[BLOCK])
{
    __m256 a[BLOCK], b[BLOCK];
    UNROLL
    for (int i = 0; i < BLOCK; i += 2) {
        a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < BLOCK; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

/* Up to eight pixels from p on. */
AVX2_INLINE void turn_few(const Blocks *b, const float *x, int64_t count, int64_t p, float *y)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(b->pixels - p)), lane);
    __m256 r[BLOCK];
    UNROLL
    for (int64_t i = 0; i < BLOCK; i++) {
        if (b->packs) r[i] = i < count ? _mm256_maskload_ps(x + i * b->channel + p, mask) : _mm256_setzero_ps();
        else r[i] = p + i < b->pixels ? _mm256_loadu_ps(x + (p + i) * BLOCK) : _mm256_setzero_ps();
    }
    transpose(r);
    UNROLL
    for (int64_t i = 0; i < BLOCK; i++) {
        if (!b->packs && i < count) _mm256_maskstore_ps(y + i * b->channel + p, mask, r[i]);
        if (b->packs && p + i < b->pixels) _mm256_storeu_ps(y + (p + i) * BLOCK, r[i]);
    }
}

AVX2 static void turn_avx2(const Blocks *b, const float *x, int64_t count, float *y)
{
    int64_t p = 0;
    for (; p + BLOCK <= b->pixels; p += BLOCK) {
        __m256 r[BLOCK];
        UNROLL
        for (int64_t i = 0; i < BLOCK; i++) {
            if (!b->packs) r[i] = _mm256_loadu_ps(x + (p + i) * BLOCK);
            else r[i] = i < count ? _mm256_loadu_ps(x + i * b->channel + p) : _mm256_setzero_ps();
        }
        transpose(r);
        UNROLL
        for (int64_t i = 0; i < BLOCK; i++) {
            if (b->packs) _mm256_storeu_ps(y + (p + i) * BLOCK, r[i]);
            else if (i < count) _mm256_storeu_ps(y + i * b->channel + p, r[i]);
        }
    }
    if (p < b->pixels) turn_few(b, x, count, p, y);
}

static void turn(const Blocks *b, const float *x, int64_t count, float *y)
{
    if (avx2_serves()) turn_avx2(b, x, count, y);
    else pixels_any(b, x, count, 0, b->pixels, y);
}
#else
static void turn(const Blocks *b, const float *x, int64_t count, float *y)
{
    pixels_any(b, x, count, 0, b->pixels, y);
}
#endif

/* A block whose `count` channels (a constant where it is called) lie side by side on both sides. */
static inline __attribute__((always_inline)) void copy_of(const Blocks *b, const float *x, size_t count, float *y)
{
    if (b->packs)
        for (int64_t p = 0; p < b->pixels; p++) {
            float block[BLOCK] = { 0 };
            memcpy(block, x + p * b->pixel, count * sizeof *y);
            memcpy(y + p * BLOCK, block, sizeof block);
        }
    else
        for (int64_t p = 0; p < b->pixels; p++) memcpy(y + p * b->pixel, x + p * BLOCK, count * sizeof *y);
}

static void copy(const Blocks *b, const float *x, int64_t count, float *y)
{
    switch (count) {
    case 1: copy_of(b, x, 1, y); break;
    case 2: copy_of(b, x, 2, y); break;
    case 3: copy_of(b, x, 3, y); break;
    case 4: copy_of(b, x, 4, y); break;
    case 5: copy_of(b, x, 5, y); break;
    case 6: copy_of(b, x, 6, y); break;
    case 7: copy_of(b, x, 7, y); break;
    default: copy_of(b, x, BLOCK, y); break;
    }
}

static void block(const Blocks *b, const float *x, int64_t at, float *y)
{
    int64_t blocks = (b->channels + BLOCK - 1) / BLOCK, image = at / blocks, first = at % blocks * BLOCK;
    int64_t count = b->channels - first < BLOCK ? b->channels - first : BLOCK;
    int64_t blocked = at * b->pixels * BLOCK, other = image * b->image + first * b->channel;
    (b->pixel == 1 ? turn : copy)(b, x + (b->packs ? other : blocked), count, y + (b->packs ? blocked : other));
}

void blocks_run(const Blocks *b, const float *x, float *y)
{
    int64_t count = b->images * ((b->channels + BLOCK - 1) / BLOCK);
    if (count * b->pixels * BLOCK <= PARALLEL_FROM || count < 2 || omp_get_max_threads() < 2) {
        for (int64_t i = 0; i < count; i++) block(b, x, i, y);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) block(b, x, i, y);
}
