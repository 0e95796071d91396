#include "pipeline/kept.h"

#include <stdlib.h>

#include "base/bytes.h"

static void forget(Kept *k)
{
    for (size_t i = 0; i < k->count; i++) tensor_release(&k->tensors[i]);
    free(k->tensors);
    k->tensors = NULL;
    k->count = k->capacity = k->bytes = 0;
}

void kept_add(Kept *k, const Tensor *outputs, int count)
{
    if (k->overflowed) return;
    k->outputs = count;
    for (int i = 0; i < count; i++) k->bytes += outputs[i].bytes;
    void *tensors = k->tensors;
    if (k->bytes > KEPT_MOST || !array_grow(&tensors, &k->capacity, k->count + (size_t)count, sizeof *k->tensors)) {
        forget(k);
        k->overflowed = true;
        return;
    }
    k->tensors = tensors;
    for (int i = 0; i < count; i++) k->tensors[k->count++] = tensor_share(&outputs[i]);
}

const Tensor *kept_batch(const Kept *k, size_t i)
{
    size_t at = i * (size_t)k->outputs;
    return k->outputs > 0 && at + (size_t)k->outputs <= k->count ? &k->tensors[at] : NULL;
}

void kept_release(Kept *k)
{
    forget(k);
    *k = (Kept){ 0 };
}
