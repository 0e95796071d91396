#include "base/bytes.h"

#include <stdlib.h>

bool cursor_take(Cursor *c, uint64_t n, Cursor *out)
{
    if (n > cursor_left(c)) return false;
    *out = (Cursor){ c->at, c->at + n };
    c->at += n;
    return true;
}

bool cursor_skip(Cursor *c, uint64_t n)
{
    Cursor skipped;
    return cursor_take(c, n, &skipped);
}

static bool cursor_little(Cursor *c, int size, uint64_t *out)
{
    Cursor bytes;
    if (!cursor_take(c, (uint64_t)size, &bytes)) return false;
    *out = 0;
    for (int i = 0; i < size; i++) *out |= (uint64_t)bytes.at[i] << (8 * i);
    return true;
}

bool cursor_u16(Cursor *c, uint16_t *out)
{
    uint64_t v;
    if (!cursor_little(c, 2, &v)) return false;
    *out = (uint16_t)v;
    return true;
}

bool cursor_u32(Cursor *c, uint32_t *out)
{
    uint64_t v;
    if (!cursor_little(c, 4, &v)) return false;
    *out = (uint32_t)v;
    return true;
}

bool cursor_u64(Cursor *c, uint64_t *out)
{
    return cursor_little(c, 8, out);
}

bool cursor_varint(Cursor *c, uint64_t *out)
{
    uint64_t v = 0;
    const uint8_t *at = c->at;
    for (int shift = 0; shift < 70; shift += 7) {
        if (at == c->end) return false;
        uint8_t byte = *at++;
        if (shift < 63) v |= (uint64_t)(byte & 0x7f) << shift;
        else v |= (uint64_t)(byte & 1) << 63;
        if ((byte & 0x80) == 0) {
            c->at = at;
            *out = v;
            return true;
        }
    }
    return false;
}

void *alloc_array(size_t count, size_t size)
{
    size_t bytes;
    if (!mul_size(count, size, &bytes)) return NULL;
    return malloc(bytes > 0 ? bytes : 1);
}

void *alloc_zeroed(size_t count, size_t size)
{
    return calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

bool array_grow(void **array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return true;
    size_t wanted = *capacity > 0 ? *capacity : 8, bytes;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2) return false;
        wanted *= 2;
    }
    if (!mul_size(wanted, size, &bytes)) return false;
    void *grown = realloc(*array, bytes);
    if (grown == NULL) return false;
    *array = grown;
    *capacity = wanted;
    return true;
}
