#include "engine/ops/ms_attend.h"

#include <math.h>
#include <stdlib.h>

#include "engine/blas_glue.h"
#include "engine/ops/window.h"

static Status check_sizes(const OpCall *c, const MsAttend *a)
{
    if (a->heads < 1 || a->kv_heads < 1 || a->heads % a->kv_heads != 0)
        return op_fail(c, ERR_DATA, "%lld heads of queries for %lld of keys", (long long)a->heads, (long long)a->kv_heads);
    const int64_t sizes[] = { a->queries, a->keys, a->capacity, a->head, a->v_head, a->heads };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] > 1 << 24) return op_fail(c, ERR_UNSUPPORTED, "a dimension of %lld", (long long)sizes[i]);
    if (a->heads * a->v_head > INT32_MAX) return op_fail(c, ERR_UNSUPPORTED, "%lld heads of %lld", (long long)a->heads,
                                                         (long long)a->v_head);
    if (a->bias == NULL) return OK;
    const Shape *s = &a->bias->shape;
    if (a->bias->type != DT_FLOAT) return op_bad_type(c, a->bias->type);
    if (s->rank != 4 || (s->dims[0] != 1 && s->dims[0] != a->batch) || (s->dims[1] != 1 && s->dims[1] != a->heads) ||
        s->dims[2] != a->queries || s->dims[3] < a->keys)
        return op_fail(c, ERR_DATA, "the attention bias does not fit %lld queries and %lld keys", (long long)a->queries,
                       (long long)a->keys);
    return OK;
}

/* Scores of one query to weights that sum to 1 (less with a sink). */
static void softmax_row(const MsAttend *a, int64_t head, const float *mask, const float *bias, float *row)
{
    double sink = a->smooth && a->sinks != NULL ? a->sinks[head] : 0, most = a->smooth ? sink : -INFINITY, sum = 0;
    for (int64_t t = 0; t < a->keys; t++) {
        if (a->softcap > 0) row[t] = a->softcap * tanhf(row[t] / a->softcap);
        if (bias != NULL) row[t] += bias[t];
        if (mask != NULL) row[t] += mask[t];
        if (row[t] > most) most = row[t];
    }
    if (most == -INFINITY) most = 0;
    for (int64_t t = 0; t < a->keys; t++) {
        double weight = exp(row[t] - most);
        row[t] = (float)weight;
        sum += weight;
    }
    if (a->smooth) sum += exp(sink - most);
    for (int64_t t = 0; t < a->keys; t++) row[t] = sum > 0 ? (float)(row[t] / sum) : 0;
}

static void attend_head(const MsAttend *a, int64_t b, int64_t n, float scale, float *scores)
{
    int queries = (int)a->queries, keys = (int)a->keys, head = (int)a->head, width = (int)a->v_head, row = (int)(a->heads * a->v_head);
    int64_t kv = b * a->kv_heads + n / (a->heads / a->kv_heads);
    blas_sgemm(false, true, queries, keys, head, scale, a->q + (b * a->heads + n) * a->queries * a->head, head,
               a->k + kv * a->capacity * a->head, head, 0, scores, keys);
    const float *bias = NULL;
    int64_t bias_row = 0;
    if (a->bias != NULL) {
        const Shape *s = &a->bias->shape;
        int64_t at = (s->dims[0] == 1 ? 0 : b) * s->dims[1] + (s->dims[1] == 1 ? 0 : n);
        bias_row = s->dims[3];
        bias = tensor_floats(a->bias) + at * a->queries * bias_row;
    }
#pragma omp parallel for schedule(static) if (a->queries * a->keys > 4096)
    for (int64_t s = 0; s < a->queries; s++)
        softmax_row(a, n, a->mask != NULL ? a->mask + (b * a->queries + s) * a->keys : NULL, bias != NULL ? bias + s * bias_row : NULL,
                    scores + s * a->keys);
    blas_sgemm(false, false, queries, width, keys, 1, scores, keys, a->v + kv * a->capacity * a->v_head, width, 0,
               a->out + b * a->queries * row + n * a->v_head, row);
}

Status ms_attend(const OpCall *c, const MsAttend *a)
{
    TRY(check_sizes(c, a));
    if (a->batch * a->queries * a->v_head == 0) return OK;
    if (a->keys == 0 || a->head == 0) return op_fail(c, ERR_DATA, "there is no key to attend to");
    float *scores = alloc_array((size_t)(a->queries * a->keys), sizeof *scores);
    if (scores == NULL) return err_no_memory(c->err, "attention scores");
    float scale = a->scale != 0 ? a->scale : (float)(1 / sqrt((double)a->head));
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t n = 0; n < a->heads; n++) attend_head(a, b, n, scale, scores);
    free(scores);
    return OK;
}

Status ms_mask_new(const OpCall *c, MsAttend *a)
{
    int64_t count;
    if (a->mask != NULL) return OK;
    if (__builtin_mul_overflow(a->batch, a->queries, &count) || __builtin_mul_overflow(count, a->keys, &count))
        return op_fail(c, ERR_DATA, "the mask is too large");
    a->mask = alloc_zeroed((size_t)count + 1, sizeof *a->mask);
    return a->mask != NULL ? OK : err_no_memory(c->err, "an attention mask");
}

Status ms_mask_keys(const OpCall *c, MsAttend *a, const Tensor *mask, float filter)
{
    const Shape *s = &mask->shape;
    TRY(ms_mask_new(c, a));
    bool lengths = s->rank == 1 && s->dims[0] == a->batch, ranges = s->rank == 1 && s->dims[0] == 2 * a->batch;
    bool keys = s->rank == 2 && s->dims[0] == a->batch && s->dims[1] == a->keys;
    bool pairs = s->rank == 3 && s->dims[0] == a->batch && s->dims[1] == a->queries && s->dims[2] == a->keys;
    if (!lengths && !ranges && !keys && !pairs) {
        char text[128];
        shape_print(s, text, sizeof text);
        return op_fail(c, ERR_UNSUPPORTED, "a mask of shape %s for %lld batches, %lld queries, %lld keys", text, (long long)a->batch,
                       (long long)a->queries, (long long)a->keys);
    }
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t q = 0; q < a->queries; q++)
            for (int64_t t = 0; t < a->keys; t++) {
                bool kept = true;
                if (lengths || ranges) kept = t < tensor_get_int(mask, b);
                if (ranges) kept = kept && t >= tensor_get_int(mask, a->batch + b);
                if (keys) kept = tensor_get_int(mask, b * a->keys + t) > 0;
                if (pairs) kept = tensor_get_int(mask, (b * a->queries + q) * a->keys + t) > 0;
                if (!kept) a->mask[(b * a->queries + q) * a->keys + t] += filter;
            }
    return OK;
}

void ms_mask_causal(MsAttend *a, int64_t past)
{
    for (int64_t r = 0; r < a->batch * a->queries; r++)
        for (int64_t t = past + r % a->queries + 1; t < a->keys; t++) a->mask[r * a->keys + t] = -INFINITY;
}

void ms_rotate(float *row, int64_t pairs, const float *cosines, const float *sines, bool interleaved)
{
    for (int64_t i = 0; i < pairs; i++) {
        int64_t x = interleaved ? 2 * i : i, y = interleaved ? 2 * i + 1 : i + pairs;
        float a = row[x], b = row[y];
        row[x] = a * cosines[i] - b * sines[i];
        row[y] = a * sines[i] + b * cosines[i];
    }
}
