/* Topological order: Kahn's algorithm with the nodes of the present order first in, so that an ordered graph keeps its order. */
#include "graph/edit.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

typedef struct Sorter {
    const Graph *g;
    uint32_t *waiting;    /* per node: distinct producers not yet placed */
    uint32_t *first, *next, *reader; /* per producer: list of its readers, as edges */
    uint32_t edge_count;
    uint32_t *heap;       /* ready nodes by rank */
    uint32_t heap_count;
    uint32_t *rank, *by_rank;
} Sorter;

static void heap_push(Sorter *s, uint32_t rank)
{
    uint32_t at = s->heap_count++;
    while (at > 0 && s->heap[(at - 1) / 2] > rank) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = rank;
}

static uint32_t heap_pop(Sorter *s)
{
    uint32_t top = s->heap[0], last = s->heap[--s->heap_count], at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->heap_count) break;
        if (child + 1 < s->heap_count && s->heap[child + 1] < s->heap[child]) child++;
        if (s->heap[child] >= last) break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

static size_t count_edges(const Graph *g)
{
    size_t edges = 0;
    for (NodeId id = 1; id <= g->node_count; id++) {
        if (!g->nodes[id].removed) edges += (size_t)g->nodes[id].input_count + (size_t)g->nodes[id].capture_count;
    }
    return edges;
}

static void add_edges(Sorter *s, NodeId id)
{
    const Node *n = &s->g->nodes[id];
    for (int i = 0; i < n->input_count + n->capture_count; i++) {
        ValueId v = i < n->input_count ? n->inputs[i] : n->captures[i - n->input_count];
        NodeId producer = v != 0 ? s->g->values[v].producer : 0;
        if (producer == 0) continue;
        uint32_t edge = ++s->edge_count;
        s->reader[edge] = id;
        s->next[edge] = s->first[producer];
        s->first[producer] = edge;
        s->waiting[id]++;
    }
}

/* Present order first, then the nodes that are not in it, by number. */
static uint32_t rank_nodes(Sorter *s)
{
    const Graph *g = s->g;
    uint32_t ranked = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        if (g->nodes[id].removed || s->rank[id] != 0) continue;
        s->by_rank[++ranked] = id;
        s->rank[id] = ranked;
    }
    for (NodeId id = 1; id <= g->node_count; id++) {
        if (g->nodes[id].removed || s->rank[id] != 0) continue;
        s->by_rank[++ranked] = id;
        s->rank[id] = ranked;
    }
    return ranked;
}

static Status sort_nodes(Graph *g, Sorter *s, NodeId *order, Err *err)
{
    uint32_t live = rank_nodes(s), placed = 0;
    for (uint32_t r = 1; r <= live; r++) add_edges(s, s->by_rank[r]);
    for (uint32_t r = 1; r <= live; r++) {
        if (s->waiting[s->by_rank[r]] == 0) heap_push(s, r);
    }
    while (s->heap_count > 0) {
        NodeId id = s->by_rank[heap_pop(s)];
        order[placed++] = id;
        for (uint32_t e = s->first[id]; e != 0; e = s->next[e]) {
            if (--s->waiting[s->reader[e]] == 0) heap_push(s, s->rank[s->reader[e]]);
        }
    }
    g->order_count = placed;
    for (uint32_t r = 1; placed < live && r <= live; r++) {
        const Node *n = &g->nodes[s->by_rank[r]];
        if (s->waiting[s->by_rank[r]] > 0)
            return err_set(err, ERR_DATA, "%.*s '%.*s' is part of a cycle", STR_ARG(n->type), STR_ARG(node_label(g, n)));
    }
    return OK;
}

static Status finish_subgraphs(Graph *g, Err *err)
{
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = &g->nodes[id];
        for (int a = 0; a < n->attr_count && !n->removed; a++) {
            const Attr *attr = &n->attrs[a];
            if (attr->type == ATTR_GRAPH) TRY(graph_finish(attr->graph, err));
            for (int64_t i = 0; attr->type == ATTR_GRAPHS && i < attr->count; i++) TRY(graph_finish(attr->graphs[i], err));
        }
    }
    return OK;
}

Status graph_finish(Graph *g, Err *err)
{
    size_t nodes = (size_t)g->node_count + 1, edges = count_edges(g) + 1;
    Sorter s = { .g = g };
    NodeId *order = alloc_zeroed(nodes, sizeof *order);
    s.waiting = alloc_zeroed(nodes, sizeof *s.waiting);
    s.first = alloc_zeroed(nodes, sizeof *s.first);
    s.next = alloc_zeroed(edges, sizeof *s.next);
    s.reader = alloc_zeroed(edges, sizeof *s.reader);
    s.heap = alloc_zeroed(nodes, sizeof *s.heap);
    s.rank = alloc_zeroed(nodes, sizeof *s.rank);
    s.by_rank = alloc_zeroed(nodes, sizeof *s.by_rank);
    Status status;
    if (order == NULL || !s.waiting || !s.first || !s.next || !s.reader || !s.heap || !s.rank || !s.by_rank) {
        status = err_no_memory(err, "sorting the graph");
    } else {
        status = sort_nodes(g, &s, order, err);
        free(g->order);
        g->order = order;
        order = NULL;
    }
    free(order);
    free(s.waiting);
    free(s.first);
    free(s.next);
    free(s.reader);
    free(s.heap);
    free(s.rank);
    free(s.by_rank);
    if (status == OK && g->name_capacity == 0 && !graph_reindex(g)) status = err_no_memory(err, "the index of names");
    return status != OK ? status : finish_subgraphs(g, err);
}
