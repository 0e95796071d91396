/* Every allocation of ours is failed once: whatever runs out of memory must say so, crash nowhere and, under AddressSanitizer, leak
 * nothing. The linker's --wrap puts these functions in place of the C library's for all of libpare.a (see the Makefile). */
#include "test.h"

#include "base/file.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "formats/npz.h"
#include "graph/edit.h"
#include "graph/format.h"
#include "graph/pass.h"
#include "graph/verify.h"
#include "stats/layers.h"
#include "stats/solve.h"
#include "stats/walk.h"

static long until_failure; /* 0: never */
static bool failed_one;

static bool fail_now(void)
{
    if (until_failure == 0 || --until_failure > 0) return false;
    failed_one = true;
    return true;
}

#define WRAP(type, name, parameters, arguments, nothing) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters { return fail_now() ? (nothing) : __real_##name arguments; }

WRAP(void *, malloc, (size_t n), (n), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *p, size_t n), (p, n), NULL)
WRAP(void *, aligned_alloc, (size_t align, size_t n), (align, n), NULL)
WRAP(char *, strdup, (const char *s), (s), NULL)
WRAP(char *, strndup, (const char *s, size_t n), (s, n), NULL)

static const char *model_path(void)
{
    return "examples/digits/digits.onnx";
}

static Status load(Graph **out, Err *err)
{
    TRY(model_load(model_path(), &(LoadOptions){ 0 }, out, err));
    engine_bind(*out);
    return OK;
}

static Status case_load_infer_clone(Err *err)
{
    Graph *g = NULL, *copy = NULL;
    Status status;
    TRY_OUT(load(&g, err));
    TRY_OUT(engine_infer(g, err));
    TRY_OUT(graph_clone(g, &copy, err));
    TRY_OUT(graph_verify(copy, err));
out:
    graph_free(g);
    graph_free(copy);
    return status;
}

static Status case_save(Err *err)
{
    Graph *g = NULL;
    Status status;
    TRY_OUT(load(&g, err));
    TRY_OUT(graph_set_metadata(g, "key", "value", err));
    TRY_OUT(model_save(g, "build-test-allocation.onnx", &(SaveOptions){ 0 }, err));
out:
    graph_free(g);
    unlink("build-test-allocation.onnx");
    return status;
}

static Status case_dataset(Err *err)
{
    Graph *g = NULL;
    Dataset *d = NULL;
    Tensor inputs[1] = { 0 }, labels = { 0 };
    char hash[HASH_TEXT];
    Status status;
    TRY_OUT(load(&g, err));
    TRY_OUT(dataset_open("examples/digits/test.npz", g, &(DataOptions){ .want_labels = true }, &d, err));
    TRY_OUT(dataset_read(d, 0, 4, inputs, &labels, err));
    TRY_OUT(dataset_hash(d, hash, err));
out:
    tensor_release(&inputs[0]);
    tensor_release(&labels);
    dataset_free(d);
    graph_free(g);
    return status;
}

static Status case_session(Err *err)
{
    Graph *g = NULL;
    Dataset *d = NULL;
    Session *s = NULL;
    Tensor input = { 0 }, output = { 0 };
    Status status;
    TRY_OUT(load(&g, err));
    TRY_OUT(dataset_open("examples/digits/test.npz", g, &(DataOptions){ 0 }, &d, err));
    TRY_OUT(session_new(g, &(SessionOptions){ .plain = true, .threads = 1 }, &s, err));
    TRY_OUT(dataset_read(d, 0, 2, &input, NULL, err));
    TRY_OUT(session_run(s, &input, &output, err));
out:
    tensor_release(&input);
    tensor_release(&output);
    session_free(s);
    dataset_free(d);
    graph_free(g);
    return status;
}

static Status load_for_stats(Graph **g, Dataset **d, Err *err)
{
    TRY(load(g, err));
    TRY(engine_infer(*g, err));
    return dataset_open("examples/digits/calib.npz", *g, &(DataOptions){ 0 }, d, err);
}

static Status case_layer_stats(Err *err)
{
    Graph *g = NULL;
    Dataset *d = NULL;
    LayerStats *s = NULL;
    Status status;
    TRY_OUT(load_for_stats(&g, &d, err));
    LayerStatsOptions o = { .threads = 1, .samples = 2, .positions = 20, .values = g->outputs, .value_count = g->output_count };
    TRY_OUT(layer_stats_gather(g, d, &o, &s, err));
out:
    layer_stats_free(s);
    dataset_free(d);
    graph_free(g);
    return status;
}

