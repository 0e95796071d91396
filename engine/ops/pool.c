/* Pooling: MaxPool, AveragePool, LpPool over windows, and their Global forms over all of the spatial axes.
 * Padding never wins a maximum; it counts for an average only with count_include_pad. */
#include "engine/ops/window.h"

#include <float.h>
#include <math.h>

#include "engine/ops/common.h"
#include "engine/ops/list.h"

typedef enum PoolKind { POOL_MAX, POOL_AVERAGE, POOL_LP } PoolKind;

static PoolKind pool_kind(const Node *n)
{
    if (str_ends(n->type, "MaxPool")) return POOL_MAX;
    return str_ends(n->type, "AveragePool") ? POOL_AVERAGE : POOL_LP;
}

static Status pool_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    if (c->output_count > 1) c->out[1].type = DT_INT64;
    if (c->in[0].shape.rank < 0) return OK;
    Window w;
    TRY(window_init(&w, c->graph, c->node, &c->in[0].shape, NULL, c->err));
    c->out[0].shape = window_shape(&w, c->in[0].shape.dims[0], c->in[0].shape.dims[1]);
    if (c->output_count > 1) c->out[1].shape = c->out[0].shape;
    return OK;
}

static Status global_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    if (c->in[0].shape.rank >= 0 && c->in[0].shape.rank < 2)
        return op_fail(c, ERR_DATA, "the input has rank %d, expected at least 2", c->in[0].shape.rank);
    for (int i = 2; i < c->in[0].shape.rank; i++) c->out[0].shape.dims[i] = 1;
    return OK;
}

typedef struct PoolRule {
    PoolKind kind;
    bool count_padding, column_major;
    double p; /* of LpPool */
} PoolRule;

/* The window at output position `at`; *where is the offset of the maximum in the plane. */
static double pool_window(const Window *w, const PoolRule *rule, const Tensor *x, int64_t plane, const int64_t *at, int64_t *where)
{
    double best = -INFINITY, sum = 0;
    int64_t counted = 0;
    *where = -1;
    for (int64_t i = 0; i < w->kernel[0]; i++)
        for (int64_t r = 0; r < w->kernel[1]; r++)
            for (int64_t s = 0; s < w->kernel[2]; s++) {
                int64_t z = at[0] * w->stride[0] - w->begin[0] + i * w->dilation[0];
                int64_t row = at[1] * w->stride[1] - w->begin[1] + r * w->dilation[1];
                int64_t col = at[2] * w->stride[2] - w->begin[2] + s * w->dilation[2];
                if (z >= w->in[0] + w->end[0] || row >= w->in[1] + w->end[1] || col >= w->in[2] + w->end[2]) continue;
                counted += rule->count_padding;
                if (z < 0 || z >= w->in[0] || row < 0 || row >= w->in[1] || col < 0 || col >= w->in[2]) continue;
                counted += !rule->count_padding;
                int64_t offset = (z * w->in[1] + row) * w->in[2] + col;
                double v = tensor_get(x, plane + offset);
                if (*where < 0 || v > best || (isnan(v) && !isnan(best))) {
                    best = v;
                    *where = rule->column_major ? (col * w->in[1] + row) * w->in[0] + z : offset;
                }
                sum += rule->kind == POOL_LP ? pow(fabs(v), rule->p) : v;
            }
    if (rule->kind == POOL_MAX) return best;
    if (rule->kind == POOL_LP) return pow(sum, 1.0 / rule->p);
    return counted > 0 ? sum / (double)counted : 0;
}

static Status pool_run(OpCall *c, const Window *w, const PoolRule *rule)
{
    const Tensor *x = c->in[0];
    Shape shape = window_shape(w, x->shape.dims[0], x->shape.dims[1]);
    bool indices = c->output_count > 1 && c->wanted[1];
    TRY(opcall_output(c, 0, x->type, &shape));
    if (indices) TRY(opcall_output(c, 1, DT_INT64, &shape));
    int64_t planes = x->shape.dims[0] * x->shape.dims[1], in_plane = w->in[0] * w->in[1] * w->in[2];
    int64_t out_plane = w->out[0] * w->out[1] * w->out[2];
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++)
        for (int64_t o = 0; o < out_plane; o++) {
            int64_t at[3] = { o / (w->out[1] * w->out[2]), o / w->out[2] % w->out[1], o % w->out[2] }, where;
            tensor_set(&c->out[0], p * out_plane + o, pool_window(w, rule, x, p * in_plane, at, &where));
            if (indices) tensor_set_int(&c->out[1], p * out_plane + o, p * in_plane + where);
        }
    return OK;
}

