/* Where in the arena each slot lies: largest first, each at the lowest offset that is free of slots living at the same time. */
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/session.h"

#define ARENA_ALIGN 64

typedef struct Placed {
    int slot;
    size_t bytes, offset;
} Placed;

static int by_size(const void *a, const void *b)
{
    const Placed *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->slot - y->slot;
}

static int by_offset(const void *a, const void *b)
{
    const Placed *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->slot - y->slot;
}

/* The lowest gap of `bytes` between the neighbours, which are sorted by offset. */
static size_t lowest_gap(const Placed *near, size_t count, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (near[i].offset >= at && near[i].offset - at >= bytes) return at;
        if (near[i].offset + near[i].bytes > at) at = near[i].offset + near[i].bytes;
    }
    return at;
}

Status plan_assign_memory(Plan *p, Err *err)
{
    for (size_t i = p->slot_count; i-- > 0;) { /* an alias keeps its memory's owner alive; aliases come after what they stand for */
        Slot *s = &p->slots[i];
        if (s->kind != SLOT_ALIAS) continue;
        Slot *owner = &p->slots[s->alias];
        if (s->last > owner->last) owner->last = s->last;
    }
    Placed *order = alloc_array(p->slot_count + 1, sizeof *order), *near = alloc_array(p->slot_count + 1, sizeof *near);
    size_t count = 0;
    if (order == NULL || near == NULL) {
        free(order);
        free(near);
        return err_no_memory(err, "memory plan");
    }
    for (size_t i = 0; i < p->slot_count; i++)
        if (p->slots[i].kind == SLOT_ARENA)
            order[count++] = (Placed){ (int)i, (p->slots[i].bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN, 0 };
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count; i++) {
        Slot *s = &p->slots[order[i].slot];
        size_t neighbours = 0;
        for (size_t k = 0; k < i; k++) {
            const Slot *other = &p->slots[order[k].slot];
            if (other->first <= s->last && s->first <= other->last) near[neighbours++] = order[k];
        }
        qsort(near, neighbours, sizeof *near, by_offset);
        order[i].offset = s->offset = lowest_gap(near, neighbours, order[i].bytes);
        if (s->offset + order[i].bytes > p->arena_bytes) p->arena_bytes = s->offset + order[i].bytes;
    }
    free(order);
    free(near);
    return OK;
}
