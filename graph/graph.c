#include "graph/graph.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Graph *graph_new(Arena *arena)
{
    Graph *g = calloc(1, sizeof *g);
    if (g == NULL) return NULL;
    g->arena = arena != NULL ? arena_ref(arena) : arena_new();
    g->values = calloc(1, sizeof *g->values); /* [0] is "none" */
    g->nodes = calloc(1, sizeof *g->nodes);
    g->value_capacity = g->node_capacity = 1;
    if (g->arena == NULL || g->values == NULL || g->nodes == NULL) {
        graph_free(g);
        return NULL;
    }
    return g;
}

static void free_subgraphs(Node *n)
{
    for (int a = 0; a < n->attr_count; a++) {
        const Attr *attr = &n->attrs[a];
        if (attr->type == ATTR_GRAPH) graph_free(attr->graph);
        for (int64_t i = 0; attr->type == ATTR_GRAPHS && i < attr->count; i++) graph_free(attr->graphs[i]);
    }
}

void graph_free(Graph *g)
{
    if (g == NULL) return;
    for (uint32_t v = 1; v <= g->value_count; v++) {
        if (g->values[v].tensor != NULL) buffer_unref(g->values[v].tensor->buffer);
    }
    for (uint32_t n = 1; n <= g->node_count; n++) free_subgraphs(&g->nodes[n]);
    if (g->origin != NULL && __atomic_sub_fetch(&g->origin->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        g->origin->release(g->origin->message);
        free(g->origin);
    }
    free(g->values);
    free(g->nodes);
    free(g->order);
    free(g->inputs);
    free(g->outputs);
    free(g->name_index);
    free(g->symbols);
    free(g->opsets);
    free(g->metadata);
    arena_unref(g->arena);
    free(g);
}

/* malloc'ed copy of an array; NULL (and fine) when it is empty. */
static bool copy_array(void *to, const void *from, size_t count, size_t size)
{
    void **out = to;
    *out = NULL;
    if (count == 0) return true;
    *out = alloc_array(count, size);
    if (*out == NULL) return false;
    memcpy(*out, from, count * size);
    return true;
}

static Status clone_subgraphs(Graph *copy, Node *n, Err *err)
{
    bool any = false;
    for (int a = 0; a < n->attr_count; a++) any |= n->attrs[a].type == ATTR_GRAPH || n->attrs[a].type == ATTR_GRAPHS;
    if (!any) return OK;
    Attr *attrs = arena_copy(copy->arena, n->attrs, sizeof *attrs * (size_t)n->attr_count);
    if (attrs == NULL) {
        n->attr_count = 0; /* so that the original's subgraphs are not freed with the copy */
        return err_no_memory(err, "a copy of a graph");
    }
    for (int a = 0; a < n->attr_count; a++) { /* first let go of the original's subgraphs, so that a failure below frees only copies */
        Attr *attr = &attrs[a];
        if (attr->type == ATTR_GRAPH) attr->graph = NULL;
        if (attr->type != ATTR_GRAPHS) continue;
        attr->graphs = arena_array(copy->arena, (size_t)attr->count, sizeof *attr->graphs);
        if (attr->graphs == NULL) attr->count = 0;
        if (attr->graphs == NULL) err_no_memory(err, "a copy of a graph");
    }
    const Attr *old = n->attrs;
    n->attrs = attrs;
    for (int a = 0; a < n->attr_count; a++) {
        if (attrs[a].type == ATTR_GRAPH && old[a].graph != NULL) {
            TRY(graph_clone(old[a].graph, &attrs[a].graph, err));
            attrs[a].graph->parent = copy;
        }
        if (attrs[a].type == ATTR_GRAPHS && attrs[a].count < old[a].count) return err_no_memory(err, "a copy of a graph");
        for (int64_t i = 0; attrs[a].type == ATTR_GRAPHS && i < attrs[a].count; i++) {
            TRY(graph_clone(old[a].graphs[i], &attrs[a].graphs[i], err));
            attrs[a].graphs[i]->parent = copy;
        }
    }
    return OK;
}

Status graph_clone(const Graph *g, Graph **out, Err *err)
{
    Graph *copy = malloc(sizeof *copy);
    if (copy == NULL) return err_no_memory(err, "a copy of a graph");
    *copy = *g;
    copy->arena = arena_ref(g->arena);
    if (copy->origin != NULL) __atomic_add_fetch(&copy->origin->refs, 1, __ATOMIC_RELAXED);
    copy->value_count = copy->node_count = 0; /* nothing to free yet */
    copy->value_capacity = g->value_count + 1;
    copy->node_capacity = g->node_count + 1;
    bool fine = copy_array(&copy->values, g->values, g->value_count + 1, sizeof *g->values);
    fine &= copy_array(&copy->nodes, g->nodes, g->node_count + 1, sizeof *g->nodes);
    fine &= copy_array(&copy->order, g->order, g->order_count, sizeof *g->order);
    fine &= copy_array(&copy->inputs, g->inputs, (size_t)g->input_count, sizeof *g->inputs);
    fine &= copy_array(&copy->outputs, g->outputs, (size_t)g->output_count, sizeof *g->outputs);
    fine &= copy_array(&copy->name_index, g->name_index, g->name_capacity, sizeof *g->name_index);
    fine &= copy_array(&copy->symbols, g->symbols, (size_t)g->symbol_count, sizeof *g->symbols);
    fine &= copy_array(&copy->opsets, g->opsets, (size_t)g->opset_count, sizeof *g->opsets);
    fine &= copy_array(&copy->metadata, g->metadata, (size_t)g->metadata_count, sizeof *g->metadata);
    copy->symbol_capacity = g->symbol_count;
    if (!fine) {
        graph_free(copy);
        return err_no_memory(err, "a copy of a graph");
    }
    for (uint32_t v = 1; v <= g->value_count; v++) {
        if (copy->values[v].tensor != NULL && copy->values[v].tensor->buffer != NULL) buffer_ref(copy->values[v].tensor->buffer);
    }
    copy->value_count = g->value_count;
    for (uint32_t n = 1; n <= g->node_count; n++) {
        copy->node_count = n;
        Status status = clone_subgraphs(copy, &copy->nodes[n], err);
        if (status != OK) {
            graph_free(copy);
            return status;
        }
    }
    *out = copy;
    return OK;
}

ValueId graph_find_value(const Graph *g, Str name)
{
    if (g->name_capacity == 0 || name.len == 0) return 0;
    uint32_t mask = g->name_capacity - 1;
    for (uint32_t at = str_hash(name) & mask; g->name_index[at] != 0; at = (at + 1) & mask) {
        if (str_eq(g->values[g->name_index[at]].name, name)) return g->name_index[at];
    }
    return 0;
}

int64_t graph_opset(const Graph *g, Str domain)
{
    while (g->parent != NULL) g = g->parent;
    for (int i = 0; i < g->opset_count; i++) {
        if (str_eq(g->opsets[i].domain, domain)) return g->opsets[i].version;
    }
    return 0;
}

int64_t graph_symbol(Graph *g, Str name)
{
    for (int i = 0; i < g->symbol_count; i++) {
        if (str_eq(g->symbols[i], name)) return -2 - (int64_t)i;
    }
    size_t capacity = (size_t)g->symbol_capacity;
    void *symbols = g->symbols;
    if (!array_grow(&symbols, &capacity, (size_t)g->symbol_count + 1, sizeof *g->symbols)) return DIM_UNKNOWN;
    g->symbols = symbols;
    g->symbol_capacity = (int)capacity;
    Str copy = arena_str(g->arena, name);
    if (copy.data == NULL) return DIM_UNKNOWN;
    g->symbols[g->symbol_count] = copy;
    return -2 - (int64_t)g->symbol_count++;
}

Str graph_symbol_name(const Graph *g, int64_t dim)
{
    int64_t i = -2 - dim;
    return i >= 0 && i < g->symbol_count ? g->symbols[i] : STR("?");
}

void graph_print_shape(const Graph *g, const Shape *s, char *text, size_t size)
{
    if (s->rank < 0) {
        snprintf(text, size, "[?]");
        return;
    }
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < s->rank && used < size; i++) {
        const char *comma = i > 0 ? "," : "";
        if (s->dims[i] >= 0) used += (size_t)snprintf(text + used, size - used, "%s%lld", comma, (long long)s->dims[i]);
        else used += (size_t)snprintf(text + used, size - used, "%s%.*s", comma, STR_ARG(graph_symbol_name(g, s->dims[i])));
    }
    if (used < size) snprintf(text + used, size - used, "]");
}

