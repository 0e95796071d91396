#include "pipeline/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/version.h"
#include "pipeline/exports.h"
#include "pipeline/json_write.h"
#include "pipeline/text.h"

#define FORMAT 1
#define FORMAT_KEY "pare_history"

const HistoryInfo history_infos[HISTORY_COUNT] = {
#define X(id, key, title, unit, more) { key, title, unit, more },
    HISTORY_LIST(X)
#undef X
};

static const HistoryPoint no_point = { NAN, NAN, NAN, false };

/* ---- a line ---- */

static HistoryPoint exact(int64_t value)
{
    return value < 0 ? no_point : (HistoryPoint){ (double)value, NAN, NAN, false };
}

static HistoryPoint sourced(const Sourced *s)
{
    return (HistoryPoint){ s->value, NAN, NAN, strncmp(s->source, "measured", 8) != 0 };
}

static void points_of(const ReportState *s, HistoryPoint points[HISTORY_COUNT])
{
    points[HISTORY_TIME] = (HistoryPoint){ s->latency_ms.median * 1e-3, s->latency_ms.low * 1e-3, s->latency_ms.high * 1e-3, false };
    points[HISTORY_CPU] = (HistoryPoint){ s->call_cpu_seconds.median, s->call_cpu_seconds.low, s->call_cpu_seconds.high, false };
    points[HISTORY_SIZE] = exact(s->file_bytes);
    points[HISTORY_OPERATIONS] = exact(s->macs.total);
    points[HISTORY_POWER] = sourced(&s->power_w);
    points[HISTORY_ENERGY] = sourced(&s->energy_j);
    points[HISTORY_CARBON] = sourced(&s->carbon_g);
    points[HISTORY_CARBON].modelled = points[HISTORY_ENERGY].modelled;
    points[HISTORY_ACCURACY] = (HistoryPoint){ s->accuracy, s->accuracy_low, s->accuracy_high, false };
}

/* The name of a file, made safe and cut to fit. */
static void file_name(const char *path, char *out, size_t size)
{
    StrBuf b = { 0 };
    const char *slash = strrchr(path, '/');
    text_safe(str_of(slash != NULL ? slash + 1 : path), &b);
    size_t n = b.len < size ? b.len : size - 1;
    while (n > 0 && n < b.len && ((unsigned char)b.data[n] & 0xC0) == 0x80) n--;
    snprintf(out, size, "%.*s", (int)n, b.data != NULL ? b.data : "");
    strbuf_release(&b);
}

static void fill_entry(const char *created, const char *path, const MachineInfo *machine, const ReportState *before,
                       const ReportState *after, const Comparison *measured, HistoryEntry *out)
{
    *out = (HistoryEntry){ .other_load = measured->count > 0 ? measured->environment.other_load : NAN };
    snprintf(out->created, sizeof out->created, "%s", created);
    snprintf(out->version, sizeof out->version, "%s", PARE_VERSION);
    file_name(path != NULL ? path : "", out->name, sizeof out->name);
    snprintf(out->machine, sizeof out->machine, "%.100s, %.40s, %d threads", machine->cpu, machine->isa, machine->threads);
    snprintf(out->meter, sizeof out->meter, "%s", after->energy_j.source);
    memcpy(out->source, before->sha256, HASH_TEXT);
    memcpy(out->result, after->sha256, HASH_TEXT);
    points_of(before, out->before);
    points_of(after, out->after);
}

void history_of_report(const Report *r, HistoryEntry *out)
{
    const ReportState *after = r->has_after ? &r->after : &r->before;
    fill_entry(r->created, r->result != NULL ? r->result : r->source, &r->machine, &r->before, after, &r->measured, out);
    memcpy(out->recipe, r->recipe_sha256, HASH_TEXT);
}

static void add_intervals(const ComparisonFile *f, HistoryPoint points[HISTORY_COUNT])
{
    HistoryPoint *energy = &points[HISTORY_ENERGY];
    if (f->state.compared < 0 || !isfinite(energy->value)) return;
    energy->low = f->measured.energy_j.low;
    energy->high = f->measured.energy_j.high;
}

void history_of_comparison(const ComparisonReport *r, int k, HistoryEntry *out)
{
    const ComparisonFile *first = &r->files[0], *file = &r->files[k];
    fill_entry(r->created, file->path, &r->machine, &first->state, &file->state, &r->measured, out);
    add_intervals(first, out->before);
    add_intervals(file, out->after);
}

