#include "compare_fixture.h"

/* ---- known truths ---- */

static FakeMachine noisy(void) { return (FakeMachine){ .idle_watts = 10, .noise = 0.05, .drift = 0.2, .spikes = 0.02 }; }

static void test_twice_reads_two(void **state)
{
    (void)state;
    static const struct { double seconds; bool counter; } cases[] = { { 5e-6, false }, { 10e-3, false }, { 10e-3, true }, { 0.3, true } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        FakeMachine m = noisy();
        FakeNetwork once = { .seconds = cases[k].seconds, .watts = 40, .times = 1 }, twice = once;
        Comparison c;
        twice.times = 2;
        if (cases[k].seconds < 1e-3) m.spikes = 0; /* thousands of calls a window leave their mean alone */
        if (cases[k].counter) machine_counter(&m);
        compare_two(&m, &once, &twice, 3, &c);
        print_message("  %g s, %s: time %.4f, energy %.4f, %d rounds in %.1f s\n", cases[k].seconds, c.source.id, c.networks[1].time.median,
                      c.networks[1].energy.median, c.rounds, c.spent);
        assert_near(c.networks[1].time.median, 2, 0.04);
        assert_near(c.networks[1].energy.median, 2, 0.04);
        assert_int_equal(c.networks[1].time.verdict, VERDICT_MORE);
        assert_int_equal(c.networks[1].energy.verdict, VERDICT_MORE);
        assert_true(c.networks[1].time.low < 2.04 && c.networks[1].time.high > 1.96);
        assert_string_equal(c.source.id, cases[k].counter ? "powercap" : "cpu-time");
        assert_true(c.spent <= (cases[k].seconds < 1e-3 ? 10 : 30));
        next_machine(&m, &c);
    }
}

static void test_itself_reads_one(void **state)
{
    (void)state;
    int inside = 0, inconclusive = 0, repeats = 40;
    for (int k = 0; k < repeats; k++) {
        FakeMachine m = noisy();
        FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = a;
        Comparison c;
        machine_counter(&m);
        compare_two(&m, &a, &b, (uint64_t)k + 1, &c);
        const Ratio *t = &c.networks[1].time, *e = &c.networks[1].energy;
        inside += t->median >= c.null_time.low && t->median <= c.null_time.high && e->median >= c.null_energy.low
            && e->median <= c.null_energy.high;
        inconclusive += t->verdict == VERDICT_INCONCLUSIVE && e->verdict == VERDICT_INCONCLUSIVE;
        comparison_release(&c);
        close(m.counter);
    }
    print_message("  inside the null band %d of %d, inconclusive %d\n", inside, repeats, inconclusive);
    assert_true(inside >= repeats - repeats / 20);
    assert_true(inconclusive >= repeats - repeats / 20);
}

/* Every figure of one inference is what the machine was told; what the machine draws anyway apart (carbontracker 84, pyJoules 10). */
static void test_figures(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 20 };
    FakeNetwork a = { .seconds = 20e-3, .watts = 50, .times = 1 }, b = { .seconds = 10e-3, .watts = 30, .times = 1 };
    Comparison c;
    machine_counter(&m);
    compare_two(&m, &a, &b, 1, &c);
    const Compared *before = &c.networks[0], *after = &c.networks[1];
    assert_near(before->seconds.median, 20e-3, 1e-9);
    assert_near(before->cpu_seconds.median, 20e-3, 1e-9);
    assert_near(before->energy_j.median, 1.4, 1e-3);
    assert_near(before->net_j.median, 1.0, 2e-3);
    assert_near(before->watts.median, 70, 0.1);
    assert_near(after->energy_j.median, 0.5, 1e-3);
    assert_near(c.idle_before_w, 20, 1e-3);
    assert_near(c.idle_after_w, 20, 1e-3);
    assert_near(after->time.median, 0.5, 1e-6);
    assert_near(after->energy.median, 0.5 / 1.4, 1e-3);
    assert_near(after->net.median, 0.3, 2e-3);
    assert_int_equal(after->net.verdict, VERDICT_LESS);
    assert_int_equal(after->time.verdict, VERDICT_LESS);
    assert_int_equal(before->time.verdict, VERDICT_NONE);
    assert_int_equal(after->power, VERDICT_LESS);
    assert_int_equal(before->power, VERDICT_NONE);
    assert_near(before->carbon_g.value, 1.4 / 3.6e6 * 445, 1e-6);
    assert_string_equal(before->carbon_g.source,
                        "modelled: measured energy x 445 g/kWh (world 2024, CO2 at generation, IEA Electricity 2025), PUE 1.00");
    assert_near(before->green_algorithms_j.value, 20e-3 * 12, 1e-9);
    assert_near(before->time_tdp_j.value, 20e-3 * 0.5 * 4, 1e-9);
    assert_int_equal(before->pair_count, c.rounds);
    assert_near(before->pairs[0].time, 1, 1e-9);
    assert_near(after->pairs[c.rounds - 1].time, 0.5, 1e-9);
    assert_true(c.source.measured && !c.source.proportional);
    assert_string_equal(c.source.provenance, "measured_counter");
    assert_int_equal(c.dropped_time + c.dropped_energy, 0);
    comparison_release(&c);
    close(m.counter);
}

