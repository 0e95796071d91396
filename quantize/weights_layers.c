#include "quantize/weights_layers.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "quantize/form_dynamic.h"

#define MAX_STEPS 32 /* from a node back to the constant behind it */

/* ---- tables ---- */

/* Gathers of float constants with two dimensions or more: malloc'ed. */
static Status find_tables(const Graph *g, Layer **out, int *count, Err *err)
{
    Layer *list = alloc_array((size_t)g->order_count + 1, sizeof *list);
    if (list == NULL) return err_no_memory(err, "the tables");
    *count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        const Tensor *t = node_is(n, "Gather") ? node_constant(g, n, 0) : NULL;
        if (t == NULL || t->shape.rank < 2 || !dtype_is_float(t->type)) continue;
        list[(*count)++] = (Layer){ .node = id, .input = node_input(n, 1), .weight = n->inputs[0], .output = node_output(n, 0), .groups = 1,
                                    .name = node_label(g, n), .weight_name = graph_value(g, n->inputs[0])->name };
    }
    *out = list;
    return OK;
}

/* Words are looked up where the network's input says; positions and angles where it computes, and those want all their digits. */
static bool index_is_input(const Graph *g, ValueId v)
{
    static const char *const types[] = { "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Clip" };
    while (v != 0) {
        const Value *value = graph_value(g, v);
        if ((value->flags & VALUE_INPUT) != 0) return true;
        if (value->producer == 0) return false;
        const Node *n = graph_node(g, value->producer);
        bool same = false;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) same |= node_is(n, types[i]);
        if (!same) return false;
        v = node_input(n, 0);
    }
    return false;
}

/* By a rule that takes it in; a pattern of wildcards alone does not mean tables. */
static bool is_named(const PassContext *c, const Layer *l)
{
    bool named = false;
    for (int i = 0; i < c->rule_count; i++) {
        const char *match = c->rules[i].match;
        if (match[strspn(match, "*?")] != '\0' && layer_matches(l, match)) named = !c->rules[i].skip;
    }
    return named;
}

static const char *table_reason(const PassContext *c, const WeightLayer *layers, int count, const Layer *l)
{
    const QuantizeOptions *o = c->options;
    if (is_named(c, l) || o->tables == TABLES_YES) return NULL;
    if (o->tables == TABLES_NO) return "tables are left out (--tables=no)";
    if (index_is_input(c->graph, l->input)) return NULL;
    for (int i = 0; i < count; i++)
        if (layers[i].layer.weight == l->weight && layers[i].reason == NULL) return NULL;
    return "a table looked up where the network computes, not where its input says (--tables=yes quantizes it too)";
}

/* ---- what becomes of each ---- */

static const char *weight_reason(const Graph *g, const Layer *l)
{
    const Tensor *t = graph_value(g, l->weight)->tensor;
    int64_t bad;
    if (t->type != DT_FLOAT) return dtype_is_integer(t->type) ? "its weights are integers already" : "its weights are not float32";
    if (tensor_count(t) == 0) return "it has no weights";
    return tensor_has_nonfinite(t, &bad) ? "its weights hold NaN or infinity" : NULL;
}

static WeightSpec spec_of(const QuantizeOptions *o)
{
    bool dynamic = o->mode == MODE_DYNAMIC, weights = o->mode == MODE_WEIGHTS;
    WeightFormat format = dynamic ? WEIGHT_DYNAMIC : weights && o->format == FORMAT_NBITS ? WEIGHT_NBITS : WEIGHT_QDQ;
    int bits = !weights && o->reduce_range ? 7 : (int)o->bits;
    return (WeightSpec){ .format = format, .bits = bits, .symmetric = !weights || options_symmetric(o), .block = options_block(o) };
}

