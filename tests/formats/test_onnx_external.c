/* Data in files beside the model: read from inside its folder only, written beside the output, never over an input. */
#include "formats/messages.h"

#include <sys/stat.h>

#define LARGE 600 /* floats: over EXTERNAL_MIN_BYTES */

typedef struct Row {
    const char *name, *location, *offset, *length, *checksum;
    Status status;
    const char *message;
} Row;

static const Row rows[] = {
    { "plain", "weights.bin", "8", "2400", NULL, OK, "" },
    { "no length", "weights.bin", "8", NULL, NULL, OK, "" },
    { "in a folder", "sub/weights.bin", "8", "2400", NULL, OK, "" },
    { "dot", "./weights.bin", "8", "2400", NULL, OK, "" },
    { "link inside", "inside.lnk", "8", "2400", NULL, OK, "" },
    { "absolute link inside", "absolute.lnk", "8", "2400", NULL, OK, "" },
    { "link out", "outside.lnk", "8", "2400", NULL, ERR_DATA, "out of the model's folder" },
    { "folder link out", "away/outside.bin", "8", "2400", NULL, ERR_DATA, "out of the model's folder" },
    { "parent", "../outside.bin", "8", "2400", NULL, ERR_DATA, "without '..'" },
    { "parent inside", "sub/../weights.bin", "8", "2400", NULL, ERR_DATA, "without '..'" },
    { "absolute", "/etc/hostname", "0", "4", NULL, ERR_DATA, "inside the model's folder" },
    { "empty", "", "0", "4", NULL, ERR_DATA, "inside the model's folder" },
    { "missing", "nothing.bin", "0", "4", NULL, ERR_IO, "No such file" },
    { "a folder", "sub", "0", "4", NULL, ERR_DATA, "no regular file" },
    { "a pipe", "pipe", "0", "4", NULL, ERR_DATA, "no regular file" },
    { "past the end", "weights.bin", "9", "2400", NULL, ERR_DATA, "bytes 9 to 2409" },
    { "offset past the end", "weights.bin", "9999999999", "2400", NULL, ERR_DATA, "bytes 9999999999" },
    { "offset and length wrap", "weights.bin", "18446744073709551615", "2400", NULL, ERR_DATA, "bytes" },
    { "offset too large", "weights.bin", "99999999999999999999", "2400", NULL, ERR_DATA, "expected numbers" },
    { "offset is no number", "weights.bin", "-8", "2400", NULL, ERR_DATA, "expected numbers" },
    { "length does not fit", "weights.bin", "8", "2396", NULL, ERR_DATA, "holds 2396 bytes" },
    { "right checksum", "weights.bin", "8", "2400", "e6fddf100a04fc91904951585c488910a72b9650", OK, "" },
    { "wrong checksum", "weights.bin", "8", "2400", "0a4d55a8d778e5022fab701977c5d840bbc486d0", ERR_DATA, "SHA-1" },
};

static void put_entry(Pb *t, const char *key, const char *value)
{
    if (value == NULL) return;
    Pb e = { 0 };
    pb_text(&e, 1, key);
    pb_text(&e, 2, value);
    pb_sub(t, 13, e);
}

/* y = Add(x, w), w [600] in another file. */
static Pb external_model(const Row *r)
{
    static const int64_t dims[1] = { LARGE };
    Pb t = pb_tensor("w", DT_FLOAT, 1, dims, NULL, 0), g = { 0 };
    put_entry(&t, "location", r->location);
    put_entry(&t, "offset", r->offset);
    put_entry(&t, "length", r->length);
    put_entry(&t, "checksum", r->checksum);
    pb_int(&t, 14, 1);
    pb_sub(&g, 1, pb_node("Add", "add", "x", "w", "y"));
    pb_sub(&g, 5, t);
    pb_sub(&g, 11, pb_value("x", LARGE));
    pb_sub(&g, 12, pb_value("y", LARGE));
    return pb_model(g);
}

