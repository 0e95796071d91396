/* From a member of the archive to its elements in C order: mapped where they lie, or put once into an unlinked temporary file. */
#include "formats/npz_internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK ((size_t)1 << 18)
#define TILE_BYTES ((size_t)4 << 20)
#define BOMB_RATIO 100
#define DEFLATE_MOST 1032 /* no deflate stream expands further */

void npz_drop(const Mapping *m, size_t start, size_t size)
{
    size_t begin = start / DROP_AROUND * DROP_AROUND;
    size_t end = (start + size + DROP_AROUND - 1) / DROP_AROUND * DROP_AROUND;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), last = (m->size + page - 1) / page * page;
    if (end > last) end = last;
    if (begin < end) mapping_drop(m, m->data + begin, end - begin);
}

static Status map_spool(FILE *spool, const char *what, Mapping **out, Err *err)
{
    int fd = -1;
    if (fflush(spool) != 0 || (fd = dup(fileno(spool))) < 0)
        return err_set(err, ERR_IO, "%s: temporary file: %s", what, strerror(errno));
    return mapping_open_fd(fd, what, 0, out, err);
}

/* Called with consecutive pieces of the inflated member. */
typedef Status (*PieceFn)(void *user, const uint8_t *data, size_t size, Err *err);

static Status inflate_member(const Npz *z, const NpzMember *m, PieceFn fn, void *user, Err *err)
{
    uint8_t *block = malloc(BLOCK);
    z_stream s = { 0 };
    if (block == NULL || inflateInit2(&s, -MAX_WBITS) != Z_OK) {
        free(block);
        return err_no_memory(err, "an inflater");
    }
    Status status = OK;
    uint64_t read = 0, made = 0;
    uint32_t crc = 0;
    int result = Z_OK;
    while (result != Z_STREAM_END && status == OK) {
        if (s.avail_in == 0 && read < m->packed) {
            size_t n = m->packed - read < BLOCK ? (size_t)(m->packed - read) : BLOCK;
            if (read > 0) npz_drop(z->file, (size_t)(m->data + read) - BLOCK, BLOCK);
            s.next_in = (Bytef *)(uintptr_t)(z->file->data + m->data + read);
            s.avail_in = (uInt)n;
            read += n;
        }
        s.next_out = block;
        s.avail_out = (uInt)BLOCK;
        result = inflate(&s, Z_NO_FLUSH);
        size_t got = BLOCK - s.avail_out;
        if (result != Z_OK && result != Z_STREAM_END) {
            status = result == Z_MEM_ERROR ? err_no_memory(err, "an inflater")
                     : err_set(err, ERR_DATA, "%s: deflated bytes are damaged after %llu bytes", m->what, (unsigned long long)(made + got));
        } else if (got > m->size - made) {
            status = err_set(err, ERR_DATA, "%s: inflates past the %llu bytes that the archive says", m->what, (unsigned long long)m->size);
        } else {
            made += got;
            crc = (uint32_t)crc32(crc, block, (uInt)got);
            status = fn(user, block, got, err);
        }
    }
    if (status == OK && (made != m->size || read - s.avail_in != m->packed))
        status = err_set(err, ERR_DATA, "%s: inflates to %llu bytes, the archive says %llu", m->what, (unsigned long long)made,
                         (unsigned long long)m->size);
    if (status == OK && crc != m->crc)
        status = err_set(err, ERR_DATA, "%s: CRC-32 is %08x, the archive says %08x: damaged", m->what, crc, m->crc);
    npz_drop(z->file, (size_t)m->data, (size_t)m->packed);
    inflateEnd(&s);
    free(block);
    return status;
}

Status npz_inflate_head(const Npz *z, const NpzMember *m, uint8_t *out, size_t want, size_t *got, Err *err)
{
    z_stream s = { 0 };
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) return err_no_memory(err, "an inflater");
    s.next_in = (Bytef *)(uintptr_t)(z->file->data + m->data);
    s.avail_in = (uInt)(m->packed < BLOCK ? m->packed : BLOCK);
    s.next_out = out;
    s.avail_out = (uInt)want;
    int result = inflate(&s, Z_SYNC_FLUSH);
    *got = want - s.avail_out;
    inflateEnd(&s);
    if (result == Z_MEM_ERROR) return err_no_memory(err, "an inflater");
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return err_set(err, ERR_DATA, "%s: deflated bytes are damaged", m->what);
    return OK;
}

typedef struct Spool {
    FILE *file;
    size_t skip; /* header bytes still to pass over */
    const char *what;
} Spool;

static Status spool_piece(void *user, const uint8_t *data, size_t size, Err *err)
{
    Spool *s = user;
    size_t skip = s->skip < size ? s->skip : size;
    s->skip -= skip;
    if (fwrite(data + skip, 1, size - skip, s->file) != size - skip)
        return err_set(err, ERR_IO, "%s: temporary file for the inflated array: %s", s->what, strerror(errno));
    return OK;
}

static Status inflate_once(const Npz *z, NpzMember *m, Mapping **out, Err *err)
{
    if (m->size / DEFLATE_MOST > m->packed)
        return err_set(err, ERR_DATA, "%s: %llu deflated bytes cannot become %llu", m->what, (unsigned long long)m->packed,
                       (unsigned long long)m->size);
    if (z->max_mem > 0 && m->size > z->max_mem && m->size / BOMB_RATIO > m->packed)
        return err_set(err, ERR_MEMORY, "%s: %llu deflated bytes grow to %llu, over --max-mem; store the array uncompressed", m->what,
                       (unsigned long long)m->packed, (unsigned long long)m->size);
    Spool spool = { .skip = m->header.header_bytes, .what = m->what };
    TRY(temp_file(&spool.file, err));
    Status status = inflate_member(z, m, spool_piece, &spool, err);
    if (status == OK) status = map_spool(spool.file, m->what, out, err);
    fclose(spool.file);
    return status;
}

