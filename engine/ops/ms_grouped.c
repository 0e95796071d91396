/* GroupQueryAttention: several heads of queries share one of keys and values; causal; the past lies at the front of each batch's rows and
 * the new keys go behind it. RotaryEmbedding: the turning of pairs by position, alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops/list.h"
#include "engine/ops/ms_attend.h"
#include "engine/ops/window.h"

enum { GQ_QUERY, GQ_KEY, GQ_VALUE, GQ_PAST_KEY, GQ_PAST_VALUE, GQ_LENGTHS, GQ_TOTAL, GQ_COS, GQ_SIN, GQ_POSITIONS, GQ_BIAS, GQ_SINK,
       GQ_K_SCALE, GQ_V_SCALE, GQ_Q_NORM, GQ_K_NORM };

/* N heads of queries, G of keys; packed: the query holds all three side by side. */
typedef struct Grouped {
    int64_t heads, kv_heads, batch, queries, head, past, capacity;
    bool packed;
} Grouped;

/* capacity is left to the caller: it needs the total length. */
static Status grouped_read(const Graph *g, const Node *n, const Shape *q, const Shape *k, const Shape *past, Grouped *out, Err *err)
{
    *out = (Grouped){ .heads = node_int(n, "num_heads", 0), .kv_heads = node_int(n, "kv_num_heads", 0), .packed = k == NULL };
    if (out->heads < 1 || out->kv_heads < 1 || out->heads > 1 << 20 || out->kv_heads > out->heads || out->heads % out->kv_heads != 0)
        return op_error(g, n, err, ERR_DATA, "%lld heads of queries for %lld of keys", (long long)out->heads, (long long)out->kv_heads);
    if (q->rank != 3) return op_error(g, n, err, ERR_DATA, "a query of rank %d, expected 3", q->rank);
    int64_t parts = out->heads + (out->packed ? 2 * out->kv_heads : 0);
    if (q->dims[2] < 1 || q->dims[2] % parts != 0)
        return op_error(g, n, err, ERR_DATA, "%lld columns cannot be split into %lld heads", (long long)q->dims[2], (long long)parts);
    out->batch = q->dims[0];
    out->queries = q->dims[1];
    out->head = q->dims[2] / parts;
    if (k != NULL && (k->rank != 3 || k->dims[0] != out->batch || k->dims[1] != out->queries || k->dims[2] != out->kv_heads * out->head))
        return op_error(g, n, err, ERR_DATA, "the keys do not fit the queries and %lld heads", (long long)out->kv_heads);
    if (past == NULL) return OK;
    if (past->rank != 4 || past->dims[0] != out->batch || past->dims[1] != out->kv_heads || past->dims[3] != out->head)
        return op_error(g, n, err, ERR_DATA, "the past does not fit %lld heads of %lld", (long long)out->kv_heads, (long long)out->head);
    out->past = past->dims[2];
    return OK;
}

static bool given(const Node *n, int input_count, int i)
{
    return i < input_count && node_input(n, i) != 0;
}

static Status grouped_infer(InferCall *c)
{
    const Shape *q = &c->in[GQ_QUERY].shape, *k = given(c->node, c->input_count, GQ_KEY) ? &c->in[GQ_KEY].shape : NULL;
    const Shape *past = given(c->node, c->input_count, GQ_PAST_KEY) ? &c->in[GQ_PAST_KEY].shape : NULL;
    for (int i = 0; i < 3 && i < c->output_count; i++) c->out[i].type = c->in[GQ_QUERY].type;
    if (q->rank != 3) return OK;
    c->out[0].shape = *q;
    if (k == NULL) c->out[0].shape.dims[2] = DIM_UNKNOWN;
    if (!shape_known(q) || (k != NULL && !shape_known(k)) || (past != NULL && !shape_known(past))) return OK;
    Grouped d;
    TRY(grouped_read(c->graph, c->node, q, k, past, &d, c->err));
    c->out[0].shape.dims[2] = d.heads * d.head;
    const Ints *total = &c->ints[GQ_TOTAL];
    int64_t keys = total->count == 1 && !total->symbol[0] && total->at[0] >= 0 ? total->at[0] : DIM_UNKNOWN;
    if (keys >= 0 && keys < d.past) keys = d.past;
    for (int i = 1; i < 3 && i < c->output_count; i++)
        c->out[i].shape = shape_of(4, (int64_t[]){ d.batch, d.kv_heads, keys, d.head });
    return OK;
}

