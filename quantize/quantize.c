/* Quantize: weights, and activations where asked, in integers.
 *
 *   static    x -> Conv(W, b) -> Relu -> y   =>   x -> Q -> DQ -> Conv(DQ(W int8), DQ(b int32)) -> Q -> DQ -> y       (plan.h, apply.c)
 *   dynamic   x -> MatMul(W) -> y            =>   x -> DynamicQuantizeLinear -> MatMulInteger(W int8) -> Mul -> y     (form_dynamic.h)
 *   weights   x -> MatMul(W) -> y            =>   x -> MatMul(DQ(W, scale a block)) -> y,  or MatMulNBits             (form_weights.h)
 *
 *   activation  uint8, per tensor:   s = (max(hi, 0) - min(lo, 0)) / 255,  z = round(-lo / s),  lo and hi from calibration (calibrate.h)
 *   weight      int8, per channel:   q = round(w / s_k), s_k and the direction of rounding by what the layer's output loses (rounding.h)
 *   bias        int32:               q = round(b / (s_x s_k)); s_k is raised where that would leave int32
 *
 * A Relu or Clip behind an integer node is what the ends of its output grid do: it goes. Reshape, Transpose, Slice and Pad move the
 * integers themselves. Needs: float32 layers with constant weights; for static, calibration data like that met in use. Softmax, Sigmoid
 * and the network's outputs stay float. Safe pairs: x86 without VNNI adds two products u8 x s8 in 16 bits, saturating (VPMADDUBSW); with
 * |q0| + |q1| <= 128 where the signs agree the sum is exact on every processor.
 * Jacob et al., CVPR 2018; Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018 (per channel). */
#include <stdlib.h>

#include "data/dataset.h"
#include "engine/fold.h"
#include "quantize/check.h"
#include "quantize/report.h"
#include "quantize/weights_layers.h"
#include "quantize/weights_mode.h"

