#include "engine/ops/integer_product.h"

#include <string.h>

#include "engine/ops/common.h"

enum {
    COLUMNS = 512,    /* sums held at once */
    DEPTH = 1 << 14,  /* products of 256 * 256 that an int32 holds */
};

/* sums += over k in [first, last) of a[k] b[k, columns]. */
static void add_block(int64_t n, const int16_t *a, const int16_t *b, int64_t first, int64_t last, int64_t width, int64_t *sums)
{
    int32_t part[COLUMNS] = { 0 };
    int64_t k = first;
    for (; k + 3 < last; k += 4) {
        int32_t a0 = a[k], a1 = a[k + 1], a2 = a[k + 2], a3 = a[k + 3];
        if ((a0 | a1 | a2 | a3) == 0) continue;
        const int16_t *b0 = b + k * n, *b1 = b0 + n, *b2 = b1 + n, *b3 = b2 + n;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) part[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
    }
    for (; k < last; k++) {
        int32_t a0 = a[k];
        const int16_t *b0 = b + k * n;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) part[j] += a0 * b0[j];
    }
    for (int64_t j = 0; j < width; j++) sums[j] += part[j];
}

static void product_row(int64_t n, int64_t k, const int16_t *a, const int16_t *b, int64_t *sums, int64_t from, int64_t to)
{
    for (int64_t at = from; at < to; at += COLUMNS) {
        int64_t width = to - at < COLUMNS ? to - at : COLUMNS;
        memset(sums + at, 0, (size_t)width * sizeof *sums);
        for (int64_t first = 0; first < k; first += DEPTH) {
            int64_t last = k - first < DEPTH ? k : first + DEPTH;
            add_block(n, a, b + at, first, last, width, sums + at);
        }
    }
}

void integer_product(int64_t m, int64_t n, int64_t k, const int16_t *a, const int16_t *b, int64_t *sums)
{
    int64_t blocks = (n + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for collapse(2) schedule(static) if ((double)m * (double)n * (double)k > PARALLEL_FROM)
    for (int64_t r = 0; r < m; r++)
        for (int64_t i = 0; i < blocks; i++) {
            int64_t from = i * COLUMNS, to = from + COLUMNS < n ? from + COLUMNS : n;
            product_row(n, k, a + r * k, b, sums + r * n, from, to);
        }
}

void integer_shift(const Tensor *t, int64_t first, int64_t count, int64_t zero, int16_t *out)
{
    const uint8_t *u = t->data + first;
    const int8_t *s = (const int8_t *)u;
    int16_t z = (int16_t)zero;
    if (t->type == DT_INT8) {
        for (int64_t i = 0; i < count; i++) out[i] = (int16_t)(s[i] - z);
    } else {
        for (int64_t i = 0; i < count; i++) out[i] = (int16_t)(u[i] - z);
    }
}
