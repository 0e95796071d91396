#include "test.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/rng.h"

static void test_messages_escape_control_characters(void **state)
{
    (void)state;
    Err err = { 0 };
    assert_int_equal(err_set(&err, ERR_DATA, "tensor '%s'", "a\033[31m\nb"), ERR_DATA);
    assert_string_equal(err.text, "tensor 'a?[31m?b'");
    err_prefix(&err, "%s", "file.onnx");
    assert_string_equal(err.text, "file.onnx: tensor 'a?[31m?b'");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void test_patterns(void **state)
{
    (void)state;
    const struct { const char *name, *pattern; bool match; } rows[] = {
        { "features/conv1", "features*", true },   { "a/b/c", "*c", true },  { "conv10", "conv?", false },
        { "conv1", "conv[0-9]", true },            { "conv1", "CONV1", false }, { "", "*", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(str_match(str_of(rows[i].name), rows[i].pattern), rows[i].match);
    assert_false(str_match((Str){ "a\0b", 3 }, "*"));
    assert_int_equal(str_distance("sparsity", "sparcity"), 1);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    assert_int_equal(str_unlike("prune", "prune"), 0);
    assert_int_equal(str_unlike("prune", "prun"), 1);
    assert_int_equal(str_unlike("run", "prun"), 2);
    assert_true(str_unlike("max-accuracy-drop", "max-acc") < str_unlike("max-macs", "max-acc"));
    assert_int_equal(str_unlike("f1.weight", "F1.Weight"), 0);
    assert_true(str_resembles("eval", "evall"));
    assert_false(str_resembles("infer", "mnist/lenet300.onnx"));
}

static void count_release(void *object)
{
    ++*(int *)object;
}

static void test_arena_frees_once_and_runs_deferred(void **state)
{
    (void)state;
    int released = 0;
    Arena *a = arena_new();
    assert_non_null(a);
    for (size_t size = 0; size < 5000; size += 7) {
        uint8_t *p = arena_alloc(a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    assert_null(arena_array(a, SIZE_MAX / 2, 4));
    assert_true(arena_defer(a, count_release, &released));
    assert_string_equal(arena_str(a, (Str){ "abcdef", 3 }).data, "abc");
    arena_ref(a);
    arena_unref(a);
    assert_int_equal(released, 0);
    arena_unref(a);
    assert_int_equal(released, 1);
}

static void test_varints(void **state)
{
    (void)state;
    const struct { uint8_t bytes[11]; size_t size; bool fine; uint64_t value; } rows[] = {
        { { 0x00 }, 1, true, 0 },
        { { 0x96, 0x01 }, 2, true, 150 },
        { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 }, 10, true, UINT64_MAX },
        { { 0x80 }, 1, false, 0 },
        { { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01 }, 11, false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Cursor c = { rows[i].bytes, rows[i].bytes + rows[i].size };
        uint64_t value = 0;
        assert_int_equal(cursor_varint(&c, &value), rows[i].fine);
        if (rows[i].fine) {
            assert_true(value == rows[i].value);
            assert_int_equal(cursor_left(&c), 0);
        } else {
            assert_ptr_equal(c.at, rows[i].bytes);
        }
    }
}

static void test_cursor_is_bounded(void **state)
{
    (void)state;
    const uint8_t bytes[] = { 1, 2, 3, 4, 5 };
    Cursor c = { bytes, bytes + 5 }, sub;
    uint32_t u;
    uint16_t h;
    uint64_t q;
    assert_true(cursor_u32(&c, &u));
    assert_int_equal(u, 0x04030201);
    assert_false(cursor_u16(&c, &h));
    assert_false(cursor_u64(&c, &q));
    assert_false(cursor_skip(&c, UINT64_MAX));
    assert_false(cursor_take(&c, 2, &sub));
    assert_true(cursor_take(&c, 1, &sub));
    assert_int_equal(*sub.at, 5);
}

/* Every half converts to a float and back to itself; between neighbours, ties go to the even one. */
static void test_half_is_exhaustively_right(void **state)
{
    (void)state;
    const struct { float f; uint16_t h; } rows[] = {
        { 1.0f, 0x3c00 }, { -2.0f, 0xc000 }, { 65504.0f, 0x7bff }, { 65519.996f, 0x7bff }, { 65520.0f, 0x7c00 }, { 0x1p-24f, 0x0001 },
        { 0x1p-25f, 0x0000 }, { 0x1.000002p-25f, 0x0001 }, { 0x1p-14f, 0x0400 }, { INFINITY, 0x7c00 },
        { -INFINITY, 0xfc00 }, { -0.0f, 0x8000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_int_equal(float_to_half(rows[i].f), rows[i].h);
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = half_to_float((uint16_t)h);
        assert_int_equal(float_to_half(low), h);
        assert_int_equal(float_to_half(-low), h | 0x8000);
        if (h + 1 == 0x7c00) break;
        float high = half_to_float((uint16_t)(h + 1)), middle = (low + high) / 2;
        assert_true(high > low);
        assert_int_equal(float_to_half(middle), h + (h & 1));
        assert_int_equal(float_to_half(nextafterf(middle, 0)), h);
        assert_int_equal(float_to_half(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_true(isnan(half_to_float(0x7e00)) && isnan(half_to_float(float_to_half(NAN))));
}

static void test_bfloat16_rounds_to_nearest_even(void **state)
{
    (void)state;
    const struct { float f; uint16_t h; } rows[] = {
        { 1.0f, 0x3f80 }, { 0x1.01p0f, 0x3f80 }, { 0x1.03p0f, 0x3f82 }, { 0x1.010002p0f, 0x3f81 }, { -0.0f, 0x8000 }, { INFINITY, 0x7f80 },
        { 0x1.fffffep127f, 0x7f80 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_int_equal(float_to_bfloat16(rows[i].f), rows[i].h);
    assert_true(isnan(bfloat16_to_float(float_to_bfloat16(NAN))));
}

static void test_random_numbers_are_seeded_and_fair(void **state)
{
    (void)state;
    Rng a, b;
    rng_init(&a, 1);
    rng_init(&b, 1);
    for (int i = 0; i < 100; i++) assert_true(rng_u64(&a) == rng_u64(&b));
    rng_init(&b, 2);
    assert_true(rng_u64(&a) != rng_u64(&b));
    double sum = 0, squares = 0;
    int buckets[6] = { 0 };
    enum { N = 60000 };
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&a);
        sum += x;
        squares += x * x;
        buckets[rng_below(&a, 6)]++;
    }
    assert_near(sum / N, 0, 0.02);
    assert_near(squares / N, 1, 0.03);
    for (int i = 0; i < 6; i++) assert_near(buckets[i], N / 6.0, 400);
}

/* FIPS 180-4 examples. */
static void test_sha256(void **state)
{
    (void)state;
    char text[HASH_TEXT];
    hash_bytes("abc", 3, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    Hash *h = hash_new();
    hash_add(h, "a", 1);
    hash_add(h, "bc", 2);
    hash_finish(h, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    Err err;
    assert_status(hash_file("/nonexistent/file", text, &err), ERR_IO, &err);
}

typedef struct Sample {
    bool fold;
    int64_t batch;
    double sparsity;
    const char *name;
    int scope;
    StrList list;
} Sample;

static const Opt sample_options[] = {
    { "fold", OPT_FLAG, offsetof(Sample, fold), "true", .help = "fold first" },
    { "batch", OPT_INT, offsetof(Sample, batch), "32", 1, 1024, .help = "samples a call", .unit = "samples" },
    { "sparsity", OPT_FLOAT, offsetof(Sample, sparsity), "0.5", 0, 1, .help = "share of weights set to zero", .per_layer = true },
    { "name", OPT_STRING, offsetof(Sample, name), NULL, .help = "a name" },
    { "scope", OPT_CHOICE, offsetof(Sample, scope), "layer", .choices = "global|layer", .help = "one threshold or one a layer" },
    { "list", OPT_LIST, offsetof(Sample, list), NULL, .help = "names" },
    OPT_END,
};

static void test_option_tables(void **state)
{
    (void)state;
    Err err;
    Arena *arena = arena_new();
    Sample s = { 0 };
    assert_ok(opts_defaults(sample_options, &s, arena, &err), &err);
    assert_true(s.fold && s.batch == 32 && s.sparsity == 0.5 && s.scope == 1 && s.name == NULL);
    assert_ok(opts_set(sample_options, &s, "list", "a,b,c", "prune", arena, &err), &err);
    assert_int_equal(s.list.count, 3);
    assert_string_equal(s.list.items[2], "c");
    const struct { const char *name, *text, *message; } rows[] = {
        { "sparcity", "0.5", "prune: unknown option 'sparcity'; did you mean 'sparsity'?" },
        { "sparsity", "1.5", "prune: sparsity is 1.5, expected 0 to 1" },
        { "sparsity", "half", "prune: sparsity is 'half', expected a number" },
        { "sparsity", "nan", "prune: sparsity is 'nan', expected a number" },
        { "batch", "2.5", "prune: batch is '2.5', expected an integer" },
        { "batch", "0", "prune: batch is 0, expected 1 to 1024" },
        { "scope", "all", "prune: scope is 'all', expected one of global|layer" },
        { "scope", "lay", "prune: scope is 'lay', expected one of global|layer" },
        { "fold", "perhaps", "prune: fold is 'perhaps', expected true or false" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_status(opts_set(sample_options, &s, rows[i].name, rows[i].text, "prune", arena, &err), ERR_USAGE, &err);
        assert_string_equal(err.text, rows[i].message);
    }
    for (const Opt *o = sample_options; o->name != NULL; o++) { /* what is printed reads back as the same */
        StrBuf before = { 0 }, after = { 0 };
        opts_print(o, &s, &before);
        assert_ok(opts_set(sample_options, &s, o->name, before.data != NULL ? before.data : "", "prune", arena, &err), &err);
        opts_print(o, &s, &after);
        if (before.data != NULL) assert_string_equal(before.data, after.data);
        strbuf_release(&before);
        strbuf_release(&after);
    }
    StrBuf help = { 0 };
    opts_help(sample_options, &help);
    assert_non_null(strstr(help.data, "--sparsity=X"));
    assert_non_null(strstr(help.data, "share of weights set to zero (0 to 1; default 0.5)"));
    strbuf_release(&help);
    arena_unref(arena);
}

static void test_progress_stops_when_interrupted(void **state)
{
    (void)state;
    volatile int interrupted = 0;
    Log log;
    log_init(&log, NULL, false);
    log.interrupted = &interrupted;
    progress_begin(&log, "sweep", 10);
    assert_true(progress_step(&log, 1));
    interrupted = 1;
    assert_false(progress_step(&log, 2));
    progress_end(&log);
    assert_true(progress_step(NULL, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_escape_control_characters),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_arena_frees_once_and_runs_deferred),
        cmocka_unit_test(test_varints),
        cmocka_unit_test(test_cursor_is_bounded),
        cmocka_unit_test(test_half_is_exhaustively_right),
        cmocka_unit_test(test_bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(test_random_numbers_are_seeded_and_fair),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_option_tables),
        cmocka_unit_test(test_progress_stops_when_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
