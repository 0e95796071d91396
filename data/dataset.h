/* Arrays on disk become network inputs: which array, which rows, in which order, cast, scaled, transposed. Memory does not grow with
 * the number of samples. */
#ifndef PARE_DATA_DATASET_H
#define PARE_DATA_DATASET_H

#include "base/log.h"
#include "base/hash.h"
#include "graph/graph.h"

#include <cjson/cJSON.h>

typedef struct Dataset Dataset;

/* The keys of a data section, for the schema and the documentation; data_keys ends with name NULL. */
enum { DATA_TOP = 1, DATA_INPUT = 2, DATA_LABEL = 4 }; /* where a key may stand: top level, an entry of "inputs", a "label" object */
typedef struct DataKey {
    const char *name;
    const char *type;     /* JSON types: "string", "integer", "boolean", "integer|null", "number|number[]", "integer[]", "object" ... */
    const char *fallback; /* as JSON text; NULL: none */
    unsigned where;
    const char *help;     /* one sentence, lower case, no full stop */
} DataKey;
extern const DataKey data_keys[];

typedef struct DataOptions {
    const char *folder;  /* paths of a section are relative to it; NULL: the current one */
    uint64_t max_mem;
    bool want_labels;    /* an array "label" of a plain .npz counts as labels */
    bool labels_if_fit;  /* the same, but one that cannot be labels (no integers, other samples) is left alone */
    bool expect_nonfinite; /* allow NaN and infinity in inputs (default: ERR_DATA names array and index) */
    Log *log;            /* is warned where a section asks for more samples than there are; NULL: nobody */
} DataOptions;

/* --data: an .npz, a folder of .npz files, a folder of input_k.pb / output_k.pb, or a .json data section; the graph gives the inputs'
 * names, types and ranks.
 * Axis 0 counts the samples, unless the arrays fit as they are and axis 0 cannot count them: an input without axes, one of another fixed
 * length, or a symbol that also stands for another axis ([N,N]); then the arrays are one sample as a whole. With a label object's
 * rows, first, every or shuffle, such a whole has labels at the chosen positions of axis 0 only; the others get the label to ignore.
 * The files of a folder of .npz hold the same arrays, each in its own shape (sequences of various lengths); their samples follow each
 * other in the order of the files' names and go through one at a time. A section about such a folder holds for each file. */
Status dataset_open(const char *path, const Graph *g, const DataOptions *options, Dataset **out, Err *err);
/* A "data" entry of a recipe: a string as above, or an object { "file", "inputs", "label", "first", ... }. Unknown keys: ERR_USAGE. */
Status dataset_open_json(const cJSON *section, const Graph *g, const DataOptions *options, Dataset **out, Err *err);
/* Seeded standard normal (floats) or small-range (integers: [0, 2), booleans) inputs for networks without data. `shapes` one per feed,
 * as for one call; axis 0 counts the samples where every input has one and it is the same for all, else each sample is a set of
 * whole inputs of these shapes, read one at a time. A sample's values depend on seed, input and its index only. */
Status dataset_random(const Graph *g, const Shape *shapes, int64_t samples, uint64_t seed, Dataset **out, Err *err);
void dataset_free(Dataset *d);

int64_t dataset_samples(const Dataset *d); /* along the sample axis; 1 when the arrays are one sample as a whole */
const char *dataset_path(const Dataset *d); /* the file or folder of the arrays; NULL: random data */
bool dataset_has_labels(const Dataset *d);
bool dataset_batched(const Dataset *d);    /* false: the whole is one sample and goes through in one call */
bool dataset_varies(const Dataset *d);     /* samples may differ in shape */
int dataset_class_axis(const Dataset *d);  /* of the logits; -1: last */
bool dataset_ignore_label(const Dataset *d, int64_t *label);
/* The batch to use: `want` (0: 32), but what the network's own dimensions fix, and never more than there are samples. */
int64_t dataset_batch(const Dataset *d, int64_t want);

/* Samples [first, first + count): one tensor per graph_feeds input, in order, aligned; `labels` int64 (may be NULL). Caller releases. */
Status dataset_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Tensor *labels, Err *err);
/* Expected outputs, from the output_k.pb of a folder or arrays named as the network's outputs (with as many samples as the inputs). */
bool dataset_has_expected(const Dataset *d, int output); /* by output index */
/* As stored, samples [first, first + count); the whole array where the data is one sample. Caller releases. */
Status dataset_read_expected(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err);
Status dataset_hash(Dataset *d, char text[HASH_TEXT], Err *err); /* of the files' bytes and the canonical section */

#endif
