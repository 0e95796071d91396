/* RNN, GRU and LSTM by packed products (engine/dnnl_product.c) and the gates of engine/gates.c: W x of many steps in one product, R h step
 * by step, by engine/steps.c where it serves and no gate waits for another, else by packed products as well. The library's own cells are
 * slower, 1.5 times at a batch of 32, and the matrix product inside them is made when it first runs, which takes 25 ms.
 * Left to the plain forward: activations other than the usual ones (an RNN may have Relu, Tanh, Sigmoid or LeakyRelu), clip, input_forget,
 * sequences of different lengths, weights that are not constant, and lengths whose gates take more than MOST_GATES, which the plain forward
 * takes in pieces. So are cells of fewer than 16 hidden units, but 8 with a batch of 8 or more: there the plain forward was measured to be
 * the faster one, up to 2.5 times, from 16 on this one, 2 to 5 times at 128.
 * The same bytes for any number of threads. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/blas_glue.h"
#include "engine/dnnl_private.h"
#include "engine/gates.h"
#include "engine/ops/window.h"
#include "engine/steps.h"
#include "engine/team.h"

#define MOST_GATES ((int64_t)1 << 24) /* floats */
#define LEAST_HIDDEN 16
#define CHUNK_GATES ((int64_t)1 << 16) /* floats of W x that are made at a time: they stay in a cache near by until they are read */
#define SHARED_STEP ((int64_t)1 << 21) /* multiply-adds of R h in a step, for threads to pay that wait for each other in every one */
/* The same where they meet once a step, or once a chunk: ten microseconds. Threads that share less gain little, and where others want the
 * processors each meeting may cost milliseconds. */
#define SHARED_OWN ((int64_t)1 << 18)

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };

/* y[rows, filters] = x[rows, channels] w^T + bias: a primitive, or the BLAS where the library has none for these shapes. */
typedef struct Factor {
    Primitive *primitive; /* NULL: the rest */
    const float *weights, *bias;
    int rows, channels, filters;
} Factor;

/* One direction. */
typedef struct Way {
    Factor whole, rest; /* W x and the biases: of a chunk of steps, of what remains */
    Factor step, late;  /* R h; of a GRU whose reset comes first: of z and r, of the candidate */
    float *bias;        /* [G,H] those of W and R summed, and behind it [H] that of R for a candidate inside its reset, else 0 */
    const float *peephole;
    StepWeights own;    /* R, in place of step and late */
} Way;

typedef struct Recurrent {
    Device *device;
    Cell cell;
    Way way[2];
    bool single;      /* a step is too little work for more than one thread */
    bool own;         /* R h by engine/steps.c */
    bool batch_first;
    int64_t chunk;    /* steps */
    size_t fixed, product, h, c, reset, update; /* where in the device's scratch memory, in floats */
} Recurrent;

/* --- what fits */

static Cell cell_at(const KernelSite *s, bool *fits)
{
    Cell cell = { .kind = cell_kind(s->node) };
    Err ignored;
    cell.gates = cell_gates(cell.kind);
    *fits = cell_directions(s->graph, s->node, &cell.directions, &cell.backwards, &ignored) == OK &&
            cell_read(&cell, s->graph, s->node, &ignored) == OK && s->in[IN_X].shape.rank == 3 && s->in[IN_R].shape.rank == 3;
    if (!*fits) return cell;
    bool batch_first = node_int(s->node, "layout", 0) != 0;
    cell.steps = s->in[IN_X].shape.dims[batch_first ? 1 : 0];
    cell.batch = s->in[IN_X].shape.dims[batch_first ? 0 : 1];
    cell.inputs = s->in[IN_X].shape.dims[2];
    cell.hidden = s->in[IN_R].shape.dims[2];
    return cell;
}

static bool usual_activations(const Cell *cell)
{
    static const ActivationKind usual[] = { ACT_SIGMOID, ACT_TANH, ACT_TANH };
    for (int d = 0; d < cell->directions; d++) {
        const Activation *act = cell->activation[d];
        if (cell->kind == CELL_RNN) {
            if (act->kind > ACT_LEAKY || act->kind == ACT_AFFINE) return false;
            continue;
        }
        for (int i = 0; i < cell->gates - 1; i++)
            if (act[i].kind != usual[i]) return false;
    }
    return true;
}

static bool is_there(const KernelSite *s, int i)
{
    return i < s->input_count && s->value[i] != 0;
}

