/* Normalisations that ONNX Runtime's optimizer makes: SkipLayerNormalization, SkipSimplifiedLayerNormalization (the sum of a branch and its
 * shortcut, normalised), SimplifiedLayerNormalization (no mean taken away), EmbedLayerNormalization (three tables looked up and added). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops/list.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta over one row; `simple`: the mean is taken as 0. */
static void norm_row(const float *x, int64_t count, bool simple, double epsilon, const float *gamma, const float *beta, float *y,
                     double *mean, double *inverse)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; !simple && i < count; i++) sum += x[i];
    *mean = simple || count == 0 ? 0 : sum / (double)count;
    for (int64_t i = 0; i < count; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    *inverse = 1 / sqrt((count > 0 ? squares / (double)count : 0) + epsilon);
    for (int64_t i = 0; i < count; i++) y[i] = (float)((x[i] - *mean) * *inverse * gamma[i] + (beta != NULL ? beta[i] : 0));
}

/* --- SimplifiedLayerNormalization, which stands in the domain of ai.onnx */

static Status simple_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    int axis;
    if (c->in[0].shape.rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", -1), c->in[0].shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    if (c->output_count < 2) return OK;
    c->out[1] = (TypeInfo){ DT_FLOAT, c->in[0].shape };
    for (int d = axis; d < c->in[0].shape.rank; d++) c->out[1].shape.dims[d] = 1;
    return OK;
}

static Status simple_float(OpCall *c)
{
    const Tensor *x = c->in[0];
    int axis;
    if (!axis_fix(node_int(c->node, "axis", -1), x->shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    int64_t width = shape_span(&x->shape, axis, x->shape.rank), rows = shape_span(&x->shape, 0, axis);
    TRY(ms_check_count(c, 1, width, false));
    TRY(opcall_prepare(c));
    double epsilon = node_float(c->node, "epsilon", 1e-5F);
#pragma omp parallel for schedule(static) if (rows * width > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) {
        double mean, inverse;
        norm_row(tensor_floats(x) + r * width, width, true, epsilon, tensor_floats(c->in[1]), NULL, tensor_floats(&c->out[0]) + r * width,
                 &mean, &inverse);
        if (c->output_count > 1 && c->out[1].data != NULL) tensor_floats(&c->out[1])[r] = (float)inverse;
    }
    return OK;
}

static Status simple_forward(OpCall *c)
{
    return opcall_in_float(c, simple_float);
}

/* --- SkipLayerNormalization (input, skip, gamma, beta, bias), SkipSimplifiedLayerNormalization (input, skip, gamma, bias) */

static bool is_simple(const Node *n)
{
    return str_is(n->type, "SkipSimplifiedLayerNormalization");
}

static Status skip_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    for (int i = 1; i < 3 && i < c->output_count; i++) {
        c->out[i] = (TypeInfo){ DT_FLOAT, c->in[0].shape };
        if (c->in[0].shape.rank > 0) c->out[i].shape.dims[c->in[0].shape.rank - 1] = 1;
    }
    if (c->output_count > 3) c->out[3] = c->in[0];
    return OK;
}

