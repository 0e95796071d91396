/* Sources that measure, other than counters: meter logs, sensors, batteries, graphics cards. */
#include "test.h"

#include "fake_tree.h"

#include "greenness/carbon.h"
#include "greenness/profile.h"

/* ---- meter logs ---- */

#define T0 1767225600.0 /* the real clock of the fake tree */

static const struct {
    const char *name, *log, *more; /* more: what the meter adds while the window runs */
    double from, seconds, joules;  /* NaN: not good */
    ReadingState state;
    const char *reason;
    double offset;
} meter_cases[] = {
    { "time,watts", "1767225600,10\n1767225601,10\n1767225602,30\n", NULL, 0, 2, 30, READING_GOOD, NULL, 0 },
    { "named columns in any order", "n,power_w,t\n1,10,1767225600\n2,10,1767225601\n3,30,1767225602\n", NULL, 0, 2, 30, READING_GOOD, NULL,
      0 },
    { "dates", "timestamp;watts\n2026-01-01T00:00:00Z;20\n2026-01-01T00:00:01.5Z;20\n2026-01-01T00:00:03Z;20\n", NULL, 0, 2, 40,
      READING_GOOD,
      NULL, 0 },
    { "milliseconds", "1767225600000,10\n1767225601000,10\n1767225602000,10\n", NULL, 0, 2, 20, READING_GOOD, NULL, 0 },
    { "a running sum of joules", "time,joules\n1767225600,1000\n1767225601,1050\n1767225602,1100\n", NULL, 0.5, 1, 50, READING_GOOD, NULL,
      0 },
    { "part of two intervals", "1767225600,0\n1767225601,10\n1767225602,20\n", NULL, 0.5, 1, 10, READING_GOOD, NULL, 0 },
    { "the meter's clock is ahead", "1767225700,10\n1767225701,10\n1767225702,10\n", NULL, 0, 2, 20, READING_GOOD, NULL, 100 },
    { "the meter goes on writing", "1767225600,10\n1767225601,10\n", "1767225602,10\n1767225603,10\n", 0, 3, 30, READING_GOOD, NULL, 0 },
    { "the last line is not whole yet", "1767225600,10\n1767225601,10\n", "1767225602,1", 0, 2, NAN, READING_PENDING, "ends 1 s before",
      0 },
    { "a gap inside the window",
      "1767225600,10\n1767225601,10\n1767225602,10\n1767225603,10\n1767225604,10\n1767225620,10\n1767225621,10\n", NULL, 0, 20, NAN,
      READING_DROPPED, "gap of 16 s", 0 },
    { "the log begins too late", "1767225605,10\n1767225606,10\n1767225607,10\n", NULL, 0, 2, NAN, READING_DROPPED, "begins 5 s after", 0 },
    { "the meter's clock is set back meanwhile", "1767225600,10\n1767225601,10\n", "1767225500,10\n", 0, 2, NAN, READING_DROPPED,
      "line 3: the time goes back by 101", 0 },
    { "a machine of 10 kW", "1767225600,10000\n1767225601,10000\n1767225602,10000\n", NULL, 0, 2, NAN, READING_DROPPED,
      "that are possible", 0 },
    { "the meter was pulled", "1767225600,0\n1767225601,0\n1767225602,0\n", NULL, 0, 2, NAN, READING_DROPPED, "stood still", 0 },
};

