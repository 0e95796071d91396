/* The list of passes. A new pass is one line here and one file that ends in its const Pass. */
#ifndef PARE_PIPELINE_PASSES_H
#define PARE_PIPELINE_PASSES_H

#include "graph/pass.h"

#define PASS_LIST(X) \
    X(pass_fold) \
    X(pass_prune) \
    X(pass_lowrank) \
    X(pass_quantize) \
    X(pass_distill)

#define X(pass) extern const Pass pass;
PASS_LIST(X)
#undef X

#endif