static bool add_points(cJSON *line, const char *key, const HistoryPoint points[HISTORY_COUNT])
{
    cJSON *object = cJSON_AddObjectToObject(line, key);
    for (int i = 0; object != NULL && i < HISTORY_COUNT; i++) {
        const HistoryPoint *p = &points[i];
        if (!isfinite(p->value)) continue;
        cJSON *item = cJSON_AddObjectToObject(object, history_infos[i].key);
        bool good = item != NULL && cJSON_AddNumberToObject(item, "value", p->value) != NULL;
        if (good && isfinite(p->low) && isfinite(p->high))
            good = cJSON_AddNumberToObject(item, "low", p->low) != NULL && cJSON_AddNumberToObject(item, "high", p->high) != NULL;
        if (good && p->modelled) good = cJSON_AddTrueToObject(item, "modelled") != NULL;
        if (!good) return false;
    }
    return object != NULL;
}

static cJSON *entry_json(const HistoryEntry *e)
{
    cJSON *line = cJSON_CreateObject();
    bool good = line != NULL && cJSON_AddNumberToObject(line, FORMAT_KEY, FORMAT) != NULL &&
                cJSON_AddStringToObject(line, "created", e->created) != NULL && cJSON_AddStringToObject(line, "name", e->name) != NULL &&
                cJSON_AddStringToObject(line, "version", e->version) != NULL &&
                cJSON_AddStringToObject(line, "machine", e->machine) != NULL &&
                cJSON_AddStringToObject(line, "energy_source", e->meter) != NULL &&
                (!isfinite(e->other_load) || cJSON_AddNumberToObject(line, "other_load", e->other_load) != NULL) &&
                cJSON_AddStringToObject(line, "source_sha256", e->source) != NULL &&
                cJSON_AddStringToObject(line, "result_sha256", e->result) != NULL &&
                cJSON_AddStringToObject(line, "recipe_sha256", e->recipe) != NULL && add_points(line, "before", e->before) &&
                add_points(line, "after", e->after);
    if (good) return line;
    cJSON_Delete(line);
    return NULL;
}

Status history_append(const char *path, const HistoryEntry *e, Err *err)
{
    cJSON *json = entry_json(e);
    StrBuf line = { 0 };
    json_print_compact(json, &line);
    strbuf_add(&line, "\n");
    cJSON_Delete(json);
    Status status = line.failed ? err_no_memory(err, "the history line") : OK;
    if (status == OK && line.len > HISTORY_LINE) status = err_set(err, ERR_BUG, "history %s: a line of %zu bytes", path, line.len);
    if (status == OK) status = file_append(path, NULL, line.data, err);
    strbuf_release(&line);
    return status;
}

/* ---- the file ---- */

static void skip(History *h, int line, const char *reason)
{
    if (h->skipped < HISTORY_SKIPS) {
        h->skips[h->skipped].line = line;
        snprintf(h->skips[h->skipped].reason, sizeof h->skips[0].reason, "%s", reason);
    }
    h->skipped++;
    h->last_skipped = line;
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) && isfinite(item->valuedouble) ? item->valuedouble : NAN;
}

static void text_of(const cJSON *object, const char *key, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    StrBuf b = { 0 };
    if (cJSON_IsString(item)) text_safe(str_of(item->valuestring), &b);
    snprintf(out, size, "%.*s", b.len < size ? (int)b.len : (int)size - 1, b.data != NULL ? b.data : "");
    strbuf_release(&b);
}

/* Bits of those that are there and can be no such number. */
static unsigned read_points(const cJSON *object, HistoryPoint points[HISTORY_COUNT])
{
    unsigned bad = 0;
    for (int i = 0; i < HISTORY_COUNT; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, history_infos[i].key);
        HistoryPoint *p = &points[i];
        *p = (HistoryPoint){ number_of(item, "value"), number_of(item, "low"), number_of(item, "high"),
                             cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "modelled")) };
        if (!(p->value >= 0) || (i == HISTORY_ACCURACY && p->value > 1)) {
            *p = no_point;
            if (item != NULL) bad |= 1u << i;
        }
        if (!(p->low <= p->value && p->value <= p->high)) p->low = p->high = NAN;
    }
    return bad;
}

Status history_check(const char *path, Err *err)
{
    static const char start[] = "{\"" FORMAT_KEY "\"";
    Mapping *file = NULL;
    struct stat info;
    TRY(export_check("history", path, err));
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return OK;
    TRY(mapping_open(path, (uint64_t)1 << 30, &file, err));
    const char *at = (const char *)file->data, *stop = memchr(at, '\n', file->size);
    size_t size = stop != NULL ? (size_t)(stop - at) : file->size;
    bool own = size >= sizeof start - 1 && memcmp(at, start, sizeof start - 1) == 0;
    if (!own && size <= HISTORY_LINE) { /* spaced otherwise, by another tool */
        cJSON *json = cJSON_ParseWithLength(at, size);
        own = cJSON_GetObjectItemCaseSensitive(json, FORMAT_KEY) != NULL;
        cJSON_Delete(json);
    }
    mapping_unref(file);
    if (own) return OK;
    return err_set(err, ERR_USAGE, "history %s: its first line is no line of a history (no \"" FORMAT_KEY "\"), and lines would be "
                   "added to it; give another file", path);
}

