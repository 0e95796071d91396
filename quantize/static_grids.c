/* Which ends each activation gets. One sweep gives ranges and histograms of all; with `auto` the methods are tried as a whole, then
 * tensors in groups, each time by what the network's output loses on a few samples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "quantize/static.h"

#define TRIAL_GROUPS 8
#define WORTH 0.98  /* of the error so far: what a change must get below */
#define APART 0.02  /* of a range: what makes two methods differ for a tensor */

static Grid make_grid(const Static *s, Ends e)
{
    const QuantizeOptions *o = s->c->options;
    return options_int8(o) ? grid_make(e.low, e.high, DT_INT8, o->target == TARGET_GPU, false) : grid_activation(e.low, e.high);
}

/* By a method, of what was seen; searched once. */
static Ends searched(const Static *s, int i, Calibration method)
{
    const QuantizeOptions *o = s->c->options;
    size_t at = (size_t)method * (size_t)s->root_count + (size_t)i;
    if (!s->known[at]) s->ends[at] = calibrate_ends(method, &s->stats[i], options_percentile(o));
    s->known[at] = true;
    return s->ends[at];
}

static Ends ends_of(const Static *s, int i, Calibration method)
{
    TableEntry entry = calibration_table_find(&s->table, s->roots[i]);
    return entry.state == TABLE_ENDS ? entry.ends : searched(s, i, method);
}

static void set_method(Static *s, int i, Calibration method)
{
    s->methods[i] = method;
    if (!s->plan.given[s->roots[i]]) s->plan.grids[s->roots[i]] = make_grid(s, ends_of(s, i, method));
}

static Status gather(Static *s, Err *err)
{
    PassContext *c = s->c;
    const QuantizeOptions *o = c->options;
    LayerStats *stats = NULL;
    Status status = OK;
    int count = 0;
    for (ValueId v = 1; v <= s->plan.value_count; v++) count += s->plan.root[v] == v;
    s->roots = alloc_zeroed((size_t)count + 1, sizeof *s->roots);
    s->stats = alloc_zeroed((size_t)count + 1, sizeof *s->stats);
    s->methods = alloc_zeroed((size_t)count + 1, sizeof *s->methods);
    s->ends = alloc_zeroed((size_t)count + 1, CALIBRATE_METHODS * sizeof *s->ends);
    s->known = alloc_zeroed((size_t)count + 1, CALIBRATE_METHODS);
    if (s->roots == NULL || s->stats == NULL || s->methods == NULL || s->ends == NULL || s->known == NULL)
        return err_no_memory(err, "calibration");
    for (ValueId v = 1; v <= s->plan.value_count; v++)
        if (s->plan.root[v] == v) s->roots[s->root_count++] = v;
    bool ends = o->calibration == CALIBRATE_MINMAX || o->calibration == CALIBRATE_MOVING || o->calibration == CALIBRATE_MEAN;
    LayerStatsOptions options = { .threads = c->threads, .batch = o->batch, .samples = o->samples, .seed = c->seed, .max_mem = c->max_mem,
                                  .values_only = true, .ends_only = ends, .values = s->roots, .value_count = s->root_count,
                                  .cache_dir = c->cache_dir, .log = c->log };
    TRY_OUT(layer_stats_gather(c->graph, c->calibration, &options, &stats, err));
    for (int i = 0; i < s->root_count; i++) {
        const ActivationStats *a = layer_stats_activation(stats, s->roots[i]);
        if (a == NULL || a->count == 0) {
            status = err_set(err, ERR_DATA, "'%.*s' was never computed on the calibration data",
                             STR_ARG(graph_value(c->graph, s->roots[i])->name));
            goto out;
        }
        s->stats[i] = *a;
    }
out:
    layer_stats_free(stats);
    return status;
}

typedef Status (*Judge)(Trial *t, const Graph *candidate, double *error, Err *err);

static Status judge(Static *s, const Graph *g, const WeightJobs *w, Judge by, double *error, Err *err)
{
    Graph *candidate;
    TRY(apply_plan(&s->plan, g, w, &candidate, err));
    Status status = by(s->trial, candidate, error, err);
    graph_free(candidate);
    return status;
}

Status static_error(Static *s, const Graph *g, double *error, Err *err)
{
    return judge(s, g, &s->weights, trial_error, error, err);
}

Status static_floor(Static *s, const Graph *g, double *error, Err *err)
{
    return judge(s, g, NULL, trial_error, error, err);
}

/* ---- auto ---- */

