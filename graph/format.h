/* A file format: probe, load, save. Entries are listed in formats/list.h. */
#ifndef PARE_GRAPH_FORMAT_H
#define PARE_GRAPH_FORMAT_H

#include "base/log.h"
#include "graph/graph.h"

typedef struct LoadOptions {
    uint64_t max_mem; /* bytes; 0: no limit */
    const char *folder; /* folder that external data may live in; NULL: the model file's own */
} LoadOptions;

typedef struct SaveOptions {
    bool force;         /* may replace an input file */
    const char *const *inputs; /* paths of files that were read: never written over unless force; NULL terminated; NULL: none */
    bool external;      /* weights beside the model, whatever the size */
    Log *log;
} SaveOptions;

typedef struct Format {
    const char *name, *summary;
    const char *extensions; /* "onnx|ort" */
    bool has_graph;         /* false: weights only */
    bool (*probe)(const uint8_t *data, size_t size);
    Status (*load)(Mapping *file, const LoadOptions *options, Graph **out, Err *err); /* keeps references to the mapping */
    Status (*save)(Graph *g, const char *path, const SaveOptions *options, Err *err); /* NULL: cannot write. "-": standard output */
} Format;

/* The registered formats, NULL terminated. */
const Format *const *formats_all(void);
/* Opens, probes (contents first, then extension) and loads; binds no ops. */
Status model_load(const char *path, const LoadOptions *options, Graph **out, Err *err);
/* The same for bytes that are already mapped (a reference of its own is taken where needed); `path` gives the extension
 * and stands in messages. */
Status model_load_mapping(Mapping *file, const char *path, const LoadOptions *options, Graph **out, Err *err);
/* By the extension of the output path; else ("-", no known extension) the format the graph came from, else ONNX. */
Status model_save(Graph *g, const char *path, const SaveOptions *options, Err *err);

#endif
