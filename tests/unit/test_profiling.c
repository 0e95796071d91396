/* Profiles: what steps are told of, what they cost, how they stand to the peaks, and the trace. No test looks at how long anything took. */
#include "test.h"

#include "build_graph.h"
#include "greenness/counts.h"
#include "pipeline/profiling.h"

static Err err;

static const Profile machine = { .mac_f32_one = 1e9, .mac_f32_all = 4e9, .mac_int8_one = 2e9, .mac_int8_all = 8e9, .byte_l2_one = 1e10,
                                 .byte_l2_all = 4e10, .byte_dram_one = 1e9, .byte_dram_all = 2e9 };

static Profiling take_with(const char *path, int64_t batch, int threads, bool plain, Model *m)
{
    Profiling p;
    ProfilingOptions o = { .session = { .threads = threads, .plain = plain }, .batch = batch, .seconds = 1e-3, .machine = &machine,
                           .machine_path = "made up" };
    assert_ok(model_open(path, 0, m, &err), &err);
    assert_ok(profiling_run(m, path, &o, &p, &err), &err);
    return p;
}

static Profiling take(const char *path, int64_t batch, bool plain, Model *m)
{
    return take_with(path, batch, 1, plain, m);
}

static int find_row(const Profiling *p, const char *name)
{
    for (int i = 0; i < p->timing.row_count; i++)
        if (strcmp(p->names[i], name) == 0) return i;
    fail_msg("no row is named '%s'", name);
    return -1;
}

static const TimingRow *row_named(const Profiling *p, const char *name)
{
    return &p->timing.rows[find_row(p, name)];
}

/* --- what is told */

static void test_rows(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        Model m;
        Counts counts;
        Profiling p = take("tests/data/tiny.onnx", 1, plain, &m);
        const Timing *t = &p.timing;
        assert_ok(counts_of(m.graph, NULL, &counts, &err), &err);
        assert_int_equal(t->cost.macs, counts.macs_float + counts.macs_int8);
        assert_int_equal(t->macs_int8, 0);
        assert_true(t->runs >= 5 && t->threads == 1);
        double share = 0;
        int64_t macs = 0, bytes = 0;
        for (int i = 0; i < t->row_count; i++) {
            share += t->rows[i].share;
            macs += t->rows[i].cost.macs;
            bytes += t->rows[i].bytes;
            assert_true(t->rows[i].ms >= 0 && t->rows[i].parent == -1 && t->rows[i].depth == 0);
        }
        assert_near(share, 1, 1e-9);
        assert_int_equal(macs, t->cost.macs);
        assert_int_equal(bytes, t->bytes);
        const TimingRow *conv = row_named(&p, "conv"), *fc = row_named(&p, "fc");
        assert_int_equal(conv->cost.macs, 4 * 16 * 9);
        assert_int_equal(conv->bytes, 4 * (16 + 36 + 4 + 64)); /* input, weights, bias, output: with the Relu or without */
        assert_int_equal(fc->cost.macs, 3 * 64);
        assert_int_equal(conv->dtype, DT_FLOAT);
        assert_string_equal(row_named(&p, "flatten")->kernel, "view");
        assert_int_equal(row_named(&p, "flatten")->bytes, 0);
        if (plain) {
            assert_string_equal(conv->op, "Conv");
            assert_string_equal(conv->kernel, "plain");
            assert_string_equal(row_named(&p, "relu")->op, "Relu");
            assert_int_equal(t->reorders, 0);
        } else {
            assert_string_equal(conv->op, "Conv+Relu");
            assert_true(strcmp(conv->kernel, "plain") != 0);
        }
        counts_release(&counts);
        profiling_release(&p);
        model_release(&m);
    }
}

/* Rows of a subgraph: how often they ran, whose they are, and what is in them counts once. */
static void test_loop(void **state)
{
    (void)state;
    Model m;
    Profiling p = take("tests/data/loop.onnx", 8, false, &m);
    assert_int_equal(p.batch, 8);
    assert_int_equal(row_named(&p, "before")->calls, 1);
    assert_int_equal(row_named(&p, "loop / branch")->calls, 5);
    const TimingRow *early = row_named(&p, "loop / branch / early"), *late = row_named(&p, "loop / branch / late");
    assert_int_equal(early->calls, 2);
    assert_int_equal(late->calls, 3);
    assert_int_equal(late->depth, 2);
    assert_int_equal(late->cost.macs, 3 * 8 * 4 * 4);
    assert_int_equal(early->cost.elementwise, 2 * 8 * 4);
    assert_int_equal(row_named(&p, "loop")->cost.macs, 0);
    assert_int_equal(p.timing.cost.macs, (1 + 3) * 8 * 4 * 4);
    assert_int_equal(early->parent, find_row(&p, "loop / branch"));
    profiling_release(&p);
    model_release(&m);
}