static Status skip_float(OpCall *c)
{
    bool simple = is_simple(c->node);
    const Tensor *x = c->in[0], *skip = c->in[1], *beta = simple ? NULL : ms_input(c, 3), *bias = ms_input(c, simple ? 3 : 4);
    if (x->shape.rank < 2) return op_fail(c, ERR_DATA, "the input has rank %d", x->shape.rank);
    int64_t width = x->shape.dims[x->shape.rank - 1], rows = shape_span(&x->shape, 0, x->shape.rank - 1), total = tensor_count(x);
    for (int i = 2; i < 5; i++) TRY(ms_check_count(c, i, width, false));
    int64_t period = tensor_count(skip), tail = x->shape.rank > 2 ? total / (x->shape.dims[0] > 0 ? x->shape.dims[0] : 1) : total;
    if (period != total && period != tail) return op_fail(c, ERR_DATA, "the shortcut's shape does not fit the input's");
    TRY(opcall_prepare(c));
    float *sums = alloc_array((size_t)total + 1, sizeof *sums);
    if (sums == NULL) return err_no_memory(c->err, "the sum of a shortcut");
    double epsilon = node_float(c->node, "epsilon", 1e-12F);
#pragma omp parallel for schedule(static) if (total > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) {
        float *sum = sums + r * width;
        double mean, inverse;
        for (int64_t i = 0; i < width; i++) {
            sum[i] = tensor_floats(x)[r * width + i] + tensor_floats(skip)[(r * width + i) % period];
            if (bias != NULL) sum[i] += tensor_floats(bias)[i];
        }
        norm_row(sum, width, simple, epsilon, tensor_floats(c->in[2]), beta != NULL ? tensor_floats(beta) : NULL,
                 tensor_floats(&c->out[0]) + r * width, &mean, &inverse);
        if (c->output_count > 1 && c->out[1].data != NULL) tensor_floats(&c->out[1])[r] = (float)mean;
        if (c->output_count > 2 && c->out[2].data != NULL) tensor_floats(&c->out[2])[r] = (float)inverse;
    }
    if (c->output_count > 3 && c->out[3].data != NULL) memcpy(c->out[3].data, sums, (size_t)total * sizeof *sums);
    free(sums);
    return OK;
}

static Status skip_forward(OpCall *c)
{
    return opcall_in_float(c, skip_float);
}

/* --- EmbedLayerNormalization */

enum { EMBED_IDS, EMBED_SEGMENTS, EMBED_WORDS, EMBED_PLACES, EMBED_SEGMENT_TABLE, EMBED_GAMMA, EMBED_BETA, EMBED_MASK, EMBED_POSITIONS };

static Status embed_infer(InferCall *c)
{
    const Shape *ids = &c->in[EMBED_IDS].shape, *words = &c->in[EMBED_WORDS].shape;
    DType type = c->in[EMBED_WORDS].type;
    c->out[0].type = type;
    if (c->output_count > 1) c->out[1].type = DT_INT32;
    if (c->output_count > 2) c->out[2].type = type;
    if (ids->rank < 0 || words->rank < 0) return OK;
    if (ids->rank != 2 || words->rank != 2) return op_fail(c, ERR_DATA, "ids of rank %d and a table of rank %d, expected two of each",
                                                           ids->rank, words->rank);
    c->out[0].shape = shape_of(3, (int64_t[]){ ids->dims[0], ids->dims[1], words->dims[1] });
    if (c->output_count > 1) c->out[1].shape = shape_of(1, ids->dims);
    if (c->output_count > 2) c->out[2].shape = c->out[0].shape;
    return OK;
}

/* Adds the row of `table` that `ids` names at `at`. */
static Status add_row(const OpCall *c, int table, int64_t id, int64_t width, float *sum)
{
    const Tensor *t = c->in[table];
    if (id < 0 || id >= t->shape.dims[0]) return op_fail(c, ERR_DATA, "index %lld is outside a table of %lld rows", (long long)id,
                                                         (long long)t->shape.dims[0]);
    const float *row = tensor_floats(t) + id * width;
    for (int64_t i = 0; i < width; i++) sum[i] += row[i];
    return OK;
}

