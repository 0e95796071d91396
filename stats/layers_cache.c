/* Layer statistics between runs: one file an entry, FOLDER/KEY.stats.
 *
 *   Header, sums and counts of the entries, ActivationStats without their value numbers, triangles, SHA-256 of all that (hex)
 *
 * In this machine's own byte order and alignment; the header says which, and an entry from elsewhere is not taken. Sizes follow from the
 * network, so a file of another size is not an entry. What is found damaged is written again. */
#include "stats/layers_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "stats/digest.h"

#define CACHE_VERSION 2
#define CACHE_ORDER 0x0102030405060708u
#define CACHE_SUFFIX ".stats"
#define COPY_BLOCK 65536

typedef struct CacheHeader {
    char magic[8];
    uint64_t version, order;
    int64_t entries, activations;
    uint64_t table, bytes; /* bytes of the tables, and of the triangles behind them */
    char key[HASH_TEXT + 7];
} CacheHeader;

_Static_assert(sizeof(CacheHeader) == 56 + HASH_TEXT + 7, "the header has no padding");

static uint64_t table_bytes(const LayerStats *s)
{
    uint64_t bytes = (uint64_t)s->activation_count * sizeof(ActivationStats);
    for (int i = 0; i < s->entry_count; i++)
        bytes += sizeof(int64_t) + (uint64_t)(s->entries[i].form.groups * s->entries[i].form.width) * sizeof(double);
    return bytes;
}

static CacheHeader header_of(const LayerStats *s, const char *key)
{
    CacheHeader h = { .magic = "parestat", .version = CACHE_VERSION, .order = CACHE_ORDER, .entries = s->entry_count,
                      .activations = s->activation_count, .table = table_bytes(s), .bytes = s->bytes };
    memcpy(h.key, key, strlen(key) + 1);
    return h;
}

static void add_text(Hash *h, const char *text)
{
    hash_add(h, text, strlen(text) + 1);
}

Status layer_cache_key(const Graph *g, Dataset *data, const LayerStatsOptions *o, char key[HASH_TEXT], Err *err)
{
    char graph[HASH_TEXT], arrays[HASH_TEXT], asked[256];
    TRY(graph_digest(g, graph, err));
    TRY(dataset_hash(data, arrays, err));
    Hash *h = hash_new();
    if (h == NULL) return err_no_memory(err, "a hash");
    snprintf(asked, sizeof asked, "layer statistics %d; batch %lld, samples %lld, positions %lld, seed %llu, means only %d%s%s, %d values",
             CACHE_VERSION, (long long)o->batch, (long long)o->samples, (long long)o->positions, (unsigned long long)o->seed, o->means_only,
             o->values_only ? ", no layers" : "", o->ends_only ? ", ends only" : "", o->value_count);
    add_text(h, asked);
    add_text(h, graph);
    add_text(h, arrays);
    for (int i = 0; i < o->value_count; i++) {
        Str name = graph_value(g, o->values[i])->name;
        uint64_t length = name.len;
        hash_add(h, &length, sizeof length);
        hash_add(h, name.data, name.len);
    }
    hash_finish(h, key);
    return OK;
}

static char *entry_path(const char *folder, const char *key)
{
    StrBuf b = { 0 };
    strbuf_printf(&b, "%s/%s%s", folder, key, CACHE_SUFFIX);
    if (!b.failed) return b.data;
    strbuf_release(&b);
    return NULL;
}

/* --- reading */

/* Reads and adds to the hash. */
static bool take(FILE *f, Hash *h, void *out, size_t size)
{
    if (fread(out, 1, size, f) != size) return false;
    hash_add(h, out, size);
    return true;
}

static bool take_tables(LayerStats *s, FILE *f, Hash *h)
{
    for (int i = 0; i < s->entry_count; i++) {
        MomentEntry *e = &s->entries[i];
        if (!take(f, h, &e->count, sizeof e->count)) return false;
        if (!take(f, h, e->sum, (size_t)(e->form.groups * e->form.width) * sizeof(double))) return false;
    }
    for (int i = 0; i < s->activation_count; i++) {
        ValueId value = s->activations[i].value;
        if (!take(f, h, &s->activations[i], sizeof s->activations[i])) return false;
        s->activations[i].value = value;
    }
    return true;
}

static bool take_all(LayerStats *s, FILE *f, const char *key)
{
    CacheHeader found, wanted = header_of(s, key);
    struct stat st;
    uint8_t block[COPY_BLOCK];
    char digest[HASH_TEXT], stored[HASH_TEXT] = "";
    uint64_t size = sizeof found + wanted.table + wanted.bytes + HASH_TEXT - 1;
    if (fstat(fileno(f), &st) != 0 || (uint64_t)st.st_size != size) return false;
    Hash *h = hash_new();
    if (h == NULL) return false;
    bool fine = take(f, h, &found, sizeof found) && memcmp(&found, &wanted, sizeof found) == 0 && take_tables(s, f, h);
    for (uint64_t left = wanted.bytes; fine && left > 0;) {
        size_t n = left < COPY_BLOCK ? (size_t)left : COPY_BLOCK;
        fine = take(f, h, block, n);
        left -= n;
    }
    hash_finish(h, digest);
    fine = fine && fread(stored, 1, HASH_TEXT - 1, f) == HASH_TEXT - 1;
    return fine && memcmp(stored, digest, HASH_TEXT - 1) == 0;
}

