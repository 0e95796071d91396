/* What energy trackers were reported to get wrong, each with the test that holds it here. The table names every such bug and words of
 * the test (the name of a row, a comment or a function), which must stand in some file below tests/unit; those without a home follow. */
#include "compare_fixture.h"

#include <glob.h>
#include <math.h>

#include "base/log.h"
#include "greenness/carbon.h"
#include "greenness/counts.h"

static const struct {
    const char *bug, *test;
} bugs[] = {
    /* counters */
    { "codecarbon 1305: dram is read and never summed", "dram is added (codecarbon 1305" },
    { "carbontracker 93, siomon 70: dram is missing, or zones of one name collapse", "two sockets, drams of one name (siomon 70)" },
    { "codecarbon: nested dram zones are skipped", "dram is added (codecarbon 1305" },
    { "EIT: dram is subtracted from the package", "EIT took it from the package" },
    { "machines without a dram counter: what is missing is not said", "test_missing_dram_is_said" },
    { "codecarbon 950: psys, package and core are added", "cores and uncore are part of the package (codecarbon 950" },
    { "Zeus: psys becomes a CPU of its own", "psys is no package (Zeus" },
    { "codecarbon 950: MSR and MMIO twins are added", "the mmio twin is the same counter (codecarbon 950)" },
    { "codecarbon 1274, 1379, 1392: mirrored dies are added", "mirrored dies count once (codecarbon 1274, 1379, 1392)" },
    { "perf on AMD before Linux 6.10: the same", "dies that mirror each other (Linux 5.8 to 6.9 on AMD)" },
    { "codecarbon 309, 322, 1309, zeus 91: negative energy where a wrap has no range", "a wrap without a known range is dropped" },
    { "codecarbon 1309: an unreadable range is a range of 0", "an unreadable range" },
    { "Ant: a wrap is off by one count", "a counter that wraps, to the last count (Ant: one off" },
    { "Ant: an AMD wrap adds a raw mask to scaled joules", "test_short_range_wraps" },
    { "carbontracker: a wrapped window reads 0 W", "a counter that wraps, to the last count" },
    { "eco2AI: a counter that goes backwards is 0 J", "a counter that goes backwards is no wrap (eco2AI: 0 J)" },
    { "codecarbon: a failed read is 0, and the next one a wrap", "a file that vanishes (codecarbon: a failed read is 0" },
    { "a part of a sum is taken for the whole", "one file of two that cannot be read any more: no part of a sum" },
    { "Zeus: at most 1 kW is assumed for wraps", "a quarter of the shortest time in which it can wrap" },
    { "carbontracker: half of the run is sampled", "carbontracker samples half the run" },
    { "Ant: joules are multiplied by the interval", "joules are not scaled by the interval (Ant" },
    { "Ant: the unit of dram is kept by hand, and Sapphire Rapids is left out", "test_dram_unit_is_the_kernels" },
    { "codecarbon 117: 10 ms are extrapolated to 15 s", "10 ms: the doubt is 20 % and said (codecarbon 117" },
    { "codecarbon: process mode does not scale the counter of the machine, and says process", "a counter sees every process" },
    { "two trackers read one network at orders of magnitude apart (codecarbon 188)", "Energy of one level only" },
    { "NVML: short windows of an average over a second", "assert_near(r.resolution, 0.02, 1e-12)" },
    { "nvidia-smi: power of one moment stands for the interval", "from 100 W, read at the start, to 300 W" },
    { "sensors of a rail that nobody named are summed", "what a sensor sees is not guessed" },
    { "a battery that is being charged is read", "the charger is plugged in meanwhile" },
    { "reading at 1 kHz takes up to half of the time", "test_reads_at_the_edges" },
    /* fallbacks */
    { "codecarbon 232, 239, 244, 304, 493, 500, 915, pyJoules 13: silently a constant", "The user must be the wiser (codecarbon 232" },
    { "EIT 55: no number and no way on", "EIT 55: an error" },
    { "carbontracker: an unreadable counter is 0 W", "carbontracker: 0 W" },
    { "Zeus: cpu_energy is None without a word", "Zeus: nothing" },
    { "codecarbon 478: the same value whatever runs (constant mode)", "test_constant_mode" },
    { "codecarbon, carbontracker: time x half the TDP stands as measured", "test_no_model_is_called_measured" },
    { "a time-proportional figure is taken for evidence beside time", "a model that follows CPU time sees more energy" },
    { "SCI 250, green-algorithms-calculator 15: watts of a chip as those of a core", "of a core, not of the chip (SCI 250)" },
    { "eco2AI: only processes named python count", "test_constant_mode" },
    { "codecarbon 629, 717, 751: watts of memory by gigabytes or modules of the host", "test_memory_of_the_host_adds_nothing" },
    { "rapl_power_meter 1, scaphandre: nothing in a virtual machine", "test_virtual_machine" },
    /* figures */
    { "codecarbon 354, 1178: no unit of one inference", "an eighth of it (codecarbon 354, 1178" },
    { "carbontracker 84, pyJoules 10: no idle power is subtracted", "(carbontracker 84, pyJoules 10)" },
    { "before after after, in blocks: drift reads as a difference", "Block after block reads a drift as a difference" },
    { "codecarbon's page: kg for g a kWh", "731.59 kg/kWh" },
    { "carbontracker, EIT: 1.58 of a data centre are always added", "no data centre is added (carbontracker: 1.58)" },
    { "codecarbon: neither method nor factor stands in the row", "CO2 at generation, IEA Electricity 2025), PUE 1.00" },
    { "ptflops 16, 40, 98, mmcv 785, mmpose 1190, ShuffleNet 6: MACs reported as FLOPs", "test_convention_is_said" },
    { "thop: grouped convolutions are divided by their groups twice, depthwise ones are 0", "grouped_conv" },
    { "onnx-tool and others: an operator that is not known counts 0 without a word", "Frobnicate 'odd one', MatMul 'mm'" },
};

