#include "formats/onnx_file.h"

#include "base/bytes.h"

#include <stdlib.h>

static void *plain_alloc(void *failed, size_t size)
{
    void *p = malloc(size > 0 ? size : 1);
    if (p == NULL) *(bool *)failed = true;
    return p;
}

static void plain_free(void *failed, void *p)
{
    (void)failed;
    free(p);
}

static Status take_payloads(OnnxFile *f, const Scan *s, Err *err)
{
    f->payloads = alloc_zeroed(s->payload_count, sizeof *f->payloads);
    if (f->payloads == NULL) return err_no_memory(err, "the table of tensors");
    f->payload_count = f->payload_capacity = s->payload_count;
    for (size_t i = 0; i < s->payload_count; i++) f->payloads[i].parts = s->payloads[i];
    return OK;
}

Status onnx_file_open(Mapping *m, const ProtobufCMessageDescriptor *root, uint64_t max_mem, OnnxFile **out, Err *err)
{
    Scan scan = { 0 };
    OnnxFile *f = NULL;
    Status status = scan_message(m->data, m->size, root, max_mem, &scan, err);
    if (status != OK) return status;
    f = calloc(1, sizeof *f);
    if (f == NULL || (f->bytes = buffer_of_mapping(m)) == NULL) {
        status = err_no_memory(err, "a model file");
        goto out;
    }
    f->left = max_mem == 0 ? UINT64_MAX : max_mem - scan.memory;
    TRY_OUT(take_payloads(f, &scan, err));
    f->parts = scan.parts;
    scan.parts = NULL;
    bool failed = false;
    ProtobufCAllocator allocator = { .alloc = plain_alloc, .free = plain_free, .allocator_data = &failed };
    f->message = protobuf_c_message_unpack(root, &allocator, scan.slim_size, scan.slim);
    if (f->message == NULL) {
        status = failed ? err_no_memory(err, "the network's description") : err_set(err, ERR_DATA, "the file is no valid %s",
                                                                                    root->short_name);
        goto out;
    }
    *out = f;
    f = NULL;
out:
    scan_release(&scan);
    onnx_file_free(f);
    return status;
}

void onnx_file_free(void *file)
{
    OnnxFile *f = file;
    if (f == NULL) return;
    if (f->message != NULL) protobuf_c_message_free_unpacked(f->message, NULL);
    for (size_t i = 0; i < f->payload_count; i++) buffer_unref(f->payloads[i].external);
    free(f->payloads);
    free(f->parts);
    buffer_unref(f->bytes);
    free(f);
}
