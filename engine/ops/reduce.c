/* Reduce*, ArgMax, ArgMin, CumSum, TopK, Trilu. */
#include "engine/ops/common.h"

#include <math.h>
#include <stdlib.h>

/* ---- which axes ---- */

/* Axes are an attribute up to opset 17 (ReduceSum: 12), an optional input since; none means all, or none with noop_with_empty_axes. */
static Status reduced_axes(const Graph *g, const Node *n, Err *err, ListState state, const int64_t *axes, int count, int rank, bool *mask)
{
    TRY(axes_mask(g, n, err, axes, state == LIST_KNOWN ? count : 0, rank, mask));
    bool all = (state == LIST_ABSENT || count == 0) && node_int(n, "noop_with_empty_axes", 0) == 0;
    for (int d = 0; all && d < rank; d++) mask[d] = true;
    return OK;
}

static Shape reduced_shape(const Shape *x, const bool *mask, bool keep)
{
    Shape out = { .rank = 0 };
    for (int d = 0; d < x->rank; d++) {
        if (!mask[d]) out.dims[out.rank++] = x->dims[d];
        else if (keep) out.dims[out.rank++] = 1;
    }
    return out;
}

static Status infer_reduce(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t axes[MAX_RANK];
    bool mask[MAX_RANK], keep = node_int(c->node, "keepdims", 1) != 0;
    int count;
    c->out[0].type = c->in[0].type;
    ListState state = infer_list(c, 1, "axes", axes, MAX_RANK, &count);
    if (x->rank < 0) return OK;
    if (state == LIST_UNKNOWN) {
        c->out[0].shape.rank = keep ? x->rank : -1;
        for (int d = 0; keep && d < x->rank; d++) c->out[0].shape.dims[d] = DIM_UNKNOWN;
        return OK;
    }
    TRY(reduced_axes(c->graph, c->node, c->err, state, axes, count, x->rank, mask));
    c->out[0].shape = reduced_shape(x, mask, keep);
    return OK;
}

/* ---- the loop ---- */

typedef enum ReduceOp { R_SUM, R_MEAN, R_MAX, R_MIN, R_PROD, R_L1, R_L2, R_SUM_SQUARE, R_LOG_SUM, R_LOG_SUM_EXP } ReduceOp;

/* The elements reduced into one output, as strides: outer axes are kept, inner ones reduced. */
typedef struct ReducePlan {
    int kept, reduced;
    int64_t kept_dims[MAX_RANK], kept_strides[MAX_RANK];
    int64_t dims[MAX_RANK], strides[MAX_RANK];
    int64_t outputs, each;
} ReducePlan;

static void plan_reduce(ReducePlan *p, const Shape *x, const bool *mask)
{
    int64_t strides[MAX_RANK];
    strides_of(x, strides);
    *p = (ReducePlan){ .outputs = 1, .each = 1 };
    for (int d = 0; d < x->rank; d++) {
        if (!mask[d]) {
            p->kept_dims[p->kept] = x->dims[d];
            p->kept_strides[p->kept++] = strides[d];
            p->outputs *= x->dims[d];
            continue;
        }
        p->each *= x->dims[d];
        int last = p->reduced - 1;
        if (last >= 0 && p->strides[last] == strides[d] * x->dims[d]) {
            p->dims[last] *= x->dims[d];
        } else {
            last = p->reduced++;
            p->dims[last] = x->dims[d];
        }
        p->strides[last] = strides[d];
    }
    if (p->reduced == 0) {
        p->reduced = 1;
        p->dims[0] = 1;
        p->strides[0] = 0;
    }
}

static int64_t output_offset(const ReducePlan *p, int64_t i)
{
    int64_t offset = 0;
    for (int d = p->kept - 1; d >= 0; d--) {
        offset += i % p->kept_dims[d] * p->kept_strides[d];
        i /= p->kept_dims[d];
    }
    return offset;
}


/* Calls `body` with `at`, the element's offset, for every reduced element from `base`. */
#define FOR_REDUCED(p, base, body) \
    do { \
        int64_t index_[MAX_RANK] = { 0 }, from_ = (base); \
        int last_ = (p)->reduced - 1; \
        for (int64_t done_ = 0; done_ < (p)->each; done_ += (p)->dims[last_]) { \
            for (int64_t k_ = 0; k_ < (p)->dims[last_]; k_++) { \
                const int64_t at = from_ + k_ * (p)->strides[last_]; \
                body; \
            } \
            for (int d_ = last_ - 1; d_ >= 0; d_--) { \
                from_ += (p)->strides[d_]; \
                if (++index_[d_] < (p)->dims[d_]) break; \
                from_ -= (p)->strides[d_] * (p)->dims[d_]; \
                index_[d_] = 0; \
            } \
        } \
    } while (0)

