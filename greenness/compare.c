/* The rounds: warm-up, windows in an order drawn anew each time, until sure enough or the budget is spent. */
#include "greenness/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "greenness/compare_private.h"
#include "greenness/statistics.h"

#define SHORT_BUDGET 8.0
#define LONG_BUDGET 20.0
#define LONGEST_BUDGET 60.0    /* where fewer than BUDGET_ROUNDS rounds of single calls fit into the long one */
#define BUDGET_ROUNDS 12
#define BUDGET_CALLS 2500      /* of the slowest network: 8 ms ask for the long budget */
#define WARM_WINDOW 0.01       /* seconds */
#define WARM_LEAST 5           /* windows whose medians are compared */
#define WARM_MOST 30
#define WARM_CHANGE 0.02
#define WARM_SHARE 0.05        /* of the budget, for each network at most */
#define MOST_ROUNDS 1000
#define CHECK_EVERY 5          /* rounds, or a tenth of them */
#define HOPELESS_ROUNDS 10     /* without one window that the clock could time */

const char *verdict_text(Verdict v)
{
    static const char *const texts[] = {
#define X(name, text) text,
        VERDICT_LIST(X)
#undef X
    };
    return texts[v];
}

const char *stop_text(StopReason r)
{
    static const char *const texts[] = {
#define X(name, text) text,
        STOP_LIST(X)
#undef X
    };
    return texts[r];
}

void compared_init(Compared *n)
{
    static const Ratio none = { .median = NAN, .low = NAN, .high = NAN, .without_outliers = NAN, .p = NAN };
    static const Interval nowhere = { NAN, NAN, NAN };
    static const Sourced nothing = { .value = NAN };
    *n = (Compared){ .batch = 1, .seconds = nowhere, .cpu_seconds = nowhere, .energy_j = nowhere, .net_j = nowhere, .watts = nowhere,
                     .carbon_g = nothing, .sci = { NAN, NAN, NAN }, .green_algorithms_j = nothing, .time_tdp_j = nothing, .time = none,
                     .cpu = none, .energy = none, .net = none };
}

void comparison_release(Comparison *c)
{
    for (int i = 0; c->networks != NULL && i < c->count; i++) free(c->networks[i].pairs);
    free(c->networks);
    *c = (Comparison){ 0 };
}

/* A window of a network; its errors get its name. */
static Status run_window(Protocol *p, int slot, int64_t calls, Window *out, Err *err)
{
    const Contestant *c = protocol_slot(p, slot);
    Status status = window_run(&p->instruments, c, calls, p->call_seconds[slot < p->count ? slot : 0], out, err);
    return status == OK || status == ERR_INTERRUPTED ? status : err_prefix(err, "%s", c->name);
}

/* The first call makes plans and packs weights; the second one tells how long a call takes. */
static Status first_calls(Protocol *p, Err *err)
{
    for (int i = 0; i < p->count; i++) {
        Window w;
        TRY(run_window(p, i, 1, &w, err));
        double first = w.seconds;
        TRY(run_window(p, i, 1, &w, err));
        p->call_seconds[i] = !isnan(w.seconds) ? w.seconds : !isnan(first) ? first : 0;
    }
    return OK;
}

/* Whether as many rounds as a comparison needs at least fit; sets the budget where none was given. */
static Status check_budget(Protocol *p, Err *err)
{
    double round = p->call_seconds[0], slowest = 0;
    int which = 0;
    for (int i = 0; i < p->count; i++) {
        round += p->call_seconds[i];
        if (p->call_seconds[i] <= slowest) continue;
        slowest = p->call_seconds[i];
        which = i;
    }
    bool given = p->options->budget > 0;
    double wished = fmin(fmax(BUDGET_CALLS * slowest, SHORT_BUDGET), LONG_BUDGET);
    p->budget = given ? p->options->budget : fmax(wished, fmin(BUDGET_ROUNDS * round, LONGEST_BUDGET));
    double needed = LEAST_ROUNDS * round + (instruments_now(&p->instruments) - p->started);
    if (p->options->stretch) p->budget = fmax(p->budget, 1.2 * needed);
    if (needed <= p->budget) return OK;
    return err_set(err, ERR_USAGE, "%s: one inference takes %.3g s; %d rounds of all networks do not fit into %.3g s: give --budget=%.0f",
                   p->contestants[which].name, slowest / (double)p->contestants[which].batch, LEAST_ROUNDS, p->budget, ceil(2 * needed));
}