static Status grouped_refuse(const OpCall *c)
{
    if (ms_input(c, GQ_K_SCALE) != NULL || ms_input(c, GQ_V_SCALE) != NULL)
        return op_fail(c, ERR_UNSUPPORTED, "a quantized cache is not supported");
    if (ms_input(c, GQ_Q_NORM) != NULL || ms_input(c, GQ_K_NORM) != NULL)
        return op_fail(c, ERR_UNSUPPORTED, "norms of queries and keys are not supported");
    if (node_int(c->node, "sliding_window_cache", 0) != 0) return op_fail(c, ERR_UNSUPPORTED, "sliding_window_cache is not supported");
    if (node_int(c->node, "causal", 1) == 0) return op_fail(c, ERR_UNSUPPORTED, "causal=0 is not supported");
    if (node_int(c->node, "qk_output", 0) != 0 || (c->output_count > 3 && c->wanted[3]))
        return op_fail(c, ERR_UNSUPPORTED, "the output of scores is not supported");
    return OK;
}

static Status grouped_check(const OpCall *c, const Grouped *d)
{
    const Tensor *past[] = { ms_input(c, GQ_PAST_KEY), ms_input(c, GQ_PAST_VALUE) }, *k = ms_input(c, GQ_KEY), *v = ms_input(c, GQ_VALUE);
    TRY(grouped_refuse(c));
    if ((k == NULL) != (v == NULL) || (k != NULL && !shape_eq(&k->shape, &v->shape)))
        return op_fail(c, ERR_DATA, "keys and values come together and alike");
    if ((past[0] == NULL) != (past[1] == NULL) || (past[0] != NULL && !shape_eq(&past[0]->shape, &past[1]->shape)))
        return op_fail(c, ERR_DATA, "past keys and values come together and alike");
    TRY(ms_check_count(c, GQ_LENGTHS, d->batch, false));
    TRY(ms_check_count(c, GQ_TOTAL, 1, false));
    TRY(ms_check_count(c, GQ_SINK, d->heads, false));
    TRY(ms_check_count(c, GQ_POSITIONS, d->batch * d->queries, false));
    if (node_int(c->node, "do_rotary", 0) == 0) return OK;
    const Tensor *cosines = ms_input(c, GQ_COS), *sines = ms_input(c, GQ_SIN);
    if (cosines == NULL || sines == NULL || cosines->shape.rank != 2 || !shape_eq(&cosines->shape, &sines->shape) ||
        cosines->shape.dims[1] * 2 > d->head)
        return op_fail(c, ERR_DATA, "do_rotary needs caches of cosines and sines of at most %lld columns", (long long)d->head / 2);
    return OK;
}

/* Of one batch entry: where the new keys go, and how many there are in all. */
typedef struct Stretch {
    int64_t past, total;
} Stretch;

static Status stretch_of(const OpCall *c, const Grouped *d, int64_t b, Stretch *out)
{
    int64_t total = tensor_get_int(c->in[GQ_LENGTHS], b), longest = tensor_get_int(c->in[GQ_TOTAL], 0);
    if (total < 0 || total >= longest) return op_fail(c, ERR_DATA, "length %lld of %lld in all", (long long)total + 1, (long long)longest);
    out->total = total + 1;
    out->past = longest == d->queries ? 0 : out->total - d->queries;
    if (out->past < 0 || (out->past > 0 && out->past > d->past) || out->past + d->queries > d->capacity)
        return op_fail(c, ERR_DATA, "%lld queries and %lld keys before them do not fit a past of %lld rows", (long long)d->queries,
                       (long long)out->past, (long long)d->past);
    return OK;
}

