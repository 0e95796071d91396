/* Peak memory of one network: a process of its own loads it, runs it once and says what it came to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/comparison.h"
#include "pipeline/state.h"

/* Loads and runs as compare_files does, with nothing kept for comparing. */
static Status load_and_run(const char *path, const ComparisonOptions *o, Err *err)
{
    Model model;
    Dataset *data = NULL;
    Session *session;
    int threads = engine_set_threads(o->threads);
    TRY(model_open(path, o->max_mem, &model, err));
    Gauge gauge = { .threads = threads, .seed = o->measure.seed, .max_mem = o->max_mem };
    if (o->data != NULL && dataset_open(o->data, model.graph, &(DataOptions){ .max_mem = o->max_mem }, &data, err) == OK)
        gauge.evaluation = data;
    TRY(gauge_init(&gauge, model.graph, NULL, err));
    if (gauge.fidelity == NULL) return err_set(err, ERR_UNSUPPORTED, "%s", gauge.note);
    const SessionOptions options = { .threads = threads, .plain = o->plain, .int8 = o->int8, .max_mem = o->max_mem };
    TRY(session_new(model.graph, &options, &session, err));
    Tensor *outputs = calloc((size_t)model.graph->output_count + 1, sizeof *outputs);
    if (outputs == NULL) return err_no_memory(err, "outputs");
    return session_run(session, gauge.inputs, outputs, err); /* the process ends: nothing is released */
}

int64_t comparison_peak_memory(const char *path, const ComparisonOptions *options)
{
    int ends[2];
    int64_t bytes = -1;
    if (pipe(ends) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        Err err;
        bool done = load_and_run(path, options, &err) == OK;
        bytes = done ? peak_memory() : -1;
        ssize_t written = write(ends[1], &bytes, sizeof bytes);
        _exit(written == (ssize_t)sizeof bytes ? 0 : 1);
    }
    close(ends[1]);
    if (child > 0) {
        ssize_t n;
        while ((n = read(ends[0], &bytes, sizeof bytes)) < 0 && errno == EINTR) { }
        if (n != (ssize_t)sizeof bytes) bytes = -1;
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) { }
    }
    close(ends[0]);
    return bytes > 0 ? bytes : -1;
}
