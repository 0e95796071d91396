/* Which groups DequantizeLinear -> node -> QuantizeLinear a runtime runs in integers: one row per op, and the reason why not. */
#ifndef PARE_PIPELINE_LINT_RULES_H
#define PARE_PIPELINE_LINT_RULES_H

#include "pipeline/lint_sim.h"

typedef enum Fate {
    FATE_FLOAT,    /* not quantized; what it reads may be */
    FATE_LOST,     /* quantized, and runs in float all the same */
    FATE_UNPACKED, /* of that, nothing but the weights is quantized: they become float before they are used */
    FATE_WEIGHTS,  /* reads integer weights, computes in float */
    FATE_INTEGER,
} Fate;

typedef struct Ruling {
    Fate fate;
    int weight_bits;    /* of a layer whose weights are quantized and whose input is not; else 0 */
    const char *kernel; /* "QLinearConv"; "Reshape" for what only moves integers; NULL in float */
    Str reason;         /* empty of FATE_INTEGER, and of FATE_FLOAT where no input is quantized; else why, and what to do about it */
} Ruling;

typedef struct RuleSet {
    bool int8_activations; /* kernels for int8 times int8 without a shift to uint8: Arm */
    bool gpu;              /* TensorRT's rules instead */
} RuleSet;

/* After lint_rewrite. Texts are made in `arena`; ERR_MEMORY. Q, DQ and nodes that no rule concerns are FATE_FLOAT without a reason. */
Status lint_judge(const Sim *s, int node, const RuleSet *rules, Arena *arena, Ruling *out, Err *err);
/* Multiply-adds: the ops counted as layers. */
bool lint_is_layer(Str type);
bool lint_is_integer_op(Str type); /* those that are integers in the file */

#endif
