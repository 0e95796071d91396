#include "greenness/account.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define LEAST_SHARE 0.05 /* of a task from which on it is predicted */
#define SHORT_STEPS 50      /* of the source, below which a window may hold none of them */
#define SETTLE_SECONDS 5.0
#define SETTLE_STEP 0.25

static double cpu_of(const Account *a) { return a->cpu != NULL ? a->cpu(a->source.settings.context) : cpu_seconds(); }

static double now_of(const Account *a)
{
    SourceTime now;
    source_now(&a->source.settings, &now);
    return now.monotonic;
}

Status account_open(Account *a, const SourceSettings *settings, Err *err)
{
    SourceSettings own = *settings;
    own.profile = NULL;
    *a = (Account){ .cpu = a->cpu, .sleep = a->sleep, .predicted = NAN, .kept_predicted = NAN, .kept_found = NAN };
    TRY(source_open_best(&own, &a->source, err));
    a->open = true;
    return OK;
}

void account_close(Account *a)
{
    if (a->open) source_close(&a->source);
    free(a->windows);
    a->windows = NULL;
    a->count = a->capacity = 0;
    a->open = false;
}

void account_begin(Account *a)
{
    a->cpu_began = cpu_of(a);
    source_begin(&a->source);
}

/* A pass may be over before a counter takes its next step: what the counter told, be it nothing, is kept. */
static void keep_short(const Source *s, Reading *r)
{
    if (r->state != READING_DROPPED || s->kind->step == NULL || s->spoiled) return;
    double slept = (r->end.boot - r->start.boot) - r->seconds;
    if (!(r->seconds >= 0 && r->seconds < SHORT_STEPS * s->update_seconds) || slept > s->update_seconds * SHORT_STEPS) return;
    r->state = READING_GOOD;
    r->joules = s->joules;
    r->reason[0] = '\0';
}

void account_end(Account *a)
{
    Reading reading;
    const Work work = { .cpu_seconds = cpu_of(a) - a->cpu_began };
    source_end(&a->source, &work, &reading);
    keep_short(&a->source, &reading);
    if (a->count == a->capacity) {
        int capacity = a->capacity > 0 ? 2 * a->capacity : 8;
        Reading *grown = realloc(a->windows, (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            a->failed = true;
            return;
        }
        a->windows = grown;
        a->capacity = capacity;
    }
    a->windows[a->count++] = reading;
}

static double ended(const Account *a)
{
    double joules = 0;
    for (int i = 0; i < a->count; i++) joules += a->windows[i].joules; /* a window that is lost, or not told yet, is NaN */
    return a->failed ? NAN : joules;
}

double account_so_far(Account *a)
{
    if (!a->source.in_window) return ended(a);
    if (a->source.kind->between != NULL) return NAN;
    if (a->source.kind->model != NULL) {
        double joules = 0;
        const Work work = { .cpu_seconds = cpu_of(a) - a->cpu_began };
        return a->source.kind->model(&a->source, &work, now_of(a) - a->source.start.monotonic, &joules) ? ended(a) + joules : NAN;
    }
    source_poll(&a->source);
    return a->source.spoiled ? NAN : ended(a) + a->source.joules;
}

static bool settle_all(Account *a)
{
    bool pending = false;
    for (int i = 0; i < a->count; i++) {
        source_settle(&a->source, &a->windows[i]);
        pending = pending || a->windows[i].state == READING_PENDING;
    }
    return pending;
}

void account_settle(Account *a)
{
    bool pending = settle_all(a);
    for (double waited = 0; pending && waited < SETTLE_SECONDS; waited += SETTLE_STEP) {
        const struct timespec t = { .tv_nsec = (long)(SETTLE_STEP * 1e9) };
        if (a->sleep != NULL) a->sleep(a->source.settings.context, SETTLE_STEP);
        else nanosleep(&t, NULL);
        pending = settle_all(a);
    }
    for (int i = 0; i < a->count; i++)
        if (a->windows[i].state == READING_PENDING) a->windows[i].state = READING_DROPPED;
}

static Sourced lost(const char *reason)
{
    Sourced out = { .value = NAN };
    snprintf(out.source, sizeof out.source, "not available: %.120s", reason);
    return out;
}

static Sourced told(const Account *a, double joules)
{
    Sourced out = { .value = joules };
    char text[SOURCE_TEXT];
    source_describe(&a->source, text, sizeof text);
    snprintf(out.source, sizeof out.source, "%.159s", text);
    return out;
}

Sourced account_window(const Account *a, int index)
{
    if (index < 0 || index >= a->count) return lost("no such window");
    const Reading *r = &a->windows[index];
    return r->state == READING_GOOD ? told(a, r->joules) : lost(r->reason);
}

Sourced account_total(const Account *a)
{
    if (a->failed) return lost("out of memory");
    for (int i = a->count; i-- > 0;)
        if (a->windows[i].state != READING_GOOD) return lost(a->windows[i].reason);
    return told(a, ended(a));
}

static void keep_task(Account *a, double joules)
{
    double seconds = now_of(a) - a->task_began;
    if (isnan(a->predicted) || isnan(joules) || seconds <= a->kept_seconds) return;
    snprintf(a->kept_task, sizeof a->kept_task, "%.63s", a->task);
    a->kept_seconds = seconds;
    a->kept_predicted = a->predicted;
    a->kept_found = joules;
}

double account_task(Account *a, const char *task, double share)
{
    double now = account_so_far(a);
    if (a->task == NULL || share <= 0) {
        a->task = task;
        a->task_began = now_of(a);
        a->task_joules = now;
        a->predicted = NAN;
        return NAN;
    }
    double joules = now - a->task_joules;
    if (share >= 1) {
        keep_task(a, joules);
        a->task = NULL;
        return joules;
    }
    if (share < LEAST_SHARE) return NAN;
    double whole = joules / share;
    if (share <= 0.5) a->predicted = whole;
    return whole;
}
