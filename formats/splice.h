/* Writes a packed message with the data of its tensors put back in: the reverse of the scanner. Sizes are 64-bit and computed
 * first; the data is streamed, never gathered in memory. */
#ifndef PARE_FORMATS_SPLICE_H
#define PARE_FORMATS_SPLICE_H

#include "base/file.h"

#include <protobuf-c/protobuf-c.h>

/* Where the data behind a `payload` field comes from: whole fields of a TensorProto, tags included. */
typedef struct SpliceSource {
    uint64_t (*size)(void *context, uint64_t payload);
    Status (*write)(void *context, uint64_t payload, OutFile *out, Err *err);
    void *context;
} SpliceSource;

typedef struct Splice Splice;

/* Measures `size` bytes, a message of type `root` that protobuf-c packed; they stay borrowed. */
Status splice_new(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *root, const SpliceSource *source, Splice **out,
                  Err *err);
uint64_t splice_size(const Splice *s); /* bytes that splice_write writes */
Status splice_write(Splice *s, OutFile *out, Err *err);
void splice_free(Splice *s); /* NULL is fine */

#endif
