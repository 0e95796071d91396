#include "greenness/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "greenness/measure.h"
#include "greenness/tree.h"

#define PROFILE_BYTES (1u << 20)

/* A number of the profile and where it stands. */
typedef struct Field {
    const char *name, *help;
    size_t at;
} Field;

static const Field peaks[] = {
#define X(field, help) { #field, help, offsetof(Profile, field) },
    PROFILE_PEAKS(X)
#undef X
};
static const Field terms[] = {
#define X(field, help) { #field, help, offsetof(Profile, terms) + PROFILE_TERM_##field * sizeof(double) },
    PROFILE_TERMS(X)
#undef X
};
static const Field fit[] = {
    { "residual", "root mean square of the relative errors of the fit", offsetof(Profile, residual) },
    { "residual_most", "the largest relative error of the fit", offsetof(Profile, residual_most) },
};
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* A text of the profile. */
static const struct {
    const char *name, *help;
    size_t at, size;
    bool of_energy;
} texts[] = {
    { "cpu", "processor", offsetof(Profile, cpu), sizeof ((Profile *)0)->cpu, false },
    { "os", "operating system", offsetof(Profile, os), sizeof ((Profile *)0)->os, false },
    { "isa", "vector instructions that were used", offsetof(Profile, isa), sizeof ((Profile *)0)->isa, false },
    { "machine", "hash of the installation's id, 16 digits; empty when not known", offsetof(Profile, machine),
      sizeof ((Profile *)0)->machine, false },
    { "source", "what measured the energy", offsetof(Profile, source), sizeof ((Profile *)0)->source, true },
    { "boundary", "what the energy covers", offsetof(Profile, boundary), sizeof ((Profile *)0)->boundary, true },
};

static double number_at(const Profile *p, const Field *f)
{
    double value;
    memcpy(&value, (const char *)p + f->at, sizeof value);
    return value;
}

static bool add_numbers(cJSON *json, const Profile *p, const Field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cJSON_AddNumberToObject(json, fields[i].name, number_at(p, &fields[i])) == NULL) return false;
    return true;
}

static bool add_texts(cJSON *json, const Profile *p, bool of_energy)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (texts[i].of_energy != of_energy) continue;
        if (cJSON_AddStringToObject(json, texts[i].name, (const char *)p + texts[i].at) == NULL) return false;
    }
    return true;
}

static bool add_energy(cJSON *json, const Profile *p)
{
    if (!p->has_energy)
        return cJSON_AddNullToObject(json, "energy") != NULL && cJSON_AddStringToObject(json, "no_energy", p->no_energy) != NULL;
    cJSON *energy = cJSON_AddObjectToObject(json, "energy");
    return energy != NULL && add_texts(energy, p, true) && add_numbers(energy, p, terms, COUNT(terms))
        && cJSON_AddNumberToObject(energy, "observations", p->observations) != NULL && add_numbers(energy, p, fit, COUNT(fit));
}

cJSON *profile_json(const Profile *p)
{
    cJSON *json = cJSON_CreateObject();
    bool good = json != NULL && cJSON_AddStringToObject(json, "schema", PROFILE_SCHEMA) != NULL && add_texts(json, p, false)
        && cJSON_AddNumberToObject(json, "cores", p->cores) != NULL;
    cJSON *speeds = good ? cJSON_AddObjectToObject(json, "peaks") : NULL;
    if (speeds != NULL && add_numbers(speeds, p, peaks, COUNT(peaks)) && add_energy(json, p)) return json;
    cJSON_Delete(json);
    return NULL;
}

static Status wrong(const char *name, const char *key, const char *expected, Err *err)
{
    return err_set(err, ERR_DATA, "%s: machine profile: '%s': expected %s; 'pare probe --calibrate' makes a new one", name, key, expected);
}

static Status read_numbers(const cJSON *json, Profile *p, const Field *fields, size_t count, const char *name, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, fields[i].name);
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || !isfinite(item->valuedouble))
            return wrong(name, fields[i].name, "a number of 0 or more", err);
        memcpy((char *)p + fields[i].at, &item->valuedouble, sizeof(double));
    }
    return OK;
}

static Status read_texts(const cJSON *json, Profile *p, bool of_energy, const char *name, Err *err)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (texts[i].of_energy != of_energy) continue;
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, texts[i].name);
        if (!cJSON_IsString(item) || strlen(item->valuestring) >= texts[i].size) return wrong(name, texts[i].name, "a text", err);
        for (const char *c = item->valuestring; *c != '\0'; c++)
            if ((unsigned char)*c < 32 || *c == 127) return wrong(name, texts[i].name, "a text without control characters", err);
        snprintf((char *)p + texts[i].at, texts[i].size, "%s", item->valuestring);
    }
    return OK;
}

