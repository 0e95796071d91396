#include "formats/tensor_pb.h"

#include "formats/onnx_file.h"
#include "formats/wire.h"

#include <stdlib.h>
#include <string.h>

static Status read_tensor(OnnxFile *f, Tensor *out, char *name, size_t name_size, Err *err)
{
    const Onnx__TensorProto *t = (const Onnx__TensorProto *)f->message;
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        return err_set(err, ERR_UNSUPPORTED, "the tensor's data lies in another file, expected it inside");
    }
    TRY(onnx_tensor_load(f, t, "tensor", out, err));
    if (out->buffer == NULL) {
        return err_set(err, ERR_UNSUPPORTED, "the tensor's element type is %s (%d), which is not supported here",
                       out->type == DT_STRING ? "string" : "unknown", t->data_type);
    }
    if (name == NULL || name_size == 0) return OK;
    size_t n = t->name.len < name_size ? t->name.len : name_size - 1;
    if (n > 0) memcpy(name, t->name.data, n);
    name[n] = '\0';
    return OK;
}

Status tensor_pb_load(const char *path, uint64_t max_mem, Tensor *out, char *name, size_t name_size, Err *err)
{
    Mapping *m = NULL;
    OnnxFile *f = NULL;
    TRY(mapping_open(path, max_mem, &m, err));
    Status status = onnx_file_open(m, &onnx__tensor_proto__descriptor, max_mem, &f, err);
    if (status == OK) status = read_tensor(f, out, name, name_size, err);
    if (status != OK) err_prefix(err, "%s", path);
    onnx_file_free(f);
    mapping_unref(m);
    return status;
}

Status tensor_pb_save(const char *path, const Tensor *t, const char *name, Err *err)
{
    if (dtype_bits(t->type) == 0) return err_set(err, ERR_UNSUPPORTED, "%s: a tensor of type %s cannot be written", path,
                                                 dtype_name(t->type));
    Onnx__TensorProto m = ONNX__TENSOR_PROTO__INIT;
    m.n_dims = (size_t)t->shape.rank;
    m.dims = (int64_t *)(uintptr_t)t->shape.dims;
    m.has_data_type = 1;
    m.data_type = (int32_t)t->type;
    m.has_name = 1;
    m.name = (ProtobufCBinaryData){ .len = strlen(name), .data = (uint8_t *)(uintptr_t)name };
    uint8_t *head = malloc(protobuf_c_message_get_packed_size(&m.base) + 2 * WIRE_VARINT_MAX);
    if (head == NULL) return err_no_memory(err, "saving a tensor");
    size_t n = protobuf_c_message_pack(&m.base, head);
    n += wire_put_varint(head + n, (uint64_t)TENSOR_RAW_DATA << 3 | WIRE_BYTES);
    n += wire_put_varint(head + n, t->bytes);
    OutFile *out = NULL;
    Status status = outfile_open(path, &out, err);
    if (status == OK) status = outfile_write(out, head, n, err);
    if (status == OK) status = outfile_write(out, t->data, t->bytes, err);
    free(head);
    if (status == OK) return outfile_commit(out, err);
    outfile_abort(out);
    return status;
}
