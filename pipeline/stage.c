#include "pipeline/stage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph/edit.h"
#include "graph/opset.h"

/* The context of one pass; graph, scratch and record are the caller's. */
static PassContext context_of(const Stages *s, Stage *stage, Graph *g, Arena *scratch)
{
    return (PassContext){
        .graph = g,
        .options = stage->recipe->options,
        .pass = stage->recipe->pass,
        .rules = stage->recipe->rules,
        .rule_count = stage->recipe->rule_count,
        .calibration = s->calibration,
        .models = stage->graphs,
        .model_hashes = stage->hashes,
        .model_count = stage->model_count,
        .targets = stage->targets,
        .text = stage->text != NULL ? (Str){ (const char *)stage->text->data, stage->text->size } : (Str){ 0 },
        .text_path = stage->text != NULL ? stage->text->path : NULL,
        .saved = stage->save_path != NULL ? &stage->saved : NULL,
        .record = &stage->record,
        .log = s->options.log,
        .scratch = scratch,
        .seed = s->options.seed,
        .max_mem = s->options.max_mem,
        .threads = s->options.threads,
        .cache_dir = s->options.cache_dir,
    };
}

static Status open_models(Stages *s, Stage *stage, const StrList *list, const char *folder, Err *err)
{
    stage->models = calloc((size_t)list->count + 1, sizeof *stage->models);
    stage->graphs = calloc((size_t)list->count + 1, sizeof *stage->graphs);
    stage->hashes = calloc((size_t)list->count + 1, sizeof *stage->hashes);
    if (stage->models == NULL || stage->graphs == NULL || stage->hashes == NULL) return err_no_memory(err, "the networks of a pass");
    for (int i = 0; i < list->count; i++) {
        char *path = path_join(folder != NULL ? folder : ".", list->items[i]);
        if (path == NULL) return err_no_memory(err, "a path");
        Model *m = &stage->models[i];
        Status status = model_open(folder != NULL ? path : list->items[i], s->options.max_mem, m, err);
        free(path);
        if (status != OK) return status;
        stage->model_count = i + 1;
        TRY(model_hash(m, err));
        stage->graphs[i] = m->graph;
        stage->hashes[i] = m->hash;
    }
    return OK;
}

/* That a file can be written is better known before the work than after. */
static Status check_folder(const char *path, Err *err)
{
    if (outfile_is_stream(path)) return OK;
    char *parent = path_folder(path);
    if (parent == NULL) return err_no_memory(err, "a path");
    Status status = access(parent, W_OK | X_OK) == 0 ? OK : err_set(err, ERR_IO, "%s: cannot write into folder %s: %s", path, parent,
                                                                   strerror(errno));
    free(parent);
    return status;
}

static Status open_targets(Stages *s, Stage *stage, const char *file, const char *folder, Err *err)
{
    if (stage->targets != NULL) return err_set(err, ERR_BUG, "pass '%s' has two options of type file", stage->recipe->pass->name);
    char *path = path_join(folder != NULL ? folder : ".", file);
    if (path == NULL) return err_no_memory(err, "a path");
    const char *where = folder != NULL ? path : file;
    Status status = s->options.dry_run ? check_folder(where, err) : targets_open(where, true, &stage->targets, err);
    if (!s->options.dry_run) stage->target_path = file;
    free(path);
    return status;
}

#define TEXT_MAX_BYTES (16u << 20)

/* Relative to the recipe; malloc'ed. */
static char *file_path(const char *folder, const char *file)
{
    return folder == NULL || outfile_is_stdout(file) ? strdup(file) : path_join(folder, file);
}

