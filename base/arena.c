#include "base/arena.h"

#include "base/bytes.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20, ALIGN = 16 };

typedef struct Block {
    struct Block *next;
    size_t used, size;
    _Alignas(ALIGN) uint8_t data[];
} Block;

typedef struct Deferred {
    struct Deferred *next;
    void (*release)(void *object);
    void *object;
} Deferred;

struct Arena {
    int refs;
    pthread_mutex_t lock; /* of what follows */
    Deferred *deferred; /* latest first; lives in the blocks */
    Block *blocks; /* the one in use first */
};

Arena *arena_new(void)
{
    Arena *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    a->refs = 1;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

Arena *arena_ref(Arena *a)
{
    __atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
    return a;
}

void arena_unref(Arena *a)
{
    if (a == NULL || __atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    for (const Deferred *d = a->deferred; d != NULL; d = d->next) d->release(d->object);
    for (Block *b = a->blocks; b != NULL;) {
        Block *next = b->next;
        free(b);
        b = next;
    }
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static Block *block_new(size_t size)
{
    size_t bytes;
    if (!add_size(sizeof(Block), size, &bytes)) return NULL;
    Block *b = malloc(bytes);
    if (b != NULL) *b = (Block){ .size = size };
    return b;
}

static void *bump(Arena *a, size_t padded)
{
    Block *b = a->blocks;
    if (b == NULL || b->size - b->used < padded) {
        size_t block = b == NULL ? FIRST_BLOCK : b->size * 2;
        if (block > LARGEST_BLOCK) block = LARGEST_BLOCK;
        if (block < padded) block = padded;
        Block *fresh = block_new(block);
        if (fresh == NULL) return NULL;
        fresh->next = b;
        a->blocks = b = fresh;
    }
    void *at = b->data + b->used;
    b->used += padded;
    return at;
}

void *arena_alloc(Arena *a, size_t size)
{
    size_t padded;
    if (!add_size(size, ALIGN - 1, &padded)) return NULL;
    padded &= ~(size_t)(ALIGN - 1);
    if (padded == 0) padded = ALIGN;
    pthread_mutex_lock(&a->lock);
    void *at = bump(a, padded);
    pthread_mutex_unlock(&a->lock);
    if (at != NULL) memset(at, 0, padded);
    return at;
}

void *arena_array(Arena *a, size_t count, size_t size)
{
    size_t bytes;
    return mul_size(count, size, &bytes) ? arena_alloc(a, bytes) : NULL;
}

void *arena_copy(Arena *a, const void *data, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (copy != NULL && size > 0) memcpy(copy, data, size);
    return copy;
}

Str arena_str(Arena *a, Str s)
{
    char *copy = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;
    if (copy == NULL) return (Str){ 0 };
    if (s.len > 0) memcpy(copy, s.data, s.len);
    return (Str){ copy, s.len };
}

Str arena_printf(Arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (text != NULL) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text != NULL ? (Str){ text, (size_t)n } : (Str){ 0 };
}

bool arena_defer(Arena *a, void (*release)(void *object), void *object)
{
    Deferred *d = arena_alloc(a, sizeof *d);
    if (d == NULL) return false;
    pthread_mutex_lock(&a->lock);
    *d = (Deferred){ a->deferred, release, object };
    a->deferred = d;
    pthread_mutex_unlock(&a->lock);
    return true;
}