/* The nearest form that holds the layer: without blocks where it has none, as pairs of nodes where an operator does not take it. */
static void fit(const Graph *g, WeightLayer *l)
{
    const char *why = NULL;
    l->spec = spec_of(&l->options);
    if (l->table && l->spec.format == WEIGHT_DYNAMIC) l->spec.format = WEIGHT_QDQ;
    if (form_weight_fits(g, &l->form, &l->spec, &why)) return;
    l->note = why;
    l->spec.format = WEIGHT_QDQ;
    if (form_weight_fits(g, &l->form, &l->spec, &why)) return;
    l->spec.block = 0;
    if (!form_weight_fits(g, &l->form, &l->spec, &why)) l->reason = why;
}

void weight_layer_set_bits(const Graph *g, WeightLayer *l, int64_t bits)
{
    if (bits == l->options.bits) return;
    l->options.bits = bits;
    l->reason = l->note = NULL;
    fit(g, l);
}

static Status find_one(PassContext *c, const Layer *layer, WeightLayer *l, Err *err)
{
    const char *why = NULL;
    bool skip;
    *l = (WeightLayer){ .layer = *layer, .partner = -1 };
    TRY(pass_layer_options(c, layer, &l->options, &skip, err));
    l->reason = skip ? "a rule of the recipe says so" : weight_reason(c->graph, layer);
    if (l->reason == NULL && !options_op(&l->options, graph_node(c->graph, layer->node)->type))
        l->reason = "its op is not in the list of ops";
    if (l->reason != NULL) return OK;
    l->walks = layer_form(c->graph, layer, &l->form, &why);
    if (!l->walks && !form_of_recurrent(c->graph, layer, &l->form, &why)) l->reason = why;
    if (l->reason == NULL) fit(c->graph, l);
    return OK;
}

static Status find_table(PassContext *c, const WeightLayer *layers, int count, const Layer *layer, WeightLayer *l, Err *err)
{
    const char *why = NULL;
    bool skip;
    *l = (WeightLayer){ .layer = *layer, .partner = -1, .table = true };
    TRY(pass_layer_options(c, layer, &l->options, &skip, err));
    l->reason = skip ? "a rule of the recipe says so" : table_reason(c, layers, count, layer);
    if (l->reason == NULL) l->reason = weight_reason(c->graph, layer);
    if (l->reason != NULL) return OK;
    if (!form_of_table(c->graph, layer->node, &l->form, &why)) l->reason = why;
    if (l->reason == NULL) fit(c->graph, l);
    return OK;
}

static bool same_spec(const WeightSpec *a, const WeightSpec *b)
{
    return a->format == b->format && a->bits == b->bits && a->symmetric == b->symmetric && a->block == b->block;
}

/* The two weights of an LSTM become one operator. */
static void pair_lstm(const Graph *g, WeightLayer *all, int i)
{
    WeightLayer *w = &all[i], *r = &all[i + 1];
    const char *why;
    if (w->layer.node != r->layer.node || w->reason != NULL || r->reason != NULL) return;
    WeightSpec spec = spec_of(&w->options), other = spec_of(&r->options);
    if (!same_spec(&spec, &other)) return;
    if (!form_dynamic_lstm_fits(g, &w->form, &r->form, &spec, &why)) {
        w->note = r->note = why;
        return;
    }
    w->spec = r->spec = spec;
    w->note = r->note = NULL;
    w->partner = i + 1;
    r->partner = i;
}

/* ---- what rules may name besides ---- */

/* The constant of 8 bits or fewer that an input is made of: itself, or behind nodes whose other inputs are constants. 0: none. */
static ValueId integers_behind(const Graph *g, ValueId v)
{
    for (int step = 0; v != 0 && step < MAX_STEPS; step++) {
        const Value *value = graph_value(g, v);
        if (value->tensor != NULL)
            return value->tensor->shape.rank >= 2 && dtype_is_integer(value->tensor->type) && dtype_bits(value->tensor->type) <= 8 ? v : 0;
        if (value->producer == 0) return 0;
        const Node *n = graph_node(g, value->producer);
        for (int i = 1; i < n->input_count; i++)
            if (n->inputs[i] != 0 && graph_value(g, n->inputs[i])->tensor == NULL) return 0;
        v = node_input(n, 0);
    }
    return 0;
}

