/* From int32 sums to the result of an integer layer, channels innermost. */
#ifndef PARE_ENGINE_REQUANTIZE_H
#define PARE_ENGINE_REQUANTIZE_H

#include <stdbool.h>

#include "graph/graph.h"

/* acc = sum + offset of the pixel's class and filter; then by the type of the result: int32 acc, float acc * multiplier, 8 bits
 * keep(round(acc * multiplier) + zero). The definition stands in engine/ops/integer.h. */
typedef struct Requantizer {
    int64_t filters, pixels;   /* of one image */
    int32_t *offsets;          /* [classes, filters]: bias, and the zero point of x times the weights that meet it. Owned */
    int32_t *class_of;         /* [pixels] of one image; NULL: a single class. Owned */
    float *multiplier;         /* [filters]. Owned */
    int64_t period;            /* with a single class, how often offsets and multiplier are repeated */
    DType type;
    bool in_floats;            /* the sums are float32, of integers below 2^24 */
    int32_t zero;
    float least, most;         /* what remains after the zero point is taken from the ends of the range */
} Requantizer;

/* With offsets [classes, filters], class_of and multiplier [filters] set: repeats short rows. False: out of memory. */
bool requantizer_finish(Requantizer *r);
void requantizer_release(Requantizer *r);
/* sums: [rows, filters], rows a multiple of pixels unless there is a single class; the parts are added, those of 2.. onto part 0. */
void requantizer_run(const Requantizer *r, int32_t *const *sums, int parts, int64_t rows, void *out);
/* y = keep(round(((a - zero_a) scale_a + (b - zero_b) scale_b) / scale) + zero) over `count` bytes. */
typedef struct ByteAdder {
    bool is_signed[2];
    int32_t zero[2];
    float scale[2], by, least, most;
    int32_t made_zero;
    int64_t count;
} ByteAdder;
void byte_add(const ByteAdder *s, const uint8_t *a, const uint8_t *b, uint8_t *y);

/* Bytes as the numbers they stand for, (q - zero) scale, and back, keep(round(v / scale) + zero). */
typedef struct ByteGrid {
    bool is_signed;
    int32_t zero;
    float scale, least, most; /* least and most: the ends of the range less the zero point, for writing */
} ByteGrid;
void byte_read(const ByteGrid *g, const uint8_t *in, int64_t count, float *out);
void byte_write(const ByteGrid *g, const float *in, int64_t count, uint8_t *out);

#endif
