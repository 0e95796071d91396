/* The two calibrators that search: each looks at the histogram of stats/histogram.h, whose bins begin at multiples of their width, so that
 * zero always lies between two bins. `low` and `high` are the least and the largest value seen. */
#ifndef PARE_QUANTIZE_CALIBRATE_INTERNAL_H
#define PARE_QUANTIZE_CALIBRATE_INTERNAL_H

#include "quantize/calibrate.h"

/* The count of bin i without zeros. A bin that begins at 0 and stands out from two neighbours that are about alike holds a Relu's zeros: it
 * counts as the larger neighbour. Where the two are not alike the bins are too coarse to tell zeros from small values, and all count. */
double histogram_without_zeros(const Histogram *h, int i);

Ends calibrate_mse(const Histogram *h, double low, double high);
Ends calibrate_entropy(const Histogram *h, double low, double high);

#endif
