/* Any bytes as a network that is run, with the fast kernels and with the plain ones: ends with results or a message, within the memory and
 * the work it was given.
 *
 *   clang -fsanitize=fuzzer,address,undefined ...: a libFuzzer target
 *   -DFUZZ_REPLAY: a program that runs the files and folders given as arguments, for `make check` */
#include "base/rng.h"
#include "engine/engine.h"
#include "graph/format.h"
#include "graph/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_MEM (8 << 20)
#define MAX_WORK 50000000
#define MOST_INPUTS 16
#define MOST_ELEMENTS 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bug(const char *what, Status status, const Err *err)
{
    fprintf(stderr, "fuzz_engine: %s: status %d: %s\n", what, (int)status, err->text);
    abort();
}

/* An error names what is wrong, and is none of ours. */
static bool done(Status status, const Err *err, const char *what)
{
    if (status != OK && (err->text[0] == '\0' || status == ERR_BUG)) bug(what, status, err);
    return status == OK;
}

static bool load(const uint8_t *data, size_t size, Graph **out)
{
    Err err = { 0 };
    Mapping *m = NULL;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size)) abort();
    if (mapping_open_fd(fd, "fuzz.onnx", 0, &m, &err) != OK) bug("mapping", err.code, &err);
    LoadOptions options = { .max_mem = MAX_MEM, .folder = "/nonexistent" };
    bool loaded = done(model_load_mapping(m, "fuzz.onnx", &options, out, &err), &err, "loading");
    mapping_unref(m);
    if (!loaded) return false;
    engine_bind(*out);
    return done(graph_verify(*out, &err), &err, "verify") && done(engine_infer(*out, &err), &err, "infer");
}

static void fill(Tensor *t, Rng *rng)
{
    int64_t count = tensor_count(t);
    for (int64_t i = 0; i < count; i++) tensor_set(t, i, (double)(int64_t)rng_below(rng, 9) - (t->type == DT_BOOL ? 4 : 3));
}

/* Inputs of the declared type and shape; where a dimension is open, one to three. The count, or -1 where none can be made. */
static int make_inputs(const Graph *g, Rng *rng, int size, Tensor *inputs)
{
    ValueId feeds[MOST_INPUTS];
    Err err;
    int count = graph_feeds(g, feeds, MOST_INPUTS);
    if (count > MOST_INPUTS) return -1;
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        Shape shape = v->shape;
        int64_t elements;
        if (shape.rank < 0) shape = (Shape){ .rank = 2, .dims = { size, 2 } };
        for (int d = 0; d < shape.rank; d++)
            if (shape.dims[d] < 0) shape.dims[d] = size;
        DType type = v->type == DT_NONE ? DT_FLOAT : v->type;
        if (type == DT_STRING || !shape_count(&shape, &elements) || elements > MOST_ELEMENTS) return -1;
        if (tensor_new(&inputs[i], type, &shape, &err) != OK) return -1;
        fill(&inputs[i], rng);
    }
    return count;
}

static void run(const Graph *g, bool plain, uint64_t seed)
{
    Err err = { 0 };
    Session *s = NULL;
    SessionOptions options = { .threads = 1, .plain = plain, .max_mem = MAX_MEM, .max_work = MAX_WORK };
    if (!done(session_new(g, &options, &s, &err), &err, "making ready")) return;
    const Graph *own = session_graph(s);
    Tensor *outputs = calloc((size_t)own->output_count + 1, sizeof *outputs);
    if (outputs == NULL) abort();
    for (int size = 1; size <= 3; size += 2) {
        Tensor inputs[MOST_INPUTS] = { { 0 } };
        Rng rng;
        rng_init(&rng, seed);
        if (make_inputs(own, &rng, size, inputs) >= 0) {
            done(session_run(s, inputs, outputs, &err), &err, "running");
            for (int i = 0; i < own->output_count; i++) tensor_release(&outputs[i]);
        }
        for (int i = 0; i < MOST_INPUTS; i++) tensor_release(&inputs[i]);
    }
    free(outputs);
    session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Graph *g = NULL;
    if (load(data, size, &g)) {
        run(g, false, size);
        run(g, true, size);
    }
    graph_free(g);
    return 0;
}

#ifdef FUZZ_REPLAY
#include "tests/fuzz/replay.h"

int main(int argc, char **argv)
{
    return replay_main(argc, argv, "fuzz_engine", LLVMFuzzerTestOneInput);
}
#endif
