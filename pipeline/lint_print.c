#include "pipeline/lint.h"

#include <string.h>

#include "pipeline/text.h"

static const char *const target_texts[] = { "every processor", "x86 with VNNI", "x86 with AVX2 and no VNNI", "Arm with dot products",
                                            "graphics processors" };

static void add_runs_as(const Ruling *r, TextTable *t)
{
    bool integer = r->fate == FATE_INTEGER || r->fate == FATE_WEIGHTS;
    if (integer || r->weight_bits == 0) table_cell(t, "%s", integer ? r->kernel : "float");
    else table_cell(t, "float, %d-bit weights", r->weight_bits);
}

static void print_layers(const Lint *l, bool all, StrBuf *b)
{
    TextTable t;
    table_init(&t, 3, "lll");
    static const char *const head[] = { "layer", "op", "runs as" };
    for (int k = 0; k < 3; k++) table_cell(&t, "%s", head[k]);
    for (int i = 0; i < l->count; i++) {
        const LintItem *item = &l->items[i];
        if (!all && !item->layer) continue;
        StrBuf name = { 0 };
        text_safe(item->name, &name);
        table_cell(&t, "%s", name.data != NULL ? name.data : "");
        table_cell(&t, "%.*s", STR_ARG(item->type));
        add_runs_as(&item->ruling, &t);
        strbuf_release(&name);
    }
    table_print(&t, 2, true, b);
    table_release(&t);
}

static void print_reasons(const Lint *l, Fate fate, bool layers, const char *title, StrBuf *b)
{
    bool first = true;
    for (int i = 0; i < l->count; i++) {
        const LintItem *item = &l->items[i];
        if (item->ruling.fate != fate || item->layer != layers) continue;
        if (fate == FATE_FLOAT && item->ruling.reason.len == 0) continue; /* print_untouched */
        if (first) strbuf_printf(b, "%s\n", title);
        first = false;
        strbuf_printf(b, "  %.*s '", STR_ARG(item->type));
        text_safe(item->name, b);
        strbuf_printf(b, "': %.*s\n", STR_ARG(item->ruling.reason));
    }
}

static void print_untouched(const Lint *l, StrBuf *b)
{
    int count = 0;
    for (int i = 0; i < l->count; i++) {
        if (l->items[i].ruling.fate != FATE_FLOAT || l->items[i].ruling.reason.len > 0) continue;
        strbuf_add(b, count++ == 0 ? "not quantized\n  '" : ", '");
        text_safe(l->items[i].name, b);
        strbuf_add(b, "'");
    }
    if (count > 0) strbuf_add(b, "\n");
}

static void print_advice(const Lint *l, AdviceKind kind, bool *first, StrBuf *b)
{
    bool header = true;
    for (int i = 0; i < l->advice_count; i++) {
        const Advice *a = &l->advice[i];
        if (a->kind != kind) continue;
        if (*first) strbuf_add(b, "advice\n");
        if (header) strbuf_printf(b, "  %s\n   ", lint_advice_text(kind));
        else strbuf_add(b, ",");
        *first = header = false;
        strbuf_add(b, " '");
        text_safe(l->items[a->item].name, b);
        strbuf_add(b, "'");
        char count[32];
        text_count(a->count, count);
        if (kind == ADVICE_SATURATION) strbuf_printf(b, " (%s pair%s)", count, a->count == 1 ? "" : "s");
        if (kind == ADVICE_BIAS_RANGE || kind == ADVICE_BIAS_GRID) strbuf_printf(b, " (%s channel%s)", count, a->count == 1 ? "" : "s");
    }
    if (!header) strbuf_add(b, "\n");
}

