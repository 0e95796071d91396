#include "pipeline/evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "stats/scores.h"
#include "stats/together.h"

/* Running sums behind one Fidelity. */
typedef struct Sums {
    double signal, noise, cosine, max_abs;
    int64_t rows;             /* samples in `cosine` */
    int64_t agree, positions;
    bool ranked;              /* agree and positions mean something */
} Sums;

typedef struct Evaluator {
    const Graph *graph, *reference;
    const EvaluateOptions *options;
    const char *data_name;
    Evaluation *out;
    int *partner;             /* per output: that of the reference */
    Sums *sums;
    int label_output, class_axis;
    ScoreKind kind;
    bool ignore;
    int64_t ignored_label;
    double loss;              /* sum of -log p(label) */
    bool has_loss;
    size_t batches;           /* seen so far */
    double *row, *other_row;  /* one position's scores */
    size_t row_capacity, other_capacity;
} Evaluator;

void wilson_interval(int64_t correct, int64_t samples, double *low, double *high)
{
    *low = 0;
    *high = 1;
    if (samples <= 0) return;
    const double z = 1.959963984540054; /* 97.5 % point of the normal distribution */
    double n = (double)samples, p = (double)correct / n;
    double centre = p + z * z / (2 * n), half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)), scale = 1 + z * z / n;
    *low = correct == 0 ? 0 : fmax(0, (centre - half) / scale);
    *high = correct == samples ? 1 : fmin(1, (centre + half) / scale);
}

static Str output_name(const Graph *g, int i)
{
    return graph_value(g, g->outputs[i])->name;
}

static Status reserve(Evaluator *e, int64_t classes, Err *err)
{
    if (array_grow((void **)&e->row, &e->row_capacity, (size_t)classes, sizeof *e->row) &&
        array_grow((void **)&e->other_row, &e->other_capacity, (size_t)classes, sizeof *e->other_row))
        return OK;
    return err_no_memory(err, "a row of scores");
}

/* ---- accuracy ---- */

static Status bad_label(const Evaluator *e, const Batch *b, int64_t position, int64_t per_sample, int64_t label, int64_t classes, Err *err)
{
    long long sample = (long long)(b->whole ? position : b->first + position / per_sample);
    Str name = output_name(e->graph, e->label_output);
    return err_set(err, ERR_DATA,
                   "%s: label %lld of sample %lld is out of range: output '%.*s' has %lld classes (ignore-label leaves one out)",
                   e->data_name, (long long)label, sample, STR_ARG(name), (long long)classes);
}

/* The network's output is the predicted class itself (ArgMax). */
static void score_predictions(Evaluator *e, const Tensor *out, const Tensor *labels)
{
    int64_t n = tensor_count(labels);
    for (int64_t i = 0; i < n; i++) {
        int64_t label = tensor_get_int(labels, i);
        if (e->ignore && label == e->ignored_label) continue;
        e->out->samples++;
        e->out->correct += tensor_get_int(out, i) == label;
    }
    e->has_loss = false;
}

static double loss_of(const Evaluator *e, double *row, int64_t classes, int64_t label)
{
    if (e->kind == SCORES_PROBABILITIES) return -log(row[label] > SCORES_FLOOR ? row[label] : SCORES_FLOOR);
    if (e->kind == SCORES_LOGITS) scores_log_softmax(row, classes, 1);
    return -row[label];
}

static Status score_position(Evaluator *e, const Batch *b, const Tensor *out, const ScoreView *v, int64_t position, int64_t per_sample,
                             int64_t label, Err *err)
{
    if (e->ignore && label == e->ignored_label) return OK;
    if (label < 0 || label >= v->classes) return bad_label(e, b, position, per_sample, label, v->classes, err);
    scores_read(out, v, position, e->row);
    int64_t top = scores_top(e->row, v->classes);
    if (top < 0)
        return err_set(err, ERR_DATA, "output '%.*s' is NaN at sample %lld", STR_ARG(output_name(e->graph, e->label_output)),
                       (long long)(b->whole ? position : b->first + position / per_sample));
    e->out->samples++;
    e->out->correct += top == label;
    if (e->has_loss) e->loss += loss_of(e, e->row, v->classes, label);
    return OK;
}

