/* Protobuf's wire format, as far as the scanner and the writer need it by hand. */
#ifndef PARE_FORMATS_WIRE_H
#define PARE_FORMATS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { WIRE_VARINT_MAX = 10 };

/* Field numbers of ONNX that the scanner and the writer treat by name. */
enum {
    NODE_OUTPUT = 2,
    TENSOR_FLOAT_DATA = 4, TENSOR_INT32_DATA = 5, TENSOR_INT64_DATA = 7, TENSOR_RAW_DATA = 9, TENSOR_DOUBLE_DATA = 10,
    TENSOR_UINT64_DATA = 11, TENSOR_PAYLOAD = 536870911,
};

static inline bool wire_is_tensor_data(uint32_t field)
{
    return field == TENSOR_FLOAT_DATA || field == TENSOR_INT32_DATA || field == TENSOR_INT64_DATA || field == TENSOR_RAW_DATA ||
           field == TENSOR_DOUBLE_DATA || field == TENSOR_UINT64_DATA;
}

/* Writes a base-128 varint and returns its length. */
static inline size_t wire_put_varint(uint8_t out[WIRE_VARINT_MAX], uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80 && n < WIRE_VARINT_MAX - 1) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static inline size_t wire_varint_size(uint64_t value)
{
    size_t n = 1;
    while (value >= 0x80) {
        value >>= 7;
        n++;
    }
    return n;
}

#endif
