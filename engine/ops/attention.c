/* Attention (opset 23 on): per head, Y = softmax(cap(sqrt(s) Q (sqrt(s) K)^T) + bias) V, s = scale or 1 / sqrt(head size).
 * Q is [B,Hq,L,D] or [B,L,Hq*D]; K and V have Hkv heads, each read by Hq / Hkv query heads, and grow by the past ones in front.
 * The bias is the mask (false or missing entries -inf), the causal frontier j <= i + offset, the sliding window and the padding of
 * nonpad_kv_seqlen. A row that may see nothing gives zeroes. Short floats are rounded after each step, as the specification's function
 * body does; the softmax may have a precision of its own. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_KEY, IN_PAST_VALUE, IN_LENGTHS, IN_COUNT };

typedef struct Heads {
    int64_t batch, query_heads, key_heads, queries, keys, past, depth, value_depth;
    bool flat; /* [B,L,H*D] */
} Heads;

static bool split(const Shape *s, bool flat, int64_t heads, int64_t *h, int64_t *length, int64_t *depth)
{
    *h = flat ? heads : s->dims[1];
    *length = flat ? s->dims[1] : s->dims[2];
    *depth = flat ? (heads > 0 ? s->dims[2] / heads : 0) : s->dims[3];
    return *h > 0 && (!flat || s->dims[2] % heads == 0);
}

/* ERR_DATA unless the shapes, all of them known, fit together. */
static Status heads_of(const Graph *g, const Node *n, const Shape *const *in, Heads *h, Err *err)
{
    const Shape *q = in[IN_Q], *k = in[IN_K], *v = in[IN_V], *past = in[IN_PAST_KEY];
    *h = (Heads){ .flat = q->rank == 3 };
    int64_t kv_heads = node_int(n, "kv_num_heads", 0), q_heads = node_int(n, "q_num_heads", 0), value_heads, length;
    bool fits = (q->rank == 3 || q->rank == 4) && k->rank == q->rank && v->rank == q->rank;
    fits = fits && split(q, h->flat, q_heads, &h->query_heads, &h->queries, &h->depth);
    fits = fits && split(v, h->flat, kv_heads, &value_heads, &length, &h->value_depth);
    int64_t depth;
    fits = fits && split(k, h->flat, kv_heads, &h->key_heads, &h->keys, &depth);
    fits = fits && depth == h->depth && value_heads == h->key_heads && length == h->keys && h->query_heads % h->key_heads == 0;
    h->batch = q->dims[0];
    fits = fits && k->dims[0] == h->batch && v->dims[0] == h->batch;
    if (fits && past != NULL) {
        const Shape *values = in[IN_PAST_VALUE];
        fits = past->rank == 4 && values != NULL && values->rank == 4 && past->dims[0] == h->batch && past->dims[1] == h->key_heads &&
               past->dims[3] == h->depth && values->dims[0] == h->batch && values->dims[1] == h->key_heads &&
               values->dims[2] == past->dims[2] && values->dims[3] == h->value_depth;
        if (fits) h->past = past->dims[2];
    }
    if (!fits) return op_error(g, n, err, ERR_DATA, "the shapes of queries, keys, values and past ones do not fit together");
    h->keys += h->past;
    return OK;
}

static Shape output_shape(const Heads *h)
{
    if (h->flat) return shape_of(3, (int64_t[]){ h->batch, h->queries, h->query_heads * h->value_depth });
    return shape_of(4, (int64_t[]){ h->batch, h->query_heads, h->queries, h->value_depth });
}

