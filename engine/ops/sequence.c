/* What the newest sequence models are made of: RotaryEmbedding, LinearAttention, CausalConvWithState, TensorScatter, SwiGLU, CumProd; and
 * BitCast. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- RotaryEmbedding: pairs (x1, x2) of each head turn by the angle of their position. X is [B,H,L,D] or [B,L,H*D]. */

typedef struct Rotary {
    int64_t batch, heads, length, depth, turned, half;
    bool flat, interleaved;
} Rotary;

static Status rotary_of(const OpCall *c, Rotary *r)
{
    const Shape *x = &c->in[0]->shape, *cache = &c->in[1]->shape;
    int64_t heads = node_int(c->node, "num_heads", 0);
    *r = (Rotary){ .flat = x->rank == 3, .interleaved = node_int(c->node, "interleaved", 0) != 0 };
    if ((x->rank != 3 && x->rank != 4) || (r->flat && (heads <= 0 || x->dims[2] % heads != 0)))
        return op_fail(c, ERR_DATA, "its input is neither [B,H,L,D] nor [B,L,num_heads*D]");
    r->batch = x->dims[0];
    r->heads = r->flat ? heads : x->dims[1];
    r->length = r->flat ? x->dims[1] : x->dims[2];
    r->depth = r->flat ? x->dims[2] / heads : x->dims[3];
    r->turned = node_int(c->node, "rotary_embedding_dim", 0);
    if (r->turned == 0) r->turned = r->depth;
    r->half = r->turned / 2;
    bool by_position = call_has(c, 3);
    bool fits = r->turned > 0 && r->turned <= r->depth && r->turned % 2 == 0 && cache->rank == (by_position ? 2 : 3) &&
                shape_eq(cache, &c->in[2]->shape) && cache->dims[cache->rank - 1] == r->half;
    if (fits && by_position) fits = tensor_count(c->in[3]) == r->batch * r->length;
    else if (fits) fits = cache->dims[0] == r->batch && cache->dims[1] == r->length;
    return fits ? OK : op_fail(c, ERR_DATA, "its caches or positions do not fit the input");
}

static Status rotary_turn(const OpCall *c, const Rotary *r, const double *cosine, const double *sine, double *x)
{
    DType type = c->in[0]->type;
    for (int64_t b = 0; b < r->batch; b++)
        for (int64_t l = 0; l < r->length; l++) {
            int64_t row = b * r->length + l;
            if (call_has(c, 3)) {
                row = tensor_get_int(c->in[3], row);
                if (row < 0 || row >= c->in[1]->shape.dims[0])
                    return op_fail(c, ERR_DATA, "position %lld of %lld", (long long)row, (long long)c->in[1]->shape.dims[0]);
            }
            for (int64_t h = 0; h < r->heads; h++) {
                double *at = x + (r->flat ? (b * r->length + l) * r->heads + h : (b * r->heads + h) * r->length + l) * r->depth;
                for (int64_t k = 0; k < r->half; k++) {
                    int64_t first = r->interleaved ? 2 * k : k, second = r->interleaved ? 2 * k + 1 : k + r->half;
                    double x1 = at[first], x2 = at[second], co = cosine[row * r->half + k], si = sine[row * r->half + k];
                    at[first] = doubles_round(type, co * x1) - doubles_round(type, si * x2);
                    at[second] = doubles_round(type, si * x1) + doubles_round(type, co * x2);
                }
            }
        }
    return OK;
}

static Status rotary_forward(OpCall *c)
{
    Rotary r;
    double *x = NULL, *cosine = NULL, *sine = NULL;
    TRY(rotary_of(c, &r));
    Status status = doubles_input(c, 0, &x);
    if (status == OK) status = doubles_input(c, 1, &cosine);
    if (status == OK) status = doubles_input(c, 2, &sine);
    if (status == OK) status = rotary_turn(c, &r, cosine, sine, x);
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &c->in[0]->shape, x);
    free(x);
    free(cosine);
    free(sine);
    return status;
}

/* --- TensorScatter: rows of the update replace rows of a cache along an axis, from a position of each batch on. */

