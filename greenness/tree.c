#include "greenness/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

int tree_open(const char *root, const char *path)
{
    char full[2 * TREE_PATH];
    int length = snprintf(full, sizeof full, "%s%s", root != NULL ? root : "", path);
    if (length >= (int)sizeof full) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int tree_text(const char *root, const char *path, char *text, size_t size)
{
    text[0] = '\0';
    int fd = tree_open(root, path);
    if (fd < 0) return errno;
    ssize_t got = read(fd, text, size - 1);
    int error = got < 0 ? errno : 0;
    close(fd);
    text[got < 0 ? 0 : got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~') *c = *c == '\t' ? ' ' : '?'; /* names end up in messages and JSON */
    return error;
}

bool text_whole_number(const char *text, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || (*end != '\0' && *end != '\n')) return false;
    *out = value;
    return true;
}

int tree_number(const char *root, const char *path, uint64_t *out)
{
    char text[40];
    int error = tree_text(root, path, text, sizeof text);
    if (error != 0) return error;
    return text_whole_number(text, out) ? 0 : EINVAL;
}

int tree_decimal(const char *root, const char *path, double *out)
{
    char text[64], *end;
    int error = tree_text(root, path, text, sizeof text);
    if (error != 0) return error;
    double value = strtod(text, &end);
    if (end == text || (*end != '\0' && *end != ' ') || !isfinite(value)) return EINVAL;
    *out = value;
    return 0;
}

bool tree_exists(const char *root, const char *path)
{
    char full[2 * TREE_PATH];
    int length = snprintf(full, sizeof full, "%s%s", root != NULL ? root : "", path);
    return length < (int)sizeof full && access(full, F_OK) == 0;
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

int tree_list(const char *root, const char *path, TreeNames *out)
{
    *out = (TreeNames){ .count = 0 };
    struct dirent **entries = NULL;
    int folder = tree_open(root, path);
    if (folder < 0) return errno;
    int count = scandirat(folder, ".", &entries, visible, versionsort);
    int error = count < 0 ? errno : 0;
    close(folder);
    if (error != 0) return error;
    out->names = alloc_zeroed((size_t)count + 1, sizeof *out->names);
    for (int i = 0; i < count; i++) {
        char *name = out->names != NULL ? strdup(entries[i]->d_name) : NULL;
        if (name != NULL) out->names[out->count++] = name;
        else error = ENOMEM;
        free(entries[i]);
    }
    free(entries);
    return error;
}

void tree_names_release(TreeNames *n)
{
    for (int i = 0; i < n->count; i++) free(n->names[i]);
    free(n->names);
    *n = (TreeNames){ .count = 0 };
}
