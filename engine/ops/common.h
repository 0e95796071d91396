/* What the operators share: errors, axes, lists that are an attribute or an input, shape rules, strided loops. */
#ifndef PARE_ENGINE_OPS_COMMON_H
#define PARE_ENGINE_OPS_COMMON_H

#include "base/bytes.h"
#include "graph/op.h"

/* ---- entries ---- */

/* An entry of domain "" that is no weighted layer. */
#define OP_ENTRY(type_, since_, until_, min_in, max_in, min_out, max_out, flags_, infer_, forward_, cost_) \
    { .type = type_, .domain = "", .since = since_, .until = until_, .min_inputs = min_in, .max_inputs = max_in, \
      .min_outputs = min_out, .max_outputs = max_out, .flags = flags_, .weight_input = -1, .bias_input = -1, \
      .infer = infer_, .forward = forward_, .cost = cost_ }
#define OP_END { .type = NULL }

/* ---- errors ---- */

/* Fills "Conv 'stem': ..." and returns `code`. */
Status op_error(const Graph *g, const Node *n, Err *err, Status code, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same for an InferCall or an OpCall. */
#define op_fail(call, code, ...) op_error((call)->graph, (call)->node, (call)->err, code, __VA_ARGS__)
/* ERR_UNSUPPORTED: "... : float16 is not supported here". */
#define op_bad_type(call, type_) op_fail(call, ERR_UNSUPPORTED, "element type %s is not supported", dtype_name(type_))

/* ---- axes and lists ---- */

/* Normalises an axis from [-rank, rank) to [0, rank). */
bool axis_fix(int64_t axis, int rank, int *out);

typedef enum ListState {
    LIST_ABSENT,  /* neither attribute nor input */
    LIST_KNOWN,
    LIST_UNKNOWN, /* an input whose contents are not known now (or more than `max` entries) */
} ListState;

/* An integer list that is an attribute in older opsets and an input in newer ones. `attr` NULL or `input` -1: that form does not
 * exist. A scalar input gives a list of one. */
ListState infer_list(const InferCall *c, int input, const char *attr, int64_t *out, int max, int *count);
ListState call_list(const OpCall *c, int input, const char *attr, int64_t *out, int max, int *count);
/* Axes of a tensor of `rank` from such a list: in range and without repetition, or ERR_DATA. mask[a] is set for each. */
Status axes_mask(const Graph *g, const Node *n, Err *err, const int64_t *axes, int count, int rank, bool *mask);

/* ---- BatchNormalization ---- */

/* Up to this opset is_test tells whether it normalises by its inputs or by the batch itself; then nothing, then training_mode. */
#define NORM_OLDEST 6
/* By the batch; by each position on its own (spatial 0). Op bound. */
bool norm_is_training(const Node *n);
bool norm_is_pointwise(const Node *n);

/* ---- shapes ---- */

/* Product of sizes dims[from..to); all must be sizes. */
int64_t shape_span(const Shape *s, int from, int to);
/* Numpy broadcasting, symbols included; unknown rank in, unknown rank out. False when sizes contradict. */
bool shape_broadcast(const Shape *a, const Shape *b, Shape *out);
/* Elements between neighbours along each axis of a row-major array. */
void strides_of(const Shape *s, int64_t *strides);
/* Strides with which `s` is read while walking `out`: 0 where it is broadcast; aligned at the last axis. */
void strides_broadcast(const Shape *s, const Shape *out, int64_t *strides);

/* ---- inference ---- */

Status infer_same(InferCall *c);      /* output 0 like input 0, contents included */
Status infer_broadcast(InferCall *c); /* type of input 0, shape of all inputs broadcast */
Status infer_broadcast_bool(InferCall *c);
/* The integer contents of a constant when it has at most MAX_INTS elements of an integer type or bool; count -1 otherwise. */
void ints_of_tensor(const Tensor *t, Ints *out);

/* ---- execution ---- */

/* Runs the entry's own infer on the actual inputs and allocates every output whose shape it tells: a forward starts with it and
 * so never repeats the shape rules. */
Status opcall_prepare(OpCall *c);
bool opcall_has_half(const OpCall *c); /* an input is float16 or bfloat16 */
/* Runs `forward` on float32 copies of float16 and bfloat16 inputs and converts its float32 outputs back. */
Status opcall_via_float(OpCall *c, Status (*forward)(OpCall *c));
/* First line of a forward that knows float32 but not the short floats. */
#define OPCALL_HALF(c, forward) \
    do { \
        if (opcall_has_half(c)) return opcall_via_float(c, forward); \
    } while (0)

/* dst[i * dst_strides] = src[i * src_strides] over all index tuples below dims; strides in elements (may be negative) of `size` bytes. */
void copy_strided(size_t size, int rank, const int64_t *dims, uint8_t *dst, const int64_t *dst_strides, const uint8_t *src,
                  const int64_t *src_strides);
/* Bytes of one element; 0 for types without whole bytes (4- and 2-bit, string). */
size_t dtype_size(DType t);

/* C types by element type, short floats and bool left out: X(id, C type, suffix). */
#define FLOAT_TYPES(X) X(DT_FLOAT, float, f32) X(DT_DOUBLE, double, f64)
#define SIGNED_TYPES(X) X(DT_INT8, int8_t, i8) X(DT_INT16, int16_t, i16) X(DT_INT32, int32_t, i32) X(DT_INT64, int64_t, i64)
#define UNSIGNED_TYPES(X) X(DT_UINT8, uint8_t, u8) X(DT_UINT16, uint16_t, u16) X(DT_UINT32, uint32_t, u32) X(DT_UINT64, uint64_t, u64)
#define INTEGER_TYPES(X) SIGNED_TYPES(X) UNSIGNED_TYPES(X)
#define NUMBER_TYPES(X) FLOAT_TYPES(X) INTEGER_TYPES(X)

/* Below this many elements a loop stays on one thread. */
#define PARALLEL_FROM 65536

/* ---- cost ---- */

void cost_none(const CostCall *c, OpCost *out);
void cost_transcendental(const CostCall *c, OpCost *out); /* one per output element */
void cost_input(const CostCall *c, OpCost *out);          /* one elementwise operation per element of input 0 */

#endif