static Status score_labels(Evaluator *e, const Batch *b, Err *err)
{
    const Tensor *out = &b->outputs[0][e->label_output];
    Str name = output_name(e->graph, e->label_output);
    int64_t labels = tensor_count(b->labels);
    char out_text[160], label_text[160];
    if (!dtype_is_float(out->type) && !dtype_is_integer(out->type))
        return err_set(err, ERR_DATA, "output '%.*s' is %s: labels need scores or class numbers", STR_ARG(name), dtype_name(out->type));
    if (dtype_is_integer(out->type) && tensor_count(out) == labels) {
        score_predictions(e, out, b->labels);
        return OK;
    }
    ScoreView v;
    if (!scores_view(&out->shape, e->class_axis, &v) || scores_positions(&v) != labels) {
        shape_print(&out->shape, out_text, sizeof out_text);
        shape_print(&b->labels->shape, label_text, sizeof label_text);
        return err_set(err, ERR_DATA,
                       "output '%.*s' %s with class axis %d does not fit labels %s: expected one label a position (class-axis)",
                       STR_ARG(name), out_text, e->class_axis, label_text);
    }
    if (!dtype_is_float(out->type)) e->has_loss = false;
    TRY(reserve(e, v.classes, err));
    int64_t per_sample = b->count > 0 && labels >= b->count ? labels / b->count : 1;
    for (int64_t p = 0; p < labels; p++) TRY(score_position(e, b, out, &v, p, per_sample, tensor_get_int(b->labels, p), err));
    return OK;
}

/* ---- fidelity ---- */

typedef struct Dots {
    double aa, bb, ab;
} Dots;

/* Adds elements [first, first + n) of both; NaN in either is an error. Equal infinities (masks) count as equal and carry no energy. */
static Status compare_block(Evaluator *e, Sums *s, Dots *dots, const Tensor *a, const Tensor *b, int output, int64_t first, int64_t n,
                            Err *err)
{
    enum { BLOCK = 2048 };
    double x[BLOCK], y[BLOCK];
    for (int64_t at = first; at < first + n; at += BLOCK) {
        int64_t size = first + n - at < BLOCK ? first + n - at : BLOCK;
        tensor_read_doubles(a, at, size, x);
        tensor_read_doubles(b, at, size, y);
        for (int64_t i = 0; i < size; i++) {
            if (isnan(x[i]) || isnan(y[i]))
                return err_set(err, ERR_DATA, "output '%.*s' of the %s is NaN at element %lld", STR_ARG(output_name(e->graph, output)),
                               isnan(x[i]) ? "reference" : "network", (long long)(at + i));
            if (isinf(x[i]) && x[i] == y[i]) continue;
            double d = fabs(x[i] - y[i]);
            s->signal += x[i] * x[i];
            s->noise += d * d;
            if (d > s->max_abs) s->max_abs = d;
            dots->aa += x[i] * x[i];
            dots->bb += y[i] * y[i];
            dots->ab += x[i] * y[i];
        }
    }
    return OK;
}

static double cosine_of(const Dots *d)
{
    if (d->aa == 0 && d->bb == 0) return 1;
    if (d->aa == 0 || d->bb == 0) return 0;
    double c = d->ab / (sqrt(d->aa) * sqrt(d->bb));
    return c > 1 ? 1 : c < -1 ? -1 : c;
}

static Status compare_energy(Evaluator *e, Sums *s, const Batch *batch, const Tensor *a, const Tensor *b, int output, Err *err)
{
    int64_t count = tensor_count(a);
    bool by_sample = !batch->whole && a->shape.rank > 0 && a->shape.dims[0] == batch->count && batch->count > 0;
    int64_t rows = by_sample ? batch->count : 1, size = count / rows;
    for (int64_t r = 0; r < rows; r++) {
        Dots dots = { 0 };
        TRY(compare_block(e, s, &dots, a, b, output, r * size, size, err));
        s->cosine += cosine_of(&dots);
        s->rows++;
    }
    return OK;
}

