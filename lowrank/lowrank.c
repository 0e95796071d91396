/* Low rank: a layer's matrix by its truncated singular value decomposition.
 *
 *   before: y = W x + b        after: y = V (U x) + b,   W = P S Q^T,  U = sqrt(S_k) Q_k^T,  V = P_k sqrt(S_k)
 *
 * for MatMul, Gemm and 1x1 Conv of one group. The error is the tail of the spectrum: |W - V U|^2 = sum of sigma_i^2, i > k (Eckart and
 * Young 1936). The root of S goes to both factors, so that their scales agree (which also suits quantization).
 *
 * Done only where it pays, k (m + n) < m n: then parameters and products both fall. Everything else is recorded with its reason.
 * Needs: a float weight that is a constant with no other reader. Limits: plain SVD of the weights, blind to the data; no retraining.
 * Denton, Zaremba, Bruna, LeCun, Fergus, Exploiting linear structure within convolutional networks, NIPS 2014. */
#include "graph/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "lowrank/split.h"
#include "stats/left_out.h"

typedef struct LowrankOptions {
    int64_t rank;
    double ratio, energy;
} LowrankOptions;

#define DEFAULT_ENERGY 0.95
#define DEFAULT_ENERGY_TEXT "0.95"

static const Opt lowrank_options[] = {
    { .name = "rank", .type = OPT_INT, .field = offsetof(LowrankOptions, rank), .min = 1, .max = 1 << 30,
      .help = "this rank", .per_layer = true },
    { .name = "ratio", .type = OPT_FLOAT, .field = offsetof(LowrankOptions, ratio), .min = 1e-6, .max = 1,
      .help = "share of the layer's parameters kept: rank = floor(ratio m n / (m + n)), 1 or more; 1 leaves it", .per_layer = true },
    { .name = "energy", .type = OPT_FLOAT, .field = offsetof(LowrankOptions, energy), .min = 1e-6, .max = 1,
      .help = "the smallest rank that keeps this share of the sum of squared singular values (" DEFAULT_ENERGY_TEXT
              " when neither rank, ratio nor energy is given)", .per_layer = true },
    OPT_END,
};

/* How the rank of one layer is chosen: by one of the three options. */
enum { BY_RANK, BY_RATIO, BY_ENERGY };
static const char *const way_names[] = { "rank", "ratio", "energy" };

typedef struct Choice {
    int way;
    bool skip;
    LowrankOptions options;
} Choice;

static Status base_way(const LowrankOptions *o, int *way, Err *err)
{
    bool given[] = { o->rank > 0, o->ratio > 0, o->energy > 0 };
    if (given[0] + given[1] + given[2] > 1)
        return err_set(err, ERR_USAGE, "%s and %s are both given: give one of rank, ratio and energy", way_names[given[0] ? 0 : 1],
                       way_names[given[2] ? 2 : 1]);
    *way = given[0] ? BY_RANK : given[1] ? BY_RATIO : BY_ENERGY;
    return OK;
}

/* The pass's own way, unless a matching rule names another one; the last rule counts. */
static Status choose(const PassContext *c, const Layer *l, Choice *out, Err *err)
{
    TRY(base_way(c->options, &out->way, err));
    TRY(pass_layer_options(c, l, &out->options, &out->skip, err));
    for (int i = 0; i < c->rule_count; i++) {
        const LayerRule *rule = &c->rules[i];
        int named = -1;
        for (int k = 0; k < rule->count; k++) {
            for (int way = 0; way < 3; way++) {
                if (strcmp(rule->names[k], way_names[way]) != 0) continue;
                if (named >= 0 && named != way)
                    return err_set(err, ERR_USAGE, "the rule for '%s' gives both %s and %s: give one", rule->match,
                                   way_names[named], way_names[way]);
                named = way;
            }
        }
        if (named >= 0 && layer_matches(l, rule->match)) out->way = named;
    }
    if (out->way == BY_ENERGY && out->options.energy == 0) out->options.energy = DEFAULT_ENERGY;
    return OK;
}

