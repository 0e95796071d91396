/* Attempts to get figures of two sources into one ratio, and readings that lie, vanish or are closed in the middle: the pair is lost, or
 * the source with all of its windows; no number is made of two. */
#include "compare_fixture.h"

#include "pipeline/comparison.h"
#include "pipeline/history.h"

/* ---- one network is read and the other is not ---- */

static FakeNetwork *calling;
static Status named_call(void *context, Err *err)
{
    calling = context;
    return network_call(context, err);
}

static FakeNetwork *blind; /* the counter stands still while this one runs */
static void stops_for_one(FakeMachine *m) { m->stopped = calling == blind; }

/* The counter works for one network only: that one's figure stands, the other has none, and nothing is set against a model. */
static void test_vanishes_for_one(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        Err err;
        FakeMachine m = { .idle_watts = 10, .fault = stops_for_one };
        FakeNetwork a = { &m, 10e-3, 40, 1, 0 }, b = { &m, 5e-3, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        Contestant both[] = { contestant("before", &a), contestant("after", &b) };
        Comparison c;
        both[0].call = both[1].call = named_call;
        blind = which == 0 ? &a : &b;
        machine_counter(&m);
        assert_ok(compare_networks(both, 2, &o, &c, &err), &err);
        const Compared *seen = &c.networks[1 - which], *unseen = &c.networks[which];
        assert_string_equal(c.source.id, "powercap");
        assert_true(isnan(unseen->energy_j.median) && isnan(unseen->net_j.median) && isnan(unseen->watts.median));
        assert_true(isnan(unseen->carbon_g.value) && isnan(unseen->sci.total_g));
        assert_true(seen->energy_j.median > 0);
        assert_int_equal(c.networks[1].energy.pairs, 0);
        assert_int_equal(c.networks[1].energy.verdict, VERDICT_NONE);
        assert_int_equal(c.networks[1].power, VERDICT_NONE);
        assert_int_equal(c.dropped_energy, c.rounds);
        assert_int_equal(c.networks[1].time.verdict, VERDICT_LESS); /* time is not energy's business */
        assert_true(warned(&c, "stood still"));
        GoalNumbers before = { .energy_j = 1 }, after;
        GoalResult results[GOAL_COUNT];
        Goals g;
        goals_init(&g);
        g.max_energy_ratio = 1;
        goal_numbers_compared(&after, &c, 1);
        assert_int_equal(goals_judge(&g, &before, &after, results), 1);
        assert_int_equal(results[0].outcome, GOAL_MISSED); /* not measured */
        assert_true(isnan(results[0].found));
        next_machine(&m, &c);
    }
}

/* ---- readings that go wrong in the middle ---- */

static void closed(FakeMachine *m) /* the file is emptied: an open descriptor reads nothing any more */
{
    if (m->calls < m->fault_at || m->counter <= 0) return;
    assert_int_equal(ftruncate(m->counter, 0), 0);
    close(m->counter);
    m->counter = -1;
}

static void closed_for_a_while(FakeMachine *m)
{
    static int kept;
    if (m->calls == m->fault_at) {
        kept = m->counter;
        assert_int_equal(ftruncate(kept, 0), 0);
        m->counter = -1;
    } else if (m->calls == m->fault_at + 300 && m->counter < 0) {
        m->counter = kept;
    }
}

static void opened_late(FakeMachine *m)
{
    if (m->calls != m->fault_at) return;
    machine_counter(m);
}

static const struct {
    const char *name;
    void (*fault)(FakeMachine *);
    bool counter; /* from the beginning */
    const char *source, *said;
    int energy_pairs; /* at least, of the rounds; -1: all but a few */
} middle_rows[] = {
    { "a counter that cannot be read any more", closed, true, "powercap", "no number", 1 },
    { "a counter that cannot be read for a while", closed_for_a_while, true, "powercap", "no number", -1 },
    { "a counter that is opened to us in the middle is not joined to the model", opened_late, false, "cpu-time", NULL, -1 },
};

static void test_middle(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof middle_rows / sizeof *middle_rows; k++) {
        print_message("  %s\n", middle_rows[k].name);
        FakeMachine m = { .idle_watts = 10, .noise = 0.01, .fault = middle_rows[k].fault, .fault_at = 900 };
        FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = { .seconds = 5e-3, .watts = 40, .times = 1 };
        Comparison c;
        if (middle_rows[k].counter) machine_counter(&m);
        compare_two(&m, &a, &b, 2, &c);
        assert_string_equal(c.source.id, middle_rows[k].source);
        if (middle_rows[k].said != NULL) assert_non_null(strstr(c.dropped_reason, middle_rows[k].said));
        assert_int_equal(c.networks[1].energy.pairs, c.rounds - c.dropped_energy);
        assert_in_range(c.networks[1].energy.pairs, middle_rows[k].energy_pairs > 0 ? 1 : c.rounds - 6, c.rounds);
        assert_int_equal(c.networks[1].time.pairs, c.rounds); /* clocks went on */
        bool measured = strcmp(c.source.id, "powercap") == 0;
        assert_near(c.networks[0].energy_j.median, measured ? 0.5 : 0.12, measured ? 0.02 : 0.005);
        assert_near(c.networks[1].energy.median, 0.5, 0.02);
        next_machine(&m, &c);
    }
}

