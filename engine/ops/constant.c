/* Constant, ConstantOfShape, Identity, Dropout (inference), Cast, CastLike, Range, EyeLike. */
#include "engine/ops/common.h"
#include "engine/ops/short_float.h"

#include <math.h>

/* ---- Identity, Dropout ---- */

static Status forward_copy(OpCall *c)
{
    const Tensor *x = c->in[0];
    TRY(opcall_output(c, 0, x->type, &x->shape));
    if (x->bytes > 0) memcpy(c->out[0].data, x->data, x->bytes);
    return OK;
}

/* The mask has the type of the data up to opset 9, later it is bool; training is told by is_test 0 up to 6, by an input since 12. */
static Status infer_dropout(InferCall *c)
{
    TRY(infer_same(c));
    if (c->output_count > 1) c->out[1] = (TypeInfo){ c->opset < 10 ? c->in[0].type : DT_BOOL, c->in[0].shape };
    return OK;
}

static Status forward_dropout(OpCall *c)
{
    if (c->opset < 7 && node_int(c->node, "is_test", 0) == 0 && node_float(c->node, "ratio", 0.5F) != 0)
        return op_fail(c, ERR_UNSUPPORTED, "is_test 0 drops at random and cannot run: export the network for inference");
    if (c->input_count > 2 && c->in[2] != NULL && tensor_count(c->in[2]) == 1 && tensor_get_int(c->in[2], 0) != 0 &&
        (c->in[1] == NULL || tensor_count(c->in[1]) != 1 || tensor_get(c->in[1], 0) != 0))
        return op_fail(c, ERR_UNSUPPORTED, "training_mode true cannot run: export the network for inference");
    TRY(forward_copy(c));
    if (c->output_count < 2 || !c->wanted[1]) return OK;
    TRY(opcall_output(c, 1, c->opset < 10 ? c->in[0]->type : DT_BOOL, &c->in[0]->shape));
    int64_t count = tensor_count(&c->out[1]);
    for (int64_t i = 0; i < count; i++) tensor_set_int(&c->out[1], i, 1);
    return OK;
}

/* ---- Constant ---- */

/* Its tensor is one of: value, value_float, value_int, value_floats, value_ints. Strings and sparse tensors are unsupported. */
static Status constant_info(const Graph *g, const Node *n, Err *err, TypeInfo *info, const Attr **found)
{
    static const struct {
        const char *name;
        AttrType type;
        DType dtype;
        int rank;
    } forms[] = {
        { "value_float", ATTR_FLOAT, DT_FLOAT, 0 },
        { "value_floats", ATTR_FLOATS, DT_FLOAT, 1 },
        { "value_int", ATTR_INT, DT_INT64, 0 },
        { "value_ints", ATTR_INTS, DT_INT64, 1 },
    };
    const Attr *value = node_attr(n, "value");
    if (value != NULL && value->type == ATTR_TENSOR && value->tensor != NULL) {
        *info = (TypeInfo){ value->tensor->type, value->tensor->shape };
        *found = value;
        return OK;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const Attr *a = node_attr(n, forms[i].name);
        if (a == NULL || a->type != forms[i].type) continue;
        *info = (TypeInfo){ forms[i].dtype, { .rank = forms[i].rank, .dims = { a->count } } };
        *found = a;
        return OK;
    }
    return op_error(g, n, err, ERR_UNSUPPORTED, "its value is neither a dense tensor nor numbers");
}

static Status infer_constant(InferCall *c)
{
    const Attr *found;
    TRY(constant_info(c->graph, c->node, c->err, &c->out[0], &found));
    if (found->type == ATTR_TENSOR) ints_of_tensor(found->tensor, &c->out_ints[0]);
    if (found->type == ATTR_INT) c->out_ints[0] = (Ints){ .count = 1, .scalar = true, .at = { found->i } };
    if (found->type == ATTR_INTS && found->count <= MAX_INTS) {
        c->out_ints[0] = (Ints){ .count = (int)found->count };
        for (int64_t i = 0; i < found->count; i++) c->out_ints[0].at[i] = found->ints[i];
    }
    return OK;
}

