/* What the protocol does beside its windows: the idle machine in the middle of long runs, rests for the heat, energies that must add up. */
#include "compare_fixture.h"

#include "greenness/compare_private.h"

static void compare(FakeMachine *m, const CompareOptions *o, Comparison *c)
{
    Err err;
    FakeNetwork a = { m, 10e-3, 40, 1, 0 }, b = { m, 5e-3, 40, 1, 0 };
    const Contestant both[] = { contestant("before", &a), contestant("after", &b) };
    assert_ok(compare_networks(both, 2, o, c, &err), &err);
}

/* ---- idle ---- */

/* From 10 to 40 W, slowly at first: the mean of both ends is 10 W too much in the middle. */
static void warms(FakeMachine *m)
{
    double x = (fake_now.monotonic - 1000) / 24;
    m->idle_watts = 10 + 30 * x * x;
}

static const struct {
    const char *name;
    void (*fault)(FakeMachine *);
    double budget, tolerance;
    bool middle, drifts;
} idle_rows[] = {
    { "a long run whose idle power rises", warms, 24, 0.06, true, true },
    { "a long run, nothing moves", NULL, 24, 0.01, true, false },
    { "a short run has two", NULL, 8, 0.01, false, false },
};

static void test_idle(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof idle_rows / sizeof *idle_rows; k++) {
        print_message("  %s\n", idle_rows[k].name);
        FakeMachine m = { .idle_watts = 10, .fault = idle_rows[k].fault };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        machine_counter(&m);
        o.budget = idle_rows[k].budget;
        o.precision = 1e-9;
        compare(&m, &o, &c);
        assert_int_equal(isfinite(c.idle_middle_w), idle_rows[k].middle);
        assert_near(c.networks[0].net_j.median, 0.4, 0.4 * idle_rows[k].tolerance);
        assert_near(c.networks[1].net.median, 0.5, 0.05);
        assert_int_equal(warned(&c, "idle power moved between"), idle_rows[k].drifts);
        assert_int_equal(c.idle_drift > 0.5, idle_rows[k].drifts);
        if (idle_rows[k].drifts) assert_true(c.idle_before_w < c.idle_middle_w && c.idle_middle_w < c.idle_after_w);
        next_machine(&m, &c);
    }
}

static void test_idle_between(void **state)
{
    (void)state;
    Protocol p = { .baselines = { { 100, 10 }, { 200, 20 }, { 300, 16 } }, .baseline_count = 3 };
    static const struct { double when, watts; } rows[] = { { 50, 10 }, { 100, 10 }, { 150, 15 }, { 200, 20 }, { 250, 18 }, { 400, 16 } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) assert_near(protocol_idle_at(&p, rows[k].when), rows[k].watts, 1e-12);
    p.baseline_count = 0;
    assert_true(isnan(protocol_idle_at(&p, 1)));
}

/* ---- heat ---- */

static double degrees;
static int64_t slowed;

static void put_heat(void)
{
    char text[32];
    snprintf(text, sizeof text, "%.0f\n", degrees * 1000);
    put_file("sys/class/thermal/thermal_zone0/temp", text);
    snprintf(text, sizeof text, "%lld\n", (long long)slowed);
    put_file("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", text);
}

static void heats(FakeMachine *m)
{
    if (m->calls % 20 != 0) return;
    degrees += 0.5;
    slowed += degrees > 52; /* above that the processor slows itself down */
    put_heat();
}

static void cools(void *context, double seconds)
{
    machine_sleep(context, seconds);
    degrees = fmax(40, degrees - 8 * seconds);
    put_heat();
}

