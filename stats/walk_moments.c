#include "stats/walk_moments.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stats/moments.h"

bool walk_moments_bytes(const LayerForm *f, bool pair, bool shifted, uint64_t *bytes)
{
    size_t square, shift, scratch, sum;
    bool fine = mul_size((size_t)f->width, (size_t)f->width, &square) && mul_size(square, (size_t)f->groups, &square);
    fine = fine && mul_size((size_t)f->width, (size_t)form_outputs(f), &shift);
    fine = fine && mul_size((size_t)f->width * (pair ? 2 : 1) + (size_t)f->outputs, MOMENT_ROWS, &scratch);
    fine = fine && add_size(square, pair ? square : 0, &sum) && add_size(sum, shifted ? shift : 0, &sum) && add_size(sum, scratch, &sum);
    size_t all;
    fine = fine && mul_size(sum, sizeof(double), &all);
    *bytes = fine ? all : 0;
    return fine;
}

static bool rows_new(MomentRows *r, int64_t width, bool single)
{
    if (single) r->f = alloc_array((size_t)width, MOMENT_ROWS * sizeof(float));
    else r->d = alloc_array((size_t)width, MOMENT_ROWS * sizeof(double));
    return r->f != NULL || r->d != NULL;
}

static void rows_release(MomentRows *r)
{
    free(r->d);
    free(r->f);
}

Status walk_moments_new(WalkMoments *m, const LayerForm *f, bool pair, bool shifted, bool single, Err *err)
{
    *m = (WalkMoments){ .form = f, .pair = pair, .shifted = shifted };
    size_t columns = (size_t)(f->groups * f->width), square = columns * (size_t)f->width, outputs = (size_t)form_outputs(f);
    m->square = alloc_zeroed(square, sizeof(double));
    m->sum = alloc_zeroed(columns, sizeof(double));
    bool fine = m->square != NULL && m->sum != NULL && rows_new(&m->x, f->width, single);
    if (pair) {
        m->cross = alloc_zeroed(square, sizeof(double));
        m->sum_original = alloc_zeroed(columns, sizeof(double));
        fine = fine && m->cross != NULL && m->sum_original != NULL && rows_new(&m->y, f->width, single);
    }
    if (shifted) {
        m->shift = alloc_zeroed(outputs * (size_t)f->width, sizeof(double));
        m->sum_shift = alloc_zeroed(outputs, sizeof(double));
        fine = fine && m->shift != NULL && m->sum_shift != NULL && rows_new(&m->d, f->outputs, single);
    }
    if (!fine) walk_moments_release(m);
    return fine ? OK : err_no_memory(err, "the moments of a layer");
}

void walk_moments_release(WalkMoments *m)
{
    double *all[] = { m->square, m->cross, m->sum, m->sum_original, m->shift, m->sum_shift };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    rows_release(&m->x);
    rows_release(&m->y);
    rows_release(&m->d);
    *m = (WalkMoments){ 0 };
}

/* Whether a tensor is an output of the layer as it is, element for element: nothing was broadcast. */
static bool output_shaped(const Columns *c, const Tensor *t)
{
    const Shape *s = &t->shape;
    if (tensor_count(t) != columns_output_count(c) || s->rank < 1) return false;
    if (c->form->kind == FORM_ROWS) return s->dims[s->rank - 1] == form_outputs(c->form);
    return s->rank >= 2 && s->dims[0] == c->batch && s->dims[1] == form_outputs(c->form);
}

static Status difference(const Tensor *a, const Tensor *b, float **out, Err *err)
{
    int64_t count = tensor_count(a);
    float *d = alloc_array((size_t)count + 1, sizeof *d);
    *out = d;
    if (d == NULL) return err_no_memory(err, "a shortcut");
    tensor_read_floats(a, 0, count, d);
    float block[1024];
    for (int64_t i = 0; i < count; i += 1024) {
        int64_t n = count - i < 1024 ? count - i : 1024;
        tensor_read_floats(b, i, n, block);
        for (int64_t k = 0; k < n; k++) d[i + k] -= block[k];
    }
    return OK;
}

/* A block of columns, and the sums over it. */
static void read_rows(const Columns *c, int64_t group, const int64_t *at, int64_t rows, MomentRows to)
{
    if (to.f != NULL) columns_read_floats(c, group, at, rows, to.f);
    else columns_read(c, group, at, rows, to.d);
}

