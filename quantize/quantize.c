/* Quantize: static 8-bit integers, written as QuantizeLinear / DequantizeLinear pairs that runtimes turn into integer kernels.
 *
 *   x -> Conv(W, b) -> Relu -> y      =>     x -> Q -> DQ -> Conv(DQ(W int8), DQ(b int32)) -> Q -> DQ -> y
 *
 *   activation  uint8, per tensor:   s = (max(hi, 0) - min(lo, 0)) / 255,  z = round(-lo / s),  lo and hi from the calibration data
 *   weight      int8, per channel:   s_k = max_i |w_ki| / 127, enlarged until the pairs are safe;  q = round(w / s_k) in [-127, 127]
 *   bias        int32:               q = round(b / (s_x s_k)); s_k is raised where that would leave int32
 *
 * A Relu or Clip behind an integer node is what the ends of its output grid do: it goes. Reshape, Transpose, Slice and Pad move the
 * integers themselves. Needs: float32 layers with constant weights, calibration data like that met in use. Softmax, Sigmoid and the
 * network's outputs stay float. Safe pairs: x86 without VNNI adds two products u8 x s8 in 16 bits, saturating (VPMADDUBSW); with
 * |q0| + |q1| <= 128 where the signs agree the sum is exact on every processor.
 * Jacob et al., CVPR 2018; Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018 (per channel). */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "data/dataset.h"
#include "engine/fold.h"
#include "graph/opset.h"
#include "quantize/apply.h"
#include "stats/left_out.h"
#include "stats/sweep.h"

#define MIN_OPSET 13 /* QuantizeLinear with an axis */
#define MIN_IR 7     /* the IR of opset 13 */

static const Opt quantize_table[] = {
    { .name = "mode", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, mode), .fallback = "static", .choices = "static",
      .help = "activation grids are fixed from calibration data" },
    { .name = "calibration", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, calibration), .fallback = "minmax", .choices = "minmax",
      .help = "how a range becomes a grid: minmax takes all of it" },
    { .name = "target", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, target), .fallback = "portable",
      .choices = "portable|x86-vnni",
      .help = "portable keeps weight pairs exact on x86 without VNNI; x86-vnni gives the full 8 bits where that does not matter" },
    { .name = "per-channel", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, per_channel), .fallback = "true", .per_layer = true,
      .help = "one weight scale per output channel instead of one per tensor" },
    { .name = "fold", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, fold), .fallback = "true",
      .help = "fold first (BatchNorm, constants, identities), so that layers become one integer group" },
    { .name = "outputs", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, outputs), .fallback = "false", .per_layer = true,
      .help = "also quantize a Conv whose result is an output of the network" },
    { .name = "samples", .type = OPT_INT, .field = offsetof(QuantizeOptions, samples), .fallback = "512", .min = 0, .max = 1e12,
      .help = "calibration samples used, from the first; 0 takes all", .unit = "samples" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(QuantizeOptions, batch), .fallback = "0", .min = 0, .max = 65536,
      .help = "samples per calibration step; 0 chooses", .unit = "samples" },
    { .name = "ops", .type = OPT_LIST, .field = offsetof(QuantizeOptions, ops), .fallback = NULL,
      .help = "ops to quantize (default Conv, Gemm, MatMul, Add, Concat and the pools)" },
    OPT_END,
};

static const char *const known_ops[] = { "Conv", "Gemm", "MatMul", "Add", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool" };

static Status quantize_check(const PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    for (int i = 0; i < o->ops.count; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof known_ops / sizeof *known_ops; k++) known |= strcmp(o->ops.items[i], known_ops[k]) == 0;
        if (!known)
            return err_set(err, ERR_USAGE, "quantize: op '%s' in ops cannot be quantized; choose from Conv, Gemm, MatMul, Add, Concat, "
                           "AveragePool, GlobalAveragePool, MaxPool", o->ops.items[i]);
    }
    return OK;
}

/* One running range per root, over the network as it is now. */
static Status find_grids(const PassContext *c, Plan *p, Err *err)
{
    const QuantizeOptions *o = c->options;
    Status status = OK;
    Range *ranges = alloc_zeroed((size_t)p->value_count + 1, sizeof *ranges);
    if (ranges == NULL) return err_no_memory(err, "calibration ranges");
    int count = 0;
    for (ValueId v = 1; v <= p->value_count; v++)
        if (p->root[v] == v) ranges[count++].value = v;
    SweepOptions options = { .threads = c->threads, .batch = o->batch, .samples = o->samples, .max_mem = c->max_mem, .log = c->log };
    TRY_OUT(sweep_ranges(c->graph, c->calibration, ranges, count, &options, err));
    for (int i = 0; i < count; i++) {
        if (ranges[i].count == 0) {
            Str name = graph_value(c->graph, ranges[i].value)->name;
            status = err_set(err, ERR_DATA, "'%.*s' was never computed on the calibration data", STR_ARG(name));
            goto out;
        }
        p->grids[ranges[i].value] = grid_activation(ranges[i].min, ranges[i].max);
    }
out:
    free(ranges);
    return status;
}

