/* Cross-layer equalization before weights are rounded alone: worth it where one scale serves all channels of a weight. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "quantize/repairs.h"
#include "quantize/report.h"
#include "quantize/trial.h"
#include "quantize/weights_mode_private.h"

/* Error of the network g with its weights rounded as they stand. */
static Status plain_error(const Weighted *w, Graph *g, Trial *trial, double *error, Err *err)
{
    PassContext c = *w->c;
    Weighted candidate = { .c = &c };
    Graph *rounded = NULL;
    Status status;
    c.graph = g;
    TRY_OUT(weight_layers_find(&c, false, &candidate.layers, &candidate.count, err));
    TRY_OUT(weighted_make_jobs(&candidate, err));
    TRY_OUT(layers_round_plain(g, &candidate.jobs, c.threads, err));
    TRY_OUT(graph_clone(g, &rounded, err));
    engine_bind(rounded);
    TRY_OUT(weighted_write_rounded(&candidate, rounded, false, err));
    status = trial_error(trial, rounded, error, err);
out:
    weighted_release_jobs(&candidate);
    free(candidate.layers);
    graph_free(rounded);
    return status;
}

static bool wanted(const Weighted *w)
{
    const QuantizeOptions *o = w->c->options;
    bool tensor = false;
    for (int i = 0; i < w->count; i++) tensor |= w->layers[i].reason == NULL && w->layers[i].spec.block < 0;
    return options_repair(o, REPAIR_EQUALIZE) && (tensor || options_named(o, REPAIR_EQUALIZE));
}

static Status judge(const Weighted *w, Graph *g, bool *kept, Err *err)
{
    const PassContext *c = w->c;
    Trial *trial = NULL;
    double before = 0.0, after = 0.0;
    Status status;
    TRY_OUT(trial_new(c->graph, c->calibration, TRIAL_SAMPLES, 0, c->threads, c->max_mem, c->log, &trial, err));
    TRY_OUT(plain_error(w, c->graph, trial, &before, err));
    TRY_OUT(plain_error(w, g, trial, &after, err));
    *kept = report_repair(c->record, repair_names[REPAIR_EQUALIZE], before, after, 1.0);
out:
    trial_free(trial);
    return status;
}

Status weighted_equalize(Weighted *w, Err *err)
{
    PassContext *c = w->c;
    const QuantizeOptions *o = c->options;
    ChannelRanges ranges = { 0 }, copy = { 0 };
    PassRecord none = { 0 };
    Graph *g = NULL;
    Status status;
    int changed = 0;
    if (!wanted(w)) return OK;
    bool data = c->calibration != NULL, kept = options_named(o, REPAIR_EQUALIZE);
    SweepOptions sweep = { .threads = c->threads, .batch = o->batch, .samples = o->samples, .max_mem = c->max_mem, .log = c->log };
    TRY_OUT(graph_clone(c->graph, &g, err));
    engine_bind(g);
    if (data) TRY_OUT(repairs_measure(g, c->calibration, &sweep, &ranges, err));
    if (data) TRY_OUT(channel_ranges_clone(&ranges, &copy, err));
    TRY_OUT(equalize_graph(g, data ? &copy : NULL, &none, &changed, err));
    if (changed == 0) goto out;
    if (data) TRY_OUT(judge(w, g, &kept, err));
    if (!kept) goto out; /* without data only when asked for by name */
    TRY_OUT(equalize_graph(c->graph, data ? &ranges : NULL, c->record, &changed, err));
    engine_bind(c->graph);
    TRY_OUT(engine_infer(c->graph, err));
    free(w->layers);
    w->layers = NULL;
    status = weight_layers_find(c, w->tables_only, &w->layers, &w->count, err);
out:
    record_release(&none);
    channel_ranges_release(&ranges);
    channel_ranges_release(&copy);
    graph_free(g);
    return status;
}
