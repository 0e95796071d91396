/* The history of builds, and a run in the forms of other tools. */
#include "fake_tree.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "pipeline/exports.h"
#include "pipeline/footprint.h"
#include "pipeline/history.h"

static void get(const char *path, StrBuf *b)
{
    char block[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) strbuf_add_n(b, block, n);
    fclose(f);
}

/* ---- reading ---- */

#define GOOD "{\"pare_history\":1,\"name\":\"n\",\"after\":{\"file_bytes\":{\"value\":5}}}\n"
static const struct {
    const char *name, *text;
    int runs, skipped, line; /* line of the first one skipped */
    const char *reason;
} read_cases[] = {
    { "empty", "", 0, 0, 0, NULL },
    { "two", GOOD GOOD, 2, 0, 0, NULL },
    { "without the last line's end", GOOD "{\"pare_history\":1,\"name\":\"n\",\"after\":{}}", 2, 0, 0, NULL },
    { "cut off in the middle", GOOD "{\"pare_history\":1,\"na\n" GOOD, 2, 1, 2, "no JSON object" },
    { "foreign JSON", "{\"a\":1}\n[1]\n" GOOD, 1, 2, 1, "no line of a run" },
    { "text", "hello\n\n" GOOD, 1, 1, 1, "no JSON object" },
    { "a later form", "{\"pare_history\":2,\"after\":{}}\n", 0, 1, 1, "does not know" },
    { "no numbers", "{\"pare_history\":1}\n", 0, 1, 1, "no numbers" },
    { "CR LF and blank lines", "\r\n{\"pare_history\":1,\"after\":{}}\r\n\n", 1, 0, 0, NULL },
    { "numbers of another kind",
      "{\"pare_history\":1,\"name\":7,\"after\":{\"file_bytes\":\"x\",\"macs\":{\"value\":-1},\"run_time\":{\"value\":1e999},"
      "\"accuracy\":{\"value\":1.5}}}\n",
      1, 0, 0, NULL },
};

static void test_read(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof read_cases / sizeof *read_cases; k++) {
        History h;
        Err err;
        put_file("read", read_cases[k].text);
        assert_int_equal(history_read(in_tree("read"), &h, &err), OK);
        if ((int)h.count != read_cases[k].runs || h.skipped != read_cases[k].skipped) print_message("%s\n", read_cases[k].name);
        assert_int_equal(h.count, read_cases[k].runs);
        assert_int_equal(h.skipped, read_cases[k].skipped);
        if (read_cases[k].reason != NULL) {
            assert_int_equal(h.skips[0].line, read_cases[k].line);
            assert_non_null(strstr(h.skips[0].reason, read_cases[k].reason));
        }
        for (size_t i = 0; i < h.count; i++) {
            assert_true(isnan(h.entries[i].after[HISTORY_OPERATIONS].value));
            assert_true(isnan(h.entries[i].after[HISTORY_ACCURACY].value));
        }
        history_release(&h);
    }
    History h;
    Err err;
    assert_int_equal(history_read(in_tree("missing"), &h, &err), ERR_IO);
}

static void test_long_line(void **state)
{
    (void)state;
    StrBuf b = { 0 };
    History h;
    Err err;
    strbuf_add(&b, GOOD);
    for (int i = 0; i < 1000; i++) strbuf_add(&b, "{\"pare_history\":1,");
    strbuf_add(&b, "\n" GOOD);
    put_file("long", b.data);
    strbuf_release(&b);
    assert_int_equal(history_read(in_tree("long"), &h, &err), OK);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.skips[0].line, 2);
    assert_non_null(strstr(h.skips[0].reason, "longer"));
    history_release(&h);
}

/* ---- appending ---- */

