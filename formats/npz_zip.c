/* The directory of a zip archive, read from hostile bytes. APPNOTE.TXT 6.3.10, sections 4.3 (records) and 4.5.3 (zip64).
 * The central directory alone says where members are; local headers are only held against it. */
#include "formats/npz_internal.h"

#include "base/bytes.h"

#include <stdlib.h>

#define MAX_ENTRIES 1000000
#define MAX_NAME 4096
#define END_BYTES 22
#define LOCATOR_BYTES 20
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46

typedef struct Directory {
    uint64_t offset, size, entries;
    uint64_t end; /* of the bytes that members and directory may take: where the end records begin */
} Directory;

bool zip_probe(const uint8_t *data, size_t size)
{
    Cursor c = { data, data + size };
    uint32_t sig;
    return cursor_u32(&c, &sig) && (sig == ZIP_SIG_LOCAL || sig == ZIP_SIG_END);
}

/* Offset of the end record: the last one whose comment reaches exactly to the end of the file. */
static bool find_end(const uint8_t *data, size_t size, size_t *at)
{
    if (size < END_BYTES) return false;
    size_t lowest = size > END_BYTES + 65535 ? size - END_BYTES - 65535 : 0;
    for (size_t i = size - END_BYTES + 1; i-- > lowest;) {
        if (data[i] != 'P' || data[i + 1] != 'K' || data[i + 2] != 5 || data[i + 3] != 6) continue;
        if ((size_t)(data[i + 20] | data[i + 21] << 8) == size - i - END_BYTES) {
            *at = i;
            return true;
        }
    }
    return false;
}

static Status read_end64(const uint8_t *data, size_t end, const char *path, Directory *d, Err *err)
{
    Cursor c = { data + end - LOCATOR_BYTES, data + end };
    uint32_t sig = 0, disk = 0, disks = 0;
    uint64_t at = 0;
    if (!(cursor_u32(&c, &sig) && cursor_u32(&c, &disk) && cursor_u64(&c, &at) && cursor_u32(&c, &disks)) ||
        at > end - LOCATOR_BYTES)
        return err_set(err, ERR_DATA, "%s: zip64 end record lies outside the file", path);
    c = (Cursor){ data + at, data + end - LOCATOR_BYTES };
    uint64_t record = 0, here = 0;
    uint16_t version = 0, needs = 0;
    uint32_t disk_no = 0, first_disk = 0;
    if (!(cursor_u32(&c, &sig) && sig == ZIP_SIG_END64 && cursor_u64(&c, &record) && cursor_u16(&c, &version) &&
          cursor_u16(&c, &needs) && cursor_u32(&c, &disk_no) && cursor_u32(&c, &first_disk) && cursor_u64(&c, &here) &&
          cursor_u64(&c, &d->entries) && cursor_u64(&c, &d->size) && cursor_u64(&c, &d->offset)))
        return err_set(err, ERR_DATA, "%s: zip64 end record at %llu is damaged", path, (unsigned long long)at);
    if (disk_no != 0 || first_disk != 0 || here != d->entries || disks > 1)
        return err_set(err, ERR_UNSUPPORTED, "%s: archive is split over several files", path);
    d->end = at;
    return OK;
}

static Status read_end(const uint8_t *data, size_t size, const char *path, Directory *d, Err *err)
{
    size_t at;
    if (!find_end(data, size, &at))
        return err_set(err, ERR_DATA, "%s: no end of a zip directory found: truncated, or no .npz", path);
    Cursor c = { data + at + 4, data + size };
    uint16_t disk = 0, first_disk = 0, here = 0, entries = 0;
    uint32_t bytes = 0, offset = 0;
    if (!(cursor_u16(&c, &disk) && cursor_u16(&c, &first_disk) && cursor_u16(&c, &here) && cursor_u16(&c, &entries) &&
          cursor_u32(&c, &bytes) && cursor_u32(&c, &offset)))
        return err_set(err, ERR_DATA, "%s: zip end record is damaged", path);
    *d = (Directory){ .offset = offset, .size = bytes, .entries = entries, .end = at };
    bool saturated = entries == 0xFFFF || here == 0xFFFF || bytes == 0xFFFFFFFFu || offset == 0xFFFFFFFFu;
    bool located = at >= LOCATOR_BYTES && memcmp(data + at - LOCATOR_BYTES, "PK\6\7", 4) == 0;
    if (located) {
        TRY(read_end64(data, at, path, d, err));
    } else if (saturated) {
        return err_set(err, ERR_DATA, "%s: zip64 end record is missing", path);
    } else if (disk != 0 || first_disk != 0 || here != entries) {
        return err_set(err, ERR_UNSUPPORTED, "%s: archive is split over several files", path);
    }
    if (d->offset > d->end || d->size > d->end - d->offset)
        return err_set(err, ERR_DATA, "%s: zip directory (%llu bytes at %llu) lies outside the file of %zu bytes", path,
                       (unsigned long long)d->size, (unsigned long long)d->offset, size);
    if (d->entries > d->size / CENTRAL_BYTES || d->entries > MAX_ENTRIES)
        return err_set(err, ERR_DATA, "%s: zip directory of %llu bytes cannot hold %llu members", path,
                       (unsigned long long)d->size, (unsigned long long)d->entries);
    return OK;
}

