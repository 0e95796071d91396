/* RNN, GRU, LSTM: operands checked, layouts turned to time first, directions run by cell.c.
 *   layout 0: X [T,B,I], Y [T,D,B,H], states [D,B,H];  layout 1: X [B,T,I], Y [B,T,D,H], states [B,D,H].
 *   W [D,G*H,I], R [D,G*H,H], B [D,2*G*H], P [D,3*H], sequence_lens [B].
 * Beyond a sequence's end Y is 0 and the states stay; the states of an empty sequence are 0, as ONNX Runtime has it.
 * As layers: W is the weight (input 1), its output channels, the gates' units, lie along axis 1; R (input 2) is a second one. */
#include <limits.h>
#include <stdlib.h>

#include "engine/ops/cell.h"
#include "engine/ops/common.h"
#include "engine/ops/list.h"
#include "engine/ops/window.h"

/* --- inference */

static Status recurrent_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *r = &c->in[2].shape;
    bool batch_first = node_int(c->node, "layout", 0) != 0, backwards;
    int directions;
    TRY(cell_directions(c->graph, c->node, &directions, &backwards, c->err));
    for (int i = 0; i < 3; i++)
        if (c->in[i].shape.rank >= 0 && c->in[i].shape.rank != 3)
            return op_fail(c, ERR_DATA, "input %d has rank %d, expected 3", i, c->in[i].shape.rank);
    int64_t hidden = r->rank == 3 ? r->dims[2] : node_int(c->node, "hidden_size", DIM_UNKNOWN);
    if (hidden < 0) hidden = node_int(c->node, "hidden_size", DIM_UNKNOWN);
    int64_t steps = x->rank == 3 ? x->dims[batch_first ? 1 : 0] : DIM_UNKNOWN;
    int64_t batch = x->rank == 3 ? x->dims[batch_first ? 0 : 1] : DIM_UNKNOWN;
    for (int i = 0; i < c->output_count; i++) {
        c->out[i].type = c->in[0].type;
        c->out[i].shape = batch_first ? shape_of(3, (int64_t[]){ batch, directions, hidden })
                                      : shape_of(3, (int64_t[]){ directions, batch, hidden });
    }
    if (c->output_count > 0)
        c->out[0].shape = batch_first ? shape_of(4, (int64_t[]){ batch, steps, directions, hidden })
                                      : shape_of(4, (int64_t[]){ steps, directions, batch, hidden });
    return OK;
}

/* --- forward */

typedef struct Recurrent {
    Cell cell;
    bool batch_first;
    const Tensor *x, *w, *r, *bias, *lengths, *h, *c, *peephole;
    Tensor turned, y, states[2]; /* time first: input, output, h and c */
} Recurrent;

static const Tensor *given(const OpCall *c, int i)
{
    return i < c->input_count ? c->in[i] : NULL;
}

/* An operand, where it is there, must be of this type and shape. */
static Status check_operand(const OpCall *c, const Tensor *t, const char *name, DType type, Shape shape)
{
    if (t == NULL || (t->type == type && shape_eq(&t->shape, &shape))) return OK;
    char found[128], wanted[128];
    shape_print(&t->shape, found, sizeof found);
    shape_print(&shape, wanted, sizeof wanted);
    return op_fail(c, ERR_DATA, "%s is %s %s, expected %s %s", name, dtype_name(t->type), found, dtype_name(type), wanted);
}

static Status check_lengths(const OpCall *c, const Recurrent *r)
{
    for (int64_t b = 0; r->lengths != NULL && b < r->cell.batch; b++) {
        int64_t length = tensor_get_int(r->lengths, b);
        if (length < 0 || length > r->cell.steps)
            return op_fail(c, ERR_DATA, "sequence_lens[%lld] is %lld, outside 0..%lld", (long long)b, (long long)length,
                           (long long)r->cell.steps);
    }
    return OK;
}

