/* Strict reading of JSON documents that people write: positions in messages, no duplicate keys, bounded depth. */
#ifndef PARE_PIPELINE_JSON_READ_H
#define PARE_PIPELINE_JSON_READ_H

#include "base/status.h"
#include "base/str.h"

#include <cjson/cJSON.h>

#define JSON_MAX_DEPTH 32

/* The text need not end in NUL. ERR_USAGE with line and column. `name` stands in messages. */
Status json_parse_strict(const char *text, size_t size, const char *name, cJSON **out, Err *err);
/* Where in the document a message points: "passes[1].layers[0]". */
typedef struct JsonPath {
    const char *name; /* of the document */
    char text[256];
} JsonPath;
JsonPath json_path_key(const JsonPath *parent, const char *key);
JsonPath json_path_index(const JsonPath *parent, int index);
/* "recipe.json: passes[1]", for the front of a message */
void json_path_print(const JsonPath *p, char *text, size_t size);
const char *json_type_name(const cJSON *item);

#endif
