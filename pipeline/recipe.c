#include "pipeline/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/json_read.h"
#include "pipeline/json_write.h"

#define RECIPE_MAX_BYTES (16u << 20)

/* One level of keys for the message of an unknown one: a fixed list, then the names of an option table. */
static const char *nearest_key(const char *const *keys, const Opt *table, const char *found)
{
    const char *best = NULL;
    int distance = 1 << 20;
    for (int i = 0; keys[i] != NULL; i++) {
        int d = str_unlike(keys[i], found);
        if (d < distance) {
            distance = d;
            best = keys[i];
        }
    }
    const char *option = NULL;
    if (table != NULL) opts_find(table, found, &option);
    return option != NULL && str_unlike(option, found) < distance ? option : best;
}

static bool is_key(const char *const *keys, const char *name)
{
    for (int i = 0; keys[i] != NULL; i++) {
        if (strcmp(keys[i], name) == 0) return true;
    }
    return false;
}

static Status unknown_key(const char *const *keys, const Opt *table, const JsonPath *path, const char *found, Err *err)
{
    char where[512];
    json_path_print(path, where, sizeof where);
    return err_set(err, ERR_USAGE, "%s: unknown key '%s'; did you mean '%s'?", where, found, nearest_key(keys, table, found));
}

static Status wrong_type(const JsonPath *path, const cJSON *item, const char *expected, Err *err)
{
    char where[512];
    json_path_print(path, where, sizeof where);
    return err_set(err, ERR_USAGE, "%s is %s, expected %s", where, json_type_name(item), expected);
}

/* The text form of a recipe's value for an option, as opts_set reads it; the JSON type has to suit the option's. */
static Status option_text(const Opt *o, const cJSON *item, const JsonPath *path, StrBuf *b, Err *err)
{
    char number[32];
    bool list = o->type == OPT_LIST || o->type == OPT_MODELS;
    bool file = o->type == OPT_FILE || o->type == OPT_TEXT || o->type == OPT_SAVE;
    bool text = o->type == OPT_STRING || file || o->type == OPT_CHOICE || list;
    if (cJSON_IsBool(item) && o->type == OPT_FLAG) {
        strbuf_add(b, cJSON_IsTrue(item) ? "true" : "false");
    } else if (cJSON_IsNumber(item) && o->type != OPT_FLAG && !file && !list) {
        json_number_text(item->valuedouble, number);
        strbuf_add(b, number);
    } else if (cJSON_IsString(item) && text) {
        strbuf_add(b, item->valuestring);
    } else if (cJSON_IsArray(item) && list) {
        for (const cJSON *child = item->child; child != NULL; child = child->next) {
            if (cJSON_IsNumber(child)) json_number_text(child->valuedouble, number);
            else if (!cJSON_IsString(child) || strchr(child->valuestring, ',') != NULL) {
                return wrong_type(path, child, "an array of numbers or of strings without commas", err);
            }
            strbuf_printf(b, "%s%s", child == item->child ? "" : ",", cJSON_IsNumber(child) ? number : child->valuestring);
        }
    } else {
        const char *expected = o->type == OPT_FLAG ? "true or false" : list ? "an array of strings" : text ? "a string" : "a number";
        return wrong_type(path, item, expected, err);
    }
    return b->failed ? err_no_memory(err, "a recipe") : OK;
}

/* Sets one option from its JSON value; *text (may be NULL) receives an arena copy of its text form. */
static Status set_option(const Opt *table, void *values, const cJSON *item, const JsonPath *path, Arena *arena, const char **text,
                         Err *err)
{
    char where[512];
    StrBuf b = { 0 };
    json_path_print(path, where, sizeof where);
    JsonPath at = json_path_key(path, item->string);
    Status status = option_text(opts_find(table, item->string, NULL), item, &at, &b, err);
    if (status == OK) status = opts_set(table, values, item->string, b.data != NULL ? b.data : "", where, arena, err);
    if (status == OK && text != NULL) {
        *text = arena_str(arena, str_of(b.data != NULL ? b.data : "")).data;
        if (*text == NULL) status = err_no_memory(err, "a recipe");
    }
    strbuf_release(&b);
    return status;
}

