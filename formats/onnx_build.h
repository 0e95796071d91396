/* Graph to messages: what onnx_save packs. */
#ifndef PARE_FORMATS_ONNX_BUILD_H
#define PARE_FORMATS_ONNX_BUILD_H

#include "formats/onnx.h"

/* A tensor that the built messages refer to by `payload`; numbers go on after those of the file that the graph came from. */
typedef struct SavePayload {
    const Tensor *tensor;         /* its bytes become raw_data */
    Onnx__TensorProto *message;   /* in the builder's arena */
    bool external;                /* came from a file beside the model, or is large: goes there when the model is saved with one */
    uint64_t offset;              /* in that file */
} SavePayload;

/* From this size on a weight goes to the file beside the model when there is one (the default of the onnx package). */
#define EXTERNAL_MIN_BYTES 1024

typedef struct OnnxBuilder {
    const Graph *graph;           /* the main graph */
    const OnnxFile *file;         /* that it came from, or NULL */
    Arena *arena;                 /* every message built, and its arrays */
    SavePayload *payloads;
    size_t count, capacity;
    Onnx__ModelProto *model;
    Err *err;
} OnnxBuilder;

/* Builds b->model. Messages of the loaded file are taken over where the graph still says the same, so that fields the tables do not
 * know survive; they are never changed. Frees nothing on failure: onnx_build_release in every case. */
Status onnx_build_model(OnnxBuilder *b, const Graph *g, Err *err);
void onnx_build_release(OnnxBuilder *b);

/* Within the builder: */
void *build_alloc(OnnxBuilder *b, size_t count, size_t size); /* NULL: no memory, b->err set */
Status build_graph(OnnxBuilder *b, const Graph *g, Onnx__GraphProto **out);
Status build_node(OnnxBuilder *b, const Graph *g, const Node *n, Onnx__NodeProto **out);
Status build_value_info(OnnxBuilder *b, const Graph *g, const Value *value, const Onnx__ValueInfoProto *origin, Onnx__ValueInfoProto **out);
/* `attribute`: tensors of nodes stay in the model, whatever their size, unless they came from beside it. */
Status build_tensor(OnnxBuilder *b, Str name, const Tensor *t, const Onnx__TensorProto *origin, bool attribute, Onnx__TensorProto **out);
/* Sets a text field when the text differs from what stands there. */
void build_text(protobuf_c_boolean *has, ProtobufCBinaryData *field, Str text);

#endif
