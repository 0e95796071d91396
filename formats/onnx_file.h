/* An ONNX file as messages: decoded by protobuf-c, with the numbers of every tensor left in the mapped file. */
#ifndef PARE_FORMATS_ONNX_FILE_H
#define PARE_FORMATS_ONNX_FILE_H

#include "formats/onnx.pb-c.h"
#include "formats/scan.h"
#include "graph/graph.h"

/* The data of one TensorProto (its `payload` field is the index): parts of the file, or a range of an external data file. */
typedef struct OnnxPayload {
    ScanPayload parts;
    Buffer *external;    /* mapped file beside the model, or NULL */
    const uint8_t *data; /* external only */
    size_t size;
} OnnxPayload;

typedef struct OnnxFile {
    ProtobufCMessage *message; /* the decoded root */
    Buffer *bytes;             /* the mapped file; every view shares it */
    ScanPart *parts;
    OnnxPayload *payloads;
    size_t payload_count, payload_capacity;
    uint64_t left;             /* bytes that tensors with typed fields may still take when they are decoded */
} OnnxFile;

/* Scans and decodes the whole mapping as one message of type `root`. `max_mem` 0: no limit on tensors, scan.h's on messages. */
Status onnx_file_open(Mapping *m, const ProtobufCMessageDescriptor *root, uint64_t max_mem, OnnxFile **out, Err *err);
void onnx_file_free(void *file); /* an OnnxFile; fits Origin.release */

static inline Str str_of_bytes(ProtobufCBinaryData b)
{
    return (Str){ (const char *)b.data, b.len };
}

/* The tensor of a message. Raw, float and double data become views of the mapping; other encodings are decoded into a buffer of their
 * own. `what` and its name stand in messages. String tensors and element types unknown to pare have the type (DT_STRING, DT_NONE)
 * and shape only: their contents stay in the message.
 * ERR_DATA: dims negative, overflowing or not matching the data. ERR_UNSUPPORTED: rank above MAX_RANK. */
Status onnx_tensor_load(OnnxFile *f, const Onnx__TensorProto *t, const char *what, Tensor *out, Err *err);
/* Type, shape and bytes needed, without the data. *bytes is 0 for strings and unknown types. */
Status onnx_tensor_shape(const Onnx__TensorProto *t, const char *what, Tensor *out, Err *err);

/* Finds the data of every TensorProto whose data lies in a file beside the model and records it as a payload. Only files inside
 * `folder` are opened. *found tells whether there was one. ERR_DATA names tensor and path. */
Status onnx_external_resolve(OnnxFile *f, const char *folder, bool *found, Err *err);

#endif
