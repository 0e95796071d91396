#include "formats/splice.h"

#include "base/bytes.h"
#include "formats/onnx.pb-c.h"
#include "formats/scan.h"
#include "formats/wire.h"

#include <stdlib.h>

/* One submessage, in the order in which they begin. */
typedef struct Measured {
    uint64_t size;  /* with its tensors' data */
    size_t after;   /* index of the first submessage behind this one's own */
    bool changed;
} Measured;

struct Splice {
    Cursor bytes;
    const ProtobufCMessageDescriptor *root;
    SpliceSource source;
    Measured *messages;
    size_t count, capacity, next;
    uint64_t total;
};

typedef struct Field {
    const ProtobufCFieldDescriptor *message; /* NULL: not a message */
    bool payload;
    uint64_t value;          /* of a varint */
    const uint8_t *body;     /* behind the tag */
    Cursor contents;         /* of a length-delimited field */
} Field;

/* Reads one field; false only for bytes that protobuf-c did not pack. */
static bool next_field(Cursor *c, const ProtobufCMessageDescriptor *type, Field *f)
{
    uint64_t tag, length = 0;
    *f = (Field){ 0 };
    if (!cursor_varint(c, &tag)) return false;
    uint32_t number = (uint32_t)(tag >> 3);
    f->body = c->at;
    f->payload = number == TENSOR_PAYLOAD && type == &onnx__tensor_proto__descriptor;
    switch (tag & 7) {
    case WIRE_VARINT: return cursor_varint(c, &f->value);
    case WIRE_FIXED64: return cursor_skip(c, 8);
    case WIRE_FIXED32: return cursor_skip(c, 4);
    case WIRE_BYTES: break;
    default: return false;
    }
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
    if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) f->message = field;
    return cursor_varint(c, &length) && cursor_take(c, length, &f->contents);
}

/* *size: with the data put in; *changed: there is any, so that the bytes cannot be copied as they are. */
static Status measure(Splice *s, Cursor c, const ProtobufCMessageDescriptor *type, int depth, uint64_t *size, bool *changed, Err *err)
{
    *size = 0;
    *changed = false;
    if (depth > SCAN_DEPTH) return err_set(err, ERR_UNSUPPORTED, "messages nested more than %d deep cannot be written", SCAN_DEPTH);
    while (cursor_left(&c) > 0) {
        const uint8_t *from = c.at;
        Field f;
        if (!next_field(&c, type, &f)) return err_set(err, ERR_BUG, "a packed %s cannot be read", type->short_name);
        if (f.payload) {
            *size += s->source.size(s->source.context, f.value);
            *changed = true;
            continue;
        }
        if (f.message == NULL) {
            *size += (size_t)(c.at - from);
            continue;
        }
        if (!array_grow((void **)&s->messages, &s->capacity, s->count + 1, sizeof *s->messages)) return err_no_memory(err, "saving");
        size_t index = s->count++;
        uint64_t inner;
        bool inner_changed;
        TRY(measure(s, f.contents, f.message->descriptor, depth + 1, &inner, &inner_changed, err));
        s->messages[index] = (Measured){ .size = inner, .after = s->count, .changed = inner_changed };
        *changed |= inner_changed;
        *size += (size_t)(f.body - from) + wire_varint_size(inner) + inner;
    }
    return OK;
}

static Status put(OutFile *out, const uint8_t *from, const uint8_t *to, Err *err)
{
    return from < to ? outfile_write(out, from, (size_t)(to - from), err) : OK;
}

static Status emit(Splice *s, Cursor c, const ProtobufCMessageDescriptor *type, OutFile *out, Err *err)
{
    const uint8_t *pending = c.at; /* bytes not yet written that stay as they are */
    while (cursor_left(&c) > 0) {
        const uint8_t *from = c.at;
        Field f;
        if (!next_field(&c, type, &f)) return err_set(err, ERR_BUG, "a packed %s cannot be read", type->short_name);
        if (f.payload) {
            TRY(put(out, pending, from, err));
            TRY(s->source.write(s->source.context, f.value, out, err));
            pending = c.at;
        }
        if (f.message == NULL) continue;
        Measured m = s->messages[s->next++];
        if (!m.changed) {
            s->next = m.after;
            continue;
        }
        uint8_t length[WIRE_VARINT_MAX];
        TRY(put(out, pending, f.body, err));
        TRY(outfile_write(out, length, wire_put_varint(length, m.size), err));
        TRY(emit(s, f.contents, f.message->descriptor, out, err));
        pending = c.at;
    }
    return put(out, pending, c.at, err);
}

Status splice_new(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *root, const SpliceSource *source, Splice **out,
                  Err *err)
{
    Splice *s = calloc(1, sizeof *s);
    if (s == NULL) return err_no_memory(err, "saving");
    s->bytes = (Cursor){ data, data + size };
    s->root = root;
    s->source = *source;
    bool changed;
    Status status = measure(s, s->bytes, root, 1, &s->total, &changed, err);
    if (status != OK) {
        splice_free(s);
        return status;
    }
    *out = s;
    return OK;
}

uint64_t splice_size(const Splice *s)
{
    return s->total;
}

Status splice_write(Splice *s, OutFile *out, Err *err)
{
    s->next = 0;
    return emit(s, s->bytes, s->root, out, err);
}

void splice_free(Splice *s)
{
    if (s == NULL) return;
    free(s->messages);
    free(s);
}
