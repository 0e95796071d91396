/* Which source is read, how long its windows must be, and what the machine draws when it does nothing. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "greenness/compare_private.h"

#define TIME_WINDOW 0.02       /* of calls timed together, where only clocks are read: far above their own cost */
#define TIME_CALLS 8           /* so many of the slowest network at least, when the budget has them */
#define DOUBT 0.01             /* a window that the budget shortens may still be doubtful by this much */
#define SHORTEST 0.25          /* share of the source's own least window that is allowed then */
#define SPENT_ON_WINDOWS 0.85  /* of what is left; the rest goes into calls that are not timed, and slower ones */
#define IDLE_SHARE 0.06        /* of the budget, for one baseline */
#define IDLE_LEAST 0.25
#define IDLE_MOST 10.0
#define TRIED_ROUNDS 3         /* without one good window: the source is given up */
#define SETTLE_SECONDS 5.0     /* to wait for a meter's log to be written */
#define SETTLE_STEP 0.25

double protocol_left(const Protocol *p)
{
    return p->started + p->budget - instruments_now(&p->instruments);
}

static int wanted_rounds(const Protocol *p) { return p->options->min_rounds > 0 ? p->options->min_rounds : 15; }

/* Seconds of one window: what the source needs, within what the budget has for as many rounds as are wanted. */
static double window_length(const Protocol *p, const Source *s, double least)
{
    int baselines = p->budget >= MIDDLE_BUDGET ? 3 : 2;
    double share = SPENT_ON_WINDOWS * (protocol_left(p) - baselines * p->idle_seconds) / (wanted_rounds(p) * (p->count + 1));
    double slowest = 0;
    for (int i = 0; i < p->count; i++) slowest = fmax(slowest, p->call_seconds[i]);
    if (s == NULL || !provenance_measured(s->provenance)) return fmin(fmax(TIME_WINDOW, TIME_CALLS * slowest), fmax(share, 1e-3));
    return fmin(fmax(share, least), s->least_window);
}

static double least_length(const Source *s)
{
    if (!provenance_measured(s->provenance)) return 0;
    return fmin(s->least_window, fmax(SHORTEST * s->least_window, 2 * s->update_seconds / DOUBT));
}

static void set_windows(Protocol *p, double seconds)
{
    p->out->window_seconds = seconds;
    for (int i = 0; i < p->count; i++) {
        double calls = ceil(seconds / fmax(p->call_seconds[i], 1e-9));
        p->calls[i] = calls < 1 ? 1 : calls > 1e6 ? 1000000 : (int64_t)calls;
        p->out->networks[i].calls = p->calls[i];
    }
}

static void describe(const Source *s, EnergySource *e)
{
    *e = (EnergySource){ .factor = s->factor, .measured = provenance_measured(s->provenance), .proportional = s->proportional };
    snprintf(e->id, sizeof e->id, "%s", s->kind->id);
    snprintf(e->title, sizeof e->title, "%s", s->kind->title);
    snprintf(e->provenance, sizeof e->provenance, "%s", provenance_text(s->provenance));
    snprintf(e->label, sizeof e->label, "%s", s->label);
    snprintf(e->boundary, sizeof e->boundary, "%s", s->boundary);
    snprintf(e->resolution, sizeof e->resolution, "%s", s->resolution);
    snprintf(e->note, sizeof e->note, "%s", s->note);
    source_uncertainty(s, e->uncertainty, sizeof e->uncertainty);
    source_describe(s, e->text, sizeof e->text);
}

Status protocol_baseline(Protocol *p, double *watts, Err *err)
{
    Window w;
    *watts = NAN;
    if (p->idle_seconds == 0) return OK;
    TRY(window_idle(&p->instruments, p->idle_seconds, &w, err));
    for (double waited = 0; w.reading.state == READING_PENDING && waited < SETTLE_SECONDS; waited += SETTLE_STEP) {
        instruments_sleep(&p->instruments, SETTLE_STEP);
        source_settle(&p->instruments.source, &w.reading);
    }
    p->idle_still = w.reading.still;
    if (w.reading.state != READING_GOOD || w.lost[0] != '\0') return OK;
    *watts = w.reading.watts;
    p->baselines[p->baseline_count++] = (Baseline){ 0.5 * (w.reading.start.monotonic + w.reading.end.monotonic), *watts };
    return OK;
}

/* A better source that is only closed to this user is said: who is not told takes a model for a measurement. */
static void warn_of_closed(Protocol *p, const SourceKind *chosen)
{
    if (source_named(&p->options->source) != NULL) return; /* it was chosen, not fallen back upon */
    for (const SourceKind *const *k = sources_all(); *k != NULL && *k != chosen; k++) {
        Source s;
        source_open(*k, &p->options->source, &s);
        bool broken = s.readiness == SOURCE_UNUSABLE && s.kind->level <= 1; /* a battery that is charging is no news */
        if (s.readiness == SOURCE_DENIED || broken)
            warn(&p->out->warnings, "%s cannot be read: %.70s; 'pare probe' says more", s.kind->title, s.reason);
        source_close(&s);
    }
}

