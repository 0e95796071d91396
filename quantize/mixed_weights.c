/* Bits by layer: each starts where it was asked to and climbs 2, 3, 4, 8, float, the step that gains most error a byte first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "graph/edit.h"
#include "quantize/accuracy.h"
#include "quantize/file_size.h"
#include "quantize/mixed.h"
#include "quantize/trial.h"
#include "quantize/weights_mode_private.h"

#define LEVELS 5
#define WALKS 5 /* candidates that are rounded on the walk before the last */

static const int ladder[LEVELS] = { 2, 3, 4, 8, 0 }; /* bits; 0: float */
#define FLOAT_LEVEL (LEVELS - 1)

/* Layers that share a weight go together, and so do the two weights of an LSTM that becomes one operator. */
typedef struct Unit {
    int first;              /* layer that stands for it */
    int start, level;       /* of the ladder; start: at which it was asked for, its bits may lie between two steps */
    double error[LEVELS], bytes[LEVELS]; /* of the network with this unit alone in integers */
} Unit;

typedef struct Mix {
    Weighted *w;
    Trial *trial;
    Accuracy *accuracy;
    Unit *units;
    int *unit_of;           /* [layer]; -1: stays float */
    int count;
    Weighted levels[FLOAT_LEVEL]; /* with layers of their own, all at this level */
    int *path;              /* [step]: unit that climbs */
    int steps;
    double drop, size;
} Mix;

/* ---- units and levels ---- */

/* The first step of the ladder that is no fewer than was asked for. */
static int start_level(int64_t bits)
{
    int level = 0;
    while (level < FLOAT_LEVEL - 1 && ladder[level] < bits) level++;
    return level;
}

static Status find_units(Mix *m, Err *err)
{
    const Weighted *w = m->w;
    m->units = alloc_zeroed((size_t)w->count + 1, sizeof *m->units);
    m->unit_of = alloc_zeroed((size_t)w->count + 1, sizeof *m->unit_of);
    m->path = alloc_zeroed((size_t)w->count * LEVELS + 1, sizeof *m->path);
    if (m->units == NULL || m->unit_of == NULL || m->path == NULL) return err_no_memory(err, "mixed precision");
    for (int i = 0; i < w->count; i++) {
        const WeightLayer *l = &w->layers[i];
        int u = 0;
        m->unit_of[i] = -1;
        if (l->reason != NULL) continue;
        while (u < m->count && w->layers[m->units[u].first].layer.weight != l->layer.weight) u++;
        if (l->partner >= 0 && l->partner < i) u = m->unit_of[l->partner];
        if (u == m->count) m->units[m->count++] = (Unit){ .first = i, .start = start_level(l->options.bits) };
        m->unit_of[i] = u;
    }
    return OK;
}

/* The bits a unit has at a level: those asked for at its start, so that 5 to 7 are taken as they are. */
static int bits_at(const Mix *m, int unit, int level)
{
    const Unit *u = &m->units[unit];
    return level == u->start ? (int)m->w->layers[u->first].options.bits : ladder[level];
}

/* Every layer at this level, or at its start where that is higher, rounded as it stands. */
static Status make_level(Mix *m, int level, Err *err)
{
    Weighted *w = &m->levels[level];
    *w = (Weighted){ .c = m->w->c, .count = m->w->count, .error = -1.0, .plain = -1.0 };
    w->layers = alloc_array((size_t)w->count + 1, sizeof *w->layers);
    if (w->layers == NULL) return err_no_memory(err, "mixed precision");
    memcpy(w->layers, m->w->layers, (size_t)w->count * sizeof *w->layers);
    for (int i = 0; i < w->count; i++) {
        int u = m->unit_of[i];
        if (u >= 0) weight_layer_set_bits(w->c->graph, &w->layers[i], bits_at(m, u, level > m->units[u].start ? level : m->units[u].start));
    }
    TRY(weighted_make_jobs(w, err));
    return layers_round_plain(w->c->graph, &w->jobs, w->c->threads, err);
}

/* ---- candidates, rounded as they stand ---- */

/* `only` alone in integers, -1: all units, at their levels. */
static Status attach(Mix *m, Graph *g, int only, Err *err)
{
    StoredWeight *stored = alloc_zeroed((size_t)m->w->count * FLOAT_LEVEL + 1, sizeof *stored);
    Status status = stored != NULL ? OK : err_no_memory(err, "the weights");
    for (int i = 0; i < m->w->count && status == OK; i++) {
        int u = m->unit_of[i];
        if (u < 0 || (only >= 0 && u != only) || m->units[u].level == FLOAT_LEVEL) continue;
        const Weighted *w = &m->levels[m->units[u].level];
        if (w->layers[i].reason == NULL) status = weighted_write(w, g, i, stored + m->units[u].level * m->w->count, err);
    }
    free(stored);
    return status;
}

