/* The passes of a recipe made ready and run on a graph: teachers loaded, sinks opened, options and patterns checked. */
#ifndef PARE_PIPELINE_STAGE_H
#define PARE_PIPELINE_STAGE_H

#include "data/targets.h"
#include "graph/pass.h"
#include "pipeline/model.h"
#include "pipeline/recipe.h"

typedef struct StageOptions {
    int threads;
    uint64_t seed, max_mem;
    const char *cache_dir;
    bool dry_run; /* open no sink, write nothing */
    Log *log;
} StageOptions;

/* One pass of the recipe. */
typedef struct Stage {
    const RecipePass *recipe;
    int index;
    Model *models;          /* of its OPT_MODELS option */
    Graph **graphs;
    const char **hashes;
    int model_count;
    Targets *targets;
    const char *target_path;
    Mapping *text;          /* of its OPT_TEXT option */
    char text_hash[HASH_TEXT];
    char *save_path;        /* of its OPT_SAVE option; NULL: none */
    StrBuf saved;
    PassRecord record;
    double seconds, cpu_seconds;
} Stage;

typedef struct Stages {
    Stage *items;
    int count;
    StageOptions options;
    Dataset *calibration;   /* borrowed */
} Stages;

/* Checks everything that can be checked before the first pass runs, against the loaded graph; opens models and sinks. */
Status stages_prepare(const Recipe *r, const Graph *g, Dataset *calibration, const StageOptions *options, Stages *out, Err *err);
/* Runs one pass on a clone of g. *out is the changed graph, verified and inferred (a plain clone for a pass that leaves the network
 * as it was). Time goes to the stage. */
Status stage_run(Stages *s, int i, const Graph *g, Graph **out, Err *err);
/* Puts every sink's file in place, and writes the texts that passes left. */
Status stages_commit(Stages *s, Err *err);
void stages_release(Stages *s);

#endif