static Status forward_constant(OpCall *c)
{
    const Attr *a;
    TypeInfo info;
    TRY(constant_info(c->graph, c->node, c->err, &info, &a));
    TRY(opcall_output(c, 0, info.type, &info.shape));
    Tensor *out = &c->out[0];
    if (a->type == ATTR_TENSOR && a->tensor->bytes > 0) memcpy(out->data, a->tensor->data, out->bytes);
    if (a->type == ATTR_FLOAT) memcpy(out->data, &a->f, sizeof a->f);
    if (a->type == ATTR_INT) memcpy(out->data, &a->i, sizeof a->i);
    if (a->type == ATTR_FLOATS && a->count > 0) memcpy(out->data, a->floats, (size_t)a->count * sizeof(float));
    if (a->type == ATTR_INTS && a->count > 0) memcpy(out->data, a->ints, (size_t)a->count * sizeof(int64_t));
    return OK;
}

/* ---- ConstantOfShape ---- */

/* Dimensions from integer contents. False when an entry is negative, or there are more than MAX_RANK. */
static bool shape_of_ints(const Ints *ints, Shape *shape)
{
    if (ints->count > MAX_RANK) return false;
    shape->rank = ints->count;
    for (int d = 0; d < ints->count; d++) {
        if (!ints->symbol[d] && ints->at[d] < 0) return false;
        shape->dims[d] = ints->at[d];
    }
    return true;
}

static Status infer_constant_of_shape(InferCall *c)
{
    const Attr *a = node_attr(c->node, "value");
    const Tensor *value = a != NULL && a->type == ATTR_TENSOR ? a->tensor : NULL;
    if (value != NULL && tensor_count(value) != 1) return op_fail(c, ERR_DATA, "its value must have one element");
    c->out[0].type = value != NULL ? value->type : DT_FLOAT;
    Shape *shape = &c->out[0].shape;
    if (c->ints[0].count >= 0) {
        if (!shape_of_ints(&c->ints[0], shape))
            return op_fail(c, ERR_DATA, "its input is no shape: a negative size or more than %d axes", MAX_RANK);
    } else if (c->in[0].shape.rank == 1 && c->in[0].shape.dims[0] >= 0 && c->in[0].shape.dims[0] <= MAX_RANK) {
        shape->rank = (int)c->in[0].shape.dims[0];
        for (int d = 0; d < shape->rank; d++) shape->dims[d] = DIM_UNKNOWN;
    }
    bool integer = value != NULL && (dtype_is_integer(value->type) || value->type == DT_BOOL);
    if (integer && shape->rank >= 0 && shape->rank <= 1) {
        int64_t count = shape->rank == 0 ? 1 : shape->dims[0];
        if (count < 0 || count > MAX_INTS) return OK;
        c->out_ints[0] = (Ints){ .count = (int)count, .scalar = shape->rank == 0 };
        for (int64_t i = 0; i < count; i++) c->out_ints[0].at[i] = tensor_get_int(value, 0);
    }
    return OK;
}

static Status forward_constant_of_shape(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "its input is no shape");
    const Attr *a = node_attr(c->node, "value");
    size_t size = dtype_size(out->type);
    if (a == NULL || a->type != ATTR_TENSOR || a->tensor == NULL || out->bytes == 0) {
        if (out->bytes > 0) memset(out->data, 0, out->bytes);
        return OK;
    }
    if (size == 0) return op_bad_type(c, out->type);
    const int64_t zeros[1] = { 0 }, one[1] = { 1 }, count[1] = { tensor_count(out) };
    int64_t value[2] = { 0, 0 }; /* aligned: the attribute may lie anywhere in the file */
    if (size > sizeof value) return op_bad_type(c, out->type);
    memcpy(value, a->tensor->data, size);
    copy_strided(size, 1, count, out->data, one, (const uint8_t *)value, zeros);
    return OK;
}

/* ---- Cast, CastLike ---- */

static Status infer_cast_to(InferCall *c, DType to)
{
    c->out[0] = (TypeInfo){ to, c->in[0].shape };
    /* whole numbers stay what they are on their way through a float or a wider integer */
    bool exact = to == DT_INT64 || to == DT_INT32 || to == DT_FLOAT || to == DT_DOUBLE;
    if (!exact || c->ints[0].count < 0) return OK;
    c->out_ints[0] = c->ints[0];
    for (int i = 0; i < c->ints[0].count; i++) {
        int64_t value = c->ints[0].at[i];
        bool fits = to == DT_FLOAT ? value > -16777216 && value < 16777216 : value > INT32_MIN && value < INT32_MAX;
        if (!c->ints[0].symbol[i] && !fits) c->out_ints[0].count = -1;
    }
    return OK;
}

