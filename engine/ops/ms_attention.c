/* Attention (projection of one input to queries, keys and values, then attention) and MultiHeadAttention (the projections stand before it).
 * The past's keys and values go before the new ones; what comes out as `present` is both. */
#include <stdlib.h>
#include <string.h>

#include "engine/blas_glue.h"
#include "engine/ops/list.h"
#include "engine/ops/ms_attend.h"
#include "engine/ops/window.h"

/* A source of heads: element (b, s, n, i) at b * batch + s * row + n * head + i. */
typedef struct HeadView {
    const float *data;
    int64_t batch, row, head;
    const float *bias; /* [N, size] or NULL */
} HeadView;

/* to[b, n, first + s, i] = view, `capacity` rows per head. */
static void take_heads(const HeadView *v, int64_t batch, int64_t heads, int64_t rows, int64_t size, int64_t first, int64_t capacity,
                       float *to)
{
    for (int64_t b = 0; b < batch; b++)
        for (int64_t n = 0; n < heads; n++)
            for (int64_t s = 0; s < rows; s++) {
                const float *from = v->data + b * v->batch + s * v->row + n * v->head;
                float *row = to + ((b * heads + n) * capacity + first + s) * size;
                for (int64_t i = 0; i < size; i++) row[i] = from[i] + (v->bias != NULL ? v->bias[n * size + i] : 0);
            }
}

/* Past rows [B,N,P,size] to the front of every head. */
static void take_past(const float *past, int64_t groups, int64_t rows, int64_t size, int64_t capacity, float *to)
{
    for (int64_t g = 0; g < groups; g++) memcpy(to + g * capacity * size, past + g * rows * size, (size_t)(rows * size) * sizeof *to);
}

static Status buffers_new(const OpCall *c, MsAttend *a)
{
    int64_t rows, q, k, v;
    if (__builtin_mul_overflow(a->batch, a->heads, &rows) || __builtin_mul_overflow(rows * a->queries, a->head, &q) ||
        __builtin_mul_overflow(rows * a->capacity, a->head, &k) || __builtin_mul_overflow(rows * a->capacity, a->v_head, &v))
        return op_fail(c, ERR_DATA, "the heads are too large");
    a->q = alloc_array((size_t)q + 1, sizeof *a->q);
    a->k = alloc_array((size_t)k + 1, sizeof *a->k);
    a->v = alloc_array((size_t)v + 1, sizeof *a->v);
    return a->q != NULL && a->k != NULL && a->v != NULL ? OK : err_no_memory(c->err, "attention heads");
}

static void buffers_release(MsAttend *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->mask);
}

static Status mask_and_attend(const OpCall *c, MsAttend *a, const Tensor *mask, int64_t past)
{
    if (mask != NULL) TRY(ms_mask_keys(c, a, mask, node_float(c->node, "mask_filter_value", -10000.0F)));
    if (node_int(c->node, "unidirectional", 0) != 0) {
        TRY(ms_mask_new(c, a));
        ms_mask_causal(a, past);
    }
    return ms_attend(c, a);
}

/* --- Attention */

enum { AT_INPUT, AT_WEIGHTS, AT_BIAS, AT_MASK, AT_PAST, AT_ATTENTION_BIAS, AT_PAST_LENGTH };

typedef struct Projection {
    int64_t heads, size[3], total; /* size: of all heads of q, k, v */
} Projection;

static Status projection_read(const Graph *g, const Node *n, int64_t columns, Projection *p, Err *err)
{
    int64_t count = 0;
    const int64_t *sizes = node_ints(n, "qkv_hidden_sizes", &count);
    *p = (Projection){ .heads = node_int(n, "num_heads", 0), .total = columns };
    for (int i = 0; i < 3; i++) p->size[i] = count == 3 ? sizes[i] : columns / 3;
    if (p->heads < 1) return op_error(g, n, err, ERR_DATA, "num_heads is %lld", (long long)p->heads);
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        if (p->size[i] < 1 || p->size[i] > columns || p->size[i] % p->heads != 0)
            return op_error(g, n, err, ERR_DATA, "a projection to %lld does not fit %lld heads", (long long)p->size[i],
                            (long long)p->heads);
        sum += p->size[i];
    }
    if (sum != columns || p->size[0] != p->size[1])
        return op_error(g, n, err, ERR_DATA, "projections to %lld, %lld and %lld do not fit weights of %lld columns",
                        (long long)p->size[0], (long long)p->size[1], (long long)p->size[2], (long long)columns);
    return OK;
}

