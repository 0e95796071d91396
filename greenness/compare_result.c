/* Figures of one inference, ratios, null band, verdicts, carbon and the estimates of others, from the windows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "greenness/compare_private.h"
#include "greenness/statistics.h"

#define PRECISION 0.02 /* width of a ratio's interval */
#define CHECK_RESAMPLES 200
#define RESAMPLES 10000
#define RESAMPLES_LARGE 2000 /* from LARGE rounds on */
#define LARGE 100
#define DRIFT 0.1            /* of the idle power, from which on a figure above idle is doubtful */

typedef enum Quantity { TIME, CPU, ENERGY, NET, WATTS } Quantity;

/* What was told of the idle machine: the mean, or NaN; the least and the most. */
static double idle_watts(const Comparison *c, double *low, double *high, int *count)
{
    const double told[] = { c->idle_before_w, c->idle_middle_w, c->idle_after_w };
    double sum = 0;
    int n = 0;
    *low = INFINITY;
    *high = -INFINITY;
    for (int i = 0; i < 3; i++) {
        if (isnan(told[i])) continue;
        sum += told[i];
        *low = fmin(*low, told[i]);
        *high = fmax(*high, told[i]);
        n++;
    }
    *count = n;
    return n > 0 ? sum / n : NAN;
}

/* The idle machine is known between two baselines; with one of its ends alone nothing tells how it moved. */
static bool idle_known(const Comparison *c) { return isfinite(c->idle_before_w) && isfinite(c->idle_after_w); }

/* Of one inference in a window; NaN: lost. */
static double quantity_of(const Protocol *p, int round, int slot, Quantity q)
{
    const Window *w = protocol_window(p, round, slot);
    double inferences = (double)w->calls * (double)protocol_slot(p, slot)->batch;
    bool read = round >= p->source_since && w->reading.state == READING_GOOD && !isnan(w->seconds);
    switch (q) {
    case TIME: return w->seconds / inferences;
    case CPU: return w->cpu_seconds / inferences;
    case ENERGY: return read ? w->reading.joules / inferences : NAN;
    case WATTS: return read ? w->reading.watts : NAN;
    case NET:
        if (!read || !idle_known(p->out)) return NAN;
        return (w->reading.joules -
                protocol_idle_at(p, w->reading.start.monotonic + w->reading.seconds / 2) * w->reading.seconds) / inferences;
    }
    return NAN;
}

static void column(const Protocol *p, int slot, Quantity q, double *values)
{
    for (int r = 0; r < p->rounds; r++) values[r] = quantity_of(p, r, slot, q);
}

static Status interval_of(const Protocol *p, int slot, Quantity q, double *values, Interval *out, Err *err)
{
    int n = 0;
    column(p, slot, q, values);
    for (int r = 0; r < p->rounds; r++)
        if (isfinite(values[r])) values[n++] = values[r];
    *out = (Interval){ NAN, NAN, NAN };
    return n > 0 ? statistics_interval(values, n, n > LARGE ? RESAMPLES_LARGE : RESAMPLES, p->options->seed, out, err) : OK;
}

/* Energies that decide when to stop: what only follows time is as sure as time. */
static bool energy_counts(const Protocol *p) { return p->instruments.has_source && p->out->source.measured; }

static bool narrow(const Ratio *r, double precision)
{
    return r->pairs > 0 && log(r->high / r->low) <= precision;
}

Status result_precise(const Protocol *p, bool *precise, Err *err)
{
    double *before = alloc_array((size_t)p->rounds, sizeof *before), *after = alloc_array((size_t)p->rounds, sizeof *after);
    double precision = p->options->precision > 0 ? p->options->precision : PRECISION;
    Status status = before != NULL && after != NULL ? OK : err_no_memory(err, "ratios");
    *precise = true;
    for (int q = TIME; q <= (energy_counts(p) ? ENERGY : TIME) && status == OK && *precise; q++) {
        if (q == CPU) continue;
        column(p, 0, (Quantity)q, before);
        for (int slot = 1; slot <= p->count && status == OK && *precise; slot++) {
            Ratio ratio;
            column(p, slot, (Quantity)q, after);
            status = ratio_of(before, after, p->rounds, CHECK_RESAMPLES, p->options->seed, &ratio, NULL, err);
            *precise = status == OK && narrow(&ratio, precision);
        }
    }
    free(before);
    free(after);
    return status;
}

/* One column of each window beside the first network's. */
typedef struct Columns {
    double *before, *after;
    bool *outlier;
} Columns;

static Ratio *ratio_at(Compared *n, Quantity q)
{
    return q == TIME ? &n->time : q == CPU ? &n->cpu : q == ENERGY ? &n->energy : &n->net;
}

