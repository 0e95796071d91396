#include "pipeline/profiling.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "data/dataset.h"
#include "greenness/counts.h"
#include "pipeline/text.h"

#define SEED 1

/* --- inputs */

/* Random inputs of the shapes that counts are made for. */
static Status open_random(const Graph *g, const ValueId *feeds, int count, int64_t batch, Dataset **out, Err *err)
{
    Shape *shapes = alloc_array((size_t)count + 1, sizeof *shapes);
    Status status = OK;
    if (shapes == NULL) return err_no_memory(err, "input shapes");
    TRY_OUT(counts_shapes(g, batch, shapes, err));
    for (int i = 0; i < count; i++) {
        if (shapes[i].rank >= 0) continue;
        status = err_set(err, ERR_DATA, "input '%.*s' has no shape; give --data", STR_ARG(graph_value(g, feeds[i])->name));
        goto out;
    }
    int64_t samples = count > 0 && shapes[0].rank > 0 ? shapes[0].dims[0] : 1;
    status = dataset_random(g, shapes, samples > 0 ? samples : 1, SEED, out, err);
out:
    free(shapes);
    return status;
}

/* One call's inputs. */
static Status read_inputs(const Model *m, const ProfilingOptions *o, Tensor *inputs, int count, Profiling *p, Err *err)
{
    const Graph *g = m->graph;
    Dataset *data = NULL;
    Status status = OK;
    int64_t want = o->batch > 0 ? o->batch : 1;
    ValueId *feeds = alloc_array((size_t)count + 1, sizeof *feeds);
    if (feeds == NULL) return err_no_memory(err, "the inputs");
    graph_feeds(g, feeds, count);
    p->random = o->data == NULL;
    if (o->data != NULL) {
        DataOptions options = { .max_mem = o->session.max_mem, .expect_nonfinite = true, .log = o->log };
        TRY_OUT(dataset_open(o->data, g, &options, &data, err));
    } else {
        TRY_OUT(open_random(g, feeds, count, want, &data, err));
    }
    TRY_OUT(places_apart_inputs(o->places, m, data, err));
    bool batched = dataset_batched(data);
    int64_t samples = batched ? dataset_batch(data, want) : p->random ? 1 : dataset_samples(data);
    TRY_OUT(dataset_read(data, 0, samples, inputs, NULL, err));
    p->batch = batched ? samples : 0;
out:
    dataset_free(data);
    free(feeds);
    return status;
}

/* --- names */

/* The node's name behind those of the nodes whose subgraphs it lies in: "loop / conv". */
static void print_name(const Timing *t, int row, StrBuf *b)
{
    if (t->rows[row].parent >= 0) { /* as deep as the engine lets subgraphs nest */
        print_name(t, t->rows[row].parent, b);
        strbuf_add(b, " / ");
    }
    text_safe(t->rows[row].name, b);
}

static Status name_rows(Profiling *p, Err *err)
{
    const Timing *t = &p->timing;
    p->names = alloc_zeroed((size_t)t->row_count + 1, sizeof *p->names);
    p->chosen = alloc_array((size_t)t->row_count + 1, sizeof *p->chosen);
    p->types = alloc_array((size_t)t->row_count + 1, sizeof *p->types);
    if (p->names == NULL || p->chosen == NULL || p->types == NULL) return err_no_memory(err, "the names");
    for (int i = 0; i < t->row_count; i++) {
        StrBuf b = { 0 };
        print_name(t, i, &b);
        if (b.failed || (b.data == NULL && (b.data = calloc(1, 1)) == NULL)) {
            strbuf_release(&b);
            return err_no_memory(err, "the names");
        }
        p->names[i] = b.data;
    }
    return OK;
}

/* --- running */

