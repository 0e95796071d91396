/* NonMaxSuppression, MaxUnpool, Col2Im, CenterCropPad, Det. */
#include "engine/ops/doubles.h"
#include "engine/ops/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- NonMaxSuppression: per image and class, boxes by falling score, but those that overlap a chosen one too much */

static Status nms_infer(InferCall *c)
{
    c->out[0] = (TypeInfo){ DT_INT64, { .rank = 2, .dims = { DIM_UNKNOWN, 3 } } };
    return OK;
}

typedef struct Candidate {
    double score;
    int64_t index;
} Candidate;

static int by_score(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* [low, high] of a box along y and x: two corners in any order, or center and size. */
static void box_sides(const double *box, bool center, double low[2], double high[2])
{
    for (int d = 0; d < 2; d++) {
        double a = center ? box[1 - d] - box[3 - d] / 2 : box[d], b = center ? box[1 - d] + box[3 - d] / 2 : box[d + 2];
        low[d] = fmin(a, b);
        high[d] = fmax(a, b);
    }
}

static bool overlaps(const double *a, const double *b, bool center, double threshold)
{
    double al[2], ah[2], bl[2], bh[2], shared = 1, area_a = 1, area_b = 1;
    box_sides(a, center, al, ah);
    box_sides(b, center, bl, bh);
    for (int d = 0; d < 2; d++) {
        double side = fmin(ah[d], bh[d]) - fmax(al[d], bl[d]);
        if (!(side > 0)) return false;
        shared *= side;
        area_a *= ah[d] - al[d];
        area_b *= bh[d] - bl[d];
    }
    double joined = area_a + area_b - shared;
    return area_a > 0 && area_b > 0 && joined > 0 && (float)(shared / joined) > (float)threshold;
}

/* Chooses among `count` sorted candidates; their first `*chosen` entries become the chosen ones. */
static void choose(Candidate *list, int64_t count, int64_t most, const double *boxes, bool center, double threshold, int64_t *chosen)
{
    *chosen = 0;
    for (int64_t i = 0; i < count && *chosen < most; i++) {
        bool keep = true;
        for (int64_t k = 0; k < *chosen && keep; k++)
            keep = !overlaps(boxes + 4 * list[i].index, boxes + 4 * list[k].index, center, threshold);
        if (keep) list[(*chosen)++] = list[i];
    }
}

static double scalar_or(const OpCall *c, int i, double fallback)
{
    return call_has(c, i) && tensor_count(c->in[i]) > 0 ? tensor_get(c->in[i], 0) : fallback;
}

static Status nms_forward(OpCall *c)
{
    const Shape *b = &c->in[0]->shape, *s = &c->in[1]->shape;
    if (b->rank != 3 || s->rank != 3 || b->dims[2] != 4 || s->dims[0] != b->dims[0] || s->dims[2] != b->dims[1])
        return op_fail(c, ERR_DATA, "boxes are not [N,count,4] with scores [N,classes,count]");
    bool center = node_int(c->node, "center_point_box", 0) != 0, has_least = call_has(c, 4);
    double threshold = scalar_or(c, 3, 0), least = scalar_or(c, 4, 0);
    int64_t most = call_has(c, 2) && tensor_count(c->in[2]) > 0 ? tensor_get_int(c->in[2], 0) : 0, count = b->dims[1], chosen, total = 0;
    if (most > count) most = count;
    if (most < 0) most = 0;
    int64_t lists = s->dims[0] * s->dims[1], room;
    if (__builtin_mul_overflow(lists * 3, most, &room)) return op_fail(c, ERR_MEMORY, "too many boxes");
    double *boxes = NULL, *scores = NULL;
    Candidate *list = alloc_zeroed((size_t)count + 1, sizeof *list);
    int64_t *found = alloc_zeroed((size_t)room + 1, sizeof *found);
    Status status = list != NULL && found != NULL ? doubles_input(c, 0, &boxes) : err_no_memory(c->err, "boxes");
    if (status == OK) status = doubles_input(c, 1, &scores);
    for (int64_t l = 0; status == OK && l < lists; l++) {
        int64_t candidates = 0, image = l / s->dims[1];
        for (int64_t i = 0; i < count; i++) {
            double score = scores[l * count + i];
            if (!has_least || score > least) list[candidates++] = (Candidate){ score, i };
        }
        qsort(list, (size_t)candidates, sizeof *list, by_score);
        choose(list, candidates, most, boxes + image * count * 4, center, threshold, &chosen);
        for (int64_t k = 0; k < chosen; k++, total++) {
            found[3 * total] = image;
            found[3 * total + 1] = l % s->dims[1];
            found[3 * total + 2] = list[k].index;
        }
    }
    Shape shape = shape_of(2, (int64_t[]){ total, 3 });
    if (status == OK) status = opcall_output(c, 0, DT_INT64, &shape);
    if (status == OK && total > 0) memcpy(c->out[0].data, found, (size_t)total * 3 * sizeof *found);
    free(boxes);
    free(scores);
    free(list);
    free(found);
    return status;
}

/* --- MaxUnpool: values go back to where MaxPool's indices say; the rest is zero. */

/* The shape that the pooling came from, by its attributes. */
static Status unpooled(const Graph *g, const Node *n, const Shape *x, Shape *out, Err *err)
{
    int64_t kernels, strides, pads;
    const int64_t *kernel = node_ints(n, "kernel_shape", &kernels), *stride = node_ints(n, "strides", &strides);
    const int64_t *pad = node_ints(n, "pads", &pads);
    int dims = x->rank - 2;
    if (dims < 1 || kernels != dims || (strides != 0 && strides != dims) || (pads != 0 && pads != 2 * dims))
        return op_error(g, n, err, ERR_DATA, "its attributes do not fit an input of rank %d", x->rank);
    *out = *x;
    for (int d = 0; d < dims; d++) {
        if (x->dims[d + 2] < 0) continue;
        int64_t size = (x->dims[d + 2] - 1) * (strides > 0 ? stride[d] : 1) - (pads > 0 ? pad[d] + pad[d + dims] : 0) + kernel[d];
        if (size < 0 || size > INT32_MAX) return op_error(g, n, err, ERR_DATA, "axis %d would have %lld entries", d, (long long)size);
        out->dims[d + 2] = size;
    }
    return OK;
}

static Status unpool_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    if (c->in[0].shape.rank < 0) return OK;
    if (c->input_count < 3 || node_input(c->node, 2) == 0) return unpooled(c->graph, c->node, &c->in[0].shape, &c->out[0].shape, c->err);
    const Ints *size = &c->ints[2];
    if (size->count != c->in[0].shape.rank) return OK;
    c->out[0].shape.rank = size->count;
    for (int d = 0; d < size->count; d++) {
        if (!size->symbol[d] && size->at[d] < 0) return op_fail(c, ERR_DATA, "an output_shape of %lld", (long long)size->at[d]);
        c->out[0].shape.dims[d] = size->at[d];
    }
    return OK;
}