static Status read_operands(OpCall *c, Recurrent *r)
{
    Cell *cell = &r->cell;
    cell->kind = cell_kind(c->node);
    cell->gates = cell_gates(cell->kind);
    r->batch_first = node_int(c->node, "layout", 0) != 0;
    TRY(cell_directions(c->graph, c->node, &cell->directions, &cell->backwards, c->err));
    TRY(cell_read(cell, c->graph, c->node, c->err));
    r->x = c->in[0], r->w = c->in[1], r->r = c->in[2], r->bias = given(c, 3), r->lengths = given(c, 4), r->h = given(c, 5);
    r->c = given(c, 6), r->peephole = given(c, 7);
    if (r->x->shape.rank != 3 || r->r->shape.rank != 3) return op_fail(c, ERR_DATA, "X and R must have rank 3");
    cell->steps = r->x->shape.dims[r->batch_first ? 1 : 0];
    cell->batch = r->x->shape.dims[r->batch_first ? 0 : 1];
    cell->inputs = r->x->shape.dims[2];
    cell->hidden = r->r->shape.dims[2];
    int64_t d = cell->directions, h = cell->hidden, rows = cell->gates * h;
    if (node_int(c->node, "hidden_size", h) != h)
        return op_fail(c, ERR_DATA, "hidden_size is %lld, R has %lld columns", (long long)node_int(c->node, "hidden_size", h),
                       (long long)h);
    if (h > INT_MAX / 8 || cell->inputs > INT_MAX || cell->batch > INT_MAX / 8)
        return op_fail(c, ERR_UNSUPPORTED, "dimensions of 2^28 or more");
    Shape state = r->batch_first ? shape_of(3, (int64_t[]){ cell->batch, d, h }) : shape_of(3, (int64_t[]){ d, cell->batch, h });
    TRY(check_operand(c, r->w, "W", DT_FLOAT, shape_of(3, (int64_t[]){ d, rows, cell->inputs })));
    TRY(check_operand(c, r->r, "R", DT_FLOAT, shape_of(3, (int64_t[]){ d, rows, h })));
    TRY(check_operand(c, r->bias, "B", DT_FLOAT, shape_of(2, (int64_t[]){ d, 2 * rows })));
    TRY(check_operand(c, r->lengths, "sequence_lens", DT_INT32, shape_of(1, &cell->batch)));
    TRY(check_operand(c, r->h, "initial_h", DT_FLOAT, state));
    TRY(check_operand(c, r->c, "initial_c", DT_FLOAT, state));
    TRY(check_operand(c, r->peephole, "P", DT_FLOAT, shape_of(2, (int64_t[]){ d, 3 * h })));
    return check_lengths(c, r);
}

/* out = t with its first axes exchanged so that output axis k is input axis order[k]. */
static Status turn(const Tensor *t, const int *order, Tensor *out, Err *err)
{
    Shape shape = t->shape;
    int64_t from[MAX_RANK], strides[MAX_RANK], to[MAX_RANK];
    strides_of(&t->shape, strides);
    for (int k = 0; k < shape.rank; k++) {
        shape.dims[k] = t->shape.dims[order[k]];
        from[k] = strides[order[k]];
    }
    if (out->data == NULL || !shape_eq(&out->shape, &shape)) {
        tensor_release(out);
        TRY(tensor_new(out, t->type, &shape, err));
    }
    strides_of(&shape, to);
    if (t->bytes > 0) copy_strided(dtype_size(t->type), shape.rank, shape.dims, out->data, to, t->data, from);
    return OK;
}

static const int swap_states[] = { 1, 0, 2 }, x_forward[] = { 1, 0, 2 }, y_back[] = { 2, 0, 1, 3 };

/* The states [D,B,H] to start from: given ones or zeros. */
static Status start_state(const OpCall *c, const Recurrent *r, const Tensor *initial, Tensor *out)
{
    Shape shape = shape_of(3, (int64_t[]){ r->cell.directions, r->cell.batch, r->cell.hidden });
    if (initial == NULL) return tensor_new(out, DT_FLOAT, &shape, c->err);
    return r->batch_first ? turn(initial, swap_states, out, c->err) : tensor_clone(initial, out, c->err);
}