/* NULL when it was read, else why not. */
static const char *read_line(const char *text, size_t size, HistoryEntry *out)
{
    if (size > HISTORY_LINE) return "longer than a line of a run";
    cJSON *json = cJSON_ParseWithLength(text, size);
    const char *reason = NULL;
    if (!cJSON_IsObject(json)) reason = "no JSON object: cut off, or of something else";
    else if (isnan(number_of(json, FORMAT_KEY))) reason = "no line of a run of pare (no \"" FORMAT_KEY "\")";
    else if (number_of(json, FORMAT_KEY) != FORMAT) reason = "of a form that this version does not know";
    else if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "after"))) reason = "no numbers (\"after\")";
    if (reason == NULL) {
        *out = (HistoryEntry){ .line = 0 };
        text_of(json, "created", out->created, sizeof out->created);
        text_of(json, "name", out->name, sizeof out->name);
        text_of(json, "version", out->version, sizeof out->version);
        text_of(json, "machine", out->machine, sizeof out->machine);
        text_of(json, "energy_source", out->meter, sizeof out->meter);
        text_of(json, "source_sha256", out->source, sizeof out->source);
        text_of(json, "result_sha256", out->result, sizeof out->result);
        text_of(json, "recipe_sha256", out->recipe, sizeof out->recipe);
        out->other_load = number_of(json, "other_load");
        read_points(cJSON_GetObjectItemCaseSensitive(json, "before"), out->before);
        out->bad = read_points(cJSON_GetObjectItemCaseSensitive(json, "after"), out->after);
    }
    cJSON_Delete(json);
    return reason;
}

Status history_read(const char *path, History *out, Err *err)
{
    Mapping *file = NULL;
    *out = (History){ .count = 0 };
    TRY(mapping_open(path, (uint64_t)1 << 30, &file, err));
    const char *at = (const char *)file->data, *end = at + file->size;
    Status status = OK;
    for (int line = 1; at < end && status == OK; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop != NULL ? stop : end) - at);
        HistoryEntry entry;
        const char *reason = NULL;
        bool blank = size == 0 || (size == 1 && *at == '\r');
        if (!blank) reason = read_line(at, size, &entry);
        if (reason != NULL) skip(out, line, reason);
        if (!blank && reason == NULL) {
            void *entries = out->entries;
            entry.line = line;
            if (array_grow(&entries, &out->capacity, out->count + 1, sizeof *out->entries)) {
                out->entries = entries;
                out->entries[out->count++] = entry;
            } else {
                status = err_no_memory(err, "the history");
            }
        }
        at += size + 1;
    }
    mapping_unref(file);
    if (status != OK) history_release(out);
    return status;
}

unsigned history_unjudged(const History *h)
{
    unsigned ids = 0;
    if (h->count == 0) return 0;
    const HistoryEntry *last = &h->entries[h->count - 1], *before = h->count > 1 ? last - 1 : NULL;
    for (int i = 0; i < HISTORY_COUNT; i++) {
        bool had = before != NULL && isfinite(before->after[i].value);
        if (!isfinite(last->after[i].value) && (had || (last->bad & 1u << i) != 0)) ids |= 1u << i;
    }
    return ids;
}

/* Adds a name that is not in the text yet; what does not fit is told by dots. */
static void add_other(char *others, size_t size, const char *name)
{
    StrBuf b = { 0 };
    strbuf_add(&b, "'");
    text_safe(str_of(name), &b);
    strbuf_add(&b, "'");
    size_t used = strlen(others), most = size - sizeof ", ...";
    if (!b.failed && strstr(others, b.data) == NULL && strstr(others, "...") == NULL)
        snprintf(others + used, size - used, "%s%s", used > 0 ? ", " : "", used + b.len + 2 < most ? b.data : "...");
    strbuf_release(&b);
}

void history_keep(History *h, const char *name)
{
    char wanted[sizeof h->entries->name] = "";
    if (h->count == 0) return;
    snprintf(wanted, sizeof wanted, "%s", name != NULL ? name : h->entries[h->count - 1].name);
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->entries[i].name, wanted) == 0) h->entries[kept++] = h->entries[i];
        else add_other(h->others, sizeof h->others, h->entries[i].name);
    }
    h->count = kept;
}

void history_release(History *h)
{
    free(h->entries);
    *h = (History){ .count = 0 };
}
