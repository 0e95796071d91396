/* Rounding problems that several tests share. */
#ifndef PARE_TESTS_ROUNDING_NET_H
#define PARE_TESTS_ROUNDING_NET_H

#include "test.h"

#include "engine/blas_glue.h"
#include "quantize/rounding_private.h"

/* No pair of a row breaks the rule; true for weights without partners. */
__attribute__((unused)) static bool rounded_pairs_safe(const Rounded *r, const int32_t *partner)
{
    if (partner == NULL) return true;
    for (int64_t i = 0; i < r->rows; i++) {
        const int16_t *q = r->q + i * r->width;
        for (int64_t k = 0; k < 2 * r->width; k++)
            if (partner[k] >= 0 && !pair_safe(q[k % r->width], q[partner[k]])) return false;
    }
    return true;
}

/* ---- problems ---- */

typedef struct Net {
    int64_t rows, width;
    double *w, *h, *l;
} Net;

__attribute__((unused)) static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0 * 2.0 - 1.0;
}

/* Inputs that hang together as neighbours do, of very different sizes; weights of a bell. */
static Net net_new(int64_t rows, int64_t width, uint64_t seed)
{
    Net n = { rows, width, calloc((size_t)(rows * width), 8), calloc((size_t)(width * width), 8), calloc((size_t)(width * width), 8) };
    double *x = calloc((size_t)width, 8), mean = 0.0;
    Err err;
    int failed;
    for (int64_t i = 0; i < rows * width; i++) n.w[i] = uniform(&seed) + uniform(&seed) + uniform(&seed);
    for (int64_t s = 0; s < 3 * width; s++) {
        for (int64_t i = 0; i < width; i++)
            x[i] = uniform(&seed) * (1.0 + 3.0 * (double)(i % 5 == 0)) + (i > 0 ? 0.7 * x[i - 1] : 0.0);
        for (int64_t i = 0; i < width; i++)
            for (int64_t k = 0; k < width; k++) n.h[i * width + k] += x[i] * x[k] / (double)(3 * width);
    }
    for (int64_t i = 0; i < width; i++) mean += n.h[i * width + i] / (double)width;
    for (int64_t i = 0; i < width; i++) n.h[i * width + i] += 0.01 * mean;
    memcpy(n.l, n.h, (size_t)(width * width) * 8);
    assert_ok(blas_cholesky((int)width, n.l, &failed, &err), &err);
    assert_int_equal(failed, 0);
    free(x);
    return n;
}

static void net_release(Net *n)
{
    free(n->w);
    free(n->h);
    free(n->l);
}

__attribute__((unused)) static double loss_of(const Net *n, const Rounded *r)
{
    double *e = malloc((size_t)(n->rows * n->width) * 8), loss = 0.0;
    rounded_values(r, e);
    for (int64_t i = 0; i < n->rows * n->width; i++) e[i] -= n->w[i];
    for (int64_t b = 0; b < n->rows; b++)
        for (int64_t i = 0; i < n->width; i++)
            for (int64_t k = 0; k < n->width; k++)
                loss += e[b * n->width + i] * (n->h != NULL ? n->h[i * n->width + k] : i == k) * e[b * n->width + k];
    free(e);
    return loss;
}

__attribute__((unused)) static int32_t *neighbours(int64_t width, bool odd_too)
{
    int32_t *p = malloc((size_t)(2 * width) * sizeof *p);
    for (int64_t i = 0; i < 2 * width; i++) p[i] = -1;
    for (int64_t i = 0; i + 1 < width; i += 2) {
        p[i] = (int32_t)i + 1;
        p[i + 1] = (int32_t)i;
    }
    for (int64_t i = 1; odd_too && i + 1 < width; i += 2) {
        p[width + i] = (int32_t)i + 1;
        p[width + i + 1] = (int32_t)i;
    }
    return p;
}

#endif