static HistoryEntry entry_of(double bytes, double ms, double half, double accuracy)
{
    HistoryEntry e = { .created = "2025-01-31T12:00:00Z", .version = "1", .name = "small.onnx", .machine = "cpu" };
    for (int i = 0; i < HISTORY_COUNT; i++) e.before[i] = e.after[i] = (HistoryPoint){ NAN, NAN, NAN, false };
    e.after[HISTORY_SIZE].value = bytes;
    e.after[HISTORY_TIME] = (HistoryPoint){ ms * 1e-3, (ms - half) * 1e-3, (ms + half) * 1e-3, false };
    if (isfinite(accuracy)) e.after[HISTORY_ACCURACY] = (HistoryPoint){ accuracy, accuracy - 0.01, fmin(1, accuracy + 0.01), false };
    e.after[HISTORY_ENERGY] = (HistoryPoint){ 1e-3 * ms, NAN, NAN, true };
    return e;
}

static void test_append(void **state)
{
    (void)state;
    History h;
    Err err;
    HistoryEntry e = entry_of(1000, 2, 0.1, 0.9), hostile = entry_of(1000, 2, 0.1, 0.9);
    memset(hostile.name, '"', sizeof hostile.name - 1);
    memset(hostile.machine, '\\', sizeof hostile.machine - 1);
    put_file("runs", GOOD "{\"pare_history\":1,\"af"); /* a run that was killed while it wrote */
    assert_int_equal(history_append(in_tree("runs"), &e, &err), OK);
    assert_int_equal(history_append(in_tree("runs"), &hostile, &err), OK);
    assert_int_equal(history_read(in_tree("runs"), &h, &err), OK);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.skipped, 1);
    assert_string_equal(h.entries[1].name, "small.onnx");
    assert_near(h.entries[1].after[HISTORY_TIME].low, 1.9e-3, 1e-12);
    assert_true(h.entries[1].after[HISTORY_ENERGY].modelled);
    assert_string_equal(h.entries[2].name, hostile.name);
    history_keep(&h, NULL);
    assert_int_equal(h.count, 1);
    history_release(&h);
    assert_int_equal(history_append(tree, &e, &err), ERR_IO);
}

/* ---- the trend ---- */

static const struct {
    const char *name;
    HistoryId id;
    double bytes[6], ms[6], half, accuracy[6];
    int count;
    HistoryChange change;
} trend_cases[] = {
    { "the first run", HISTORY_SIZE, { 1000 }, { 2 }, 0.1, { 0.9 }, 1, HISTORY_UNKNOWN },
    { "the same size", HISTORY_SIZE, { 1000, 1004 }, { 2, 2 }, 0.1, { 0.9, 0.9 }, 2, HISTORY_SAME },
    { "a larger file", HISTORY_SIZE, { 1000, 1006 }, { 2, 2 }, 0.1, { 0.9, 0.9 }, 2, HISTORY_WORSE },
    { "a smaller file", HISTORY_SIZE, { 1000, 990 }, { 2, 2 }, 0.1, { 0.9, 0.9 }, 2, HISTORY_BETTER },
    { "time within the intervals", HISTORY_TIME, { 1, 1, 1, 1 }, { 2, 2.01, 1.99, 2.15 }, 0.1, { 1, 1, 1, 1 }, 4, HISTORY_SAME },
    { "time beyond both", HISTORY_TIME, { 1, 1, 1, 1 }, { 2, 2.01, 1.99, 2.4 }, 0.1, { 1, 1, 1, 1 }, 4, HISTORY_WORSE },
    { "faster", HISTORY_TIME, { 1, 1, 1, 1 }, { 2, 2.01, 1.99, 1.4 }, 0.1, { 1, 1, 1, 1 }, 4, HISTORY_BETTER },
    { "runs that scatter: a wide interval alone is no proof", HISTORY_TIME, { 1, 1, 1, 1, 1, 1 }, { 2, 3, 1.5, 2.6, 1.9, 3.2 }, 0.1,
      { 1, 1, 1, 1, 1, 1 }, 6, HISTORY_SAME },
    { "1 % is below what is ever claimed", HISTORY_TIME, { 1, 1 }, { 2, 2.02 }, 0.001, { 1, 1 }, 2, HISTORY_SAME },
    { "earlier times of 0", HISTORY_TIME, { 1, 1, 1, 1 }, { 0, 0, 0, 2 }, 0.1, { 1, 1, 1, 1 }, 4, HISTORY_UNKNOWN },
    { "energy modelled from time", HISTORY_ENERGY, { 1, 1 }, { 2, 9 }, 0.1, { 1, 1 }, 2, HISTORY_UNKNOWN },
    { "accuracy within the interval", HISTORY_ACCURACY, { 1, 1 }, { 2, 2 }, 0.1, { 0.9, 0.885 }, 2, HISTORY_SAME },
    { "accuracy lost", HISTORY_ACCURACY, { 1, 1 }, { 2, 2 }, 0.1, { 0.9, 0.85 }, 2, HISTORY_WORSE },
    { "accuracy lost step by step", HISTORY_ACCURACY, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0.1, { 0.9, 0.89, 0.885, 0.875 }, 4, HISTORY_WORSE },
    { "no accuracy now", HISTORY_ACCURACY, { 1, 1 }, { 2, 2 }, 0.1, { 0.9, NAN }, 2, HISTORY_UNKNOWN },
    { "never measured", HISTORY_POWER, { 1, 1 }, { 2, 2 }, 0.1, { 0.9, NAN }, 2, HISTORY_UNKNOWN },
};