Status profiling_run(const Model *m, const char *path, const ProfilingOptions *o, Profiling *out, Err *err)
{
    const Graph *g = m->graph;
    *out = (Profiling){ .path = path, .machine_path = o->machine_path, .plain = o->session.plain,
                         .int8 = o->session.int8 };
    if (g->order_count == 0) return err_set(err, ERR_DATA, "%s: the file holds weights and no network to run", path);
    int count = graph_feeds(g, NULL, 0);
    Session *session = NULL;
    Status status;
    Tensor *inputs = alloc_zeroed((size_t)count + 1, sizeof *inputs);
    if (inputs == NULL) return err_no_memory(err, "the inputs");
    TRY_OUT(engine_supports(g, err));
    TRY_OUT(read_inputs(m, o, inputs, count, out, err));
    TRY_OUT(session_new(g, &o->session, &session, err));
    const TimingOptions timing = { .seconds = o->seconds, .seed = SEED, .log = o->log };
    status = timing_take(session, inputs, &timing, &out->timing, err);
    if (status == ERR_DATA && out->random) err_prefix(err, "random inputs do not do, give --data");
    if (status != OK) goto out;
    if (o->machine != NULL) {
        out->machine = *o->machine;
    } else {
        const CalibrateOptions calibrate = { .threads = out->timing.threads, .max_mem = o->session.max_mem, .log = o->log };
        TRY_OUT(profile_measure_peaks(&calibrate, &out->machine, err));
    }
    timing_judge(&out->timing, &out->machine);
    TRY_OUT(name_rows(out, err));
    status = profiling_choose(out, PROFILING_ORDER, NULL, 0, err);
out:
    for (int i = 0; i < count; i++) tensor_release(&inputs[i]);
    free(inputs);
    if (status != OK) profiling_release(out);
    return status;
}

void profiling_release(Profiling *p)
{
    for (int i = 0; p->names != NULL && i < p->timing.row_count; i++) free(p->names[i]);
    free(p->names);
    free(p->chosen);
    free(p->types);
    timing_release(&p->timing);
    *p = (Profiling){ 0 };
}

/* --- choosing */

static double sort_key(const TimingRow *r, ProfilingSort sort)
{
    switch (sort) {
    case PROFILING_TIME: return r->ms;
    case PROFILING_MACS: return (double)r->cost.macs;
    case PROFILING_BYTES: return (double)r->bytes;
    default: return 0;
    }
}

/* Merge sort, stable: rows alike stay in the order of execution. */
static void sort_rows(const Timing *t, ProfilingSort sort, int *rows, int *scratch, int count)
{
    if (count < 2) return;
    int half = count / 2, a = 0, b = half;
    sort_rows(t, sort, rows, scratch, half);
    sort_rows(t, sort, rows + half, scratch, count - half);
    for (int i = 0; i < count; i++) {
        bool left = b == count || (a < half && sort_key(&t->rows[rows[a]], sort) >= sort_key(&t->rows[rows[b]], sort));
        scratch[i] = rows[left ? a++ : b++];
    }
    memcpy(rows, scratch, (size_t)count * sizeof *rows);
}

static int compare_types(const void *a, const void *b)
{
    const ProfilingType *x = a, *y = b;
    return x->ms < y->ms ? 1 : x->ms > y->ms ? -1 : 0;
}

static void add_types(Profiling *p)
{
    p->type_count = 0;
    for (int i = 0; i < p->chosen_count; i++) {
        const TimingRow *r = &p->timing.rows[p->chosen[i]];
        int at = 0;
        while (at < p->type_count && !str_eq(p->types[at].type, r->type)) at++;
        if (at == p->type_count) p->types[p->type_count++] = (ProfilingType){ .type = r->type };
        ProfilingType *t = &p->types[at];
        t->rows++;
        t->calls += r->calls;
        t->macs += r->cost.macs;
        t->bytes += r->bytes;
        t->ms += r->ms;
        t->share += r->share;
    }
    qsort(p->types, (size_t)p->type_count, sizeof *p->types, compare_types);
}

Status profiling_choose(Profiling *p, ProfilingSort sort, const char *match, int64_t top, Err *err)
{
    const Timing *t = &p->timing;
    p->chosen_count = 0;
    for (int i = 0; i < t->row_count; i++) {
        const TimingRow *r = &t->rows[i];
        bool fits = match == NULL || str_match(str_of(p->names[i]), match) || str_match(str_of(r->op), match) || str_match(r->type, match);
        if (fits) p->chosen[p->chosen_count++] = i;
    }
    if (p->chosen_count == 0 && match != NULL)
        return err_set(err, ERR_USAGE, "profile: --match=%s matches no name and no operator of the %d steps", match, t->row_count);
    int *scratch = alloc_array((size_t)p->chosen_count + 1, sizeof *scratch);
    if (scratch == NULL) return err_no_memory(err, "the order");
    sort_rows(t, sort, p->chosen, scratch, p->chosen_count);
    free(scratch);
    p->shown = top > 0 && top < p->chosen_count ? (int)top : p->chosen_count;
    add_types(p);
    return OK;
}
