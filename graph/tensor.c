#include "graph/tensor.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* a cache line, and the widest vector */

Buffer *buffer_new(size_t size)
{
    Buffer *b = malloc(sizeof *b);
    if (b == NULL) return NULL;
    if (size > SIZE_MAX - ALIGNMENT) {
        free(b);
        return NULL;
    }
    size_t padded = (size + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    uint8_t *data = aligned_alloc(ALIGNMENT, padded);
    if (data == NULL) {
        free(b);
        return NULL;
    }
    memset(data, 0, padded);
    *b = (Buffer){ .refs = 1, .data = data, .size = size };
    return b;
}

Buffer *buffer_of_mapping(Mapping *m)
{
    Buffer *b = malloc(sizeof *b);
    if (b == NULL) return NULL;
    *b = (Buffer){ .refs = 1, .read_only = true, .data = (uint8_t *)(uintptr_t)m->data, .size = m->size, .mapping = mapping_ref(m) };
    return b;
}

Buffer *buffer_ref(Buffer *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

void buffer_unref(Buffer *b)
{
    if (b == NULL || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    if (b->mapping != NULL) mapping_unref(b->mapping);
    else free(b->data);
    free(b);
}

Status tensor_new(Tensor *t, DType type, const Shape *shape, Err *err)
{
    *t = (Tensor){ .type = type, .shape = *shape };
    char text[128];
    int64_t count;
    if (!shape_count(shape, &count) || dtype_bits(type) == 0 || !dtype_bytes(type, count, &t->bytes)) {
        shape_print(shape, text, sizeof text);
        return err_set(err, ERR_DATA, "a %s tensor of shape %s has no size in memory", dtype_name(type), text);
    }
    t->buffer = buffer_new(t->bytes);
    if (t->buffer == NULL) {
        shape_print(shape, text, sizeof text);
        return err_set(err, ERR_MEMORY, "out of memory for a %s tensor of shape %s (%zu bytes)", dtype_name(type), text, t->bytes);
    }
    t->data = t->buffer->data;
    return OK;
}

Tensor tensor_share(const Tensor *t)
{
    if (t->buffer != NULL) buffer_ref(t->buffer);
    return *t;
}

void tensor_release(Tensor *t)
{
    buffer_unref(t->buffer);
    *t = (Tensor){ 0 };
}

Status tensor_clone(const Tensor *t, Tensor *out, Err *err)
{
    Tensor copy;
    TRY(tensor_new(&copy, t->type, &t->shape, err));
    if (t->bytes > 0) memcpy(copy.data, t->data, t->bytes);
    *out = copy;
    return OK;
}

bool tensor_is_aligned(const Tensor *t)
{
    size_t bytes = (size_t)dtype_bits(t->type) / 8;
    if (bytes > 8) bytes = 8; /* complex128 is two doubles */
    return bytes <= 1 || (uintptr_t)t->data % bytes == 0;
}

Status tensor_align(Tensor *t, Err *err)
{
    if (tensor_is_aligned(t)) return OK;
    Tensor copy;
    TRY(tensor_clone(t, &copy, err));
    tensor_release(t);
    *t = copy;
    return OK;
}

int64_t tensor_count(const Tensor *t)
{
    int64_t count;
    return shape_count(&t->shape, &count) ? count : 0;
}
