/* What passes cost, one by one and together, and after how many inferences that is saved again. */
#include "compare_fixture.h"

#include "greenness/account.h"
#include "pipeline/html_report.h"
#include "pipeline/run.h"

/* ---- paid back ---- */

static const struct {
    const char *name;
    double cost, before, ratio, low, high;
    Verdict verdict;
    double inferences, from, to;
    const char *note;
} payback_rows[] = {
    { "half is saved", 100, 2, 0.5, 0.4, 0.6, VERDICT_LESS, 100, 100 / 1.2, 125, "" },
    { "a tenth is saved", 100, 2, 0.9, 0.88, 0.92, VERDICT_LESS, 500, 100 / 0.24, 625, "" },
    { "all is saved", 100, 2, 0, 0, 0, VERDICT_LESS, 50, 50, 50, "" },
    { "the interval touches 1: no end is known", 100, 2, 0.9, 0.8, 1, VERDICT_LESS, 500, 250, NAN, "" },
    { "compressing cost nothing", 0, 2, 0.5, 0.4, 0.6, VERDICT_LESS, 0, 0, 0, "" },
    { "inconclusive", 100, 2, 0.99, 0.95, 1.03, VERDICT_INCONCLUSIVE, NAN, NAN, NAN, "no saving of energy was shown: inconclusive" },
    { "it takes more than before", 100, 2, 1.2, 1.1, 1.3, VERDICT_MORE, NAN, NAN, NAN, "never: an inference takes more energy" },
    { "the same energy, called less", 100, 2, 1, 0.9, 1.1, VERDICT_LESS, NAN, NAN, NAN, "no saving of energy was shown" },
    { "energy was not measured", 100, 2, NAN, NAN, NAN, VERDICT_NONE, NAN, NAN, NAN, "energy was not measured" },
    { "the cost is not known", NAN, 2, 0.5, 0.4, 0.6, VERDICT_LESS, NAN, NAN, NAN, "energy was not measured" },
    { "nor what it was before", 100, NAN, 0.5, 0.4, 0.6, VERDICT_LESS, NAN, NAN, NAN, "energy was not measured" },
};

static void same(double found, double expected, const char *name)
{
    bool equal = isnan(expected) ? isnan(found) : fabs(found - expected) <= 1e-9 * (1 + expected);
    if (!equal) fail_msg("%s: %g, not %g", name, found, expected);
}

static void test_payback(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof payback_rows / sizeof *payback_rows; k++) {
        Compared before, after;
        Payback p;
        compared_init(&before);
        compared_init(&after);
        before.energy_j.median = payback_rows[k].before;
        after.energy = (Ratio){ .median = payback_rows[k].ratio, .low = payback_rows[k].low, .high = payback_rows[k].high,
                                .verdict = payback_rows[k].verdict };
        payback_of(payback_rows[k].cost, &before, &after, &p);
        same(p.inferences, payback_rows[k].inferences, payback_rows[k].name);
        same(p.low, payback_rows[k].from, payback_rows[k].name);
        same(p.high, payback_rows[k].to, payback_rows[k].name);
        if (strncmp(p.note, payback_rows[k].note, strlen(payback_rows[k].note)) != 0) fail_msg("%s: '%s'", payback_rows[k].name, p.note);
        assert_int_equal(p.note[0] == '\0', isfinite(payback_rows[k].inferences));
    }
}

/* ---- pass by pass ---- */

static void work(FakeMachine *m, double seconds)
{
    machine_spend(m, seconds, m->idle_watts + 40);
    m->cpu += seconds;
}

static Account opened(FakeMachine *m, const char *meter)
{
    Err err;
    const SourceSettings settings = { .sysroot = tree, .clock = machine_clock, .context = m, .meter_path = meter };
    Account a = { .cpu = machine_cpu, .sleep = machine_sleep };
    assert_ok(account_open(&a, &settings, &err), &err);
    return a;
}

/* Passes of 20 s and of 10 s, and the time between them, in which the network is saved and measured, is not theirs. */
static void passes(Account *a, FakeMachine *m)
{
    account_begin(a);
    work(m, 20);
    account_end(a);
    machine_sleep(m, 100);
    account_begin(a);
    work(m, 10);
    account_end(a);
}

