/* The rewrites of the float network that make it easier to quantize, each tried and kept where the output of a simply quantized network
 * gains by it: what helps one network harms another, and what helps alone may harm with the next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "graph/edit.h"
#include "quantize/repairs.h"
#include "quantize/report.h"
#include "quantize/static.h"

#define QUICK_SAMPLES 32 /* that the grids of a try are made from, and that it is judged by */
#define RANGE_SAMPLES 64 /* that ranges of channels are measured on */
#define WORTH 0.92       /* of the error so far: what a rewrite must get below */
#define LEAST_SHARE 0.02 /* of the multiplications: what smoothing must reach to be tried */

typedef Status (*Rewrite)(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err);

static Status absorb_lowest(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    return absorb_graph(g, ranges, -1.0, record, changed, err);
}

static const struct {
    Repair repair;
    Rewrite run;
} rewrites[] = { { REPAIR_EQUALIZE, equalize_graph }, { REPAIR_BALANCE, balance_graph }, { REPAIR_ABSORB, absorb_lowest } };

typedef struct Floats {
    Static *s;
    Trial *trial;         /* on the samples that the grids of a try are made from: no value is cut that no grid has seen */
    ChannelRanges ranges; /* of the network at hand */
    double error;         /* of the network at hand, quantized simply, */
    double bound;         /* and what a try must get below with minmax alone for anything else to be looked at; 0: not known yet */
} Floats;

/* ---- a simply quantized network ---- */

static Status quick_error(Floats *f, Graph *g, double *error, Err *err)
{
    const Static *s = f->s;
    PassContext c = *s->c;
    PassRecord none = { 0 };
    QuantizeOptions o = *(const QuantizeOptions *)c.options;
    Static quick = { .c = &c, .trial = f->trial, .keep = s->keep, .quick = true, .bound = f->bound };
    Status status;
    c.graph = g;
    c.record = &none;
    c.options = &o;
    c.cache_dir = NULL;
    c.log = NULL;
    if (s->table.rewritten[0] == '\0') quick.table = s->table; /* else of a network rewritten already: judged as it was then */
    if (o.samples == 0 || o.samples > QUICK_SAMPLES) o.samples = QUICK_SAMPLES;
    TRY_OUT(plan_make(&c, &(PlanLimits){ &s->table, s->keep }, &quick.plan, err));
    TRY_OUT(static_calibrate(&quick, err));
    *error = quick.error;
    if (f->bound == 0.0) f->bound = quick.first_error;
out:
    quick.trial = NULL; /* borrowed, as these are */
    quick.table = (CalibrationTable){ 0 };
    quick.keep = NULL;
    static_release(&quick);
    record_release(&none);
    return status;
}

/* ---- rewrites of the whole network ---- */

static void remember(Static *s, const char *name)
{
    size_t length = strlen(s->rewritten);
    snprintf(s->rewritten + length, sizeof s->rewritten - length, "%s%s", length > 0 ? " " : "", name);
}

/* What was rewritten is a change of the network; a place left alone leaves no layer in float: a note. */
static void forward(PassRecord *to, const PassRecord *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const RecordEntry *e = &from->entries[i];
        Str object = { e->object, strlen(e->object) };
        record_add(to, e->kind == RECORD_SKIPPED ? RECORD_NOTE : e->kind, object, "%s", e->text);
        for (int k = 0; k < e->number_count; k++) record_number(to, e->numbers[k].name, e->numbers[k].value);
    }
    to->failed |= from->failed;
}

