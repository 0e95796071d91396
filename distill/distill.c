/* Distillation targets: what a teacher says about each sample, for any trainer.
 *
 *   z = logits [N, ..., C],   p = softmax(z / T);   several teachers with weights w (sum 1): z = sum w z_i, p = sum w softmax(z_i / T)
 *
 * The ensemble's probabilities are the mean of the members' at T, as in the paper; its logits the weighted mean of logits, so that
 * softmax(z / T) is p for one teacher only. A teacher that ends in Softmax gives log p for z (p not below 1e-7).
 *
 * Needs: calibration data. The network stays as it is; the targets leave through the runner's sink, batch by batch. Without teachers the
 * network teaches as it stands at this place of the recipe: put distill first to be taught by the original.
 * Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015. */
#include "distill/distill.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/version.h"

static const Opt distill_options[] = {
    { .name = "targets", .type = OPT_FILE, .field = offsetof(DistillOptions, targets), .help = "the .npz that the targets are written to" },
    { .name = "teacher", .type = OPT_MODELS, .field = offsetof(DistillOptions, teacher),
      .help = "networks that teach (default: the network as it stands here)" },
    { .name = "weights", .type = OPT_LIST, .field = offsetof(DistillOptions, weights),
      .help = "one number a teacher; they are divided by their sum (default: all equal)" },
    { .name = "temperature", .type = OPT_FLOAT, .field = offsetof(DistillOptions, temperature), .fallback = "4", .min = 1e-3, .max = 1e3,
      .help = "T in softmax(logits / T)" },
    { .name = "logits", .type = OPT_STRING, .field = offsetof(DistillOptions, logits),
      .help = "name of the output that holds the scores (default: the first)" },
    { .name = "top-k", .type = OPT_INT, .field = offsetof(DistillOptions, top_k), .fallback = "0", .min = 0, .max = 1e6,
      .help = "keep the k most probable classes only, with their indices (0: all)", .unit = "classes" },
    { .name = "tensors", .type = OPT_LIST, .field = offsetof(DistillOptions, tensors),
      .help = "intermediate tensors to record too, by name or pattern" },
    { .name = "batch", .type = OPT_INT, .field = offsetof(DistillOptions, batch), .fallback = "0", .min = 0, .max = 1e6,
      .help = "samples run at once (0: 32, or what the network fixes)", .unit = "samples" },
    OPT_END,
};

static Status distill_check(const PassContext *c, Err *err)
{
    const DistillOptions *o = c->options;
    Teacher *teachers;
    Watch *watches;
    int teacher_count, watch_count;
    if (o->targets == NULL) return err_set(err, ERR_USAGE, "targets is not given: it names the .npz for the targets");
    if (c->rule_count > 0) return err_set(err, ERR_USAGE, "layers: distill takes no rules, it leaves the network as it is");
    TRY(teachers_choose(c, &teachers, &teacher_count, err));
    return watches_choose(c, teachers, teacher_count, &watches, &watch_count, err);
}

static Status on_batch(void *user, const Batch *batch, Err *err)
{
    TRY(soften_batch(user, batch, err));
    return watches_write(user, batch, err);
}

/* Where the targets come from, in the same file. */
static Status write_notes(Distill *d, Err *err)
{
    Targets *t = d->c->targets;
    char data_hash[HASH_TEXT], name[64];
    TRY(dataset_hash(d->c->calibration, data_hash, err));
    TRY(targets_note(t, "pare_version", PARE_VERSION, err));
    TRY(targets_note(t, "data_sha256", data_hash, err));
    TRY(targets_number(t, "temperature", d->options->temperature, err));
    TRY(targets_number(t, "samples", (double)dataset_samples(d->c->calibration), err));
    TRY(targets_number(t, "class_axis", d->class_axis, err));
    TRY(targets_number(t, "teachers", d->teacher_count, err));
    for (int i = 0; i < d->teacher_count; i++) {
        const Teacher *teacher = &d->teachers[i];
        const char *source = teacher->kind == SCORES_LOGITS ? "logits" : "log probabilities";
        /* of the teacher's file; the network itself, perhaps changed by passes before, is no file: then of its contents */
        snprintf(name, sizeof name, d->c->model_count > 0 ? "teacher_%d_sha256" : "teacher_%d_contents_sha256", i);
        TRY(targets_note(t, name, teacher->hash, err));
        snprintf(name, sizeof name, "teacher_%d_weight", i);
        TRY(targets_number(t, name, teacher->weight, err));
        snprintf(name, sizeof name, "teacher_%d_logits", i); /* what its part of "logits" is */
        TRY(targets_note(t, name, source, err));
    }
    return OK;
}

