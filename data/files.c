/* A folder of .npz files: samples of varying shape. Each file is opened as a data set of its own (arrays named as the inputs, or a section
 * that holds for each file); their samples follow each other in the order of the files' names, and each goes through alone, or with
 * as many as the network fixes. One file is open at a time, so memory does not grow with their number. */
#include "data/dataset_internal.h"

#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_FILES 1000000

typedef struct File {
    char *path;
    int64_t first; /* sample */
} File;

struct Files {
    Graph *graph;     /* what files are opened for */
    cJSON *section;   /* NULL: none */
    DataOptions options;
    File *files;
    size_t count, capacity;
    Dataset *open;    /* of file `at`; NULL: none yet */
    size_t at;
};

static bool is_npz(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && name[0] != '.' && strcmp(name + length - 4, ".npz") == 0;
}

bool folder_has_npz(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *e; folder != NULL && !found && (e = readdir(folder)) != NULL;) found = is_npz(e->d_name);
    if (folder != NULL) closedir(folder);
    char *pb = path_join(path, "input_0.pb");
    bool other = pb != NULL && access(pb, F_OK) == 0;
    free(pb);
    return found && !other;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const File *)a)->path, ((const File *)b)->path);
}

static Status list_files(Files *f, const char *path, Err *err)
{
    DIR *folder = opendir(path);
    if (folder == NULL) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    Status status = OK;
    for (struct dirent *e; status == OK && (e = readdir(folder)) != NULL;) {
        if (!is_npz(e->d_name)) continue;
        if (f->count == MAX_FILES) {
            status = err_set(err, ERR_UNSUPPORTED, "%s: more than %d .npz files", path, MAX_FILES);
        } else if (!array_grow((void **)&f->files, &f->capacity, f->count + 1, sizeof *f->files) ||
                   (f->files[f->count].path = path_join(path, e->d_name)) == NULL) {
            status = err_no_memory(err, "a list of files");
        } else {
            f->count++;
        }
    }
    closedir(folder);
    if (status == OK) qsort(f->files, f->count, sizeof *f->files, by_path);
    return status;
}

/* Which samples are taken is said of one array of samples, not of many files. */
static Status check_section(const Section *s, const char *path, Err *err)
{
    unsigned given = s->sampling.given | (s->has_label ? s->label.sampling.given : 0);
    for (int i = 0; i < s->input_count; i++) given |= s->inputs[i].sampling.given;
    if ((given & SAMPLE_SELECTS) == 0) return OK;
    return err_set(err, ERR_USAGE, "data section: 'rows', 'first', 'every' and 'shuffle' do not apply to %s, a folder of .npz files", path);
}

static Status open_one(Files *f, size_t i, const char *folder, Dataset **out, Err *err)
{
    Section section;
    if (f->section == NULL) {
        TRY(section_init(&section, f->files[i].path, err));
    } else {
        TRY(section_parse(f->section, &section, err));
        Status status = check_section(&section, folder, err);
        if (status != OK) {
            section_release(&section);
            return status;
        }
    }
    return dataset_open_section(&section, f->files[i].path, NULL, f->graph, &f->options, out, err);
}

/* Opens the file that holds sample `first`; *at: where it starts. */
static Status seek(Dataset *d, int64_t first, int64_t *at, Err *err)
{
    Files *f = d->files;
    size_t low = 0, high = f->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (f->files[middle].first <= first) low = middle;
        else high = middle;
    }
    if (f->open == NULL || f->at != low) {
        dataset_free(f->open);
        f->open = NULL;
        TRY(open_one(f, low, d->file_path, &f->open, err));
        f->at = low;
        int64_t end = low + 1 < f->count ? f->files[low + 1].first : d->samples;
        if (dataset_samples(f->open) != end - f->files[low].first) {
            dataset_free(f->open);
            f->open = NULL;
            return err_set(err, ERR_DATA, "%s: changed while it was in use", f->files[low].path);
        }
    }
    *at = first - f->files[low].first;
    return OK;
}

