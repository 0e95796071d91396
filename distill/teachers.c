#include "distill/distill.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "stats/digest.h"

static Status parse_weights(const DistillOptions *o, Teacher *teachers, int count, Err *err)
{
    double sum = 0;
    if (o->weights.count != 0 && o->weights.count != count)
        return err_set(err, ERR_USAGE, "%d weights for %d teachers: expected one each", o->weights.count, count);
    for (int i = 0; i < count; i++) {
        double w = 1;
        if (o->weights.count != 0) {
            char *end;
            w = strtod(o->weights.items[i], &end);
            if (end == o->weights.items[i] || *end != '\0' || !isfinite(w) || w < 0)
                return err_set(err, ERR_USAGE, "weights: '%s' is no number of 0 or more", o->weights.items[i]);
        }
        teachers[i].weight = w;
        sum += w;
    }
    if (!(sum > 0)) return err_set(err, ERR_USAGE, "weights: all are 0");
    for (int i = 0; i < count; i++) teachers[i].weight /= sum;
    return OK;
}

static Status find_output(const DistillOptions *o, Teacher *t, Err *err)
{
    const Graph *g = t->graph;
    if (g->output_count == 0) return err_set(err, ERR_DATA, "teacher '%s' has no output", t->name);
    t->output = 0;
    if (o->logits != NULL) {
        t->output = -1;
        for (int i = 0; i < g->output_count && t->output < 0; i++) {
            if (str_is(graph_value(g, g->outputs[i])->name, o->logits)) t->output = i;
        }
        if (t->output < 0)
            return err_set(err, ERR_USAGE, "logits: teacher '%s' has no output '%s'; its first is '%.*s'", t->name, o->logits,
                           STR_ARG(graph_value(g, g->outputs[0])->name));
    }
    t->kind = scores_kind(g, g->outputs[t->output]);
    if (t->kind != SCORES_OTHER) return OK;
    return err_set(err, ERR_UNSUPPORTED,
                   "teacher '%s': output '%.*s' comes from Sigmoid or Hardmax: no distribution over classes; name another by logits",
                   t->name, STR_ARG(graph_value(g, g->outputs[t->output])->name));
}

Status teachers_choose(const PassContext *c, Teacher **out, int *count, Err *err)
{
    const DistillOptions *o = c->options;
    int n = c->model_count > 0 ? c->model_count : 1;
    Teacher *teachers = arena_array(c->scratch, (size_t)n, sizeof *teachers);
    if (teachers == NULL) return err_no_memory(err, "the teachers");
    for (int i = 0; i < n; i++) {
        Teacher *t = &teachers[i];
        t->graph = c->model_count > 0 ? c->models[i] : c->graph;
        t->name = c->model_count > 0 && i < o->teacher.count ? o->teacher.items[i] : "the network";
        TRY(find_output(o, t, err));
    }
    TRY(parse_weights(o, teachers, n, err));
    *out = teachers;
    *count = n;
    return OK;
}

Status teachers_open(Distill *d, Err *err)
{
    const PassContext *c = d->c;
    SessionOptions options = { .threads = c->threads, .max_mem = c->max_mem, .log = c->log };
    for (int i = 0; i < d->teacher_count; i++) {
        Teacher *t = &d->teachers[i];
        if (c->model_count > 0) snprintf(t->hash, sizeof t->hash, "%s", c->model_hashes[i]);
        else TRY(graph_digest(t->graph, t->hash, err));
        if (session_new(t->graph, &options, &t->session, err) != OK) return err_prefix(err, "teacher '%s'", t->name);
    }
    return OK;
}

void teachers_close(Distill *d)
{
    for (int i = 0; i < d->teacher_count; i++) session_free(d->teachers[i].session);
}
