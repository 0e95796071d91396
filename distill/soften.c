#include "distill/distill.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

static Str output_name(const Teacher *t)
{
    return graph_value(t->graph, t->graph->outputs[t->output])->name;
}

/* All teachers answer with float scores of one shape that has the class axis. */
static Status check_outputs(const Distill *d, const Batch *batch, ScoreView *view, Err *err)
{
    char first_shape[160], shape[160];
    const Teacher *first = &d->teachers[0];
    const Tensor *a = &batch->outputs[0][first->output];
    shape_print(&a->shape, first_shape, sizeof first_shape);
    for (int k = 0; k < d->teacher_count; k++) {
        const Teacher *t = &d->teachers[k];
        const Tensor *b = &batch->outputs[k][t->output];
        if (!dtype_is_float(b->type))
            return err_set(err, ERR_DATA, "output '%.*s' of teacher '%s' is %s, expected float scores", STR_ARG(output_name(t)), t->name,
                           dtype_name(b->type));
        if (shape_eq(&a->shape, &b->shape)) continue;
        shape_print(&b->shape, shape, sizeof shape);
        return err_set(err, ERR_DATA, "output '%.*s' of teacher '%s' is %s, '%.*s' of teacher '%s' is %s: an ensemble must agree",
                       STR_ARG(output_name(first)), first->name, first_shape, STR_ARG(output_name(t)), t->name, shape);
    }
    if (!scores_view(&a->shape, d->class_axis, view) || (!batch->whole && a->shape.dims[0] != batch->count))
        return err_set(err, ERR_DATA, "output '%.*s' of teacher '%s' is %s: expected one row for each of %lld samples and class axis %d",
                       STR_ARG(output_name(first)), first->name, first_shape, (long long)batch->count, d->class_axis);
    if (d->options->top_k > view->classes)
        return err_set(err, ERR_USAGE, "top-k is %lld, output '%.*s' has %lld classes", (long long)d->options->top_k,
                       STR_ARG(output_name(first)), (long long)view->classes);
    return OK;
}

static Status reserve(Distill *d, int64_t classes, Err *err)
{
    size_t n = (size_t)classes;
    if (array_grow((void **)&d->row, &d->row_capacity, n, sizeof *d->row) &&
        array_grow((void **)&d->logits, &d->logit_capacity, n, sizeof *d->logits) &&
        array_grow((void **)&d->probabilities, &d->probability_capacity, n, sizeof *d->probabilities) &&
        array_grow((void **)&d->order, &d->order_capacity, n, sizeof *d->order))
        return OK;
    return err_no_memory(err, "a row of scores");
}

/* d->logits = sum of w z, d->probabilities = sum of w softmax(z / T), at one position. */
static Status combine(Distill *d, const Batch *batch, const ScoreView *v, int64_t position, Err *err)
{
    for (int64_t j = 0; j < v->classes; j++) d->logits[j] = d->probabilities[j] = 0;
    for (int k = 0; k < d->teacher_count; k++) {
        const Teacher *t = &d->teachers[k];
        scores_read(&batch->outputs[k][t->output], v, position, d->row);
        if (scores_top(d->row, v->classes) < 0)
            return err_set(err, ERR_DATA, "output '%.*s' of teacher '%s' is NaN in samples %lld to %lld", STR_ARG(output_name(t)), t->name,
                           (long long)batch->first, (long long)(batch->first + batch->count - 1));
        scores_to_logits(t->kind, d->row, v->classes);
        for (int64_t j = 0; j < v->classes; j++) {
            if (t->weight > 0) d->logits[j] += t->weight * d->row[j]; /* 0 times infinity would be NaN */
        }
        scores_log_softmax(d->row, v->classes, d->options->temperature);
        for (int64_t j = 0; j < v->classes; j++) d->probabilities[j] += t->weight * exp(d->row[j]);
    }
    return OK;
}

