/* Weights of few bits in blocks, dequantized on the way: MatMulNBits, GatherBlockQuantized.
 *   w = (q - zero point) * scale, one of each per block; a zero point left out is 2^(bits-1) for packed bytes, 0 for int4 and uint4.
 * Packed bytes hold the lowest bits first. */
#include <stdlib.h>

#include "engine/blas_glue.h"
#include "engine/ops/list.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

/* Entry `at` of `bits` bits in packed bytes. */
static inline int unpack(const uint8_t *bytes, int bits, int64_t at)
{
    int64_t bit = at * bits;
    return bytes[bit / 8] >> (bit % 8) & ((1 << bits) - 1);
}

/* --- MatMulNBits: y[..., N] = a[..., K] w^T + bias, w[N,K] in blocks along K */

enum { NBITS_LIMIT = 1 << 30 }; /* of N, K and the block: their products stay within an int64 */

typedef struct NBits {
    int bits;
    int64_t n, k, block, blocks; /* blocks: of one row */
} NBits;

static Status nbits_read(const Graph *g, const Node *n, NBits *out, Err *err)
{
    *out = (NBits){ (int)node_int(n, "bits", 4), node_int(n, "N", 0), node_int(n, "K", 0), node_int(n, "block_size", 0), 0 };
    if (out->bits != 2 && out->bits != 4 && out->bits != 8) return op_error(g, n, err, ERR_UNSUPPORTED, "%d bits", out->bits);
    if (out->n < 1 || out->k < 1 || out->n > NBITS_LIMIT || out->k > NBITS_LIMIT)
        return op_error(g, n, err, ERR_DATA, "N is %lld and K is %lld", (long long)out->n, (long long)out->k);
    if (out->block < 16 || out->block > NBITS_LIMIT || (out->block & (out->block - 1)) != 0)
        return op_error(g, n, err, ERR_DATA, "block_size is %lld, expected a power of two from 16 on", (long long)out->block);
    out->blocks = (out->k + out->block - 1) / out->block;
    return OK;
}

static Status nbits_infer(InferCall *c)
{
    NBits w;
    TRY(nbits_read(c->graph, c->node, &w, c->err));
    c->out[0] = c->in[0];
    Shape *y = &c->out[0].shape;
    if (y->rank < 0) return OK;
    if (y->rank == 0) return op_fail(c, ERR_DATA, "A is a scalar");
    if (y->dims[y->rank - 1] >= 0 && y->dims[y->rank - 1] != w.k)
        return op_fail(c, ERR_DATA, "A has %lld columns, K is %lld", (long long)y->dims[y->rank - 1], (long long)w.k);
    y->dims[y->rank - 1] = w.n;
    return OK;
}

/* The zero points are packed bytes, a row of blocks on whole bytes, or floats like the scales. */
static Status nbits_check(const OpCall *c, const NBits *w)
{
    const Tensor *zero = ms_input(c, 3);
    if (c->in[1]->type != DT_UINT8) return op_bad_type(c, c->in[1]->type);
    int64_t zero_row = (w->blocks * w->bits + 7) / 8;
    TRY(ms_check_count(c, 1, w->n * w->blocks * (w->block * w->bits / 8), false));
    TRY(ms_check_count(c, 2, w->n * w->blocks, false));
    if (zero != NULL && zero->type != DT_UINT8 && zero->type != DT_FLOAT) return op_bad_type(c, zero->type);
    TRY(ms_check_count(c, 3, w->n * (zero != NULL && zero->type == DT_UINT8 ? zero_row : w->blocks), false));
    if (ms_input(c, 4) != NULL) return op_fail(c, ERR_UNSUPPORTED, "g_idx is not supported");
    TRY(ms_check_count(c, 5, w->n, false));
    if (node_int(c->node, "weight_prepacked", 0) != 0) return op_fail(c, ERR_UNSUPPORTED, "prepacked weights are not supported");
    return OK;
}

static void nbits_row(const OpCall *c, const NBits *w, int64_t row, float *out)
{
    const Tensor *zero = ms_input(c, 3);
    int64_t blob = w->block * w->bits / 8, zero_row = (w->blocks * w->bits + 7) / 8;
    for (int64_t b = 0; b < w->blocks; b++) {
        const uint8_t *bytes = c->in[1]->data + (row * w->blocks + b) * blob;
        float scale = tensor_floats(c->in[2])[row * w->blocks + b], shift = (float)(1 << (w->bits - 1));
        if (zero != NULL && zero->type == DT_UINT8) shift = (float)unpack(zero->data + row * zero_row, w->bits, b);
        else if (zero != NULL) shift = tensor_floats(zero)[row * w->blocks + b];
        int64_t count = w->k - b * w->block < w->block ? w->k - b * w->block : w->block;
        for (int64_t i = 0; i < count; i++) out[b * w->block + i] = ((float)unpack(bytes, w->bits, i) - shift) * scale;
    }
}

