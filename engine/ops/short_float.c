#include "engine/ops/short_float.h"

#include <math.h>
#include <string.h>

double short_float_max(DType t)
{
    switch (t) {
    case DT_FLOAT8E4M3FN: return 448;
    case DT_FLOAT8E4M3FNUZ: return 240;
    case DT_FLOAT8E5M2: case DT_FLOAT8E5M2FNUZ: return 57344;
    case DT_FLOAT4E2M1: return 6;
    default: return 0;
    }
}

/* Whether v rounds to more than the largest number: past the middle to the next one, or on it where the largest is odd. */
static bool is_over(DType t, double v)
{
    switch (t) {
    case DT_FLOAT8E4M3FN: return v > 464;
    case DT_FLOAT8E4M3FNUZ: return v >= 248;
    case DT_FLOAT8E5M2: case DT_FLOAT8E5M2FNUZ: return v >= 61440;
    default: return false;
    }
}

void short_float_set(Tensor *t, int64_t i, double v, bool saturate)
{
    double most = short_float_max(t->type);
    if (!saturate && is_over(t->type, fabs(v))) {
        unsigned sign = v < 0 ? 0x80 : 0;
        t->data[i] = (uint8_t)(t->type == DT_FLOAT8E4M3FN ? 0x7f | sign : t->type == DT_FLOAT8E5M2 ? 0x7c | sign : 0x80);
        return;
    }
    tensor_set(t, i, v > most ? most : v < -most ? -most : v);
}

bool power_set(Tensor *t, int64_t i, float v, bool saturate, Str mode)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    unsigned exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffff;
    bool half = fraction > 0x400000 || (fraction == 0x400000 && exponent > 0); /* a tie goes up but from the smallest */
    bool up = str_is(mode, "up") ? fraction != 0 : str_is(mode, "nearest") && half;
    if (!str_is(mode, "up") && !str_is(mode, "nearest") && !str_is(mode, "down")) return false;
    if (exponent < 0xff && up && !(saturate && exponent == 0xfe)) exponent++;
    t->data[i] = (uint8_t)exponent;
    return true;
}