/* The zip64 extra field holds, in this order, those of size, packed size and offset that are saturated in the record. */
static bool read_extra64(Cursor extra, uint64_t *size, uint64_t *packed, uint64_t *offset)
{
    bool need_size = *size == 0xFFFFFFFFu, need_packed = *packed == 0xFFFFFFFFu, need_offset = *offset == 0xFFFFFFFFu;
    while (cursor_left(&extra) >= 4) {
        uint16_t id, len;
        Cursor field;
        if (!cursor_u16(&extra, &id) || !cursor_u16(&extra, &len) || !cursor_take(&extra, len, &field)) return false;
        if (id != 1) continue;
        if (need_size && !cursor_u64(&field, size)) return false;
        if (need_packed && !cursor_u64(&field, packed)) return false;
        if (need_offset && !cursor_u64(&field, offset)) return false;
        return true;
    }
    return !need_size && !need_packed && !need_offset;
}

static Status check_name(const ZipEntry *e, const char *path, Err *err)
{
    if (e->name_len == 0 || e->name_len > MAX_NAME)
        return err_set(err, ERR_DATA, "%s: a member's name has %zu bytes, allowed are 1 to %d", path, e->name_len, MAX_NAME);
    if (memchr(e->name, 0, e->name_len) != NULL)
        return err_set(err, ERR_DATA, "%s: member '%.*s' has a NUL in its name", path, (int)e->name_len, e->name);
    for (size_t i = 0; i < e->name_len;) {
        size_t end = i;
        while (end < e->name_len && e->name[end] != '/' && e->name[end] != '\\') end++;
        if (end - i == 2 && e->name[i] == '.' && e->name[i + 1] == '.')
            return err_set(err, ERR_DATA, "%s: member '%.*s' climbs out of the archive with '..'", path, (int)e->name_len, e->name);
        i = end + 1;
    }
    return OK;
}

/* The local header must repeat name and method; where the packed bytes begin is known only from it. */
static Status check_local(const uint8_t *data, const Directory *d, ZipEntry *e, const char *path, Err *err)
{
    int name_len = (int)e->name_len;
    if (e->start > d->offset)
        return err_set(err, ERR_DATA, "%s: member '%.*s' begins at %llu, past the members' end at %llu", path, name_len, e->name,
                       (unsigned long long)e->start, (unsigned long long)d->offset);
    Cursor c = { data + e->start, data + d->offset }, name;
    uint32_t sig = 0;
    uint16_t method = 0, name_size = 0, extra_size = 0;
    if (!(cursor_u32(&c, &sig) && sig == ZIP_SIG_LOCAL && cursor_skip(&c, 4) && cursor_u16(&c, &method) && cursor_skip(&c, 16) &&
          cursor_u16(&c, &name_size) && cursor_u16(&c, &extra_size) && cursor_take(&c, name_size, &name) &&
          cursor_skip(&c, extra_size)))
        return err_set(err, ERR_DATA, "%s: member '%.*s' has no local header at %llu", path, name_len, e->name,
                       (unsigned long long)e->start);
    if (name_size != e->name_len || memcmp(name.at, e->name, e->name_len) != 0 || method != e->method)
        return err_set(err, ERR_DATA, "%s: member '%.*s' has another name or method in its local header", path, name_len, e->name);
    e->data = (uint64_t)(c.at - data);
    if (e->packed > cursor_left(&c))
        return err_set(err, ERR_DATA, "%s: member '%.*s' should have %llu bytes, %zu are there: truncated or damaged", path, name_len,
                       e->name, (unsigned long long)e->packed, cursor_left(&c));
    return OK;
}