/* One entry of "layers". `scratch` is an options struct that values are tried on. */
static Status parse_rule(Recipe *r, const Pass *pass, const cJSON *item, const JsonPath *path, void *scratch, LayerRule *rule, Err *err)
{
    static const char *const keys[] = { "match", "skip", NULL };
    char where[512];
    json_path_print(path, where, sizeof where);
    if (!cJSON_IsObject(item)) return wrong_type(path, item, "an object with \"match\"", err);
    int count = cJSON_GetArraySize(item);
    rule->names = arena_array(r->arena, (size_t)count, sizeof *rule->names);
    rule->values = arena_array(r->arena, (size_t)count, sizeof *rule->values);
    if (rule->names == NULL || rule->values == NULL) return err_no_memory(err, "a recipe");
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        JsonPath at = json_path_key(path, child->string);
        const Opt *o = opts_find(pass->options, child->string, NULL);
        if (strcmp(child->string, "match") == 0) {
            if (!cJSON_IsString(child)) return wrong_type(&at, child, "a pattern", err);
            rule->match = child->valuestring;
        } else if (strcmp(child->string, "skip") == 0) {
            if (!cJSON_IsBool(child)) return wrong_type(&at, child, "true or false", err);
            rule->skip = cJSON_IsTrue(child);
        } else if (o == NULL) {
            return unknown_key(keys, pass->options, path, child->string, err);
        } else if (!o->per_layer) {
            return err_set(err, ERR_USAGE, "%s: '%s' holds for the whole pass and cannot be set per layer", where, o->name);
        } else {
            TRY(set_option(pass->options, scratch, child, path, r->arena, &rule->values[rule->count], err));
            rule->names[rule->count++] = o->name;
        }
    }
    if (rule->match == NULL) return err_set(err, ERR_USAGE, "%s has no \"match\": the pattern of the layers it is for", where);
    return OK;
}

static Status parse_rules(Recipe *r, RecipePass *p, const cJSON *list, const JsonPath *path, Err *err)
{
    if (!cJSON_IsArray(list)) return wrong_type(path, list, "an array of objects", err);
    int count = cJSON_GetArraySize(list), n = 0;
    LayerRule *rules = arena_array(r->arena, (size_t)count, sizeof *rules);
    void *scratch = arena_copy(r->arena, p->options, p->pass->options_size);
    if (rules == NULL || scratch == NULL) return err_no_memory(err, "a recipe");
    for (const cJSON *child = list->child; child != NULL; child = child->next, n++) {
        JsonPath at = json_path_index(path, n);
        TRY(parse_rule(r, p->pass, child, &at, scratch, &rules[n], err));
    }
    p->rules = rules;
    p->rule_count = count;
    return OK;
}

static const char *nearest_pass(const char *name)
{
    const char *best = NULL;
    int distance = 1 << 20;
    for (const Pass *const *p = passes_all(); *p != NULL; p++) {
        int d = str_unlike((*p)->name, name);
        if (d < distance) {
            distance = d;
            best = (*p)->name;
        }
    }
    return best;
}

static Status parse_pass(Recipe *r, const cJSON *item, const JsonPath *path, RecipePass *p, Err *err)
{
    static const char *const keys[] = { "pass", "layers", NULL };
    char where[512];
    json_path_print(path, where, sizeof where);
    if (!cJSON_IsObject(item)) return wrong_type(path, item, "an object with \"pass\"", err);
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "pass"), *layers = NULL;
    if (!cJSON_IsString(name)) return err_set(err, ERR_USAGE, "%s has no \"pass\": the name of the pass to run", where);
    p->pass = pass_find(name->valuestring);
    if (p->pass == NULL) {
        return err_set(err, ERR_USAGE, "%s: unknown pass '%s'; did you mean '%s'?", where, name->valuestring,
                       nearest_pass(name->valuestring));
    }
    p->options = arena_alloc(r->arena, p->pass->options_size > 0 ? p->pass->options_size : 1);
    if (p->options == NULL) return err_no_memory(err, "a recipe");
    TRY(opts_defaults(p->pass->options, p->options, r->arena, err));
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        if (strcmp(child->string, "layers") == 0) layers = child;
        if (is_key(keys, child->string)) continue;
        if (opts_find(p->pass->options, child->string, NULL) == NULL) {
            return unknown_key(keys, p->pass->options, path, child->string, err);
        }
        TRY(set_option(p->pass->options, p->options, child, path, r->arena, NULL, err));
    }
    if (layers == NULL) return OK;
    JsonPath at = json_path_key(path, "layers");
    return parse_rules(r, p, layers, &at, err); /* after the pass's own options, which the rules lay themselves over */
}

