#include "engine/ops/window.h"

#include "engine/ops/common.h"

/* Reads an INTS attribute of `count` entries into the right-aligned array; absent: all `fallback`. */
static Status read_ints(const Graph *g, const Node *n, const char *name, int dims, int64_t fallback, int64_t low, int64_t *out, Err *err)
{
    int64_t count = 0;
    const int64_t *values = node_ints(n, name, &count);
    if (values != NULL && count != dims)
        return op_error(g, n, err, ERR_DATA, "%s has %lld entries, expected %d", name, (long long)count, dims);
    for (int i = 0; i < WINDOW_DIMS; i++) out[i] = name[0] == 'o' ? 0 : 1;
    for (int i = 0; i < dims; i++) {
        int64_t v = values != NULL ? values[i] : fallback;
        if (v < low || v > INT32_MAX) return op_error(g, n, err, ERR_DATA, "%s holds %lld", name, (long long)v);
        out[WINDOW_DIMS - dims + i] = v;
    }
    return OK;
}

static Status read_pads(const Graph *g, const Node *n, Window *w, Err *err)
{
    int64_t count = 0;
    const int64_t *pads = node_ints(n, "pads", &count);
    if (pads == NULL) return OK;
    if (count != 2 * w->dims)
        return op_error(g, n, err, ERR_DATA, "pads has %lld entries, expected %d", (long long)count, 2 * w->dims);
    for (int i = 0; i < w->dims; i++) {
        if (pads[i] < 0 || pads[w->dims + i] < 0 || pads[i] > INT32_MAX || pads[w->dims + i] > INT32_MAX)
            return op_error(g, n, err, ERR_DATA, "pads holds a negative or huge number");
        w->begin[WINDOW_DIMS - w->dims + i] = pads[i];
        w->end[WINDOW_DIMS - w->dims + i] = pads[w->dims + i];
    }
    return OK;
}

/* Everything but padding and output size. */
static Status read_window(Window *w, const Graph *g, const Node *n, const Shape *input, const Shape *weight, Err *err)
{
    *w = (Window){ .dims = input->rank - 2 };
    if (input->rank < 3) return op_error(g, n, err, ERR_DATA, "the input has rank %d, expected at least 3", input->rank);
    if (w->dims > WINDOW_DIMS)
        return op_error(g, n, err, ERR_UNSUPPORTED, "%d spatial dimensions, at most %d are supported", w->dims, WINDOW_DIMS);
    if (weight != NULL && weight->rank != input->rank)
        return op_error(g, n, err, ERR_DATA, "the weights have rank %d, the input %d", weight->rank, input->rank);
    int first = WINDOW_DIMS - w->dims;
    for (int i = 0; i < WINDOW_DIMS; i++) w->in[i] = i < first ? 1 : input->dims[2 + i - first];
    if (node_attr(n, "kernel_shape") == NULL) {
        if (weight == NULL) return op_error(g, n, err, ERR_DATA, "the attribute kernel_shape is missing");
        for (int i = 0; i < WINDOW_DIMS; i++) w->kernel[i] = i < first ? 1 : weight->dims[2 + i - first];
        for (int i = first; i < WINDOW_DIMS; i++)
            if (w->kernel[i] == 0) return op_error(g, n, err, ERR_DATA, "the weights have an empty kernel");
    } else {
        TRY(read_ints(g, n, "kernel_shape", w->dims, 1, 1, w->kernel, err));
        for (int i = first; weight != NULL && i < WINDOW_DIMS; i++)
            if (weight->dims[2 + i - first] >= 0 && weight->dims[2 + i - first] != w->kernel[i])
                return op_error(g, n, err, ERR_DATA, "kernel_shape says %lld where the weights have %lld", (long long)w->kernel[i],
                                 (long long)weight->dims[2 + i - first]);
    }
    TRY(read_ints(g, n, "strides", w->dims, 1, 1, w->stride, err));
    return read_ints(g, n, "dilations", w->dims, 1, 1, w->dilation, err);
}

/* SAME_UPPER and SAME_LOWER share `total` between both ends. */
static void split_pads(Window *w, int i, int64_t total, bool lower)
{
    w->begin[i] = lower ? (total + 1) / 2 : total / 2;
    w->end[i] = total - w->begin[i];
}

static Status read_auto_pad(const Graph *g, const Node *n, bool *same, bool *valid, bool *lower, Err *err)
{
    Str mode = node_string(n, "auto_pad", "NOTSET");
    *lower = str_is(mode, "SAME_LOWER");
    *same = *lower || str_is(mode, "SAME_UPPER");
    *valid = str_is(mode, "VALID");
    if (!*same && !*valid && !str_is(mode, "NOTSET") && mode.len != 0)
        return op_error(g, n, err, ERR_DATA, "auto_pad is '%.*s'", STR_ARG(mode));
    return OK;
}

