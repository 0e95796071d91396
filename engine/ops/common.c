#include "engine/ops/common.h"

#include <stdio.h>
#include <stdlib.h>

Status op_error(const Graph *g, const Node *n, Err *err, Status code, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    Str label = node_label(g, n);
    return err_set(err, code, "%.*s '%.*s': %s", STR_ARG(n->type), STR_ARG(label), text);
}

bool axis_fix(int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank) return false;
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

bool norm_is_training(const Node *n)
{
    if (n->op != NULL && n->op->until == NORM_OLDEST) return node_int(n, "is_test", 0) == 0;
    return node_int(n, "training_mode", 0) != 0;
}

bool norm_is_pointwise(const Node *n)
{
    return node_int(n, "spatial", 1) == 0;
}

/* ---- lists ---- */

static ListState list_of_attr(const Node *n, const char *attr, int64_t *out, int max, int *count)
{
    const Attr *a = attr != NULL ? node_attr(n, attr) : NULL;
    if (a == NULL) return LIST_ABSENT;
    if (a->type == ATTR_INT && max > 0) {
        out[0] = a->i;
        *count = 1;
        return LIST_KNOWN;
    }
    if (a->type != ATTR_INTS || a->count > max) return LIST_UNKNOWN;
    for (int64_t i = 0; i < a->count; i++) out[i] = a->ints[i];
    *count = (int)a->count;
    return LIST_KNOWN;
}

static ListState list_of_tensor(const Tensor *t, int64_t *out, int max, int *count)
{
    int64_t total = tensor_count(t);
    if (total > max || !(dtype_is_integer(t->type) || t->type == DT_BOOL)) return LIST_UNKNOWN;
    for (int64_t i = 0; i < total; i++) out[i] = tensor_get_int(t, i);
    *count = (int)total;
    return LIST_KNOWN;
}

ListState infer_list(const InferCall *c, int input, const char *attr, int64_t *out, int max, int *count)
{
    *count = 0;
    ListState state = list_of_attr(c->node, attr, out, max, count);
    if (state != LIST_ABSENT || input < 0 || node_input(c->node, input) == 0) return state;
    if (c->constant[input] != NULL) return list_of_tensor(c->constant[input], out, max, count);
    const Ints *known = &c->ints[input];
    if (known->count < 0 || known->count > max) return LIST_UNKNOWN;
    for (int i = 0; i < known->count; i++) {
        if (known->symbol[i]) return LIST_UNKNOWN;
        out[i] = known->at[i];
    }
    *count = known->count;
    return LIST_KNOWN;
}

ListState call_list(const OpCall *c, int input, const char *attr, int64_t *out, int max, int *count)
{
    *count = 0;
    ListState state = list_of_attr(c->node, attr, out, max, count);
    if (state != LIST_ABSENT || input < 0 || input >= c->input_count || c->in[input] == NULL) return state;
    return list_of_tensor(c->in[input], out, max, count);
}

Status axes_mask(const Graph *g, const Node *n, Err *err, const int64_t *axes, int count, int rank, bool *mask)
{
    for (int d = 0; d < rank; d++) mask[d] = false;
    for (int i = 0; i < count; i++) {
        int axis;
        if (!axis_fix(axes[i], rank, &axis))
            return op_error(g, n, err, ERR_DATA, "axis %lld is outside a tensor of rank %d", (long long)axes[i], rank);
        if (mask[axis]) return op_error(g, n, err, ERR_DATA, "axis %d is named twice", axis);
        mask[axis] = true;
    }
    return OK;
}

/* ---- shapes ---- */

int64_t shape_span(const Shape *s, int from, int to)
{
    int64_t product = 1;
    for (int d = from; d < to; d++) {
        if (__builtin_mul_overflow(product, s->dims[d], &product)) return INT64_MAX;
    }
    return product;
}

static bool dim_broadcast(int64_t a, int64_t b, int64_t *out)
{
    if (a == 1 || a == b) *out = b;
    else if (b == 1) *out = a;
    else if (a >= 0 && b >= 0) return false;
    else if (a > 1) *out = a; /* a symbol against a size above one: it is that size or one */
    else if (b > 1) *out = b;
    else *out = DIM_UNKNOWN;
    return true;
}

bool shape_broadcast(const Shape *a, const Shape *b, Shape *out)
{
    Shape result = SHAPE_UNKNOWN;
    if (a->rank >= 0 && b->rank >= 0) {
        result.rank = a->rank > b->rank ? a->rank : b->rank;
        for (int d = 0; d < result.rank; d++) {
            int da = d - (result.rank - a->rank), db = d - (result.rank - b->rank);
            if (!dim_broadcast(da < 0 ? 1 : a->dims[da], db < 0 ? 1 : b->dims[db], &result.dims[d])) return false;
        }
    }
    *out = result;
    return true;
}

void strides_of(const Shape *s, int64_t *strides)
{
    int64_t step = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        strides[d] = step;
        step *= s->dims[d];
    }
}

void strides_broadcast(const Shape *s, const Shape *out, int64_t *strides)
{
    int64_t own[MAX_RANK];
    strides_of(s, own);
    for (int d = 0; d < out->rank; d++) {
        int at = d - (out->rank - s->rank);
        strides[d] = at < 0 || s->dims[at] == 1 ? 0 : own[at];
    }
}

/* ---- inference ---- */

void ints_of_tensor(const Tensor *t, Ints *out)
{
    out->count = -1;
    int64_t count = tensor_count(t);
    if (count > MAX_INTS || t->shape.rank > 1 || !(dtype_is_integer(t->type) || t->type == DT_BOOL)) return;
    out->count = (int)count;
    out->scalar = t->shape.rank == 0;
    for (int i = 0; i < out->count; i++) {
        out->at[i] = tensor_get_int(t, i);
        out->symbol[i] = false;
    }
}

Status infer_same(InferCall *c)
{
    if (c->output_count < 1 || c->input_count < 1) return OK;
    c->out[0] = c->in[0];
    c->out_ints[0] = c->ints[0];
    return OK;
}

static Status broadcast_inputs(InferCall *c, DType type)
{
    if (c->input_count < 1) return OK;
    Shape shape = c->in[0].shape;
    for (int i = 1; i < c->input_count; i++) {
        if (!shape_broadcast(&shape, &c->in[i].shape, &shape)) {
            char a[128], b[128];
            shape_print(&c->in[0].shape, a, sizeof a);
            shape_print(&c->in[i].shape, b, sizeof b);
            return op_fail(c, ERR_DATA, "input shapes %s and %s do not broadcast", a, b);
        }
    }
    c->out[0] = (TypeInfo){ type, shape };
    return OK;
}

static DType common_type(const InferCall *c)
{
    for (int i = 0; i < c->input_count; i++) {
        if (c->in[i].type != DT_NONE) return c->in[i].type;
    }
    return DT_NONE;
}

Status infer_broadcast(InferCall *c)
{
    return broadcast_inputs(c, common_type(c));
}

Status infer_broadcast_bool(InferCall *c)
{
    return broadcast_inputs(c, DT_BOOL);
}

/* ---- cost ---- */

static int64_t count_of(const TypeInfo *info)
{
    int64_t count;
    return shape_count(&info->shape, &count) ? count : 0;
}

void cost_none(const CostCall *c, OpCost *out)
{
    (void)c;
    (void)out;
}

void cost_transcendental(const CostCall *c, OpCost *out)
{
    if (c->output_count > 0) out->transcendental = count_of(&c->out[0]);
}

void cost_input(const CostCall *c, OpCost *out)
{
    if (c->input_count > 0) out->elementwise = count_of(&c->in[0]);
}
