#include "pipeline/json_read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void position(const char *text, size_t at, int *line, int *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else {
            ++*column;
        }
    }
}

/* cJSON recurses once for every bracket; the depth is bounded before it sees the text. */
static Status check_depth(const char *text, size_t size, const char *name, Err *err)
{
    int depth = 0, line, column;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') i++;
            else if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_MAX_DEPTH) {
                position(text, i, &line, &column);
                return err_set(err, ERR_USAGE, "%s:%d:%d: nested more than %d deep", name, line, column, JSON_MAX_DEPTH);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return OK;
}

/* The item's key twice in its object: cJSON keeps both and finds the first. */
static Status check_duplicates(const cJSON *item, const JsonPath *path, Err *err)
{
    int index = 0;
    for (const cJSON *child = item->child; child != NULL; child = child->next, index++) {
        JsonPath at = cJSON_IsObject(item) ? json_path_key(path, child->string) : json_path_index(path, index);
        if (cJSON_IsObject(item)) {
            for (const cJSON *other = item->child; other != child; other = other->next) {
                if (strcmp(other->string, child->string) == 0) {
                    return err_set(err, ERR_USAGE, "%s: the key '%s' stands twice in one object; keep one", path->name, at.text);
                }
            }
        }
        if (cJSON_IsNumber(child) && !isfinite(child->valuedouble)) {
            return err_set(err, ERR_USAGE, "%s: %s is a number too large for a double", path->name, at.text);
        }
        TRY(check_duplicates(child, &at, err));
    }
    return OK;
}

Status json_parse_strict(const char *text, size_t size, const char *name, cJSON **out, Err *err)
{
    int line, column;
    size_t white = 0;
    *out = NULL;
    while (white < size && strchr(" \t\r\n", text[white]) != NULL && text[white] != '\0') white++;
    if (white == size) return err_set(err, ERR_USAGE, "%s is empty, expected JSON", name);
    if (text[white] != '{' && text[white] != '[' && memchr(text, '\0', size) != NULL)
        return err_set(err, ERR_USAGE, "%s is not JSON but binary", name);
    TRY(check_depth(text, size, name, err));
    char *copy = malloc(size + 1);
    if (copy == NULL) return err_no_memory(err, "a JSON document");
    memcpy(copy, text, size);
    copy[size] = '\0';
    const char *end = copy;
    Status status = OK;
    const char *inner = memchr(copy, '\0', size);
    if (inner != NULL) {
        position(text, (size_t)(inner - copy), &line, &column);
        status = err_set(err, ERR_USAGE, "%s:%d:%d: a zero byte; expected JSON text", name, line, column);
        goto out;
    }
    *out = cJSON_ParseWithLengthOpts(copy, size + 1, &end, true);
    if (*out == NULL) {
        position(text, end != NULL && end >= copy ? (size_t)(end - copy) : 0, &line, &column);
        status = err_set(err, ERR_USAGE, "%s:%d:%d: not valid JSON here", name, line, column);
        goto out;
    }
    JsonPath root = { .name = name };
    status = check_duplicates(*out, &root, err);
    if (status != OK) {
        cJSON_Delete(*out);
        *out = NULL;
    }
out:
    free(copy);
    return status;
}

/* A step is cut, not the program: paths longer than the buffer end in what fits. */
static void append(char *text, size_t size, const char *more)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s", more);
}

JsonPath json_path_key(const JsonPath *parent, const char *key)
{
    JsonPath p = *parent;
    if (p.text[0] != '\0') append(p.text, sizeof p.text, ".");
    append(p.text, sizeof p.text, key);
    return p;
}

JsonPath json_path_index(const JsonPath *parent, int index)
{
    JsonPath p = *parent;
    char step[24];
    snprintf(step, sizeof step, "[%d]", index);
    append(p.text, sizeof p.text, step);
    return p;
}

void json_path_print(const JsonPath *p, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", p->name, p->text[0] != '\0' ? ": " : "", p->text);
}

const char *json_type_name(const cJSON *item)
{
    if (item == NULL) return "missing";
    if (cJSON_IsBool(item)) return "a boolean";
    if (cJSON_IsNumber(item)) return "a number";
    if (cJSON_IsString(item)) return "a string";
    if (cJSON_IsArray(item)) return "an array";
    if (cJSON_IsObject(item)) return "an object";
    return "null";
}
