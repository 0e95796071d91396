/* Quantized networks of the zoo: integer kernels against the same file run operator by operator. By definition (engine/ops/integer.h) a
 * result of a group may differ by one step where the quotient lies at a half but for rounding; such steps spread through a network, so
 * what is held is how many results differ, by how much, and that hardly any answer changes. */
#include "test.h"

#include <cjson/cJSON.h>

#include "build_graph.h"
#include "data/dataset.h"
#include "graph/format.h"

extern const Pass pass_quantize;

typedef struct Row {
    const char *network, *inputs, *calibration, *evaluation; /* inputs: of the data section */
    int64_t first, samples;
    double noise; /* the largest share of the output's energy that the difference may have */
} Row;

#define MNIST "\"image\": { \"array\": \"image\", \"scale\": 0.00392156862745098, \"expand\": [1] }"
#define CIFAR "\"input\": { \"array\": \"image\", \"scale\": 0.00392156862745098, \"mean\": [0.485, 0.456, 0.406], " \
              "\"std\": [0.229, 0.224, 0.225], \"transpose\": [0, 3, 1, 2] }"

static const Row rows[] = {
    { "mnist/lenet300.onnx", MNIST, "mnist/train.npz", "mnist/test.npz", 100, 1000, 1e-5 },
    { "mnist/lenet5.onnx", MNIST, "mnist/train.npz", "mnist/test.npz", 100, 200, 1e-5 },
    { "mnist/mnist_8.onnx", "\"Input3\": { \"array\": \"image\", \"expand\": [1] }", "mnist/train.npz", "mnist/test.npz", 100, 40, 1e-5 },
    { "kws/dscnn_nhwc.onnx", "\"input\": { \"array\": \"mfcc\" }", "kws/calib.npz", "kws/dev.npz", 100, 40, 1e-4 },
    { "cifar10/resnet8_nhwc.onnx", "\"input\": { \"array\": \"image\" }", "cifar10/train20k.npz", "cifar10/dev.npz", 100, 20, 1e-3 },
    { "cifar10/resnet20_bn.onnx", CIFAR, "cifar10/train20k.npz", "cifar10/dev.npz", 100, 20, 1e-3 },
};

static Dataset *open_section(const Graph *g, const char *file, const char *inputs, int64_t first)
{
    char text[2048];
    Dataset *data;
    Err err;
    snprintf(text, sizeof text, "{ \"file\": \"%s\", \"inputs\": { %s }, \"first\": %lld }", zoo_path(file), inputs, (long long)first);
    cJSON *section = cJSON_Parse(text);
    assert_non_null(section);
    assert_ok(dataset_open_json(section, g, &(DataOptions){ 0 }, &data, &err), &err);
    cJSON_Delete(section);
    return data;
}

static Graph *quantized(const Row *r)
{
    Graph *g;
    Err err;
    PassRecord record = { 0 };
    assert_ok(model_load(zoo_path(r->network), &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    Arena *arena = arena_new();
    void *options = calloc(1, pass_quantize.options_size);
    assert_true(arena != NULL && options != NULL);
    assert_ok(opts_defaults(pass_quantize.options, options, arena, &err), &err);
    Dataset *data = open_section(g, r->calibration, r->inputs, r->first);
    PassContext c = { .graph = g, .options = options, .pass = &pass_quantize, .calibration = data, .record = &record,
                      .scratch = arena, .threads = 1 };
    assert_ok(pass_quantize.run(&c, &err), &err);
    dataset_free(data);
    record_release(&record);
    free(options);
    arena_unref(arena);
    return g;
}

/* All results of the first output, sample by sample. */
static Tensor *answers(const Graph *g, Dataset *data, SessionOptions options)
{
    Session *s;
    Err err;
    int64_t count = dataset_samples(data);
    Tensor *out = calloc((size_t)count, sizeof *out);
    assert_non_null(out);
    options.threads = 1;
    assert_ok(session_new(g, &options, &s, &err), &err);
    for (int64_t i = 0; i < count; i++) {
        Tensor in;
        assert_ok(dataset_read(data, i, 1, &in, NULL, &err), &err);
        assert_ok(session_run(s, &in, &out[i], &err), &err);
        tensor_release(&in);
    }
    session_free(s);
    return out;
}

static int64_t best(const Tensor *t)
{
    int64_t at = 0;
    for (int64_t i = 1; i < tensor_count(t); i++)
        if (tensor_get(t, i) > tensor_get(t, at)) at = i;
    return at;
}

static void compare(const Row *r, const char *what, const Tensor *got, const Tensor *want, int64_t count)
{
    int64_t differ = 0, total = 0, changed = 0;
    double noise = 0, energy = 0;
    for (int64_t k = 0; k < count; k++) {
        changed += best(&got[k]) != best(&want[k]);
        total += tensor_count(&want[k]);
        for (int64_t e = 0; e < tensor_count(&want[k]); e++) {
            double a = tensor_get(&got[k], e), b = tensor_get(&want[k], e);
            differ += fabs(a - b) > 1e-5 * fabs(b) + 1e-6;
            noise += (a - b) * (a - b);
            energy += b * b;
        }
    }
    print_message("%s, %s: %lld of %lld results differ, %lld of %lld answers, %.1f dB\n", r->network, what, (long long)differ,
                  (long long)total, (long long)changed, (long long)count, 10 * log10(energy / fmax(noise, 1e-300)));
    if (!(noise <= r->noise * energy)) fail_msg("%s, %s: the difference has %g of the energy", r->network, what, noise / energy);
    /* float32 now and then differs by a step: an answer that two classes are near to may change */
    int64_t of = strcmp(what, "integers") == 0 ? 1000 : 20;
    if (changed * of > count) fail_msg("%s, %s: %lld of %lld answers changed", r->network, what, (long long)changed, (long long)count);
}

static void release(Tensor *answers, int64_t count)
{
    for (int64_t k = 0; k < count; k++) tensor_release(&answers[k]);
    free(answers);
}

static const struct {
    const char *name;
    Int8Use int8;
} uses[] = { { "integers", INT8_ALWAYS }, { "the faster", INT8_AUTO }, { "float32", INT8_NEVER } };

/* Integers, float32 in their place, and whichever is faster, each against the same file run operator by operator. */
static void networks_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Graph *g = quantized(r);
        Dataset *data = open_section(g, r->evaluation, r->inputs, r->samples);
        int64_t count = dataset_samples(data);
        Tensor *want = answers(g, data, (SessionOptions){ .plain = true });
        for (size_t k = 0; k < sizeof uses / sizeof *uses; k++) {
            Tensor *got = answers(g, data, (SessionOptions){ .int8 = uses[k].int8 });
            compare(r, uses[k].name, got, want, count);
            release(got, count);
        }
        release(want, count);
        dataset_free(data);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(networks_agree) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
