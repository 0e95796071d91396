/* Layers that the pair rule costs more than it is worth take uint8 weights with zero point 128.
 *
 * Products u8 x u8 are added in 32 bits on every processor: exact without the rule (quantize/grid.h), but slower where u8 x s8 has an
 * instruction of its own. A layer takes them where the error of the network's output, measured, falls by a tenth at least and
 * by twice the share that the network's time grows by the table (quantize/latency.h). Nothing is timed. */
#ifndef PARE_QUANTIZE_UINT8_H
#define PARE_QUANTIZE_UINT8_H

#include "quantize/static.h"

/* After the grids are chosen, before weights are rounded for good: sets PlannedLayer.shifted; jobs and error follow. One network
 * is tried where the rule costs nothing worth speaking of. */
Status uint8_choose(Static *s, Err *err);

#endif
