/* What the tests of datasets share: a file of arrays, a network with given inputs, a section opened for it. Include first. */
#ifndef PARE_TESTS_DATASET_FIXTURE_H
#define PARE_TESTS_DATASET_FIXTURE_H

#include "test.h"

#include "data/dataset.h"
#include "formats/npz.h"
#include "graph/edit.h"

#include <sys/stat.h>

static char folder[] = "/tmp/test-dataset-XXXXXX";

static const char *temp_path(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* "x:1:N,3 y:7:N": name, ONNX type, dimensions; a letter is a symbol. Outputs after a bar. */
static inline Graph *make_graph(const char *text)
{
    static ValueId ids[16];
    char copy[256], *save, *word;
    Graph *g = graph_new(NULL);
    int n = 0, inputs = -1;
    snprintf(copy, sizeof copy, "%s", text);
    for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        if (strcmp(word, "|") == 0) {
            inputs = n;
            continue;
        }
        char *at, *name = strtok_r(word, ":", &at), *type = strtok_r(NULL, ":", &at), *dims = strtok_r(NULL, ":", &at), *more;
        Shape s = { .rank = 0 };
        for (char *d = dims != NULL ? strtok_r(dims, ",", &more) : NULL; d != NULL; d = strtok_r(NULL, ",", &more))
            s.dims[s.rank++] = *d >= '0' && *d <= '9' ? atoll(d) : graph_symbol(g, str_of(d));
        ids[n] = graph_add_value(g, str_of(name), (DType)atoi(type), &s);
        graph_value(g, ids[n])->flags |= inputs < 0 ? VALUE_INPUT : VALUE_OUTPUT;
        n++;
    }
    g->inputs = ids;
    g->input_count = inputs < 0 ? n : inputs;
    g->outputs = ids + g->input_count;
    g->output_count = n - g->input_count;
    return g;
}

static void free_graph(Graph *g)
{
    g->inputs = g->outputs = NULL;
    g->input_count = g->output_count = 0;
    graph_free(g);
}

static void add_array(NpzWriter *w, const char *name, DType type, const Shape *shape, const double *values)
{
    Err err;
    Tensor t;
    assert_ok(tensor_new(&t, type, shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, values != NULL ? values[i] : (double)i);
    assert_ok(npz_writer_tensor(w, name, &t, &err), &err);
    tensor_release(&t);
}

#define S(...) (&(Shape){ .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), .dims = { __VA_ARGS__ } })

/* The arrays that the rows below talk about. */
static void write_arrays(void)
{
    Err err;
    NpzWriter *w;
    const double nan_values[6] = { 0, 1, 2, NAN, 4, 5 }, big[2] = { 1, 300 }, half[2] = { 1, 0.5 }, bad_labels[4] = { 0, 1, -3, 2 };
    const double rows[3] = { 3, 0, 2 }, far_rows[2] = { 0, 10 }, order[4] = { 3, 2, 1, 0 };
    assert_ok(npz_writer_open(temp_path("t.npz"), true, &w, &err), &err);
    add_array(w, "x", DT_FLOAT, S(4, 3), NULL);
    add_array(w, "image", DT_UINT8, S(4, 2, 2, 3), NULL);
    add_array(w, "gray", DT_UINT8, S(4, 2, 2), NULL);
    add_array(w, "seq", DT_INT64, S(5, 4), NULL);
    add_array(w, "tall", DT_FLOAT, S(10, 1), NULL);
    add_array(w, "ten", DT_INT32, S(10), NULL);
    add_array(w, "hundred", DT_FLOAT, S(100, 1), NULL);
    add_array(w, "nan", DT_FLOAT, S(2, 3), nan_values);
    add_array(w, "big", DT_INT16, S(2, 1), big);
    add_array(w, "half", DT_DOUBLE, S(2, 1), half);
    add_array(w, "label", DT_UINT8, S(4), NULL);
    add_array(w, "bad_label", DT_INT8, S(4), bad_labels);
    add_array(w, "short_label", DT_INT16, S(3), NULL);
    add_array(w, "pick", DT_INT64, S(3), rows);
    add_array(w, "far", DT_INT64, S(2), far_rows);
    add_array(w, "order", DT_INT64, S(4), order);
    add_array(w, "nibbles", DT_INT8, S(2, 3), NULL);
    add_array(w, "square", DT_FLOAT, S(4, 4), NULL);
    assert_ok(npz_writer_commit(w, &err), &err);
}

static inline Status open_text(const char *section, const char *graph, const DataOptions *given, Graph **g, Dataset **d, Err *err)
{
    DataOptions options = *given;
    options.folder = folder;
    cJSON *json = cJSON_Parse(section);
    assert_non_null(json);
    *g = make_graph(graph);
    Status status = dataset_open_json(json, *g, &options, d, err);
    cJSON_Delete(json);
    if (status != OK) free_graph(*g);
    return status;
}

#define FILE_KEY "{\"file\": \"t.npz\", "
static const DataOptions labelled = { .want_labels = true };

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return 1;
    write_arrays();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(temp_path("t.npz"));
    return rmdir(folder);
}

#endif
