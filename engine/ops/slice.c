/* Slice, Split, Concat. */
#include "engine/ops/common.h"

/* ---- Slice ---- */

typedef struct SliceLists {
    int64_t starts[MAX_RANK], ends[MAX_RANK], axes[MAX_RANK], steps[MAX_RANK];
    int count, end_count, axis_count, step_count;
} SliceLists;

/* The range taken from each axis: start, start + step, ... (length of them). */
typedef struct SliceRange {
    int64_t start, step, length;
} SliceRange;

static SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t size)
{
    if (start < 0) start += size;
    if (end < 0) end = end < -size ? -1 : end + size;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    if (start < low + (step < 0)) start = low + (step < 0);
    if (start > high) start = high;
    if (end < low) end = low;
    if (end > high) end = high;
    int64_t length = 0;
    if (step > 0 && end > start) length = (end - start - 1) / step + 1;
    if (step < 0 && end < start) length = (start - end - 1) / -step + 1;
    return (SliceRange){ start, step, length };
}

/* Checks the lists against each other and fills in the defaults: axes 0, 1 ..., steps 1. */
static Status slice_defaults(const Graph *g, const Node *n, Err *err, SliceLists *l, ListState axes, ListState steps)
{
    if (axes == LIST_ABSENT) {
        for (int i = 0; i < l->count; i++) l->axes[i] = i;
        l->axis_count = l->count;
    }
    if (steps == LIST_ABSENT) {
        for (int i = 0; i < l->count; i++) l->steps[i] = 1;
        l->step_count = l->count;
    }
    if (l->end_count != l->count || l->axis_count != l->count || l->step_count != l->count)
        return op_error(g, n, err, ERR_DATA, "starts, ends, axes and steps have %d, %d, %d and %d entries", l->count, l->end_count,
                        l->axis_count, l->step_count);
    for (int i = 0; i < l->count; i++) {
        if (l->steps[i] == 0 || l->steps[i] == INT64_MIN) return op_error(g, n, err, ERR_DATA, "a step of %lld", (long long)l->steps[i]);
    }
    return OK;
}

/* Ranges of all axes of a tensor of known shape. */
static Status slice_ranges(const Graph *g, const Node *n, Err *err, const SliceLists *l, const Shape *x, SliceRange *ranges)
{
    bool mask[MAX_RANK];
    TRY(axes_mask(g, n, err, l->axes, l->count, x->rank, mask));
    for (int d = 0; d < x->rank; d++) ranges[d] = (SliceRange){ 0, 1, x->dims[d] };
    for (int i = 0; i < l->count; i++) {
        int axis = 0;
        axis_fix(l->axes[i], x->rank, &axis);
        if (x->dims[axis] >= 0) ranges[axis] = slice_range(l->starts[i], l->ends[i], l->steps[i], x->dims[axis]);
        else if (l->starts[i] == 0 && l->ends[i] == INT64_MAX && l->steps[i] == 1) continue;
        else ranges[axis].length = DIM_UNKNOWN;
    }
    return OK;
}

/* Starts or ends that are symbols: the axes named are open, save x[0:symbol], which is taken to lie inside the axis. */
static Status infer_slice_open(InferCall *c, const SliceLists *l, bool axes_known)
{
    const Shape *x = &c->in[0].shape;
    Shape *out = &c->out[0].shape;
    *out = *x;
    int named = axes_known ? l->axis_count : x->rank;
    for (int i = 0; i < named; i++) {
        int axis = i;
        if (axes_known && !axis_fix(l->axes[i], x->rank, &axis)) return op_fail(c, ERR_DATA, "axis %lld is outside", (long long)l->axes[i]);
        out->dims[axis] = DIM_UNKNOWN;
        if (!axes_known || c->node->input_count < 3) continue;
        const Ints *start = &c->ints[1], *end = &c->ints[2];
        bool unit = c->input_count < 5 || (c->ints[4].count > i && !c->ints[4].symbol[i] && c->ints[4].at[i] == 1);
        bool zero = start->count > i && !start->symbol[i] && start->at[i] == 0;
        if (!unit || !zero || end->count <= i) continue;
        if (end->symbol[i]) out->dims[axis] = end->at[i];
        else if (end->at[i] >= 0 && x->dims[axis] >= 0) out->dims[axis] = end->at[i] < x->dims[axis] ? end->at[i] : x->dims[axis];
    }
    return OK;
}