static Status open_text(Stage *stage, const char *file, const char *folder, Err *err)
{
    if (stage->text != NULL) return err_set(err, ERR_BUG, "pass '%s' has two options of type text", stage->recipe->pass->name);
    char *path = file_path(folder, file);
    if (path == NULL) return err_no_memory(err, "a path");
    Status status = mapping_open(path, TEXT_MAX_BYTES, &stage->text, err);
    free(path);
    if (status != OK) return status;
    if (stage->text->size > TEXT_MAX_BYTES)
        return err_set(err, ERR_DATA, "%s: %zu bytes; expected at most 16 MB of text", stage->text->path, stage->text->size);
    hash_bytes(stage->text->data, stage->text->size, stage->text_hash);
    return OK;
}

static Status plan_text(Stage *stage, const char *file, const char *folder, Err *err)
{
    if (stage->save_path != NULL) return err_set(err, ERR_BUG, "pass '%s' has two options of type save", stage->recipe->pass->name);
    stage->save_path = file_path(folder, file);
    return stage->save_path != NULL ? check_folder(stage->save_path, err) : err_no_memory(err, "a path");
}

static Status open_options(Stages *s, Stage *stage, const char *folder, Err *err)
{
    for (const Opt *o = stage->recipe->pass->options; o->name != NULL; o++) {
        const void *field = (const char *)stage->recipe->options + o->field;
        const char *file = o->type == OPT_FILE ? *(const char *const *)field : NULL;
        if (o->type == OPT_MODELS) TRY(open_models(s, stage, field, folder, err));
        if (file != NULL) TRY(open_targets(s, stage, file, folder, err));
        const char *text = o->type == OPT_TEXT || o->type == OPT_SAVE ? *(const char *const *)field : NULL;
        if (text != NULL && o->type == OPT_TEXT) TRY(open_text(stage, text, folder, err));
        if (text != NULL && o->type == OPT_SAVE) TRY(plan_text(stage, text, folder, err));
    }
    return OK;
}

static Status check_rules(const PassContext *c, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    if (c->rule_count == 0) return OK;
    TRY(layers_find(c->graph, &layers, &count, err));
    Status status = pass_check_rules(c, layers, count, err);
    free(layers);
    return status;
}

/* Older operators have other meanings (attributes where inputs are now, broadcasting on request) than passes write. */
#define OLDEST_OPSET 7

static Status check_stage(Stages *s, Stage *stage, Graph *g, Err *err)
{
    const Pass *pass = stage->recipe->pass;
    if ((pass->flags & PASS_NEEDS_DATA) != 0 && s->calibration == NULL) {
        return err_set(err, ERR_USAGE, "no calibration data; add \"data\": { \"calibration\": ... } to the recipe, or --data");
    }
    if ((pass->flags & PASS_NEEDS_GRAPH) != 0 && g->order_count == 0) {
        return err_set(err, ERR_UNSUPPORTED, "the file holds weights only, and this pass needs a network with operators");
    }
    int64_t opset = graph_opset(g, STR(""));
    if (g->order_count > 0 && opset > 0 && opset < OLDEST_OPSET) {
        return err_set(err, ERR_UNSUPPORTED, "the network is of opset %lld; passes change networks from opset %d on: export it again, or "
                       "convert it with onnx.version_converter", (long long)opset, OLDEST_OPSET);
    }
    Arena *scratch = arena_new();
    if (scratch == NULL) return err_no_memory(err, "a pass");
    PassContext c = context_of(s, stage, g, scratch);
    Status status = (pass->flags & PASS_CHECKS_RULES) != 0 ? OK : check_rules(&c, err);
    if (status == OK && pass->check != NULL) status = pass->check(&c, err);
    arena_unref(scratch);
    return status;
}

/* "pass 2 (prune): ..." */
static Status name_stage(const Stage *stage, Status status, Err *err)
{
    if (status != OK && status != ERR_INTERRUPTED && err != NULL) {
        err_prefix(err, "pass %d (%s)", stage->index + 1, stage->recipe->pass->name);
    }
    return status;
}