/* ---- every bug has its test ---- */

static char *read_whole(const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL) return NULL;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (text != NULL) text[fread(text, 1, (size_t)size, f)] = '\0';
    fclose(f);
    return text;
}

static void test_all_have_a_test(void **state)
{
    (void)state;
    enum { BUGS = sizeof bugs / sizeof *bugs };
    bool found[BUGS] = { false };
    glob_t files;
    if (glob("tests/unit/*.c", 0, NULL, &files) != 0 || files.gl_pathc < 10) {
        globfree(&files);
        skip(); /* not run from the project's folder */
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char *text = read_whole(files.gl_pathv[i]);
        assert_non_null(text);
        const char *at = text;
        if (strstr(files.gl_pathv[i], "test_tracker_bugs.c") != NULL) at = strstr(text, "---- those without a home of their own ----");
        assert_non_null(at);
        for (int k = 0; k < BUGS; k++) found[k] = found[k] || strstr(at, bugs[k].test) != NULL;
        free(text);
    }
    globfree(&files);
    for (int k = 0; k < BUGS; k++)
        if (!found[k]) fail_msg("%s: no test has '%s'", bugs[k].bug, bugs[k].test);
    print_message("  %d bugs, each with its test\n", BUGS);
}

/* ---- those without a home of their own ---- */

static void put_zone(const char *zone, const char *name, const char *joules, const char *range)
{
    char file[128];
    snprintf(file, sizeof file, "sys/class/powercap/%s/name", zone);
    put_file(file, name);
    snprintf(file, sizeof file, "sys/class/powercap/%s/energy_uj", zone);
    put_file(file, joules);
    snprintf(file, sizeof file, "sys/class/powercap/%s/max_energy_range_uj", zone);
    put_file(file, range);
}

/* The counter of AMD and of server memory runs over after 65.5 kJ: four minutes at 280 W. */
static void test_short_range_wraps(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    put_zone("intel-rapl:0", "package-0", "65532610000", "65532610987\n");
    assert_true(source_open(&source_powercap, &settings, &s));
    assert_true(s.poll_seconds > 0 && s.poll_seconds <= 65532.610987 / (2 * 500) / 4 + 1e-9);
    source_begin(&s);
    put_file("sys/class/powercap/intel-rapl:0/energy_uj", "249999012");
    pass_time(1);
    source_end(&s, NULL, &r);
    assert_int_equal(r.state, READING_GOOD);
    assert_near(r.joules, 250, 1e-9);
    source_close(&s);
}

