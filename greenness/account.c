#include "greenness/account.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define LEAST_SHARE 0.05 /* of a task from which on it is predicted */

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
    own.meter_path = NULL;
    own.profile = NULL;
    *a = (Account){ .cpu = a->cpu, .predicted = NAN, .kept_predicted = NAN, .kept_found = NAN };
    TRY(source_open_best(&own, &a->source, err));
    a->open = true;
    return OK;
}

void account_close(Account *a)
{
    if (a->open) source_close(&a->source);
    a->open = false;
}

void account_begin(Account *a)
{
    a->cpu_began = cpu_of(a);
    source_begin(&a->source);
}

void account_end(Account *a)
{
    Reading reading;
    const Work work = { .cpu_seconds = cpu_of(a) - a->cpu_began };
    source_end(&a->source, &work, &reading);
    if (reading.state == READING_GOOD) {
        a->joules += reading.joules;
    } else {
        a->lost++;
        snprintf(a->reason, sizeof a->reason, "%s", reading.reason);
    }
}

double account_so_far(Account *a)
{
    if (!a->source.in_window) return a->joules;
    if (a->source.kind->model != NULL) {
        double joules = 0;
        const Work work = { .cpu_seconds = cpu_of(a) - a->cpu_began };
        return a->source.kind->model(&a->source, &work, now_of(a) - a->source.start.monotonic, &joules) ? a->joules + joules : NAN;
    }
    source_poll(&a->source);
    return a->source.spoiled ? NAN : a->joules + a->source.joules;
}

Sourced account_total(const Account *a)
{
    Sourced out = { .value = a->lost > 0 ? NAN : a->joules };
    char text[SOURCE_TEXT];
    source_describe(&a->source, text, sizeof text);
    if (a->lost > 0) snprintf(out.source, sizeof out.source, "not available: %.120s", a->reason);
    else snprintf(out.source, sizeof out.source, "%.159s", text);
    return out;
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
