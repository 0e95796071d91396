#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/edit.h"

typedef struct Named {
    Str name;
    NodeId node;
} Named;

static int compare_names(Str a, Str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *x, const void *y)
{
    const Named *a = x, *b = y;
    int order = compare_names(a->name, b->name);
    return order != 0 ? order : (a->node > b->node) - (a->node < b->node);
}

static bool taken(const Named *list, size_t count, Str name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(list[middle].name, name);
        if (order == 0) return true;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return false;
}

Status graph_node_names_apart(Graph *g, Err *err)
{
    size_t count = 0;
    Status status = OK;
    Named *list = alloc_array((size_t)g->node_count + 1, sizeof *list);
    if (list == NULL) return err_no_memory(err, "the names of nodes");
    for (NodeId n = 1; n <= g->node_count; n++) {
        const Node *node = graph_node(g, n);
        if (!node->removed && node->name.len > 0) list[count++] = (Named){ node->name, n };
    }
    qsort(list, count, sizeof *list, by_name);
    for (size_t i = 1, suffix = 2; i < count && status == OK; i++) {
        Node *node = graph_node(g, list[i].node);
        if (!str_eq(list[i].name, list[i - 1].name)) suffix = 2;
        if (!str_eq(list[i].name, list[i - 1].name) || node->origin != NULL) continue;
        Str made;
        do made = arena_printf(g->arena, "%.*s_%zu", STR_ARG(list[i].name), suffix++);
        while (made.data != NULL && taken(list, count, made));
        if (made.data == NULL) status = err_no_memory(err, "the name of a node");
        else node->name = made;
    }
    free(list);
    return status;
}