/* Operand i is left out, or float32 of this shape and, where asked, constant. */
static bool operand_fits(const KernelSite *s, int i, bool constant, Shape shape)
{
    if (!is_there(s, i)) return true;
    return s->in[i].type == DT_FLOAT && shape_eq(&s->in[i].shape, &shape) && (!constant || s->constant[i] != NULL);
}

/* All sequences go to the end. */
static bool lengths_fit(const KernelSite *s, const Cell *cell)
{
    if (!is_there(s, IN_LENGTHS)) return true;
    const Tensor *t = s->constant[IN_LENGTHS];
    if (t == NULL || t->type != DT_INT32 || t->shape.rank != 1 || t->shape.dims[0] != cell->batch) return false;
    for (int64_t b = 0; b < cell->batch; b++)
        if (tensor_get_int(t, b) != cell->steps) return false;
    return true;
}

static bool recurrent_accept(const KernelSite *s)
{
    bool fits;
    Cell cell = cell_at(s, &fits);
    if (!fits || cell.clip != 0 || cell.input_forget || !usual_activations(&cell) || !lengths_fit(s, &cell)) return false;
    int64_t d = cell.directions, h = cell.hidden, rows = cell.gates * h, gates;
    if (h < LEAST_HIDDEN && (h != LEAST_HIDDEN / 2 || cell.batch < 8)) return false;
    if (h > INT32_MAX / 8 || cell.inputs < 1 || cell.steps < 1 || cell.batch < 1) return false;
    if (!mul_i64(cell.steps * rows, cell.batch, &gates) || gates > MOST_GATES) return false;
    bool batch_first = node_int(s->node, "layout", 0) != 0;
    Shape state = batch_first ? shape_of(3, (int64_t[]){ cell.batch, d, h }) : shape_of(3, (int64_t[]){ d, cell.batch, h });
    return is_there(s, IN_W) && is_there(s, IN_R) && node_int(s->node, "hidden_size", h) == h &&
           operand_fits(s, IN_X, false, s->in[IN_X].shape) &&
           operand_fits(s, IN_W, true, shape_of(3, (int64_t[]){ d, rows, cell.inputs })) &&
           operand_fits(s, IN_R, true, shape_of(3, (int64_t[]){ d, rows, h })) &&
           operand_fits(s, IN_B, true, shape_of(2, (int64_t[]){ d, 2 * rows })) && operand_fits(s, IN_H, false, state) &&
           operand_fits(s, IN_C, false, state) && operand_fits(s, IN_P, true, shape_of(2, (int64_t[]){ d, 3 * h }));
}

/* --- making one */

static bool resets_first(const Cell *cell)
{
    return cell->kind == CELL_GRU && !cell->linear_before_reset;
}

static Status factor_new(const KernelSite *s, Factor *f, int i, uint64_t variant, const float *weights, const float *bias, int64_t rows,
                         int64_t channels, int64_t filters)
{
    *f = (Factor){ NULL, weights, bias, (int)rows, (int)channels, (int)filters };
    Status status = product_new(s->device, s->value[i], variant, weights, bias, rows, channels, filters, &f->primitive, s->err);
    return status == ERR_UNSUPPORTED ? OK : status;
}

static Status factor_run(const Factor *f, const float *x, float *y, Err *err)
{
    if (f->primitive != NULL) return primitive_run(f->primitive, (const void *[]){ x }, (void *[]){ y }, err);
    for (int k = 0; f->bias != NULL && k < f->rows; k++)
        memcpy(y + (size_t)k * (size_t)f->filters, f->bias, (size_t)f->filters * sizeof *y);
    blas_sgemm(false, true, f->rows, f->filters, f->channels, 1, x, f->channels, f->weights, f->channels, f->bias != NULL ? 1 : 0, y,
               f->filters);
    return OK;
}

static Status bias_new(const KernelSite *s, const Cell *cell, int d, float **out)
{
    int64_t h = cell->hidden, rows = cell->gates * h;
    float *bias = *out = alloc_zeroed((size_t)(cell->gates + 1), (size_t)h * sizeof *bias);
    if (bias == NULL) return err_no_memory(s->err, "recurrent biases");
    if (!is_there(s, IN_B)) return OK;
    const float *given = tensor_floats(s->constant[IN_B]) + d * 2 * rows;
    int64_t inner = cell->kind == CELL_GRU && cell->linear_before_reset ? 2 * h : rows;
    for (int64_t j = 0; j < rows; j++) bias[j] = given[j] + (j < inner ? given[rows + j] : 0);
    for (int64_t j = inner; j < rows; j++) bias[rows + j - inner] = given[rows + j];
    return OK;
}

