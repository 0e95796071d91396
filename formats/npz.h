/* .npy and .npz arrays, read and written. */
#ifndef PARE_FORMATS_NPZ_H
#define PARE_FORMATS_NPZ_H

#include "graph/tensor.h"

#include <stdint.h>

/* An open .npz (zip of .npy, stored or deflated, zip64) or a lone .npy (one array named after the file). Stored C-order members
 * stay mapped; deflated or Fortran-order ones are inflated once, on first use, into an unlinked temporary file which is mapped. */
typedef struct Npz Npz;

typedef struct NpzArray {
    Str name;      /* without ".npy"; NUL terminated */
    DType type;    /* DT_NONE: listed, but of a type pare has no numbers for; reading it is ERR_UNSUPPORTED */
    Shape shape;
} NpzArray;

/* max_mem bounds single members (inflated size against the declared one, header counts); 0: no limit. */
Status npz_open(const char *path, uint64_t max_mem, Npz **out, Err *err);
Status npz_open_mapping(Mapping *m, const char *name, uint64_t max_mem, Npz **out, Err *err); /* its own reference */
void npz_close(Npz *z);
int npz_count(const Npz *z);
const NpzArray *npz_array(const Npz *z, int i);
int npz_find(const Npz *z, const char *name); /* -1: none */
/* The whole array as a tensor: a view of mapped bytes where it can be (possibly unaligned), else its own copy. Big-endian swapped. */
Status npz_tensor(Npz *z, int i, Tensor *out, Err *err);
/* Indices [first, first+count) of `axis`, copied into `out` (allocated by the caller: packed in C order, native bytes). Drops pages behind
 * itself. */
Status npz_slice(Npz *z, int i, int axis, int64_t first, int64_t count, void *out, Err *err);
/* The dtype as the file spells it ("<f4"), for messages about arrays whose type is DT_NONE: strings, objects, records. */
const char *npz_descr(const Npz *z, int i);
/* "float32 [4,3]" */
void npz_print_array(const Npz *z, int i, StrBuf *b);
/* "there are 'x' float32 [4,3], 'y' int64 [4]", at most 8 of them; "it holds no arrays". */
void npz_print_list(const Npz *z, StrBuf *b);
/* ERR_DATA: the message, and which arrays there are. */
Status npz_missing(const Npz *z, Err *err, const char *format, ...) __attribute__((format(printf, 3, 4)));
const Mapping *npz_mapping(const Npz *z); /* the file's bytes, for hashing */

/* Writing: arrays grow by rows, each spooled to an unlinked temporary file, and are put together on commit. Members are stored
 * (compress false) or deflated. No time is written: the same arrays give the same bytes. */
typedef struct NpzWriter NpzWriter;
Status npz_writer_open(const char *path, bool compress, NpzWriter **out, Err *err);
/* Declares an array; shape.dims[0] is ignored and counted from the rows appended. A scalar (rank 0) takes one row.
 * Returns its handle in *array. */
Status npz_writer_array(NpzWriter *w, const char *name, DType type, const Shape *shape, int *array, Err *err);
/* `data`: packed rows in native order; 4- and 2-bit types one value a byte, as they are stored. */
Status npz_writer_rows(NpzWriter *w, int array, const void *data, int64_t rows, Err *err);
Status npz_writer_tensor(NpzWriter *w, const char *name, const Tensor *t, Err *err); /* a whole array at once */
Status npz_writer_commit(NpzWriter *w, Err *err); /* frees w in every case; old file untouched on failure */
void npz_writer_abort(NpzWriter *w);

#endif
