#include "lowrank/factor.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/blas_glue.h"

uint64_t spectrum_bytes(int64_t rows, int64_t cols)
{
    int64_t full = rows < cols ? rows : cols, count;
    if (rows > INT_MAX || cols > INT_MAX || !mul_i64(rows, cols, &count) || count > INT_MAX) return 0;
    /* the matrix, the library's own copy of it, both factors, and the work space of divide and conquer (about 5 full^2) */
    return sizeof(double) * ((uint64_t)count * 2 + (uint64_t)full * (uint64_t)(rows + cols) + 5 * (uint64_t)full * (uint64_t)full);
}

/* Signs so that the largest entry of each column of u is positive (the first of equals). */
static void fix_signs(Spectrum *s)
{
    for (int k = 0; k < s->full; k++) {
        double *u = s->u + k; /* the column, with `full` between entries */
        size_t full = (size_t)s->full;
        int largest = 0;
        for (int i = 1; i < s->rows; i++) {
            if (fabs(u[(size_t)i * full]) > fabs(u[(size_t)largest * full])) largest = i;
        }
        if (u[(size_t)largest * full] >= 0) continue;
        for (int i = 0; i < s->rows; i++) u[(size_t)i * full] *= -1;
        for (int j = 0; j < s->cols; j++) s->vt[(size_t)k * (size_t)s->cols + (size_t)j] *= -1;
    }
}

Status spectrum_of(const Tensor *weight, int64_t rows, int64_t cols, Spectrum *out, Err *err)
{
    *out = (Spectrum){ .rows = (int)rows, .cols = (int)cols, .full = (int)(rows < cols ? rows : cols) };
    size_t m = (size_t)rows, n = (size_t)cols, full = (size_t)out->full;
    double *matrix = alloc_array(m * n, sizeof *matrix);
    out->u = alloc_array(m * full, sizeof *out->u);
    out->sigma = alloc_array(full, sizeof *out->sigma);
    out->vt = alloc_array(full * n, sizeof *out->vt);
    Status status = OK;
    if (matrix == NULL || out->u == NULL || out->sigma == NULL || out->vt == NULL)
        TRY_OUT(err_no_memory(err, "a singular value decomposition"));
    tensor_read_doubles(weight, 0, rows * cols, matrix);
    for (size_t i = 0; i < m * n; i++) {
        if (!isfinite(matrix[i]))
            TRY_OUT(err_set(err, ERR_DATA, "element %zu is %s: it has no singular values", i, isnan(matrix[i]) ? "NaN" : "infinite"));
    }
    TRY_OUT(blas_svd(out->rows, out->cols, matrix, out->u, out->sigma, out->vt, err));
    fix_signs(out);
    for (size_t k = 0; k < full; k++) out->total += out->sigma[k] * out->sigma[k];
out:
    free(matrix);
    if (status != OK) spectrum_release(out);
    return status;
}

void spectrum_release(Spectrum *s)
{
    free(s->u);
    free(s->sigma);
    free(s->vt);
    *s = (Spectrum){ 0 };
}

int spectrum_rank_for(const Spectrum *s, double energy)
{
    /* the rest must be small enough: summed from the small end, a share of 1 means every value that is not zero */
    double rest = 0, allowed = (1 - energy) * s->total;
    int rank = s->full;
    while (rank > 1 && rest + s->sigma[rank - 1] * s->sigma[rank - 1] <= allowed) {
        rest += s->sigma[rank - 1] * s->sigma[rank - 1];
        rank--;
    }
    return rank;
}

double spectrum_kept(const Spectrum *s, int rank)
{
    double rest = 0;
    for (int k = s->full - 1; k >= rank; k--) rest += s->sigma[k] * s->sigma[k];
    return s->total > 0 ? 1 - rest / s->total : 1;
}

Status spectrum_factors(const Spectrum *s, int rank, DType type, const Shape *left_shape, const Shape *right_shape, Tensor *left,
                        Tensor *right, Err *err)
{
    *right = (Tensor){ 0 };
    TRY(tensor_new(left, type, left_shape, err));
    Status status = tensor_new(right, type, right_shape, err);
    if (status != OK) {
        tensor_release(left);
        return status;
    }
    for (int k = 0; k < rank; k++) {
        double root = sqrt(s->sigma[k]);
        for (int i = 0; i < s->rows; i++)
            tensor_set(left, (int64_t)i * rank + k, s->u[(size_t)i * (size_t)s->full + (size_t)k] * root);
        for (int j = 0; j < s->cols; j++)
            tensor_set(right, (int64_t)k * s->cols + j, s->vt[(size_t)k * (size_t)s->cols + (size_t)j] * root);
    }
    return OK;
}
