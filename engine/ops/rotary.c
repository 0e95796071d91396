#include "engine/ops/rotary.h"

#include "engine/ops/common.h"
#include "engine/ops/integer.h"

#define INLINE static inline __attribute__((always_inline))

/* Axes behind the rows of x and y. */
static int tail_of(const Node *n, const char *which)
{
    return node_int(n, which, ROTARY_HALVES) == ROTARY_PAIRS ? 2 : 1;
}

/* The leading axes of y; false: what is known of the shapes contradicts. Unknown rank in, unknown rank out. */
static bool rows_of(const Node *n, const Shape *x, const Shape *c, const Shape *s, Shape *rows)
{
    Shape lead[3] = { *x, *c, *s }, joined;
    int tail = tail_of(n, "order");
    for (int i = 0; i < 3; i++) {
        int drop = i == 0 ? tail : 1;
        if (lead[i].rank >= 0 && lead[i].rank < drop) return false;
        if (lead[i].rank >= 0) lead[i].rank -= drop;
    }
    return shape_broadcast(&lead[0], &lead[1], &joined) && shape_broadcast(&joined, &lead[2], rows);
}

static Status rotary_infer(InferCall *c)
{
    const Shape *x = &c->in[0].shape;
    Shape *y = &c->out[0].shape;
    c->out[0].type = c->in[0].type;
    if (x->rank < 0) return OK;
    if (!rows_of(c->node, x, &c->in[1].shape, &c->in[2].shape, y)) return op_fail(c, ERR_DATA, "its angles do not fit its input");
    int from = tail_of(c->node, "order"), to = tail_of(c->node, "made");
    int64_t last = x->dims[x->rank - 1], half = from == 2 ? x->dims[x->rank - 2] : last >= 0 ? last / 2 : DIM_UNKNOWN;
    if (from == 2 ? last >= 0 && last != 2 : last >= 0 && last % 2 != 0) return op_fail(c, ERR_DATA, "its input is not made of pairs");
    if (y->rank < 0) return OK;
    if (y->rank + to > MAX_RANK) return op_fail(c, ERR_UNSUPPORTED, "its result has more than %d axes", MAX_RANK);
    if (to == 2) y->dims[y->rank++] = half;
    y->dims[y->rank] = to == 2 ? 2 : half >= 0 && half <= INT64_MAX / 2 ? 2 * half : DIM_UNKNOWN;
    y->rank++;
    return OK;
}

bool rotary_rows_init(const Node *n, const Shape *x, const Shape *c, const Shape *s, RotaryRows *out)
{
    Shape rows, full;
    *out = (RotaryRows){ .from_halves = node_int(n, "order", ROTARY_HALVES) == ROTARY_HALVES,
                         .to_halves = node_int(n, "made", ROTARY_HALVES) == ROTARY_HALVES };
    if (!shape_known(x) || !shape_known(c) || !shape_known(s) || !rows_of(n, x, c, s, &rows)) return false;
    int tail = tail_of(n, "order");
    int64_t depth = shape_span(x, x->rank - tail, x->rank), wide_c = c->dims[c->rank - 1], wide_s = s->dims[s->rank - 1];
    out->rank = rows.rank;
    out->half = depth / 2;
    out->wide_c = wide_c == depth;
    out->wide_s = wide_s == depth;
    if (depth % 2 != 0 || (!out->wide_c && wide_c != out->half) || (!out->wide_s && wide_s != out->half)) return false;
    if (!shape_count(&rows, &out->count)) return false;
    const Shape *from[3] = { x, c, s };
    int64_t *to[3] = { out->x, out->c, out->s }, steps[MAX_RANK];
    for (int i = 0; i < 3; i++) { /* as one array with an axis of D or K at the end */
        full = *from[i];
        if (i == 0 && tail == 2) full.dims[--full.rank - 1] = depth;
        strides_of(&full, steps);
        int shift = rows.rank - (full.rank - 1);
        for (int a = 0; a < rows.rank; a++) to[i][a] = a < shift || full.dims[a - shift] == 1 ? 0 : steps[a - shift];
    }
    for (int a = 0; a < rows.rank; a++) out->dims[a] = rows.dims[a];
    return true;
}