static const Opt quantize_table[] = {
    { .name = "mode", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, mode), .fallback = "static",
      .choices = "static|dynamic|weights",
      .help = "grids of activations fixed from calibration data, found while the network runs, or activations left float" },
    { .name = "bits", .type = OPT_INT, .field = offsetof(QuantizeOptions, bits), .fallback = "8", .min = 2, .max = 8, .per_layer = true,
      .help = "of a weight; fewer than 8 in mode weights only", .unit = "bits" },
    { .name = "block", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, block), .fallback = "channel", .choices = BLOCK_CHOICES,
      .per_layer = true, .help = "weights that share a scale: a channel, the tensor, or so many inputs of a channel (mode weights)" },
    { .name = "format", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, format), .fallback = "qdq", .choices = "qdq|qoperator|nbits",
      .help = "QuantizeLinear and DequantizeLinear pairs, operators on integers, or MatMulNBits (mode weights)" },
    { .name = "symmetric", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, symmetric), .fallback = "auto", .choices = "auto|yes|no",
      .help = "weights around zero; auto: yes above 4 bits (mode weights; else always)" },
    { .name = "calibration", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, calibration), .fallback = "auto",
      .choices = CALIBRATE_CHOICES, .help = "how what was seen becomes a grid; auto chooses by the error of the network's output" },
    { .name = "percentile", .type = OPT_FLOAT, .field = offsetof(QuantizeOptions, percentile), .fallback = "0",
      .min = 0, .max = 100, .help = "share of the values that a grid by percentile holds, from 50.5 on; 0: 99.999", .unit = "%" },
    { .name = "repairs", .type = OPT_LIST, .field = offsetof(QuantizeOptions, repairs), .fallback = NULL,
      .help = "auto (default), none, or some of equalize, absorb, balance, smooth, gptq, adaround, bias; kept where the output's error "
              "falls. The first four rescale channels, of layers that are skipped, too: the network computes the same. adaround (learned "
              "rounding, after gptq) by name only: 0.1 to 0.2 dB at 2 to 4 bits for nearly twice the time" },
    { .name = "target", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, target), .fallback = "portable",
      .choices = "portable|x86-vnni|x86-avx2|arm-dotprod|gpu",
      .help = "portable and x86-avx2 keep weight pairs exact on x86 without VNNI; gpu takes symmetric int8 for everything" },
    { .name = "activations", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, activations), .fallback = "auto",
      .choices = "auto|uint8|int8", .help = "type of the activations' integers; auto follows the target. int8 on x86: ONNX Runtime runs "
              "layers in float whose input or output is read more than once; pare lint tells which" },
    { .name = "reduce-range", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, reduce_range), .fallback = "false", .per_layer = true,
      .help = "weights of 7 bits in 8, which no processor can saturate; the pair rule loses less" },
    { .name = "table", .type = OPT_TEXT, .field = offsetof(QuantizeOptions, table), .fallback = NULL,
      .help = "calibration table to use: its ends instead of chosen ones, its commented lines kept in float" },
    { .name = "save-table", .type = OPT_SAVE, .field = offsetof(QuantizeOptions, save_table), .fallback = NULL,
      .help = "where to write the calibration table: text, to be read, edited and used again" },
    { .name = "max-accuracy-drop", .type = OPT_FLOAT, .field = offsetof(QuantizeOptions, max_drop), .fallback = "-1", .min = -1, .max = 100,
      .help = "keep the fewest layers in float (or at more bits) that hold this on the calibration data; -1: do not ask",
      .unit = "percentage points" },
    { .name = "max-size", .type = OPT_STRING, .field = offsetof(QuantizeOptions, max_size), .fallback = NULL,
      .help = "best accuracy within this size of the network: bytes, 120k, 1.5M or 32% of what the pass was given", .unit = "bytes" },
    { .name = "tables", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, tables), .fallback = "auto", .choices = "auto|yes|no",
      .help = "Gather's tables; auto: those an input looks up in (words), those shared with a layer, and those a rule names" },
    { .name = "fold", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, fold), .fallback = "true",
      .help = "fold first (BatchNorm, constants, identities), so that layers become one integer group" },
    { .name = "outputs", .type = OPT_FLAG, .field = offsetof(QuantizeOptions, outputs), .fallback = "false", .per_layer = true,
      .help = "also quantize what layers hand to float operators and to the network's outputs" },
    { .name = "samples", .type = OPT_INT, .field = offsetof(QuantizeOptions, samples), .fallback = "512", .min = 0, .max = 1e12,
      .help = "calibration samples used, from the first; 0 takes all", .unit = "samples" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(QuantizeOptions, batch), .fallback = "0", .min = 0, .max = 65536,
      .help = "samples per calibration step; 0 chooses", .unit = "samples" },
    { .name = "positions", .type = OPT_INT, .field = offsetof(QuantizeOptions, positions), .fallback = "0", .min = 0, .max = 1e12,
      .help = "columns of a layer that its loss is judged by; 0 chooses", .unit = "columns" },
    { .name = "ops", .type = OPT_LIST, .field = offsetof(QuantizeOptions, ops), .fallback = NULL,
      .help = "ops to quantize, such as Conv,Gemm (default: all that can be); Gather has tables" },
    OPT_END,
};

/* What folding did comes after the layers, marked, so that reports may count it. */
static void record_folded(PassRecord *out, PassRecord *folded)
{
    for (size_t i = 0; i < folded->count; i++) {
        const RecordEntry *e = &folded->entries[i];
        record_add(out, e->kind, str_of(e->object), "%s", e->text);
        if (e->kind == RECORD_CHANGED) record_number(out, "prepared", 1);
    }
    out->failed |= folded->failed;
    record_release(folded);
}

/* The cause of what calibration could only see at an output. */
static Status name_infinite(const PassContext *c, Status found, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    int64_t at;
    Err other;
    if (found != ERR_DATA || layers_find(c->graph, &layers, &count, &other) != OK) return found;
    for (int i = 0; i < count; i++) {
        const Tensor *t = graph_value(c->graph, layers[i].weight)->tensor;
        if (!dtype_is_float(t->type) || !tensor_has_nonfinite(t, &at)) continue;
        found = err_set(err, ERR_DATA, "weight '%.*s': element %lld is infinite", STR_ARG(layers[i].weight_name), (long long)at);
        break;
    }
    free(layers);
    return found;
}