/* Turns one head's row at `position`. */
static Status turn_row(const OpCall *c, float *row, int64_t position)
{
    const Tensor *cosines = ms_input(c, GQ_COS), *sines = ms_input(c, GQ_SIN);
    if (node_int(c->node, "do_rotary", 0) == 0) return OK;
    int64_t pairs = cosines->shape.dims[1];
    if (position < 0 || position >= cosines->shape.dims[0])
        return op_fail(c, ERR_DATA, "position %lld is outside a cache of %lld rows", (long long)position,
                       (long long)cosines->shape.dims[0]);
    ms_rotate(row, pairs, tensor_floats(cosines) + position * pairs, tensor_floats(sines) + position * pairs,
              node_int(c->node, "rotary_interleaved", 0) != 0);
    return OK;
}

/* Copies the past and the new rows of one batch entry into the heads of `a`. */
static Status fill_batch(const OpCall *c, const Grouped *d, int64_t b, const Stretch *s, MsAttend *a)
{
    const Tensor *positions = ms_input(c, GQ_POSITIONS);
    int64_t width = d->head * (d->heads + (d->packed ? 2 * d->kv_heads : 0)), kv_width = d->packed ? width : d->head * d->kv_heads;
    size_t bytes = (size_t)d->head * sizeof(float);
    const float *q = tensor_floats(c->in[GQ_QUERY]), *k = d->packed ? q + d->heads * d->head : tensor_floats(c->in[GQ_KEY]);
    const float *v = d->packed ? k + d->kv_heads * d->head : tensor_floats(c->in[GQ_VALUE]);
    for (int64_t g = 0; s->past > 0 && g < d->kv_heads; g++) {
        int64_t from = (b * d->kv_heads + g) * d->past * d->head, to = (b * d->kv_heads + g) * d->capacity * d->head;
        memcpy(a->k + to, tensor_floats(c->in[GQ_PAST_KEY]) + from, (size_t)s->past * bytes);
        memcpy(a->v + to, tensor_floats(c->in[GQ_PAST_VALUE]) + from, (size_t)s->past * bytes);
    }
    for (int64_t r = 0; r < d->queries; r++) {
        int64_t at = b * d->queries + r, position = s->past + r;
        if (positions != NULL && s->past > 0) position = tensor_get_int(positions, at);
        bool padding = position >= s->total && s->past == 0; /* rows behind a short prompt: not turned, not attended to */
        for (int64_t n = 0; n < d->heads; n++) {
            float *row = a->q + ((b * d->heads + n) * d->queries + r) * d->head;
            memcpy(row, q + at * width + n * d->head, bytes);
            if (!padding) TRY(turn_row(c, row, position));
        }
        for (int64_t g = 0; g < d->kv_heads; g++) {
            int64_t to = ((b * d->kv_heads + g) * d->capacity + s->past + r) * d->head;
            memcpy(a->k + to, k + at * kv_width + g * d->head, bytes);
            memcpy(a->v + to, v + at * kv_width + g * d->head, bytes);
            if (!padding) TRY(turn_row(c, a->k + to, position));
        }
    }
    return OK;
}

/* A query at row r sees the keys up to its own and, with a window, the last so many of these. */
static void mask_batch(const Grouped *d, int64_t b, const Stretch *s, int64_t window, MsAttend *a)
{
    for (int64_t r = 0; r < d->queries; r++) {
        int64_t end = s->past + r + 1, start = window >= 0 && end > window ? end - window : 0;
        float *row = a->mask + (b * d->queries + r) * a->keys;
        for (int64_t t = 0; t < a->keys; t++)
            if (t < start || t >= end) row[t] = -INFINITY;
    }
}

