/* Networks of a comparison and their inputs, before anything is run. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/comparison_private.h"

/* ---- data ---- */

/* By this network's own names; ERR_DATA or ERR_USAGE: they are not what the data hold. */
static Status open_own(Contest *c, int i, Err *err)
{
    const ComparisonOptions *o = c->options;
    const DataOptions options = { .max_mem = o->max_mem, .want_labels = true, .log = i == 0 ? o->log : NULL };
    return dataset_open(o->data, c->sides[i].model.graph, &options, &c->sides[i].data, err);
}

static int feeds_of(const Graph *g, ValueId *feeds)
{
    int count = graph_feeds(g, feeds, 0);
    return count <= COMPARE_FEEDS ? graph_feeds(g, feeds, COMPARE_FEEDS) : -1;
}

/* Inputs of one network in the order of another's mean the same where no name stands at two places. */
static bool same_order(const Graph *a, const Graph *b)
{
    ValueId of_a[COMPARE_FEEDS], of_b[COMPARE_FEEDS];
    int count = feeds_of(a, of_a);
    if (count < 0 || feeds_of(b, of_b) != count) return false;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            if (i != k && str_eq(graph_value(a, of_a[i])->name, graph_value(b, of_b[k])->name)) return false;
    return true;
}

/* Whether tensors are what a network's inputs take. */
static bool takes(const Graph *g, const Tensor *inputs)
{
    ValueId feeds[COMPARE_FEEDS];
    int count = feeds_of(g, feeds);
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        const Shape *s = &inputs[i].shape;
        if (v->type != DT_NONE && v->type != inputs[i].type) return false;
        if (v->shape.rank >= 0 && v->shape.rank != s->rank) return false;
        for (int d = 0; d < v->shape.rank; d++)
            if (v->shape.dims[d] >= 0 && v->shape.dims[d] != s->dims[d]) return false;
    }
    return count >= 0;
}

static Status start_gauge(Contest *c, int i, Dataset *data, Err *err)
{
    const ComparisonOptions *o = c->options;
    Side *s = &c->sides[i];
    s->gauge = (Gauge){ .threads = c->threads, .plain = o->plain, .int8 = o->int8, .seed = o->measure.seed, .max_mem = o->max_mem,
                        .log = o->log, .samples = o->batch, .evaluation = data };
    return gauge_init(&s->gauge, s->model.graph, NULL, err);
}

/* In place of data of its own, those of a network whose names the file holds. False: they do not fit. */
static Status stand_in(Contest *c, int i, int lead, bool *fits, Err *err)
{
    Side *s = &c->sides[i];
    ComparisonFile *f = &c->report->files[i];
    const Graph *of = c->sides[lead].model.graph;
    ValueId mine[COMPARE_FEEDS], theirs[COMPARE_FEEDS];
    *fits = false;
    if (!same_order(of, s->model.graph)) return OK;
    TRY(start_gauge(c, i, c->sides[lead].data, err));
    *fits = takes(s->model.graph, s->gauge.inputs);
    if (!*fits) {
        gauge_release(&s->gauge);
        return OK;
    }
    feeds_of(s->model.graph, mine);
    feeds_of(of, theirs);
    Str from = graph_value(of, theirs[0])->name, to = graph_value(s->model.graph, mine[0])->name;
    snprintf(f->inputs, sizeof f->inputs, "has no array of its own in %.100s: in their order its inputs are given what those of %.60s are, "
             "'%.*s' what '%.*s' is", c->options->data, c->report->files[lead].name, to.len < 60 ? (int)to.len : 60, to.data,
             from.len < 60 ? (int)from.len : 60, from.data);
    return OK;
}

/* Each by its own names where the data hold them; the others as the first that has them. */
static Status open_data(Contest *c, Err *err)
{
    int lead = -1;
    Err why;
    for (int i = 0; i < c->options->count; i++) {
        Status status = c->options->data != NULL ? open_own(c, i, &why) : OK;
        if (status != OK && status != ERR_DATA && status != ERR_USAGE)
            return err_set(err, status, "%s: %s", c->report->files[i].path, why.text);
        if (lead < 0 && c->sides[i].data != NULL) lead = i;
    }
    for (int i = 0; i < c->options->count; i++) {
        Side *s = &c->sides[i];
        bool fits = true;
        if (c->options->data == NULL || s->data != NULL) {
            if (start_gauge(c, i, s->data, err) != OK) return err_prefix(err, "%s", c->report->files[i].path);
            continue;
        }
        if (lead >= 0) TRY(stand_in(c, i, lead, &fits, err));
        if (lead < 0 || !fits) {
            return open_own(c, i, err) != OK ? err_prefix(err, "%s", c->report->files[i].path)
                                             : err_set(err, ERR_BUG, "data that could not be opened now can");
        }
    }
    return OK;
}

