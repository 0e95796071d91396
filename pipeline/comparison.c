/* Loads networks of any maker, compares their outputs, measures them side by side, judges them. */
#include "pipeline/comparison_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/layer_times.h"
#include "pipeline/peak.h"
#include "pipeline/version.h"

/* ---- what is counted, and how far apart the outputs are ---- */

/* Outputs that are given other inputs are held against those that were kept of the first network: it cannot run on these. */
static bool has_reference(const Contest *c, int i)
{
    ComparisonFile *f = &c->report->files[i];
    if (i == 0 || !side_comparable(c, i)) return false;
    if (!c->sides[i].apart || kept_usable(&c->sides[0].gauge.original)) return true;
    snprintf(f->inputs, sizeof f->inputs, "takes other inputs than %.60s, whose outputs were too many to keep: they are not compared",
             c->report->files[0].name);
    return false;
}

static Status evaluate_side(Contest *c, int i, Err *err)
{
    Side *s = &c->sides[i], *first = &c->sides[0];
    ComparisonFile *f = &c->report->files[i];
    Dataset *data = s->gauge.fidelity;
    Evaluation e = { 0 };
    bool labelled = s->gauge.evaluation != NULL && dataset_has_labels(s->gauge.evaluation), reference = has_reference(c, i);
    bool serves = i == 0 && c->report->file_count > 1; /* others are compared with it */
    if (data == NULL || !(labelled || reference || serves)) return OK;
    EvaluateOptions options = { .threads = c->threads, .plain = c->options->plain, .int8 = c->options->int8, .batch = sides_batch(c),
                                .max_mem = c->options->max_mem, .log = c->options->log };
    if (i == 0) options.keep = &first->gauge.original;
    else if (reference) options.reference_outputs = &first->gauge.original;
    Err why;
    Status status = evaluate(s->model.graph, reference ? first->model.graph : NULL, data, &options, &e, &why);
    if (status != OK && !s->gauge.given && status != ERR_INTERRUPTED && status != ERR_MEMORY) {
        snprintf(f->state.latency_note, sizeof f->state.latency_note, "%.250s", why.text);
        s->unfit = status == ERR_DATA;
        return OK;
    }
    if (status != OK) return err_set(err, status, "%s: %s", f->path, why.text);
    status = report_state_evaluation(&f->state, &e, c->report->arena, err);
    evaluation_release(&e);
    return status;
}

static Status load_side(Contest *c, int i, Err *err)
{
    Side *s = &c->sides[i];
    ComparisonFile *f = &c->report->files[i];
    if (state_sizes(&f->state, &s->model, &s->gauge, true, c->report->arena, err) != OK) return err_prefix(err, "%s", f->path);
    f->bytes_moved = (double)(f->state.weight_bytes + f->state.activation_bytes);
    f->intensity = f->bytes_moved > 0 ? (2.0 * (double)f->state.macs.total + (double)f->state.elementwise) / f->bytes_moved : NAN;
    TRY(evaluate_side(c, i, err));
    if (s->gauge.fidelity == NULL) {
        snprintf(f->state.latency_note, sizeof f->state.latency_note, "%s", s->gauge.note);
    } else if (f->state.latency_note[0] == '\0') {
        SessionOptions options = { .threads = c->threads, .plain = c->options->plain, .int8 = c->options->int8,
                                   .max_mem = c->options->max_mem, .log = c->options->log };
        Err why;
        if (session_new(s->model.graph, &options, &s->session, &why) != OK)
            snprintf(f->state.latency_note, sizeof f->state.latency_note, "%.250s", why.text);
        else TRY(timed_init(&s->timed, s->session, s->model.graph, s->inputs, s->gauge.input_count, err));
    }
    return OK;
}

/* ---- measuring ---- */

