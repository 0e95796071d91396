/* What the sweep counts of an activation, call by call. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/vectors.h"
#include "stats/layers_internal.h"

#define AVERAGE_STEP 0.01
#define BLOCK 4096
#define LANES 4 /* sums side by side, so that additions do not wait for each other; the same on every processor */

typedef struct BlockSums {
    double low, high, sum, squares; /* sum: NaN or infinite where any value is */
} BlockSums;

VECTOR_BODY BlockSums sums_of(const float *x, int64_t n)
{
    double sum[LANES] = { 0.0 }, squares[LANES] = { 0.0 };
    float low = x[0], high = x[0];
    int64_t whole = n / LANES * LANES;
#pragma omp simd reduction(min : low) reduction(max : high)
    for (int64_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    for (int64_t i = 0; i < whole; i += LANES) {
#pragma omp simd
        for (int k = 0; k < LANES; k++) {
            double v = (double)x[i + k];
            sum[k] += v;
            squares[k] += v * v;
        }
    }
    for (int64_t i = whole; i < n; i++) {
        double v = (double)x[i];
        sum[i - whole] += v;
        squares[i - whole] += v * v;
    }
    return (BlockSums){ (double)low, (double)high, (sum[0] + sum[1]) + (sum[2] + sum[3]),
                        (squares[0] + squares[1]) + (squares[2] + squares[3]) };
}

VECTOR_BODY BlockSums ends_of(const float *x, int64_t n)
{
    float low = x[0], high = x[0], nothing = 0.0f;
#pragma omp simd reduction(min : low) reduction(max : high) reduction(+ : nothing)
    for (int64_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        nothing += x[i] - x[i];
    }
    return (BlockSums){ (double)low, (double)high, (double)nothing, 0.0 };
}

static BlockSums sums_any(const float *x, int64_t n)
{
    return sums_of(x, n);
}

VECTOR_AVX2 static BlockSums sums_avx2(const float *x, int64_t n)
{
    return sums_of(x, n);
}

static BlockSums ends_any(const float *x, int64_t n)
{
    return ends_of(x, n);
}

VECTOR_AVX2 static BlockSums ends_avx2(const float *x, int64_t n)
{
    return ends_of(x, n);
}

/* Sums and ends of `count` values: blocks side by side, added in order, so that they are the same for any number of threads. */
static BlockSums gather(const BlockSums *blocks, int64_t count)
{
    BlockSums all = { INFINITY, -INFINITY, 0.0, 0.0 };
    for (int64_t i = 0; i < count; i++) {
        all.sum += blocks[i].sum;
        all.squares += blocks[i].squares;
        all.low = fmin(all.low, blocks[i].low);
        all.high = fmax(all.high, blocks[i].high);
    }
    return all;
}

/* `parts` of `count` values each. *finite false: nothing was added. */
static Status add_floats(ActivationStats *a, const float *x, int64_t parts, int64_t count, bool ends_only, bool *finite, Err *err)
{
    int64_t each = (count + BLOCK - 1) / BLOCK, blocks = parts * each;
    BlockSums (*block_sums)(const float *, int64_t) = ends_only ? VECTOR_PICK(ends) : VECTOR_PICK(sums);
    BlockSums *sums = alloc_array((size_t)blocks, sizeof *sums);
    if (sums == NULL) return err_no_memory(err, "the sums of an activation");
#pragma omp parallel for schedule(static) if (parts * count > 16 * BLOCK)
    for (int64_t i = 0; i < blocks; i++) {
        int64_t first = i % each * BLOCK;
        sums[i] = block_sums(x + i / each * count + first, first + BLOCK < count ? BLOCK : count - first);
    }
    BlockSums all = gather(sums, blocks);
    *finite = isfinite(all.sum);
    for (int64_t i = 0; i < parts && *finite; i++) {
        BlockSums part = gather(sums + i * each, each);
        a->sum_min += part.low;
        a->sum_max += part.high;
    }
    free(sums);
    if (!*finite) return OK;
    bool first = a->count == 0;
    a->min = first ? all.low : fmin(a->min, all.low);
    a->max = first ? all.high : fmax(a->max, all.high);
    a->average_min = first ? all.low : a->average_min + AVERAGE_STEP * (all.low - a->average_min);
    a->average_max = first ? all.high : a->average_max + AVERAGE_STEP * (all.high - a->average_max);
    a->parts += parts;
    a->count += parts * count;
    if (ends_only) return OK;
    a->sum += all.sum;
    a->sum_squares += all.squares;
    histogram_add(&a->histogram, x, parts * count, all.low, all.high);
    return OK;
}

Status activation_add(ActivationStats *a, const Tensor *t, int64_t samples, bool ends_only, bool *finite, Err *err)
{
    int64_t count = tensor_count(t);
    *finite = true;
    if (count == 0) return OK;
    int64_t parts = samples > 0 && t->shape.rank > 0 && t->shape.dims[0] % samples == 0 ? samples : 1;
    if (t->type == DT_FLOAT && tensor_is_aligned(t))
        return add_floats(a, (const float *)(const void *)t->data, parts, count / parts, ends_only, finite, err);
    float *copy = alloc_array((size_t)count, sizeof *copy);
    if (copy == NULL) return err_no_memory(err, "an activation in float32");
    tensor_read_floats(t, 0, count, copy);
    Status status = add_floats(a, copy, parts, count / parts, ends_only, finite, err);
    free(copy);
    return status;
}
