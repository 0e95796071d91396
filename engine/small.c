/* Whether a plan is too small for threads: waking a second one costs some ten microseconds, on a busy machine milliseconds, while a layer
 * of half a million multiply-adds takes ten microseconds alone. Results do not depend on it. */
#include "engine/session.h"

#include <stdlib.h>

#include "base/bytes.h"

#define LEAST_MACS 500000 /* of an average layer, for two threads to pay */

/* Multiply-adds of one node at these shapes; 0 where they are not known. */
static int64_t macs_of(const Graph *g, const Node *n, const TypeInfo *types, TypeInfo *scratch)
{
    OpCost cost = { 0 };
    if (n->op == NULL || n->op->cost == NULL) return 0;
    for (int i = 0; i < n->input_count + n->output_count; i++) {
        ValueId v = i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count];
        scratch[i] = v != 0 ? types[v] : (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        if (v != 0 && !shape_known(&scratch[i].shape)) return 0;
    }
    CostCall call = { g, n, n->input_count, n->output_count, scratch, scratch + n->input_count };
    n->op->cost(&call, &cost);
    return cost.macs;
}

/* Multiply-adds of all nodes, and how many have any. */
static int64_t count_macs(const Graph *g, const TypeInfo *types, int64_t *layers)
{
    int most = 0;
    int64_t macs = 0;
    *layers = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->input_count + n->output_count > most) most = n->input_count + n->output_count;
    }
    TypeInfo *scratch = alloc_array((size_t)most + 1, sizeof *scratch);
    if (scratch == NULL) return 0; /* it only decides about speed */
    for (uint32_t i = 0; i < g->order_count; i++) {
        int64_t found = macs_of(g, graph_node(g, g->order[i]), types, scratch);
        if (__builtin_add_overflow(macs, found, &macs)) macs = INT64_MAX;
        *layers += found > 0;
    }
    free(scratch);
    return macs;
}

int64_t plan_macs(const Graph *g, const TypeInfo *types)
{
    int64_t layers;
    return count_macs(g, types, &layers);
}

bool plan_is_small(const Graph *g, const TypeInfo *types)
{
    int64_t layers, macs = count_macs(g, types, &layers);
    return layers > 0 && macs / layers < LEAST_MACS;
}
