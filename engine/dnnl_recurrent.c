/* RNN, GRU and LSTM by oneDNN: one primitive for each direction, whose sources and results are read and written where they lie, in either
 * layout, by strides.
 *   gates: RNN i;  GRU z r h, oneDNN's u r o (both h = (1 - z) n + z h);  LSTM i o f c, oneDNN's i f c o
 *   peepholes of an LSTM: i o f, oneDNN's i f o
 *   biases: those of W and R summed; with linear_before_reset that of R for the candidate stays apart, as a fourth
 * Left to the plain forward: activations other than the usual ones (an RNN may have Relu, Tanh, Sigmoid or LeakyRelu), clip, input_forget,
 * sequences of different lengths, weights that are not constant, and lengths whose gates take more than MOST_GATES, which the plain forward
 * takes in pieces. So are cells of fewer than 16 hidden units, but 8 with a batch of 8 or more: there the plain forward was measured to be
 * the faster one, up to 2.5 times, from 16 on this one, 2 to 5 times at 128.
 * The same bytes for any number of threads. */
#include "engine/dnnl_private.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/ops/cell.h"
#include "engine/ops/window.h"

#define MOST_GATES ((int64_t)1 << 24) /* floats */
#define LEAST_HIDDEN 16
#define SHARED_STEP ((int64_t)1 << 21) /* multiply-adds of R h in a step, for threads to pay that wait for each other in every one */

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };

/* State of a site: a primitive for each direction. */
typedef struct Recurrent {
    Device *device;
    Primitive *each[2];
    int directions;
    bool single;           /* a step is too little work for more than one thread */
    size_t y_step, h_step; /* floats from one direction's part of Y, or of the states, to the next one's */
    size_t unread[3];      /* where in the device's scratch memory Y, Y_h and Y_c go when nobody reads them */
    float *zeros;          /* the one state of an LSTM that is left out when the other is given; else NULL */
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

/* --- weights */

/* Where oneDNN's gate k stands in ONNX's order. */
static int gate_from(const Cell *cell, int k)
{
    static const int lstm[] = { 0, 2, 3, 1 };
    return cell->kind == CELL_LSTM ? lstm[k] : k;
}

static int bias_count(const Cell *cell)
{
    return cell->kind == CELL_GRU && cell->linear_before_reset ? 4 : cell->gates;
}

/* Constant i of direction d, [G*H,depth], with its gates in oneDNN's order and the elements in the order `to`. */
static Status pack_weights(const KernelSite *s, const Cell *cell, int d, int i, const dnnl_memory_desc_t *to, const void **out)
{
    int64_t h = cell->hidden, g = cell->gates, depth = i == IN_W ? cell->inputs : h;
    const float *from = tensor_floats(s->constant[i]) + d * g * h * depth;
    dnnl_memory_desc_t plain;
    dnnl_dims_t dims = { 1, 1, depth, g, h }, strides = { g * h * depth, g * h * depth, 1, h * depth, depth };
    TRY(dnnl_check(dnnl_memory_desc_init_by_strides(&plain, 5, dims, dnnl_f32, strides), "recurrent weights", s->err));
    float *turned = alloc_array((size_t)(g * h), (size_t)depth * sizeof *turned);
    if (turned == NULL) return err_no_memory(s->err, "recurrent weights");
    for (int k = 0; k < g; k++)
        memcpy(turned + k * h * depth, from + gate_from(cell, k) * h * depth, (size_t)(h * depth) * sizeof *turned);
    Status status = device_pack(s->device, s->value[i], (uint64_t)d + 1, turned, &plain, to, out, s->err);
    free(turned);
    return status;
}

/* [4 or G, H] biases and behind them [3,H] peepholes in oneDNN's order, zero where left out. */
static float *small_constants(const KernelSite *s, const Cell *cell, int d)
{
    int64_t h = cell->hidden, rows = cell->gates * h;
    int biases = bias_count(cell);
    float *out = alloc_zeroed((size_t)(biases + 3), (size_t)h * sizeof *out);
    if (out == NULL) return NULL;
    const float *bias = is_there(s, IN_B) ? tensor_floats(s->constant[IN_B]) + d * 2 * rows : NULL;
    for (int k = 0; bias != NULL && k < cell->gates; k++)
        for (int64_t j = 0; j < h; j++) {
            int64_t at = gate_from(cell, k) * h + j;
            bool apart = biases > cell->gates && k == 2;
            out[k * h + j] = bias[at] + (apart ? 0 : bias[rows + at]);
            if (apart) out[3 * h + j] = bias[rows + at];
        }
    const float *peephole = is_there(s, IN_P) ? tensor_floats(s->constant[IN_P]) + d * 3 * h : NULL;
    static const int from[] = { 0, 2, 1 };
    for (int k = 0; peephole != NULL && k < 3; k++)
        memcpy(out + (biases + k) * h, peephole + from[k] * h, (size_t)h * sizeof *out);
    return out;
}

/* --- the primitive of one direction */

/* Descriptors; `any` for the weights, the others where they lie. */
typedef struct Views {
    dnnl_memory_desc_t x, y, h, w, r, bias, peephole;
} Views;

static Status views_init(const KernelSite *s, const Cell *cell, bool any, Views *v)
{
    int64_t t = cell->steps, b = cell->batch, i = cell->inputs, h = cell->hidden, d = cell->directions, g = cell->gates;
    bool first = node_int(s->node, "layout", 0) != 0;
    dnnl_dims_t x = { t, b, i }, y = { t, b, h }, state = { 1, 1, b, h }, w = { 1, 1, i, g, h }, r = { 1, 1, h, g, h };
    dnnl_dims_t x_by = { first ? i : b * i, first ? t * i : i, 1 }, y_by = { first ? d * h : d * b * h, first ? t * d * h : h, 1 };
    dnnl_dims_t h_by = { d * b * h, b * h, first ? d * h : h, 1 };
    dnnl_format_tag_t tag = any ? dnnl_format_tag_any : dnnl_ldigo;
    TRY(dnnl_check(dnnl_memory_desc_init_by_strides(&v->x, 3, x, dnnl_f32, x_by), "recurrent cell", s->err));
    TRY(dnnl_check(dnnl_memory_desc_init_by_strides(&v->y, 3, y, dnnl_f32, y_by), "recurrent cell", s->err));
    TRY(dnnl_check(dnnl_memory_desc_init_by_strides(&v->h, 4, state, dnnl_f32, h_by), "recurrent cell", s->err));
    TRY(dnnl_check(dnnl_memory_desc_init_by_tag(&v->w, 5, w, dnnl_f32, tag), "recurrent cell", s->err));
    TRY(dnnl_check(dnnl_memory_desc_init_by_tag(&v->r, 5, r, dnnl_f32, tag), "recurrent cell", s->err));
    bool fine = md_plain(&v->bias, dnnl_f32, 4, (int64_t[]){ 1, 1, bias_count(cell), h }) &&
                md_plain(&v->peephole, dnnl_f32, 4, (int64_t[]){ 1, 1, 3, h });
    return fine ? OK : err_set(s->err, ERR_UNSUPPORTED, "an empty recurrent cell");
}

static dnnl_status_t describe(const KernelSite *s, const Cell *cell, int d, const Views *v, dnnl_rnn_desc_t *out)
{
    dnnl_rnn_direction_t direction = cell->backwards || d == 1 ? dnnl_unidirectional_right2left : dnnl_unidirectional_left2right;
    const dnnl_memory_desc_t *h = is_there(s, IN_H) || is_there(s, IN_C) ? &v->h : NULL;
    const dnnl_prop_kind_t kind = dnnl_forward_inference;
    const Activation *act = &cell->activation[d][0];
    if (cell->kind == CELL_LSTM)
        return dnnl_lstm_forward_desc_init_v2(out, kind, direction, &v->x, h, h, &v->w, &v->r, is_there(s, IN_P) ? &v->peephole : NULL,
                                              &v->bias, &v->y, &v->h, &v->h, 0);
    if (cell->kind == CELL_RNN) {
        dnnl_alg_kind_t f = act->kind == ACT_TANH      ? dnnl_eltwise_tanh
                            : act->kind == ACT_SIGMOID ? dnnl_eltwise_logistic
                                                       : dnnl_eltwise_relu;
        return dnnl_vanilla_rnn_forward_desc_init(out, kind, f, direction, &v->x, h, &v->w, &v->r, &v->bias, &v->y, &v->h, 0,
                                                  act->kind == ACT_LEAKY ? act->alpha : 0, 0);
    }
    return (cell->linear_before_reset ? dnnl_lbr_gru_forward_desc_init : dnnl_gru_forward_desc_init)(out, kind, direction, &v->x, h, &v->w,
                                                                                                    &v->r, &v->bias, &v->y, &v->h, 0);
}

/* The description that suits the processor. Weights packed for one batch size and number of threads are not asked for: they would be
 * packed again for each shape. */
static Status choose(const KernelSite *s, const Cell *cell, int d, Views *v, dnnl_primitive_desc_t *out)
{
    for (int any = 1; any >= 0; any--) {
        dnnl_rnn_desc_t rnn;
        TRY(views_init(s, cell, any != 0, v));
        TRY(dnnl_check(describe(s, cell, d, v, &rnn), "recurrent cell", s->err));
        TRY(desc_create(s->device, &rnn, NULL, "recurrent cell", out, s->err));
        v->w = *dnnl_primitive_desc_query_md(*out, dnnl_query_weights_md, 0);
        v->r = *dnnl_primitive_desc_query_md(*out, dnnl_query_weights_md, 1);
        if (v->w.format_kind == dnnl_blocked && v->r.format_kind == dnnl_blocked) return OK;
        dnnl_primitive_desc_destroy(*out);
        *out = NULL;
    }
    return err_set(s->err, ERR_UNSUPPORTED, "oneDNN wants recurrent weights in a form of its own");
}

/* Arguments: in[0..2] X, h, c; out[0..2] Y, Y_h, Y_c of this direction. */
static Status fill_args(const KernelSite *s, const Cell *cell, const Views *v, int d, Primitive *p)
{
    const void *w, *r;
    TRY(pack_weights(s, cell, d, IN_W, &v->w, &w));
    TRY(pack_weights(s, cell, d, IN_R, &v->r, &r));
    p->owned = small_constants(s, cell, d);
    if (p->owned == NULL) return err_no_memory(s->err, "recurrent biases");
    bool lstm = cell->kind == CELL_LSTM, states = is_there(s, IN_H) || is_there(s, IN_C);
    TRY(primitive_arg(p, DNNL_ARG_SRC_LAYER, &v->x, ARG_IN, 0, NULL, s->err));
    if (states) TRY(primitive_arg(p, DNNL_ARG_SRC_ITER, &v->h, ARG_IN, 1, NULL, s->err));
    if (states && lstm) TRY(primitive_arg(p, DNNL_ARG_SRC_ITER_C, &v->h, ARG_IN, 2, NULL, s->err));
    TRY(primitive_arg(p, DNNL_ARG_WEIGHTS_LAYER, &v->w, ARG_FIXED, 0, w, s->err));
    TRY(primitive_arg(p, DNNL_ARG_WEIGHTS_ITER, &v->r, ARG_FIXED, 0, r, s->err));
    TRY(primitive_arg(p, DNNL_ARG_BIAS, &v->bias, ARG_FIXED, 0, p->owned, s->err));
    if (is_there(s, IN_P))
        TRY(primitive_arg(p, DNNL_ARG_WEIGHTS_PEEPHOLE, &v->peephole, ARG_FIXED, 0,
                          (const float *)p->owned + bias_count(cell) * cell->hidden, s->err));
    TRY(primitive_arg(p, DNNL_ARG_DST_LAYER, &v->y, ARG_OUT, 0, NULL, s->err));
    TRY(primitive_arg(p, DNNL_ARG_DST_ITER, &v->h, ARG_OUT, 1, NULL, s->err));
    return lstm ? primitive_arg(p, DNNL_ARG_DST_ITER_C, &v->h, ARG_OUT, 2, NULL, s->err) : OK;
}

static Status direction_new(const KernelSite *s, const Cell *cell, int d, Primitive **out)
{
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    Views v;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(choose(s, cell, d, &v, &desc));
    TRY_OUT(fill_args(s, cell, &v, d, p));
    TRY_OUT(primitive_create(p, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *out = p;
    return status;
}

/* --- the row */

static void recurrent_release(void *state)
{
    Recurrent *r = state;
    if (r == NULL) return;
    for (int d = 0; d < r->directions; d++) primitive_release(r->each[d]);
    free(r->zeros);
    free(r);
}

static Status recurrent_prepare(KernelSite *s, void **state)
{
    bool fits, batch_first = node_int(s->node, "layout", 0) != 0;
    Cell cell = cell_at(s, &fits);
    size_t states = (size_t)(cell.directions * cell.batch * cell.hidden), bytes = 0;
    int threads = omp_get_max_threads();
    Recurrent *r = alloc_zeroed(1, sizeof *r);
    if (r == NULL) return err_no_memory(s->err, "kernel state");
    *r = (Recurrent){ .device = s->device, .directions = cell.directions,
                      .single = cell.batch * cell.gates * cell.hidden < SHARED_STEP / cell.hidden };
    r->y_step = r->h_step = (size_t)(batch_first ? cell.hidden : cell.batch * cell.hidden);
    Status status;
    for (int i = 0; i < 3; i++) {
        r->unread[i] = bytes;
        if (i >= s->output_count || s->node->outputs[i] == 0) bytes += states * (i == 0 ? (size_t)cell.steps : 1) * sizeof(float);
    }
    TRY_OUT(device_scratch(s->device, bytes, s->err));
    if (cell.kind == CELL_LSTM && is_there(s, IN_H) != is_there(s, IN_C)) {
        r->zeros = alloc_zeroed(states, sizeof *r->zeros);
        if (r->zeros == NULL) TRY_OUT(err_no_memory(s->err, "recurrent states"));
    }
    if (r->single) omp_set_num_threads(1);
    for (int d = 0; d < cell.directions; d++) TRY_OUT(direction_new(s, &cell, d, &r->each[d]));
    for (int i = 0; i < s->input_count; i++) s->unused[i] = i != IN_X && i != IN_H && i != IN_C;
out:
    omp_set_num_threads(threads);
    if (status != OK) recurrent_release(r);
    else *state = r;
    return status;
}

static Status recurrent_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Recurrent *r = state;
    const float *h = in[IN_H] != NULL ? in[IN_H] : r->zeros, *c = in[IN_C] != NULL ? in[IN_C] : r->zeros;
    float *made[3];
    for (int i = 0; i < 3; i++) made[i] = out[i] != NULL ? out[i] : (void *)((uint8_t *)r->device->scratch + r->unread[i]);
    int threads = omp_get_max_threads();
    Status status = OK;
    if (r->single) omp_set_num_threads(1);
    for (int d = 0; d < r->directions && status == OK; d++) {
        size_t at = (size_t)d * r->h_step;
        const void *from[] = { in[IN_X], h != NULL ? h + at : NULL, c != NULL ? c + at : NULL };
        void *to[] = { made[0] + (size_t)d * r->y_step, made[1] + at, made[2] + at };
        status = primitive_run(r->each[d], from, to, err);
    }
    omp_set_num_threads(threads);
    return status;
}

#define RECURRENT(op_name) { "onednn", op_name, recurrent_accept, recurrent_prepare, recurrent_run, recurrent_release, NULL, false }

const Kernel kernels_recurrent[] = {
    RECURRENT("RNN"),
    RECURRENT("GRU"),
    RECURRENT("LSTM"),
    { .name = NULL },
};
