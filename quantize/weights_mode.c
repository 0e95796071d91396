#include "quantize/weights_mode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "quantize/form_dynamic.h"
#include "quantize/form_weights.h"
#include "quantize/grid.h"
#include "quantize/layers_round.h"
#include "quantize/options.h"
#include "quantize/products.h"
#include "quantize/report.h"
#include "quantize/trial.h"
#include "quantize/weights_mode_private.h"

#define LEAST_COLUMNS 8192 /* of the walk */
#define COLUMNS 16         /* and for each input of the widest layer */

static int64_t opset_needed(const Weighted *w)
{
    int64_t opset = 0;
    for (int i = 0; i < w->count; i++) {
        if (w->layers[i].reason != NULL) continue;
        int64_t needs = form_weight_opset(&w->layers[i].form, &w->layers[i].spec);
        if (needs > opset) opset = needs;
    }
    return opset;
}

/* ---- rounding ---- */

static bool same_job(const RoundJob *j, const WeightSpec *spec, const WeightLayer *l)
{
    return j->form.layer.weight == l->layer.weight && j->form.trans_weight == l->form.trans_weight && j->form.groups == l->form.groups
        && j->form.scale == l->form.scale && spec->bits == l->spec.bits && spec->block == l->spec.block
        && spec->format == l->spec.format && spec->symmetric == l->spec.symmetric;
}

static RoundSpec round_spec(const WeightLayer *l, const int32_t *partner)
{
    int bits = l->spec.bits;
    return (RoundSpec){ .bits = bits, .symmetric = l->spec.symmetric, .restricted = l->spec.format != WEIGHT_NBITS && bits >= 8,
                        .block = l->spec.block, .partner = partner, .method = ROUND_GPTQ, .clips = bits >= 8 ? 4 : 10,
                        .sweeps = bits >= 8 ? 2 : 6, .learned = options_learned(&l->options), .keep_grid = true };
}

/* Products of uint8 activations with int8 weights may saturate in dynamic networks, and where --target=x86-avx2 is asked for: in
 * weights that somebody will feed with uint8. */
static Status pair_table(const WeightLayer *l, const Graph *g, int32_t **partner, Err *err)
{
    *partner = NULL;
    bool fed = l->options.target == TARGET_AVX2 && l->spec.bits == 8 && l->spec.symmetric && !l->table;
    if ((l->spec.format != WEIGHT_DYNAMIC && !fed) || !options_pairs(&l->options)) return OK;
    Shape gates = shape_of(2, (int64_t[]){ l->form.outputs, l->form.width }), shape = graph_value(g, l->layer.weight)->tensor->shape;
    Rows r = !l->walks ? rows_of_matrix(&gates, 0)
        : l->form.kind == FORM_ROWS ? rows_of_matrix(&shape, l->layer.out_axis) : rows_of_conv(&shape, l->form.groups);
    if (!r.pairs) return OK;
    *partner = alloc_array((size_t)(2 * l->form.width), sizeof **partner);
    if (*partner == NULL) return err_no_memory(err, "a weight to round");
    rows_partners(&r, *partner);
    return OK;
}

Status weighted_make_jobs(Weighted *w, Err *err)
{
    size_t count = (size_t)w->count + 1;
    w->forms = alloc_zeroed(count, sizeof *w->forms);
    w->of_layer = alloc_zeroed(count, sizeof *w->of_layer);
    w->walks = alloc_zeroed(count, sizeof *w->walks);
    w->jobs = (RoundJobs){ .items = alloc_zeroed(count, sizeof *w->jobs.items), .layers = w->count, .forms = w->forms,
                           .of_layer = w->of_layer };
    int *first = alloc_zeroed(count, sizeof *first);
    Status status = OK;
    if (w->forms == NULL || w->of_layer == NULL || w->walks == NULL || w->jobs.items == NULL || first == NULL) {
        status = err_no_memory(err, "the weights");
        goto out;
    }
    for (int i = 0; i < w->count; i++) {
        WeightLayer *l = &w->layers[i];
        w->of_layer[i] = -1;
        if (l->reason != NULL) continue;
        w->forms[i] = l->form;
        int job = 0;
        while (job < w->jobs.count && !same_job(&w->jobs.items[job], &w->layers[first[job]].spec, l)) job++;
        if (job == w->jobs.count) {
            RoundJob *j = &w->jobs.items[job];
            first[w->jobs.count++] = i;
            *j = (RoundJob){ .form = l->form };
            TRY_OUT(pair_table(l, w->c->graph, &j->partner, err));
            j->spec = round_spec(l, j->partner);
        }
        w->of_layer[i] = job;
        w->walks[job] |= l->walks;
    }
out:
    free(first);
    return status;
}

