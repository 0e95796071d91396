#include "pipeline/lint_sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void add_reader(Sim *s, int value, int node, int slot)
{
    SimValue *v = &s->values[value];
    if (value == 0 || v->constant) return;
    if (!array_grow((void **)&v->readers, &v->capacity, (size_t)v->reader_count + 1, sizeof *v->readers)) {
        s->failed = true;
        return;
    }
    v->readers[v->reader_count++] = (SimEdge){ node, slot };
}

static void drop_reader(Sim *s, int value, int node, int slot)
{
    SimValue *v = &s->values[value];
    for (int i = 0; i < v->reader_count; i++) {
        if (v->readers[i].node != node || v->readers[i].slot != slot) continue;
        memmove(&v->readers[i], &v->readers[i + 1], sizeof *v->readers * (size_t)(v->reader_count - i - 1));
        v->reader_count--;
        return;
    }
}

int sim_add_value(Sim *s, DType type)
{
    if (!array_grow((void **)&s->values, &s->value_capacity, (size_t)s->value_count + 2, sizeof *s->values)) {
        s->failed = true;
        return 0;
    }
    s->values[++s->value_count] = (SimValue){ .type = type };
    return s->value_count;
}

static int new_node(Sim *s, SimNode n)
{
    if (!array_grow((void **)&s->nodes, &s->node_capacity, (size_t)s->node_count + 2, sizeof *s->nodes)) {
        s->failed = true;
        return 0;
    }
    s->nodes[++s->node_count] = n;
    return s->node_count;
}

int sim_add_node(Sim *s, const char *type, const int *inputs, int input_count, int output)
{
    SimNode n = { .type = str_of(type), .inputs = arena_copy(s->arena, inputs, sizeof *inputs * (size_t)input_count),
                  .outputs = arena_copy(s->arena, &output, sizeof output), .input_count = input_count, .output_count = 1 };
    int id = n.inputs != NULL && n.outputs != NULL ? new_node(s, n) : 0;
    if (id == 0) {
        s->failed = true;
        return 0;
    }
    for (int i = 0; i < input_count; i++) add_reader(s, inputs[i], id, i);
    s->values[output].producer = id;
    return id;
}

void sim_set_input(Sim *s, int node, int slot, int value)
{
    SimNode *n = &s->nodes[node];
    if (slot == n->input_count) {
        int *inputs = arena_array(s->arena, (size_t)slot + 1, sizeof *inputs);
        if (inputs == NULL) {
            s->failed = true;
            return;
        }
        if (slot > 0) memcpy(inputs, n->inputs, sizeof *inputs * (size_t)slot);
        n->inputs = inputs;
        n->input_count++;
    } else {
        drop_reader(s, n->inputs[slot], node, slot);
    }
    n->inputs[slot] = value;
    add_reader(s, value, node, slot);
}

void sim_set_output(Sim *s, int node, int value)
{
    SimNode *n = &s->nodes[node];
    if (s->values[n->outputs[0]].producer == node) s->values[n->outputs[0]].producer = 0;
    n->outputs[0] = value;
    s->values[value].producer = node;
}

void sim_remove_node(Sim *s, int node)
{
    SimNode *n = &s->nodes[node];
    for (int i = 0; i < n->input_count; i++) drop_reader(s, n->inputs[i], node, i);
    for (int i = 0; i < n->output_count; i++)
        if (s->values[n->outputs[i]].producer == node) s->values[n->outputs[i]].producer = 0;
    n->removed = true;
}

void sim_replace(Sim *s, int from, int to)
{
    while (s->values[from].reader_count > 0) {
        SimEdge e = s->values[from].readers[0];
        if (e.slot >= 0) {
            sim_set_input(s, e.node, e.slot, to);
        } else {
            drop_reader(s, from, e.node, e.slot);
            add_reader(s, to, e.node, e.slot);
        }
        if (s->failed) return;
    }
    s->values[to].output |= s->values[from].output;
}

/* ---- reading ---- */

static bool is_q(const SimNode *n)
{
    return str_is(n->type, "QuantizeLinear") || str_is(n->type, "DequantizeLinear");
}

