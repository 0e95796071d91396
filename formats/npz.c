/* Reading .npz and .npy: opening, looking up, and copying out tensors and slices. */
#include "formats/npz_internal.h"

#include "base/bytes.h"

#include <stdarg.h>
#include <stdlib.h>

#define LISTED 8 /* arrays of a file in a message */

static Status member_header(const Npz *z, NpzMember *m, Err *err)
{
    uint8_t *text = malloc(NPY_MAX_HEADER + NPY_PREFIX);
    if (text == NULL) return err_no_memory(err, "an array header");
    const uint8_t *head = text;
    size_t got = 0, need = 0;
    Status status = OK;
    if (m->method == ZIP_DEFLATED) {
        size_t most = m->size < NPY_MAX_HEADER + NPY_PREFIX ? (size_t)m->size : NPY_MAX_HEADER + NPY_PREFIX;
        TRY_OUT(npz_inflate_head(z, m, text, most, &got, err));
    } else {
        head = z->file->data + m->data;
        got = (size_t)m->size;
    }
    TRY_OUT(npy_header_size(head, got, m->what, &need, err));
    TRY_OUT(npy_header_parse(head, got < need ? got : need, m->what, &m->header, err));
    m->array.type = m->header.type;
    m->array.shape = m->header.shape;
    if (m->header.type != DT_NONE && m->size != m->header.header_bytes + m->header.bytes) {
        char shape[128];
        shape_print(&m->header.shape, shape, sizeof shape);
        status = err_set(err, ERR_DATA, "%s: %s %s takes %zu bytes, %llu are there", m->what, dtype_name(m->header.type), shape,
                         m->header.bytes, (unsigned long long)(m->size - m->header.header_bytes));
    }
out:
    free(text);
    return status;
}

/* Names the member; the name is escaped by the message functions. */
static Status member_init(NpzMember *m, const char *path, const char *name, size_t len, Err *err)
{
    m->name = malloc(len + 1);
    if (m->name == NULL) return err_no_memory(err, "an array's name");
    memcpy(m->name, name, len);
    m->name[len] = '\0';
    m->array.name = (Str){ m->name, len };
    if (asprintf(&m->what, "%s: array '%s'", path, m->name) < 0) {
        m->what = NULL;
        return err_no_memory(err, "an array's name");
    }
    return OK;
}

static Status open_lone(Npz *z, const char *name, Err *err)
{
    const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name;
    size_t len = strlen(base);
    if (len > 4 && strcmp(base + len - 4, ".npy") == 0) len -= 4;
    z->members = alloc_zeroed(1, sizeof *z->members);
    if (z->members == NULL) return err_no_memory(err, "the list of arrays");
    z->count = 1;
    NpzMember *m = z->members;
    TRY(member_init(m, z->path, base, len, err));
    m->method = ZIP_STORED;
    m->packed = m->size = z->file->size;
    return member_header(z, m, err);
}

static Status open_archive(Npz *z, Err *err)
{
    ZipEntry *entries = NULL;
    int count = 0;
    TRY(zip_read_directory(z->file->data, z->file->size, z->path, &entries, &count, err));
    Status status = OK;
    z->members = alloc_zeroed((size_t)count + 1, sizeof *z->members);
    if (z->members == NULL) {
        status = err_no_memory(err, "the list of arrays");
        goto out;
    }
    for (int i = 0; i < count; i++) {
        const ZipEntry *e = &entries[i];
        /* what is no .npy is no array, to NumPy neither: a note or a licence kept beside them */
        if (e->name_len <= 4 || memcmp(e->name + e->name_len - 4, ".npy", 4) != 0) continue;
        NpzMember *m = &z->members[z->count++];
        TRY_OUT(member_init(m, z->path, e->name, e->name_len - 4, err));
        m->method = e->method;
        m->crc = e->crc;
        m->check_crc = true;
        m->packed = e->packed;
        m->size = e->size;
        m->data = e->data;
        TRY_OUT(member_header(z, m, err));
    }
    npz_drop(z->file, 0, z->file->size);
out:
    free(entries);
    return status;
}

Status npz_open_mapping(Mapping *file, const char *name, uint64_t max_mem, Npz **out, Err *err)
{
    Npz *z = alloc_zeroed(1, sizeof *z);
    if (z == NULL || (z->path = strdup(name)) == NULL) {
        free(z);
        return err_no_memory(err, "a data file");
    }
    z->file = mapping_ref(file);
    z->max_mem = max_mem;
    Status status;
    if (file->size >= 6 && memcmp(file->data, "\x93NUMPY", 6) == 0) {
        status = open_lone(z, name, err);
    } else if (zip_probe(file->data, file->size)) {
        status = open_archive(z, err);
    } else {
        status = err_set(err, ERR_DATA, "%s: neither .npz nor .npy%s", name, file->size == 0 ? " (empty)" : "");
    }
    if (status != OK) {
        npz_close(z);
        return status;
    }
    *out = z;
    return OK;
}

