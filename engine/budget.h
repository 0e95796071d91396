/* What a session and the sessions of its subgraphs may hold at once: activations, constants of their own, packed weights, scratch memory.
 * Everything is counted before it is allocated. Not counted: pages of the mapped file, the network's tables, machine code, results. */
#ifndef PARE_ENGINE_BUDGET_H
#define PARE_ENGINE_BUDGET_H

#include <stdint.h>

#include "base/status.h"

typedef struct Budget {
    uint64_t limit; /* 0: none */
    uint64_t taken;
} Budget;

/* ERR_MEMORY says what for, how much is needed in all and how much is left. */
static inline Status budget_take(Budget *b, uint64_t bytes, const char *what, Err *err)
{
    if (b->limit != 0 && (bytes > b->limit || b->taken > b->limit - bytes))
        return err_set(err, ERR_MEMORY, "running needs %llu bytes with its %s, --max-mem leaves %llu: use a smaller batch or raise it",
                       (unsigned long long)(b->taken + bytes), what, (unsigned long long)b->limit);
    b->taken += bytes;
    return OK;
}

static inline void budget_give(Budget *b, uint64_t bytes)
{
    b->taken -= bytes;
}

#endif