/* Values named by no input keep their batch; integer layers count as such. */
static void test_integers(void **state)
{
    (void)state;
    Model m;
    Profiling p = take("tests/data/quantized.onnx", 1, false, &m);
    const TimingRow *stem = row_named(&p, "stem");
    assert_true(str_is(stem->type, "QLinearConv"));
    assert_true(stem->dtype == DT_UINT8 || stem->dtype == DT_INT8);
    assert_true(p.timing.macs_int8 > 0 && p.timing.macs_int8 < p.timing.cost.macs);
    profiling_release(&p);
    model_release(&m);
    p = take("tests/data/quantized.onnx", 1, true, &m);
    assert_int_equal(row_named(&p, "stem")->dtype, DT_FLOAT);
    profiling_release(&p);
    model_release(&m);
}

/* --- against the peaks */

typedef struct Judged {
    const char *name, *kernel;
    DType type;
    int threads;
    double ms, macs, bytes;
    Bound bound;
} Judged;

static const Judged judged[] = {
    { "half the peak of multiply-adds", "onednn", DT_FLOAT, 1, 1, 5e5, 1e5, BOUND_COMPUTE },
    { "half the peak of memory", "onednn", DT_FLOAT, 1, 1, 1e5, 5e5, BOUND_MEMORY },
    { "more than memory can: a cache", "onednn", DT_FLOAT, 1, 1, 1e5, 5e6, BOUND_MEMORY },
    { "far more than a cache can use", "onednn", DT_FLOAT, 1, 1, 6e5, 5e6, BOUND_COMPUTE },
    { "a twentieth of both", "plain", DT_FLOAT, 1, 1, 5e4, 5e4, BOUND_OVERHEAD },
    { "int8 has a higher peak", "integer", DT_UINT8, 1, 1, 1.5e5, 9e4, BOUND_OVERHEAD },
    { "the same in float32", "onednn", DT_FLOAT, 1, 1, 1.5e5, 9e4, BOUND_COMPUTE },
    { "two threads have more of it", "onednn", DT_FLOAT, 2, 1, 1.5e5, 9e4, BOUND_OVERHEAD },
    { "nothing but a call", "plain", DT_FLOAT, 1, 1, 0, 0, BOUND_OVERHEAD },
    { "a view", "view", DT_FLOAT, 1, 0, 0, 0, BOUND_NOTHING },
};

static void judged_row(void **state)
{
    const Judged *row = *state;
    TimingRow r = { .kernel = row->kernel, .dtype = row->type, .ms = row->ms, .cost.macs = (int64_t)row->macs,
                    .bytes = (int64_t)row->bytes };
    Timing t = { .threads = row->threads, .rows = &r, .row_count = 1 };
    timing_judge(&t, &machine);
    assert_string_equal(bound_name(r.bound), bound_name(row->bound));
    assert_near(t.peaks.mac_f32, row->threads * 1e9, 1);
    if (row->ms > 0) assert_near(r.macs_per_second, row->macs / row->ms * 1e3, 1e-3);
    if (row->bytes > 0) assert_near(r.intensity, row->macs / row->bytes, 1e-12);
}

/* --- what is listed */

static void test_choose(void **state)
{
    (void)state;
    Model m;
    Profiling p = take("tests/data/tiny.onnx", 2, true, &m);
    assert_ok(profiling_choose(&p, PROFILING_MACS, NULL, 0, &err), &err);
    assert_int_equal(p.chosen_count, p.timing.row_count);
    for (int i = 1; i < p.chosen_count; i++)
        assert_true(p.timing.rows[p.chosen[i - 1]].cost.macs >= p.timing.rows[p.chosen[i]].cost.macs);
    assert_string_equal(p.names[p.chosen[0]], "conv");
    assert_string_equal(p.names[p.chosen[2]], "relu"); /* as much as flatten, and before it */
    assert_ok(profiling_choose(&p, PROFILING_BYTES, NULL, 2, &err), &err);
    assert_int_equal(p.shown, 2);
    assert_int_equal(p.type_count, 4); /* of all, shown or not */
    for (int i = 1; i < p.type_count; i++) assert_true(p.types[i - 1].ms >= p.types[i].ms);
    assert_ok(profiling_choose(&p, PROFILING_ORDER, "[cr]*", 0, &err), &err);
    assert_int_equal(p.chosen_count, 2);
    assert_string_equal(p.names[p.chosen[0]], "conv");
    assert_ok(profiling_choose(&p, PROFILING_ORDER, "Gemm", 0, &err), &err);
    assert_int_equal(p.chosen_count, 1);
    assert_string_equal(p.names[p.chosen[0]], "fc");
    assert_status(profiling_choose(&p, PROFILING_ORDER, "nobody", 0, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "nobody"));
    profiling_release(&p);
    model_release(&m);
}

/* --- the trace */

