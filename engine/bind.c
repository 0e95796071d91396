/* The op table: from (domain, type, opset, arity) to an entry. */
#include "engine/engine.h"

#include "engine/ops/list.h"

static const Op *const families[] = {
#define X(family) family,
    OP_FAMILIES(X)
#undef X
    NULL,
};

const Op *const *engine_ops(void)
{
    return families;
}

static bool is_named(const Op *op, Str domain, Str type)
{
    return str_is(type, op->type) && str_is(domain, op->domain);
}

const Op *engine_find_op(Str domain, Str type)
{
    const Op *found = NULL;
    for (const Op *const *family = families; *family != NULL; family++) {
        for (const Op *op = *family; op->type != NULL; op++) {
            if (!is_named(op, domain, type)) continue;
            if (op->until == 0) return op;
            if (found == NULL || op->until > found->until) found = op;
        }
    }
    return found;
}

/* Trailing inputs that are left out do not count; the required ones, and any of a list without end, must be there. */
static bool arity_fits(const Op *op, const Node *n)
{
    for (int i = 0; i < n->input_count; i++) {
        bool may_lack = i < 32 && (op->optional >> i & 1) != 0;
        if (n->inputs[i] == 0 && !may_lack && (i < op->min_inputs || op->max_inputs < 0)) return false;
    }
    int inputs = n->input_count;
    while (inputs > op->min_inputs && n->inputs[inputs - 1] == 0) inputs--;
    int outputs = n->output_count;
    while (outputs > op->min_outputs && n->outputs[outputs - 1] == 0) outputs--;
    return inputs >= op->min_inputs && (op->max_inputs < 0 || inputs <= op->max_inputs) && outputs >= op->min_outputs &&
           (op->max_outputs < 0 || outputs <= op->max_outputs);
}

static const Op *op_for_node(const Node *n, int64_t opset)
{
    for (const Op *const *family = families; *family != NULL; family++) {
        for (const Op *op = *family; op->type != NULL; op++) {
            if (is_named(op, n->domain, n->type) && opset >= op->since && (op->until == 0 || opset <= op->until) && arity_fits(op, n))
                return op;
        }
    }
    return NULL;
}

static void bind_graph(Graph *g, const Graph *root)
{
    g->find_op = engine_find_op;
    for (NodeId i = 1; i <= g->node_count; i++) {
        Node *n = graph_node(g, i);
        if (n->removed) continue;
        n->op = op_for_node(n, graph_opset(root, n->domain));
        for (int a = 0; a < n->attr_count; a++) {
            const Attr *attr = &n->attrs[a];
            if (attr->type == ATTR_GRAPH && attr->graph != NULL) bind_graph(attr->graph, root);
            for (int64_t k = 0; attr->type == ATTR_GRAPHS && k < attr->count; k++) bind_graph(attr->graphs[k], root);
        }
    }
}

void engine_bind(Graph *g)
{
    const Graph *root = g;
    while (root->parent != NULL) root = root->parent;
    bind_graph(g, root);
}