static int open_event(void *context, uint32_t type, uint64_t config, int cpu)
{
    char path[256];
    (void)context;
    (void)type;
    (void)cpu;
    snprintf(path, sizeof path, "%s/perf/%d", tree, (int)config);
    return open(path, O_RDONLY);
}

static void put_count(int event, uint64_t count)
{
    char file[32];
    snprintf(file, sizeof file, "perf/%d", event);
    put_bytes(file, &count, sizeof count);
}

/* Haswell servers count memory in steps of 2^-16 J and packages in steps of 2^-14 J: each event tells its own scale. */
static void test_dram_unit_is_the_kernels(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Reading r;
    settings.perf_open = open_event;
    put_file("sys/bus/event_source/devices/power/type", "9\n");
    put_file("sys/bus/event_source/devices/power/cpumask", "0\n");
    put_file("sys/bus/event_source/devices/power/events/energy-pkg", "event=0x02\n");
    put_file("sys/bus/event_source/devices/power/events/energy-pkg.scale", "6.103515625e-05\n");
    put_file("sys/bus/event_source/devices/power/events/energy-pkg.unit", "Joules\n");
    put_file("sys/bus/event_source/devices/power/events/energy-ram", "event=0x03\n");
    put_file("sys/bus/event_source/devices/power/events/energy-ram.scale", "1.52587890625e-05\n");
    put_file("sys/bus/event_source/devices/power/events/energy-ram.unit", "Joules\n");
    put_count(2, 1000);
    put_count(3, 5000);
    assert_true(source_open(&source_perf, &settings, &s));
    source_begin(&s);
    put_count(2, 1000 + 16384 * 3);
    put_count(3, 5000 + 65536 * 2);
    pass_time(1);
    source_end(&s, NULL, &r);
    assert_near(r.joules, 3 + 2, 1e-9);
    source_close(&s);
}

static void test_missing_dram_is_said(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    put_zone("intel-rapl:0", "package-0", "5\n", "262143328850\n");
    assert_true(source_open(&source_powercap, &settings, &s));
    assert_non_null(strstr(s.note, "what memory draws is missing"));
    assert_non_null(strstr(s.boundary, "without memory"));
    source_close(&s);
    put_zone("intel-rapl:0:0", "dram", "5\n", "262143328850\n");
    assert_true(source_open(&source_powercap, &settings, &s));
    assert_string_equal(s.note, "");
    assert_non_null(strstr(s.boundary, "and memory"));
    source_close(&s);
}

/* Between the two ends of a window nothing is read, however long it is and however many calls it holds. */
static int clock_reads;
static void counting_clock(void *context, SourceTime *now)
{
    clock_reads++;
    machine_clock(context, now);
}

