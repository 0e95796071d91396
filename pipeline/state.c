#include "pipeline/state.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANDOM_SAMPLES 16

/* Random inputs stand in where no data was given. A network they do not fit is measured without: the note says why. */
static Status random_inputs(Gauge *q, const Graph *g, const ValueId *feeds, Err *err)
{
    for (int i = 0; i < q->input_count; i++) {
        const Value *feed = graph_value(g, feeds[i]);
        if (feed->shape.rank >= 0) continue;
        int length = feed->name.len < 150 ? (int)feed->name.len : 150;
        snprintf(q->note, sizeof q->note, "input '%.*s' has no shape; give data to measure with", length, feed->name.data);
        return OK;
    }
    Shape *shapes = calloc((size_t)q->input_count + 1, sizeof *shapes);
    if (shapes == NULL) return err_no_memory(err, "input shapes");
    Status status = counts_shapes(g, 1, shapes, err);
    Err why;
    if (status != OK) {
        free(shapes);
        return status;
    }
    status = dataset_random(g, shapes, q->samples > RANDOM_SAMPLES ? q->samples : RANDOM_SAMPLES, q->seed, &q->random, &why);
    free(shapes);
    if (status == ERR_MEMORY) return err_set(err, status, "%s", why.text);
    if (status != OK) {
        snprintf(q->note, sizeof q->note, "no random inputs: %.200s", why.text);
        return OK;
    }
    q->fidelity = q->random;
    q->fidelity_name = "random inputs (seeded, standard normal)";
    return OK;
}

Status gauge_init(Gauge *q, const Graph *g, Dataset *calibration, Err *err)
{
    ValueId none[1];
    q->input_count = graph_feeds(g, none, 0);
    ValueId *feeds = calloc((size_t)q->input_count + 1, sizeof *feeds);
    q->inputs = calloc((size_t)q->input_count + 1, sizeof *q->inputs);
    Status status = OK;
    if (feeds == NULL || q->inputs == NULL) {
        status = err_no_memory(err, "the inputs");
        goto out;
    }
    graph_feeds(g, feeds, q->input_count);
    q->given = q->evaluation != NULL || calibration != NULL;
    if (q->evaluation != NULL) {
        q->fidelity = q->evaluation;
        q->fidelity_name = "evaluation data";
    } else if (calibration != NULL) {
        q->fidelity = calibration;
        q->fidelity_name = "calibration data";
    } else if (g->order_count > 0) {
        TRY_OUT(random_inputs(q, g, feeds, err));
    } else {
        snprintf(q->note, sizeof q->note, "the file holds weights only");
    }
    if (q->fidelity != NULL) {
        int64_t batch = dataset_batched(q->fidelity) ? dataset_batch(q->fidelity, 1) : dataset_samples(q->fidelity);
        status = dataset_read(q->fidelity, 0, batch, q->inputs, NULL, err);
    }
out:
    free(feeds);
    return status;
}

const char *gauge_kernels(bool plain, Int8Use int8)
{
    return plain ? "plain" : int8 == INT8_AUTO ? "all, int8 where it is faster" : "all";
}

void gauge_release(Gauge *q)
{
    for (int i = 0; q->inputs != NULL && i < q->input_count; i++) tensor_release(&q->inputs[i]);
    free(q->inputs);
    dataset_free(q->random);
    kept_release(&q->original);
    *q = (Gauge){ 0 };
}

/* Removes a folder of ours with the files in it. */
static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(dir), e->d_name, 0);
    }
    if (dir != NULL) closedir(dir);
    rmdir(folder);
}

Status state_reload(Graph *g, uint64_t max_mem, Log *log, Model *out, Err *err)
{
    *out = (Model){ 0 };
    char *folder = temp_template();
    if (folder == NULL) return err_no_memory(err, "a path");
    if (mkdtemp(folder) == NULL) {
        Status status = err_set(err, ERR_IO, "temporary folder %s: %s", folder, strerror(errno));
        free(folder);
        return status;
    }
    char *path = path_join(folder, "model");
    SaveOptions save = { .log = log };
    Status status = path != NULL ? model_save(g, path, &save, err) : err_no_memory(err, "a path");
    if (status == OK) {
        status = model_open(path, max_mem, out, err);
        if (status != OK) err_prefix(err, "the saved network cannot be loaded again");
        if (status == ERR_DATA) err->code = status = ERR_BUG;
    }
    remove_folder(folder); /* the mappings keep what they need */
    free(path);
    free(folder);
    return status;
}

/* Whether an input has a dimension that the file does not fix, besides the first, which is the batch. */
static bool has_open(const Graph *g)
{
    for (int i = 0; i < g->input_count; i++) {
        const Value *v = graph_value(g, g->inputs[i]);
        for (int d = 1; d < v->shape.rank; d++)
            if (v->tensor == NULL && v->shape.dims[d] < 0) return true;
    }
    return false;
}

Status state_counts(ReportState *s, const Graph *g, const Gauge *q, Arena *arena, Err *err)
{
    Counts counts;
    Shape *shapes = NULL; /* the user's; random inputs are made for those that counts take by themselves */
    if (q->given && q->fidelity != NULL && q->input_count > 0) {
        shapes = calloc((size_t)q->input_count, sizeof *shapes);
        if (shapes == NULL) return err_no_memory(err, "input shapes");
        for (int i = 0; i < q->input_count; i++) shapes[i] = q->inputs[i].shape;
    }
    Status status = counts_of(g, shapes, &counts, err);
    free(shapes);
    if (status != OK) return status;
    report_state_counts(s, &counts);
    if (q->given && has_open(g)) snprintf(s->counted_at, sizeof s->counted_at, "unknown dimensions are those of the %s", q->fidelity_name);
    if (arena != NULL) status = report_state_layers(s, &counts, arena, err);
    counts_release(&counts);
    return status;
}

Status state_sizes(ReportState *s, Model *m, const Gauge *q, bool deflate, Arena *arena, Err *err)
{
    if (m->hash[0] == '\0') TRY(model_hash(m, err));
    memcpy(s->sha256, m->hash, sizeof s->sha256);
    s->file_bytes = (int64_t)model_bytes(m);
    if (deflate) TRY(model_deflated_bytes(m, q->log, &s->deflated_bytes, err));
    return state_counts(s, m->graph, q, arena, err);
}

Status state_evaluate(ReportState *s, const Model *m, const Model *reference, Gauge *q, Arena *arena, Err *err)
{
    Dataset *scored = q->evaluation; /* by its labels, before and after */
    if (scored == NULL && q->given && q->fidelity != NULL && dataset_has_labels(q->fidelity)) scored = q->fidelity;
    Dataset *data = reference != NULL ? q->fidelity : scored;
    Evaluation e = { 0 };
    if (data == NULL) return OK;
    EvaluateOptions options = { .threads = q->threads, .plain = q->plain, .int8 = q->int8, .max_mem = q->max_mem, .log = q->log };
    if (reference == NULL) options.keep = &q->original;
    else if (data == scored) options.reference_outputs = &q->original;
    Err why;
    Status status = evaluate(m->graph, reference != NULL ? reference->graph : NULL, data, &options, &e, &why);
    if (status != OK && !q->given && status != ERR_INTERRUPTED && status != ERR_MEMORY) {
        snprintf(s->latency_note, sizeof s->latency_note, "%.250s", why.text); /* our inputs, not the user's: a note, no failure */
        return OK;
    }
    if (status != OK) return err_set(err, status, "%s", why.text);
    status = report_state_evaluation(s, &e, arena, err);
    evaluation_release(&e);
    return status;
}
