/* What nodes cost, those of the branches of If among them. */
#ifndef PARE_GREENNESS_BRANCHES_H
#define PARE_GREENNESS_BRANCHES_H

#include "engine/engine.h"

typedef struct NodeCost {
    OpCost all;
    int64_t integer; /* of its MACs, those of 8-bit integers */
} NodeCost;

/* A branch that is taken, or may be, at the shapes asked for. */
typedef struct Branch {
    const Graph *body;
    NodeCost cost; /* of its nodes but the Ifs in it */
    bool open;     /* something in it could not be counted */
} Branch;

typedef struct Branches {
    Branch *all;
    size_t count, capacity;
    bool failed; /* out of memory */
} Branches;

/* A BodyVisit of engine_concrete_bodies; `user` is a Branches. */
void branches_visit(void *user, const Graph *body, const TypeInfo *types);
/* What an If costs: its branch where that is known or only one of them can run, else the larger one (by MACs, then by the rest), which adds
 * one to `undecided`. The same for the Ifs within. False: something could not be counted; then the sum lacks it. */
bool branches_cost(const Branches *b, const Node *n, NodeCost *cost, int *undecided);
/* Whether an If of the graph, at any depth of the branches known, has no branch that can run. */
bool branches_hidden(const Branches *b, const Graph *g);
void branches_release(Branches *b);

/* The node's cost at these shapes; `scratch` is as long as it has inputs and outputs. False when its op or a shape that the cost depends
 * on is unknown. */
bool node_cost(const Graph *g, const TypeInfo *types, const Node *n, TypeInfo *scratch, NodeCost *cost);

#endif
