#include "graph/opset.h"

#include <stdlib.h>

#include "graph/edit.h"
#include "graph/opset_rewrites.h"

/* Ops whose meaning is the same from 7 (or their first version) to 25 and that no table entry of pare vouches for. */
static bool is_unchanged(Str type)
{
    static const char *const names[] = {
        "If", "Loop", "LSTM", "GRU", "RNN", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "NonMaxSuppression", "RoiAlign", "MaxRoiPool", "MaxUnpool", "StringNormalizer", "TfIdfVectorizer", "Unique", "Compress", "NonZero",
        "LpPool", "GlobalLpPool", "LpNormalization", "MeanVarianceNormalization", "ReverseSequence", "Det", "BitShift", "SequenceAt",
        "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence",
        "ConcatFromSequence", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear",
        "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceMap", "RegexFullMatch", "StringConcat", "StringSplit",
        "ImageDecoder", "Bernoulli",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(type, names[i])) return true;
    return false;
}

static const Op *find_op(const Graph *g, Str type)
{
    while (g->parent != NULL && g->find_op == NULL) g = g->parent;
    return g->find_op != NULL ? g->find_op(STR(""), type) : NULL;
}

static const OpsetRewrite *next_rewrite(const Node *n, int64_t after, int64_t version)
{
    for (const OpsetRewrite *r = opset_rewrites; r->type != NULL; r++)
        if (r->since > after && r->since <= version && str_is(n->type, r->type)) return r;
    return NULL;
}

typedef struct Raise {
    int64_t from, to;
    PassRecord *record;
    int changed;
} Raise;

typedef Status (*NodeFn)(Raise *r, Graph *g, NodeId id, Err *err);

/* Every node of the graph and its subgraphs as they are now; subgraphs first. */
static Status each_node(Raise *r, Graph *g, NodeFn fn, Err *err)
{
    uint32_t count = g->node_count;
    for (NodeId id = 1; id <= count; id++) {
        if (graph_node(g, id)->removed) continue;
        for (int a = 0; a < graph_node(g, id)->attr_count; a++) {
            const Attr *attr = &graph_node(g, id)->attrs[a];
            if (attr->type == ATTR_GRAPH) TRY(each_node(r, attr->graph, fn, err));
            for (int64_t i = 0; attr->type == ATTR_GRAPHS && i < attr->count; i++) TRY(each_node(r, attr->graphs[i], fn, err));
        }
        if (graph_node(g, id)->domain.len == 0) TRY(fn(r, g, id, err));
    }
    return OK;
}

static Status check_node(Raise *r, Graph *g, NodeId id, Err *err)
{
    const Node *n = graph_node(g, id);
    bool listed = false;
    for (const OpsetRewrite *w = opset_rewrites; w->type != NULL; w++) {
        if (!str_is(n->type, w->type)) continue;
        listed = true;
        const char *reason = w->since > r->from && w->since <= r->to && w->check != NULL ? w->check(g, n, r->from) : NULL;
        if (reason != NULL)
            return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s' cannot be raised from opset %lld to %lld: %s", STR_ARG(n->type),
                           STR_ARG(node_label(g, n)), (long long)r->from, (long long)r->to, reason);
    }
    if (listed || is_unchanged(n->type) || find_op(g, n->type) != NULL) return OK;
    return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s' cannot be raised from opset %lld to %lld: the op is not known", STR_ARG(n->type),
                   STR_ARG(node_label(g, n)), (long long)r->from, (long long)r->to);
}

/* Names a node in a form that ended with opset 6 or before; what else such a file holds is refused by its version. */
static Status refuse_oldest(Raise *r, Graph *g, NodeId id, Err *err)
{
    const Node *n = graph_node(g, id);
    if (n->op == NULL || n->op->until == 0 || n->op->until >= 7) return OK;
    return err_set(err, ERR_UNSUPPORTED, "%.*s '%.*s' cannot be raised from opset %lld to %lld: its form ended with opset %d, and 7 is the "
                   "oldest that is known", STR_ARG(n->type), STR_ARG(node_label(g, n)), (long long)r->from, (long long)r->to, n->op->until);
}

static Status raise_node(Raise *r, Graph *g, NodeId id, Err *err)
{
    int64_t done = r->from;
    Str name = node_label(g, graph_node(g, id)), type = graph_node(g, id)->type;
    bool changed = false;
    for (const OpsetRewrite *w; (w = next_rewrite(graph_node(g, id), done, r->to)) != NULL;) {
        bool here = false;
        if (w->apply != NULL) TRY(w->apply(g, id, r->to, &here, err));
        changed |= here;
        done = w->since;
    }
    if (!changed) return OK;
    r->changed++;
    if (r->record != NULL) record_add(r->record, RECORD_CHANGED, name, "%.*s written as opset %lld asks", STR_ARG(type), (long long)r->to);
    return OK;
}

Status opset_raise(Graph *g, int64_t version, PassRecord *record, Err *err)
{
    Raise r = { .from = graph_opset(g, STR("")), .to = version, .record = record };
    if (r.from >= version) return OK;
    if (version > OPSET_RAISED) return err_set(err, ERR_BUG, "opset %lld is above what can be raised to", (long long)version);
    if (r.from < 7) TRY(each_node(&r, g, refuse_oldest, err));
    if (r.from < 7) return err_set(err, ERR_UNSUPPORTED, "opset %lld cannot be raised: 7 is the oldest that is known", (long long)r.from);
    TRY(each_node(&r, g, check_node, err));
    TRY(each_node(&r, g, raise_node, err));
    TRY(graph_set_opset(g, STR(""), version, err));
    if (record != NULL)
        record_add(record, RECORD_CHANGED, STR("graph"), "opset raised from %lld to %lld", (long long)r.from, (long long)r.to);
    return OK;
}

int64_t opset_ir(int64_t version)
{
    static const int64_t table[][2] = { { 25, 13 }, { 24, 12 }, { 23, 11 }, { 21, 10 }, { 19, 9 }, { 15, 8 }, { 13, 7 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (version >= table[i][0]) return table[i][1];
    return 4;
}

Status opset_settle_ir(Graph *g, Err *err)
{
    if (g->ir_version >= 4) return OK;
    for (ValueId v = 1; v <= g->value_count; v++) {
        unsigned flags = graph_value(g, v)->flags;
        if (flags & VALUE_INITIALIZER && !(flags & VALUE_INPUT)) return opset_raise_ir(g, 4, err);
    }
    return OK;
}

Status opset_raise_ir(Graph *g, int64_t version, Err *err)
{
    if (g->ir_version >= version) return OK;
    ValueId *inputs = arena_array(g->arena, (size_t)g->input_count + 1, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "the list of inputs");
    int kept = 0;
    for (int i = 0; i < g->input_count; i++) {
        Value *v = graph_value(g, g->inputs[i]);
        if (!(v->flags & VALUE_INITIALIZER)) inputs[kept++] = g->inputs[i];
        else if (g->ir_version < 4) v->flags &= ~(unsigned)VALUE_INPUT;
        else inputs[kept++] = g->inputs[i];
    }
    for (int i = 0; i < kept; i++) g->inputs[i] = inputs[i];
    g->input_count = kept;
    g->ir_version = version;
    return OK;
}