bool sim_is(const Sim *s, int node, const char *type)
{
    const SimNode *n = &s->nodes[node];
    return node != 0 && str_is(n->type, type) && (n->domain.len == 0 || (is_q(n) && str_is(n->domain, "com.microsoft")));
}

int sim_producer(const Sim *s, int value, const char *type)
{
    int node = value != 0 ? s->values[value].producer : 0;
    return sim_is(s, node, type) ? node : 0;
}

int sim_only_reader(const Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    if (node == 0 || n->output_count == 0) return 0;
    const SimValue *v = &s->values[n->outputs[0]];
    return v->reader_count == 1 && !v->output && v->readers[0].slot >= 0 ? v->readers[0].node : 0;
}

const Value *sim_value(const Sim *s, int value)
{
    ValueId origin = value != 0 ? s->values[value].origin : 0;
    return origin != 0 ? graph_value(s->g, origin) : NULL;
}

const Tensor *sim_tensor(const Sim *s, int value)
{
    const Value *v = sim_value(s, value);
    return v != NULL ? v->tensor : NULL;
}

Str sim_label(const Sim *s, int node)
{
    for (int depth = 0; node != 0 && depth < 8; depth++) {
        const SimNode *n = &s->nodes[node];
        if (n->origin != 0) return node_label(s->g, graph_node(s->g, n->origin));
        node = n->input_count > 0 && n->inputs[0] != 0 ? s->values[n->inputs[0]].producer : 0;
    }
    return STR("");
}

static bool one_element(const Tensor *t)
{
    return t->shape.rank == 0 || (t->shape.rank == 1 && t->shape.dims[0] == 1);
}

SimGrid sim_grid(const Sim *s, int node)
{
    const SimNode *n = &s->nodes[node];
    int scale = n->input_count > 1 ? n->inputs[1] : 0, zero = n->input_count > 2 ? n->inputs[2] : 0;
    SimGrid grid = { .scales = sim_tensor(s, scale), .zeros = sim_tensor(s, zero), .has_zero = zero != 0 };
    const Node *origin = n->origin != 0 ? graph_node(s->g, n->origin) : NULL;
    bool scale_known = grid.scales != NULL && tensor_count(grid.scales) > 0;
    bool zero_known = grid.zeros != NULL && tensor_count(grid.zeros) > 0;
    grid.constant = s->values[scale].constant && (zero == 0 || s->values[zero].constant);
    grid.scalar = scale_known && one_element(grid.scales) && (zero == 0 || (zero_known && one_element(grid.zeros)));
    grid.rank0 = grid.scalar && grid.scales->shape.rank == 0 && (zero == 0 || grid.zeros->shape.rank == 0);
    grid.blocked = origin != NULL && node_int(origin, "block_size", 0) > 0;
    grid.scale = scale_known ? (float)tensor_get(grid.scales, 0) : 0.0f;
    grid.zero = zero_known ? tensor_get_int(grid.zeros, 0) : 0;
    if (str_is(n->type, "DequantizeLinear")) grid.type = s->values[n->inputs[0]].type;
    else if (zero == 0) grid.type = (DType)(origin != NULL ? node_int(origin, "output_dtype", DT_UINT8) : DT_UINT8);
    if (grid.type == DT_NONE && zero != 0) grid.type = s->values[zero].type;
    if (n->shifted) {
        grid.type = DT_UINT8;
        grid.zero += 128;
    }
    return grid;
}

bool sim_same_grid(const SimGrid *a, const SimGrid *b)
{
    return a->constant && b->constant && a->scalar && b->scalar && a->has_zero && b->has_zero && a->type == b->type &&
           a->zero == b->zero && a->scale == b->scale;
}

/* ---- made from a graph ---- */

static bool folds(const Sim *s, const Node *n)
{
    static const char *const never[] = { "DequantizeLinear", "RandomNormal", "RandomUniform", "If", "Loop", "Scan", NULL };
    for (int i = 0; never[i] != NULL; i++)
        if (str_is(n->type, never[i])) return false;
    if (n->capture_count > 0 || n->domain.len > 0) return false;
    if (str_is(n->type, "Shape") && n->input_count > 0 && n->inputs[0] != 0 &&
        shape_known(&graph_value(s->g, n->inputs[0])->shape))
        return true;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != 0 && !s->values[n->inputs[i]].constant) return false;
    return true;
}

