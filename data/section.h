/* A data section as a table of facts: which array, which samples of it, and what is done to the numbers. */
#ifndef PARE_DATA_SECTION_H
#define PARE_DATA_SECTION_H

#include "base/arena.h"
#include "graph/tensor.h"

#include <cjson/cJSON.h>

typedef struct Numbers {
    const double *at;
    int count; /* 0: not given */
    bool list; /* one per entry of the channel axis, else one for all */
} Numbers;

enum { SAMPLE_ROWS = 1, SAMPLE_FIRST = 2, SAMPLE_EVERY = 4, SAMPLE_SHUFFLE = 8, SAMPLE_SEED = 16, SAMPLE_AXIS = 32 };
#define SAMPLE_SELECTS (SAMPLE_ROWS | SAMPLE_FIRST | SAMPLE_EVERY | SAMPLE_SHUFFLE)

typedef struct Sampling {
    unsigned given;   /* SAMPLE_ bits of the keys that were there */
    const char *rows; /* array of indices; NULL: all rows */
    int64_t first;    /* 0: all */
    int64_t every;    /* 1: each */
    bool shuffle;
    uint64_t seed;
    bool whole;       /* sample-axis null: the array is one sample */
    int axis;         /* of the stored array; negative from the end */
} Sampling;

typedef struct ArraySpec {
    const char *input; /* name of the network's input; NULL for labels */
    const char *array; /* NULL: the input's name */
    Sampling sampling; /* top level's, overridden */
    Numbers scale, mean, std;
    int channel_axis;  /* of the stored array; negative from the end */
    int transpose[MAX_RANK], transpose_count; /* 0: as stored */
    int expand[MAX_RANK], expand_count;
} ArraySpec;

typedef struct Section {
    Arena *arena;      /* everything below */
    const char *file;
    ArraySpec *inputs;
    int input_count;
    bool has_label, no_label; /* "label" given; given as null */
    ArraySpec label;
    Sampling sampling; /* top level */
    int class_axis;
    bool has_ignore;
    int64_t ignore;
} Section;

/* A section without any key: arrays named as the inputs. */
Status section_init(Section *s, const char *file, Err *err);
/* Reads a section object. ERR_USAGE names the key, what was found, what is allowed. Release on success only. */
Status section_parse(const cJSON *json, Section *out, Err *err);
void section_release(Section *s);
const ArraySpec *section_input(const Section *s, const char *input); /* NULL: no entry */

/* One line of text that says everything a spec does, the same for the same meaning. */
void section_print_spec(const ArraySpec *a, StrBuf *b);

#endif
