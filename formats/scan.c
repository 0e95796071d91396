#include "formats/scan.h"

#include "base/bytes.h"
#include "formats/onnx.pb-c.h"
#include "formats/wire.h"
#include "graph/graph.h"

#include <limits.h>
#include <stdlib.h>

enum {
    LENGTH_BYTES = 5,   /* slim lengths are padded varints, so that they can be filled in when a message ends */
    FIELD_OVERHEAD = 80, /* protobuf-c keeps 40 bytes a field while it parses, and malloc its header */
};

typedef struct Frame {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
    size_t length_at;  /* where the slim length of this message stands */
    uint64_t seen;     /* singular message fields met, by index in the descriptor */
    size_t first_part;
} Frame;

typedef struct Walk {
    Scan *scan;
    const uint8_t *begin;
    Cursor at; /* ends where the innermost message ends */
    Frame stack[SCAN_DEPTH];
    int depth; /* frames in use */
    Err *err;
} Walk;

static Status malformed(const Walk *w, const char *what)
{
    const Frame *f = &w->stack[w->depth - 1];
    return err_set(w->err, ERR_DATA, "byte %zu: %s in a %s: the file is damaged or no ONNX file", (size_t)(w->at.at - w->begin), what,
                   f->type->short_name);
}

static Status charge(Walk *w, uint64_t bytes)
{
    Scan *s = w->scan;
    if (bytes > s->limit - s->memory) {
        return err_set(w->err, ERR_MEMORY,
                       "byte %zu: the network's description (without its weights) takes more than %llu bytes in memory; raise --max-mem",
                       (size_t)(w->at.at - w->begin), (unsigned long long)s->limit);
    }
    s->memory += bytes;
    return OK;
}

static Status emit(Walk *w, const void *data, size_t size)
{
    Scan *s = w->scan;
    if (size > (size_t)INT_MAX - s->slim_size) {
        return err_set(w->err, ERR_MEMORY, "the network's description (without its weights) passes 2 GiB");
    }
    if (!array_grow((void **)&s->slim, &s->slim_capacity, s->slim_size + size, 1)) return err_no_memory(w->err,
                                                                                                        "the network's description");
    if (size > 0) memcpy(s->slim + s->slim_size, data, size);
    s->slim_size += size;
    return OK;
}

static Status emit_varint(Walk *w, uint64_t value)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    return emit(w, bytes, wire_put_varint(bytes, value));
}

/* What the loaded graph keeps for each message and each name, beside the message itself. */
static uint64_t graph_cost(const ProtobufCMessageDescriptor *type)
{
    if (type == &onnx__node_proto__descriptor) return sizeof(Node) + 3 * sizeof(NodeId);
    if (type == &onnx__tensor_proto__descriptor) return sizeof(Value) + sizeof(Tensor) + sizeof(ScanPayload);
    if (type == &onnx__value_info_proto__descriptor) return sizeof(Value);
    if (type == &onnx__attribute_proto__descriptor) return sizeof(Attr);
    if (type == &onnx__graph_proto__descriptor) return sizeof(Graph);
    return 0;
}

static Status enter(Walk *w, const ProtobufCMessageDescriptor *type, size_t size)
{
    if (w->depth == SCAN_DEPTH) {
        return err_set(w->err, ERR_DATA, "byte %zu: messages nested more than %d deep: the file is damaged or hostile",
                       (size_t)(w->at.at - w->begin), SCAN_DEPTH);
    }
    Frame *f = &w->stack[w->depth++];
    *f = (Frame){ .type = type, .end = w->at.at + size, .length_at = w->scan->slim_size, .first_part = w->scan->part_count };
    w->at.end = f->end;
    TRY(charge(w, type->sizeof_message + sizeof(void *) + FIELD_OVERHEAD + graph_cost(type)));
    static const uint8_t blank[LENGTH_BYTES] = { 0 };
    return w->depth == 1 ? OK : emit(w, blank, sizeof blank);
}

