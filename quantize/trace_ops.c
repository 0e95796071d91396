/* The operators that channels pass: f(x / s) = f(x) / s for each channel. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "quantize/trace.h"

#define NO_COMMUTE "the operator does not commute with factors"
#define NO_SHAPE "a shape is unknown"
#define MIXED "the operator mixes channels"

/* One operator at work. `in` is a copy: the list of spreads moves. */
typedef struct Step {
    Trace *t;
    const Graph *g;
    NodeId id;
    const Node *n;
    int input, from;
    Spread in;
    const Shape *x, *y; /* of the input and of output 0 */
} Step;

static int32_t *copy_table(const Spread *s)
{
    int32_t *table = alloc_array((size_t)s->count, sizeof *table);
    if (table != NULL) memcpy(table, s->channel, sizeof *table * (size_t)s->count);
    return table;
}

/* The same table along axes `by` further on, at output `k`. */
static const char *carry(const Step *s, int k, int by)
{
    ValueId v = node_output(s->n, k);
    const Shape *y = v != 0 ? &graph_value(s->g, v)->shape : NULL;
    if (v == 0) return NULL;
    if (y->rank < 0) return NO_SHAPE;
    for (int a = 0; a < s->x->rank; a++) {
        if ((s->in.axes >> a & 1) == 0) continue;
        if (a + by < 0 || a + by >= y->rank || y->dims[a + by] != s->x->dims[a]) return MIXED;
    }
    return trace_add(s->t, v, by < 0 ? s->in.axes >> -by : s->in.axes << by, copy_table(&s->in), s->in.count);
}

static bool output_read(const Step *s, int k)
{
    ValueId v = node_output(s->n, k);
    return v != 0 && trace_readers(s->t->map, v) > 0;
}

static bool has_axis(const Step *s, int64_t axis)
{
    if (axis < 0) axis += s->x->rank;
    return axis < 0 || axis >= s->x->rank || (s->in.axes >> axis & 1) != 0;
}

/* A value of one number, or the fallback where the input is left out. False: it is not constant. */
static bool scalar_input(const Step *s, int k, double fallback, double *out)
{
    ValueId v = node_input(s->n, k);
    const Tensor *c = v != 0 ? graph_value(s->g, v)->tensor : NULL;
    *out = c != NULL && tensor_count(c) == 1 ? tensor_get(c, 0) : fallback;
    return v == 0 || (c != NULL && tensor_count(c) == 1);
}

/* The numbers of an attribute, or of a constant input; -1: neither, or too many. */
static int list_of(const Step *s, const char *attr, int input, int64_t *out, int max)
{
    int64_t count;
    const int64_t *ints = node_ints(s->n, attr, &count);
    const Tensor *t = ints == NULL && input >= 0 ? node_constant(s->g, s->n, input) : NULL;
    if (ints == NULL && t == NULL) return input >= 0 && node_input(s->n, input) != 0 ? -1 : 0;
    if (t != NULL) count = tensor_count(t);
    if (count > max) return -1;
    for (int64_t i = 0; i < count; i++) out[i] = ints != NULL ? ints[i] : tensor_get_int(t, i);
    return (int)count;
}

static const char *op_same(const Step *s)
{
    if (s->input != 0 || output_read(s, 1)) return NO_COMMUTE;
    return carry(s, 0, s->y->rank - s->x->rank);
}

/* Linear, but a shift does not pass. */
static const char *op_linear(const Step *s)
{
    s->t->place->movable = false;
    return op_same(s);
}

static const char *add_gate(const Step *s)
{
    Place *p = s->t->place;
    void *list = p->gates;
    if (!trace_grow(&list, p->gate_count, sizeof *p->gates)) {
        s->t->failed = true;
        return "no memory";
    }
    p->gates = list;
    p->gates[p->gate_count++] = s->from;
    return NULL;
}

static const char *op_gate(const Step *s)
{
    const char *why = add_gate(s);
    return why != NULL ? why : op_same(s);
}

