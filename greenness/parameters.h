/* Which constants of a network are its parameters, and how many there are. Inside greenness/ only.
 *
 * The rule: a parameter is an element of a constant of rank 1 or more that some node reads as data, when it is a float, an integer of at
 * most 8 bits, or an integer that is dequantized or the bias of an integer layer; of bytes that hold several numbers each (MatMulNBits,
 * GatherBlockQuantized) each number is one. Scales, zero points and the settings of an op (Resize's sizes, Clip's bounds, Pad's value ...)
 * are none, and a constant with several readers counts once. */
#ifndef PARE_GREENNESS_PARAMETERS_H
#define PARE_GREENNESS_PARAMETERS_H

#include "graph/graph.h"

/* Elements of a value, and those of them that are not zero. */
typedef struct Density {
    int64_t count, nonzeros; /* count 0: not known, or no parameters */
} Density;

typedef struct Parameters {
    int64_t count, nonzeros; /* a quantized element is zero where it equals its zero point */
    int64_t bits;            /* sum of element widths */
    int64_t scale_bits;      /* of the constant scales and zero points of quantized ones, beside them */
    int64_t constant_bytes;  /* of every constant that a node reads, scales and shapes included, each once */
    int64_t *at_node;        /* [0..node_count] of the main graph: parameters of each node; malloc'ed */
    Density *values;         /* [0..value_count] of the main graph: of weights, also behind DequantizeLinear, Transpose ...; malloc'ed */
    bool *constant_value;    /* [0..value_count] of the main graph: the value does not depend on the inputs; malloc'ed */
} Parameters;

/* Subgraphs are walked too; what they read is put down to the node that holds them. A constant is put down to its first reader, or, behind
 * DequantizeLinear and other nodes with constant inputs only, to the first node that also reads something else. */
Status parameters_count(const Graph *g, Parameters *out, Err *err);
void parameters_release(Parameters *p);

#endif
