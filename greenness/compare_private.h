/* What the parts of a comparison share: the rounds (compare.c), the source and the idle machine (compare_source.c), the figures
 * (compare_result.c). */
#ifndef PARE_GREENNESS_COMPARE_PRIVATE_H
#define PARE_GREENNESS_COMPARE_PRIVATE_H

#include "base/rng.h"
#include "greenness/ratio.h"
#include "greenness/window.h"

#define LEAST_ROUNDS 3

/* One round: a window of each network, and behind them the first network's second one. */
typedef struct Protocol {
    const Contestant *contestants;
    int count;                  /* networks; windows of a round: one more */
    const CompareOptions *options;
    Instruments instruments;
    Comparison *out;
    double started, budget;     /* seconds */
    double *call_seconds;       /* [count], about */
    int64_t *calls;             /* [count], of a window */
    Window *windows;            /* [round][count + 1] */
    int rounds, capacity;
    int source_since;           /* round since which the present source is read */
    double idle_seconds;        /* of one baseline; 0: none */
    int *order;
    Rng rng;
} Protocol;

static inline Window *protocol_window(const Protocol *p, int round, int slot)
{
    return &p->windows[(size_t)round * (size_t)(p->count + 1) + (size_t)slot];
}

static inline const Contestant *protocol_slot(const Protocol *p, int slot)
{
    return &p->contestants[slot < p->count ? slot : 0];
}

/* Seconds of the budget that are left. */
double protocol_left(const Protocol *p);
/* Opens the best source below `after` (NULL: of all) whose windows fit into what is left, sets the windows' length and measures the idle
 * machine. */
Status protocol_open_source(Protocol *p, const SourceKind *after, Err *err);
/* When the source gave nothing in rounds enough to tell, goes on to the next one. */
Status protocol_check_source(Protocol *p, Err *err);
/* The idle baseline after the last round, and readings that waited for a log. */
Status protocol_close_source(Protocol *p, Err *err);

/* Whether every ratio is as sure as was asked for. */
Status result_precise(const Protocol *p, bool *precise, Err *err);
Status result_fill(Protocol *p, Err *err);

#endif
