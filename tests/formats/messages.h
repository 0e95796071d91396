/* Building small ONNX files byte by byte, loading them from memory, and comparing two graphs. */
#ifndef PARE_TESTS_FORMATS_MESSAGES_H
#define PARE_TESTS_FORMATS_MESSAGES_H

#include "test.h"

#include <sys/mman.h>

#include "formats/wire.h"
#include "graph/edit.h"
#include "graph/format.h"

/* A message under construction. */
typedef struct Pb {
    uint8_t *data;
    size_t size, capacity;
} Pb;

static inline void pb_raw(Pb *p, const void *data, size_t size)
{
    if (p->size + size > p->capacity) {
        p->capacity = 2 * (p->size + size) + 64;
        p->data = realloc(p->data, p->capacity);
        assert_non_null(p->data);
    }
    if (size > 0) memcpy(p->data + p->size, data, size);
    p->size += size;
}

static inline void pb_varint(Pb *p, uint64_t value)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    pb_raw(p, bytes, wire_put_varint(bytes, value));
}

static inline void pb_int(Pb *p, uint32_t field, int64_t value)
{
    pb_varint(p, (uint64_t)field << 3 | WIRE_VARINT);
    pb_varint(p, (uint64_t)value);
}

static inline void pb_blob(Pb *p, uint32_t field, const void *data, size_t size)
{
    pb_varint(p, (uint64_t)field << 3 | WIRE_BYTES);
    pb_varint(p, size);
    pb_raw(p, data, size);
}

static inline void pb_text(Pb *p, uint32_t field, const char *text)
{
    pb_blob(p, field, text, strlen(text));
}

static inline void pb_free(Pb *p)
{
    free(p->data);
    *p = (Pb){ 0 };
}

/* Appends `child` as a submessage and frees it. */
static inline void pb_sub(Pb *p, uint32_t field, Pb child)
{
    pb_blob(p, field, child.data, child.size);
    pb_free(&child);
}

/* A node with up to two inputs and one output; NULL leaves one out. */
static inline Pb pb_node(const char *type, const char *name, const char *a, const char *b, const char *out)
{
    Pb n = { 0 };
    if (a != NULL) pb_text(&n, 1, a);
    if (b != NULL) pb_text(&n, 1, b);
    if (out != NULL) pb_text(&n, 2, out);
    if (name != NULL) pb_text(&n, 3, name);
    pb_text(&n, 4, type);
    return n;
}

/* A float tensor value of one dimension, -1: a symbol "n", or without a shape when rank is 0. */
static inline Pb pb_value(const char *name, int64_t size)
{
    Pb dim = { 0 }, shape = { 0 }, tensor = { 0 }, type = { 0 }, value = { 0 };
    if (size >= 0) pb_int(&dim, 1, size);
    else pb_text(&dim, 2, "n");
    pb_sub(&shape, 1, dim);
    pb_int(&tensor, 1, DT_FLOAT);
    pb_sub(&tensor, 2, shape);
    pb_sub(&type, 1, tensor);
    pb_text(&value, 1, name);
    pb_sub(&value, 2, type);
    return value;
}

/* A tensor with dims and raw_data. */
static inline Pb pb_tensor(const char *name, DType type, int rank, const int64_t *dims, const void *raw, size_t size)
{
    Pb t = { 0 };
    for (int i = 0; i < rank; i++) pb_int(&t, 1, dims[i]);
    pb_int(&t, 2, type);
    if (name != NULL) pb_text(&t, 8, name);
    if (raw != NULL) pb_blob(&t, 9, raw, size);
    return t;
}

/* The model around a graph: IR 8, opset 13; frees the graph. */
static inline Pb pb_model(Pb graph)
{
    Pb m = { 0 }, opset = { 0 };
    pb_int(&m, 1, 8);
    pb_sub(&m, 7, graph);
    pb_int(&opset, 2, 13);
    pb_sub(&m, 8, opset);
    return m;
}

/* x -> Add(x, w) -> y with w = {1, 2, 3}, as a graph. */
static inline Pb pb_small_graph(void)
{
    static const float w[3] = { 1, 2, 3 };
    static const int64_t dims[1] = { 3 };
    Pb g = { 0 };
    pb_sub(&g, 1, pb_node("Add", "add", "x", "w", "y"));
    pb_text(&g, 2, "small");
    pb_sub(&g, 5, pb_tensor("w", DT_FLOAT, 1, dims, w, sizeof w));
    pb_sub(&g, 11, pb_value("x", -1));
    pb_sub(&g, 12, pb_value("y", 3));
    return g;
}

