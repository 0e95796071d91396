/* Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Expand, Transpose, DepthToSpace, SpaceToDepth. */
#include "engine/ops/common.h"

/* ---- Shape, Size ---- */

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static Status infer_shape_op(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    c->out[0] = (TypeInfo){ DT_INT64, { .rank = 1, .dims = { DIM_UNKNOWN } } };
    if (x->rank < 0) return OK;
    int64_t start = node_int(c->node, "start", 0), end = node_int(c->node, "end", x->rank);
    start = clamp(start < 0 ? start + x->rank : start, 0, x->rank);
    end = clamp(end < 0 ? end + x->rank : end, start, x->rank);
    Ints *ints = &c->out_ints[0];
    *ints = (Ints){ .count = (int)(end - start) };
    for (int i = 0; i < ints->count; i++) {
        ints->at[i] = x->dims[start + i];
        ints->symbol[i] = ints->at[i] < 0;
    }
    c->out[0].shape.dims[0] = ints->count;
    return OK;
}

static Status forward_shape_op(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Shape *x = &c->in[0]->shape;
    int64_t start = node_int(c->node, "start", 0), count = c->out[0].shape.dims[0];
    start = clamp(start < 0 ? start + x->rank : start, 0, x->rank);
    for (int64_t i = 0; i < count; i++) tensor_set_int(&c->out[0], i, x->dims[start + i]);
    return OK;
}

static Status infer_size(InferCall *c)
{
    int64_t count;
    c->out[0] = (TypeInfo){ DT_INT64, { .rank = 0 } };
    if (!shape_count(&c->in[0].shape, &count)) return OK;
    c->out_ints[0] = (Ints){ .count = 1, .scalar = true, .at = { count } };
    return OK;
}

static Status forward_size(OpCall *c)
{
    TRY(opcall_prepare(c));
    tensor_set_int(&c->out[0], 0, tensor_count(c->in[0]));
    return OK;
}

/* ---- Reshape and its kin: the same elements under another shape ---- */

static Status forward_reinterpret(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    const Tensor *x = c->in[0];
    if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "the shape it asks for cannot be told from its inputs");
    if (out->bytes != x->bytes) {
        char from[128], to[128];
        shape_print(&x->shape, from, sizeof from);
        shape_print(&out->shape, to, sizeof to);
        return op_fail(c, ERR_DATA, "%s cannot become %s: the number of elements differs", from, to);
    }
    if (x->bytes > 0) memcpy(out->data, x->data, x->bytes);
    return OK;
}

/* Whether entry i of the target is a dimension that takes part in the count: a size, a symbol, or copied from the input. */
static bool target_dim(const InferCall *c, const Ints *target, int i, bool zero_copies, int64_t *dim)
{
    const Shape *x = &c->in[0].shape;
    if (target->symbol[i]) {
        *dim = target->at[i];
        return *dim != DIM_UNKNOWN;
    }
    if (target->at[i] == -1) return false;
    *dim = target->at[i];
    if (*dim == 0 && zero_copies) *dim = x->rank > i ? x->dims[i] : DIM_UNKNOWN;
    return *dim != DIM_UNKNOWN;
}

/* The one open dimension: what is left of the input's elements after the others. Symbols on both sides cancel. */
static bool solve_open(const Shape *x, const Shape *out, int open, int64_t *dim)
{
    bool used[MAX_RANK] = { false };
    int64_t top = 1, bottom = 1, left = 0;
    int symbols_left = 0;
    for (int d = 0; d < out->rank; d++) {
        if (d == open) continue;
        if (out->dims[d] >= 0) {
            if (!mul_i64(bottom, out->dims[d], &bottom)) return false;
            continue;
        }
        int match = 0;
        while (match < x->rank && (used[match] || x->dims[match] != out->dims[d])) match++;
        if (match == x->rank) return false;
        used[match] = true;
    }
    for (int d = 0; d < x->rank; d++) {
        if (x->dims[d] >= 0) {
            if (!mul_i64(top, x->dims[d], &top)) return false;
        } else if (!used[d]) {
            left = x->dims[d];
            symbols_left++;
        }
    }
    if (bottom == 0 || top % bottom != 0) return false;
    if (symbols_left == 0) *dim = top / bottom;
    else if (symbols_left == 1 && top == bottom) *dim = left;
    else return false;
    return true;
}

