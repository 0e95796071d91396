#include "pipeline/exports.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/json_write.h"
#include "pipeline/text.h"
#include "pipeline/version.h"

#define JOULES_PER_KWH 3.6e6
#define REQUESTS 1000
#define BOAMPS_URI "https://github.com/Boavizta/BoAmps/tree/main/model"

Status export_check(const char *option, const char *path, Err *err)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return err_set(err, ERR_IO, "%s %s: a folder is there", option, path);
    if (stat(path, &info) == 0) {
        return access(path, W_OK) == 0 ? OK : err_set(err, ERR_IO, "%s %s: %s", option, path, strerror(errno));
    }
    char *folder = path_folder(path);
    if (folder == NULL) return err_no_memory(err, "a path");
    Status status = access(folder, W_OK | X_OK) == 0 ? OK : err_set(err, ERR_IO, "%s %s: %s", option, path, strerror(errno));
    free(folder);
    return status;
}

/* ---- CodeCarbon ---- */

/* Energy of memory is not told apart: it is in what the source covers. Columns that nothing is known of stay empty. */
#define EMISSIONS_HEADER \
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,gpu_energy," \
    "ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version," \
    "codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent," \
    "gpu_utilization_percent,ram_utilization_percent,ram_used_gb,on_cloud,pue,wue\n"

typedef struct Row {
    StrBuf b;
    int count;
} Row;

static void row_text(Row *row, const char *text)
{
    if (row->count++ > 0) strbuf_add(&row->b, ",");
    if (strpbrk(text, ",\"\r\n") == NULL) {
        text_safe(str_of(text), &row->b);
        return;
    }
    strbuf_add(&row->b, "\"");
    StrBuf safe = { 0 };
    text_safe(str_of(text), &safe);
    if (safe.failed) row->b.failed = true;
    for (size_t i = 0; i < safe.len; i++) strbuf_add_n(&row->b, safe.data[i] == '"' ? "\"\"" : &safe.data[i], safe.data[i] == '"' ? 2 : 1);
    strbuf_release(&safe);
    strbuf_add(&row->b, "\"");
}

static void row_number(Row *row, double value)
{
    char text[40] = "";
    if (isfinite(value)) snprintf(text, sizeof text, "%.10g", value);
    row_text(row, text);
}