/* Up to opset 5 the type is spelled out. */
static DType type_spelled(Str name)
{
    static const struct {
        const char *name;
        DType type;
    } names[] = {
        { "FLOAT", DT_FLOAT }, { "DOUBLE", DT_DOUBLE }, { "FLOAT16", DT_FLOAT16 }, { "BOOL", DT_BOOL }, { "INT8", DT_INT8 },
        { "INT16", DT_INT16 }, { "INT32", DT_INT32 }, { "INT64", DT_INT64 }, { "UINT8", DT_UINT8 }, { "UINT16", DT_UINT16 },
        { "UINT32", DT_UINT32 }, { "UINT64", DT_UINT64 },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i].name)) return names[i].type;
    return DT_NONE;
}

static DType cast_target(const Node *n)
{
    const Attr *a = node_attr(n, "to");
    if (a != NULL && a->type == ATTR_STRING) return type_spelled(node_string(n, "to", ""));
    int64_t to = node_int(n, "to", 0);
    return to > DT_NONE && to < DT_COUNT ? (DType)to : DT_NONE;
}

static Status infer_cast(InferCall *c)
{
    DType to = cast_target(c->node);
    if (to == DT_NONE) return op_fail(c, ERR_UNSUPPORTED, "attribute 'to' names no element type known here");
    return infer_cast_to(c, to);
}

static Status infer_cast_like(InferCall *c)
{
    return infer_cast_to(c, c->in[1].type);
}

/* Very short floats: what is too large becomes the largest number, or with saturate 0 an infinity or NaN. */
static Status convert_short(OpCall *c, DType to)
{
    const Tensor *x = c->in[0];
    bool saturate = node_int(c->node, "saturate", 1) != 0;
    Str mode = node_string(c->node, "round_mode", "up");
    TRY(opcall_output(c, 0, to, &x->shape));
    int64_t count = tensor_count(x);
    for (int64_t i = 0; i < count; i++) {
        double v = tensor_get(x, i);
        if (to != DT_FLOAT8E8M0) short_float_set(&c->out[0], i, v, saturate);
        else if (!power_set(&c->out[0], i, (float)v, saturate, mode)) return op_fail(c, ERR_DATA, "round_mode '%.*s'", STR_ARG(mode));
    }
    return OK;
}

static Status convert_into(OpCall *c, DType to)
{
    const Tensor *x = c->in[0];
    if (x->type == DT_STRING || to == DT_STRING) return op_bad_type(c, DT_STRING);
    if (x->type != to && (to == DT_FLOAT8E8M0 || short_float_max(to) > 0)) return convert_short(c, to);
    if (x->type == to) return forward_copy(c);
    Tensor result = { .type = DT_NONE };
    TRY(tensor_convert(x, to, &result, c->err));
    Status status = opcall_output(c, 0, to, &x->shape);
    if (status == OK && result.bytes > 0) memcpy(c->out[0].data, result.data, result.bytes);
    tensor_release(&result);
    return status;
}

static Status forward_cast(OpCall *c)
{
    DType to = cast_target(c->node);
    if (to == DT_NONE) return op_fail(c, ERR_UNSUPPORTED, "attribute 'to' names no element type known here");
    return convert_into(c, to);
}

static Status forward_cast_like(OpCall *c)
{
    return convert_into(c, c->in[1]->type);
}

/* ---- Range ---- */

/* n = max(ceil((limit - start) / delta), 0) */
static Status range_count(const InferCall *c, int64_t *count)
{
    const Tensor *const *t = c->constant;
    if (tensor_count(t[0]) != 1 || tensor_count(t[1]) != 1 || tensor_count(t[2]) != 1)
        return op_fail(c, ERR_DATA, "start, limit and delta must be scalars");
    double n;
    if (dtype_is_integer(t[0]->type)) {
        int64_t start = tensor_get_int(t[0], 0), limit = tensor_get_int(t[1], 0), delta = tensor_get_int(t[2], 0);
        if (delta == 0) return op_fail(c, ERR_DATA, "delta must not be 0");
        n = ceil(((double)limit - (double)start) / (double)delta);
    } else {
        double delta = tensor_get(t[2], 0);
        n = ceil((tensor_get(t[1], 0) - tensor_get(t[0], 0)) / delta);
        if (delta == 0 || isnan(n)) return op_fail(c, ERR_DATA, "start, limit and delta describe no range");
    }
    if (n > 1e15) return op_fail(c, ERR_DATA, "a range of %g entries is too long", n);
    *count = n > 0 ? (int64_t)n : 0;
    return OK;
}

