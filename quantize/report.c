#include "quantize/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/left_out.h"

void report_layers(const PassContext *c, const Plan *p, const WeightJobs *w)
{
    int quantized = 0;
    for (int i = 0; i < p->layer_count; i++) {
        const PlannedLayer *l = &p->layers[i];
        if (l->reason != NULL) {
            record_add(c->record, RECORD_SKIPPED, l->layer.name, "stays float: %s", l->reason);
            continue;
        }
        const Rounded *r = &w->jobs.items[w->of_layer[i]].rounded;
        Grid in = p->grids[p->root[l->layer.input]];
        const char *type = dtype_name(grid_type(in));
        double sqnr = weights_sqnr(p->g, &l->form, r);
        quantized++;
        record_add(c->record, RECORD_CHANGED, l->layer.name, "%s weights per %s%s, %s input in [%.4g, %.4g], %s output",
                   l->shifted ? "uint8" : "int8", options_block(&l->options) < 0 ? "tensor" : "channel",
                   r->kept_grid ? " on their old grid" : "", type, grid_low(in), grid_high(in),
                   p->nodes[l->layer.node].out_quantized ? type : "float");
        if (isfinite(sqnr)) record_number(c->record, "weight_sqnr_db", sqnr);
        record_number(c->record, "scale_enlarged", r->enlarged);
    }
    if (quantized == 0) record_add(c->record, RECORD_NOTE, STR("graph"), "no layer could be quantized: the network is as before");
}

static bool in_integers(Str type)
{
    static const char *const types[] = { "QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger",
                                         "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits", "GatherBlockQuantized" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_is(type, types[i])) return true;
    return false;
}

/* A layer's op with two activations: attention's products, weights that the network computes. */
static void report_products(const PassContext *c, const LeftOut *left, int count)
{
    const Graph *g = c->graph;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->op == NULL || n->op->weight_axis == NULL || n->op->weight_input < 0 || in_integers(n->type)) continue;
        ValueId weight = node_input(n, n->op->weight_input), other = node_input(n, 0);
        bool listed = weight == 0 || graph_value(g, weight)->tensor != NULL || other == 0 || graph_value(g, other)->tensor != NULL;
        for (int k = 0; k < count && !listed; k++) listed = left[k].layer.node == g->order[i];
        if (!listed)
            record_add(c->record, RECORD_SKIPPED, node_label(g, n), "stays float: %s", str_is(n->type, "MatMul") || str_is(n->type, "Gemm")
                       ? "both of its operands are activations" : "its weights are computed, not a constant");
    }
}

/* Layers whose weights are no constants of their own: quantized already, behind other nodes, inside subgraphs; and float ops between. */
Status report_left_out(const PassContext *c, Err *err)
{
    LeftOut *list = NULL;
    int count = 0;
    TRY(layers_left_out(c->graph, &list, &count, err));
    for (int i = 0; i < count; i++)
        record_add(c->record, RECORD_SKIPPED, list[i].layer.name, "%s", list[i].quantized ? "it is quantized already" : list[i].reason);
    report_products(c, list, count);
    free(list);
    for (uint32_t i = 0; i < c->graph->order_count; i++) {
        const Node *n = graph_node(c->graph, c->graph->order[i]);
        if (in_integers(n->type))
            record_add(c->record, RECORD_SKIPPED, node_label(c->graph, n), "it is quantized already (%.*s)", STR_ARG(n->type));
    }
    int nested = layers_nested(c->graph);
    if (nested > 0)
        record_add(c->record, RECORD_SKIPPED, STR("subgraphs"), "%d layer%s inside If, Loop or Scan", nested, nested == 1 ? "" : "s");
    return OK;
}

Status report_float_ops(const PassContext *c, const Plan *p, Err *err)
{
    const Graph *g = c->graph;
    bool *made = alloc_zeroed((size_t)p->value_count + 1, sizeof *made); /* [value]: by an integer layer or what follows one */
    if (made == NULL) return err_no_memory(err, "the report");
    for (uint32_t i = 0; i < g->order_count; i++) {
        const NodePlan *np = &p->nodes[g->order[i]];
        if (np->out_quantized) made[np->out] = true;
    }
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        bool reads = false;
        if (p->nodes[id].role != ROLE_FLOAT || str_is(n->type, "QuantizeLinear") || (n->op != NULL && n->op->weight_axis != NULL)) continue;
        for (int k = 0; k < n->input_count; k++) {
            reads |= made[n->inputs[k]];
        }
        if (!reads) continue;
        record_add(c->record, RECORD_NOTE, node_label(g, n), "%.*s reads what integer layers made and stays float", STR_ARG(n->type));
    }
    free(made);
    return OK;
}

void report_methods(PassRecord *record, const Static *s)
{
    int counts[CALIBRATE_METHODS] = { 0 }, given = 0, old = 0;
    for (int i = 0; i < s->root_count; i++) {
        bool by_table = calibration_table_find(&s->table, s->roots[i]).state == TABLE_ENDS;
        bool before = s->plan.given[s->roots[i]];
        given += by_table;
        old += before;
        if (!by_table && !before) counts[s->methods[i]]++;
    }
    for (int m = 0; m < CALIBRATE_METHODS; m++)
        if (counts[m] > 0)
            record_add(record, RECORD_NOTE, STR("calibration"), "%d activation%s by %s", counts[m], counts[m] == 1 ? "" : "s",
                       calibration_names[m]);
    if (given > 0) record_add(record, RECORD_NOTE, STR("calibration"), "%d activation%s by the table", given, given == 1 ? "" : "s");
    if (old > 0)
        record_add(record, RECORD_NOTE, STR("calibration"), "%d activation%s on the grid the network had", old, old == 1 ? "" : "s");
}

bool report_repair(PassRecord *record, const char *name, double before, double after, double worth)
{
    Str object = { name, strlen(name) };
    bool kept = after < worth * before;
    char why[64] = "";
    if (!kept && after < before) snprintf(why, sizeof why, ", it takes away less than %.0f %% of the error", 100.0 * (1.0 - worth));
    record_add(record, RECORD_NOTE, object, "output SQNR %.2f dB, was %.2f dB: %s%s", trial_db(after), trial_db(before),
               kept ? "kept" : "not kept", why);
    record_number(record, "gain_db", trial_db(after) - trial_db(before));
    return kept;
}

bool report_biases(PassRecord *record, double without, double with, bool kept)
{
    kept = kept && with < without;
    if (with == without) {
        record_add(record, RECORD_NOTE, STR("bias"), "not tried: no layer that was rounded takes a bias");
        return false;
    }
    record_add(record, RECORD_NOTE, STR("bias"), "output SQNR %.2f dB, without the corrected biases %.2f dB: %s", trial_db(with),
               trial_db(without), kept ? "kept" : "not kept");
    record_number(record, "gain_db", trial_db(with) - trial_db(without));
    return kept;
}

void report_warning(const PassContext *c, Str object, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_warn(c->log, "%.*s: %s", STR_ARG(object), text);
    record_add(c->record, RECORD_NOTE, object, "%s", text);
}

void report_not_tried(const PassContext *c, Repair repair, const char *why)
{
    Str object = { repair_names[repair], strlen(repair_names[repair]) };
    if (options_repair(c->options, repair)) record_add(c->record, RECORD_NOTE, object, "not tried: %s", why);
}