Status npz_open(const char *path, uint64_t max_mem, Npz **out, Err *err)
{
    Mapping *file = NULL;
    TRY(mapping_open(path, 0, &file, err));
    Status status = npz_open_mapping(file, path, max_mem, out, err);
    mapping_unref(file);
    return status;
}

void npz_close(Npz *z)
{
    if (z == NULL) return;
    for (int i = 0; i < z->count; i++) {
        mapping_unref(z->members[i].ready);
        free(z->members[i].name);
        free(z->members[i].what);
    }
    free(z->members);
    mapping_unref(z->file);
    free(z->path);
    free(z);
}

int npz_count(const Npz *z) { return z->count; }
const NpzArray *npz_array(const Npz *z, int i) { return &z->members[i].array; }
const char *npz_descr(const Npz *z, int i) { return z->members[i].header.descr; }
const Mapping *npz_mapping(const Npz *z) { return z->file; }

void npz_print_array(const Npz *z, int i, StrBuf *b)
{
    const NpzArray *a = npz_array(z, i);
    char shape[200];
    shape_print(&a->shape, shape, sizeof shape);
    strbuf_printf(b, "%s %s", a->type != DT_NONE ? dtype_name(a->type) : npz_descr(z, i), shape);
}

void npz_print_list(const Npz *z, StrBuf *b)
{
    strbuf_add(b, z->count > 0 ? "there are " : "it holds no arrays");
    for (int i = 0; i < z->count && i < LISTED; i++) {
        strbuf_printf(b, "%s'%s' ", i > 0 ? ", " : "", npz_array(z, i)->name.data);
        npz_print_array(z, i, b);
    }
    if (z->count > LISTED) strbuf_printf(b, " and %d more", z->count - LISTED);
}

Status npz_missing(const Npz *z, Err *err, const char *format, ...)
{
    StrBuf b = { 0 };
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    npz_print_list(z, &b);
    Status status = b.failed ? err_no_memory(err, "a message") : err_set(err, ERR_DATA, "%s; %s", text, b.data);
    strbuf_release(&b);
    return status;
}

int npz_find(const Npz *z, const char *name)
{
    for (int i = 0; i < z->count; i++) {
        if (strcmp(z->members[i].name, name) == 0) return i;
    }
    return -1;
}

Status npz_tensor(Npz *z, int i, Tensor *out, Err *err)
{
    NpzMember *m = &z->members[i];
    TRY(npz_prepare(z, m, err));
    if (!m->header.big_endian || npy_item_size(m->header.type) == 1) {
        Buffer *buffer = buffer_of_mapping(m->ready);
        if (buffer == NULL) return err_no_memory(err, m->what);
        *out = (Tensor){ .type = m->header.type, .shape = m->header.shape, .buffer = buffer,
                         .data = buffer->data + m->start, .bytes = m->header.bytes };
        return OK;
    }
    if (z->max_mem > 0 && m->header.bytes > z->max_mem)
        return err_set(err, ERR_MEMORY, "%s: %zu bytes to swap are over --max-mem (%llu)", m->what, m->header.bytes,
                       (unsigned long long)z->max_mem);
    TRY(tensor_new(out, m->header.type, &m->header.shape, err));
    if (m->header.bytes > 0) memcpy(out->data, m->ready->data + m->start, m->header.bytes);
    npy_swap(out->data, m->header.type, (size_t)tensor_count(out));
    npz_drop(m->ready, m->start, m->header.bytes);
    return OK;
}

Status npz_slice(Npz *z, int i, int axis, int64_t first, int64_t count, void *out, Err *err)
{
    NpzMember *m = &z->members[i];
    TRY(npz_prepare(z, m, err));
    const Shape *s = &m->header.shape;
    if (axis < 0 || axis >= s->rank || first < 0 || count < 0 || first > s->dims[axis] - count)
        return err_set(err, ERR_BUG, "%s: slice [%lld, %lld) of axis %d is not there", m->what, (long long)first,
                       (long long)(first + count), axis);
    if (m->header.bytes == 0 || count == 0) return OK;
    size_t item = npy_item_size(m->header.type), outer = 1, inner = item, length = (size_t)s->dims[axis];
    for (int a = 0; a < axis; a++) outer *= (size_t)s->dims[a];
    for (int a = axis + 1; a < s->rank; a++) inner *= (size_t)s->dims[a];
    size_t run = (size_t)count * inner, pending = 0, touched = 0;
    uint8_t *to = out;
    for (size_t o = 0; o < outer; o++) {
        size_t at = m->start + (o * length + (size_t)first) * inner;
        memcpy(to + o * run, m->ready->data + at, run);
        if (touched == 0) pending = at;
        touched += run + 65536; /* what a fault usually brings in besides */
        if (touched > (size_t)8 << 20 || o + 1 == outer) {
            npz_drop(m->ready, pending, at + run - pending);
            touched = 0;
        }
    }
    if (m->header.big_endian) npy_swap(out, m->header.type, outer * run / item);
    return OK;
}
