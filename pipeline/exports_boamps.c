/* A network's inferences in BoAmps' form (report_schema.json of Boavizta). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pipeline/exports.h"
#include "pipeline/exports_private.h"
#include "pipeline/json_write.h"
#include "pipeline/text.h"
#include "pipeline/version.h"

#define BOAMPS_MOST (1 << 24) /* bytes; ours have a few thousand */
#define BOAMPS_URI "https://github.com/Boavizta/BoAmps/tree/main/model"

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

static bool boamps_task(const Exported *e, cJSON *root)
{
    const ReportState *s = e->state;
    char text[200];
    cJSON *task = cJSON_AddObjectToObject(root, "task");
    bool good = add_text(task, "taskStage", "inference") && add_text(task, "taskFamily", "other") &&
                cJSON_AddNumberToObject(task, "nbRequest", EXPORT_INFERENCES) != NULL;
    cJSON *algorithm = add_item(task, "algorithms"), *dataset = add_item(task, "dataset");
    good = good && algorithm != NULL && dataset != NULL && add_text(algorithm, "algorithmType", "neural network") &&
           cJSON_AddNumberToObject(algorithm, "parametersNumber", (double)s->parameters / 1e9) != NULL &&
           add_text(algorithm, "framework", "pare") && add_text(algorithm, "frameworkVersion", PARE_VERSION) &&
           add_text(algorithm, "quantization", s->macs.int8 > 0 ? "int8" : "fp32") && add_text(dataset, "dataUsage", "input") &&
           add_text(dataset, "dataType", "other") && cJSON_AddNumberToObject(dataset, "dataQuantity", EXPORT_INFERENCES) != NULL;
    if (good && isfinite(s->accuracy)) good = cJSON_AddNumberToObject(task, "measuredAccuracy", s->accuracy) != NULL;
    snprintf(text, sizeof text, "%d inferences at batch %lld: the figures of one, times %d; network %.64s", EXPORT_INFERENCES,
             (long long)e->batch, EXPORT_INFERENCES, s->sha256);
    return good && add_text(task, "taskDescription", text);
}

/* "high": within 10 %; "medium": within 25 %; "low": all else, every model among them. Doubt of the source and of the windows together. */
static const char *boamps_quality(const Exported *e)
{
    const ReportState *s = e->state;
    const Compared *n = export_compared(e);
    double factor = e->measured->source.factor, doubt = factor > 1 ? factor - 1 : 0.25;
    if (strncmp(s->energy_j.source, "measured", 8) != 0) return "low";
    if (n != NULL && n->energy_j.median > 0) doubt = hypot(doubt, (n->energy_j.high - n->energy_j.low) / 2 / n->energy_j.median);
    return doubt <= 0.1 ? "high" : doubt <= 0.25 ? "medium" : "low";
}

static bool boamps_measure(const Exported *e, const char *when, cJSON *root)
{
    const ReportState *s = e->state;
    const Comparison *c = e->measured;
    const EnergySource *source = &c->source;
    const Compared *n = export_compared(e);
    bool rapl = strcmp(source->id, "powercap") == 0 || strcmp(source->id, "perf") == 0;
    cJSON *measure = add_item(root, "measures");
    bool good = measure != NULL && add_text(measure, "measurementMethod", s->energy_j.source) &&
                add_text(measure, "version", "pare " PARE_VERSION) &&
                add_text(measure, "cpuTrackingMode", rapl ? "rapl" : source->id[0] != '\0' ? source->id : "unknown") &&
                cJSON_AddNumberToObject(measure, "powerConsumption", EXPORT_INFERENCES * s->energy_j.value / JOULES_PER_KWH) != NULL &&
                add_text(measure, "measurementDateTime", when);
    if (good && isfinite(s->latency_ms.median))
        good = cJSON_AddNumberToObject(measure, "measurementDuration", EXPORT_INFERENCES * s->latency_ms.median * 1e-3) != NULL;
    if (good && n != NULL && n->seconds.median > 0 && n->cpu_seconds.median > 0 && e->machine->cores > 0) {
        double usage = n->cpu_seconds.median / n->seconds.median / e->machine->cores;
        good = cJSON_AddNumberToObject(measure, "averageUtilizationCpu", fmin(usage, 1)) != NULL;
    }
    if (good && c->count > 0 && isfinite(c->idle_before_w)) {
        double kwh = c->idle_before_w * c->idle_seconds / JOULES_PER_KWH;
        good = cJSON_AddNumberToObject(measure, "powerCalibrationMeasurement", kwh) != NULL &&
               cJSON_AddNumberToObject(measure, "durationCalibrationMeasurement", c->idle_seconds) != NULL;
    }
    return good;
}

