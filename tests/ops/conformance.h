/* Runs a model node by node with the plain forwards of the op table, apart from any session. */
#ifndef PARE_TESTS_OPS_CONFORMANCE_H
#define PARE_TESTS_OPS_CONFORMANCE_H

#include "engine/engine.h"

#include <stdlib.h>

/* Tensors of all values of a graph; index 0 unused. */
typedef struct PlainRun {
    const Graph *g;
    Tensor *values;
} PlainRun;

static inline void plain_release(PlainRun *run)
{
    for (uint32_t v = 1; run->values != NULL && v <= run->g->value_count; v++) tensor_release(&run->values[v]);
    free(run->values);
    run->values = NULL;
}

/* The name of the first op of a graph that has no entry or no plain forward; NULL when all have. */
static inline const char *plain_missing(const Graph *g)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->op == NULL || n->op->forward == NULL) return n->type.data;
    }
    return NULL;
}

static inline Status plain_node(PlainRun *run, const Node *n, Err *err)
{
    const Tensor **in = calloc((size_t)n->input_count + 1, sizeof *in);
    Tensor *out = calloc((size_t)n->output_count + 1, sizeof *out);
    bool *wanted = calloc((size_t)n->output_count + 1, sizeof *wanted);
    for (int i = 0; i < n->input_count; i++) in[i] = n->inputs[i] != 0 ? &run->values[n->inputs[i]] : NULL;
    for (int i = 0; i < n->output_count; i++) wanted[i] = n->outputs[i] != 0;
    OpCall call = { .graph = run->g, .node = n, .opset = (int)graph_opset(run->g, n->domain), .input_count = n->input_count,
                    .output_count = n->output_count, .in = in, .out = out, .wanted = wanted, .err = err };
    Status status = n->op->forward(&call);
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == 0) tensor_release(&out[i]);
        else run->values[n->outputs[i]] = out[i];
    }
    free(in);
    free(out);
    free(wanted);
    return status;
}

/* Subgraphs run in sessions alone: a graph with control flow is run by one with the plain forwards; only the outputs are kept. */
static inline bool plain_has_control(const Graph *g)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->op != NULL && (n->op->flags & OP_CONTROL) != 0) return true;
    }
    return false;
}

static inline Status plain_session(PlainRun *run, const Tensor *inputs, Err *err)
{
    Session *session;
    SessionOptions options = { .plain = true };
    Tensor *outputs = calloc((size_t)run->g->output_count + 1, sizeof *outputs);
    Status status = session_new(run->g, &options, &session, err);
    if (status == OK) {
        status = session_run(session, inputs, outputs, err);
        for (int i = 0; status == OK && i < run->g->output_count; i++) {
            tensor_release(&run->values[run->g->outputs[i]]);
            run->values[run->g->outputs[i]] = outputs[i];
        }
        session_free(session);
    }
    free(outputs);
    return status;
}

/* `inputs`: one per graph_feeds; taken over. The graph is bound. */
static inline Status plain_run(PlainRun *run, const Graph *g, Tensor *inputs, int count, Err *err)
{
    ValueId feeds[64];
    *run = (PlainRun){ g, calloc((size_t)g->value_count + 1, sizeof(Tensor)) };
    int wanted = graph_feeds(g, feeds, 64);
    if (plain_has_control(g) && wanted == count) return plain_session(run, inputs, err);
    for (int i = 0; i < count && i < wanted; i++) {
        run->values[feeds[i]] = inputs[i];
        inputs[i] = (Tensor){ .type = DT_NONE };
    }
    if (wanted != count) return err_set(err, ERR_DATA, "%d inputs for a network that takes %d", count, wanted);
    for (uint32_t v = 1; v <= g->value_count; v++) {
        if (g->values[v].tensor != NULL) run->values[v] = tensor_share(g->values[v].tensor);
        if (run->values[v].type != DT_NONE && tensor_align(&run->values[v], err) != OK) return err->code;
    }
    for (uint32_t i = 0; i < g->order_count; i++) {
        const Node *n = graph_node(g, g->order[i]);
        if (n->output_count > 0 && n->outputs[0] != 0 && run->values[n->outputs[0]].type != DT_NONE) continue; /* a Constant */
        if (n->op == NULL || n->op->forward == NULL) return err_set(err, ERR_UNSUPPORTED, "no forward of %s", n->type.data);
        Status status = plain_node(run, n, err);
        if (status != OK) return status;
    }
    return OK;
}

#endif
