/* Writing .npz: arrays grow by rows in unlinked temporary files and become one zip archive on commit.
 * No time is written (DOS date 1980-01-01), members stand in the order they were declared, zip64 only where sizes need it, and array
 * headers are padded so that stored elements begin at a multiple of 64 bytes: the same arrays give the same, mappable file. */
#include "formats/npz_internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#define BLOCK ((size_t)1 << 18)
#define DOS_DATE 0x21 /* 1980-01-01 */
#define ZIP32_MOST 0xFFFFFFFFu
#define ALIGNMENT 64
#define LEVEL 6

typedef struct Pending {
    char *name;         /* of the member, with ".npy" */
    size_t name_len;
    DType type;
    Shape shape;        /* dims[0]: rows so far */
    int64_t row_items;  /* elements of one row */
    FILE *spool;        /* elements as stored */
    uint32_t crc;       /* of the elements; then of header and elements */
    uint64_t bytes;     /* in the spool */
    /* once written: */
    uint64_t size, packed, start;
} Pending;

struct NpzWriter {
    OutFile *file;
    char *path;
    bool compress;
    Pending *arrays;
    size_t count, capacity;
};

Status npz_writer_open(const char *path, bool compress, NpzWriter **out, Err *err)
{
    NpzWriter *w = alloc_zeroed(1, sizeof *w);
    if (w == NULL || (w->path = strdup(path)) == NULL) {
        free(w);
        return err_no_memory(err, "an .npz writer");
    }
    w->compress = compress;
    Status status = outfile_open(path, &w->file, err);
    if (status != OK) {
        npz_writer_abort(w);
        return status;
    }
    *out = w;
    return OK;
}

void npz_writer_abort(NpzWriter *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->count; i++) {
        free(w->arrays[i].name);
        if (w->arrays[i].spool != NULL) fclose(w->arrays[i].spool);
    }
    if (w->file != NULL) outfile_abort(w->file);
    free(w->arrays);
    free(w->path);
    free(w);
}

/* What the reader would refuse is not written. */
static Status check_array(const NpzWriter *w, const char *name, DType type, const Shape *shape, Err *err)
{
    if (dtype_numpy(type)[0] == '\0')
        return err_set(err, ERR_UNSUPPORTED, "%s: array '%s' of type %s has no form in .npz", w->path, name, dtype_name(type));
    if (name[0] == '\0' || strlen(name) > 4000) return err_set(err, ERR_DATA, "%s: an array's name has no or over 4000 bytes", w->path);
    for (const char *at = name; at != NULL; at = strpbrk(at, "/\\")) {
        if (*at == '/' || *at == '\\') at++;
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\\'))
            return err_set(err, ERR_DATA, "%s: array '%s' cannot be a member of an archive: '..' in its name", w->path, name);
    }
    for (size_t i = 0; i < w->count; i++) {
        const Pending *p = &w->arrays[i];
        if (p->name_len == strlen(name) + 4 && strncmp(p->name, name, p->name_len - 4) == 0)
            return err_set(err, ERR_DATA, "%s: two arrays are named '%s'", w->path, name);
    }
    for (int i = 1; i < shape->rank; i++) {
        if (shape->dims[i] < 0) return err_set(err, ERR_BUG, "%s: array '%s' has an unknown dimension", w->path, name);
    }
    return shape->rank < 0 ? err_set(err, ERR_BUG, "%s: array '%s' has an unknown rank", w->path, name) : OK;
}

Status npz_writer_array(NpzWriter *w, const char *name, DType type, const Shape *shape, int *array, Err *err)
{
    TRY(check_array(w, name, type, shape, err));
    if (!array_grow((void **)&w->arrays, &w->capacity, w->count + 1, sizeof *w->arrays)) return err_no_memory(err, "the list of arrays");
    Pending *p = &w->arrays[w->count];
    *p = (Pending){ .type = type, .shape = *shape, .row_items = 1, .crc = (uint32_t)crc32(0, NULL, 0) };
    for (int i = 1; i < shape->rank; i++) {
        if (!mul_i64(p->row_items, shape->dims[i], &p->row_items)) return err_set(err, ERR_DATA, "%s: array '%s' overflows", w->path, name);
    }
    p->shape.dims[0] = 0;
    p->name_len = strlen(name) + 4;
    if (asprintf(&p->name, "%s.npy", name) < 0) return err_no_memory(err, "an array's name");
    Status status = temp_file(&p->spool, err);
    if (status != OK) {
        free(p->name);
        return status;
    }
    *array = (int)w->count++;
    return OK;
}

