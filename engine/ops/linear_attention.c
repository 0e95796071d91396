/* LinearAttention (opset 27): per head a state S [Dk,Dv] that every position decays, corrects and writes to before it is read:
 *   S = exp(g) S,   v = beta (v - S^T k),   S = S + k v^T,   o = scale S^T q
 * "linear" has neither decay nor correction, "gated" the decay, "delta" the correction, "gated_delta" both. Everything is [B,T,H*D]. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>

enum { IN_Q, IN_K, IN_V, IN_STATE, IN_DECAY, IN_BETA, IN_COUNT };

typedef struct Linear {
    int64_t batch, length, query_heads, heads, depth, value_depth, decays, betas;
    bool gated, delta;
    double scale;
    double *in[IN_COUNT], *y, *state, *value;
} Linear;

static bool linear_shape(const Node *n, const Shape *q, const Shape *k, const Shape *v, Linear *l)
{
    l->query_heads = node_int(n, "q_num_heads", 0);
    l->heads = node_int(n, "kv_num_heads", 0);
    if (l->query_heads <= 0 || l->heads <= 0 || l->query_heads % l->heads != 0) return false;
    if (q->rank != 3 || k->rank != 3 || v->rank != 3) return false;
    l->batch = q->dims[0];
    l->length = q->dims[1];
    l->depth = q->dims[2] / l->query_heads;
    l->value_depth = v->dims[2] / l->heads;
    return q->dims[2] % l->query_heads == 0 && v->dims[2] % l->heads == 0 && k->dims[2] == l->heads * l->depth &&
           k->dims[0] == l->batch && v->dims[0] == l->batch && k->dims[1] == l->length && v->dims[1] == l->length;
}

static Status linear_infer(InferCall *c)
{
    Linear l = { .batch = 0 };
    bool known = true;
    for (int i = 0; i < 3; i++) known = known && shape_known(&c->in[i].shape);
    bool has_state = c->input_count > IN_STATE && node_input(c->node, IN_STATE) != 0;
    c->out[0].type = c->in[IN_Q].type;
    if (c->output_count > 1) c->out[1].type = c->in[has_state ? IN_STATE : IN_Q].type;
    if (!known) return OK;
    if (!linear_shape(c->node, &c->in[0].shape, &c->in[1].shape, &c->in[2].shape, &l))
        return op_fail(c, ERR_DATA, "the shapes of queries, keys and values do not fit its heads");
    c->out[0].shape = shape_of(3, (int64_t[]){ l.batch, l.length, l.query_heads * l.value_depth });
    if (c->output_count > 1) c->out[1].shape = shape_of(4, (int64_t[]){ l.batch, l.heads, l.depth, l.value_depth });
    return OK;
}

/* One position of one key head: decay, correction, writing, and reading by every query head that shares it. */
static void linear_step(const Linear *l, int64_t b, int64_t t, int64_t head, double *state)
{
    int64_t row = b * l->length + t, dk = l->depth, dv = l->value_depth, group = l->query_heads / l->heads;
    const double *k = l->in[IN_K] + (row * l->heads + head) * dk, *v = l->in[IN_V] + (row * l->heads + head) * dv;
    for (int64_t d = 0; l->gated && d < dk; d++) {
        double g = exp(l->decays == l->heads ? l->in[IN_DECAY][row * l->decays + head] : l->in[IN_DECAY][row * l->decays + head * dk + d]);
        for (int64_t m = 0; m < dv; m++) state[d * dv + m] *= g;
    }
    for (int64_t m = 0; m < dv; m++) {
        double kept = 0;
        for (int64_t d = 0; l->delta && d < dk; d++) kept += state[d * dv + m] * k[d];
        l->value[m] = l->delta ? l->in[IN_BETA][row * l->betas + (l->betas == 1 ? 0 : head)] * (v[m] - kept) : v[m];
    }
    for (int64_t d = 0; d < dk; d++)
        for (int64_t m = 0; m < dv; m++) state[d * dv + m] += k[d] * l->value[m];
    for (int64_t h = head * group; h < (head + 1) * group; h++) {
        const double *q = l->in[IN_Q] + (row * l->query_heads + h) * dk;
        double *y = l->y + (row * l->query_heads + h) * dv;
        for (int64_t m = 0; m < dv; m++) {
            double sum = 0;
            for (int64_t d = 0; d < dk; d++) sum += q[d] * state[d * dv + m];
            y[m] = l->scale * sum;
        }
    }
}

