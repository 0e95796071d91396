/* A set of energy counters whose sum is wanted: wraps unfolded, mirrored dies counted once. Inside greenness/ only. */
#ifndef PARE_GREENNESS_COUNTERS_H
#define PARE_GREENNESS_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS_MOST 128 /* far above any machine's sockets and dies */

typedef enum CounterPart { COUNTER_PACKAGE, COUNTER_DRAM, COUNTER_PSYS } CounterPart;

typedef struct Counter {
    char id[64];       /* folder "intel-rapl:0:2", or "energy-pkg on cpu 24": keys, never the name */
    int socket;        /* dies of one socket can show one counter twice */
    CounterPart part;
    int fd;
    double unit;       /* joules of a count */
    bool has_range;    /* it runs from 0 to range and starts again */
    uint64_t range, last, now;
    enum { TWIN_UNKNOWN, TWIN_NO, TWIN_YES } twin; /* shows what counter `twin_of` shows */
    int twin_of;
} Counter;

typedef struct CounterSet {
    Counter items[COUNTERS_MOST];
    int count;
    bool binary;       /* reads give 8 bytes (perf), not text */
    char reason[160];
} CounterSet;

struct Source;
/* What every reader of RAPL counters says of itself, and its zeroed state of `size` bytes; NULL with reason: out of memory. */
void *counters_rapl(struct Source *s, size_t size);

/* Where psys stands alone: how fine it is, and so how long a window must be. Its unit is 1 J on some processors (Sapphire Rapids), which
 * shows in its value. Call once counters are added. */
void counters_psys(struct Source *s, const CounterSet *c);

/* Takes over fd; the caller has filled the rest. False with reason when full or when it cannot be read: fd is closed. */
bool counters_add(CounterSet *c, const Counter *counter);
/* Joules since the call before, or since they were added. False with reason: unreadable, fell back without a known range, could have
 * wrapped more than once, or dies that were taken for one differ. Every counter still starts anew here. */
bool counters_step(CounterSet *c, double *joules);
void counters_close(CounterSet *c);
/* Counters of this part that are summed, twins known so far left out. */
int counters_number(const CounterSet *c, CounterPart part);
/* "2 packages + dram" */
void counters_describe(const CounterSet *c, char *text, size_t size);

#endif
