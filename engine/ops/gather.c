/* Gather, GatherElements, GatherND, Scatter, ScatterElements, ScatterND, OneHot, NonZero, Compress, ReverseSequence. */
#include "engine/ops/common.h"

#include <stdlib.h>

/* ---- indices ---- */

/* Reads int32 or int64 indices into [0, size). */
static Status indices_read(const OpCall *c, const Tensor *t, int64_t size, int64_t *out)
{
    int64_t count = tensor_count(t);
    if (t->type != DT_INT64 && t->type != DT_INT32) return op_bad_type(c, t->type);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = tensor_get_int(t, i);
        if (at < -size || at >= size)
            return op_fail(c, ERR_DATA, "index %lld is outside an axis of size %lld", (long long)at, (long long)size);
        out[i] = at < 0 ? at + size : at;
    }
    return OK;
}

/* ---- Gather ---- */

static Status infer_gather(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *indices = &c->in[1].shape;
    int axis;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0 || indices->rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", 0), x->rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    Shape *out = &c->out[0].shape;
    if (x->rank + indices->rank - 1 > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "its result would have more than %d axes", MAX_RANK);
    out->rank = 0;
    for (int d = 0; d < axis; d++) out->dims[out->rank++] = x->dims[d];
    for (int d = 0; d < indices->rank; d++) out->dims[out->rank++] = indices->dims[d];
    for (int d = axis + 1; d < x->rank; d++) out->dims[out->rank++] = x->dims[d];
    const Ints *from = &c->ints[0], *at = &c->ints[1];
    if (from->count < 0 || x->rank != 1 || at->count < 0) return OK;
    Ints *ints = &c->out_ints[0];
    ints->scalar = at->scalar;
    for (int i = 0; i < at->count; i++) {
        int64_t k = at->at[i] < 0 ? at->at[i] + from->count : at->at[i];
        if (at->symbol[i]) return OK;
        if (k < 0 || k >= from->count)
            return op_fail(c, ERR_DATA, "index %lld is outside an axis of size %d", (long long)at->at[i], from->count);
        ints->at[i] = from->at[k];
        ints->symbol[i] = from->symbol[k];
    }
    ints->count = at->count;
    return OK;
}

