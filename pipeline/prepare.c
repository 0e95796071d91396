#include "pipeline/run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/version.h"

static Status open_data(const cJSON *section, const Run *run, bool evaluation, Dataset **out, Err *err)
{
    DataOptions options = { .folder = run->recipe->folder, .max_mem = run->options->max_mem, .want_labels = evaluation,
                            .labels_if_fit = !evaluation && recipe_uses_labels(run->recipe),
                            .log = run->options->log };
    return section != NULL ? dataset_open_json(section, run->source.graph, &options, out, err) : OK;
}

/* Goals that need numbers which will not be there are refused at once, not missed at the end. */
static Status check_goals(const Run *run, Err *err)
{
    const Goals *g = &run->recipe->goals;
    bool needs = goals_need_accuracy(g) || goals_need_latency(g);
    if (needs && run->options->no_measure) {
        return err_set(err, ERR_USAGE, "goals: accuracy, latency and energy are not known with --no-measure; leave one of them out");
    }
    if (goals_need_accuracy(g) && (run->evaluation == NULL || !dataset_has_labels(run->evaluation))) {
        return err_set(err, ERR_USAGE, "goals: max-accuracy-drop needs evaluation data with labels (\"data\": { \"evaluation\": ... })");
    }
    if (run->options->keep_last_good && !goals_any(g)) {
        return err_set(err, ERR_USAGE, "--keep-last-good has nothing to keep to: the recipe has no goals");
    }
    return OK;
}

static Status check_output(const Run *run, Err *err)
{
    const RunOptions *o = run->options;
    if (o->output == NULL && o->dry_run) return OK;
    if (o->output == NULL) {
        for (int i = 0; i < run->pass_count; i++) {
            if ((run->recipe->passes[i].pass->flags & PASS_KEEPS_MODEL) == 0) {
                return err_set(err, ERR_USAGE, "-o FILE is missing: the network to write (or --dry-run to write nothing)");
            }
        }
        return run->pass_count > 0 ? OK : err_set(err, ERR_USAGE, "-o FILE is missing: the network to write");
    }
    if (outfile_is_stream(o->output)) return OK;
    struct stat info;
    if (stat(o->output, &info) == 0 && S_ISDIR(info.st_mode))
        return err_set(err, ERR_IO, "%s is a folder, expected a file name", o->output);
    char *folder = path_folder(o->output);
    if (folder == NULL) return err_no_memory(err, "a path");
    Status status = access(folder, W_OK | X_OK) == 0 ? OK : err_set(err, ERR_IO, "%s: cannot write into folder %s: %s", o->output, folder,
                                                                   strerror(errno));
    free(folder);
    return status;
}

static const char *data_name(const cJSON *section, Arena *arena)
{
    const cJSON *file = cJSON_IsObject(section) ? cJSON_GetObjectItemCaseSensitive(section, "file") : section;
    return cJSON_IsString(file) ? arena_str(arena, str_of(file->valuestring)).data : NULL;
}

/* A path of the recipe, relative to its folder. */
static const char *recipe_path(const Run *run, const char *file)
{
    char *path = outfile_is_stdout(file) ? strdup(file) : path_join(run->recipe->folder != NULL ? run->recipe->folder : ".", file);
    const char *kept = path != NULL ? arena_str(run->report->arena, str_of(path)).data : NULL;
    free(path);
    return kept;
}

/* ERR_USAGE when `target`, about to be written, is the file `read`; target NULL: when one of the caller's own files is. */
static Status check_apart(const Run *run, const char *target, const char *read, Err *err)
{
    if (target == NULL) return places_apart(run->options->places, "the input", read, err);
    if (read == NULL || !file_same(read, target)) return OK;
    if (read == run->options->model) {
        return err_set(err, ERR_USAGE, "the output '%s' is the input; choose another name, or --force to replace it", target);
    }
    return err_set(err, ERR_USAGE, "the output '%s' is also read; choose another name, or --force to replace it", target);
}

