/* Products and sums of 8-bit integers: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger, and the operators that a session puts in the
 * place of DequantizeLinear .. operator .. QuantizeLinear groups (domain "pare", never in a file).
 *
 * What they compute, on every processor, to the last bit. All sums are exact; x, w, a, b stand for the stored integers, z for zero points,
 * s for scales, float32 throughout where rounding is told:
 *
 *   layer        acc = sum (x - zx)(w - zw) + bias,   y = keep(round(float(acc) * m) + zy),   m = float(float(sx * sw) / sy)
 *   float layer  y = float(float(acc) * float(sx * sw)), when nothing quantizes the result
 *   addition     y = keep(round(float(float(float((a - za) sa) + float((b - zb) sb)) / sy)) + zy): the group's own operators, one by one
 *   average      y = keep(round(float(float(sum (x - zx)) * m)) + zy),   m = float(sx / float(sy * n))
 *
 * round is half to even; keep cuts to the integer type's range and to `low` and `high` where a Relu or Clip stood before the
 * quantization (both are monotone, so this is what they do). A layer is what ONNX Runtime's QLinearConv gives, an average over everything
 * what its QLinearGlobalAveragePool does; its QLinearAveragePool adds zy before it rounds, so that ties fall to the other side where zy
 * is odd, and it has none for ReduceMean, which runs in float32 there. The group run one operator
 * after the other (SessionOptions.plain) adds products already rounded to float32: its results differ by one step where the exact
 * quotient lies within a few parts in 10^7 of a half. A bias counts as int32 in steps of sx * sw; a group whose bias has another scale
 * stays as it is. */
#ifndef PARE_ENGINE_OPS_INTEGER_H
#define PARE_ENGINE_OPS_INTEGER_H

#include "graph/op.h"

#define INTEGER_DOMAIN "pare" /* of the operators of groups; not the table's: engine_find_op knows none of it */

/* Entry of a group's operator: QLinearConv, QLinearMatMul (inputs as the standard ones and the bias at 8; y's scale and zero point left
 * out: float layer), QLinearAdd (a, sa, za, b, sb, zb, sy, zy), QLinearAveragePool and QLinearGlobalAveragePool (x, sx, zx, sy, zy), all
 * with `low` and `high`. NULL: no such operator. */
const Op *integer_find_op(Str type);

Status qlinear_conv_infer(InferCall *c);
Status qlinear_conv_forward(OpCall *c);
Status qlinear_matmul_infer(InferCall *c);
Status qlinear_matmul_forward(OpCall *c);
Status conv_integer_infer(InferCall *c);
Status conv_integer_forward(OpCall *c);
Status matmul_integer_infer(InferCall *c);
Status matmul_integer_forward(OpCall *c);
void integer_conv_cost(const CostCall *c, OpCost *out);
void integer_matmul_cost(const CostCall *c, OpCost *out);

/* The range that `keep` cuts to: the type's, narrowed by the node's low and high. False: no quantized type. */
bool integer_range(const Node *n, DType type, int64_t *low, int64_t *high);

#endif
