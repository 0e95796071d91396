/* Static counts, derived from the graph and the op table's cost functions alone.
 *
 * Only work that depends on the inputs is counted: a node whose inputs are all constant is evaluated once, when a network is loaded.
 * Activation bytes: each result of a node written once, as the type it is kept in: what DequantizeLinear makes is not kept (its reader
 * takes the integers), and what only a QuantizeLinear reads is kept as integers, by that QuantizeLinear. */
#include "greenness/counts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "greenness/branches.h"
#include "greenness/operands.h"
#include "greenness/parameters.h"

const char counts_convention[] =
    "1 MAC = one multiply-add of Conv, ConvTranspose, Gemm, MatMul or a recurrent cell; zero padding counted, biases not; "
    "int8: both factors are 8-bit integers; at batch 1 unless said";

static void add_saturated(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum)) *sum = INT64_MAX;
}

static void name_uncounted(Counts *c, const Graph *g, const Node *n)
{
    c->uncounted++;
    size_t used = strlen(c->uncounted_names), room = sizeof c->uncounted_names - used;
    char entry[128];
    Str label = node_label(g, n);
    int length = snprintf(entry, sizeof entry, "%s%.*s '%.*s'", used > 0 ? ", " : "", STR_ARG(n->type), STR_ARG(label));
    if (length <= 0 || (size_t)length >= sizeof entry || (size_t)length >= room) return;
    for (int i = 0; i < length; i++) /* names in files may hold anything; these are printed */
        if ((unsigned char)entry[i] < 0x20 || entry[i] == 0x7f) entry[i] = '?';
    memcpy(c->uncounted_names + used, entry, (size_t)length + 1);
}

/* Marks the values that QuantizeLinear nodes read and nobody else. */
static bool *find_requantized(const Graph *g)
{
    bool *requantized = alloc_zeroed((size_t)g->value_count + 1, sizeof *requantized);
    if (requantized == NULL) return NULL;
    for (int pass = 0; pass < 2; pass++) { /* first those that quantizers read, then without those that others read */
        for (uint32_t k = 0; k < g->order_count; k++) {
            const Node *n = &g->nodes[g->order[k]];
            bool quantizer = node_is(n, "QuantizeLinear");
            if (pass == 0 && quantizer) requantized[node_input(n, 0)] = true;
            for (int i = 0; pass == 1 && !quantizer && i < n->input_count; i++) requantized[n->inputs[i]] = false;
            for (int i = 0; pass == 1 && i < n->capture_count; i++) requantized[n->captures[i]] = false;
        }
    }
    for (int i = 0; i < g->output_count; i++) requantized[g->outputs[i]] = false;
    return requantized;
}

/* Bytes that the node's results take where they are kept; see the head of the file. */
static int64_t kept_bytes(const TypeInfo *types, const Node *n, const bool *requantized)
{
    if (node_is(n, "DequantizeLinear")) return 0;
    int64_t sum = 0;
    for (int i = 0; i < n->output_count; i++) {
        ValueId v = n->outputs[i];
        int64_t count;
        size_t bytes;
        if (v == 0 || requantized[v] || !shape_count(&types[v].shape, &count) || !dtype_bytes(types[v].type, count, &bytes)) continue;
        add_saturated(&sum, bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX);
    }
    return sum;
}

/* Whether a dimension is the batch: the first of an input, or named as one is. */
static bool is_batch(const Graph *g, const ValueId *ids, int feeds, const Shape *shape, int d)
{
    if (d == 0) return true;
    for (int i = 0; shape->dims[d] <= -2 && i < feeds; i++)
        if (g->values[ids[i]].shape.rank > 0 && g->values[ids[i]].shape.dims[0] == shape->dims[d]) return true;
    return false;
}

/* Types of all values at the given feeds. Without shapes the batch is 1, and other unknown dimensions the first of a few sizes that the
 * network takes, its branches too if there is such a size; where it takes none, what is known without them is used, and nodes that need
 * more are reported as uncounted. */