static Status leave(Walk *w)
{
    Scan *s = w->scan;
    const Frame *f = &w->stack[w->depth - 1];
    if (f->type == &onnx__tensor_proto__descriptor && s->part_count > f->first_part) {
        if (!array_grow((void **)&s->payloads, &s->payload_capacity, s->payload_count + 1, sizeof *s->payloads)) {
            return err_no_memory(w->err, "the table of tensors");
        }
        s->payloads[s->payload_count] = (ScanPayload){ f->first_part, s->part_count - f->first_part };
        TRY(emit_varint(w, (uint64_t)TENSOR_PAYLOAD << 3 | WIRE_VARINT));
        TRY(emit_varint(w, s->payload_count++));
    }
    if (w->depth > 1) {
        size_t size = s->slim_size - f->length_at - LENGTH_BYTES;
        for (int i = 0; i < LENGTH_BYTES; i++) {
            s->slim[f->length_at + (size_t)i] = (uint8_t)((size >> (7 * i) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
        }
    }
    w->depth--;
    if (w->depth > 0) w->at.end = w->stack[w->depth - 1].end;
    return OK;
}

/* The bytes of one value after its tag; length-delimited ones without their length. */
static bool take_value(Walk *w, int wire, Cursor *out)
{
    uint64_t size;
    const uint8_t *from = w->at.at;
    switch (wire) {
    case WIRE_VARINT:
        if (!cursor_varint(&w->at, &size)) return false;
        *out = (Cursor){ from, w->at.at };
        return true;
    case WIRE_FIXED64: return cursor_take(&w->at, 8, out);
    case WIRE_FIXED32: return cursor_take(&w->at, 4, out);
    case WIRE_BYTES:
        if (cursor_varint(&w->at, &size) && cursor_take(&w->at, size, out)) return true;
        w->at.at = from;
        return false;
    default: return false;
    }
}

static int wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_BYTES: case PROTOBUF_C_TYPE_STRING: case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

/* Records data of a tensor instead of copying it; neighbouring single elements of one field become one part. */
static Status keep_part(Walk *w, uint32_t number, bool run, const uint8_t *data, size_t size)
{
    Scan *s = w->scan;
    size_t first = w->stack[w->depth - 1].first_part;
    ScanPart *last = s->part_count > first ? &s->parts[s->part_count - 1] : NULL;
    if (run && last != NULL && last->run && last->field == number && last->data + last->size == data) {
        last->size += size;
        return OK;
    }
    TRY(charge(w, sizeof(ScanPart)));
    if (!array_grow((void **)&s->parts, &s->part_capacity, s->part_count + 1, sizeof *s->parts)) {
        return err_no_memory(w->err, "the table of tensors");
    }
    s->parts[s->part_count++] = (ScanPart){ .field = number, .run = run, .data = data, .size = size };
    return OK;
}

static Status copy_field(Walk *w, uint32_t number, int wire, Cursor value)
{
    TRY(emit_varint(w, (uint64_t)number << 3 | (unsigned)wire));
    if (wire == WIRE_BYTES) TRY(emit_varint(w, cursor_left(&value)));
    return emit(w, value.at, cursor_left(&value));
}

/* A scalar, text or packed field that decoding copies. */
static Status plain_field(Walk *w, const ProtobufCFieldDescriptor *field, uint32_t number, int wire, Cursor value)
{
    uint64_t cost = FIELD_OVERHEAD;
    if (field == NULL) {
        cost += sizeof(ProtobufCMessageUnknownField) + 10 + cursor_left(&value);
    } else if (wire == WIRE_BYTES
               && wire_of(field->type) != WIRE_BYTES) { /* packed numbers: no more than one each byte, eight bytes each */
        cost += 8 * (uint64_t)cursor_left(&value);
        if (wire_of(field->type) == WIRE_VARINT) {
            Cursor c = value;
            uint64_t ignored;
            while (cursor_left(&c) > 0) {
                if (!cursor_varint(&c, &ignored)) return malformed(w, "packed numbers that are cut off");
            }
        } else if (cursor_left(&value) % (wire_of(field->type) == WIRE_FIXED32 ? 4 : 8) != 0) {
            return malformed(w, "packed numbers that are cut off");
        }
    } else {
        cost += sizeof(ProtobufCBinaryData) + 2 * (uint64_t)cursor_left(&value); /* once in the message, once in the graph */
        bool made = w->stack[w->depth - 1].type == &onnx__node_proto__descriptor && number == NODE_OUTPUT;
        if (made) cost += sizeof(Value);
    }
    TRY(charge(w, cost));
    return copy_field(w, number, wire, value);
}

static Status scan_field(Walk *w)
{
    Frame *f = &w->stack[w->depth - 1];
    const uint8_t *from = w->at.at;
    uint64_t tag;
    if (!cursor_varint(&w->at, &tag) || tag > UINT32_MAX || tag >> 3 == 0) return malformed(w, "no field where one must begin");
    uint32_t number = (uint32_t)(tag >> 3);
    int wire = (int)(tag & 7);
    bool tensor = f->type == &onnx__tensor_proto__descriptor;
    if (tensor && number == TENSOR_PAYLOAD) return malformed(w, "a field that no ONNX version has");
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(f->type, number);
    bool packed = false;
    if (field != NULL) {
        int expected = wire_of(field->type);
        packed = wire == WIRE_BYTES && expected != WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED;
        if (wire != expected && !packed) {
            return err_set(w->err, ERR_DATA,
                           "byte %zu: field %s of a %s has wire type %d, expected %d: the file is damaged or no ONNX file",
                           (size_t)(from - w->begin), field->name, f->type->short_name, wire, expected);
        }
    }
    Cursor value;
    if (!take_value(w, wire, &value)) return malformed(w, field != NULL ? "a field that is cut off" : "an unknown field that is cut off");
    if (tensor && wire_is_tensor_data(number)) {
        bool whole = packed || number == TENSOR_RAW_DATA;
        return whole ? keep_part(w, number, false, value.at, cursor_left(&value))
                     : keep_part(w, number, true, from, (size_t)(w->at.at - from));
    }
    if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) return plain_field(w, field, number, wire, value);

    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = (uint64_t)1 << (field - f->type->fields);
        if ((f->seen & bit) != 0) {
            return err_set(w->err, ERR_DATA, "byte %zu: field %s stands twice in a %s, expected once", (size_t)(from - w->begin),
                           field->name,
                           f->type->short_name);
        }
        f->seen |= bit;
    }
    TRY(emit_varint(w, tag));
    w->at.at = value.at;
    return enter(w, field->descriptor, cursor_left(&value));
}

Status scan_message(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *root, uint64_t max_mem, Scan *out, Err *err)
{
    *out = (Scan){ .limit = max_mem > 0 ? max_mem : SCAN_DEFAULT_MEMORY };
    Walk w = { .scan = out, .begin = data, .at = { data, data + size }, .err = err };
    Status status = enter(&w, root, size);
    while (status == OK && w.depth > 0) status = cursor_left(&w.at) == 0 ? leave(&w) : scan_field(&w);
    if (status != OK) scan_release(out);
    return status;
}

void scan_release(Scan *s)
{
    free(s->slim);
    free(s->parts);
    free(s->payloads);
    *s = (Scan){ 0 };
}