static Status files_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Err *err)
{
    int64_t at;
    TRY(seek(d, first, &at, err));
    return dataset_read(d->files->open, at, count, inputs, NULL, err);
}

static Status files_labels(Dataset *d, int64_t first, int64_t count, Tensor *labels, Err *err)
{
    int64_t at;
    TRY(seek(d, first, &at, err));
    Dataset *open = d->files->open;
    return labels_read(&open->label, at, count, open->has_ignore, open->ignore, labels, err);
}

static Status files_expected(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err)
{
    int64_t at;
    TRY(seek(d, first, &at, err));
    return dataset_read_expected(d->files->open, output, at, count, out, err);
}

static Status files_hash(Dataset *d, Hash *h, Err *err)
{
    int64_t at;
    for (size_t i = 0; i < d->files->count; i++) {
        TRY(seek(d, d->files->files[i].first, &at, err));
        Dataset *open = d->files->open;
        TRY(open->kind->hash(open, h, err));
    }
    return OK;
}

static void files_release(Dataset *d)
{
    Files *f = d->files;
    if (f != NULL) {
        dataset_free(f->open);
        for (size_t i = 0; i < f->count; i++) free(f->files[i].path);
        free(f->files);
        graph_free(f->graph);
        cJSON_Delete(f->section);
        free(f);
    }
    free(d->has_expected);
    free(d->file_path);
}

static const DatasetKind files_kind = { files_read, files_expected, files_hash, files_release, files_labels };

/* What all files must agree in is taken from the first. */
static Status add_file(Dataset *d, size_t i, const Dataset *one, Err *err)
{
    const char *path = d->files->files[i].path;
    if (i == 0) {
        d->has_label = one->has_label;
        d->class_axis = one->class_axis;
        d->has_ignore = one->has_ignore;
        d->ignore = one->ignore;
        d->fixed = one->fixed;
    }
    if (d->has_label != one->has_label)
        return err_set(err, ERR_DATA, "%s: %s", path, one->has_label ? "has labels, the files before it have none"
                                                                     : "has no labels, the files before it have them");
    for (int k = 0; k < d->output_count; k++) d->has_expected[k] = (i == 0 || d->has_expected[k]) && dataset_has_expected(one, k);
    d->files->files[i].first = d->samples;
    if (!add_i64(d->samples, dataset_samples(one), &d->samples)) return err_set(err, ERR_DATA, "%s: too many samples", path);
    return OK;
}

static Status scan(Dataset *d, const char *path, const Graph *g, const cJSON *section, const DataOptions *options, Err *err)
{
    Files *f = d->files = alloc_zeroed(1, sizeof *f);
    d->file_path = strdup(path);
    d->has_expected = alloc_zeroed((size_t)d->output_count + 1, sizeof *d->has_expected);
    if (f == NULL || d->file_path == NULL || d->has_expected == NULL) return err_no_memory(err, "a data set");
    f->options = *options;
    f->options.folder = NULL;
    f->options.log = NULL; /* a section holds for each file: that one has fewer samples is the rule */
    if (section != NULL && (f->section = cJSON_Duplicate(section, true)) == NULL) return err_no_memory(err, "a data section");
    TRY(graph_clone(g, &f->graph, err));
    TRY(list_files(f, path, err));
    for (size_t i = 0; i < f->count; i++) {
        Dataset *one;
        TRY(open_one(f, i, path, &one, err));
        Status status = add_file(d, i, one, err);
        dataset_free(one);
        TRY(status);
    }
    d->batched = true;
    d->one_by_one = d->fixed <= 1;
    return OK;
}

Status dataset_open_files(const char *path, const Graph *g, const cJSON *section, const DataOptions *options, Dataset **out, Err *err)
{
    Dataset *d;
    TRY(dataset_new(g, &files_kind, &d, err));
    Status status = scan(d, path, g, section, options, err);
    if (status != OK) dataset_free(d);
    else *out = d;
    return status;
}
