/* Windows of any source: clocks, plausibility, and what is said of a figure. */
#include "greenness/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SLEEP_SECONDS 0.1 /* difference of the clocks over a window from which the machine slept */
#define SLEW 1e-3         /* what keeping time by network may bend the real clock by: 500 ppm, doubled */
#define STEP_SECONDS 0.02
#define COARSE 0.02       /* a step may be this share of a window's joules */
#define LATE 10           /* polls missed in a row from which on a sampled power is a guess */

const char *provenance_text(Provenance p)
{
    static const char *const texts[] = {
#define X(name, text, measured) text,
        PROVENANCE_LIST(X)
#undef X
    };
    return texts[p];
}

bool provenance_measured(Provenance p)
{
    static const bool measured[] = {
#define X(name, text, is_measured) is_measured,
        PROVENANCE_LIST(X)
#undef X
    };
    return measured[p];
}

const char *source_state_text(SourceState s)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SOURCE_STATE_LIST(X)
#undef X
    };
    return texts[s];
}

const SourceKind *const *sources_all(void)
{
    static const SourceKind *const list[] = {
#define X(name) &name,
        SOURCE_LIST(X)
#undef X
        NULL,
    };
    return list;
}

bool source_open(const SourceKind *kind, const SourceSettings *settings, Source *out)
{
    *out = (Source){ .kind = kind, .readiness = SOURCE_ABSENT, .factor = 1, .limit_watts = 2000 };
    if (settings != NULL) out->settings = *settings;
    kind->open(out);
    return out->readiness == SOURCE_READY;
}

const SourceKind *source_named(const SourceSettings *settings)
{
    if (settings == NULL) return NULL;
    return settings->meter_path != NULL ? &source_meter : settings->sensor != NULL ? &source_hwmon : NULL;
}

/* The named one or an error, and closed again in that case. */
static Status open_named(const SourceKind *named, const SourceSettings *settings, Source *out, Err *err)
{
    if (source_open(named, settings, out)) return OK;
    if (named == &source_meter)
        err_set(err, out->readiness == SOURCE_ABSENT ? ERR_IO : ERR_DATA, "%s: %s", settings->meter_path, out->reason);
    else
        err_set(err, out->readiness == SOURCE_UNSET ? ERR_USAGE : ERR_IO, "sensor: %s", out->reason);
    source_close(out);
    return err->code;
}

Status source_open_after(const SourceKind *after, const SourceSettings *settings, Source *out, Err *err)
{
    const SourceKind *named = source_named(settings);
    if (named != NULL && after == NULL) return open_named(named, settings, out, err);
    if (named != NULL) return err_set(err, ERR_UNSUPPORTED, "%s was named: no other energy source takes its place", named->title);
    bool reached = after == NULL;
    for (const SourceKind *const *k = sources_all(); *k != NULL; k++) {
        if (!reached) {
            reached = *k == after;
            continue;
        }
        if (source_open(*k, settings, out) && !out->beside) return OK;
        source_close(out);
    }
    return err_set(err, ERR_UNSUPPORTED, "no further energy source after %s", after != NULL ? after->id : "none");
}

Status source_check_named(const SourceSettings *settings, Err *err)
{
    Source s;
    const SourceKind *named = source_named(settings);
    if (settings->meter_path != NULL && settings->sensor != NULL)
        return err_set(err, ERR_USAGE, "meter-log '%s' and sensor '%s' both name where energy is read; give one of them",
                       settings->meter_path, settings->sensor);
    if (named == NULL) return OK;
    TRY(open_named(named, settings, &s, err));
    source_close(&s);
    return OK;
}

Status source_open_best(const SourceSettings *settings, Source *out, Err *err) { return source_open_after(NULL, settings, out, err); }

void source_close(Source *s)
{
    if (s->state != NULL) s->kind->close(s);
    s->state = NULL;
    s->in_window = false;
}

