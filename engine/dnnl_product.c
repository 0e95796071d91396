/* MatMul and Gemm with constant weights by oneDNN's 1x1 convolution over a row of pixels: rows are pixels, channels innermost, so both
 * sides stay row-major while the weights are packed once, and bias, activation and a shortcut are computed along. Faster than a BLAS, which
 * packs both operands in every call: 1.2 to 1.6 times at 32 rows, 5 times at one row. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"

#define ROWS_MOST ((int64_t)1 << 31)

bool matrix_of(const KernelSite *s, Matrix *m)
{
    bool gemm = str_is(s->node->type, "Gemm");
    const Shape *x = &s->in[0].shape, *w = &s->in[1].shape;
    if (w->rank != 2 || x->rank < 1 || (gemm && x->rank != 2)) return false;
    m->turned = gemm && node_int(s->node, "transB", 0) != 0;
    m->channels = w->dims[m->turned ? 1 : 0];
    m->filters = w->dims[m->turned ? 0 : 1];
    int64_t count;
    if (!shape_count(x, &count) || m->channels < 1 || m->filters < 1 || x->dims[x->rank - 1] != m->channels || count < 1) return false;
    m->rows = count / m->channels;
    return m->rows < ROWS_MOST / (m->channels > m->filters ? m->channels : m->filters);
}

/* One entry for each filter, spread over the rows. */
static bool is_row(const Tensor *t, int64_t filters)
{
    return t != NULL && t->type == DT_FLOAT && t->shape.rank >= 1 && tensor_count(t) == filters &&
           t->shape.dims[t->shape.rank - 1] == filters;
}

bool product_accept(const KernelSite *s)
{
    Matrix m;
    if (!site_is_float(s, 0) || !site_is_float(s, 1) || s->constant[1] == NULL || s->out[0].type != DT_FLOAT) return false;
    if (!matrix_of(s, &m)) return false;
    if (!str_is(s->node->type, "Gemm")) return true;
    if (node_int(s->node, "transA", 0) != 0 || node_float(s->node, "alpha", 1) != 1) return false;
    bool addend = s->input_count > 2 && s->value[2] != 0;
    return !addend || (node_float(s->node, "beta", 1) == 1 && is_row(s->constant[2], m.filters));
}

/* The constant that an addition right behind the product adds to each row, or NULL. */
static const Tensor *row_added(const KernelSite *s, const Node *n)
{
    Matrix m;
    if (!str_is(n->type, "Add") || n->input_count != 2 || !matrix_of(s, &m)) return NULL;
    ValueId own = s->node->outputs[0];
    if ((n->inputs[0] == own) == (n->inputs[1] == own)) return NULL;
    const Tensor *t = node_constant(s->graph, n, n->inputs[0] == own ? 1 : 0);
    return is_row(t, m.filters) ? t : NULL;
}

const Tensor *product_bias(const KernelSite *s)
{
    if (str_is(s->node->type, "Gemm") && s->node->input_count > 2 && s->value[2] != 0) return s->constant[2];
    return s->follower_count > 0 ? row_added(s, s->follower[0]) : NULL;
}

bool product_adds_row(const KernelSite *s, const Node *n)
{
    return s->follower_count == 0 && !(str_is(s->node->type, "Gemm") && s->node->input_count > 2) && row_added(s, n) != NULL;
}

static bool product_fuse(const KernelSite *s, const Node *n)
{
    return product_adds_row(s, n) || site_follows(s, n);
}

static bool md_rows(dnnl_memory_desc_t *md, int64_t rows, int64_t channels)
{
    dnnl_dims_t dims = { 1, channels, 1, rows };
    return dnnl_memory_desc_init_by_tag(md, 4, dims, dnnl_f32, dnnl_nhwc) == dnnl_success;
}

/* The matrix as it stands, seen as filters. */
static Status md_filters(const Matrix *m, dnnl_memory_desc_t *md, Err *err)
{
    dnnl_dims_t dims = { m->filters, m->channels, 1, 1 };
    dnnl_dims_t strides = { m->turned ? m->channels : 1, m->turned ? 1 : m->filters, 1, 1 };
    return dnnl_check(dnnl_memory_desc_init_by_strides(md, 4, dims, dnnl_f32, strides), "weights", err);
}

