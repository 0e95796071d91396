/* Energy counters on trees of our own. Every row bears a name; those in brackets are what other tools were reported to get wrong. */
#include "test.h"

#include "fake_tree.h"

#include "greenness/carbon.h"

#define RANGE "262143328850\n"

/* One zone: its folder, its name, the counter before and after (an open descriptor outlives its file: emptied, it stands for one that can
 * be read no more), its range ("" leaves the file out, "loop" closes it). */
typedef struct ZoneRow {
    const char *id, *name, *before, *after, *range;
} ZoneRow;

typedef struct ZoneCase {
    const char *name;
    ZoneRow zones[10];
    double joules;      /* NaN: the window is dropped */
    const char *label;  /* after the window */
    const char *reason; /* part of it, when dropped */
    double seconds;     /* 0: 1 */
} ZoneCase;

static const ZoneCase zone_cases[] = {
    { "one package", { { "intel-rapl:0", "package-0", "1000000", "3500000", RANGE } }, 2.5, "1 package", NULL, 0 },
    { "joules are not scaled by the interval (Ant: times the seconds)",
      { { "intel-rapl:0", "package-0", "0", "3000000", RANGE } }, 3, "1 package", NULL, 0.25 },
    { "cores and uncore are part of the package (codecarbon 950: psys + package + core)",
      { { "intel-rapl:0", "package-0", "0", "2000000", RANGE }, { "intel-rapl:0:0", "core", "0", "1500000", RANGE },
        { "intel-rapl:0:1", "uncore", "0", "100000", RANGE }, { "intel-rapl:1", "psys", "0", "9000000", RANGE } }, 2, "1 package", NULL,
          0 },
    { "dram is added (codecarbon 1305, carbontracker 93, EIT took it from the package)",
      { { "intel-rapl:0", "package-0", "0", "2000000", RANGE }, { "intel-rapl:0:0", "dram", "0", "500000", RANGE } },
      2.5, "1 package + dram", NULL, 0 },
    { "two sockets, drams of one name (siomon 70)",
      { { "intel-rapl:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl:0:0", "dram", "0", "100000", RANGE },
        { "intel-rapl:1", "package-1", "5", "2000005", RANGE }, { "intel-rapl:1:0", "dram", "7", "200007", RANGE } },
      3.3, "2 packages + dram", NULL, 0 },
    { "two sockets that draw the same are no mirrors",
      { { "intel-rapl:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl:1", "package-1", "0", "1000000", RANGE } },
      2, "2 packages", NULL, 0 },
    { "mirrored dies count once (codecarbon 1274, 1379, 1392)",
      { { "intel-rapl:0", "package-0-die-0", "100", "2000100", RANGE }, { "intel-rapl:1", "package-0-die-1", "100", "2000139", RANGE } },
      2, "1 package", NULL, 0 },
    { "mirrored dies of two sockets, drams too",
      { { "intel-rapl:0", "package-0-die-0", "0", "2000000", RANGE }, { "intel-rapl:1", "package-0-die-1", "0", "2000000", RANGE },
        { "intel-rapl:2", "package-1-die-0", "0", "3000000", RANGE }, { "intel-rapl:3", "package-1-die-1", "0", "3000000", RANGE },
        { "intel-rapl:2:0", "dram", "0", "250000", RANGE }, { "intel-rapl:3:0", "dram", "0", "250000", RANGE } },
      5.25, "2 packages + dram", NULL, 0 },
    { "dies with counters of their own are added",
      { { "intel-rapl:0", "package-0-die-0", "0", "2000000", RANGE }, { "intel-rapl:1", "package-0-die-1", "0", "2100000", RANGE } },
      4.1, "2 packages", NULL, 0 },
    { "the mmio twin is the same counter (codecarbon 950)",
      { { "intel-rapl-mmio:0", "package-0", "0", "1004000", RANGE }, { "intel-rapl-mmio:0:0", "dram", "0", "301000", RANGE },
        { "intel-rapl:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl:0:0", "dram", "0", "300000", RANGE } },
      1.3, "1 package + dram", NULL, 0 },
    { "mmio alone counts",
      { { "intel-rapl-mmio:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl-mmio:0:0", "dram", "0", "300000", RANGE } },
      1.3, "1 package + dram", NULL, 0 },
    { "psys where there is no package", { { "intel-rapl:1", "psys", "61", "9000061", RANGE } }, 9, "psys", NULL, 0 },
    { "psys in steps of 1 J, too few of them",
      { { "intel-rapl:1", "psys", "3000000", "12000000", RANGE } }, NAN, "psys", "9 J in steps of 1 J", 0 },
    { "psys is no package (Zeus: a CPU of its own)",
      { { "intel-rapl:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl:1", "psys", "0", "9000000", RANGE } }, 1, "1 package", NULL,
        0 },
    { "a counter that wraps, to the last count (Ant: one off; carbontracker: 0 W)",
      { { "intel-rapl:0", "package-0", "262143328000", "999", RANGE } }, 1850e-6, "1 package", NULL, 0 },
    { "a wrap without a known range is dropped (codecarbon 309, 322, 1309; zeus 91: negative energy)",
      { { "intel-rapl:0", "package-0", "262143328000", "999", "" } }, NAN, NULL, "fell back and its range is not known", 0 },
    { "an unreadable range", { { "intel-rapl:0", "package-0", "262143328000", "999", "loop" } }, NAN, NULL, "range is not known", 0 },
    { "a counter that goes backwards is no wrap (eco2AI: 0 J)",
      { { "intel-rapl:0", "package-0", "5000000", "4000000", RANGE } }, NAN, NULL, "that are possible", 0 },
    { "a counter beyond its own range", { { "intel-rapl:0", "package-0", "5000000", "4000000", "1000\n" } }, NAN, NULL, "beyond its range",
      0 },
    { "a counter that stops (codecarbon 478: the same value whatever runs)",
      { { "intel-rapl:0", "package-0", "5000000", "5000000", RANGE } }, NAN, NULL, "stood still", 0 },
    { "a counter that jumps", { { "intel-rapl:0", "package-0", "0", "9000000000", RANGE } }, NAN, NULL, "that are possible", 0 },
    { "a file that vanishes (codecarbon: a failed read is 0, the next a wrap)",
      { { "intel-rapl:0", "package-0", "5000000", "", RANGE } }, NAN, NULL, "no number", 0 },
    { "one file of two that cannot be read any more: no part of a sum",
      { { "intel-rapl:0", "package-0", "0", "1000000", RANGE }, { "intel-rapl:1", "package-1", "0", "", RANGE } },
      NAN, NULL, "intel-rapl:1", 0 },
    { "a counter that is no number", { { "intel-rapl:0", "package-0", "0", "-5", RANGE } }, NAN, NULL, "no number", 0 },
    { "an empty counter", { { "intel-rapl:0", "package-0", "0", "\n", RANGE } }, NAN, NULL, "no number", 0 },
    { "other controllers are not ours",
      { { "intel-rapl:0", "package-0", "0", "1000", RANGE }, { "dtpm:0", "package-0", "0", "1000000", RANGE } }, 1e-3, "1 package", NULL,
        0 },
};

