#include "pipeline/exports.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pipeline/exports_private.h"
#include "pipeline/text.h"
#include "pipeline/version.h"

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

void export_id(const Exported *e, char text[40])
{
    char all[512] = "", hex[HASH_TEXT];
    int n = snprintf(all, sizeof all, "%s %.400s %ld", e->created, e->about, (long)getpid());
    hash_bytes(all, (size_t)n, hex);
    snprintf(text, 40, "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
}

double export_memory_gb(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size / 1e9 : NAN;
}

Exported export_of_comparison(const ComparisonReport *r, int k)
{
    return (Exported){ .created = r->created, .about = r->files[k].state.sha256, .machine = &r->machine, .grid = &r->measured.grid,
                       .pue = r->measured.pue, .state = &r->files[k].state, .measured = &r->measured, .batch = r->batch };
}

const Compared *export_compared(const Exported *e)
{
    int k = e->state->compared;
    return k >= 0 && k < e->measured->count ? &e->measured->networks[k] : NULL;
}

/* What a row tells of, besides the machine. */
typedef struct Emitted {
    const char *project, *experiment;
    double seconds, cpu_seconds, joules, grams;
    const char *source; /* of the joules */
    int64_t peak_memory;
} Emitted;

static void emissions_row(const Exported *e, const Emitted *c, Row *row)
{
    const GridFactor *g = e->grid;
    double kwh = c->joules / JOULES_PER_KWH, kg = c->grams / 1000, seconds = c->seconds;
    double usage = seconds > 0 && e->machine->cores > 0 ? 100 * c->cpu_seconds / seconds / e->machine->cores : NAN;
    char id[40], timestamp[24];
    export_id(e, id);
    snprintf(timestamp, sizeof timestamp, "%.19s", e->created);
    row_text(row, timestamp);
    row_text(row, c->project);
    row_text(row, id);
    row_text(row, c->experiment);
    row_number(row, seconds);
    row_number(row, kg);
    row_number(row, seconds > 0 ? kg / seconds : NAN);
    row_number(row, seconds > 0 ? c->joules / seconds : NAN);
    for (int i = 0; i < 2; i++) row_number(row, 0);
    row_number(row, kwh);
    for (int i = 0; i < 2; i++) row_number(row, 0);
    row_number(row, kwh);
    row_number(row, 0);
    bool country = g->code != NULL && strcmp(g->code, "WLD") != 0;
    row_text(row, country ? g->region : "");
    row_text(row, country ? g->code : "");
    for (int i = 0; i < 3; i++) row_text(row, "");
    row_text(row, e->machine->os);
    row_text(row, "");
    row_text(row, "pare " PARE_VERSION);
    row_number(row, e->machine->cores);
    row_text(row, e->machine->cpu);
    row_number(row, 0);
    for (int i = 0; i < 3; i++) row_text(row, "");
    row_number(row, export_memory_gb());
    row_text(row, strncmp(c->source, "measured", 8) == 0 ? "machine" : "process"); /* a counter sees everybody; CPU time is ours */
    row_number(row, usage);
    row_number(row, 0);
    row_text(row, "");
    row_number(row, c->peak_memory > 0 ? (double)c->peak_memory / 1e9 : NAN);
    row_text(row, "");
    row_number(row, e->pue);
    row_number(row, 0);
    strbuf_add(&row->b, "\n");
}

Status export_emissions_check(const char *path, Err *err)
{
    TRY(export_check("emissions", path, err));
    return file_append_check(path, EMISSIONS_HEADER, err);
}

static Status append(Row *row, const char *path, Err *err)
{
    Status status = row->b.failed ? err_no_memory(err, "the emissions row") : file_append(path, EMISSIONS_HEADER, row->b.data, err);
    strbuf_release(&row->b);
    return status;
}

Status export_emissions(const Report *r, const char *path, Err *err)
{
    Row row = { .count = 0 };
    char about[4 * HASH_TEXT];
    snprintf(about, sizeof about, "%s %s %s", r->before.sha256, r->after.sha256, r->recipe_sha256);
    const Exported e = { .created = r->created, .about = about, .machine = &r->machine, .grid = &r->carbon.grid, .pue = r->carbon.pue };
    const ReportCost *c = &r->cost;
    const Emitted passes = { .project = "pare", .experiment = r->recipe_sha256, .seconds = c->seconds, .cpu_seconds = c->cpu_seconds,
                             .joules = c->energy_j.value, .grams = c->carbon_g.value, .source = c->energy_j.source,
                             .peak_memory = c->peak_memory };
    emissions_row(&e, &passes, &row);
    return append(&row, path, err);
}

Status export_emissions_of(const ComparisonReport *r, const char *path, Err *err)
{
    Row row = { .count = 0 };
    bool any = false;
    for (int k = 0; k < r->file_count; k++) {
        const Exported e = export_of_comparison(r, k);
        const Compared *n = export_compared(&e);
        char project[200];
        if (n == NULL) continue;
        any = true;
        row.count = 0;
        snprintf(project, sizeof project, "pare: %d inferences of %.120s", EXPORT_INFERENCES, r->files[k].name);
        const Emitted one = { .project = project, .experiment = e.state->sha256, .seconds = EXPORT_INFERENCES * n->seconds.median,
                              .cpu_seconds = EXPORT_INFERENCES * n->cpu_seconds.median, .joules = EXPORT_INFERENCES * n->energy_j.median,
                              .grams = EXPORT_INFERENCES * n->carbon_g.value, .source = e.state->energy_j.source,
                              .peak_memory = e.state->peak_memory };
        emissions_row(&e, &one, &row);
    }
    if (any) return append(&row, path, err);
    return err_set(err, ERR_DATA, "emissions %s: not written, nothing was timed (%.200s)", path, r->note);
}
