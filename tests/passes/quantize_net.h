/* Small networks to quantize, and the pass run on them as the runner would run it. */
#ifndef PARE_TESTS_QUANTIZE_NET_H
#define PARE_TESTS_QUANTIZE_NET_H

#include "build_graph.h"
#include "data/dataset.h"

extern const Pass pass_quantize;

static inline int64_t batch_of(Graph *g) { return graph_symbol(g, STR("N")); }

static inline ValueId conv(Graph *g, const char *name, ValueId x, uint64_t seed, int64_t out, int64_t in, int64_t group, bool bias)
{
    Err err;
    ValueId w = build_weight(g, "w", seed, DIMS(out, in, 3, 3));
    ValueId b = bias ? build_weight(g, "b", seed + 1, DIMS(out)) : 0;
    ValueId y = bias ? build_node(g, "Conv", name, x, w, b, -1) : build_node(g, "Conv", name, x, w, -1);
    assert_ok(graph_set_ints(g, build_maker(g, y), "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    assert_ok(graph_set_int(g, build_maker(g, y), "group", group, &err), &err);
    return y;
}

static inline ValueId head(Graph *g, ValueId x, int64_t channels)
{
    ValueId flat = build_node(g, "Flatten", "flat", build_node(g, "GlobalAveragePool", "mean", x, -1), -1);
    return build_node(g, "Gemm", "fc", flat, build_weight(g, "fw", 40, DIMS(channels, 5)), build_weight(g, "fb", 41, DIMS(5)), -1);
}

static inline Graph *residual(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 8, 8));
    ValueId stem = build_node(g, "Relu", "stem_r", conv(g, "stem", x, 10, 8, 3, 1, true), -1);
    ValueId a = build_node(g, "Relu", "a_r", conv(g, "a", stem, 12, 8, 8, 1, true), -1);
    ValueId sum = build_node(g, "Relu", "sum_r", build_node(g, "Add", "sum", conv(g, "b", a, 14, 8, 8, 1, false), stem, -1), -1);
    build_output(g, head(g, conv(g, "c", sum, 16, 8, 8, 1, true), 8));
    return g;
}

static inline Graph *depthwise_with_clip(void)
{
    Graph *g = build_new(10);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 8, 8, 8));
    ValueId d = build_node(g, "Clip", "clip", conv(g, "dw", x, 10, 8, 1, 8, true), -1);
    assert_ok(graph_set_float(g, build_maker(g, d), "min", 0.0f, &err), &err);
    assert_ok(graph_set_float(g, build_maker(g, d), "max", 1.5f, &err), &err);
    ValueId p = build_node(g, "MaxPool", "pool", d, -1);
    assert_ok(graph_set_ints(g, build_maker(g, p), "kernel_shape", (int64_t[]){ 2, 2 }, 2, &err), &err);
    assert_ok(graph_set_ints(g, build_maker(g, p), "strides", (int64_t[]){ 2, 2 }, 2, &err), &err);
    build_output(g, head(g, conv(g, "pw", p, 12, 6, 8, 1, true), 6));
    return g;
}

static inline Graph *tied_perceptron(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 12)), w = build_weight(g, "w", 10, DIMS(12, 12));
    ValueId a = build_node(g, "Relu", "a_r", build_node(g, "Gemm", "a", x, w, build_weight(g, "b", 11, DIMS(12)), -1), -1);
    ValueId b = build_node(g, "Relu", "b_r", build_node(g, "MatMul", "b_mm", a, w, -1), -1);
    build_output(g, build_node(g, "Gemm", "c", b, w, -1));
    return g;
}

/* One run of the pass. */
typedef struct QuantizeCall {
    const char *const *options; /* "name=value", NULL at the end */
    const LayerRule *rules;
    int rule_count;
    const char *table;    /* contents of the file that the option table names */
    StrBuf *saved;
    PassRecord *record;   /* NULL: not looked at */
    int threads;          /* 0: 1 */
    int64_t samples;      /* 0: 64 */
    bool no_data;
} QuantizeCall;