Status stages_prepare(const Recipe *r, const Graph *g, Dataset *calibration, const StageOptions *options, Stages *out, Err *err)
{
    Graph *clone = NULL;
    *out = (Stages){ .options = *options, .calibration = calibration };
    out->items = calloc((size_t)r->pass_count + 1, sizeof *out->items);
    if (out->items == NULL) return err_no_memory(err, "the passes");
    out->count = r->pass_count;
    for (int i = 0; i < r->pass_count; i++) out->items[i] = (Stage){ .recipe = &r->passes[i], .index = i };
    Status status = r->pass_count > 0 ? graph_clone(g, &clone, err) : OK;
    for (int i = 0; status == OK && i < r->pass_count; i++) {
        Stage *stage = &out->items[i];
        status = open_options(out, stage, r->folder, err);
        if (status == OK) status = check_stage(out, stage, clone, err);
        name_stage(stage, status, err);
    }
    graph_free(clone);
    if (status != OK) stages_release(out);
    return status;
}

Status stage_run(Stages *s, int i, const Graph *g, Graph **out, Err *err)
{
    Stage *stage = &s->items[i];
    const Pass *pass = stage->recipe->pass;
    Graph *changed = NULL;
    Arena *scratch = arena_new();
    *out = NULL;
    if (scratch == NULL) return err_no_memory(err, "a pass");
    double wall = clock_seconds(), cpu = cpu_seconds();
    Status status = graph_clone(g, &changed, err);
    if (status == OK) {
        PassContext c = context_of(s, stage, changed, scratch);
        status = pass->run(&c, err);
    }
    progress_end(s->options.log);
    stage->seconds = clock_seconds() - wall;
    stage->cpu_seconds = cpu_seconds() - cpu;
    if (status == OK && stage->record.failed) status = err_no_memory(err, "the record of a pass");
    if (status == OK && stage->saved.failed) status = err_no_memory(err, "the text of a pass");
    if (status == OK && (pass->flags & PASS_KEEPS_MODEL) != 0) {
        graph_free(changed);
        changed = NULL;
        status = graph_clone(g, &changed, err);
    }
    if (status == OK) status = graph_node_names_apart(changed, err);
    if (status == OK) status = opset_settle_ir(changed, err); /* new constants are no inputs, which IR 3 does not know */
    if (status == OK) {
        status = graph_refresh(changed, err);
        if (status == ERR_DATA) { /* the loaded network was sound: what is wrong now came from the pass */
            err->code = status = ERR_BUG;
            err_prefix(err, "the pass left an unsound network");
        }
    }
    arena_unref(scratch);
    if (status == OK) *out = changed;
    else graph_free(changed);
    return name_stage(stage, status, err);
}

static Status save_text(const Stage *stage, Err *err)
{
    OutFile *out = NULL;
    TRY(outfile_open(stage->save_path, &out, err));
    Status status = outfile_write(out, stage->saved.data, stage->saved.len, err);
    if (status == OK) return outfile_commit(out, err);
    outfile_abort(out);
    return status;
}

Status stages_commit(Stages *s, Err *err)
{
    for (int i = 0; i < s->count && !s->options.dry_run; i++)
        if (s->items[i].save_path != NULL) TRY(save_text(&s->items[i], err));
    for (int i = 0; i < s->count; i++) {
        Targets *targets = s->items[i].targets;
        s->items[i].targets = NULL;
        if (targets != NULL) TRY(targets_commit(targets, err));
    }
    return OK;
}

void stages_release(Stages *s)
{
    for (int i = 0; i < s->count; i++) {
        Stage *stage = &s->items[i];
        if (stage->targets != NULL) targets_abort(stage->targets);
        for (int k = 0; k < stage->model_count; k++) model_release(&stage->models[k]);
        free(stage->models);
        free(stage->graphs);
        free(stage->hashes);
        mapping_unref(stage->text);
        free(stage->save_path);
        strbuf_release(&stage->saved);
        record_release(&stage->record);
    }
    free(s->items);
    *s = (Stages){ 0 };
}
