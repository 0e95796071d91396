/* Whole files: mapping the input, replacing the output atomically. */
#ifndef PARE_BASE_FILE_H
#define PARE_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A read-only mapping of a regular file; pipes and /dev/stdin are read into an unlinked temporary file first, up to `max_bytes`. */
typedef struct Mapping {
    const uint8_t *data;
    size_t size;
    int refs;
    char *path; /* as given */
} Mapping;

Status mapping_open(const char *path, uint64_t max_bytes, Mapping **out, Err *err);
/* Maps a file that is already open (for members resolved with openat); takes the descriptor over. */
Status mapping_open_fd(int fd, const char *path, uint64_t max_bytes, Mapping **out, Err *err);
Mapping *mapping_ref(Mapping *m);
void mapping_unref(Mapping *m);
/* Tells the kernel that these bytes were read and may leave memory again (whole pages inside the range only). */
void mapping_drop(const Mapping *m, const void *from, size_t size);

/* Output: written to a temporary file in the same folder, flushed to disk and renamed on commit. "-" and /dev/stdout are standard
 * output, written as it is; so are devices and pipes. */
typedef struct OutFile OutFile;

Status outfile_open(const char *path, OutFile **out, Err *err);
/* True for "-" and /dev/stdout. */
bool outfile_is_stdout(const char *path);
/* True for those, devices and pipes: written from the start to the end as they are, never replaced nor read again. */
bool outfile_is_stream(const char *path);
Status outfile_write(OutFile *f, const void *data, size_t size, Err *err);
uint64_t outfile_bytes(const OutFile *f);
/* Opens, writes and commits in one. */
Status outfile_put(const char *path, const void *data, size_t size, Err *err);
/* The same into a folder. */
Status outfile_put_in(const char *folder, const char *name, const void *data, size_t size, Err *err);
/* Renames into place. On failure the old file is untouched and the temporary one is gone. Frees f in every case. */
Status outfile_commit(OutFile *f, Err *err);
/* Two files that belong together: `prepare` flushes to disk and closes without the rename, so that all can fail before any is renamed;
 * outfile_commit then only renames. */
Status outfile_prepare(OutFile *f, Err *err);
void outfile_abort(OutFile *f); /* removes the temporary file; NULL is fine */
/* Removes the temporary files of every OutFile still open: for the interrupt path of cmd/. Async-signal-safe. */
void outfile_abort_all(void);

/* Appends whole lines in one write under a lock, so that runs side by side do not mix; a line that a crash cut off before stays one of its
 * own, and one that is written in part (a full disk: ERR_IO) is taken back. `header` (may be NULL) is written first into a new or empty
 * file, and is what another file has to begin with: ERR_DATA. */
Status file_append(const char *path, const char *header, const char *lines, Err *err);
/* Whether it could be appended to as it is now; OK for a file that is not there. */
Status file_append_check(const char *path, const char *header, Err *err);

/* True when both paths name the same existing file (device and inode). */
bool file_same(const char *a, const char *b);
/* The same, or both the same file that is not there yet: its name in one folder. */
bool file_same_place(const char *a, const char *b);
/* The folder part of a path, "." when none; malloc'ed, NULL when out of memory. */
char *path_folder(const char *path);
/* folder/name, or name alone when it is absolute; malloc'ed. */
char *path_join(const char *folder, const char *name);
/* TMPDIR/pare-XXXXXX for mkstemp or mkdtemp, in /tmp where TMPDIR is not set; malloc'ed, NULL when out of memory. */
char *temp_template(void);
/* An unlinked temporary file in TMPDIR, open for reading and writing. */
Status temp_file(FILE **out, Err *err);

#endif