static void test_trend(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof trend_cases / sizeof *trend_cases; k++) {
        HistoryEntry entries[6];
        History h = { .entries = entries, .count = (size_t)trend_cases[k].count };
        HistoryTrend t;
        for (int i = 0; i < trend_cases[k].count; i++)
            entries[i] = entry_of(trend_cases[k].bytes[i], trend_cases[k].ms[i], trend_cases[k].half, trend_cases[k].accuracy[i]);
        history_trend(&h, trend_cases[k].id, &t);
        if (t.change != trend_cases[k].change) print_message("%s: change %d, noise %g\n", trend_cases[k].name, t.change, t.noise);
        assert_int_equal(t.change, trend_cases[k].change);
    }
}

/* Run times of a machine that others kept busy: what the network itself took decides. */
static void test_busy_machine(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double load[3], ms[3], cpu[3];
        HistoryChange time, cpu_time;
        const char *note;
    } rows[] = {
        { "a quiet machine, less parallel", { 0, 0, 0.01 }, { 2, 2, 4 }, { 2, 2, 2 }, HISTORY_WORSE, HISTORY_SAME, "" },
        { "a busy machine, the same work", { 0, 0, 0.78 }, { 2, 2, 6 }, { 2, 2, 2 }, HISTORY_SAME, HISTORY_SAME, "others took 78 %" },
        { "it was busy the time before", { 0, 0.5, 0 }, { 6, 6, 2 }, { 2, 2, 2 }, HISTORY_SAME, HISTORY_SAME, "others took 50 %" },
        { "a busy machine, more work", { 0, 0, 0.78 }, { 2, 2, 6 }, { 2, 2, 3 }, HISTORY_WORSE, HISTORY_WORSE, "" },
        { "nobody told the load", { NAN, NAN, NAN }, { 2, 2, 6 }, { 2, 2, 2 }, HISTORY_WORSE, HISTORY_SAME, "" },
        { "nobody told CPU time", { 0.5, 0.5, 0.5 }, { 2, 2, 6 }, { NAN, NAN, NAN }, HISTORY_WORSE, HISTORY_UNKNOWN, "" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        HistoryEntry entries[3];
        History h = { .entries = entries, .count = 3 };
        HistoryTrend time, cpu;
        for (int i = 0; i < 3; i++) {
            double s = rows[k].cpu[i] * 1e-3;
            entries[i] = entry_of(1000, rows[k].ms[i], 0.01, 0.9);
            entries[i].other_load = rows[k].load[i];
            entries[i].after[HISTORY_CPU] = (HistoryPoint){ s, s * 0.99, s * 1.01, false };
        }
        history_trend(&h, HISTORY_TIME, &time);
        history_trend(&h, HISTORY_CPU, &cpu);
        if (time.change != rows[k].time || cpu.change != rows[k].cpu_time) fail_msg("%s: %d %d", rows[k].name, time.change, cpu.change);
        assert_int_equal(strncmp(time.note, rows[k].note, strlen(rows[k].note)), 0);
    }
}

