#include "greenness/branches.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "greenness/operands.h"

static void add_saturated(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum)) *sum = INT64_MAX;
}

static void add_cost(NodeCost *sum, const NodeCost *cost)
{
    add_saturated(&sum->all.macs, cost->all.macs);
    add_saturated(&sum->all.elementwise, cost->all.elementwise);
    add_saturated(&sum->all.transcendental, cost->all.transcendental);
    add_saturated(&sum->integer, cost->integer);
}

bool node_cost(const Graph *g, const TypeInfo *types, const Node *n, TypeInfo *scratch, NodeCost *cost)
{
    *cost = (NodeCost){ 0 };
    if (n->op == NULL || (n->op->flags & OP_CONTROL) != 0) return false;
    if ((n->op->flags & OP_SHAPE_ONLY) != 0 && n->op->cost == NULL) return true;
    CostCall call = { g, n, n->input_count, n->output_count, scratch, scratch + n->input_count };
    for (int i = 0; i < n->input_count; i++) {
        scratch[i] = n->inputs[i] != 0 ? types[n->inputs[i]] : (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        if (n->inputs[i] != 0 && !shape_known(&scratch[i].shape)) return false;
    }
    for (int i = 0; i < n->output_count; i++) {
        scratch[n->input_count + i] = n->outputs[i] != 0 ? types[n->outputs[i]] : (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        if (n->outputs[i] != 0 && !shape_known(&scratch[n->input_count + i].shape)) return false;
    }
    if (n->op->cost != NULL) n->op->cost(&call, &cost->all);
    else if (n->output_count > 0 && n->outputs[0] != 0) return shape_count(&types[n->outputs[0]].shape, &cost->all.elementwise);
    if (cost->all.macs > 0 && operands_integer(g, types, n)) cost->integer = cost->all.macs;
    return true;
}

static bool is_if(const Node *n)
{
    return node_is(n, "If");
}

/* A node of a body that is evaluated once, when the network is loaded. */
static bool is_constant(const Graph *body, const Node *n)
{
    return node_output(n, 0) != 0 && body->values[n->outputs[0]].tensor != NULL;
}

void branches_visit(void *user, const Graph *body, const TypeInfo *types)
{
    Branches *b = user;
    size_t arity = 0;
    for (uint32_t k = 0; k < body->order_count; k++) {
        const Node *n = &body->nodes[body->order[k]];
        size_t both = (size_t)n->input_count + (size_t)n->output_count;
        arity = both > arity ? both : arity;
    }
    TypeInfo *scratch = alloc_array(arity + 1, sizeof *scratch);
    if (scratch == NULL || !array_grow((void **)&b->all, &b->capacity, b->count + 1, sizeof *b->all)) {
        b->failed = true;
        free(scratch);
        return;
    }
    Branch *branch = &b->all[b->count++];
    *branch = (Branch){ .body = body };
    for (uint32_t k = 0; k < body->order_count; k++) {
        const Node *n = &body->nodes[body->order[k]];
        NodeCost cost;
        if (is_if(n) || is_constant(body, n)) continue;
        if (!node_cost(body, types, n, scratch, &cost)) branch->open = true;
        add_cost(&branch->cost, &cost);
    }
    free(scratch);
}

static const Branch *find_branch(const Branches *b, const Node *n, const char *name)
{
    const Attr *a = node_attr(n, name);
    for (size_t i = 0; a != NULL && a->type == ATTR_GRAPH && i < b->count; i++)
        if (b->all[i].body == a->graph) return &b->all[i];
    return NULL;
}

/* One branch with the Ifs in it. */
static bool whole_cost(const Branches *b, const Branch *branch, NodeCost *cost, int *undecided)
{
    bool counted = !branch->open;
    *cost = branch->cost;
    for (uint32_t k = 0; k < branch->body->order_count; k++) {
        const Node *n = &branch->body->nodes[branch->body->order[k]];
        NodeCost within;
        if (!is_if(n) || is_constant(branch->body, n)) continue;
        counted = branches_cost(b, n, &within, undecided) && counted;
        add_cost(cost, &within);
    }
    return counted;
}

static bool is_larger(const OpCost *a, const OpCost *b)
{
    if (a->macs != b->macs) return a->macs > b->macs;
    return a->elementwise != b->elementwise ? a->elementwise > b->elementwise : a->transcendental > b->transcendental;
}

bool branches_cost(const Branches *b, const Node *n, NodeCost *cost, int *undecided)
{
    const Branch *yes = find_branch(b, n, "then_branch"), *no = find_branch(b, n, "else_branch");
    NodeCost costs[2] = { { { 0 }, 0 } };
    int within[2] = { 0 };
    bool counted[2] = { false };
    if (yes != NULL) counted[0] = whole_cost(b, yes, &costs[0], &within[0]);
    if (no != NULL) counted[1] = whole_cost(b, no, &costs[1], &within[1]);
    int larger = yes == NULL || (no != NULL && is_larger(&costs[1].all, &costs[0].all)) ? 1 : 0;
    *cost = costs[larger];
    *undecided += within[larger] + (yes != NULL && no != NULL);
    return counted[larger] && (yes == NULL || no == NULL || counted[1 - larger]);
}

bool branches_hidden(const Branches *b, const Graph *g)
{
    for (uint32_t k = 0; k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        if (!is_if(n) || is_constant(g, n)) continue;
        const Branch *yes = find_branch(b, n, "then_branch"), *no = find_branch(b, n, "else_branch");
        if (yes == NULL && no == NULL) return true;
        if ((yes != NULL && branches_hidden(b, yes->body)) || (no != NULL && branches_hidden(b, no->body))) return true;
    }
    return false;
}

void branches_release(Branches *b)
{
    free(b->all);
    *b = (Branches){ 0 };
}