static void put_zone(const ZoneRow *z, const char *energy)
{
    char file[128];
    snprintf(file, sizeof file, "sys/class/powercap/%s/energy_uj", z->id);
    put_file(file, energy);
}

static void put_zones(const ZoneRow *zones, int most)
{
    char file[128];
    for (int i = 0; i < most && zones[i].id != NULL; i++) {
        snprintf(file, sizeof file, "sys/class/powercap/%s/name", zones[i].id);
        put_file(file, zones[i].name);
        put_zone(&zones[i], zones[i].before);
        snprintf(file, sizeof file, "sys/class/powercap/%s/max_energy_range_uj", zones[i].id);
        if (zones[i].range[0] != '\0') put_file(file, zones[i].range);
    }
}

static void begin(const SourceKind *kind, const SourceSettings *settings, Source *s)
{
    if (!source_open(kind, settings, s)) fail_msg("%s: %s", kind->id, s->reason);
    source_begin(s);
}

static void test_zones(void **state)
{
    for (size_t k = 0; k < sizeof zone_cases / sizeof *zone_cases; k++) {
        const ZoneCase *c = &zone_cases[k];
        print_message("  %s\n", c->name);
        assert_int_equal(make_tree(state), 0);
        put_zones(c->zones, 10);
        SourceSettings settings = fake_settings();
        Source s;
        Reading r;
        begin(&source_powercap, &settings, &s);
        for (int i = 0; i < 10 && c->zones[i].id != NULL; i++) put_zone(&c->zones[i], c->zones[i].after);
        pass_time(c->seconds > 0 ? c->seconds : 1);
        source_end(&s, NULL, &r);
        if (isnan(c->joules)) {
            assert_int_equal(r.state, READING_DROPPED);
            assert_true(isnan(r.joules));
            if (strstr(r.reason, c->reason) == NULL) fail_msg("%s: '%s' has no '%s'", c->name, r.reason, c->reason);
        } else {
            if (r.state != READING_GOOD) fail_msg("%s: %s", c->name, r.reason);
            assert_near(r.joules, c->joules, 1e-9);
            assert_string_equal(s.label, c->label);
        }
        source_close(&s);
        assert_int_equal(remove_tree(state), 0);
    }
}

