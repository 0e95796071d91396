#include "stats/channel_ranges.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "stats/batches.h"

typedef struct Gather {
    const Graph *g;
    ChannelRanges *ranges;
    int *first_of;        /* [value]: 1 + index of its first entry, 0: none */
    int *next;            /* [entry]: 1 + index of the next entry of the same value */
    int64_t first, count; /* samples of this call */
} Gather;

#define BLOCK 4096

/* n elements of one channel. */
static bool add_run(ChannelRange *r, int64_t channel, const float *x, int64_t n)
{
    double low = r->min[channel], high = r->max[channel], sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i];
        low = v < low ? v : low;
        high = v > high ? v : high;
        sum += v;
        squares += v * v;
    }
    r->min[channel] = low;
    r->max[channel] = high;
    r->sum[channel] += sum;
    r->sum_squares[channel] += squares;
    return isfinite(sum);
}

/* Elements of a value follow each other as [outer, channels, inner]. */
static bool add_block(ChannelRange *r, int64_t first, const float *x, int64_t n, int64_t inner)
{
    bool finite = true;
    for (int64_t i = 0; i < n;) {
        int64_t at = first + i, left = inner - at % inner, run = left < n - i ? left : n - i;
        finite &= add_run(r, at / inner % r->channels, x + i, run);
        i += run;
    }
    return finite;
}

static Status add_tensor(Gather *s, ChannelRange *r, const Tensor *t, Err *err)
{
    const Value *value = graph_value(s->g, r->value);
    if (t->shape.rank <= r->axis || t->shape.dims[r->axis] != r->channels)
        return err_set(err, ERR_DATA, "'%.*s' has another shape in samples %lld to %lld: %lld channels along axis %d were expected",
                       STR_ARG(value->name), (long long)s->first, (long long)(s->first + s->count - 1), (long long)r->channels, r->axis);
    float block[BLOCK];
    int64_t count = tensor_count(t), inner = 1, bad;
    for (int k = r->axis + 1; k < t->shape.rank; k++) inner *= t->shape.dims[k];
    for (int64_t i = 0; i < count; i += BLOCK) {
        int64_t n = count - i < BLOCK ? count - i : BLOCK;
        tensor_read_floats(t, i, n, block);
        if (!add_block(r, i, block, n, inner) && tensor_has_nonfinite(t, &bad))
            return err_set(err, ERR_DATA, "'%.*s' turns NaN or infinite at element %lld in samples %lld to %lld: check the data's scale",
                           STR_ARG(value->name), (long long)bad, (long long)s->first, (long long)(s->first + s->count - 1));
    }
    r->count += count / r->channels;
    return OK;
}

static Status observe(void *user, ValueId value, const Tensor *t, Err *err)
{
    Gather *s = user;
    for (int at = s->first_of[value]; at != 0; at = s->next[at - 1]) TRY(add_tensor(s, &s->ranges->items[at - 1], t, err));
    return OK;
}

static bool entry_new(ChannelRange *r, ValueId value, int axis, int64_t channels)
{
    size_t n;
    *r = (ChannelRange){ .value = value, .axis = axis, .channels = channels };
    if (!mul_size((size_t)channels, 4, &n) || (r->min = alloc_array(n + 1, sizeof(double))) == NULL) return false;
    r->max = r->min + channels;
    r->sum = r->max + channels;
    r->sum_squares = r->sum + channels;
    for (int64_t c = 0; c < channels; c++) {
        r->min[c] = INFINITY;
        r->max[c] = -INFINITY;
        r->sum[c] = r->sum_squares[c] = 0.0;
    }
    return true;
}

static const ChannelRange *find_entry(const ChannelRanges *r, ValueId value, int axis)
{
    for (int i = 0; i < r->count; i++)
        if (r->items[i].value == value && r->items[i].axis == axis) return &r->items[i];
    return NULL;
}

/* One entry for each pair of a value and an axis. */
static Status make_entries(Gather *s, const ChannelAxis *values, int count, Err *err)
{
    for (int i = 0; i < count; i++) {
        ValueId v = values[i].value;
        int axis = values[i].axis;
        if (v == 0 || v > s->g->value_count) return err_set(err, ERR_BUG, "channel ranges: value %u does not exist", (unsigned)v);
        const Shape *shape = &graph_value(s->g, v)->shape;
        if (axis < 0 || axis >= shape->rank || shape->dims[axis] < 1)
            return err_set(err, ERR_BUG, "channel ranges: '%.*s' has no known size along axis %d", STR_ARG(graph_value(s->g, v)->name),
                           axis);
        if (find_entry(s->ranges, v, axis) != NULL) continue;
        int at = s->ranges->count;
        if (!entry_new(&s->ranges->items[at], v, axis, shape->dims[axis])) return err_no_memory(err, "ranges of channels");
        s->next[at] = s->first_of[v];
        s->first_of[v] = ++s->ranges->count;
    }
    return OK;
}

