#include "data/convert.h"

#include "base/bytes.h"
#include "base/half.h"

#include <math.h>

#define CHUNK 4096

static bool is_complex(DType t) { return t == DT_COMPLEX64 || t == DT_COMPLEX128; }

static bool is_number(DType t) { return t == DT_BOOL || dtype_is_integer(t) || dtype_is_float(t); }

Status convert_check(DType from, DType to, const char *what, Err *err)
{
    if ((is_number(from) && is_number(to)) || (from == to && is_complex(from))) return OK;
    return err_set(err, ERR_DATA, "%s: %s cannot become %s", what, dtype_name(from), dtype_name(to));
}

/* Bounds of an integer type; those of uint64 are cut to int64's, which tensor_get_int returns. */
static void integer_bounds(DType t, int64_t *low, int64_t *high)
{
    int bits = dtype_bits(t);
    bool is_unsigned = t == DT_UINT8 || t == DT_UINT16 || t == DT_UINT32 || t == DT_UINT64 || t == DT_UINT4 || t == DT_UINT2;
    *low = is_unsigned ? 0 : bits == 64 ? INT64_MIN : -((int64_t)1 << (bits - 1));
    *high = bits == 64 ? INT64_MAX : ((int64_t)1 << (is_unsigned ? bits : bits - 1)) - 1;
}

/* Where the per-channel numbers of element i stand: entry (i / inner) % channels. */
typedef struct Channels {
    int64_t inner, count, at, left;
} Channels;

static void channels_init(Channels *c, const Shape *s, int axis)
{
    *c = (Channels){ .inner = 1, .count = 1 };
    if (axis >= 0) {
        c->count = s->dims[axis];
        for (int a = axis + 1; a < s->rank; a++) c->inner *= s->dims[a];
    }
    c->left = c->inner;
}

static void channels_step(Channels *c)
{
    if (--c->left > 0) return;
    c->left = c->inner;
    if (++c->at == c->count) c->at = 0;
}

static double number_at(const Numbers *n, int64_t channel) { return n->at[n->list ? channel : 0]; }

static void scale_floats(float *x, int64_t count, const Affine *a, Channels *c)
{
    for (int64_t i = 0; i < count; i++, channels_step(c)) {
        if (a->scale->count > 0) x[i] *= (float)number_at(a->scale, c->at);
        if (a->mean->count > 0) x[i] -= (float)number_at(a->mean, c->at);
        if (a->std->count > 0) x[i] /= (float)number_at(a->std, c->at);
    }
}

static void scale_doubles(double *x, int64_t count, const Affine *a, Channels *c)
{
    for (int64_t i = 0; i < count; i++, channels_step(c)) {
        if (a->scale->count > 0) x[i] *= number_at(a->scale, c->at);
        if (a->mean->count > 0) x[i] -= number_at(a->mean, c->at);
        if (a->std->count > 0) x[i] /= number_at(a->std, c->at);
    }
}

static void to_float32(const Tensor *in, const Affine *affine, Tensor *out, int64_t n)
{
    Channels c;
    channels_init(&c, &in->shape, affine->axis);
    float *to = (float *)(void *)out->data;
    tensor_read_floats(in, 0, n, to);
    if (affine_active(affine)) scale_floats(to, n, affine, &c);
}

static void to_float64(const Tensor *in, const Affine *affine, Tensor *out, int64_t n)
{
    Channels c;
    channels_init(&c, &in->shape, affine->axis);
    double *to = (double *)(void *)out->data;
    tensor_read_doubles(in, 0, n, to);
    if (affine_active(affine)) scale_doubles(to, n, affine, &c);
}

/* float16 and bfloat16: the cast rounds, so does the result. */
static void to_half(const Tensor *in, const Affine *affine, Tensor *out, int64_t n)
{
    Channels c;
    float block[CHUNK];
    bool brain = out->type == DT_BFLOAT16;
    uint16_t *to = (uint16_t *)(void *)out->data;
    channels_init(&c, &in->shape, affine->axis);
    for (int64_t done = 0; done < n; done += CHUNK) {
        int64_t k = n - done < CHUNK ? n - done : CHUNK;
        tensor_read_floats(in, done, k, block);
        for (int64_t i = 0; i < k; i++)
            block[i] = brain ? bfloat16_to_float(float_to_bfloat16(block[i])) : half_to_float(float_to_half(block[i]));
        if (affine_active(affine)) scale_floats(block, k, affine, &c);
        for (int64_t i = 0; i < k; i++) to[done + i] = brain ? float_to_bfloat16(block[i]) : float_to_half(block[i]);
    }
}

