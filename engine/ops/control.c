/* If and Loop. The bodies run as sessions nested in the one that asks (engine/bodies.c).
 *   If:   y = then() or else().
 *   Loop: for (i = 0; i < M and cond; i++) cond, v, scan[i] = body(i, cond, v); y = v, stacked scans. M and cond may be left out. */
#include <stdlib.h>

#include "engine/ops/common.h"
#include "engine/ops/list.h"
#include "engine/ops/stack.h"

static Status read_flag(const OpCall *c, const Tensor *t, const char *what, bool *out)
{
    if (tensor_count(t) != 1) return op_fail(c, ERR_DATA, "%s has %lld elements, expected 1", what, (long long)tensor_count(t));
    *out = tensor_get_int(t, 0) != 0;
    return OK;
}

static Status if_forward(OpCall *c)
{
    bool truth;
    const Graph *body;
    TRY(read_flag(c, c->in[0], "the condition", &truth));
    const char *attr = truth ? "then_branch" : "else_branch";
    TRY(call_body(c, attr, &body));
    if (body->output_count != c->output_count)
        return op_fail(c, ERR_DATA, "%s has %d outputs, the node %d", attr, body->output_count, c->output_count);
    Tensor *made = alloc_zeroed((size_t)c->output_count + 1, sizeof *made);
    if (made == NULL) return err_no_memory(c->err, "results of a branch");
    Status status = c->bodies->run(c->bodies, attr, NULL, made, c->err);
    for (int i = 0; i < c->output_count; i++) {
        tensor_release(&c->out[i]);
        if (status == OK && c->wanted[i]) c->out[i] = made[i];
        else tensor_release(&made[i]);
    }
    free(made);
    return status;
}

/* --- Loop */

typedef struct LoopRun {
    OpCall *c;
    const Graph *body;
    int carried, scans;
    Tensor *in, *out; /* of one step: iteration, condition, carried values; condition, carried values, scans */
    Stack *stacks;
} LoopRun;

/* The iteration number and the condition are scalars, or of one element where the body declares that. */
static Status one_element(const LoopRun *r, int input, DType type, int64_t value)
{
    Shape shape = { .rank = graph_value(r->body, r->body->inputs[input])->shape.rank == 1 ? 1 : 0, .dims = { 1 } };
    tensor_release(&r->in[input]);
    TRY(tensor_new(&r->in[input], type, &shape, r->c->err));
    tensor_set_int(&r->in[input], 0, value);
    return OK;
}

static Status loop_step(LoopRun *r, int64_t step, bool *go_on)
{
    OpCall *c = r->c;
    TRY(one_element(r, 0, DT_INT64, step));
    TRY(one_element(r, 1, DT_BOOL, *go_on));
    TRY(c->bodies->run(c->bodies, "body", r->in, r->out, c->err));
    TRY(read_flag(c, &r->out[0], "the condition that the body gives", go_on));
    for (int i = 0; i < r->carried; i++) {
        tensor_release(&r->in[2 + i]);
        r->in[2 + i] = r->out[1 + i];
        r->out[1 + i] = (Tensor){ 0 };
    }
    for (int i = 0; i < r->scans; i++) TRY(stack_add(&r->stacks[i], &r->out[1 + r->carried + i], c->bodies->max_bytes, c));
    for (int i = 0; i < r->body->output_count; i++) tensor_release(&r->out[i]);
    return OK;
}

static Status loop_steps(LoopRun *r)
{
    OpCall *c = r->c;
    bool go_on = true;
    int64_t most = INT64_MAX, limit = c->bodies->max_steps;
    if (c->in[0] != NULL) {
        if (tensor_count(c->in[0]) != 1) return op_fail(c, ERR_DATA, "the trip count has %lld elements", (long long)tensor_count(c->in[0]));
        most = tensor_get_int(c->in[0], 0);
    }
    if (c->input_count > 1 && c->in[1] != NULL) TRY(read_flag(c, c->in[1], "the condition", &go_on));
    for (int64_t step = 0; step < most && go_on; step++) {
        if (step == limit) return op_fail(c, ERR_UNSUPPORTED, "more than %lld steps", (long long)limit);
        TRY(loop_step(r, step, &go_on));
    }
    return OK;
}

static Status loop_results(LoopRun *r)
{
    OpCall *c = r->c;
    for (int i = 0; i < c->output_count; i++) {
        if (!c->wanted[i]) continue;
        if (i < r->carried) tensor_release(&c->out[i]);
        if (i < r->carried && r->in[2 + i].buffer == NULL) {
            TRY(tensor_clone(&r->in[2 + i], &c->out[i], c->err)); /* no step: the caller's own memory */
        } else if (i < r->carried) {
            c->out[i] = tensor_share(&r->in[2 + i]);
        } else {
            const Value *v = graph_value(r->body, r->body->outputs[1 + i]);
            TypeInfo none = { v->type, v->shape };
            TRY(stack_join(&r->stacks[i - r->carried], 0, false, &none, &c->out[i], c));
        }
    }
    return OK;
}

static Status loop_forward(OpCall *c)
{
    LoopRun r = { .c = c, .carried = c->input_count > 2 ? c->input_count - 2 : 0 };
    TRY(call_body(c, "body", &r.body));
    r.scans = r.body->output_count - 1 - r.carried;
    if (r.body->input_count != 2 + r.carried || r.scans < 0 || c->output_count > r.carried + r.scans)
        return op_fail(c, ERR_DATA, "%d inputs and %d outputs do not fit a body of %d and %d", c->input_count, c->output_count,
                       r.body->input_count, r.body->output_count);
    for (int i = 2; i < c->input_count; i++)
        if (c->in[i] == NULL) return op_fail(c, ERR_UNSUPPORTED, "carried value %d is left out", i - 2);
    Status status = OK;
    r.in = alloc_zeroed((size_t)r.body->input_count + 1, sizeof *r.in);
    r.out = alloc_zeroed((size_t)r.body->output_count + 1, sizeof *r.out);
    r.stacks = alloc_zeroed((size_t)r.scans + 1, sizeof *r.stacks);
    if (r.in == NULL || r.out == NULL || r.stacks == NULL) {
        status = err_no_memory(c->err, "a loop");
        goto out;
    }
    for (int i = 0; i < r.carried; i++) r.in[2 + i] = tensor_share(c->in[2 + i]);
    TRY_OUT(loop_steps(&r));
    TRY_OUT(loop_results(&r));
out:
    for (int i = 0; r.in != NULL && i < r.body->input_count; i++) tensor_release(&r.in[i]);
    for (int i = 0; r.out != NULL && i < r.body->output_count; i++) tensor_release(&r.out[i]);
    for (int i = 0; r.stacks != NULL && i < r.scans; i++) stack_release(&r.stacks[i]);
    free(r.in);
    free(r.out);
    free(r.stacks);
    return status;
}

const Op ops_control[] = {
    OP_ENTRY("If", 1, 0, 1, 1, 1, -1, OP_CONTROL, NULL, if_forward, NULL),
    OP_ENTRY("Loop", 1, 0, 0, 1024, 0, -1, OP_CONTROL, NULL, loop_forward, NULL),
    OP_END,
};
