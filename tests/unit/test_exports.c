/* Forms of other tools, held against what those tools ask for: CodeCarbon 3.3's columns (emissions.csv is appended to by position, so the
 * order counts) and the keys, types and words of BoAmps 1.1. */
#include "fake_tree.h"

#include "pipeline/exports.h"
#include "pipeline/footprint.h"

static char *read_all(const char *path)
{
    static char text[16384];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* A run whose result draws 2 J an inference, +-1 %, read by a source of that uncertainty. */
static Report *report_of(const char *source, const char *id, double factor, const char *grid)
{
    Footprint f;
    Err err;
    Report *r = report_new();
    assert_non_null(r);
    r->has_after = true;
    snprintf(r->created, sizeof r->created, "2026-01-31T12:34:56Z");
    r->before.energy_j = r->after.energy_j = (Sourced){ .value = 2 };
    snprintf(r->after.energy_j.source, sizeof r->after.energy_j.source, "%s", source);
    r->after.latency_ms = (Interval){ 5, 4, 6 };
    r->after.accuracy = 0.75;
    r->after.parameters = 2000000;
    r->after.compared = 1;
    r->cost.seconds = 10;
    r->cost.cpu_seconds = 20;
    r->cost.energy_j = (Sourced){ .value = 7200 };
    snprintf(r->cost.energy_j.source, sizeof r->cost.energy_j.source, "%s", source);
    r->machine.cores = r->machine.threads = 4;
    snprintf(r->machine.cpu, sizeof r->machine.cpu, "a cpu");
    snprintf(r->machine.os, sizeof r->machine.os, "an os");
    r->measured.networks = calloc(2, sizeof *r->measured.networks);
    assert_non_null(r->measured.networks);
    r->measured.count = 2;
    compared_init(&r->measured.networks[0]);
    compared_init(&r->measured.networks[1]);
    r->measured.networks[1].energy_j = (Interval){ 2, 1.98, 2.02 };
    r->measured.networks[1].seconds = (Interval){ 5e-3, 4e-3, 6e-3 };
    r->measured.networks[1].cpu_seconds = (Interval){ 10e-3, 8e-3, 12e-3 };
    r->measured.idle_before_w = 36;
    r->measured.idle_seconds = 10;
    snprintf(r->measured.source.id, sizeof r->measured.source.id, "%s", id);
    r->measured.source.factor = factor;
    assert_ok(footprint_parse(&(FootprintTexts){ .grid = grid }, &f, &err), &err);
    assert_ok(footprint_report(&f, r, &err), &err);
    return r;
}

/* ---- emissions.csv ---- */

static const char *const columns[] = {
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power", "gpu_power",
    "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed", "country_name", "country_iso_code",
    "region", "cloud_provider", "cloud_region", "os", "python_version", "codecarbon_version", "cpu_count", "cpu_model", "gpu_count",
    "gpu_model", "longitude", "latitude", "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
};
#define COLUMNS ((int)(sizeof columns / sizeof *columns))

static int split(char *line, char *cells[COLUMNS + 1])
{
    int n = 0;
    for (char *at = line; at != NULL && n <= COLUMNS; n++) {
        cells[n] = at;
        at = strchr(at, ',');
        if (at != NULL) *at++ = '\0';
    }
    return n;
}

static void test_columns(void **state)
{
    (void)state;
    static const struct { const char *source, *id, *mode; } rows[] = {
        { "measured: RAPL through powercap", "powercap", "machine" }, /* a counter sees every process: it is not this one's alone */
        { "modelled: CPU time x watts", "cpu-time", "process" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Err err;
        char *header[COLUMNS + 1], *cells[COLUMNS + 1];
        Report *r = report_of(rows[k].source, rows[k].id, 1.1, "France");
        const char *path = in_tree(rows[k].id);
        assert_ok(export_emissions(r, path, &err), &err);
        char *text = read_all(path), *second = strchr(text, '\n');
        *second++ = '\0';
        *strchr(second, '\n') = '\0';
        assert_int_equal(split(text, header), COLUMNS);
        for (int i = 0; i < COLUMNS; i++) assert_string_equal(header[i], columns[i]);
        assert_int_equal(split(second, cells), COLUMNS);
        static const struct { int column; const char *value; } expected[] = {
            { 0, "2026-01-31T12:34:56" }, { 4, "10" }, { 5, "8.84e-05" }, { 6, "8.84e-06" }, { 7, "720" }, { 10, "0.002" },
            { 13, "0.002" }, { 15, "France" }, { 16, "FRA" }, { 23, "4" }, { 31, "50" }, { 36, "1" },
        };
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) assert_string_equal(cells[expected[i].column], expected[i].value);
        assert_string_equal(cells[30], rows[k].mode);
        report_free(r);
    }
}

/* ---- BoAmps ---- */

/* What must be there, and of which type; of a list its first member. */
static const struct { const char *path; int type; } required[] = {
    { "header.reportDatetime", cJSON_String }, { "header.publisher.confidentialityLevel", cJSON_String },
    { "task.taskStage", cJSON_String }, { "task.taskFamily", cJSON_String }, { "task.algorithms", cJSON_Array },
    { "task.dataset", cJSON_Array }, { "task.dataset.dataUsage", cJSON_String }, { "task.dataset.dataType", cJSON_String },
    { "measures", cJSON_Array }, { "measures.measurementMethod", cJSON_String }, { "measures.powerConsumption", cJSON_Number },
    { "measures.version", cJSON_String }, { "measures.cpuTrackingMode", cJSON_String }, { "measures.averageUtilizationCpu", cJSON_Number },
    { "measures.powerCalibrationMeasurement", cJSON_Number }, { "measures.durationCalibrationMeasurement", cJSON_Number },
    { "measures.measurementDuration", cJSON_Number }, { "measures.measurementDateTime", cJSON_String },
    { "system.os", cJSON_String }, { "software.language", cJSON_String }, { "infrastructure.infraType", cJSON_String },
    { "infrastructure.components", cJSON_Array }, { "infrastructure.components.componentType", cJSON_String },
    { "infrastructure.components.nbComponent", cJSON_Number }, { "environment.country", cJSON_String },
};

/* Every key that there may be, by its object. */
static const struct { const char *object, *keys; } allowed[] = {
    { "", " header task measures system software infrastructure environment quality $hash " },
    { "header", " licensing formatVersion formatVersionSpecificationUri reportId reportDatetime reportStatus publisher " },
    { "header.publisher", " name division projectName confidentialityLevel publicKey " },
    { "task", " taskStage taskFamily nbRequest algorithms dataset measuredAccuracy estimatedAccuracy taskDescription " },
    { "task.algorithms", " trainingType algorithmType algorithmName algorithmUri foundationModelName foundationModelUri parametersNumber "
                         "framework frameworkVersion classPath layersNumber epochsNumber optimizer quantization " },
    { "task.dataset", " dataUsage dataType dataFormat dataSize dataQuantity shape source sourceUri owner " },
    { "measures", " measurementMethod manufacturer version cpuTrackingMode gpuTrackingMode averageUtilizationCpu averageUtilizationGpu "
                  "powerCalibrationMeasurement durationCalibrationMeasurement powerConsumption measurementDuration measurementDateTime " },
    { "system", " os distribution distributionVersion " },
    { "software", " language version " },
    { "infrastructure", " infraType cloudProvider cloudInstance cloudService components " },
    { "infrastructure.components", " componentName componentType nbComponent memorySize manufacturer family series share " },
    { "environment", " country latitude longitude location powerSupplierType powerSource powerSourceCarbonIntensity " },
};

static const struct { const char *path, *words; } enums[] = {
    { "header.reportStatus", " draft final corrective other " },
    { "header.publisher.confidentialityLevel", " public internal confidential secret " },
    { "task.dataset.dataUsage", " input output " }, { "quality", " high medium low " },
    { "task.dataset.dataType", " tabular audio boolean image video object text token word other " },
    { "infrastructure.infraType", " publicCloud privateCloud onPremise other " },
};

/* "task.dataset.dataUsage": a list on the way stands for its first member. */
static const cJSON *at(const cJSON *json, const char *path)
{
    char key[64];
    while (json != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        if (cJSON_IsArray(json)) json = cJSON_GetArrayItem(json, 0);
        json = cJSON_GetObjectItemCaseSensitive(json, key);
        path += n + (path[n] == '.');
    }
    return json;
}

static bool among(const char *words, const char *word)
{
    char spaced[80];
    snprintf(spaced, sizeof spaced, " %s ", word);
    return strstr(words, spaced) != NULL;
}

static void check_keys(const cJSON *object, const char *words)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        if (!among(words, item->string)) fail_msg("key '%s' is not known to the form", item->string);
    }
}