static Status attention_infer(InferCall *c)
{
    const Shape *x = &c->in[AT_INPUT].shape, *w = &c->in[AT_WEIGHTS].shape;
    Projection p;
    c->out[0].type = c->in[AT_INPUT].type;
    if (c->output_count > 1) c->out[1].type = c->in[AT_INPUT].type;
    if (x->rank < 0 || w->rank < 0) return OK;
    if (x->rank != 3 || w->rank != 2) return op_fail(c, ERR_DATA, "an input of rank %d and weights of rank %d", x->rank, w->rank);
    if (w->dims[1] < 0) return OK;
    TRY(projection_read(c->graph, c->node, w->dims[1], &p, c->err));
    c->out[0].shape = shape_of(3, (int64_t[]){ x->dims[0], x->dims[1], p.size[2] });
    if (c->output_count < 2) return OK;
    bool past = c->input_count > AT_PAST && node_input(c->node, AT_PAST) != 0;
    const Shape *before = past ? &c->in[AT_PAST].shape : NULL;
    int64_t keys = x->dims[1];
    if (past) keys = before->rank == 5 && before->dims[3] >= 0 && keys >= 0 ? keys + before->dims[3] : DIM_UNKNOWN;
    c->out[1].shape = shape_of(5, (int64_t[]){ 2, x->dims[0], p.heads, keys, p.size[0] / p.heads });
    return OK;
}

static Status attention_check(const OpCall *c, const Projection *p)
{
    const Tensor *x = c->in[AT_INPUT], *w = c->in[AT_WEIGHTS], *past = ms_input(c, AT_PAST);
    if (node_int(c->node, "past_present_share_buffer", 0) != 0 || ms_input(c, AT_PAST_LENGTH) != NULL)
        return op_fail(c, ERR_UNSUPPORTED, "past_present_share_buffer is not supported");
    if (node_int(c->node, "do_rotary", 0) != 0) return op_fail(c, ERR_UNSUPPORTED, "do_rotary is not supported");
    if (x->shape.dims[2] != w->shape.dims[0]) return op_fail(c, ERR_DATA, "%lld columns meet weights of %lld rows",
                                                             (long long)x->shape.dims[2], (long long)w->shape.dims[0]);
    TRY(ms_check_count(c, AT_BIAS, p->total, false));
    if (past == NULL && c->output_count < 2) return OK;
    int64_t head = p->size[0] / p->heads;
    if (p->size[2] != p->size[0]) return op_fail(c, ERR_UNSUPPORTED, "a past with values of another size than keys");
    if (past != NULL && (past->shape.rank != 5 || past->shape.dims[0] != 2 || past->shape.dims[1] != x->shape.dims[0] ||
                         past->shape.dims[2] != p->heads || past->shape.dims[4] != head))
        return op_fail(c, ERR_DATA, "the past's shape does not fit %lld heads of %lld", (long long)p->heads, (long long)head);
    return OK;
}

