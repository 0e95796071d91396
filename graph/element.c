/* Reading and writing single elements of any numeric type, at any alignment. */
#include "graph/tensor.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

#define LOAD(T, t, i) (__extension__({ T v_; memcpy(&v_, (t)->data + (size_t)(i) * sizeof v_, sizeof v_); v_; }))
#define STORE(T, t, i, value) \
    do { \
        T v_ = (value); \
        memcpy((t)->data + (size_t)(i) * sizeof v_, &v_, sizeof v_); \
    } while (0)

/* 4-bit elements lie two to a byte and 2-bit four to a byte, the first in the low bits. */
static unsigned packed_get(const Tensor *t, int64_t i, int bits)
{
    int per_byte = 8 / bits;
    return (unsigned)t->data[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
}

static void packed_set(Tensor *t, int64_t i, int bits, unsigned value)
{
    int per_byte = 8 / bits, shift = (int)(i % per_byte) * bits;
    unsigned mask = ((1u << bits) - 1) << shift;
    uint8_t *byte = &t->data[i / per_byte];
    *byte = (uint8_t)((*byte & ~mask) | (value << shift & mask));
}

static int64_t sign_extend(unsigned value, int bits)
{
    return (int64_t)(value ^ 1u << (bits - 1)) - ((int64_t)1 << (bits - 1));
}

/* The 8-bit float formats of ONNX: sign, `exponent` bits, `mantissa` bits. `fn`: no infinities; `uz`: no negative zero, bias one more. */
static double float8_get(uint8_t byte, int mantissa, int bias, bool fn, bool uz)
{
    unsigned m = byte & ((1u << mantissa) - 1), e = (byte & 0x7f) >> mantissa;
    unsigned top = (1u << (7 - mantissa)) - 1;
    double sign = (byte & 0x80) != 0 ? -1.0 : 1.0;
    if (uz) {
        if (byte == 0x80) return NAN;
    } else if (fn) {
        if ((byte & 0x7f) == 0x7f) return NAN;
    } else if (e == top) {
        return m == 0 ? sign * INFINITY : NAN;
    }
    if (e == 0) return sign * ldexp((double)m, 1 - bias - mantissa);
    return sign * ldexp((double)(m + (1u << mantissa)), (int)e - bias - mantissa);
}

static const double float4_values[8] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6 };

double tensor_get(const Tensor *t, int64_t i)
{
    switch (t->type) {
    case DT_FLOAT: return LOAD(float, t, i);
    case DT_DOUBLE: return LOAD(double, t, i);
    case DT_FLOAT16: return half_to_float(LOAD(uint16_t, t, i));
    case DT_BFLOAT16: return bfloat16_to_float(LOAD(uint16_t, t, i));
    case DT_FLOAT8E4M3FN: return float8_get(t->data[i], 3, 7, true, false);
    case DT_FLOAT8E4M3FNUZ: return float8_get(t->data[i], 3, 8, true, true);
    case DT_FLOAT8E5M2: return float8_get(t->data[i], 2, 15, false, false);
    case DT_FLOAT8E5M2FNUZ: return float8_get(t->data[i], 2, 16, true, true);
    case DT_FLOAT8E8M0: return t->data[i] == 0xff ? NAN : ldexp(1.0, t->data[i] - 127);
    case DT_FLOAT4E2M1: {
        unsigned v = packed_get(t, i, 4);
        return (v & 8) != 0 ? -float4_values[v & 7] : float4_values[v & 7];
    }
    case DT_COMPLEX64: return LOAD(float, t, 2 * i);   /* the real part */
    case DT_COMPLEX128: return LOAD(double, t, 2 * i);
    case DT_UINT64: return (double)LOAD(uint64_t, t, i);
    default: return (double)tensor_get_int(t, i);
    }
}

static int64_t saturate_to_int64(double v)
{
    if (isnan(v)) return 0;
    if (v >= 0x1p63) return INT64_MAX;
    if (v <= -0x1p63) return INT64_MIN;
    return (int64_t)v;
}

int64_t tensor_get_int(const Tensor *t, int64_t i)
{
    switch (t->type) {
    case DT_INT64: return LOAD(int64_t, t, i);
    case DT_INT32: return LOAD(int32_t, t, i);
    case DT_INT16: return LOAD(int16_t, t, i);
    case DT_INT8: return (int8_t)t->data[i];
    case DT_UINT64: return (int64_t)LOAD(uint64_t, t, i);
    case DT_UINT32: return LOAD(uint32_t, t, i);
    case DT_UINT16: return LOAD(uint16_t, t, i);
    case DT_UINT8: return t->data[i];
    case DT_BOOL: return t->data[i] != 0;
    case DT_UINT4: return packed_get(t, i, 4);
    case DT_INT4: return sign_extend(packed_get(t, i, 4), 4);
    case DT_UINT2: return packed_get(t, i, 2);
    case DT_INT2: return sign_extend(packed_get(t, i, 2), 2);
    case DT_NONE:
    case DT_STRING: return 0;
    default: return saturate_to_int64(tensor_get(t, i));
    }
}

