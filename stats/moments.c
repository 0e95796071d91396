#include "stats/moments.h"

#include <stdbool.h>
#include <stddef.h>

#include "engine/blas_glue.h"

#define TILE 128 /* rows and columns of a part of the result, at most */
#define THREADS_PAY 4000000 /* products: fewer are not worth a second thread */

/* Of the result c[m,n] += y^T x. */
typedef struct Sums {
    double *c;
    const double *y, *x;  /* [rows,m], [rows,n] */
    const float *yf, *xf; /* the same in float; NULL */
    int64_t m, n, rows;
} Sums;

/* About equal parts of n. */
static int64_t part_of(int64_t n)
{
    int64_t parts = (n + TILE - 1) / TILE;
    return ((n + parts - 1) / parts + 15) / 16 * 16;
}

static void add_tile(const Sums *s, int64_t i, int64_t height, int64_t k, int64_t width)
{
    double *c = s->c + i * s->n + k;
    if (s->xf == NULL) {
        blas_dgemm(true, false, (int)height, (int)width, (int)s->rows, 1.0, s->y + i, (int)s->m, s->x + k, (int)s->n, 1.0, c, (int)s->n);
        return;
    }
    float tile[TILE * TILE];
    blas_sgemm(true, false, (int)height, (int)width, (int)s->rows, 1.0f, s->yf + i, (int)s->m, s->xf + k, (int)s->n, 0.0f, tile,
               (int)width);
    for (int64_t r = 0; r < height; r++)
        for (int64_t j = 0; j < width; j++) c[r * s->n + j] += (double)tile[r * width + j];
}

/* `upper`: the tiles that touch the upper triangle alone. */
static void add_tiles(const Sums *s, bool upper, int threads)
{
    if (s->m < 1 || s->n < 1) return;
    int64_t tall = part_of(s->m), wide = part_of(s->n), down = (s->m + tall - 1) / tall, across = (s->n + wide - 1) / wide;
    if (threads < 1 || s->m * s->n * s->rows < THREADS_PAY) threads = 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t t = 0; t < down * across; t++) {
        int64_t i = t / across * tall, k = t % across * wide;
        if (upper && i > k) continue;
        add_tile(s, i, s->m - i < tall ? s->m - i : tall, k, s->n - k < wide ? s->n - k : wide);
    }
}

void moments_square_floats(double *h, const float *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(&(Sums){ .c = h, .yf = x, .xf = x, .m = n, .n = n, .rows = rows }, true, threads);
}

void moments_cross_floats(double *c, const float *y, int64_t m, const float *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(&(Sums){ .c = c, .yf = y, .xf = x, .m = m, .n = n, .rows = rows }, false, threads);
}

void moments_sum_floats(double *sum, const float *x, int64_t n, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k++) sum[k] += (double)x[i * n + k];
}

void moments_square(double *h, const double *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(&(Sums){ .c = h, .y = x, .x = x, .m = n, .n = n, .rows = rows }, true, threads);
}

void moments_cross(double *c, const double *y, int64_t m, const double *x, int64_t n, int64_t rows, int threads)
{
    add_tiles(&(Sums){ .c = c, .y = y, .x = x, .m = m, .n = n, .rows = rows }, false, threads);
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
