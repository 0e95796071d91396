#include "stats/moments.h"

#include <stdbool.h>

#include "engine/blas_glue.h"

#define TILE 128

/* Tiles of c[m,n] += y^T x; `upper`: those that touch the upper triangle alone. A product small enough is not worth a second thread. */
static void add_tiles(double *c, const double *y, int64_t m, const double *x, int64_t n, int64_t rows, bool upper, int threads)
{
    int64_t down = (m + TILE - 1) / TILE, across = (n + TILE - 1) / TILE;
    if (m * n * rows < 4000000) threads = 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads < 1 ? 1 : threads) if (threads > 1)
    for (int64_t t = 0; t < down * across; t++) {
        int64_t i = t / across * TILE, k = t % across * TILE;
        if (upper && i > k) continue;
        int64_t height = m - i < TILE ? m - i : TILE, width = n - k < TILE ? n - k : TILE;
        blas_dgemm(true, false, (int)height, (int)width, (int)rows, 1.0, y + i, (int)m, x + k, (int)n, 1.0, c + i * n + k, (int)n);
    }
}

void moments_square(double *h, const double *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(h, x, n, x, n, rows, true, threads);
}

void moments_cross(double *c, const double *y, int64_t m, const double *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(c, y, m, x, n, rows, false, threads);
}

void moments_sum(double *sum, const double *x, int64_t n, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k++) sum[k] += x[i * n + k];
}

void moments_mirror(double *h, int64_t n)
{
    blas_mirror((int)n, h, (int)n);
}
