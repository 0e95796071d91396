#include "graph/pass.h"

#include "base/bytes.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void record_add(PassRecord *r, RecordKind kind, Str object, const char *format, ...)
{
    void *entries = r->entries;
    if (r->failed || !array_grow(&entries, &r->capacity, r->count + 1, sizeof *r->entries)) {
        r->failed = true;
        return;
    }
    r->entries = entries;
    RecordEntry e = { .kind = kind, .object = strndup(object.data != NULL ? object.data : "", object.len) };
    va_list args;
    va_start(args, format);
    if (vasprintf(&e.text, format, args) < 0) e.text = NULL;
    va_end(args);
    if (e.object == NULL || e.text == NULL) {
        free(e.object);
        free(e.text);
        r->failed = true;
        return;
    }
    r->entries[r->count++] = e;
}

void record_number(PassRecord *r, const char *name, double value)
{
    if (r->failed || r->count == 0) return;
    RecordEntry *e = &r->entries[r->count - 1];
    if (e->number_count < (int)(sizeof e->numbers / sizeof *e->numbers)) e->numbers[e->number_count++] = (RecordNumber){ name, value };
}

void record_release(PassRecord *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->entries[i].object);
        free(r->entries[i].text);
    }
    free(r->entries);
    *r = (PassRecord){ 0 };
}

Status pass_layer_options(const PassContext *c, const Layer *l, void *out, bool *skip, Err *err)
{
    memcpy(out, c->options, c->pass->options_size);
    *skip = false;
    for (int i = 0; i < c->rule_count; i++) {
        const LayerRule *rule = &c->rules[i];
        if (!layer_matches(l, rule->match)) continue;
        *skip = rule->skip;
        for (int k = 0; k < rule->count; k++)
            TRY(opts_set(c->pass->options, out, rule->names[k], rule->values[k], c->pass->name, c->scratch, err));
    }
    return OK;
}

Status pass_check_rules(const PassContext *c, const Layer *layers, int count, Err *err)
{
    for (int i = 0; i < c->rule_count; i++) {
        bool matched = false;
        int best = INT_MAX;
        Str nearest = STR("");
        for (int k = 0; k < count && !matched; k++) {
            matched = layer_matches(&layers[k], c->rules[i].match);
            int distance = str_unlike(layers[k].name.data, c->rules[i].match);
            if (distance < best) {
                best = distance;
                nearest = layers[k].name;
            }
        }
        if (matched) continue;
        const char *pattern = c->rules[i].match;
        if (count == 0) return err_set(err, ERR_USAGE, "pattern '%s' matches no layer: the network has none", pattern);
        return err_set(err, ERR_USAGE, "pattern '%s' matches no layer; the nearest is '%.*s' (pare inspect lists all)", pattern,
                       STR_ARG(nearest));
    }
    return OK;
}