static inline Mapping *map_bytes(const void *data, size_t size)
{
    Err err;
    Mapping *m = NULL;
    int fd = memfd_create("model", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_ok(mapping_open_fd(fd, "memory.onnx", 0, &m, &err), &err);
    return m;
}

static inline Status load_bytes(const Pb *p, uint64_t max_mem, Graph **out, Err *err)
{
    Mapping *m = map_bytes(p->data, p->size);
    LoadOptions options = { .max_mem = max_mem };
    Status status = model_load_mapping(m, "memory.onnx", &options, out, err);
    mapping_unref(m);
    return status;
}

/* A fresh folder for files of one test; removed by folder_remove. */
static inline void folder_make(char path[64])
{
    snprintf(path, 64, "/tmp/pare-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline void folder_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static inline void write_file(const char *folder, const char *name, const void *data, size_t size)
{
    char path[256];
    assert_true(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void assert_same_str(Str a, Str b, const char *what)
{
    if (!str_eq(a, b)) fail_msg("%s: '%.*s' and '%.*s'", what, STR_ARG(a), STR_ARG(b));
}

static inline void assert_same_tensor(const Tensor *a, const Tensor *b, const char *what)
{
    if ((a == NULL) != (b == NULL)) fail_msg("%s: one has contents", what);
    if (a == NULL) return;
    if (a->type != b->type || !shape_eq(&a->shape, &b->shape) || a->bytes != b->bytes) fail_msg("%s: type or shape differ", what);
    if (a->bytes > 0 && memcmp(a->data, b->data, a->bytes) != 0) fail_msg("%s: contents differ", what);
}

static inline void assert_same_graph(const Graph *a, const Graph *b);

static inline void assert_same_attr(const Attr *a, const Attr *b)
{
    char what[96];
    assert_same_str(a->name, b->name, "attribute");
    snprintf(what, sizeof what, "attribute %.*s", STR_ARG(a->name));
    if (a->type != b->type || a->count != b->count || a->i != b->i || memcmp(&a->f, &b->f, sizeof a->f) != 0) fail_msg("%s differs", what);
    assert_same_str(a->s, b->s, what);
    assert_same_tensor(a->tensor, b->tensor, what);
    for (int64_t i = 0; i < a->count; i++) {
        switch (a->type) {
        case ATTR_FLOATS: assert_memory_equal(&a->floats[i], &b->floats[i], sizeof(float)); break;
        case ATTR_INTS: assert_int_equal(a->ints[i], b->ints[i]); break;
        case ATTR_STRINGS: assert_same_str(a->strings[i], b->strings[i], what); break;
        case ATTR_TENSORS: assert_same_tensor(&a->tensors[i], &b->tensors[i], what); break;
        case ATTR_GRAPHS: assert_same_graph(a->graphs[i], b->graphs[i]); break;
        default: break;
        }
    }
    if (a->type == ATTR_GRAPH) assert_same_graph(a->graph, b->graph);
}

static inline void assert_same_value(const Graph *a, ValueId v, const Graph *b)
{
    const Value *x = graph_value(a, v);
    ValueId w = graph_find_value(b, x->name);
    char what[96];
    snprintf(what, sizeof what, "value '%.*s'", STR_ARG(x->name));
    if (w == 0) fail_msg("%s is gone", what);
    const Value *y = graph_value(b, w);
    if (x->type != y->type || x->flags != y->flags || x->shape.rank != y->shape.rank) fail_msg("%s differs", what);
    char s[256], t[256];
    graph_print_shape(a, &x->shape, s, sizeof s);
    graph_print_shape(b, &y->shape, t, sizeof t);
    assert_string_equal(s, t);
    assert_same_tensor(x->tensor, y->tensor, what);
}

static inline void assert_same_names(const Graph *a, const ValueId *x, int count, const Graph *b, const ValueId *y)
{
    for (int i = 0; i < count; i++) assert_same_str(graph_value(a, x[i])->name, graph_value(b, y[i])->name, "name");
}

/* Everything the tables hold; values are matched by name, nodes by order. */
static inline void assert_same_graph(const Graph *a, const Graph *b)
{
    assert_same_str(a->name, b->name, "graph");
    assert_int_equal(a->value_count, b->value_count);
    assert_int_equal(a->order_count, b->order_count);
    assert_int_equal(a->input_count, b->input_count);
    assert_int_equal(a->output_count, b->output_count);
    assert_int_equal(a->ir_version, b->ir_version);
    assert_int_equal(a->opset_count, b->opset_count);
    assert_int_equal(a->metadata_count, b->metadata_count);
    for (int i = 0; i < a->opset_count; i++) {
        assert_same_str(a->opsets[i].domain, b->opsets[i].domain, "opset");
        assert_int_equal(a->opsets[i].version, b->opsets[i].version);
    }
    for (int i = 0; i < a->metadata_count; i++) {
        assert_same_str(a->metadata[i].key, b->metadata[i].key, "metadata");
        assert_same_str(a->metadata[i].value, b->metadata[i].value, "metadata");
    }
    assert_same_names(a, a->inputs, a->input_count, b, b->inputs);
    assert_same_names(a, a->outputs, a->output_count, b, b->outputs);
    for (ValueId v = 1; v <= a->value_count; v++) assert_same_value(a, v, b);
    for (uint32_t i = 0; i < a->order_count; i++) {
        const Node *x = graph_node(a, a->order[i]), *y = graph_node(b, b->order[i]);
        assert_same_str(x->name, y->name, "node");
        assert_same_str(x->type, y->type, "operator");
        assert_same_str(x->domain, y->domain, "domain");
        assert_int_equal(x->input_count, y->input_count);
        assert_int_equal(x->output_count, y->output_count);
        assert_int_equal(x->capture_count, y->capture_count);
        assert_int_equal(x->attr_count, y->attr_count);
        assert_same_names(a, x->inputs, x->input_count, b, y->inputs);
        assert_same_names(a, x->outputs, x->output_count, b, y->outputs);
        for (int k = 0; k < x->attr_count; k++) assert_same_attr(&x->attrs[k], &y->attrs[k]);
    }
}

/* Saves, loads again, compares the tables; both graphs are the caller's. */
static inline Graph *assert_round_trip(Graph *g, const char *folder)
{
    char path[256];
    Err err;
    Graph *again = NULL;
    snprintf(path, sizeof path, "%s/again.onnx", folder);
    SaveOptions save = { .force = true };
    assert_ok(model_save(g, path, &save, &err), &err);
    assert_ok(model_load(path, NULL, &again, &err), &err);
    assert_same_graph(g, again);
    return again;
}

#endif