static Status try_rewrite(Floats *f, int which, Err *err)
{
    PassContext *c = f->s->c;
    Graph *g = NULL;
    ChannelRanges ranges = { 0 };
    PassRecord none = { 0 };
    int changed = 0;
    double error = 0.0;
    Status status;
    TRY_OUT(graph_clone(c->graph, &g, err));
    engine_bind(g);
    TRY_OUT(channel_ranges_clone(&f->ranges, &ranges, err));
    TRY_OUT(rewrites[which].run(g, &ranges, &none, &changed, err));
    if (changed == 0) {
        report_not_tried(c, rewrites[which].repair, "it finds nothing to change in this network");
        goto out;
    }
    status = quick_error(f, g, &error, err);
    if (status == ERR_DATA) { /* the network itself was measured before: what is not finite now comes of the rewrite */
        record_add(c->record, RECORD_NOTE, str_of(repair_names[rewrites[which].repair]), "not kept: it leaves float32");
        status = OK;
        goto out;
    }
    if (status != OK) goto out;
    bool kept = report_repair(c->record, repair_names[rewrites[which].repair], f->error, error, WORTH);
    if (!kept) goto out;
    f->error = error;
    record_release(&none);
    TRY_OUT(rewrites[which].run(c->graph, &f->ranges, &none, &changed, err));
    forward(c->record, &none);
    remember(f->s, repair_names[rewrites[which].repair]);
out:
    record_release(&none);
    channel_ranges_release(&ranges);
    graph_free(g);
    return status;
}

/* ---- smoothing, place by place ---- */

/* Error of the network with these strengths; -1 leaves a place alone. */
static Status smooth_error(Floats *f, const Places *p, const double *strength, double *error, Err *err)
{
    Graph *g = NULL;
    ChannelRanges ranges = { 0 };
    PassRecord none = { 0 };
    Status status;
    TRY_OUT(graph_clone(f->s->c->graph, &g, err));
    engine_bind(g);
    TRY_OUT(channel_ranges_clone(&f->ranges, &ranges, err));
    for (int i = 0; i < p->count; i++) {
        bool changed;
        if (strength[i] >= 0.0) TRY_OUT(smooth_apply(g, &p->items[i], strength[i], &ranges, &none, &changed, err));
    }
    TRY_OUT(engine_refresh(g, err)); /* some places get a Mul */
    status = quick_error(f, g, error, err);
out:
    record_release(&none);
    channel_ranges_release(&ranges);
    graph_free(g);
    return status;
}

/* Strengths place by place from the model, or the same for all, whatever the network's output says. */
static Status search_strengths(Floats *f, const Places *p, double *strength, double *best, Err *err)
{
    static const double same[] = { 0.5, 0.65, 0.8 };
    const Graph *g = f->s->c->graph;
    double *tried = alloc_array((size_t)p->count + 1, sizeof *tried), error;
    if (tried == NULL) return err_no_memory(err, "smoothing");
    Status status = OK;
    *best = INFINITY;
    for (int k = -1; k < (int)(sizeof same / sizeof *same); k++) {
        for (int i = 0; i < p->count; i++) {
            tried[i] = k < 0 ? -1.0 : same[k];
            if (k < 0) TRY_OUT(smooth_strength(g, &p->items[i], &f->ranges, &tried[i], err));
        }
        TRY_OUT(smooth_error(f, p, tried, &error, err));
        if (!(error < *best)) continue;
        *best = error;
        memcpy(strength, tried, (size_t)p->count * sizeof *tried);
    }
out:
    free(tried);
    return status;
}

/* Share of the network's multiplications that the layers to be smoothed do. */
static double share_of(const Static *s, const Places *places)
{
    double all = 0.0, theirs = 0.0;
    for (int i = 0; i < s->plan.layer_count; i++) {
        const PlannedLayer *l = &s->plan.layers[i];
        double work = plan_work(s->c->graph, l);
        bool found = false;
        for (int k = 0; k < places->count && !found; k++)
            for (int r = 0; r < places->items[k].reader_count; r++) found |= places->items[k].readers[r].node == l->layer.node;
        all += work;
        if (found) theirs += work;
    }
    return all > 0.0 ? theirs / all : 1.0;
}

