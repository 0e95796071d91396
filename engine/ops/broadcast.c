#include "engine/ops/broadcast.h"

typedef struct RowPlan {
    int rank; /* the last axis is the row */
    int64_t dims[MAX_RANK], a[MAX_RANK], b[MAX_RANK];
    size_t a_size, b_size, y_size;
} RowPlan;

/* Leaves out axes of size 1 and joins neighbours that lie side by side in both operands. */
static void plan_rows(RowPlan *p, const Shape *out, const int64_t *a, const int64_t *b)
{
    p->rank = 0;
    for (int d = 0; d < out->rank; d++) {
        if (out->dims[d] == 1) continue;
        int last = p->rank - 1;
        if (last >= 0 && p->a[last] == a[d] * out->dims[d] && p->b[last] == b[d] * out->dims[d]) {
            p->dims[last] *= out->dims[d];
        } else {
            last = p->rank++;
            p->dims[last] = out->dims[d];
        }
        p->a[last] = a[d];
        p->b[last] = b[d];
    }
    if (p->rank > 0) return;
    p->rank = 1;
    p->dims[0] = 1;
    p->a[0] = p->b[0] = 0;
}

static void run_rows(const RowPlan *p, int64_t first, int64_t end, const uint8_t *a, const uint8_t *b, uint8_t *y, RowFn row)
{
    int last = p->rank - 1;
    int64_t at[MAX_RANK], at_a = 0, at_b = 0, rest = first, n = p->dims[last];
    for (int d = last - 1; d >= 0; d--) {
        at[d] = rest % p->dims[d];
        rest /= p->dims[d];
        at_a += at[d] * p->a[d];
        at_b += at[d] * p->b[d];
    }
    for (int64_t i = first; i < end; i++) {
        row(a + (size_t)at_a * p->a_size, p->a[last], b + (size_t)at_b * p->b_size, p->b[last], y + (size_t)(i * n) * p->y_size, n);
        for (int d = last - 1; d >= 0; d--) {
            at_a += p->a[d];
            at_b += p->b[d];
            if (++at[d] < p->dims[d]) break;
            at_a -= p->dims[d] * p->a[d];
            at_b -= p->dims[d] * p->b[d];
            at[d] = 0;
        }
    }
}

/* One long row: cut into pieces. */
static void run_pieces(const RowPlan *p, const uint8_t *a, const uint8_t *b, uint8_t *y, RowFn row)
{
    int64_t n = p->dims[0];
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < 16; part++) {
        int64_t from = n * part / 16, to = n * (part + 1) / 16;
        row(a + (size_t)(from * p->a[0]) * p->a_size, p->a[0], b + (size_t)(from * p->b[0]) * p->b_size, p->b[0],
            y + (size_t)from * p->y_size, to - from);
    }
}

void broadcast_rows(const Tensor *a, const Tensor *b, Tensor *out, RowFn row)
{
    RowPlan p = { .a_size = dtype_size(a->type), .b_size = dtype_size(b->type), .y_size = dtype_size(out->type) };
    int64_t sa[MAX_RANK], sb[MAX_RANK], total = tensor_count(out), rows = 1;
    if (total == 0) return;
    strides_broadcast(&a->shape, &out->shape, sa);
    strides_broadcast(&b->shape, &out->shape, sb);
    plan_rows(&p, &out->shape, sa, sb);
    for (int d = 0; d < p.rank - 1; d++) rows *= p.dims[d];
    if (total < PARALLEL_FROM || (rows > 1 && rows < 64)) {
        run_rows(&p, 0, rows, a->data, b->data, out->data, row);
    } else if (rows == 1) {
        run_pieces(&p, a->data, b->data, out->data, row);
    } else {
#pragma omp parallel for schedule(static)
        for (int64_t part = 0; part < 16; part++) run_rows(&p, rows * part / 16, rows * (part + 1) / 16, a->data, b->data, out->data, row);
    }
}

/* ---- contents of shape arithmetic ---- */

typedef struct Entry {
    int64_t value;
    bool symbol;
} Entry;

static Entry entry_at(const Ints *x, int i)
{
    int at = x->count == 1 ? 0 : i;
    return (Entry){ x->at[at], x->symbol[at] };
}

static bool is_number(Entry e, int64_t value)
{
    return !e.symbol && e.value == value;
}

