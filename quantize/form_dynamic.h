/* Layers in integers whose activations get their grid while the network runs.
 *
 *   x -> DynamicQuantizeLinear -> q, s, z       once per activation, however many layers read it; 0 samples of calibration needed
 *   q, W -> MatMulInteger -> Cast -> Mul(s * scales of W) [-> Add bias]        MatMul, Gemm without transA
 *   q, W -> ConvInteger   -> Cast -> Mul(s * scales of W) [-> Add bias]        Conv
 *   LSTM -> com.microsoft DynamicQuantizeLSTM                                  X once for all steps, h before every step
 *
 * The grid of x spans the whole batch, so results depend on what is in the batch. Weights are int8 (portable only under the pair rule,
 * quantize/grid.h) or uint8 (`shifted`, exact everywhere); one scale per output or per tensor. ConvInteger takes one zero point only.
 * GRU and RNN have no such operator: weights only (form_weights.h). */
#ifndef PARE_QUANTIZE_FORM_DYNAMIC_H
#define PARE_QUANTIZE_FORM_DYNAMIC_H

#include "quantize/form_weights.h"

/* form_weight_fits, form_weight_store and form_weight_attach do the same for spec->format WEIGHT_DYNAMIC by calling these. */
bool form_dynamic_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why);
Status form_dynamic_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err);
Status form_dynamic_attach(Graph *g, const LayerForm *f, const StoredWeight *w, Err *err);

/* The two weights of an LSTM node (form_of_recurrent), rounded by row or as a whole, at once; no blocks. */
bool form_dynamic_lstm_fits(const Graph *g, const LayerForm *w, const LayerForm *r, const WeightSpec *spec, const char **why);
Status form_dynamic_lstm(Graph *g, const LayerForm *w, const Rounded *rounded_w, const LayerForm *r, const Rounded *rounded_r,
                         const WeightSpec *spec, Err *err);

#endif