static double clock_of(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

void source_now(const SourceSettings *settings, SourceTime *now)
{
    if (settings->clock != NULL) settings->clock(settings->context, now);
    else *now = (SourceTime){ clock_of(CLOCK_MONOTONIC), clock_of(CLOCK_BOOTTIME), clock_of(CLOCK_REALTIME) };
}

/* Takes a step of the counter and checks it against the power that is possible: a counter that jumps, or that was reset and so seems to
 * have wrapped, shows up here. The first fault of a window is the one that is told. */
static void take_step(Source *s)
{
    SourceTime now;
    source_now(&s->settings, &now);
    double joules = 0, seconds = now.monotonic - s->last.monotonic;
    char kept[SOURCE_TEXT];
    memcpy(kept, s->reason, sizeof kept);
    bool good = s->kind->step(s, &now, &joules);
    if (good && !(joules >= 0 && joules <= s->limit_watts * (seconds + 2 * s->update_seconds))) {
        snprintf(s->reason, sizeof s->reason, "%.4g J in %.3g s: over the %.4g W that are possible", joules, seconds, s->limit_watts);
        good = false;
    } else if (good && s->poll_seconds > 0 && seconds > LATE * s->poll_seconds) {
        snprintf(s->reason, sizeof s->reason, "not read for %.3g s, where %.3g s are the most", seconds, s->poll_seconds);
        good = false;
    }
    if (s->spoiled) memcpy(s->reason, kept, sizeof kept);
    s->spoiled = s->spoiled || !good;
    s->joules += joules;
    s->last = now;
}

void source_begin(Source *s)
{
    s->reason[0] = '\0';
    s->spoiled = false;
    source_now(&s->settings, &s->last);
    if (s->kind->step != NULL) {
        double ignored; /* what was lost before the window does not matter; where the second try fails too there is no start */
        s->spoiled = !s->kind->step(s, &s->last, &ignored) && !s->kind->step(s, &s->last, &ignored);
        if (!s->spoiled) s->reason[0] = '\0';
    }
    s->start = s->last;
    s->joules = 0;
    s->in_window = true;
}

void source_poll(Source *s)
{
    if (s->in_window && s->kind->step != NULL) take_step(s);
}

static void drop(Reading *r, const char *reason)
{
    r->state = READING_DROPPED;
    r->joules = r->watts = NAN;
    if (reason != r->reason) snprintf(r->reason, sizeof r->reason, "%.*s", (int)sizeof r->reason - 1, reason);
}

/* A machine that slept did not work; a clock that was set spoils what is looked up by its time. */
static bool clocks_held(const Source *s, Reading *r)
{
    double slept = (r->end.boot - r->start.boot) - r->seconds;
    double stepped = (r->end.real - r->start.real) - (r->end.boot - r->start.boot);
    if (!(r->seconds > 0)) snprintf(r->reason, sizeof r->reason, "the window lasted %.3g s", r->seconds);
    else if (slept > SLEEP_SECONDS) snprintf(r->reason, sizeof r->reason, "the machine was suspended for %.3g s", slept);
    else if (s->kind->between != NULL && fabs(stepped) > STEP_SECONDS + SLEW * r->seconds)
        snprintf(r->reason, sizeof r->reason, "the clock was set by %.3g s while a log is read by its time", stepped);
    return r->reason[0] == '\0';
}

/* What holds for the finished figure of any source. */
static void judge(const Source *s, Reading *r)
{
    r->watts = r->joules / r->seconds;
    r->resolution = fmax(2 * s->update_seconds / r->seconds, s->step_joules > 0 ? s->step_joules / r->joules : 0);
    if (!isfinite(r->joules) || r->joules < 0) {
        snprintf(r->reason, sizeof r->reason, "%g J is no energy", r->joules);
        drop(r, r->reason);
    } else if (provenance_measured(s->provenance) && r->joules == 0) {
        snprintf(r->reason, sizeof r->reason, "the counter stood still for %.2f s", r->seconds);
        r->still = true;
        drop(r, r->reason);
    } else if (r->joules * COARSE < s->step_joules) {
        snprintf(r->reason, sizeof r->reason, "%.4g J in steps of %g J: a window needs %g J", r->joules, s->step_joules,
                 s->step_joules / COARSE);
        drop(r, r->reason);
    } else if (provenance_measured(s->provenance) && r->watts > s->limit_watts) {
        snprintf(r->reason, sizeof r->reason, "%.4g W: over the %.4g W that are possible", r->watts, s->limit_watts);
        drop(r, r->reason);
    }
}

void source_end(Source *s, const Work *work, Reading *out)
{
    *out = (Reading){ .state = READING_GOOD, .start = s->start };
    if (!s->in_window) {
        drop(out, "no window was begun");
        return;
    }
    if (s->kind->step != NULL) take_step(s);
    else source_now(&s->settings, &s->last);
    s->in_window = false;
    out->end = s->last;
    out->seconds = out->end.monotonic - out->start.monotonic;
    out->joules = s->joules;
    if (!clocks_held(s, out)) {
        drop(out, out->reason);
    } else if (s->spoiled) {
        drop(out, s->reason);
    } else if (s->kind->between != NULL) {
        out->state = READING_PENDING;
        source_settle(s, out);
    } else if (s->kind->model != NULL && work == NULL) {
        drop(out, "a model needs to know what was done");
    } else if (s->kind->model != NULL && !s->kind->model(s, work, out->seconds, &out->joules)) {
        drop(out, s->reason);
    } else {
        judge(s, out);
    }
}

void source_settle(Source *s, Reading *r)
{
    if (r->state != READING_PENDING || s->kind->between == NULL) return;
    r->state = s->kind->between(s, r->start.real, r->end.real, &r->joules);
    if (r->state == READING_GOOD) {
        judge(s, r);
        return;
    }
    r->joules = r->watts = NAN;
    snprintf(r->reason, sizeof r->reason, "%s", s->reason);
}

void source_uncertainty(const Source *s, char *text, size_t size)
{
    if (s->factor < 1.5) snprintf(text, size, "+-%.0f %%", (s->factor - 1) * 100);
    else snprintf(text, size, "x/: %g", s->factor);
}

void source_describe(const Source *s, char *text, size_t size)
{
    char doubt[32];
    source_uncertainty(s, doubt, sizeof doubt);
    const char *how = provenance_measured(s->provenance) ? "measured"
        : s->provenance == PROVENANCE_ELSEWHERE ? "modelled, calibrated elsewhere" : "modelled";
    snprintf(text, size, "%s: %s, %s, %s%s", how, s->kind->title, s->label, doubt, s->proportional ? "; adds nothing to time" : "");
}
