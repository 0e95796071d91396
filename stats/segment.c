#include "stats/segment.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/edit.h"

static Status set_ends(Graph *g, const Segment *s, const DType *types, Err *err)
{
    ValueId *inputs = alloc_array((size_t)s->input_count + 1, sizeof *inputs);
    ValueId *outputs = alloc_array((size_t)s->output_count + 1, sizeof *outputs);
    if (inputs == NULL || outputs == NULL) {
        free(inputs);
        free(outputs);
        return err_no_memory(err, "a part of the network");
    }
    for (ValueId v = 1; v <= g->value_count; v++) graph_value(g, v)->flags &= ~(unsigned)(VALUE_INPUT | VALUE_OUTPUT);
    for (int i = 0; i < s->input_count; i++) {
        Value *v = graph_value(g, s->inputs[i]);
        inputs[i] = s->inputs[i];
        v->flags |= VALUE_INPUT | VALUE_TENSOR;
        v->type = types[i];
    }
    for (int i = 0; i < s->output_count; i++) {
        outputs[i] = s->outputs[i];
        graph_value(g, s->outputs[i])->flags |= VALUE_OUTPUT;
    }
    free(g->inputs);
    free(g->outputs);
    g->inputs = inputs;
    g->outputs = outputs;
    g->input_count = s->input_count;
    g->output_count = s->output_count;
    return OK;
}

Status segment_open(const Graph *g, const Segment *s, const bool *fixed, const DType *types, const SessionOptions *options, Session **out,
                    Err *err)
{
    Graph *part = NULL;
    bool *stays = alloc_zeroed((size_t)g->node_count + 1, 1);
    Status status;
    *out = NULL;
    if (stays == NULL) return err_no_memory(err, "a part of the network");
    TRY_OUT(graph_clone(g, &part, err));
    for (int i = 0; i < s->node_count; i++) stays[s->nodes[i]] = true;
    for (NodeId n = 1; n <= part->node_count; n++)
        if (!graph_node(part, n)->removed && !stays[n] && !fixed[n]) graph_remove_node(part, n);
    TRY_OUT(set_ends(part, s, types, err));
    graph_remove_dead(part, NULL);
    TRY_OUT(graph_finish(part, err));
    TRY_OUT(session_new(part, options, out, err));
out:
    graph_free(part);
    free(stays);
    return status;
}
