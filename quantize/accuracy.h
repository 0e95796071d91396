/* The accuracy a candidate loses against the original network, on calibration data. */
#ifndef PARE_QUANTIZE_ACCURACY_H
#define PARE_QUANTIZE_ACCURACY_H

#include "base/log.h"
#include "data/dataset.h"
#include "engine/engine.h"

typedef struct Accuracy Accuracy;

/* Runs `original` on at most `samples` samples (0: all) and keeps what its first output says there: the class with the highest score at
 * each position. They lie behind the first `samples` (those that grids and rounding have seen) where the data set has as many more; else
 * among these, without the `apart` that a trial of as many samples looks at where others are left. ERR_DATA: the output has no classes. */
Status accuracy_new(const Graph *original, Dataset *data, int64_t samples, int64_t apart, int threads, uint64_t max_mem, Log *log,
                    Accuracy **out, Err *err);
void accuracy_free(Accuracy *a); /* NULL is fine */
/* Percentage points lost. With labels: of the share of right predictions (below 0: gained). Without: the share of predictions that
 * are not the original's, which no drop of accuracy can exceed. */
Status accuracy_drop(Accuracy *a, const Graph *candidate, double *points, Err *err);
bool accuracy_labelled(const Accuracy *a);
int64_t accuracy_positions(const Accuracy *a); /* predictions counted */

#endif