static int64_t columns(const Weighted *w)
{
    const QuantizeOptions *o = w->c->options;
    int64_t widest = 1;
    for (int i = 0; i < w->count; i++)
        if (w->layers[i].reason == NULL && w->layers[i].walks && w->layers[i].form.width > widest) widest = w->layers[i].form.width;
    if (o->positions > 0) return o->positions;
    return COLUMNS * widest > LEAST_COLUMNS ? COLUMNS * widest : LEAST_COLUMNS;
}

Status weighted_write_rounded(const Weighted *w, Graph *g, bool not_walked, Err *err)
{
    for (int i = 0; i < w->jobs.count; i++) {
        const RoundJob *j = &w->jobs.items[i];
        if (not_walked && w->walks[i]) continue;
        double *made = alloc_array((size_t)form_weights(&j->form) + 1, sizeof *made);
        if (made == NULL) return err_no_memory(err, "a layer's weights");
        rounded_values(&j->rounded, made);
        Status status = layer_write_weights(g, &j->form, made, err);
        free(made);
        TRY(status);
    }
    return OK;
}

static Status clone_bound(const Graph *g, Graph **out, Err *err)
{
    TRY(graph_clone(g, out, err));
    engine_bind(*out);
    return OK;
}

static Status round_on_data(Weighted *w, Err *err)
{
    PassContext *c = w->c;
    const QuantizeOptions *o = c->options;
    Graph *plain = NULL, *walked = NULL;
    Trial *trial = NULL;
    Status status;
    bool gptq = options_repair(o, REPAIR_GPTQ), bias = options_repair(o, REPAIR_BIAS), both = gptq && bias;
    TRY_OUT(trial_new(c->graph, c->calibration, 4 * TRIAL_SAMPLES, 0, c->threads, c->max_mem, c->log, &trial, err));
    TRY_OUT(clone_bound(c->graph, &plain, err));
    TRY_OUT(clone_bound(c->graph, &walked, err));
    TRY_OUT(layers_round_plain(c->graph, &w->jobs, c->threads, err));
    TRY_OUT(weighted_write_rounded(w, plain, false, err));
    TRY_OUT(weighted_write_rounded(w, walked, true, err));
    TRY_OUT(trial_error(trial, plain, &w->plain, err));
    RoundRun run = { .original = c->graph, .compressed = walked, .data = c->calibration, .gptq = gptq, .target = gptq,
                     .bias = bias, .samples = o->samples, .batch = o->batch, .positions = columns(w),
                     .seed = c->seed, .max_mem = c->max_mem, .threads = c->threads, .record = c->record, .log = c->log };
    TRY_OUT(layers_round_walk(&run, &w->jobs, err));
    TRY_OUT(trial_error(trial, walked, &w->error, err));
    double without = INFINITY, with = w->error; /* the corrected biases */
    if (both) TRY_OUT(weighted_write_rounded(w, plain, false, err));
    if (both) TRY_OUT(trial_error(trial, plain, &without, err));
    w->error = fmin(with, without);
    bool kept = report_repair(c->record, repair_names[gptq ? REPAIR_GPTQ : REPAIR_BIAS], w->plain, w->error, 1.0);
    if (both) bias = report_biases(c->record, without, with, kept);
    w->walked = kept;
    if (!kept) TRY_OUT(layers_round_plain(c->graph, &w->jobs, c->threads, err));
    for (int i = 0; kept && bias && i < w->count; i++) {
        const WeightLayer *l = &w->layers[i];
        if (l->reason == NULL && l->walks) TRY_OUT(layer_copy_bias(walked, c->graph, &l->form, err));
    }
out:
    trial_free(trial);
    graph_free(plain);
    graph_free(walked);
    return status;
}

/* ---- writing ---- */

static const char *format_name(const WeightLayer *l)
{
    if (l->spec.format == WEIGHT_DYNAMIC) return l->partner < 0 ? "dynamic" : "DynamicQuantizeLSTM";
    if (l->spec.format == WEIGHT_NBITS) return l->table ? "GatherBlockQuantized" : "MatMulNBits";
    return l->table ? "a table" : "DequantizeLinear";
}

static void report_one(const Weighted *w, int layer)
{
    const WeightLayer *l = &w->layers[layer];
    const Rounded *r = &w->jobs.items[w->of_layer[layer]].rounded;
    char scales[64];
    if (l->spec.block > 0) snprintf(scales, sizeof scales, "%lld inputs", (long long)l->spec.block);
    else snprintf(scales, sizeof scales, "%s", l->spec.block < 0 ? "tensor" : "channel");
    double sqnr = weights_sqnr(w->c->graph, &l->form, r);
    bool apart = w->walked && !w->jobs.items[w->of_layer[layer]].walked;
    record_add(w->c->record, RECORD_CHANGED, l->layer.name, "%d-bit weights per %s%s, %s%s%s%s", l->spec.bits, scales,
               r->kept_grid ? " on their old grid" : "", format_name(l), l->note != NULL ? ": " : "", l->note != NULL ? l->note : "",
               apart ? "; rounded by itself, the data does not go into it" : "");
    if (isfinite(sqnr)) record_number(w->c->record, "weight_sqnr_db", sqnr);
}