static Status unpool_forward(OpCall *c)
{
    const Tensor *x = c->in[0], *indices = c->in[1];
    size_t size = dtype_size(x->type);
    Shape from;
    if (size == 0 || indices->type != DT_INT64) return op_bad_type(c, size == 0 ? x->type : indices->type);
    TRY(opcall_prepare(c));
    TRY(unpooled(c->graph, c->node, &x->shape, &from, c->err));
    const Shape *y = &c->out[0].shape;
    bool fits = c->out[0].data != NULL && shape_eq(&x->shape, &indices->shape) && y->rank == from.rank;
    for (int d = 0; fits && d < from.rank; d++) fits = y->dims[d] >= from.dims[d];
    if (!fits) return op_fail(c, ERR_DATA, "its indices or output_shape do not fit");
    memset(c->out[0].data, 0, c->out[0].bytes);
    int64_t strides[MAX_RANK], total = shape_span(&from, 0, from.rank);
    strides_of(y, strides);
    for (int64_t i = 0, n = tensor_count(x); i < n; i++) {
        int64_t at = tensor_get_int(indices, i), to = 0;
        if (at < 0 || at >= total) return op_fail(c, ERR_DATA, "index %lld of %lld", (long long)at, (long long)total);
        for (int d = from.rank - 1; d >= 0; d--) {
            to += at % from.dims[d] * strides[d];
            at /= from.dims[d];
        }
        memcpy(c->out[0].data + (size_t)to * size, x->data + (size_t)i * size, size);
    }
    return OK;
}

/* --- Col2Im: columns [N, C*block, positions] added up into images [N, C, image...] */

typedef struct Blocks {
    int dims;
    int64_t image[MAX_RANK], block[MAX_RANK], stride[MAX_RANK], dilation[MAX_RANK], begin[MAX_RANK], steps[MAX_RANK];
    int64_t cells, positions, pixels;
} Blocks;

