/* The spine: load, baseline, passes, save, load again, compare, judge. Only this knows the order of things. */
#ifndef PARE_PIPELINE_RUNNER_H
#define PARE_PIPELINE_RUNNER_H

#include "pipeline/footprint.h"
#include "pipeline/places.h"
#include "pipeline/recipe.h"
#include "pipeline/report.h"

typedef struct RunOptions {
    const char *command; /* that does it again, for the report; borrowed as long as that lives; NULL: not known */
    const char *model, *output; /* output NULL: only for passes that leave the network as it was, or a dry run; "-": standard output */
    bool dry_run;        /* check, run in memory, predict size and MACs, write nothing */
    bool force;          /* may replace an input file */
    bool no_measure;     /* no latency, energy, accuracy or deflated size */
    bool want_report;    /* measure even when the recipe has no passes */
    bool steps;          /* measure after every pass */
    bool keep_last_good; /* when a goal is missed, write the last network that met all of them */
    int threads;
    bool plain;          /* how networks are measured; passes run them as ever */
    Int8Use int8;
    bool has_seed;       /* else the recipe's, else 0 */
    uint64_t seed;
    uint64_t max_mem;    /* 0: no limit */
    const char *cache_dir;
    SourceSettings source;   /* where energy is read */
    bool peaks;              /* peak memory of the network as loaded and of the result: forks, so not for a library */
    double rest;             /* as in CompareOptions */
    double budget;           /* seconds for measuring; 0: 2, or 10 where energy can be measured */
    const Footprint *footprint; /* NULL: the world, PUE 1, nothing embodied */
    const Places *places;    /* that the caller writes besides: none may be a file that is read or that a pass writes; NULL: none */
    Log *log;
} RunOptions;

/* *out is filled when the status is OK or ERR_GOAL (the file is written, a goal is missed; err names it). Free with report_free. */
Status run_recipe(const Recipe *r, const RunOptions *options, Report **out, Err *err);

#endif