static Status attention_float(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[AT_INPUT], *w = c->in[AT_WEIGHTS], *past = ms_input(c, AT_PAST), *bias = ms_input(c, AT_BIAS);
    Projection p;
    TRY(projection_read(c->graph, c->node, w->shape.dims[1], &p, c->err));
    TRY(attention_check(c, &p));
    int64_t batch = x->shape.dims[0], length = x->shape.dims[1], depth = x->shape.dims[2];
    int64_t before = past != NULL ? past->shape.dims[3] : 0;
    MsAttend a = { .batch = batch, .heads = p.heads, .kv_heads = p.heads, .queries = length, .keys = before + length,
                   .capacity = before + length, .head = p.size[0] / p.heads, .v_head = p.size[2] / p.heads,
                   .bias = ms_input(c, AT_ATTENTION_BIAS), .scale = node_float(c->node, "scale", 0), .out = tensor_floats(&c->out[0]) };
    if (batch * length > INT32_MAX || depth > INT32_MAX || p.total > INT32_MAX)
        return op_fail(c, ERR_UNSUPPORTED, "the input is too large");
    Status status = OK;
    float *projected = alloc_array((size_t)(batch * length * p.total) + 1, sizeof *projected);
    if (projected == NULL) return err_no_memory(c->err, "attention projections");
    if (batch * length > 0)
        blas_sgemm(false, false, (int)(batch * length), (int)p.total, (int)depth, 1, tensor_floats(x), (int)depth, tensor_floats(w),
                   (int)p.total, 0, projected, (int)p.total);
    TRY_OUT(buffers_new(c, &a));
    float *to[] = { a.q, a.k, a.v };
    for (int i = 0, from = 0; i < 3; from += (int)p.size[i], i++) {
        const HeadView view = { projected + from, length * p.total, p.total, p.size[i] / p.heads,
                                bias != NULL ? tensor_floats(bias) + from : NULL };
        take_heads(&view, batch, p.heads, length, view.head, i == 0 ? 0 : before, i == 0 ? length : a.capacity, to[i]);
        if (i > 0 && past != NULL)
            take_past(tensor_floats(past) + (i - 1) * batch * p.heads * before * a.head, batch * p.heads, before, a.head, a.capacity,
                      to[i]);
    }
    TRY_OUT(mask_and_attend(c, &a, ms_input(c, AT_MASK), before));
    if (c->output_count > 1 && c->out[1].data != NULL) {
        size_t half = (size_t)(batch * p.heads * a.capacity * a.head) * sizeof(float);
        memcpy(c->out[1].data, a.k, half);
        memcpy(c->out[1].data + half, a.v, half);
    }
out:
    free(projected);
    buffers_release(&a);
    return status;
}

static Status attention_forward(OpCall *c)
{
    return opcall_in_float(c, attention_float);
}

static void attention_cost(const CostCall *c, OpCost *out)
{
    const Shape *x = &c->in[AT_INPUT].shape, *w = &c->in[AT_WEIGHTS].shape, *y = &c->out[0].shape;
    if (x->rank != 3 || w->rank != 2 || y->rank != 3) return;
    int64_t before = c->input_count > AT_PAST && c->in[AT_PAST].shape.rank == 5 ? c->in[AT_PAST].shape.dims[3] : 0;
    int64_t rows = x->dims[0] * x->dims[1], keys = before + x->dims[1];
    out->macs = rows * w->dims[0] * w->dims[1] + rows * keys * ((w->dims[1] - y->dims[2]) / 2 + y->dims[2]);
}

/* --- MultiHeadAttention */

enum { MH_QUERY, MH_KEY, MH_VALUE, MH_BIAS, MH_MASK, MH_ATTENTION_BIAS, MH_PAST_KEY, MH_PAST_VALUE, MH_PAST_LENGTH, MH_CACHE };

/* The sizes that the query's and key's forms spell: packed [B,S,N,3,H], packed keys and values [B,L,N,2,H], [B,N,L,H], or [B,L,N H]. */
typedef struct HeadForm {
    int64_t batch, heads, queries, fresh, past, head, v_head; /* fresh: new keys */
    bool packed, packed_kv, ready;                           /* ready: keys and values are [B,N,L,H] already */
} HeadForm;

static Status form_read(const Graph *g, const Node *n, const Shape *q, const Shape *k, const Shape *v, const Shape *past, HeadForm *f,
                        Err *err)
{
    *f = (HeadForm){ .heads = node_int(n, "num_heads", 0), .past = past != NULL && past->rank == 4 ? past->dims[2] : 0 };
    if (f->heads < 1) return op_error(g, n, err, ERR_DATA, "num_heads is %lld", (long long)f->heads);
    if (k == NULL && v == NULL && q->rank == 5 && q->dims[2] == f->heads && q->dims[3] == 3) {
        f->packed = true;
        f->fresh = q->dims[1];
        f->head = f->v_head = q->dims[4];
    } else if (q->rank == 3 && k != NULL && q->dims[2] % f->heads == 0) {
        f->head = q->dims[2] / f->heads;
        f->packed_kv = v == NULL && k->rank == 5 && k->dims[2] == f->heads && k->dims[3] == 2 && k->dims[4] == f->head;
        f->ready = v != NULL && k->rank == 4 && v->rank == 4 && k->dims[1] == f->heads && v->dims[1] == f->heads && k->dims[3] == f->head &&
                   v->dims[2] == k->dims[2];
        bool plain = v != NULL && k->rank == 3 && v->rank == 3 && k->dims[2] == q->dims[2] && v->dims[2] % f->heads == 0 &&
                     v->dims[1] == k->dims[1];
        if ((!f->packed_kv && !f->ready && !plain) || k->dims[0] != q->dims[0] || (v != NULL && v->dims[0] != q->dims[0]))
            return op_error(g, n, err, ERR_DATA, "the shapes of query, key and value do not fit each other and %lld heads",
                            (long long)f->heads);
        f->fresh = k->dims[f->ready ? 2 : 1];
        f->v_head = f->packed_kv ? f->head : f->ready ? v->dims[3] : v->dims[2] / f->heads;
    } else {
        return op_error(g, n, err, ERR_UNSUPPORTED, "a query of rank %d with%s keys", q->rank, k == NULL ? "out" : "");
    }
    f->batch = q->dims[0];
    f->queries = q->dims[1];
    return OK;
}

