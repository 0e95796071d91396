/* Graph to file: messages packed by protobuf-c, the numbers of tensors streamed in from where they lie. */
#include "formats/onnx_build.h"
#include "formats/splice.h"
#include "formats/wire.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4 << 20 };

/* protobuf's readers take no message of 2 GiB or more. */
#define MODEL_LIMIT ((uint64_t)INT32_MAX)

typedef struct Saver {
    OnnxBuilder builder;
    const SaveOptions *options;
    const char *path;
    char *data_path;     /* of the weights beside the model */
    uint8_t *packed;
    size_t packed_size;
    Splice *splice;
    OutFile *model, *data;
    uint64_t written;
    bool external;
    Err *err;
} Saver;

/* Streams bytes out; pages of a mapped file leave memory behind the writer. */
static Status stream(Saver *s, OutFile *out, const Buffer *buffer, const uint8_t *data, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        TRY(outfile_write(out, data + at, n, s->err));
        if (buffer != NULL && buffer->mapping != NULL) mapping_drop(buffer->mapping, data + at, n);
        s->written += n;
        if (s->options->log != NULL && !progress_step(s->options->log, (int64_t)s->written)) return err_set(s->err, ERR_INTERRUPTED,
                                                                                                            "interrupted");
    }
    return OK;
}

/* One payload: its tag and length are written by hand, its bytes streamed. A range of an external file counts as raw data. */
typedef struct Piece {
    uint32_t field; /* 0: `data` holds whole fields */
    const Buffer *buffer;
    const uint8_t *data;
    uint64_t size;
} Piece;

static size_t piece_count(const OnnxBuilder *b, uint64_t payload)
{
    size_t old = b->file != NULL ? b->file->payload_count : 0;
    if (payload >= old) return 1;
    const OnnxPayload *p = &b->file->payloads[payload];
    return p->external != NULL ? 1 : p->parts.count;
}

static Piece piece_at(const OnnxBuilder *b, uint64_t payload, size_t i)
{
    size_t old = b->file != NULL ? b->file->payload_count : 0;
    if (payload >= old) {
        const Tensor *t = b->payloads[payload - old].tensor;
        return (Piece){ TENSOR_RAW_DATA, t->buffer, t->data, t->bytes };
    }
    const OnnxPayload *p = &b->file->payloads[payload];
    if (p->external != NULL) return (Piece){ TENSOR_RAW_DATA, p->external, p->data, p->size };
    const ScanPart *part = &b->file->parts[p->parts.first + i];
    return (Piece){ part->run ? 0 : part->field, b->file->bytes, part->data, part->size };
}

static uint64_t payload_size(void *context, uint64_t payload)
{
    const OnnxBuilder *b = &((const Saver *)context)->builder;
    uint64_t total = 0;
    for (size_t i = 0; i < piece_count(b, payload); i++) {
        Piece p = piece_at(b, payload, i);
        total += p.size;
        if (p.field != 0) total += wire_varint_size((uint64_t)p.field << 3 | WIRE_BYTES) + wire_varint_size(p.size);
    }
    return total;
}

static Status payload_write(void *context, uint64_t payload, OutFile *out, Err *err)
{
    Saver *s = context;
    const OnnxBuilder *b = &s->builder;
    for (size_t i = 0; i < piece_count(b, payload); i++) {
        Piece p = piece_at(b, payload, i);
        uint8_t head[2 * WIRE_VARINT_MAX];
        size_t n = 0;
        if (p.field != 0) {
            n = wire_put_varint(head, (uint64_t)p.field << 3 | WIRE_BYTES);
            n += wire_put_varint(head + n, p.size);
        }
        TRY(outfile_write(out, head, n, err));
        TRY(stream(s, out, p.buffer, p.data, p.size));
    }
    return OK;
}

/* Packs the messages as they now are and measures the file they make. */
static Status pack(Saver *s)
{
    splice_free(s->splice);
    free(s->packed);
    s->splice = NULL;
    s->packed_size = protobuf_c_message_get_packed_size(&s->builder.model->base);
    s->packed = malloc(s->packed_size + 1);
    if (s->packed == NULL) return err_no_memory(s->err, "saving");
    protobuf_c_message_pack(&s->builder.model->base, s->packed);
    SpliceSource source = { payload_size, payload_write, s };
    return splice_new(s->packed, s->packed_size, &onnx__model_proto__descriptor, &source, &s->splice, s->err);
}

static Status external_entry(Saver *s, Onnx__StringStringEntryProto **out, const char *key, Str value)
{
    OnnxBuilder *b = &s->builder;
    Onnx__StringStringEntryProto *e = build_alloc(b, 1, sizeof *e);
    Str copy = arena_str(b->arena, value);
    if (e == NULL || copy.data == NULL) return err_no_memory(s->err, "saving");
    onnx__string_string_entry_proto__init(e);
    build_text(&e->has_key, &e->key, str_of(key));
    build_text(&e->has_value, &e->value, copy);
    *out = e;
    return OK;
}

/* Points one tensor's message at its place in the file beside the model. */
static Status externalize(Saver *s, SavePayload *p, const char *location)
{
    OnnxBuilder *b = &s->builder;
    Onnx__TensorProto *m = p->message;
    char offset[24], length[24];
    snprintf(offset, sizeof offset, "%" PRIu64, p->offset);
    snprintf(length, sizeof length, "%zu", p->tensor->bytes);
    m->external_data = build_alloc(b, 3, sizeof *m->external_data);
    if (m->external_data == NULL) return ERR_MEMORY;
    TRY(external_entry(s, &m->external_data[0], "location", str_of(location)));
    TRY(external_entry(s, &m->external_data[1], "offset", str_of(offset)));
    TRY(external_entry(s, &m->external_data[2], "length", str_of(length)));
    m->n_external_data = 3;
    m->has_data_location = 1;
    m->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    m->has_payload = 0;
    return OK;
}