/* What a tree that cannot be read says, and what is told to do. */
static const struct {
    const char *name;
    struct { const char *file, *text; } files[4];
    SourceState state;
    const char *reason, *fix;
} closed_cases[] = {
    { "no tree", { { NULL, NULL } }, SOURCE_ABSENT, "no powercap tree", "modprobe intel_rapl_msr" },
    { "no tree in a virtual machine (rapl_power_meter 1)", { { "proc/cpuinfo", "flags\t\t: fpu hypervisor avx2\n" } }, SOURCE_ABSENT,
      "no powercap tree", "--meter-log" },
    { "no tree in a container", { { ".dockerenv", "" } }, SOURCE_ABSENT, "no powercap tree", "docker run --volume" },
    { "an empty tree", { { "sys/class/powercap/intel-rapl/enabled", "1" } }, SOURCE_ABSENT, "no RAPL zones", "modprobe" },
    { "only a core", { { "sys/class/powercap/intel-rapl:0/name", "core" } }, SOURCE_ABSENT, "no package", "modprobe" },
    { "a closed name", { { "sys/class/powercap/intel-rapl:0/name", "loop" } }, SOURCE_UNUSABLE, "intel-rapl:0: name", "" },
    { "a closed counter", { { "sys/class/powercap/intel-rapl:0/name", "package-0" }, { "sys/class/powercap/intel-rapl:0/energy_uj",
      "loop" } },
      SOURCE_UNUSABLE, "intel-rapl:0: energy_uj", "" },
    { "a zone without a counter", { { "sys/class/powercap/intel-rapl:0/name", "package-0" } }, SOURCE_UNUSABLE, "energy_uj: No such", "" },
};

static void test_closed(void **state)
{
    for (size_t k = 0; k < sizeof closed_cases / sizeof *closed_cases; k++) {
        print_message("  %s\n", closed_cases[k].name);
        assert_int_equal(make_tree(state), 0);
        for (int i = 0; i < 4 && closed_cases[k].files[i].file != NULL; i++)
            put_file(closed_cases[k].files[i].file, closed_cases[k].files[i].text);
        SourceSettings settings = fake_settings();
        Source s;
        assert_false(source_open(&source_powercap, &settings, &s));
        if (s.readiness != closed_cases[k].state) fail_msg("%s: %s (%s)", closed_cases[k].name, source_state_text(s.readiness), s.reason);
        if (strstr(s.reason, closed_cases[k].reason) == NULL) fail_msg("%s: '%s'", closed_cases[k].name, s.reason);
        if (strstr(s.fix, closed_cases[k].fix) == NULL) fail_msg("%s: '%s'", closed_cases[k].name, s.fix);
        source_close(&s);
        assert_int_equal(remove_tree(state), 0);
    }
}

static void put_package(const char *energy)
{
    const ZoneRow z = { "intel-rapl:0", "package-0", energy, NULL, RANGE };
    put_zones(&z, 1);
}

