/* Tensors whose data lies in files beside the model: found, opened inside the model's folder only, mapped. */
#include "formats/onnx_file.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "formats/visit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <nettle/sha1.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct DataFile {
    char *location; /* as the model spells it */
    Buffer *bytes;
    bool hashed;
    char sha1[2 * SHA1_DIGEST_SIZE + 1];
} DataFile;

typedef struct Resolver {
    OnnxFile *file;
    const char *folder;
    DataFile *files;
    size_t count, capacity;
    bool found;
    Err *err;
} Resolver;

#define TENSOR "tensor '%.*s'"

/* A relative path without ".." parts, NUL bytes or emptiness. */
static bool location_is_plain(Str s)
{
    if (s.len == 0 || s.data[0] == '/' || memchr(s.data, 0, s.len) != NULL) return false;
    for (size_t at = 0; at < s.len;) {
        const char *slash = memchr(s.data + at, '/', s.len - at);
        size_t part = slash != NULL ? (size_t)(slash - s.data) - at : s.len - at;
        if (part == 2 && memcmp(s.data + at, "..", 2) == 0) return false;
        at += part + 1;
    }
    return true;
}

/* Opens a path that may not leave the folder, by the kernel's rule where it has one. -1 and errno; EXDEV: it leaves. */
static int open_beneath(int folder, const char *path)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

/* The same by names, for kernels without openat2 and for absolute links that point back inside. */
static int open_resolved(const char *folder, const char *path)
{
    char *joined = path_join(folder, path), *root = realpath(folder, NULL), *target = joined != NULL ? realpath(joined, NULL) : NULL;
    int fd = -1;
    if (root != NULL && target != NULL) {
        size_t n = strlen(root);
        bool inside = strncmp(root, target, n) == 0 && (target[n] == '/' || n == 1);
        if (inside) fd = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
        else errno = EXDEV;
    }
    int reason = errno;
    free(joined);
    free(root);
    free(target);
    errno = reason;
    return fd;
}

static Status open_data(Resolver *r, Str tensor, const char *location, Mapping **out)
{
    int folder = open(r->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return err_set(r->err, ERR_IO, "folder %s of the model: %s", r->folder, strerror(errno));
    int fd = open_beneath(folder, location);
    if (fd < 0 && (errno == ENOSYS || errno == EXDEV || errno == EPERM || errno == EINVAL)) fd = open_resolved(r->folder, location);
    int reason = errno;
    close(folder);
    if (fd < 0 && (reason == EXDEV || reason == ELOOP)) {
        return err_set(r->err, ERR_DATA, TENSOR ": external data '%s' leads out of the model's folder %s", STR_ARG(tensor), location,
                       r->folder);
    }
    if (fd < 0) return err_set(r->err, ERR_IO, TENSOR ": external data '%s' in %s: %s", STR_ARG(tensor), location, r->folder,
                               strerror(reason));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return err_set(r->err, ERR_DATA, TENSOR ": external data '%s' is no regular file", STR_ARG(tensor), location);
    }
    char *path = path_join(r->folder, location);
    if (path == NULL) {
        close(fd);
        return err_no_memory(r->err, "a path");
    }
    Status status = mapping_open_fd(fd, path, 0, out, r->err);
    free(path);
    return status;
}

static Status data_file(Resolver *r, Str tensor, Str location, DataFile **out)
{
    for (size_t i = 0; i < r->count; i++) {
        if (!str_eq(str_of(r->files[i].location), location)) continue;
        *out = &r->files[i];
        return OK;
    }
    if (!location_is_plain(location)) {
        return err_set(r->err, ERR_DATA, TENSOR ": external data '%.*s' must be a path inside the model's folder (relative, without '..')",
                       STR_ARG(tensor), STR_ARG(location));
    }
    if (!array_grow((void **)&r->files, &r->capacity, r->count + 1, sizeof *r->files)) return err_no_memory(r->err, "external data");
    DataFile f = { .location = strndup(location.data, location.len) };
    if (f.location == NULL) return err_no_memory(r->err, "external data");
    Mapping *m = NULL;
    Status status = open_data(r, tensor, f.location, &m);
    if (status == OK && (f.bytes = buffer_of_mapping(m)) == NULL) status = err_no_memory(r->err, "external data");
    mapping_unref(m);
    if (status != OK) {
        free(f.location);
        return status;
    }
    r->files[r->count] = f;
    *out = &r->files[r->count++];
    return OK;
}