static void load_node(Sim *s, NodeId id)
{
    const Graph *g = s->g;
    const Node *n = graph_node(g, id);
    bool passes = n->domain.len == 0 && (str_is(n->type, "Identity") || str_is(n->type, "Dropout")) && n->input_count > 0 &&
                  n->inputs[0] != 0 && n->output_count > 0 && n->outputs[0] != 0;
    bool folded = folds(s, n);
    SimNode node = { .origin = id, .type = n->type, .domain = n->domain, .input_count = n->input_count, .output_count = n->output_count,
                     .inputs = arena_array(s->arena, (size_t)n->input_count + 1, sizeof(int)),
                     .outputs = arena_array(s->arena, (size_t)n->output_count + 1, sizeof(int)) };
    int at = node.inputs != NULL && node.outputs != NULL ? new_node(s, node) : 0;
    if (at == 0) {
        s->failed = true;
        return;
    }
    SimNode *made = &s->nodes[at];
    for (int i = 0; i < n->output_count; i++) {
        made->outputs[i] = (int)n->outputs[i];
        s->values[n->outputs[i]].producer = n->outputs[i] != 0 ? at : 0;
        s->values[n->outputs[i]].constant |= folded && n->outputs[i] != 0;
    }
    for (int i = 0; i < n->input_count; i++) {
        made->inputs[i] = (int)n->inputs[i];
        add_reader(s, made->inputs[i], at, i);
    }
    for (int i = 0; i < n->capture_count; i++) add_reader(s, (int)n->captures[i], at, -1);
    if (folded) sim_remove_node(s, at);
    else if (passes && !s->values[n->outputs[0]].output) made->removed = true;
}

/* Identity and Dropout that load_node marked: their readers read what they read. */
static void bypass_marked(Sim *s)
{
    for (int at = 1; at <= s->node_count; at++) {
        SimNode *n = &s->nodes[at];
        if (!n->removed || n->output_count == 0 || s->values[n->outputs[0]].constant) continue;
        int from = n->outputs[0], to = n->inputs[0];
        sim_remove_node(s, at);
        sim_replace(s, from, to);
    }
}

Status sim_init(Sim *s, const Graph *g, Err *err)
{
    *s = (Sim){ .g = g, .arena = arena_new(), .value_count = (int)g->value_count };
    s->values = alloc_zeroed((size_t)g->value_count + 1, sizeof *s->values);
    s->nodes = alloc_zeroed((size_t)g->order_count + 1, sizeof *s->nodes);
    if (s->arena == NULL || s->values == NULL || s->nodes == NULL) {
        sim_release(s);
        return err_no_memory(err, "a view of the graph");
    }
    s->value_capacity = (size_t)g->value_count + 1;
    s->node_capacity = (size_t)g->order_count + 1;
    for (uint32_t v = 1; v <= g->value_count; v++) {
        const Value *from = graph_value(g, v);
        bool replaceable = (from->flags & VALUE_INPUT) != 0 && g->ir_version >= 4; /* a default that the caller may feed */
        s->values[v] = (SimValue){ .origin = v, .type = from->type, .constant = from->tensor != NULL && !replaceable };
    }
    for (int i = 0; i < g->output_count; i++) s->values[g->outputs[i]].output = true;
    for (uint32_t i = 0; i < g->order_count && !s->failed; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (!n->removed && !str_is(n->type, "Constant")) load_node(s, g->order[i]);
    }
    if (!s->failed) bypass_marked(s);
    if (!s->failed) return OK;
    sim_release(s);
    return err_no_memory(err, "a view of the graph");
}

void sim_release(Sim *s)
{
    for (int v = 0; s->values != NULL && v <= s->value_count; v++) free(s->values[v].readers);
    free(s->values);
    free(s->nodes);
    arena_unref(s->arena);
    *s = (Sim){ 0 };
}
