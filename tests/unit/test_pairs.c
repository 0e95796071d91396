#include "fake_tree.h"

#include <math.h>

#include "base/rng.h"
#include "greenness/environment.h"
#include "greenness/ratio.h"
#include "greenness/statistics.h"

/* ---- pairs ---- */

static void test_ratio(void **state)
{
    (void)state;
    Err err;
    Ratio r;
    bool outlier[12];
    double before[12], after[12];
    for (int i = 0; i < 12; i++) {
        before[i] = 1 + 0.1 * i;
        after[i] = before[i] * (0.5 + 0.001 * i);
    }
    after[3] = before[3] * 4;  /* flagged, kept */
    before[5] = NAN;           /* lost */
    after[7] = 0;              /* no energy at all is no ratio */
    assert_ok(ratio_of(before, after, 12, 500, 1, &r, outlier, &err), &err);
    assert_int_equal(r.pairs, 10);
    assert_int_equal(r.outliers, 1);
    assert_true(outlier[3] && !outlier[5] && !outlier[7] && !outlier[0]);
    assert_in_range((int)(r.median * 1e4), 5060, 5085);
    assert_true(r.without_outliers < r.median);
    assert_true(r.low <= r.median && r.median <= r.high);
    assert_ok(ratio_of(before, after, 0, 500, 1, &r, NULL, &err), &err);
    assert_true(isnan(r.median) && r.pairs == 0);
}

static void test_verdict(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double low, high, null;
        int pairs;
        Verdict verdict;
    } rows[] = {
        { "clear saving", 0.7, 0.8, 0.05, 15, VERDICT_LESS },
        { "clear loss", 1.2, 1.3, 0.05, 15, VERDICT_MORE },
        { "interval holds 1", 0.9, 1.1, 0.01, 15, VERDICT_INCONCLUSIVE },
        { "interval touches the band", 0.93, 0.97, 0.05, 15, VERDICT_INCONCLUSIVE },
        { "too few pairs", 0.7, 0.8, 0.05, 5, VERDICT_INCONCLUSIVE },
        { "no pairs", NAN, NAN, 0.05, 0, VERDICT_NONE },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Ratio r = { .low = rows[k].low, .high = rows[k].high, .pairs = rows[k].pairs };
        NullBand null = { .low = 1 - rows[k].null, .high = 1 + rows[k].null, .pairs = 15, .stable = true };
        if (ratio_verdict(&r, &null) != rows[k].verdict) fail_msg("%s", rows[k].name);
        null.pairs = 0;
        if (rows[k].pairs > 0) assert_int_equal(ratio_verdict(&r, &null), VERDICT_INCONCLUSIVE);
    }
}

static double p_of(const double *differences, int count)
{
    double p;
    Err err;
    assert_int_equal(wilcoxon(differences, count, &p, &err), OK);
    return p;
}

/* scipy.stats.wilcoxon of the same numbers, method 'exact' and, for 60, 'approx' with correction. */
static void test_wilcoxon(void **state)
{
    (void)state;
    assert_near(p_of((double[]){ 1, 2, 3, 4, 5, 6 }, 6), 0.03125, 1e-12);
    assert_near(p_of((double[]){ 1, -2, 3, 4, 5, 6 }, 6), 0.09375, 1e-12);
    assert_near(p_of((double[]){ 1, -2, 3, -4, 5, -6, 7, 8 }, 8), 0.4609375, 1e-12);
    assert_near(p_of((double[]){ 0, 0, 1, -1 }, 4), 1, 1e-12);
    assert_true(isnan(p_of((double[]){ 0, 0 }, 2)));
    double many[60];
    for (int i = 0; i < 60; i++) many[i] = (i % 3 == 0 ? -1 : 1) * (i + 1.0);
    assert_near(p_of(many, 60), 0.016901653275967533, 1e-9);
}

/* A third window of the same network lies inside the band but for one time in a hundred, whatever the noise looks like. Two thirds of all
 * windows are of one size here, or all differ; one in fifty is three times as long. */
static double same_window(Rng *rng, bool even)
{
    double noise = even ? 0.05 * rng_normal(rng) : rng_uniform(rng) < 0.67 ? 0.001 * rng_normal(rng) : 0.1;
    return exp(noise) * (rng_uniform(rng) < 0.02 ? 3 : 1);
}

