#include "stats/frontier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

typedef struct Held {
    Tensor tensor;   /* without storage when it lies in the file */
    bool there, spilled;
    off_t offset;
} Held;

struct Frontier {
    Held **slots;    /* [slot][batch], NULL while nothing is there */
    size_t slot_count;
    int64_t batches;
    uint64_t budget, bytes, peak, spilled;
    FILE *file;
    off_t end;
};

Status frontier_new(size_t slots, int64_t batches, uint64_t budget, Frontier **out, Err *err)
{
    Frontier *f = alloc_zeroed(1, sizeof *f);
    *out = f;
    if (f == NULL) return err_no_memory(err, "the frontier");
    f->slots = alloc_zeroed(slots + 1, sizeof *f->slots);
    f->slot_count = slots;
    f->batches = batches;
    f->budget = budget;
    if (f->slots != NULL) return OK;
    free(f);
    *out = NULL;
    return err_no_memory(err, "the frontier");
}

void frontier_free(Frontier *f)
{
    if (f == NULL) return;
    for (size_t i = 0; i < f->slot_count; i++) frontier_drop(f, i);
    free(f->slots);
    if (f->file != NULL) fclose(f->file);
    free(f);
}

static Status transfer(Frontier *f, bool write, off_t offset, uint8_t *data, size_t size, Err *err)
{
    int fd = fileno(f->file);
    while (size > 0) {
        ssize_t n = write ? pwrite(fd, data, size, offset) : pread(fd, data, size, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return err_set(err, ERR_IO, "temporary file for activations: %s: %s", write ? "cannot write" : "cannot read",
                           n < 0 ? strerror(errno) : "it ends early");
        data += n;
        offset += n;
        size -= (size_t)n;
    }
    return OK;
}

static Status spill(Frontier *f, Held *h, Err *err)
{
    if (f->file == NULL) TRY(temp_file(&f->file, err));
    TRY(transfer(f, true, f->end, h->tensor.data, h->tensor.bytes, err));
    h->spilled = true;
    h->offset = f->end;
    f->end += (off_t)(h->tensor.bytes + 4095) / 4096 * 4096; /* whole pages, so that they can be given back */
    f->spilled += h->tensor.bytes;
    buffer_unref(h->tensor.buffer);
    h->tensor.buffer = NULL;
    h->tensor.data = NULL;
    return OK;
}

Status frontier_put(Frontier *f, size_t slot, int64_t batch, Tensor *t, Err *err)
{
    Status status = OK;
    if (f->slots[slot] == NULL) f->slots[slot] = alloc_zeroed((size_t)f->batches + 1, sizeof **f->slots);
    if (f->slots[slot] == NULL) {
        tensor_release(t);
        return err_no_memory(err, "the frontier");
    }
    Held *h = &f->slots[slot][batch];
    if (h->there) {
        tensor_release(t);
        return err_set(err, ERR_BUG, "an activation is kept twice");
    }
    h->tensor = *t;
    *t = (Tensor){ 0 };
    h->there = true;
    if (f->budget != 0 && f->bytes + h->tensor.bytes > f->budget) status = spill(f, h, err);
    if (!h->spilled) f->bytes += h->tensor.bytes;
    if (f->bytes > f->peak) f->peak = f->bytes;
    return status;
}

Status frontier_get(Frontier *f, size_t slot, int64_t batch, Tensor *out, Err *err)
{
    *out = (Tensor){ 0 };
    Held *h = f->slots[slot] != NULL ? &f->slots[slot][batch] : NULL;
    if (h == NULL || !h->there) return err_set(err, ERR_BUG, "an activation is no longer kept");
    if (!h->spilled) {
        *out = tensor_share(&h->tensor);
        return OK;
    }
    TRY(tensor_new(out, h->tensor.type, &h->tensor.shape, err));
    Status status = transfer(f, false, h->offset, out->data, h->tensor.bytes, err);
    if (status != OK) tensor_release(out);
    return status;
}

void frontier_drop(Frontier *f, size_t slot)
{
    Held *held = f->slots[slot];
    for (int64_t i = 0; held != NULL && i < f->batches; i++) {
        if (!held[i].there) continue;
        if (held[i].spilled) { /* a file system that cannot keeps the space until the walk ends */
            (void)fallocate(fileno(f->file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, held[i].offset,
                            (off_t)(held[i].tensor.bytes + 4095) / 4096 * 4096);
        } else {
            f->bytes -= held[i].tensor.bytes;
            tensor_release(&held[i].tensor);
        }
    }
    free(held);
    f->slots[slot] = NULL;
}

uint64_t frontier_peak(const Frontier *f)
{
    return f->peak;
}

uint64_t frontier_spilled(const Frontier *f)
{
    return f->spilled;
}
