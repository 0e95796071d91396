/* What is done row by row along the last axis: normalisations. */
#ifndef PARE_ENGINE_ROWS_H
#define PARE_ENGINE_ROWS_H

#include "engine/kernel.h"

extern const Kernel kernels_rows[];

#endif
