/* Latency and energy of networks side by side.
 *
 * Block after block of one network, then of the other, takes the machine's drift for a difference. So windows of a few calls are timed in
 * turns, in an order drawn anew each round, and each network's figure is the median of its windows with a bootstrap interval. */
#include "greenness/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "greenness/carbon.h"
#include "greenness/source.h"
#include "greenness/statistics.h"

#define WINDOW_SECONDS 2e-3   /* of calls timed together: far above the clock's own cost */
#define WARM_UP_SECONDS 0.05
#define WARM_UP_CALLS 3
#define ENERGY_SECONDS 0.5    /* counters move once a millisecond: 2 ms of doubt in 500 are 0.4 % */
#define PRECISION 0.02        /* half-width of the interval over the median at which to stop */
#define CHECK_ROUNDS 10
#define CHECK_RESAMPLES 200
#define RESAMPLES 2000
#define DEFAULT_SECONDS 2.0
#define DEFAULT_MIN_RUNS 15
#define DEFAULT_MAX_RUNS 2000
#define LEAST_ROUNDS 3        /* whatever the budget */

typedef struct Subject {
    Session *session;
    const Tensor *inputs;
    Tensor *outputs;
    int output_count;
    int calls;          /* in a window */
    double *wall, *cpu; /* seconds of a call, by window */
    double *scratch;    /* for sorting */
    double joules;      /* of a call; NaN: not measured */
} Subject;

static Status call(Subject *s, Err *err)
{
    Status status = session_run(s->session, s->inputs, s->outputs, err);
    for (int i = 0; i < s->output_count; i++) tensor_release(&s->outputs[i]);
    return status;
}

static Status call_window(Subject *s, int calls, double *wall, double *cpu, Err *err)
{
    double cpu_start = cpu_seconds(), start = clock_seconds();
    for (int i = 0; i < calls; i++) TRY(call(s, err));
    *wall = (clock_seconds() - start) / calls;
    *cpu = (cpu_seconds() - cpu_start) / calls;
    return OK;
}

/* Runs the network until caches, plans and packed weights are in place, then sets how many calls make a window. */
static Status warm_up(Subject *s, Err *err)
{
    double started = clock_seconds(), wall = 0, cpu, least = INFINITY;
    for (int i = 0; i < WARM_UP_CALLS || clock_seconds() - started < WARM_UP_SECONDS; i++) {
        TRY(call_window(s, 1, &wall, &cpu, err));
        if (wall < least) least = wall;
    }
    double calls = ceil(WINDOW_SECONDS / (least > 1e-9 ? least : 1e-9));
    s->calls = calls < 1 ? 1 : calls > 10000 ? 10000 : (int)calls;
    return OK;
}

