#include "base/opts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Opt *opts_find(const Opt *table, const char *name, const char **nearest)
{
    int best = 1 << 20;
    if (nearest != NULL) *nearest = NULL;
    for (const Opt *o = table; o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) return o;
        int distance = str_unlike(o->name, name);
        if (nearest != NULL && distance < best) {
            best = distance;
            *nearest = o->name;
        }
    }
    return NULL;
}

/* Index of `text` among "a|b|c", or -1. */
static int choice_index(const char *choices, const char *text)
{
    size_t len = strlen(text);
    int index = 0;
    for (const char *at = choices;; index++) {
        size_t n = strcspn(at, "|");
        if (n == len && memcmp(at, text, n) == 0) return index;
        if (at[n] == '\0') return -1;
        at += n + 1;
    }
}

static Status set_number(const Opt *o, void *field, const char *text, const char *who, Err *err)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool whole = o->type != OPT_INT || (value == floor(value) && fabs(value) <= 9007199254740992.0);
    if (end == text || *end != '\0' || !isfinite(value) || !whole)
        return err_set(err, ERR_USAGE, "%s: %s is '%s', expected %s", who, o->name, text, o->type == OPT_INT ? "an integer" : "a number");
    if ((o->min != 0 || o->max != 0) && (value < o->min || value > o->max)) {
        char low[OPTS_BOUND], high[OPTS_BOUND];
        opts_bound(o->min, low);
        opts_bound(o->max, high);
        return err_set(err, ERR_USAGE, "%s: %s is %s, expected %s to %s", who, o->name, text, low, high);
    }
    if (o->type == OPT_INT) *(int64_t *)field = (int64_t)value;
    else *(double *)field = value;
    return OK;
}

static Status set_flag(const Opt *o, bool *field, const char *text, const char *who, Err *err)
{
    static const char *const yes[] = { "true", "yes", "on", "1", "" }, *const no[] = { "false", "no", "off", "0" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0) {
            *field = true;
            return OK;
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        if (strcmp(text, no[i]) == 0) {
            *field = false;
            return OK;
        }
    }
    return err_set(err, ERR_USAGE, "%s: %s is '%s', expected true or false", who, o->name, text);
}

/* Splits "a,b,c" into arena copies; the empty text is the empty list. */
static Status set_list(StrList *field, const char *text, Arena *arena, Err *err)
{
    int count = text[0] != '\0';
    for (const char *c = text; *c != '\0'; c++) count += *c == ',';
    const char **items = arena_array(arena, (size_t)count, sizeof *items);
    if (items == NULL) return err_no_memory(err, "a list option");
    for (int i = 0; i < count; i++) {
        size_t n = strcspn(text, ",");
        items[i] = arena_str(arena, (Str){ text, n }).data;
        if (items[i] == NULL) return err_no_memory(err, "a list option");
        text += n + 1;
    }
    *field = (StrList){ items, count };
    return OK;
}

static Status set_field(const Opt *o, void *values, const char *text, const char *who, Arena *arena, Err *err)
{
    void *field = (char *)values + o->field;
    switch (o->type) {
    case OPT_FLAG: return set_flag(o, field, text, who, err);
    case OPT_INT:
    case OPT_FLOAT: return set_number(o, field, text, who, err);
    case OPT_CHOICE: {
        int index = choice_index(o->choices, text);
        if (index < 0) return err_set(err, ERR_USAGE, "%s: %s is '%s', expected one of %s", who, o->name, text, o->choices);
        *(int *)field = index;
        return OK;
    }
    case OPT_STRING:
    case OPT_FILE:
    case OPT_TEXT:
    case OPT_SAVE: {
        Str copy = arena_str(arena, str_of(text));
        if (copy.data == NULL) return err_no_memory(err, "an option");
        *(const char **)field = copy.data;
        return OK;
    }
    case OPT_MODELS:
    case OPT_LIST: return set_list(field, text, arena, err);
    }
    return err_set(err, ERR_BUG, "%s: option %s has no type", who, o->name);
}

