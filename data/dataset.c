/* Datasets whatever their kind: opening by what the path is, and the questions every kind answers alike. */
#include "data/dataset_internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_SECTION ((size_t)16 << 20) /* bytes of a .json data section */
#define DEFAULT_BATCH 32

static Status copy_feeds(const Graph *g, Dataset *d, Err *err)
{
    ValueId ids[MAX_FEEDS];
    int count = graph_feeds(g, ids, MAX_FEEDS);
    if (count > MAX_FEEDS) return err_set(err, ERR_UNSUPPORTED, "network has %d inputs; at most %d are fed", count, MAX_FEEDS);
    d->feeds = alloc_zeroed((size_t)count + 1, sizeof *d->feeds);
    d->outputs = alloc_zeroed((size_t)g->output_count + 1, sizeof *d->outputs);
    if (d->feeds == NULL || d->outputs == NULL) return err_no_memory(err, "a data set");
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, ids[i]);
        Feed *f = &d->feeds[d->feed_count++];
        if (memchr(v->name.data, 0, v->name.len) != NULL)
            return err_set(err, ERR_UNSUPPORTED, "network input '%s' has a NUL in its name", v->name.data);
        *f = (Feed){ .name = strndup(v->name.data, v->name.len), .type = v->type, .shape = v->shape };
        if (f->name == NULL) return err_no_memory(err, "a data set");
    }
    for (int i = 0; i < g->output_count; i++) {
        Str name = graph_value(g, g->outputs[i])->name;
        d->outputs[d->output_count++] = strndup(name.data, name.len);
        if (d->outputs[i] == NULL) return err_no_memory(err, "a data set");
    }
    return OK;
}

Status dataset_new(const Graph *g, const DatasetKind *kind, Dataset **out, Err *err)
{
    Dataset *d = alloc_zeroed(1, sizeof *d);
    if (d == NULL) return err_no_memory(err, "a data set");
    d->kind = kind;
    d->class_axis = -1;
    Status status = copy_feeds(g, d, err);
    if (status != OK) dataset_free(d);
    else *out = d;
    return status;
}

void dataset_free(Dataset *d)
{
    if (d == NULL) return;
    d->kind->release(d);
    for (int i = 0; i < d->feed_count; i++) free(d->feeds[i].name);
    for (int i = 0; i < d->output_count; i++) free(d->outputs[i]);
    free(d->feeds);
    free(d->outputs);
    free(d);
}

static bool begins_json(const Mapping *m)
{
    size_t i = 0;
    while (i < m->size && strchr(" \t\r\n", m->data[i]) != NULL && m->data[i] != 0) i++;
    return i < m->size && m->data[i] == '{';
}

/* The line that cJSON stopped at. */
static Status not_json(const char *path, const char *text, const char *end, Err *err)
{
    int line = 1;
    for (const char *c = text; c < end && *c != '\0'; c++) line += *c == '\n';
    return err_set(err, ERR_USAGE, "%s: not JSON at line %d", path, line);
}

static Status open_json_file(const char *path, const Mapping *m, const Graph *g, const DataOptions *options, Dataset **out, Err *err)
{
    if (m->size > MAX_SECTION) return err_set(err, ERR_DATA, "%s: %zu bytes are too many for a data section", path, m->size);
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts((const char *)m->data, m->size, &end, false);
    if (json == NULL) {
        char *text = strndup((const char *)m->data, m->size);
        Status status = text == NULL ? err_no_memory(err, "a data section")
                                     : not_json(path, text, text + (end - (const char *)m->data), err);
        free(text);
        return status;
    }
    char *folder = path_folder(path);
    DataOptions inner = *options;
    inner.folder = folder;
    Status status = folder == NULL ? err_no_memory(err, "a path") : dataset_open_json(json, g, &inner, out, err);
    if (status != OK && status != ERR_MEMORY) err_prefix(err, "%s", path);
    free(folder);
    cJSON_Delete(json);
    return status;
}

