#include "quantize/trial.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/live.h"
#include "stats/scores.h"

/* One call of the network: what goes in, and what the original gave. */
typedef struct Call {
    Tensor *inputs, *outputs;
} Call;

/* One output of the original over all calls. */
typedef struct Reference {
    bool compared;
    ScoreKind kind;
    bool spans;    /* axes 0 and 1 are those of t->live's mask */
    double spread; /* sum |y0 - mean|^2; where that is 0 sum |y0|^2, else 1 */
} Reference;

struct Trial {
    Call *calls;
    int count, feeds, outputs;
    int class_axis;
    Reference *references;
    Live live;           /* positions of padded sequences that count */
    int threads;
    uint64_t max_mem;
    const Log *log;
};

/* One position's scores, of the original and of a candidate. */
typedef struct Scratch {
    double *row, *other;
    size_t row_capacity, other_capacity;
} Scratch;

#define CHUNK 1024

/* --- inputs */

/* Joins the same input of several samples along axis 0. */
static Status join(const Tensor *const *parts, int count, Tensor *out, Err *err)
{
    Shape shape = parts[0]->shape;
    for (int i = 1; i < count; i++) {
        Shape other = parts[i]->shape;
        shape.dims[0] += other.dims[0];
        other.dims[0] = parts[0]->shape.dims[0];
        if (parts[i]->type != parts[0]->type || !shape_eq(&other, &parts[0]->shape))
            return err_set(err, ERR_DATA, "calibration data: samples of one call differ in shape");
    }
    TRY(tensor_new(out, parts[0]->type, &shape, err));
    size_t at = 0;
    if (dtype_bits(out->type) >= 8) {
        for (int i = 0; i < count; at += parts[i++]->bytes) memcpy(out->data + at, parts[i]->data, parts[i]->bytes);
        return OK;
    }
    int64_t element = 0; /* packed: samples need not end with a byte */
    for (int i = 0; i < count; i++)
        for (int64_t k = 0; k < tensor_count(parts[i]); k++) tensor_set_int(out, element++, tensor_get_int(parts[i], k));
    return OK;
}

/* Samples `indices` as one call; each is read by itself, since they lie apart. */
static Status read_call(const Trial *t, Dataset *data, const int64_t *indices, int count, Tensor *inputs, Err *err)
{
    Tensor *all = alloc_zeroed((size_t)count * (size_t)t->feeds + 1, sizeof *all);
    const Tensor **parts = alloc_array((size_t)count, sizeof *parts);
    Status status = all != NULL && parts != NULL ? OK : err_no_memory(err, "the samples of a trial");
    for (int i = 0; i < count && status == OK; i++) status = dataset_read(data, indices[i], 1, all + i * t->feeds, NULL, err);
    for (int k = 0; k < t->feeds && status == OK; k++) {
        if (count == 1) {
            inputs[k] = tensor_share(&all[k]);
            continue;
        }
        for (int i = 0; i < count; i++) parts[i] = &all[i * t->feeds + k];
        status = join(parts, count, &inputs[k], err);
    }
    for (int i = 0; all != NULL && i < count * t->feeds; i++) tensor_release(&all[i]);
    free(all);
    free(parts);
    return status;
}

static Status call_new(Trial *t, Call **out, Err *err)
{
    Call *c = &t->calls[t->count];
    *c = (Call){ alloc_zeroed((size_t)t->feeds + 1, sizeof *c->inputs), alloc_zeroed((size_t)t->outputs + 1, sizeof *c->outputs) };
    t->count++;
    *out = c;
    return c->inputs != NULL && c->outputs != NULL ? OK : err_no_memory(err, "the samples of a trial");
}

/* As many samples as are asked for, or the network's fixed batch at least; the middle ones of as many equal parts of the data. Each call
 * takes every so many of them, so that any call stands for all of the data. */