static Status infer_range(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    c->out[0].shape = (Shape){ .rank = 1, .dims = { DIM_UNKNOWN } };
    const Ints *start = &c->ints[0], *limit = &c->ints[1], *delta = &c->ints[2];
    if (c->constant[0] != NULL && c->constant[1] != NULL && c->constant[2] != NULL) return range_count(c, &c->out[0].shape.dims[0]);
    bool counts = start->count == 1 && !start->symbol[0] && start->at[0] == 0 && delta->count == 1 && !delta->symbol[0] &&
        delta->at[0] == 1;
    if (counts && limit->count == 1 && limit->symbol[0]) c->out[0].shape.dims[0] = limit->at[0];
    return OK;
}

static Status forward_range(OpCall *c)
{
    OPCALL_HALF(c, forward_range);
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    int64_t count = tensor_count(out);
    const Tensor *start = c->in[0], *delta = c->in[2];
    if (dtype_is_integer(out->type)) {
        int64_t from = tensor_get_int(start, 0), step = tensor_get_int(delta, 0);
        for (int64_t i = 0; i < count; i++) tensor_set_int(out, i, (int64_t)((uint64_t)from + (uint64_t)i * (uint64_t)step));
        return OK;
    }
    double from = tensor_get(start, 0), step = tensor_get(delta, 0);
    for (int64_t i = 0; i < count; i++) tensor_set(out, i, from + (double)i * step);
    return OK;
}

/* ---- EyeLike ---- */

static Status infer_eye_like(InferCall *c)
{
    int64_t type = node_int(c->node, "dtype", c->in[0].type);
    if (c->in[0].shape.rank >= 0 && c->in[0].shape.rank != 2) return op_fail(c, ERR_DATA, "its input must have two axes");
    c->out[0] = (TypeInfo){ type > DT_NONE && type < DT_COUNT ? (DType)type : DT_NONE, c->in[0].shape };
    return OK;
}

static Status forward_eye_like(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    if (out->type == DT_NONE) return op_fail(c, ERR_UNSUPPORTED, "attribute 'dtype' names no element type known here");
    if (out->bytes > 0) memset(out->data, 0, out->bytes);
    int64_t k = node_int(c->node, "k", 0), rows = out->shape.dims[0], columns = out->shape.dims[1];
    for (int64_t row = 0; row < rows; row++) {
        int64_t column;
        if (add_i64(row, k, &column) && column >= 0 && column < columns) tensor_set_int(out, row * columns + column, 1);
    }
    return OK;
}

const Op ops_constant[] = {
    OP_ENTRY("Constant", 1, 0, 0, 0, 1, 1, OP_SHAPE_ONLY, infer_constant, forward_constant, cost_none),
    OP_ENTRY("ConstantOfShape", 9, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_constant_of_shape, forward_constant_of_shape, cost_none),
    OP_ENTRY("Identity", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY | OP_MONOTONE, infer_same, forward_copy, cost_none),
    OP_ENTRY("Dropout", 1, 6, 1, 1, 1, 2, OP_SHAPE_ONLY, infer_dropout, forward_dropout, cost_none),
    OP_ENTRY("Dropout", 7, 0, 1, 3, 1, 2, OP_SHAPE_ONLY, infer_dropout, forward_dropout, cost_none),
    OP_ENTRY("Cast", 1, 0, 1, 1, 1, 1, 0, infer_cast, forward_cast, NULL),
    OP_ENTRY("CastLike", 15, 0, 2, 2, 1, 1, 0, infer_cast_like, forward_cast_like, NULL),
    OP_ENTRY("Range", 11, 0, 3, 3, 1, 1, 0, infer_range, forward_range, NULL),
    OP_ENTRY("EyeLike", 9, 0, 1, 1, 1, 1, 0, infer_eye_like, forward_eye_like, NULL),
    OP_END,
};