Status product_desc(Device *d, int64_t rows, int64_t channels, int64_t filters, bool biased, dnnl_primitive_attr_t attr,
                    dnnl_primitive_desc_t *out, Err *err)
{
    dnnl_memory_desc_t x, w, b, y;
    dnnl_dims_t ones = { 1, 1 }, none = { 0, 0 };
    dnnl_convolution_desc_t c;
    const char *name = "ref";
    if (!md_rows(&x, rows, channels) || !md_rows(&y, rows, filters) ||
        !md_any(&w, dnnl_f32, 4, (const int64_t[]){ filters, channels, 1, 1 }) || !md_plain(&b, dnnl_f32, 1, &filters))
        return err_set(err, ERR_UNSUPPORTED, "an empty product");
    TRY(dnnl_check(dnnl_convolution_forward_desc_init(&c, dnnl_forward_inference, dnnl_convolution_direct, &x, &w, biased ? &b : NULL, &y,
                                                      ones, none, none),
                   "matrix product", err));
    TRY(desc_create(d, &c, attr, "matrix product", out, err));
    dnnl_primitive_desc_query(*out, dnnl_query_impl_info_str, 0, &name);
    bool fast = strncmp(name, "jit", 3) == 0 || strncmp(name, "brg", 3) == 0; /* the second: version 3's */
    return fast ? OK : err_set(err, ERR_UNSUPPORTED, "oneDNN has no fast 1x1 convolution here");
}

static Status product_args(KernelSite *s, Primitive *p, const Matrix *m, dnnl_primitive_desc_t desc, int add_at)
{
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    TRY(primitive_arg(p, DNNL_ARG_SRC, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), ARG_IN, 0, NULL, s->err));
    if (s->constant[1] != NULL) {
        dnnl_memory_desc_t plain;
        const void *packed;
        TRY(md_filters(m, &plain, s->err));
        TRY(device_pack(s->device, s->value[1], 0, s->constant[1]->data, &plain, weights, &packed, s->err));
        TRY(primitive_arg(p, DNNL_ARG_WEIGHTS, weights, ARG_FIXED, 0, packed, s->err));
    } else {
        TRY(primitive_arg(p, DNNL_ARG_WEIGHTS, weights, ARG_IN, 1, NULL, s->err));
    }
    const Tensor *bias = product_bias(s);
    if (bias != NULL) {
        p->owned = alloc_array((size_t)m->filters, sizeof(float));
        if (p->owned == NULL) return err_no_memory(s->err, "a bias");
        memcpy(p->owned, bias->data, (size_t)m->filters * sizeof(float));
        const dnnl_memory_desc_t *list = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1);
        TRY(primitive_arg(p, DNNL_ARG_BIAS, list, ARG_FIXED, 0, p->owned, s->err));
    }
    for (int i = 1; i < s->node->input_count; i++) s->unused[i] = i > 1 || s->constant[1] != NULL;
    if (add_at >= 0)
        TRY(primitive_arg(p, DNNL_ARG_ATTR_MULTIPLE_POST_OP(add_at) | DNNL_ARG_SRC_1, dst, ARG_IN, s->input_count - 1, NULL, s->err));
    return primitive_arg(p, DNNL_ARG_DST, dst, ARG_OUT, 0, NULL, s->err);
}

