/* The operators that channels pass: f(x / s) = f(x) / s for each channel. */
#include "quantize/trace.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

static int32_t *copy_table(const Spread *s)
{
    int32_t *table = alloc_array((size_t)s->count, sizeof *table);
    if (table != NULL) memcpy(table, s->channel, sizeof *table * (size_t)s->count);
    return table;
}

const char *trace_carry(const TraceStep *s, int k, int by)
{
    ValueId v = node_output(s->n, k);
    const Shape *y = v != 0 ? &graph_value(s->g, v)->shape : NULL;
    if (v == 0) return NULL;
    if (y->rank < 0) return TRACE_SHAPE;
    for (int a = 0; a < s->x->rank; a++) {
        if ((s->in.axes >> a & 1) == 0) continue;
        if (a + by < 0 || a + by >= y->rank || y->dims[a + by] != s->x->dims[a]) return TRACE_MIXED;
    }
    return trace_add(s->t, v, by < 0 ? s->in.axes >> -by : s->in.axes << by, copy_table(&s->in), s->in.count);
}

static bool output_read(const TraceStep *s, int k)
{
    ValueId v = node_output(s->n, k);
    return v != 0 && trace_readers(s->t->map, v) > 0;
}

bool trace_has_axis(const TraceStep *s, int64_t axis)
{
    if (axis < 0) axis += s->x->rank;
    return axis < 0 || axis >= s->x->rank || (s->in.axes >> axis & 1) != 0;
}

/* A value of one number, or the fallback where the input is left out. False: it is not constant. */
static bool scalar_input(const TraceStep *s, int k, double fallback, double *out)
{
    ValueId v = node_input(s->n, k);
    const Tensor *c = v != 0 ? graph_value(s->g, v)->tensor : NULL;
    *out = c != NULL && tensor_count(c) == 1 ? tensor_get(c, 0) : fallback;
    return v == 0 || (c != NULL && tensor_count(c) == 1);
}

int trace_list(const TraceStep *s, const char *attr, int input, int64_t *out, int max)
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

static const char *op_same(const TraceStep *s)
{
    if (s->input != 0 || output_read(s, 1)) return TRACE_OTHER;
    return trace_carry(s, 0, s->y->rank - s->x->rank);
}

/* Linear, but a shift does not pass. */
static const char *op_linear(const TraceStep *s)
{
    s->t->place->movable = false;
    return op_same(s);
}

static const char *add_gate(const TraceStep *s)
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

static const char *op_gate(const TraceStep *s)
{
    const char *why = add_gate(s);
    return why != NULL ? why : op_same(s);
}

static const char *op_clip(const TraceStep *s)
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

static const char *op_pool(const TraceStep *s)
{
    if ((s->in.axes & ~3u) != 0) return TRACE_MIXED;
    if (str_is(s->n->type, "LpPool") || str_is(s->n->type, "GlobalLpPool") || node_int(s->n, "count_include_pad", 0) != 0)
        s->t->place->movable = false;
    return op_same(s);
}

static const char *op_pad(const TraceStep *s)
{
    int64_t pads[2 * MAX_RANK], axes[MAX_RANK];
    double value;
    int count = trace_list(s, "pads", 1, pads, 2 * MAX_RANK), axis_count = trace_list(s, "axes", 3, axes, MAX_RANK);
    if (!scalar_input(s, 2, (double)node_float(s->n, "value", 0.0f), &value) || count < 0 || axis_count < 0 || s->input != 0)
        return "what the Pad adds is not constant";
    bool constant = str_is(node_string(s->n, "mode", "constant"), "constant");
    if (constant && value != 0.0) return "the Pad adds another number than 0";
    if (count != 2 * (axis_count > 0 ? axis_count : s->x->rank)) return "what the Pad adds is not constant";
    for (int i = 0; i < count / 2; i++)
        if (trace_has_axis(s, axis_count > 0 ? axes[i] : i) && (pads[i] != 0 || pads[i + count / 2] != 0)) return TRACE_MIXED;
    if (constant) s->t->place->movable = false;
    return op_same(s);
}

static const char *op_reduce(const TraceStep *s)
{
    int64_t axes[MAX_RANK];
    int count = trace_list(s, "axes", 1, axes, MAX_RANK), before = 0;
    if (count < 1 || s->input != 0) return TRACE_MIXED;
    for (int i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + s->x->rank : axes[i];
        if (trace_has_axis(s, axis)) return TRACE_MIXED;
        int below = 0, above = 0;
        for (int a = 0; a < s->x->rank; a++) {
            if ((s->in.axes >> a & 1) == 0) continue;
            if (a > axis) below++;
            else above++;
        }
        if (below > 0 && above > 0) return TRACE_MIXED; /* reduced between the axes of the channels */
        if (below > 0) before++;
    }
    if (str_is(s->n->type, "ReduceSum") || str_is(s->n->type, "ReduceL1") || str_is(s->n->type, "ReduceL2")) s->t->place->movable = false;
    return trace_carry(s, 0, node_int(s->n, "keepdims", 1) != 0 ? 0 : -before);
}

