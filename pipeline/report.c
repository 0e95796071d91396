#include "pipeline/report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/html_report.h"
#include "pipeline/json_write.h"
#include "pipeline/junit.h"
#include "pipeline/text.h"

void report_state_init(ReportState *s)
{
    static const Sourced none = { .value = NAN };
    *s = (ReportState){
        .file_bytes = -1, .deflated_bytes = -1, .parameters = -1, .nonzeros = -1, .weight_bits = NAN,
        .stored_bits = NAN, .macs = { -1, -1, -1, -1 },
        .peak_memory = -1, .elementwise = -1, .transcendental = -1,
        .weight_bytes = -1, .activation_bytes = -1, .latency_ms = { NAN, NAN, NAN },
        .call_cpu_seconds = { NAN, NAN, NAN }, .net_j = { NAN, NAN, NAN },
        .latency_runs = -1, .energy_j = none, .power_w = none, .carbon_g = none, .green_algorithms_j = none, .time_tdp_j = none,
        .compared = -1, .samples = -1, .correct = -1, .accuracy = NAN, .accuracy_low = NAN,
        .accuracy_high = NAN, .cross_entropy = NAN,
    };
}

Report *report_new(void)
{
    Report *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->arena = arena_new();
    if (r->arena == NULL) {
        free(r);
        return NULL;
    }
    r->format = 1;
    r->cost.energy_j.value = r->cost.carbon_g.value = r->cost.predicted_j = r->cost.found_j = r->cost.pays_back = NAN;
    r->cost.pays_back_low = r->cost.pays_back_high = NAN;
    r->measured.idle_before_w = r->measured.idle_after_w = r->measured.idle_seconds = r->measured.overhead = NAN;
    r->measured.idle_middle_w = r->measured.idle_drift = r->measured.windows_j = r->measured.whole_j = NAN;
    r->measured.cores_share = r->measured.platform_share = r->measured.celsius_most = r->measured.rest_seconds = NAN;
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL) strftime(r->created, sizeof r->created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    r->carbon = (ReportCarbon){ .grid = carbon_world, .pue = carbon_pue, .embodied = { NAN, NAN, NAN } };
    r->convention = counts_convention;
    r->data.calibration_samples = r->data.evaluation_samples = -1;
    report_state_init(&r->before);
    report_state_init(&r->after);
    return r;
}

static void free_entries(ReportEntry *entries, int count)
{
    for (int i = 0; i < count; i++) cJSON_Delete(entries[i].numbers);
    free(entries);
}

void report_free(Report *r)
{
    if (r == NULL) return;
    for (int i = 0; i < r->step_count; i++) {
        ReportStep *s = &r->steps[i];
        cJSON_Delete(s->options);
        cJSON_Delete(s->layers);
        free_entries(s->changed, s->changed_count);
        free_entries(s->skipped, s->skipped_count);
        free_entries(s->notes, s->note_count);
        record_release(&s->record);
        free(s->state.fidelity);
        free(s->state.by_layer);
    }
    free(r->before.fidelity);
    free(r->after.fidelity);
    free(r->before.by_layer);
    free(r->after.by_layer);
    free(r->carbon.scenarios);
    free(r->carbon.sci);
    cJSON_Delete(r->comparisons);
    cJSON_Delete(r->peaks);
    free(r->steps);
    free(r->goals);
    free(r->source);
    free(r->result);
    cJSON_Delete(r->recipe);
    comparison_release(&r->measured);
    cJSON_Delete(r->versions);
    arena_unref(r->arena);
    free(r);
}

void report_state_counts(ReportState *s, const Counts *c)
{
    s->parameters = c->parameters;
    s->nonzeros = c->nonzeros;
    s->weight_bits = c->parameters > 0 ? (double)c->parameter_bits / (double)c->parameters : NAN;
    s->macs = (ReportMacs){ c->macs_float + c->macs_int8, c->macs_nonzero, c->macs_float, c->macs_int8 };
    s->elementwise = c->elementwise;
    s->transcendental = c->transcendental;
    s->weight_bytes = c->weight_bytes;
    s->activation_bytes = c->activation_bytes;
    s->stored_bits = c->parameters > 0 ? (double)(c->parameter_bits + c->scale_bits) / (double)c->parameters : NAN;
    s->undecided = c->undecided;
    s->counted_at[0] = '\0';
    if (c->guess > 1) text_guess(c->guess, s->counted_at);
    if (c->uncounted > 0) snprintf(s->uncounted, sizeof s->uncounted, "%s", c->uncounted_names);
}

/* A name as text: what cannot stand in JSON or on a terminal is escaped. */
static const char *safe_name(Str name, Arena *arena)
{
    StrBuf b = { 0 };
    text_safe(name, &b);
    Str copy = b.failed ? (Str){ NULL, 0 } : arena_str(arena, (Str){ b.data != NULL ? b.data : "", b.len });
    strbuf_release(&b);
    return copy.data;
}

Status report_state_layers(ReportState *s, const Counts *c, Arena *arena, Err *err)
{
    free(s->by_layer);
    s->by_layer_count = 0;
    s->by_layer = calloc((size_t)c->layer_count + 1, sizeof *s->by_layer);
    if (s->by_layer == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < c->layer_count; i++) {
        const LayerCount *l = &c->layers[i];
        if (l->parameters == 0 && l->cost.macs == 0) continue;
        ReportLayer row = { .name = safe_name(l->name, arena), .type = safe_name(l->type, arena), .parameters = l->parameters,
                            .macs = l->cost.macs, .bytes = -1, .milliseconds = NAN,
                            .mac_type = l->mac_type == DT_INT8 ? "int8" : "float32" };
        if (row.name == NULL || row.type == NULL) return err_no_memory(err, "the report");
        s->by_layer[s->by_layer_count++] = row;
    }
    return OK;
}