#define REDUCE_FLOATS(name, type) \
    static double name(const ReducePlan *p, const void *data, int64_t base, ReduceOp op) \
    { \
        const type *x = data; \
        double sum = 0, peak = -INFINITY; \
        switch (op) { \
        case R_SUM: case R_MEAN: case R_LOG_SUM: FOR_REDUCED(p, base, sum += (double)x[at]); break; \
        case R_L1: FOR_REDUCED(p, base, sum += fabs((double)x[at])); break; \
        case R_L2: case R_SUM_SQUARE: FOR_REDUCED(p, base, sum += (double)x[at] * (double)x[at]); break; \
        case R_PROD: sum = 1; FOR_REDUCED(p, base, sum *= (double)x[at]); break; \
        case R_MAX: sum = -INFINITY; FOR_REDUCED(p, base, if (x[at] > sum || x[at] != x[at]) sum = (double)x[at]); break; \
        case R_MIN: sum = INFINITY; FOR_REDUCED(p, base, if (x[at] < sum || x[at] != x[at]) sum = (double)x[at]); break; \
        case R_LOG_SUM_EXP: \
            FOR_REDUCED(p, base, if (x[at] > peak) peak = (double)x[at]); \
            if (isinf(peak)) return peak; \
            FOR_REDUCED(p, base, sum += exp((double)x[at] - peak)); \
            return peak + log(sum); \
        } \
        if (op == R_MEAN) sum /= (double)p->each; \
        if (op == R_L2) sum = sqrt(sum); \
        if (op == R_LOG_SUM) sum = log(sum); \
        return sum; \
    }
REDUCE_FLOATS(reduce_f32, float)
REDUCE_FLOATS(reduce_f64, double)

/* Integers: exact, wrapping; what needs a root or a logarithm goes through float64 and is cut off. */
static int64_t reduce_whole(const ReducePlan *p, const Tensor *x, int64_t base, ReduceOp op)
{
    uint64_t sum = op == R_PROD ? 1 : 0;
    double real = 0;
    bool first = true, wide = x->type == DT_UINT64;
    FOR_REDUCED(p, base, {
        int64_t v = tensor_get_int(x, at);
        uint64_t u = (uint64_t)v;
        real += op == R_L2 ? (double)v * (double)v : op == R_LOG_SUM_EXP ? exp((double)v) : (double)v;
        if (op == R_MAX || op == R_MIN) {
            bool less = wide ? u < sum : v < (int64_t)sum;
            if (first || (less == (op == R_MIN) && u != sum)) sum = u;
        } else if (op == R_PROD) {
            sum *= u;
        } else {
            sum += op == R_SUM_SQUARE ? u * u : op == R_L1 && v < 0 && !wide ? 0 - u : u;
        }
        first = false;
    });
    if (op == R_MEAN && p->each > 0) return wide ? (int64_t)(sum / (uint64_t)p->each) : (int64_t)sum / p->each;
    if (op == R_L2) return (int64_t)sqrt(real);
    if (op == R_LOG_SUM || op == R_LOG_SUM_EXP) return real > 0 ? (int64_t)log(real) : 0;
    return (int64_t)sum;
}