static void report_layers(const PassContext *c, const Plan *p, const Weights *w)
{
    int quantized = 0;
    for (int i = 0; i < p->layer_count; i++) {
        const PlannedLayer *l = &p->layers[i];
        if (l->reason != NULL) {
            record_add(c->record, RECORD_SKIPPED, l->layer.name, "stays float: %s", l->reason);
            continue;
        }
        const QuantizedWeight *qw = &w->items[w->of_layer[i]];
        Grid in = p->grids[p->root[l->layer.input]];
        quantized++;
        record_add(c->record, RECORD_CHANGED, l->layer.name, "int8 weights per %s, uint8 input in [%.4g, %.4g], %s output",
                   qw->per_channel ? "channel" : "tensor", grid_low(in), grid_high(in),
                   p->nodes[l->layer.node].out_quantized ? "uint8" : "float");
        if (isfinite(qw->sqnr_db)) record_number(c->record, "weight_sqnr_db", qw->sqnr_db);
        record_number(c->record, "scale_enlarged", qw->enlarged);
    }
    if (quantized == 0) record_add(c->record, RECORD_NOTE, STR("graph"), "no layer could be quantized: the network is as before");
}

/* Layers whose weights are no constants of their own: quantized already, behind other nodes, inside subgraphs; and float ops between. */
static Status report_left_out(const PassContext *c, Err *err)
{
    LeftOut *list = NULL;
    int count = 0;
    TRY(layers_left_out(c->graph, &list, &count, err));
    for (int i = 0; i < count; i++)
        record_add(c->record, RECORD_SKIPPED, list[i].layer.name, "%s", list[i].quantized ? "it is quantized already" : list[i].reason);
    free(list);
    int nested = layers_nested(c->graph);
    if (nested > 0)
        record_add(c->record, RECORD_SKIPPED, STR("subgraphs"), "%d layer%s inside If, Loop or Scan", nested, nested == 1 ? "" : "s");
    return OK;
}

static void report_float_ops(const PassContext *c, const Plan *p)
{
    const Graph *g = c->graph;
    for (uint32_t i = 0; i < g->order_count; i++) {
        NodeId id = g->order[i];
        const Node *n = graph_node(g, id);
        bool reads = false;
        if (p->nodes[id].role != ROLE_FLOAT || (n->op != NULL && n->op->weight_axis != NULL)) continue;
        for (int k = 0; k < n->input_count; k++) {
            ValueId v = n->inputs[k];
            NodeId from = v != 0 ? graph_value(g, v)->producer : 0;
            reads |= from != 0 && p->root[v] != 0 && p->nodes[from].out_quantized;
        }
        if (!reads) continue;
        record_add(c->record, RECORD_NOTE, node_label(g, n), "%.*s reads what integer layers made and stays float", STR_ARG(n->type));
    }
}

static bool any_layer(const Plan *p)
{
    for (int i = 0; i < p->layer_count; i++)
        if (p->layers[i].reason == NULL) return true;
    return false;
}

static Status quantize_planned(PassContext *c, Plan *p, Err *err)
{
    Graph *g = c->graph;
    Weights w = { 0 };
    Status status = OK;
    TRY_OUT(find_grids(c, p, err));
    report_float_ops(c, p);
    TRY_OUT(weights_make(p, &w, err));
    report_layers(c, p, &w);
    TRY_OUT(apply_plan(p, &w, err));
    graph_remove_dead(g, NULL);
    TRY_OUT(graph_finish(g, err));
    engine_bind(g);
    TRY_OUT(engine_infer(g, err));
out:
    weights_release(&w);
    return status;
}

static Status quantize_run(PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    Graph *g = c->graph;
    Plan p = { 0 };
    Status status = OK;
    if (c->calibration == NULL)
        return err_set(err, ERR_USAGE, "quantize: no calibration data; name some with --data or \"data\": { \"calibration\": ... }");
    if (o->fold) TRY(fold_graph(g, &FOLD_ALL, c->record, err));
    TRY(report_left_out(c, err));
    TRY_OUT(plan_make(c, &p, err));
    if (!any_layer(&p)) {
        report_layers(c, &p, &(Weights){ 0 });
        goto out;
    }
    if (graph_opset(g, STR("")) < MIN_OPSET) { /* only now: a network that stays float keeps its opset */
        TRY_OUT(opset_raise(g, MIN_OPSET, c->record, err));
        TRY_OUT(graph_finish(g, err));
        engine_bind(g);
        TRY_OUT(engine_infer(g, err));
        plan_release(&p);
        TRY_OUT(plan_make(c, &p, err));
    }
    TRY_OUT(opset_raise_ir(g, MIN_IR, err));
    TRY_OUT(quantize_planned(c, &p, err));
out:
    plan_release(&p);
    return status;
}

const Pass pass_quantize = {
    .name = "quantize",
    .summary = "static int8: per-channel weights, uint8 activations from calibration data, exact on every processor",
    .details =
        "Writes QuantizeLinear / DequantizeLinear pairs around Conv, Gemm, MatMul with constant weights and the Add, Concat and pools\n"
        "between them, so that runtimes execute integer kernels. Weights are symmetric int8 per output channel, activations asymmetric\n"
        "uint8 per tensor from the range over the calibration data, biases int32. With --target=portable (the default) weights obey a\n"
        "rule that keeps x86 without VNNI from saturating: the result is bit for bit the exact integer one on every processor. The opset\n"
        "is raised to 13 and the IR with it where needed. Layers that stay float are listed with the reason.\n"
        "\n"
        "    pare pass quantize --data calib.npz model.onnx -o int8.onnx\n"
        "    { \"pass\": \"quantize\", \"layers\": [ { \"match\": \"head*\", \"skip\": true } ] }\n",
    .flags = PASS_NEEDS_DATA | PASS_NEEDS_GRAPH | PASS_USES_DATA,
    .options = quantize_table,
    .options_size = sizeof(QuantizeOptions),
    .check = quantize_check,
    .run = quantize_run,
};
