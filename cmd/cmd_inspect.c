#include "cmd/cmd.h"

#include "pipeline/inspect.h"

typedef struct InspectOptions {
    CommonOptions common;
    bool json, all;
} InspectOptions;

static const Opt inspect_options[] = {
    { .name = "json", .type = OPT_FLAG, .field = offsetof(InspectOptions, json), .help = "one JSON object instead of text" },
    { .name = "all", .type = OPT_FLAG, .field = offsetof(InspectOptions, all),
      .help = "every node that costs anything, not only those with parameters or MACs" },
    COMMON_OPTIONS(InspectOptions),
    OPT_END,
};

static Status run(Call *c, Err *err)
{
    const InspectOptions *o = c->options;
    Model model;
    Inspection inspection = { 0 };
    TRY(model_open(c->args[0], c->max_mem, &model, err));
    Status status = inspect_model(&model, c->args[0], NULL, &inspection, err);
    if (status == OK && o->json) {
        status = cli_print_json(inspection_json(&inspection), &c->out, err);
    } else if (status == OK) {
        inspection_print(&inspection, o->all, &c->out);
    }
    inspection_release(&inspection);
    model_release(&model);
    return status;
}

const Command command_inspect = {
    .name = "inspect",
    .args = "MODEL",
    .summary = "show inputs, outputs, layers, parameters, MACs and bytes of a network",
    .details = "Symbolic dimensions (a batch, a length) count as 1. The convention of the counts is printed with them.\n\n"
               "  pare inspect model.onnx              text for reading\n"
               "  pare inspect --json model.onnx       the same for a program, every node that costs anything\n"
               "  cat model.onnx | pare inspect /dev/stdin\n",
    .options = inspect_options,
    .options_size = sizeof(InspectOptions),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
