/* libFuzzer target of the .npz and .npy reader: opens the bytes, then reads every array whole and by slices.
 * clang -fsanitize=fuzzer,address,undefined; with -DFUZZ_REPLAY a program that reads the files given as arguments instead. */
#include "formats/npz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_MEM ((uint64_t)64 << 20)
#define MAX_ARRAY ((size_t)8 << 20) /* larger arrays are opened, not read: time, not safety */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_array(Npz *z, int i)
{
    const NpzArray *a = npz_array(z, i);
    int64_t count;
    size_t bytes;
    Err err;
    if (!shape_count(&a->shape, &count) || !dtype_bytes(a->type, count, &bytes) || bytes > MAX_ARRAY) return;
    Tensor t = { 0 };
    if (npz_tensor(z, i, &t, &err) == OK) {
        double sum = 0;
        for (int64_t k = 0; k < count; k++) sum += tensor_get(&t, k) != 0;
        if (sum > (double)count) abort();
        tensor_release(&t);
    }
    void *out = malloc(bytes + 1);
    for (int axis = 0; axis < a->shape.rank && out != NULL; axis++) {
        int64_t n = a->shape.dims[axis];
        npz_slice(z, i, axis, n / 3, n - n / 3, out, &err);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Err err;
    Mapping *m = NULL;
    Npz *z = NULL;
    int fd = memfd_create("npz", MFD_CLOEXEC);
    if (fd < 0) return 0;
    if (write(fd, data, size) != (ssize_t)size) {
        close(fd);
        return 0;
    }
    if (mapping_open_fd(fd, "input.npz", 0, &m, &err) != OK) return 0;
    if (npz_open_mapping(m, "input.npz", MAX_MEM, &z, &err) == OK) {
        for (int i = 0; i < npz_count(z) && i < 64; i++) read_array(z, i);
        npz_close(z);
    }
    mapping_unref(m);
    return 0;
}

#ifdef FUZZ_REPLAY
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        Err err;
        Mapping *m = NULL;
        if (mapping_open(argv[i], 0, &m, &err) != OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        LLVMFuzzerTestOneInput(m->data, m->size);
        mapping_unref(m);
    }
    printf("%d files replayed\n", argc - 1);
    return 0;
}
#endif
