/* How long a comparison may take, whatever it compares and with what, and what measuring itself takes of its windows. */
#include "compare_fixture.h"

/* ---- the budget ---- */

static const struct {
    const char *name;
    double seconds; /* of a call */
    int networks;
    bool counter;
    double budget, spikes, rest;
    double most;    /* seconds for all of it */
} budget_rows[] = {
    { "two of a microsecond, by default", 1e-6, 2, false, 0, 0, 0, 10 },
    { "two of a microsecond, with a counter", 1e-6, 2, true, 0, 0, 0, 10 },
    { "two of 10 ms, by default", 10e-3, 2, false, 0, 0.02, 0, 30 },
    { "two of 10 ms, with a counter", 10e-3, 2, true, 0, 0.02, 0, 30 },
    { "four of 10 ms, with a counter", 10e-3, 4, true, 0, 0.02, 0, 30 },
    { "two of 0.5 s: more than 20 s are allowed for twelve rounds", 0.5, 2, false, 0, 0.02, 0, 30 },
    { "a budget of 3 s is held to within a round", 10e-3, 2, true, 3, 0.02, 0, 3.6 },
    { "a budget of a minute", 1e-3, 2, true, 60, 0.02, 0, 61 },
    { "rests count, too", 10e-3, 2, true, 12, 0, 2, 13.5 },
};

static void heats(FakeMachine *m)
{
    char text[32];
    if (m->calls % 50 != 0) return;
    snprintf(text, sizeof text, "%.0f\n", 40e3 + 10 * (double)m->calls); /* and never cools */
    put_file("sys/class/thermal/thermal_zone0/temp", text);
}

static void test_budget(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof budget_rows / sizeof *budget_rows; k++) {
        Err err;
        FakeMachine m = { .idle_watts = 10, .noise = 0.1, .spikes = budget_rows[k].spikes,
                          .fault = budget_rows[k].rest > 0 ? heats : NULL };
        FakeNetwork nets[4];
        Contestant all[4];
        CompareOptions o = machine_options(&m, 3);
        Comparison c;
        static const char *const names[] = { "a", "b", "c", "d" };
        for (int i = 0; i < budget_rows[k].networks; i++) {
            nets[i] = (FakeNetwork){ &m, budget_rows[k].seconds, 40, 1, 0 };
            all[i] = contestant(names[i], &nets[i]);
        }
        if (budget_rows[k].counter) machine_counter(&m);
        if (budget_rows[k].rest > 0) put_file("sys/class/thermal/thermal_zone0/temp", "40000\n");
        o.budget = budget_rows[k].budget;
        o.rest = budget_rows[k].rest;
        o.precision = 1e-9; /* never sure enough: only the budget ends it */
        double before = fake_now.monotonic;
        assert_ok(compare_networks(all, budget_rows[k].networks, &o, &c, &err), &err);
        print_message("  %s: %.1f s, %d rounds\n", budget_rows[k].name, fake_now.monotonic - before, c.rounds);
        assert_true(fake_now.monotonic - before <= budget_rows[k].most);
        assert_near(c.spent, fake_now.monotonic - before, 1e-9);
        assert_true(c.rounds >= 3);
        assert_true(c.stopped != STOP_PRECISE);
        next_machine(&m, &c);
    }
}

/* ---- overhead ---- */

static double read_cost; /* seconds of every look at a clock, and of the counter read with it */
static void slow_clock(void *context, SourceTime *now)
{
    pass_time(read_cost);
    machine_clock(context, now);
}

/* Four looks a window: before and after reading the source at either end. */
static void test_overhead(void **state)
{
    (void)state;
    static const struct { double cost; bool warned; } rows[] = { { 0, false }, { 0.2e-3, false }, { 10e-3, true } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork n = { &m, 10e-3, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        machine_counter(&m);
        read_cost = rows[k].cost;
        o.source.clock = slow_clock;
        o.budget = 60;
        measure_one(&n, &o, &c);
        print_message("  %g s a look: %.2g %% of a window of %.3g s\n", rows[k].cost, 100 * c.overhead, c.window_seconds);
        double window = (double)c.networks[0].calls * 10e-3 + rows[k].cost; /* one look of the two at the end is in the window */
        assert_near(c.overhead, 4 * rows[k].cost / window, 1e-9);
        assert_near(c.read_seconds, 4 * rows[k].cost, 1e-9);
        assert_int_equal(warned(&c, "measuring itself took"), rows[k].warned);
        assert_near(c.networks[0].seconds.median, window / (double)c.networks[0].calls, 1e-9);
        next_machine(&m, &c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { ROW(test_budget), ROW(test_overhead) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