static Status refit(void *user, const WalkLayer *w, Err *err)
{
    const LayerForm *f = w->form;
    Factor factor;
    size_t count = (size_t)form_weights(f);
    double *old = calloc(count, sizeof *old), *made = calloc(count, sizeof *made);
    Status status = old != NULL && made != NULL ? OK : err_no_memory(err, "the test");
    if (status == OK) layer_read_weights(user, f, old);
    if (status == OK) status = solve_factor(&factor, f->layer.name, f->width, w->square, 0.01, err);
    else factor = (Factor){ 0 };
    if (status == OK) status = solve_target(&factor, f->outputs, old, w->cross, NULL, made, err);
    if (status == OK) status = layer_write_weights(user, f, made, err);
    factor_release(&factor);
    free(old);
    free(made);
    return status;
}

static Status case_walk(Err *err)
{
    Graph *g = NULL, *copy = NULL;
    Dataset *d = NULL;
    Status status;
    TRY_OUT(load_for_stats(&g, &d, err));
    TRY_OUT(graph_clone(g, &copy, err));
    WalkOptions o = { .threads = 1, .samples = 2, .batch = 1, .positions = 20 };
    TRY_OUT(walk_layers(g, copy, d, &o, refit, copy, NULL, err));
out:
    dataset_free(d);
    graph_free(g);
    graph_free(copy);
    return status;
}

static Status run_pass(const char *name, Err *err)
{
    const Pass *pass = pass_find(name);
    Graph *g = NULL;
    Dataset *d = NULL;
    Arena *scratch = arena_new();
    PassRecord record = { 0 };
    Status status;
    void *options = calloc(1, pass->options_size);
    if (scratch == NULL || options == NULL) {
        status = err_no_memory(err, "the test");
        goto out;
    }
    TRY_OUT(load(&g, err));
    TRY_OUT(engine_infer(g, err));
    TRY_OUT(dataset_open("examples/digits/calib.npz", g, &(DataOptions){ 0 }, &d, err));
    TRY_OUT(opts_defaults(pass->options, options, scratch, err));
    PassContext c = { .graph = g, .options = options, .pass = pass, .calibration = d, .record = &record, .scratch = scratch, .threads = 1 };
    if (pass->check != NULL) TRY_OUT(pass->check(&c, err));
    TRY_OUT(pass->run(&c, err));
    if (record.failed) status = err_no_memory(err, "the record");
out:
    record_release(&record);
    dataset_free(d);
    graph_free(g);
    arena_unref(scratch);
    free(options);
    return status;
}

static Status case_fold(Err *err) { return run_pass("fold", err); }
static Status case_prune(Err *err) { return run_pass("prune", err); }

typedef struct Row {
    const char *name;
    Status (*run)(Err *err);
    long every; /* fail only each of this many, where there are very many allocations */
} Row;

static const Row rows[] = {
    { "load, infer, clone", case_load_infer_clone, 1 },
    { "save", case_save, 1 },
    { "dataset", case_dataset, 1 },
    { "session", case_session, 1 },
    { "layer statistics", case_layer_stats, 3 },
    { "walk", case_walk, 19 },
    { "fold", case_fold, 3 },
    { "prune", case_prune, 3 },
};

static void test_every_allocation_failed_once(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Err err = { 0 };
        until_failure = 0;
        assert_ok(rows[r].run(&err), &err);
        long n = 1;
        for (;; n += rows[r].every) {
            until_failure = n;
            failed_one = false;
            Status status = rows[r].run(&err);
            until_failure = 0;
            if (!failed_one) {
                assert_ok(status, &err);
                break;
            }
            if (status != OK && status != ERR_MEMORY) fail_msg("%s, allocation %ld: status %d: %s", rows[r].name, n, (int)status, err.text);
        }
        print_message("%s: %ld allocations\n", rows[r].name, n);
        if (n < 3 * rows[r].every) fail_msg("%s: only %ld allocations seen: is --wrap in force?", rows[r].name, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_allocation_failed_once) };
    return cmocka_run_group_tests_name("allocation", tests, NULL, NULL);
}
