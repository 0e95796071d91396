#include "pipeline/layer_times.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "greenness/timing.h"
#include "pipeline/text.h"

#define RUN_SECONDS 0.4
#define PEAK_SECONDS 0.4

static ReportLayer *layer_of(ReportState *s, const char *name)
{
    for (int i = 0; i < s->by_layer_count; i++) {
        if (strcmp(s->by_layer[i].name, name) == 0) return &s->by_layer[i];
    }
    return NULL;
}

static const char *keep_safe(Str text, Arena *arena)
{
    StrBuf b = { 0 };
    text_safe(text, &b);
    Str copy = b.failed ? (Str){ NULL, 0 } : arena_str(arena, (Str){ b.data != NULL ? b.data : "", b.len });
    strbuf_release(&b);
    return copy.data;
}

/* Adds a step to its layer, or makes one of it. `room`: by_layer has place. */
static Status add_row(ReportState *s, const TimingRow *row, int64_t batch, Arena *arena, Err *err)
{
    const char *name = keep_safe(row->name, arena), *op = keep_safe(str_of(row->op), arena);
    if (name == NULL || op == NULL) return err_no_memory(err, "the layers");
    ReportLayer *layer = layer_of(s, name);
    bool reorder = row->node == 0;
    if (layer == NULL || reorder) {
        layer = &s->by_layer[s->by_layer_count++];
        *layer = (ReportLayer){ .name = name, .type = op, .mac_type = dtype_is_byte(row->dtype) ? "int8" : "float32",
                                .macs = row->cost.macs / batch, .bytes = -1, .milliseconds = NAN };
    }
    layer->bytes = (layer->bytes > 0 ? layer->bytes : 0) + (row->bytes + batch / 2) / batch;
    layer->milliseconds = (isfinite(layer->milliseconds) ? layer->milliseconds : 0) + row->ms / (double)batch;
    return OK;
}

static Status fill(ReportState *s, const Timing *t, int64_t batch, Arena *arena, Err *err)
{
    void *layers = s->by_layer;
    size_t capacity = (size_t)s->by_layer_count;
    if (!array_grow(&layers, &capacity, (size_t)(s->by_layer_count + t->row_count) + 1, sizeof *s->by_layer))
        return err_no_memory(err, "the layers");
    s->by_layer = layers;
    for (int i = 0; i < t->row_count; i++) {
        if (t->rows[i].depth == 0 && t->rows[i].ms > 0) TRY(add_row(s, &t->rows[i], batch, arena, err));
    }
    return OK;
}

Status layer_times(ReportState *s, const Model *m, const Gauge *q, const Tensor *inputs, int64_t batch, Arena *arena, Err *err)
{
    Session *session = NULL;
    Timing timing = { 0 };
    SessionOptions options = { .threads = q->threads, .plain = q->plain, .int8 = q->int8, .max_mem = q->max_mem, .log = q->log };
    TimingOptions how = { .seconds = RUN_SECONDS, .seed = q->seed, .log = q->log };
    Err why;
    if (q->fidelity == NULL || !isfinite(s->latency_ms.median)) return OK;
    Status status = session_new(m->graph, &options, &session, &why);
    if (status == OK) status = timing_take(session, inputs, &how, &timing, &why);
    if (status == ERR_INTERRUPTED || status == ERR_MEMORY) return err_set(err, status, "%s", why.text);
    if (status != OK) return OK;
    status = fill(s, &timing, batch, arena, err);
    s->layer_threads = timing.threads;
    timing_release(&timing);
    return status;
}

Status layer_peaks(const Gauge *q, int threads, cJSON **out, Err *err)
{
    CalibrateOptions options = { .seconds = PEAK_SECONDS, .threads = q->threads, .log = q->log,
                                 .max_mem = q->max_mem > 0 && q->max_mem < (uint64_t)256 << 20 ? q->max_mem / 4 : (uint64_t)64 << 20 };
    Profile p = { .cores = 0 };
    Err why;
    *out = NULL;
    Status status = profile_measure_peaks(&options, &p, &why);
    if (status == ERR_INTERRUPTED) return err_set(err, status, "%s", why.text);
    if (status != OK) return OK; /* no memory for its buffers: a page without a roof */
    bool one = threads == 1;
    cJSON *json = cJSON_CreateObject();
    bool good = cJSON_AddNumberToObject(json, "mac_f32", one ? p.mac_f32_one : p.mac_f32_all) != NULL &&
                cJSON_AddNumberToObject(json, "mac_int8", one ? p.mac_int8_one : p.mac_int8_all) != NULL &&
                cJSON_AddNumberToObject(json, "byte_l2", one ? p.byte_l2_one : p.byte_l2_all) != NULL &&
                cJSON_AddNumberToObject(json, "byte_dram", one ? p.byte_dram_one : p.byte_dram_all) != NULL;
    *out = json;
    return good ? OK : err_no_memory(err, "the report");
}
