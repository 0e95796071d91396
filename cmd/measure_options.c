#include "cmd/measure_options.h"

#include "cmd/side_files.h"
#include "pipeline/comparison.h"
#include "pipeline/exports.h"
#include "pipeline/history.h"

static Status read_goals(const Call *c, Goals *goals, Err *err)
{
    const MeasureCommand *o = c->options;
    goals_init(goals);
    goals->strict = o->strict;
    for (int i = 0; i < GOAL_COUNT; i++) {
        if (o->goals[i] == NULL) continue;
        Status status = goals_set(goals, goal_options[i].name, o->goals[i], c->arena, err);
        if (status != OK) return err_prefix(err, "%s", c->command->name);
    }
    return OK;
}

static Status append_history(const ComparisonReport *r, const char *path, Err *err)
{
    for (int k = r->file_count > 1 ? 1 : 0; k < r->file_count; k++) {
        HistoryEntry entry;
        history_of_comparison(r, k, &entry);
        TRY(history_append(path, &entry, err));
    }
    return OK;
}

static Status write_files(const MeasureCommand *o, const ComparisonReport *report, Err *err)
{
    if (o->report != NULL) TRY(comparison_write(report, o->report, err));
    if (o->junit != NULL) TRY(comparison_write_junit(report, o->junit, err));
    if (o->emissions != NULL) TRY(export_emissions_of(report, o->emissions, err));
    if (o->boamps != NULL) TRY(export_boamps_of(report, o->boamps, err));
    return o->history != NULL ? append_history(report, o->history, err) : OK;
}

/* What was measured is told although a file could not be written. */
static Status show(Call *c, const ComparisonReport *report, Err *err)
{
    const MeasureCommand *o = c->options;
    Err why;
    Status written = write_files(o, report, &why), status = OK;
    if (o->json) status = cli_print_json(comparison_json(report), &c->out, err);
    else if (!o->common.quiet) comparison_print(report, &c->out);
    return written != OK ? err_set(err, written, "%s", why.text) : status;
}

/* As for a run: what is to be written could be, and is no other file. */
static Status check_places(const Call *c, Places *places, Err *err)
{
    const MeasureCommand *o = c->options;
    const SideFiles files = { o->report, o->emissions, o->boamps, o->junit, o->history };
    TRY(side_files_place(&files, places, c->arena, err));
    for (int i = 0; i < c->arg_count; i++) TRY(places_apart(places, "the network", c->args[i], err));
    TRY(places_apart(places, "the data", o->data, err));
    TRY(source_apart(&o->source, places, err));
    return side_files_check(&files, err);
}

Status measure_for_command(Call *c, Err *err)
{
    const MeasureCommand *o = c->options;
    ComparisonReport *report = NULL;
    Profile profile;
    Goals goals;
    Footprint footprint;
    Places places = { .count = 0 };
    ComparisonOptions options = {
        .command = c->again.data, .paths = c->args, .count = c->arg_count, .data = o->data, .batch = o->batch, .layers = o->report != NULL,
        .plain = o->plain, .int8 = (Int8Use)o->int8,
        .goals = &goals, .threads = (int)o->common.threads, .max_mem = c->max_mem, .log = c->log,
        .measure = { .budget = o->budget, .rest = o->rest, .seed = (uint64_t)o->seed },
        .footprint = &footprint, .places = &places,
    };
    TRY(read_goals(c, &goals, err));
    TRY(footprint_parse(&o->footprint, &footprint, err));
    TRY(source_settings(&o->source, &profile, &options.measure.source, err));
    TRY(source_check_named(&options.measure.source, err)); /* before the work */
    TRY(check_places(c, &places, err));
    warn_of_threads(o->common.threads, c->log);
    Status status = compare_files(&options, &report, err);
    if (report != NULL) {
        Err show_err;
        Status shown = show(c, report, &show_err);
        if (shown != OK) {
            *err = show_err;
            status = shown;
        }
    }
    comparison_report_free(report);
    return status;
}
