#include "pipeline/lint_group.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "pipeline/lint_rewrite.h"
#include "pipeline/text.h"

bool group_fail(Group *g, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (g->why.len == 0) text_safe(str_of(text), &g->why);
    return false;
}

const char *group_describe(const Sim *s, int node, char text[256])
{
    Str label = sim_label(s, node);
    snprintf(text, 256, "%.*s '%.*s'", STR_ARG(s->nodes[node].type), (int)(label.len > 120 ? 120 : label.len), label.data);
    return text;
}

DType group_dq_type(const Group *g, int i)
{
    return sim_grid(g->s, g->dqs[i]).type;
}

DType group_q_type(const Group *g, int i)
{
    return sim_grid(g->s, g->qs[i]).type;
}

bool group_width_runs(Group *g, DType t, bool wide)
{
    if (dtype_is_byte(t) || (wide && (t == DT_INT16 || t == DT_UINT16))) return true;
    return group_fail(g, "it is quantized to %s, and the kernel is for 8 bits; use uint8 or int8", dtype_name(t));
}

static bool no_quantize_behind(Group *g)
{
    char text[256];
    if (g->output)
        return group_fail(g, "its output is an output of the network in float; put QuantizeLinear and DequantizeLinear behind it");
    const SimNode *n = &g->s->nodes[g->node];
    for (int o = 0; o < n->output_count; o++) {
        const SimValue *v = &g->s->values[n->outputs[o]];
        if (n->outputs[o] != 0 && v->reader_count > 0)
            return group_fail(g, "its output goes to %s in float; put QuantizeLinear and DequantizeLinear between them",
                        group_describe(g->s, v->readers[0].node, text));
    }
    return group_fail(g, "nothing reads its output");
}

bool group_inputs_fit(Group *g, int wanted)
{
    char text[256];
    const SimNode *n = &g->s->nodes[g->node];
    int present = 0;
    for (int i = 0; i < n->input_count; i++) present += n->inputs[i] != 0;
    if (g->dq_count == (wanted < 0 ? present : wanted)) return true;
    for (int i = 0; i < n->input_count && (wanted < 0 || g->dq_count < wanted); i++) {
        int v = n->inputs[i];
        if (v == 0 || sim_producer(g->s, v, "DequantizeLinear") != 0) continue;
        const char *what = i == 0 ? "input" : i == 1 ? "second input" : i == 2 ? "third input" : "input";
        bool bias = i == 2 && (str_is(n->type, "Conv") || str_is(n->type, "Gemm"));
        if (bias) return group_fail(g, "its bias is float; quantize it to int32 with scale input times weight and zero point 0");
        if (g->s->values[v].constant)
            return group_fail(g, "its %s is a float constant; quantize it and put DequantizeLinear behind it", what);
        if (g->s->values[v].producer == 0) return group_fail(g, "its %s is an input of the network in float; quantize it", what);
        return group_fail(g, "its %s comes from %s in float; quantize that output", what,
                          group_describe(g->s, g->s->values[v].producer, text));
    }
    return group_fail(g, "%d of its inputs are quantized where the rule for %.*s knows %d", g->dq_count, STR_ARG(n->type),
                wanted < 0 ? present : wanted);
}

bool group_fits(Group *g, int wanted, bool needs_q)
{
    if (!group_inputs_fit(g, wanted)) return false;
    if (g->q_count == 0) return !needs_q || no_quantize_behind(g);
    const SimNode *n = &g->s->nodes[g->node];
    int outputs = 0;
    for (int i = 0; i < n->output_count; i++) outputs += n->outputs[i] != 0;
    if (g->output) return group_fail(g, "its float output is also an output of the network; give the dequantized one out instead");
    if (g->q_count != outputs)
        return g->q_count > outputs ? group_fail(g, "%d QuantizeLinear read its output; let one do it for all readers", g->q_count)
                                    : group_fail(g, "only %d of its %d outputs are quantized; quantize all of them", g->q_count, outputs);
    if (g->clamp == 0 && g->edges != g->q_count)
        return group_fail(g, "its output is also read in float; let every reader read the dequantized one");
    return true;
}