static Status scatter_forward(OpCall *c)
{
    const Tensor *cache = c->in[0], *update = c->in[1];
    const Shape *s = &cache->shape, *u = &update->shape;
    size_t size = dtype_size(cache->type);
    int axis;
    Str mode = node_string(c->node, "mode", "linear");
    bool circular = str_is(mode, "circular");
    if (size == 0) return op_bad_type(c, cache->type);
    if (!axis_fix(node_int(c->node, "axis", -2), s->rank, &axis) || axis == 0) return op_fail(c, ERR_DATA, "its axis is out of range");
    bool fits = u->rank == s->rank && update->type == cache->type;
    for (int d = 0; fits && d < s->rank; d++) fits = d == axis ? u->dims[d] <= s->dims[d] : u->dims[d] == s->dims[d];
    if (!fits || (call_has(c, 2) && tensor_count(c->in[2]) != s->dims[0]))
        return op_fail(c, ERR_DATA, "the update or its positions do not fit the cache");
    TRY(opcall_output(c, 0, cache->type, s));
    if (cache->bytes > 0) memcpy(c->out[0].data, cache->data, cache->bytes);
    size_t row = (size_t)shape_span(s, axis + 1, s->rank) * size;
    int64_t outer = shape_span(s, 0, axis), each = s->dims[0] > 0 ? outer / s->dims[0] : 1;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < u->dims[axis]; k++) {
            int64_t first = call_has(c, 2) ? tensor_get_int(c->in[2], o / each) : 0, at;
            if (first < 0 || first > s->dims[axis]) return op_fail(c, ERR_DATA, "position %lld is outside the cache", (long long)first);
            at = circular ? (first + k) % s->dims[axis] : first + k;
            if (at >= s->dims[axis]) return op_fail(c, ERR_DATA, "position %lld is outside the cache", (long long)at);
            memcpy(c->out[0].data + (size_t)(o * s->dims[axis] + at) * row, update->data + (size_t)(o * u->dims[axis] + k) * row, row);
        }
    return OK;
}

/* --- SwiGLU: a sigmoid(alpha a) b */

static Status swiglu_forward(OpCall *c)
{
    double *a = NULL, *b = NULL, alpha = node_float(c->node, "alpha", 1);
    DType type = c->in[0]->type;
    if (!shape_eq(&c->in[0]->shape, &c->in[1]->shape) || c->in[1]->type != type) return op_fail(c, ERR_DATA, "its inputs differ");
    Status status = doubles_input(c, 0, &a);
    if (status == OK) status = doubles_input(c, 1, &b);
    for (int64_t i = 0, n = tensor_count(c->in[0]); status == OK && i < n; i++)
        a[i] = doubles_round(type, a[i] * doubles_round(type, 1 / (1 + exp(-alpha * a[i])))) * b[i];
    if (status == OK) status = doubles_output(c, 0, type, &c->in[0]->shape, a);
    free(a);
    free(b);
    return status;
}

/* --- CumProd along an axis; whole numbers wrap. */