static const char *op_clip(const Step *s)
{
    double low, high;
    bool attrs = node_attr(s->n, "min") != NULL || node_attr(s->n, "max") != NULL;
    if (!scalar_input(s, 1, (double)node_float(s->n, "min", -INFINITY), &low) ||
        !scalar_input(s, 2, (double)node_float(s->n, "max", INFINITY), &high) || (attrs && s->n->input_count > 1))
        return "the ends of the Clip are not constant";
    if (low != 0.0 || !(high > 0.0)) return "the Clip does not begin at 0";
    const char *why = op_gate(s);
    if (why != NULL || high >= 3.4e38) return why;
    Place *p = s->t->place;
    void *list = p->clips;
    if (!trace_grow(&list, p->clip_count, sizeof *p->clips)) {
        s->t->failed = true;
        return "no memory";
    }
    p->clips = list;
    p->clips[p->clip_count++] = (PlaceClip){ .node = s->id, .spread = s->from, .high = high };
    p->movable = false;
    return NULL;
}

static const char *op_pool(const Step *s)
{
    if ((s->in.axes & ~3u) != 0) return MIXED;
    if (str_is(s->n->type, "LpPool") || str_is(s->n->type, "GlobalLpPool") || node_int(s->n, "count_include_pad", 0) != 0)
        s->t->place->movable = false;
    return op_same(s);
}

static const char *op_pad(const Step *s)
{
    int64_t pads[2 * MAX_RANK], axes[MAX_RANK];
    double value;
    int count = list_of(s, "pads", 1, pads, 2 * MAX_RANK), axis_count = list_of(s, "axes", 3, axes, MAX_RANK);
    if (!scalar_input(s, 2, (double)node_float(s->n, "value", 0.0f), &value) || count < 0 || axis_count < 0 || s->input != 0)
        return "what the Pad adds is not constant";
    bool constant = str_is(node_string(s->n, "mode", "constant"), "constant");
    if (constant && value != 0.0) return "the Pad adds another number than 0";
    if (count != 2 * (axis_count > 0 ? axis_count : s->x->rank)) return "what the Pad adds is not constant";
    for (int i = 0; i < count / 2; i++)
        if (has_axis(s, axis_count > 0 ? axes[i] : i) && (pads[i] != 0 || pads[i + count / 2] != 0)) return MIXED;
    if (constant) s->t->place->movable = false;
    return op_same(s);
}

static const char *op_reduce(const Step *s)
{
    int64_t axes[MAX_RANK];
    int count = list_of(s, "axes", 1, axes, MAX_RANK), before = 0;
    if (count < 1 || s->input != 0) return MIXED;
    for (int i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + s->x->rank : axes[i];
        if (has_axis(s, axis)) return MIXED;
        int below = 0, above = 0;
        for (int a = 0; a < s->x->rank; a++) {
            if ((s->in.axes >> a & 1) == 0) continue;
            if (a > axis) below++;
            else above++;
        }
        if (below > 0 && above > 0) return MIXED; /* reduced between the axes of the channels */
        if (below > 0) before++;
    }
    if (str_is(s->n->type, "ReduceSum") || str_is(s->n->type, "ReduceL1") || str_is(s->n->type, "ReduceL2")) s->t->place->movable = false;
    return carry(s, 0, node_int(s->n, "keepdims", 1) != 0 ? 0 : -before);
}