static Status linear_check(const OpCall *c, Linear *l)
{
    Str rule = node_string(c->node, "update_rule", "gated_delta");
    l->gated = str_is(rule, "gated") || str_is(rule, "gated_delta");
    l->delta = str_is(rule, "delta") || str_is(rule, "gated_delta");
    if (!l->gated && !l->delta && !str_is(rule, "linear"))
        return op_fail(c, ERR_UNSUPPORTED, "update_rule '%.*s'", STR_ARG(rule));
    if (!linear_shape(c->node, &c->in[0]->shape, &c->in[1]->shape, &c->in[2]->shape, l))
        return op_fail(c, ERR_DATA, "the shapes of queries, keys and values do not fit its heads");
    bool fits = l->gated == call_has(c, IN_DECAY) && l->delta == call_has(c, IN_BETA);
    if (fits && l->gated) {
        const Shape *s = &c->in[IN_DECAY]->shape;
        l->decays = s->rank == 3 ? s->dims[2] : -1;
        fits = (l->decays == l->heads || l->decays == l->heads * l->depth) &&
               tensor_count(c->in[IN_DECAY]) == l->batch * l->length * l->decays;
    }
    if (fits && l->delta) {
        const Shape *s = &c->in[IN_BETA]->shape;
        l->betas = s->rank == 3 ? s->dims[2] : -1;
        fits = (l->betas == l->heads || l->betas == 1) && tensor_count(c->in[IN_BETA]) == l->batch * l->length * l->betas;
    }
    if (fits && call_has(c, IN_STATE)) {
        Shape state = shape_of(4, (int64_t[]){ l->batch, l->heads, l->depth, l->value_depth });
        fits = shape_eq(&c->in[IN_STATE]->shape, &state);
    }
    return fits ? OK : op_fail(c, ERR_DATA, "its decay, beta or past state does not fit update_rule '%.*s'", STR_ARG(rule));
}

static Status linear_forward(OpCall *c)
{
    Linear l = { .batch = 0 };
    TRY(linear_check(c, &l));
    double scale = node_float(c->node, "scale", 0);
    l.scale = scale != 0 ? scale : 1 / sqrt((double)l.depth);
    Status status = OK;
    for (int i = 0; status == OK && i < IN_COUNT; i++) status = doubles_input(c, i, &l.in[i]);
    int64_t each = l.depth * l.value_depth;
    l.y = doubles_zero(l.batch * l.length * l.query_heads * l.value_depth);
    l.value = doubles_zero(l.value_depth);
    l.state = l.in[IN_STATE] != NULL ? l.in[IN_STATE] : doubles_zero(l.batch * l.heads * each);
    if (status == OK && (l.y == NULL || l.value == NULL || l.state == NULL)) status = err_no_memory(c->err, "linear attention");
    for (int64_t p = 0; status == OK && p < l.batch * l.heads; p++)
        for (int64_t t = 0; t < l.length; t++) linear_step(&l, p / l.heads, t, p % l.heads, l.state + p * each);
    Shape y = shape_of(3, (int64_t[]){ l.batch, l.length, l.query_heads * l.value_depth });
    Shape state = shape_of(4, (int64_t[]){ l.batch, l.heads, l.depth, l.value_depth });
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &y, l.y);
    if (status == OK) status = doubles_output(c, 1, c->in[call_has(c, IN_STATE) ? IN_STATE : IN_Q]->type, &state, l.state);
    if (l.state != l.in[IN_STATE]) free(l.state);
    for (int i = 0; i < IN_COUNT; i++) free(l.in[i]);
    free(l.y);
    free(l.value);
    return status;
}

static void linear_cost(const CostCall *c, OpCost *out)
{
    Linear l = { .batch = 0 };
    for (int i = 0; i < 3; i++) {
        if (!shape_known(&c->in[i].shape)) return;
    }
    if (!linear_shape(c->node, &c->in[0].shape, &c->in[1].shape, &c->in[2].shape, &l)) return;
    out->macs = l.batch * l.length * (l.query_heads + 2 * l.heads) * l.depth * l.value_depth;
    out->elementwise = l.batch * l.length * l.heads * l.depth * l.value_depth;
}

const Op ops_linear_attention[] = {
    OP_ENTRY("LinearAttention", 27, 0, 3, 6, 1, 2, 0, linear_infer, linear_forward, linear_cost),
    OP_END,
};
