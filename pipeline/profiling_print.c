/* A profile as text for a terminal, and as JSON. */
#include <stdio.h>

#include "pipeline/profiling.h"
#include "pipeline/text.h"

#define GIGA 1e-9
#define COLUMNS 11

static void print_head(const Profiling *p, StrBuf *b)
{
    const Timing *t = &p->timing;
    char macs[32];
    text_count(t->cost.macs, macs);
    strbuf_printf(b, "%s: ", p->path);
    if (p->batch > 0) strbuf_printf(b, "batch %lld, ", (long long)p->batch);
    strbuf_printf(b, "%d thread%s", t->threads, t->threads == 1 ? "" : "s");
    if (t->piece > 0 && t->threads > 1) strbuf_printf(b, ", each a lane that takes %lld samples at a time", (long long)t->piece);
    else if (t->piece > 0) strbuf_printf(b, ", %lld samples at a time", (long long)t->piece);
    strbuf_printf(b, ", %s inputs%s, %d runs\n", p->random ? "random" : "given",
                  p->plain ? ", plain operators only" : p->int8 == INT8_AUTO ? ", int8 where it is faster" : "", t->runs);
    strbuf_printf(b, "latency   %.4f ms, 95 %% interval %.4f to %.4f\n", t->ms.median, t->ms.low, t->ms.high);
    strbuf_printf(b, "clocks    %.4f ms with the time of each step taken (%+.1f %%), of which %.4f lie outside the steps%s\n",
                  t->traced.median, 100 * t->overhead, t->outside_ms, t->piece > 0 && t->threads > 1 ? ", waiting lanes added up" : "");
    strbuf_printf(b, "work      %s multiply-adds, %.2f GMAC/s\n", macs,
                  t->ms.median > 0 ? (double)t->cost.macs / t->ms.median * 1e3 * GIGA : 0);
    strbuf_printf(b, "steps     %.4f ms, their medians added up%s; %lld reorders among them with %.4f ms (%.1f %%)\n", t->steps_ms,
                  t->piece > 0 && t->threads > 1 ? " over all lanes" : "",
                  (long long)t->reorders, t->reorder_ms, t->steps_ms > 0 ? 100 * t->reorder_ms / t->steps_ms : 0);
    const char *whose = t->piece > 0 && t->threads > 1 ? ", of one thread" : "";
    strbuf_printf(b, "peaks     %.1f GMAC/s in float32, %.1f in int8, %.1f GB/s from memory, %.1f from the cache (%s%s)\n\n",
                  t->peaks.mac_f32 * GIGA, t->peaks.mac_int8 * GIGA, t->peaks.byte_dram * GIGA, t->peaks.byte_l2 * GIGA,
                  p->machine_path != NULL ? p->machine_path : "measured now", whose);
}

static void print_rows(const Profiling *p, StrBuf *b)
{
    static const char *const head[COLUMNS] = { "ms", "share", "MACs", "bytes", "MAC/B", "GMAC/s", "GB/s", "bound", "type", "kernel",
                                               "layer" };
    TextTable t;
    table_init(&t, COLUMNS, "rrrrrrrllll");
    for (int i = 0; i < COLUMNS; i++) table_cell(&t, "%s", head[i]);
    for (int i = 0; i < p->shown; i++) {
        const TimingRow *r = &p->timing.rows[p->chosen[i]];
        char macs[32], bytes[32];
        text_count(r->cost.macs, macs);
        text_count(r->bytes, bytes);
        table_cell(&t, "%.4f", r->ms);
        table_cell(&t, "%.1f %%", 100 * r->share);
        table_cell(&t, "%s", macs);
        table_cell(&t, "%s", bytes);
        table_cell(&t, "%.1f", r->intensity);
        table_cell(&t, "%.2f", r->macs_per_second * GIGA);
        table_cell(&t, "%.2f", r->bytes_per_second * GIGA);
        table_cell(&t, "%s", bound_name(r->bound));
        table_cell(&t, "%s", dtype_name(r->dtype));
        table_cell(&t, "%s%s%s", r->kernel, r->detail != NULL ? " " : "", r->detail != NULL ? r->detail : "");
        StrBuf op = { 0 };
        text_safe(str_of(r->op), &op);
        strbuf_printf(&op, " '%s'", p->names[p->chosen[i]]);
        if (r->calls > 1) strbuf_printf(&op, ", %lld calls", (long long)r->calls);
        table_cell(&t, "%s", op.data != NULL ? op.data : "");
        strbuf_release(&op);
    }
    table_print(&t, 0, true, b);
    table_release(&t);
    if (p->shown < p->chosen_count) strbuf_printf(b, "and %d more\n", p->chosen_count - p->shown);
}

