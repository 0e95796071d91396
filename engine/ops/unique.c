/* Unique: the different elements, or slices along an axis, with where they come from. */
#include "engine/ops/common.h"

#include <math.h>
#include <stdlib.h>

static Status infer_unique(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    const Attr *a = node_attr(c->node, "axis");
    int axis = 0;
    for (int i = 0; i < c->output_count; i++) {
        c->out[i] = (TypeInfo){ i == 0 ? c->in[0].type : DT_INT64, { .rank = 1, .dims = { DIM_UNKNOWN } } };
    }
    if (a == NULL) return OK;
    c->out[0].shape = *x;
    if (x->rank < 0) return OK;
    if (!axis_fix(a->i, x->rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", x->rank);
    c->out[0].shape.dims[axis] = DIM_UNKNOWN;
    return OK;
}

/* The tensor as [outer, count, inner]: slice i holds the elements (o, i, k). */
typedef struct Slices {
    const Tensor *x;
    int64_t outer, count, inner;
} Slices;

/* Ascending, NaN last and equal to itself. */
static int compare_elements(const Tensor *x, int64_t a, int64_t b)
{
    if (dtype_is_float(x->type)) {
        double p = tensor_get(x, a), q = tensor_get(x, b);
        if (isnan(p) || isnan(q)) return isnan(p) - isnan(q);
        return (p > q) - (p < q);
    }
    int64_t p = tensor_get_int(x, a), q = tensor_get_int(x, b);
    if (x->type == DT_UINT64) return ((uint64_t)p > (uint64_t)q) - ((uint64_t)p < (uint64_t)q);
    return (p > q) - (p < q);
}

static int compare_slices(const Slices *s, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < s->outer; o++) {
        for (int64_t k = 0; k < s->inner; k++) {
            int64_t base = o * s->count * s->inner + k;
            int order = compare_elements(s->x, base + a * s->inner, base + b * s->inner);
            if (order != 0) return order;
        }
    }
    return 0;
}

static int by_slice(const void *a, const void *b, void *slices)
{
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    int order = compare_slices(slices, p, q);
    return order != 0 ? order : (p > q) - (p < q);
}

static int by_index(const void *a, const void *b)
{
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    return (p > q) - (p < q);
}

/* first[j]: the slice that group j was met at first, in the order wanted; group[i]: the group of slice i. Returns how many there are. */
static int64_t find_groups(Slices *s, bool sorted, int64_t *order, int64_t *first, int64_t *group)
{
    int64_t groups = 0;
    for (int64_t i = 0; i < s->count; i++) order[i] = i;
    qsort_r(order, (size_t)s->count, sizeof *order, by_slice, s);
    for (int64_t i = 0; i < s->count; i++) {
        if (i == 0 || compare_slices(s, order[i - 1], order[i]) != 0) first[groups++] = order[i];
        group[order[i]] = first[groups - 1]; /* for now named by its first slice */
    }
    if (!sorted) qsort(first, (size_t)groups, sizeof *first, by_index);
    for (int64_t j = 0; j < groups; j++) order[first[j]] = j;
    for (int64_t i = 0; i < s->count; i++) group[i] = order[group[i]];
    return groups;
}

static Status write_outputs(OpCall *c, const Slices *s, Shape shape, int axis, int64_t groups, const int64_t *first, const int64_t *group)
{
    size_t block = dtype_size(s->x->type) * (size_t)s->inner;
    Shape row = { .rank = 1, .dims = { groups } }, all = { .rank = 1, .dims = { s->count } };
    shape.dims[axis] = groups;
    TRY(opcall_output(c, 0, s->x->type, &shape));
    for (int64_t o = 0; block > 0 && o < s->outer; o++) {
        for (int64_t j = 0; j < groups; j++)
            memcpy(c->out[0].data + (size_t)(o * groups + j) * block, s->x->data + (size_t)(o * s->count + first[j]) * block, block);
    }
    TRY(opcall_output(c, 1, DT_INT64, &row));
    TRY(opcall_output(c, 2, DT_INT64, &all));
    TRY(opcall_output(c, 3, DT_INT64, &row));
    for (int64_t j = 0; c->output_count > 1 && j < groups; j++) tensor_set_int(&c->out[1], j, first[j]);
    for (int64_t i = 0; c->output_count > 2 && i < s->count; i++) tensor_set_int(&c->out[2], i, group[i]);
    for (int64_t j = 0; c->output_count > 3 && j < groups; j++) tensor_set_int(&c->out[3], j, 0);
    for (int64_t i = 0; c->output_count > 3 && i < s->count; i++)
        tensor_set_int(&c->out[3], group[i], tensor_get_int(&c->out[3], group[i]) + 1);
    return OK;
}

static Status forward_unique(OpCall *c)
{
    const Tensor *x = c->in[0];
    const Attr *a = node_attr(c->node, "axis");
    Shape shape = a != NULL ? x->shape : (Shape){ .rank = 1, .dims = { tensor_count(x) } };
    int axis = 0;
    if (dtype_size(x->type) == 0 || x->type == DT_COMPLEX64 || x->type == DT_COMPLEX128) return op_bad_type(c, x->type);
    if (a != NULL && !axis_fix(a->i, shape.rank, &axis)) return op_fail(c, ERR_DATA, "its axis is outside a tensor of rank %d", shape.rank);
    Slices s = { x, shape_span(&shape, 0, axis), shape.dims[axis], shape_span(&shape, axis + 1, shape.rank) };
    size_t count = (size_t)s.count;
    int64_t *order = alloc_array(count + 1, sizeof *order), *first = alloc_array(count + 1, sizeof *first);
    int64_t *group = alloc_array(count + 1, sizeof *group);
    Status status = order == NULL || first == NULL || group == NULL ? err_no_memory(c->err, "the different slices") : OK;
    if (status == OK) {
        int64_t groups = find_groups(&s, node_int(c->node, "sorted", 1) != 0, order, first, group);
        status = write_outputs(c, &s, shape, axis, groups, first, group);
    }
    free(order);
    free(first);
    free(group);
    return status;
}

const Op ops_unique[] = {
    OP_ENTRY("Unique", 11, 0, 1, 1, 1, 4, OP_DATA_SHAPE, infer_unique, forward_unique, cost_input),
    OP_END,
};