static Status grouped_run(OpCall *c, const Grouped *d, MsAttend *a)
{
    TRY(ms_mask_new(c, a));
    for (int64_t b = 0; b < d->batch; b++) {
        Stretch s = { 0 };
        TRY(stretch_of(c, d, b, &s));
        TRY(fill_batch(c, d, b, &s, a));
        mask_batch(d, b, &s, node_int(c->node, "local_window_size", -1), a);
    }
    return ms_attend(c, a);
}

static Status grouped_float(OpCall *c)
{
    const Tensor *k = ms_input(c, GQ_KEY), *past = ms_input(c, GQ_PAST_KEY), *sink = ms_input(c, GQ_SINK);
    Grouped d;
    if (c->in[GQ_QUERY]->type != DT_FLOAT) return op_bad_type(c, c->in[GQ_QUERY]->type);
    TRY(grouped_read(c->graph, c->node, &c->in[GQ_QUERY]->shape, k != NULL ? &k->shape : NULL, past != NULL ? &past->shape : NULL, &d,
                     c->err));
    TRY(grouped_check(c, &d));
    int64_t total = tensor_get_int(c->in[GQ_TOTAL], 0), rows = d.batch * d.heads;
    if (total < 1 || total > 1 << 24) return op_fail(c, ERR_DATA, "the total length is %lld", (long long)total);
    d.capacity = total > d.past ? total : d.past;
    Shape out = shape_of(3, (int64_t[]){ d.batch, d.queries, d.heads * d.head });
    Shape kept = shape_of(4, (int64_t[]){ d.batch, d.kv_heads, d.capacity, d.head });
    TRY(opcall_output(c, 0, DT_FLOAT, &out));
    for (int i = 1; i < 3; i++) TRY(opcall_output(c, i, DT_FLOAT, &kept));
    bool smooth = sink != NULL || node_int(c->node, "smooth_softmax", 0) > 0;
    MsAttend a = { .batch = d.batch, .heads = d.heads, .kv_heads = d.kv_heads, .queries = d.queries, .keys = total, .capacity = d.capacity,
                   .head = d.head, .v_head = d.head, .bias = ms_input(c, GQ_BIAS), .scale = node_float(c->node, "scale", 0),
                   .softcap = node_float(c->node, "softcap", 0), .smooth = smooth, .sinks = sink != NULL ? tensor_floats(sink) : NULL,
                   .out = tensor_floats(&c->out[0]) };
    size_t held = (size_t)(d.batch * d.kv_heads * d.head) + 1;
    a.q = alloc_array((size_t)(rows * d.queries * d.head) + 1, sizeof *a.q);
    a.k = alloc_zeroed(held, (size_t)d.capacity * sizeof *a.k);
    a.v = alloc_zeroed(held, (size_t)d.capacity * sizeof *a.v);
    Status status = a.q != NULL && a.k != NULL && a.v != NULL ? OK : err_no_memory(c->err, "attention heads");
    if (status == OK) status = grouped_run(c, &d, &a);
    if (status == OK && c->output_count > 1) memcpy(c->out[1].data, a.k, c->out[1].bytes);
    if (status == OK && c->output_count > 2) memcpy(c->out[2].data, a.v, c->out[2].bytes);
    free(a.q);
    free(a.k);
    free(a.v);
    free(a.mask);
    return status;
}

static Status grouped_forward(OpCall *c)
{
    OPCALL_HALF(c, grouped_float);
    return grouped_float(c);
}

/* Products with every key that may be there, the causal half not left out. */
static void grouped_cost(const CostCall *c, OpCost *out)
{
    const Shape *y = &c->out[0].shape, *past = c->input_count > GQ_PAST_KEY ? &c->in[GQ_PAST_KEY].shape : NULL;
    if (y->rank != 3) return;
    int64_t keys = y->dims[1] + (past != NULL && past->rank == 4 ? past->dims[2] : 0);
    if (c->output_count > 1 && c->out[1].shape.rank == 4 && c->out[1].shape.dims[2] >= 0) keys = c->out[1].shape.dims[2];
    out->macs = 2 * y->dims[0] * y->dims[1] * y->dims[2] * keys;
}

