/* Runs networks that arrive on standard input, one after the other in one process; for the tests with random graphs. Little endian.
 *   asked:    u64 bytes, model; u32 plain; u32 threads; u64 max_mem; u32 runs; per run u32 arrays, each an array
 *   answered: status of load and session; per run a status, and when that is 0: u32 arrays, each an array
 *   array:    u32 length, name; i32 type; i32 rank; i64 dims[rank]; u64 bytes, packed elements
 *   status:   i32 code; u32 length, message
 * All runs of a network go through one session. When the session failed, its runs are answered with the same status. */
#include "engine/engine.h"
#include "graph/format.h"
#include "graph/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 64

typedef struct Array {
    char name[256];
    Tensor tensor;
} Array;

static bool get(void *to, size_t size)
{
    return size == 0 || fread(to, size, 1, stdin) == 1;
}

static void put(const void *from, size_t size)
{
    if (size > 0 && fwrite(from, size, 1, stdout) != 1) exit(ERR_IO);
}

static void put_u32(uint32_t value)
{
    put(&value, sizeof value);
}

static void put_status(Status status, const Err *err)
{
    put_u32((uint32_t)status);
    uint32_t length = status == OK ? 0 : (uint32_t)strlen(err->text);
    put_u32(length);
    put(err->text, length);
}

static void put_array(Str name, const Tensor *t)
{
    uint64_t bytes = t->bytes;
    put_u32((uint32_t)name.len);
    put(name.data, name.len);
    put_u32((uint32_t)t->type);
    put_u32((uint32_t)t->shape.rank);
    put(t->shape.dims, sizeof(int64_t) * (size_t)t->shape.rank);
    put(&bytes, sizeof bytes);
    put(t->data, t->bytes);
}

/* The stream is our own test's: what does not hold together ends the program. */
static bool get_array(Array *a)
{
    uint32_t length, type, rank;
    uint64_t bytes;
    Shape shape = { 0 };
    Err err;
    if (!get(&length, 4) || length >= sizeof a->name || !get(a->name, length) || !get(&type, 4) || !get(&rank, 4)) return false;
    a->name[length] = '\0';
    shape.rank = (int)rank;
    if (rank > MAX_RANK || !get(shape.dims, sizeof(int64_t) * rank) || !get(&bytes, sizeof bytes)) return false;
    if (tensor_new(&a->tensor, (DType)type, &shape, &err) != OK || a->tensor.bytes != bytes) return false;
    return get(a->tensor.data, bytes);
}

static Status open_bytes(const void *bytes, size_t size, uint64_t max_mem, Graph **out, Err *err)
{
    Mapping *file;
    int fd = memfd_create("serve", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) return err_set(err, ERR_IO, "a file in memory");
    TRY(mapping_open_fd(fd, "served.onnx", 0, &file, err));
    LoadOptions options = { .max_mem = max_mem };
    Status status = model_load_mapping(file, "served.onnx", &options, out, err);
    mapping_unref(file);
    if (status != OK) return status;
    engine_bind(*out);
    status = graph_verify(*out, err);
    return status == OK ? engine_infer(*out, err) : status;
}

static Status run(Session *s, const Array *arrays, uint32_t count, Tensor *outputs, Err *err)
{
    const Graph *g = session_graph(s);
    ValueId feeds[MOST];
    Tensor inputs[MOST] = { { 0 } };
    int wanted = graph_feeds(g, feeds, MOST);
    if (wanted > MOST || g->output_count > MOST) return err_set(err, ERR_UNSUPPORTED, "more than %d inputs or outputs", MOST);
    for (int i = 0; i < wanted; i++)
        for (uint32_t k = 0; k < count; k++)
            if (str_is(graph_value(g, feeds[i])->name, arrays[k].name)) inputs[i] = arrays[k].tensor;
    return session_run(s, inputs, outputs, err);
}

static bool serve_run(Session *s, Status status, Err *err)
{
    uint32_t count, read = 0;
    static Array arrays[MOST];
    Tensor outputs[MOST] = { { 0 } };
    if (!get(&count, 4) || count > MOST) return false;
    while (read < count && get_array(&arrays[read])) read++;
    if (read < count) return false;
    if (s != NULL) status = run(s, arrays, count, outputs, err);
    put_status(status, err);
    for (uint32_t i = 0; i < count; i++) tensor_release(&arrays[i].tensor);
    if (status != OK) return true;
    const Graph *g = session_graph(s);
    put_u32((uint32_t)g->output_count);
    for (int i = 0; i < g->output_count; i++) {
        put_array(graph_value(g, g->outputs[i])->name, &outputs[i]);
        tensor_release(&outputs[i]);
    }
    return true;
}

static bool serve_network(uint64_t size)
{
    Err err = { .code = OK };
    Graph *g = NULL;
    Session *s = NULL;
    uint32_t plain, threads, runs;
    uint64_t max_mem;
    void *bytes = malloc(size + 1);
    if (bytes == NULL || !get(bytes, size) || !get(&plain, 4) || !get(&threads, 4) || !get(&max_mem, 8) || !get(&runs, 4)) {
        free(bytes);
        return false;
    }
    SessionOptions options = { .plain = plain != 0, .threads = (int)threads, .max_mem = max_mem };
    Status status = open_bytes(bytes, size, max_mem, &g, &err);
    if (status == OK) status = session_new(g, &options, &s, &err);
    put_status(status, &err);
    bool whole = true;
    while (whole && runs-- > 0) whole = serve_run(s, status, &err);
    session_free(s);
    graph_free(g);
    free(bytes);
    return whole && fflush(stdout) == 0;
}

int main(void)
{
    uint64_t size;
    while (get(&size, sizeof size))
        if (!serve_network(size)) return ERR_DATA;
    return OK;
}
