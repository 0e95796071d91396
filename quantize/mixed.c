#include "quantize/mixed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "graph/edit.h"
#include "quantize/accuracy.h"
#include "quantize/file_size.h"

#define EXTRA_CHECKS 24 /* layers tried back in integers at the end, one by one */

typedef struct Mixed {
    Static *s;
    Accuracy *accuracy;  /* NULL: no accuracy asked for */
    int *layers;         /* of the plan, quantized; the most sensitive first */
    double *error;       /* [layer of the plan]: alone in integers */
    double *bytes;       /* [layer of the plan]: what float costs more */
    int count;
    bool *keep;          /* [node] */
    double drop, size;   /* of the choice */
    double least;        /* size with nothing kept */
} Mixed;

bool mixed_asked(const QuantizeOptions *o)
{
    return o->max_drop >= 0.0 || o->max_size != NULL;
}

double mixed_limit(const QuantizeOptions *o, const Graph *g)
{
    double whole = file_size(g), limit = INFINITY;
    if (o->max_size != NULL) size_parse(o->max_size, &whole, &limit);
    return limit;
}

void mixed_report(PassRecord *record, Str layer, double error, const char *choice, double bytes)
{
    record_add(record, RECORD_NOTE, layer, "sensitivity: alone in integers it leaves %.2f dB; %s", trial_db(error), choice);
    record_number(record, "sensitivity_db", trial_db(error));
    record_number(record, "bytes_more", bytes);
}

Status mixed_remember(Static *s, Err *err)
{
    if (!mixed_asked(s->c->options)) return OK;
    TRY(graph_clone(s->c->graph, &s->unrepaired, err));
    engine_bind(s->unrepaired);
    return OK;
}

/* ---- candidates ---- */

/* The plan with some more layers in float. What carries a grid then carried one before, be it as another value's. */
static Status plan_with(const Static *s, const bool *keep, Plan *out, Err *err)
{
    PlanLimits limits = { &s->table, keep };
    const Plan *old = &s->plan;
    TRY(plan_make(s->c, &limits, out, err));
    if (out->layer_count != old->layer_count) return err_set(err, ERR_BUG, "the layers changed while they were planned");
    for (ValueId v = 1; v <= old->value_count; v++) {
        out->grids[v] = old->grids[v];
        if (out->root[v] == v && old->root[v] != 0) out->grids[v] = old->grids[old->root[v]];
    }
    for (int i = 0; i < out->layer_count; i++) out->layers[i].shifted = old->layers[i].shifted;
    return OK;
}

static Status restore_biases(const Static *s, const bool *keep, Graph *g, Err *err)
{
    for (int i = 0; i < s->plan.layer_count; i++) {
        const PlannedLayer *l = &s->plan.layers[i];
        if (l->reason == NULL && keep[l->layer.node]) TRY(layer_copy_bias(s->unrepaired, g, &l->form, err));
    }
    return OK;
}

/* The network in integers but for the layers to keep. */
static Status make_candidate(Static *s, const bool *keep, Graph **out, Err *err)
{
    Plan plan = { 0 };
    Graph *g = NULL;
    Status status;
    *out = NULL;
    TRY_OUT(plan_with(s, keep, &plan, err));
    TRY_OUT(graph_clone(s->c->graph, &g, err));
    engine_bind(g);
    TRY_OUT(restore_biases(s, keep, g, err));
    plan.g = g;
    TRY_OUT(apply_here(&plan, &s->weights, err));
    *out = g;
    g = NULL;
out:
    plan_release(&plan);
    graph_free(g);
    return status;
}

static NodeId node_of(const Mixed *m, int layer)
{
    return m->s->plan.layers[layer].layer.node;
}

/* ---- sensitivities ---- */

/* Layers [from, from + count) of the order, each alone in integers. */
static Status measure_layers(Mixed *m, int from, int count, Err *err)
{
    Graph *alone[TRIAL_TOGETHER] = { NULL };
    Judgement found[TRIAL_TOGETHER];
    Status status = OK;
    for (int k = 0; k < count && status == OK; k++) {
        for (int i = 0; i < m->count; i++) m->keep[node_of(m, m->layers[i])] = i != from + k;
        status = make_candidate(m->s, m->keep, &alone[k], err);
    }
    if (status == OK) status = trial_judge(m->s->trial, alone, count, INFINITY, found, err);
    for (int k = 0; k < count; k++) {
        int layer = m->layers[from + k];
        if (status == OK) m->error[layer] = found[k].error;
        m->bytes[layer] = 3.0 * (double)form_weights(&m->s->plan.layers[layer].form);
        graph_free(alone[k]);
    }
    return status;
}

