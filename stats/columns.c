#include "stats/columns.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"

static Status misfit(const Columns *c, const Tensor *input, Err *err)
{
    char shape[256];
    shape_print(&input->shape, shape, sizeof shape);
    return err_set(err, ERR_DATA, "layer '%.*s': its input has shape %s, which does not fit %lld weights per output",
                   STR_ARG(c->form->layer.name), shape, (long long)c->form->width);
}

static Status open_rows(Columns *c, const Tensor *input, Err *err)
{
    const Shape *s = &input->shape;
    int64_t width = c->form->width;
    if (s->rank < 1 || (c->form->trans_in && s->rank != 2)) return misfit(c, input, err);
    if (s->dims[c->form->trans_in ? 0 : s->rank - 1] != width) return misfit(c, input, err);
    c->rows = c->positions = tensor_count(input) / width;
    return OK;
}

static Status open_conv(Columns *c, const Graph *g, const Tensor *input, Err *err)
{
    const LayerForm *f = c->form;
    const Node *n = graph_node(g, f->layer.node);
    const Shape *w = &graph_value(g, f->layer.weight)->tensor->shape;
    bool transposed = f->kind == FORM_CONV_TRANSPOSED;
    TRY(transposed ? window_init_transposed(&c->window, g, n, &input->shape, w, err)
                   : window_init(&c->window, g, n, &input->shape, w, err));
    c->batch = input->shape.dims[0];
    c->channels = input->shape.dims[1];
    if (c->channels * f->taps != f->width * f->groups) return misfit(c, input, err);
    c->places = 1;
    for (int i = 0; i < WINDOW_DIMS; i++) c->places *= c->window.out[i] > 0 ? c->window.out[i] : 0;
    c->positions = c->batch * c->places;
    return OK;
}

Status columns_open(Columns *c, const Graph *g, const LayerForm *f, const Tensor *input, Err *err)
{
    *c = (Columns){ .form = f };
    if (!dtype_is_float(input->type))
        return err_set(err, ERR_DATA, "layer '%.*s': its input is %s, no float", STR_ARG(f->layer.name), dtype_name(input->type));
    TRY(f->kind == FORM_ROWS ? open_rows(c, input, err) : open_conv(c, g, input, err));
    c->row = alloc_array((size_t)f->width + 1, sizeof *c->row);
    c->from = alloc_array((size_t)f->taps + 1, sizeof *c->from);
    if (c->row == NULL || c->from == NULL) return err_no_memory(err, "a layer's column");
    if (input->type == DT_FLOAT && (uintptr_t)input->data % sizeof(float) == 0) {
        c->x = (const float *)(const void *)input->data;
        return OK;
    }
    int64_t count = tensor_count(input);
    c->x = c->converted = alloc_array((size_t)count + 1, sizeof *c->converted);
    if (c->converted == NULL) return err_no_memory(err, "a layer's input");
    tensor_read_floats(input, 0, count, c->converted);
    return OK;
}

void columns_release(Columns *c)
{
    free(c->converted);
    free(c->row);
    free(c->from);
    c->converted = c->row = NULL;
    c->from = NULL;
}

int64_t columns_output_count(const Columns *c)
{
    return c->positions * form_outputs(c->form);
}

/* The input place that tap t meets at output place o along axis i, or -1: padding. */
static int64_t meets(const Window *w, int i, int64_t o, int64_t t, bool transposed)
{
    int64_t at;
    if (!transposed) {
        at = o * w->stride[i] - w->begin[i] + t * w->dilation[i];
    } else {
        int64_t from = o + w->begin[i] - t * w->dilation[i];
        if (from < 0 || from % w->stride[i] != 0) return -1;
        at = from / w->stride[i];
    }
    return at >= 0 && at < w->in[i] ? at : -1;
}

