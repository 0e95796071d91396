/* The replay of a fuzz target: a program that hands files, and all files of folders, to LLVMFuzzerTestOneInput. */
#ifndef PARE_TESTS_FUZZ_REPLAY_H
#define PARE_TESTS_FUZZ_REPLAY_H

#include "base/file.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

/* The number of files below the path; -1: one cannot be read. */
static int replay_path(const char *path, int (*target)(const uint8_t *data, size_t size))
{
    struct stat info;
    if (stat(path, &info) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(info.st_mode)) {
        Err err;
        Mapping *m;
        if (mapping_open(path, 0, &m, &err) != OK) {
            fprintf(stderr, "%s\n", err.text);
            return -1;
        }
        target(m->data, m->size);
        mapping_unref(m);
        return 1;
    }
    int count = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && count >= 0 && (e = readdir(d)) != NULL;) {
        char inner[1024];
        if (e->d_name[0] == '.' || snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner) continue;
        int n = replay_path(inner, target);
        count = n < 0 ? -1 : count + n;
    }
    if (d != NULL) closedir(d);
    return count;
}

static int replay_main(int argc, char **argv, const char *name, int (*target)(const uint8_t *data, size_t size))
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay_path(argv[i], target);
        if (n < 0) return 1;
        count += n;
    }
    printf("%s: %d files replayed\n", name, count);
    return count > 0 ? 0 : 1;
}

#endif