static Status compare_ranks(Evaluator *e, Sums *s, const Tensor *a, const Tensor *b, int output, Err *err)
{
    if (!dtype_is_float(a->type)) {
        int64_t n = tensor_count(a);
        s->ranked = true;
        s->positions += n;
        for (int64_t i = 0; i < n; i++) s->agree += tensor_get_int(a, i) == tensor_get_int(b, i);
        return OK;
    }
    ScoreView v;
    bool labelled = output == e->label_output && (e->class_axis < 0 ? -e->class_axis <= a->shape.rank : e->class_axis < a->shape.rank);
    if (!scores_view(&a->shape, labelled ? e->class_axis : -1, &v)) return OK;
    s->positions += scores_positions(&v);
    if (v.classes < 2) return OK;
    s->ranked = true;
    TRY(reserve(e, v.classes, err));
    for (int64_t p = 0; p < scores_positions(&v); p++) {
        scores_read(a, &v, p, e->row);
        scores_read(b, &v, p, e->other_row);
        s->agree += scores_top(e->row, v.classes) == scores_top(e->other_row, v.classes);
    }
    return OK;
}

static Status compare_outputs(Evaluator *e, const Batch *batch, Err *err)
{
    for (int i = 0; i < e->graph->output_count; i++) {
        const Tensor *b = &batch->outputs[0][i], *a = &batch->outputs[1][e->partner[i]];
        char ours[160], theirs[160];
        Str name = output_name(e->graph, i);
        if (a->type == DT_STRING || b->type == DT_STRING)
            return err_set(err, ERR_UNSUPPORTED, "output '%.*s': strings are not compared", STR_ARG(name));
        if (!shape_eq(&a->shape, &b->shape) || dtype_is_float(a->type) != dtype_is_float(b->type)) {
            shape_print(&b->shape, ours, sizeof ours);
            shape_print(&a->shape, theirs, sizeof theirs);
            return err_set(err, ERR_DATA, "output '%.*s' is %s %s, in the reference %s %s", STR_ARG(name), dtype_name(b->type), ours,
                           dtype_name(a->type), theirs);
        }
        TRY(compare_energy(e, &e->sums[i], batch, a, b, i, err));
        TRY(compare_ranks(e, &e->sums[i], a, b, i, err));
    }
    return OK;
}

static Status match_outputs(Evaluator *e, Err *err)
{
    for (int i = 0; i < e->graph->output_count; i++) {
        e->partner[i] = -1;
        for (int k = 0; k < e->reference->output_count && e->partner[i] < 0; k++) {
            if (str_eq(output_name(e->reference, k), output_name(e->graph, i))) e->partner[i] = k;
        }
        if (e->partner[i] < 0 && i < e->reference->output_count) e->partner[i] = i;
        if (e->partner[i] < 0)
            return err_set(err, ERR_DATA, "output '%.*s' has no counterpart among the %d outputs of the reference",
                           STR_ARG(output_name(e->graph, i)), e->reference->output_count);
    }
    return OK;
}

/* ---- both ---- */

static Status on_batch(void *user, const Batch *batch, Err *err)
{
    Evaluator *e = user;
    const Kept *kept = e->options->reference_outputs;
    const Tensor *both[2] = { batch->outputs[0] };
    Batch seen = *batch;
    seen.outputs = both;
    if (batch->labels != NULL) TRY(score_labels(e, batch, err));
    if (e->options->keep != NULL) kept_add(e->options->keep, batch->outputs[0], e->graph->output_count);
    if (e->reference == NULL) return OK;
    both[1] = kept_usable(kept) ? kept_batch(kept, e->batches++) : batch->outputs[1];
    if (both[1] == NULL) return err_set(err, ERR_BUG, "the reference's outputs were kept for fewer batches");
    return compare_outputs(e, &seen, err);
}

