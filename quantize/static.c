#include "quantize/static.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/fold.h"
#include "graph/opset.h"
#include "quantize/form_qoperator.h"
#include "quantize/mixed.h"
#include "quantize/products.h"
#include "quantize/report.h"
#include "quantize/uint8.h"

#define MIN_OPSET 13 /* QuantizeLinear with an axis */
#define MIN_IR 7     /* the IR of opset 13 */
#define CLIPS 12      /* candidates of a weight's scale, chosen by the layer's own loss */
/* Columns of the walk: as many as the products of all layers' moments afford, within these ends and so many for each input of the widest
 * layer (neighbouring places of a picture tell less than as many words). */
#define ROWS_PER_INPUT 4
#define PLACES_PER_INPUT 8
#define LEAST_COLUMNS 4096
#define MOST_COLUMNS 16384
#define MOMENT_PRODUCTS 4e9
#define ROUNDING_WORTH 0.92 /* of the error of plain rounding: what float weights must get below for any other to be tried */
#define WORST_DB 10.0    /* of the output's SQNR: what is below is said aloud */
#define WALK_SAMPLES 256 /* at most */
#define SEQUENCES 1024   /* at most, where a network reads nothing else */

static bool any_layer(const Plan *p)
{
    for (int i = 0; i < p->layer_count; i++)
        if (p->layers[i].reason == NULL) return true;
    return false;
}

/* ---- rounding on the walk ---- */

static bool carries_grid(void *user, ValueId v)
{
    const Plan *p = user;
    return v <= p->value_count && p->root[v] != 0;
}

static void put_on_grid(void *user, ValueId v, Tensor *t)
{
    const Plan *p = user;
    if (t->type == DT_FLOAT) grid_put(p->grids[p->root[v]], (float *)(void *)t->data, tensor_count(t));
}

static int64_t columns(const Static *s)
{
    const QuantizeOptions *o = s->c->options;
    double products = 1.0, least = LEAST_COLUMNS;
    for (int i = 0; i < s->plan.layer_count; i++) {
        const LayerForm *f = &s->plan.layers[i].form;
        if (s->plan.layers[i].reason != NULL) continue;
        products += (double)f->groups * (double)f->width * (double)f->width;
        least = fmax(least, (double)f->width * (f->kind == FORM_ROWS ? ROWS_PER_INPUT : PLACES_PER_INPUT));
    }
    if (o->positions > 0) return o->positions;
    return (int64_t)fmax(fmin(MOMENT_PRODUCTS / products, MOST_COLUMNS), least);
}

static int64_t walk_samples(const Static *s)
{
    const QuantizeOptions *o = s->c->options;
    int64_t most = SEQUENCES;
    for (int i = 0; i < s->plan.layer_count; i++) {
        const PlannedLayer *l = &s->plan.layers[i];
        if (l->reason == NULL && (l->form.kind != FORM_ROWS || graph_value(s->c->graph, l->layer.input)->shape.rank < 3))
            most = WALK_SAMPLES;
    }
    return o->samples == 0 || o->samples > most ? most : o->samples;
}

/* What a rounding aims at. */
typedef struct Aim {
    bool gptq, bias;
    bool target; /* the float network's own outputs, not those of its weights on the quantized inputs */
} Aim;

static Status round_walk(Static *s, Graph *g, Aim aim, Err *err)
{
    PassContext *c = s->c;
    const QuantizeOptions *o = c->options;
    static const WalkAlter alter = { carries_grid, put_on_grid };
    for (int i = 0; i < s->weights.jobs.count; i++) s->weights.jobs.items[i].spec.clips = CLIPS;
    RoundRun run = { .original = c->graph, .compressed = g, .data = c->calibration, .alter = &alter, .alter_user = &s->plan,
                     .gptq = aim.gptq, .target = aim.target, .bias = aim.bias, .single = true, .samples = walk_samples(s),
                     .batch = o->batch, .positions = columns(s), .seed = c->seed,
                     .max_mem = c->max_mem, .threads = c->threads, .record = c->record, .log = c->log };
    return layers_round_walk(&run, &s->weights.jobs, err);
}

/* Whether there is anything to gain: no rounding comes out much better than weights that are not rounded. */
static Status has_room(Static *s, bool *room, Err *err)
{
    double floor = 0.0;
    TRY(static_floor(s, s->c->graph, &floor, err));
    *room = floor < ROUNDING_WORTH * s->error;
    if (!*room)
        record_add(s->c->record, RECORD_NOTE, STR("gptq"), "not tried: output SQNR %.2f dB; with weights left in float it would be %.2f dB",
                   trial_db(s->error), trial_db(floor));
    return OK;
}

