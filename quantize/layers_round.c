#include "quantize/layers_round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/solve.h"

/* Columns for each input of a layer from which on its weights may leave W for W*. */
#define TARGET_COLUMNS 4
/* Least damping of padded sequences for one input a column: words of a sentence are alike, and what few of them do not show must not look
 * free. */
#define FEW_COLUMNS 0.1
/* Share of zeros from which on a layer counts as pruned. */
#define PRUNED_SHARE 0.2

void round_job_release(RoundJob *j)
{
    free(j->partner);
    free(j->least);
    rounded_release(&j->rounded);
    *j = (RoundJob){ 0 };
}

static int find_layer(const RoundJobs *jobs, NodeId node, ValueId weight)
{
    for (int i = 0; i < jobs->layers; i++)
        if (jobs->of_layer[i] >= 0 && jobs->forms[i].layer.node == node && jobs->forms[i].layer.weight == weight) return i;
    return -1;
}

/* ---- one weight ---- */

static Status allocate_rounded(const RoundJob *j, int64_t blocks, int64_t block, Rounded *out, Err *err)
{
    int64_t rows = form_outputs(&j->form);
    *out = (Rounded){ .rows = rows, .width = j->form.width, .blocks = blocks, .block = block, .enlarged = 1.0, .kept_grid = true };
    out->q = alloc_array((size_t)(rows * j->form.width), sizeof *out->q);
    out->scales = alloc_array((size_t)(rows * blocks), sizeof *out->scales);
    out->zeros = alloc_array((size_t)(rows * blocks), sizeof *out->zeros);
    return out->q != NULL && out->scales != NULL && out->zeros != NULL ? OK : err_no_memory(err, "rounded weights");
}

/* Rows of one group go to their place among all rows. */
static Status put_group(RoundJob *j, int64_t group, const Rounded *part, Err *err)
{
    Rounded *r = &j->rounded;
    if (r->q == NULL) TRY(allocate_rounded(j, part->blocks, part->block, r, err));
    int64_t first = group * part->rows;
    memcpy(r->q + first * r->width, part->q, (size_t)(part->rows * r->width) * sizeof *r->q);
    memcpy(r->scales + first * r->blocks, part->scales, (size_t)(part->rows * r->blocks) * sizeof *r->scales);
    memcpy(r->zeros + first * r->blocks, part->zeros, (size_t)(part->rows * r->blocks) * sizeof *r->zeros);
    r->loss += part->loss;
    r->loss_nearest += part->loss_nearest;
    r->loss_found += part->loss_found;
    r->enlarged = fmax(r->enlarged, part->enlarged);
    r->kept_grid = r->kept_grid && part->kept_grid;
    return OK;
}

static Status round_plain(const Graph *g, RoundJob *j, int threads, Err *err)
{
    double *w = alloc_array((size_t)form_weights(&j->form) + 1, sizeof *w);
    if (w == NULL) return err_no_memory(err, "a layer's weights");
    RoundSpec spec = j->spec;
    spec.method = ROUND_NEAREST;
    layer_read_weights(g, &j->form, w);
    rounded_release(&j->rounded);
    Status status = round_matrix(&spec, form_outputs(&j->form), j->form.width, w, NULL, NULL, threads, &j->rounded, err);
    j->done = status == OK;
    free(w);
    return status;
}

Status layers_round_plain(const Graph *g, RoundJobs *jobs, int threads, Err *err)
{
    Status status = OK;
    int failed = jobs->count; /* of several that fail the first is named, whichever thread was faster */
    if (threads < 1) threads = 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int i = 0; i < jobs->count; i++) {
        Err mine;
        Status got = round_plain(g, &jobs->items[i], 1, &mine);
        if (got == OK) continue;
#pragma omp critical(layers_round_status)
        if (i < failed) {
            failed = i;
            status = got;
            if (err != NULL) *err = mine;
        }
    }
    return status;
}

/* ---- on the walk ---- */

typedef struct Rounding {
    const RoundRun *run;
    RoundJobs *jobs;
    bool *written;   /* [job]: the compressed network has its rounded weights */
    double few;      /* as FEW_COLUMNS, where it applies */
} Rounding;

typedef struct Buffers {
    double *h, *cross, *shift, *w, *target, *made;
    double *none;   /* zeros: the means of a layer that has no bias to take them */
} Buffers;

static void free_buffers(Buffers *b)
{
    free(b->h);
    free(b->cross);
    free(b->shift);
    free(b->w);
    free(b->target);
    free(b->made);
    free(b->none);
}