/* `target` against everything that is read: network, data, teachers. */
static Status check_target(const Run *run, const char *target, Err *err)
{
    const Recipe *r = run->recipe;
    const char *data[] = { data_name(r->calibration, r->arena), data_name(r->evaluation, r->arena) };
    const Dataset *sets[] = { run->calibration, run->evaluation };
    TRY(check_apart(run, target, run->options->model, err));
    for (int i = 0; i < run->source.file_count; i++) TRY(check_apart(run, target, run->source.files[i]->path, err));
    for (int i = 0; i < 2; i++) {
        if (data[i] != NULL) TRY(check_apart(run, target, recipe_path(run, data[i]), err));
        if (sets[i] != NULL) TRY(check_apart(run, target, dataset_path(sets[i]), err)); /* what a .json section names */
    }
    for (int i = 0; i < r->pass_count; i++) {
        for (const Opt *o = r->passes[i].pass->options; o->name != NULL; o++) {
            const void *field = (const char *)r->passes[i].options + o->field;
            const char *text = o->type == OPT_TEXT ? *(const char *const *)field : NULL;
            if (text != NULL) TRY(check_apart(run, target, recipe_path(run, text), err));
            if (o->type != OPT_MODELS) continue;
            const StrList *list = field;
            for (int k = 0; k < list->count; k++) TRY(check_apart(run, target, recipe_path(run, list->items[k]), err));
        }
    }
    return OK;
}

/* The file that option `at` of all passes' options writes, counted over all passes; NULL behind the last. *pass: whose it is. */
static const char *written_file(const Run *run, int at, const Pass **pass)
{
    for (int i = 0; i < run->pass_count; i++) {
        const RecipePass *p = &run->recipe->passes[i];
        for (const Opt *o = p->pass->options; o->name != NULL; o++) {
            const void *field = (const char *)p->options + o->field;
            const char *file = o->type == OPT_FILE || o->type == OPT_SAVE ? *(const char *const *)field : NULL;
            if (file == NULL || at-- > 0) continue;
            *pass = p->pass;
            return outfile_is_stdout(file) ? "-" : file;
        }
    }
    return NULL;
}

static bool same_place(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (outfile_is_stdout(a) && outfile_is_stdout(b));
}

/* A file of a pass against the network's and those of the options before it. */
static Status check_once(const Run *run, const char *path, int at, const Pass *pass, Err *err)
{
    const char *output = run->options->output, *other;
    const Pass *by;
    if (output != NULL && same_place(path, output))
        return err_set(err, ERR_USAGE, "'%s' would be written twice: by pass '%s' and as the network", path, pass->name);
    for (int i = 0; i < at && (other = written_file(run, i, &by)) != NULL; i++) {
        other = recipe_path(run, other);
        if (other == NULL) return err_no_memory(err, "a path");
        if (same_place(path, other))
            return err_set(err, ERR_USAGE, "'%s' would be written twice: by pass '%s' and by pass '%s'", path, by->name, pass->name);
    }
    return OK;
}

/* No file that is read is written over, by the network or by what a pass writes, unless --force; none is written twice. A dry run would
 * write none of them, and says of each what the run will. */
static Status check_targets(const Run *run, Err *err)
{
    const RunOptions *o = run->options;
    const Pass *pass;
    const char *file;
    if (o->places != NULL) TRY(check_target(run, NULL, err));
    if (!o->force && o->output != NULL && !outfile_is_stream(o->output)) TRY(check_target(run, o->output, err));
    for (int i = 0; (file = written_file(run, i, &pass)) != NULL; i++) {
        const char *path = recipe_path(run, file);
        if (path == NULL) return err_no_memory(err, "a path");
        if (!o->force && !outfile_is_stream(path)) TRY(check_target(run, path, err));
        TRY(check_once(run, path, i, pass, err));
        if (o->places != NULL) TRY(places_apart(o->places, "a pass's file", path, err));
    }
    return OK;
}

/* NaN in a weight spoils every statistic and every result; better said before an hour of work than after. */
static Status check_weights(const Graph *g, Err *err)
{
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        int64_t index;
        if (value->tensor == NULL || !tensor_has_nan(value->tensor, &index)) continue;
        return err_set(err, ERR_DATA, "weight '%.*s': element %lld is NaN", STR_ARG(value->name), (long long)index);
    }
    return OK;
}

static Status describe_data(Run *run, Err *err)
{
    ReportData *d = &run->report->data;
    d->calibration = data_name(run->recipe->calibration, run->report->arena);
    d->evaluation = data_name(run->recipe->evaluation, run->report->arena);
    d->fidelity = run->gauge.fidelity_name;
    if (run->calibration != NULL) {
        d->calibration_samples = dataset_samples(run->calibration);
        TRY(dataset_hash(run->calibration, d->calibration_sha256, err));
    }
    if (run->evaluation != NULL) {
        d->evaluation_samples = dataset_samples(run->evaluation);
        TRY(dataset_hash(run->evaluation, d->evaluation_sha256, err));
    }
    return OK;
}

