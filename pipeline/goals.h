/* Goals: what the result must keep to, judged on the final numbers.
 *
 * Sizes, counts and accuracy are exact. Ratios of time and energy are measured, and held against their limit as a whole interval: the goal
 * is met when the 95 % interval ends at or below the limit, missed when it begins above the limit by more than the noise of this machine
 * (the null band), and inconclusive between the two. Energy that is only modelled from time is met or missed where run time against the
 * same limit is so, too. A build server fails on what was shown and not on chance: inconclusive is said, is
 * "skipped" in JUnit, and is no failure unless the caller asks for it (Goals.strict). */
#ifndef PARE_PIPELINE_GOALS_H
#define PARE_PIPELINE_GOALS_H

#include "base/log.h"
#include "base/opts.h"
#include "base/size.h"
#include "base/str.h"

/* Unset numbers are NaN, unset texts NULL. */
typedef struct Goals {
    double max_accuracy_drop;   /* percentage points */
    const char *max_size;       /* "120000", "120k", "1.5M", "32%" (of the original) */
    const char *max_macs;       /* the same forms */
    double max_latency_ratio;   /* after / before */
    double max_energy_ratio;
    bool strict;                /* inconclusive is missed: a limit must be shown to be kept */
} Goals;

extern const Opt goal_options[];

/* How sure a ratio is. */
typedef struct GoalInterval {
    int pairs;        /* that it was taken from; 0: it is exact, the rest does not count */
    double low, high; /* 95 % */
    double noise;     /* upper end of the null band */
    bool few;         /* too few pairs to call anything shown */
} GoalInterval;

/* The numbers goals are judged on. NaN where not measured. */
typedef struct GoalNumbers {
    double bytes, macs, accuracy, latency_ms, energy_j; /* accuracy a share 0..1 */
    GoalInterval latency, energy; /* of latency_ms and energy_j as ratios to a network whose own are 1 */
    bool energy_follows;          /* CPU time: a model that is no surer than run time */
} GoalNumbers;

#define GOAL_OUTCOME_LIST(X) \
    X(GOAL_MISSED, "missed") /* or not measured */ \
    X(GOAL_MET, "met") \
    X(GOAL_INCONCLUSIVE, "inconclusive")

typedef enum GoalOutcome {
#define X(name, text) name,
    GOAL_OUTCOME_LIST(X)
#undef X
} GoalOutcome;

const char *goal_outcome_text(GoalOutcome o);

typedef struct GoalResult {
    const char *name;   /* as in goal_options */
    char limit[32];     /* as it was asked for */
    double allowed;     /* the same as a number: bytes, MACs, points, ratio */
    double found;       /* NaN: not measured */
    double low, high;   /* its 95 % interval; NaN: exact */
    GoalOutcome outcome;
    bool met;           /* outcome is GOAL_MET */
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
#define GOAL_FOUND 160
/* "1.31 [1.28, 1.33]"; "not measured". */
void goal_found(const GoalResult *r, char text[GOAL_FOUND]);
/* "max-size of net.onnx is 1,273 bytes, allowed 50%"; `network` NULL: left out. */
void goal_say(const GoalResult *r, const char *network, StrBuf *b);
/* That a goal is inconclusive, and what would decide it. */
void goal_warn(const GoalResult *r, const char *network, Log *log);

#endif
