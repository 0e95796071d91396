#include "cmd/run_options.h"

static const Opt run_options[] = {
    RUN_OPTIONS,
    COMMON_OPTIONS(RunCommand),
    OPT_END,
};

static Status run(Call *c, Err *err)
{
    Recipe *recipe;
    TRY(recipe_load(c->args[0], &recipe, err));
    Status status = run_for_command(c, recipe, c->args[1], err);
    recipe_free(recipe);
    return status;
}

const Command command_run = {
    .name = "run",
    .args = "RECIPE MODEL",
    .summary = "run a recipe on a network: compress, write, load again, compare",
    .details = "  pare run recipe.json model.onnx -o small.onnx                 compress, print before and after\n"
               "  pare run recipe.json model.onnx -o small.onnx --report out/   the same, and out/report.json\n"
               "  pare run recipe.json model.onnx --dry-run                     check everything, predict, write nothing\n"
               "  pare run recipe.json model.onnx -o - > small.onnx             the network to standard output\n\n"
               "A recipe is one JSON object (pare help recipe). Everything in it is checked before the first pass runs; a pass that\n"
               "fails ends the run and nothing is written. A goal that is missed leaves the file written and gives exit code 5.\n"
               "A ratio of time or energy is missed when its 95 % interval lies above the limit by more than the noise, and met when the\n"
               "interval ends at or below it; between the two it is inconclusive: a warning, 'skipped' in JUnit, exit code 5 only with\n"
               "--strict-goals.\n",
    .options = run_options,
    .options_size = sizeof(RunCommand),
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
