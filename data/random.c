/* Random inputs for networks without data: the same numbers for the same seed, on every machine and at any batch size. */
#include "data/dataset_internal.h"

#include "base/bytes.h"
#include "base/rng.h"

#include <stdlib.h>

static void fill(Rng *rng, Tensor *t, int64_t first, int64_t count)
{
    bool is_float = dtype_is_float(t->type);
    for (int64_t i = first; i < first + count; i++) {
        if (is_float) tensor_set(t, i, rng_normal(rng));
        else tensor_set_int(t, i, (int64_t)rng_below(rng, 2));
    }
}

static Status random_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Err *err)
{
    for (int k = 0; k < d->feed_count; k++) {
        Shape shape = d->shapes[k];
        if (!d->one_by_one) shape.dims[0] = count;
        TRY(tensor_new(&inputs[k], d->feeds[k].type, &shape, err));
        int64_t each = tensor_count(&inputs[k]) / count;
        for (int64_t i = 0; i < count; i++) {
            Rng rng;
            rng_init(&rng, d->seed);
            uint64_t own = rng_u64(&rng) ^ ((uint64_t)k << 48) ^ (uint64_t)(first + i);
            rng_init(&rng, own);
            fill(&rng, &inputs[k], i * each, each);
        }
    }
    return OK;
}

static Status random_hash(Dataset *d, Hash *h, Err *err)
{
    StrBuf b = { 0 };
    strbuf_printf(&b, "random seed=%llu samples=%lld", (unsigned long long)d->seed, (long long)d->samples);
    for (int k = 0; k < d->feed_count; k++) {
        char shape[200];
        shape_print(&d->shapes[k], shape, sizeof shape);
        strbuf_printf(&b, "\n%s: %s %s", d->feeds[k].name, dtype_name(d->feeds[k].type), shape);
    }
    bool failed = b.failed;
    if (!failed) hash_add(h, b.data, b.len);
    strbuf_release(&b);
    return failed ? err_no_memory(err, "a description of random data") : OK;
}

static void random_release(Dataset *d) { free(d->shapes); }

static const DatasetKind random_kind = { random_read, NULL, random_hash, random_release, NULL };

/* Whether axis 0 can count samples: every input has one, of the same length, and its symbol stands for no other axis. */
static bool has_sample_axis(const Dataset *d)
{
    for (int k = 0; k < d->feed_count; k++) {
        const Feed *f = &d->feeds[k];
        if (d->shapes[k].rank < 1 || d->shapes[k].dims[0] != d->shapes[0].dims[0]) return false;
        for (int o = 0; o < d->feed_count && f->shape.rank > 0 && f->shape.dims[0] < DIM_UNKNOWN; o++) {
            for (int a = 1; a < d->feeds[o].shape.rank; a++) {
                if (d->feeds[o].shape.dims[a] == f->shape.dims[0]) return false;
            }
        }
        if (f->shape.rank > 0 && f->shape.dims[0] >= 0 && f->shape.dims[0] != d->shapes[k].dims[0]) return false;
    }
    return d->feed_count > 0;
}

static Status init_random(Dataset *d, const Shape *shapes, int64_t samples, Err *err)
{
    d->shapes = alloc_zeroed((size_t)d->feed_count + 1, sizeof *d->shapes);
    if (d->shapes == NULL) return err_no_memory(err, "random data");
    for (int k = 0; k < d->feed_count; k++) {
        Feed *f = &d->feeds[k];
        d->shapes[k] = shapes[k];
        if (!shape_known(&shapes[k])) return err_set(err, ERR_DATA, "input '%s' has no definite shape to make random data of", f->name);
        if (!dtype_is_float(f->type) && !dtype_is_integer(f->type) && f->type != DT_BOOL)
            return err_set(err, ERR_UNSUPPORTED, "input '%s': no random data of type %s", f->name, dtype_name(f->type));
    }
    if (samples < 1) return err_set(err, ERR_USAGE, "%lld random samples were asked for, expected 1 or more", (long long)samples);
    d->samples = samples;
    d->one_by_one = !has_sample_axis(d);
    d->batched = true;
    const Feed *lead = &d->feeds[0];
    if (!d->one_by_one && lead->shape.rank > 0 && lead->shape.dims[0] > 0) {
        d->fixed = lead->shape.dims[0];
        d->samples = (samples + d->fixed - 1) / d->fixed * d->fixed;
    }
    return OK;
}

Status dataset_random(const Graph *g, const Shape *shapes, int64_t samples, uint64_t seed, Dataset **out, Err *err)
{
    Dataset *d;
    TRY(dataset_new(g, &random_kind, &d, err));
    d->seed = seed;
    Status status = init_random(d, shapes, samples, err);
    if (status != OK) dataset_free(d);
    else *out = d;
    return status;
}