/* Hashes the whole file once, letting go of its pages behind. */
static Status check_sha1(Resolver *r, Str tensor, DataFile *f, Str expected)
{
    enum { BLOCK = 4 << 20 };
    if (!f->hashed) {
        struct sha1_ctx context;
        uint8_t digest[SHA1_DIGEST_SIZE];
        sha1_init(&context);
        for (size_t at = 0; at < f->bytes->size; at += BLOCK) {
            size_t n = f->bytes->size - at < BLOCK ? f->bytes->size - at : BLOCK;
            sha1_update(&context, n, f->bytes->data + at);
            mapping_drop(f->bytes->mapping, f->bytes->data + at, n);
        }
        sha1_digest(&context, sizeof digest, digest);
        hash_hex(digest, sizeof digest, f->sha1);
        f->hashed = true;
    }
    if (expected.len == strlen(f->sha1) && strncasecmp(expected.data, f->sha1, expected.len) == 0) return OK;
    return err_set(r->err, ERR_DATA, TENSOR ": external data '%s' has SHA-1 %s, expected %.*s: it belongs to another model or is damaged",
                   STR_ARG(tensor), f->location, f->sha1, STR_ARG(expected));
}

static bool parse_number(Str s, uint64_t *out)
{
    if (s.len == 0 || s.len > 20) return false;
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') return false;
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) || __builtin_add_overflow(*out, (uint64_t)(s.data[i] - '0'), out)) return false;
    }
    return true;
}

/* The value of an external_data entry; empty when there is none. */
static Str entry(const Onnx__TensorProto *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++) {
        if (str_is(str_of_bytes(t->external_data[i]->key), key)) return str_of_bytes(t->external_data[i]->value);
    }
    return (Str){ 0 };
}

/* From here on the payload says where the data lies; saving decides anew where it goes. */
static void forget_location(Onnx__TensorProto *t)
{
    for (size_t i = 0; i < t->n_external_data; i++) protobuf_c_message_free_unpacked(&t->external_data[i]->base, NULL);
    free(t->external_data);
    t->external_data = NULL;
    t->n_external_data = 0;
    t->has_data_location = 0;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
}

static Status resolve_tensor(Resolver *r, Onnx__TensorProto *t)
{
    Str name = str_of_bytes(t->name), offset_text = entry(t, "offset"), length_text = entry(t, "length"), sha1 = entry(t, "checksum");
    Tensor shape;
    TRY(onnx_tensor_shape(t, "tensor", &shape, r->err));
    if (shape.type == DT_STRING) return err_set(r->err, ERR_DATA, TENSOR ": strings cannot be external data", STR_ARG(name));
    if (t->has_payload) return err_set(r->err, ERR_DATA, TENSOR ": has data in the model and external data, expected one", STR_ARG(name));
    uint64_t offset = 0, length = shape.bytes;
    if ((offset_text.len > 0 && !parse_number(offset_text, &offset)) || (length_text.len > 0 && !parse_number(length_text, &length))) {
        return err_set(r->err, ERR_DATA, TENSOR ": offset '%.*s' and length '%.*s' of its external data, expected numbers", STR_ARG(name),
                       STR_ARG(offset_text), STR_ARG(length_text));
    }
    if (length_text.len == 0 && shape.type == DT_NONE) {
        return err_set(r->err, ERR_UNSUPPORTED, TENSOR ": element type %d as external data without a length", STR_ARG(name), t->data_type);
    }
    DataFile *f = NULL;
    TRY(data_file(r, name, entry(t, "location"), &f));
    if (offset > f->bytes->size || length > f->bytes->size - offset) {
        return err_set(r->err, ERR_DATA, TENSOR ": bytes %llu to %llu of external data '%s', which has %zu", STR_ARG(name),
                       (unsigned long long)offset,
                       (unsigned long long)(offset + length), f->location, f->bytes->size);
    }
    if (sha1.len > 0) TRY(check_sha1(r, name, f, sha1));
    OnnxFile *file = r->file;
    if (!array_grow((void **)&file->payloads, &file->payload_capacity, file->payload_count + 1, sizeof *file->payloads)) {
        return err_no_memory(r->err, "the table of tensors");
    }
    file->payloads[file->payload_count] = (OnnxPayload){ .external = buffer_ref(f->bytes), .data = f->bytes->data + offset,
                                                         .size = (size_t)length };
    t->has_payload = 1;
    t->payload = file->payload_count++;
    forget_location(t);
    r->found = true;
    return OK;
}

static Status resolve_message(ProtobufCMessage *message, void *context)
{
    Onnx__TensorProto *t = (Onnx__TensorProto *)message;
    bool external = t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    return external ? resolve_tensor(context, t) : OK;
}

Status onnx_external_resolve(OnnxFile *f, const char *folder, bool *found, Err *err)
{
    Resolver r = { .file = f, .folder = folder, .err = err };
    Status status = visit_messages(f->message, &onnx__tensor_proto__descriptor, resolve_message, &r);
    for (size_t i = 0; i < r.count; i++) {
        free(r.files[i].location);
        buffer_unref(r.files[i].bytes);
    }
    free(r.files);
    *found = r.found;
    return status;
}
