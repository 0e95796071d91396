#include "greenness/window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define SLEPT 0.1        /* difference of the clocks from which the machine was suspended */
#define IDLE_SLICE 0.1
#define SETTLED_CALLS 4  /* windows of fewer calls have no time to spare for one that is not timed */

double instruments_now(const Instruments *m)
{
    SourceTime now;
    source_now(&m->options->source, &now);
    return now.monotonic;
}

double instruments_cpu(const Instruments *m)
{
    return m->options->cpu != NULL ? m->options->cpu(m->options->source.context) : cpu_seconds();
}

void instruments_sleep(const Instruments *m, double seconds)
{
    if (m->options->sleep != NULL) {
        m->options->sleep(m->options->source.context, seconds);
        return;
    }
    struct timespec t = { (time_t)seconds, (long)((seconds - floor(seconds)) * 1e9) };
    nanosleep(&t, NULL);
}

/* A window's two ends on all clocks. */
typedef struct Span {
    SourceTime asked, from, to; /* before the source was read; between reading it and working; between working and reading it */
    double cpu;
} Span;

static void begin(Instruments *m, Span *s)
{
    m->polling = 0;
    source_now(&m->options->source, &s->asked);
    if (m->has_source) source_begin(&m->source);
    s->cpu = instruments_cpu(m);
    source_now(&m->options->source, &s->from);
}

static void end(Instruments *m, Span *s, const Work *work, int64_t calls, Window *out)
{
    SourceTime done;
    source_now(&m->options->source, &s->to);
    *out = (Window){ .calls = calls, .seconds = s->to.monotonic - s->from.monotonic, .cpu_seconds = instruments_cpu(m) - s->cpu };
    Work all = { .cpu_seconds = out->cpu_seconds };
    if (work != NULL) {
        double n = (double)calls;
        all = (Work){ out->cpu_seconds, work->macs_float * n, work->macs_int8 * n, work->elementwise * n, work->bytes * n };
    }
    out->reading = (Reading){ .state = READING_DROPPED, .joules = NAN, .watts = NAN };
    if (m->has_source) source_end(&m->source, &all, &out->reading);
    source_now(&m->options->source, &done);
    out->read_seconds = (s->from.monotonic - s->asked.monotonic) + (done.monotonic - s->to.monotonic) + m->polling;
    double slept = (s->to.boot - s->from.boot) - out->seconds;
    if (!(out->seconds > 0)) snprintf(out->lost, sizeof out->lost, "the clock went %.3g s in a window", out->seconds);
    else if (slept > SLEPT) snprintf(out->lost, sizeof out->lost, "the machine was suspended for %.3g s", slept);
    if (out->lost[0] != '\0') out->seconds = out->cpu_seconds = NAN;
}

static void poll(Instruments *m)
{
    SourceTime before, after;
    source_now(&m->options->source, &before);
    source_poll(&m->source);
    source_now(&m->options->source, &after);
    m->polling += after.monotonic - before.monotonic;
}

Status window_run(Instruments *m, const Contestant *c, int64_t calls, double call_seconds, Window *out, Err *err)
{
    Span span;
    int64_t each = INT64_MAX; /* calls between two polls: half of the time that may pass */
    if (m->has_source && m->source.poll_seconds > 0) {
        double n = m->source.poll_seconds / 2 / (call_seconds > 1e-9 ? call_seconds : 1e-9);
        each = n < 1 ? 1 : n < 1e15 ? (int64_t)n : INT64_MAX;
    }
    if (calls >= SETTLED_CALLS) TRY(c->call(c->context, err));
    begin(m, &span);
    for (int64_t i = 0; i < calls; i++) {
        TRY(c->call(c->context, err));
        if ((i + 1) % each == 0) poll(m);
    }
    end(m, &span, &c->work, calls, out);
    return log_interrupted(m->options->log) ? err_set(err, ERR_INTERRUPTED, "measuring: interrupted") : OK;
}

Status window_idle(Instruments *m, double seconds, Window *out, Err *err)
{
    Span span;
    double slice = IDLE_SLICE, polls = m->has_source ? m->source.poll_seconds : 0;
    if (polls > 0 && polls / 2 < slice) slice = polls / 2;
    begin(m, &span);
    for (int n = (int)ceil(seconds / slice), i = 0; i < n; i++) {
        instruments_sleep(m, seconds / n);
        if (polls > 0) poll(m);
        if (log_interrupted(m->options->log)) return err_set(err, ERR_INTERRUPTED, "measuring: interrupted");
    }
    end(m, &span, NULL, 1, out);
    return OK;
}
