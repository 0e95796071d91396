/* Weights in float32 from a row-major order into blocks, by loops: the library writes a program for each pair of orders, which takes longer
 * than moving the weights of most layers, and it wants its source aligned. Primitives for vectors keep filters side by side, in blocks of
 * RUN or a multiple: those loops move whole runs; others move floats one by one. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"

#define RUN 8                /* filters side by side: a vector */
#define RUNS 16              /* moved side by side, so that lines of the source are read once */
#define LOOSE_FLOATS (1 << 15) /* what is moved one by one in less time than the library needs to write its program */

/* Where entries go: along one axis, and those of all other axes together, as pairs of offsets in elements. */
typedef struct Move {
    int axis;
    int64_t size, step;  /* entries of the axis, and from one to the next in the source */
    int64_t *places;     /* [size] */
    int64_t others;
    int64_t *pairs;      /* [others]: from, to */
    const uint8_t *in;
    float *out;
    bool shared;         /* enough for threads */
} Move;

static float float_at(const uint8_t *in, int64_t i)
{
    float x;
    memcpy(&x, in + (size_t)i * sizeof x, sizeof x);
    return x;
}

/* False: not known, or no memory. */
static bool move_init(Move *m, int axis, const dnnl_memory_desc_t *from, const dnnl_dim_t *strides, const dnnl_memory_desc_t *to)
{
    int64_t longest = 1, count = 1;
    for (int i = 0; i < from->ndims; i++) {
        longest = from->dims[i] > longest ? from->dims[i] : longest;
        count *= from->dims[i];
    }
    m->axis = axis;
    m->size = from->dims[axis];
    m->step = strides[axis];
    m->others = count / m->size;
    m->places = alloc_array((size_t)m->size, sizeof *m->places);
    m->pairs = alloc_zeroed((size_t)m->others, 2 * sizeof *m->pairs);
    int64_t *places = alloc_array((size_t)longest, sizeof *places), repeats = m->others;
    bool known = m->places != NULL && m->pairs != NULL && places != NULL && memory_places(to, axis, m->places);
    for (int other = 0; known && other < from->ndims; other++) {
        if (other == axis) continue;
        int64_t size = from->dims[other], n = 0, period = repeats / size;
        known = memory_places(to, other, places);
        while (known && n < m->others)
            for (int64_t i = 0; i < size; i++)
                for (int64_t k = 0; k < period; k++, n++) {
                    m->pairs[2 * n] += i * strides[other];
                    m->pairs[2 * n + 1] += places[i];
                }
        repeats = period;
    }
    free(places);
    return known;
}

static void move_release(Move *m)
{
    free(m->places);
    free(m->pairs);
}

/* Whether the axis lies in whole runs. */
static bool has_runs(const Move *m)
{
    if (m->size % RUN != 0) return false;
    for (int64_t i = 0; i < m->size; i++)
        if (m->places[i] != m->places[i - i % RUN] + i % RUN) return false;
    return true;
}

static void move_runs(const Move *m, int64_t first, int64_t count)
{
    for (int64_t k = 0; k < m->others; k++) {
        for (int64_t r = 0; r < count; r++) {
            int64_t at = m->pairs[2 * k] + (first + r) * RUN * m->step;
            float *to = m->out + m->pairs[2 * k + 1] + m->places[(first + r) * RUN], run[RUN];
            if (m->step == 1) memcpy(run, m->in + (size_t)at * sizeof *run, sizeof run);
            else
                for (int i = 0; i < RUN; i++) run[i] = float_at(m->in, at + i * m->step);
            memcpy(to, run, sizeof run);
        }
    }
}

static void move_all_runs(const Move *m)
{
    int64_t runs = m->size / RUN;
#pragma omp parallel for schedule(static) if (m->shared)
    for (int64_t first = 0; first < runs; first += RUNS) move_runs(m, first, runs - first < RUNS ? runs - first : RUNS);
}

static void move_loose(const Move *m)
{
    for (int64_t f = 0; f < m->size; f++)
        for (int64_t k = 0; k < m->others; k++)
            m->out[m->pairs[2 * k + 1] + m->places[f]] = float_at(m->in, m->pairs[2 * k] + f * m->step);
}

bool pack_floats(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, const void *in, float *out, size_t bytes)
{
    const dnnl_dim_t *strides = memory_strides(from);
    int64_t count = 1;
    if (from->data_type != dnnl_f32 || to->data_type != dnnl_f32 || strides == NULL || from->ndims < 1 || to->ndims != from->ndims)
        return false;
    for (int i = 0; i < from->ndims; i++)
        if (from->dims[i] < 1 || from->dims[i] != to->dims[i] || !mul_i64(count, from->dims[i], &count)) return false;
    bool done = false;
    for (int axis = 0; axis < from->ndims && axis < 2 && !done; axis++) { /* filters, or groups and then filters */
        Move m = { .in = in, .out = out, .shared = bytes >= PACK_SHARED };
        bool known = move_init(&m, axis, from, strides, to), runs = known && has_runs(&m);
        done = runs || (known && axis == 0 && count <= LOOSE_FLOATS);
        /* what is behind the last entry of an axis counts as zero */
        if (done && bytes != (size_t)count * sizeof *out) memset(out, 0, bytes);
        if (runs) move_all_runs(&m);
        else if (done) move_loose(&m);
        move_release(&m);
    }
    return done;
}
