/* Rewrites of a float network that change nothing it computes and make it easier to quantize. All find their places by themselves
 * (quantize/places.h), change the graph in place and say in the record what they did; places that would do but for shared weights or the
 * like are listed as skipped. `ranges`: of repairs_measure on calibration data; they follow every change, so that one sweep
 * serves all; NULL where a rewrite can do without. `changed`: how many places.
 *
 * Ops bound, shapes inferred, BatchNormalization folded. Exact up to rounding; what holds on the calibration data only is said. */
#ifndef PARE_QUANTIZE_REPAIRS_H
#define PARE_QUANTIZE_REPAIRS_H

#include "quantize/places.h"

/* The ranges of channels that all of these can ask for, in one sweep of the data. channel_ranges_release. */
Status repairs_measure(const Graph *g, Dataset *data, const SweepOptions *options, ChannelRanges *out, Err *err);

/* Cross-layer equalization (Nagel et al. 2019): for a layer whose channels end in other layers, rows / s and columns * s with
 *   s = sqrt(max |row| / max |column|),
 * over all places in turn until they are balanced, at most 20 times. Channels of zeros stay. A Clip from 0 to an upper end that no channel
 * reached on the calibration data becomes a Relu; where some did, those stay and the others keep below it. Without ranges places with
 * such a Clip are skipped. */
Status equalize_graph(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err);

/* Absorption of high biases: what a channel has always on top of the point where its Relu begins moves into the next layers' biases,
 *   b1' = b1 - c,  b2' = b2 + W2 c,  c = max(0, lowest).
 * lowest: the smallest number on the calibration data (`deviations` < 0: exact on it), or mean - deviations * standard deviation (3 in
 * the paper). Only into layers that see no zero padding. */
Status absorb_graph(Graph *g, ChannelRanges *ranges, double deviations, PassRecord *record, int *changed, Err *err);

/* Equalization of activations: channel c between two layers is multiplied by (max / max_c)^a, a = 1 where a depthwise convolution reads
 * it, else 0.5. Clips as in equalize_graph. */
Status balance_graph(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err);

/* SmoothQuant (Xiao et al. 2023) for matrix products: x / s, W * s with s = max|x|^a / max|w|^(1 - a) for each input channel, one s for all
 * layers that read the same input; 1 / s goes into the vector of the normalisation or the layer that makes x.
 * The places: PLACE_VECTOR and PLACE_LAYER absorb the factor; a PLACE_INPUT, for layers whose input nobody can absorb it for, gets a
 * Mul. All readers are matrix products. places_release. */
Status smooth_find(const Graph *g, Places *out, Err *err);
/* One place, at strength a in [0, 1]; `g` may be a clone of the graph where it was found. *changed false: nothing to gain, or a Clip
 * forbids it (listed). ERR_BUG: the input was not measured. */
Status smooth_apply(Graph *g, const Place *p, double strength, ChannelRanges *ranges, PassRecord *record, bool *changed, Err *err);

/* The strength at which rounding to 8 bits should cost the place's readers least, by a model: uniform noise of the input's grid over its
 * measured range, through the weights, and of the weights' grids, one for each output, through the input's second moment. Searched in steps
 * of 0.05; -1: nothing is gained. */
Status smooth_strength(const Graph *g, const Place *p, const ChannelRanges *ranges, double *strength, Err *err);

/* What the rewrites share (repairs.c). */
typedef struct Factors {
    double *s;  /* [channels] */
    bool *relu; /* [clips] */
} Factors;
Status factors_new(const Place *p, Factors *f, Err *err);
void factors_release(Factors *f);
bool factors_matter(const Place *p, const double *s); /* any channel by more than 1 % */
/* Rescales the place, drops the Clips that are free, and lists it. */
Status factors_apply(Graph *g, const Place *p, const Factors *f, ChannelRanges *ranges, const char *what, PassRecord *record, Err *err);
void record_blocked(const Graph *g, const Place *p, PassRecord *record);

#endif