Status window_init(Window *w, const Graph *g, const Node *n, const Shape *input, const Shape *weight, Err *err)
{
    TRY(read_window(w, g, n, input, weight, err));
    bool same, valid, lower, ceil_mode = node_int(n, "ceil_mode", 0) != 0;
    TRY(read_auto_pad(g, n, &same, &valid, &lower, err));
    if (!same && !valid) TRY(read_pads(g, n, w, err));
    for (int i = 0; i < WINDOW_DIMS; i++) {
        int64_t extent; /* of the dilated kernel */
        if (!mul_i64(w->kernel[i] - 1, w->dilation[i], &extent) || ++extent > INT32_MAX)
            return op_error(g, n, err, ERR_DATA, "a dilated kernel of %lld", (long long)w->kernel[i]);
        if (w->kernel[i] < 0 || w->in[i] < 0) {
            bool keeps = w->kernel[i] > 0 && w->stride[i] == 1 && (same || w->begin[i] + w->end[i] == extent - 1);
            w->out[i] = keeps ? w->in[i] : DIM_UNKNOWN;
            continue;
        }
        if (same) {
            w->out[i] = (w->in[i] + w->stride[i] - 1) / w->stride[i];
            int64_t total = (w->out[i] - 1) * w->stride[i] + extent - w->in[i];
            split_pads(w, i, total > 0 ? total : 0, lower);
            continue;
        }
        int64_t room = w->in[i] + w->begin[i] + w->end[i] - extent;
        if (room < 0)
            return op_error(g, n, err, ERR_DATA, "a window of %lld does not fit into %lld (padding included)", (long long)extent,
                             (long long)(room + extent));
        w->out[i] = (ceil_mode ? room + w->stride[i] - 1 : room) / w->stride[i] + 1;
        /* the last window must start inside the input or the padding before it */
        if (ceil_mode && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->begin[i]) w->out[i]--;
    }
    return OK;
}

Status window_init_transposed(Window *w, const Graph *g, const Node *n, const Shape *input, const Shape *weight, Err *err)
{
    TRY(read_window(w, g, n, input, weight, err));
    bool same, valid, lower;
    TRY(read_auto_pad(g, n, &same, &valid, &lower, err));
    if (!same && !valid) TRY(read_pads(g, n, w, err));
    int64_t extra[WINDOW_DIMS], shape_count = 0;
    TRY(read_ints(g, n, "output_padding", w->dims, 0, 0, extra, err));
    const int64_t *wanted = node_ints(n, "output_shape", &shape_count);
    if (wanted != NULL && shape_count != w->dims && shape_count != w->dims + 2)
        return op_error(g, n, err, ERR_DATA, "output_shape has %lld entries, expected %d", (long long)shape_count, w->dims);
    int first = WINDOW_DIMS - w->dims;
    for (int i = 0; i < WINDOW_DIMS; i++) {
        if (i < first) {
            w->out[i] = 1;
            continue;
        }
        int64_t full, extent;
        if (w->kernel[i] < 0 || w->in[i] < 0) {
            w->out[i] = wanted != NULL ? wanted[shape_count - w->dims + i - first] : DIM_UNKNOWN;
            continue;
        }
        if (!mul_i64(w->kernel[i] - 1, w->dilation[i], &extent) || extent > INT32_MAX || !mul_i64(w->in[i] - 1, w->stride[i], &full) ||
            full > INT32_MAX)
            return op_error(g, n, err, ERR_DATA, "the output is too large");
        full += extent + 1 + extra[i];
        if (wanted != NULL) {
            w->out[i] = wanted[shape_count - w->dims + i - first];
            /* the specification gives the larger half to the end only for SAME_UPPER */
            split_pads(w, i, full > w->out[i] ? full - w->out[i] : 0, lower || !same);
        } else if (same) {
            w->out[i] = w->in[i] * w->stride[i];
            split_pads(w, i, full > w->out[i] ? full - w->out[i] : 0, lower);
        } else {
            w->out[i] = full - w->begin[i] - w->end[i];
        }
        if (w->out[i] < 0) return op_error(g, n, err, ERR_DATA, "pads crop more than the output has");
    }
    return OK;
}

Shape window_shape(const Window *w, int64_t batch, int64_t channels)
{
    Shape s = { .rank = w->dims + 2 };
    s.dims[0] = batch;
    s.dims[1] = channels;
    for (int i = 0; i < w->dims; i++) s.dims[2 + i] = w->out[WINDOW_DIMS - w->dims + i];
    return s;
}

int64_t window_kernel_count(const Window *w)
{
    return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

static bool narrow(const Tensor *t)
{
    return t != NULL && dtype_is_float(t->type) && t->type != DT_FLOAT;
}

#define MAX_FLOAT_OPERANDS 8

Status opcall_in_float(OpCall *c, Status (*forward)(OpCall *c))
{
    DType type = c->in[0]->type;
    if (!narrow(c->in[0])) {
        if (type == DT_FLOAT) return forward(c);
        return op_fail(c, ERR_UNSUPPORTED, "%s is not supported", dtype_name(type));
    }
    if (c->input_count > MAX_FLOAT_OPERANDS || c->output_count > MAX_FLOAT_OPERANDS)
        return op_fail(c, ERR_UNSUPPORTED, "too many operands");
    Tensor in[MAX_FLOAT_OPERANDS] = { 0 }, out[MAX_FLOAT_OPERANDS] = { 0 };
    const Tensor *in_list[MAX_FLOAT_OPERANDS];
    OpCall inner = *c;
    inner.in = in_list;
    inner.out = out;
    Status status = OK;
    for (int i = 0; i < c->input_count; i++) {
        in_list[i] = c->in[i];
        if (!narrow(c->in[i])) continue;
        TRY_OUT(tensor_convert(c->in[i], DT_FLOAT, &in[i], c->err));
        in_list[i] = &in[i];
    }
    TRY_OUT(forward(&inner));
    for (int i = 0; i < c->output_count; i++) {
        if (out[i].data == NULL) continue;
        DType to = out[i].type == DT_FLOAT ? type : out[i].type;
        TRY_OUT(opcall_output(c, i, to, &out[i].shape));
        int64_t count = tensor_count(&out[i]);
        for (int64_t k = 0; k < count; k++) tensor_set(&c->out[i], k, tensor_get(&out[i], k));
    }
out:
    for (int i = 0; i < MAX_FLOAT_OPERANDS; i++) {
        tensor_release(&in[i]);
        tensor_release(&out[i]);
    }
    return status;
}
