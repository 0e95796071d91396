/* A tree of sys/ and proc/ of a test's own, and clocks that it turns. */
#ifndef PARE_TESTS_FAKE_TREE_H
#define PARE_TESTS_FAKE_TREE_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "greenness/source.h"

static char tree[128];
static SourceTime fake_now;

static inline void fake_clock(void *context, SourceTime *now)
{
    (void)context;
    *now = fake_now;
}

/* Lets time pass on all clocks. */
static inline void pass_time(double seconds)
{
    fake_now.monotonic += seconds;
    fake_now.boot += seconds;
    fake_now.real += seconds;
}

static int make_tree(void **state)
{
    (void)state;
    const char *folder = getenv("TMPDIR");
    fake_now = (SourceTime){ 1000, 5000, 1.7672256e9 };
    snprintf(tree, sizeof tree, "%.90s/pare-tree-XXXXXX", folder != NULL ? folder : "/tmp");
    return mkdtemp(tree) != NULL ? 0 : -1;
}

static int remove_tree(void **state)
{
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", tree);
    return system(command);
}

/* An empty one in its place. */
static inline void new_tree(void)
{
    assert_int_equal(remove_tree(NULL), 0);
    assert_int_equal(make_tree(NULL), 0);
}

/* A test with a tree of its own. */
#define ROW(test) cmocka_unit_test_setup_teardown(test, make_tree, remove_tree)

static inline const char *in_tree(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return path;
}

static inline void make_folders(char *path)
{
    for (char *at = path + strlen(tree) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0755);
        *at = '/';
    }
}

/* Writes bytes into a file of the tree. NULL removes it; "loop" makes it a link to itself, which nobody can open, root included. */
static void put_bytes(const char *name, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    make_folders(path);
    if (data == NULL || (size == 4 && memcmp(data, "loop", 4) == 0)) {
        unlink(path);
        if (data != NULL) assert_int_equal(symlink(strrchr(path, '/') + 1, path), 0);
        return;
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static inline void put_file(const char *name, const char *text) { put_bytes(name, text, text != NULL ? strlen(text) : 0); }

static inline SourceSettings fake_settings(void) { return (SourceSettings){ .sysroot = tree, .clock = fake_clock }; }

#endif
