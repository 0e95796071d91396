/* DequantizeLinear .. operator .. QuantizeLinear groups become one integer operator each, in a session's own copy of the graph. */
#ifndef PARE_ENGINE_INTEGER_GROUPS_H
#define PARE_ENGINE_INTEGER_GROUPS_H

#include "graph/graph.h"

/* Rewrites every group of the graph whose inner values nobody else reads and nobody watches (`watched` by value, may be NULL). What an
 * integer operator computes is defined in engine/ops/integer.h. *made: how many groups. The operators must be bound. Ids of values stay. */
Status integer_groups(Graph *g, const bool *watched, int *made, Err *err);

#endif
