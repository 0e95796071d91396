/* Quantized weights as constants of the graph, and the nodes that read them.
 *
 *   qdq      W -> DequantizeLinear(q, scale[, zero]) -> the layer as it was        any layer, any runtime with the opset
 *   nbits    MatMul, Gemm -> com.microsoft MatMulNBits; Gather -> GatherBlockQuantized          ONNX Runtime
 *   dynamic  x -> DynamicQuantizeLinear -> MatMulInteger or ConvInteger -> Cast -> Mul [-> Add] (form_dynamic.h)
 *
 * qdq, by shape of the scales:
 *   one for all      scalar
 *   one per output   `axis` where the outputs lie along one axis of the weight (Conv 0, ConvTranspose without groups 1, Gemm, MatMul,
 *                    recurrent weights of one direction 1); else the weight is kept as the matrix [outputs,width] with axis 0 and
 *                    Reshape (and Transpose) nodes give it its shape
 *   one per block    `block_size` along the inputs (opset 21) of a matrix, of a 1x1 Conv and of recurrent weights; else as a matrix
 * The integers are int8 or uint8 for 5 to 8 bits, int4 or uint4 (low nibble first; opset 21) for 2 to 4, int2 or uint2 (opset 25) for 2
 * where asked for (but int4 for a matrix with sides that are no multiples of 4: ONNX Runtime 1.31 computes those wrongly).
 * nbits: 2, 4 or 8 bits in a byte string per block, the lowest bits first; 3 bits take 4, 5 to 7 take 8. ONNX Runtime 1.31 knows blocks of
 * 16, 32, 64, 128 and 256: a scale that serves more is repeated in each of the blocks.
 *
 * In ONNX Runtime a MatMul behind a blocked int4 DequantizeLinear becomes MatMulNBits with accuracy level 4 (the activations rounded to 8
 * bits inside) unless session.qdq_matmulnbits_accuracy_level is 1: its results differ from the floats' by that. */
#ifndef PARE_QUANTIZE_FORM_WEIGHTS_H
#define PARE_QUANTIZE_FORM_WEIGHTS_H

#include "quantize/rounding.h"
#include "stats/form.h"

typedef enum WeightFormat { WEIGHT_QDQ, WEIGHT_NBITS, WEIGHT_DYNAMIC } WeightFormat;

typedef struct WeightSpec {
    WeightFormat format;
    int bits;          /* 2 to 8, of the integers rounded */
    bool symmetric;    /* as RoundSpec's: signed integers around 0; else unsigned ones with zero points */
    int64_t block;     /* as RoundSpec's: inputs that share a scale; 0: one per output; -1: one for the whole weight */
    bool two_bit;      /* qdq with 2 bits: int2 and uint2, which are new in opset 25, instead of int4 and uint4 */
    bool shifted;      /* symmetric: stored unsigned around 2^(bits - 1) (uint8 weights that meet uint8 activations); not for nbits */
    int accuracy_level; /* of MatMulNBits: 0 left to the runtime, 1 float32, 4 activations in int8 */
} WeightSpec;

/* A weight in the graph. `values` is made when the first reader needs it. */
typedef struct StoredWeight {
    WeightSpec spec;
    LayerForm form;          /* of the layer it was stored for */
    ValueId q, scale, zero;  /* constants; zero 0: all are 0 (nbits: the middle) */
    DType type;              /* of q */
    int64_t rows, width, blocks, block; /* nbits: as they are stored */
    ValueId values;          /* floats of the weight's own shape; 0: not made */
} StoredWeight;

/* A Gather along axis 0 of a constant matrix as rows of weights, and one weight of an LSTM, GRU or RNN as groups (directions) of rows
 * (gates): then layer_read_weights, round_matrix and what follows hold for them too. False: *why is a literal that says why not. */
bool form_of_table(const Graph *g, NodeId gather, LayerForm *out, const char **why);
bool form_of_recurrent(const Graph *g, const Layer *l, LayerForm *out, const char **why);

/* Whether the layer can be written so; *why otherwise. For nbits and dynamic, what does not fit may still be written as qdq. */
bool form_weight_fits(const Graph *g, const LayerForm *f, const WeightSpec *spec, const char **why);
/* The least opset of the default domain that the form needs; raise it (opset_raise) and the IR (opset_ir) before storing. */
int64_t form_weight_opset(const LayerForm *f, const WeightSpec *spec);

/* Adds the constants of a weight: r is [groups x outputs, width] as layer_read_weights gives it. Layers that share the weight (and alpha)
 * share what is stored. The import of com.microsoft is added when needed. ERR_UNSUPPORTED names the layer when it does not fit. */
Status form_weight_store(Graph *g, const LayerForm *f, const Rounded *r, const WeightSpec *spec, StoredWeight *out, Err *err);
/* Makes the layer read it. Afterwards the graph needs graph_remove_dead, graph_finish, engine_bind and engine_infer. */
Status form_weight_attach(Graph *g, const LayerForm *f, StoredWeight *w, Err *err);

#endif
