/* From DequantizeLinear -> op -> QuantizeLinear to operators on integers, as ONNX Runtime's own optimizer does when it loads the file.
 *
 *   Conv                      QLinearConv                     Gemm             com.microsoft QGemm (float result where no grid follows)
 *   MatMul                    QLinearMatMul, or com.microsoft MatMulIntegerToFloat where no grid follows
 *   Add, Mul, Concat, AveragePool, GlobalAveragePool, Sigmoid, LeakyRelu, Softmax       com.microsoft QLinear...
 *   MaxPool                   itself on integers (same grid before and behind, opset 12)
 *
 * Needs: constant grids, one per activation; int8 or uint8; a bias in int32 at the scale input x weight. */
#ifndef PARE_QUANTIZE_FORM_QOPERATOR_H
#define PARE_QUANTIZE_FORM_QOPERATOR_H

#include "graph/pass.h"

/* Main graph only. What stays float between the integers is recorded as skipped, with the reason; *converted (may be NULL) counts the
 * nodes. Ops bound, shapes inferred; afterwards graph_remove_dead, graph_finish, engine_bind and engine_infer. `record` may be NULL. */
Status form_qoperator(Graph *g, PassRecord *record, int *converted, Err *err);

#endif
