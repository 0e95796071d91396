/* Additions of 8-bit integers in the order their inputs are there in, as engine/ops/integer.h defines them. */
#include <stdlib.h>

#include "engine/dnnl_private.h"
#include "engine/ops/integer.h"
#include "engine/requantize.h"

static dnnl_data_type_t byte_type(DType t)
{
    return t == DT_INT8 ? dnnl_s8 : dnnl_u8;
}

typedef struct Adder {
    Layout take[2], make;
    ByteAdder add;
} Adder;

static bool add_accept(const KernelSite *s)
{
    return s->node->domain.len > 0 && dtype_is_byte(s->in[0].type) && dtype_is_byte(s->in[3].type) && dtype_is_byte(s->out[0].type) &&
           shape_eq(&s->in[0].shape, &s->in[3].shape);
}

static Status add_prepare(KernelSite *s, void **state)
{
    int64_t low, high;
    Adder *a = calloc(1, sizeof *a);
    if (a == NULL) return err_no_memory(s->err, "kernel state");
    if (!integer_range(s->node, s->out[0].type, &low, &high) || !shape_count(&s->in[0].shape, &a->add.count)) {
        free(a);
        return err_set(s->err, ERR_UNSUPPORTED, "no range");
    }
    for (int i = 0; i < 2; i++) {
        a->add.is_signed[i] = s->in[3 * i].type == DT_INT8;
        a->add.scale[i] = (float)tensor_get(s->constant[3 * i + 1], 0);
        a->add.zero[i] = (int32_t)tensor_get_int(s->constant[3 * i + 2], 0);
    }
    a->add.by = (float)tensor_get(s->constant[6], 0);
    a->add.made_zero = (int32_t)tensor_get_int(s->constant[7], 0);
    a->add.least = (float)(low - a->add.made_zero);
    a->add.most = (float)(high - a->add.made_zero);
    const Layout *given = s->given[0] != NULL ? s->given[0] : s->given[3];
    if (given != NULL && (int64_t)layout_bytes(given) == a->add.count) { /* no padding inside */
        a->take[0] = a->take[1] = a->make = *given;
        a->take[0].md.data_type = byte_type(s->in[0].type);
        a->take[1].md.data_type = byte_type(s->in[3].type);
        a->make.md.data_type = byte_type(s->out[0].type);
        s->take[0] = &a->take[0];
        s->take[3] = &a->take[1];
        s->make[0] = &a->make;
    }
    for (int i = 1; i < s->input_count; i++) s->unused[i] = i != 3;
    *state = a;
    return OK;
}

static Status add_run(void *state, const void *const *in, void *const *out, Err *err)
{
    (void)err;
    const Adder *a = state;
    byte_add(&a->add, in[0], in[3], out[0]);
    return OK;
}

const Kernel kernels_integer_sums[] = {
    { "integer", "QLinearAdd", add_accept, add_prepare, add_run, free, NULL, false },
    { .name = NULL },
};
