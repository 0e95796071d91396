/* JSON Schema 2020-12 of a recipe, from the option tables of the passes, the goals and the data section. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "graph/pass.h"
#include "pipeline/docs.h"
#include "pipeline/goals.h"

static void describe(cJSON *schema, const char *text)
{
    cJSON_AddStringToObject(schema, "description", text);
}

static cJSON *typed(const char *type)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", type);
    return schema;
}

static cJSON *closed_object(cJSON *properties)
{
    cJSON *schema = typed("object");
    cJSON_AddItemToObject(schema, "properties", properties);
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}

static cJSON *choices(const char *text)
{
    cJSON *list = cJSON_CreateArray();
    while (*text != '\0') {
        size_t n = strcspn(text, "|");
        char *item = strndup(text, n);
        char *end;
        cJSON_AddItemToArray(list, cJSON_CreateString(item != NULL ? item : ""));
        /* a choice among numbers may be written as a number */
        if (item != NULL && item[0] != '\0') {
            double value = strtod(item, &end);
            if (*end == '\0') cJSON_AddItemToArray(list, cJSON_CreateNumber(value));
        }
        free(item);
        text += n + (text[n] == '|');
    }
    return list;
}

static void add_default(cJSON *schema, const Opt *o)
{
    if (o->fallback == NULL) return;
    if (o->type == OPT_FLAG) cJSON_AddBoolToObject(schema, "default", strcmp(o->fallback, "true") == 0);
    else if (o->type == OPT_INT || o->type == OPT_FLOAT) cJSON_AddNumberToObject(schema, "default", strtod(o->fallback, NULL));
    else if (o->type != OPT_LIST && o->type != OPT_MODELS) cJSON_AddStringToObject(schema, "default", o->fallback);
}

static cJSON *string_or_list(void)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON *any = cJSON_AddArrayToObject(schema, "anyOf"), *list = typed("array"), *item = cJSON_CreateObject();
    const char *const types[] = { "string", "number" };
    cJSON_AddItemToObject(item, "type", cJSON_CreateStringArray(types, 2));
    cJSON_AddItemToObject(list, "items", item);
    cJSON_AddItemToArray(any, typed("string"));
    cJSON_AddItemToArray(any, list);
    return schema;
}

static cJSON *option_schema(const Opt *o)
{
    static const char *const text_or_number[] = { "string", "number" };
    cJSON *schema = NULL;
    switch (o->type) {
    case OPT_FLAG: schema = typed("boolean"); break;
    case OPT_INT: schema = typed("integer"); break;
    case OPT_FLOAT: schema = typed("number"); break;
    case OPT_FILE:
    case OPT_TEXT:
    case OPT_SAVE: schema = typed("string"); break;
    case OPT_STRING:
        schema = cJSON_CreateObject();
        cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(text_or_number, 2));
        break;
    case OPT_CHOICE:
        schema = cJSON_CreateObject();
        cJSON_AddItemToObject(schema, "enum", choices(o->choices));
        break;
    case OPT_MODELS:
    case OPT_LIST: schema = string_or_list(); break;
    }
    if ((o->type == OPT_INT || o->type == OPT_FLOAT) && (o->min != 0 || o->max != 0)) {
        cJSON_AddNumberToObject(schema, "minimum", o->min);
        cJSON_AddNumberToObject(schema, "maximum", o->max);
    }
    add_default(schema, o);
    describe(schema, o->help);
    return schema;
}

static cJSON *layers_schema(const Pass *pass)
{
    cJSON *properties = cJSON_CreateObject(), *match = typed("string"), *skip = typed("boolean");
    describe(match, "pattern of the layer's name or its weight's name; * ? [...] as in the shell, * also matches /");
    describe(skip, "leave these layers as they are");
    cJSON_AddItemToObject(properties, "match", match);
    cJSON_AddItemToObject(properties, "skip", skip);
    for (const Opt *o = pass->options; o->name != NULL; o++) {
        if (o->per_layer) cJSON_AddItemToObject(properties, o->name, option_schema(o));
    }
    cJSON *rule = closed_object(properties), *list = typed("array");
    const char *const required[] = { "match" };
    cJSON_AddItemToObject(rule, "required", cJSON_CreateStringArray(required, 1));
    cJSON_AddItemToObject(list, "items", rule);
    describe(list, "rules for single layers; later ones override earlier ones");
    return list;
}