/* What a damaged entry left in the tables goes. */
static void clear(LayerStats *s)
{
    for (int i = 0; i < s->entry_count; i++) {
        s->entries[i].count = 0;
        memset(s->entries[i].sum, 0, (size_t)(s->entries[i].form.groups * s->entries[i].form.width) * sizeof(double));
    }
    for (int i = 0; i < s->activation_count; i++) s->activations[i] = (ActivationStats){ .value = s->activations[i].value };
}

bool layer_cache_read(LayerStats *s, const char *folder, const char *key)
{
    char *path = entry_path(folder, key);
    FILE *f = path != NULL ? fopen(path, "rb") : NULL;
    free(path);
    if (f == NULL) return false;
    if (!take_all(s, f, key)) {
        clear(s);
        fclose(f);
        return false;
    }
    s->file = f;
    s->base = sizeof(CacheHeader) + table_bytes(s);
    s->cached = true;
    (void)futimens(fileno(f), NULL); /* used just now: the oldest go first. A folder that cannot be written keeps its order */
    return true;
}

/* --- writing */

static Status put(OutFile *f, Hash *h, const void *data, size_t size, Err *err)
{
    hash_add(h, data, size);
    return outfile_write(f, data, size, err);
}

static Status put_tables(const LayerStats *s, OutFile *f, Hash *h, Err *err)
{
    for (int i = 0; i < s->entry_count; i++) {
        const MomentEntry *e = &s->entries[i];
        TRY(put(f, h, &e->count, sizeof e->count, err));
        TRY(put(f, h, e->sum, (size_t)(e->form.groups * e->form.width) * sizeof(double), err));
    }
    for (int i = 0; i < s->activation_count; i++) TRY(put(f, h, &s->activations[i], sizeof s->activations[i], err));
    return OK;
}

static Status put_all(const LayerStats *s, OutFile *f, Hash *h, const char *key, Err *err)
{
    CacheHeader header = header_of(s, key);
    uint8_t block[COPY_BLOCK];
    TRY(put(f, h, &header, sizeof header, err));
    TRY(put_tables(s, f, h, err));
    for (uint64_t at = 0; at < s->bytes;) {
        size_t n = s->bytes - at < COPY_BLOCK ? (size_t)(s->bytes - at) : COPY_BLOCK;
        ssize_t got = pread(fileno(s->file), block, n, (off_t)(s->base + at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return err_set(err, ERR_IO, "file of layer statistics: cannot read: %s", got < 0 ? strerror(errno) : "it ends early");
        TRY(put(f, h, block, (size_t)got, err));
        at += (uint64_t)got;
    }
    return OK;
}

/* The folder and those above it. */
static Status make_folder(const char *folder, Err *err)
{
    char *path = strdup(folder);
    if (path == NULL) return err_no_memory(err, "a path");
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at != '/') continue;
        *at = '\0';
        (void)mkdir(path, 0700); /* the last one tells */
        *at = '/';
    }
    Status status = mkdir(path, 0700) == 0 || errno == EEXIST ? OK : err_set(err, ERR_IO, "%s: cannot make the folder: %s", folder,
                                                                             strerror(errno));
    free(path);
    return status;
}

typedef struct Old {
    char *path;
    struct timespec time;
    uint64_t bytes;
} Old;

static int by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const Old *)a)->time, *y = &((const Old *)b)->time;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Removes the oldest entries until what is left fits; the one just written stays. Best effort: another process may do the same. */
static void trim_folder(const char *folder, const char *keep)
{
    DIR *dir = opendir(folder);
    Old *all = NULL;
    size_t count = 0, capacity = 0;
    uint64_t total = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        struct stat st;
        if (!str_ends(str_of(e->d_name), CACHE_SUFFIX) || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        total += (uint64_t)st.st_size;
        if (strncmp(e->d_name, keep, strlen(keep)) == 0) continue;
        char *path = path_join(folder, e->d_name);
        if (path == NULL || !array_grow((void **)&all, &capacity, count + 1, sizeof *all)) {
            free(path);
            break;
        }
        all[count++] = (Old){ path, st.st_mtim, (uint64_t)st.st_size };
    }
    if (count > 0) qsort(all, count, sizeof *all, by_age);
    for (size_t i = 0; i < count; i++) {
        if (total > LAYER_CACHE_BYTES && unlink(all[i].path) == 0) total -= all[i].bytes;
        free(all[i].path);
    }
    free(all);
    if (dir != NULL) closedir(dir);
}

Status layer_cache_write(const LayerStats *s, const char *folder, const char *key, Err *err)
{
    char digest[HASH_TEXT];
    if (sizeof(CacheHeader) + table_bytes(s) + s->bytes > LAYER_CACHE_BYTES) return OK; /* larger than the whole cache may be */
    TRY(make_folder(folder, err));
    char *path = entry_path(folder, key);
    if (path == NULL) return err_no_memory(err, "a path");
    OutFile *f = NULL;
    Hash *h = hash_new();
    Status status = h != NULL ? outfile_open(path, &f, err) : err_no_memory(err, "a hash");
    if (status == OK) status = put_all(s, f, h, key, err);
    if (h != NULL) hash_finish(h, digest);
    if (status == OK) status = outfile_write(f, digest, HASH_TEXT - 1, err);
    if (status == OK) status = outfile_commit(f, err);
    else outfile_abort(f);
    if (status == OK) trim_folder(folder, key);
    free(path);
    return status;
}
