#include "test.h"

#include "pipeline/goals.h"

static void sizes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double expected; /* NaN: refused */
    } rows[] = {
        { "0", 0 }, { "1500", 1500 }, { "1.5k", 1500 }, { "120K", 120000 }, { "2M", 2e6 }, { "3G", 3e9 }, { "2Ki", 2048 },
        { "1Mi", 1048576 }, { "4Gi", 4294967296.0 }, { "32%", 320 }, { "100%", 1000 }, { ".5k", 500 }, { "1e3", 1000 },
        { "", NAN }, { "k", NAN }, { "-1", NAN }, { "nan", NAN }, { "inf", NAN }, { "1 k", NAN }, { "1kk", NAN }, { "0x10", NAN },
        { "5%%", NAN }, { "1e300", NAN }, { " 5", NAN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double whole = 1000, got = -1;
        bool ok = size_parse(rows[i].text, &whole, &got);
        if (ok != !isnan(rows[i].expected) || (ok && got != rows[i].expected)) {
            fail_msg("'%s': %s %g, expected %g", rows[i].text, ok ? "read as" : "refused,", got, rows[i].expected);
        }
    }
    double got;
    assert_false(size_parse("32%", NULL, &got)); /* of what? */
}

#define NUMBERS(b, m, a, t, e) { .bytes = b, .macs = m, .accuracy = a, .latency_ms = t, .energy_j = e }

static void goals_are_judged(void **state)
{
    (void)state;
    static const GoalNumbers before = { .bytes = 1000, .macs = 500, .accuracy = 0.92, .latency_ms = 10, .energy_j = 2 };
    static const struct {
        const char *what, *name, *text;
        GoalNumbers after;
        bool met;
        double found;
    } rows[] = {
        { "drop within", "max-accuracy-drop", "1", NUMBERS(0, 0, 0.911, 0, 0), true, 0.9 },
        { "drop of exactly the limit", "max-accuracy-drop", "1", NUMBERS(0, 0, 0.91, 0, 0), true, 1 },
        { "drop beyond", "max-accuracy-drop", "1", NUMBERS(0, 0, 0.909, 0, 0), false, 1.1 },
        { "gain", "max-accuracy-drop", "0", NUMBERS(0, 0, 0.93, 0, 0), true, -1 },
        { "no accuracy", "max-accuracy-drop", "1", NUMBERS(0, 0, NAN, 0, 0), false, NAN },
        { "size in bytes", "max-size", "300", NUMBERS(300, 0, 0, 0, 0), true, 300 },
        { "size one over", "max-size", "300", NUMBERS(301, 0, 0, 0, 0), false, 301 },
        { "size as a share", "max-size", "30%", NUMBERS(299, 0, 0, 0, 0), true, 299 },
        { "size as a share, over", "max-size", "30%", NUMBERS(310, 0, 0, 0, 0), false, 310 },
        { "macs", "max-macs", "0.2k", NUMBERS(0, 200, 0, 0, 0), true, 200 },
        { "latency", "max-latency-ratio", "0.5", NUMBERS(0, 0, 0, 5, 0), true, 0.5 },
        { "latency, slower", "max-latency-ratio", "0.5", NUMBERS(0, 0, 0, 6, 0), false, 0.6 },
        { "energy", "max-energy-ratio", "0.5", NUMBERS(0, 0, 0, 0, 0.5), true, 0.25 },
        { "energy, not measured", "max-energy-ratio", "0.5", NUMBERS(0, 0, 0, 0, NAN), false, NAN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Goals g;
        GoalResult results[GOAL_COUNT];
        Arena *arena = arena_new();
        goals_init(&g);
        assert_false(goals_any(&g));
        assert_ok(goals_set(&g, rows[i].name, rows[i].text, arena, &err), &err);
        assert_true(goals_any(&g));
        assert_int_equal(goals_judge(&g, &before, &rows[i].after, results), 1);
        assert_string_equal(results[0].name, rows[i].name);
        if (results[0].met != rows[i].met) fail_msg("%s: %s", rows[i].what, results[0].met ? "met" : "missed");
        if (!isnan(rows[i].found)) assert_near(results[0].found, rows[i].found, 1e-9);
        else assert_true(isnan(results[0].found));
        arena_unref(arena);
    }
}

static void bad_goals_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } rows[] = { { "max-accuracy-drop", "-1" }, { "max-accuracy-drop", "lots" }, { "max-accuracy-drop", "101" }, { "max-size", "small" },
                 { "max-size", "" }, { "max-macs", "-5" }, { "max-latency-ratio", "fast" }, { "max-weight", "1" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Goals g;
        Arena *arena = arena_new();
        goals_init(&g);
        assert_status(goals_set(&g, rows[i].name, rows[i].text, arena, &err), ERR_USAGE, &err);
        assert_non_null(strstr(err.text, rows[i].name));
        arena_unref(arena);
    }
}

static void all_goals_in_order(void **state)
{
    (void)state;
    Err err;
    Goals g;
    Arena *arena = arena_new();
    goals_init(&g);
    int count = 0;
    for (const Opt *o = goal_options; o->name != NULL; o++, count++) assert_ok(goals_set(&g, o->name, "1", arena, &err), &err);
    assert_int_equal(count, GOAL_COUNT);
    GoalResult results[GOAL_COUNT];
    GoalNumbers same = NUMBERS(1, 1, 1, 1, 1);
    assert_int_equal(goals_judge(&g, &same, &same, results), GOAL_COUNT);
    for (int i = 0; i < GOAL_COUNT; i++) {
        assert_string_equal(results[i].name, goal_options[i].name);
        assert_true(results[i].met);
    }
    arena_unref(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(goals_are_judged),
        cmocka_unit_test(bad_goals_are_refused),
        cmocka_unit_test(all_goals_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