static void append(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_meter(void **state)
{
    for (size_t k = 0; k < sizeof meter_cases / sizeof *meter_cases; k++) {
        print_message("  %s\n", meter_cases[k].name);
        assert_int_equal(make_tree(state), 0);
        char path[256];
        SourceSettings settings = fake_settings();
        Source s;
        Reading r;
        put_file("plug.csv", meter_cases[k].log);
        snprintf(path, sizeof path, "%s/plug.csv", tree);
        settings.meter_path = path;
        settings.meter_offset = meter_cases[k].offset;
        Err err;
        assert_ok(source_open_best(&settings, &s, &err), &err);
        assert_ptr_equal(s.kind, &source_meter);
        pass_time(meter_cases[k].from);
        source_begin(&s);
        if (meter_cases[k].more != NULL) append("plug.csv", meter_cases[k].more);
        pass_time(meter_cases[k].seconds);
        source_end(&s, NULL, &r);
        if (r.state != meter_cases[k].state) fail_msg("%s: state %d, %s", meter_cases[k].name, (int)r.state, r.reason);
        if (isnan(meter_cases[k].joules)) assert_true(isnan(r.joules));
        else assert_near(r.joules, meter_cases[k].joules, 1e-4);
        if (meter_cases[k].reason != NULL && strstr(r.reason, meter_cases[k].reason) == NULL)
            fail_msg("%s: '%s'", meter_cases[k].name, r.reason);
        if (r.state == READING_PENDING) { /* the meter writes the rest */
            append("plug.csv", "0\n1767225603,10\n");
            source_settle(&s, &r);
            assert_int_equal(r.state, READING_GOOD);
            assert_near(r.joules, 20, 1e-4);
        }
        source_close(&s);
        assert_int_equal(remove_tree(state), 0);
    }
}

static void test_clock_step(void **state)
{
    (void)state;
    char path[256];
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    put_file("plug.csv", "1767225600,10\n1767225601,10\n1767225602,10\n");
    snprintf(path, sizeof path, "%s/plug.csv", tree);
    settings.meter_path = path;
    assert_true(source_open(&source_meter, &settings, &s));
    source_begin(&s);
    pass_time(1);
    fake_now.real += 0.5;
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_DROPPED);
    assert_non_null(strstr(r.reason, "the clock was set by 0.5 s"));
    source_close(&s);
}

static const struct {
    const char *name, *log, *reason;
} bad_logs[] = {
    { "empty", "", "fewer than 2 samples" },
    { "one sample", "1767225600,10\n", "fewer than 2 samples" },
    { "no such columns", "a,b\n1,2\n", "line 1: no columns" },
    { "no number", "1767225600,10\n1767225601,ten\n", "line 2" },
    { "negative watts", "1767225600,10\n1767225601,-10\n", "line 2" },
    { "not a number", "1767225600,10\n1767225601,nan\n", "line 2" },
    { "too few columns", "1767225600,10\n1767225601\n", "line 2" },
    { "a time without its zone", "2026-01-01T00:00:00,10\n2026-01-01T00:00:01,10\n", "line 1" },
    { "time goes back", "1767225600,10\n1767225599,10\n", "line 2: the time goes back by 1" },
    { "energy goes back", "t,joules\n1767225600,10\n1767225601,9\n", "line 3: the energy goes back by 1" },
};

static void test_bad_logs(void **state)
{
    (void)state;
    char path[256];
    SourceSettings settings = fake_settings();
    Source s;
    Err err;
    snprintf(path, sizeof path, "%s/plug.csv", tree);
    settings.meter_path = path;
    assert_status(source_open_best(&settings, &s, &err), ERR_IO, &err); /* it was named: nothing else takes its place */
    assert_status(source_check_named(&settings, &err), ERR_IO, &err);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody waits for a pipe */
    assert_status(source_open_best(&settings, &s, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "no regular file"));
    assert_int_equal(unlink(path), 0);
    for (size_t k = 0; k < sizeof bad_logs / sizeof *bad_logs; k++) {
        print_message("  %s\n", bad_logs[k].name);
        put_file("plug.csv", bad_logs[k].log);
        assert_status(source_open_best(&settings, &s, &err), ERR_DATA, &err);
        if (strstr(err.text, bad_logs[k].reason) == NULL) fail_msg("%s: '%s'", bad_logs[k].name, err.text);
        assert_status(source_check_named(&settings, &err), ERR_DATA, &err);
        if (strstr(err.text, bad_logs[k].reason) == NULL) fail_msg("%s: '%s'", bad_logs[k].name, err.text);
    }
}