typedef struct Filling {
    const StepWeights *steps;
    const float *weights;
} Filling;

static void fill(const void *user, void *out)
{
    const Filling *f = user;
    steps_pack(f->steps, f->weights, out);
}

static Status own_new(const KernelSite *s, const Cell *cell, uint64_t variant, const float *weights, StepWeights *own)
{
    const void *packed;
    *own = steps_init(cell->hidden, cell->gates);
    TRY(device_pack_by(s->device, s->value[IN_R], variant, steps_bytes(own), fill, &(Filling){ own, weights }, &packed, s->err));
    own->packed = packed;
    return OK;
}

static Status way_new(const KernelSite *s, const Recurrent *r, int d, Way *way)
{
    const Cell *cell = &r->cell;
    int64_t h = cell->hidden, rows = cell->gates * h, batch = cell->batch, rest = cell->steps % r->chunk;
    const float *w = tensor_floats(s->constant[IN_W]) + d * rows * cell->inputs, *own = tensor_floats(s->constant[IN_R]) + d * rows * h;
    uint64_t variant = (uint64_t)d + 1;
    int64_t early = resets_first(cell) ? 2 * h : rows;
    int threads = omp_get_max_threads();
    if (is_there(s, IN_P)) way->peephole = tensor_floats(s->constant[IN_P]) + d * 3 * h;
    TRY(bias_new(s, cell, d, &way->bias));
    TRY(factor_new(s, &way->whole, IN_W, variant, w, way->bias, r->chunk * batch, cell->inputs, rows));
    if (rest > 0) TRY(factor_new(s, &way->rest, IN_W, variant, w, way->bias, rest * batch, cell->inputs, rows));
    if (r->own) return own_new(s, cell, variant, own, &way->own);
    if (r->single) omp_set_num_threads(1);
    Status status = factor_new(s, &way->step, IN_R, variant, own, NULL, batch, h, early);
    if (status == OK && early < rows) status = factor_new(s, &way->late, IN_R, variant + 2, own + early * h, NULL, batch, h, rows - early);
    omp_set_num_threads(threads);
    return status;
}

static void recurrent_release(void *state)
{
    Recurrent *r = state;
    if (r == NULL) return;
    for (int d = 0; d < 2; d++) {
        primitive_release(r->way[d].whole.primitive);
        primitive_release(r->way[d].rest.primitive);
        primitive_release(r->way[d].step.primitive);
        primitive_release(r->way[d].late.primitive);
        free(r->way[d].bias);
    }
    free(r);
}

/* Places in the scratch memory. */
static Status lay_out(Recurrent *r, Err *err)
{
    const Cell *cell = &r->cell;
    size_t state = (size_t)(cell->batch * cell->hidden), gates = state * (size_t)cell->gates, at = 0;
    size_t *const places[] = { &r->fixed, &r->product, &r->h, &r->c, &r->reset, &r->update };
    const size_t sizes[] = { gates * (size_t)r->chunk, gates, state, state, state, state };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *places[i] = at;
        at += (sizes[i] + 15) / 16 * 16; /* a cache line */
    }
    return device_scratch(r->device, at * sizeof(float), err);
}

static Status recurrent_prepare(KernelSite *s, void **state)
{
    bool fits;
    Recurrent *r = alloc_zeroed(1, sizeof *r);
    if (r == NULL) return err_no_memory(s->err, "kernel state");
    const Cell *cell = &r->cell;
    r->cell = cell_at(s, &fits);
    r->device = s->device;
    r->own = device_is_avx2() && !resets_first(cell);
    r->single = cell->batch * cell->gates * cell->hidden < (r->own ? SHARED_OWN : SHARED_STEP) / cell->hidden;
    r->batch_first = node_int(s->node, "layout", 0) != 0 && cell->batch > 1; /* of one, the layouts are the same */
    r->chunk = CHUNK_GATES / (cell->batch * cell->gates * cell->hidden) + 1;
    if (r->chunk > cell->steps || r->batch_first) r->chunk = cell->steps; /* of steps that do not lie together, all */
    Status status;
    TRY_OUT(lay_out(r, s->err));
    for (int d = 0; d < cell->directions; d++) TRY_OUT(way_new(s, r, d, &r->way[d]));
    for (int i = 0; i < s->input_count; i++) s->unused[i] = i != IN_X && i != IN_H && i != IN_C;
out:
    if (status != OK) recurrent_release(r);
    else *state = r;
    return status;
}

