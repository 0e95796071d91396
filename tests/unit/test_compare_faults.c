/* What goes wrong while networks are compared: counters, clocks, budgets. */
#include "compare_fixture.h"

static void counter_back(FakeMachine *m) { if (m->calls == m->fault_at) m->joules -= 30; }
static void counter_jumps(FakeMachine *m) { if (m->calls == m->fault_at) m->joules += 1e6; }
static void counter_stops(FakeMachine *m) { m->stopped = m->calls >= m->fault_at && m->calls < m->fault_at + 400; }
static void counter_stands(FakeMachine *m) { m->stopped = true; }
static void counter_lies(FakeMachine *m) { m->joules += 100; }
static void suspended(FakeMachine *m)
{
    if (m->calls != m->fault_at) return;
    fake_now.boot += 600;
    fake_now.real += 600;
}
static void clock_set(FakeMachine *m) { if (m->calls == m->fault_at) fake_now.real -= 3600; }
static void clock_back(FakeMachine *m) { if (m->calls == m->fault_at) fake_now.monotonic -= 2; }

static const struct FaultRow {
    const char *name;
    void (*fault)(FakeMachine *);
    int time_lost, energy_lost;   /* rounds at most; -1: all */
    const char *reason, *source;
} fault_rows[] = {
    { "none", NULL, 0, 0, "", "powercap" },
    { "a counter that goes backwards (codecarbon 309, 322: negative energy)", counter_back, 0, 1, "possible", "powercap" },
    { "a counter that jumps", counter_jumps, 0, 1, "possible", "powercap" },
    { "a counter that stops for a while", counter_stops, 0, 6, "stood still", "powercap" },
    { "a counter that lies always: the next source is taken", counter_lies, 0, -1, "possible", "cpu-time" },
    { "a counter that stands still always (codecarbon 478): the same", counter_stands, 0, -1, "stood still", "cpu-time" },
    { "a suspended machine", suspended, 1, 1, "suspended for 600 s", "powercap" },
    { "a clock that is set: counters do not care", clock_set, 0, 0, "", "powercap" },
    { "a clock that goes backwards", clock_back, 1, 1, "clock went", "powercap" },
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof fault_rows / sizeof *fault_rows; k++) {
        const struct FaultRow *row = &fault_rows[k];
        print_message("  %s\n", row->name);
        FakeMachine m = { .idle_watts = 10, .noise = 0.01, .fault = row->fault, .fault_at = 800 };
        FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = { .seconds = 5e-3, .watts = 40, .times = 1 };
        Comparison c;
        machine_counter(&m);
        compare_two(&m, &a, &b, 2, &c);
        assert_string_equal(c.source.id, row->source);
        assert_in_range(c.dropped_time, row->time_lost > 0, row->time_lost);
        if (row->energy_lost >= 0) assert_in_range(c.dropped_energy, row->energy_lost > 0, row->energy_lost);
        else assert_true(c.dropped_energy >= 3 && c.dropped_energy < c.rounds);
        if (row->energy_lost != 0 && strstr(c.dropped_reason, row->reason) == NULL) fail_msg("%s", c.dropped_reason);
        assert_int_equal(c.networks[1].time.pairs, c.rounds - c.dropped_time); /* the pair is lost, not half of it */
        assert_int_equal(c.networks[1].energy.pairs, c.rounds - c.dropped_energy);
        assert_near(c.networks[1].time.median, 0.5, 0.01);
        assert_near(c.networks[1].energy.median, 0.5, 0.01);
        next_machine(&m, &c);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double seconds, budget;
        int64_t fails_at;
        Status status;
        const char *message;
    } rows[] = {
        { "one inference longer than the budget", 60, 30, 0, ERR_USAGE,
          "before: one inference takes 60 s; 3 rounds of all networks do not fit into 30 s: give --budget=1560" },
        { "the same where none was given", 60, 0, 0, ERR_USAGE, "fit into 60 s" },
        { "a network that fails at once", 0.01, 5, 1, ERR_DATA, "before: Gather 'embed': index 9 of 4" },
        { "a network that fails in the middle", 0.01, 5, 60, ERR_DATA, "Gather 'embed': index 9 of 4" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Err err;
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork a = { &m, rows[k].seconds, 40, 1, rows[k].fails_at }, b = a;
        CompareOptions o = machine_options(&m, 1);
        const Contestant both[] = { contestant("before", &a), contestant("after", &b) };
        Comparison c;
        o.budget = rows[k].budget;
        assert_int_equal(compare_networks(both, 2, &o, &c, &err), rows[k].status);
        if (strstr(err.text, rows[k].message) == NULL) fail_msg("%s: %s", rows[k].name, err.text);
        assert_null(c.networks);
    }
}