static void sort_layers(Mixed *m, bool by_byte)
{
    for (int i = 1; i < m->count; i++) { /* insertion: the order of equals is the network's */
        int layer = m->layers[i], at = i;
        double worth = m->error[layer] / (by_byte ? m->bytes[layer] : 1.0);
        for (; at > 0; at--) {
            int other = m->layers[at - 1];
            if (m->error[other] / (by_byte ? m->bytes[other] : 1.0) >= worth) break;
            m->layers[at] = other;
        }
        m->layers[at] = layer;
    }
}

static Status measure(Mixed *m, Err *err)
{
    int together = trial_together(m->s->trial);
    for (int i = 0; i < m->count; i += together) TRY(measure_layers(m, i, m->count - i < together ? m->count - i : together, err));
    return OK;
}

/* ---- accuracy ---- */

/* The first `kept` of the order stay float, `but` of them (an index, -1: none) does not. */
static void keep_first(Mixed *m, int kept)
{
    for (int i = 0; i < m->count; i++) m->keep[node_of(m, m->layers[i])] = i < kept;
}

static Status judge(Mixed *m, double *drop, Err *err)
{
    Graph *g;
    TRY(make_candidate(m->s, m->keep, &g, err));
    Status status = accuracy_drop(m->accuracy, g, drop, err);
    graph_free(g);
    return status;
}

/* The least number of layers, most sensitive first, with which the accuracy holds; all of them lose nothing. */
static Status bisect(Mixed *m, double allowed, int *kept, Err *err)
{
    int low = 0, high = m->count; /* `high` holds */
    double drop;
    keep_first(m, 0);
    TRY(judge(m, &m->drop, err));
    if (m->drop <= allowed) high = 0;
    while (low + 1 < high) {
        int middle = low + (high - low) / 2;
        keep_first(m, middle);
        TRY(judge(m, &drop, err));
        if (drop <= allowed) {
            high = middle;
            m->drop = drop;
        } else {
            low = middle;
        }
    }
    *kept = high;
    keep_first(m, high);
    return high == m->count ? judge(m, &m->drop, err) : OK;
}

/* Layers that the order put first but that this network can do with in integers. */
static Status give_back(Mixed *m, double allowed, int kept, Err *err)
{
    int checks = 0;
    for (int i = kept - 1; i >= 0 && kept > 1 && checks < EXTRA_CHECKS; i--, checks++) {
        double drop;
        NodeId node = node_of(m, m->layers[i]);
        m->keep[node] = false;
        TRY(judge(m, &drop, err));
        if (drop <= allowed) m->drop = drop;
        else m->keep[node] = true;
    }
    return OK;
}

static Status hold_accuracy(Mixed *m, Err *err)
{
    PassContext *c = m->s->c;
    const QuantizeOptions *o = c->options;
    int kept;
    if (o->max_drop < 0.0) return OK;
    TRY(accuracy_new(m->s->original, c->calibration, o->samples, TRIAL_SAMPLES, c->threads, c->max_mem, c->log, &m->accuracy, err));
    sort_layers(m, false);
    TRY(bisect(m, o->max_drop, &kept, err));
    return give_back(m, o->max_drop, kept, err);
}

/* ---- size ---- */

static Status measure_size(const Mixed *m, double *size, Err *err)
{
    Graph *g;
    TRY(make_candidate(m->s, m->keep, &g, err));
    *size = file_size(g);
    graph_free(g);
    return OK;
}

/* Layers back in integers, those that lose least a byte first, until the size holds. */
static Status shrink(Mixed *m, double limit, Err *err)
{
    sort_layers(m, true);
    for (int i = m->count - 1; i >= 0 && m->size > limit; i--) {
        NodeId node = node_of(m, m->layers[i]);
        if (!m->keep[node]) continue;
        m->keep[node] = false;
        TRY(measure_size(m, &m->size, err));
    }
    return m->accuracy != NULL ? judge(m, &m->drop, err) : OK;
}

/* Room that is left goes to layers in float, those that gain most a byte first. */
static Status spend(Mixed *m, double limit, Err *err)
{
    double error = m->s->error, now;
    Graph *g;
    sort_layers(m, true);
    for (int i = 0; i < m->count; i++) {
        NodeId node = node_of(m, m->layers[i]);
        double size;
        m->keep[node] = true;
        TRY(measure_size(m, &size, err));
        if (size <= limit) m->size = size;
        else m->keep[node] = false;
    }
    TRY(make_candidate(m->s, m->keep, &g, err));
    Status status = trial_error(m->s->trial, g, &now, err);
    graph_free(g);
    if (status == OK && now > error) {
        keep_first(m, 0);
        m->size = m->least;
    }
    return status;
}