/* --- running */

/* One direction of a run. */
typedef struct Walk {
    const Recurrent *r;
    const Way *way;
    int d;
    float *fixed, *product, *h, *c, *reset, *update; /* scratch memory */
    float *y;                                        /* NULL: nobody reads it */
    Err *err;
} Walk;

/* Row b of a step, whose products lie at `row` of the chunk's. */
static GateRow row_at(const Walk *w, int64_t t, int64_t row, int64_t b, int64_t width)
{
    const Cell *cell = &w->r->cell;
    int64_t n = cell->hidden, place = (t * cell->directions + w->d) * cell->batch + b;
    if (w->r->batch_first) place = (b * cell->steps + t) * cell->directions + w->d;
    float *h = w->h + b * n;
    return (GateRow){ n, n, w->fixed + row * cell->gates * n, w->product + b * width, h, h, w->c + b * n,
                      w->y != NULL ? w->y + place * n : h };
}

/* `first`: the unit that the row begins with. */
static void join_gates(const Walk *w, const GateRow *row, int64_t first)
{
    const Cell *cell = &w->r->cell;
    if (cell->kind == CELL_LSTM) gates_lstm(row, w->way->peephole != NULL ? w->way->peephole + first : NULL);
    else if (cell->kind == CELL_GRU) gates_gru_reset_last(row, w->way->bias + cell->gates * cell->hidden + first);
    else gates_rnn(row, &cell->activation[w->d][0]);
}

/* Step t, the k-th of its chunk. */
static Status step_run(const Walk *w, int64_t t, int64_t k)
{
    const Cell *cell = &w->r->cell;
    int64_t batch = cell->batch, n = cell->hidden, stride = w->r->batch_first ? cell->steps : 1, first = w->r->batch_first ? t : k * batch;
    bool late = resets_first(cell);
    TRY(factor_run(&w->way->step, w->h, w->product, w->err));
#pragma omp parallel for schedule(static) if (!w->r->single)
    for (int64_t b = 0; b < batch; b++) {
        GateRow row = row_at(w, t, first + b * stride, b, (late ? 2 : cell->gates) * n);
        if (late) gates_gru_reset(&row, w->update + b * n, w->reset + b * n);
        else join_gates(w, &row, 0);
    }
    if (!late) return OK;
    TRY(factor_run(&w->way->late, w->reset, w->product, w->err));
#pragma omp parallel for schedule(static) if (!w->r->single)
    for (int64_t b = 0; b < batch; b++) {
        GateRow row = row_at(w, t, first + b * stride, b, n);
        gates_gru_rest(&row, w->update + b * n);
    }
    return OK;
}

/* What one thread has of every step. */
typedef struct Share {
    int64_t first, end, from, to; /* rows, panels */
    bool meets;                   /* its next step reads what others make */
} Share;

/* Rows where they come out even, for each to go its way alone; else panels. */
static Share share_of(const Recurrent *r, const StepWeights *own, int at, int of)
{
    int64_t parts = (r->cell.batch + STEP_ROWS - 1) / STEP_ROWS;
    if (of > 1 && parts % of == 0 && r->cell.batch % STEP_ROWS != 1) {
        int64_t end = parts * (at + 1) / of * STEP_ROWS;
        return (Share){ parts * at / of * STEP_ROWS, end < r->cell.batch ? end : r->cell.batch, 0, own->panels, false };
    }
    return (Share){ 0, r->cell.batch, own->panels * at / of, own->panels * (at + 1) / of, of > 1 };
}

