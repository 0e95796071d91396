/* A network with the files it came from: loaded, bound to the op table, verified and inferred; sizes and hash of its bytes. */
#ifndef PARE_PIPELINE_MODEL_H
#define PARE_PIPELINE_MODEL_H

#include "base/hash.h"
#include "graph/format.h"

typedef struct Model {
    Graph *graph;
    Mapping *file;       /* the model file itself */
    Mapping **files;     /* every file it is made of, `file` first */
    int file_count;
    char hash[HASH_TEXT]; /* SHA-256 of all files' bytes, `file` first; empty until model_hash */
} Model;

/* Loads, binds, verifies and infers. `path` may be a pipe. */
Status model_open(const char *path, uint64_t max_mem, Model *out, Err *err);
/* The same from bytes already mapped (takes its own reference); `path` stands in messages, its folder holds external data. */
Status model_open_mapping(Mapping *file, const char *path, uint64_t max_mem, Model *out, Err *err);
void model_release(Model *m);

/* Bytes of all files. */
uint64_t model_bytes(const Model *m);
/* Fills m->hash; reads in blocks and lets the pages go. */
Status model_hash(Model *m, Err *err);
/* Size of all files after zlib at level 9, each by itself; streamed. *out -1 never; ERR_INTERRUPTED when asked to stop. */
Status model_deflated_bytes(const Model *m, Log *log, int64_t *out, Err *err);
/* Engine's view of a changed graph: ops bound, structure verified, shapes inferred. */
Status graph_refresh(Graph *g, Err *err);

#endif