static Status read_profile(const cJSON *json, const char *name, Profile *p, Err *err)
{
    const cJSON *schema = cJSON_GetObjectItemCaseSensitive(json, "schema"), *cores = cJSON_GetObjectItemCaseSensitive(json, "cores");
    if (!cJSON_IsString(schema) || strcmp(schema->valuestring, PROFILE_SCHEMA) != 0) return wrong(name, "schema", PROFILE_SCHEMA, err);
    if (!cJSON_IsNumber(cores) || !(cores->valuedouble >= 1 && cores->valuedouble <= 65536)) return wrong(name, "cores", "a number", err);
    p->cores = (int)cores->valuedouble;
    TRY(read_texts(json, p, false, name, err));
    TRY(read_numbers(cJSON_GetObjectItemCaseSensitive(json, "peaks"), p, peaks, COUNT(peaks), name, err));
    const cJSON *energy = cJSON_GetObjectItemCaseSensitive(json, "energy");
    const cJSON *observations = cJSON_GetObjectItemCaseSensitive(energy, "observations");
    const cJSON *why = cJSON_GetObjectItemCaseSensitive(json, "no_energy");
    if (cJSON_IsNull(energy)) {
        snprintf(p->no_energy, sizeof p->no_energy, "%.159s", cJSON_IsString(why) ? why->valuestring : "it does not say why");
        return OK;
    }
    if (!cJSON_IsObject(energy)) return wrong(name, "energy", "an object or null", err);
    if (!cJSON_IsNumber(observations) || !(observations->valuedouble >= 0 && observations->valuedouble < 1e6))
        return wrong(name, "observations", "a number", err);
    p->observations = (int)observations->valuedouble;
    TRY(read_texts(energy, p, true, name, err));
    TRY(read_numbers(energy, p, terms, COUNT(terms), name, err));
    TRY(read_numbers(energy, p, fit, COUNT(fit), name, err));
    p->has_energy = true;
    return OK;
}

Status profile_parse(const char *text, size_t size, const char *name, Profile *out, Err *err)
{
    *out = (Profile){ .cores = 0 };
    if (size > PROFILE_BYTES) return err_set(err, ERR_DATA, "%s: %zu bytes are no machine profile", name, size);
    cJSON *json = cJSON_ParseWithLength(text, size); /* it bounds its own depth */
    Status status = cJSON_IsObject(json) ? read_profile(json, name, out, err)
        : err_set(err, ERR_DATA, "%s: not a JSON object, expected a machine profile", name);
    cJSON_Delete(json);
    return status;
}

Status profile_load(const char *path, Profile *out, Err *err)
{
    Mapping *m = NULL;
    TRY(mapping_open(path, PROFILE_BYTES, &m, err));
    Status status = profile_parse((const char *)m->data, m->size, path, out, err);
    mapping_unref(m);
    return status;
}

static cJSON *number_schema(const char *help)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "number");
    cJSON_AddNumberToObject(schema, "minimum", 0);
    cJSON_AddStringToObject(schema, "description", help);
    return schema;
}

static void require(cJSON *schema, const char *name, cJSON *item)
{
    cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
    if (required == NULL) required = cJSON_AddArrayToObject(schema, "required");
    cJSON_AddItemToArray(required, cJSON_CreateString(name));
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(schema, "properties"), name, item);
}

static cJSON *object_schema(const char *type)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", type);
    cJSON_AddObjectToObject(schema, "properties");
    return schema;
}

static void require_texts(cJSON *schema, bool of_energy)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (texts[i].of_energy != of_energy) continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "type", "string");
        cJSON_AddStringToObject(item, "description", texts[i].help);
        require(schema, texts[i].name, item);
    }
}

cJSON *profile_schema(void)
{
    cJSON *schema = object_schema("object"), *id = cJSON_CreateObject(), *speeds = object_schema("object");
    cJSON *energy = object_schema("object"), *either = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(either, "anyOf");
    cJSON *null = cJSON_CreateObject(), *why = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(schema, "title", "machine profile of pare probe --calibrate");
    cJSON_AddStringToObject(id, "const", PROFILE_SCHEMA);
    require(schema, "schema", id);
    require_texts(schema, false);
    require(schema, "cores", number_schema("cores that were used"));
    for (size_t i = 0; i < COUNT(peaks); i++) require(speeds, peaks[i].name, number_schema(peaks[i].help));
    require(schema, "peaks", speeds);
    require_texts(energy, true);
    for (size_t i = 0; i < COUNT(terms); i++) require(energy, terms[i].name, number_schema(terms[i].help));
    require(energy, "observations", number_schema("runs that were fitted"));
    for (size_t i = 0; i < COUNT(fit); i++) require(energy, fit[i].name, number_schema(fit[i].help));
    cJSON_AddStringToObject(null, "type", "null");
    cJSON_AddItemToArray(any, null);
    cJSON_AddItemToArray(any, energy);
    require(schema, "energy", either);
    cJSON_AddStringToObject(why, "type", "string");
    cJSON_AddStringToObject(why, "description", "why there is no energy");
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(schema, "properties"), "no_energy", why);
    return schema;
}

/* The installation's id is meant to stay here: only a hash of it with our name leaves (machine-id(5)). */
static void machine_hash(char text[17])
{
    char id[64], both[128], hash[HASH_TEXT];
    text[0] = '\0';
    if (tree_text(NULL, "/etc/machine-id", id, sizeof id) != 0 || strlen(id) < 16) return;
    snprintf(both, sizeof both, PROFILE_SCHEMA "\n%s", id);
    hash_bytes(both, strlen(both), hash);
    snprintf(text, 17, "%.16s", hash);
}

bool profile_is_local(const Profile *p)
{
    char here[17];
    MachineInfo m;
    machine_hash(here);
    machine_info(&m);
    return here[0] != '\0' && strcmp(here, p->machine) == 0 && strcmp(m.cpu, p->cpu) == 0;
}

void profile_name_machine(Profile *p)
{
    MachineInfo m;
    machine_info(&m);
    machine_hash(p->machine);
    memcpy(p->cpu, m.cpu, sizeof p->cpu);
    memcpy(p->os, m.os, sizeof p->os);
    memcpy(p->isa, m.isa, sizeof p->isa);
    p->cores = m.cores;
}
