/* Inside of the .npz reader: the archive's directory, the array header, and where an array's bytes lie once it is used. */
#ifndef PARE_FORMATS_NPZ_INTERNAL_H
#define PARE_FORMATS_NPZ_INTERNAL_H

#include "formats/npz.h"

enum { ZIP_STORED = 0, ZIP_DEFLATED = 8 };
enum { ZIP_FLAG_ENCRYPTED = 1, ZIP_FLAG_STRONG = 64, ZIP_FLAG_UTF8 = 2048 };
#define ZIP_SIG_LOCAL 0x04034b50u
#define ZIP_SIG_CENTRAL 0x02014b50u
#define ZIP_SIG_END 0x06054b50u
#define ZIP_SIG_END64 0x06064b50u
#define ZIP_SIG_LOCATOR64 0x07064b50u

/* One member as the central directory has it, its local header checked against it. */
typedef struct ZipEntry {
    const char *name; /* not terminated: bytes of the mapping */
    size_t name_len;
    unsigned method;
    uint32_t crc;
    uint64_t packed, size; /* bytes in the archive, bytes inflated */
    uint64_t start;        /* of the member's local header */
    uint64_t data;         /* of the packed bytes */
} ZipEntry;

/* True when the bytes may be a zip archive: they begin with a local header or with an end record. */
bool zip_probe(const uint8_t *data, size_t size);
/* Reads the directory (zip64 too): malloc'ed entries in directory order. Every entry lies inside the file, none overlaps another,
 * names are unique. ERR_DATA names `path` and the member; ERR_UNSUPPORTED for encrypted, split or unknown methods. */
Status zip_read_directory(const uint8_t *data, size_t size, const char *path, ZipEntry **out, int *count, Err *err);

/* What an array header (.npy, versions 1 to 3) says. */
typedef struct NpyHeader {
    DType type;        /* DT_NONE: a dtype pare has no numbers for, spelled in `descr` */
    bool big_endian, fortran;
    Shape shape;
    size_t header_bytes; /* offset of the first element */
    size_t bytes;        /* of the elements */
    char descr[64];
} NpyHeader;

#define NPY_PREFIX 12          /* magic, version and header length of any version */
#define NPY_MAX_HEADER 65536   /* a header is some 100 bytes; structured dtypes run to kilobytes */

/* Bytes of the whole header, told from its first NPY_PREFIX bytes. ERR_DATA when they are none. `what` names file and member. */
Status npy_header_size(const uint8_t *data, size_t size, const char *what, size_t *bytes, Err *err);
/* Parses a whole header. Unsupported dtypes are not an error here: type is DT_NONE. */
Status npy_header_parse(const uint8_t *data, size_t size, const char *what, NpyHeader *out, Err *err);
/* Bytes of one element as stored: 4- and 2-bit types take a byte. */
size_t npy_item_size(DType type);

/* Swaps the bytes of `count` elements of big-endian data in place; complex numbers by their halves. */
void npy_swap(void *data, DType type, size_t count);

typedef struct NpzMember {
    NpzArray array;
    char *name;
    char *what;          /* "file.npz: array 'x'" for messages */
    NpyHeader header;
    unsigned method;
    uint32_t crc;
    bool check_crc;
    uint64_t packed, size, data; /* place in the archive */
    /* once used: */
    Mapping *ready;      /* holds the elements in C order; NULL: not yet used */
    size_t start;        /* of the elements in `ready` */
} NpzMember;

struct Npz {
    Mapping *file;
    char *path;
    uint64_t max_mem;
    NpzMember *members;
    int count;
};

/* Makes m->ready hold the checked elements in C order: the archive itself for stored ones, else an unlinked temporary file. */
Status npz_prepare(Npz *z, NpzMember *m, Err *err);
/* Inflates the first `want` bytes of a deflated member. */
Status npz_inflate_head(const Npz *z, const NpzMember *m, uint8_t *out, size_t want, size_t *got, Err *err);

/* Gives back pages around [start, start + size) of a mapping. A fault brings in neighbours too: those of the page cache's unit that it
 * lies in, which is at most DROP_AROUND large and aligned to its size. */
#define DROP_AROUND ((size_t)2 << 20)
void npz_drop(const Mapping *m, size_t start, size_t size);

#endif