static Status read_samples(Trial *t, Dataset *data, int64_t samples, int64_t within, Err *err)
{
    int64_t all = dataset_samples(data);
    if (within > 0 && within < all) all = within;
    if (samples > all) samples = all;
    int64_t batch = dataset_batched(data) ? dataset_batch(data, (samples + TRIAL_SHARE - 1) / TRIAL_SHARE) : 1;
    if (all < 1 || samples < 1 || batch < 1) return err_set(err, ERR_DATA, "calibration data: no samples");
    if (batch > all) return err_set(err, ERR_DATA, "calibration data: %lld samples, and the network takes %lld at a time", (long long)all,
                                    (long long)batch);
    if (!dataset_batched(data)) samples = 1;
    int64_t fixed = dataset_batched(data) ? dataset_batch(data, 1) : 1; /* whole ones of these */
    samples = samples < batch ? batch : samples / fixed * fixed;
    int64_t *indices = alloc_array((size_t)batch, sizeof *indices), calls = (samples + batch - 1) / batch;
    t->calls = alloc_zeroed((size_t)calls, sizeof *t->calls);
    Status status = indices != NULL && t->calls != NULL ? OK : err_no_memory(err, "the samples of a trial");
    for (int64_t i = 0; i < calls && status == OK; i++) {
        Call *c;
        int count = 0;
        for (int64_t k = i; k < samples; k += calls) indices[count++] = (int64_t)(((double)k + 0.5) * (double)all / (double)samples);
        status = call_new(t, &c, err);
        if (status == OK) status = read_call(t, data, indices, count, c->inputs, err);
    }
    free(indices);
    return status;
}

/* --- outputs */

/* sum |a - b|^2, b NULL for the mean of nothing: sum |a - mean|^2. */
static void add_plain(const Tensor *a, const Tensor *b, double mean, double *sum)
{
    double x[CHUNK], y[CHUNK], part = 0.0;
    int64_t count = tensor_count(a);
    for (int64_t i = 0; i < count; i += CHUNK) {
        int64_t n = count - i < CHUNK ? count - i : CHUNK;
        tensor_read_doubles(a, i, n, x);
        if (b != NULL) tensor_read_doubles(b, i, n, y);
        for (int64_t k = 0; k < n; k++) {
            double d = x[k] - (b != NULL ? y[k] : mean);
            part += d * d;
        }
    }
    *sum += part;
}

static void sum_of(const Tensor *a, double *sum)
{
    double x[CHUNK];
    int64_t count = tensor_count(a);
    for (int64_t i = 0; i < count; i += CHUNK) {
        int64_t n = count - i < CHUNK ? count - i : CHUNK;
        tensor_read_doubles(a, i, n, x);
        for (int64_t k = 0; k < n; k++) *sum += x[k];
    }
}

/* One position's logits, which are known up to a constant only: their mean is taken off. */
static void read_logits(ScoreKind kind, const Tensor *a, const ScoreView *v, int64_t position, double *row)
{
    double mean = 0.0;
    scores_read(a, v, position, row);
    scores_to_logits(kind, row, v->classes);
    for (int64_t k = 0; k < v->classes; k++) mean += row[k] / (double)v->classes;
    for (int64_t k = 0; k < v->classes; k++) row[k] -= mean;
}

static void scratch_free(Scratch *s)
{
    free(s->row);
    free(s->other);
}

static Status add_scores(const Trial *t, ScoreKind kind, const Tensor *a, const Tensor *b, Scratch *s, double *sum, Err *err)
{
    ScoreView v;
    if (!scores_view(&a->shape, t->class_axis, &v)) return OK; /* it has no element */
    if (!array_grow((void **)&s->row, &s->row_capacity, (size_t)v.classes, sizeof *s->row) ||
        !array_grow((void **)&s->other, &s->other_capacity, (size_t)v.classes, sizeof *s->other))
        return err_no_memory(err, "a row of scores");
    for (int64_t p = 0; p < scores_positions(&v); p++) {
        read_logits(kind, a, &v, p, s->row);
        if (b != NULL) read_logits(kind, b, &v, p, s->other);
        for (int64_t k = 0; k < v.classes; k++) {
            double d = s->row[k] - (b != NULL ? s->other[k] : 0.0);
            *sum += d * d;
        }
    }
    return OK;
}

static bool as_scores(const Trial *t, const Reference *r, const Tensor *a)
{
    ScoreView v;
    return (r->kind == SCORES_PROBABILITIES || r->kind == SCORES_LOG_PROBABILITIES) && scores_view(&a->shape, t->class_axis, &v);
}

static bool finite_numbers(const Tensor *a)
{
    int64_t index;
    return !tensor_has_nonfinite(a, &index);
}