static Status measure(Contest *c, Err *err)
{
    ComparisonReport *r = c->report;
    Contestant contestants[COMPARE_MOST];
    int which[COMPARE_MOST], ready = 0;
    CompareOptions options = c->options->measure;
    options.threads = c->threads;
    options.memory_bytes = peak_memory();
    options.log = c->options->log;
    options.grid = &c->options->footprint->grid;
    options.pue = c->options->footprint->pue;
    options.embodied = c->options->footprint->embodied.total_kg > 0 ? &c->options->footprint->embodied : NULL;
    if (c->sides[0].session == NULL) { /* there is nothing to compare the others with */
        snprintf(r->note, sizeof r->note, "%s", r->files[0].state.latency_note);
        return OK;
    }
    for (int i = 0; i < r->file_count; i++) {
        Side *s = &c->sides[i];
        if (s->session == NULL) continue;
        r->files[i].state.compared = ready;
        which[ready] = i;
        contestants[ready++] = timed_contestant(&s->timed, r->files[i].name, s->batch);
    }
    Status status = compare_networks(contestants, ready, &options, &r->measured, err);
    if (status == ERR_DATA && c->options->data == NULL) err_prefix(err, "on random inputs (--data gives others)");
    if (status != OK) return status;
    for (int k = 0; k < ready; k++) {
        ComparisonFile *f = &r->files[which[k]];
        f->measured = r->measured.networks[k];
        report_state_compared(&f->state, &r->measured, k);
    }
    r->comparisons = comparison_pairs(&r->measured, which);
    return r->comparisons != NULL ? OK : err_no_memory(err, "the report");
}

/* Where the time goes in each network that was timed, on the inputs it was timed on, and what the machine can do at most. */
static Status time_layers(Contest *c, Err *err)
{
    ComparisonReport *r = c->report;
    int threads = 0;
    if (!c->options->layers || r->measured.count == 0) return OK;
    for (int i = 0; i < r->file_count; i++) {
        const Side *s = &c->sides[i];
        ReportState *state = &r->files[i].state;
        if (state->compared < 0) continue;
        TRY(layer_times(state, &s->model, &s->gauge, s->inputs, s->batch, r->arena, err));
        if (state->layer_threads > 0) threads = state->layer_threads;
    }
    return threads > 0 ? layer_peaks(&c->sides[0].gauge, threads, &r->peaks, err) : OK;
}

static Status add_carbon(Contest *c, Err *err)
{
    ComparisonReport *r = c->report;
    const Footprint *f = c->options->footprint;
    if (r->measured.count == 0) return OK;
    const Compared *first = &r->measured.networks[0], *last = &r->measured.networks[r->measured.count - 1];
    r->scenarios = calloc((size_t)f->grid_count + 1, sizeof *r->scenarios);
    r->sci = calloc((size_t)r->measured.count, sizeof *r->sci);
    if (r->scenarios == NULL || r->sci == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < r->measured.count; i++) r->sci[r->sci_count++] = r->measured.networks[i].sci;
    for (int i = -1; i < f->grid_count; i++) {
        const GridFactor *g = i < 0 ? &f->grid : &f->grids[i];
        bool again = i >= 0 && strcmp(g->region, f->grid.region) == 0 && g->year == f->grid.year && g->g_per_kwh == f->grid.g_per_kwh;
        double grams = g->g_per_kwh / 3.6e6 * f->pue;
        if (again) continue;
        r->scenarios[r->scenario_count++] = (ComparisonScenario){ *g, first->energy_j.median * grams, last->energy_j.median * grams };
    }
    return OK;
}

/* ---- goals ---- */

static Status check_goals(const Contest *c, Err *err)
{
    const Goals *g = c->options->goals;
    if (g == NULL || !goals_any(g)) return OK;
    if (c->options->count < 2) return err_set(err, ERR_USAGE, "goals compare a network with the first one: give two");
    const Dataset *d = c->sides[0].gauge.evaluation;
    if (goals_need_accuracy(g) && (d == NULL || !dataset_has_labels(d)))
        return err_set(err, ERR_USAGE, "max-accuracy-drop needs --data with labels");
    return OK;
}

/* Ratios of time and energy are those of the pairs, not of two medians. */
static GoalNumbers numbers_of(const ComparisonReport *r, int i)
{
    const ReportState *s = &r->files[i].state;
    GoalNumbers n = { .bytes = s->file_bytes >= 0 ? (double)s->file_bytes : NAN, .macs = s->macs.total >= 0 ? (double)s->macs.total : NAN,
                      .accuracy = s->accuracy };
    goal_numbers_compared(&n, &r->measured, i == 0 ? 0 : s->compared > 0 ? s->compared : -1);
    return n;
}