int graph_feeds(const Graph *g, ValueId *out, int max)
{
    int count = 0;
    for (int i = 0; i < g->input_count; i++) {
        if (g->values[g->inputs[i]].flags & VALUE_INITIALIZER) continue;
        if (count < max) out[count] = g->inputs[i];
        count++;
    }
    return count;
}

const Attr *node_attr(const Node *n, const char *name)
{
    for (int i = 0; i < n->attr_count; i++) {
        if (str_is(n->attrs[i].name, name)) return &n->attrs[i];
    }
    return NULL;
}

int64_t node_int(const Node *n, const char *name, int64_t fallback)
{
    const Attr *a = node_attr(n, name);
    return a != NULL && a->type == ATTR_INT ? a->i : fallback;
}

float node_float(const Node *n, const char *name, float fallback)
{
    const Attr *a = node_attr(n, name);
    return a != NULL && a->type == ATTR_FLOAT ? a->f : fallback;
}

Str node_string(const Node *n, const char *name, const char *fallback)
{
    const Attr *a = node_attr(n, name);
    return a != NULL && a->type == ATTR_STRING ? a->s : str_of(fallback);
}

const int64_t *node_ints(const Node *n, const char *name, int64_t *count)
{
    const Attr *a = node_attr(n, name);
    bool present = a != NULL && a->type == ATTR_INTS;
    *count = present ? a->count : 0;
    return present ? a->ints : NULL;
}

Str node_label(const Graph *g, const Node *n)
{
    if (n->name.len > 0) return n->name;
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != 0) return g->values[n->outputs[i]].name;
    }
    return n->type;
}

const Tensor *node_constant(const Graph *g, const Node *n, int i)
{
    ValueId v = node_input(n, i);
    return v != 0 ? g->values[v].tensor : NULL;
}
