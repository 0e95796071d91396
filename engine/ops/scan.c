/* Scan: a body run once per slice of its scan inputs, with states carried along and results stacked.
 *   opset 9 on: inputs states[N], scans[M]; any axis and direction for each scan input and output.
 *   opset 8:    a batch axis first in everything, sequence_lens first among the inputs, time is axis 1; each sequence runs by itself. */
#include <stdlib.h>

#include "engine/ops/common.h"
#include "engine/ops/list.h"
#include "engine/ops/stack.h"

typedef struct ScanRun {
    OpCall *c;
    const Graph *body;
    int states, scans, results; /* N, M, K */
    int axes[MAX_RANK * 4];     /* [M] */
    bool backwards[MAX_RANK * 4];
    Tensor *in, *out;           /* of one step */
    Stack *stacks;              /* [K] */
} ScanRun;

#define SCAN_MOST (MAX_RANK * 4)

static int64_t listed(const OpCall *c, const char *attr, int i, int64_t fallback)
{
    int64_t count;
    const int64_t *values = node_ints(c->node, attr, &count);
    return i < count ? values[i] : fallback;
}

/* Slice `step` of x along the axis, in a tensor of its own. */
static Status take_slice(const OpCall *c, const Tensor *x, int axis, int64_t step, Tensor *out)
{
    Shape shape = { .rank = x->shape.rank - 1 };
    for (int d = 0; d < shape.rank; d++) shape.dims[d] = x->shape.dims[d < axis ? d : d + 1];
    size_t size = dtype_size(x->type);
    if (size == 0) return op_bad_type(c, x->type);
    TRY(tensor_new(out, x->type, &shape, c->err));
    int64_t strides[MAX_RANK], from[MAX_RANK], to[MAX_RANK];
    strides_of(&x->shape, strides);
    strides_of(&shape, to);
    for (int d = 0; d < shape.rank; d++) from[d] = strides[d < axis ? d : d + 1];
    const uint8_t *first = x->data + (size_t)(step * strides[axis]) * size;
    if (out->bytes > 0) copy_strided(size, shape.rank, shape.dims, out->data, to, first, from);
    return OK;
}

/* One sequence: r->in[0..N) are the states, before and after. */
static Status scan_sequence(ScanRun *r, const Tensor *scans, int64_t length)
{
    OpCall *c = r->c;
    for (int64_t step = 0; step < length; step++) {
        for (int i = 0; i < r->scans; i++) {
            tensor_release(&r->in[r->states + i]);
            TRY(take_slice(c, &scans[i], r->axes[i], r->backwards[i] ? length - 1 - step : step, &r->in[r->states + i]));
        }
        TRY(c->bodies->run(c->bodies, "body", r->in, r->out, c->err));
        for (int i = 0; i < r->states; i++) {
            tensor_release(&r->in[i]);
            r->in[i] = r->out[i];
            r->out[i] = (Tensor){ 0 };
        }
        for (int i = 0; i < r->results; i++) TRY(stack_add(&r->stacks[i], &r->out[r->states + i], c->bodies->max_bytes, c));
        for (int i = 0; i < r->body->output_count; i++) tensor_release(&r->out[i]);
    }
    return OK;
}

static Status give(OpCall *c, int i, const Tensor *t)
{
    if (i >= c->output_count || !c->wanted[i]) return OK;
    tensor_release(&c->out[i]);
    return tensor_clone(t, &c->out[i], c->err);
}

static TypeInfo declared(const ScanRun *r, int output)
{
    const Value *v = graph_value(r->body, r->body->outputs[output]);
    return (TypeInfo){ v->type, v->shape };
}

/* --- opset 9 on */

