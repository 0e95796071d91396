/* TensorProto to Tensor: every encoding of the numbers. */
#include "formats/onnx_file.h"

#include "base/bytes.h"
#include "formats/wire.h"

#include <string.h>

/* The typed field that holds elements of a type when raw_data does not. */
static uint32_t typed_field(DType t)
{
    switch (t) {
    case DT_FLOAT: case DT_COMPLEX64: return TENSOR_FLOAT_DATA;
    case DT_DOUBLE: case DT_COMPLEX128: return TENSOR_DOUBLE_DATA;
    case DT_INT64: return TENSOR_INT64_DATA;
    case DT_UINT32: case DT_UINT64: return TENSOR_UINT64_DATA;
    default: return TENSOR_INT32_DATA;
    }
}

/* Bytes of the tensor that one entry of its typed field fills: for 4- and 2-bit types an entry is a packed byte. */
static size_t entry_bytes(DType t)
{
    switch (typed_field(t)) {
    case TENSOR_FLOAT_DATA: return 4;
    case TENSOR_DOUBLE_DATA: case TENSOR_INT64_DATA: return 8;
    default: return dtype_bits(t) < 8 ? 1 : (size_t)dtype_bits(t) / 8;
    }
}

static const char *field_name(uint32_t field)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&onnx__tensor_proto__descriptor, field);
    return f != NULL ? f->name : "unknown";
}

typedef struct Subject {
    const char *what;
    Str name;
    char shape[128];
    Err *err;
} Subject;

#define SUBJECT "%s '%.*s'"
#define SUBJECT_ARG(s) (s)->what, STR_ARG((s)->name)

Status onnx_tensor_shape(const Onnx__TensorProto *t, const char *what, Tensor *out, Err *err)
{
    Subject s = { .what = what, .name = str_of_bytes(t->name) };
    *out = (Tensor){ .type = DT_NONE };
    if (t->data_type > 0 && t->data_type < DT_COUNT) out->type = (DType)t->data_type;
    if (t->data_type <= 0) return err_set(err, ERR_DATA, SUBJECT ": element type %d, expected one of TensorProto.DataType",
                                          SUBJECT_ARG(&s), t->data_type);
    if (t->n_dims > MAX_RANK) {
        return err_set(err, ERR_UNSUPPORTED, SUBJECT ": %zu dimensions, at most %d are supported", SUBJECT_ARG(&s), t->n_dims, MAX_RANK);
    }
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0) {
            return err_set(err, ERR_DATA, SUBJECT ": dimension %zu is %lld, expected 0 or more", SUBJECT_ARG(&s), i, (long long)t->dims[i]);
        }
    }
    out->shape = shape_of((int)t->n_dims, t->dims);
    int64_t count;
    if (!shape_count(&out->shape, &count) || !dtype_bytes(out->type, count, &out->bytes)) {
        shape_print(&out->shape, s.shape, sizeof s.shape);
        return err_set(err, ERR_DATA, SUBJECT ": shape %s has more elements than memory has bytes", SUBJECT_ARG(&s), s.shape);
    }
    if (t->segment != NULL) return err_set(err, ERR_UNSUPPORTED, SUBJECT ": is stored in segments", SUBJECT_ARG(&s));
    return OK;
}

static Status wrong_size(const Subject *s, const Tensor *t, uint32_t field, size_t found, size_t expected, const char *unit)
{
    char shape[128];
    shape_print(&t->shape, shape, sizeof shape);
    return err_set(s->err, ERR_DATA, SUBJECT ": %s holds %zu %s, %s %s needs %zu", SUBJECT_ARG(s), field_name(field), found, unit,
                   dtype_name(t->type), shape, expected);
}

/* One entry of a typed field into its place. False when the value does not fit the type. */
static bool store_entry(uint32_t field, size_t bytes, Cursor *c, uint8_t *to)
{
    uint64_t v = 0;
    if (field == TENSOR_FLOAT_DATA || field == TENSOR_DOUBLE_DATA) { /* the caller checked that the bytes are there */
        memcpy(to, c->at, bytes);
        c->at += bytes;
        return true;
    }
    if (!cursor_varint(c, &v)) return false;
    if (field == TENSOR_UINT64_DATA && bytes == 4 && v > UINT32_MAX) return false;
    if (field == TENSOR_INT32_DATA) {
        int32_t i = (int32_t)(uint32_t)v;
        /* bits of short types come zero-extended or sign-extended */
        if (bytes < 4 && (i >= 1 << (8 * (int)bytes) || i < -(1 << (8 * (int)bytes - 1)))) return false;
    }
    for (size_t b = 0; b < bytes; b++) to[b] = (uint8_t)(v >> (8 * b));
    return true;
}