static Status infer_slice(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    SliceLists l;
    SliceRange ranges[MAX_RANK];
    bool inputs = c->opset >= 10;
    c->out[0].type = c->in[0].type;
    if (inputs && c->input_count < 3) return op_fail(c, ERR_DATA, "starts and ends are missing");
    ListState starts = infer_list(c, inputs ? 1 : -1, inputs ? NULL : "starts", l.starts, MAX_RANK, &l.count);
    ListState ends = infer_list(c, inputs ? 2 : -1, inputs ? NULL : "ends", l.ends, MAX_RANK, &l.end_count);
    ListState axes = infer_list(c, inputs ? 3 : -1, inputs ? NULL : "axes", l.axes, MAX_RANK, &l.axis_count);
    ListState steps = infer_list(c, inputs ? 4 : -1, NULL, l.steps, MAX_RANK, &l.step_count);
    if (starts == LIST_ABSENT || ends == LIST_ABSENT) return op_fail(c, ERR_DATA, "starts and ends are missing");
    if (x->rank < 0 || axes == LIST_UNKNOWN) {
        c->out[0].shape.rank = x->rank;
        for (int d = 0; d < x->rank; d++) c->out[0].shape.dims[d] = DIM_UNKNOWN;
        return OK;
    }
    if (starts == LIST_UNKNOWN || ends == LIST_UNKNOWN || steps == LIST_UNKNOWN) {
        int64_t count = inputs && c->in[1].shape.rank == 1 ? c->in[1].shape.dims[0] : -1;
        if (axes == LIST_ABSENT && count >= 0 && count <= x->rank) {
            l.axis_count = (int)count;
            for (int i = 0; i < l.axis_count; i++) l.axes[i] = i;
        }
        return infer_slice_open(c, &l, axes == LIST_KNOWN || (count >= 0 && count <= x->rank));
    }
    TRY(slice_defaults(c->graph, c->node, c->err, &l, axes, steps));
    TRY(slice_ranges(c->graph, c->node, c->err, &l, x, ranges));
    c->out[0].shape.rank = x->rank;
    for (int d = 0; d < x->rank; d++) c->out[0].shape.dims[d] = ranges[d].length;
    const Ints *from = &c->ints[0];
    if (from->count >= 0 && x->rank == 1 && ranges[0].length >= 0 && x->dims[0] == from->count) {
        c->out_ints[0].count = (int)ranges[0].length;
        c->out_ints[0].scalar = false;
        for (int i = 0; i < c->out_ints[0].count; i++) {
            c->out_ints[0].at[i] = from->at[ranges[0].start + i * ranges[0].step];
            c->out_ints[0].symbol[i] = from->symbol[ranges[0].start + i * ranges[0].step];
        }
    }
    return OK;
}

static Status forward_slice(OpCall *c)
{
    SliceLists l;
    SliceRange ranges[MAX_RANK];
    bool inputs = c->opset >= 10;
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    Tensor *out = &c->out[0];
    if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "starts, ends, axes and steps are no lists of integers");
    call_list(c, inputs ? 1 : -1, inputs ? NULL : "starts", l.starts, MAX_RANK, &l.count);
    call_list(c, inputs ? 2 : -1, inputs ? NULL : "ends", l.ends, MAX_RANK, &l.end_count);
    ListState axes = call_list(c, inputs ? 3 : -1, inputs ? NULL : "axes", l.axes, MAX_RANK, &l.axis_count);
    ListState steps = call_list(c, inputs ? 4 : -1, NULL, l.steps, MAX_RANK, &l.step_count);
    TRY(slice_defaults(c->graph, c->node, c->err, &l, axes, steps));
    TRY(slice_ranges(c->graph, c->node, c->err, &l, &x->shape, ranges));
    size_t size = dtype_size(x->type);
    if (size == 0) return op_bad_type(c, x->type);
    int64_t to[MAX_RANK], from[MAX_RANK], offset = 0;
    strides_of(&out->shape, to);
    strides_of(&x->shape, from);
    if (tensor_count(out) == 0) return OK;
    for (int d = 0; d < x->shape.rank; d++) {
        offset += ranges[d].start * from[d];
        from[d] *= ranges[d].step;
    }
    copy_strided(size, out->shape.rank, out->shape.dims, out->data, to, x->data + offset * (int64_t)size, from);
    return OK;
}