static bool pays(const Matrix *m, int64_t rank)
{
    return (double)rank * (double)(m->rows + m->cols) < (double)m->rows * (double)m->cols;
}

static double break_even(const Matrix *m)
{
    return (double)m->rows * (double)m->cols / (double)(m->rows + m->cols);
}

static void record_unpaying(PassContext *c, const Layer *l, const Matrix *m, int64_t rank)
{
    record_add(c->record, RECORD_SKIPPED, l->name, "rank %lld does not pay: %lldx%lld breaks even at %.1f", (long long)rank,
               (long long)m->rows, (long long)m->cols, break_even(m));
    record_number(c->record, "rank", (double)rank);
    record_number(c->record, "break_even", break_even(m));
}

static void record_split(PassContext *c, const Layer *l, const Matrix *m, const Spectrum *s, int rank)
{
    double kept = spectrum_kept(s, rank), error = sqrt(1 - kept);
    int64_t before = m->rows * m->cols, after = rank * (m->rows + m->cols);
    record_add(c->record, RECORD_CHANGED, l->name,
               "%lldx%lld in two at rank %d of %d: %lld of %lld parameters, kept energy %.4f, relative error %.4f",
               (long long)m->rows, (long long)m->cols, rank, s->full, (long long)after, (long long)before, kept, error);
    record_number(c->record, "rank", rank);
    record_number(c->record, "break_even", break_even(m));
    record_number(c->record, "kept_energy", kept);
    record_number(c->record, "relative_error", error);
    record_number(c->record, "parameters_before", (double)before);
    record_number(c->record, "parameters_after", (double)after);
}

static Status factorize(PassContext *c, const Layer *l, const Matrix *m, const Choice *choice, bool *changed, Err *err)
{
    int64_t full = m->rows < m->cols ? m->rows : m->cols, rank = 0;
    if (choice->way == BY_RANK) rank = choice->options.rank < full ? choice->options.rank : full;
    if (choice->way == BY_RATIO) rank = (int64_t)floor(choice->options.ratio * break_even(m) + 1e-9);
    if (choice->way == BY_RATIO && rank < 1) rank = 1;
    if (choice->way == BY_RATIO && choice->options.ratio == 1) rank = full; /* all parameters kept: nothing to give up */
    if (full < 1 || (choice->way != BY_ENERGY && !pays(m, rank)) || !pays(m, 1)) { /* no decomposition for nothing */
        record_unpaying(c, l, m, choice->way == BY_ENERGY ? 1 : rank);
        return OK;
    }
    uint64_t need = spectrum_bytes(m->rows, m->cols);
    if (need == 0) {
        record_add(c->record, RECORD_SKIPPED, l->name, "%lldx%lld is too large to decompose", (long long)m->rows, (long long)m->cols);
        return OK;
    }
    if (c->max_mem > 0 && need > c->max_mem)
        return err_set(err, ERR_MEMORY,
                       "layer '%.*s' needs %llu bytes to decompose, --max-mem is %llu: skip it by a rule or raise it",
                       STR_ARG(l->name), (unsigned long long)need, (unsigned long long)c->max_mem);
    Spectrum s;
    if (spectrum_of(graph_value(c->graph, l->weight)->tensor, m->rows, m->cols, &s, err) != OK)
        return err_prefix(err, "weight '%.*s' of layer '%.*s'", STR_ARG(l->weight_name), STR_ARG(l->name));
    if (choice->way == BY_ENERGY) rank = spectrum_rank_for(&s, choice->options.energy);
    Status status = OK;
    if (pays(m, rank)) {
        status = split_layer(c->graph, l, m, &s, (int)rank, err);
        record_split(c, l, m, &s, (int)rank);
        *changed = true;
    } else {
        record_unpaying(c, l, m, rank);
        record_number(c->record, "kept_energy", spectrum_kept(&s, (int)rank));
    }
    spectrum_release(&s);
    return status;
}

