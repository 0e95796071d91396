/* Goals on measured ratios: what was shown decides, not the median. */
#include "test.h"

#include <math.h>

#include "pipeline/comparison.h"
#include "pipeline/junit.h"

static const struct {
    const char *name, *limit;
    double median, low, high, noise;
    int pairs;
    bool few;
    GoalOutcome outcome, strict;
} rows[] = {
    { "clearly kept", "1", 0.5, 0.48, 0.52, 1.01, 20, false, GOAL_MET, GOAL_MET },
    { "ends at the limit", "0.52", 0.5, 0.48, 0.52, 1.01, 20, false, GOAL_MET, GOAL_MET },
    { "median below, interval over it", "1", 0.99, 0.95, 1.03, 1.01, 20, false, GOAL_INCONCLUSIVE, GOAL_MISSED },
    { "median above, interval over it", "1", 1.01, 0.97, 1.05, 1.01, 20, false, GOAL_INCONCLUSIVE, GOAL_MISSED },
    { "above, by no more than noise", "1", 1.015, 1.01, 1.02, 1.03, 20, false, GOAL_INCONCLUSIVE, GOAL_MISSED },
    { "above, beyond noise", "1", 1.05, 1.04, 1.06, 1.03, 20, false, GOAL_MISSED, GOAL_MISSED },
    { "noise is of the limit, not of 1", "0.5", 0.52, 0.51, 0.53, 1.03, 20, false, GOAL_INCONCLUSIVE, GOAL_MISSED },
    { "beyond it there, too", "0.5", 0.55, 0.53, 0.57, 1.03, 20, false, GOAL_MISSED, GOAL_MISSED },
    { "too few pairs, however far above", "1", 2, 1.9, 2.1, 1.01, 4, true, GOAL_INCONCLUSIVE, GOAL_MISSED },
    { "too few pairs, however far below", "1", 0.5, 0.4, 0.6, 1.01, 4, true, GOAL_MET, GOAL_MISSED },
    { "exact numbers have no interval", "1", 1, 0, 0, 0, 0, false, GOAL_MET, GOAL_MET },
    { "exact, above", "1", 1.0001, 0, 0, 0, 0, false, GOAL_MISSED, GOAL_MISSED },
    { "not measured is missed", "1", NAN, NAN, NAN, 1, 0, false, GOAL_MISSED, GOAL_MISSED },
};

static void test_outcomes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int energy = 0; energy < 2; energy++) {
            for (int strict = 0; strict < 2; strict++) {
                Err err;
                Goals g;
                GoalResult results[GOAL_COUNT];
                Arena *arena = arena_new();
                const GoalNumbers before = { .latency_ms = 1, .energy_j = 1 };
                const GoalInterval interval = { rows[i].pairs, rows[i].low, rows[i].high, rows[i].noise, rows[i].few };
                const GoalNumbers after = { .latency_ms = rows[i].median, .energy_j = rows[i].median, .latency = interval,
                                            .energy = interval };
                goals_init(&g);
                g.strict = strict != 0;
                assert_ok(goals_set(&g, energy ? "max-energy-ratio" : "max-latency-ratio", rows[i].limit, arena, &err), &err);
                assert_int_equal(goals_judge(&g, &before, &after, results), 1);
                GoalOutcome expected = strict ? rows[i].strict : rows[i].outcome;
                if (results[0].outcome != expected) fail_msg("%s: %s", rows[i].name, goal_outcome_text(results[0].outcome));
                assert_int_equal(results[0].met, expected == GOAL_MET);
                assert_true(rows[i].pairs > 0 ? results[0].low == rows[i].low && results[0].high == rows[i].high : isnan(results[0].low));
                arena_unref(arena);
            }
        }
    }
}