Status npz_writer_rows(NpzWriter *w, int array, const void *data, int64_t rows, Err *err)
{
    Pending *p = &w->arrays[array];
    int64_t items;
    size_t bytes;
    if (rows < 0 || !mul_i64(rows, p->row_items, &items) || !mul_size((size_t)items, npy_item_size(p->type), &bytes))
        return err_set(err, ERR_DATA, "%s: rows of '%s' overflow", w->path, p->name);
    if (p->shape.rank == 0 && p->shape.dims[0] + rows > 1)
        return err_set(err, ERR_BUG, "%s: scalar '%s' is given twice", w->path, p->name);
    const uint8_t *at = data;
    for (size_t left = bytes; left > 0;) {
        size_t n = left < BLOCK ? left : BLOCK;
        p->crc = (uint32_t)crc32(p->crc, at, (uInt)n);
        if (fwrite(at, 1, n, p->spool) != n)
            return err_set(err, ERR_IO, "%s: temporary file of array '%s': %s", w->path, p->name, strerror(errno));
        at += n;
        left -= n;
    }
    p->bytes += bytes;
    p->shape.dims[0] += rows;
    return OK;
}

/* 4- and 2-bit elements, packed in memory, one value a byte in the file. */
static Status write_unpacked(NpzWriter *w, int array, const Tensor *t, Err *err)
{
    uint8_t block[4096];
    int64_t count = tensor_count(t), step = w->arrays[array].row_items;
    if (step == 0) return npz_writer_rows(w, array, NULL, t->shape.rank > 0 ? t->shape.dims[0] : 1, err);
    /* rows are counted at the end: a row may be longer than the block */
    Pending *p = &w->arrays[array];
    int64_t row_items = p->row_items, done = 0;
    p->row_items = 1;
    Status status = OK;
    Shape shape = p->shape;
    p->shape.rank = 1;
    while (done < count && status == OK) {
        int64_t n = count - done < (int64_t)sizeof block ? count - done : (int64_t)sizeof block;
        for (int64_t i = 0; i < n; i++) { /* integers by their value, float4 by its code */
            int64_t at = done + i;
            block[i] = t->type == DT_FLOAT4E2M1 ? t->data[at / 2] >> (at % 2 * 4) & 15 : (uint8_t)tensor_get_int(t, at);
        }
        status = npz_writer_rows(w, array, block, n, err);
        done += n;
    }
    p->row_items = row_items;
    p->shape = shape;
    p->shape.dims[0] = count / row_items;
    return status;
}

Status npz_writer_tensor(NpzWriter *w, const char *name, const Tensor *t, Err *err)
{
    int array;
    TRY(npz_writer_array(w, name, t->type, &t->shape, &array, err));
    if (dtype_bits(t->type) < 8) return write_unpacked(w, array, t, err);
    return npz_writer_rows(w, array, t->data, t->shape.rank > 0 ? t->shape.dims[0] : 1, err);
}

static void put(uint8_t **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *(*at)++ = (uint8_t)(value >> (8 * i));
}

/* The .npy header of version 1.0, padded so that the elements begin at a multiple of ALIGNMENT when the header begins at `start`. */
static Status make_header(const Pending *p, uint64_t start, StrBuf *b, Err *err)
{
    strbuf_add_n(b, "\x93NUMPY\1\0\0\0", 10);
    strbuf_printf(b, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtype_numpy(p->type));
    for (int i = 0; i < p->shape.rank; i++)
        strbuf_printf(b, i == 0 ? "%lld," : i + 1 == p->shape.rank ? " %lld" : " %lld,", (long long)p->shape.dims[i]);
    strbuf_add(b, "), }");
    while (!b->failed && (start + b->len + 1) % ALIGNMENT != 0) strbuf_add(b, " ");
    strbuf_add(b, "\n");
    if (b->failed) return err_no_memory(err, "an array header");
    b->data[8] = (char)((b->len - 10) & 0xFF);
    b->data[9] = (char)((b->len - 10) >> 8);
    return OK;
}

