#include "pipeline/html_view.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const cJSON *view_get(const cJSON *object, const char *path)
{
    char key[64];
    while (object != NULL) {
        const char *dot = strchr(path, '.');
        size_t n = dot != NULL ? (size_t)(dot - path) : strlen(path);
        if (n >= sizeof key || !cJSON_IsObject(object)) return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        object = cJSON_GetObjectItemCaseSensitive(object, key);
        if (dot == NULL) break;
        path = dot + 1;
    }
    return object == NULL || cJSON_IsNull(object) ? NULL : object;
}

double view_number(const cJSON *object, const char *path)
{
    const cJSON *item = view_get(object, path);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

const char *view_text(const cJSON *object, const char *path)
{
    const cJSON *item = view_get(object, path);
    return cJSON_IsString(item) && item->valuestring[0] != '\0' ? item->valuestring : NULL;
}

bool view_true(const cJSON *object, const char *path)
{
    return cJSON_IsTrue(view_get(object, path));
}

const cJSON *view_list(const cJSON *object, const char *path)
{
    const cJSON *item = view_get(object, path);
    return cJSON_IsArray(item) && item->child != NULL ? item : NULL;
}

Range view_range(const cJSON *object, const char *path)
{
    const cJSON *item = view_get(object, path);
    if (cJSON_IsNumber(item)) return (Range){ item->valuedouble, NAN, NAN };
    double value = view_number(item, "value");
    if (isnan(value)) value = view_number(item, "median");
    return (Range){ value, view_number(item, "low"), view_number(item, "high") };
}

bool range_has_interval(const Range *r)
{
    return isfinite(r->value) && isfinite(r->low) && isfinite(r->high) && r->low <= r->high;
}

static const char *last_part(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

static void add_network(View *v, const cJSON *network, const char *name)
{
    if (!cJSON_IsObject(network)) return;
    if (v->count == VIEW_MOST) {
        v->left_out++;
        return;
    }
    v->networks[v->count] = network;
    v->names[v->count++] = name;
}

void view_open(const cJSON *root, View *v)
{
    *v = (View){ .root = root };
    const cJSON *list = view_list(root, "networks"), *item;
    cJSON_ArrayForEach(item, list) {
        const char *name = view_text(item, "name");
        if (name == NULL) name = last_part(view_text(item, "path"));
        add_network(v, item, name != NULL ? name : "a network");
    }
    if (list != NULL) return;
    const char *before = last_part(view_text(root, "source")), *after = last_part(view_text(root, "result"));
    add_network(v, view_get(root, "before"), before != NULL ? before : "before");
    const cJSON *result = view_get(root, "after");
    if (!isnan(view_number(result, "file_bytes"))) add_network(v, result, after != NULL ? after : "the result");
}

/* ---- measures ---- */

const MeasureInfo measure_infos[MEASURE_COUNT] = {
    [MEASURE_TIME] = { "Run time", "s", "latency_ms", 1e-3, "faster", "slower", "latency" },
    [MEASURE_SIZE] = { "Model size", "B", "file_bytes", 1, "smaller", "larger", NULL },
    [MEASURE_OPERATIONS] = { "Operations", "MAC", "macs.total", 1, "fewer operations", "more operations", NULL },
    [MEASURE_POWER] = { "Power", "W", "power_w", 1, "less power", "more power", "power" },
    [MEASURE_ENERGY] = { "Energy", "J", "energy_j", 1, "less energy", "more energy", "energy" },
    [MEASURE_CARBON] = { "Carbon", "g CO\xE2\x82\x82" "e", "carbon_g", 1, "less carbon", "more carbon", "energy" },
};

Range measure_of(const cJSON *network, MeasureId id)
{
    const MeasureInfo *m = &measure_infos[id];
    Range r = view_range(network, m->path);
    return (Range){ r.value * m->factor, r.low * m->factor, r.high * m->factor };
}

const char *measure_source(const cJSON *network, MeasureId id)
{
    const cJSON *item = view_get(network, measure_infos[id].path);
    return cJSON_IsObject(item) ? view_text(item, "source") : NULL;
}

const char *measure_provenance(const cJSON *network, MeasureId id)
{
    if (isnan(measure_of(network, id).value)) return NULL;
    if (measure_infos[id].compared == NULL) return "counted";
    const char *source = measure_source(network, id);
    if (id == MEASURE_TIME) return "measured";
    return source != NULL && strncmp(source, "measured", 8) == 0 ? "measured" : "modelled";
}

const cJSON *view_comparison(const View *v, int k, const char *measure)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, view_list(v->root, "comparisons")) {
        double network = view_number(item, "network");
        const char *of = view_text(item, "measure");
        if (of != NULL && strcmp(of, measure) == 0 && (isnan(network) ? 1 : network) == k) return item;
    }
    return NULL;
}

static Claim claim_of_numbers(double before, double after)
{
    if (!isfinite(before) || !isfinite(after)) return CLAIM_NONE;
    if (fabs(after - before) <= 0.0005 * fabs(before)) return CLAIM_SAME;
    return after < before ? CLAIM_LESS : CLAIM_MORE;
}

static bool overlap(const Range *a, const Range *b)
{
    return a->low <= b->high && b->low <= a->high;
}

Claim measure_claim(const View *v, int k, MeasureId id)
{
    const MeasureInfo *m = &measure_infos[id];
    Range before = measure_of(v->networks[0], id), after = measure_of(v->networks[k], id);
    Claim plain = claim_of_numbers(before.value, after.value);
    if (plain == CLAIM_NONE || m->compared == NULL) return plain;
    const cJSON *comparison = view_comparison(v, k, m->compared);
    bool in_pairs = view_comparison(v, k, "energy") != NULL || view_comparison(v, k, "latency") != NULL;
    if (comparison == NULL && id == MEASURE_POWER && in_pairs) return CLAIM_UNSURE; /* not judged */
    if (comparison == NULL && id != MEASURE_TIME && strcmp(measure_provenance(v->networks[k], id), "modelled") == 0)
        comparison = view_comparison(v, k, "latency"); /* modelled from time, so no surer than it */
    const char *verdict = view_text(comparison, "verdict");
    if (verdict != NULL) {
        if (strcmp(verdict, "lower") == 0) return CLAIM_LESS;
        if (strcmp(verdict, "higher") == 0) return CLAIM_MORE;
        return CLAIM_UNSURE;
    }
    if (range_has_interval(&before) && range_has_interval(&after)) return overlap(&before, &after) ? CLAIM_UNSURE : plain;
    Range time_before = measure_of(v->networks[0], MEASURE_TIME), time_after = measure_of(v->networks[k], MEASURE_TIME);
    bool timed = range_has_interval(&time_before) && range_has_interval(&time_after); /* the same calls */
    return timed && !overlap(&time_before, &time_after) ? plain : CLAIM_UNSURE;
}

double measure_ratio(const View *v, int k, MeasureId id)
{
    const char *compared = id != MEASURE_POWER ? measure_infos[id].compared : NULL;
    double pairs = compared != NULL ? view_number(view_comparison(v, k, compared), "ratio.median") : NAN;
    if (isfinite(pairs)) return pairs;
    double before = measure_of(v->networks[0], id).value;
    return before > 0 ? measure_of(v->networks[k], id).value / before : NAN;
}
