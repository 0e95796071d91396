/* What the program says on standard error: messages, and progress with an ETA on a terminal for what takes over a second. */
#ifndef PARE_BASE_LOG_H
#define PARE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Log {
    FILE *stream;    /* NULL: silent */
    bool quiet;      /* -q: warnings only */
    bool terminal;   /* stream is a terminal: progress lines are redrawn */
    bool color;      /* terminal, and NO_COLOR unset */
    volatile int *interrupted; /* set by the signal handler; NULL when nobody listens */
    /* Told of a task when it begins (share 0), now and then while it goes on, and when it ends (1); may write what is added to the line. */
    void (*watch)(void *user, const char *task, double share, char *text, size_t size);
    void *watch_user;
    double watched;   /* when it was told last */
    char added[80];
    const char *task; /* progress now shown, NULL when none */
    int64_t done, total;
    double started, shown; /* seconds, CLOCK_MONOTONIC */
} Log;

void log_init(Log *log, FILE *stream, bool quiet);
/* A line that is neither progress nor warning; silent with -q. */
void log_note(Log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(Log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* progress_begin .. progress_step .. progress_end; a NULL log is silent. `total` 0 when unknown. */
void progress_begin(Log *log, const char *task, int64_t total);
/* Returns false when the user asked to stop (Ctrl-C): the caller returns ERR_INTERRUPTED. */
bool progress_step(Log *log, int64_t done);
void progress_end(Log *log);
bool log_interrupted(const Log *log);
double clock_seconds(void); /* CLOCK_MONOTONIC */
double cpu_seconds(void);   /* CPU time of this process, all threads */

#endif