/* "before" is the run before in every row, and the verdict says what was judged. */
static void test_words(void **state)
{
    (void)state;
    static const struct { double ms[4], accuracy[4]; const char *has; } rows[] = {
        { { 2.2, 2.21, 2.2, 2.6 }, { 0.9, 0.9, 0.9, 0.9 }, "2.2 ms   2.6 ms       +18.2 %  +18.2 % from the median of 3, intervals meet" },
        { { 2, 2, 2, 4 }, { 0.9, 0.9, 0.9, 0.9 }, "WORSE, +100.0 % from the median of 3, noise 2.0 %" },
        { { 2, 2, 2, 2 }, { 0.9, 0.9, 0.88, 0.89 }, "+1.00 points  -1.00 points from the best of 3, intervals meet" },
        { { 2, 2, 2, 2 }, { 0.9, 0.9, 0.9, 0.9 }, "+0.0 % from the median of 3, within 2.0 %" },
        { { 2, 2, 2, 2 }, { 0.9, 0.9, 0.9, 0.9 }, "+0.00 points from the best of 3, within 1.00 points" },
        { { 0.002, 0.002, 0.002, 0.002 }, { 0.9, 0.9, 0.9, 0.9 }, "2 us" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        HistoryEntry entries[4];
        StrBuf b = { 0 };
        History h = { .entries = entries, .count = 4 };
        for (int i = 0; i < 4; i++) entries[i] = entry_of(1000, rows[k].ms[i], 0.25, rows[k].accuracy[i]);
        history_print(&h, "runs", false, k % 2 != 0, &b); /* units are the same in both */
        if (strstr(b.data, rows[k].has) == NULL) print_message("%s\n", b.data);
        assert_non_null(strstr(b.data, rows[k].has));
        strbuf_release(&b);
    }
}

/* Times of another machine are no yardstick; sizes are. */
static void test_machines(void **state)
{
    (void)state;
    HistoryEntry entries[2] = { entry_of(1000, 2, 0.1, 0.9), entry_of(2000, 9, 0.1, 0.9) };
    History h = { .entries = entries, .count = 2 };
    HistoryTrend t;
    snprintf(entries[1].machine, sizeof entries[1].machine, "another");
    history_trend(&h, HISTORY_TIME, &t);
    assert_int_equal(t.change, HISTORY_UNKNOWN);
    assert_non_null(strstr(t.note, "machine"));
    history_trend(&h, HISTORY_SIZE, &t);
    assert_int_equal(t.change, HISTORY_WORSE);
}

/* ---- carbon ---- */

static const struct {
    FootprintTexts texts;
    Status status;
    double g, pue, kg;
} footprint_cases[] = {
    { { NULL, NULL, NULL, NULL }, OK, 445, 1, 0 },
    { { "France", NULL, NULL, NULL }, OK, 44.2, 1, 0 },
    { { "300.5", "SWE,12", "1.2", "1000:4" }, OK, 300.5, 1.2, 1000 },
    { { "0", NULL, NULL, "10:3:0.25" }, OK, 0, 1, 10 },
    { { "Frence", NULL, NULL, NULL }, ERR_USAGE, 0, 0, 0 },
    { { "-1", NULL, NULL, NULL }, ERR_USAGE, 0, 0, 0 },
    { { "nan", NULL, NULL, NULL }, ERR_USAGE, 0, 0, 0 },
    { { NULL, "France,,Sweden", NULL, NULL }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, "0.9", NULL }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, "1.5x", NULL }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, NULL, "1000" }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, NULL, "1000:0" }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, NULL, "1000:4:2" }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, NULL, "1000:4:0.5:1" }, ERR_USAGE, 0, 0, 0 },
    { { NULL, NULL, NULL, "1000:4x" }, ERR_USAGE, 0, 0, 0 },
};

