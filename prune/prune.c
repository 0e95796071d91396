/* Magnitude pruning, unstructured.
 *
 *   before: W            after: W' = W * M,  M = 0 for the floor(s n) elements of smallest |w|, 1 elsewhere
 *
 * n counts the elements of one weight (scope layer) or of all chosen ones together (scope global, one threshold). Zeros that are there
 * already are the smallest and count. Equal magnitudes go in the order of the layers and of the elements, so the count is exact (a
 * millionth of an element is added before rounding down: 0.29 of 100 is 29).
 *
 * Needs: float weights that are constants. Biases, normalisation and tables are kept (a Gather table is pruned when a rule names it).
 * Limits: the tensors stay dense; what falls is the deflated size, not the file nor the time on dense kernels. No retraining.
 * Han, Pool, Tran, Dally, Learning both weights and connections for efficient neural networks, NIPS 2015. */
#include "graph/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "prune/candidates.h"
#include "prune/select.h"
#include "stats/left_out.h"

typedef struct PruneOptions {
    int method, scope;
    double sparsity;
} PruneOptions;

enum { METHOD_MAGNITUDE };
enum { SCOPE_LAYER, SCOPE_GLOBAL };

static const Opt prune_options[] = {
    { .name = "method", .type = OPT_CHOICE, .field = offsetof(PruneOptions, method), .fallback = "magnitude", .choices = "magnitude",
      .help = "how weights are ranked: by absolute value" },
    { .name = "sparsity", .type = OPT_FLOAT, .field = offsetof(PruneOptions, sparsity), .fallback = "0.5", .min = 0, .max = 1,
      .help = "share of the weights that are zero afterwards", .per_layer = true },
    { .name = "scope", .type = OPT_CHOICE, .field = offsetof(PruneOptions, scope), .fallback = "layer", .choices = "layer|global",
      .help = "the share holds in each layer, or over all chosen layers with one threshold" },
    OPT_END,
};

/* What happens to one constant. */
typedef struct Decision {
    const Candidate *candidate;
    double sparsity;
    bool skip, unnamed_table;
    bool own;               /* a rule gives its sparsity: apart from the global threshold */
    MagnitudeCut cut;
    int64_t elements, zeros_before, zeros_after;
} Decision;

static Status decide(const PassContext *c, const Candidate *k, Decision *out, Err *err)
{
    PruneOptions options;
    bool skip;
    TRY(pass_layer_options(c, &k->layer, &options, &skip, err));
    *out = (Decision){ .candidate = k, .sparsity = options.sparsity, .skip = skip, .own = candidate_rule_sets(c, k, "sparsity") };
    out->unnamed_table = k->table && !candidate_named(c, k);
    return OK;
}

/* One decision for each candidate; those that share a weight must agree. */
static Status decide_all(const PassContext *c, const Candidate *list, int count, Decision **out, Err *err)
{
    Decision *d = arena_array(c->scratch, (size_t)count + 1, sizeof *d);
    if (d == NULL) return err_no_memory(err, "the decisions of prune");
    for (int i = 0; i < count; i++) {
        TRY(decide(c, &list[i], &d[i], err));
        Decision *first = &d[list[i].first];
        if (first->unnamed_table || d[i].unnamed_table || first->candidate->reason != NULL) continue;
        if (d[i].skip != first->skip || d[i].sparsity != first->sparsity || d[i].own != first->own)
            return err_set(err, ERR_USAGE,
                           "layers '%.*s' and '%.*s' share the weight '%.*s' but their rules differ: give both the same",
                           STR_ARG(first->candidate->layer.name), STR_ARG(list[i].layer.name), STR_ARG(list[i].layer.weight_name));
    }
    *out = d;
    return OK;
}

static Status prune_check(const PassContext *c, Err *err)
{
    Candidate *list;
    Decision *decisions;
    int count;
    TRY(candidates_find(c, &list, &count, err));
    TRY(candidates_check_rules(c, list, count, err));
    return decide_all(c, list, count, &decisions, err);
}

static const Tensor *weight_of(const PassContext *c, const Decision *d)
{
    return graph_value(c->graph, d->candidate->layer.weight)->tensor;
}