static Status read_batch(Contest *c, int i, Err *err)
{
    Side *s = &c->sides[i];
    int64_t want = c->options->batch > 0 ? c->options->batch : 1;
    if (s->gauge.fidelity == NULL) return OK;
    bool batched = dataset_batched(s->gauge.fidelity);
    s->batch = batched ? dataset_batch(s->gauge.fidelity, want) : 1;
    if (c->options->batch > 0 && s->batch != want)
        return err_set(err, ERR_USAGE, "%s: a batch of %lld is asked for, and %s takes %lld", c->report->files[i].path, (long long)want,
                       s->data != NULL && dataset_samples(s->data) < want ? "the data" : "the network", (long long)s->batch);
    s->inputs = calloc((size_t)s->gauge.input_count + 1, sizeof *s->inputs);
    if (s->inputs == NULL) return err_no_memory(err, "the inputs");
    TRY(dataset_read(s->gauge.fidelity, 0, batched ? s->batch : dataset_samples(s->gauge.fidelity), s->inputs, NULL, err));
    if (s->data != NULL || !s->gauge.given || takes(s->model.graph, s->inputs)) return OK;
    return err_set(err, ERR_USAGE, "%s: a batch of %lld is asked for, and the network fixes another", c->report->files[i].path,
                   (long long)s->batch);
}

/* ---- whether they are given the same ---- */

/* Samples of a call that the network itself fixes; 0: any number. */
static int64_t fixed_batch(const Graph *g)
{
    ValueId feeds[COMPARE_FEEDS];
    int64_t fixed = 0;
    for (int i = feeds_of(g, feeds) - 1; i >= 0; i--) {
        const Shape *s = &graph_value(g, feeds[i])->shape;
        if (s->rank > 0 && s->dims[0] > 0) fixed = s->dims[0];
    }
    return fixed;
}

int64_t sides_batch(const Contest *c)
{
    int64_t batch = 0;
    for (int i = 0; i < c->options->count; i++) {
        const Side *s = &c->sides[i];
        const Dataset *d = s->gauge.fidelity;
        int64_t own = d != NULL && dataset_batched(d) ? dataset_batch(d, 0) : 0;
        int64_t fixed = own > 0 && s->data == NULL && s->gauge.given ? fixed_batch(s->model.graph) : 0; /* the data are another's */
        if (fixed > 0 && fixed < own) own = fixed;
        if (own > 0 && (batch == 0 || own < batch)) batch = own;
    }
    return batch;
}

bool side_comparable(const Contest *c, int i)
{
    const Side *first = &c->sides[0], *s = &c->sides[i];
    const Dataset *a = first->gauge.fidelity, *b = s->gauge.fidelity;
    int64_t batch = sides_batch(c);
    if (a == NULL || b == NULL || dataset_batched(a) != dataset_batched(b) || dataset_samples(a) != dataset_samples(b)) return false;
    if (dataset_batch(a, batch) != dataset_batch(b, batch)) return false;
    return !s->apart || (s->data != NULL && first->data != NULL);
}

/* Dimensions of one sample where axis 0 counts them. */
static bool same_sample(const Side *a, int j, const Side *b, int k)
{
    Shape x = a->gauge.inputs[j].shape, y = b->gauge.inputs[k].shape;
    if (dataset_batched(a->gauge.fidelity) && dataset_batched(b->gauge.fidelity) && x.rank > 0 && y.rank > 0) x.dims[0] = y.dims[0] = 1;
    return a->gauge.inputs[j].type == b->gauge.inputs[k].type && shape_eq(&x, &y);
}

/* The first input of b that is not given what a is given, and in *place its place among a's; -1: none. Random numbers go by position, data
 * of their own by name. */
