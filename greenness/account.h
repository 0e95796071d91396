/* What this process itself uses while it works: compressing, say. Windows of the best source that measures, else CPU time; while
 * one runs, a prediction of the whole from what is done so far, as Carbontracker makes for training (Anthony et al. 2020). */
#ifndef PARE_GREENNESS_ACCOUNT_H
#define PARE_GREENNESS_ACCOUNT_H

#include "greenness/carbon.h"
#include "greenness/source.h"

typedef struct Account {
    Source source;
    bool open;
    double (*cpu)(void *context); /* CPU seconds so far; NULL: of this process; context of the source's settings */
    void (*sleep)(void *context, double seconds); /* NULL: of the system; the same context */
    Reading *windows;             /* those that ended, in their order */
    int count, capacity;
    double cpu_began;
    bool failed;                  /* a window found no memory */
    /* the task under way */
    const char *task;
    double task_began, task_joules; /* seconds; joules when it began */
    double predicted;             /* joules of the whole task, last said before half of it was done; NaN */
    /* the longest task that was predicted and came to its end */
    char kept_task[64];
    double kept_seconds, kept_predicted, kept_found;
} Account;

/* Models that must know what was computed are passed over: CPU time stands in. */
Status account_open(Account *a, const SourceSettings *settings, Err *err);
void account_close(Account *a);

void account_begin(Account *a);  /* a window */
void account_end(Account *a);
/* Joules since it was opened, the window under way included; polls the source. NaN for a meter's log, which is read when all is over. */
double account_so_far(Account *a);
/* A meter's log may come late: waits for it, a few seconds at most, and drops what it does not tell. Before totals are asked for. */
void account_settle(Account *a);
/* Joules of one window, counted from 0, with the source; NaN and why when it was dropped. */
Sourced account_window(const Account *a, int index);
/* Joules of all windows, with the source. A dropped window leaves no sum: CPU time is not added to what was measured. */
Sourced account_total(const Account *a);

/* A task inside a window: `share` of it is done, 0 begins it, 1 ends it. Returns the joules predicted for the whole task, NaN before a
 * twentieth of it is done. */
double account_task(Account *a, const char *task, double share);

#endif