static Status check_reshape(InferCall *c, const Shape *x, const Shape *out, int open)
{
    int64_t before, after;
    char from[128], to[128];
    if (!shape_count(x, &before)) return OK;
    if (open < 0 && (!shape_count(out, &after) || before == after)) return OK;
    if (open >= 0 && out->dims[open] != DIM_UNKNOWN) return OK;
    if (open >= 0) {
        Shape others = *out;
        others.dims[open] = 1;
        if (!shape_count(&others, &after) || (after != 0 && before % after == 0)) return OK;
    }
    shape_print(x, from, sizeof from);
    shape_print(out, to, sizeof to);
    return op_fail(c, ERR_DATA, "%s cannot become %s: the number of elements differs", from, to);
}

static Status reshape_to(InferCall *c, const Ints *target)
{
    const Shape *x = &c->in[0].shape;
    Shape *out = &c->out[0].shape;
    if (target->count < 0) {
        const Shape *s = &c->in[1].shape;
        if (s->rank != 1 || s->dims[0] < 0 || s->dims[0] > MAX_RANK) return OK;
        out->rank = (int)s->dims[0];
        for (int d = 0; d < out->rank; d++) out->dims[d] = DIM_UNKNOWN;
        return OK;
    }
    if (target->count > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "a shape of %d axes; at most %d", target->count, MAX_RANK);
    bool zero_copies = node_int(c->node, "allowzero", 0) == 0;
    int open = -1, open_count = 0, minus_ones = 0;
    out->rank = target->count;
    for (int i = 0; i < target->count; i++) {
        out->dims[i] = DIM_UNKNOWN;
        if (target_dim(c, target, i, zero_copies, &out->dims[i])) continue;
        minus_ones += !target->symbol[i] && target->at[i] == -1;
        if (!target->symbol[i] && (target->at[i] < -1 || minus_ones > 1))
            return op_fail(c, ERR_DATA, "the shape it asks for holds %lld at %d; one -1 at most is allowed", (long long)target->at[i], i);
        if (!target->symbol[i] && target->at[i] == 0 && zero_copies && x->rank >= 0 && i >= x->rank)
            return op_fail(c, ERR_DATA, "the shape it asks for copies axis %d of an input of rank %d", i, x->rank);
        open = i;
        open_count++;
    }
    if (x->rank < 0) return OK;
    if (open_count == 1 && !solve_open(x, out, open, &out->dims[open])) out->dims[open] = DIM_UNKNOWN;
    if (out->rank <= 1) {
        c->out_ints[0] = c->ints[0];
        c->out_ints[0].scalar = out->rank == 0;
    }
    return open_count <= 1 ? check_reshape(c, x, out, open) : OK;
}

/* The shape is an input; up to opset 4 an attribute. */
static Status infer_reshape(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    if (c->input_count > 1) return reshape_to(c, &c->ints[1]);
    Ints target;
    if (infer_list(c, -1, "shape", target.at, MAX_INTS, &target.count) != LIST_KNOWN) return op_fail(c, ERR_DATA, "its shape is missing");
    memset(target.symbol, 0, sizeof target.symbol);
    return reshape_to(c, &target);
}

