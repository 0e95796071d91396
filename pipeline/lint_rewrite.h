/* What ONNX Runtime does to a network before it looks for groups it can run in integers; done to the Sim alike. */
#ifndef PARE_PIPELINE_LINT_REWRITE_H
#define PARE_PIPELINE_LINT_REWRITE_H

#include "pipeline/lint_sim.h"

/* `x86`: int8 activations become uint8 there. s->failed is set when memory runs out. */
void lint_rewrite(Sim *s, bool x86);
/* Whether a Relu or Clip changes nothing that this grid could tell apart. */
bool lint_clamp_is_redundant(const Sim *s, int clamp, const SimGrid *grid);

#endif
