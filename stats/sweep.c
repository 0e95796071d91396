#include "stats/sweep.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

typedef struct Sweep {
    const Graph *g;
    Range *ranges;
    int *first_of;      /* [value]: 1 + index of its first range, 0 when none */
    int *next;          /* [range]: 1 + index of the next range of the same value */
    int64_t first, count; /* samples of this batch */
} Sweep;

#define BLOCK 4096

/* Sums of one block in float64; the running sums of blocks then lose nothing that matters. */
static bool add_block(Range *r, const float *x, int64_t count)
{
    double low = r->min, high = r->max, sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double v = (double)x[i];
        low = v < low ? v : low;
        high = v > high ? v : high;
        sum += v;
        squares += v * v;
    }
    r->min = low;
    r->max = high;
    r->sum += sum;
    r->sum_squares += squares;
    return isfinite(sum);
}

static Status observe(void *user, ValueId value, const Tensor *t, Err *err)
{
    Sweep *s = user;
    int at = s->first_of[value];
    if (at == 0) return OK;
    Range *r = &s->ranges[at - 1];
    float block[BLOCK];
    int64_t count = tensor_count(t), bad;
    for (int64_t i = 0; i < count; i += BLOCK) {
        int64_t n = count - i < BLOCK ? count - i : BLOCK;
        tensor_read_floats(t, i, n, block);
        if (!add_block(r, block, n) && tensor_has_nonfinite(t, &bad))
            return err_set(err, ERR_DATA, "'%.*s' turns NaN or infinite at element %lld in samples %lld to %lld: check the data's scale",
                           STR_ARG(graph_value(s->g, value)->name), (long long)bad, (long long)s->first,
                           (long long)(s->first + s->count - 1));
    }
    r->count += count;
    for (int next = s->next[at - 1]; next != 0; next = s->next[next - 1]) {
        ValueId v = s->ranges[next - 1].value;
        s->ranges[next - 1] = *r;
        s->ranges[next - 1].value = v;
    }
    return OK;
}

static Status run_batches(Sweep *s, Session *session, Dataset *data, const SweepOptions *o, Tensor *inputs, int feeds, Tensor *outputs,
                          Err *err)
{
    Status status = OK;
    int64_t samples = dataset_samples(data), batch = dataset_batch(data, o->batch);
    if (batch < 1) return err_set(err, ERR_DATA, "calibration data: no samples");
    bool fixed = dataset_batch(data, 1) == batch; /* by the network, or 1 */
    if (o->samples > 0 && o->samples < samples) samples = fixed && o->samples < batch ? batch : o->samples;
    progress_begin(o->log, "calibration", samples);
    for (int64_t first = 0; first < samples; first += batch) {
        s->first = first;
        s->count = samples - first < batch ? samples - first : batch;
        /* A network with a fixed batch takes whole batches only: the last one starts earlier and overlaps. */
        if (s->count < batch && dataset_batch(data, batch - 1) == batch && samples >= batch) {
            s->first = samples - batch;
            s->count = batch;
        }
        TRY_OUT(dataset_read(data, s->first, s->count, inputs, NULL, err));
        status = session_run(session, inputs, outputs, err);
        for (int i = 0; i < feeds; i++) tensor_release(&inputs[i]);
        for (int i = 0; i < s->g->output_count; i++) tensor_release(&outputs[i]);
        if (status != OK) goto out;
        if (!progress_step(o->log, s->first + s->count)) {
            status = err_set(err, ERR_INTERRUPTED, "interrupted during calibration");
            goto out;
        }
    }
out:
    progress_end(o->log);
    return status;
}

static void link_ranges(Sweep *s, int count, ValueId *watched, int *watched_count)
{
    for (int i = count - 1; i >= 0; i--) {
        Range *r = &s->ranges[i];
        *r = (Range){ .value = r->value, .min = INFINITY, .max = -INFINITY };
        s->next[i] = s->first_of[r->value];
        s->first_of[r->value] = i + 1;
    }
    *watched_count = 0;
    for (int i = 0; i < count; i++)
        if (s->first_of[s->ranges[i].value] == i + 1) watched[(*watched_count)++] = s->ranges[i].value;
}

Status sweep_ranges(const Graph *g, Dataset *data, Range *ranges, int count, const SweepOptions *options, Err *err)
{
    if (count == 0) return OK;
    Status status = OK;
    Session *session = NULL;
    int feeds = graph_feeds(g, NULL, 0), watched_count = 0;
    Sweep s = { .g = g, .ranges = ranges, .first_of = alloc_zeroed((size_t)g->value_count + 1, sizeof(int)),
                .next = alloc_zeroed((size_t)count, sizeof(int)) };
    ValueId *watched = alloc_zeroed((size_t)count, sizeof *watched);
    Tensor *inputs = alloc_zeroed((size_t)feeds + 1, sizeof *inputs), *outputs = alloc_zeroed((size_t)g->output_count + 1, sizeof *outputs);
    if (s.first_of == NULL || s.next == NULL || watched == NULL || inputs == NULL || outputs == NULL) {
        status = err_no_memory(err, "calibration");
        goto out;
    }
    for (int i = 0; i < count; i++)
        if (ranges[i].value == 0 || ranges[i].value > g->value_count) {
            status = err_set(err, ERR_BUG, "calibration: value %u does not exist", (unsigned)ranges[i].value);
            goto out;
        }
    link_ranges(&s, count, watched, &watched_count);
    SessionOptions so = { .threads = options->threads, .max_mem = options->max_mem, .log = options->log };
    TRY_OUT(session_new(g, &so, &session, err));
    TRY_OUT(session_observe(session, watched, watched_count, observe, &s, err));
    TRY_OUT(run_batches(&s, session, data, options, inputs, feeds, outputs, err));
out:
    session_free(session);
    free(s.first_of);
    free(s.next);
    free(watched);
    free(inputs);
    free(outputs);
    return status;
}