static Status parse_passes(Recipe *r, const cJSON *list, const JsonPath *path, Err *err)
{
    if (!cJSON_IsArray(list)) return wrong_type(path, list, "an array of passes", err);
    int n = 0;
    r->passes = arena_array(r->arena, (size_t)cJSON_GetArraySize(list), sizeof *r->passes);
    if (r->passes == NULL) return err_no_memory(err, "a recipe");
    for (const cJSON *child = list->child; child != NULL; child = child->next, n++) {
        JsonPath at = json_path_index(path, n);
        TRY(parse_pass(r, child, &at, &r->passes[n], err));
        r->pass_count = n + 1;
    }
    return OK;
}

static Status parse_data(Recipe *r, const cJSON *data, const JsonPath *path, Err *err)
{
    static const char *const keys[] = { "calibration", "evaluation", NULL };
    if (!cJSON_IsObject(data)) return wrong_type(path, data, "an object with \"calibration\" and \"evaluation\"", err);
    for (const cJSON *child = data->child; child != NULL; child = child->next) {
        JsonPath at = json_path_key(path, child->string);
        if (!is_key(keys, child->string)) return unknown_key(keys, NULL, path, child->string, err);
        if (!cJSON_IsString(child) && !cJSON_IsObject(child)) return wrong_type(&at, child, "a path or a data section", err);
        if (strcmp(child->string, "calibration") == 0) r->calibration = child;
        else r->evaluation = child;
    }
    return OK;
}

static Status parse_goals(Recipe *r, const cJSON *goals, const JsonPath *path, Err *err)
{
    static const char *const none[] = { NULL };
    if (!cJSON_IsObject(goals)) return wrong_type(path, goals, "an object of goals", err);
    for (const cJSON *child = goals->child; child != NULL; child = child->next) {
        JsonPath at = json_path_key(path, child->string);
        const Opt *o = opts_find(goal_options, child->string, NULL);
        if (o == NULL) return unknown_key(none, goal_options, path, child->string, err);
        StrBuf text = { 0 };
        Status status = option_text(o, child, &at, &text, err);
        if (status == OK) status = goals_set(&r->goals, o->name, text.data != NULL ? text.data : "", r->arena, err);
        strbuf_release(&text);
        if (status != OK) return err_prefix(err, "%s", path->name);
    }
    return OK;
}

static Status parse_seed(Recipe *r, const cJSON *item, const JsonPath *path, Err *err)
{
    JsonPath at = json_path_key(path, "seed");
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 9007199254740992.0 ||
        item->valuedouble != (double)(uint64_t)item->valuedouble) {
        char where[512], number[32];
        if (!cJSON_IsNumber(item)) return wrong_type(&at, item, "a whole number of 0 to 2^53", err);
        json_path_print(&at, where, sizeof where);
        json_number_text(item->valuedouble, number);
        return err_set(err, ERR_USAGE, "%s is %s, expected a whole number of 0 to 2^53", where, number);
    }
    r->has_seed = true;
    r->seed = (uint64_t)item->valuedouble;
    return OK;
}

static Status parse_root(Recipe *r, const char *name, Err *err)
{
    static const char *const keys[] = { "data", "passes", "goals", "seed", NULL };
    JsonPath root = { .name = name };
    if (!cJSON_IsObject(r->json)) return wrong_type(&root, r->json, "an object with \"passes\"", err);
    for (const cJSON *child = r->json->child; child != NULL; child = child->next) {
        JsonPath at = json_path_key(&root, child->string);
        if (!is_key(keys, child->string)) return unknown_key(keys, NULL, &root, child->string, err);
        if (strcmp(child->string, "data") == 0) TRY(parse_data(r, child, &at, err));
        if (strcmp(child->string, "passes") == 0) TRY(parse_passes(r, child, &at, err));
        if (strcmp(child->string, "goals") == 0) TRY(parse_goals(r, child, &at, err));
        if (strcmp(child->string, "seed") == 0) TRY(parse_seed(r, child, &root, err));
    }
    if (cJSON_GetObjectItemCaseSensitive(r->json, "passes") == NULL) {
        return err_set(err, ERR_USAGE, "%s has no \"passes\"; an empty array loads and saves the network", name);
    }
    return OK;
}

