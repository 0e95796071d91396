#include "pipeline/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the text; NULL: there was no memory for it. */
static void add_text(char *text, StrBuf *b)
{
    if (text == NULL) b->failed = true;
    else strbuf_add(b, text);
    cJSON_free(text);
}

void json_print(const cJSON *json, StrBuf *b)
{
    add_text(json != NULL ? cJSON_Print(json) : NULL, b);
}

void json_print_compact(const cJSON *json, StrBuf *b)
{
    add_text(json != NULL ? cJSON_PrintUnformatted(json) : NULL, b);
}

void json_number_text(double value, char text[32])
{
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, 32, "%.0f", value == 0 ? 0.0 : value); /* no "-0" */
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return;
    }
}

static int compare_keys(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static void canonical_object(const cJSON *json, StrBuf *b)
{
    int count = cJSON_GetArraySize(json);
    const cJSON **items = calloc((size_t)count + 1, sizeof *items);
    if (items == NULL) {
        b->failed = true;
        return;
    }
    int n = 0;
    for (const cJSON *child = json->child; child != NULL; child = child->next) items[n++] = child;
    qsort(items, (size_t)n, sizeof *items, compare_keys);
    strbuf_add(b, "{");
    for (int i = 0; i < n; i++) {
        cJSON *key = cJSON_CreateStringReference(items[i]->string);
        if (i > 0) strbuf_add(b, ",");
        json_print_compact(key, b);
        strbuf_add(b, ":");
        cJSON_Delete(key);
        json_canonical(items[i], b);
    }
    strbuf_add(b, "}");
    free(items);
}

void json_canonical(const cJSON *json, StrBuf *b)
{
    if (cJSON_IsObject(json)) {
        canonical_object(json, b);
    } else if (cJSON_IsArray(json)) {
        strbuf_add(b, "[");
        for (const cJSON *child = json->child; child != NULL; child = child->next) {
            json_canonical(child, b);
            if (child->next != NULL) strbuf_add(b, ",");
        }
        strbuf_add(b, "]");
    } else if (cJSON_IsNumber(json)) {
        char text[32];
        json_number_text(json->valuedouble, text);
        strbuf_add(b, text);
    } else {
        json_print_compact(json, b);
    }
}