/* Whether this decision is carried out, and on its own weight (not one met before). */
static bool decision_active(const Decision *all, int i)
{
    const Decision *d = &all[i];
    if (d->skip || d->unnamed_table || d->candidate->reason != NULL) return false;
    if (d->candidate->first == i) return true;
    /* a table that nobody named stands aside for a layer with the same weight */
    for (int k = 0; k < i; k++) {
        if (all[k].candidate->layer.weight == d->candidate->layer.weight && !all[k].unnamed_table) return false;
    }
    return true;
}

/* The cut over a group of weights, given back to each of them with its share of the ties. */
static Status cut_group(PassContext *c, Decision **group, int count, double sparsity, Err *err)
{
    const Tensor **tensors = arena_array(c->scratch, (size_t)count, sizeof *tensors);
    Str *names = arena_array(c->scratch, (size_t)count, sizeof *names);
    if (tensors == NULL || names == NULL) return err_no_memory(err, "the weights of prune");
    int64_t total = 0;
    for (int i = 0; i < count; i++) {
        tensors[i] = weight_of(c, group[i]);
        names[i] = group[i]->candidate->layer.weight_name;
        total += group[i]->elements;
    }
    int64_t remove = (int64_t)floor(sparsity * (double)total + 1e-6);
    if (remove > total) remove = total;
    MagnitudeCut cut = { 0 };
    /* without anything to remove the data is still read once: NaN is an error at any sparsity */
    if (total > 0) TRY(magnitude_select(tensors, names, count, remove > 0 ? remove : 1, &cut, err));
    if (remove == 0) cut = (MagnitudeCut){ 0 };
    for (int i = 0; i < count; i++) group[i]->cut = cut;
    return OK;
}

/* Sets what is below the cut to zero; *ties is what is left of the elements equal to it. The weight is copied only when one changes. */
static Status apply_cut(PassContext *c, Decision *d, int64_t *ties, Err *err)
{
    enum { BLOCK = 4096 };
    double block[BLOCK];
    ValueId id = d->candidate->layer.weight;
    const Tensor *t = graph_value(c->graph, id)->tensor;
    size_t size = (size_t)dtype_bits(t->type) / 8;
    Tensor *writable = NULL;
    for (int64_t first = 0; first < d->elements; first += BLOCK) {
        int64_t n = d->elements - first < BLOCK ? d->elements - first : BLOCK;
        tensor_read_doubles(t, first, n, block);
        for (int64_t i = 0; i < n; i++) {
            double magnitude = fabs(block[i]);
            bool tie = magnitude == d->cut.threshold && *ties > 0;
            bool gone = magnitude < d->cut.threshold || tie;
            *ties -= tie;
            d->zeros_before += magnitude == 0;
            d->zeros_after += gone || magnitude == 0;
            if (!gone || magnitude == 0) continue; /* a zero keeps its bytes, also -0 */
            if (writable == NULL) {
                TRY(tensor_make_writable(c->graph, id, &writable, err));
                t = writable;
            }
            memset(writable->data + (size_t)(first + i) * size, 0, size);
        }
    }
    return OK;
}

static void record_layer(PassContext *c, const Decision *d)
{
    double share = d->elements > 0 ? (double)d->zeros_after / (double)d->elements : 0;
    bool changed = d->zeros_after != d->zeros_before;
    record_add(c->record, changed ? RECORD_CHANGED : RECORD_SKIPPED, d->candidate->layer.name,
               "%s%lld of %lld weights of '%.*s' are zero (%.2f %%)", changed ? "" : "nothing to remove: ", (long long)d->zeros_after,
               (long long)d->elements, STR_ARG(d->candidate->layer.weight_name), 100 * share);
    record_number(c->record, "sparsity", share);
    record_number(c->record, "zeros", (double)d->zeros_after);
    record_number(c->record, "weights", (double)d->elements);
    record_number(c->record, "threshold", d->cut.threshold);
}

static void record_inactive(PassContext *c, const Decision *all, int i)
{
    const Candidate *k = all[i].candidate;
    Str name = k->layer.name;
    if (all[i].skip) record_add(c->record, RECORD_SKIPPED, name, "skipped by a rule");
    else if (k->reason != NULL) record_add(c->record, RECORD_SKIPPED, name, "%s", k->reason);
    else if (all[i].unnamed_table && k->first == i)
        record_add(c->record, RECORD_SKIPPED, name, "a table of Gather: pruned only when a rule names it");
    else
        record_add(c->record, RECORD_NOTE, name, "shares the weight '%.*s' with '%.*s': one decision for both",
                   STR_ARG(k->layer.weight_name), STR_ARG(all[k->first].candidate->layer.name));
}

