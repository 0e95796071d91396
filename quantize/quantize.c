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
#include "engine/fold.h"
#include "quantize/check.h"
#include "quantize/report.h"
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
    { .name = "percentile", .type = OPT_FLOAT, .field = offsetof(QuantizeOptions, percentile), .fallback = "99.999",
      .min = 50.5, .max = 100, .help = "share of the values that a grid by percentile holds", .unit = "%" },
    { .name = "repairs", .type = OPT_LIST, .field = offsetof(QuantizeOptions, repairs), .fallback = NULL,
      .help = "auto (default), none, or some of equalize, absorb, balance, smooth, gptq, bias; kept where the output's error falls" },
    { .name = "target", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, target), .fallback = "portable",
      .choices = "portable|x86-vnni|x86-avx2|arm-dotprod|gpu",
      .help = "portable and x86-avx2 keep weight pairs exact on x86 without VNNI; gpu takes symmetric int8 for everything" },
    { .name = "activations", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, activations), .fallback = "auto",
      .choices = "auto|uint8|int8", .help = "type of the activations' integers; auto follows the target" },
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
      .help = "also quantize a Conv whose result is an output of the network" },
    { .name = "samples", .type = OPT_INT, .field = offsetof(QuantizeOptions, samples), .fallback = "512", .min = 0, .max = 1e12,
      .help = "calibration samples used, from the first; 0 takes all", .unit = "samples" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(QuantizeOptions, batch), .fallback = "0", .min = 0, .max = 65536,
      .help = "samples per calibration step; 0 chooses", .unit = "samples" },
    { .name = "positions", .type = OPT_INT, .field = offsetof(QuantizeOptions, positions), .fallback = "0", .min = 0, .max = 1e12,
      .help = "columns of a layer that its loss is judged by; 0 chooses", .unit = "columns" },
    { .name = "ops", .type = OPT_LIST, .field = offsetof(QuantizeOptions, ops), .fallback = NULL,
      .help = "ops to quantize (default Conv, Gemm, MatMul, Add, Concat and the pools)" },
    OPT_END,
};

static Status quantize_run(PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    TRY(quantize_check_options(c, err)); /* passes before this one may have renamed layers */
    if (o->fold) TRY(fold_graph(c->graph, &FOLD_ALL, c->record, err));
    TRY(report_left_out(c, err));
    if (o->mode != MODE_STATIC) return weights_mode_run(c, err);
    TRY(weights_mode_tables(c, err));
    return static_run(c, err);
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
    .flags = PASS_NEEDS_GRAPH | PASS_USES_DATA | PASS_USES_LABELS | PASS_CHECKS_RULES,
    .options = quantize_table,
    .options_size = sizeof(QuantizeOptions),
    .check = quantize_check_options,
    .run = quantize_run,
};
