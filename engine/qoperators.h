/* QGemm, QLinearAdd, QLinearAveragePool and QLinearGlobalAveragePool of com.microsoft, as QOperator files hold them, become the
 * operators of integer groups, whose definition is theirs too (engine/ops/integer.h) and which have kernels. Left alone: transA, alpha,
 * scales and zero points that are not constant, a C that is no bias of one row, operands of different shapes. */
#ifndef PARE_ENGINE_QOPERATORS_H
#define PARE_ENGINE_QOPERATORS_H

#include "graph/graph.h"

/* Ops bound and types inferred; `made`: how many. */
Status qoperators(Graph *g, int *made, Err *err);

#endif