static void read_window(const Columns *c, int64_t group, int64_t position, float *out)
{
    const Window *w = &c->window;
    bool transposed = c->form->kind == FORM_CONV_TRANSPOSED;
    int64_t taps = c->form->taps, channels = c->form->width / taps, plane = w->in[0] * w->in[1] * w->in[2];
    int64_t image = position / c->places, place = position % c->places;
    int64_t o[WINDOW_DIMS] = { place / (w->out[1] * w->out[2]), place / w->out[2] % w->out[1], place % w->out[2] };
    const float *x = c->x + (image * c->channels + group * channels) * plane;
    int64_t tap = 0;
    for (int64_t i = 0; i < w->kernel[0]; i++) {
        int64_t z = meets(w, 0, o[0], i, transposed);
        for (int64_t r = 0; r < w->kernel[1]; r++) {
            int64_t row = meets(w, 1, o[1], r, transposed);
            for (int64_t s = 0; s < w->kernel[2]; s++, tap++) {
                int64_t col = meets(w, 2, o[2], s, transposed);
                c->from[tap] = z >= 0 && row >= 0 && col >= 0 ? (z * w->in[1] + row) * w->in[2] + col : -1;
            }
        }
    }
    for (int64_t k = 0; k < channels; k++, x += plane, out += taps)
        for (tap = 0; tap < taps; tap++) out[tap] = c->from[tap] >= 0 ? x[c->from[tap]] : 0.0f;
}

void columns_read_floats(const Columns *c, int64_t group, const int64_t *at, int64_t count, float *out)
{
    int64_t width = c->form->width;
    for (int64_t i = 0; i < count; i++, out += width) {
        if (c->form->kind != FORM_ROWS) {
            read_window(c, group, at[i], out);
        } else if (c->form->trans_in) {
            for (int64_t k = 0; k < width; k++) out[k] = c->x[k * c->rows + at[i]];
        } else {
            memcpy(out, c->x + at[i] * width, (size_t)width * sizeof *out);
        }
    }
}

void columns_read(const Columns *c, int64_t group, const int64_t *at, int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        columns_read_floats(c, group, at + i, 1, c->row);
        for (int64_t k = 0; k < c->form->width; k++) *out++ = (double)c->row[k];
    }
}

/* Element k of position p, of this group: from[k * step]. */
static const float *output_at(const Columns *c, const float *y, int64_t group, int64_t p, int64_t *step)
{
    int64_t all = form_outputs(c->form);
    bool rows = c->form->kind == FORM_ROWS;
    *step = rows ? 1 : c->places;
    return rows ? y + p * all : y + (p / c->places * all + group * c->form->outputs) * c->places + p % c->places;
}

void columns_read_output_floats(const Columns *c, const float *y, int64_t group, const int64_t *at, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t step;
        const float *from = output_at(c, y, group, at[i], &step);
        for (int64_t k = 0; k < c->form->outputs; k++) *out++ = from[k * step];
    }
}

void columns_read_output(const Columns *c, const float *y, int64_t group, const int64_t *at, int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t step;
        const float *from = output_at(c, y, group, at[i], &step);
        for (int64_t k = 0; k < c->form->outputs; k++) *out++ = (double)from[k * step];
    }
}

int64_t columns_draw(int64_t positions, int64_t most, uint64_t seed, int64_t layer, int64_t sample, int64_t *at)
{
    if (most <= 0 || most >= positions) {
        for (int64_t i = 0; i < positions; i++) at[i] = i;
        return positions;
    }
    Rng rng;
    rng_init(&rng, seed ^ ((uint64_t)layer * 0x9e3779b97f4a7c15u) ^ ((uint64_t)sample * 0xbf58476d1ce4e5b9u));
    int64_t taken = 0;
    for (int64_t i = 0; i < positions && taken < most; i++) /* selection sampling: Knuth, TAOCP 2, 3.4.2 S */
        if (rng_uniform(&rng) * (double)(positions - i) < (double)(most - taken)) at[taken++] = i;
    return taken;
}

int64_t columns_pick(const Columns *c, int64_t first, int64_t samples, int64_t most, uint64_t seed, int64_t layer, int64_t *at)
{
    if (samples < 1 || c->positions % samples != 0) samples = 1;
    int64_t each = c->positions / samples, taken = 0;
    for (int64_t i = 0; i < samples; i++) {
        int64_t n = columns_draw(each, most, seed, layer, first + i, at + taken);
        for (int64_t k = 0; k < n; k++) at[taken + k] += i * each;
        taken += n;
    }
    return taken;
}
