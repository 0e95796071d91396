/* Rotary embeddings that exporters spell in many nodes, as the one operator a session puts in their place (domain "pare", never in a file):
 * pairs of numbers turned by an angle.
 *
 *   y1 = x1 c1 - x2 s1,   y2 = x2 c2 + x1 s2        each product rounded to float32, as the nodes that were there do
 *
 * x[..., D], D = 2K, holds K pairs in one of the orders below; y has the leading axes of x, c and s broadcast, then its pairs. c and s
 * are [..., K], the same for both of a pair, or [..., D] in the order of y. Attributes: order of x, made of y. */
#ifndef PARE_ENGINE_OPS_ROTARY_H
#define PARE_ENGINE_OPS_ROTARY_H

#include "graph/op.h"

typedef enum RotaryOrder {
    ROTARY_HALVES, /* [..., D]: all the first ones, then all the second ones */
    ROTARY_NEXT,   /* [..., D]: beside each other */
    ROTARY_PAIRS,  /* [..., K, 2]: the same, with an axis of their own */
} RotaryOrder;

/* The rows of one execution, each of D numbers; steps in elements along their axes, 0 where broadcast. */
typedef struct RotaryRows {
    int rank;
    int64_t dims[MAX_RANK], x[MAX_RANK], c[MAX_RANK], s[MAX_RANK];
    int64_t count, half; /* rows, K */
    bool wide_c, wide_s; /* D entries, not K */
    bool from_halves, to_halves;
} RotaryRows;

/* The rows at these known shapes, all arrays row-major. False: they do not fit each other. */
bool rotary_rows_init(const Node *n, const Shape *x, const Shape *c, const Shape *s, RotaryRows *out);
/* Rows [first, end) of y, row-major; rows of x lie together. */
void rotary_turn(const RotaryRows *r, const float *x, const float *c, const float *s, float *y, int64_t first, int64_t end);

extern const Op rotary_op;

#endif
