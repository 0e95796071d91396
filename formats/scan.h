/* The bounded scanner that every ONNX message passes before protobuf-c sees it. protobuf-c recurses without a limit and copies
 * every field; the scanner walks the same bytes with a fixed stack, counts what decoding would allocate, and leaves the numbers of
 * tensors where they are. What it hands on ("slim" bytes) is a valid message without them. */
#ifndef PARE_FORMATS_SCAN_H
#define PARE_FORMATS_SCAN_H

#include "base/status.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels of messages inside messages: a graph in a graph takes three (node, attribute, graph). */
#define SCAN_DEPTH 64
/* Memory for decoded messages when the caller sets no limit: far above any honest network, whose numbers do not count here. */
#define SCAN_DEFAULT_MEMORY ((uint64_t)1 << 30)

/* Bytes of one data field of one TensorProto, as they stand in the scanned message. */
typedef struct ScanPart {
    uint32_t field;      /* field number in TensorProto */
    bool run;            /* true: whole (tag, value) pairs, one after the other; false: the contents of one length-delimited field */
    const uint8_t *data; /* inside the scanned bytes */
    size_t size;
} ScanPart;

/* The data of one TensorProto: its `payload` field is the index into this table. */
typedef struct ScanPayload {
    size_t first, count; /* parts[first .. first + count) */
} ScanPayload;

typedef struct Scan {
    uint8_t *slim;       /* malloc'ed */
    size_t slim_size, slim_capacity;
    ScanPart *parts;
    size_t part_count, part_capacity;
    ScanPayload *payloads;
    size_t payload_count, payload_capacity;
    uint64_t memory, limit; /* bytes that decoding takes at most, and what it may take */
} Scan;

/* Walks `size` bytes as a message of type `root`. `max_mem` 0: SCAN_DEFAULT_MEMORY. The parts point into `data`.
 * ERR_DATA where the bytes are no such message (cut off, wrong wire type, nested too deep), with the offset; ERR_MEMORY when decoding
 * would take more than the limit. On failure nothing is left to release. */
Status scan_message(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *root, uint64_t max_mem, Scan *out, Err *err);
void scan_release(Scan *s); /* fine on a zeroed Scan */

#endif
