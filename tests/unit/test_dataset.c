/* Data sections: each key, the order they apply in, and the exact messages about what does not fit. */
#include "unit/dataset_fixture.h"

/* ---- values ---- */

typedef struct ValueRow {
    const char *name, *graph, *section;
    int64_t samples;
    const char *shape; /* of input 0, all samples */
    int count;         /* of values checked, from the first */
    double values[12];
} ValueRow;

static const ValueRow value_rows[] = {
    { "by name", "x:1:N,3", FILE_KEY "\"label\": null}", 4, "[4,3]", 3, { 0, 1, 2 } },
    { "plain string", "x:1:N,3", "\"t.npz\"", 4, "[4,3]", 3, { 0, 1, 2 } },
    { "first", "x:1:N,3", FILE_KEY "\"first\": 2}", 2, "[2,3]", 6, { 0, 1, 2, 3, 4, 5 } },
    { "first of more than there are", "x:1:N,3", FILE_KEY "\"first\": 200}", 4, "[4,3]", 3, { 0, 1, 2 } },
    { "every", "x:1:N,3", FILE_KEY "\"every\": 3}", 2, "[2,3]", 6, { 0, 1, 2, 9, 10, 11 } },
    { "first before every", "i:1:N,1", FILE_KEY "\"first\": 7, \"every\": 3, \"inputs\": {\"i\": {\"array\": \"tall\"}}, \"label\": null}",
      3, "[3,1]", 3,
      { 0, 3, 6 } },
    { "rows in the order of the file", "x:1:N,3", FILE_KEY "\"rows\": \"pick\", \"label\": null}", 3, "[3,3]", 9, { 0, 1, 2, 6, 7, 8, 9,
      10, 11 } },
    { "rows before first", "x:1:N,3", FILE_KEY "\"rows\": \"pick\", \"first\": 2, \"label\": null}", 2, "[2,3]", 6, { 0, 1, 2, 9, 10,
      11 } },
    { "input overrides the top", "x:1:N,3", FILE_KEY "\"first\": 2, \"inputs\": {\"x\": {\"first\": 3}}, \"label\": null}", 3, "[3,3]", 3,
      { 0, 1, 2 } },
    { "null undoes the top", "x:1:N,3", FILE_KEY "\"first\": 2, \"inputs\": {\"x\": {\"first\": null}}, \"label\": null}", 4, "[4,3]", 3,
      { 0, 1, 2 } },
    { "scale then mean then std", "x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"scale\": 2, \"mean\": 1, \"std\": 4}}}", 4, "[4,3]", 4,
      { -0.25, 0.25, 0.75, 1.25 } },
    { "per channel", "x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"mean\": [0, 1, 2], \"std\": [1, 2, 4]}}}", 4, "[4,3]", 6, { 0, 0, 0, 3,
      1.5, 0.75 } },
    { "channel axis of the stored array", "i:1:N,3,2,2",
      FILE_KEY "\"inputs\": {\"i\": {\"array\": \"image\", \"mean\": [0, 100], \"channel-axis\": 1, \"transpose\": [0,3,1,2]}}}", 4,
          "[4,3,2,2]", 4,
      { 0, 3, -94, -91 } },
    { "transpose", "i:1:N,3,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"image\", \"transpose\": [0,3,1,2]}}}", 4, "[4,3,2,2]", 6,
      { 0, 3, 6, 9, 1, 4 } },
    { "transpose with negative axes", "i:1:N,3,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"image\", \"transpose\": [0,-1,1,2]}}}", 4,
      "[4,3,2,2]", 6,
      { 0, 3, 6, 9, 1, 4 } },
    { "expand", "i:1:N,1,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gray\", \"expand\": [1]}}}", 4, "[4,1,2,2]", 4, { 0, 1, 2, 3 } },
    { "expand twice, after transpose", "i:1:N,1,2,2,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gray\", \"transpose\": [0,2,1], "
      "\"expand\": [1,-1]}}}", 4,
      "[4,1,2,2,1]", 4, { 0, 2, 1, 3 } },
    { "sample axis 1", "s:7:T,B", FILE_KEY "\"sample-axis\": 1, \"first\": 2, \"inputs\": {\"s\": {\"array\": \"seq\"}}, \"label\": null}",
      2, "[5,2]", 6,
      { 0, 1, 4, 5, 8, 9 } },
    { "sample axis moved to the front", "s:7:B,T",
      FILE_KEY "\"sample-axis\": 1, \"every\": 2, \"inputs\": {\"s\": {\"array\": \"seq\", \"transpose\": [1,0]}}, \"label\": null}", 2,
          "[2,5]", 6,
      { 0, 4, 8, 12, 16, 2 } },
    { "whole", "s:7:T,B", FILE_KEY "\"sample-axis\": null, \"inputs\": {\"s\": {\"array\": \"seq\"}}, \"label\": null}", 1, "[5,4]", 6,
      { 0, 1, 2, 3, 4, 5 } },
    { "to int4", "nibbles:22:N,3", FILE_KEY "\"label\": null}", 2, "[2,3]", 6, { 0, 1, 2, 3, 4, 5 } },
    { "cast to int64", "i:7:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"tall\"}}, \"label\": null}", 10, "[10,1]", 3, { 0, 1, 2 } },
    { "cast to float16", "i:10:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"half\", \"scale\": 3}}, \"label\": null}", 2, "[2,1]", 2,
      { 3, 1.5 } },
    { "cast to float64", "i:11:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"big\", \"std\": 10}}, \"label\": null}", 2, "[2,1]", 2,
      { 0.1, 30 } },
    { "cast to bool", "i:9:N,3", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"x\"}}}", 4, "[4,3]", 3, { 0, 1, 1 } },
    { "batch fixed at one", "i:1:1,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gray\"}}}", 4, NULL, 4, { 0, 1, 2, 3 } },
};

