#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

/* The first line of an open file against the header's; its end may be CR LF. */
static Status check_header(int fd, const char *path, const char *header, bool *empty, Err *err)
{
    size_t want = header != NULL ? strcspn(header, "\n") : 0;
    char *head = malloc(want + 1);
    if (head == NULL) return err_no_memory(err, "a line");
    ssize_t got = pread(fd, head, want + 1, 0);
    Status status = got < 0 ? err_set(err, ERR_IO, "%s: %s", path, strerror(errno)) : OK;
    *empty = got == 0;
    bool same = header == NULL || (got == (ssize_t)want + 1 && memcmp(head, header, want) == 0 &&
                                   (head[want] == '\n' || head[want] == '\r'));
    if (status == OK && !*empty && !same)
        status = err_set(err, ERR_DATA, "%s: its first line is not the one that belongs there (%.40s...); give another file", path, header);
    free(head);
    return status;
}

Status file_append_check(const char *path, const char *header, Err *err)
{
    bool empty;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT ? OK : err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    Status status = check_header(fd, path, header, &empty, err);
    close(fd);
    return status;
}

/* Whether the last byte ends a line. */
static bool ends_line(int fd)
{
    char last;
    off_t end = lseek(fd, 0, SEEK_END);
    return end <= 0 || pread(fd, &last, 1, end - 1) != 1 || last == '\n';
}

Status file_append(const char *path, const char *header, const char *lines, Err *err)
{
    StrBuf b = { 0 };
    bool empty = false;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
    Status status = check_header(fd, path, header, &empty, err);
    if (status == OK) {
        if (empty && header != NULL) strbuf_add(&b, header);
        if (!empty && !ends_line(fd)) strbuf_add(&b, "\n");
        strbuf_add(&b, lines);
        off_t before = lseek(fd, 0, SEEK_END);
        ssize_t done = b.failed ? 0 : write(fd, b.data, b.len);
        if (b.failed) status = err_no_memory(err, "a line");
        else if (done < 0) status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        else if ((size_t)done != b.len) { /* a full disk: what others wrote stays, the part of a line goes */
            bool back = before >= 0 && ftruncate(fd, before) == 0;
            status = err_set(err, ERR_IO, "%s: only part of the line could be written%s", path, back ? "; the file is as it was" : "");
        }
    }
    if (close(fd) != 0 && status == OK) status = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    strbuf_release(&b);
    return status;
}