static cJSON *pass_schema(const Pass *pass)
{
    cJSON *properties = cJSON_CreateObject(), *name = cJSON_CreateObject();
    cJSON_AddStringToObject(name, "const", pass->name);
    describe(name, pass->summary);
    cJSON_AddItemToObject(properties, "pass", name);
    for (const Opt *o = pass->options; o->name != NULL; o++) cJSON_AddItemToObject(properties, o->name, option_schema(o));
    cJSON_AddItemToObject(properties, "layers", layers_schema(pass));
    cJSON *schema = closed_object(properties);
    const char *const required[] = { "pass" };
    cJSON_AddItemToObject(schema, "required", cJSON_CreateStringArray(required, 1));
    return schema;
}

/* One alternative of a data key's type: "integer", "null", "number[]". */
static cJSON *data_type(const char *text, size_t len)
{
    char name[32];
    bool list = len > 2 && text[len - 1] == ']';
    size_t n = list ? len - 2 : len;
    n = n < sizeof name ? n : sizeof name - 1;
    memcpy(name, text, n);
    name[n] = '\0';
    if (!list) return typed(name);
    cJSON *schema = typed("array");
    cJSON_AddItemToObject(schema, "items", typed(name));
    return schema;
}

static cJSON *data_object(unsigned where);

static cJSON *data_key_schema(const DataKey *k)
{
    cJSON *schema;
    if (strcmp(k->name, "inputs") == 0) {
        schema = typed("object");
        cJSON_AddItemToObject(schema, "additionalProperties", data_object(DATA_INPUT));
    } else {
        schema = cJSON_CreateObject();
        cJSON *any = cJSON_AddArrayToObject(schema, "anyOf");
        for (const char *at = k->type; *at != '\0';) {
            size_t n = strcspn(at, "|");
            bool object = n == 6 && strncmp(at, "object", 6) == 0;
            cJSON_AddItemToArray(any, object ? data_object(DATA_LABEL) : data_type(at, n));
            at += n + (at[n] == '|');
        }
    }
    if (k->fallback != NULL) cJSON_AddItemToObject(schema, "default", cJSON_Parse(k->fallback));
    describe(schema, k->help);
    return schema;
}

static cJSON *data_object(unsigned where)
{
    cJSON *properties = cJSON_CreateObject();
    for (const DataKey *k = data_keys; k->name != NULL; k++) {
        if ((k->where & where) != 0) cJSON_AddItemToObject(properties, k->name, data_key_schema(k));
    }
    return closed_object(properties);
}

static cJSON *data_schema(void)
{
    static const struct {
        const char *name, *help;
    } kinds[] = { { "calibration", "inputs that passes learn from" }, { "evaluation", "inputs and labels that accuracy is measured on" } };
    cJSON *properties = cJSON_CreateObject();
    for (int i = 0; i < 2; i++) {
        cJSON *one = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(one, "anyOf"), *path = typed("string");
        describe(path, "an .npz, a folder of .npz or of input_k.pb, or a .json data section; relative to the recipe");
        cJSON_AddItemToArray(any, path);
        cJSON_AddItemToArray(any, data_object(DATA_TOP));
        describe(one, kinds[i].help);
        cJSON_AddItemToObject(properties, kinds[i].name, one);
    }
    return closed_object(properties);
}

cJSON *recipe_schema(void)
{
    cJSON *properties = cJSON_CreateObject(), *passes = typed("array"), *goals = cJSON_CreateObject(), *seed = typed("integer");
    if (properties == NULL) return NULL;
    cJSON *items = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(items, "oneOf");
    for (const Pass *const *p = passes_all(); *p != NULL; p++) cJSON_AddItemToArray(any, pass_schema(*p));
    cJSON_AddItemToObject(passes, "items", items);
    describe(passes, "run in this order; none loads and saves the network");
    for (const Opt *o = goal_options; o->name != NULL; o++) cJSON_AddItemToObject(goals, o->name, option_schema(o));
    cJSON_AddNumberToObject(seed, "minimum", 0);
    describe(seed, "of everything random");
    cJSON_AddItemToObject(properties, "data", data_schema());
    cJSON_AddItemToObject(properties, "passes", passes);
    cJSON_AddItemToObject(properties, "goals", closed_object(goals));
    cJSON_AddItemToObject(properties, "seed", seed);
    cJSON *schema = closed_object(properties);
    const char *const required[] = { "passes" };
    cJSON_AddItemToObject(schema, "required", cJSON_CreateStringArray(required, 1));
    cJSON_AddStringToObject(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(schema, "title", "recipe of pare");
    return schema;
}
