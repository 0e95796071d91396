/* Quantization parameters, shared by the plain forwards and the int8 kernels. */
#ifndef PARE_ENGINE_OPS_QUANTIZE_H
#define PARE_ENGINE_OPS_QUANTIZE_H

#include "graph/op.h"

/* How scale and zero point lie over a tensor seen as [outer, count, inner]: element (o, k, i) uses parameter k per axis (k is 0 per
 * tensor), and (o * blocks + k / block) * inner + i in blocks. */
typedef struct QuantLayout {
    int64_t outer, count, inner; /* the tensor around the axis; per tensor: 1, 1, all */
    int64_t block;               /* entries along the axis that share a parameter; 1 per axis */
    int64_t blocks;              /* parameters along the axis */
    bool blocked;                /* parameters differ over outer and inner too */
} QuantLayout;

/* From the node's axis and block_size and the shapes; ERR_DATA when the scale does not fit. */
Status quant_layout(const OpCall *c, const Shape *x, const Tensor *scale, QuantLayout *out);
/* Smallest and largest integer of a quantized type; false for other types. */
bool quant_range(DType t, int64_t *low, int64_t *high);

/* round(v) half to even, kept within [least, most] (whole numbers below 2^22); NaN gives least. Adding and taking away 1.5 * 2^23 leaves
 * no fraction; this vectorizes where rintf is a call. */
static inline float quant_round(float v, float least, float most)
{
    v = v > least ? v : least;
    v = v < most ? v : most;
    return (v + 12582912.0F) - 12582912.0F;
}

#endif
