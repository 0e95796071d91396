#include "data/targets.h"

#include "base/bytes.h"

#include <stdlib.h>

typedef struct Series {
    char *name;
    int array;
    DType type;
    Shape row; /* dims[0] is any */
} Series;

struct Targets {
    NpzWriter *writer;
    char *path;
    Series *series;
    size_t count, capacity;
};

Status targets_open(const char *path, bool compress, Targets **out, Err *err)
{
    Targets *t = alloc_zeroed(1, sizeof *t);
    if (t == NULL || (t->path = strdup(path)) == NULL) {
        free(t);
        return err_no_memory(err, "a targets file");
    }
    Status status = npz_writer_open(path, compress, &t->writer, err);
    if (status != OK) {
        targets_abort(t);
        return status;
    }
    *out = t;
    return OK;
}

static Status new_series(Targets *t, const char *name, const Tensor *rows, Series **out, Err *err)
{
    if (!array_grow((void **)&t->series, &t->capacity, t->count + 1, sizeof *t->series)) return err_no_memory(err, "the list of targets");
    Series *s = &t->series[t->count];
    *s = (Series){ .name = strdup(name), .type = rows->type, .row = rows->shape };
    if (s->name == NULL) return err_no_memory(err, "the list of targets");
    Status status = npz_writer_array(t->writer, name, rows->type, &rows->shape, &s->array, err);
    if (status != OK) {
        free(s->name);
        return status;
    }
    t->count++;
    *out = s;
    return OK;
}

const char *targets_path(const Targets *t) { return t->path; }

Status targets_append(Targets *t, const char *name, const Tensor *rows, Err *err)
{
    Series *s = NULL;
    for (size_t i = 0; i < t->count && s == NULL; i++) {
        if (strcmp(t->series[i].name, name) == 0) s = &t->series[i];
    }
    if (rows->shape.rank < 1) return err_set(err, ERR_DATA, "%s: target '%s' has no axis that counts samples", t->path, name);
    if (dtype_bits(rows->type) < 8)
        return err_set(err, ERR_UNSUPPORTED, "%s: target '%s' of type %s", t->path, name, dtype_name(rows->type));
    if (s == NULL) TRY(new_series(t, name, rows, &s, err));
    Shape row = rows->shape;
    row.dims[0] = s->row.dims[0];
    if (s->type != rows->type || !shape_eq(&row, &s->row)) {
        char had[160], got[160];
        shape_print(&s->row, had, sizeof had);
        shape_print(&rows->shape, got, sizeof got);
        return err_set(err, ERR_DATA, "%s: target '%s' was %s %s, now %s %s: rows of one shape and type are needed", t->path, name,
                       dtype_name(s->type), had, dtype_name(rows->type), got);
    }
    return npz_writer_rows(t->writer, s->array, rows->data, rows->shape.dims[0], err);
}

Status targets_note(Targets *t, const char *name, const char *text, Err *err)
{
    int array;
    Shape shape = shape_of(1, (int64_t[]){ 0 });
    TRY(npz_writer_array(t->writer, name, DT_UINT8, &shape, &array, err));
    return npz_writer_rows(t->writer, array, text, (int64_t)strlen(text), err);
}

Status targets_number(Targets *t, const char *name, double value, Err *err)
{
    int array;
    Shape shape = shape_of(0, NULL);
    TRY(npz_writer_array(t->writer, name, DT_DOUBLE, &shape, &array, err));
    return npz_writer_rows(t->writer, array, &value, 1, err);
}

static void release(Targets *t)
{
    for (size_t i = 0; i < t->count; i++) free(t->series[i].name);
    free(t->series);
    free(t->path);
    free(t);
}

Status targets_commit(Targets *t, Err *err)
{
    Status status = npz_writer_commit(t->writer, err);
    release(t);
    return status;
}

void targets_abort(Targets *t)
{
    if (t == NULL) return;
    npz_writer_abort(t->writer);
    release(t);
}
