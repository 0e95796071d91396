/* Equal arrays put one after another while a loop runs: what Loop and Scan make of a body's results. */
#ifndef PARE_ENGINE_OPS_STACK_H
#define PARE_ENGINE_OPS_STACK_H

#include "graph/op.h"

typedef struct Stack {
    DType type;
    Shape shape;   /* of one entry */
    uint8_t *data;
    size_t capacity, entry_bytes;
    int64_t count;
} Stack;

/* Adds a copy of t. ERR_DATA: another type or shape than the entry before; ERR_MEMORY: more than `limit` bytes in all. */
Status stack_add(Stack *s, const Tensor *t, uint64_t limit, const OpCall *c);
/* All entries along a new `axis` (from -rank-1), the last one first when `backwards`. Without entries `none` is the shape of one, its open
 * dimensions 0, unless `out` is there already. */
Status stack_join(const Stack *s, int64_t axis, bool backwards, const TypeInfo *none, Tensor *out, const OpCall *c);
void stack_release(Stack *s);

/* The subgraph of an attribute; ERR_DATA when it is missing. */
Status call_body(const OpCall *c, const char *attr, const Graph **body);

#endif
