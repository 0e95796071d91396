/* A plan under construction: plan.c walks the nodes, plan_slots.c keeps the slots of their values. */
#ifndef PARE_ENGINE_PLAN_PRIVATE_H
#define PARE_ENGINE_PLAN_PRIVATE_H

#include "engine/session.h"

typedef struct Builder {
    Session *session;
    Plan *plan;
    bool *fused;   /* [node]: computed along with an earlier one */
    uint64_t work; /* operations left for what is evaluated here */
    Status failed; /* other than that something is not possible */
    Err *err;
} Builder;

/* A new slot for a value made by `step`, linked before its others; -1: out of memory. */
int slot_add(Builder *b, ValueId v, SlotKind kind, const Layout *layout, int step);
/* A slot that holds a value as `step` makes it: in the arena when its size is known. */
Status slot_make(Builder *b, ValueId v, const Layout *layout, int step, int *out);
/* The slot of a value in that order of elements; -1: none. */
int slot_find(const Plan *p, ValueId v, const Layout *layout);
/* A slot's memory is in use until `step` at least. */
void slot_use(Plan *p, int slot, int step);
/* The slot of a value in the order wanted; a reordering step is added when it is there in another one only. */
Status slot_want(Builder *b, ValueId v, const Layout *layout, int *out);
/* A constant gets its slot when the first node reads it or it is a graph output. */
Status slot_constant(Builder *b, ValueId v);
/* A new last step with all operands left out; NULL: out of memory. The next one may move it. */
Step *step_add(Builder *b, NodeId node, int in_count, int out_count);

#endif
