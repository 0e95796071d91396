#include "quantize/accuracy.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "stats/scores.h"

#define BATCH 32
#define NO_CLASS (-1)

/* Samples that go through in one call, and what is expected of them. */
typedef struct Chunk {
    int64_t first, count;
    int64_t *expected; /* [positions]: NO_CLASS where the label is one to ignore */
    int64_t positions;
} Chunk;

struct Accuracy {
    Dataset *data;
    Chunk *chunks;
    int count, feeds, outputs, class_axis;
    size_t capacity;
    bool labelled;
    int64_t positions, correct; /* correct: of the original; without labels all */
    int threads;
    uint64_t max_mem;
    Log *log;
    double *row;
    size_t row_capacity;
};

/* ---- which samples ---- */

static Status add_chunk(Accuracy *a, int64_t first, int64_t count, Err *err)
{
    if (!array_grow((void **)&a->chunks, &a->capacity, (size_t)a->count + 1, sizeof *a->chunks)) return err_no_memory(err, "samples");
    a->chunks[a->count++] = (Chunk){ .first = first, .count = count };
    return OK;
}

/* [from, end) in calls of at most `batch`; what is left over goes through by itself where the network does not fix the batch. */
static Status add_run(Accuracy *a, int64_t from, int64_t end, int64_t batch, Err *err)
{
    for (; from < end; from += batch) TRY(add_chunk(a, from, end - from < batch ? end - from : batch, err));
    return OK;
}

/* The runs between the samples that a trial of `apart` looks at (quantize/trial.c: the middle ones of as many equal parts). */
static Status add_between(Accuracy *a, int64_t from, int64_t end, int64_t apart, int64_t batch, Err *err)
{
    int64_t all = dataset_samples(a->data);
    for (int64_t i = 0; i < apart && from < end; i++) {
        int64_t taken = (int64_t)(((double)i + 0.5) * (double)all / (double)apart);
        if (taken < from) continue;
        TRY(add_run(a, from, taken < end ? taken : end, batch, err));
        from = taken + 1;
    }
    return add_run(a, from, end, batch, err);
}

static Status choose_samples(Accuracy *a, int64_t samples, int64_t apart, Err *err)
{
    int64_t all = dataset_samples(a->data), batch = dataset_batch(a->data, BATCH);
    if (!dataset_batched(a->data)) return add_chunk(a, 0, 1, err);
    if (all < 1 || batch < 1) return err_set(err, ERR_DATA, "calibration data: no samples");
    if (dataset_varies(a->data)) batch = 1;
    if (samples <= 0 || samples > all) samples = all;
    int64_t from = all >= 2 * samples ? samples : 0;
    if (dataset_batch(a->data, 1) > 1) { /* fixed by the network */
        from = from / batch * batch;
        samples = samples < batch ? batch : samples / batch * batch;
        return add_run(a, from, from + samples < all ? from + samples : all / batch * batch, batch, err);
    }
    if (apart >= all / 2) apart = 0;
    return add_between(a, from, from + samples, apart, batch, err);
}

/* ---- predictions ---- */

/* One prediction at each position; *count positions, *out malloc'ed. */
static Status predictions(Accuracy *a, const Tensor *t, int64_t **out, int64_t *count, Err *err)
{
    ScoreView v = { 0 };
    bool classes = dtype_is_integer(t->type);
    if (!classes && (!dtype_is_float(t->type) || !scores_view(&t->shape, a->class_axis, &v) || v.classes < 2))
        return err_set(err, ERR_DATA, "accuracy: the first output has no classes (%s); leave max-accuracy-drop out, "
                       "or set class-axis of the data",
                       dtype_name(t->type));
    *count = classes ? tensor_count(t) : scores_positions(&v);
    *out = alloc_array((size_t)*count + 1, sizeof **out);
    if (*out == NULL || (!classes && !array_grow((void **)&a->row, &a->row_capacity, (size_t)v.classes, sizeof *a->row)))
        return err_no_memory(err, "predictions");
    for (int64_t i = 0; i < *count; i++) {
        if (!classes) scores_read(t, &v, i, a->row);
        (*out)[i] = classes ? tensor_get_int(t, i) : scores_top(a->row, v.classes);
    }
    return OK;
}

