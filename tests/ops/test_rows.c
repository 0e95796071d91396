/* Operators against values worked out by hand: forms, types and errors that the conformance cases leave out. */
#include "test.h"

#include "build_graph.h"
#include "conformance.h"

/* A small tensor in a table. A type of DT_NONE leaves an input out. */
typedef struct Lit {
    DType type;
    int rank;
    int64_t dims[4];
    double v[16];
} Lit;

typedef struct AttrLit {
    const char *name;
    enum { NO_ATTR, INT, INTS, FLOAT, FLOATS, STRING } kind;
    int64_t i[8];
    int count;
    float f[4];
    const char *s;
} AttrLit;

typedef struct Row {
    const char *name, *op;
    int opset;
    Lit in[4];
    int in_count;
    AttrLit attrs[4];
    Lit out;
    Status status;
} Row;

#define F32(rank_, ...) { DT_FLOAT, rank_, __VA_ARGS__ }
#define F64(rank_, ...) { DT_DOUBLE, rank_, __VA_ARGS__ }
#define F16(rank_, ...) { DT_FLOAT16, rank_, __VA_ARGS__ }
#define BF16(rank_, ...) { DT_BFLOAT16, rank_, __VA_ARGS__ }
#define I64(rank_, ...) { DT_INT64, rank_, __VA_ARGS__ }
#define I32(rank_, ...) { DT_INT32, rank_, __VA_ARGS__ }
#define I8(rank_, ...) { DT_INT8, rank_, __VA_ARGS__ }
#define U8(rank_, ...) { DT_UINT8, rank_, __VA_ARGS__ }
#define BOOL(rank_, ...) { DT_BOOL, rank_, __VA_ARGS__ }
#define D(...) { __VA_ARGS__ }
#define A_INT(n, x) { .name = n, .kind = INT, .i = { x } }
#define A_INTS(n, c, ...) { .name = n, .kind = INTS, .count = c, .i = { __VA_ARGS__ } }
#define A_FLOAT(n, x) { .name = n, .kind = FLOAT, .f = { x } }
#define A_STR(n, x) { .name = n, .kind = STRING, .s = x }
#define NONE { DT_NONE, 0, D(0), D(0) }

