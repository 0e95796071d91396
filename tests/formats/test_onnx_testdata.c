/* All models of the ONNX test data (Debian package libonnx-testdata, or the folder in PARE_ONNX_TESTDATA): load, save, load, compare. */
#include "formats/messages.h"

#include "formats/tensor_pb.h"

typedef struct Tally {
    int models, tensors, other;
} Tally;

static void check_model(const char *path, const char *folder, Tally *tally)
{
    Err err;
    Graph *g = NULL;
    Status status = model_load(path, NULL, &g, &err);
    if (status != OK) fail_msg("%s: %s", path, err.text);
    graph_free(assert_round_trip(g, folder));
    graph_free(g);
    tally->models++;
}

/* Sequences and optional values share the extension; those, and strings, are told apart without harm. */
static void check_tensor(const char *path, Tally *tally)
{
    Err err = { 0 };
    Tensor t;
    Status status = tensor_pb_load(path, 0, &t, NULL, 0, &err);
    if (status == OK) {
        assert_int_equal(tensor_count(&t) == 0, t.bytes == 0);
        tensor_release(&t);
        tally->tensors++;
        return;
    }
    if (status != ERR_DATA && status != ERR_UNSUPPORTED) fail_msg("%s: status %d: %s", path, (int)status, err.text);
    tally->other++;
}

static void test_all(void **state)
{
    (void)state;
    char folder[64], command[512], line[1024];
    const char *root = getenv("PARE_ONNX_TESTDATA");
    if (root != NULL) assert_true(snprintf(command, sizeof command, "find '%s' -type f | sort", root) < (int)sizeof command);
    else snprintf(command, sizeof command, "dpkg -L libonnx-testdata 2>/dev/null | sort");
    folder_make(folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    Tally tally = { 0 };
    while (fgets(line, sizeof line, list) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (str_ends(str_of(line), ".onnx")) check_model(line, folder, &tally);
        if (str_ends(str_of(line), ".pb")) check_tensor(line, &tally);
    }
    pclose(list);
    folder_remove(folder);
    if (tally.models == 0) {
        print_message("skipped: no ONNX test data here\n");
        skip();
    }
    print_message("%d models, %d tensor files, %d other files\n", tally.models, tally.tensors, tally.other);
    assert_true(tally.tensors > tally.other);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_all) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