static const char *op_times(const TraceStep *s)
{
    s->t->place->movable = false;
    if (str_is(s->n->type, "Div") && s->input != 0) return TRACE_OTHER;
    return trace_carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_plus(const TraceStep *s)
{
    Place *p = s->t->place;
    const Tensor *c = node_constant(s->g, s->n, 1 - s->input);
    if (c == NULL || !dtype_is_float(c->type)) return "the channels are added to others";
    if (c->shape.rank > s->y->rank) return TRACE_MIXED;
    const char *why = trace_carry(s, 0, s->y->rank - s->x->rank);
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
static const char *op_matmul(const TraceStep *s)
{
    int summed = s->input == 0 ? s->x->rank - 1 : s->x->rank - 2;
    s->t->place->movable = false;
    const Shape *other = &graph_value(s->g, node_input(s->n, 1 - s->input))->shape;
    if (s->x->rank < 2 || other->rank < 2 || s->y->rank < s->x->rank || trace_has_axis(s, summed)) return TRACE_MIXED;
    /* what is kept of the left operand is the product's last axis but one, of the right one the last: where it was */
    return trace_carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_expand(const TraceStep *s)
{
    if (s->input != 0) return TRACE_OTHER;
    return trace_carry(s, 0, s->y->rank - s->x->rank);
}

static const char *op_resize(const TraceStep *s)
{
    s->t->place->movable = false;
    Str mode = node_string(s->n, "coordinate_transformation_mode", "half_pixel");
    if (s->input != 0 || str_is(mode, "tf_crop_and_resize")) return TRACE_OTHER;
    return trace_carry(s, 0, 0);
}

static const char *op_gather(const TraceStep *s)
{
    int64_t axis = node_int(s->n, "axis", 0);
    if (s->input != 0 || trace_has_axis(s, axis)) return TRACE_MIXED;
    if (axis < 0) axis += s->x->rank;
    if ((s->in.axes & ((1u << axis) - 1)) != 0 && s->in.axes >> axis != 0) return TRACE_MIXED; /* channels on both sides */
    return trace_carry(s, 0, s->in.axes >> axis != 0 ? s->y->rank - s->x->rank : 0);
}

typedef const char *Rule(const TraceStep *s);

static const struct { const char *type; Rule *go; } rules[] = {
    { "Identity", op_same }, { "Dropout", op_same },
    { "Relu", op_gate }, { "LeakyRelu", op_gate }, { "PRelu", op_gate }, { "Abs", op_gate }, { "Clip", op_clip },
    { "Neg", op_linear },
    { "MaxPool", op_pool }, { "AveragePool", op_pool }, { "GlobalMaxPool", op_pool }, { "GlobalAveragePool", op_pool },
    { "LpPool", op_pool }, { "GlobalLpPool", op_pool },
    { "Pad", op_pad }, { "Expand", op_expand }, { "Resize", op_resize }, { "Upsample", op_resize },
    { "ReduceMean", op_reduce }, { "ReduceMax", op_reduce }, { "ReduceMin", op_reduce }, { "ReduceSum", op_reduce },
    { "ReduceL1", op_reduce }, { "ReduceL2", op_reduce },
    { "Mul", op_times }, { "Div", op_times }, { "Add", op_plus }, { "Sub", op_plus }, { "MatMul", op_matmul },
    { "Transpose", trace_transpose }, { "Reshape", trace_reshape }, { "Flatten", trace_reshape }, { "Squeeze", trace_reshape },
    { "Unsqueeze", trace_reshape }, { "Slice", trace_slice }, { "Split", trace_split }, { "Gather", op_gather }, { "Concat", trace_concat },
};

/* The rule for an operator; NULL: none. */
static Rule *find_rule(const Node *n)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (str_is(n->type, rules[i].type)) return rules[i].go;
    return NULL;
}

static const char *follow(const TraceStep *s)
{
    Rule *go = s->y != NULL ? find_rule(s->n) : NULL;
    if (go == NULL) return TRACE_OTHER;
    return s->x->rank < 1 || s->y->rank < 1 ? TRACE_SHAPE : go(s);
}

const char *trace_node(Trace *t, NodeId id, int input, int from)
{
    const Graph *g = t->map->g;
    const Node *n = graph_node(g, id);
    TraceStep s = { .t = t, .g = g, .id = id, .n = n, .input = input, .from = from, .in = t->place->spreads[from] };
    s.x = &graph_value(g, s.in.value)->shape;
    if (node_output(n, 0) != 0) s.y = &graph_value(g, node_output(n, 0))->shape;
    return follow(&s);
}
