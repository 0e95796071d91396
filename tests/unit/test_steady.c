/* Runs after the first allocate nothing of ours where all shapes are known: activations lie in the arena, results in memory that the caller
 * has released. Counted by the linker's --wrap (see the Makefile); what oneDNN allocates by itself is not in our hands. */
#include "test.h"

#include "build_graph.h"
#include "graph/format.h"

static long allocations;

#define WRAP(name, parameters, arguments) \
    void *__real_##name parameters; \
    void *__wrap_##name parameters; \
    void *__wrap_##name parameters \
    { \
        __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED); \
        return __real_##name arguments; \
    }

WRAP(malloc, (size_t n), (n))
WRAP(calloc, (size_t n, size_t size), (n, size))
WRAP(realloc, (void *p, size_t n), (p, n))
WRAP(aligned_alloc, (size_t align, size_t n), (align, n))

char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

char *__wrap_strdup(const char *s)
{
    allocations++;
    return __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    allocations++;
    return __real_strndup(s, n);
}

typedef struct Row {
    const char *name;
    int64_t batch;
} Row;

static const Row rows[] = {
    { "examples/digits/digits.onnx", 1 }, { "examples/digits/digits.onnx", 32 }, { "mnist/mnist_8.onnx", 1 },
    { "mnist/lenet5.onnx", 1 },           { "mnist/lenet5.onnx", 32 },           { "mnist/lenet300.onnx", 1 },
    { "kws/dscnn_nhwc.onnx", 1 },         { "cifar10/resnet20_bn.onnx", 1 },     { "cifar10/resnet20_bn.onnx", 9 },
    { "cifar10/resnet8_nhwc.onnx", 7 },   { "imagenet/mobilenet_v2.onnx", 1 },   { "charlm/shakespeare_lstm.onnx", 1 },
    { "detect/yunet_n_320.onnx", 1 },
};

static Graph *load(const char *name)
{
    Err err;
    Graph *g;
    const char *path = strncmp(name, "examples", 8) == 0 ? name : zoo_path(name);
    assert_ok(model_load(path, &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    return g;
}

static int make_inputs(const Graph *g, int64_t batch, Tensor *inputs)
{
    ValueId feeds[8];
    Err err;
    int count = graph_feeds(g, feeds, 8);
    assert_true(count <= 8);
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        Shape shape = v->shape;
        for (int k = 0; k < shape.rank; k++)
            if (shape.dims[k] < 0) shape.dims[k] = batch;
        assert_ok(tensor_new(&inputs[i], v->type, &shape, &err), &err);
        for (int64_t k = 0; dtype_is_float(v->type) && k < tensor_count(&inputs[i]); k++)
            tensor_set(&inputs[i], k, build_noise(77 + (uint64_t)i, k));
    }
    return count;
}

static void runs_allocate_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i / 2];
        int threads = i % 2 == 0 ? 1 : 2;
        Err err;
        Session *s;
        Graph *g = load(r->name);
        Tensor inputs[8] = { 0 }, outputs[16] = { 0 };
        int feeds = make_inputs(g, r->batch, inputs);
        assert_true(g->output_count <= 16);
        assert_ok(session_new(g, &(SessionOptions){ .threads = threads }, &s, &err), &err);
        for (int run = 0; run < 4; run++) {
            long before = allocations;
            assert_ok(session_run(s, inputs, outputs, &err), &err);
            if (run > 0 && allocations != before)
                fail_msg("%s, batch %lld, %d threads: %ld allocations in run %d", r->name, (long long)r->batch, threads,
                         allocations - before, run + 1);
            for (int k = 0; k < g->output_count; k++) tensor_release(&outputs[k]);
        }
        session_free(s);
        for (int k = 0; k < feeds; k++) tensor_release(&inputs[k]);
        graph_free(g);
    }
}

/* Results that somebody still holds stay what they are, also beyond the session's end; those released are used again. */
static void results_are_the_callers(void **state)
{
    (void)state;
    Err err;
    Session *s;
    Graph *g = load("examples/digits/digits.onnx");
    Tensor one[8] = { 0 }, two[8] = { 0 }, a[16] = { 0 }, b[16] = { 0 }, c[16] = { 0 }, want = { 0 };
    make_inputs(g, 3, one);
    make_inputs(g, 3, two);
    memset(two[0].data, 0, two[0].bytes);
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
    assert_ok(session_run(s, one, a, &err), &err);
    assert_ok(tensor_clone(&a[0], &want, &err), &err);
    assert_ok(session_run(s, two, b, &err), &err);
    assert_true(a[0].data != b[0].data);
    assert_memory_equal(a[0].data, want.data, want.bytes);
    assert_memory_not_equal(b[0].data, want.data, want.bytes);
    const uint8_t *place = b[0].data;
    tensor_release(&b[0]);
    assert_ok(session_run(s, one, c, &err), &err);
    assert_ptr_equal(c[0].data, place);
    session_free(s);
    assert_memory_equal(a[0].data, want.data, want.bytes);
    assert_memory_equal(c[0].data, want.data, want.bytes);
    tensor_release(&a[0]);
    tensor_release(&c[0]);
    tensor_release(&want);
    tensor_release(&one[0]);
    tensor_release(&two[0]);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_allocate_nothing),
        cmocka_unit_test(results_are_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