static Status make_candidate(Mix *m, int only, Graph **out, Err *err)
{
    TRY(graph_clone(m->w->c->graph, out, err));
    engine_bind(*out);
    Status status = attach(m, *out, only, err);
    graph_remove_dead(*out, NULL);
    if (status == OK) status = engine_refresh(*out, err);
    if (status == OK) return OK;
    graph_free(*out);
    *out = NULL;
    return status;
}

static Status measure_unit(Mix *m, int unit, Err *err)
{
    Unit *u = &m->units[unit];
    Graph *g[FLOAT_LEVEL] = { NULL };
    Judgement found[FLOAT_LEVEL];
    Status status = OK;
    for (u->level = u->start; u->level < FLOAT_LEVEL && status == OK; u->level++) {
        status = make_candidate(m, unit, &g[u->level], err);
        if (status == OK) u->bytes[u->level] = file_size(g[u->level]);
    }
    if (status == OK) status = trial_judge(m->trial, g + u->start, FLOAT_LEVEL - u->start, INFINITY, found + u->start, err);
    for (int level = u->start; level < FLOAT_LEVEL; level++) {
        if (status == OK) u->error[level] = found[level].error;
        graph_free(g[level]);
    }
    u->level = FLOAT_LEVEL;
    u->bytes[FLOAT_LEVEL] = file_size(m->w->c->graph);
    u->error[FLOAT_LEVEL] = 0.0;
    return status;
}

/* ---- the path ---- */

static double worth(const Unit *u)
{
    double gain = u->error[u->level] - u->error[u->level + 1], more = u->bytes[u->level + 1] - u->bytes[u->level];
    return gain / fmax(more, 1.0);
}

static void make_path(Mix *m)
{
    for (int i = 0; i < m->count; i++) m->units[i].level = m->units[i].start;
    for (;;) {
        int best = -1;
        for (int i = 0; i < m->count; i++)
            if (m->units[i].level < FLOAT_LEVEL && (best < 0 || worth(&m->units[i]) > worth(&m->units[best]))) best = i;
        if (best < 0) return;
        m->units[best].level++;
        m->path[m->steps++] = best;
    }
}

static void go_to(Mix *m, int step)
{
    for (int i = 0; i < m->count; i++) m->units[i].level = m->units[i].start;
    for (int i = 0; i < step; i++) m->units[m->path[i]].level++;
}

/* ---- judging ---- */

static Status plain_drop(Mix *m, int step, double *drop, Err *err)
{
    Graph *g;
    go_to(m, step);
    TRY(make_candidate(m, -1, &g, err));
    Status status = accuracy_drop(m->accuracy, g, drop, err);
    graph_free(g);
    return status;
}

static Status plain_size(Mix *m, int step, double *size, Err *err)
{
    Graph *g;
    go_to(m, step);
    TRY(make_candidate(m, -1, &g, err));
    *size = file_size(g);
    graph_free(g);
    return OK;
}

static void set_layers(const Mix *m, Weighted *w)
{
    for (int i = 0; i < w->count; i++) {
        int u = m->unit_of[i];
        if (u < 0) continue;
        if (m->units[u].level == FLOAT_LEVEL) w->layers[i].reason = "the network's accuracy needs it in float";
        else weight_layer_set_bits(w->c->graph, &w->layers[i], bits_at(m, u, m->units[u].level));
    }
}

/* As the pass would write it: on a clone, what it records thrown away. */
static Status walked_drop(Mix *m, int step, double *drop, Err *err)
{
    PassRecord record = { 0 };
    PassContext own = *m->w->c;
    Weighted w = { .c = &own, .count = m->w->count, .error = -1.0, .plain = -1.0 };
    Status status;
    go_to(m, step);
    own.graph = NULL;
    own.record = &record;
    w.layers = alloc_array((size_t)w.count + 1, sizeof *w.layers);
    TRY_OUT(w.layers != NULL ? OK : err_no_memory(err, "mixed precision"));
    memcpy(w.layers, m->w->layers, (size_t)w.count * sizeof *w.layers);
    TRY_OUT(graph_clone(m->w->c->graph, &own.graph, err));
    engine_bind(own.graph);
    set_layers(m, &w);
    TRY_OUT(weighted_finish(&w, err));
    graph_remove_dead(own.graph, NULL);
    TRY_OUT(engine_refresh(own.graph, err));
    TRY_OUT(accuracy_drop(m->accuracy, own.graph, drop, err));
out:
    record_release(&record);
    weighted_release_jobs(&w);
    free(w.layers);
    graph_free(own.graph);
    return status;
}

/* The least step in [0, *step] at which the accuracy holds; *step holds already. At most `tries` are judged. */
static Status bisect(Mix *m, Status (*judge)(Mix *, int, double *, Err *), int tries, int *step, Err *err)
{
    double allowed = ((const QuantizeOptions *)m->w->c->options)->max_drop, drop;
    int low = -1;
    for (int i = 0; i < tries && low + 1 < *step; i++) {
        int middle = i == 0 ? 0 : low + (*step - low) / 2;
        TRY(judge(m, middle, &drop, err));
        if (drop <= allowed) {
            *step = middle;
            m->drop = drop;
        } else {
            low = middle;
        }
    }
    return OK;
}

