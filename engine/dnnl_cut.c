/* Slice and Pad of images whose channels lie in blocks of eight, as the shortcuts of residual networks have them: every second pixel, and
 * channels of zeros around. Taken as they lie, neither costs a reorder before and one behind. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/dnnl_private.h"
#include "engine/ops/common.h"

#define BLOCK 8
#define AXES 4
#define MOST_PADS ((int64_t)1 << 32)

/* y[i] = x[start + step i] along every axis, `value` where that lies outside; steps of 1 along N and C, whole blocks along C. */
typedef struct Cut {
    Layout take, make;
    int64_t in[AXES], out[AXES], start[AXES], step[AXES]; /* of C: blocks */
    float value;
} Cut;

/* Entry `at` of a list that is input i, or an attribute in older opsets. */
static bool entry(const KernelSite *s, int i, const char *attribute, int64_t at, int64_t *out)
{
    if (i < s->input_count && s->value[i] != 0) {
        const Tensor *t = s->constant[i];
        if (t == NULL || at >= tensor_count(t)) return false;
        *out = tensor_get_int(t, at);
        return true;
    }
    int64_t count = 0;
    const int64_t *list = node_ints(s->node, attribute, &count);
    if (list == NULL || at >= count) return false;
    *out = list[at];
    return true;
}

static bool slice_of(const KernelSite *s, Cut *c)
{
    int64_t start, step, axis;
    for (int64_t i = 0; entry(s, 1, "starts", i, &start); i++) {
        bool named = (s->input_count > 3 && s->value[3] != 0) || node_attr(s->node, "axes") != NULL;
        axis = i;
        step = 1;
        if (i == AXES || (named && !entry(s, 3, "axes", i, &axis))) return false;
        if (s->input_count > 4 && s->value[4] != 0 && !entry(s, 4, "", i, &step)) return false;
        if (axis < 0) axis += AXES;
        if (axis < 0 || axis >= AXES || step < 1) return false;
        int64_t size = s->in[0].shape.dims[axis];
        if (start < 0) start += size;
        c->start[axis] = start < 0 ? 0 : start > size ? size : start;
        c->step[axis] = step;
    }
    for (int i = 1; i < s->input_count; i++)
        if (s->value[i] != 0 && s->constant[i] == NULL) return false;
    return true;
}

static bool pad_of(const KernelSite *s, Cut *c)
{
    int64_t begin;
    if (!str_is(node_string(s->node, "mode", "constant"), "constant") || (s->input_count > 3 && s->value[3] != 0)) return false;
    c->value = node_float(s->node, "value", 0);
    if (s->input_count > 2 && s->value[2] != 0) {
        const Tensor *value = s->constant[2];
        if (value == NULL || value->type != DT_FLOAT || tensor_count(value) != 1) return false;
        c->value = (float)tensor_get(value, 0);
    }
    for (int i = 0; i < AXES; i++) {
        if (!entry(s, 1, "pads", i, &begin) || begin < -MOST_PADS || begin > MOST_PADS) return false;
        c->start[i] = -begin;
    }
    return true;
}

static bool cut_of(const KernelSite *s, Cut *c)
{
    const Shape *x = &s->in[0].shape, *y = &s->out[0].shape;
    if (s->given[0] == NULL || !site_is_float(s, 0) || x->rank != AXES || y->rank != AXES) return false;
    *c = (Cut){ .value = 0 };
    for (int i = 0; i < AXES; i++) {
        if (x->dims[i] < 1 || y->dims[i] < 1) return false;
        c->in[i] = x->dims[i];
        c->out[i] = y->dims[i];
        c->step[i] = 1;
    }
    if (!(str_is(s->node->type, "Slice") ? slice_of(s, c) : pad_of(s, c))) return false;
    if (c->start[0] != 0 || c->in[0] != c->out[0] || c->step[1] != 1) return false;
    if (c->in[1] % BLOCK != 0 || c->out[1] % BLOCK != 0 || c->start[1] % BLOCK != 0) return false;
    c->in[1] /= BLOCK;
    c->out[1] /= BLOCK;
    c->start[1] /= BLOCK;
    return dnnl_memory_desc_init_by_tag(&c->take.md, AXES, x->dims, dnnl_f32, dnnl_nChw8c) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&c->make.md, AXES, y->dims, dnnl_f32, dnnl_nChw8c) == dnnl_success &&
           layout_eq(&c->take, s->given[0]);
}

static bool cut_accept(const KernelSite *s)
{
    Cut c;
    return s->node->domain.len == 0 && cut_of(s, &c);
}

static Status cut_prepare(KernelSite *s, void **state)
{
    Cut *c = malloc(sizeof *c);
    if (c == NULL) return err_no_memory(s->err, "kernel state");
    if (!cut_of(s, c)) {
        free(c);
        return err_set(s->err, ERR_UNSUPPORTED, "no such order");
    }
    s->take[0] = &c->take;
    s->make[0] = &c->make;
    for (int i = 1; i < s->input_count; i++) s->unused[i] = true;
    *state = c;
    return OK;
}

/* Where entry i of y along an axis comes from; false: from nowhere. */
static bool inside(const Cut *c, int axis, int64_t i, int64_t *from)
{
    *from = c->start[axis] + c->step[axis] * i;
    return *from >= 0 && *from < c->in[axis];
}

static void fill(float *y, int64_t blocks, float value)
{
    if (value == 0 && !signbit(value)) memset(y, 0, (size_t)(blocks * BLOCK) * sizeof *y);
    else
        for (int64_t i = 0; i < blocks * BLOCK; i++) y[i] = value;
}

/* Row `row` of all rows of y. */
static void cut_row(const Cut *c, const float *x, int64_t row, float *y)
{
    int64_t b, h, w, image = row / c->out[2] / c->out[1], before = 0, end = c->out[3];
    bool any = inside(c, 1, row / c->out[2] % c->out[1], &b);
    any = inside(c, 2, row % c->out[2], &h) && any;
    while (before < end && (!any || !inside(c, 3, before, &w))) before++;
    while (end > before && !inside(c, 3, end - 1, &w)) end--;
    fill(y, before, c->value);
    fill(y + end * BLOCK, c->out[3] - end, c->value);
    if (before == end) return;
    const float *from = x + (((image * c->in[1] + b) * c->in[2] + h) * c->in[3] + c->start[3] + c->step[3] * before) * BLOCK;
    if (c->step[3] == 1) memcpy(y + before * BLOCK, from, (size_t)((end - before) * BLOCK) * sizeof *y);
    else
        for (int64_t q = before; q < end; q++, from += c->step[3] * BLOCK) memcpy(y + q * BLOCK, from, BLOCK * sizeof *y);
}

static Status cut_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Cut *c = state;
    int64_t rows = c->out[0] * c->out[1] * c->out[2], width = c->out[3] * BLOCK;
    if (rows * width <= PARALLEL_FROM || omp_get_max_threads() < 2) { /* a team of one costs half a microsecond */
        for (int64_t i = 0; i < rows; i++) cut_row(c, in[0], i, (float *)out[0] + i * width);
        return OK;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) cut_row(c, in[0], i, (float *)out[0] + i * width);
    return OK;
}

const Kernel kernels_cut[] = {
    { .name = "blocks", .op = "Slice", .accept = cut_accept, .prepare = cut_prepare, .run = cut_run, .release = free },
    { .name = "blocks", .op = "Pad", .accept = cut_accept, .prepare = cut_prepare, .run = cut_run, .release = free },
    { .name = NULL },
};
