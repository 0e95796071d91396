/* Every way of changing a graph. Each keeps the tables consistent; graph_finish restores the topological order at the end. */
#ifndef PARE_GRAPH_EDIT_H
#define PARE_GRAPH_EDIT_H

#include "graph/graph.h"

/* A new value. The name is made unique by appending "_2", "_3" ... when taken. 0 when out of memory. */
ValueId graph_add_value(Graph *g, Str name, DType type, const Shape *shape);
/* A new initializer; takes over the reference in *tensor (and zeroes it), also on failure. 0 when out of memory. */
ValueId graph_add_constant(Graph *g, Str name, Tensor *tensor);
/* Replaces a constant's contents (takes the reference over). A Constant node that made it is removed and the value becomes an
 * initializer. The value's type and shape follow the tensor. */
Status graph_set_constant(Graph *g, ValueId v, Tensor *tensor, Err *err);
/* The constant's contents, its own and aligned, ready to be written: copied first when shared, mapped or misaligned. */
Status tensor_make_writable(Graph *g, ValueId v, Tensor **out, Err *err);

/* Moves a tensor into the graph's arena, for attributes: its buffer is let go with the arena. Takes the reference over. NULL: no memory. */
Tensor *graph_keep_tensor(Graph *g, Tensor *tensor);

/* Adds a node at the end (graph_finish sorts). Inputs and outputs are copied; outputs must have no producer.
 * Sets producer and op. 0: no memory. */
NodeId graph_add_node(Graph *g, const char *type, const char *domain, Str name,
                      const ValueId *inputs, int input_count, const ValueId *outputs, int output_count);
/* Of nodes with one name those that no file brought get another, with "_2", "_3" ... behind it: runtimes refuse two of a name. */
Status graph_node_names_apart(Graph *g, Err *err);
/* Removes a node; its outputs lose their producer. */
void graph_remove_node(Graph *g, NodeId n);
/* Exchanges the node's op type; table entry follows. */
Status graph_set_type(Graph *g, NodeId n, const char *type, const char *domain, Err *err);
Status graph_set_inputs(Graph *g, NodeId n, const ValueId *inputs, int count, Err *err);
Status graph_set_input(Graph *g, NodeId n, int i, ValueId v, Err *err); /* extends with 0 when i is past the end */
/* Exchanges the outputs: old ones lose their producer, new ones get it. */
Status graph_set_outputs(Graph *g, NodeId n, const ValueId *outputs, int count, Err *err);

/* Set or replace one attribute; the name and data are copied. */
Status graph_set_int(Graph *g, NodeId n, const char *name, int64_t value, Err *err);
Status graph_set_float(Graph *g, NodeId n, const char *name, float value, Err *err);
Status graph_set_string(Graph *g, NodeId n, const char *name, Str value, Err *err);
Status graph_set_ints(Graph *g, NodeId n, const char *name, const int64_t *values, int64_t count, Err *err);
void graph_remove_attr(Graph *g, NodeId n, const char *name);

/* Every reader of `from` (nodes, captures in subgraphs) reads `to` instead. When `from` is a graph output, its name must survive:
 * then `to` must be a node output that is no graph output or input; it takes over the name and the place in the outputs. */
Status graph_replace_value(Graph *g, ValueId from, ValueId to, Err *err);
/* What node n reads (inputs, captures in its subgraphs) and map[v] is not 0 for becomes map[v]: many replacements in one walk over the
 * nodes. Not for graph outputs. */
Status graph_map_node(Graph *g, NodeId n, const ValueId *map, Err *err);
/* Readers of a value: nodes that take it as an input or capture it; a graph output counts one more. */
int graph_readers(const Graph *g, ValueId v);
/* The only reading node, or 0 when there is none, several, a capture, or v is a graph output. */
NodeId graph_sole_reader(const Graph *g, ValueId v);

Status graph_set_opset(Graph *g, Str domain, int64_t version, Err *err); /* adds the import when missing */
Status graph_set_metadata(Graph *g, const char *key, const char *value, Err *err); /* replaces an entry of the same key */

/* Removes nodes whose results nobody reads, and initializers nobody reads; returns how many nodes went. Graph inputs stay. */
int graph_remove_dead(Graph *g, int *constants_removed);
/* Rebuilds the index of value names, for a loader that fills the tables itself. False when out of memory. */
bool graph_reindex(Graph *g);
/* Topological order again (stable: file order where possible). ERR_DATA names a node on a cycle. */
Status graph_finish(Graph *g, Err *err);

#endif
