/* Two-operand functions as opsets 1 to 6 spell them: the second operand is broadcast only when the attribute `broadcast` says so, and lies
 * along the first one's axes from `axis` on (default: its last ones). It is given the missing axes of one element at its end; the rest is
 * the newest form's work. PRelu's slope lies along the channels, axis 1. */
#include "engine/engine.h"
#include "engine/ops/common.h"
#include "engine/ops/list.h"

/* The second operand's shape as the newest form wants it; unknown where it cannot be told. */
static Status aligned(const Graph *g, const Node *n, const Shape *a, const Shape *b, Shape *out, Err *err)
{
    *out = SHAPE_UNKNOWN;
    if (a->rank < 0 || b->rank < 0) return OK;
    bool slope = str_is(n->type, "PRelu");
    *out = *b;
    if (b->rank == 0 || (slope && b->rank != 1)) return OK;
    if (!slope && node_int(n, "broadcast", 0) == 0) {
        bool known = shape_known(a) && shape_known(b);
        return !known || shape_eq(a, b) ? OK : op_error(g, n, err, ERR_DATA, "its inputs differ in shape and broadcast is 0");
    }
    int64_t axis = slope ? (a->rank > 1 ? 1 : 0) : node_int(n, "axis", a->rank - b->rank);
    if (slope && b->dims[0] == 1) axis = a->rank - 1;
    if (axis < 0) axis += a->rank;
    if (axis < 0 || axis + b->rank > a->rank)
        return op_error(g, n, err, ERR_DATA, "axis %lld: %d axes do not fit into %d", (long long)axis, b->rank, a->rank);
    out->rank = a->rank - (int)axis;
    for (int d = b->rank; d < out->rank; d++) out->dims[d] = 1;
    return OK;
}

static bool is_truth(Str type)
{
    static const char *const names[] = { "And", "Or", "Xor", "Equal", "Greater", "Less" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (str_is(type, names[i])) return true;
    }
    return false;
}

static Status infer_legacy(InferCall *c)
{
    Shape b;
    TRY(aligned(c->graph, c->node, &c->in[0].shape, &c->in[1].shape, &b, c->err));
    Shape out = SHAPE_UNKNOWN;
    if (!shape_broadcast(&c->in[0].shape, &b, &out)) return op_fail(c, ERR_DATA, "its second input does not broadcast to the first");
    c->out[0] = (TypeInfo){ is_truth(c->node->type) ? DT_BOOL : c->in[0].type, out };
    return OK;
}

static Status forward_legacy(OpCall *c)
{
    const Op *newest = engine_find_op(c->node->domain, c->node->type);
    if (newest == NULL || newest->forward == NULL || newest == c->node->op) return op_fail(c, ERR_BUG, "no newer form");
    Tensor view = *c->in[1];
    TRY(aligned(c->graph, c->node, &c->in[0]->shape, &c->in[1]->shape, &view.shape, c->err));
    const Tensor *in[2] = { c->in[0], &view };
    OpCall call = *c;
    call.in = in;
    TRY(opcall_prepare(c));
    /* The newest form asks the node's own entry for shapes, which would align twice. */
    Node node = *c->node;
    node.op = newest;
    call.node = &node;
    Status status = newest->forward(&call);
    for (int i = 0; i < c->output_count; i++) c->out[i] = call.out[i];
    return status;
}

#define LEGACY(type) OP_ENTRY(type, 1, 6, 2, 2, 1, 1, 0, infer_legacy, forward_legacy, NULL)

const Op ops_legacy[] = {
    LEGACY("Add"),   LEGACY("Sub"), LEGACY("Mul"), LEGACY("Div"),   LEGACY("Pow"),     LEGACY("PRelu"),
    LEGACY("And"),   LEGACY("Or"),  LEGACY("Xor"), LEGACY("Equal"), LEGACY("Greater"), LEGACY("Less"),
    OP_END,
};