Status report_state_evaluation(ReportState *s, const Evaluation *e, Arena *arena, Err *err)
{
    if (e->has_accuracy) {
        s->samples = e->samples;
        s->correct = e->correct;
        s->accuracy = e->accuracy;
        s->accuracy_low = e->low;
        s->accuracy_high = e->high;
        s->cross_entropy = e->cross_entropy;
    }
    if (e->fidelity_count == 0) return OK;
    free(s->fidelity);
    s->fidelity_count = 0;
    s->fidelity = calloc((size_t)e->fidelity_count, sizeof *s->fidelity);
    if (s->fidelity == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < e->fidelity_count; i++) {
        const Fidelity *f = &e->fidelity[i];
        const char *name = safe_name(f->output, arena);
        if (name == NULL) return err_no_memory(err, "the report");
        s->fidelity[i] = (ReportFidelity){ name, f->sqnr_db, f->cosine, f->max_abs, f->top1_agreement, f->positions };
        s->fidelity_count = i + 1;
    }
    return OK;
}

static Status add_entry(ReportEntry **list, int *count, const RecordEntry *from, Err *err)
{
    ReportEntry *grown = realloc(*list, (size_t)(*count + 1) * sizeof *grown);
    if (grown == NULL) return err_no_memory(err, "the report");
    *list = grown;
    ReportEntry *e = &grown[*count];
    *e = (ReportEntry){ .object = from->object, .text = from->text, .numbers = cJSON_CreateObject() };
    ++*count;
    if (e->numbers == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < from->number_count; i++) {
        double value = from->numbers[i].value;
        if (isfinite(value)) cJSON_AddNumberToObject(e->numbers, from->numbers[i].name, value);
        else cJSON_AddNullToObject(e->numbers, from->numbers[i].name);
    }
    return OK;
}

Status report_step_record(ReportStep *step, PassRecord *record, Err *err)
{
    step->record = *record;
    *record = (PassRecord){ 0 };
    if (step->record.failed) return err_no_memory(err, "the record of a pass");
    for (size_t i = 0; i < step->record.count; i++) {
        const RecordEntry *e = &step->record.entries[i];
        if (e->kind == RECORD_CHANGED) TRY(add_entry(&step->changed, &step->changed_count, e, err));
        else if (e->kind == RECORD_SKIPPED) TRY(add_entry(&step->skipped, &step->skipped_count, e, err));
        else TRY(add_entry(&step->notes, &step->note_count, e, err));
    }
    return OK;
}

/* That a file can be made there, by making one: permission bits do not tell of file systems that take none. */
static Status try_folder(const char *folder, Err *err)
{
    char *name = NULL;
    if (asprintf(&name, "%s/.pare-XXXXXX", folder) < 0) return err_no_memory(err, "a path");
    int fd = mkostemp(name, O_CLOEXEC);
    Status status = fd >= 0 ? OK : err_set(err, ERR_IO, "report folder %s: %s", folder, strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    free(name);
    return status;
}

Status report_check_folder(const char *folder, Err *err)
{
    struct stat info;
    if (stat(folder, &info) == 0)
        return S_ISDIR(info.st_mode) ? try_folder(folder, err)
                                     : err_set(err, ERR_IO, "report folder %s: a file of that name is there", folder);
    if (mkdir(folder, 0777) != 0) return err_set(err, ERR_IO, "report folder %s: %s", folder, strerror(errno));
    rmdir(folder); /* a run that fails or is a dry one leaves none behind */
    return OK;
}

Status report_put_files(const char *folder, const cJSON *json, const StrBuf *markdown, Err *err)
{
    struct stat info;
    StrBuf text = { 0 }, page = { 0 };
    if (mkdir(folder, 0777) != 0 && (errno != EEXIST || stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))) {
        return err_set(err, ERR_IO, "report folder %s: %s", folder, errno == EEXIST ? "a file of that name is there" : strerror(errno));
    }
    json_print(json, &text);
    if (json != NULL) html_report(json, &page);
    Status status = text.failed || markdown->failed || page.failed ? err_no_memory(err, "the report") : OK;
    if (status == OK) status = outfile_put_in(folder, "report.json", text.data, text.len, err);
    if (status == OK) status = outfile_put_in(folder, "report.md", markdown->data, markdown->len, err);
    if (status == OK) status = outfile_put_in(folder, "report.html", page.data, page.len, err);
    strbuf_release(&page);
    strbuf_release(&text);
    return status;
}

Status report_write(const Report *r, const char *folder, Err *err)
{
    StrBuf markdown = { 0 };
    cJSON *json = report_json(r);
    report_print_markdown(r, &markdown);
    Status status = report_put_files(folder, json, &markdown, err);
    strbuf_release(&markdown);
    cJSON_Delete(json);
    return status;
}

Status report_write_junit(const Report *r, const char *path, Err *err)
{
    JunitSuite suite = { .name = r->result != NULL ? r->result : r->source, .seconds = r->cost.seconds };
    for (int i = 0; i < r->goal_count; i++) suite.goals[suite.goal_count++] = &r->goals[i];
    return junit_write(&suite, 1, path, err);
}
