/* What a layer costs in integers, for choices that must not depend on the machine that makes them.
 *
 * Time of a layer with uint8 activations against the same layer in float: ONNX Runtime 1.31, x86 with AVX2 and without VNNI, one thread,
 * bench/kernels.py. Only such a processor has the pair rule to pay for; elsewhere the two forms differ less. */
#ifndef PARE_QUANTIZE_LATENCY_H
#define PARE_QUANTIZE_LATENCY_H

typedef enum LatencyKind { LATENCY_CONV, LATENCY_POINTWISE, LATENCY_DEPTHWISE, LATENCY_MATRIX, LATENCY_KINDS } LatencyKind;

static const struct {
    double s8, u8; /* weights int8; uint8 with zero point 128 */
} latency_table[LATENCY_KINDS] = {
    [LATENCY_CONV] = { 0.52, 0.78 },
    [LATENCY_POINTWISE] = { 0.62, 0.78 },
    [LATENCY_DEPTHWISE] = { 1.25, 1.50 },
    [LATENCY_MATRIX] = { 0.53, 0.61 },
};

#endif
