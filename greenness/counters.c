#include "greenness/counters.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "greenness/source.h"
#include "greenness/tree.h"

#define TWIN_JOULES 130e-6 /* one count is at most 61 microjoules; two counters that differ by no more than two tell the same */
#define QUIET_PASSES 8
#define PSYS_STEP 1.0      /* joules; in finer units a value is a whole number of them once in ten thousand times */
#define PSYS_WATTS 10.0    /* a platform that draws no more still moves so often that */
#define PSYS_WINDOW 10.0   /* seconds are 100 steps */

void *counters_rapl(Source *s, size_t size)
{
    s->provenance = PROVENANCE_COUNTER;
    s->factor = 1.1;
    s->update_seconds = 1e-3;
    s->least_window = 1;
    snprintf(s->resolution, sizeof s->resolution, "15 to 61 uJ every 1 ms");
    void *state = calloc(1, size);
    if (state == NULL) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "out of memory");
    }
    return state;
}

void counters_psys(Source *s, const CounterSet *c)
{
    const Counter *k = &c->items[0];
    double units = c->count > 0 ? round(PSYS_STEP / k->unit) : 0; /* in a step */
    if (k->part != COUNTER_PSYS || !(units >= 1 && units < 1e15) || k->last % (uint64_t)units != 0) return;
    s->step_joules = PSYS_STEP;
    s->update_seconds = PSYS_STEP / PSYS_WATTS;
    s->least_window = PSYS_WINDOW;
    snprintf(s->resolution, sizeof s->resolution, "%g J", PSYS_STEP);
    snprintf(s->note, sizeof s->note, "psys moves in steps of %g J here: windows last %g s and more", PSYS_STEP, PSYS_WINDOW);
}

static bool read_one(const CounterSet *c, const Counter *k, uint64_t *out, char *reason, size_t size)
{
    char text[40];
    lseek(k->fd, 0, SEEK_SET); /* perf's descriptors do not seek and always read from the start */
    ssize_t got = read(k->fd, text, sizeof text - 1);
    if (got < 0) {
        snprintf(reason, size, "%s: %s", k->id, strerror(errno));
        return false;
    }
    if (c->binary) {
        if (got >= (ssize_t)sizeof *out) memcpy(out, text, sizeof *out);
        else snprintf(reason, size, "%s: %d bytes instead of a counter", k->id, (int)got);
        return got >= (ssize_t)sizeof *out;
    }
    text[got] = '\0';
    if (text_whole_number(text, out)) return true;
    snprintf(reason, size, "%s: energy is no number", k->id);
    return false;
}

bool counters_add(CounterSet *c, const Counter *counter)
{
    Counter k = *counter;
    if (c->count == COUNTERS_MOST) {
        snprintf(c->reason, sizeof c->reason, "more than %d energy counters", COUNTERS_MOST);
        close(k.fd);
        return false;
    }
    if (!read_one(c, &k, &k.last, c->reason, sizeof c->reason)) {
        close(k.fd);
        return false;
    }
    k.now = k.last;
    k.twin = TWIN_UNKNOWN;
    c->items[c->count++] = k;
    return true;
}

static bool has_brother(const CounterSet *c, int at)
{
    for (int i = 0; i < c->count; i++)
        if (i != at && c->items[i].socket == c->items[at].socket && c->items[i].part == c->items[at].part) return true;
    return false;
}

/* Reads all; where a socket has several dies, until no counter moved from one pass to the next, so that an update between two reads does
 * not make twins differ. */
static bool read_all(CounterSet *c)
{
    bool good = true, brothers = false;
    for (int i = 0; i < c->count; i++) {
        Counter *k = &c->items[i];
        good = read_one(c, k, &k->now, c->reason, sizeof c->reason) && good;
        brothers = brothers || has_brother(c, i);
    }
    for (int pass = 0, moved = brothers; moved && good && pass < QUIET_PASSES; pass++) {
        moved = 0;
        for (int i = 0; i < c->count && good; i++) {
            uint64_t again = 0;
            good = read_one(c, &c->items[i], &again, c->reason, sizeof c->reason);
            moved += good && again != c->items[i].now;
            if (good) c->items[i].now = again;
        }
    }
    return good;
}

/* Joules of one counter since its last value. */
static bool advance(CounterSet *c, Counter *k, double *joules)
{
    uint64_t last = k->last, now = k->now;
    k->last = now;
    if (now >= last) {
        *joules = (double)(now - last) * k->unit;
        return true;
    }
    *joules = 0;
    if (k->has_range && last <= k->range) {
        *joules = ((double)(k->range - last) + (double)now + 1) * k->unit;
        return true;
    }
    snprintf(c->reason, sizeof c->reason, "%s: the counter fell back%s", k->id,
             k->has_range ? " from beyond its range" : " and its range is not known");
    return false;
}

/* Whether counter `at` repeats an earlier one of its socket; false with reason when it used to and does so no longer. */
static bool judge_twin(CounterSet *c, int at, const double *joules)
{
    Counter *k = &c->items[at];
    if (k->twin == TWIN_NO || joules[at] <= TWIN_JOULES) {
        bool parted = k->twin == TWIN_YES && joules[k->twin_of] > 2 * TWIN_JOULES;
        if (!parted) return true;
    }
    for (int i = 0; i < at; i++) {
        const Counter *other = &c->items[i];
        if (other->socket != k->socket || other->part != k->part || other->twin == TWIN_YES) continue;
        if (k->twin == TWIN_YES && i != k->twin_of) continue;
        if (fabs(joules[i] - joules[at]) > TWIN_JOULES) continue;
        k->twin = TWIN_YES;
        k->twin_of = i;
        return true;
    }
    bool parted = k->twin == TWIN_YES;
    k->twin = TWIN_NO;
    if (parted) snprintf(c->reason, sizeof c->reason, "%s: was taken for a mirror of %s, but differs now", k->id, c->items[k->twin_of].id);
    return !parted;
}

bool counters_step(CounterSet *c, double *joules)
{
    double each[COUNTERS_MOST] = { 0 };
    *joules = 0;
    if (!read_all(c)) {
        for (int i = 0; i < c->count; i++) c->items[i].last = c->items[i].now;
        return false;
    }
    bool good = true;
    for (int i = 0; i < c->count; i++) good = advance(c, &c->items[i], &each[i]) && good;
    for (int i = 0; i < c->count && good; i++) good = judge_twin(c, i, each);
    for (int i = 0; i < c->count; i++)
        if (c->items[i].twin != TWIN_YES) *joules += each[i];
    return good && c->count > 0;
}

void counters_close(CounterSet *c)
{
    for (int i = 0; i < c->count; i++) close(c->items[i].fd);
    c->count = 0;
}

int counters_number(const CounterSet *c, CounterPart part)
{
    int number = 0;
    for (int i = 0; i < c->count; i++) number += c->items[i].part == part && c->items[i].twin != TWIN_YES;
    return number;
}

void counters_describe(const CounterSet *c, char *text, size_t size)
{
    int packages = counters_number(c, COUNTER_PACKAGE);
    if (packages == 0) snprintf(text, size, "psys");
    else snprintf(text, size, "%d package%s%s", packages, packages == 1 ? "" : "s", counters_number(c, COUNTER_DRAM) > 0 ? " + dram" : "");
}