static double number(const cJSON *event, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(event, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* Every event lies within the one it is part of: what Perfetto needs for a track. */
static void test_trace(void **state)
{
    (void)state;
    static const char *const paths[] = { "tests/data/tiny.onnx", "tests/data/loop.onnx" };
    for (int k = 0; k < 2; k++) {
        Model m;
        Profiling p = take(paths[k], 1, false, &m);
        StrBuf b = { 0 };
        double ends[64];
        int open = 0, complete = 0;
        assert_ok(profiling_trace(&p, &b, &err), &err);
        cJSON *json = cJSON_ParseWithOpts(b.data, NULL, false);
        assert_non_null(json);
        const cJSON *events = cJSON_GetObjectItemCaseSensitive(json, "traceEvents"), *e;
        double before = 0;
        cJSON_ArrayForEach(e, events)
        {
            const char *ph = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "ph"));
            assert_int_equal(number(e, "pid"), 1);
            assert_int_equal(number(e, "tid"), 1);
            assert_non_null(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "name")));
            if (strcmp(ph, "M") == 0) continue;
            assert_string_equal(ph, "X");
            double ts = number(e, "ts"), end = ts + number(e, "dur");
            assert_true(ts >= before && end >= ts); /* in order */
            before = ts;
            while (open > 0 && ts >= ends[open - 1] - 1e-6) open--; /* to the nanosecond */
            if (complete > 0) assert_true(open > 0 && end <= ends[open - 1] + 1e-6);
            assert_true(open < 64);
            ends[open++] = end;
            complete++;
        }
        assert_int_equal(complete, 1 + (int)p.timing.event_count);
        if (k == 1) assert_int_equal(complete, 1 + 2 + 5 * 4);
        cJSON_Delete(json);
        strbuf_release(&b);
        profiling_release(&p);
        model_release(&m);
    }
}

/* A batch in lanes: as many threads as take pieces of it, each step once for every piece, and each lane's own steps one after another. */
static void test_lanes(void **state)
{
    (void)state;
    for (int threads = 1; threads < 3; threads++) {
        Model m;
        Profiling p = take_with(zoo_path("cifar10/resnet20_bn.onnx"), 8, threads, false, &m);
        const Timing *t = &p.timing;
        StrBuf b = { 0 };
        assert_int_equal(t->threads, threads);
        assert_true(t->piece > 0 && t->piece < 8);
        int64_t pieces = (8 + t->piece - 1) / t->piece;
        for (int i = 0; i < t->row_count; i++) assert_true(t->rows[i].calls == pieces || t->rows[i].node == 0);
        double ends[2] = { 0 };
        for (size_t i = 0; i < t->event_count; i++) {
            const StepEvent *e = &t->events[i];
            assert_in_range(e->lane, 0, threads - 1);
            assert_true(e->start >= ends[e->lane] && e->end >= e->start && e->end <= t->events_seconds);
            ends[e->lane] = e->end;
        }
        assert_true(t->peaks.mac_f32 == machine.mac_f32_one); /* a step has one thread */
        assert_true(t->outside_ms >= 0);
        profiling_print(&p, &b);
        assert_non_null(strstr(b.data, threads > 1 ? "2 threads, each a lane that takes " : "1 thread, "));
        assert_non_null(strstr(b.data, " samples at a time"));
        cJSON *json = profiling_json(&p);
        assert_int_equal(number(json, "threads"), threads);
        assert_int_equal(number(json, "lanes"), threads);
        assert_int_equal(number(json, "piece"), t->piece);
        cJSON_Delete(json);
        strbuf_release(&b);
        profiling_release(&p);
        model_release(&m);
    }
}

/* --- JSON */

static void test_json(void **state)
{
    (void)state;
    Model m;
    Profiling p = take("tests/data/tiny.onnx", 4, false, &m);
    cJSON *json = profiling_json(&p);
    const cJSON *ms = cJSON_GetObjectItemCaseSensitive(json, "latency_ms");
    assert_true(number(ms, "low") <= number(ms, "median") && number(ms, "median") <= number(ms, "high"));
    assert_int_equal(number(json, "batch"), 4);
    assert_int_equal(number(json, "macs"), 4 * (4 * 16 * 9 + 3 * 64));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "layers")), p.timing.row_count);
    assert_int_equal(number(cJSON_GetObjectItemCaseSensitive(json, "reorders"), "count"), p.timing.reorders);
    cJSON_Delete(json);
    profiling_release(&p);
    model_release(&m);
}

int main(void)
{
    struct CMUnitTest tests[sizeof judged / sizeof *judged + 7];
    size_t count = 0;
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++)
        tests[count++] = (struct CMUnitTest){ judged[i].name, judged_row, NULL, NULL, (void *)(uintptr_t)&judged[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_rows);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_loop);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_integers);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_choose);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_trace);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_lanes);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_json);
    return cmocka_run_group_tests_name("profiling", tests, NULL, NULL);
}
