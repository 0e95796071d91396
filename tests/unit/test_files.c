/* Whole files: replaced atomically, appended to, mapped; and whether two paths are one. */
#include "test.h"

#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_holds(const char *path, const char *text)
{
    char found[64] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(found, 1, sizeof found - 1, f);
    fclose(f);
    found[n] = '\0';
    assert_string_equal(found, text);
}

static void test_output_is_atomic(void **state)
{
    (void)state;
    Err err;
    char folder[] = "build-test-XXXXXX", path[64], link[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model", folder);
    snprintf(link, sizeof link, "%s/link", folder);
    write_text(path, "old");
    assert_int_equal(symlink("model", link), 0);
    OutFile *f;
    assert_ok(outfile_open(path, &f, &err), &err);
    assert_ok(outfile_write(f, "new", 3, &err), &err);
    assert_holds(path, "old");
    outfile_abort(f);
    assert_holds(path, "old");
    assert_ok(outfile_open(link, &f, &err), &err);
    assert_ok(outfile_write(f, "newer", 5, &err), &err);
    assert_int_equal(outfile_bytes(f), 5);
    assert_ok(outfile_prepare(f, &err), &err);
    assert_holds(path, "old");
    assert_ok(outfile_commit(f, &err), &err);
    assert_holds(path, "newer");
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_true(file_same(path, link));
    assert_status(outfile_open(folder, &f, &err), ERR_IO, &err);
    assert_status(outfile_open("/nonexistent/folder/x", &f, &err), ERR_IO, &err);
    unlink(link);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* no temporary file left behind */
}

static void test_full_disk_is_reported(void **state)
{
    (void)state;
    Err err;
    OutFile *f;
    if (access("/dev/full", W_OK) != 0) skip();
    assert_ok(outfile_open("/dev/full", &f, &err), &err);
    Status status = outfile_write(f, "data", 4, &err);
    if (status == OK) status = outfile_commit(f, &err);
    else outfile_abort(f);
    assert_int_equal(status, ERR_IO);
}

/* A line that the disk has no room for leaves the file as it was: a file size limit stands for the disk. */
static void test_append_takes_a_part_back(void **state)
{
    (void)state;
    Err err;
    struct rlimit was, limit;
    char path[] = "build-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_ok(file_append(path, "a,b\n", "1,2\n", &err), &err);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    limit = was;
    limit.rlim_cur = 10;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    Status status = file_append(path, "a,b\n", "3,4444444\n", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_status(status, ERR_IO, &err);
    assert_holds(path, "a,b\n1,2\n");
    assert_ok(file_append(path, "a,b\n", "3,4\n", &err), &err);
    assert_holds(path, "a,b\n1,2\n3,4\n");
    unlink(path);
}

/* Files that are there, by whatever name, and files that are not there yet. */
static void test_same_place(void **state)
{
    (void)state;
    char folder[] = "build-test-XXXXXX", a[64], b[64], here[64];
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof a, "%s/new", folder);
    snprintf(b, sizeof b, "./%s//new", folder);
    snprintf(here, sizeof here, "%s/../new", folder);
    assert_true(file_same_place(a, b));
    assert_false(file_same_place(a, here));
    assert_true(file_same_place("new", here));
    assert_false(file_same_place(a, folder));
    assert_false(file_same_place("no/such/new", "no/other/new"));
    assert_true(file_same_place("no/such/new", "no/such/new"));
    write_text(a, "x");
    snprintf(here, sizeof here, "%s/link", folder);
    assert_int_equal(symlink("new", here), 0);
    assert_true(file_same_place(here, b));
    unlink(here);
    unlink(a);
    rmdir(folder);
}

static void test_mapping_reads_pipes(void **state)
{
    (void)state;
    Err err;
    int ends[2];
    Mapping *m;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "through a pipe", 14), 14);
    close(ends[1]);
    assert_ok(mapping_open_fd(ends[0], "pipe", 0, &m, &err), &err);
    assert_int_equal(m->size, 14);
    assert_memory_equal(m->data, "through a pipe", 14);
    mapping_unref(m);
    assert_status(mapping_open("/nonexistent", 0, &m, &err), ERR_IO, &err);
    assert_status(mapping_open("/", 0, &m, &err), ERR_IO, &err);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "too long", 8), 8);
    close(ends[1]);
    assert_status(mapping_open_fd(ends[0], "pipe", 4, &m, &err), ERR_MEMORY, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_is_atomic),
        cmocka_unit_test(test_full_disk_is_reported),
        cmocka_unit_test(test_append_takes_a_part_back),
        cmocka_unit_test(test_same_place),
        cmocka_unit_test(test_mapping_reads_pipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