static const char *op_times(const Step *s)
{
    s->t->place->movable = false;
    if (str_is(s->n->type, "Div") && s->input != 0) return NO_COMMUTE;
    return carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_plus(const Step *s)
{
    Place *p = s->t->place;
    const Tensor *c = node_constant(s->g, s->n, 1 - s->input);
    if (c == NULL || !dtype_is_float(c->type)) return "the channels are added to others";
    if (c->shape.rank > s->y->rank) return MIXED;
    const char *why = carry(s, 0, s->y->rank - s->x->rank);
    if (why != NULL) return why;
    if (str_is(s->n->type, "Sub") && s->input != 0) p->movable = false;
    void *list = p->shifts;
    if (!trace_grow(&list, p->shift_count, sizeof *p->shifts)) {
        s->t->failed = true;
        return "no memory";
    }
    p->shifts = list;
    p->shifts[p->shift_count++] = (PlaceShift){ .node = s->id, .input = 1 - s->input, .spread = p->spread_count - 1 };
    return NULL;
}

/* A product of two activations: what is summed over must not be the channels. */
static const char *op_matmul(const Step *s)
{
    int summed = s->input == 0 ? s->x->rank - 1 : s->x->rank - 2;
    s->t->place->movable = false;
    const Shape *other = &graph_value(s->g, node_input(s->n, 1 - s->input))->shape;
    if (s->x->rank < 2 || other->rank < 2 || s->y->rank < s->x->rank || has_axis(s, summed)) return MIXED;
    /* what is kept of the left operand is the product's last axis but one, of the right one the last: where it was */
    return carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_expand(const Step *s)
{
    if (s->input != 0) return NO_COMMUTE;
    return carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_resize(const Step *s)
{
    s->t->place->movable = false;
    if (s->input != 0 || str_is(node_string(s->n, "coordinate_transformation_mode", "half_pixel"), "tf_crop_and_resize")) return NO_COMMUTE;
    return carry(s, 0, 0);
}

static const char *op_gather(const Step *s)
{
    int64_t axis = node_int(s->n, "axis", 0);
    if (s->input != 0 || has_axis(s, axis)) return MIXED;
    if (axis < 0) axis += s->x->rank;
    if ((s->in.axes & ((1u << axis) - 1)) != 0 && s->in.axes >> axis != 0) return MIXED; /* channels on both sides */
    return carry(s, 0, s->in.axes >> axis != 0 ? s->y->rank - s->x->rank : 0);
}

/* Steps of the input's table along its axes. */
static void table_strides(const Step *s, int64_t *stride)
{
    int64_t product = 1;
    for (int a = s->x->rank - 1; a >= 0; a--) {
        stride[a] = product;
        if ((s->in.axes >> a & 1) != 0) product *= s->x->dims[a];
    }
}

static const char *op_transpose(const Step *s)
{
    int64_t count, stride[MAX_RANK], step[MAX_RANK], size[MAX_RANK];
    const int64_t *perm = node_ints(s->n, "perm", &count);
    int rank = s->x->rank, axes = 0;
    unsigned mask = 0;
    if (perm != NULL && count != rank) return NO_SHAPE;
    table_strides(s, stride);
    for (int k = 0; k < rank; k++) {
        int64_t a = perm != NULL ? perm[k] : rank - 1 - k;
        if (a < 0 || a >= rank) return NO_SHAPE;
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
static const char *cut(const Step *s, int k, int axis, int64_t start)
{
    ValueId v = node_output(s->n, k);
    const Shape *y = v != 0 ? &graph_value(s->g, v)->shape : NULL;
    if (v == 0) return NULL;
    if (y->rank != s->x->rank) return NO_SHAPE;
    int64_t size = y->dims[axis], whole = s->x->dims[axis], inner = 1;
    if (size < 1 || start < 0 || start + size > whole) return NO_SHAPE;
    for (int a = axis + 1; a < s->x->rank; a++)
        if ((s->in.axes >> a & 1) != 0) inner *= s->x->dims[a];
    int64_t count = s->in.count / whole * size;
    int32_t *table = alloc_array((size_t)count, sizeof *table);
    for (int64_t i = 0; table != NULL && i < count; i++)
        table[i] = s->in.channel[(i / inner / size * whole + start + i / inner % size) * inner + i % inner];
    return trace_add(s->t, v, s->in.axes, table, count);
}

static const char *op_split(const Step *s)
{
    int64_t axis = node_int(s->n, "axis", 0), start = 0;
    if (axis < 0) axis += s->x->rank;
    if (s->input != 0 || axis < 0 || axis >= s->x->rank) return NO_SHAPE;
    for (int k = 0; k < s->n->output_count; k++) {
        const char *why = has_axis(s, axis) ? cut(s, k, (int)axis, start) : carry(s, k, 0);
        if (why != NULL) return why;
        if (has_axis(s, axis)) {
            if (node_output(s->n, k) == 0) return NO_SHAPE;
            start += graph_value(s->g, node_output(s->n, k))->shape.dims[axis];
        }
    }
    return NULL;
}

static const char *op_slice(const Step *s)
{
    int64_t starts[MAX_RANK], axes[MAX_RANK], steps[MAX_RANK], start = 0;
    int count = list_of(s, "starts", 1, starts, MAX_RANK), axis_count = list_of(s, "axes", 3, axes, MAX_RANK);
    int step_count = list_of(s, "steps", 4, steps, MAX_RANK), at = -1;
    if (s->input != 0 || axis_count < 0) return "what the Slice takes is not constant";
    if (axis_count == 0) {
        if (count < 0) return "what the Slice takes is not constant";
        for (axis_count = 0; axis_count < count; axis_count++) axes[axis_count] = axis_count;
    }
    for (int i = 0; i < axis_count; i++) {
        if (!has_axis(s, axes[i])) continue;
        if (at >= 0 || count != axis_count || step_count < 0 || (step_count > 0 && steps[i] != 1)) return MIXED;
        at = (int)(axes[i] < 0 ? axes[i] + s->x->rank : axes[i]);
        start = starts[i] < 0 ? starts[i] + s->x->dims[at] : starts[i];
        if (start < 0) start = 0;
    }
    return at < 0 ? carry(s, 0, 0) : cut(s, 0, at, start);
}

static const char *op_concat(const Step *s)
{
    int64_t axis = node_int(s->n, "axis", 0), start = 0;
    int rank = s->x->rank;
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || s->y->rank != rank || s->in.axes != 1u << axis) return "the channels are joined with others";
    s->t->place->movable = false;
    for (int k = 0; k < s->input; k++) {
        const Shape *before = &graph_value(s->g, s->n->inputs[k])->shape;
        if (before->rank != rank || before->dims[axis] < 0) return NO_SHAPE;
        start += before->dims[axis];
    }
    int64_t size = s->y->dims[axis];
    if (size < start + s->in.count || size > TRACE_CHANNELS) return NO_SHAPE;
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

static bool segment_carries(const Step *s, const Segment *g)
{
    for (int a = g->in_first; a < g->in_end; a++)
        if ((s->in.axes >> a & 1) != 0) return true;
    return false;
}

static const char *op_reshape(const Step *s)
{
    Segment list[2 * MAX_RANK];
    int64_t stride[MAX_RANK], total = 1;
    int lowest = 0;
    unsigned mask = 0;
    if (s->input != 0) return NO_COMMUTE;
    while (lowest < s->x->rank && (s->in.axes >> lowest & 1) == 0) lowest++;
    int count = segments(s->x, s->y, lowest, list);
    if (count < 0) return NO_SHAPE;
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

static const struct { const char *type; const char *(*go)(const Step *s); } rules[] = {
    { "Identity", op_same }, { "Dropout", op_same },
    { "Relu", op_gate }, { "LeakyRelu", op_gate }, { "PRelu", op_gate }, { "Abs", op_gate }, { "Clip", op_clip },
    { "Neg", op_linear },
    { "MaxPool", op_pool }, { "AveragePool", op_pool }, { "GlobalMaxPool", op_pool }, { "GlobalAveragePool", op_pool },
    { "LpPool", op_pool }, { "GlobalLpPool", op_pool },
    { "Pad", op_pad }, { "Expand", op_expand }, { "Resize", op_resize }, { "Upsample", op_resize },
    { "ReduceMean", op_reduce }, { "ReduceMax", op_reduce }, { "ReduceMin", op_reduce }, { "ReduceSum", op_reduce },
    { "ReduceL1", op_reduce }, { "ReduceL2", op_reduce },
    { "Mul", op_times }, { "Div", op_times }, { "Add", op_plus }, { "Sub", op_plus }, { "MatMul", op_matmul },
    { "Transpose", op_transpose }, { "Reshape", op_reshape }, { "Flatten", op_reshape }, { "Squeeze", op_reshape },
    { "Unsqueeze", op_reshape }, { "Slice", op_slice }, { "Split", op_split }, { "Gather", op_gather }, { "Concat", op_concat },
};

const char *trace_node(Trace *t, NodeId id, int input, int from)
{
    const Graph *g = t->map->g;
    const Node *n = graph_node(g, id);
    Step s = { .t = t, .g = g, .id = id, .n = n, .input = input, .from = from, .in = t->place->spreads[from] };
    if (node_output(n, 0) == 0) return NO_COMMUTE;
    s.x = &graph_value(g, s.in.value)->shape;
    s.y = &graph_value(g, node_output(n, 0))->shape;
    if (s.x->rank < 1 || s.y->rank < 1) return NO_SHAPE;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (str_is(n->type, rules[i].type)) return rules[i].go(&s); /* cppcheck-suppress returnDanglingLifetime ; a constant text */
    return NO_COMMUTE;
}
