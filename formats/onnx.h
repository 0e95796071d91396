/* The ONNX format: what loading and saving share. */
#ifndef PARE_FORMATS_ONNX_H
#define PARE_FORMATS_ONNX_H

#include "formats/onnx_file.h"
#include "graph/format.h"

#define ONNX_MIN_IR 3
#define ONNX_MAX_IR 14

extern const Format format_onnx;

/* Graph.origin->format of graphs loaded from ONNX; compared by address. */
extern const char onnx_format_name[];

bool onnx_probe(const uint8_t *data, size_t size);
Status onnx_load(Mapping *file, const LoadOptions *options, Graph **out, Err *err);
Status onnx_save(Graph *g, const char *path, const SaveOptions *options, Err *err);

/* A name as the tables spell it: "ai.onnx" is "". */
Str onnx_domain(ProtobufCBinaryData b);

/* What the loader passes down. */
typedef struct OnnxLoader {
    OnnxFile *file;
    Err *err;
} OnnxLoader;

/* A graph or, with `parent`, a subgraph from its message. On failure *out is NULL. */
Status onnx_load_graph(OnnxLoader *l, const Onnx__GraphProto *message, Graph *parent, Graph **out);
/* Adds every node of the message; values made by nodes are declared already. */
Status onnx_load_nodes(OnnxLoader *l, Graph *g, const Onnx__GraphProto *message);
/* The value of this name in g or, found in an enclosing graph, made known in g and those between. 0: none; *no_memory tells. */
ValueId onnx_resolve(Graph *g, Str name, bool *no_memory);

#endif
