/* A counted bump allocator: many small objects with one lifetime (a graph and its clones share one).
 * Not for weights: those live in Buffers. Threads may use one at the same time. */
#ifndef PARE_BASE_ARENA_H
#define PARE_BASE_ARENA_H

#include "base/str.h"

typedef struct Arena Arena;

Arena *arena_new(void);      /* one reference; NULL when out of memory */
Arena *arena_ref(Arena *a);
void arena_unref(Arena *a);  /* NULL is fine; the last reference frees everything */

void *arena_alloc(Arena *a, size_t size); /* zeroed, aligned to 16; NULL when out of memory */
void *arena_array(Arena *a, size_t count, size_t size); /* checked product */
void *arena_copy(Arena *a, const void *data, size_t size);
Str arena_str(Arena *a, Str s); /* a NUL-terminated copy; data is NULL when out of memory */
Str arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Calls release(object) when the arena is freed, latest first. False when out of memory (nothing is registered). */
bool arena_defer(Arena *a, void (*release)(void *object), void *object);

#endif