static void test_values(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof value_rows / sizeof *value_rows; r++) {
        const ValueRow *row = &value_rows[r];
        Err err = { 0 };
        Graph *g;
        Dataset *d;
        Tensor t;
        char shape[64];
        Status status = open_text(row->section, row->graph, &labelled, &g, &d, &err);
        if (status != OK) fail_msg("%s: %s", row->name, err.text);
        if (dataset_samples(d) != row->samples) fail_msg("%s: %lld samples", row->name, (long long)dataset_samples(d));
        int64_t count = row->shape == NULL ? dataset_batch(d, 0) : row->samples;
        status = dataset_read(d, 0, count, &t, NULL, &err);
        if (status != OK) fail_msg("%s: %s", row->name, err.text);
        shape_print(&t.shape, shape, sizeof shape);
        if (row->shape != NULL && strcmp(shape, row->shape) != 0) fail_msg("%s: shape %s, expected %s", row->name, shape, row->shape);
        if (t.type != graph_value(g, g->inputs[0])->type) fail_msg("%s: type %s", row->name, dtype_name(t.type));
        for (int i = 0; i < row->count; i++) {
            if (tensor_get(&t, i) != row->values[i]) fail_msg("%s: [%d] is %.9g, expected %.9g", row->name, i, tensor_get(&t, i),
                row->values[i]);
        }
        tensor_release(&t);
        dataset_free(d);
        free_graph(g);
    }
}

/* ---- messages ---- */

typedef struct ErrorRow {
    const char *name, *graph, *section;
    Status status;
    const char *message; /* exact; %s is the folder */
} ErrorRow;

#define ARRAYS "; there are 'x' float32 [4,3], 'image' uint8 [4,2,2,3], 'gray' uint8 [4,2,2], 'seq' int64 [5,4], 'tall' float32 [10,1], " \
    "'ten' int32 [10], 'hundred' float32 [100,1], 'nan' float32 [2,3] and 10 more"

