/* What one run holds, shared by what comes before the first pass (prepare.c) and the spine itself (runner.c). */
#ifndef PARE_PIPELINE_RUN_H
#define PARE_PIPELINE_RUN_H

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
    Report *report;
} Run;

/* Opens and checks everything: recipe against network, patterns, data, goals, paths, weights. Writes nothing; the first pass may run. */
Status run_prepare(Run *run, Err *err);

#endif
