/* Fold: the same function from fewer nodes.
 *
 *   Conv -> BatchNormalization -> Relu         =>   Conv -> Relu
 *   Shape -> Gather -> Concat -> Reshape       =>   Reshape to a constant
 *   Identity, Dropout, Transpose pairs ...     =>   nothing
 *
 *   y = s (W x + b - m) / sqrt(v + e) + t   =>   W' = k W,  b' = k (b - m) + t,  k = s / sqrt(v + e)
 *
 * Needs: constants where constants are folded, no other reader of what disappears (conditions of each kind: engine/fold_*.c). Exact up to
 * rounding; run twice it changes nothing. Nodes inside subgraphs stay, but those of an If whose condition is constant.
 * Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018 (folding of
 * batch normalisation). */
#include "engine/fold.h"

typedef struct FoldPass {
    bool constants, shapes, identities, batchnorm, bias, duplicates, dead;
    int64_t growth;
} FoldPass;

static const Opt fold_table[] = {
    { .name = "constants", .type = OPT_FLAG, .field = offsetof(FoldPass, constants), .fallback = "true",
      .help = "nodes that read only constants become initializers" },
    { .name = "shapes", .type = OPT_FLAG, .field = offsetof(FoldPass, shapes), .fallback = "true",
      .help = "shape arithmetic whose result is known becomes constant" },
    { .name = "identities", .type = OPT_FLAG, .field = offsetof(FoldPass, identities), .fallback = "true",
      .help = "nodes that change nothing are removed" },
    { .name = "batchnorm", .type = OPT_FLAG, .field = offsetof(FoldPass, batchnorm), .fallback = "true",
      .help = "BatchNormalization goes into the Conv, ConvTranspose, Gemm or MatMul before it" },
    { .name = "bias", .type = OPT_FLAG, .field = offsetof(FoldPass, bias), .fallback = "true",
      .help = "a constant Add becomes the bias of the layer before it" },
    { .name = "duplicates", .type = OPT_FLAG, .field = offsetof(FoldPass, duplicates), .fallback = "true",
      .help = "initializers with equal contents are stored once" },
    { .name = "dead", .type = OPT_FLAG, .field = offsetof(FoldPass, dead), .fallback = "true",
      .help = "nodes and initializers that nobody reads are removed" },
    { .name = "growth", .type = OPT_INT, .field = offsetof(FoldPass, growth), .fallback = "65536", .min = 0, .max = 1099511627776.0,
      .help = "how much larger than its inputs a folded constant may be", .unit = "bytes" },
    OPT_END,
};

static Status fold_run(PassContext *c, Err *err)
{
    const FoldPass *o = c->options;
    FoldOptions options = { o->constants, o->shapes, o->identities, o->batchnorm, o->bias, o->duplicates, o->dead, (uint64_t)o->growth };
    return fold_graph(c->graph, &options, c->record, err);
}

const Pass pass_fold = {
    .name = "fold",
    .summary = "constants, identities, dead nodes, BatchNorm into Conv and Gemm, equal weights shared",
    .details =
        "Rewrites the network into fewer nodes that compute the same, up to rounding. What is exact is always done: constants, shape\n"
        "arithmetic with a symbolic batch, nodes that change nothing, equal initializers, what nobody reads. BatchNormalization and\n"
        "constant Adds go into the Conv, ConvTranspose, Gemm or MatMul before them when nobody else reads that layer's output.\n"
        "A BatchNormalization that has to stay is listed with the reason. An If whose condition is constant gives way to the branch\n"
        "that is taken; other subgraphs (If, Loop, Scan) are left as they are.\n"
        "\n"
        "    pare pass fold model.onnx -o folded.onnx\n"
        "    pare pass fold --batchnorm=false model.onnx -o folded.onnx\n",
    .flags = PASS_NEEDS_GRAPH,
    .options = fold_table,
    .options_size = sizeof(FoldPass),
    .run = fold_run,
};
