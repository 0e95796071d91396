/* com.microsoft MatMulNBits and GatherBlockQuantized: weights of few bits, packed in blocks (form_weights.h). */
#ifndef PARE_QUANTIZE_FORM_NBITS_H
#define PARE_QUANTIZE_FORM_NBITS_H

#include "quantize/form_weights.h"

bool form_nbits_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why);
Status form_nbits_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err);
Status form_nbits_attach(Graph *g, const LayerForm *f, const StoredWeight *w, Err *err);

#endif