enum { NBITS_ROWS = 64 }; /* of w dequantized at once */

static Status nbits_float(OpCall *c)
{
    NBits w;
    TRY(nbits_read(c->graph, c->node, &w, c->err));
    TRY(nbits_check(c, &w));
    if (c->in[0]->type != DT_FLOAT) return op_bad_type(c, c->in[0]->type);
    TRY(opcall_prepare(c));
    int64_t rows = tensor_count(c->in[0]) / w.k;
    const Tensor *bias = ms_input(c, 5);
    if (rows > INT32_MAX) return op_fail(c, ERR_UNSUPPORTED, "%lld rows", (long long)rows);
    float *part = alloc_array((size_t)(NBITS_ROWS * w.k), sizeof *part), *y = tensor_floats(&c->out[0]);
    if (part == NULL) return err_no_memory(c->err, "dequantized weights");
    for (int64_t from = 0; from < w.n; from += NBITS_ROWS) {
        int64_t count = w.n - from < NBITS_ROWS ? w.n - from : NBITS_ROWS;
#pragma omp parallel for schedule(static) if (count * w.k > PARALLEL_FROM)
        for (int64_t i = 0; i < count; i++) nbits_row(c, &w, from + i, part + i * w.k);
        if (rows > 0)
            blas_sgemm(false, true, (int)rows, (int)count, (int)w.k, 1, tensor_floats(c->in[0]), (int)w.k, part, (int)w.k, 0, y + from,
                       (int)w.n);
    }
    for (int64_t i = 0; bias != NULL && i < rows * w.n; i++) y[i] += tensor_floats(bias)[i % w.n];
    free(part);
    return OK;
}

static Status nbits_forward(OpCall *c)
{
    OPCALL_HALF(c, nbits_float);
    return nbits_float(c);
}

static void nbits_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    if (shape_count(&c->out[0].shape, &outputs)) out->macs = outputs * node_int(c->node, "K", 0);
}

/* --- GatherBlockQuantized */

typedef struct BlockTable {
    int gather, quantized; /* axes */
    int bits, per_byte;    /* entries of the last axis in one uint8; 1 for int4, uint4 and 8-bit bytes */
    int64_t block;
    Shape shape;           /* of the table unpacked */
} BlockTable;

static Status table_read(const Graph *g, const Node *n, DType type, const Shape *data, BlockTable *out, Err *err)
{
    *out = (BlockTable){ .bits = (int)node_int(n, "bits", 4), .block = node_int(n, "block_size", 128), .per_byte = 1, .shape = *data };
    if (out->bits != 2 && out->bits != 4 && out->bits != 8) return op_error(g, n, err, ERR_UNSUPPORTED, "%d bits", out->bits);
    if (out->block < 16 || (out->block & (out->block - 1)) != 0)
        return op_error(g, n, err, ERR_DATA, "block_size is %lld, expected a power of two from 16 on", (long long)out->block);
    if (!axis_fix(node_int(n, "gather_axis", 0), data->rank, &out->gather) ||
        !axis_fix(node_int(n, "quantize_axis", 1), data->rank, &out->quantized))
        return op_error(g, n, err, ERR_DATA, "an axis is outside a table of rank %d", data->rank);
    if (type == DT_UINT8) {
        int64_t *last = &out->shape.dims[data->rank - 1];
        out->per_byte = 8 / out->bits;
        if (*last >= 0 && __builtin_mul_overflow(*last, out->per_byte, last))
            return op_error(g, n, err, ERR_DATA, "the table is too large");
    }
    return OK;
}

static Status gather_infer(InferCall *c)
{
    c->out[0].type = c->in[2].type;
    const Shape *data = &c->in[0].shape, *indices = &c->in[1].shape;
    if (data->rank < 1 || indices->rank < 0 || c->in[0].type == DT_NONE) return OK;
    BlockTable t;
    TRY(table_read(c->graph, c->node, c->in[0].type, data, &t, c->err));
    if (indices->rank + data->rank - 1 > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "the result has more than %d axes", MAX_RANK);
    Shape y = { .rank = 0 };
    for (int d = 0; d < t.gather; d++) y.dims[y.rank++] = t.shape.dims[d];
    for (int d = 0; d < indices->rank; d++) y.dims[y.rank++] = indices->dims[d];
    for (int d = t.gather + 1; d < data->rank; d++) y.dims[y.rank++] = t.shape.dims[d];
    c->out[0].shape = y;
    return OK;
}