static const ErrorRow error_rows[] = {
    { "images for a float input", "image:1:N,3,2,2", "\"t.npz\"", ERR_DATA,
      "%s/t.npz: array 'image' is uint8 [4,2,2,3], input 'image' wants float32 [N,3,2,2]; write a data section: {\"file\": \"t.npz\", "
          "\"inputs\": "
      "{\"image\": {\"array\": \"image\", \"scale\": 0.003921569, \"transpose\": [0,3,1,2]}}, \"label\": \"label\"}" },
    { "a missing axis", "gray:1:N,1,2,2", "\"t.npz\"", ERR_DATA,
      "%s/t.npz: array 'gray' is uint8 [4,2,2], input 'gray' wants float32 [N,1,2,2]; write a data section: {\"file\": \"t.npz\", "
          "\"inputs\": "
      "{\"gray\": {\"array\": \"gray\", \"scale\": 0.003921569, \"expand\": [1]}}, \"label\": \"label\"}" },
    { "one plausible array is shown, not taken", "in:1:N,3,2,2", "\"t.npz\"", ERR_DATA,
      "%s/t.npz: no array 'in'; array 'image' is uint8 [4,2,2,3], input 'in' wants float32 [N,3,2,2]; write a data section: "
          "{\"file\": \"t.npz\", "
      "\"inputs\": {\"in\": {\"array\": \"image\", \"scale\": 0.003921569, \"transpose\": [0,3,1,2]}}, \"label\": \"label\"}" },
    { "int32 for int64", "ten:7:N", "\"t.npz\"", ERR_DATA,
      "%s/t.npz: array 'ten' is int32 [10], input 'ten' wants int64 [N]; write a data section: {\"file\": \"t.npz\", \"inputs\": "
          "{\"ten\": {\"array\": "
      "\"ten\"}}, \"label\": \"label\"}" },
    { "other dimensions", "x:1:N,5", "\"t.npz\"", ERR_DATA,
      "%s/t.npz: array 'x' is float32 [4,3], input 'x' wants float32 [N,5]; no simple change makes it fit; a data section with "
          "\"array\", \"transpose\" or "
      "\"expand\" for input 'x' says how" },
    { "section does not make it fit", "i:1:N,3,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"image\"}}}", ERR_DATA,
      "%s/t.npz: array 'image' for input 'i' becomes [4,2,2,3], the input wants float32 [N,3,2,2]" },
    { "no such array", "i:1:N,3", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gone\"}}}", ERR_DATA,
      "%s/t.npz: no array 'gone', which the data section names for input 'i'" ARRAYS },
    { "no such label", "x:1:N,3", FILE_KEY "\"label\": \"gone\"}", ERR_DATA,
      "%s/t.npz: no array 'gone', which the data section names as labels" ARRAYS },
    { "float labels", "x:1:N,3", FILE_KEY "\"label\": \"x\"}", ERR_DATA, "%s/t.npz: label array 'x' is float32 [4,3], expected integers" },
    { "fewer labels", "x:1:N,3", FILE_KEY "\"label\": \"short_label\"}", ERR_DATA,
      "%s/t.npz: array 'x' for input 'x' has 4 samples, label array 'short_label' has 3" },
    { "inputs of different length", "x:1:N,3 tall:1:N,1", FILE_KEY "\"label\": null}", ERR_DATA,
      "%s/t.npz: array 'x' for input 'x' has 4 samples, array 'tall' for input 'tall' has 10" },
    { "rows out of range", "x:1:N,3", FILE_KEY "\"rows\": \"far\"}", ERR_DATA,
      "%s/t.npz: array 'x' for input 'x': rows 'far' [1] is 10, there are 4 samples (0 to 3)" },
    { "rows missing", "x:1:N,3", FILE_KEY "\"rows\": \"gone\"}", ERR_DATA,
      "%s/t.npz: array 'x' for input 'x': 'rows' names array 'gone', which the file does not have" ARRAYS },
    { "rows of floats", "x:1:N,3", FILE_KEY "\"rows\": \"x\"}", ERR_DATA,
      "%s/t.npz: array 'x' for input 'x': rows 'x' are float32 [4,3], expected one axis of integer indices" },
    { "unknown key", "x:1:N,3", FILE_KEY "\"frist\": 3}", ERR_USAGE, "data section: unknown key 'frist'; did you mean 'first'?" },
    { "unknown key of an input", "x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"means\": 3}}}", ERR_USAGE,
      "data section, input 'x': unknown key 'means'; did you mean 'mean'?" },
    { "unknown key of the label", "x:1:N,3", FILE_KEY "\"label\": {\"scale\": 3}}", ERR_USAGE,
      "data section, label: unknown key 'scale'; did you mean 'shuffle'?" },
    { "unknown input", "x:1:N,3", FILE_KEY "\"inputs\": {\"y\": {}}}", ERR_USAGE,
      "data section: the network has no input 'y'; did you mean 'x'?" },
    { "key twice", "x:1:N,3", FILE_KEY "\"first\": 1, \"first\": 2}", ERR_USAGE, "data section: key 'first' is there twice" },
    { "no file", "x:1:N,3", "{\"first\": 3}", ERR_USAGE, "data section: 'file' is missing" },
    { "first of zero", "x:1:N,3", FILE_KEY "\"first\": 0}", ERR_USAGE, "data section: 'first' is 0, expected a whole number from 1" },
    { "every of a half", "x:1:N,3", FILE_KEY "\"every\": 0.5}", ERR_USAGE, "data section: 'every' is 0.5, expected a whole number from 1" },
    { "shuffle of a number", "x:1:N,3", FILE_KEY "\"shuffle\": 1}", ERR_USAGE, "data section: 'shuffle' is 1, expected true or false" },
    { "std of zero", "x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"std\": [1,0,1]}}}", ERR_USAGE,
      "data section, input 'x': 'std' divides by 0" },
    { "too few means", "x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"mean\": [1,0]}}}", ERR_USAGE,
      "array 'x' for input 'x': 'mean' lists 2 numbers, channel axis 1 has 3" },
    { "scaled integers", "i:7:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"tall\", \"scale\": 2}}, \"label\": null}", ERR_USAGE,
      "array 'tall' for input 'i': 'scale' applies to float inputs, this one is int64" },
    { "transpose too short", "i:1:N,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gray\", \"transpose\": [0,1]}}}", ERR_USAGE,
      "array 'gray' for input 'i': 'transpose' lists 2 axes, the array has 3" },
    { "transpose no permutation", "i:1:N,2,2", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"gray\", \"transpose\": [0,1,1]}}}", ERR_USAGE,
      "array 'gray' for input 'i': 'transpose' has axis 1 twice" },
    { "sample axis too far", "x:1:N,3", FILE_KEY "\"sample-axis\": 2}", ERR_USAGE,
      "array 'x' for input 'x': 'sample-axis' 2 does not fit an array of [4,3]" },
    { "choosing from a whole", "x:1:N,3", FILE_KEY "\"sample-axis\": null, \"first\": 2}", ERR_USAGE,
      "data section, input 'x': samples cannot be chosen where \"sample-axis\" is null (of labels they can, in the object \"label\")" },
    { "an array is not a section", "x:1:N,3", "[1]", ERR_USAGE, "data section is a list, expected an object" },
};

