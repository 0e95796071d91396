#include "stats/layers_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

/* --- tables */

static Status add_entry(LayerStats *s, const LayerForm *f, bool means_only, Err *err)
{
    MomentEntry *e = &s->entries[s->entry_count];
    size_t doubles, sums;
    if (!mul_size((size_t)triangle(f), (size_t)f->groups, &doubles) || !mul_size(doubles, sizeof(double), &doubles) ||
        !mul_size((size_t)f->groups, (size_t)f->width, &sums))
        return err_set(err, ERR_MEMORY, "layer '%.*s': its %lld inputs are too many", STR_ARG(f->layer.name), (long long)f->width);
    *e = (MomentEntry){ .form = *f, .sum = alloc_zeroed(sums, sizeof(double)), .offset = s->bytes, .bytes = means_only ? 0 : doubles };
    if (e->sum == NULL) return err_no_memory(err, "layer statistics");
    s->bytes += e->bytes;
    s->entry_count++;
    return OK;
}

static Status add_layers(LayerStats *s, const Graph *g, const Layer *layers, int count, bool means_only, Err *err)
{
    for (int i = 0; i < count; i++) {
        LayerForm f;
        int e = 0;
        if (!layer_form(g, &layers[i], &f, NULL)) continue;
        while (e < s->entry_count && !layer_same_columns(g, &s->entries[e].form, &f)) e++;
        if (e == s->entry_count) TRY(add_entry(s, &f, means_only, err));
        s->forms[s->layer_count] = f;
        s->entry_of[s->layer_count++] = e;
    }
    return OK;
}

Status layer_stats_prepare(const Graph *g, const LayerStatsOptions *o, LayerStats **out, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    LayerStats *s = alloc_zeroed(1, sizeof *s);
    Status status = OK;
    *out = NULL;
    if (s == NULL) return err_no_memory(err, "layer statistics");
    if (!o->values_only) TRY_OUT(layers_find(g, &layers, &count, err));
    s->forms = alloc_zeroed((size_t)count + 1, sizeof *s->forms);
    s->entry_of = alloc_zeroed((size_t)count + 1, sizeof *s->entry_of);
    s->entries = alloc_zeroed((size_t)count + 1, sizeof *s->entries);
    s->activations = alloc_zeroed((size_t)o->value_count + 1, sizeof *s->activations);
    if (s->forms == NULL || s->entry_of == NULL || s->entries == NULL || s->activations == NULL) {
        status = err_no_memory(err, "layer statistics");
        goto out;
    }
    TRY_OUT(add_layers(s, g, layers, count, o->means_only, err));
    for (int i = 0; i < o->value_count; i++) {
        if (o->values[i] == 0 || o->values[i] > g->value_count) {
            status = err_set(err, ERR_BUG, "layer statistics: value %u does not exist", (unsigned)o->values[i]);
            goto out;
        }
        if (layer_stats_activation(s, o->values[i]) == NULL) s->activations[s->activation_count++].value = o->values[i];
    }
out:
    free(layers);
    if (status == OK) *out = s;
    else layer_stats_free(s);
    return status;
}

void layer_stats_free(LayerStats *s)
{
    if (s == NULL) return;
    for (int i = 0; i < s->entry_count; i++) free(s->entries[i].sum);
    free(s->entries);
    free(s->forms);
    free(s->entry_of);
    free(s->activations);
    if (s->file != NULL) fclose(s->file);
    free(s);
}

/* --- the file of triangles */

static Status transfer(const LayerStats *s, bool write, uint64_t offset, void *data, size_t size, Err *err)
{
    uint8_t *at = data;
    while (size > 0) {
        ssize_t n = write ? pwrite(fileno(s->file), at, size, (off_t)offset) : pread(fileno(s->file), at, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return err_set(err, ERR_IO, "file of layer statistics: %s: %s", write ? "cannot write" : "cannot read",
                           n < 0 ? strerror(errno) : "it ends early");
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return OK;
}

Status layer_stats_store(LayerStats *s, const MomentEntry *e, const double *h, Err *err)
{
    uint64_t n = (uint64_t)e->form.width, offset = s->base + e->offset;
    for (int64_t group = 0; group < e->form.groups; group++)
        for (uint64_t i = 0; i < n; i++) {
            size_t bytes = (size_t)(n - i) * sizeof(double);
            TRY(transfer(s, true, offset, (void *)(uintptr_t)(h + (uint64_t)group * n * n + i * n + i), bytes, err));
            offset += bytes;
        }
    return OK;
}

Status layer_stats_square(const LayerStats *s, int i, int64_t group, double *h, Err *err)
{
    const MomentEntry *e = &s->entries[s->entry_of[i]];
    size_t n = (size_t)e->form.width;
    if (e->bytes == 0 || group < 0 || group >= e->form.groups)
        return err_set(err, ERR_BUG, "layer '%.*s': no second moments of group %lld", STR_ARG(s->forms[i].layer.name), (long long)group);
    size_t packed = (size_t)triangle(&e->form);
    double *last = h + n * n - packed; /* read to the end of h, then spread from the front: a row is never overtaken */
    TRY(transfer(s, false, s->base + e->offset + (uint64_t)group * packed * sizeof(double), last, packed * sizeof(double), err));
    for (size_t row = 0; row < n; row++) {
        memmove(h + row * n + row, last, (n - row) * sizeof(double));
        last += n - row;
    }
    for (size_t row = 1; row < n; row++)
        for (size_t k = 0; k < row; k++) h[row * n + k] = h[k * n + row];
    return OK;
}

/* --- asking */

Status layer_stats_gather(const Graph *g, Dataset *data, const LayerStatsOptions *options, LayerStats **out, Err *err)
{
    LayerStats *s = NULL;
    char key[HASH_TEXT] = "";
    Status status;
    TRY(layer_stats_prepare(g, options, &s, err));
    if (options->cache_dir != NULL) {
        TRY_OUT(layer_cache_key(g, data, options, key, err));
        if (layer_cache_read(s, options->cache_dir, key)) goto out;
    }
    TRY_OUT(layer_stats_sweep(s, g, data, options, err));
    if (options->cache_dir != NULL) {
        Err why = { 0 };
        if (layer_cache_write(s, options->cache_dir, key, &why) != OK && options->log != NULL)
            log_warn(options->log, "layer statistics are not kept: %s", why.text);
    }
out:
    if (status == OK) *out = s;
    else layer_stats_free(s);
    return status;
}

int layer_stats_count(const LayerStats *s)
{
    return s->layer_count;
}

const LayerForm *layer_stats_form(const LayerStats *s, int i)
{
    return &s->forms[i];
}

int layer_stats_find(const LayerStats *s, NodeId n)
{
    for (int i = 0; i < s->layer_count; i++)
        if (s->forms[i].layer.node == n) return i;
    return -1;
}

int64_t layer_stats_columns(const LayerStats *s, int i)
{
    return s->entries[s->entry_of[i]].count;
}

const double *layer_stats_sum(const LayerStats *s, int i)
{
    return s->entries[s->entry_of[i]].sum;
}

const ActivationStats *layer_stats_activation(const LayerStats *s, ValueId v)
{
    for (int i = 0; i < s->activation_count; i++)
        if (s->activations[i].value == v) return &s->activations[i];
    return NULL;
}

bool layer_stats_cached(const LayerStats *s)
{
    return s->cached;
}

int layer_stats_sweeps(const LayerStats *s)
{
    return s->sweeps;
}