/* One thread's share of the steps of a chunk from step `from` on; `done`: steps walked before. */
static void steps_walk(const Walk *w, int64_t from, int64_t count, int64_t done, bool backwards, int of, int *arrived)
{
    const Recurrent *r = w->r;
    const StepWeights *own = &w->way->own;
    int64_t batch = r->cell.batch, n = r->cell.hidden, stride = r->batch_first ? r->cell.steps : 1;
    Share share = share_of(r, own, of > 1 ? omp_get_thread_num() : 0, of);
    int64_t unit = share.from * own->units, units = (share.to * own->units < n ? share.to * own->units : n) - unit;
    float *const state[] = { w->h, w->reset };
    for (int64_t i = 0; i < count; i++) {
        int64_t k = backwards ? count - 1 - i : i, first = r->batch_first ? from + k : k * batch;
        const float *before = state[(done + i) % 2];
        float *after = state[(done + i + 1) % 2];
        steps_run(own, before, share.first, share.end, share.from, share.to, w->product);
        for (int64_t b = share.first; b < share.end && units > 0; b++) {
            GateRow row = row_at(w, from + k, first + b * stride, b, r->cell.gates * n);
            if (w->y == NULL) row.y = after + b * n;
            join_gates(w, &(GateRow){ n, units, row.fixed + unit, row.product + unit, before + b * n + unit, after + b * n + unit,
                                      row.c + unit, row.y + unit }, unit);
        }
        if (share.meets) team_meet(arrived, (int)(i + 1) * of);
    }
}

/* The state lies in w->h and w->reset by turns, at last in w->h. */
static void own_walk(const Walk *w, int64_t from, int64_t count, int64_t done, bool backwards)
{
    int threads = w->r->single ? 1 : omp_get_max_threads(), arrived = 0;
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        steps_walk(w, from, count, done, backwards, omp_get_num_threads(), &arrived);
    } else {
        steps_walk(w, from, count, done, backwards, 1, &arrived);
    }
    if (done + count == w->r->cell.steps && (done + count) % 2 == 1)
        memcpy(w->h, w->reset, (size_t)(w->r->cell.batch * w->r->cell.hidden) * sizeof *w->h);
}

static Status walk(const Walk *w, const float *x)
{
    const Recurrent *r = w->r;
    const Cell *cell = &r->cell;
    bool backwards = w->d == 1 || cell->backwards;
    int threads = omp_get_max_threads();
    Status status = OK;
    for (int64_t done = 0; done < cell->steps && status == OK; done += r->chunk) {
        int64_t count = cell->steps - done < r->chunk ? cell->steps - done : r->chunk;
        int64_t from = backwards ? cell->steps - done - count : done;
        const Factor *f = count == r->chunk ? &w->way->whole : &w->way->rest;
        status = factor_run(f, x + from * cell->batch * cell->inputs, w->fixed, w->err);
        if (status == OK && r->own) own_walk(w, from, count, done, backwards);
        if (r->single) omp_set_num_threads(1);
        for (int64_t i = 0; i < count && status == OK && !r->own; i++) {
            int64_t k = backwards ? count - 1 - i : i;
            status = step_run(w, from + k, k);
        }
        omp_set_num_threads(threads);
    }
    return status;
}

/* A state [B,H] of direction d from, or to, the caller's [D,B,H] or [B,D,H]. */
static void copy_state(const Recurrent *r, int d, float *own, const float *given, float *made)
{
    size_t n = (size_t)r->cell.hidden, bytes = n * sizeof *own, batch = (size_t)r->cell.batch;
    for (size_t b = 0; b < batch; b++) {
        size_t place = (r->batch_first ? b * (size_t)r->cell.directions + (size_t)d : (size_t)d * batch + b) * n;
        if (made != NULL) memcpy(made + place, own + b * n, bytes);
        else if (given != NULL) memcpy(own + b * n, given + place, bytes);
        else memset(own + b * n, 0, bytes);
    }
}

static Status recurrent_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Recurrent *r = state;
    float *scratch = r->device->scratch;
    for (int d = 0; d < r->cell.directions; d++) {
        Walk w = { r, &r->way[d], d, scratch + r->fixed, scratch + r->product, scratch + r->h, scratch + r->c, scratch + r->reset,
                   scratch + r->update, out[0], err };
        copy_state(r, d, w.h, in[IN_H], NULL);
        copy_state(r, d, w.c, in[IN_C], NULL);
        TRY(walk(&w, in[IN_X]));
        if (out[1] != NULL) copy_state(r, d, w.h, NULL, out[1]);
        if (out[2] != NULL) copy_state(r, d, w.c, NULL, out[2]);
    }
    return OK;
}

#define RECURRENT(op_name) { "packed", op_name, recurrent_accept, recurrent_prepare, recurrent_run, recurrent_release, NULL, false }

const Kernel kernels_recurrent[] = {
    RECURRENT("RNN"),
    RECURRENT("GRU"),
    RECURRENT("LSTM"),
    { .name = NULL },
};
