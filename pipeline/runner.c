#include "pipeline/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "graph/edit.h"
#include "pipeline/comparison.h"
#include "pipeline/footprint.h"
#include "pipeline/layer_times.h"
#include "pipeline/run.h"
#include "pipeline/timed.h"
#include "pipeline/version.h"

/* ---- passes ---- */

/* What is written into every network that leaves: what was done, from what; no time. */
static Status sign(const Run *run, Graph *g, Err *err)
{
    TRY(graph_set_metadata(g, "pare.version", PARE_VERSION, err));
    TRY(graph_set_metadata(g, "pare.recipe_sha256", run->recipe->hash, err));
    return graph_set_metadata(g, "pare.source_sha256", run->source.hash, err);
}

/* Counts of a step, and with --steps everything, from its own saved file. */
static Status measure_step(Run *run, int i, Err *err)
{
    ReportState *state = &run->report->steps[i].state;
    if (!run->each_step) return state_counts(state, run->graphs[i + 1], &run->gauge, NULL, err);
    Graph *signed_graph = NULL;
    Model *m = &run->models[i + 1];
    TRY(graph_clone(run->graphs[i + 1], &signed_graph, err));
    Status status = sign(run, signed_graph, err);
    if (status == OK) status = state_reload(signed_graph, run->options->max_mem, NULL, m, err);
    graph_free(signed_graph);
    if (status == OK) status = state_sizes(state, m, &run->gauge, run->measuring, NULL, err);
    if (status == OK && run->measuring) status = state_evaluate(state, m, &run->source, &run->gauge, run->report->arena, err);
    return status;
}

static Status run_passes(Run *run, Err *err)
{
    Report *r = run->report;
    for (int i = 0; i < run->pass_count; i++) {
        Stage *stage = &run->stages.items[i];
        if (log_interrupted(run->options->log)) return err_set(err, ERR_INTERRUPTED, "interrupted");
        if (run->options->dry_run && (stage->recipe->pass->flags & PASS_KEEPS_MODEL) != 0) { /* all it does is write its file */
            TRY(graph_clone(run->graphs[i], &run->graphs[i + 1], err));
        } else {
            cost_begin(run);
            Status status = stage_run(&run->stages, i, run->graphs[i], &run->graphs[i + 1], err);
            cost_end(run, i);
            if (status != OK) return status;
        }
        r->steps[i].seconds = stage->seconds;
        r->steps[i].cpu_seconds = stage->cpu_seconds;
        r->cost.seconds += stage->seconds;
        r->cost.cpu_seconds += stage->cpu_seconds;
        TRY(report_step_record(&r->steps[i], &stage->record, err));
        TRY(measure_step(run, i, err));
        if (i > 0 && !run->each_step) {
            graph_free(run->graphs[i]);
            run->graphs[i] = NULL;
        }
    }
    return OK;
}

/* ---- the result ---- */

/* Time and energy as ratios of the pairs to the loaded network, which is 1. */
static GoalNumbers numbers_of(const Run *run, const ReportState *s)
{
    GoalNumbers n = {
        .bytes = s->file_bytes >= 0 ? (double)s->file_bytes : NAN,
        .macs = s->macs.total >= 0 ? (double)s->macs.total : NAN,
        .accuracy = s->accuracy,
    };
    goal_numbers_compared(&n, &run->report->measured, s->compared);
    return n;
}

static int missed_goals(const Run *run, const ReportState *s, GoalResult results[GOAL_COUNT], int *count)
{
    GoalNumbers before = numbers_of(run, &run->report->before), after = numbers_of(run, s);
    int missed = 0;
    *count = goals_judge(&run->recipe->goals, &before, &after, results);
    for (int i = 0; i < *count; i++) missed += results[i].outcome == GOAL_MISSED;
    return missed;
}

/* The pairs of the loaded network (0) and the result (1). */
static Status keep_pairs(Report *r, Err *err)
{
    int index[COMPARE_MOST];
    for (int i = 0; i < COMPARE_MOST; i++) index[i] = i == 0 ? 0 : i == r->after.compared ? 1 : -1;
    cJSON_Delete(r->comparisons);
    r->comparisons = comparison_pairs(&r->measured, index);
    return r->comparisons != NULL ? OK : err_no_memory(err, "the report");
}

