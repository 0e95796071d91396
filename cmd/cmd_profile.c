#include "cmd/cmd.h"

#include "base/file.h"
#include "pipeline/profiling.h"

typedef struct ProfileCommand {
    CommonOptions common;
    const char *data, *match, *trace, *machine;
    int64_t batch, top;
    double seconds;
    int sort, int8;
    bool plain, json;
} ProfileCommand;

static const Opt profile_options[] = {
    { .name = "data", .type = OPT_STRING, .field = offsetof(ProfileCommand, data),
      .help = "inputs: an .npz, a folder of .npz or of input_k.pb, or a .json data section (default: random ones)" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(ProfileCommand, batch), .fallback = "1", .min = 1, .max = 1e9, .unit = "samples",
      .help = "samples in one run, where the network does not fix them" },
    { .name = "sort", .type = OPT_CHOICE, .field = offsetof(ProfileCommand, sort), .fallback = "time", .choices = PROFILING_SORTS,
      .help = "what the layers are sorted by, the most first; order: as they run" },
    { .name = "match", .type = OPT_STRING, .field = offsetof(ProfileCommand, match), .unit = "pattern",
      .help = "only layers whose name or operator matches: '*conv1*', Gemm" },
    { .name = "top", .type = OPT_INT, .field = offsetof(ProfileCommand, top), .fallback = "0", .min = 0, .max = 1e9, .unit = "layers",
      .help = "list so many at most; 0: all" },
    { .name = "json", .type = OPT_FLAG, .field = offsetof(ProfileCommand, json), .help = "one JSON object instead of text" },
    { .name = "trace", .type = OPT_STRING, .field = offsetof(ProfileCommand, trace), .unit = "file",
      .help = "write the fastest run as Chrome trace events, for ui.perfetto.dev; - is standard output" },
    { .name = "profile", .type = OPT_STRING, .field = offsetof(ProfileCommand, machine), .unit = "file",
      .help = "the machine profile with the peaks, by pare probe --calibrate (default: measured, in a second)" },
    { .name = "seconds", .type = OPT_FLOAT, .field = offsetof(ProfileCommand, seconds), .fallback = "2", .min = 0.001, .max = 3600,
      .help = "time for the runs; at least 5 of each kind are made" },
    ENGINE_OPTIONS(ProfileCommand),
    COMMON_OPTIONS(ProfileCommand),
    OPT_END,
};

static Status write_trace(const Profiling *p, OutFile **file, Err *err)
{
    StrBuf text = { 0 };
    OutFile *f = *file;
    *file = NULL;
    Status status = profiling_trace(p, &text, err);
    if (status == OK) status = outfile_write(f, text.data, text.len, err);
    strbuf_release(&text);
    if (status == OK) return outfile_commit(f, err);
    outfile_abort(f);
    return status;
}

static Status print(const ProfileCommand *o, const Profiling *p, StrBuf *out, Err *err)
{
    if (o->json) return cli_print_json(profiling_json(p), out, err);
    profiling_print(p, out);
    return OK;
}

static Status run(Call *c, Err *err)
{
    const ProfileCommand *o = c->options;
    Model model = { 0 };
    Profile machine;
    Profiling p = { 0 };
    OutFile *file = NULL;
    Places places = { .count = 0 };
    Status status;
    TRY(places_add(&places, "trace", o->trace, err));
    TRY(places_apart(&places, "the network", c->args[0], err));
    TRY(places_apart(&places, "the data", o->data, err));
    TRY(places_apart(&places, "the profile", o->machine, err));
    if (o->machine != NULL) TRY(profile_load(o->machine, &machine, err));
    TRY_OUT(model_open(c->args[0], c->max_mem, &model, err));
    if (o->trace != NULL) TRY_OUT(outfile_open(o->trace, &file, err)); /* before the seconds it takes */
    c->out_to_stderr = o->trace != NULL && outfile_is_stdout(o->trace);
    ProfilingOptions options = { .session = { .threads = (int)o->common.threads, .plain = o->plain, .int8 = (Int8Use)o->int8,
                                              .max_mem = c->max_mem, .log = c->log },
                                 .data = o->data, .batch = o->batch, .seconds = o->seconds,
                                 .machine = o->machine != NULL ? &machine : NULL, .machine_path = o->machine, .places = &places,
                                 .log = c->log };
    TRY_OUT(profiling_run(&model, c->args[0], &options, &p, err));
    TRY_OUT(profiling_choose(&p, (ProfilingSort)o->sort, o->match, o->top, err));
    if (file != NULL) TRY_OUT(write_trace(&p, &file, err));
    status = print(o, &p, &c->out, err);
out:
    outfile_abort(file);
    profiling_release(&p);
    model_release(&model);
    return status;
}

const Command command_profile = {
    .name = "profile",
    .args = "MODEL",
    .summary = "say where the time of a network goes, layer by layer",
    .details = "Each step of the engine's plan with its time (median over the runs, subgraphs counted by their own steps), multiply-adds,\n"
               "bytes (operands read once, results written once), rates, the kernel chosen and its data type; reorders are changes of\n"
               "the order of elements between kernels. bound says what keeps a step from being faster: compute, nearer to the peak of\n"
               "multiply-adds; memory, nearer to that of memory or cache; overhead, below a tenth of either. The latency is that of\n"
               "runs without clocks at each step, made in turns with those that have them. Where each thread takes pieces of a batch\n"
               "by itself, a lane, the times of a step are added up over the lanes and its peaks are those of one thread.\n\n"
               "  pare profile model.onnx --top=10\n"
               "  pare profile model.onnx --batch=32 --threads=2 --match='Conv*' --sort=macs\n"
               "  pare profile model.onnx --data in.npz --json | jq .latency_ms.median\n"
               "  pare profile model.onnx --profile=machine.json --trace=trace.json      open it in ui.perfetto.dev\n\n"
               "Other work on the machine shows in the times: repeat what matters. Exit codes: 2 when --match matches nothing or the\n"
               "command line is wrong, 3 when network, data or machine profile are, 4 for an operator that cannot run, 7 when the\n"
               "trace cannot be written.\n",
    .options = profile_options,
    .options_size = sizeof(ProfileCommand),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