static Status embed_check(const OpCall *c, int64_t batch, int64_t length, int64_t width)
{
    static const int tables[] = { EMBED_WORDS, EMBED_PLACES, EMBED_SEGMENT_TABLE };
    for (int i = 0; i < 3; i++) {
        const Tensor *t = ms_input(c, tables[i]);
        TRY(ms_check_rank(c, tables[i], 2));
        if (t != NULL && t->type != DT_FLOAT) return op_bad_type(c, t->type);
        if (t != NULL && t->shape.dims[1] != width) return op_fail(c, ERR_DATA, "the tables differ in width");
    }
    TRY(ms_check_count(c, EMBED_SEGMENTS, batch * length, false));
    TRY(ms_check_count(c, EMBED_MASK, batch * length, false));
    TRY(ms_check_count(c, EMBED_GAMMA, width, false));
    TRY(ms_check_count(c, EMBED_BETA, width, false));
    const Tensor *positions = ms_input(c, EMBED_POSITIONS);
    if (positions != NULL && tensor_count(positions) != length) TRY(ms_check_count(c, EMBED_POSITIONS, batch * length, false));
    if ((ms_input(c, EMBED_SEGMENTS) == NULL) != (ms_input(c, EMBED_SEGMENT_TABLE) == NULL))
        return op_fail(c, ERR_DATA, "segment ids and their table come together");
    return OK;
}

static Status embed_float(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *ids = c->in[EMBED_IDS], *segments = ms_input(c, EMBED_SEGMENTS), *positions = ms_input(c, EMBED_POSITIONS);
    const Tensor *mask = ms_input(c, EMBED_MASK);
    int64_t batch = ids->shape.dims[0], length = ids->shape.dims[1], width = c->in[EMBED_WORDS]->shape.dims[1];
    TRY(embed_check(c, batch, length, width));
    bool keep = c->output_count > 2 && c->out[2].data != NULL;
    float *sum = alloc_array((size_t)width + 1, sizeof *sum);
    if (sum == NULL) return err_no_memory(c->err, "a sum of embeddings");
    Status status = OK;
    double mean, inverse, epsilon = node_float(c->node, "epsilon", 1e-12F);
    for (int64_t r = 0; r < batch * length; r++) {
        int64_t place = positions == NULL ? r % length : tensor_get_int(positions, tensor_count(positions) == length ? r % length : r);
        for (int64_t i = 0; i < width; i++) sum[i] = 0;
        TRY_OUT(add_row(c, EMBED_WORDS, tensor_get_int(ids, r), width, sum));
        TRY_OUT(add_row(c, EMBED_PLACES, place, width, sum));
        if (segments != NULL) TRY_OUT(add_row(c, EMBED_SEGMENT_TABLE, tensor_get_int(segments, r), width, sum));
        if (keep) memcpy(tensor_floats(&c->out[2]) + r * width, sum, (size_t)width * sizeof *sum);
        norm_row(sum, width, false, epsilon, tensor_floats(c->in[EMBED_GAMMA]), tensor_floats(c->in[EMBED_BETA]),
                 tensor_floats(&c->out[0]) + r * width, &mean, &inverse);
    }
    for (int64_t b = 0; c->output_count > 1 && c->out[1].data != NULL && b < batch; b++) {
        int64_t ones = 0;
        for (int64_t i = 0; mask != NULL && i < length; i++) ones += tensor_get_int(mask, b * length + i) == 1;
        tensor_set_int(&c->out[1], b, ones);
    }
out:
    free(sum);
    return status;
}

static Status embed_forward(OpCall *c)
{
    OPCALL_HALF(c, embed_float);
    return embed_float(c);
}

static void norm_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (shape_count(&c->out[0].shape, &count)) out->elementwise = 5 * count;
}

const Op ops_ms_norm[] = {
    OP_ENTRY("SimplifiedLayerNormalization", 1, 0, 2, 2, 1, 2, 0, simple_infer, simple_forward, norm_cost),
    MS_ENTRY("SkipLayerNormalization", 3, 5, 1, 4, 0, skip_infer, skip_forward, norm_cost),
    MS_ENTRY("SkipSimplifiedLayerNormalization", 3, 4, 1, 4, 0, skip_infer, skip_forward, norm_cost),
    MS_ENTRY("EmbedLayerNormalization", 7, 9, 1, 3, 1U << EMBED_SEGMENTS | 1U << EMBED_SEGMENT_TABLE, embed_infer, embed_forward,
             norm_cost),
    OP_END,
};