static Status infer_flatten(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    c->out[0] = (TypeInfo){ c->in[0].type, { .rank = 2, .dims = { DIM_UNKNOWN, DIM_UNKNOWN } } };
    if (x->rank < 0) return OK;
    int64_t axis = node_int(c->node, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return op_fail(c, ERR_DATA, "axis %lld is outside a tensor of rank %d", (long long)axis, x->rank);
    if (axis < 0) axis += x->rank;
    for (int side = 0; side < 2; side++) {
        int from = side == 0 ? 0 : (int)axis, to = side == 0 ? (int)axis : x->rank;
        int64_t size = 1;
        int64_t *dim = &c->out[0].shape.dims[side];
        *dim = 1;
        for (int d = from; d < to; d++) {
            if (x->dims[d] < 0) *dim = *dim == 1 && size == 1 ? x->dims[d] : DIM_UNKNOWN;
            else if (!mul_i64(size, x->dims[d], &size)) return op_fail(c, ERR_DATA, "its size overflows");
        }
        if (*dim >= 0) *dim = size;
        else if (size != 1) *dim = DIM_UNKNOWN;
    }
    return OK;
}

/* ---- Squeeze, Unsqueeze ---- */

static Status infer_squeeze(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    Shape *out = &c->out[0].shape;
    int64_t axes[MAX_RANK];
    bool mask[MAX_RANK];
    int count;
    c->out[0].type = c->in[0].type;
    ListState state = infer_list(c, 1, "axes", axes, MAX_RANK, &count);
    if (c->ints[0].count == 1) {
        c->out_ints[0] = c->ints[0];
        c->out_ints[0].scalar = true;
    }
    if (x->rank < 0 || state == LIST_UNKNOWN) return OK;
    if (state == LIST_KNOWN) TRY(axes_mask(c->graph, c->node, c->err, axes, count, x->rank, mask));
    Shape result = { .rank = 0 };
    for (int d = 0; d < x->rank; d++) {
        if (state == LIST_ABSENT && x->dims[d] < 0) return OK; /* may be one or not */
        bool drop = state == LIST_KNOWN ? mask[d] : x->dims[d] == 1;
        if (drop && x->dims[d] >= 0 && x->dims[d] != 1)
            return op_fail(c, ERR_DATA, "axis %d has size %lld; only axes of size 1 can be squeezed", d, (long long)x->dims[d]);
        if (!drop) result.dims[result.rank++] = x->dims[d];
    }
    *out = result;
    if (result.rank != 0) c->out_ints[0] = c->ints[0];
    return OK;
}

static Status infer_unsqueeze(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t axes[MAX_RANK];
    bool mask[MAX_RANK];
    int count;
    c->out[0].type = c->in[0].type;
    if (infer_list(c, 1, "axes", axes, MAX_RANK, &count) != LIST_KNOWN || x->rank < 0) return OK;
    int rank = x->rank + count;
    if (rank > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "a shape of %d axes; at most %d", rank, MAX_RANK);
    TRY(axes_mask(c->graph, c->node, c->err, axes, count, rank, mask));
    Shape *out = &c->out[0].shape;
    out->rank = rank;
    for (int d = 0, from = 0; d < rank; d++) out->dims[d] = mask[d] ? 1 : x->dims[from++];
    if (rank == 1 && c->ints[0].count == 1) {
        c->out_ints[0] = c->ints[0];
        c->out_ints[0].scalar = false;
    }
    return OK;
}

/* ---- Expand ---- */

static Status infer_expand(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    const Ints *target = &c->ints[1];
    c->out[0].type = c->in[0].type;
    Shape shape = SHAPE_UNKNOWN;
    if (target->count >= 0) {
        if (target->count > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "a shape of %d axes; at most %d", target->count, MAX_RANK);
        shape.rank = target->count;
        for (int d = 0; d < shape.rank; d++) {
            shape.dims[d] = target->at[d];
            if (!target->symbol[d] && target->at[d] < 0)
                return op_fail(c, ERR_DATA, "its shape input holds %lld", (long long)target->at[d]);
        }
    } else if (c->in[1].shape.rank == 1 && c->in[1].shape.dims[0] >= 0 && c->in[1].shape.dims[0] <= MAX_RANK) {
        shape.rank = (int)c->in[1].shape.dims[0];
        for (int d = 0; d < shape.rank; d++) shape.dims[d] = DIM_UNKNOWN;
    }
    if (shape_broadcast(x, &shape, &c->out[0].shape)) {
        if (c->out[0].shape.rank <= 1 && c->out[0].shape.rank == x->rank && shape_eq(x, &c->out[0].shape)) c->out_ints[0] = c->ints[0];
        return OK;
    }
    char from[128], to[128];
    shape_print(x, from, sizeof from);
    shape_print(&shape, to, sizeof to);
    return op_fail(c, ERR_DATA, "shape %s does not expand to %s", from, to);
}

static Status forward_expand(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    size_t size = dtype_size(c->in[0]->type);
    if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "its shape input is no list of sizes");
    if (size == 0) return op_bad_type(c, c->in[0]->type);
    int64_t to[MAX_RANK], from[MAX_RANK];
    strides_of(&out->shape, to);
    strides_broadcast(&c->in[0]->shape, &out->shape, from);
    copy_strided(size, out->shape.rank, out->shape.dims, out->data, to, c->in[0]->data, from);
    return OK;
}

