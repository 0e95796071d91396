#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names of temporary files now open, so that a signal handler can remove them: the one piece of process-wide state here, because
 * a handler has no other way to reach it. A slot is claimed by setting its name and freed by clearing it. */
enum { SLOTS = 16 };
static char *volatile open_names[SLOTS];

struct OutFile {
    FILE *stream;
    char *path, *temporary; /* NULL for standard output and devices */
    uint64_t bytes;
    int slot; /* -1: none */
};

static void release(OutFile *f)
{
    if (f->slot >= 0) open_names[f->slot] = NULL;
    if (f->stream != NULL && f->stream != stdout) fclose(f->stream);
    free(f->temporary);
    free(f->path);
    free(f);
}

static int claim_slot(char *name)
{
    for (int i = 0; i < SLOTS; i++) {
        if (open_names[i] == NULL) {
            open_names[i] = name;
            return i;
        }
    }
    return -1;
}

static Status open_temporary(OutFile *f, const char *target, Err *err)
{
    if (asprintf(&f->temporary, "%s.XXXXXX.tmp", target) < 0) {
        f->temporary = NULL;
        return err_no_memory(err, "an output file's name");
    }
    int fd = mkostemps(f->temporary, 4, O_CLOEXEC);
    if (fd < 0) {
        int reason = errno;
        free(f->temporary);
        f->temporary = NULL;
        return err_set(err, ERR_IO, "%s: cannot write in its folder: %s", f->path, strerror(reason));
    }
    f->slot = claim_slot(f->temporary);
    struct stat old;
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = stat(target, &old) == 0 ? old.st_mode & 0777 : 0666 & ~mask;
    if (fchmod(fd, mode) != 0) errno = 0; /* a courtesy: some file systems have no modes */
    f->stream = fdopen(fd, "wb");
    if (f->stream != NULL) return OK;
    close(fd);
    return err_no_memory(err, "an output stream");
}

bool outfile_is_stdout(const char *path)
{
    return strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0;
}

bool outfile_is_stream(const char *path)
{
    struct stat info;
    return outfile_is_stdout(path) || (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode));
}

Status outfile_open(const char *path, OutFile **out, Err *err)
{
    OutFile *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(outfile_is_stdout(path) ? "standard output" : path)) == NULL) {
        free(f);
        return err_no_memory(err, "an output file");
    }
    f->slot = -1;
    Status status = OK;
    struct stat info;
    if (outfile_is_stdout(path)) {
        f->stream = stdout;
    } else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = err_set(err, ERR_IO, "%s is a folder, expected a file name", path);
    } else if (outfile_is_stream(path)) { /* a device or a pipe: nothing to replace */
        f->stream = fopen(path, "wb");
        if (f->stream == NULL) status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    } else {
        char *target = realpath(path, NULL); /* through a link: replace what it points at, keep the link */
        if (target != NULL) {
            free(f->path);
            f->path = target;
        }
        status = open_temporary(f, f->path, err);
    }
    if (status != OK) {
        if (f->temporary != NULL) unlink(f->temporary);
        release(f);
        return status;
    }
    *out = f;
    return OK;
}

Status outfile_write(OutFile *f, const void *data, size_t size, Err *err)
{
    if (size > 0 && fwrite(data, 1, size, f->stream) != size) return err_set(err, ERR_IO, "%s: %s", f->path, strerror(errno));
    f->bytes += size;
    return OK;
}

uint64_t outfile_bytes(const OutFile *f)
{
    return f->bytes;
}

Status outfile_prepare(OutFile *f, Err *err)
{
    if (f->stream == NULL) return OK;
    bool failed = fflush(f->stream) != 0;
    if (!failed && f->temporary != NULL) failed = fsync(fileno(f->stream)) != 0;
    if (!failed && f->stream != stdout) {
        failed = fclose(f->stream) != 0;
        f->stream = NULL;
    }
    return failed ? err_set(err, ERR_IO, "%s: %s", f->path, strerror(errno)) : OK;
}

/* So that the rename itself survives a crash; a file system that cannot sync folders is no reason to fail. */
static void sync_folder(const char *path)
{
    char *folder = path_folder(path);
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

Status outfile_commit(OutFile *f, Err *err)
{
    Status status = outfile_prepare(f, err);
    if (status == OK && f->temporary != NULL) {
        if (rename(f->temporary, f->path) != 0) status = err_set(err, ERR_IO, "%s: %s", f->path, strerror(errno));
        else sync_folder(f->path);
    }
    if (status != OK) {
        outfile_abort(f);
        return status;
    }
    release(f);
    return OK;
}

void outfile_abort(OutFile *f)
{
    if (f == NULL) return;
    if (f->temporary != NULL) unlink(f->temporary);
    release(f);
}

void outfile_abort_all(void)
{
    for (int i = 0; i < SLOTS; i++) {
        char *name = open_names[i];
        if (name != NULL) unlink(name);
    }
}

Status outfile_put(const char *path, const void *data, size_t size, Err *err)
{
    OutFile *file;
    TRY(outfile_open(path, &file, err));
    Status status = outfile_write(file, data, size, err);
    if (status == OK) return outfile_commit(file, err);
    outfile_abort(file);
    return status;
}

Status outfile_put_in(const char *folder, const char *name, const void *data, size_t size, Err *err)
{
    char *path = path_join(folder, name);
    if (path == NULL) return err_no_memory(err, "a path");
    Status status = outfile_put(path, data, size, err);
    free(path);
    return status;
}
