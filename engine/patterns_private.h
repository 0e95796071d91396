/* What the patterns share: what is to be rewritten, and questions about the nodes around a value. */
#ifndef PARE_ENGINE_PATTERNS_PRIVATE_H
#define PARE_ENGINE_PATTERNS_PRIVATE_H

#include "engine/patterns.h"

#define INNER 12 /* nodes of a pattern */

typedef struct Patterns {
    Graph *g;
    const bool *watched;
    int *readers; /* [value]: inputs and captures that read it; graph outputs count INNER: never inside */
    size_t values;
    int made;
    Err *err;
} Patterns;

/* The nodes of one occurrence, all to be removed but the last, which makes the result. */
typedef struct Found {
    NodeId node[INNER];
    int count;
} Found;

/* The node of this type whose only output v is, or NULL. */
const Node *pattern_maker(const Patterns *s, ValueId v, const char *type);
/* v is read `readers` times in all, and watched by nobody. */
bool pattern_is_inner(const Patterns *s, ValueId v, int readers);
/* One more node of what was found, unless it is there already. False: too many. */
bool pattern_add(Found *f, NodeId id);
/* The maker of v, which is read `readers` times in all and by nobody outside the pattern; added to what was found. */
const Node *pattern_inner(const Patterns *s, ValueId v, const char *type, int readers, Found *f);
bool pattern_scalar(const Patterns *s, ValueId v, double *x);
/* A scalar of about this value, which must not add an axis to what it is combined with. */
bool pattern_is_about(const Patterns *s, ValueId v, double want);
/* The operand of a commutative node that is not v; 0: it is none of its operands, or both. */
ValueId pattern_other(const Node *n, ValueId v);
/* The operand of a commutative node beside a scalar of about `want`; 0: none. */
ValueId pattern_times(const Patterns *s, const Node *n, double want);
/* Which input of a node was made by this type of node. */
ValueId pattern_made_by(const Patterns *s, const Node *n, const char *type);
bool pattern_is_float(const Patterns *s, ValueId v);
/* Entry of an operator of ONNX's own domain, whatever the file's opset. */
const Op *pattern_op(const char *type);
/* Puts one node in the place of those found; `last` makes the result. */
Status pattern_replace(Patterns *s, const Found *f, NodeId last, const Op *op, const ValueId *in, int count, NodeId *out);

/* Each looks whether node `id` is the last one of its pattern, and rewrites it. */
Status pattern_layer_norm(Patterns *s, NodeId id); /* Add */
Status pattern_root_norm(Patterns *s, NodeId id);  /* Mul, Div */
Status pattern_gelu(Patterns *s, NodeId id);       /* Mul, here and below */
Status pattern_gelu_tanh(Patterns *s, NodeId id);
Status pattern_swish(Patterns *s, NodeId id);
Status pattern_gated(Patterns *s, NodeId id);
Status pattern_rotary(Patterns *s, NodeId id);     /* Add, Concat */
/* What is computed element by element, behind a Transpose: the other way round. *id: the node that has taken its place. */
Status pattern_push(Patterns *s, NodeId *id);

#endif
