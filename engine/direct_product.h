/* Products of a few rows with constant weights in AVX2, see engine/direct_product.c. */
#ifndef PARE_ENGINE_DIRECT_PRODUCT_H
#define PARE_ENGINE_DIRECT_PRODUCT_H

#include <stdint.h>

/* y[rows, K] = max(low, min(high, x[rows, C] weights[K/8, C, 8] + bias[K] + addend)); K/8 rounded up, weights and bias as long. Channels
 * are dealt to one, two, four or eight sums, how many depends on rows and K alone. */
typedef struct Product {
    int64_t rows, channels, filters;
    const float *weights, *bias; /* bias NULL: zero */
    float low, high;
    int threads;
} Product;

/* addend: as y, or NULL. The result does not depend on the number of threads. Only where direct_serves (engine/direct.h). */
void product_run(const Product *p, const float *x, const float *addend, float *y);

#endif