static Status forward_gather(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *t = c->in[1];
    size_t size = dtype_size(x->type);
    int axis;
    if (size == 0) return op_bad_type(c, x->type);
    if (!axis_fix(node_int(c->node, "axis", 0), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t count = tensor_count(t), limit = x->shape.dims[axis];
    int64_t outer = shape_span(&x->shape, 0, axis);
    size_t block = size * (size_t)shape_span(&x->shape, axis + 1, x->shape.rank);
    int64_t few[256], *many = count > 256 ? alloc_array((size_t)count, sizeof *many) : NULL, *indices = many != NULL ? many : few;
    if (count > 256 && many == NULL) return err_no_memory(c->err, "indices");
    Status status = indices_read(c, t, limit, indices);
    bool words = size == 4 && block == 4 && tensor_is_aligned(x); /* one element at a time */
    for (int64_t o = 0; status == OK && words && o < outer; o++) {
        const uint32_t *from = (const uint32_t *)(const void *)x->data + o * limit;
        uint32_t *to = (uint32_t *)(void *)c->out[0].data + o * count;
        for (int64_t i = 0; i < count; i++) to[i] = from[indices[i]];
    }
    for (int64_t o = 0; status == OK && !words && block > 0 && o < outer; o++) {
        const uint8_t *from = x->data + (size_t)(o * limit) * block;
        uint8_t *to = c->out[0].data + (size_t)(o * count) * block;
        for (int64_t i = 0; i < count; i++) memcpy(to + (size_t)i * block, from + (size_t)indices[i] * block, block);
    }
    free(many);
    return status;
}

/* ---- GatherElements ---- */

static Status infer_gather_elements(InferCall *c)
{
    c->out[0] = (TypeInfo){ c->in[0].type, c->in[1].shape };
    if (c->in[0].shape.rank >= 0 && c->in[1].shape.rank >= 0 && c->in[0].shape.rank != c->in[1].shape.rank)
        return op_fail(c, ERR_DATA, "data has rank %d, indices %d", c->in[0].shape.rank, c->in[1].shape.rank);
    return OK;
}

/* Where each element of `indices` lies in `data`: its own position, with the entry along `axis` replaced by the index. */
static Status element_offsets(const OpCall *c, const Tensor *data, const Tensor *indices, int axis, int64_t *offsets)
{
    int64_t strides[MAX_RANK], at[MAX_RANK] = { 0 }, count = tensor_count(indices);
    int rank = data->shape.rank;
    for (int d = 0; d < rank; d++) {
        if (d != axis && indices->shape.dims[d] > data->shape.dims[d])
            return op_fail(c, ERR_DATA, "axis %d of the indices is longer than that of the data", d);
    }
    strides_of(&data->shape, strides);
    TRY(indices_read(c, indices, data->shape.dims[axis], offsets));
    for (int64_t i = 0; i < count; i++) {
        offsets[i] *= strides[axis];
        for (int d = 0; d < rank; d++) {
            if (d != axis) offsets[i] += at[d] * strides[d];
        }
        for (int d = rank - 1; d >= 0 && ++at[d] == indices->shape.dims[d]; d--) at[d] = 0;
    }
    return OK;
}

static Status forward_gather_elements(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *t = c->in[1];
    size_t size = dtype_size(x->type);
    int axis;
    if (size == 0) return op_bad_type(c, x->type);
    if (!axis_fix(node_int(c->node, "axis", 0), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t count = tensor_count(t);
    int64_t *offsets = alloc_array((size_t)count + 1, sizeof *offsets);
    if (offsets == NULL) return err_no_memory(c->err, "indices");
    Status status = element_offsets(c, x, t, axis, offsets);
    for (int64_t i = 0; status == OK && i < count; i++)
        memcpy(c->out[0].data + (size_t)i * size, x->data + (size_t)offsets[i] * size, size);
    free(offsets);
    return status;
}

/* ---- GatherND, ScatterND ---- */

/* Offsets (in elements of data) of the slices that the tuples along the last axis of `indices` name. */
static Status tuple_offsets(const OpCall *c, const Shape *data, int first_axis, const Tensor *indices, int64_t tuples, int64_t per_batch,
                            int64_t batch_step, int64_t *offsets)
{
    int width = (int)indices->shape.dims[indices->shape.rank - 1];
    int64_t strides[MAX_RANK];
    strides_of(data, strides);
    if (indices->type != DT_INT64 && indices->type != DT_INT32) return op_bad_type(c, indices->type);
    const int64_t *wide = (const int64_t *)(const void *)indices->data;
    const int32_t *narrow = (const int32_t *)(const void *)indices->data;
    bool is_wide = indices->type == DT_INT64;
    for (int64_t i = 0; i < tuples; i++) {
        offsets[i] = batch_step != 0 ? i / per_batch * batch_step : 0;
        for (int k = 0; k < width; k++) {
            int64_t at = is_wide ? wide[i * width + k] : narrow[i * width + k], limit = data->dims[first_axis + k];
            if (at < -limit || at >= limit)
                return op_fail(c, ERR_DATA, "index %lld is outside an axis of size %lld", (long long)at, (long long)limit);
            offsets[i] += (at < 0 ? at + limit : at) * strides[first_axis + k];
        }
    }
    return OK;
}

static Status infer_gather_nd(InferCall *c)
{
    const Shape *x = &c->in[0].shape, *indices = &c->in[1].shape;
    int64_t batch = node_int(c->node, "batch_dims", 0);
    c->out[0].type = c->in[0].type;
    if (x->rank < 0 || indices->rank < 0) return OK;
    if (indices->rank < 1 || batch < 0 || batch >= indices->rank || batch >= x->rank)
        return op_fail(c, ERR_DATA, "batch_dims %lld does not fit ranks %d and %d", (long long)batch, x->rank, indices->rank);
    int64_t width = indices->dims[indices->rank - 1];
    if (width < 0) return OK;
    if (width < 1 || width > x->rank - batch || indices->rank - 1 + x->rank - batch - width > MAX_RANK)
        return op_fail(c, ERR_DATA, "tuples of %lld indices do not fit data of rank %d", (long long)width, x->rank);
    for (int d = 0; d < batch; d++) {
        if (x->dims[d] >= 0 && indices->dims[d] >= 0 && x->dims[d] != indices->dims[d])
            return op_fail(c, ERR_DATA, "batch axis %d differs between data and indices", d);
    }
    Shape *out = &c->out[0].shape;
    out->rank = 0;
    for (int d = 0; d < indices->rank - 1; d++) out->dims[out->rank++] = indices->dims[d];
    for (int d = (int)(batch + width); d < x->rank; d++) out->dims[out->rank++] = x->dims[d];
    return OK;
}

static Status forward_gather_nd(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *t = c->in[1];
    int batch = (int)node_int(c->node, "batch_dims", 0), width = (int)t->shape.dims[t->shape.rank - 1];
    size_t size = dtype_size(x->type);
    if (size == 0) return op_bad_type(c, x->type);
    if (tensor_count(&c->out[0]) == 0) return OK;
    int64_t tuples = shape_span(&t->shape, 0, t->shape.rank - 1), batches = shape_span(&x->shape, 0, batch);
    size_t block = size * (size_t)shape_span(&x->shape, batch + width, x->shape.rank);
    int64_t *offsets = alloc_array((size_t)tuples + 1, sizeof *offsets);
    if (offsets == NULL) return err_no_memory(c->err, "indices");
    Status status = tuple_offsets(c, &x->shape, batch, t, tuples, tuples / batches, shape_span(&x->shape, batch, x->shape.rank), offsets);
    for (int64_t i = 0; status == OK && i < tuples; i++)
        memcpy(c->out[0].data + (size_t)i * block, x->data + (size_t)offsets[i] * size, block);
    free(offsets);
    return status;
}

/* ---- reductions of the scatter family ---- */

typedef enum Reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN } Reduction;

static bool reduction_of(const Node *n, Reduction *out)
{
    static const char *const names[] = { "none", "add", "mul", "max", "min" };
    Str name = node_string(n, "reduction", "none");
    for (int i = 0; i < 5; i++) {
        if (str_is(name, names[i])) {
            *out = (Reduction)i;
            return true;
        }
    }
    return false;
}

static void reduce_int(Tensor *to, int64_t at, int64_t update, Reduction r)
{
    int64_t old = tensor_get_int(to, at), result = update;
    bool less = to->type == DT_UINT64 ? (uint64_t)update < (uint64_t)old : update < old;
    if (r == REDUCE_ADD) result = (int64_t)((uint64_t)old + (uint64_t)update);
    if (r == REDUCE_MUL) result = (int64_t)((uint64_t)old * (uint64_t)update);
    if (r == REDUCE_MAX) result = less ? old : update;
    if (r == REDUCE_MIN) result = less ? update : old;
    tensor_set_int(to, at, result);
}

static void reduce_float(Tensor *to, int64_t at, double update, Reduction r)
{
    double old = tensor_get(to, at), result = update;
    if (r == REDUCE_ADD) result = old + update;
    if (r == REDUCE_MUL) result = old * update;
    if (r == REDUCE_MAX) result = old > update ? old : update;
    if (r == REDUCE_MIN) result = old < update ? old : update;
    tensor_set(to, at, result);
}

/* Combines `count` elements of `updates` from `from` into `to` at `at`. */
static void scatter_block(Tensor *to, int64_t at, const Tensor *updates, int64_t from, int64_t count, Reduction r)
{
    size_t size = dtype_size(to->type);
    if (r == REDUCE_NONE) {
        if (count > 0) memcpy(to->data + (size_t)at * size, updates->data + (size_t)from * size, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (dtype_is_float(to->type)) reduce_float(to, at + i, tensor_get(updates, from + i), r);
        else reduce_int(to, at + i, tensor_get_int(updates, from + i), r);
    }
}

/* Output: a copy of the data, and the checks all scatters share. */
static Status scatter_start(OpCall *c, Reduction *r)
{
    const Tensor *x = c->in[0];
    if (dtype_size(x->type) == 0) return op_bad_type(c, x->type);
    if (c->in[2]->type != x->type)
        return op_fail(c, ERR_DATA, "data is %s, updates are %s", dtype_name(x->type), dtype_name(c->in[2]->type));
    if (!reduction_of(c->node, r)) return op_fail(c, ERR_UNSUPPORTED, "its reduction is not none, add, mul, max or min");
    TRY(opcall_prepare(c));
    if (x->bytes > 0) memcpy(c->out[0].data, x->data, x->bytes);
    return OK;
}

static Status infer_scatter(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

static Status forward_scatter_elements(OpCall *c)
{
    Reduction r;
    int axis;
    TRY(scatter_start(c, &r));
    const Tensor *x = c->in[0], *t = c->in[1];
    if (x->shape.rank != t->shape.rank || !shape_eq(&t->shape, &c->in[2]->shape))
        return op_fail(c, ERR_DATA, "the shapes of data, indices and updates do not fit");
    if (!axis_fix(node_int(c->node, "axis", 0), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t count = tensor_count(t);
    int64_t *offsets = alloc_array((size_t)count + 1, sizeof *offsets);
    if (offsets == NULL) return err_no_memory(c->err, "indices");
    Status status = element_offsets(c, x, t, axis, offsets);
    for (int64_t i = 0; status == OK && i < count; i++) scatter_block(&c->out[0], offsets[i], c->in[2], i, 1, r);
    free(offsets);
    return status;
}

static Status forward_scatter_nd(OpCall *c)
{
    Reduction r;
    TRY(scatter_start(c, &r));
    const Tensor *x = c->in[0], *t = c->in[1], *updates = c->in[2];
    int64_t width = t->shape.rank > 0 ? t->shape.dims[t->shape.rank - 1] : 0;
    if (width < 1 || width > x->shape.rank)
        return op_fail(c, ERR_DATA, "tuples of %lld indices do not fit data of rank %d", (long long)width, x->shape.rank);
    int64_t tuples = shape_span(&t->shape, 0, t->shape.rank - 1), block = shape_span(&x->shape, (int)width, x->shape.rank);
    int64_t total;
    if (!mul_i64(tuples, block, &total) || total != tensor_count(updates))
        return op_fail(c, ERR_DATA, "the updates do not have the size the indices ask for");
    if (total == 0) return OK;
    int64_t *offsets = alloc_array((size_t)tuples + 1, sizeof *offsets);
    if (offsets == NULL) return err_no_memory(c->err, "indices");
    Status status = tuple_offsets(c, &x->shape, 0, t, tuples, tuples, 0, offsets);
    bool words = r == REDUCE_NONE && block == 1 && dtype_size(x->type) == 4; /* one element at a time */
    const uint32_t *from = (const uint32_t *)(const void *)updates->data;
    uint32_t *to = (uint32_t *)(void *)c->out[0].data;
    for (int64_t i = 0; status == OK && words && i < tuples; i++) to[offsets[i]] = from[i];
    for (int64_t i = 0; status == OK && !words && i < tuples; i++)
        scatter_block(&c->out[0], offsets[i], updates, i * block, block, r);
    free(offsets);
    return status;
}

/* ---- OneHot ---- */

static Status infer_one_hot(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t depth[1];
    int count, axis;
    c->out[0].type = c->in[2].type;
    if (x->rank < 0) return OK;
    if (x->rank == MAX_RANK || !axis_fix(node_int(c->node, "axis", -1), x->rank + 1, &axis))
        return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank + 1);
    Shape *out = &c->out[0].shape;
    out->rank = x->rank + 1;
    for (int d = 0; d < out->rank; d++) out->dims[d] = d == axis ? DIM_UNKNOWN : x->dims[d < axis ? d : d - 1];
    if (infer_list(c, 1, NULL, depth, 1, &count) == LIST_KNOWN && count == 1) out->dims[axis] = depth[0];
    else if (c->constant[1] != NULL && tensor_count(c->constant[1]) == 1) out->dims[axis] = tensor_get_int(c->constant[1], 0);
    if (out->dims[axis] < -1) return op_fail(c, ERR_DATA, "a depth of %lld", (long long)out->dims[axis]);
    return OK;
}

static Status forward_one_hot(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    const Tensor *x = c->in[0], *values = c->in[2];
    size_t size = dtype_size(values->type);
    int axis;
    if (size == 0) return op_bad_type(c, values->type);
    if (out->type == DT_NONE || tensor_count(values) != 2) return op_fail(c, ERR_DATA, "it needs one depth and two values");
    if (!axis_fix(node_int(c->node, "axis", -1), out->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t depth = out->shape.dims[axis], inner = shape_span(&out->shape, axis + 1, out->shape.rank), total = tensor_count(x);
    const int64_t count[1] = { tensor_count(out) }, one[1] = { 1 }, zero[1] = { 0 };
    copy_strided(size, 1, count, out->data, one, values->data, zero);
    for (int64_t i = 0; i < total; i++) {
        int64_t at = tensor_get_int(x, i);
        if (at < -depth || at >= depth) continue; /* all off, as the definition says */
        if (at < 0) at += depth;
        memcpy(out->data + (size_t)((i / inner * depth + at) * inner + i % inner) * size, values->data + size, size);
    }
    return OK;
}

/* ---- NonZero, Compress ---- */

static Status infer_non_zero(InferCall *c)
{
    c->out[0].type = DT_INT64;
    if (c->in[0].shape.rank < 0) return OK;
    c->out[0].shape = (Shape){ .rank = 2, .dims = { c->in[0].shape.rank == 0 ? 1 : c->in[0].shape.rank, DIM_UNKNOWN } };
    return OK;
}

static Status forward_non_zero(OpCall *c)
{
    const Tensor *x = c->in[0];
    if (dtype_size(x->type) == 0) return op_bad_type(c, x->type);
    int64_t total = tensor_count(x), found = 0, strides[MAX_RANK] = { 1 };
    int rank = x->shape.rank;
    for (int64_t i = 0; i < total; i++) found += tensor_get(x, i) != 0;
    Shape shape = { .rank = 2, .dims = { rank == 0 ? 1 : rank, found } };
    TRY(opcall_output(c, 0, DT_INT64, &shape));
    int64_t *to = (int64_t *)(void *)c->out[0].data, column = 0;
    strides_of(&x->shape, strides);
    for (int64_t i = 0; i < total; i++) {
        if (tensor_get(x, i) == 0) continue;
        if (rank == 0) to[column] = 0;
        for (int d = 0; d < rank; d++) to[d * found + column] = i / strides[d] % x->shape.dims[d];
        column++;
    }
    return OK;
}

static Status infer_compress(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    const Attr *a = node_attr(c->node, "axis");
    int axis;
    c->out[0].type = c->in[0].type;
    if (a == NULL) {
        c->out[0].shape = (Shape){ .rank = 1, .dims = { DIM_UNKNOWN } };
        return OK;
    }
    if (x->rank < 0) return OK;
    if (!axis_fix(a->i, x->rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    c->out[0].shape = *x;
    c->out[0].shape.dims[axis] = DIM_UNKNOWN;
    return OK;
}

static Status forward_compress(OpCall *c)
{
    const Tensor *x = c->in[0], *condition = c->in[1];
    const Attr *a = node_attr(c->node, "axis");
    size_t size = dtype_size(x->type);
    int axis = 0;
    if (size == 0) return op_bad_type(c, x->type);
    if (condition->type != DT_BOOL || condition->shape.rank != 1) return op_fail(c, ERR_DATA, "its condition must be one row of bool");
    if (a != NULL && !axis_fix(a->i, x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    Shape from = x->shape;
    if (a == NULL) from = (Shape){ .rank = 1, .dims = { tensor_count(x) } };
    int64_t limit = tensor_count(condition), kept = 0, outer = shape_span(&from, 0, axis);
    size_t block = size * (size_t)shape_span(&from, axis + 1, from.rank);
    if (limit > from.dims[axis]) limit = from.dims[axis];
    for (int64_t i = 0; i < limit; i++) kept += condition->data[i] != 0;
    Shape shape = from;
    shape.dims[axis] = kept;
    TRY(opcall_output(c, 0, x->type, &shape));
    uint8_t *to = c->out[0].data;
    for (int64_t o = 0; block > 0 && o < outer; o++) {
        for (int64_t i = 0; i < limit; i++) {
            if (condition->data[i] == 0) continue;
            memcpy(to, x->data + (size_t)(o * from.dims[axis] + i) * block, block);
            to += block;
        }
    }
    return OK;
}

/* ---- ReverseSequence ---- */

static Status infer_reverse(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

/* The first lengths[b] steps along the time axis in reverse, the rest as they are. */
static Status forward_reverse(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *lengths = c->in[1];
    int64_t batch = node_int(c->node, "batch_axis", 1), time = node_int(c->node, "time_axis", 0);
    size_t size = dtype_size(x->type);
    if (size == 0) return op_bad_type(c, x->type);
    if (x->shape.rank < 2 || (batch != 0 && batch != 1) || (time != 0 && time != 1) || batch == time ||
        tensor_count(lengths) != x->shape.dims[batch])
        return op_fail(c, ERR_DATA, "its axes or lengths do not fit the input");
    int64_t steps = x->shape.dims[time], batches = x->shape.dims[batch];
    size_t block = size * (size_t)shape_span(&x->shape, 2, x->shape.rank);
    for (int64_t b = 0; b < batches; b++) {
        int64_t length = tensor_get_int(lengths, b);
        if (length < 0 || length > steps)
            return op_fail(c, ERR_DATA, "a sequence of %lld in %lld steps", (long long)length, (long long)steps);
        for (int64_t t = 0; t < steps; t++) {
            int64_t from = t < length ? length - 1 - t : t;
            int64_t to_at = time == 0 ? t * batches + b : b * steps + t, from_at = time == 0 ? from * batches + b : b * steps + from;
            if (block > 0) memcpy(c->out[0].data + (size_t)to_at * block, x->data + (size_t)from_at * block, block);
        }
    }
    return OK;
}

const Op ops_gather[] = {
    OP_ENTRY("Gather", 1, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_gather, forward_gather, cost_none),
    OP_ENTRY("GatherElements", 11, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_gather_elements, forward_gather_elements, cost_none),
    OP_ENTRY("GatherND", 11, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_gather_nd, forward_gather_nd, cost_none),
    OP_ENTRY("Scatter", 9, 10, 3, 3, 1, 1, OP_SHAPE_ONLY, infer_scatter, forward_scatter_elements, cost_none),
    OP_ENTRY("ScatterElements", 11, 0, 3, 3, 1, 1, OP_SHAPE_ONLY, infer_scatter, forward_scatter_elements, cost_none),
    OP_ENTRY("ScatterND", 11, 0, 3, 3, 1, 1, OP_SHAPE_ONLY, infer_scatter, forward_scatter_nd, cost_none),
    OP_ENTRY("OneHot", 9, 0, 3, 3, 1, 1, OP_SHAPE_ONLY, infer_one_hot, forward_one_hot, cost_none),
    OP_ENTRY("NonZero", 9, 0, 1, 1, 1, 1, OP_DATA_SHAPE, infer_non_zero, forward_non_zero, cost_input),
    OP_ENTRY("Compress", 9, 0, 2, 2, 1, 1, OP_DATA_SHAPE | OP_SHAPE_ONLY, infer_compress, forward_compress, cost_none),
    OP_ENTRY("ReverseSequence", 10, 0, 2, 2, 1, 1, OP_SHAPE_ONLY, infer_reverse, forward_reverse, cost_none),
    OP_END,
};