/* Four times what the maker states is the line: 260 W of a processor of 65 W. */
static void test_four_times(void **state)
{
    (void)state;
    static const struct { double watts; const char *source; } rows[] = { { 240, "powercap" }, { 255, "powercap" }, { 275, "cpu-time" } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork a = { .seconds = 10e-3, .watts = rows[k].watts - 10, .times = 1 }, b = a;
        Comparison c;
        machine_counter(&m);
        put_file("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "65000000\n");
        compare_two(&m, &a, &b, 2, &c);
        assert_string_equal(c.source.id, rows[k].source);
        assert_int_equal(warned(&c, "over the 260 W that are possible"), strcmp(rows[k].source, "cpu-time") == 0);
        next_machine(&m, &c);
    }
}

/* ---- a meter's log, and a clock that is set ---- */

static double meter_clock; /* the meter keeps its own time */
static void meter_writes(void *context, double seconds)
{
    char path[256];
    machine_sleep(context, seconds);
    snprintf(path, sizeof path, "%s/meter.csv", tree);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (double now = 1.7672256e9 + fake_now.monotonic - 1000; meter_clock < now; meter_clock += 0.05) fprintf(f, "%.3f,50\n", meter_clock);
    fclose(f);
}

static void clock_set(FakeMachine *m) { if (m->calls == m->fault_at) fake_now.real -= 3600; }

static void test_log_and_clock(void **state)
{
    (void)state;
    Err err;
    FakeMachine m = { .idle_watts = 10, .fault = clock_set, .fault_at = 3000 };
    FakeNetwork a = { &m, 10e-3, 40, 1, 0 }, b = { &m, 5e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    const Contestant both[] = { contestant("before", &a), contestant("after", &b) };
    Comparison c;
    char path[256];
    snprintf(path, sizeof path, "%s/meter.csv", tree);
    meter_clock = 1.7672256e9 - 20;
    meter_writes(&m, 1);
    o.sleep = meter_writes;
    o.source.meter_path = path;
    o.budget = 60;
    assert_ok(compare_networks(both, 2, &o, &c, &err), &err);
    assert_string_equal(c.source.provenance, "measured_external");
    assert_true(c.dropped_energy > 0 && c.dropped_energy < c.rounds);
    assert_int_equal(c.networks[1].energy.pairs, c.rounds - c.dropped_energy);
    assert_int_equal(c.dropped_time, 0);
    assert_near(c.networks[0].energy_j.median, 0.5, 0.01);
    assert_near(c.networks[1].energy.median, 0.5, 0.01);
    comparison_release(&c);
}

static void suspended(FakeMachine *m)
{
    if (m->calls != m->fault_at) return;
    fake_now.boot += 600;
    fake_now.real += 600;
}

/* A model is no witness of a window in which the machine slept, either. */
static void test_suspended_model(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10, .fault = suspended, .fault_at = 200 };
    FakeNetwork a = { .seconds = 10e-3, .watts = 40, .times = 1 }, b = { .seconds = 5e-3, .watts = 40, .times = 1 };
    Comparison c;
    compare_two(&m, &a, &b, 2, &c);
    assert_string_equal(c.source.id, "cpu-time");
    assert_int_equal(c.dropped_time, 1);
    assert_int_equal(c.dropped_energy, 1);
    assert_non_null(strstr(c.dropped_reason, "suspended for 600 s"));
    assert_near(c.networks[1].energy.median, 0.5, 1e-6);
    comparison_release(&c);
}

/* ---- from build to build ---- */

static HistoryEntry entry_of(const char *meter, double joules)
{
    HistoryEntry e = { .created = "2025-01-31T12:00:00Z", .version = "1", .name = "small.onnx", .machine = "cpu" };
    for (int i = 0; i < HISTORY_COUNT; i++) e.before[i] = e.after[i] = (HistoryPoint){ NAN, NAN, NAN, false };
    snprintf(e.meter, sizeof e.meter, "%s", meter);
    e.after[HISTORY_ENERGY] = (HistoryPoint){ joules, 0.99 * joules, 1.01 * joules, false };
    e.after[HISTORY_TIME] = (HistoryPoint){ 1e-3, 0.99e-3, 1.01e-3, false };
    return e;
}

static void test_history(void **state)
{
    (void)state;
    static const struct { const char *first, *last; HistoryChange change; } rows[] = {
        { "measured: RAPL through powercap, 1 package", "measured: RAPL through powercap, 1 package", HISTORY_WORSE },
        { "measured: RAPL through powercap, 1 package", "measured: external meter", HISTORY_UNKNOWN }, /* it sees more: no regression */
        { "measured: RAPL through powercap, 1 package", "measured: RAPL through powercap, 1 package + dram", HISTORY_UNKNOWN },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        HistoryEntry entries[2] = { entry_of(rows[k].first, 1), entry_of(rows[k].last, 2) };
        History h = { .entries = entries, .count = 2 };
        HistoryTrend t;
        history_trend(&h, HISTORY_ENERGY, &t);
        assert_int_equal(t.change, rows[k].change);
        if (rows[k].change == HISTORY_UNKNOWN) assert_non_null(strstr(t.note, "meter"));
        history_trend(&h, HISTORY_TIME, &t); /* time is time */
        assert_int_equal(t.change, HISTORY_SAME);
    }
}

static void test_history_line(void **state)
{
    (void)state;
    Err err;
    char path[256];
    History h;
    HistoryEntry e = entry_of("measured: RAPL through powercap, 1 package, +-10 %", 1);
    snprintf(path, sizeof path, "%s/runs.jsonl", tree);
    assert_ok(history_append(path, &e, &err), &err);
    assert_ok(history_read(path, &h, &err), &err);
    assert_int_equal(h.count, 1);
    assert_string_equal(h.entries[0].meter, e.meter);
    history_release(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_vanishes_for_one), ROW(test_middle),          ROW(test_four_times),    ROW(test_log_and_clock),
        ROW(test_suspended_model),  cmocka_unit_test(test_history), ROW(test_history_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