static void to_integer(const Tensor *in, DType type, Tensor *out, int64_t n, int64_t *bad)
{
    int64_t low, high;
    bool floats = dtype_is_float(in->type);
    integer_bounds(type, &low, &high);
    for (int64_t i = 0; i < n; i++) {
        double x = floats ? tensor_get(in, i) : 0;
        int64_t v = tensor_get_int(in, i);
        bool fits = v >= low && v <= high && (!floats || (x == floor(x) && fabs(x) < 9223372036854775808.0));
        if (!fits && *bad < 0) *bad = i;
        tensor_set_int(out, i, v);
    }
}

static void to_bool(const Tensor *in, Tensor *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out->data[i] = tensor_get(in, i) != 0;
}

Status convert_values(const Tensor *in, DType to, const Affine *affine, uint64_t max_mem, Tensor *out, int64_t *bad, Err *err)
{
    *bad = -1;
    if (in->type == to && !affine_active(affine) && to != DT_BOOL) {
        *out = tensor_share(in);
        return OK;
    }
    DType held = to == DT_INT4 || to == DT_INT2 ? DT_INT8 : to == DT_UINT4 || to == DT_UINT2 ? DT_UINT8 : to;
    int64_t n = tensor_count(in);
    size_t bytes;
    if (!dtype_bytes(held, n, &bytes) || (max_mem > 0 && bytes > max_mem))
        return err_set(err, ERR_MEMORY, "%lld values of an input as %s are over --max-mem", (long long)n, dtype_name(to));
    TRY(tensor_new(out, held, &in->shape, err));
    if (to == DT_FLOAT) to_float32(in, affine, out, n);
    else if (to == DT_DOUBLE) to_float64(in, affine, out, n);
    else if (dtype_is_float(to)) to_half(in, affine, out, n);
    else if (to == DT_BOOL) to_bool(in, out, n);
    else to_integer(in, to, out, n, bad);
    return OK;
}

/* One row of the result: elements `stride` bytes apart in the source. */
static void gather_row(uint8_t *to, const uint8_t *from, int64_t count, size_t stride, size_t item)
{
    switch (item) { /* a constant size lets the copy be one load and store */
    case 1:
        for (int64_t k = 0; k < count; k++) to[k] = from[(size_t)k * stride];
        break;
    case 4:
        for (int64_t k = 0; k < count; k++) memcpy(to + 4 * k, from + (size_t)k * stride, 4);
        break;
    default:
        for (int64_t k = 0; k < count; k++) memcpy(to + (size_t)k * item, from + (size_t)k * stride, item);
    }
}

Status convert_transpose(const Tensor *in, const int *perm, Tensor *out, Err *err)
{
    Shape shape = { .rank = in->shape.rank };
    size_t item = (size_t)dtype_bits(in->type) / 8, stride[MAX_RANK] = { 0 }, step[MAX_RANK];
    size_t run = item;
    for (int a = in->shape.rank - 1; a >= 0; a--) {
        stride[a] = run;
        run *= (size_t)in->shape.dims[a];
    }
    for (int a = 0; a < shape.rank; a++) {
        shape.dims[a] = in->shape.dims[perm[a]];
        step[a] = stride[perm[a]];
    }
    TRY(tensor_new(out, in->type, &shape, err));
    int64_t at[MAX_RANK] = { 0 }, n = tensor_count(out), last = shape.rank > 0 ? shape.dims[shape.rank - 1] : 1;
    size_t offset = 0, inner = shape.rank > 0 ? step[shape.rank - 1] : item;
    uint8_t *to = out->data;
    for (int64_t i = 0; i < n; i += last) {
        gather_row(to, in->data + offset, last, inner, item);
        to += (size_t)last * item;
        for (int a = shape.rank - 2; a >= 0; a--) {
            offset += step[a];
            if (++at[a] < shape.dims[a]) break;
            offset -= step[a] * (size_t)shape.dims[a];
            at[a] = 0;
        }
    }
    return OK;
}

Status convert_pack(Tensor *t, DType type, Err *err)
{
    if (t->type == type) return OK;
    Tensor packed = { 0 };
    TRY(tensor_new(&packed, type, &t->shape, err));
    int64_t n = tensor_count(t);
    for (int64_t i = 0; i < n; i++) tensor_set_int(&packed, i, tensor_get_int(t, i));
    tensor_release(t);
    *t = packed;
    return OK;
}
