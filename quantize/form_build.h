/* Constants and nodes of the output forms: named after what they stand for, checked once. */
#ifndef PARE_QUANTIZE_FORM_BUILD_H
#define PARE_QUANTIZE_FORM_BUILD_H

#include "graph/edit.h"
#include "stats/form.h"

#define FORM_MICROSOFT "com.microsoft"

/* "BASE_SUFFIX" in the graph's arena. */
Str form_name(Graph *g, Str base, const char *suffix);
/* A constant "BASE_SUFFIX"; takes *t over, also on failure. */
Status form_constant(Graph *g, Str base, const char *suffix, Tensor *t, ValueId *out, Err *err);
Status form_floats(Graph *g, Str base, const char *suffix, const float *values, const Shape *shape, ValueId *out, Err *err);
Status form_ints(Graph *g, Str base, const char *suffix, const int64_t *values, int64_t count, ValueId *out, Err *err);
/* A node "BASE_SUFFIX" with one output: *out, or a new value of this name and type when *out is 0. */
Status form_node(Graph *g, const char *type, const char *domain, Str base, const char *suffix, const ValueId *inputs, int count, DType made,
                 ValueId *out, NodeId *node, Err *err);
/* The node's own output 0 becomes a new value "LABEL_SUFFIX" of this type, which is returned in *raw; the old one, to be made by a node to
 * come, in *old. A node without a name keeps the one it was known by. */
Status form_divert(Graph *g, NodeId node, const char *suffix, DType type, ValueId *raw, ValueId *old, Err *err);
/* Adds what the layer's operator no longer adds: `bias` times beta, to its output. */
Status form_add_bias(Graph *g, const LayerForm *f, ValueId bias, Err *err);
void form_drop_attrs(Graph *g, NodeId node, const char *const *names); /* ends with NULL */
/* The import of com.microsoft. */
Status form_import(Graph *g, Err *err);

#endif
