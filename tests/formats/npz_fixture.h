/* What the tests of .npz share: a folder, and a zip writer with knobs for lies. Include first. */
#ifndef PARE_TESTS_NPZ_FIXTURE_H
#define PARE_TESTS_NPZ_FIXTURE_H

#include "test.h"

#include "formats/npz.h"

#include <sys/stat.h>
#include <zlib.h>

static char folder[] = "/tmp/test-npz-XXXXXX";

static const char *temp_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

/* ---- a zip writer with knobs for lies ---- */

typedef struct Lie {
    int method;           /* -1: true one */
    uint32_t crc;         /* xor */
    int64_t packed, size; /* added to the true ones in the directory */
    int64_t offset;       /* added */
    int flags;
    const char *local_name;
    bool wide;            /* sizes in a zip64 field */
} Lie;

typedef struct Zip {
    uint8_t body[1 << 16], central[1 << 14];
    size_t body_len, central_len;
    int count;
} Zip;

static void put(uint8_t *buffer, size_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) buffer[(*at)++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(uint8_t *buffer, size_t *at, const void *data, size_t n)
{
    memcpy(buffer + *at, data, n);
    *at += n;
}

static inline void zip_add(Zip *z, const char *name, const uint8_t *data, size_t size, bool deflated, const Lie *lie)
{
    static uint8_t packed[1 << 15];
    size_t packed_size = size, start = z->body_len;
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)size) ^ lie->crc;
    memcpy(packed, data, size);
    if (deflated) {
        z_stream s = { 0 };
        assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        s.next_in = (Bytef *)(uintptr_t)data;
        s.avail_in = (uInt)size;
        s.next_out = packed;
        s.avail_out = sizeof packed;
        assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
        packed_size = s.total_out;
        deflateEnd(&s);
    }
    int method = lie->method >= 0 ? lie->method : deflated ? 8 : 0;
    const char *local = lie->local_name != NULL ? lie->local_name : name;
    put(z->body, &z->body_len, 0x04034b50, 4);
    put(z->body, &z->body_len, 20 | (uint64_t)lie->flags << 16 | (uint64_t)method << 32, 6);
    put(z->body, &z->body_len, (uint64_t)0x21 << 16, 4);
    put(z->body, &z->body_len, crc, 4);
    put(z->body, &z->body_len, packed_size, 4);
    put(z->body, &z->body_len, size, 4);
    put(z->body, &z->body_len, strlen(local), 4);
    put_bytes(z->body, &z->body_len, local, strlen(local));
    put_bytes(z->body, &z->body_len, packed, packed_size);

    uint64_t said_packed = packed_size + (uint64_t)lie->packed, said_size = size + (uint64_t)lie->size;
    put(z->central, &z->central_len, 0x02014b50, 4);
    put(z->central, &z->central_len, 20 | (uint64_t)20 << 16 | (uint64_t)lie->flags << 32 | (uint64_t)method << 48, 8);
    put(z->central, &z->central_len, (uint64_t)0x21 << 16, 4);
    put(z->central, &z->central_len, crc, 4);
    put(z->central, &z->central_len, lie->wide ? 0xFFFFFFFF : said_packed, 4);
    put(z->central, &z->central_len, lie->wide ? 0xFFFFFFFF : said_size, 4);
    put(z->central, &z->central_len, strlen(name), 2);
    put(z->central, &z->central_len, lie->wide ? 28 : 0, 2);
    put(z->central, &z->central_len, 0, 2);
    put(z->central, &z->central_len, 0, 8);
    put(z->central, &z->central_len, lie->wide ? 0xFFFFFFFF : start + (uint64_t)lie->offset, 4);
    put_bytes(z->central, &z->central_len, name, strlen(name));
    if (lie->wide) {
        put(z->central, &z->central_len, 1 | 24 << 16, 4);
        put(z->central, &z->central_len, said_size, 8);
        put(z->central, &z->central_len, said_packed, 8);
        put(z->central, &z->central_len, start + (uint64_t)lie->offset, 8);
    }
    z->count++;
}

static inline void zip_finish(Zip *z, const char *path, bool wide)
{
    size_t start = z->body_len, end = start + z->central_len;
    put_bytes(z->body, &z->body_len, z->central, z->central_len);
    if (wide) {
        put(z->body, &z->body_len, 0x06064b50, 4);
        put(z->body, &z->body_len, 44, 8);
        put(z->body, &z->body_len, 45 | 45 << 16, 4);
        put(z->body, &z->body_len, 0, 8);
        put(z->body, &z->body_len, (uint64_t)z->count, 8);
        put(z->body, &z->body_len, (uint64_t)z->count, 8);
        put(z->body, &z->body_len, z->central_len, 8);
        put(z->body, &z->body_len, start, 8);
        put(z->body, &z->body_len, 0x07064b50, 8);
        put(z->body, &z->body_len, end, 8);
        put(z->body, &z->body_len, 1, 4);
    }
    put(z->body, &z->body_len, 0x06054b50, 8);
    put(z->body, &z->body_len, wide ? 0xFFFFFFFF : (uint64_t)z->count | (uint64_t)z->count << 16, 4);
    put(z->body, &z->body_len, wide ? 0xFFFFFFFF : z->central_len, 4);
    put(z->body, &z->body_len, wide ? 0xFFFFFFFF : start, 4);
    put(z->body, &z->body_len, 0, 2);
    write_file(path, z->body, z->body_len);
}

/* A .npy with this header dictionary; returns its size. */
static inline size_t make_npy(uint8_t *out, int version, const char *header, const void *data, size_t size)
{
    size_t at = 0, length = strlen(header);
    put_bytes(out, &at, "\x93NUMPY", 6);
    put(out, &at, (uint64_t)version, 2);
    put(out, &at, length, version == 1 ? 2 : 4);
    put_bytes(out, &at, header, length);
    put_bytes(out, &at, data, size);
    return at;
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    static const char *const names[] = { "lone.npy", "f.npy", "h.npy", "hostile.npz", "d.npz", "bomb.npz", "out.npz", "again.npz",
        "old.npz", "names.npz" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(temp_path(names[i]));
    return rmdir(folder);
}

#endif