static Status blocks_of(const OpCall *c, Blocks *b)
{
    int64_t strides, dilations, pads;
    const int64_t *stride = node_ints(c->node, "strides", &strides), *dilation = node_ints(c->node, "dilations", &dilations);
    const int64_t *pad = node_ints(c->node, "pads", &pads);
    int count = 0;
    if (call_list(c, 1, NULL, b->image, MAX_RANK - 2, &b->dims) != LIST_KNOWN ||
        call_list(c, 2, NULL, b->block, MAX_RANK - 2, &count) != LIST_KNOWN ||
        b->dims != count || b->dims < 1 || (strides != 0 && strides != count) || (dilations != 0 && dilations != count) ||
        (pads != 0 && pads != 2 * count))
        return op_fail(c, ERR_DATA, "image_shape, block_shape and attributes do not fit together");
    b->cells = b->positions = b->pixels = 1;
    for (int d = 0; d < count; d++) {
        b->stride[d] = strides > 0 ? stride[d] : 1;
        b->dilation[d] = dilations > 0 ? dilation[d] : 1;
        b->begin[d] = pads > 0 ? pad[d] : 0;
        int64_t end = pads > 0 ? pad[d + count] : 0, limit = INT32_MAX;
        if (b->image[d] < 1 || b->block[d] < 1 || b->stride[d] < 1 || b->dilation[d] < 1 || b->image[d] > limit || b->block[d] > limit ||
            b->dilation[d] > limit || llabs(b->begin[d]) > limit || llabs(end) > limit)
            return op_fail(c, ERR_DATA, "a size of axis %d is out of range", d);
        int64_t room = b->image[d] + b->begin[d] + end - b->dilation[d] * (b->block[d] - 1) - 1;
        b->steps[d] = room < 0 ? 0 : room / b->stride[d] + 1;
        if (__builtin_mul_overflow(b->cells, b->block[d], &b->cells) || __builtin_mul_overflow(b->positions, b->steps[d], &b->positions) ||
            __builtin_mul_overflow(b->pixels, b->image[d], &b->pixels))
            return op_fail(c, ERR_MEMORY, "its image is too large");
    }
    const Shape *x = &c->in[0]->shape;
    if (x->rank != 3 || x->dims[1] % b->cells != 0 || x->dims[2] != b->positions)
        return op_fail(c, ERR_DATA, "the input is not [N,C*%lld,%lld]", (long long)b->cells, (long long)b->positions);
    return OK;
}

static Status col2im_infer(InferCall *c)
{
    const Ints *image = &c->ints[1], *block = &c->ints[2];
    const Shape *x = &c->in[0].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank != 3 || image->count < 1 || image->count > MAX_RANK - 2 || block->count != image->count) return OK;
    int64_t cells = 1;
    for (int d = 0; d < block->count; d++) {
        if (block->symbol[d] || block->at[d] < 1 || __builtin_mul_overflow(cells, block->at[d], &cells)) return OK;
        if (!image->symbol[d] && image->at[d] < 0) return op_fail(c, ERR_DATA, "an image of %lld", (long long)image->at[d]);
    }
    Shape *y = &c->out[0].shape;
    *y = (Shape){ .rank = image->count + 2, .dims = { x->dims[0], x->dims[1] < 0 ? DIM_UNKNOWN : x->dims[1] / cells } };
    for (int d = 0; d < image->count; d++) y->dims[d + 2] = image->at[d];
    return OK;
}

/* The pixel that cell `cell` of the block at `position` lies on; -1 in the padding. */
static int64_t pixel_of(const Blocks *b, int64_t cell, int64_t position)
{
    int64_t at = 0, step = 1;
    for (int d = b->dims - 1; d >= 0; d--) {
        int64_t i = position % b->steps[d] * b->stride[d] - b->begin[d] + cell % b->block[d] * b->dilation[d];
        if (i < 0 || i >= b->image[d]) return -1;
        at += i * step;
        step *= b->image[d];
        position /= b->steps[d];
        cell /= b->block[d];
    }
    return at;
}

static Status col2im_forward(OpCall *c)
{
    Blocks b;
    TRY(blocks_of(c, &b));
    const Shape *x = &c->in[0]->shape;
    Shape y = { .rank = b.dims + 2, .dims = { x->dims[0], x->dims[1] / b.cells } };
    for (int d = 0; d < b.dims; d++) y.dims[d + 2] = b.image[d];
    int64_t total, planes = y.dims[0] * y.dims[1];
    if (!shape_count(&y, &total)) return op_fail(c, ERR_MEMORY, "its image is too large");
    double *in = NULL, *out = doubles_zero(total);
    Status status = out != NULL ? doubles_input(c, 0, &in) : err_no_memory(c->err, "image");
    for (int64_t cell = 0; status == OK && cell < b.cells; cell++)
        for (int64_t p = 0; p < b.positions; p++) {
            int64_t at = pixel_of(&b, cell, p);
            for (int64_t n = 0; at >= 0 && n < planes; n++) out[n * b.pixels + at] += in[(n * b.cells + cell) * b.positions + p];
        }
    if (status == OK) status = doubles_output(c, 0, c->in[0]->type, &y, out);
    free(in);
    free(out);
    return status;
}

