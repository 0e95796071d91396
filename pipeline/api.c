/* The public interface: handles around what the program itself uses. */
#include "include/pare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "graph/edit.h"
#include "pipeline/inspect.h"
#include "pipeline/report.h"
#include "pipeline/stage.h"

struct PareModel {
    Model model;    /* files it came from; empty for a result of passes */
    Graph *graph;   /* model.graph, or the result's own */
    uint64_t max_mem;
};

struct PareOutputs {
    PareArray *arrays;
    Tensor *tensors;
    char **names;
    int count;
};

_Static_assert(MAX_RANK == 16, "PareArray holds 16 dimensions");
_Static_assert(sizeof((PareError *)0)->text == sizeof((Err *)0)->text, "messages are copied whole");

static int fail(Status status, const Err *err, PareError *error)
{
    if (error != NULL) {
        error->code = (int)status;
        memcpy(error->text, status != OK ? err->text : "", status != OK ? sizeof error->text : 1);
    }
    return (int)status;
}

const char *pare_version(void)
{
    return PARE_VERSION;
}

const char *pare_code_text(int code)
{
    return status_text((Status)code);
}

int pare_model_load(const char *path, uint64_t max_mem, PareModel **model, PareError *error)
{
    Err err;
    *model = NULL;
    PareModel *m = calloc(1, sizeof *m);
    Status status = m != NULL ? model_open(path, max_mem, &m->model, &err) : err_no_memory(&err, "a model");
    if (status != OK) {
        free(m);
        return fail(status, &err, error);
    }
    m->graph = m->model.graph;
    m->max_mem = max_mem;
    *model = m;
    return fail(OK, NULL, error);
}

int pare_model_save(PareModel *model, const char *path, PareError *error)
{
    Err err;
    return fail(model_save(model->graph, path, NULL, &err), &err, error);
}

void pare_model_free(PareModel *model)
{
    if (model == NULL) return;
    if (model->graph != model->model.graph) graph_free(model->graph);
    model_release(&model->model);
    free(model);
}

int pare_model_inspect(const PareModel *model, char **json, PareError *error)
{
    Err err;
    Inspection inspection;
    Model view = model->model;
    *json = NULL;
    view.graph = model->graph;
    Status status = inspect_model(&view, "", NULL, &inspection, &err);
    if (status == OK) {
        cJSON *tree = inspection_json(&inspection);
        *json = tree != NULL ? cJSON_Print(tree) : NULL;
        if (*json == NULL) status = err_no_memory(&err, "the JSON text");
        cJSON_Delete(tree);
        inspection_release(&inspection);
    }
    return fail(status, &err, error);
}

/* Takes the stages' records apart into a JSON array. */
static Status passes_report(Stages *stages, const Recipe *recipe, char **text, Err *err)
{
    Report *r = report_new();
    if (r == NULL || (r->steps = calloc((size_t)stages->count + 1, sizeof *r->steps)) == NULL) {
        report_free(r);
        return err_no_memory(err, "the report");
    }
    Status status = OK;
    for (int i = 0; status == OK && i < stages->count; i++) {
        ReportStep *s = &r->steps[i];
        report_state_init(&s->state);
        s->cost_energy_j = (Sourced){ .value = NAN };
        s->window = -1;
        r->step_count = i + 1;
        s->pass = recipe->passes[i].pass->name;
        s->options = recipe_options_json(&recipe->passes[i]);
        s->seconds = stages->items[i].seconds;
        s->cpu_seconds = stages->items[i].cpu_seconds;
        status = report_step_record(s, &stages->items[i].record, err);
    }
    cJSON *tree = status == OK ? report_json(r) : NULL;
    cJSON *steps = cJSON_GetObjectItemCaseSensitive(tree, "steps");
    if (status == OK) *text = steps != NULL ? cJSON_Print(steps) : NULL;
    if (status == OK && *text == NULL) status = err_no_memory(err, "the report");
    cJSON_Delete(tree);
    report_free(r);
    return status;
}

/* Passes in order; *out is the last one's graph. */
static Status run_stages(Stages *stages, const Graph *from, Graph **out, Err *err)
{
    Graph *now = NULL;
    Status status = graph_clone(from, &now, err);
    for (int i = 0; status == OK && i < stages->count; i++) {
        Graph *next = NULL;
        status = stage_run(stages, i, now, &next, err);
        graph_free(now);
        now = next;
    }
    if (status == OK) status = stages_commit(stages, err);
    if (status == OK) *out = now;
    else graph_free(now);
    return status;
}

int pare_model_run_recipe(const PareModel *model, const char *recipe_text, const char *folder, int threads, PareModel **result,
                          char **report, PareError *error)
{
    Err err;
    Status status;
    Recipe *recipe = NULL;
    Dataset *calibration = NULL;
    Stages stages = { 0 };
    *result = NULL;
    if (report != NULL) *report = NULL;
    PareModel *m = calloc(1, sizeof *m);
    if (m == NULL) return fail(err_no_memory(&err, "a model"), &err, error);
    m->max_mem = model->max_mem;
    TRY_OUT(recipe_parse(recipe_text, strlen(recipe_text), "recipe", folder, &recipe, &err));
    DataOptions data = { .folder = folder, .max_mem = model->max_mem, .labels_if_fit = recipe_uses_labels(recipe) };
    if (recipe->calibration != NULL) TRY_OUT(dataset_open_json(recipe->calibration, model->graph, &data, &calibration, &err));
    StageOptions options = { .threads = engine_set_threads(threads), .seed = recipe->seed, .max_mem = model->max_mem };
    TRY_OUT(stages_prepare(recipe, model->graph, calibration, &options, &stages, &err));
    TRY_OUT(run_stages(&stages, model->graph, &m->graph, &err));
    TRY_OUT(graph_set_metadata(m->graph, "pare.version", PARE_VERSION, &err));
    TRY_OUT(graph_set_metadata(m->graph, "pare.recipe_sha256", recipe->hash, &err));
    if (report != NULL) status = passes_report(&stages, recipe, report, &err);
out:
    stages_release(&stages);
    dataset_free(calibration);
    recipe_free(recipe);
    if (status == OK) *result = m;
    else pare_model_free(m);
    return fail(status, &err, error);
}