static Status ratios_of(Protocol *p, Quantity q, Columns *c, Err *err)
{
    Comparison *out = p->out;
    NullBand *null = q == TIME ? &out->null_time : q == CPU ? &out->null_cpu : q == ENERGY ? &out->null_energy : &out->null_net;
    int resamples = p->rounds > LARGE ? RESAMPLES_LARGE : RESAMPLES;
    int least = p->rounds; /* pairs of a ratio: the fewer, the farther its median comes by chance */
    column(p, 0, q, c->before);
    const Interval *first = &out->networks[0].net_j;
    for (int slot = 1; slot <= p->count; slot++) {
        Compared *n = &out->networks[slot < p->count ? slot : 0];
        Ratio own = { .pairs = 0 }; /* of the first network against itself only the points are kept */
        Ratio *ratio = slot == p->count ? &own : ratio_at(n, q);
        column(p, slot, q, c->after);
        TRY(ratio_of(c->before, c->after, p->rounds, resamples, p->options->seed, ratio, c->outlier, err));
        if (q == NET && slot < p->count && !(first->low > 0 && n->net_j.low > 0)) /* about zero: no ratio of those pairs that are above */
            *ratio = (Ratio){ .median = NAN, .low = NAN, .high = NAN, .without_outliers = NAN, .p = NAN };
        if (ratio->pairs > 0 && ratio->pairs < least) least = ratio->pairs;
        for (int r = 0; r < p->rounds; r++) {
            PairPoint *point = &n->pairs[r];
            double value = c->before[r] > 0 && c->after[r] > 0 ? c->after[r] / c->before[r] : NAN;
            if (q == TIME) {
                point->time = value;
                point->time_outlier = c->outlier[r];
            } else if (q == ENERGY) {
                point->energy = value;
                point->energy_outlier = c->outlier[r];
            }
        }
    }
    column(p, p->count, q, c->after);
    TRY(null_band_of(c->before, c->after, p->rounds, least, p->options->seed, null, err));
    for (int slot = 1; slot < p->count; slot++) {
        Compared *n = &out->networks[slot];
        Ratio *ratio = ratio_at(n, q);
        ratio->verdict = ratio_verdict(ratio, null);
        bool follows = (q == ENERGY || q == NET) && out->source.proportional;
        if (follows && n->time.verdict == VERDICT_INCONCLUSIVE && ratio->verdict != VERDICT_NONE) ratio->verdict = VERDICT_INCONCLUSIVE;
    }
    return OK;
}

/* Power is energy / time: it can be no surer than either. */
static Verdict power_verdict(const Compared *first, const Compared *n)
{
    const Interval *a = &first->watts, *b = &n->watts;
    if (n->time.verdict == VERDICT_NONE || n->energy.verdict == VERDICT_NONE) return VERDICT_NONE;
    if (n->time.verdict == VERDICT_INCONCLUSIVE || n->energy.verdict == VERDICT_INCONCLUSIVE) return VERDICT_INCONCLUSIVE;
    return b->high < a->low ? VERDICT_LESS : b->low > a->high ? VERDICT_MORE : VERDICT_INCONCLUSIVE;
}

/* What energies say of carbon, and what two calculators would have said. */
static void fill_derived(const Protocol *p, Compared *n)
{
    const CompareOptions *o = p->options;
    Sourced joules = { .value = n->energy_j.median };
    snprintf(joules.source, sizeof joules.source, "%s", p->out->source.measured ? "measured" : "modelled");
    n->carbon_g = carbon_of_grid(&joules, &p->out->grid, p->out->pue);
    n->sci = sci_of(n->energy_j.median, n->seconds.median, p->out->grid.g_per_kwh, p->out->pue, o->embodied);
    int threads = o->threads > 0 ? o->threads : 1, cores = p->out->environment.cores;
    if (cores > 0 && threads > cores) threads = cores; /* what more there are wait for the others */
    EstimateInput in = { .seconds = n->seconds.median, .cores = threads, .watts_per_core = o->source.watts_per_core,
                         .memory_gb = (double)o->memory_bytes * 1e-9, .pue = p->out->pue };
    n->green_algorithms_j = estimate_green_algorithms(&in);
    n->time_tdp_j = estimate_time_tdp(n->seconds.median, o->source.watts_per_core * threads, threads);
}

static void count_dropped(Protocol *p)
{
    Comparison *out = p->out;
    for (int r = 0; r < p->rounds; r++) {
        bool time = false, energy = false;
        for (int k = 0; k <= p->count; k++) {
            const Window *w = protocol_window(p, r, k);
            bool unread = p->instruments.has_source && (r < p->source_since || w->reading.state != READING_GOOD);
            time = time || isnan(w->seconds);
            energy = energy || unread;
            if (isnan(w->seconds)) snprintf(out->dropped_reason, sizeof out->dropped_reason, "%s", w->lost);
            else if (unread) snprintf(out->dropped_reason, sizeof out->dropped_reason, "%s", w->reading.reason);
        }
        out->dropped_time += time;
        out->dropped_energy += energy;
    }
}