Status dataset_open(const char *path, const Graph *g, const DataOptions *options, Dataset **out, Err *err)
{
    struct stat info;
    if (stat(path, &info) != 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return folder_has_npz(path) ? dataset_open_files(path, g, NULL, options, out, err)
                                    : dataset_open_folder(path, g, options, out, err);
    Mapping *m = NULL;
    TRY(mapping_open(path, 0, &m, err));
    Status status;
    if (begins_json(m)) {
        status = open_json_file(path, m, g, options, out, err);
    } else {
        Section section;
        status = section_init(&section, path, err);
        if (status == OK) status = dataset_open_section(&section, path, m, g, options, out, err);
    }
    mapping_unref(m);
    return status;
}

/* A section about a folder of .pb has nothing more to say. */
static Status open_section_folder(const cJSON *json, const char *path, const Graph *g, const DataOptions *options, Dataset **out, Err *err)
{
    for (const cJSON *v = json->child; v != NULL; v = v->next) {
        if (strcmp(v->string, "file") != 0)
            return err_set(err, ERR_USAGE, "data section: '%s' does not apply to %s, a folder of input_k.pb", v->string, path);
    }
    return dataset_open_folder(path, g, options, out, err);
}

Status dataset_open_json(const cJSON *json, const Graph *g, const DataOptions *options, Dataset **out, Err *err)
{
    Section section;
    struct stat info;
    const char *folder = options->folder != NULL ? options->folder : ".";
    if (cJSON_IsString(json)) {
        char *path = path_join(folder, json->valuestring);
        Status status = path == NULL ? err_no_memory(err, "a path") : dataset_open(path, g, options, out, err);
        free(path);
        return status;
    }
    TRY(section_parse(json, &section, err));
    char *path = path_join(folder, section.file);
    Status status;
    if (path != NULL && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = folder_has_npz(path) ? dataset_open_files(path, g, json, options, out, err)
                                      : open_section_folder(json, path, g, options, out, err);
        section_release(&section);
    } else if (path == NULL) {
        status = err_no_memory(err, "a path");
        section_release(&section);
    } else {
        status = dataset_open_section(&section, path, NULL, g, options, out, err);
    }
    free(path);
    return status;
}

int64_t dataset_samples(const Dataset *d) { return d->samples; }
const char *dataset_path(const Dataset *d) { return d->file_path; }
bool dataset_has_labels(const Dataset *d) { return d->has_label; }
bool dataset_batched(const Dataset *d) { return d->batched; }
bool dataset_varies(const Dataset *d) { return d->files != NULL; }
int dataset_class_axis(const Dataset *d) { return d->class_axis; }

bool dataset_ignore_label(const Dataset *d, int64_t *label)
{
    if (d->has_ignore) *label = d->ignore;
    return d->has_ignore;
}

int64_t dataset_batch(const Dataset *d, int64_t want)
{
    if (d->fixed > 0) return d->fixed;
    if (!d->batched || d->one_by_one) return 1;
    int64_t batch = want > 0 ? want : DEFAULT_BATCH;
    return batch < d->samples ? batch : d->samples;
}

Status dataset_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Tensor *labels, Err *err)
{
    if (first < 0 || count < 1 || first > d->samples - count || (d->one_by_one && count != 1))
        return err_set(err, ERR_BUG, "samples [%lld, %lld) of %lld were asked for", (long long)first, (long long)(first + count),
                       (long long)d->samples);
    for (int i = 0; i < d->feed_count; i++) inputs[i] = (Tensor){ 0 };
    if (labels != NULL) *labels = (Tensor){ 0 };
    Status status = d->kind->read(d, first, count, inputs, err);
    if (status == OK && labels != NULL && d->has_label)
        status = d->kind->labels != NULL ? d->kind->labels(d, first, count, labels, err)
                                         : labels_read(&d->label, first, count, d->has_ignore, d->ignore, labels, err);
    if (status != OK) {
        for (int i = 0; i < d->feed_count; i++) tensor_release(&inputs[i]);
        bool named = d->file_path == NULL || err == NULL || strncmp(err->text, d->file_path, strlen(d->file_path)) == 0;
        if (!named) err_prefix(err, "%s", d->file_path);
    }
    return status;
}

bool dataset_has_expected(const Dataset *d, int output)
{
    if (output < 0 || output >= d->output_count) return false;
    if (d->has_expected != NULL) return d->has_expected[output];
    return d->expected != NULL && d->expected[output].what != NULL;
}

Status dataset_read_expected(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err)
{
    if (!dataset_has_expected(d, output)) return err_set(err, ERR_BUG, "no expected output %d", output);
    return d->kind->expected(d, output, first, count, out, err);
}

Status dataset_hash(Dataset *d, char text[HASH_TEXT], Err *err)
{
    if (d->hash[0] == '\0') {
        Hash *h = hash_new();
        if (h == NULL) return err_no_memory(err, "a hash");
        Status status = d->kind->hash(d, h, err);
        hash_finish(h, d->hash);
        if (status != OK) {
            d->hash[0] = '\0';
            return status;
        }
    }
    memcpy(text, d->hash, HASH_TEXT);
    return OK;
}
