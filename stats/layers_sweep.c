#include "stats/layers_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/engine.h"
#include "stats/batches.h"
#include "stats/columns.h"
#include "stats/moments.h"

typedef struct Sweep {
    LayerStats *s;
    const Graph *g;
    const LayerStatsOptions *o;
    int64_t most;           /* positions of each sample */
    int first_entry, end_entry; /* swept now */
    bool activations;       /* counted now: in the first sweep only */
    double **squares;       /* [entry]: [groups,width,width] while it is swept */
    double *rows;           /* scratch: MOMENT_ROWS columns of the widest entry */
    int64_t first, count;   /* samples of this call */
    bool whole;
    uint64_t taken;         /* bytes of the moments swept now */
} Sweep;

static Status not_finite(const Sweep *w, ValueId v, Err *err)
{
    return err_set(err, ERR_DATA, "'%.*s' turns NaN or infinite in samples %lld to %lld: check the data's scale",
                   STR_ARG(graph_value(w->g, v)->name), (long long)w->first, (long long)(w->first + w->count - 1));
}

/* --- layers */

static Status add_columns(Sweep *w, int entry, const Columns *c, const int64_t *at, int64_t count, Err *err)
{
    MomentEntry *e = &w->s->entries[entry];
    int64_t width = e->form.width;
    for (int64_t group = 0; group < e->form.groups; group++) {
        double *sum = e->sum + group * width;
        for (int64_t i = 0; i < count; i += MOMENT_ROWS) {
            int64_t rows = count - i < MOMENT_ROWS ? count - i : MOMENT_ROWS;
            columns_read(c, group, at + i, rows, w->rows);
            moments_sum(sum, w->rows, width, rows);
            if (e->bytes > 0) moments_square(w->squares[entry] + group * width * width, w->rows, width, rows, w->o->threads);
        }
        for (int64_t k = 0; k < width; k++)
            if (!isfinite(sum[k])) return not_finite(w, e->form.layer.input, err);
    }
    e->count += count;
    return OK;
}

static Status add_input(Sweep *w, int entry, const Tensor *t, Err *err)
{
    Columns c;
    int64_t *at = NULL;
    Status status;
    TRY_OUT(columns_open(&c, w->g, &w->s->entries[entry].form, t, err));
    at = alloc_array((size_t)c.positions + 1, sizeof *at);
    if (at == NULL) {
        status = err_no_memory(err, "the positions of a layer");
        goto out;
    }
    int64_t count = columns_pick(&c, w->first, w->whole ? 1 : w->count, w->most, w->o->seed, entry, at);
    status = add_columns(w, entry, &c, at, count, err);
out:
    columns_release(&c);
    free(at);
    return status;
}

static Status observe(void *user, ValueId value, const Tensor *t, Err *err)
{
    Sweep *w = user;
    for (int i = 0; w->activations && i < w->s->activation_count; i++)
        if (w->s->activations[i].value == value) {
            bool finite;
            TRY(activation_add(&w->s->activations[i], t, w->whole ? 1 : w->count, w->o->ends_only, &finite, err));
            if (!finite) return not_finite(w, value, err);
        }
    for (int i = w->first_entry; i < w->end_entry; i++)
        if (w->s->entries[i].form.layer.input == value) TRY(add_input(w, i, t, err));
    return OK;
}

/* --- one sweep */

