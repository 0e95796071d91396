/* What the parts of a comparison share: the rounds (compare.c), the source and the idle machine (compare_source.c), the figures
 * (compare_result.c). */
#ifndef PARE_GREENNESS_COMPARE_PRIVATE_H
#define PARE_GREENNESS_COMPARE_PRIVATE_H

#include "base/rng.h"
#include "greenness/ratio.h"
#include "greenness/window.h"

#define LEAST_ROUNDS 3

#define MIDDLE_BUDGET 15.0 /* seconds from which on the idle machine is looked at in the middle, too */
#define DOMAINS_MOST 64

/* Power of the idle machine around one moment of the monotonic clock. */
typedef struct Baseline {
    double when, watts;
} Baseline;

/* A zone of RAPL, whether it is part of the sum or not. */
typedef enum DomainPart { DOMAIN_NONE, DOMAIN_PACKAGE, DOMAIN_CORE, DOMAIN_DRAM, DOMAIN_PSYS } DomainPart;

typedef struct Domain {
    char id[64];
    DomainPart part;
    bool mirrored;          /* a die of a package: it may show another one's counter */
    double before, range, joules;
} Domain;

typedef struct Domains {
    Domain items[DOMAINS_MOST];
    int count;
} Domains;

typedef struct Checks {
    Source whole;           /* the same source over all rounds */
    Reading reading;
    bool has_whole, has_domains;
    Domains domains;
    double celsius;         /* at the start */
    int64_t throttled;      /* after the last round */
} Checks;

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
    double source_left;         /* seconds that were left when the present source was opened */
    Baseline baselines[3];      /* before, in the middle of a long run, after; those that were told */
    int baseline_count;
    bool idle_still;            /* the counter stood still over the last baseline */
    Checks checks;
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

/* Measures the idle machine now; NaN where the source does not tell. */
Status protocol_baseline(Protocol *p, double *watts, Err *err);
/* Power of the idle machine at a moment: what was measured around it, joined by straight lines. */
double protocol_idle_at(const Protocol *p, double when);
/* compare_checks.c: after every round; around all of them (a model has nothing to check); when readings are settled. */
Status protocol_between(Protocol *p, Err *err);
void protocol_start_cool(Protocol *p, const Surroundings *s);
void protocol_checks_begin(Protocol *p);
void protocol_checks_end(Protocol *p);
void protocol_checks_judge(Protocol *p);
void protocol_checks_release(Protocol *p);

/* Whether every ratio is as sure as was asked for. */
Status result_precise(const Protocol *p, bool *precise, Err *err);
Status result_fill(Protocol *p, Err *err);

#endif
