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
    double joules, lost;          /* of the windows that ended; how many were dropped */
    double cpu_began;
    char reason[SOURCE_TEXT];     /* of the last one dropped */
    /* the task under way */
    const char *task;
    double task_began, task_joules; /* seconds; joules when it began */
    double predicted;             /* joules of the whole task, last said before half of it was done; NaN */
    /* the longest task that was predicted and came to its end */
    char kept_task[64];
    double kept_seconds, kept_predicted, kept_found;
} Account;

/* A meter's log, which is read when all is over, and models that must know what was computed are passed over: CPU time stands in. */
Status account_open(Account *a, const SourceSettings *settings, Err *err);
void account_close(Account *a);

void account_begin(Account *a);  /* a window */
void account_end(Account *a);
/* Joules since it was opened, the window under way included; polls the source. */
double account_so_far(Account *a);
/* Joules of all windows, with the source. A dropped window leaves no sum: CPU time is not added to what was measured. */
Sourced account_total(const Account *a);

/* A task inside a window: `share` of it is done, 0 begins it, 1 ends it. Returns the joules predicted for the whole task, NaN before a
 * twentieth of it is done. */
double account_task(Account *a, const char *task, double share);

#endif