static Status run_calls(Sweep *w, Session *session, Dataset *data, const Batches *b, Err *err)
{
    int feeds = graph_feeds(w->g, NULL, 0);
    Tensor *in = alloc_zeroed((size_t)feeds + 1, sizeof *in), *out = alloc_zeroed((size_t)w->g->output_count + 1, sizeof *out);
    Status status = in != NULL && out != NULL ? OK : err_no_memory(err, "layer statistics");
    progress_begin(w->o->log, "layer statistics", b->samples);
    for (int64_t i = 0; i < b->count && status == OK; i++) {
        w->first = batch_first(b, i);
        w->count = batch_size(b, i);
        status = dataset_read(data, w->first, w->count, in, NULL, err);
        if (status == OK) status = session_run(session, in, out, err);
        for (int k = 0; k < feeds; k++) tensor_release(&in[k]);
        for (int k = 0; k < w->g->output_count; k++) tensor_release(&out[k]);
        if (status == OK && !progress_step(w->o->log, w->first + w->count)) status = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    progress_end(w->o->log);
    free(in);
    free(out);
    return status;
}

static Status watch(Sweep *w, Session *session, Err *err)
{
    size_t most = (size_t)(w->end_entry - w->first_entry) + (size_t)w->s->activation_count;
    bool *seen = alloc_zeroed((size_t)w->g->value_count + 1, 1);
    ValueId *values = alloc_array(most + 1, sizeof *values);
    int count = 0;
    Status status = seen != NULL && values != NULL ? OK : err_no_memory(err, "layer statistics");
    for (size_t i = 0; i < most && status == OK; i++) {
        size_t entries = (size_t)(w->end_entry - w->first_entry);
        bool layer = i < entries;
        if (!layer && !w->activations) continue;
        ValueId v = layer ? w->s->entries[(size_t)w->first_entry + i].form.layer.input : w->s->activations[i - entries].value;
        if (!seen[v]) values[count++] = v;
        seen[v] = true;
    }
    if (status == OK) status = session_observe(session, values, count, observe, w, err);
    if (status == OK && w->first_entry == w->end_entry) session_observe_unordered(session); /* only columns need the places */
    free(seen);
    free(values);
    return status;
}

static Status allocate(Sweep *w, Err *err)
{
    size_t widest = 1;
    for (int i = w->first_entry; i < w->end_entry; i++) {
        const LayerForm *f = &w->s->entries[i].form;
        if ((size_t)f->width > widest) widest = (size_t)f->width;
        if (w->s->entries[i].bytes == 0) continue;
        w->squares[i] = alloc_zeroed((size_t)(f->groups * f->width) * (size_t)f->width, sizeof(double));
        if (w->squares[i] == NULL) return err_no_memory(err, "the moments of a layer");
    }
    w->rows = alloc_array(widest, MOMENT_ROWS * sizeof *w->rows);
    return w->rows != NULL ? OK : err_no_memory(err, "the columns of a layer");
}

static void release(Sweep *w)
{
    for (int i = w->first_entry; i < w->end_entry; i++) {
        free(w->squares[i]);
        w->squares[i] = NULL;
    }
    free(w->rows);
    w->rows = NULL;
}

static Status sweep_once(Sweep *w, Dataset *data, const Batches *b, Err *err)
{
    Session *session = NULL;
    Status status;
    uint64_t limit = w->o->max_mem; /* the network runs in what the moments leave; 1: nothing */
    SessionOptions options = { .threads = w->o->threads, .log = w->o->log,
                               .max_mem = limit == 0 ? 0 : limit > w->taken ? limit - w->taken : 1 };
    TRY_OUT(allocate(w, err));
    TRY_OUT(session_new(w->g, &options, &session, err));
    TRY_OUT(watch(w, session, err));
    TRY_OUT(run_calls(w, session, data, b, err));
    for (int i = w->first_entry; i < w->end_entry; i++)
        if (w->squares[i] != NULL) TRY_OUT(layer_stats_store(w->s, &w->s->entries[i], w->squares[i], err));
    w->s->sweeps++;
out:
    session_free(session);
    release(w);
    return status;
}

/* Bytes that an entry takes while it is swept; its triangle alone is about half of the square. */
static uint64_t entry_bytes(const MomentEntry *e)
{
    uint64_t scratch = (uint64_t)e->form.width * MOMENT_ROWS * sizeof(double);
    return e->bytes == 0 ? scratch : e->bytes * 2 + scratch;
}

/* The entries of the next sweep: one at least, and as many more as fit into half of max_mem. */
static Status choose(Sweep *w, Err *err)
{
    uint64_t limit = w->o->max_mem, taken = 0;
    w->first_entry = w->end_entry;
    while (w->end_entry < w->s->entry_count) {
        const MomentEntry *e = &w->s->entries[w->end_entry];
        uint64_t bytes = entry_bytes(e);
        if (limit != 0 && bytes > limit)
            return err_set(err, ERR_MEMORY, "layer '%.*s': the moments of its %lld inputs need %llu bytes; --max-mem allows %llu",
                           STR_ARG(e->form.layer.name), (long long)e->form.width, (unsigned long long)bytes, (unsigned long long)limit);
        if (limit != 0 && taken > 0 && taken + bytes > limit / 2) break;
        taken += bytes;
        w->end_entry++;
    }
    w->taken = taken;
    return OK;
}

Status layer_stats_sweep(LayerStats *s, const Graph *g, Dataset *data, const LayerStatsOptions *o, Err *err)
{
    Sweep w = { .s = s, .g = g, .o = o, .activations = true, .whole = !dataset_batched(data) };
    Batches b;
    Status status;
    TRY(batches_plan(data, o->batch, o->samples, &b, err));
    w.most = o->positions > 0 ? (o->positions + (w.whole ? 0 : b.samples - 1)) / (w.whole ? 1 : b.samples) : 0;
    w.squares = alloc_zeroed((size_t)s->entry_count + 1, sizeof *w.squares);
    if (w.squares == NULL) return err_no_memory(err, "layer statistics");
    TRY_OUT(temp_file(&s->file, err));
    do {
        TRY_OUT(choose(&w, err));
        TRY_OUT(sweep_once(&w, data, &b, err));
        w.activations = false;
    } while (w.end_entry < s->entry_count);
out:
    free(w.squares);
    return status;
}
