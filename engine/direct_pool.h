/* Pooling of channels that lie side by side in AVX2, see engine/direct_pool.c. */
#ifndef PARE_ENGINE_DIRECT_POOL_H
#define PARE_ENGINE_DIRECT_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* x[planes, H, W, inner] to y[planes, P, Q, inner]. Every window has a pixel of the plane in it. */
typedef struct Pool {
    int64_t planes, inner;
    int64_t in[2], out[2], kernel[2], stride[2], begin[2]; /* of rows, of columns; begin: how far the first window lies before the plane */
    bool average, padded; /* padded: an average over the window's area, else over its pixels inside the plane */
} Pool;

/* Rows from..to of y, of all planes' rows one behind another. The maximum is the first of equal ones, and NaN where the window has one. Of
 * an average every fourth column of the window (of the plane, where windows are as wide as it) is summed by itself, row by row. */
void pool_rows(const Pool *p, const float *x, int64_t from, int64_t to, float *y);

#endif