static int64_t clamp(double value, int64_t low, int64_t high)
{
    if (isnan(value)) return 0;
    value = nearbyint(value); /* to nearest even */
    if (value <= (double)low) return low;
    if (value >= (double)high) return high;
    return (int64_t)value;
}

/* Nearest code of an 8-bit float by search over all 256: slow, exact, and used only where such tensors are written. */
static uint8_t float8_nearest(const Tensor *like, double value)
{
    uint8_t best = 0;
    double distance = INFINITY, largest = 0;
    Tensor probe = { .type = like->type };
    for (int code = 0; code < 256; code++) {
        uint8_t byte = (uint8_t)code;
        probe.data = &byte;
        double v = tensor_get(&probe, 0);
        if (isfinite(v)) largest = fmax(largest, v);
    }
    value = fabs(value) > largest ? copysign(largest, value) : value; /* saturates; far away, every distance would round to the same */
    for (int code = 0; code < 256; code++) {
        uint8_t byte = (uint8_t)code;
        probe.data = &byte;
        double v = tensor_get(&probe, 0);
        if (isnan(value) && isnan(v)) return byte;
        if (isnan(v) || isinf(v)) continue;
        double d = fabs(v - value);
        if (d < distance || (d == distance && (code & 1) == 0 && signbit(v) == signbit(value))) {
            distance = d;
            best = byte;
        }
    }
    return best;
}

static unsigned float4_nearest(double value)
{
    unsigned best = fabs(value) > float4_values[7] ? 7 : 0;
    for (unsigned code = best + 1; code < 8; code++) {
        double d = fabs(float4_values[code] - fabs(value)), b = fabs(float4_values[best] - fabs(value));
        if (d < b || (d == b && (code & 1) == 0)) best = code;
    }
    return best | (signbit(value) ? 8u : 0u);
}

void tensor_set(Tensor *t, int64_t i, double value)
{
    switch (t->type) {
    case DT_FLOAT: STORE(float, t, i, (float)value); break;
    case DT_DOUBLE: STORE(double, t, i, value); break;
    case DT_FLOAT16: STORE(uint16_t, t, i, float_to_half((float)value)); break;
    case DT_BFLOAT16: STORE(uint16_t, t, i, float_to_bfloat16((float)value)); break;
    case DT_INT8: tensor_set_int(t, i, clamp(value, INT8_MIN, INT8_MAX)); break;
    case DT_INT16: tensor_set_int(t, i, clamp(value, INT16_MIN, INT16_MAX)); break;
    case DT_INT32: tensor_set_int(t, i, clamp(value, INT32_MIN, INT32_MAX)); break;
    case DT_INT64: tensor_set_int(t, i, clamp(value, INT64_MIN, INT64_MAX)); break;
    case DT_UINT8: tensor_set_int(t, i, clamp(value, 0, UINT8_MAX)); break;
    case DT_UINT16: tensor_set_int(t, i, clamp(value, 0, UINT16_MAX)); break;
    case DT_UINT32: tensor_set_int(t, i, clamp(value, 0, UINT32_MAX)); break;
    case DT_UINT64: STORE(uint64_t, t, i, value >= 0x1p64 ? UINT64_MAX : value > 0 ? (uint64_t)nearbyint(value) : 0); break;
    case DT_UINT4: tensor_set_int(t, i, clamp(value, 0, 15)); break;
    case DT_INT4: tensor_set_int(t, i, clamp(value, -8, 7)); break;
    case DT_UINT2: tensor_set_int(t, i, clamp(value, 0, 3)); break;
    case DT_INT2: tensor_set_int(t, i, clamp(value, -2, 1)); break;
    case DT_BOOL: t->data[i] = value != 0; break;
    case DT_FLOAT4E2M1: packed_set(t, i, 4, float4_nearest(value)); break;
    case DT_FLOAT8E4M3FN: case DT_FLOAT8E4M3FNUZ: case DT_FLOAT8E5M2: case DT_FLOAT8E5M2FNUZ: case DT_FLOAT8E8M0:
        t->data[i] = float8_nearest(t, value);
        break;
    case DT_COMPLEX64:
        STORE(float, t, 2 * i, (float)value);
        STORE(float, t, 2 * i + 1, 0);
        break;
    case DT_COMPLEX128:
        STORE(double, t, 2 * i, value);
        STORE(double, t, 2 * i + 1, 0);
        break;
    case DT_NONE:
    case DT_STRING:
    case DT_COUNT: break;
    }
}