static Status allocate_buffers(const LayerForm *f, Buffers *b, Err *err)
{
    size_t square = (size_t)(f->width * f->width), rows = (size_t)(f->outputs * f->width), all = (size_t)form_weights(f);
    *b = (Buffers){ alloc_array(square, sizeof(double)), alloc_array(square, sizeof(double)), alloc_array(rows, sizeof(double)),
                    alloc_array(all, sizeof(double)), alloc_array(rows, sizeof(double)), alloc_array(all, sizeof(double)),
                    alloc_zeroed((size_t)(f->width > f->outputs ? f->width : f->outputs), sizeof(double)) };
    bool fine = b->h != NULL && b->cross != NULL && b->shift != NULL && b->w != NULL && b->target != NULL && b->made != NULL
        && b->none != NULL;
    return fine ? OK : err_no_memory(err, "a layer's matrices");
}

static bool on_old_grid(const RoundJob *j, const double *w)
{
    for (int64_t r = 0; r < form_outputs(&j->form); r++)
        if (grid_find(w + r * j->form.width, j->form.width, (1 << (j->spec.bits - 1)) - 1) == 0.0) return false;
    return true;
}

/* Pruned: what is zero is to stay so, which handing on errors would undo. */
static bool is_pruned(const LayerForm *f, const double *w)
{
    int64_t zeros = 0, count = form_weights(f);
    for (int64_t i = 0; i < count; i++) zeros += w[i] == 0.0;
    return (double)zeros >= PRUNED_SHARE * (double)count;
}

static Status round_group(const Rounding *u, const WalkLayer *l, RoundJob *j, int64_t group, bool pruned, bool target, Buffers *b,
                          Err *err)
{
    const LayerForm *f = l->form;
    int64_t n = f->width, rows = f->outputs;
    bool centred = u->run->bias && f->takes_bias;
    const double *w = b->w + group * rows * n, *goal = w;
    const double *sum = centred ? l->sum + group * n : b->none, *original = centred ? l->sum_original + group * n : b->none;
    Factor factor = { 0 };
    Rounded part = { 0 };
    Status status;
    memcpy(b->h, l->square + group * n * n, (size_t)(n * n) * sizeof(double));
    solve_center(b->h, n, n, sum, sum, l->count);
    double damping = fmax(ROUND_DAMPING, u->few * (double)n / fmax((double)l->count, 1.0));
    TRY_OUT(solve_factor(&factor, f->layer.name, n, b->h, damping, err));
    if (u->run->record != NULL) solve_note(u->run->record, f->layer.name, &factor);
    if (target) {
        double *shift = NULL;
        memcpy(b->cross, l->cross + group * n * n, (size_t)(n * n) * sizeof(double));
        solve_center(b->cross, n, n, original, sum, l->count);
        if (l->shift != NULL) {
            shift = b->shift;
            memcpy(shift, l->shift + group * rows * n, (size_t)(rows * n) * sizeof(double));
            solve_center(shift, rows, n, centred ? l->sum_shift + group * rows : b->none, sum, l->count);
        }
        TRY_OUT(solve_target(&factor, rows, w, b->cross, shift, b->target, err));
        goal = b->target;
    }
    RoundSpec spec = j->spec;
    spec.method = u->run->gptq && !pruned ? ROUND_GPTQ : ROUND_NEAREST;
    if (spec.least != NULL) spec.least += group * rows;
    TRY_OUT(round_matrix(&spec, rows, n, goal, factor.g, factor.l, u->run->threads, &part, err));
    status = put_group(j, group, &part, err);
out:
    factor_release(&factor);
    rounded_release(&part);
    return status;
}

/* One scale for all groups cannot be chosen group by group. */
static bool by_groups(const RoundJob *j)
{
    return j->form.groups == 1 || j->spec.block >= 0;
}

static Status round_on_walk(const Rounding *u, const WalkLayer *l, RoundJob *j, Buffers *b, Err *err)
{
    bool old = j->spec.keep_grid && on_old_grid(j, b->w);
    bool pruned = is_pruned(l->form, b->w);
    bool target = u->run->target && !old && !pruned && (!l->same_input || l->shift != NULL) && l->count >= TARGET_COLUMNS * l->form->width;
    rounded_release(&j->rounded);
    for (int64_t k = 0; k < l->form->groups; k++) TRY(round_group(u, l, j, k, pruned, target, b, err));
    j->done = j->walked = true;
    if (j->spec.learned > 0 && u->run->record != NULL && j->rounded.loss_found > 0.0)
        record_add(u->run->record, RECORD_NOTE, l->form->layer.name, "learned rounding: the layer's loss is %.4f of what it was",
                   j->rounded.loss / j->rounded.loss_found);
    return OK;
}

