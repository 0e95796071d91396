/* What one step computes and moves, by the op table's cost functions, at the shapes it has while it runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/edit.h"
#include "greenness/timing.h"

#define FUSED 16 /* nodes of one step at most */

static void add_saturated(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum)) *sum = INT64_MAX;
}

static int64_t bytes_of(const StepTrace *step, ValueId v)
{
    int64_t count;
    size_t bytes;
    if (v == 0) return 0;
    TypeInfo t = trace_type(step, v);
    if (!shape_known(&t.shape) || !shape_count(&t.shape, &count) || !dtype_bytes(t.type, count, &bytes) || bytes > INT64_MAX) return 0;
    return (int64_t)bytes;
}

/* The nodes that the step computes, in order: its own, and those behind it up to the value made. */
static int nodes_of(const StepTrace *step, NodeId nodes[FUSED])
{
    const Graph *g = step->graph;
    int count = 0;
    NodeId id = step->node;
    while (id != 0 && count < FUSED) {
        const Node *n = graph_node(g, id);
        nodes[count++] = id;
        for (int i = 0; i < n->output_count; i++)
            if (n->outputs[i] == step->made) return count;
        id = n->output_count > 0 && n->outputs[0] != 0 && step->made != 0 ? graph_sole_reader(g, n->outputs[0]) : 0;
    }
    return count > 0 ? 1 : 0; /* what it makes lies elsewhere: its own node is all that is sure */
}

/* Whether value v is made inside the step. */
static bool made_inside(const Graph *g, const NodeId *nodes, int count, ValueId v)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < graph_node(g, nodes[i])->output_count; k++)
            if (graph_node(g, nodes[i])->outputs[k] == v) return true;
    return false;
}

static void add_cost(const StepTrace *step, const Node *n, OpCost *sum)
{
    int64_t count;
    if (n->op == NULL || (n->op->flags & OP_CONTROL) != 0 || ((n->op->flags & OP_SHAPE_ONLY) != 0 && n->op->cost == NULL)) return;
    OpCost cost = { 0 };
    TypeInfo *types = alloc_array((size_t)n->input_count + (size_t)n->output_count + 1, sizeof *types);
    bool known = types != NULL;
    for (int i = 0; known && i < n->input_count + n->output_count; i++) {
        ValueId v = i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count];
        types[i] = v != 0 ? trace_type(step, v) : (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        known = v == 0 || shape_known(&types[i].shape);
    }
    if (known && n->op->cost != NULL) {
        CostCall call = { step->graph, n, n->input_count, n->output_count, types, types + n->input_count };
        n->op->cost(&call, &cost);
    } else if (known && n->output_count > 0 && n->outputs[0] != 0 && shape_count(&types[n->input_count].shape, &count)) {
        cost.elementwise = count;
    }
    free(types);
    add_saturated(&sum->macs, cost.macs);
    add_saturated(&sum->elementwise, cost.elementwise);
    add_saturated(&sum->transcendental, cost.transcendental);
}

static void add_bytes(const StepTrace *step, const NodeId *nodes, int count, int64_t *sum)
{
    const Graph *g = step->graph;
    const Node *own = graph_node(g, nodes[0]);
    if (own->op != NULL && (own->op->flags & OP_CONTROL) != 0) return; /* its subgraphs have rows of their own */
    bool moves = own->op != NULL && (own->op->flags & OP_SHAPE_ONLY) != 0;
    for (int i = 0; i < count && !moves; i++) {
        const Node *n = graph_node(g, nodes[i]);
        for (int k = 0; k < n->input_count; k++)
            if (!made_inside(g, nodes, count, n->inputs[k])) add_saturated(sum, bytes_of(step, n->inputs[k]));
    }
    for (int k = 0; k < own->output_count; k++) {
        bool kept = k > 0 || count == 1;
        if (kept) add_saturated(sum, bytes_of(step, own->outputs[k]) * (moves ? 2 : 1)); /* what is moved was read too, the rest not */
    }
    if (count > 1) add_saturated(sum, bytes_of(step, step->made));
}

void timing_count(TimingRow *row, const StepTrace *step)
{
    NodeId nodes[FUSED];
    int count = nodes_of(step, nodes);
    row->calls++;
    row->kernel = step->kernel;
    row->detail = step->detail;
    row->dtype = step->type;
    if (count == 0) {
        snprintf(row->op, sizeof row->op, "Reorder");
        add_saturated(&row->bytes, 2 * bytes_of(step, step->made));
        return;
    }
    row->op[0] = '\0';
    for (int i = 0; i < count; i++) {
        const Node *n = graph_node(step->graph, nodes[i]);
        size_t used = strlen(row->op);
        snprintf(row->op + used, sizeof row->op - used, "%s%.*s", i > 0 ? "+" : "", STR_ARG(n->type));
        add_cost(step, n, &row->cost);
    }
    if (strcmp(step->kernel, "view") != 0) add_bytes(step, nodes, count, &row->bytes);
}
