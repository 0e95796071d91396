/* What was asked of quantization, against itself and the network, before anything runs. */
#ifndef PARE_QUANTIZE_CHECK_H
#define PARE_QUANTIZE_CHECK_H

#include "graph/pass.h"

/* ERR_USAGE: options that exclude each other, for the pass or for a layer that a rule names; no data for mode static. */
Status quantize_check_options(const PassContext *c, Err *err);

#endif
