#include "pipeline/model.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/engine.h"
#include "graph/verify.h"

#define BLOCK ((size_t)1 << 20)

Status graph_refresh(Graph *g, Err *err)
{
    engine_bind(g);
    TRY(graph_verify(g, err));
    return engine_infer(g, err);
}

/* Adds the file behind a tensor when it is a new one. */
static Status add_file(Model *m, const Tensor *t, Err *err)
{
    Mapping *file = t != NULL && t->buffer != NULL ? t->buffer->mapping : NULL;
    if (file == NULL) return OK;
    for (int i = 0; i < m->file_count; i++) {
        if (m->files[i] == file || (strcmp(m->files[i]->path, file->path) == 0 && m->files[i]->size == file->size)) return OK;
    }
    Mapping **grown = realloc(m->files, (size_t)(m->file_count + 1) * sizeof *grown);
    if (grown == NULL) return err_no_memory(err, "a list of files");
    m->files = grown;
    m->files[m->file_count++] = mapping_ref(file);
    return OK;
}

/* Subgraphs are as deep as the loader lets them be. */
static Status add_files(Model *m, const Graph *g, Err *err)
{
    for (uint32_t v = 1; v <= g->value_count; v++) TRY(add_file(m, g->values[v].tensor, err));
    for (uint32_t n = 1; n <= g->node_count; n++) {
        const Node *node = &g->nodes[n];
        for (int a = 0; !node->removed && a < node->attr_count; a++) {
            const Attr *attr = &node->attrs[a];
            if (attr->type == ATTR_TENSOR) TRY(add_file(m, attr->tensor, err));
            if (attr->type == ATTR_GRAPH && attr->graph != NULL) TRY(add_files(m, attr->graph, err));
            for (int64_t i = 0; attr->type == ATTR_GRAPHS && i < attr->count; i++) TRY(add_files(m, attr->graphs[i], err));
            for (int64_t i = 0; attr->type == ATTR_TENSORS && i < attr->count; i++) TRY(add_file(m, &attr->tensors[i], err));
        }
    }
    return OK;
}

Status model_open_mapping(Mapping *file, const char *path, uint64_t max_mem, Model *out, Err *err)
{
    Status status;
    char *folder = path_folder(path);
    *out = (Model){ 0 };
    if (folder == NULL) return err_no_memory(err, "a path");
    LoadOptions options = { .max_mem = max_mem, .folder = folder };
    TRY_OUT(model_load_mapping(file, path, &options, &out->graph, err));
    out->file = mapping_ref(file);
    out->files = malloc(sizeof *out->files);
    if (out->files == NULL) {
        status = err_no_memory(err, "a list of files");
        goto out;
    }
    out->files[out->file_count++] = mapping_ref(file);
    TRY_OUT(add_files(out, out->graph, err));
    TRY_OUT(graph_refresh(out->graph, err));
out:
    if (status != OK) model_release(out);
    free(folder);
    return status;
}

Status model_open(const char *path, uint64_t max_mem, Model *out, Err *err)
{
    Mapping *file;
    *out = (Model){ 0 };
    TRY(mapping_open(path, max_mem, &file, err));
    Status status = model_open_mapping(file, path, max_mem, out, err);
    mapping_unref(file);
    return status;
}

void model_release(Model *m)
{
    graph_free(m->graph);
    mapping_unref(m->file);
    for (int i = 0; i < m->file_count; i++) mapping_unref(m->files[i]);
    free(m->files);
    *m = (Model){ 0 };
}

uint64_t model_bytes(const Model *m)
{
    uint64_t total = 0;
    for (int i = 0; i < m->file_count; i++) total += m->files[i]->size;
    return total;
}

Status model_hash(Model *m, Err *err)
{
    Hash *h = hash_new();
    if (h == NULL) return err_no_memory(err, "a hash");
    for (int i = 0; i < m->file_count; i++) {
        const Mapping *file = m->files[i];
        for (size_t at = 0; at < file->size; at += BLOCK) {
            size_t n = file->size - at < BLOCK ? file->size - at : BLOCK;
            hash_add(h, file->data + at, n);
            mapping_drop(file, file->data + at, n);
        }
    }
    hash_finish(h, m->hash);
    return OK;
}

static Status deflate_file(const Mapping *file, Log *log, uint8_t *block, int64_t *total, Err *err)
{
    z_stream z = { 0 };
    if (deflateInit(&z, 9) != Z_OK) return err_no_memory(err, "a zlib stream");
    Status status = OK;
    for (size_t at = 0; status == OK && (at < file->size || at == 0);) {
        size_t n = file->size - at < BLOCK ? file->size - at : BLOCK;
        z.next_in = (Bytef *)(uintptr_t)(file->data + at);
        z.avail_in = (uInt)n;
        int flush = at + n == file->size ? Z_FINISH : Z_NO_FLUSH;
        do {
            z.next_out = block;
            z.avail_out = (uInt)BLOCK;
            deflate(&z, flush);
            *total += (int64_t)(BLOCK - z.avail_out);
        } while (z.avail_out == 0);
        mapping_drop(file, file->data + at, n);
        at += n;
        if (!progress_step(log, *total)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
        if (n == 0) break;
    }
    deflateEnd(&z);
    return status;
}

Status model_deflated_bytes(const Model *m, Log *log, int64_t *out, Err *err)
{
    int64_t total = 0;
    uint8_t *block = malloc(BLOCK);
    if (block == NULL) return err_no_memory(err, "a zlib block");
    Status status = OK;
    progress_begin(log, "deflating", 0);
    for (int i = 0; status == OK && i < m->file_count; i++) status = deflate_file(m->files[i], log, block, &total, err);
    progress_end(log);
    free(block);
    *out = total;
    return status;
}
