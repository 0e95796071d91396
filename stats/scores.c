#include "stats/scores.h"

#include <assert.h>
#include <math.h>

#include "graph/op.h"

#define MAX_STEPS 16

static bool passes_through(const Node *n)
{
    static const char *const names[] = { "Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten",
                                         "Squeeze", "Unsqueeze", "Transpose" };
    if (n->op != NULL && (n->op->flags & OP_SHAPE_ONLY) != 0 && n->input_count == 1) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (str_is(n->type, names[i])) return true;
    }
    return false;
}

ScoreKind scores_kind(const Graph *g, ValueId output)
{
    ValueId v = output;
    for (int step = 0; v != 0 && step < MAX_STEPS; step++) {
        NodeId producer = graph_value(g, v)->producer;
        if (producer == 0) return SCORES_LOGITS;
        const Node *n = graph_node(g, producer);
        if (str_is(n->type, "Softmax")) return SCORES_PROBABILITIES;
        if (str_is(n->type, "LogSoftmax")) return SCORES_LOG_PROBABILITIES;
        if (str_is(n->type, "Sigmoid") || str_is(n->type, "Hardmax")) return SCORES_OTHER;
        if (!passes_through(n)) return SCORES_LOGITS;
        v = node_input(n, 0);
    }
    return SCORES_LOGITS;
}

bool scores_view(const Shape *s, int axis, ScoreView *out)
{
    if (axis < 0) axis += s->rank;
    if (axis < 0 || axis >= s->rank) return false;
    *out = (ScoreView){ .outer = 1, .classes = s->dims[axis], .inner = 1, .axis = axis };
    for (int i = 0; i < axis; i++) out->outer *= s->dims[i];
    for (int i = axis + 1; i < s->rank; i++) out->inner *= s->dims[i];
    return out->outer > 0 && out->classes > 0 && out->inner > 0;
}

void scores_read(const Tensor *t, const ScoreView *v, int64_t position, double *row)
{
    int64_t first = position / v->inner * v->classes * v->inner + position % v->inner;
    if (v->inner == 1) {
        tensor_read_doubles(t, first, v->classes, row);
        return;
    }
    for (int64_t k = 0; k < v->classes; k++) row[k] = tensor_get(t, first + k * v->inner);
}

int64_t scores_top(const double *row, int64_t classes)
{
    int64_t top = 0;
    for (int64_t k = 0; k < classes; k++) {
        if (isnan(row[k])) return -1;
        if (row[k] > row[top]) top = k;
    }
    return top;
}

void scores_to_logits(ScoreKind kind, double *row, int64_t classes)
{
    if (kind != SCORES_PROBABILITIES) return;
    for (int64_t k = 0; k < classes; k++) row[k] = log(row[k] > SCORES_FLOOR ? row[k] : SCORES_FLOOR);
}

void scores_log_softmax(double *row, int64_t classes, double temperature)
{
    assert(classes > 0);
    double largest = row[0], sum = 0;
    for (int64_t k = 1; k < classes; k++) largest = row[k] > largest ? row[k] : largest;
    for (int64_t k = 0; k < classes; k++) {
        row[k] = (row[k] - largest) / temperature;
        sum += exp(row[k]);
    }
    /* cppcheck-suppress invalidFunctionArg ; the largest of the row adds exp(0) */
    double log_sum = log(sum);
    for (int64_t k = 0; k < classes; k++) row[k] -= log_sum;
}
