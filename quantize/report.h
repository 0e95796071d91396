/* What quantization did, what it left and why, as entries of the pass's record. */
#ifndef PARE_QUANTIZE_REPORT_H
#define PARE_QUANTIZE_REPORT_H

#include "quantize/static.h"

/* Each layer: changed with its grids, or skipped with the reason. `w` NULL: none was quantized. */
void report_layers(const PassContext *c, const Plan *p, const WeightJobs *w);
/* Layers whose weights are no constants of their own: quantized already, behind other nodes, inside subgraphs. */
Status report_left_out(const PassContext *c, Err *err);
/* Float nodes between integer ones. */
Status report_float_ops(const PassContext *c, const Plan *p, Err *err);
/* How many activations got their ends by which method. */
void report_methods(PassRecord *record, const Static *s);
/* What a step did to the error of the network's output (given as its SQNR), and whether it was kept: where `after` is below `worth` (1 or
 * less) times `before`. Returns that. */
bool report_repair(PassRecord *record, const char *name, double before, double after, double worth);
/* The biases that rounding on the walk corrected: kept, where the weights were and the error falls by them. Returns that. */
bool report_biases(PassRecord *record, double without, double with, bool kept);
/* A note that is also a warning: with --quiet nothing else would tell. */
void report_warning(const PassContext *c, Str object, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A repair that may be tried and was not; nothing where it was not asked for. */
void report_not_tried(const PassContext *c, Repair repair, const char *why);

#endif
