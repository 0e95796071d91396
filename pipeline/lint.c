#include "pipeline/lint.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pipeline/lint_rewrite.h"

#define MAX_DEPTH 64 /* of subgraphs; the loader allows no more */

const char *lint_target_name(LintTarget t)
{
    static const char *const names[] = { "portable", "x86-vnni", "x86-avx2", "arm-dotprod", "gpu" };
    return names[t];
}

const char *lint_advice_name(AdviceKind kind)
{
#define X(id, name, text) name,
    static const char *const names[] = { LINT_ADVICE_LIST(X) };
#undef X
    return names[kind];
}

const char *lint_advice_text(AdviceKind kind)
{
#define X(id, name, text) text,
    static const char *const texts[] = { LINT_ADVICE_LIST(X) };
#undef X
    return texts[kind];
}

static void count_item(Lint *l, const LintItem *item)
{
    Fate fate = item->ruling.fate;
    if (item->layer) {
        l->layers++;
        l->integer_layers += fate == FATE_INTEGER;
        l->weight_layers += fate == FATE_WEIGHTS;
        l->lost += fate == FATE_LOST;
        l->unpacked += fate == FATE_UNPACKED;
    } else {
        l->others++;
        l->integer_others += fate == FATE_INTEGER;
    }
}

static Status judge_node(Lint *l, const Sim *s, const Sim *arm, int node, Err *err)
{
    const SimNode *n = &s->nodes[node];
    RuleSet rules = { .int8_activations = l->target == LINT_ARM_DOTPROD, .gpu = l->target == LINT_GPU };
    Ruling ruling, other;
    TRY(lint_judge(s, node, &rules, l->arena, &ruling, err));
    if (arm != NULL && ruling.fate == FATE_INTEGER) {
        TRY(lint_judge(arm, node, &(RuleSet){ .int8_activations = true }, l->arena, &other, err));
        if (other.fate != FATE_INTEGER) {
            ruling = other;
            ruling.reason = arena_printf(l->arena, "on Arm %.*s", STR_ARG(other.reason));
        }
    }
    bool layer = lint_is_layer(n->type);
    if (!layer && ruling.fate == FATE_FLOAT) return OK;
    if (!array_grow((void **)&l->items, &l->capacity, (size_t)l->count + 1, sizeof *l->items))
        return err_no_memory(err, "the list of layers");
    const Node *origin = graph_node(s->g, n->origin);
    LintItem *item = &l->items[l->count++];
    *item = (LintItem){ .graph = s->g, .node = n->origin, .name = node_label(s->g, origin), .type = origin->type, .layer = layer,
                        .ruling = ruling };
    count_item(l, item);
    return ruling.fate == FATE_FLOAT ? OK : lint_advise(l, s, node, l->count - 1, err);
}

static Status lint_graph(Lint *l, const Graph *g, int depth, Err *err);

static Status lint_subgraphs(Lint *l, const Node *n, int depth, Err *err)
{
    for (int a = 0; a < n->attr_count; a++) {
        if (n->attrs[a].graph != NULL) TRY(lint_graph(l, n->attrs[a].graph, depth + 1, err));
        for (int64_t i = 0; n->attrs[a].type == ATTR_GRAPHS && i < n->attrs[a].count; i++)
            TRY(lint_graph(l, n->attrs[a].graphs[i], depth + 1, err));
    }
    return OK;
}

static Status lint_graph(Lint *l, const Graph *g, int depth, Err *err)
{
    Status status = OK;
    Sim s = { 0 }, arm = { 0 };
    bool both = l->target == LINT_PORTABLE;
    if (depth > MAX_DEPTH) return err_set(err, ERR_DATA, "subgraphs nest deeper than %d", MAX_DEPTH);
    TRY_OUT(sim_init(&s, g, err));
    if (both) TRY_OUT(sim_init(&arm, g, err));
    if (l->target != LINT_GPU) lint_rewrite(&s, l->target != LINT_ARM_DOTPROD);
    if (both) lint_rewrite(&arm, false);
    if (s.failed || arm.failed) {
        status = err_no_memory(err, "a view of the graph");
        goto out;
    }
    int count = (int)g->order_count < s.node_count ? (int)g->order_count : s.node_count;
    for (int node = 1; node <= count; node++) {
        const SimNode *n = &s.nodes[node];
        if (n->origin == 0 || n->removed) continue;
        TRY_OUT(judge_node(l, &s, both ? &arm : NULL, node, err));
        TRY_OUT(lint_subgraphs(l, graph_node(g, n->origin), depth, err));
    }
out:
    sim_release(&s);
    sim_release(&arm);
    return status;
}

Status lint_model(const Model *m, const char *path, LintTarget target, Lint *out, Err *err)
{
    *out = (Lint){ .path = path, .target = target, .arena = arena_new() };
    Status status = out->arena != NULL ? lint_graph(out, m->graph, 0, err) : err_no_memory(err, "the list of layers");
    if (status != OK) lint_release(out);
    return status;
}

void lint_release(Lint *l)
{
    free(l->items);
    free(l->advice);
    arena_unref(l->arena);
    *l = (Lint){ 0 };
}