static Status check_stored(const Npz *z, const NpzMember *m, Err *err)
{
    uint32_t crc = 0;
    for (uint64_t at = 0; at < m->size;) {
        size_t n = m->size - at < BLOCK ? (size_t)(m->size - at) : BLOCK;
        crc = (uint32_t)crc32(crc, z->file->data + m->data + at, (uInt)n);
        npz_drop(z->file, (size_t)(m->data + at), n);
        at += n;
    }
    if (crc == m->crc) return OK;
    return err_set(err, ERR_DATA, "%s: CRC-32 is %08x, the archive says %08x: damaged", m->what, crc, m->crc);
}

/* Where column j of the C-order matrix [d0, rest] lies among the columns of the Fortran-order one, by odometer. */
typedef struct Odometer {
    int rank;
    int64_t dims[MAX_RANK], at[MAX_RANK], stride[MAX_RANK], offset;
} Odometer;

static void odometer_init(Odometer *o, const Shape *s, int64_t start)
{
    *o = (Odometer){ .rank = s->rank - 1 };
    int64_t stride = 1;
    for (int i = 0; i < o->rank; i++) {
        o->dims[i] = s->dims[i + 1];
        o->stride[i] = stride;
        stride *= o->dims[i];
    }
    for (int i = o->rank - 1; i >= 0; i--) {
        o->at[i] = start % o->dims[i];
        start /= o->dims[i];
        o->offset += o->at[i] * o->stride[i];
    }
}

static void odometer_step(Odometer *o)
{
    for (int i = o->rank - 1; i >= 0; i--) {
        o->offset += o->stride[i];
        if (++o->at[i] < o->dims[i]) return;
        o->offset -= o->stride[i] * o->dims[i];
        o->at[i] = 0;
    }
}

static Status write_at(int fd, const uint8_t *data, size_t size, size_t at, const char *what, Err *err)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_set(err, ERR_IO, "%s: temporary file for the reordered array: %s", what, strerror(errno));
        data += n;
        size -= (size_t)n;
        at += (size_t)n;
    }
    return OK;
}

/* Fortran order to C order, by tiles of rows x columns that fit TILE_BYTES: source runs of `rows` elements, written runs of `cols`. */
static Status reorder_tiles(const NpzMember *m, const Mapping *from, size_t start, uint8_t *tile, int fd, Err *err)
{
    size_t item = npy_item_size(m->header.type), d0 = (size_t)m->header.shape.dims[0], rest = m->header.bytes / item / d0;
    size_t rows = d0 < 1024 ? d0 : 1024, cols = TILE_BYTES / item / rows;
    const uint8_t *source = from->data + start;
    for (size_t r0 = 0; r0 < d0; r0 += rows) {
        size_t nr = d0 - r0 < rows ? d0 - r0 : rows;
        for (size_t c0 = 0; c0 < rest; c0 += cols) {
            size_t nc = rest - c0 < cols ? rest - c0 : cols;
            Odometer o;
            odometer_init(&o, &m->header.shape, (int64_t)c0);
            for (size_t c = 0; c < nc; c++, odometer_step(&o)) {
                const uint8_t *run = source + ((size_t)o.offset * d0 + r0) * item;
                for (size_t r = 0; r < nr; r++) memcpy(tile + (r * nc + c) * item, run + r * item, item);
            }
            for (size_t r = 0; r < nr; r++) {
                TRY(write_at(fd, tile + r * nc * item, nc * item, ((r0 + r) * rest + c0) * item, m->what, err));
            }
            npz_drop(from, start, m->header.bytes);
        }
    }
    return OK;
}

static Status reorder_once(const NpzMember *m, const Mapping *from, size_t start, Mapping **out, Err *err)
{
    FILE *spool;
    uint8_t *tile = malloc(TILE_BYTES);
    if (tile == NULL) return err_no_memory(err, "a tile of a Fortran-order array");
    Status status = temp_file(&spool, err);
    if (status == OK) {
        status = reorder_tiles(m, from, start, tile, fileno(spool), err);
        if (status == OK) status = map_spool(spool, m->what, out, err);
        fclose(spool);
    }
    free(tile);
    return status;
}

Status npz_prepare(Npz *z, NpzMember *m, Err *err)
{
    if (m->ready != NULL) return OK;
    if (m->header.type == DT_NONE)
        return err_set(err, ERR_UNSUPPORTED, "%s: element type '%s'; pare reads bool, integers, floats, complex and |V2 (bfloat16)",
                       m->what, m->header.descr);
    Mapping *ready = NULL;
    size_t start = 0;
    if (m->method == ZIP_DEFLATED) {
        TRY(inflate_once(z, m, &ready, err));
    } else {
        if (m->check_crc) TRY(check_stored(z, m, err));
        ready = mapping_ref(z->file);
        start = (size_t)m->data + m->header.header_bytes;
    }
    if (m->header.fortran && m->header.bytes > 0) {
        Mapping *ordered = NULL;
        Status status = reorder_once(m, ready, start, &ordered, err);
        mapping_unref(ready);
        if (status != OK) return status;
        ready = ordered;
        start = 0;
    }
    m->ready = ready;
    m->start = start;
    return OK;
}