static bool is_ascii(const char *name)
{
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name >= 0x80) return false;
    }
    return true;
}

/* Fields that local and central headers share: flags, method, date, crc, sizes. */
static void put_common(uint8_t **at, const Pending *p, bool deflated, bool wide)
{
    put(at, wide ? 45 : 20, 2);
    put(at, is_ascii(p->name) ? 0 : ZIP_FLAG_UTF8, 2);
    put(at, deflated ? ZIP_DEFLATED : ZIP_STORED, 2);
    put(at, 0, 2);
    put(at, DOS_DATE, 2);
    put(at, p->crc, 4);
    put(at, wide ? ZIP32_MOST : p->packed, 4);
    put(at, wide ? ZIP32_MOST : p->size, 4);
    put(at, p->name_len, 2);
}

static bool is_wide(const Pending *p) { return p->size >= ZIP32_MOST || p->packed >= ZIP32_MOST; }

static Status copy_spool(NpzWriter *w, const Pending *p, FILE *from, uint64_t bytes, Err *err)
{
    uint8_t *block = malloc(BLOCK);
    if (block == NULL) return err_no_memory(err, "a copy buffer");
    Status status = OK;
    rewind(from);
    while (bytes > 0 && status == OK) {
        size_t n = bytes < BLOCK ? (size_t)bytes : BLOCK;
        if (fread(block, 1, n, from) != n) {
            status = err_set(err, ERR_IO, "%s: temporary file of array '%s': %s", w->path, p->name, strerror(errno));
        } else {
            status = outfile_write(w->file, block, n, err);
            bytes -= n;
        }
    }
    free(block);
    return status;
}

/* Deflates header and elements into `to`; *packed gets the bytes. */
static Status deflate_spool(const NpzWriter *w, const Pending *p, const StrBuf *header, FILE *to, uint64_t *packed, Err *err)
{
    uint8_t *in = malloc(BLOCK), *out = malloc(BLOCK);
    z_stream s = { 0 };
    Status status = OK;
    if (in == NULL || out == NULL || deflateInit2(&s, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(in);
        free(out);
        return err_no_memory(err, "a deflater");
    }
    uint64_t left = p->bytes;
    rewind(p->spool);
    *packed = 0;
    s.next_in = (Bytef *)header->data;
    s.avail_in = (uInt)header->len;
    int result = Z_OK;
    while (result != Z_STREAM_END && status == OK) {
        if (s.avail_in == 0 && left > 0) {
            size_t n = left < BLOCK ? (size_t)left : BLOCK;
            if (fread(in, 1, n, p->spool) != n) {
                status = err_set(err, ERR_IO, "%s: temporary file of array '%s': %s", w->path, p->name, strerror(errno));
                break;
            }
            s.next_in = in;
            s.avail_in = (uInt)n;
            left -= n;
        }
        s.next_out = out;
        s.avail_out = (uInt)BLOCK;
        result = deflate(&s, left == 0 ? Z_FINISH : Z_NO_FLUSH);
        size_t n = BLOCK - s.avail_out;
        *packed += n;
        if (fwrite(out, 1, n, to) != n)
            status = err_set(err, ERR_IO, "%s: temporary file of array '%s': %s", w->path, p->name, strerror(errno));
    }
    deflateEnd(&s);
    free(in);
    free(out);
    return status;
}

static Status write_member(NpzWriter *w, Pending *p, Err *err)
{
    if (p->shape.rank == 0 && p->shape.dims[0] != 1) return err_set(err, ERR_BUG, "%s: scalar '%s' was never given", w->path, p->name);
    uint8_t local[64], *at = local;
    StrBuf header = { 0 };
    FILE *deflated = NULL;
    p->start = outfile_bytes(w->file);
    bool wide = p->bytes + 2 * BLOCK >= ZIP32_MOST; /* room for the header, and for what deflate adds to noise */
    uint64_t data = p->start + 30 + p->name_len + (wide ? 20 : 0);
    Status status = make_header(p, data, &header, err);
    if (status != OK) goto out;
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), (const Bytef *)header.data, (uInt)header.len);
    p->crc = (uint32_t)crc32_combine(crc, p->crc, (z_off_t)p->bytes);
    p->size = p->packed = header.len + p->bytes;
    if (w->compress) {
        TRY_OUT(temp_file(&deflated, err));
        TRY_OUT(deflate_spool(w, p, &header, deflated, &p->packed, err));
    }
    put(&at, ZIP_SIG_LOCAL, 4);
    put_common(&at, p, w->compress, wide);
    put(&at, wide ? 20 : 0, 2);
    TRY_OUT(outfile_write(w->file, local, (size_t)(at - local), err));
    TRY_OUT(outfile_write(w->file, p->name, p->name_len, err));
    if (wide) {
        at = local;
        put(&at, 1, 2);
        put(&at, 16, 2);
        put(&at, p->size, 8);
        put(&at, p->packed, 8);
        TRY_OUT(outfile_write(w->file, local, 20, err));
    }
    if (!w->compress) TRY_OUT(outfile_write(w->file, header.data, header.len, err));
    status = copy_spool(w, p, w->compress ? deflated : p->spool, w->compress ? p->packed : p->bytes, err);
