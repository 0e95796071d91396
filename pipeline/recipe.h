/* A recipe: which data, which passes with which options, which goals. Read from JSON against the option tables. */
#ifndef PARE_PIPELINE_RECIPE_H
#define PARE_PIPELINE_RECIPE_H

#include "base/hash.h"
#include "graph/pass.h"
#include "pipeline/goals.h"

#include <cjson/cJSON.h>

typedef struct RecipePass {
    const Pass *pass;
    void *options;         /* pass->options_size bytes, filled */
    const LayerRule *rules;
    int rule_count;
} RecipePass;

typedef struct Recipe {
    Arena *arena;
    cJSON *json;           /* as read */
    char *folder;          /* paths are relative to it; NULL: the current folder */
    const cJSON *calibration, *evaluation; /* sections in json, NULL when not given */
    RecipePass *passes;
    int pass_count;
    Goals goals;
    bool has_seed;
    uint64_t seed;
    char hash[HASH_TEXT];  /* SHA-256 of the canonical JSON */
} Recipe;

/* `name` stands in messages; `folder` may be NULL. ERR_USAGE names line and column, or the path of the entry ("passes[1].sparsity"),
 * what was found and the nearest known name. */
Status recipe_parse(const char *text, size_t size, const char *name, const char *folder, Recipe **out, Err *err);
/* Reads a file; "/dev/stdin" too, then paths are relative to the current folder. */
Status recipe_load(const char *path, Recipe **out, Err *err);
/* Takes `json` over, also on failure: for recipes made from the command line. */
Status recipe_from_json(cJSON *json, const char *name, const char *folder, Recipe **out, Err *err);
void recipe_free(Recipe *r); /* NULL is fine */

/* All options of a pass with their values, as a recipe would write them (also those left at their defaults). NULL: no memory. */
cJSON *recipe_options_json(const RecipePass *p);
/* Some pass judges by the calibration data's labels. */
bool recipe_uses_labels(const Recipe *r);

#endif
