#include "stats/live.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/columns.h"

#define PROBE_SAMPLES 8
#define CHANGED 1e-4 /* of an output's largest magnitude: more than the order of sums makes */

typedef struct Probe {
    const Graph *g;
    int feeds, outputs;
    ValueId *ids;
    Tensor *in, *changed, *given, *found;
    Session *session;
} Probe;

void live_release(Live *l)
{
    free(l->at);
    *l = (Live){ .feed = -1 };
}

bool live_spans(const Live *l, const Graph *g, ValueId v)
{
    if (l->feed < 0) return false;
    const Shape *m = &graph_value(g, l->mask)->shape, *s = &graph_value(g, v)->shape;
    if (s->rank < 2) return false;
    if (m->dims[1] < 0) return s->dims[1] == m->dims[1] || (s->rank > 2 && s->dims[1] == DIM_UNKNOWN);
    return s->rank > 2 && s->dims[1] == m->dims[1]; /* [N,16] may be as many features */
}

static bool starts_as(const Tensor *t, const Tensor *mask)
{
    return t->shape.rank >= 2 && t->shape.dims[0] == mask->shape.dims[0] && t->shape.dims[1] == mask->shape.dims[1] &&
           dtype_bits(t->type) >= 8 && tensor_count(t) > 0;
}

Status live_fill(const Tensor *mask, const Tensor *t, const Tensor *from, Tensor *out, Err *err)
{
    TRY(tensor_clone(t, out, err));
    if (!starts_as(t, mask)) return OK;
    int64_t samples = mask->shape.dims[0], positions = mask->shape.dims[1];
    size_t bytes = t->bytes / (size_t)(samples * positions);
    for (int64_t n = 0; n < samples; n++) {
        int64_t live = 0;
        while (live < positions - 1 && tensor_get(mask, n * positions + live) == 0.0) live++;
        for (int64_t p = 0; p < positions; p++) {
            size_t to = (size_t)(n * positions + p) * bytes, at = from != NULL ? to : (size_t)(n * positions + live) * bytes;
            if (tensor_get(mask, n * positions + p) == 0.0) memcpy(out->data + to, (from != NULL ? from : t)->data + at, bytes);
        }
    }
    return OK;
}

bool live_covers(const Live *l, int64_t first, int64_t samples, int64_t each)
{
    return l != NULL && l->feed >= 0 && each >= l->positions && each % l->positions == 0 && first + samples <= l->samples;
}

int64_t live_pick(const Live *l, int64_t first, int64_t samples, int64_t each, int64_t most, uint64_t seed, int64_t layer, int64_t *at)
{
    int64_t taken = 0, rows = each / l->positions;
    for (int64_t i = 0; i < samples; i++) {
        const uint8_t *mask = l->at + (first + i) * l->positions;
        int64_t live = 0, seen = 0, next = taken;
        for (int64_t r = 0; r < each; r++) live += mask[r / rows] != 0;
        int64_t end = taken + columns_draw(live, most, seed, layer, first + i, at + taken);
        for (int64_t r = 0; r < each && next < end; r++) { /* the k-th live row of the sample stands for k */
            if (mask[r / rows] == 0) continue;
            if (at[next] == seen++) at[next++] = i * each + r;
        }
        taken = end;
    }
    return taken;
}

/* ---- finding it ---- */

/* [N,T] of zeros and ones, both of them, and a one in every row. */
static bool may_be_mask(const Tensor *t)
{
    bool zero = false;
    if (t->shape.rank != 2 || t->shape.dims[1] < 2 || dtype_bits(t->type) < 8) return false;
    for (int64_t n = 0; n < t->shape.dims[0]; n++) {
        bool one = false;
        for (int64_t p = 0; p < t->shape.dims[1]; p++) {
            double v = tensor_get(t, n * t->shape.dims[1] + p);
            if (v != 0.0 && v != 1.0) return false;
            zero |= v == 0.0;
            one |= v == 1.0;
        }
        if (!one) return false;
    }
    return zero;
}

