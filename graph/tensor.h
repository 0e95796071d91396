/* Element types, shapes, counted weight buffers and tensors. */
#ifndef PARE_GRAPH_TENSOR_H
#define PARE_GRAPH_TENSOR_H

#include "base/file.h"
#include "base/status.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* X(identifier, ONNX number, name, bits per element, numpy descriptor). Numbers are those of TensorProto.DataType. */
#define DTYPE_LIST(X) \
    X(DT_NONE, 0, "undefined", 0, "") \
    X(DT_FLOAT, 1, "float32", 32, "<f4") \
    X(DT_UINT8, 2, "uint8", 8, "|u1") \
    X(DT_INT8, 3, "int8", 8, "|i1") \
    X(DT_UINT16, 4, "uint16", 16, "<u2") \
    X(DT_INT16, 5, "int16", 16, "<i2") \
    X(DT_INT32, 6, "int32", 32, "<i4") \
    X(DT_INT64, 7, "int64", 64, "<i8") \
    X(DT_STRING, 8, "string", 0, "") \
    X(DT_BOOL, 9, "bool", 8, "|b1") \
    X(DT_FLOAT16, 10, "float16", 16, "<f2") \
    X(DT_DOUBLE, 11, "float64", 64, "<f8") \
    X(DT_UINT32, 12, "uint32", 32, "<u4") \
    X(DT_UINT64, 13, "uint64", 64, "<u8") \
    X(DT_COMPLEX64, 14, "complex64", 64, "<c8") \
    X(DT_COMPLEX128, 15, "complex128", 128, "<c16") \
    X(DT_BFLOAT16, 16, "bfloat16", 16, "|V2") \
    X(DT_FLOAT8E4M3FN, 17, "float8e4m3fn", 8, "|V1") \
    X(DT_FLOAT8E4M3FNUZ, 18, "float8e4m3fnuz", 8, "|V1") \
    X(DT_FLOAT8E5M2, 19, "float8e5m2", 8, "|V1") \
    X(DT_FLOAT8E5M2FNUZ, 20, "float8e5m2fnuz", 8, "|V1") \
    X(DT_UINT4, 21, "uint4", 4, "|u1") \
    X(DT_INT4, 22, "int4", 4, "|i1") \
    X(DT_FLOAT4E2M1, 23, "float4e2m1", 4, "|V1") \
    X(DT_FLOAT8E8M0, 24, "float8e8m0", 8, "|V1") \
    X(DT_UINT2, 25, "uint2", 2, "|u1") \
    X(DT_INT2, 26, "int2", 2, "|i1")

typedef enum DType {
#define X(id, number, name, bits, numpy) id = number,
    DTYPE_LIST(X)
#undef X
    DT_COUNT
} DType;

const char *dtype_name(DType t);       /* "float32"; "unknown" outside the list */
int dtype_bits(DType t);               /* 0 for string and undefined */
const char *dtype_numpy(DType t);
bool dtype_is_float(DType t);          /* float32, float16, bfloat16, float64 */
bool dtype_is_byte(DType t);           /* int8 or uint8 */
bool dtype_is_integer(DType t);        /* signed and unsigned integers of any width, not bool */

#define MAX_RANK 16

/* A dimension: a size (>= 0), DIM_UNKNOWN, or a named symbol of the graph (<= -2; see graph_symbol). */
#define DIM_UNKNOWN (-1)

typedef struct Shape {
    int rank; /* -1: unknown */
    int64_t dims[MAX_RANK];
} Shape;

#define SHAPE_UNKNOWN ((Shape){ .rank = -1 })

bool shape_known(const Shape *s); /* rank known and every dimension a size */
bool shape_eq(const Shape *a, const Shape *b);
/* Number of elements (1 for a scalar). False when a dimension is not a size or the product overflows int64. */
bool shape_count(const Shape *s, int64_t *count);
Shape shape_of(int rank, const int64_t *dims);
/* "[N,3,32,32]" for messages; symbols print as "?" */
void shape_print(const Shape *s, char *text, size_t size);

/* Bytes of `count` packed elements: 4-bit types two to a byte, low nibble first, 2-bit four to a byte. False on overflow. */
bool dtype_bytes(DType t, int64_t count, size_t *bytes);

/* Storage shared by tensors, graphs and clones; counted (atomically). Read-only when it is a mapped file page. */
typedef struct Buffer {
    int refs;
    bool read_only;
    uint8_t *data;
    size_t size;
    Mapping *mapping; /* keeps the file mapped; NULL when the data was malloc'ed */
} Buffer;

Buffer *buffer_new(size_t size);  /* zeroed, 64-byte aligned; NULL when out of memory */
Buffer *buffer_of_mapping(Mapping *m); /* takes its own reference; read-only */
Buffer *buffer_ref(Buffer *b);
void buffer_unref(Buffer *b); /* NULL is fine */

/* A typed array, row-major. `data` points into `buffer` (or elsewhere when buffer is NULL: borrowed).
 * Tensors that come from a file may be unaligned for their type: read those with the accessors below, or align first. */
typedef struct Tensor {
    DType type;
    Shape shape; /* always known */
    Buffer *buffer;
    uint8_t *data;
    size_t bytes;
} Tensor;

/* Allocates zeroed storage. ERR_MEMORY; ERR_DATA when the size overflows. */
Status tensor_new(Tensor *t, DType type, const Shape *shape, Err *err);
Tensor tensor_share(const Tensor *t);       /* one more reference to the same storage */
void tensor_release(Tensor *t);             /* drops the reference and zeroes *t; fine on a zeroed tensor */
Status tensor_clone(const Tensor *t, Tensor *out, Err *err); /* its own aligned copy */
bool tensor_is_aligned(const Tensor *t);     /* for its type */
Status tensor_align(Tensor *t, Err *err);   /* replaces the storage by an aligned copy when misaligned for the type */
int64_t tensor_count(const Tensor *t);

/* Element access through memcpy: any alignment, any numeric type (4- and 2-bit unpacked, bool 0/1). Not bounds-checked. */
double tensor_get(const Tensor *t, int64_t i);
int64_t tensor_get_int(const Tensor *t, int64_t i); /* exact for integers; floats truncate, saturating, NaN 0 */
void tensor_set(Tensor *t, int64_t i, double value); /* integers round to nearest even and saturate */
void tensor_set_int(Tensor *t, int64_t i, int64_t value);
/* Bulk conversion of `count` elements from `first`. */
void tensor_read_floats(const Tensor *t, int64_t first, int64_t count, float *out);
void tensor_read_doubles(const Tensor *t, int64_t first, int64_t count, double *out);
/* Converts to another type as ONNX Cast does without saturation questions; same shape. */
Status tensor_convert(const Tensor *t, DType type, Tensor *out, Err *err);
/* True when a float tensor holds NaN or infinity; *index is the first. */
bool tensor_has_nonfinite(const Tensor *t, int64_t *index);
bool tensor_has_nan(const Tensor *t, int64_t *index); /* NaN only */
int64_t tensor_nonzeros(const Tensor *t);

#endif