static Status attention_infer(InferCall *c)
{
    const Shape *in[IN_COUNT] = { NULL };
    bool known = true;
    for (int i = 0; i < c->input_count && i < IN_COUNT; i++) {
        if (node_input(c->node, i) == 0) continue;
        in[i] = &c->in[i].shape;
        if (i != IN_MASK && i != IN_LENGTHS) known = known && shape_known(in[i]);
    }
    for (int i = 0; i < c->output_count; i++) c->out[i].type = c->in[i == 2 ? IN_V : IN_Q].type;
    if (!known) return OK;
    Heads h;
    TRY(heads_of(c->graph, c->node, in, &h, c->err));
    c->out[0].shape = output_shape(&h);
    if (c->output_count > 1) c->out[1].shape = shape_of(4, (int64_t[]){ h.batch, h.key_heads, h.keys, h.depth });
    if (c->output_count > 2) c->out[2].shape = shape_of(4, (int64_t[]){ h.batch, h.key_heads, h.keys, h.value_depth });
    if (c->output_count > 3) c->out[3].shape = shape_of(4, (int64_t[]){ h.batch, h.query_heads, h.queries, h.keys });
    return OK;
}

typedef struct Attend {
    OpCall *c;
    Heads h;
    DType type, softmax_type;
    double *q, *k, *v, *mask, *lengths; /* k and v are [B,Hkv,keys,D], past ones included */
    double *y, *scores;                 /* scores: [B,Hq,L,keys] when output 3 is asked for */
    bool mask_is_bool, causal;
    int64_t left, right, mode;
    double root_scale, cap;
    int64_t mask_strides[4];
    int64_t mask_keys;
} Attend;

static double step(DType type, double v)
{
    return type == DT_FLOAT16 || type == DT_BFLOAT16 ? doubles_round(type, v) : v;
}

/* The present keys or values: [B,H,past + new,D]. */
static Status present(const OpCall *c, int fresh, int past, const Heads *h, int64_t depth, double **out)
{
    double *before = NULL, *after = NULL;
    *out = doubles_zero(h->batch * h->key_heads * h->keys * depth);
    Status status = *out != NULL ? doubles_input(c, fresh, &after) : err_no_memory(c->err, "attention");
    if (status == OK) status = doubles_input(c, past, &before);
    int64_t added = h->keys - h->past;
    for (int64_t b = 0; status == OK && b < h->batch; b++)
        for (int64_t k = 0; k < h->key_heads; k++)
            for (int64_t j = 0; j < h->keys; j++) {
                double *to = *out + ((b * h->key_heads + k) * h->keys + j) * depth;
                const double *from;
                if (j < h->past) from = before + ((b * h->key_heads + k) * h->past + j) * depth;
                else if (h->flat) from = after + ((b * added + j - h->past) * h->key_heads + k) * depth;
                else from = after + ((b * h->key_heads + k) * added + j - h->past) * depth;
                for (int64_t d = 0; d < depth; d++) to[d] = from[d];
            }
    free(before);
    free(after);
    return status;
}

/* How the mask, aligned right, is walked over [B,Hq,L,keys]. */
static Status mask_strides(Attend *a)
{
    const OpCall *c = a->c;
    if (!call_has(c, IN_MASK)) return OK;
    const Shape *s = &c->in[IN_MASK]->shape;
    int64_t wanted[4] = { a->h.batch, a->h.query_heads, a->h.queries, a->h.keys }, own[MAX_RANK];
    if (s->rank < 1 || s->rank > 4) return op_fail(c, ERR_DATA, "a mask of rank %d", s->rank);
    strides_of(s, own);
    a->mask_keys = s->dims[s->rank - 1];
    for (int d = 0; d < s->rank; d++) {
        int at = d + 4 - s->rank;
        bool last = d == s->rank - 1;
        if (last ? s->dims[d] > wanted[at] : s->dims[d] != 1 && s->dims[d] != wanted[at])
            return op_fail(c, ERR_DATA, "axis %d of the mask has %lld entries", d, (long long)s->dims[d]);
        a->mask_strides[at] = s->dims[d] == 1 && !last ? 0 : own[d];
    }
    return OK;
}