static cJSON *boamps_of(const Report *r)
{
    Err err;
    const char *path = in_tree("boamps.json");
    assert_ok(export_boamps(r, path, &err), &err);
    cJSON *json = cJSON_Parse(read_all(path));
    assert_non_null(json);
    return json;
}

static void test_boamps_keys(void **state)
{
    (void)state;
    Report *r = report_of("measured: RAPL through powercap", "powercap", 1.1, "France");
    cJSON *json = boamps_of(r);
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        const cJSON *item = at(json, required[i].path);
        if (item == NULL || (item->type & 0xff) != required[i].type) fail_msg("%s is missing, or of another type", required[i].path);
    }
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        const cJSON *object = at(json, allowed[i].object), *member;
        assert_non_null(object);
        if (!cJSON_IsArray(object)) check_keys(object, allowed[i].keys);
        else cJSON_ArrayForEach(member, object) check_keys(member, allowed[i].keys);
    }
    for (size_t i = 0; i < sizeof enums / sizeof *enums; i++)
        if (!among(enums[i].words, at(json, enums[i].path)->valuestring)) fail_msg("%s is no word of the form", enums[i].path);
    assert_string_equal(at(json, "header.reportDatetime")->valuestring, "2026-01-31 12:34:56");
    assert_string_equal(at(json, "measures.measurementDateTime")->valuestring, "2026-01-31 12:34:56");
    assert_string_equal(at(json, "measures.cpuTrackingMode")->valuestring, "rapl");
    assert_near(at(json, "measures.powerConsumption")->valuedouble, 1000 * 2 / 3.6e6, 1e-15); /* kWh of nbRequest inferences */
    assert_near(at(json, "task.nbRequest")->valuedouble, 1000, 0);
    assert_near(at(json, "task.algorithms.parametersNumber")->valuedouble, 0.002, 1e-15); /* thousands of millions */
    assert_near(at(json, "measures.measurementDuration")->valuedouble, 5, 1e-12);
    assert_near(at(json, "measures.averageUtilizationCpu")->valuedouble, 0.5, 1e-12);
    assert_near(at(json, "measures.powerCalibrationMeasurement")->valuedouble, 1e-4, 1e-15);
    assert_near(at(json, "measures.durationCalibrationMeasurement")->valuedouble, 10, 0);
    assert_string_equal(at(json, "measures.measurementMethod")->valuestring, "measured: RAPL through powercap");
    assert_in_range((int)(at(json, "measures.averageUtilizationCpu")->valuedouble * 1e6), 0, 1000000);
    double idle = at(json, "measures.powerCalibrationMeasurement")->valuedouble, work = at(json, "measures.powerConsumption")->valuedouble;
    double slept = at(json, "measures.durationCalibrationMeasurement")->valuedouble;
    assert_true(work / at(json, "measures.measurementDuration")->valuedouble > idle / slept); /* else readers refuse it */
    const cJSON *memory = at(cJSON_GetArrayItem(at(json, "infrastructure.components"), 1), "memorySize");
    if (memory != NULL) assert_near(memory->valuedouble, floor(memory->valuedouble), 0); /* whole gigabytes */
    cJSON_Delete(json);
    report_free(r);
}