/* ---- Transpose ---- */

/* perm, or the axes reversed; false when it is no permutation of the rank. */
static bool permutation(const Node *n, int rank, int *perm)
{
    int64_t count;
    const int64_t *given = node_ints(n, "perm", &count);
    bool seen[MAX_RANK] = { false };
    if (given == NULL) {
        for (int d = 0; d < rank; d++) perm[d] = rank - 1 - d;
        return true;
    }
    if (count != rank) return false;
    for (int d = 0; d < rank; d++) {
        if (given[d] < 0 || given[d] >= rank || seen[given[d]]) return false;
        seen[given[d]] = true;
        perm[d] = (int)given[d];
    }
    return true;
}

static Status infer_transpose(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int perm[MAX_RANK];
    c->out[0].type = c->in[0].type;
    if (x->rank < 0) return OK;
    if (!permutation(c->node, x->rank, perm)) return op_fail(c, ERR_DATA, "perm is no permutation of the %d axes", x->rank);
    c->out[0].shape.rank = x->rank;
    for (int d = 0; d < x->rank; d++) c->out[0].shape.dims[d] = x->dims[perm[d]];
    if (x->rank <= 1) c->out_ints[0] = c->ints[0];
    return OK;
}

static Status forward_transpose(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    Tensor *out = &c->out[0];
    int perm[MAX_RANK];
    int64_t to[MAX_RANK], own[MAX_RANK], from[MAX_RANK];
    if (!permutation(c->node, x->shape.rank, perm)) return op_fail(c, ERR_DATA, "perm is no permutation");
    strides_of(&out->shape, to);
    strides_of(&x->shape, own);
    for (int d = 0; d < x->shape.rank; d++) from[d] = own[perm[d]];
    size_t size = dtype_size(x->type);
    if (size > 0) {
        copy_strided(size, x->shape.rank, out->shape.dims, out->data, to, x->data, from);
        return OK;
    }
    if (x->type == DT_STRING) return op_bad_type(c, x->type);
    int64_t count = tensor_count(x);
    for (int64_t i = 0; i < count; i++) { /* packed: element by element */
        int64_t at = 0;
        for (int d = 0; d < x->shape.rank; d++) at += i / to[d] % out->shape.dims[d] * from[d];
        tensor_set_int(out, i, tensor_get_int(x, at));
    }
    return OK;
}

/* ---- DepthToSpace, SpaceToDepth ---- */

static Status block_of(const Graph *g, const Node *n, Err *err, int64_t *block)
{
    *block = node_int(n, "blocksize", 0);
    if (*block < 1 || *block > INT32_MAX) return op_error(g, n, err, ERR_DATA, "blocksize %lld must be at least 1", (long long)*block);
    return OK;
}