static Status scan_lengths(ScanRun *r, const Tensor *scans, int64_t *length)
{
    OpCall *c = r->c;
    for (int i = 0; i < r->scans; i++) {
        int64_t axis = listed(c, "scan_input_axes", i, 0);
        if (!axis_fix(axis, scans[i].shape.rank, &r->axes[i]))
            return op_fail(c, ERR_DATA, "axis %lld is outside scan input %d of rank %d", (long long)axis, i, scans[i].shape.rank);
        r->backwards[i] = listed(c, "scan_input_directions", i, 0) != 0;
        int64_t found = scans[i].shape.dims[r->axes[i]];
        if (i > 0 && found != *length)
            return op_fail(c, ERR_DATA, "scan input %d has %lld slices, the first has %lld", i, (long long)found, (long long)*length);
        *length = found;
    }
    return OK;
}

static Status scan_whole(ScanRun *r)
{
    OpCall *c = r->c;
    Tensor scans[SCAN_MOST];
    int64_t length = 0;
    for (int i = 0; i < r->scans; i++) scans[i] = *c->in[r->states + i];
    TRY(scan_lengths(r, scans, &length));
    for (int i = 0; i < r->states; i++) r->in[i] = tensor_share(c->in[i]);
    TRY(scan_sequence(r, scans, length));
    for (int i = 0; i < r->states; i++) TRY(give(c, i, &r->in[i]));
    for (int i = 0; i < r->results; i++) {
        int at = r->states + i;
        TypeInfo none = declared(r, at);
        if (at < c->output_count && c->wanted[at])
            TRY(stack_join(&r->stacks[i], listed(c, "scan_output_axes", i, 0), listed(c, "scan_output_directions", i, 0) != 0, &none,
                           &c->out[at], c));
    }
    return OK;
}

/* --- opset 8 */

/* Entry b of the first axis, in the same memory. */
static Tensor batch_view(const Tensor *t, int64_t b)
{
    Tensor view = *t;
    view.buffer = NULL;
    view.shape.rank--;
    for (int d = 0; d < view.shape.rank; d++) view.shape.dims[d] = t->shape.dims[d + 1];
    view.bytes = t->shape.dims[0] > 0 ? t->bytes / (size_t)t->shape.dims[0] : 0;
    view.data = t->data + (size_t)b * view.bytes;
    return view;
}

/* Puts the results of sequence b into the outputs, which are made with the first one. */
static Status place_batch(ScanRun *r, int64_t b, int64_t batch, int64_t longest)
{
    OpCall *c = r->c;
    for (int i = 0; i < r->states + r->results && i < c->output_count; i++) {
        if (!c->wanted[i]) continue;
        Tensor joined = { 0 };
        const Tensor *t = &r->in[i];
        if (i >= r->states) {
            TypeInfo none = declared(r, i);
            TRY(stack_join(&r->stacks[i - r->states], 0, false, &none, &joined, c));
            t = &joined;
        }
        Shape shape = { .rank = t->shape.rank + 1, .dims = { batch } };
        for (int d = 0; d < t->shape.rank && d + 1 < MAX_RANK; d++) shape.dims[d + 1] = t->shape.dims[d];
        if (i >= r->states) shape.dims[1] = longest;
        Status status = shape.rank > MAX_RANK ? op_fail(c, ERR_DATA, "too many axes") : opcall_output(c, i, t->type, &shape);
        Tensor room = { 0 };
        if (status == OK) room = batch_view(&c->out[i], b);
        if (status == OK && t->bytes <= room.bytes && t->bytes > 0) memcpy(room.data, t->data, t->bytes);
        tensor_release(&joined);
        TRY(status);
    }
    return OK;
}

