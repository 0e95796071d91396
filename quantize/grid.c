#include "quantize/grid.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/vectors.h"

#define QUIET_RANGE 1e-4 /* of a tensor of nothing but zeros */

Grid grid_make(double low, double high, DType type, bool symmetric, bool reduced)
{
    bool is_signed = type == DT_INT8;
    Grid g = { .scale = 1.0f, .type = type, .qmin = is_signed ? (reduced ? -64 : symmetric ? -127 : -128) : 0,
               .qmax = is_signed ? (reduced ? 64 : 127) : (reduced ? 127 : 255) };
    if (low > 0.0) low = 0.0;
    if (high < 0.0) high = 0.0;
    if (symmetric) {
        high = fmax(-low, high);
        low = -high;
    }
    if (high == low) high = low + QUIET_RANGE;
    double scale = (high - low) / (g.qmax - g.qmin), middle = symmetric ? rint((g.qmin + g.qmax) / 2.0) : g.qmin;
    if (scale < (double)FLT_MIN) {
        g.zero = (int)middle;
        return g;
    }
    double zero = symmetric ? middle : rint(g.qmin - low / scale);
    g.scale = (float)scale;
    g.zero = zero < g.qmin ? g.qmin : zero > g.qmax ? g.qmax : (int)zero;
    return g;
}

Grid grid_activation(double low, double high)
{
    return grid_make(low, high, DT_UINT8, false, false);
}

double grid_low(Grid g)
{
    return (double)g.scale * ((g.type == DT_NONE ? 0 : g.qmin) - g.zero);
}

double grid_high(Grid g)
{
    return (double)g.scale * ((g.type == DT_NONE ? 255 : g.qmax) - g.zero);
}

Rows rows_of_conv(const Shape *w, int64_t groups)
{
    Rows r = { .rows = w->dims[0], .taps = 1, .channels = w->dims[1], .tap_stride = 1 };
    for (int i = 2; i < w->rank; i++) r.taps *= w->dims[i];
    r.channel_stride = r.taps;
    r.row_stride = r.taps * r.channels;
    r.pairs = !(w->dims[1] == 1 && w->dims[0] == groups);
    return r;
}

Rows rows_of_matrix(const Shape *w, int axis)
{
    int64_t columns = w->dims[1];
    return (Rows){ .rows = w->dims[axis], .taps = 1, .channels = w->dims[1 - axis], .row_stride = axis == 0 ? columns : 1,
                   .tap_stride = 0, .channel_stride = axis == 0 ? 1 : columns, .pairs = true };
}

int64_t rows_at(const Rows *r, int64_t row, int64_t i)
{
    return row * r->row_stride + i / r->channels * r->tap_stride + i % r->channels * r->channel_stride;
}

static bool pair_safe(int a, int b)
{
    return !((a > 0 && b > 0 && a + b > 128) || (a < 0 && b < 0 && a + b < -128));
}

bool pairs_safe(const Rows *r, const int8_t *row)
{
    int64_t length = r->taps * r->channels;
    for (int64_t i = 0; i + 1 < length; i += 2)
        if (!pair_safe(row[i], row[i + 1])) return false;
    if (r->channels > 1 && r->channels % 2 == 1)
        for (int64_t t = 0; t < r->taps; t++)
            for (int64_t c = 0; c + 1 < r->channels; c += 2)
                if (!pair_safe(row[t * r->channels + c], row[t * r->channels + c + 1])) return false;
    return true;
}

VECTOR_BODY void put(float scale, float zero, float low, float high, float *x, int64_t count)
{
    const float half_turn = 12582912.0f; /* 1.5 x 2^23: the last bit of a sum of this size stands for 1 */
    low -= zero;
    high -= zero;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float q = x[i] / scale;
        q = q > low ? q : low;
        q = q < high ? q : high;
        x[i] = (q + half_turn - half_turn) * scale;
    }
}

static void put_any(float scale, float zero, float low, float high, float *x, int64_t count)
{
    put(scale, zero, low, high, x, count);
}

VECTOR_AVX2 static void put_avx2(float scale, float zero, float low, float high, float *x, int64_t count)
{
    put(scale, zero, low, high, x, count);
}

#define PUT_SHARE 16384 /* values that a thread takes at a time */

void grid_put(Grid g, float *x, int64_t count)
{
    float low = g.type == DT_INT8 ? -128.0f : 0.0f, zero = (float)g.zero;
#pragma omp parallel for schedule(static) if (count > 4 * PUT_SHARE)
    for (int64_t i = 0; i < count; i += PUT_SHARE)
        VECTOR_PICK(put)(g.scale, zero, low, low + 255.0f, x + i, count - i < PUT_SHARE ? count - i : PUT_SHARE);
}

void rows_partners(const Rows *r, int32_t *partner)
{
    int64_t length = r->taps * r->channels;
    for (int64_t i = 0; i < 2 * length; i++) partner[i] = -1;
    for (int64_t i = 0; i + 1 < length; i += 2) {
        int64_t a = rows_column(r, i), b = rows_column(r, i + 1);
        partner[a] = (int32_t)b;
        partner[b] = (int32_t)a;
    }
    if (r->channels == 1 || r->channels % 2 == 0) return;
    for (int64_t t = 0; t < r->taps; t++)
        for (int64_t c = 0; c + 1 < r->channels; c += 2) {
            int64_t a = rows_column(r, t * r->channels + c), b = rows_column(r, t * r->channels + c + 1);
            partner[length + a] = (int32_t)b;
            partner[length + b] = (int32_t)a;
        }
}