static Status hold_size(Mixed *m, Err *err)
{
    const QuantizeOptions *o = m->s->c->options;
    double limit = mixed_limit(o, m->s->original);
    TRY(measure_size(m, &m->size, err));
    if (o->max_size == NULL) return OK;
    if (m->size > limit) return shrink(m, limit, err);
    return o->max_drop < 0.0 ? spend(m, limit, err) : OK;
}

/* ---- the whole ---- */

static void report(const Mixed *m)
{
    const Static *s = m->s;
    const QuantizeOptions *o = s->c->options;
    PassRecord *record = s->c->record;
    int kept = 0;
    sort_layers((Mixed *)(uintptr_t)m, false);
    for (int i = 0; i < m->count; i++) {
        int layer = m->layers[i];
        bool floats = m->keep[node_of(m, layer)];
        kept += floats;
        mixed_report(record, s->plan.layers[layer].layer.name, m->error[layer], floats ? "kept in float" : "8 bits",
                     floats ? m->bytes[layer] : 0.0);
    }
    if (m->accuracy != NULL) {
        record_add(record, RECORD_NOTE, STR("mixed precision"), "%d of %d layers stay float; %s %.2f points over %lld predictions "
                   "(at most %g: %s)", kept, m->count,
                   accuracy_labelled(m->accuracy) ? "accuracy drops by" : "top-1 differs from the original's by", m->drop,
                   (long long)accuracy_positions(m->accuracy), o->max_drop, m->drop <= o->max_drop ? "met" : "missed");
        record_number(record, "accuracy_drop", m->drop);
    } else {
        record_add(record, RECORD_NOTE, STR("mixed precision"), "%d of %d layers stay float", kept, m->count);
    }
    record_number(record, "layers_float", kept);
    record_number(record, "bytes", m->size);
    if (o->max_size == NULL) return;
    double limit = mixed_limit(o, s->original);
    record_add(record, RECORD_NOTE, STR("max-size"), "about %.0f bytes of at most %.0f: %s", m->size, limit,
               m->size <= limit ? "met" : "missed, and no smaller with all layers in 8 bits");
}

static Status take(Mixed *m, Err *err)
{
    Static *s = m->s;
    Plan plan = { 0 };
    Status status = plan_with(s, m->keep, &plan, err);
    if (status == OK) status = restore_biases(s, m->keep, s->c->graph, err);
    if (status != OK) {
        plan_release(&plan);
        return status;
    }
    plan_release(&s->plan);
    s->plan = plan;
    free(s->keep);
    s->keep = m->keep; /* which the plan's limits point to */
    m->keep = NULL;
    return static_error(s, s->c->graph, &s->error, err);
}

static Status allocate(Mixed *m, Err *err)
{
    const Plan *p = &m->s->plan;
    size_t count = (size_t)p->layer_count + 1;
    m->layers = alloc_zeroed(count, sizeof *m->layers);
    m->error = alloc_zeroed(count, sizeof *m->error);
    m->bytes = alloc_zeroed(count, sizeof *m->bytes);
    m->keep = alloc_zeroed((size_t)m->s->c->graph->node_count + 1, sizeof *m->keep);
    if (m->layers == NULL || m->error == NULL || m->bytes == NULL || m->keep == NULL) return err_no_memory(err, "mixed precision");
    for (int i = 0; i < p->layer_count; i++)
        if (p->layers[i].reason == NULL) m->layers[m->count++] = i;
    return OK;
}

Status mixed_static(Static *s, Err *err)
{
    Mixed m = { .s = s };
    Status status;
    if (!mixed_asked(s->c->options)) return OK;
    TRY_OUT(allocate(&m, err));
    TRY_OUT(measure(&m, err));
    keep_first(&m, 0);
    TRY_OUT(measure_size(&m, &m.least, err));
    TRY_OUT(hold_accuracy(&m, err));
    TRY_OUT(hold_size(&m, err));
    report(&m);
    TRY_OUT(take(&m, err));
out:
    accuracy_free(m.accuracy);
    free(m.layers);
    free(m.error);
    free(m.bytes);
    free(m.keep);
    return status;
}