/* Without a country there is no environment: it could not be whole. */
static void test_boamps_world(void **state)
{
    (void)state;
    Report *r = report_of("measured: RAPL through powercap", "powercap", 1.1, NULL);
    cJSON *json = boamps_of(r);
    assert_null(at(json, "environment"));
    cJSON_Delete(json);
    report_free(r);
}

static void test_boamps_quality(void **state)
{
    (void)state;
    static const struct { const char *source, *id; double factor; const char *quality; } rows[] = {
        { "measured: a meter", "meter", 1.02, "high" },
        { "measured: RAPL through powercap", "powercap", 1.1, "medium" }, /* 10 % and what the windows scatter */
        { "measured: a battery", "battery", 1.3, "low" },
        { "modelled: an energy roofline", "roofline", 1.05, "low" },
        { "modelled: CPU time x watts", "cpu-time", 2, "low" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        Report *r = report_of(rows[k].source, rows[k].id, rows[k].factor, NULL);
        cJSON *json = boamps_of(r);
        const char *quality = at(json, "quality")->valuestring;
        if (strcmp(quality, rows[k].quality) != 0) fail_msg("%s: %s", rows[k].source, quality);
        assert_string_equal(at(json, "measures.cpuTrackingMode")->valuestring, strcmp(rows[k].id, "powercap") == 0 ? "rapl" : rows[k].id);
        cJSON_Delete(json);
        report_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_boamps_keys),
        cmocka_unit_test(test_boamps_world),
        cmocka_unit_test(test_boamps_quality),
    };
    return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
