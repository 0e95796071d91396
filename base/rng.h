/* Seeded random numbers, the same on every machine: xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. */
#ifndef PARE_BASE_RNG_H
#define PARE_BASE_RNG_H

#include <stdint.h>

typedef struct Rng {
    uint64_t state[4];
    double spare; /* second Box-Muller value, NaN when none */
} Rng;

void rng_init(Rng *r, uint64_t seed);
uint64_t rng_u64(Rng *r);
uint64_t rng_below(Rng *r, uint64_t bound); /* uniform in [0, bound), unbiased; bound > 0 */
double rng_uniform(Rng *r);                 /* [0, 1) with 53 bits */
double rng_normal(Rng *r);                  /* mean 0, variance 1 */

#endif
