#include "quantize/file_size.h"

#define HEADER 64  /* of the model: versions, imports, names */
#define FIELD 3    /* a tag and a length */

static double tensor_size(const Tensor *t)
{
    return (double)t->bytes + 4.0 * FIELD + 3.0 * t->shape.rank;
}

static double info_size(const Value *v)
{
    return (double)v->name.len + 6.0 * FIELD + 7.0 * (v->shape.rank > 0 ? v->shape.rank : 0);
}

static double attr_size(const Attr *a)
{
    double size = (double)a->name.len + 4.0 * FIELD + (double)a->s.len;
    if (a->tensor != NULL) size += tensor_size(a->tensor);
    if (a->graph != NULL) size += file_size(a->graph);
    for (int64_t i = 0; i < a->count; i++) {
        if (a->floats != NULL) size += 5.0;
        if (a->ints != NULL) size += 3.0;
        if (a->strings != NULL) size += (double)a->strings[i].len + FIELD;
        if (a->tensors != NULL) size += tensor_size(&a->tensors[i]);
        if (a->graphs != NULL) size += file_size(a->graphs[i]);
    }
    return size;
}

static double node_size(const Graph *g, const Node *n)
{
    double size = (double)(n->name.len + n->type.len + n->domain.len) + 4.0 * FIELD;
    for (int i = 0; i < n->input_count; i++) size += FIELD + (n->inputs[i] != 0 ? (double)graph_value(g, n->inputs[i])->name.len : 0.0);
    for (int i = 0; i < n->output_count; i++) size += FIELD + (n->outputs[i] != 0 ? (double)graph_value(g, n->outputs[i])->name.len : 0.0);
    for (int i = 0; i < n->attr_count; i++) size += attr_size(&n->attrs[i]);
    return size;
}

double file_size(const Graph *g)
{
    double size = HEADER;
    for (uint32_t i = 0; i < g->order_count; i++) size += node_size(g, graph_node(g, g->order[i]));
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (value->tensor != NULL && (value->flags & VALUE_INITIALIZER) != 0) size += tensor_size(value->tensor) + (double)value->name.len;
        else if ((value->flags & (VALUE_INPUT | VALUE_OUTPUT)) != 0 || value->origin != NULL) size += info_size(value);
    }
    return size;
}
