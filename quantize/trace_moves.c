/* Operators that move elements: where the channels lie behind them. */
#include "quantize/trace.h"

#include <stdlib.h>

#include "base/bytes.h"

/* Steps of the input's table along its axes. */
static void table_strides(const TraceStep *s, int64_t *stride)
{
    int64_t product = 1;
    for (int a = s->x->rank - 1; a >= 0; a--) {
        stride[a] = product;
        if ((s->in.axes >> a & 1) != 0) product *= s->x->dims[a];
    }
}

const char *trace_transpose(const TraceStep *s)
{
    int64_t count, stride[MAX_RANK], step[MAX_RANK], size[MAX_RANK];
    const int64_t *perm = node_ints(s->n, "perm", &count);
    int rank = s->x->rank, axes = 0;
    unsigned mask = 0;
    if (perm != NULL && count != rank) return TRACE_SHAPE;
    table_strides(s, stride);
    for (int k = 0; k < rank; k++) {
        int64_t a = perm != NULL ? perm[k] : rank - 1 - k;
        if (a < 0 || a >= rank) return TRACE_SHAPE;
        if ((s->in.axes >> a & 1) == 0) continue;
        mask |= 1u << k;
        step[axes] = stride[a];
        size[axes++] = s->x->dims[a];
    }
    int32_t *table = alloc_array((size_t)s->in.count, sizeof *table);
    for (int64_t i = 0; table != NULL && i < s->in.count; i++) {
        int64_t rest = i, at = 0;
        for (int k = axes - 1; k >= 0; k--) {
            at += rest % size[k] * step[k];
            rest /= size[k];
        }
        table[i] = s->in.channel[at];
    }
    return trace_add(s->t, node_output(s->n, 0), mask, table, s->in.count);
}

/* Part [start, start + size) of the channels' axis, at output k. */
static const char *cut(const TraceStep *s, int k, int axis, int64_t start)
{
    ValueId v = node_output(s->n, k);
    const Shape *y = v != 0 ? &graph_value(s->g, v)->shape : NULL;
    if (v == 0) return NULL;
    if (y->rank != s->x->rank) return TRACE_SHAPE;
    int64_t size = y->dims[axis], whole = s->x->dims[axis], inner = 1;
    if (size < 1 || start < 0 || start + size > whole) return TRACE_SHAPE;
    for (int a = axis + 1; a < s->x->rank; a++)
        if ((s->in.axes >> a & 1) != 0) inner *= s->x->dims[a];
    int64_t count = s->in.count / whole * size;
    int32_t *table = alloc_array((size_t)count, sizeof *table);
    for (int64_t i = 0; table != NULL && i < count; i++)
        table[i] = s->in.channel[(i / inner / size * whole + start + i / inner % size) * inner + i % inner];
    return trace_add(s->t, v, s->in.axes, table, count);
}

const char *trace_split(const TraceStep *s)
{
    int64_t axis = node_int(s->n, "axis", 0), start = 0;
    if (axis < 0) axis += s->x->rank;
    if (s->input != 0 || axis < 0 || axis >= s->x->rank) return TRACE_SHAPE;
    for (int k = 0; k < s->n->output_count; k++) {
        const char *why = trace_has_axis(s, axis) ? cut(s, k, (int)axis, start) : trace_carry(s, k, 0);
        if (why != NULL) return why;
        if (trace_has_axis(s, axis)) {
            if (node_output(s->n, k) == 0) return TRACE_SHAPE;
            start += graph_value(s->g, node_output(s->n, k))->shape.dims[axis];
        }
    }
    return NULL;
}

const char *trace_slice(const TraceStep *s)
{
    int64_t starts[MAX_RANK], axes[MAX_RANK], steps[MAX_RANK], start = 0;
    int count = trace_list(s, "starts", 1, starts, MAX_RANK), axis_count = trace_list(s, "axes", 3, axes, MAX_RANK);
    int step_count = trace_list(s, "steps", 4, steps, MAX_RANK), at = -1;
    if (s->input != 0 || axis_count < 0) return "what the Slice takes is not constant";
    if (axis_count == 0) {
        if (count < 0) return "what the Slice takes is not constant";
        for (axis_count = 0; axis_count < count; axis_count++) axes[axis_count] = axis_count;
    }
    for (int i = 0; i < axis_count; i++) {
        if (!trace_has_axis(s, axes[i])) continue;
        if (at >= 0 || count != axis_count || step_count < 0 || (step_count > 0 && steps[i] != 1)) return TRACE_MIXED;
        at = (int)(axes[i] < 0 ? axes[i] + s->x->rank : axes[i]);
        start = starts[i] < 0 ? starts[i] + s->x->dims[at] : starts[i];
        if (start < 0) start = 0;
    }
    return at < 0 ? trace_carry(s, 0, 0) : cut(s, 0, at, start);
}

