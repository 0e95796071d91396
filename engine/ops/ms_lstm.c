/* DynamicQuantizeLSTM: an LSTM whose weights are bytes and whose inputs and states are made uint8 on the way: the whole of X over its range
 * once, the hidden state of all batches over its range before every step (0 always in it). Weights lie as [D,I,4H] and [D,H,4H]. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops/cell.h"
#include "engine/ops/list.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

enum { DL_X, DL_W, DL_R, DL_B, DL_LENGTHS, DL_H, DL_C, DL_P, DL_W_SCALE, DL_W_ZERO, DL_R_SCALE, DL_R_ZERO };

static Status lstm_infer(InferCall *c)
{
    int directions;
    bool backwards;
    TRY(cell_directions(c->graph, c->node, &directions, &backwards, c->err));
    for (int i = 0; i < c->output_count; i++) c->out[i].type = DT_FLOAT;
    const Shape *x = &c->in[DL_X].shape, *r = &c->in[DL_R].shape;
    if (x->rank < 0 || r->rank < 0) return OK;
    if (x->rank != 3 || r->rank != 3) return op_fail(c, ERR_DATA, "X of rank %d and R of rank %d, expected 3", x->rank, r->rank);
    c->out[0].shape = shape_of(4, (int64_t[]){ x->dims[0], directions, x->dims[1], r->dims[1] });
    for (int i = 1; i < c->output_count; i++) c->out[i].shape = shape_of(3, (int64_t[]){ directions, x->dims[1], r->dims[1] });
    return OK;
}

static Status check_weights(const OpCall *c, int i, const Cell *cell, int64_t rows)
{
    const Shape *s = &c->in[i]->shape;
    TRY(ms_check_byte(c, i));
    if (s->rank != 3 || s->dims[0] != cell->directions || s->dims[1] != rows || s->dims[2] != 4 * cell->hidden)
        return op_fail(c, ERR_DATA, "input %d is not [%d,%lld,%lld]", i, cell->directions, (long long)rows, (long long)(4 * cell->hidden));
    int scale = i == DL_W ? DL_W_SCALE : DL_R_SCALE, zero = scale + 1;
    if (c->in[scale]->type != DT_FLOAT) return op_bad_type(c, c->in[scale]->type);
    if (c->in[zero]->type != c->in[i]->type) return op_bad_type(c, c->in[zero]->type);
    int64_t columns = 4 * cell->hidden * cell->directions, given = tensor_count(c->in[scale]);
    if (given != cell->directions && given != columns)
        return op_fail(c, ERR_DATA, "%lld scales for %d directions", (long long)given, cell->directions);
    return ms_check_count(c, zero, given, false);
}

static Status lstm_check(const OpCall *c, const Cell *cell)
{
    int64_t states = cell->directions * cell->batch * cell->hidden;
    if (c->in[DL_X]->type != DT_FLOAT) return op_bad_type(c, c->in[DL_X]->type);
    TRY(check_weights(c, DL_W, cell, cell->inputs));
    TRY(check_weights(c, DL_R, cell, cell->hidden));
    TRY(ms_check_count(c, DL_B, cell->directions * 8 * cell->hidden, false));
    TRY(ms_check_count(c, DL_P, cell->directions * 3 * cell->hidden, false));
    TRY(ms_check_count(c, DL_H, states, false));
    TRY(ms_check_count(c, DL_C, states, false));
    const int floats[] = { DL_B, DL_P, DL_H, DL_C };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        const Tensor *t = ms_input(c, floats[i]);
        if (t != NULL && t->type != DT_FLOAT) return op_bad_type(c, t->type);
    }
    TRY(ms_check_count(c, DL_LENGTHS, cell->batch, false));
    for (int64_t b = 0; ms_input(c, DL_LENGTHS) != NULL && b < cell->batch; b++) {
        int64_t length = tensor_get_int(c->in[DL_LENGTHS], b);
        if (length < 0 || length > cell->steps) return op_fail(c, ERR_DATA, "sequence %lld has length %lld of %lld", (long long)b,
                                                               (long long)length, (long long)cell->steps);
    }
    return OK;
}

/* Weights of direction d as floats, gates first: out[4H, rows]. */
static void take_weights(const OpCall *c, int i, int d, int64_t rows, int64_t columns, float *out)
{
    const Tensor *w = c->in[i], *scale = c->in[i == DL_W ? DL_W_SCALE : DL_R_SCALE], *zero = c->in[i == DL_W ? DL_W_ZERO : DL_R_ZERO];
    bool each = w->shape.dims[0] != tensor_count(scale);
    for (int64_t k = 0; k < columns; k++) {
        int64_t p = each ? d * columns + k : d, shift = tensor_get_int(zero, p);
        for (int64_t r = 0; r < rows; r++)
            out[k * rows + r] = (float)(tensor_get_int(w, (d * rows + r) * columns + k) - shift) * tensor_floats(scale)[p];
    }
}

/* What uint8 over the range of x leaves of it. */
static void through_bytes(const float *x, int64_t count, float *out)
{
    float low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    float scale = high == low ? 1 : (high - low) / 255, zero = rintf(fminf(fmaxf(-low / scale, 0), 255));
    for (int64_t i = 0; i < count; i++) {
        float q = fminf(fmaxf(rintf(x[i] / scale) + zero, 0), 255);
        out[i] = (q - zero) * scale;
    }
}

/* Room of one direction. */
typedef struct LstmRoom {
    float *x, *w, *r, *h, *rounded, *c, *y;
    int32_t *active;
} LstmRoom;

static float *take(float **at, int64_t count)
{
    float *here = *at;
    *at += count;
    return here;
}