/* Shape of scales and of unpacked zero points: blocks along the quantized axis. */
static Status table_check(const OpCall *c, const BlockTable *t, Shape *scales)
{
    const Tensor *data = c->in[0], *zero = ms_input(c, 3);
    DType type = data->type;
    if (type != DT_UINT8 && type != DT_INT4 && type != DT_UINT4) return op_bad_type(c, type);
    if (type == DT_UINT8 && (t->gather != 0 || t->quantized != data->shape.rank - 1))
        return op_fail(c, ERR_UNSUPPORTED, "a table of uint8 is gathered along axis 0 and quantized along its last one");
    *scales = t->shape;
    scales->dims[t->quantized] = (t->shape.dims[t->quantized] + t->block - 1) / t->block;
    if (!shape_eq(scales, &c->in[2]->shape)) return op_fail(c, ERR_DATA, "the scales' shape does not fit blocks of %lld along axis %d",
                                                            (long long)t->block, t->quantized);
    if (zero == NULL) return OK;
    Shape packed = *scales;
    packed.dims[packed.rank - 1] = (packed.dims[packed.rank - 1] + t->per_byte - 1) / t->per_byte;
    if (zero->type != type || !shape_eq(&packed, &zero->shape)) return op_fail(c, ERR_DATA, "the zero points do not fit the scales");
    return OK;
}

/* Entry of a table whose rows along the last axis (`width` entries) lie on whole bytes. */
static int64_t table_entry(const Tensor *t, const BlockTable *info, int64_t width, int64_t at)
{
    if (t->type != DT_UINT8) return tensor_get_int(t, at);
    int64_t bytes = (width + info->per_byte - 1) / info->per_byte;
    return unpack(t->data + at / width * bytes, info->bits, at % width);
}

static Status gather_float(OpCall *c)
{
    const Tensor *data = c->in[0], *indices = c->in[1], *zero = ms_input(c, 3);
    BlockTable t;
    Shape scales;
    if (data->shape.rank < 1) return op_fail(c, ERR_DATA, "the table is a scalar");
    if (c->in[2]->type != DT_FLOAT) return op_bad_type(c, c->in[2]->type);
    TRY(table_read(c->graph, c->node, data->type, &data->shape, &t, c->err));
    TRY(table_check(c, &t, &scales));
    TRY(opcall_prepare(c));
    int rank = t.shape.rank;
    int64_t outer = shape_span(&t.shape, 0, t.gather), inner = shape_span(&t.shape, t.gather + 1, rank), rows = t.shape.dims[t.gather];
    int64_t picks = tensor_count(indices), q_inner = shape_span(&t.shape, t.quantized + 1, rank), q_count = t.shape.dims[t.quantized];
    int64_t width = t.shape.dims[rank - 1], scale_width = scales.dims[rank - 1], blocks = scales.dims[t.quantized];
    int64_t missing = data->type == DT_UINT8 ? 1 << (t.bits - 1) : 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t p = 0; p < picks; p++) {
            int64_t row = tensor_get_int(indices, p);
            float *y = tensor_floats(&c->out[0]) + (o * picks + p) * inner;
            if (row < 0) row += rows;
            for (int64_t i = 0; i < inner; i++) {
                if (row < 0 || row >= rows) { /* this operator gives zeros where Gather fails */
                    y[i] = 0;
                    continue;
                }
                int64_t at = (o * rows + row) * inner + i;
                int64_t block = at / q_inner % q_count / t.block;
                int64_t s = (at / (q_inner * q_count) * blocks + block) * q_inner + at % q_inner;
                int64_t shift = zero != NULL ? table_entry(zero, &t, scale_width, s) : missing;
                y[i] = (float)(table_entry(data, &t, width, at) - shift) * tensor_floats(c->in[2])[s];
            }
        }
    return OK;
}

static Status gather_forward(OpCall *c)
{
    OPCALL_HALF(c, gather_float);
    return gather_float(c);
}

const Op ops_ms_block[] = {
    MS_ENTRY("MatMulNBits", 3, 6, 1, 1, 0, nbits_infer, nbits_forward, nbits_cost),
    MS_ENTRY("GatherBlockQuantized", 3, 4, 1, 1, 0, gather_infer, gather_forward, NULL),
    OP_END,
};