/* A random-looking id that the run's own hashes and time make, in the form of a UUID. */
static void run_id(const Report *r, char text[40])
{
    char all[512] = "", hex[HASH_TEXT];
    int n = snprintf(all, sizeof all, "%s %s %s %s %ld", r->created, r->before.sha256, r->after.sha256, r->recipe_sha256, (long)getpid());
    hash_bytes(all, (size_t)n, hex);
    snprintf(text, 40, "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
}

static double memory_gb(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size / 1e9 : NAN;
}

static void emissions_row(const Report *r, Row *row)
{
    const ReportCost *c = &r->cost;
    const GridFactor *g = &r->carbon.grid;
    double kwh = c->energy_j.value / JOULES_PER_KWH, kg = c->carbon_g.value / 1000, seconds = c->seconds;
    double usage = seconds > 0 && r->machine.cores > 0 ? 100 * c->cpu_seconds / seconds / r->machine.cores : NAN;
    char id[40], timestamp[24];
    run_id(r, id);
    snprintf(timestamp, sizeof timestamp, "%.19s", r->created);
    row_text(row, timestamp);
    row_text(row, "pare");
    row_text(row, id);
    row_text(row, r->recipe_sha256);
    row_number(row, seconds);
    row_number(row, kg);
    row_number(row, seconds > 0 ? kg / seconds : NAN);
    row_number(row, seconds > 0 ? c->energy_j.value / seconds : NAN);
    for (int i = 0; i < 2; i++) row_number(row, 0);
    row_number(row, kwh);
    for (int i = 0; i < 2; i++) row_number(row, 0);
    row_number(row, kwh);
    row_number(row, 0);
    bool country = g->code != NULL && strcmp(g->code, "WLD") != 0;
    row_text(row, country ? g->region : "");
    row_text(row, country ? g->code : "");
    for (int i = 0; i < 3; i++) row_text(row, "");
    row_text(row, r->machine.os);
    row_text(row, "");
    row_text(row, "pare " PARE_VERSION);
    row_number(row, r->machine.cores);
    row_text(row, r->machine.cpu);
    row_number(row, 0);
    for (int i = 0; i < 3; i++) row_text(row, "");
    row_number(row, memory_gb());
    row_text(row, strncmp(c->energy_j.source, "measured", 8) == 0 ? "machine" : "process"); /* a counter sees everybody; CPU time is ours */
    row_number(row, usage);
    row_number(row, 0);
    row_text(row, "");
    row_number(row, c->peak_memory > 0 ? (double)c->peak_memory / 1e9 : NAN);
    row_text(row, "");
    row_number(row, r->carbon.pue);
    row_number(row, 0);
    strbuf_add(&row->b, "\n");
}

Status export_emissions_check(const char *path, Err *err)
{
    TRY(export_check("emissions", path, err));
    return file_append_check(path, EMISSIONS_HEADER, err);
}

Status export_emissions(const Report *r, const char *path, Err *err)
{
    Row row = { .count = 0 };
    emissions_row(r, &row);
    Status status = row.b.failed ? err_no_memory(err, "the emissions row") : file_append(path, EMISSIONS_HEADER, row.b.data, err);
    strbuf_release(&row.b);
    return status;
}

/* ---- BoAmps ---- */

static bool add_text(cJSON *object, const char *key, const char *text)
{
    StrBuf b = { 0 };
    text_safe(str_of(text), &b);
    bool good = !b.failed && cJSON_AddStringToObject(object, key, b.data != NULL ? b.data : "") != NULL;
    strbuf_release(&b);
    return good;
}

static cJSON *add_item(cJSON *object, const char *key)
{
    cJSON *list = cJSON_AddArrayToObject(object, key), *item = cJSON_CreateObject();
    if (list != NULL && item != NULL && cJSON_AddItemToArray(list, item)) return item;
    cJSON_Delete(item);
    return NULL;
}

static bool boamps_task(const Report *r, const ReportState *s, cJSON *root)
{
    char text[200];
    cJSON *task = cJSON_AddObjectToObject(root, "task");
    bool good = add_text(task, "taskStage", "inference") && add_text(task, "taskFamily", "other") &&
                cJSON_AddNumberToObject(task, "nbRequest", REQUESTS) != NULL;
    cJSON *algorithm = add_item(task, "algorithms"), *dataset = add_item(task, "dataset");
    good = good && algorithm != NULL && dataset != NULL && add_text(algorithm, "algorithmType", "neural network") &&
           cJSON_AddNumberToObject(algorithm, "parametersNumber", (double)s->parameters / 1e9) != NULL &&
           add_text(algorithm, "framework", "pare") && add_text(algorithm, "frameworkVersion", PARE_VERSION) &&
           add_text(algorithm, "quantization", s->macs.int8 > 0 ? "int8" : "fp32") && add_text(dataset, "dataUsage", "input") &&
           add_text(dataset, "dataType", "other") && cJSON_AddNumberToObject(dataset, "dataQuantity", REQUESTS) != NULL;
    if (good && isfinite(s->accuracy)) good = cJSON_AddNumberToObject(task, "measuredAccuracy", s->accuracy) != NULL;
    snprintf(text, sizeof text, "%d inferences at batch 1: the figures of one, times %d; network %.64s", REQUESTS, REQUESTS, s->sha256);
    (void)r;
    return good && add_text(task, "taskDescription", text);
}

/* What was measured of this network; NULL: nothing was timed. */
static const Compared *compared_of(const Report *r, const ReportState *s)
{
    return s->compared >= 0 && s->compared < r->measured.count ? &r->measured.networks[s->compared] : NULL;
}

/* "high": within 10 %; "medium": within 25 %; "low": all else, every model among them. Doubt of the source and of the windows together. */
static const char *boamps_quality(const Report *r, const ReportState *s)
{
    const Compared *n = compared_of(r, s);
    double doubt = r->measured.source.factor > 1 ? r->measured.source.factor - 1 : 0.25;
    if (strncmp(s->energy_j.source, "measured", 8) != 0) return "low";
    if (n != NULL && n->energy_j.median > 0) doubt = hypot(doubt, (n->energy_j.high - n->energy_j.low) / 2 / n->energy_j.median);
    return doubt <= 0.1 ? "high" : doubt <= 0.25 ? "medium" : "low";
}

static bool boamps_measure(const Report *r, const ReportState *s, const char *when, cJSON *root)
{
    const EnergySource *source = &r->measured.source;
    const Compared *n = compared_of(r, s);
    bool rapl = strcmp(source->id, "powercap") == 0 || strcmp(source->id, "perf") == 0;
    cJSON *measure = add_item(root, "measures");
    bool good = measure != NULL && add_text(measure, "measurementMethod", s->energy_j.source) &&
                add_text(measure, "version", "pare " PARE_VERSION) &&
                add_text(measure, "cpuTrackingMode", rapl ? "rapl" : source->id[0] != '\0' ? source->id : "unknown") &&
                cJSON_AddNumberToObject(measure, "powerConsumption", REQUESTS * s->energy_j.value / JOULES_PER_KWH) != NULL &&
                add_text(measure, "measurementDateTime", when);
    if (good && isfinite(s->latency_ms.median))
        good = cJSON_AddNumberToObject(measure, "measurementDuration", REQUESTS * s->latency_ms.median * 1e-3) != NULL;
    if (good && n != NULL && n->seconds.median > 0 && n->cpu_seconds.median > 0 && r->machine.cores > 0) {
        double usage = n->cpu_seconds.median / n->seconds.median / r->machine.cores;
        good = cJSON_AddNumberToObject(measure, "averageUtilizationCpu", fmin(usage, 1)) != NULL;
    }
    if (good && r->measured.count > 0 && isfinite(r->measured.idle_before_w)) {
        double kwh = r->measured.idle_before_w * r->measured.idle_seconds / JOULES_PER_KWH;
        good = cJSON_AddNumberToObject(measure, "powerCalibrationMeasurement", kwh) != NULL &&
               cJSON_AddNumberToObject(measure, "durationCalibrationMeasurement", r->measured.idle_seconds) != NULL;
    }
    return good;
}

static bool boamps_infrastructure(const Report *r, cJSON *root)
{
    cJSON *infrastructure = cJSON_AddObjectToObject(root, "infrastructure");
    bool good = add_text(infrastructure, "infraType", "other");
    cJSON *cpu = add_item(infrastructure, "components");
    good = good && cpu != NULL && add_text(cpu, "componentName", r->machine.cpu) && add_text(cpu, "componentType", "cpu") &&
           cJSON_AddNumberToObject(cpu, "nbComponent", 1) != NULL;
    double memory = round(memory_gb());
    if (!good || !(memory >= 1)) return good;
    cJSON *ram = cJSON_CreateObject();
    if (ram == NULL || !cJSON_AddItemToArray(cJSON_GetObjectItem(infrastructure, "components"), ram)) {
        cJSON_Delete(ram);
        return false;
    }
    return add_text(ram, "componentType", "ram") && cJSON_AddNumberToObject(ram, "nbComponent", 1) != NULL &&
           cJSON_AddNumberToObject(ram, "memorySize", memory) != NULL;
}

static bool boamps_rest(const Report *r, const ReportState *s, const char *when, cJSON *root)
{
    if (!boamps_measure(r, s, when, root)) return false;
    cJSON *system = cJSON_AddObjectToObject(root, "system"), *software = cJSON_AddObjectToObject(root, "software");
    bool good = add_text(system, "os", "linux") && add_text(system, "distribution", r->machine.os) &&
                add_text(software, "language", "c") && add_text(software, "version", "11") && boamps_infrastructure(r, root);
    const GridFactor *g = &r->carbon.grid;
    if (good && g->code != NULL && strcmp(g->code, "WLD") != 0) {
        cJSON *environment = cJSON_AddObjectToObject(root, "environment");
        good = add_text(environment, "country", g->region) &&
               cJSON_AddNumberToObject(environment, "powerSourceCarbonIntensity", g->g_per_kwh) != NULL;
    }
    return good && add_text(root, "quality", boamps_quality(r, s));
}

static cJSON *boamps_json(const Report *r, const ReportState *s)
{
    char id[40], when[24];
    cJSON *root = cJSON_CreateObject(), *header = cJSON_AddObjectToObject(root, "header");
    run_id(r, id);
    snprintf(when, sizeof when, "%.10s %.8s", r->created, strlen(r->created) > 18 ? r->created + 11 : "");
    bool good = add_text(header, "formatVersion", "1.1.0") && add_text(header, "formatVersionSpecificationUri", BOAMPS_URI) &&
                add_text(header, "reportId", id) &&
                add_text(header, "reportDatetime", when) &&
                add_text(header, "reportStatus", "draft");
    cJSON *publisher = cJSON_AddObjectToObject(header, "publisher");
    good = good && add_text(publisher, "confidentialityLevel", "internal");
    if (good && boamps_task(r, s, root) && boamps_rest(r, s, when, root)) return root;
    cJSON_Delete(root);
    return NULL;
}

Status export_boamps(const Report *r, const char *path, Err *err)
{
    const ReportState *s = r->has_after ? &r->after : &r->before;
    if (!isfinite(s->energy_j.value))
        return err_set(err, ERR_DATA, "boamps %s: not written, there is no energy figure (%s)", path,
                       s->energy_j.source[0] != '\0' ? s->energy_j.source : "nothing was measured");
    cJSON *json = boamps_json(r, s);
    StrBuf text = { 0 };
    json_print(json, &text);
    strbuf_add(&text, "\n");
    cJSON_Delete(json);
    Status status = text.failed ? err_no_memory(err, "the BoAmps report") : outfile_put(path, text.data, text.len, err);
    strbuf_release(&text);
    return status;
}