static Status run_reduce(OpCall *c, ReduceOp op, Status (*forward)(OpCall *))
{
    OPCALL_HALF(c, forward);
    const Tensor *x = c->in[0];
    int64_t axes[MAX_RANK];
    bool mask[MAX_RANK], logical = x->type == DT_BOOL && (op == R_MAX || op == R_MIN);
    int count;
    if (dtype_size(x->type) == 0 || (!dtype_is_float(x->type) && !dtype_is_integer(x->type) && !logical)) return op_bad_type(c, x->type);
    TRY(opcall_prepare(c));
    Tensor *y = &c->out[0];
    ListState state = call_list(c, 1, "axes", axes, MAX_RANK, &count);
    if (y->type == DT_NONE || state == LIST_UNKNOWN) return op_fail(c, ERR_DATA, "its axes are no list of integers");
    TRY(reduced_axes(c->graph, c->node, c->err, state, axes, count, x->shape.rank, mask));
    ReducePlan p;
    plan_reduce(&p, &x->shape, mask);
    if (p.each == 0 && p.outputs > 0 && (op == R_MAX || op == R_MIN) && !dtype_is_float(x->type)) { /* the type's least or largest value */
        for (int64_t i = 0; i < p.outputs; i++) tensor_set(y, i, logical ? op == R_MIN : op == R_MAX ? -INFINITY : INFINITY);
        return OK;
    }
#pragma omp parallel for schedule(static) if (p.outputs * p.each >= PARALLEL_FROM)
    for (int64_t i = 0; i < p.outputs; i++) {
        int64_t base = output_offset(&p, i);
        if (x->type == DT_FLOAT) ((float *)(void *)y->data)[i] = (float)reduce_f32(&p, x->data, base, op);
        else if (x->type == DT_DOUBLE) ((double *)(void *)y->data)[i] = reduce_f64(&p, x->data, base, op);
        else tensor_set_int(y, i, reduce_whole(&p, x, base, op));
    }
    return OK;
}

#define REDUCE(name, op) \
    static Status forward_##name(OpCall *c) { return run_reduce(c, op, forward_##name); }
REDUCE(sum, R_SUM)
REDUCE(mean, R_MEAN)
REDUCE(max, R_MAX)
REDUCE(min, R_MIN)
REDUCE(prod, R_PROD)
REDUCE(l1, R_L1)
REDUCE(l2, R_L2)
REDUCE(sum_square, R_SUM_SQUARE)
REDUCE(log_sum, R_LOG_SUM)
REDUCE(log_sum_exp, R_LOG_SUM_EXP)

/* ---- ArgMax, ArgMin ---- */

