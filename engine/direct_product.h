/* Products of a few rows with constant weights in AVX2, see engine/direct_product.c. */
#ifndef PARE_ENGINE_DIRECT_PRODUCT_H
#define PARE_ENGINE_DIRECT_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#define PRODUCT_FILTERS 32 /* whose weights lie together */

/* y[rows, K] = max(low, min(high, x[rows, C] weights + bias[K] + addend)): weights in groups [C, 32] of filters one behind another, the
 * last as wide as there are filters, in eights, zeros behind them; bias as long. Channels are dealt to one, two, four or eight sums, how
 * many depends on rows and K alone; of one row those that are zero may be passed over. */
typedef struct Product {
    int64_t rows, channels, filters;
    const float *weights, *bias; /* bias NULL: zero */
    float low, high;
    bool finite; /* all weights are: zero times each is zero */
    int threads;
} Product;

/* addend: as y, or NULL. The result does not depend on the number of threads. Only where avx2_serves (engine/avx2.h). */
void product_run(const Product *p, const float *x, const float *addend, float *y);

#endif