static const Calibration tried[] = { CALIBRATE_MINMAX, CALIBRATE_MSE, CALIBRATE_MEAN, CALIBRATE_PERCENTILE, CALIBRATE_ENTROPY };
#define TRIED ((int)(sizeof tried / sizeof *tried))
#define QUICK_TRIED 2 /* minmax and mse */

static void set_methods(Static *s, Calibration method)
{
    if (s->root_count == 0) return;
#pragma omp parallel for schedule(dynamic) num_threads(s->c->threads < 1 ? 1 : s->c->threads)
    for (int i = 0; i < s->root_count; i++) searched(s, i, method);
    for (int i = 0; i < s->root_count; i++) set_method(s, i, method);
}

static bool apart(const Static *s, int i, Calibration a, Calibration b)
{
    Ends x = ends_of(s, i, a), y = ends_of(s, i, b);
    double width = fmax(x.high - x.low, 1e-30);
    return fabs(x.low - y.low) > APART * width || fabs(x.high - y.high) > APART * width;
}

/* The tensors of one group that another method would treat differently take it; false: none would. */
static bool switch_group(Static *s, int group, Calibration method, Calibration *before)
{
    int first = group * s->root_count / TRIAL_GROUPS, end = (group + 1) * s->root_count / TRIAL_GROUPS;
    bool any = false;
    for (int i = first; i < end; i++) {
        before[i] = s->methods[i];
        if (!apart(s, i, s->methods[i], method)) continue;
        set_method(s, i, method);
        any = true;
    }
    return any;
}

static void switch_back(Static *s, int group, const Calibration *before)
{
    int first = group * s->root_count / TRIAL_GROUPS, end = (group + 1) * s->root_count / TRIAL_GROUPS;
    for (int i = first; i < end; i++) set_method(s, i, before[i]);
}

/* What loses more at a glance is not looked at closely. */
static Status try_group(Static *s, int group, Calibration method, double *glanced, Calibration *before, Err *err)
{
    double error = INFINITY, glance;
    if (!switch_group(s, group, method, before)) return OK;
    TRY(judge(s, s->c->graph, &s->weights, trial_glance, &glance, err));
    if (glance < *glanced) TRY(static_error(s, s->c->graph, &error, err));
    if (error < WORTH * s->error) {
        s->error = error;
        *glanced = glance;
    } else {
        switch_back(s, group, before);
    }
    return OK;
}

static Status try_groups(Static *s, const double *errors, int best, Err *err)
{
    double glanced;
    Calibration *before = alloc_zeroed((size_t)s->root_count + 1, sizeof *before);
    if (before == NULL) return err_no_memory(err, "calibration");
    Status status = judge(s, s->c->graph, &s->weights, trial_glance, &glanced, err);
    for (int m = 0; m < TRIED && status == OK; m++) {
        if (m == best || errors[m] > 4.0 * errors[best]) continue; /* far worse as a whole: no part of it is likely to be better */
        for (int group = 0; group < TRIAL_GROUPS && status == OK; group++) status = try_group(s, group, tried[m], &glanced, before, err);
    }
    free(before);
    return status;
}

static Status choose(Static *s, Err *err)
{
    double errors[TRIED] = { 0.0 };
    int best = 0;
    int count = s->quick ? QUICK_TRIED : TRIED;
    double worth = s->quick ? 1.0 : WORTH;
    for (int m = 0; m < count; m++) {
        set_methods(s, tried[m]);
        TRY(static_error(s, s->c->graph, &errors[m], err));
        if (errors[m] < worth * errors[best]) best = m;
        if (s->quick && m == 0 && s->bound > 0.0 && errors[0] > s->bound) count = 1;
    }
    s->first_error = errors[0];
    set_methods(s, tried[best]);
    s->error = errors[best];
    return s->root_count > 1 && !s->quick ? try_groups(s, errors, best, err) : OK;
}

Status static_calibrate(Static *s, Err *err)
{
    const QuantizeOptions *o = s->c->options;
    TRY(gather(s, err));
    set_methods(s, o->calibration == CALIBRATE_AUTO ? CALIBRATE_MINMAX : (Calibration)o->calibration);
    TRY(weight_jobs_make(&s->plan, &s->weights, err));
    TRY(layers_round_plain(s->c->graph, &s->weights.jobs, s->c->threads, err));
    return o->calibration == CALIBRATE_AUTO ? choose(s, err) : static_error(s, s->c->graph, &s->error, err);
}