static int unlike_input(const Side *a, const Side *b, int count, bool own, int *place)
{
    ValueId of_a[COMPARE_FEEDS], of_b[COMPARE_FEEDS];
    feeds_of(a->model.graph, of_a);
    feeds_of(b->model.graph, of_b);
    for (int k = 0; k < count; k++) {
        int j = own ? 0 : k;
        while (own && j < count && !str_eq(graph_value(a->model.graph, of_a[j])->name, graph_value(b->model.graph, of_b[k])->name)) j++;
        *place = j < count ? j : k;
        if (j == count || !same_sample(a, j, b, k)) return k;
    }
    return -1;
}

static void print_input(const Side *s, int k, char *text, size_t size)
{
    ValueId feeds[COMPARE_FEEDS];
    char shape[100];
    feeds_of(s->model.graph, feeds);
    Str name = graph_value(s->model.graph, feeds[k])->name;
    shape_print(&s->gauge.inputs[k].shape, shape, sizeof shape);
    snprintf(text, size, "'%.*s' %s %s", name.len < 40 ? (int)name.len : 40, name.data, dtype_name(s->gauge.inputs[k].type), shape);
}

/* Whether network i is given other inputs than the first one, or the same in another order; what is to be said of it. */
static bool find_unlike(const Contest *c, int i, char *text, size_t size)
{
    const Side *first = &c->sides[0], *s = &c->sides[i];
    const char *name = c->report->files[0].name;
    bool own = s->data != NULL && first->data != NULL, ordered = same_order(first->model.graph, s->model.graph);
    int mine = s->gauge.input_count, of_first = first->gauge.input_count, place;
    char ours[200], theirs[200];
    if (mine != of_first) {
        snprintf(text, size, "takes %d input%s, %.60s takes %d", mine, mine == 1 ? "" : "s", name, of_first);
        return true;
    }
    int k = unlike_input(first, s, mine, own, &place);
    if (k >= 0) {
        print_input(s, k, ours, sizeof ours);
        print_input(first, place, theirs, sizeof theirs);
        snprintf(text, size, "is given other inputs than %.60s: %.120s, not %.120s", name, ours, theirs);
    } else if (!own && !ordered) {
        snprintf(text, size, "takes the inputs of %.60s in another order", name);
    }
    return k >= 0 || !ordered;
}

static void note_inputs(Contest *c, int i)
{
    const Side *first = &c->sides[0];
    Side *s = &c->sides[i];
    ComparisonFile *f = &c->report->files[i];
    char *text = f->inputs;
    if (first->gauge.fidelity == NULL || s->gauge.fidelity == NULL) return;
    bool stands_in = text[0] != '\0';
    if (!stands_in) s->apart = find_unlike(c, i, text, sizeof f->inputs);
    bool comparable = side_comparable(c, i);
    if (text[0] == '\0' && !comparable)
        snprintf(text, sizeof f->inputs, "takes other numbers of samples than %.60s", c->report->files[0].name);
    if (text[0] == '\0' || (stands_in && comparable)) return;
    size_t used = strlen(text);
    snprintf(text + used, sizeof f->inputs - used, "%s", comparable
             ? "; outputs are compared sample by sample, which says something where these are the same samples"
             : "; outputs are not compared, and ratios are of one inference of each, whatever its size");
}

Status sides_open(Contest *c, Err *err)
{
    const ComparisonOptions *o = c->options;
    for (int i = 0; i < o->count; i++) TRY(model_open(c->report->files[i].path, o->max_mem, &c->sides[i].model, err));
    TRY(open_data(c, err));
    for (int i = 0; i < o->count; i++) {
        TRY(places_apart_inputs(o->places, &c->sides[i].model, c->sides[i].data, err));
        TRY(read_batch(c, i, err));
    }
    for (int i = 0; i < o->count; i++) {
        const ComparisonFile *f = &c->report->files[i];
        if (i > 0) note_inputs(c, i);
        if (f->inputs[0] != '\0') log_warn(o->log, "%s: %s", f->path, f->inputs);
    }
    return OK;
}

void side_release(Side *s)
{
    for (int i = 0; s->inputs != NULL && i < s->gauge.input_count; i++) tensor_release(&s->inputs[i]);
    free(s->inputs);
    timed_release(&s->timed);
    session_free(s->session);
    gauge_release(&s->gauge);
    dataset_free(s->data);
    model_release(&s->model);
}
