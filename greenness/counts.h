/* Static counts of a network: parameters, non-zeros, bits, MACs by type, elementwise operations, bytes. Exact, no timing. */
#ifndef PARE_GREENNESS_COUNTS_H
#define PARE_GREENNESS_COUNTS_H

#include "engine/engine.h"

typedef struct LayerCount {
    NodeId node;
    Str name, type;
    Shape output;
    int64_t parameters;  /* elements of the node's constant float or quantized operands, each constant counted at its first reader */
    OpCost cost;
    int64_t macs_nonzero; /* products with a weight that is not zero; of two activations all */
    DType mac_type;      /* type the products are taken in: float32, or int8 for operators of integers and for a layer behind
                          * DequantizeLinear; weights of 4 bits in blocks are multiplied in float32 (greenness/operands.h) */
} LayerCount;

typedef struct Counts {
    /* Elements of constants of rank 1 or more that are read as data: floats and quantized ones; scales, zero points and settings of ops
     * apart (greenness/parameters.h). A quantized element is zero where it equals its zero point. */
    int64_t parameters, nonzeros;
    int64_t parameter_bits;         /* sum of element bits: parameter_bits / parameters is the mean weight width */
    int64_t scale_bits;             /* of their scales and zero points, which are stored beside them */
    int64_t macs_float, macs_int8;  /* at batch `batch` */
    int64_t macs_nonzero;           /* of both, those with a weight that is not zero: what a kernel that skips zeros would take */
    int64_t elementwise, transcendental;
    int64_t weight_bytes, activation_bytes; /* read once / written once per inference */
    LayerCount *layers;             /* every node with a cost or parameters, topological order */
    int layer_count;
    int64_t guess;    /* size taken for unknown dimensions but the batch */
    int undecided;    /* Ifs, at any depth, whose branch depends on the data: the larger one is counted */
    int uncounted;                  /* nodes whose shapes or op are unknown */
    char uncounted_names[256];      /* the first few ops, comma separated */
} Counts;

/* `shapes`: one per feed; NULL: the batch (first dimensions, and those named as one) is 1, other unknown dims are 1 or, where the network
 * does not take that, the first of 16, 64, 224, 512, 1024, 4096, 16000 that it takes. An If whose condition is known at these shapes costs
 * what the branch taken costs, another one what the larger of its branches does that can run at these shapes. Loop and Scan are uncounted.
 * Convention: see OpCost. */
Status counts_of(const Graph *g, const Shape *shapes, Counts *out, Err *err);
void counts_release(Counts *c);
/* The shapes of the feeds that counts_of takes where it is given none, at another batch: [feeds]; of unknown rank as they are. */
Status counts_shapes(const Graph *g, int64_t batch, Shape *shapes, Err *err);
extern const char counts_convention[]; /* printed with every MAC figure */

#endif