static Status concrete_types(const Graph *g, const Shape *shapes, TypeInfo **types, Branches *branches, int64_t *guessed, Err *err)
{
    static const int64_t guesses[] = { 1, 16, 64, 224, 512, 1024, 4096, 16000 };
    const size_t sizes = sizeof guesses / sizeof *guesses;
    int feeds = graph_feeds(g, NULL, 0);
    if (shapes != NULL) return engine_concrete_bodies(g, shapes, feeds, types, branches_visit, branches, err);
    ValueId *ids = alloc_array((size_t)feeds + 1, sizeof *ids);
    Shape *guess = alloc_array((size_t)feeds + 1, sizeof *guess);
    Status status = ids != NULL && guess != NULL ? ERR_DATA : err_no_memory(err, "input shapes");
    bool known = true, open = true;
    if (status == ERR_DATA) graph_feeds(g, ids, feeds);
    size_t k = 0;
    for (; (status == ERR_DATA || status == ERR_UNSUPPORTED) && known && open && k < 2 * sizes; k++) { /* twice: see branches_hidden */
        open = false; /* without a dimension to guess the first try is the only one */
        for (int i = 0; i < feeds; i++) {
            guess[i] = g->values[ids[i]].shape;
            known = known && guess[i].rank >= 0;
            for (int d = 0; d < guess[i].rank; d++) {
                bool batch = is_batch(g, ids, feeds, &g->values[ids[i]].shape, d);
                if (guess[i].dims[d] >= 0) continue;
                open = open || !batch;
                guess[i].dims[d] = batch ? 1 : guesses[k % sizes];
            }
        }
        Err ignored = { 0 };
        branches->count = 0;
        if (known) status = engine_concrete_bodies(g, guess, feeds, types, branches_visit, branches, &ignored);
        if (status == ERR_MEMORY) err_no_memory(err, "shapes");
        if (status == OK) *guessed = guesses[k % sizes];
        if (status == OK && open && k < sizes && branches_hidden(branches, g)) { /* perhaps at another size */
            free(*types);
            *types = NULL;
            status = ERR_DATA;
        }
    }
    if (status == ERR_DATA || status == ERR_UNSUPPORTED) {
        branches->count = 0;
        *types = alloc_zeroed((size_t)g->value_count + 1, sizeof **types);
        status = *types != NULL ? OK : err_no_memory(err, "shapes");
        for (uint32_t v = 1; status == OK && v <= g->value_count; v++)
            (*types)[v] = (TypeInfo){ g->values[v].type, g->values[v].shape };
    }
    free(ids);
    free(guess);
    return status;
}

/* What count_node reads beside the graph. */
typedef struct Known {
    TypeInfo *types;    /* by value */
    bool *requantized;  /* by value */
    Parameters parameters;
    Branches branches;
    TypeInfo *scratch;  /* as long as the widest node has inputs and outputs */
} Known;

/* Of a node's products those with a weight that is not zero: every weight of a layer takes part in equally many. Where both factors come
 * from the inputs, or nothing is known of the weights, all. */
static int64_t nonzero_macs(const Node *n, const Density *values, int64_t macs)
{
    const Operands *o = operands_of(n);
    int inputs[4], count = 0;
    Density all = { 0, 0 };
    if (n->op != NULL && n->op->weight_input >= 0) {
        inputs[count++] = n->op->weight_input;
        if (n->op->recurrent_input > 0) inputs[count++] = n->op->recurrent_input;
    } else {
        for (int i = 0; o != NULL && i < o->quantized_count; i++) inputs[count++] = o->quantized[i].data;
    }
    for (int i = 0; i < count; i++) {
        const Density *d = &values[node_input(n, inputs[i])];
        add_saturated(&all.count, d->count);
        add_saturated(&all.nonzeros, d->nonzeros);
    }
    if (all.count == 0) return macs;
    return (int64_t)((__int128)macs * all.nonzeros / all.count);
}