static Status judge(Contest *c, Err *err)
{
    ComparisonReport *r = c->report;
    const Goals *g = c->options->goals;
    int missed = 0;
    StrBuf names = { 0 };
    if (g == NULL || !goals_any(g)) return OK;
    r->goals = calloc((size_t)r->file_count * GOAL_COUNT, sizeof *r->goals);
    if (r->goals == NULL) return err_no_memory(err, "the goals");
    GoalNumbers before = numbers_of(r, 0);
    for (int i = 1; i < r->file_count; i++) {
        GoalNumbers after = numbers_of(r, i);
        GoalResult results[GOAL_COUNT];
        int count = goals_judge(g, &before, &after, results);
        for (int k = 0; k < count; k++) {
            r->goals[r->goal_count++] = (ComparisonGoal){ i, results[k] };
            if (results[k].outcome == GOAL_INCONCLUSIVE) goal_warn(&results[k], r->files[i].name, c->options->log);
            if (results[k].outcome != GOAL_MISSED) continue;
            if (missed++ > 0) strbuf_add(&names, "; ");
            goal_say(&results[k], r->files[i].name, &names);
        }
    }
    Status status = names.failed ? err_no_memory(err, "the goals") : OK;
    if (status == OK && missed > 0) status = err_set(err, ERR_GOAL, missed == 1 ? "goal missed: %s" : "goals missed: %s", names.data);
    strbuf_release(&names);
    return status;
}

/* ---- the whole ---- */

/* The last part of the path, or all of it where another network's is the same. */
static const char *short_name(const ComparisonOptions *o, int i)
{
    const char *slash = strrchr(o->paths[i], '/'), *name = slash != NULL && slash[1] != '\0' ? slash + 1 : o->paths[i];
    for (int k = 0; k < o->count; k++) {
        const char *other = strrchr(o->paths[k], '/');
        if (k != i && strcmp(other != NULL && other[1] != '\0' ? other + 1 : o->paths[k], name) == 0) return o->paths[i];
    }
    return name;
}