void tensor_set_int(Tensor *t, int64_t i, int64_t value)
{
    switch (t->type) {
    case DT_INT64:
    case DT_UINT64: STORE(int64_t, t, i, value); break;
    case DT_INT32:
    case DT_UINT32: STORE(uint32_t, t, i, (uint32_t)value); break;
    case DT_INT16:
    case DT_UINT16: STORE(uint16_t, t, i, (uint16_t)value); break;
    case DT_INT8:
    case DT_UINT8: t->data[i] = (uint8_t)value; break;
    case DT_BOOL: t->data[i] = value != 0; break;
    case DT_UINT4:
    case DT_INT4: packed_set(t, i, 4, (unsigned)value & 15u); break;
    case DT_UINT2:
    case DT_INT2: packed_set(t, i, 2, (unsigned)value & 3u); break;
    default: tensor_set(t, i, (double)value); break;
    }
}

void tensor_read_floats(const Tensor *t, int64_t first, int64_t count, float *out)
{
    if (t->type == DT_FLOAT) {
        if (count > 0) memcpy(out, t->data + (size_t)first * 4, (size_t)count * 4);
        return;
    }
    for (int64_t i = 0; i < count; i++) out[i] = (float)tensor_get(t, first + i);
}

void tensor_read_doubles(const Tensor *t, int64_t first, int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) out[i] = tensor_get(t, first + i);
}

Status tensor_convert(const Tensor *t, DType type, Tensor *out, Err *err)
{
    if (type == t->type) return tensor_clone(t, out, err);
    Tensor result;
    TRY(tensor_new(&result, type, &t->shape, err));
    int64_t n = tensor_count(t);
    bool from_float = dtype_bits(t->type) > 0 && !dtype_is_integer(t->type) && t->type != DT_BOOL;
    bool to_integer = dtype_is_integer(type);
    for (int64_t i = 0; i < n; i++) {
        if (!from_float && (to_integer || type == DT_BOOL)) tensor_set_int(&result, i, tensor_get_int(t, i));
        else if (from_float && to_integer && type != DT_UINT64) tensor_set_int(&result, i, tensor_get_int(t, i)); /* towards zero */
        else if (from_float && type == DT_UINT64) tensor_set(&result, i, trunc(tensor_get(t, i)));
        else tensor_set(&result, i, tensor_get(t, i));
    }
    *out = result;
    return OK;
}

/* True when the block of float32 holds an exponent of all ones; without branches, so that it runs at the speed of memory. */
static bool block_nonfinite(const Tensor *t, int64_t first, int64_t count)
{
    uint32_t found = 0;
    for (int64_t i = first; i < first + count; i++) found |= (LOAD(uint32_t, t, i) & 0x7f800000) == 0x7f800000;
    return found != 0;
}

static bool find_special(const Tensor *t, bool nan_only, int64_t *index)
{
    enum { BLOCK = 4096 };
    if (!dtype_is_float(t->type)) return false;
    int64_t n = tensor_count(t), i = 0;
    while (i < n) {
        int64_t end = i + BLOCK < n ? i + BLOCK : n;
        bool suspect = t->type != DT_FLOAT || block_nonfinite(t, i, end - i);
        for (; suspect && i < end; i++) {
            double v = tensor_get(t, i);
            if (nan_only ? !isnan(v) : isfinite(v)) continue;
            *index = i;
            return true;
        }
        i = end;
    }
    return false;
}

bool tensor_has_nonfinite(const Tensor *t, int64_t *index)
{
    return find_special(t, false, index);
}

bool tensor_has_nan(const Tensor *t, int64_t *index)
{
    return find_special(t, true, index);
}

int64_t tensor_nonzeros(const Tensor *t)
{
    int64_t n = tensor_count(t), nonzeros = 0;
    if (t->type == DT_FLOAT) {
        for (int64_t i = 0; i < n; i++) nonzeros += LOAD(float, t, i) != 0;
        return nonzeros;
    }
    if (dtype_bits(t->type) == 8 && dtype_is_integer(t->type)) {
        for (int64_t i = 0; i < n; i++) nonzeros += t->data[i] != 0;
        return nonzeros;
    }
    for (int64_t i = 0; i < n; i++) nonzeros += tensor_get(t, i) != 0;
    return nonzeros;
}