/* Short windows until the median of the last five no longer moves: clock rate, caches, page tables. */
static Status warm_up(Protocol *p, int which, Err *err)
{
    double last[WARM_LEAST] = { 0 }, sorted[WARM_LEAST], before = 0, limit = WARM_SHARE * p->budget;
    double started = instruments_now(&p->instruments);
    double *seconds = &p->call_seconds[which];
    for (int n = 0; n < WARM_MOST && (n == 0 || instruments_now(&p->instruments) - started < limit); n++) {
        Window w;
        double calls = ceil(WARM_WINDOW / fmax(*seconds, 1e-7));
        TRY(run_window(p, which, (int64_t)calls, &w, err));
        p->out->warm_up_windows++;
        if (isnan(w.seconds)) continue;
        *seconds = last[n % WARM_LEAST] = w.seconds / calls;
        if (n + 1 < WARM_LEAST) continue;
        memcpy(sorted, last, sizeof sorted);
        double middle = statistics_median(sorted, WARM_LEAST);
        *seconds = middle;
        if (fabs(middle - before) < WARM_CHANGE * middle) break;
        before = middle;
    }
    return OK;
}

static Status grow(Protocol *p, Err *err)
{
    if (p->rounds < p->capacity) return OK;
    int capacity = p->capacity > 0 ? 2 * p->capacity : 16;
    Window *grown = realloc(p->windows, (size_t)capacity * (size_t)(p->count + 1) * sizeof *grown);
    if (grown == NULL) return err_no_memory(err, "measurements");
    p->windows = grown;
    p->capacity = capacity;
    return OK;
}

static Status run_round(Protocol *p, Err *err)
{
    TRY(grow(p, err));
    int n = p->count + 1;
    for (int i = 0; i < n; i++) p->order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(&p->rng, (uint64_t)i + 1), kept = p->order[i];
        p->order[i] = p->order[j];
        p->order[j] = kept;
    }
    for (int i = 0; i < n; i++) {
        int slot = p->order[i];
        TRY(run_window(p, slot, p->calls[slot < p->count ? slot : 0], protocol_window(p, p->rounds, slot), err));
    }
    p->rounds++;
    return OK;
}

static Status check_clock(const Protocol *p, Err *err)
{
    const char *reason = "";
    for (int r = 0; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            if (!isnan(protocol_window(p, r, k)->seconds)) return OK;
            reason = protocol_window(p, r, k)->lost;
        }
    }
    return err_set(err, ERR_DATA, "no window of %d rounds could be timed: %s", p->rounds, reason);
}

static Status run_rounds(Protocol *p, Err *err)
{
    int least = p->options->min_rounds > 0 ? p->options->min_rounds : 15, next = least;
    Status status = OK;
    progress_begin(p->options->log, "measuring", (int64_t)(p->budget * 1000));
    for (;;) {
        double round = instruments_now(&p->instruments), left;
        bool precise = false;
        TRY_OUT(run_round(p, err));
        TRY_OUT(protocol_check_source(p, err));
        TRY_OUT(protocol_between(p, err));
        if (p->rounds == HOPELESS_ROUNDS) TRY_OUT(check_clock(p, err));
        left = protocol_left(p);
        if (!progress_step(p->options->log, (int64_t)((p->budget - fmax(left, 0)) * 1000))) {
            status = err_set(err, ERR_INTERRUPTED, "measuring: interrupted");
            goto out;
        }
        if (p->rounds >= next) {
            TRY_OUT(result_precise(p, &precise, err));
            next = p->rounds + (p->rounds / 10 > CHECK_EVERY ? p->rounds / 10 : CHECK_EVERY);
        }
        round = instruments_now(&p->instruments) - round;
        p->out->stopped = precise ? STOP_PRECISE : p->rounds >= MOST_ROUNDS ? STOP_MOST : STOP_BUDGET;
        if (precise || p->rounds >= MOST_ROUNDS) break;
        if (left < round + p->idle_seconds && p->rounds - p->source_since >= LEAST_ROUNDS) break;
    }
out:
    progress_end(p->options->log);
    return status;
}

