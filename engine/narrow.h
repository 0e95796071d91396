/* Convolutions and products of 8-bit integers in AVX2 without VNNI, exact for all of them, see engine/narrow.c. */
#ifndef PARE_ENGINE_NARROW_H
#define PARE_ENGINE_NARROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NARROW_FILTERS 16 /* weights, offsets and multipliers are there for a multiple of so many */

typedef enum NarrowResult { NARROW_BYTES, NARROW_FLOATS, NARROW_SUMS } NarrowResult;

/* y[N, P, Q, K] of x[N, H, W, C], channels innermost: acc = offset[k] + sum (x - zero) w over the window, then by `result`
 *   bytes   keep(round(acc * multiplier[k]) + out_zero), keep: least <= value before the zero point <= most
 *   floats  acc * multiplier[k]
 *   sums    acc
 * No sum may pass 32 bits. `depthwise`: filter k meets channel k alone, K = C. Before the image top < taps' height rows of zero points
 * and left < taps' width columns, and as many behind it as the windows reach. */
typedef struct NarrowConv {
    int64_t images, channels, filters, h, w, p, q, r, s, top, left;
    int64_t stride[2], dilation[2];
    bool depthwise, is_signed, out_signed; /* signed: of bytes */
    bool in_bytes;                         /* set where narrow_fits_bytes allows it, before narrow_init */
    bool reduces;                          /* no multiplier is above 1 in size, or NaN: set where it holds, it saves work */
    int32_t zero, out_zero;
    const void *weights;     /* narrow_pack's */
    const int32_t *offset;   /* [K up to the next multiple], in narrow_place's order; in bytes: less narrow_shift's part */
    const float *multiplier; /* as offset */
    float least, most;
    NarrowResult result;
    int threads;
    /* filled by narrow_init */
    int64_t short_row;    /* pixels in the very last row, where pixels are one long row that was cut; else 0 */
    int64_t rows, strips; /* output rows computed from one copy of their input, and how many such strips an image has */
    int64_t pixel;        /* bytes of one pixel in a copy; depthwise: of 16 channels of it, which are copied by themselves */
    size_t scratch;       /* bytes that each thread needs, aligned to 64 */
} NarrowConv;

/* False: rows too long for it. */
bool narrow_init(NarrowConv *c);
/* Whether sums of two neighbouring products, weights w [filters, channels of one group, taps], stay within 16 bits against any x. */
bool narrow_fits_bytes(const NarrowConv *c, const int8_t *w);
/* What x is more than its number in a copy: sums in bytes are too large by so many times the sum of a filter's weights. */
int32_t narrow_shift(const NarrowConv *c);
/* Bytes of packed weights, and the packing of w. */
size_t narrow_packed(const NarrowConv *c);
void narrow_pack(const NarrowConv *c, const int8_t *w, void *out);
/* Where filter k's offset and multiplier lie. */
int64_t narrow_place(const NarrowConv *c, int64_t k);
/* scratch: [threads, c->scratch]. The result does not depend on the number of threads. */
void narrow_run(const NarrowConv *c, const uint8_t *x, uint8_t *scratch, void *y);

#endif