static Status product_prepare(KernelSite *s, void **state)
{
    Matrix m;
    dnnl_memory_desc_t dst;
    if (!matrix_of(s, &m) || !md_rows(&dst, m.rows, m.filters)) return err_set(s->err, ERR_UNSUPPORTED, "an empty product");
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_attr_t attr = NULL;
    int add_at;
    const Tensor *bias = product_bias(s);
    int skipped = bias != NULL && s->follower_count > 0 && row_added(s, s->follower[0]) == bias ? 1 : 0;
    Status status;
    TRY_OUT(primitive_new(s->device, &p, s->err));
    TRY_OUT(followers_attr(s, skipped, &dst, &attr, &add_at));
    TRY_OUT(product_desc(s->device, m.rows, m.channels, m.filters, bias != NULL, attr, &desc, s->err));
    TRY_OUT(product_args(s, p, &m, desc, add_at));
    TRY_OUT(primitive_create(p, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    if (status != OK) primitive_release(p);
    else *state = p;
    return status;
}

Status product_new(Device *d, ValueId v, uint64_t variant, const float *weights, const float *bias, int64_t rows, int64_t channels,
                   int64_t filters, Primitive **out, Err *err)
{
    Matrix m = { .rows = rows, .channels = channels, .filters = filters, .turned = true };
    Primitive *p = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t plain;
    const void *packed;
    Status status;
    TRY_OUT(primitive_new(d, &p, err));
    TRY_OUT(product_desc(d, rows, channels, filters, bias != NULL, NULL, &desc, err));
    const dnnl_memory_desc_t *order = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    TRY_OUT(md_filters(&m, &plain, err));
    TRY_OUT(device_pack(d, v, variant, weights, &plain, order, &packed, err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_SRC, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), ARG_IN, 0, NULL, err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_WEIGHTS, order, ARG_FIXED, 0, packed, err));
    if (bias != NULL)
        TRY_OUT(primitive_arg(p, DNNL_ARG_BIAS, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1), ARG_FIXED, 0, bias, err));
    TRY_OUT(primitive_arg(p, DNNL_ARG_DST, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), ARG_OUT, 0, NULL, err));
    TRY_OUT(primitive_create(p, desc, err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) primitive_release(p);
    else *out = p;
    return status;
}

/* --- a matrix that is made in each run: packed again in each, which pays where many rows meet it */

#define REPACKED_ROWS 64

typedef struct Repacked {
    Primitive *pack, *product;
} Repacked;

static bool repacked_accept(const KernelSite *s)
{
    Matrix m;
    return site_is_float(s, 0) && site_is_float(s, 1) && s->constant[1] == NULL && s->out[0].type == DT_FLOAT && matrix_of(s, &m) &&
           m.rows >= REPACKED_ROWS && m.channels >= 8;
}

static void repacked_release(void *state)
{
    Repacked *r = state;
    if (r == NULL) return;
    primitive_release(r->pack);
    primitive_release(r->product);
    free(r);
}

static Status repacked_prepare(KernelSite *s, void **state)
{
    Matrix m;
    dnnl_memory_desc_t plain;
    dnnl_primitive_desc_t desc = NULL;
    void *product;
    if (!matrix_of(s, &m)) return err_set(s->err, ERR_UNSUPPORTED, "no product of matrices");
    Repacked *r = alloc_zeroed(1, sizeof *r);
    if (r == NULL) return err_no_memory(s->err, "kernel state");
    Status status;
    TRY_OUT(product_prepare(s, &product));
    r->product = product;
    TRY_OUT(md_filters(&m, &plain, s->err));
    const dnnl_memory_desc_t *weights = &r->product->weights;
    TRY_OUT(device_scratch(s->device, dnnl_memory_desc_get_size(weights), s->err));
    TRY_OUT(primitive_new(s->device, &r->pack, s->err));
    TRY_OUT(reorder_desc_create(s->device, &plain, weights, &desc, s->err));
    TRY_OUT(primitive_arg(r->pack, DNNL_ARG_FROM, &plain, ARG_IN, 1, NULL, s->err));
    TRY_OUT(primitive_arg(r->pack, DNNL_ARG_TO, weights, ARG_OUT, 0, NULL, s->err));
    TRY_OUT(primitive_create(r->pack, desc, s->err));
out:
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (status != OK) repacked_release(r);
    else *state = r;
    return status;
}

static Status repacked_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Repacked *r = state;
    const void *with[KERNEL_OPERANDS];
    memcpy(with, in, sizeof with);
    TRY(primitive_run(r->pack, in, (void *[]){ r->product->device->scratch }, err));
    with[1] = r->product->device->scratch;
    return primitive_run(r->product, with, out, err);
}

const Kernel kernels_packed[] = {
    { "packed", "MatMul", product_accept, product_prepare, primitive_run, primitive_release, product_fuse, false },
    { "packed", "Gemm", product_accept, product_prepare, primitive_run, primitive_release, product_fuse, false },
    { "repacked", "MatMul", repacked_accept, repacked_prepare, repacked_run, repacked_release, product_fuse, false },
    { .name = NULL },
};