static const Row rows[] = {
    /* unary */
    { "relu keeps NaN", "Relu", 14, { F32(1, D(3), D(-1, NAN, 2)) }, 1, { { 0 } }, F32(1, D(3), D(0, NAN, 2)), OK },
    { "relu int32", "Relu", 14, { I32(1, D(3), D(-7, 0, 7)) }, 1, { { 0 } }, I32(1, D(3), D(0, 0, 7)), OK },
    { "abs int8 of the least", "Abs", 13, { I8(1, D(3), D(-128, -3, 4)) }, 1, { { 0 } }, I8(1, D(3), D(-128, 3, 4)), OK },
    { "neg int64", "Neg", 13, { I64(1, D(2), D(5, -6)) }, 1, { { 0 } }, I64(1, D(2), D(-5, 6)), OK },
    { "sign float64", "Sign", 13, { F64(1, D(3), D(-0.5, 0, 9)) }, 1, { { 0 } }, F64(1, D(3), D(-1, 0, 1)), OK },
    { "round half to even", "Round", 11, { F32(1, D(4), D(0.5, 1.5, 2.5, -0.5)) }, 1, { { 0 } }, F32(1, D(4), D(0, 2, 2, 0)), OK },
    { "sigmoid float16", "Sigmoid", 13, { F16(1, D(2), D(0, 20)) }, 1, { { 0 } }, F16(1, D(2), D(0.5, 1)), OK },
    { "exp bfloat16", "Exp", 13, { BF16(1, D(1), D(0)) }, 1, { { 0 } }, BF16(1, D(1), D(1)), OK },
    { "erf", "Erf", 13, { F32(1, D(2), D(0, 1)) }, 1, { { 0 } }, F32(1, D(2), D(0, 0.8427008)), OK },
    { "gelu", "Gelu", 20, { F32(1, D(3), D(-1, 0, 1)) }, 1, { { 0 } }, F32(1, D(3), D(-0.15865525, 0, 0.84134475)), OK },
    { "gelu tanh", "Gelu", 20, { F32(1, D(1), D(1)) }, 1, { A_STR("approximate", "tanh") }, F32(1, D(1), D(0.841192)), OK },
    { "mish", "Mish", 18, { F32(1, D(1), D(1)) }, 1, { { 0 } }, F32(1, D(1), D(0.8650984)), OK },
    { "swish alpha 2", "Swish", 24, { F32(1, D(1), D(1)) }, 1, { A_FLOAT("alpha", 2) }, F32(1, D(1), D(0.8807971)), OK },
    { "celu", "Celu", 12, { F32(1, D(2), D(-1, 3)) }, 1, { A_FLOAT("alpha", 2) }, F32(1, D(2), D(-0.7869387, 3)), OK },
    { "clip by attributes", "Clip", 6, { F32(1, D(3), D(-9, 1, 9)) }, 1, { A_FLOAT("min", -1), A_FLOAT("max", 6) },
      F32(1, D(3), D(-1, 1, 6)), OK },
    { "clip without bounds", "Clip", 13, { F32(1, D(2), D(-9, 9)) }, 1, { { 0 } }, F32(1, D(2), D(-9, 9)), OK },
    { "clip upper only, int8", "Clip", 13, { I8(1, D(3), D(-9, 1, 9)), NONE, I8(0, D(0), D(2)) }, 3, { { 0 } }, I8(1, D(3), D(-9, 1, 2)),
      OK },
    { "not", "Not", 1, { BOOL(1, D(2), D(0, 1)) }, 1, { { 0 } }, BOOL(1, D(2), D(1, 0)), OK },
    { "bitwise not int8", "BitwiseNot", 18, { I8(1, D(2), D(0, 5)) }, 1, { { 0 } }, I8(1, D(2), D(-1, -6)), OK },
    { "is inf, positive only", "IsInf", 10, { F32(1, D(3), D(INFINITY, -INFINITY, 1)) }, 1, { A_INT("detect_negative", 0) },
      BOOL(1, D(3), D(1, 0, 0)), OK },
    { "relu of bool", "Relu", 14, { BOOL(1, D(1), D(1)) }, 1, { { 0 } }, NONE, ERR_UNSUPPORTED },
    /* binary */
    { "add broadcasts both ways", "Add", 14, { F32(2, D(2, 1), D(10, 20)), F32(1, D(3), D(1, 2, 3)) }, 2, { { 0 } },
      F32(2, D(2, 3), D(11, 12, 13, 21, 22, 23)), OK },
    { "sub scalar first", "Sub", 14, { F32(0, D(0), D(1)), F32(1, D(3), D(1, 2, 3)) }, 2, { { 0 } }, F32(1, D(3), D(0, -1, -2)), OK },
    { "mul uint8 wraps", "Mul", 14, { U8(1, D(2), D(16, 3)), U8(1, D(2), D(17, 3)) }, 2, { { 0 } }, U8(1, D(2), D(16, 9)), OK },
    { "div int32 towards zero", "Div", 14, { I32(1, D(3), D(-7, 7, 5)), I32(1, D(3), D(2, -2, 0)) }, 2, { { 0 } },
      I32(1, D(3), D(-3, -3, 0)), OK },
    { "div least by -1", "Div", 14, { I32(1, D(1), D(-2147483648.0)), I32(1, D(1), D(-1)) }, 2, { { 0 } }, I32(1, D(1), D(-2147483648.0)),
      OK },
    { "mod takes the divisor's sign", "Mod", 13, { I32(1, D(3), D(-7, 7, -6)), I32(1, D(3), D(3, -3, 3)) }, 2, { { 0 } },
      I32(1, D(3), D(2, -2, 0)), OK },
    { "fmod takes the dividend's sign", "Mod", 13, { F32(1, D(2), D(-7.5, 7.5)), F32(1, D(2), D(2, -2)) }, 2, { A_INT("fmod", 1) },
      F32(1, D(2), D(-1.5, 1.5)), OK },
    { "pow int base, float exponent", "Pow", 13, { I32(1, D(2), D(4, 9)), F32(0, D(0), D(0.5)) }, 2, { { 0 } }, I32(1, D(2), D(2, 3)), OK },
    { "pow int64 exact", "Pow", 13, { I64(1, D(1), D(3)), I64(1, D(1), D(33)) }, 2, { { 0 } }, I64(1, D(1), D(5559060566555523.0)), OK },
    { "min of three, broadcast", "Min", 13, { F32(1, D(2), D(3, 1)), F32(0, D(0), D(2)), F32(1, D(2), D(9, 9)) }, 3, { { 0 } },
      F32(1, D(2), D(2, 1)), OK },
    { "mean of two", "Mean", 13, { F32(1, D(2), D(1, 2)), F32(1, D(2), D(3, 6)) }, 2, { { 0 } }, F32(1, D(2), D(2, 4)), OK },
    { "max float16", "Max", 13, { F16(1, D(2), D(1, 5)), F16(1, D(2), D(3, 2)) }, 2, { { 0 } }, F16(1, D(2), D(3, 5)), OK },
    { "equal bool", "Equal", 13, { BOOL(1, D(2), D(1, 0)), BOOL(1, D(2), D(1, 1)) }, 2, { { 0 } }, BOOL(1, D(2), D(1, 0)), OK },
    { "greater or equal int64", "GreaterOrEqual", 16, { I64(1, D(2), D(1, 2)), I64(0, D(0), D(2)) }, 2, { { 0 } }, BOOL(1, D(2), D(0, 1)),
      OK },
    { "xor", "Xor", 7, { BOOL(1, D(2), D(1, 0)), BOOL(1, D(1), D(1)) }, 2, { { 0 } }, BOOL(1, D(2), D(0, 1)), OK },
    { "bitwise xor", "BitwiseXor", 18, { I32(1, D(1), D(6)), I32(1, D(1), D(3)) }, 2, { { 0 } }, I32(1, D(1), D(5)), OK },
    { "shift past the width", "BitShift", 11, { U8(1, D(2), D(129, 1)), U8(1, D(2), D(1, 9)) }, 2, { A_STR("direction", "LEFT") },
      U8(1, D(2), D(2, 0)), OK },
    { "where broadcasts", "Where", 16, { BOOL(2, D(2, 1), D(1, 0)), I64(1, D(2), D(1, 2)), I64(0, D(0), D(9)) }, 3, { { 0 } },
      I64(2, D(2, 2), D(1, 2, 9, 9)), OK },
    { "prelu per channel", "PRelu", 16, { F32(2, D(2, 2), D(-1, -1, 2, -2)), F32(1, D(2), D(0.5, 2)) }, 2, { { 0 } },
      F32(2, D(2, 2), D(-0.5, -2, 2, -4)), OK },
    { "add of shapes that do not fit", "Add", 14, { F32(1, D(2), D(1, 2)), F32(1, D(3), D(1, 2, 3)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "add of two types", "Add", 14, { F32(1, D(1), D(1)), F64(1, D(1), D(1)) }, 2, { { 0 } }, NONE, ERR_DATA },
    /* constants and casts */
    { "cast float to int8 truncates", "Cast", 13, { F32(1, D(3), D(-2.9, 2.9, 0.2)) }, 1, { A_INT("to", DT_INT8) },
      I8(1, D(3), D(-2, 2, 0)), OK },
    { "cast float to bool", "Cast", 13, { F32(1, D(3), D(0, 0.5, NAN)) }, 1, { A_INT("to", DT_BOOL) }, BOOL(1, D(3), D(0, 1, 1)), OK },
    { "range backwards", "Range", 11, { I64(0, D(0), D(5)), I64(0, D(0), D(0)), I64(0, D(0), D(-2)) }, 3, { { 0 } },
      I64(1, D(3), D(5, 3, 1)), OK },
    { "range without a step", "Range", 11, { I64(0, D(0), D(5)), I64(0, D(0), D(0)), I64(0, D(0), D(0)) }, 3, { { 0 } }, NONE, ERR_DATA },
    { "eye below the diagonal", "EyeLike", 9, { F32(2, D(2, 3), D(0)) }, 1, { A_INT("k", -1), A_INT("dtype", DT_INT64) },
      I64(2, D(2, 3), D(0, 0, 0, 1, 0, 0)), OK },
    { "constant of a negative shape", "ConstantOfShape", 9, { I64(1, D(1), D(-1)) }, 1, { { 0 } }, NONE, ERR_DATA },
    /* shapes */
    { "shape of a part", "Shape", 15, { F32(3, D(2, 1, 3), D(0)) }, 1, { A_INT("start", -2), A_INT("end", 3) }, I64(1, D(2), D(1, 3)), OK },
    { "reshape copies and solves", "Reshape", 13, { I64(3, D(2, 1, 3), D(1, 2, 3, 4, 5, 6)), I64(1, D(2), D(0, -1)) }, 2, { { 0 } },
      I64(2, D(2, 3), D(1, 2, 3, 4, 5, 6)), OK },
    { "reshape allowzero", "Reshape", 14, { F32(2, D(0, 3), D(0)), I64(1, D(2), D(3, 0)) }, 2, { A_INT("allowzero", 1) },
      F32(2, D(3, 0), D(0)), OK },
    { "reshape of the wrong size", "Reshape", 13, { F32(1, D(4), D(0)), I64(1, D(2), D(3, -1)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "squeeze by attribute", "Squeeze", 11, { F32(3, D(1, 2, 1), D(1, 2)) }, 1, { A_INTS("axes", 1, -1) }, F32(2, D(1, 2), D(1, 2)), OK },
    { "squeeze by input", "Squeeze", 13, { F32(3, D(1, 2, 1), D(1, 2)), I64(1, D(1), D(0)) }, 2, { { 0 } }, F32(2, D(2, 1), D(1, 2)), OK },
    { "squeeze of a wide axis", "Squeeze", 13, { F32(2, D(1, 2), D(1, 2)), I64(1, D(1), D(1)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "unsqueeze by attribute", "Unsqueeze", 11, { F32(1, D(2), D(1, 2)) }, 1, { A_INTS("axes", 2, 0, 2) }, F32(3, D(1, 2, 1), D(1, 2)),
      OK },
    { "transpose int8", "Transpose", 13, { I8(2, D(2, 3), D(1, 2, 3, 4, 5, 6)) }, 1, { { 0 } }, I8(2, D(3, 2), D(1, 4, 2, 5, 3, 6)), OK },
    { "transpose int4", "Transpose", 21, { { DT_INT4, 2, D(3, 1), D(-8, 3, 7) } }, 1, { { 0 } }, { DT_INT4, 2, D(1, 3), D(-8, 3, 7) }, OK },
    { "expand with a one", "Expand", 13, { F32(2, D(2, 1), D(1, 2)), I64(1, D(3), D(2, 1, 2)) }, 2, { { 0 } },
      F32(3, D(2, 2, 2), D(1, 1, 2, 2, 1, 1, 2, 2)), OK },
    { "flatten at the last axis", "Flatten", 13, { F32(2, D(2, 2), D(1, 2, 3, 4)) }, 1, { A_INT("axis", -1) },
      F32(2, D(2, 2), D(1, 2, 3, 4)), OK },
    /* slices */
    { "slice by attributes", "Slice", 9, { I32(2, D(2, 3), D(1, 2, 3, 4, 5, 6)) }, 1,
      { A_INTS("starts", 1, -2), A_INTS("ends", 1, 99), A_INTS("axes", 1, 1) }, I32(2, D(2, 2), D(2, 3, 5, 6)), OK },
    { "slice to nothing", "Slice", 13, { I32(1, D(4), D(1, 2, 3, 4)), I64(1, D(1), D(-1)), I64(1, D(1), D(-99)), NONE }, 3, { { 0 } },
      I32(1, D(0), D(0)), OK },
    { "split unevenly", "Split", 18, { F32(1, D(5), D(1, 2, 3, 4, 5)) }, 1, { A_INT("num_outputs", 1) }, F32(1, D(5), D(1, 2, 3, 4, 5)),
      OK },
    { "concat of the wrong size", "Concat", 13, { F32(2, D(1, 2), D(0)), F32(2, D(1, 3), D(0)) }, 2, { A_INT("axis", 0) }, NONE, ERR_DATA },
    { "concat along the last axis", "Concat", 13, { I8(2, D(2, 1), D(1, 2)), I8(2, D(2, 2), D(3, 4, 5, 6)) }, 2, { A_INT("axis", -1) },
      I8(2, D(2, 3), D(1, 3, 4, 2, 5, 6)), OK },
    { "pad by attributes crops", "Pad", 10, { F32(1, D(3), D(1, 2, 3)) }, 1, { A_INTS("pads", 2, -1, 2), A_FLOAT("value", 7) },
      F32(1, D(4), D(2, 3, 7, 7)), OK },
    { "pad one axis", "Pad", 18, { F32(2, D(1, 2), D(1, 2)), I64(1, D(2), D(1, 0)), F32(0, D(0), D(9)), I64(1, D(1), D(-1)) }, 4, { { 0 } },
      F32(2, D(1, 3), D(9, 1, 2)), OK },
    { "pad reflect", "Pad", 13, { I64(1, D(3), D(1, 2, 3)), I64(1, D(2), D(2, 1)) }, 2, { A_STR("mode", "reflect") },
      I64(1, D(6), D(3, 2, 1, 2, 3, 2)), OK },
    { "pad wrap", "Pad", 19, { F32(1, D(3), D(1, 2, 3)), I64(1, D(2), D(1, 2)) }, 2, { A_STR("mode", "wrap") },
      F32(1, D(6), D(3, 1, 2, 3, 1, 2)), OK },
    { "tile", "Tile", 13, { F32(2, D(1, 2), D(1, 2)), I64(1, D(2), D(2, 2)) }, 2, { { 0 } }, F32(2, D(2, 4), D(1, 2, 1, 2, 1, 2, 1, 2)),
      OK },
    /* gather and scatter */
    { "gather a scalar from the end", "Gather", 13, { F32(2, D(2, 2), D(1, 2, 3, 4)), I64(0, D(0), D(-1)) }, 2, { A_INT("axis", 1) },
      F32(1, D(2), D(2, 4)), OK },
    { "gather outside", "Gather", 13, { F32(1, D(2), D(1, 2)), I64(1, D(1), D(2)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "scatter elements, largest", "ScatterElements", 18, { F32(1, D(3), D(5, 5, 5)), I64(1, D(3), D(0, 0, 2)), F32(1, D(3), D(7, 6, 1)) },
      3,
      { A_STR("reduction", "max") }, F32(1, D(3), D(7, 5, 5)), OK },
    { "scatter nd adds twice", "ScatterND", 16, { I32(1, D(3), D(1, 1, 1)), I64(2, D(2, 1), D(1, 1)), I32(1, D(2), D(2, 3)) }, 3,
      { A_STR("reduction", "add") }, I32(1, D(3), D(1, 6, 1)), OK },
    { "gather nd outside", "GatherND", 13, { F32(2, D(2, 2), D(0)), I64(2, D(1, 2), D(0, -3)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "one hot, index outside", "OneHot", 11, { I64(1, D(2), D(-1, 5)), I64(0, D(0), D(3)), F32(1, D(2), D(0, 1)) }, 3, { { 0 } },
      F32(2, D(2, 3), D(0, 0, 1, 0, 0, 0)), OK },
    { "nonzero of a matrix", "NonZero", 13, { F32(2, D(2, 2), D(0, 1, 2, 0)) }, 1, { { 0 } }, I64(2, D(2, 2), D(0, 1, 1, 0)), OK },
    { "compress flat", "Compress", 11, { F32(2, D(2, 2), D(1, 2, 3, 4)), BOOL(1, D(3), D(0, 1, 1)) }, 2, { { 0 } }, F32(1, D(2), D(2, 3)),
      OK },
    /* reductions */
    { "sum, axes by attribute", "ReduceSum", 11, { F32(2, D(2, 2), D(1, 2, 3, 4)) }, 1, { A_INTS("axes", 1, -1), A_INT("keepdims", 0) },
      F32(1, D(2), D(3, 7)), OK },
    { "mean, axes by input", "ReduceMean", 18, { F32(2, D(2, 2), D(1, 2, 3, 4)), I64(1, D(1), D(0)) }, 2, { { 0 } },
      F32(2, D(1, 2), D(2, 3)), OK },
    { "sum of nothing named", "ReduceSum", 13, { I32(1, D(3), D(1, 2, 3)) }, 1, { A_INT("noop_with_empty_axes", 1) },
      I32(1, D(3), D(1, 2, 3)), OK },
    { "max int8", "ReduceMax", 13, { I8(1, D(3), D(-5, -2, -9)) }, 1, { A_INT("keepdims", 0) }, I8(0, D(0), D(-2)), OK },
    { "min keeps NaN", "ReduceMin", 18, { F32(1, D(2), D(NAN, 1)) }, 1, { A_INT("keepdims", 0) }, F32(0, D(0), D(NAN)), OK },
    { "log sum exp of large numbers", "ReduceLogSumExp", 18, { F32(1, D(2), D(1000, 1000)) }, 1, { { 0 } }, F32(1, D(1), D(1000.6931)),
      OK },
    { "mean float16", "ReduceMean", 13, { F16(1, D(2), D(1, 2)) }, 1, { { 0 } }, F16(1, D(1), D(1.5)), OK },
    { "axis named twice", "ReduceSum", 13, { F32(1, D(2), D(1, 2)), I64(1, D(2), D(0, -1)) }, 2, { { 0 } }, NONE, ERR_DATA },
    { "argmax, last of equals", "ArgMax", 13, { F32(1, D(3), D(4, 4, 1)) }, 1, { A_INT("select_last_index", 1), A_INT("keepdims", 0) },
      I64(0, D(0), D(1)), OK },
    { "cumsum exclusive, reverse", "CumSum", 14, { I32(1, D(3), D(1, 2, 3)), I64(0, D(0), D(0)) }, 2,
      { A_INT("exclusive", 1), A_INT("reverse", 1) },
      I32(1, D(3), D(5, 3, 0)), OK },
    { "lower triangle", "Trilu", 14, { I64(2, D(2, 3), D(1, 2, 3, 4, 5, 6)), I64(0, D(0), D(-1)) }, 2, { A_INT("upper", 0) },
      I64(2, D(2, 3), D(0, 0, 0, 4, 0, 0)), OK },
    /* resize */
    { "upsample by attribute", "Upsample", 7, { F32(4, D(1, 1, 1, 2), D(1, 2)) }, 1,
      { { .name = "scales", .kind = FLOATS, .count = 4, .f = { 1, 1, 2, 2 } } },
      F32(4, D(1, 1, 2, 4), D(1, 1, 2, 2, 1, 1, 2, 2)), OK },
    { "upsample by input", "Upsample", 9, { F32(2, D(1, 2), D(0, 2)), F32(1, D(2), D(1, 2)) }, 2, { A_STR("mode", "linear") },
      F32(2, D(1, 4), D(0, 1, 2, 2)), OK },
    { "resize to sizes, half pixel", "Resize", 13, { F32(2, D(1, 2), D(0, 4)), NONE, NONE, I64(1, D(2), D(1, 4)) }, 4,
      { A_STR("mode", "linear") },
      F32(2, D(1, 4), D(0, 1, 3, 4)), OK },
    { "resize some axes", "Resize", 18, { U8(2, D(2, 2), D(1, 2, 3, 4)), NONE, F32(1, D(1), D(2)) }, 3, { A_INTS("axes", 1, 1) },
      U8(2, D(2, 4), D(1, 1, 2, 2, 3, 3, 4, 4)), OK },
    { "resize with neither scales nor sizes", "Resize", 13, { F32(1, D(2), D(1, 2)), NONE, NONE }, 3, { { 0 } }, NONE, ERR_DATA },
};

static Tensor tensor_of(const Lit *lit)
{
    Tensor t;
    Err err;
    Shape shape = shape_of(lit->rank, lit->dims);
    assert_ok(tensor_new(&t, lit->type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, lit->v[i]);
    return t;
}

static void set_attr(Graph *g, NodeId n, const AttrLit *a)
{
    Err err;
    if (a->kind == INT) assert_ok(graph_set_int(g, n, a->name, a->i[0], &err), &err);
    if (a->kind == INTS) assert_ok(graph_set_ints(g, n, a->name, a->i, a->count, &err), &err);
    if (a->kind == FLOAT) assert_ok(graph_set_float(g, n, a->name, a->f[0], &err), &err);
    if (a->kind == STRING) assert_ok(graph_set_string(g, n, a->name, str_of(a->s), &err), &err);
    if (a->kind != FLOATS) return;
    Node *node = graph_node(g, n); /* the graph is the test's own: its attribute list may be made here */
    Attr *attrs = arena_array(g->arena, (size_t)node->attr_count + 1, sizeof *attrs);
    for (int i = 0; i < node->attr_count; i++) attrs[i] = node->attrs[i];
    attrs[node->attr_count] = (Attr){ .name = str_of(a->name), .type = ATTR_FLOATS, .count = a->count, .floats = a->f };
    node->attrs = attrs;
    node->attr_count++;
}

static void check_row(const Row *row)
{
    Graph *g = build_new(row->opset);
    Tensor in[4] = { { .type = DT_NONE } };
    const Tensor *given[4] = { NULL };
    ValueId ids[4] = { 0 };
    Err err = { .code = OK };
    Shape unknown = SHAPE_UNKNOWN;
    for (int i = 0; i < row->in_count; i++) {
        if (row->in[i].type == DT_NONE) continue;
        in[i] = tensor_of(&row->in[i]);
        given[i] = &in[i];
        ids[i] = graph_add_value(g, STR("in"), row->in[i].type, &in[i].shape);
    }
    ValueId out_id = graph_add_value(g, STR("out"), DT_NONE, &unknown);
    NodeId n = graph_add_node(g, row->op, "", STR("node"), ids, row->in_count, &out_id, 1);
    for (int i = 0; i < 4; i++) set_attr(g, n, &row->attrs[i]);
    engine_bind(g);
    const Node *node = graph_node(g, n);
    if (node->op == NULL) fail_msg("%s: no entry", row->name);
    Tensor out = { .type = DT_NONE };
    const bool wanted = true;
    OpCall call = { .graph = g, .node = node, .opset = row->opset, .input_count = row->in_count, .output_count = 1, .in = given,
                    .out = &out,
                    .wanted = &wanted, .err = &err };
    Status status = node->op->forward(&call);
    if (status != row->status) fail_msg("%s: status %d, expected %d: %s", row->name, (int)status, (int)row->status, err.text);
    if (row->status != OK && strstr(err.text, "'node'") == NULL)
        fail_msg("%s: the message does not name the node: %s", row->name, err.text);
    if (row->status == OK) {
        Shape shape = shape_of(row->out.rank, row->out.dims);
        if (out.type != row->out.type || !shape_eq(&out.shape, &shape))
            fail_msg("%s: type %d rank %d", row->name, (int)out.type, out.shape.rank);
        double tolerance = row->out.type == DT_FLOAT16 || row->out.type == DT_BFLOAT16 ? 1e-3 : 1e-6;
        for (int64_t i = 0; i < tensor_count(&out); i++) {
            double x = tensor_get(&out, i), y = row->out.v[i];
            if (!(isnan(x) && isnan(y)) && x != y && !(fabs(x - y) <= tolerance * fmax(1, fabs(y))))
                fail_msg("%s: element %d is %.9g, expected %.9g", row->name, (int)i, x, y);
        }
    }
    tensor_release(&out);
    for (int i = 0; i < 4; i++) tensor_release(&in[i]);
    graph_free(g);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) check_row(&rows[i]);
}

/* Which entry, if any, a node gets at an opset. */
static void test_bind(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        int opset, inputs;
        bool known;
    } cases[] = {
        { "Gelu", 19, 1, false }, { "Gelu", 20, 1, true }, { "Upsample", 9, 2, true }, { "Upsample", 10, 2, false },
            { "Slice", 9, 1, true },
        { "Slice", 9, 3, false }, { "Slice", 13, 3, true }, { "Slice", 13, 1, false }, { "Add", 13, 3, false }, { "Add", 6, 2, true },
        { "Add", 6, 1, false },
        { "Nonsense", 13, 1, false },
    };
    Graph *lacking = build_new(13);
    ValueId x = graph_add_value(lacking, STR("x"), DT_FLOAT, NULL), y = graph_add_value(lacking, STR("y"), DT_FLOAT, NULL);
    ValueId given[2] = { 0, x }; /* a required input left out */
    NodeId add = graph_add_node(lacking, "Add", "", STR("n"), given, 2, &y, 1);
    engine_bind(lacking);
    assert_null(graph_node(lacking, add)->op);
    graph_free(lacking);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Graph *g = build_new(cases[i].opset);
        Shape unknown = SHAPE_UNKNOWN;
        ValueId in = graph_add_value(g, STR("in"), DT_FLOAT, &unknown), out = graph_add_value(g, STR("out"), DT_FLOAT, &unknown);
        ValueId inputs[3] = { in, in, in };
        NodeId n = graph_add_node(g, cases[i].op, "", STR("n"), inputs, cases[i].inputs, &out, 1);
        engine_bind(g);
        if ((graph_node(g, n)->op != NULL) != cases[i].known)
            fail_msg("%s at %d with %d inputs", cases[i].op, cases[i].opset, cases[i].inputs);
        graph_free(g);
    }
}

/* Large enough to be cut into pieces for several threads: the same as element by element. */
static void test_large(void **state)
{
    (void)state;
    Graph *g = build_new(14);
    Err err;
    Shape shape = { .rank = 3, .dims = { 70, 40, 50 } }, narrow = { .rank = 2, .dims = { 40, 1 } }, unknown = SHAPE_UNKNOWN;
    Tensor a, b, out = { .type = DT_NONE };
    assert_ok(tensor_new(&a, DT_FLOAT, &shape, &err), &err);
    assert_ok(tensor_new(&b, DT_FLOAT, &narrow, &err), &err);
    for (int64_t i = 0; i < tensor_count(&a); i++) tensor_set(&a, i, build_noise(1, i));
    for (int64_t i = 0; i < tensor_count(&b); i++) tensor_set(&b, i, build_noise(2, i));
    ValueId ids[2] = { graph_add_value(g, STR("a"), DT_FLOAT, &shape), graph_add_value(g, STR("b"), DT_FLOAT, &narrow) };
    ValueId y = graph_add_value(g, STR("y"), DT_NONE, &unknown), z = graph_add_value(g, STR("z"), DT_NONE, &unknown);
    NodeId add = graph_add_node(g, "Mul", "", STR("mul"), ids, 2, &y, 1),
        turn = graph_add_node(g, "Transpose", "", STR("turn"), ids, 1, &z, 1);
    engine_bind(g);
    const Tensor *in[2] = { &a, &b };
    const bool wanted = true;
    OpCall call = { .graph = g, .node = graph_node(g, add), .opset = 14, .input_count = 2, .output_count = 1, .in = in, .out = &out,
                    .wanted = &wanted, .err = &err };
    assert_ok(call.node->op->forward(&call), &err);
    for (int64_t i = 0; i < tensor_count(&out); i++) assert_near(tensor_get(&out, i),
                                                                 (float)(tensor_get(&a, i) * tensor_get(&b, i / 50 % 40)), 0);
    tensor_release(&out);
    call.node = graph_node(g, turn);
    call.input_count = 1;
    assert_ok(call.node->op->forward(&call), &err);
    for (int64_t i = 0; i < tensor_count(&out); i++)
        assert_near(tensor_get(&out, i), tensor_get(&a, i % 70 * 2000 + i / 70 % 40 * 50 + i / 2800), 0);
    tensor_release(&out);
    tensor_release(&a);
    tensor_release(&b);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_bind), cmocka_unit_test(test_large) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