void lint_print(const Lint *l, bool all, StrBuf *b)
{
    strbuf_printf(b, "%s: on %s (%s)\n", l->path, target_texts[l->target], lint_target_name(l->target));
    print_layers(l, all, b);
    strbuf_printf(b, "%d of %d layer%s run%s as integers", l->integer_layers, l->layers, l->layers == 1 ? "" : "s",
                  l->integer_layers == 1 && l->layers == 1 ? "s" : "");
    if (l->weight_layers > 0) strbuf_printf(b, ", %d on integer weights in float", l->weight_layers);
    if (l->unpacked > 0) strbuf_printf(b, ", %d in float on weights stored as integers", l->unpacked);
    if (l->others > 0) strbuf_printf(b, "; %d of %d other nodes between them", l->integer_others, l->others);
    strbuf_add(b, "\n");
    print_reasons(l, FATE_LOST, true, "quantized, and runs in float", b);
    print_reasons(l, FATE_WEIGHTS, true, "integer weights only", b);
    print_reasons(l, FATE_UNPACKED, true, "weights stored as integers, which become float", b);
    print_reasons(l, FATE_FLOAT, true, "not quantized, and reads what is", b);
    print_untouched(l, b);
    print_reasons(l, FATE_LOST, false, "other nodes in float between quantized ones", b);
    bool first = true;
    for (int kind = 0; kind < ADVICE_COUNT; kind++) print_advice(l, (AdviceKind)kind, &first, b);
}

static cJSON *string_json(Str s)
{
    StrBuf b = { 0 };
    text_safe(s, &b);
    cJSON *item = b.failed ? NULL : cJSON_CreateString(b.data != NULL ? b.data : "");
    strbuf_release(&b);
    return item;
}

static cJSON *item_json(const LintItem *item)
{
    static const char *const fates[] = {
        [FATE_FLOAT] = "float", [FATE_LOST] = "lost", [FATE_UNPACKED] = "lost", [FATE_WEIGHTS] = "weights", [FATE_INTEGER] = "integer",
    };
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "name", string_json(item->name));
    cJSON_AddItemToObject(json, "op", string_json(item->type));
    cJSON_AddBoolToObject(json, "layer", item->layer);
    cJSON_AddStringToObject(json, "fate", fates[item->ruling.fate]);
    if (item->ruling.kernel != NULL) cJSON_AddStringToObject(json, "kernel", item->ruling.kernel);
    else cJSON_AddNullToObject(json, "kernel");
    if (item->ruling.weight_bits > 0) cJSON_AddNumberToObject(json, "weight_bits", item->ruling.weight_bits);
    if (item->ruling.reason.len > 0) cJSON_AddItemToObject(json, "reason", string_json(item->ruling.reason));
    return json;
}

cJSON *lint_json(const Lint *l)
{
    cJSON *json = cJSON_CreateObject();
    if (json == NULL) return NULL;
    cJSON_AddItemToObject(json, "file", string_json(str_of(l->path)));
    cJSON_AddStringToObject(json, "target", lint_target_name(l->target));
    cJSON_AddNumberToObject(json, "layers", l->layers);
    cJSON_AddNumberToObject(json, "integer_layers", l->integer_layers);
    cJSON_AddNumberToObject(json, "weight_layers", l->weight_layers);
    cJSON_AddNumberToObject(json, "lost_layers", l->lost);
    cJSON_AddNumberToObject(json, "unpacked_layers", l->unpacked);
    cJSON_AddNumberToObject(json, "others", l->others);
    cJSON_AddNumberToObject(json, "integer_others", l->integer_others);
    cJSON *items = cJSON_AddArrayToObject(json, "nodes"), *advice = cJSON_AddArrayToObject(json, "advice");
    for (int i = 0; i < l->count; i++) cJSON_AddItemToArray(items, item_json(&l->items[i]));
    for (int i = 0; i < l->advice_count; i++) {
        const Advice *a = &l->advice[i];
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "kind", lint_advice_name(a->kind));
        cJSON_AddItemToObject(entry, "name", string_json(l->items[a->item].name));
        cJSON_AddNumberToObject(entry, "count", (double)a->count);
        cJSON_AddStringToObject(entry, "text", lint_advice_text(a->kind));
        cJSON_AddItemToArray(advice, entry);
    }
    return json;
}