static Status smooth(Floats *f, Err *err)
{
    PassContext *c = f->s->c;
    Places p = { 0 };
    double best = f->error, *strength = NULL;
    Status status;
    TRY_OUT(smooth_find(c->graph, &p, err));
    if (p.count == 0) {
        report_not_tried(c, REPAIR_SMOOTH, "no products of rows whose inputs it could rescale");
        goto out;
    }
    double share = share_of(f->s, &p);
    if (share < LEAST_SHARE) {
        record_add(c->record, RECORD_NOTE, STR("smooth"), "not tried: the layers it could help do %.2f %% of the multiplications",
                   100.0 * share);
        goto out;
    }
    strength = alloc_array((size_t)p.count + 1, sizeof *strength);
    if (strength == NULL) {
        status = err_no_memory(err, "smoothing");
        goto out;
    }
    TRY_OUT(search_strengths(f, &p, strength, &best, err));
    bool kept = report_repair(c->record, repair_names[REPAIR_SMOOTH], f->error, best, WORTH);
    for (int i = 0; kept && i < p.count; i++) {
        bool changed;
        if (strength[i] >= 0.0) TRY_OUT(smooth_apply(c->graph, &p.items[i], strength[i], &f->ranges, c->record, &changed, err));
    }
    if (kept) {
        f->error = best;
        remember(f->s, repair_names[REPAIR_SMOOTH]);
    }
out:
    places_release(&p);
    free(strength);
    return status;
}

/* Whether a Clip can be left out is read off the ranges of channels: all samples count. */
static bool has_clip(const Graph *g)
{
    for (uint32_t i = 0; i < g->order_count; i++)
        if (str_is(graph_node(g, g->order[i])->type, "Clip")) return true;
    return false;
}

/* In sequences rare words make a channel's largest number: one not seen would be made larger still. */
static Status smooths_sequences(const Graph *g, bool *found, Err *err)
{
    Places p = { 0 };
    *found = false;
    TRY(smooth_find(g, &p, err));
    for (int i = 0; i < p.count; i++) {
        const Place *place = &p.items[i];
        *found |= place->reader_count > 0 && graph_value(g, place->spreads[place->readers[0].spread].value)->shape.rank > 2;
    }
    places_release(&p);
    return OK;
}

static bool any_asked(const QuantizeOptions *o)
{
    return options_repair(o, REPAIR_EQUALIZE) || options_repair(o, REPAIR_BALANCE) || options_repair(o, REPAIR_ABSORB)
        || options_repair(o, REPAIR_SMOOTH);
}

Status static_repair_floats(Static *s, Err *err)
{
    PassContext *c = s->c;
    const QuantizeOptions *o = c->options;
    Floats f = { .s = s };
    Status status;
    bool sequences = false;
    if (!any_asked(o)) return OK;
    if (strcmp(s->table.rewritten, TABLE_AS_IT_IS) == 0) {
        for (Repair r = 0; r < REPAIR_GPTQ; r++) report_not_tried(c, r, "the table belongs to the network as it is");
        return OK;
    }
    if (options_repair(o, REPAIR_SMOOTH)) TRY(smooths_sequences(c->graph, &sequences, err));
    int64_t samples = sequences || has_clip(c->graph) || (o->samples > 0 && o->samples < RANGE_SAMPLES) ? o->samples : RANGE_SAMPLES;
    SweepOptions sweep = { .threads = c->threads, .batch = o->batch, .samples = samples, .max_mem = c->max_mem, .log = c->log };
    TRY_OUT(repairs_measure(c->graph, c->calibration, &sweep, &f.ranges, err));
    if (f.ranges.count == 0) { /* no place for any of them */
        for (int i = 0; i < (int)(sizeof rewrites / sizeof *rewrites); i++)
            report_not_tried(c, rewrites[i].repair, "it finds nothing to change in this network");
        report_not_tried(c, REPAIR_SMOOTH, "no products of rows whose inputs it could rescale");
        goto out;
    }
    TRY_OUT(trial_new(s->original, c->calibration, TRIAL_SAMPLES, QUICK_SAMPLES, c->threads, c->max_mem, c->log, &f.trial, err));
    TRY_OUT(quick_error(&f, c->graph, &f.error, err));
    for (int i = 0; i < (int)(sizeof rewrites / sizeof *rewrites); i++)
        if (options_repair(o, rewrites[i].repair)) TRY_OUT(try_rewrite(&f, i, err));
    if (options_repair(o, REPAIR_SMOOTH)) TRY_OUT(smooth(&f, err));
    status = engine_refresh(c->graph, err);
out:
    trial_free(f.trial);
    channel_ranges_release(&f.ranges);
    return status;
}
