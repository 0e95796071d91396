/* What one run holds, shared by what comes before the first pass (prepare.c) and the spine itself (runner.c). */
#ifndef PARE_PIPELINE_RUN_H
#define PARE_PIPELINE_RUN_H

#include "greenness/account.h"
#include "pipeline/peak.h"
#include "pipeline/runner.h"
#include "pipeline/stage.h"
#include "pipeline/state.h"

typedef struct Run {
    const Recipe *recipe;
    const RunOptions *options;
    Model source, result;
    Dataset *calibration, *evaluation;
    Stages stages;
    Gauge gauge;
    Graph **graphs;   /* [0]: as loaded (borrowed from source); [i + 1]: after pass i, NULL where it is no longer needed */
    Model *models;    /* the same networks, saved and loaded again: only where each step is measured */
    int pass_count;
    bool measuring;   /* latency, energy, accuracy, deflated size */
    bool each_step;
    PeakAside peaks;
    Account account;  /* of what the passes use */
    char cost_source[16]; /* id of its source, when it is closed */
    bool predicted;   /* a prediction was logged for the task under way */
    Report *report;
} Run;

/* After how many inferences an energy is saved again: cost / (before (1 - ratio)), with the interval of the ratio. */
typedef struct Payback {
    double inferences, low, high; /* NaN: not known; high NaN alone: no end is known */
    char note[160];               /* why there is none */
} Payback;
/* `cost_j` and the figures of both networks come from one source. A saving that was not shown pays nothing back. */
void payback_of(double cost_j, const Compared *before, const Compared *after, Payback *out);

/* What compressing costs (cost.c): around the first pass, each one, and the last one. */
Status cost_open(Run *run, Err *err);
void cost_begin(Run *run);
void cost_end(Run *run, int step);
void cost_close(Run *run);
/* After how many inferences that is saved again, from what was measured. */
void cost_pays_back(Run *run);

/* Opens and checks everything: recipe against network, patterns, data, goals, paths, weights. Writes nothing; the first pass may run. */
Status run_prepare(Run *run, Err *err);

#endif
