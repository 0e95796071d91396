/* Running a network over a data set and writing its outputs. */
#ifndef PARE_PIPELINE_INFER_H
#define PARE_PIPELINE_INFER_H

#include "data/dataset.h"
#include "engine/engine.h"

typedef struct InferOptions {
    int64_t batch;     /* 0: 32 or what the network fixes */
    SessionOptions session;
    Log *log;
} InferOptions;

/* Writes every output by its name to an .npz ("-": standard output), batches joined along axis 0. ERR_DATA when an output's other
 * dimensions change from batch to batch. The old file stays when anything fails. */
Status infer_to_file(const Graph *g, Dataset *data, const char *path, const InferOptions *options, Err *err);

#endif
