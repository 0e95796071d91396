#include "engine/products.h"

#include <stdlib.h>
#include <string.h>

#include "engine/blas_glue.h"
#include "engine/ops/matmul.h"

/* Batched y[m,n] = alpha op(a)[m,k] op(b)[k,n] + beta c. */
typedef struct Product {
    bool ta, tb, addend;
    int m, n, k, lda, ldb;
    float alpha, beta;
    MatMulDims dims;
    int64_t batches;
    int64_t row_step, column_step; /* of the addend */
} Product;

static bool floats(const KernelSite *s, int i)
{
    int64_t count;
    return s->in[i].type == DT_FLOAT && shape_count(&s->in[i].shape, &count) && count > 0;
}

static bool product_accept(const KernelSite *s)
{
    return floats(s, 0) && floats(s, 1) && (s->input_count < 3 || s->value[2] == 0 || floats(s, 2));
}

static bool fits_int(const Product *p)
{
    return p->dims.m > 0 && p->dims.n > 0 && p->dims.k > 0 && p->dims.m < INT32_MAX && p->dims.n < INT32_MAX && p->dims.k < INT32_MAX;
}

static Status product_new(const KernelSite *s, Product *p, void **state)
{
    if (!fits_int(p)) return err_set(s->err, ERR_UNSUPPORTED, "a matrix product too large for the BLAS");
    p->m = (int)p->dims.m;
    p->n = (int)p->dims.n;
    p->k = (int)p->dims.k;
    p->lda = p->ta ? p->m : p->k;
    p->ldb = p->tb ? p->k : p->n;
    Product *own = malloc(sizeof *own);
    if (own == NULL) return err_no_memory(s->err, "kernel state");
    *own = *p;
    *state = own;
    return OK;
}

static Status matmul_prepare(KernelSite *s, void **state)
{
    Product p = { .alpha = 1 };
    Shape shape;
    TRY(matmul_shape(s->graph, s->node, &s->in[0].shape, &s->in[1].shape, &shape, &p.dims, s->err));
    p.batches = matmul_batches(&p.dims);
    bool shared = s->in[1].shape.rank <= 2;
    if (shared && p.batches > 0 && p.dims.m * p.batches < INT32_MAX) { /* one matrix for all of the batch: one tall product */
        p.dims.m *= p.batches;
        p.dims.batch_rank = 0;
        p.batches = 1;
    }
    return product_new(s, &p, state);
}

static Status gemm_prepare(KernelSite *s, void **state)
{
    Product p = { .batches = 1 };
    TRY(gemm_dims(s->graph, s->node, &s->in[0].shape, &s->in[1].shape, &p.dims.m, &p.dims.n, &p.dims.k, s->err));
    p.ta = node_int(s->node, "transA", 0) != 0;
    p.tb = node_int(s->node, "transB", 0) != 0;
    p.alpha = node_float(s->node, "alpha", 1);
    p.beta = node_float(s->node, "beta", 1);
    p.addend = s->input_count > 2 && s->value[2] != 0 && p.beta != 0;
    if (p.addend) TRY(gemm_addend(s->graph, s->node, &s->in[2].shape, p.dims.m, p.dims.n, &p.row_step, &p.column_step, s->err));
    return product_new(s, &p, state);
}

/* y = c broadcast, which the product is then added to. */
static void spread(const Product *p, const float *c, float *y)
{
    for (int r = 0; r < p->m; r++)
        for (int s = 0; s < p->n; s++) y[(size_t)r * (size_t)p->n + (size_t)s] = c[r * p->row_step + s * p->column_step];
}

static Status product_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Product *p = state;
    const float *a = in[0], *b = in[1];
    float *y = out[0];
    if (p->addend) spread(p, in[2], y);
    for (int64_t i = 0; i < p->batches; i++) {
        int64_t ia, ib;
        matmul_batch(&p->dims, i, &ia, &ib);
        blas_sgemm(p->ta, p->tb, p->m, p->n, p->k, p->alpha, a + ia * p->dims.m * p->dims.k, p->lda, b + ib * p->dims.k * p->dims.n, p->ldb,
                   p->addend ? p->beta : 0, y + i * p->dims.m * p->dims.n, p->n);
    }
    return OK;
}

const Kernel kernels_product[] = {
    { "sgemm", "MatMul", product_accept, matmul_prepare, product_run, free, NULL, false },
    { "sgemm", "Gemm", product_accept, gemm_prepare, product_run, free, NULL, false },
    { .name = NULL },
};