static void print_types(const Profiling *p, StrBuf *b)
{
    static const char *const head[] = { "ms", "share", "steps", "calls", "MACs", "bytes", "GMAC/s", "GB/s", "operator" };
    TextTable t;
    table_init(&t, 9, "rrrrrrrrl");
    for (int i = 0; i < 9; i++) table_cell(&t, "%s", head[i]);
    for (int i = 0; i < p->type_count; i++) {
        const ProfilingType *r = &p->types[i];
        char macs[32], bytes[32];
        StrBuf name = { 0 };
        text_count(r->macs, macs);
        text_count(r->bytes, bytes);
        text_safe(r->type, &name);
        table_cell(&t, "%.4f", r->ms);
        table_cell(&t, "%.1f %%", 100 * r->share);
        table_cell(&t, "%lld", (long long)r->rows);
        table_cell(&t, "%lld", (long long)r->calls);
        table_cell(&t, "%s", macs);
        table_cell(&t, "%s", bytes);
        table_cell(&t, "%.2f", r->ms > 0 ? (double)r->macs / r->ms * 1e3 * GIGA : 0);
        table_cell(&t, "%.2f", r->ms > 0 ? (double)r->bytes / r->ms * 1e3 * GIGA : 0);
        table_cell(&t, "%s", name.data != NULL ? name.data : "");
        strbuf_release(&name);
    }
    strbuf_add(b, "\n");
    table_print(&t, 0, true, b);
    table_release(&t);
}

void profiling_print(const Profiling *p, StrBuf *b)
{
    print_head(p, b);
    print_rows(p, b);
    print_types(p, b);
}

/* --- JSON */

static void add_interval(cJSON *to, const char *name, const Interval *i)
{
    cJSON *o = cJSON_AddObjectToObject(to, name);
    cJSON_AddNumberToObject(o, "median", i->median);
    cJSON_AddNumberToObject(o, "low", i->low);
    cJSON_AddNumberToObject(o, "high", i->high);
}

static void add_text(cJSON *to, const char *name, Str text)
{
    StrBuf b = { 0 };
    text_safe(text, &b);
    cJSON_AddStringToObject(to, name, b.data != NULL ? b.data : "");
    strbuf_release(&b);
}

static void add_row(const Profiling *p, int at, cJSON *list)
{
    const TimingRow *r = &p->timing.rows[at];
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToArray(list, o);
    cJSON_AddStringToObject(o, "name", p->names[at]);
    add_text(o, "op", str_of(r->op));
    add_text(o, "type", r->type);
    cJSON_AddNumberToObject(o, "step", at);
    cJSON_AddNumberToObject(o, "depth", r->depth);
    cJSON_AddStringToObject(o, "kernel", r->kernel);
    if (r->detail != NULL) cJSON_AddStringToObject(o, "detail", r->detail);
    else cJSON_AddNullToObject(o, "detail");
    cJSON_AddStringToObject(o, "data_type", dtype_name(r->dtype));
    cJSON_AddNumberToObject(o, "calls", (double)r->calls);
    cJSON_AddNumberToObject(o, "ms", r->ms);
    cJSON_AddNumberToObject(o, "share", r->share);
    cJSON_AddNumberToObject(o, "macs", (double)r->cost.macs);
    cJSON_AddNumberToObject(o, "elementwise", (double)r->cost.elementwise);
    cJSON_AddNumberToObject(o, "transcendental", (double)r->cost.transcendental);
    cJSON_AddNumberToObject(o, "bytes", (double)r->bytes);
    cJSON_AddNumberToObject(o, "macs_per_byte", r->intensity);
    cJSON_AddNumberToObject(o, "gmac_per_second", r->macs_per_second * GIGA);
    cJSON_AddNumberToObject(o, "gb_per_second", r->bytes_per_second * GIGA);
    cJSON_AddStringToObject(o, "bound", bound_name(r->bound));
}

