/* Choosing the format of a file. */
#include "graph/format.h"

#include "formats/list.h"

#include <string.h>

#define X(entry) extern const Format entry;
FORMAT_LIST(X)
#undef X

static const Format *const all[] = {
#define X(entry) &entry,
    FORMAT_LIST(X)
#undef X
    NULL,
};

const Format *const *formats_all(void)
{
    return all;
}

static bool has_extension(const Format *f, const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash != NULL ? slash : path, '.');
    if (dot == NULL || dot[1] == '\0') return false;
    size_t n = strlen(dot + 1);
    for (const char *at = f->extensions; *at != '\0';) {
        size_t part = strcspn(at, "|");
        if (part == n && strncasecmp(at, dot + 1, n) == 0) return true;
        at += part + (at[part] == '|');
    }
    return false;
}

static const Format *by_extension(const char *path)
{
    for (size_t i = 0; all[i] != NULL; i++) {
        if (has_extension(all[i], path)) return all[i];
    }
    return NULL;
}

Status model_load_mapping(Mapping *file, const char *path, const LoadOptions *options, Graph **out, Err *err)
{
    static const LoadOptions defaults;
    const Format *format = NULL;
    if (options == NULL) options = &defaults;
    if (file->size == 0) return err_set(err, ERR_DATA, "%s: the file is empty", path);
    for (size_t i = 0; format == NULL && all[i] != NULL; i++) {
        if (all[i]->probe(file->data, file->size)) format = all[i];
    }
    if (format == NULL) format = by_extension(path);
    if (format == NULL) return err_set(err, ERR_DATA, "%s: no known model format (see `pare list formats`)", path);
    Status status = format->load(file, options, out, err);
    if (status != OK) err_prefix(err, "%s", path);
    return status;
}

Status model_load(const char *path, const LoadOptions *options, Graph **out, Err *err)
{
    Mapping *file = NULL;
    TRY(mapping_open(path, options != NULL ? options->max_mem : 0, &file, err));
    Status status = model_load_mapping(file, path, options, out, err);
    mapping_unref(file);
    return status;
}

Status model_save(Graph *g, const char *path, const SaveOptions *options, Err *err)
{
    static const SaveOptions defaults;
    if (options == NULL) options = &defaults;
    const Format *format = by_extension(path);
    for (size_t i = 0; format == NULL && g->origin != NULL && all[i] != NULL; i++) {
        if (strcmp(all[i]->name, g->origin->format) == 0) format = all[i];
    }
    if (format == NULL) format = all[0];
    if (format->save == NULL) return err_set(err, ERR_UNSUPPORTED, "%s: %s files can be read, not written", path, format->name);
    return format->save(g, path, options, err);
}