static Status describe(Contest *c, Err *err)
{
    const ComparisonOptions *o = c->options;
    ComparisonReport *r = c->report;
    time_t now = time(NULL);
    struct tm utc;
    r->format = 1;
    r->command = o->command;
    r->convention = counts_convention;
    r->kernels = gauge_kernels(o->plain, o->int8);
    r->versions = version_json();
    r->arena = arena_new();
    r->files = calloc(COMPARE_MOST, sizeof *r->files);
    r->data.calibration_samples = r->data.evaluation_samples = -1;
    r->seed = (int64_t)o->measure.seed;
    if (gmtime_r(&now, &utc) != NULL) strftime(r->created, sizeof r->created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (r->arena == NULL || r->files == NULL || r->versions == NULL) return err_no_memory(err, "the report");
    machine_info(&r->machine);
    for (int i = 0; i < o->count; i++) {
        ComparisonFile *f = &r->files[i];
        r->file_count = i + 1;
        report_state_init(&f->state);
        f->bytes_moved = f->intensity = NAN;
        f->path = arena_str(r->arena, str_of(o->paths[i])).data;
        f->name = arena_str(r->arena, str_of(short_name(o, i))).data;
        if (f->path == NULL || f->name == NULL) return err_no_memory(err, "the report");
        compared_init(&f->measured);
    }
    return OK;
}

static Status describe_data(Contest *c, Err *err)
{
    ReportData *d = &c->report->data;
    const Side *s = &c->sides[0];
    d->fidelity = s->gauge.fidelity_name;
    c->report->batch = s->batch;
    if (s->gauge.evaluation == NULL) return OK;
    d->evaluation = c->options->data;
    d->evaluation_samples = dataset_samples(s->gauge.evaluation);
    return dataset_hash(s->gauge.evaluation, d->evaluation_sha256, err);
}

/* All can be read, before the first of them is run. */
static Status check_files(const ComparisonOptions *o, Err *err)
{
    for (int i = 0; i < o->count; i++)
        if (access(o->paths[i], R_OK) != 0) return err_set(err, ERR_IO, "%s: %s", o->paths[i], strerror(errno));
    return o->data == NULL || access(o->data, R_OK) == 0 ? OK : err_set(err, ERR_IO, "%s: %s", o->data, strerror(errno));
}

/* Networks that could not be run on the first one's inputs, or whose outputs do not fit its own, are said whatever the verbosity. Where
 * that leaves none to compare with, the comparison has failed before anything is measured. */
static Status check_compared(const Contest *c, Err *err)
{
    const ComparisonReport *r = c->report;
    int left_out = 0, unfit = -1;
    if (r->file_count < 2) return OK;
    for (int i = 0; i < r->file_count; i++) {
        if (c->sides[i].session != NULL || r->files[i].state.latency_note[0] == '\0') continue;
        left_out += i > 0;
        if (unfit < 0 && c->sides[i].unfit) unfit = i;
    }
    if (unfit >= 0 && left_out == r->file_count - 1)
        return err_set(err, ERR_DATA, "nothing could be compared with %s: %s: %s", r->files[0].path, r->files[unfit].path,
                       r->files[unfit].state.latency_note);
    for (int i = 0; i < r->file_count; i++) {
        const ReportState *s = &r->files[i].state;
        if (c->sides[i].session == NULL && s->latency_note[0] != '\0')
            log_warn(c->options->log, "%s is not compared: %s", r->files[i].path, s->latency_note);
    }
    return OK;
}

static Status run(Contest *c, Err *err)
{
    const ComparisonOptions *o = c->options;
    if (o->count < 1 || o->count > COMPARE_MOST)
        return err_set(err, ERR_USAGE, "%d networks to compare, expected 1 to %d", o->count, COMPARE_MOST);
    TRY(describe(c, err));
    c->sides = calloc(COMPARE_MOST, sizeof *c->sides);
    if (c->sides == NULL) return err_no_memory(err, "the networks");
    TRY(check_files(o, err));
    const PeakSetup setup = { .data = o->data, .threads = o->threads, .plain = o->plain, .int8 = o->int8, .seed = o->measure.seed,
                              .max_mem = o->max_mem };
    for (int i = 0; i < o->count && !o->no_fork; i++) c->report->files[i].state.peak_memory = peak_of(o->paths[i], &setup);
    c->threads = c->report->machine.threads = engine_set_threads(o->threads); /* after the forks */
    TRY(sides_open(c, err));
    TRY(check_goals(c, err));
    for (int i = 0; i < o->count; i++) TRY(load_side(c, i, err));
    TRY(check_compared(c, err));
    TRY(describe_data(c, err));
    TRY(measure(c, err));
    TRY(time_layers(c, err));
    TRY(add_carbon(c, err));
    return judge(c, err);
}

Status compare_files(const ComparisonOptions *options, ComparisonReport **out, Err *err)
{
    Contest c = { .options = options, .report = calloc(1, sizeof *c.report) };
    *out = NULL;
    if (c.report == NULL) return err_no_memory(err, "the report");
    Status status = run(&c, err);
    bool whole = status == OK || status == ERR_GOAL; /* the report stands, whatever it says */
    for (int i = 0; c.sides != NULL && i < options->count; i++) side_release(&c.sides[i]);
    free(c.sides);
    if (whole) *out = c.report;
    else comparison_report_free(c.report);
    return status;
}

void comparison_report_free(ComparisonReport *r)
{
    if (r == NULL) return;
    for (int i = 0; i < r->file_count; i++) {
        free(r->files[i].state.fidelity);
        free(r->files[i].state.by_layer);
    }
    free(r->files);
    free(r->goals);
    free(r->scenarios);
    free(r->sci);
    cJSON_Delete(r->comparisons);
    cJSON_Delete(r->peaks);
    cJSON_Delete(r->versions);
    comparison_release(&r->measured);
    arena_unref(r->arena);
    free(r);
}
