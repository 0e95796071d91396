/* Whether the last build is worse than those before it. */
#include "pipeline/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_NOISE 0.005  /* of exact numbers: a name more or less in a file is no regression */
#define TIMED_NOISE 0.02     /* least, however quiet the machine */
#define SPREADS 3.0
#define BUSY 0.05            /* share of all cores that others may take */
#define BASE_MOST 16         /* builds before the last */
#define TO_SIGMA 1.4826      /* of a median deviation, for a normal distribution */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_of(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Time itself, whatever watts were drawn meanwhile. */
static bool is_time(HistoryId id) { return id == HISTORY_TIME || id == HISTORY_CPU; }

static bool is_timed(HistoryId id)
{
    return is_time(id) || id == HISTORY_POWER || id == HISTORY_ENERGY || id == HISTORY_CARBON;
}

static bool has_interval(const HistoryPoint *p)
{
    return isfinite(p->low) && isfinite(p->high);
}

/* Builds before the last that it may be compared with, newest first. */
static int earlier(const History *h, HistoryId id, const HistoryEntry *last, const HistoryEntry *found[BASE_MOST])
{
    int count = 0;
    for (size_t i = h->count - 1; i-- > 0 && count < BASE_MOST;) {
        const HistoryEntry *e = &h->entries[i];
        const HistoryPoint *p = &e->after[id];
        if (is_timed(id) && !is_time(id) && strcmp(e->meter, last->meter) != 0) continue; /* a package and a plug are two things */
        bool same = !is_timed(id) || (strcmp(e->machine, last->machine) == 0 && p->modelled == last->after[id].modelled);
        if (isfinite(p->value) && same) found[count++] = e;
    }
    return count;
}

static void judge_counted(HistoryTrend *t, double before)
{
    t->base = before;
    t->noise = COUNTED_NOISE;
    double change = t->last - before, limit = COUNTED_NOISE * before;
    t->change = change > limit ? HISTORY_WORSE : change < -limit ? HISTORY_BETTER : HISTORY_SAME;
}

/* The spread of the earlier medians from run to run, and the intervals of the last two. */
static void judge_timed(const HistoryEntry *const *before, int count, const HistoryPoint *last, HistoryId id, HistoryTrend *t)
{
    double values[BASE_MOST] = { 0 };
    for (int i = 0; i < count; i++) values[i] = before[i]->after[id].value;
    t->base = median_of(values, count);
    if (!(t->base > 0)) { /* nothing is a share of it */
        snprintf(t->note, sizeof t->note, "the earlier runs' number is 0: not judged");
        return;
    }
    for (int i = 0; i < count; i++) values[i] = fabs(before[i]->after[id].value - t->base);
    double spread = count >= 3 ? SPREADS * TO_SIGMA * median_of(values, count) / t->base : 0;
    const HistoryPoint *previous = &before[0]->after[id];
    t->noise = fmax(spread, TIMED_NOISE);
    bool clear = has_interval(last) && has_interval(previous) && (last->low > previous->high || last->high < previous->low);
    if (!has_interval(last) || !has_interval(previous)) clear = count >= 3; /* figures without an interval: the spread alone decides */
    double change = last->value / t->base - 1;
    if (count > 1) snprintf(t->against, sizeof t->against, "the median of %d", count);
    if (!clear && fabs(change) > t->noise)
        snprintf(t->note, sizeof t->note, "%s", has_interval(last) && has_interval(previous) ? "intervals meet" : "no intervals, few runs");
    if (!clear || fabs(change) <= t->noise) t->change = HISTORY_SAME;
    else t->change = change > 0 ? HISTORY_WORSE : HISTORY_BETTER;
}

