#include "quantize/uint8.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "quantize/latency.h"

#define WORTH_A_LOOK 0.95 /* of the error: all layers without the rule must get below it before single ones are tried */
#define TRIED 12          /* layers tried one by one, those the rule costs most first */
#define LEAST_GAIN 0.1    /* of the error: what one layer must take off it at least, */
#define GAIN_BY_TIME 2.0  /* and for each part by which the network slows down */
#define LOSS_RATIO 1.5    /* of a layer's squared weight error under the rule to that without: what makes it a candidate */

typedef struct Candidate {
    int layer;    /* of the plan */
    double loss;  /* squared weight error that the rule adds, of the squared weights */
    double time;  /* share by which the network slows down */
} Candidate;

/* ---- time ---- */

static LatencyKind kind_of(const PlannedLayer *l)
{
    if (l->form.kind == FORM_ROWS) return LATENCY_MATRIX;
    if (l->rows.channels == 1 && l->form.groups > 1) return LATENCY_DEPTHWISE;
    return l->rows.taps == 1 ? LATENCY_POINTWISE : LATENCY_CONV;
}

static double time_of(const Graph *g, const PlannedLayer *l)
{
    LatencyKind kind = kind_of(l);
    return plan_work(g, l) * (l->reason != NULL ? 1.0 : l->shifted ? latency_table[kind].u8 : latency_table[kind].s8);
}

static double network_time(const Static *s)
{
    double sum = 0.0;
    for (int i = 0; i < s->plan.layer_count; i++)
        if (s->plan.layers[i].reason == NULL) sum += time_of(s->c->graph, &s->plan.layers[i]);
    return sum;
}

/* ---- weights ---- */

static bool ruled(const Static *s, int layer)
{
    int job = s->weights.of_layer[layer];
    return job >= 0 && s->weights.jobs.items[job].spec.partner != NULL;
}

/* Tied layers are stored once: they change together. */
static void shift(Static *s, int layer, bool shifted)
{
    const PlannedLayer *l = &s->plan.layers[layer];
    for (int i = 0; i < s->plan.layer_count; i++) {
        PlannedLayer *other = &s->plan.layers[i];
        if (other->reason == NULL && other->layer.weight == l->layer.weight && (i == layer || ruled(s, i))) other->shifted = shifted;
    }
}

static Status remake(const Static *s, WeightJobs *out, Err *err)
{
    TRY(weight_jobs_make(&s->plan, out, err));
    return layers_round_plain(s->c->graph, &out->jobs, s->c->threads, err);
}

/* Squared error of the weights of the layer's job, as a share of their squares. */
static double loss_of(const Graph *g, const PlannedLayer *l, const WeightJobs *w, int layer)
{
    double db = weights_sqnr(g, &l->form, &w->jobs.items[w->of_layer[layer]].rounded);
    return isfinite(db) ? pow(10.0, -0.1 * db) : 0.0;
}

/* The network's error with other jobs in the place of its own. */
static Status error_with(Static *s, WeightJobs *w, double *error, Err *err)
{
    WeightJobs own = s->weights;
    s->weights = *w;
    Status status = static_error(s, s->c->graph, error, err);
    *w = s->weights;
    s->weights = own;
    return status;
}

/* ---- candidates ---- */

static int costlier(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return x->loss < y->loss ? 1 : x->loss > y->loss ? -1 : x->layer - y->layer;
}

/* Layers that lose by the rule; `without`: jobs of the plan with all of them shifted. */
static int find_candidates(const Static *s, const WeightJobs *without, Candidate *out)
{
    double whole = network_time(s);
    int count = 0;
    for (int i = 0; i < s->plan.layer_count; i++) {
        const PlannedLayer *l = &s->plan.layers[i];
        if (l->reason != NULL || !ruled(s, i)) continue;
        double with = loss_of(s->c->graph, l, &s->weights, i), free_loss = loss_of(s->c->graph, l, without, i);
        LatencyKind kind = kind_of(l);
        double slower = plan_work(s->c->graph, l) * (latency_table[kind].u8 - latency_table[kind].s8);
        if (with < LOSS_RATIO * free_loss || with == 0.0) continue;
        out[count++] = (Candidate){ i, with - free_loss, whole > 0.0 ? fmax(slower, 0.0) / whole : 0.0 };
    }
    qsort(out, (size_t)count, sizeof *out, costlier);
    return count < TRIED ? count : TRIED;
}

static void set_all(Static *s, bool shifted)
{
    for (int i = 0; i < s->plan.layer_count; i++)
        if (s->plan.layers[i].reason == NULL && ruled(s, i)) s->plan.layers[i].shifted = shifted;
}

/* Kept where the error falls by enough for the time. */
static Status try_layer(Static *s, const Candidate *c, Err *err)
{
    WeightJobs w = { 0 };
    double error, before = s->error;
    Status status;
    const PlannedLayer *l = &s->plan.layers[c->layer];
    if (l->shifted) return OK; /* with a layer that shares its weight */
    shift(s, c->layer, true);
    TRY_OUT(remake(s, &w, err));
    TRY_OUT(error_with(s, &w, &error, err));
    if (before - error > fmax(LEAST_GAIN, GAIN_BY_TIME * c->time) * before) {
        WeightJobs old = s->weights;
        s->weights = w;
        w = old;
        s->error = error;
        record_add(s->c->record, RECORD_NOTE, l->layer.name, "uint8 weights: output SQNR %.2f dB, was %.2f dB under the pair rule; about "
                   "%.1f %% slower on x86 without VNNI", trial_db(error), trial_db(before), 100.0 * c->time);
        record_number(s->c->record, "gain_db", trial_db(error) - trial_db(before));
    } else {
        shift(s, c->layer, false);
    }
out:
    weight_jobs_release(&w);
    return status;
}

/* ---- the whole ---- */

static bool any_ruled(const Static *s)
{
    for (int i = 0; i < s->plan.layer_count; i++)
        if (ruled(s, i)) return true;
    return false;
}

Status uint8_choose(Static *s, Err *err)
{
    WeightJobs without = { 0 };
    Candidate *candidates = NULL;
    double error;
    int count = 0;
    Status status;
    if (!any_ruled(s)) return OK;
    set_all(s, true);
    status = remake(s, &without, err);
    if (status == OK) status = error_with(s, &without, &error, err);
    set_all(s, false);
    if (status != OK) goto out;
    double cost = trial_db(error) - trial_db(s->error);
    record_add(s->c->record, RECORD_NOTE, STR("pair rule"), "it costs %.2f dB of the output, weights rounded as they stand", cost);
    record_number(s->c->record, "cost_db", cost);
    if (error > WORTH_A_LOOK * s->error) goto out;
    candidates = alloc_zeroed((size_t)s->plan.layer_count + 1, sizeof *candidates);
    TRY_OUT(candidates != NULL ? OK : err_no_memory(err, "layers"));
    count = find_candidates(s, &without, candidates);
    for (int i = 0; i < count; i++) TRY_OUT(try_layer(s, &candidates[i], err));
out:
    weight_jobs_release(&without);
    free(candidates);
    return status;
}