/* Positions that nobody reads cannot differ: they take what the original has there, and that repeats one that is read. */
static Status drop_dead(const Trial *t, const Call *c, int output, const Tensor *from, Tensor *a, Err *err)
{
    Tensor filled;
    if (!t->references[output].spans) return OK;
    TRY(live_fill(&c->inputs[t->live.feed], a, from, &filled, err));
    tensor_release(a);
    *a = filled;
    return OK;
}

static Status describe(Trial *t, const Graph *g, int output, Err *err)
{
    Reference *r = &t->references[output];
    double sum = 0.0, count = 0.0, squares = 0.0;
    Scratch scratch = { 0 };
    Status status = OK;
    *r = (Reference){ .compared = dtype_is_float(t->calls[0].outputs[output].type), .kind = scores_kind(g, g->outputs[output]),
                      .spans = live_spans(&t->live, g, g->outputs[output]) };
    if (!r->compared) return OK;
    for (int i = 0; i < t->count; i++) {
        Tensor *a = &t->calls[i].outputs[output];
        TRY(drop_dead(t, &t->calls[i], output, NULL, a, err));
        if (!finite_numbers(a))
            return err_set(err, ERR_DATA, "output '%.*s' is NaN or infinite on the calibration data: check the data's scale",
                           STR_ARG(graph_value(g, g->outputs[output])->name));
        sum_of(a, &sum);
        count += (double)tensor_count(a);
        add_plain(a, NULL, 0.0, &squares);
    }
    for (int i = 0; i < t->count; i++) {
        const Tensor *a = &t->calls[i].outputs[output];
        if (as_scores(t, r, a)) status = add_scores(t, r->kind, a, NULL, &scratch, &r->spread, err);
        else add_plain(a, NULL, sum / fmax(count, 1.0), &r->spread);
        if (status != OK) break;
    }
    scratch_free(&scratch);
    if (!(r->spread > DBL_EPSILON * DBL_EPSILON * squares)) r->spread = squares > 0.0 ? squares : 1.0; /* a constant */
    return status;
}

/* --- the trial */

static Status open_session(const Trial *t, const Graph *g, int threads, Session **session, Err *err)
{
    SessionOptions options = { .threads = threads, .max_mem = t->max_mem, .log = t->log };
    return session_new(g, &options, session, err);
}

static bool stopped(const Trial *t)
{
    return t->log != NULL && log_interrupted(t->log);
}

Status trial_new(const Graph *original, Dataset *data, int64_t samples, int64_t within, int threads, uint64_t max_mem, const Log *log,
                 Trial **out, Err *err)
{
    Session *session = NULL;
    Status status;
    Trial *t = alloc_zeroed(1, sizeof *t);
    *out = NULL;
    if (t == NULL) return err_no_memory(err, "a trial");
    *t = (Trial){ .feeds = graph_feeds(original, NULL, 0), .outputs = original->output_count, .class_axis = dataset_class_axis(data),
                  .threads = threads, .max_mem = max_mem, .log = log };
    t->references = alloc_zeroed((size_t)t->outputs + 1, sizeof *t->references);
    if (t->references == NULL) {
        status = err_no_memory(err, "a trial");
        goto out;
    }
    TRY_OUT(live_find(original, data, &(LiveOptions){ .threads = threads, .max_mem = max_mem, .samples = 1, .log = log }, &t->live, err));
    TRY_OUT(read_samples(t, data, samples, within, err));
    TRY_OUT(open_session(t, original, threads, &session, err));
    for (int i = 0; i < t->count; i++) {
        TRY_OUT(stopped(t) ? err_set(err, ERR_INTERRUPTED, "interrupted") : OK);
        TRY_OUT(session_run(session, t->calls[i].inputs, t->calls[i].outputs, err));
    }
    for (int i = 0; i < t->outputs; i++) TRY_OUT(describe(t, original, i, err));
out:
    session_free(session);
    if (status == OK) *out = t;
    else trial_free(t);
    return status;
}

void trial_free(Trial *t)
{
    if (t == NULL) return;
    for (int i = 0; i < t->count; i++) {
        for (int k = 0; t->calls[i].inputs != NULL && k < t->feeds; k++) tensor_release(&t->calls[i].inputs[k]);
        for (int k = 0; t->calls[i].outputs != NULL && k < t->outputs; k++) tensor_release(&t->calls[i].outputs[k]);
        free(t->calls[i].inputs);
        free(t->calls[i].outputs);
    }
    free(t->calls);
    free(t->references);
    live_release(&t->live);
    free(t);
}