static double bias_at(const Attend *a, int64_t b, int64_t head, int64_t i, int64_t j)
{
    double bias = 0;
    if (a->mask != NULL) {
        if (j >= a->mask_keys) return -INFINITY;
        double m = a->mask[b * a->mask_strides[0] + head * a->mask_strides[1] + i * a->mask_strides[2] + j * a->mask_strides[3]];
        bias = !a->mask_is_bool ? m : m != 0 ? 0 : -INFINITY;
    }
    int64_t offset = a->h.past;
    if (a->lengths != NULL) {
        if (j >= (int64_t)a->lengths[b]) return -INFINITY;
        if (!call_has(a->c, IN_PAST_KEY)) offset = (int64_t)a->lengths[b] - a->h.queries;
    }
    int64_t apart = i + offset - j;
    if ((a->causal && apart < 0) || (a->left >= 0 && apart > a->left) || (a->right >= 0 && -apart > a->right)) return -INFINITY;
    return bias;
}

/* Scores of one query to `row`, the bias added; false when it may see nothing. `out` (or NULL) takes what the fourth output shows. */
static bool scores_of(const Attend *a, int64_t b, int64_t head, int64_t i, double *row, double *out)
{
    const Heads *h = &a->h;
    const double *q = h->flat ? a->q + ((b * h->queries + i) * h->query_heads + head) * h->depth
                              : a->q + ((b * h->query_heads + head) * h->queries + i) * h->depth;
    const double *k = a->k + (b * h->key_heads + head / (h->query_heads / h->key_heads)) * h->keys * h->depth;
    bool sees = false;
    for (int64_t j = 0; j < h->keys; j++, k += h->depth) {
        double sum = 0;
        for (int64_t d = 0; d < h->depth; d++) sum += step(a->type, q[d] * a->root_scale) * step(a->type, k[d] * a->root_scale);
        sum = step(a->type, sum);
        double bias = bias_at(a, b, head, i, j);
        if (a->cap > 0) sum = step(a->type, step(a->type, tanh(step(a->type, sum / a->cap))) * a->cap);
        row[j] = step(a->type, sum + bias);
        sees = sees || bias != -INFINITY;
        if (out != NULL) out[j] = a->mode == 2 ? row[j] : sum;
    }
    return sees;
}

static void softmax_row(DType type, double *row, int64_t count)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++) most = row[j] > most || isnan(row[j]) ? row[j] : most;
    if (most == -INFINITY) most = 0;
    for (int64_t j = 0; j < count; j++) sum += row[j] = step(type, exp(step(type, row[j] - most)));
    sum = step(type, sum);
    for (int64_t j = 0; j < count; j++) row[j] = sum == 0 ? 0 : step(type, row[j] / sum);
}

static void attend(const Attend *a, int64_t b, int64_t head, double *row)
{
    const Heads *h = &a->h;
    const double *v = a->v + (b * h->key_heads + head / (h->query_heads / h->key_heads)) * h->keys * h->value_depth;
    for (int64_t i = 0; i < h->queries; i++) {
        int64_t at = (b * h->query_heads + head) * h->queries + i;
        double *out = a->scores != NULL ? a->scores + at * h->keys : NULL;
        bool sees = scores_of(a, b, head, i, row, out);
        softmax_row(a->softmax_type, row, h->keys);
        for (int64_t j = 0; j < h->keys; j++) {
            row[j] = sees ? step(a->type, row[j]) : 0;
            if (out != NULL && a->mode == 3) out[j] = row[j];
        }
        double *y = h->flat ? a->y + ((b * h->queries + i) * h->query_heads + head) * h->value_depth : a->y + at * h->value_depth;
        for (int64_t j = 0; j < h->keys; j++)
            for (int64_t d = 0; d < h->value_depth; d++) y[d] += row[j] * v[j * h->value_depth + d];
    }
}

