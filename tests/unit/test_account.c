#include "compare_fixture.h"

#include "base/log.h"
#include "greenness/account.h"

/* Spends seconds of work at 50 W over an idle machine of 10 W. */
static void work(FakeMachine *m, double seconds)
{
    machine_spend(m, seconds, m->idle_watts + 40);
    m->cpu += seconds;
}

static Account opened(FakeMachine *m)
{
    Err err;
    const SourceSettings settings = { .sysroot = tree, .clock = machine_clock, .context = m };
    Account a = { .cpu = machine_cpu };
    assert_ok(account_open(&a, &settings, &err), &err);
    return a;
}

/* Two windows with a pause between them that is not counted. */
static void test_windows(void **state)
{
    (void)state;
    for (int counter = 0; counter < 2; counter++) {
        FakeMachine m = { .idle_watts = 10 };
        if (counter) machine_counter(&m);
        Account a = opened(&m);
        account_begin(&a);
        work(&m, 20);
        assert_near(account_so_far(&a), counter ? 1000 : 240, 1e-2);
        account_end(&a);
        machine_sleep(&m, 100);
        account_begin(&a);
        work(&m, 10);
        account_end(&a);
        Sourced total = account_total(&a);
        assert_near(total.value, counter ? 1500 : 360, 1e-2); /* 50 W, or 12 W for each second of CPU time */
        assert_non_null(strstr(total.source, counter ? "measured: RAPL through powercap" : "modelled: CPU time"));
        account_close(&a);
        if (counter) close(m.counter);
    }
}

/* A lost window leaves no sum: part of one is never taken for the whole. */
static void test_lost_window(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10 };
    machine_counter(&m);
    Account a = opened(&m);
    account_begin(&a);
    work(&m, 5);
    account_end(&a);
    account_begin(&a);
    work(&m, 5);
    m.joules += 1e6;
    account_end(&a);
    Sourced total = account_total(&a);
    assert_true(isnan(total.value));
    assert_non_null(strstr(total.source, "not available: "));
    assert_non_null(strstr(total.source, "that are possible"));
    account_close(&a);
    close(m.counter);
}

/* A tenth of the work is a tenth of the energy: the whole is known from it. The longest task that was predicted is kept. */
static void test_prediction(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10 };
    machine_counter(&m);
    Account a = opened(&m);
    account_begin(&a);
    work(&m, 3); /* before the task */
    assert_true(isnan(account_task(&a, "walking", 0)));
    work(&m, 1);
    assert_true(isnan(account_task(&a, "walking", 0.01))); /* too early to say */
    work(&m, 9);
    assert_near(account_task(&a, "walking", 0.1), 5000, 1e-1);
    work(&m, 90);
    assert_near(account_task(&a, "walking", 1), 5000, 1e-1);
    assert_true(isnan(account_task(&a, "settling", 0)));
    work(&m, 4);
    assert_near(account_task(&a, "settling", 0.4), 500, 1e-1);
    work(&m, 16); /* twice as long as it looked */
    account_task(&a, "settling", 1);
    account_end(&a);
    assert_string_equal(a.kept_task, "walking");
    assert_near(a.kept_predicted, 5000, 1e-1);
    assert_near(a.kept_found, 5000, 1e-1);
    account_close(&a);
    close(m.counter);
}

/* The log tells whoever watches of each task's begin, way and end. */
typedef struct Seen {
    char text[256];
} Seen;

static void see(void *user, const char *task, double share, char *text, size_t size)
{
    Seen *s = user;
    size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "%s %.1f; ", task, share);
    snprintf(text, size, ", more");
}

static void test_log_tells(void **state)
{
    (void)state;
    Seen seen = { "" };
    Log log = { .watch = see, .watch_user = &seen };
    progress_begin(&log, "walking", 10);
    log.watched = -1; /* long ago */
    progress_step(&log, 3);
    assert_string_equal(log.added, ", more");
    progress_step(&log, 4); /* too soon after */
    progress_end(&log);
    progress_end(&log);     /* there is no task any more */
    assert_string_equal(seen.text, "walking 0.0; walking 0.3; walking 1.0; ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_windows),
        ROW(test_lost_window),
        ROW(test_prediction),
        cmocka_unit_test(test_log_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