static void read_output_rows(const Columns *c, const float *y, int64_t group, const int64_t *at, int64_t rows, MomentRows to)
{
    if (to.f != NULL) columns_read_output_floats(c, y, group, at, rows, to.f);
    else columns_read_output(c, y, group, at, rows, to.d);
}

static void add_square(double *h, MomentRows x, int64_t n, int64_t rows, int threads)
{
    if (x.f != NULL) moments_square_floats(h, x.f, n, rows, threads);
    else moments_square(h, x.d, n, rows, threads);
}

static void add_cross(double *c, MomentRows y, int64_t m, MomentRows x, int64_t n, int64_t rows, int threads)
{
    if (x.f != NULL) moments_cross_floats(c, y.f, m, x.f, n, rows, threads);
    else moments_cross(c, y.d, m, x.d, n, rows, threads);
}

static void add_sum(double *sum, MomentRows x, int64_t n, int64_t rows)
{
    if (x.f != NULL) moments_sum_floats(sum, x.f, n, rows);
    else moments_sum(sum, x.d, n, rows);
}

static void add_block(WalkMoments *m, const Columns *original, const Columns *compressed, const float *shift, int64_t group,
                      const int64_t *at, int64_t rows, int threads)
{
    int64_t width = m->form->width, outputs = m->form->outputs;
    read_rows(compressed, group, at, rows, m->x);
    add_square(m->square + group * width * width, m->x, width, rows, threads);
    add_sum(m->sum + group * width, m->x, width, rows);
    if (m->pair) {
        read_rows(original, group, at, rows, m->y);
        add_cross(m->cross + group * width * width, m->y, width, m->x, width, rows, threads);
        add_sum(m->sum_original + group * width, m->y, width, rows);
    }
    if (shift != NULL) {
        read_output_rows(compressed, shift, group, at, rows, m->d);
        add_cross(m->shift + group * outputs * width, m->d, outputs, m->x, width, rows, threads);
        add_sum(m->sum_shift + group * outputs, m->d, outputs, rows);
    }
}

Status walk_moments_add(WalkMoments *m, const Graph *g, const WalkInputs *in, Err *err)
{
    Columns original = { 0 }, compressed = { 0 };
    float *shift = NULL;
    int64_t *at = NULL;
    Status status;
    TRY_OUT(columns_open(&compressed, g, m->form, in->compressed, err));
    if (m->pair) TRY_OUT(columns_open(&original, g, m->form, in->original, err));
    if (m->pair && original.positions != compressed.positions) {
        status = err_set(err, ERR_BUG, "layer '%.*s' has inputs of different sizes in the two networks", STR_ARG(m->form->layer.name));
        goto out;
    }
    if (m->shifted && output_shaped(&compressed, in->shortcut) && shape_eq(&in->shortcut->shape, &in->shortcut_compressed->shape))
        TRY_OUT(difference(in->shortcut, in->shortcut_compressed, &shift, err));
    at = alloc_array((size_t)compressed.positions + 1, sizeof *at);
    if (at == NULL) {
        status = err_no_memory(err, "the positions of a layer");
        goto out;
    }
    int64_t each = compressed.positions % in->samples == 0 ? compressed.positions / in->samples : 0;
    int64_t count = live_covers(in->live, in->first, in->samples, each)
                        ? live_pick(in->live, in->first, in->samples, each, in->most, in->seed, in->layer, at)
                        : columns_pick(&compressed, in->first, in->samples, in->most, in->seed, in->layer, at);
    for (int64_t group = 0; group < m->form->groups; group++)
        for (int64_t i = 0; i < count; i += MOMENT_ROWS)
            add_block(m, &original, &compressed, shift, group, at + i, count - i < MOMENT_ROWS ? count - i : MOMENT_ROWS, in->threads);
    m->count += count;
out:
    columns_release(&original);
    columns_release(&compressed);
    free(shift);
    free(at);
    return status;
}

void walk_moments_finish(WalkMoments *m)
{
    int64_t width = m->form->width;
    for (int64_t k = 0; k < m->form->groups; k++) moments_mirror(m->square + k * width * width, width);
}