static void record_total(PassContext *c, int64_t zeros, int64_t elements)
{
    int nested = layers_nested(c->graph);
    if (nested > 0)
        record_add(c->record, RECORD_NOTE, STR("subgraphs"), "%d weighted nodes inside If, Loop or Scan are left alone", nested);
    record_add(c->record, RECORD_NOTE, STR("network"), "zeros only: same file size and speed on dense kernels; deflated size falls");
    record_number(c->record, "sparsity", elements > 0 ? (double)zeros / (double)elements : 0);
    record_number(c->record, "zeros", (double)zeros);
    record_number(c->record, "weights", (double)elements);
}

/* Thresholds for all active decisions: one for the global group, one for each of the others. */
static Status cut_all(PassContext *c, Decision *all, int count, Err *err)
{
    const PruneOptions *o = c->options;
    Decision **group = arena_array(c->scratch, (size_t)count + 1, sizeof *group);
    if (group == NULL) return err_no_memory(err, "the weights of prune");
    int grouped = 0;
    for (int i = 0; i < count; i++) {
        if (!decision_active(all, i)) continue;
        Decision *d = &all[i];
        d->elements = tensor_count(weight_of(c, d));
        if (o->scope == SCOPE_GLOBAL && !d->own) group[grouped++] = d;
        else TRY(cut_group(c, &d, 1, d->sparsity, err));
    }
    return grouped > 0 ? cut_group(c, group, grouped, o->sparsity, err) : OK;
}

static Status prune_run(PassContext *c, Err *err)
{
    const PruneOptions *o = c->options;
    Candidate *list;
    Decision *all;
    int count;
    TRY(candidates_find(c, &list, &count, err));
    TRY(candidates_check_rules(c, list, count, err));
    TRY(decide_all(c, list, count, &all, err));
    TRY(cut_all(c, all, count, err));
    int64_t global_ties = -1, zeros = 0, elements = 0;
    Status status = OK;
    progress_begin(c->log, "prune", count);
    for (int i = 0; i < count && status == OK; i++) {
        Decision *d = &all[i];
        if (!progress_step(c->log, i)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
        if (status != OK) break;
        if (!decision_active(all, i)) {
            record_inactive(c, all, i);
            continue;
        }
        bool global = o->scope == SCOPE_GLOBAL && !d->own;
        int64_t own_ties = d->cut.ties;
        if (global && global_ties < 0) global_ties = d->cut.ties;
        status = apply_cut(c, d, global ? &global_ties : &own_ties, err);
        record_layer(c, d);
        zeros += d->zeros_after;
        elements += d->elements;
    }
    progress_end(c->log);
    TRY(status);
    record_total(c, zeros, elements);
    TRY(graph_finish(c->graph, err));
    return c->record->failed ? err_no_memory(err, "the record of prune") : OK;
}

const Pass pass_prune = {
    .name = "prune",
    .summary = "set the smallest weights of each layer, or of all layers, to zero",
    .details =
        "Magnitude pruning: of n weights the floor(sparsity n) of smallest absolute value become zero; zeros that are there already\n"
        "count, and equal magnitudes go in order, so the count is exact. scope=layer keeps the share in each layer; scope=global takes\n"
        "one threshold over all chosen layers, except those whose sparsity a rule sets. Biases and normalisation are kept; a Gather\n"
        "table is pruned only when a rule names it (a pattern of wildcards alone does not). A weight that several layers share is\n"
        "pruned once, and their rules must agree. Quantized weights are skipped: prune first, then quantize (zero stays zero).\n"
        "The tensors stay dense: the deflated size falls, the file's size and the time on dense kernels do not.\n"
        "Example: pare pass prune --sparsity=0.8 model.onnx -o pruned.onnx",
    .flags = PASS_CHECKS_RULES,
    .options = prune_options,
    .options_size = sizeof(PruneOptions),
    .check = prune_check,
    .run = prune_run,
};
