/* Pad and Tile: an input among what is put around it, or repeated. */
#include "engine/ops/common.h"

#include <stdlib.h>

/* ---- Pad ---- */

#define MAX_PAD ((int64_t)1 << 40)

/* pads as begin and end per axis of a tensor of `rank`. */
static Status pad_amounts(const Graph *g, const Node *n, Err *err, const int64_t *pads, int pad_count, const int64_t *axes, int axis_count,
                          bool axes_given, int rank, int64_t *begin, int64_t *end)
{
    int named = axes_given ? axis_count : rank;
    bool mask[MAX_RANK];
    if (pad_count != 2 * named) return op_error(g, n, err, ERR_DATA, "%d pads for %d axes; two each are needed", pad_count, named);
    if (axes_given) TRY(axes_mask(g, n, err, axes, axis_count, rank, mask));
    for (int d = 0; d < rank; d++) begin[d] = end[d] = 0;
    for (int i = 0; i < pad_count; i++) {
        if (pads[i] < -MAX_PAD || pads[i] > MAX_PAD) return op_error(g, n, err, ERR_DATA, "a pad of %lld", (long long)pads[i]);
    }
    for (int i = 0; i < named; i++) {
        int axis = i;
        if (axes_given) axis_fix(axes[i], rank, &axis);
        begin[axis] = pads[i];
        end[axis] = pads[named + i];
    }
    return OK;
}

/* The attribute of a form that has no input for its pads. */
static const char *pad_attribute(int opset)
{
    return opset >= 11 ? NULL : opset >= 2 ? "pads" : "paddings";
}

static Status infer_pad(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t pads[2 * MAX_RANK], axes[MAX_RANK], begin[MAX_RANK], end[MAX_RANK];
    int pad_count, axis_count;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0) return OK;
    Shape *out = &c->out[0].shape;
    *out = *x;
    ListState state = infer_list(c, c->opset >= 11 ? 1 : -1, pad_attribute(c->opset), pads, 2 * MAX_RANK, &pad_count);
    ListState named = infer_list(c, c->opset >= 18 ? 3 : -1, NULL, axes, MAX_RANK, &axis_count);
    if (state == LIST_ABSENT) return op_fail(c, ERR_DATA, "its pads are missing");
    if (state == LIST_UNKNOWN || named == LIST_UNKNOWN) {
        for (int d = 0; d < out->rank; d++) out->dims[d] = DIM_UNKNOWN;
        return OK;
    }
    TRY(pad_amounts(c->graph, c->node, c->err, pads, pad_count, axes, axis_count, named == LIST_KNOWN, x->rank, begin, end));
    for (int d = 0; d < x->rank; d++) {
        if (begin[d] == 0 && end[d] == 0) continue;
        int64_t size;
        out->dims[d] = DIM_UNKNOWN;
        if (x->dims[d] < 0) continue;
        if (!add_i64(x->dims[d], begin[d], &size) || !add_i64(size, end[d], &size) || size < 0)
            return op_fail(c, ERR_DATA, "pads %lld and %lld do not fit axis %d of size %lld", (long long)begin[d], (long long)end[d], d,
                           (long long)x->dims[d]);
        out->dims[d] = size;
    }
    return OK;
}

/* Fills with the constant, then copies what is left of the input. */
static void pad_constant(const Tensor *x, Tensor *out, const int64_t *begin, const uint8_t *value)
{
    size_t size = dtype_size(x->type);
    const int64_t count[1] = { tensor_count(out) }, one[1] = { 1 }, zero[1] = { 0 };
    copy_strided(size, 1, count, out->data, one, value, zero);
    int64_t to[MAX_RANK], from[MAX_RANK], dims[MAX_RANK], at_out = 0, at_in = 0;
    strides_of(&out->shape, to);
    strides_of(&x->shape, from);
    for (int d = 0; d < x->shape.rank; d++) {
        int64_t first = begin[d] > 0 ? begin[d] : 0, skip = begin[d] < 0 ? -begin[d] : 0;
        int64_t last = x->shape.dims[d] + begin[d] < out->shape.dims[d] ? x->shape.dims[d] + begin[d] : out->shape.dims[d];
        dims[d] = last - first;
        if (dims[d] <= 0) return;
        at_out += first * to[d];
        at_in += skip * from[d];
    }
    copy_strided(size, x->shape.rank, dims, out->data + at_out * (int64_t)size, to, x->data + at_in * (int64_t)size, from);
}