/* What was named is checked before the work; what was not is not looked for. */
static void test_named(void **state)
{
    (void)state;
    char path[256];
    SourceSettings settings = fake_settings();
    Err err;
    assert_ok(source_check_named(&settings, &err), &err);
    snprintf(path, sizeof path, "%s/plug.csv", tree);
    settings.meter_path = path;
    put_file("plug.csv", "1767225600,10\n1767225601,12\n");
    assert_ok(source_check_named(&settings, &err), &err);
    settings.sensor = "rail";
    assert_status(source_check_named(&settings, &err), ERR_USAGE, &err); /* which of the two? */
    assert_non_null(strstr(err.text, "give one of them"));
    settings.meter_path = NULL;
    assert_status(source_check_named(&settings, &err), ERR_USAGE, &err);
    put_file("sys/class/hwmon/hwmon2/name", "x");
    put_file("sys/class/hwmon/hwmon2/power1_input", "9000000");
    assert_status(source_check_named(&settings, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "no sensor 'rail'"));
    assert_non_null(strstr(err.text, "hwmon2/power1 (x)"));
    settings.sensor = "hwmon2/power1";
    assert_ok(source_check_named(&settings, &err), &err);
    put_file("sys/class/hwmon/hwmon2/power1_input", "loop");
    assert_status(source_check_named(&settings, &err), ERR_IO, &err);
}

/* ---- sensors ---- */

typedef struct File {
    const char *name, *before, *after; /* after NULL: as before; "" : removed */
} File;

static const struct {
    const char *name;
    File files[10];
    const char *sensor;
    double joules; /* of 2 s; NaN: not good */
    const char *text; /* label, or part of the reason */
} sensor_cases[] = {
    { "the ACPI power meter", { { "hwmon0/name", "power_meter", NULL }, { "hwmon0/power1_average", "100000000", "200000000" } }, NULL, 300,
      "hwmon0/power1" },
    { "millivolts x milliamperes of a board's input",
      { { "hwmon1/name", "ina3221", NULL }, { "hwmon1/in1_label", "VDD_IN", NULL }, { "hwmon1/in1_input", "5000", NULL },
        { "hwmon1/curr1_input", "2000", NULL }, { "hwmon1/in2_label", "VDD_CPU", NULL }, { "hwmon1/in2_input", "5000", NULL },
        { "hwmon1/curr2_input", "1000", NULL } }, NULL, 20, "hwmon1/curr1 VDD_IN" },
    { "an energy counter for each socket, cores left out",
      { { "hwmon0/name", "amd_energy", NULL }, { "hwmon0/energy1_label", "Ecore000", NULL }, { "hwmon0/energy1_input", "0", "7000000" },
        { "hwmon0/energy2_label", "Esocket0", NULL }, { "hwmon0/energy2_input", "0", "20000000" },
        { "hwmon0/energy3_label", "Esocket1", NULL }, { "hwmon0/energy3_input", "5", "10000005" } }, NULL, 30,
      "hwmon0/energy2 Esocket0 + hwmon0/energy3 Esocket1" },
    { "what a sensor sees is not guessed", { { "hwmon2/name", "amdgpu", NULL }, { "hwmon2/power1_average", "9000000", NULL } }, NULL, NAN,
      "nothing says what these see: hwmon2/power1 (amdgpu)" },
    { "named by the user", { { "hwmon2/name", "x", NULL }, { "hwmon2/power1_input", "9000000", NULL } }, "hwmon2/power1", 18,
      "hwmon2/power1" },
    { "named by its label",
      { { "hwmon2/name", "x", NULL }, { "hwmon2/power2_label", "rail", NULL }, { "hwmon2/power2_input", "3000000", NULL } }, "rail", 6,
      "hwmon2/power2 rail" },
    { "named, and not there", { { "hwmon2/name", "x", NULL } }, "rail", NAN,
      "no sensor 'rail' under /sys/class/hwmon; there is none at all" },
    { "named, and another there", { { "hwmon2/name", "x", NULL }, { "hwmon2/power1_input", "9000000", NULL } }, "rail", NAN,
      "there are: hwmon2/power1 (x)" },
    { "an energy counter that falls back", { { "hwmon0/name", "x", NULL }, { "hwmon0/energy1_input", "9000000", "1" } }, "hwmon0/energy1",
      NAN,
      "fell back" },
    { "a sensor that vanishes", { { "hwmon0/name", "power_meter", NULL }, { "hwmon0/power1_average", "1000000", "" } }, NULL, NAN,
      "No such file" },
    { "a sensor that lies", { { "hwmon0/name", "power_meter", NULL }, { "hwmon0/power1_average", "1000000", "90000000000" } }, NULL, NAN,
      "that are possible" },
    { "a sensor that cannot be opened", { { "hwmon0/name", "power_meter", NULL }, { "hwmon0/power1_average", "loop", NULL } }, NULL, NAN,
      "hwmon0/power1: " },
    { "bytes that are no text", { { "hwmon0/name", "a\033[2J\xff", NULL }, { "hwmon0/power1_input", "1", NULL } }, NULL, NAN, "(a?[2J?)" },
    { "none", { { NULL, NULL, NULL } }, NULL, NAN, "no power or energy sensor" },
};

