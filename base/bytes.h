/* Bounded reading of hostile bytes, and arithmetic that does not wrap. */
#ifndef PARE_BASE_BYTES_H
#define PARE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Cursor {
    const uint8_t *at, *end;
} Cursor;

static inline size_t cursor_left(const Cursor *c) { return (size_t)(c->end - c->at); }

/* Each returns false, and moves nothing, when the bytes are not there. Little-endian. */
bool cursor_u16(Cursor *c, uint16_t *out);
bool cursor_u32(Cursor *c, uint32_t *out);
bool cursor_u64(Cursor *c, uint64_t *out);
bool cursor_varint(Cursor *c, uint64_t *out); /* protobuf base-128, at most 10 bytes */
bool cursor_skip(Cursor *c, uint64_t n);
bool cursor_take(Cursor *c, uint64_t n, Cursor *out); /* a sub-cursor over the next n bytes */

static inline bool mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool mul_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool add_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }

/* malloc of count * size with the product checked; NULL on overflow or out of memory. Zeroed by the second form. */
void *alloc_array(size_t count, size_t size);
void *alloc_zeroed(size_t count, size_t size);
/* Grows *array (elements of `size` bytes) so that it holds at least `need`; doubles; false when out of memory. */
bool array_grow(void **array, size_t *capacity, size_t need, size_t size);

#endif
