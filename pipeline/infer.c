#include "pipeline/infer.h"

#include <stdlib.h>
#include <string.h>

#include "formats/npz.h"

typedef struct Infer {
    const Graph *graph;
    Session *session;
    Dataset *data;
    NpzWriter *writer;
    Tensor *inputs, *outputs;
    int input_count, output_count;
    int *handles;   /* one array per output; -1: not yet declared */
    Shape *shapes;  /* of the first batch */
} Infer;

static Status output_name(const Infer *r, int i, char *name, size_t size, Err *err)
{
    Str s = graph_value(r->graph, r->graph->outputs[i])->name;
    if (s.len >= size || memchr(s.data, '\0', s.len) != NULL) {
        return err_set(err, ERR_UNSUPPORTED, "output %d: its name of %zu bytes cannot be the name of an array", i, s.len);
    }
    memcpy(name, s.data, s.len);
    name[s.len] = '\0';
    return OK;
}

static Status append(Infer *r, int i, Err *err)
{
    const Tensor *t = &r->outputs[i];
    char name[512], was[512], is[512];
    TRY(output_name(r, i, name, sizeof name, err));
    if (r->handles[i] < 0) {
        r->shapes[i] = t->shape;
        TRY(npz_writer_array(r->writer, name, t->type, &t->shape, &r->handles[i], err));
    }
    Shape row = t->shape;
    if (row.rank > 0) row.dims[0] = r->shapes[i].rank > 0 ? r->shapes[i].dims[0] : 0;
    if (!shape_eq(&row, &r->shapes[i])) {
        shape_print(&r->shapes[i], was, sizeof was);
        shape_print(&t->shape, is, sizeof is);
        return err_set(err, ERR_DATA, "output '%s' has shape %s after batches of %s; %s", name, is, was,
                       dataset_varies(r->data) ? "run the files one by one: an array has one shape"
                                               : "run all samples in one batch or one by one (--batch)");
    }
    return npz_writer_rows(r->writer, r->handles[i], t->data, t->shape.rank > 0 ? t->shape.dims[0] : 1, err);
}

static Status run_batch(Infer *r, int64_t first, int64_t count, bool alone, Err *err)
{
    Status status = dataset_read(r->data, first, count, r->inputs, NULL, err);
    if (status == OK) status = session_run(r->session, r->inputs, r->outputs, err);
    for (int i = 0; status == OK && i < r->output_count; i++) {
        char name[512];
        if (alone) {
            status = output_name(r, i, name, sizeof name, err);
            if (status == OK) status = npz_writer_tensor(r->writer, name, &r->outputs[i], err);
        } else {
            if (r->outputs[i].shape.rank == 0 && r->handles[i] >= 0) {
                status = err_set(err, ERR_DATA, "output %d is one number for the whole batch; run all samples in one batch (--batch)", i);
            }
            if (status == OK) status = append(r, i, err);
        }
    }
    for (int i = 0; i < r->input_count; i++) tensor_release(&r->inputs[i]);
    for (int i = 0; i < r->output_count; i++) tensor_release(&r->outputs[i]);
    return status;
}

static Status run_all(Infer *r, const InferOptions *options, Err *err)
{
    int64_t samples = dataset_samples(r->data), batch = dataset_batch(r->data, options->batch);
    if (!dataset_batched(r->data)) batch = samples;
    if (batch < 1) batch = 1;
    Status status = OK;
    progress_begin(options->log, "inference", samples);
    for (int64_t first = 0; status == OK && first < samples; first += batch) {
        int64_t count = samples - first < batch ? samples - first : batch;
        status = run_batch(r, first, count, batch >= samples, err);
        if (status == OK && !progress_step(options->log, first + count)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    progress_end(options->log);
    return status;
}

Status infer_to_file(const Graph *g, Dataset *data, const char *path, const InferOptions *options, Err *err)
{
    Status status;
    ValueId none[1];
    Infer r = { .graph = g, .data = data, .input_count = graph_feeds(g, none, 0), .output_count = g->output_count };
    r.inputs = calloc((size_t)r.input_count + 1, sizeof *r.inputs);
    r.outputs = calloc((size_t)r.output_count + 1, sizeof *r.outputs);
    r.handles = malloc(((size_t)r.output_count + 1) * sizeof *r.handles);
    r.shapes = calloc((size_t)r.output_count + 1, sizeof *r.shapes);
    if (r.inputs == NULL || r.outputs == NULL || r.handles == NULL || r.shapes == NULL) {
        status = err_no_memory(err, "the outputs");
        goto out;
    }
    for (int i = 0; i < r.output_count; i++) r.handles[i] = -1;
    SessionOptions session = options->session;
    session.log = options->log;
    TRY_OUT(session_new(g, &session, &r.session, err));
    TRY_OUT(npz_writer_open(path, false, &r.writer, err));
    TRY_OUT(run_all(&r, options, err));
    NpzWriter *writer = r.writer;
    r.writer = NULL;
    status = npz_writer_commit(writer, err);
out:
    if (r.writer != NULL) npz_writer_abort(r.writer);
    session_free(r.session);
    free(r.inputs);
    free(r.outputs);
    free(r.handles);
    free(r.shapes);
    return status;
}
