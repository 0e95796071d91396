#include "engine/integer_site.h"

IntegerForm integer_form(const KernelSite *s)
{
    bool linear = s->node->type.data[0] == 'Q';
    return (IntegerForm){ str_is(s->node->type, "QLinearMatMul") || str_is(s->node->type, "MatMulInteger"), linear, linear ? 3 : 1, 2,
                   linear ? 5 : 3 };
}

/* An input left out, or a constant of one entry or of `count`. */
static bool is_list(const KernelSite *s, int i, int64_t count)
{
    if (i >= s->input_count || s->value[i] == 0) return true;
    return s->constant[i] != NULL && (tensor_count(s->constant[i]) == 1 || tensor_count(s->constant[i]) == count);
}

bool integer_site_accepts(const KernelSite *s)
{
    IntegerForm f = integer_form(s);
    const Shape *x = &s->in[0].shape, *w = &s->in[f.weight].shape;
    if (!dtype_is_byte(s->in[0].type) || !dtype_is_byte(s->in[f.weight].type) || s->constant[f.weight] == NULL) return false;
    if (f.matrix ? x->rank < 2 || w->rank != 2 : x->rank < 3 || x->rank > 5 || w->rank != x->rank) return false;
    int64_t filters = w->dims[f.matrix ? 1 : 0];
    for (int i = 0; i < s->input_count; i++) {
        bool listed = i == f.weight_zero || i == 4 || i == 8;
        if (i != 0 && i != f.weight && !is_list(s, i, listed && (f.linear || i == f.weight_zero) ? filters : 1)) return false;
    }
    if (s->input_count > 8 && s->value[8] != 0 && s->constant[8]->type != DT_INT32) return false;
    if (f.linear && (s->constant[1] == NULL || s->constant[1]->type != DT_FLOAT || s->constant[4] == NULL ||
                     s->constant[4]->type != DT_FLOAT || (s->value[6] != 0 && s->constant[6]->type != DT_FLOAT)))
        return false;
    DType made = s->out[0].type;
    return dtype_is_byte(made) || made == DT_FLOAT || made == DT_INT32;
}
