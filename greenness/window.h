/* One window of a comparison: calls of one network, or nothing at all, under clock, CPU time and energy source. Inside greenness/ only. */
#ifndef PARE_GREENNESS_WINDOW_H
#define PARE_GREENNESS_WINDOW_H

#include "greenness/compare.h"

/* What a window is read with. */
typedef struct Instruments {
    const CompareOptions *options;
    Source source;
    bool has_source;
    double polling;          /* seconds in source_poll since the window began */
} Instruments;

typedef struct Window {
    int64_t calls;
    double seconds, cpu_seconds; /* of all calls; NaN: lost */
    double read_seconds;         /* in source_begin, _poll and _end */
    char lost[96];               /* why */
    Reading reading;             /* READING_DROPPED without a source */
} Window;

double instruments_now(const Instruments *m); /* the monotonic clock */
double instruments_cpu(const Instruments *m);
void instruments_sleep(const Instruments *m, double seconds);

/* `calls` of a network; one more, not timed, goes before where a window has four or more: what the others pushed out of the
 * caches comes back. `call_seconds`: about what one takes, to know when the source must be polled. */
Status window_run(Instruments *m, const Contestant *c, int64_t calls, double call_seconds, Window *out, Err *err);
/* The process sleeps, its threads are parked. */
Status window_idle(Instruments *m, double seconds, Window *out, Err *err);

#endif
