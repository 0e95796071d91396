/* Any bytes as an ONNX file: loading ends with a graph or a message. What loads must save, load again, and save to the same bytes.
 *
 *   clang -fsanitize=fuzzer,address,undefined ...: a libFuzzer target
 *   -DFUZZ_REPLAY: a program that runs the files and folders given as arguments, for `make check` */
#include "graph/edit.h"
#include "graph/format.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static void bug(const char *what, const Err *err)
{
    fprintf(stderr, "fuzz_onnx: %s: %s\n", what, err->text);
    abort();
}

static void remove_folder(void)
{
    char path[128];
    static const char *const names[] = { "a.onnx", "a.onnx.data", "b.onnx", "b.onnx.data", "d" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* A folder in memory where there is one, with a file "d" that external data may name. */
static void make_folder(void)
{
    if (folder[0] != '\0') return;
    char path[128];
    snprintf(folder, sizeof folder, "%s/pare-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(folder) == NULL) abort();
    atexit(remove_folder);
    snprintf(path, sizeof path, "%s/d", folder);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite("0123456789abcdef0123456789abcdef", 1, 32, f) != 32 || fclose(f) != 0) abort();
}

static Mapping *map_bytes(const uint8_t *data, size_t size)
{
    Err err;
    Mapping *m = NULL;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size)) abort();
    if (mapping_open_fd(fd, "fuzz.onnx", 0, &m, &err) != OK) bug("mapping", &err);
    return m;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    struct stat info;
    if (f == NULL || fstat(fileno(f), &info) != 0) abort();
    char *text = malloc((size_t)info.st_size + 1);
    if (text == NULL) abort();
    *size = fread(text, 1, (size_t)info.st_size, f);
    fclose(f);
    return text;
}

static void save_twice(Graph *g)
{
    char a[128], b[128];
    Err err = { 0 };
    Graph *again = NULL;
    SaveOptions save = { .force = true };
    snprintf(a, sizeof a, "%s/a.onnx", folder);
    snprintf(b, sizeof b, "%s/b.onnx", folder);
    Status status = model_save(g, a, &save, &err);
    if (status == ERR_UNSUPPORTED || status == ERR_MEMORY) return;
    if (status != OK) bug("what was loaded cannot be saved", &err);
    if (model_load(a, NULL, &again, &err) != OK) bug("what was saved cannot be loaded", &err);
    if (again->value_count != g->value_count || again->order_count != g->order_count) bug("the saved graph is another one", &err);
    again->external_data = g->external_data;
    if (model_save(again, b, &save, &err) != OK) bug("the second save failed", &err);
    graph_free(again);
    size_t x_size, y_size;
    char *x = read_file(a, &x_size), *y = read_file(b, &y_size);
    if (!g->external_data && (x_size != y_size || memcmp(x, y, x_size) != 0)) bug("the second save has other bytes", &err);
    free(x);
    free(y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Err err = { 0 };
    Graph *g = NULL, *clone = NULL;
    make_folder();
    Mapping *m = map_bytes(data, size);
    LoadOptions options = { .max_mem = 64 << 20, .folder = folder };
    Status status = model_load_mapping(m, "fuzz.onnx", &options, &g, &err);
    mapping_unref(m);
    if (status != OK) {
        if (err.text[0] == '\0' || status == ERR_BUG) bug("an error without a message, or a bug", &err);
        return 0;
    }
    if (graph_clone(g, &clone, &err) == OK) graph_remove_dead(clone, NULL);
    graph_free(clone);
    save_twice(g);
    graph_free(g);
    return 0;
}

#ifdef FUZZ_REPLAY
static int run_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(info.st_mode)) {
        size_t size;
        char *text = read_file(path, &size);
        LLVMFuzzerTestOneInput((const uint8_t *)text, size);
        free(text);
        return 1;
    }
    int count = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char inner[1024];
        if (e->d_name[0] == '.' || snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner) continue;
        int n = run_path(inner);
        if (n < 0) count = -1;
        if (count >= 0) count += n;
    }
    if (d != NULL) closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        int n = run_path(argv[i]);
        if (n < 0) return 1;
        count += n;
    }
    printf("fuzz_onnx: %d files replayed\n", count);
    return count > 0 ? 0 : 1;
}
#endif
