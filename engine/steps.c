/* A batch of one reads every weight once in a step: it is bound by the second cache, and a call of the library takes as long as half the
 * reading. Here a step is a function call, and threads have panels of their own, which stay in their caches from step to step.
 * Two rows or three by three or four registers of gates are under way at a time; of one row, the even and the odd terms. */
#include "engine/steps.h"

#include <string.h>

#include "engine/avx2.h"

#define LANES 8
#define MOST_VECTORS 4 /* of a panel */
#define MOST_ROWS 3    /* at a time */

StepWeights steps_init(int64_t hidden, int64_t gates)
{
    int64_t blocks = gates < 3 ? MOST_VECTORS / gates : 1;
    StepWeights s = { .hidden = hidden, .gates = gates, .units = blocks * LANES };
    s.panels = (hidden + s.units - 1) / s.units;
    return s;
}

static int64_t panel_floats(const StepWeights *s)
{
    return s->hidden * s->units * s->gates;
}

size_t steps_bytes(const StepWeights *s)
{
    return (size_t)(s->panels * panel_floats(s)) * sizeof(float);
}

void steps_pack(const StepWeights *s, const float *weights, float *out)
{
    int64_t h = s->hidden;
    memset(out, 0, steps_bytes(s));
    for (int64_t g = 0; g < s->gates; g++)
        for (int64_t unit = 0; unit < h; unit++) {
            int64_t in = unit % s->units;
            const float *from = weights + (g * h + unit) * h;
            float *to = out + unit / s->units * panel_floats(s) + (in / LANES * s->gates + g) * LANES + in % LANES;
            for (int64_t k = 0; k < h; k++) to[k * s->units * s->gates] = from[k];
        }
}

#if defined(__x86_64__)

/* sums += h[row, k] * w[vectors] */
AVX2_INLINE void add_terms(int rows, int vectors, __m256 sum[MOST_ROWS][MOST_VECTORS], const float *h, int64_t hidden, const float *w)
{
    __m256 v[MOST_VECTORS];
    UNROLL
    for (int i = 0; i < vectors; i++) v[i] = _mm256_loadu_ps(w + LANES * i);
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m256 x = _mm256_broadcast_ss(h + r * hidden);
        UNROLL
        for (int i = 0; i < vectors; i++) sum[r][i] = _mm256_fmadd_ps(x, v[i], sum[r][i]);
    }
}

/* One panel of some rows, both numbers constants where it is called. */
AVX2_INLINE void panel(int rows, int vectors, const float *h, int64_t hidden, const float *w, __m256 sum[MOST_ROWS][MOST_VECTORS])
{
    int64_t k = 0;
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < vectors; i++) sum[r][i] = _mm256_setzero_ps();
    if (rows == 1) {
        __m256 odd[MOST_ROWS][MOST_VECTORS];
        UNROLL
        for (int i = 0; i < vectors; i++) odd[0][i] = _mm256_setzero_ps();
        for (; k + 1 < hidden; k += 2) {
            add_terms(1, vectors, sum, h + k, hidden, w + k * vectors * LANES);
            add_terms(1, vectors, odd, h + k + 1, hidden, w + (k + 1) * vectors * LANES);
        }
        UNROLL
        for (int i = 0; i < vectors; i++) sum[0][i] = _mm256_add_ps(sum[0][i], odd[0][i]);
    }
    for (; k < hidden; k++) add_terms(rows, vectors, sum, h + k, hidden, w + k * vectors * LANES);
}

/* To y[row, gate, unit], units that are there. */
AVX2_INLINE void store(const StepWeights *s, int rows, int vectors, int64_t first_unit, __m256 sum[MOST_ROWS][MOST_VECTORS], float *y)
{
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < vectors; i++) {
            int64_t unit = first_unit + i / s->gates * LANES, left = s->hidden - unit;
            float *to = y + (r * s->gates + i % s->gates) * s->hidden + unit;
            if (left >= LANES) {
                _mm256_storeu_ps(to, sum[r][i]);
            } else if (left > 0) {
                float some[LANES];
                _mm256_storeu_ps(some, sum[r][i]);
                memcpy(to, some, (size_t)left * sizeof *some);
            }
        }
}

AVX2_INLINE void run_rows(const StepWeights *s, int rows, int vectors, const float *h, int64_t p, float *y)
{
    __m256 sum[MOST_ROWS][MOST_VECTORS];
    panel(rows, vectors, h, s->hidden, s->packed + p * panel_floats(s), sum);
    store(s, rows, vectors, p * s->units, sum, y);
}

AVX2_INLINE void run_panels(const StepWeights *s, int vectors, const float *h, int64_t first, int64_t end, int64_t from, int64_t to,
                            float *y)
{
    for (int64_t p = from; p < to; p++)
        for (int64_t row = first; row < end;) {
            int64_t left = end - row;
            const float *x = h + row * s->hidden;
            float *out = y + row * s->gates * s->hidden;
            if (left >= 3 && left != 4) run_rows(s, 3, vectors, x, p, out);
            else if (left >= 2) run_rows(s, 2, vectors, x, p, out);
            else run_rows(s, 1, vectors, x, p, out);
            row += left >= 3 && left != 4 ? 3 : left >= 2 ? 2 : 1;
        }
}

AVX2 void steps_run(const StepWeights *s, const float *h, int64_t first, int64_t end, int64_t from, int64_t to, float *y)
{
    if (s->gates == 3) run_panels(s, 3, h, first, end, from, to, y);
    else run_panels(s, 4, h, first, end, from, to, y);
}
#else
void steps_run(const StepWeights *s, const float *h, int64_t first, int64_t end, int64_t from, int64_t to, float *y)
{
    (void)s, (void)h, (void)first, (void)end, (void)from, (void)to, (void)y;
}
#endif