static Status run_directions(const OpCall *c, Recurrent *r)
{
    const Cell *cell = &r->cell;
    int64_t state = cell->batch * cell->hidden, rows = cell->gates * cell->hidden;
    for (int d = 0; d < cell->directions; d++) {
        CellData data = { .x = tensor_floats(r->batch_first ? &r->turned : r->x), .w = tensor_floats(r->w) + d * rows * cell->inputs,
                          .r = tensor_floats(r->r) + d * rows * cell->hidden,
                          .bias = r->bias != NULL ? tensor_floats(r->bias) + d * 2 * rows : NULL,
                          .peephole = r->peephole != NULL ? tensor_floats(r->peephole) + d * 3 * cell->hidden : NULL,
                          .lengths = r->lengths != NULL ? (const int32_t *)(const void *)r->lengths->data : NULL,
                          .h = tensor_floats(&r->states[0]) + d * state, .c = tensor_floats(&r->states[1]) + d * state,
                          .y = r->y.data != NULL ? tensor_floats(&r->y) + d * state : NULL };
        TRY(cell_run(cell, d, &data, c->err));
        for (int64_t b = 0; data.lengths != NULL && b < cell->batch; b++) {
            if (data.lengths[b] != 0) continue;
            memset(data.h + b * cell->hidden, 0, (size_t)cell->hidden * sizeof(float));
            memset(data.c + b * cell->hidden, 0, (size_t)cell->hidden * sizeof(float));
        }
    }
    return OK;
}

/* One result in the caller's layout. */
static Status hand_out(OpCall *c, int i, const Recurrent *r, Tensor *made)
{
    if (i >= c->output_count || !c->wanted[i]) return OK;
    Tensor turned = { 0 };
    const Tensor *from = made;
    if (r->batch_first) {
        TRY(turn(made, i == 0 ? y_back : swap_states, &turned, c->err));
        from = &turned;
    }
    Status status = opcall_output(c, i, DT_FLOAT, &from->shape);
    if (status == OK && from->bytes > 0) memcpy(c->out[i].data, from->data, from->bytes);
    tensor_release(&turned);
    return status;
}

static Status recurrent_float(OpCall *c)
{
    Recurrent r = { .batch_first = false };
    Status status;
    TRY(read_operands(c, &r));
    Shape y = shape_of(4, (int64_t[]){ r.cell.steps, r.cell.directions, r.cell.batch, r.cell.hidden });
    if (r.batch_first) TRY_OUT(turn(r.x, x_forward, &r.turned, c->err));
    if (c->output_count > 0 && c->wanted[0]) TRY_OUT(tensor_new(&r.y, DT_FLOAT, &y, c->err));
    TRY_OUT(start_state(c, &r, r.h, &r.states[0]));
    TRY_OUT(start_state(c, &r, r.c, &r.states[1]));
    TRY_OUT(run_directions(c, &r));
    TRY_OUT(hand_out(c, 0, &r, &r.y));
    TRY_OUT(hand_out(c, 1, &r, &r.states[0]));
    TRY_OUT(hand_out(c, 2, &r, &r.states[1]));
out:
    tensor_release(&r.turned);
    tensor_release(&r.y);
    tensor_release(&r.states[0]);
    tensor_release(&r.states[1]);
    return status;
}

static Status recurrent_forward(OpCall *c)
{
    return opcall_in_float(c, recurrent_float);
}

/* Products of both matrices for each step, batch and direction; the gates' activations as transcendental, what joins them elementwise. */
static void recurrent_cost(const CostCall *c, OpCost *out)
{
    const Shape *x = &c->in[0].shape, *r = &c->in[2].shape;
    if (x->rank != 3 || r->rank != 3) return;
    int64_t cells, gates = cell_gates(cell_kind(c->node)), width = x->dims[2] + r->dims[2];
    if (!mul_i64(x->dims[0], x->dims[1], &cells) || !mul_i64(cells, r->dims[0] * r->dims[2], &cells)) return;
    if (!mul_i64(cells * gates, width, &out->macs)) out->macs = INT64_MAX;
    int64_t activations = cell_kind(c->node) == CELL_LSTM ? 5 : gates;
    out->transcendental = cells * activations;
    out->elementwise = cells * (cell_kind(c->node) == CELL_RNN ? 1 : 2 * gates);
}

static int gate_axis(const Graph *g, const Node *n)
{
    (void)g;
    (void)n;
    return 1;
}

#define RECURRENT(type_, inputs, outputs) \
    { .type = type_, .domain = "", .since = 1, .min_inputs = 3, .max_inputs = inputs, .min_outputs = 0, .max_outputs = outputs, \
      .weight_input = 1, .bias_input = 3, .recurrent_input = 2, .weight_axis = gate_axis, .infer = recurrent_infer, \
      .forward = recurrent_forward, .cost = recurrent_cost }

const Op ops_recurrent[] = {
    RECURRENT("RNN", 6, 2),
    RECURRENT("GRU", 6, 2),
    RECURRENT("LSTM", 8, 3),
    OP_END,
};