static Status hold_accuracy(Mix *m, int *step, Err *err)
{
    PassContext *c = m->w->c;
    const QuantizeOptions *o = c->options;
    *step = 0;
    if (o->max_drop < 0.0) return OK;
    TRY(accuracy_new(c->graph, c->calibration, o->samples, TRIAL_SAMPLES, c->threads, c->max_mem, c->log, &m->accuracy, err));
    *step = m->steps; /* all in float: nothing is lost */
    m->drop = 0.0;
    TRY(bisect(m, plain_drop, m->steps + 1, step, err));
    return options_repair(o, REPAIR_GPTQ) ? bisect(m, walked_drop, WALKS, step, err) : OK;
}

/* The last step that fits; 0 fits or nothing does. */
static Status hold_size(Mix *m, int *step, Err *err)
{
    const PassContext *c = m->w->c;
    const QuantizeOptions *o = c->options;
    double limit = mixed_limit(o, c->graph), size;
    int low = 0, high = o->max_drop >= 0.0 ? *step : m->steps;
    TRY(plain_size(m, high, &m->size, err));
    *step = high;
    if (m->size <= limit) return OK;
    while (low + 1 < high) {
        int middle = low + (high - low) / 2;
        TRY(plain_size(m, middle, &size, err));
        if (size <= limit) low = middle;
        else high = middle;
    }
    *step = low;
    TRY(plain_size(m, low, &m->size, err));
    if (m->accuracy == NULL) return OK;
    return options_repair(o, REPAIR_GPTQ) ? walked_drop(m, low, &m->drop, err) : plain_drop(m, low, &m->drop, err);
}

/* ---- the whole ---- */

static void report(const Mix *m)
{
    const PassContext *c = m->w->c;
    const QuantizeOptions *o = c->options;
    int floats = 0, raised = 0;
    for (int i = 0; i < m->count; i++) {
        const Unit *u = &m->units[i];
        char choice[32];
        bool whole = u->level == FLOAT_LEVEL;
        if (whole) snprintf(choice, sizeof choice, "kept in float");
        else snprintf(choice, sizeof choice, "%d bits", bits_at(m, i, u->level));
        floats += whole;
        raised += !whole && u->level > u->start;
        mixed_report(c->record, m->w->layers[u->first].layer.name, u->error[u->start], choice, u->bytes[u->level] - u->bytes[u->start]);
    }
    record_add(c->record, RECORD_NOTE, STR("mixed precision"), "%d of %d weights stay float, %d in more bits than asked for", floats,
               m->count, raised);
    if (m->accuracy != NULL) record_number(c->record, "accuracy_drop", m->drop);
    record_number(c->record, "layers_float", floats);
    record_number(c->record, "layers_raised", raised);
    record_number(c->record, "bytes", m->size);
    if (m->accuracy != NULL)
        record_add(c->record, RECORD_NOTE, STR("max-accuracy-drop"), "%s %.2f points over %lld predictions (at most %g: %s)",
                   accuracy_labelled(m->accuracy) ? "accuracy drops by" : "top-1 differs from the original's by", m->drop,
                   (long long)accuracy_positions(m->accuracy), o->max_drop, m->drop <= o->max_drop ? "met" : "missed");
    double limit = mixed_limit(o, c->graph);
    if (o->max_size != NULL)
        record_add(c->record, RECORD_NOTE, STR("max-size"), "about %.0f bytes of at most %.0f: %s", m->size, limit,
                   m->size <= limit ? "met" : "missed with the bits asked for; start from fewer (--bits)");
}

static void release(Mix *m)
{
    for (int i = 0; i < FLOAT_LEVEL; i++) {
        weighted_release_jobs(&m->levels[i]);
        free(m->levels[i].layers);
    }
    trial_free(m->trial);
    accuracy_free(m->accuracy);
    free(m->units);
    free(m->unit_of);
    free(m->path);
}

Status mixed_weights(Weighted *w, Err *err)
{
    PassContext *c = w->c;
    Mix m = { .w = w };
    int step, least = FLOAT_LEVEL;
    Status status;
    if (!mixed_asked(c->options)) return OK;
    TRY_OUT(find_units(&m, err));
    if (m.count == 0) goto out;
    TRY_OUT(trial_new(c->graph, c->calibration, TRIAL_SAMPLES, 0, c->threads, c->max_mem, c->log, &m.trial, err));
    for (int i = 0; i < m.count; i++) least = m.units[i].start < least ? m.units[i].start : least;
    for (int i = least; i < FLOAT_LEVEL; i++) TRY_OUT(make_level(&m, i, err));
    for (int i = 0; i < m.count; i++) TRY_OUT(measure_unit(&m, i, err));
    make_path(&m);
    TRY_OUT(hold_accuracy(&m, &step, err));
    TRY_OUT(hold_size(&m, &step, err));
    go_to(&m, step);
    report(&m);
    set_layers(&m, w);
out:
    release(&m);
    return status;
}