static Status pool_rule(const OpCall *c, PoolRule *rule)
{
    const Node *n = c->node;
    *rule = (PoolRule){ .kind = pool_kind(n), .count_padding = node_int(n, "count_include_pad", 0) != 0,
                        .column_major = node_int(n, "storage_order", 0) != 0, .p = 2 };
    const Attr *p = node_attr(n, "p");
    if (p != NULL) rule->p = p->type == ATTR_FLOAT ? (double)p->f : (double)p->i;
    if (rule->p <= 0) return op_error(c->graph, n, c->err, ERR_DATA, "p is %g", rule->p);
    if (c->in[0]->type == DT_STRING || dtype_bits(c->in[0]->type) == 0)
        return op_error(c->graph, n, c->err, ERR_UNSUPPORTED, "%s is not supported", dtype_name(c->in[0]->type));
    return OK;
}

static Status pool_forward(OpCall *c)
{
    PoolRule rule;
    Window w;
    TRY(pool_rule(c, &rule));
    TRY(window_init(&w, c->graph, c->node, &c->in[0]->shape, NULL, c->err));
    return pool_run(c, &w, &rule);
}

/* One window over the whole plane; any number of spatial axes, so the plane is taken as one row. */
static Status global_forward(OpCall *c)
{
    PoolRule rule;
    TRY(pool_rule(c, &rule));
    const Tensor *x = c->in[0];
    if (x->shape.rank < 2) return op_fail(c, ERR_DATA, "the input has rank %d", x->shape.rank);
    Window w = { .dims = x->shape.rank - 2, .in = { 1, 1, 1 }, .out = { 1, 1, 1 }, .kernel = { 1, 1, 1 }, .stride = { 1, 1, 1 },
                 .dilation = { 1, 1, 1 } };
    Shape shape = x->shape;
    for (int i = 2; i < x->shape.rank; i++) {
        w.kernel[2] *= x->shape.dims[i];
        shape.dims[i] = 1;
    }
    if (w.kernel[2] == 0) return op_fail(c, ERR_DATA, "the input is empty");
    w.in[2] = w.kernel[2];
    TRY(opcall_output(c, 0, x->type, &shape));
    int64_t planes = x->shape.dims[0] * x->shape.dims[1], where;
    const int64_t at[3] = { 0, 0, 0 };
    for (int64_t p = 0; p < planes; p++) tensor_set(&c->out[0], p, pool_window(&w, &rule, x, p * w.in[2], at, &where));
    return OK;
}

static void pool_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0, kernel = 1, count = 0;
    if (!shape_count(&c->out[0].shape, &outputs)) return;
    const int64_t *k = node_ints(c->node, "kernel_shape", &count);
    for (int64_t i = 0; i < count; i++)
        if (__builtin_mul_overflow(kernel, k[i], &kernel)) return;
    out->elementwise = outputs * kernel;
}

static void global_cost(const CostCall *c, OpCost *out)
{
    (void)shape_count(&c->in[0].shape, &out->elementwise);
}

#define POOL(name, outputs) OP_ENTRY(name, 1, 0, 1, 1, 1, outputs, 0, pool_infer, pool_forward, pool_cost)
#define GLOBAL(name) OP_ENTRY(name, 1, 0, 1, 1, 1, 1, 0, global_infer, global_forward, global_cost)

const Op ops_pool[] = {
    POOL("MaxPool", 2),
    POOL("AveragePool", 1),
    POOL("LpPool", 1),
    GLOBAL("GlobalMaxPool"),
    GLOBAL("GlobalAveragePool"),
    GLOBAL("GlobalLpPool"),
    OP_END,
};
