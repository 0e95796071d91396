/* A single TensorProto in a file of its own: input_0.pb and output_0.pb of the ONNX test suites. */
#ifndef PARE_FORMATS_TENSOR_PB_H
#define PARE_FORMATS_TENSOR_PB_H

#include "graph/tensor.h"

#include <stddef.h>
#include <stdint.h>

/* Reads one tensor. *out may be a view of the mapped file (unaligned, read-only), which it keeps open. The tensor's name goes to `name`
 * (NUL terminated, cut to name_size; NULL when not wanted). `max_mem` 0: no limit.
 * ERR_DATA: no TensorProto, or its data do not match its dims. ERR_UNSUPPORTED: strings, data in another file, unknown types. */
Status tensor_pb_load(const char *path, uint64_t max_mem, Tensor *out, char *name, size_t name_size, Err *err);
/* Writes one tensor with raw_data; atomic, "-" is standard output. ERR_UNSUPPORTED: strings. */
Status tensor_pb_save(const char *path, const Tensor *t, const char *name, Err *err);

#endif