static void test_reads_at_the_edges(void **state)
{
    (void)state;
    for (int counter = 0; counter < 2; counter++) {
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork n = { &m, 20e-6, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        if (counter) machine_counter(&m);
        clock_reads = 0;
        o.source.clock = counting_clock;
        measure_one(&n, &o, &c);
        print_message("  %s: %d reads of the clock, %lld calls\n", c.source.id, clock_reads, (long long)m.calls);
        assert_true(m.calls > 1000LL * clock_reads / 60);
        assert_true(clock_reads < 80 * (c.rounds + 30));
        assert_near(c.overhead, 0, 1e-12); /* reading takes no time on this machine */
        comparison_release(&c);
        if (counter) close(m.counter);
    }
}

/* A model of CPU time tells waiting from working, and of this process, whatever its name and language. */
static void test_constant_mode(void **state)
{
    (void)state;
    SourceSettings settings = fake_settings();
    Source s;
    Reading idle, busy;
    assert_true(source_open(&source_cpu_time, &settings, &s));
    for (int k = 0; k < 2; k++) {
        const Work work = { .cpu_seconds = k == 0 ? 0.1 : 4 };
        source_begin(&s);
        pass_time(2);
        source_end(&s, &work, k == 0 ? &idle : &busy);
    }
    assert_near(busy.joules / idle.joules, 40, 1e-9);
    source_close(&s);
    double before = cpu_seconds();
    volatile double sum = 0;
    for (int i = 0; i < 20000000; i++) sum += i;
    assert_true(sum > 0 && cpu_seconds() > before);
}

/* Whatever is modelled says so in its first word and in its provenance; what follows time says that it adds nothing to it. */
static void test_no_model_is_called_measured(void **state)
{
    (void)state;
    const SourceKind *const *all = sources_all();
    SourceSettings settings = fake_settings();
    int models = 0;
    for (; *all != NULL; all++) {
        Source s;
        char text[SOURCE_TEXT];
        if (source_open(*all, &settings, &s) && (*all)->model != NULL) {
            models++;
            source_describe(&s, text, sizeof text);
            assert_int_equal(strncmp(text, "modelled", 8), 0);
            assert_int_equal(strncmp(provenance_text(s.provenance), "modelled", 8), 0);
            assert_false(provenance_measured(s.provenance));
            assert_true(s.factor >= 1.5 || !s.proportional);
            if (s.proportional) assert_non_null(strstr(text, "adds nothing to time"));
        }
        source_close(&s);
    }
    assert_int_equal(models, 2); /* the roofline needs a profile */
    Sourced known = estimate_time_tdp(10, 65, 4), unknown = estimate_time_tdp(10, 0, 4);
    assert_near(known.value, 10 * 0.5 * 65, 1e-12);
    assert_near(unknown.value, 10 * 0.5 * 4 * 4, 1e-12);
    assert_int_equal(strncmp(known.source, "modelled: time x 0.5 x 65 W", 27), 0);
    assert_non_null(strstr(unknown.source, "no wattage was given"));
    assert_non_null(strstr(known.source, "adds nothing to time"));
    assert_int_equal(strncmp(estimate_green_algorithms(&(EstimateInput){ .seconds = 1, .cores = 1 }).source, "modelled", 8), 0);
}

/* Two machines that differ in their memory alone (378 W of it on a shared host, beside 102 W of work). */
static void test_memory_of_the_host_adds_nothing(void **state)
{
    (void)state;
    double energies[2], estimates[2];
    for (int k = 0; k < 2; k++) {
        FakeMachine m = { .idle_watts = 10 };
        FakeNetwork n = { &m, 10e-3, 40, 1, 0 };
        CompareOptions o = machine_options(&m, 1);
        Comparison c;
        put_file("proc/meminfo", k == 0 ? "MemTotal:        8000000 kB\n" : "MemTotal:     1000000000 kB\nMemAvailable:  900000000 kB\n");
        o.memory_bytes = 200000000; /* of this process */
        measure_one(&n, &o, &c);
        energies[k] = c.networks[0].energy_j.median;
        estimates[k] = c.networks[0].green_algorithms_j.value;
        assert_near(c.networks[0].carbon_g.value, energies[k] / 3.6e6 * 445, 1e-12);
        comparison_release(&c);
    }
    assert_near(energies[0], 10e-3 * 12, 1e-9); /* no watts of memory at all */
    assert_near(energies[1], energies[0], 1e-12);
    assert_near(estimates[1], estimates[0], 1e-12);
    assert_near(estimates[0], 10e-3 * (12 + 0.2 * 0.3725), 1e-9);
}

static void test_virtual_machine(void **state)
{
    (void)state;
    FakeMachine m = { .idle_watts = 10 };
    FakeNetwork n = { &m, 10e-3, 40, 1, 0 };
    CompareOptions o = machine_options(&m, 1);
    Comparison c;
    put_file("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor avx2\n");
    measure_one(&n, &o, &c);
    assert_true(warned(&c, "a virtual machine") && c.environment.is_virtual);
    assert_string_equal(c.source.provenance, "modelled_cpu_time");
    assert_near(c.networks[0].seconds.median, 10e-3, 1e-9); /* time, CPU time and counts are there all the same */
    assert_true(isnan(c.idle_before_w) && isnan(c.networks[0].net_j.median));
    comparison_release(&c);
}

static void test_convention_is_said(void **state)
{
    (void)state;
    assert_int_equal(strncmp(counts_convention, "1 MAC = one multiply-add", 24), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_have_a_test),
        ROW(test_short_range_wraps),
        ROW(test_dram_unit_is_the_kernels),
        ROW(test_missing_dram_is_said),
        ROW(test_reads_at_the_edges),
        ROW(test_constant_mode),
        ROW(test_no_model_is_called_measured),
        ROW(test_memory_of_the_host_adds_nothing),
        ROW(test_virtual_machine),
        cmocka_unit_test(test_convention_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