static Status infer_arg(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    bool mask[MAX_RANK] = { false };
    int axis;
    c->out[0].type = DT_INT64;
    if (x->rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", 0), x->rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    mask[axis] = true;
    c->out[0].shape = reduced_shape(x, mask, node_int(c->node, "keepdims", 1) != 0);
    return OK;
}

/* True when element a comes before element b: larger (or smaller), NaN before everything. */
static bool comes_first(const Tensor *x, int64_t a, int64_t b, bool largest)
{
    if (dtype_is_float(x->type)) {
        double p = tensor_get(x, a), q = tensor_get(x, b);
        if (isnan(p) || isnan(q)) return isnan(p) && !isnan(q);
        return largest ? p > q : p < q;
    }
    int64_t p = tensor_get_int(x, a), q = tensor_get_int(x, b);
    if (x->type == DT_UINT64) return largest ? (uint64_t)p > (uint64_t)q : (uint64_t)p < (uint64_t)q;
    return largest ? p > q : p < q;
}

static Status run_arg(OpCall *c, bool largest)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    int axis;
    if (!dtype_is_float(x->type) && !dtype_is_integer(x->type)) return op_bad_type(c, x->type);
    if (!axis_fix(node_int(c->node, "axis", 0), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t size = x->shape.dims[axis], inner = shape_span(&x->shape, axis + 1, x->shape.rank), count = tensor_count(&c->out[0]);
    bool last = node_int(c->node, "select_last_index", 0) != 0;
    if (size == 0 && count > 0) return op_fail(c, ERR_DATA, "axis %d is empty", axis);
    int64_t *to = (int64_t *)(void *)c->out[0].data;
    for (int64_t i = 0; i < count; i++) {
        int64_t base = i / inner * size * inner + i % inner, best = 0;
        for (int64_t k = 1; k < size; k++) {
            int64_t at = base + k * inner, old = base + best * inner;
            if (last ? !comes_first(x, old, at, largest) : comes_first(x, at, old, largest)) best = k;
        }
        to[i] = best;
    }
    return OK;
}

static Status forward_arg_max(OpCall *c)
{
    return run_arg(c, true);
}

static Status forward_arg_min(OpCall *c)
{
    return run_arg(c, false);
}

/* ---- CumSum ---- */

static Status infer_like(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

static Status forward_cum_sum(OpCall *c)
{
    OPCALL_HALF(c, forward_cum_sum);
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *t = c->in[1];
    Tensor *y = &c->out[0];
    int axis;
    if (!dtype_is_float(x->type) && !dtype_is_integer(x->type)) return op_bad_type(c, x->type);
    if (tensor_count(t) != 1 || !axis_fix(tensor_get_int(t, 0), x->shape.rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is no axis of the input");
    bool exclusive = node_int(c->node, "exclusive", 0) != 0, reverse = node_int(c->node, "reverse", 0) != 0;
    int64_t size = x->shape.dims[axis], inner = shape_span(&x->shape, axis + 1, x->shape.rank), outer = shape_span(&x->shape, 0, axis);
    for (int64_t row = 0; row < outer * inner; row++) {
        int64_t base = row / inner * size * inner + row % inner;
        double real = 0;
        uint64_t whole = 0;
        for (int64_t k = 0; k < size; k++) {
            int64_t at = base + (reverse ? size - 1 - k : k) * inner;
            bool is_float = dtype_is_float(x->type);
            double old_real = real;
            uint64_t old_whole = whole;
            if (is_float) real += tensor_get(x, at);
            else whole += (uint64_t)tensor_get_int(x, at);
            if (is_float) tensor_set(y, at, exclusive ? old_real : real);
            else tensor_set_int(y, at, (int64_t)(exclusive ? old_whole : whole));
        }
    }
    return OK;
}

/* ---- TopK: k is an attribute before opset 10 ---- */

static Status infer_top_k(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    int64_t k[1];
    int count, axis;
    c->out[0].type = c->in[0].type;
    if (c->output_count > 1) c->out[1].type = DT_INT64;
    if (x->rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", -1), x->rank, &axis))
        return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    ListState state = infer_list(c, 1, "k", k, 1, &count);
    if (state == LIST_KNOWN && (count != 1 || k[0] < 0 || (x->dims[axis] >= 0 && k[0] > x->dims[axis])))
        return op_fail(c, ERR_DATA, "k %lld of an axis of size %lld", (long long)k[0], (long long)x->dims[axis]);
    for (int i = 0; i < c->output_count; i++) {
        c->out[i].shape = *x;
        c->out[i].shape.dims[axis] = state == LIST_KNOWN ? k[0] : DIM_UNKNOWN;
    }
    return OK;
}

typedef struct TopK {
    const Tensor *x;
    int64_t base, inner;
    bool largest;
} TopK;

/* Order of two positions along the axis; equal elements keep the lower index first. */
static bool top_before(const TopK *t, int64_t a, int64_t b)
{
    int64_t at_a = t->base + a * t->inner, at_b = t->base + b * t->inner;
    if (comes_first(t->x, at_a, at_b, t->largest)) return true;
    if (comes_first(t->x, at_b, at_a, t->largest)) return false;
    return a < b;
}

/* Restores the heap whose worst entry is on top, from `at` down. */
static void heap_sift(const TopK *t, int64_t *heap, int64_t count, int64_t at)
{
    for (;;) {
        int64_t worst = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            if (top_before(t, heap[worst], heap[child])) worst = child;
        }
        if (worst == at) return;
        int64_t swap = heap[at];
        heap[at] = heap[worst];
        heap[worst] = swap;
        at = worst;
    }
}

/* The k first of `size` positions, in order. */
static void top_select(const TopK *t, int64_t *heap, int64_t k, int64_t size)
{
    for (int64_t i = 0; i < k; i++) heap[i] = i;
    for (int64_t i = k / 2 - 1; i >= 0; i--) heap_sift(t, heap, k, i);
    for (int64_t i = k; i < size; i++) {
        if (!top_before(t, i, heap[0])) continue;
        heap[0] = i;
        heap_sift(t, heap, k, 0);
    }
    for (int64_t left = k - 1; left > 0; left--) {
        int64_t swap = heap[0];
        heap[0] = heap[left];
        heap[left] = swap;
        heap_sift(t, heap, left, 0);
    }
}

static Status forward_top_k(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    int axis;
    if (!dtype_is_float(x->type) && (!dtype_is_integer(x->type) || dtype_size(x->type) == 0)) return op_bad_type(c, x->type);
    if (c->out[0].type == DT_NONE || c->output_count < 2) return op_fail(c, ERR_DATA, "its k is no integer, or an output is missing");
    if (!axis_fix(node_int(c->node, "axis", -1), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside");
    int64_t size = x->shape.dims[axis], k = c->out[0].shape.dims[axis];
    int64_t inner = shape_span(&x->shape, axis + 1, x->shape.rank), outer = shape_span(&x->shape, 0, axis);
    int64_t *heap = alloc_array((size_t)k + 1, sizeof *heap);
    if (heap == NULL) return err_no_memory(c->err, "the largest entries");
    size_t bytes = dtype_size(x->type);
    for (int64_t row = 0; k > 0 && row < outer * inner; row++) {
        TopK t = { x, row / inner * size * inner + row % inner, inner, node_int(c->node, "largest", 1) != 0 };
        int64_t to = row / inner * k * inner + row % inner;
        top_select(&t, heap, k, size);
        for (int64_t i = 0; i < k; i++) {
            memcpy(c->out[0].data + (size_t)(to + i * inner) * bytes, x->data + (size_t)(t.base + heap[i] * inner) * bytes, bytes);
            tensor_set_int(&c->out[1], to + i * inner, heap[i]);
        }
    }
    free(heap);
    return OK;
}

/* ---- Trilu ---- */

static Status forward_trilu(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0], *t = c->input_count > 1 ? c->in[1] : NULL;
    size_t size = dtype_size(x->type);
    int rank = x->shape.rank;
    if (size == 0) return op_bad_type(c, x->type);
    if (rank < 2 || (t != NULL && tensor_count(t) != 1)) return op_fail(c, ERR_DATA, "it needs a matrix, and k a single number");
    bool upper = node_int(c->node, "upper", 1) != 0;
    int64_t k = t != NULL ? tensor_get_int(t, 0) : 0, rows = x->shape.dims[rank - 2], columns = x->shape.dims[rank - 1];
    int64_t batches = shape_span(&x->shape, 0, rank - 2);
    if (k > columns) k = columns;
    if (k < -rows) k = -rows;
    for (int64_t row = 0; row < batches * rows; row++) {
        int64_t edge = row % rows + k; /* first column kept (upper), last one (lower) */
        int64_t from = upper ? edge : 0, to = upper ? columns : edge + 1;
        if (from < 0) from = 0;
        if (to > columns) to = columns;
        uint8_t *out = c->out[0].data + (size_t)(row * columns) * size;
        if (columns > 0) memset(out, 0, (size_t)columns * size);
        if (to > from) memcpy(out + (size_t)from * size, x->data + (size_t)(row * columns + from) * size, (size_t)(to - from) * size);
    }
    return OK;
}

static void cost_reduce_costly(const CostCall *c, OpCost *out)
{
    cost_input(c, out);
    cost_transcendental(c, out);
}

static void cost_log_sum_exp(const CostCall *c, OpCost *out)
{
    cost_input(c, out);
    out->transcendental = out->elementwise;
}

#define REDUCE_ENTRY(type, forward, cost) OP_ENTRY(type, 1, 0, 1, 2, 1, 1, 0, infer_reduce, forward, cost)

const Op ops_reduce[] = {
    REDUCE_ENTRY("ReduceSum", forward_sum, cost_input),
    REDUCE_ENTRY("ReduceMean", forward_mean, cost_input),
    REDUCE_ENTRY("ReduceMax", forward_max, cost_input),
    REDUCE_ENTRY("ReduceMin", forward_min, cost_input),
    REDUCE_ENTRY("ReduceProd", forward_prod, cost_input),
    REDUCE_ENTRY("ReduceL1", forward_l1, cost_input),
    REDUCE_ENTRY("ReduceL2", forward_l2, cost_reduce_costly),
    REDUCE_ENTRY("ReduceSumSquare", forward_sum_square, cost_input),
    REDUCE_ENTRY("ReduceLogSum", forward_log_sum, cost_reduce_costly),
    REDUCE_ENTRY("ReduceLogSumExp", forward_log_sum_exp, cost_log_sum_exp),
    OP_ENTRY("ArgMax", 1, 0, 1, 1, 1, 1, 0, infer_arg, forward_arg_max, cost_input),
    OP_ENTRY("ArgMin", 1, 0, 1, 1, 1, 1, 0, infer_arg, forward_arg_min, cost_input),
    OP_ENTRY("CumSum", 11, 0, 2, 2, 1, 1, 0, infer_like, forward_cum_sum, NULL),
    OP_ENTRY("TopK", 1, 0, 1, 2, 2, 2, 0, infer_top_k, forward_top_k, cost_input),
    OP_ENTRY("Trilu", 14, 0, 1, 2, 1, 1, OP_SHAPE_ONLY, infer_like, forward_trilu, cost_none),
    OP_END,
};