/* A layer that is in integers, or an operator of layers that has no weights of its own: both are listed, so a rule may name them. The
 * name of its weights is the one they had in float. */
static bool stands_by_name(const PassContext *c, NodeId id, Layer *out)
{
    const Graph *g = c->graph;
    static const char *const moves[] = { "DequantizeLinear", "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Cast" };
    const Node *n = graph_node(g, id);
    ValueId weight = 0;
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (node_is(n, moves[i])) return false;
    for (int i = 0; i < n->input_count && weight == 0; i++) weight = integers_behind(g, n->inputs[i]);
    if (weight == 0 && (n->op == NULL || n->op->weight_axis == NULL || n->op->weight_input < 0)) return false;
    *out = (Layer){ .node = id, .weight = weight, .output = node_output(n, 0), .name = node_label(g, n) };
    if (weight == 0) return true;
    static const char *const types[] = { "_int8", "_uint8", "_int4", "_uint4", "_8bit", "_4bit", "_2bit" };
    Str name = graph_value(g, weight)->name;
    out->weight_name = name;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ends(name, types[i])) out->weight_name = arena_str(c->scratch, (Str){ name.data, name.len - strlen(types[i]) });
    return true;
}

void weight_tables_report(const PassContext *c)
{
    const Graph *g = c->graph;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (node_is(n, "Gather") && integers_behind(g, node_input(n, 0)) != 0)
            record_add(c->record, RECORD_SKIPPED, node_label(g, n), "it is quantized already (a table)");
    }
}

/* ---- all ---- */

Status weight_rules_check(const PassContext *c, Err *err)
{
    const Graph *g = c->graph;
    Layer *layers = NULL, *tables = NULL, *all = NULL;
    int count = 0, more = 0;
    Status status = OK;
    if (c->rule_count == 0) return OK;
    TRY(layers_find(g, &layers, &count, err));
    TRY_OUT(find_tables(g, &tables, &more, err));
    all = alloc_array((size_t)count + (size_t)more + g->order_count + 1, sizeof *all);
    if (all == NULL) {
        status = err_no_memory(err, "the layers");
        goto out;
    }
    for (int i = 0; i < count + more; i++) all[i] = i < count ? layers[i] : tables[i - count];
    count += more;
    for (uint32_t i = 0; i < g->order_count; i++) count += stands_by_name(c, g->order[i], &all[count]);
    status = pass_check_rules(c, all, count, err);
out:
    free(layers);
    free(tables);
    free(all);
    return status;
}

Status weight_layers_find(PassContext *c, bool tables_only, WeightLayer **out, int *count, Err *err)
{
    const QuantizeOptions *o = c->options;
    Layer *layers = NULL, *tables = NULL;
    int products = 0, more = 0;
    Status status = OK;
    *out = NULL;
    *count = 0;
    TRY(layers_find(c->graph, &layers, &products, err));
    if (tables_only) products = 0;
    TRY_OUT(find_tables(c->graph, &tables, &more, err));
    *out = alloc_zeroed((size_t)products + (size_t)more + 1, sizeof **out);
    if (*out == NULL) {
        status = err_no_memory(err, "the layers");
        goto out;
    }
    *count = products + more;
    for (int i = 0; i < products; i++) TRY_OUT(find_one(c, &layers[i], &(*out)[i], err));
    for (int i = 0; i + 1 < products && o->mode == MODE_DYNAMIC; i++) pair_lstm(c->graph, *out, i);
    for (int i = 0; i < more; i++) TRY_OUT(find_table(c, *out, products, &tables[i], &(*out)[products + i], err));
out:
    free(layers);
    free(tables);
    return status;
}