static void test_footprint(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof footprint_cases / sizeof *footprint_cases; k++) {
        Footprint f;
        Err err;
        Status status = footprint_parse(&footprint_cases[k].texts, &f, &err);
        if (status != footprint_cases[k].status) print_message("row %zu: %s\n", k, err.text);
        assert_int_equal(status, footprint_cases[k].status);
        if (status != OK) continue;
        assert_near(f.grid.g_per_kwh, footprint_cases[k].g, 1e-12);
        assert_near(f.pue, footprint_cases[k].pue, 1e-12);
        assert_near(f.embodied.total_kg, footprint_cases[k].kg, 1e-12);
        assert_near(footprint_carbon(&f, &(Sourced){ .value = 3.6e6, .source = "measured: x" }).value, f.grid.g_per_kwh * f.pue, 1e-9);
    }
}

/* ---- other tools ---- */

static Report *sample_report(void)
{
    Footprint f;
    Err err;
    Report *r = report_new();
    assert_non_null(r);
    r->has_after = true;
    r->before.energy_j = r->after.energy_j = (Sourced){ .value = 2, .source = "measured: a, \"counter\"" };
    r->before.latency_ms = (Interval){ 10, 9, 11 };
    r->after.latency_ms = (Interval){ 5, 4, 6 };
    r->after.energy_j.value = 1;
    r->after.accuracy = 0.75;
    r->after.parameters = 1000;
    r->cost.seconds = 10;
    r->cost.cpu_seconds = 20;
    r->cost.energy_j = (Sourced){ .value = 3.6e6, .source = "measured: x" };
    snprintf(r->machine.cpu, sizeof r->machine.cpu, "a \"fast\" cpu, 3 GHz\n=cmd");
    snprintf(r->machine.os, sizeof r->machine.os, "an os");
    r->machine.cores = r->machine.threads = 4;
    assert_int_equal(footprint_parse(&(FootprintTexts){ .grid = "FRA", .pue = "1.5" }, &f, &err), OK);
    assert_int_equal(footprint_report(&f, r, &err), OK);
    return r;
}

static void test_report_carbon(void **state)
{
    (void)state;
    Report *r = sample_report();
    assert_near(r->cost.carbon_g.value, 44.2 * 1.5, 1e-9);
    assert_near(r->after.carbon_g.value, 1 / 3.6e6 * 44.2 * 1.5, 1e-12);
    assert_non_null(strstr(r->after.carbon_g.source, "France 2024"));
    assert_near(r->cost.pays_back, 3.6e6, 1e-3);
    assert_int_equal(r->carbon.sci_count, 2);
    assert_near(r->carbon.sci[1].total_g, r->after.carbon_g.value, 1e-12);
    assert_true(r->carbon.scenario_count > 4);
    assert_string_equal(r->carbon.scenarios[0].grid.region, "France");
    for (int i = 1; i < r->carbon.scenario_count; i++) assert_string_not_equal(r->carbon.scenarios[i].grid.region, "France");
    report_free(r);
}

/* Fields of a CSV line by the rules of RFC 4180. */
static int csv_fields(const char *line, char fields[64][256])
{
    int count = 0;
    for (const char *at = line; count < 64;) {
        size_t n = 0;
        bool quoted = *at == '"';
        at += quoted;
        for (; *at != '\0' && (quoted || (*at != ',' && *at != '\n')) && n + 1 < 256; at++) {
            if (quoted && *at == '"' && at[1] != '"') break;
            if (quoted && *at == '"') at++;
            fields[count][n++] = *at;
        }
        at += quoted;
        fields[count++][n] = '\0';
        if (*at != ',') break;
        at++;
    }
    return count;
}

