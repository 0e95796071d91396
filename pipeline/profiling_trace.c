/* Chrome's trace events ("Trace Event Format"): complete events "X" with begin and duration in microseconds, all on one thread, but for
 * lanes, which take pieces of a batch by themselves. The steps of a subgraph lie within their node's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pipeline/profiling.h"
#include "pipeline/text.h"

/* Microseconds with three digits, of whole nanoseconds: what lies within another event still does so when rounded. */
#define TIME "%lld.%03lld"
#define TIME_ARG(ns) (long long)((ns) / 1000), (long long)((ns) % 1000)

static int64_t nanoseconds(double seconds)
{
    return (int64_t)(seconds * 1e9 + 0.5);
}

static void add_name(StrBuf *b, const char *kind, int thread, const char *name)
{
    strbuf_printf(b, "{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"ts\":0,\"name\":\"%s\",\"args\":{\"name\":%s}},\n", thread, kind, name);
}

/* A JSON string, quotes included; NULL when out of memory. */
static char *quoted(Str text)
{
    StrBuf safe = { 0 };
    text_safe(text, &safe);
    cJSON *item = safe.failed ? NULL : cJSON_CreateString(safe.data != NULL ? safe.data : "");
    char *out = item != NULL ? cJSON_PrintUnformatted(item) : NULL;
    cJSON_Delete(item);
    strbuf_release(&safe);
    return out;
}

static bool add_event(const Profiling *p, const StepEvent *e, StrBuf *b)
{
    const TimingRow *r = &p->timing.rows[e->row];
    char *name = quoted(str_of(p->names[e->row])), *op = quoted(str_of(r->op));
    bool good = name != NULL && op != NULL;
    int64_t start = nanoseconds(e->start), length = nanoseconds(e->end) - start;
    if (good)
        strbuf_printf(b, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":" TIME ",\"dur\":" TIME ",\"name\":%s,\"cat\":%s,"
                         "\"args\":{\"kernel\":\"%s%s%s\",\"type\":\"%s\",\"macs\":%lld,\"bytes\":%lld,\"bound\":\"%s\"}}",
                      e->lane + 1, TIME_ARG(start), TIME_ARG(length), name, op, r->kernel, r->detail != NULL ? " " : "",
                      r->detail != NULL ? r->detail : "", dtype_name(r->dtype), (long long)(r->cost.macs / r->calls),
                      (long long)(r->bytes / r->calls), bound_name(r->bound));
    cJSON_free(name);
    cJSON_free(op);
    return good;
}

/* Enclosing events before those within, as viewers like them. */
static int compare_events(const void *a, const void *b)
{
    const StepEvent *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->end > y->end ? -1 : x->end < y->end;
}

Status profiling_trace(const Profiling *p, StrBuf *b, Err *err)
{
    const Timing *t = &p->timing;
    StepEvent *events = alloc_array(t->event_count + 1, sizeof *events);
    char *path = quoted(str_of(p->path));
    bool good = events != NULL && path != NULL;
    if (good) {
        memcpy(events, t->events, t->event_count * sizeof *events);
        qsort(events, t->event_count, sizeof *events, compare_events);
        strbuf_add(b, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
        add_name(b, "process_name", 1, "\"pare\"");
        add_name(b, "thread_name", 1, path);
        for (int lane = 1; t->piece > 0 && lane < t->threads; lane++) {
            char name[32];
            snprintf(name, sizeof name, "\"lane %d\"", lane + 1);
            add_name(b, "thread_name", lane + 1, name);
        }
        strbuf_printf(b, "{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":0,\"dur\":" TIME ",\"name\":\"run\",\"cat\":\"run\",\"args\":{}}",
                      TIME_ARG(nanoseconds(t->events_seconds)));
    }
    for (size_t i = 0; good && i < t->event_count; i++) good = add_event(p, &events[i], b);
    strbuf_add(b, "\n]}\n");
    free(events);
    cJSON_free(path);
    return good && !b->failed ? OK : err_no_memory(err, "the trace");
}
