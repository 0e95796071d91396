/* What shape inference knows while it walks one graph: private to engine/infer*.c. */
#ifndef PARE_ENGINE_INFER_SCOPE_H
#define PARE_ENGINE_INFER_SCOPE_H

#include "engine/engine.h"

/* A dimension that has no name in the graph but may meet itself again (Shape of it, Reshape to it): numbered from here downwards.
 * Becomes DIM_UNKNOWN when written to a value. */
#define TEMP_SYMBOL (-((int64_t)1 << 40))

typedef struct Scope {
    const Graph *g;
    Graph *edit;           /* the same graph when results are written to its values; NULL: only to `types` */
    const struct Scope *outer;
    TypeInfo *types;       /* [1..value_count] */
    Ints **ints;           /* contents known in part; NULL: nothing */
    Tensor *known;         /* contents found by evaluating; type DT_NONE: none */
    Arena *arena;          /* of the Ints */
    int64_t *next_temp;    /* shared by all scopes of one inference */
    BodyVisit visit;       /* NULL: nobody asks, or this scope may not be reached */
    void *user;
    Err *err;
} Scope;

Status scope_init(Scope *s, const Graph *g, Graph *edit, const Scope *outer, int64_t *next_temp, Err *err);
void scope_release(Scope *s);
/* Contents of a value where they are known as a tensor, else NULL. */
const Tensor *scope_constant(const Scope *s, ValueId v);
/* Integer contents of a value as far as they are known. */
void scope_ints(const Scope *s, ValueId v, Ints *out);
TypeInfo scope_type(const Scope *s, ValueId v);
/* Keeps what infer said about the contents of an output. */
Status scope_keep_ints(Scope *s, ValueId v, const Ints *ints);
/* Evaluates a node whose inputs are known and small, and keeps the results. A node that cannot be evaluated stays unknown. */
Status scope_fold(Scope *s, const Node *n, int opset);
/* Dimensions that inference leaves open get a number of their own, so that they can be recognised when they come back. */
void scope_name_unknown(Scope *s, Shape *shape);
/* All nodes of a scope in order (infer.c). */
Status scope_infer_nodes(Scope *s);
/* The outputs of a node with subgraphs, by inference through them (infer_bodies.c); other nodes are left as they are. */
Status scope_infer_bodies(Scope *s, const Node *n, TypeInfo *out, Ints *ints);
/* The opset of a node's domain, asked of the outermost graph. */
int scope_opset(const Graph *g, const Node *n);

#endif