const char *trace_concat(const TraceStep *s)
{
    int64_t axis = node_int(s->n, "axis", 0), start = 0;
    int rank = s->x->rank;
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || s->y->rank != rank || s->in.axes != 1u << axis) return "the channels are joined with others";
    s->t->place->movable = false;
    for (int k = 0; k < s->input; k++) {
        const Shape *before = &graph_value(s->g, s->n->inputs[k])->shape;
        if (before->rank != rank || before->dims[axis] < 0) return TRACE_SHAPE;
        start += before->dims[axis];
    }
    int64_t size = s->y->dims[axis];
    if (size < start + s->in.count || size > TRACE_CHANNELS) return TRACE_SHAPE;
    int32_t *table = alloc_array((size_t)size, sizeof *table);
    for (int64_t i = 0; table != NULL && i < size; i++)
        table[i] = i >= start && i < start + s->in.count ? s->in.channel[i - start] : -1;
    return trace_add(s->t, node_output(s->n, 0), s->in.axes, table, size);
}

/* A run of axes of the input that becomes a run of axes of the output, of the same product. */
typedef struct Segment {
    int in_first, in_end, out_first, out_end;
} Segment;

/* The shortest run that ends here; sizes above 0 and known, or false. */
static bool segment_of_product(const Shape *x, const Shape *y, Segment *s)
{
    int64_t a = 1, b = 1;
    do {
        int64_t d = a <= b ? (s->in_first > 0 ? x->dims[--s->in_first] : -1) : (s->out_first > 0 ? y->dims[--s->out_first] : -1);
        if (d < 1 || !mul_i64(a <= b ? a : b, d, a <= b ? &a : &b) || a > TRACE_CHANNELS || b > TRACE_CHANNELS) return false;
    } while (a != b);
    return true;
}

/* Cuts both shapes into such runs, from the back as far as axis `lowest` of the input; how many, -1: they do not match. A size that is
 * no number stands for itself only. */
static int segments(const Shape *x, const Shape *y, int lowest, Segment *list)
{
    int i = x->rank, k = y->rank, count = 0;
    while (i > lowest) {
        Segment *s = &list[count++];
        *s = (Segment){ i, i, k, k };
        if (k > 0 && x->dims[i - 1] == y->dims[k - 1] && x->dims[i - 1] != DIM_UNKNOWN) {
            s->in_first--;
            s->out_first--;
        } else if (k > 0 && y->dims[k - 1] == 1) {
            s->out_first--;
        } else if (!segment_of_product(x, y, s)) {
            return -1;
        }
        i = s->in_first;
        k = s->out_first;
    }
    return count;
}

static bool segment_carries(const TraceStep *s, const Segment *g)
{
    for (int a = g->in_first; a < g->in_end; a++)
        if ((s->in.axes >> a & 1) != 0) return true;
    return false;
}

const char *trace_reshape(const TraceStep *s)
{
    Segment list[2 * MAX_RANK];
    int64_t stride[MAX_RANK], total = 1;
    int lowest = 0;
    unsigned mask = 0;
    if (s->input != 0) return TRACE_OTHER;
    while (lowest < s->x->rank && (s->in.axes >> lowest & 1) == 0) lowest++;
    int count = segments(s->x, s->y, lowest, list);
    if (count < 0) return TRACE_SHAPE;
    for (int i = 0; i < count; i++) {
        if (!segment_carries(s, &list[i])) continue;
        for (int k = list[i].out_first; k < list[i].out_end; k++) {
            if (s->y->dims[k] != 1) mask |= 1u << k; /* an axis of one may be repeated */
            if (!mul_i64(total, s->y->dims[k], &total) || total > TRACE_CHANNELS) return "there are too many channels";
        }
    }
    table_strides(s, stride);
    int32_t *table = alloc_array((size_t)total, sizeof *table);
    for (int64_t i = 0; table != NULL && i < total; i++) {
        int64_t rest = i, at = 0;
        for (int q = 0; q < count; q++) {
            if (!segment_carries(s, &list[q])) continue;
            int64_t size = 1;
            for (int k = list[q].out_first; k < list[q].out_end; k++) size *= s->y->dims[k];
            int64_t place = rest % size;
            rest /= size;
            for (int a = list[q].in_end - 1; a >= list[q].in_first; a--) {
                if ((s->in.axes >> a & 1) != 0) at += place % s->x->dims[a] * stride[a];
                place /= s->x->dims[a];
            }
        }
        table[i] = s->in.channel[at];
    }
    return trace_add(s->t, node_output(s->n, 0), mask, table, total);
}
