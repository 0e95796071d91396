/* A histogram of a stream whose range is not known beforehand, exact in its own bins and the same for any order and batching.
 *
 * Bins are 2^e wide and begin at multiples of 2^e: value v belongs to bin floor(v / 2^e). Before a block is counted, e is raised to the
 * least at which least and largest value so far lie less than 2048 bins apart; raising e by one joins bins 2k and 2k + 1, so no count is
 * ever split or guessed. In the end e depends on the least and the largest value alone, and 1,024 to 2,048 bins are in use (fewer for
 * values that hardly vary: e is held so that v / 2^e stays an exact integer). */
#ifndef PARE_STATS_HISTOGRAM_H
#define PARE_STATS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BINS 2048

typedef struct Histogram {
    int64_t used;    /* 0: nothing counted yet */
    int64_t exponent;
    int64_t origin;  /* bin 0 begins at origin 2^exponent */
    int64_t top;     /* floor of the largest value / 2^exponent */
    uint64_t bins[HISTOGRAM_BINS];
} Histogram;

/* Counts x[count], all finite, whose least and largest are given. */
void histogram_add(Histogram *h, const float *x, int64_t count, double low, double high);
/* Where bin i begins. */
double histogram_edge(const Histogram *h, int i);

#endif