static void add_peaks(const Profiling *p, cJSON *json)
{
    cJSON *o = cJSON_AddObjectToObject(json, "peaks");
    const Peaks *k = &p->timing.peaks;
    add_text(o, "source", str_of(p->machine_path != NULL ? p->machine_path : "measured now"));
    cJSON_AddStringToObject(o, "cpu", p->machine.cpu);
    cJSON_AddNumberToObject(o, "gmac_per_second_float32", k->mac_f32 * GIGA);
    cJSON_AddNumberToObject(o, "gmac_per_second_int8", k->mac_int8 * GIGA);
    cJSON_AddNumberToObject(o, "gb_per_second_memory", k->byte_dram * GIGA);
    cJSON_AddNumberToObject(o, "gb_per_second_cache", k->byte_l2 * GIGA);
}

cJSON *profiling_json(const Profiling *p)
{
    const Timing *t = &p->timing;
    cJSON *json = cJSON_CreateObject();
    add_text(json, "model", str_of(p->path));
    if (p->batch > 0) cJSON_AddNumberToObject(json, "batch", (double)p->batch);
    else cJSON_AddNullToObject(json, "batch");
    cJSON_AddNumberToObject(json, "threads", t->threads);
    cJSON_AddNumberToObject(json, "lanes", t->piece > 0 ? t->threads : 1);
    if (t->piece > 0) cJSON_AddNumberToObject(json, "piece", (double)t->piece);
    else cJSON_AddNullToObject(json, "piece");
    cJSON_AddStringToObject(json, "inputs", p->random ? "random" : "given");
    cJSON_AddBoolToObject(json, "plain", p->plain);
    cJSON_AddStringToObject(json, "int8", p->int8 == INT8_AUTO ? "auto" : "always");
    cJSON_AddNumberToObject(json, "runs", t->runs);
    add_interval(json, "latency_ms", &t->ms);
    add_interval(json, "traced_ms", &t->traced);
    cJSON_AddNumberToObject(json, "trace_overhead", t->overhead);
    cJSON_AddNumberToObject(json, "steps_ms", t->steps_ms);
    cJSON_AddNumberToObject(json, "outside_ms", t->outside_ms);
    cJSON_AddNumberToObject(json, "macs", (double)t->cost.macs);
    cJSON_AddNumberToObject(json, "macs_int8", (double)t->macs_int8);
    cJSON_AddNumberToObject(json, "bytes", (double)t->bytes);
    cJSON *reorders = cJSON_AddObjectToObject(json, "reorders");
    cJSON_AddNumberToObject(reorders, "count", (double)t->reorders);
    cJSON_AddNumberToObject(reorders, "ms", t->reorder_ms);
    cJSON_AddNumberToObject(reorders, "share", t->steps_ms > 0 ? t->reorder_ms / t->steps_ms : 0);
    add_peaks(p, json);
    cJSON *layers = cJSON_AddArrayToObject(json, "layers");
    for (int i = 0; i < p->shown; i++) add_row(p, p->chosen[i], layers);
    cJSON *types = cJSON_AddArrayToObject(json, "types");
    for (int i = 0; i < p->type_count; i++) {
        const ProfilingType *r = &p->types[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(types, o);
        add_text(o, "type", r->type);
        cJSON_AddNumberToObject(o, "steps", (double)r->rows);
        cJSON_AddNumberToObject(o, "calls", (double)r->calls);
        cJSON_AddNumberToObject(o, "ms", r->ms);
        cJSON_AddNumberToObject(o, "share", r->share);
        cJSON_AddNumberToObject(o, "macs", (double)r->macs);
        cJSON_AddNumberToObject(o, "bytes", (double)r->bytes);
    }
    return json;
}
