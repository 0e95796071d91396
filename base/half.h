/* Conversions of the short float formats, IEEE 754 binary16 and bfloat16; to nearest, ties to even; NaN stays NaN. */
#ifndef PARE_BASE_HALF_H
#define PARE_BASE_HALF_H

#include <stdint.h>

float half_to_float(uint16_t h);
uint16_t float_to_half(float f);
float bfloat16_to_float(uint16_t h);
uint16_t float_to_bfloat16(float f);

#endif