static Status describe_run(Run *run, Err *err)
{
    Report *r = run->report;
    const RunOptions *o = run->options;
    r->dry_run = o->dry_run;
    r->source = strdup(o->model);
    r->result = o->output != NULL && !o->dry_run ? strdup(o->output) : NULL;
    r->recipe = cJSON_Duplicate(run->recipe->json, true);
    r->versions = version_json();
    memcpy(r->recipe_sha256, run->recipe->hash, sizeof r->recipe_sha256);
    machine_info(&r->machine);
    r->machine.threads = run->gauge.threads;
    r->kernels = gauge_kernels(o->plain, o->int8);
    r->seed = (int64_t)run->gauge.seed;
    r->steps = calloc((size_t)run->pass_count + 1, sizeof *r->steps);
    if (r->source == NULL || r->recipe == NULL || r->versions == NULL || r->steps == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < run->pass_count; i++) {
        const RecipePass *p = &run->recipe->passes[i];
        const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(run->recipe->json, "passes"), i);
        const cJSON *layers = cJSON_GetObjectItemCaseSensitive(item, "layers");
        ReportStep *s = &r->steps[i];
        r->step_count = i + 1;
        report_state_init(&s->state);
        s->cost_energy_j = (Sourced){ .value = NAN };
        s->window = -1;
        s->pass = p->pass->name;
        memcpy(s->text_sha256, run->stages.items[i].text_hash, sizeof s->text_sha256);
        s->options = recipe_options_json(p);
        s->layers = layers != NULL ? cJSON_Duplicate(layers, true) : NULL;
        if (s->options == NULL || (layers != NULL && s->layers == NULL)) return err_no_memory(err, "the report");
    }
    return OK;
}

Status run_prepare(Run *run, Err *err)
{
    const RunOptions *o = run->options;
    const Recipe *r = run->recipe;
    run->pass_count = r->pass_count;
    TRY(check_output(run, err));
    run->gauge = (Gauge){ .threads = engine_set_threads(o->threads), .plain = o->plain, .int8 = o->int8,
                          .max_mem = o->max_mem, .log = o->log, .seed = o->has_seed ? o->seed : r->has_seed ? r->seed : 0,
                          .measure = { .source = o->source, .budget = o->budget, .rest = o->rest } };
    if (o->footprint != NULL) {
        run->gauge.measure.grid = &o->footprint->grid;
        run->gauge.measure.pue = o->footprint->pue;
        if (o->footprint->embodied.total_kg > 0) run->gauge.measure.embodied = &o->footprint->embodied;
    }
    TRY(model_open(o->model, o->max_mem, &run->source, err));
    TRY(model_hash(&run->source, err));
    if (run->pass_count > 0) TRY(check_weights(run->source.graph, err));
    TRY(open_data(r->calibration, run, false, &run->calibration, err));
    TRY(open_data(r->evaluation, run, true, &run->evaluation, err));
    TRY(check_targets(run, err)); /* before the targets of passes are opened */
    TRY(check_goals(run, err));
    StageOptions options = { .threads = run->gauge.threads, .seed = run->gauge.seed, .max_mem = o->max_mem, .cache_dir = o->cache_dir,
                             .dry_run = o->dry_run, .log = o->log };
    TRY(stages_prepare(r, run->source.graph, run->calibration, &options, &run->stages, err));
    bool asked = run->pass_count > 0 || o->want_report || o->steps || run->evaluation != NULL || goals_any(&r->goals);
    run->measuring = asked && !o->no_measure && !o->dry_run;
    run->each_step = o->steps || o->keep_last_good;
    run->gauge.evaluation = run->evaluation;
    if (asked) TRY(gauge_init(&run->gauge, run->source.graph, run->calibration, err));
    TRY(describe_run(run, err));
    if (asked) TRY(describe_data(run, err));
    run->graphs = calloc((size_t)run->pass_count + 1, sizeof *run->graphs);
    run->models = calloc((size_t)run->pass_count + 1, sizeof *run->models);
    if (run->graphs == NULL || run->models == NULL) return err_no_memory(err, "the passes");
    run->graphs[0] = run->source.graph;
    if (run->measuring) TRY(state_evaluate(&run->report->before, &run->source, NULL, &run->gauge, run->report->arena, err));
    if (!asked) {
        run->report->before.file_bytes = (int64_t)model_bytes(&run->source);
        memcpy(run->report->before.sha256, run->source.hash, HASH_TEXT);
        return OK;
    }
    return state_sizes(&run->report->before, &run->source, &run->gauge, run->measuring, run->report->arena, err);
}