static Status allocate(Protocol *p, Err *err)
{
    p->out->networks = alloc_zeroed((size_t)p->count, sizeof *p->out->networks);
    for (int i = 0; p->out->networks != NULL && i < p->count; i++) compared_init(&p->out->networks[i]);
    if (p->out->networks != NULL) p->out->count = p->count;
    p->call_seconds = alloc_zeroed((size_t)p->count, sizeof *p->call_seconds);
    p->calls = alloc_zeroed((size_t)p->count, sizeof *p->calls);
    p->order = alloc_zeroed((size_t)p->count + 1, sizeof *p->order);
    bool good = p->out->networks != NULL && p->call_seconds != NULL && p->calls != NULL && p->order != NULL;
    return good ? OK : err_no_memory(err, "measurements");
}

static Status run_protocol(Protocol *p, Err *err)
{
    const CompareOptions *o = p->options;
    Comparison *out = p->out;
    Surroundings before, after;
    TRY(allocate(p, err));
    p->started = instruments_now(&p->instruments);
    TRY(first_calls(p, err));
    TRY(check_budget(p, err));
    for (int i = 0; i < p->count; i++) TRY(warm_up(p, i, err));
    surroundings_read(o->source.sysroot, instruments_cpu(&p->instruments), &before);
    protocol_start_cool(p, &before);
    TRY(protocol_open_source(p, NULL, err));
    TRY(run_rounds(p, err));
    surroundings_read(o->source.sysroot, instruments_cpu(&p->instruments), &after);
    TRY(check_clock(p, err));
    TRY(protocol_close_source(p, err));
    environment_of(o->source.sysroot, &before, &after, &out->environment);
    environment_warn(&out->environment, &out->warnings);
    TRY(result_fill(p, err));
    out->rounds = p->rounds;
    out->budget = p->budget;
    out->spent = instruments_now(&p->instruments) - p->started;
    if (out->overhead > 0.01) warn(&out->warnings, "measuring itself took %.1f %% of the windows", out->overhead * 100);
    return OK;
}

Status compare_networks(const Contestant *contestants, int count, const CompareOptions *options, Comparison *out, Err *err)
{
    *out = (Comparison){ .idle_before_w = NAN, .idle_middle_w = NAN, .idle_after_w = NAN, .idle_drift = NAN, .idle_seconds = NAN,
                         .whole_j = NAN, .windows_j = NAN, .cores_share = NAN, .platform_share = NAN, .celsius_most = NAN,
                         .threads = options->threads, .seed = options->seed };
    if (count < 1 || count > COMPARE_MOST)
        return err_set(err, ERR_USAGE, "%d networks to compare, expected 1 to %d", count, COMPARE_MOST);
    Protocol p = { .contestants = contestants, .count = count, .options = options, .instruments = { .options = options }, .out = out };
    rng_init(&p.rng, options->seed);
    Status status = run_protocol(&p, err);
    protocol_checks_release(&p);
    if (p.instruments.has_source) source_close(&p.instruments.source);
    free(p.windows);
    free(p.call_seconds);
    free(p.calls);
    free(p.order);
    if (status != OK) comparison_release(out);
    return status;
}
