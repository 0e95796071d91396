#include "pipeline/goals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/text.h"

const char *goal_outcome_text(GoalOutcome o)
{
    static const char *const texts[] = {
#define X(name, text) text,
        GOAL_OUTCOME_LIST(X)
#undef X
    };
    return texts[o];
}

const Opt goal_options[] = {
    { .name = "max-accuracy-drop", .type = OPT_FLOAT, .field = offsetof(Goals, max_accuracy_drop), .min = 0, .max = 100,
      .unit = "percentage points", .help = "accuracy that may be lost" },
    { .name = "max-size", .type = OPT_STRING, .field = offsetof(Goals, max_size), .unit = "bytes",
      .help = "size of all files of the result: bytes, 120k, 1.5M or 32% of the original" },
    { .name = "max-macs", .type = OPT_STRING, .field = offsetof(Goals, max_macs), .unit = "MACs",
      .help = "multiply-accumulates of one inference: a number, 40M or 50% of the original" },
    { .name = "max-latency-ratio", .type = OPT_FLOAT, .field = offsetof(Goals, max_latency_ratio), .min = 0, .max = 1000,
      .help = "run time after, divided by before: missed when the 95 % interval lies above the limit by more than the noise" },
    { .name = "max-energy-ratio", .type = OPT_FLOAT, .field = offsetof(Goals, max_energy_ratio), .min = 0, .max = 1000,
      .help = "energy of one inference after, divided by before: judged in the same way" },
    OPT_END,
};

void goals_init(Goals *g)
{
    *g = (Goals){ .max_accuracy_drop = NAN, .max_latency_ratio = NAN, .max_energy_ratio = NAN };
}

Status goals_set(Goals *g, const char *name, const char *text, Arena *arena, Err *err)
{
    TRY(opts_set(goal_options, g, name, text, "goals", arena, err));
    double whole = 1, ignored;
    bool sized = strcmp(name, "max-size") == 0 || strcmp(name, "max-macs") == 0;
    if (sized && !size_parse(text, &whole, &ignored)) {
        return err_set(err, ERR_USAGE, "goal '%s': '%s' is not a size; write a number, 120k, 1.5M or 32%% (of the original)", name, text);
    }
    return OK;
}

bool goals_any(const Goals *g)
{
    return g->max_size != NULL || g->max_macs != NULL || goals_need_accuracy(g) || goals_need_latency(g);
}

bool goals_need_accuracy(const Goals *g)
{
    return !isnan(g->max_accuracy_drop);
}

bool goals_need_latency(const Goals *g)
{
    return !isnan(g->max_latency_ratio) || !isnan(g->max_energy_ratio);
}

static void judge(GoalResult *r, const char *name, const char *limit, double allowed, double found)
{
    *r = (GoalResult){ .name = name, .allowed = allowed, .found = found, .low = NAN, .high = NAN };
    snprintf(r->limit, sizeof r->limit, "%s", limit);
    /* an accuracy drop of 1.0 is 1.0000000000000009 in doubles: a hair above the limit is rounding, not loss */
    r->met = found <= allowed + 1e-9 * fabs(allowed);
    r->outcome = r->met ? GOAL_MET : GOAL_MISSED;
}

static void judge_number(GoalResult *r, const char *name, double allowed, double found)
{
    char limit[32];
    snprintf(limit, sizeof limit, "%g", allowed);
    judge(r, name, limit, allowed, found);
}

/* A ratio with the interval that it was measured with. */
static void judge_ratio(GoalResult *r, const char *name, double allowed, double found, const GoalInterval *i, bool strict)
{
    judge_number(r, name, allowed, found);
    if (i->pairs == 0 || !isfinite(found)) return;
    r->low = i->low;
    r->high = i->high;
    bool kept = i->high <= allowed * (1 + 1e-9) && !(i->few && strict), exceeded = i->low > allowed * fmax(1, i->noise) && !i->few;
    r->outcome = kept ? GOAL_MET : exceeded || strict ? GOAL_MISSED : GOAL_INCONCLUSIVE;
    r->met = r->outcome == GOAL_MET;
}

