/* Which operands of which operators are quantized data, and what stands beside them: one table for parameters and products. Inside
 * greenness/ only. */
#ifndef PARE_GREENNESS_OPERANDS_H
#define PARE_GREENNESS_OPERANDS_H

#include "graph/graph.h"
#include "graph/op.h"

/* A quantized operand: where it, its scales and its zero points stand among the inputs. 0 of the last two: there are none. */
typedef struct Quantized {
    int data, scale, zero;
} Quantized;

typedef struct Operands {
    const char *type, *domain;
    bool integer;       /* it takes its products in 8-bit integers */
    unsigned settings;  /* bit i: input i says how it works rather than what it works on: scales, zero points, bounds, sizes */
    int quantized_count;
    Quantized quantized[2];
    int wide;           /* the input that is data in integers of more than 8 bits: a bias; 0: none, but see DequantizeLinear */
} Operands;

/* The entry of the node's operator; NULL: nothing special. */
const Operands *operands_of(const Node *n);
/* The quantized operand that input `i` of the node is; NULL: none. */
const Quantized *operands_quantized(const Node *n, int i);
/* Whether the node takes its products in 8-bit integers: an operator that does, or one whose two operands are 8-bit integers behind
 * DequantizeLinear. */
bool operands_integer(const Graph *g, const TypeInfo *types, const Node *n);

/* Weights packed into bytes: `rows` of `width` numbers of `bits` bits, lowest bits first, each row on whole bytes. */
typedef struct Packed {
    int bits;
    int64_t rows, width, row_bytes;
    int64_t block;                   /* numbers of a row that share a scale and a zero point */
} Packed;

/* How a node reads packed bytes in input `i`: `shape` as it sees them, `bytes` of the constant that they come from. False: it reads them
 * as numbers, or they do not fit. */
bool operands_packed(const Node *n, int i, const TypeInfo *seen, size_t bytes, Packed *out);
/* Entry `at` of `bits` bits in packed bytes. */
int packed_entry(const uint8_t *bytes, int bits, int64_t at);

#endif
