/* Weights of an integer layer, made ready for kernels that are exact only for some of them. */
#ifndef PARE_ENGINE_INTEGER_WEIGHTS_H
#define PARE_ENGINE_INTEGER_WEIGHTS_H

#include "engine/kernel.h"

#define INTEGER_PARTS 8

/* Weights less their zero points, [filters, channels, taps] (channels: of one group). */
typedef struct IntegerWeights {
    int64_t filters, channels, taps;
    int8_t *data;                 /* owned */
    int64_t most;                 /* the largest sum of |w| of a filter */
    int8_t *part[INTEGER_PARTS];  /* owned; the first may be `data` itself; they add up to it */
    int part_count;
} IntegerWeights;

/* Takes constant weights; `columns`: a matrix [channels, filters] instead. ERR_UNSUPPORTED: one does not fit into 8 bits. */
Status integer_weights_init(IntegerWeights *w, const Tensor *q, const Tensor *zero, bool columns, Err *err);
/* The same for a kernel that takes no parts: ERR_UNSUPPORTED, too, where a sum may reach 2^24 against any uint8 input. */
Status integer_weights_whole(IntegerWeights *w, const Tensor *q, const Tensor *zero, bool columns, Err *err);
/* Splits them into parts of which each one is exact against any uint8 input:
 *   every sum stays below 2^24, so that kernels may pass it through float32;
 *   with `pairs`, 255 |w0| + 255 |w1| fits 16 bits for neighbours of one sign (x86 without VNNI adds them saturating), else halves.
 * ERR_UNSUPPORTED: that takes more parts than INTEGER_PARTS. */
Status integer_weights_split(IntegerWeights *w, bool pairs, Err *err);
/* to[columns, rows] = from[rows, columns] turned. */
void bytes_turn(const uint8_t *from, int64_t rows, int64_t columns, uint8_t *to);
void integer_weights_release(IntegerWeights *w);

#endif