static bool same_bytes(const Tensor *a, const Tensor *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

static void release_all(Tensor *t, int count)
{
    for (int i = 0; t != NULL && i < count; i++) tensor_release(&t[i]);
}

static bool outputs_differ(const Probe *p)
{
    for (int k = 0; k < p->outputs; k++) {
        const Tensor *a = &p->given[k], *b = &p->found[k];
        double most = 0.0, apart = 0.0;
        if (!shape_eq(&a->shape, &b->shape)) return true;
        for (int64_t i = 0; i < tensor_count(a); i++) {
            most = fmax(most, fabs(tensor_get(a, i)));
            apart = fmax(apart, fabs(tensor_get(a, i) - tensor_get(b, i)));
        }
        if (!(apart <= CHANGED * most)) return true;
    }
    return false;
}

/* The outputs with other inputs behind the mask's ends, what they have there put back. */
static Status run_changed(Probe *p, const Live *l, Err *err)
{
    TRY(session_run(p->session, p->changed, p->found, err));
    for (int k = 0; k < p->outputs; k++) {
        Tensor filled = { 0 };
        if (!live_spans(l, p->g, p->g->outputs[k])) continue;
        Status status = live_fill(&p->in[l->feed], &p->found[k], shape_eq(&p->found[k].shape, &p->given[k].shape) ? &p->given[k] : NULL,
                                  &filled, err);
        tensor_release(&p->found[k]);
        p->found[k] = filled;
        TRY(status);
    }
    return OK;
}

static Status try_feed(Probe *p, Live *l, bool *is_mask, Err *err)
{
    const Tensor *mask = &p->in[l->feed];
    Status status = OK;
    bool any = false;
    *is_mask = false;
    for (int i = 0; i < p->feeds && status == OK; i++) {
        if (i == l->feed || !starts_as(&p->in[i], mask)) {
            p->changed[i] = tensor_share(&p->in[i]);
            continue;
        }
        status = live_fill(mask, &p->in[i], NULL, &p->changed[i], err);
        any |= status == OK && !same_bytes(&p->in[i], &p->changed[i]);
    }
    if (status == OK && any) status = run_changed(p, l, err);
    if (status == OK && any) *is_mask = !outputs_differ(p);
    release_all(p->changed, p->feeds);
    release_all(p->found, p->outputs);
    return status;
}

static Status open_probe(Probe *p, const LiveOptions *o, Err *err)
{
    SessionOptions options = { .threads = o->threads, .max_mem = o->max_mem, .log = o->log };
    TRY(session_new(p->g, &options, &p->session, err));
    return session_run(p->session, p->in, p->given, err);
}

static Status read_mask(Dataset *data, const Probe *p, const LiveOptions *o, Live *l, Err *err)
{
    int64_t samples = dataset_samples(data), step = dataset_batch(data, PROBE_SAMPLES);
    if (o->samples > 0 && o->samples < samples) samples = o->samples;
    l->positions = p->in[l->feed].shape.dims[1];
    l->at = alloc_zeroed((size_t)samples * (size_t)l->positions + 1, 1);
    Tensor *in = alloc_zeroed((size_t)p->feeds + 1, sizeof *in);
    Status status = l->at != NULL && in != NULL ? OK : err_no_memory(err, "the mask of the samples");
    for (int64_t i = 0; i < samples && status == OK; i += step) {
        int64_t count = samples - i < step ? samples - i : step;
        status = dataset_read(data, i, count, in, NULL, err);
        for (int64_t k = 0; status == OK && k < count * l->positions; k++)
            l->at[i * l->positions + k] = tensor_get(&in[l->feed], k) != 0.0;
        release_all(in, p->feeds);
    }
    l->samples = samples;
    free(in);
    return status;
}

static Status search(Probe *p, Dataset *data, const LiveOptions *o, Live *out, Err *err)
{
    TRY(dataset_read(data, 0, dataset_batch(data, PROBE_SAMPLES), p->in, NULL, err));
    for (int i = 0; i < p->feeds; i++) {
        bool is_mask = false;
        if (!may_be_mask(&p->in[i])) continue;
        if (p->session == NULL) TRY(open_probe(p, o, err));
        Live l = { .feed = i, .mask = p->ids[i] };
        TRY(try_feed(p, &l, &is_mask, err));
        if (!is_mask) continue;
        *out = l;
        return read_mask(data, p, o, out, err);
    }
    return OK;
}

Status live_find(const Graph *g, Dataset *data, const LiveOptions *options, Live *out, Err *err)
{
    Probe p = { .g = g, .feeds = graph_feeds(g, NULL, 0), .outputs = g->output_count };
    Status status;
    *out = (Live){ .feed = -1 };
    if (p.feeds < 2 || !dataset_batched(data) || dataset_varies(data)) return OK;
    p.ids = alloc_zeroed((size_t)p.feeds, sizeof *p.ids);
    p.in = alloc_zeroed((size_t)p.feeds, sizeof *p.in);
    p.changed = alloc_zeroed((size_t)p.feeds, sizeof *p.changed);
    p.given = alloc_zeroed((size_t)p.outputs + 1, sizeof *p.given);
    p.found = alloc_zeroed((size_t)p.outputs + 1, sizeof *p.found);
    if (p.ids == NULL || p.in == NULL || p.changed == NULL || p.given == NULL || p.found == NULL) {
        status = err_no_memory(err, "the mask of the samples");
        goto out;
    }
    graph_feeds(g, p.ids, p.feeds);
    status = search(&p, data, options, out, err);
    if (status != OK) live_release(out);
out:
    session_free(p.session);
    release_all(p.in, p.feeds);
    release_all(p.given, p.outputs);
    release_all(p.found, p.outputs);
    free(p.ids);
    free(p.in);
    free(p.changed);
    free(p.given);
    free(p.found);
    return status;
}