static void record_samples(const PassContext *c)
{
    const QuantizeOptions *o = c->options;
    int64_t all = c->calibration != NULL ? dataset_samples(c->calibration) : 0;
    if (all <= 0) return;
    if (o->samples > 0 && o->samples < all)
        record_add(c->record, RECORD_NOTE, STR("data"), "the first %lld of %lld samples", (long long)o->samples, (long long)all);
    else record_add(c->record, RECORD_NOTE, STR("data"), "all %lld sample%s", (long long)all, all == 1 ? "" : "s");
}

/* A list of ops that leaves every layer out is a slip, and with --quiet nothing else would tell. */
static void warn_ops(const PassContext *c)
{
    const QuantizeOptions *o = c->options;
    StrBuf names = { 0 };
    if (o->ops.count == 0) return;
    for (uint32_t i = 0; i < c->graph->order_count; i++)
        if (options_op(o, graph_node(c->graph, c->graph->order[i])->type)) return;
    for (int i = 0; i < o->ops.count; i++) strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", o->ops.items[i]);
    const char *text = names.data != NULL ? names.data : "those";
    report_warning(c, STR("ops"), "the network stays float, none of its layers is one of %s", text);
    strbuf_release(&names);
}

static Status quantize_graph(PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    warn_ops(c);
    record_samples(c);
    TRY(report_left_out(c, err));
    weight_tables_report(c);
    if (o->mode != MODE_STATIC) return weights_mode_run(c, err);
    TRY(weights_mode_tables(c, err));
    return name_infinite(c, static_run(c, err), err);
}

static Status quantize_run(PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    PassRecord folded = { 0 };
    TRY(quantize_check_options(c, err)); /* passes before this one may have renamed layers */
    Status status = o->fold ? fold_graph(c->graph, &FOLD_ALL, &folded, err) : OK;
    if (status == OK) status = quantize_graph(c, err);
    record_folded(c->record, &folded);
    return status;
}

const Pass pass_quantize = {
    .name = "quantize",
    .summary = "8-bit integers exact on every processor, fixed from data or found at run time; or weights alone in 2 to 8 bits",
    .details =
        "    pare pass quantize --data calib.npz net.onnx -o int8.onnx                weights and activations, grids fixed from data\n"
        "    pare pass quantize --mode=dynamic net.onnx -o int8.onnx                  activations while the network runs; no data\n"
        "    pare pass quantize --mode=weights --bits=4 --block=32 net.onnx -o w4.onnx    smaller files; better with --data\n"
        "    pare pass quantize --data calib.npz --save-table=t.txt net.onnx -o int8.onnx    # edit t.txt: '#' keeps a tensor in float\n"
        "    pare pass quantize --data calib.npz --table=t.txt net.onnx -o int8.onnx\n"
        "    { \"pass\": \"quantize\", \"layers\": [ { \"match\": \"head*\", \"skip\": true } ] }\n"
        "\n"
        "static   QuantizeLinear and DequantizeLinear around Conv, Gemm, MatMul and the Add, Concat and pools between them, which\n"
        "         runtimes turn into integer kernels; --format=qoperator writes those operators themselves. A grid is chosen for each\n"
        "         activation, rounding and biases repaired on the data, each step kept only where the output's error falls.\n"
        "dynamic  DynamicQuantizeLinear with MatMulInteger and ConvInteger, DynamicQuantizeLSTM; where there is no such operator (GRU,\n"
        "         ConvTranspose) the weights alone.\n"
        "weights  DequantizeLinear (blocks and 4 bits need opset 21), or with --format=nbits MatMulNBits and GatherBlockQuantized of\n"
        "         com.microsoft. With data, rounding by what each layer's output loses: worth most below 5 bits.\n"
        "\n"
        "With --target=portable (the default) results are bit for bit the exact integers on x86 with and without VNNI and on Arm.\n"
        "Weights that layers share are stored once; Gather's tables are quantized too (--tables). The opset is raised where the form\n"
        "needs it. --report lists every layer, those that stay float with the reason; `pare lint` says what a runtime makes of it.\n",
    .flags = PASS_NEEDS_GRAPH | PASS_USES_DATA | PASS_USES_LABELS | PASS_CHECKS_RULES,
    .options = quantize_table,
    .options_size = sizeof(QuantizeOptions),
    .check = quantize_check_options,
    .run = quantize_run,
};