static bool boamps_infrastructure(const Exported *e, cJSON *root)
{
    cJSON *infrastructure = cJSON_AddObjectToObject(root, "infrastructure");
    bool good = add_text(infrastructure, "infraType", "other");
    cJSON *cpu = add_item(infrastructure, "components");
    good = good && cpu != NULL && add_text(cpu, "componentName", e->machine->cpu) && add_text(cpu, "componentType", "cpu") &&
           cJSON_AddNumberToObject(cpu, "nbComponent", 1) != NULL;
    double memory = round(export_memory_gb());
    if (!good || !(memory >= 1)) return good;
    cJSON *ram = cJSON_CreateObject();
    if (ram == NULL || !cJSON_AddItemToArray(cJSON_GetObjectItem(infrastructure, "components"), ram)) {
        cJSON_Delete(ram);
        return false;
    }
    return add_text(ram, "componentType", "ram") && cJSON_AddNumberToObject(ram, "nbComponent", 1) != NULL &&
           cJSON_AddNumberToObject(ram, "memorySize", memory) != NULL;
}

static bool boamps_rest(const Exported *e, const char *when, cJSON *root)
{
    if (!boamps_measure(e, when, root)) return false;
    cJSON *system = cJSON_AddObjectToObject(root, "system"), *software = cJSON_AddObjectToObject(root, "software");
    bool good = add_text(system, "os", "linux") && add_text(system, "distribution", e->machine->os) &&
                add_text(software, "language", "c") && add_text(software, "version", "11") && boamps_infrastructure(e, root);
    const GridFactor *g = e->grid;
    if (good && g->code != NULL && strcmp(g->code, "WLD") != 0) {
        cJSON *environment = cJSON_AddObjectToObject(root, "environment");
        good = add_text(environment, "country", g->region) &&
               cJSON_AddNumberToObject(environment, "powerSourceCarbonIntensity", g->g_per_kwh) != NULL;
    }
    return good && add_text(root, "quality", boamps_quality(e));
}

static cJSON *boamps_json(const Exported *e)
{
    char id[40], when[24];
    cJSON *root = cJSON_CreateObject(), *header = cJSON_AddObjectToObject(root, "header");
    export_id(e, id);
    snprintf(when, sizeof when, "%.10s %.8s", e->created, strlen(e->created) > 18 ? e->created + 11 : "");
    bool good = add_text(header, "formatVersion", "1.1.0") && add_text(header, "formatVersionSpecificationUri", BOAMPS_URI) &&
                add_text(header, "reportId", id) &&
                add_text(header, "reportDatetime", when) &&
                add_text(header, "reportStatus", "draft");
    cJSON *publisher = cJSON_AddObjectToObject(header, "publisher");
    good = good && add_text(publisher, "confidentialityLevel", "internal");
    if (good && boamps_task(e, root) && boamps_rest(e, when, root)) return root;
    cJSON_Delete(root);
    return NULL;
}

static bool is_boamps(const cJSON *json)
{
    static const char *const parts[] = { "header", "task", "measures" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (cJSON_GetObjectItemCaseSensitive(json, parts[i]) == NULL) return false;
    return true;
}

Status export_boamps_check(const char *path, Err *err)
{
    Mapping *file = NULL;
    struct stat info;
    TRY(export_check("boamps", path, err));
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return OK;
    bool own = false;
    if (info.st_size <= BOAMPS_MOST) {
        TRY(mapping_open(path, BOAMPS_MOST, &file, err));
        cJSON *json = cJSON_ParseWithLength((const char *)file->data, file->size);
        own = is_boamps(json);
        cJSON_Delete(json);
        mapping_unref(file);
    }
    if (own) return OK;
    return err_set(err, ERR_USAGE, "boamps %s: a file that is no BoAmps report is there and would be lost; give another name", path);
}

static Status put(const Exported *e, const char *path, Err *err)
{
    const ReportState *s = e->state;
    if (!isfinite(s->energy_j.value))
        return err_set(err, ERR_DATA, "boamps %s: not written, there is no energy figure (%s)", path,
                       s->energy_j.source[0] != '\0' ? s->energy_j.source : "nothing was measured");
    cJSON *json = boamps_json(e);
    StrBuf text = { 0 };
    json_print(json, &text);
    strbuf_add(&text, "\n");
    cJSON_Delete(json);
    Status status = text.failed ? err_no_memory(err, "the BoAmps report") : outfile_put(path, text.data, text.len, err);
    strbuf_release(&text);
    return status;
}

Status export_boamps(const Report *r, const char *path, Err *err)
{
    char about[4 * HASH_TEXT];
    snprintf(about, sizeof about, "%s %s %s", r->before.sha256, r->after.sha256, r->recipe_sha256);
    const Exported e = { .created = r->created, .about = about, .machine = &r->machine, .grid = &r->carbon.grid, .pue = r->carbon.pue,
                         .state = r->has_after ? &r->after : &r->before, .measured = &r->measured, .batch = 1 };
    return put(&e, path, err);
}

Status export_boamps_of(const ComparisonReport *r, const char *path, Err *err)
{
    const Exported e = export_of_comparison(r, r->file_count - 1);
    return put(&e, path, err);
}