/* Whoever names a sensor gets it, also where a counter ranks above it, or an error: never another source in its place. */
static void test_named_sensor_comes_first(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Err err;
    put_package("5");
    put_file("sys/class/hwmon/hwmon2/name", "ina226");
    put_file("sys/class/hwmon/hwmon2/power1_input", "9000000");
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_powercap);
    source_close(&s);
    settings.sensor = "hwmon2/power1";
    assert_ptr_equal(source_named(&settings), &source_hwmon);
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_hwmon);
    source_close(&s);
    assert_status(source_open_after(&source_hwmon, &settings, &s, &err), ERR_UNSUPPORTED, &err);
    settings.sensor = "hwmon7/power1";
    assert_status(source_open_best(&settings, &s, &err), ERR_USAGE, &err);
}

/* Unreadable counters fall back to what says that it is a model, and why (carbontracker: 0 W; codecarbon 232, 239, 244, 304, 493, 500, 915:
 * silently a constant; EIT 55: an error; Zeus: nothing). */
static void test_falls_back(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Err err;
    char text[SOURCE_TEXT];
    put_package("5");
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "loop");
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_cpu_time);
    assert_true(s.proportional);
    source_describe(&s, text, sizeof text);
    assert_string_equal(text, "modelled: CPU time x watts, 12 W/core, x/: 2; adds nothing to time");
    source_close(&s);
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", NULL);
    put_package("5");
    assert_ok(source_open_best(&settings, &s, &err), &err);
    assert_ptr_equal(s.kind, &source_powercap);
    source_describe(&s, text, sizeof text);
    assert_string_equal(text, "measured: RAPL through powercap, 1 package, +-10 %");
    source_close(&s);
    if (geteuid() != 0) {
        char path[256];
        snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", tree);
        assert_int_equal(chmod(path, 0), 0);
        assert_false(source_open(&source_powercap, &settings, &s));
        assert_int_equal(s.readiness, SOURCE_DENIED);
        assert_non_null(strstr(s.fix, "chmod a+r"));
    }
}

/* A window over several reads: every wrap counts, nothing between the reads is lost (carbontracker samples half the run). */
static void test_polls(void **state)
{
    (void)state;
    put_package("262143000000");
    put_file("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "65000000");
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    begin(&source_powercap, &settings, &s);
    assert_near(s.limit_watts, 4 * 65, 1e-9);
    assert_near(s.poll_seconds, 262143.328850 / (2 * 65) / 4, 1e-6); /* a quarter of the shortest time in which it can wrap */
    static const char *const values[] = { "10000000000", "262143000000", "1000000" };
    for (int i = 0; i < 3; i++) {
        pass_time(i == 1 ? 1500 : 400);
        put_file("sys/class/powercap/intel-rapl:0/energy_uj", values[i]);
        source_poll(&s);
    }
    pass_time(1);
    source_end(&s, NULL, &r);
    if (r.state != READING_GOOD) fail_msg("%s", r.reason);
    assert_near(r.joules, 10000.328851 + 252143 + 1.328851, 1e-5);
    source_begin(&s); /* then nobody reads for longer than a range takes */
    pass_time(3000);
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "2000000");
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_DROPPED);
    assert_non_null(strstr(r.reason, "more than once"));
    source_begin(&s); /* and the next window stands on its own */
    pass_time(1);
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "5000000");
    source_end(&s, NULL, &r);
    assert_near(r.joules, 3, 1e-9);
    source_poll(&s); /* outside a window nothing happens */
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_DROPPED);
    source_close(&s);
}

/* Twins that part were none: the window in which it shows is lost, later ones count both. */
static void test_twins_part(void **state)
{
    (void)state;
    const ZoneRow zones[] = { { "intel-rapl:0", "package-0-die-0", "0", NULL, RANGE }, { "intel-rapl:1", "package-0-die-1", "0", NULL,
        RANGE } };
    static const struct { const char *first, *second; double joules; } steps[] = {
        { "1000000", "1000000", 1 }, { "3000000", "3000000", 2 }, { "4000000", "3000000", NAN }, { "5000000", "6000000", 4 },
    };
    put_zones(zones, 2);
    SourceSettings settings = fake_settings();
    Source s;
    assert_true(source_open(&source_powercap, &settings, &s));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        Reading r;
        source_begin(&s);
        put_file("sys/class/powercap/intel-rapl:0/energy_uj", steps[i].first);
        put_file("sys/class/powercap/intel-rapl:1/energy_uj", steps[i].second);
        pass_time(1);
        source_end(&s, NULL, &r);
        if (isnan(steps[i].joules)) assert_non_null(strstr(r.reason, "was taken for a mirror of intel-rapl:0"));
        else assert_near(r.joules, steps[i].joules, 1e-9);
    }
    source_close(&s);
}