static Status run_chunk(Accuracy *a, Session *s, const Chunk *c, Tensor *labels, int64_t **found, int64_t *count, Err *err)
{
    Tensor *inputs = alloc_zeroed((size_t)a->feeds + 1, sizeof *inputs), *outputs = alloc_zeroed((size_t)a->outputs + 1, sizeof *outputs);
    Status status = inputs != NULL && outputs != NULL ? OK : err_no_memory(err, "samples");
    if (status == OK && a->log != NULL && log_interrupted(a->log)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
    if (status == OK) status = dataset_read(a->data, c->first, c->count, inputs, labels, err);
    if (status == OK) status = session_run(s, inputs, outputs, err);
    if (status == OK) status = predictions(a, &outputs[0], found, count, err);
    for (int i = 0; inputs != NULL && i < a->feeds; i++) tensor_release(&inputs[i]);
    for (int i = 0; outputs != NULL && i < a->outputs; i++) tensor_release(&outputs[i]);
    free(inputs);
    free(outputs);
    return status;
}

static Status take_labels(Accuracy *a, Chunk *c, const Tensor *labels, const int64_t *found, Err *err)
{
    int64_t ignored = 0;
    bool ignores = dataset_ignore_label(a->data, &ignored);
    if (tensor_count(labels) != c->positions)
        return err_set(err, ERR_DATA, "calibration data: %lld labels for %lld predictions of the first output",
                       (long long)tensor_count(labels),
                       (long long)c->positions);
    for (int64_t i = 0; i < c->positions; i++) {
        int64_t label = tensor_get_int(labels, i);
        c->expected[i] = ignores && label == ignored ? NO_CLASS : label;
        a->positions += c->expected[i] != NO_CLASS;
        a->correct += c->expected[i] != NO_CLASS && c->expected[i] == found[i];
    }
    return OK;
}

/* What the original says, or what the labels say. */
static Status expect(Accuracy *a, Session *s, Chunk *c, Err *err)
{
    Tensor labels = { 0 };
    int64_t *found = NULL, count = 0;
    Status status;
    TRY_OUT(run_chunk(a, s, c, a->labelled ? &labels : NULL, &found, &count, err));
    c->positions = count;
    if (!a->labelled) {
        c->expected = found;
        found = NULL;
        a->positions += count;
        a->correct += count;
        goto out;
    }
    c->expected = alloc_array((size_t)count + 1, sizeof *c->expected);
    TRY_OUT(c->expected != NULL ? OK : err_no_memory(err, "labels"));
    TRY_OUT(take_labels(a, c, &labels, found, err));
out:
    free(found);
    tensor_release(&labels);
    return status;
}

/* ---- the whole ---- */

static Status open_session(const Accuracy *a, const Graph *g, Session **out, Err *err)
{
    SessionOptions options = { .threads = a->threads, .max_mem = a->max_mem, .log = a->log };
    return session_new(g, &options, out, err);
}

Status accuracy_new(const Graph *original, Dataset *data, int64_t samples, int64_t apart, int threads, uint64_t max_mem, Log *log,
                    Accuracy **out, Err *err)
{
    Session *session = NULL;
    Status status;
    Accuracy *a = alloc_zeroed(1, sizeof *a);
    *out = NULL;
    if (a == NULL) return err_no_memory(err, "accuracy");
    *a = (Accuracy){ .data = data, .feeds = graph_feeds(original, NULL, 0), .outputs = original->output_count, .threads = threads,
                     .class_axis = dataset_class_axis(data), .labelled = dataset_has_labels(data), .max_mem = max_mem, .log = log };
    TRY_OUT(choose_samples(a, samples, apart, err));
    TRY_OUT(open_session(a, original, &session, err));
    for (int i = 0; i < a->count; i++) TRY_OUT(expect(a, session, &a->chunks[i], err));
    if (a->positions == 0) status = err_set(err, ERR_DATA, "calibration data: no sample has a label to judge by");
out:
    session_free(session);
    if (status == OK) *out = a;
    else accuracy_free(a);
    return status;
}

void accuracy_free(Accuracy *a)
{
    if (a == NULL) return;
    for (int i = 0; i < a->count; i++) free(a->chunks[i].expected);
    free(a->chunks);
    free(a->row);
    free(a);
}

Status accuracy_drop(Accuracy *a, const Graph *candidate, double *points, Err *err)
{
    Session *session = NULL;
    int64_t right = 0;
    Status status = open_session(a, candidate, &session, err);
    for (int i = 0; i < a->count && status == OK; i++) {
        const Chunk *c = &a->chunks[i];
        int64_t *found = NULL, count = 0;
        status = run_chunk(a, session, c, NULL, &found, &count, err);
        if (status == OK && count != c->positions) status = err_set(err, ERR_BUG, "accuracy: a candidate's output has another shape");
        for (int64_t k = 0; status == OK && k < count; k++) right += c->expected[k] != NO_CLASS && found[k] == c->expected[k];
        free(found);
    }
    session_free(session);
    *points = 100.0 * (double)(a->correct - right) / (double)a->positions;
    return status;
}

bool accuracy_labelled(const Accuracy *a) { return a->labelled; }
int64_t accuracy_positions(const Accuracy *a) { return a->positions; }
