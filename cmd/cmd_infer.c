#include "cmd/cmd.h"

#include "pipeline/infer.h"
#include "pipeline/places.h"

typedef struct InferCommand {
    CommonOptions common;
    const char *data, *output;
    int64_t batch;
    int int8;
    bool plain;
} InferCommand;

static const Opt infer_options[] = {
    { .name = "data", .type = OPT_STRING, .field = offsetof(InferCommand, data),
      .help = "inputs: an .npz, a folder of .npz or of input_k.pb, or a .json data section" },
    { .name = "output", .type = OPT_STRING, .field = offsetof(InferCommand, output),
      .help = "the .npz to write, or - for standard output; also -o" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(InferCommand, batch), .fallback = "0", .min = 0, .max = 1e9, .unit = "samples",
      .help = "samples in one run; 0: 32, or what the network fixes" },
    ENGINE_OPTIONS(InferCommand),
    COMMON_OPTIONS(InferCommand),
    OPT_END,
};

static Status run(Call *c, Err *err)
{
    const InferCommand *o = c->options;
    Model model;
    Dataset *data = NULL;
    if (o->data == NULL) return err_set(err, ERR_USAGE, "infer: --data=FILE is missing: the inputs to run on");
    if (o->output == NULL) return err_set(err, ERR_USAGE, "infer: -o FILE is missing: the .npz to write");
    Places places = { .count = 0 };
    TRY(places_add(&places, "output", o->output, err));
    TRY(places_apart(&places, "the network", c->args[0], err));
    TRY(places_apart(&places, "the data", o->data, err));
    TRY(model_open(c->args[0], c->max_mem, &model, err));
    DataOptions data_options = { .max_mem = c->max_mem, .expect_nonfinite = true, .log = c->log }; /* what NaN gives may be the question */
    int threads = engine_set_threads((int)o->common.threads);
    Status status = engine_supports(model.graph, err); /* before the data, which may hold what is no tensor either */
    if (status == OK) status = dataset_open(o->data, model.graph, &data_options, &data, err);
    SessionOptions session = { .threads = threads, .plain = o->plain, .int8 = (Int8Use)o->int8, .max_mem = c->max_mem };
    InferOptions options = { .batch = o->batch, .session = session, .log = c->log };
    if (status == OK) status = places_apart_inputs(&places, &model, data, err);
    if (status == OK) status = infer_to_file(model.graph, data, o->output, &options, err);
    dataset_free(data);
    model_release(&model);
    return status;
}

const Command command_infer = {
    .name = "infer",
    .args = "MODEL",
    .summary = "run a network and write its outputs by their names",
    .details = "  pare infer model.onnx --data in.npz -o out.npz\n"
               "  pare infer model.onnx --data test_data_set_0 -o out.npz     a folder of input_k.pb\n"
               "  pare infer model.onnx --data section.json --batch=1 -o - | ...\n\n"
               "The arrays of in.npz are named as the network's inputs and have their types; a data section (pare help recipe)\n"
               "says how other arrays become inputs. Batches are joined along axis 0.\n",
    .options = infer_options,
    .options_size = sizeof(InferCommand),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
