/* Mixed precision: as few layers in float, or in more bits, as an accuracy asks for; or the best network within a size.
 *
 *   sensitivity   error of the network's output (quantize/trial.h) with that layer alone in integers, measured
 *   allocation    layers in the order of their sensitivity, or of sensitivity a byte; how far down that list is found by bisection on the
 *                 accuracy itself (quantize/accuracy.h), on samples the sensitivities were not measured on where there are enough
 *
 * Sensitivities only give the order: they are no sums (errors of layers cancel and add up), and what counts is measured. */
#ifndef PARE_QUANTIZE_MIXED_H
#define PARE_QUANTIZE_MIXED_H

#include "quantize/static.h"

/* max-accuracy-drop or max-size was given. */
bool mixed_asked(const QuantizeOptions *o);
/* The bytes that max-size allows where g is the whole; infinite when it was not given. */
double mixed_limit(const QuantizeOptions *o, const Graph *g);

/* Before biases take in what rounding does: layers that stay float get theirs back. Nothing unless asked. */
Status mixed_remember(Static *s, Err *err);
/* Chooses s->keep; plan, error and biases follow it. Nothing unless asked. */
Status mixed_static(Static *s, Err *err);

/* One line of the table of sensitivities; `bytes`: what the choice costs more than the smallest form. */
void mixed_report(PassRecord *record, Str layer, double error, const char *choice, double bytes);

#endif