static bool same_symbol(Entry x, Entry y)
{
    return x.symbol && y.symbol && x.value == y.value && x.value != DIM_UNKNOWN;
}

static bool compute(IntsOp op, int64_t x, int64_t y, bool whole, int64_t *z)
{
    switch (op) {
    case INTS_ADD: return add_i64(x, y, z);
    case INTS_SUB: return !__builtin_sub_overflow(x, y, z);
    case INTS_MUL: return mul_i64(x, y, z);
    case INTS_DIV:
        if (y == 0 || (x == INT64_MIN && y == -1) || (!whole && x % y != 0)) return false;
        *z = x / y;
        return true;
    case INTS_MIN: *z = x < y ? x : y; return true;
    case INTS_MAX: *z = x > y ? x : y; return true;
    case INTS_EQUAL: *z = x == y; return true;
    }
    return false;
}

/* A symbol stands for a size: at least 0. */
static Entry combine(IntsOp op, Entry x, Entry y, bool whole)
{
    Entry unknown = { DIM_UNKNOWN, true }, result = { 0, false };
    if (!x.symbol && !y.symbol) return compute(op, x.value, y.value, whole, &result.value) ? result : unknown;
    switch (op) {
    case INTS_ADD: return is_number(y, 0) ? x : is_number(x, 0) ? y : unknown;
    case INTS_SUB: return is_number(y, 0) ? x : same_symbol(x, y) ? result : unknown;
    case INTS_MUL:
        if (is_number(x, 0) || is_number(y, 0)) return result;
        return is_number(y, 1) ? x : is_number(x, 1) ? y : unknown;
    case INTS_DIV: return is_number(y, 1) ? x : unknown;
    case INTS_MIN: return same_symbol(x, y) ? x : unknown;
    case INTS_MAX:
        if (same_symbol(x, y) || (!y.symbol && y.value <= 0)) return x;
        return !x.symbol && x.value <= 0 ? y : unknown;
    case INTS_EQUAL:
        if (same_symbol(x, y)) return (Entry){ 1, false };
        return (!x.symbol && x.value < 0) || (!y.symbol && y.value < 0) ? result : unknown;
    }
    return unknown;
}

static bool type_counts(DType t)
{
    return t == DT_INT64 || t == DT_INT32 || t == DT_FLOAT || t == DT_DOUBLE;
}

void ints_pair(InferCall *c, IntsOp op)
{
    if (c->input_count != 2 || !type_counts(c->in[0].type)) return;
    const Ints *x = &c->ints[0], *y = &c->ints[1];
    if (x->count < 0 || y->count < 0 || (x->count != y->count && x->count != 1 && y->count != 1)) return;
    Ints *out = &c->out_ints[0];
    out->count = x->count == 1 ? y->count : x->count;
    out->scalar = x->scalar && y->scalar;
    bool narrow = c->in[0].type != DT_INT64, whole = dtype_is_integer(c->in[0].type);
    for (int i = 0; i < out->count; i++) {
        Entry e = combine(op, entry_at(x, i), entry_at(y, i), whole);
        if (!e.symbol && narrow && (e.value > 16777216 || e.value < -16777216)) e = (Entry){ DIM_UNKNOWN, true };
        out->at[i] = e.value;
        out->symbol[i] = e.symbol;
    }
}

void ints_where(InferCall *c)
{
    int count = 1;
    for (int i = 0; i < 3; i++) {
        if (c->ints[i].count < 0) return;
        if (c->ints[i].count != 1) count = c->ints[i].count;
    }
    for (int i = 0; i < 3; i++) {
        if (c->ints[i].count != 1 && c->ints[i].count != count) return;
    }
    Ints *out = &c->out_ints[0];
    out->count = count;
    out->scalar = c->ints[0].scalar && c->ints[1].scalar && c->ints[2].scalar;
    for (int i = 0; i < count; i++) {
        Entry condition = entry_at(&c->ints[0], i), x = entry_at(&c->ints[1], i), y = entry_at(&c->ints[2], i), e = x;
        if (!condition.symbol) e = condition.value != 0 ? x : y;
        else if (x.symbol != y.symbol || x.value != y.value) e = (Entry){ DIM_UNKNOWN, true };
        out->at[i] = e.value;
        out->symbol[i] = e.symbol;
    }
}
