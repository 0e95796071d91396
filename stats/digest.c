#include "stats/digest.h"

static void add_number(Hash *h, int64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    hash_add(h, bytes, sizeof bytes);
}

/* Counted, so that neighbours cannot run into each other. */
static void add_text(Hash *h, Str s)
{
    add_number(h, (int64_t)s.len);
    hash_add(h, s.data, s.len);
}

static void add_name(Hash *h, const Graph *g, ValueId v)
{
    add_text(h, v != 0 ? graph_value(g, v)->name : STR(""));
}

static void add_tensor(Hash *h, const Tensor *t)
{
    add_number(h, t->type);
    add_number(h, t->shape.rank);
    for (int i = 0; i < t->shape.rank; i++) add_number(h, t->shape.dims[i]);
    add_number(h, (int64_t)t->bytes);
    hash_add(h, t->data, t->bytes);
}

static void add_graph(Hash *h, const Graph *g);

static void add_attr(Hash *h, const Attr *a)
{
    add_text(h, a->name);
    add_number(h, a->type);
    add_number(h, a->type == ATTR_INT ? a->i : a->count);
    if (a->type == ATTR_FLOAT) hash_add(h, &a->f, sizeof a->f);
    if (a->type == ATTR_STRING) add_text(h, a->s);
    if (a->type == ATTR_TENSOR && a->tensor != NULL) add_tensor(h, a->tensor);
    if (a->type == ATTR_GRAPH && a->graph != NULL) add_graph(h, a->graph);
    for (int64_t i = 0; i < a->count; i++) {
        if (a->type == ATTR_FLOATS) hash_add(h, &a->floats[i], sizeof *a->floats);
        if (a->type == ATTR_INTS) add_number(h, a->ints[i]);
        if (a->type == ATTR_STRINGS) add_text(h, a->strings[i]);
        if (a->type == ATTR_TENSORS) add_tensor(h, &a->tensors[i]);
        if (a->type == ATTR_GRAPHS) add_graph(h, a->graphs[i]);
    }
}

static void add_graph(Hash *h, const Graph *g)
{
    for (int i = 0; i < g->opset_count; i++) {
        add_text(h, g->opsets[i].domain);
        add_number(h, g->opsets[i].version);
    }
    add_number(h, g->input_count);
    for (int i = 0; i < g->input_count; i++) add_name(h, g, g->inputs[i]);
    add_number(h, g->output_count);
    for (int i = 0; i < g->output_count; i++) add_name(h, g, g->outputs[i]);
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (value->tensor == NULL || value->producer != 0) continue;
        add_text(h, value->name);
        if (value->tensor->type != DT_STRING) add_tensor(h, value->tensor);
    }
    add_number(h, g->order_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        add_text(h, n->domain);
        add_text(h, n->type);
        add_number(h, n->input_count);
        for (int k = 0; k < n->input_count; k++) add_name(h, g, n->inputs[k]);
        add_number(h, n->output_count);
        for (int k = 0; k < n->output_count; k++) add_name(h, g, n->outputs[k]);
        add_number(h, n->attr_count);
        for (int k = 0; k < n->attr_count; k++) add_attr(h, &n->attrs[k]);
    }
}

Status graph_digest(const Graph *g, char text[HASH_TEXT], Err *err)
{
    Hash *h = hash_new();
    if (h == NULL) return err_no_memory(err, "a hash");
    add_graph(h, g);
    hash_finish(h, text);
    return OK;
}