static Status run_calls(Gather *s, Session *session, Dataset *data, const SweepOptions *o, Tensor *inputs, Tensor *outputs, Err *err)
{
    Batches b;
    Status status = OK;
    int feeds = graph_feeds(s->g, NULL, 0);
    TRY(batches_plan(data, o->batch, o->samples, &b, err));
    progress_begin(o->log, "ranges of channels", b.samples);
    for (int64_t i = 0; i < b.count && status == OK; i++) {
        s->first = batch_first(&b, i);
        s->count = batch_size(&b, i);
        if ((status = dataset_read(data, s->first, s->count, inputs, NULL, err)) != OK) break;
        status = session_run(session, inputs, outputs, err);
        for (int k = 0; k < feeds; k++) tensor_release(&inputs[k]);
        for (int k = 0; k < s->g->output_count; k++) tensor_release(&outputs[k]);
        if (status == OK && !progress_step(o->log, s->first + s->count))
            status = err_set(err, ERR_INTERRUPTED, "interrupted while measuring ranges of channels");
    }
    progress_end(o->log);
    return status;
}

Status channel_ranges_gather(const Graph *g, Dataset *data, const ChannelAxis *values, int count, const SweepOptions *options,
                             ChannelRanges *out, Err *err)
{
    *out = (ChannelRanges){ 0 };
    if (count == 0) return OK;
    Status status = OK;
    Session *session = NULL;
    int feeds = graph_feeds(g, NULL, 0);
    Gather s = { .g = g, .ranges = out, .first_of = alloc_zeroed((size_t)g->value_count + 1, sizeof(int)),
                 .next = alloc_zeroed((size_t)count, sizeof(int)) };
    ValueId *watched = alloc_zeroed((size_t)count, sizeof *watched);
    Tensor *inputs = alloc_zeroed((size_t)feeds + 1, sizeof *inputs), *outputs = alloc_zeroed((size_t)g->output_count + 1, sizeof *outputs);
    out->items = alloc_zeroed((size_t)count, sizeof *out->items);
    if (s.first_of == NULL || s.next == NULL || watched == NULL || inputs == NULL || outputs == NULL || out->items == NULL) {
        status = err_no_memory(err, "ranges of channels");
        goto out;
    }
    TRY_OUT(make_entries(&s, values, count, err));
    int watched_count = 0;
    for (int i = 0; i < out->count; i++)
        if (s.next[i] == 0) watched[watched_count++] = out->items[i].value; /* the first entry of its value */
    SessionOptions so = { .threads = options->threads, .max_mem = options->max_mem, .log = options->log };
    TRY_OUT(session_new(g, &so, &session, err));
    TRY_OUT(session_observe(session, watched, watched_count, observe, &s, err));
    TRY_OUT(run_calls(&s, session, data, options, inputs, outputs, err));
out:
    session_free(session);
    free(s.first_of);
    free(s.next);
    free(watched);
    free(inputs);
    free(outputs);
    if (status != OK) channel_ranges_release(out);
    return status;
}

const ChannelRange *channel_ranges_find(const ChannelRanges *r, ValueId value, int axis)
{
    const ChannelRange *found = r != NULL ? find_entry(r, value, axis) : NULL;
    return found != NULL && found->count > 0 ? found : NULL;
}

Status channel_ranges_clone(const ChannelRanges *r, ChannelRanges *out, Err *err)
{
    *out = (ChannelRanges){ .items = alloc_zeroed((size_t)r->count + 1, sizeof *out->items) };
    if (out->items == NULL) return err_no_memory(err, "ranges of channels");
    for (int i = 0; i < r->count; i++) {
        const ChannelRange *from = &r->items[i];
        ChannelRange *to = &out->items[out->count];
        if (!entry_new(to, from->value, from->axis, from->channels)) {
            channel_ranges_release(out);
            return err_no_memory(err, "ranges of channels");
        }
        out->count++;
        to->count = from->count;
        memcpy(to->min, from->min, sizeof(double) * 4 * (size_t)from->channels);
    }
    return OK;
}

void channel_ranges_release(ChannelRanges *r)
{
    for (int i = 0; i < r->count; i++) free(r->items[i].min);
    free(r->items);
    *r = (ChannelRanges){ 0 };
}