/* Large tensors begin at a page, so that readers can map them; small ones at a cache line. */
static uint64_t aligned(uint64_t offset, size_t bytes)
{
    uint64_t unit = bytes >= 1 << 20 ? 4096 : 64;
    return (offset + unit - 1) / unit * unit;
}

static Status move_outside(Saver *s, bool attributes)
{
    const char *slash = strrchr(s->data_path, '/');
    const char *location = slash != NULL ? slash + 1 : s->data_path;
    uint64_t end = 0;
    for (size_t i = 0; i < s->builder.count; i++) {
        SavePayload *p = &s->builder.payloads[i];
        p->external |= attributes && p->tensor->bytes >= EXTERNAL_MIN_BYTES;
        if (!p->external) continue;
        p->offset = aligned(end, p->tensor->bytes);
        end = p->offset + p->tensor->bytes;
        TRY(externalize(s, p, location));
        s->external = true;
    }
    return OK;
}

static Status choose_places(Saver *s)
{
    bool wanted = false; /* some weight is to lie outside */
    for (size_t i = 0; i < s->builder.count; i++) wanted |= s->builder.payloads[i].external;
    wanted &= s->options->external || s->builder.graph->external_data;
    if (!wanted) {
        TRY(pack(s));
        if (splice_size(s->splice) <= MODEL_LIMIT) return OK;
    }
    if (outfile_is_stream(s->path)) {
        return err_set(s->err, ERR_USAGE,
                       "the model needs a file for its weights beside it (%s), which a stream has not; name an output file",
                       wanted ? "external data" : "it passes 2 GiB");
    }
    TRY(move_outside(s, false));
    TRY(pack(s));
    if (splice_size(s->splice) <= MODEL_LIMIT) return OK;
    TRY(move_outside(s, true));
    TRY(pack(s));
    if (splice_size(s->splice) <= MODEL_LIMIT) return OK;
    return err_set(s->err, ERR_UNSUPPORTED, "the model takes %llu bytes without its weights, at most %llu can be written",
                   (unsigned long long)splice_size(s->splice), (unsigned long long)MODEL_LIMIT);
}

static Status refuse_input(const Saver *s, const char *output, const char *input)
{
    if (s->options->force || !file_same(output, input)) return OK;
    return err_set(s->err, ERR_USAGE, "%s is an input of this run and would be written over; choose another name or give --force", output);
}

/* Neither the model nor the file beside it may replace a file that was read. */
static Status check_target(const Saver *s, const char *output)
{
    if (outfile_is_stream(output)) return OK;
    for (const char *const *input = s->options->inputs; input != NULL && *input != NULL; input++) TRY(refuse_input(s, output, *input));
    const OnnxFile *f = s->builder.file;
    if (f == NULL) return OK;
    TRY(refuse_input(s, output, f->bytes->mapping->path));
    const Buffer *last = NULL;
    for (size_t i = 0; i < f->payload_count; i++) {
        const Buffer *external = f->payloads[i].external;
        if (external != NULL && external != last) TRY(refuse_input(s, output, external->mapping->path));
        last = external;
    }
    return OK;
}

static Status write_data(Saver *s)
{
    static const uint8_t zeros[4096];
    TRY(check_target(s, s->data_path));
    TRY(outfile_open(s->data_path, &s->data, s->err));
    for (size_t i = 0; i < s->builder.count; i++) {
        const SavePayload *p = &s->builder.payloads[i];
        if (!p->external) continue;
        TRY(outfile_write(s->data, zeros, (size_t)(p->offset - outfile_bytes(s->data)), s->err));
        TRY(stream(s, s->data, p->tensor->buffer, p->tensor->data, p->tensor->bytes));
    }
    return outfile_prepare(s->data, s->err);
}

/* Both files are complete on disk before either gets its name: the data first, the model that refers to it last. */
static Status write_files(Saver *s)
{
    TRY(check_target(s, s->path));
    if (s->external) TRY(write_data(s));
    TRY(outfile_open(s->path, &s->model, s->err));
    TRY(splice_write(s->splice, s->model, s->err));
    TRY(outfile_prepare(s->model, s->err));
    OutFile *data = s->data, *model = s->model;
    s->data = NULL;
    if (data != NULL) TRY(outfile_commit(data, s->err));
    s->model = NULL;
    return outfile_commit(model, s->err);
}

static uint64_t weight_bytes(const OnnxBuilder *b)
{
    uint64_t total = 0;
    for (size_t i = 0; i < b->count; i++) total += b->payloads[i].tensor->bytes;
    return total;
}

Status onnx_save(Graph *g, const char *path, const SaveOptions *options, Err *err)
{
    Saver s = { .options = options, .path = path, .err = err };
    Status status = OK;
    if (asprintf(&s.data_path, "%s.data", path) < 0) {
        s.data_path = NULL;
        return err_no_memory(err, "a path");
    }
    TRY_OUT(onnx_build_model(&s.builder, g, err));
    TRY_OUT(choose_places(&s));
    progress_begin(options->log, "saving", (int64_t)weight_bytes(&s.builder));
    status = write_files(&s);
    progress_end(options->log);
out:
    outfile_abort(s.data);
    outfile_abort(s.model);
    splice_free(s.splice);
    free(s.packed);
    free(s.data_path);
    onnx_build_release(&s.builder);
    return status;
}