Status opts_set(const Opt *table, void *values, const char *name, const char *text, const char *who, Arena *arena, Err *err)
{
    const char *nearest;
    const Opt *o = opts_find(table, name, &nearest);
    if (o != NULL) return set_field(o, values, text, who, arena, err);
    if (nearest == NULL) return err_set(err, ERR_USAGE, "%s: unknown option '%s'; it has none", who, name);
    return err_set(err, ERR_USAGE, "%s: unknown option '%s'; did you mean '%s'?", who, name, nearest);
}

Status opts_defaults(const Opt *table, void *values, Arena *arena, Err *err)
{
    for (const Opt *o = table; o->name != NULL; o++) {
        if (o->fallback != NULL) TRY(set_field(o, values, o->fallback, "default", arena, err));
    }
    return OK;
}

void opts_print(const Opt *o, const void *values, StrBuf *b)
{
    const void *field = (const char *)values + o->field;
    switch (o->type) {
    case OPT_FLAG: strbuf_add(b, *(const bool *)field ? "true" : "false"); break;
    case OPT_INT: strbuf_printf(b, "%lld", (long long)*(const int64_t *)field); break;
    case OPT_FLOAT: strbuf_printf(b, "%.17g", *(const double *)field); break;
    case OPT_STRING:
    case OPT_FILE:
    case OPT_TEXT:
    case OPT_SAVE: strbuf_add(b, *(const char *const *)field != NULL ? *(const char *const *)field : ""); break;
    case OPT_CHOICE: {
        const char *at = o->choices;
        for (int i = *(const int *)field; i > 0; i--) at += strcspn(at, "|") + 1;
        strbuf_add_n(b, at, strcspn(at, "|"));
        break;
    }
    case OPT_MODELS:
    case OPT_LIST: {
        const StrList *list = field;
        for (int i = 0; i < list->count; i++) strbuf_printf(b, "%s%s", i > 0 ? "," : "", list->items[i]);
        break;
    }
    }
}

static const char *type_word(const Opt *o)
{
    switch (o->type) {
    case OPT_FLAG: return "";
    case OPT_INT: return "=N";
    case OPT_FLOAT: return "=X";
    case OPT_STRING: return "=TEXT";
    case OPT_CHOICE: return "=";
    case OPT_FILE:
    case OPT_TEXT:
    case OPT_SAVE: return "=FILE";
    case OPT_MODELS: return "=MODEL,...";
    case OPT_LIST: return "=A,B,...";
    }
    return "";
}

void opts_bound(double value, char text[OPTS_BOUND])
{
    if (value == 9007199254740992.0) snprintf(text, OPTS_BOUND, "2^53"); /* the last of which doubles hold every whole number */
    else snprintf(text, OPTS_BOUND, "%.15g", value);
}

void opts_help(const Opt *table, StrBuf *b)
{
    for (const Opt *o = table; o->name != NULL; o++) {
        size_t start = b->len;
        strbuf_printf(b, "  --%s%s%s", o->name, type_word(o), o->type == OPT_CHOICE ? o->choices : "");
        size_t width = b->len - start;
        strbuf_printf(b, "%*s%s", width < 30 ? (int)(30 - width) : 2, "", o->help);
        bool range = (o->min != 0 || o->max != 0) && (o->type == OPT_INT || o->type == OPT_FLOAT);
        bool fallback = o->fallback != NULL && o->fallback[0] != '\0';
        if (range || fallback || o->unit != NULL) {
            const char *separator = "";
            char low[OPTS_BOUND], high[OPTS_BOUND];
            opts_bound(o->min, low);
            opts_bound(o->max, high);
            strbuf_add(b, " (");
            if (o->unit != NULL) strbuf_printf(b, "%s", o->unit), separator = "; ";
            if (range) strbuf_printf(b, "%s%s to %s", separator, low, high), separator = "; ";
            if (fallback) strbuf_printf(b, "%sdefault %s", separator, o->fallback);
            strbuf_add(b, ")");
        }
        strbuf_add(b, "\n");
    }
}
