/* Documents as tables of fields: the JSON of a struct and its schema from one table, keys in the table's order. */
#ifndef PARE_PIPELINE_FIELDS_H
#define PARE_PIPELINE_FIELDS_H

#include <stddef.h>

#include <cjson/cJSON.h>

typedef enum FieldType {
    FIELD_INT,    /* int64_t; below zero: null */
    FIELD_NUMBER, /* double; not finite: null */
    FIELD_BOOL,   /* bool */
    FIELD_CHARS,  /* char array inside the struct; empty: null */
    FIELD_TEXT,   /* char *; NULL: null */
    FIELD_JSON,   /* cJSON *, copied; NULL: null */
    FIELD_OBJECT, /* a struct inside the struct */
    FIELD_INLINE, /* the same, its fields beside those of the struct that holds it */
    FIELD_LIST,   /* pointer to structs, their number an int at count_at */
    FIELD_CINT,   /* int */
    FIELD_ENUM,   /* an enum whose text `text` gives */
    FIELD_TEXTS,  /* char[][item_size], their number an int at count_at */
} FieldType;

typedef struct Field {
    const char *name;
    FieldType type;
    size_t at;
    const struct Field *fields; /* OBJECT, INLINE, LIST */
    size_t count_at, item_size; /* LIST, TEXTS */
    const char *(*text)(int value); /* ENUM */
    const char *help;
} Field;

#define FIELD_END { .name = NULL }
#define F(Type, kind, member, words) { .name = #member, .type = kind, .at = offsetof(Type, member), .help = words }
#define FO(Type, member, table, words) \
    { .name = #member, .type = FIELD_OBJECT, .at = offsetof(Type, member), .fields = table, .help = words }
#define FI(Type, member, table) { .name = #member, .type = FIELD_INLINE, .at = offsetof(Type, member), .fields = table }
#define FL(Type, member, count, Item, table, words) \
    { .name = #member, .type = FIELD_LIST, .at = offsetof(Type, member), .fields = table, .count_at = offsetof(Type, count), \
      .item_size = sizeof(Item), .help = words }

/* The object of a struct; NULL when out of memory. */
cJSON *fields_json(const Field *fields, const void *base);
/* JSON Schema 2020-12 of such an object, every key required and no other allowed. */
cJSON *fields_schema(const Field *fields);
/* The same as a document of its own. */
cJSON *fields_document_schema(const Field *fields, const char *title);

#endif