/* Times the loaded network, all measured steps and the result (when there is one yet) in turn. */
static Status time_all(Run *run, bool with_result, Err *err)
{
    Report *r = run->report;
    int count = 0;
    ReportState **states = calloc((size_t)run->pass_count + 2, sizeof *states);
    const Model **models = calloc((size_t)run->pass_count + 2, sizeof *models);
    const char **names = calloc((size_t)run->pass_count + 2, sizeof *names);
    Status status = states != NULL && models != NULL && names != NULL ? OK : err_no_memory(err, "the latency measurement");
    if (status == OK) {
        states[count] = &r->before;
        names[count] = "the network as loaded";
        models[count++] = &run->source;
        for (int i = 0; i < run->pass_count; i++) {
            if (run->models[i + 1].graph == NULL) continue;
            states[count] = &r->steps[i].state;
            names[count] = r->steps[i].pass;
            models[count++] = &run->models[i + 1];
        }
        if (with_result) {
            states[count] = &r->after;
            names[count] = "the result";
            models[count++] = &run->result;
        }
        status = states_latency(states, models, names, count, &run->gauge, &r->measured, err);
        if (status == OK && with_result) status = keep_pairs(r, err);
    }
    free(states);
    free(models);
    free(names);
    return status;
}

/* The graph to write: the last one, or with --keep-last-good the last that met all goals (when there is one). */
static Status choose(Run *run, int *chosen, Err *err)
{
    GoalResult results[GOAL_COUNT];
    int count;
    *chosen = run->pass_count;
    if (!run->options->keep_last_good) return OK;
    if (run->measuring && goals_need_latency(&run->recipe->goals)) TRY(time_all(run, false, err));
    for (int i = run->pass_count; i >= 0; i--) {
        const ReportState *s = i > 0 ? &run->report->steps[i - 1].state : &run->report->before;
        if (missed_goals(run, s, results, &count) > 0) continue;
        *chosen = i;
        char *kept = run->report->kept;
        if (i == 0) snprintf(kept, sizeof run->report->kept, "the network as loaded");
        else if (i < run->pass_count) snprintf(kept, sizeof run->report->kept, "pass %d (%s)", i, run->report->steps[i - 1].pass);
        return OK;
    }
    return OK;
}

/* Everything that was read, so that none of it is written over. */
static Status save_to(Run *run, Graph *g, const char *path, Err *err)
{
    const char **inputs = calloc((size_t)run->source.file_count + 2, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "a list of files");
    inputs[0] = run->options->model;
    for (int i = 0; i < run->source.file_count; i++) inputs[i + 1] = run->source.files[i]->path;
    SaveOptions options = { .force = run->options->force, .inputs = inputs, .log = run->options->log };
    Status status = model_save(g, path, &options, err);
    free(inputs);
    return status;
}

/* A network for standard output or a device goes through a temporary place: its numbers come from what was written there. */
static Status copy_out(const Model *m, const char *path, Err *err)
{
    OutFile *out;
    if (m->file_count > 1) return err_set(err, ERR_UNSUPPORTED, "a stream takes one file, and this network needs %d", m->file_count);
    TRY(outfile_open(path, &out, err));
    Status status = OK;
    for (size_t at = 0; status == OK && at < m->file->size; at += (size_t)1 << 20) {
        size_t n = m->file->size - at < (size_t)1 << 20 ? m->file->size - at : (size_t)1 << 20;
        status = outfile_write(out, m->file->data + at, n, err);
        mapping_drop(m->file, m->file->data + at, n);
    }
    if (status == OK) return outfile_commit(out, err);
    outfile_abort(out);
    return status;
}

/* Saves the chosen graph and loads what was written. A network that goes out as it came in is not signed: nothing was done to it. */
static Status write_result(Run *run, int chosen, Err *err)
{
    Graph *final = NULL;
    const RunOptions *o = run->options;
    bool to_stream = o->output != NULL && outfile_is_stream(o->output);
    TRY(graph_clone(run->graphs[chosen], &final, err));
    Status status = chosen > 0 || run->pass_count == 0 ? sign(run, final, err) : OK;
    if (status == OK && to_stream) final->external_data = false;
    if (status == OK && (o->dry_run || to_stream)) status = state_reload(final, o->max_mem, o->log, &run->result, err);
    if (status == OK && to_stream && !o->dry_run) status = copy_out(&run->result, o->output, err);
    if (status == OK && !o->dry_run && !to_stream) {
        status = save_to(run, final, o->output, err);
        if (status == OK) {
            status = model_open(o->output, o->max_mem, &run->result, err);
            if (status != OK) err_prefix(err, "the written network cannot be loaded again");
            if (status == ERR_DATA) err->code = status = ERR_BUG;
        }
    }
    graph_free(final);
    return status;
}