static Status scan_batches(ScanRun *r)
{
    OpCall *c = r->c;
    const Tensor *lengths = c->in[0];
    int64_t batch = -1, longest = -1;
    for (int i = 0; i < r->states + r->scans; i++) {
        const Shape *s = &c->in[1 + i]->shape;
        bool scan = i >= r->states;
        if (s->rank < (scan ? 2 : 1) || (batch >= 0 && s->dims[0] != batch) || (scan && longest >= 0 && s->dims[1] != longest))
            return op_fail(c, ERR_DATA, "input %d does not fit the batch or the length of the others", 1 + i);
        batch = s->dims[0];
        if (scan) longest = s->dims[1];
        if (scan) r->axes[i - r->states] = 0;
        if (scan) r->backwards[i - r->states] = listed(c, "directions", i - r->states, 0) != 0;
    }
    if (lengths != NULL && tensor_count(lengths) != batch) return op_fail(c, ERR_DATA, "sequence_lens does not fit the batch");
    for (int i = 0; i < c->output_count; i++) tensor_release(&c->out[i]);
    for (int64_t b = 0; b < batch; b++) {
        Tensor scans[SCAN_MOST];
        int64_t length = lengths != NULL ? tensor_get_int(lengths, b) : longest;
        if (length < 0 || length > longest) return op_fail(c, ERR_DATA, "a sequence of %lld steps", (long long)length);
        for (int i = 0; i < r->states; i++) {
            tensor_release(&r->in[i]);
            r->in[i] = batch_view(c->in[1 + i], b);
        }
        for (int i = 0; i < r->scans; i++) {
            scans[i] = batch_view(c->in[1 + r->states + i], b);
            scans[i].shape.dims[0] = length;
        }
        TRY(scan_sequence(r, scans, length));
        TRY(place_batch(r, b, batch, longest));
        for (int i = 0; i < r->results; i++) stack_release(&r->stacks[i]);
    }
    return OK;
}

/* --- both */

static Status scan_run(OpCall *c, int first, Status (*run)(ScanRun *r))
{
    ScanRun r = { .c = c, .scans = 0 };
    int64_t scans = node_int(c->node, "num_scan_inputs", 0), inputs = c->input_count - first;
    TRY(call_body(c, "body", &r.body));
    if (scans < 1 || scans > inputs || scans > SCAN_MOST)
        return op_fail(c, ERR_DATA, "num_scan_inputs %lld does not fit %lld inputs", (long long)scans, (long long)inputs);
    r.scans = (int)scans;
    r.states = (int)(inputs - scans);
    r.results = r.body->output_count - r.states;
    if (r.body->input_count != inputs || r.results < 0 || c->output_count > r.body->output_count)
        return op_fail(c, ERR_DATA, "%lld inputs and %d outputs do not fit a body of %d and %d", (long long)inputs, c->output_count,
                       r.body->input_count, r.body->output_count);
    for (int i = first; i < c->input_count; i++)
        if (c->in[i] == NULL) return op_fail(c, ERR_DATA, "input %d is missing", i);
    r.in = alloc_zeroed((size_t)inputs + 1, sizeof *r.in);
    r.out = alloc_zeroed((size_t)r.body->output_count + 1, sizeof *r.out);
    r.stacks = alloc_zeroed((size_t)r.results + 1, sizeof *r.stacks);
    Status status = r.in == NULL || r.out == NULL || r.stacks == NULL ? err_no_memory(c->err, "a scan") : run(&r);
    for (int i = 0; r.in != NULL && i < inputs; i++) tensor_release(&r.in[i]);
    for (int i = 0; r.out != NULL && i < r.body->output_count; i++) tensor_release(&r.out[i]);
    for (int i = 0; r.stacks != NULL && i < r.results; i++) stack_release(&r.stacks[i]);
    free(r.in);
    free(r.out);
    free(r.stacks);
    return status;
}

static Status scan_forward(OpCall *c)
{
    return scan_run(c, 0, scan_whole);
}

static Status scan8_forward(OpCall *c)
{
    return scan_run(c, 1, scan_batches);
}

const Op ops_scan[] = {
    OP_ENTRY("Scan", 8, 8, 0, 4 * MAX_RANK, 1, -1, OP_CONTROL, NULL, scan8_forward, NULL),
    OP_ENTRY("Scan", 9, 0, 1, -1, 1, -1, OP_CONTROL, NULL, scan_forward, NULL),
    OP_END,
};