/* The input index that position `at` (may lie outside [0, size)) repeats. */
static int64_t pad_source(Str mode, int64_t at, int64_t size)
{
    if (at >= 0 && at < size) return at;
    if (str_is(mode, "edge") || size == 1) return at < 0 ? 0 : size - 1;
    int64_t period = str_is(mode, "wrap") ? size : 2 * (size - 1);
    int64_t phase = at % period;
    if (phase < 0) phase += period;
    return phase < size ? phase : period - phase;
}

/* Modes that repeat the input: a table of source offsets per axis, one element at a time. */
static Status pad_repeat(OpCall *c, const int64_t *begin, Str mode)
{
    const Tensor *x = c->in[0];
    Tensor *out = &c->out[0];
    size_t size = dtype_size(x->type), entries = 0;
    int64_t from[MAX_RANK], *offsets[MAX_RANK], at[MAX_RANK] = { 0 };
    int rank = x->shape.rank;
    strides_of(&x->shape, from);
    for (int d = 0; d < rank; d++) {
        entries += (size_t)out->shape.dims[d];
        if (x->shape.dims[d] == 0 && out->shape.dims[d] > 0) return op_fail(c, ERR_DATA, "axis %d is empty: there is nothing to repeat", d);
    }
    int64_t *table = alloc_array(entries + 1, sizeof *table);
    if (table == NULL) return err_no_memory(c->err, "padding");
    entries = 0;
    for (int d = 0; d < rank; d++) {
        offsets[d] = table + entries;
        for (int64_t i = 0; i < out->shape.dims[d]; i++) offsets[d][i] = pad_source(mode, i - begin[d], x->shape.dims[d]) * from[d];
        entries += (size_t)out->shape.dims[d];
    }
    int64_t count = tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t source = 0;
        for (int d = 0; d < rank; d++) source += offsets[d][at[d]];
        memcpy(out->data + (size_t)i * size, x->data + (size_t)source * size, size);
        for (int d = rank - 1; d >= 0 && ++at[d] == out->shape.dims[d]; d--) at[d] = 0;
    }
    free(table);
    return OK;
}

static Status forward_pad(OpCall *c)
{
    int64_t pads[2 * MAX_RANK], axes[MAX_RANK], begin[MAX_RANK], end[MAX_RANK];
    int pad_count, axis_count;
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    if (c->out[0].type == DT_NONE) return op_fail(c, ERR_DATA, "its pads or axes are no lists of integers");
    if (dtype_size(x->type) == 0) return op_bad_type(c, x->type);
    call_list(c, c->opset >= 11 ? 1 : -1, pad_attribute(c->opset), pads, 2 * MAX_RANK, &pad_count);
    ListState named = call_list(c, c->opset >= 18 ? 3 : -1, NULL, axes, MAX_RANK, &axis_count);
    TRY(pad_amounts(c->graph, c->node, c->err, pads, pad_count, axes, axis_count, named == LIST_KNOWN, x->shape.rank, begin, end));
    Str mode = node_string(c->node, "mode", "constant");
    if (str_is(mode, "reflect") || str_is(mode, "edge") || str_is(mode, "wrap")) return pad_repeat(c, begin, mode);
    if (!str_is(mode, "constant")) return op_fail(c, ERR_UNSUPPORTED, "mode '%.*s'", STR_ARG(mode));
    int64_t bytes[2] = { 0, 0 };
    Tensor value = { .type = x->type, .shape = { .rank = 0 }, .data = (uint8_t *)bytes, .bytes = dtype_size(x->type) };
    const Tensor *given = c->opset >= 11 && c->input_count > 2 ? c->in[2] : NULL;
    if (given != NULL && (given->type != x->type || tensor_count(given) != 1))
        return op_fail(c, ERR_DATA, "its pad value must be one %s", dtype_name(x->type));
    if (given != NULL) memcpy(bytes, given->data, value.bytes);
    else if (c->opset < 11) tensor_set(&value, 0, node_float(c->node, "value", 0));
    pad_constant(x, &c->out[0], begin, value.data);
    return OK;
}

