/* MatMul and Gemm of a few rows with constant weights by engine/direct_product.c where the library has AVX2 only: bias, addition, Relu and
 * Clip along with it. With more rows the library's 1x1 convolution is as fast, and takes any activation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/direct.h"
#include "engine/direct_product.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "graph/edit.h"

#define PANEL 8
#define MOST_ROWS 8
#define CHAIN 3 /* nodes behind that are looked at */

typedef struct Few {
    Product product;
    float *bias; /* of whole panels; or NULL */
    int addend;  /* its place among the inputs, or -1 */
} Few;

/* Whether an activation follows that the library computes along and this does not. */
static bool has_activation(const KernelSite *s)
{
    ValueId made = s->node->outputs[0];
    float low, high;
    for (int i = 0; i < CHAIN; i++) {
        NodeId id = graph_sole_reader(s->graph, made);
        const Node *n = id != 0 ? graph_node(s->graph, id) : NULL;
        if (n == NULL || n->output_count != 1 || site_bounds(s, n, &low, &high)) return false;
        if (!str_is(n->type, "Add")) return site_follows(s, n);
        made = n->outputs[0];
    }
    return false;
}

static bool few_accept(const KernelSite *s)
{
    Matrix m;
    return device_is_avx2() && product_accept(s) && matrix_of(s, &m) && m.rows <= MOST_ROWS && !has_activation(s);
}

static bool few_fuse(const KernelSite *s, const Node *n)
{
    float low, high;
    for (int i = 0; i < s->follower_count; i++)
        if (site_bounds(s, s->follower[i], &low, &high)) return false; /* that was the last */
    return product_adds_row(s, n) || (site_follows(s, n) && (str_is(n->type, "Add") || site_bounds(s, n, &low, &high)));
}

static void few_release(void *state)
{
    Few *f = state;
    if (f == NULL) return;
    free(f->bias);
    free(f);
}

typedef struct Source {
    Matrix matrix;
    const uint8_t *weights; /* of floats, which may lie at any byte */
} Source;

static float float_at(const Source *from, int64_t i)
{
    float v;
    memcpy(&v, from->weights + (size_t)i * sizeof v, sizeof v);
    return v;
}

static int64_t width_of(int64_t filters)
{
    return (filters + PANEL - 1) / PANEL * PANEL;
}

/* Weights as engine/direct_product.c takes them, eight filters at a time. */
static void fill(const void *user, void *out)
{
    const Source *from = user;
    int64_t channels = from->matrix.channels, filters = from->matrix.filters;
    int64_t by_channel = from->matrix.turned ? 1 : filters, by_filter = from->matrix.turned ? channels : 1;
    for (int64_t k = 0; k < filters; k += PANEL) {
        int64_t group = k / PRODUCT_FILTERS * PRODUCT_FILTERS, rest = filters - group, count = filters - k < PANEL ? filters - k : PANEL;
        int64_t width = rest < PRODUCT_FILTERS ? width_of(rest) : PRODUCT_FILTERS;
        float *y = (float *)out + group * channels + (k - group);
        for (int64_t c = 0; c < channels; c++, y += width)
            for (int64_t i = 0; i < PANEL; i++) y[i] = i < count ? float_at(from, c * by_channel + (k + i) * by_filter) : 0;
    }
}

/* Zero times a weight is zero. */
static bool all_finite(const float *w, int64_t count)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += w[i] * 0;
    return sum == 0;
}

static Status few_prepare(KernelSite *s, void **state)
{
    Matrix m;
    Status status;
    Few *f = alloc_zeroed(1, sizeof *f);
    if (f == NULL) return err_no_memory(s->err, "kernel state");
    if (!matrix_of(s, &m)) TRY_OUT(err_set(s->err, ERR_UNSUPPORTED, "no product of matrices"));
    f->product = (Product){ .rows = m.rows, .channels = m.channels, .filters = m.filters, .low = -INFINITY, .high = INFINITY,
                            .threads = omp_get_max_threads() };
    for (int i = 0; i < s->follower_count; i++) site_bounds(s, s->follower[i], &f->product.low, &f->product.high);
    int64_t width = width_of(m.filters);
    Source from = { m, s->constant[1]->data };
    const void *weights;
    TRY_OUT(device_pack_by(s->device, s->value[1], m.turned ? 1 : 0, (size_t)(width * m.channels) * sizeof(float), fill, &from, &weights,
                           s->err));
    f->product.weights = weights;
    f->product.finite = m.rows == 1 && all_finite(weights, width * m.channels);
    const Tensor *bias = product_bias(s);
    if (bias != NULL) {
        f->bias = alloc_zeroed((size_t)width, sizeof *f->bias);
        if (f->bias == NULL) TRY_OUT(err_no_memory(s->err, "a bias"));
        memcpy(f->bias, bias->data, (size_t)m.filters * sizeof *f->bias);
        f->product.bias = f->bias;
    }
    for (int i = 1; i < s->node->input_count; i++) s->unused[i] = true;
    f->addend = site_adds(s) ? s->input_count - 1 : -1;
out:
    if (status != OK) few_release(f);
    else *state = f;
    return status;
}

static Status few_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Few *f = state;
    product_run(&f->product, in[0], f->addend > 0 ? in[f->addend] : NULL, out[0]);
    return OK;
}

const Kernel kernels_few[] = {
    { "few rows", "MatMul", few_accept, few_prepare, few_run, few_release, few_fuse, false },
    { "few rows", "Gemm", few_accept, few_prepare, few_run, few_release, few_fuse, false },
    { .name = NULL },
};