/* More cores for the same time: a model that follows CPU time sees more energy, and must not claim it where run time is the same. */
static Status busy_call(void *context, Err *err)
{
    FakeMachine *m = ((const FakeNetwork *)context)->machine;
    double before = m->cpu;
    TRY(network_call(context, err));
    m->cpu += m->cpu - before;
    return OK;
}

static void test_models_are_no_surer_than_time(void **state)
{
    (void)state;
    static const struct { double seconds; Verdict time, energy, power; } rows[] = {
        { 10e-3, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE, VERDICT_INCONCLUSIVE },
        { 20e-3, VERDICT_MORE, VERDICT_MORE, VERDICT_MORE },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Err err;
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork a = { &m, 10e-3, 40, 1, 0 }, b = { &m, rows[k].seconds, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        Contestant both[] = { contestant("before", &a), contestant("after", &b) };
        Comparison c;
        both[1].call = busy_call;
        assert_ok(compare_networks(both, 2, &o, &c, &err), &err);
        assert_true(c.source.proportional);
        assert_near(c.networks[1].energy.median, 2 * rows[k].seconds / 10e-3, 0.01);
        assert_int_equal(c.networks[1].cpu.verdict, VERDICT_MORE);
        assert_int_equal(c.networks[1].time.verdict, rows[k].time);
        assert_int_equal(c.networks[1].energy.verdict, rows[k].energy);
        assert_int_equal(c.networks[1].power, rows[k].power);
        comparison_release(&c);
    }
}

/* A batch of 8 costs what it costs; one inference is an eighth of it (codecarbon 354, 1178: no such unit). */
static void test_batch_and_one_network(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 5 };
    FakeNetwork n = { .machine = &m, .seconds = 80e-3, .watts = 10, .times = 1 };
    CompareOptions o = machine_options(&m, 1);
    Contestant one = contestant("net", &n);
    Comparison c;
    machine_counter(&m);
    one.batch = 8;
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_near(c.networks[0].seconds.median, 10e-3, 1e-9);
    assert_near(c.networks[0].energy_j.median, 0.15, 1e-4);
    assert_near(c.networks[0].net_j.median, 0.1, 1e-3);
    assert_int_equal(c.null_time.pairs, c.rounds);
    assert_near(c.null_time.median, 1, 1e-9);
    assert_true(c.null_time.stable);
    comparison_release(&c);
    close(m.counter);
}

/* Block after block reads a drift as a difference; pairs do not: 30 % over the run, and 1.0. */
static void test_drift_is_no_difference(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10, .noise = 0.02, .drift = 0.3 };
    FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = a;
    Comparison c;
    machine_counter(&m);
    compare_two(&m, &a, &b, 5, &c);
    assert_near(c.networks[1].time.median, 1, 0.02);
    assert_int_equal(c.networks[1].time.verdict, VERDICT_INCONCLUSIVE);
    comparison_release(&c);
    close(m.counter);
}

/* ---- sources ---- */

/* A meter's log of 55 W: `count` lines, the first `from` seconds after now. */
static void put_meter(char path[256], int count, double from, double step)
{
    StrBuf log = { 0 };
    for (int i = 0; i < count; i++) strbuf_printf(&log, "%.3f,55\n", fake_now.real + from + step * i);
    put_file("meter.csv", log.data);
    strbuf_release(&log);
    snprintf(path, 256, "%s/meter.csv", tree);
}