static void test_null_band_covers(void **state)
{
    (void)state;
    static const struct { int pairs; bool even; } rows[] = {
        { 6, true }, { 9, true }, { 15, true }, { 16, true }, { 15, false }, { 60, true },
    };
    Err err;
    Rng rng;
    rng_init(&rng, 23);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        int inside = 0;
        for (int trial = 0; trial < 1000; trial++) {
            double windows[3][60], logs[60];
            NullBand band;
            for (int i = 0; i < rows[k].pairs; i++) {
                for (int w = 0; w < 3; w++) windows[w][i] = same_window(&rng, rows[k].even);
                logs[i] = log(windows[2][i] / windows[0][i]);
            }
            assert_ok(null_band_of(windows[0], windows[1], rows[k].pairs, rows[k].pairs, 1, &band, &err), &err);
            double median = exp(statistics_median(logs, rows[k].pairs));
            inside += band.low <= median && median <= band.high;
        }
        if (inside < 982) fail_msg("%d %s pairs: %d of 1000", rows[k].pairs, rows[k].even ? "even" : "lumpy", inside);
    }
}

/* From fewer than six null pairs nothing is claimed, however far off a ratio of however many pairs is. */
static void test_few_null_pairs(void **state)
{
    (void)state;
    double first[20], second[20];
    Err err;
    for (int i = 0; i < 20; i++) {
        first[i] = 1;
        second[i] = i % 2 == 0 ? 1.01 : 0.99;
    }
    for (int n = 1; n <= 20; n++) {
        NullBand band;
        Ratio ratio = { .median = 0.5, .low = 0.49, .high = 0.51, .pairs = 20 };
        assert_ok(null_band_of(first, second, n, 20, 1, &band, &err), &err);
        Verdict verdict = n < CLAIM_PAIRS ? VERDICT_INCONCLUSIVE : VERDICT_LESS;
        if (ratio_verdict(&ratio, &band) != verdict) fail_msg("%d null pairs", n);
    }
}

/* ---- surroundings ---- */

static void put_surroundings(const char *stat, const char *mhz, const char *temp, const char *throttle, const char *waits)
{
    put_file("proc/stat", stat);
    put_file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", mhz);
    put_file("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", throttle);
    put_file("sys/class/thermal/thermal_zone0/temp", temp);
    put_file("sys/fs/cgroup/box/cpu.stat", waits);
}

static void test_surroundings(void **state)
{
    (void)state;
    Surroundings before, after;
    Environment e;
    Warnings w = { .count = 0 };
    put_file("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3000000\n");
    put_file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    put_file("sys/class/power_supply/BAT0/status", "Discharging\n");
    put_file("proc/loadavg", "1.25 0.5 0.1 2/300 999\n");
    put_file("proc/cpuinfo", "flags\t\t: fpu hypervisor avx2\n");
    put_file("proc/self/cgroup", "0::/box\n");
    put_file("sys/fs/cgroup/box/cpu.max", "150000 100000\n");
    put_surroundings("cpu  1000 0 500 8000 0 0 0 100 0 0\n", "3000000\n", "50000\n", "7\n", "usage_usec 5\nnr_throttled 2\n");
    surroundings_read(tree, 1, &before);
    put_surroundings("cpu  1600 0 700 9000 0 0 0 300 0 0\n", "2000000\n", "95000\n", "10\n", "usage_usec 9\nnr_throttled 6\n");
    surroundings_read(tree, 5, &after);
    environment_of(tree, &before, &after, &e);
    assert_near(e.other_load, (8.0 - 4.0) / 20, 1e-9); /* of 20 CPU seconds 8 were busy, 4 of them ours */
    assert_near(e.steal, 0.1, 1e-9);
    assert_near(e.load_average, 1.25, 0);
    assert_near(e.mhz_before, 3000, 0);
    assert_near(e.mhz_after, 2000, 0);
    assert_near(e.mhz_most, 3000, 0);
    assert_near(e.celsius_after, 95, 0);
    assert_int_equal(e.throttled, 3);
    assert_int_equal(e.quota_throttled, 4);
    assert_near(e.quota_cores, 1.5, 0);
    assert_true(e.is_virtual && e.on_battery);
    assert_string_equal(e.governor, "powersave");
    environment_warn(&e, &w);
    assert_int_equal(w.count, 9);
    assert_string_equal(w.texts[0], "other processes took 20 % of all cores meanwhile");
    assert_string_equal(w.texts[4], "the control group's limit of 1.5 cores stopped this process 4 times");
}

static void test_surroundings_of_nothing(void **state)
{
    (void)state;
    Surroundings s;
    Environment e;
    Warnings w = { .count = 0 };
    surroundings_read(tree, 0, &s);
    environment_of(tree, &s, &s, &e);
    environment_warn(&e, &w);
    assert_true(isnan(e.other_load) && isnan(e.mhz_before) && isnan(e.celsius_before) && e.throttled == -1 && e.quota_cores == 0);
    assert_int_equal(w.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_wilcoxon),
        cmocka_unit_test(test_null_band_covers),
        cmocka_unit_test(test_few_null_pairs),
        ROW(test_surroundings),
        ROW(test_surroundings_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
