/* Images from the order of eight channels to another one and back, see engine/blocks.c. */
#ifndef PARE_ENGINE_BLOCKS_H
#define PARE_ENGINE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* Between blocked[N, C/8, pixels, 8], zeros behind the last channel, and an order where an element lies at n image + c channel + p pixel,
 * either channel or pixel being 1. */
typedef struct Blocks {
    int64_t images, channels, pixels;
    int64_t image, channel, pixel; /* steps of the other order, in floats */
    bool packs;                    /* into blocks; else out of them */
} Blocks;

/* x may lie at any byte where it is packed: constants lie so in files. */
void blocks_run(const Blocks *b, const float *x, float *y);

#endif