static void test_emissions(void **state)
{
    (void)state;
    static char header[64][256], row[64][256];
    StrBuf b = { 0 };
    Err err;
    Report *r = sample_report();
    const char *path = in_tree("emissions.csv");
    assert_int_equal(export_emissions_check(path, &err), OK);
    assert_int_equal(export_emissions(r, path, &err), OK);
    assert_int_equal(export_emissions_check(path, &err), OK);
    assert_int_equal(export_emissions(r, path, &err), OK);
    get(path, &b);
    int columns = csv_fields(b.data, header), lines = 0;
    for (const char *at = b.data; (at = strchr(at, '\n')) != NULL; at++) lines++;
    assert_int_equal(lines, 3); /* one header; the line's end in the processor's name is escaped */
    assert_int_equal(csv_fields(strchr(b.data, '\n') + 1, row), columns);
    static const struct {
        const char *column, *value;
    } cells[] = { { "project_name", "pare" }, { "duration", "10" },           { "emissions", "0.0663" },    { "energy_consumed", "1" },
                  { "cpu_power", "360000" },  { "country_iso_code", "FRA" },  { "cpu_count", "4" },         { "pue", "1.5" },
                  { "os", "an os" },          { "cpu_utilization_percent", "50" }, { "cpu_model", "a \"fast\" cpu, 3 GHz\\x0a=cmd" } };
    for (size_t k = 0; k < sizeof cells / sizeof *cells; k++) {
        int c = 0;
        while (c < columns && strcmp(header[c], cells[k].column) != 0) c++;
        assert_true(c < columns);
        assert_string_equal(row[c], cells[k].value);
    }
    strbuf_release(&b);
    put_file("emissions.csv", "a,b\n1,2\n");
    assert_int_equal(export_emissions_check(path, &err), ERR_DATA);
    assert_int_equal(export_emissions(r, path, &err), ERR_DATA);
    assert_int_equal(export_emissions_check(in_tree("no/such/folder.csv"), &err), ERR_IO);
    report_free(r);
}

static void test_boamps(void **state)
{
    (void)state;
    StrBuf b = { 0 };
    Err err;
    Report *r = sample_report();
    const char *path = in_tree("boamps.json");
    assert_int_equal(export_boamps(r, path, &err), OK);
    get(path, &b);
    cJSON *json = cJSON_Parse(b.data), *task = cJSON_GetObjectItem(json, "task"), *measures = cJSON_GetObjectItem(json, "measures");
    assert_non_null(json);
    assert_near(cJSON_GetObjectItem(task, "measuredAccuracy")->valuedouble, 0.75, 0);
    double requests = cJSON_GetObjectItem(task, "nbRequest")->valuedouble;
    assert_near(cJSON_GetObjectItem(cJSON_GetArrayItem(measures, 0), "powerConsumption")->valuedouble, requests / 3.6e6, 1e-12);
    assert_string_equal(cJSON_GetObjectItem(json, "quality")->valuestring, "medium");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "environment"), "country")->valuestring, "France");
    cJSON_Delete(json);
    strbuf_release(&b);
    r->after.energy_j.value = NAN;
    unlink(path);
    assert_int_equal(export_boamps(r, path, &err), ERR_DATA); /* no number is invented */
    assert_int_equal(access(path, F_OK), -1);
    report_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),      cmocka_unit_test(test_long_line), cmocka_unit_test(test_append),
        cmocka_unit_test(test_trend),     cmocka_unit_test(test_busy_machine), cmocka_unit_test(test_words),
        cmocka_unit_test(test_machines),  cmocka_unit_test(test_footprint),
        cmocka_unit_test(test_report_carbon), cmocka_unit_test(test_emissions), cmocka_unit_test(test_boamps),
    };
    return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