bool group_same_types(Group *g, bool wide)
{
    DType t = group_dq_type(g, 0);
    for (int i = 1; i < g->dq_count; i++)
        if (group_dq_type(g, i) != t)
            return group_fail(g, "its inputs are %s and %s; quantize both to one type", dtype_name(t), dtype_name(group_dq_type(g, i)));
    for (int i = 0; i < g->q_count; i++)
        if (group_q_type(g, i) != t)
            return group_fail(g, "its input is %s and its output %s; quantize both to one type", dtype_name(t),
                              dtype_name(group_q_type(g, i)));
    return group_width_runs(g, t, wide);
}

bool group_same_grids(Group *g)
{
    SimGrid in = sim_grid(g->s, g->dqs[0]);
    for (int i = 0; i < g->q_count; i++) {
        SimGrid out = sim_grid(g->s, g->qs[i]);
        if (sim_same_grid(&in, &out)) continue;
        if (!in.has_zero || !out.has_zero) return group_fail(g, "a zero point is left out around it; write it, 0 as well");
        if (!in.constant || !out.constant) return group_fail(g, "a scale or zero point around it is not constant");
        if (!in.scalar || !out.scalar) return group_fail(g, "the grids around it are not per tensor");
        return group_fail(g, "scale and zero point differ before and behind it (%g, %lld and %g, %lld); give both the same",
                    (double)in.scale, (long long)in.zero, (double)out.scale, (long long)out.zero);
    }
    return true;
}

bool group_find(Group *g)
{
    const Sim *s = g->s;
    const SimNode *n = &s->nodes[g->node];
    g->dqs = alloc_array((size_t)n->input_count + 1, sizeof *g->dqs);
    if (g->dqs == NULL) return false;
    for (int i = 0; i < n->input_count; i++) {
        int dq = sim_producer(s, n->inputs[i], "DequantizeLinear");
        if (dq != 0) g->dqs[g->dq_count++] = dq;
    }
    for (int o = 0; o < n->output_count; o++) {
        if (n->outputs[o] == 0) continue;
        g->edges += s->values[n->outputs[o]].reader_count;
        g->output |= s->values[n->outputs[o]].output;
    }
    int tail = g->node, next = g->edges == 1 && n->output_count > 0 ? sim_only_reader(s, g->node) : 0;
    bool clamp = sim_is(s, next, "Relu") || sim_is(s, next, "Clip");
    if (clamp && s->values[s->nodes[next].outputs[0]].reader_count == 1 && !s->values[s->nodes[next].outputs[0]].output)
        tail = g->clamp = next;
    size_t most = 1;
    for (int o = 0; o < s->nodes[tail].output_count; o++) most += (size_t)s->values[s->nodes[tail].outputs[o]].reader_count;
    g->qs = alloc_array(most, sizeof *g->qs);
    if (g->qs == NULL) return false;
    for (int o = 0; o < s->nodes[tail].output_count; o++) {
        const SimValue *v = &s->values[s->nodes[tail].outputs[o]];
        for (int i = 0; i < v->reader_count; i++)
            if (v->readers[i].slot == 0 && sim_is(s, v->readers[i].node, "QuantizeLinear")) g->qs[g->q_count++] = v->readers[i].node;
    }
    return true;
}

bool group_clamp_fits(Group *g)
{
    char text[256];
    if (g->clamp == 0) return true;
    group_describe(g->s, g->clamp, text);
    if (g->q_count != 1) return group_fail(g, "%s behind it runs in float; put QuantizeLinear and DequantizeLinear behind that", text);
    SimGrid grid = sim_grid(g->s, g->qs[0]);
    if (lint_clamp_is_redundant(g->s, g->clamp, &grid)) return true;
    return group_fail(g, "%s behind it cuts what the grid can hold (zero point %lld of %s); give the grid the range of its output, "
                   "lowest number at the lowest value", text, (long long)grid.zero, dtype_name(grid.type));
}

void group_release(Group *g)
{
    free(g->dqs);
    free(g->qs);
    strbuf_release(&g->why);
}