static void tally(Distill *d, const Batch *batch, const ScoreView *v, int64_t position)
{
    for (int64_t j = 0; j < v->classes; j++) {
        if (d->probabilities[j] > 0) d->entropy -= d->probabilities[j] * log(d->probabilities[j]);
    }
    d->positions++;
    int64_t ignored;
    if (batch->labels == NULL || tensor_count(batch->labels) != scores_positions(v)) return;
    int64_t label = tensor_get_int(batch->labels, position);
    if (dataset_ignore_label(d->c->calibration, &ignored) && label == ignored) return;
    d->labelled++;
    d->correct += scores_top(d->probabilities, v->classes) == label;
}

/* The first k of d->order by falling probability, equals by index: selection by insertion, k is small. */
static void choose_top(Distill *d, int64_t classes, int64_t k)
{
    int64_t used = 0;
    for (int64_t j = 0; j < classes; j++) {
        int64_t at = used < k ? used : k;
        while (at > 0 && d->probabilities[j] > d->probabilities[d->order[at - 1]]) at--;
        if (at >= k) continue;
        if (used < k) used++;
        for (int64_t i = used - 1; i > at; i--) d->order[i] = d->order[i - 1];
        d->order[at] = j;
    }
}

static Status append_all(Distill *d, const char *const *names, Tensor *tensors, int count, Err *err)
{
    for (int i = 0; i < count; i++) TRY(targets_append(d->c->targets, names[i], &tensors[i], err));
    return OK;
}

/* Whole rows, laid out as the output is. */
static Status write_full(Distill *d, const Batch *batch, const ScoreView *v, Err *err)
{
    static const char *const names[] = { "logits", "probabilities" };
    const Shape *shape = &batch->outputs[0][d->teachers[0].output].shape;
    Tensor out[2] = { { 0 }, { 0 } };
    Status status = OK;
    for (int i = 0; i < 2; i++) TRY_OUT(tensor_new(&out[i], DT_FLOAT, shape, err));
    for (int64_t p = 0; p < scores_positions(v); p++) {
        TRY_OUT(combine(d, batch, v, p, err));
        tally(d, batch, v, p);
        int64_t first = p / v->inner * v->classes * v->inner + p % v->inner;
        for (int64_t j = 0; j < v->classes; j++) {
            ((float *)out[0].data)[first + j * v->inner] = (float)d->logits[j];
            ((float *)out[1].data)[first + j * v->inner] = (float)d->probabilities[j];
        }
    }
    status = append_all(d, names, out, 2, err);
out:
    for (int i = 0; i < 2; i++) tensor_release(&out[i]);
    return status;
}

/* The k most probable classes, along a last axis in the place of the class axis. */
static Status write_top(Distill *d, const Batch *batch, const ScoreView *v, Err *err)
{
    static const char *const names[] = { "top_indices", "top_logits", "top_probabilities" };
    const Shape *from = &batch->outputs[0][d->teachers[0].output].shape;
    int64_t k = d->options->top_k;
    Shape shape = { .rank = from->rank };
    for (int i = 0, at = 0; i < from->rank; i++) {
        if (i != v->axis) shape.dims[at++] = from->dims[i];
    }
    shape.dims[from->rank - 1] = k;
    Tensor out[3] = { { 0 }, { 0 }, { 0 } };
    Status status = OK;
    for (int i = 0; i < 3; i++) TRY_OUT(tensor_new(&out[i], i == 0 ? DT_INT32 : DT_FLOAT, &shape, err));
    for (int64_t p = 0; p < scores_positions(v); p++) {
        TRY_OUT(combine(d, batch, v, p, err));
        tally(d, batch, v, p);
        choose_top(d, v->classes, k);
        for (int64_t i = 0; i < k; i++) {
            ((int32_t *)out[0].data)[p * k + i] = (int32_t)d->order[i];
            ((float *)out[1].data)[p * k + i] = (float)d->logits[d->order[i]];
            ((float *)out[2].data)[p * k + i] = (float)d->probabilities[d->order[i]];
        }
    }
    status = append_all(d, names, out, 3, err);
out:
    for (int i = 0; i < 3; i++) tensor_release(&out[i]);
    return status;
}

Status soften_batch(Distill *d, const Batch *batch, Err *err)
{
    ScoreView view;
    TRY(check_outputs(d, batch, &view, err));
    TRY(reserve(d, view.classes, err));
    return d->options->top_k > 0 ? write_top(d, batch, &view, err) : write_full(d, batch, &view, err);
}