static const struct {
    const char *name;
    double monotonic, boot, real;
    const char *reason; /* NULL: good */
    double watts;
} clock_cases[] = {
    { "all clocks together", 2, 2, 2, NULL, 1 },
    { "the clock is set back: counters do not care", 2, 2, -3600, NULL, 1 },
    { "a suspended machine", 2, 600, 600, "suspended for 598 s", 0 },
    { "no time at all", 0, 0, 0, "lasted 0 s", 0 },
    { "10 ms: the doubt is 20 % and said (codecarbon 117: 10 ms taken for 15 s)", 0.01, 0.01, 0.01, NULL, 200 },
};

static void test_clocks(void **state)
{
    (void)state;
    put_package("0");
    SourceSettings settings = fake_settings();
    Source s;
    assert_true(source_open(&source_powercap, &settings, &s));
    for (size_t k = 0; k < sizeof clock_cases / sizeof *clock_cases; k++) {
        print_message("  %s\n", clock_cases[k].name);
        Reading r;
        put_file("sys/class/powercap/intel-rapl:0/energy_uj", "1000000");
        source_begin(&s);
        put_file("sys/class/powercap/intel-rapl:0/energy_uj", "3000000");
        fake_now.monotonic += clock_cases[k].monotonic;
        fake_now.boot += clock_cases[k].boot;
        fake_now.real += clock_cases[k].real;
        source_end(&s, NULL, &r);
        if (clock_cases[k].reason != NULL) {
            assert_int_equal(r.state, READING_DROPPED);
            if (strstr(r.reason, clock_cases[k].reason) == NULL) fail_msg("%s: '%s'", clock_cases[k].name, r.reason);
        } else {
            if (r.state != READING_GOOD) fail_msg("%s: %s", clock_cases[k].name, r.reason);
            assert_near(r.watts, clock_cases[k].watts, 1e-6);
            assert_near(r.resolution, 2e-3 / clock_cases[k].monotonic, 1e-9);
        }
    }
    source_close(&s);
}

/* ---- perf ---- */

static int perf_errno;
static char perf_opened[256];

/* An event is a file of the tree with 8 bytes. */
static int fake_perf(void *context, uint32_t type, uint64_t config, int cpu)
{
    (void)context;
    char path[256];
    size_t used = strlen(perf_opened);
    snprintf(perf_opened + used, sizeof perf_opened - used, "%u:%u@%d ", type, (unsigned)config, cpu);
    if (perf_errno != 0) {
        errno = perf_errno;
        return -1;
    }
    snprintf(path, sizeof path, "%s/perf/%u@%d", tree, (unsigned)config, cpu);
    return open(path, O_RDONLY);
}

static void put_event(int event, int cpu, double joules)
{
    char file[64];
    uint64_t count = (uint64_t)ldexp(joules, 32);
    snprintf(file, sizeof file, "perf/%d@%d", event, cpu);
    put_bytes(file, &count, sizeof count);
}

static void put_unit(const char *cpus, bool dram)
{
    static const char *const files[][2] = { { "energy-pkg", "event=0x02\n" }, { "energy-ram", "event=0x03\n" }, { "energy-psys",
        "event=0x05\n" } };
    put_file("sys/bus/event_source/devices/power/type", "9\n");
    put_file("sys/bus/event_source/devices/power/cpumask", cpus);
    for (int i = 0; i < 3; i++) {
        char file[128];
        if (i == 1 && !dram) continue;
        snprintf(file, sizeof file, "sys/bus/event_source/devices/power/events/%s", files[i][0]);
        put_file(file, files[i][1]);
        strcat(file, ".scale");
        put_file(file, "2.3283064365386962890625e-10\n");
        strcpy(strrchr(file, '.'), ".unit");
        put_file(file, "Joules\n");
    }
    put_file("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n");
    put_file("sys/devices/system/cpu/cpu16/topology/physical_package_id", "0\n");
    put_file("sys/devices/system/cpu/cpu32/topology/physical_package_id", "1\n");
}