/* --- RotaryEmbedding: input [B,S,N H] or [B,N,S,H], positions [1] (of the first row) or [B,S] */

static Status rotary_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

static Status rotary_float(OpCall *c)
{
    const Tensor *x = c->in[0], *positions = c->in[1], *cosines = c->in[2], *sines = c->in[3];
    if (x->type != DT_FLOAT) return op_bad_type(c, x->type);
    if (node_int(c->node, "is_packed_batching", 0) != 0) return op_fail(c, ERR_UNSUPPORTED, "is_packed_batching is not supported");
    if (node_float(c->node, "scale", 1) != 1) return op_fail(c, ERR_UNSUPPORTED, "a scale other than 1 is not supported");
    if ((x->shape.rank != 3 && x->shape.rank != 4) || cosines->shape.rank != 2 || !shape_eq(&cosines->shape, &sines->shape))
        return op_fail(c, ERR_DATA, "an input of rank %d with caches of rank %d", x->shape.rank, cosines->shape.rank);
    bool split = x->shape.rank == 4;
    int64_t batch = x->shape.dims[0], rows = x->shape.dims[split ? 2 : 1], width = x->shape.dims[split ? 3 : 2];
    int64_t pairs = cosines->shape.dims[1], heads = node_int(c->node, "num_heads", 0);
    int64_t turned = node_int(c->node, "rotary_embedding_dim", 0);
    if (split) heads = x->shape.dims[1];
    else if (heads == 0 && turned == 0 && pairs > 0) heads = width / (2 * pairs);
    int64_t head = split ? width : heads > 0 ? width / heads : 0;
    if (head < 1 || (!split && width % heads != 0) || 2 * pairs > head || (turned > 0 && turned != 2 * pairs))
        return op_fail(c, ERR_DATA, "caches of %lld columns do not fit heads of %lld", (long long)pairs, (long long)head);
    if (tensor_count(positions) != 1) TRY(ms_check_count(c, 1, batch * rows, false));
    TRY(opcall_prepare(c));
    memcpy(c->out[0].data, x->data, x->bytes);
    bool interleaved = node_int(c->node, "interleaved", 0) != 0;
    for (int64_t i = 0; i < batch * heads * rows; i++) {
        int64_t b = i / (heads * rows), n = split ? i / rows % heads : i % heads, s = split ? i % rows : i / heads % rows;
        bool offset = tensor_count(positions) == 1 && positions->shape.rank == 1;
        int64_t position = offset ? tensor_get_int(positions, 0) + s : tensor_get_int(positions, b * rows + s);
        if (position < 0 || position >= cosines->shape.dims[0])
            return op_fail(c, ERR_DATA, "position %lld is outside a cache of %lld rows", (long long)position,
                           (long long)cosines->shape.dims[0]);
        int64_t at = split ? i * head : (b * rows + s) * width + n * head;
        ms_rotate(tensor_floats(&c->out[0]) + at, pairs, tensor_floats(cosines) + position * pairs, tensor_floats(sines) + position * pairs,
                  interleaved);
    }
    return OK;
}

static Status rotary_forward(OpCall *c)
{
    OPCALL_HALF(c, rotary_float);
    return rotary_float(c);
}

static void rotary_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (shape_count(&c->out[0].shape, &count)) out->elementwise = 3 * count;
}

const Op ops_ms_grouped[] = {
    MS_ENTRY("GroupQueryAttention", 7, 16, 1, 4, 1U << GQ_KEY | 1U << GQ_VALUE | 1U << GQ_PAST_KEY | 1U << GQ_PAST_VALUE, grouped_infer,
             grouped_forward, grouped_cost),
    MS_ENTRY("RotaryEmbedding", 4, 4, 1, 1, 0, rotary_infer, rotary_forward, rotary_cost),
    OP_END,
};