/* The caller's array as a borrowed tensor; ERR_DATA names what does not fit together. */
static Status borrow(const PareArray *a, Tensor *t, Err *err)
{
    int64_t count;
    size_t bytes;
    if (a->rank < 0 || a->rank > MAX_RANK) return err_set(err, ERR_DATA, "input '%s': rank %d, expected 0 to 16", a->name, a->rank);
    *t = (Tensor){ .type = (DType)a->type, .shape = shape_of(a->rank, a->dims), .data = (uint8_t *)(uintptr_t)a->data, .bytes = a->bytes };
    if (!shape_known(&t->shape) || !shape_count(&t->shape, &count) || a->type <= DT_NONE || a->type >= DT_COUNT ||
        dtype_bits(t->type) == 0 || !dtype_bytes(t->type, count, &bytes)) {
        return err_set(err, ERR_DATA, "input '%s': not a dense array of a known type", a->name);
    }
    if (bytes != a->bytes) return err_set(err, ERR_DATA, "input '%s': %zu bytes, expected %zu", a->name, a->bytes, bytes);
    return OK;
}

static Status gather_inputs(const Graph *g, const PareArray *arrays, int count, Tensor *inputs, ValueId *feeds, int feed_count, Err *err)
{
    for (int i = 0; i < feed_count; i++) {
        Str name = graph_value(g, feeds[i])->name;
        const PareArray *found = NULL;
        for (int k = 0; k < count; k++) {
            if (arrays[k].name != NULL && str_is(name, arrays[k].name)) found = &arrays[k];
        }
        if (found == NULL) return err_set(err, ERR_DATA, "no array for input '%.*s'", STR_ARG(name));
        TRY(borrow(found, &inputs[i], err));
    }
    return OK;
}

static Status keep_outputs(const Graph *g, Tensor *tensors, PareOutputs *out, Err *err)
{
    out->arrays = calloc((size_t)out->count + 1, sizeof *out->arrays);
    out->names = calloc((size_t)out->count + 1, sizeof *out->names);
    if (out->arrays == NULL || out->names == NULL) return err_no_memory(err, "the outputs");
    for (int i = 0; i < out->count; i++) {
        Str name = graph_value(g, g->outputs[i])->name;
        const Tensor *t = &tensors[i];
        out->names[i] = strndup(name.data, name.len);
        if (out->names[i] == NULL) return err_no_memory(err, "the outputs");
        out->arrays[i] = (PareArray){ .name = out->names[i], .type = (int)t->type, .rank = t->shape.rank, .data = t->data,
                                      .bytes = t->bytes };
        memcpy(out->arrays[i].dims, t->shape.dims, sizeof out->arrays[i].dims);
    }
    return OK;
}

int pare_model_infer(const PareModel *model, const PareArray *arrays, int count, int threads, PareOutputs **outputs, PareError *error)
{
    Err err;
    Status status;
    ValueId none[1];
    Session *session = NULL;
    int feed_count = graph_feeds(model->graph, none, 0);
    PareOutputs *o = calloc(1, sizeof *o);
    Tensor *inputs = calloc((size_t)feed_count + 1, sizeof *inputs);
    ValueId *feeds = calloc((size_t)feed_count + 1, sizeof *feeds);
    *outputs = NULL;
    if (o == NULL || inputs == NULL || feeds == NULL) {
        status = err_no_memory(&err, "the inputs");
        goto out;
    }
    o->tensors = calloc((size_t)model->graph->output_count + 1, sizeof *o->tensors);
    if (o->tensors == NULL) {
        status = err_no_memory(&err, "the outputs");
        goto out;
    }
    o->count = model->graph->output_count;
    graph_feeds(model->graph, feeds, feed_count);
    TRY_OUT(gather_inputs(model->graph, arrays, count, inputs, feeds, feed_count, &err));
    SessionOptions options = { .threads = engine_set_threads(threads), .max_mem = model->max_mem };
    TRY_OUT(session_new(model->graph, &options, &session, &err));
    TRY_OUT(session_run(session, inputs, o->tensors, &err));
    status = keep_outputs(model->graph, o->tensors, o, &err);
out:
    session_free(session);
    free(inputs);
    free(feeds);
    if (status == OK) *outputs = o;
    else pare_outputs_free(o);
    return fail(status, &err, error);
}

int pare_outputs_count(const PareOutputs *outputs)
{
    return outputs->count;
}

const PareArray *pare_outputs_get(const PareOutputs *outputs, int index)
{
    return index >= 0 && index < outputs->count ? &outputs->arrays[index] : NULL;
}

void pare_outputs_free(PareOutputs *outputs)
{
    if (outputs == NULL) return;
    for (int i = 0; i < outputs->count; i++) {
        if (outputs->names != NULL) free(outputs->names[i]);
        tensor_release(&outputs->tensors[i]);
    }
    free(outputs->names);
    free(outputs->tensors);
    free(outputs->arrays);
    free(outputs);
}

void pare_text_free(char *text)
{
    cJSON_free(text);
}