/* ---- Split: its sizes are an attribute up to opset 12, an input since, and either in opset 1 ---- */

/* Sizes of the parts along an axis of `size`; DIM_UNKNOWN each when it cannot be told. */
static Status split_sizes(const Graph *g, const Node *n, Err *err, ListState state, const int64_t *given, int count, int64_t size,
                          int outputs, int64_t *parts)
{
    if (state == LIST_KNOWN) {
        int64_t total = 0;
        for (int i = 0; i < count; i++) {
            if (given[i] < 0 || !add_i64(total, given[i], &total))
                return op_error(g, n, err, ERR_DATA, "a part of %lld", (long long)given[i]);
        }
        if (count != outputs || (size >= 0 && total != size))
            return op_error(g, n, err, ERR_DATA, "split names %d parts of %lld in all; there are %d outputs and %lld to share", count,
                            (long long)total, outputs, (long long)size);
        for (int i = 0; i < outputs; i++) parts[i] = given[i];
        return OK;
    }
    for (int i = 0; i < outputs; i++) parts[i] = DIM_UNKNOWN;
    if (size < 0 || state == LIST_UNKNOWN) return OK;
    bool uneven = node_attr(n, "num_outputs") != NULL;
    if (size % outputs != 0 && !uneven)
        return op_error(g, n, err, ERR_DATA, "%lld cannot be split into %d equal parts", (long long)size, outputs);
    int64_t chunk = (size + outputs - 1) / outputs, left = size;
    for (int i = 0; i < outputs; i++) {
        parts[i] = left < chunk ? left : chunk;
        left -= parts[i];
    }
    return OK;
}

/* The input of opset 1 has the type of the data. */
static ListState split_list(const InferCall *c, int64_t *given, int *count)
{
    const Tensor *t = c->opset < 2 && c->input_count > 1 ? c->constant[1] : NULL;
    if (t == NULL || !dtype_is_float(t->type)) return infer_list(c, 1, "split", given, MAX_INTS, count);
    int64_t total = tensor_count(t);
    if (total > MAX_INTS) return LIST_UNKNOWN;
    for (int64_t i = 0; i < total; i++) {
        double v = tensor_get(t, i);
        given[i] = v >= 0 && v <= 0x1p53 ? (int64_t)v : -1;
        if ((double)given[i] != v) return LIST_UNKNOWN;
    }
    *count = (int)total;
    return LIST_KNOWN;
}

