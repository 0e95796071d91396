/* Where the time of a network goes, for its report: milliseconds and bytes of each layer, and the peaks they stand under. */
#ifndef PARE_PIPELINE_LAYER_TIMES_H
#define PARE_PIPELINE_LAYER_TIMES_H

#include "pipeline/state.h"

/* Runs the network step by step for a moment on one call's inputs, `batch` inferences, and fills by_layer with what one inference takes:
 * what was computed along with a layer is in its time; steps that are no layer of their own (pooling, reorders) are added. A network that
 * cannot be timed keeps its counts. */
Status layer_times(ReportState *s, const Model *m, const Gauge *q, const Tensor *inputs, int64_t batch, Arena *arena, Err *err);
/* { "mac_f32", "mac_int8", "byte_l2", "byte_dram" }, a second, with as many threads as the networks were timed with; *out NULL when they
 * cannot be told. */
Status layer_peaks(const Gauge *q, int threads, cJSON **out, Err *err);

#endif