static void record_result(Distill *d)
{
    PassRecord *r = d->c->record;
    long long samples = (long long)dataset_samples(d->c->calibration);
    char top[64] = "";
    if (d->options->top_k > 0) snprintf(top, sizeof top, ", the %lld most probable classes", (long long)d->options->top_k);
    record_add(r, RECORD_NOTE, STR("targets"), "%lld samples of %d teacher%s at temperature %g%s, written to %s", samples, d->teacher_count,
               d->teacher_count == 1 ? "" : "s", d->options->temperature, top, targets_path(d->c->targets));
    record_number(r, "samples", (double)samples);
    record_number(r, "temperature", d->options->temperature);
    record_number(r, "teachers", d->teacher_count);
    if (d->positions > 0) record_number(r, "mean_entropy", d->entropy / (double)d->positions);
    if (d->labelled > 0) record_number(r, "accuracy", (double)d->correct / (double)d->labelled);
    for (int i = 0; i < d->teacher_count; i++) {
        const Teacher *t = &d->teachers[i];
        record_add(r, RECORD_NOTE, str_of(t->name), "teacher with weight %.4g, sha256 %s", t->weight, t->hash);
    }
    for (int i = 0; i < d->watch_count; i++) {
        const Watch *w = &d->watches[i];
        Str name = graph_value(d->teachers[w->teacher].graph, w->value)->name;
        if (!w->dropped) record_add(r, RECORD_NOTE, name, "recorded as '%s'", w->array);
    }
}

static Status run_teachers(Distill *d, Err *err)
{
    Session **sessions = arena_array(d->c->scratch, (size_t)d->teacher_count, sizeof *sessions);
    if (sessions == NULL) return err_no_memory(err, "the teachers");
    for (int i = 0; i < d->teacher_count; i++) sessions[i] = d->teachers[i].session;
    TogetherOptions options = { .batch = d->options->batch, .labels = true, .task = "teaching", .log = d->c->log };
    TRY(run_together(sessions, d->teacher_count, d->c->graph, d->c->calibration, &options, on_batch, d, err));
    return write_notes(d, err);
}

static Status distill_run(PassContext *c, Err *err)
{
    Distill d = { .c = c, .options = c->options };
    if (c->targets == NULL) return err_set(err, ERR_USAGE, "targets is not given: it names the .npz for the targets");
    if (c->calibration == NULL) return err_set(err, ERR_USAGE, "no calibration data is given");
    d.class_axis = dataset_class_axis(c->calibration);
    TRY(teachers_choose(c, &d.teachers, &d.teacher_count, err));
    TRY(watches_choose(c, d.teachers, d.teacher_count, &d.watches, &d.watch_count, err));
    Status status = teachers_open(&d, err);
    if (status == OK) status = watches_start(&d, err);
    if (status == OK) status = run_teachers(&d, err);
    if (status == OK) record_result(&d);
    watches_release(&d);
    teachers_close(&d);
    free(d.row);
    free(d.logits);
    free(d.probabilities);
    free(d.order);
    if (status == OK && c->record->failed) status = err_no_memory(err, "the record of distill");
    return status;
}

const Pass pass_distill = {
    .name = "distill",
    .summary = "write what a teacher says about each sample: logits, softened probabilities, chosen tensors",
    .details =
        "Runs the calibration data through one teacher or a weighted ensemble and writes, in the order of the samples, `logits` and\n"
        "`probabilities` = softmax(logits / temperature) as float32, or with top-k `top_indices`, `top_logits` and `top_probabilities`.\n"
        "An ensemble's probabilities are the weighted mean of its members' at the temperature, its logits the weighted mean of theirs.\n"
        "Tensors named by `tensors` are added as `tensor:NAME` (`tensor:TEACHER:NAME` with several teachers). The file also holds\n"
        "pare_version, data_sha256, teacher_N_sha256 (of its file; teacher_0_contents_sha256 for the network itself), teacher_N_weight,\n"
        "temperature, samples and class_axis; texts are arrays of bytes.\n"
        "Without teachers the network teaches as it stands at this place of the recipe: put distill first to be taught by the original.\n"
        "Example: pare pass distill --teacher=big.onnx --temperature=4 --targets=targets.npz --data=calib.npz small.onnx",
    .flags = PASS_KEEPS_MODEL | PASS_NEEDS_DATA | PASS_NEEDS_GRAPH,
    .options = distill_options,
    .options_size = sizeof(DistillOptions),
    .check = distill_check,
    .run = distill_run,
};