/* Energy by its own interval; one that follows time says no more than run time does at the same limit. */
static void judge_energy(GoalResult *r, const GoalNumbers *before, const GoalNumbers *after, double allowed, bool strict)
{
    GoalResult time;
    judge_ratio(r, "max-energy-ratio", allowed, after->energy_j / before->energy_j, &after->energy, strict);
    if (!after->energy_follows || !isfinite(r->found)) return;
    judge_ratio(&time, "max-latency-ratio", allowed, after->latency_ms / before->latency_ms, &after->latency, strict);
    if (time.outcome != r->outcome) r->outcome = strict ? GOAL_MISSED : GOAL_INCONCLUSIVE;
    r->met = r->outcome == GOAL_MET;
}

static void judge_size(GoalResult *r, const char *name, const char *limit, double before, double after)
{
    double allowed = NAN;
    size_parse(limit, &before, &allowed);
    judge(r, name, limit, allowed, after);
}

void goal_number(const GoalResult *r, double value, char text[64])
{
    char count[32];
    bool bytes = strcmp(r->name, "max-size") == 0, macs = strcmp(r->name, "max-macs") == 0;
    if ((bytes || macs) && fabs(value) < 9e18) {
        text_count((int64_t)value, count);
        snprintf(text, 64, "%s %s", count, bytes ? "bytes" : "MACs");
    } else {
        snprintf(text, 64, "%.4g%s", value, strcmp(r->name, "max-accuracy-drop") == 0 ? " points" : "");
    }
}

void goal_found(const GoalResult *r, char text[GOAL_FOUND])
{
    char found[64], low[64], high[64];
    goal_number(r, r->found, found);
    if (isfinite(r->low) && isfinite(r->high)) {
        goal_number(r, r->low, low);
        goal_number(r, r->high, high);
        snprintf(text, GOAL_FOUND, "%.40s [%.40s, %.40s]", found, low, high);
    } else {
        snprintf(text, GOAL_FOUND, "%s", isfinite(r->found) ? found : "not measured");
    }
}

void goal_say(const GoalResult *r, const char *network, StrBuf *b)
{
    char found[GOAL_FOUND];
    goal_found(r, found);
    strbuf_printf(b, "%s%s%s is %s, allowed %s", r->name, network != NULL ? " of " : "", network != NULL ? network : "", found, r->limit);
}

void goal_warn(const GoalResult *r, const char *network, Log *log)
{
    StrBuf b = { 0 };
    goal_say(r, network, &b);
    if (!b.failed)
        log_warn(log, "goal inconclusive: %s: neither shown to be kept nor to be exceeded; a longer --budget may decide it", b.data);
    strbuf_release(&b);
}

int goals_judge(const Goals *g, const GoalNumbers *before, const GoalNumbers *after, GoalResult results[GOAL_COUNT])
{
    int n = 0;
    if (goals_need_accuracy(g)) {
        judge_number(&results[n++], "max-accuracy-drop", g->max_accuracy_drop, (before->accuracy - after->accuracy) * 100.0);
    }
    if (g->max_size != NULL) judge_size(&results[n++], "max-size", g->max_size, before->bytes, after->bytes);
    if (g->max_macs != NULL) judge_size(&results[n++], "max-macs", g->max_macs, before->macs, after->macs);
    if (!isnan(g->max_latency_ratio)) {
        judge_ratio(&results[n++], "max-latency-ratio", g->max_latency_ratio, after->latency_ms / before->latency_ms, &after->latency,
                    g->strict);
    }
    if (!isnan(g->max_energy_ratio)) judge_energy(&results[n++], before, after, g->max_energy_ratio, g->strict);
    return n;
}