static void test_windows(void **state)
{
    (void)state;
    static const struct { bool counter; double first, second; const char *source; } rows[] = {
        { true, 1000, 500, "measured: RAPL through powercap" },
        { false, 240, 120, "modelled: CPU time x watts" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        FakeMachine m = { .idle_watts = 10 };
        if (rows[k].counter) machine_counter(&m);
        Account a = opened(&m, NULL);
        passes(&a, &m);
        account_settle(&a);
        Sourced first = account_window(&a, 0), second = account_window(&a, 1), total = account_total(&a);
        assert_near(first.value, rows[k].first, 1e-2);
        assert_near(second.value, rows[k].second, 1e-2);
        assert_near(total.value, rows[k].first + rows[k].second, 1e-2);
        assert_int_equal(strncmp(first.source, rows[k].source, strlen(rows[k].source)), 0);
        assert_true(isnan(account_window(&a, 2).value));
        account_close(&a);
        if (m.counter > 0) close(m.counter);
        new_tree();
    }
}

/* One pass is lost: the others keep their figures, and there is no sum. */
static void test_lost_pass(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10 };
    machine_counter(&m);
    Account a = opened(&m, NULL);
    passes(&a, &m);
    account_begin(&a);
    work(&m, 5);
    m.joules += 1e6;
    account_end(&a);
    account_settle(&a);
    assert_near(account_window(&a, 0).value, 1000, 1e-2);
    assert_true(isnan(account_window(&a, 2).value));
    assert_non_null(strstr(account_window(&a, 2).source, "not available: "));
    assert_true(isnan(account_total(&a).value));
    account_close(&a);
    close(m.counter);
}

/* A pass of a fifth of a millisecond is over before the counter moves: nothing of it is lost but its own figure's precision. */
static void test_short_pass(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10 };
    machine_counter(&m);
    Account a = opened(&m, NULL);
    passes(&a, &m);
    account_begin(&a);
    pass_time(0.2e-3); /* the counter shows it at its next step */
    account_end(&a);
    account_settle(&a);
    assert_near(account_window(&a, 2).value, 0, 0);
    assert_near(account_total(&a).value, 1500, 1e-2);
    account_begin(&a); /* standing still for a second is another thing */
    pass_time(1);
    account_end(&a);
    assert_true(isnan(account_window(&a, 3).value));
    account_close(&a);
    close(m.counter);
}

/* A meter writes its log while the machine rests: passes wait for it. While one runs, nothing is predicted from a log that is behind. */
static double meter_told;
static bool meter_broken;
static void meter_sleep(void *context, double seconds)
{
    char path[256];
    machine_sleep(context, seconds);
    if (meter_broken) return;
    snprintf(path, sizeof path, "%s/meter.csv", tree);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (; meter_told < fake_now.real; meter_told += 0.5) fprintf(f, "%.3f,55\n", meter_told);
    fclose(f);
}

static void test_meter(void **state)
{
    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        FakeMachine m = { .idle_watts = 10 };
        char path[256];
        snprintf(path, sizeof path, "%s/meter.csv", tree);
        meter_told = fake_now.real - 20;
        meter_broken = false;
        meter_sleep(&m, 1);
        meter_broken = broken != 0;
        Account a = opened(&m, path);
        a.sleep = meter_sleep;
        account_begin(&a);
        work(&m, 20);
        assert_true(isnan(account_so_far(&a)));
        assert_true(isnan(account_task(&a, "walking", 0)) && isnan(account_task(&a, "walking", 0.5)));
        account_end(&a);
        account_begin(&a);
        work(&m, 10);
        account_end(&a);
        account_settle(&a);
        if (broken) {
            assert_true(isnan(account_window(&a, 0).value) && isnan(account_total(&a).value));
            assert_non_null(strstr(account_total(&a).source, "not available: "));
        } else {
            assert_near(account_window(&a, 0).value, 1100, 1);
            assert_near(account_window(&a, 1).value, 550, 1);
            assert_near(account_total(&a).value, 1650, 1);
            assert_int_equal(strncmp(account_total(&a).source, "measured: ", 10), 0);
        }
        account_close(&a);
        new_tree();
    }
}

/* On the page: a bar for each pass; none where one of them has no figure. */
static void test_page(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        char text[1024];
        StrBuf b = { 0 };
        snprintf(text, sizeof text,
                 "{\"before\": {\"file_bytes\": 10}, \"after\": {\"file_bytes\": 5}, \"cost\": {\"seconds\": 3, \"pays_back\": 100, "
                 "\"pays_back_low\": 80, \"pays_back_high\": null}, \"steps\": ["
                 "{\"pass\": \"prune\", \"seconds\": 1, \"cost_energy_j\": {\"value\": 12, \"source\": \"measured: RAPL\"}},"
                 "{\"pass\": \"quantize\", \"seconds\": 2, \"cost_energy_j\": {\"value\": %s, \"source\": \"measured: RAPL\"}}]}",
                 whole ? "30" : "null");
        cJSON *json = cJSON_Parse(text);
        assert_non_null(json);
        html_report(json, &b);
        assert_false(b.failed);
        assert_non_null(strstr(b.data, "Time of each pass"));
        assert_int_equal(strstr(b.data, "Energy of each pass") != NULL, whole);
        assert_int_equal(strstr(b.data, "42.0") != NULL || strstr(b.data, "42\xC2\xA0J") != NULL, whole); /* the sum */
        assert_non_null(strstr(b.data, "no end known"));
        strbuf_release(&b);
        cJSON_Delete(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payback), ROW(test_windows), ROW(test_lost_pass), ROW(test_short_pass), ROW(test_meter),
        cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