static Status correct_bias(const Rounding *u, const WalkLayer *l, const Buffers *b, Err *err)
{
    LayerForm *f = l->form;
    LayerForm original = *f;
    const Node *node = graph_node(u->run->original, f->layer.node);
    original.layer.bias = node->op->bias_input >= 0 ? node_input(node, node->op->bias_input) : 0;
    double *bias = alloc_array((size_t)form_outputs(f) + 1, sizeof *bias);
    if (bias == NULL) return err_no_memory(err, "a layer's bias");
    layer_read_bias(u->run->original, &original, bias);
    for (int64_t k = 0; k < f->groups; k++) {
        int64_t rows = k * f->outputs, at = k * f->width;
        solve_bias(bias + rows, f->outputs, f->width, b->w + rows * f->width, l->sum_original + at,
                   l->sum_shift != NULL ? l->sum_shift + rows : NULL, b->made + rows * f->width, l->sum + at, l->count);
    }
    Status status = layer_write_bias(u->run->compressed, f, bias, err);
    free(bias);
    return status;
}

static Status at_layer(void *user, const WalkLayer *l, Err *err)
{
    Rounding *u = user;
    int layer = find_layer(u->jobs, l->form->layer.node, l->form->layer.weight);
    if (layer < 0) return err_set(err, ERR_BUG, "layer '%.*s' has no job", STR_ARG(l->form->layer.name));
    int index = u->jobs->of_layer[layer];
    RoundJob *j = &u->jobs->items[index];
    Buffers b;
    Status status = OK;
    TRY_OUT(allocate_buffers(l->form, &b, err));
    layer_read_weights(u->run->original, l->form, b.w);
    if (!u->written[index]) {
        if (by_groups(j)) TRY_OUT(round_on_walk(u, l, j, &b, err));
        else TRY_OUT(round_plain(u->run->original, j, u->run->threads, err));
        rounded_values(&j->rounded, b.made);
        TRY_OUT(layer_write_weights(u->run->compressed, l->form, b.made, err));
        u->written[index] = true;
    }
    layer_read_weights(u->run->compressed, l->form, b.made);
    if (u->run->bias && l->form->takes_bias) TRY_OUT(correct_bias(u, l, &b, err));
out:
    free_buffers(&b);
    return status;
}

static bool take(void *user, const Layer *l)
{
    const Rounding *u = user;
    return find_layer(u->jobs, l->node, l->weight) >= 0;
}

/* The walk has one user for all of its calls. */
static bool wants(void *user, ValueId v)
{
    const Rounding *u = user;
    return u->run->alter->wants(u->run->alter_user, v);
}

static void apply(void *user, ValueId v, Tensor *t)
{
    const Rounding *u = user;
    u->run->alter->apply(u->run->alter_user, v, t);
}

Status layers_round_walk(const RoundRun *run, RoundJobs *jobs, Err *err)
{
    Rounding u = { .run = run, .jobs = jobs, .written = alloc_zeroed((size_t)jobs->count + 1, sizeof *u.written) };
    if (u.written == NULL) return err_no_memory(err, "the walk");
    WalkAlter alter = { wants, apply };
    Live live;
    LiveOptions find = { .threads = run->threads, .max_mem = run->max_mem, .samples = run->samples, .log = run->log };
    WalkOptions options = { .threads = run->threads, .batch = run->batch, .samples = run->samples, .positions = run->positions,
                            .single = run->single, .seed = run->seed, .max_mem = run->max_mem, .take = take, .log = run->log,
                            .alter = run->alter != NULL ? &alter : NULL, .live = &live };
    for (int i = 0; i < jobs->count; i++) jobs->items[i].done = jobs->items[i].walked = false;
    Status status = live_find(run->original, run->data, &find, &live, err);
    u.few = status == OK && live.feed >= 0 ? FEW_COLUMNS : 0.0;
    if (status == OK) status = walk_layers(run->original, run->compressed, run->data, &options, at_layer, &u, NULL, err);
    for (int i = 0; i < jobs->count && status == OK; i++)
        if (!jobs->items[i].done) status = round_plain(run->original, &jobs->items[i], run->threads, err);
    live_release(&live);
    free(u.written);
    return status;
}
