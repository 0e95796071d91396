/* Goals: what the result must keep to, judged on the final numbers. */
#ifndef PARE_PIPELINE_GOALS_H
#define PARE_PIPELINE_GOALS_H

#include "base/opts.h"
#include "base/size.h"

/* Unset numbers are NaN, unset texts NULL. */
typedef struct Goals {
    double max_accuracy_drop;   /* percentage points */
    const char *max_size;       /* "120000", "120k", "1.5M", "32%" (of the original) */
    const char *max_macs;       /* the same forms */
    double max_latency_ratio;   /* after / before */
    double max_energy_ratio;
} Goals;

extern const Opt goal_options[];

/* The numbers goals are judged on. NaN where not measured. */
typedef struct GoalNumbers {
    double bytes, macs, accuracy, latency_ms, energy_j; /* accuracy a share 0..1 */
} GoalNumbers;

typedef struct GoalResult {
    const char *name;   /* as in goal_options */
    char limit[32];     /* as it was asked for */
    double allowed;     /* the same as a number: bytes, MACs, points, ratio */
    double found;       /* NaN: not measured */
    bool met;
} GoalResult;

#define GOAL_COUNT 5

void goals_init(Goals *g);
/* Sets one goal from its text; ERR_USAGE names the goal. */
Status goals_set(Goals *g, const char *name, const char *text, Arena *arena, Err *err);
bool goals_any(const Goals *g);
/* Whether a goal asks for accuracy, or for time or energy. */
bool goals_need_accuracy(const Goals *g);
bool goals_need_latency(const Goals *g);
/* Fills one result per goal that is set; returns how many. A goal whose number was not measured is missed. */
int goals_judge(const Goals *g, const GoalNumbers *before, const GoalNumbers *after, GoalResult results[GOAL_COUNT]);

/* "0.98 points", "1,067,391 bytes", "1.31": what was found, or allowed, in the goal's unit. */
void goal_number(const GoalResult *r, double value, char text[64]);

#endif
