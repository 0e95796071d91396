#include "graph/tensor.h"

#include "base/bytes.h"

#include <stdio.h>

typedef struct TypeFacts {
    const char *name, *numpy;
    int bits;
} TypeFacts;

static const TypeFacts facts[DT_COUNT] = {
#define X(id, number, text, width, descr) [id] = { .name = text, .numpy = descr, .bits = width },
    DTYPE_LIST(X)
#undef X
};

static bool in_list(DType t)
{
    return (unsigned)t < DT_COUNT;
}

const char *dtype_name(DType t)
{
    return in_list(t) ? facts[t].name : "unknown";
}

int dtype_bits(DType t)
{
    return in_list(t) ? facts[t].bits : 0;
}

const char *dtype_numpy(DType t)
{
    return in_list(t) ? facts[t].numpy : "";
}

bool dtype_is_float(DType t)
{
    return t == DT_FLOAT || t == DT_FLOAT16 || t == DT_BFLOAT16 || t == DT_DOUBLE;
}

bool dtype_is_byte(DType t)
{
    return t == DT_INT8 || t == DT_UINT8;
}

bool dtype_is_integer(DType t)
{
    switch (t) {
    case DT_UINT8: case DT_INT8: case DT_UINT16: case DT_INT16: case DT_INT32: case DT_INT64: case DT_UINT32: case DT_UINT64:
    case DT_UINT4: case DT_INT4: case DT_UINT2: case DT_INT2: return true;
    default: return false;
    }
}

bool dtype_bytes(DType t, int64_t count, size_t *bytes)
{
    size_t bits;
    if (count < 0 || !mul_size((size_t)count, (size_t)dtype_bits(t), &bits)) return false;
    *bytes = bits / 8 + (bits % 8 != 0);
    return true;
}

bool shape_known(const Shape *s)
{
    if (s->rank < 0) return false;
    for (int i = 0; i < s->rank; i++) {
        if (s->dims[i] < 0) return false;
    }
    return true;
}

bool shape_eq(const Shape *a, const Shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i]) return false;
    }
    return true;
}

bool shape_count(const Shape *s, int64_t *count)
{
    if (!shape_known(s)) return false;
    *count = 1;
    bool empty = false; /* a zero anywhere makes the count zero, whatever overflows beside it */
    for (int i = 0; i < s->rank; i++) empty |= s->dims[i] == 0;
    if (empty) {
        *count = 0;
        return true;
    }
    for (int i = 0; i < s->rank; i++) {
        if (!mul_i64(*count, s->dims[i], count)) return false;
    }
    return true;
}

Shape shape_of(int rank, const int64_t *dims)
{
    Shape s = { .rank = rank };
    for (int i = 0; i < rank; i++) s.dims[i] = dims[i];
    return s;
}

void shape_print(const Shape *s, char *text, size_t size)
{
    if (s->rank < 0) {
        snprintf(text, size, "[?]");
        return;
    }
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < s->rank && used < size; i++) {
        const char *comma = i > 0 ? "," : "";
        if (s->dims[i] >= 0) used += (size_t)snprintf(text + used, size - used, "%s%lld", comma, (long long)s->dims[i]);
        else used += (size_t)snprintf(text + used, size - used, "%s?", comma);
    }
    if (used < size) snprintf(text + used, size - used, "]");
}