/* One direction: each step is a run of one step from the rounded state. Rows past their length keep theirs. */
static Status run_direction(const OpCall *c, const Cell *cell, int d, const LstmRoom *m)
{
    int64_t state = cell->batch * cell->hidden, row = cell->batch * cell->inputs;
    bool backwards = cell->backwards || d == 1;
    const Tensor *lengths = ms_input(c, DL_LENGTHS), *bias = ms_input(c, DL_B), *peephole = ms_input(c, DL_P);
    Cell one = *cell;
    one.steps = 1;
    for (int64_t i = 0; i < cell->steps; i++) {
        int64_t t = backwards ? cell->steps - 1 - i : i;
        for (int64_t b = 0; b < cell->batch; b++) m->active[b] = lengths == NULL || t < tensor_get_int(lengths, b);
        through_bytes(m->h, state, m->rounded);
        CellData data = { .x = m->x + t * row, .w = m->w, .r = m->r, .lengths = m->active, .h = m->rounded, .c = m->c,
                          .bias = bias != NULL ? tensor_floats(bias) + d * 8 * cell->hidden : NULL,
                          .peephole = peephole != NULL ? tensor_floats(peephole) + d * 3 * cell->hidden : NULL,
                          .y = m->y + t * cell->directions * state };
        TRY(cell_run(&one, d, &data, c->err));
        for (int64_t b = 0; b < cell->batch; b++)
            if (m->active[b]) memcpy(m->h + b * cell->hidden, m->rounded + b * cell->hidden, (size_t)cell->hidden * sizeof(float));
    }
    return OK;
}

static Status run_all(OpCall *c, const Cell *cell, float *at, int32_t *active)
{
    int64_t state = cell->batch * cell->hidden, all = cell->steps * cell->batch * cell->inputs, gates = 4 * cell->hidden;
    LstmRoom m = { .active = active };
    m.x = take(&at, all);
    m.w = take(&at, gates * cell->inputs);
    m.r = take(&at, gates * cell->hidden);
    m.h = take(&at, state);
    m.rounded = take(&at, state);
    m.c = take(&at, state);
    float *y = take(&at, cell->steps * cell->directions * state);
    through_bytes(tensor_floats(c->in[DL_X]), all, m.x);
    for (int d = 0; d < cell->directions; d++) {
        const Tensor *h = ms_input(c, DL_H), *first = ms_input(c, DL_C);
        take_weights(c, DL_W, d, cell->inputs, gates, m.w);
        take_weights(c, DL_R, d, cell->hidden, gates, m.r);
        for (int64_t i = 0; i < state; i++) {
            m.h[i] = h != NULL ? tensor_floats(h)[d * state + i] : 0;
            m.c[i] = first != NULL ? tensor_floats(first)[d * state + i] : 0;
        }
        m.y = y + d * state;
        TRY(run_direction(c, cell, d, &m));
        if (c->output_count > 1 && c->out[1].data != NULL) memcpy(tensor_floats(&c->out[1]) + d * state, m.h, (size_t)state * sizeof *m.h);
        if (c->output_count > 2 && c->out[2].data != NULL) memcpy(tensor_floats(&c->out[2]) + d * state, m.c, (size_t)state * sizeof *m.c);
    }
    if (c->out[0].data != NULL) memcpy(c->out[0].data, y, c->out[0].bytes);
    return OK;
}

static Status lstm_forward(OpCall *c)
{
    const Shape *x = &c->in[DL_X]->shape, *r = &c->in[DL_R]->shape;
    if (x->rank != 3 || r->rank != 3) return op_fail(c, ERR_DATA, "X of rank %d and R of rank %d, expected 3", x->rank, r->rank);
    Cell cell = { .kind = CELL_LSTM, .steps = x->dims[0], .batch = x->dims[1], .inputs = x->dims[2], .hidden = r->dims[1], .gates = 4 };
    TRY(cell_directions(c->graph, c->node, &cell.directions, &cell.backwards, c->err));
    if (cell.hidden > 1 << 20 || cell.batch > 1 << 20) return op_fail(c, ERR_UNSUPPORTED, "%lld hidden units, %lld batches",
                                                                      (long long)cell.hidden, (long long)cell.batch);
    TRY(lstm_check(c, &cell));
    TRY(cell_read(&cell, c->graph, c->node, c->err));
    TRY(opcall_prepare(c));
    int64_t state = cell.batch * cell.hidden;
    int64_t count = cell.steps * cell.batch * cell.inputs + 4 * cell.hidden * (cell.inputs + cell.hidden) + 3 * state +
                    cell.steps * cell.directions * state;
    float *room = alloc_zeroed((size_t)count + 1, sizeof *room);
    int32_t *active = alloc_zeroed((size_t)cell.batch + 1, sizeof *active);
    Status status = room != NULL && active != NULL ? run_all(c, &cell, room, active) : err_no_memory(c->err, "a quantized LSTM");
    free(room);
    free(active);
    return status;
}

static void lstm_cost(const CostCall *c, OpCost *out)
{
    const Shape *x = &c->in[DL_X].shape, *r = &c->in[DL_R].shape;
    if (x->rank == 3 && r->rank == 3) out->macs = x->dims[0] * x->dims[1] * r->dims[0] * 4 * r->dims[1] * (x->dims[2] + r->dims[1]);
}

const Op ops_ms_lstm[] = {
    MS_ENTRY("DynamicQuantizeLSTM", 12, 12, 1, 3, 1U << DL_B | 1U << DL_LENGTHS | 1U << DL_H | 1U << DL_C | 1U << DL_P, lstm_infer,
             lstm_forward, lstm_cost),
    OP_END,
};