static Status attend_open(Attend *a)
{
    OpCall *c = a->c;
    const Node *n = c->node;
    Heads *h = &a->h;
    double scale = node_float(n, "scale", 0);
    a->type = c->in[IN_Q]->type;
    if (!dtype_is_float(a->type)) return op_bad_type(c, a->type);
    a->softmax_type = (DType)node_int(n, "softmax_precision", (int64_t)a->type);
    a->root_scale = step(a->type, sqrt(scale != 0 ? scale : 1 / sqrt((double)h->depth)));
    a->cap = node_float(n, "softcap", 0);
    a->causal = node_int(n, "is_causal", 0) != 0;
    a->left = node_int(n, "left_window_size", -1);
    a->right = node_int(n, "right_window_size", -1);
    a->mode = node_int(n, "qk_matmul_output_mode", 0);
    a->mask_is_bool = call_has(c, IN_MASK) && c->in[IN_MASK]->type == DT_BOOL;
    TRY(mask_strides(a));
    TRY(doubles_input(c, IN_Q, &a->q));
    TRY(doubles_input(c, IN_MASK, &a->mask));
    TRY(doubles_input(c, IN_LENGTHS, &a->lengths));
    if (a->lengths != NULL && tensor_count(c->in[IN_LENGTHS]) != h->batch)
        return op_fail(c, ERR_DATA, "%lld lengths for a batch of %lld", (long long)tensor_count(c->in[IN_LENGTHS]), (long long)h->batch);
    TRY(present(c, IN_K, IN_PAST_KEY, h, h->depth, &a->k));
    TRY(present(c, IN_V, IN_PAST_VALUE, h, h->value_depth, &a->v));
    a->y = doubles_zero(h->batch * h->query_heads * h->queries * h->value_depth);
    if (a->y != NULL && call_wants(c, 3)) a->scores = doubles_zero(h->batch * h->query_heads * h->queries * h->keys);
    return a->y != NULL && (a->scores != NULL || !call_wants(c, 3)) ? OK : err_no_memory(c->err, "attention");
}

static Status attention_forward(OpCall *c)
{
    const Shape *in[IN_COUNT] = { NULL };
    for (int i = 0; i < c->input_count && i < IN_COUNT; i++) in[i] = c->in[i] != NULL ? &c->in[i]->shape : NULL;
    Attend a = { .c = c };
    TRY(heads_of(c->graph, c->node, in, &a.h, c->err));
    const Heads *h = &a.h;
    double *row = doubles_zero(h->keys);
    Status status = row != NULL ? attend_open(&a) : err_no_memory(c->err, "attention");
    for (int64_t i = 0; status == OK && i < h->batch * h->query_heads; i++) attend(&a, i / h->query_heads, i % h->query_heads, row);
    Shape y = output_shape(h), keys = shape_of(4, (int64_t[]){ h->batch, h->key_heads, h->keys, h->depth }), values = keys;
    Shape scores = shape_of(4, (int64_t[]){ h->batch, h->query_heads, h->queries, h->keys });
    values.dims[3] = h->value_depth;
    if (status == OK) status = doubles_output(c, 0, a.type, &y, a.y);
    if (status == OK && call_wants(c, 1)) status = doubles_output(c, 1, a.type, &keys, a.k);
    if (status == OK && call_wants(c, 2)) status = doubles_output(c, 2, c->in[IN_V]->type, &values, a.v);
    if (status == OK && call_wants(c, 3)) status = doubles_output(c, 3, a.type, &scores, a.scores);
    double *const owned[] = { row, a.q, a.k, a.v, a.mask, a.lengths, a.y, a.scores };
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
    return status;
}

static void attention_cost(const CostCall *c, OpCost *out)
{
    const Shape *in[IN_COUNT] = { NULL };
    for (int i = 0; i < c->input_count && i < IN_COUNT; i++) in[i] = node_input(c->node, i) != 0 ? &c->in[i].shape : NULL;
    Heads h;
    for (int i = 0; i < 3; i++) {
        if (!shape_known(in[i])) return;
    }
    if (heads_of(c->graph, c->node, in, &h, NULL) != OK) return;
    int64_t scores = h.batch * h.query_heads * h.queries * h.keys;
    out->macs = scores * (h.depth + h.value_depth);
    out->elementwise = scores;
    out->transcendental = 2 * scores;
}

const Op ops_attention[] = {
    OP_ENTRY("Attention", 23, 0, 3, 7, 1, 4, 0, attention_infer, attention_forward, attention_cost),
    OP_END,
};