static void join(char path[256], const char *folder, const char *name)
{
    assert_true(snprintf(path, 256, "%s/%s", folder, name) < 256);
}

/* model/{weights.bin, sub/weights.bin, links} and outside.bin beside the folder. */
static void write_weights(const char *top)
{
    static float bytes[LARGE + 2];
    char folder[128], path[256], target[256];
    for (int i = 0; i < LARGE; i++) bytes[i + 2] = (float)i;
    snprintf(folder, sizeof folder, "%s/model", top);
    assert_int_equal(mkdir(folder, 0700), 0);
    join(path, folder, "sub");
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(folder, "weights.bin", bytes, sizeof bytes);
    write_file(path, "weights.bin", bytes, sizeof bytes);
    write_file(top, "outside.bin", bytes, sizeof bytes);
    join(path, folder, "inside.lnk");
    assert_int_equal(symlink("sub/weights.bin", path), 0);
    join(path, folder, "absolute.lnk");
    join(target, folder, "weights.bin");
    assert_int_equal(symlink(target, path), 0);
    join(path, folder, "outside.lnk");
    assert_int_equal(symlink("../outside.bin", path), 0);
    join(path, folder, "away");
    assert_int_equal(symlink("..", path), 0);
    join(path, folder, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void check_weights(const Graph *g)
{
    const Tensor *t = graph_value(g, graph_find_value(g, STR("w")))->tensor;
    assert_non_null(t);
    assert_int_equal(t->bytes, LARGE * 4);
    for (int i = 0; i < LARGE; i++) assert_near(tensor_get(t, i), i, 0);
}

static void test_locations(void **state)
{
    (void)state;
    char top[64], folder[128], path[256];
    folder_make(top);
    write_weights(top);
    snprintf(folder, sizeof folder, "%s/model", top);
    join(path, folder, "m.onnx");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Err err = { 0 };
        Graph *g = NULL;
        Pb m = external_model(r);
        write_file(folder, "m.onnx", m.data, m.size);
        pb_free(&m);
        Status status = model_load(path, NULL, &g, &err);
        if (status != r->status || (status != OK && strstr(err.text, r->message) == NULL)) {
            fail_msg("%s: status %d, expected %d: %s", r->name, (int)status, (int)r->status, err.text);
        }
        if (status != OK && status != ERR_IO && strstr(err.text, "'w'") == NULL) fail_msg("%s: no name in: %s", r->name, err.text);
        if (status == OK) check_weights(g);
        graph_free(g);
    }
    folder_remove(top);
}

/* The model with its data beside it, loaded. */
static Graph *load_beside(const char *top, char model[256])
{
    char folder[128];
    Err err;
    Graph *g = NULL;
    write_weights(top);
    snprintf(folder, sizeof folder, "%s/model", top);
    join(model, folder, "m.onnx");
    Pb m = external_model(&rows[0]);
    write_file(folder, "m.onnx", m.data, m.size);
    pb_free(&m);
    assert_ok(model_load(model, NULL, &g, &err), &err);
    assert_true(g->external_data);
    return g;
}

static off_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void test_written_beside(void **state)
{
    (void)state;
    char top[64], model[256], path[256];
    Err err;
    folder_make(top);
    Graph *g = load_beside(top, model), *again = NULL;
    join(path, top, "out.onnx");
    assert_ok(model_save(g, path, NULL, &err), &err);
    assert_true(file_size(path) < 400);
    join(path, top, "out.onnx.data");
    assert_int_equal(file_size(path), LARGE * 4);
    join(path, top, "out.onnx");
    assert_ok(model_load(path, NULL, &again, &err), &err);
    check_weights(again);
    assert_same_graph(g, again);
    graph_free(again);
    graph_free(g);
    folder_remove(top);
}

static void test_asked_for(void **state)
{
    (void)state;
    char top[64], path[256], data[256];
    Err err;
    folder_make(top);
    static const float w[LARGE];
    static const int64_t dims[1] = { LARGE }, few[1] = { 3 };
    Pb graph = { 0 };
    pb_sub(&graph, 5, pb_tensor("large", DT_FLOAT, 1, dims, w, sizeof w));
    pb_sub(&graph, 5, pb_tensor("small", DT_FLOAT, 1, few, w, 12));
    pb_sub(&graph, 5, pb_tensor("second", DT_FLOAT, 1, dims, w, sizeof w));
    Pb m = pb_model(graph);
    Graph *g = NULL, *again = NULL;
    assert_ok(load_bytes(&m, 0, &g, &err), &err);
    pb_free(&m);
    SaveOptions save = { .external = true };
    join(path, top, "out.onnx");
    join(data, top, "out.onnx.data");
    assert_ok(model_save(g, path, &save, &err), &err);
    assert_int_equal(file_size(data), 2432 + 2400); /* the second begins at a multiple of 64 */
    assert_ok(model_load(path, NULL, &again, &err), &err);
    again->external_data = false;
    assert_same_graph(g, again);
    graph_free(again);
    assert_status(model_save(g, "-", &save, &err), ERR_USAGE, &err);
    graph_free(g);
    folder_remove(top);
}

/* Neither the model that was read, nor its data, nor any file named as an input is replaced, by whatever name. */
static void test_inputs_are_kept(void **state)
{
    (void)state;
    char top[64], model[256], path[256], link_name[256];
    Err err;
    folder_make(top);
    Graph *g = load_beside(top, model);
    join(link_name, top, "link.onnx");
    assert_int_equal(symlink(model, link_name), 0);
    off_t before = file_size(model);
    assert_status(model_save(g, model, NULL, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "--force"));
    assert_status(model_save(g, link_name, NULL, &err), ERR_USAGE, &err);
    assert_int_equal(file_size(model), before);
    join(path, top, "other.onnx");
    const char *inputs[] = { path, NULL };
    SaveOptions save = { .inputs = inputs };
    write_file(top, "other.onnx", "x", 1);
    assert_status(model_save(g, path, &save, &err), ERR_USAGE, &err);
    join(path, top, "w");
    char data[256], weights[256];
    join(data, top, "w.data");
    snprintf(weights, sizeof weights, "%s/model/weights.bin", top);
    assert_int_equal(link(weights, data), 0);
    assert_status(model_save(g, path, NULL, &err), ERR_USAGE, &err);
    assert_int_equal(file_size(path), -1);
    save.force = true;
    assert_ok(model_save(g, path, &save, &err), &err);
    assert_ok(model_save(g, model, &save, &err), &err);
    Graph *again = NULL;
    assert_ok(model_load(model, NULL, &again, &err), &err);
    check_weights(again);
    graph_free(again);
    graph_free(g);
    folder_remove(top);
}

static int count_files(const char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *p = popen(command, "r");
    int count = -1;
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%d", &count), 1);
    pclose(p);
    return count;
}

/* A save that fails leaves nothing behind: the target of the data is a folder. */
static void test_failure_leaves_nothing(void **state)
{
    (void)state;
    char top[64], model[256], out[256], path[256];
    Err err;
    folder_make(top);
    Graph *g = load_beside(top, model);
    snprintf(out, sizeof out, "%s/out", top);
    assert_int_equal(mkdir(out, 0700), 0);
    join(path, out, "m.onnx.data");
    assert_int_equal(mkdir(path, 0700), 0);
    join(path, out, "m.onnx");
    assert_status(model_save(g, path, NULL, &err), ERR_IO, &err);
    assert_int_equal(count_files(out), 1);
    join(path, out, "n.onnx");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_status(model_save(g, path, NULL, &err), ERR_IO, &err);
    assert_int_equal(count_files(out), 2);
    graph_free(g);
    folder_remove(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locations),          cmocka_unit_test(test_written_beside),         cmocka_unit_test(test_asked_for),
        cmocka_unit_test(test_inputs_are_kept), cmocka_unit_test(test_failure_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