static void warn_of_idle(Comparison *out)
{
    double low, high;
    int told;
    double idle = idle_watts(out, &low, &high, &told);
    out->idle_drift = told < 2 ? NAN : (high - low) / idle;
    if (out->idle_drift > DRIFT)
        warn(&out->warnings, "idle power moved between %.3g and %.3g W: figures above idle are doubtful", low, high);
    if (out->idle_seconds > 0 && !idle_known(out))
        warn(&out->warnings, "the idle machine could not be read %s: there are no figures above idle",
             isfinite(out->idle_before_w) ? "after the rounds" : isfinite(out->idle_after_w) ? "before the rounds" : "at all");
    for (int i = 0; i < out->count; i++) {
        const Compared *n = &out->networks[i];
        if (!(n->watts.median < idle)) continue;
        if (n->watts.high < low)
            warn(&out->warnings, "%.80s drew %.4g W, less than the idle machine's %.4g W: something else ran while it should have been "
                 "idle, or the source is wrong", n->name, n->watts.median, idle);
        else
            warn(&out->warnings, "%.80s drew no more than the idle machine beyond noise: %.4g W [%.4g, %.4g], idle %.4g to %.4g W", n->name,
                 n->watts.median, n->watts.low, n->watts.high, low, high);
    }
}

static void warn_of_result(Comparison *out)
{
    if (out->rounds < CLAIM_PAIRS) warn(&out->warnings, "%d pairs are too few to tell a difference from chance, %d are needed", out->rounds,
                                        CLAIM_PAIRS);
    else if (!out->null_time.stable)
        warn(&out->warnings, "unstable: the first network against itself reads %.3f in time", out->null_time.median);
    if (out->null_energy.pairs >= CLAIM_PAIRS && !out->null_energy.stable && out->source.measured)
        warn(&out->warnings, "unstable: the first network against itself reads %.3f in energy", out->null_energy.median);
    if (out->dropped_time > 0 || out->dropped_energy > 0)
        warn(&out->warnings, "pairs lost in %d of %d rounds, the last one: %.120s",
             out->dropped_time > out->dropped_energy ? out->dropped_time : out->dropped_energy, out->rounds, out->dropped_reason);
    warn_of_idle(out);
    if (out->throttled_rounds > 0)
        warn(&out->warnings, "the processor slowed itself down in %d of %d rounds", out->throttled_rounds, out->rounds);
}

/* What reading clocks and source takes in the quickest tenth of the first network's windows: under load a process is often put aside just
 * then, and is not measuring meanwhile. */
static void measure_overhead(Protocol *p, double *values)
{
    p->out->read_seconds = p->out->overhead = NAN;
    for (int share = 0; share < 2; share++) {
        int n = 0;
        for (int r = 0; r < p->rounds; r++) {
            const Window *w = protocol_window(p, r, 0);
            if (!isnan(w->seconds)) values[n++] = share ? w->read_seconds / w->seconds : w->read_seconds;
        }
        if (n == 0) return;
        statistics_median(values, n); /* sorts */
        *(share ? &p->out->overhead : &p->out->read_seconds) = values[n / 10];
    }
}

static Status fill_networks(Protocol *p, Columns *c, Err *err)
{
    for (int i = 0; i < p->count; i++) {
        Compared *n = &p->out->networks[i];
        n->name = p->contestants[i].name;
        n->batch = p->contestants[i].batch;
        n->pairs = alloc_zeroed((size_t)p->rounds, sizeof *n->pairs);
        if (n->pairs == NULL) return err_no_memory(err, "pairs");
        n->pair_count = p->rounds;
        TRY(interval_of(p, i, TIME, c->before, &n->seconds, err));
        TRY(interval_of(p, i, CPU, c->before, &n->cpu_seconds, err));
        TRY(interval_of(p, i, ENERGY, c->before, &n->energy_j, err));
        TRY(interval_of(p, i, NET, c->before, &n->net_j, err));
        TRY(interval_of(p, i, WATTS, c->before, &n->watts, err));
        fill_derived(p, n);
    }
    for (int q = TIME; q <= NET; q++) TRY(ratios_of(p, (Quantity)q, c, err)); /* time first: others look at its verdict */
    for (int i = 1; i < p->count; i++) p->out->networks[i].power = power_verdict(&p->out->networks[0], &p->out->networks[i]);
    measure_overhead(p, c->before);
    return OK;
}

Status result_fill(Protocol *p, Err *err)
{
    const CompareOptions *o = p->options;
    Comparison *out = p->out;
    size_t n = (size_t)p->rounds + 1;
    Columns c = { alloc_array(n, sizeof(double)), alloc_array(n, sizeof(double)), alloc_array(n, sizeof(bool)) };
    out->rounds = p->rounds;
    out->grid = o->grid_g_per_kwh > 0 ? (GridFactor){ .g_per_kwh = o->grid_g_per_kwh, .region = "as given" }
        : o->grid != NULL ? *o->grid : carbon_world;
    out->pue = o->pue > 0 ? o->pue : carbon_pue;
    count_dropped(p);
    Status status = c.before != NULL && c.after != NULL && c.outlier != NULL ? fill_networks(p, &c, err) : err_no_memory(err, "ratios");
    if (status == OK) warn_of_result(out);
    free(c.before);
    free(c.after);
    free(c.outlier);
    return status;
}