/* --- CenterCropPad: each named axis is cut, or filled with zeroes, around its middle. */

static Status crop_shape(const Graph *g, const Node *n, const Shape *x, const Ints *size, Shape *out, Err *err)
{
    int64_t given;
    const int64_t *axes = node_ints(n, "axes", &given);
    int64_t count = axes != NULL ? given : x->rank;
    *out = SHAPE_UNKNOWN;
    if (size->count < 0) return OK;
    if (size->count != count) return op_error(g, n, err, ERR_DATA, "%d sizes for %lld axes", size->count, (long long)count);
    Shape y = *x;
    for (int i = 0; i < size->count; i++) {
        int axis;
        if (!axis_fix(axes != NULL ? axes[i] : i, x->rank, &axis)) return op_error(g, n, err, ERR_DATA, "an axis is out of range");
        if (!size->symbol[i] && size->at[i] < 0) return op_error(g, n, err, ERR_DATA, "a size of %lld", (long long)size->at[i]);
        y.dims[axis] = size->at[i];
    }
    *out = y;
    return OK;
}

static Status crop_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    return c->in[0].shape.rank < 0 ? OK : crop_shape(c->graph, c->node, &c->in[0].shape, &c->ints[1], &c->out[0].shape, c->err);
}

static Status crop_forward(OpCall *c)
{
    const Tensor *x = c->in[0];
    size_t size = dtype_size(x->type);
    if (size == 0) return op_bad_type(c, x->type);
    TRY(opcall_prepare(c));
    Tensor *y = &c->out[0];
    if (y->data == NULL) return op_fail(c, ERR_DATA, "its shape is no list of sizes");
    int64_t from[MAX_RANK], to[MAX_RANK], both[MAX_RANK], source = 0, target = 0;
    strides_of(&x->shape, from);
    strides_of(&y->shape, to);
    for (int d = 0; d < x->shape.rank; d++) {
        int64_t have = x->shape.dims[d], want = y->shape.dims[d];
        both[d] = have < want ? have : want;
        if (have > want) source += (have - want) / 2 * from[d];
        else target += (want - have) / 2 * to[d];
    }
    if (y->bytes > 0) memset(y->data, 0, y->bytes);
    copy_strided(size, x->shape.rank, both, y->data + (size_t)target * size, to, x->data + (size_t)source * size, from);
    return OK;
}

/* --- Det of the last two axes, by elimination with row exchanges */

static Status det_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0) return OK;
    int64_t rows = x->rank > 1 ? x->dims[x->rank - 2] : -1, columns = x->rank > 1 ? x->dims[x->rank - 1] : -1;
    if (x->rank < 2 || (rows >= 0 && columns >= 0 && rows != columns)) return op_fail(c, ERR_DATA, "its input holds no square matrices");
    c->out[0].shape = *x;
    c->out[0].shape.rank = x->rank - 2;
    return OK;
}

static double determinant(double *a, int64_t n)
{
    double product = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++) {
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        }
        if (a[best * n + k] == 0) return 0;
        for (int64_t j = 0; best != k && j < n; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[best * n + j];
            a[best * n + j] = t;
        }
        product *= best != k ? -a[k * n + k] : a[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            double factor = a[i * n + k] / a[k * n + k];
            for (int64_t j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
        }
    }
    return product;
}

static Status det_forward(OpCall *c)
{
    if (!dtype_is_float(c->in[0]->type)) return op_bad_type(c, c->in[0]->type);
    TRY(opcall_prepare(c));
    double *x = NULL;
    TRY(doubles_input(c, 0, &x));
    int64_t n = c->in[0]->shape.dims[c->in[0]->shape.rank - 1];
    for (int64_t i = 0, count = tensor_count(&c->out[0]); i < count; i++) tensor_set(&c->out[0], i, determinant(x + i * n * n, n));
    free(x);
    return OK;
}

const Op ops_spatial[] = {
    OP_ENTRY("NonMaxSuppression", 10, 0, 2, 5, 1, 1, OP_DATA_SHAPE, nms_infer, nms_forward, NULL),
    OP_ENTRY("MaxUnpool", 9, 0, 2, 3, 1, 1, 0, unpool_infer, unpool_forward, cost_none),
    OP_ENTRY("Col2Im", 18, 0, 3, 3, 1, 1, 0, col2im_infer, col2im_forward, cost_input),
    OP_ENTRY("CenterCropPad", 18, 0, 2, 2, 1, 1, 0, crop_infer, crop_forward, cost_none),
    OP_ENTRY("Det", 11, 0, 1, 1, 1, 1, 0, det_infer, det_forward, cost_input),
    OP_END,
};
