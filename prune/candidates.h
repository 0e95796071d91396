/* The weights a pruning pass decides over: one decision for each constant, however many layers read it. */
#ifndef PARE_PRUNE_CANDIDATES_H
#define PARE_PRUNE_CANDIDATES_H

#include "graph/pass.h"

typedef struct Candidate {
    Layer layer;          /* node 0 in a file of weights without nodes */
    bool table;           /* a Gather table: only when a rule names it */
    const char *reason;   /* why it cannot be pruned here; NULL when it can */
    int first;            /* index of the first candidate with the same weight; its own when it is that */
} Candidate;

/* Layers in topological order, then Gather tables, then nodes whose weights are no constants. Texts live in c->scratch; the array
 * too. A graph without nodes gives its float tensors of two or more axes. */
Status candidates_find(const PassContext *c, Candidate **out, int *count, Err *err);
/* ERR_USAGE for a rule that names none of them. */
Status candidates_check_rules(const PassContext *c, const Candidate *list, int count, Err *err);
/* A rule names this layer; patterns of nothing but wildcards name no Gather table. */
bool candidate_named(const PassContext *c, const Candidate *k);
/* The last word of the rules on one option: true when a matching rule sets it. */
bool candidate_rule_sets(const PassContext *c, const Candidate *k, const char *option);

#endif