static Status take(Protocol *p, Err *err)
{
    Source *s = &p->instruments.source;
    double least = least_length(s);
    describe(s, &p->out->source);
    if (p->source_since == 0) warn_of_closed(p, s->kind);
    p->instruments.has_source = true;
    p->source_since = p->rounds;
    p->idle_seconds = 0;
    if (provenance_measured(s->provenance)) p->idle_seconds = fmin(fmax(IDLE_SHARE * p->budget, fmax(least, IDLE_LEAST)), IDLE_MOST);
    p->out->idle_seconds = p->idle_seconds;
    set_windows(p, window_length(p, s, least));
    p->source_left = protocol_left(p);
    p->baseline_count = 0;
    p->out->idle_middle_w = NAN;
    TRY(protocol_baseline(p, &p->out->idle_before_w, err));
    protocol_checks_begin(p);
    return OK;
}

Status protocol_open_source(Protocol *p, const SourceKind *after, Err *err)
{
    Source *s = &p->instruments.source;
    if (p->options->time_only) {
        set_windows(p, window_length(p, NULL, 0));
        return OK;
    }
    for (;;) {
        TRY(source_open_after(after, &p->options->source, s, err));
        int windows = CLAIM_PAIRS * (p->count + 1) + 2; /* with the two of the idle machine */
        double least = least_length(s), needed = least * windows, budget = ceil(needed + p->budget - protocol_left(p)) + 1;
        if (least == 0 || needed <= protocol_left(p)) return take(p, err); /* a model always does, however late it is */
        if (s->kind == source_named(&p->options->source)) {
            double interval = s->update_seconds;
            const SourceKind *kind = s->kind;
            source_close(s);
            return err_set(err, ERR_USAGE, "a %s that tells its power every %.3g s needs %d windows of %.3g s: "
                           "give --budget=%.0f", kind == &source_meter ? "meter" : "sensor", interval, windows, least, budget);
        }
        warn(&p->out->warnings, "%s was not used: its windows of %.3g s need a budget of %.0f s%s%.80s", s->kind->title, least, budget,
             s->step_joules > 0 ? "; " : "", s->step_joules > 0 ? s->note : ""); /* why they are so long; no other note says that */
        after = s->kind;
        source_close(s);
    }
}

static Status named_told_nothing(const Source *s, const char *reason, Err *err)
{
    return err_set(err, ERR_DATA, "%s: no window could be read: %s", s->kind == &source_meter ? s->settings.meter_path : s->settings.sensor,
                   reason);
}

Status protocol_check_source(Protocol *p, Err *err)
{
    Source *s = &p->instruments.source;
    if (!p->instruments.has_source || p->rounds - p->source_since < TRIED_ROUNDS) return OK;
    const char *reason = NULL;
    for (int r = p->source_since; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            const Window *w = protocol_window(p, r, k);
            if (w->reading.state != READING_DROPPED) return OK;
            if (w->lost[0] == '\0') reason = w->reading.reason; /* else it was not the source's fault */
        }
    }
    if (reason == NULL) return OK;
    if (s->kind == source_named(&p->options->source)) return named_told_nothing(s, reason, err);
    warn(&p->out->warnings, "%s was given up, it dropped every window: %.100s", s->kind->title, reason);
    const SourceKind *kind = s->kind;
    source_close(s);
    protocol_checks_release(p);
    p->instruments.has_source = false;
    return protocol_open_source(p, kind, err);
}

/* What was named and told nothing in any round is an error: there is no energy to call measured. */
static Status check_named_told(const Protocol *p, Err *err)
{
    const Source *s = &p->instruments.source;
    const char *reason = NULL;
    if (s->kind != source_named(&p->options->source)) return OK;
    for (int r = p->source_since; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            const Window *w = protocol_window(p, r, k);
            if (w->reading.state == READING_GOOD) return OK;
            if (w->lost[0] == '\0') reason = w->reading.reason;
        }
    }
    return reason == NULL ? OK : named_told_nothing(s, reason, err);
}

static bool settle_all(Protocol *p)
{
    bool pending = false;
    for (int r = p->source_since; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            Reading *reading = &protocol_window(p, r, k)->reading;
            source_settle(&p->instruments.source, reading);
            pending = pending || reading->state == READING_PENDING;
        }
    }
    return pending;
}

/* A counter that stood still to the end stopped somewhere in the last window that it told of: that one is short of some joules. */
static void drop_last_before_end(Protocol *p)
{
    Reading *last = NULL;
    bool still = p->idle_still;
    for (int r = p->source_since; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            Reading *reading = &protocol_window(p, r, k)->reading;
            bool later = last == NULL || reading->start.monotonic > last->start.monotonic;
            if (reading->state == READING_GOOD && later) last = reading;
        }
    }
    for (int r = p->source_since; last != NULL && r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            const Reading *reading = &protocol_window(p, r, k)->reading;
            still = still || (reading->still && reading->start.monotonic > last->start.monotonic);
        }
    }
    if (last == NULL || !still) return;
    last->state = READING_DROPPED;
    last->joules = last->watts = NAN;
    snprintf(last->reason, sizeof last->reason, "the counter stood still from this window on");
}

Status protocol_close_source(Protocol *p, Err *err)
{
    if (!p->instruments.has_source) return OK;
    protocol_checks_end(p);
    TRY(protocol_baseline(p, &p->out->idle_after_w, err));
    bool pending = settle_all(p);
    for (double waited = 0; pending && waited < SETTLE_SECONDS; waited += SETTLE_STEP) {
        instruments_sleep(&p->instruments, SETTLE_STEP);
        pending = settle_all(p);
    }
    for (int r = p->source_since; pending && r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            Reading *reading = &protocol_window(p, r, k)->reading;
            if (reading->state == READING_PENDING) reading->state = READING_DROPPED;
        }
    }
    drop_last_before_end(p);
    TRY(check_named_told(p, err));
    protocol_checks_judge(p);
    return OK;
}