static Status multi_infer(InferCall *c)
{
    const Shape *q = &c->in[MH_QUERY].shape, *shapes[3] = { NULL, NULL, NULL };
    const int inputs[] = { MH_KEY, MH_VALUE, MH_PAST_KEY };
    for (int i = 0; i < 3 && i < c->output_count; i++) c->out[i].type = c->in[MH_QUERY].type;
    if (q->rank < 0) return OK;
    bool known = shape_known(q);
    for (int i = 0; i < 3; i++) {
        if (inputs[i] >= c->input_count || node_input(c->node, inputs[i]) == 0) continue;
        shapes[i] = &c->in[inputs[i]].shape;
        known = known && shape_known(shapes[i]);
    }
    if (!known) { /* the width alone may be told */
        const Shape *v = shapes[1];
        c->out[0].shape = shape_of(3, (int64_t[]){ q->dims[0], q->rank > 1 ? q->dims[1] : DIM_UNKNOWN,
                                                   v != NULL && v->rank == 3 ? v->dims[2] : DIM_UNKNOWN });
        return OK;
    }
    HeadForm f;
    TRY(form_read(c->graph, c->node, q, shapes[0], shapes[1], shapes[2], &f, c->err));
    c->out[0].shape = shape_of(3, (int64_t[]){ f.batch, f.queries, f.heads * f.v_head });
    if (c->output_count > 1) c->out[1].shape = shape_of(4, (int64_t[]){ f.batch, f.heads, f.past + f.fresh, f.head });
    if (c->output_count > 2) c->out[2].shape = shape_of(4, (int64_t[]){ f.batch, f.heads, f.past + f.fresh, f.v_head });
    return OK;
}

static Status multi_check(const OpCall *c, const HeadForm *f)
{
    const Tensor *past[] = { ms_input(c, MH_PAST_KEY), ms_input(c, MH_PAST_VALUE) };
    if (ms_input(c, MH_PAST_LENGTH) != NULL || ms_input(c, MH_CACHE) != NULL)
        return op_fail(c, ERR_UNSUPPORTED, "a shared buffer for past and present is not supported");
    if (node_int(c->node, "unidirectional", 0) != 0 && f->queries != f->fresh) /* ONNX Runtime lets the last query see them all */
        return op_fail(c, ERR_UNSUPPORTED, "unidirectional with %lld queries and %lld new keys", (long long)f->queries,
                       (long long)f->fresh);
    if ((past[0] == NULL) != (past[1] == NULL)) return op_fail(c, ERR_DATA, "past keys and values come together");
    TRY(ms_check_count(c, MH_BIAS, f->heads * (2 * f->head + f->v_head), false));
    for (int i = 0; i < 2 && past[0] != NULL; i++) {
        const Shape *s = &past[i]->shape;
        if (s->rank != 4 || s->dims[0] != f->batch || s->dims[1] != f->heads || s->dims[2] != f->past ||
            s->dims[3] != (i == 0 ? f->head : f->v_head))
            return op_fail(c, ERR_DATA, "input %d does not fit %lld heads", MH_PAST_KEY + i, (long long)f->heads);
    }
    return OK;
}