static void count_node(const Graph *g, const Known *known, NodeId id, Counts *c)
{
    const TypeInfo *types = known->types;
    const Parameters *p = &known->parameters;
    const Node *n = &g->nodes[id];
    LayerCount row = { .node = id, .name = node_label(g, n), .type = n->type, .output = SHAPE_UNKNOWN, .parameters = p->at_node[id],
                       .mac_type = DT_FLOAT };
    ValueId first = node_output(n, 0);
    if (first != 0) row.output = types[first].shape;
    if (first == 0 || !p->constant_value[first]) {
        NodeCost cost;
        bool counted = node_cost(g, types, n, known->scratch, &cost);
        if (node_is(n, "If")) counted = branches_cost(&known->branches, n, &cost, &c->undecided);
        if (!counted) name_uncounted(c, g, n);
        row.cost = cost.all;
        if (cost.integer > 0 && cost.integer == cost.all.macs) row.mac_type = DT_INT8;
        add_saturated(&c->macs_int8, cost.integer);
        add_saturated(&c->macs_float, cost.all.macs - cost.integer);
        row.macs_nonzero = nonzero_macs(n, p->values, row.cost.macs);
        add_saturated(&c->macs_nonzero, row.macs_nonzero);
        add_saturated(&c->elementwise, row.cost.elementwise);
        add_saturated(&c->transcendental, row.cost.transcendental);
        add_saturated(&c->activation_bytes, kept_bytes(types, n, known->requantized));
    }
    if (row.parameters > 0 || row.cost.macs > 0 || row.cost.elementwise > 0 || row.cost.transcendental > 0)
        c->layers[c->layer_count++] = row;
}

Status counts_shapes(const Graph *g, int64_t batch, Shape *shapes, Err *err)
{
    Counts counts;
    int feeds = graph_feeds(g, NULL, 0);
    ValueId *ids = alloc_array((size_t)feeds + 1, sizeof *ids);
    if (ids == NULL) return err_no_memory(err, "input shapes");
    graph_feeds(g, ids, feeds);
    Status status = counts_of(g, NULL, &counts, err);
    for (int i = 0; status == OK && i < feeds; i++) {
        const Shape *shape = &g->values[ids[i]].shape;
        shapes[i] = *shape;
        for (int d = 0; d < shape->rank; d++)
            if (shape->dims[d] < 0) shapes[i].dims[d] = is_batch(g, ids, feeds, shape, d) ? batch : counts.guess;
    }
    free(ids);
    if (status == OK) counts_release(&counts);
    return status;
}

Status counts_of(const Graph *g, const Shape *shapes, Counts *out, Err *err)
{
    *out = (Counts){ 0 };
    Known known = { 0 };
    Status status;
    size_t arity = 0;
    for (uint32_t k = 0; k < g->order_count; k++) {
        const Node *n = &g->nodes[g->order[k]];
        size_t both = (size_t)n->input_count + (size_t)n->output_count;
        arity = both > arity ? both : arity;
    }
    out->guess = 1;
    TRY_OUT(concrete_types(g, shapes, &known.types, &known.branches, &out->guess, err));
    if (known.branches.failed) {
        status = err_no_memory(err, "the counts");
        goto out;
    }
    TRY_OUT(parameters_count(g, &known.parameters, err));
    known.scratch = alloc_array(arity + 1, sizeof *known.scratch);
    known.requantized = find_requantized(g);
    out->layers = alloc_array((size_t)g->order_count + 1, sizeof *out->layers);
    if (known.scratch == NULL || known.requantized == NULL || out->layers == NULL) {
        status = err_no_memory(err, "the counts");
        goto out;
    }
    out->parameters = known.parameters.count;
    out->nonzeros = known.parameters.nonzeros;
    out->parameter_bits = known.parameters.bits;
    out->scale_bits = known.parameters.scale_bits;
    out->weight_bytes = known.parameters.constant_bytes;
    for (uint32_t k = 0; k < g->order_count; k++) count_node(g, &known, g->order[k], out);
out:
    free(known.types);
    free(known.requantized);
    free(known.scratch);
    branches_release(&known.branches);
    parameters_release(&known.parameters);
    if (status != OK) counts_release(out);
    return status;
}

void counts_release(Counts *c)
{
    free(c->layers);
    *c = (Counts){ 0 };
}
