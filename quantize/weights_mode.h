/* Weights in fewer bits, activations as they are: smaller files, and less memory to read. */
#ifndef PARE_QUANTIZE_WEIGHTS_MODE_H
#define PARE_QUANTIZE_WEIGHTS_MODE_H

#include "graph/pass.h"

/* Modes weights and dynamic (quantize/form_weights.h, form_dynamic.h). */
Status weights_mode_run(PassContext *c, Err *err);
/* The tables of Gather alone, in 8 bits: what a static network has besides its layers. */
Status weights_mode_tables(PassContext *c, Err *err);

#endif
