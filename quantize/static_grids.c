/* Which ends each activation gets. One sweep gives ranges and histograms of all; with `auto` the methods are tried as a whole, then
 * tensors in groups, each time by what the network's output loses on a few samples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "quantize/report.h"
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

/* An input of the network that never changes tells nothing of those to come. */
static void check_constant(const PassContext *c, ValueId v, const ActivationStats *a)
{
    const Value *value = graph_value(c->graph, v);
    if (value->producer != 0 || a->min != a->max) return;
    report_warning(c, value->name, "this input is %g everywhere in the calibration data: the grids are made for that", a->min);
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
        check_constant(c, s->roots[i], a);
    }
out:
    layer_stats_free(stats);
    return status;
}

static Status judge(Static *s, const Graph *g, WeightJobs *w, double *error, Err *err)
{
    Graph *candidate;
    TRY(apply_plan(&s->plan, g, w, &candidate, err));
    Status status = trial_error(s->trial, candidate, error, err);
    graph_free(candidate);
    return status;
}

Status static_error(Static *s, const Graph *g, double *error, Err *err)
{
    return judge(s, g, &s->weights, error, err);
}

Status static_floor(Static *s, const Graph *g, double *error, Err *err)
{
    return judge(s, g, NULL, error, err);
}

/* ---- auto ---- */

static const Calibration tried[] = { CALIBRATE_MINMAX, CALIBRATE_MSE, CALIBRATE_MEAN, CALIBRATE_PERCENTILE, CALIBRATE_ENTROPY };
#define TRIED ((int)(sizeof tried / sizeof *tried))
#define QUICK_TRIED 2 /* minmax and mse */
_Static_assert(TRIED >= TRIAL_TOGETHER, "sets of methods serve groups that are judged together, too");

static void search_all(Static *s, Calibration method)
{
    if (s->root_count == 0) return;
#pragma omp parallel for schedule(dynamic) num_threads(s->c->threads < 1 ? 1 : s->c->threads)
    for (int i = 0; i < s->root_count; i++) searched(s, i, method);
}

static void set_methods(Static *s, const Calibration *methods)
{
    for (int i = 0; i < s->root_count; i++) set_method(s, i, methods[i]);
}

/* [count][root]: so many choices of a method for each tensor. NULL: no memory. */
static Calibration *sets_new(const Static *s, int count)
{
    return alloc_zeroed((size_t)(count * s->root_count) + 1, sizeof(Calibration));
}

/* What becomes of the network with each of the sets; the grids in force stay. */
static Status judge_sets(Static *s, const Calibration *sets, int count, double limit, Judgement *out, Err *err)
{
    Graph *candidates[TRIED] = { NULL };
    Calibration *own = sets_new(s, 1);
    Status status = own != NULL ? OK : err_no_memory(err, "calibration");
    if (own != NULL) memcpy(own, s->methods, (size_t)s->root_count * sizeof *own);
    for (int k = 0; k < count && status == OK; k++) {
        set_methods(s, sets + k * s->root_count);
        status = apply_plan(&s->plan, s->c->graph, &s->weights, &candidates[k], err);
    }
    if (own != NULL) set_methods(s, own);
    if (status == OK) status = trial_judge(s->trial, candidates, count, limit, out, err);
    for (int k = 0; k < count; k++) graph_free(candidates[k]);
    free(own);
    return status;
}

static bool apart(const Static *s, int i, Calibration a, Calibration b)
{
    Ends x = ends_of(s, i, a), y = ends_of(s, i, b);
    double width = fmax(x.high - x.low, 1e-30);
    return fabs(x.low - y.low) > APART * width || fabs(x.high - y.high) > APART * width;
}

/* The methods in force, but for the tensors of one group that another would treat differently; false: none would. */
static bool switch_group(const Static *s, int group, Calibration method, Calibration *out)
{
    int first = group * s->root_count / TRIAL_GROUPS, end = (group + 1) * s->root_count / TRIAL_GROUPS;
    bool any = false;
    memcpy(out, s->methods, (size_t)s->root_count * sizeof *out);
    for (int i = first; i < end; i++) {
        if (!apart(s, i, s->methods[i], method)) continue;
        out[i] = method;
        any = true;
    }
    return any;
}

/* One group after another takes the method where the error falls. Several are judged at a time; what one that is kept has outdated is
 * judged again. Whatever loses more at a glance is not looked at closely. */
static Status try_groups(Static *s, Calibration method, double *glanced, Calibration *sets, Err *err)
{
    int groups[TRIED], together = trial_together(s->trial), next = 0;
    Judgement found[TRIED];
    while (next < TRIAL_GROUPS) {
        int count = 0;
        for (; next < TRIAL_GROUPS && count < together; next++)
            if (switch_group(s, next, method, sets + count * s->root_count)) groups[count++] = next;
        TRY(judge_sets(s, sets, count, *glanced, found, err));
        for (int k = 0; k < count; k++) {
            if (!(found[k].error < WORTH * s->error)) continue;
            set_methods(s, sets + k * s->root_count);
            s->error = found[k].error;
            *glanced = found[k].glance;
            next = groups[k] + 1;
            break;
        }
    }
    return OK;
}

static Status choose(Static *s, Err *err)
{
    Judgement found[TRIED];
    int best = 0, count = s->quick ? QUICK_TRIED : TRIED;
    bool bounded = s->quick && s->bound > 0.0;
    double worth = s->quick ? 1.0 : WORTH;
    Calibration *sets = sets_new(s, TRIED);
    Status status;
    TRY_OUT(sets != NULL ? OK : err_no_memory(err, "calibration"));
    for (int m = 0; m < count; m++) {
        search_all(s, tried[m]);
        for (int i = 0; i < s->root_count; i++) sets[m * s->root_count + i] = tried[m];
    }
    if (bounded) TRY_OUT(judge_sets(s, sets, 1, INFINITY, found, err));
    if (bounded && found[0].error > s->bound) count = 1;
    int judged = bounded ? 1 : 0;
    TRY_OUT(judge_sets(s, sets + judged * s->root_count, count - judged, INFINITY, found + judged, err));
    for (int m = 1; m < count; m++)
        if (found[m].error < worth * found[best].error) best = m;
    s->first_error = found[0].error;
    s->error = found[best].error;
    set_methods(s, sets + best * s->root_count);
    double glanced = found[best].glance, most = 4.0 * s->error; /* far worse as a whole: no part of it is likely to be better */
    for (int m = 0; m < TRIED && s->root_count > 1 && !s->quick; m++)
        if (m != best && found[m].error <= most) TRY_OUT(try_groups(s, tried[m], &glanced, sets, err));
out:
    free(sets);
    return status;
}

Status static_calibrate(Static *s, Err *err)
{
    const QuantizeOptions *o = s->c->options;
    TRY(gather(s, err));
    Calibration method = o->calibration == CALIBRATE_AUTO ? CALIBRATE_MINMAX : (Calibration)o->calibration;
    search_all(s, method);
    for (int i = 0; i < s->root_count; i++) set_method(s, i, method);
    TRY(weight_jobs_make(&s->plan, &s->weights, err));
    for (int i = 0; i < s->weights.jobs.count; i++) s->weights.jobs.items[i].spec.coarse = s->quick;
    TRY(layers_round_plain(s->c->graph, &s->weights.jobs, s->c->threads, err));
    return o->calibration == CALIBRATE_AUTO ? choose(s, err) : static_error(s, s->c->graph, &s->error, err);
}