Status weighted_write(const Weighted *w, Graph *g, int layer, StoredWeight *stored, Err *err)
{
    const WeightLayer *l = &w->layers[layer];
    int job = w->of_layer[layer];
    const Rounded *r = &w->jobs.items[job].rounded;
    if (l->partner >= 0) { /* an LSTM, at its first weight */
        const WeightLayer *other = &w->layers[l->partner];
        if (l->partner < layer) return OK;
        return form_dynamic_lstm(g, &l->form, r, &other->form, &w->jobs.items[w->of_layer[l->partner]].rounded, &l->spec, err);
    }
    if (stored[job].q == 0) TRY(form_weight_store(g, &l->form, r, &l->spec, &stored[job], err));
    return form_weight_attach(g, &l->form, &stored[job], err);
}

static Status write_layers(Weighted *w, Err *err)
{
    StoredWeight *stored = alloc_zeroed((size_t)w->jobs.count + 1, sizeof *stored);
    Status status = OK;
    int done = 0, wider = 0, wide = 0, narrow = 0;
    bool packs = false;
    if (stored == NULL) return err_no_memory(err, "the weights");
    for (int i = 0; i < w->count && status == OK; i++) {
        const WeightLayer *l = &w->layers[i];
        if (l->reason != NULL) {
            record_add(w->c->record, RECORD_SKIPPED, l->layer.name, "stays float: %s", l->reason);
            continue;
        }
        done++;
        report_one(w, i);
        status = weighted_write(w, w->c->graph, i, stored, err);
        const StoredWeight *s = &stored[w->of_layer[i]];
        if (status != OK || s->q == 0 || l->spec.format == WEIGHT_NBITS || dtype_bits(s->type) <= l->spec.bits) continue;
        wider++;
        packs |= l->spec.bits == 2 && l->form.kind == FORM_ROWS;
        narrow = l->spec.bits;
        wide = dtype_bits(s->type);
    }
    if (wider > 0)
        record_add(w->c->record, RECORD_NOTE, STR("graph"),
                   "%d layer%s of %d bits stored in integers of %d: the deflated size falls, the file's not%s", wider,
                   wider == 1 ? "" : "s", narrow, wide, packs ? "; --format=nbits packs products of 2 bits" : "");
    if (done == 0 && !w->tables_only)
        record_add(w->c->record, RECORD_NOTE, STR("graph"), "no layer could be quantized: the network is as before");
    free(stored);
    return status;
}

void weighted_release_jobs(Weighted *w)
{
    for (int i = 0; w->jobs.items != NULL && i < w->jobs.count; i++) round_job_release(&w->jobs.items[i]);
    free(w->jobs.items);
    free(w->forms);
    free(w->of_layer);
    free(w->walks);
    w->jobs = (RoundJobs){ 0 };
    w->forms = NULL;
    w->of_layer = NULL;
    w->walks = NULL;
}

Status weighted_finish(Weighted *w, Err *err)
{
    PassContext *c = w->c;
    TRY(weighted_make_jobs(w, err));
    bool repaired = options_repair(c->options, REPAIR_GPTQ) || options_repair(c->options, REPAIR_BIAS);
    if (!w->tables_only && c->calibration != NULL && repaired) TRY(round_on_data(w, err));
    else TRY(layers_round_plain(c->graph, &w->jobs, c->threads, err));
    return write_layers(w, err);
}

static Status find(Weighted *w, Err *err)
{
    free(w->layers);
    return weight_layers_find(w->c, w->tables_only, &w->layers, &w->count, err);
}

static Status run(PassContext *c, bool tables_only, Err *err)
{
    Weighted w = { .c = c, .tables_only = tables_only, .error = -1.0, .plain = -1.0 };
    Status status;
    TRY_OUT(find(&w, err));
    int64_t opset = opset_needed(&w);
    if (opset > graph_opset(c->graph, STR(""))) {
        TRY_OUT(opset_raise(c->graph, opset, c->record, err));
        graph_remove_dead(c->graph, NULL);
        TRY_OUT(engine_refresh(c->graph, err));
        TRY_OUT(find(&w, err));
    }
    if (opset > 0) TRY_OUT(opset_raise_ir(c->graph, opset_ir(opset), err));
    if (!tables_only) TRY_OUT(weighted_equalize(&w, err));
    if (!tables_only) TRY_OUT(mixed_weights(&w, err));
    TRY_OUT(weighted_finish(&w, err));
    if (!tables_only) TRY_OUT(products_keep_apart(c->graph, c->record, err));
    graph_remove_dead(c->graph, NULL);
    if (opset > 0) TRY_OUT(engine_refresh(c->graph, err));
out:
    weighted_release_jobs(&w);
    free(w.layers);
    return status;
}

Status weights_mode_run(PassContext *c, Err *err)
{
    return run(c, false, err);
}

Status weights_mode_tables(PassContext *c, Err *err)
{
    return run(c, true, err);
}