/* A busy machine makes a network slower than it is: then its own CPU time must say the same. */
static void judge_run_time(const HistoryEntry *const *before, int count, const HistoryEntry *last, HistoryTrend *t)
{
    double load = fmax(last->other_load, before[0]->other_load); /* NaN: not known, taken for none */
    HistoryTrend cpu = { .change = HISTORY_SAME };
    judge_timed(before, count, &last->after[HISTORY_TIME], HISTORY_TIME, t);
    if (!(load > BUSY) || (t->change != HISTORY_WORSE && t->change != HISTORY_BETTER)) return;
    if (!isfinite(last->after[HISTORY_CPU].value) || !isfinite(before[0]->after[HISTORY_CPU].value)) return;
    const HistoryEntry *with[BASE_MOST];
    int known = 0;
    for (int i = 0; i < count; i++)
        if (isfinite(before[i]->after[HISTORY_CPU].value)) with[known++] = before[i];
    judge_timed(with, known, &last->after[HISTORY_CPU], HISTORY_CPU, &cpu);
    if (cpu.change == t->change) return;
    t->change = HISTORY_SAME;
    snprintf(t->note, sizeof t->note, "others took %.0f %% of all cores, CPU time says otherwise", 100 * load);
}

static void judge_accuracy(const HistoryEntry *const *before, int count, const HistoryPoint *last, HistoryTrend *t)
{
    const HistoryPoint *best = &before[0]->after[HISTORY_ACCURACY];
    for (int i = 1; i < count; i++) {
        if (before[i]->after[HISTORY_ACCURACY].value > best->value) best = &before[i]->after[HISTORY_ACCURACY];
    }
    t->base = best->value;
    if (count > 1) snprintf(t->against, sizeof t->against, "the best of %d", count);
    t->noise = has_interval(best) ? (best->high - best->low) / 2 / fmax(best->value, 1e-12) : 0;
    if (has_interval(last) && has_interval(best)) {
        t->change = last->high < best->low ? HISTORY_WORSE : last->low > best->high ? HISTORY_BETTER : HISTORY_SAME;
        if (t->change == HISTORY_SAME && last->value != best->value) snprintf(t->note, sizeof t->note, "intervals meet");
    } else {
        t->change = last->value < best->value ? HISTORY_WORSE : last->value > best->value ? HISTORY_BETTER : HISTORY_SAME;
    }
}

void history_trend(const History *h, HistoryId id, HistoryTrend *out)
{
    *out = (HistoryTrend){ .first = NAN, .last = NAN, .previous = NAN, .base = NAN, .noise = NAN };
    for (size_t i = 0; i < h->count; i++) {
        double value = h->entries[i].after[id].value;
        if (!isfinite(value)) continue;
        if (out->points++ == 0) out->first = value;
        out->last = value;
    }
    if (h->count == 0 || out->points == 0) return;
    const HistoryEntry *last = &h->entries[h->count - 1], *before[BASE_MOST];
    const HistoryPoint *p = &last->after[id];
    if (!isfinite(p->value)) {
        snprintf(out->note, sizeof out->note, "the last run has no such number");
        return;
    }
    int count = out->base_count = earlier(h, id, last, before);
    if (count == 0) {
        snprintf(out->note, sizeof out->note, !is_timed(id) || h->count < 2 ? "the first run"
                 : is_time(id) ? "no earlier run on the same machine" : "no earlier run on the same machine and meter");
        return;
    }
    out->previous = before[0]->after[id].value;
    if (p->modelled) {
        out->base = out->previous;
        snprintf(out->note, sizeof out->note, "modelled from time: not judged");
    } else if (id == HISTORY_POWER) { /* neither more nor less power is worse by itself */
        out->base = out->previous;
        snprintf(out->note, sizeof out->note, "not judged");
    } else if (id == HISTORY_CARBON) {
        out->base = out->previous;
        snprintf(out->note, sizeof out->note, "follows energy: not judged");
    } else if (id == HISTORY_ACCURACY) {
        judge_accuracy(before, count, p, out);
    } else if (id == HISTORY_TIME) {
        judge_run_time(before, count, last, out);
    } else if (is_timed(id)) {
        judge_timed(before, count, p, id, out);
    } else {
        judge_counted(out, out->previous);
    }
}