static Fidelity fidelity_of(const Sums *s, Str name)
{
    Fidelity f = { .output = name, .max_abs = s->max_abs, .positions = s->positions };
    if (s->noise == 0) f.sqnr_db = INFINITY;
    else f.sqnr_db = s->signal > 0 ? 10 * log10(s->signal / s->noise) : -INFINITY;
    f.cosine = s->rows > 0 ? s->cosine / (double)s->rows : NAN;
    f.top1_agreement = s->ranked && s->positions > 0 ? (double)s->agree / (double)s->positions : NAN;
    return f;
}

static void finish(Evaluator *e, bool labelled)
{
    Evaluation *out = e->out;
    out->cross_entropy = NAN;
    if (labelled) {
        out->has_accuracy = true;
        wilson_interval(out->correct, out->samples, &out->low, &out->high);
        out->accuracy = out->samples > 0 ? (double)out->correct / (double)out->samples : NAN;
        if (e->has_loss && out->samples > 0) out->cross_entropy = e->loss / (double)out->samples;
    }
    for (int i = 0; i < out->fidelity_count; i++) out->fidelity[i] = fidelity_of(&e->sums[i], output_name(e->graph, i));
}

static Status run(Evaluator *e, Dataset *data, Err *err)
{
    const EvaluateOptions *o = e->options;
    SessionOptions session = { .threads = o->threads, .plain = o->plain, .int8 = o->int8, .max_mem = o->max_mem, .log = o->log };
    TogetherOptions together = { .batch = o->batch, .labels = true, .task = "evaluation", .log = o->log };
    Session *sessions[2] = { NULL, NULL };
    bool run_reference = e->reference != NULL && !kept_usable(o->reference_outputs);
    Status status = session_new(e->graph, &session, &sessions[0], err);
    if (status == OK && run_reference && session_new(e->reference, &session, &sessions[1], err) != OK)
        status = err_prefix(err, "reference");
    if (status == OK) status = run_together(sessions, run_reference ? 2 : 1, e->graph, data, &together, on_batch, e, err);
    session_free(sessions[0]);
    session_free(sessions[1]);
    return status;
}

Status evaluate(const Graph *g, const Graph *reference, Dataset *data, const EvaluateOptions *options, Evaluation *out, Err *err)
{
    *out = (Evaluation){ 0 };
    bool labelled = dataset_has_labels(data);
    Evaluator e = { .graph = g, .reference = reference, .options = options, .out = out, .label_output = options->label_output,
                    .class_axis = dataset_class_axis(data), .data_name = dataset_path(data) != NULL ? dataset_path(data) : "the data" };
    e.ignore = dataset_ignore_label(data, &e.ignored_label);
    if (labelled && (e.label_output < 0 || e.label_output >= g->output_count))
        return err_set(err, ERR_USAGE, "output %d is asked to be compared with the labels, the network has %d", e.label_output,
                       g->output_count);
    size_t outputs = (size_t)g->output_count + 1;
    Status status = OK;
    e.partner = alloc_zeroed(outputs, sizeof *e.partner);
    e.sums = alloc_zeroed(outputs, sizeof *e.sums);
    if (e.partner == NULL || e.sums == NULL) TRY_OUT(err_no_memory(err, "an evaluation"));
    if (labelled) {
        e.kind = scores_kind(g, g->outputs[e.label_output]);
        e.has_loss = e.kind != SCORES_OTHER;
    }
    if (reference != NULL) {
        out->fidelity = alloc_zeroed(outputs, sizeof *out->fidelity);
        if (out->fidelity == NULL) TRY_OUT(err_no_memory(err, "an evaluation"));
        out->fidelity_count = g->output_count;
        TRY_OUT(match_outputs(&e, err));
    }
    TRY_OUT(run(&e, data, err));
    finish(&e, labelled);
out:
    free(e.partner);
    free(e.sums);
    free(e.row);
    free(e.other_row);
    if (status != OK) evaluation_release(out);
    return status;
}

void evaluation_release(Evaluation *e)
{
    free(e->fidelity);
    *e = (Evaluation){ 0 };
}
