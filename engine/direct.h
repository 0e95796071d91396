/* Convolution in AVX2, see engine/direct.c. */
#ifndef PARE_ENGINE_DIRECT_H
#define PARE_ENGINE_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECT_BLOCK 8 /* channels that lie side by side in y, and in x where there are more than a few */

/* Blocks of eight that `channels` take, the last one perhaps in part. */
static inline int64_t direct_blocks(int64_t channels)
{
    return (channels + DIRECT_BLOCK - 1) / DIRECT_BLOCK;
}

/* y[N, K/8, P, Q, 8] = max(low, min(high, conv(x[N, C/d, H, W, d], weights[K/8, C/d, R, S, d, 8]) + bias[K] + addend)), d the depth. Where
 * K or C are no multiples the last block is filled up: weights and bias with zeros, of x it is not read, in y it becomes what low and high
 * make of zero. top and left are rows and columns of zeros before the image, fewer than a window
 * spans, and as many follow behind it as the windows reach. */
typedef struct DirectConv {
    int64_t images, channels, filters, h, w, p, q, r, s, top, left;
    int64_t stride[2], dilation[2]; /* 1 and more, along H and W */
    int64_t depth; /* 8; or 1: x is row-major */
    const float *weights, *bias; /* bias NULL: zero */
    float low, high;
    int threads;
    /* filled by direct_init */
    int64_t rows, strips; /* output rows computed from one padded copy of their input, and how many such strips an image has */
    bool in_place;        /* nothing is padded: no copy */
    size_t scratch;       /* floats that each thread needs, aligned to 64 bytes */
} DirectConv;

bool direct_init(DirectConv *c); /* false: rows too long or too short for it */
/* scratch: [threads, c->scratch]; addend: as y, or NULL. The result does not depend on the number of threads. */
void direct_run(const DirectConv *c, const float *x, const float *addend, float *scratch, float *y);

#endif