/* Where queries, keys and values lie in the inputs. */
static HeadView multi_view(const OpCall *c, const HeadForm *f, int i)
{
    const Tensor *q = c->in[MH_QUERY], *k = ms_input(c, MH_KEY), *v = ms_input(c, MH_VALUE), *bias = ms_input(c, MH_BIAS);
    HeadView view = { .bias = bias != NULL ? tensor_floats(bias) + i * f->heads * f->head : NULL };
    int64_t size = i == 2 ? f->v_head : f->head, parts = f->packed ? 3 : 2;
    if (f->packed || (i > 0 && f->packed_kv)) {
        view.data = tensor_floats(f->packed ? q : k) + (f->packed ? i : i - 1) * f->head;
        view.head = parts * f->head;
        view.row = f->heads * view.head;
    } else if (i > 0 && f->ready) {
        view.data = tensor_floats(i == 1 ? k : v);
        view.head = f->fresh * size;
        view.row = size;
        view.bias = NULL;
        view.batch = f->heads * view.head;
        return view;
    } else {
        view.data = tensor_floats(i == 0 ? q : i == 1 ? k : v);
        view.head = size;
        view.row = f->heads * size;
    }
    view.batch = (i == 0 ? f->queries : f->fresh) * view.row;
    return view;
}

static Status multi_float(OpCall *c)
{
    const Tensor *k = ms_input(c, MH_KEY), *v = ms_input(c, MH_VALUE);
    const Tensor *past[] = { ms_input(c, MH_PAST_KEY), ms_input(c, MH_PAST_VALUE) };
    HeadForm f;
    TRY(form_read(c->graph, c->node, &c->in[MH_QUERY]->shape, k != NULL ? &k->shape : NULL, v != NULL ? &v->shape : NULL,
                  past[0] != NULL ? &past[0]->shape : NULL, &f, c->err));
    TRY(multi_check(c, &f));
    TRY(opcall_prepare(c));
    if (c->output_count > 3 && c->wanted[3]) return op_fail(c, ERR_UNSUPPORTED, "the output qk is not supported");
    MsAttend a = { .batch = f.batch, .heads = f.heads, .kv_heads = f.heads, .queries = f.queries, .keys = f.past + f.fresh,
                   .capacity = f.past + f.fresh, .head = f.head, .v_head = f.v_head, .bias = ms_input(c, MH_ATTENTION_BIAS),
                   .scale = node_float(c->node, "scale", 0), .out = tensor_floats(&c->out[0]) };
    Status status = OK;
    TRY_OUT(buffers_new(c, &a));
    float *to[] = { a.q, a.k, a.v };
    for (int i = 0; i < 3; i++) {
        const HeadView view = multi_view(c, &f, i);
        int64_t size = i == 2 ? f.v_head : f.head;
        int64_t rows = i == 0 ? f.queries : f.fresh, first = i == 0 ? 0 : f.past;
        take_heads(&view, f.batch, f.heads, rows, size, first, i == 0 ? rows : a.capacity, to[i]);
        if (i > 0 && past[0] != NULL) take_past(tensor_floats(past[i - 1]), f.batch * f.heads, f.past, size, a.capacity, to[i]);
        if (i > 0 && i < c->output_count && c->out[i].data != NULL) memcpy(c->out[i].data, to[i], c->out[i].bytes);
    }
    TRY_OUT(mask_and_attend(c, &a, ms_input(c, MH_MASK), f.past));
out:
    buffers_release(&a);
    return status;
}

static Status multi_forward(OpCall *c)
{
    OPCALL_HALF(c, multi_float);
    if (c->in[MH_QUERY]->type != DT_FLOAT) return op_bad_type(c, c->in[MH_QUERY]->type);
    return multi_float(c);
}

static void multi_cost(const CostCall *c, OpCost *out)
{
    const Shape *q = &c->in[MH_QUERY].shape, *y = &c->out[0].shape;
    bool past = c->input_count > MH_PAST_KEY && c->in[MH_PAST_KEY].shape.rank == 4;
    if (y->rank != 3 || q->rank < 3) return;
    int64_t keys = q->dims[1], width = q->rank == 3 ? q->dims[2] : y->dims[2];
    if (c->input_count > MH_KEY && c->in[MH_KEY].shape.rank >= 3) keys = c->in[MH_KEY].shape.dims[c->in[MH_KEY].shape.rank == 4 ? 2 : 1];
    if (past) keys += c->in[MH_PAST_KEY].shape.dims[2];
    out->macs = q->dims[0] * q->dims[1] * keys * (width + y->dims[2]);
}

const Op ops_ms_attention[] = {
    MS_ENTRY("Attention", 2, 7, 1, 2, 0, attention_infer, attention_forward, attention_cost),
    MS_ENTRY("MultiHeadAttention", 1, 10, 1, 4, 0, multi_infer, multi_forward, multi_cost),
    OP_END,
};
