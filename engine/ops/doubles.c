#include "engine/ops/doubles.h"

#include <stdlib.h>

#include "base/half.h"

double *doubles_zero(int64_t count)
{
    if (count < 0 || count > INT64_MAX / (int64_t)sizeof(double) - 1) return NULL;
    return alloc_zeroed((size_t)count + 1, sizeof(double));
}

double *doubles_of(const Tensor *t)
{
    double *values = doubles_zero(tensor_count(t));
    if (values != NULL) tensor_read_doubles(t, 0, tensor_count(t), values);
    return values;
}

Status doubles_input(const OpCall *c, int i, double **out)
{
    *out = NULL;
    if (!call_has(c, i)) return OK;
    DType type = c->in[i]->type;
    if (dtype_bits(type) == 0 || type == DT_COMPLEX64 || type == DT_COMPLEX128) return op_bad_type(c, type);
    *out = doubles_of(c->in[i]);
    return *out != NULL ? OK : err_no_memory(c->err, "operator input");
}

double doubles_round(DType type, double v)
{
    if (type == DT_FLOAT) return (double)(float)v;
    if (type == DT_FLOAT16) return (double)half_to_float(float_to_half((float)v));
    if (type == DT_BFLOAT16) return (double)bfloat16_to_float(float_to_bfloat16((float)v));
    return v;
}

Status doubles_output(OpCall *c, int i, DType type, const Shape *shape, const double *values)
{
    if (i >= c->output_count) return OK;
    TRY(opcall_output(c, i, type, shape));
    Tensor *t = &c->out[i];
    int64_t count = tensor_count(t);
    if (type == DT_FLOAT) {
        float *to = (float *)(void *)t->data;
        for (int64_t k = 0; k < count; k++) to[k] = (float)values[k];
    } else {
        for (int64_t k = 0; k < count; k++) tensor_set(t, k, values[k]);
    }
    return OK;
}