static void shuffle(int *order, int count, Rng *rng)
{
    for (int i = 0; i < count; i++) order[i] = i;
    for (int i = count - 1; i > 0; i--) {
        int j = (int)rng_below(rng, (uint64_t)i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Whether every network's interval is already narrow enough. */
static Status precise_enough(Subject *subjects, int count, int rounds, uint64_t seed, bool *enough, Err *err)
{
    *enough = true;
    for (int i = 0; i < count && *enough; i++) {
        Interval interval;
        memcpy(subjects[i].scratch, subjects[i].wall, (size_t)rounds * sizeof(double));
        TRY(statistics_interval(subjects[i].scratch, rounds, CHECK_RESAMPLES, seed, &interval, err));
        *enough = interval.high - interval.low <= 2 * PRECISION * interval.median;
    }
    return OK;
}

static Status time_rounds(Subject *subjects, int *order, int count, int min_runs, int max_runs, double seconds, const MeasureOptions *o,
                          Rng *rng, int *rounds, Err *err)
{
    double started = clock_seconds();
    bool enough = false;
    progress_begin(o->log, "measuring", max_runs);
    Status status = OK;
    *rounds = 0;
    while (status == OK && *rounds < max_runs && !enough) {
        shuffle(order, count, rng);
        for (int i = 0; i < count && status == OK; i++) {
            Subject *s = &subjects[order[i]];
            status = call_window(s, s->calls, &s->wall[*rounds], &s->cpu[*rounds], err);
        }
        if (status != OK) break;
        ++*rounds;
        if (!progress_step(o->log, *rounds)) status = err_set(err, ERR_INTERRUPTED, "measuring: interrupted");
        if (*rounds >= LEAST_ROUNDS && clock_seconds() - started >= seconds) break;
        if (status == OK && *rounds >= min_runs && *rounds % CHECK_ROUNDS == 0)
            status = precise_enough(subjects, count, *rounds, o->seed, &enough, err);
    }
    progress_end(o->log);
    return status;
}

/* Joules of a call of one network over one long window. Not good, with the source's reason, when the counters cannot tell. */
static Status energy_window(Subject *s, Source *source, double *joules, bool *good, Err *err)
{
    int calls = 0;
    Reading reading;
    double started = clock_seconds(), polled = started, now = started;
    source_begin(source);
    for (; now - started < ENERGY_SECONDS; now = clock_seconds(), calls++) {
        TRY(call(s, err));
        if (source->poll_seconds > 0 && now - polled > source->poll_seconds) {
            source_poll(source);
            polled = now;
        }
    }
    source_end(source, NULL, &reading);
    *good = reading.state == READING_GOOD;
    if (!*good) snprintf(source->reason, sizeof source->reason, "%s", reading.reason);
    *joules = reading.joules / calls;
    return OK;
}

/* The counters of the processor, where they can be read: what a run of seconds can tell. False: out is closed and says why. */
static bool open_counters(const char *sysroot, Source *out)
{
    static const SourceKind *const kinds[] = { &source_perf, &source_powercap };
    const SourceSettings settings = { .sysroot = sysroot };
    bool closed = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (source_open(kinds[i], &settings, out)) return true;
        source_close(out);
        closed = closed || out->readiness == SOURCE_DENIED;
    }
    if (closed) snprintf(out->reason, sizeof out->reason, "RAPL is closed, 'pare probe' says how to open it");
    else if (out->readiness == SOURCE_ABSENT) snprintf(out->reason, sizeof out->reason, "no RAPL on this machine");
    return false;
}

/* Sets every network's joules, or none's: figures of different origin are never compared. */
static Status measure_energy(Subject *subjects, int *order, int count, double seconds, Source *source, Rng *rng, bool *measured, Err *err)
{
    int rounds = (int)(seconds / (ENERGY_SECONDS * count));
    rounds = rounds < 1 ? 1 : rounds > 9 ? 9 : rounds;
    double *joules = alloc_array((size_t)(rounds * count), sizeof *joules);
    if (joules == NULL) return err_no_memory(err, "energy samples");
    Status status = OK;
    *measured = true;
    for (int k = 0; k < rounds && *measured && status == OK; k++) {
        shuffle(order, count, rng);
        for (int i = 0; i < count && *measured && status == OK; i++)
            status = energy_window(&subjects[order[i]], source, &joules[order[i] * rounds + k], measured, err);
    }
    for (int i = 0; i < count && status == OK; i++) subjects[i].joules = *measured ? statistics_median(&joules[i * rounds], rounds) : NAN;
    free(joules);
    return status;
}

static Status finish(Subject *s, int rounds, const MeasureOptions *o, const Source *source, Latency *out, Err *err)
{
    for (int i = 0; i < rounds; i++) s->scratch[i] = s->wall[i] * 1e3;
    TRY(statistics_interval(s->scratch, rounds, RESAMPLES, o->seed, &out->ms, err));
    out->runs = rounds;
    memcpy(s->scratch, s->cpu, (size_t)rounds * sizeof(double));
    out->cpu_seconds = statistics_median(s->scratch, rounds);
    if (isnan(s->joules)) {
        out->energy_j = energy_of_cpu_time(out->cpu_seconds, o->watts_per_core, source->reason);
    } else {
        out->energy_j = (Sourced){ .value = s->joules };
        snprintf(out->energy_j.source, sizeof out->energy_j.source, "measured: RAPL, %s, whole machine, idle power included",
                 source->label);
    }
    out->power_w = out->energy_j;
    out->power_w.value = out->ms.median > 0 ? out->energy_j.value / (out->ms.median * 1e-3) : NAN;
    out->carbon_g = carbon_of_energy(&out->energy_j, o->grid_g_per_kwh);
    return OK;
}

static Status subject_init(Subject *s, Session *session, const Tensor *inputs, int max_runs, Err *err)
{
    *s = (Subject){ .session = session, .inputs = inputs, .output_count = session_graph(session)->output_count, .joules = NAN };
    s->outputs = alloc_zeroed((size_t)s->output_count + 1, sizeof *s->outputs);
    s->wall = alloc_array((size_t)max_runs, sizeof *s->wall);
    s->cpu = alloc_array((size_t)max_runs, sizeof *s->cpu);
    s->scratch = alloc_array((size_t)max_runs, sizeof *s->scratch);
    bool good = s->outputs != NULL && s->wall != NULL && s->cpu != NULL && s->scratch != NULL;
    return good ? OK : err_no_memory(err, "measurements");
}

static void subject_release(Subject *s)
{
    free(s->outputs);
    free(s->wall);
    free(s->cpu);
    free(s->scratch);
}

Status measure_latency(Session *const *sessions, const Tensor *const *inputs, int count, const MeasureOptions *options,
                       Latency *out, Err *err)
{
    const MeasureOptions *o = options;
    int min_runs = o->min_runs > 0 ? o->min_runs : DEFAULT_MIN_RUNS;
    int max_runs = o->max_runs > 0 ? o->max_runs : DEFAULT_MAX_RUNS, rounds = 0;
    double seconds = o->seconds > 0 ? o->seconds : DEFAULT_SECONDS;
    Subject *subjects = alloc_zeroed((size_t)count + 1, sizeof *subjects);
    int *order = alloc_array((size_t)count + 1, sizeof *order);
    Source source = { .kind = NULL };
    Rng rng;
    rng_init(&rng, o->seed);
    Status status = OK;
    if (subjects == NULL || order == NULL) {
        status = err_no_memory(err, "measurements");
        goto out;
    }
    if (o->threads > 0) engine_set_threads(o->threads);
    for (int i = 0; i < count; i++) {
        TRY_OUT(subject_init(&subjects[i], sessions[i], inputs[i], max_runs, err));
        TRY_OUT(warm_up(&subjects[i], err));
    }
    TRY_OUT(time_rounds(subjects, order, count, min_runs, max_runs, seconds, o, &rng, &rounds, err));
    if (open_counters(o->sysroot, &source)) {
        bool measured;
        TRY_OUT(measure_energy(subjects, order, count, seconds, &source, &rng, &measured, err));
    }
    for (int i = 0; i < count; i++) TRY_OUT(finish(&subjects[i], rounds, o, &source, &out[i], err));
out:
    for (int i = 0; subjects != NULL && i < count; i++) subject_release(&subjects[i]);
    free(subjects);
    free(order);
    source_close(&source);
    return status;
}
