/* Losses over class scores [N, C, d1, ...] and class indices [N, d1, ...]:
 *   NegativeLogLikelihoodLoss: l = -w[t] x[n, t, d], then none, sum, or mean (divided by the sum of the weights met)
 *   SoftmaxCrossEntropyLoss:   the same on log softmax of x along axis 1, which is its second output
 * A target equal to ignore_index counts for nothing. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>

static bool is_entropy(const Node *n)
{
    return str_is(n->type, "SoftmaxCrossEntropyLoss");
}

static Status loss_infer(InferCall *c)
{
    Str reduction = node_string(c->node, "reduction", "mean");
    Shape shape = str_is(reduction, "none") ? c->in[1].shape : (Shape){ .rank = 0 };
    c->out[0] = (TypeInfo){ c->in[0].type, shape };
    if (c->output_count > 1) c->out[1] = c->in[0];
    return OK;
}

static void log_softmax(double *x, int64_t batch, int64_t classes, int64_t inner)
{
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < inner; i++) {
            double *at = x + n * classes * inner + i, most = -INFINITY, sum = 0;
            for (int64_t k = 0; k < classes; k++) most = fmax(most, at[k * inner]);
            for (int64_t k = 0; k < classes; k++) sum += exp(at[k * inner] - most);
            for (int64_t k = 0; k < classes; k++) at[k * inner] -= most + log(sum);
        }
}

/* Losses of all positions to `loss`, and the sum of the weights met. */
static Status each_loss(const OpCall *c, const double *x, const double *weight, int64_t classes, int64_t inner, double *loss,
                        double *weights)
{
    const Tensor *target = c->in[1];
    const Attr *ignore = node_attr(c->node, "ignore_index");
    int64_t count = tensor_count(target);
    *weights = 0;
    for (int64_t p = 0; p < count; p++) {
        int64_t t = tensor_get_int(target, p);
        loss[p] = 0;
        if (ignore != NULL && t == ignore->i) continue;
        if (t < 0 || t >= classes)
            return op_fail(c, ERR_DATA, "target %lld is class %lld of %lld", (long long)p, (long long)t, (long long)classes);
        double w = weight != NULL ? weight[t] : 1;
        loss[p] = -w * x[(p / inner * classes + t) * inner + p % inner];
        *weights += w;
    }
    return OK;
}

static Status loss_check(const OpCall *c)
{
    const Shape *x = &c->in[0]->shape, *t = &c->in[1]->shape;
    bool fits = x->rank >= 2 && t->rank == x->rank - 1 && dtype_is_float(c->in[0]->type) && dtype_is_integer(c->in[1]->type);
    for (int d = 0; fits && d < t->rank; d++) fits = t->dims[d] == x->dims[d == 0 ? 0 : d + 1];
    if (!fits) return op_fail(c, ERR_DATA, "the target's shape or type does not fit the scores");
    if (call_has(c, 2) && tensor_count(c->in[2]) != x->dims[1])
        return op_fail(c, ERR_DATA, "%lld weights for %lld classes", (long long)tensor_count(c->in[2]), (long long)x->dims[1]);
    return OK;
}

static Status loss_forward(OpCall *c)
{
    TRY(loss_check(c));
    const Shape *s = &c->in[0]->shape, scalar = { .rank = 0 };
    DType type = c->in[0]->type;
    Str reduction = node_string(c->node, "reduction", "mean");
    int64_t inner = shape_span(s, 2, s->rank), positions = tensor_count(c->in[1]);
    double *x = NULL, *weight = NULL, *loss = doubles_zero(positions), weights, sum = 0;
    Status status = loss != NULL ? OK : err_no_memory(c->err, "loss");
    if (status == OK) status = doubles_input(c, 0, &x);
    if (status == OK) status = doubles_input(c, 2, &weight);
    if (status != OK) goto out;
    if (is_entropy(c->node)) log_softmax(x, s->dims[0], s->dims[1], inner);
    TRY_OUT(each_loss(c, x, weight, s->dims[1], inner, loss, &weights));
    for (int64_t p = 0; p < positions; p++) sum += loss[p];
    if (str_is(reduction, "mean")) sum /= weights;
    bool each = str_is(reduction, "none");
    TRY_OUT(doubles_output(c, 0, type, each ? &c->in[1]->shape : &scalar, each ? loss : &sum));
    TRY_OUT(doubles_output(c, 1, type, s, x));
out:
    free(x);
    free(weight);
    free(loss);
    return status;
}

static void loss_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (is_entropy(c->node) && shape_count(&c->in[0].shape, &count)) out->transcendental = count;
    if (shape_count(&c->in[1].shape, &count)) out->elementwise = count;
}

const Op ops_loss[] = {
    OP_ENTRY("NegativeLogLikelihoodLoss", 12, 0, 2, 3, 1, 1, 0, loss_infer, loss_forward, loss_cost),
    OP_ENTRY("SoftmaxCrossEntropyLoss", 12, 0, 2, 3, 1, 2, 0, loss_infer, loss_forward, loss_cost),
    OP_END,
};
