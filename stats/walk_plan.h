/* The walk's timetable: where the network is cut, what each part reads and gives, how long each value is kept. */
#ifndef PARE_STATS_WALK_PLAN_H
#define PARE_STATS_WALK_PLAN_H

#include "stats/segment.h"
#include "stats/walk.h"

typedef struct WalkStop {
    LayerForm form;
    ValueId shortcut; /* added to the layer's output further on, and known before the layer runs; 0: none */
} WalkStop;

/* Part p = nodes of order[cut[p] .. cut[p + 1]); part p >= 1 begins with the layer of stop p - 1. */
typedef struct WalkPlan {
    NodeId *order;
    int order_count;
    int *cut;
    int parts;         /* stops + 1 */
    WalkStop *stops;
    int stop_count;
    bool *fixed;       /* [node]: depends on constants alone */
    bool *constant;    /* [value]: a constant or made by a fixed node */
    int *born;         /* [value]: part that makes it; -1: fed to the network */
    int *last;         /* [value]: last part that needs it; -1: none. `parts` stands for the outputs at the end */
    uint32_t node_count, value_count; /* as of the plan */
    ValueId *feeds;
    int feed_count;
} WalkPlan;

Status walk_plan_make(const Graph *g, const WalkOptions *options, void *user, WalkPlan *out, Err *err);
void walk_plan_release(WalkPlan *p);
/* What part p reads from outside and what is needed of it later; arrays are the caller's to free. */
Status walk_plan_part(const Graph *g, const WalkPlan *p, int part, Segment *out, Err *err);
void walk_part_release(Segment *s);

#endif
