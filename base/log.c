#include "base/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_SECONDS 0.2

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void log_init(Log *log, FILE *stream, bool quiet)
{
    *log = (Log){ .stream = stream, .quiet = quiet };
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    log->terminal = stream != NULL && isatty(fileno(stream)) && (term == NULL || strcmp(term, "dumb") != 0);
    log->color = log->terminal && (no_color == NULL || no_color[0] == '\0');
}

bool log_interrupted(const Log *log)
{
    return log != NULL && log->interrupted != NULL && *log->interrupted;
}

static void clear_line(Log *log)
{
    if (log->terminal && log->shown > 0) fputs("\r\033[K", log->stream);
    log->shown = 0;
}

static void say(Log *log, const char *prefix, const char *format, va_list args)
{
    clear_line(log);
    fputs(prefix, log->stream);
    vfprintf(log->stream, format, args);
    fputc('\n', log->stream);
    fflush(log->stream);
}

void log_warn(Log *log, const char *format, ...)
{
    if (log == NULL || log->stream == NULL) return;
    va_list args;
    va_start(args, format);
    say(log, log->color ? "\033[33mwarning:\033[0m " : "warning: ", format, args);
    va_end(args);
}

void log_note(Log *log, const char *format, ...)
{
    if (log == NULL || log->stream == NULL || log->quiet) return;
    va_list args;
    va_start(args, format);
    say(log, "", format, args);
    va_end(args);
}

static void tell(Log *log, const char *task, double share)
{
    log->added[0] = '\0';
    if (log->watch == NULL || task == NULL) return;
    log->watched = clock_seconds();
    log->watch(log->watch_user, task, share, log->added, sizeof log->added);
}

void progress_begin(Log *log, const char *task, int64_t total)
{
    if (log == NULL) return;
    clear_line(log);
    tell(log, task, 0);
    log->task = task;
    log->done = 0;
    log->total = total;
    log->started = clock_seconds();
}

/* "12 s", "3 min 20 s", "2 h 5 min" */
static void print_duration(double seconds, char *text, size_t size)
{
    long s = (long)(seconds + 0.5);
    if (s < 60) snprintf(text, size, "%ld s", s);
    else if (s < 3600) snprintf(text, size, "%ld min %ld s", s / 60, s % 60);
    else snprintf(text, size, "%ld h %ld min", s / 3600, s / 60 % 60);
}

bool progress_step(Log *log, int64_t done)
{
    if (log == NULL) return true;
    log->done = done;
    double now = clock_seconds(), spent = now - log->started;
    if (log->watch != NULL && log->task != NULL && log->total > 0 && now - log->watched > WATCH_SECONDS) {
        double share = (double)done / (double)log->total;
        tell(log, log->task, share > 0 && share < 1 ? share : share > 0 ? 0.999 : 1e-9);
    }
    if (log->terminal && !log->quiet && log->task != NULL && spent > 1 && now - log->shown > 0.2) {
        if (log->total > 0 && done > 0) {
            char left[32];
            print_duration(spent * (double)(log->total - done) / (double)done, left, sizeof left);
            fprintf(log->stream, "\r\033[K%s: %lld of %lld (%.0f %%), %s left%s", log->task, (long long)done, (long long)log->total,
                    100.0 * (double)done / (double)log->total, left, log->added);
        } else {
            fprintf(log->stream, "\r\033[K%s: %lld", log->task, (long long)done);
        }
        fflush(log->stream);
        log->shown = now;
    }
    return !log_interrupted(log);
}

void progress_end(Log *log)
{
    if (log == NULL) return;
    clear_line(log);
    tell(log, log->task, 1);
    log->task = NULL;
    if (log->terminal) fflush(log->stream);
}
