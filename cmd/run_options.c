#include "cmd/run_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cmd/side_files.h"
#include "pipeline/exports.h"
#include "pipeline/history.h"

static Status read_goals(const Call *c, Recipe *recipe, Err *err)
{
    const RunCommand *o = c->options;
    recipe->goals.strict = o->strict;
    for (int i = 0; i < GOAL_COUNT; i++) {
        if (o->goals[i] == NULL) continue;
        Status status = goals_set(&recipe->goals, goal_options[i].name, o->goals[i], recipe->arena, err);
        if (status != OK) return err_prefix(err, "%s", c->command->name);
    }
    return OK;
}

static Status read_seed(const char *text, RunOptions *options, Err *err)
{
    char *end;
    if (text == NULL) return OK;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 9007199254740992.0) || value != (double)(uint64_t)value) {
        return err_set(err, ERR_USAGE, "seed is '%s', expected a whole number of 0 to 2^53", text);
    }
    options->has_seed = true;
    options->seed = (uint64_t)value;
    return OK;
}

/* Everything that is to be written besides the network could be, and is no other file of this run: asked before the work. The data and
 * what belongs to the network are looked at when they are opened. */
static Status check_places(const Call *c, const char *model, Places *places, Err *err)
{
    const RunCommand *o = c->options;
    const SideFiles files = { o->report, o->emissions, o->boamps, o->junit, o->history };
    TRY(side_files_place(&files, places, c->arena, err));
    TRY(places_apart(places, "the output", o->output, err));
    TRY(places_apart(places, "the network", model, err));
    if (model != c->args[0]) TRY(places_apart(places, "the recipe", c->args[0], err));
    TRY(source_apart(&o->source, places, err));
    if (o->boamps != NULL && o->no_measure) return err_set(err, ERR_USAGE, "boamps: there is no energy to report with --no-measure");
    return side_files_check(&files, err);
}

static Status write_files(const RunCommand *o, const Report *report, Err *err)
{
    if (o->report != NULL) TRY(report_write(report, o->report, err));
    if (o->emissions != NULL) TRY(export_emissions(report, o->emissions, err));
    if (o->boamps != NULL) TRY(export_boamps(report, o->boamps, err));
    if (o->junit != NULL) TRY(report_write_junit(report, o->junit, err));
    if (o->history == NULL) return OK;
    HistoryEntry entry;
    history_of_report(report, &entry);
    return history_append(o->history, &entry, err);
}

static Status show_report(Call *c, const Report *report, Err *err)
{
    const RunCommand *o = c->options;
    Err why;
    Status written = report->dry_run ? OK : write_files(o, report, &why), status = OK;
    if (o->json) status = cli_print_json(report_json(report), &c->out, err);
    else if (!o->common.quiet) report_print(report, &c->out);
    return written != OK ? err_set(err, written, "%s", why.text) : status; /* what was done is told although a file could not be written */
}

Status run_for_command(Call *c, Recipe *recipe, const char *model, Err *err)
{
    const RunCommand *o = c->options;
    Report *report = NULL;
    Footprint footprint;
    Profile profile;
    Places places = { .count = 0 };
    RunOptions options = {
        .command = c->again.data, .model = model, .output = o->output,
        .dry_run = o->dry_run, .force = o->force, .no_measure = o->no_measure,
        .want_report = o->report != NULL, .steps = o->steps, .keep_last_good = o->keep_last_good, .threads = (int)o->common.threads,
        .max_mem = c->max_mem, .plain = o->plain, .int8 = (Int8Use)o->int8, .cache_dir = run_cache_dir(o, c->arena), .places = &places,
        .log = c->log,
    };
    c->out_to_stderr = o->output != NULL && outfile_is_stdout(o->output);
    TRY(check_places(c, model, &places, err));
    TRY(footprint_parse(&o->footprint, &footprint, err));
    options.footprint = &footprint;
    options.budget = o->budget;
    options.rest = o->rest;
    options.peaks = true;
    TRY(source_settings(&o->source, &profile, &options.source, err));
    TRY(source_check_named(&options.source, err)); /* before the work */
    TRY(read_goals(c, recipe, err));
    TRY(read_seed(o->seed, &options, err));
    warn_of_threads(o->common.threads, c->log);
    Status status = run_recipe(recipe, &options, &report, err);
    if (report != NULL) {
        Err show_err;
        Status shown = show_report(c, report, &show_err);
        if (shown != OK) {
            *err = show_err;
            status = shown;
        }
    }
    report_free(report);
    return status;
}
