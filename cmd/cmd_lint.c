#include "cmd/cmd.h"

#include "pipeline/lint.h"

typedef struct LintOptions {
    CommonOptions common;
    int target;
    bool json, all, strict, weights;
} LintOptions;

static const Opt lint_options[] = {
    { .name = "target", .type = OPT_CHOICE, .field = offsetof(LintOptions, target), .fallback = "portable", .choices = LINT_TARGETS,
      .help = "the processors it shall run on; portable: x86, with VNNI and without, and Arm" },
    { .name = "strict", .type = OPT_FLAG, .field = offsetof(LintOptions, strict),
      .help = "exit code 5 when a layer is quantized and runs in float all the same; weights quantized alone are not counted" },
    { .name = "strict-weights", .type = OPT_FLAG, .field = offsetof(LintOptions, weights),
      .help = "exit code 5 also when weights that are quantized alone become float before they are used" },
    { .name = "json", .type = OPT_FLAG, .field = offsetof(LintOptions, json), .help = "one JSON object instead of text" },
    { .name = "all", .type = OPT_FLAG, .field = offsetof(LintOptions, all),
      .help = "list also the nodes between layers: sums, pools, those that only move numbers" },
    COMMON_OPTIONS(LintOptions),
    OPT_END,
};

static Status print(const LintOptions *o, const Lint *l, StrBuf *out, Err *err)
{
    if (o->json) return cli_print_json(lint_json(l), out, err);
    lint_print(l, o->all, out);
    return OK;
}

static Status run(Call *c, Err *err)
{
    const LintOptions *o = c->options;
    Model model;
    Lint lint = { 0 };
    TRY(model_open(c->args[0], c->max_mem, &model, err));
    Status status = lint_model(&model, c->args[0], (LintTarget)o->target, &lint, err);
    if (status == OK) status = print(o, &lint, &c->out, err);
    int failed = (o->strict || o->weights ? lint.lost : 0) + (o->weights ? lint.unpacked : 0);
    if (status == OK && failed > 0)
        status = err_set(err, ERR_GOAL, "%s: %d quantized layer%s run%s in float", c->args[0], failed, failed == 1 ? "" : "s",
                         failed == 1 ? "s" : "");
    lint_release(&lint);
    model_release(&model);
    return status;
}

const Command command_lint = {
    .name = "lint",
    .args = "MODEL",
    .summary = "say which layers will run as integers, which will not, and why",
    .details = "By the rules of ONNX Runtime, which fuses DequantizeLinear, a node and QuantizeLinear into one integer kernel;\n"
               "for --target=gpu by those of TensorRT. Nothing is run. The exit code is 0 whatever is found, unless --strict or\n"
               "--strict-weights is given.\n\n"
               "  pare lint net.int8.onnx                           for every processor\n"
               "  pare lint net.int8.onnx --target=x86-avx2 --all   and what stands between the layers\n"
               "  pare lint net.int8.onnx --json | jq .nodes\n",
    .options = lint_options,
    .options_size = sizeof(LintOptions),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
