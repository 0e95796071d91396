/* What a runtime will run in integers, what not and why, and what to mind on a kind of processor. The rules are ONNX Runtime's
 * (lint_rewrite.c, lint_rules.c), for graphics processors TensorRT's; nothing is run. */
#ifndef PARE_PIPELINE_LINT_H
#define PARE_PIPELINE_LINT_H

#include "pipeline/lint_rules.h"
#include "pipeline/model.h"

#include <cjson/cJSON.h>

#define LINT_TARGETS "portable|x86-vnni|x86-avx2|arm-dotprod|gpu"
typedef enum LintTarget { LINT_PORTABLE, LINT_X86_VNNI, LINT_X86_AVX2, LINT_ARM_DOTPROD, LINT_GPU } LintTarget;

typedef struct LintItem {
    const Graph *graph; /* the main graph or a subgraph */
    NodeId node;
    Str name, type;
    bool layer;         /* multiplies and adds; else another node that touches quantized values */
    Ruling ruling;
} LintItem;

/* X(identifier, name in JSON, what it means and what to do) */
#define LINT_ADVICE_LIST(X) \
    X(ADVICE_CHANNELS, "channel_zero_points", "zero points differ between the channels of a weight; runtimes refuse " \
      "to load it or compute " \
      "nonsense: use symmetric int8 weights, zero point 0") \
    X(ADVICE_BIAS_RANGE, "bias_range", "a bias stands at the end of int32, so it was cut: raise the scale of that channel's weights") \
    X(ADVICE_BIAS_GRID, "bias_grid", "the bias has a scale or zero point of its own; integer kernels take scale input " \
      "times weight and zero " \
      "point 0 whatever is written") \
    X(ADVICE_SATURATION, "saturation", "x86 without VNNI adds two products of uint8 and int8 into 16 bits, and these " \
      "pairs of weights can " \
      "overflow them: `pare pass quantize --target=portable` avoids it, uint8 weights too") \
    X(ADVICE_SLOW_INT8, "slow_int8", "int8 times int8 is slow on x86: use uint8 inputs, or the form with QuantizeLinear and " \
      "DequantizeLinear") \
    X(ADVICE_SLOW_UINT8, "slow_uint8", "uint8 weights are exact without VNNI, and rarely faster than float there: int8 weights made with " \
      "`--target=portable` are") \
    X(ADVICE_ASYMMETRIC, "asymmetric_weights", "weights with a zero point other than 0 take a slower path on Arm: use symmetric int8 " \
      "weights") \
    X(ADVICE_DEPTHWISE, "depthwise", "depthwise convolutions are bound by memory and rarely faster in integers")

typedef enum AdviceKind {
#define X(id, name, text) id,
    LINT_ADVICE_LIST(X)
#undef X
    ADVICE_COUNT
} AdviceKind;

typedef struct Advice {
    AdviceKind kind;
    int item;           /* of the list of items */
    int64_t count;      /* pairs or channels it concerns */
} Advice;

typedef struct Lint {
    const char *path;
    LintTarget target;
    Arena *arena;
    LintItem *items;    /* layers, and others that touch quantized values, in topological order; subgraphs behind their node */
    int count;
    size_t capacity;
    Advice *advice;     /* in the order of the items */
    int advice_count;
    size_t advice_capacity;
    int layers, integer_layers, weight_layers, others, integer_others;
    int lost;           /* layers that are quantized and run in float all the same, */
    int unpacked;       /* and those of which only the weights are: they become float when the network is loaded */
} Lint;

/* `path` is for print and JSON. Never runs the network; shapes may be unknown. */
Status lint_model(const Model *m, const char *path, LintTarget target, Lint *out, Err *err);
void lint_release(Lint *l);
const char *lint_target_name(LintTarget t);
const char *lint_advice_name(AdviceKind kind);
const char *lint_advice_text(AdviceKind kind);

/* lint_advice.c: what to mind about an item judged to run in integers. */
Status lint_advise(Lint *l, const Sim *s, int node, int item, Err *err);

/* lint_print.c: text for a terminal; `all` lists also what runs in integers and is no layer. */
void lint_print(const Lint *l, bool all, StrBuf *b);
cJSON *lint_json(const Lint *l); /* NULL when out of memory */

#endif
