#include "pipeline/fields.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "pipeline/text.h"

static bool add_fields(cJSON *object, const Field *fields, const void *base);

static cJSON *list_json(const Field *f, const char *base)
{
    cJSON *list = cJSON_CreateArray();
    const char *items = *(const char *const *)(base + f->at);
    int count = *(const int *)(base + f->count_at);
    for (int i = 0; list != NULL && i < count; i++) {
        cJSON *item = fields_json(f->fields, items + (size_t)i * f->item_size);
        if (item == NULL || !cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(item);
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

/* Names come from model files: what is no UTF-8 would make the document no JSON. */
static cJSON *text_json(const char *text)
{
    StrBuf b = { 0 };
    text_safe(str_of(text), &b);
    cJSON *item = b.failed ? NULL : cJSON_CreateString(b.data != NULL ? b.data : "");
    strbuf_release(&b);
    return item;
}

static cJSON *texts_json(const Field *f, const char *base)
{
    cJSON *list = cJSON_CreateArray();
    int count = *(const int *)(base + f->count_at);
    for (int i = 0; list != NULL && i < count; i++) {
        cJSON *item = text_json(base + f->at + (size_t)i * f->item_size);
        if (item == NULL || !cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(item);
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

static cJSON *field_json(const Field *f, const char *base)
{
    const char *at = base + f->at;
    switch (f->type) {
    case FIELD_INT: return *(const int64_t *)at < 0 ? cJSON_CreateNull() : cJSON_CreateNumber((double)*(const int64_t *)at);
    case FIELD_CINT: return cJSON_CreateNumber(*(const int *)at);
    case FIELD_ENUM: return text_json(f->text((int)*(const unsigned *)at));
    case FIELD_NUMBER: return isfinite(*(const double *)at) ? cJSON_CreateNumber(*(const double *)at) : cJSON_CreateNull();
    case FIELD_BOOL: return cJSON_CreateBool(*(const bool *)at);
    case FIELD_CHARS: return at[0] == '\0' ? cJSON_CreateNull() : text_json(at);
    case FIELD_TEXT: return *(const char *const *)at == NULL ? cJSON_CreateNull() : text_json(*(const char *const *)at);
    case FIELD_JSON: return *(cJSON *const *)at == NULL ? cJSON_CreateNull() : cJSON_Duplicate(*(cJSON *const *)at, true);
    case FIELD_OBJECT: return fields_json(f->fields, at);
    case FIELD_LIST: return list_json(f, base);
    case FIELD_TEXTS: return texts_json(f, base);
    case FIELD_INLINE: break;
    }
    return NULL;
}

static bool add_fields(cJSON *object, const Field *fields, const void *base)
{
    for (const Field *f = fields; f->name != NULL; f++) {
        if (f->type == FIELD_INLINE) {
            if (!add_fields(object, f->fields, (const char *)base + f->at)) return false;
            continue;
        }
        cJSON *item = field_json(f, base);
        if (item == NULL || !cJSON_AddItemToObject(object, f->name, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return true;
}

cJSON *fields_json(const Field *fields, const void *base)
{
    cJSON *object = cJSON_CreateObject();
    if (object != NULL && add_fields(object, fields, base)) return object;
    cJSON_Delete(object);
    return NULL;
}

static void set_type(cJSON *schema, const char *type, bool nullable)
{
    if (!nullable) {
        cJSON_AddStringToObject(schema, "type", type);
        return;
    }
    const char *const both[] = { type, "null" };
    cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(both, 2));
}

static cJSON *field_schema(const Field *f)
{
    cJSON *schema = f->type == FIELD_OBJECT ? fields_schema(f->fields) : cJSON_CreateObject();
    switch (f->type) {
    case FIELD_INT: set_type(schema, "integer", true); break;
    case FIELD_CINT: set_type(schema, "integer", false); break;
    case FIELD_NUMBER: set_type(schema, "number", true); break;
    case FIELD_BOOL: set_type(schema, "boolean", false); break;
    case FIELD_ENUM: set_type(schema, "string", false); break;
    case FIELD_CHARS:
    case FIELD_TEXT: set_type(schema, "string", true); break;
    case FIELD_JSON: {
        const char *const types[] = { "object", "array", "null" };
        cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(types, 3));
        break;
    }
    case FIELD_LIST:
    case FIELD_TEXTS: {
        cJSON *items = f->type == FIELD_LIST ? fields_schema(f->fields) : cJSON_CreateObject();
        set_type(schema, "array", false);
        if (f->type == FIELD_TEXTS) set_type(items, "string", false);
        cJSON_AddItemToObject(schema, "items", items);
        break;
    }
    case FIELD_OBJECT:
    case FIELD_INLINE: break;
    }
    cJSON_AddStringToObject(schema, "description", f->help);
    return schema;
}

static void add_properties(cJSON *properties, cJSON *required, const Field *fields)
{
    for (const Field *f = fields; f->name != NULL; f++) {
        if (f->type == FIELD_INLINE) {
            add_properties(properties, required, f->fields);
            continue;
        }
        cJSON_AddItemToObject(properties, f->name, field_schema(f));
        cJSON_AddItemToArray(required, cJSON_CreateString(f->name));
    }
}

cJSON *fields_schema(const Field *fields)
{
    cJSON *schema = cJSON_CreateObject(), *required = cJSON_CreateArray();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    add_properties(properties, required, fields);
    cJSON_AddItemToObject(schema, "required", required);
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}

cJSON *fields_document_schema(const Field *fields, const char *title)
{
    cJSON *schema = fields_schema(fields);
    if (schema == NULL) return NULL;
    cJSON_AddItemToObject(schema, "$schema", cJSON_CreateString("https://json-schema.org/draft/2020-12/schema"));
    cJSON_AddItemToObject(schema, "title", cJSON_CreateString(title));
    return schema;
}
