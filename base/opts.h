/* Option tables: name, type, field, default, range, choices, help, in one place. The command line, recipes, the JSON Schema,
 * --help, the generated documentation and the report all read the same table. */
#ifndef PARE_BASE_OPTS_H
#define PARE_BASE_OPTS_H

#include "base/arena.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum OptType {
    OPT_FLAG,   /* bool */
    OPT_INT,    /* int64_t, in [min, max] */
    OPT_FLOAT,  /* double, in [min, max] */
    OPT_STRING, /* const char * */
    OPT_CHOICE, /* int: index into choices */
    OPT_FILE,   /* const char *: a file the pass writes, opened by the runner */
    OPT_MODELS, /* StrList: networks loaded by the runner, comma separated on the command line */
    OPT_LIST,   /* StrList: comma separated on the command line, an array in a recipe */
    OPT_TEXT,   /* const char *: a text file the pass reads; the runner hands it the text */
    OPT_SAVE,   /* const char *: a text file the pass makes the contents of; the runner writes it */
} OptType;

typedef struct StrList {
    const char **items;
    int count;
} StrList;

typedef struct Opt {
    const char *name;     /* "sparsity": --sparsity=0.5 and "sparsity": 0.5 */
    OptType type;
    size_t field;         /* offsetof in the options struct */
    const char *fallback; /* default as text; NULL leaves the field zero (unset) */
    double min, max;      /* numbers only; both 0: no range */
    const char *choices;  /* OPT_CHOICE: "global|layer" */
    const char *help;     /* one sentence, lower case, no full stop */
    bool per_layer;       /* may be overridden by an entry of "layers" */
    const char *unit;     /* "samples", "bits", or NULL */
} Opt;

/* A table ends with an entry whose name is NULL. */
#define OPT_END { .name = NULL }

/* Fills every field from its default. */
Status opts_defaults(const Opt *table, void *values, Arena *arena, Err *err);
/* Sets one option from its text form; ERR_USAGE names the option, what was found and what is allowed. `who` is the pass or command. */
Status opts_set(const Opt *table, void *values, const char *name, const char *text, const char *who, Arena *arena, Err *err);
/* NULL when there is none; the nearest known name goes to *nearest when not NULL. */
const Opt *opts_find(const Opt *table, const char *name, const char **nearest);
/* The text form of the current value, as opts_set reads it; appended to b. */
void opts_print(const Opt *opt, const void *values, StrBuf *b);
/* Help lines: "  --sparsity=NUMBER   share of weights set to zero (0..1, default 0.5)". */
void opts_help(const Opt *table, StrBuf *b);
/* An end of a range: "0", "0.5", "2^53". */
#define OPTS_BOUND 32
void opts_bound(double value, char text[OPTS_BOUND]);

#endif
