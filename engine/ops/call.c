/* What a forward does with its call: outputs allocated by the entry's own shape rules, short floats by way of float32. */
#include "engine/ops/common.h"

#include "base/half.h"

#include <stdlib.h>

Status opcall_output(OpCall *c, int i, DType type, const Shape *shape)
{
    if (i >= c->output_count) return OK;
    Tensor *t = &c->out[i];
    if (t->data != NULL && t->type == type && shape_eq(&t->shape, shape)) return OK;
    tensor_release(t);
    return tensor_new(t, type, shape, c->err);
}

#define FEW 8 /* operands of a call that need no allocation */

/* The arrays of an InferCall. */
typedef struct InferArrays {
    TypeInfo *in, *out;
    Ints *ints, *out_ints;
    TypeInfo few_types[FEW];
    Ints few_ints[FEW];
    void *many; /* NULL: they are few */
} InferArrays;

static bool arrays_init(int inputs, int outputs, InferArrays *a)
{
    size_t count = (size_t)inputs + (size_t)outputs;
    char *block = a->many = count > FEW ? alloc_array(count, sizeof(TypeInfo) + sizeof(Ints)) : NULL;
    if (count > FEW && block == NULL) return false;
    a->in = block != NULL ? (TypeInfo *)block : a->few_types;
    a->out = a->in + inputs;
    a->ints = block != NULL ? (Ints *)(block + count * sizeof(TypeInfo)) : a->few_ints;
    a->out_ints = a->ints + inputs;
    for (int i = 0; i < inputs; i++) {
        a->in[i] = (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        a->ints[i].count = -1;
    }
    for (int i = 0; i < outputs; i++) {
        a->out[i] = (TypeInfo){ DT_NONE, SHAPE_UNKNOWN };
        a->out_ints[i].count = -1;
    }
    return true;
}

Status opcall_prepare(OpCall *c)
{
    InferArrays a;
    if (!arrays_init(c->input_count, c->output_count, &a)) return err_no_memory(c->err, "operator call");
    for (int i = 0; i < c->input_count; i++) {
        if (c->in[i] == NULL) continue;
        a.in[i] = (TypeInfo){ c->in[i]->type, c->in[i]->shape };
        ints_of_tensor(c->in[i], &a.ints[i]);
    }
    InferCall infer = { .graph = (Graph *)(uintptr_t)c->graph, .node = c->node, .opset = c->opset, .input_count = c->input_count,
                        .output_count = c->output_count, .in = a.in, .constant = c->in, .ints = a.ints, .out = a.out,
                        .out_ints = a.out_ints, .err = c->err };
    Status status = c->node->op->infer(&infer);
    for (int i = 0; status == OK && i < c->output_count; i++) {
        if (a.out[i].type != DT_NONE && shape_known(&a.out[i].shape)) status = opcall_output(c, i, a.out[i].type, &a.out[i].shape);
    }
    free(a.many);
    return status;
}

/* ---- short floats ---- */

static bool is_half(DType t)
{
    return t == DT_FLOAT16 || t == DT_BFLOAT16;
}

bool opcall_has_half(const OpCall *c)
{
    for (int i = 0; i < c->input_count; i++) {
        if (c->in[i] != NULL && is_half(c->in[i]->type)) return true;
    }
    return false;
}

static void write_half(Tensor *t, const float *from)
{
    int64_t count = tensor_count(t);
    uint16_t *to = (uint16_t *)(void *)t->data;
    if (t->type == DT_FLOAT16) {
        for (int64_t i = 0; i < count; i++) to[i] = float_to_half(from[i]);
    } else {
        for (int64_t i = 0; i < count; i++) to[i] = float_to_bfloat16(from[i]);
    }
}

/* Hands one output of the float32 call on to the caller's, converted back when it is float32. */
static Status give_output(OpCall *c, int i, Tensor *from, DType half)
{
    if (from->buffer == NULL && from->data == NULL) return OK;
    DType type = from->type == DT_FLOAT ? half : from->type;
    TRY(opcall_output(c, i, type, &from->shape));
    if (type != from->type) write_half(&c->out[i], (const float *)(const void *)from->data);
    else if (from->bytes > 0) memcpy(c->out[i].data, from->data, from->bytes);
    return OK;
}

Status opcall_via_float(OpCall *c, Status (*forward)(OpCall *))
{
    size_t inputs = (size_t)c->input_count, outputs = (size_t)c->output_count;
    Tensor *tensors = alloc_zeroed(inputs + outputs + 1, sizeof *tensors);
    const Tensor **in = alloc_zeroed(inputs + 1, sizeof *in);
    Status status = OK;
    DType half = DT_NONE;
    if (tensors == NULL || in == NULL) {
        status = err_no_memory(c->err, "operator call");
        goto out;
    }
    for (size_t i = 0; i < inputs; i++) {
        in[i] = c->in[i];
        if (c->in[i] == NULL || !is_half(c->in[i]->type)) continue;
        if (half == DT_NONE) half = c->in[i]->type;
        TRY_OUT(tensor_new(&tensors[i], DT_FLOAT, &c->in[i]->shape, c->err));
        tensor_read_floats(c->in[i], 0, tensor_count(c->in[i]), (float *)(void *)tensors[i].data);
        in[i] = &tensors[i];
    }
    OpCall call = *c;
    call.in = in;
    call.out = tensors + inputs;
    TRY_OUT(forward(&call));
    for (int i = 0; i < c->output_count; i++) TRY_OUT(give_output(c, i, &call.out[i], half));
out:
    for (size_t i = 0; tensors != NULL && i < inputs + outputs; i++) tensor_release(&tensors[i]);
    free(tensors);
    free(in);
    return status;
}

/* ---- strided copies ---- */

size_t dtype_size(DType t)
{
    int bits = dtype_bits(t);
    return bits >= 8 ? (size_t)bits / 8 : 0;
}

/* Tile and DepthToSpace view a tensor with more axes than it has. */
#define COPY_RANK (2 * MAX_RANK + 2)

typedef struct CopyPlan {
    int rank; /* outer axes: the last one is the row */
    int64_t dims[COPY_RANK], to[COPY_RANK], from[COPY_RANK];
} CopyPlan;

/* Leaves out axes of one element and joins axes that lie side by side in both arrays. False when there is nothing to copy. */
static bool copy_plan(CopyPlan *p, int rank, const int64_t *dims, const int64_t *to, const int64_t *from)
{
    p->rank = 0;
    for (int d = 0; d < rank; d++) {
        if (dims[d] <= 0) return false;
        if (dims[d] == 1) continue;
        int last = p->rank - 1;
        if (last >= 0 && p->to[last] == to[d] * dims[d] && p->from[last] == from[d] * dims[d]) {
            p->dims[last] *= dims[d];
        } else {
            last = p->rank++;
            p->dims[last] = dims[d];
        }
        p->to[last] = to[d];
        p->from[last] = from[d];
    }
    if (p->rank == 0) {
        p->rank = 1;
        p->dims[0] = p->to[0] = p->from[0] = 1;
    }
    return true;
}

#define ROW_COPY(type) \
    do { \
        type *d = (type *)(void *)dst; \
        const type *s = (const type *)(const void *)src; \
        for (int64_t i = 0; i < n; i++) d[i * to] = s[i * from]; \
    } while (0)

static void copy_row(size_t size, int64_t n, uint8_t *dst, int64_t to, const uint8_t *src, int64_t from)
{
    if (to == 1 && from == 1) {
        memcpy(dst, src, (size_t)n * size);
        return;
    }
    switch (size) {
    case 1: ROW_COPY(uint8_t); break;
    case 2: ROW_COPY(uint16_t); break;
    case 4: ROW_COPY(uint32_t); break;
    case 8: ROW_COPY(uint64_t); break;
    default:
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * to * (int64_t)size, src + i * from * (int64_t)size, size);
    }
}