Status recipe_from_json(cJSON *json, const char *name, const char *folder, Recipe **out, Err *err)
{
    Status status = OK;
    StrBuf canonical = { 0 };
    Recipe *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r == NULL) {
        cJSON_Delete(json);
        return err_no_memory(err, "a recipe");
    }
    r->json = json;
    r->arena = arena_new();
    if (folder != NULL) r->folder = strdup(folder);
    goals_init(&r->goals);
    if (r->arena == NULL || json == NULL || (folder != NULL && r->folder == NULL)) {
        status = err_no_memory(err, "a recipe");
        goto out;
    }
    TRY_OUT(parse_root(r, name, err));
    json_canonical(json, &canonical);
    if (canonical.failed) {
        status = err_no_memory(err, "a recipe");
        goto out;
    }
    hash_bytes(canonical.data, canonical.len, r->hash);
out:
    strbuf_release(&canonical);
    if (status == OK) *out = r;
    else recipe_free(r);
    return status;
}

Status recipe_parse(const char *text, size_t size, const char *name, const char *folder, Recipe **out, Err *err)
{
    cJSON *json;
    *out = NULL;
    TRY(json_parse_strict(text, size, name, &json, err));
    return recipe_from_json(json, name, folder, out, err);
}

Status recipe_load(const char *path, Recipe **out, Err *err)
{
    Mapping *m;
    *out = NULL;
    TRY(mapping_open(path, RECIPE_MAX_BYTES, &m, err));
    if (m->size > RECIPE_MAX_BYTES) {
        Status status = err_set(err, ERR_USAGE, "%s: %zu bytes is no recipe; expected at most 16 MB of JSON", path, m->size);
        mapping_unref(m);
        return status;
    }
    char *folder = strncmp(path, "/dev/", 5) == 0 ? strdup(".") : path_folder(path);
    Status status = folder == NULL ? err_no_memory(err, "a path") : recipe_parse((const char *)m->data, m->size, path, folder, out, err);
    free(folder);
    mapping_unref(m);
    return status;
}

void recipe_free(Recipe *r)
{
    if (r == NULL) return;
    cJSON_Delete(r->json);
    arena_unref(r->arena);
    free(r->folder);
    free(r);
}

static cJSON *option_json(const Opt *o, const void *options)
{
    const void *field = (const char *)options + o->field;
    StrBuf b = { 0 };
    cJSON *item = NULL;
    switch (o->type) {
    case OPT_FLAG: return cJSON_CreateBool(*(const bool *)field);
    case OPT_INT: return cJSON_CreateNumber((double)*(const int64_t *)field);
    case OPT_FLOAT: return cJSON_CreateNumber(*(const double *)field);
    case OPT_STRING:
    case OPT_FILE:
    case OPT_TEXT:
    case OPT_SAVE:
        if (*(const char *const *)field == NULL) return cJSON_CreateNull();
        return cJSON_CreateString(*(const char *const *)field);
    case OPT_CHOICE:
        opts_print(o, options, &b);
        if (!b.failed) item = cJSON_CreateString(b.data != NULL ? b.data : "");
        strbuf_release(&b);
        return item;
    case OPT_MODELS:
    case OPT_LIST: {
        const StrList *list = field;
        return list->count > 0 ? cJSON_CreateStringArray(list->items, list->count) : cJSON_CreateArray();
    }
    }
    return NULL;
}

cJSON *recipe_options_json(const RecipePass *p)
{
    cJSON *json = cJSON_CreateObject();
    for (const Opt *o = p->pass->options; json != NULL && o->name != NULL; o++) {
        cJSON *item = option_json(o, p->options);
        if (item == NULL || !cJSON_AddItemToObject(json, o->name, item)) {
            cJSON_Delete(item);
            cJSON_Delete(json);
            json = NULL;
        }
    }
    return json;
}

bool recipe_uses_labels(const Recipe *r)
{
    for (int i = 0; i < r->pass_count; i++)
        if ((r->passes[i].pass->flags & PASS_USES_LABELS) != 0) return true;
    return false;
}