static void test_rest(void **state)
{
    (void)state;
    for (int rests = 0; rests < 2; rests++) {
        FakeMachine m = { .idle_watts = 10, .fault = heats };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        degrees = 40;
        slowed = 7; /* before */
        put_heat();
        o.sleep = cools;
        o.rest = rests ? 5 : 0;
        compare(&m, &o, &c);
        print_message("  %d rests of %.3g s in all, %.1f degrees at most, slowed in %d rounds\n", c.rests, c.rest_seconds, c.celsius_most,
                      c.throttled_rounds);
        if (rests) {
            assert_true(c.rests > 3 && c.rest_seconds >= 0.25 * c.rests && c.rest_seconds <= 5.0 * c.rests);
            assert_true(c.celsius_most > 42 && c.celsius_most < 52 && c.throttled_rounds == 0);
            assert_int_equal(c.environment.throttled, 0);
        } else {
            assert_int_equal(c.rests, 0);
            assert_true(c.environment.throttled > 0 && warned(&c, "slowed itself down"));
        }
        comparison_release(&c);
    }
}

/* A rest is no wait for ever, and a machine that tells no temperature has none. */
static void test_rest_limits(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        FakeMachine m = { .idle_watts = 10, .fault = told ? heats : NULL };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        degrees = 49;
        slowed = 0;
        if (told) put_heat();
        o.rest = 1;
        o.budget = 8;
        compare(&m, &o, &c); /* machine_sleep cools nothing */
        print_message("  %d rounds, %d rests of %.3g s, slowed in %d, %.1f degrees\n", c.rounds, c.rests, c.rest_seconds,
                      c.throttled_rounds, degrees);
        assert_true(c.spent < 8 + 2);
        assert_int_equal(warned(&c, "no temperature can be read"), !told);
        if (told) assert_true(c.rest_seconds <= 1.0 * c.rests && c.throttled_rounds > 0 && warned(&c, "slowed itself down in"));
        comparison_release(&c);
    }
}

/* ---- energies add up ---- */

static const struct {
    const char *name;
    double joules, seconds; /* of each of four windows */
    double whole, whole_seconds;
    ReadingState state;
    const char *warning;
} sum_rows[] = {
    { "windows and a little between them", 10, 1, 43, 4.3, READING_GOOD, NULL },
    { "nothing between them", 10, 1, 40, 4, READING_GOOD, NULL },
    { "3 % more than the whole may be steps", 10, 1, 39, 4, READING_GOOD, NULL },
    { "more in the windows than in the whole", 10, 1, 30, 4.3, READING_GOOD, "not additive" },
    { "far more in the whole than the machine could draw meanwhile", 10, 1, 60, 4.3, READING_GOOD, "something else drew power" },
    { "the whole was not told", 10, 1, NAN, 4.3, READING_DROPPED, NULL },
};

static void test_sums(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof sum_rows / sizeof *sum_rows; k++) {
        print_message("  %s\n", sum_rows[k].name);
        Window windows[4];
        Comparison out = { .windows_j = NAN, .whole_j = NAN };
        for (int i = 0; i < 4; i++)
            windows[i] = (Window){ .reading = { .state = READING_GOOD, .joules = sum_rows[k].joules, .seconds = sum_rows[k].seconds,
                                                .watts = sum_rows[k].joules / sum_rows[k].seconds } };
        Protocol p = { .count = 1, .rounds = 2, .windows = windows, .out = &out };
        p.checks.has_whole = true;
        p.checks.reading = (Reading){ .state = sum_rows[k].state, .joules = sum_rows[k].whole, .seconds = sum_rows[k].whole_seconds };
        protocol_checks_judge(&p);
        assert_near(out.windows_j, 40, 1e-12);
        if (sum_rows[k].state == READING_GOOD) assert_near(out.whole_j, sum_rows[k].whole, 0);
        else assert_true(isnan(out.whole_j));
        assert_int_equal(out.warnings.count, sum_rows[k].warning != NULL);
        if (sum_rows[k].warning != NULL) assert_non_null(strstr(out.warnings.texts[0], sum_rows[k].warning));
    }
}

static double shares[4]; /* core, uncore, dram, psys: of the package's joules */

static void put_domains(FakeMachine *m)
{
    static const char *const zones[][2] = { { "intel-rapl:0:0", "core" }, { "intel-rapl:0:1", "uncore" }, { "intel-rapl:0:2", "dram" },
                                            { "intel-rapl:1", "psys" } };
    for (int i = 0; i < 4; i++) {
        char file[96], text[32];
        snprintf(file, sizeof file, "sys/class/powercap/%s/name", zones[i][0]);
        if (shares[i] == 0) continue;
        put_file(file, zones[i][1]);
        snprintf(file, sizeof file, "sys/class/powercap/%s/energy_uj", zones[i][0]);
        snprintf(text, sizeof text, "%.0f", m->joules * 1e6 * shares[i]);
        put_file(file, text);
    }
}

