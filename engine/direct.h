/* Convolution with few channels in AVX2, see engine/direct.c. */
#ifndef PARE_ENGINE_DIRECT_H
#define PARE_ENGINE_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECT_CHANNELS 8 /* that lie side by side, in x and y */
#define DIRECT_FILTERS 16 /* computed at a time */

/* y[N, K/8, P, Q, 8] = max(low, min(high, conv(x[N, C/8, H, W, 8], weights[K/8, C/8, R, S, 8c, 8k]) + bias[K] + addend)). C is a multiple
 * of 8, K of 16; top < R and left < S rows and columns of zeros before the image, and as many behind it as the windows reach. */
typedef struct DirectConv {
    int64_t images, channels, filters, h, w, p, q, r, s, top, left;
    int64_t stride[2]; /* 1 or 2 along W */
    const float *weights, *bias; /* bias NULL: zero */
    float low, high;
    int threads;
    /* filled by direct_init */
    int64_t rows, strips; /* output rows computed from one padded copy of their input, and how many such strips an image has */
    size_t scratch;       /* floats that each thread needs, aligned to 64 bytes */
} DirectConv;

/* Whether this processor is one that direct_run is written for: AVX2, and not AVX-512, where libraries do better. */
bool direct_serves(void);
bool direct_init(DirectConv *c); /* false: rows too long or too short for it */
/* scratch: [threads, c->scratch]; addend: as y, or NULL. The result does not depend on the number of threads. */
void direct_run(const DirectConv *c, const float *x, const float *addend, float *scratch, float *y);

#endif