/* A budget that is too short grows where the caller asks for it. */
static void test_budget_stretches(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork n = { &m, 4, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant one = contestant("net", &n);
    Comparison c;
    o.budget = 2;
    o.stretch = true;
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_in_range(c.rounds, 3, 4);
    assert_near(c.networks[0].seconds.median, 4, 1e-9);
    comparison_release(&c);
}

/* A machine that is so busy that the budget is gone before the first round: the least number of rounds is made all the same. */
static void busy(FakeMachine *m) { if (m->calls == m->fault_at) machine_spend(m, 60, 0); }
static void test_budget_gone_before_the_start(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10, .fault = busy, .fault_at = 3 };
    FakeNetwork n = { &m, 0.01, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant one = contestant("net", &n);
    Comparison c;
    o.budget = 1;
    machine_counter(&m);
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_string_equal(c.source.id, "cpu-time");
    assert_in_range(c.rounds, 3, 4);
    assert_int_equal(c.networks[0].time.verdict, VERDICT_NONE);
    comparison_release(&c);
    close(m.counter);
}

static void frozen(void *context, SourceTime *now)
{
    (void)context;
    *now = fake_now;
}

static Status nothing(void *context, Err *err)
{
    (void)context;
    (void)err;
    return OK;
}

static void test_clock_that_stands(void **state)
{
    (void)state;
    Err err;
    CompareOptions o = { .source = { .sysroot = tree, .clock = frozen } };
    const Contestant one = { .name = "net", .call = nothing, .batch = 1 };
    Comparison c;
    assert_int_equal(compare_networks(&one, 1, &o, &c, &err), ERR_DATA);
    assert_non_null(strstr(err.text, "no window of 10 rounds could be timed: the clock went 0 s in a window"));
}

/* ---- the idle machine ---- */

static void counter_dies(FakeMachine *m)
{
    if (m->calls == m->fault_at) m->stopped = true;
}

/* A counter that stops for good stops inside of a window: what that one tells is short, and nothing is told of the idle machine after. */
static void test_counter_that_dies(void **state)
{
    (void)state;
    for (int64_t at = 900; at < 1000; at += 9) {
        FakeMachine m = { .idle_watts = 10, .fault = counter_dies, .fault_at = at };
        FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = { .seconds = 5e-3, .watts = 40, .times = 1 };
        Comparison c;
        machine_counter(&m);
        compare_two(&m, &a, &b, 2, &c);
        assert_string_equal(c.source.id, "powercap");
        for (int r = 0; r < c.rounds; r++) {
            double ratio = c.networks[1].pairs[r].energy;
            if (!isnan(ratio)) assert_near(ratio, 0.5, 1e-3);
        }
        assert_near(c.idle_before_w, 10, 1e-3);
        assert_true(isnan(c.idle_after_w) && isnan(c.idle_drift));
        assert_true(isnan(c.networks[0].net_j.median) && isnan(c.networks[1].net_j.median));
        assert_int_equal(c.networks[1].net.pairs, 0);
        assert_true(warned(&c, "could not be read after the rounds: there are no figures above idle"));
        next_machine(&m, &c);
    }
}

static void idle_flickers(FakeMachine *m) { m->idle_watts = 10 + 0.3 * rng_normal(&m->rng); }

/* Two networks that draw what the machine draws anyway: of numbers about zero there is no ratio. */
static void test_nothing_above_idle(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double watts;
        bool ratio;
    } rows[] = { { "nothing", 0, false }, { "40 W", 40, true } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        FakeMachine m = { .idle_watts = 10, .fault = idle_flickers };
        FakeNetwork a = { .seconds = 10e-3, .watts = rows[k].watts, .times = 1 }, b = a;
        Comparison c;
        print_message("  %s\n", rows[k].name);
        machine_counter(&m);
        compare_two(&m, &a, &b, 2, &c);
        const Compared *n = &c.networks[1];
        assert_true(isfinite(n->net_j.median));
        assert_int_equal(n->net.pairs > 0, rows[k].ratio);
        assert_int_equal(isfinite(n->net.median), rows[k].ratio);
        assert_int_equal(n->net.verdict == VERDICT_NONE, !rows[k].ratio);
        assert_true(n->energy.pairs > 0);
        assert_false(warned(&c, "less than the idle machine's"));
        next_machine(&m, &c);
    }
}

/* Threads beyond the machine's cores wait: they draw nothing in anybody's estimate. */
static void test_more_threads_than_cores(void **state)
{
    (void)state;
    char expected[2][64];
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork a = { &m, 10e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    Comparison c;
    o.threads = 1 << 20;
    measure_one(&a, &o, &c);
    snprintf(expected[0], sizeof expected[0], "time x (%d cores", c.environment.cores);
    snprintf(expected[1], sizeof expected[1], "x %d threads x", c.environment.cores);
    assert_in_range(c.environment.cores, 1, 1 << 16);
    assert_non_null(strstr(c.networks[0].green_algorithms_j.source, expected[0]));
    assert_non_null(strstr(c.networks[0].time_tdp_j.source, expected[1]));
    comparison_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_faults),
        ROW(test_refusals),
        ROW(test_budget_stretches),
        ROW(test_budget_gone_before_the_start),
        ROW(test_clock_that_stands),
        ROW(test_counter_that_dies),
        ROW(test_nothing_above_idle),
        ROW(test_more_threads_than_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
