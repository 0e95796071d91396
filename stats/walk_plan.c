#include "stats/walk_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/edit.h"

static int reads(const Node *n)
{
    return n->input_count + n->capture_count;
}

static ValueId read_at(const Node *n, int i)
{
    return i < n->input_count ? n->inputs[i] : n->captures[i - n->input_count];
}

static void mark_fixed(const Graph *g, WalkPlan *p)
{
    for (ValueId v = 1; v <= p->value_count; v++) p->constant[v] = graph_value(g, v)->tensor != NULL;
    for (int i = 0; i < p->order_count; i++) {
        const Node *n = graph_node(g, p->order[i]);
        bool fixed = n->op == NULL || (n->op->flags & OP_RANDOM) == 0;
        for (int k = 0; fixed && k < reads(n); k++) fixed = read_at(n, k) == 0 || p->constant[read_at(n, k)];
        p->fixed[p->order[i]] = fixed;
        for (int k = 0; fixed && k < n->output_count; k++) p->constant[n->outputs[k]] = true;
    }
}

/* The other operand where the layer's output, after adding constants, goes into an Add and nowhere else. */
static ValueId find_shortcut(const Graph *g, const WalkPlan *p, const Layer *l)
{
    ValueId v = l->output;
    for (int steps = 0; steps < 4; steps++) {
        NodeId reader = graph_sole_reader(g, v);
        const Node *n = reader != 0 ? graph_node(g, reader) : NULL;
        if (n == NULL || !str_is(n->type, "Add") || n->domain.len != 0 || n->input_count != 2) return 0;
        ValueId other = n->inputs[0] == v ? n->inputs[1] : n->inputs[0];
        if (other == v) return 0;
        if (!p->constant[other]) return other;
        v = node_output(n, 0);
    }
    return 0;
}

static Status find_stops(const Graph *g, WalkPlan *p, const WalkOptions *options, void *user, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    TRY(layers_find(g, &layers, &count, err));
    p->stops = alloc_zeroed((size_t)count + 1, sizeof *p->stops);
    if (p->stops == NULL) {
        free(layers);
        return err_no_memory(err, "the walk");
    }
    for (int i = 0; i < count; i++) {
        LayerForm form;
        if (p->fixed[layers[i].node] || !layer_form(g, &layers[i], &form, NULL)) continue;
        if (options->take != NULL && !options->take(user, &layers[i])) continue;
        p->stops[p->stop_count++].form = form;
    }
    free(layers);
    return OK;
}

static Status make_cuts(const Graph *g, WalkPlan *p, Err *err)
{
    p->parts = p->stop_count + 1;
    p->cut = alloc_zeroed((size_t)p->parts + 1, sizeof *p->cut);
    if (p->cut == NULL) return err_no_memory(err, "the walk");
    int part = 0;
    for (int i = 0; i < p->order_count; i++) {
        if (part < p->stop_count && p->stops[part].form.layer.node == p->order[i]) p->cut[++part] = i;
        const Node *n = graph_node(g, p->order[i]);
        for (int k = 0; k < n->output_count; k++) p->born[n->outputs[k]] = part;
        for (int k = 0; k < reads(n); k++) p->last[read_at(n, k)] = part;
    }
    p->cut[p->parts] = p->order_count;
    return OK;
}

static Status allocate(const Graph *g, WalkPlan *p, Err *err)
{
    *p = (WalkPlan){ .order_count = (int)g->order_count, .node_count = g->node_count, .value_count = g->value_count,
                     .feed_count = graph_feeds(g, NULL, 0) };
    size_t values = (size_t)g->value_count + 1;
    p->order = alloc_array((size_t)g->order_count + 1, sizeof *p->order);
    p->fixed = alloc_zeroed((size_t)g->node_count + 1, 1);
    p->constant = alloc_zeroed(values, 1);
    p->born = alloc_zeroed(values, sizeof *p->born);
    p->last = alloc_zeroed(values, sizeof *p->last);
    p->feeds = alloc_zeroed((size_t)p->feed_count + 1, sizeof *p->feeds);
    bool fine = p->order != NULL && p->fixed != NULL && p->constant != NULL && p->born != NULL && p->last != NULL && p->feeds != NULL;
    return fine ? OK : err_no_memory(err, "the walk");
}

Status walk_plan_make(const Graph *g, const WalkOptions *options, void *user, WalkPlan *p, Err *err)
{
    Status status;
    TRY_OUT(allocate(g, p, err));
    memcpy(p->order, g->order, g->order_count * sizeof *p->order);
    graph_feeds(g, p->feeds, p->feed_count);
    for (ValueId v = 0; v <= p->value_count; v++) p->born[v] = p->last[v] = -1;
    mark_fixed(g, p);
    TRY_OUT(find_stops(g, p, options, user, err));
    TRY_OUT(make_cuts(g, p, err));
    for (int i = 0; i < p->stop_count; i++) {
        ValueId v = find_shortcut(g, p, &p->stops[i].form.layer);
        if (v == 0 || p->born[v] > i) continue; /* stop i begins part i + 1 */
        p->stops[i].shortcut = v;
        if (p->last[v] < i + 1) p->last[v] = i + 1;
    }
    for (int i = 0; options->output != NULL && i < g->output_count; i++) p->last[g->outputs[i]] = p->parts;
out:
    if (status != OK) walk_plan_release(p);
    return status;
}

void walk_plan_release(WalkPlan *p)
{
    free(p->order);
    free(p->cut);
    free(p->stops);
    free(p->fixed);
    free(p->constant);
    free(p->born);
    free(p->last);
    free(p->feeds);
    *p = (WalkPlan){ 0 };
}

Status walk_plan_part(const Graph *g, const WalkPlan *p, int part, Segment *out, Err *err)
{
    int first = p->cut[part], end = p->cut[part + 1];
    NodeId *nodes = alloc_array((size_t)(end - first) + 1, sizeof *nodes);
    ValueId *inputs = alloc_array((size_t)p->value_count + 1, sizeof *inputs), *outputs = alloc_array((size_t)p->value_count + 1,
                                                                                                    sizeof *outputs);
    bool *seen = alloc_zeroed((size_t)p->value_count + 1, 1);
    *out = (Segment){ .nodes = nodes, .inputs = inputs, .outputs = outputs };
    if (nodes == NULL || inputs == NULL || outputs == NULL || seen == NULL) {
        free(seen);
        walk_part_release(out);
        return err_no_memory(err, "a part of the network");
    }
    for (int i = first; i < end; i++) {
        const Node *n = graph_node(g, p->order[i]);
        if (p->fixed[p->order[i]]) continue;
        nodes[out->node_count++] = p->order[i];
        for (int k = 0; k < reads(n); k++) {
            ValueId v = read_at(n, k);
            if (v == 0 || v > p->value_count || seen[v] || p->constant[v] || p->born[v] == part) continue;
            seen[v] = true;
            inputs[out->input_count++] = v;
        }
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != 0 && p->last[n->outputs[k]] > part) outputs[out->output_count++] = n->outputs[k];
    }
    free(seen);
    return OK;
}

void walk_part_release(Segment *s)
{
    free((void *)(uintptr_t)s->nodes);
    free((void *)(uintptr_t)s->inputs);
    free((void *)(uintptr_t)s->outputs);
    *s = (Segment){ 0 };
}