static const struct {
    const char *name;
    double shares[4], cores, platform;
    const char *warning;
} domain_rows[] = {
    { "as it should be", { 0.5, 0.1, 0.2, 1.5 }, 0.6, 0.8, NULL },
    { "a package alone", { 0, 0, 0, 0 }, NAN, NAN, NULL },
    { "cores that draw more than their package", { 1.2, 0, 0, 0 }, 1.2, NAN, "intel-rapl:0: its cores and uncore took" },
    { "a platform that draws less than its packages", { 0, 0, 0.5, 0.75 }, NAN, 2, "psys does not hold the platform" },
};

static void test_domains(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof domain_rows / sizeof *domain_rows; k++) {
        print_message("  %s\n", domain_rows[k].name);
        FakeMachine m = { .idle_watts = 10, .fault = put_domains };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        memcpy(shares, domain_rows[k].shares, sizeof shares);
        machine_counter(&m);
        put_domains(&m);
        compare(&m, &o, &c);
        assert_string_equal(c.source.id, "powercap");
        assert_true(c.windows_j > 0 && c.windows_j < c.whole_j);
        assert_false(warned(&c, "not additive") || warned(&c, "something else drew"));
        if (isnan(domain_rows[k].cores)) assert_true(isnan(c.cores_share));
        else assert_near(c.cores_share, domain_rows[k].cores, 0.02);
        if (isnan(domain_rows[k].platform)) assert_true(isnan(c.platform_share));
        else assert_near(c.platform_share, domain_rows[k].platform, 0.03);
        bool said = warned(&c, "a counter lies");
        assert_int_equal(said, domain_rows[k].warning != NULL);
        if (said) assert_true(warned(&c, domain_rows[k].warning));
        next_machine(&m, &c);
    }
}

/* A counter that moves by 1 J: windows of a second would be off by a twentieth. Where the budget has no longer ones it is not used. */
static void test_coarse_counter(void **state)
{
    (void)state;
    static const struct { const char *name; double budget, step, watts, seconds; const char *source, *warning; } rows[] = {
        { "no room for long windows", 0, 1, 20, 0, "cpu-time", "psys moves in steps of 1 J" },
        { "room for them", 400, 1, 20, 10, "powercap", NULL },
        { "a machine that draws next to nothing", 400, 1, 1, 0, "cpu-time", "J in steps of 1 J: a window needs 50 J" },
        { "psys in fine steps", 60, 0, 20, 0.5, "powercap", NULL },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        FakeMachine m = { .idle_watts = rows[k].watts / 2, .joules = 123.000061, .step = rows[k].step };
        FakeNetwork once = { &m, 5e-3, rows[k].watts / 2, 1, 0 }, twice = { &m, 5e-3, rows[k].watts / 2, 2, 0 };
        CompareOptions o = machine_options(&m, 1);
        const Contestant both[] = { contestant("before", &once), contestant("after", &twice) };
        Comparison c;
        Err err;
        o.budget = rows[k].budget;
        machine_counter_named(&m, "psys\n");
        assert_ok(compare_networks(both, 2, &o, &c, &err), &err);
        if (strcmp(c.source.id, rows[k].source) != 0) fail_msg("%s: %s", rows[k].name, c.source.id);
        assert_near(c.networks[1].energy.median, 2, 0.04);
        assert_true(c.window_seconds >= rows[k].seconds);
        if (rows[k].warning != NULL && !warned(&c, rows[k].warning)) fail_msg("%s: no warning", rows[k].name);
        next_machine(&m, &c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_idle), cmocka_unit_test(test_idle_between), ROW(test_rest), ROW(test_rest_limits), cmocka_unit_test(test_sums),
        ROW(test_domains),
        ROW(test_coarse_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