static const struct {
    const char *name;
    File files[10];
    double joules;
    const char *text;
} battery_cases[] = {
    { "power", { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Discharging", NULL }, { "BAT0/power_now", "8000000", "12000000" } },
      20, "BAT0" },
    { "current x voltage, a minus sign for what leaves",
      { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Discharging", NULL }, { "BAT0/current_now", "-1000000", NULL },
        { "BAT0/voltage_now", "12000000", NULL } }, 24, "BAT0" },
    { "two, used in turn",
      { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Full", NULL }, { "BAT1/type", "Battery", NULL },
        { "BAT1/status", "Discharging", NULL }, { "BAT1/power_now", "5000000", NULL } }, 10, "2 batteries" },
    { "a charger", { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Charging", NULL }, { "BAT0/power_now", "8000000", NULL } }, NAN,
      "charged" },
    { "full, on its charger", { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Full", NULL } }, NAN, "runs from its charger" },
    { "the charger is plugged in meanwhile",
      { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Discharging", "Charging" }, { "BAT0/power_now", "8000000", NULL } }, NAN,
        "charged" },
    { "a mouse's", { { "hid/type", "Battery", NULL }, { "hid/scope", "Device", NULL }, { "hid/status", "Discharging", NULL } }, NAN,
      "no battery" },
    { "no gauge", { { "BAT0/type", "Battery", NULL }, { "BAT0/status", "Discharging", NULL } }, NAN, "neither power_now" },
};

/* A window of 2 s, polled twice. */
static void check_sensor(const char *name, const char *folder, const File *files, const SourceKind *kind, const SourceSettings *settings,
                         double joules, const char *text)
{
    char file[128];
    print_message("  %s\n", name);
    for (int i = 0; i < 10 && files[i].name != NULL; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, files[i].name);
        put_file(file, files[i].before);
    }
    Source s;
    Reading r = { .state = READING_DROPPED };
    bool ready = source_open(kind, settings, &s);
    if (ready) {
        source_begin(&s);
        for (int i = 0; i < 10 && files[i].name != NULL; i++) {
            snprintf(file, sizeof file, "%s/%s", folder, files[i].name);
            if (files[i].after != NULL) put_file(file, files[i].after[0] != '\0' ? files[i].after : NULL);
        }
        pass_time(2);
        source_end(&s, NULL, &r);
    }
    const char *said = !isnan(joules) ? s.label : ready ? r.reason : s.reason;
    if (isnan(joules)) assert_int_equal(r.state, READING_DROPPED);
    else if (r.state != READING_GOOD) fail_msg("%s: %s%s", name, r.reason, s.reason);
    else assert_near(r.joules, joules, 1e-6);
    if (strstr(said, text) == NULL) fail_msg("%s: '%s' has no '%s'", name, said, text);
    source_close(&s);
}

static void test_sensors(void **state)
{
    for (size_t k = 0; k < sizeof sensor_cases / sizeof *sensor_cases; k++) {
        assert_int_equal(make_tree(state), 0);
        SourceSettings settings = fake_settings();
        settings.sensor = sensor_cases[k].sensor;
        check_sensor(sensor_cases[k].name, "sys/class/hwmon", sensor_cases[k].files, &source_hwmon, &settings, sensor_cases[k].joules,
                     sensor_cases[k].text);
        assert_int_equal(remove_tree(state), 0);
    }
}

static void test_batteries(void **state)
{
    for (size_t k = 0; k < sizeof battery_cases / sizeof *battery_cases; k++) {
        assert_int_equal(make_tree(state), 0);
        SourceSettings settings = fake_settings();
        check_sensor(battery_cases[k].name, "sys/class/power_supply", battery_cases[k].files, &source_battery, &settings,
            battery_cases[k].joules,
                     battery_cases[k].text);
        assert_int_equal(remove_tree(state), 0);
    }
}

/* A power that nobody looked at for long is a guess. */
static void test_unsampled(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    put_file("sys/class/hwmon/hwmon0/name", "power_meter");
    put_file("sys/class/hwmon/hwmon0/power1_average", "100000000");
    assert_true(source_open(&source_hwmon, &settings, &s));
    source_begin(&s);
    for (int i = 0; i < 20; i++) {
        pass_time(1);
        source_poll(&s);
    }
    source_end(&s, NULL, &r);
    assert_near(r.joules, 2000, 1e-6);
    source_begin(&s);
    pass_time(20);
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_DROPPED);
    assert_non_null(strstr(r.reason, "not read for 20 s"));
    source_close(&s);
}

/* ---- graphics cards ---- */

static unsigned long long card_energy;
static unsigned card_power, card_count;
static int card_error;

static int card_start(void) { return card_error; }
static int card_stop(void) { return 0; }
static int card_number(unsigned *out)
{
    *out = card_count;
    return 0;
}
static int card_handle(unsigned index, void **out)
{
    (void)index;
    *out = &card_energy;
    return 0;
}
static int card_name(void *device, char *text, unsigned size)
{
    (void)device;
    snprintf(text, size, "Card");
    return 0;
}
static int card_joules(void *device, unsigned long long *out)
{
    (void)device;
    *out = card_energy;
    return card_energy == 0 ? 3 : 0; /* 0: an old card without the counter */
}
static int card_watts(void *device, unsigned *out)
{
    (void)device;
    *out = card_power;
    return 0;
}
static const char *card_text(int code) { return code == 9 ? "Driver Not Loaded" : "Not Supported"; }

static void test_cards(void **state)
{
    (void)state;
    static const NvmlCalls calls = { card_start, card_stop, card_number, card_handle, card_name, card_joules, card_watts, card_text };
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    Err err;
    assert_false(source_open(&source_nvml, &settings, &s)); /* on a fake tree the machine's own library is not asked */
    assert_int_equal(s.readiness, SOURCE_ABSENT);
    settings.nvml = &calls;
    card_error = 9;
    assert_false(source_open(&source_nvml, &settings, &s));
    assert_string_equal(s.reason, "NVML: start: Driver Not Loaded");
    card_error = 0;
    card_count = 1;
    card_energy = 1000000;
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_cpu_time); /* pare computes on the processor */
    source_close(&s);
    assert_true(source_open(&source_nvml, &settings, &s));
    source_begin(&s);
    card_energy += 500000;
    pass_time(10);
    source_end(&s, NULL, &r);
    assert_near(r.joules, 500, 1e-9);
    assert_near(r.resolution, 0.02, 1e-12);
    source_begin(&s);
    card_energy = 10;
    pass_time(10);
    source_end(&s, NULL, &r);
    assert_non_null(strstr(r.reason, "fell back"));
    source_close(&s);
    card_energy = 0;
    card_power = 100000;
    assert_true(source_open(&source_nvml, &settings, &s));
    source_begin(&s);
    card_power = 300000;
    pass_time(0.5);
    source_end(&s, NULL, &r);
    assert_near(r.joules, 100, 1e-9); /* from 100 W, read at the start, to 300 W */
    source_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meter),
        cmocka_unit_test_setup_teardown(test_clock_step, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_bad_logs, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_named, make_tree, remove_tree),
        cmocka_unit_test(test_sensors),
        cmocka_unit_test(test_batteries),
        cmocka_unit_test_setup_teardown(test_unsampled, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_cards, make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