static Status run_layer(PassContext *c, const Layer *l, bool *changed, Err *err)
{
    Choice choice;
    Matrix m;
    char reason[160];
    TRY(choose(c, l, &choice, err));
    if (choice.skip) {
        record_add(c->record, RECORD_SKIPPED, l->name, "skipped by a rule");
        return OK;
    }
    const char *why = split_matrix(c->graph, l, &m, reason, sizeof reason);
    if (why != NULL) {
        record_add(c->record, RECORD_SKIPPED, l->name, "%s", why);
        return OK;
    }
    return factorize(c, l, &m, &choice, changed, err);
}

/* Layers with constant weights and those without, one after the other: the rules may name both. */
static Status find_all(const PassContext *c, Layer **layers, int *layer_count, int *total, LeftOut **left_out, Err *err)
{
    Layer *found = NULL;
    int count = 0, out_count = 0;
    *left_out = NULL;
    TRY(layers_find(c->graph, &found, &count, err));
    Status status = layers_left_out(c->graph, left_out, &out_count, err);
    Layer *all = NULL;
    if (status == OK) {
        all = arena_array(c->scratch, (size_t)count + (size_t)out_count + 1, sizeof *all);
        if (all == NULL) status = err_no_memory(err, "the list of layers");
    }
    for (int i = 0; i < count && status == OK; i++) all[i] = found[i];
    for (int i = 0; i < out_count && status == OK; i++) all[count + i] = (*left_out)[i].layer;
    free(found);
    if (status == OK) status = pass_check_rules(c, all, count + out_count, err);
    if (status != OK) {
        free(*left_out);
        return status;
    }
    *layers = all;
    *layer_count = count;
    *total = count + out_count;
    return OK;
}

static Status lowrank_check(const PassContext *c, Err *err)
{
    Layer *layers;
    LeftOut *left_out;
    int count, total, way;
    TRY(base_way(c->options, &way, err));
    TRY(find_all(c, &layers, &count, &total, &left_out, err));
    free(left_out);
    Choice choice;
    for (int i = 0; i < count; i++) TRY(choose(c, &layers[i], &choice, err));
    return OK;
}

static Status lowrank_run(PassContext *c, Err *err)
{
    Layer *layers;
    LeftOut *left_out;
    int count, total;
    TRY(find_all(c, &layers, &count, &total, &left_out, err));
    Status status = OK;
    bool changed = false;
    progress_begin(c->log, "lowrank", count);
    for (int i = 0; i < count && status == OK; i++) {
        if (!progress_step(c->log, i)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
        else status = run_layer(c, &layers[i], &changed, err);
    }
    progress_end(c->log);
    for (int i = count; i < total; i++) record_add(c->record, RECORD_SKIPPED, layers[i].name, "%s", left_out[i - count].reason);
    free(left_out);
    TRY(status);
    int nested = layers_nested(c->graph);
    if (nested > 0)
        record_add(c->record, RECORD_NOTE, STR("subgraphs"), "%d weighted nodes inside If, Loop or Scan are left alone", nested);
    if (changed) {
        graph_remove_dead(c->graph, NULL);
        TRY(graph_finish(c->graph, err));
    }
    return c->record->failed ? err_no_memory(err, "the record of lowrank") : OK;
}

const Pass pass_lowrank = {
    .name = "lowrank",
    .summary = "replace a layer by two thinner ones from its singular value decomposition",
    .details =
        "Truncated SVD of MatMul, Gemm and 1x1 Conv (one group): a layer of m x n weights becomes two of k (m + n), where that is less.\n"
        "Give one of rank, ratio and energy; a rule may give another one for its layers. ratio is the share of the layer's parameters\n"
        "kept; energy the share of the sum of squared singular values, so the relative error of the weights is sqrt(1 - energy).\n"
        "Stride and padding stay with the first layer, NAME.u, the bias with the second, NAME.v. A layer that does not become smaller\n"
        "is left as it is and listed with its break-even rank; so are larger kernels, groups, shared and quantized weights.\n"
        "Example: pare pass lowrank --energy=0.9 model.onnx -o thin.onnx",
    .flags = PASS_NEEDS_GRAPH | PASS_CHECKS_RULES,
    .options = lowrank_options,
    .options_size = sizeof(LowrankOptions),
    .check = lowrank_check,
    .run = lowrank_run,
};
