#include "pipeline/goals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/text.h"

const Opt goal_options[] = {
    { .name = "max-accuracy-drop", .type = OPT_FLOAT, .field = offsetof(Goals, max_accuracy_drop), .min = 0, .max = 100,
      .unit = "percentage points", .help = "accuracy that may be lost" },
    { .name = "max-size", .type = OPT_STRING, .field = offsetof(Goals, max_size), .unit = "bytes",
      .help = "size of all files of the result: bytes, 120k, 1.5M or 32% of the original" },
    { .name = "max-macs", .type = OPT_STRING, .field = offsetof(Goals, max_macs), .unit = "MACs",
      .help = "multiply-accumulates of one inference: a number, 40M or 50% of the original" },
    { .name = "max-latency-ratio", .type = OPT_FLOAT, .field = offsetof(Goals, max_latency_ratio), .min = 0, .max = 1000,
      .help = "median latency after, divided by before" },
    { .name = "max-energy-ratio", .type = OPT_FLOAT, .field = offsetof(Goals, max_energy_ratio), .min = 0, .max = 1000,
      .help = "energy of one inference after, divided by before" },
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
    *r = (GoalResult){ .name = name, .allowed = allowed, .found = found };
    snprintf(r->limit, sizeof r->limit, "%s", limit);
    /* an accuracy drop of 1.0 is 1.0000000000000009 in doubles: a hair above the limit is rounding, not loss */
    r->met = found <= allowed + 1e-9 * fabs(allowed);
}

static void judge_number(GoalResult *r, const char *name, double allowed, double found)
{
    char limit[32];
    snprintf(limit, sizeof limit, "%g", allowed);
    judge(r, name, limit, allowed, found);
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

int goals_judge(const Goals *g, const GoalNumbers *before, const GoalNumbers *after, GoalResult results[GOAL_COUNT])
{
    int n = 0;
    if (goals_need_accuracy(g)) {
        judge_number(&results[n++], "max-accuracy-drop", g->max_accuracy_drop, (before->accuracy - after->accuracy) * 100.0);
    }
    if (g->max_size != NULL) judge_size(&results[n++], "max-size", g->max_size, before->bytes, after->bytes);
    if (g->max_macs != NULL) judge_size(&results[n++], "max-macs", g->max_macs, before->macs, after->macs);
    if (!isnan(g->max_latency_ratio)) {
        judge_number(&results[n++], "max-latency-ratio", g->max_latency_ratio, after->latency_ms / before->latency_ms);
    }
    if (!isnan(g->max_energy_ratio)) {
        judge_number(&results[n++], "max-energy-ratio", g->max_energy_ratio, after->energy_j / before->energy_j);
    }
    return n;
}