/* Check, then run, calibrated on seeded noise. */
static inline Status quantize_call(Graph *g, const QuantizeCall *call, Err *err)
{
    Arena *arena = arena_new();
    void *values = calloc(1, pass_quantize.options_size);
    const char *const *options = call->options;
    Shape shapes[16];
    ValueId feeds[16];
    Dataset *data = NULL;
    PassRecord own = { 0 };
    assert_true(arena != NULL && values != NULL);
    assert_ok(opts_defaults(pass_quantize.options, values, arena, err), err);
    for (; options != NULL && *options != NULL; options++) {
        char name[64];
        const char *equals = strchr(*options, '=');
        snprintf(name, sizeof name, "%.*s", (int)(equals - *options), *options);
        assert_ok(opts_set(pass_quantize.options, values, name, equals + 1, "quantize", arena, err), err);
    }
    int count = graph_feeds(g, feeds, 16);
    assert_true(count <= 16);
    for (int i = 0; i < count; i++) {
        shapes[i] = graph_value(g, feeds[i])->shape;
        for (int k = 0; k < shapes[i].rank; k++)
            if (shapes[i].dims[k] < 0) shapes[i].dims[k] = 1;
    }
    if (!call->no_data) assert_ok(dataset_random(g, shapes, call->samples > 0 ? call->samples : 64, 7, &data, err), err);
    PassContext c = { .graph = g, .options = values, .pass = &pass_quantize, .rules = call->rules, .rule_count = call->rule_count,
                      .calibration = data, .record = call->record != NULL ? call->record : &own, .scratch = arena,
                      .threads = call->threads > 0 ? call->threads : 1, .saved = call->saved };
    if (call->table != NULL) {
        c.text = (Str){ call->table, strlen(call->table) };
        c.text_path = "the.table";
    }
    Status status = pass_quantize.check(&c, err);
    if (status == OK) status = pass_quantize.run(&c, err);
    record_release(&own);
    dataset_free(data);
    free(values);
    arena_unref(arena);
    return status;
}

static inline Status quantize(Graph *g, const char *const *options, const LayerRule *rules, int rule_count, PassRecord *record, Err *err)
{
    return quantize_call(g, &(QuantizeCall){ .options = options, .rules = rules, .rule_count = rule_count, .record = record }, err);
}

static inline double sqnr(const Tensor *a, const Tensor *b)
{
    double signal = 0.0, noise = 1e-30;
    for (int64_t i = 0; i < tensor_count(a); i++) {
        double x = tensor_get(a, i), d = x - tensor_get(b, i);
        signal += x * x;
        noise += d * d;
    }
    return 10.0 * log10(signal / noise);
}

static inline int entries(const PassRecord *r, RecordKind kind)
{
    int count = 0;
    for (size_t i = 0; i < r->count; i++) count += r->entries[i].kind == kind;
    return count;
}

static inline uint64_t fingerprint(const Graph *g)
{
    uint64_t h = 14695981039346656037u;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        for (size_t i = 0; i < value->name.len; i++) h = (h ^ (uint8_t)value->name.data[i]) * 1099511628211u;
        for (size_t i = 0; value->tensor != NULL && i < value->tensor->bytes; i++) h = (h ^ value->tensor->data[i]) * 1099511628211u;
    }
    return h;
}

/* What became of a layer: the last entry, repairs are listed before. */
static inline const RecordEntry *listed_layer(const PassRecord *r, const char *object)
{
    const RecordEntry *found = NULL;
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entries[i].object, object) == 0 && r->entries[i].kind != RECORD_NOTE) found = &r->entries[i];
    return found;
}

#define LIST(...) (const char *const[]){ __VA_ARGS__, NULL }

/* Every kind of output; laws and bad input are looked at in each. */
static const char *const *const quantize_modes[] = { LIST("mode=static"), LIST("mode=static", "format=qoperator"), LIST("mode=dynamic"),
                                                     LIST("mode=weights", "bits=4", "block=32"), LIST("mode=weights", "bits=2") };

#endif