/* ---- Tile: one axis up to opset 5, all of them since ---- */

/* A number of any type, for opset 1 gives it the input's own. */
static bool one_whole(const Tensor *t, int64_t *value)
{
    if (t == NULL || tensor_count(t) != 1 || (!dtype_is_integer(t->type) && !dtype_is_float(t->type))) return false;
    double v = tensor_get(t, 0);
    *value = v >= -9007199254740992.0 && v <= 9007199254740992.0 ? (int64_t)v : -1; /* 2^53 */
    return (double)*value == v;
}

/* Inputs tiles and axis of the oldest form as a list for all axes. */
static Status tile_axis(InferCall *c, int rank, int64_t *repeats, ListState *state)
{
    int64_t tiles, along;
    int axis;
    *state = LIST_UNKNOWN;
    if (c->constant[1] == NULL || c->constant[2] == NULL) return OK;
    if (!one_whole(c->constant[1], &tiles) || !one_whole(c->constant[2], &along) || !axis_fix(along, rank, &axis))
        return op_fail(c, ERR_DATA, "its tiles and axis must be one whole number each, the axis inside a tensor of rank %d", rank);
    for (int d = 0; d < rank; d++) repeats[d] = 1;
    repeats[axis] = tiles;
    *state = LIST_KNOWN;
    return OK;
}

static Status infer_tile(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t repeats[MAX_RANK];
    int count = x->rank;
    ListState state;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0) return OK;
    if (c->opset < 6) TRY(tile_axis(c, x->rank, repeats, &state));
    else state = infer_list(c, 1, NULL, repeats, MAX_RANK, &count);
    if (state == LIST_KNOWN && count != x->rank) return op_fail(c, ERR_DATA, "%d repeats for a tensor of rank %d", count, x->rank);
    c->out[0].shape = *x;
    for (int d = 0; d < x->rank; d++) {
        int64_t *dim = &c->out[0].shape.dims[d];
        if (state == LIST_KNOWN && repeats[d] == 1) continue;
        if (state != LIST_KNOWN || *dim < 0) *dim = DIM_UNKNOWN;
        else if (repeats[d] < 0 || !mul_i64(*dim, repeats[d], dim)) return op_fail(c, ERR_DATA, "%lld repeats of axis %d",
                                                                                   (long long)repeats[d], d);
    }
    return OK;
}

static Status forward_tile(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    Tensor *out = &c->out[0];
    size_t size = dtype_size(x->type);
    int rank = x->shape.rank;
    if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "its repeats are no list of integers");
    if (size == 0) return op_bad_type(c, x->type);
    if (tensor_count(out) == 0) return OK;
    int64_t from[MAX_RANK], to[MAX_RANK], dims[2 * MAX_RANK], from2[2 * MAX_RANK], to2[2 * MAX_RANK];
    strides_of(&x->shape, from);
    strides_of(&out->shape, to);
    for (int d = 0; d < rank; d++) {
        dims[2 * d] = out->shape.dims[d] / x->shape.dims[d];
        dims[2 * d + 1] = x->shape.dims[d];
        from2[2 * d] = 0;
        from2[2 * d + 1] = from[d];
        to2[2 * d] = to[d] * x->shape.dims[d];
        to2[2 * d + 1] = to[d];
    }
    copy_strided(size, 2 * rank, dims, out->data, to2, x->data, from2);
    return OK;
}

const Op ops_pad[] = {
    OP_ENTRY("Pad", 1, 0, 1, 4, 1, 1, OP_SHAPE_ONLY, infer_pad, forward_pad, cost_none),
    OP_ENTRY("Tile", 1, 5, 3, 3, 1, 1, OP_SHAPE_ONLY, infer_tile, forward_tile, cost_none),
    OP_ENTRY("Tile", 6, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_tile, forward_tile, cost_none),
    OP_END,
};
