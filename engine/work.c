#include "engine/work.h"

#include "base/bytes.h"

static void add_saturated(uint64_t *sum, uint64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum)) *sum = UINT64_MAX;
}

/* Costs are products of dimensions: one that went over is as good as no end. */
static uint64_t positive(int64_t count)
{
    return count >= 0 ? (uint64_t)count : UINT64_MAX;
}

uint64_t work_of_node(const Graph *g, const Node *n, const TypeInfo *in, const TypeInfo *out)
{
    OpCost cost = { 0 };
    uint64_t sum = 1;
    if (n->op != NULL && n->op->cost != NULL) {
        CostCall call = { g, n, n->input_count, n->output_count, in, out };
        n->op->cost(&call, &cost);
    }
    add_saturated(&sum, positive(cost.macs));
    add_saturated(&sum, positive(cost.elementwise));
    add_saturated(&sum, positive(cost.transcendental));
    for (int i = 0; i < n->output_count; i++) {
        int64_t count;
        if (n->outputs[i] == 0 || out[i].shape.rank < 0) continue;
        add_saturated(&sum, shape_count(&out[i].shape, &count) ? (uint64_t)count : 0);
    }
    return sum;
}

Status work_take(Work *w, const Graph *g, const Node *n, uint64_t operations, Err *err)
{
    if (w->limit == 0) return OK;
    add_saturated(&w->done, operations);
    if (w->done <= w->limit) return OK;
    Str label = node_label(g, n);
    return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s': the run would take %llu operations up to here, %llu are allowed", STR_ARG(n->type),
                   STR_ARG(label), (unsigned long long)w->done, (unsigned long long)w->limit);
}