static void copy_rows(const CopyPlan *p, size_t size, int64_t first, int64_t end, uint8_t *dst, const uint8_t *src)
{
    int last = p->rank - 1;
    int64_t at[COPY_RANK], to = 0, from = 0, rest = first;
    for (int d = last - 1; d >= 0; d--) {
        at[d] = rest % p->dims[d];
        rest /= p->dims[d];
        to += at[d] * p->to[d];
        from += at[d] * p->from[d];
    }
    for (int64_t row = first; row < end; row++) {
        copy_row(size, p->dims[last], dst + to * (int64_t)size, p->to[last], src + from * (int64_t)size, p->from[last]);
        for (int d = last - 1; d >= 0; d--) {
            to += p->to[d];
            from += p->from[d];
            if (++at[d] < p->dims[d]) break;
            to -= p->dims[d] * p->to[d];
            from -= p->dims[d] * p->from[d];
            at[d] = 0;
        }
    }
}

void copy_strided(size_t size, int rank, const int64_t *dims, uint8_t *dst, const int64_t *dst_strides, const uint8_t *src,
                  const int64_t *src_strides)
{
    CopyPlan p;
    if (!copy_plan(&p, rank, dims, dst_strides, src_strides)) return;
    int64_t rows = 1;
    for (int d = 0; d < p.rank - 1; d++) rows *= p.dims[d];
    if (rows * p.dims[p.rank - 1] < PARALLEL_FROM || rows < 64) {
        copy_rows(&p, size, 0, rows, dst, src);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < 16; part++) copy_rows(&p, size, rows * part / 16, rows * (part + 1) / 16, dst, src);
}
