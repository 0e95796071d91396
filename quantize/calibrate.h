/* From what was seen of an activation to the ends of its grid: the calibrators of the field, each as its reference defines it.
 *
 *   minmax      all that was seen
 *   moving      moving average of each call's ends, m += 0.01 (x - m)                          ONNX Runtime, CalibMovingAverage
 *   mean        mean over the samples of each one's ends                                        NNCF, MEAN_MINMAX
 *   percentile  the ends that leave out (100 - p) / 2 % on each side, p = 99.999 unless given   ONNX Runtime, PercentileCalibrater
 *   mse         the ends that minimize sum (x - q(x))^2 over the histogram                      Furiosa, NNCF (HISTOGRAM)
 *   entropy     the ends that minimize the Kullback-Leibler divergence of the quantized histogram  TensorRT; ONNX Runtime
 *   auto        all of these but moving, first for all tensors alike, then for the tensors of each eighth of the network that another would
 *               treat differently: whatever lowers the error of the network's output by 2 % is kept */
#ifndef PARE_QUANTIZE_CALIBRATE_H
#define PARE_QUANTIZE_CALIBRATE_H

#include "quantize/grid.h"
#include "stats/layers.h"

typedef enum Calibration {
    CALIBRATE_AUTO, CALIBRATE_MINMAX, CALIBRATE_MOVING, CALIBRATE_MEAN, CALIBRATE_PERCENTILE, CALIBRATE_MSE, CALIBRATE_ENTROPY,
    CALIBRATE_METHODS
} Calibration;
#define CALIBRATE_CHOICES "auto|minmax|moving|mean|percentile|mse|entropy" /* in the order of Calibration */
extern const char *const calibration_names[CALIBRATE_METHODS];

typedef struct Ends {
    double low, high;
} Ends;

/* `percentile` in (50, 100]; used by that method only. a->count > 0; not CALIBRATE_AUTO. */
Ends calibrate_ends(Calibration method, const ActivationStats *a, double percentile);

#endif
