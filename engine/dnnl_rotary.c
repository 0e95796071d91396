/* Rotary embeddings: rows shared out to threads, x read in the order of axes it is there in. */
#include <stdlib.h>

#include "engine/dnnl_private.h"
#include "engine/ops/common.h"
#include "engine/ops/rotary.h"

#define PARTS 16

typedef struct Turning {
    RotaryRows rows;
    Layout take;
} Turning;

static bool rotary_accept(const KernelSite *s)
{
    RotaryRows rows;
    return site_is_float(s, 0) && site_is_float(s, 1) && site_is_float(s, 2) &&
           rotary_rows_init(s->node, &s->in[0].shape, &s->in[1].shape, &s->in[2].shape, &rows);
}

/* Steps along the rows of x in the order it is there in, when each row lies together. */
static bool take_given(const KernelSite *s, Turning *t)
{
    const Shape *x = &s->in[0].shape;
    const dnnl_dim_t *steps = s->given[0] != NULL && md_given(s, 0, &t->take.md) ? memory_strides(&t->take.md) : NULL;
    int tail = node_int(s->node, "order", ROTARY_HALVES) == ROTARY_PAIRS ? 2 : 1, shift = t->rows.rank - (x->rank - tail);
    if (steps == NULL || steps[x->rank - 1] != 1 || (tail == 2 && steps[x->rank - 2] != 2)) return false;
    for (int a = shift; a < t->rows.rank; a++)
        if (x->dims[a - shift] != 1) t->rows.x[a] = steps[a - shift];
    return true;
}

static Status rotary_prepare(KernelSite *s, void **state)
{
    Turning *t = malloc(sizeof *t);
    if (t == NULL) return err_no_memory(s->err, "kernel state");
    if (!rotary_rows_init(s->node, &s->in[0].shape, &s->in[1].shape, &s->in[2].shape, &t->rows)) {
        free(t);
        return err_set(s->err, ERR_UNSUPPORTED, "no rotary embedding");
    }
    if (take_given(s, t)) s->take[0] = &t->take;
    *state = t;
    return OK;
}

static Status rotary_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const RotaryRows *r = &((const Turning *)state)->rows;
    if (r->count * r->half <= PARALLEL_FROM / 2) {
        if (r->count > 0) rotary_turn(r, in[0], in[1], in[2], out[0], 0, r->count);
        return OK;
    }
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < PARTS; part++)
        rotary_turn(r, in[0], in[1], in[2], out[0], r->count * part / PARTS, r->count * (part + 1) / PARTS);
    return OK;
}

const Kernel kernels_rotary[] = {
    { .name = "rotary", .op = "Rotary", .accept = rotary_accept, .prepare = rotary_prepare, .run = rotary_run, .release = free },
    { .name = NULL },
};
