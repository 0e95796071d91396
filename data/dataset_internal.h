/* A dataset's insides: four kinds (a file of arrays, a folder of such files, a folder of .pb, random numbers) behind one table of
 * functions. */
#ifndef PARE_DATA_DATASET_INTERNAL_H
#define PARE_DATA_DATASET_INTERNAL_H

#include "data/dataset.h"
#include "data/source.h"

#define MAX_FEEDS 256

/* What the network says about one input, copied so that a dataset outlives its graph. */
typedef struct Feed {
    char *name;
    DType type;
    Shape shape; /* rank -1: unknown */
} Feed;

typedef struct DatasetKind {
    Status (*read)(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Err *err);
    Status (*expected)(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err); /* NULL: never any */
    Status (*hash)(Dataset *d, Hash *h, Err *err);
    void (*release)(Dataset *d);
    Status (*labels)(Dataset *d, int64_t first, int64_t count, Tensor *labels, Err *err); /* NULL: from d->label */
} DatasetKind;

typedef struct Files Files; /* data/files.c */

struct Dataset {
    const DatasetKind *kind;
    Feed *feeds;
    int feed_count;
    char **outputs; /* names */
    int output_count;
    int64_t samples, fixed; /* fixed: samples that each call must have, 0: any number */
    bool batched, one_by_one; /* one_by_one: a call takes one sample, which has no axis of its own */
    int class_axis;
    bool has_ignore;
    int64_t ignore;
    char hash[HASH_TEXT]; /* empty until asked for */

    /* a file of arrays */
    Section section;
    ArraySpec *specs; /* one per feed */
    Npz *file;
    char *file_path;
    Source *inputs;
    Source label;
    bool has_label;
    Source *expected;  /* one per output; what NULL where there is none */
    ArraySpec *expected_specs;

    Files *files; /* a folder of .npz */

    /* a folder of .pb, or random numbers */
    Tensor *tensors;          /* folder: one per feed */
    Tensor *expected_tensors; /* folder: one per output */
    bool *has_expected;
    Shape *shapes;            /* random: one per feed */
    uint64_t seed;
};

/* A dataset with the feeds of `g` and nothing else. */
Status dataset_new(const Graph *g, const DatasetKind *kind, Dataset **out, Err *err);
/* Opens the file that an initialised section names, or takes the `file` already mapped. Takes the section over in every case. */
Status dataset_open_section(Section *section, const char *path, Mapping *file, const Graph *g, const DataOptions *options, Dataset **out,
                            Err *err);
/* Whether a folder holds .npz files and no input_0.pb. */
bool folder_has_npz(const char *path);
/* `section`: holds for each file; NULL: none. */
Status dataset_open_files(const char *path, const Graph *g, const cJSON *section, const DataOptions *options, Dataset **out, Err *err);
Status dataset_open_folder(const char *path, const Graph *g, const DataOptions *options, Dataset **out, Err *err);

/* Whether an array fits an input as it is: type (4-bit inputs: one value a byte) and dimensions; axis 0 may hold any number of samples. */
bool feed_takes(const Feed *f, const NpzArray *a);
/* Whether dimensions fit; `sample_axis` -1: all count. */
bool feed_dims_fit(const Feed *f, const Shape *s, int sample_axis);
/* "float32 [N,3,32,32]" */
void feed_print(const Graph *g, int feed, char *text, size_t size);

/* `file: what is wrong; write a data section: {...}` for an array that does not fit input `feed`, or the lack of one (array -1). */
Status suggest_section(const Dataset *d, const Graph *g, int feed, int array, Err *err);

#endif