static Status read_entry(const uint8_t *data, const Directory *d, Cursor *c, const char *path, ZipEntry *e, Err *err)
{
    uint32_t sig = 0, crc = 0, packed = 0, size = 0, offset = 0;
    uint16_t flags = 0, method = 0, name_size = 0, extra_size = 0, comment = 0, disk = 0;
    Cursor name, extra;
    if (!(cursor_u32(c, &sig) && sig == ZIP_SIG_CENTRAL && cursor_skip(c, 4) && cursor_u16(c, &flags) && cursor_u16(c, &method) &&
          cursor_skip(c, 4) && cursor_u32(c, &crc) && cursor_u32(c, &packed) && cursor_u32(c, &size) && cursor_u16(c, &name_size) &&
          cursor_u16(c, &extra_size) && cursor_u16(c, &comment) && cursor_u16(c, &disk) && cursor_skip(c, 6) &&
          cursor_u32(c, &offset) && cursor_take(c, name_size, &name) && cursor_take(c, extra_size, &extra) && cursor_skip(c, comment)))
        return err_set(err, ERR_DATA, "%s: zip directory is damaged", path);
    *e = (ZipEntry){ .name = (const char *)name.at, .name_len = name_size, .method = method, .crc = crc,
                     .packed = packed, .size = size, .start = offset };
    TRY(check_name(e, path, err));
    int len = (int)e->name_len;
    if (!read_extra64(extra, &e->size, &e->packed, &e->start))
        return err_set(err, ERR_DATA, "%s: member '%.*s' lacks its zip64 sizes", path, len, e->name);
    if (flags & (ZIP_FLAG_ENCRYPTED | ZIP_FLAG_STRONG))
        return err_set(err, ERR_UNSUPPORTED, "%s: member '%.*s' is encrypted", path, len, e->name);
    if (method != ZIP_STORED && method != ZIP_DEFLATED)
        return err_set(err, ERR_UNSUPPORTED, "%s: member '%.*s' is packed with method %d; pare reads stored (0) and deflated (8)", path,
                       len, e->name, method);
    if (disk != 0 && disk != 0xFFFF) return err_set(err, ERR_UNSUPPORTED, "%s: archive is split over several files", path);
    if (method == ZIP_STORED && e->packed != e->size)
        return err_set(err, ERR_DATA, "%s: stored member '%.*s' has %llu bytes but says %llu", path, len, e->name,
                       (unsigned long long)e->packed, (unsigned long long)e->size);
    return check_local(data, d, e, path, err);
}

static int by_start(const void *a, const void *b)
{
    const ZipEntry *x = *(const ZipEntry *const *)a, *y = *(const ZipEntry *const *)b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static int by_name(const void *a, const void *b)
{
    const ZipEntry *x = *(const ZipEntry *const *)a, *y = *(const ZipEntry *const *)b;
    size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
    int order = memcmp(x->name, y->name, n);
    return order != 0 ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

/* Two members that share bytes are how a small archive pretends to be a large one. */
static Status check_apart(const ZipEntry *entries, int count, const char *path, Err *err)
{
    if (count < 2) return OK;
    const ZipEntry **sorted = alloc_array((size_t)count, sizeof *sorted);
    if (sorted == NULL) return err_no_memory(err, "the zip directory");
    Status status = OK;
    for (int i = 0; i < count; i++) sorted[i] = &entries[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_name);
    for (int i = 1; i < count && status == OK; i++) {
        if (by_name(&sorted[i - 1], &sorted[i]) == 0)
            status = err_set(err, ERR_DATA, "%s: member '%.*s' is there twice", path, (int)sorted[i]->name_len, sorted[i]->name);
    }
    qsort(sorted, (size_t)count, sizeof *sorted, by_start);
    for (int i = 1; i < count && status == OK; i++) {
        if (sorted[i - 1]->data + sorted[i - 1]->packed > sorted[i]->start)
            status = err_set(err, ERR_DATA, "%s: members '%.*s' and '%.*s' overlap", path, (int)sorted[i - 1]->name_len,
                             sorted[i - 1]->name, (int)sorted[i]->name_len, sorted[i]->name);
    }
    free(sorted);
    return status;
}

Status zip_read_directory(const uint8_t *data, size_t size, const char *path, ZipEntry **out, int *count, Err *err)
{
    Directory d;
    *out = NULL;
    *count = 0;
    TRY(read_end(data, size, path, &d, err));
    ZipEntry *entries = alloc_array((size_t)d.entries + 1, sizeof *entries);
    if (entries == NULL) return err_no_memory(err, "the zip directory");
    Cursor c = { data + d.offset, data + d.offset + d.size };
    Status status = OK;
    for (uint64_t i = 0; i < d.entries && status == OK; i++) status = read_entry(data, &d, &c, path, &entries[i], err);
    if (status == OK) status = check_apart(entries, (int)d.entries, path, err);
    if (status != OK) {
        free(entries);
        return status;
    }
    *out = entries;
    *count = (int)d.entries;
    return OK;
}