static Status infer_split(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t given[MAX_INTS], parts[MAX_INTS];
    int count, axis;
    for (int i = 0; i < c->output_count; i++) c->out[i].type = c->in[0].type;
    if (x->rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", 0), x->rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    if (c->output_count > MAX_INTS) return op_fail(c, ERR_UNSUPPORTED, "%d outputs; at most %d", c->output_count, MAX_INTS);
    ListState state = split_list(c, given, &count);
    TRY(split_sizes(c->graph, c->node, c->err, state, given, count, x->dims[axis], c->output_count, parts));
    int at = 0;
    for (int i = 0; i < c->output_count; i++) {
        c->out[i].shape = *x;
        c->out[i].shape.dims[axis] = parts[i];
        if (c->ints[0].count < 0 || x->rank != 1 || parts[i] < 0) continue;
        c->out_ints[i].count = (int)parts[i];
        c->out_ints[i].scalar = false;
        for (int k = 0; k < parts[i]; k++, at++) {
            c->out_ints[i].at[k] = c->ints[0].at[at];
            c->out_ints[i].symbol[k] = c->ints[0].symbol[at];
        }
    }
    return OK;
}

static Status forward_split(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    size_t size = dtype_size(x->type);
    int axis;
    if (size == 0) return op_bad_type(c, x->type);
    if (!axis_fix(node_int(c->node, "axis", 0), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t from[MAX_RANK], to[MAX_RANK], offset = 0;
    strides_of(&x->shape, from);
    for (int i = 0; i < c->output_count; i++) {
        const Tensor *out = &c->out[i];
        if (out->type == DT_NONE) return op_fail(c, ERR_DATA, "its split input is no list of sizes");
        strides_of(&out->shape, to);
        if (c->wanted[i]) copy_strided(size, out->shape.rank, out->shape.dims, out->data, to, x->data + offset * (int64_t)size, from);
        offset += out->shape.dims[axis] * from[axis];
    }
    return OK;
}

/* ---- Concat: its axis may be left out up to opset 3 and is 1 then ---- */

static Status infer_concat(InferCall *c)
{
    Shape *out = &c->out[0].shape;
    int axis = 0;
    for (int i = 0; i < c->input_count; i++) {
        const Shape *x = &c->in[i].shape;
        if (c->out[0].type == DT_NONE) c->out[0].type = c->in[i].type;
        if (x->rank < 0) continue;
        if (!axis_fix(node_int(c->node, "axis", 1), x->rank, &axis) || (out->rank >= 0 && out->rank != x->rank))
            return op_fail(c, ERR_DATA, "input %d has rank %d, which does not fit its axis or the other inputs", i, x->rank);
        if (out->rank < 0) {
            *out = *x;
            out->dims[axis] = 0;
        }
        for (int d = 0; d < x->rank; d++) {
            int64_t *dim = &out->dims[d];
            if (d == axis) {
                bool alone = *dim == 0 && x->dims[d] < 0 && c->input_count == 1;
                if (alone) *dim = x->dims[d];
                else if (*dim < 0 || x->dims[d] < 0) *dim = DIM_UNKNOWN;
                else if (!add_i64(*dim, x->dims[d], dim)) return op_fail(c, ERR_DATA, "its size overflows");
            } else if (*dim >= 0 && x->dims[d] >= 0 && *dim != x->dims[d]) {
                return op_fail(c, ERR_DATA, "input %d has size %lld along axis %d, the others %lld", i, (long long)x->dims[d], d,
                               (long long)*dim);
            } else if (*dim < 0 && x->dims[d] >= 0) {
                *dim = x->dims[d];
            }
        }
    }
    for (int i = 0; i < c->input_count && out->rank >= 0; i++) {
        if (c->in[i].shape.rank < 0) out->dims[axis] = DIM_UNKNOWN;
    }
    Ints all = { .count = 0 };
    for (int i = 0; i < c->input_count; i++) {
        const Ints *part = &c->ints[i];
        if (part->count < 0 || part->scalar || all.count + part->count > MAX_INTS) return OK;
        memcpy(&all.at[all.count], part->at, (size_t)part->count * sizeof part->at[0]);
        memcpy(&all.symbol[all.count], part->symbol, (size_t)part->count * sizeof part->symbol[0]);
        all.count += part->count;
    }
    if (out->rank <= 1) c->out_ints[0] = all;
    return OK;
}

static Status forward_concat(OpCall *c)
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    size_t size = dtype_size(c->in[0]->type);
    int axis;
    if (size == 0) return op_bad_type(c, c->in[0]->type);
    if (!axis_fix(node_int(c->node, "axis", 1), out->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t to[MAX_RANK], from[MAX_RANK], offset = 0;
    strides_of(&out->shape, to);
    for (int i = 0; i < c->input_count; i++) {
        const Tensor *x = c->in[i];
        if (x->type != out->type)
            return op_fail(c, ERR_DATA, "input %d is %s, the first %s", i, dtype_name(x->type), dtype_name(out->type));
        strides_of(&x->shape, from);
        copy_strided(size, x->shape.rank, x->shape.dims, out->data + offset * (int64_t)size, to, x->data, from);
        offset += x->shape.dims[axis] * to[axis];
    }
    return OK;
}

const Op ops_slice[] = {
    OP_ENTRY("Slice", 1, 9, 1, 1, 1, 1, OP_SHAPE_ONLY, infer_slice, forward_slice, cost_none),
    OP_ENTRY("Slice", 10, 0, 3, 5, 1, 1, OP_SHAPE_ONLY, infer_slice, forward_slice, cost_none),
    OP_ENTRY("Split", 1, 0, 1, 2, 1, -1, OP_SHAPE_ONLY, infer_split, forward_split, cost_none),
    OP_ENTRY("Concat", 1, 0, 1, -1, 1, 1, OP_SHAPE_ONLY, infer_concat, forward_concat, cost_none),
    OP_END,
};
