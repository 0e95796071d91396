/* A folder of input_k.pb and output_k.pb, as the ONNX test suites have them: one sample, whole. A tensor belongs to the input of its
 * name; where the names are none of the network's, to the k-th input. */
#include "data/dataset_internal.h"

#include "base/bytes.h"
#include "formats/tensor_pb.h"

#include <stdlib.h>
#include <unistd.h>

#define MAX_NAME 1024

static char *numbered(const char *folder, const char *kind, int k)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s_%d.pb", folder, kind, k) < 0 ? NULL : path;
}

static int feed_named(const Dataset *d, const char *name)
{
    for (int k = 0; k < d->feed_count; k++) {
        if (strcmp(d->feeds[k].name, name) == 0) return k;
    }
    return -1;
}

static int output_named(const Dataset *d, const char *name)
{
    for (int k = 0; k < d->output_count; k++) {
        if (strcmp(d->outputs[k], name) == 0) return k;
    }
    return -1;
}

/* One file into its place. *there: whether the file exists. */
static Status load_one(Dataset *d, const char *kind, int k, uint64_t max_mem, bool *there, Err *err)
{
    bool is_input = strcmp(kind, "input") == 0;
    int count = is_input ? d->feed_count : d->output_count;
    char name[MAX_NAME] = "";
    Tensor t = { 0 };
    char *path = numbered(d->file_path, kind, k);
    if (path == NULL) return err_no_memory(err, "a path");
    *there = access(path, F_OK) == 0;
    Status status = *there ? tensor_pb_load(path, max_mem, &t, name, sizeof name, err) : OK;
    if (status == OK && *there) {
        int place = is_input ? feed_named(d, name) : output_named(d, name);
        if (place < 0) place = k;
        bool taken = place < count && (is_input ? d->tensors[place].data != NULL : d->has_expected[place]);
        if (place >= count || taken) {
            status = err_set(err, ERR_DATA, "%s: the network has %d %ss%s", path, count, kind, taken ? ", this one came already" : "");
        } else if (is_input) {
            d->tensors[place] = t;
            t = (Tensor){ 0 };
        } else {
            d->expected_tensors[place] = t;
            d->has_expected[place] = true;
            t = (Tensor){ 0 };
        }
    }
    tensor_release(&t);
    free(path);
    return status;
}

static Status check_input(const Dataset *d, const Graph *g, int k, const DataOptions *options, Err *err)
{
    Tensor *t = &d->tensors[k];
    const Feed *f = &d->feeds[k];
    if (f->type == DT_BFLOAT16 && t->type == DT_UINT16) t->type = DT_BFLOAT16; /* ONNX's own test data wrote it so for years */
    int64_t bad;
    char made[200], wanted[256];
    feed_print(g, k, wanted, sizeof wanted);
    if (t->data == NULL && t->shape.rank == 0 && t->type == DT_NONE)
        return err_set(err, ERR_DATA, "%s: no input_%d.pb, which input '%s' (%s) needs", d->file_path, k, f->name, wanted);
    shape_print(&t->shape, made, sizeof made);
    if ((f->type != DT_NONE && f->type != t->type) || !feed_dims_fit(f, &t->shape, -1))
        return err_set(err, ERR_DATA, "%s: the tensor for input '%s' is %s %s, the input wants %s", d->file_path, f->name,
                       dtype_name(t->type), made, wanted);
    if (!options->expect_nonfinite && dtype_is_float(t->type) && tensor_has_nonfinite(t, &bad))
        return err_set(err, ERR_DATA, "%s: the tensor for input '%s': element %lld is %g, expected a finite number", d->file_path, f->name,
                       (long long)bad, tensor_get(t, bad));
    return OK;
}

static Status folder_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Err *err)
{
    (void)first;
    (void)count;
    for (int k = 0; k < d->feed_count; k++) {
        inputs[k] = tensor_share(&d->tensors[k]);
        TRY(tensor_align(&inputs[k], err));
    }
    return OK;
}

static Status folder_expected(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err)
{
    (void)first;
    (void)count;
    *out = tensor_share(&d->expected_tensors[output]);
    return tensor_align(out, err);
}

static Status folder_hash(Dataset *d, Hash *h, Err *err)
{
    for (int k = 0; k < d->feed_count; k++) {
        char head[512], shape[200];
        shape_print(&d->tensors[k].shape, shape, sizeof shape);
        int n = snprintf(head, sizeof head, "%.200s: %s %s\n", d->feeds[k].name, dtype_name(d->tensors[k].type), shape);
        hash_add(h, head, (size_t)n);
        hash_add(h, d->tensors[k].data, d->tensors[k].bytes);
    }
    (void)err;
    return OK;
}

static void folder_release(Dataset *d)
{
    for (int k = 0; d->tensors != NULL && k < d->feed_count; k++) tensor_release(&d->tensors[k]);
    for (int k = 0; d->expected_tensors != NULL && k < d->output_count; k++) tensor_release(&d->expected_tensors[k]);
    free(d->tensors);
    free(d->expected_tensors);
    free(d->has_expected);
    free(d->file_path);
}

static const DatasetKind folder_kind = { folder_read, folder_expected, folder_hash, folder_release, NULL };

static Status load_folder(Dataset *d, const Graph *g, const DataOptions *options, Err *err)
{
    bool there = true;
    for (int k = 0; there; k++) TRY(load_one(d, "input", k, options->max_mem, &there, err));
    there = true;
    for (int k = 0; there; k++) TRY(load_one(d, "output", k, options->max_mem, &there, err));
    for (int k = 0; k < d->feed_count; k++) TRY(check_input(d, g, k, options, err));
    d->samples = 1;
    return OK;
}

Status dataset_open_folder(const char *path, const Graph *g, const DataOptions *options, Dataset **out, Err *err)
{
    Dataset *d;
    TRY(dataset_new(g, &folder_kind, &d, err));
    d->file_path = strdup(path);
    d->tensors = alloc_zeroed((size_t)d->feed_count + 1, sizeof *d->tensors);
    d->expected_tensors = alloc_zeroed((size_t)d->output_count + 1, sizeof *d->expected_tensors);
    d->has_expected = alloc_zeroed((size_t)d->output_count + 1, sizeof *d->has_expected);
    Status status = d->file_path == NULL || d->tensors == NULL || d->expected_tensors == NULL || d->has_expected == NULL
                        ? err_no_memory(err, "a data set") : load_folder(d, g, options, err);
    if (status != OK) dataset_free(d);
    else *out = d;
    return status;
}