/* Weights rounded by the layers' losses, kept where the network's output gains by it, with the corrected biases or without them. */
static Status try_rounding(Static *s, Aim aim, const char *name, bool *kept, Err *err)
{
    Graph *rounded = NULL;
    WeightJobs plain = s->weights;
    double error = 0.0, without = INFINITY; /* the corrected biases */
    bool both = aim.gptq && aim.bias, biases = aim.bias;
    Status status;
    s->weights = (WeightJobs){ 0 };
    TRY_OUT(graph_clone(s->c->graph, &rounded, err));
    engine_bind(rounded);
    TRY_OUT(weight_jobs_make(&s->plan, &s->weights, err));
    TRY_OUT(round_walk(s, rounded, aim, err));
    TRY_OUT(static_error(s, rounded, &error, err));
    if (both) TRY_OUT(static_error(s, s->c->graph, &without, err));
    *kept = report_repair(s->c->record, name, s->error, fmin(error, without), 1.0);
    if (both) biases = report_biases(s->c->record, without, error, *kept);
    if (*kept) {
        s->error = fmin(error, without);
        WeightJobs better = s->weights;
        s->weights = plain;
        plain = better;
        for (int i = 0; biases && i < s->plan.layer_count && status == OK; i++) /* the weights themselves are in the jobs */
            if (s->plan.layers[i].reason == NULL) status = layer_copy_bias(rounded, s->c->graph, &s->plan.layers[i].form, err);
    }
out:
    graph_free(rounded);
    weight_jobs_release(&s->weights);
    s->weights = plain;
    return status;
}

/* Towards the float network's outputs first, which makes up for what earlier layers lost. Where a few samples go far beyond the grids, it
 * makes up for what was cut off them, and all others suffer: then towards each layer's own products, and no means are moved. */
static Status repair_rounding(Static *s, Err *err)
{
    const QuantizeOptions *o = s->c->options;
    bool gptq = options_repair(o, REPAIR_GPTQ), bias = options_repair(o, REPAIR_BIAS), room = true, kept;
    if (!gptq && !bias) return OK;
    if (gptq) TRY(has_room(s, &room, err));
    if (!room) {
        report_not_tried(s->c, REPAIR_ADAROUND, "it starts from gptq");
        report_not_tried(s->c, REPAIR_BIAS, "biases are corrected on gptq's walk; name bias without gptq to have it alone");
        return OK;
    }
    TRY(try_rounding(s, (Aim){ gptq, bias, gptq }, gptq ? "gptq" : "bias", &kept, err));
    return kept || !gptq ? OK : try_rounding(s, (Aim){ .gptq = true }, "gptq, each layer by itself", &kept, err);
}

/* ---- the whole ---- */

static Status make_plan(Static *s, Err *err)
{
    PlanLimits limits = { &s->table, s->keep };
    plan_release(&s->plan);
    return plan_make(s->c, &limits, &s->plan, err);
}

static const char *rewritten(const Static *s)
{
    return s->rewritten[0] != '\0' ? s->rewritten : TABLE_AS_IT_IS;
}

static Status save_table(const Static *s, Err *err)
{
    if (s->c->saved == NULL) return OK;
    TableLine *lines = alloc_zeroed((size_t)s->root_count + (size_t)s->table.count + 1, sizeof *lines);
    int count = 0;
    if (lines == NULL) return err_no_memory(err, "the calibration table");
    for (int i = 0; i < s->root_count; i++) {
        if (s->plan.given[s->roots[i]]) continue; /* nobody chose it */
        TableEntry entry = calibration_table_find(&s->table, s->roots[i]);
        Grid g = s->plan.grids[s->roots[i]];
        bool given = entry.state == TABLE_ENDS;
        lines[count++] = (TableLine){ .value = s->roots[i], .method = given ? entry.method : s->methods[i],
                                      .ends = given ? entry.ends : (Ends){ grid_low(g), grid_high(g) } };
    }
    for (ValueId v = 1; v <= s->table.value_count; v++) { /* what was given and has no grid now, so that it can be given again */
        TableEntry entry = calibration_table_find(&s->table, v);
        if (entry.state != TABLE_ABSENT && s->plan.root[v] != v)
            lines[count++] = (TableLine){ .value = v, .ends = entry.ends, .method = entry.method, .is_float = entry.state == TABLE_FLOAT };
    }
    calibration_table_write(s->c->graph, rewritten(s), lines, count, s->c->saved);
    free(lines);
    return s->c->saved->failed ? err_no_memory(err, "the calibration table") : OK;
}