/* [N,C,H,W] with C divided by b*b and H, W multiplied by b; `deeper` the other way. */
static Status infer_blocks(InferCall *c, bool deeper)
{
    const Shape *x = &c->in[0].shape;
    int64_t b;
    c->out[0].type = c->in[0].type;
    TRY(block_of(c->graph, c->node, c->err, &b));
    if (x->rank < 0) return OK;
    if (x->rank != 4) return op_fail(c, ERR_DATA, "its input has %d axes, it needs [N,C,H,W]", x->rank);
    Shape *out = &c->out[0].shape;
    *out = *x;
    for (int d = 1; d < 4; d++) {
        int64_t factor = d == 1 ? b * b : b;
        bool divide = (d == 1) != deeper;
        if (x->dims[d] < 0) {
            out->dims[d] = DIM_UNKNOWN;
        } else if (divide) {
            if (x->dims[d] % factor != 0)
                return op_fail(c, ERR_DATA, "axis %d of size %lld is not a multiple of %lld", d, (long long)x->dims[d], (long long)factor);
            out->dims[d] = x->dims[d] / factor;
        } else if (!mul_i64(x->dims[d], factor, &out->dims[d])) {
            return op_fail(c, ERR_DATA, "its size overflows");
        }
    }
    return OK;
}

static Status infer_depth_to_space(InferCall *c)
{
    return infer_blocks(c, false);
}

static Status infer_space_to_depth(InferCall *c)
{
    return infer_blocks(c, true);
}

/* Both move elements between [N, C, H*b, W*b] and [N, C*b*b, H, W]; walked as (n, c, bh, bw, h, w). DCR: channel = (bh*b + bw)*C + c;
 * CRD: channel = c*b*b + bh*b + bw. */
static Status move_blocks(OpCall *c, const Tensor *deep, bool deeper)
{
    int64_t b;
    TRY(block_of(c->graph, c->node, c->err, &b));
    size_t size = dtype_size(deep->type);
    if (size == 0) return op_bad_type(c, deep->type);
    int64_t n = deep->shape.dims[0], h = deep->shape.dims[2], w = deep->shape.dims[3], channels = deep->shape.dims[1] / (b * b);
    bool crd = str_is(node_string(c->node, "mode", "DCR"), "CRD");
    int64_t plane = h * w, per_c = crd ? b * b * plane : plane, per_bw = crd ? plane : channels * plane;
    const int64_t dims[6] = { n, channels, b, b, h, w };
    const int64_t deep_strides[6] = { channels * b * b * plane, per_c, b * per_bw, per_bw, w, 1 };
    const int64_t wide_strides[6] = { channels * b * b * plane, b * b * plane, w * b, 1, w * b * b, b };
    if (deeper) copy_strided(size, 6, dims, c->out[0].data, deep_strides, c->in[0]->data, wide_strides);
    else copy_strided(size, 6, dims, c->out[0].data, wide_strides, c->in[0]->data, deep_strides);
    return OK;
}

static Status forward_depth_to_space(OpCall *c)
{
    TRY(opcall_prepare(c));
    return move_blocks(c, c->in[0], false);
}

static Status forward_space_to_depth(OpCall *c)
{
    TRY(opcall_prepare(c));
    return move_blocks(c, &c->out[0], true);
}

const Op ops_shape[] = {
    OP_ENTRY("Shape", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_shape_op, forward_shape_op, cost_none),
    OP_ENTRY("Size", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_size, forward_size, cost_none),
    OP_ENTRY("Reshape", 1, 4, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_reshape, forward_reinterpret, cost_none),
    OP_ENTRY("Reshape", 5, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_reshape, forward_reinterpret, cost_none),
    OP_ENTRY("Flatten", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_flatten, forward_reinterpret, cost_none),
    OP_ENTRY("Squeeze", 1, 0, 1, 2, 1, 1, OP_SHAPE_ONLY, infer_squeeze, forward_reinterpret, cost_none),
    OP_ENTRY("Unsqueeze", 1, 0, 1, 2, 1, 1, OP_SHAPE_ONLY, infer_unsqueeze, forward_reinterpret, cost_none),
    OP_ENTRY("Expand", 8, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_expand, forward_expand, cost_none),
    OP_ENTRY("Transpose", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_transpose, forward_transpose, cost_none),
    OP_ENTRY("DepthToSpace", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_depth_to_space, forward_depth_to_space, cost_none),
    OP_ENTRY("SpaceToDepth", 1, 0, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_space_to_depth, forward_space_to_depth, cost_none),
    OP_END,
};
