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
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "engine/fold.h"
#include "quantize/mixed.h"
#include "quantize/report.h"
#include "quantize/weights_mode.h"

static const Opt quantize_table[] = {
    { .name = "mode", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, mode), .fallback = "static", .choices = "static|dynamic|weights",
      .help = "static fixes the grids of activations from calibration data, dynamic finds them at run time, weights leaves activations float" },
    { .name = "bits", .type = OPT_INT, .field = offsetof(QuantizeOptions, bits), .fallback = "8", .min = 2, .max = 8, .per_layer = true,
      .help = "of a weight; fewer than 8 in mode weights only", .unit = "bits" },
    { .name = "block", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, block), .fallback = "channel", .choices = BLOCK_CHOICES,
      .per_layer = true, .help = "weights that share a scale: an output channel, the tensor, or so many inputs of a channel (mode weights)" },
    { .name = "format", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, format), .fallback = "qdq", .choices = "qdq|qoperator|nbits",
      .help = "QuantizeLinear and DequantizeLinear pairs, operators on integers, or MatMulNBits (mode weights)" },
    { .name = "symmetric", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, symmetric), .fallback = "auto", .choices = "auto|yes|no",
      .help = "weights around zero; auto: yes above 4 bits (mode weights; else always)" },
    { .name = "calibration", .type = OPT_CHOICE, .field = offsetof(QuantizeOptions, calibration), .fallback = "auto",
      .choices = CALIBRATE_CHOICES, .help = "how what was seen becomes a grid; auto chooses by the error of the network's output" },
    { .name = "percentile", .type = OPT_FLOAT, .field = offsetof(QuantizeOptions, percentile), .fallback = "99.999", .min = 50.5, .max = 100,
      .help = "share of the values that a grid by percentile holds", .unit = "%" },
    { .name = "repairs", .type = OPT_LIST, .field = offsetof(QuantizeOptions, repairs), .fallback = NULL,
      .help = "auto (default), none, or some of equalize, absorb, balance, smooth, gptq, bias: each is kept where the output's error falls" },
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

static const char *const known_ops[] = { "Conv", "Gemm", "MatMul", "Add", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool" };

static Status check_repairs(const QuantizeOptions *o, Err *err)
{
    for (int i = 0; i < o->repairs.count; i++) {
        const char *name = o->repairs.items[i];
        bool alone = strcmp(name, "auto") == 0 || strcmp(name, "none") == 0, known = alone;
        for (int k = 0; k < REPAIR_COUNT; k++) known |= strcmp(name, repair_names[k]) == 0;
        if (!known)
            return err_set(err, ERR_USAGE, "quantize: '%s' is no repair; choose auto, none, or some of equalize, absorb, balance, smooth, "
                           "gptq, bias", name);
        if (alone && o->repairs.count > 1) return err_set(err, ERR_USAGE, "quantize: repairs: '%s' stands alone", name);
    }
    return OK;
}

static Status check_limits(const PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    double whole = 1.0, ignored;
    if (o->max_drop < 0.0 && o->max_drop != -1.0) /* -1: not asked */
        return err_set(err, ERR_USAGE, "quantize: max-accuracy-drop: %g points; expected 0 to 100, or -1 not to ask", o->max_drop);
    if (o->max_size != NULL && !size_parse(o->max_size, &whole, &ignored))
        return err_set(err, ERR_USAGE, "quantize: max-size: '%s' is not a size; write a number, 120k, 1.5M or 32%% (of the original)",
                       o->max_size);
    if (c->calibration == NULL && mixed_asked(o))
        return err_set(err, ERR_USAGE, "quantize: %s needs calibration data to judge by; name some with --data or \"data\": "
                       "{ \"calibration\": ... }", o->max_drop >= 0.0 ? "max-accuracy-drop" : "max-size");
    return OK;
}

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
    TRY(check_limits(c, err));
    return check_repairs(o, err);
}

static Status quantize_run(PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    if (c->calibration == NULL && o->mode == MODE_STATIC)
        return err_set(err, ERR_USAGE, "quantize: no calibration data; name some with --data or \"data\": { \"calibration\": ... }");
    if (o->fold) TRY(fold_graph(c->graph, &FOLD_ALL, c->record, err));
    TRY(report_left_out(c, err));
    return o->mode == MODE_STATIC ? static_run(c, err) : weights_mode_run(c, err);
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
    .flags = PASS_NEEDS_GRAPH | PASS_USES_DATA | PASS_USES_LABELS,
    .options = quantize_table,
    .options_size = sizeof(QuantizeOptions),
    .check = quantize_check,
    .run = quantize_run,
};
