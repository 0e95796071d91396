#include "base/rng.h"

#include <math.h>

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void rng_init(Rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->state[i] = z ^ z >> 31;
    }
    r->spare = NAN;
}

uint64_t rng_u64(Rng *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rng_below(Rng *r, uint64_t bound)
{
    uint64_t limit = -bound % bound; /* 2^64 mod bound: reject below it for an unbiased remainder */
    for (;;) {
        uint64_t x = rng_u64(r);
        if (x >= limit) return x % bound;
    }
}

double rng_uniform(Rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

double rng_normal(Rng *r)
{
    if (!isnan(r->spare)) {
        double value = r->spare;
        r->spare = NAN;
        return value;
    }
    double u = 1.0 - rng_uniform(r), angle = 2.0 * M_PI * rng_uniform(r); /* Box and Muller 1958; u > 0 */
    double radius = sqrt(-2.0 * log(u));
    r->spare = radius * sin(angle);
    return radius * cos(angle);
}