static Status measure_result(Run *run, Err *err)
{
    ReportState *after = &run->report->after;
    bool counted = run->report->before.parameters >= 0;
    run->report->has_after = true;
    if (!counted) {
        TRY(model_hash(&run->result, err));
        after->file_bytes = (int64_t)model_bytes(&run->result);
        memcpy(after->sha256, run->result.hash, HASH_TEXT);
        return OK;
    }
    TRY(state_sizes(after, &run->result, &run->gauge, run->measuring, run->report->arena, err));
    if (!run->measuring) return OK;
    TRY(state_evaluate(after, &run->result, &run->source, &run->gauge, run->report->arena, err));
    after->peak_memory = peak_aside_ask(&run->peaks, run->options->output);
    TRY(time_all(run, true, err));
    if (!run->options->want_report) return OK;
    TRY(layer_times(&run->report->before, &run->source, &run->gauge, run->gauge.inputs, 1, run->report->arena, err));
    TRY(layer_times(after, &run->result, &run->gauge, run->gauge.inputs, 1, run->report->arena, err));
    return after->layer_threads > 0 ? layer_peaks(&run->gauge, after->layer_threads, &run->report->peaks, err) : OK;
}

static Status judge(Run *run, Err *err)
{
    Report *r = run->report;
    if (!goals_any(&run->recipe->goals)) return OK;
    r->goals = calloc(GOAL_COUNT, sizeof *r->goals);
    if (r->goals == NULL) return err_no_memory(err, "the goals");
    int missed = missed_goals(run, &r->after, r->goals, &r->goal_count);
    for (int i = 0; i < r->goal_count && !run->options->dry_run; i++)
        if (r->goals[i].outcome == GOAL_INCONCLUSIVE) goal_warn(&r->goals[i], NULL, run->options->log);
    if (run->options->dry_run || (missed == 0 && r->kept[0] == '\0')) return OK; /* a prediction misses nothing */
    if (r->kept[0] != '\0') {
        return err_set(err, ERR_GOAL, "the last network missed a goal; written was %s, which meets them", r->kept);
    }
    StrBuf names = { 0 };
    for (int i = 0; i < r->goal_count; i++) {
        if (r->goals[i].outcome != GOAL_MISSED) continue;
        if (names.len > 0) strbuf_add(&names, "; ");
        goal_say(&r->goals[i], NULL, &names);
    }
    Status status = names.failed ? err_no_memory(err, "the goals")
        : err_set(err, ERR_GOAL, missed == 1 ? "goal missed: %s" : "goals missed: %s", names.data);
    strbuf_release(&names);
    return status;
}

static void open_peaks(Run *run)
{
    const RunOptions *o = run->options;
    const Recipe *r = run->recipe;
    const PeakSetup setup = { .sections = { r->evaluation, r->calibration }, .folder = r->folder, .threads = o->threads, .plain = o->plain,
                              .int8 = o->int8, .seed = o->has_seed ? o->seed : r->has_seed ? r->seed : 0, .max_mem = o->max_mem };
    if (o->peaks && !o->no_measure && !o->dry_run) peak_aside_open(&run->peaks, &setup);
}

static Status run_all(Run *run, Err *err)
{
    int chosen;
    open_peaks(run); /* before there are threads */
    TRY(run_prepare(run, err));
    if (run->measuring) run->report->before.peak_memory = peak_aside_ask(&run->peaks, run->options->model);
    TRY(cost_open(run, err));
    TRY(run_passes(run, err));
    cost_close(run);
    TRY(choose(run, &chosen, err));
    if (run->options->output != NULL || run->options->dry_run) {
        TRY(write_result(run, chosen, err));
    }
    TRY(stages_commit(&run->stages, err));
    if (run->result.graph != NULL) TRY(measure_result(run, err));
    run->report->cost.peak_memory = peak_memory();
    cost_pays_back(run);
    static const FootprintTexts nothing;
    Footprint plain;
    TRY(footprint_parse(&nothing, &plain, err));
    TRY(footprint_report(run->options->footprint != NULL ? run->options->footprint : &plain, run->report, err));
    return judge(run, err);
}

Status run_recipe(const Recipe *r, const RunOptions *options, Report **out, Err *err)
{
    Run run = { .recipe = r, .options = options, .report = report_new() };
    *out = NULL;
    if (run.report == NULL) return err_no_memory(err, "the report");
    run.report->command = options->command;
    Status status = run_all(&run, err);
    cost_close(&run);
    peak_aside_close(&run.peaks);
    for (int i = 1; run.graphs != NULL && i <= run.pass_count; i++) graph_free(run.graphs[i]);
    for (int i = 0; run.models != NULL && i <= run.pass_count; i++) model_release(&run.models[i]);
    free(run.graphs);
    free(run.models);
    gauge_release(&run.gauge);
    stages_release(&run.stages);
    dataset_free(run.calibration);
    dataset_free(run.evaluation);
    model_release(&run.result);
    model_release(&run.source);
    if (status == OK || status == ERR_GOAL) *out = run.report;
    else report_free(run.report);
    return status;
}
