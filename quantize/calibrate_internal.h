/* The two calibrators that search: each looks at the histogram of stats/histogram.h, whose bins begin at multiples of their width, so that
 * zero always lies between two bins. `low` and `high` are the least and the largest value seen. */
#ifndef PARE_QUANTIZE_CALIBRATE_INTERNAL_H
#define PARE_QUANTIZE_CALIBRATE_INTERNAL_H

#include "quantize/calibrate.h"

Ends calibrate_mse(const Histogram *h, double low, double high);
Ends calibrate_entropy(const Histogram *h, double low, double high);

#endif