static const struct {
    const char *name, *cpus;
    bool dram;
    double before[4], after[4]; /* package and dram of cpu 0, package of cpu 16 and of cpu 32 */
    double joules;
    const char *label, *opened;
} perf_cases[] = {
    { "one socket", "0\n", false, { 7 }, { 9 }, 2, "1 package", "9:2@0 " },
    { "with memory", "0\n", true, { 7, 1 }, { 9, 1.5 }, 2.5, "1 package + dram", "9:2@0 9:3@0 " },
    { "two sockets", "0,32\n", false, { 7, 0, 0, 1 }, { 9, 0, 0, 4 }, 5, "2 packages", "9:2@0 9:2@32 " },
    { "dies that mirror each other (Linux 5.8 to 6.9 on AMD)", "0,16,32\n", false, { 7, 0, 7, 1 }, { 9, 0, 9, 4 }, 5, "2 packages",
      "9:2@0 9:2@16 9:2@32 " },
    { "beyond what powercap can count without a wrap", "0\n", false, { 262144.5 }, { 262145.5 }, 1, "1 package", "9:2@0 " },
};

static void test_perf(void **state)
{
    for (size_t k = 0; k < sizeof perf_cases / sizeof *perf_cases; k++) {
        print_message("  %s\n", perf_cases[k].name);
        assert_int_equal(make_tree(state), 0);
        put_unit(perf_cases[k].cpus, perf_cases[k].dram);
        perf_errno = 0;
        perf_opened[0] = '\0';
        Source s;
        Reading r;
        SourceSettings settings = fake_settings();
        settings.perf_open = fake_perf;
        for (int i = 0; i < 4; i++) put_event(i == 1 ? 3 : 2, i == 2 ? 16 : i == 3 ? 32 : 0, perf_cases[k].before[i]);
        begin(&source_perf, &settings, &s);
        assert_string_equal(perf_opened, perf_cases[k].opened);
        for (int i = 0; i < 4; i++) put_event(i == 1 ? 3 : 2, i == 2 ? 16 : i == 3 ? 32 : 0, perf_cases[k].after[i]);
        pass_time(1);
        source_end(&s, NULL, &r);
        if (r.state != READING_GOOD) fail_msg("%s: %s", perf_cases[k].name, r.reason);
        assert_near(r.joules, perf_cases[k].joules, 1e-8);
        assert_string_equal(s.label, perf_cases[k].label);
        source_close(&s);
        assert_int_equal(remove_tree(state), 0);
    }
}

static void test_perf_closed(void **state)
{
    (void)state;
    Source s;
    SourceSettings settings = fake_settings();
    settings.perf_open = fake_perf;
    assert_false(source_open(&source_perf, &settings, &s));
    assert_int_equal(s.readiness, SOURCE_ABSENT);
    put_unit("0\n", false);
    put_file("proc/sys/kernel/perf_event_paranoid", "2\n");
    perf_errno = EACCES;
    assert_false(source_open(&source_perf, &settings, &s));
    assert_int_equal(s.readiness, SOURCE_DENIED);
    assert_string_equal(s.reason, "energy-pkg on cpu 0: Permission denied (perf_event_paranoid is 2)");
    assert_non_null(strstr(s.fix, "setcap cap_perfmon+ep"));
    perf_errno = 0;
    put_file("sys/bus/event_source/devices/power/cpumask", "0-x\n");
    assert_false(source_open(&source_perf, &settings, &s));
    assert_int_equal(s.readiness, SOURCE_UNUSABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_closed),
        cmocka_unit_test_setup_teardown(test_named_sensor_comes_first, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_falls_back, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_polls, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_twins_part, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_clocks, make_tree, remove_tree),
        cmocka_unit_test(test_perf),
        cmocka_unit_test_setup_teardown(test_perf_closed, make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
