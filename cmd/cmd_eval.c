#include "cmd/cmd.h"

#include <math.h>

#include "pipeline/evaluate.h"
#include "pipeline/model.h"
#include "pipeline/text.h"

typedef struct EvalCommand {
    CommonOptions common;
    const char *data, *reference;
    int64_t batch;
    int int8;
    bool plain, json;
} EvalCommand;

static const Opt eval_options[] = {
    { .name = "data", .type = OPT_STRING, .field = offsetof(EvalCommand, data),
      .help = "inputs and labels: an .npz, a folder of .npz or of input_k.pb, or a .json data section" },
    { .name = "reference", .type = OPT_STRING, .field = offsetof(EvalCommand, reference),
      .help = "another network: how far the outputs are from its outputs" },
    { .name = "json", .type = OPT_FLAG, .field = offsetof(EvalCommand, json), .help = "one JSON object instead of text" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(EvalCommand, batch), .fallback = "0", .min = 0, .max = 1e9, .unit = "samples",
      .help = "samples in one run; 0: 32, or what the network fixes" },
    ENGINE_OPTIONS(EvalCommand),
    COMMON_OPTIONS(EvalCommand),
    OPT_END,
};

static void print_text(const Evaluation *e, StrBuf *b)
{
    if (e->has_accuracy) {
        strbuf_printf(b, "samples        %lld\n", (long long)e->samples);
        strbuf_printf(b, "accuracy       %.2f %% (%lld right), 95 %% interval %.2f to %.2f\n", 100 * e->accuracy, (long long)e->correct,
                      100 * e->low, 100 * e->high);
        if (isfinite(e->cross_entropy)) strbuf_printf(b, "cross-entropy  %.4f nats\n", e->cross_entropy);
    }
    TextTable t;
    if (e->fidelity_count == 0) return;
    table_init(&t, 5, "lrrrr");
    static const char *const head[] = { "output", "SQNR dB", "cosine", "max |a-b|", "top-1 agreement" };
    for (int i = 0; i < 5; i++) table_cell(&t, "%s", head[i]);
    for (int i = 0; i < e->fidelity_count; i++) {
        const Fidelity *f = &e->fidelity[i];
        StrBuf name = { 0 };
        text_safe(f->output, &name);
        table_cell(&t, "%s", name.data != NULL ? name.data : "");
        if (isinf(f->sqnr_db)) table_cell(&t, "%s", "equal");
        else table_cell(&t, "%.2f", f->sqnr_db);
        table_cell(&t, "%.6f", f->cosine);
        table_cell(&t, "%.3g", f->max_abs);
        if (isnan(f->top1_agreement)) table_cell(&t, "%s", "");
        else table_cell(&t, "%.2f %%", 100 * f->top1_agreement);
        strbuf_release(&name);
    }
    table_print(&t, 0, true, b);
    table_release(&t);
}

static void add_number(cJSON *to, const char *name, double value)
{
    if (isfinite(value)) cJSON_AddNumberToObject(to, name, value);
    else cJSON_AddNullToObject(to, name);
}

static Status print_json(const Evaluation *e, StrBuf *b, Err *err)
{
    cJSON *json = cJSON_CreateObject();
    if (e->has_accuracy) {
        cJSON_AddNumberToObject(json, "samples", (double)e->samples);
        cJSON_AddNumberToObject(json, "correct", (double)e->correct);
        add_number(json, "accuracy", e->accuracy);
        add_number(json, "low", e->low);
        add_number(json, "high", e->high);
        add_number(json, "cross_entropy", e->cross_entropy);
    }
    if (e->fidelity_count > 0) {
        cJSON *outputs = cJSON_AddObjectToObject(json, "outputs");
        for (int i = 0; i < e->fidelity_count; i++) {
            const Fidelity *f = &e->fidelity[i];
            StrBuf name = { 0 };
            text_safe(f->output, &name);
            cJSON *item = cJSON_AddObjectToObject(outputs, name.data != NULL ? name.data : "");
            strbuf_release(&name);
            add_number(item, "sqnr_db", f->sqnr_db); /* null: equal */
            add_number(item, "cosine", f->cosine);
            add_number(item, "max_abs", f->max_abs);
            add_number(item, "top1_agreement", f->top1_agreement);
            add_number(item, "positions", (double)f->positions);
        }
    }
    return cli_print_json(json, b, err);
}

static Status run(Call *c, Err *err)
{
    const EvalCommand *o = c->options;
    Model model = { 0 }, reference = { 0 };
    Dataset *data = NULL;
    Evaluation e = { 0 };
    Status status;
    if (o->data == NULL) return err_set(err, ERR_USAGE, "eval: --data=FILE is missing: the inputs, and labels or a --reference");
    TRY_OUT(model_open(c->args[0], c->max_mem, &model, err));
    if (o->reference != NULL) TRY_OUT(model_open(o->reference, c->max_mem, &reference, err));
    DataOptions data_options = { .max_mem = c->max_mem, .want_labels = true, .log = c->log };
    TRY_OUT(dataset_open(o->data, model.graph, &data_options, &data, err));
    if (!dataset_has_labels(data) && o->reference == NULL) {
        status = err_set(err, ERR_DATA, "%s has no labels; add an array 'label', say which array it is in a data section, "
                                        "or give --reference", o->data);
        goto out;
    }
    EvaluateOptions options = { .threads = engine_set_threads((int)o->common.threads), .batch = o->batch, .plain = o->plain,
                                .int8 = (Int8Use)o->int8, .max_mem = c->max_mem, .log = c->log };
    TRY_OUT(evaluate(model.graph, reference.graph, data, &options, &e, err));
    if (o->json) status = print_json(&e, &c->out, err);
    else print_text(&e, &c->out);
out:
    evaluation_release(&e);
    dataset_free(data);
    model_release(&reference);
    model_release(&model);
    return status;
}

const Command command_eval = {
    .name = "eval",
    .args = "MODEL",
    .summary = "measure accuracy on labelled data, or fidelity to another network",
    .details = "  pare eval model.onnx --data test.npz                            accuracy and cross-entropy\n"
               "  pare eval small.onnx --data test.npz --reference model.onnx     also: how far from the original\n"
               "  pare eval small.onnx --data section.json --json\n\n"
               "The interval is Wilson's at 95 %; SQNR is 10 log10(sum a^2 / sum (a-b)^2), a the reference.\n",
    .options = eval_options,
    .options_size = sizeof(EvalCommand),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