/* One row: x1 at x[k * step], x2 `apart` behind it, likewise y; entries k of c and s, or those in y's order. */
INLINE void turn_row(int64_t half, const float *x, int64_t step, int64_t apart, const float *c, bool wide_c, const float *s, bool wide_s,
                     float *y, int64_t y_step, int64_t y_apart)
{
    int64_t c_step = wide_c ? y_step : 1, c_apart = wide_c ? y_apart : 0, s_step = wide_s ? y_step : 1, s_apart = wide_s ? y_apart : 0;
#pragma omp simd
    for (int64_t k = 0; k < half; k++) {
        float x1 = x[k * step], x2 = x[k * step + apart];
        y[k * y_step] = x1 * c[k * c_step] - x2 * s[k * s_step];
        y[k * y_step + y_apart] = x2 * c[k * c_step + c_apart] + x1 * s[k * s_step + s_apart];
    }
}

INLINE void turn_any(const RotaryRows *r, const float *x, const float *c, const float *s, float *y)
{
    int64_t h = r->half, step = r->from_halves ? 1 : 2, apart = r->from_halves ? h : 1, y_step = r->to_halves ? 1 : 2,
            y_apart = r->to_halves ? h : 1;
    bool narrow = !r->wide_c && !r->wide_s, wide = r->wide_c && r->wide_s;
    if (r->from_halves && r->to_halves && wide) turn_row(h, x, 1, h, c, true, s, true, y, 1, h);
    else if (r->from_halves && r->to_halves && narrow) turn_row(h, x, 1, h, c, false, s, false, y, 1, h);
    else if (!r->from_halves && !r->to_halves && wide) turn_row(h, x, 2, 1, c, true, s, true, y, 2, 1);
    else if (!r->from_halves && !r->to_halves && narrow) turn_row(h, x, 2, 1, c, false, s, false, y, 2, 1);
    else turn_row(h, x, step, apart, c, r->wide_c, s, r->wide_s, y, y_step, y_apart);
}

void rotary_turn(const RotaryRows *r, const float *x, const float *c, const float *s, float *y, int64_t first, int64_t end)
{
    int last = r->rank - 1;
    int64_t at[MAX_RANK];
    for (int64_t a = last, rest = first; a >= 0; a--) {
        at[a] = rest % r->dims[a];
        rest /= r->dims[a];
    }
    for (int64_t row = first; row < end;) { /* along the last axis of the rows at once */
        int64_t of_x = 0, of_c = 0, of_s = 0, many = last >= 0 ? r->dims[last] - at[last] : 1;
        if (many > end - row) many = end - row;
        for (int a = 0; a <= last; a++) {
            of_x += at[a] * r->x[a];
            of_c += at[a] * r->c[a];
            of_s += at[a] * r->s[a];
        }
        for (int64_t k = 0; k < many; k++) {
            turn_any(r, x + of_x, c + of_c, s + of_s, y + (row + k) * 2 * r->half);
            if (last < 0) break;
            of_x += r->x[last];
            of_c += r->c[last];
            of_s += r->s[last];
        }
        row += many;
        if (last >= 0) at[last] = 0;
        for (int a = last - 1; a >= 0 && ++at[a] == r->dims[a]; a--) at[a] = 0;
    }
}

static Status rotary_forward(OpCall *c)
{
    RotaryRows r;
    TRY(opcall_prepare(c));
    if (!rotary_rows_init(c->node, &c->in[0]->shape, &c->in[1]->shape, &c->in[2]->shape, &r))
        return op_fail(c, ERR_DATA, "its angles do not fit its input");
    if (r.count > 0)
        rotary_turn(&r, (const float *)c->in[0]->data, (const float *)c->in[1]->data, (const float *)c->in[2]->data,
                    (float *)c->out[0].data, 0, r.count);
    return OK;
}

static void rotary_cost(const CostCall *c, OpCost *out)
{
    int64_t count;
    if (shape_count(&c->out[0].shape, &count) && count <= INT64_MAX / 3) out->elementwise = 3 * count;
}

const Op rotary_op = { .type = "Rotary", .domain = INTEGER_DOMAIN, .since = 1, .min_inputs = 3, .max_inputs = 3, .min_outputs = 1,
                       .max_outputs = 1, .weight_input = -1, .bias_input = -1, .infer = rotary_infer, .forward = rotary_forward,
                       .cost = rotary_cost };