/* All entries of one part, appended from entry *done on. */
static Status decode_part(const Subject *s, const ScanPart *p, Tensor *t, size_t *done)
{
    size_t bytes = entry_bytes(t->type), total = t->bytes / bytes;
    bool fixed = p->field == TENSOR_FLOAT_DATA || p->field == TENSOR_DOUBLE_DATA;
    Cursor c = { p->data, p->data + p->size };
    while (cursor_left(&c) > 0) {
        uint64_t tag;
        if (p->run && !cursor_varint(&c, &tag)) break;
        if (fixed && cursor_left(&c) < bytes) return err_set(s->err, ERR_DATA, SUBJECT ": %s is cut off", SUBJECT_ARG(s),
                                                             field_name(p->field));
        if (*done == total) return wrong_size(s, t, p->field, total + 1, total, "or more values");
        if (!store_entry(p->field, bytes, &c, t->data + *done * bytes)) {
            return err_set(s->err, ERR_DATA, SUBJECT ": value %zu of %s is cut off or does not fit %s", SUBJECT_ARG(s), *done,
                           field_name(p->field),
                           dtype_name(t->type));
        }
        ++*done;
    }
    return OK;
}

static Status decode_typed(OnnxFile *f, const Subject *s, const ScanPart *parts, size_t count, uint32_t field, Tensor *out)
{
    size_t bytes = entry_bytes(out->type), expected = out->bytes / bytes, least = field == TENSOR_FLOAT_DATA ? 4
        : field == TENSOR_DOUBLE_DATA ? 8 : 1;
    size_t present = 0, done = 0;
    for (size_t i = 0; i < count; i++) present += parts[i].size;
    if (present / least < expected) return wrong_size(s, out, field, present / least, expected, "values at most");
    if (out->bytes > f->left) {
        return err_set(s->err, ERR_MEMORY, SUBJECT ": %zu bytes pass the memory limit; raise --max-mem", SUBJECT_ARG(s), out->bytes);
    }
    Tensor t;
    TRY(tensor_new(&t, out->type, &out->shape, s->err));
    Status status = OK;
    for (size_t i = 0; status == OK && i < count; i++) {
        if (parts[i].field == field) status = decode_part(s, &parts[i], &t, &done);
    }
    if (status == OK && done != expected) status = wrong_size(s, &t, field, done, expected, "values");
    if (status != OK) {
        tensor_release(&t);
        return status;
    }
    f->left -= t.bytes;
    *out = t;
    return OK;
}

static Status view(const Subject *s, Tensor *out, Buffer *buffer, uint32_t field, const uint8_t *data, size_t size)
{
    if (size != out->bytes) return wrong_size(s, out, field, size, out->bytes, "bytes");
    out->buffer = buffer_ref(buffer);
    out->data = (uint8_t *)(uintptr_t)data; /* read-only: the buffer says so */
    return OK;
}

Status onnx_tensor_load(OnnxFile *f, const Onnx__TensorProto *t, const char *what, Tensor *out, Err *err)
{
    Subject s = { .what = what, .name = str_of_bytes(t->name), .err = err };
    TRY(onnx_tensor_shape(t, what, out, err));
    const OnnxPayload *p = t->has_payload && t->payload < f->payload_count ? &f->payloads[t->payload] : NULL;
    size_t count = p != NULL ? p->parts.count : 0, same = 0;
    const ScanPart *parts = count > 0 ? &f->parts[p->parts.first] : NULL, *used = NULL;
    if (out->type == DT_NONE) return OK;
    if (p != NULL && p->external != NULL) return view(&s, out, p->external, TENSOR_RAW_DATA, p->data, p->size);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size == 0) continue;
        if (used != NULL && used->field != parts[i].field) {
            return err_set(err, ERR_DATA, SUBJECT ": has both %s and %s, expected one", SUBJECT_ARG(&s), field_name(used->field),
                           field_name(parts[i].field));
        }
        used = &parts[i];
        same++;
    }
    if (out->type == DT_STRING) {
        int64_t elements = tensor_count(out);
        if (used == NULL && (uint64_t)elements == t->n_string_data) return OK;
        return err_set(err, ERR_DATA, SUBJECT ": string_data holds %zu values, its shape needs %lld", SUBJECT_ARG(&s), t->n_string_data,
                       (long long)elements);
    }
    if (t->n_string_data > 0) return err_set(err, ERR_DATA, SUBJECT ": has string_data, its type is %s", SUBJECT_ARG(&s),
                                             dtype_name(out->type));
    if (used == NULL) {
        if (out->bytes == 0) return tensor_new(out, out->type, &out->shape, err);
        return err_set(err, ERR_DATA, SUBJECT ": has no data, its shape needs %zu bytes", SUBJECT_ARG(&s), out->bytes);
    }
    if (used->field == TENSOR_RAW_DATA) return view(&s, out, f->bytes, used->field, used->data, used->size);
    if (used->field != typed_field(out->type)) {
        return err_set(err, ERR_DATA, SUBJECT ": %s elements in %s, expected %s", SUBJECT_ARG(&s), dtype_name(out->type),
                       field_name(used->field),
                       field_name(typed_field(out->type)));
    }
    bool plain = used->field == TENSOR_FLOAT_DATA || used->field == TENSOR_DOUBLE_DATA; /* packed: the bytes of raw_data */
    if (plain && same == 1 && !used->run) return view(&s, out, f->bytes, used->field, used->data, used->size);
    return decode_typed(f, &s, parts, count, used->field, out);
}