/* What one call adds to each output's sum; infinite for what is no number or has another shape. */
static Status add_call(const Trial *t, const Call *c, Tensor *found, Scratch *scratch, double *sums, Err *err)
{
    for (int k = 0; k < t->outputs; k++) {
        const Tensor *a = &c->outputs[k], *b = &found[k];
        if (!t->references[k].compared) continue;
        bool alike = dtype_is_float(b->type) && shape_eq(&a->shape, &b->shape);
        if (alike && a->type == b->type) TRY(drop_dead(t, c, k, a, &found[k], err));
        if (!alike || !finite_numbers(b)) sums[k] = INFINITY;
        else if (as_scores(t, &t->references[k], a)) TRY(add_scores(t, t->references[k].kind, a, b, scratch, &sums[k], err));
        else add_plain(a, b, 0.0, &sums[k]);
    }
    return OK;
}

static double mean_error(const Trial *t, const double *sums)
{
    double error = 0.0;
    int compared = 0;
    for (int k = 0; k < t->outputs; k++) {
        if (!t->references[k].compared) continue;
        error += sums[k] / t->references[k].spread;
        compared++;
    }
    return compared > 0 ? error / compared : 0.0;
}

/* Every TRIAL_SHARE-th call, or all the others. */
static Status add_calls(const Trial *t, Session *session, bool glance, double *sums, Err *err)
{
    Tensor *found = alloc_zeroed((size_t)t->outputs + 1, sizeof *found);
    Scratch scratch = { 0 };
    Status status = found != NULL ? OK : err_no_memory(err, "a trial");
    for (int i = 0; i < t->count && status == OK; i++) {
        if ((i % TRIAL_SHARE == 0) != glance) continue;
        TRY_OUT(stopped(t) ? err_set(err, ERR_INTERRUPTED, "interrupted") : OK);
        TRY_OUT(session_run(session, t->calls[i].inputs, found, err));
        status = add_call(t, &t->calls[i], found, &scratch, sums, err);
        for (int k = 0; k < t->outputs; k++) tensor_release(&found[k]);
    }
out:
    free(found);
    scratch_free(&scratch);
    return status;
}

static Status judge(const Trial *t, const Graph *candidate, int threads, double limit, Judgement *out, Err *err)
{
    Session *session = NULL;
    double *sums = alloc_zeroed((size_t)t->outputs + 1, sizeof *sums);
    Status status;
    TRY_OUT(sums != NULL ? OK : err_no_memory(err, "a trial"));
    if (candidate->output_count != t->outputs || graph_feeds(candidate, NULL, 0) != t->feeds) {
        status = err_set(err, ERR_BUG, "a trial: the candidate has other inputs or outputs than the original");
        goto out;
    }
    TRY_OUT(open_session(t, candidate, threads, &session, err));
    TRY_OUT(add_calls(t, session, true, sums, err));
    *out = (Judgement){ mean_error(t, sums), INFINITY };
    if (!(out->glance < limit)) goto out;
    TRY_OUT(add_calls(t, session, false, sums, err));
    out->error = mean_error(t, sums);
out:
    session_free(session);
    free(sums);
    return status;
}

int trial_together(const Trial *t)
{
    return t->max_mem != 0 || t->threads < 1 ? 1 : t->threads < TRIAL_TOGETHER ? t->threads : TRIAL_TOGETHER;
}

Status trial_judge(const Trial *t, Graph *const *candidates, int count, double limit, Judgement *out, Err *err)
{
    Status status = OK;
    int at_once = trial_together(t) < count ? trial_together(t) : count, failed = count;
    if (at_once <= 1) {
        for (int i = 0; i < count && status == OK; i++) status = judge(t, candidates[i], t->threads, limit, &out[i], err);
        return status;
    }
#pragma omp parallel for num_threads(at_once) schedule(dynamic, 1)
    for (int i = 0; i < count; i++) {
        Err own = { 0 };
        Status found = judge(t, candidates[i], 1, limit, &out[i], &own);
#pragma omp critical(trial_judged)
        if (found != OK && i < failed) {
            failed = i; /* the first, whoever came first */
            status = found;
            *err = own;
        }
    }
    return status;
}

Status trial_error(const Trial *t, const Graph *candidate, double *error, Err *err)
{
    Judgement j;
    TRY(judge(t, candidate, t->threads, INFINITY, &j, err));
    *error = j.error;
    return OK;
}