/* A meter that tells its power every 60 s cannot be used in 8 s: it was named, so it is not passed over. */
static void test_source_that_needs_longer(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork a = { &m, 1e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant one = contestant("net", &a);
    Comparison c;
    put_file("sys/class/power_supply/BAT0/type", "Battery\n");
    put_file("sys/class/power_supply/BAT0/status", "Discharging\n");
    put_file("sys/class/power_supply/BAT0/power_now", "20000000\n");
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_string_equal(c.source.id, "cpu-time");
    assert_true(c.source.proportional && !c.source.measured);
    assert_true(isnan(c.idle_before_w) && isnan(c.networks[0].net_j.median)); /* a model knows no idle machine */
    assert_true(warned(&c, "was not used: its windows of 60 s need"));
    comparison_release(&c);
    char path[256];
    put_meter(path, 50, -20 * 60, 60);
    o.source.meter_path = path;
    assert_int_equal(compare_networks(&one, 1, &o, &c, &err), ERR_USAGE);
    assert_non_null(strstr(err.text, "give --budget="));
}

/* The user must be the wiser (codecarbon 232, 239, 244, 304, 493, 500, 915; EIT 55; pyJoules 13; carbontracker: 0 W; Zeus: None). */
static void test_closed_counter_is_said(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork a = { &m, 1e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant one = contestant("net", &a);
    Comparison c;
    put_file("sys/class/powercap/intel-rapl:0/name", "package-0\n");
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "loop");
    put_file("proc/sys/kernel/perf_event_paranoid", "2\n");
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_string_equal(c.source.id, "cpu-time");
    assert_non_null(strstr(c.source.text, "modelled"));
    assert_non_null(strstr(c.networks[0].carbon_g.source, "modelled energy"));
    assert_true(warned(&c, "RAPL through powercap cannot be read: ") && warned(&c, "'pare probe' says more"));
    comparison_release(&c);
}

/* Energy of one level only: a counter that gives out in the middle takes all its windows with it (codecarbon 188: figures that differ by
 * orders of magnitude stand side by side). */
static void counter_gives_out(FakeMachine *m) { m->stopped = true; }
static void test_levels_do_not_mix(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10, .fault = counter_gives_out };
    FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = a;
    Comparison c;
    machine_counter(&m);
    compare_two(&m, &a, &b, 1, &c);
    assert_string_equal(c.source.id, "cpu-time");
    assert_true(c.dropped_energy >= 3 && c.networks[1].energy.pairs == c.rounds - c.dropped_energy);
    assert_near(c.networks[0].energy_j.median, 10e-3 * 12, 1e-9); /* CPU time's, nothing of the counter's */
    assert_true(warned(&c, "was given up, it dropped every window"));
    comparison_release(&c);
    close(m.counter);
}

/* A meter whose log is only written while the machine rests: windows wait for it, and are all there in the end. */
static double meter_told;
static void meter_sleep(void *context, double seconds)
{
    char path[256];
    machine_sleep(context, seconds);
    snprintf(path, sizeof path, "%s/meter.csv", tree);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (; meter_told < fake_now.real; meter_told += 0.05) fprintf(f, "%.3f,55\n", meter_told);
    fclose(f);
}

static void test_meter_that_lags(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork a = { &m, 10e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant one = contestant("net", &a);
    Comparison c;
    char path[256];
    snprintf(path, sizeof path, "%s/meter.csv", tree);
    meter_told = fake_now.real - 20;
    meter_sleep(&m, 1);
    o.sleep = meter_sleep;
    o.source.meter_path = path;
    assert_ok(compare_networks(&one, 1, &o, &c, &err), &err);
    assert_string_equal(c.source.provenance, "measured_external");
    assert_int_equal(c.dropped_energy, 0);
    assert_near(c.networks[0].energy_j.median, 0.55, 1e-3);
    assert_near(c.idle_before_w, 55, 1e-3);
    assert_near(c.networks[0].net_j.median, 0, 1e-3);
    comparison_release(&c);
}

/* A meter that stopped: named, so there is no other energy in its place, and none that is called measured. */
static void test_meter_that_stopped(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double last;    /* seconds before the start at which it was written to last */
        const char *reason;
    } rows[] = {
        { "long ago", 60, "the log ends at 2" },
        { "just now", 1, "no window could be read: the log ends" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Err err;
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork a = { &m, 10e-3, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        const Contestant one = contestant("net", &a);
        Comparison c;
        char path[256];
        print_message("  %s\n", rows[k].name);
        put_meter(path, 400, -rows[k].last - 399 * 0.05, 0.05);
        o.source.meter_path = path;
        assert_int_equal(compare_networks(&one, 1, &o, &c, &err), ERR_DATA);
        if (strstr(err.text, rows[k].reason) == NULL) fail_msg("%s: '%s'", rows[k].name, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_twice_reads_two),
        ROW(test_itself_reads_one),
        ROW(test_figures),
        ROW(test_models_are_no_surer_than_time),
        ROW(test_batch_and_one_network),
        ROW(test_drift_is_no_difference),
        ROW(test_source_that_needs_longer),
        ROW(test_closed_counter_is_said),
        ROW(test_levels_do_not_mix),
        ROW(test_meter_that_lags),
        ROW(test_meter_that_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