/* What is not decided fails no build: a skipped test with its numbers. */
static void test_junit(void **state)
{
    (void)state;
    const GoalResult open = { .name = "max-latency-ratio", .limit = "1", .allowed = 1, .found = 1.01, .low = 0.97, .high = 1.05,
                              .outcome = GOAL_INCONCLUSIVE };
    const GoalResult missed = { .name = "max-energy-ratio", .limit = "1", .allowed = 1, .found = 1.25, .low = 1.2, .high = 1.3,
                                .outcome = GOAL_MISSED };
    const JunitSuite suite = { .name = "net.onnx", .goals = { &open, &missed }, .goal_count = 2, .seconds = NAN };
    StrBuf b = { 0 };
    junit_print(&suite, 1, &b);
    assert_string_equal(b.data,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites name=\"pare\" tests=\"3\" failures=\"1\">\n"
        "  <testsuite name=\"net.onnx\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\">\n"
        "    <testcase classname=\"pare.net.onnx\" name=\"done\"/>\n"
        "    <testcase classname=\"pare.net.onnx\" name=\"max-latency-ratio 1\">\n"
        "      <skipped message=\"inconclusive: 1.01 [0.97, 1.05], allowed 1\"/>\n"
        "    </testcase>\n"
        "    <testcase classname=\"pare.net.onnx\" name=\"max-energy-ratio 1\">\n"
        "      <failure type=\"goal\" message=\"1.25 [1.2, 1.3], allowed 1\"/>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    strbuf_release(&b);
}

/* What a comparison measured, as goals take it. */
static void test_numbers(void **state)
{
    (void)state;
    Compared networks[2];
    for (int i = 0; i < 2; i++) compared_init(&networks[i]);
    networks[1].time = (Ratio){ .median = 0.8, .low = 0.78, .high = 0.82, .pairs = 20 };
    networks[1].energy = (Ratio){ .median = 0.7, .low = 0.69, .high = 0.71, .pairs = 20 };
    Comparison c = { .networks = networks, .count = 2, .null_time = { .low = 0.98, .high = 1.02, .pairs = 20 },
                     .null_energy = { .low = 0.97, .high = 1.03, .pairs = 20 } };
    GoalNumbers n;
    goal_numbers_compared(&n, &c, 1);
    assert_near(n.latency_ms, 0.8, 0);
    assert_near(n.latency.noise, 1.02, 0);
    assert_near(n.energy.high, 0.71, 0);
    assert_false(n.latency.few);
    assert_false(n.energy_follows);
    c.source.proportional = true; /* energy that follows CPU time keeps its own interval */
    goal_numbers_compared(&n, &c, 1);
    assert_true(n.energy_follows);
    assert_near(n.energy.low, 0.69, 0);
    assert_near(n.energy.high, 0.71, 0);
    networks[1].time.pairs = COMPARE_CLAIM_PAIRS - 1;
    goal_numbers_compared(&n, &c, 1);
    assert_true(n.latency.few);
    networks[1].time.pairs = 20;
    c.null_time.pairs = 0; /* without a null band nothing tells noise */
    goal_numbers_compared(&n, &c, 1);
    assert_true(n.latency.few);
    goal_numbers_compared(&n, &c, 0);
    assert_near(n.latency_ms, 1, 0);
    assert_int_equal(n.latency.pairs, 0);
    goal_numbers_compared(&n, &c, -1);
    assert_true(isnan(n.latency_ms) && isnan(n.energy_j));
}

/* Energy that follows time is shown with its own interval, and is no surer of its goal than run time. */
static void test_energy_that_follows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double time_low, time_high, energy_low, energy_high;
        bool follows;
        GoalOutcome outcome; /* of at most 1 */
    } cases[] = {
        { "measured, above", 0.95, 1.03, 1.05, 1.08, false, GOAL_MISSED },
        { "follows, time undecided", 0.95, 1.03, 1.05, 1.08, true, GOAL_INCONCLUSIVE },
        { "follows, both above", 1.04, 1.06, 1.05, 1.08, true, GOAL_MISSED },
        { "follows, time within noise", 1.01, 1.015, 1.05, 1.08, true, GOAL_INCONCLUSIVE },
        { "follows, both below", 0.9, 0.95, 0.92, 0.94, true, GOAL_MET },
        { "follows, time below", 0.9, 0.95, 1.05, 1.08, true, GOAL_INCONCLUSIVE },
        { "follows, energy alone below", 0.95, 1.03, 0.92, 0.94, true, GOAL_INCONCLUSIVE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        GoalNumbers before = { .latency_ms = 1, .energy_j = 1 };
        GoalNumbers after = { .latency_ms = (cases[i].time_low + cases[i].time_high) / 2,
                              .energy_j = (cases[i].energy_low + cases[i].energy_high) / 2, .energy_follows = cases[i].follows };
        after.latency = (GoalInterval){ 20, cases[i].time_low, cases[i].time_high, 1.02, false };
        after.energy = (GoalInterval){ 20, cases[i].energy_low, cases[i].energy_high, 1.005, false };
        GoalResult results[GOAL_COUNT];
        Goals g;
        goals_init(&g);
        g.max_energy_ratio = 1;
        assert_int_equal(goals_judge(&g, &before, &after, results), 1);
        if (results[0].outcome != cases[i].outcome)
            fail_msg("%s: %s", cases[i].name, goal_outcome_text(results[0].outcome));
        assert_near(results[0].low, cases[i].energy_low, 0);
        assert_near(results[0].high, cases[i].energy_high, 0);
        g.strict = true;
        goals_judge(&g, &before, &after, results);
        assert_int_equal(results[0].outcome, cases[i].outcome == GOAL_MET ? GOAL_MET : GOAL_MISSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_junit),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_energy_that_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
