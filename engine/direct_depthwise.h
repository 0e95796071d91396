/* Convolution of each channel by itself in AVX2, see engine/direct_depthwise.c. */
#ifndef PARE_ENGINE_DIRECT_DEPTHWISE_H
#define PARE_ENGINE_DIRECT_DEPTHWISE_H

#include <stdbool.h>
#include <stdint.h>

/* y[N, C/8, P, Q, 8] = max(low, min(high, bias[C] + sum over r, s of x[N, C/8, H, W, 8] * weights[C/8, R, S, 8] + addend)): summed in this
 * order, rows of the window before columns, what lies outside the image left out. blocks: C/8 rounded up; lanes behind the last channel
 * are computed as the others. */
typedef struct Depthwise {
    int64_t images, blocks;
    int64_t in[2], out[2], kernel[2], stride[2], begin[2]; /* of rows, of columns; begin: how far the first window lies before the image */
    const float *weights, *bias; /* bias NULL: zero */
    float low, high;
    int threads;
} Depthwise;

/* False: not windows of 3 or 5 columns that step by 1 or 2 and reach out of the image by half their width at most, or one that has no pixel
 * of the image in it. */
bool depthwise_fits(const Depthwise *c);
/* addend: as y, or NULL. The result does not depend on the number of threads. Only where avx2_serves (engine/avx2.h). */
void depthwise_run(const Depthwise *c, const float *x, const float *addend, float *y);

#endif