out:
    if (deflated != NULL) fclose(deflated);
    fclose(p->spool);
    p->spool = NULL;
    strbuf_release(&header);
    return status;
}

static Status write_central(NpzWriter *w, const Pending *p, Err *err)
{
    uint8_t record[128], *at = record;
    bool wide = is_wide(p) || p->start >= ZIP32_MOST;
    put(&at, ZIP_SIG_CENTRAL, 4);
    put(&at, 3 << 8 | (wide ? 45 : 20), 2); /* made by: Unix */
    put_common(&at, p, w->compress, wide);
    put(&at, wide ? 28 : 0, 2);
    put(&at, 0, 2 + 2 + 2);
    put(&at, 0100644u << 16, 4);
    put(&at, wide ? ZIP32_MOST : p->start, 4);
    TRY(outfile_write(w->file, record, (size_t)(at - record), err));
    TRY(outfile_write(w->file, p->name, p->name_len, err));
    if (!wide) return OK;
    at = record;
    put(&at, 1, 2);
    put(&at, 24, 2);
    put(&at, p->size, 8);
    put(&at, p->packed, 8);
    put(&at, p->start, 8);
    return outfile_write(w->file, record, 28, err);
}

static Status write_end(NpzWriter *w, uint64_t start, Err *err)
{
    uint8_t record[128], *at = record;
    uint64_t end = outfile_bytes(w->file), size = end - start;
    bool wide = w->count >= 0xFFFF || size >= ZIP32_MOST || start >= ZIP32_MOST;
    if (wide) {
        put(&at, ZIP_SIG_END64, 4);
        put(&at, 44, 8);
        put(&at, 3 << 8 | 45, 2);
        put(&at, 45, 2);
        put(&at, 0, 8);
        put(&at, w->count, 8);
        put(&at, w->count, 8);
        put(&at, size, 8);
        put(&at, start, 8);
        put(&at, ZIP_SIG_LOCATOR64, 4);
        put(&at, 0, 4);
        put(&at, end, 8);
        put(&at, 1, 4);
    }
    put(&at, ZIP_SIG_END, 4);
    put(&at, 0, 4);
    put(&at, wide ? 0xFFFF : w->count, 2);
    put(&at, wide ? 0xFFFF : w->count, 2);
    put(&at, wide ? ZIP32_MOST : size, 4);
    put(&at, wide ? ZIP32_MOST : start, 4);
    put(&at, 0, 2);
    return outfile_write(w->file, record, (size_t)(at - record), err);
}

Status npz_writer_commit(NpzWriter *w, Err *err)
{
    Status status = OK;
    for (size_t i = 0; i < w->count && status == OK; i++) status = write_member(w, &w->arrays[i], err);
    uint64_t start = outfile_bytes(w->file);
    for (size_t i = 0; i < w->count && status == OK; i++) status = write_central(w, &w->arrays[i], err);
    if (status == OK) status = write_end(w, start, err);
    if (status == OK) {
        OutFile *file = w->file;
        w->file = NULL;
        status = outfile_commit(file, err);
    }
    npz_writer_abort(w);
    return status;
}
