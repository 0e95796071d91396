#include "base/file.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *temp_template(void)
{
    const char *folder = getenv("TMPDIR");
    return path_join(folder != NULL && folder[0] != '\0' ? folder : "/tmp", "pare-XXXXXX");
}

Status temp_file(FILE **out, Err *err)
{
    char *path = temp_template();
    if (path == NULL) return err_no_memory(err, "a temporary file's name");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        Status status = err_set(err, ERR_IO, "temporary file %s: %s", path, strerror(errno));
        free(path);
        return status;
    }
    unlink(path);
    free(path);
    *out = fdopen(fd, "w+b");
    if (*out != NULL) return OK;
    close(fd);
    return err_no_memory(err, "a temporary file");
}

/* Reads a pipe to its end into an unlinked temporary file, whose descriptor replaces *fd. */
static Status spool_stream(int *fd, const char *path, uint64_t max_bytes, Err *err)
{
    FILE *spool = NULL;
    Status status = temp_file(&spool, err);
    if (status != OK) return status;
    uint8_t block[1 << 16];
    uint64_t total = 0;
    for (;;) {
        ssize_t n = read(*fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
            break;
        }
        if (n == 0) break;
        total += (uint64_t)n;
        if (max_bytes > 0 && total > max_bytes) {
            status = err_set(err, ERR_MEMORY, "%s: more than the allowed %llu bytes; raise --max-mem", path, (unsigned long long)max_bytes);
            break;
        }
        if (fwrite(block, 1, (size_t)n, spool) != (size_t)n) {
            status = err_set(err, ERR_IO, "temporary copy of %s: %s", path, strerror(errno));
            break;
        }
    }
    if (status == OK && fflush(spool) != 0) status = err_set(err, ERR_IO, "temporary copy of %s: %s", path, strerror(errno));
    int copy = status == OK ? dup(fileno(spool)) : -1;
    if (status == OK && copy < 0) status = err_set(err, ERR_IO, "temporary copy of %s: %s", path, strerror(errno));
    fclose(spool);
    if (status != OK) return status;
    close(*fd);
    *fd = copy;
    return OK;
}

Status mapping_open_fd(int fd, const char *path, uint64_t max_bytes, Mapping **out, Err *err)
{
    Status status = OK;
    Mapping *m = NULL;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (S_ISDIR(info.st_mode)) {
        status = err_set(err, ERR_IO, "%s is a folder, expected a file", path);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        TRY_OUT(spool_stream(&fd, path, max_bytes, err));
        if (fstat(fd, &info) != 0) {
            status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
            goto out;
        }
    }
    m = calloc(1, sizeof *m);
    if (m == NULL || (m->path = strdup(path)) == NULL) {
        status = err_no_memory(err, "a file mapping");
        goto out;
    }
    m->refs = 1;
    m->size = (size_t)info.st_size;
    m->data = (const uint8_t *)"";
    if (m->size > 0) {
        void *at = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) {
            status = err_set(err, errno == ENOMEM ? ERR_MEMORY : ERR_IO, "%s: %s", path, strerror(errno));
            goto out;
        }
        m->data = at;
    }
    *out = m;
    m = NULL;
out:
    if (m != NULL) free(m->path);
    free(m);
    close(fd);
    return status;
}

Status mapping_open(const char *path, uint64_t max_bytes, Mapping **out, Err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && strcmp(path, "-") == 0) return err_set(err, ERR_IO, "-: no such file; /dev/stdin is standard input");
    if (fd < 0 && path[0] == '\0') return err_set(err, ERR_IO, "a file name is empty");
    if (fd < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return mapping_open_fd(fd, path, max_bytes, out, err);
}

Mapping *mapping_ref(Mapping *m)
{
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void mapping_unref(Mapping *m)
{
    if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    if (m->size > 0) munmap((void *)(uintptr_t)m->data, m->size);
    free(m->path);
    free(m);
}

void mapping_drop(const Mapping *m, const void *from, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)from + page - 1) / page * page, end = ((uintptr_t)from + size) / page * page;
    if (m->size > 0 && begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

bool file_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* What there is of the folder that a path lies in; false when it cannot be told. */
static bool stat_folder(const char *path, struct stat *info)
{
    char folder[PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%.*s.", (int)(name_of(path) - path), path);
    return n > 0 && (size_t)n < sizeof folder && stat(folder, info) == 0;
}

bool file_same_place(const char *a, const char *b)
{
    struct stat x, y;
    if (strcmp(a, b) == 0 || file_same(a, b)) return true;
    return strcmp(name_of(a), name_of(b)) == 0 && stat_folder(a, &x) && stat_folder(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

char *path_join(const char *folder, const char *name)
{
    if (name[0] == '/' || folder == NULL || strcmp(folder, ".") == 0) return strdup(name);
    char *joined = NULL;
    return asprintf(&joined, "%s/%s", folder, name) < 0 ? NULL : joined;
}