static Status cumprod_forward(OpCall *c)
{
    const Tensor *x = c->in[0];
    const Shape *s = &x->shape;
    int axis;
    if (tensor_count(c->in[1]) != 1 || !axis_fix(tensor_get_int(c->in[1], 0), s->rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is out of range");
    bool whole = dtype_is_integer(x->type), exclusive = node_int(c->node, "exclusive", 0) != 0;
    bool reverse = node_int(c->node, "reverse", 0) != 0;
    if (!whole && !dtype_is_float(x->type)) return op_bad_type(c, x->type);
    TRY(opcall_output(c, 0, x->type, s));
    int64_t count = s->dims[axis], inner = shape_span(s, axis + 1, s->rank), outer = shape_span(s, 0, axis);
    for (int64_t line = 0; line < outer * inner; line++) {
        double product = 1;
        uint64_t whole_product = 1;
        for (int64_t k = 0; k < count; k++) {
            int64_t at = (line / inner * count + (reverse ? count - 1 - k : k)) * inner + line % inner;
            double v = whole ? 0 : tensor_get(x, at);
            uint64_t w = whole ? (uint64_t)tensor_get_int(x, at) : 0;
            if (!exclusive) product = doubles_round(x->type, product * v), whole_product *= w;
            if (whole) tensor_set_int(&c->out[0], at, (int64_t)whole_product);
            else tensor_set(&c->out[0], at, product);
            if (exclusive) product = doubles_round(x->type, product * v), whole_product *= w;
        }
    }
    return OK;
}

/* --- BitCast: the same bits under another type of the same width. */

static Status bitcast_infer(InferCall *c)
{
    c->out[0] = (TypeInfo){ (DType)node_int(c->node, "to", 0), c->in[0].shape };
    return OK;
}

static Status bitcast_forward(OpCall *c)
{
    DType to = (DType)node_int(c->node, "to", 0);
    if (dtype_bits(to) == 0) return op_bad_type(c, to);
    if (dtype_bits(to) != dtype_bits(c->in[0]->type))
        return op_fail(c, ERR_DATA, "%s and %s differ in width", dtype_name(c->in[0]->type), dtype_name(to));
    TRY(opcall_output(c, 0, to, &c->in[0]->shape));
    if (c->in[0]->bytes > 0) memcpy(c->out[0].data, c->in[0]->data, c->in[0]->bytes);
    return OK;
}

/* --- CausalConvWithState: depthwise convolution over [past, x] along the length; the last k - 1 columns are the next state. */

static Status causal_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    const Shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    if (c->output_count > 1) {
        c->out[1].type = c->in[0].type;
        if (shape_known(x) && shape_known(w) && x->rank == 3 && w->rank == 3)
            c->out[1].shape = shape_of(3, (int64_t[]){ x->dims[0], x->dims[1], w->dims[2] - 1 });
    }
    return OK;
}

static void causal_line(const double *line, const double *w, double bias, int64_t length, int64_t k, DType type, bool gate, double *y)
{
    for (int64_t l = 0; l < length; l++) {
        double sum = bias;
        for (int64_t t = 0; t < k; t++) sum += w[t] * line[l + t];
        sum = doubles_round(type, sum);
        y[l] = gate ? sum / (1 + exp(-sum)) : sum;
    }
}

static Status causal_forward(OpCall *c)
{
    const Shape *x = &c->in[0]->shape, *w = &c->in[1]->shape;
    if (x->rank != 3 || w->rank != 3 || w->dims[0] != x->dims[1] || w->dims[1] != 1 || w->dims[2] < 1)
        return op_fail(c, ERR_DATA, "its weight is not [channels,1,k]");
    int64_t batch = x->dims[0], channels = x->dims[1], length = x->dims[2], k = w->dims[2], wide = length + k - 1;
    Shape state = shape_of(3, (int64_t[]){ batch, channels, k - 1 });
    if ((call_has(c, 3) && !shape_eq(&c->in[3]->shape, &state)) || (call_has(c, 2) && tensor_count(c->in[2]) != channels))
        return op_fail(c, ERR_DATA, "its bias or past state does not fit");
    Str activation = node_string(c->node, "activation", "none");
    bool gate = str_is(activation, "silu") || str_is(activation, "swish");
    if (!gate && !str_is(activation, "none")) return op_fail(c, ERR_UNSUPPORTED, "activation '%.*s'", STR_ARG(activation));
    double *in[4] = { NULL }, *line = doubles_zero(wide), *y = doubles_zero(batch * channels * length);
    double *next = doubles_zero(batch * channels * (k - 1));
    Status status = line != NULL && y != NULL && next != NULL ? OK : err_no_memory(c->err, "convolution");
    for (int i = 0; status == OK && i < 4; i++) status = doubles_input(c, i, &in[i]);
    for (int64_t p = 0; status == OK && p < batch * channels; p++) {
        for (int64_t t = 0; t < k - 1; t++) line[t] = in[3] != NULL ? in[3][p * (k - 1) + t] : 0;
        for (int64_t t = 0; t < length; t++) line[k - 1 + t] = in[0][p * length + t];
        causal_line(line, in[1] + p % channels * k, in[2] != NULL ? in[2][p % channels] : 0, length, k, c->in[0]->type, gate,
                    y + p * length);
        for (int64_t t = 0; t < k - 1; t++) next[p * (k - 1) + t] = line[length + t];
    }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, x, y);
    if (status == OK) status = doubles_output(c, 1, c->in[0]->type, &state, next);
    for (int i = 0; i < 4; i++) free(in[i]);
    free(line);
    free(y);
    free(next);
    return status;
}

static void causal_cost(const CostCall *c, OpCost *out)
{
    int64_t count;
    if (shape_count(&c->out[0].shape, &count) && c->in[1].shape.rank == 3) out->macs = count * c->in[1].shape.dims[2];
}

const Op ops_sequence[] = {
    OP_ENTRY("RotaryEmbedding", 23, 0, 3, 4, 1, 1, 0, infer_same, rotary_forward, NULL),
    OP_ENTRY("TensorScatter", 24, 0, 2, 3, 1, 1, 0, infer_same, scatter_forward, cost_none),
    OP_ENTRY("SwiGLU", 28, 0, 2, 2, 1, 1, 0, infer_same, swiglu_forward, cost_transcendental),
    OP_ENTRY("CumProd", 26, 0, 2, 2, 1, 1, 0, infer_same, cumprod_forward, NULL),
    OP_ENTRY("BitCast", 26, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, bitcast_infer, bitcast_forward, cost_none),
    OP_ENTRY("CausalConvWithState", 27, 0, 2, 4, 1, 2, 0, causal_infer, causal_forward, causal_cost),
    OP_END,
};