/* With ends that are given and no repairs the trial only tells which layers take uint8 weights. */
static int64_t trial_samples(const QuantizeOptions *o)
{
    bool chooses = o->calibration == CALIBRATE_AUTO || mixed_asked(o);
    for (Repair r = 0; r < REPAIR_COUNT && !chooses; r++) chooses = options_repair(o, r);
    return chooses ? TRIAL_SAMPLES : TRIAL_SAMPLES / TRIAL_SHARE;
}

/* Ends of rescaled tensors fit no others. */
static void check_rewritten(const Static *s)
{
    const char *then = s->table.rewritten, *now = rewritten(s);
    if (s->table.count == 0 || then[0] == '\0' || strcmp(then, now) == 0) return;
    report_warning(s->c, STR("table"), "made for the network rewritten by %s, now by %s: its ends may not fit. Take --repairs, "
                   "--calibration and data as they were, or a new table", then, now);
}

/* x86 multiplies uint8 by int8: ONNX Runtime turns int8 activations into uint8 only where they are read once. */
static void check_int8(const PassContext *c)
{
    const QuantizeOptions *o = c->options;
    if (o->activations != ACTIVATIONS_INT8 || o->target == TARGET_GPU || o->target == TARGET_DOTPROD) return;
    report_warning(c, STR("activations"), "int8: on x86 ONNX Runtime runs layers in float whose input or output is read more than once; "
                   "pare lint tells which. Leave activations out, or name the target (--target=arm-dotprod)");
}

static void check_error(const Static *s)
{
    double db = trial_db(s->error);
    if (db >= WORST_DB) return;
    report_warning(s->c, STR("output"), "SQNR %.1f dB on the calibration data: hardly anything of it is left. One value far beyond the "
                   "others in the data, or a line of the table, does that; pare eval tells what is lost", db);
}

static Status quantize_planned(Static *s, Err *err)
{
    PassContext *c = s->c;
    const QuantizeOptions *o = c->options;
    TRY(trial_new(s->original, c->calibration, trial_samples(o), 0, c->threads, c->max_mem, c->log, &s->trial, err));
    TRY(static_repair_floats(s, err));
    check_rewritten(s);
    TRY(make_plan(s, err));
    TRY(static_calibrate(s, err));
    report_methods(c->record, s);
    TRY(uint8_choose(s, err));
    TRY(mixed_remember(s, err));
    TRY(repair_rounding(s, err));
    TRY(mixed_static(s, err));
    check_error(s);
    report_layers(c, &s->plan, &s->weights);
    TRY(report_float_ops(c, &s->plan, err));
    TRY(save_table(s, err));
    TRY(apply_here(&s->plan, &s->weights, err));
    TRY(products_keep_apart(c->graph, c->record, err));
    graph_remove_dead(c->graph, NULL); /* rows that were written anew */
    if (o->format != FORMAT_QOPERATOR) return OK;
    TRY(form_qoperator(c->graph, c->record, NULL, err));
    graph_remove_dead(c->graph, NULL);
    return engine_refresh(c->graph, err);
}

void static_release(Static *s)
{
    plan_release(&s->plan);
    weight_jobs_release(&s->weights);
    calibration_table_release(&s->table);
    trial_free(s->trial);
    graph_free(s->original);
    graph_free(s->unrepaired);
    free(s->keep);
    free(s->stats);
    free(s->roots);
    free(s->methods);
    free(s->ends);
    free(s->known);
}

Status static_run(PassContext *c, Err *err)
{
    Static s = { .c = c };
    Status status;
    TRY_OUT(graph_clone(c->graph, &s.original, err));
    engine_bind(s.original);
    if (c->text.data != NULL) {
        TRY_OUT(calibration_table_read(c->text, c->text_path, c->graph, &s.table, err));
        TRY_OUT(plan_check_table(c, &s.table, c->text_path, err));
    }
    TRY_OUT(make_plan(&s, err));
    if (!any_layer(&s.plan)) {
        report_layers(c, &s.plan, NULL);
        goto out;
    }
    if (graph_opset(c->graph, STR("")) < MIN_OPSET) { /* only now: a network that stays float keeps its opset */
        TRY_OUT(opset_raise(c->graph, MIN_OPSET, c->record, err));
        TRY_OUT(engine_refresh(c->graph, err));
        TRY_OUT(make_plan(&s, err));
    }
    TRY_OUT(opset_raise_ir(c->graph, MIN_IR, err));
    check_int8(c);
    TRY_OUT(quantize_planned(&s, err));
out:
    static_release(&s);
    return status;
}
