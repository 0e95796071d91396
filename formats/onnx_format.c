/* The entry of ONNX in the list of formats, and how its files are told from others. */
#include "formats/onnx.h"

#include "base/bytes.h"
#include "formats/wire.h"

/* Protobuf has no magic number. A file counts as ONNX when its first fields are fields of ModelProto with their wire types; the walk
 * ends at the graph, so that a model that is cut off inside it is still recognized. */
bool onnx_probe(const uint8_t *data, size_t size)
{
    Cursor c = { data, data + size };
    for (int fields = 0; cursor_left(&c) > 0; fields++) {
        uint64_t tag, value;
        if (!cursor_varint(&c, &tag) || tag > UINT32_MAX) return false;
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&onnx__model_proto__descriptor, (uint32_t)(tag >> 3));
        if (f == NULL) return false;
        unsigned expected = f->type == PROTOBUF_C_TYPE_INT64 ? WIRE_VARINT : WIRE_BYTES;
        if ((tag & 7) != expected || !cursor_varint(&c, &value)) return false;
        if (f->descriptor == &onnx__graph_proto__descriptor) return fields > 0;
        if (expected == WIRE_BYTES && !cursor_skip(&c, value)) return false;
    }
    return false;
}

const Format format_onnx = {
    .name = "onnx",
    .summary = "ONNX models, IR 3 to 14, with or without data beside them",
    .extensions = "onnx",
    .has_graph = true,
    .probe = onnx_probe,
    .load = onnx_load,
    .save = onnx_save,
};
