#include "fake_tree.h"

#include "base/rng.h"
#include "greenness/carbon.h"
#include "greenness/machine.h"
#include "greenness/statistics.h"

/* ---- statistics ---- */

static void test_median(void **state)
{
    (void)state;
    assert_near(statistics_median((double[]){ 3, 1, 2 }, 3), 2, 0);
    assert_near(statistics_median((double[]){ 4, 1, 3, 2 }, 4), 2.5, 0);
    assert_near(statistics_median((double[]){ 7 }, 1), 7, 0);
}

static void test_interval_of_one_value(void **state)
{
    (void)state;
    Err err;
    Interval i;
    assert_ok(statistics_interval((double[]){ 7 }, 1, 100, 1, &i, &err), &err);
    assert_near(i.low, 7, 0);
    assert_near(i.median, 7, 0);
    assert_near(i.high, 7, 0);
    double same[] = { 2, 2, 2, 2 };
    assert_ok(statistics_interval(same, 4, 100, 1, &i, &err), &err);
    assert_near(i.high - i.low, 0, 0);
}

/* The bootstrap distribution of the median of three values is known: the middle draw of three is the smallest or the largest value with
 * probability 7/27 each, so both ends of the 95 % interval are the extremes. Of 101 values it runs between the order statistics that
 * the binomial names: 51 -+ 1.96 sqrt(101)/2, about the 41st and the 61st. */
static void test_interval_closed_form(void **state)
{
    (void)state;
    Err err;
    Interval i;
    double three[] = { 5, 1, 3 };
    assert_ok(statistics_interval(three, 3, 2000, 9, &i, &err), &err);
    assert_near(i.low, 1, 0);
    assert_near(i.median, 3, 0);
    assert_near(i.high, 5, 0);
    double many[101];
    for (int k = 0; k < 101; k++) many[k] = (k * 37) % 101 + 1;
    assert_ok(statistics_interval(many, 101, 4000, 3, &i, &err), &err);
    assert_near(i.median, 51, 0);
    assert_near(i.low, 41, 1.01);
    assert_near(i.high, 61, 1.01);
}

/* 95 % of 600 are 570, and an exact interval of so few values holds the truth a little more often: 96.5 % for 15, 95.9 % for 20, 96.2 % for
 * 40. The percentile bootstrap alone would hold it in 91.3 %, 92.7 % and 94 %. */
static void test_interval_covers(void **state)
{
    (void)state;
    static const int sizes[] = { 6, 9, 15, 20, 40 };
    Err err;
    Rng rng;
    rng_init(&rng, 5);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int covered = 0;
        for (int trial = 0; trial < 600; trial++) {
            double values[40];
            for (int k = 0; k < sizes[s]; k++) values[k] = 10 + rng_normal(&rng);
            Interval i;
            assert_ok(statistics_interval(values, sizes[s], 300, (uint64_t)trial, &i, &err), &err);
            covered += i.low <= 10 && 10 <= i.high;
        }
        if (covered < 562 || covered > 596) fail_msg("of %d values: %d of 600", sizes[s], covered);
    }
}

static void test_interval_is_seeded(void **state)
{
    (void)state;
    Err err;
    double values[60], again[60];
    Rng rng;
    rng_init(&rng, 11);
    for (int k = 0; k < 60; k++) values[k] = again[59 - k] = rng_uniform(&rng); /* another order changes nothing */
    Interval a, b, c;
    assert_ok(statistics_interval(values, 60, 500, 7, &a, &err), &err);
    assert_ok(statistics_interval(again, 60, 500, 7, &b, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    bool differs = false;
    for (uint64_t seed = 8; seed < 16; seed++) {
        assert_ok(statistics_interval(values, 60, 50, seed, &c, &err), &err);
        differs = differs || memcmp(&a, &c, sizeof a) != 0;
    }
    assert_true(differs);
}

/* ---- models ---- */

static void test_energy_and_carbon(void **state)
{
    (void)state;
    Sourced e = energy_of_cpu_time(0.5, 0, "no RAPL on this machine");
    assert_near(e.value, 0.5 * energy_watts_per_core, 1e-12);
    assert_string_equal(e.source, "modelled: CPU time x 12 W/core; adds nothing to time; no RAPL on this machine");
    assert_near(energy_of_cpu_time(2, 3.5, "").value, 7, 1e-12);
    Sourced c = carbon_of_grid(&(Sourced){ .value = 3.6e6, .source = "measured: RAPL" }, NULL, 0);
    assert_near(c.value, carbon_world.g_per_kwh, 1e-9);
    assert_string_equal(c.source, "modelled: measured energy x 445 g/kWh (world 2024, CO2 at generation, IEA Electricity 2025), PUE 1.00");
    c = carbon_of_grid(&e, &(GridFactor){ .g_per_kwh = 100, .region = "as given" }, 0);
    assert_near(c.value, e.value / 3.6e6 * 100, 1e-12);
    assert_string_equal(c.source, "modelled: modelled energy x 100 g/kWh (as given), PUE 1.00");
    assert_true(isnan(carbon_of_grid(&(Sourced){ .value = NAN }, NULL, 0).value));
}

/* ---- machine ---- */

static void test_quota(void **state)
{
    (void)state;
    assert_near(machine_quota("150000 100000\n"), 1.5, 1e-12);
    assert_near(machine_quota("max 100000\n"), 0, 0);
    assert_near(machine_quota(""), 0, 0);
    assert_near(machine_quota("12"), 0, 0);
    put_file("a/cpu.max", "400000 100000\n");
    put_file("a/b/cpu.max", "max 100000\n");
    put_file("a/b/c/cpu.max", "500000 100000\n");
    assert_near(machine_cgroup_quota(tree, "/a/b/c"), 4, 1e-12); /* the tightest on the way up */
    assert_near(machine_cgroup_quota(tree, "/"), 0, 0);
    put_file("cpu.max", "50000 100000\n");
    assert_near(machine_cgroup_quota(tree, "/a/b"), 0.5, 1e-12);
}

static void test_machine(void **state)
{
    (void)state;
    MachineInfo m;
    machine_info(&m);
    assert_true(m.cores >= 1 && m.threads >= m.cores);
    assert_true(strlen(m.cpu) > 0 && strlen(m.os) > 0 && strlen(m.isa) > 0);
    int64_t before = peak_memory();
    size_t size = 64u << 20;
    volatile char *block = malloc(size);
    assert_non_null((void *)block);
    for (size_t i = 0; i < size; i += 4096) block[i] = 1;
    assert_true(before > 0 && peak_memory() >= (int64_t)size);
    free((void *)block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_interval_of_one_value),
        cmocka_unit_test(test_interval_closed_form),
        cmocka_unit_test(test_interval_covers),
        cmocka_unit_test(test_interval_is_seeded),
        cmocka_unit_test(test_energy_and_carbon),
        ROW(test_quota),
        cmocka_unit_test(test_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