/* What only reading can tell. */
static const ErrorRow read_rows[] = {
    { "NaN", "nan:1:N,3", FILE_KEY "\"label\": null}", ERR_DATA,
      "%s/t.npz: array 'nan' for input 'nan': element [1,0] is nan, expected a finite number" },
    { "too large for int8", "i:3:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"big\"}}, \"label\": null}", ERR_DATA,
      "%s/t.npz: array 'big' for input 'i': element [1,0] is 300, expected int8" },
    { "half an integer", "i:7:N,1", FILE_KEY "\"inputs\": {\"i\": {\"array\": \"half\"}}, \"label\": null}", ERR_DATA,
      "%s/t.npz: array 'half' for input 'i': element [1,0] is 0.5, expected int64" },
    { "negative label", "x:1:N,3", FILE_KEY "\"label\": \"bad_label\"}", ERR_DATA,
      "%s/t.npz: label array 'bad_label': element [2] is -3, expected a class from 0 (\"ignore-label\" names one that does not count)" },
};

static void check_error(const ErrorRow *row, Status got, const Err *err)
{
    char expected[1024], prefixed[1300];
    snprintf(prefixed, sizeof prefixed, "%s/t.npz: ", folder);
    const char *at = strstr(row->message, "%s");
    if (at != NULL) snprintf(expected, sizeof expected, "%s%s", folder, at + 2);
    else snprintf(expected, sizeof expected, "%s", row->message);
    const char *text = err->text;
    if (at == NULL && strncmp(text, prefixed, strlen(prefixed)) == 0) text += strlen(prefixed);
    if (got != row->status || strcmp(text, expected) != 0)
        fail_msg("%s: status %d\n   found: %s\nexpected: %s", row->name, got, err->text, expected);
}

static void test_errors(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    for (size_t r = 0; r < sizeof error_rows / sizeof *error_rows; r++) {
        err.text[0] = '\0';
        check_error(&error_rows[r], open_text(error_rows[r].section, error_rows[r].graph, &labelled, &g, &d, &err), &err);
    }
    for (size_t r = 0; r < sizeof read_rows / sizeof *read_rows; r++) {
        Tensor t, labels;
        assert_ok(open_text(read_rows[r].section, read_rows[r].graph, &labelled, &g, &d, &err), &err);
        check_error(&read_rows[r], dataset_read(d, 0, dataset_samples(d), &t, &labels, &err), &err);
        dataset_free(d);
        free_graph(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
