#include "engine/fold.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/opset.h"

#define MAX_ROUNDS 64 /* each round removes a node or more; chains are folded within one */

void fold_changed(Fold *f, Str object, const char *format, ...)
{
    f->changes++;
    if (f->record == NULL) return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    record_add(f->record, RECORD_CHANGED, object, "%s", text);
}

bool fold_can_replace(const Graph *g, ValueId from, ValueId to)
{
    if (!(graph_value(g, from)->flags & VALUE_OUTPUT)) return true;
    const Value *target = graph_value(g, to);
    return target->producer != 0 && !(target->flags & (VALUE_OUTPUT | VALUE_INPUT));
}

Status fold_to_constant(Fold *f, ValueId v, Tensor *contents, Err *err)
{
    NodeId producer = graph_value(f->g, v)->producer;
    if (producer != 0 && graph_node(f->g, producer)->output_count == 1) return graph_set_constant(f->g, v, contents, err);
    ValueId constant = graph_add_constant(f->g, graph_value(f->g, v)->name, contents);
    if (constant == 0) return err_no_memory(err, "a folded constant");
    return graph_replace_value(f->g, v, constant, err);
}

/* ---- equal initializers ---- */

typedef struct Content {
    ValueId value;
    const Tensor *tensor;
} Content;

static int by_shape(const Content *x, const Content *y)
{
    if (x->tensor->type != y->tensor->type) return x->tensor->type < y->tensor->type ? -1 : 1;
    if (x->tensor->bytes != y->tensor->bytes) return x->tensor->bytes < y->tensor->bytes ? -1 : 1;
    if (x->tensor->shape.rank != y->tensor->shape.rank) return x->tensor->shape.rank < y->tensor->shape.rank ? -1 : 1;
    for (int i = 0; i < x->tensor->shape.rank; i++) {
        int64_t a = x->tensor->shape.dims[i], b = y->tensor->shape.dims[i];
        if (a != b) return a < b ? -1 : 1;
    }
    return 0;
}

static bool same_contents(const Content *x, const Content *y)
{
    return by_shape(x, y) == 0 && memcmp(x->tensor->data, y->tensor->data, x->tensor->bytes) == 0;
}

static int by_contents(const void *a, const void *b)
{
    const Content *x = a, *y = b;
    int order = by_shape(x, y);
    if (order == 0) order = memcmp(x->tensor->data, y->tensor->data, x->tensor->bytes);
    return order != 0 ? order : (x->value > y->value) - (x->value < y->value);
}

/* Marks every value that a node reads. */
static void find_read(const Graph *g, bool *read)
{
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = graph_node(g, id);
        for (int i = 0; !n->removed && i < n->input_count; i++) read[n->inputs[i]] = true;
        for (int i = 0; !n->removed && i < n->capture_count; i++) read[n->captures[i]] = true;
    }
}

static size_t list_contents(const Graph *g, const bool *read, Content *list)
{
    size_t count = 0;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (!(value->flags & VALUE_INITIALIZER) || value->flags & VALUE_OUTPUT || value->tensor == NULL) continue;
        if (value->tensor->type == DT_STRING || value->tensor->bytes == 0 || !read[v]) continue;
        list[count++] = (Content){ .value = v, .tensor = value->tensor };
    }
    return count;
}

/* Of constants with the same type, shape and bytes the first stays. */
static Status share_duplicates(Fold *f, Err *err)
{
    Graph *g = f->g;
    Status status = OK;
    Content *list = alloc_array((size_t)g->value_count + 1, sizeof *list);
    bool *read = alloc_zeroed((size_t)g->value_count + 1, sizeof *read);
    ValueId *map = alloc_zeroed((size_t)g->value_count + 1, sizeof *map);
    if (list == NULL || read == NULL || map == NULL) {
        status = err_no_memory(err, "the list of initializers");
        goto out;
    }
    find_read(g, read);
    size_t count = list_contents(g, read, list);
    qsort(list, count, sizeof *list, by_contents);
    for (size_t i = 1, first = 0; i < count; i++) {
        if (!same_contents(&list[i], &list[first])) {
            first = i;
            continue;
        }
        Str kept = graph_value(g, list[first].value)->name;
        map[list[i].value] = list[first].value;
        fold_changed(f, graph_value(g, list[i].value)->name, "shares the contents of '%.*s'", STR_ARG(kept));
    }
    for (NodeId id = 1; id <= g->node_count; id++)
        if (!graph_node(g, id)->removed) TRY_OUT(graph_map_node(g, id, map, err));
out:
    free(list);
    free(read);
    free(map);
    return status;
}

/* ---- what nobody reads ---- */

static void remove_dead(Fold *f)
{
    int constants = 0;
    int nodes = graph_remove_dead(f->g, &constants);
    if (nodes > 0) fold_changed(f, STR("graph"), "%d node%s without readers removed", nodes, nodes == 1 ? "" : "s");
    if (constants > 0) fold_changed(f, STR("graph"), "%d initializer%s without readers removed", constants, constants == 1 ? "" : "s");
}

Status fold_graph(Graph *g, const FoldOptions *options, PassRecord *record, Err *err)
{
    Fold f = { .g = g, .options = options, .record = record };
    engine_bind(g);
    TRY(engine_infer(g, err));
    for (int round = 0; round < MAX_ROUNDS; round++) {
        f.changes = 0;
        if (options->constants) TRY(fold_constants(&f, err));
        if (options->constants) TRY(fold_branches(&f, err));
        if (options->shapes) TRY(fold_shapes(&f, err));
        if (options->identities) TRY(fold_identities(&f, err));
        if (options->batchnorm || options->bias) TRY(fold_affine(&f, err));
        if (options->duplicates) TRY(share_duplicates(&f, err));
        if (options->dead) remove_dead(&f);
        if (f.changes == 0) break;
        TRY(engine_refresh(g, err));
    }
    if (options->batchnorm) fold_affine_report(&f);
    return opset_settle_ir(g, err);
}
